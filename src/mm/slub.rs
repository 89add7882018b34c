//! SLUB: every CPU allocates from a slab of its own, without a queue.
//!
//! ```text
//!   cache ─ CPU 0   slab ──► freelist ──► object ──► object            the fast path: pop, push
//!        │          partial ──► slab ──► slab                          frozen, this CPU's
//!        └─ node 0  partial ⇄ slab ⇄ slab ⇄ slab                       nobody's; with at least one free object
//!                   (full slabs are on no list: a free finds them through their page)
//!
//!   alloc: freelist │ freed by others │ CPU partial │ node partial │ new slab        alloc.rs
//!   free:  freelist │ the slab's own list, which may move the slab                    free.rs
//! ```
//!
//! A free object holds the pointer to the next one. Here these links stand beside the slab, so a machine's memory
//! stays empty; whoever reads a free object sees the pointer, and whoever writes it breaks the list, as in the kernel.
//!
//! Gorman 8, 12.5. Kernel: `mm/slub.c`.
//! Fidelity: faithful — orders and sizes, layout of debugged objects, every list and every counter, reports. Simplified
//! — free lists begin in order of address (no CONFIG_SLAB_FREELIST_RANDOM) and their pointers are plain (no
//! CONFIG_SLAB_FREELIST_HARDENED); an object that is freed twice is always noticed; memory of other nodes is always
//! tried when the own has no partial slab; who had an object is remembered beside it.

mod alloc;
mod boot;
mod check;
mod count;
mod debug;
mod free;
mod layout;
mod partial;
mod report;
mod slabs;
mod stat;

pub use report::Track;
pub use slabs::{Place, Slab, SlabNr};
pub use stat::{Stat, Stats};

use crate::mm::addr::{Pfn, VirtAddr};
use crate::mm::errno::Errno;
use crate::mm::machine::Machine;
use crate::mm::page::List;
use crate::mm::slab_common::{Allocator, CacheId, SlabFlags, SlabObject};
use slabs::{END, Links, Slabs, TAKEN};
use std::collections::BTreeMap;

/// What a CPU has of a cache (`struct kmem_cache_cpu`): all that the fast paths look at.
#[derive(Clone, Debug)]
pub struct KmemCacheCpu {
    /// The slab it allocates from.
    pub slab: SlabNr,
    /// The slab of the first object on its partial list.
    pub partial: SlabNr,
    /// Slabs on that list.
    pub partial_slabs: u16,
    /// Its first free object; at [`slabs::END`] or above there is none.
    pub(crate) freelist: u16,
    /// Where the slab's objects begin, and their bytes; none without a slab.
    base: u64,
    span: u64,
    /// From one object to the next, and what a division by it is a multiplication with.
    size: u64,
    reciprocal: u64,
    /// The slab's node.
    node: u8,
    /// Which cache it was that lived at this place when the slab was taken.
    of: u32,
    /// The slab's links.
    links: Links,
    /// Allocations and frees that went no further than here.
    fast: [u64; 2],
}

impl Default for KmemCacheCpu {
    fn default() -> KmemCacheCpu {
        KmemCacheCpu {
            slab: SlabNr::NONE,
            partial: SlabNr::NONE,
            partial_slabs: 0,
            freelist: END,
            base: 0,
            span: 0,
            size: 0,
            reciprocal: 0,
            node: 0,
            of: 0,
            links: Links::default(),
            fast: [0; 2],
        }
    }
}

impl KmemCacheCpu {
    /// Does the CPU allocate from the slab that holds this address?
    #[inline(always)]
    fn holds(&self, addr: VirtAddr) -> bool {
        addr.0.wrapping_sub(self.base) < self.span
    }
}

/// What a node has of a cache (`struct kmem_cache_node`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct KmemCacheNode {
    /// First pages of its partial slabs.
    pub partial: List,
    /// Slabs on the node.
    pub nr_slabs: u64,
    /// Objects of these slabs.
    pub total_objects: u64,
}

/// SLUB's state: its slabs, what each CPU and node has of each cache.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// Every slab by its number.
    pub(crate) slabs: Slabs,
    /// By cache and CPU.
    cpu: Vec<KmemCacheCpu>,
    /// The place of the cache that gave the last object: what is freed next is often of the same slab.
    recent: usize,
    /// By cache and node.
    node: Vec<KmemCacheNode>,
    /// Who had an object last, by its address (`SLAB_STORE_USER`).
    tracks: BTreeMap<u64, [Track; 2]>,
    /// A script wrote over the pointer in a free object.
    scribbled: bool,
}

impl Machine {
    /// What a CPU has of a cache.
    #[inline]
    pub fn kmem_cache_cpu(&self, id: CacheId, cpu: usize) -> &KmemCacheCpu {
        &self.caches.slub.cpu[id.index() as usize * self.caches.cpus + cpu]
    }

    #[inline]
    fn kmem_cache_cpu_mut(&mut self, id: CacheId, cpu: usize) -> &mut KmemCacheCpu {
        &mut self.caches.slub.cpu[id.index() as usize * self.caches.cpus + cpu]
    }

    /// What a node has of a cache, by the node's index.
    #[inline]
    pub fn kmem_cache_node(&self, id: CacheId, node: usize) -> &KmemCacheNode {
        &self.caches.slub.node[id.index() as usize * self.nodes.len() + node]
    }

    #[inline]
    fn kmem_cache_node_mut(&mut self, id: CacheId, node: usize) -> &mut KmemCacheNode {
        &mut self.caches.slub.node[id.index() as usize * self.nodes.len() + node]
    }

