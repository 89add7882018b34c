//! This machine's own kernel as an oracle: random memory calls on both, and every result, every area and every fault equal.
//!
//! 200 sequences of 30 calls; `HOST_FUZZ=10000 cargo test --test host_fuzz` plays so many. A sequence that differs is made
//! as short as it can be. Rules that changed after 6.1 are switches of the spec (`kernel`), never exceptions here.

#[path = "support/fuzz.rs"]
mod fuzz;
#[cfg(target_os = "linux")]
#[path = "support/host.rs"]
mod host;

use fuzz::{Outcome, Step, Strip, WINDOW, WINDOW_PAGES, sequence};
use vmlab::mm::Machine;
use vmlab::mm::addr::{PAGE_SIZE, VirtAddr};
use vmlab::mm::errno::Errno;
use vmlab::mm::memory::Access;
use vmlab::mm::task::Pid;

/// Kernels whose rules the simulator has: 6.18 was played, 6.1 is also held to recordings.
const TESTED: &[(u32, u32)] = &[(6, 1), (6, 18)];
/// Calls of a sequence.
const STEPS: usize = 30;

/// The simulator with the rules of a kernel.
struct Simulator {
    machine: Machine,
    pid: Pid,
}

impl Simulator {
    fn new(kernel: (u32, u32)) -> Simulator {
        let mut config = vmlab::import::machine("x86_64-256M").unwrap_or_else(|e| panic!("{e}"));
        config.kernel = format!("{}.{}", kernel.0, kernel.1).into();
        let mut machine = Machine::boot(config).unwrap_or_else(|e| panic!("{e}"));
        let pid = machine.spawn("fuzz").unwrap_or_else(|e| panic!("{e}"));
        Simulator { machine, pid }
    }

    /// Plays a sequence on a fresh process.
    fn play(&mut self, steps: &[Step]) -> Vec<Outcome> {
        self.pid = self.machine.spawn("fuzz").unwrap_or_else(|e| panic!("{e}"));
        let outcomes = steps.iter().map(|step| self.step(step)).collect();
        self.machine.exit_task(self.pid, 0).unwrap_or_else(|e| panic!("{e}"));
        self.machine.tasks.remove(&self.pid);
        outcomes
    }

    fn step(&mut self, step: &Step) -> Outcome {
        let at = |page: u64| VirtAddr(WINDOW + page * PAGE_SIZE);
        let (machine, pid) = (&mut self.machine, self.pid);
        let errno = |errno: Errno| -i64::from(errno.number());
        let address = |found: Result<VirtAddr, Errno>| {
            found.map_or_else(errno, |at| ((at.0 - WINDOW) / PAGE_SIZE) as i64)
        };
        let status = |result: Result<(), Errno>| result.map_or_else(errno, |()| 0);
        let mut faults = 0;
        let result = match *step {
            Step::Mmap { page, pages, prot, flags } => {
                address(machine.mmap(pid, at(page), pages * PAGE_SIZE, prot, flags))
            }
            Step::Munmap { page, pages } => status(machine.munmap(pid, at(page), pages * PAGE_SIZE)),
            Step::Mprotect { page, pages, prot } => {
                status(machine.mprotect(pid, at(page), pages * PAGE_SIZE, prot))
            }
            Step::Mremap { page, old, new, flags, to } => {
                address(machine.mremap(pid, at(page), old * PAGE_SIZE, new * PAGE_SIZE, flags, at(to)))
            }
            Step::Madvise { page, pages, advice } => {
                status(machine.madvise(pid, at(page), pages * PAGE_SIZE, advice))
            }
            Step::Touch { page, pages, write } => {
                let allowed = strip(machine, pid);
                let access = if write { Access::Write } else { Access::Read };
                let mut touched = 0;
                for n in (page..page + pages).filter(|n| allowed.allows(*n, write)) {
                    let done = machine.touch(pid, at(n), 1, access).unwrap_or_else(|e| panic!("{e:?}"));
                    faults += done.minor + done.major;
                    touched += 1;
                }
                touched
            }
        };
        Outcome { result, faults, strip: strip(&self.machine, self.pid) }
    }
}

