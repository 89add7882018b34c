//! Giving blocks back: references are dropped, what hangs on the pages ends, and the block goes to a list.
//!
//! ```text
//!   free_pages ── the usual page of the lane                                          lane.rs
//!        └── checked: still in use, free already, of another order? ── bad page       ../debug.rs
//!              └── handles, compound page, contents, owner end
//!                    └── per-CPU list (pcp.rs), or merged with its buddies            free_area.rs
//! ```
//!
//! Gorman 6.3. Kernel: `mm/page_alloc.c` (`__free_pages`, `free_unref_page`, `__free_pages_ok`), `mm/swap.c` (`put_page`).
//! Fidelity: faithful — bad-page checks, references, what ends with a page. Simplified — a block freed with another order
//! than it was allocated with is always noticed.

use super::FreeTo;
use crate::mm::addr::{Order, Pfn, ZoneId};
use crate::mm::config::MigrateType;
use crate::mm::errno::Oops;
use crate::mm::machine::Machine;
use crate::mm::page::PageFlags;
use crate::mm::trace::Event;
use crate::mm::vmstat::VmEvent;

impl Machine {
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
    pub(super) fn free_the_block(&mut self, pfn: Pfn, order: Order) -> Result<(), Oops> {
        if self.free_by_lane(pfn, order) { Ok(()) } else { self.free_pages_further(pfn, order) }
    }

    /// Frees a block of another zone or kind, or one that more hangs on.
    #[inline(never)]
    pub(super) fn free_pages_further(&mut self, pfn: Pfn, order: Order) -> Result<(), Oops> {
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
    pub(super) fn free_is_watched(&self) -> bool {
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
