//! System calls as strace prints them, and logs of strace done again.
//!
//! ```text
//!   mmap(NULL, 8192, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7ffff7ff7000
//!   brk(0x555555559000)                     = 0x555555559000
//!   [pid     4] munmap(0x1, 4096)           = -1 EINVAL (Invalid argument)
//! ```

use crate::import::{maps, replay, strace as log};
use crate::mm::addr::{PAGE_SIZE, VirtAddr};
use crate::mm::errno::Errno;
use crate::mm::fork::clone_flags;
use crate::mm::mmap::{map, prot};
use crate::mm::pid::INIT_PID;
use crate::mm::task::Pid;
use crate::script::answer::{ScriptResult, misuse};
use crate::script::args::Address;
use crate::script::bench::{Bench, Desk};
use crate::script::constants::Constant;
use crate::script::handles::TaskRef;
use crate::script::table::Table;
use rhai::plugin::*;

/// System calls as strace prints them.
#[export_module]
pub mod functions {
    /// Prints each memory system call of a task as strace does, until `strace("off")`.
    ///
    /// ```vmlab
    /// > strace on
    /// > let p = spawn("app");
    /// > let a = mmap(p, 0, 8192, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS);
    /// mmap(NULL, 8192, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7ffff7ff7000
    /// > munmap(p, a + 1, 4096);
    /// munmap(0x7ffff7ff7001, 4096)            = -1 EINVAL (Invalid argument)
    /// > madvise(p, a, 4096, MADV_DONTNEED); mlockall(p, MCL_CURRENT|MCL_FUTURE);
    /// madvise(0x7ffff7ff7000, 4096, MADV_DONTNEED) = 0
    /// mlockall(MCL_CURRENT|MCL_FUTURE)        = 0
    /// > let t = clone(p, CLONE_VM|CLONE_SIGHAND|CLONE_THREAD);
    /// [pid     3] clone(child_stack=NULL, flags=CLONE_VM|CLONE_SIGHAND|CLONE_THREAD) = 4
    /// > exit_group(p, 3);
    /// exit_group(3)                           = ?
    /// +++ exited with 3 +++
    /// > strace off
    /// ```
    ///
    /// Files have no descriptors here: every one is written as `3</path>`. What the C library's `malloc` and `free` call is
    /// printed as well.
    ///
    /// Kernel: `ptrace`, `kernel/ptrace.c`.
    /// Command: `strace on`
    #[rhai_fn(return_raw)]
    pub fn strace(ctx: NativeCallContext, what: &str) -> ScriptResult<()> {
        let bench = Bench::of(&ctx);
        let on = match what {
            "on" => true,
            "off" => false,
            other => return misuse(format!("strace takes \"on\" or \"off\", not {other:?}")),
        };
        bench.borrow_to_look().strace = on;
        Ok(())
    }

    /// Does the calls of a log of strace again, and answers what came of them.
    ///
    /// The log is a file of `strace -f -y -o FILE PROGRAM`. With the process's own /proc/PID/maps as a second file, the
    /// areas that execve made are laid where they were; all others must come out of the calls.
    ///
    /// ```vmlab
    /// > strace_replay("no-such-log.txt")
    /// error: strace_replay reads files of the host, which this script may not
    /// ```
    ///
    /// Kernel: every call of an address space, `mm/mmap.c`.
    #[rhai_fn(return_raw)]
    pub fn strace_replay(ctx: NativeCallContext, path: &str) -> ScriptResult<Table> {
        super::replayed(&ctx, path, None)
    }

    #[rhai_fn(name = "strace_replay", return_raw)]
    pub fn strace_replay_with(ctx: NativeCallContext, path: &str, maps: &str) -> ScriptResult<Table> {
        super::replayed(&ctx, path, Some(maps))
    }
}

fn replayed(ctx: &NativeCallContext, path: &str, companion: Option<&str>) -> ScriptResult<Table> {
    let bench = Bench::of(ctx);
    if !bench.borrow().limits.host {
        return misuse("strace_replay reads files of the host, which this script may not");
    }
    let complain = |why: crate::import::ImportError| -> ScriptResult<Table> { misuse(why.to_string()) };
    let text = match crate::import::text_of(path) {
        Ok(text) => text,
        Err(why) => return complain(why),
    };
    let areas =
        match companion.map(|file| crate::import::text_of(file).and_then(|text| maps::parse(file, &text))) {
            Some(Ok(areas)) => Some(areas),
            Some(Err(why)) => return complain(why),
            None => None,
        };
    let parsed = match log::parse(path, &text) {
        Ok(parsed) => parsed,
        Err(why) => return complain(why),
    };
    let mut desk = bench.borrow_mut();
    match replay::replay(&mut desk.machine, path, &parsed, areas.as_ref()) {
        Ok(done) => Ok(report(&done)),
        Err(why) => complain(why),
    }
}

