//! How much of which list: the balance between anonymous and file pages.
//!
//! Kernel: `mm/vmscan.c` (`prepare_scan_count`, `get_scan_count`, `shrink_lruvec`).
//! Fidelity: faithful — costs, swappiness, tiny file cache, cache trim mode, proportional stop.

use super::{DEF_PRIORITY, SWAP_CLUSTER_MAX};
use crate::mm::addr::Order;
use crate::mm::config::ZoneType;
use crate::mm::gfp::Gfp;
use crate::mm::lru::Lru;
use crate::mm::machine::Machine;
use crate::mm::mmzone::Wmark;
use crate::mm::vmstat::NodeStat;

/// What one run of reclaim may do and has done (`struct scan_control`).
#[derive(Clone, Debug)]
pub(crate) struct ScanControl {
    pub gfp: Gfp,
    pub order: Order,
    /// The highest zone whose pages help.
    pub reclaim_idx: ZoneType,
    pub nr_to_reclaim: u64,
    pub nr_reclaimed: u64,
    pub nr_scanned: u64,
    pub priority: u8,
    pub may_writepage: bool,
    pub may_swap: bool,
    pub kswapd: bool,
    pub force_deactivate: bool,
    pub skipped_deactivate: bool,
    /// Neighbours of a victim go with it.
    pub lumpy: bool,
    /// Pages go, used or not.
    pub ignore_references: bool,
    may_deactivate: [bool; 2],
    cache_trim_mode: bool,
    file_is_tiny: bool,
}

impl ScanControl {
    pub fn new(gfp: Gfp, order: Order, reclaim_idx: ZoneType, nr_to_reclaim: u64) -> ScanControl {
        ScanControl {
            gfp,
            order,
            reclaim_idx,
            nr_to_reclaim,
            nr_reclaimed: 0,
            nr_scanned: 0,
            priority: DEF_PRIORITY,
            may_writepage: true,
            may_swap: true,
            kswapd: false,
            force_deactivate: false,
            skipped_deactivate: false,
            lumpy: false,
            ignore_references: false,
            may_deactivate: [true; 2],
            cache_trim_mode: false,
            file_is_tiny: false,
        }
    }

    /// Reclaim may start IO.
    pub fn may_io(&self) -> bool {
        self.gfp.has(Gfp::IO)
    }

    /// Reclaim may call into file systems (`may_enter_fs`).
    pub fn may_enter_fs(&self) -> bool {
        self.gfp.has(Gfp::FS)
    }
}

/// Where a pass over a node stands; kswapd may stop between any two steps.
#[derive(Clone, Debug)]
pub(crate) enum Phase {
    /// The lists are being scanned.
    Lists(Lists),
    /// The pass is over.
    Done,
}

/// What is left to scan of each list (`nr[]` and `targets[]` of `shrink_lruvec`).
#[derive(Clone, Debug)]
pub(crate) struct Lists {
    nr: [u64; 4],
    targets: [u64; 4],
    reclaimed: u64,
    next: usize,
    proportional: bool,
}

impl Machine {
    /// Prepares a pass over a node.
    pub(super) fn begin_node(&mut self, node: usize, sc: &mut ScanControl) -> Phase {
        self.complete_io();
        self.prepare_scan_count(node, sc);
        let nr = self.get_scan_count(node, sc);
        let proportional = !sc.kswapd && sc.priority == DEF_PRIORITY;
        Phase::Lists(Lists { nr, targets: nr, reclaimed: 0, next: 0, proportional })
    }

    /// Scans up to 32 pages of the next list that has any left (`shrink_lruvec`, one turn of its inner loop).
    pub(super) fn shrink_step(&mut self, node: usize, sc: &mut ScanControl, phase: Phase) -> Phase {
        let Phase::Lists(mut lists) = phase else { return Phase::Done };
        let [inactive_anon, _, inactive_file, active_file] = lists.nr;
        if inactive_anon == 0 && active_file == 0 && inactive_file == 0 && lists.next == 0 {
            return self.end_lists(node, sc, &lists);
        }
        let at = lists.next;
        lists.next = (at + 1) % 4;
        let n = lists.nr[at].min(SWAP_CLUSTER_MAX);
        if n > 0 {
            lists.nr[at] -= n;
            let lru = Lru::EVICTABLE[at];
            lists.reclaimed += if !lru.is_active() {
                self.shrink_inactive_list(node, n, sc, lru)
            } else if sc.may_deactivate[usize::from(lru.is_file())] {
                self.shrink_active_list(node, n, sc, lru);
                0
            } else {
                sc.skipped_deactivate = true;
                0
            };
        }
        if lists.next != 0 || lists.reclaimed < sc.nr_to_reclaim || lists.proportional {
            return Phase::Lists(lists);
        }
        if !stop_the_smaller(&mut lists) {
            return self.end_lists(node, sc, &lists);
        }
        Phase::Lists(lists)
    }

    fn end_lists(&mut self, node: usize, sc: &mut ScanControl, lists: &Lists) -> Phase {
        sc.nr_reclaimed += lists.reclaimed;
        // Keep some pages on the inactive list, so that they have a chance to be seen in use.
        if self.can_swap(sc) && self.inactive_is_low(node, Lru::InactiveAnon) {
            self.shrink_active_list(node, SWAP_CLUSTER_MAX, sc, Lru::ActiveAnon);
        }
        sc.nr_reclaimed += self.shrink_slab_of_pass(node, sc.gfp, sc.priority);
        Phase::Done
    }

