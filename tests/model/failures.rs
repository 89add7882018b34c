//! Every n-th allocation of a call fails once: the call answers as the kernel's does, and nothing is lost.
//!
//! Each test is one call, made on a machine that is the same every time, with the first, the second, … allocation
//! failing, until the call asks for fewer.

use crate::machines::{boot, pc};
use vmlab::mm::Machine;
use vmlab::mm::addr::VirtAddr;
use vmlab::mm::config::SwapConfig;
use vmlab::mm::errno::Errno;
use vmlab::mm::madvise::madv;
use vmlab::mm::memory::{Access, Stop};
use vmlab::mm::mmap::{map, prot};
use vmlab::mm::mremap::remap;
use vmlab::mm::task::Pid;

const ANON: u64 = map::PRIVATE | map::ANONYMOUS;
const RW: u64 = prot::READ | prot::WRITE;
const PAGE: u64 = 4096;
/// What the kernel says when a fault found no memory and nobody was killed for it.
const RETRYING: &str = "Huh VM_FAULT_OOM leaked out to the #PF handler. Retrying PF";

/// A machine with a swap area and one task, which wrote its page numbers to 64 pages.
fn machine() -> (Machine, Pid, VirtAddr) {
    let mut config = pc(1024, 4096, 1, 1);
    config.swap.push(SwapConfig { name: "/dev/vda".into(), pages: 6000, priority: None });
    let mut machine = boot(config);
    let pid = machine.spawn("model").unwrap();
    let base = machine.mmap(pid, VirtAddr(0), 64 * PAGE, RW, ANON).unwrap();
    for n in 0..64 {
        machine.write_user(pid, page(base, n), n + 1).unwrap();
    }
    (machine, pid, base)
}

fn page(base: VirtAddr, n: u64) -> VirtAddr {
    VirtAddr(base.0 + n * PAGE)
}

/// Presses the task's 64 pages out to swap.
fn swap_out(machine: &mut Machine, pid: Pid) {
    let resident = |m: &Machine| m.mms[m.tasks[&pid].mm.unwrap()].resident();
    for _ in 0..50 {
        machine.reclaim_node(0, 256);
        machine.sleep_for(1_000_000_000);
    }
    assert_eq!(resident(machine), 0, "pages that could be swapped out");
}

/// What must not change when a call fails: everything but counters, times and the log.
fn state(machine: &Machine) -> String {
    let spaces = machine.mms.iter().map(|(id, mm)| {
        let areas: Vec<String> = machine.areas(id).map(|(_, v)| format!("{v} {:x}", v.flags.0)).collect();
        format!("{areas:?} rss {} total {} tables {}", mm.resident(), mm.total_vm, mm.pgtables_bytes)
    });
    let tasks = machine.tasks.values().filter(|t| t.is_alive()).count();
    machine.check().unwrap_or_else(|e| panic!("{e}"));
    // What caches keep for later is not lost.
    let mut shrunk = machine.clone();
    shrunk.shrink_all_caches();
    let used = shrunk.check().unwrap_or_else(|e| panic!("{e}")).used;
    let (_, slots) = machine.swap_pages();
    let spaces: Vec<String> = spaces.collect();
    format!("{spaces:#?} tasks {tasks} used {used} free slots {slots} committed {}", machine.committed_as)
}

/// Makes the call with each of its allocations failing in turn, and says how many there are.
///
/// `then` looks at what the call answered and left behind: the machine of the failed call, and the state before.
fn each<T>(
    prepare: impl Fn() -> (Machine, Pid, VirtAddr),
    call: impl Fn(&mut Machine, Pid, VirtAddr) -> T,
    then: impl Fn(&mut Machine, T, &str, u64),
) -> u64 {
    for n in 1..200 {
        let (mut machine, pid, base) = prepare();
        let before = state(&machine);
        machine.set_fail_nth(n);
        let answer = call(&mut machine, pid, base);
        if machine.fail_nth_left().is_some() {
            return n - 1;
        }
        machine.check().unwrap_or_else(|e| panic!("allocation {n}: {e}"));
        then(&mut machine, answer, &before, n);
    }
    panic!("a call with 200 allocations?");
}

