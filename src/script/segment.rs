//! Segments, and the rooms of the kernel's addresses.
//!
//! Kernel: `arch/x86/include/asm/segment.h`, `mem_init`.

use crate::mm::Machine;
use crate::mm::segment::{Descriptor, KERNEL_PERCPU, Protection};
use crate::script::answer::{ScriptResult, misuse};
use crate::script::args::{self, Addr, Who};
use crate::script::bench::{Bench, Desk};
use crate::script::ps::list;
use crate::script::table::{Cell, Column, Record, Table};
use rhai::plugin::*;

/// Segments, and the rooms of the kernel's addresses.
#[export_module]
pub mod functions {
    /// The entries of the GDT that every task uses: where each segment begins, how far it reaches, which ring may use it.
    ///
    /// ```vmlab
    /// > boot("i386-2G");
    /// > gdt()
    /// ENTRY  SELECTOR  NAME                 BASE     LIMIT  RING  KIND
    ///    12      0x60  __KERNEL_CS             0  ffffffff     0  code
    ///    13      0x68  __KERNEL_DS             0  ffffffff     0  data
    ///    14      0x73  __USER_CS               0  ffffffff     3  code
    ///    15      0x7b  __USER_DS               0  ffffffff     3  data
    ///    26      0xd0  __ESPFIX_SS             0  ffffffff     0  data
    ///    27      0xd8  __KERNEL_PERCPU  c32cc000  ffffffff     0  data
    /// note: base of __KERNEL_PERCPU: this CPU's unit; the kernel's is less by __per_cpu_start, which is not known
    /// > boot("arm64-512M");
    /// > gdt()
    /// error: arm64 has no segments: its addresses are linear from the start; boot("i386-2G") has them
    /// ```
    ///
    /// Kernel: `gdt_page`, `arch/x86/kernel/cpu/common.c`. Gorman: 3.
    /// Command: `gdt`
    #[rhai_fn(return_raw)]
    pub fn gdt(ctx: NativeCallContext) -> ScriptResult<Table> {
        super::gdt(&Bench::of(&ctx).borrow().machine)
    }

    /// From a logical address to a physical one: the segment's base and limit, the linear address, the page tables.
    ///
    /// With a task, its code asks from ring 3; without, the kernel's from ring 0.
    ///
    /// ```vmlab
    /// > boot("i386-2G");
    /// > let p = spawn("sh");
    /// > let m = mmap(p, 0, 4096, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS);
    /// > write(p, m, 1);
    /// > segment(p, 0x7b, m)
    /// logical   7b:b7ff9000  entry 15 of the GDT, __USER_DS, ring 3
    /// linear    b7ff9000  base 0, limit ffffffff
    ///
    /// VIRTUAL   PHYSICAL
    /// b7ff9000  7ffbc000
    ///
    ///    PGD: 36bdfb7c => 36bdc067
    ///    PTE: 36bdcfe4 => 7ffbc067
    ///   PAGE: 7ffbc000
    ///
    ///   PTE     PHYSICAL  FLAGS
    /// 7ffbc067  7ffbc000  (PRESENT|RW|USER|ACCESSED|DIRTY)
    ///
    ///   VMA       START       END     FLAGS FILE
    /// c3854a68   b7ff9000   b7ffa000 100073
    ///
    ///   PAGE   PHYSICAL  MAPPING   INDEX CNT FLAGS
    /// c53ff560 7ffbc000 c2c100a9    b7ff9  1 a0014 uptodate,lru,anon_exclusive,swapbacked
    /// > segment(p, 0x68, m)
    /// error: general protection fault: 68:b7ff9000: ring 3 asks for a segment of ring 0
    /// > segment(0xd8, 0).rows[0].linear
    /// 0xc32cc000
    /// > segment(0x78, "what")
    /// error: the offset must be an addr or an int, not the string "what"
    ///  --> 1:15
    ///   |
    /// 1 | segment(0x78, "what")
    ///   |               ^^^^^^
    /// ```
    ///
    /// Kernel: `arch/x86/include/asm/segment.h`. Gorman: 3.
    #[rhai_fn(return_raw)]
    pub fn segment(ctx: NativeCallContext, p: Who, selector: i64, offset: Addr) -> ScriptResult<Table> {
        super::translate(&Bench::of(&ctx).borrow(), Some(&p), selector, &offset)
    }

    #[rhai_fn(name = "segment", return_raw)]
    pub fn segment_of_kernel(ctx: NativeCallContext, selector: i64, offset: Addr) -> ScriptResult<Table> {
        super::translate(&Bench::of(&ctx).borrow(), None, selector, &offset)
    }

