//! What memblock looks like: a table, the files of debugfs, and the bitmap of 2.4 beside it.

use crate::mm::Machine;
use crate::mm::addr::PAGE_SIZE;
use crate::mm::memblock::{MemblockFlags, MemblockType};
use crate::script::table::{Align, Cell, Column, Grid, Style, Table};

/// Both lists, and a line of sums.
pub fn table(machine: &Machine) -> Table {
    let digits = machine.config.arch.address_digits();
    let address = |at: u64| Cell::Addr(at);
    let mut rows = Vec::new();
    for (kind, list) in [("memory", &machine.memblock.memory), ("reserved", &machine.memblock.reserved)] {
        for (nr, region) in list.regions.iter().enumerate() {
            let (node, flags) = match kind {
                "memory" => {
                    (region.nid.map_or("-".into(), |nid| Cell::from(nid.0)), region.flags.to_string().into())
                }
                _ => (Cell::Empty, Cell::Empty),
            };
            let size = Cell::Shown(kib(region.size), region.size as i64);
            rows.push(vec![
                kind.into(),
                nr.into(),
                address(region.base),
                address(region.end()),
                size,
                node,
                flags,
            ]);
        }
    }
    let columns = vec![
        Column::left("TYPE", 0),
        Column::right("NR", 0),
        Column::right("BASE", digits),
        Column::right("END", digits),
        Column::right("SIZE", 0),
        Column::left("NODE", 0),
        Column::left("FLAGS", 0),
    ];
    Table::grid(columns, rows).line(sums(machine))
}

/// `memory 15992K, reserved 2960K, free 13664K; top-down; next: initmem_init`.
fn sums(machine: &Machine) -> String {
    let memblock = &machine.memblock;
    let free: u64 = memblock.free_ranges(None, MemblockFlags::NONE).map(|r| r.end - r.start).sum();
    let next = match machine.next_early_step() {
        Some(step) => format!("next: {}", step.name()),
        None if machine.is_early() => "next: memblock_free_all".into(),
        None => "handed over".into(),
    };
    format!(
        "memory {}, reserved {}, free {}; {}; {next}",
        kib(memblock.memory.total_size),
        kib(memblock.reserved.total_size),
        kib(free),
        if memblock.bottom_up { "bottom-up" } else { "top-down" },
    )
}

/// `632K`, or bytes where they are no whole number of them.
fn kib(bytes: u64) -> String {
    if bytes.is_multiple_of(1024) { format!("{}K", bytes / 1024) } else { bytes.to_string() }
}

/// `/sys/kernel/debug/memblock/memory`.
pub fn debugfs_memory(machine: &Machine) -> Table {
    debugfs(machine, &machine.memblock.memory)
}

/// `/sys/kernel/debug/memblock/reserved`.
pub fn debugfs_reserved(machine: &Machine) -> Table {
    debugfs(machine, &machine.memblock.reserved)
}

/// `   0: 0x0000000000001000..0x000000000009efff` (`memblock_debug_show`).
fn debugfs(machine: &Machine, list: &MemblockType) -> Table {
    let pa = |at| machine.memblock.pa(at);
    let mut table = Table::new();
    let mut records = Vec::new();
    for (nr, region) in list.regions.iter().enumerate() {
        table = table.line(format!("{nr:>4}: {}..{}", pa(region.base), pa(region.end() - 1)));
        records.push(vec![
            ("nr".to_string(), nr.into()),
            ("base".to_string(), Cell::Addr(region.base)),
            ("end".to_string(), Cell::Addr(region.end())),
        ]);
    }
    table.with_records(records)
}

/// What `init_bootmem` of 2.4 would have set up on each node.
pub fn bootmem(machine: &Machine) -> Table {
    let high = |z: &&crate::mm::mmzone::Zone| !machine.is_highmem(z) && z.is_populated();
    let mut rows = Vec::new();
    for node in &machine.nodes {
        let zones = || node.zones.iter().map(|id| &machine.zones[id.index()]).filter(high);
        let Some(min) = zones().map(|z| u64::from(z.zone_start_pfn)).min() else { continue };
        let low = zones().map(|z| u64::from(z.end_pfn())).max().unwrap_or(min);
        let pages = low - min;
        let bytes = pages.div_ceil(8);
        // A bit is cleared for each page that is memory and free; the bitmap's own pages are set again.
        let free = machine.memblock.free_ranges(None, MemblockFlags::NONE);
        let free: u64 = free
            .map(|r| (r.end / PAGE_SIZE).min(low).saturating_sub(r.start.div_ceil(PAGE_SIZE).max(min)))
            .sum();
        let map = bytes.div_ceil(PAGE_SIZE);
        let set = (pages - free + map).min(pages);
        rows.push(vec![
            node.nid.0.into(),
            min.into(),
            low.into(),
            pages.into(),
            bytes.into(),
            map.into(),
            set.into(),
        ]);
    }
    let heads = ["NODE", "MIN_PFN", "LOW_PFN", "PAGES", "BITMAP", "PAGES_OF_BITMAP", "BITS_SET"];
    let mut columns: Vec<Column> = heads.iter().map(|head| Column::right(head, 0)).collect();
    columns[0].gap = 0;
    columns[0].align = Align::Right;
    Table::new().with_grid(Grid { columns, rows, style: Style::Free, heading: true })
}
