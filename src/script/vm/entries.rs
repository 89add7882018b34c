//! The entries of an area, and what stands behind each: for `vm -p`, `smaps`, `pmap` and the strip of `draw`.

use crate::mm::Machine;
use crate::mm::addr::{PAGE_SIZE, Pfn, VirtAddr};
use crate::mm::fs::SHM_MNT;
use crate::mm::pgtable::{PTRS_PER_TABLE, Pte, SwapEntry, index};
use crate::mm::task::MmId;
use crate::mm::vma::Vma;

/// Bytes that a table of entries covers.
const SPAN: u64 = PTRS_PER_TABLE as u64 * PAGE_SIZE;

/// What an entry says about its page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Behind {
    /// Never touched, or taken back.
    Nothing,
    /// The shared frame of zeros.
    ZeroPage(Pfn),
    /// A page of memory.
    Page(Pfn),
    /// A slot of swap.
    Swap(SwapEntry),
}

impl Behind {
    /// What stands behind an entry.
    pub fn of(pte: Pte) -> Behind {
        if pte.is_none() {
            Behind::Nothing
        } else if pte.is_swap() {
            Behind::Swap(pte.swap_entry())
        } else if pte.has(Pte::SPECIAL) {
            Behind::ZeroPage(pte.pfn())
        } else {
            Behind::Page(pte.pfn())
        }
    }
}

/// The entries of a range that are not empty, lowest first; missing tables are stepped over.
pub fn entries(machine: &Machine, mm: MmId, start: u64, end: u64) -> Vec<(VirtAddr, Pte)> {
    let mut found = Vec::new();
    let pgd = machine.mms[mm].pgd;
    let mut at = start;
    while at < end {
        let next = (at / SPAN + 1).saturating_mul(SPAN).min(end);
        if let Some(leaf) = machine.tables.leaf(pgd, VirtAddr(at)) {
            let table = machine.tables.get(leaf);
            let first = index(VirtAddr(at), 0);
            let pages = ((next - at) / PAGE_SIZE) as usize;
            let entries = table.entries[first..first + pages].iter().enumerate();
            found.extend(
                entries
                    .map(|(n, entry)| (VirtAddr(at + n as u64 * PAGE_SIZE), Pte(*entry)))
                    .filter(|(_, pte)| !pte.is_none()),
            );
        } else {
            // One step over everything that an empty entry above stands for.
            at += machine.tables.gap(pgd, VirtAddr(at)).clamp(next - at, end - at);
            continue;
        }
        at = next;
    }
    found
}

/// What crash calls the file of an area: shared anonymous memory has one without a name of its own.
pub fn file(machine: &Machine, vma: &Vma) -> String {
    match (vma.file.map(|file| &machine.files[file]), machine.named_file(vma)) {
        (Some(file), _) if file.mount == SHM_MNT => file.name.trim_start_matches('/').into(),
        (Some(file), _) => file.name.to_string(),
        (None, Some(file)) => file.path.clone(),
        (None, None) => String::new(),
    }
}