/// How often a fault was tried again.
fn retried(machine: &Machine) -> usize {
    machine.log().filter(|line| line.text == RETRYING).count()
}

/// All pages still say what the task wrote to them.
fn nothing_lost(machine: &mut Machine, pid: Pid, base: VirtAddr, n: u64) {
    for i in 0..64 {
        let read = machine.read_user(pid, page(base, i));
        assert_eq!(read, Ok(i + 1), "allocation {n}: page {i}");
    }
    machine.check().unwrap_or_else(|e| panic!("allocation {n}, read again: {e}"));
}

#[test]
fn a_write_to_a_new_page_faults_again() {
    // Far from everything: tables of three levels and the page.
    let far = VirtAddr(0x1000_0000_0000);
    let prepare = || {
        let (mut machine, pid, base) = machine();
        machine.mmap(pid, far, PAGE, RW, ANON | map::FIXED).unwrap();
        (machine, pid, base)
    };
    let write = |m: &mut Machine, pid: Pid, _| {
        let faults = m.tasks[&pid].min_flt;
        m.write_user(pid, far, 77).map(|()| m.tasks[&pid].min_flt - faults)
    };
    let asked = each(prepare, write, |machine, answer, _, n| {
        assert_eq!(answer, Ok(1), "allocation {n}: one fault, however often it was tried");
        assert_eq!(retried(machine), 1, "allocation {n}");
        let pid = machine.tasks.keys().last().unwrap();
        assert_eq!(machine.read_user(pid, far), Ok(77), "allocation {n}");
    });
    assert_eq!(asked, 4, "PUD, PMD and PTE table, and the page");
}

#[test]
fn a_read_of_a_new_page_faults_again() {
    let far = VirtAddr(0x1000_0000_0000);
    let prepare = || {
        let (mut machine, pid, base) = machine();
        machine.mmap(pid, far, PAGE, RW, ANON | map::FIXED).unwrap();
        (machine, pid, base)
    };
    let asked = each(
        prepare,
        |m, pid, _| m.read_user(pid, far),
        |machine, answer, _, n| {
            assert_eq!((answer, retried(machine)), (Ok(0), 1), "allocation {n}");
        },
    );
    assert_eq!(asked, 3, "the page is the zero page");
}

#[test]
fn a_copy_on_write_faults_again() {
    let prepare = || {
        let (mut machine, pid, base) = machine();
        machine.fork(pid).unwrap();
        (machine, pid, base)
    };
    let asked = each(
        prepare,
        |m, pid, base| (m.write_user(pid, base, 99), pid, base),
        |machine, (answer, pid, base), _, n| {
            assert_eq!((answer, retried(machine)), (Ok(()), 1), "allocation {n}");
            assert_eq!(machine.read_user(pid, base), Ok(99));
            let child = machine.tasks.keys().last().unwrap();
            nothing_lost(machine, child, base, n);
        },
    );
    assert_eq!(asked, 1);
}

#[test]
fn a_stack_that_grows_faults_again() {
    let below = |m: &Machine, pid: Pid| {
        let mm = m.tasks[&pid].mm.unwrap();
        let (_, stack) = m.areas(mm).next_back().unwrap();
        VirtAddr(stack.start - 1024 * PAGE)
    };
    let asked = each(
        machine,
        |m, pid, _| {
            let addr = below(m, pid);
            m.write_user(pid, addr, 5)
        },
        |machine, answer, _, n| assert_eq!((answer, retried(machine)), (Ok(()), 1), "allocation {n}"),
    );
    assert_eq!(asked, 2, "a PTE table and the page");
}

#[test]
fn a_page_in_swap_is_asked_for_again() {
    let prepare = || {
        let (mut machine, pid, base) = machine();
        swap_out(&mut machine, pid);
        (machine, pid, base)
    };
    for access in [Access::Read, Access::Write] {
        let touch =
            |m: &mut Machine, pid: Pid, base: VirtAddr| (m.touch(pid, page(base, 30), 1, access), pid, base);
        let asked = each(prepare, touch, |machine, (answer, pid, base), _, n| {
            let touched = answer.unwrap_or_else(|e| panic!("allocation {n}: {e:?}"));
            // Without a neighbour the window is smaller; without the page itself the fault is tried again.
            assert_eq!((touched.pages, touched.major), (1, 1), "allocation {n}");
            assert!(retried(machine) <= 1, "allocation {n}");
            nothing_lost(machine, pid, base, n);
        });
        assert!(asked > 1, "{asked}: the page and its neighbours");
    }
}

