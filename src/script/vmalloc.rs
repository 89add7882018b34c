//! Memory that lies together in kernel addresses only.
//!
//! Gorman chapter 7. Kernel: `mm/vmalloc.c`, `arch/x86/mm/ioremap.c`.

use crate::mm::addr::{PAGE_SIZE, Pfn, VirtAddr};
use crate::mm::errno::Errno;
use crate::mm::gfp::Gfp;
use crate::mm::machine::Machine;
use crate::script::answer::{OrErrno, ScriptResult, answer, misuse, oops};
use crate::script::args::{self, Addr, Address, GfpMask, Size};
use crate::script::bench::{Bench, Desk};
use crate::script::handles::PageRef;
use crate::script::table::Table;
use crate::script::told::Told;
use rhai::Array;
use rhai::plugin::*;

/// Memory that lies together in kernel addresses only.
#[export_module]
pub mod functions {
    /// Allocates pages that may lie anywhere, and maps them next to each other in kernel addresses.
    ///
    /// A page without memory follows each area: who runs past the end is caught there.
    ///
    /// ```vmlab
    /// > let a = vmalloc("12k")
    /// 0xffffc90000000000
    /// > vmalloc(1)
    /// 0xffffc90000004000
    /// > kmem -v
    ///    VMAP_AREA         VM_STRUCT                 ADDRESS RANGE                SIZE
    /// ffff8880001c0000  ffff8880001c8000  ffffc90000000000 - ffffc90000004000    16384
    /// ffff8880001c0040  ffff8880001c8040  ffffc90000004000 - ffffc90000006000     8192
    /// > vmalloc(0)
    /// ENOMEM (Cannot allocate memory)
    /// > in_interrupt(|| vmalloc(4096))
    /// kernel BUG at mm/vmalloc.c!
    ///   BUG_ON(in_interrupt()): vmalloc may sleep: it allocates page tables and pages with GFP_KERNEL,
    ///     and waits when none is free
    ///   in an interrupt, take kmalloc(size, GFP_ATOMIC), or memory that was set aside before
    /// ```
    ///
    /// Kernel: `vmalloc`, `mm/vmalloc.c`. Gorman: 7.2.
    #[rhai_fn(return_raw)]
    pub fn vmalloc(ctx: NativeCallContext, size: Size) -> ScriptResult<OrErrno<Address>> {
        super::allocate(&ctx, &size, Gfp::KERNEL)
    }

    /// Allocates with `kmalloc` if the pages lie together without trouble, else with `vmalloc`; `kvfree` frees either.
    ///
    /// Above a page kmalloc makes one light attempt (`__GFP_NORETRY | __GFP_NOWARN`). A mask that may not sleep never
    /// falls back. `explain()` says which of the two it was.
    ///
    /// ```vmlab
    /// > ksize(kvmalloc(2000, GFP_KERNEL))
    /// 2048
    /// > let big = kvmalloc("8M", GFP_KERNEL)
    /// 0xffffc90000000000
    /// > explain()
    /// kvmalloc of 8388608 bytes got 0xffffc90000000000 from vmalloc: 2048 pages that lie anywhere.
    ///   kmalloc was tried first, with __GFP_NORETRY and __GFP_NOWARN: it gives at most KMALLOC_MAX_SIZE,
    ///     4194304 bytes.
    /// Kernel: kvmalloc_node. Next: kmem -v
    /// > kvfree(big);
    /// > kvmalloc("8M", GFP_ATOMIC)
    /// ENOMEM (Cannot allocate memory)
    /// ```
    ///
    /// Kernel: `kvmalloc_node`, `mm/util.c`. Gorman: 7.2.
    #[rhai_fn(return_raw)]
    pub fn kvmalloc(ctx: NativeCallContext, size: Size, gfp: GfpMask) -> ScriptResult<OrErrno<Address>> {
        super::either(&ctx, 1, &size, &gfp, Gfp::NONE)
    }

    /// Allocates room for `n` elements as `kvmalloc` does; a product that overflows is refused.
    ///
    /// ```vmlab
    /// > ksize(kvmalloc_array(10, 50, GFP_KERNEL))
    /// 512
    /// > kvmalloc_array(0x7fffffffffffffff, 16, GFP_KERNEL)
    /// ENOMEM (Cannot allocate memory)
    /// ```
    ///
    /// Kernel: `kvmalloc_array`, `include/linux/slab.h`. Gorman: 7.2.
    #[rhai_fn(return_raw)]
    pub fn kvmalloc_array(
        ctx: NativeCallContext,
        n: i64,
        size: Size,
        gfp: GfpMask,
    ) -> ScriptResult<OrErrno<Address>> {
        super::either(&ctx, n, &size, &gfp, Gfp::NONE)
    }

