//! A recorded strace log, done again: every call that changes an address space, on a machine.
//!
//! ```text
//!   log ──► calls of each task ──► the machine's own system calls ──► the areas at the end
//!            └ what was returned there is compared with what is returned here
//! ```
//!
//! The log does not say what execve put where. The process's maps do, so they may be given as well: the areas of the
//! program, of ld.so, the stack and the kernel's two are taken from them, everything else must come out of the calls.
//!
//! Fidelity: faithful — the calls are the machine's. Simplified — an mmap that chose an address there and another one
//! here (a newer kernel aligns large ones, or shuffles) is done again at the recorded address and counted.

use crate::import::ImportError;
use crate::import::maps::Maps;
use crate::import::strace::{Call, Entry, Log, What};
use crate::mm::addr::{PAGE_SHIFT, VirtAddr};
use crate::mm::errno::Errno;
use crate::mm::exec::recorded::RecordedArea;
use crate::mm::fork::clone_flags;
use crate::mm::machine::Machine;
use crate::mm::mmap::{map, prot};
use crate::mm::task::Pid;
use crate::mm::vma::VmFlags;
use std::collections::BTreeMap;

/// What a replay came to.
#[derive(Clone, Debug, Default)]
pub struct Replay {
    /// The task that did what the log's first process did.
    pub pid: Pid,
    /// Calls done again, by name.
    pub calls: BTreeMap<String, u64>,
    /// Calls that are none of an address space.
    pub skipped: u64,
    /// Mappings whose address the machine would have chosen otherwise.
    pub moved: u64,
    /// Calls that returned something else here: the line, and both.
    pub different: Vec<String>,
    /// Tasks the log started.
    pub tasks: u64,
    /// Calls that never came back.
    pub unfinished: usize,
    /// What /proc/PID/maps said when the first process read it last, if it did.
    pub snapshot: Option<Vec<RecordedArea>>,
}

/// Differences that are told one by one.
const TOLD: usize = 20;

/// The tasks of a log, and what they have become here.
struct Player<'a> {
    machine: &'a mut Machine,
    maps: Option<&'a Maps>,
    pids: BTreeMap<u32, Pid>,
    report: Replay,
}

/// Does a log's calls again on a machine.
///
/// # Errors
/// When the first task cannot be started; the line of a call whose arguments make no sense.
pub fn replay(
    machine: &mut Machine,
    file: &str,
    log: &Log,
    maps: Option<&Maps>,
) -> Result<Replay, ImportError> {
    let mut player = Player { machine, maps, pids: BTreeMap::new(), report: Replay::default() };
    player.report.unfinished = log.unfinished;
    let first = log.entries.first().map_or(0, |e| e.pid);
    for entry in &log.entries {
        player.play(entry, first).map_err(|problem| {
            ImportError::new(file, problem).at(entry.line, "").advise(
                "The calls before it are done; the machine has room for more after boot(\"x86_64-4G\").",
            )
        })?;
    }
    Ok(player.report)
}

