//! Taking an object.
//!
//! Kernel: `mm/slub.c` (`slab_alloc_node`, `___slab_alloc`, `new_slab`, `allocate_slab`).
//! Fidelity: faithful — order of the places that are looked at, masks of new slabs, fall-back to a lower order. Simplified
//! — a free pointer that was overwritten is found by every cache and its list is given up; without `slub_debug=F` a kernel
//! would follow the pointer, and die of it.

use super::slabs::{END, Slab, TAKEN, WILD};
use super::{Place, SlabNr, Stat};
use crate::mm::addr::{Order, PAGE_SHIFT, Pfn, VirtAddr};
use crate::mm::errno::Errno;
use crate::mm::gfp::Gfp;
use crate::mm::machine::Machine;
use crate::mm::slab_common::{CacheId, LastSlabAlloc, SlabFlags, SlabPages, SlabPath};
use crate::mm::trace::{Event, SlabEvent};

/// What is handed down to the page allocator (`GFP_RECLAIM_MASK | GFP_CONSTRAINT_MASK`).
const HANDED_DOWN: Gfp = Gfp(Gfp::RECLAIM.0
    | Gfp::HIGH.0
    | Gfp::IO.0
    | Gfp::FS.0
    | Gfp::NOWARN.0
    | Gfp::RETRY_MAYFAIL.0
    | Gfp::NOFAIL.0
    | Gfp::NORETRY.0
    | Gfp::MEMALLOC.0
    | Gfp::NOMEMALLOC.0
    | Gfp::ATOMIC.0
    | Gfp::HARDWALL.0
    | Gfp::THISNODE.0);

impl Machine {
    /// Takes an object (`slab_alloc_node`).
    #[inline]
    pub(crate) fn slub_alloc(
        &mut self,
        id: CacheId,
        gfp: Gfp,
        node: Option<usize>,
        requested: u64,
    ) -> Result<VirtAddr, Errno> {
        if let Some(addr) = self.slub_alloc_fast(id, node) {
            let path = SlabPath::Fastpath;
            self.caches.last =
                Some(LastSlabAlloc { at: self.clock, cache: Some(id), requested, gfp, addr, path });
            if self.trace.hot || !self.contents.is_empty() {
                self.slab_post_alloc_hook(id, gfp, requested, addr);
            }
            return Ok(addr);
        }
        self.slub_alloc_further(id, gfp, node, requested)
    }

    /// Pops the CPU's own free list; `None` has done nothing.
    #[inline]
    fn slub_alloc_fast(&mut self, id: CacheId, node: Option<usize>) -> Option<VirtAddr> {
        let caches = &mut self.caches;
        caches.slub.recent = id.index() as usize;
        let c = caches.slub.cpu.get_mut(caches.slub.recent * caches.cpus + self.cpu.index())?;
        let index = c.freelist;
        if index >= END || c.of != id.generation() || node.is_some_and(|node| node != usize::from(c.node)) {
            return None;
        }
        let link = c.links.slot(usize::from(index))?;
        c.freelist = std::mem::replace(link, TAKEN);
        c.fast[0] += 1;
        Some(VirtAddr(c.base + u64::from(index) * c.size))
    }

    #[cold]
    fn slub_alloc_further(
        &mut self,
        id: CacheId,
        gfp: Gfp,
        node: Option<usize>,
        requested: u64,
    ) -> Result<VirtAddr, Errno> {
        let gfp = self.fix_slab_gfp(gfp);
        let cpu = self.cpu.index();
        if self.kmem_cache_cpu(id, cpu).freelist == WILD {
            self.freelist_corrupted(id, cpu);
        }
        self.count_stat(id, Stat::AllocSlowpath);
        let (nr, index, path) = self.find_free(id, gfp, node, requested)?;
        let addr = self.object_address(nr, u32::from(index));
        self.caches.last =
            Some(LastSlabAlloc { at: self.clock, cache: Some(id), requested, gfp, addr, path });
        self.slab_post_alloc_hook(id, gfp, requested, addr);
        Ok(addr)
    }

