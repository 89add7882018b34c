//! What compaction remembers of a zone: failures, and how far its scanners came.
//!
//! ```text
//!   failed at order 4 ──► the next request of order 4 and above is turned away, then 3 of 4, 7 of 8, … 63 of 64
//!   pageblock without a page to move, or without a free one ──► skipped until kswapd goes to sleep
//! ```
//!
//! Kernel: `mm/compaction.c` (`defer_compaction`, `compaction_deferred`, `isolation_suitable`, `update_cached_migrate`).
//! Fidelity: faithful — deferral, skip bits, cached positions of both scanners for each mode. Simplified — forgetting
//! the skip bits puts the positions at the zone's ends; the kernel looks for the first useful pageblock.

use super::{Compaction, Mode, pageblock_end, pageblock_start};
use crate::mm::addr::{Order, Pfn, ZoneId};
use crate::mm::machine::Machine;
use crate::mm::trace::{CompactionEvent, DeferStep};

/// A zone that failed often is left alone for at most `2^6` requests (`COMPACT_MAX_DEFER_SHIFT`).
pub const MAX_DEFER_SHIFT: u32 = 6;

/// What compaction remembers of a zone.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// Requests turned away since the last failure (`compact_considered`).
    pub considered: u32,
    /// `2^shift` requests are turned away (`compact_defer_shift`).
    pub shift: u32,
    /// The smallest order that failed lately (`compact_order_failed`).
    pub failed: Option<Order>,
    /// Where the migrate scanner starts, asynchronous and synchronous (`compact_cached_migrate_pfn`).
    pub cached_migrate: [u32; 2],
    /// Where the free scanner starts (`compact_cached_free_pfn`).
    pub cached_free: u32,
    /// kswapd shall forget which pageblocks to skip when it goes to sleep (`compact_blockskip_flush`).
    pub blockskip_flush: bool,
}

impl Default for Memory {
    /// No failure; the scanners have stood nowhere yet, which is outside of every zone.
    fn default() -> Memory {
        Memory {
            considered: 0,
            shift: 0,
            failed: None,
            cached_migrate: [u32::MAX; 2],
            cached_free: u32::MAX,
            blockskip_flush: false,
        }
    }
}

impl Machine {
    /// Failed lately at this order: not again so soon (`compaction_deferred`).
    pub(super) fn compaction_deferred(&mut self, zone: ZoneId, order: Order) -> bool {
        let memory = &mut self.zones[zone.index()].compaction;
        if memory.failed.is_none_or(|failed| order < failed) {
            return false;
        }
        let limit = 1 << memory.shift;
        memory.considered = (memory.considered + 1).min(limit);
        let deferred = memory.considered < limit;
        if deferred {
            self.trace_defer(zone, order, DeferStep::Deferred);
        }
        deferred
    }

    /// The zone failed: the next requests are turned away (`defer_compaction`).
    pub(super) fn defer_compaction(&mut self, zone: ZoneId, order: Order) {
        let memory = &mut self.zones[zone.index()].compaction;
        memory.considered = 0;
        memory.shift = (memory.shift + 1).min(MAX_DEFER_SHIFT);
        memory.failed = Some(memory.failed.map_or(order, |failed| failed.min(order)));
        self.trace_defer(zone, order, DeferStep::Defer);
    }

    /// The zone did not fail; `success` when the allocation itself succeeded (`compaction_defer_reset`).
    pub(crate) fn compaction_defer_reset(&mut self, zone: ZoneId, order: Order, success: bool) {
        let memory = &mut self.zones[zone.index()].compaction;
        if success {
            memory.blockskip_flush = false;
        }
        let before = (memory.considered, memory.shift, memory.failed);
        if success {
            (memory.considered, memory.shift) = (0, 0);
        }
        if memory.failed.is_some_and(|failed| order >= failed) {
            memory.failed = order.up();
        }
        if before != (memory.considered, memory.shift, memory.failed) {
            self.trace_defer(zone, order, DeferStep::Reset);
        }
    }

    /// The last request before the limit: the zone is looked at anew (`compaction_restarting`).
    pub(super) fn compaction_restarting(&self, zone: ZoneId, order: Order) -> bool {
        let memory = &self.zones[zone.index()].compaction;
        memory.failed.is_some_and(|failed| order >= failed)
            && memory.shift == MAX_DEFER_SHIFT
            && memory.considered >= 1 << memory.shift
    }

    fn trace_defer(&mut self, zone: ZoneId, order: Order, step: DeferStep) {
        let zone = &self.zones[zone.index()];
        let (nid, kind, memory) = (zone.node, zone.kind, zone.compaction);
        let failed = memory.failed.unwrap_or(Order::ZERO);
        let (considered, limit) = (memory.considered, 1 << memory.shift);
        self.emit_compaction(CompactionEvent::Defer {
            step,
            nid,
            zone: kind,
            order,
            failed,
            considered,
            limit,
        });
    }

    /// Puts the scanners of the next run at the zone's ends (`reset_cached_positions`).
    pub(super) fn reset_cached_positions(&mut self, zone: ZoneId) {
        let zone = &mut self.zones[zone.index()];
        let (start, end) = (zone.zone_start_pfn, zone.end_pfn());
        zone.compaction.cached_migrate = [start; 2];
        zone.compaction.cached_free = pageblock_start(end - 1);
    }

    /// Forgets which pageblocks to skip (`__reset_isolation_suitable`).
    pub(super) fn forget_skipped(&mut self, zone: ZoneId) {
        self.reset_cached_positions(zone);
        let zone = &mut self.zones[zone.index()];
        zone.compaction.blockskip_flush = false;
        self.pageblocks.clear_skip(zone.zone_start_pfn, zone.end_pfn());
    }

    /// kswapd goes to sleep: zones in which a direct compaction ended get another look (`reset_isolation_suitable`).
    pub(crate) fn reset_isolation_suitable(&mut self, node: usize) {
        for zone in self.nodes[node].zones.clone() {
            let z = &self.zones[zone.index()];
            if z.is_populated() && z.compaction.blockskip_flush {
                self.forget_skipped(zone);
            }
        }
    }

    /// May this pageblock be looked at? (`isolation_suitable`)
    pub(super) fn isolation_suitable(&self, run: &Compaction, pfn: u32) -> bool {
        run.ignore_skip_hint || !self.pageblocks.skip(Pfn(pfn))
    }

    /// The migrate scanner is through with everything below (`update_cached_migrate`).
    pub(super) fn update_cached_migrate(&mut self, run: &Compaction, pfn: u32) {
        let memory = &mut self.zones[run.zone.index()].compaction;
        let end = pageblock_end(pfn.saturating_sub(1));
        memory.cached_migrate[0] = memory.cached_migrate[0].max(end);
        if run.mode != Mode::Async {
            memory.cached_migrate[1] = memory.cached_migrate[1].max(end);
        }
    }

    /// The free scanner found all there was in a pageblock (`update_pageblock_skip`).
    pub(super) fn update_pageblock_skip(&mut self, run: &Compaction, block: u32) {
        self.pageblocks.set_skip(Pfn(block));
        let memory = &mut self.zones[run.zone.index()].compaction;
        memory.cached_free = memory.cached_free.min(block);
    }
}