    /// The rooms of the kernel's addresses: the lines that kernels of this architecture printed when they booted.
    ///
    /// 32-bit x86 and ARM printed them up to 5.6, arm64 up to 4.15: 6.1 does not. A machine whose spec says
    /// `kernel: "5.6"` has them in its log.
    ///
    /// ```vmlab
    /// > boot("i386-2G");
    /// > memory_layout()
    /// virtual kernel memory layout:
    ///     fixmap  : 0xffdb7000 - 0xfffff000   (2336 kB)
    ///     pkmap   : 0xfec00000 - 0xff000000   (4096 kB)
    ///     vmalloc : 0xf73fe000 - 0xfebfe000   ( 120 MB)
    ///     lowmem  : 0xc0000000 - 0xf6bfe000   ( 875 MB)
    ///       .init : 0xc1d70400 - 0xc1e54400   ( 912 kB)
    ///       .data : 0xc191bc00 - 0xc1d70400   (4434 kB)
    ///       .text : 0xc1000000 - 0xc191bc00   (9327 kB)
    /// note: kernels up to 5.6 printed this when they booted
    /// > boot("arm64-512M");
    /// > memory_layout()
    /// Virtual kernel memory layout:
    ///     modules : 0xffff800000000000 - 0xffff800008000000   (   128 MB)
    ///     vmalloc : 0xffff800008000000 - 0xfffffbfff0000000   (126975 GB)
    ///       .text : 0xffff800008010000 - 0xffff800008d00000   ( 13248 KB)
    ///     .rodata : 0xffff800008d00000 - 0xffff800009648000   (  9504 KB)
    ///       .init : 0xffff800009660000 - 0xffff800009cb0000   (  6464 KB)
    ///       .data : 0xffff800009cb0000 - 0xffff800009f6d800   (  2806 KB)
    ///        .bss : 0xffff800009f6d800 - 0xffff80000a00a400   (   627 KB)
    ///     fixed   : 0xfffffbfffdbfb000 - 0xfffffbfffe000000   (  4116 KB)
    ///     PCI I/O : 0xfffffbfffe800000 - 0xfffffbffff800000   (    16 MB)
    ///     vmemmap : 0xfffffc0000000000 - 0xfffffe0000000000   (  2048 GB maximum)
    ///               0xfffffc0000000000 - 0xfffffc0000800000   (     8 MB actual)
    ///     memory  : 0xffff000000000000 - 0xffff000020000000   (   512 MB)
    /// note: kernels up to 4.15 printed this when they booted
    /// > boot(#{ arch: "i386", mem: "1G", kernel: "5.6" });
    /// > log | grep -E "virtual kernel|fixmap|lowmem"
    /// [    0.000000] virtual kernel memory layout:
    /// [    0.000000]     fixmap  : 0xffdb7000 - 0xfffff000   (2336 kB)
    /// [    0.000000]     lowmem  : 0xc0000000 - 0xf8000000   ( 896 MB)
    /// > boot("x86_64-1G");
    /// > memory_layout()
    ///     direct  : 0xffff888000000000 - 0xffff88803ffdd000   (  1023 MB)
    ///     vmalloc : 0xffffc90000000000 - 0xffffe8ffffffffff   ( 32767 GB)
    ///     vmemmap : 0xffffea0000000000 - 0xffffea0000fff740   (    15 MB)
    ///     image   : 0xffffffff80000000 - 0xffffffffc0000000   (  1024 MB)
    ///     modules : 0xffffffffc0000000 - 0xffffffffff000000   (  1008 MB)
    ///     fixmap  : 0xffffffffff578000 - 0xffffffffff7ff000   (  2588 KB)
    /// note: no kernel of this architecture printed this
    /// > memory_layout().rows[0].start
    /// 0xffff888000000000
    /// ```
    ///
    /// Kernel: `mem_init`, `arch/x86/mm/init_32.c`, `arch/arm64/mm/init.c`. Gorman: 4.1.
    /// Command: `memory_layout`
    pub fn memory_layout(ctx: NativeCallContext) -> Table {
        super::layout(&Bench::of(&ctx).borrow().machine)
    }
}

/// What the number is that stands for the base of `%fs`.
const PERCPU_NOTE: &str =
    "base of __KERNEL_PERCPU: this CPU's unit; the kernel's is less by __per_cpu_start, which is not known";

