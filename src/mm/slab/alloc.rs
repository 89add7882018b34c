//! Taking objects: from the CPU's queue, from the node's slabs, from a new slab.
//!
//! Gorman 8.3. Kernel: `mm/slab.c` (`____cache_alloc`, `cache_alloc_refill`, `cache_grow_begin`).
//! Fidelity: faithful — order of the queues and lists, batches, colours.

use super::{FreelistPlace, Slab, SlabId, SlabList};
use crate::mm::addr::{Pfn, VirtAddr};
use crate::mm::errno::Errno;
use crate::mm::gfp::Gfp;
use crate::mm::machine::Machine;
use crate::mm::slab_common::{CacheId, LastSlabAlloc, SlabPages, SlabPath};

/// A CPU that has not touched its queue lately gets no more at once (`BATCHREFILL_LIMIT`).
const BATCHREFILL_LIMIT: u32 = 16;

impl Machine {
    /// Takes an object (`slab_alloc_node`).
    pub(crate) fn slab_alloc_object(
        &mut self,
        id: CacheId,
        gfp: Gfp,
        node: Option<usize>,
        requested: u64,
    ) -> Result<VirtAddr, Errno> {
        let home = self.mem_node();
        let (addr, path) = match node.filter(|node| *node != home) {
            None => self.cache_alloc(id, gfp)?,
            // Queues hold objects of the CPU's own node: another node's come from its slabs (____cache_alloc_node).
            Some(node) => (self.cache_alloc_from(id, gfp, node)?, "a slab of the node"),
        };
        let path = SlabPath::Other(path);
        self.mark_used(id, addr, true);
        self.caches.last =
            Some(LastSlabAlloc { at: self.clock, cache: Some(id), requested, gfp, addr, path });
        if gfp.has(Gfp::ZERO) {
            let bytes = u64::from(self.caches.all[id].object_size);
            self.zero_kernel_bytes(addr, bytes);
        }
        Ok(addr)
    }

    /// From the CPU's queue, which is filled if it is empty (`____cache_alloc`).
    fn cache_alloc(&mut self, id: CacheId, gfp: Gfp) -> Result<(VirtAddr, &'static str), Errno> {
        let cpu = self.cpu.index();
        let cache = self.caches.slab.of(id);
        let ac = &mut cache.cpus[cpu];
        if let Some(addr) = ac.entry.pop() {
            ac.touched = true;
            cache.stats.allochit += 1;
            return Ok((addr, "the CPU's array_cache"));
        }
        cache.stats.allocmiss += 1;
        let path = self.cache_alloc_refill(id, gfp)?;
        let ac = &mut self.caches.slab.of(id).cpus[cpu];
        ac.touched = true;
        Ok((ac.entry.pop().ok_or(Errno::ENOMEM)?, path))
    }

