//! extfrag_index and unusable_index of debugfs: how scattered free memory is, for each order.
//!
//! Kernel: `mm/vmstat.c`, `extfrag_show_print`, `unusable_show_print`.

use crate::mm::Machine;
use crate::mm::addr::Order;
use crate::mm::compaction::{fragmentation_index, unusable_index};
use crate::mm::mmzone::Zone;
use crate::script::table::{Cell, Table};

/// -1.000: it would succeed; near 0: too little memory; near 1: too scattered.
pub fn index(machine: &Machine) -> Table {
    lines(machine, "extfrag_index", fragmentation_index)
}

/// The share of free memory that is useless for the order.
pub fn unusable(machine: &Machine) -> Table {
    lines(machine, "unusable_index", |zone, order| unusable_index(zone, order) as i64)
}

fn lines(machine: &Machine, key: &str, index: fn(&Zone, Order) -> i64) -> Table {
    let mut table = Table::new();
    let mut records = Vec::new();
    for zone in machine.zones.iter().filter(|z| z.is_populated()) {
        let thousandths: Vec<i64> = Order::all().map(|order| index(zone, order)).collect();
        let mut line = format!("Node {}, zone {:>8} ", zone.node, zone.kind.name());
        for n in &thousandths {
            let sign = if *n < 0 { "-" } else { "" };
            line += &format!("{sign}{}.{:03} ", n.abs() / 1000, n.abs() % 1000);
        }
        table = table.line(line);
        records.push(vec![
            ("node".into(), zone.node.0.into()),
            ("zone".into(), zone.kind.name().into()),
            (key.into(), Cell::from(thousandths)),
        ]);
    }
    table.with_records(records)
}
