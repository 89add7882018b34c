//! Pages of slabs and of large kmallocs: real blocks of the buddy allocator, marked and counted.
//!
//! Kernel: `mm/slab.h` (`account_slab`), `mm/slab_common.c` (`__kmalloc_large_node`, `free_large_kmalloc`).
//! Fidelity: faithful — flag, counters, masks.

use super::KmemCache;
use crate::mm::addr::{Order, Pfn, VirtAddr};
use crate::mm::gfp::Gfp;
use crate::mm::machine::Machine;
use crate::mm::page::PageFlags;
use crate::mm::vmstat::NodeStat;

/// `Page::mapping` of the first page of a large kmalloc.
pub(crate) const LARGE_KMALLOC: u32 = 1 << 30;
/// The same for a page that a capture counts as reclaimable and tells no cache of.
pub(crate) const UNTOLD_RECLAIMABLE: u32 = LARGE_KMALLOC | 1;

/// A block that an allocator of caches asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SlabPages {
    /// Its order.
    pub order: Order,
    /// Counted as reclaimable?
    pub reclaimable: bool,
    /// What stands in `Page::mapping`: the number of the slab plus one; it has neither of the two highest bits.
    pub mapping: u32,
}

impl SlabPages {
    /// A slab of a cache.
    pub fn of(cache: &KmemCache, order: Order, mapping: u32) -> SlabPages {
        SlabPages { order, reclaimable: cache.is_reclaimable(), mapping }
    }

    fn counter(self) -> NodeStat {
        if self.reclaimable { NodeStat::SlabReclaimable } else { NodeStat::SlabUnreclaimable }
    }
}

impl Machine {
    /// Takes a block of pages for a slab, near a node if one is named; the mask is used as it is.
    pub(crate) fn alloc_slab_pages(
        &mut self,
        block: SlabPages,
        gfp: Gfp,
        node: Option<usize>,
    ) -> Option<Pfn> {
        let gfp = if block.order > Order::ZERO { gfp | Gfp::COMP } else { gfp };
        let pfn = self.alloc_pages_at(node.unwrap_or(self.mem_node()), gfp, block.order).ok()?;
        self.mark_slab_pages(block, pfn);
        Some(pfn)
    }

    /// The block belongs to a slab from now on (`account_slab`).
    pub(crate) fn mark_slab_pages(&mut self, block: SlabPages, pfn: Pfn) {
        let page = self.mem_map.page_mut(pfn);
        page.set(PageFlags::SLAB);
        page.mapping = block.mapping;
        self.count_kernel_pages(pfn, block.counter(), i64::from(block.order.pages()));
    }

    /// Gives a slab's pages back.
    pub(crate) fn free_slab_pages(&mut self, block: SlabPages, pfn: Pfn) {
        let page = self.mem_map.page_mut(pfn);
        page.clear(PageFlags::SLAB);
        page.mapping = 0;
        self.count_kernel_pages(pfn, block.counter(), -i64::from(block.order.pages()));
        let freed = self.free_pages(pfn, block.order);
        debug_assert!(freed.is_ok(), "a slab's pages are its own: {freed:?}");
    }

    /// A counter of the page's node changes by so many pages.
    pub(crate) fn count_kernel_pages(&mut self, pfn: Pfn, item: NodeStat, pages: i64) {
        let node = self.zones[self.mem_map.page(pfn).zone().index()].pgdat;
        let stat = &mut self.nodes[node].stat[item as usize];
        *stat = stat.saturating_add_signed(pages);
    }

    /// The first page of the block that holds a kernel address: `compound_head(virt_to_page(addr))`.
    #[inline]
    pub(crate) fn virt_to_head(&self, addr: VirtAddr) -> Option<Pfn> {
        let pfn =
            u32::try_from(addr.0.wrapping_sub(self.caches.direct_map) >> crate::mm::addr::PAGE_SHIFT).ok()?;
        let page = self.mem_map.touched_page(Pfn(pfn))?;
        Some(if page.is(PageFlags::TAIL) { Pfn(page.private) } else { Pfn(pfn) })
    }
}
