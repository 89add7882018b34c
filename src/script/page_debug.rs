//! Who has a page, and who wrote where he should not have: page owner, poison, and the kernel's own view of memory.
//!
//! Kernel: `mm/page_owner.c`, `mm/page_poison.c`.

use crate::mm::Machine;
use crate::mm::addr::{PAGE_SIZE, Pfn, VirtAddr};
use crate::mm::boot::kstrtobool;
use crate::mm::errno::Oops;
use crate::mm::page::PageType;
use crate::script::answer::{ScriptResult, misuse, oops};
use crate::script::args::{self, Addr};
use crate::script::bench::Bench;
use crate::script::proc::page_owner as file;
use crate::script::table::Table;
use rhai::plugin::*;
use std::ops::Range;

/// Who has a page, and who wrote where he should not have.
#[export_module]
pub mod functions {
    /// Pages in use by who asked for them; `page_owner("on")` begins to record, `page_owner("off")` ends it.
    ///
    /// A kernel does so from boot on, or not at all: `boot(machine, "page_owner=on")`. Pages that were in use before are
    /// those of `swapper/0`. The records themselves are in `/sys/kernel/debug/page_owner`; `whatis` tells that of one page.
    ///
    /// ```vmlab
    /// > page_owner("on");
    /// > let p = alloc_pages(GFP_KERNEL | __GFP_COMP, 2);
    /// > spawn("app");
    /// > page_owner()
    /// TIMES  PAGES  ORDER  PID  COMM    MASK
    ///     2     16      3   24  script  __GFP_IO|__GFP_FS|__GFP_NOWARN|__GFP_NORETRY|__GFP_COMP|__GFP_NOMEMALLOC
    ///     2      8      2   24  script  __GFP_IO|__GFP_FS|__GFP_NOWARN|__GFP_NORETRY|__GFP_COMP|__GFP_NOMEMALLOC
    ///     4      4      0   24  script  GFP_KERNEL|__GFP_HIGHMEM|__GFP_NOWARN|__GFP_ZERO
    ///     1      4      2   24  script  GFP_KERNEL|__GFP_COMP
    ///     3      3      0    3  app     GFP_KERNEL_ACCOUNT|__GFP_ZERO
    ///     3      3      0   24  script  GFP_KERNEL|__GFP_ZERO
    ///     3      3      0   24  script  GFP_KERNEL|__GFP_NOWARN|__GFP_NORETRY
    ///     2      2      0    3  app     GFP_KERNEL|__GFP_NOWARN|__GFP_NORETRY
    ///     1      2      1   24  script  __GFP_IO|__GFP_FS|__GFP_NOWARN|__GFP_NORETRY|__GFP_COMP|__GFP_NOMEMALLOC
    ///     1      2      1   24  script  GFP_KERNEL_ACCOUNT|__GFP_ZERO
    ///     1      1      0    3  app     GFP_HIGHUSER_MOVABLE|__GFP_COMP|__GFP_ZERO
    /// > cat /sys/kernel/debug/page_owner | head -2
    /// Page allocated via order 2, mask 0x40cc0(GFP_KERNEL|__GFP_COMP), pid 24, tgid 24 (script), ts 0 ns, free_ts 0 ns
    /// PFN 1024 type Unmovable Block 2 type Unmovable Flags 0x7ffffc0010000(head|node=0|zone=0|lastcpupid=0x1fffff)
    /// > whatis ffff888000400000 | tail -1
    ///   allocated by pid 24 "script" alloc_pages(GFP_KERNEL|__GFP_COMP, order 2) at tick 0
    /// > page_owner("off");
    /// > cat /sys/kernel/debug/page_owner
    /// error: /sys/kernel/debug/page_owner: no such file on this machine: page owner is off; boot(machine, "page_owner=on"), or page_owner("on")
    /// ```
    ///
    /// Kernel: `mm/page_owner.c`, `tools/vm/page_owner_sort.c`.
    /// Command: `page_owner`, `page_owner on`
    #[rhai_fn(return_raw)]
    pub fn page_owner(ctx: NativeCallContext) -> ScriptResult<Table> {
        let bench = Bench::of(&ctx);
        let desk = bench.borrow();
        if !desk.machine.page_owner.enabled {
            return misuse("page owner is off: boot(machine, \"page_owner=on\"), or page_owner(\"on\")");
        }
        Ok(file::sorted(&desk.machine))
    }

    #[rhai_fn(name = "page_owner", return_raw)]
    pub fn switch_page_owner(ctx: NativeCallContext, switch: &str) -> ScriptResult<()> {
        let on = super::switch("page_owner", switch)?;
        Bench::of(&ctx).borrow_mut().machine.set_page_owner(on);
        Ok(())
    }

