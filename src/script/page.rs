//! Page frames as a script sees them: the fields of `struct page`.
//!
//! Gorman 2.3. Kernel: `include/linux/mm_types.h`.

use crate::mm::addr::Pfn;
use crate::script::answer::{OrNothing, ScriptResult, maybe, misuse};
use crate::script::args::{self, Addr, Address};
use crate::script::bench::{Bench, Desk};
use crate::script::handles::{PageRef, ZoneRef};
use rhai::plugin::*;

/// Page frames: their descriptors and their addresses.
#[export_module]
pub mod functions {
    /// The page of a frame, by its number.
    ///
    /// ```vmlab
    /// > page(812)
    /// page pfn=0x32c order=0 zone=DMA node=0
    /// > page(0x10).refcount
    /// 1
    /// > page(100000000)
    /// error: there is no frame 0x5f5e100: memory ends at pfn 0x1000
    /// ```
    ///
    /// Kernel: `pfn_to_page`, `include/asm-generic/memory_model.h`. Gorman: 2.3.
    #[rhai_fn(return_raw)]
    pub fn page(ctx: NativeCallContext, pfn: i64) -> ScriptResult<PageRef> {
        let bench = Bench::of(&ctx);
        let mut desk = bench.borrow_to_look();
        let pfn = super::pfn(&desk, pfn)?;
        Ok(PageRef::new(&mut desk, pfn))
    }

    /// The page of a frame, by its number, under the kernel's name.
    ///
    /// ```vmlab
    /// > pfn_to_page(812) == page(812)
    /// true
    /// ```
    ///
    /// Kernel: `pfn_to_page`, `include/asm-generic/memory_model.h`.
    #[rhai_fn(return_raw)]
    pub fn pfn_to_page(ctx: NativeCallContext, pfn: i64) -> ScriptResult<PageRef> {
        page(ctx, pfn)
    }

    /// The number of the page's frame.
    ///
    /// ```vmlab
    /// > page_to_pfn(page(812))
    /// 812
    /// ```
    ///
    /// Kernel: `page_to_pfn`, `include/asm-generic/memory_model.h`.
    pub fn page_to_pfn(page: PageRef) -> i64 {
        page.pfn.0.into()
    }

    /// The kernel's address of the page's first byte; nothing for a page of HighMem, which has none of its own.
    ///
    /// ```vmlab
    /// > page_address(page(812))
    /// 0xffff88800032c000
    /// ```
    ///
    /// Kernel: `page_address`, `mm/highmem.c`. Gorman: 9.2.
    pub fn page_address(ctx: NativeCallContext, page: PageRef) -> OrNothing<Address> {
        maybe(Bench::of(&ctx).borrow().machine.page_address(page.pfn).map(|virt| Address(virt.0)))
    }

    /// The page that an address of the kernel's direct map lies in.
    ///
    /// ```vmlab
    /// > virt_to_page(0xffff88800032c010)
    /// page pfn=0x32c order=0 zone=DMA node=0
    /// > virt_to_page(0x1000)
    /// error: 0x1000 is no address of the kernel's direct map, which begins at 0xffff888000000000
    /// ```
    ///
    /// Kernel: `virt_to_page`, `arch/x86/include/asm/page.h`.
    #[rhai_fn(return_raw)]
    pub fn virt_to_page(ctx: NativeCallContext, addr: Addr) -> ScriptResult<PageRef> {
        let bench = Bench::of(&ctx);
        let mut desk = bench.borrow_to_look();
        let pfn = super::direct(&desk, args::addr("the address", &addr)?)?;
        Ok(PageRef::new(&mut desk, pfn))
    }

    /// The physical address behind one of the kernel's direct map.
    ///
    /// ```vmlab
    /// > __pa(0xffff88800032c010)
    /// 0x32c010
    /// ```
    ///
    /// Kernel: `__pa`, `arch/x86/include/asm/page.h`. Gorman: 3.7.1.
    #[rhai_fn(return_raw)]
    pub fn __pa(ctx: NativeCallContext, addr: Addr) -> ScriptResult<Address> {
        let virt = crate::mm::addr::VirtAddr(args::addr("the address", &addr)?);
        Ok(Address(Bench::of(&ctx).borrow().machine.virt_to_phys(virt).0))
    }

    /// The kernel's address of a physical one.
    ///
    /// ```vmlab
    /// > __va(0x32c010)
    /// 0xffff88800032c010
    /// ```
    ///
    /// Kernel: `__va`, `arch/x86/include/asm/page.h`. Gorman: 3.7.1.
    #[rhai_fn(return_raw)]
    pub fn __va(ctx: NativeCallContext, phys: Addr) -> ScriptResult<Address> {
        let phys = crate::mm::addr::PhysAddr(args::addr("the address", &phys)?);
        Ok(Address(Bench::of(&ctx).borrow().machine.phys_to_virt(phys).0))
    }

    /// Takes a reference: the page is freed only when every reference is dropped.
    ///
    /// ```vmlab
    /// > let p = alloc_page(GFP_KERNEL);
    /// > get_page(p)
    /// > p.refcount
    /// 2
    /// ```
    ///
    /// Kernel: `get_page`, `include/linux/mm.h`.
    #[rhai_fn(return_raw)]
    pub fn get_page(ctx: NativeCallContext, page: PageRef) -> ScriptResult<()> {
        let bench = Bench::of(&ctx);
        let mut desk = bench.borrow_mut();
        if page.read(&desk)?.refcount == 0 {
            return misuse(format!(
                "page pfn={} is free: a reference can be taken only of a page in use",
                page.pfn
            ));
        }
        desk.machine.mem_map.page_mut(page.pfn).refcount += 1;
        Ok(())
    }