#[test]
fn a_shared_page_in_swap_is_read_and_copied() {
    let prepare = || {
        let (mut machine, pid, base) = machine();
        machine.fork(pid).unwrap();
        swap_out(&mut machine, pid);
        (machine, pid, base)
    };
    let write =
        |m: &mut Machine, pid: Pid, base: VirtAddr| (m.write_user(pid, page(base, 30), 99), pid, base);
    let asked = each(prepare, write, |machine, (answer, pid, base), _, n| {
        assert_eq!(answer, Ok(()), "allocation {n}");
        assert_eq!(machine.read_user(pid, page(base, 30)), Ok(99), "allocation {n}");
        let child = machine.tasks.keys().last().unwrap();
        nothing_lost(machine, child, base, n);
    });
    assert!(asked > 2, "{asked}: the page, its neighbours and the copy");
}

#[test]
fn swapoff_that_fails_loses_nothing() {
    let prepare = || {
        let (mut machine, pid, base) = machine();
        swap_out(&mut machine, pid);
        (machine, pid, base)
    };
    let swapoff = |m: &mut Machine, pid: Pid, base: VirtAddr| (m.swapoff("/dev/vda"), pid, base);
    let mut refused = std::cell::Cell::new(0);
    let asked = each(prepare, swapoff, |machine, (answer, pid, base), _, n| {
        if answer == Err(Errno::ENOMEM) {
            refused.set(refused.get() + 1);
            assert!(machine.swap[0].active && machine.swap[0].prio > i16::MIN, "allocation {n}: still on");
            nothing_lost(&mut machine.clone(), pid, base, n);
            machine.swapoff("/dev/vda").unwrap_or_else(|e| panic!("allocation {n}, tried again: {e}"));
        } else {
            assert_eq!(answer, Ok(()), "allocation {n}");
        }
        nothing_lost(machine, pid, base, n);
    });
    assert!(asked >= 64 && *refused.get_mut() > 0, "{asked} pages, {refused:?} refusals");
}

#[test]
fn a_fork_that_fails_leaves_nothing_behind() {
    let prepare = || {
        let (mut machine, pid, base) = machine();
        // Some pages in memory, some in swap, some on both sides of a table's border.
        swap_out(&mut machine, pid);
        machine.touch(pid, page(base, 7), 9 * PAGE, Access::Write).unwrap();
        machine.mmap(pid, VirtAddr(0x1000_001f_f000), 2 * PAGE, RW, ANON | map::FIXED).unwrap();
        machine.touch(pid, VirtAddr(0x1000_001f_f000), 2 * PAGE, Access::Write).unwrap();
        (machine, pid, base)
    };
    let fork = |m: &mut Machine, pid: Pid, base: VirtAddr| (m.fork(pid), pid, base);
    let asked = each(prepare, fork, |machine, (answer, pid, base), before, n| {
        assert_eq!(answer, Err(Errno::ENOMEM), "allocation {n}");
        assert_eq!(state(machine), before, "allocation {n}");
        nothing_lost(machine, pid, base, n);
        let child = machine.fork(pid).unwrap_or_else(|e| panic!("allocation {n}, tried again: {e}"));
        nothing_lost(machine, child, base, n);
    });
    assert!(asked >= 9, "{asked} tables");
}

#[test]
fn a_task_that_cannot_start_leaves_nothing_behind() {
    let asked = each(
        machine,
        |m, _, _| m.spawn("late"),
        |machine, answer, before, n| {
            assert_eq!(answer, Err(Errno::ENOMEM), "allocation {n}");
            assert_eq!(state(machine), before, "allocation {n}");
            machine.spawn("late").unwrap_or_else(|e| panic!("allocation {n}, tried again: {e}"));
        },
    );
    assert_eq!(asked, 9, "four pages of its kernel stack, the PGD, three tables and the page of its stack");
}