impl Player<'_> {
    fn play(&mut self, entry: &Entry, first: u32) -> Result<(), String> {
        let pid = self.task(entry.pid, first)?;
        match &entry.what {
            What::Exited(_) | What::Killed(_) if entry.pid == first => Ok(()),
            What::Exited(status) => {
                let _ = self.machine.exit_task(pid, *status);
                Ok(())
            }
            What::Killed(_) => {
                let _ = self.machine.kill_task(pid);
                Ok(())
            }
            What::Call(call) => self.call(entry, pid, call, entry.pid == first),
        }
    }

    /// The task here that a pid there stands for; the first one begins with the log.
    fn task(&mut self, there: u32, first: u32) -> Result<Pid, String> {
        if let Some(pid) = self.pids.get(&there) {
            return Ok(*pid);
        }
        // A child whose clone has not come back yet: its parent is known by the calls that are still open.
        let started = match self.pids.get(&first) {
            None => self.machine.spawn("replay"),
            Some(parent) => self.machine.fork(*parent),
        };
        let pid = started.map_err(|e| format!("task {there} cannot be started: {e}"))?;
        if there == first {
            self.report.pid = pid;
        }
        self.report.tasks += 1;
        self.pids.insert(there, pid);
        Ok(pid)
    }

    fn call(&mut self, entry: &Entry, pid: Pid, call: &Call, is_first: bool) -> Result<(), String> {
        let Ok(returned) = call.result else {
            self.report.skipped += 1;
            return Ok(());
        };
        let number = |at: usize| {
            call.number(at).ok_or_else(|| {
                let shown = call.args.get(at).map_or("missing", String::as_str);
                format!("argument {} of {} is {shown}, which is no number", at + 1, call.name)
            })
        };
        let m = &mut *self.machine;
        let done: Result<u64, Errno> = match call.name.as_str() {
            "execve" => {
                self.exec(pid, call, is_first)?;
                Ok(0)
            }
            "brk" => {
                let (to, mm) = (number(0)?, m.mm_of(pid));
                if to == 0
                    && let Ok(mm) = mm
                {
                    // Where the heap begins was chosen by execve.
                    let space = &mut m.mms[mm];
                    (space.start_brk, space.brk) = (returned, returned);
                }
                m.brk(pid, VirtAddr(to)).map(|end| end.0)
            }
            "mmap" | "mmap2" => self.mmap(pid, call, returned)?,
            "munmap" => m.munmap(pid, VirtAddr(number(0)?), number(1)?).map(|()| 0),
            "mprotect" => {
                let bits = prot_bits(call, 2)?;
                m.mprotect(pid, VirtAddr(number(0)?), number(1)?, bits).map(|()| 0)
            }
            "fork" | "vfork" | "clone" | "clone3" => {
                self.clone(pid, call, returned)?;
                Ok(returned)
            }
            "openat" | "open" if is_first && reads_maps(call) => {
                self.report.snapshot = m.mm_of(pid).ok().map(|mm| m.recorded(mm));
                Ok(returned)
            }
            name => match self.other(pid, name, call)? {
                Some(done) => done,
                None => {
                    self.report.skipped += 1;
                    return Ok(());
                }
            },
        };
        *self.report.calls.entry(call.name.clone()).or_default() += 1;
        let same = match done {
            Ok(value) => value == returned,
            Err(_) => false,
        };
        if !same && self.report.different.len() < TOLD {
            let here = done.map_or_else(|e| e.name().to_string(), |v| format!("{v:#x}"));
            self.report.different.push(format!(
                "line {}: {} returned {returned:#x} there, {here} here",
                entry.line, call.name
            ));
        }
        Ok(())
    }

    /// mmap: first as the program asked; where the machine would choose another address, at the recorded one.
    fn mmap(&mut self, pid: Pid, call: &Call, returned: u64) -> Result<Result<u64, Errno>, String> {
        let number =
            |at: usize| call.number(at).ok_or_else(|| format!("argument {} of mmap is no number", at + 1));
        let (hint, len, offset) = (number(0)?, number(1)?, number(5)?);
        let prot = prot_bits(call, 2)?;
        let flags = call.bits(3, map_flag).ok_or_else(|| format!("{} are no flags of mmap", call.args[3]))?;
        let file = call.path(4).map(|path| (path, offset >> PAGE_SHIFT));
        let m = &mut *self.machine;
        let mut at = hint;
        if flags & map::FIXED == 0 {
            let mm = m.mm_of(pid).map_err(|e| e.to_string())?;
            match m.get_unmapped_area(pid, mm, hint, len.next_multiple_of(4096), flags) {
                Ok(chosen) if chosen == returned => {}
                _ => {
                    self.report.moved += 1;
                    at = returned;
                }
            }
        }
        Ok(m.mmap_by_name(pid, VirtAddr(at), len, prot, flags, file).map(|addr| addr.0))
    }

    fn clone(&mut self, pid: Pid, call: &Call, child: u64) -> Result<(), String> {
        let there = u32::try_from(child).map_err(|_| format!("{child} is no pid"))?;
        if self.pids.contains_key(&there) {
            // The child was seen before clone came back in the parent.
            return Ok(());
        }
        let text = call.args.iter().find_map(|arg| arg.split_once("flags=")).map_or("", |(_, flags)| flags);
        let words = text.split([',', '}']).next().unwrap_or_default();
        let vfork = if call.name == "vfork" { clone_flags::VM | clone_flags::VFORK } else { 0 };
        let flags = words.split('|').filter_map(clone_flag).fold(vfork, |all, bit| all | bit);
        // The log's order says when a parent goes on.
        let started = self.machine.clone_task(pid, flags & !clone_flags::VFORK);
        let started = started.map_err(|e| format!("task {there} cannot be started: {e}"))?;
        self.report.tasks += 1;
        self.pids.insert(there, started);
        Ok(())
    }

    /// A new program: its own areas are those of the maps, if they were given; else those the machine knows.
    fn exec(&mut self, pid: Pid, call: &Call, is_first: bool) -> Result<(), String> {
        let path = call.text(0).unwrap_or("?");
        let comm = path.rsplit('/').next().unwrap_or(path);
        let given = self.maps.filter(|_| is_first).map(base_areas);
        let result = match given {
            Some(areas) => self.machine.exec_recorded(pid, comm, &areas),
            None => self.machine.exec_recorded(pid, comm, &[]),
        };
        result.map_err(|e| format!("execve({path}): {e}"))
    }

    fn other(&mut self, pid: Pid, name: &str, call: &Call) -> Result<Option<Result<u64, Errno>>, String> {
        let number =
            |at: usize| call.number(at).ok_or_else(|| format!("argument {} of {name} is no number", at + 1));
        let m = &mut *self.machine;
        Ok(Some(match name {
            "exit" => {
                let _ = m.exit_task(pid, 0);
                Ok(0)
            }
            "wait4" | "waitpid" => {
                let _ = m.wait(pid, None);
                return Ok(None);
            }
            "madvise" => {
                let Some(advice) = call.bits(2, advice_of) else { return Ok(None) };
                m.madvise(pid, VirtAddr(number(0)?), number(1)?, advice).map(|()| 0)
            }
            "mremap" => {
                let flags = call.bits(3, mremap_flag).ok_or("these are no flags of mremap")?;
                let to = call.number(4).unwrap_or(0);
                let (old, len, new) = (VirtAddr(number(0)?), number(1)?, number(2)?);
                m.mremap(pid, old, len, new, flags, VirtAddr(to)).map(|addr| addr.0)
            }
            "mlock" => m.mlock(pid, VirtAddr(number(0)?), number(1)?).map(|()| 0),
            "munlock" => m.munlock(pid, VirtAddr(number(0)?), number(1)?).map(|()| 0),
            _ => return Ok(None),
        }))
    }
}

