//! Plays scenarios of address spaces on the simulator and writes the answers down as the recordings have them.
//!
//! A scenario is a list of steps, one a line; numbers are pages, `n:b` is n pages and b bytes. `B` is where scenarios
//! begin to map, `T` the top of the mmap area, `D` the program break at the start, `K` the top of the stack; a name set
//! by a step is its result. `@NAME STEP` lets a child do the step. `tests/truth/vma` tells the whole language.

#![allow(dead_code)]

mod calls;
mod files;
mod look;
mod words;

use std::collections::BTreeMap;
use std::fmt::Write;
use vmlab::mm::Machine;
use vmlab::mm::addr::{PAGE_SIZE, VirtAddr};
use vmlab::mm::config::SwapConfig;
use vmlab::mm::errno::Errno;
use vmlab::mm::mmap::{map, prot};
use vmlab::mm::task::Pid;

/// Where scenarios map what they want at a known place.
pub const BASE: u64 = 0x10_0000_0000;
/// Pages on the side of a named place that are shown relative to it.
const WINDOW: u64 = 65_536 * PAGE_SIZE;
/// The swap device of the recorded machine.
pub const SWAP: &str = "/dev/vdb";

/// What a process of a scenario knows.
#[derive(Clone)]
struct Process {
    pid: Pid,
    /// Results of steps by name.
    names: BTreeMap<String, u64>,
    /// The areas as they were shown last.
    shown: String,
    /// The stack is shown, too.
    with_stack: bool,
    /// Committed_AS at the first `committed`.
    committed: Option<u64>,
    /// Areas at the first `count`.
    count: Option<usize>,
}

/// A machine and the processes of a scenario.
pub struct Player {
    /// The machine.
    pub machine: Machine,
    me: Process,
    children: BTreeMap<String, Process>,
    /// `T`, `D` and `K`.
    top: u64,
    brk: u64,
    stack: u64,
    /// VmSize, VmData and VmStk before the first step, in pages.
    status: [u64; 3],
    out: String,
    /// What the file steps keep.
    files: files::Files,
    /// The step before which khugepaged ran while the answers were recorded.
    pub khugepaged_before: Option<&'static str>,
}

/// An answer's line: a number, an address, an errno.
type Answer = Result<u64, Errno>;

impl Player {
    /// A machine as the recorded one, and a process of the recorder's shape on it.
    pub fn new() -> Player {
        let mut config = vmlab::import::machine("x86_64-256M").unwrap_or_else(|e| panic!("{e}"));
        config.swap = vec![swap()];
        let mut machine = Machine::boot(config).unwrap_or_else(|e| panic!("{e}"));
        let pid = program(&mut machine);
        machine.catch_faults(pid, true).expect("the process lives");
        let anywhere = map::PRIVATE | map::ANONYMOUS;
        let probe = machine.mmap(pid, VirtAddr(0), PAGE_SIZE, prot::READ, anywhere).expect("one page");
        machine.munmap(pid, probe, PAGE_SIZE).expect("it was there");
        let brk = machine.brk(pid, VirtAddr(0)).expect("the process lives").0.next_multiple_of(PAGE_SIZE);
        machine.brk(pid, VirtAddr(brk)).expect("the process lives");
        let mm = machine.mm_of(pid).expect("it has an address space");
        let stack = machine.areas(mm).map(|(_, v)| v.end).max().unwrap_or(0);
        let top = probe.0 + PAGE_SIZE;
        let names = [("B", BASE), ("T", top), ("D", brk), ("K", stack)];
        let names = names.map(|(name, value)| (name.to_string(), value)).into();
        let me =
            Process { pid, names, shown: String::new(), with_stack: false, committed: None, count: None };
        let (status, files) = ([0; 3], files::Files::default());
        let children = BTreeMap::new();
        let mut player = Player {
            machine,
            me,
            children,
            top,
            brk,
            stack,
            status,
            out: String::new(),
            files,
            khugepaged_before: None,
        };
        player.status = ["VmSize", "VmData", "VmStk"].map(|name| player.status_pages(name));
        player.me.shown = player.list();
        player
    }

