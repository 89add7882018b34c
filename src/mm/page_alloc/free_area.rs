//! The free lists of a zone: a block is taken and split, given back and merged.
//!
//! ```text
//!   take order 0:  16 ──► 8 + 8 ──► 4 + 4 ──► 2 + 2 ──► 1 + 1      the upper halves go on their lists
//!   give it back:  1 + 1 ──► 2 + 2 ──► 4 + …                       while the buddy is free too
//! ```
//!
//! Gorman 6.2, 6.3. Kernel: `mm/page_alloc.c` (`__rmqueue_smallest`, `expand`, `__free_one_page`).
//! Fidelity: faithful — split, merge, list order.

use crate::mm::addr::{Order, Pfn};
use crate::mm::config::MigrateType;
use crate::mm::mmzone::{Pageblocks, Zone};
use crate::mm::page::{MemMap, PageType};
use crate::mm::vmstat::ZoneStat;

/// Where a freed block goes on its list.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum FreeTo {
    /// At the front, or at the end when its buddy's buddy is likely to come back soon.
    Likely,
    /// At the end: memory handed over at boot.
    Tail,
}

impl Zone {
    /// Takes the smallest block that is large enough and splits it; also says what was split.
    #[inline(always)]
    pub(super) fn rmqueue_smallest(
        &mut self,
        map: &mut MemMap,
        order: Order,
        migratetype: MigrateType,
    ) -> Option<(Pfn, Order)> {
        let from = self.smallest_free(order, migratetype)?;
        let pfn = self.take_block(map, from, migratetype)?;
        self.mod_stat(ZoneStat::FreePages, -i64::from(order.pages()));
        if migratetype == MigrateType::Cma {
            self.mod_stat(ZoneStat::FreeCma, -i64::from(order.pages()));
        }
        self.expand(map, pfn, order, from, migratetype);
        Some((pfn, from))
    }

    /// True when a block of this order or a larger one is free, of a type that every request may use.
    #[inline(always)]
    pub(super) fn has_block_for_all(&self, order: Order) -> bool {
        let [unmovable, movable, reclaimable, ..] = self.nonempty;
        order == Order::ZERO || (unmovable | movable | reclaimable) >> order.get() != 0
    }

    /// Takes the first free block of exactly this order and type off its list.
    #[inline(always)]
    pub(crate) fn take_block(
        &mut self,
        map: &mut MemMap,
        order: Order,
        migratetype: MigrateType,
    ) -> Option<Pfn> {
        let list = &mut self.free_area[order.index()].lists[migratetype.index()];
        let Some((pfn, page)) = list.pop_front_mut(map) else {
            let virgin = order == Order::MAX && migratetype == MigrateType::Movable;
            return if virgin { self.take_virgin() } else { None };
        };
        page.set_page_type(None);
        if list.is_empty() {
            self.note_emptied(order, migratetype);
        }
        Some(pfn)
    }

    /// Takes the lowest block that nobody touched since boot.
    fn take_virgin(&mut self) -> Option<Pfn> {
        let range = self.virgin.front_mut()?;
        let pfn = Pfn(range.0);
        range.0 += Order::MAX.pages();
        if range.0 == range.1 {
            self.virgin.pop_front();
            self.note_emptied(Order::MAX, MigrateType::Movable);
        }
        Some(pfn)
    }

    /// Splits a block down to the wanted order; the upper halves go back as free blocks (`expand`).
    #[inline(always)]
    pub(crate) fn expand(
        &mut self,
        map: &mut MemMap,
        pfn: Pfn,
        want: Order,
        from: Order,
        migratetype: MigrateType,
    ) {
        let mut order = from;
        while let Some(half) = order.down().filter(|half| *half >= want) {
            order = half;
            self.add_block(map, pfn.up(order.pages()), order, migratetype, false);
        }
    }