    /// The same, filled with zeros.
    ///
    /// ```vmlab
    /// > kread(kvcalloc(10, 50, GFP_KERNEL))
    /// 0
    /// ```
    ///
    /// Kernel: `kvcalloc`, `include/linux/slab.h`. Gorman: 7.2.
    #[rhai_fn(return_raw)]
    pub fn kvcalloc(
        ctx: NativeCallContext,
        n: i64,
        size: Size,
        gfp: GfpMask,
    ) -> ScriptResult<OrErrno<Address>> {
        super::either(&ctx, n, &size, &gfp, Gfp::ZERO)
    }

    /// Frees what `kvmalloc` gave, by `vfree` or by `kfree`: the address tells.
    ///
    /// ```vmlab
    /// > kvfree(kvmalloc("64k", GFP_KERNEL));
    /// ```
    ///
    /// Kernel: `kvfree`, `mm/util.c`. Gorman: 7.2.
    #[rhai_fn(return_raw)]
    pub fn kvfree(ctx: NativeCallContext, addr: Addr) -> ScriptResult<()> {
        let addr = args::addr("the address", &addr)?;
        let bench = Bench::of(&ctx);
        let machine = &mut bench.borrow_mut().machine;
        crate::script::slab::not_held(machine, "kvfree", addr)?;
        oops(machine.kvfree(VirtAddr(addr)))
    }

    /// The same as `vmalloc`, filled with zeros.
    ///
    /// ```vmlab
    /// > let a = vzalloc(8);
    /// > kread(a)
    /// 0
    /// ```
    ///
    /// Kernel: `vzalloc`, `mm/vmalloc.c`. Gorman: 7.2.
    #[rhai_fn(return_raw)]
    pub fn vzalloc(ctx: NativeCallContext, size: Size) -> ScriptResult<OrErrno<Address>> {
        super::allocate(&ctx, &size, Gfp(Gfp::KERNEL.0 | Gfp::ZERO.0))
    }

    /// The same, from pages that 32 bits of an address reach.
    ///
    /// ```vmlab
    /// > boot("x86_64-6G");
    /// > [vmalloc_to_page(vmalloc(4096)).zone.name, vmalloc_to_page(vmalloc_32(4096)).zone.name]
    /// "Normal"
    /// "DMA32"
    /// ```
    ///
    /// Kernel: `vmalloc_32`, `mm/vmalloc.c`. Gorman: 7.2.
    #[rhai_fn(return_raw)]
    pub fn vmalloc_32(ctx: NativeCallContext, size: Size) -> ScriptResult<OrErrno<Address>> {
        let gfp = Bench::of(&ctx).borrow().machine.vmalloc_32_mask();
        super::allocate(&ctx, &size, gfp)
    }

    /// Frees what `vmalloc` gave: entries and pages at once, the addresses with the next purge.
    ///
    /// ```vmlab
    /// > let a = vmalloc(4096);
    /// > vfree(a);
    /// > vmalloc(4096)
    /// 0xffffc90000002000
    /// > vfree(a)
    /// Trying to vfree() nonexistent vm area (ffffc90000000000)
    ///   it was freed already, and waits for the next purge; see kmem -v
    /// ```
    ///
    /// Kernel: `vfree`, `mm/vmalloc.c`. Gorman: 7.3.
    #[rhai_fn(return_raw)]
    pub fn vfree(ctx: NativeCallContext, addr: Addr) -> ScriptResult<()> {
        let addr = args::addr("the address", &addr)?;
        oops(Bench::of(&ctx).borrow_mut().machine.vfree(VirtAddr(addr)))
    }

    /// Maps pages that somebody has next to each other in kernel addresses.
    ///
    /// ```vmlab
    /// > let pages = [alloc_page(GFP_KERNEL), alloc_page(GFP_KERNEL)];
    /// > let a = vmap(pages)
    /// 0xffffc90000000000
    /// > vmalloc_to_page(a + 4096) == pages[1]
    /// true
    /// > vunmap(a)
    /// ```
    ///
    /// Kernel: `vmap`, `mm/vmalloc.c`. Gorman: 7.2.
    #[rhai_fn(return_raw)]
    pub fn vmap(ctx: NativeCallContext, pages: Array) -> ScriptResult<OrErrno<Address>> {
        let bench = Bench::of(&ctx);
        let mut desk = bench.borrow_mut();
        let mut pfns = Vec::with_capacity(pages.len());
        for page in &pages {
            let Some(page) = page.read_lock::<PageRef>().map(|page| *page) else {
                return misuse(format!("vmap takes an array of pages, and this is a {}", page.type_name()));
            };
            page.read(&desk)?;
            pfns.push(page.pfn);
        }
        let found = oops(desk.machine.vmap(&pfns))?;
        super::address(&desk, found)
    }

