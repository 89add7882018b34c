//! Slab caches and kmalloc: objects smaller than a page.
//!
//! Gorman chapter 8. Kernel: `mm/slab_common.c`, `mm/slub.c`.

mod explain;
pub mod tools;
pub mod views;

pub use explain::explain;

use crate::mm::addr::VirtAddr;
use crate::mm::errno::Errno;
use crate::mm::gfp::Gfp;
use crate::mm::slab_common::{CacheArgs, CacheId, SlabFlags};
use crate::script::answer::{OrErrno, ScriptResult, answer, misuse, oops};
use crate::script::args::{self, Addr, Address, GfpMask, Size};
use crate::script::bench::{Bench, Desk};
use crate::script::constants::Constant;
use crate::script::handles::CacheRef;
use crate::script::suggest::nearest;
use crate::script::table::Table;
use crate::script::takes::NodeNumber;
use rhai::FnPtr;
use rhai::plugin::*;

/// Flags of a cache: `SLAB_POISON`.
pub fn constants() -> Vec<Constant> {
    let flags = SlabFlags::ALL.iter().filter(|(name, ..)| !name.starts_with("__"));
    flags.map(|&(name, flag, doc)| Constant::bits(name, flag.0.into(), doc)).collect()
}

/// Slab caches and kmalloc: objects smaller than a page.
#[export_module]
pub mod functions {
    pub type Cache = CacheRef;

    /// Allocates memory of the kernel from the size class that fits.
    ///
    /// ```vmlab
    /// > let a = kmalloc(100, GFP_KERNEL);
    /// error: no such function: kmalloc
    ///  --> 1:9
    ///   |
    /// 1 | let a = kmalloc(100, GFP_KERNEL);
    ///   |         ^^^^^^^
    ///   help: did you mean vmalloc or vzalloc?
    /// > ksize(a)
    /// error: no such name: a
    ///  --> 1:7
    ///   |
    /// 1 | ksize(a)
    ///   |       ^
    /// > kfree(a);
    /// error: no such name: a
    ///  --> 1:7
    ///   |
    /// 1 | kfree(a);
    ///   |       ^
    /// > kmalloc(0, GFP_KERNEL)
    /// error: no such function: kmalloc
    ///   help: did you mean vmalloc or vzalloc?
    /// > kmalloc("5M", GFP_KERNEL)
    /// error: no such function: kmalloc
    ///   help: did you mean vmalloc or vzalloc?
    /// ```
    ///
    /// Kernel: `__kmalloc`, `mm/slab_common.c`. Gorman: 8.4.
    #[rhai_fn(return_raw)]
    pub fn kmalloc(ctx: NativeCallContext, size: Size, gfp: GfpMask) -> ScriptResult<OrErrno<Address>> {
        super::take(&ctx, args::size("the size", &size)?, &gfp, Gfp::NONE, None)
    }

    /// Allocates memory of the kernel filled with zeros.
    ///
    /// ```vmlab
    /// > kread(kzalloc(64, GFP_KERNEL))
    /// error: no such function: kzalloc
    ///  --> 1:7
    ///   |
    /// 1 | kread(kzalloc(64, GFP_KERNEL))
    ///   |       ^^^^^^^
    ///   help: did you mean vzalloc or vmalloc?
    /// ```
    ///
    /// Kernel: `kzalloc`, `include/linux/slab.h`. Gorman: 8.4.
    #[rhai_fn(return_raw)]
    pub fn kzalloc(ctx: NativeCallContext, size: Size, gfp: GfpMask) -> ScriptResult<OrErrno<Address>> {
        super::take(&ctx, args::size("the size", &size)?, &gfp, Gfp::ZERO, None)
    }

    /// Allocates memory of the kernel near a node.
    ///
    /// ```vmlab
    /// > boot("x86_64-numa2");
    /// > virt_to_page(kmalloc_node(64, GFP_KERNEL, 1)).node
    /// error: no such function: kmalloc_node
    ///  --> 1:14
    ///   |
    /// 1 | virt_to_page(kmalloc_node(64, GFP_KERNEL, 1)).node
    ///   |              ^^^^^^^^^^^^
    /// ```
    ///
    /// Kernel: `__kmalloc_node`, `mm/slab_common.c`.
    #[rhai_fn(return_raw)]
    pub fn kmalloc_node(
        ctx: NativeCallContext,
        size: Size,
        gfp: GfpMask,
        nid: NodeNumber,
    ) -> ScriptResult<OrErrno<Address>> {
        super::take(&ctx, args::size("the size", &size)?, &gfp, Gfp::NONE, Some(nid))
    }

