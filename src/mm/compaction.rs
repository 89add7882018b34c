//! Compaction: used pages move to one end of a zone, so that free ones lie together at the other.
//!
//! ```text
//!   zone start                                            zone end
//!   [M→ . # . . # # . # . . . # . . . # . . # . . . . . ←F]
//!    the migrate scanner                 the free scanner
//!    collects movable pages              collects free pages          they meet: the zone is done
//!
//!   who asks                 order      goes on until            scan.rs: the scanners
//!   an allocation            its own    a block is free          defer.rs: what is remembered
//!   kcompactd, woken         its own    a block is free          kcompactd.rs
//!   kcompactd, by itself     none       the score is low         index.rs: the scores
//!   compact_memory           none       the scanners meet
//! ```
//!
//! Kernel: `mm/compaction.c`.
//! Fidelity: faithful — suitability with its gap and fragmentation index, both scanners by pageblock, modes and
//! priorities, skipped pageblocks, cached positions, deferral, the end when a block of the wanted order is there.
//! Simplified — per-CPU lists are drained before and after `compact_memory`. Absent — the fast searches of the free
//! lists, capture of the block by the caller, isolation limits, pages of files, contention.

mod defer;
pub mod index;
mod kcompactd;
mod scan;

pub use defer::Memory;
pub use index::{fragmentation_index, unusable_index};
pub use kcompactd::{FRAG_CHECK_INTERVAL, Kcompactd};

use crate::mm::addr::{Order, Pfn, ZoneId};
use crate::mm::config::{MigrateType, ZoneType};
use crate::mm::gfp::Gfp;
use crate::mm::machine::Machine;
use crate::mm::mmzone::Wmark;
use crate::mm::page_alloc::AllocContext;
use crate::mm::page_alloc::fallback::find_suitable_fallback;
use crate::mm::page_alloc::watermark::AllocFlags;
use crate::mm::trace::{CompactionEvent, CompactionPlace, Event, SlowStep, Unsuitable, Verdict};
use std::collections::VecDeque;

/// Pages collected before they are moved (`COMPACT_CLUSTER_MAX`).
pub const COMPACT_CLUSTER_MAX: usize = 32;

/// How far moving a page may go (`enum migrate_mode`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Never waits; a direct compaction looks only at pageblocks of the request's kind.
    Async,
    /// Waits, but not for writing.
    SyncLight,
    /// Waits for everything.
    Sync,
}

/// How hard a direct compaction tries, the hardest first (`enum compact_priority`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Priority {
    /// The whole zone, skip bits ignored.
    SyncFull,
    /// From the cached positions on, waiting for pages.
    SyncLight,
    /// From the cached positions on, pageblocks of the request's kind only.
    Async,
}

impl Priority {
    /// The word in traces.
    pub fn name(self) -> &'static str {
        match self {
            Priority::SyncFull => "COMPACT_PRIO_SYNC_FULL",
            Priority::SyncLight => "COMPACT_PRIO_SYNC_LIGHT",
            Priority::Async => "COMPACT_PRIO_ASYNC",
        }
    }
}

/// What a round of compaction came to (`enum compact_result`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum CompactResult {
    /// Not tried: the order is 0, or no zone was suitable.
    Skipped,
    /// Failed lately: not tried again so soon.
    Deferred,
    /// The scanners met without making the block; they had begun at the zone's ends.
    Complete,
    /// The scanners met; they had begun where an earlier run stopped.
    PartialSkipped,
    /// It had to stop: no free page could be isolated any more.
    Contended,
    /// A block was made.
    Success,
}

impl CompactResult {
    /// The word in traces.
    pub fn name(self) -> &'static str {
        match self {
            CompactResult::Skipped => "skipped",
            CompactResult::Deferred => "deferred",
            CompactResult::Complete => "complete",
            CompactResult::PartialSkipped => "partial_skipped",
            CompactResult::Contended => "contended",
            CompactResult::Success => "success",
        }
    }
}

