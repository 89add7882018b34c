//! Why: the numbered account of what happened to a task.
//!
//! Gorman 13. Kernel: `mm/oom_kill.c`.

use crate::mm::machine::Machine;
use crate::mm::task::{Exit, Pid, State};
use crate::mm::trace::Event;
use crate::script::answer::{ScriptResult, misuse};
use crate::script::args::{self, Who};
use crate::script::bench::Bench;
use crate::script::table::Table;
use rhai::plugin::*;

/// Why: the account of what happened to a task.
#[export_module]
pub mod functions {
    /// Tells why a task ended: by whom, for whom, and the numbers that decided.
    ///
    /// ```vmlab
    /// > let p = spawn("wild");
    /// > read(p, 64);
    /// > why(p)
    /// Task 3 (wild) was killed at 0.0 ms: SIGSEGV (SEGV_MAPERR) at 0x40.
    ///   The kernel logged: wild[3]: segfault at 40 ip 0000000000401000 sp 00007fffffffe000 error 4 likely
    ///     on CPU 0 (core 0, socket 0)
    /// Task 3 read 0x40: SIGSEGV, no area.
    ///   No area holds the address, and none lies below it.
    /// Kernel: do_user_addr_fault, handle_mm_fault. Next: vtop(p, addr), vm(pid, "-p")
    /// > why pid 99 died
    /// error: there is no task 99; ps() lists them
    /// ```
    ///
    /// Kernel: `out_of_memory`, `oom_badness`. Gorman: 13.
    /// Command: `why 7`
    #[rhai_fn(return_raw)]
    pub fn why(ctx: NativeCallContext, p: Who) -> ScriptResult<Table> {
        let bench = Bench::of(&ctx);
        let desk = bench.borrow();
        let pid = args::who(&desk, &p)?;
        Ok(Table::prose(&super::account(&desk.machine, pid)))
    }

    #[rhai_fn(name = "why", return_raw)]
    pub fn why_last(ctx: NativeCallContext) -> ScriptResult<Table> {
        let bench = Bench::of(&ctx);
        let desk = bench.borrow();
        let ended = |e: &crate::mm::trace::Stamped| match e.event {
            Event::ProcessExit { pid, how: Exit::Signal(_), .. } => Some(pid),
            _ => None,
        };
        match desk.machine.trace.events().rev().find_map(ended) {
            Some(pid) => Ok(Table::prose(&super::account(&desk.machine, pid))),
            // The machine of a report: what the report says is the answer.
            None if !desk.machine.config.account.is_empty() => {
                Ok(crate::script::imported::account(&desk.machine.config.account))
            }
            None => misuse("no task was killed on this machine; why(pid) tells about any task"),
        }
    }

    #[rhai_fn(name = "why", return_raw)]
    pub fn why_pid_died(ctx: NativeCallContext, what: &str, pid: i64, died: &str) -> ScriptResult<Table> {
        if what != "pid" || died != "died" {
            return misuse(format!("why {what} {pid} {died}: write `why {pid}`, or `why pid {pid} died`"));
        }
        why(ctx, pid.into())
    }
}

/// The account of one task.
fn account(machine: &Machine, pid: Pid) -> String {
    if let Some(record) = machine.ooms.iter().rev().find(|r| r.victim == Some(pid)) {
        return record.explain(machine);
    }
    let Some(task) = machine.tasks.get(&pid) else { return format!("There is no task {pid}.\n") };
    let name = format!("Task {pid} ({})", task.comm);
    let at = task.end_time as f64 / 1e6;
    match task.state {
        State::Running => format!("{name} is alive: it has not been killed and has not exited.\n"),
        State::Zombie(Exit::Status(status)) | State::Dead(Exit::Status(status)) => {
            format!("{name} exited by itself at {at:.1} ms with status {status}.\n")
        }
        State::Zombie(Exit::Signal(signal)) | State::Dead(Exit::Signal(signal)) => {
            let mut text = format!("{name} was killed at {at:.1} ms: {signal}.\n");
            let lines = [format!("[{pid}]: segfault"), format!("[{pid}] general protection fault")];
            let line = machine.log().rev().find(|l| lines.iter().any(|words| l.text.contains(words)));
            if let Some(line) = line {
                text += &format!("  The kernel logged: {}\n", line.text);
            }
            if machine.last_fault.pid == pid {
                text += &machine.last_fault.explain();
            }
            text
        }
    }
}
