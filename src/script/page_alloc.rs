//! The page allocator as kernel code calls it.
//!
//! Gorman chapter 6. Kernel: `mm/page_alloc.c`, `include/linux/gfp.h`.

use crate::mm::addr::{Order, Pfn};
use crate::mm::errno::Errno;
use crate::mm::gfp::Gfp;
use crate::script::answer::{OrErrno, ScriptResult, answer, oops};
use crate::script::args::{self, Addr, Address, GfpMask, Size};
use crate::script::bench::{Bench, Desk};
use crate::script::handles::PageRef;
use crate::script::page::direct;
use crate::script::table::Table;
use crate::script::takes::NodeNumber;
use crate::script::told::Told;
use rhai::plugin::*;

/// Physical page allocation: the buddy system.
#[export_module]
pub mod functions {
    /// Allocates `2^order` contiguous page frames.
    ///
    /// Returns the first page of the block, or `ENOMEM`.
    ///
    /// ```vmlab
    /// > let p = alloc_pages(GFP_KERNEL, 2)
    /// page pfn=0x400 order=2 zone=DMA node=0
    /// > p.pfn
    /// 1024
    /// > alloc_pages(GFP_DMA, 2)
    /// page pfn=0x404 order=2 zone=DMA node=0
    /// > alloc_pages(GFP_KERNEL, 11)
    /// error: order 11 is too large: the largest is 10
    /// > while !is_err(alloc_pages(GFP_NOWAIT, 10)) {}
    /// > alloc_pages(GFP_NOWAIT, 10)
    /// ENOMEM (Cannot allocate memory)
    /// > alloc_pages(__GFP_DMA | __GFP_HIGHMEM, 0)
    /// kernel BUG at include/linux/gfp.h!
    ///   VM_BUG_ON((GFP_ZONE_BAD >> bit) & 1): GFP_DMA|__GFP_HIGHMEM names more than one zone;
    ///     ask for one of them
    ///   a kernel without CONFIG_DEBUG_VM would take its lowest zone, DMA
    /// ```
    ///
    /// Kernel: `alloc_pages`, `mm/page_alloc.c`. Gorman: 6.2.
    #[rhai_fn(return_raw)]
    pub fn alloc_pages(ctx: NativeCallContext, gfp: GfpMask, order: i64) -> ScriptResult<OrErrno<PageRef>> {
        let (gfp, order) = (args::gfp(&gfp)?, args::order(order)?);
        let bench = Bench::of(&ctx);
        let mut desk = bench.borrow_mut();
        oops(desk.machine.might_alloc(gfp))?;
        args::zones_agree(&mut desk, gfp)?;
        let found = desk.machine.alloc_pages(gfp, order);
        super::page(&mut desk, found)
    }

    /// Allocates one page frame.
    ///
    /// ```vmlab
    /// > alloc_page(GFP_KERNEL).order
    /// 0
    /// ```
    ///
    /// Kernel: `alloc_page`, `include/linux/gfp.h`. Gorman: 6.2.
    #[rhai_fn(return_raw)]
    pub fn alloc_page(ctx: NativeCallContext, gfp: GfpMask) -> ScriptResult<OrErrno<PageRef>> {
        alloc_pages(ctx, gfp, 0)
    }

    /// Allocates `2^order` contiguous page frames near a node.
    ///
    /// ```vmlab
    /// > boot("x86_64-numa2");
    /// > alloc_pages_node(1, GFP_KERNEL, 0).node
    /// 1
    /// > alloc_pages_node(2, GFP_KERNEL, 0)
    /// error: there is no node 2: this machine has nodes 0-1
    /// ```
    ///
    /// Kernel: `alloc_pages_node`, `include/linux/gfp.h`.
    #[rhai_fn(return_raw)]
    pub fn alloc_pages_node(
        ctx: NativeCallContext,
        nid: NodeNumber,
        gfp: GfpMask,
        order: i64,
    ) -> ScriptResult<OrErrno<PageRef>> {
        let (gfp, order) = (args::gfp(&gfp)?, args::order(order)?);
        let bench = Bench::of(&ctx);
        let mut desk = bench.borrow_mut();
        let nid = crate::script::zone::nid(&desk, nid)?;
        oops(desk.machine.might_alloc(gfp))?;
        args::zones_agree(&mut desk, gfp)?;
        let found = desk.machine.alloc_pages_node(nid, gfp, order);
        super::page(&mut desk, found)
    }

