//! `kmem -f` and `kmem -F`: free blocks of each zone, order and mobility.

use super::stats::number;
use crate::mm::Machine;
use crate::mm::addr::{Order, Pfn, VirtAddr};
use crate::mm::config::MigrateType;
use crate::mm::mmzone::Zone;
use crate::mm::va_layout::ZONE_FREE_AREA;
use crate::script::answer::{ScriptResult, misuse};
use crate::script::proc::pagetypeinfo::types;
use crate::script::table::{Align, Cell, Column, Grid, Record, Style, Table};

/// Every zone with its free lists; with the blocks themselves when `list`.
pub fn areas(machine: &Machine, list: bool) -> Table {
    let mut table = Table::new();
    let mut records = Vec::new();
    let mut found = 0;
    let mut node = None;
    for zone in &machine.zones {
        if machine.nodes.len() > 1 && node != Some(zone.node) {
            node = Some(zone.node);
            table = table.head("NODE").line(format!("{:>3}", zone.node.0));
        }
        table = zone_heading(table, machine, zone);
        if zone.is_populated() && !list {
            table = table.head("AREA    SIZE  FREE_AREA_STRUCT  BLOCKS  PAGES");
            table = table.with_grid(Grid {
                columns: columns(),
                rows: rows(machine, zone),
                style: Style::Exact,
                heading: false,
            });
        }
        for order in Order::all().filter(|_| zone.is_populated()) {
            for mt in types(&machine.config) {
                let blocks: Vec<Pfn> = zone.free_blocks(&machine.mem_map, order, mt).collect();
                found += blocks.len() as u64 * u64::from(order.pages());
                if list {
                    table = list_of(table, machine, zone, order, mt, &blocks);
                }
                records.push(record(machine, zone, order, mt, &blocks, list));
            }
        }
        table = table.line("");
    }
    let counted = machine.nr_free_pages();
    let verdict = if found == counted { "(verified)".to_string() } else { format!("(found {found})") };
    table.line(format!("nr_free_pages: {counted}  {verdict}")).with_records(records)
}

/// `ZONE  NAME  SIZE  FREE  MEM_MAP  START_PADDR  START_MAPNR` and its one row.
fn zone_heading(table: Table, machine: &Machine, zone: &Zone) -> Table {
    let digits = machine.config.arch.address_digits();
    let start = Pfn(zone.zone_start_pfn);
    let zones = machine.nodes[zone.pgdat].zones.iter().map(|id| &machine.zones[id.index()]);
    let node_start = zones.filter(|z| z.is_populated()).map(|z| z.zone_start_pfn).min().unwrap_or(0);
    let (mem_map, paddr, mapnr) = if zone.is_populated() {
        let mem_map = format!("{:0digits$x}", machine.page_struct(start).0);
        (mem_map, format!("{:x}", start.phys().0), (start.0 - node_start).to_string())
    } else {
        ("0".into(), "0".into(), "0".into())
    };
    let columns = vec![
        Column::right("ZONE", 3).gap(0).head(Align::Left),
        Column::left("NAME", 9).gap(3),
        Column::right("SIZE", 7).gap(0),
        Column::right("FREE", 8).gap(0),
        Column::centre("MEM_MAP", 16),
        Column::centre("START_PADDR", 11),
        Column::centre("START_MAPNR", 11),
    ];
    let row = [
        number(machine, zone).to_string(),
        zone.kind.name().to_string(),
        zone.spanned_pages.to_string(),
        zone.free_pages().to_string(),
        mem_map,
        paddr,
        mapnr,
    ];
    let row: Vec<Cell> = row.into_iter().map(Cell::from).collect();
    let heading = "ZONE  NAME        SIZE    FREE      MEM_MAP       START_PADDR  START_MAPNR";
    table.head(heading).with_grid(Grid { columns, rows: vec![row], style: Style::Exact, heading: false })
}

