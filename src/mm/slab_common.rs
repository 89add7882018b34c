//! Slab caches: what SLUB, SLAB and SLOB have in common.
//!
//! ```text
//!   kmalloc(100) ── kmalloc_index ── kmalloc-128 ─┐
//!   kmem_cache_alloc(task_struct) ────────────────┴─ the back-end of the machine's profile ── pages of the buddy
//!   kmalloc(20000) ─────────────────────────────────────────────────────────────────────────┘  allocator
//! ```
//!
//! A cache is created, merged with one like it, shrunk and destroyed here; the size classes of `kmalloc` are in
//! `kmalloc.rs`, pages and their counters in `pages.rs`. Every call that depends on the allocator goes through one
//! `match` in `backend.rs`.
//!
//! Gorman 8.1, 8.4. Kernel: `mm/slab_common.c`, `mm/slab.h`.
//! Fidelity: faithful — alignment, merging and aliases, size classes and their types, accounting of pages.
//! Simplified — one lock would be enough, there is none. Absent — memory cgroups (`-cg` caches exist, nothing is
//! charged), randomised and hardened free lists, deferred freeing of RCU caches.

mod backend;
mod create;
mod flags;
mod kmalloc;
mod pages;
mod work;

pub use backend::{CacheCensus, SlabInfo, SlabObject};
pub use flags::SlabFlags;
pub use kmalloc::{
    KMALLOC_MAX_CACHE_SIZE, KMALLOC_MAX_SIZE, KmallocType, ZERO_SIZE_PTR, kmalloc_index, kmalloc_name,
};
pub(crate) use pages::{LARGE_KMALLOC, SlabPages, UNTOLD_RECLAIMABLE};
pub use work::AllocatorWork;

use crate::mm::addr::{Order, VirtAddr};
use crate::mm::config::Arch;
use crate::mm::gfp::Gfp;
use crate::mm::slots::{Id, Slots};
use crate::mm::{slab, slob, slub};
use std::fmt;
use std::rc::Rc;

/// The number of a cache.
pub type CacheId = Id<KmemCache>;

/// The allocator behind the caches (`CONFIG_SLUB`, `CONFIG_SLAB`, `CONFIG_SLOB`): the profile `slab:` of a spec.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Allocator {
    /// No queues: each CPU has a slab of its own and its free list.
    #[default]
    Slub,
    /// Queues of free objects for every CPU; slabs that are full, partial or free.
    Slab,
    /// One heap for everything, first fit.
    Slob,
}

impl Allocator {
    /// Every allocator.
    pub const ALL: &[Allocator] = &[Allocator::Slub, Allocator::Slab, Allocator::Slob];

    /// The word in a machine spec: `slub`.
    pub fn name(self) -> &'static str {
        match self {
            Allocator::Slub => "slub",
            Allocator::Slab => "slab",
            Allocator::Slob => "slob",
        }
    }

    /// The allocator with this name.
    pub fn from_name(name: &str) -> Option<Allocator> {
        Allocator::ALL.iter().copied().find(|a| a.name() == name)
    }
}

impl fmt::Display for Allocator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A cache of objects of one size (`struct kmem_cache`).
#[derive(Clone, Debug)]
pub struct KmemCache {
    /// Bytes from one object to the next, metadata included.
    pub size: u32,
    /// Bytes of an object as its users know it.
    pub object_size: u32,
    /// `2^46 / size`, rounded up: an offset becomes an index without a division (`reciprocal_size`).
    pub(crate) reciprocal: u64,
    /// Where a free object keeps the pointer to the next free one.
    pub offset: u32,
    /// Where metadata begins: the object's size, or a little more.
    pub inuse: u32,
    /// Bytes of red zone before each object.
    pub red_left_pad: u32,
    /// What addresses of objects are multiples of.
    pub align: u32,
    /// `SLAB_*`.
    pub flags: SlabFlags,
    /// The order of a new slab.
    pub order: Order,
    /// Objects of a new slab.
    pub objects: u32,
    /// The order of a slab when no block of `order` is to be had.
    pub min_order: Order,
    /// Slabs with free objects that a node keeps even when they are empty.
    pub min_partial: u32,
    /// Free objects that a CPU's list of partial slabs may hold, about.
    pub cpu_partial: u32,
    /// The same as a number of slabs, each thought half full.
    pub cpu_partial_slabs: u32,
    /// Added to the mask of every new slab.
    pub allocflags: Gfp,
    /// Objects have a constructor.
    pub ctor: bool,
    /// Part of an object may be copied to user space: it has its own cache.
    pub usersize: bool,
    /// How many caches this one is, its aliases counted; -1 for those that boot before there are caches.
    pub refcount: i32,
    /// Where its descriptor lies.
    pub addr: VirtAddr,
    /// The cache's name and those that were merged into it.
    pub names: Rc<[String]>,
    /// Counters of the slow paths; those of the fast ones are with the CPUs: [`Machine::slub_stat`] has both.
    pub(crate) stat: slub::Stats,
}

impl KmemCache {
    /// The cache's name.
    pub fn name(&self) -> &str {
        &self.names[0]
    }

    /// The caches that were merged into it.
    pub fn aliases(&self) -> &[String] {
        &self.names[1..]
    }

    /// Bytes of a new slab.
    pub fn slab_bytes(&self) -> u64 {
        u64::from(self.order.pages()) << crate::mm::addr::PAGE_SHIFT
    }

    /// Is something about its objects checked?
    #[inline]
    pub fn is_debug(&self) -> bool {
        self.flags.any(SlabFlags::DEBUG_FLAGS)
    }

