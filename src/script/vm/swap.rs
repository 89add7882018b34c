//! `swap`: swap areas in crash's columns.

use crate::mm::Machine;
use crate::mm::swapfile::SwapArea;
use crate::script::objects;
use crate::script::table::{Cell, Table};

/// A swap area on a device is a partition, any other a file.
pub fn is_partition(area: &SwapArea) -> bool {
    area.name.starts_with("/dev/")
}

/// One line for each area that is on.
pub fn swap(machine: &Machine) -> Table {
    let digits = machine.config.arch.address_digits();
    let mut table =
        Table::new().head("SWAP_INFO_STRUCT    TYPE       SIZE       USED     PCT  PRI  FILENAME");
    let mut records = Vec::new();
    for (place, area) in machine.swap.iter().enumerate().filter(|(_, area)| area.active) {
        let at = objects::swap(machine, place);
        let kind = if is_partition(area) { "PARTITION" } else { "  FILE   " };
        let (size, used) = (u64::from(area.pages) * 4, u64::from(area.inuse) * 4);
        let percent = used * 100 / size.max(1);
        table = table.line(format!(
            "{:<16}  {kind}{:>10}{:>9}{:>8}{:>5}  {}",
            format!("{at:0digits$x}"),
            format!("{size}k"),
            format!("{used}k"),
            format!("{percent}%"),
            area.prio,
            area.name
        ));
        records.push(vec![
            ("swap_info_struct".into(), Cell::Addr(at)),
            ("type".into(), kind.trim().to_lowercase().into()),
            ("size".into(), size.into()),
            ("used".into(), used.into()),
            ("percent".into(), percent.into()),
            ("prio".into(), i64::from(area.prio).into()),
            ("filename".into(), area.name.as_str().into()),
        ]);
    }
    table.with_records(records)
}
