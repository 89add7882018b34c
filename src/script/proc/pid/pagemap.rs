//! /proc/PID/pagemap: for every page of a process where it is, as 64 bits.
//!
//! ```text
//!   63 present  62 swapped  61 of a file or shared  56 mapped here alone  55 written since clear_refs
//!   0-54 the frame; of a swapped page 0-4 the swap area and 5-54 the slot
//! ```
//!
//! Kernel: `fs/proc/task_mmu.c` (`pte_to_pagemap_entry`), `Documentation/admin-guide/mm/pagemap.rst`.
//! Fidelity: faithful — every bit of 6.1 but 57, write protection by userfaultfd, which is not simulated.

use crate::mm::Machine;
use crate::mm::addr::{PAGE_SHIFT, PAGE_SIZE, VirtAddr};
use crate::mm::pgtable::Pte;
use crate::mm::rmap::MAPPING_ANON;
use crate::mm::task::MmId;
use crate::mm::vma::VmFlags;
use crate::script::table::{Cell, Table};

const PRESENT: u64 = 1 << 63;
const SWAPPED: u64 = 1 << 62;
const FILE: u64 = 1 << 61;
const EXCLUSIVE: u64 = 1 << 56;
const SOFT_DIRTY: u64 = 1 << 55;

/// Pages that are shown at once.
pub const MOST: u64 = 1 << 16;

/// The 64 bits of a page.
pub fn entry(machine: &Machine, mm: MmId, addr: VirtAddr) -> u64 {
    let vma = machine.find_vma(mm, addr).map(|id| &machine.vmas[id]).filter(|vma| vma.contains(addr));
    let Some(vma) = vma else { return 0 };
    let of_area = if vma.flags.has(VmFlags::SOFTDIRTY) { SOFT_DIRTY } else { 0 };
    let pte = machine.tables.pte(machine.mms[mm].pgd, addr);
    if pte.is_none() {
        return of_area;
    }
    if pte.is_swap() {
        let slot = pte.swap_entry();
        let exclusive = if pte.swap_exclusive() { EXCLUSIVE } else { 0 };
        return of_area | SWAPPED | exclusive | u64::from(slot.area) | u64::from(slot.offset) << 5;
    }
    let mut bits = of_area | PRESENT | u64::from(pte.pfn().0);
    if pte.has(Pte::SOFT_DIRTY) {
        bits |= SOFT_DIRTY;
    }
    if !pte.has(Pte::SPECIAL) {
        let page = machine.mem_map.page(pte.pfn());
        if page.mapping & MAPPING_ANON == 0 {
            bits |= FILE;
        }
        if page.mapcount() == 1 {
            bits |= EXCLUSIVE;
        }
    }
    bits
}

/// What the bits say, in words.
fn words(bits: u64) -> Vec<&'static str> {
    let names = [
        (PRESENT, "present"),
        (SWAPPED, "swapped"),
        (FILE, "file/shared"),
        (EXCLUSIVE, "exclusive"),
        (SOFT_DIRTY, "soft-dirty"),
    ];
    names.into_iter().filter(|(bit, _)| bits & bit != 0).map(|(_, name)| name).collect()
}

/// Entries of consecutive pages, one a line.
pub fn pagemap(machine: &Machine, mm: MmId, addr: VirtAddr, pages: u64) -> Table {
    let mut table = Table::new().head("VIRTUAL       ENTRY             PFN / SWAP        FLAGS");
    let mut records = Vec::new();
    let last = (u64::MAX >> PAGE_SHIFT) - addr.vpn();
    for n in 0..pages.min(MOST).min(last) {
        let at = VirtAddr(addr.page().0 + n * PAGE_SIZE);
        let bits = entry(machine, mm, at);
        let frame = bits & ((1 << 55) - 1);
        let place = match (bits & PRESENT != 0, bits & SWAPPED != 0) {
            (true, _) => format!("{frame:x}"),
            (_, true) => format!("type {} offset {}", frame & 31, frame >> 5),
            _ => "-".to_string(),
        };
        let words = words(bits);
        table =
            table.line(format!("{:<12x}  {bits:016x}  {place:<16}  {}", at.0, words.join(" ")).trim_end());
        records.push(vec![
            ("addr".into(), Cell::Addr(at.0)),
            ("entry".into(), Cell::Addr(bits)),
            ("pfn".into(), if bits & PRESENT != 0 { Cell::Addr(frame) } else { Cell::Empty }),
            ("present".into(), (bits & PRESENT != 0).into()),
            ("swapped".into(), (bits & SWAPPED != 0).into()),
            ("file".into(), (bits & FILE != 0).into()),
            ("exclusive".into(), (bits & EXCLUSIVE != 0).into()),
            ("soft_dirty".into(), (bits & SOFT_DIRTY != 0).into()),
        ]);
    }
    table.with_records(records)
}