    /// An object from wherever there is one: the slab, its index there, and the way (`___slab_alloc`).
    fn find_free(
        &mut self,
        id: CacheId,
        gfp: Gfp,
        node: Option<usize>,
        requested: u64,
    ) -> Result<(SlabNr, u16, SlabPath), Errno> {
        let cpu = self.cpu.index();
        loop {
            if let Some(nr) = self.kmem_cache_cpu(id, cpu).slab.some() {
                if node.is_some_and(|node| node != usize::from(self.slab(nr).node)) {
                    self.count_stat(id, Stat::AllocNodeMismatch);
                    self.flush_slab(id, cpu);
                } else if let Some(index) = self.get_freelist(id, nr) {
                    return Ok((nr, self.load_freelist(id, nr, index), SlabPath::Refill));
                }
            }
            if let Some(nr) = self.kmem_cache_cpu(id, cpu).partial.some() {
                self.take_cpu_partial(id, cpu, nr);
                if node.is_some_and(|node| node != usize::from(self.slab(nr).node)) {
                    continue;
                }
                let Some(index) = self.get_freelist(id, nr) else { continue };
                return Ok((nr, self.load_freelist(id, nr, index), SlabPath::CpuPartial));
            }
            break;
        }
        if self.caches.all[id].is_debug() {
            return self.find_checked(id, gfp, node, requested);
        }
        if let Some((nr, index, taken_along)) = self.get_partial(id, node) {
            return Ok((nr, self.load_freelist(id, nr, index), SlabPath::NodePartial { taken_along }));
        }
        let Some(nr) = self.new_slab(id, gfp, node) else {
            self.slab_out_of_memory(id, gfp, node);
            return Err(Errno::ENOMEM);
        };
        // Getting pages may have freed objects of this very cache, but never made a CPU's slab.
        self.flush_slab(id, cpu);
        let slab = self.slab_mut(nr);
        let index = std::mem::replace(&mut slab.freelist, END);
        (slab.inuse, slab.place) = (slab.objects, Place::Cpu(cpu as u16));
        self.count_stat(id, Stat::AllocSlab);
        let order = self.slab_order(nr);
        Ok((nr, self.load_freelist(id, nr, index), SlabPath::NewSlab { order }))
    }

    /// An object of a cache whose objects are checked: such slabs are never a CPU's (`alloc_single_from_partial`).
    fn find_checked(
        &mut self,
        id: CacheId,
        gfp: Gfp,
        node: Option<usize>,
        requested: u64,
    ) -> Result<(SlabNr, u16, SlabPath), Errno> {
        loop {
            if let Some((nr, index)) = self.single_from_partial(id, node, requested) {
                return Ok((nr, index, SlabPath::NodePartial { taken_along: 0 }));
            }
            let Some(nr) = self.new_slab(id, gfp, node) else {
                self.slab_out_of_memory(id, gfp, node);
                return Err(Errno::ENOMEM);
            };
            self.count_stat(id, Stat::AllocSlab);
            let index = self.slab(nr).freelist;
            let next = self.links(nr).next(u32::from(index));
            self.set_link(nr, index, TAKEN);
            let slab = self.slab_mut(nr);
            (slab.freelist, slab.inuse) = (next, 1);
            if next < END {
                self.add_partial(nr, false);
            }
            if self.alloc_debug_processing(nr, index, requested) {
                let order = self.slab_order(nr);
                return Ok((nr, index, SlabPath::NewSlab { order }));
            }
        }
    }

    /// Takes over what other CPUs freed into this CPU's slab; a slab without any is given up (`get_freelist`).
    fn get_freelist(&mut self, id: CacheId, nr: SlabNr) -> Option<u16> {
        let slab = self.slab_mut(nr);
        let index = std::mem::replace(&mut slab.freelist, END);
        slab.inuse = slab.objects;
        if index < END {
            self.count_stat(id, Stat::AllocRefill);
            return Some(index);
        }
        slab.place = Place::Full;
        self.close_slab(id, self.cpu.index());
        self.count_stat(id, Stat::DeactivateBypass);
        None
    }

    /// The slab is the CPU's, its free list too; takes the first object of it.
    fn load_freelist(&mut self, id: CacheId, nr: SlabNr, index: u16) -> u16 {
        let cpu = self.cpu.index();
        if self.kmem_cache_cpu(id, cpu).slab != nr {
            self.open_slab(id, cpu, nr);
        }
        let next = self.links(nr).next(u32::from(index));
        self.set_link(nr, index, TAKEN);
        self.kmem_cache_cpu_mut(id, cpu).freelist = next;
        index
    }

    /// The order of a slab's block.
    pub(super) fn slab_order(&self, nr: SlabNr) -> Order {
        Order::new(self.slab(nr).order).unwrap_or(Order::ZERO)
    }

