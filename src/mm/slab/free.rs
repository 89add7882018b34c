//! Giving objects back: to the CPU's queue, and from a full queue to the shared one or to their slabs.
//!
//! Gorman 8.3. Kernel: `mm/slab.c` (`___cache_free`, `cache_flusharray`, `free_block`).
//! Fidelity: faithful — the oldest of a full queue go first; how many free slabs a node keeps.

use super::SlabList;
use crate::mm::addr::VirtAddr;
use crate::mm::machine::Machine;
use crate::mm::slab_common::{CacheId, SlabPages};

impl Machine {
    /// To the CPU's queue, which is emptied first if it is full (`___cache_free`).
    pub(super) fn cache_free(&mut self, id: CacheId, addr: VirtAddr) {
        self.mark_used(id, addr, false);
        let (cpu, home) = (self.cpu.index(), self.mem_node());
        let foreign = self.slab_holding(addr).is_some_and(|slab| self.caches.slab.slabs[slab].node != home);
        let cache = self.caches.slab.of(id);
        if foreign {
            cache.stats.freemiss += 1;
            return self.free_block(id, vec![addr]);
        }
        if cache.cpus[cpu].entry.len() < cache.limit as usize {
            cache.stats.freehit += 1;
        } else {
            cache.stats.freemiss += 1;
            self.cache_flusharray(id);
        }
        self.caches.slab.of(id).cpus[cpu].entry.push(addr);
    }

    /// The oldest objects of the CPU's queue go to the shared array, or home (`cache_flusharray`).
    fn cache_flusharray(&mut self, id: CacheId) {
        let (cpu, node) = (self.cpu.index(), self.mem_node());
        let cache = self.caches.slab.of(id);
        let ac = &mut cache.cpus[cpu].entry;
        let batch = (cache.batchcount as usize).min(ac.len());
        if let Some(shared) = &mut cache.nodes[node].shared {
            let room = (shared.limit as usize).saturating_sub(shared.entry.len());
            if room > 0 {
                let moved = batch.min(room);
                cache.stats.moved += moved as u64;
                shared.entry.extend(ac.drain(..moved));
                return;
            }
        }
        let oldest = ac.drain(..batch).collect();
        self.free_block(id, oldest);
    }

    /// Objects go back to their slabs; slabs beyond the node's limit go back to the buddy allocator (`free_block`).
    pub(super) fn free_block(&mut self, id: CacheId, objects: Vec<VirtAddr>) {
        let mut nodes = Vec::new();
        for addr in objects {
            let Some(slab) = self.slab_holding(addr) else { continue };
            let size = self.caches.all[id].size;
            let of = &mut self.caches.slab.slabs[slab];
            let index = ((addr.0 - of.s_mem.0) / u64::from(size)) as u8;
            of.active -= 1;
            of.freelist[of.active as usize] = index;
            let (node, empty) = (of.node, of.active == 0);
            let cache = self.caches.slab.of(id);
            cache.stats.moved += 1;
            cache.nodes[node].free_objects += 1;
            if !nodes.contains(&node) {
                nodes.push(node);
            }
            // One that became empty is the next to be used; a partial one waits at the end.
            self.move_slab(id, slab, if empty { SlabList::Free } else { SlabList::Partial }, empty);
        }
        for node in nodes {
            loop {
                let of = &self.caches.slab.of(id).nodes[node];
                if of.free_objects <= of.free_limit || of.free.is_empty() {
                    break;
                }
                self.destroy_last_free(id, node);
            }
        }
    }

    /// The free slab that waits longest goes back to the buddy allocator (`slab_destroy`).
    pub(super) fn destroy_last_free(&mut self, id: CacheId, node: usize) {
        let pfn = self.caches.slab.of(id).nodes[node].free.tail;
        let Some(slab) = self.caches.slab.slab_of_mapping(self.mem_map.page(pfn).mapping) else { return };
        let cache = self.caches.slab.of(id);
        cache.stats.reaped += 1;
        cache.nodes[node].free_objects -= cache.num;
        cache.nodes[node].free.remove(&mut self.mem_map, pfn);
        let gone = self.caches.slab.slabs.remove(slab);
        let block = SlabPages::of(&self.caches.all[id], self.mem_map.page(pfn).order(), 0);
        self.free_slab_pages(block, pfn);
        if let Some(freelist) = gone.and_then(|slab| slab.off_slab) {
            // It came from a cache and nobody else knows it.
            let _ = self.slab_free_object(None, freelist);
        }
    }
}
