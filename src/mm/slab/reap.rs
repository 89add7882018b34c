//! Giving back what SLAB holds: shrinking a cache, reaping all of them, destroying one.
//!
//! Gorman 8.1.7, 8.1.8. Kernel: `mm/slab.c` (`cache_reap`, `drain_array`, `drain_freelist`, `__kmem_cache_shrink`); of
//! 2.4: `kmem_cache_reap`.
//! Fidelity: faithful — what one pass drains and gives back; the choice of 2.4, with its weights. Simplified — every
//! CPU's pass runs at once.

use super::CacheNode;
use crate::mm::machine::Machine;
use crate::mm::slab_common::CacheId;

/// Caches that `kmem_cache_reap` of 2.4 looks at (`REAP_SCANLEN`).
const REAP_SCANLEN: usize = 10;
/// Free pages at which it looks no further (`REAP_PERFECT`).
const REAP_PERFECT: u32 = 10;

impl Machine {
    /// Empties every queue and gives back every free slab; true when no slab is left (`__kmem_cache_shrink`).
    pub(crate) fn slab_shrink(&mut self, id: CacheId) -> bool {
        self.drain_cpu_caches(id);
        for node in 0..self.nodes.len() {
            self.drain_freelist(id, node, u32::MAX);
        }
        self.caches.slab.cache(id).is_none_or(|cache| cache.nodes.iter().all(|node| node.total_slabs() == 0))
    }

    /// Gives back every slab; false when objects are in use, which are reported (`__kmem_cache_shutdown`).
    pub(crate) fn slab_shutdown(&mut self, id: CacheId) -> bool {
        if self.slab_shrink(id) {
            return true;
        }
        let used = self.slab_census(id).allocated;
        let name = self.caches.all[id].name().to_string();
        self.printk(format!(
            "slab error in kmem_cache_destroy(): cache `{name}': Can't free all objects ({used} left)"
        ));
        false
    }

    /// Every object in a queue goes back to its slab (`drain_cpu_caches`).
    fn drain_cpu_caches(&mut self, id: CacheId) {
        let cache = self.caches.slab.of(id);
        let mut queued = Vec::new();
        for ac in cache.cpus.iter_mut().chain(cache.nodes.iter_mut().filter_map(|node| node.shared.as_mut()))
        {
            queued.append(&mut ac.entry);
        }
        self.free_block(id, queued);
    }

    /// Gives back free slabs of a node, at most so many (`drain_freelist`).
    fn drain_freelist(&mut self, id: CacheId, node: usize, most: u32) -> u32 {
        let mut freed = 0;
        while freed < most && !self.caches.slab.of(id).nodes[node].free.is_empty() {
            self.destroy_last_free(id, node);
            freed += 1;
        }
        freed
    }

    /// What the timer of 6.1 does every two seconds: queues that nobody used lose a fifth, free slabs that nobody
    /// took go back bit by bit (`cache_reap`); slabs given back.
    pub fn cache_reap(&mut self) -> u32 {
        let mut freed = 0;
        for id in self.caches.order.clone() {
            let cache = self.caches.slab.of(id);
            let shared = cache.nodes.iter_mut().filter_map(|node| node.shared.as_mut());
            let mut idle = Vec::new();
            for ac in cache.cpus.iter_mut().chain(shared) {
                if std::mem::take(&mut ac.touched) {
                    continue;
                }
                let fifth = ac.limit.div_ceil(5) as usize;
                let n = if fifth > ac.entry.len() { ac.entry.len().div_ceil(2) } else { fifth };
                idle.extend(ac.entry.drain(..n));
            }
            self.free_block(id, idle);
            for node in 0..self.nodes.len() {
                let cache = self.caches.slab.of(id);
                if !std::mem::take(&mut cache.nodes[node].free_touched) {
                    let few = cache.nodes[node].free_limit.div_ceil(5 * cache.num.max(1));
                    freed += self.drain_freelist(id, node, few);
                }
            }
        }
        freed
    }

    /// What 2.4 did when memory was short: of ten caches the one with most free pages gives back four fifths of its
    /// free slabs (`kmem_cache_reap`); pages given back.
    pub fn kmem_cache_reap(&mut self) -> u64 {
        let caches = self.caches.order.clone();
        let mut best: Option<(CacheId, u32, u32)> = None;
        for turn in 0..caches.len().min(REAP_SCANLEN) {
            let id = caches[(self.caches.slab.clock_searchp + turn) % caches.len()];
            self.halve_queues(id);
            let order = self.caches.all[id].order.get();
            let free: u32 = self.caches.slab.of(id).nodes.iter().map(|node: &CacheNode| node.free.len).sum();
            // Objects that were constructed, and blocks that are hard to get, are worth more.
            let worth = |pages: u32, dear: bool| if dear { pages * 4 / 5 } else { pages };
            let pages = worth(worth(free << order, self.caches.all[id].ctor), order > 0);
            if pages > best.map_or(0, |best| best.2) {
                best = Some((id, free, pages));
            }
            if pages >= REAP_PERFECT {
                break;
            }
        }
        self.caches.slab.clock_searchp =
            (self.caches.slab.clock_searchp + REAP_SCANLEN) % caches.len().max(1);
        let Some((id, free, _)) = best else { return 0 };
        let mut left = (free * 4).div_ceil(5);
        let wanted = left;
        for node in 0..self.nodes.len() {
            left -= self.drain_freelist(id, node, left);
        }
        u64::from(wanted - left) << self.caches.all[id].order.get()
    }

    /// A CPU's queue gives half of it back, as 2.4 did to each cache it looked at.
    fn halve_queues(&mut self, id: CacheId) {
        let mut half = Vec::new();
        for ac in &mut self.caches.slab.of(id).cpus {
            let n = ac.entry.len() / 2;
            half.extend(ac.entry.drain(..n));
        }
        self.free_block(id, half);
    }
}
