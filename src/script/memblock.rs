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

mod allocation;
mod ranges;
mod view;

use crate::mm::memblock::Memblock;
use crate::script::answer::{ScriptResult, misuse};
use crate::script::args::{self, Address, Size};
use crate::script::bench::{Bench, Desk};
use crate::script::table::Table;
use rhai::plugin::*;

pub use view::{debugfs_memory, debugfs_reserved};

/// A physical address as an argument: an `addr`, an int, or a string such as `"16M"` or `"0x1000"`.
pub type Phys = Dynamic;

/// All of the chapter.
pub fn module() -> Module {
    let mut module = exported_module!(functions);
    combine_with_exported_module!(&mut module, "ranges", ranges::functions);
    combine_with_exported_module!(&mut module, "allocation", allocation::functions);
    module
}

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
