//! The binary buddy allocator: blocks of `2^order` pages, split when taken and merged when given back.
//!
//! ```text
//!   alloc_pages ── get_page_from_freelist ── zone_watermark_fast     may this zone give it?      watermark.rs
//!        │                   └── rmqueue ── per-CPU lists            small orders                pcp.rs
//!        │                         └────── __rmqueue                 split, or steal             free_area.rs, fallback.rs
//!        └── slow path: wake kswapd, compact, reclaim, retry, OOM                                slowpath.rs
//!   free_pages ── per-CPU lists, or merged with its buddies           free.rs
//! ```
//!
//! What is the same for every request with one mask is computed once (lane.rs).
//!
//! Gorman chapter 6. Kernel: `mm/page_alloc.c`.
//! Fidelity: faithful — zonelist walk, NUMA counters.
//! Absent — cpusets, memory cgroups, deferred initialisation, shuffling.

mod context;
mod contig;
mod exact;
pub mod fallback;
mod free;
mod free_area;
mod lane;
pub mod pcp;
pub mod slowpath;
pub mod watermark;

pub(crate) use free_area::FreeTo;
pub(crate) use lane::Lane;

use crate::mm::addr::{Nid, Order, Pfn, ZoneId};
use crate::mm::config::{MigrateType, ZoneType};
use crate::mm::errno::Errno;
use crate::mm::gfp::Gfp;
use crate::mm::machine::Machine;
use crate::mm::mmzone::{Zone, Zonelist};
use crate::mm::page::PageFlags;
use crate::mm::trace::{Event, Path, Verdict};
use crate::mm::vmstat::{NumaStat, VmEvent, ZoneEvent};
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
    pub(crate) fn prep_compound_page(&mut self, head: Pfn, order: Order) {
        self.mem_map.page_mut(head).set(PageFlags::HEAD);
        for n in 1..order.pages() {
            let tail = self.mem_map.page_mut(head.up(n));
            tail.reset_flags(PageFlags::TAIL);
            tail.refcount = 0;
            tail.set_page_type(None);
            tail.private = head.0;
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
}
