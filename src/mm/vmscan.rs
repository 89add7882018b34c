//! Page-frame reclaim: which page goes, and who does the work.
//!
//! ```text
//!   try_to_free_pages ─┐  priority 12 … 0: scan size >> priority of each list
//!   kswapd ────────────┴─► shrink_node ─► how much of which list?         scan.rs
//!                              └─► shrink_list, 32 pages at a time
//!                                     ├─ active:   age, move to inactive  shrink.rs
//!                                     └─ inactive: used? keep. dirty? write. clean? free.
//! ```
//!
//! Gorman chapter 10. Kernel: `mm/vmscan.c`.
//! Fidelity: faithful — balance of anonymous against file pages, list ageing, references, writing before freeing.
//! Simplified — interleaving of kswapd with the foreground follows one rule of time. Absent — MGLRU, cgroups.

mod kswapd;
mod lumpy;
mod scan;
mod shrink;
pub mod shrink_slab;

pub use kswapd::Kswapd;
pub(crate) use scan::ScanControl;

use crate::mm::addr::ZoneId;
use crate::mm::config::ZoneType;
use crate::mm::machine::Machine;
use crate::mm::mmzone::Wmark;
use crate::mm::page_alloc::AllocContext;
use crate::mm::trace::{Event, SlowStep};
use crate::mm::vmstat::{VmEvent, ZoneEvent, ZoneStat};
use scan::Phase;

/// Pages that one round of reclaim looks at and tries to free (`SWAP_CLUSTER_MAX`).
pub const SWAP_CLUSTER_MAX: u64 = 32;
/// The gentlest priority: a 4096th of each list.
pub const DEF_PRIORITY: u8 = 12;
/// Runs without a freed page after which kswapd gives a node up (`MAX_RECLAIM_RETRIES`).
pub const MAX_KSWAPD_FAILURES: u32 = 16;

impl Machine {
    /// Reclaims on behalf of the caller (`try_to_free_pages`); pages freed.
    pub(crate) fn try_to_free_pages(&mut self, ac: &AllocContext) -> u64 {
        self.throttle_direct_reclaim(ac);
        self.vmstat.count_zone(ZoneEvent::Allocstall, ac.highest, 1);
        self.emit(Event::DirectReclaimBegin { order: ac.order, gfp: ac.gfp });
        let mut sc = ScanControl::new(ac.gfp, ac.order, ac.highest, SWAP_CLUSTER_MAX);
        let memalloc = std::mem::replace(&mut self.current.memalloc, true);
        let nodes = self.nodes_of(ac);
        let (mut scanned, mut priority) = (0, DEF_PRIORITY);
        loop {
            sc.priority = priority;
            sc.nr_scanned = 0;
            for &node in &nodes {
                self.shrink_node(node, &mut sc);
            }
            scanned += sc.nr_scanned;
            if sc.nr_reclaimed >= sc.nr_to_reclaim || priority == 0 {
                if sc.nr_reclaimed == 0 && sc.skipped_deactivate && !sc.force_deactivate {
                    // The active lists were spared; now they may not be.
                    sc.force_deactivate = true;
                    sc.skipped_deactivate = false;
                    priority = DEF_PRIORITY;
                    continue;
                }
                break;
            }
            priority -= 1;
            if priority < DEF_PRIORITY - 2 {
                sc.may_writepage = true;
            }
        }
        self.current.memalloc = memalloc;
        self.emit(Event::DirectReclaimEnd { nr_scanned: scanned, nr_reclaimed: sc.nr_reclaimed, priority });
        self.last_alloc.step(SlowStep::Reclaimed { scanned, reclaimed: sc.nr_reclaimed, priority });
        sc.nr_reclaimed
    }

    /// Nodes of the request's zonelist, each once, in order.
    fn nodes_of(&self, ac: &AllocContext) -> Vec<usize> {
        let mut nodes: Vec<usize> = Vec::new();
        for zone in self.zonelist(ac) {
            let node = self.zones[zone.index()].pgdat;
            if !nodes.contains(&node) {
                nodes.push(node);
            }
        }
        nodes
    }

    /// Below half of min kswapd must keep its reserve: callers wait for it (`throttle_direct_reclaim`).
    fn throttle_direct_reclaim(&mut self, ac: &AllocContext) {
        let Some(&first) = self.zonelist(ac).iter().find(|z| self.zones[z.index()].kind <= ZoneType::Normal)
        else {
            return;
        };
        let node = self.zones[first.index()].pgdat;
        if self.allow_direct_reclaim(node) || self.current.oom_victim {
            return;
        }
        self.vmstat.count(VmEvent::PgscanDirectThrottle, 1);
        self.wake_kswapd_for_reserves(node);
        // One second at most, as in the kernel for callers that may not enter the file system; here kswapd runs at once.
        for _ in 0..64 {
            if self.allow_direct_reclaim(node) || !self.nodes[node].kswapd.awake {
                return;
            }
            self.sleep_for(1_000_000);
        }
    }

    /// Half of the low zones' min is free, or kswapd has given up (`allow_direct_reclaim`).
    fn allow_direct_reclaim(&self, node: usize) -> bool {
        if self.nodes[node].kswapd.failures >= MAX_KSWAPD_FAILURES {
            return true;
        }
        let (mut reserve, mut free) = (0, 0);
        for zone in self.nodes[node].zones.iter().map(|z| &self.zones[z.index()]) {
            if zone.kind <= ZoneType::Normal
                && zone.managed_pages > 0
                && self.zone_reclaimable_pages(zone.id) > 0
            {
                reserve += zone.wmark(Wmark::Min);
                free += zone.free_pages();
            }
        }
        reserve == 0 || free > reserve / 2
    }

    /// Pages of a zone that reclaim could free (`zone_reclaimable_pages`).
    pub(crate) fn zone_reclaimable_pages(&self, zone: ZoneId) -> u64 {
        let zone = &self.zones[zone.index()];
        let file = zone.stat(ZoneStat::ZoneInactiveFile) + zone.stat(ZoneStat::ZoneActiveFile);
        let anon = zone.stat(ZoneStat::ZoneInactiveAnon) + zone.stat(ZoneStat::ZoneActiveAnon);
        file + if self.nr_swap_pages() > 0 { anon } else { 0 }
    }

    /// One pass over a node at the control's priority (`shrink_node`).
    fn shrink_node(&mut self, node: usize, sc: &mut ScanControl) {
        let mut phase = self.begin_node(node, sc);
        while let Phase::Lists(_) = phase {
            phase = self.shrink_step(node, sc, phase);
        }
        if sc.nr_reclaimed > 0 {
            self.nodes[node].kswapd.failures = 0;
        }
    }

    /// Reclaims a number of pages of a node, for `reclaim()` and tests; pages freed.
    pub fn reclaim_node(&mut self, node: usize, pages: u64) -> u64 {
        let mut sc = ScanControl::new(
            crate::mm::gfp::Gfp::KERNEL,
            crate::mm::addr::Order::ZERO,
            ZoneType::Device,
            pages,
        );
        for priority in (0..=DEF_PRIORITY).rev() {
            sc.priority = priority;
            sc.nr_scanned = 0;
            self.shrink_node(node, &mut sc);
            if sc.nr_reclaimed >= pages {
                break;
            }
        }
        sc.nr_reclaimed
    }
}
