//! /proc/buddyinfo: free blocks of each order.
//!
//! Kernel: `mm/vmstat.c`, `frag_show_print`.

use crate::mm::Machine;
use crate::mm::addr::Order;
use crate::script::table::{Cell, Table};

/// One line for each populated zone.
pub fn table(machine: &Machine) -> Table {
    let mut table = Table::new();
    let mut records = Vec::new();
    for zone in machine.zones.iter().filter(|z| z.is_populated()) {
        let blocks: Vec<u64> = Order::all().map(|order| zone.nr_free(order)).collect();
        let mut line = format!("Node {}, zone {:>8} ", zone.node, zone.kind.name());
        for n in &blocks {
            line += &format!("{n:>6} ");
        }
        table = table.line(line);
        records.push(vec![
            ("node".into(), zone.node.0.into()),
            ("zone".into(), zone.kind.name().into()),
            ("free".into(), Cell::from(blocks)),
        ]);
    }
    table.with_records(records)
}
