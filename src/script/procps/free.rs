//! `free`: the lines of /proc/meminfo that matter most, side by side.
//!
//! The columns are those of the captured machines' tool, which rounds to the nearest unit.

use crate::mm::Machine;
use crate::mm::addr::PAGE_SIZE;
use crate::mm::vmstat::NodeStat;
use crate::script::answer::{ScriptResult, misuse};
use crate::script::table::Table;

const COLUMNS: [&str; 6] = ["total", "used", "free", "shared", "buff/cache", "available"];

/// Two lines: memory and swap.
pub fn free(machine: &Machine, options: &str) -> ScriptResult<Table> {
    // What one unit is, in bytes; none for units that fit.
    let unit = match options.trim() {
        "" | "-k" => Some(1024),
        "-b" => Some(1),
        "-m" => Some(1 << 20),
        "-g" => Some(1 << 30),
        "-h" => None,
        other => return misuse(format!("free: {other:?} is none of -b, -k, -m, -g, -h")),
    };
    let stat = |item| machine.node_stat(item);
    let (total, free) = (machine.totalram_pages(), machine.nr_free_pages());
    let cache = stat(NodeStat::FilePages).saturating_sub(stat(NodeStat::Swapcached))
        + stat(NodeStat::SlabReclaimable)
        + stat(NodeStat::KernelMiscReclaimable);
    let used = total.saturating_sub(free + cache);
    let (swap, swap_free) = machine.swap_pages();
    let shown = |pages: u64| match unit {
        Some(unit) => ((pages * PAGE_SIZE + unit / 2) / unit).to_string(),
        None => human(pages * PAGE_SIZE),
    };
    let mut table =
        Table::new().head(format!("{:7}{}", "", COLUMNS.map(|column| format!("{column:>12}")).concat()));
    let mut records = Vec::new();
    for (name, pages) in [
        ("Mem:", vec![total, used, free, stat(NodeStat::Shmem), cache, machine.si_mem_available()]),
        ("Swap:", vec![swap, swap - swap_free, swap_free]),
    ] {
        let cells = pages.iter().map(|n| format!("{:>12}", shown(*n))).collect::<String>();
        table = table.line(format!("{name:<7}{cells}"));
        let mut record = vec![("what".to_string(), name.trim_end_matches(':').to_lowercase().into())];
        let keys = COLUMNS.iter().map(|column| column.replace('/', "_"));
        record.extend(keys.zip(pages.iter().map(|n| (n * PAGE_SIZE / unit.unwrap_or(1)).into())));
        records.push(record);
    }
    Ok(table.with_records(records))
}

/// `960.7M`.
fn human(bytes: u64) -> String {
    let units = [(30, "G"), (20, "M"), (10, "K")];
    match units.into_iter().find(|(shift, _)| bytes >> shift > 0) {
        Some((shift, unit)) => format!("{:.1}{unit}", bytes as f64 / (1_u64 << shift) as f64),
        None => bytes.to_string(),
    }
}
