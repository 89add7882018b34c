//! Taking a page out of every table that maps it, because it is to be reclaimed.
//!
//! ```text
//!   page of a file       entry ──► empty            the file still has it
//!   anonymous            entry ──► swap slot        its bytes are written there
//!   lazily freed, clean  entry ──► empty            nobody will miss it; written since: it stays, and is to be swapped again
//! ```
//!
//! Gorman 10.3. Kernel: `mm/rmap.c` (`try_to_unmap_one`).
//! Fidelity: faithful — what the entry becomes, dirty marks, locked areas, what MADV_FREE allows.

use crate::mm::addr::{Pfn, VirtAddr};
use crate::mm::machine::Machine;
use crate::mm::page::PageFlags;
use crate::mm::pgtable::{Pte, SwapEntry, TableId, index};
use crate::mm::task::Rss;
use crate::mm::vma::{VmFlags, VmaId};

impl Machine {
    /// Takes the page out of every table that maps it, but for locked areas (`try_to_unmap`).
    pub(crate) fn try_to_unmap(&mut self, pfn: Pfn) {
        if self.mem_map.page(pfn).is_thp() {
            self.split_huge_page(pfn);
        }
        for (vma, addr, leaf) in self.rmap(pfn) {
            if self.vmas[vma].flags.has(VmFlags::LOCKED) {
                continue;
            }
            self.split_huge_pmd(self.vmas[vma].mm, addr);
            self.flush_tlb_page(self.vmas[vma].mm, addr);
            match self.page_swap_entry(pfn) {
                Some(slot) => self.unmap_to_swap(pfn, slot, (vma, addr, leaf)),
                None if self.mem_map.page(pfn).is_lazyfree() => {
                    if !self.unmap_lazyfree(pfn, (vma, addr, leaf)) {
                        return;
                    }
                }
                None => self.unmap_file_page(pfn, (vma, addr, leaf)),
            }
        }
    }

    /// The entry becomes empty: the file still has the page.
    fn unmap_file_page(&mut self, pfn: Pfn, (vma, addr, leaf): (VmaId, VirtAddr, TableId)) {
        let pte = Pte(self.tables.get(leaf).entries[index(addr, 0)]);
        self.tables.set(leaf, addr, Pte::default());
        if pte.has(Pte::DIRTY) {
            self.set_page_dirty(pfn);
        }
        self.let_go_of(pfn, vma, self.mm_counter_file(pfn));
    }

    /// The entry names the page's swap slot instead.
    fn unmap_to_swap(&mut self, pfn: Pfn, slot: SwapEntry, (vma, addr, leaf): (VmaId, VirtAddr, TableId)) {
        let pte = Pte(self.tables.get(leaf).entries[index(addr, 0)]);
        let exclusive = self.mem_map.page(pfn).is(PageFlags::EXCLUSIVE);
        if pte.has(Pte::DIRTY) {
            self.mem_map.page_mut(pfn).set(PageFlags::DIRTY);
        }
        self.swap_duplicate(slot);
        self.tables.set(leaf, addr, Pte::swap(slot, exclusive));
        self.add_rss(self.vmas[vma].mm, Rss::Swap, 1);
        self.let_go_of(pfn, vma, Rss::Anon);
        self.mem_map.page_mut(pfn).clear(PageFlags::EXCLUSIVE);
    }

    /// The entry becomes empty if nobody wrote to the page since its owner gave it up; else the page is one to be
    /// swapped again, and false the answer.
    fn unmap_lazyfree(&mut self, pfn: Pfn, (vma, addr, leaf): (VmaId, VirtAddr, TableId)) -> bool {
        let pte = Pte(self.tables.get(leaf).entries[index(addr, 0)]);
        let page = self.mem_map.page_mut(pfn);
        if pte.has(Pte::DIRTY) {
            page.set(PageFlags::DIRTY);
        }
        // The references of the entries and of the isolation, and no other.
        if page.is(PageFlags::DIRTY) || page.refcount != 1 + page.mapcount() {
            page.set(PageFlags::SWAPBACKED);
            return false;
        }
        self.tables.set(leaf, addr, Pte::default());
        self.let_go_of(pfn, vma, Rss::Anon);
        true
    }

    /// An entry of the area no longer maps the page.
    fn let_go_of(&mut self, pfn: Pfn, vma: VmaId, kind: Rss) {
        self.add_rss(self.vmas[vma].mm, kind, -1);
        self.page_remove_rmap(pfn);
        self.mem_map.page_mut(pfn).refcount -= 1;
    }
}
