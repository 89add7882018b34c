//! Looking at pages: used lately, dirty, or free to go.
//!
//! Kernel: `mm/vmscan.c` (`shrink_inactive_list`, `shrink_folio_list`, `shrink_active_list`, `pageout`).
//! Fidelity: faithful — isolation, references of all mappings, swap slot, unmap, write, free; what is kept goes back.
//! Simplified — whoever reclaims writes dirty pages of files; without a flusher nobody else would. Absent — throttling on
//! dirty file pages, large folios.

use super::SWAP_CLUSTER_MAX;
use super::lumpy::Lump;
use super::scan::ScanControl;
use crate::mm::addr::{Order, Pfn};
use crate::mm::config::ZoneType;
use crate::mm::fs::FileId;
use crate::mm::gfp::Gfp;
use crate::mm::lru::Lru;
use crate::mm::machine::Machine;
use crate::mm::page::PageFlags;
use crate::mm::pgtable::{Pte, index};
use crate::mm::trace::Event;
use crate::mm::vma::VmFlags;
use crate::mm::vmstat::{NodeStat, VmEvent, ZoneEvent};
use crate::mm::xarray::Entry;

/// What becomes of a page that was looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Freed.
    Freed,
    /// Stays on the inactive list.
    Keep,
    /// Goes to the active list.
    Activate,
    /// Writing it began.
    Written,
}

impl Machine {
    /// Takes up to `nr_to_scan` pages off the end of a list (`isolate_lru_folios`); they, and how many were looked at.
    fn isolate_lru_pages(
        &mut self,
        node: usize,
        nr_to_scan: u64,
        sc: &ScanControl,
        lru: Lru,
    ) -> (Vec<Pfn>, u64) {
        let mut isolated = std::mem::take(&mut self.isolated);
        isolated.clear();
        let mut skipped = Vec::new();
        let mut scanned = 0;
        let mut lump = Lump::default();
        while scanned < nr_to_scan {
            let pfn = self.nodes[node].lruvec.lists[lru as usize].tail;
            if pfn == Pfn::NIL {
                break;
            }
            let zone = self.mem_map.page(pfn).zone();
            self.lru_unlink(pfn);
            if self.zones[zone.index()].kind > sc.reclaim_idx {
                let kind = self.zones[zone.index()].kind;
                self.vmstat.count_zone(ZoneEvent::Pgskip, kind, 1);
                skipped.push(pfn);
                continue;
            }
            scanned += 1;
            let page = self.mem_map.page_mut(pfn);
            page.clear(PageFlags::LRU);
            page.refcount += 1;
            isolated.push(pfn);
            if sc.lumpy {
                let before = lump.taken;
                self.isolate_neighbours(pfn, sc.order, &mut isolated, &mut lump);
                scanned += lump.taken - before;
            }
        }
        if sc.lumpy {
            self.trace_lump(sc, nr_to_scan, scanned, isolated.len() as u64, lump);
        }
        // Pages of zones that would not help go to the front: the next scan does not meet them again.
        for pfn in skipped.into_iter().rev() {
            self.lru_link(pfn, false);
        }
        (isolated, scanned)
    }

