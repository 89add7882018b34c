//! SLAB and SLOB beside SLUB: what only they have, and how the three compare.
//!
//! Kernel: `mm/slab.c`, `mm/slob.c`.

use crate::mm::Machine;
use crate::mm::slab::{Slab, SlabList};
use crate::mm::slab_common::{Allocator, CacheId};
use crate::script::answer::{ScriptResult, misuse};
use crate::script::args;
use crate::script::bench::Bench;
use crate::script::table::{Cell, Column, Table};
use rhai::plugin::*;

/// SLAB and SLOB beside SLUB.
#[export_module]
pub mod functions {
    /// Does what SLAB's timer does every two seconds; answers how many slabs went back.
    ///
    /// Queues that nobody used since the last time lose a fifth, and free slabs that nobody took go back.
    ///
    /// ```vmlab
    /// > boot(#{ mem: "64M", slab: "slab" });
    /// > cache_reap()
    /// 0
    /// ```
    ///
    /// Kernel: `cache_reap`, `mm/slab.c`. Gorman: 8.1.7.
    #[rhai_fn(return_raw)]
    pub fn cache_reap(ctx: NativeCallContext) -> ScriptResult<i64> {
        let bench = Bench::of(&ctx);
        let machine = &mut bench.borrow_mut().machine;
        super::is_slab(machine, "cache_reap()")?;
        Ok(i64::from(machine.cache_reap()))
    }

    /// Shows where the first objects of one slab after another begin.
    ///
    /// `left_over` bytes of a slab are free, and a line of the hardware's cache has `colour_off` bytes. There are `left_over / colour_off` colours. The last column also takes the offset that they end with, as the
    /// paper on slabs and Gorman's example do: 100 bytes and lines of 32 make 0, 32, 64, 96 and again 0.
    ///
    /// ```vmlab
    /// > colours(100, 32)
    /// SLAB  6.1  2.4  BOOK
    ///    1   32    0     0
    ///    2   64   32    32
    ///    3    0   64    64
    ///    4   32    0    96
    ///    5   64   32     0
    /// colour 100 / 32 = 3, colour_off 32
    /// > colours(100, 0)
    /// error: colour_off is 0, but a line has at least a byte; x86 has 64, a Pentium II had 32
    /// ```
    ///
    /// Kernel: `cache_grow_begin`, `mm/slab.c`; `kmem_cache_grow` of 2.4. Gorman: 8.1.6.
    #[rhai_fn(return_raw)]
    pub fn colours(left_over: i64, colour_off: i64) -> ScriptResult<Table> {
        const MOST: i64 = 1 << 22;
        let left = args::within("left_over", left_over, MOST)?;
        let off = args::within("colour_off", colour_off, MOST)?;
        if off == 0 {
            return misuse(
                "colour_off is 0, but a line has at least a byte; x86 has 64, a Pentium II had 32",
            );
        }
        Ok(super::colour_table(left, off))
    }

    /// Lists the slabs of a cache of SLAB, and what waits in its queues.
    ///
    /// ACTIVE are objects that were taken, into queues as well; COLOUR is where the first object begins.
    ///
    /// ```vmlab
    /// > boot(#{ mem: "64M", slab: "slab" });
    /// > let c = kmem_cache_create("demo", 768, 0, SLAB_HWCACHE_ALIGN);
    /// > for n in 0..12 { kmem_cache_alloc(c, GFP_KERNEL); }
    /// > slabs("demo")
    /// SLAB              LIST  ACTIVE  USED  TOTAL  COLOUR
    /// ffff888002002000  full       5     2      5     192
    /// ffff888002001000  full       5     5      5     128
    /// ffff888002000000  full       5     5      5      64
    /// colour 4, colour_off 64, left over 256 bytes; the freelist is in an object
    /// limit 54 batchcount 27 shared 0; in queues: cpu 0: 3, shared: 0
    /// > slabs("nosuch")
    /// error: there is no cache "nosuch"; kmem -s lists them
    ///  --> 1:7
    ///   |
    /// 1 | slabs("nosuch")
    ///   |       ^^^^^^^^
    /// ```
    ///
    /// Kernel: `struct kmem_cache_node`, `mm/slab.h`. Gorman: 8.2.
    #[rhai_fn(return_raw)]
    pub fn slabs(ctx: NativeCallContext, cache: &str) -> ScriptResult<Table> {
        let bench = Bench::of(&ctx);
        let machine = &bench.borrow().machine;
        super::is_slab(machine, "slabs(cache)")?;
        super::slab_table(machine, cache)
    }

