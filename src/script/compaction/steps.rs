//! `compact --step`: what both scanners did, pageblock by pageblock, told from the events of the run.

use crate::mm::Machine;
use crate::mm::addr::Order;
use crate::mm::trace::{CompactionEvent, Event, Scanned};
use crate::script::table::{Cell, Column, Style, Table};

/// Rows of a zone that are shown; a large one has more than anybody reads.
const SHOWN: usize = 200;

/// What a scanner did in a pageblock, or in pageblocks it passed over.
struct Row {
    scanner: &'static str,
    start: u32,
    end: u32,
    block: String,
    scanned: u64,
    taken: u64,
    /// Why a pageblock was passed over.
    passed: Option<String>,
    /// Frames that were free, that hold memory of the kernel, that were busy.
    left: [u64; 3],
    moved: u64,
    stayed: u64,
    targets: Option<(u32, u32)>,
}

impl Row {
    fn new(scanner: &'static str, start: u32, end: u32, block: String) -> Row {
        let (passed, targets) = (None, None);
        Row {
            scanner,
            start,
            end,
            block,
            scanned: 0,
            taken: 0,
            passed,
            left: [0; 3],
            moved: 0,
            stayed: 0,
            targets,
        }
    }

    /// What became of the pageblock, in words.
    fn what(&self) -> String {
        if let Some(why) = &self.passed {
            return format!("passed over: {why}");
        }
        let mut words = Vec::new();
        if let Some((low, high)) = self.targets {
            words.push(format!("{} moved to {low:#x}-{high:#x}", self.moved));
        }
        let kinds = ["free", "not movable", "busy", "could not be moved"];
        let counts = self.left.iter().chain([&self.stayed]).zip(kinds);
        words.extend(counts.filter(|(n, _)| **n > 0).map(|(n, kind)| format!("{n} {kind}")));
        words.join(", ")
    }
}

/// Compacts every zone with the steps recorded, and tells them.
pub fn table(machine: &mut Machine) -> Table {
    let (steps, from) = (std::mem::replace(&mut machine.trace.steps, true), machine.trace.total);
    machine.compact_memory();
    machine.trace.steps = steps;
    let kept = (machine.trace.total - from) as usize;
    let mut recent: Vec<&Event> = machine.trace.events().rev().take(kept).map(|e| &e.event).collect();
    recent.reverse();
    let forgotten = kept.saturating_sub(recent.len());
    let mut table = Table::new();
    let mut records = Vec::new();
    let mut rows: Vec<Row> = Vec::new();
    for event in recent {
        let Event::Compaction(event) = event else { continue };
        match event {
            CompactionEvent::Begin { place, .. } => {
                let (node, zone, start, end) = (place.nid, place.zone, place.start, place.end);
                let head = format!(
                    "Node {node}, zone {zone}: the migrate scanner starts at {start:#x}, the free scanner at {:#x}",
                    end - 1
                );
                table = table.head(head);
                rows.clear();
            }
            CompactionEvent::End { place, moved, failed, status } => {
                records.extend(rows.iter().map(record));
                table = grid(table, &rows);
                let failed =
                    if *failed > 0 { format!(", {failed} could not be moved") } else { String::new() };
                let met = format!("migrate at {:#x}, free at {:#x}", place.migrate_pfn, place.free_pfn);
                table = table.line(format!("  {status}: {met}; {moved} pages moved{failed}")).line("");
            }
            step => tell(&mut rows, step),
        }
    }
    if forgotten > 0 {
        table = table.note(format!("{forgotten} older steps were forgotten"));
    }
    table.with_records(records)
}

/// Adds a step to the rows; those of one pageblock are one row.
fn tell(rows: &mut Vec<Row>, step: &CompactionEvent) {
    match step {
        CompactionEvent::IsolateMigratepages(seen) => {
            let row = row_of(rows, "migrate", seen);
            for (left, n) in row.left.iter_mut().zip([seen.free, seen.fixed, seen.busy]) {
                *left += u64::from(n);
            }
        }
        CompactionEvent::IsolateFreepages(seen) => {
            row_of(rows, "free", seen);
        }
        CompactionEvent::Migratepages { moved, failed, targets } => {
            let Some(row) = rows.iter_mut().rev().find(|row| row.scanner == "migrate") else { return };
            (row.moved, row.stayed) = (row.moved + moved, row.stayed + failed);
            if let Some((low, high)) = *targets {
                let so_far = row.targets.unwrap_or((low, high));
                row.targets = Some((so_far.0.min(low), so_far.1.max(high)));
            }
        }
        CompactionEvent::Passed { start, end, why } => {
            let block = match (end - start).div_ceil(Order::PAGEBLOCK.pages()) {
                1 => "1 pageblock".into(),
                n => format!("{n} pageblocks"),
            };
            rows.push(Row { passed: Some(why.to_string()), ..Row::new("", *start, *end, block) });
        }
        _ => {}
    }
}

/// The row of a pageblock: the scanner's last one, if it is the same.
fn row_of<'a>(rows: &'a mut Vec<Row>, scanner: &'static str, seen: &Scanned) -> &'a mut Row {
    let block = |pfn: u32| pfn >> Order::PAGEBLOCK.get();
    let same = rows.iter().rposition(|row| row.scanner == scanner);
    let same = same.filter(|at| block(rows[*at].start) == block(seen.start));
    let at = same.unwrap_or(rows.len());
    if same.is_none() {
        rows.push(Row::new(scanner, seen.start, seen.end, seen.block.name().to_string()));
    }
    let row = &mut rows[at];
    row.start = row.start.min(seen.start);
    row.end = row.end.max(seen.end);
    row.scanned += u64::from(seen.scanned);
    row.taken += u64::from(seen.taken);
    row
}

fn cells(row: &Row) -> Vec<Cell> {
    let frames = format!("{:#x}-{:#x}", row.start, row.end.max(row.start + 1) - 1);
    let number = |n: u64| if row.scanner.is_empty() { Cell::Empty } else { n.into() };
    vec![
        row.scanner.into(),
        frames.into(),
        row.block.as_str().into(),
        number(row.scanned),
        number(row.taken),
        row.what().into(),
    ]
}

fn columns() -> Vec<Column> {
    vec![
        Column::left("SCANNER", 0),
        Column::left("FRAMES", 0),
        Column::left("TYPE", 0),
        Column::right("SCANNED", 0),
        Column::right("TAKEN", 0),
        Column::left("WHAT", 0),
    ]
}

fn record(row: &Row) -> Vec<(String, Cell)> {
    columns().into_iter().map(|column| column.key).zip(cells(row)).collect()
}

fn grid(table: Table, rows: &[Row]) -> Table {
    let table = table.with(columns(), rows.iter().take(SHOWN).map(cells).collect(), Style::Free);
    match rows.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        Some(more) => table.line(format!("  … and {more} rows more; .rows has them")),
        None => table,
    }
}