    /// The slab with a number.
    #[inline]
    pub fn slab(&self, nr: SlabNr) -> &Slab {
        self.caches.slub.slabs.get(nr)
    }

    #[inline]
    fn slab_mut(&mut self, nr: SlabNr) -> &mut Slab {
        self.caches.slub.slabs.get_mut(nr)
    }

    /// How often a cache went a way, on whatever CPU.
    pub fn slub_stat(&self, id: CacheId, item: Stat) -> u64 {
        let first = id.index() as usize * self.caches.cpus;
        let cpus = self.caches.slub.cpu.iter().skip(first).take(self.caches.cpus).map(|c| c.fast);
        let fast: u64 = match item {
            Stat::AllocFastpath => cpus.map(|[allocs, _]| allocs).sum(),
            Stat::FreeFastpath => cpus.map(|[_, frees]| frees).sum(),
            _ => 0,
        };
        self.caches.all[id].stat.get(item) + fast
    }

    #[inline]
    fn count_stat(&mut self, id: CacheId, item: Stat) {
        self.caches.all[id].stat.count(item);
    }

    /// Room for a new cache's CPUs and nodes (`init_kmem_cache_nodes`, `alloc_kmem_cache_cpus`).
    pub(crate) fn slub_cache_created(&mut self, id: CacheId) -> Result<(), Errno> {
        let caches = id.index() as usize + 1;
        let (cpus, nodes) = (self.caches.cpus, self.nodes.len());
        let state = &mut self.caches.slub;
        if state.cpu.len() < caches * cpus {
            state.cpu.resize(caches * cpus, KmemCacheCpu::default());
            state.node.resize(caches * nodes, KmemCacheNode::default());
        }
        state.cpu[(caches - 1) * cpus..caches * cpus].fill(KmemCacheCpu::default());
        state.node[(caches - 1) * nodes..caches * nodes].fill(KmemCacheNode::default());
        Ok(())
    }

    /// The cache has no slab any more.
    pub(crate) fn slub_cache_gone(&mut self, _id: CacheId) {}

    /// The slab whose memory holds an address, and the slab's number.
    pub fn slab_of(&self, addr: VirtAddr) -> Option<SlabNr> {
        let head = self.virt_to_head(addr)?;
        self.slab_at(head)
    }

    /// The slab that begins at a frame.
    pub fn slab_at(&self, head: Pfn) -> Option<SlabNr> {
        let page = self.mem_map.page(head);
        let slub = self.caches.allocator == Allocator::Slub;
        if !slub || !page.is(crate::mm::page::PageFlags::SLAB) {
            return None;
        }
        SlabNr::of_mapping(page.mapping)
    }

    /// Where a slab's objects begin.
    pub fn slab_base(&self, nr: SlabNr) -> VirtAddr {
        VirtAddr(self.caches.direct_map.wrapping_add(self.slab(nr).pfn.phys().0))
    }

    /// The address of an object, as its owner knows it: behind the left red zone.
    pub fn object_address(&self, nr: SlabNr, index: u32) -> VirtAddr {
        let cache = &self.caches.all[self.slab(nr).cache];
        let offset = u64::from(index) * u64::from(cache.size) + u64::from(cache.red_left_pad);
        VirtAddr(self.slab_base(nr).0 + offset)
    }

    /// Free objects on a list of a slab, from its first one on.
    pub fn free_objects(&self, nr: SlabNr, first: u16) -> impl Iterator<Item = u32> + '_ {
        self.links(nr).walk(first).map(u32::from)
    }

    /// Is an object in use?
    pub fn object_is_allocated(&self, nr: SlabNr, index: u32) -> bool {
        self.links(nr).next(index) == TAKEN
    }

    /// The CPU on whose own free list an object lies.
    pub fn cpu_cache_of(&self, nr: SlabNr, index: u32) -> Option<usize> {
        let Place::Cpu(cpu) = self.slab(nr).place else { return None };
        let first = self.kmem_cache_cpu(self.slab(nr).cache, cpu as usize).freelist;
        self.links(nr).walk(first).any(|free| u32::from(free) == index).then_some(cpu as usize)
    }

    /// Every slab of a cache, by number.
    pub fn slabs_of(&self, id: CacheId) -> impl Iterator<Item = SlabNr> + '_ {
        self.caches.slub.slabs.iter().filter(move |(_, slab)| slab.cache == id).map(|(nr, _)| nr)
    }

    /// The object that holds an address.
    pub(crate) fn slub_find_object(&self, addr: VirtAddr) -> Option<SlabObject> {
        let nr = self.slab_of(addr)?;
        let slab = self.slab(nr);
        let cache = &self.caches.all[slab.cache];
        let index = (addr.0 - self.slab_base(nr).0) / u64::from(cache.size);
        let index = u32::try_from(index).ok().filter(|index| *index < u32::from(slab.objects))?;
        Some(SlabObject {
            cache: slab.cache,
            start: self.object_address(nr, index),
            index,
            allocated: self.object_is_allocated(nr, index),
            slab: slab.pfn,
        })
    }

    /// The flags of a cache with those that `slub_debug` on the command line adds (`kmem_cache_flags`).
    pub(crate) fn slub_cache_flags(&self, name: &str, flags: SlabFlags) -> SlabFlags {
        if flags.has(SlabFlags::NO_USER_FLAGS) {
            return flags;
        }
        let words = self.config.cmdline.split_whitespace();
        words.fold(flags, |flags, word| match word.strip_prefix("slub_debug") {
            Some(option) => flags | debug::slub_debug_flags(option, name),
            None => flags,
        })
    }
}