    /// Allocates `2^order` contiguous page frames and answers the kernel's address of the first byte.
    ///
    /// Never from HighMem: its pages have no address.
    ///
    /// ```vmlab
    /// > let a = __get_free_pages(GFP_KERNEL, 1)
    /// 0xffff888000400000
    /// > free_pages(a, 1)
    /// ```
    ///
    /// Kernel: `__get_free_pages`, `mm/page_alloc.c`. Gorman: 6.2.
    #[rhai_fn(return_raw)]
    pub fn __get_free_pages(
        ctx: NativeCallContext,
        gfp: GfpMask,
        order: i64,
    ) -> ScriptResult<OrErrno<Address>> {
        let (gfp, order) = (args::gfp(&gfp)?, args::order(order)?);
        super::free_pages_at(&Bench::of(&ctx), gfp, order)
    }

    /// Allocates one page frame and answers its address.
    ///
    /// ```vmlab
    /// > free_page(__get_free_page(GFP_KERNEL))
    /// ```
    ///
    /// Kernel: `__get_free_page`, `include/linux/gfp.h`. Gorman: 6.2.
    #[rhai_fn(return_raw)]
    pub fn __get_free_page(ctx: NativeCallContext, gfp: GfpMask) -> ScriptResult<OrErrno<Address>> {
        __get_free_pages(ctx, gfp, 0)
    }

    /// Allocates one page frame and answers its address; the name of 2.4.
    ///
    /// ```vmlab
    /// > free_page(get_free_page(GFP_KERNEL))
    /// ```
    ///
    /// Kernel: `get_free_page`, `mm/page_alloc.c` of 2.4; today `get_zeroed_page`. Gorman: 6.2.
    #[rhai_fn(return_raw)]
    pub fn get_free_page(ctx: NativeCallContext, gfp: GfpMask) -> ScriptResult<OrErrno<Address>> {
        get_zeroed_page(ctx, gfp)
    }

    /// Allocates one page frame filled with zeros and answers its address.
    ///
    /// ```vmlab
    /// > free_page(get_zeroed_page(GFP_KERNEL))
    /// ```
    ///
    /// Kernel: `get_zeroed_page`, `mm/page_alloc.c`. Gorman: 6.2.
    #[rhai_fn(return_raw)]
    pub fn get_zeroed_page(ctx: NativeCallContext, gfp: GfpMask) -> ScriptResult<OrErrno<Address>> {
        let gfp = args::gfp(&gfp)? | Gfp::ZERO;
        super::free_pages_at(&Bench::of(&ctx), gfp, Order::ZERO)
    }

    /// Allocates `2^order` contiguous page frames that an ISA device can reach, and answers their address.
    ///
    /// ```vmlab
    /// > let a = __get_dma_pages(GFP_KERNEL, 0);
    /// > __pa(a) < 16 * MiB
    /// true
    /// ```
    ///
    /// Kernel: `__get_dma_pages`, `include/linux/gfp.h`. Gorman: 6.2.
    #[rhai_fn(return_raw)]
    pub fn __get_dma_pages(
        ctx: NativeCallContext,
        gfp: GfpMask,
        order: i64,
    ) -> ScriptResult<OrErrno<Address>> {
        let (gfp, order) = (args::gfp(&gfp)? | Gfp::DMA, args::order(order)?);
        super::free_pages_at(&Bench::of(&ctx), gfp, order)
    }