/// What a replay came to, as sentences; the row has the numbers.
pub fn report(done: &replay::Replay) -> Table {
    let calls: u64 = done.calls.values().sum();
    let mut table = Table::new()
        .line(format!(
            "{calls} calls of {} tasks were done again; the first is task {} here",
            done.tasks, done.pid
        ))
        .line(format!("{} calls have nothing to do with an address space", done.skipped));
    for (name, n) in &done.calls {
        table = table.line(format!("{n:>8} {name}"));
    }
    if done.moved > 0 {
        table = table.line(format!(
            "{} mappings lie where they lay there; this machine would have chosen otherwise",
            done.moved
        ));
    }
    if done.unfinished > 0 {
        table = table.line(format!("{} calls never came back", done.unfinished));
    }
    for difference in &done.different {
        table = table.line(format!("different: {difference}"));
    }
    let number = |n: u64| n.into();
    table.with_records(vec![vec![
        ("pid".into(), done.pid.into()),
        ("calls".into(), number(calls)),
        ("tasks".into(), number(done.tasks)),
        ("skipped".into(), number(done.skipped)),
        ("moved".into(), number(done.moved)),
        ("different".into(), done.different.len().into()),
    ]])
}

/// Prints a call that a task made, when somebody wants to see it.
pub fn called(bench: &Bench, desk: &Desk, pid: Pid, call: impl FnOnce() -> String, result: &Dynamic) {
    if desk.strace {
        bench.out.line(&line(&format!("{}{}", prefix(desk, pid), call()), result));
    }
}

/// A task left by a call: strace waits for no result.
pub fn exited(bench: &Bench, desk: &Desk, pid: Pid, call: &str, status: i64, result: &Dynamic) {
    if result.is::<Errno>() {
        return called(bench, desk, pid, || format!("{call}({status})"), result);
    }
    called(bench, desk, pid, || format!("{call}({status})"), &"?".into());
    ended(bench, desk, pid, &format!("+++ exited with {} +++", status & 0xff));
}

/// The line that strace ends a task with.
pub fn ended(bench: &Bench, desk: &Desk, pid: Pid, line: &str) {
    if desk.strace {
        bench.out.line(&format!("{}{line}", prefix(desk, pid)));
    }
}

/// Which task it was, when there are several.
fn prefix(desk: &Desk, pid: Pid) -> String {
    let others = desk.machine.tasks.values().filter(|t| t.is_alive() && t.mm.is_some() && t.pid != INIT_PID);
    if others.count() > 1 { format!("[pid {pid:>5}] ") } else { String::new() }
}

/// The heap and the size of an address space, to tell afterwards what the C library called.
pub struct Library {
    brk: u64,
    pages: u64,
}

impl Library {
    /// As it is now.
    pub fn of(desk: &Desk, pid: Pid) -> Library {
        let mm = desk.machine.tasks.get(&pid).and_then(|t| t.mm).and_then(|mm| desk.machine.mms.get(mm));
        Library { brk: mm.map_or(0, |mm| mm.brk), pages: mm.map_or(0, |mm| mm.total_vm) }
    }

    /// Prints what came between: the heap moved, or a mapping for one large piece came or went.
    pub fn show(&self, bench: &Bench, desk: &Desk, pid: Pid, memory: Option<VirtAddr>) {
        let now = Library::of(desk, pid);
        let print = |call: String, result: u64| {
            let result = if result == 0 { Dynamic::from(0_i64) } else { Dynamic::from(Address(result)) };
            called(bench, desk, pid, || call, &result);
        };
        if now.brk != self.brk {
            print("brk(NULL)".into(), self.brk);
            print(format!("brk({})", pointer(now.brk)), now.brk);
            return;
        }
        let Some(start) = memory.map(|memory| memory.page().0) else { return };
        if now.pages > self.pages {
            let len = (now.pages - self.pages) * PAGE_SIZE;
            let (prot, flags) =
                (prot_names(prot::READ | prot::WRITE), map_names(map::PRIVATE | map::ANONYMOUS));
            print(format!("mmap(NULL, {len}, {prot}, {flags}, -1, 0)"), start);
        } else if now.pages < self.pages {
            print(format!("munmap({}, {})", pointer(start), (self.pages - now.pages) * PAGE_SIZE), 0);
        }
    }
}