    /// A new slab, of a lower order when there is no block of the usual one (`new_slab`, `allocate_slab`).
    pub(super) fn new_slab(&mut self, id: CacheId, gfp: Gfp, node: Option<usize>) -> Option<SlabNr> {
        let cache = &self.caches.all[id];
        let (order, min_order) = (cache.order, cache.min_order);
        let gfp = Gfp(gfp.0 & HANDED_DOWN.0) | cache.allocflags;
        let mut first = (gfp | Gfp::NOWARN | Gfp::NORETRY).without(Gfp::NOFAIL);
        if first.has(Gfp::DIRECT_RECLAIM) && order > min_order {
            first = (first | Gfp::NOMEMALLOC).without(Gfp::RECLAIM);
        }
        let nr = self.caches.slub.slabs.next();
        let block = |order| SlabPages::of(&self.caches.all[id], order, nr.mapping());
        let (usual, least) = (block(order), block(min_order));
        let (pfn, order) = match self.alloc_slab_pages(usual, first, node) {
            Some(pfn) => (pfn, order),
            None => {
                let pfn = self.alloc_slab_pages(least, gfp.without(Gfp::COMP), node)?;
                self.count_stat(id, Stat::OrderFallback);
                (pfn, min_order)
            }
        };
        Some(self.make_slab(id, pfn, order))
    }

    /// Cuts a block into free objects.
    fn make_slab(&mut self, id: CacheId, pfn: Pfn, order: Order) -> SlabNr {
        let cache = &self.caches.all[id];
        let bytes = u64::from(order.pages()) << PAGE_SHIFT;
        let objects = (bytes / u64::from(cache.size)) as u16;
        let (ctor, debug) = (cache.ctor, cache.is_debug());
        let node = self.zones[self.mem_map.page(pfn).zone().index()].pgdat;
        let slab = Slab::full(id, pfn, order.get(), objects, node as u8).free_from(0);
        let nr = self.caches.slub.slabs.insert(slab);
        // The number stands in the page already, unless reclaim made slabs meanwhile.
        self.mem_map.page_mut(pfn).mapping = nr.mapping();
        let of_node = self.kmem_cache_node_mut(id, node);
        of_node.nr_slabs += 1;
        of_node.total_objects += u64::from(objects);
        if debug {
            self.setup_slab_debug(nr);
        }
        if ctor {
            let addr = self.object_address(nr, 0);
            self.caches.constructed.push((id, addr, u32::from(objects)));
        }
        nr
    }

    /// What is left to do with an object that was given out (`slab_post_alloc_hook`).
    fn slab_post_alloc_hook(&mut self, id: CacheId, gfp: Gfp, requested: u64, addr: VirtAddr) {
        let cache = &self.caches.all[id];
        let (size, object_size) = (cache.size, cache.object_size);
        // CONFIG_INIT_ON_ALLOC_DEFAULT_ON; not where a constructor or poison made the bytes.
        let plain = !cache.ctor && !cache.flags.any(SlabFlags::TYPESAFE_BY_RCU | SlabFlags::POISON);
        if (plain || gfp.has(Gfp::ZERO)) && !self.contents.is_empty() {
            let bytes = if requested > 0 { requested as u32 } else { object_size };
            self.fill_object(addr, bytes, 0);
        }
        if self.trace.hot {
            let (requested, given) =
                if requested > 0 { (requested as u32, size) } else { (object_size, size) };
            let kmalloc = self.caches.all[id].flags.has(SlabFlags::KMALLOC);
            let cache = self.caches.all[id].names.clone();
            self.emit(Event::Slab(SlabEvent::Alloc { cache, kmalloc, addr: addr.0, requested, given, gfp }));
        }
    }

    /// The lines of a failure (`slab_out_of_memory`).
    #[cold]
    fn slab_out_of_memory(&mut self, id: CacheId, gfp: Gfp, node: Option<usize>) {
        if gfp.has(Gfp::NOWARN) || !self.ratelimit(|limits| &mut limits.slab) {
            return;
        }
        let nid = node.map_or(-1, |node| i32::from(self.nodes[node].nid.0));
        let cache = &self.caches.all[id];
        let mut lines = vec![
            format!("SLUB: Unable to allocate memory on node {nid}, gfp={:#x}({gfp})", gfp.0),
            format!(
                "  cache: {}, object size: {}, buffer size: {}, default order: {}, min order: {}",
                cache.name(),
                cache.object_size,
                cache.size,
                cache.order,
                cache.min_order
            ),
        ];
        for (at, node) in self.nodes.iter().enumerate().filter(|(_, node)| self.node_has_memory(node)) {
            let of_node = self.kmem_cache_node(id, at);
            let (slabs, objects) = (of_node.nr_slabs, of_node.total_objects);
            let free = self.free_on_partial(id, at);
            lines.push(format!("  node {}: slabs: {slabs}, objs: {objects}, free: {free}", node.nid));
        }
        lines.into_iter().for_each(|line| self.printk(line));
    }
}
