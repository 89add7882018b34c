//! The caches of a machine that has booted, and the slabs they have by then.
//!
//! ```text
//!   pages of a node that are not free     ├───────── slabs, large blocks first ─────────┼ large kmallocs ┼ the rest ┤
//! ```
//!
//! Kernel: `mm/slub.c` (`kmem_cache_init`).
//! Fidelity: imported — which caches, how many objects. Simplified — a slab
//! goes to the node that has the most left of what it counted; what the nodes counted beyond slabs are large kmallocs.

use super::used::UsedPages;
use crate::mm::addr::{Order, Pfn};
use crate::mm::config::CacheConfig;
use crate::mm::machine::Machine;
use crate::mm::slab_common::{
    Allocator, CacheArgs, CacheId, LARGE_KMALLOC, SlabFlags, SlabPages, UNTOLD_RECLAIMABLE,
};
use crate::mm::vmstat::NodeStat;

/// Slabs of one cache that are still to be laid out.
struct Wanted {
    id: CacheId,
    slabs: u64,
    /// Free objects of its partial slabs.
    free: u64,
    order: Order,
    reclaimable: bool,
}

impl Machine {
    /// Makes the caches of the spec, and those without which there is no kmalloc (`kmem_cache_init`).
    pub(super) fn kmem_cache_init(&mut self) {
        self.caches.direct_map = self.phys_to_virt(crate::mm::addr::PhysAddr(0)).0;
        self.setup_kmalloc_cache_index_table();
        for cache in std::mem::take(&mut self.config.caches) {
            self.boot_cache(&cache);
            self.config.caches.push(cache);
        }
        let bytes = if self.config.arch.is_64bit() { [64, 256] } else { [32, 192] };
        for (name, size) in ["kmem_cache_node", "kmem_cache"].into_iter().zip(bytes) {
            if self.caches.find(name).is_none() {
                let flags = SlabFlags::HWCACHE_ALIGN;
                let args = CacheArgs { name, size, flags, usersize: true, ..CacheArgs::default() };
                // Without memory for its description there is no cache; the boot needs none.
                let _ = self.insert_cache(&args);
            }
        }
        self.create_kmalloc_caches();
        let (cpus, nodes) = (self.caches.cpus, self.nodes.len());
        if self.caches.allocator != Allocator::Slub {
            return;
        }
        self.printk(format!("SLUB: HWalign=64, Order=0-3, MinObjects=0, CPUs={cpus}, Nodes={nodes}"));
    }

    /// A cache as it was captured.
    fn boot_cache(&mut self, spec: &CacheConfig) {
        let Some(name) = spec.names.first() else { return };
        let kmalloc = ["kmalloc-", "dma-kmalloc-"].iter().any(|prefix| name.starts_with(prefix));
        // The captured kernels have SLUB: SLAB lacks its smallest classes, SLOB has no classes at all.
        let small = name.ends_with("-8") || name.ends_with("-16");
        match self.caches.allocator {
            Allocator::Slab if kmalloc && small => return,
            Allocator::Slob if kmalloc => return,
            _ => {}
        }
        let kind = if kmalloc { SlabFlags::KMALLOC } else { SlabFlags::NONE };
        let args = CacheArgs {
            name,
            size: spec.object_size.into(),
            align: spec.align.into(),
            flags: spec.flags | kind,
            ctor: false,
            usersize: kmalloc || name.starts_with("kmem_cache"),
        };
        let Ok(id) = self.insert_cache(&args) else { return };
        let mut cache = self.caches.all[id].clone();
        let slub = self.caches.allocator == Allocator::Slub;
        if slub && !cache.is_debug() && cache.size != spec.size && spec.size >= cache.object_size {
            // What made it larger, a constructor say, is not known; the sizes are.
            self.set_size(&mut cache, spec.size);
        }
        cache.names = spec.names.iter().cloned().collect();
        cache.refcount = spec.names.len() as i32;
        self.caches.all[id] = cache;
        self.adopt_kmalloc_cache(id);
    }

    /// What the spec's caches have, largest blocks first.
    fn wanted_slabs(&self) -> Vec<Wanted> {
        let mut wanted = Vec::new();
        for spec in &self.config.caches {
            let Some(id) = spec.names.first().and_then(|name| self.caches.find(name)) else { continue };
            let cache = &self.caches.all[id];
            let slabs = spec.total.div_ceil(u64::from(cache.objects));
            let free = spec.total.saturating_sub(spec.active);
            wanted.push(Wanted { id, slabs, free, order: cache.order, reclaimable: cache.is_reclaimable() });
        }
        wanted.sort_by_key(|w| std::cmp::Reverse(w.order));
        wanted
    }

