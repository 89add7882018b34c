//! Workloads recorded on a real kernel, replayed and printed beside the recording.
//!
//! The numbers depend on timing, so they are shown, not judged; what is asserted is that the replay ends as the recording
//! did and that nothing is lost. See them with `cargo test --test recorded workloads -- --nocapture`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use vmlab::mm::Machine;
use vmlab::mm::addr::VirtAddr;
use vmlab::mm::config::ZoneType;
use vmlab::mm::memory::Access;
use vmlab::mm::mmap::{map, prot};
use vmlab::mm::vmstat::{VmEvent, ZoneEvent};

/// Counters that tell how reclaim went.
const SHOWN: &[&str] = &[
    "pgfault",
    "pgmajfault",
    "pswpin",
    "pswpout",
    "pgscan_anon",
    "pgsteal_anon",
    "pgsteal_kswapd",
    "pgsteal_direct",
    "pgrotated",
    "pgactivate",
    "allocstall_movable",
    "pageoutrun",
    "swap_ra",
    "swap_ra_hit",
    "oom_kill",
];

/// `[events …]` of one phase: the counter, and what each run showed.
fn recorded(file: &str, phase: &str) -> BTreeMap<String, Vec<u64>> {
    let root = std::env::var_os("VMLAB_TRUTH").map(PathBuf::from);
    let root = root.unwrap_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/truth")));
    let text =
        std::fs::read_to_string(root.join("workloads").join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
    let start =
        text.find(&format!("## phase {phase}\n")).unwrap_or_else(|| panic!("{file}: no phase {phase}"));
    let body = text[start..].lines().skip(1).take_while(|l| !l.starts_with("## phase"));
    let events = body.skip_while(|l| !l.starts_with("[events")).skip(1).take_while(|l| !l.starts_with('['));
    let numbers = |l: &str| {
        let mut words = l.split_whitespace();
        let name = words.next()?.to_string();
        Some((name, words.map(str::parse).collect::<Result<Vec<u64>, _>>().ok()?))
    };
    events.filter_map(numbers).collect()
}

/// Every counter of the machine by its name in /proc/vmstat.
fn counters(machine: &Machine) -> BTreeMap<String, u64> {
    let mut all: BTreeMap<String, u64> =
        VmEvent::ALL.iter().map(|e| (e.name().to_string(), machine.vmstat.get(*e))).collect();
    let stalls = machine.zone_event(ZoneEvent::Allocstall, ZoneType::Movable);
    all.insert("allocstall_movable".into(), stalls);
    all
}

fn print(
    title: &str,
    before: &BTreeMap<String, u64>,
    machine: &Machine,
    recorded: &BTreeMap<String, Vec<u64>>,
) {
    println!("{title:<44} {:>10}   recorded in three runs", "simulator");
    let after = counters(machine);
    for name in SHOWN {
        let ours = after[*name] - before[*name];
        let theirs = recorded.get(*name).cloned().unwrap_or_else(|| vec![0; 3]);
        if ours > 0 || theirs.iter().any(|n| *n > 0) {
            let theirs: Vec<String> = theirs.iter().map(|n| format!("{n:>8}")).collect();
            println!("  {name:<42} {ours:>10}   {}", theirs.join(" "));
        }
    }
}

fn boot(name: &str) -> Machine {
    Machine::boot(vmlab::import::machine(name).unwrap_or_else(|e| panic!("{e}")))
        .unwrap_or_else(|e| panic!("{e}"))
}

const FLAGS: u64 = map::PRIVATE | map::ANONYMOUS | map::NORESERVE;

#[test]
fn anon_seq_one_and_a_half() {
    const PAGES: u64 = 98_304;
    let mut machine = boot("workload-swap");
    let pid = machine.spawn("wl").unwrap();
    let base = machine.mmap(pid, VirtAddr(0), PAGES << 12, prot::READ | prot::WRITE, FLAGS).unwrap();
    let file = "swap/anon-seq-1.5.txt";
    for (phase, access) in [("write-asc", Access::Write), ("read-asc", Access::Read)] {
        let before = counters(&machine);
        let touched = machine.touch(pid, base, PAGES << 12, access).unwrap();
        print(&format!("anon-seq-1.5 {phase}"), &before, &machine, &recorded(file, phase));
        assert_eq!(touched.pages, PAGES);
        machine.check().unwrap_or_else(|e| panic!("{phase}: {e}"));
    }
}

#[test]
fn oom_single() {
    let mut machine = boot("workload-noswap");
    let pid = machine.spawn("wl").unwrap();
    let base = machine.mmap(pid, VirtAddr(0), 2 << 30, prot::READ | prot::WRITE, FLAGS).unwrap();
    let before = counters(&machine);
    machine.touch(pid, base, 2 << 30, Access::Write).unwrap_err();
    print("oom-single killed", &before, &machine, &recorded("noswap/oom-single.txt", "killed"));
    let kill = machine.ooms.last().expect("the killer ran");
    println!("  pages the hog had: {}; recorded 42968 42969 42878", kill.candidates[0].rss);
    assert_eq!(kill.victim, Some(pid));
    machine.check().unwrap_or_else(|e| panic!("{e}"));
}
