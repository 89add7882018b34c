//! /proc/PID/smaps and smaps_rollup: what of each area is in memory, whose it is, and what lies in swap.
//!
//! ```text
//!   Rss  pages in memory        Pss  each page divided by the number of entries that map it
//!   Shared_* Private_*          mapped more than once, or once; Clean or Dirty by the entry and the page
//! ```
//!
//! Kernel: `fs/proc/task_mmu.c` (`smaps_account`, `__show_smap`, `show_smap_vma_flags`).
//! Fidelity: faithful — sums, rounding, order. The frame of zeros counts nowhere, as in the kernel.

use super::maps::{line, padded};
use crate::mm::Machine;
use crate::mm::addr::{PAGE_SIZE, Pfn};
use crate::mm::page::PageFlags;
use crate::mm::pgtable::{Pte, SwapEntry};
use crate::mm::rmap::MAPPING_ANON;
use crate::mm::task::{MmId, Pid};
use crate::mm::vma::{VmFlags, Vma};
use crate::script::table::{Cell, Record, Table};
use crate::script::vm::entries::{self, Behind};
use crate::script::vm::structs::FLAGS;

/// Pss is kept in 4096ths of a byte (`PSS_SHIFT`).
const PSS_SHIFT: u32 = 12;

/// Sums over pages, in bytes; those of Pss shifted.
#[derive(Clone, Copy, Default)]
struct Sums {
    resident: u64,
    pss: u64,
    pss_dirty: u64,
    pss_anon: u64,
    pss_file: u64,
    pss_shmem: u64,
    pss_locked: u64,
    /// Shared clean, shared dirty, private clean, private dirty.
    by_kind: [u64; 4],
    referenced: u64,
    anonymous: u64,
    huge: u64,
    lazyfree: u64,
    swap: u64,
    swap_pss: u64,
}

/// Pages of an area that are in memory.
pub fn resident_pages(machine: &Machine, vma: &Vma) -> u64 {
    let entries = entries::entries(machine, vma.mm, vma.start, vma.end);
    entries.iter().filter(|(_, pte)| matches!(Behind::of(*pte), Behind::Page(_))).count() as u64
}

impl Sums {
    /// Adds the pages of an area (`smap_gather_stats`).
    fn area(&mut self, machine: &Machine, vma: &Vma) {
        let locked = vma.flags.has(VmFlags::LOCKED);
        self.swap += machine.shmem_swap_usage(vma) * PAGE_SIZE;
        for (addr, pte) in entries::entries(machine, vma.mm, vma.start, vma.end) {
            match Behind::of(pte) {
                Behind::Page(pfn) => {
                    self.page(machine, pfn, pte, locked);
                    let huge = machine.huge_leaf(vma.mm, addr).is_some();
                    self.huge += u64::from(huge) * PAGE_SIZE;
                }
                Behind::Swap(entry) => self.swapped(machine, entry),
                Behind::ZeroPage(_) | Behind::Nothing => {}
            }
        }
    }

    fn page(&mut self, machine: &Machine, pfn: Pfn, pte: Pte, locked: bool) {
        let page = machine.mem_map.page(pfn);
        let anon = page.mapping & MAPPING_ANON != 0;
        let dirty = pte.has(Pte::DIRTY) || page.is(PageFlags::DIRTY);
        let mapcount = u64::from(page.mapcount()).max(1);
        let private = page.refcount == 1 || mapcount < 2;
        let share = if private { PAGE_SIZE << PSS_SHIFT } else { (PAGE_SIZE << PSS_SHIFT) / mapcount };
        self.resident += PAGE_SIZE;
        self.pss += share;
        match (anon, page.is(PageFlags::SWAPBACKED)) {
            (true, _) => self.pss_anon += share,
            (false, true) => self.pss_shmem += share,
            (false, false) => self.pss_file += share,
        }
        if anon {
            self.anonymous += PAGE_SIZE;
            if page.is_lazyfree() && !dirty {
                self.lazyfree += PAGE_SIZE;
            }
        }
        if pte.has(Pte::ACCESSED) || page.is(PageFlags::REFERENCED) {
            self.referenced += PAGE_SIZE;
        }
        if locked {
            self.pss_locked += share;
        }
        if dirty {
            self.pss_dirty += share;
        }
        self.by_kind[usize::from(private) * 2 + usize::from(dirty)] += PAGE_SIZE;
    }

    fn swapped(&mut self, machine: &Machine, entry: SwapEntry) {
        let users = machine.swap.get(usize::from(entry.area)).map_or(1, |area| area.count(entry.offset));
        self.swap += PAGE_SIZE;
        self.swap_pss += (PAGE_SIZE << PSS_SHIFT) / u64::from(users.max(1));
    }

