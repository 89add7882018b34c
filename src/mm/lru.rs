//! The lists of reclaim: pages that were used lately, and pages that were not.
//!
//! ```text
//!   new page ──► inactive ──(used again)──► active
//!                   │  ▲                      │
//!        evicted ◄──┘  └──────(aged)──────────┘
//! ```
//!
//! Gorman 10.1. Kernel: `mm/swap.c`, `include/linux/mm_inline.h`.
//! Fidelity: faithful — five lists a node, activation on second use, rotation after writeback, deferred activation.
//! Simplified — pages join at once; the kernel collects up to 15 on each CPU first.

use crate::mm::addr::Pfn;
use crate::mm::machine::Machine;
use crate::mm::mmzone::Node;
use crate::mm::page::{List, Page, PageFlags};
use crate::mm::vmstat::{NodeStat, VmEvent, ZoneStat};

/// A list of reclaim.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Lru {
    /// Anonymous pages not used lately.
    InactiveAnon,
    /// Anonymous pages in use.
    ActiveAnon,
    /// File pages not used lately.
    InactiveFile,
    /// File pages in use.
    ActiveFile,
    /// Pages that may not be reclaimed.
    Unevictable,
}

impl Lru {
    /// How many lists there are.
    pub const COUNT: usize = 5;
    /// The lists that reclaim looks at.
    pub const EVICTABLE: [Lru; 4] = [Lru::InactiveAnon, Lru::ActiveAnon, Lru::InactiveFile, Lru::ActiveFile];

    /// True for the active lists.
    pub fn is_active(self) -> bool {
        matches!(self, Lru::ActiveAnon | Lru::ActiveFile)
    }

    /// True for the lists of file pages.
    pub fn is_file(self) -> bool {
        matches!(self, Lru::InactiveFile | Lru::ActiveFile)
    }

    /// The node's counter of this list.
    pub fn node_stat(self) -> NodeStat {
        match self {
            Lru::InactiveAnon => NodeStat::InactiveAnon,
            Lru::ActiveAnon => NodeStat::ActiveAnon,
            Lru::InactiveFile => NodeStat::InactiveFile,
            Lru::ActiveFile => NodeStat::ActiveFile,
            Lru::Unevictable => NodeStat::Unevictable,
        }
    }

    /// A zone's counter of this list.
    pub fn zone_stat(self) -> ZoneStat {
        match self {
            Lru::InactiveAnon => ZoneStat::ZoneInactiveAnon,
            Lru::ActiveAnon => ZoneStat::ZoneActiveAnon,
            Lru::InactiveFile => ZoneStat::ZoneInactiveFile,
            Lru::ActiveFile => ZoneStat::ZoneActiveFile,
            Lru::Unevictable => ZoneStat::ZoneUnevictable,
        }
    }

    /// The list a page's flags put it on (`folio_lru_list`).
    #[inline]
    pub fn of(page: &crate::mm::page::Page) -> Lru {
        if page.is(PageFlags::UNEVICTABLE) {
            return Lru::Unevictable;
        }
        match (page.is(PageFlags::SWAPBACKED), page.is(PageFlags::ACTIVE)) {
            (true, false) => Lru::InactiveAnon,
            (true, true) => Lru::ActiveAnon,
            (false, false) => Lru::InactiveFile,
            (false, true) => Lru::ActiveFile,
        }
    }
}

/// The lists of a node, and what reclaim remembers about their cost (`struct lruvec`).
#[derive(Clone, Debug, Default)]
pub struct Lruvec {
    /// The lists, indexed by [`Lru`].
    pub lists: [List; Lru::COUNT],
    /// Cost of reclaiming anonymous pages: writes and refaults.
    pub anon_cost: u64,
    /// Cost of reclaiming file pages.
    pub file_cost: u64,
    /// Evictions and activations of anonymous and file pages: the clock of refault distances.
    pub nonresident_age: u64,
    /// Refaults at the last look, anonymous and file.
    pub refaults: [u64; 2],
}

impl Lruvec {
    /// Entries of a list.
    #[inline]
    pub fn size(&self, lru: Lru) -> u64 {
        u64::from(self.lists[lru as usize].len)
    }
}

impl Machine {
    /// Puts a page on the list its flags name (`lru_cache_add`).
    #[inline]
    pub(crate) fn lru_add(&mut self, pfn: Pfn) {
        self.mem_map.page_mut(pfn).set(PageFlags::LRU);
        self.lru_link(pfn, false);
    }

