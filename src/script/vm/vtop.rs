//! `vtop`: a virtual address walked down to its page.
//!
//! ```text
//!   VIRTUAL     PHYSICAL
//!   55555555a000  a3f000                 or (not mapped)
//!
//!      PGD: a2e550 => a31067             physical address of the entry => the entry
//!      PUD: …   PMD: …   PTE: …          as far as there are tables
//!     PAGE: a3f000
//!
//!   PTE taken apart · the area · the page's structure, or where in swap it lies
//! ```
//!
//! Fidelity: the walk of a task is that of its real tables. The kernel's own tables have no memory here: the walk of a
//! direct-map address shows where they would stand, in the frames that boot kept for the kernel.

use super::areas::{area_head, area_line, mm_of, swap_name};
use super::entries::Behind;
use super::pte::translate;
use crate::mm::Machine;
use crate::mm::addr::{PAGE_SIZE, Pfn, VirtAddr};
use crate::mm::config::Arch;
use crate::mm::pgtable::Pte;
use crate::script::answer::{ScriptResult, misuse};
use crate::script::kmem::pages;
use crate::script::objects::{self, SWAPPER_PG_DIR};
use crate::script::ps::list::Listed;
use crate::script::table::{Cell, Record, Table};

/// Where an address belongs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Half {
    /// To a task.
    User,
    /// To the kernel.
    Kernel,
    /// To nobody: between the two.
    Neither,
}

/// Where an address belongs, by its value.
pub fn half(machine: &Machine, addr: u64) -> Half {
    let arch = machine.config.arch;
    let kernel = match arch {
        Arch::Uml => machine.virt_to_pfn(VirtAddr(addr)).is_some(),
        _ if arch.is_64bit() => addr >= !0 << (machine.tables.geometry.address_bits() - 1),
        _ => (machine.layout.task_size..1 << 32).contains(&addr),
    };
    match kernel {
        true => Half::Kernel,
        false if addr < machine.layout.task_size => Half::User,
        false => Half::Neither,
    }
}

/// `vtop`: the address in the task's address space, or in the kernel's.
pub fn vtop(machine: &Machine, t: &Listed, addr: u64, forced: Option<Half>) -> ScriptResult<Table> {
    match forced.unwrap_or_else(|| half(machine, addr)) {
        Half::Kernel => Ok(kernel(machine, addr)),
        Half::User => user(machine, t, addr),
        Half::Neither => misuse(format!("vtop: ambiguous address: {addr:x}  (requires -u or -k)")),
    }
}

fn head(table: Table, width: usize, addr: u64, phys: Option<u64>) -> Table {
    let place = phys.map_or_else(|| "(not mapped)".into(), |phys| format!("{phys:x}"));
    table.head(format!("{:<width$}  PHYSICAL", "VIRTUAL")).line(format!("{addr:<width$x}  {place}")).line("")
}

fn user(machine: &Machine, t: &Listed, addr: u64) -> ScriptResult<Table> {
    let Some(mm) = mm_of(machine, t) else {
        let what = if t.st == "DE" { "has ended" } else { "is a kernel thread" };
        return misuse(format!(
            "vtop: {addr:x}: task {} ({}) {what} and has no user addresses; set PID, or vtop -c PID",
            t.pid, t.comm
        ));
    };
    let virt = VirtAddr(addr);
    let steps = machine.walk(machine.mms[mm].pgd, virt);
    let last = steps.last().map_or(Pte(0), |step| step.entry);
    let huge = last.has(Pte::PRESENT | Pte::PSE) && steps.last().is_some_and(|step| step.level == 1);
    let pte = if huge || steps.last().is_some_and(|step| step.level == 0) { last } else { Pte(0) };
    // Which of its 512 frames an address of a huge page means, the table put aside knows.
    let behind = Behind::of(machine.tables.pte(machine.mms[mm].pgd, virt));
    let frame = match behind {
        Behind::Page(pfn) | Behind::ZeroPage(pfn) => Some(pfn),
        _ => None,
    };
    let inside = addr & (PAGE_SIZE - 1);
    let phys = frame.map(|pfn| pfn.phys().0 + inside);
    let width = format!("{addr:x}").len().max(7);
    let mut table = head(Table::new(), width, addr, phys);
    let mut record: Record = vec![
        ("pid".into(), t.pid.into()),
        ("virtual".into(), Cell::Addr(addr)),
        ("physical".into(), phys.map_or(Cell::Empty, Cell::Addr)),
    ];
    for step in &steps {
        let geometry = &machine.tables.geometry;
        let entry = step.table.phys().0 + step.index as u64 * geometry.entry_bytes();
        let name = geometry.name(step.level);
        let raw = step.entry.raw(machine.config.arch, step.level);
        table = table.line(format!("   {name}: {entry:x} => {raw:x}"));
        record.push((name.to_lowercase(), Cell::Addr(raw)));
    }
    if let Some(pfn) = frame {
        let zero = if matches!(behind, Behind::ZeroPage(_)) { "  (ZERO PAGE)" } else { "" };
        let (page, size) = if huge { (last.pfn(), "  (2MB)") } else { (pfn, zero) };
        table = table.line(format!("  PAGE: {:x}{size}", page.phys().0));
        record.push(("pfn".into(), pfn.0.into()));
    }
    if !pte.is_none() {
        table = taken_apart(machine, table.line(""), pte);
    }
    table = table.line("").head(area_head(machine));
    table = match machine.find_vma(mm, virt).filter(|id| machine.vmas[*id].contains(virt)) {
        Some(id) => table.line(area_line(machine, id, &machine.vmas[id])),
        None => table.line("(not found)"),
    };
    if let Behind::Swap(entry) = behind {
        let name = swap_name(machine, entry.area);
        table = table.line("").line(format!("SWAP: {name}  OFFSET: {}", entry.offset));
        record.push(("swap".into(), name.into()));
        record.push(("offset".into(), entry.offset.into()));
    }
    Ok(with_page(machine, table, frame).with_records(vec![record]))
}

