//! Compaction: used pages move to one end of a zone, so that free ones lie together at the other.
//!
//! ```text
//!   zone start                                            zone end
//!   [M→ . # . . # # . # . . . # . . . # . . # . . . . . ←F]
//!    the migrate scanner                 the free scanner
//!    collects movable pages              collects free pages          they meet: the zone is done
//! ```
//!
//! Kernel: `mm/compaction.c`.
//! Fidelity: faithful — suitability with its gap and fragmentation index, both scanners by pageblock, skipping of
//! unsuitable blocks, deferral after failures, the end when a block of the wanted order is there. Simplified — one pass
//! is not interrupted; the scanners keep no positions between runs. Absent — proactive compaction, isolation limits.

use crate::mm::addr::{Order, Pfn, ZoneId};
use crate::mm::config::{MigrateType, ZoneType};
use crate::mm::machine::Machine;
use crate::mm::mmzone::{Wmark, Zone};
use crate::mm::page_alloc::AllocContext;
use crate::mm::page_alloc::fallback::find_suitable_fallback;
use crate::mm::page_alloc::slowpath::CompactResult;
use crate::mm::page_alloc::watermark::AllocFlags;
use crate::mm::trace::{Event, Verdict};
use crate::mm::vmstat::{VmEvent, ZoneStat};

/// Pages collected before they are moved (`COMPACT_CLUSTER_MAX`).
const CLUSTER: usize = 32;
/// A zone that failed often is left alone for at most `2^6` requests (`COMPACT_MAX_DEFER_SHIFT`).
const MAX_DEFER_SHIFT: u32 = 6;

/// What compaction remembers of a zone.
#[derive(Clone, Copy, Debug, Default)]
pub struct Deferral {
    considered: u32,
    shift: u32,
    failed: Option<Order>,
}

/// One run over a zone (`struct compact_control`).
#[derive(Clone, Debug)]
pub struct Compaction {
    zone: ZoneId,
    /// The order wanted; `None` compacts the whole zone.
    order: Option<Order>,
    migratetype: MigrateType,
    highest: ZoneType,
    flags: AllocFlags,
    /// Looks only at pageblocks of the request's own kind.
    asynchronous: bool,
    /// Where the migrate scanner stands.
    pub migrate_pfn: u32,
    /// Where the free scanner stands.
    pub free_pfn: u32,
    free: Vec<Pfn>,
    /// Pages moved so far.
    pub moved: u64,
}

/// 0…1000: would a block of this order fail for lack of memory (0) or for fragmentation (1000)? −1000: it would succeed.
pub fn fragmentation_index(zone: &Zone, order: Order) -> i64 {
    let (mut pages, mut blocks, mut suitable) = (0, 0, 0);
    for o in Order::all() {
        let n = zone.nr_free(o);
        blocks += n;
        pages += n << o.get();
        if o >= order {
            suitable += n << (o.get() - order.get());
        }
    }
    if blocks == 0 {
        return 0;
    }
    if suitable > 0 {
        return -1000;
    }
    1000 - ((1000 + pages * 1000 / u64::from(order.pages())) / blocks) as i64
}

/// How much of the free memory is useless for this order, of 1000 (`unusable_free_index`).
pub fn unusable_index(zone: &Zone, order: Order) -> u64 {
    let free: u64 = Order::all().map(|o| zone.nr_free(o) << o.get()).sum();
    let usable: u64 = order.and_above().map(|o| zone.nr_free(o) << o.get()).sum();
    ((free - usable) * 1000).checked_div(free).unwrap_or(1000)
}

impl Machine {
    /// Compacts zones of the zonelist until one can satisfy the request (`try_to_compact_pages`).
    pub(crate) fn try_to_compact_pages(
        &mut self,
        ac: &AllocContext,
        flags: AllocFlags,
        asynchronous: bool,
    ) -> CompactResult {
        if !ac.gfp.has(crate::mm::gfp::Gfp::IO) {
            // A caller that may not start IO could wait for its own page.
            return CompactResult::Skipped;
        }
        let mut best = CompactResult::Skipped;
        for zone in self.zonelist(ac).to_vec() {
            if !asynchronous && self.compaction_deferred(zone, ac.order) {
                best = best.max(CompactResult::Deferred);
                continue;
            }
            let mut run = self.begin_compaction(zone, Some(ac.order), asynchronous);
            (run.migratetype, run.highest, run.flags) = (ac.migratetype, ac.highest, flags);
            let result = self.compact_zone(&mut run);
            best = best.max(result);
            match result {
                CompactResult::Success => {
                    self.compaction_defer_reset(zone, ac.order, false);
                    return result;
                }
                CompactResult::Complete if !asynchronous => self.defer_compaction(zone, ac.order),
                _ => {}
            }
        }
        best
    }

    /// Compacts every zone of every node (`/proc/sys/vm/compact_memory`); pages moved.
    pub fn compact_memory(&mut self) -> u64 {
        self.drain_all_pages(None);
        let mut moved = 0;
        for zone in 0..self.zones.len() {
            if self.zones[zone].is_populated() {
                let mut run = self.begin_compaction(ZoneId(zone as u16), None, false);
                self.compact_zone(&mut run);
                moved += run.moved;
            }
        }
        self.drain_all_pages(None);
        moved
    }

