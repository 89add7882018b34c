//! The limits of a process: `ps -r` as crash prints them, and /proc/PID/limits.
//!
//! Kernel: `fs/proc/base.c` (`proc_pid_limits`), `include/asm-generic/resource.h` (`INIT_RLIMITS`).
//! Fidelity: faithful — all sixteen, in order. Those that have nothing to do with memory or tasks stand at what init
//! gives every process, and bind nobody.

use super::list::Listed;
use crate::mm::Machine;
use crate::mm::task::Rlimits;
use crate::script::table::{Cell, Record, Table};

/// A limit: crash's name, the name and the unit in /proc, what it is now and what it can be raised to.
struct Limit {
    short: &'static str,
    long: &'static str,
    unit: &'static str,
    soft: u64,
    hard: u64,
}

/// No limit.
const NONE: u64 = u64::MAX;

/// All limits of a task, by the kernel's numbers.
fn all(machine: &Machine, pid: u32) -> [Limit; 16] {
    let own = machine.tasks.get(&pid).map_or_else(Rlimits::default, |task| task.rlimits);
    let nproc = machine.max_threads() / 2;
    let memlock = own.memlock.max(Rlimits::default().memlock);
    let limit = |short, long, unit, soft, hard| Limit { short, long, unit, soft, hard };
    [
        limit("CPU", "Max cpu time", "seconds", NONE, NONE),
        limit("FSIZE", "Max file size", "bytes", NONE, NONE),
        limit("DATA", "Max data size", "bytes", own.data, NONE),
        limit("STACK", "Max stack size", "bytes", own.stack, NONE),
        limit("CORE", "Max core file size", "bytes", 0, NONE),
        limit("RSS", "Max resident set", "bytes", NONE, NONE),
        limit("NPROC", "Max processes", "processes", own.nproc.min(nproc), nproc),
        limit("NOFILE", "Max open files", "files", 1024, 4096),
        limit("MEMLOCK", "Max locked memory", "bytes", own.memlock, memlock),
        limit("AS", "Max address space", "bytes", own.address_space, NONE),
        limit("LOCKS", "Max file locks", "locks", NONE, NONE),
        limit("SIGPENDING", "Max pending signals", "signals", nproc, nproc),
        limit("MSGQUEUE", "Max msgqueue size", "bytes", 819_200, 819_200),
        limit("NICE", "Max nice priority", "", 0, 0),
        limit("RTPRIO", "Max realtime priority", "", 0, 0),
        limit("RTTIME", "Max realtime timeout", "us", NONE, NONE),
    ]
}

fn record(pid: u32, limit: &Limit) -> Record {
    let cell = |n: u64| if n == NONE { Cell::Empty } else { n.into() };
    vec![
        ("pid".to_string(), pid.into()),
        ("limit".to_string(), limit.short.into()),
        ("soft".to_string(), cell(limit.soft)),
        ("hard".to_string(), cell(limit.hard)),
    ]
}

/// `ps -r`: a block for each task.
pub fn crash(machine: &Machine, tasks: &[Listed]) -> Table {
    let shown = |n: u64| if n == NONE { "(unlimited)".to_string() } else { n.to_string() };
    let mut table = Table::new();
    let mut records = Vec::new();
    for t in tasks {
        table = table.head(t.header()).head("      RLIMIT     CURRENT       MAXIMUM");
        for limit in all(machine, t.pid) {
            // crash centres with the odd blank on the right.
            let (soft, hard) = (shown(limit.soft), shown(limit.hard));
            table = table.line(format!("{:>12}   {soft:^11}   {hard:^11}", limit.short).trim_end());
            records.push(record(t.pid, &limit));
        }
        table = table.line("");
    }
    table.with_records(records)
}

/// /proc/PID/limits.
pub fn file(machine: &Machine, pid: u32) -> Table {
    let shown = |n: u64| if n == NONE { "unlimited".to_string() } else { n.to_string() };
    let mut table =
        Table::new().head("Limit                     Soft Limit           Hard Limit           Units     ");
    let mut records = Vec::new();
    for limit in all(machine, pid) {
        let unit = if limit.unit.is_empty() { String::new() } else { format!("{:<10}", limit.unit) };
        table = table.line(format!(
            "{:<25} {:<20} {:<20} {unit}",
            limit.long,
            shown(limit.soft),
            shown(limit.hard)
        ));
        records.push(record(pid, &limit));
    }
    table.with_records(records)
}