/// One run over a zone (`struct compact_control`).
#[derive(Clone, Debug)]
pub struct Compaction {
    zone: ZoneId,
    /// The order wanted; `None` goes on until the scanners meet.
    order: Option<Order>,
    migratetype: MigrateType,
    highest: ZoneType,
    flags: AllocFlags,
    mode: Mode,
    /// On behalf of an allocation.
    direct: bool,
    /// The score of the zone says when it is enough.
    proactive: bool,
    whole_zone: bool,
    ignore_skip_hint: bool,
    ignore_block_suitable: bool,
    /// The rest of the pageblock at once, however many pages there are.
    rescan: bool,
    /// Where the migrate scanner stands.
    pub migrate_pfn: u32,
    /// Where the free scanner stands: the first frame of the pageblock it looks at next, or a frame in it.
    pub free_pfn: u32,
    /// Pages isolated to be moved.
    migratepages: Vec<Pfn>,
    /// Free pages isolated to move them to.
    freepages: VecDeque<Pfn>,
    /// The pageblock from which pages were moved last; 0 is none.
    last_migrated_pfn: u32,
    /// Pages moved so far.
    pub moved: u64,
    /// Pages that could not be moved.
    pub failed: u64,
    /// Frames the migrate scanner looked at.
    pub migrate_scanned: u64,
    /// Frames the free scanner looked at.
    pub free_scanned: u64,
}

impl Compaction {
    /// A run for a block of an order, or over the whole zone.
    fn new(zone: ZoneId, order: Option<Order>, mode: Mode) -> Compaction {
        Compaction {
            zone,
            order,
            migratetype: MigrateType::Unmovable,
            highest: ZoneType::Device,
            flags: AllocFlags::WMARK_MIN,
            mode,
            direct: false,
            proactive: false,
            whole_zone: false,
            ignore_skip_hint: false,
            ignore_block_suitable: false,
            rescan: false,
            migrate_pfn: 0,
            free_pfn: 0,
            migratepages: Vec::new(),
            freepages: VecDeque::new(),
            last_migrated_pfn: 0,
            moved: 0,
            failed: 0,
            migrate_scanned: 0,
            free_scanned: 0,
        }
    }

    /// A run over a whole zone, as `compact_memory` asks for.
    fn whole(zone: ZoneId) -> Compaction {
        let mut run = Compaction::new(zone, None, Mode::Sync);
        (run.whole_zone, run.ignore_skip_hint) = (true, true);
        run
    }

    /// Free pages that are out of the lists meanwhile.
    pub(crate) fn isolated(&self) -> u64 {
        self.freepages.len() as u64
    }

    /// The scanners stand in the same pageblock, or have passed each other (`compact_scanners_met`).
    fn scanners_met(&self) -> bool {
        self.free_pfn >> Order::PAGEBLOCK.get() <= self.migrate_pfn >> Order::PAGEBLOCK.get()
    }
}

/// First frame of the pageblock.
pub(crate) fn pageblock_start(pfn: u32) -> u32 {
    pfn & !(Order::PAGEBLOCK.pages() - 1)
}

/// One past the last frame of the pageblock.
pub(crate) fn pageblock_end(pfn: u32) -> u32 {
    pageblock_start(pfn) + Order::PAGEBLOCK.pages()
}

/// Pages that must be free beside the watermark so that copies have room (`compact_gap`).
pub(crate) fn compact_gap(order: Order) -> u64 {
    2 << order.get()
}

impl Machine {
    /// Compacts zones of the zonelist until one can satisfy the request (`try_to_compact_pages`).
    pub(crate) fn try_to_compact_pages(
        &mut self,
        ac: &AllocContext,
        flags: AllocFlags,
        priority: Priority,
    ) -> CompactResult {
        if self.lumpy_reclaim {
            self.last_alloc.step(SlowStep::NotCompacted(Unsuitable::Lumpy));
            return CompactResult::Skipped;
        }
        if !ac.gfp.has(Gfp::IO) {
            // A caller that may not start IO could wait for its own page.
            self.last_alloc.step(SlowStep::NotCompacted(Unsuitable::NoIo));
            return CompactResult::Skipped;
        }
        self.emit_compaction(CompactionEvent::TryToCompactPages { order: ac.order, gfp: ac.gfp, priority });
        let mut best = CompactResult::Skipped;
        for zone in self.zonelist(ac).to_vec() {
            if priority != Priority::SyncFull && self.compaction_deferred(zone, ac.order) {
                best = best.max(CompactResult::Deferred);
                continue;
            }
            let mode = if priority == Priority::Async { Mode::Async } else { Mode::SyncLight };
            let mut run = Compaction::new(zone, Some(ac.order), mode);
            (run.migratetype, run.highest, run.flags, run.direct) = (ac.migratetype, ac.highest, flags, true);
            let full = priority == Priority::SyncFull;
            (run.whole_zone, run.ignore_skip_hint, run.ignore_block_suitable) = (full, full, full);
            let result = self.compact_zone(&mut run);
            best = best.max(result);
            match result {
                CompactResult::Success => {
                    self.compaction_defer_reset(zone, ac.order, false);
                    return result;
                }
                CompactResult::Complete | CompactResult::PartialSkipped if priority != Priority::Async => {
                    self.defer_compaction(zone, ac.order)
                }
                _ => {}
            }
        }
        best
    }

