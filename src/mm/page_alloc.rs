//! The binary buddy allocator: blocks of `2^order` pages, split when taken and merged when given back.
//!
//! ```text
//!   alloc_pages ── get_page_from_freelist ── zone_watermark_fast     may this zone give it?      watermark.rs
//!        │                   └── rmqueue ── per-CPU lists            small orders                pcp.rs
//!        │                         └────── __rmqueue                 split, or steal             here, fallback.rs
//!        └── slow path: wake kswapd, compact, reclaim, retry, OOM                                slowpath.rs
//! ```
//!
//! Gorman chapter 6. Kernel: `mm/page_alloc.c`.
//! Fidelity: faithful — split, merge, list order, bad-page checks, zonelist walk, NUMA counters.
//! Simplified — a block freed with another order than it was allocated with is always noticed.
//! Absent — cpusets, memory cgroups, deferred initialisation, shuffling.

mod context;
mod contig;
mod exact;
pub mod fallback;
pub mod pcp;
pub mod slowpath;
pub mod watermark;

use crate::mm::addr::{Nid, Order, Pfn, ZoneId};
use crate::mm::config::{MigrateType, ZoneType};
use crate::mm::errno::{Errno, Oops};
use crate::mm::gfp::Gfp;
use crate::mm::machine::Machine;
use crate::mm::mmzone::{Wmark, Zone, Zonelist};
use crate::mm::page::{MemMap, Page, PageFlags, PageType, ZoneBits};
use crate::mm::trace::{Brief, Event, Path, Verdict};
use crate::mm::vmstat::{NumaStat, VmEvent, ZoneEvent, ZoneStat};
use watermark::AllocFlags;

/// What an allocation is looking for (`struct alloc_context`).
#[derive(Clone, Copy, Debug)]
pub struct AllocContext {
    /// The caller's mask.
    pub gfp: Gfp,
    /// The block's order.
    pub order: Order,
    /// Index of the preferred node in `Machine::nodes`.
    pub node: usize,
    /// The highest kind of zone allowed.
    pub highest: ZoneType,
    /// The free lists to take from.
    pub migratetype: MigrateType,
}

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

/// Where a freed block goes on its list.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum FreeTo {
    /// At the front, or at the end when its buddy's buddy is likely to come back soon.
    Likely,
    /// At the end: memory handed over at boot.
    Tail,
}

impl Machine {
    /// Allocates `2^order` contiguous page frames near the CPU that asks (`alloc_pages`).
    ///
    /// # Errors
    /// `ENOMEM` when no zone could give it, `EINVAL` for a mask that contradicts itself.
    #[inline(always)]
    pub fn alloc_pages(&mut self, gfp: Gfp, order: Order) -> Result<Pfn, Errno> {
        self.alloc_pages_at(self.mem_node(), gfp, order)
    }

    /// Allocates one page for a caller that knows its mask: the mask's consequences are computed once (`alloc_page`).
    ///
    /// # Errors
    /// As [`Machine::alloc_pages`].
    #[inline(always)]
    pub(crate) fn alloc_page(&mut self, gfp: Gfp) -> Result<Pfn, Errno> {
        self.alloc_block(self.mem_node(), gfp, Order::ZERO)
    }

    /// Allocates near a node (`alloc_pages_node`).
    ///
    /// # Errors
    /// As [`Machine::alloc_pages`]; `EINVAL` when there is no such node.
    pub fn alloc_pages_node(&mut self, nid: Nid, gfp: Gfp, order: Order) -> Result<Pfn, Errno> {
        let node = self.node_index(nid).ok_or(Errno::EINVAL)?;
        self.alloc_pages_at(node, gfp, order)
    }

    /// Allocates near the node with this index (`__alloc_pages`).
    #[inline(always)]
    pub(crate) fn alloc_pages_at(&mut self, node: usize, gfp: Gfp, order: Order) -> Result<Pfn, Errno> {
        // Nearly all requests are for one page: the compiler makes them a path of their own.
        if order == Order::ZERO {
            self.alloc_block(node, gfp, Order::ZERO)
        } else {
            self.alloc_larger_block(node, gfp, order)
        }
    }

