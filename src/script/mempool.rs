//! Memory pools.
//!
//! Kernel: `mm/mempool.c`.

use crate::mm::addr::VirtAddr;
use crate::mm::mempool::{MempoolId, Source};
use crate::script::answer::{OrErrno, ScriptResult, answer, misuse, oops};
use crate::script::args::{self, Addr, Address, GfpMask, describe};
use crate::script::bench::{Bench, Desk};
use crate::script::handles::CacheRef;
use crate::script::table::{Column, Table};
use rhai::plugin::*;

/// A pool of the machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MempoolRef {
    id: MempoolId,
    boot: u32,
}

impl MempoolRef {
    /// The pool's number, if it is still there.
    fn id(self, desk: &Desk) -> ScriptResult<MempoolId> {
        match desk.machine.mempools.get(self.id) {
            Some(_) if self.boot == desk.boots => Ok(self.id),
            _ => misuse("use after free: the pool was destroyed, or belonged to a machine that is gone"),
        }
    }

    /// `mempool min_nr=4 curr_nr=4`.
    pub fn text(self, desk: &Desk) -> String {
        match self.id(desk).map(|id| &desk.machine.mempools[id]) {
            Ok(pool) => format!("mempool min_nr={} curr_nr={}", pool.min_nr, pool.curr_nr()),
            Err(_) => "mempool (gone)".into(),
        }
    }
}

/// Memory pools.
#[export_module]
pub mod functions {
    pub type Mempool = super::MempoolRef;

    /// Makes a pool with a reserve of `min` elements: objects of a cache, or of kmalloc when a size is given.
    ///
    /// ```vmlab
    /// > mempool_create(2, kmem_cache_create("bio", 200, 0, 0))
    /// mempool min_nr=2 curr_nr=2
    /// > mempool_create(2, "vm_area_struct")
    /// mempool min_nr=2 curr_nr=2
    /// > mempool_create(4, 100)
    /// mempool min_nr=4 curr_nr=4
    /// > mempool_create(0, 100)
    /// EINVAL (Invalid argument)
    /// > mempool_create(1, "nosuch")
    /// error: there is no cache "nosuch"; kmem -s lists them
    ///  --> 1:19
    ///   |
    /// 1 | mempool_create(1, "nosuch")
    ///   |                   ^^^^^^^^
    /// ```
    ///
    /// Kernel: `mempool_create_slab_pool`, `mempool_create_kmalloc_pool`, `mm/mempool.c`.
    #[rhai_fn(return_raw)]
    pub fn mempool_create(
        ctx: NativeCallContext,
        min: i64,
        cache: Dynamic,
    ) -> ScriptResult<OrErrno<Mempool>> {
        let bench = Bench::of(&ctx);
        let mut desk = bench.borrow_mut();
        let source = super::source(&desk, &cache)?;
        super::create(&mut desk, min, source)
    }

    /// Makes a pool whose elements are blocks of `2^order` pages.
    ///
    /// ```vmlab
    /// > let pool = mempool_create_page_pool(2, 1);
    /// > let page = mempool_alloc(pool, GFP_NOIO);
    /// > mempool_free(page, pool);
    /// ```
    ///
    /// Kernel: `mempool_create_page_pool`, `mm/mempool.c`.
    #[rhai_fn(return_raw)]
    pub fn mempool_create_page_pool(
        ctx: NativeCallContext,
        min: i64,
        order: i64,
    ) -> ScriptResult<OrErrno<Mempool>> {
        let order = args::order(order)?;
        super::create(&mut Bench::of(&ctx).borrow_mut(), min, Source::Pages(order))
    }

    /// Takes an element of a pool: from its source, else from the reserve; who may sleep waits for one to come back.
    ///
    /// ```vmlab
    /// > let pool = mempool_create_page_pool(1, 0);
    /// > let a = mempool_alloc(pool, GFP_NOIO);
    /// > fail_nth(1); let b = mempool_alloc(pool, GFP_NOIO);
    /// > mempools()
    /// SOURCE            MIN_NR  CURR_NR  FROM_SOURCE  FROM_RESERVE  SLEEPS
    /// pages of order 0       1        0            1             1       0
    /// > mempool_free(b, pool); mempool_free(a, pool);
    /// > mempools().rows[0].curr_nr
    /// 1
    /// ```
    ///
    /// Kernel: `mempool_alloc`, `mm/mempool.c`.
    #[rhai_fn(return_raw)]
    pub fn mempool_alloc(
        ctx: NativeCallContext,
        pool: Mempool,
        gfp: GfpMask,
    ) -> ScriptResult<OrErrno<Address>> {
        let gfp = args::gfp(&gfp)?;
        let bench = Bench::of(&ctx);
        let mut desk = bench.borrow_mut();
        args::zones_agree(&mut desk, gfp)?;
        let id = pool.id(&desk)?;
        Ok(answer(oops(desk.machine.mempool_alloc(id, gfp))?.map(|addr| Address(addr.0))))
    }

