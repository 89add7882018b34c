//! Ranges of memory: there are more of them, or fewer; they are taken, given back, and marked.
//!
//! Gorman 5.2. Kernel: `mm/memblock.c` (`memblock_add_range`, `memblock_setclr_flag`).

use super::Phys;
use crate::mm::errno::Errno;
use crate::mm::memblock::{Memblock, MemblockFlags};
use crate::script::answer::{OrErrno, ScriptResult, answer, misuse};
use crate::script::args::{self, Size};
use crate::script::bench::Bench;
use rhai::plugin::*;

/// Ranges of the boot allocator.
#[export_module]
pub mod functions {
    /// Adds a range to the memory there is; a node may be named.
    ///
    /// Parts that are memory already stay as they are; neighbours of one kind become one region.
    ///
    /// ```vmlab
    /// > boot(#{ machine: "tiny", stop: "memblock" });
    /// > memblock_add("16M", "16M")
    /// > memblock().rows[1].end
    /// 0x2000000
    /// > memblock_add("64M", "16M", 0)
    /// > memblock().rows[2].node
    /// 0
    /// > memblock_add("64M", "16M", 7)
    /// error: there is no node 7: this machine has node 0
    /// ```
    ///
    /// Kernel: `memblock_add`, `memblock_add_node`. Gorman: 5.2.
    #[rhai_fn(return_raw)]
    pub fn memblock_add(ctx: NativeCallContext, base: Phys, size: Size) -> ScriptResult<OrErrno<()>> {
        super::memory(&ctx, &base, &size, |memblock, base, size| memblock.add(base, size, None))
    }

    #[rhai_fn(name = "memblock_add", return_raw)]
    pub fn memblock_add_node(
        ctx: NativeCallContext,
        base: Phys,
        size: Size,
        nid: i64,
    ) -> ScriptResult<OrErrno<()>> {
        let nid = crate::script::zone::nid(&Bench::of(&ctx).borrow(), nid)?;
        super::memory(&ctx, &base, &size, |memblock, base, size| memblock.add(base, size, Some(nid)))
    }

    /// Takes a range away from the memory there is.
    ///
    /// ```vmlab
    /// > boot(#{ machine: "tiny", stop: "memblock" });
    /// > memblock_remove("8M", "1M")
    /// > memblock_is_memory(addr(0x800000))
    /// false
    /// > memblock().rows.filter(|r| r.type == "memory").len
    /// 3
    /// ```
    ///
    /// Kernel: `memblock_remove`.
    #[rhai_fn(return_raw)]
    pub fn memblock_remove(ctx: NativeCallContext, base: Phys, size: Size) -> ScriptResult<OrErrno<()>> {
        super::memory(&ctx, &base, &size, Memblock::remove)
    }

    /// Takes a range: nobody is given it, and the buddy allocator never gets it.
    ///
    /// ```vmlab
    /// > boot(#{ machine: "tiny", stop: "memblock" });
    /// > memblock_reserve("8M", "1M")
    /// > memblock_is_reserved("8M")
    /// true
    /// > memblock_free_all();
    /// > page(0x800).flags
    /// reserved
    /// > page(0x900).flags
    ///
    /// > memblock_reserve("9M", "1M")
    /// error: memblock_reserve: memblock has handed its memory over to the buddy allocator; boot(#{ machine: "tiny", stop: "memblock" }) stops before that
    /// ```
    ///
    /// Kernel: `memblock_reserve`. Gorman: 5.2.2 (`reserve_bootmem`).
    #[rhai_fn(return_raw)]
    pub fn memblock_reserve(ctx: NativeCallContext, base: Phys, size: Size) -> ScriptResult<OrErrno<()>> {
        super::range(&ctx, "memblock_reserve", &base, &size, Memblock::reserve)
    }

    /// Gives a range back by its physical address; what was not taken is passed over.
    ///
    /// ```vmlab
    /// > boot(#{ machine: "tiny", stop: "memblock" });
    /// > let at = memblock_phys_alloc("64k", "64k")
    /// 0xff0000
    /// > memblock_phys_free(at, "64k")
    /// > memblock_is_reserved(at)
    /// false
    /// ```
    ///
    /// Kernel: `memblock_phys_free`. Gorman: 5.4 (`free_bootmem`).
    #[rhai_fn(return_raw)]
    pub fn memblock_phys_free(ctx: NativeCallContext, base: Phys, size: Size) -> ScriptResult<OrErrno<()>> {
        super::range(&ctx, "memblock_phys_free", &base, &size, Memblock::phys_free)
    }

    /// Tells which node the memory of a range belongs to.
    ///
    /// ```vmlab
    /// > boot(#{ machine: "x86_64-numa2", stop: "memblock" });
    /// > memblock_set_node("512M", "256M", 1)
    /// > memblock().rows.filter(|r| r.node == 1).len
    /// 1
    /// ```
    ///
    /// Kernel: `memblock_set_node`.
    #[rhai_fn(return_raw)]
    pub fn memblock_set_node(
        ctx: NativeCallContext,
        base: Phys,
        size: Size,
        nid: i64,
    ) -> ScriptResult<OrErrno<()>> {
        let nid = crate::script::zone::nid(&Bench::of(&ctx).borrow(), nid)?;
        super::range(&ctx, "memblock_set_node", &base, &size, |memblock, base, size| {
            memblock.set_node(base, size, Some(nid))
        })
    }

