//! The kmalloc family: memory from the size class that fits.
//!
//! Gorman 8.4. Kernel: `mm/slab_common.c`.

use super::node_of;
use crate::mm::addr::VirtAddr;
use crate::mm::errno::Errno;
use crate::mm::gfp::Gfp;
use crate::script::answer::{OrErrno, ScriptResult, answer, misuse, oops};
use crate::script::args::{self, Addr, Address, GfpMask, Size};
use crate::script::bench::Bench;
use crate::script::takes::NodeNumber;
use crate::script::told::Told;
use rhai::plugin::*;

/// The kmalloc family: memory from the size class that fits.
#[export_module]
pub mod functions {
    /// Allocates memory of the kernel from the size class that fits.
    ///
    /// ```vmlab
    /// > let a = kmalloc(100, GFP_KERNEL);
    /// > ksize(a)
    /// 128
    /// > kfree(a);
    /// > kmalloc(0, GFP_KERNEL)
    /// 0x10
    /// > kmalloc("5M", GFP_KERNEL)
    /// ENOMEM (Cannot allocate memory)
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
    /// 0
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
    /// 1
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
    /// 512
    /// > kcalloc(0x7fffffffffffffff, 16, GFP_KERNEL)
    /// ENOMEM (Cannot allocate memory)
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
    /// > kwrite(a, 42);
    /// > krealloc(a, 128, GFP_KERNEL) == a
    /// true
    /// > let b = krealloc(a, 300, GFP_KERNEL);
    /// > [b == a, kread(b), ksize(b)]
    /// [false, 42, 512]
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
        super::super::not_held(&desk.machine, "krealloc", addr)?;
        let moved = oops(desk.machine.krealloc(VirtAddr(addr), size, gfp))?;
        Ok(answer(moved.map(|addr| Address(addr.0))))
    }

    /// Frees what `kmalloc` or a cache gave; `kfree(0)` does nothing.
    ///
    /// ```vmlab
    /// > let a = kmalloc(64, GFP_KERNEL);
    /// > kfree(a);
    /// > kfree(a)
    /// BUG kmalloc-64 (Not tainted): Object already free
    ///   0xffff888000400000 is on the free list already: it was freed once too often
    /// ```
    ///
    /// Kernel: `kfree`, `mm/slab_common.c`. Gorman: 8.4.
    #[rhai_fn(return_raw)]
    pub fn kfree(ctx: NativeCallContext, addr: Addr) -> ScriptResult<()> {
        let addr = args::addr("the address", &addr)?;
        let bench = Bench::of(&ctx);
        let machine = &mut bench.borrow_mut().machine;
        super::super::not_held(machine, "kfree", addr)?;
        oops(machine.kfree(VirtAddr(addr)))
    }

    /// How many bytes may be used of what `kmalloc` gave; an object of a slab is not asked whether it is free.
    ///
    /// ```vmlab
    /// > [ksize(kmalloc(1, GFP_KERNEL)), ksize(kmalloc(129, GFP_KERNEL)), ksize(kmalloc(20000, GFP_KERNEL))]
    /// [8, 192, 32768]
    /// ```
    ///
    /// Kernel: `ksize`, `mm/slab_common.c`. Gorman: 8.4.
    #[rhai_fn(return_raw)]
    pub fn ksize(ctx: NativeCallContext, addr: Addr) -> ScriptResult<i64> {
        let addr = args::addr("the address", &addr)?;
        let bytes = oops(Bench::of(&ctx).borrow_to_look().machine.ksize(VirtAddr(addr)))?;
        Ok(bytes as i64)
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
    desk.told = if given.is_ok() { Told::Object } else { Told::NoObject(size) };
    crate::script::task::alive(&desk)?;
    Ok(answer(given.map(|addr| Address(addr.0))))
}
