//! Slabs that are there from boot on.
//!
//! Fidelity: imported — slabs and objects as captured. Made up — of a cache's last slab, which CPU 0 allocates from,
//! the first half is in use: no capture tells.

use super::slabs::{END, Slab};
use super::{Place, SlabNr};
use crate::mm::addr::Pfn;
use crate::mm::machine::Machine;
use crate::mm::slab_common::{CacheId, SlabPages};

impl Machine {
    /// The block becomes a slab with its first `used` objects in use; a full one, one on the node's partial list.
    pub(crate) fn slub_adopt(&mut self, id: CacheId, pfn: Pfn, block: SlabPages, used: u32) {
        let bytes = u64::from(block.order.pages()) << crate::mm::addr::PAGE_SHIFT;
        let objects = (bytes / u64::from(self.caches.all[id].size)) as u16;
        let node = self.zones[self.mem_map.page(pfn).zone().index()].pgdat;
        let slab = Slab::full(id, pfn, block.order.get(), objects, node as u8);
        let full = used >= u32::from(objects);
        let slab = if full { slab } else { slab.free_from(used as u16) };
        let nr = self.caches.slub.slabs.insert(slab);
        self.mark_slab_pages(SlabPages { mapping: nr.mapping(), ..block }, pfn);
        let of_node = self.kmem_cache_node_mut(id, node);
        of_node.nr_slabs += 1;
        of_node.total_objects += u64::from(objects);
        if !full {
            self.add_partial(nr, true);
        }
    }

    /// The cache's newest full slab becomes the first CPU's, with the second half of it free.
    pub(crate) fn slub_give_to_cpu(&mut self, id: CacheId, nr: SlabNr) {
        let cpu = self.cpu.index();
        let slab = self.slab(nr).clone();
        let objects = slab.objects;
        let mut half = slab.free_from(objects.div_ceil(2));
        let first = std::mem::replace(&mut half.freelist, END);
        (half.inuse, half.place) = (objects, Place::Cpu(cpu as u16));
        *self.slab_mut(nr) = half;
        self.open_slab(id, cpu, nr);
        self.kmem_cache_cpu_mut(id, cpu).freelist = first;
    }
}