    /// Marks memory as not to be mapped: nobody is given it, its pages are reserved.
    ///
    /// ```vmlab
    /// > boot(#{ machine: "tiny", stop: "memblock" });
    /// > memblock_mark_nomap("15M", "1M")
    /// > memblock_phys_alloc("1M", "1M")
    /// 0xe00000
    /// > memblock_clear_nomap("15M", "1M")
    /// ```
    ///
    /// Kernel: `memblock_mark_nomap`, `memblock_clear_nomap`.
    #[rhai_fn(return_raw)]
    pub fn memblock_mark_nomap(ctx: NativeCallContext, base: Phys, size: Size) -> ScriptResult<OrErrno<()>> {
        super::mark(&ctx, "memblock_mark_nomap", &base, &size, MemblockFlags::NOMAP, true)
    }

    /// Takes the mark of `memblock_mark_nomap` away.
    ///
    /// ```vmlab
    /// > boot(#{ machine: "tiny", stop: "memblock" });
    /// > memblock_mark_nomap("15M", "1M")
    /// > memblock_clear_nomap("15M", "1M")
    /// > memblock().rows[1].flags
    /// NONE
    /// ```
    ///
    /// Kernel: `memblock_clear_nomap`.
    #[rhai_fn(return_raw)]
    pub fn memblock_clear_nomap(ctx: NativeCallContext, base: Phys, size: Size) -> ScriptResult<OrErrno<()>> {
        super::mark(&ctx, "memblock_clear_nomap", &base, &size, MemblockFlags::NOMAP, false)
    }

    /// Marks memory as removable.
    ///
    /// On a machine with `movable_node: true` the kernel keeps off it, and it becomes ZONE_MOVABLE.
    ///
    /// ```vmlab
    /// > boot(#{ machine: "x86_64-numa2", movable_node: true, stop: "memblock" });
    /// > memblock_mark_hotplug("1G", "1G")
    /// > memblock_free_all();
    /// > zone("Movable").zone_start_pfn
    /// 262144
    /// ```
    ///
    /// Kernel: `memblock_mark_hotplug`, `memblock_clear_hotplug`.
    #[rhai_fn(return_raw)]
    pub fn memblock_mark_hotplug(
        ctx: NativeCallContext,
        base: Phys,
        size: Size,
    ) -> ScriptResult<OrErrno<()>> {
        super::mark(&ctx, "memblock_mark_hotplug", &base, &size, MemblockFlags::HOTPLUG, true)
    }

    /// Takes the mark of `memblock_mark_hotplug` away.
    ///
    /// ```vmlab
    /// > boot(#{ machine: "tiny", stop: "memblock" });
    /// > memblock_mark_hotplug("8M", "8M")
    /// > memblock_clear_hotplug("8M", "4M")
    /// > memblock().rows.filter(|r| r.flags == "HOTPLUG")[0].base
    /// 0xc00000
    /// ```
    ///
    /// Kernel: `memblock_clear_hotplug`.
    #[rhai_fn(return_raw)]
    pub fn memblock_clear_hotplug(
        ctx: NativeCallContext,
        base: Phys,
        size: Size,
    ) -> ScriptResult<OrErrno<()>> {
        super::mark(&ctx, "memblock_clear_hotplug", &base, &size, MemblockFlags::HOTPLUG, false)
    }

    /// Marks memory as mirrored: the kernel's own allocations go there first.
    ///
    /// ```vmlab
    /// > boot(#{ machine: "tiny", stop: "memblock" });
    /// > memblock_mark_mirror("4M", "1M")
    /// > memblock_phys_alloc("1M", "1M")
    /// 0x400000
    /// > memblock_phys_alloc("1M", "1M")
    /// 0xf00000
    /// > log | tail -1
    /// [    0.000000] Could not allocate 0x0000000000100000 bytes of mirrored memory
    /// ```
    ///
    /// Kernel: `memblock_mark_mirror`.
    #[rhai_fn(return_raw)]
    pub fn memblock_mark_mirror(ctx: NativeCallContext, base: Phys, size: Size) -> ScriptResult<OrErrno<()>> {
        super::mark(&ctx, "memblock_mark_mirror", &base, &size, MemblockFlags::MIRROR, true)
    }
}

/// Changes a range of bytes.
pub(super) fn range(
    ctx: &NativeCallContext,
    call: &str,
    base: &Phys,
    size: &Size,
    act: impl FnOnce(&mut Memblock, u64, u64) -> Result<(), Errno>,
) -> ScriptResult<OrErrno<()>> {
    /// 16 TiB: frame numbers have 32 bits.
    const END: u64 = 1 << 44;
    let (base, size) = (super::phys("the address", base)?, args::size("the size", size)?);
    if base.saturating_add(size) > END {
        return misuse(format!(
            "{call}: {size} bytes at {base:#x} end beyond {END:#x}: a machine has at most 16 TiB"
        ));
    }
    Ok(answer(super::change(ctx, call, |memblock| act(memblock, base, size))?))
}

/// Changes the memory there is: only where this architecture can reach it.
fn memory(
    ctx: &NativeCallContext,
    base: &Phys,
    size: &Size,
    act: impl FnOnce(&mut Memblock, u64, u64) -> Result<(), Errno>,
) -> ScriptResult<OrErrno<()>> {
    let (from, bytes) = (super::phys("the address", base)?, args::size("the size", size)?);
    let arch = Bench::of(ctx).borrow().machine.config.arch;
    let reach = arch.max_phys();
    if from.saturating_add(bytes) > reach {
        return misuse(format!(
            "{bytes} bytes at {from:#x} end beyond {reach:#x}, the last address that {} reaches",
            arch.name()
        ));
    }
    range(ctx, "memblock_add", base, size, act)
}

fn mark(
    ctx: &NativeCallContext,
    call: &str,
    base: &Phys,
    size: &Size,
    flag: MemblockFlags,
    on: bool,
) -> ScriptResult<OrErrno<()>> {
    range(ctx, call, base, size, |memblock, base, size| memblock.mark(base, size, flag, on))
}
