//! The one place where the allocators differ: each call goes to the one of the machine's profile.
//!
//! An allocator that is added beside SLUB gets its own variant of [`Allocator`], its own state in `Caches`, and an arm
//! in each `match` here.
//!
//! Kernel: `mm/slab.h`.
//! Fidelity: ours — a kernel makes the choice when it is compiled.

use super::{Allocator, CacheId, KmemCache, SlabFlags, SlabPages};
use crate::mm::addr::{Pfn, VirtAddr};
use crate::mm::check::Broken;
use crate::mm::errno::{Errno, Oops};
use crate::mm::gfp::Gfp;
use crate::mm::machine::Machine;

/// Numbers of a cache as /proc/slabinfo shows them (`struct slabinfo`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SlabInfo {
    /// Objects that are not on a list of partial slabs of a node.
    pub active_objs: u64,
    /// Objects of all slabs.
    pub num_objs: u64,
    /// Slabs that are not empty, where the allocator knows.
    pub active_slabs: u64,
    /// All slabs.
    pub num_slabs: u64,
    /// Objects of a new slab.
    pub objects_per_slab: u32,
    /// The order of a new slab.
    pub cache_order: u8,
    /// Most objects of a CPU's queue (SLAB).
    pub limit: u32,
    /// Objects that go to a queue or from it at once (SLAB).
    pub batchcount: u32,
    /// How large the queue between CPUs is (SLAB).
    pub shared: u32,
    /// Objects in queues between CPUs (SLAB).
    pub shared_avail: u64,
}

/// Objects and slabs of a cache, each looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CacheCensus {
    /// Objects in use.
    pub allocated: u64,
    /// Objects of all slabs.
    pub total: u64,
    /// Slabs.
    pub slabs: u64,
    /// Pages of these slabs.
    pub pages: u64,
}

/// The object behind an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SlabObject {
    /// Its cache.
    pub cache: CacheId,
    /// Its first byte, as its owner knows it.
    pub start: VirtAddr,
    /// Its place in the slab.
    pub index: u32,
    /// Is it in use?
    pub allocated: bool,
    /// The slab's first page.
    pub slab: Pfn,
}

impl Machine {
    /// Sizes and order of a new cache (`calculate_sizes`); `None` when no block holds one object.
    pub(crate) fn calculate_sizes(&self, cache: &mut KmemCache) -> Option<()> {
        match self.caches.allocator {
            Allocator::Slub => self.slub_calculate_sizes(cache),
            Allocator::Slab => self.slab_calculate_sizes(cache),
            Allocator::Slob => self.slob_calculate_sizes(cache),
        }
    }

    /// The cache's flags with those of the command line (`kmem_cache_flags`).
    pub(crate) fn kmem_cache_flags(&self, name: &str, flags: SlabFlags) -> SlabFlags {
        match self.caches.allocator {
            Allocator::Slub => self.slub_cache_flags(name, flags),
            // Built without debugging.
            Allocator::Slab | Allocator::Slob => flags.with(SlabFlags::DEBUG_FLAGS, false),
        }
    }

    /// The cache has its number: the allocator makes its own state of it (`__kmem_cache_create`).
    pub(crate) fn cache_created(&mut self, id: CacheId) -> Result<(), Errno> {
        match self.caches.allocator {
            Allocator::Slub => self.slub_cache_created(id),
            Allocator::Slab => self.slab_cache_created(id),
            Allocator::Slob => Ok(()),
        }
    }

    /// The cache is about to lose its number (`__kmem_cache_release`).
    pub(crate) fn cache_gone(&mut self, id: CacheId) {
        match self.caches.allocator {
            Allocator::Slub => self.slub_cache_gone(id),
            Allocator::Slab => self.slab_cache_gone(id),
            Allocator::Slob => {}
        }
    }

    /// Takes an object, near a node if one is named; `requested` are the bytes that `kmalloc` was asked for, or 0
    /// (`slab_alloc_node`).
    #[inline]
    pub(crate) fn slab_alloc(
        &mut self,
        id: CacheId,
        gfp: Gfp,
        node: Option<usize>,
        requested: u64,
    ) -> Result<VirtAddr, Errno> {
        match self.caches.allocator {
            Allocator::Slub => self.slub_alloc(id, gfp, node, requested),
            Allocator::Slab => self.slab_alloc_object(id, gfp, node, requested),
            Allocator::Slob => self.slob_alloc_object(id, gfp, node),
        }
    }

    /// Gives an object back in the usual case, and says whether it was one; `false` has done nothing.
    #[inline]
    pub(crate) fn slab_free_fast(&mut self, addr: VirtAddr) -> bool {
        match self.caches.allocator {
            Allocator::Slub => self.slub_free_fast(addr),
            Allocator::Slab => self.slab_free_object_fast(addr),
            Allocator::Slob => false,
        }
    }

