//! `kmem -n` and `kmem -o`: nodes, zones, memory sections, and where each CPU's own data lies.

use super::stats::number;
use crate::mm::Machine;
use crate::mm::addr::{PAGE_SHIFT, Pfn, PhysAddr};
use crate::mm::config::Arch;
use crate::script::table::{Cell, Record, Table};

/// Nodes with their zones, then the sections of memory.
pub fn map(machine: &Machine) -> Table {
    let mut table = Table::new();
    let mut records = Vec::new();
    for (index, node) in machine.nodes.iter().enumerate() {
        if index > 0 {
            table = table.line("-".repeat(67)).line("");
        }
        table = one(table, machine, index);
        let (start, end) = span(machine, index);
        records.push(vec![
            ("node".to_string(), node.nid.0.into()),
            ("size".to_string(), (end - start).into()),
            ("pglist_data".to_string(), Cell::Addr(machine.pgdat_address(index).0)),
            ("start_mapnr".to_string(), start.into()),
        ]);
    }
    sections(table.line("").line("-".repeat(67)).line(""), machine).with_records(records)
}

/// First frame and one past the last of a node.
fn span(machine: &Machine, node: usize) -> (u32, u32) {
    let zones =
        || machine.nodes[node].zones.iter().map(|id| &machine.zones[id.index()]).filter(|z| z.is_populated());
    let start = zones().map(|z| z.zone_start_pfn).min().unwrap_or(0);
    (start, zones().map(|z| z.end_pfn()).max().unwrap_or(start))
}

fn one(table: Table, machine: &Machine, index: usize) -> Table {
    let digits = machine.config.arch.address_digits();
    let node = &machine.nodes[index];
    let (start, end) = span(machine, index);
    let hex = |address: u64| format!("{address:0digits$x}");
    let mut table = table.head("NODE    SIZE      PGLIST_DATA       BOOTMEM_DATA       NODE_ZONES");
    for (n, zone) in node.zones.iter().enumerate() {
        let address = hex(machine.zone_address(zone.index()).0);
        table = table.line(match n {
            0 => format!(
                "{:>3} {:>9}   {:^16}        ----        {address}",
                node.nid.0,
                end - start,
                hex(machine.pgdat_address(index).0)
            ),
            _ => format!("{:52}{address}", ""),
        });
    }
    let first = Pfn(start);
    table = table.head("    MEM_MAP          START_PADDR    START_MAPNR");
    table = table.line(format!(
        "{:>16}     {:^11}    {:^11}",
        hex(machine.page_struct(first).0),
        format!("{:x}", first.phys().0),
        start
    ));
    table = table.line("").head("ZONE  NAME         SIZE       MEM_MAP      START_PADDR  START_MAPNR");
    for zone in node.zones.iter().map(|id| &machine.zones[id.index()]) {
        let at = Pfn(zone.zone_start_pfn);
        let (mem_map, paddr, mapnr) = match zone.is_populated() {
            true => (hex(machine.page_struct(at).0), format!("{:x}", at.phys().0), at.0),
            false => ("0".into(), "0".into(), 0),
        };
        table = table.line(format!(
            "{:>3}   {:<9}{:>8}  {mem_map:>16}  {paddr:>11}  {mapnr:>11}",
            number(machine, zone),
            zone.kind.name(),
            zone.spanned_pages
        ));
    }
    table
}

/// Pages of a memory section (`PAGES_PER_SECTION`).
fn section_pages(arch: Arch) -> u32 {
    match arch {
        Arch::X86_64 | Arch::Arm64 => 32768,
        Arch::I386 | Arch::I386Pae | Arch::Arm | Arch::Uml => 16384,
    }
}

/// Sections that hold memory, each 128 MiB on 64 bit.
fn sections(table: Table, machine: &Machine) -> Table {
    let digits = machine.config.arch.address_digits();
    let step = section_pages(machine.config.arch);
    let end = machine.mem_map.end_pfn();
    // The table of sections stands in the last page of memory.
    let root = machine.phys_to_virt(PhysAddr((u64::from(end) - 1) << PAGE_SHIFT)).0;
    let mut table = table.head("NR      SECTION        CODED_MEM_MAP        MEM_MAP       STATE PFN");
    let mut blocks: Vec<Record> = Vec::new();
    for (nr, pfn) in (0..end).step_by(step as usize).enumerate() {
        if !has_memory(machine, pfn, pfn + step) {
            continue;
        }
        let coded = machine.page_struct(Pfn(0)).0;
        let mem_map = machine.page_struct(Pfn(pfn)).0;
        table = table.line(format!(
            "{nr:>2}  {:0digits$x}  {coded:0digits$x}  {mem_map:0digits$x}  PMOE  {pfn}",
            root + nr as u64 * 32
        ));
        blocks.push(vec![("nr".into(), nr.into()), ("pfn".into(), pfn.into())]);
    }
    table = table
        .line("")
        .head("   MEM_BLOCK        NAME        PHYSICAL RANGE     NODE  STATE   START_SECTION_NO");
    for (n, block) in blocks.iter().enumerate() {
        let (nr, pfn) = (block[0].1.text(), block[1].1.text().parse::<u64>().unwrap_or(0));
        let range =
            format!("{:>8x} - {:>8x}", pfn << PAGE_SHIFT, ((pfn + u64::from(step)) << PAGE_SHIFT) - 1);
        let nid = machine.mem_map.zone_of(Pfn(pfn as u32)).map_or(0, |id| machine.zones[id.index()].node.0);
        table = table.line(format!(
            " {:^16}   {:<9}  {range}  {nid}    ONLINE  {nr}",
            "----",
            format!("memory{n}")
        ));
    }
    table
}

fn has_memory(machine: &Machine, start: u32, end: u32) -> bool {
    machine.zones.iter().any(|z| z.is_populated() && z.zone_start_pfn < end && start < z.end_pfn())
}

/// Where each CPU's own data lies.
pub fn percpu_offsets(machine: &Machine) -> Table {
    let digits = machine.config.arch.address_digits();
    let mut table = Table::new().head("PER-CPU OFFSET VALUES:");
    let mut records = Vec::new();
    for (cpu, offset) in machine.percpu.offsets() {
        table = table.line(format!("  CPU {cpu}: {offset:0digits$x}"));
        records.push(vec![("cpu".to_string(), cpu.into()), ("offset".to_string(), Cell::Addr(offset))]);
    }
    table.with_records(records)
}