    #[inline(never)]
    fn alloc_larger_block(&mut self, node: usize, gfp: Gfp, order: Order) -> Result<Pfn, Errno> {
        self.alloc_block(node, gfp, order)
    }

    #[inline(always)]
    fn alloc_block(&mut self, node: usize, gfp: Gfp, order: Order) -> Result<Pfn, Errno> {
        match self.alloc_by_lane(node, gfp, order) {
            Some(pfn) => Ok(pfn),
            None => self.alloc_pages_further(node, gfp, order),
        }
    }

    /// The usual case: a request like the one before, nothing is short, and a block lies at hand on this CPU's list or
    /// among the free blocks.
    ///
    /// `None` has taken nothing: the long way begins anew, and says what stood in the way.
    #[inline(always)]
    fn alloc_by_lane(&mut self, node: usize, gfp: Gfp, order: Order) -> Option<Pfn> {
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
    fn open_lane(&mut self, ac: &AllocContext) {
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

    /// The long way: the whole zonelist, then the slow path.
    #[inline(never)]
    fn alloc_pages_further(&mut self, node: usize, gfp: Gfp, order: Order) -> Result<Pfn, Errno> {
        let ac = self.prepare_alloc_pages(node, gfp, order)?;
        self.last_alloc.begin(&ac);
        if self.fail_nth() {
            self.last_alloc.fail(Path::Injected);
            return Err(Errno::ENOMEM);
        }
        let flags = self.alloc_flags_nofragment(&ac).with(AllocFlags::WMARK_LOW);
        let pfn = match self.get_page_from_freelist(&ac, flags) {
            Some(pfn) => pfn,
            None => self.alloc_pages_slowpath(&ac)?,
        };
        self.open_lane(&ac);
        if self.trace.hot {
            self.emit(Event::PageAlloc { pfn, order, gfp: ac.gfp, migratetype: ac.migratetype });
        }
        self.charge(self.config.costs.alloc);
        Ok(pfn)
    }

    /// What the request asks for (`prepare_alloc_pages`).
    #[inline(always)]
    fn prepare_alloc_pages(&self, node: usize, gfp: Gfp, order: Order) -> Result<AllocContext, Errno> {
        let highest = gfp.zone(self.config.arch).ok_or(Errno::EINVAL)?;
        let migratetype = gfp.migratetype();
        // PF_MEMALLOC_NOIO and PF_MEMALLOC_NOFS of the task narrow the mask.
        let gfp = Gfp(gfp.0 & self.current.gfp_allowed.0);
        Ok(AllocContext { gfp, order, node, highest, migratetype })
    }

    /// Frees a block: drops one reference, and gives the pages back when it was the last (`__free_pages`).
    ///
    /// # Errors
    /// The kernel's `BUG: Bad page state` when the page is free, reserved, in use, or of another order.
    #[inline(always)]
    pub fn free_pages(&mut self, pfn: Pfn, order: Order) -> Result<(), Oops> {
        if order == Order::ZERO {
            self.free_the_block(pfn, Order::ZERO)
        } else {
            self.free_the_larger_block(pfn, order)
        }
    }

    #[inline(never)]
    fn free_the_larger_block(&mut self, pfn: Pfn, order: Order) -> Result<(), Oops> {
        if self.pcp_allowed_order(order) {
            return self.free_the_block(pfn, order);
        }
        let ready = self.mem_map.own_page_mut(pfn).is_some_and(|page| page.is_ready_to_free(order));
        if !ready || self.free_is_watched() {
            return self.free_pages_further(pfn, order);
        }
        self.free_pages_ok(pfn, order);
        Ok(())
    }

    #[inline(always)]
    fn free_the_block(&mut self, pfn: Pfn, order: Order) -> Result<(), Oops> {
        if self.free_by_lane(pfn, order) { Ok(()) } else { self.free_pages_further(pfn, order) }
    }

    /// The usual case: a page of the lane that nobody else holds and nothing hangs on. `false` has done nothing.
    ///
    /// To compare with the lane and then to go its way is quicker than to look up the zone: the next allocation need
    /// not wait for what this page says.
    #[inline(always)]
    fn free_by_lane(&mut self, pfn: Pfn, order: Order) -> bool {
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

    /// Frees a block of another zone or kind, or one that more hangs on.
    #[inline(never)]
    fn free_pages_further(&mut self, pfn: Pfn, order: Order) -> Result<(), Oops> {
        if self.free_is_watched() || !self.mem_map.page(pfn).is_ready_to_free(order) {
            return self.free_pages_checked(pfn, order);
        }
        if self.pcp_allowed_order(order) {
            self.free_unref_page(pfn, order);
        } else {
            self.free_pages_ok(pfn, order);
        }
        Ok(())
    }

    /// Somebody wants to know about every page that is freed: the trace, the store of contents, page owner, poison.
    #[inline]
    fn free_is_watched(&self) -> bool {
        self.trace.hot || !self.contents.is_empty() || self.debug_pages
    }

    /// Frees a block with all checks apart: others may hold it, more may hang on it, or it may not be freed at all.
    #[inline(never)]
    fn free_pages_checked(&mut self, pfn: Pfn, order: Order) -> Result<(), Oops> {
        let page = self.mem_map.page(pfn);
        if page.refcount == 0 || page.is(PageFlags::RESERVED) || page.order() != order {
            return Err(self.bad_free(pfn, order));
        }
        if page.refcount > 1 {
            self.mem_map.page_mut(pfn).refcount -= 1;
            self.free_behind(pfn, order);
            return Ok(());
        }
        let mut last = page;
        last.refcount = 0;
        if let Some(reason) = last.bad_reason() {
            return Err(self.bad_page(
                pfn,
                reason,
                "the page is still in use: whoever uses it must let go first",
            ));
        }
        self.mem_map.page_mut(pfn).refcount = 0;
        self.free_unreferenced(pfn, order);
        Ok(())
    }

    /// Whoever frees a plain block gives all of it back; another's reference keeps the first page alone (`__free_pages`).
    fn free_behind(&mut self, pfn: Pfn, order: Order) {
        if order == Order::ZERO || self.mem_map.page(pfn).is(PageFlags::HEAD) {
            return;
        }
        self.mem_map.page_mut(pfn).private = 0;
        let mut order = order;
        while let Some(half) = order.down() {
            order = half;
            let rest = pfn.up(order.pages());
            let page = self.mem_map.page_mut(rest);
            page.prep(order);
            page.refcount = 0;
            self.free_unreferenced(rest, order);
        }
    }

    /// Drops one reference of a page; the last one frees it, and the whole of a compound page (`put_page`).
    ///
    /// # Errors
    /// As [`Machine::free_pages`].
    #[inline]
    pub fn put_page(&mut self, pfn: Pfn) -> Result<(), Oops> {
        let head = self.compound_head(pfn);
        let page = self.mem_map.page(head);
        let order = page.order();
        if page.refcount > 1 {
            self.mem_map.page_mut(head).refcount -= 1;
            return Ok(());
        }
        self.free_pages(head, order)
    }

    /// Gives back a block nobody holds any more (`free_the_page`).
    #[inline]
    pub(crate) fn free_unreferenced(&mut self, pfn: Pfn, order: Order) {
        if self.mem_map.page(pfn).is_special() || self.free_is_watched() {
            self.forget_block(pfn, order);
        }
        if self.pcp_allowed_order(order) {
            self.free_unref_page(pfn, order);
        } else {
            self.free_pages_ok(pfn, order);
        }
    }

    /// Ends what hangs on a block that is freed: handles, its compound page, its contents.
    #[inline(never)]
    fn forget_block(&mut self, pfn: Pfn, order: Order) {
        let page = self.mem_map.page(pfn);
        if page.is_watched() {
            self.serials.bump(pfn);
        }
        if page.is(PageFlags::HEAD) {
            self.clear_compound(pfn, order);
        }
        if !self.contents.is_empty() {
            self.contents.forget(pfn, order);
        }
        if self.page_owner.enabled {
            self.reset_page_owner(pfn, order);
        }
        if self.trace.hot {
            self.emit(Event::PageFree { pfn, order });
        }
    }

    /// Frees a block into the buddy lists at once, without the per-CPU lists (`__free_pages_ok`).
    #[inline(always)]
    pub(crate) fn free_pages_ok(&mut self, pfn: Pfn, order: Order) {
        let page = self.mem_map.page_mut(pfn);
        page.reset_flags(PageFlags::NONE);
        page.refcount = 0;
        let zone = page.zone();
        self.free_one_page(zone, pfn, order, self.pageblocks.get(pfn), FreeTo::Likely);
        self.vmstat.count(VmEvent::Pgfree, u64::from(order.pages()));
    }

    /// Walks the zonelist and takes the block from the first zone that may give it (`get_page_from_freelist`).
    pub(crate) fn get_page_from_freelist(&mut self, ac: &AllocContext, mut flags: AllocFlags) -> Option<Pfn> {
        let preferred = *self.zonelist(ac).first()?;
        loop {
            let nofragment = flags.has(AllocFlags::NOFRAGMENT);
            let mut at = 0;
            while let Some(&zone_id) = self.zonelist(ac).get(at) {
                // Mixing pageblock types is better than memory of another node.
                if nofragment && self.is_remote(zone_id, preferred) {
                    break;
                }
                let tried = self.zones[zone_id.index()].try_watermark(ac, flags);
                self.last_alloc.tried(tried);
                if tried.verdict == Verdict::Allowed || flags.has(AllocFlags::NO_WATERMARKS) {
                    if let Some(pfn) = self.rmqueue(ac, preferred, zone_id, flags) {
                        self.mem_map.page_mut(pfn).prep(ac.order);
                        self.prep_new_page(pfn, ac.gfp, ac.order);
                        if ac.order > Order::ZERO && flags.has(AllocFlags::HARDER) {
                            self.reserve_highatomic_pageblock(pfn, zone_id);
                        }
                        self.last_alloc.found(pfn, zone_id);
                        return Some(pfn);
                    }
                    self.last_alloc.empty();
                }
                at += 1;
            }
            if !nofragment {
                return None;
            }
            flags = flags.without(AllocFlags::NOFRAGMENT);
        }
    }

    /// True when the two zones belong to different nodes.
    fn is_remote(&self, zone: ZoneId, preferred: ZoneId) -> bool {
        self.zones[zone.index()].pgdat != self.zones[preferred.index()].pgdat
    }

    /// The zones this request may use, in order.
    #[inline]
    pub(crate) fn zonelist(&self, ac: &AllocContext) -> &Zonelist {
        let node = &self.nodes[ac.node];
        let lists = if ac.gfp.has(Gfp::THISNODE) { &node.this_node } else { &node.zonelists };
        &lists[ac.highest as usize]
    }

    /// Takes a block from a zone: per-CPU lists for small orders, else the buddy lists (`rmqueue`).
    fn rmqueue(
        &mut self,
        ac: &AllocContext,
        preferred: ZoneId,
        zone_id: ZoneId,
        flags: AllocFlags,
    ) -> Option<Pfn> {
        let pfn = if self.pcp_allowed_order(ac.order) {
            self.rmqueue_pcplist(ac, zone_id, flags)
        } else {
            self.rmqueue_buddy(ac, zone_id, flags)
        };
        let pfn = pfn?;
        let zone = &mut self.zones[zone_id.index()];
        self.vmstat.count_zone(ZoneEvent::Pgalloc, zone.kind, u64::from(ac.order.pages()));
        if zone.boosted_watermark && flags.has(AllocFlags::KSWAPD) {
            zone.boosted_watermark = false;
            self.wakeup_kswapd(zone_id, Gfp::NONE, Order::ZERO, ac.highest);
        }
        self.zone_statistics(preferred, zone_id);
        Some(pfn)
    }

    /// NUMA counters of one allocation (`zone_statistics`).
    fn zone_statistics(&mut self, preferred: ZoneId, zone_id: ZoneId) {
        let (here, remote) = (self.cpu_node(), self.is_remote(zone_id, preferred));
        if remote {
            self.zones[zone_id.index()].count_miss(here);
            self.zones[preferred.index()].numa[NumaStat::Foreign as usize] += 1;
        } else {
            self.zones[zone_id.index()].count_hit(here);
        }
    }

    /// Takes a block straight from the buddy lists (`rmqueue_buddy`).
    fn rmqueue_buddy(&mut self, ac: &AllocContext, zone_id: ZoneId, flags: AllocFlags) -> Option<Pfn> {
        if ac.order > Order::ZERO && flags.has(AllocFlags::HARDER) {
            let reserved = self.rmqueue_smallest(zone_id, ac.order, MigrateType::HighAtomic);
            if reserved.is_some() {
                return reserved;
            }
        }
        self.rmqueue_list(zone_id, ac.order, ac.migratetype, flags)
    }

    /// Takes a block of the wanted type, or steals one of another type (`__rmqueue`).
    #[inline(always)]
    pub(crate) fn rmqueue_list(
        &mut self,
        zone_id: ZoneId,
        order: Order,
        migratetype: MigrateType,
        flags: AllocFlags,
    ) -> Option<Pfn> {
        let pfn = self.rmqueue_smallest(zone_id, order, migratetype);
        if pfn.is_some() { pfn } else { self.rmqueue_other(zone_id, order, migratetype, flags) }
    }

    /// The wanted type has no block: the memory of CMA, or another type's, which becomes ours.
    #[cold]
    fn rmqueue_other(
        &mut self,
        zone_id: ZoneId,
        order: Order,
        migratetype: MigrateType,
        flags: AllocFlags,
    ) -> Option<Pfn> {
        loop {
            if flags.has(AllocFlags::CMA)
                && migratetype == MigrateType::Movable
                && let Some(pfn) = self.rmqueue_smallest(zone_id, order, MigrateType::Cma)
            {
                return Some(pfn);
            }
            if !self.rmqueue_fallback(zone_id, order, migratetype, flags) {
                return None;
            }
            let pfn = self.rmqueue_smallest(zone_id, order, migratetype);
            if pfn.is_some() {
                return pfn;
            }
        }
    }

    /// Takes the smallest block that is large enough and splits it (`__rmqueue_smallest`).
    #[inline(always)]
    pub(crate) fn rmqueue_smallest(
        &mut self,
        zone_id: ZoneId,
        order: Order,
        migratetype: MigrateType,
    ) -> Option<Pfn> {
        let zone = &mut self.zones[zone_id.index()];
        let (pfn, from) = zone.rmqueue_smallest(&mut self.mem_map, order, migratetype)?;
        self.last_alloc.split(from, order);
        if from > order {
            self.vmstat.count(VmEvent::BuddySplit, u64::from(from.get() - order.get()));
            if self.trace.hot {
                self.emit(Event::BuddySplit { pfn, from, to: order });
            }
        }
        Some(pfn)
    }

    /// Makes a block whose first page is prepared ready for its new owner (`prep_new_page`).
    fn prep_new_page(&mut self, pfn: Pfn, gfp: Gfp, order: Order) {
        self.prep_unwatched_page(pfn, gfp, order);
        if self.debug_pages {
            self.post_alloc_hook(pfn, order, gfp);
        }
    }

    /// The same while nobody looks at every page.
    #[inline(always)]
    fn prep_unwatched_page(&mut self, pfn: Pfn, gfp: Gfp, order: Order) {
        if order > Order::ZERO && gfp.has(Gfp::COMP) {
            self.prep_compound_page(pfn, order);
        }
        if gfp.has(Gfp::ZERO) {
            self.charge(self.config.costs.clear_page * u64::from(order.pages()));
        }
    }

    /// Ties the pages of a block together: tails point at the head (`prep_compound_page`).
    fn prep_compound_page(&mut self, head: Pfn, order: Order) {
        self.mem_map.page_mut(head).set(PageFlags::HEAD);
        for n in 1..order.pages() {
            let tail = self.mem_map.page_mut(head.up(n));
            tail.reset_flags(PageFlags::TAIL);
            tail.refcount = 0;
            tail.set_page_type(None);
            tail.private = head.0;
        }
    }

    /// Unties a compound page before it is freed.
    fn clear_compound(&mut self, head: Pfn, order: Order) {
        for n in 1..order.pages() {
            let tail = self.mem_map.page_mut(head.up(n));
            if tail.is_watched() {
                self.serials.bump(head.up(n));
            }
            tail.reset_flags(PageFlags::NONE);
            tail.private = 0;
        }
    }

    /// Gives a block back to the buddy lists and merges it with its free buddies (`__free_one_page`).
    #[inline(always)]
    pub(crate) fn free_one_page(
        &mut self,
        zone_id: ZoneId,
        pfn: Pfn,
        order: Order,
        migratetype: MigrateType,
        to: FreeTo,
    ) {
        let zone = &mut self.zones[zone_id.index()];
        let (merged, into) =
            zone.free_one_page(&mut self.mem_map, &self.pageblocks, pfn, order, migratetype, to);
        if merged > 0 {
            self.vmstat.count(VmEvent::BuddyMerge, merged);
            if self.trace.hot {
                self.emit(Event::BuddyMerge { pfn, from: order, to: into });
            }
        }
    }
}

impl Zone {
    /// Counts an allocation that came from the preferred node, asked for by a CPU of the node `here`.
    #[inline]
    fn count_hit(&mut self, here: usize) {
        self.numa[NumaStat::Hit as usize] += 1;
        self.count_place(here);
    }

    /// Counts one that should have come from another node.
    fn count_miss(&mut self, here: usize) {
        self.numa[NumaStat::Miss as usize] += 1;
        self.count_place(here);
    }

    fn count_place(&mut self, here: usize) {
        self.numa[if self.pgdat == here { NumaStat::Local } else { NumaStat::Other } as usize] += 1;
    }

    /// Takes the smallest block that is large enough and splits it; also says what was split.
    #[inline(always)]
    fn rmqueue_smallest(
        &mut self,
        map: &mut MemMap,
        order: Order,
        migratetype: MigrateType,
    ) -> Option<(Pfn, Order)> {
        let from = self.smallest_free(order, migratetype)?;
        let pfn = self.take_block(map, from, migratetype)?;
        self.mod_stat(ZoneStat::FreePages, -i64::from(order.pages()));
        if migratetype == MigrateType::Cma {
            self.mod_stat(ZoneStat::FreeCma, -i64::from(order.pages()));
        }
        self.expand(map, pfn, order, from, migratetype);
        Some((pfn, from))
    }

    /// True when a block of this order or a larger one is free, of a type that every request may use.
    #[inline(always)]
    fn has_block_for_all(&self, order: Order) -> bool {
        let [unmovable, movable, reclaimable, ..] = self.nonempty;
        order == Order::ZERO || (unmovable | movable | reclaimable) >> order.get() != 0
    }

    /// Takes the first free block of exactly this order and type off its list.
    #[inline(always)]
    pub(crate) fn take_block(
        &mut self,
        map: &mut MemMap,
        order: Order,
        migratetype: MigrateType,
    ) -> Option<Pfn> {
        let list = &mut self.free_area[order.index()].lists[migratetype.index()];
        let Some((pfn, page)) = list.pop_front_mut(map) else {
            let virgin = order == Order::MAX && migratetype == MigrateType::Movable;
            return if virgin { self.take_virgin() } else { None };
        };
        page.set_page_type(None);
        if list.is_empty() {
            self.note_emptied(order, migratetype);
        }
        Some(pfn)
    }

    /// Takes the lowest block that nobody touched since boot.
    fn take_virgin(&mut self) -> Option<Pfn> {
        let range = self.virgin.front_mut()?;
        let pfn = Pfn(range.0);
        range.0 += Order::MAX.pages();
        if range.0 == range.1 {
            self.virgin.pop_front();
            self.note_emptied(Order::MAX, MigrateType::Movable);
        }
        Some(pfn)
    }

    /// Splits a block down to the wanted order; the upper halves go back as free blocks (`expand`).
    #[inline(always)]
    pub(crate) fn expand(
        &mut self,
        map: &mut MemMap,
        pfn: Pfn,
        want: Order,
        from: Order,
        migratetype: MigrateType,
    ) {
        let mut order = from;
        while let Some(half) = order.down().filter(|half| *half >= want) {
            order = half;
            self.add_block(map, pfn.up(order.pages()), order, migratetype, false);
        }
    }

    /// Puts a free block on its list.
    #[inline(always)]
    pub(crate) fn add_block(
        &mut self,
        map: &mut MemMap,
        pfn: Pfn,
        order: Order,
        migratetype: MigrateType,
        tail: bool,
    ) {
        let list = &mut self.free_area[order.index()].lists[migratetype.index()];
        let page = map.page_mut(pfn);
        page.set_page_type(Some(PageType::Buddy));
        page.private = u32::from(order.get());
        // The kernel's list_del does not ask which list; ours keeps each list's length.
        page.index = migratetype as u32;
        if tail {
            page.prev = list.tail;
            list.link_back(map, pfn);
        } else {
            page.next = list.head;
            list.link_front(map, pfn);
        }
        self.nonempty[migratetype.index()] |= 1 << order.get();
    }

    /// Takes a free block out of the middle of its list (`del_page_from_free_list`).
    #[inline(always)]
    pub(crate) fn del_block(&mut self, map: &mut MemMap, pfn: Pfn, order: Order) {
        let page = map.page_mut(pfn);
        let (migratetype, prev, next) = (MigrateType::ALL[page.index as usize], page.prev, page.next);
        page.set_page_type(None);
        let list = &mut self.free_area[order.index()].lists[migratetype.index()];
        list.unlink(map, pfn, prev, next);
        if list.is_empty() {
            self.note_emptied(order, migratetype);
        }
    }

    /// Frees a block: while its buddy is free too, the two become one (`__free_one_page`).
    ///
    /// Answers how often it merged, and the order it became.
    #[inline(always)]
    pub(crate) fn free_one_page(
        &mut self,
        map: &mut MemMap,
        pageblocks: &crate::mm::mmzone::Pageblocks,
        mut pfn: Pfn,
        mut order: Order,
        migratetype: MigrateType,
        to: FreeTo,
    ) -> (u64, Order) {
        let first = order;
        self.mod_stat(ZoneStat::FreePages, i64::from(order.pages()));
        if migratetype >= MigrateType::Cma {
            self.count_special(migratetype, order);
        }
        while let Some(up) = order.up() {
            let buddy = pfn.buddy(order);
            if !self.free_block(map, buddy, order) {
                break;
            }
            if order >= pageblocks.order() {
                // Blocks of special pageblocks stay apart from others.
                let theirs = pageblocks.get(buddy);
                let mergeable = |m: MigrateType| m.index() < MigrateType::PCPTYPES;
                if migratetype != theirs && !(mergeable(migratetype) && mergeable(theirs)) {
                    break;
                }
            }
            self.del_block(map, buddy, order);
            pfn = pfn.min(buddy);
            order = up;
        }
        let tail = to == FreeTo::Tail || self.buddy_merge_likely(map, pfn, order);
        self.add_block(map, pfn, order, migratetype, tail);
        (u64::from(order.get() - first.get()), order)
    }

    /// Free pages of CMA are counted apart, isolated ones not at all (`__mod_zone_freepage_state`).
    #[cold]
    fn count_special(&mut self, migratetype: MigrateType, order: Order) {
        let pages = i64::from(order.pages());
        if migratetype == MigrateType::Cma {
            self.mod_stat(ZoneStat::FreeCma, pages);
        } else {
            self.mod_stat(ZoneStat::FreePages, -pages);
        }
    }

    /// True when a block of exactly this order begins at `pfn`, free and in this zone (`page_is_buddy`).
    #[inline(always)]
    pub(crate) fn free_block(&self, map: &MemMap, pfn: Pfn, order: Order) -> bool {
        // A page that nobody wrote is neither listed nor outside of its zone: it lies in an untouched block.
        map.touched_page(pfn).is_some_and(|page| page.is_buddy_of(order) && page.zone() == self.id)
    }

    /// True when the buddy of the next order is free as well: this block may merge soon, so it is used last.
    #[inline(always)]
    fn buddy_merge_likely(&self, map: &MemMap, pfn: Pfn, order: Order) -> bool {
        // Orders MAX-1 and MAX gain nothing from waiting.
        let Some(up) = order.up().filter(|up| *up < Order::MAX) else { return false };
        let higher = pfn.min(pfn.buddy(order));
        self.free_block(map, higher.buddy(up), up)
    }
}