/// The areas of the window.
fn strip(machine: &Machine, pid: Pid) -> Strip {
    let mm = machine.mm_of(pid).unwrap_or_else(|e| panic!("{e}"));
    let mut strip = Strip::default();
    for (_, vma) in machine.areas(mm) {
        if (WINDOW..WINDOW + WINDOW_PAGES * PAGE_SIZE).contains(&vma.start) {
            let page = |addr: u64| (addr - WINDOW) / PAGE_SIZE;
            strip.push(page(vma.start), page(vma.end), &vma.flags.perms());
        }
    }
    strip
}

/// The first step at which the two differ.
#[cfg(target_os = "linux")]
fn differ(simulator: &mut Simulator, steps: &[Step]) -> Option<(usize, Outcome, Outcome)> {
    let theirs = host::play(steps)?;
    let ours = simulator.play(steps);
    let at = theirs.iter().zip(&ours).position(|(a, b)| a != b)?;
    Some((at, theirs[at].clone(), ours[at].clone()))
}

/// Leaves out every step that the difference does not need.
#[cfg(target_os = "linux")]
fn minimise(simulator: &mut Simulator, steps: &[Step]) -> Vec<Step> {
    let mut steps = steps.to_vec();
    let mut at = steps.len();
    while at > 0 {
        at -= 1;
        let mut fewer = steps.clone();
        fewer.remove(at);
        if let Some((last, ..)) = differ(simulator, &fewer) {
            fewer.truncate(last + 1);
            at = at.min(fewer.len());
            steps = fewer;
        }
    }
    steps
}

#[test]
#[cfg(target_os = "linux")]
fn memory_calls_answer_as_this_kernel_does() {
    let Some(kernel) = host::release().filter(|kernel| TESTED.contains(kernel)) else {
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        println!("host oracle skipped: kernel {} not in the list", release.trim());
        return;
    };
    if host::play(&[Step::Munmap { page: 0, pages: 1 }]).is_none() {
        println!("host oracle skipped: this machine does not let a test fork");
        return;
    }
    let most = std::env::var("HOST_FUZZ").ok().and_then(|n| n.parse().ok()).unwrap_or(200);
    let mut simulator = Simulator::new(kernel);
    for seed in 0..most {
        let steps = sequence(seed, STEPS);
        if let Some((at, ..)) = differ(&mut simulator, &steps) {
            let short = minimise(&mut simulator, &steps[..=at]);
            let mut story = format!("seed {seed} step {at}; the shortest sequence that differs:\n");
            let (theirs, ours) = (host::play(&short).unwrap_or_default(), simulator.play(&short));
            for ((step, theirs), ours) in short.iter().zip(&theirs).zip(&ours) {
                story += &format!("  {step:?}\n    kernel    {theirs}\n    simulator {ours}\n");
            }
            panic!("{story}");
        }
        if seed % 50 == 0 {
            simulator.machine.check().unwrap_or_else(|e| panic!("after seed {seed}: {e}"));
        }
    }
    simulator.machine.check().unwrap_or_else(|e| panic!("{e}"));
    println!("host oracle: {most} sequences of {STEPS} calls equal on {}.{}", kernel.0, kernel.1);
}

#[test]
#[cfg(not(target_os = "linux"))]
fn memory_calls_answer_as_this_kernel_does() {
    println!("host oracle skipped: this is not Linux");
}

#[test]
fn sequences_leave_every_invariant() {
    for kernel in TESTED {
        let mut simulator = Simulator::new(*kernel);
        for seed in 1000..1020 {
            for step in sequence(seed, STEPS) {
                simulator.step(&step);
                simulator.machine.check().unwrap_or_else(|e| panic!("{kernel:?} seed {seed} {step:?}: {e}"));
            }
        }
    }
}
