//! Stealing: a request whose own free lists are empty takes a block of another migratetype.
//!
//! Gorman 6 has no such thing (2.4 does not group pages). Kernel: `mm/page_alloc.c`.
//! Fidelity: faithful — fallback order, whole block or not, watermark boost, HighAtomic reserve and its release.

use crate::mm::addr::{Order, Pfn, ZoneId};
use crate::mm::config::MigrateType;
use crate::mm::gfp::Gfp;
use crate::mm::machine::Machine;
use crate::mm::mmzone::{FreeArea, Zone};
use crate::mm::page::PageFlags;
use crate::mm::page_alloc::AllocContext;
use crate::mm::page_alloc::watermark::AllocFlags;
use crate::mm::trace::Event;

/// Where each type looks when its own lists are empty, in order (`fallbacks`).
pub const FALLBACKS: [[MigrateType; 2]; MigrateType::PCPTYPES] = [
    [MigrateType::Reclaimable, MigrateType::Movable],
    [MigrateType::Reclaimable, MigrateType::Unmovable],
    [MigrateType::Unmovable, MigrateType::Movable],
];

/// May a request of this type claim the rest of the pageblock, too? (`can_steal_fallback`)
pub fn can_steal(pageblock: Order, order: Order, start: MigrateType) -> bool {
    order.get() >= pageblock.get() / 2 || start != MigrateType::Movable
}

/// The first other type with a free block of this order, and whether its pageblock may be claimed.
pub fn find_suitable_fallback(
    zone: &Zone,
    pageblock: Order,
    order: Order,
    start: MigrateType,
) -> Option<(MigrateType, bool)> {
    let from = FALLBACKS.get(start.index())?;
    let found = from.iter().find(|&&mt| !zone.free_area_empty(order, mt))?;
    Some((*found, can_steal(pageblock, order, start)))
}

impl Machine {
    /// Moves a block of another type to the wanted type's lists; false when there is none (`__rmqueue_fallback`).
    pub(crate) fn rmqueue_fallback(
        &mut self,
        zone_id: ZoneId,
        order: Order,
        start: MigrateType,
        flags: AllocFlags,
    ) -> bool {
        let pageblock = self.pageblocks.order();
        let least = if flags.has(AllocFlags::NOFRAGMENT) { order.max(pageblock) } else { order };
        let zone = &self.zones[zone_id.index()];
        // The largest block first: a pageblock that is claimed whole is not asked for again.
        let mut chosen = None;
        for o in least.and_above().rev() {
            let Some((mt, steal)) = find_suitable_fallback(zone, pageblock, o, start) else { continue };
            if !steal && start == MigrateType::Movable && o > order {
                // A movable page that cannot claim the block takes the smallest that fits instead.
                chosen = order.and_above().find_map(|o| {
                    find_suitable_fallback(zone, pageblock, o, start).map(|(mt, s)| (o, mt, s))
                });
            } else {
                chosen = Some((o, mt, steal));
            }
            break;
        }
        let Some((o, fallback, steal)) = chosen else { return false };
        let Some(pfn) = self.first_block(zone_id, o, fallback) else { return false };
        let owned = self.steal_suitable_fallback(zone_id, pfn, o, start, flags, steal);
        let alloc = self.last_alloc.fallback(fallback, owned);
        if alloc || self.trace.hot {
            self.emit(Event::Extfrag {
                pfn,
                alloc_order: order,
                fallback_order: o,
                pageblock_order: pageblock,
                alloc: start,
                fallback,
                change_ownership: owned,
            });
        }
        true
    }

    /// The first block of a list; a block untouched since boot is put on the list for it.
    fn first_block(&mut self, zone_id: ZoneId, order: Order, migratetype: MigrateType) -> Option<Pfn> {
        let zone = &mut self.zones[zone_id.index()];
        if zone.free_area[order.index()].lists[migratetype.index()].is_empty() {
            let pfn = zone.take_block(&mut self.mem_map, order, migratetype)?;
            zone.add_block(&mut self.mem_map, pfn, order, migratetype, false);
        }
        Some(zone.free_area[order.index()].lists[migratetype.index()].head)
    }

    /// Claims the pageblock if enough of it is free or alike, else only the block (`steal_suitable_fallback`).
    ///
    /// Answers whether the pageblock changed its type.
    fn steal_suitable_fallback(
        &mut self,
        zone_id: ZoneId,
        pfn: Pfn,
        order: Order,
        start: MigrateType,
        flags: AllocFlags,
        whole: bool,
    ) -> bool {
        let old = self.pageblocks.get(pfn);
        if old == MigrateType::HighAtomic {
            self.move_to_free_list(zone_id, pfn, order, start);
            return false;
        }
        if order >= self.pageblocks.order() {
            for block in (0..order.pages()).step_by(self.pageblocks.pages() as usize) {
                self.pageblocks.set(pfn.up(block), start);
            }
            self.move_to_free_list(zone_id, pfn, order, start);
            return true;
        }
        if self.boost_watermark(zone_id) && flags.has(AllocFlags::KSWAPD) {
            self.zones[zone_id.index()].boosted_watermark = true;
            self.close_lane();
        }
        if !whole {
            self.move_to_free_list(zone_id, pfn, order, start);
            return false;
        }
        let (free, movable) = self.count_pageblock(zone_id, pfn);
        // Pages that are not free but of our kind count as well: for unmovable requests that can only be guessed.
        let alike = match (start, old) {
            (MigrateType::Movable, _) => movable,
            (_, MigrateType::Movable) => u64::from(self.pageblocks.pages()) - (free + movable),
            _ => 0,
        };
        if free == 0 {
            self.move_to_free_list(zone_id, pfn, order, start);
            return false;
        }
        self.move_freepages_block(zone_id, pfn, start);
        let claimed = free + alike >= u64::from(self.pageblocks.pages() / 2);
        if claimed {
            self.pageblocks.set(pfn, start);
        }
        claimed
    }