    /// How a slab's free objects are linked: 6.1's stack of indices, and the `kmem_bufctl_t` that 2.4 would have.
    ///
    /// ```vmlab
    /// > boot(#{ mem: "64M", slab: "slab" });
    /// > let p = spawn("cc"); let q = spawn("as"); let r = spawn("ld");
    /// > exit(q); exit(r);
    /// > for n in 0..4 { cache_reap(); }
    /// > slab_bufctl("sighand_cache")
    /// OBJECT  STATE  FREELIST      BUFCTL
    ///      0  free          0           1
    ///      1  free          1  BUFCTL_END
    ///      2  used          -           -
    /// active 1: the next object is freelist[1] = 0
    /// ```
    ///
    /// Kernel: `get_free_obj`, `mm/slab.c`; `slab_bufctl` of 2.4. Gorman: 8.2.3.
    #[rhai_fn(return_raw)]
    pub fn slab_bufctl(ctx: NativeCallContext, cache: &str) -> ScriptResult<Table> {
        let bench = Bench::of(&ctx);
        let machine = &bench.borrow().machine;
        super::is_slab(machine, "slab_bufctl(cache)")?;
        super::bufctl_table(machine, cache)
    }

    /// SLOB's three lists of pages, and what its search cost so far.
    ///
    /// ```vmlab
    /// > boot(#{ mem: "64M", slab: "slob" });
    /// > for n in 0..20 { lookup(`/tmp/${n}`); }
    /// > let p = spawn("cc");
    /// > slob()
    /// LIST              BYTES    PAGES  FREE
    /// free_slob_small   < 256        2  2760
    /// free_slob_medium  < 1024       1  3392
    /// free_slob_large   >= 1024      9  6488
    /// 12 pages with 36512 bytes in use, headers of 8 bytes counted
    /// 58 allocations looked at 82 pages and 62 free blocks
    /// ```
    ///
    /// Kernel: `free_slob_small`, `mm/slob.c`.
    #[rhai_fn(return_raw)]
    pub fn slob(ctx: NativeCallContext) -> ScriptResult<Table> {
        let bench = Bench::of(&ctx);
        let machine = &bench.borrow().machine;
        if machine.caches.allocator != Allocator::Slob {
            return misuse(format!(
                "slob(): this machine has {}; boot(#{{ mem: \"64M\", slab: \"slob\" }}) has SLOB",
                machine.caches.allocator
            ));
        }
        Ok(super::slob_table(machine))
    }

    /// What the machine's allocator has done since the boot, and what that costs: to compare the three by one script.
    ///
    /// A hit needs nothing but the CPU's own list; a miss needs more; steps are objects moved in batches (SLAB), or
    /// pages and free blocks searched (SLOB); blocks are taken from the buddy allocator or given back.
    ///
    /// ```vmlab
    /// > boot(#{ mem: "64M", slab: "slub" });
    /// > let before = allocator_work().rows[0];
    /// > for n in 0..100 { lookup(`/tmp/${n}`); }
    /// > let after = allocator_work().rows[0];
    /// > [after.hits - before.hits, after.misses - before.misses, after.ns - before.ns]
    /// [191, 14, 4150]
    /// ```
    ///
    /// Kernel: `CONFIG_SLUB_STATS`, `mm/slub.c`; `STATS_INC_ALLOCHIT`, `mm/slab.c`.
    pub fn allocator_work(ctx: NativeCallContext) -> Table {
        super::work_table(&Bench::of(&ctx).borrow().machine)
    }
}

