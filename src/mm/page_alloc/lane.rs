//! The lane: the way of requests like the one before, while nothing is short.
//!
//! ```text
//!   alloc_pages ──► same mask, same node, enough free? ── yes ──► this CPU's list, or the free lists
//!                             └── no ──► the whole zonelist, which opens a lane for the next
//! ```
//!
//! Kernel: `mm/page_alloc.c` — what `get_page_from_freelist` and `free_unref_page` come to when the first zone passes.
//! Fidelity: ours — a shortcut with the results of the long way; `check()` compares the two.

use super::{AllocContext, pcp};
use crate::mm::addr::{Order, Pfn, ZoneId};
use crate::mm::config::{MigrateType, ZoneType};
use crate::mm::gfp::Gfp;
use crate::mm::machine::Machine;
use crate::mm::mmzone::Wmark;
use crate::mm::page::{Page, ZoneBits};
use crate::mm::trace::Brief;
use crate::mm::vmstat::{VmEvent, ZoneEvent};

/// The way of requests with one mask while nothing is short: which zone's low watermark they must leave, computed once.
///
/// It holds until one of the numbers changes ([`Machine::close_lane`]); `check()` compares it with a new one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Lane {
    pub gfp: Gfp,
    pub zone: ZoneId,
    /// What the flags of the zone's pages begin with.
    pub zone_bits: ZoneBits,
    pub kind: ZoneType,
    pub migratetype: MigrateType,
    /// The low watermark with its boost.
    pub mark: u64,
    /// `lowmem_reserve` against the mask.
    pub reserve: u64,
    /// Free pages from which on a single page is given: more than both, and than what is kept for others.
    pub least: u64,
}

impl Default for Lane {
    /// No mask and no zone is like these.
    fn default() -> Lane {
        let (zone, kind, migratetype) = (ZoneId(u16::MAX), ZoneType::Normal, MigrateType::Unmovable);
        let zone_bits = ZoneBits::NOWHERE;
        Lane { gfp: Gfp(u32::MAX), zone, zone_bits, kind, migratetype, mark: 0, reserve: 0, least: 0 }
    }
}

impl Machine {
    /// The usual case: a request like the one before, nothing is short, and a block lies at hand on this CPU's list or
    /// among the free blocks.
    ///
    /// `None` has taken nothing: the long way begins anew, and says what stood in the way.
    #[inline(always)]
    pub(super) fn alloc_by_lane(&mut self, node: usize, gfp: Gfp, order: Order) -> Option<Pfn> {
        let from_pcp = self.pcp_allowed_order(order);
        let lane = &self.lane;
        if lane.gfp != gfp || node != self.home {
            return None;
        }
        let zone = self.zones.get_mut(lane.zone.index())?;
        let free = zone.free_pages();
        if free < lane.least + u64::from(order.pages() - 1) || !zone.has_block_for_all(order) {
            return None;
        }
        let (pfn, from) = if from_pcp {
            let pcp = zone.pageset.get_mut(self.cpu.index())?;
            let pfn = pcp.lists[pcp::pindex(lane.migratetype, order)].pop()?;
            pcp.count -= u64::from(order.pages());
            pcp.free_factor >>= 1;
            self.mem_map.page_mut(pfn).leave_pcp();
            (pfn, None)
        } else {
            let (pfn, from) = zone.rmqueue_smallest(&mut self.mem_map, order, lane.migratetype)?;
            self.mem_map.page_mut(pfn).prep(order);
            self.vmstat.count(VmEvent::BuddySplit, u64::from(from.get() - order.get()));
            (pfn, Some(from))
        };
        if order == Order::ZERO {
            zone.singles += 1;
        } else {
            zone.count_hit(self.home);
            self.vmstat.count_zone(ZoneEvent::Pgalloc, zone.kind, u64::from(order.pages()));
        }
        self.last_alloc.brief = Some(Brief { free, pfn, order, from });
        self.prep_unwatched_page(pfn, gfp, order);
        self.charge(self.config.costs.alloc);
        Some(pfn)
    }

    /// Remembers where this request's pages come from while nothing is short: the next one like it is quick.
    pub(super) fn open_lane(&mut self, ac: &AllocContext) {
        let Some(&first) = self.zonelist(ac).first() else { return };
        self.lane = self.lane_to(ac, first).unwrap_or_default();
    }

    /// The lane of a request whose preferred zone this is; none to memory of another node, while the zone is boosted, or
    /// while somebody wants to see every allocation.
    pub(crate) fn lane_to(&self, ac: &AllocContext, preferred: ZoneId) -> Option<Lane> {
        let zone = &self.zones[preferred.index()];
        let watched = self.trace.hot || self.debug_pages || self.fail_in.is_some();
        if watched || ac.node != self.home || zone.pgdat != self.home || zone.boosted_watermark {
            return None;
        }
        let (mark, reserve) = (zone.wmark(Wmark::Low), zone.lowmem_reserve[ac.highest as usize]);
        Some(Lane {
            gfp: ac.gfp,
            zone: preferred,
            zone_bits: Page::in_zone(preferred),
            kind: zone.kind,
            migratetype: ac.migratetype,
            mark,
            reserve,
            least: mark + reserve + zone.nr_reserved_highatomic + zone.cma_pages + 1,
        })
    }

    /// The numbers that the lane stands on are about to change.
    pub(crate) fn close_lane(&mut self) {
        self.last_alloc = self.last_alloc();
        self.lane = Lane::default();
    }

    /// The usual case: a page of the lane that nobody else holds and nothing hangs on. `false` has done nothing.
    ///
    /// To compare with the lane and then to go its way is quicker than to look up the zone: the next allocation need
    /// not wait for what this page says.
    #[inline(always)]
    pub(super) fn free_by_lane(&mut self, pfn: Pfn, order: Order) -> bool {
        let lane = &self.lane;
        let Some(page) = self.mem_map.own_page_mut(pfn) else { return false };
        let (theirs, list) = (self.pageblocks.get(pfn), pcp::pindex(lane.migratetype, order));
        let fits = page.is_ready_to_free_in(order, lane.zone_bits) && theirs == lane.migratetype;
        if !fits || !self.contents.is_empty() {
            return false;
        }
        page.become_pcp(lane.zone_bits, lane.migratetype);
        let zone = &mut self.zones[lane.zone.index()];
        let pcp = &mut zone.pageset[self.cpu.index()];
        pcp.lists[list].push(pfn);
        pcp.count += u64::from(order.pages());
        self.vmstat.count(VmEvent::Pgfree, u64::from(order.pages()));
        let flush = order > Order::ZERO && pcp.free_factor > 0;
        if pcp.count >= pcp.full || flush {
            self.free_pcp_excess(lane.zone, order, list);
        }
        true
    }
}
