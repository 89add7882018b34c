//! `vm -m`, `vm -v` and `vm -f`: the structures behind an address space, and the names of an area's flags.

use super::areas::mm_of;
use crate::mm::Machine;
pub use crate::mm::vma::names::FLAGS;
use crate::script::ps::list::Listed;
use crate::script::structure::member::{self, Member};
pub use crate::script::structure::{Radix, mm_struct as members_of_mm, vm_area_struct};
use crate::script::table::{Cell, Table};

/// A structure with all of its members below what is there already, and its row, which begins with the task.
fn with(table: Table, t: &Listed, structure: &str, members: &[Member], radix: Radix) -> Table {
    let mut records = table.records().to_vec();
    let all: Vec<(usize, Member)> = members.iter().map(|member| (1, member.clone())).collect();
    let lines = member::lines(structure, &all, true, radix);
    let mut record = vec![("pid".to_string(), Cell::from(t.pid))];
    record.extend(member::record(&all));
    records.push(record);
    lines.into_iter().fold(table, Table::line).with_records(records)
}

/// The task's `mm_struct`.
pub fn mm_struct(machine: &Machine, t: &Listed, radix: Radix) -> Table {
    let table = Table::new().head(t.header());
    match mm_of(machine, t) {
        Some(id) => with(table, t, "mm_struct", &members_of_mm(machine, id), radix),
        None => table,
    }
}

/// Every `vm_area_struct` of a task.
pub fn vm_area_structs(machine: &Machine, t: &Listed, radix: Radix) -> Table {
    let table = Table::new().head(t.header());
    let Some(mm) = mm_of(machine, t) else { return table };
    machine
        .areas(mm)
        .fold(table, |table, (id, _)| with(table, t, "vm_area_struct", &vm_area_struct(machine, id), radix))
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
