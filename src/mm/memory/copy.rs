//! Copying page tables at fork: pages are shared, and protected against writing on both sides.
//!
//! Gorman 4.6.6. Kernel: `mm/memory.c` (`copy_page_range`).
//! Fidelity: faithful — which areas are copied, exclusive marks, swap entries. Clean pages of files are not copied: the child finds
//! them when it needs them.

use super::VmFault;
use crate::mm::addr::{PAGE_SIZE, VirtAddr};
use crate::mm::machine::Machine;
use crate::mm::page::PageFlags;
use crate::mm::pgtable::{PTRS_PER_TABLE, Pte, TableId, index};
use crate::mm::task::{MmId, Rss};
use crate::mm::vma::{VmFlags, VmaId};
use std::ops::Range;

impl Machine {
    /// Copies the entries of an area to the child's (`copy_page_range`).
    pub(crate) fn copy_page_range(&mut self, child: VmaId, parent: VmaId) -> Result<(), VmFault> {
        let source = self.vmas[parent].clone();
        if source.flags.has(VmFlags::WIPEONFORK) || source.anon_vma.is_none() {
            return Ok(());
        }
        let to = self.vmas[child].mm;
        let pgd = self.mms[source.mm].pgd;
        let cow = source.flags.is_cow();
        let mut at = source.start;
        while let Some((from, part)) = self.tables.next_leaf(pgd, at, source.end) {
            at = part.end;
            if self.tables.get(from).entries.iter().all(|entry| *entry == 0) {
                continue;
            }
            let first = VirtAddr(part.start);
            let leaf = self.pte_alloc(to, first)?;
            let start = index(first, 0);
            let entries = start..start + ((part.end - part.start) / PAGE_SIZE) as usize;
            self.copy_table(to, from, leaf, entries, cow);
            // A huge page lies in one area as a whole: an area that is cut splits it.
            self.copy_huge_pmd(source.mm, to, first);
        }
        Ok(())
    }

    /// Copies entries of one PTE table (`copy_pte_range`).
    fn copy_table(&mut self, to: MmId, from: TableId, leaf: TableId, entries: Range<usize>, cow: bool) {
        debug_assert!(entries.end <= PTRS_PER_TABLE);
        let mut copied = [0; 4];
        for i in entries {
            let mut pte = Pte(self.tables.get(from).entries[i]);
            if pte.is_none() {
                continue;
            }
            if pte.is_swap() {
                self.swap_duplicate(pte.swap_entry());
                if pte.swap_exclusive() {
                    pte = Pte::swap(pte.swap_entry(), false);
                    self.tables.get_mut(from).entries[i] = pte.0;
                }
                copied[Rss::Swap as usize] += 1;
            } else {
                if cow && pte.has(Pte::RW) {
                    pte = pte.without(Pte::RW);
                    self.tables.get_mut(from).entries[i] = pte.0;
                }
                if !pte.has(Pte::SPECIAL) {
                    copied[self.mm_counter(pte.pfn()) as usize] += 1;
                    let page = self.mem_map.page_mut(pte.pfn());
                    page.clear(PageFlags::EXCLUSIVE);
                    page.refcount += 1;
                    page.map();
                }
                // The child has not used it yet.
                pte = pte.without(Pte::ACCESSED);
            }
            self.tables.get_mut(leaf).entries[i] = pte.0;
        }
        for kind in [Rss::File, Rss::Anon, Rss::Swap, Rss::Shmem] {
            self.add_rss(to, kind, copied[kind as usize]);
        }
    }
}
