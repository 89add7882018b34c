//! Taking pages out of page tables, and letting go of them.
//!
//! Gorman 3.5, 4.4.5. Kernel: `mm/memory.c` (`unmap_page_range`, `zap_pte_range`).
//! Fidelity: faithful — what an entry knew of a page the page must know, counters, flushes.

use crate::mm::addr::{Order, PAGE_SIZE, Pfn, VirtAddr};
use crate::mm::machine::Machine;
use crate::mm::page::PageFlags;
use crate::mm::pgtable::{Pte, TableId, index};
use crate::mm::task::{MmId, Rss};
use crate::mm::vma::{VmFlags, VmaId};
use crate::mm::vmstat::NodeStat;

impl Machine {
    /// Takes the pages of a range out of an area and lets go of them (`unmap_page_range`).
    pub(crate) fn zap_range(&mut self, vma: VmaId, start: u64, end: u64) {
        let mm = self.vmas[vma].mm;
        let pgd = self.mms[mm].pgd;
        if self.vmas[vma].flags.has(VmFlags::LOCKED) {
            // A child may keep a page: without this area nothing locks it any more.
            self.mlock_vma_pages_range(vma, start, end, false);
        }
        // Who reads in order does not come back to a page.
        let used = !self.vmas[vma].flags.has(VmFlags::SEQ_READ);
        let mut at = start;
        let mut flush = false;
        while let Some((leaf, part)) = self.tables.next_leaf(pgd, at, end) {
            let huge = self.tables.get(leaf).huge && self.zap_huge_pmd(mm, part.start, part.end);
            flush |= self.zap_table(mm, leaf, part.start, part.end, used);
            at = part.end;
            if huge {
                // The table that was put aside goes, too.
                self.free_pgtables(mm, part.clone(), part.start, part.end);
            }
        }
        if flush {
            self.flush_tlb_range(mm, start, end, true);
        }
    }

    /// Takes the pages out of one PTE table (`zap_pte_range`); true when one was mapped.
    fn zap_table(&mut self, mm: MmId, leaf: TableId, start: u64, end: u64, used: bool) -> bool {
        let first = index(VirtAddr(start), 0);
        let last = first + ((end - start) / PAGE_SIZE) as usize;
        let mut gone = [0; 4];
        let mut present = false;
        let entries = self.tables.get(leaf).entries;
        if entries[first..last].iter().all(|entry| *entry == 0) {
            return false;
        }
        self.tables.get_mut(leaf).entries[first..last].fill(0);
        for pte in entries[first..last].iter().map(|entry| Pte(*entry)).filter(|pte| !pte.is_none()) {
            if pte.is_swap() {
                self.swap_free(pte.swap_entry());
                gone[Rss::Swap as usize] += 1;
                continue;
            }
            present = true;
            if !pte.has(Pte::SPECIAL) {
                gone[self.zap_page(pte, used) as usize] += 1;
            }
        }
        for kind in [Rss::File, Rss::Anon, Rss::Swap, Rss::Shmem] {
            self.add_rss(mm, kind, -gone[kind as usize]);
        }
        present
    }

    /// Lets go of a page of which an entry is gone; the kind it was counted as.
    #[inline(always)]
    pub(crate) fn zap_page(&mut self, pte: Pte, used: bool) -> Rss {
        let pfn = pte.pfn();
        let page = self.mem_map.page_mut(pfn);
        // A page that is nothing but anonymous memory of this process is looked at once. Others are let go step by step.
        if !page.is_only_anon() {
            return self.zap_other_page(pte, used);
        }
        let was = *page;
        page.unmap_only();
        self.lru_unlink_page(pfn, &was).mod_stat(NodeStat::AnonPages, -1);
        // The entry's reference was the last one: what is left is a plain page that is given back.
        let freed = self.free_pages(pfn, Order::ZERO);
        debug_assert!(freed.is_ok(), "{freed:?}");
        Rss::Anon
    }

    fn zap_other_page(&mut self, pte: Pte, used: bool) -> Rss {
        let pfn = pte.pfn();
        let kind = self.mm_counter(pfn);
        if kind != Rss::Anon {
            // What the entry knew of a file's page, the page must know.
            if pte.has(Pte::DIRTY) {
                self.set_page_dirty(pfn);
            }
            if used && pte.has(Pte::ACCESSED) {
                self.mark_page_accessed(pfn);
            }
        }
        self.page_remove_rmap(pfn);
        self.free_page_and_swap_cache(pfn);
        kind
    }

    /// Lets go of a page that was unmapped; its swap slot goes too when nobody else needs it.
    #[inline]
    pub(crate) fn free_page_and_swap_cache(&mut self, pfn: Pfn) {
        let page = self.mem_map.page(pfn);
        if page.is(PageFlags::SWAPCACHE) && page.mapcount() == 0 {
            self.try_to_free_swap(pfn);
        }
        self.put_lru_page(pfn);
    }
}