    /// Frees a block of page frames; the order must be the one it was allocated with.
    ///
    /// ```vmlab
    /// > let p = alloc_pages(GFP_KERNEL, 2);
    /// > __free_pages(p, 3)
    /// BUG: Bad page state in process script  pfn:00400
    ///   page dumped because: nonzero _refcount
    ///   order 3 given, allocated with 2
    ///   a kernel does not remember the order of such a block: it would free pages behind the block that
    ///     belong to others
    /// > __free_pages(p, 2)
    /// > __free_pages(p, 2)
    /// BUG: Bad page state in process script  pfn:00400
    ///   page dumped because: nonzero _refcount
    ///   page pfn=0x400 was freed after this handle was made, and is free now: it cannot be freed again
    /// > fail_nth(1);
    /// > __free_pages(alloc_pages(GFP_KERNEL, 10), 10)
    /// error: __free_pages(errno, int): the call that made the errno failed; test it with is_err()
    ///   help: __free_pages(page: page, order: int)
    /// ```
    ///
    /// Kernel: `__free_pages`, `mm/page_alloc.c`. Gorman: 6.3.
    #[rhai_fn(return_raw)]
    pub fn __free_pages(ctx: NativeCallContext, page: PageRef, order: i64) -> ScriptResult<()> {
        let order = args::order(order)?;
        let bench = Bench::of(&ctx);
        let mut desk = bench.borrow_mut();
        let pfn = page.give_back(&mut desk)?;
        oops(desk.machine.free_pages(pfn, order))
    }

    /// Frees one page frame.
    ///
    /// ```vmlab
    /// > let p = alloc_page(GFP_KERNEL);
    /// > __free_page(p)
    /// > p.alive
    /// false
    /// > p.flags
    /// error: use after free: page pfn=0x400 was freed after this handle was made
    ///  --> 1:3
    ///   |
    /// 1 | p.flags
    ///   |   ^^^^^
    /// ```
    ///
    /// Kernel: `__free_page`, `include/linux/gfp.h`. Gorman: 6.3.
    #[rhai_fn(return_raw)]
    pub fn __free_page(ctx: NativeCallContext, page: PageRef) -> ScriptResult<()> {
        __free_pages(ctx, page, 0)
    }

    /// Frees a block by the address of its first byte.
    ///
    /// ```vmlab
    /// > let a = __get_free_pages(GFP_KERNEL, 3);
    /// > free_pages(a, 3)
    /// > free_pages(0x1000, 3)
    /// error: 0x1000 is no address of the kernel's direct map, which begins at 0xffff888000000000
    /// ```
    ///
    /// Kernel: `free_pages`, `mm/page_alloc.c`. Gorman: 6.3.
    #[rhai_fn(return_raw)]
    pub fn free_pages(ctx: NativeCallContext, addr: Addr, order: i64) -> ScriptResult<()> {
        let (addr, order) = (args::addr("the address", &addr)?, args::order(order)?);
        // As in the kernel, freeing address 0 does nothing.
        if addr == 0 {
            return Ok(());
        }
        let bench = Bench::of(&ctx);
        let mut desk = bench.borrow_mut();
        let pfn = direct(&desk, addr)?;
        oops(desk.machine.free_pages(pfn, order))
    }

    /// Frees one page frame by its address.
    ///
    /// ```vmlab
    /// > free_page(__get_free_page(GFP_KERNEL))
    /// ```
    ///
    /// Kernel: `free_page`, `include/linux/gfp.h`. Gorman: 6.3.
    #[rhai_fn(return_raw)]
    pub fn free_page(ctx: NativeCallContext, addr: Addr) -> ScriptResult<()> {
        free_pages(ctx, addr, 0)
    }

    /// Allocates contiguous pages for so many bytes and not a page more, and answers their address.
    ///
    /// A block of the next order is split, and the pages after the last are given back.
    ///
    /// ```vmlab
    /// > let a = alloc_pages_exact("20k", GFP_KERNEL);
    /// > virt_to_page(a + 4 * PAGE_SIZE).refcount
    /// 1
    /// > virt_to_page(a + 5 * PAGE_SIZE).refcount
    /// 0
    /// > free_pages_exact(a, "20k")
    /// ```
    ///
    /// Kernel: `alloc_pages_exact`, `mm/page_alloc.c`.
    #[rhai_fn(return_raw)]
    pub fn alloc_pages_exact(
        ctx: NativeCallContext,
        size: Size,
        gfp: GfpMask,
    ) -> ScriptResult<OrErrno<Address>> {
        let (bytes, gfp) = (args::size("the size", &size)?, args::gfp(&gfp)?);
        let bench = Bench::of(&ctx);
        let mut desk = bench.borrow_mut();
        oops(desk.machine.might_alloc(gfp))?;
        args::zones_agree(&mut desk, gfp.without(Gfp::HIGHMEM))?;
        let found = desk.machine.alloc_pages_exact(bytes, gfp.without(Gfp::HIGHMEM));
        super::address(&desk, found)
    }