    fn can_swap(&self, sc: &ScanControl) -> bool {
        sc.may_swap && self.nr_swap_pages() > 0
    }

    /// Which lists may be aged, and which mode applies (`prepare_scan_count`).
    fn prepare_scan_count(&mut self, node: usize, sc: &mut ScanControl) {
        let pgdat = &self.nodes[node];
        if sc.force_deactivate {
            sc.may_deactivate = [true; 2];
        } else {
            let refaults =
                [pgdat.stat(NodeStat::WorkingsetActivateAnon), pgdat.stat(NodeStat::WorkingsetActivateFile)];
            for (i, inactive) in [Lru::InactiveAnon, Lru::InactiveFile].into_iter().enumerate() {
                sc.may_deactivate[i] =
                    refaults[i] != pgdat.lruvec.refaults[i] || self.inactive_is_low(node, inactive);
            }
        }
        let pgdat = &self.nodes[node];
        let file = pgdat.stat(NodeStat::InactiveFile);
        sc.cache_trim_mode = file >> sc.priority > 0 && !sc.may_deactivate[1];
        let zones = || pgdat.zones.iter().map(|z| &self.zones[z.index()]).filter(|z| z.managed_pages > 0);
        let high: u64 = zones().map(|z| z.wmark(Wmark::High)).sum();
        let free: u64 = zones().map(|z| z.free_pages()).sum();
        let cache = file + pgdat.stat(NodeStat::ActiveFile);
        let anon = pgdat.stat(NodeStat::InactiveAnon);
        sc.file_is_tiny = cache + free <= high && !sc.may_deactivate[0] && anon >> sc.priority > 0;
    }

    /// How many pages of each list to scan (`get_scan_count`).
    fn get_scan_count(&self, node: usize, sc: &ScanControl) -> [u64; 4] {
        let swappiness = self.sysctl.swappiness;
        let lruvec = &self.nodes[node].lruvec;
        let (mut fraction, mut denominator) = ([1, 1], 1);
        if !self.can_swap(sc) {
            fraction = [0, 1];
        } else if sc.priority == 0 && swappiness > 0 {
            // Near OOM: both, equally.
        } else if sc.file_is_tiny {
            fraction = [1, 0];
        } else if sc.cache_trim_mode {
            fraction = [0, 1];
        } else {
            // Where reclaim was cheap lately, more of it is done.
            let total = lruvec.anon_cost + lruvec.file_cost;
            let (anon_cost, file_cost) = (total + lruvec.anon_cost, total + lruvec.file_cost);
            let total = anon_cost + file_cost;
            let ap = swappiness * (total + 1) / (anon_cost + 1);
            let fp = (200 - swappiness) * (total + 1) / (file_cost + 1);
            (fraction, denominator) = ([ap, fp], ap + fp);
        }
        Lru::EVICTABLE.map(|lru| {
            let size = self.lru_size(node, lru, sc.reclaim_idx) >> sc.priority;
            (size * fraction[usize::from(lru.is_file())]).div_ceil(denominator)
        })
    }

    /// Pages of a list in zones that help (`lruvec_lru_size`).
    fn lru_size(&self, node: usize, lru: Lru, highest: ZoneType) -> u64 {
        let zones = self.nodes[node].zones.iter().map(|z| &self.zones[z.index()]);
        zones.filter(|z| z.kind <= highest).map(|z| z.stat(lru.zone_stat())).sum()
    }

    /// Has the inactive list become too short to tell used pages from others? (`inactive_is_low`)
    pub(super) fn inactive_is_low(&self, node: usize, inactive: Lru) -> bool {
        let active = if inactive.is_file() { Lru::ActiveFile } else { Lru::ActiveAnon };
        let lruvec = &self.nodes[node].lruvec;
        let (inactive, active) = (lruvec.size(inactive), lruvec.size(active));
        let gb = (inactive + active) >> 18;
        let ratio = if gb > 0 { (10 * gb).isqrt() } else { 1 };
        inactive * ratio < active
    }
}

/// Enough is reclaimed: the smaller kind is stopped, the larger goes on in proportion; false when both are at an end.
fn stop_the_smaller(lists: &mut Lists) -> bool {
    let [ia, aa, inf, af] = lists.nr;
    let (anon, file) = (ia + aa, inf + af);
    if anon == 0 || file == 0 {
        return false;
    }
    // (first index of the smaller kind, of the other, what is left of the smaller)
    let (small, other, left) = if file > anon { (0, 2, anon) } else { (2, 0, file) };
    let percentage = left * 100 / (lists.targets[small] + lists.targets[small + 1] + 1);
    lists.nr[small] = 0;
    lists.nr[small + 1] = 0;
    for i in [other, other + 1] {
        let scanned = lists.targets[i] - lists.nr[i];
        let target = lists.targets[i] * (100 - percentage.min(100)) / 100;
        lists.nr[i] = target - target.min(scanned);
    }
    true
}