    /// How many slabs of each cache each node gets, by cache and node: always to the one with the most left.
    pub(super) fn deal_slabs(&self) -> Vec<SlabShare> {
        let mut left: Vec<[i64; 2]> = self
            .config
            .nodes
            .iter()
            .map(|node| [node.owners.slab_reclaimable as i64, node.owners.slab_unreclaimable as i64])
            .collect();
        let deal = |want: Wanted| {
            let (kind, pages) = (usize::from(!want.reclaimable), i64::from(want.order.pages()));
            let mut nodes = vec![0; left.len()];
            for _ in 0..want.slabs {
                let usable = (0..left.len()).rev().filter(|n| self.node_has_memory(&self.nodes[*n]));
                let Some(most) = usable.max_by_key(|n| left[*n][kind]) else { break };
                left[most][kind] -= pages;
                nodes[most] += 1;
            }
            SlabShare { id: want.id, free: want.free, nodes }
        };
        self.wanted_slabs().into_iter().map(deal).collect()
    }

    /// Lays out a node's slabs in pages that are not free.
    pub(super) fn lay_out_slabs(&mut self, node: usize, shares: &mut [SlabShare], used: &mut UsedPages) {
        let mut place = used.blocks();
        for share in shares {
            let id = share.id;
            let cache = &self.caches.all[id];
            let (order, objects) = (cache.order, u64::from(cache.objects));
            let block = SlabPages::of(cache, order, 0);
            while share.nodes[node] > 0 {
                let Some(pfn) = place.take(order) else { break };
                share.nodes[node] -= 1;
                // The free ones are at the end of the first slabs.
                let free = share.free.min(objects - 1);
                share.free -= free;
                self.hold_block(pfn, order);
                self.adopt_slab(id, pfn, block, (objects - free) as u32);
            }
        }
    }

    /// What the node counted as slab beyond its slabs: large kmallocs, and caches that the spec does not tell.
    pub(super) fn lay_out_untold(&mut self, node: usize, used: &mut UsedPages) {
        let owners = self.config.nodes[node].owners;
        for (item, counted, mapping) in [
            (NodeStat::SlabReclaimable, owners.slab_reclaimable, UNTOLD_RECLAIMABLE),
            (NodeStat::SlabUnreclaimable, owners.slab_unreclaimable, LARGE_KMALLOC),
        ] {
            let left = counted.saturating_sub(self.nodes[node].stat(item));
            for pfn in used.take(left) {
                self.hold_block(pfn, Order::ZERO);
                self.mem_map.page_mut(pfn).mapping = mapping;
                self.nodes[node].stat[item as usize] += 1;
            }
        }
    }

    /// A block in use from boot on, its pages tied together.
    fn hold_block(&mut self, pfn: Pfn, order: Order) {
        self.mem_map.page_mut(pfn).prep(order);
        if order > Order::ZERO {
            self.prep_compound_page(pfn, order);
        }
    }

    /// The newest full slab of each cache is the first CPU's: half of it is free.
    pub(super) fn give_slabs_to_cpu(&mut self) {
        let mut newest = std::collections::BTreeMap::new();
        for (nr, slab) in self.caches.slub.slabs.iter().filter(|(_, slab)| slab.inuse == slab.objects) {
            newest.insert(slab.cache, nr);
        }
        for (id, nr) in newest {
            if !self.caches.all[id].is_debug() {
                self.slub_give_to_cpu(id, nr);
            }
        }
    }

    /// Descriptors of the boot's caches become objects of `kmem_cache`, where it has slabs.
    pub(super) fn settle_descriptors(&mut self) {
        self.caches.booted = true;
        self.count_booted_names();
        let Some(of_caches) = self.caches.find("kmem_cache") else { return };
        let slabs: Vec<_> = self.slabs_of(of_caches).collect();
        let mut places = Vec::new();
        for nr in slabs {
            let taken = (0..u32::from(self.slab(nr).objects)).filter(|n| self.object_is_allocated(nr, *n));
            places.extend(taken.map(|n| self.object_address(nr, n)));
        }
        let order = self.caches.order.clone();
        for (id, addr) in order.into_iter().zip(places) {
            self.caches.all[id].addr = addr;
        }
    }
}

/// How many slabs of a cache are still to be laid out on each node.
pub(super) struct SlabShare {
    id: CacheId,
    free: u64,
    nodes: Vec<u64>,
}
