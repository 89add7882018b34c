//! Creating, merging and destroying caches.
//!
//! Gorman 8.1.4. Kernel: `mm/slab_common.c` (`kmem_cache_create`, `find_mergeable`, `kmem_cache_destroy`).
//! Fidelity: faithful — alignment, which caches merge and into what, refusals. Simplified — two caches of one name are
//! refused when neither can be merged, as sysfs does; a cache with objects left stays as it was when it is destroyed.

use super::{Allocator, CacheArgs, CacheId, KMALLOC_MAX_SIZE, KmemCache, SlabFlags};
use crate::mm::addr::{Order, VirtAddr};
use crate::mm::config::Arch;
use crate::mm::errno::{Errno, Oops};
use crate::mm::gfp::Gfp;
use crate::mm::machine::Machine;
use crate::mm::panic::Taint;
use crate::mm::slub;

/// The alignment of objects (`calculate_alignment`).
pub(crate) fn calculate_alignment(arch: Arch, flags: SlabFlags, align: u64, size: u64) -> u64 {
    let mut align = align;
    if flags.has(SlabFlags::HWCACHE_ALIGN) {
        // Small objects share a cache line evenly.
        let mut line = u64::from(arch.cache_line());
        while size <= line / 2 {
            line /= 2;
        }
        align = align.max(line);
    }
    align.max(u64::from(arch.slab_minalign())).next_multiple_of(u64::from(arch.pointer_bytes()))
}

impl Machine {
    /// Creates a cache, or gives an existing one that serves as well another name (`kmem_cache_create`).
    ///
    /// # Errors
    /// `EINVAL` for a flag that nobody may ask for, no size, a size above the largest block, or an alignment that is
    /// no power of two; `EEXIST` for a second cache of that name; `ENOMEM` when its descriptor finds no memory.
    pub fn kmem_cache_create(&mut self, args: &CacheArgs) -> Result<CacheId, Errno> {
        let wrong = args.size < u64::from(self.config.arch.pointer_bytes())
            || args.size > KMALLOC_MAX_SIZE
            || args.name.is_empty()
            || self.current.in_interrupt
            || (args.align != 0 && !args.align.is_power_of_two())
            || args.align > 4096
            || args.flags.0 & !SlabFlags::PERMITTED.0 != 0;
        if wrong {
            let (name, size) = (args.name, args.size);
            self.printk(format!(
                "kmem_cache_create({name}) integrity check failed: size {size}, flags {:#x}",
                args.flags.0
            ));
            return Err(Errno::EINVAL);
        }
        let mut args = *args;
        // A cache whose objects carry red zones or poison is one that is checked.
        args.flags = args.flags.with(SlabFlags::CONSISTENCY_CHECKS, args.flags.any(SlabFlags::DEBUG_FLAGS));
        if let Some(id) = self.find_mergeable(&args) {
            return Ok(self.add_alias(id, &args));
        }
        let taken = |id: &CacheId| self.caches.all[*id].name() == args.name && self.is_unmergeable(*id);
        let never = args.ctor || args.usersize || args.flags.any(SlabFlags::NEVER_MERGE);
        if never && self.caches.order.iter().any(taken) {
            self.printk(format!("sysfs: cannot create duplicate filename '/kernel/slab/{}'", args.name));
            return Err(self.creation_failed(args.name, Errno::EEXIST));
        }
        match self.insert_cache(&args) {
            Ok(id) => Ok(id),
            Err(errno) => Err(self.creation_failed(args.name, errno)),
        }
    }

    fn creation_failed(&mut self, name: &str, errno: Errno) -> Errno {
        self.printk(format!("kmem_cache_create({name}) failed with error -{}", errno.number()));
        self.dump_stack(&["kmem_cache_create_usercopy", "kmem_cache_create"]);
        errno
    }

    /// Creates a cache that is not merged.
    pub(crate) fn insert_cache(&mut self, args: &CacheArgs) -> Result<CacheId, Errno> {
        let mut cache = self.describe_cache(args).ok_or(Errno::EINVAL)?;
        cache.addr = self.alloc_descriptor()?;
        let id = self.caches.all.insert(cache);
        self.caches.order.push(id);
        if let Err(errno) = self.cache_created(id) {
            self.forget_cache(id);
            return Err(errno);
        }
        Ok(id)
    }

    /// What a cache would be like; `None` when its objects fit no block.
    pub(crate) fn describe_cache(&self, args: &CacheArgs) -> Option<KmemCache> {
        let align = calculate_alignment(self.config.arch, args.flags, args.align, args.size);
        let mut cache = KmemCache {
            size: 0,
            object_size: args.size as u32,
            reciprocal: 0,
            offset: 0,
            inuse: 0,
            red_left_pad: 0,
            align: align as u32,
            flags: args.flags,
            order: Order::ZERO,
            objects: 0,
            min_order: Order::ZERO,
            min_partial: 0,
            cpu_partial: 0,
            cpu_partial_slabs: 0,
            allocflags: Gfp::NONE,
            ctor: args.ctor,
            usersize: args.usersize,
            refcount: 1,
            addr: VirtAddr(0),
            names: [args.name.to_string()].into(),
            stat: slub::Stats::default(),
        };
        cache.flags = self.kmem_cache_flags(args.name, args.flags);
        self.calculate_sizes(&mut cache)?;
        Some(cache)
    }

