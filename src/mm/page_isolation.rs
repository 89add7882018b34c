//! Taking pageblocks out of the allocator: what is free there is not given out, what is freed there stays there.
//!
//! ```text
//!   start_isolate_page_range   every page could move?  type ← Isolate, free blocks onto the Isolate lists
//!        │                     no: everything as it was, EBUSY, and the page that decided
//!   … whoever asked moves the pages away …
//!   test_pages_isolated        is all of it free now?
//!   undo_isolate_page_range    type ← Movable, free blocks back onto its lists
//! ```
//!
//! Pages on Isolate lists are not counted as free. Kernel: `mm/page_isolation.c`, `mm/page_alloc.c`.
//! Fidelity: faithful — unmovable pages, blocks that cross the edge of the range, counting, undoing.
//! Absent — memory hotplug, poisoned hardware pages, huge pages that cross the edge.

use crate::mm::addr::{Order, Pfn, ZoneId};
use crate::mm::compaction::{pageblock_end, pageblock_start};
use crate::mm::config::{MigrateType, ZoneType};
use crate::mm::gfp::Gfp;
use crate::mm::machine::Machine;
use crate::mm::mmzone::Wmark;
use crate::mm::page::PageFlags;
use crate::mm::page_alloc::FreeTo;
use crate::mm::page_alloc::watermark::AllocFlags;
use crate::mm::trace::{Event, Verdict};
use crate::mm::vmstat::ZoneStat;

/// A range of frames, `start..end`.
pub(crate) type Frames = std::ops::Range<u32>;

impl Machine {
    /// Isolates the pageblocks that hold a range; the first page that cannot move is the refusal
    /// (`start_isolate_page_range`).
    pub(crate) fn start_isolate_page_range(&mut self, range: &Frames) -> Result<(), Pfn> {
        let (first, last) = (pageblock_start(range.start), pageblock_start(range.end - 1));
        // Those at the edges come first, as in the kernel.
        let inner = (first + Order::PAGEBLOCK.pages()..last).step_by(Order::PAGEBLOCK.pages() as usize);
        let blocks = [first].into_iter().chain((last > first).then_some(last)).chain(inner);
        let mut isolated = Vec::new();
        for block in blocks {
            if let Err(page) = self.set_migratetype_isolate(block, range) {
                isolated.into_iter().for_each(|block| self.unset_migratetype_isolate(Pfn(block)));
                return Err(page);
            }
            isolated.push(block);
        }
        Ok(())
    }

    /// Isolates one pageblock, if the pages of the range in it could move (`set_migratetype_isolate`).
    fn set_migratetype_isolate(&mut self, block: u32, range: &Frames) -> Result<(), Pfn> {
        let old = self.pageblocks.get(Pfn(block));
        let first = Pfn(block.max(range.start));
        if old == MigrateType::Isolate || old == MigrateType::Cma {
            // Somebody else isolates it, or it is kept for the contiguous memory allocator.
            return Err(first);
        }
        if let Some(page) = self.unmovable_page(&(first.0..pageblock_end(block).min(range.end))) {
            return Err(page);
        }
        // A free block that lies across an edge of the range is cut there.
        for edge in [block, pageblock_end(block)] {
            if edge <= range.start || edge >= range.end {
                self.split_free_block_at(edge);
            }
        }
        let zone = self.mem_map.page(first).zone();
        self.list_virgin_block(zone, first);
        let pages = self.move_freepages_block(zone, first, MigrateType::Isolate);
        self.pageblocks.set(first, MigrateType::Isolate);
        let zone = &mut self.zones[zone.index()];
        zone.mod_stat(ZoneStat::FreePages, -(pages as i64));
        if old == MigrateType::HighAtomic {
            let pageblock = u64::from(Order::PAGEBLOCK.pages());
            zone.nr_reserved_highatomic -= pageblock.min(zone.nr_reserved_highatomic);
        }
        Ok(())
    }

    /// The first page of a range that is neither free nor on a list of reclaim (`has_unmovable_pages`).
    fn unmovable_page(&self, range: &Frames) -> Option<Pfn> {
        let mut at = range.start;
        while at < range.end {
            let page = self.mem_map.page(Pfn(at));
            if page.is(PageFlags::RESERVED) {
                return Some(Pfn(at));
            }
            let movable_zone = self.zones[page.zone().index()].kind == ZoneType::Movable;
            if page.is_buddy() {
                at += page.order().pages();
                continue;
            }
            let compound = page.is_any(PageFlags::HEAD | PageFlags::TAIL);
            if (page.refcount > 0 || compound) && !movable_zone && !page.is(PageFlags::LRU) {
                return Some(Pfn(at));
            }
            at += 1;
        }
        None
    }

    /// Makes isolated pageblocks part of the allocator again, as Movable ones (`undo_isolate_page_range`).
    pub(crate) fn undo_isolate_page_range(&mut self, range: &Frames) {
        for block in (range.start..range.end).step_by(Order::PAGEBLOCK.pages() as usize) {
            self.unset_migratetype_isolate(Pfn(block));
        }
    }