    /// Looks at pages of an inactive list and frees what it can (`shrink_inactive_list`).
    pub(super) fn shrink_inactive_list(
        &mut self,
        node: usize,
        nr_to_scan: u64,
        sc: &mut ScanControl,
        lru: Lru,
    ) -> u64 {
        self.lru_add_drain();
        sc.lumpy = self.is_lumpy(sc);
        let (pages, scanned) = self.isolate_lru_pages(node, nr_to_scan, sc, lru);
        let file = lru.is_file();
        let [anon_pages, file_pages] = if sc.lumpy {
            self.count_isolated(node, &pages, 1)
        } else {
            let stat = if file { NodeStat::IsolatedFile } else { NodeStat::IsolatedAnon };
            self.nodes[node].mod_stat(stat, pages.len() as i64);
            if file { [0, pages.len() as i64] } else { [pages.len() as i64, 0] }
        };
        self.vmstat.count(if sc.kswapd { VmEvent::PgscanKswapd } else { VmEvent::PgscanDirect }, scanned);
        self.vmstat.count(if file { VmEvent::PgscanFile } else { VmEvent::PgscanAnon }, scanned);
        sc.nr_scanned += pages.len() as u64;
        let (mut freed, mut written) = (0, 0);
        let mut kept = Vec::new();
        for &pfn in &pages {
            match self.shrink_page(pfn, sc) {
                Fate::Freed => freed += 1,
                fate => {
                    written += u64::from(fate == Fate::Written);
                    if sc.lumpy { kept.push((pfn, fate)) } else { self.keep_page(pfn, fate) }
                }
            }
        }
        // A lump is worth nothing with a hole in it: whoever needs it waits for the pages that are being written.
        let stall = self.should_reclaim_stall(sc, kept.len());
        for (pfn, fate) in kept {
            if stall {
                self.wait_on_page_writeback(pfn);
            }
            match if stall { self.shrink_page(pfn, sc) } else { fate } {
                Fate::Freed => freed += 1,
                fate => self.keep_page(pfn, fate),
            }
        }
        self.nodes[node].mod_stat(NodeStat::IsolatedAnon, -anon_pages);
        self.nodes[node].mod_stat(NodeStat::IsolatedFile, -file_pages);
        self.vmstat.count(if sc.kswapd { VmEvent::PgstealKswapd } else { VmEvent::PgstealDirect }, freed);
        self.vmstat.count(if file { VmEvent::PgstealFile } else { VmEvent::PgstealAnon }, freed);
        self.note_cost(node, file, written);
        let nid = self.nodes[node].nid;
        if self.trace.hot {
            self.emit(Event::LruShrinkInactive {
                nid,
                scanned,
                reclaimed: freed,
                priority: sc.priority,
                file,
            });
        }
        self.isolated = pages;
        self.charge(scanned * self.config.costs.scan_page);
        freed
    }

    /// Reclaims these pages, used or not, whatever the state of memory (`reclaim_pages`); how many went.
    pub(crate) fn reclaim_pages(&mut self, pages: &[Pfn]) -> u64 {
        let mut sc = ScanControl::new(Gfp::KERNEL, Order::ZERO, ZoneType::Device, pages.len() as u64);
        sc.ignore_references = true;
        let mut freed = 0;
        for &pfn in pages {
            let page = self.mem_map.page(pfn);
            if !page.is(PageFlags::LRU) || page.is(PageFlags::UNEVICTABLE) {
                continue;
            }
            self.lru_unlink(pfn);
            let page = self.mem_map.page_mut(pfn);
            page.clear(PageFlags::LRU | PageFlags::ACTIVE);
            page.refcount += 1;
            match self.shrink_page(pfn, &sc) {
                Fate::Freed => freed += 1,
                fate => self.keep_page(pfn, fate),
            }
        }
        freed
    }

    /// A page that was looked at and stays goes back to a list, the active one if it is in use.
    #[inline]
    fn keep_page(&mut self, pfn: Pfn, fate: Fate) {
        if fate == Fate::Activate {
            let page = self.mem_map.page_mut(pfn);
            if !page.is(PageFlags::MLOCKED) {
                page.set(PageFlags::ACTIVE);
                self.vmstat.count(VmEvent::Pgactivate, 1);
            }
        }
        self.putback_lru_page(pfn);
    }

    /// Reclaim of a kind cost this much (`lru_note_cost`).
    fn note_cost(&mut self, node: usize, file: bool, pages: u64) {
        let lruvec = &mut self.nodes[node].lruvec;
        if file {
            lruvec.file_cost += pages
        } else {
            lruvec.anon_cost += pages
        }
        let size: u64 = Lru::EVICTABLE.iter().map(|l| lruvec.size(*l)).sum();
        // Old costs fade.
        if lruvec.file_cost + lruvec.anon_cost > size / 4 {
            lruvec.file_cost /= 2;
            lruvec.anon_cost /= 2;
        }
    }

    /// Puts an isolated page back on the list its flags name, and drops the reference of isolation.
    fn putback_lru_page(&mut self, pfn: Pfn) {
        let page = self.mem_map.page_mut(pfn);
        if page.refcount == 1 {
            page.clear(PageFlags::ACTIVE);
            return self.put_lru_page(pfn);
        }
        page.refcount -= 1;
        self.lru_add(pfn);
    }