    /// The lines of an area, or of all areas together, in kB.
    fn lines(&self, rollup: bool) -> Vec<(&'static str, u64)> {
        let kb = |bytes: u64| bytes >> 10;
        let pss = |shifted: u64| shifted >> (10 + PSS_SHIFT);
        let [shared_clean, shared_dirty, private_clean, private_dirty] = self.by_kind.map(kb);
        let mut lines =
            vec![("Rss", kb(self.resident)), ("Pss", pss(self.pss)), ("Pss_Dirty", pss(self.pss_dirty))];
        if rollup {
            lines.extend([
                ("Pss_Anon", pss(self.pss_anon)),
                ("Pss_File", pss(self.pss_file)),
                ("Pss_Shmem", pss(self.pss_shmem)),
            ]);
        }
        lines.extend([
            ("Shared_Clean", shared_clean),
            ("Shared_Dirty", shared_dirty),
            ("Private_Clean", private_clean),
            ("Private_Dirty", private_dirty),
            ("Referenced", kb(self.referenced)),
            ("Anonymous", kb(self.anonymous)),
            ("LazyFree", kb(self.lazyfree)),
            ("AnonHugePages", kb(self.huge)),
            ("ShmemPmdMapped", 0),
            ("FilePmdMapped", 0),
            ("Shared_Hugetlb", 0),
            ("Private_Hugetlb", 0),
            ("Swap", kb(self.swap)),
            ("SwapPss", pss(self.swap_pss)),
            ("Locked", pss(self.pss_locked)),
        ]);
        lines
    }
}

/// `Rss:                  4 kB`.
fn kb(mut table: Table, record: &mut Record, lines: &[(&str, u64)]) -> Table {
    for (name, n) in lines {
        table = table.line(format!("{:<16}{n:>8} kB", format!("{name}:")));
        record.push((name.to_lowercase(), (*n).into()));
    }
    table
}

/// What smaps says of an area, in its order; all but the last are numbers.
pub fn keys() -> impl Iterator<Item = &'static str> {
    let sums = Sums::default().lines(false).into_iter().map(|(key, _)| key);
    ["Size", "KernelPageSize", "MMUPageSize"].into_iter().chain(sums).chain(["THPeligible", "VmFlags"])
}

/// The whole of smaps.
pub fn smaps(machine: &Machine, pid: Pid) -> Table {
    let mut table = Table::new();
    let mut records = Vec::new();
    let Some(mm) = machine.tasks.get(&pid).and_then(|t| t.mm) else { return table };
    for (_, vma) in machine.areas(mm) {
        let name = machine.vma_name(vma);
        let mut record: Record = vec![
            ("start".into(), Cell::Addr(vma.start)),
            ("end".into(), Cell::Addr(vma.end)),
            ("perms".into(), vma.flags.perms().into()),
            ("name".into(), name.as_ref().into()),
        ];
        table = table.head(line(machine, vma, &name));
        let size = (vma.end - vma.start) >> 10;
        table = kb(table, &mut record, &[("Size", size), ("KernelPageSize", 4), ("MMUPageSize", 4)]);
        let mut sums = Sums::default();
        sums.area(machine, vma);
        table = kb(table, &mut record, &sums.lines(false));
        let eligible = u64::from(thp_eligible(machine, vma));
        let named = FLAGS.iter().filter(|(bit, ..)| vma.flags.0 & bit != 0);
        let flags: Vec<&str> = named.map(|(_, _, short)| *short).collect();
        table =
            table.line(format!("THPeligible:    {eligible}")).line(format!("VmFlags: {} ", flags.join(" ")));
        record.push(("thpeligible".into(), eligible.into()));
        record.push(("vmflags".into(), Cell::from(flags)));
        records.push(record);
    }
    table.with_records(records)
}

/// smaps_rollup: the sums of all areas.
pub fn rollup(machine: &Machine, pid: Pid) -> Table {
    let Some(mm) = machine.tasks.get(&pid).and_then(|t| t.mm) else { return Table::new() };
    let (start, end) = limits(machine, mm);
    let mut sums = Sums::default();
    for (_, vma) in machine.areas(mm) {
        sums.area(machine, vma);
    }
    let head = padded(machine, &format!("{start:08x}-{end:08x} ---p 00000000 00:00 0 "), "[rollup]");
    let mut record: Record = vec![("start".into(), Cell::Addr(start)), ("end".into(), Cell::Addr(end))];
    let table = kb(Table::new().head(head), &mut record, &sums.lines(true));
    table.with_records(vec![record])
}

/// First address of the first area, end of the last.
fn limits(machine: &Machine, mm: MmId) -> (u64, u64) {
    let mut areas = machine.areas(mm).map(|(_, vma)| (vma.start, vma.end));
    let first = areas.next().unwrap_or_default();
    (first.0, areas.next_back().unwrap_or(first).1)
}

/// A huge page could stand here: the mode allows it, and 2 MiB of the area are aligned (`hugepage_vma_check`).
fn thp_eligible(machine: &Machine, vma: &Vma) -> bool {
    let huge = PAGE_SIZE << machine.config.pageblock_order.get();
    let first = vma.start.next_multiple_of(huge);
    machine.hugepage_vma_check(vma) && first + huge <= vma.end
}