fn is_slab(machine: &Machine, call: &str) -> ScriptResult<()> {
    match machine.caches.allocator {
        Allocator::Slab => Ok(()),
        other => misuse(format!(
            "{call}: this machine has {other}, which keeps no such queues; boot(#{{ mem: \"64M\", slab: \"slab\" }}) has SLAB"
        )),
    }
}

fn colour_table(left: u32, off: u32) -> Table {
    let colour = left / off;
    let slabs = colour as usize + 2;
    let [now, old] = crate::mm::slab::colours(colour, off, slabs.min(40));
    let rows = now.iter().zip(&old).enumerate().map(|(n, (now, old))| {
        let book = n as u32 % (colour + 1) * off;
        vec![(n as u64 + 1).into(), (*now).into(), (*old).into(), book.into()]
    });
    let columns = vec![
        Column::right("SLAB", 0),
        Column::right("6.1", 0),
        Column::right("2.4", 0),
        Column::right("BOOK", 0),
    ];
    let table = Table::grid(columns, rows.collect());
    let records = table.records().to_vec();
    table.line(format!("colour {left} / {off} = {colour}, colour_off {off}")).with_records(records)
}

fn slab_table(machine: &Machine, name: &str) -> ScriptResult<Table> {
    let Some(id) = machine.caches.find(name) else {
        return misuse(format!("there is no cache {name:?}; kmem -s lists them"));
    };
    let Some(cache) = machine.caches.slab.cache(id) else { return misuse("the cache is gone") };
    let rows = machine.caches.slab.slabs_of(machine, id).into_iter().map(|slab| {
        vec![
            Cell::Addr(machine.phys_to_virt(slab.pfn.phys()).0),
            format!("{:?}", slab.list).to_lowercase().as_str().into(),
            slab.active.into(),
            slab.nr_used().into(),
            cache.num.into(),
            (slab.s_mem.0 - machine.phys_to_virt(slab.pfn.phys()).0).into(),
        ]
    });
    let columns = vec![
        Column::left("SLAB", 0),
        Column::left("LIST", 0),
        Column::right("ACTIVE", 0),
        Column::right("USED", 0),
        Column::right("TOTAL", 0),
        Column::right("COLOUR", 0),
    ];
    let table = Table::grid(columns, rows.collect());
    let records = table.records().to_vec();
    let queues: Vec<String> =
        cache.cpus.iter().enumerate().map(|(cpu, ac)| format!("cpu {cpu}: {}", ac.entry.len())).collect();
    let shared: usize = cache.nodes.iter().filter_map(|n| n.shared.as_ref()).map(|ac| ac.entry.len()).sum();
    Ok(table
        .line(format!(
            "colour {}, colour_off {}, left over {} bytes; the freelist is {}",
            cache.colour,
            cache.colour_off,
            cache.left_over,
            cache.freelist.name()
        ))
        .line(format!(
            "limit {} batchcount {} shared {}; in queues: {}, shared: {shared}",
            cache.limit,
            cache.batchcount,
            cache.shared,
            queues.join(", ")
        ))
        .with_records(records))
}

/// The lists of `kmem -S` on a machine with SLAB; SLOB has no slabs to list.
pub fn slab_lists(mut table: Table, machine: &Machine, id: CacheId) -> Table {
    let digits = machine.config.arch.address_digits();
    let hex = |addr: u64| format!("{addr:0digits$x}");
    if machine.caches.allocator == Allocator::Slob {
        return table.note("SLOB keeps objects of all caches on the same pages; slob() shows its lists");
    }
    let slabs = machine.caches.slab.slabs_of(machine, id);
    for (node, at) in machine.nodes.iter().zip(0..) {
        for list in [SlabList::Partial, SlabList::Full, SlabList::Free] {
            let here = |slab: &&&Slab| slab.node == at && slab.list == list;
            table = table.line(format!("NODE {} {}:", node.nid, format!("{list:?}").to_uppercase()));
            if slabs.iter().filter(here).count() == 0 {
                table = table.line("  (empty)");
                continue;
            }
            table = table
                .line(format!("  {:<digits$}  {:<digits$}  NODE  TOTAL  ALLOCATED  FREE", "SLAB", "MEMORY"));
            for slab in slabs.iter().filter(here) {
                table = table.line(format!(
                    "  {}  {}  {:>4}  {:>5}  {:>9}  {:>4}",
                    hex(machine.page_struct(slab.pfn).0),
                    hex(slab.s_mem.0),
                    node.nid.0,
                    slab.total(),
                    slab.nr_used(),
                    slab.total() - slab.nr_used()
                ));
            }
        }
    }
    table
}