    /// Allocates room for `n` elements, filled with zeros; a product that overflows is refused.
    ///
    /// ```vmlab
    /// > ksize(kcalloc(10, 50, GFP_KERNEL))
    /// error: no such function: kcalloc
    ///  --> 1:7
    ///   |
    /// 1 | ksize(kcalloc(10, 50, GFP_KERNEL))
    ///   |       ^^^^^^^
    ///   help: did you mean vmalloc or vzalloc?
    /// > kcalloc(0x7fffffffffffffff, 16, GFP_KERNEL)
    /// error: no such function: kcalloc
    ///   help: did you mean vmalloc or vzalloc?
    /// ```
    ///
    /// Kernel: `kcalloc`, `include/linux/slab.h`.
    #[rhai_fn(return_raw)]
    pub fn kcalloc(
        ctx: NativeCallContext,
        n: i64,
        size: Size,
        gfp: GfpMask,
    ) -> ScriptResult<OrErrno<Address>> {
        let Ok(n) = u64::try_from(n) else {
            return misuse(format!("{n} elements: a number cannot be negative"));
        };
        match n.checked_mul(args::size("the size", &size)?) {
            Some(bytes) => super::take(&ctx, bytes, &gfp, Gfp::ZERO, None),
            None => Ok(answer::<Address>(Err(Errno::ENOMEM))),
        }
    }

    /// Makes what `kmalloc` gave larger or smaller: in place when its class has room, else moved with its bytes.
    ///
    /// ```vmlab
    /// > let a = kmalloc(100, GFP_KERNEL);
    /// error: no such function: kmalloc
    ///  --> 1:9
    ///   |
    /// 1 | let a = kmalloc(100, GFP_KERNEL);
    ///   |         ^^^^^^^
    ///   help: did you mean vmalloc or vzalloc?
    /// > kwrite(a, 42);
    /// error: no such name: a
    ///  --> 1:8
    ///   |
    /// 1 | kwrite(a, 42);
    ///   |        ^
    /// > krealloc(a, 128, GFP_KERNEL) == a
    /// error: no such name: a
    ///  --> 1:10
    ///   |
    /// 1 | krealloc(a, 128, GFP_KERNEL) == a
    ///   |          ^
    /// > let b = krealloc(a, 300, GFP_KERNEL);
    /// error: no such name: a
    ///  --> 1:18
    ///   |
    /// 1 | let b = krealloc(a, 300, GFP_KERNEL);
    ///   |                  ^
    /// > [b == a, kread(b), ksize(b)]
    /// error: no such name: b
    ///  --> 1:2
    ///   |
    /// 1 | [b == a, kread(b), ksize(b)]
    ///   |  ^
    /// ```
    ///
    /// Kernel: `krealloc`, `mm/slab_common.c`.
    #[rhai_fn(return_raw)]
    pub fn krealloc(
        ctx: NativeCallContext,
        addr: Addr,
        size: Size,
        gfp: GfpMask,
    ) -> ScriptResult<OrErrno<Address>> {
        let (addr, size) = (args::addr("the address", &addr)?, args::size("the size", &size)?);
        let gfp = args::gfp(&gfp)?;
        let bench = Bench::of(&ctx);
        let mut desk = bench.borrow_mut();
        args::zones_agree(&mut desk, gfp)?;
        let moved = oops(desk.machine.krealloc(VirtAddr(addr), size, gfp))?;
        Ok(answer(moved.map(|addr| Address(addr.0))))
    }

    /// Frees what `kmalloc` or a cache gave; `kfree(0)` does nothing.
    ///
    /// ```vmlab
    /// > let a = kmalloc(64, GFP_KERNEL);
    /// error: no such function: kmalloc
    ///  --> 1:9
    ///   |
    /// 1 | let a = kmalloc(64, GFP_KERNEL);
    ///   |         ^^^^^^^
    ///   help: did you mean vmalloc or vzalloc?
    /// > kfree(a);
    /// error: no such name: a
    ///  --> 1:7
    ///   |
    /// 1 | kfree(a);
    ///   |       ^
    /// > kfree(a)
    /// error: no such name: a
    ///  --> 1:7
    ///   |
    /// 1 | kfree(a)
    ///   |       ^
    /// ```
    ///
    /// Kernel: `kfree`, `mm/slab_common.c`. Gorman: 8.4.
    #[rhai_fn(return_raw)]
    pub fn kfree(ctx: NativeCallContext, addr: Addr) -> ScriptResult<()> {
        let addr = args::addr("the address", &addr)?;
        oops(Bench::of(&ctx).borrow_mut().machine.kfree(VirtAddr(addr)))
    }

    /// How many bytes may be used of what `kmalloc` gave.
    ///
    /// ```vmlab
    /// > [ksize(kmalloc(1, GFP_KERNEL)), ksize(kmalloc(129, GFP_KERNEL)), ksize(kmalloc(20000, GFP_KERNEL))]
    /// error: no such function: kmalloc
    ///  --> 1:8
    ///   |
    /// 1 | [ksize(kmalloc(1, GFP_KERNEL)), ksize(kmalloc(129, GFP_KERNEL)), ksize(kmalloc(20000, GFP_KERNEL))]
    ///   |        ^^^^^^^
    ///   help: did you mean vmalloc or vzalloc?
    /// ```
    ///
    /// Kernel: `ksize`, `mm/slab_common.c`. Gorman: 8.4.
    #[rhai_fn(return_raw)]
    pub fn ksize(ctx: NativeCallContext, addr: Addr) -> ScriptResult<i64> {
        let addr = args::addr("the address", &addr)?;
        let bytes = oops(Bench::of(&ctx).borrow_mut().machine.ksize(VirtAddr(addr)))?;
        Ok(bytes as i64)
    }