    /// Raises the watermarks after a fallback, so that kswapd frees room for whole pageblocks (`boost_watermark`).
    pub(crate) fn boost_watermark(&mut self, zone_id: ZoneId) -> bool {
        let factor = self.sysctl.watermark_boost_factor;
        let zone = &mut self.zones[zone_id.index()];
        let pageblock = u64::from(self.pageblocks.pages());
        if factor == 0 || pageblock * 4 > zone.managed_pages {
            return false;
        }
        let most = zone.watermark.high * factor / 10_000;
        if most == 0 {
            return false;
        }
        zone.watermark_boost = (zone.watermark_boost + pageblock).min(most.max(pageblock));
        self.close_lane();
        true
    }

    /// Puts a free block on another type's list (`move_to_free_list`).
    fn move_to_free_list(&mut self, zone_id: ZoneId, pfn: Pfn, order: Order, to: MigrateType) {
        let zone = &mut self.zones[zone_id.index()];
        zone.del_block(&mut self.mem_map, pfn, order);
        // At the tail, as the kernel does: the caller goes back to the smallest fitting block.
        zone.add_block(&mut self.mem_map, pfn, order, to, true);
    }

    /// Frames of the pageblock that lie in the zone.
    fn pageblock_range(&self, zone_id: ZoneId, pfn: Pfn) -> (u32, u32) {
        let zone = &self.zones[zone_id.index()];
        let start = self.pageblocks.start(pfn).0;
        let end = start + self.pageblocks.pages();
        // A pageblock that straddles the zone's edge is used from the page on.
        (if zone.spans(Pfn(start)) { start } else { pfn.0 }, end.min(zone.end_pfn()))
    }

    /// Free pages of a pageblock, and allocated ones that could be moved.
    fn count_pageblock(&self, zone_id: ZoneId, pfn: Pfn) -> (u64, u64) {
        let (mut at, end) = self.pageblock_range(zone_id, pfn);
        let (mut free, mut movable) = (0, 0);
        while at < end {
            let page = self.mem_map.page(Pfn(at));
            if page.is_buddy() {
                free += u64::from(page.order().pages());
                at += page.order().pages();
            } else {
                movable += u64::from(page.is(PageFlags::LRU));
                at += 1;
            }
        }
        (free, movable)
    }

    /// Moves every free block of a pageblock to a type's lists (`move_freepages_block`).
    pub(crate) fn move_freepages_block(&mut self, zone_id: ZoneId, pfn: Pfn, to: MigrateType) -> u64 {
        let (mut at, end) = self.pageblock_range(zone_id, pfn);
        let mut moved = 0;
        while at < end {
            let page = self.mem_map.page(Pfn(at));
            if page.is_buddy() {
                self.move_to_free_list(zone_id, Pfn(at), page.order(), to);
                moved += u64::from(page.order().pages());
                at += page.order().pages();
            } else {
                at += 1;
            }
        }
        moved
    }

    /// Keeps the pageblock of a high-order atomic success for the next one (`reserve_highatomic_pageblock`).
    pub(crate) fn reserve_highatomic_pageblock(&mut self, pfn: Pfn, zone_id: ZoneId) {
        let zone = &self.zones[zone_id.index()];
        let pageblock = u64::from(self.pageblocks.pages());
        // About one percent of the zone, and at least one pageblock.
        let most = zone.managed_pages / 100 + pageblock;
        if zone.nr_reserved_highatomic >= most {
            return;
        }
        let old = self.pageblocks.get(pfn);
        if old.index() < MigrateType::PCPTYPES {
            self.zones[zone_id.index()].nr_reserved_highatomic += pageblock;
            self.close_lane();
            self.pageblocks.set(pfn, MigrateType::HighAtomic);
            self.move_freepages_block(zone_id, pfn, MigrateType::HighAtomic);
        }
    }

    /// Gives a HighAtomic pageblock back to everybody when memory is short (`unreserve_highatomic_pageblock`).
    pub(crate) fn unreserve_highatomic_pageblock(&mut self, ac: &AllocContext, force: bool) -> bool {
        let pageblock = u64::from(self.pageblocks.pages());
        for zone_id in self.zonelist(ac).to_vec() {
            let zone = &self.zones[zone_id.index()];
            if !force && zone.nr_reserved_highatomic <= pageblock {
                continue;
            }
            let first = |area: &FreeArea| area.lists[MigrateType::HighAtomic.index()].head;
            let Some(pfn) = zone.free_area.iter().map(first).find(|head| *head != Pfn::NIL) else { continue };
            if self.pageblocks.get(pfn) == MigrateType::HighAtomic {
                let zone = &mut self.zones[zone_id.index()];
                zone.nr_reserved_highatomic -= pageblock.min(zone.nr_reserved_highatomic);
                self.close_lane();
            }
            self.pageblocks.set(pfn, ac.migratetype);
            if self.move_freepages_block(zone_id, pfn, ac.migratetype) > 0 {
                return true;
            }
        }
        false
    }

    /// True when the mask asks for the reserves outright.
    pub(crate) fn gfp_wants_reserves(gfp: Gfp) -> bool {
        gfp.has(Gfp::MEMALLOC) && !gfp.has(Gfp::NOMEMALLOC)
    }
}