/// The areas that execve and ld.so's own loading left: those of the program, of the linker, the stack, the kernel's.
fn base_areas(maps: &Maps) -> Vec<RecordedArea> {
    let program =
        maps.areas.iter().find(|a| a.name.starts_with('/')).map(|a| a.name.clone()).unwrap_or_default();
    let of_exec = |a: &RecordedArea| {
        a.name == program
            || a.name.contains("/ld-")
            || a.name.contains("/ld.so")
            || (a.name.starts_with('[') && a.name != "[heap]" && a.name != "[vsyscall]")
    };
    let mut base: Vec<RecordedArea> = Vec::new();
    for (n, area) in maps.areas.iter().enumerate() {
        let behind = base.last().is_some_and(|last| last.end == area.start && last.name == program);
        if of_exec(area) || (area.name.is_empty() && behind && n > 0) {
            let mut area = area.clone();
            // What was relocated and then protected is charged, as the data behind it.
            let next = maps.areas.get(n + 1).filter(|next| next.name == area.name && next.start == area.end);
            let data = next.is_some_and(|next| next.flags.has(VmFlags::WRITE));
            if data
                && !area.name.starts_with('[')
                && !area.flags.has(VmFlags::WRITE)
                && !area.flags.has(VmFlags::EXEC)
            {
                area.flags = area.flags.with(VmFlags::ACCOUNT);
            }
            base.push(area);
        }
    }
    base
}

