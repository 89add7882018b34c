//! Slab caches and kmalloc: objects smaller than a page.
//!
//! Gorman chapter 8. Kernel: `mm/slab_common.c`, `mm/slub.c`.

mod explain;
mod kmalloc;
mod properties;
mod tables;
pub mod tools;
pub mod views;

pub use explain::explain;

use crate::mm::Machine;
use crate::mm::addr::VirtAddr;
use crate::mm::slab_common::{Allocator, CacheArgs, CacheId, SlabFlags};
use crate::script::answer::{OrErrno, ScriptResult, answer, misuse, oops};
use crate::script::args::{self, Addr, Address, GfpMask, Size};
use crate::script::bench::{Bench, Desk};
use crate::script::constants::Constant;
use crate::script::handles::CacheRef;
use crate::script::suggest::nearest;
use crate::script::takes::NodeNumber;
use crate::script::told::Told;
use rhai::FnPtr;
use rhai::plugin::*;

/// All of the chapter.
pub fn module() -> Module {
    let mut module = exported_module!(functions);
    combine_with_exported_module!(&mut module, "kmalloc", kmalloc::functions);
    combine_with_exported_module!(&mut module, "properties", properties::functions);
    combine_with_exported_module!(&mut module, "tables", tables::functions);
    module
}

/// Flags of a cache: `SLAB_POISON`.
pub fn constants() -> Vec<Constant> {
    let flags = SlabFlags::ALL.iter().filter(|(name, ..)| !name.starts_with("__"));
    flags.map(|&(name, flag, doc)| Constant::bits(name, flag.0.into(), doc)).collect()
}

/// Slab caches and kmalloc: objects smaller than a page.
#[export_module]
pub mod functions {
    pub type Cache = CacheRef;

    /// Creates a cache of objects of one size, or finds one that serves as well: then it is an alias of that one.
    ///
    /// `align` is 0 for the least that the architecture wants; `flags` are `SLAB_…`. A constructor is called with the
    /// address of every object of a new slab.
    ///
    /// ```vmlab
    /// > let c = kmem_cache_create("widget", 2500, 0, SLAB_HWCACHE_ALIGN);
    /// > [c.name, c.objsize, c.size, c.order]
    /// "widget"
    /// 2500
    /// 2560
    /// 3
    /// > kmem_cache_create("gadget", 2550, 0, SLAB_HWCACHE_ALIGN).name
    /// widget
    /// > let d = kmem_cache_create("built", 64, 0, 0, |addr| kwrite(addr, 7));
    /// > kread(kmem_cache_alloc(d, GFP_KERNEL))
    /// 7
    /// > kmem_cache_create("bad", 64, 3, 0)
    /// EINVAL (Invalid argument)
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
    /// kmem_cache kmalloc-64 objsize=64 order=0 objects=0/0 slabs=0
    /// > kmem_cache("kmaloc-64")
    /// error: there is no cache "kmaloc-64"; did you mean kmalloc-64?
    ///  --> 1:12
    ///   |
    /// 1 | kmem_cache("kmaloc-64")
    ///   |            ^^^^^^^^^^^
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
    /// > let a = kmem_cache_alloc(c, GFP_KERNEL);
    /// > kmem_cache_alloc(c, GFP_KERNEL) - a
    /// 1000
    /// > [c.active_objs, c.num_objs, c.num_slabs]
    /// [8, 8, 1]
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
    /// > virt_to_page(kmem_cache_alloc_node(c, GFP_KERNEL, 1)).node
    /// 1
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

    /// Gives an object back to its cache; what the kernel itself holds stays.
    ///
    /// ```vmlab
    /// > let c = kmem_cache_create("poisoned", 32, 0, SLAB_POISON|SLAB_RED_ZONE|SLAB_STORE_USER);
    /// > let a = kmem_cache_alloc(c, GFP_KERNEL);
    /// > kmem_cache_free(c, a);
    /// > kwrite(a + 8, 0x42);
    /// > kmem_cache_alloc(c, GFP_KERNEL) == a
    /// false
    /// > log | tail -23
    /// [    0.000000] -----------------------------------------------------------------------------
    /// [    0.000000]
    /// [    0.000000] 0xffff888000401010-0xffff888000401017 @offset=16. First byte 0x42 instead of 0x6b
    /// [    0.000000] Allocated in script age=0 cpu=0 pid=24
    /// [    0.000000] Freed in script age=0 cpu=0 pid=24
    /// [    0.000000] Slab 0xffffea0000010040 objects=32 used=1 fp=0xffff888000401088 flags=0x7ffffc0000200(slab|node=0|zone=0|lastcpupid=0x1fffff)
    /// [    0.000000] Object 0xffff888000401008 @offset=8 fp=0x0000000000000000
    /// [    0.000000]
    /// [    0.000000] Redzone  ffff888000401000: bb bb bb bb bb bb bb bb                          ........
    /// [    0.000000] Object   ffff888000401008: 6b 6b 6b 6b 6b 6b 6b 6b 42 00 00 00 00 00 00 00  kkkkkkkkB.......
    /// [    0.000000] Object   ffff888000401018: 6b 6b 6b 6b 6b 6b 6b 6b 6b 6b 6b 6b 6b 6b 6b a5  kkkkkkkkkkkkkkk.
    /// [    0.000000] Redzone  ffff888000401028: bb bb bb bb bb bb bb bb                          ........
    /// [    0.000000] Padding  ffff888000401078: 5a 5a 5a 5a 5a 5a 5a 5a                          ZZZZZZZZ
    /// [    0.000000] CPU: 0 PID: 24 Comm: script Not tainted 6.1.0-vmlab #1
    /// [    0.000000] Call Trace:
    /// [    0.000000]  <TASK>
    /// [    0.000000]  dump_stack_lvl
    /// [    0.000000]  print_trailer
    /// [    0.000000]  check_bytes_and_report
    /// [    0.000000]  check_object
    /// [    0.000000]  </TASK>
    /// [    0.000000] FIX poisoned: Restoring Poison 0xffff888000401010-0xffff888000401017=0x6b
    /// [    0.000000] FIX poisoned: Marking all objects used
    /// > kmem_cache_free(kmem_cache("kmalloc-8"), a)
    /// cache_from_obj: Wrong slab cache. kmalloc-8 but object is from poisoned
    ///   0xffff888000401008 goes back to poisoned: it stays in use
    /// > let p = spawn("victim");
    /// > kmem_cache_free(kmem_cache("task_struct"), ps(p).rows[0].task)
    /// error: kmem_cache_free: 0xffff888000408000 is the task_struct of task 3, which the kernel itself uses: it stays
    ///   a kernel would free it, and die of it later; free what kmalloc or kmem_cache_alloc gave you
    /// ```
    ///
    /// Kernel: `kmem_cache_free`, `mm/slub.c`. Gorman: 8.3.
    #[rhai_fn(return_raw)]
    pub fn kmem_cache_free(ctx: NativeCallContext, cache: Cache, addr: Addr) -> ScriptResult<()> {
        let addr = args::addr("the address", &addr)?;
        let bench = Bench::of(&ctx);
        let mut desk = bench.borrow_mut();
        let id = cache.id(&desk)?;
        super::not_held(&desk.machine, "kmem_cache_free", addr)?;
        oops(desk.machine.kmem_cache_free(id, VirtAddr(addr)))
    }

