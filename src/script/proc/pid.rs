//! /proc/PID: what a task's address space looks like from outside.
//!
//! ```text
//!   cat("/proc/3/maps")      cat("/proc/self/status")      echo("-500", "/proc/3/oom_score_adj")
//! ```
//!
//! `self` is who runs: the kernel thread `script`, or the task a script acts for. A dead task stays listed: its
//! address space is gone, so its maps are empty, as those of a zombie are.
//!
//! Kernel: `fs/proc/base.c`, `fs/proc/task_mmu.c`, `fs/proc/array.c`.

pub mod maps;
pub mod smaps;
mod status;

use crate::mm::Machine;
use crate::mm::errno::Errno;
use crate::mm::task::{Mm, Pid, Rss};
use crate::script::answer::{ScriptResult, misuse};
use crate::script::ps::list;
use crate::script::table::Table;

/// A file: what it is called, who makes it.
type Reader = fn(&Machine, Pid) -> Table;

const FILES: &[(&str, Reader)] = &[
    ("comm", comm),
    ("maps", maps::maps),
    ("oom_score", oom_score),
    ("oom_score_adj", oom_score_adj),
    ("smaps", smaps::smaps),
    ("smaps_rollup", smaps::rollup),
    ("statm", statm),
    ("status", status::status),
];

/// The only one that can be written.
const WRITABLE: &str = "oom_score_adj";

/// The pid and the rest of a path below /proc, if it names a task's folder.
pub fn split<'a>(machine: &Machine, path: &'a str) -> Option<(Pid, &'a str)> {
    let (folder, file) = path.strip_prefix("/proc/")?.split_once('/')?;
    let pid = if folder == "self" { machine.current.pid } else { folder.parse().ok()? };
    Some((pid, file))
}

/// Files of the tasks that live, for completion.
pub fn paths(machine: &Machine) -> Vec<String> {
    let pids = machine.tasks.values().filter(|t| t.is_alive()).map(|t| t.pid.to_string());
    let folders = pids.chain(["self".to_string()]);
    folders.flat_map(|pid| FILES.iter().map(move |(file, _)| format!("/proc/{pid}/{file}"))).collect()
}

/// Those of them that can be written.
pub fn writable_paths(machine: &Machine) -> impl Iterator<Item = String> + '_ {
    let alive = machine.tasks.values().filter(|t| t.is_alive());
    alive.map(|t| format!("/proc/{}/{WRITABLE}", t.pid))
}

/// Reads a task's file; `None` when there is no such file.
pub fn read(machine: &Machine, pid: Pid, file: &str) -> Option<Table> {
    let (_, reader) = FILES.iter().find(|(name, _)| *name == file)?;
    list::one(machine, pid).map(|_| reader(machine, pid))
}

/// Writes into a task's file; `None` when there is no such file.
pub fn write(machine: &mut Machine, pid: Pid, file: &str, text: &str) -> Option<ScriptResult<()>> {
    read(machine, pid, file)?;
    let path = format!("/proc/{pid}/{file}");
    if file != WRITABLE {
        return Some(misuse(format!("{path}: EACCES (Permission denied): the file cannot be written")));
    }
    let result = text.parse::<i64>().map_err(|_| Errno::EINVAL);
    Some(match result.and_then(|adj| machine.set_oom_score_adj(pid, adj)) {
        Ok(()) => Ok(()),
        Err(Errno::EINVAL) => misuse(format!("{path} takes a number from -1000 to 1000, not {text:?}")),
        Err(errno) => misuse(format!("{path}: {errno}")),
    })
}

/// The address space of a task; kernel threads and dead tasks have none.
fn mm(machine: &Machine, pid: Pid) -> Option<&Mm> {
    machine.mms.get(machine.tasks.get(&pid)?.mm?)
}

fn comm(machine: &Machine, pid: Pid) -> Table {
    Table::lines(&list::one(machine, pid).map(|t| t.comm).unwrap_or_default())
}

/// Pages: size, resident, shared, text, library, data, dirty.
fn statm(machine: &Machine, pid: Pid) -> Table {
    let pages = mm(machine, pid).map_or([0; 7], |mm| {
        let shared = mm.rss(Rss::File) + mm.rss(Rss::Shmem);
        [mm.total_vm, mm.resident(), shared, 0, 0, mm.data_vm + mm.stack_vm, 0]
    });
    let keys = ["size", "resident", "shared", "text", "lib", "data", "dt"].map(String::from);
    let record = keys.into_iter().zip(pages.map(Into::into)).collect();
    let line = pages.map(|n| n.to_string()).join(" ");
    Table::new().line(line).with_records(vec![record])
}

fn number(name: &str, n: i64) -> Table {
    Table::new().line(n.to_string()).with_records(vec![vec![(name.into(), n.into())]])
}

/// 0 to 2000: what the OOM killer thinks of the task, as a share of RAM and swap.
fn oom_score(machine: &Machine, pid: Pid) -> Table {
    let totalpages = machine.totalram_pages() + machine.swap_pages().0;
    let score = machine.oom_candidates(totalpages).into_iter().find(|c| c.pid == pid).and_then(|c| c.score);
    let points = score.map_or(0, |badness| (1000 + badness * 1000 / totalpages.max(1) as i64) * 2 / 3);
    number("oom_score", points)
}

fn oom_score_adj(machine: &Machine, pid: Pid) -> Table {
    number("oom_score_adj", machine.tasks.get(&pid).map_or(0, |t| t.oom_score_adj))
}