    /// Drops a reference; the last one frees the page.
    ///
    /// ```vmlab
    /// > let p = alloc_page(GFP_KERNEL);
    /// > put_page(p)
    /// > p.refcount
    /// error: use after free: page pfn=0x400 was freed after this handle was made
    ///  --> 1:3
    ///   |
    /// 1 | p.refcount
    ///   |   ^^^^^^^^
    /// ```
    ///
    /// Kernel: `put_page`, `mm/swap.c`.
    #[rhai_fn(return_raw)]
    pub fn put_page(ctx: NativeCallContext, page: PageRef) -> ScriptResult<()> {
        let bench = Bench::of(&ctx);
        let mut desk = bench.borrow_mut();
        let pfn = page.give_back(&mut desk)?;
        crate::script::answer::oops(desk.machine.put_page(pfn))
    }

    /// The number of the frame.
    #[rhai_fn(get = "pfn", pure)]
    pub fn page_pfn(page: &mut PageRef) -> i64 {
        page.pfn.0.into()
    }

    /// The flags: `uptodate,lru,active`.
    #[rhai_fn(get = "flags", pure, return_raw)]
    pub fn flags(ctx: NativeCallContext, page: &mut PageRef) -> ScriptResult<String> {
        Ok(page.read(&Bench::of(&ctx).borrow())?.flags().to_string())
    }

    /// How many hold the page; 0 is free.
    #[rhai_fn(get = "refcount", pure, return_raw)]
    pub fn refcount(ctx: NativeCallContext, page: &mut PageRef) -> ScriptResult<i64> {
        Ok(page.read(&Bench::of(&ctx).borrow())?.refcount.into())
    }

    /// How many page-table entries map it.
    #[rhai_fn(get = "mapcount", pure, return_raw)]
    pub fn mapcount(ctx: NativeCallContext, page: &mut PageRef) -> ScriptResult<i64> {
        Ok(page.read(&Bench::of(&ctx).borrow())?.mapcount().into())
    }

    /// The order of the block that begins here.
    #[rhai_fn(get = "order", pure, return_raw)]
    pub fn order(ctx: NativeCallContext, page: &mut PageRef) -> ScriptResult<i64> {
        Ok(page.read(&Bench::of(&ctx).borrow())?.order().get().into())
    }

    /// The zone it lies in.
    #[rhai_fn(get = "zone", pure, return_raw)]
    pub fn zone(ctx: NativeCallContext, page: &mut PageRef) -> ScriptResult<ZoneRef> {
        let bench = Bench::of(&ctx);
        let desk = bench.borrow();
        Ok(ZoneRef::new(&desk, page.read(&desk)?.zone()))
    }

    /// The number of the node it lies on.
    #[rhai_fn(get = "node", pure, return_raw)]
    pub fn node(ctx: NativeCallContext, page: &mut PageRef) -> ScriptResult<i64> {
        let bench = Bench::of(&ctx);
        let desk = bench.borrow();
        Ok(desk.machine.zones[page.read(&desk)?.zone().index()].node.0.into())
    }

    /// The mobility of the pageblock it lies in: `Movable`.
    #[rhai_fn(get = "migratetype", pure, return_raw)]
    pub fn migratetype(ctx: NativeCallContext, page: &mut PageRef) -> ScriptResult<String> {
        let bench = Bench::of(&ctx);
        let desk = bench.borrow();
        page.read(&desk)?;
        Ok(desk.machine.pageblocks.get(page.pfn).name().into())
    }

    /// The physical address of its first byte.
    #[rhai_fn(get = "phys", pure)]
    pub fn phys(page: &mut PageRef) -> Address {
        Address(page.pfn.phys().0)
    }

    /// Is the handle still good? Freeing the page makes it stale.
    #[rhai_fn(get = "alive", pure)]
    pub fn alive(ctx: NativeCallContext, page: &mut PageRef) -> bool {
        page.is_live(&Bench::of(&ctx).borrow())
    }

    #[rhai_fn(global, name = "to_string", name = "to_debug", pure)]
    pub fn page_string(ctx: NativeCallContext, page: &mut PageRef) -> String {
        page.text(&Bench::of(&ctx).borrow())
    }

    #[rhai_fn(name = "==")]
    pub fn page_equals(a: PageRef, b: PageRef) -> bool {
        a == b
    }

    #[rhai_fn(name = "!=")]
    pub fn page_differs(a: PageRef, b: PageRef) -> bool {
        a != b
    }
}

/// A frame that has a descriptor.
pub(crate) fn pfn(desk: &Desk, pfn: i64) -> ScriptResult<Pfn> {
    match u32::try_from(pfn).ok().map(Pfn).filter(|&pfn| desk.machine.mem_map.contains(pfn)) {
        Some(pfn) => Ok(pfn),
        None => {
            let end = desk.machine.mem_map.end_pfn();
            misuse(format!("there is no frame {pfn:#x}: memory ends at pfn {end:#x}"))
        }
    }
}

/// The frame behind an address of the direct map.
pub(crate) fn direct(desk: &Desk, addr: u64) -> ScriptResult<Pfn> {
    match desk.machine.virt_to_pfn(crate::mm::addr::VirtAddr(addr)) {
        Some(pfn) => Ok(pfn),
        None => {
            let start = desk.machine.layout.direct.start;
            misuse(format!("{addr:#x} is no address of the kernel's direct map, which begins at {start:#x}"))
        }
    }
}
