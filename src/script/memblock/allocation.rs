//! What memblock gives: the highest free range that has room, or the lowest.
//!
//! Gorman 5.3. Kernel: `mm/memblock.c` (`memblock_alloc_range_nid`, `memblock_find_in_range_node`).

use super::Phys;
use crate::mm::addr::VirtAddr;
use crate::mm::memblock::{Memblock, Request};
use crate::script::answer::{OrErrno, ScriptResult, answer, misuse};
use crate::script::args::{self, Address, Size};
use crate::script::bench::{Bench, Desk};
use rhai::plugin::*;

/// Allocations of the boot allocator.
#[export_module]
pub mod functions {
    /// Takes so many bytes from the highest free range that has room, and answers the kernel's address of the first.
    ///
    /// The first byte is a multiple of `align`. With `memblock_set_bottom_up(true)` it is the lowest range.
    ///
    /// ```vmlab
    /// > boot(#{ machine: "tiny", stop: "memblock" });
    /// > memblock_alloc(100, 64)
    /// 0xffff888000ffff80
    /// > memblock_alloc("1M", 4096)
    /// 0xffff888000eff000
    /// > memblock_alloc("1G", 4096)
    /// ENOMEM (Cannot allocate memory)
    /// > memblock_set_bottom_up(true)
    /// > memblock_alloc(100, 64)
    /// 0xffff888000310000
    /// ```
    ///
    /// Kernel: `memblock_alloc`. Gorman: 5.3 (`alloc_bootmem`).
    #[rhai_fn(return_raw)]
    pub fn memblock_alloc(ctx: NativeCallContext, size: Size, align: Size) -> ScriptResult<OrErrno<Address>> {
        super::alloc(&ctx, "memblock_alloc", &size, &align, |r| r, true)
    }

    /// The same on a node, or on another one when that has no room.
    ///
    /// Memory belongs to nodes from `initmem_init` on; before it no node has any.
    ///
    /// ```vmlab
    /// > boot(#{ machine: "x86_64-numa2", stop: "memblock" });
    /// > step()
    /// > __pa(memblock_alloc_node("1M", "1M", 0)) < 1 * GiB
    /// true
    /// ```
    ///
    /// Kernel: `memblock_alloc_node`. Gorman: 5.3 (`alloc_bootmem_node`).
    #[rhai_fn(return_raw)]
    pub fn memblock_alloc_node(
        ctx: NativeCallContext,
        size: Size,
        align: Size,
        nid: i64,
    ) -> ScriptResult<OrErrno<Address>> {
        let nid = crate::script::zone::nid(&Bench::of(&ctx).borrow(), nid)?;
        super::alloc(&ctx, "memblock_alloc_node", &size, &align, |r| r.near(Some(nid)), true)
    }

    /// The same from below 4 GiB.
    ///
    /// ```vmlab
    /// > boot(#{ machine: "x86_64-6G", stop: "memblock" });
    /// > __pa(memblock_alloc_low("1M", "1M")) < 4 * GiB
    /// true
    /// ```
    ///
    /// Kernel: `memblock_alloc_low`. Gorman: 5.3 (`alloc_bootmem_low`).
    #[rhai_fn(return_raw)]
    pub fn memblock_alloc_low(
        ctx: NativeCallContext,
        size: Size,
        align: Size,
    ) -> ScriptResult<OrErrno<Address>> {
        super::alloc(&ctx, "memblock_alloc_low", &size, &align, |r| r.between(0, 4 << 30), true)
    }

    /// The same from a lower limit up, which is given up when there is no room.
    ///
    /// ```vmlab
    /// > boot(#{ machine: "tiny", stop: "memblock" });
    /// > memblock_set_bottom_up(true)
    /// > memblock_alloc_from("64k", "64k", "8M")
    /// 0xffff888000800000
    /// ```
    ///
    /// Kernel: `memblock_alloc_from`.
    #[rhai_fn(return_raw)]
    pub fn memblock_alloc_from(
        ctx: NativeCallContext,
        size: Size,
        align: Size,
        min_addr: Phys,
    ) -> ScriptResult<OrErrno<Address>> {
        let min = super::super::phys("the lower limit", &min_addr)?;
        super::alloc(&ctx, "memblock_alloc_from", &size, &align, |r| r.between(min, 0), true)
    }

    /// Takes so many bytes and answers their physical address.
    ///
    /// ```vmlab
    /// > boot(#{ machine: "tiny", stop: "memblock" });
    /// > memblock_phys_alloc("1M", "1M")
    /// 0xf00000
    /// ```
    ///
    /// Kernel: `memblock_phys_alloc`.
    #[rhai_fn(return_raw)]
    pub fn memblock_phys_alloc(
        ctx: NativeCallContext,
        size: Size,
        align: Size,
    ) -> ScriptResult<OrErrno<Address>> {
        super::alloc(&ctx, "memblock_phys_alloc", &size, &align, |r| r, false)
    }

