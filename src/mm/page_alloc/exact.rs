//! Exactly so many bytes: a block is allocated, split into pages, and the rest given back.
//!
//! Gorman 6.2 (after him). Kernel: `mm/page_alloc.c`, `alloc_pages_exact`, `split_page`.
//! Fidelity: faithful.

use crate::mm::addr::{Order, PAGE_SIZE, Pfn};
use crate::mm::errno::{Errno, Oops};
use crate::mm::gfp::Gfp;
use crate::mm::machine::Machine;
use crate::mm::page::PageFlags;

impl Machine {
    /// Makes `2^order` pages of one block, each to be freed on its own (`split_page`).
    ///
    /// # Errors
    /// The kernel's `VM_BUG_ON_PAGE` for a compound or free page.
    pub fn split_page(&mut self, pfn: Pfn, order: Order) -> Result<(), Oops> {
        let page = self.mem_map.page(pfn);
        if page.refcount == 0 || page.is_any(PageFlags::HEAD | PageFlags::TAIL) {
            let what = if page.refcount == 0 { "!page_count(page)" } else { "PageCompound(page)" };
            let advice =
                format!("page pfn={pfn} cannot be split: only an allocated block can, and no compound page");
            return Err(self.vm_bug_on_page(pfn, what, &advice));
        }
        for n in 0..order.pages() {
            let page = self.mem_map.page_mut(pfn.up(n));
            page.refcount = page.refcount.max(1);
            page.private = 0;
        }
        self.split_page_owner(pfn, order);
        Ok(())
    }

    /// Allocates contiguous pages for `bytes`, no more (`alloc_pages_exact`).
    ///
    /// # Errors
    /// `ENOMEM`; `EINVAL` for 0 bytes or more than the largest block.
    pub fn alloc_pages_exact(&mut self, bytes: u64, gfp: Gfp) -> Result<Pfn, Errno> {
        let pages = bytes.div_ceil(PAGE_SIZE);
        let order = Order::holding(pages).filter(|_| pages > 0).ok_or(Errno::EINVAL)?;
        // A compound page cannot be split.
        let pfn = self.alloc_pages(gfp.without(Gfp::COMP), order)?;
        if self.split_page(pfn, order).is_err() {
            return Err(Errno::EINVAL);
        }
        for n in pages as u32..order.pages() {
            self.mem_map.page_mut(pfn.up(n)).refcount = 0;
            self.free_unreferenced(pfn.up(n), Order::ZERO);
        }
        Ok(pfn)
    }

    /// Frees what [`Machine::alloc_pages_exact`] gave (`free_pages_exact`).
    ///
    /// # Errors
    /// As [`Machine::free_pages`], for the first page that cannot be freed.
    pub fn free_pages_exact(&mut self, pfn: Pfn, bytes: u64) -> Result<(), Oops> {
        (0..bytes.div_ceil(PAGE_SIZE) as u32).try_for_each(|n| self.free_pages(pfn.up(n), Order::ZERO))
    }
}