fn reads_maps(call: &Call) -> bool {
    call.args.iter().any(|arg| arg.starts_with("\"/proc/self/maps\""))
}

fn prot_bits(call: &Call, at: usize) -> Result<u64, String> {
    let bits = call.bits(at, |word| {
        Some(match word {
            "PROT_NONE" => prot::NONE,
            "PROT_READ" => prot::READ,
            "PROT_WRITE" => prot::WRITE,
            "PROT_EXEC" => prot::EXEC,
            "PROT_GROWSDOWN" => prot::GROWSDOWN,
            "PROT_GROWSUP" => prot::GROWSUP,
            _ => return None,
        })
    });
    bits.ok_or_else(|| format!("argument {} of {} is no access such as PROT_READ", at + 1, call.name))
}

fn map_flag(word: &str) -> Option<u64> {
    Some(match word {
        "MAP_SHARED" => map::SHARED,
        "MAP_PRIVATE" => map::PRIVATE,
        "MAP_SHARED_VALIDATE" => map::SHARED_VALIDATE,
        "MAP_FIXED" => map::FIXED,
        "MAP_ANONYMOUS" => map::ANONYMOUS,
        "MAP_GROWSDOWN" => map::GROWSDOWN,
        "MAP_LOCKED" => map::LOCKED,
        "MAP_NORESERVE" => map::NORESERVE,
        "MAP_POPULATE" => map::POPULATE,
        "MAP_NONBLOCK" => map::NONBLOCK,
        "MAP_STACK" => map::STACK,
        "MAP_HUGETLB" => map::HUGETLB,
        "MAP_FIXED_NOREPLACE" => map::FIXED_NOREPLACE,
        // Taken and forgotten since long, as the kernel does.
        "MAP_DENYWRITE" | "MAP_EXECUTABLE" | "MAP_FILE" | "MAP_32BIT" => 0,
        _ => return None,
    })
}

fn advice_of(word: &str) -> Option<u64> {
    use crate::mm::madvise::madv;
    Some(match word {
        "MADV_NORMAL" => madv::NORMAL,
        "MADV_RANDOM" => madv::RANDOM,
        "MADV_SEQUENTIAL" => madv::SEQUENTIAL,
        "MADV_WILLNEED" => madv::WILLNEED,
        "MADV_DONTNEED" => madv::DONTNEED,
        "MADV_FREE" => madv::FREE,
        "MADV_DONTFORK" => madv::DONTFORK,
        "MADV_DOFORK" => madv::DOFORK,
        "MADV_HUGEPAGE" => madv::HUGEPAGE,
        "MADV_NOHUGEPAGE" => madv::NOHUGEPAGE,
        "MADV_DONTDUMP" => madv::DONTDUMP,
        "MADV_DODUMP" => madv::DODUMP,
        "MADV_WIPEONFORK" => madv::WIPEONFORK,
        "MADV_KEEPONFORK" => madv::KEEPONFORK,
        _ => return None,
    })
}

fn mremap_flag(word: &str) -> Option<u64> {
    ["MREMAP_MAYMOVE", "MREMAP_FIXED", "MREMAP_DONTUNMAP"]
        .iter()
        .position(|name| *name == word)
        .map(|n| 1 << n)
}

fn clone_flag(word: &str) -> Option<u64> {
    Some(match word {
        "CLONE_VM" => clone_flags::VM,
        "CLONE_FS" => clone_flags::FS,
        "CLONE_FILES" => clone_flags::FILES,
        "CLONE_SIGHAND" => clone_flags::SIGHAND,
        "CLONE_THREAD" => clone_flags::THREAD,
        "CLONE_VFORK" => clone_flags::VFORK,
        "CLONE_PARENT" => clone_flags::PARENT,
        _ => return None,
    })
}
