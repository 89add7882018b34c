//! `kmem -z` and `kmem -V`: zones with their counters, and all counters of the machine.

use super::names::enumerator;
use crate::mm::Machine;
use crate::mm::mmzone::Zone;
use crate::mm::vmstat::ZoneStat;
use crate::script::proc::vmstat;
use crate::script::table::{Cell, Record, Table};

/// Zones: size, watermarks, counters.
pub fn zones(machine: &Machine) -> Table {
    let mut table = Table::new();
    let mut records = Vec::new();
    let digits = machine.config.arch.address_digits();
    for zone in &machine.zones {
        let number = number(machine, zone);
        let address = machine.zone_address(zone.id.index()).0;
        table = table.head(format!(
            "NODE: {}  ZONE: {number}  ADDR: {address:0digits$x}  NAME: \"{}\"",
            zone.node, zone.kind
        ));
        records.push(record(zone, number, address));
        if !zone.is_populated() {
            table = table.line("  [unpopulated]").line("");
            continue;
        }
        let (mark, boost) = (zone.watermark, zone.watermark_boost);
        let present = if zone.present_pages < zone.spanned_pages {
            format!("  PRESENT: {}", zone.present_pages)
        } else {
            String::new()
        };
        table = table.line(format!(
            "  SIZE: {}{present}  MIN/LOW/HIGH: {}/{}/{}",
            zone.spanned_pages,
            mark.min + boost,
            mark.low + boost,
            mark.high + boost
        ));
        table = table.line("  VM_STAT:");
        let named: Vec<(String, u64)> =
            ZoneStat::ALL.iter().map(|&item| (enumerator(item.name()), zone.stat(item))).collect();
        table = lines(table, &named, 0).line("").line("");
    }
    table.with_records(records)
}

/// The zone's number among the zones of its node.
pub fn number(machine: &Machine, zone: &Zone) -> usize {
    machine.nodes[zone.pgdat].zones.iter().position(|&id| id == zone.id).unwrap_or(0)
}

fn record(zone: &Zone, number: usize, address: u64) -> Record {
    let (mark, boost) = (zone.watermark, zone.watermark_boost);
    let mut record: Record = vec![
        ("node".into(), zone.node.0.into()),
        ("zone".into(), number.into()),
        ("addr".into(), Cell::Addr(address)),
        ("name".into(), zone.kind.name().into()),
        ("size".into(), zone.spanned_pages.into()),
        ("present".into(), zone.present_pages.into()),
        ("min".into(), (mark.min + boost).into()),
        ("low".into(), (mark.low + boost).into()),
        ("high".into(), (mark.high + boost).into()),
    ];
    record.extend(ZoneStat::ALL.iter().map(|&item| (item.name().to_string(), zone.stat(item).into())));
    record
}

/// Names right-aligned to the longest, at least `least` wide.
fn lines(mut table: Table, named: &[(String, u64)], least: usize) -> Table {
    let width = named.iter().map(|(name, _)| name.len()).max().unwrap_or(0).max(least);
    for (name, n) in named {
        table = table.line(format!("{name:>width$}: {n}"));
    }
    table
}

/// Counters of zones, nodes and events, each group under its heading.
pub fn all(machine: &Machine) -> Table {
    let counters: Vec<(String, u64)> = vmstat::counters(machine);
    let mut groups: [Vec<(String, u64)>; 3] = Default::default();
    for (name, n) in &counters {
        let group = if ZoneStat::ALL.iter().any(|item| item.name() == name) {
            0
        } else if vmstat::node_items(machine.config.arch).iter().any(|item| item.name() == name) {
            1
        } else if ["nr_dirty_", "nr_unstable"].iter().any(|start| name.starts_with(start))
            || ["numa_hit", "numa_miss", "numa_foreign", "numa_interleave", "numa_local", "numa_other"]
                .contains(&name.as_str())
        {
            continue;
        } else {
            2
        };
        groups[group].push((enumerator(name), *n));
    }
    let least = groups[0].iter().chain(&groups[1]).map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut table = Table::new();
    let mut records = Vec::new();
    for (heading, group) in ["VM_ZONE_STAT", "VM_NODE_STAT", "VM_EVENT_STATES"].iter().zip(&groups) {
        table = lines(
            table.head(format!("  {heading}:")),
            group,
            if *heading == "VM_EVENT_STATES" { 0 } else { least },
        )
        .line("");
        for (name, n) in group {
            records.push(vec![
                ("group".to_string(), heading.to_lowercase().into()),
                ("name".to_string(), name.as_str().into()),
                ("value".to_string(), (*n).into()),
            ]);
        }
    }
    table.with_records(records)
}
