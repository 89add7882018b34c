//! Files of /proc against recordings of real kernels: every line in its place, and every number that was imported.
//!
//! A recording is `tests/truth/boot/MACHINE/FILE.txt`; the machine of that name is booted and its file compared.
//! `VMLAB_TRUTH=DIR` compares recordings of the same layout there instead. Lines whose numbers are of another moment
//! than the imported ones, or of what is not simulated, must still have the same label in the same place.

use std::path::{Path, PathBuf};
use vmlab::import;
use vmlab::mm::Machine;
use vmlab::script::proc;
use vmlab::shell::render;

/// Files, and the labels whose numbers may differ.
const FILES: &[(&str, &str, &[&str])] = &[
    // Allocations before the capture are not replayed, and the machine's own first task takes some pages.
    ("zoneinfo", "/proc/zoneinfo", &["numa_", "nr_", "pages free", "count:"]),
    ("buddyinfo", "/proc/buddyinfo", &["Node"]),
    ("pagetypeinfo", "/proc/pagetypeinfo", &[]),
    ("extfrag_index", "/sys/kernel/debug/extfrag/extfrag_index", &[]),
    ("unusable_index", "/sys/kernel/debug/extfrag/unusable_index", &["Node"]),
    (
        "meminfo",
        "/proc/meminfo",
        &[
            "MemFree",
            "MemAvailable",
            "Cached",
            "Active",
            "Inactive",
            "Unevictable",
            "LowFree",
            "HighFree",
            "AnonPages",
            "KReclaimable",
            "Slab",
            "SReclaimable",
            "SUnreclaim",
            "KernelStack",
            "PageTables",
            "VmallocUsed",
            "Committed_AS",
            "DirectMap",
            "CmaFree",
        ],
    ),
    ("swaps", "/proc/swaps", &[]),
    ("vmstat", "/proc/vmstat", &[""]),
    ("node0-meminfo", "/sys/devices/system/node/node0/meminfo", &["Node 0"]),
];

fn recordings() -> Vec<PathBuf> {
    let root = std::env::var("VMLAB_TRUTH").unwrap_or_else(|_| "tests/truth".into());
    let Ok(entries) = std::fs::read_dir(Path::new(&root).join("boot")) else { return Vec::new() };
    let mut found: Vec<PathBuf> =
        entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
    found.sort();
    found
}

/// A line without its numbers, and without how far they stand to the right.
fn shape(line: &str) -> String {
    let mut shape = String::new();
    for word in line.split_whitespace() {
        let word = word.trim_matches(|c| c == '(' || c == ')' || c == ',');
        shape += if word.parse::<f64>().is_ok() { "N" } else { word };
        shape.push(' ');
    }
    shape
}

/// The first difference that matters.
fn difference(want: &str, got: &str, free: &[&str]) -> Option<String> {
    let (want, got): (Vec<&str>, Vec<&str>) = (want.lines().collect(), got.lines().collect());
    for (n, (want, got)) in want.iter().zip(&got).enumerate() {
        let (want, got) = (want.trim_end(), got.trim_end());
        let may_differ = free.iter().any(|label| want.trim_start().starts_with(label));
        let same = if may_differ { shape(want) == shape(got) } else { want == got };
        if !same {
            return Some(format!("line {}\n  want {want:?}\n  got  {got:?}", n + 1));
        }
        // Where numbers agree, every byte must.
        if may_differ && want.split_whitespace().eq(got.split_whitespace()) && want != got {
            return Some(format!("line {}, its spaces\n  want {want:?}\n  got  {got:?}", n + 1));
        }
    }
    (want.len() != got.len()).then(|| format!("{} lines, want {}", got.len(), want.len()))
}

#[test]
fn proc_files_are_those_of_the_recorded_kernels() {
    let (mut wrong, mut compared) = (Vec::new(), 0);
    for folder in recordings() {
        let name = folder.file_name().unwrap().to_str().unwrap().to_string();
        let config = import::machine(&name).unwrap_or_else(|why| panic!("{name}: {why}"));
        let mut machine = Machine::boot(config).unwrap_or_else(|why| panic!("{name}: {why}"));
        for (file, path, free) in FILES {
            let Ok(want) = std::fs::read_to_string(folder.join(file).with_extension("txt")) else { continue };
            let got = render::plain(&proc::read(&mut machine, path).unwrap());
            compared += 1;
            match difference(&want, &got, free) {
                None => println!("{name} {file}: ok"),
                Some(difference) => {
                    println!("{name} {file}: {difference}");
                    wrong.push(format!("{name} {file}: {difference}"));
                }
            }
        }
    }
    println!("{compared} files compared, {} differ", wrong.len());
    assert!(compared > 0, "no recordings found");
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// A row without its addresses, which most captures hide; ranges that wait for a purge are no areas.
fn areas(text: &str) -> Vec<String> {
    let rows = text.lines().filter_map(|line| line.trim().split_once(char::is_whitespace));
    rows.map(|row| row.1.trim().to_string()).filter(|row| !row.contains("unpurged")).collect()
}

#[test]
fn areas_of_vmalloc_are_those_of_the_recorded_kernels() {
    // A stack of four pages: on machines with several CPUs a thread came or went between the two files.
    const STACK_KB: u64 = 16;
    let mut compared = 0;
    let used = |text: &str| -> u64 {
        let line = text.lines().find_map(|line| line.strip_prefix("VmallocUsed:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    };
    for folder in recordings() {
        let name = folder.file_name().unwrap().to_str().unwrap().to_string();
        let Ok(want) = std::fs::read_to_string(folder.join("vmallocinfo.txt")) else { continue };
        let mut machine = Machine::boot(import::machine(&name).unwrap()).unwrap();
        machine.check().unwrap_or_else(|broken| panic!("{name}: {broken:?}"));
        let got = render::plain(&proc::read(&mut machine, "/proc/vmallocinfo").unwrap());
        assert_eq!(areas(&got), areas(&want), "{name}");
        let got = used(&render::plain(&proc::read(&mut machine, "/proc/meminfo").unwrap()));
        let want = used(&std::fs::read_to_string(folder.join("meminfo.txt")).unwrap());
        let several = machine.config.nr_cpus() > 1;
        assert!(
            got.abs_diff(want) <= if several { STACK_KB } else { 0 },
            "{name}: {got} kB, recorded {want}"
        );
        compared += 1;
    }
    assert!(compared > 0, "no recordings found");
}
