//! Reports of the kernel log: the OOM killer's and the one of the key `m`, line for line with numbers masked.
//!
//! The recorded workloads are replayed, so that the reports have as many tasks and come as often.

use crate::layout::{columns, difference, masked, untimed};
use crate::truth::{self, recordings, truth};
use vmlab::import::folder;
use vmlab::mm::Machine;
use vmlab::mm::addr::VirtAddr;
use vmlab::mm::memory::Access;
use vmlab::mm::mmap::{map, prot};

const FLAGS: u64 = map::PRIVATE | map::ANONYMOUS | map::NORESERVE;

/// A recorded workload of hogs: its machine, who kills, and each hog's adj and pages a turn.
struct Workload {
    recording: &'static str,
    machine: &'static str,
    kill_allocating_task: bool,
    hogs: &'static [(i64, u64)],
}

const WORKLOADS: &[Workload] = &[
    Workload {
        recording: "noswap/oom-single",
        machine: "workload-noswap",
        kill_allocating_task: false,
        hogs: &[(0, 256)],
    },
    Workload {
        recording: "noswap/oom-three-adj",
        machine: "workload-noswap",
        kill_allocating_task: false,
        hogs: &[(0, 256), (500, 256), (-500, 256)],
    },
    Workload {
        recording: "noswap/oom-three-sizes",
        machine: "workload-noswap",
        kill_allocating_task: false,
        hogs: &[(0, 256), (0, 512), (0, 768)],
    },
    Workload {
        recording: "noswap/oom-allocating",
        machine: "workload-noswap",
        kill_allocating_task: true,
        hogs: &[(0, 256), (500, 256), (-500, 256)],
    },
    Workload {
        recording: "swap64/oom-swapfull",
        machine: "workload-swap64",
        kill_allocating_task: false,
        hogs: &[(0, 256)],
    },
    Workload {
        recording: "swap64/oom-three-adj",
        machine: "workload-swap64",
        kill_allocating_task: false,
        hogs: &[(0, 256), (500, 256), (-500, 256)],
    },
];

impl Workload {
    /// The log of the simulated machine on which the hogs took turns until all were dead.
    fn replayed(&self) -> Vec<String> {
        let config = vmlab::import::machine(self.machine).unwrap_or_else(|e| panic!("{e}"));
        let mut machine = Machine::boot(config).unwrap_or_else(|e| panic!("{e}"));
        machine.sysctl.oom_kill_allocating_task = u64::from(self.kill_allocating_task);
        let parent = machine.spawn("wl").unwrap();
        machine.set_oom_score_adj(parent, -1000).unwrap();
        let mut hogs = Vec::new();
        for &(adj, rate) in self.hogs {
            let pid = machine.fork(parent).unwrap();
            machine.set_oom_score_adj(pid, adj).unwrap();
            let base = machine.mmap(pid, VirtAddr(0), 2 << 30, prot::READ | prot::WRITE, FLAGS).unwrap();
            hogs.push((pid, base.0, rate << 12));
        }
        while !hogs.is_empty() {
            for (pid, at, len) in &mut hogs {
                let _ = machine.touch(*pid, VirtAddr(*at), *len, Access::Write);
                *at += *len;
            }
            hogs.retain(|(pid, ..)| machine.tasks[pid].is_alive());
        }
        machine.check().unwrap_or_else(|e| panic!("{}: {e}", self.recording));
        machine.log().map(|line| line.text.clone()).collect()
    }
}

/// From `invoked oom-killer` to the kill, each report of a log.
fn reports(log: &[String]) -> Vec<&[String]> {
    let starts = (0..log.len()).filter(|i| log[*i].contains(" invoked oom-killer: "));
    starts
        .map(|start| {
            let end = log[start..].iter().position(|l| l.contains(": Killed process ")).expect("a kill");
            &log[start..=start + end]
        })
        .collect()
}

/// What must be the same of two reports; the path of the stack is looked at apart.
fn laid_out(report: &[String]) -> Vec<String> {
    let memory = report.iter().position(|l| l == "Mem-Info:").expect("Mem-Info");
    let tasks = report.iter().position(|l| l.starts_with("[  pid  ]")).expect("a table of tasks");
    // The mask is a fact of its own: it is not masked.
    let (mask, adj) = report[0].split_once("oom_score_adj=").expect("oom_score_adj");
    let tainted = report[1].split_once(" Not tainted 6.1.").expect("the kernel's line").0;
    let head = [mask.to_string(), masked(adj.trim_start_matches('-')), masked(tainted)];
    let rows = |(i, line): (usize, &String)| {
        let line = line.replace("oom_score_adj:-", "oom_score_adj:");
        if i > tasks && line.starts_with('[') { columns(&line) } else { masked(&line) }
    };
    head.into_iter().chain(report.iter().enumerate().skip(memory).map(rows)).collect()
}

