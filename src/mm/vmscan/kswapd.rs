//! kswapd: one thread a node that keeps free pages above the high watermark.
//!
//! Gorman 10.6. Kernel: `mm/vmscan.c` (`kswapd`, `balance_pgdat`, `wakeup_kswapd`).
//! Fidelity: faithful — when it wakes and sleeps, priorities, boost, giving up after 16 runs. Simplified — its sleep has
//! no trial nap of 100 ms.

use super::scan::{Phase, ScanControl};
use super::{DEF_PRIORITY, MAX_KSWAPD_FAILURES, SWAP_CLUSTER_MAX};
use crate::mm::addr::{Order, ZoneId};
use crate::mm::compaction::compact_gap;
use crate::mm::config::ZoneType;
use crate::mm::gfp::Gfp;
use crate::mm::lru::Lru;
use crate::mm::machine::Machine;
use crate::mm::mmzone::Wmark;
use crate::mm::page_alloc::watermark::AllocFlags;
use crate::mm::trace::{Event, Verdict};
use crate::mm::vmstat::{NodeStat, VmEvent};

/// A node's kswapd.
#[derive(Clone, Debug)]
pub struct Kswapd {
    /// It has work.
    pub awake: bool,
    /// Runs in a row that freed nothing.
    pub failures: u32,
    order: Order,
    highest: ZoneType,
    /// Nanoseconds it may still use.
    pub(crate) credit: i64,
    boost: u64,
    /// The run began because of the boost.
    boosted: bool,
    raise_priority: bool,
    reclaimed_before: u64,
    sc: Option<ScanControl>,
    phase: Option<Phase>,
}

impl Default for Kswapd {
    fn default() -> Kswapd {
        Kswapd {
            awake: false,
            failures: 0,
            order: Order::ZERO,
            highest: ZoneType::Dma,
            credit: 0,
            boost: 0,
            boosted: false,
            raise_priority: true,
            reclaimed_before: 0,
            sc: None,
            phase: None,
        }
    }
}

impl Machine {
    /// Wakes a node's kswapd unless it is up, has given up, or nothing is short; true when it was asleep.
    pub(crate) fn kswapd_note_wakeup(
        &mut self,
        zone: ZoneId,
        gfp: Gfp,
        order: Order,
        highest: ZoneType,
    ) -> bool {
        let node = self.zones[zone.index()].pgdat;
        let kswapd = &mut self.nodes[node].kswapd;
        kswapd.order = kswapd.order.max(order);
        kswapd.highest = kswapd.highest.max(highest);
        if kswapd.awake {
            return false;
        }
        if kswapd.failures >= MAX_KSWAPD_FAILURES
            || self.pgdat_balanced(node, order, highest) && !self.pgdat_boosted(node, highest)
        {
            // There may be memory enough, only scattered: a caller that cannot compact itself has it done.
            if !gfp.has(Gfp::DIRECT_RECLAIM) {
                self.wakeup_kcompactd(node, order, highest);
            }
            return false;
        }
        self.start_kswapd(node);
        true
    }

    /// The reserves are in danger: kswapd must look at every zone.
    pub(super) fn wake_kswapd_for_reserves(&mut self, node: usize) {
        let kswapd = &mut self.nodes[node].kswapd;
        kswapd.highest = kswapd.highest.min(ZoneType::Normal);
        if !kswapd.awake && kswapd.failures < MAX_KSWAPD_FAILURES {
            self.start_kswapd(node);
        }
    }

    fn start_kswapd(&mut self, node: usize) {
        let nid = self.nodes[node].nid;
        let kswapd = &mut self.nodes[node].kswapd;
        kswapd.awake = true;
        kswapd.credit = 0;
        kswapd.sc = None;
        kswapd.phase = None;
        let order = kswapd.order;
        self.alarm = 0;
        self.emit(Event::KswapdWake { nid, order });
    }

    /// One zone of the node has reached high for this order (`pgdat_balanced`).
    fn pgdat_balanced(&self, node: usize, order: Order, highest: ZoneType) -> bool {
        let mut any = false;
        for zone in self.nodes[node].zones.iter().map(|z| &self.zones[z.index()]) {
            if zone.kind > highest || zone.managed_pages == 0 {
                continue;
            }
            any = true;
            let mark = zone.wmark(Wmark::High);
            if zone.watermark_ok(order, mark, highest, AllocFlags::default()) == Verdict::Allowed {
                return true;
            }
        }
        // Without a zone to balance there is nothing to do.
        !any
    }

    fn pgdat_boosted(&self, node: usize, highest: ZoneType) -> bool {
        self.nodes[node]
            .zones
            .iter()
            .map(|z| &self.zones[z.index()])
            .any(|z| z.kind <= highest && z.watermark_boost > 0)
    }

    /// One batch of kswapd's work (`balance_pgdat`, cut into steps).
    pub(crate) fn kswapd_step(&mut self, node: usize) {
        let Some(mut sc) = self.nodes[node].kswapd.sc.take() else { return self.kswapd_begin(node) };
        match self.nodes[node].kswapd.phase.take() {
            Some(phase @ Phase::Lists(_)) => {
                let next = self.shrink_step(node, &mut sc, phase);
                self.nodes[node].kswapd.phase = Some(next);
                self.nodes[node].kswapd.sc = Some(sc);
            }
            Some(Phase::Done) => self.kswapd_end_pass(node, sc),
            None => self.kswapd_begin_pass(node, sc),
        }
    }

