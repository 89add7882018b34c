//! High memory: frames that have no kernel address of their own.
//!
//! Gorman chapter 9. Kernel: `mm/highmem.c`.

use crate::mm::addr::VirtAddr;
use crate::mm::machine::Machine;
use crate::script::answer::{OrErrno, OrNothing, ScriptResult, answer, maybe, misuse, oops};
use crate::script::args::{self, Addr, Address, Who};
use crate::script::bench::Bench;
use crate::script::constants::Constant;
use crate::script::handles::PageRef;
use crate::script::table::{Cell, Column, Table};
use rhai::plugin::*;

/// High memory: frames that have no kernel address of their own.
#[export_module]
pub mod functions {
    /// Gives a page a kernel address for as long as it is needed.
    ///
    /// A page of HighMem gets an entry of the PKMap pool: 1,024 on a 32-bit PC, 512 with PAE. When all have users, the
    /// caller sleeps; `kmap(p, page)` lets a task do it, and answers `()` while it sleeps. Every other page has its
    /// address for good: on 64 bits the call is free.
    ///
    /// ```vmlab
    /// > kmap(alloc_page(GFP_KERNEL))
    /// 0xffff888000400000
    /// > boot("classic");
    /// > let page = alloc_page(GFP_HIGHUSER);
    /// > kmap(page)
    /// 0xfec01000
    /// > kmap(page)
    /// 0xfec01000
    /// > pkmap().rows[0].count
    /// 3
    /// > kunmap(page); kunmap(page);
    /// > kunmap(page)
    /// kernel BUG at mm/highmem.c!
    ///   BUG_ON(pkmap_count[nr] < 2): page pfn=0x38000 has no user left: it was kunmapped more often than
    ///     kmapped
    /// ```
    ///
    /// Kernel: `kmap_high`, `mm/highmem.c`. Gorman: 9.2.
    #[rhai_fn(return_raw)]
    pub fn kmap(ctx: NativeCallContext, page: PageRef) -> ScriptResult<Address> {
        let bench = Bench::of(&ctx);
        let mut desk = bench.borrow_mut();
        page.read(&desk)?;
        match oops(desk.machine.kmap(page.pfn))? {
            Some(addr) => Ok(Address(addr.0)),
            None => misuse(format!(
                "kmap would sleep for ever: all {} entries have users, and only this script could kunmap one; \
                 let a task wait with kmap(p, page)",
                desk.machine.highmem.counts().len()
            )),
        }
    }

    #[rhai_fn(name = "kmap", return_raw)]
    pub fn kmap_as(ctx: NativeCallContext, p: Who, page: PageRef) -> ScriptResult<OrNothing<Address>> {
        let bench = Bench::of(&ctx);
        let mut desk = bench.borrow_mut();
        page.read(&desk)?;
        let pid = args::who(&desk, &p)?;
        if desk.machine.highmem.is_waiting(pid) {
            return misuse(format!("task {pid} sleeps in kmap_high already: kunmap a page to wake it"));
        }
        Ok(maybe(oops(desk.machine.kmap_as(pid, page.pfn))?.map(|addr| Address(addr.0))))
    }

    /// One user of a mapped page less; the last one wakes who waits for an entry.
    ///
    /// ```vmlab
    /// > boot("classic");
    /// > kunmap(alloc_page(GFP_HIGHUSER))
    /// kernel BUG at mm/highmem.c!
    ///   BUG_ON(!vaddr): page pfn=0x38000 is not mapped: kmap it first
    /// ```
    ///
    /// Kernel: `kunmap_high`, `mm/highmem.c`. Gorman: 9.3.
    #[rhai_fn(return_raw)]
    pub fn kunmap(ctx: NativeCallContext, page: PageRef) -> ScriptResult<()> {
        let bench = Bench::of(&ctx);
        let mut desk = bench.borrow_mut();
        page.read(&desk)?;
        oops(desk.machine.kunmap(page.pfn))
    }

