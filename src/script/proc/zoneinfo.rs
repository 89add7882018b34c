//! /proc/zoneinfo: zones with their watermarks, reserves, counters and per-CPU lists.
//!
//! Kernel: `mm/vmstat.c`, `zoneinfo_show_print`.

use crate::mm::Machine;
use crate::mm::config::Arch;
use crate::mm::mmzone::Zone;
use crate::mm::vmstat::{NumaStat, ZoneStat};
use crate::script::proc::vmstat::node_items;
use crate::script::table::{Cell, Record, Table};

/// The whole file; the rows are the zones, empty ones too.
pub fn table(machine: &Machine) -> Table {
    let mut table = Table::new();
    let mut records = Vec::new();
    for zone in &machine.zones {
        for line in lines(machine, zone) {
            table = table.line(line);
        }
        records.push(record(machine, zone));
    }
    table.with_records(records)
}

fn lines(machine: &Machine, zone: &Zone) -> Vec<String> {
    let arch = machine.config.arch;
    let mut lines = vec![format!("Node {}, zone {:>8}", zone.node, zone.kind.name())];
    let node = &machine.nodes[zone.pgdat];
    let first = node.zones.iter().find(|id| machine.zones[id.index()].is_populated());
    if first == Some(&zone.id) {
        lines.push("  per-node stats".into());
        lines.extend(
            node_items(arch).iter().map(|&item| format!("      {:<12} {}", item.name(), node.stat(item))),
        );
    }
    lines.push(format!("  pages free     {}", zone.free_pages()));
    for (name, pages) in sizes(zone) {
        lines.push(format!("        {name:<8} {pages}"));
    }
    let protection: Vec<String> = protection(machine, zone).iter().map(u64::to_string).collect();
    lines.push(format!("        protection: ({})", protection.join(", ")));
    if !zone.is_populated() {
        return lines;
    }
    lines.extend(ZoneStat::ALL.iter().map(|&item| format!("      {:<12} {}", item.name(), zone.stat(item))));
    if arch.has_numa() {
        lines.extend(
            NumaStat::ALL.iter().map(|&item| format!("      {:<12} {}", item.name(), zone.numa(item))),
        );
    }
    lines.push("  pagesets".into());
    for (cpu, lists) in zone.pageset.iter().enumerate() {
        lines.push(format!("    cpu: {cpu}"));
        lines.push(format!("              count: {}", lists.count));
        lines.push(format!("              high:  {}", lists.high));
        lines.push(format!("              batch: {}", lists.batch));
        // User-mode Linux is built for one CPU.
        if arch != Arch::Uml {
            lines.push(format!("  vm stats threshold: {}", machine.stat_threshold(zone)));
        }
    }
    lines.push("  node_unreclaimable:  0".into());
    lines.push(format!("  start_pfn:           {}", zone.zone_start_pfn));
    lines
}

/// Watermarks and sizes, in the file's order.
fn sizes(zone: &Zone) -> [(&'static str, u64); 8] {
    let mark = zone.watermark;
    [
        ("boost", zone.watermark_boost),
        ("min", mark.min),
        ("low", mark.low),
        ("high", mark.high),
        ("spanned", zone.spanned_pages),
        ("present", zone.present_pages),
        ("managed", zone.managed_pages),
        ("cma", zone.cma_pages),
    ]
}

/// What requests of each kind of zone must leave here (`lowmem_reserve`).
pub fn protection(machine: &Machine, zone: &Zone) -> Vec<u64> {
    machine.config.arch.zone_types().iter().map(|&kind| zone.lowmem_reserve[kind as usize]).collect()
}

fn record(machine: &Machine, zone: &Zone) -> Record {
    let mut record: Record =
        vec![("node".into(), zone.node.0.into()), ("zone".into(), zone.kind.name().into())];
    record.push(("free".into(), zone.free_pages().into()));
    record.extend(sizes(zone).map(|(name, n)| (name.to_string(), n.into())));
    record.push(("start_pfn".into(), zone.zone_start_pfn.into()));
    record.push(("protection".into(), Cell::from(protection(machine, zone))));
    record.extend(ZoneStat::ALL.iter().map(|&item| (item.name().to_string(), zone.stat(item).into())));
    record
}
