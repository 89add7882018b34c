//! Compaction, and how scattered free memory is.
//!
//! Kernel: `mm/compaction.c`, `mm/vmstat.c`.

mod steps;

use crate::mm::compaction::index::{COMPACTION_HPAGE_ORDER, fragmentation_score_zone};
use crate::mm::compaction::{fragmentation_index, unusable_index};
use crate::mm::machine::Machine;
use crate::mm::trace::{CompactionEvent, Event};
use crate::script::answer::{ScriptResult, misuse};
use crate::script::bench::Bench;
use crate::script::table::{Cell, Column, Table};
use rhai::plugin::*;

/// Compaction, and how scattered free memory is.
#[export_module]
pub mod functions {
    /// Compacts every zone: movable pages are gathered at its end, so that larger blocks come free at its start.
    ///
    /// Answers how many pages were moved. `compact("--step")` shows what both scanners did, pageblock by pageblock:
    /// what was taken, where it went, and why the rest stayed.
    ///
    /// ```vmlab
    /// > compact()
    /// 0
    /// > let p = spawn("app");
    /// > let a = mmap(p, 0, "6M", PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS);
    /// > touch(p, a, "6M");
    /// > for n in 0..96 { munmap(p, a + n * 64 * KiB, 32 * KiB); }
    /// > compact --step
    /// Node 0, zone DMA: the migrate scanner starts at 0x1, the free scanner at 0xfff
    /// SCANNER  FRAMES       TYPE       SCANNED  TAKEN  WHAT
    /// migrate  0x1-0x1ff    Movable        511      0  511 not movable
    /// migrate  0x200-0x3ff  Movable        512      0  512 not movable
    /// migrate  0x400-0x5ff  Unmovable       35      0  462 free, 29 not movable
    /// migrate  0x600-0x7ff  Unmovable        1      0  512 free
    /// migrate  0x800-0x9ff  Movable        384    256  256 moved to 0xe01-0xf00, 256 free
    /// free     0xe00-0xfff  Movable        512    511
    /// migrate  0xa00-0xbff  Movable        384    256  255 moved to 0xf01-0xfff, 256 free, 1 could not be moved
    ///   complete: migrate at 0xc00, free at 0xc00; 511 pages moved, 1 could not be moved
    ///
    /// > compact("--steps")
    /// error: compact("--steps"): there is `compact()` and `compact("--step")`
    ///  --> 1:9
    ///   |
    /// 1 | compact("--steps")
    ///   |         ^^^^^^^^^
    /// ```
    ///
    /// Kernel: `compact_nodes`, `mm/compaction.c`.
    /// Command: `compact`, `compact --step`
    pub fn compact(ctx: NativeCallContext) -> i64 {
        Bench::of(&ctx).borrow_mut().machine.compact_memory() as i64
    }

    #[rhai_fn(name = "compact", return_raw)]
    pub fn compact_how(ctx: NativeCallContext, how: &str) -> ScriptResult<Table> {
        match how {
            "--step" => Ok(super::steps::table(&mut Bench::of(&ctx).borrow_mut().machine)),
            other => misuse(format!("compact({other:?}): there is `compact()` and `compact(\"--step\")`")),
        }
    }

    /// How scattered each zone's free memory is: the score that kcompactd watches, and both indices for huge pages.
    ///
    /// The score is the percentage of free memory that lies in blocks too small for a huge page. kcompactd begins by
    /// itself when a node's score is above the first of the two numbers below, and stops at the second.
    ///
    /// ```vmlab
    /// > fragmentation_score()
    /// NODE  ZONE  FREE  SCORE  EXTFRAG_INDEX  UNUSABLE_INDEX
    ///    0  DMA   3072      0         -1.000           0.000
    /// node 0: score 0; kcompactd0 begins above 90 and stops at 80 (vm.compaction_proactiveness = 20)
    /// > fragmentation_score().rows[0].score
    /// 0
    /// > sysctl("vm.compaction_proactiveness", 60);
    /// > fragmentation_score | tail -1
    /// node 0: score 0; kcompactd0 begins above 50 and stops at 40 (vm.compaction_proactiveness = 60)
    /// ```
    ///
    /// Kernel: `fragmentation_score_node`, `mm/compaction.c`; `fragmentation_index`, `mm/vmstat.c`.
    /// Command: `fragmentation_score`
    pub fn fragmentation_score(ctx: NativeCallContext) -> Table {
        super::scores(&Bench::of(&ctx).borrow().machine)
    }
}

/// Score and indices of every zone, and each node's score against its lines.
fn scores(machine: &Machine) -> Table {
    let order = COMPACTION_HPAGE_ORDER;
    let thousandths = |n: i64| {
        let sign = if n < 0 { "-" } else { "" };
        Cell::Shown(format!("{sign}{}.{:03}", n.abs() / 1000, n.abs() % 1000), n)
    };
    let populated = machine.zones.iter().filter(|zone| zone.is_populated());
    let rows = populated.map(|zone| {
        vec![
            zone.node.0.into(),
            zone.kind.name().into(),
            zone.free_pages().into(),
            fragmentation_score_zone(zone).into(),
            thousandths(fragmentation_index(zone, order)),
            thousandths(unusable_index(zone, order) as i64),
        ]
    });
    let columns = vec![
        Column::right("NODE", 0),
        Column::left("ZONE", 0),
        Column::right("FREE", 0),
        Column::right("SCORE", 0),
        Column::right("EXTFRAG_INDEX", 0),
        Column::right("UNUSABLE_INDEX", 0),
    ];
    let mut table = Table::grid(columns, rows.collect());
    let records = table.records().to_vec();
    for (at, node) in machine.nodes.iter().enumerate().filter(|(_, node)| machine.node_has_memory(node)) {
        let score = machine.fragmentation_score_node(at);
        let (begins, stops) =
            (machine.fragmentation_score_wmark(false), machine.fragmentation_score_wmark(true));
        let proactive = machine.sysctl.compaction_proactiveness;
        let lines = match proactive {
            0 => "kcompactd never begins by itself (vm.compaction_proactiveness = 0)".into(),
            n => format!(
                "kcompactd{} begins above {begins} and stops at {stops} (vm.compaction_proactiveness = {n})",
                node.nid
            ),
        };
        table = table.line(format!("node {}: score {score}; {lines}", node.nid));
    }
    table.with_records(records)
}

/// What compaction did last, event by event.
pub fn explain(machine: &Machine) -> ScriptResult<Table> {
    let mut last = Vec::new();
    for stamped in machine.trace.events().rev() {
        let Event::Compaction(event) = &stamped.event else { continue };
        last.push((stamped.comm, event));
        let begins = matches!(
            event,
            CompactionEvent::TryToCompactPages { .. } | CompactionEvent::KcompactdWake { .. }
        );
        let alone =
            matches!(event, CompactionEvent::Begin { order: None, .. }) && !in_kcompactd(stamped.comm);
        if begins || alone {
            break;
        }
    }
    if last.is_empty() {
        return misuse(
            "nothing was compacted yet: try compact(), or alloc_pages(GFP_KERNEL, 9) on a full machine",
        );
    }
    let mut table = Table::new();
    for (comm, event) in last.into_iter().rev() {
        table = table.line(format!("{comm}: {}", event.explain()));
    }
    let next =
        "Kernel: try_to_compact_pages, compact_zone, kcompactd. Next: compact --step, fragmentation_score()";
    Ok(table.line(next))
}

fn in_kcompactd(comm: crate::mm::machine::Comm) -> bool {
    comm.as_str().starts_with("kcompactd")
}