    /// Frees what `alloc_pages_exact` gave; the size must be the same.
    ///
    /// ```vmlab
    /// > free_pages_exact(alloc_pages_exact(5000, GFP_KERNEL), 5000)
    /// ```
    ///
    /// Kernel: `free_pages_exact`, `mm/page_alloc.c`.
    #[rhai_fn(return_raw)]
    pub fn free_pages_exact(ctx: NativeCallContext, addr: Addr, size: Size) -> ScriptResult<()> {
        let (addr, bytes) = (args::addr("the address", &addr)?, args::size("the size", &size)?);
        let bench = Bench::of(&ctx);
        let mut desk = bench.borrow_mut();
        let pfn = direct(&desk, addr)?;
        oops(desk.machine.free_pages_exact(pfn, bytes))
    }

    /// Counts the free pages of all zones; those on per-CPU lists are not among them.
    ///
    /// ```vmlab
    /// > nr_free_pages() == zone("DMA").free + zone("DMA32").free
    /// true
    /// ```
    ///
    /// Kernel: `nr_free_pages`, `include/linux/vmstat.h`.
    pub fn nr_free_pages(ctx: NativeCallContext) -> i64 {
        Bench::of(&ctx).borrow().machine.nr_free_pages() as i64
    }

    /// Explains a mask: its flags, the zones it may use, what the caller may do, the watermark it is held to.
    ///
    /// ```vmlab
    /// > gfp(GFP_ATOMIC)
    /// GFP_ATOMIC = 0xa20
    ///   FLAG                           BIT  MEANING
    ///   __GFP_HIGH                    0x20  Important: may use half of the reserve below min.
    ///   __GFP_ATOMIC                 0x200  The caller cannot sleep and is important: it may go a quarter deeper below min.
    ///   __GFP_KSWAPD_RECLAIM         0x800  kswapd may be woken.
    ///   -> ZONE_NORMAL, here DMA
    ///   may not sleep, may wake kswapd, may use half of min, and a quarter of the rest;
    ///     unmovable pages, zones up to Normal.
    ///   watermark: low first, then min, half of it for __GFP_HIGH, a quarter less for __GFP_ATOMIC
    ///     (in DMA: 137, then 42)
    /// > gfp GFP_KERNEL|__GFP_ZERO
    /// GFP_KERNEL|__GFP_ZERO = 0xdc0
    ///   FLAG                           BIT  MEANING
    ///   __GFP_IO                      0x40  Reclaim may start input and output.
    ///   __GFP_FS                      0x80  Reclaim may call into the file system.
    ///   __GFP_ZERO                   0x100  The page comes filled with zeros.
    ///   __GFP_DIRECT_RECLAIM         0x400  The caller may reclaim itself, so it may sleep.
    ///   __GFP_KSWAPD_RECLAIM         0x800  kswapd may be woken.
    ///   -> ZONE_NORMAL, here DMA
    ///   may sleep and reclaim, may start IO, may enter the file system, may wake kswapd;
    ///     unmovable pages, zones up to Normal.
    ///   watermark: low first, then min (in DMA: 137, then 110)
    /// > gfp(0xcc0).rows[0].flag
    /// __GFP_IO
    /// > gfp __GFP_MEMALLOC|__GFP_NOMEMALLOC|__GFP_THISNODE | tail -3
    ///     unmovable pages, zones up to Normal.
    ///   watermark: low first, then min (in DMA: 137, then 110)
    ///   contradiction: __GFP_NOMEMALLOC is stronger than __GFP_MEMALLOC: no reserve is opened
    /// > gfp __GFP_WAIT|__GFP_HIGHIO | head -1
    /// GFP_NOFS = 0xc40
    /// > gfp("GFP_KERNL")
    /// error: no such flag: "GFP_KERNL"; did you mean GFP_KERNEL?
    ///  --> 1:5
    ///   |
    /// 1 | gfp("GFP_KERNL")
    ///   |     ^^^^^^^^^^^
    /// ```
    ///
    /// Kernel: `gfp_zone`, `include/linux/gfp.h`. Gorman: 6.4.
    /// Command: `gfp GFP_ATOMIC`, `gfp 0xcc0`
    #[rhai_fn(return_raw)]
    pub fn gfp(ctx: NativeCallContext, mask: GfpMask) -> ScriptResult<Table> {
        let gfp = args::gfp(&mask)?;
        Ok(crate::script::gfp::explain(&Bench::of(&ctx).borrow().machine, gfp))
    }

