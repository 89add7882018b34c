//! `pcp`: the per-CPU lists of every zone.

use crate::mm::Machine;
use crate::mm::config::MigrateType;
use crate::script::table::{Cell, Column, Table};

/// A row for each zone and CPU: pages, limits, and how the pages are split over mobilities.
pub fn lists(machine: &Machine) -> Table {
    let types = &MigrateType::ALL[..MigrateType::PCPTYPES];
    let mut columns = vec![
        Column::right("NODE", 0),
        Column::left("ZONE", 0),
        Column::right("CPU", 0),
        Column::right("COUNT", 0),
        Column::right("HIGH", 0),
        Column::right("BATCH", 0),
    ];
    columns.extend(types.iter().map(|mt| Column::right(&mt.name().to_uppercase(), 0)));
    let mut rows = Vec::new();
    for zone in machine.zones.iter().filter(|zone| zone.is_populated()) {
        for (cpu, lists) in zone.pageset.iter().enumerate() {
            let mut row: Vec<Cell> = vec![
                zone.node.0.into(),
                zone.kind.name().into(),
                cpu.into(),
                lists.count.into(),
                lists.high.into(),
                lists.batch.into(),
            ];
            row.extend(types.iter().map(|mt| lists.pages_of(*mt).into()));
            rows.push(row);
        }
    }
    Table::grid(columns, rows)
}
