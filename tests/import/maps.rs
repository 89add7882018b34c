//! Recorded address spaces come back as they were: maps and smaps of real processes, and logs of strace.
//!
//! Our own captures are read always. `VMLAB_EVIDENCE=DIR` names a folder with `maps/`, `smaps/` and `strace/` of other
//! machines: what cannot be met is said with its reason, never skipped silently.

use std::path::{Path, PathBuf};
use vmlab::import::replay::{Replay, replay};
use vmlab::import::{maps, shipped, strace};
use vmlab::mm::Machine;
use vmlab::mm::exec::recorded::RecordedArea;
use vmlab::script::proc::pid;
use vmlab::shell::render::plain;

fn machine(name: &str) -> Machine {
    Machine::boot(shipped::get(name).unwrap()).unwrap()
}

/// Lines without the blanks at their end, which pastes lose.
fn trimmed(text: &str) -> Vec<String> {
    text.lines().map(|line| line.trim_end().to_string()).filter(|line| !line.is_empty()).collect()
}

/// Up to 4.12 a stack's lowest page was its guard: not in the range that was shown, but in the size.
fn without_guard_pages(mut lines: Vec<String>) -> Vec<String> {
    let pages = |range: &str| {
        let (start, end) = range.split_once('-')?;
        let hex = |word| u64::from_str_radix(word, 16).ok();
        Some((hex(end)? - hex(start)?) >> 12)
    };
    for n in 1..lines.len() {
        let Some(shown) = lines[n - 1].split(' ').next().and_then(pages) else { continue };
        let size = lines[n]
            .strip_prefix("Size:")
            .and_then(|rest| rest.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        if lines[n - 1].ends_with("[stack]") && size == Some(4 * shown + 4) {
            lines[n] = format!("Size:{:>19} kB", 4 * shown);
        }
    }
    lines
}

/// Lays a recording out on a machine and prints it again; the first line that differs, if one does.
fn round_trip(machine: &mut Machine, file: &str, text: &str) -> Result<usize, String> {
    let read = maps::parse(file, text).map_err(|why| why.to_string())?;
    let pid = machine.spawn_recorded("recorded", &read.areas).map_err(|e| e.to_string())?;
    let printed = if read.smaps {
        plain(&pid::smaps::smaps(machine, pid))
    } else {
        plain(&pid::maps::maps(machine, pid))
    };
    machine.check().map_err(|broken| format!("{file}: {broken}"))?;
    machine.kill_task(pid).unwrap();
    // Of smaps: the areas, their sizes, and the flags that 6.1 knows.
    let flags = |line: &str| {
        let known = |word: &&str| word.ends_with(':') || vmlab::mm::vma::names::flag_of(word).is_some();
        line.split(' ').filter(known).collect::<Vec<_>>().join(" ")
    };
    let kept = |line: &String| {
        !line.contains(':') || line.contains('-') || line.starts_with("Size:") || line.starts_with("VmFlags:")
    };
    let select = |text: &str| -> Vec<String> {
        let lines = trimmed(text).into_iter().filter(kept);
        lines.map(|line| if line.starts_with("VmFlags:") { flags(&line) } else { line }).collect()
    };
    let (ours, theirs) = (select(&printed), without_guard_pages(select(text)));
    // The area of vsyscall is the kernel's, not the process's, and stands in the file all the same.
    for (n, (a, b)) in ours.iter().zip(&theirs).enumerate() {
        if a != b {
            return Err(format!("{file}:{}: recorded {b:?}, printed {a:?}", n + 1));
        }
    }
    if ours.len() != theirs.len() {
        return Err(format!("{file}: {} lines recorded, {} printed", theirs.len(), ours.len()));
    }
    Ok(read.areas.len())
}

#[test]
fn our_own_captures_come_back_as_they_were() {
    let mut areas = 0;
    for config in std::fs::read_dir("tests/truth/self").unwrap() {
        let folder = config.unwrap().path();
        let name = folder.file_name().unwrap().to_str().unwrap().to_string();
        let mut machine = machine(&name);
        for file in ["maps.txt", "smaps.txt"] {
            let path = folder.join(file);
            let text = std::fs::read_to_string(&path).unwrap();
            areas += round_trip(&mut machine, &path.display().to_string(), &text)
                .unwrap_or_else(|why| panic!("{why}"));
        }
    }
    assert!(areas > 300, "{areas} areas");
}

/// Files below a folder of evidence, in order; companions have two dots.
fn evidence(kind: &str) -> Vec<PathBuf> {
    let Ok(dir) = std::env::var("VMLAB_EVIDENCE") else {
        println!("VMLAB_EVIDENCE is not set: no other evidence for {kind} was read");
        return Vec::new();
    };
    let Ok(files) = std::fs::read_dir(Path::new(&dir).join(kind)) else {
        println!("{dir}/{kind} is not there");
        return Vec::new();
    };
    let plain = |path: &PathBuf| {
        path.file_name()
            .is_some_and(|n| n.to_str().is_some_and(|n| n.ends_with(".txt") && n.matches('.').count() == 1))
    };
    let mut files: Vec<PathBuf> = files.filter_map(|f| Some(f.ok()?.path())).filter(plain).collect();
    files.sort();
    files
}

/// Texts that are not what a kernel prints, and why.
const NOT_THE_KERNELS: &[(&str, &str)] = &[
    ("maps/003.txt", "written by a profiler, whose columns are its own"),
    ("maps/022.txt", "remarks of the mail's author stand in it"),
    ("maps/007.txt", "a broken kernel's widths: the mail is about the bug"),
];

#[test]
fn evidence_of_others_comes_back_as_it_was() {
    for kind in ["maps", "smaps"] {
        let (mut same, mut told) = (0, 0);
        for path in evidence(kind) {
            let shown = path.display().to_string();
            let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
            let wide = maps::parse(&shown, &text).is_ok_and(|read| !read.is_32bit());
            let mut machine = machine(if wide { "x86_64-1G" } else { "i386-2G" });
            match (
                round_trip(&mut machine, &shown, &text),
                NOT_THE_KERNELS.iter().find(|(name, _)| shown.ends_with(name)),
            ) {
                (Ok(_), _) => same += 1,
                (Err(_), Some((name, why))) => {
                    println!("{name}: not compared, {why}");
                    told += 1;
                }
                (Err(why), None) => panic!("{why}"),
            }
        }
        println!("{kind}: {same} came back as they were, {told} not compared");
    }
}

/// What is compared of an area at the end of a replay.
fn line(area: &RecordedArea) -> String {
    format!("{:x}-{:x} {} {:x} {}", area.start, area.end, area.flags.perms(), area.offset, area.name)
}

fn play(path: &Path) -> (Replay, maps::Maps) {
    let text = String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
    let companion = path.with_extension("maps.txt");
    let recorded =
        std::fs::read_to_string(&companion).unwrap_or_else(|e| panic!("{}: {e}", companion.display()));
    let recorded = maps::parse(&companion.display().to_string(), &recorded).unwrap();
    let mut machine = machine("x86_64-4G");
    machine.sysctl.overcommit_memory = 1;
    let log = strace::parse(&path.display().to_string(), &text).unwrap();
    let report = replay(&mut machine, &path.display().to_string(), &log, Some(&recorded))
        .unwrap_or_else(|why| panic!("{why}"));
    machine.check().unwrap_or_else(|broken| panic!("{}: {broken}", path.display()));
    (report, recorded)
}

#[test]
fn recorded_logs_lead_to_the_recorded_areas() {
    let (mut files, mut equal, mut all) = (0, 0, 0);
    for path in evidence("strace") {
        let (report, recorded) = play(&path);
        let ours = report.snapshot.as_ref().expect("the log reads its own maps");
        let ours: Vec<String> = ours.iter().map(line).collect();
        // vsyscall is no area of the process.
        let theirs: Vec<String> =
            recorded.areas.iter().filter(|a| a.name != "[vsyscall]").map(line).collect();
        let common = theirs.iter().filter(|line| ours.contains(line)).count();
        let calls: u64 = report.calls.values().sum();
        println!(
            "{}: {} calls of {} tasks, {} placed otherwise, {} of {} areas equal, {} areas here; {} returned something else",
            path.file_name().unwrap().to_string_lossy(),
            calls,
            report.tasks,
            report.moved,
            common,
            theirs.len(),
            ours.len(),
            report.different.len()
        );
        for difference in report.different.iter().take(5) {
            println!("    {difference}");
        }
        for line in theirs.iter().filter(|line| !ours.contains(line)).take(8) {
            println!("    recorded {line}");
        }
        for line in ours.iter().filter(|line| !theirs.contains(line)).take(8) {
            println!("    here     {line}");
        }
        // Left over are areas that touched memory kept apart there: the log says nothing of faults.
        files += 1;
        equal += common;
        all += theirs.len();
    }
    println!("strace: {files} logs, {equal} of {all} areas equal");
    assert!(equal * 100 >= all * 98, "{equal} of {all} areas");
}

#[test]
fn a_log_leads_to_its_areas() {
    let log = r#"100 execve("/bin/demo", ["demo"], 0x7ffc /* 10 vars */) = 0
100 brk(NULL) = 0x555555600000
100 mmap(NULL, 8192, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7f0000100000
100 openat(AT_FDCWD, "/usr/lib/libx.so", O_RDONLY) = 3</usr/lib/libx.so>
100 mmap(NULL, 16384, PROT_READ, MAP_PRIVATE, 3</usr/lib/libx.so>, 0) = 0x7f00000f0000
100 mprotect(0x7f00000f2000, 8192, PROT_READ|PROT_WRITE) = 0
100 brk(0x555555621000) = 0x555555621000
100 clone(child_stack=NULL, flags=CLONE_CHILD_CLEARTID|SIGCHLD, child_tidptr=0x7f) = 101
101 munmap(0x7f0000100000, 4096 <unfinished ...>
100 munmap(0x7f0000101000, 4096) = 0
101 <... munmap resumed>) = 0
101 +++ exited with 0 +++
100 exit_group(0) = ?
"#;
    let mut machine = machine("tiny");
    let parsed = strace::parse("log", log).unwrap();
    let report = replay(&mut machine, "log", &parsed, None).unwrap();
    assert!(report.different.is_empty(), "{:?}", report.different);
    assert_eq!((report.tasks, report.moved), (2, 2));
    let mm = machine.mm_of(report.pid).unwrap();
    let lines: Vec<String> = machine.recorded(mm).iter().map(line).collect();
    for wanted in [
        "555555600000-555555621000 rw-p 0 [heap]",
        "7f00000f0000-7f00000f2000 r--p 0 /usr/lib/libx.so",
        "7f00000f2000-7f00000f4000 rw-p 2000 /usr/lib/libx.so",
        "7f0000100000-7f0000101000 rw-p 0 ",
    ] {
        assert!(lines.iter().any(|line| line == wanted), "{wanted} in {lines:#?}");
    }
    machine.check().unwrap();
}