    /// A run with both scanners at their ends.
    pub fn begin_compaction(&self, zone: ZoneId, order: Option<Order>, asynchronous: bool) -> Compaction {
        let z = &self.zones[zone.index()];
        let (start, end) = (z.zone_start_pfn, z.end_pfn());
        Compaction {
            zone,
            order,
            migratetype: MigrateType::Movable,
            highest: z.kind,
            flags: AllocFlags::WMARK_MIN,
            asynchronous,
            migrate_pfn: start,
            free_pfn: end,
            free: Vec::new(),
            moved: 0,
        }
    }

    /// Compacts one zone (`compact_zone`).
    fn compact_zone(&mut self, run: &mut Compaction) -> CompactResult {
        if let Some(order) = run.order {
            match self.compaction_suitable(run.zone, order, run.highest, run.flags) {
                None => {}
                Some(result) => return result,
            }
        }
        let (nid, kind) = (self.zones[run.zone.index()].node, self.zones[run.zone.index()].kind);
        self.emit(Event::CompactionBegin { nid, zone: kind, order: run.order });
        let result = loop {
            if let Some(result) = self.compact_finished(run) {
                break result;
            }
            self.compact_step(run);
        };
        for pfn in std::mem::take(&mut run.free) {
            self.free_isolated(pfn);
        }
        self.emit(Event::CompactionEnd { nid, zone: kind, moved: run.moved, status: result.name() });
        result
    }

    /// Is there a point in compacting? `None` is yes (`compaction_suitable`).
    fn compaction_suitable(
        &self,
        zone: ZoneId,
        order: Order,
        highest: ZoneType,
        flags: AllocFlags,
    ) -> Option<CompactResult> {
        let zone = &self.zones[zone.index()];
        if zone.watermark_ok(order, zone.wmark(flags.wmark()), highest, flags) == Verdict::Allowed {
            return Some(CompactResult::Success);
        }
        // Room for the copies: twice the block, above min, or above low for costly orders.
        let base = zone.wmark(if order > Order::COSTLY { Wmark::Low } else { Wmark::Min });
        let mark = base + (2 << order.get());
        if zone.watermark_ok(Order::ZERO, mark, highest, AllocFlags::CMA) != Verdict::Allowed {
            return Some(CompactResult::Skipped);
        }
        if order > Order::COSTLY {
            let index = fragmentation_index(zone, order);
            if (0..=self.sysctl.extfrag_threshold as i64).contains(&index) {
                // Too little memory rather than too scattered: reclaim helps, compaction does not.
                return Some(CompactResult::Skipped);
            }
        }
        None
    }

    /// Have the scanners met, or is the block there? (`compact_finished`)
    fn compact_finished(&self, run: &Compaction) -> Option<CompactResult> {
        if run.migrate_pfn >= run.free_pfn {
            return Some(CompactResult::Complete);
        }
        let order = run.order?;
        let zone = &self.zones[run.zone.index()];
        for o in order.and_above() {
            if !zone.free_area_empty(o, run.migratetype) {
                return Some(CompactResult::Success);
            }
            if let Some((_, true)) = find_suitable_fallback(zone, self.pageblocks.order(), o, run.migratetype)
            {
                return Some(CompactResult::Success);
            }
        }
        None
    }

    /// Moves up to 32 pages of the migrate scanner's pageblock (one turn of `compact_zone`).
    pub fn compact_step(&mut self, run: &mut Compaction) {
        let block_end = (run.migrate_pfn & !(Order::PAGEBLOCK.pages() - 1)) + Order::PAGEBLOCK.pages();
        let end = block_end.min(run.free_pfn);
        if !self.suitable_source(run) {
            run.migrate_pfn = block_end;
            return;
        }
        let mut chosen = Vec::with_capacity(CLUSTER);
        let first = run.migrate_pfn;
        while run.migrate_pfn < end && chosen.len() < CLUSTER {
            let pfn = Pfn(run.migrate_pfn);
            let page = self.mem_map.page(pfn);
            let step = match self.free_block_at(pfn) {
                Some(order) => order.pages(),
                None => 1,
            };
            if page.refcount > 0 && self.is_migratable(pfn) && self.mem_map.page(pfn).zone() == run.zone {
                chosen.push(pfn);
            }
            run.migrate_pfn += step;
        }
        self.vmstat.count(VmEvent::CompactMigrateScanned, u64::from(run.migrate_pfn - first));
        self.vmstat.count(VmEvent::CompactIsolated, chosen.len() as u64);
        for old in chosen {
            if run.free.is_empty() {
                self.isolate_freepages(run);
            }
            let Some(new) = run.free.pop() else { return };
            if new <= old || !self.migrate_page(old, new) {
                run.free.push(new);
                continue;
            }
            run.moved += 1;
        }
        self.charge(u64::from(run.migrate_pfn - first) * self.config.costs.scan_page / 8);
    }

