//! /proc/PID/status: a task and its memory, line by line.
//!
//! Kernel: `fs/proc/array.c` (`proc_pid_status`), `fs/proc/task_mmu.c` (`task_mem`).
//! Fidelity: faithful — lines, order, formulas of the Vm lines. Absent — programs have no text yet, so `VmExe` is 0;
//! signals, capabilities and context switches are those of a task that just began.

use crate::mm::Machine;
use crate::mm::config::{Arch, ThpMode};
use crate::mm::task::{Mm, Pid, Rss};
use crate::script::handles::cpu_list;
use crate::script::ps::list::{self, Listed};
use crate::script::table::Table;

/// Capabilities of root in 6.1.
const ROOT: &str = "000001ffffffffff";

/// The whole file.
pub fn status(machine: &Machine, pid: Pid) -> Table {
    let Some(t) = list::one(machine, pid) else { return Table::new() };
    let mut lines = identity(machine, &t);
    if let Some(mm) = super::mm(machine, pid) {
        lines.extend(memory(machine, mm));
    }
    lines.extend(rest(machine, &t));
    let mut table = Table::new();
    let mut records = Vec::new();
    for (name, value) in lines {
        table = table.line(format!("{name}:\t{value}"));
        let number = value.trim().trim_end_matches(" kB").trim_start().parse::<i64>();
        let cell = number.map_or_else(|_| value.trim().into(), Into::into);
        records.push(vec![("name".to_string(), name.into()), ("value".to_string(), cell)]);
    }
    table.with_records(records)
}

