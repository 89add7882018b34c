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
pub mod numa_maps;
pub mod pagemap;
pub mod smaps;
mod status;

use crate::mm::Machine;
use crate::mm::clear_refs::ClearRefs;
use crate::mm::errno::Errno;
use crate::mm::task::{Mm, Pid, Rss};
use crate::script::answer::{ScriptResult, misuse};
use crate::script::ps::{limits, list};
use crate::script::table::Table;

/// A file: what it is called, who makes it.
type Reader = fn(&Machine, Pid) -> Table;

const FILES: &[(&str, Reader)] = &[
    ("comm", comm),
    ("limits", limits::file),
    ("maps", maps::maps),
    ("numa_maps", numa_maps::numa_maps),
    ("oom_score", oom_score),
    ("oom_score_adj", oom_score_adj),
    ("smaps", smaps::smaps),
    ("smaps_rollup", smaps::rollup),
    ("statm", statm),
    ("status", status::status),
];

/// Files of this machine's kernel: without `CONFIG_NUMA` there is nothing to say of nodes.
fn files(machine: &Machine) -> impl Iterator<Item = &'static (&'static str, Reader)> + Clone {
    let numa = machine.config.arch.has_numa();
    FILES.iter().filter(move |(name, _)| numa || *name != "numa_maps")
}

/// Those that can be written; the first cannot be read.
const WRITABLE: [&str; 2] = ["clear_refs", "oom_score_adj"];

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
    folders.flat_map(|pid| files(machine).map(move |(file, _)| format!("/proc/{pid}/{file}"))).collect()
}

/// Those of them that can be written.
pub fn writable_paths(machine: &Machine) -> impl Iterator<Item = String> + '_ {
    let alive = machine.tasks.values().filter(|t| t.is_alive());
    alive.flat_map(|t| WRITABLE.map(|file| format!("/proc/{}/{file}", t.pid)))
}

/// Reads a task's file; `None` when there is no such file.
pub fn read(machine: &Machine, pid: Pid, file: &str) -> Option<Table> {
    let (_, reader) = files(machine).find(|(name, _)| *name == file)?;
    list::one(machine, pid).map(|_| reader(machine, pid))
}

/// Why a path below a task's folder cannot be read: no such task, or a file of bits.
pub fn refused(machine: &Machine, pid: Pid, file: &str) -> Option<String> {
    if list::one(machine, pid).is_none() {
        return Some(format!("ENOENT (No such file or directory): there is no task {pid}; ps() lists them"));
    }
    (file == "pagemap").then(|| {
        format!("it is 8 bytes for every page of 128 TiB; pagemap({pid}, address, pages) shows a part of it")
    })
}

/// Writes into a task's file; `None` when there is no such file.
pub fn write(machine: &mut Machine, pid: Pid, file: &str, text: &str) -> Option<ScriptResult<()>> {
    list::one(machine, pid)?;
    let path = format!("/proc/{pid}/{file}");
    if file == "clear_refs" {
        let what = text.parse().ok().and_then(ClearRefs::from_number);
        return Some(match what.map(|what| machine.clear_refs(pid, what)) {
            Some(Ok(())) => Ok(()),
            Some(Err(errno)) => misuse(format!("{path}: {errno}")),
            None => misuse(format!(
                "{path}: EINVAL (Invalid argument): it takes 1 all, 2 anonymous, 3 files, 4 soft-dirty, 5 peak, not {text:?}"
            )),
        });
    }
    if !WRITABLE.contains(&file) {
        read(machine, pid, file)?;
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
        [mm.total_vm, mm.resident(), shared, mm.text_pages(), 0, mm.data_vm + mm.stack_vm, 0]
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