    /// Fills the CPU's queue: from the shared array, from slabs, from a new slab (`cache_alloc_refill`).
    fn cache_alloc_refill(&mut self, id: CacheId, gfp: Gfp) -> Result<&'static str, Errno> {
        let (cpu, node) = (self.cpu.index(), self.mem_node());
        let cache = self.caches.slab.of(id);
        let ac = &mut cache.cpus[cpu];
        let batch = if ac.touched { cache.batchcount } else { cache.batchcount.min(BATCHREFILL_LIMIT) };
        if let Some(shared) = cache.nodes[node].shared.as_mut().filter(|shared| !shared.entry.is_empty()) {
            // The newest ones: they may be in a cache of the hardware yet.
            let from = shared.entry.len() - shared.entry.len().min(batch as usize);
            cache.stats.moved += (shared.entry.len() - from) as u64;
            ac.entry.extend(shared.entry.drain(from..));
            shared.touched = true;
            return Ok("the node's shared array");
        }
        let mut left = batch;
        while left > 0 {
            let Some(slab) = self.first_slab(id, node) else { break };
            left = self.take_objects(id, slab, left);
        }
        if left < batch {
            return Ok("slabs of the node");
        }
        let slab = self.cache_grow(id, gfp, node).ok_or(Errno::ENOMEM)?;
        self.take_objects(id, slab, batch);
        Ok("a new slab")
    }

    /// One object of a node's slabs, past every queue.
    fn cache_alloc_from(&mut self, id: CacheId, gfp: Gfp, node: usize) -> Result<VirtAddr, Errno> {
        self.caches.slab.of(id).stats.allocmiss += 1;
        let slab = match self.first_slab(id, node) {
            Some(slab) => slab,
            None => self.cache_grow(id, gfp, node).ok_or(Errno::ENOMEM)?,
        };
        Ok(self.slab_get_obj(id, slab))
    }

    /// A slab with free objects: a partial one before a free one (`get_first_slab`).
    fn first_slab(&mut self, id: CacheId, node: usize) -> Option<SlabId> {
        let node = &mut self.caches.slab.of(id).nodes[node];
        let list = if node.partial.is_empty() {
            node.free_touched = true;
            node.free
        } else {
            node.partial
        };
        let first = (!list.is_empty()).then_some(list.head)?;
        self.caches.slab.slab_of_mapping(self.mem_map.page(first).mapping)
    }

    /// Moves objects of a slab to the CPU's queue; how many are still wanted (`alloc_block`).
    fn take_objects(&mut self, id: CacheId, slab: SlabId, mut wanted: u32) -> u32 {
        let cpu = self.cpu.index();
        while wanted > 0 && self.caches.slab.slabs[slab].active < self.caches.slab.of(id).num {
            let addr = self.slab_get_obj(id, slab);
            let cache = self.caches.slab.of(id);
            cache.cpus[cpu].entry.push(addr);
            cache.stats.moved += 1;
            wanted -= 1;
        }
        wanted
    }

    /// The next free object of a slab (`slab_get_obj`); the slab goes to the list it belongs on.
    fn slab_get_obj(&mut self, id: CacheId, slab: SlabId) -> VirtAddr {
        let size = u64::from(self.caches.all[id].size);
        let of = &mut self.caches.slab.slabs[slab];
        let index = of.freelist[of.active as usize];
        of.active += 1;
        let (addr, node, active) = (VirtAddr(of.s_mem.0 + u64::from(index) * size), of.node, of.active);
        let cache = self.caches.slab.of(id);
        cache.nodes[node].free_objects -= 1;
        let list = if active == cache.num { SlabList::Full } else { SlabList::Partial };
        self.move_slab(id, slab, list, true);
        addr
    }

    /// A new slab, all free (`cache_grow_begin`, `cache_grow_end`).
    fn cache_grow(&mut self, id: CacheId, gfp: Gfp, node: usize) -> Option<SlabId> {
        let cache = &self.caches.all[id];
        let gfp = gfp.without(Gfp::ZERO) | cache.allocflags;
        let gfp = self.fix_slab_gfp(gfp);
        let block = SlabPages::of(&self.caches.all[id], self.caches.all[id].order, 0);
        let pfn = self.alloc_slab_pages(block, gfp, Some(node))?;
        // The pages may be another node's.
        let node = self.zones[self.mem_map.page(pfn).zone().index()].pgdat;
        let off_slab = match self.caches.slab.of(id).freelist {
            FreelistPlace::OffSlab(other) => {
                match self.slab_alloc_object(other, gfp.without(Gfp::COMP), None, 0) {
                    Ok(addr) => Some(addr),
                    Err(_) => {
                        self.free_slab_pages(block, pfn);
                        return None;
                    }
                }
            }
            FreelistPlace::InObject | FreelistPlace::OnSlab => None,
        };
        self.charge(self.config.costs.alloc);
        let cache = self.caches.slab.of(id);
        cache.stats.grown += 1;
        let of = &mut cache.nodes[node];
        of.colour_next = if of.colour_next + 1 >= cache.colour { 0 } else { of.colour_next + 1 };
        let colour = u64::from(of.colour_next * cache.colour_off);
        let num = cache.num;
        let slab = self.insert_slab(id, pfn, node, colour, (0..num as u8).collect(), 0);
        self.caches.slab.slabs[slab].off_slab = off_slab;
        if self.caches.all[id].ctor {
            let first = self.caches.slab.slabs[slab].s_mem;
            self.caches.constructed.push((id, first, num));
        }
        Some(slab)
    }

    /// A slab is on its list, and its first page knows it.
    pub(super) fn insert_slab(
        &mut self,
        id: CacheId,
        pfn: Pfn,
        node: usize,
        colour: u64,
        freelist: Vec<u8>,
        active: u32,
    ) -> SlabId {
        let num = self.caches.slab.of(id).num;
        let list = match active {
            0 => SlabList::Free,
            n if n == num => SlabList::Full,
            _ => SlabList::Partial,
        };
        let s_mem = VirtAddr(self.phys_to_virt(pfn.phys()).0 + colour);
        let mut slab =
            Slab { cache: id, pfn, node, s_mem, active, freelist, used: [0; 4], list, off_slab: None };
        // Those that are taken when it is made are the boot's.
        (0..active).for_each(|index| slab.set_used(index, true));
        let slab = self.caches.slab.slabs.insert(slab);
        self.mem_map.page_mut(pfn).mapping = slab.index() + 1;
        let of = &mut self.caches.slab.of(id).nodes[node];
        of.list_mut(list).push_back(&mut self.mem_map, pfn);
        of.free_objects += num - active;
        slab
    }
}
