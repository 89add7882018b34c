//! Row 17 with many areas: what they cost that nobody asked about, beside this machine's kernel with as many.

use crate::clock::{Race, timed};
use crate::table::{Goal, Row};
use crate::{host, spec};
use vmlab::mm::Machine;
use vmlab::mm::addr::VirtAddr;
use vmlab::mm::mmap::{map, prot};

const RW: u64 = prot::READ | prot::WRITE;
const ANON: u64 = map::PRIVATE | map::ANONYMOUS;
const PAIRS: usize = 20_000;
/// So many areas a process has; the last is near `max_map_count`.
const COUNTS: [usize; 3] = [100, 10_000, 60_000];

/// A process with many areas: every second page of a mapping may only be read.
struct Process {
    machine: Machine,
    pid: u32,
    base: VirtAddr,
    areas: usize,
}

impl Process {
    fn new(areas: usize) -> Process {
        let mut machine = spec::boot(8, 1);
        let pid = machine.spawn("bench").unwrap_or_else(|e| panic!("{e:?}"));
        let len = (areas as u64) << 12;
        let base = machine.mmap(pid, VirtAddr(0), len, RW, ANON).unwrap_or_else(|e| panic!("{e:?}"));
        for n in (0..areas as u64).step_by(2) {
            let at = VirtAddr(base.0 + (n << 12));
            machine.mprotect(pid, at, 4096, prot::READ).unwrap_or_else(|e| panic!("{e:?}"));
        }
        Process { machine, pid, base, areas }
    }

    /// A page of the mapping, by a fixed hash of the step.
    fn page(&self, n: usize) -> VirtAddr {
        let page = (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) % self.areas as u64;
        VirtAddr(self.base.0 + (page << 12))
    }

    fn find(&mut self) -> f64 {
        let mm = self.machine.mm_of(self.pid).unwrap_or_else(|e| panic!("{e:?}"));
        timed(PAIRS, || {
            for n in 0..PAIRS {
                std::hint::black_box(self.machine.find_vma(mm, self.page(n)));
            }
        })
    }

    /// The first room for a page is below all areas.
    fn map(&mut self) -> f64 {
        timed(PAIRS, || {
            for _ in 0..PAIRS {
                let at = self
                    .machine
                    .mmap(self.pid, VirtAddr(0), 4096, prot::NONE, ANON)
                    .unwrap_or_else(|e| panic!("{e:?}"));
                self.machine.munmap(self.pid, at, 4096).unwrap_or_else(|e| panic!("{e:?}"));
            }
        })
    }

    /// One page goes, and comes back where it was, as an area or joined to both neighbours.
    fn replace(&mut self) -> f64 {
        timed(PAIRS, || {
            for n in 0..PAIRS {
                let at = self.page(n);
                self.machine.munmap(self.pid, at, 4096).unwrap_or_else(|e| panic!("{e:?}"));
                let page = (at.0 - self.base.0) >> 12;
                let prot = if page % 2 == 0 { prot::READ } else { RW };
                let fixed = ANON | map::FIXED;
                self.machine.mmap(self.pid, at, 4096, prot, fixed).unwrap_or_else(|e| panic!("{e:?}"));
            }
        })
    }

    /// A page becomes like its neighbours, and other again: three areas are one, and three.
    fn merge(&mut self) -> f64 {
        timed(PAIRS, || {
            for n in 0..PAIRS {
                let at = self.page(n);
                let even = ((at.0 - self.base.0) >> 12) % 2 == 0;
                for writable in [even, !even] {
                    let prot = if writable { RW } else { prot::READ };
                    self.machine.mprotect(self.pid, at, 4096, prot).unwrap_or_else(|e| panic!("{e:?}"));
                }
            }
        })
    }
}

type Ours = fn(&mut Process) -> f64;
type Theirs = fn(&host::Areas) -> f64;

/// One operation of our side with 100 areas, for a profiler.
pub fn alone(row: &str) {
    let mut process = Process::new(COUNTS[0]);
    let ns = if row == "17 map" { process.map() } else { process.merge() };
    println!("row {row}: {ns:.2} ns");
}

/// Each operation at each number of areas, beside this machine's kernel with as many; and how far it grew from few areas
/// to many, which is judged: a search goes as deep as the logarithm of their number.
pub fn many(reps: usize) -> Vec<Row> {
    let operations: [(&str, Option<Theirs>, Ours); 4] = [
        ("find", None, Process::find),
        ("mmap and munmap", Some(host::Areas::map), Process::map),
        ("munmap and mmap at the same place", None, Process::replace),
        ("mprotect, merge and split", Some(host::Areas::merge), Process::merge),
    ];
    let mut rows = Vec::new();
    for (what, theirs, ours) in operations {
        let mut figures = Vec::new();
        for count in COUNTS {
            // A process of the host has room for one set of them at a time (`max_map_count`).
            let areas = theirs.map(|theirs| (theirs, host::Areas::new(count)));
            let mut process = Process::new(count);
            let mut race = Race::default();
            if let Some((theirs, areas)) = &areas {
                race.add(move || theirs(areas));
            }
            race.add(|| ours(&mut process));
            let mut samples = race.run(reps);
            let ours = samples.pop().unwrap_or_default();
            figures.push(ours.clone());
            rows.push(Row {
                number: "17",
                measure: format!("{what}, {count} areas"),
                ours,
                anchor: if theirs.is_some() { "this kernel" } else { "" },
                theirs: samples.pop().unwrap_or_default(),
                unit: "ns",
                goal: if theirs.is_some() {
                    Goal::Faster { floor: 1.0, ambitious: 8.0 }
                } else {
                    Goal::Context
                },
                judged: theirs.is_some(),
            });
        }
        rows.push(Row {
            number: "17",
            measure: format!("{what}, {} areas beside {}", COUNTS[2], COUNTS[0]),
            ours: figures.swap_remove(2),
            anchor: "ourselves with few",
            theirs: figures.swap_remove(0),
            unit: "ns",
            goal: Goal::Within { floor: 6.0, ambitious: 3.0 },
            judged: true,
        });
    }
    rows
}