    /// Creates a cache of objects of one size, or finds one that serves as well: then it is an alias of that one.
    ///
    /// `align` is 0 for the least that the architecture wants; `flags` are `SLAB_…`. A constructor is called with the
    /// address of every object of a new slab.
    ///
    /// ```vmlab
    /// > let c = kmem_cache_create("widget", 2500, 0, SLAB_HWCACHE_ALIGN);
    /// error: no such name: SLAB_HWCACHE_ALIGN
    ///  --> 1:46
    ///   |
    /// 1 | let c = kmem_cache_create("widget", 2500, 0, SLAB_HWCACHE_ALIGN);
    ///   |                                              ^^^^^^^^^^^^^^^^^^
    /// > [c.name, c.objsize, c.size, c.order]
    /// error: no such name: c
    ///  --> 1:2
    ///   |
    /// 1 | [c.name, c.objsize, c.size, c.order]
    ///   |  ^
    /// > kmem_cache_create("gadget", 2550, 0, SLAB_HWCACHE_ALIGN).name
    /// error: no such name: SLAB_HWCACHE_ALIGN
    ///  --> 1:38
    ///   |
    /// 1 | kmem_cache_create("gadget", 2550, 0, SLAB_HWCACHE_ALIGN).name
    ///   |                                      ^^^^^^^^^^^^^^^^^^
    /// > let d = kmem_cache_create("built", 64, 0, 0, |addr| kwrite(addr, 7));
    /// error: no such function: kmem_cache_create
    ///  --> 1:9
    ///   |
    /// 1 | let d = kmem_cache_create("built", 64, 0, 0, |addr| kwrite(addr, 7));
    ///   |         ^^^^^^^^^^^^^^^^^
    /// > kread(kmem_cache_alloc(d, GFP_KERNEL))
    /// error: no such name: d
    ///  --> 1:24
    ///   |
    /// 1 | kread(kmem_cache_alloc(d, GFP_KERNEL))
    ///   |                        ^
    /// > kmem_cache_create("bad", 64, 3, 0)
    /// error: no such function: kmem_cache_create
    /// ```
    ///
    /// Kernel: `kmem_cache_create`, `mm/slab_common.c`. Gorman: 8.1.
    #[rhai_fn(return_raw)]
    pub fn kmem_cache_create(
        ctx: NativeCallContext,
        name: &str,
        size: Size,
        align: i64,
        flags: i64,
    ) -> ScriptResult<OrErrno<Cache>> {
        super::create(&ctx, name, &size, align, flags, None)
    }

    #[rhai_fn(name = "kmem_cache_create", return_raw)]
    pub fn kmem_cache_create_ctor(
        ctx: NativeCallContext,
        name: &str,
        size: Size,
        align: i64,
        flags: i64,
        ctor: FnPtr,
    ) -> ScriptResult<OrErrno<Cache>> {
        super::create(&ctx, name, &size, align, flags, Some(ctor))
    }

    /// The cache with this name, or all of them.
    ///
    /// ```vmlab
    /// > kmem_cache("kmalloc-64")
    /// error: no such function: kmem_cache
    /// > kmem_cache("kmaloc-64")
    /// error: no such function: kmem_cache
    /// ```
    ///
    /// Kernel: `struct kmem_cache`, `include/linux/slub_def.h`.
    #[rhai_fn(return_raw)]
    pub fn kmem_cache(ctx: NativeCallContext, name: &str) -> ScriptResult<Cache> {
        let bench = Bench::of(&ctx);
        let desk = bench.borrow();
        Ok(CacheRef::new(&desk, super::find(&desk, name)?, name))
    }

    /// Allocates an object of a cache.
    ///
    /// ```vmlab
    /// > let c = kmem_cache_create("widget", 1000, 0, 0);
    /// error: no such function: kmem_cache_create
    ///  --> 1:9
    ///   |
    /// 1 | let c = kmem_cache_create("widget", 1000, 0, 0);
    ///   |         ^^^^^^^^^^^^^^^^^
    /// > let a = kmem_cache_alloc(c, GFP_KERNEL);
    /// error: no such name: c
    ///  --> 1:26
    ///   |
    /// 1 | let a = kmem_cache_alloc(c, GFP_KERNEL);
    ///   |                          ^
    /// > kmem_cache_alloc(c, GFP_KERNEL) - a
    /// error: no such name: c
    ///  --> 1:18
    ///   |
    /// 1 | kmem_cache_alloc(c, GFP_KERNEL) - a
    ///   |                  ^
    /// > [c.active_objs, c.num_objs, c.num_slabs]
    /// error: no such name: c
    ///  --> 1:2
    ///   |
    /// 1 | [c.active_objs, c.num_objs, c.num_slabs]
    ///   |  ^
    /// ```
    ///
    /// Kernel: `kmem_cache_alloc`, `mm/slub.c`. Gorman: 8.3.
    #[rhai_fn(return_raw)]
    pub fn kmem_cache_alloc(
        ctx: NativeCallContext,
        cache: Cache,
        gfp: GfpMask,
    ) -> ScriptResult<OrErrno<Address>> {
        super::take_object(&ctx, &cache, &gfp, None)
    }