    /// Gives an element back: to the reserve until it is full, else to its source.
    ///
    /// ```vmlab
    /// > let pool = mempool_create(1, 100);
    /// > let a = mempool_alloc(pool, GFP_KERNEL);
    /// > mempool_free(a, pool);
    /// > mempool_free(a, pool)
    /// BUG kmalloc-128 (Not tainted): Object already free
    ///   0xffff888000402080 is on the free list already: it was freed once too often
    /// ```
    ///
    /// Kernel: `mempool_free`, `mm/mempool.c`.
    #[rhai_fn(return_raw)]
    pub fn mempool_free(ctx: NativeCallContext, element: Addr, pool: Mempool) -> ScriptResult<()> {
        let element = args::addr("the element", &element)?;
        let bench = Bench::of(&ctx);
        let mut desk = bench.borrow_mut();
        let id = pool.id(&desk)?;
        if !desk.machine.mempools[id].keeps(VirtAddr(element)) {
            crate::script::slab::not_held(&desk.machine, "mempool_free", element)?;
        }
        oops(desk.machine.mempool_free(VirtAddr(element), id))
    }

    /// Gives up a pool and its reserve; elements that are out stay with their users.
    ///
    /// ```vmlab
    /// > let pool = mempool_create(3, 64);
    /// > mempool_destroy(pool);
    /// > mempool_alloc(pool, GFP_KERNEL)
    /// error: use after free: the pool was destroyed, or belonged to a machine that is gone
    /// ```
    ///
    /// Kernel: `mempool_destroy`, `mm/mempool.c`.
    #[rhai_fn(return_raw)]
    pub fn mempool_destroy(ctx: NativeCallContext, pool: Mempool) -> ScriptResult<()> {
        let bench = Bench::of(&ctx);
        let mut desk = bench.borrow_mut();
        let id = pool.id(&desk)?;
        desk.machine.mempool_destroy(id);
        Ok(())
    }

    #[rhai_fn(global, name = "to_string", name = "to_debug", pure)]
    pub fn mempool_string(ctx: NativeCallContext, pool: &mut Mempool) -> String {
        pool.text(&Bench::of(&ctx).borrow())
    }

    /// Every pool: what it keeps, and where its elements came from so far.
    ///
    /// ```vmlab
    /// > let pool = mempool_create(2, 500);
    /// > mempools()
    /// SOURCE        MIN_NR  CURR_NR  FROM_SOURCE  FROM_RESERVE  SLEEPS
    /// kmalloc(500)       2        2            0             0       0
    /// ```
    ///
    /// Kernel: `mempool_t`, `include/linux/mempool.h`.
    /// Command: `mempools`
    pub fn mempools(ctx: NativeCallContext) -> Table {
        let bench = Bench::of(&ctx);
        let machine = &bench.borrow().machine;
        let rows = machine.mempools.iter().map(|(_, pool)| {
            let source = match pool.source {
                Source::Cache(id) => {
                    machine.caches.all.get(id).map_or("(gone)".into(), |c| c.name().to_string())
                }
                Source::Kmalloc(size) => format!("kmalloc({size})"),
                Source::Pages(order) => format!("pages of order {order}"),
            };
            let [direct, reserve, sleeps] = pool.counts;
            vec![
                source.as_str().into(),
                pool.min_nr.into(),
                pool.curr_nr().into(),
                direct.into(),
                reserve.into(),
                sleeps.into(),
            ]
        });
        let columns = vec![
            Column::left("SOURCE", 0),
            Column::right("MIN_NR", 0),
            Column::right("CURR_NR", 0),
            Column::right("FROM_SOURCE", 0),
            Column::right("FROM_RESERVE", 0),
            Column::right("SLEEPS", 0),
        ];
        Table::grid(columns, rows.collect())
    }
}

fn create(desk: &mut Desk, min: i64, source: Source) -> ScriptResult<OrErrno<MempoolRef>> {
    /// A reserve is a few elements; this many are a mistake.
    const MOST: i64 = 1 << 20;
    let min = args::within("the reserve", min, MOST)?;
    let boot = desk.boots;
    Ok(answer(desk.machine.mempool_create(min, source).map(|id| MempoolRef { id, boot })))
}

/// A cache by its handle or name, or bytes of kmalloc.
fn source(desk: &Desk, value: &Dynamic) -> ScriptResult<Source> {
    if let Some(name) = value.read_lock::<ImmutableString>() {
        return match desk.machine.caches.find(&name) {
            Some(id) => Ok(Source::Cache(id)),
            None => misuse(format!("there is no cache {:?}; kmem -s lists them", &**name)),
        };
    }
    if let Some(cache) = value.read_lock::<CacheRef>() {
        return Ok(Source::Cache(cache.id(desk)?));
    }
    match value.as_int() {
        Ok(size) if size > 0 => Ok(Source::Kmalloc(size as u64)),
        _ => misuse(format!(
            "a pool is of a cache, a cache's name, or a size in bytes, not {}",
            describe(value)
        )),
    }
}
