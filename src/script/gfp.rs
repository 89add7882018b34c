//! A mask of get-free-page flags, explained.
//!
//! Gorman 6.4. Kernel: `include/linux/gfp_types.h`.

use crate::mm::Machine;
use crate::mm::config::ZoneType;
use crate::mm::gfp::Gfp;
use crate::mm::mmzone::Zone;
use crate::mm::page_alloc::watermark::{AllocFlags, lowered};
use crate::mm::trace::explain::describe;
use crate::script::table::{Cell, Column, Style, Table};

/// The flags of a mask, the zones it may use, what the caller may do, the watermark it is held to.
pub fn explain(machine: &Machine, gfp: Gfp) -> Table {
    let mut table = Table::new().head(format!("{gfp} = {:#x}", gfp.0));
    let single = |&&(name, flag, _): &&(&str, Gfp, &str)| {
        flag.0.count_ones() == 1 && gfp.has(flag) && name.starts_with("__")
    };
    let rows: Vec<Vec<Cell>> = Gfp::FLAGS
        .iter()
        .filter(single)
        .map(|(name, flag, doc)| {
            vec![(*name).into(), Cell::Shown(format!("{:#x}", flag.0), flag.0.into()), (*doc).into()]
        })
        .collect();
    let columns = vec![
        Column::left("FLAG", 24),
        Column::right("BIT", 10).gap(0),
        Column::left("MEANING", 0).key("meaning"),
    ];
    table = table.with(columns, rows, Style::Exact);
    let Some(highest) = gfp.zone(machine.config.arch) else {
        return table.line("  -> no zone: two zone flags contradict each other, a kernel BUG (GFP_ZONE_BAD)");
    };
    table = table.line(format!("  -> {}", zones(machine, gfp, highest)));
    table = table.sentence(format!("  {}.", describe(gfp, highest)));
    table = watermarks(table, machine, gfp, highest);
    gfp.contradictions().into_iter().fold(table, |table, what| table.line(format!("  contradiction: {what}")))
}

/// `ZONE_NORMAL, fallback DMA32, DMA`, as the zonelist of this CPU's node has them.
fn zones(machine: &Machine, gfp: Gfp, highest: ZoneType) -> String {
    let node = &machine.nodes[machine.mem_node()];
    let many = machine.nodes.len() > 1;
    let name = |zone: &Zone| {
        if many { format!("{} of node {}", zone.kind, zone.node) } else { zone.kind.to_string() }
    };
    let lists = if gfp.has(Gfp::THISNODE) { &node.this_node } else { &node.zonelists };
    let tried: Vec<String> =
        lists[highest as usize].iter().map(|id| name(&machine.zones[id.index()])).collect();
    let first = format!("ZONE_{}", highest.name().to_uppercase());
    match tried.split_first() {
        None => first,
        Some((start, rest)) => {
            let start = if *start == highest.name() { first } else { format!("{first}, here {start}") };
            if rest.is_empty() { start } else { format!("{start}, fallback {}", rest.join(", ")) }
        }
    }
}

/// The line on the first walk, and the one on the second, with the arithmetic for the first zone.
fn watermarks(table: Table, machine: &Machine, gfp: Gfp, highest: ZoneType) -> Table {
    let node = &machine.nodes[machine.mem_node()];
    let Some(zone) = node.zonelists[highest as usize].first().map(|id| &machine.zones[id.index()]) else {
        return table;
    };
    if gfp.has(Gfp::MEMALLOC) && !gfp.has(Gfp::NOMEMALLOC) {
        return table.line("  watermark: low first, then none");
    }
    let mut flags = AllocFlags::WMARK_MIN;
    let mut how = Vec::new();
    if gfp.has(Gfp::HIGH) {
        flags = flags.with(AllocFlags::HIGH);
        how.push("half of it for __GFP_HIGH");
    }
    if gfp.has(Gfp::ATOMIC_FLAG) && !gfp.has(Gfp::NOMEMALLOC) {
        flags = flags.with(AllocFlags::HARDER);
        how.push("a quarter less for __GFP_ATOMIC");
    }
    let (low, min, reserve) = (zone.watermark.low, zone.watermark.min, zone.lowmem_reserve[highest as usize]);
    let boost = zone.watermark_boost;
    let at_last = lowered(min + boost, flags) + reserve;
    let privileges = if how.is_empty() { String::new() } else { format!(", {}", how.join(", ")) };
    table.sentence(format!(
        "  watermark: low first, then min{privileges} (in {}: {}, then {at_last})",
        zone.kind,
        low + boost + reserve
    ))
}
