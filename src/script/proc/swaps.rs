//! /proc/swaps: swap areas, their size and use in kB.
//!
//! Kernel: `mm/swapfile.c`, `swap_show`.

use crate::mm::Machine;
use crate::script::table::Table;
use crate::script::vm::swap::is_partition;

/// One line for each area that is on.
pub fn table(machine: &Machine) -> Table {
    let mut table = Table::new().line("Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority");
    let mut records = Vec::new();
    for area in machine.swap.iter().filter(|area| area.active) {
        let (size, used) = (u64::from(area.pages) * 4, u64::from(area.inuse) * 4);
        let kind = if is_partition(area) { "partition" } else { "file" };
        // Short numbers and words take two tabs, so that the columns stand.
        let tab = |short: bool| if short { "\t\t" } else { "\t" };
        let line = format!(
            "{:<39} {kind}{}{size}{}{used}{}{}",
            area.name,
            tab(kind == "file"),
            tab(size < 10_000_000),
            tab(used < 10_000_000),
            area.prio
        );
        table = table.line(line);
        records.push(vec![
            ("filename".into(), area.name.as_str().into()),
            ("type".into(), kind.into()),
            ("size".into(), size.into()),
            ("used".into(), used.into()),
            ("priority".into(), i64::from(area.prio).into()),
        ]);
    }
    table.with_records(records)
}
