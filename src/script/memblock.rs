//! The boot allocator, on a machine that is stopped before it hands its memory over.
//!
//! ```text
//!   boot(#{ machine: "tiny", stop: "memblock" })     memblock is the only allocator
//!     memblock_reserve(…) memblock_alloc(…) …        ranges of bytes
//!     step()                                         the kernel's own next allocation
//!   memblock_free_all()                              what is left becomes the buddy allocator's
//! ```
//!
//! Gorman chapter 5. Kernel: `mm/memblock.c`.

mod view;

use crate::mm::addr::VirtAddr;
use crate::mm::errno::Errno;
use crate::mm::memblock::{Memblock, MemblockFlags, Request};
use crate::script::answer::{OrErrno, ScriptResult, answer, misuse};
use crate::script::args::{self, Address, Size};
use crate::script::bench::{Bench, Desk};
use crate::script::table::Table;
use rhai::plugin::*;

pub use view::{debugfs_memory, debugfs_reserved};

/// A physical address as an argument: an `addr`, an int, or a string such as `"16M"` or `"0x1000"`.
pub type Phys = Dynamic;

/// The boot allocator: which memory there is, and which of it is taken.
#[export_module]
pub mod functions {
    /// Shows the boot allocator's two lists: the memory there is, and what is taken of it.
    ///
    /// On a machine that was not stopped, `reserved` is what the buddy allocator never got.
    ///
    /// ```vmlab
    /// > boot(#{ machine: "tiny", stop: "memblock" });
    /// > memblock()
    /// TYPE      NR    BASE      END    SIZE  NODE  FLAGS
    /// memory     0    1000    9f000    632K  -     NONE
    /// memory     1  100000  1000000  15360K  -     NONE
    /// reserved   0       0   310000   3136K
    /// memory 15992K, reserved 3136K, free 13248K; top-down; next: initmem_init
    /// > memblock().rows[1].base
    /// 0x100000
    /// ```
    ///
    /// Kernel: `memblock_dump_all`, `mm/memblock.c`. Gorman: 5.1.
    /// Command: `memblock`
    pub fn memblock(ctx: NativeCallContext) -> Table {
        super::view::table(&Bench::of(&ctx).borrow().machine)
    }

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
        super::range(&ctx, "memblock_free", &Dynamic::from(base), &size, Memblock::phys_free)
    }

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
        let min = super::phys("the lower limit", &min_addr)?;
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
        let (start, end) = (super::phys("the start", &start)?, super::phys("the end", &end)?);
        super::alloc(&ctx, "memblock_phys_alloc_range", &size, &align, |r| r.between(start, end), false)
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
        super::change(&ctx, "memblock_set_bottom_up", |memblock| memblock.bottom_up = enable)
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
        let limit = super::phys("the limit", &limit)?;
        super::change(&ctx, "memblock_set_current_limit", |memblock| memblock.current_limit = limit)
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

    /// Is there memory at this physical address?
    ///
    /// ```vmlab
    /// > boot(#{ machine: "tiny", stop: "memblock" });
    /// > [memblock_is_memory("1M"), memblock_is_memory("16M")]
    /// [true, false]
    /// ```
    ///
    /// Kernel: `memblock_is_memory`.
    #[rhai_fn(return_raw)]
    pub fn memblock_is_memory(ctx: NativeCallContext, at: Phys) -> ScriptResult<bool> {
        let at = super::phys("the address", &at)?;
        Ok(Bench::of(&ctx).borrow().machine.memblock.memory.search(at).is_some())
    }

    /// Is this physical address taken?
    ///
    /// ```vmlab
    /// > boot(#{ machine: "tiny", stop: "memblock" });
    /// > [memblock_is_reserved("1M"), memblock_is_reserved("8M")]
    /// [true, false]
    /// ```
    ///
    /// Kernel: `memblock_is_reserved`.
    #[rhai_fn(return_raw)]
    pub fn memblock_is_reserved(ctx: NativeCallContext, at: Phys) -> ScriptResult<bool> {
        let at = super::phys("the address", &at)?;
        Ok(Bench::of(&ctx).borrow().machine.memblock.reserved.search(at).is_some())
    }

    /// Is a byte of this range taken?
    ///
    /// ```vmlab
    /// > boot(#{ machine: "tiny", stop: "memblock" });
    /// > memblock_reserve("8M", 4096)
    /// > memblock_is_region_reserved("7M", "2M")
    /// true
    /// ```
    ///
    /// Kernel: `memblock_is_region_reserved`.
    #[rhai_fn(return_raw)]
    pub fn memblock_is_region_reserved(ctx: NativeCallContext, base: Phys, size: Size) -> ScriptResult<bool> {
        let (base, size) = (super::phys("the address", &base)?, args::size("the size", &size)?);
        Ok(Bench::of(&ctx).borrow().machine.memblock.reserved.overlaps(base, size))
    }

    /// Bytes of memory there are.
    ///
    /// ```vmlab
    /// > boot(#{ machine: "tiny", stop: "memblock" });
    /// > [memblock_phys_mem_size(), memblock_reserved_size()]
    /// [16375808, 3211264]
    /// > [memblock_start_of_DRAM(), memblock_end_of_DRAM()]
    /// [0x1000, 0x1000000]
    /// ```
    ///
    /// Kernel: `memblock_phys_mem_size`.
    pub fn memblock_phys_mem_size(ctx: NativeCallContext) -> i64 {
        Bench::of(&ctx).borrow().machine.memblock.memory.total_size as i64
    }

    /// Bytes that are taken, whether there is memory or not.
    ///
    /// ```vmlab
    /// > boot(#{ machine: "tiny", stop: "memblock" });
    /// > memblock_reserve("8M", "1M")
    /// > memblock_reserved_size()
    /// 4259840
    /// ```
    ///
    /// Kernel: `memblock_reserved_size`.
    pub fn memblock_reserved_size(ctx: NativeCallContext) -> i64 {
        Bench::of(&ctx).borrow().machine.memblock.reserved.total_size as i64
    }

    /// The lowest address of memory.
    ///
    /// ```vmlab
    /// > boot(#{ machine: "tiny", stop: "memblock" });
    /// > memblock_start_of_DRAM()
    /// 0x1000
    /// ```
    ///
    /// Kernel: `memblock_start_of_DRAM`.
    #[allow(non_snake_case)] // The kernel's own spelling.
    pub fn memblock_start_of_DRAM(ctx: NativeCallContext) -> Address {
        Address(Bench::of(&ctx).borrow().machine.memblock.start_of_dram())
    }

    /// The first address beyond all memory.
    ///
    /// ```vmlab
    /// > boot(#{ machine: "tiny", stop: "memblock" });
    /// > memblock_end_of_DRAM()
    /// 0x1000000
    /// ```
    ///
    /// Kernel: `memblock_end_of_DRAM`.
    #[allow(non_snake_case)] // The kernel's own spelling.
    pub fn memblock_end_of_DRAM(ctx: NativeCallContext) -> Address {
        Address(Bench::of(&ctx).borrow().machine.memblock.end_of_dram())
    }

    /// Writes both lists into the kernel log, as `memblock=debug` does.
    ///
    /// ```vmlab
    /// > boot(#{ machine: "tiny", stop: "memblock" });
    /// > memblock_dump_all()
    /// > log
    /// [    0.000000] MEMBLOCK configuration:
    /// [    0.000000]  memory size = 0x0000000000f9e000 reserved size = 0x0000000000310000
    /// [    0.000000]  memory.cnt  = 0x2
    /// [    0.000000]  memory[0x0]	[0x0000000000001000-0x000000000009efff], 0x000000000009e000 bytes flags: 0x0
    /// [    0.000000]  memory[0x1]	[0x0000000000100000-0x0000000000ffffff], 0x0000000000f00000 bytes flags: 0x0
    /// [    0.000000]  reserved.cnt  = 0x1
    /// [    0.000000]  reserved[0x0]	[0x0000000000000000-0x000000000030ffff], 0x0000000000310000 bytes flags: 0x0
    /// ```
    ///
    /// Kernel: `memblock_dump_all`.
    pub fn memblock_dump_all(ctx: NativeCallContext) {
        let bench = Bench::of(&ctx);
        let machine = &mut bench.borrow_mut().machine;
        for line in machine.memblock.dump() {
            machine.printk(line);
        }
    }

    /// Does the rest of the boot: what is left becomes the buddy allocator's, in the largest aligned blocks.
    ///
    /// Answers how many pages that are. The machine is then as a kernel finds it before its first task: everything
    /// that is not reserved is free. Handles of zones stay good.
    ///
    /// ```vmlab
    /// > boot(#{ machine: "tiny", stop: "memblock" });
    /// > alloc_page(GFP_KERNEL)
    /// error: the buddy allocator has no memory yet: this machine is stopped at memblock; memblock_alloc(size, align) takes some now, memblock_free_all() hands it over
    /// > memblock_free_all()
    /// 3072
    /// > log | grep Memory:
    /// [    0.000000] Memory: 12288K/15992K available (658K kernel code, 107K rwdata, 418K rodata, 129K init, 797K bss, 3704K reserved, 0K cma-reserved)
    /// > alloc_page(GFP_KERNEL).order
    /// 0
    /// > boot(#{ machine: "tiny", stop: "memblock" });
    /// > memblock_reserve(0, "16M");
    /// > memblock_free_all()
    /// error: initmem_init: initmem_init: Failed to allocate 176128 bytes align=0x40 nid=0; the kernel would panic here: leave it more memory, or free some with memblock_phys_free
    /// ```
    ///
    /// Kernel: `memblock_free_all`, `mm/memblock.c`. Gorman: 5.4 (`free_all_bootmem`).
    /// Command: `memblock_free_all`
    #[rhai_fn(return_raw)]
    pub fn memblock_free_all(ctx: NativeCallContext) -> ScriptResult<i64> {
        let bench = Bench::of(&ctx);
        let mut desk = bench.borrow_mut();
        super::early(&desk, "memblock_free_all")?;
        match desk.machine.memblock_free_all() {
            Ok(pages) => Ok(pages as i64),
            Err(why) => misuse(why.to_string()),
        }
    }

    /// Shows what the boot allocator of 2.4 would have needed: a bit for each page of each node.
    ///
    /// ```vmlab
    /// > boot("x86_64-numa2");
    /// > bootmem()
    /// NODE  MIN_PFN  LOW_PFN   PAGES  BITMAP  PAGES_OF_BITMAP  BITS_SET
    ///    0        1   262144  262143   32768                8     15783
    ///    1   262144   524253  262109   32764                8      4223
    /// ```
    ///
    /// Kernel: `init_bootmem_core`, `bootmem_bootmap_pages`, `mm/bootmem.c` of 2.4. Gorman: 5.1.
    /// Command: `bootmem`
    pub fn bootmem(ctx: NativeCallContext) -> Table {
        super::view::bootmem(&Bench::of(&ctx).borrow().machine)
    }
}