    /// Gives one pageblock back (`unset_migratetype_isolate`).
    fn unset_migratetype_isolate(&mut self, block: Pfn) {
        if self.pageblocks.get(block) != MigrateType::Isolate {
            return;
        }
        let zone_id = self.mem_map.page(block).zone();
        let page = self.mem_map.page(block);
        self.pageblocks.set(block, MigrateType::Movable);
        if page.is_buddy() && page.order() >= Order::PAGEBLOCK {
            // A whole pageblock may have a free buddy outside: freeing it anew lets the two merge.
            let order = page.order();
            self.zones[zone_id.index()].del_block(&mut self.mem_map, block, order);
            self.free_one_page(zone_id, block, order, MigrateType::Movable, FreeTo::Likely);
            return;
        }
        let pages = self.move_freepages_block(zone_id, block, MigrateType::Movable);
        self.zones[zone_id.index()].mod_stat(ZoneStat::FreePages, pages as i64);
    }

    /// The first page of a range that is not free on an Isolate list (`test_pages_isolated`).
    pub(crate) fn test_pages_isolated(&mut self, range: &Frames) -> Result<(), Pfn> {
        let mut at = range.start;
        while at < range.end {
            let page = self.mem_map.page(Pfn(at));
            if !page.is_buddy() || self.pageblocks.get(Pfn(at)) != MigrateType::Isolate {
                break;
            }
            at += page.order().pages();
        }
        self.emit(Event::TestPagesIsolated { start: range.start, end: range.end, fin: at });
        if at < range.end { Err(Pfn(at)) } else { Ok(()) }
    }

    /// Takes a free block off its list for somebody who needs its frames; false below the watermark
    /// (`__isolate_free_page`).
    pub(crate) fn isolate_free_page(&mut self, pfn: Pfn, order: Order) -> bool {
        let (zone_id, mt) = (self.mem_map.page(pfn).zone(), self.pageblocks.get(pfn));
        let pages = u64::from(order.pages());
        let zone = &mut self.zones[zone_id.index()];
        if mt != MigrateType::Isolate {
            let mark = zone.wmark(Wmark::Min) + pages;
            if zone.watermark_ok(Order::ZERO, mark, ZoneType::Dma, AllocFlags::CMA) != Verdict::Allowed {
                return false;
            }
            zone.mod_stat(ZoneStat::FreePages, -(pages as i64));
            if mt == MigrateType::Cma {
                zone.mod_stat(ZoneStat::FreeCma, -(pages as i64));
            }
        }
        zone.del_block(&mut self.mem_map, pfn, order);
        if Some(order) >= Order::PAGEBLOCK.down() {
            // Half of a pageblock and more: the rest shall be movable, too.
            for block in (0..order.pages()).step_by(Order::PAGEBLOCK.pages() as usize) {
                if self.pageblocks.get(pfn.up(block)).index() < MigrateType::PCPTYPES {
                    self.pageblocks.set(pfn.up(block), MigrateType::Movable);
                }
            }
        }
        true
    }

    /// Makes single pages of a block that was isolated, each with a reference (`split_map_pages`).
    pub(crate) fn split_map_pages(&mut self, pfn: Pfn, order: Order) {
        for n in 0..order.pages() {
            let page = self.mem_map.page_mut(pfn.up(n));
            page.prep(Order::ZERO);
            if self.debug_pages {
                self.post_alloc_hook(pfn.up(n), Order::ZERO, Gfp::MOVABLE);
            }
        }
    }

    /// Cuts the free block that lies across a frame, so that one part ends and another begins there
    /// (`split_free_page`).
    fn split_free_block_at(&mut self, edge: u32) {
        if !self.mem_map.contains(Pfn(edge)) {
            return;
        }
        let Some(zone_id) = self.mem_map.zone_of(Pfn(edge)) else { return };
        self.list_virgin_block(zone_id, Pfn(edge));
        let head = Pfn(edge & !(Order::MAX.pages() - 1));
        if head.0 == edge || !self.mem_map.contains(head) {
            return;
        }
        let page = self.mem_map.page(head);
        if !page.is_buddy_of(Order::MAX) || page.zone() != zone_id {
            return;
        }
        let zone = &mut self.zones[zone_id.index()];
        let mt = MigrateType::ALL[page.index as usize];
        zone.del_block(&mut self.mem_map, head, Order::MAX);
        for half in [head, head.up(Order::PAGEBLOCK.pages())] {
            zone.add_block(&mut self.mem_map, half, Order::PAGEBLOCK, mt, false);
        }
    }

    /// Puts the block untouched since boot that holds a frame on its list.
    pub(crate) fn list_virgin_block(&mut self, zone: ZoneId, pfn: Pfn) {
        let zone = &mut self.zones[zone.index()];
        if let Some(head) = zone.take_virgin_at(pfn) {
            zone.add_block(&mut self.mem_map, head, Order::MAX, MigrateType::Movable, true);
        }
    }
}