    /// An asynchronous run looks only at pageblocks that could hold the wanted block (`suitable_migration_source`).
    fn suitable_source(&self, run: &Compaction) -> bool {
        if !self.mem_map.contains(Pfn(run.migrate_pfn)) {
            return false;
        }
        let block = self.pageblocks.get(Pfn(run.migrate_pfn));
        match (run.asynchronous, run.migratetype) {
            (false, _) => true,
            (true, MigrateType::Movable) => matches!(block, MigrateType::Movable | MigrateType::Cma),
            (true, wanted) => block == wanted,
        }
    }

    /// Collects free pages from the end of the zone, movable pageblocks only (`isolate_freepages`).
    fn isolate_freepages(&mut self, run: &mut Compaction) {
        let start = self.zones[run.zone.index()].zone_start_pfn;
        while run.free.len() < CLUSTER && run.free_pfn > run.migrate_pfn.max(start) {
            let block = (run.free_pfn - 1) & !(Order::PAGEBLOCK.pages() - 1);
            let floor = block.max(run.migrate_pfn).max(start);
            let usable = self.mem_map.contains(Pfn(block.max(start)))
                && matches!(self.pageblocks.get(Pfn(block)), MigrateType::Movable | MigrateType::Cma);
            let whole = self.free_block_at(Pfn(block)).is_some_and(|o| o >= Order::PAGEBLOCK);
            if usable && !whole {
                self.isolate_freepages_block(run, floor);
            }
            run.free_pfn = floor;
        }
        // The highest frames are used first: the scanners move away from each other as late as possible.
        run.free.sort_unstable();
    }

    fn isolate_freepages_block(&mut self, run: &mut Compaction, floor: u32) {
        let mut at = floor;
        let mut scanned = 0;
        while at < run.free_pfn {
            scanned += 1;
            let Some(order) =
                self.free_block_at(Pfn(at)).filter(|_| self.mem_map.page(Pfn(at)).zone() == run.zone)
            else {
                at += 1;
                continue;
            };
            let zone = &mut self.zones[run.zone.index()];
            if zone.free_pages() <= zone.watermark.min + u64::from(order.pages()) {
                break;
            }
            zone.del_block(&mut self.mem_map, Pfn(at), order);
            zone.mod_stat(ZoneStat::FreePages, -i64::from(order.pages()));
            for n in 0..order.pages() {
                let page = self.mem_map.page_mut(Pfn(at + n));
                page.set_page_type(None);
                (page.refcount, page.private, page.mapping) = (1, 0, 0);
                run.free.push(Pfn(at + n));
            }
            at += order.pages();
        }
        self.vmstat.count(VmEvent::CompactFreeScanned, scanned);
    }

    /// Gives back a page that was collected and not needed (`release_freepages`).
    fn free_isolated(&mut self, pfn: Pfn) {
        self.mem_map.page_mut(pfn).refcount = 0;
        let zone = self.mem_map.page(pfn).zone();
        let migratetype = self.pageblocks.get(pfn);
        self.free_one_page(zone, pfn, Order::ZERO, migratetype, crate::mm::page_alloc::FreeTo::Likely);
    }

    /// The order of the free block that begins at a frame, if one does and it is on a list.
    pub(crate) fn free_block_at(&self, pfn: Pfn) -> Option<Order> {
        let page = self.mem_map.page(pfn);
        page.is_buddy().then(|| page.order())
    }

    /// Could compaction make the block at all? (`compaction_zonelist_suitable`)
    pub(crate) fn compaction_zonelist_suitable(&self, ac: &AllocContext) -> bool {
        self.zonelist(ac).iter().any(|zone_id| {
            let zone = &self.zones[zone_id.index()];
            let available =
                self.zone_reclaimable_pages(*zone_id) / u64::from(ac.order.pages()) + zone.free_pages();
            let mark = zone.wmark(Wmark::Min) + (2 << ac.order.get());
            zone.watermark_ok_with(Order::ZERO, mark, ac.highest, AllocFlags::CMA, available)
                == Verdict::Allowed
        })
    }

    /// Failed lately at this order: not again so soon (`compaction_deferred`).
    fn compaction_deferred(&mut self, zone: ZoneId, order: Order) -> bool {
        let deferral = &mut self.zones[zone.index()].compaction;
        if deferral.failed.is_none_or(|failed| order < failed) {
            return false;
        }
        let limit = 1 << deferral.shift;
        deferral.considered = (deferral.considered + 1).min(limit);
        deferral.considered < limit
    }

    fn defer_compaction(&mut self, zone: ZoneId, order: Order) {
        let deferral = &mut self.zones[zone.index()].compaction;
        deferral.considered = 0;
        deferral.shift = (deferral.shift + 1).min(MAX_DEFER_SHIFT);
        deferral.failed = Some(deferral.failed.map_or(order, |failed| failed.min(order)));
    }

    fn compaction_defer_reset(&mut self, zone: ZoneId, order: Order, success: bool) {
        let deferral = &mut self.zones[zone.index()].compaction;
        if success {
            deferral.considered = 0;
            deferral.shift = 0;
        }
        if deferral.failed.is_some_and(|failed| order >= failed) {
            deferral.failed = order.up();
        }
    }
}