    /// Fills freed pages with 0xaa and checks them when they are given out: `page_poison("on")`, `page_poison("off")`.
    ///
    /// A kernel does so from boot on, or not at all: `boot(machine, "page_poison=1")`. What is free now counts as filled.
    /// A page that was written after it was freed is reported in the log, and given out all the same.
    ///
    /// ```vmlab
    /// > page_poison("on");
    /// > let p = alloc_page(GFP_KERNEL);
    /// > let a = page_address(p);
    /// > __free_page(p);
    /// > kread(a) == 0xaaaaaaaaaaaaaaaa
    /// true
    /// > kwrite(a + 16, 0x1122);
    /// > alloc_page(GFP_KERNEL).pfn == p.pfn
    /// true
    /// > log | tail -5
    /// [    0.000000] pagealloc: memory corruption
    /// [    0.000000] ffff888000400010: 22 11 00 00 00 00 00 00                          ".......
    /// [    0.000000] page:ffffea0000010000 refcount:1 mapcount:0 mapping:0000000000000000 index:0x0 pfn:0x400
    /// [    0.000000] flags: 0x7ffffc0000000(node=0|zone=0|lastcpupid=0x1fffff)
    /// [    0.000000] page dumped because: pagealloc: corrupted page details
    /// > events("page_poison:*")[0].explain
    /// Frame 0x400 was written after it was freed: 8 bytes at 0x10 no longer held the pattern 0xaa.
    /// ```
    ///
    /// Kernel: `mm/page_poison.c`.
    /// Command: `page_poison on`
    #[rhai_fn(return_raw)]
    pub fn page_poison(ctx: NativeCallContext, switch: &str) -> ScriptResult<()> {
        let on = super::switch("page_poison", switch)?;
        Bench::of(&ctx).borrow_mut().machine.set_page_poison(on);
        Ok(())
    }

    /// Reads 8 bytes at an address of the kernel, little-endian, whoever has the page.
    ///
    /// The direct map, vmalloc areas and windows into HighMem are read as the running task's tables map them; the frame of
    /// a page table answers its entries.
    ///
    /// ```vmlab
    /// > let a = get_zeroed_page(GFP_KERNEL);
    /// > kwrite(a, 42);
    /// > kread(a)
    /// 42
    /// > kread(0x1000)
    /// BUG: unable to handle page fault for address: 0000000000001000
    ///   it is an address of user space: the kernel reaches it by copy_from_user only; write read(p, addr)
    /// ```
    ///
    /// Kernel: `arch/x86/include/asm/page.h`, `arch/x86/mm/fault.c`.
    #[rhai_fn(return_raw)]
    pub fn kread(ctx: NativeCallContext, addr: Addr) -> ScriptResult<i64> {
        let addr = args::addr("the address", &addr)?;
        let bench = Bench::of(&ctx);
        let machine = &mut bench.borrow_to_look().machine;
        if let Some(entry) = super::table_entry(machine, addr) {
            return Ok(entry as i64);
        }
        if machine.virt_to_pfn(VirtAddr(addr)).is_some() {
            let bytes = machine.kernel_read(VirtAddr(addr), 8);
            return Ok(i64::from_le_bytes(bytes.try_into().unwrap_or_default()));
        }
        let mut bytes = [0; 8];
        for (pfn, offset, range) in oops(super::pieces(machine, addr, false))? {
            machine.read_phys(pfn, offset, &mut bytes[range]);
        }
        Ok(i64::from_le_bytes(bytes))
    }

    /// Writes 8 bytes at an address of the kernel, little-endian, whoever has the page.
    ///
    /// Nothing stops the kernel from writing into a page that is free: `page_poison("on")` finds it out.
    ///
    /// ```vmlab
    /// > let p = spawn("app");
    /// > let a = mmap(p, 0, 4096, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS);
    /// > write(p, a, 1);
    /// > kwrite(0xffff888000000000 + addr(vtop(p, a).rows[0].physical) - addr(0), 7);
    /// > read(p, a)
    /// 7
    /// ```
    ///
    /// Kernel: `arch/x86/include/asm/page.h`.
    #[rhai_fn(return_raw)]
    pub fn kwrite(ctx: NativeCallContext, addr: Addr, value: Addr) -> ScriptResult<()> {
        let addr = args::addr("the address", &addr)?;
        let bytes = args::addr("the value", &value)?.to_le_bytes();
        let bench = Bench::of(&ctx);
        let machine = &mut bench.borrow_mut().machine;
        if super::table_entry(machine, addr).is_some() {
            return misuse(format!(
                "{addr:#x} lies in a page table: its entries are changed by mmap, mprotect and faults"
            ));
        }
        if machine.virt_to_pfn(VirtAddr(addr)).is_some() {
            machine.kernel_write(VirtAddr(addr), &bytes);
            return Ok(());
        }
        for (pfn, offset, range) in oops(super::pieces(machine, addr, true))? {
            machine.write_phys(pfn, offset, &bytes[range]);
        }
        Ok(())
    }
}

/// `on` or `off`, as the kernel's command line takes them.
fn switch(what: &str, word: &str) -> ScriptResult<bool> {
    match kstrtobool(word) {
        Some(on) => Ok(on),
        None => misuse(format!("{what}({word:?}): it is \"on\" or \"off\"")),
    }
}

/// The entry at an address of the direct map that lies in a page table.
fn table_entry(machine: &Machine, addr: u64) -> Option<u64> {
    let pfn = machine.virt_to_pfn(VirtAddr(addr))?;
    if machine.mem_map.page(pfn).page_type() != Some(PageType::Table) {
        return None;
    }
    let bytes = machine.tables.geometry.entry_bytes();
    machine.tables.entry_in(pfn, (VirtAddr(addr).offset() / bytes) as usize)
}

/// Where 8 bytes at an address lie: frame, offset in it, and which of the bytes.
fn pieces(machine: &mut Machine, addr: u64, write: bool) -> Result<Vec<(Pfn, usize, Range<usize>)>, Oops> {
    let first = (PAGE_SIZE - VirtAddr(addr).offset()).min(8) as usize;
    let parts = [0..first, first..8].into_iter().filter(|part| !part.is_empty());
    let mut pieces = Vec::new();
    for part in parts {
        let at = VirtAddr(addr.wrapping_add(part.start as u64));
        pieces.push((machine.kernel_access(at, write)?, at.offset() as usize, part));
    }
    Ok(pieces)
}