    /// Compacts every zone of every node (`/proc/sys/vm/compact_memory`); pages moved.
    pub fn compact_memory(&mut self) -> u64 {
        (0..self.nodes.len()).map(|node| self.compact_node(node)).sum()
    }

    /// Compacts every zone of a node (`compact_node`); pages moved.
    pub fn compact_node(&mut self, node: usize) -> u64 {
        let mut moved = 0;
        for zone in self.nodes[node].zones.clone() {
            // Before the hand-over of memblock there is nothing to move, and a large zone is long to look through.
            if self.zones[zone.index()].managed_pages > 0 {
                self.drain_all_pages(Some(zone));
                let mut run = Compaction::whole(zone);
                self.compact_zone(&mut run);
                moved += run.moved;
                self.drain_all_pages(Some(zone));
            }
        }
        moved
    }

    /// Compacts one zone (`compact_zone`).
    fn compact_zone(&mut self, run: &mut Compaction) -> CompactResult {
        if let Err(result) = self.begin_compaction(run) {
            return result;
        }
        loop {
            if let Some(result) = self.compact_finished(run) {
                return self.end_compaction(run, result);
            }
            if let Some(result) = self.compact_turn(run) {
                return self.end_compaction(run, result);
            }
        }
    }

    /// Is there something to do, and where do the scanners begin?
    pub(super) fn begin_compaction(&mut self, run: &mut Compaction) -> Result<(), CompactResult> {
        if let Some(order) = run.order {
            if let Err(why) = self.compaction_suitable(run.zone, order, run.highest, run.flags) {
                return Err(why.map_or(CompactResult::Success, |why| {
                    if run.direct {
                        self.last_alloc.step(SlowStep::NotCompacted(why));
                    }
                    CompactResult::Skipped
                }));
            }
            if self.compaction_restarting(run.zone, order) {
                self.forget_skipped(run.zone);
            }
        }
        let zone = &mut self.zones[run.zone.index()];
        let (start, end) = (zone.zone_start_pfn, zone.end_pfn());
        let inside = |pfn: u32| (start..end).contains(&pfn);
        if run.whole_zone {
            (run.migrate_pfn, run.free_pfn) = (start, pageblock_start(end - 1));
        } else {
            let memory = &mut zone.compaction;
            if !inside(memory.cached_free) {
                memory.cached_free = pageblock_start(end - 1);
            }
            run.free_pfn = memory.cached_free;
            let cached = memory.cached_migrate[usize::from(run.mode != Mode::Async)];
            if !inside(cached) {
                memory.cached_migrate = [start; 2];
            }
            run.migrate_pfn = if inside(cached) { cached } else { start };
            run.whole_zone = run.migrate_pfn == start;
        }
        run.last_migrated_pfn = 0;
        let (place, order) = (self.place(run), run.order);
        self.emit_compaction(CompactionEvent::Begin { place, order });
        Ok(())
    }

    /// Gives back what was isolated and not used, and counts.
    pub(super) fn end_compaction(&mut self, run: &mut Compaction, result: CompactResult) -> CompactResult {
        let highest = run.freepages.iter().copied().max();
        for pfn in std::mem::take(&mut run.freepages) {
            self.release_freepage(pfn);
        }
        if let Some(highest) = highest {
            // Only back, never forth: the next run finds these pages again.
            let memory = &mut self.zones[run.zone.index()].compaction;
            memory.cached_free = memory.cached_free.max(pageblock_start(highest.0));
        }
        let place = self.place(run);
        let (moved, failed, status) = (run.moved, run.failed, result.name());
        self.emit_compaction(CompactionEvent::End { place, moved, failed, status });
        if run.direct {
            let (migrate_scanned, free_scanned) = (run.migrate_scanned, run.free_scanned);
            let zone = self.zones[run.zone.index()].kind;
            self.last_alloc.step(SlowStep::CompactedZone {
                zone,
                moved,
                migrate_scanned,
                free_scanned,
                result: status,
            });
        }
        result
    }