    /// Gives back the empty slabs of a cache; answers the slabs that are left.
    ///
    /// ```vmlab
    /// > let c = kmem_cache_create("widget", 1000, 0, 0);
    /// > kmem_cache_free(c, kmem_cache_alloc(c, GFP_KERNEL));
    /// > c.num_slabs
    /// 1
    /// > kmem_cache_shrink(c)
    /// 0
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
    /// > kmem_cache_destroy(c);
    /// > c.name
    /// error: use after free: the cache widget was destroyed after this handle was made
    ///  --> 1:3
    ///   |
    /// 1 | c.name
    ///   |   ^^^^
    /// > let d = kmem_cache_create("kept", 1000, 0, 0);
    /// > kmem_cache_alloc(d, GFP_KERNEL);
    /// > kmem_cache_destroy(d)
    /// kmem_cache_destroy kept: Slab cache still has objects
    ///   1 of its objects are in use: free them first; the cache stays as it was
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

    /// Gives back empty slabs; answers the pages that came back.
    ///
    /// On a machine with SLAB as 2.4 did under pressure: of ten caches, the one with most free slabs gives four fifths
    /// of them back, and the next call looks at the next ten. SLUB keeps few: every cache gives back what it has.
    ///
    /// ```vmlab
    /// > kfree(kmalloc(64, GFP_KERNEL));
    /// > kmem_cache_reap()
    /// 1
    /// > boot(#{ mem: "64M", slab: "slab" });
    /// > for n in 0..1000 { lookup(`/tmp/${n}`); }
    /// > echo("2", "/proc/sys/vm/drop_caches");
    /// > let freed = 0; for n in 0..30 { freed += kmem_cache_reap(); }
    /// > freed
    /// 15
    /// ```
    ///
    /// Kernel: `kmem_cache_reap`, `mm/slab.c` of 2.4; today `cache_reap`. Gorman: 8.1.7.
    pub fn kmem_cache_reap(ctx: NativeCallContext) -> i64 {
        let bench = Bench::of(&ctx);
        let machine = &mut bench.borrow_mut().machine;
        if machine.caches.allocator == Allocator::Slab {
            return machine.kmem_cache_reap() as i64;
        }
        let before = machine.nr_free_and_pcp_pages();
        for id in machine.caches.order.clone() {
            machine.kmem_cache_shrink(id);
        }
        machine.nr_free_and_pcp_pages().saturating_sub(before) as i64
    }

    /// Looks at every object of a debugged cache; answers how many complaints went to the log.
    ///
    /// ```vmlab
    /// > let c = kmem_cache_create("zoned", 32, 0, SLAB_RED_ZONE);
    /// > let a = kmem_cache_alloc(c, GFP_KERNEL);
    /// > kwrite(a + 32, 0);
    /// > validate_slab_cache(c)
    /// 1
    /// > log | grep FIX
    /// [    0.000000] FIX zoned: Restoring Right Redzone 0xffff888000401028-0xffff88800040102f=0xcc
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
}

/// A script may free what scripts took: never what the simulated kernel itself holds, and would go on using.
pub fn not_held(machine: &Machine, call: &str, addr: u64) -> ScriptResult<()> {
    match machine.holder_of_object(VirtAddr(addr)) {
        None => Ok(()),
        Some(holder) => misuse(format!(
            "{call}: {} is {holder}, which the kernel itself uses: it stays\n  a kernel would free it, and die of it later; free what kmalloc or kmem_cache_alloc gave you",
            VirtAddr(addr)
        )),
    }
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
        let given = desk.machine.kmem_cache_alloc_node(id, gfp, node);
        desk.told = if given.is_ok() { Told::Object } else { Told::Pages };
        crate::script::task::alive(&desk)?;
        given
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