    /// A run begins: boost is noted, and given back when the run has served it.
    fn kswapd_begin(&mut self, node: usize) {
        self.vmstat.count(VmEvent::Pageoutrun, 1);
        let (order, highest) = (self.nodes[node].kswapd.order, self.nodes[node].kswapd.highest);
        let boost = |z: &ZoneId| &self.zones[z.index()];
        let boost = self.nodes[node]
            .zones
            .iter()
            .map(boost)
            .filter(|z| z.kind <= highest)
            .map(|z| z.watermark_boost)
            .sum();
        let mut sc = ScanControl::new(Gfp::KERNEL, order, highest, 0);
        sc.kswapd = true;
        let kswapd = &mut self.nodes[node].kswapd;
        (kswapd.boost, kswapd.boosted, kswapd.raise_priority) = (boost, boost > 0, true);
        kswapd.sc = Some(sc);
        for zone in self.nodes[node].zones.clone() {
            self.zones[zone.index()].set_reclaim_active(true);
        }
        self.charge(self.config.costs.scan_page);
    }

    /// One priority's pass begins, unless the node is balanced.
    fn kswapd_begin_pass(&mut self, node: usize, mut sc: ScanControl) {
        let boost = self.nodes[node].kswapd.boost;
        if self.pgdat_balanced(node, sc.order, sc.reclaim_idx) {
            if boost == 0 {
                return self.kswapd_end(node, sc);
            }
        } else if boost > 0 {
            // Being short of pages matters more than making room for pageblocks.
            self.nodes[node].kswapd.boost = 0;
        }
        let boost = self.nodes[node].kswapd.boost;
        if boost > 0 && sc.priority == DEF_PRIORITY - 2 {
            self.nodes[node].kswapd.raise_priority = false;
        }
        sc.may_writepage = boost == 0 || sc.priority < DEF_PRIORITY - 2;
        sc.may_swap = boost == 0;
        if self.nr_swap_pages() > 0 && self.inactive_is_low(node, Lru::InactiveAnon) {
            self.shrink_active_list(node, SWAP_CLUSTER_MAX, &mut sc, Lru::ActiveAnon);
        }
        let zones = self.nodes[node].zones.iter().map(|z| &self.zones[z.index()]);
        let usable = zones.filter(|z| z.kind <= sc.reclaim_idx && z.managed_pages > 0);
        sc.nr_to_reclaim = usable.map(|z| z.wmark(Wmark::High).max(SWAP_CLUSTER_MAX)).sum();
        sc.nr_scanned = 0;
        self.nodes[node].kswapd.reclaimed_before = sc.nr_reclaimed;
        let phase = self.begin_node(node, &mut sc);
        self.nodes[node].kswapd.phase = Some(phase);
        self.nodes[node].kswapd.sc = Some(sc);
        self.charge(self.config.costs.scan_page);
    }

    /// One priority's pass is over: the next is more desperate, if this one did not do enough.
    fn kswapd_end_pass(&mut self, node: usize, mut sc: ScanControl) {
        if sc.order > Order::ZERO && sc.nr_reclaimed >= compact_gap(sc.order) {
            // Twice the block has come free: whether the pieces lie together is up to compaction.
            sc.order = Order::ZERO;
        }
        let kswapd = &mut self.nodes[node].kswapd;
        let reclaimed = sc.nr_reclaimed - kswapd.reclaimed_before;
        if sc.nr_reclaimed > 0 {
            kswapd.failures = 0;
        }
        if sc.nr_scanned >= sc.nr_to_reclaim {
            kswapd.raise_priority = false;
        }
        let boosted = kswapd.boost > 0;
        kswapd.boost -= kswapd.boost.min(reclaimed);
        if boosted && reclaimed == 0 {
            return self.kswapd_end(node, sc);
        }
        if kswapd.raise_priority || reclaimed == 0 {
            sc.priority -= 1;
        }
        kswapd.raise_priority = true;
        if sc.priority == 0 {
            if sc.nr_reclaimed == 0 {
                kswapd.failures += 1;
            }
            return self.kswapd_end(node, sc);
        }
        kswapd.sc = Some(sc);
        self.charge(self.config.costs.scan_page);
    }

    /// A run is over: sleep when the node is balanced or beyond help, else run again.
    fn kswapd_end(&mut self, node: usize, sc: ScanControl) {
        let refaults = [
            self.nodes[node].stat(NodeStat::WorkingsetActivateAnon),
            self.nodes[node].stat(NodeStat::WorkingsetActivateFile),
        ];
        self.nodes[node].lruvec.refaults = refaults;
        self.close_lane();
        for zone in self.nodes[node].zones.clone() {
            let zone = &mut self.zones[zone.index()];
            zone.set_reclaim_active(false);
            if zone.kind <= sc.reclaim_idx {
                zone.watermark_boost = 0;
            }
        }
        if std::mem::take(&mut self.nodes[node].kswapd.boosted) {
            // There should be room now to put pageblocks in order.
            self.wakeup_kcompactd(node, Order::PAGEBLOCK, sc.reclaim_idx);
        }
        self.charge(self.config.costs.scan_page);
        let hopeless = self.nodes[node].kswapd.failures >= MAX_KSWAPD_FAILURES;
        let balanced = self.pgdat_balanced(node, sc.order, sc.reclaim_idx);
        if balanced || hopeless {
            // What is free now may still be scattered.
            let asked = self.nodes[node].kswapd.order;
            self.reset_isolation_suitable(node);
            self.wakeup_kcompactd(node, asked, sc.reclaim_idx);
            let kswapd = &mut self.nodes[node].kswapd;
            *kswapd = Kswapd { failures: kswapd.failures, ..Kswapd::default() };
            let nid = self.nodes[node].nid;
            if !hopeless {
                self.vmstat.count(VmEvent::KswapdHighWmarkHitQuickly, 1);
            }
            self.emit(Event::KswapdSleep { nid, reclaimed: sc.nr_reclaimed, hopeless });
        }
    }
}