    /// Decides about one isolated page (`shrink_folio_list`, one turn).
    fn shrink_page(&mut self, pfn: Pfn, sc: &ScanControl) -> Fate {
        let page = self.mem_map.page(pfn);
        if page.is(PageFlags::LOCKED) {
            return Fate::Keep;
        }
        if page.is(PageFlags::UNEVICTABLE) {
            return Fate::Activate;
        }
        if page.is(PageFlags::WRITEBACK) {
            // Being written: when that is done, it comes to the end of the list at once.
            self.mem_map.page_mut(pfn).set(PageFlags::RECLAIM);
            return Fate::Activate;
        }
        let file = self.file_of(pfn);
        let lazyfree = page.is_lazyfree();
        let anon = page.is(PageFlags::SWAPBACKED) && file.is_none();
        let references = self.check_references(pfn);
        match references {
            // A lump takes pages as they come.
            _ if sc.lumpy || sc.ignore_references => {}
            References::Activate => return Fate::Activate,
            References::Keep => return Fate::Keep,
            References::Reclaim | References::ReclaimClean => {}
        }
        if anon && !page.is(PageFlags::SWAPCACHE) {
            if !sc.may_io() {
                return Fate::Keep;
            }
            if !self.add_to_swap(pfn) {
                return Fate::Activate;
            }
        }
        if page.mapcount() > 0 {
            self.try_to_unmap(pfn);
            if self.mem_map.page(pfn).mapcount() > 0 {
                return Fate::Activate;
            }
        }
        if lazyfree {
            return self.discard_lazyfree(pfn);
        }
        let page = self.mem_map.page(pfn);
        if page.is(PageFlags::DIRTY) {
            let may_enter = if page.is(PageFlags::SWAPCACHE) { sc.may_io() } else { sc.may_enter_fs() };
            if !sc.may_writepage || !may_enter || references == References::ReclaimClean {
                return Fate::Keep;
            }
            return self.pageout(pfn, file);
        }
        self.remove_mapping(pfn)
    }

    /// Starts writing a page to swap or, one of a file, to its disk (`pageout`).
    fn pageout(&mut self, pfn: Pfn, file: Option<FileId>) -> Fate {
        // The isolation's reference, the cache's, and no other.
        if self.mem_map.page(pfn).refcount != 2 {
            return Fate::Keep;
        }
        match file {
            Some(file) if self.files[file].can_writeback() => {
                self.mem_map.page_mut(pfn).set(PageFlags::RECLAIM);
                self.write_page(file, pfn);
            }
            Some(_) if !self.shmem_writepage(pfn) => return Fate::Activate,
            Some(_) | None if !self.mem_map.page(pfn).is(PageFlags::SWAPCACHE) => return Fate::Keep,
            Some(_) | None => {
                let page = self.mem_map.page_mut(pfn);
                page.clear(PageFlags::DIRTY);
                page.set(PageFlags::RECLAIM);
                self.swap_writepage(pfn);
            }
        }
        let pgdat = self.zones[self.mem_map.page(pfn).zone().index()].pgdat;
        self.nodes[pgdat].mod_stat(NodeStat::VmscanWrite, 1);
        Fate::Written
    }

    /// Frees a clean page that nobody maps (`__remove_mapping`).
    fn remove_mapping(&mut self, pfn: Pfn) -> Fate {
        let page = self.mem_map.page(pfn);
        if page.is(PageFlags::SWAPCACHE) {
            if page.refcount != 2 {
                return Fate::Keep;
            }
            self.workingset_eviction(pfn);
            self.delete_from_swap_cache(pfn);
            self.mem_map.page_mut(pfn).refcount -= 1;
        } else if let Some(file) = self.file_of(pfn) {
            if page.refcount != 2 {
                return Fate::Keep;
            }
            self.delete_from_page_cache(pfn, Entry::NONE);
            self.shmem_uncharge(file, 1);
            self.mem_map.page_mut(pfn).refcount -= 1;
        } else {
            // A clean page of a file that was there at boot: its file holds the only other reference.
            let pgdat = self.zones[page.zone().index()].pgdat;
            self.nodes[pgdat].mod_stat(NodeStat::FilePages, -1);
            self.mem_map.page_mut(pfn).refcount = 1;
        }
        let page = self.mem_map.page_mut(pfn);
        page.clear(PageFlags::ACTIVE | PageFlags::REFERENCED);
        self.put_lru_page(pfn);
        Fate::Freed
    }

    /// Frees a page whose owner said that it may go, and who did not write to it since (`shrink_folio_list`).
    fn discard_lazyfree(&mut self, pfn: Pfn) -> Fate {
        if self.mem_map.page(pfn).refcount != 1 {
            return Fate::Keep;
        }
        self.vmstat.count(VmEvent::Pglazyfreed, 1);
        self.mem_map.page_mut(pfn).clear(PageFlags::ACTIVE | PageFlags::REFERENCED);
        self.put_lru_page(pfn);
        Fate::Freed
    }

