//! `set` and `task`: the task that other commands are about, and what stands in its structure.

use super::list::Listed;
use crate::mm::Machine;
use crate::mm::task::Task;
use crate::script::objects;
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

/// The fields of `task_struct` that mean something here; the kernel's has 602 lines of them.
pub fn structure(machine: &Machine, t: &Listed) -> Table {
    let task = machine.tasks.get(&t.pid);
    let mm = task.and_then(|task| task.mm).map_or(0, |id| objects::mm(machine, id));
    let number = |f: fn(&Task) -> i64| task.map_or(0, f);
    let tgid = task.map_or(t.pid, |task| task.tgid);
    // TASK_DEAD is 0x80, TASK_INTERRUPTIBLE 1, TASK_RUNNING 0.
    let state = match t.st {
        "DE" | "ZO" => 0x80,
        "IN" => 1,
        "UN" => 2,
        _ => 0,
    };
    let [started, minor, major] =
        [|t: &Task| t.start_time as i64, |t: &Task| t.min_flt as i64, |t: &Task| t.maj_flt as i64]
            .map(number);
    // Who has no address space borrows what its CPU has loaded.
    let borrowed =
        machine.tlbs.get(usize::from(t.cpu)).filter(|_| t.active && mm == 0).and_then(|tlb| tlb.loaded);
    let active = borrowed.map_or(mm, |id| objects::mm(machine, id));
    let pointer = |n: u64| if n == 0 { "0x0".to_string() } else { format!("{n:#x}") };
    let fields: Vec<(&str, String, Cell)> = vec![
        ("__state", state.to_string(), Cell::Int(state)),
        ("on_cpu", i32::from(t.active).to_string(), Cell::Int(t.active.into())),
        ("cpu", t.cpu.to_string(), t.cpu.into()),
        ("mm", pointer(mm), Cell::Addr(mm)),
        ("active_mm", pointer(active), Cell::Addr(active)),
        ("pid", t.pid.to_string(), t.pid.into()),
        ("tgid", tgid.to_string(), tgid.into()),
        ("start_time", started.to_string(), started.into()),
        ("min_flt", minor.to_string(), minor.into()),
        ("maj_flt", major.to_string(), major.into()),
        ("comm", format!("\"{}\"", t.comm), t.comm.as_str().into()),
    ];
    let mut table = Table::new().head(t.header()).line("struct task_struct {");
    let mut record = Vec::new();
    let last = fields.len() - 1;
    for (n, (name, shown, cell)) in fields.into_iter().enumerate() {
        table = table.line(format!("  {name} = {shown}{}", if n == last { "" } else { "," }));
        record.push((name.to_string(), cell));
    }
    table.line("}").with_records(vec![record])
}