fn kernel(machine: &Machine, addr: u64) -> Table {
    if machine.virt_to_pfn(VirtAddr(addr)).is_none()
        && !machine.tables.pte(machine.init_mm, VirtAddr(addr)).is_none()
    {
        return mapped(machine, addr);
    }
    let frame = machine.virt_to_pfn(VirtAddr(addr));
    let phys = frame.map(|pfn| pfn.phys().0 + (addr & (PAGE_SIZE - 1)));
    let width = machine.config.arch.address_digits().max(8);
    let mut table = head(Table::new(), width, addr, phys);
    let mut record: Record =
        vec![("virtual".into(), Cell::Addr(addr)), ("physical".into(), phys.map_or(Cell::Empty, Cell::Addr))];
    match phys {
        Some(phys) if machine.config.arch == Arch::X86_64 => {
            let pmd = direct_map(machine, &mut table, addr, phys);
            table = taken_apart(machine, table.line(""), pmd);
            record.push(("pmd".into(), Cell::Addr(pmd.0)));
        }
        Some(_) => {
            table = table.note("the kernel's own page tables are shown for x86_64 only");
        }
        None => {
            let made_up = objects::find(machine, addr).is_some();
            table = table.note(if made_up {
                "the address of a kernel object is made up so far: no memory lies behind it"
            } else if machine.layout.direct.contains(&addr) {
                "no memory lies behind this address in the direct map"
            } else {
                "the kernel has nothing mapped at this address"
            });
        }
    }
    with_page(machine, table, frame).with_records(vec![record])
}

/// The walk of an address that the kernel's own tables map: vmalloc, PKMap, a fixed mapping.
fn mapped(machine: &Machine, addr: u64) -> Table {
    let geometry = &machine.tables.geometry;
    let steps = machine.walk(machine.init_mm, VirtAddr(addr));
    let pte = steps.last().map_or(Pte(0), |step| step.entry);
    let frame = pte.pfn();
    let phys = frame.phys().0 + (addr & (PAGE_SIZE - 1));
    let width = machine.config.arch.address_digits().max(8);
    let mut record: Record =
        vec![("virtual".into(), Cell::Addr(addr)), ("physical".into(), Cell::Addr(phys))];
    let mut table = head(Table::new(), width, addr, Some(phys));
    for (n, step) in steps.iter().enumerate() {
        let name = geometry.name(step.level);
        let raw = step.entry.raw(machine.config.arch, step.level);
        record.push((name.to_lowercase(), Cell::Addr(raw)));
        table = if n == 0 {
            let pgd = match machine.config.arch {
                Arch::X86_64 => SWAPPER_PG_DIR,
                _ => machine.phys_to_virt(step.table.phys()).0,
            };
            table.line(format!("PGD DIRECTORY: {pgd:x}")).line(format!("PAGE DIRECTORY: {raw:x}"))
        } else {
            let entry = step.table.phys().0 + step.index as u64 * geometry.entry_bytes();
            table.line(format!("   {name}: {entry:x} => {raw:x}"))
        };
    }
    table = table.line(format!("  PAGE: {:x}", frame.phys().0));
    table = taken_apart(machine, table.line(""), pte);
    let shown = Some(frame).filter(|pfn| machine.mem_map.contains(*pfn));
    with_page(machine, table, shown).with_records(vec![record])
}

/// The lines of a direct-map walk, whose tables are made up; the entry that maps 2 MiB.
fn direct_map(machine: &Machine, table: &mut Table, addr: u64, phys: u64) -> Pte {
    const KERNEL_LARGE: u64 =
        Pte::PRESENT | Pte::RW | Pte::ACCESSED | Pte::DIRTY | Pte::PSE | Pte::GLOBAL | Pte::NX;
    const KERNEL_TABLE: u64 = Pte::PRESENT | Pte::RW | Pte::USER | Pte::ACCESSED | Pte::DIRTY;
    let tables = machine.kernel_table_frame().phys().0;
    let (pud, pmd) = (tables, tables + PAGE_SIZE * (1 + (phys >> 30)));
    let base = phys & !0x1f_ffff;
    let entry = Pte(base | KERNEL_LARGE);
    let index = |shift: u32| (addr >> shift & 0x1ff) * 8;
    let lines = [
        format!("PGD DIRECTORY: {SWAPPER_PG_DIR:x}"),
        format!("PAGE DIRECTORY: {:x}", pud | KERNEL_TABLE),
        format!("   PUD: {:x} => {:x}", pud + index(30), pmd | KERNEL_TABLE),
        format!("   PMD: {:x} => {:x}", pmd + index(21), entry.0),
        format!("  PAGE: {base:x}  (2MB)"),
    ];
    *table = lines.into_iter().fold(std::mem::take(table), Table::line);
    entry
}

fn taken_apart(machine: &Machine, table: Table, pte: Pte) -> Table {
    let ([head, line], _) = translate(machine, pte, pte.raw(machine.config.arch, 0));
    table.head(head).line(line)
}

/// The page's structure, as `kmem -p` shows it.
fn with_page(machine: &Machine, table: Table, frame: Option<Pfn>) -> Table {
    let Some(pfn) = frame else { return table };
    pages::some(machine, pfn.0, 1).parts().iter().fold(table.line(""), |table, part| table.part(part.clone()))
}
