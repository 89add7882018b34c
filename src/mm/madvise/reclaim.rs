//! Advice about pages: give them up, let them age, write them out, bring them back.
//!
//! Kernel: `mm/madvise.c` (`madvise_free_pte_range`, `madvise_cold_or_pageout_pte_range`), `mm/swap.c`.
//! Fidelity: faithful — shared pages are left alone, lazily freed pages keep their contents until reclaim comes.

use crate::mm::addr::{PAGE_SIZE, Pfn, VirtAddr};
use crate::mm::machine::Machine;
use crate::mm::page::PageFlags;
use crate::mm::pgtable::{Pte, TableId, index};
use crate::mm::rmap::MAPPING_ANON;
use crate::mm::task::Rss;
use crate::mm::vma::VmaId;
use crate::mm::vmstat::VmEvent;

impl Machine {
    /// Pages may be freed when memory is short, unless they are written before (`madvise_free_single_vma`).
    pub(super) fn madvise_free(&mut self, id: VmaId, start: u64, end: u64) {
        self.lru_add_drain();
        let mm = self.vmas[id].mm;
        for (addr, leaf, pte) in self.entries_of(id, start, end) {
            if pte.is_swap() {
                self.swap_free(pte.swap_entry());
                self.tables.set(leaf, addr, Pte(0));
                self.add_rss(mm, Rss::Swap, -1);
                continue;
            }
            let pfn = pte.pfn();
            if self.mem_map.page(pfn).is_any(PageFlags::SWAPCACHE | PageFlags::DIRTY) {
                // Somebody else may still need what the slot holds.
                if self.mem_map.page(pfn).mapcount() != 1 {
                    continue;
                }
                if self.mem_map.page(pfn).is(PageFlags::SWAPCACHE) {
                    self.try_to_free_swap(pfn);
                    if self.mem_map.page(pfn).is(PageFlags::SWAPCACHE) {
                        continue;
                    }
                }
                self.mem_map.page_mut(pfn).clear(PageFlags::DIRTY);
            }
            if pte.0 & (Pte::ACCESSED | Pte::DIRTY) != 0 {
                self.tables.set(leaf, addr, pte.without(Pte::ACCESSED | Pte::DIRTY));
                self.flush_tlb_page(mm, addr);
            }
            self.mark_page_lazyfree(pfn);
        }
    }

    /// Pages look as if nobody had used them lately (`madvise_cold`).
    pub(super) fn madvise_cold(&mut self, id: VmaId, start: u64, end: u64) {
        self.lru_add_drain();
        for (addr, leaf, pte) in self.entries_of(id, start, end) {
            if let Some(pfn) = self.age_entry(id, addr, leaf, pte) {
                self.deactivate_page(pfn);
            }
        }
    }

    /// Pages are reclaimed now, used or not (`madvise_pageout`).
    pub(super) fn madvise_pageout(&mut self, id: VmaId, start: u64, end: u64) {
        self.lru_add_drain();
        let mut pages = Vec::new();
        for (addr, leaf, pte) in self.entries_of(id, start, end) {
            pages.extend(self.age_entry(id, addr, leaf, pte));
        }
        self.reclaim_pages(&pages);
    }

    /// Takes the mark of use from an entry; its page, if no other entry maps it.
    fn age_entry(&mut self, id: VmaId, addr: VirtAddr, leaf: TableId, pte: Pte) -> Option<Pfn> {
        let pfn = pte.pfn();
        if pte.is_swap() || self.mem_map.page(pfn).mapcount() != 1 {
            return None;
        }
        if pte.has(Pte::ACCESSED) {
            self.tables.set(leaf, addr, pte.without(Pte::ACCESSED));
            self.flush_tlb_page(self.vmas[id].mm, addr);
        }
        self.mem_map.page_mut(pfn).clear(PageFlags::REFERENCED);
        Some(pfn)
    }

    /// Reads what lies in swap, without waiting for it (`madvise_willneed`, `swapin_walk_pmd_entry`).
    pub(super) fn madvise_willneed(&mut self, id: VmaId, start: u64, end: u64) {
        for (_, _, pte) in self.entries_of(id, start, end) {
            if pte.is_swap() && self.lookup_swap_cache(pte.swap_entry()).is_none() {
                // A page that cannot be had now is read when it is needed.
                let _ = self.read_swap_cache(pte.swap_entry(), false);
            }
        }
        self.lru_add_drain();
    }

    /// Entries of pages and of swap slots in a range; the frame of zeros is not among them.
    fn entries_of(&self, id: VmaId, start: u64, end: u64) -> Vec<(VirtAddr, TableId, Pte)> {
        let pgd = self.mms[self.vmas[id].mm].pgd;
        let mut found = Vec::new();
        let mut at = start;
        while let Some((leaf, part)) = self.tables.next_leaf(pgd, at, end) {
            at = part.end;
            for addr in part.step_by(PAGE_SIZE as usize).map(VirtAddr) {
                let pte = Pte(self.tables.get(leaf).entries[index(addr, 0)]);
                if pte.is_swap() || (pte.is_present() && !pte.has(Pte::SPECIAL)) {
                    found.push((addr, leaf, pte));
                }
            }
        }
        found
    }

    /// The page moves to the inactive list (`deactivate_page`).
    pub(crate) fn deactivate_page(&mut self, pfn: Pfn) {
        let page = self.mem_map.page(pfn);
        if !page.is(PageFlags::LRU | PageFlags::ACTIVE) || page.is(PageFlags::UNEVICTABLE) {
            return;
        }
        self.lru_unlink(pfn);
        self.mem_map.page_mut(pfn).clear(PageFlags::ACTIVE | PageFlags::REFERENCED);
        self.lru_link(pfn, false);
        self.vmstat.count(VmEvent::Pgdeactivate, 1);
    }

    /// The page waits on this CPU to be moved where clean pages are; a full batch moves (`mark_page_lazyfree`).
    fn mark_page_lazyfree(&mut self, pfn: Pfn) {
        /// Pages of a batch (`PAGEVEC_SIZE`).
        const BATCH: usize = 15;
        if !is_lazyfree_candidate(&self.mem_map.page(pfn)) {
            return;
        }
        self.mem_map.page_mut(pfn).refcount += 1;
        self.lazyfree.push(pfn);
        if self.lazyfree.len() == BATCH {
            self.lru_add_drain();
        }
    }

    /// Pages that wait on this CPU for their list get there (`lru_add_drain`).
    pub(crate) fn lru_add_drain(&mut self) {
        while let Some(pfn) = self.lazyfree.pop() {
            if is_lazyfree_candidate(&self.mem_map.page(pfn)) {
                // Clean, it can be dropped: that is what the list of inactive file pages is for.
                self.lru_unlink(pfn);
                let flags = PageFlags::ACTIVE | PageFlags::REFERENCED | PageFlags::SWAPBACKED;
                self.mem_map.page_mut(pfn).clear(flags);
                self.lru_link(pfn, false);
                self.vmstat.count(VmEvent::Pglazyfree, 1);
            }
            self.put_lru_page(pfn);
        }
    }
}

/// An anonymous page on a list of reclaim that could still be lazily freed.
fn is_lazyfree_candidate(page: &crate::mm::page::Page) -> bool {
    page.mapping & MAPPING_ANON != 0
        && page.is(PageFlags::LRU | PageFlags::SWAPBACKED)
        && !page.is_any(PageFlags::SWAPCACHE | PageFlags::UNEVICTABLE)
}