    /// Gives the pages of all per-CPU lists back to the buddy lists, and answers how many there were.
    ///
    /// ```vmlab
    /// > __free_page(alloc_page(GFP_KERNEL));
    /// > drain_pages() > 0
    /// true
    /// > drain_pages()
    /// 0
    /// ```
    ///
    /// Kernel: `drain_all_pages`, `mm/page_alloc.c`.
    /// Command: `drain_pages`
    pub fn drain_pages(ctx: NativeCallContext) -> i64 {
        Bench::of(&ctx).borrow_mut().machine.drain_all_pages(None) as i64
    }

    /// Makes the n-th page allocation from now on fail; 0 switches that off.
    ///
    /// ```vmlab
    /// > fail_nth(2)
    /// > alloc_page(GFP_KERNEL).order
    /// 0
    /// > alloc_page(GFP_KERNEL)
    /// ENOMEM (Cannot allocate memory)
    /// > explain()
    /// alloc_pages(GFP_KERNEL, 0) wanted 1 page and was made to fail by fail_nth: the zones were not asked.
    ///   mask: may sleep and reclaim, may start IO, may enter the file system, may wake kswapd;
    ///     unmovable pages, zones up to Normal.
    /// Kernel: __alloc_pages, get_page_from_freelist, zone_watermark_fast.
    ///   Next: kmem -z, gfp(mask), events()
    /// ```
    ///
    /// Kernel: `should_fail_alloc_page`, `mm/page_alloc.c`.
    #[rhai_fn(return_raw)]
    pub fn fail_nth(ctx: NativeCallContext, n: i64) -> ScriptResult<()> {
        let n = args::within("the number", n, i64::from(u32::MAX))?;
        Bench::of(&ctx).borrow_mut().machine.set_fail_nth(n.into());
        Ok(())
    }
}

fn page(desk: &mut Desk, found: Result<Pfn, Errno>) -> ScriptResult<OrErrno<PageRef>> {
    // With nobody left to kill the kernel has panicked: the run ends.
    super::task::alive(desk)?;
    super::memblock::late(desk)?;
    desk.told = Told::Pages;
    Ok(answer(found.map(|pfn| PageRef::new(desk, pfn))))
}

fn address(desk: &Desk, found: Result<Pfn, Errno>) -> ScriptResult<OrErrno<Address>> {
    super::task::alive(desk)?;
    super::memblock::late(desk)?;
    Ok(answer(found.map(|pfn| Address(desk.machine.phys_to_virt(pfn.phys()).0))))
}

/// `__get_free_pages` never takes a page without an address.
fn free_pages_at(bench: &Bench, gfp: Gfp, order: Order) -> ScriptResult<OrErrno<Address>> {
    let mut desk = bench.borrow_mut();
    oops(desk.machine.might_alloc(gfp))?;
    args::zones_agree(&mut desk, gfp.without(Gfp::HIGHMEM))?;
    let found = desk.machine.alloc_pages(gfp.without(Gfp::HIGHMEM), order);
    desk.told = Told::Pages;
    address(&desk, found)
}