    /// Gives a page an address on this CPU for a moment, in which nothing may sleep.
    ///
    /// ```vmlab
    /// > boot("classic");
    /// > let a = kmap_atomic(alloc_page(GFP_HIGHUSER))
    /// 0xfffba000
    /// > alloc_page(GFP_KERNEL)
    /// BUG: sleeping function called from invalid context at include/linux/sched/mm.h:274
    ///   GFP_KERNEL may sleep (__GFP_DIRECT_RECLAIM), and between kmap_atomic and kunmap_atomic nobody
    ///     must: preemption is off
    ///   GFP_ATOMIC may be used here, and GFP_NOWAIT by those who can do without
    /// ```
    ///
    /// Kernel: `kmap_atomic`, `include/linux/highmem-internal.h`. Gorman: 9.4.
    #[rhai_fn(return_raw)]
    pub fn kmap_atomic(ctx: NativeCallContext, page: PageRef) -> ScriptResult<Address> {
        super::local(&ctx, page, true)
    }

    /// Gives an address of `kmap_atomic` back.
    ///
    /// ```vmlab
    /// > boot("classic");
    /// > let a = kmap_atomic(alloc_page(GFP_HIGHUSER));
    /// > kunmap_atomic(a)
    /// > kunmap_atomic(a)
    /// kernel BUG at mm/highmem.c!
    ///   BUG_ON(current->kmap_ctrl.idx < 0): nothing is mapped on CPU 0: 0xfffba000 was given back before,
    ///     or on another CPU
    /// ```
    ///
    /// Kernel: `kunmap_atomic`, `include/linux/highmem-internal.h`. Gorman: 9.4.
    #[rhai_fn(return_raw)]
    pub fn kunmap_atomic(ctx: NativeCallContext, addr: Addr) -> ScriptResult<()> {
        super::unmap(&ctx, &addr, true)
    }

    /// Gives a page an address on this CPU for a moment: 16 slots a CPU, given back in the reverse order.
    ///
    /// ```vmlab
    /// > boot("classic");
    /// > let a = kmap_local_page(alloc_page(GFP_HIGHUSER));
    /// > let b = kmap_local_page(alloc_page(GFP_HIGHUSER));
    /// > kunmap_local(a)
    /// WARNING: mm/highmem.c kunmap_local_indexed
    ///   addr != __fix_to_virt(FIX_KMAP_BEGIN + idx): short mappings nest, the last one goes first
    ///   the last on CPU 0 is 0xfffb9000 (page pfn=0x38001): kunmap_local(0xfffb9000) comes before
    ///     kunmap_local(0xfffba000)
    /// ```
    ///
    /// Kernel: `kmap_local_page`, `include/linux/highmem-internal.h`. Gorman: 9.4.
    #[rhai_fn(return_raw)]
    pub fn kmap_local_page(ctx: NativeCallContext, page: PageRef) -> ScriptResult<Address> {
        super::local(&ctx, page, false)
    }

    /// Gives an address of `kmap_local_page` back.
    ///
    /// ```vmlab
    /// > kunmap_local(kmap_local_page(alloc_page(GFP_KERNEL)))
    /// ```
    ///
    /// Kernel: `kunmap_local`, `include/linux/highmem-internal.h`. Gorman: 9.4.
    #[rhai_fn(return_raw)]
    pub fn kunmap_local(ctx: NativeCallContext, addr: Addr) -> ScriptResult<()> {
        super::unmap(&ctx, &addr, false)
    }

    /// The PKMap pool: which entries are mapped, and how many users each has.
    ///
    /// ```vmlab
    /// > pkmap()
    /// ENTRY  ADDRESS  PAGE  COUNT  USERS
    /// this machine has no HighMem: every page has an address of its own, and kmap is free
    /// ```
    ///
    /// Kernel: `pkmap_count`, `mm/highmem.c`. Gorman: 9.1.
    /// Command: `pkmap`
    pub fn pkmap(ctx: NativeCallContext) -> Table {
        super::pool(&Bench::of(&ctx).borrow().machine)
    }