type Lines = Vec<(&'static str, String)>;

fn identity(machine: &Machine, t: &Listed) -> Lines {
    let task = machine.tasks.get(&t.pid);
    let (tgid, uid) = task.map_or((t.pid, 0), |task| (task.tgid, task.uid));
    let state = match (t.st, t.active) {
        ("DE", _) => "X (dead)",
        ("ZO", _) => "Z (zombie)",
        ("UN", _) => "D (disk sleep)",
        ("RU", _) => "R (running)",
        _ => "S (sleeping)",
    };
    // 64 descriptors in a table of words of 64 bits.
    let descriptors = if machine.config.arch.is_64bit() { 64 } else { 32 };
    vec![
        ("Name", t.comm.clone()),
        ("Umask", "0022".into()),
        ("State", state.into()),
        ("Tgid", tgid.to_string()),
        ("Ngid", "0".into()),
        ("Pid", t.pid.to_string()),
        ("PPid", t.ppid.to_string()),
        ("TracerPid", "0".into()),
        ("Uid", [uid; 4].map(|n| n.to_string()).join("\t")),
        ("Gid", [uid; 4].map(|n| n.to_string()).join("\t")),
        ("FDSize", descriptors.to_string()),
        ("Groups", " ".into()),
        ("NStgid", tgid.to_string()),
        ("NSpid", t.pid.to_string()),
        ("NSpgid", "0".into()),
        ("NSsid", "0".into()),
    ]
}

/// The Vm lines, in kB.
fn memory(machine: &Machine, mm: &Mm) -> Lines {
    let kb = |pages: u64| format!("{:>8} kB", pages * 4);
    let mut lines = vec![
        ("VmPeak", kb(mm.hiwater_vm.max(mm.total_vm))),
        ("VmSize", kb(mm.total_vm)),
        ("VmLck", kb(mm.locked_vm)),
        ("VmPin", kb(0)),
        ("VmHWM", kb(mm.hiwater_rss.max(mm.resident()))),
        ("VmRSS", kb(mm.resident())),
        ("RssAnon", kb(mm.rss(Rss::Anon))),
        ("RssFile", kb(mm.rss(Rss::File))),
        ("RssShmem", kb(mm.rss(Rss::Shmem))),
        ("VmData", kb(mm.data_vm)),
        ("VmStk", kb(mm.stack_vm)),
        ("VmExe", kb(mm.text_pages())),
        ("VmLib", kb(mm.exec_vm - mm.text_pages())),
        ("VmPTE", format!("{:>8} kB", mm.pgtables_bytes >> 10)),
        ("VmSwap", kb(mm.rss(Rss::Swap))),
    ];
    let uml = machine.config.arch == Arch::Uml;
    if !uml {
        lines.push(("HugetlbPages", kb(0)));
    }
    lines.push(("CoreDumping", "0".into()));
    // The kernel can: whether it does is another file's matter.
    let can = machine.config.thp.is_some() || machine.thp != ThpMode::Never;
    lines.push(("THP_enabled", i32::from(can).to_string()));
    lines
}

fn rest(machine: &Machine, t: &Listed) -> Lines {
    let tgid = machine.tasks.get(&t.pid).map(|task| task.tgid);
    let threads = machine.tasks.values().filter(|task| task.is_alive() && Some(task.tgid) == tgid).count();
    let mut lines =
        vec![("Threads", threads.max(1).to_string()), ("SigQ", format!("0/{}", machine.max_threads() / 2))];
    lines.extend(["SigPnd", "ShdPnd", "SigBlk", "SigIgn", "SigCgt"].map(|name| (name, "0".repeat(16))));
    let none = || "0".repeat(16);
    let (store, branch) = match machine.config.arch {
        Arch::Uml => ("unknown", "unsupported"),
        Arch::Arm64 => ("vulnerable", "unknown"),
        _ => ("not vulnerable", "always enabled"),
    };
    lines.extend([
        ("CapInh", none()),
        ("CapPrm", ROOT.into()),
        ("CapEff", ROOT.into()),
        ("CapBnd", ROOT.into()),
        ("CapAmb", none()),
        ("NoNewPrivs", "0".into()),
        ("Seccomp", "0".into()),
        ("Seccomp_filters", "0".into()),
        ("Speculation_Store_Bypass", store.into()),
        ("SpeculationIndirectBranch", branch.into()),
    ]);
    lines.extend(allowed(machine));
    lines.extend([
        ("voluntary_ctxt_switches", "0".to_string()),
        ("nonvoluntary_ctxt_switches", "0".to_string()),
    ]);
    lines
}

/// On which CPUs it may run, and from which nodes it may get memory: all of them.
fn allowed(machine: &Machine) -> Lines {
    let mut cpus: Vec<u16> = machine.nodes.iter().flat_map(|n| n.cpus.iter().copied()).collect();
    cpus.sort_unstable();
    let mut lines = vec![("Cpus_allowed", mask(&cpus, 0)), ("Cpus_allowed_list", cpu_list(&cpus))];
    // So many nodes could there be: 1024, 16, or one.
    let possible = match machine.config.arch {
        Arch::X86_64 => 1024,
        Arch::Arm64 => 16,
        Arch::Uml => return lines,
        _ => 1,
    };
    let nodes = machine.nodes.iter().filter(|n| machine.node_has_memory(n));
    let nodes: Vec<u16> = nodes.map(|n| n.nid.0.into()).collect();
    lines.extend([("Mems_allowed", mask(&nodes, possible)), ("Mems_allowed_list", machine.mems_allowed())]);
    lines
}

/// A mask as the kernel prints it: groups of 8 digits, the highest first; `possible` numbers are shown at least.
fn mask(numbers: &[u16], possible: usize) -> String {
    let bits = numbers.iter().map(|n| usize::from(*n) + 1).max().unwrap_or(1).max(possible);
    let groups = bits.div_ceil(32);
    let word = |group: usize| {
        numbers.iter().filter(|n| usize::from(**n) / 32 == group).fold(0_u32, |word, n| word | 1 << (n % 32))
    };
    let first = (bits - (groups - 1) * 32).div_ceil(4);
    let text = |group: usize| {
        let width = if group + 1 == groups { first } else { 8 };
        format!("{:0width$x}", word(group))
    };
    (0..groups).rev().map(text).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::mask;

    #[test]
    fn masks_are_written_as_the_kernel_writes_them() {
        assert_eq!(mask(&[0], 0), "1");
        assert_eq!(mask(&[0, 1, 2, 3], 0), "f");
        assert_eq!(mask(&[0, 4], 0), "11");
        assert_eq!(mask(&[0], 16), "0001");
        assert_eq!(mask(&[0, 33], 0), "2,00000001");
        assert_eq!(mask(&[0], 1024).len(), 32 * 9 - 1);
    }
}