    /// Allocates an object of a cache near a node.
    ///
    /// ```vmlab
    /// > boot("x86_64-numa2");
    /// > let c = kmem_cache_create("widget", 1000, 0, 0);
    /// error: no such function: kmem_cache_create
    ///  --> 1:9
    ///   |
    /// 1 | let c = kmem_cache_create("widget", 1000, 0, 0);
    ///   |         ^^^^^^^^^^^^^^^^^
    /// > virt_to_page(kmem_cache_alloc_node(c, GFP_KERNEL, 1)).node
    /// error: no such name: c
    ///  --> 1:36
    ///   |
    /// 1 | virt_to_page(kmem_cache_alloc_node(c, GFP_KERNEL, 1)).node
    ///   |                                    ^
    /// ```
    ///
    /// Kernel: `kmem_cache_alloc_node`, `mm/slub.c`.
    #[rhai_fn(return_raw)]
    pub fn kmem_cache_alloc_node(
        ctx: NativeCallContext,
        cache: Cache,
        gfp: GfpMask,
        nid: NodeNumber,
    ) -> ScriptResult<OrErrno<Address>> {
        super::take_object(&ctx, &cache, &gfp, Some(nid))
    }

    /// Gives an object back to its cache.
    ///
    /// ```vmlab
    /// > let c = kmem_cache_create("poisoned", 32, 0, SLAB_POISON|SLAB_RED_ZONE|SLAB_STORE_USER);
    /// error: no such name: SLAB_POISON
    ///  --> 1:46
    ///   |
    /// 1 | let c = kmem_cache_create("poisoned", 32, 0, SLAB_POISON|SLAB_RED_ZONE|SLAB_STORE_USER);
    ///   |                                              ^^^^^^^^^^^
    /// > let a = kmem_cache_alloc(c, GFP_KERNEL);
    /// error: no such name: c
    ///  --> 1:26
    ///   |
    /// 1 | let a = kmem_cache_alloc(c, GFP_KERNEL);
    ///   |                          ^
    /// > kmem_cache_free(c, a);
    /// error: no such name: a
    ///  --> 1:20
    ///   |
    /// 1 | kmem_cache_free(c, a);
    ///   |                    ^
    /// > kwrite(a + 8, 0x42);
    /// error: no such name: a
    ///  --> 1:8
    ///   |
    /// 1 | kwrite(a + 8, 0x42);
    ///   |        ^
    /// > kmem_cache_alloc(c, GFP_KERNEL) == a
    /// error: no such name: c
    ///  --> 1:18
    ///   |
    /// 1 | kmem_cache_alloc(c, GFP_KERNEL) == a
    ///   |                  ^
    /// > log | tail -22
    /// [    0.000000] Zone ranges:
    /// [    0.000000]   DMA      [mem 0x0000000000001000-0x0000000000ffffff]
    /// [    0.000000]   DMA32    empty
    /// [    0.000000]   Normal   empty
    /// [    0.000000]   Device   empty
    /// [    0.000000] Movable zone start for each node
    /// [    0.000000] Early memory node ranges
    /// [    0.000000]   node   0: [mem 0x0000000000001000-0x000000000009efff]
    /// [    0.000000]   node   0: [mem 0x0000000000100000-0x0000000000ffffff]
    /// [    0.000000] Initmem setup node 0 [mem 0x0000000000001000-0x0000000000ffffff]
    /// [    0.000000] On node 0, zone DMA: 1 pages in unavailable ranges
    /// [    0.000000] On node 0, zone DMA: 97 pages in unavailable ranges
    /// [    0.000000] On node 0, zone DMA: 28672 pages in unavailable ranges
    /// [    0.000000] Fallback order for Node 0: 0
    /// [    0.000000] Built 1 zonelists, mobility grouping on.  Total pages: 3008
    /// [    0.000000] Policy zone: DMA
    /// [    0.000000] Dentry cache hash table entries: 2048 (order: 2, 16384 bytes, linear)
    /// [    0.000000] Inode-cache hash table entries: 1024 (order: 1, 8192 bytes, linear)
    /// [    0.000000] Memory: 12288K/15992K available (658K kernel code, 107K rwdata, 418K rodata, 129K init, 797K bss, 3704K reserved, 0K cma-reserved)
    /// [    0.000000] SLUB: HWalign=64, Order=0-3, MinObjects=0, CPUs=1, Nodes=1
    /// > kmem_cache_free(kmem_cache("kmalloc-8"), a)
    /// error: no such function: kmem_cache
    ///  --> 1:17
    ///   |
    /// 1 | kmem_cache_free(kmem_cache("kmalloc-8"), a)
    ///   |                 ^^^^^^^^^^
    /// ```
    ///
    /// Kernel: `kmem_cache_free`, `mm/slub.c`. Gorman: 8.3.
    #[rhai_fn(return_raw)]
    pub fn kmem_cache_free(ctx: NativeCallContext, cache: Cache, addr: Addr) -> ScriptResult<()> {
        let addr = args::addr("the address", &addr)?;
        let bench = Bench::of(&ctx);
        let mut desk = bench.borrow_mut();
        let id = cache.id(&desk)?;
        oops(desk.machine.kmem_cache_free(id, VirtAddr(addr)))
    }