/// The physical address that an argument means.
fn phys(what: &str, value: &Phys) -> ScriptResult<u64> {
    if value.is::<ImmutableString>() { args::size(what, value) } else { args::addr(what, value) }
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

/// Complains when memblock is not the allocator any more.
fn early(desk: &Desk, call: &str) -> ScriptResult<()> {
    if desk.machine.is_early() {
        return Ok(());
    }
    misuse(format!(
        "{call}: memblock has handed its memory over to the buddy allocator; boot(#{{ machine: {:?}, stop: \"memblock\" }}) stops before that",
        desk.machine.config.name
    ))
}

/// Complains when memblock is the only allocator yet.
pub fn late(desk: &Desk) -> ScriptResult<()> {
    if !desk.machine.is_early() {
        return Ok(());
    }
    misuse(
        "the buddy allocator has no memory yet: this machine is stopped at memblock; memblock_alloc(size, align) takes some now, memblock_free_all() hands it over",
    )
}

/// Changes something about memblock, and prints what it says.
fn change<T>(
    ctx: &NativeCallContext,
    call: &str,
    change: impl FnOnce(&mut Memblock) -> T,
) -> ScriptResult<T> {
    let bench = Bench::of(ctx);
    let mut desk = bench.borrow_mut();
    early(&desk, call)?;
    let answer = change(&mut desk.machine.memblock);
    desk.machine.print_memblock_lines();
    Ok(answer)
}

/// Changes a range of bytes.
fn range(
    ctx: &NativeCallContext,
    call: &str,
    base: &Phys,
    size: &Size,
    act: impl FnOnce(&mut Memblock, u64, u64) -> Result<(), Errno>,
) -> ScriptResult<OrErrno<()>> {
    /// 16 TiB: frame numbers have 32 bits.
    const END: u64 = 1 << 44;
    let (base, size) = (phys("the address", base)?, args::size("the size", size)?);
    if base.saturating_add(size) > END {
        return misuse(format!(
            "{call}: {size} bytes at {base:#x} end beyond {END:#x}: a machine has at most 16 TiB"
        ));
    }
    Ok(answer(change(ctx, call, |memblock| act(memblock, base, size))?))
}

/// Changes the memory there is: only where this architecture can reach it.
fn memory(
    ctx: &NativeCallContext,
    base: &Phys,
    size: &Size,
    act: impl FnOnce(&mut Memblock, u64, u64) -> Result<(), Errno>,
) -> ScriptResult<OrErrno<()>> {
    let (from, bytes) = (phys("the address", base)?, args::size("the size", size)?);
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
    let found = change(ctx, call, |memblock| match mapped {
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