    /// Plays a scenario; its steps with their answers.
    pub fn play(&mut self, scenario: &str) -> String {
        for line in scenario.lines().filter(|line| !line.is_empty()) {
            if line.starts_with('#') {
                self.say(line);
                continue;
            }
            if self.khugepaged_before == Some(line) {
                self.machine.khugepaged_scan(self.me.pid).expect("the process lives");
            }
            self.say(&format!("> {line}"));
            match line.strip_prefix('@') {
                Some(rest) => {
                    let (name, step) = rest.split_once(' ').unwrap_or((rest, ""));
                    let Some(child) = self.children.remove(name) else {
                        self.say(&format!("! no child {name}"));
                        continue;
                    };
                    let parent = std::mem::replace(&mut self.me, child);
                    self.step(step);
                    let child = std::mem::replace(&mut self.me, parent);
                    self.children.insert(name.to_string(), child);
                }
                None => self.step(line),
            }
        }
        std::mem::take(&mut self.out)
    }

    fn say(&mut self, line: &str) {
        let _ = writeln!(self.out, "{line}");
    }

    /// One step of the process whose turn it is.
    fn step(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        if calls::step(self, &words) || look::step(self, &words) || files::step(self, &words) {
            return;
        }
        self.say(&format!("! unknown step {}", words[0]));
    }

    /// A call's result, and the areas if it may have changed them.
    fn answer(&mut self, result: Answer) {
        match result {
            Ok(number) => self.say(&format!("= {}", number as i64)),
            Err(errno) => self.say(&format!("= {}", errno.name())),
        }
    }

    /// An address as a result, kept under a name.
    fn answer_address(&mut self, name: &str, result: Result<VirtAddr, Errno>) {
        match result {
            Ok(addr) => {
                let shown = self.relative(addr.0);
                self.say(&format!("= {shown}"));
                self.me.names.insert(name.to_string(), addr.0);
            }
            Err(errno) => self.answer(Err(errno)),
        }
    }
}

/// Swap of the recorded machine: 512 MiB.
pub fn swap() -> SwapConfig {
    SwapConfig { name: SWAP.into(), pages: 131_071, priority: None }
}

/// A static program of the recorder's shape: six areas of its file and bss, a heap, the stack and the kernel's two.
fn program(machine: &mut Machine) -> Pid {
    /// First page, pages, protection: text, read-only data, data and bss, a page apart as if each were another file.
    const AREAS: [(u64, u64, u64); 6] = [
        (0x400, 1, prot::READ),
        (0x402, 160, prot::READ | prot::EXEC),
        (0x4b0, 48, prot::READ),
        (0x4f0, 7, prot::READ | prot::WRITE),
        (0x500, 3, prot::READ | prot::WRITE),
        (0x510, 188, prot::READ | prot::WRITE),
    ];
    /// Pages of the heap that the C library takes before main.
    const HEAP: u64 = 34;
    let pid = machine.spawn("vma").expect("one process");
    for (page, pages, access) in AREAS {
        let flags = map::PRIVATE | map::ANONYMOUS | map::FIXED;
        let at = VirtAddr(page * PAGE_SIZE);
        machine.mmap(pid, at, pages * PAGE_SIZE, access, flags).expect("room in a new process");
    }
    // The linker's relocated part is written, and then protected.
    machine.mprotect(pid, VirtAddr(0x4f0 * PAGE_SIZE), 7 * PAGE_SIZE, prot::READ).expect("it is there");
    let start = machine.brk(pid, VirtAddr(0)).expect("the process lives");
    machine.brk(pid, VirtAddr(start.0 + HEAP * PAGE_SIZE)).expect("room for a heap");
    pid
}

/// The first line in which two texts differ, as `line N: want …, got …` with the step it belongs to.
pub fn difference(want: &str, got: &str) -> Option<String> {
    let mut step = "";
    let (mut want_lines, mut got_lines) = (want.lines(), got.lines());
    for number in 1.. {
        let (want, got) = (want_lines.next(), got_lines.next());
        if want == got {
            want?;
            step = want.filter(|line| line.starts_with('>')).unwrap_or(step);
            continue;
        }
        let show = |line: Option<&str>| line.unwrap_or("(the end)").trim().to_string();
        return Some(format!("line {number}, after {step:?}: want {:?}, got {:?}", show(want), show(got)));
    }
    None
}