    fn emit_compaction(&mut self, event: CompactionEvent) {
        self.emit(Event::Compaction(event));
    }

    /// Where the scanners stand, as the tracepoints tell it.
    fn place(&self, run: &Compaction) -> CompactionPlace {
        let zone = &self.zones[run.zone.index()];
        CompactionPlace {
            nid: zone.node,
            zone: zone.kind,
            start: zone.zone_start_pfn,
            migrate_pfn: run.migrate_pfn,
            free_pfn: run.free_pfn,
            end: zone.end_pfn(),
            sync: run.mode != Mode::Async,
        }
    }

    /// Is there a point in compacting? `Err(None)`: there is a block already (`compaction_suitable`).
    pub(super) fn compaction_suitable(
        &self,
        zone: ZoneId,
        order: Order,
        highest: ZoneType,
        flags: AllocFlags,
    ) -> Result<(), Option<Unsuitable>> {
        let zone = &self.zones[zone.index()];
        if zone.watermark_ok(order, zone.wmark(flags.wmark()), highest, flags) == Verdict::Allowed {
            return Err(None);
        }
        // Room for the copies: twice the block, above min, or above low for costly orders.
        let base = zone.wmark(if order > Order::COSTLY { Wmark::Low } else { Wmark::Min });
        let mark = base + compact_gap(order);
        if zone.watermark_ok(Order::ZERO, mark, highest, AllocFlags::CMA) != Verdict::Allowed {
            let (free, needed) = (zone.free_pages(), mark + zone.lowmem_reserve[highest as usize]);
            return Err(Some(Unsuitable::TooLittle { zone: zone.kind, free, needed }));
        }
        if order > Order::COSTLY {
            let (index, threshold) = (fragmentation_index(zone, order), self.sysctl.extfrag_threshold as i64);
            if (0..=threshold).contains(&index) {
                // Too little memory rather than too scattered: reclaim helps, compaction does not.
                return Err(Some(Unsuitable::NotScattered { zone: zone.kind, index, threshold }));
            }
        }
        Ok(())
    }

    /// Have the scanners met, or is the block there? (`compact_finished`)
    pub(super) fn compact_finished(&mut self, run: &Compaction) -> Option<CompactResult> {
        if run.scanners_met() {
            // The next run starts anew.
            self.reset_cached_positions(run.zone);
            if run.direct {
                self.zones[run.zone.index()].compaction.blockskip_flush = true;
            }
            return Some(if run.whole_zone {
                CompactResult::Complete
            } else {
                CompactResult::PartialSkipped
            });
        }
        let zone = &self.zones[run.zone.index()];
        if run.proactive {
            if self.nodes[zone.pgdat].kswapd.awake {
                return Some(CompactResult::PartialSkipped);
            }
            let enough = index::fragmentation_score_zone(zone) <= self.fragmentation_score_wmark(true);
            return enough.then_some(CompactResult::Success);
        }
        let order = run.order?;
        // A pageblock that was begun is emptied as far as it goes: fewer of them will be mixed.
        if run.migrate_pfn != pageblock_start(run.migrate_pfn) {
            return None;
        }
        for o in order.and_above() {
            let cma = run.migratetype == MigrateType::Movable && !zone.free_area_empty(o, MigrateType::Cma);
            let stealable = || {
                matches!(
                    find_suitable_fallback(zone, self.pageblocks.order(), o, run.migratetype),
                    Some((_, true))
                )
            };
            if !zone.free_area_empty(o, run.migratetype) || cma || stealable() {
                return Some(CompactResult::Success);
            }
        }
        None
    }

    /// Could compaction make the block at all? (`compaction_zonelist_suitable`)
    pub(crate) fn compaction_zonelist_suitable(&self, ac: &AllocContext) -> bool {
        self.zonelist(ac).iter().any(|zone_id| {
            let zone = &self.zones[zone_id.index()];
            // A share only: reclaiming everything for one block would be worse than failing.
            let share = self.zone_reclaimable_pages(*zone_id) / u64::from(ac.order.get().max(1));
            let available = share + zone.free_pages();
            let base = zone.wmark(if ac.order > Order::COSTLY { Wmark::Low } else { Wmark::Min });
            let mark = base + compact_gap(ac.order);
            zone.watermark_ok_with(Order::ZERO, mark, ac.highest, AllocFlags::CMA, available)
                == Verdict::Allowed
        })
    }
}
