//! `set` and `task`: the task that other commands are about, and what stands in its structure.

use super::list::Listed;
use crate::mm::Machine;
use crate::script::structure::member::{self, Member};
use crate::script::structure::{Radix, task_struct};
use crate::script::table::{Cell, Table};

/// What `set` says about a task.
pub fn context(t: &Listed) -> Table {
    let state = match (t.st, t.active) {
        ("DE", _) => "EXIT_DEAD",
        ("ZO", _) => "EXIT_ZOMBIE",
        ("UN", _) => "TASK_UNINTERRUPTIBLE",
        ("RU", true) => "TASK_RUNNING (ACTIVE)",
        ("RU", false) => "TASK_RUNNING",
        _ => "TASK_INTERRUPTIBLE",
    };
    Table::new()
        .line(format!("    PID: {}", t.pid))
        .line(format!("COMMAND: \"{}\"", t.comm))
        .line(format!("   TASK: {:x}  [THREAD_INFO: {:x}]", t.task, t.task))
        .line(format!("    CPU: {}", t.cpu))
        .line(format!("  STATE: {state}"))
        .with_records(vec![vec![
            ("pid".into(), t.pid.into()),
            ("comm".into(), t.comm.as_str().into()),
            ("task".into(), Cell::Addr(t.task)),
            ("cpu".into(), t.cpu.into()),
            ("state".into(), state.into()),
        ]])
}

/// What stands in a task's structure, under the task's own line.
pub fn structure(machine: &Machine, t: &Listed) -> Table {
    let members: Vec<(usize, Member)> =
        task_struct(machine, t).into_iter().map(|member| (1, member)).collect();
    let lines = member::lines("task_struct", &members, true, Radix::Decimal);
    let table = Table::new().head(t.header());
    lines.into_iter().fold(table, Table::line).with_records(vec![member::record(&members)])
}
