//! Keeping a machine, going back to it, and seeing what changed.

use crate::mm::Machine;
use crate::mm::addr::Order;
use crate::script::answer::{ScriptResult, misuse};
use crate::script::args;
use crate::script::bench::Bench;
use crate::script::table::{Cell, Column, Table};
use crate::script::takes::SnapshotNumber;
use rhai::plugin::*;

/// Keeping a machine, going back to it, and seeing what changed.
#[export_module]
pub mod functions {
    /// Keeps the machine as it is and answers the snapshot's number.
    ///
    /// It costs little: memory is shared until one side writes.
    ///
    /// ```vmlab
    /// > let before = snapshot()
    /// 1
    /// > alloc_pages(GFP_KERNEL, 3);
    /// > diff(before).rows.len > 0
    /// true
    /// > restore(before)
    /// > diff(before)
    /// note: nothing changed
    /// ```
    ///
    /// Command: `snapshot`
    #[rhai_fn(return_raw)]
    pub fn snapshot(ctx: NativeCallContext) -> ScriptResult<i64> {
        let bench = Bench::of(&ctx);
        let mut desk = bench.borrow_to_look();
        let desk = &mut *desk;
        match desk.snapshots.keep(&mut desk.machine) {
            Some(number) => Ok(number as i64),
            None => {
                misuse(format!("{} snapshots are kept already: reset() forgets them", desk.snapshots.len()))
            }
        }
    }

    /// Goes back to a snapshot: machine, clock, dice and log; variables of the script stay.
    ///
    /// ```vmlab
    /// > let before = snapshot();
    /// > let free = nr_free_pages();
    /// > alloc_pages(GFP_KERNEL, 3);
    /// > restore(before)
    /// > nr_free_pages() == free
    /// true
    /// > restore(9)
    /// error: there is no snapshot 9: 1 to 1 are kept
    /// ```
    ///
    /// Command: `restore 1`
    #[rhai_fn(return_raw)]
    pub fn restore(ctx: NativeCallContext, number: SnapshotNumber) -> ScriptResult<()> {
        let bench = Bench::of(&ctx);
        let mut desk = bench.borrow_mut();
        let desk = &mut *desk;
        match usize::try_from(number).ok().and_then(|n| desk.snapshots.get(n)) {
            Some(kept) => {
                desk.machine.restore(kept);
                Ok(())
            }
            None => misuse(super::none(number, desk.snapshots.len())),
        }
    }

    /// Takes back what the last typed line did to the machine, and answers that line.
    ///
    /// Only the prompt keeps the machine before every line; a script keeps its own with `snapshot()`.
    ///
    /// ```vmlab
    /// > undo()
    /// error: there is nothing to undo: only the prompt of a terminal keeps the machine before each line that changes it; elsewhere let s = snapshot() and restore(s) do
    /// ```
    ///
    /// Command: `undo`
    #[rhai_fn(return_raw)]
    pub fn undo(ctx: NativeCallContext) -> ScriptResult<String> {
        let bench = Bench::of(&ctx);
        let mut desk = bench.borrow_to_look();
        match desk.snapshots.undo() {
            Some((kept, line)) => {
                desk.machine.restore(&kept);
                Ok(format!("undone: {line}"))
            }
            None => misuse(
                "there is nothing to undo: only the prompt of a terminal keeps the machine before each line that changes it; elsewhere let s = snapshot() and restore(s) do",
            ),
        }
    }

    /// Shows what changed since a snapshot: counters, free pages, blocks, watermarks, tunables.
    ///
    /// ```vmlab
    /// > let before = snapshot();
    /// > sysctl("vm.swappiness", 10);
    /// > diff(before)
    /// WHAT           BEFORE  AFTER  CHANGE
    /// vm.swappiness      60     10     -50
    /// ```
    ///
    /// Command: `diff 1`
    #[rhai_fn(return_raw)]
    pub fn diff(ctx: NativeCallContext, number: SnapshotNumber) -> ScriptResult<Table> {
        let bench = Bench::of(&ctx);
        let desk = bench.borrow();
        let number = args::within("the snapshot's number", number, i64::from(u32::MAX))?;
        match desk.snapshots.get(number as usize) {
            Some(kept) => Ok(super::difference(kept, &desk.machine)),
            None => misuse(super::none(number.into(), desk.snapshots.len())),
        }
    }
}

fn none(number: i64, kept: usize) -> String {
    match kept {
        0 => format!("there is no snapshot {number}: none is kept yet; snapshot() keeps one"),
        kept => format!("there is no snapshot {number}: 1 to {kept} are kept"),
    }
}

/// Everything that differs, one row each.
fn difference(before: &Machine, after: &Machine) -> Table {
    let (old, new) = (facts(before), facts(after));
    let mut rows: Vec<Vec<Cell>> = Vec::new();
    for ((what, old), (_, new)) in old.iter().zip(&new) {
        if old != new {
            let change = match (old.parse::<i64>(), new.parse::<i64>()) {
                (Ok(old), Ok(new)) => format!("{:+}", new - old),
                _ => String::new(),
            };
            rows.push(vec![what.as_str().into(), number(old), number(new), change.into()]);
        }
    }
    if rows.is_empty() {
        return Table::new().note("nothing changed");
    }
    let columns = ["BEFORE", "AFTER", "CHANGE"].map(|head| Column::right(head, 0));
    let columns = [vec![Column::left("WHAT", 0)], columns.to_vec()].concat();
    Table::grid(columns, rows)
}

fn number(text: &str) -> Cell {
    text.parse::<i64>().map_or_else(|_| text.into(), Cell::Int)
}

/// What a person would call the state of a machine, always in the same order.
fn facts(machine: &Machine) -> Vec<(String, String)> {
    let mut facts = Vec::new();
    for zone in machine.zones.iter().filter(|z| z.is_populated()) {
        let name = if machine.nodes.len() > 1 {
            format!("node {} {}", zone.node, zone.kind)
        } else {
            zone.kind.to_string()
        };
        let mut add = |what: &str, n: u64| facts.push((format!("{name}: {what}"), n.to_string()));
        add("free", zone.free_pages());
        add("per-CPU", zone.pcp_pages());
        add("min", zone.watermark.min);
        add("low", zone.watermark.low);
        add("high", zone.watermark.high);
        add("boost", zone.watermark_boost);
        for order in Order::all() {
            add(&format!("free blocks of order {order}"), zone.nr_free(order));
        }
    }
    for (name, n) in crate::script::proc::vmstat::counters(machine) {
        facts.push((name, n.to_string()));
    }
    for name in machine.sysctl_names() {
        facts.push((format!("vm.{name}"), machine.peek_sysctl(name).unwrap_or_default()));
    }
    facts
}