    /// Could another cache not be merged into it? (`slab_unmergeable`)
    fn is_unmergeable(&self, id: CacheId) -> bool {
        let cache = &self.caches.all[id];
        cache.flags.any(SlabFlags::NEVER_MERGE) || cache.ctor || cache.usersize || cache.refcount < 0
    }

    /// A cache whose objects would serve as well (`find_mergeable`).
    fn find_mergeable(&self, args: &CacheArgs) -> Option<CacheId> {
        let word = u64::from(self.config.arch.pointer_bytes());
        let flags = self.kmem_cache_flags(args.name, args.flags);
        if args.ctor || args.usersize || flags.any(SlabFlags::NEVER_MERGE) || !self.merges_caches() {
            return None;
        }
        let size = args.size.next_multiple_of(word);
        let align = calculate_alignment(self.config.arch, args.flags, args.align, size);
        let size = size.next_multiple_of(align);
        let same = |flags: SlabFlags| flags.0 & SlabFlags::MERGE_SAME.0;
        // Its objects begin at a colour, which only the cache's own alignment respects.
        let slab = self.caches.allocator == Allocator::Slab;
        self.caches.order.iter().rev().copied().find(|id| {
            let cache = &self.caches.all[*id];
            let theirs = u64::from(cache.size);
            !self.is_unmergeable(*id)
                && size <= theirs
                && same(flags) == same(cache.flags)
                && theirs.is_multiple_of(align)
                && !(slab && args.align > u64::from(cache.align))
                && theirs - size < word
        })
    }

    /// Are caches merged? `slab_nomerge` on the command line, and SLOB, say no.
    fn merges_caches(&self) -> bool {
        let words = ["slab_nomerge", "slub_nomerge"];
        match self.caches.allocator {
            Allocator::Slub | Allocator::Slab => {
                !self.config.cmdline.split_whitespace().any(|word| words.contains(&word))
            }
            Allocator::Slob => false,
        }
    }

    /// The cache goes by one more name (`__kmem_cache_alias`).
    fn add_alias(&mut self, id: CacheId, args: &CacheArgs) -> CacheId {
        let word = u64::from(self.config.arch.pointer_bytes());
        let cache = &mut self.caches.all[id];
        cache.refcount += 1;
        cache.object_size = cache.object_size.max(args.size as u32);
        cache.inuse = cache.inuse.max(args.size.next_multiple_of(word) as u32);
        cache.names = cache.names.iter().cloned().chain([args.name.to_string()]).collect();
        id
    }

    /// Gives up a cache, or one of its names (`kmem_cache_destroy`).
    ///
    /// # Errors
    /// The kernel's complaint when objects of it are still in use: it stays as it was.
    pub fn kmem_cache_destroy(&mut self, id: CacheId, name: &str) -> Result<(), Oops> {
        let cache = &mut self.caches.all[id];
        if cache.names.len() > 1 {
            let at = cache.names.iter().rposition(|known| known == name).unwrap_or(cache.names.len() - 1);
            let left = cache.names.iter().enumerate().filter(|(n, _)| *n != at);
            cache.names = left.map(|(_, name)| name.clone()).collect();
            cache.refcount -= 1;
            return Ok(());
        }
        let name = cache.name().to_string();
        if self.shutdown_cache(id) {
            self.forget_cache(id);
            return Ok(());
        }
        let line = format!("kmem_cache_destroy {name}: Slab cache still has objects");
        self.printk(line.clone());
        self.dump_stack(&["kmem_cache_destroy"]);
        self.add_taint(Taint::Warn);
        let live = self.cache_census(id).allocated;
        Err(Oops::new(
            line,
            format!("{live} of its objects are in use: free them first; the cache stays as it was"),
        ))
    }

    /// The cache's number is stale from now on.
    fn forget_cache(&mut self, id: CacheId) {
        self.caches.order.retain(|known| *known != id);
        for class in self.caches.kmalloc.iter_mut().flatten() {
            *class = class.filter(|known| *known != id);
        }
        self.cache_gone(id);
        if let Some(cache) = self.caches.all.remove(id) {
            self.free_descriptor(cache.addr);
        }
    }

    /// Room for a cache's descriptor: an object of `kmem_cache`, once there is that cache.
    fn alloc_descriptor(&mut self) -> Result<VirtAddr, Errno> {
        match self.caches.find("kmem_cache").filter(|_| self.caches.booted) {
            Some(id) => self.slab_alloc(id, Gfp::KERNEL, None, 0),
            None => Ok(self.boot_descriptor()),
        }
    }

    /// Where the descriptor of a cache of the boot lies: in memory that memblock never handed over.
    fn boot_descriptor(&self) -> VirtAddr {
        const BYTES: u64 = 256;
        let reserved = self.mem_map.reserved().iter().filter(|(start, end)| end - start >= 16);
        let first = reserved.map(|(start, _)| *start).next().unwrap_or(0);
        let base = self.phys_to_virt(crate::mm::addr::Pfn(first).phys());
        VirtAddr(base.0 + self.caches.order.len() as u64 * BYTES)
    }

    fn free_descriptor(&mut self, addr: VirtAddr) {
        let of_cache = self.find_object(addr).is_some_and(|object| object.allocated && object.start == addr);
        if of_cache {
            let freed = self.slab_free(addr);
            debug_assert!(freed.is_ok(), "a descriptor is an object: {freed:?}");
        }
    }

    /// Gives back what is empty; true when nothing is left (`kmem_cache_shrink`).
    pub fn kmem_cache_shrink(&mut self, id: CacheId) -> bool {
        self.shrink_cache(id)
    }
}
