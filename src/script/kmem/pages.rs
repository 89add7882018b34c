//! `kmem -p` and `kmem -g`: page structures and the bits of their flags.

use crate::mm::Machine;
use crate::mm::addr::Pfn;
use crate::script::answer::{ScriptResult, misuse};
use crate::script::table::{Align, Cell, Column, Style, Table};

/// Rows that are shown at once: a million lines help nobody.
pub(super) const SHOWN: u32 = 8192;

/// All pages, or the first of them.
pub fn all(machine: &Machine) -> Table {
    let start =
        machine.zones.iter().filter(|z| z.is_populated()).map(|z| z.zone_start_pfn).min().unwrap_or(0);
    let table = some(machine, start, SHOWN);
    told_if_cut(table, machine)
}

/// Says so when not all pages are shown.
pub(super) fn told_if_cut(table: Table, machine: &Machine) -> Table {
    let present: u64 = machine.zones.iter().map(|z| z.spanned_pages).sum();
    let shown = table.records().len() as u64;
    if shown < present {
        return table.note(format!("{shown} of {present} pages are shown; mem_map(pfn, n) shows others"));
    }
    table
}

/// The page at an address.
pub fn at(machine: &Machine, addr: u64) -> ScriptResult<Table> {
    match super::identify::pfn_of(machine, addr) {
        Some(pfn) => Ok(some(machine, pfn.0, 1)),
        None => misuse(format!("cannot determine page for {addr:x}")),
    }
}

/// `n` pages from a frame on; frames that no zone spans are passed over.
pub fn some(machine: &Machine, pfn: u32, n: u32) -> Table {
    let digits = machine.config.arch.address_digits();
    let columns = vec![
        Column::right("PAGE", digits).gap(0).head(Align::Centre),
        Column::right("PHYSICAL", 8).gap(1),
        Column::right("MAPPING", digits).gap(1).head(Align::Centre),
        Column::right("INDEX", 8).gap(1).head(Align::Centre),
        Column::right("CNT", 3).gap(0),
        Column::left("FLAGS", 0).gap(1),
    ];
    let last = machine.mem_map.end_pfn();
    let frames = (pfn..last).map(Pfn).filter(|&pfn| machine.mem_map.contains(pfn)).take(n as usize);
    let rows = frames.map(|pfn| row(machine, pfn)).collect();
    Table::new().with(columns, rows, Style::Exact)
}

fn row(machine: &Machine, pfn: Pfn) -> Vec<Cell> {
    let page = machine.mem_map.page(pfn);
    let names = page.flags().to_string();
    let (mapping, index) = super::owner::mapping(machine, pfn, &page);
    vec![
        Cell::Addr(machine.page_struct(pfn).0),
        Cell::Addr(pfn.phys().0),
        Cell::Addr(mapping),
        Cell::Addr(index),
        page.refcount.into(),
        format!("{:x} {names}", machine.page_flags_word(pfn, &page)).trim().into(),
    ]
}

/// Flags of 6.1 in the order of the kernel's enumeration: name and bit; the second half are other names of the same bits.
const FLAGS: &[(&str, u32)] = &[
    ("PG_locked", 0),
    ("PG_referenced", 1),
    ("PG_uptodate", 2),
    ("PG_dirty", 3),
    ("PG_lru", 4),
    ("PG_active", 5),
    ("PG_workingset", 6),
    ("PG_waiters", 7),
    ("PG_error", 8),
    ("PG_slab", 9),
    ("PG_owner_priv_1", 10),
    ("PG_arch_1", 11),
    ("PG_reserved", 12),
    ("PG_private", 13),
    ("PG_private_2", 14),
    ("PG_writeback", 15),
    ("PG_head", 16),
    ("PG_mappedtodisk", 17),
    ("PG_reclaim", 18),
    ("PG_swapbacked", 19),
    ("PG_unevictable", 20),
    ("PG_mlocked", 21),
    ("PG_uncached", 22),
    ("PG_hwpoison", 23),
    ("PG_arch_2", 24),
    ("PG_readahead", 18),
    ("PG_anon_exclusive", 17),
    ("PG_checked", 10),
    ("PG_swapcache", 10),
    ("PG_fscache", 14),
    ("PG_pinned", 10),
    ("PG_savepinned", 3),
    ("PG_foreign", 10),
    ("PG_xen_remapped", 10),
    ("PG_slob_free", 13),
    ("PG_double_map", 6),
    ("PG_has_hwpoisoned", 8),
    ("PG_isolated", 18),
    ("PG_reported", 2),
    ("PG_vmemmap_self_hosted", 10),
];

/// Every flag with its bit and value.
pub fn flags() -> Table {
    grid(Table::new(), FLAGS.iter(), 0)
}

/// The flags whose bits are set in a hexadecimal value.
pub fn flags_of(value: &str) -> ScriptResult<Table> {
    let Ok(bits) = u64::from_str_radix(value.trim_start_matches("0x"), 16) else {
        return misuse(format!("{value:?} is not a hexadecimal number"));
    };
    let set = FLAGS.iter().filter(|(_, bit)| bits & (1 << bit) != 0);
    Ok(grid(Table::new().head(format!("FLAGS: {bits:x}")), set, 2))
}

fn grid<'a>(table: Table, flags: impl Iterator<Item = &'a (&'a str, u32)>, indent: usize) -> Table {
    let columns = vec![
        Column::left("PAGE-FLAG", 22).gap(indent).key("flag"),
        Column::right(" BIT", 4).gap(0).key("bit"),
        Column::left("VALUE", 7),
    ];
    let rows = flags.map(|(name, bit)| {
        let value = 1_i64 << bit;
        vec![(*name).into(), (*bit).into(), Cell::Shown(format!("{value:07x}"), value)]
    });
    table.with(columns, rows.collect(), Style::Exact)
}