    /// Gives back the empty slabs of a cache; answers the slabs that are left.
    ///
    /// ```vmlab
    /// > let c = kmem_cache_create("widget", 1000, 0, 0);
    /// error: no such function: kmem_cache_create
    ///  --> 1:9
    ///   |
    /// 1 | let c = kmem_cache_create("widget", 1000, 0, 0);
    ///   |         ^^^^^^^^^^^^^^^^^
    /// > kmem_cache_free(c, kmem_cache_alloc(c, GFP_KERNEL));
    /// error: no such name: c
    ///  --> 1:37
    ///   |
    /// 1 | kmem_cache_free(c, kmem_cache_alloc(c, GFP_KERNEL));
    ///   |                                     ^
    /// > c.num_slabs
    /// error: no such name: c
    /// > kmem_cache_shrink(c)
    /// error: no such name: c
    ///  --> 1:19
    ///   |
    /// 1 | kmem_cache_shrink(c)
    ///   |                   ^
    /// ```
    ///
    /// Kernel: `kmem_cache_shrink`, `mm/slab_common.c`. Gorman: 8.1.3.
    #[rhai_fn(return_raw)]
    pub fn kmem_cache_shrink(ctx: NativeCallContext, cache: Cache) -> ScriptResult<i64> {
        let bench = Bench::of(&ctx);
        let mut desk = bench.borrow_mut();
        let id = cache.id(&desk)?;
        desk.machine.kmem_cache_shrink(id);
        Ok(desk.machine.cache_census(id).slabs as i64)
    }

    /// Gives up a cache; one with objects in use stays.
    ///
    /// ```vmlab
    /// > let c = kmem_cache_create("widget", 1000, 0, 0);
    /// error: no such function: kmem_cache_create
    ///  --> 1:9
    ///   |
    /// 1 | let c = kmem_cache_create("widget", 1000, 0, 0);
    ///   |         ^^^^^^^^^^^^^^^^^
    /// > kmem_cache_destroy(c);
    /// error: no such name: c
    ///  --> 1:20
    ///   |
    /// 1 | kmem_cache_destroy(c);
    ///   |                    ^
    /// > c.name
    /// error: no such name: c
    /// > let d = kmem_cache_create("kept", 1000, 0, 0);
    /// error: no such function: kmem_cache_create
    ///  --> 1:9
    ///   |
    /// 1 | let d = kmem_cache_create("kept", 1000, 0, 0);
    ///   |         ^^^^^^^^^^^^^^^^^
    /// > kmem_cache_alloc(d, GFP_KERNEL);
    /// error: no such name: d
    ///  --> 1:18
    ///   |
    /// 1 | kmem_cache_alloc(d, GFP_KERNEL);
    ///   |                  ^
    /// > kmem_cache_destroy(d)
    /// error: no such name: d
    ///  --> 1:20
    ///   |
    /// 1 | kmem_cache_destroy(d)
    ///   |                    ^
    /// ```
    ///
    /// Kernel: `kmem_cache_destroy`, `mm/slab_common.c`. Gorman: 8.1.5.
    #[rhai_fn(return_raw)]
    pub fn kmem_cache_destroy(ctx: NativeCallContext, cache: Cache) -> ScriptResult<()> {
        let bench = Bench::of(&ctx);
        let mut desk = bench.borrow_mut();
        let id = cache.id(&desk)?;
        oops(desk.machine.kmem_cache_destroy(id, &cache.name))
    }

    /// Gives back the empty slabs of every cache; answers the pages that came back.
    ///
    /// SLAB did so under pressure, one cache at a time; SLUB keeps few, and `kmem_cache_shrink` takes those.
    ///
    /// ```vmlab
    /// > kfree(kmalloc(64, GFP_KERNEL));
    /// error: no such function: kmalloc
    ///  --> 1:7
    ///   |
    /// 1 | kfree(kmalloc(64, GFP_KERNEL));
    ///   |       ^^^^^^^
    ///   help: did you mean vmalloc or vzalloc?
    /// > kmem_cache_reap()
    /// error: no such function: kmem_cache_reap
    /// ```
    ///
    /// Kernel: `kmem_cache_reap`, 2.4 and SLAB; `cache_reap`, `mm/slab.c`. Gorman: 8.1.2.
    pub fn kmem_cache_reap(ctx: NativeCallContext) -> i64 {
        let bench = Bench::of(&ctx);
        let mut desk = bench.borrow_mut();
        let before = desk.machine.nr_free_and_pcp_pages();
        for id in desk.machine.caches.order.clone() {
            desk.machine.kmem_cache_shrink(id);
        }
        desk.machine.nr_free_and_pcp_pages().saturating_sub(before) as i64
    }