    /// Takes a mapping of `vmap` away; the pages stay.
    ///
    /// ```vmlab
    /// > vunmap(vmap([alloc_page(GFP_KERNEL)]))
    /// > vunmap(0xffffc90000001001)
    /// Trying to vfree() bad address (ffffc90000001001)
    ///   an area begins at a page's first byte: give what vmalloc answered
    /// ```
    ///
    /// Kernel: `vunmap`, `mm/vmalloc.c`. Gorman: 7.3.
    #[rhai_fn(return_raw)]
    pub fn vunmap(ctx: NativeCallContext, addr: Addr) -> ScriptResult<()> {
        let addr = args::addr("the address", &addr)?;
        oops(Bench::of(&ctx).borrow_mut().machine.vunmap(VirtAddr(addr)))
    }

    /// Maps physical addresses of a device, uncached. RAM is refused.
    ///
    /// ```vmlab
    /// > ioremap(0xfed00010, 16)
    /// 0xffffc90000000010
    /// > ioremap(0x100000, 4096)
    /// ENOMEM (Cannot allocate memory)
    /// > iounmap(0xffffc90000000010)
    /// > iounmap(0xffffc90000000010)
    /// iounmap: bad address ffffc90000000010
    ///   ioremap gave no such address; see kmem -v
    /// ```
    ///
    /// Kernel: `ioremap`, `arch/x86/mm/ioremap.c`. Gorman: 7.1.
    #[rhai_fn(return_raw)]
    pub fn ioremap(ctx: NativeCallContext, phys: Addr, size: Size) -> ScriptResult<OrErrno<Address>> {
        let (phys, size) = (args::addr("the address", &phys)?, args::size("the size", &size)?);
        let bench = Bench::of(&ctx);
        let mut desk = bench.borrow_mut();
        let found = oops(desk.machine.ioremap(phys, size))?;
        super::address(&desk, found)
    }

    /// Takes a mapping of `ioremap` away.
    ///
    /// ```vmlab
    /// > iounmap(ioremap(0xfed00000, 4096))
    /// ```
    ///
    /// Kernel: `iounmap`, `arch/x86/mm/ioremap.c`. Gorman: 7.1.
    #[rhai_fn(return_raw)]
    pub fn iounmap(ctx: NativeCallContext, addr: Addr) -> ScriptResult<()> {
        let addr = args::addr("the address", &addr)?;
        oops(Bench::of(&ctx).borrow_mut().machine.iounmap(VirtAddr(addr)))
    }

    /// The page behind an address of `vmalloc`.
    ///
    /// ```vmlab
    /// > vmalloc_to_page(vmalloc(4096))
    /// page pfn=0x400 order=0 zone=DMA node=0
    /// > vmalloc_to_page(0xffffc90000100000)
    /// error: nothing is mapped at 0xffffc90000100000; see kmem -v
    /// ```
    ///
    /// Kernel: `vmalloc_to_page`, `mm/vmalloc.c`. Gorman: 7.2.
    #[rhai_fn(return_raw)]
    pub fn vmalloc_to_page(ctx: NativeCallContext, addr: Addr) -> ScriptResult<PageRef> {
        let addr = args::addr("the address", &addr)?;
        let bench = Bench::of(&ctx);
        let mut desk = bench.borrow_to_look();
        let found: Option<Pfn> = desk.machine.vmalloc_to_page(VirtAddr(addr));
        match found.filter(|pfn| desk.machine.mem_map.contains(*pfn)) {
            Some(pfn) => Ok(PageRef::new(&mut desk, pfn)),
            None => misuse(format!("nothing is mapped at {addr:#x}; see kmem -v")),
        }
    }

    /// Lets kernel code read 8 bytes at any kernel address, as the running task sees them.
    ///
    /// Addresses of `vmalloc` are walked through the page tables that the task uses. On a 32-bit PC an old task may
    /// lack an entry there: the *vmalloc fault* copies it from the kernel's own table. `vmalloc_faults()` tells the last.
    ///
    /// ```vmlab
    /// > boot("classic");
    /// > let old = spawn("old");
    /// > let a = vmalloc(4096);
    /// > kernel_read(old, a)
    /// 0
    /// > vmalloc_faults()
    /// 1
    /// > kernel_read(old, a)
    /// 0
    /// > vmalloc_faults()
    /// 1
    /// > kernel_read(spawn("young"), a)
    /// 0
    /// > vmalloc_faults()
    /// 1
    /// > kernel_read(old, a + 4096)
    /// BUG: unable to handle page fault for address: f8801000
    ///   it is the guard page behind the area at f8800000: the code ran past its end
    /// ```
    ///
    /// Kernel: `vmalloc_fault`, `arch/x86/mm/fault.c`. Gorman: 4.6.1.
    #[rhai_fn(return_raw)]
    pub fn kernel_read(ctx: NativeCallContext, p: args::Who, addr: Addr) -> ScriptResult<i64> {
        let addr = args::addr("the address", &addr)?;
        let bench = Bench::of(&ctx);
        let mut desk = bench.borrow_mut();
        let pid = args::who(&desk, &p)?;
        let mut bytes = [0; 8];
        for (n, byte) in bytes.iter_mut().enumerate() {
            let at = VirtAddr(addr.wrapping_add(n as u64));
            let pfn = oops(desk.machine.as_task(pid, |m| m.kernel_access(at, false)))?;
            *byte = desk.machine.contents.get(pfn).map_or(0, |page| page[(at.0 % PAGE_SIZE) as usize]);
        }
        Ok(i64::from_le_bytes(bytes))
    }

