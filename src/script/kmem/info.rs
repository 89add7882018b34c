//! `kmem -i` and `kmem -h`: memory as a whole, and pools of huge pages.

use crate::mm::Machine;
use crate::mm::addr::PAGE_SIZE;
use crate::mm::fs::File;
use crate::mm::vmstat::NodeStat;
use crate::script::table::{Cell, Record, Table};

/// Memory as a whole, in groups of lines with percentages.
pub fn usage(machine: &Machine) -> Table {
    let stat = |item| machine.node_stat(item);
    let (total, free) = (machine.totalram_pages(), machine.nr_free_pages());
    let shared =
        machine.mem_map.touched().filter(|&pfn| machine.mem_map.page(pfn).mapcount() > 1).count() as u64;
    let cached = stat(NodeStat::FilePages).saturating_sub(stat(NodeStat::Swapcached));
    let slab = stat(NodeStat::SlabReclaimable) + stat(NodeStat::SlabUnreclaimable);
    let (swap, swap_free) = machine.swap_pages();

    let mut groups: Vec<(&str, Vec<(&str, u64)>)> = vec![(
        "TOTAL MEM",
        vec![
            ("TOTAL MEM", total),
            ("FREE", free),
            ("USED", total - free),
            ("SHARED", shared),
            ("BUFFERS", 0),
            ("CACHED", cached),
            ("SLAB", slab),
        ],
    )];
    let (high, high_free) = machine.high_pages();
    if high > 0 {
        groups.push(("TOTAL HIGH", vec![("TOTAL HIGH", high), ("FREE HIGH", high_free)]));
        groups.push(("TOTAL LOW", vec![("TOTAL LOW", total - high), ("FREE LOW", free - high_free)]));
    }
    groups.push(("TOTAL HUGE", vec![("TOTAL HUGE", 0), ("HUGE FREE", 0)]));
    groups.push((
        "TOTAL SWAP",
        vec![("TOTAL SWAP", swap), ("SWAP USED", swap - swap_free), ("SWAP FREE", swap_free)],
    ));
    groups.push((
        "TOTAL LIMIT",
        vec![("COMMIT LIMIT", machine.vm_commit_limit(swap)), ("COMMITTED", machine.committed_as)],
    ));

    let mut table = Table::new().head("                 PAGES        TOTAL      PERCENTAGE");
    let mut records: Vec<Record> = Vec::new();
    for (n, (whole, lines)) in groups.iter().enumerate() {
        if n > 0 {
            table = table.line("");
        }
        let total = lines[0].1;
        for (row, (what, pages)) in lines.iter().enumerate() {
            let start = format!("{what:>13}  {pages:>7}  {:>11}", size(*pages));
            let percent = (pages * 100).checked_div(total).unwrap_or(0);
            table = table.line(if row == 0 {
                format!("{start}         ----")
            } else {
                format!("{start}  {percent:>3}% of {whole}")
            });
            let percent = if row == 0 { Cell::Empty } else { percent.into() };
            records.push(vec![
                ("what".into(), (*what).into()),
                ("pages".into(), (*pages).into()),
                ("bytes".into(), (pages * PAGE_SIZE).into()),
                ("percent".into(), percent),
                ("of".into(), (*whole).into()),
            ]);
        }
    }
    table.with_records(records)
}

/// `7.5 GB`, `816.3 MB`, `2 GB`, `40 KB`, `0`.
fn size(pages: u64) -> String {
    let bytes = pages * PAGE_SIZE;
    let (unit, name) = match bytes {
        0 => return "0".into(),
        b if b >= 1 << 30 => (1 << 30, "GB"),
        b if b >= 1 << 20 => (1 << 20, "MB"),
        _ => (1 << 10, "KB"),
    };
    let text = format!("{:.1}", bytes as f64 / unit as f64);
    format!("{} {name}", text.strip_suffix(".0").unwrap_or(&text))
}

/// Pools of huge pages.
pub fn hstates(machine: &Machine) -> Table {
    if machine.config.thp.is_none() {
        return Table::new().note("this kernel was built without huge pages");
    }
    let kb = 4 << machine.config.pageblock_order.get();
    let mut table = Table::new().head("     HSTATE        SIZE    FREE   TOTAL  NAME");
    table = table.line(format!(
        "ffffffff83fdffe0 {:>6} {:>7} {:>7}  hugepages-{kb}kB",
        format!("{}MB", kb / 1024),
        0,
        0
    ));
    table = table.note("hugetlb is not simulated: its pools stay empty");
    table.with_records(vec![vec![
        ("size_kb".into(), Cell::Int(kb)),
        ("free".into(), Cell::Int(0)),
        ("total".into(), Cell::Int(0)),
        ("name".into(), format!("hugepages-{kb}kB").into()),
    ]])
}

/// `kmem -c`: the counter of the page cache, against the pages of all files.
pub fn page_cache_size(machine: &Machine) -> Table {
    let swap_cache = machine.node_stat(NodeStat::Swapcached);
    let counted = machine.node_stat(NodeStat::FilePages).saturating_sub(swap_cache);
    let pages = |file: &File| file.pages.iter().filter(|(_, entry)| entry.as_page().is_some()).count();
    let found = machine.files.iter().map(|(_, file)| pages(file) as u64).sum::<u64>();
    let verdict = if found == counted { "(verified)".to_string() } else { format!("(found {found})") };
    let record = vec![("pages".into(), counted.into()), ("found".into(), found.into())];
    let table =
        Table::new().line(format!("page_cache_size: {counted}  {verdict}")).with_records(vec![record]);
    match counted.checked_sub(found) {
        None | Some(0) => table,
        Some(left) => table.note(format!(
            "note: {left} pages were in the page cache when the machine was captured: of which files is not known"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_are_written_as_crash_writes_them() {
        let sizes = [117_036, 65536, 839, 46, 1_974_231, 524_288, 0].map(size);
        assert_eq!(sizes, ["457.2 MB", "256 MB", "3.3 MB", "184 KB", "7.5 GB", "2 GB", "0"]);
    }
}