    /// Looks at every object of a debugged cache; answers how many complaints went to the log.
    ///
    /// ```vmlab
    /// > let c = kmem_cache_create("zoned", 32, 0, SLAB_RED_ZONE);
    /// error: no such name: SLAB_RED_ZONE
    ///  --> 1:43
    ///   |
    /// 1 | let c = kmem_cache_create("zoned", 32, 0, SLAB_RED_ZONE);
    ///   |                                           ^^^^^^^^^^^^^
    /// > let a = kmem_cache_alloc(c, GFP_KERNEL);
    /// error: no such name: c
    ///  --> 1:26
    ///   |
    /// 1 | let a = kmem_cache_alloc(c, GFP_KERNEL);
    ///   |                          ^
    /// > kwrite(a + 32, 0);
    /// error: no such name: a
    ///  --> 1:8
    ///   |
    /// 1 | kwrite(a + 32, 0);
    ///   |        ^
    /// > validate_slab_cache(c)
    /// error: no such name: c
    ///  --> 1:21
    ///   |
    /// 1 | validate_slab_cache(c)
    ///   |                     ^
    /// > log | grep FIX
    /// ```
    ///
    /// Kernel: `validate_slab_cache`, `mm/slub.c`.
    #[rhai_fn(return_raw)]
    pub fn validate_slab_cache(ctx: NativeCallContext, cache: Cache) -> ScriptResult<i64> {
        let bench = Bench::of(&ctx);
        let mut desk = bench.borrow_mut();
        let id = cache.id(&desk)?;
        Ok(desk.machine.validate_slab_cache(id).into())
    }

    /// The cache's name.
    #[rhai_fn(get = "name", pure, return_raw)]
    pub fn name(ctx: NativeCallContext, cache: &mut Cache) -> ScriptResult<String> {
        let bench = Bench::of(&ctx);
        let desk = bench.borrow();
        let id = cache.id(&desk)?;
        Ok(desk.machine.caches.all[id].name().to_string())
    }

    /// Bytes of an object.
    #[rhai_fn(get = "objsize", pure, return_raw)]
    pub fn objsize(ctx: NativeCallContext, cache: &mut Cache) -> ScriptResult<i64> {
        let bench = Bench::of(&ctx);
        let desk = bench.borrow();
        let id = cache.id(&desk)?;
        Ok(desk.machine.caches.all[id].object_size.into())
    }

    /// Bytes from one object to the next.
    #[rhai_fn(get = "size", pure, return_raw)]
    pub fn size(ctx: NativeCallContext, cache: &mut Cache) -> ScriptResult<i64> {
        let bench = Bench::of(&ctx);
        let desk = bench.borrow();
        let id = cache.id(&desk)?;
        Ok(desk.machine.caches.all[id].size.into())
    }

    /// Objects of all slabs.
    #[rhai_fn(get = "num_objs", pure, return_raw)]
    pub fn num_objs(ctx: NativeCallContext, cache: &mut Cache) -> ScriptResult<i64> {
        let bench = Bench::of(&ctx);
        let desk = bench.borrow();
        Ok(desk.machine.slabinfo(cache.id(&desk)?).num_objs as i64)
    }

    /// Objects that are not free on a node's partial list, as /proc/slabinfo counts.
    #[rhai_fn(get = "active_objs", pure, return_raw)]
    pub fn active_objs(ctx: NativeCallContext, cache: &mut Cache) -> ScriptResult<i64> {
        let bench = Bench::of(&ctx);
        let desk = bench.borrow();
        Ok(desk.machine.slabinfo(cache.id(&desk)?).active_objs as i64)
    }

    /// Objects in use, each looked at, as `kmem -s` counts.
    #[rhai_fn(get = "allocated", pure, return_raw)]
    pub fn allocated(ctx: NativeCallContext, cache: &mut Cache) -> ScriptResult<i64> {
        let bench = Bench::of(&ctx);
        let desk = bench.borrow();
        Ok(desk.machine.cache_census(cache.id(&desk)?).allocated as i64)
    }

    /// Slabs.
    #[rhai_fn(get = "num_slabs", pure, return_raw)]
    pub fn num_slabs(ctx: NativeCallContext, cache: &mut Cache) -> ScriptResult<i64> {
        let bench = Bench::of(&ctx);
        let desk = bench.borrow();
        Ok(desk.machine.slabinfo(cache.id(&desk)?).num_slabs as i64)
    }

    /// The order of a slab.
    #[rhai_fn(get = "order", pure, return_raw)]
    pub fn order(ctx: NativeCallContext, cache: &mut Cache) -> ScriptResult<i64> {
        let bench = Bench::of(&ctx);
        let desk = bench.borrow();
        let id = cache.id(&desk)?;
        Ok(desk.machine.caches.all[id].order.get().into())
    }

    #[rhai_fn(name = "to_string", name = "to_debug", pure)]
    pub fn cache_text(ctx: NativeCallContext, cache: &mut Cache) -> String {
        cache.text(&Bench::of(&ctx).borrow())
    }