    /// How often a task lacked an entry of the kernel's page tables.
    ///
    /// ```vmlab
    /// > vmalloc_faults()
    /// 0
    /// ```
    ///
    /// Kernel: `vmalloc_fault`, `arch/x86/mm/fault.c`. Gorman: 4.6.1.
    pub fn vmalloc_faults(ctx: NativeCallContext) -> i64 {
        Bench::of(&ctx).borrow().machine.nr_vmalloc_faults as i64
    }
}

/// The last vmalloc fault: who lacked which entry, and what was copied.
pub fn explain(machine: &Machine) -> ScriptResult<Table> {
    let Some(fault) = &machine.last_vmalloc_fault else {
        return misuse(if machine.has_vmalloc_fault() {
            "explain(\"vmalloc\"): no task has lacked an entry of the kernel's page tables so far"
        } else {
            "explain(\"vmalloc\"): on this machine every task has the kernel's entries from its beginning: there is no vmalloc fault"
        });
    };
    let top = machine.tables.geometry.name(machine.tables.geometry.top());
    let entry = fault.entry.raw(machine.config.arch, machine.tables.geometry.top());
    let area = machine.vmalloc.find(fault.addr.0);
    let place = area.map_or("an area that is gone".into(), |a| format!("the area at {:x}", a.start));
    let (comm, pid, addr, cpu, index) = (fault.comm, fault.pid, fault.addr, fault.cpu, fault.index);
    Ok(Table::prose(&format!(
        "{comm} (task {pid}) ran on CPU {cpu} when kernel code touched {addr}, in {place}.\n\
         \x20 1. The processor walks the {top} of the running task: entry {index} was empty there.\n\
         \x20 2. vmalloc had made its entries in the kernel's own tables (init_mm), after {comm} was started.\n\
         \x20 3. The fault handler copied entry {index} from init_mm: {entry:x}. The tables below are shared.\n\
         \x20 4. The access was tried again and went through. A task that is started now has the entry already.\n\
         Kernel: vmalloc_fault, vmalloc_sync_one. Book: \"Non-contiguous memory\". Next: vtop(addr), kmem -v\n"
    )))
}

fn allocate(ctx: &NativeCallContext, size: &Size, gfp: Gfp) -> ScriptResult<OrErrno<Address>> {
    let size = args::size("the size", size)?;
    let bench = Bench::of(ctx);
    let mut desk = bench.borrow_mut();
    crate::script::memblock::late(&desk)?;
    let found = oops(desk.machine.vmalloc(size, gfp))?;
    desk.told = if found.is_ok() { Told::Pages } else { Told::NoArea(size) };
    address(&desk, found)
}

/// `kvmalloc` of `n` elements.
fn either(
    ctx: &NativeCallContext,
    n: i64,
    size: &Size,
    gfp: &GfpMask,
    more: Gfp,
) -> ScriptResult<OrErrno<Address>> {
    let Ok(n) = u64::try_from(n) else {
        return misuse(format!("{n} elements: a number cannot be negative"));
    };
    let (size, gfp) = (args::size("the size", size)?, args::gfp(gfp)? | more);
    let Some(bytes) = n.checked_mul(size) else { return Ok(answer::<Address>(Err(Errno::ENOMEM))) };
    let bench = Bench::of(ctx);
    let mut desk = bench.borrow_mut();
    crate::script::memblock::late(&desk)?;
    args::zones_agree(&mut desk, gfp)?;
    let found = oops(desk.machine.kvmalloc(bytes, gfp))?;
    desk.told = match found {
        Ok(addr) if desk.machine.is_vmalloc_addr(addr) => Told::Fallback(bytes, addr),
        Ok(_) => Told::Object,
        Err(_) if desk.machine.kvmalloc_may_fall_back(bytes, gfp) => Told::NoArea(bytes),
        Err(_) => Told::NoObject(bytes),
    };
    address(&desk, found)
}

fn address(desk: &Desk, found: Result<VirtAddr, Errno>) -> ScriptResult<OrErrno<Address>> {
    super::task::alive(desk)?;
    super::memblock::late(desk)?;
    Ok(answer(found.map(|addr| Address(addr.0))))
}
