//! What captured kernels say about memory before there is an allocator, and what the boot here says.
//!
//! Twice: in the log of a machine booted at once, and of one stopped at memblock that hands its memory over itself.

use crate::truth::{self, recordings, truth};
use std::path::Path;
use vmlab::import::folder;
use vmlab::mm::config::{Config, Stop};
use vmlab::mm::machine::Machine;

/// Lines that are compared, by what they begin with once the time stamp is off.
const ABOUT_MEMORY: &[&str] = &[
    "Zone ranges:",
    "  DMA",
    "  Normal",
    "  HighMem",
    "  Device",
    "Movable zone start",
    "Early memory node ranges",
    "  node ",
    "Initmem setup node",
    "On node ",
    "Fallback order",
    "Built ",
    "Policy zone",
    "Memory: ",
    "Freeing ",
];
/// Tables that come from memblock; on NUMA they are vmalloc's.
const TABLES: &[&str] = &["Dentry cache hash", "Inode-cache hash"];

/// The lines about memory, in their order, without time stamps.
fn about_memory<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<String> {
    let bare = lines.map(|line| match line.split_once("] ") {
        Some((stamp, rest)) if stamp.starts_with('[') => rest,
        _ => line,
    });
    let known = |line: &&str| {
        ABOUT_MEMORY.iter().any(|start| line.starts_with(start))
            || (TABLES.iter().any(|start| line.starts_with(start)) && line.contains("linear"))
    };
    bare.filter(known).map(|line| line.trim_end().to_string()).collect()
}

/// User-mode Linux counts addresses as Normal that it never has memory for.
fn is_comparable(name: &str, line: &str) -> bool {
    !(name.starts_with("uml") && line.starts_with("  Normal"))
}

fn first_difference(name: &str, path: &Path, machine: &Machine) -> Option<String> {
    let text = std::fs::read_to_string(path.join("dmesg.txt")).unwrap_or_else(|e| panic!("{name}: {e}"));
    let comparable = |line: &String| is_comparable(name, line);
    let want: Vec<String> = about_memory(text.lines()).into_iter().filter(comparable).collect();
    let got: Vec<String> =
        about_memory(machine.log().map(|l| l.text.as_str())).into_iter().filter(comparable).collect();
    assert!(want.len() > 8, "{name}: the capture says too little: {want:?}");
    let differ = (0..want.len().max(got.len())).find(|n| want.get(*n) != got.get(*n))?;
    let shown = |lines: &[String]| lines.get(differ).cloned().unwrap_or_else(|| "nothing more".into());
    Some(format!("want {:?}, got {:?}", shown(&want), shown(&got)))
}

fn config(path: &Path, name: &str) -> Config {
    let captures = folder::Captures::read(path).unwrap_or_else(|e| panic!("{e}"));
    folder::machine(name, &captures).unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn every_line_about_memory_is_said_again() {
    let boot = truth().join("boot");
    let mut report = truth::Report::default();
    for name in recordings(&boot) {
        let path = boot.join(&name);
        let machine = Machine::boot(config(&path, &name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        report.on(&name, first_difference(&name, &path, &machine));
    }
    report.finish("boot messages");
}

/// The boot allocator takes what the kernel took: the same is left.
#[test]
fn memblock_hands_over_what_the_kernel_did() {
    let boot = truth().join("boot");
    let mut report = truth::Report::default();
    for name in recordings(&boot) {
        let path = boot.join(&name);
        let spec = config(&path, &name);
        let stopped = Config { stop: Some(Stop::Memblock), ..spec.clone() };
        let mut machine = Machine::boot(stopped).unwrap_or_else(|e| panic!("{name}: {e}"));
        machine.check().unwrap_or_else(|e| panic!("{name}: {e}"));
        machine.memblock_free_all().unwrap_or_else(|e| panic!("{name}: {e}"));
        machine.check().unwrap_or_else(|e| panic!("{name}: {e}"));
        let managed: u64 = spec.nodes.iter().flat_map(|n| &n.zones).map(|z| z.managed).sum();
        let difference = match machine.totalram_pages() {
            same if same == managed => first_difference(&name, &path, &machine),
            other => Some(format!("want {managed} managed pages, got {other}")),
        };
        report.on(&name, difference);
    }
    report.finish("hand-overs");
}