    /// Frees a clean page of a file that nobody maps, used or not (`reclaim_clean_pages_from_list`).
    pub(crate) fn reclaim_clean_page(&mut self, pfn: Pfn) -> bool {
        let page = self.mem_map.page(pfn);
        let kept = PageFlags::SWAPBACKED
            | PageFlags::DIRTY
            | PageFlags::UNEVICTABLE
            | PageFlags::WRITEBACK
            | PageFlags::LOCKED;
        if !page.is(PageFlags::LRU) || page.is_any(kept) || page.mapcount() > 0 {
            return false;
        }
        self.lru_unlink(pfn);
        let page = self.mem_map.page_mut(pfn);
        page.clear(PageFlags::LRU);
        page.refcount += 1;
        if self.remove_mapping(pfn) == Fate::Freed {
            return true;
        }
        self.putback_lru_page(pfn);
        false
    }

    /// Was the page used since reclaim last looked? (`folio_check_references`)
    fn check_references(&mut self, pfn: Pfn) -> References {
        let (referenced_ptes, flags) = self.page_referenced(pfn);
        if flags.has(VmFlags::LOCKED) {
            return References::Activate;
        }
        let page = self.mem_map.page_mut(pfn);
        let referenced = page.test_and_clear(PageFlags::REFERENCED);
        let file = !page.is(PageFlags::SWAPBACKED);
        if referenced_ptes > 0 {
            page.set(PageFlags::REFERENCED);
            // Executable pages of files are used for certain.
            if referenced || referenced_ptes > 1 || (file && flags.has(VmFlags::EXEC)) {
                return References::Activate;
            }
            return References::Keep;
        }
        if referenced && file { References::ReclaimClean } else { References::Reclaim }
    }

    /// Entries that say the page was used, the marks are taken away; and the flags of their areas, of a locked one in
    /// any case (`folio_referenced`).
    fn page_referenced(&mut self, pfn: Pfn) -> (u32, VmFlags) {
        let (mut referenced, mut flags) = (0, VmFlags::default());
        for (vma, addr, leaf) in self.rmap(pfn) {
            if self.vmas[vma].flags.has(VmFlags::LOCKED) {
                flags = flags.with(VmFlags::LOCKED);
                continue;
            }
            let pte = Pte(self.tables.get(leaf).entries[index(addr, 0)]);
            if pte.has(Pte::ACCESSED) {
                self.tables.set(leaf, addr, pte.without(Pte::ACCESSED));
                // x86 leaves the translation: a page in constant use is found again through other entries' turnover.
                self.flush_tlb_page(self.vmas[vma].mm, addr);
                referenced += 1;
                flags = flags.with(self.vmas[vma].flags);
            }
        }
        (referenced, flags)
    }

    /// Moves pages of an active list to the inactive one (`shrink_active_list`).
    pub(super) fn shrink_active_list(
        &mut self,
        node: usize,
        nr_to_scan: u64,
        sc: &mut ScanControl,
        lru: Lru,
    ) {
        self.lru_add_drain();
        let (pages, scanned) = self.isolate_lru_pages(node, nr_to_scan, sc, lru);
        self.vmstat.count(VmEvent::Pgrefill, scanned);
        let mut moved = 0;
        for &pfn in &pages {
            let page = self.mem_map.page(pfn);
            let (referenced, flags) = match page.is(PageFlags::UNEVICTABLE) {
                true => (0, VmFlags::default()),
                false => self.page_referenced(pfn),
            };
            // Executable pages of files in use are spared; others get another chance down there.
            let spared = referenced > 0 && flags.has(VmFlags::EXEC) && !page.is(PageFlags::SWAPBACKED);
            if !page.is(PageFlags::UNEVICTABLE) && !spared {
                let page = self.mem_map.page_mut(pfn);
                page.clear(PageFlags::ACTIVE);
                page.set(PageFlags::WORKINGSET);
                moved += 1;
            }
            self.putback_lru_page(pfn);
        }
        self.vmstat.count(VmEvent::Pgdeactivate, moved);
        self.isolated = pages;
        self.charge(scanned * self.config.costs.scan_page);
        debug_assert!(nr_to_scan <= SWAP_CLUSTER_MAX.max(nr_to_scan));
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum References {
    Activate,
    Keep,
    Reclaim,
    /// Unless it would have to be written.
    ReclaimClean,
}
