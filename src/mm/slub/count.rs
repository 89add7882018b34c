//! Numbers of a cache: what /proc/slabinfo says, and what is true.
//!
//! SLUB's slabinfo counts free objects of the nodes' partial lists only: a CPU's slab and its partial list are *active*
//! to the last object.
//!
//! Kernel: `mm/slub.c` (`get_slabinfo`).
//! Fidelity: faithful.

use super::SlabNr;
use crate::mm::machine::Machine;
use crate::mm::slab_common::{CacheCensus, CacheId, SlabInfo};

impl Machine {
    /// Free objects of the slabs on a node's partial list (`count_partial`).
    pub(super) fn free_on_partial(&self, id: CacheId, node: usize) -> u64 {
        let free = |nr: SlabNr| u64::from(self.slab(nr).objects - self.slab(nr).inuse);
        self.partial_slabs(id, node).map(free).sum()
    }

    /// The row of /proc/slabinfo.
    pub(crate) fn slub_slabinfo(&self, id: CacheId) -> SlabInfo {
        let cache = &self.caches.all[id];
        let mut info = SlabInfo {
            objects_per_slab: cache.objects,
            cache_order: cache.order.get(),
            ..SlabInfo::default()
        };
        for node in 0..self.nodes.len() {
            let of_node = self.kmem_cache_node(id, node);
            info.num_slabs += of_node.nr_slabs;
            info.num_objs += of_node.total_objects;
            info.active_objs += of_node.total_objects - self.free_on_partial(id, node);
        }
        info.active_slabs = info.num_slabs;
        info
    }

    /// Every object looked at.
    pub(crate) fn slub_census(&self, id: CacheId) -> CacheCensus {
        let mut census = CacheCensus::default();
        for nr in self.slabs_of(id) {
            let slab = self.slab(nr);
            census.allocated += u64::from(self.objects_taken(nr));
            census.total += u64::from(slab.objects);
            census.slabs += 1;
            census.pages += 1 << slab.order;
        }
        census
    }
}
