//! /proc/pagetypeinfo: free blocks and pageblocks by mobility.
//!
//! Kernel: `mm/vmstat.c`, `pagetypeinfo_show`.

use crate::mm::Machine;
use crate::mm::addr::{Order, Pfn};
use crate::mm::config::{Arch, Config, MigrateType};
use crate::mm::mmzone::Zone;
use crate::script::table::{Cell, Table};

/// Blocks of a list that are counted; beyond them the file says that there are more.
const COUNTED: u64 = 100_000;

/// The types this kernel was built with.
pub fn types(config: &Config) -> Vec<MigrateType> {
    let built = |mt: &MigrateType| match mt {
        MigrateType::Cma => config.cma,
        MigrateType::Isolate => config.arch != Arch::Uml,
        _ => true,
    };
    MigrateType::ALL.into_iter().filter(built).collect()
}

/// The whole file: one part for each node with memory.
pub fn table(machine: &Machine) -> Table {
    let types = types(&machine.config);
    let mut table = Table::new();
    let mut records = Vec::new();
    for node in machine.nodes.iter().filter(|node| machine.node_has_memory(node)) {
        let order = machine.config.pageblock_order;
        table = table.line(format!("Page block order: {order}"));
        table = table.line(format!("Pages per block:  {}", order.pages())).line("");
        let mut heading = format!("{:<43} ", "Free pages count per migrate type at order");
        Order::all().for_each(|order| heading += &format!("{:>6} ", order.get()));
        table = table.line(heading);
        let zones = || node.zones.iter().map(|id| &machine.zones[id.index()]).filter(|z| z.is_populated());
        for zone in zones() {
            for &mt in &types {
                let blocks: Vec<u64> = Order::all().map(|order| zone.blocks(order, mt)).collect();
                let mut line =
                    format!("Node {:>4}, zone {:>8}, type {:>12} ", node.nid.0, zone.kind.name(), mt.name());
                for n in &blocks {
                    // The kernel walks the list with interrupts off, and gives up at so many.
                    let more = if *n >= COUNTED { ">" } else { "" };
                    line += &format!("{more}{:>6} ", n.min(&COUNTED));
                }
                table = table.line(line);
                records.push(vec![
                    ("node".into(), node.nid.0.into()),
                    ("zone".into(), zone.kind.name().into()),
                    ("type".into(), mt.name().into()),
                    ("free".into(), Cell::from(blocks)),
                    ("pageblocks".into(), pageblocks(machine, zone)[mt.index()].into()),
                ]);
            }
        }
        let mut heading = format!("{:<23}", "Number of blocks type");
        types.iter().for_each(|mt| heading += &format!("{:>12} ", mt.name()));
        table = table.line("").line(heading);
        for zone in zones() {
            let counted = pageblocks(machine, zone);
            let mut line = format!("Node {}, zone {:>8} ", node.nid, zone.kind.name());
            types.iter().for_each(|mt| line += &format!("{:>12} ", counted[mt.index()]));
            table = table.line(line);
        }
        if machine.page_owner.enabled {
            let mut heading = format!("{:<23}", "Number of mixed blocks");
            types.iter().for_each(|mt| heading += &format!("{:>12} ", mt.name()));
            table = table.line("").line(heading);
            for zone in zones() {
                let counted = super::page_owner::mixed(machine, zone);
                let mut line = format!("Node {}, zone {:>8} ", node.nid, zone.kind.name());
                types.iter().for_each(|mt| line += &format!("{:>12} ", counted[mt.index()]));
                table = table.line(line);
            }
        }
    }
    table.with_records(records)
}

/// Pageblocks of a zone by type, counted as the kernel counts: from the first frame on, a block at a time.
pub fn pageblocks(machine: &Machine, zone: &Zone) -> [u64; MigrateType::COUNT] {
    let mut counted = [0; MigrateType::COUNT];
    let step = machine.pageblocks.pages() as usize;
    for pfn in (zone.zone_start_pfn..zone.end_pfn()).step_by(step).map(Pfn) {
        // A hole inside the zone belongs to it as well, when it has page structures.
        let ours = machine.mem_map.zone_of(pfn).map_or_else(|| machine.pfn_online(pfn), |id| id == zone.id);
        if ours {
            counted[machine.pageblocks.get(pfn).index()] += 1;
        }
    }
    counted
}
