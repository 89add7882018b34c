//! `vm -m`, `vm -v` and `vm -f`: the structures behind an address space, and the names of an area's flags.
//!
//! The fields that mean something here, by the kernel's names and in its order; the kernel's structures have more.

use super::areas::mm_of;
use crate::mm::Machine;
pub use crate::mm::vma::names::FLAGS;
use crate::script::objects;
use crate::script::ps::list::Listed;
use crate::script::table::{Cell, Record, Table};

/// How numbers are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Radix {
    /// As crash does unless told otherwise.
    Decimal,
    /// With `-x`.
    Hex,
}

impl Radix {
    fn number(self, n: u64) -> String {
        if self == Radix::Hex { format!("{n:#x}") } else { n.to_string() }
    }
}

/// The task's `mm_struct`.
pub fn mm_struct(machine: &Machine, t: &Listed, radix: Radix) -> Table {
    let table = Table::new().head(t.header());
    let Some(id) = mm_of(machine, t) else { return table };
    let mm = &machine.mms[id];
    let pgd = machine.phys_to_virt(machine.tables.upper(mm.pgd).pfn.phys()).0;
    let mut table = table.line("struct mm_struct {").line("  {");
    let mut record: Record = vec![("pid".into(), t.pid.into())];
    let mut field = |mut table: Table, name: &str, value: u64, form: Form| {
        record.push((name.into(), if form == Form::Pointer { Cell::Addr(value) } else { value.into() }));
        let number = radix.number(value);
        table = match form {
            Form::Plain => table.line(format!("    {name} = {number},")),
            Form::Pointer => table.line(format!("    {name} = {value:#x},")),
            Form::Counter => table
                .line(format!("    {name} = {{"))
                .line(format!("      counter = {number}"))
                .line("    },"),
        };
        table
    };
    for (name, value, form) in [
        ("mmap_base", mm.mmap_base, Form::Plain),
        ("task_size", machine.layout.task_size, Form::Plain),
        ("pgd", pgd, Form::Pointer),
        ("mm_users", mm.users.into(), Form::Counter),
        ("pgtables_bytes", mm.pgtables_bytes, Form::Counter),
        ("map_count", mm.vmas.len() as u64, Form::Plain),
        ("hiwater_rss", mm.hiwater_rss, Form::Plain),
        ("hiwater_vm", mm.hiwater_vm, Form::Plain),
        ("total_vm", mm.total_vm, Form::Plain),
        ("locked_vm", mm.locked_vm, Form::Plain),
        ("data_vm", mm.data_vm, Form::Plain),
        ("exec_vm", mm.exec_vm, Form::Plain),
        ("stack_vm", mm.stack_vm, Form::Plain),
        ("def_flags", mm.def_flags.0, Form::Plain),
        ("start_brk", mm.start_brk, Form::Plain),
        ("brk", mm.brk, Form::Plain),
        ("start_stack", mm.start_stack, Form::Plain),
    ] {
        table = field(table, name, value, form);
    }
    table = table.line("    rss_stat = {").line("      count = {{");
    for (n, count) in mm.rss.iter().enumerate() {
        table = table.line(format!("          counter = {}", radix.number(*count)));
        table = table.line(if n + 1 == mm.rss.len() { "        }}" } else { "        }, {" });
    }
    record.push(("rss_stat".into(), Cell::from(mm.rss.to_vec())));
    let owner = Cell::Addr(t.task);
    record.push(("owner".into(), owner));
    table
        .line("    },")
        .line(format!("    owner = {:#x}", t.task))
        .line("  }")
        .line("}")
        .with_records(vec![record])
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Plain,
    Pointer,
    Counter,
}

/// Every `vm_area_struct` of a task.
pub fn vm_area_structs(machine: &Machine, t: &Listed, radix: Radix) -> Table {
    let mut table = Table::new().head(t.header());
    let mut records = Vec::new();
    let Some(mm) = mm_of(machine, t) else { return table };
    for (_, vma) in machine.areas(mm) {
        let anon = vma.anon_vma.map_or(0, |id| objects::anon_vma(machine, id));
        let owner = objects::mm(machine, mm);
        let pointer = |n: u64| if n == 0 { "0x0".into() } else { format!("{n:#x}") };
        table = table
            .line("struct vm_area_struct {")
            .line(format!("  vm_start = {},", radix.number(vma.start)))
            .line(format!("  vm_end = {},", radix.number(vma.end)))
            .line(format!("  vm_mm = {},", pointer(owner)))
            .line("  vm_page_prot = {")
            .line(format!("    pgprot = {}", radix.number(vma.flags.page_prot())))
            .line("  },")
            .line(format!("  vm_flags = {},", radix.number(vma.flags.0)))
            .line(format!("  anon_vma = {},", pointer(anon)))
            .line(format!("  vm_pgoff = {},", radix.number(vma.pgoff)))
            .line("  vm_file = 0x0")
            .line("}");
        records.push(vec![
            ("pid".into(), t.pid.into()),
            ("vm_start".into(), Cell::Addr(vma.start)),
            ("vm_end".into(), Cell::Addr(vma.end)),
            ("vm_mm".into(), Cell::Addr(owner)),
            ("vm_page_prot".into(), Cell::Addr(vma.flags.page_prot())),
            ("vm_flags".into(), Cell::Addr(vma.flags.0)),
            ("anon_vma".into(), Cell::Addr(anon)),
            ("vm_pgoff".into(), vma.pgoff.into()),
        ]);
    }
    table.with_records(records)
}

/// `vm -f`: the names of the bits in a value.
pub fn flags(value: u64) -> Table {
    let set = FLAGS.iter().filter(|(bit, ..)| value & bit != 0);
    let names: Vec<&str> = set.map(|(_, name, _)| *name).collect();
    Table::new()
        .line(format!("{value:x}: ({})", names.join("|")))
        .with_records(vec![vec![("value".into(), Cell::Addr(value)), ("flags".into(), Cell::from(names))]])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_named_as_crash_named_them() {
        let text = |value| flags(value).records()[0][1].1.text().replace(' ', "|");
        assert_eq!(text(0x8100073), "READ|WRITE|MAYREAD|MAYWRITE|MAYEXEC|ACCOUNT|CAN_NONLINEAR");
        assert_eq!(text(0x2071), "READ|MAYREAD|MAYWRITE|MAYEXEC|LOCKED");
    }
}