fn bufctl_table(machine: &Machine, name: &str) -> ScriptResult<Table> {
    let Some(id) = machine.caches.find(name) else {
        return misuse(format!("there is no cache {name:?}; kmem -s lists them"));
    };
    let slabs = machine.caches.slab.slabs_of(machine, id);
    let Some(slab) = slabs.first() else {
        return misuse(format!("the cache {name:?} has no slab; kmem_cache_alloc(c, GFP_KERNEL) makes one"));
    };
    let free = slab.free_indices();
    // Of 2.4: each free object names the next one; the last one says BUFCTL_END.
    let next = |index: u8| {
        let at = free.iter().position(|free| *free == index)?;
        Some(free.get(at + 1).map_or("BUFCTL_END".to_string(), |next| next.to_string()))
    };
    let total = slab.total();
    let rows = (0..total).map(|index| {
        let stack = free.get(index as usize).map_or("-".to_string(), |free| free.to_string());
        vec![
            index.into(),
            if slab.is_used(index) {
                "used"
            } else if next(index as u8).is_some() {
                "free"
            } else {
                "queued"
            }
            .into(),
            stack.as_str().into(),
            next(index as u8).unwrap_or("-".into()).as_str().into(),
        ]
    });
    let columns = vec![
        Column::right("OBJECT", 0),
        Column::left("STATE", 0),
        Column::right("FREELIST", 0),
        Column::right("BUFCTL", 0),
    ];
    let table = Table::grid(columns, rows.collect());
    let records = table.records().to_vec();
    let first = free.first().map_or("none".to_string(), |index| index.to_string());
    Ok(table
        .line(format!("active {}: the next object is freelist[{}] = {first}", slab.active, slab.active))
        .with_records(records))
}

fn slob_table(machine: &Machine) -> Table {
    let slob = &machine.caches.slob;
    let names = ["free_slob_small", "free_slob_medium", "free_slob_large"];
    let sizes = ["< 256", "< 1024", ">= 1024"];
    let rows = names.iter().zip(sizes).zip(slob.lists()).map(|((name, size), (pages, free))| {
        vec![(*name).into(), size.into(), (pages as u64).into(), free.into()]
    });
    let columns = vec![
        Column::left("LIST", 0),
        Column::left("BYTES", 0),
        Column::right("PAGES", 0),
        Column::right("FREE", 0),
    ];
    let table = Table::grid(columns, rows.collect());
    let records = table.records().to_vec();
    let ((pages, used), stats) = (slob.usage(), slob.stats);
    table
        .line(format!("{pages} pages with {used} bytes in use, headers of 8 bytes counted"))
        .line(format!(
            "{} allocations looked at {} pages and {} free blocks",
            stats.allocs, stats.pages_searched, stats.blocks_searched
        ))
        .with_records(records)
}

fn work_table(machine: &Machine) -> Table {
    let work = machine.allocator_work();
    let columns = vec![
        Column::left("ALLOCATOR", 0),
        Column::right("PAGES", 0),
        Column::right("HITS", 0),
        Column::right("MISSES", 0),
        Column::right("STEPS", 0),
        Column::right("BLOCKS", 0),
        Column::right("NS", 0),
    ];
    let row = vec![
        machine.caches.allocator.name().into(),
        work.pages.into(),
        work.hits.into(),
        work.misses.into(),
        work.steps.into(),
        work.blocks.into(),
        work.ns(machine.config.costs.alloc).into(),
    ];
    Table::grid(columns, vec![row])
}
