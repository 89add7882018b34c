//! kcompactd: one thread a node that compacts in the background, when it is asked to and when memory gets too scattered.
//!
//! ```text
//!   kswapd went to sleep after a request of order n ──┐
//!   kswapd had nothing to do, but the request failed ─┼─► kcompactd_max_order = n ──► a block of order n in each zone
//!   kswapd made room for a pageblock ─────────────────┘
//!   every 500 ms: the node's score > high ───────────────────► each zone, until its score <= low
//!                 no progress ──► the next look after 32 s
//! ```
//!
//! Kernel: `mm/compaction.c` (`kcompactd`, `wakeup_kcompactd`, `proactive_compact_node`).
//! Fidelity: faithful — who wakes it and for which order, suitability, deferral, scores, intervals. Simplified — it works
//! in turns of 32 pages as time passes for the foreground; between two turns its isolated pages stay isolated.

use super::defer::MAX_DEFER_SHIFT;
use super::{CompactResult, Compaction, Mode};
use crate::mm::addr::{Order, ZoneId};
use crate::mm::config::ZoneType;
use crate::mm::machine::Machine;
use crate::mm::page_alloc::watermark::AllocFlags;
use crate::mm::trace::CompactionEvent;
use crate::mm::vmstat::VmEvent;
use std::collections::VecDeque;

/// Nanoseconds between two looks at the score (`HPAGE_FRAG_CHECK_INTERVAL_MSEC`).
pub const FRAG_CHECK_INTERVAL: u64 = 500_000_000;

/// A node's kcompactd.
#[derive(Clone, Debug)]
pub struct Kcompactd {
    /// The largest order it was asked for (`kcompactd_max_order`); 0 is none.
    pub max_order: Order,
    /// The highest zone in which the block may lie (`kcompactd_highest_zoneidx`).
    pub highest: ZoneType,
    /// When it looks at the score next, in nanoseconds of virtual time.
    pub next_look: u64,
    /// It was woken and has not begun yet.
    woken: bool,
    /// Nanoseconds it may still use.
    pub(crate) credit: i64,
    work: Option<Work>,
}

impl Default for Kcompactd {
    fn default() -> Kcompactd {
        Kcompactd {
            max_order: Order::ZERO,
            highest: ZoneType::Device,
            next_look: FRAG_CHECK_INTERVAL,
            woken: false,
            credit: 0,
            work: None,
        }
    }
}

/// What it is about (`kcompactd_do_work`, `proactive_compact_node`).
#[derive(Clone, Debug)]
struct Work {
    /// The order it was asked for; `None` is proactive.
    order: Option<Order>,
    highest: ZoneType,
    /// The node's score before proactive work.
    score: u64,
    /// Zones still to be done.
    zones: VecDeque<ZoneId>,
    run: Option<Box<Compaction>>,
    moved: u64,
}

impl Kcompactd {
    /// It is at work, or has been woken.
    pub fn is_awake(&self) -> bool {
        self.work.is_some() || self.woken
    }

    /// Free pages it holds isolated between two turns.
    pub(crate) fn isolated(&self) -> u64 {
        self.work.as_ref().and_then(|work| work.run.as_ref()).map_or(0, |run| run.isolated())
    }
}

impl Machine {
    /// Asks a node's kcompactd for a block (`wakeup_kcompactd`).
    pub(crate) fn wakeup_kcompactd(&mut self, node: usize, order: Order, highest: ZoneType) {
        if order == Order::ZERO || self.lumpy_reclaim {
            return;
        }
        // The tightest wish counts: the largest block, in the lowest zones. It is remembered even if it has to wait
        // for the next look.
        let kcompactd = &mut self.nodes[node].kcompactd;
        kcompactd.max_order = kcompactd.max_order.max(order);
        kcompactd.highest = kcompactd.highest.min(highest);
        if kcompactd.is_awake() || !self.kcompactd_node_suitable(node, highest) {
            return;
        }
        let kcompactd = &mut self.nodes[node].kcompactd;
        (kcompactd.woken, kcompactd.credit) = (true, 0);
        let nid = self.nodes[node].nid;
        self.emit_compaction(CompactionEvent::WakeupKcompactd { nid, order, highest });
        self.alarm = 0;
    }

    /// Is there a zone in which compaction could make the block? (`kcompactd_node_suitable`)
    fn kcompactd_node_suitable(&self, node: usize, highest: ZoneType) -> bool {
        let order = self.nodes[node].kcompactd.max_order;
        self.nodes[node].zones.iter().any(|&id| {
            let zone = &self.zones[id.index()];
            zone.kind <= highest
                && zone.is_populated()
                && self.compaction_suitable(id, order, highest, AllocFlags::WMARK_MIN).is_ok()
        })
    }

    /// `vm.compaction_proactiveness` was written: every kcompactd looks at once (`proactive_compact_trigger`).
    pub(crate) fn trigger_proactive_compaction(&mut self) {
        if self.sysctl.compaction_proactiveness > 0 {
            for node in &mut self.nodes {
                node.kcompactd.next_look = self.clock;
            }
            self.alarm = 0;
        }
    }

    /// Should the node be compacted before anybody asks? (`should_proactive_compact_node`)
    fn should_proactive_compact_node(&self, node: usize) -> bool {
        self.sysctl.compaction_proactiveness > 0
            && !self.lumpy_reclaim
            && !self.nodes[node].kswapd.awake
            && self.fragmentation_score_node(node) > self.fragmentation_score_wmark(false)
    }