#[test]
fn calls_that_only_change_areas_ask_for_no_page() {
    type Call = fn(&mut Machine, Pid, VirtAddr) -> Result<(), Errno>;
    let calls: [(&str, Call); 6] = [
        ("mmap", |m, pid, _| m.mmap(pid, VirtAddr(0), 1 << 30, RW, ANON).map(|_| ())),
        ("mmap over another area", |m, pid, base| {
            m.mmap(pid, page(base, 3), 5 * PAGE, prot::READ, ANON | map::FIXED).map(|_| ())
        }),
        ("munmap of a hole", |m, pid, base| m.munmap(pid, page(base, 3), 5 * PAGE)),
        ("mprotect of a hole", |m, pid, base| m.mprotect(pid, page(base, 3), 5 * PAGE, prot::READ)),
        ("mprotect of everything", |m, pid, base| m.mprotect(pid, base, 64 * PAGE, prot::NONE)),
        ("brk", |m, pid, _| {
            let start = m.brk(pid, VirtAddr(0))?;
            m.brk(pid, page(start, 9)).map(|_| ())
        }),
    ];
    for (name, call) in calls {
        let asked = each(machine, call, |_, _, _, n| panic!("{name} asked for {n} pages"));
        assert_eq!(asked, 0, "{name}");
    }
}

/// The machine, where the task may have only `room` areas more than it has.
fn machine_at_the_limit(room: u64) -> (Machine, Pid, VirtAddr) {
    let (mut machine, pid, base) = machine();
    let have = machine.mms[machine.tasks[&pid].mm.unwrap()].vmas.len() as u64;
    machine.sysctl.max_map_count = have + room;
    (machine, pid, base)
}

#[test]
fn areas_at_their_limit_are_not_split() {
    type Call = fn(&mut Machine, Pid, VirtAddr) -> Result<(), Errno>;
    // Name, the call, and how many areas more it needs room for: with less it is refused.
    let calls: [(&str, Call, u64); 7] = [
        ("munmap of a hole", |m, pid, base| m.munmap(pid, page(base, 3), 5 * PAGE), 1),
        ("munmap of the head", |m, pid, base| m.munmap(pid, base, 5 * PAGE), 0),
        ("munmap of the tail", |m, pid, base| m.munmap(pid, page(base, 60), 4 * PAGE), 0),
        ("mprotect of a hole", |m, pid, base| m.mprotect(pid, page(base, 3), 5 * PAGE, prot::READ), 2),
        ("mprotect of the head", |m, pid, base| m.mprotect(pid, base, 5 * PAGE, prot::READ), 1),
        ("mprotect of the tail", |m, pid, base| m.mprotect(pid, page(base, 60), 4 * PAGE, prot::READ), 1),
        ("mprotect of everything", |m, pid, base| m.mprotect(pid, base, 64 * PAGE, prot::READ), 0),
    ];
    for (name, call, needs) in calls {
        for room in 0..3 {
            let (mut machine, pid, base) = machine_at_the_limit(room);
            let committed = machine.committed_as;
            let answer = call(&mut machine, pid, base);
            let want = if room < needs { Err(Errno::ENOMEM) } else { Ok(()) };
            assert_eq!(answer, want, "{name}, room for {room}");
            machine.check().unwrap_or_else(|e| panic!("{name}, room for {room}: {e}"));
            if room < needs {
                assert_eq!(machine.committed_as, committed, "{name}, room for {room}");
                nothing_lost(&mut machine, pid, base, room);
                // Whatever was cut is still writable.
                machine.touch(pid, base, 64 * PAGE, Access::Write).unwrap();
            }
        }
    }
}