    /// The same between two physical addresses.
    ///
    /// ```vmlab
    /// > boot(#{ machine: "tiny", stop: "memblock" });
    /// > memblock_phys_alloc_range("1M", "1M", "4M", "8M")
    /// 0x700000
    /// > memblock_phys_alloc_range("1M", "1M", "8M", "8M")
    /// ENOMEM (Cannot allocate memory)
    /// ```
    ///
    /// Kernel: `memblock_phys_alloc_range`.
    #[rhai_fn(return_raw)]
    pub fn memblock_phys_alloc_range(
        ctx: NativeCallContext,
        size: Size,
        align: Size,
        start: Phys,
        end: Phys,
    ) -> ScriptResult<OrErrno<Address>> {
        let (start, end) = (super::super::phys("the start", &start)?, super::super::phys("the end", &end)?);
        super::alloc(&ctx, "memblock_phys_alloc_range", &size, &align, |r| r.between(start, end), false)
    }

    /// Gives back what `memblock_alloc` gave, by its address.
    ///
    /// ```vmlab
    /// > boot(#{ machine: "tiny", stop: "memblock" });
    /// > memblock_free(memblock_alloc(4096, 4096), 4096)
    /// > memblock_free(0x1000, 4096)
    /// error: 0x1000 is no address of the kernel's direct map, which begins at 0xffff888000000000
    /// ```
    ///
    /// Kernel: `memblock_free`.
    #[rhai_fn(return_raw)]
    pub fn memblock_free(ctx: NativeCallContext, addr: args::Addr, size: Size) -> ScriptResult<OrErrno<()>> {
        let addr = args::addr("the address", &addr)?;
        let base = super::direct(&Bench::of(&ctx).borrow(), addr)?;
        super::super::ranges::range(&ctx, "memblock_free", &Dynamic::from(base), &size, Memblock::phys_free)
    }

    /// Lets the search begin at low addresses, or at high ones.
    ///
    /// ```vmlab
    /// > boot(#{ machine: "tiny", stop: "memblock" });
    /// > memblock_set_bottom_up(true)
    /// > memblock | tail -1
    /// memory 15992K, reserved 3136K, free 13248K; bottom-up; next: initmem_init
    /// ```
    ///
    /// Kernel: `memblock_set_bottom_up`.
    #[rhai_fn(return_raw)]
    pub fn memblock_set_bottom_up(ctx: NativeCallContext, enable: bool) -> ScriptResult<()> {
        super::super::change(&ctx, "memblock_set_bottom_up", |memblock| memblock.bottom_up = enable)
    }

    /// Sets the address at and above which nothing is allocated.
    ///
    /// ```vmlab
    /// > boot(#{ machine: "tiny", stop: "memblock" });
    /// > memblock_set_current_limit("8M")
    /// > memblock_phys_alloc("1M", "1M")
    /// 0x700000
    /// ```
    ///
    /// Kernel: `memblock_set_current_limit`.
    #[rhai_fn(return_raw)]
    pub fn memblock_set_current_limit(ctx: NativeCallContext, limit: Phys) -> ScriptResult<()> {
        let limit = super::super::phys("the limit", &limit)?;
        super::super::change(&ctx, "memblock_set_current_limit", |memblock| memblock.current_limit = limit)
    }
}

/// The physical address behind one of the direct map; memory that was added just now counts.
fn direct(desk: &Desk, addr: u64) -> ScriptResult<Address> {
    let machine = &desk.machine;
    let base = machine.virt_to_phys(VirtAddr(addr)).0;
    if machine.memblock.memory.search(base).is_some() {
        return Ok(Address(base));
    }
    let first = machine.layout.direct.start;
    misuse(format!("{addr:#x} is no address of the kernel's direct map, which begins at {first:#x}"))
}

/// Allocates, and answers the physical address or that of the direct map.
fn alloc(
    ctx: &NativeCallContext,
    call: &str,
    size: &Size,
    align: &Size,
    shape: impl FnOnce(Request) -> Request,
    mapped: bool,
) -> ScriptResult<OrErrno<Address>> {
    let (bytes, align) = (args::size("the size", size)?, args::size("the alignment", align)?);
    if bytes == 0 {
        return misuse(format!("{call}: 0 bytes cannot be allocated"));
    }
    if align != 0 && !align.is_power_of_two() {
        return misuse(format!("{call}: the alignment is {align}, but must be a power of two"));
    }
    let request = shape(Request::new(bytes, align));
    let found = super::change(ctx, call, |memblock| match mapped {
        true => memblock.alloc_try_nid(request),
        false => memblock.alloc_range_nid(request),
    })?;
    let bench = Bench::of(ctx);
    let desk = bench.borrow();
    let address = |at: u64| match mapped {
        true => Address(desk.machine.phys_to_virt(crate::mm::addr::PhysAddr(at)).0),
        false => Address(at),
    };
    Ok(answer(found.map(address)))
}