fn gdt(machine: &Machine) -> ScriptResult<Table> {
    let entries = machine.gdt();
    if entries.is_empty() {
        return none(machine);
    }
    let columns = vec![
        Column::right("ENTRY", 0),
        Column::right("SELECTOR", 0),
        Column::left("NAME", 0),
        Column::right("BASE", 0),
        Column::right("LIMIT", 0),
        Column::right("RING", 0),
        Column::left("KIND", 0),
    ];
    let row = |d: Descriptor| {
        let kind = match (d.is_code(), d.is_long()) {
            (true, true) => "code, 64 bits",
            (true, false) => "code",
            _ => "data",
        };
        vec![
            d.index().into(),
            Cell::Shown(format!("{:#x}", d.selector), d.selector.into()),
            d.name.into(),
            Cell::Addr(d.base),
            Cell::Addr(d.last()),
            d.dpl().into(),
            kind.into(),
        ]
    };
    let based = entries.iter().any(|d| d.selector == KERNEL_PERCPU);
    let table = Table::grid(columns, entries.into_iter().map(row).collect());
    Ok(if based { table.note(PERCPU_NOTE) } else { table })
}

fn none<T>(machine: &Machine) -> ScriptResult<T> {
    let arch = machine.config.arch.name();
    misuse(format!(
        "{arch} has no segments: its addresses are linear from the start; boot(\"i386-2G\") has them"
    ))
}

fn translate(desk: &Desk, who: Option<&Who>, selector: i64, offset: &Addr) -> ScriptResult<Table> {
    let machine = &desk.machine;
    if machine.gdt().is_empty() {
        return none(machine);
    }
    let selector = args::within("selector", selector, 0xffff)? as u16;
    let offset = args::addr("the offset", offset)?;
    let cpl = if who.is_some() { 3 } else { 0 };
    let (found, linear) = match machine.linear_address(selector, offset, cpl) {
        Ok(found) => found,
        Err(why) => return misuse(protection(selector, offset, &why)),
    };
    let task = list::who(desk, "segment", who.unwrap_or(&Dynamic::UNIT))?;
    let vtop = crate::script::vm::vtop_for(desk, &task, linear)?;
    let physical =
        vtop.records().iter().flatten().find(|(key, _)| key == "physical").map(|(_, cell)| cell.clone());
    let record: Record = vec![
        ("selector".into(), selector.into()),
        ("name".into(), found.name.into()),
        ("base".into(), Cell::Addr(found.base)),
        ("linear".into(), Cell::Addr(linear)),
        ("physical".into(), physical.unwrap_or(Cell::Empty)),
    ];
    let reach = match machine.config.arch.is_64bit() {
        true => "in long mode base and limit are not looked at".to_string(),
        false => format!("base {:x}, limit {:x}", found.base, found.last()),
    };
    let table = Table::new()
        .line(format!(
            "logical   {selector:x}:{offset:x}  entry {} of the GDT, {}, ring {}",
            found.index(),
            found.name,
            found.dpl()
        ))
        .line(format!("linear    {linear:x}  {reach}"))
        .line("")
        .append(&vtop)
        .with_records(vec![record]);
    Ok(if found.selector == KERNEL_PERCPU { table.note(PERCPU_NOTE) } else { table })
}

/// The rule that an access broke.
fn protection(selector: u16, offset: u64, why: &Protection) -> String {
    let rule = match why {
        Protection::Null => "entry 0 stands for no segment".to_string(),
        Protection::Absent(index) => {
            format!("entry {index} of the GDT is none that tasks use; gdt() shows those")
        }
        Protection::Ring(asks, of) => format!("ring {asks} asks for a segment of ring {of}"),
        Protection::Limit(last) => format!("the segment ends at {last:x}"),
    };
    format!("general protection fault: {selector:x}:{offset:x}: {rule}")
}

fn layout(machine: &Machine) -> Table {
    let rooms = machine.kernel_rooms();
    let records = rooms.iter().map(|room| {
        vec![
            ("room".into(), room.name.into()),
            ("start".into(), Cell::Addr(room.range.start)),
            ("end".into(), Cell::Addr(room.range.end)),
        ]
    });
    let records = records.collect();
    let lines = machine.virtual_memory_layout();
    let table = match lines.split_first() {
        Some((head, lines)) => lines.iter().fold(Table::new().head(head), Table::line),
        None => rooms.iter().fold(Table::new(), |table, room| table.line(room.line(machine.config.arch))),
    };
    let note = match machine.last_to_print_layout() {
        Some((major, minor)) => format!("kernels up to {major}.{minor} printed this when they booted"),
        None => "no kernel of this architecture printed this".into(),
    };
    table.note(note).with_records(records)
}