    /// Slab caches with their objects: `kmem -s`; one cache, or the one whose slab holds an address.
    ///
    /// ```vmlab
    /// > kmalloc(100, GFP_KERNEL);
    /// error: no such function: kmalloc
    ///   help: did you mean vmalloc or vzalloc?
    /// > kmem -s kmalloc-128
    /// kmem: invalid option -- 's'
    /// Usage:
    ///   kmem [-f|-F|-i|-n|-v|-z|-V|-p|-o|-h] [-g FLAGS] [ADDRESS]
    /// Enter "help kmem" for details.
    /// > slab_caches().rows.len > 50
    /// error: no such function: slab_caches
    /// ```
    ///
    /// Kernel: `struct kmem_cache`, `include/linux/slub_def.h`. Gorman: 8.1.
    pub fn slab_caches(ctx: NativeCallContext) -> Table {
        let bench = Bench::of(&ctx);
        let desk = bench.borrow();
        super::views::caches(&desk.machine, desk.machine.caches.order.iter().rev().copied())
    }

    #[rhai_fn(name = "slab_caches", return_raw)]
    pub fn slab_caches_of(ctx: NativeCallContext, name: Dynamic) -> ScriptResult<Table> {
        let bench = Bench::of(&ctx);
        let desk = bench.borrow();
        let id = super::named(&desk, &name)?;
        Ok(super::views::caches(&desk.machine, std::iter::once(id)))
    }

    /// The slabs of a cache: what each CPU and each node has of it: `kmem -S`.
    ///
    /// ```vmlab
    /// > let c = kmem_cache_create("big", 1000, 0, 0);
    /// error: no such function: kmem_cache_create
    ///  --> 1:9
    ///   |
    /// 1 | let c = kmem_cache_create("big", 1000, 0, 0);
    ///   |         ^^^^^^^^^^^^^^^^^
    /// > kmem_cache_alloc(c, GFP_KERNEL);
    /// error: no such name: c
    ///  --> 1:18
    ///   |
    /// 1 | kmem_cache_alloc(c, GFP_KERNEL);
    ///   |                  ^
    /// > kmem -S big
    /// kmem: invalid option -- 'S'
    /// Usage:
    ///   kmem [-f|-F|-i|-n|-v|-z|-V|-p|-o|-h] [-g FLAGS] [ADDRESS]
    /// Enter "help kmem" for details.
    /// ```
    ///
    /// Kernel: `struct kmem_cache_cpu`, `struct kmem_cache_node`. Gorman: 8.2.
    #[rhai_fn(return_raw)]
    pub fn slab_lists(ctx: NativeCallContext, cache: Dynamic) -> ScriptResult<Table> {
        let bench = Bench::of(&ctx);
        let desk = bench.borrow();
        let id = super::named(&desk, &cache)?;
        Ok(super::views::slabs(&desk.machine, id))
    }

    /// What caches waste: one line for each that has a slab; with a name, everything about that one.
    ///
    /// Loss is what no object has, Lalig what alignment and metadata take of objects in use, Lpadd the ends of slabs.
    ///
    /// ```vmlab
    /// > let c = kmem_cache_create("odd", 1000, 0, 0);
    /// error: no such function: kmem_cache_create
    ///  --> 1:9
    ///   |
    /// 1 | let c = kmem_cache_create("odd", 1000, 0, 0);
    ///   |         ^^^^^^^^^^^^^^^^^
    /// > kmem_cache_alloc(c, GFP_KERNEL);
    /// error: no such name: c
    ///  --> 1:18
    ///   |
    /// 1 | kmem_cache_alloc(c, GFP_KERNEL);
    ///   |                  ^
    /// > slabinfo odd
    /// error: no such command: slabinfo
    ///   help: help lists the commands; apropos slabinfo looks inside their pages
    /// ```
    ///
    /// Kernel: `tools/vm/slabinfo.c`.
    pub fn slabinfo(ctx: NativeCallContext) -> Table {
        super::tools::all(&Bench::of(&ctx).borrow().machine)
    }

    #[rhai_fn(name = "slabinfo", return_raw)]
    pub fn slabinfo_of(ctx: NativeCallContext, cache: Dynamic) -> ScriptResult<Table> {
        let bench = Bench::of(&ctx);
        let desk = bench.borrow();
        let id = super::named(&desk, &cache)?;
        Ok(super::tools::one(&desk.machine, id))
    }

    /// Caches by number of objects, the largest first.
    ///
    /// ```vmlab
    /// > kmalloc(8, GFP_KERNEL);
    /// error: no such function: kmalloc
    ///   help: did you mean vmalloc or vzalloc?
    /// > slabtop | tail -n +7 | head -2
    /// error: no such name: slabtop
    /// ```
    ///
    /// Kernel: /proc/slabinfo.
    pub fn slabtop(ctx: NativeCallContext) -> Table {
        super::tools::top(&Bench::of(&ctx).borrow().machine)
    }
}

