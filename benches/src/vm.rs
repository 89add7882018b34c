//! Rows 1 and 14 to 18: what a process asks of memory, beside this machine's kernel.

use crate::buddy::{add_ways, rows_of_ways};
use crate::clock::{Race, timed};
use crate::table::{Goal, Row};
use crate::{host, spec};
use std::cell::RefCell;
use vmlab::mm::Machine;
use vmlab::mm::addr::VirtAddr;
use vmlab::mm::memory::Access;
use vmlab::mm::mmap::{map, prot};
use vmlab::mm::mremap::remap;

const RW: u64 = prot::READ | prot::WRITE;
const ANON: u64 = map::PRIVATE | map::ANONYMOUS;
const LEN: u64 = spec::GIB << 12;
const PAGES: usize = spec::GIB as usize;
const PAIRS: usize = 100_000;

/// A process with a mapping of 1 GiB.
pub struct Process {
    pub pid: u32,
    pub base: VirtAddr,
}

impl Process {
    pub fn new(machine: &mut Machine) -> Process {
        let pid = machine.spawn("bench").unwrap_or_else(|e| panic!("{e:?}"));
        let base = machine.mmap(pid, VirtAddr(0), LEN, RW, ANON).unwrap_or_else(|e| panic!("{e:?}"));
        Process { pid, base }
    }

    /// Every page written.
    pub fn resident(machine: &mut Machine) -> Process {
        let process = Process::new(machine);
        process.write(machine);
        process
    }

    fn write(&self, machine: &mut Machine) {
        let touched = machine.touch(self.pid, self.base, LEN, Access::Write);
        assert_eq!(touched.map(|t| t.pages), Ok(spec::GIB));
    }

    fn end(self, machine: &mut Machine) {
        machine.exit_task(self.pid, 0).unwrap_or_else(|e| panic!("{e:?}"));
    }
}

fn fault(machine: &mut Machine) -> f64 {
    let process = Process::new(machine);
    let ns = timed(PAGES, || process.write(machine));
    process.end(machine);
    ns
}

fn fork(machine: &mut Machine) -> f64 {
    let process = Process::resident(machine);
    let mut child = Err(vmlab::mm::errno::Errno::EAGAIN);
    let ns = timed(PAGES, || child = machine.fork(process.pid));
    child.and_then(|child| machine.exit_task(child, 0)).unwrap_or_else(|e| panic!("{e:?}"));
    process.end(machine);
    ns
}

fn munmap(machine: &mut Machine) -> f64 {
    let process = Process::resident(machine);
    let ns = timed(PAGES, || machine.munmap(process.pid, process.base, LEN));
    process.end(machine);
    ns
}

fn cow(machine: &mut Machine) -> f64 {
    let process = Process::resident(machine);
    let child = machine.fork(process.pid).unwrap_or_else(|e| panic!("{e:?}"));
    let ns = timed(PAGES, || process.write(machine));
    machine.exit_task(child, 0).unwrap_or_else(|e| panic!("{e:?}"));
    process.end(machine);
    ns
}

fn mmap_pair(machine: &mut Machine) -> f64 {
    let process = Process::new(machine);
    let ns = timed(PAIRS, || {
        for _ in 0..PAIRS {
            let at =
                machine.mmap(process.pid, VirtAddr(0), 4096, RW, ANON).unwrap_or_else(|e| panic!("{e:?}"));
            machine.munmap(process.pid, at, 4096).unwrap_or_else(|e| panic!("{e:?}"));
        }
    });
    process.end(machine);
    ns
}

fn mprotect_pair(machine: &mut Machine) -> f64 {
    let process = Process::new(machine);
    let middle = VirtAddr(process.base.0 + LEN / 2);
    let ns = timed(PAIRS, || {
        for _ in 0..PAIRS {
            for prot in [prot::READ, RW] {
                machine.mprotect(process.pid, middle, 4096, prot).unwrap_or_else(|e| panic!("{e:?}"));
            }
        }
    });
    process.end(machine);
    ns
}