    /// Puts a free block on its list.
    #[inline(always)]
    pub(crate) fn add_block(
        &mut self,
        map: &mut MemMap,
        pfn: Pfn,
        order: Order,
        migratetype: MigrateType,
        tail: bool,
    ) {
        let list = &mut self.free_area[order.index()].lists[migratetype.index()];
        let page = map.page_mut(pfn);
        page.set_page_type(Some(PageType::Buddy));
        page.private = u32::from(order.get());
        // The kernel's list_del does not ask which list; ours keeps each list's length.
        page.index = migratetype as u32;
        if tail {
            page.prev = list.tail;
            list.link_back(map, pfn);
        } else {
            page.next = list.head;
            list.link_front(map, pfn);
        }
        self.nonempty[migratetype.index()] |= 1 << order.get();
    }

    /// Takes a free block out of the middle of its list (`del_page_from_free_list`).
    #[inline(always)]
    pub(crate) fn del_block(&mut self, map: &mut MemMap, pfn: Pfn, order: Order) {
        let page = map.page_mut(pfn);
        let (migratetype, prev, next) = (MigrateType::ALL[page.index as usize], page.prev, page.next);
        page.set_page_type(None);
        let list = &mut self.free_area[order.index()].lists[migratetype.index()];
        list.unlink(map, pfn, prev, next);
        if list.is_empty() {
            self.note_emptied(order, migratetype);
        }
    }

    /// Frees a block: while its buddy is free too, the two become one (`__free_one_page`).
    ///
    /// Answers how often it merged, and the order it became.
    #[inline(always)]
    pub(crate) fn free_one_page(
        &mut self,
        map: &mut MemMap,
        pageblocks: &Pageblocks,
        mut pfn: Pfn,
        mut order: Order,
        migratetype: MigrateType,
        to: FreeTo,
    ) -> (u64, Order) {
        let first = order;
        self.mod_stat(ZoneStat::FreePages, i64::from(order.pages()));
        if migratetype >= MigrateType::Cma {
            self.count_special(migratetype, order);
        }
        while let Some(up) = order.up() {
            let buddy = pfn.buddy(order);
            if !self.free_block(map, buddy, order) {
                break;
            }
            if order >= pageblocks.order() {
                // Blocks of special pageblocks stay apart from others.
                let theirs = pageblocks.get(buddy);
                let mergeable = |m: MigrateType| m.index() < MigrateType::PCPTYPES;
                if migratetype != theirs && !(mergeable(migratetype) && mergeable(theirs)) {
                    break;
                }
            }
            self.del_block(map, buddy, order);
            pfn = pfn.min(buddy);
            order = up;
        }
        let tail = to == FreeTo::Tail || self.buddy_merge_likely(map, pfn, order);
        self.add_block(map, pfn, order, migratetype, tail);
        (u64::from(order.get() - first.get()), order)
    }

    /// Free pages of CMA are counted apart, isolated ones not at all (`__mod_zone_freepage_state`).
    #[cold]
    fn count_special(&mut self, migratetype: MigrateType, order: Order) {
        let pages = i64::from(order.pages());
        if migratetype == MigrateType::Cma {
            self.mod_stat(ZoneStat::FreeCma, pages);
        } else {
            self.mod_stat(ZoneStat::FreePages, -pages);
        }
    }

    /// True when a block of exactly this order begins at `pfn`, free and in this zone (`page_is_buddy`).
    #[inline(always)]
    pub(crate) fn free_block(&self, map: &MemMap, pfn: Pfn, order: Order) -> bool {
        // A page that nobody wrote is neither listed nor outside of its zone: it lies in an untouched block.
        map.touched_page(pfn).is_some_and(|page| page.is_buddy_of(order) && page.zone() == self.id)
    }

    /// True when the buddy of the next order is free as well: this block may merge soon, so it is used last.
    #[inline(always)]
    fn buddy_merge_likely(&self, map: &MemMap, pfn: Pfn, order: Order) -> bool {
        // Orders MAX-1 and MAX gain nothing from waiting.
        let Some(up) = order.up().filter(|up| *up < Order::MAX) else { return false };
        let higher = pfn.min(pfn.buddy(order));
        self.free_block(map, higher.buddy(up), up)
    }
}