    /// Is there something to do now? When it is time to, it looks.
    pub(crate) fn kcompactd_is_runnable(&mut self, node: usize) -> bool {
        let kcompactd = &self.nodes[node].kcompactd;
        if kcompactd.is_awake() {
            return true;
        }
        if kcompactd.next_look > self.clock || self.sysctl.compaction_proactiveness == 0 {
            return false;
        }
        if kcompactd.max_order > Order::ZERO || self.should_proactive_compact_node(node) {
            self.nodes[node].kcompactd.woken = true;
            return true;
        }
        // Nothing changes between two looks in a stretch of time that passes at once.
        self.nodes[node].kcompactd.next_look = self.clock + FRAG_CHECK_INTERVAL;
        false
    }

    /// One turn of kcompactd's work.
    pub(crate) fn kcompactd_step(&mut self, node: usize) {
        let Some(mut work) = self.nodes[node].kcompactd.work.take() else {
            return self.kcompactd_begin(node);
        };
        let go_on = match work.run.take() {
            None => self.kcompactd_next_zone(&mut work),
            Some(run) => {
                self.kcompactd_turn(&mut work, run);
                true
            }
        };
        if go_on {
            self.nodes[node].kcompactd.work = Some(work);
        } else {
            self.kcompactd_end(node, &work);
        }
        self.charge(self.config.costs.scan_page);
    }

    /// It was asked for a block, or it is time to look at the score.
    fn kcompactd_begin(&mut self, node: usize) {
        self.nodes[node].kcompactd.woken = false;
        let kcompactd = &self.nodes[node].kcompactd;
        let asked = Some(kcompactd.max_order).filter(|order| *order > Order::ZERO);
        let highest = if asked.is_some() { kcompactd.highest } else { ZoneType::Device };
        let nid = self.nodes[node].nid;
        if asked.is_none() && !self.should_proactive_compact_node(node) {
            self.nodes[node].kcompactd.next_look = self.clock + FRAG_CHECK_INTERVAL;
            return;
        }
        if asked.is_some() {
            self.vmstat.count(VmEvent::CompactDaemonWake, 1);
        }
        let score = self.fragmentation_score_node(node);
        let starts_at = self.fragmentation_score_wmark(false);
        self.emit_compaction(CompactionEvent::KcompactdWake { nid, order: asked, highest, score, starts_at });
        let populated = |id: &&ZoneId| {
            let zone = &self.zones[id.index()];
            zone.kind <= highest && zone.is_populated()
        };
        let zones = self.nodes[node].zones.iter().filter(populated).copied().collect();
        let work = Work { order: asked, highest, score, zones, run: None, moved: 0 };
        self.nodes[node].kcompactd.work = Some(work);
    }

    /// The next zone that is worth it; false when there is none.
    fn kcompactd_next_zone(&mut self, work: &mut Work) -> bool {
        while let Some(zone) = work.zones.pop_front() {
            let mut run = Compaction::new(zone, work.order, Mode::SyncLight);
            match work.order {
                Some(order) => {
                    run.highest = self.zones[zone.index()].kind;
                    if self.compaction_deferred(zone, order) {
                        continue;
                    }
                }
                None => (run.proactive, run.whole_zone, run.ignore_skip_hint) = (true, true, true),
            }
            if self.begin_compaction(&mut run).is_ok() {
                work.run = Some(Box::new(run));
                return true;
            }
        }
        false
    }

    /// Moves up to 32 pages, unless the zone is done.
    fn kcompactd_turn(&mut self, work: &mut Work, mut run: Box<Compaction>) {
        let before = (run.migrate_scanned, run.free_scanned);
        let ended = match self.compact_finished(&run) {
            Some(result) => Some(result),
            None => self.compact_turn(&mut run),
        };
        if work.order.is_some() {
            let (migrate, free) = (run.migrate_scanned - before.0, run.free_scanned - before.1);
            self.vmstat.count(VmEvent::CompactDaemonMigrateScanned, migrate);
            self.vmstat.count(VmEvent::CompactDaemonFreeScanned, free);
        }
        let Some(result) = ended else {
            work.run = Some(run);
            return;
        };
        self.end_compaction(&mut run, result);
        work.moved += run.moved;
        let Some(order) = work.order else { return };
        match result {
            CompactResult::Success => self.compaction_defer_reset(run.zone, order, false),
            CompactResult::Complete | CompactResult::PartialSkipped => {
                // Pages on per-CPU lists may be what a block lacks.
                self.drain_all_pages(Some(run.zone));
                self.defer_compaction(run.zone, order);
            }
            _ => {}
        }
    }

    /// Every zone is done: it sleeps until it is asked again, or until the next look.
    fn kcompactd_end(&mut self, node: usize, work: &Work) {
        let score = self.fragmentation_score_node(node);
        let clock = self.clock;
        let kcompactd = &mut self.nodes[node].kcompactd;
        kcompactd.next_look = clock + FRAG_CHECK_INTERVAL;
        if let Some(order) = work.order {
            // A larger wish that came meanwhile is not forgotten.
            if kcompactd.max_order <= order {
                kcompactd.max_order = Order::ZERO;
            }
            if kcompactd.highest >= work.highest {
                kcompactd.highest = ZoneType::Device;
            }
        } else if score >= work.score {
            kcompactd.next_look = clock + (FRAG_CHECK_INTERVAL << MAX_DEFER_SHIFT);
        }
        let (next_look, nid) = (kcompactd.next_look, self.nodes[node].nid);
        self.emit_compaction(CompactionEvent::KcompactdSleep {
            nid,
            moved: work.moved,
            before: work.score,
            score,
            next_look,
        });
    }
}
