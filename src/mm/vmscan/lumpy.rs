//! Lumpy reclaim: the neighbours of a victim go with it, so that its block comes free as a whole. What 2.6 had before
//! compaction, kept here to compare.
//!
//! ```text
//!   the end of the inactive list:  … ● ──► its aligned block of the wanted order   [ . ● # ● ● # ● . ]
//!                                            taken too: every page on a list of reclaim, used lately or not,
//!                                            up to the first that is on none
//! ```
//!
//! Switched on by `vmlab.lumpy_reclaim`, a tunable of ours; nothing is compacted then. Kernel: `mm/vmscan.c` of 2.6.23 to
//! 3.4 (`isolate_lru_pages`, `set_lumpy_reclaim_mode`, `should_reclaim_stall`).
//! Fidelity: faithful — when it applies, which neighbours, references ignored, the second pass that waits for writing.
//! Simplified — around it everything is 6.1's. Absent — lumps of active lists.

use super::DEF_PRIORITY;
use super::scan::ScanControl;
use crate::mm::addr::{Order, Pfn};
use crate::mm::machine::Machine;
use crate::mm::page::PageFlags;
use crate::mm::trace::Event;
use crate::mm::vmstat::{NodeStat, VmEvent};

/// What was taken beside the pages of the list.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Lump {
    /// Neighbours taken.
    pub taken: u64,
    /// Dirty ones among them.
    pub dirty: u64,
    /// Blocks given up because of a page that could not be taken.
    pub failed: u64,
}

impl Machine {
    /// Are neighbours taken? For costly orders always, for smaller ones when it gets hard (`set_lumpy_reclaim_mode`).
    pub(super) fn is_lumpy(&self, sc: &ScanControl) -> bool {
        let hard = sc.order > Order::ZERO && sc.priority < DEF_PRIORITY - 2;
        self.lumpy_reclaim && (sc.order > Order::COSTLY || hard)
    }

    /// Isolates the neighbours of a page that was taken off its list (`isolate_lru_pages`, its inner loop).
    pub(super) fn isolate_neighbours(
        &mut self,
        tag: Pfn,
        order: Order,
        isolated: &mut Vec<Pfn>,
        lump: &mut Lump,
    ) {
        let zone = self.mem_map.page(tag).zone();
        let first = Pfn(tag.0 & !(order.pages() - 1));
        for pfn in (0..order.pages()).map(|n| first.up(n)).filter(|pfn| *pfn != tag) {
            let page = self.mem_map.page(pfn);
            let anon = page.is(PageFlags::SWAPBACKED) && !page.is(PageFlags::SWAPCACHE);
            let outside = !self.mem_map.contains(pfn) || page.zone() != zone;
            if outside || (anon && page.is(PageFlags::LRU) && self.nr_swap_pages() == 0) {
                lump.failed += 1;
                return;
            }
            if page.refcount == 0 && !page.is(PageFlags::TAIL) {
                // It is free already.
                continue;
            }
            if !page.is(PageFlags::LRU) || page.is(PageFlags::UNEVICTABLE) {
                lump.failed += 1;
                return;
            }
            self.lru_unlink(pfn);
            let page = self.mem_map.page_mut(pfn);
            page.clear(PageFlags::LRU);
            page.refcount += 1;
            lump.taken += 1;
            lump.dirty += u64::from(page.is(PageFlags::DIRTY));
            if page.test_and_clear(PageFlags::ACTIVE) {
                self.vmstat.count(VmEvent::Pgdeactivate, 1);
            }
            isolated.push(pfn);
        }
    }

    /// Tells what a lumpy isolation took.
    pub(super) fn trace_lump(
        &mut self,
        sc: &ScanControl,
        requested: u64,
        scanned: u64,
        taken: u64,
        lump: Lump,
    ) {
        let Lump { taken: contig_taken, dirty, failed } = lump;
        self.emit(Event::LruIsolate {
            order: sc.order,
            requested,
            scanned,
            taken,
            contig_taken,
            contig_dirty: dirty,
            contig_failed: failed,
        });
    }

    /// Shall a direct reclaimer wait for the pages it sent out? (`should_reclaim_stall`)
    pub(super) fn should_reclaim_stall(&self, sc: &ScanControl, kept: usize) -> bool {
        let from = if sc.order > Order::COSTLY { DEF_PRIORITY } else { DEF_PRIORITY / 3 };
        sc.lumpy && !sc.kswapd && kept > 0 && sc.priority <= from
    }

    /// Counts isolated pages, or pages that are isolated no longer, by their kind.
    pub(super) fn count_isolated(&mut self, node: usize, pages: &[Pfn], sign: i64) -> [i64; 2] {
        let anon = pages.iter().filter(|p| self.mem_map.page(**p).is(PageFlags::SWAPBACKED)).count() as i64;
        let file = pages.len() as i64 - anon;
        self.nodes[node].mod_stat(NodeStat::IsolatedAnon, sign * anon);
        self.nodes[node].mod_stat(NodeStat::IsolatedFile, sign * file);
        [anon, file]
    }
}