/// mremap of 1 GiB resident to a place `shift` bytes above a multiple of 2 MiB, and back; ns for one way.
fn mremap(machine: &mut Machine, shift: u64) -> f64 {
    let pid = machine.spawn("bench").unwrap_or_else(|e| panic!("{e:?}"));
    let (from, to) = (VirtAddr(0x1000_0000_0000), VirtAddr(0x2000_0000_0000 + shift));
    machine.mmap(pid, from, LEN, RW, ANON | map::FIXED).unwrap_or_else(|e| panic!("{e:?}"));
    Process { pid, base: from }.write(machine);
    let ns = timed(2, || {
        for (old, new) in [(from, to), (to, from)] {
            let flags = remap::MAYMOVE | remap::FIXED;
            machine.mremap(pid, old, LEN, LEN, flags, new).unwrap_or_else(|e| panic!("{e:?}"));
        }
    });
    Process { pid, base: from }.end(machine);
    ns
}

fn mremap_unaligned(machine: &mut Machine) -> f64 {
    mremap(machine, 4096) / PAGES as f64
}

fn mremap_aligned(machine: &mut Machine) -> f64 {
    mremap(machine, 0) / 1000.0
}

/// A row of the host's kernel and us, in each way.
fn against_host(
    number: &'static str,
    measure: &'static str,
    theirs: fn() -> f64,
    ours: fn(&mut Machine) -> f64,
    goal: Goal,
    reps: usize,
) -> Vec<Row> {
    let machine = RefCell::new(spec::boot(8, 1));
    let mut race = Race::default();
    race.add(theirs);
    add_ways(&mut race, &machine, ours);
    rows_of_ways(number, measure, "this kernel", race.run(reps), goal)
}

const fn faster(floor: f64, ambitious: f64) -> Goal {
    Goal::Faster { floor, ambitious }
}

/// Row 1.
pub fn faults(reps: usize) -> Vec<Row> {
    against_host("1", "minor anonymous fault, 1 GiB", host::anon_fault, fault, faster(12.0, 30.0), reps)
}

/// Row 14.
pub fn forks(reps: usize) -> Vec<Row> {
    against_host("14", "fork, 1 GiB resident, a page", host::fork, fork, faster(5.0, 10.0), reps)
}

/// Row 15.
pub fn munmaps(reps: usize) -> Vec<Row> {
    against_host("15", "munmap, a resident page", host::munmap, munmap, faster(10.0, 25.0), reps)
}

/// Row 16.
pub fn cows(reps: usize) -> Vec<Row> {
    against_host("16", "copy on write, a page", host::cow, cow, faster(12.0, 30.0), reps)
}

/// Row 17.
pub fn pairs(reps: usize) -> Vec<Row> {
    let goal = faster(8.0, 20.0);
    let mut rows = against_host("17", "mmap and munmap", host::mmap_pair, mmap_pair, goal, reps);
    let split = "mprotect, split and merge";
    rows.extend(against_host("17", split, host::mprotect_pair, mprotect_pair, goal, reps));
    rows
}

/// Row 18.
pub fn mremaps(reps: usize) -> Vec<Row> {
    let goal = faster(1.0, 2.0);
    let (unaligned, aligned) = ("mremap of 1 GiB, unaligned, a page", "mremap of 1 GiB, aligned, all of it");
    let mut rows = against_host("18", unaligned, host::mremap_unaligned, mremap_unaligned, goal, reps);
    let whole = against_host("18", aligned, host::mremap_aligned, mremap_aligned, goal, reps);
    rows.extend(whole.into_iter().map(|row| Row { unit: "us", ..row }));
    rows
}

/// Our side of a row alone, for a profiler.
pub fn alone(row: &str) {
    let mut machine = spec::boot(8, 1);
    let run = match row {
        "1" => fault,
        "14" => fork,
        "15" => munmap,
        "16" => cow,
        "17" => mmap_pair,
        "18" => mremap_aligned,
        "18a" => mremap_unaligned,
        _ => mprotect_pair,
    };
    println!("row {row}: {:.2} ns", run(&mut machine));
}