/// The functions of the call trace, without offsets and what the compiler appended.
fn path(report: &[String]) -> Vec<String> {
    let start = report.iter().position(|l| l == " <TASK>").expect("a stack");
    assert_eq!(report[start - 1], "Call Trace:");
    let end = report.iter().position(|l| l == " </TASK>").expect("the stack's end");
    let frames = report[start + 1..end].iter().filter_map(|l| l.strip_prefix(' '));
    frames.map(|f| f.split(['+', '.', ' ']).next().unwrap_or("").to_string()).collect()
}

const MASK_OF_PAGE: &str = "gfp_mask=0x140dca(GFP_HIGHUSER_MOVABLE|__GFP_COMP|__GFP_ZERO)";
const MASK_OF_TABLE: &str = "gfp_mask=0x400dc0(GFP_KERNEL_ACCOUNT|__GFP_ZERO)";
const TABLE_PATH: [&str; 3] = ["get_zeroed_page", "pte_alloc_one", "__pte_alloc"];

fn differs(workload: &Workload) -> Option<String> {
    let file = truth().join("workloads").join(format!("{}.dmesg.run1.txt", workload.recording));
    let text = std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let recorded: Vec<String> = text.lines().map(|l| untimed(l).to_string()).collect();
    let replayed = workload.replayed();
    let (want, got) = (reports(&recorded), reports(&replayed));
    if want.len() != got.len() {
        return Some(format!("{} reports were recorded, {} replayed", want.len(), got.len()));
    }
    for (n, (want, got)) in want.iter().zip(&got).enumerate() {
        // One fault of 512 needs a table as well: on which of the two allocations memory ends turns on single pages.
        let of_table = want[0].contains(MASK_OF_PAGE) && got[0].contains(MASK_OF_TABLE);
        let mut got = got.to_vec();
        got[0] = if of_table { got[0].replace(MASK_OF_TABLE, MASK_OF_PAGE) } else { got[0].clone() };
        let got = &got[..];
        if let Some(difference) = difference(&laid_out(want), &laid_out(got)) {
            return Some(format!("report {}, {difference}", n + 1));
        }
        let mut theirs = path(want).into_iter();
        let table = |name: &String| of_table && TABLE_PATH.contains(&name.as_str());
        let mut ours = path(got).into_iter().filter(|name| !table(name));
        if let Some(strange) = ours.find(|name| !theirs.any(|t| t == *name)) {
            return Some(format!("report {}: {strange} is not on the recorded path", n + 1));
        }
        if got[1].contains('(') || !got[1].ends_with(" #1") {
            return Some(format!("report {}: {}", n + 1, got[1]));
        }
    }
    None
}

#[test]
fn every_oom_report_is_laid_out_as_recorded() {
    let mut report = truth::Report::default();
    for workload in WORKLOADS {
        report.on(workload.recording, differs(workload));
    }
    report.finish("OOM reports");
}

/// The line as it is compared: masked, but for what a boot computes.
fn computed(line: &str) -> String {
    const EXACT: [&str; 6] = ["boost:", "min:", "low:", "high:", "present:", "managed:"];
    if line.starts_with("lowmem_reserve") || line.ends_with("pages RAM") || line.ends_with("reserved") {
        return line.to_string();
    }
    let words = line.split(' ');
    let words = words.map(|w| if EXACT.iter().any(|e| w.starts_with(e)) { w.to_string() } else { masked(w) });
    masked_answer(&without_types(&words.collect::<Vec<_>>().join(" ")))
}

fn without_types(line: &str) -> String {
    // Word by word the letters are already gone, and leave a gap where they stood.
    let mut line = line.to_string();
    while line.contains("  ") {
        line = line.replace("  ", " ");
    }
    line
}

fn masked_answer(line: &str) -> String {
    line.split("all_unreclaimable?").next().unwrap_or("").to_string()
}

#[test]
fn the_key_m_shows_memory_as_captured() {
    let boot = truth().join("boot");
    let mut report = truth::Report::default();
    for name in recordings(&boot) {
        let path = boot.join(&name);
        let Ok(text) = std::fs::read_to_string(path.join("sysrq-m.txt")) else { continue };
        let captures = folder::Captures::read(&path).unwrap_or_else(|e| panic!("{e}"));
        let config = folder::machine(&name, &captures).unwrap_or_else(|e| panic!("{e}"));
        let mut machine = Machine::boot(config).unwrap_or_else(|e| panic!("{name}: {e}"));
        // The tunables were read before the key was pressed, and reading this one recomputes every reserve.
        machine.sysctl("vm.lowmem_reserve_ratio").unwrap();
        let want: Vec<String> = text.lines().map(|l| computed(untimed(l))).collect();
        let got: Vec<String> = machine.sysrq_show_memory().iter().map(|l| computed(l)).collect();
        report.on(&name, difference(&want, &got));
    }
    report.finish("reports of the key m");
}
