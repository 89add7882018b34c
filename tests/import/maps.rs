//! Recorded address spaces come back as they were: maps and smaps of real processes, listings of pmap, and logs of strace.
//!
//! Our own captures are read always. `VMLAB_EVIDENCE=DIR` names a folder with `maps/`, `smaps/`, `pmap/` and `strace/` of other
//! machines: what cannot be met is said with its reason, never skipped silently.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use vmlab::import::process::{LaidOut, Process};
use vmlab::import::replay::{Replay, replay};
use vmlab::import::{maps, shipped, strace};
use vmlab::mm::Machine;
use vmlab::mm::exec::recorded::RecordedArea;
use vmlab::mm::task::Pid;
use vmlab::script::proc::pid;
use vmlab::script::{procps, ps};
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
    let printed = if read.source == maps::Source::Smaps {
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

/// Files below a folder of evidence, in order.
fn evidence(kind: &str) -> Vec<PathBuf> {
    let Ok(dir) = std::env::var("VMLAB_EVIDENCE") else {
        println!("VMLAB_EVIDENCE is not set: no other evidence for {kind} was read");
        return Vec::new();
    };
    recorded(Path::new(&dir).join(kind))
}

/// The texts of a folder, in order; companions have two dots.
fn recorded(dir: impl AsRef<Path>) -> Vec<PathBuf> {
    let dir = dir.as_ref();
    let Ok(files) = std::fs::read_dir(dir) else {
        println!("{} is not there", dir.display());
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
            let wide = maps::parse(&shown, &text).is_ok_and(|read| !read.narrow);
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

/// What pmap was called with, as its columns tell.
fn options_of(listing: &str) -> String {
    let head = listing.lines().find(|line| line.trim_start().starts_with("Address")).unwrap_or_default();
    let form = [("VmFlags", "-XX"), ("Perm", "-X"), ("RSS", "-x"), ("Offset", "-d")];
    let form = form.iter().find(|(column, _)| head.contains(column)).map_or("", |(_, option)| option);
    let paths = if listing.lines().skip(2).any(|line| line.contains(" /")) { " -p" } else { "" };
    format!("{form}{paths}")
}

fn listing(machine: &Machine, pid: Pid, options: &str) -> String {
    plain(&procps::pmap::pmap(machine, &ps::list::one(machine, pid).unwrap(), options).unwrap())
}

/// The areas of a listing by column, and its last line.
fn rows(listing: &str) -> (Vec<BTreeMap<&str, String>>, String) {
    let mut columns = vec!["Address", "Kbytes", "Mode", "Mapping"];
    let mut flags_end = None;
    let mut rows = Vec::new();
    for line in listing.lines().skip_while(|line| !line.starts_with(|c: char| c.is_ascii_digit())).skip(1) {
        if line.trim_start().starts_with("Address") {
            columns = line.split_whitespace().collect();
            flags_end = line.find(" VmFlags ").map(|at| at + " VmFlags".len());
            continue;
        }
        if line.trim_start().starts_with(['-', '=', 't', 'm']) {
            break;
        }
        let (front, behind) = flags_end.map_or((line, None), |end| (&line[..end], Some(&line[end..])));
        let mut words = front.split_whitespace();
        let mut row = BTreeMap::new();
        for column in &columns {
            let rest = |words: std::str::SplitWhitespace| words.collect::<Vec<_>>().join(" ");
            row.insert(
                *column,
                match (*column, behind) {
                    ("Mapping", Some(behind)) => behind.trim().into(),
                    ("Mapping", None) | ("VmFlags", _) => rest(words.clone()),
                    _ => words.next().unwrap_or_default().into(),
                },
            );
        }
        rows.push(row);
    }
    (rows, listing.lines().last().unwrap_or_default().trim_end().into())
}

/// Why a column cannot come back as it was, if it cannot.
fn reason(
    column: &str,
    theirs: &BTreeMap<&str, String>,
    ours: &BTreeMap<&str, String>,
) -> Option<&'static str> {
    let is = |column: &str, text: &str| theirs.get(column).is_some_and(|cell| cell == text);
    let lent = is("Mapping", "[ anon ]") || is("Mapping", "[vdso]");
    let lent = lent && (is("Mode", "r-x--") || is("Perm", "r-xp"));
    match column {
        "KSM" => Some("6.1 has no line for it in smaps"),
        "Pss" | "Pss_Dirty" | "Shared_Clean" | "Shared_Dirty" | "Private_Clean" | "Private_Dirty" => {
            Some("other processes had the same pages mapped")
        }
        "RSS" | "Rss" | "Referenced" if lent && ours[column] == "0" => {
            Some("the code that the kernel lends to every process is no page here")
        }
        _ => None,
    }
}

/// Lays a listing out and prints it again: the lines that are the same, and what differs with its reason.
fn pmap_again(file: &str, text: &str) -> (usize, BTreeMap<String, usize>) {
    let process = Process::of(&[(file.into(), text.into())]).unwrap().unwrap_or_else(|why| panic!("{why}"));
    let mut machine = machine(if process.is_32bit() { "i386-2G" } else { "x86_64-1G" });
    let LaidOut::Task(pid, _) = process.lay_out(&mut machine).unwrap() else { panic!("{file}: areas") };
    machine.check().unwrap_or_else(|broken| panic!("{file}: {broken}"));
    let printed = listing(&machine, pid, &options_of(text));
    let ((theirs, their_sum), (ours, our_sum)) = (rows(text), rows(&printed));
    assert_eq!(theirs.len(), ours.len(), "{file}: areas");
    let (mut same, mut told) = (0, BTreeMap::new());
    for (a, b) in theirs.iter().zip(&ours) {
        let mut whole = true;
        for (column, cell) in a.iter().filter(|(column, cell)| b.get(*column) != Some(cell)) {
            let why = reason(column, a, b).unwrap_or_else(|| {
                panic!("{file}: {} {column}: {cell}, here {:?}", a["Address"], b.get(column))
            });
            *told.entry(format!("{column}: {why}")).or_insert(0) += 1;
            whole &= *column == "KSM";
        }
        same += usize::from(whole);
    }
    // A sum differs only where one of its parts does.
    assert!(their_sum == our_sum || !told.is_empty(), "{file}: {their_sum:?}, here {our_sum:?}");
    machine.kill_task(pid).unwrap();
    machine.check().unwrap_or_else(|broken| panic!("{file}: {broken}"));
    (same, told)
}

fn say(file: &str, (same, told): &(usize, BTreeMap<String, usize>)) {
    println!("{file}: {same} areas came back as they were; pid and arguments are of there");
    told.iter().for_each(|(what, count)| println!("    {count} differ in {what}"));
}

#[test]
fn our_own_listings_of_pmap_come_back_as_they_were() {
    for path in recorded("tests/truth/pmap") {
        let text = std::fs::read_to_string(&path).unwrap();
        let file = path.file_name().unwrap().to_str().unwrap();
        let again = pmap_again(file, &text);
        say(file, &again);
        let (least, most) = match file {
            "short.txt" | "paths.txt" | "device.txt" => (29, 0),
            "extended.txt" => (28, 1),
            _ => (0, 6),
        };
        assert!(again.0 >= least && again.1.len() <= most, "{file}: {again:?}");
    }
}

/// What the simulator prints it takes back, to the last blank.
#[test]
fn a_listing_of_the_simulator_comes_back_whole() {
    use vmlab::mm::addr::VirtAddr;
    use vmlab::mm::memory::Access;
    use vmlab::mm::mmap::{map, prot};
    let mut there = machine("x86_64-256M");
    let file = there.create_file("/data/book", 40 << 12).unwrap();
    let pid = there.spawn("demo").unwrap();
    let rw = prot::READ | prot::WRITE;
    for (len, flags, of) in [
        (40 << 12, map::SHARED, Some((file, 0))),
        (24 << 12, map::PRIVATE, Some((file, 16))),
        (1 << 20, map::PRIVATE | map::ANONYMOUS, None),
    ] {
        let addr = match of {
            Some(file) => there.mmap_file(pid, VirtAddr(0), len, rw, flags, file).unwrap(),
            None => there.mmap(pid, VirtAddr(0), len, rw, flags).unwrap(),
        };
        there.touch(pid, addr, len / 4, Access::Write).unwrap();
        there.touch(pid, VirtAddr(addr.0 + len / 4), 2 << 12, Access::Read).unwrap();
    }
    for options in ["", "-p", "-x", "-x -p", "-d", "-d -p", "-X -p", "-XX -p"] {
        let first = listing(&there, pid, options);
        let process = Process::of(&[("pmap".into(), first.clone())]).unwrap().unwrap();
        let mut here = machine("x86_64-1G");
        let LaidOut::Task(pid, _) = process.lay_out(&mut here).unwrap() else { panic!("areas") };
        here.check().unwrap();
        let told = pmap_again("pmap", &first).1;
        println!("{options}: {told:?}");
        if !options.contains('X') {
            assert_eq!(listing(&here, pid, options), first);
        }
    }
}

#[test]
fn listings_of_others_come_back_as_they_were() {
    for path in evidence("pmap") {
        let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
        let file = path.display().to_string();
        say(&file, &pmap_again(&file, &text));
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