    /// Counted as `nr_slab_reclaimable`.
    #[inline]
    pub fn is_reclaimable(&self) -> bool {
        self.flags.any(SlabFlags::RECLAIM_ACCOUNT)
    }
}

/// What a new cache shall be (the arguments of `kmem_cache_create`).
#[derive(Clone, Copy, Debug, Default)]
pub struct CacheArgs<'a> {
    /// The name in /proc/slabinfo.
    pub name: &'a str,
    /// Bytes of an object.
    pub size: u64,
    /// What addresses shall be multiples of; 0 for the least that the architecture wants.
    pub align: u64,
    /// `SLAB_*`.
    pub flags: SlabFlags,
    /// Objects have a constructor.
    pub ctor: bool,
    /// Part of an object may be copied to user space.
    pub usersize: bool,
}

/// All caches of a machine, and the state of the allocator behind them.
#[derive(Clone, Debug)]
pub struct Caches {
    /// Which allocator it is.
    pub allocator: Allocator,
    /// Every cache by its number.
    pub all: Slots<KmemCache>,
    /// Every cache in the order of creation: /proc/slabinfo shows the last one first.
    pub order: Vec<CacheId>,
    /// The caches of `kmalloc`, by type and index.
    pub(crate) kmalloc: [[Option<CacheId>; kmalloc::CLASSES]; KmallocType::COUNT],
    /// The class of each size up to 192 bytes, in steps of 8.
    pub(crate) size_index: [u8; kmalloc::SMALL / 8],
    /// SLUB's own state.
    pub slub: slub::State,
    /// SLAB's.
    pub slab: slab::State,
    /// SLOB's.
    pub slob: slob::State,
    /// The last object that was given out.
    pub last: Option<LastSlabAlloc>,
    /// Descriptors of new caches are objects themselves.
    pub(crate) booted: bool,
    /// Objects whose constructor the script has still to run: cache and first address of each new slab.
    pub constructed: Vec<(CacheId, VirtAddr, u32)>,
    /// The address of the direct map that would be physical 0.
    pub(crate) direct_map: u64,
    /// CPUs of the machine.
    pub(crate) cpus: usize,
}

/// Which way an allocation went; `explain()` tells it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SlabPath {
    /// From the CPU's own free list.
    Fastpath,
    /// Objects of the CPU's slab that other CPUs had freed.
    Refill,
    /// From a slab of the CPU's partial list.
    CpuPartial,
    /// From a slab of the node's partial list; so many more were taken along.
    NodePartial {
        /// Slabs that went to the CPU's partial list.
        taken_along: u32,
    },
    /// From a new slab of this order.
    NewSlab {
        /// The slab's order.
        order: Order,
    },
    /// Pages straight from the buddy allocator.
    Large {
        /// The block's order.
        order: Order,
    },
    /// Another allocator than SLUB gave it.
    Other(&'static str),
}

/// The last object that was given out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LastSlabAlloc {
    /// When it was, among page allocations and faults.
    pub at: u64,
    /// The cache; `None` for a large kmalloc.
    pub cache: Option<CacheId>,
    /// Bytes asked for.
    pub requested: u64,
    /// The mask.
    pub gfp: Gfp,
    /// The object.
    pub addr: VirtAddr,
    /// Where it came from.
    pub path: SlabPath,
}

impl Caches {
    /// No caches yet.
    pub fn new(allocator: Allocator, cpus: usize) -> Caches {
        Caches {
            allocator,
            all: Slots::default(),
            order: Vec::new(),
            kmalloc: Default::default(),
            size_index: Default::default(),
            slub: slub::State::default(),
            slab: slab::State::default(),
            slob: slob::State::default(),
            last: None,
            booted: false,
            constructed: Vec::new(),
            direct_map: 0,
            cpus,
        }
    }

    /// The cache that goes by a name, an alias too; the newest if there are several.
    pub fn find(&self, name: &str) -> Option<CacheId> {
        let has = |id: &&CacheId| self.all[**id].names.iter().any(|n| n == name);
        let own = |id: &&CacheId| self.all[**id].name() == name;
        self.order.iter().rev().find(own).or_else(|| self.order.iter().rev().find(has)).copied()
    }

    /// The cache whose descriptor lies at an address.
    pub fn at(&self, addr: VirtAddr) -> Option<CacheId> {
        self.order.iter().copied().find(|id| self.all[*id].addr == addr)
    }

    /// The kmalloc cache of a type and an index.
    #[inline]
    pub fn kmalloc_cache(&self, kind: KmallocType, index: usize) -> Option<CacheId> {
        self.kmalloc[kind as usize].get(index).copied().flatten()
    }

    /// Every slab is shared with the copy that is about to be made.
    pub(crate) fn share(&mut self) {
        self.slub.slabs.share();
    }
}

impl Arch {
    /// Bytes of a pointer.
    pub fn pointer_bytes(self) -> u32 {
        if self.is_64bit() { 8 } else { 4 }
    }

    /// Bytes of a cache line (`cache_line_size()`).
    pub fn cache_line(self) -> u32 {
        64
    }

    /// The least alignment of objects (`ARCH_SLAB_MINALIGN`): that of a `long long`.
    pub fn slab_minalign(self) -> u32 {
        8
    }

    /// The smallest kmalloc object, and the least alignment of one (`ARCH_KMALLOC_MINALIGN`).
    pub fn kmalloc_min_size(self) -> u32 {
        if self == Arch::Arm64 { 128 } else { 8 }
    }
}