fn columns() -> Vec<Column> {
    vec![
        Column::right("AREA", 3).gap(0).head(Align::Left),
        Column::right("SIZE", 9).gap(0),
        Column::right("FREE_AREA_STRUCT", 16),
        Column::right("BLOCKS", 6),
        Column::right("PAGES", 5),
    ]
}

fn rows(machine: &Machine, zone: &Zone) -> Vec<Vec<Cell>> {
    let mut rows = Vec::new();
    for order in Order::all() {
        for mt in types(&machine.config) {
            let blocks = zone.blocks(order, mt);
            rows.push(vec![
                order.get().into(),
                kilobytes(order).into(),
                Cell::Addr(list_address(machine, zone, order, mt)),
                blocks.into(),
                (blocks * u64::from(order.pages())).into(),
            ]);
        }
    }
    rows
}

fn kilobytes(order: Order) -> String {
    format!("{}k", order.pages() * 4)
}

/// The address of one free list in the zone's structure.
pub(super) fn list_address(machine: &Machine, zone: &Zone, order: Order, mt: MigrateType) -> u64 {
    let types = types(&machine.config);
    let place = types.iter().position(|&t| t == mt).unwrap_or(0) as u64;
    // Each list head is two pointers; the count of blocks stands after the lists.
    let area = types.len() as u64 * 16 + 8;
    machine.zone_address(zone.id.index()).0 + ZONE_FREE_AREA + order.index() as u64 * area + place * 16
}

fn list_of(
    table: Table,
    machine: &Machine,
    zone: &Zone,
    order: Order,
    mt: MigrateType,
    blocks: &[Pfn],
) -> Table {
    let address = list_address(machine, zone, order, mt);
    let mut table = table.head("AREA    SIZE  FREE_AREA_STRUCT");
    table = table.line(format!("{:>3} {:>8}  {address:x}", order.get(), kilobytes(order)));
    for &pfn in blocks {
        table = table.line(format!("{:x}", machine.page_struct(pfn).0));
    }
    table
}

fn record(
    machine: &Machine,
    zone: &Zone,
    order: Order,
    mt: MigrateType,
    blocks: &[Pfn],
    list: bool,
) -> Record {
    let mut record: Record = vec![
        ("node".into(), zone.node.0.into()),
        ("zone".into(), zone.kind.name().into()),
        ("area".into(), order.get().into()),
        ("type".into(), mt.name().into()),
        ("free_area_struct".into(), Cell::Addr(list_address(machine, zone, order, mt))),
        ("blocks".into(), blocks.len().into()),
        ("pages".into(), (blocks.len() as u64 * u64::from(order.pages())).into()),
    ];
    if list {
        record.push(("pfns".into(), Cell::from(blocks.iter().map(|pfn| pfn.0).collect::<Vec<_>>())));
    }
    record
}

/// The free block that holds the page at an address.
pub fn area_of(machine: &Machine, addr: u64) -> ScriptResult<Table> {
    let Some(pfn) = super::identify::pfn_of(machine, addr) else {
        return misuse(format!("{addr:x}: no page of this machine"));
    };
    let Some((head, order, mt)) = super::identify::free_block(machine, pfn) else {
        return misuse(format!("{addr:x}: page pfn={pfn} is not in a free block"));
    };
    let Some(zone) = machine.mem_map.zone_of(pfn).map(|id| &machine.zones[id.index()]) else {
        return misuse(format!("{addr:x}: no page of this machine"));
    };
    let table = zone_heading(Table::new(), machine, zone);
    let table = list_of(table, machine, zone, order, mt, &[head]);
    let place = pfn.0 - head.0 + 1;
    let table =
        table.line(format!("({:x} is {} of {} pages)", VirtAddr(addr).0, ordinal(place), order.pages()));
    Ok(table.with_records(vec![record(machine, zone, order, mt, &[head], true)]))
}

fn ordinal(n: u32) -> String {
    let ending = match (n % 10, n % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{n}{ending}")
}