/// The call, and what it returned in column 40.
fn line(call: &str, result: &Dynamic) -> String {
    let result = if let Some(errno) = result.read_lock::<Errno>() {
        format!("-1 {} ({})", errno.name(), errno.message())
    } else if let Some(addr) = result.read_lock::<Address>() {
        format!("{:#x}", addr.0)
    } else if let Some(task) = result.read_lock::<TaskRef>() {
        task.pid.to_string()
    } else if result.is_unit() {
        "0".to_string()
    } else {
        result.to_string()
    };
    format!("{call:<40}{}= {result}", if call.len() >= 40 { " " } else { "" })
}

/// An address as strace writes it.
pub fn pointer(addr: u64) -> String {
    if addr == 0 { "NULL".into() } else { format!("{addr:#x}") }
}

fn names(bits: u64, known: &[(u64, &str)], none: &str) -> String {
    let mut left = bits;
    let mut words: Vec<String> = Vec::new();
    for (bit, name) in known.iter().filter(|(bit, _)| bits & bit == *bit) {
        words.push(name.to_string());
        left &= !bit;
    }
    if left != 0 {
        words.push(format!("{left:#x}"));
    }
    if words.is_empty() { none.into() } else { words.join("|") }
}

/// The names of the bits in a value, by the constants whose names begin with one of these.
pub fn flags_of(constants: Vec<Constant>, prefixes: &str, bits: u64) -> String {
    let begins = |name: &str| prefixes.split(' ').any(|prefix| name.starts_with(prefix));
    let known: Vec<(u64, &str)> = constants
        .iter()
        .filter(|constant| begins(constant.name))
        .filter_map(|constant| Some((constant.value.as_int().ok()? as u64, constant.name)))
        .filter(|(bit, _)| *bit != 0)
        .collect();
    names(bits, &known, "0")
}

/// The name of a value, by the constants whose names begin so; a value without a name in hexadecimal, as strace does.
pub fn name_of(constants: Vec<Constant>, prefix: &str, value: u64) -> String {
    let is_it = |constant: &&Constant| {
        constant.name.starts_with(prefix) && constant.value.as_int().is_ok_and(|n| n as u64 == value)
    };
    let unknown = || format!("{value:#x} /* {prefix}??? */");
    constants.iter().find(is_it).map_or_else(unknown, |constant| constant.name.to_string())
}

/// `CLONE_VM|CLONE_THREAD|SIGCHLD`.
pub fn clone_names(bits: u64) -> String {
    let flags = flags_of(crate::script::mmap::constants(), "CLONE_", bits & !clone_flags::SIGNAL);
    match bits & clone_flags::SIGNAL {
        0 => flags,
        signal => {
            let signal = if signal == 17 { "SIGCHLD".to_string() } else { signal.to_string() };
            if flags == "0" { signal } else { format!("{flags}|{signal}") }
        }
    }
}

/// An open file as `strace -y` writes it.
pub fn descriptor(path: &str) -> String {
    format!("3<{path}>")
}

/// `PROT_READ|PROT_WRITE`.
pub fn prot_names(bits: u64) -> String {
    let known = [
        (prot::READ, "PROT_READ"),
        (prot::WRITE, "PROT_WRITE"),
        (prot::EXEC, "PROT_EXEC"),
        (prot::GROWSDOWN, "PROT_GROWSDOWN"),
        (prot::GROWSUP, "PROT_GROWSUP"),
    ];
    names(bits, &known, "PROT_NONE")
}

/// `MAP_PRIVATE|MAP_ANONYMOUS`.
pub fn map_names(bits: u64) -> String {
    let known = [
        (map::FIXED, "MAP_FIXED"),
        (map::ANONYMOUS, "MAP_ANONYMOUS"),
        (map::NORESERVE, "MAP_NORESERVE"),
        (map::POPULATE, "MAP_POPULATE"),
        (map::NONBLOCK, "MAP_NONBLOCK"),
        (map::GROWSDOWN, "MAP_GROWSDOWN"),
        (map::LOCKED, "MAP_LOCKED"),
        (map::FIXED_NOREPLACE, "MAP_FIXED_NOREPLACE"),
        (map::STACK, "MAP_STACK"),
        (map::HUGETLB, "MAP_HUGETLB"),
    ];
    let kind = match bits & map::TYPE {
        map::SHARED => "MAP_SHARED",
        map::PRIVATE => "MAP_PRIVATE",
        map::SHARED_VALIDATE => "MAP_SHARED_VALIDATE",
        _ => "MAP_FILE",
    };
    let rest = names(bits & !map::TYPE, &known, "");
    if rest.is_empty() { kind.into() } else { format!("{kind}|{rest}") }
}