    /// Tells that the disk does not reach HighMem (`BLK_BOUNCE_HIGH`), or that it does (`BLK_BOUNCE_NONE`).
    ///
    /// A page of HighMem that is read or written then goes by a *bounce page* in lowmem: `Bounce` of /proc/meminfo counts
    /// those that the device works on. 64 pages are kept for it, so that pages can be written when none is free.
    ///
    /// ```vmlab
    /// > boot("classic"); swapon("/dev/vdb", "64M");
    /// > blk_queue_bounce_limit(BLK_BOUNCE_HIGH)
    /// > log | tail -1
    /// [    0.000006] bounce: pool size: 64 pages
    /// > let f = create("/data", "1M"); pread(f, 0, "64k");
    /// > pwrite(f, 0, "32k"); fadvise(f, 0, 0, POSIX_FADV_DONTNEED);
    /// > vmstat("nr_bounce")
    /// 1
    /// > tick(100); vmstat("nr_bounce")
    /// 0
    /// > check();
    /// > blk_queue_bounce_limit(7)
    /// error: the limit is BLK_BOUNCE_NONE (0) or BLK_BOUNCE_HIGH (1), not 7
    /// ```
    ///
    /// Kernel: `block/bounce.c`, `blk_queue_bounce_limit`. Gorman: 9.4, 9.5.
    #[rhai_fn(return_raw)]
    pub fn blk_queue_bounce_limit(ctx: NativeCallContext, limit: i64) -> ScriptResult<OrErrno<()>> {
        let high = match limit {
            0 => false,
            1 => true,
            _ => {
                return misuse(format!(
                    "the limit is BLK_BOUNCE_NONE (0) or BLK_BOUNCE_HIGH (1), not {limit}"
                ));
            }
        };
        Ok(answer(Bench::of(&ctx).borrow_mut().machine.blk_queue_bounce_limit(high)))
    }
}

/// What a device does not reach.
pub fn constants() -> Vec<Constant> {
    vec![
        Constant::int("BLK_BOUNCE_NONE", 0, "The device reaches all memory."),
        Constant::int("BLK_BOUNCE_HIGH", 1, "The device does not reach HighMem."),
    ]
}

fn local(ctx: &NativeCallContext, page: PageRef, atomic: bool) -> ScriptResult<Address> {
    let bench = Bench::of(ctx);
    let mut desk = bench.borrow_mut();
    page.read(&desk)?;
    oops(desk.machine.kmap_local(page.pfn, atomic)).map(|addr| Address(addr.0))
}

fn unmap(ctx: &NativeCallContext, addr: &Addr, atomic: bool) -> ScriptResult<()> {
    let addr = args::addr("the address", addr)?;
    oops(Bench::of(ctx).borrow_mut().machine.kunmap_local(VirtAddr(addr), atomic))
}

fn pool(machine: &Machine) -> Table {
    let pool = &machine.highmem;
    let rows = pool.mapped().map(|(entry, pfn, count)| {
        vec![
            entry.into(),
            Cell::Addr(machine.pkmap_addr(entry).0),
            Cell::Addr(pfn.0.into()),
            count.into(),
            (count - 1).into(),
        ]
    });
    let columns = vec![
        Column::right("ENTRY", 0),
        Column::left("ADDRESS", 0),
        Column::left("PAGE", 0),
        Column::right("COUNT", 0),
        Column::right("USERS", 0),
    ];
    let mut table = Table::grid(columns, rows.collect());
    let records = table.records().to_vec();
    let entries = pool.counts().len();
    if entries == 0 {
        table =
            table.line("this machine has no HighMem: every page has an address of its own, and kmap is free");
        return table.with_records(records);
    }
    let mapped = pool.mapped().count();
    let used = pool.mapped().filter(|(_, _, count)| *count > 1).count();
    table = table.line(format!(
        "{entries} entries: {used} used, {} mapped without a user, {} free; {} flush{} so far, the search stands at {}",
        mapped - used,
        entries - mapped,
        pool.flushes(),
        if pool.flushes() == 1 { "" } else { "es" },
        pool.last()
    ));
    for (pid, pfn) in pool.waiting() {
        table = table.line(format!("task {pid} sleeps in kmap_high until an entry is free for pfn {pfn}"));
    }
    table.with_records(records)
}
