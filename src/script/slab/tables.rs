//! Tables of caches and slabs: crash's `kmem -s` and `kmem -S`, `slabinfo`, `slabtop`.
//!
//! Gorman 8.1, 8.2. Kernel: `struct kmem_cache`, `include/linux/slub_def.h`; `tools/vm/slabinfo.c`.

use super::{named, tools, views};
use crate::mm::slab_common::CacheId;
use crate::script::answer::ScriptResult;
use crate::script::bench::Bench;
use crate::script::table::Table;
use rhai::plugin::*;

/// Tables of caches and slabs: as crash, `slabinfo` and `slabtop` show them.
#[export_module]
pub mod functions {
    /// Slab caches with their objects: `kmem -s`; one cache, or the one whose slab holds an address.
    ///
    /// ```vmlab
    /// > kmalloc(100, GFP_KERNEL);
    /// > kmem -s kmalloc-128
    /// CACHE             OBJSIZE  ALLOCATED     TOTAL  SLABS  SSIZE  NAME
    /// ffff888000001700      128          1        32      1     4k  kmalloc-128
    /// > slab_caches().rows.len > 50
    /// true
    /// ```
    ///
    /// Kernel: `struct kmem_cache`, `include/linux/slub_def.h`. Gorman: 8.1.
    pub fn slab_caches(ctx: NativeCallContext) -> Table {
        let bench = Bench::of(&ctx);
        let desk = bench.borrow();
        views::caches(&desk.machine, desk.machine.caches.order.iter().rev().copied())
    }

    #[rhai_fn(name = "slab_caches", return_raw)]
    pub fn slab_caches_of(ctx: NativeCallContext, name: Dynamic) -> ScriptResult<Table> {
        let bench = Bench::of(&ctx);
        let desk = bench.borrow();
        let id = named(&desk, &name)?;
        Ok(views::caches(&desk.machine, std::iter::once(id)))
    }

    #[rhai_fn(name = "slab_caches", return_raw)]
    pub fn slab_caches_without(ctx: NativeCallContext, name: &str, ignore: &str) -> ScriptResult<Table> {
        let bench = Bench::of(&ctx);
        let desk = bench.borrow();
        let machine = &desk.machine;
        let only = if name.is_empty() { None } else { Some(named(&desk, &name.into())?) };
        let left_out: Vec<CacheId> = ignore
            .split(',')
            .filter(|name| !name.is_empty())
            .map(|name| named(&desk, &name.into()))
            .collect::<ScriptResult<_>>()?;
        let ids = machine.caches.order.iter().rev().copied();
        let ids = ids.filter(|id| only.is_none_or(|only| only == *id) && !left_out.contains(id));
        Ok(views::caches(machine, ids))
    }

    /// The slabs of a cache: what each CPU and each node has of it: `kmem -S`.
    ///
    /// ```vmlab
    /// > let c = kmem_cache_create("big", 1000, 0, 0);
    /// > kmem_cache_alloc(c, GFP_KERNEL);
    /// > kmem -S big
    /// CACHE             OBJSIZE  ALLOCATED     TOTAL  SLABS  SSIZE  NAME
    /// ffff888000400000     1000          1         8      1     8k  big
    /// CPU 0 KMEM_CACHE_CPU:
    ///   ffff888000231220
    /// CPU 0 SLAB:
    ///   SLAB              MEMORY            NODE  TOTAL  ALLOCATED  FREE
    ///   ffffea0000010080  ffff888000402000     0      8          1     7
    ///   FREE / [ALLOCATED]
    ///   [ffff888000402000]
    ///    ffff8880004023e8  (cpu 0 cache)
    ///    ffff8880004027d0  (cpu 0 cache)
    ///    ffff888000402bb8  (cpu 0 cache)
    ///    ffff888000402fa0  (cpu 0 cache)
    ///    ffff888000403388  (cpu 0 cache)
    ///    ffff888000403770  (cpu 0 cache)
    ///    ffff888000403b58  (cpu 0 cache)
    /// CPU 0 PARTIAL:
    ///   (empty)
    /// KMEM_CACHE_NODE   NODE  SLABS  PARTIAL  PER-CPU
    /// ffff8880004000c0     0      1        0        1
    /// NODE 0 PARTIAL:
    ///   (empty)
    /// NODE 0 FULL:
    ///   (empty)
    /// ```
    ///
    /// Kernel: `struct kmem_cache_cpu`, `struct kmem_cache_node`. Gorman: 8.2.
    #[rhai_fn(return_raw)]
    pub fn slab_lists(ctx: NativeCallContext, cache: Dynamic) -> ScriptResult<Table> {
        let bench = Bench::of(&ctx);
        let desk = bench.borrow();
        let id = named(&desk, &cache)?;
        Ok(views::slabs(&desk.machine, id))
    }

    /// What caches waste: one line for each that has a slab; with a name, everything about that one.
    ///
    /// Loss is what no object has, Lalig what alignment and metadata take of objects in use, Lpadd the ends of slabs.
    ///
    /// ```vmlab
    /// > let c = kmem_cache_create("odd", 1000, 0, 0);
    /// > kmem_cache_alloc(c, GFP_KERNEL);
    /// > slabinfo odd
    ///
    /// Slabcache: odd              Aliases:  0 Order : 1 Objects: 1
    ///
    /// Sizes (bytes)     Slabs              Debug                Memory
    /// ------------------------------------------------------------------------
    /// Object :    1000  Total  :       1   Sanity Checks : Off  Total:    8192
    /// SlabObj:    1000  Full   :       0   Redzoning     : Off  Used :    1000
    /// SlabSiz:    8192  Partial:       0   Poisoning     : Off  Loss :    7192
    /// Loss   :       0  CpuSlab:       1   Tracking      : Off  Lalig:       0
    /// Align  :       8  Objects:       8   Tracing       : Off  Lpadd:     192
    ///
    /// 192 bytes at the end of each slab hold no object
    ///
    /// Counters
    ///   alloc_slowpath                  1  Allocations that had to find a slab.
    ///   alloc_slab                      1  New slabs.
    /// ```
    ///
    /// Kernel: `tools/vm/slabinfo.c`.
    pub fn slabinfo(ctx: NativeCallContext) -> Table {
        tools::all(&Bench::of(&ctx).borrow().machine)
    }

    #[rhai_fn(name = "slabinfo", return_raw)]
    pub fn slabinfo_of(ctx: NativeCallContext, cache: Dynamic) -> ScriptResult<Table> {
        let bench = Bench::of(&ctx);
        let desk = bench.borrow();
        let id = named(&desk, &cache)?;
        Ok(tools::one(&desk.machine, id))
    }

    /// Caches by number of objects, the largest first.
    ///
    /// ```vmlab
    /// > kmalloc(8, GFP_KERNEL);
    /// > slabtop | tail -n +7 | head -2
    ///      0      0   0%    0.12K      0       32         0K kmalloc-128
    ///      0      0   0%    0.09K      0       42         0K kmalloc-96
    /// ```
    ///
    /// Kernel: /proc/slabinfo.
    pub fn slabtop(ctx: NativeCallContext) -> Table {
        tools::top(&Bench::of(&ctx).borrow().machine)
    }
}