/// Takes memory of a size class.
fn take(
    ctx: &NativeCallContext,
    size: u64,
    gfp: &Dynamic,
    more: Gfp,
    nid: Option<i64>,
) -> ScriptResult<OrErrno<Address>> {
    let gfp = args::gfp(gfp)? | more;
    let bench = Bench::of(ctx);
    let mut desk = bench.borrow_mut();
    args::zones_agree(&mut desk, gfp)?;
    let node = node_of(&desk, nid)?;
    let given = desk.machine.kmalloc_node(size, gfp, node);
    Ok(answer(given.map(|addr| Address(addr.0))))
}

/// Takes an object, and runs the constructors of a new slab.
fn take_object(
    ctx: &NativeCallContext,
    cache: &CacheRef,
    gfp: &Dynamic,
    nid: Option<i64>,
) -> ScriptResult<OrErrno<Address>> {
    let gfp = args::gfp(gfp)?;
    let bench = Bench::of(ctx);
    let given = {
        let mut desk = bench.borrow_mut();
        args::zones_agree(&mut desk, gfp)?;
        let node = node_of(&desk, nid)?;
        let id = cache.id(&desk)?;
        desk.machine.kmem_cache_alloc_node(id, gfp, node)
    };
    construct(ctx, &bench)?;
    Ok(answer(given.map(|addr| Address(addr.0))))
}

/// Calls the constructor of every new object, with nothing borrowed.
fn construct(ctx: &NativeCallContext, bench: &Bench) -> ScriptResult<()> {
    let made = std::mem::take(&mut bench.borrow_mut().machine.caches.constructed);
    for (id, first, objects) in made {
        let (ctor, size) = {
            let desk = bench.borrow();
            let Some(cache) = desk.machine.caches.all.get(id) else { continue };
            let Some(ctor) = desk.ctors.get(&id) else { continue };
            (ctor.clone(), u64::from(cache.size))
        };
        for n in 0..u64::from(objects) {
            let _: Dynamic = ctor.call_within_context(ctx, (Address(first.0 + n * size),))?;
        }
    }
    Ok(())
}

fn node_of(desk: &Desk, nid: Option<i64>) -> ScriptResult<Option<usize>> {
    let Some(nid) = nid else { return Ok(None) };
    Ok(desk.machine.node_index(crate::script::zone::nid(desk, nid)?))
}

fn create(
    ctx: &NativeCallContext,
    name: &str,
    size: &Dynamic,
    align: i64,
    flags: i64,
    ctor: Option<FnPtr>,
) -> ScriptResult<OrErrno<CacheRef>> {
    let size = args::size("the size", size)?;
    let Ok(flags) = u32::try_from(flags) else {
        return misuse(format!("{flags:#x} is no mask of SLAB_ flags"));
    };
    let Ok(align) = u64::try_from(align) else { return misuse(format!("the alignment is {align}")) };
    if name.len() > 64 || name.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return misuse("the name of a cache is a word of at most 64 letters");
    }
    let bench = Bench::of(ctx);
    let mut desk = bench.borrow_mut();
    let args =
        CacheArgs { name, size, align, flags: SlabFlags(flags), ctor: ctor.is_some(), usersize: false };
    let made = desk.machine.kmem_cache_create(&args);
    if let (Ok(id), Some(ctor)) = (made, ctor) {
        desk.ctors.insert(id, ctor);
    }
    Ok(answer(made.map(|id| CacheRef::new(&desk, id, name))))
}

/// The cache with a name.
fn find(desk: &Desk, name: &str) -> ScriptResult<CacheId> {
    if let Some(id) = desk.machine.caches.find(name) {
        return Ok(id);
    }
    let names = desk.machine.caches.order.iter().flat_map(|id| desk.machine.caches.all[*id].names.iter());
    let near = nearest(name, names.map(String::as_str));
    let help = near.first().map(|near| format!("; did you mean {near}?")).unwrap_or_default();
    misuse(format!("there is no cache {name:?}{help}"))
}

/// The cache that an argument means: a handle, a name, the address of its descriptor or of one of its objects.
pub(crate) fn named(desk: &Desk, value: &Dynamic) -> ScriptResult<CacheId> {
    if let Some(cache) = value.read_lock::<CacheRef>() {
        return cache.id(desk);
    }
    if let Some(name) = value.read_lock::<ImmutableString>() {
        let by_name = desk.machine.caches.find(&name);
        let by_address = u64::from_str_radix(name.trim_start_matches("0x"), 16).ok();
        return match (by_name, by_address.and_then(|at| at_address(desk, at))) {
            (Some(id), _) | (None, Some(id)) => Ok(id),
            _ => find(desk, &name),
        };
    }
    let at = args::addr("the cache", value)?;
    match at_address(desk, at) {
        Some(id) => Ok(id),
        None => misuse(format!("{at:x}: no slab of a cache holds this address")),
    }
}

fn at_address(desk: &Desk, at: u64) -> Option<CacheId> {
    let of_object = desk.machine.find_object(VirtAddr(at)).map(|object| object.cache);
    desk.machine.caches.at(VirtAddr(at)).or(of_object)
}