#[test]
fn a_victim_that_finds_no_page_dies_instead_of_trying_again() {
    let (mut machine, pid, base) = machine();
    machine.munmap(pid, base, PAGE).unwrap();
    machine.mmap(pid, base, PAGE, RW, ANON | map::FIXED).unwrap();
    machine.tasks.get_mut(&pid).unwrap().oom_victim = true;
    machine.set_fail_nth(1);
    let stop = machine.write_user(pid, base, 1);
    assert!(matches!(stop, Err(Stop::Signal(s)) if s.name() == "SIGKILL"), "{stop:?}");
    assert!(!machine.tasks[&pid].is_alive());
    assert_eq!(retried(&machine), 0);
    machine.check().unwrap();
}

/// The machine, where the slabs of areas have no free object left: the next area asks for a page.
fn machine_with_full_slabs() -> (Machine, Pid, VirtAddr) {
    let (mut machine, pid, base) = machine();
    let other = machine.spawn("other").unwrap();
    let add = |m: &mut Machine, n: u64| {
        let at = VirtAddr(0x2000_0000_0000 + 2 * n * PAGE);
        m.mmap(other, at, PAGE, RW, ANON | map::FIXED).unwrap();
    };
    let used = |m: &Machine| m.check().unwrap_or_else(|e| panic!("{e}")).used;
    let mut ahead = machine.clone();
    let fits = (0..).find(|n| {
        let before = used(&ahead);
        add(&mut ahead, *n);
        used(&ahead) > before
    });
    (0..fits.unwrap()).for_each(|n| add(&mut machine, n));
    (machine, pid, base)
}

#[test]
fn calls_that_need_an_area_are_refused_whole() {
    type Call = fn(&mut Machine, Pid, VirtAddr) -> Result<(), Errno>;
    let calls: [(&str, Call); 9] = [
        ("mmap", |m, pid, _| m.mmap(pid, VirtAddr(0), 1 << 20, prot::READ, ANON).map(|_| ())),
        ("mmap with pages", |m, pid, _| {
            m.mmap(pid, VirtAddr(0), 9 * PAGE, prot::READ, ANON | map::LOCKED).map(|_| ())
        }),
        ("munmap of a hole", |m, pid, base| m.munmap(pid, page(base, 3), 5 * PAGE)),
        ("mprotect of a hole", |m, pid, base| m.mprotect(pid, page(base, 3), 5 * PAGE, prot::READ)),
        ("mlock of a hole", |m, pid, base| m.mlock(pid, page(base, 3), 5 * PAGE)),
        ("mremap to a far place", |m, pid, base| {
            let to = VirtAddr(0x1000_001f_f000);
            let flags = remap::MAYMOVE | remap::FIXED;
            m.mremap(pid, base, 64 * PAGE, 64 * PAGE, flags, to).map(|_| ())
        }),
        ("mremap of a part", |m, pid, base| {
            m.mremap(pid, page(base, 9), 9 * PAGE, 20 * PAGE, remap::MAYMOVE, VirtAddr(0)).map(|_| ())
        }),
        ("madvise of a hole", |m, pid, base| m.madvise(pid, page(base, 3), 5 * PAGE, madv::DONTFORK)),
        ("fork", |m, pid, _| m.fork(pid).map(|_| ())),
    ];
    for (name, call) in calls {
        let mut refused = 0;
        // All allocations of the call from the n-th on fail.
        for n in 1.. {
            let (mut machine, pid, base) = machine_with_full_slabs();
            let before = state(&machine);
            machine.set_fail_nth_times(n, u64::MAX);
            let answer = call(&mut machine, pid, base);
            machine.set_fail_nth(0);
            machine.check().unwrap_or_else(|e| panic!("{name}, allocation {n}: {e}"));
            let Err(errno) = answer else { break };
            refused += 1;
            assert!(matches!(errno, Errno::ENOMEM | Errno::EAGAIN), "{name}, allocation {n}: {errno}");
            assert_eq!(state(&machine), before, "{name}, allocation {n}");
            nothing_lost(&mut machine, pid, base, n);
            let again = call(&mut machine, pid, base);
            assert_eq!(again, Ok(()), "{name}, allocation {n}, tried again");
            machine.kill_task(pid).unwrap();
            machine.check().unwrap_or_else(|e| panic!("{name}, allocation {n}, at the end: {e}"));
        }
        println!("{name}: {refused} refusals");
        assert!(refused > 0, "{name} asks for nothing");
    }
}
