//! Asks this machine's own kernel: the same calls in a child process, in a window of addresses that nothing else uses.
//!
//! The one place of the project for `unsafe` and `libc`. The child maps, touches and reads its own /proc/self/maps, writes
//! what it saw into a pipe, and ends; no call reaches outside of the window.

#![cfg(target_os = "linux")]

use super::fuzz::{Outcome, Step, Strip, WINDOW, WINDOW_PAGES};
use std::io::{Read, Write};
use std::os::fd::FromRawFd;

const PAGE: usize = 4096;

/// `6.18` of `6.18.5-generic`.
pub fn release() -> Option<(u32, u32)> {
    let text = std::fs::read_to_string("/proc/sys/kernel/osrelease").ok()?;
    let mut numbers = text.split(['.', '-']).map(|word| word.trim().parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

/// Plays steps on this kernel; what each came to. `None` when the machine does not let us.
pub fn play(steps: &[Step]) -> Option<Vec<Outcome>> {
    let mut pipe = [0; 2];
    // SAFETY: `pipe` has room for two descriptors.
    if unsafe { libc::pipe(pipe.as_mut_ptr()) } != 0 {
        return None;
    }
    // SAFETY: the child uses nothing of other threads: it makes system calls, writes into the pipe and ends at once.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: both descriptors are ours; the write end is owned by the file from here on.
        let out = unsafe {
            libc::close(pipe[0]);
            std::fs::File::from_raw_fd(pipe[1])
        };
        in_child(steps, out);
        // SAFETY: ends the child without running what the parent registered.
        unsafe { libc::_exit(0) }
    }
    // SAFETY: both descriptors are ours; the read end is owned by the file from here on.
    let mut from = unsafe {
        libc::close(pipe[1]);
        std::fs::File::from_raw_fd(pipe[0])
    };
    let mut text = String::new();
    let read = from.read_to_string(&mut text);
    if child > 0 {
        // SAFETY: waits for the one child that was just made.
        unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
    }
    read.ok().filter(|_| child > 0)?;
    let outcomes: Vec<Outcome> = text.lines().filter_map(Outcome::parse).collect();
    (outcomes.len() == steps.len()).then_some(outcomes)
}

fn in_child(steps: &[Step], mut out: std::fs::File) {
    // SAFETY: flags of this process alone: small pages, and death with the parent.
    unsafe {
        libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0);
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0);
    }
    // Memory for the answers is taken before, so that the first faults are not counted.
    let mut text = String::with_capacity(1 << 16);
    faults();
    for step in steps {
        let (result, faults) = call(step);
        let outcome = Outcome { result, faults, strip: strip() };
        text.clear();
        outcome.write(&mut text);
        if out.write_all(text.as_bytes()).is_err() {
            return;
        }
    }
}

/// A call's result as a page in the window, 0, or an errno; and the faults of a touch.
fn call(step: &Step) -> (i64, u64) {
    let at = |page: u64| (WINDOW + page * PAGE as u64) as *mut libc::c_void;
    let bytes = |pages: u64| pages as usize * PAGE;
    let errno = || -i64::from(std::io::Error::last_os_error().raw_os_error().unwrap_or(0));
    let address = |found: *mut libc::c_void| {
        if found == libc::MAP_FAILED { errno() } else { ((found as u64 - WINDOW) / PAGE as u64) as i64 }
    };
    let status = |result: i32| if result != 0 { errno() } else { 0 };
    // SAFETY: every address is in the window, where the child has nothing but what these calls mapped; MAP_FIXED and
    // MREMAP_FIXED replace only that. Pages are touched only when `readable` says that the access is allowed.
    unsafe {
        match *step {
            Step::Mmap { page, pages, prot, flags } => {
                (address(libc::mmap(at(page), bytes(pages), prot as i32, flags as i32, -1, 0)), 0)
            }
            Step::Munmap { page, pages } => (status(libc::munmap(at(page), bytes(pages))), 0),
            Step::Mprotect { page, pages, prot } => {
                (status(libc::mprotect(at(page), bytes(pages), prot as i32)), 0)
            }
            Step::Mremap { page, old, new, flags, to } => {
                let found = libc::syscall(libc::SYS_mremap, at(page), bytes(old), bytes(new), flags, at(to));
                (address(found as *mut libc::c_void), 0)
            }
            Step::Madvise { page, pages, advice } => {
                (status(libc::madvise(at(page), bytes(pages), advice as i32)), 0)
            }
            Step::Touch { page, pages, write } => {
                let allowed = strip();
                let mut faulted = 0;
                let mut touched = 0;
                for n in page..page + pages {
                    if !allowed.allows(n, write) {
                        continue;
                    }
                    let byte = at(n).cast::<u8>();
                    let before = faults();
                    if write {
                        byte.write_volatile(1)
                    } else {
                        std::hint::black_box(byte.read_volatile());
                    }
                    faulted += faults() - before;
                    touched += 1;
                }
                (touched, faulted)
            }
        }
    }
}

/// Faults of this process so far.
fn faults() -> u64 {
    // SAFETY: all zero bytes are a valid `rusage`, and the kernel fills it.
    unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        (usage.ru_minflt + usage.ru_majflt) as u64
    }
}

/// The areas of the window.
fn strip() -> Strip {
    let text = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let end = WINDOW + WINDOW_PAGES * PAGE as u64;
    let mut strip = Strip::default();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let Some((start, stop)) = words.next().and_then(|range| range.split_once('-')) else { continue };
        let hex = |text| u64::from_str_radix(text, 16).unwrap_or(0);
        let (start, stop) = (hex(start), hex(stop));
        if start >= WINDOW && start < end {
            let page = |addr: u64| (addr - WINDOW) / PAGE as u64;
            strip.push(page(start), page(stop), words.next().unwrap_or(""));
        }
    }
    strip
}