    /// Gives an object back whose page is a slab's (`slab_free`).
    pub(crate) fn slab_free(&mut self, addr: VirtAddr) -> Result<(), Oops> {
        match self.caches.allocator {
            Allocator::Slub => self.slub_free(None, addr),
            Allocator::Slab => self.slab_free_object(None, addr),
            Allocator::Slob => self.slob_free(None, addr),
        }
    }

    /// Allocates an object of a cache near a node (`kmem_cache_alloc_node`).
    ///
    /// # Errors
    /// `ENOMEM` when no slab can be had.
    #[inline]
    pub fn kmem_cache_alloc_node(
        &mut self,
        id: CacheId,
        gfp: Gfp,
        node: Option<usize>,
    ) -> Result<VirtAddr, Errno> {
        self.slab_alloc(id, gfp, node, 0)
    }

    /// Allocates an object of a cache (`kmem_cache_alloc`).
    ///
    /// # Errors
    /// As [`Machine::kmem_cache_alloc_node`].
    #[inline]
    pub fn kmem_cache_alloc(&mut self, id: CacheId, gfp: Gfp) -> Result<VirtAddr, Errno> {
        self.slab_alloc(id, gfp, None, 0)
    }

    /// Gives an object back to its cache (`kmem_cache_free`).
    ///
    /// # Errors
    /// The kernel's complaint when it is no object of this cache, free already, or was written where nobody may.
    #[inline]
    pub fn kmem_cache_free(&mut self, id: CacheId, addr: VirtAddr) -> Result<(), Oops> {
        match self.caches.allocator {
            Allocator::Slub => self.slub_free(Some(id), addr),
            Allocator::Slab => self.slab_free_object(Some(id), addr),
            Allocator::Slob => self.slob_free(Some(id), addr),
        }
    }

    /// Gives back empty slabs; true when none is left (`__kmem_cache_shrink`).
    pub(crate) fn shrink_cache(&mut self, id: CacheId) -> bool {
        match self.caches.allocator {
            Allocator::Slub => self.slub_shrink(id),
            Allocator::Slab => self.slab_shrink(id),
            // It keeps nothing that it could give back.
            Allocator::Slob => self.slob_shutdown(id),
        }
    }

    /// Gives back every slab; false when objects are in use, which are reported (`__kmem_cache_shutdown`).
    pub(crate) fn shutdown_cache(&mut self, id: CacheId) -> bool {
        match self.caches.allocator {
            Allocator::Slub => self.slub_shutdown(id),
            Allocator::Slab => self.slab_shutdown(id),
            Allocator::Slob => self.slob_shutdown(id),
        }
    }

    /// The object that holds an address.
    pub fn find_object(&self, addr: VirtAddr) -> Option<SlabObject> {
        match self.caches.allocator {
            Allocator::Slub => self.slub_find_object(addr),
            Allocator::Slab => self.slab_object(addr),
            Allocator::Slob => self.slob_find_object(addr),
        }
    }

    /// Numbers of a cache for /proc/slabinfo (`get_slabinfo`).
    pub fn slabinfo(&self, id: CacheId) -> SlabInfo {
        match self.caches.allocator {
            Allocator::Slub => self.slub_slabinfo(id),
            Allocator::Slab => self.slab_slabinfo(id),
            Allocator::Slob => self.slob_slabinfo(id),
        }
    }

    /// Objects and slabs of a cache, each looked at.
    pub fn cache_census(&self, id: CacheId) -> CacheCensus {
        match self.caches.allocator {
            Allocator::Slub => self.slub_census(id),
            Allocator::Slab => self.slab_census(id),
            Allocator::Slob => self.slob_census(id),
        }
    }

    /// Proves the invariants of all caches; pages of slabs are counted by whoever calls.
    pub(crate) fn check_caches(&self) -> Result<(), Broken> {
        match self.caches.allocator {
            Allocator::Slub => self.slub_check(),
            Allocator::Slab => self.slab_check(),
            Allocator::Slob => self.slob_check(),
        }
    }

    /// A slab that is there from boot on: its block of pages, how many of its objects are in use.
    pub(crate) fn adopt_slab(&mut self, id: CacheId, pfn: Pfn, block: SlabPages, used: u32) {
        match self.caches.allocator {
            Allocator::Slub => self.slub_adopt(id, pfn, block, used),
            Allocator::Slab => self.slab_adopt(id, pfn, block, used),
            Allocator::Slob => self.slob_adopt(id, pfn, block, used),
        }
    }
}