    /// Links a page into its list and counts it (`lruvec_add_folio`).
    #[inline]
    pub(crate) fn lru_link(&mut self, pfn: Pfn, tail: bool) {
        let page = self.mem_map.page(pfn);
        let lru = Lru::of(&page);
        let zone = &mut self.zones[page.zone().index()];
        zone.mod_stat(lru.zone_stat(), 1);
        let node = &mut self.nodes[zone.pgdat];
        node.mod_stat(lru.node_stat(), 1);
        let list = &mut node.lruvec.lists[lru as usize];
        if tail { list.push_back(&mut self.mem_map, pfn) } else { list.push_front(&mut self.mem_map, pfn) }
    }

    /// Takes a page out of its list (`lruvec_del_folio`).
    #[inline]
    pub(crate) fn lru_unlink(&mut self, pfn: Pfn) {
        let page = self.mem_map.page(pfn);
        self.lru_unlink_page(pfn, &page);
    }

    /// Takes a page out of its list that was just looked at; the node it belongs to.
    #[inline(always)]
    pub(crate) fn lru_unlink_page(&mut self, pfn: Pfn, page: &Page) -> &mut Node {
        let lru = Lru::of(page);
        let zone = &mut self.zones[page.zone().index()];
        zone.mod_stat(lru.zone_stat(), -1);
        let node = &mut self.nodes[zone.pgdat];
        node.mod_stat(lru.node_stat(), -1);
        node.lruvec.lists[lru as usize].unlink(&mut self.mem_map, pfn, page.prev, page.next);
        node
    }

    /// Moves a page to the active list (`folio_activate`).
    pub(crate) fn activate_page(&mut self, pfn: Pfn) {
        let page = self.mem_map.page(pfn);
        if !page.is(PageFlags::LRU) || page.is_any(PageFlags::ACTIVE | PageFlags::UNEVICTABLE) {
            return;
        }
        self.lru_unlink(pfn);
        self.mem_map.page_mut(pfn).set(PageFlags::ACTIVE);
        self.lru_link(pfn, false);
        self.vmstat.count(VmEvent::Pgactivate, 1);
    }

    /// A page was used: first it is referenced, then it is activated (`mark_page_accessed`).
    pub fn mark_page_accessed(&mut self, pfn: Pfn) {
        let page = self.mem_map.page(pfn);
        if !page.is(PageFlags::REFERENCED) {
            self.mem_map.page_mut(pfn).set(PageFlags::REFERENCED);
        } else if !page.is_any(PageFlags::ACTIVE | PageFlags::UNEVICTABLE) {
            self.activate_page(pfn);
            self.mem_map.page_mut(pfn).clear(PageFlags::REFERENCED);
        }
    }

    /// A page whose writeback ended goes to the end of the inactive list: next in line (`folio_rotate_reclaimable`).
    pub(crate) fn rotate_reclaimable_page(&mut self, pfn: Pfn) {
        let page = self.mem_map.page(pfn);
        if page.is(PageFlags::LRU)
            && !page.is_any(PageFlags::LOCKED | PageFlags::DIRTY | PageFlags::UNEVICTABLE)
        {
            self.lru_unlink(pfn);
            self.mem_map.page_mut(pfn).clear(PageFlags::ACTIVE);
            self.lru_link(pfn, true);
            self.vmstat.count(VmEvent::Pgrotated, 1);
        }
    }

    /// A page of a locked area stays in memory (`mlock_new_folio`).
    pub(crate) fn mlock_new_page(&mut self, pfn: Pfn) {
        let page = self.mem_map.page_mut(pfn);
        page.set(PageFlags::MLOCKED | PageFlags::UNEVICTABLE);
        let zone = page.zone();
        self.zones[zone.index()].mod_stat(ZoneStat::Mlock, 1);
        self.vmstat.count(VmEvent::UnevictablePgsMlocked, 1);
    }

    /// Drops a reference of a page that may be on a list; the last one frees it (`folio_put`).
    #[inline]
    pub(crate) fn put_lru_page(&mut self, pfn: Pfn) {
        let page = self.mem_map.page_mut(pfn);
        page.refcount -= 1;
        if page.refcount == 0 {
            if page.is(PageFlags::LRU) {
                self.lru_unlink(pfn);
            }
            let page = self.mem_map.page_mut(pfn);
            if page.is(PageFlags::MLOCKED) {
                let zone = page.zone();
                self.zones[zone.index()].mod_stat(ZoneStat::Mlock, -1);
                self.vmstat.count(VmEvent::UnevictablePgsCleared, 1);
            }
            let page = self.mem_map.page_mut(pfn);
            page.mapping = 0;
            page.private = 0;
            self.free_unreferenced(pfn, crate::mm::addr::Order::ZERO);
        }
    }
}
