//! Tasks that begin, share, end and are waited for at random; in the end nothing of them is left.

use crate::machines::{boot, pc};
use std::collections::BTreeMap;
use vmlab::mm::Machine;
use vmlab::mm::addr::VirtAddr;
use vmlab::mm::config::ThpMode;
use vmlab::mm::errno::Errno;
use vmlab::mm::fork::clone_flags;
use vmlab::mm::machine::Dice;
use vmlab::mm::memory::Access;
use vmlab::mm::mmap::{map, prot};
use vmlab::mm::task::{Pid, State};

const ANON: u64 = map::PRIVATE | map::ANONYMOUS;
const RW: u64 = prot::READ | prot::WRITE;
const THREAD: u64 = clone_flags::VM | clone_flags::SIGHAND | clone_flags::THREAD;

/// What a machine holds: pages in use, tables, areas, address spaces, promises.
fn held(machine: &mut Machine) -> (u64, usize, usize, usize, u64) {
    machine.shrink_all_caches();
    let used = machine.check().unwrap_or_else(|e| panic!("{e}")).used;
    (used, machine.tables.len(), machine.vmas.len(), machine.mms.len(), machine.committed_as)
}

/// Who runs by the model's own account: whose group, whose child, who shares whose memory.
#[derive(Clone, Copy, Debug)]
struct Known {
    tgid: Pid,
    parent: Pid,
    space: u32,
}

fn run(seed: u64, steps: u32) {
    let mut machine = boot(pc(1024, 6000, 3, 1));
    for tlb in &mut machine.tlbs {
        tlb.model = (seed.is_multiple_of(2))
            .then(|| Box::new(vmlab::mm::tlb::model::Model::new(&Default::default())));
    }
    let before = held(&mut machine);
    let mut dice = Dice::new(seed);
    let mut known: BTreeMap<Pid, Known> = BTreeMap::new();
    let mut spaces = 0;
    for step in 0..steps {
        let fail = |what: String| -> ! { panic!("seed {seed} step {step}: {what}") };
        machine.set_cpu(dice.below(3) as u16).unwrap();
        let what = dice.below(100);
        let someone = |dice: &mut Dice, known: &BTreeMap<Pid, Known>| {
            *known.keys().nth(dice.below(known.len() as u64) as usize).unwrap()
        };
        if known.is_empty() || (what < 5 && known.len() < 12) {
            let pid = machine.spawn(["bash", "cat", "busybox", "plain"][dice.below(4) as usize]).unwrap();
            spaces += 1;
            known.insert(pid, Known { tgid: pid, parent: 1, space: spaces });
            continue;
        }
        let pid = someone(&mut dice, &known);
        let me = known[&pid];
        match what {
            0..30 if known.len() < 12 => {
                let flags = [0, 0, clone_flags::VM, THREAD][dice.below(4) as usize];
                let child = machine.clone_task(pid, flags).unwrap_or_else(|e| fail(format!("clone: {e}")));
                let thread = flags & clone_flags::THREAD != 0;
                let parent = if thread { me.parent } else { pid };
                if flags & clone_flags::VM == 0 {
                    spaces += 1;
                }
                let space = if flags & clone_flags::VM != 0 { me.space } else { spaces };
                known.insert(child, Known { tgid: if thread { me.tgid } else { child }, parent, space });
            }
            0..36 => {
                let child = machine.vfork(pid).unwrap_or_else(|e| fail(format!("vfork: {e}")));
                assert_eq!(machine.fork(pid), Err(Errno::EBUSY), "the parent sleeps");
                if dice.below(2) == 0 {
                    machine.exit_task(child, 0).unwrap();
                    let reaped = machine.wait(pid, Some(child));
                    assert_eq!(reaped, Ok(Some(child)), "seed {seed} step {step}");
                } else {
                    machine.execve(child, "sleep").unwrap_or_else(|e| fail(format!("execve: {e}")));
                    spaces += 1;
                    known.insert(child, Known { tgid: child, parent: pid, space: spaces });
                }
                machine.mm_of(pid).unwrap_or_else(|e| fail(format!("the parent still sleeps: {e}")));
            }
            36..44 => {
                // A leader takes its group along.
                machine.exit_task(pid, 3).unwrap();
                known.retain(|other, k| *other != pid && (me.tgid != pid || k.tgid != pid));
            }
            44..48 => {
                machine.kill_task(pid).unwrap();
                known.retain(|_, k| k.tgid != me.tgid);
            }
            48..56 => {
                if me.tgid == pid {
                    machine.execve(pid, "/bin/cat").unwrap_or_else(|e| fail(format!("execve: {e}")));
                    spaces += 1;
                    known.retain(|other, k| *other == pid || k.tgid != pid);
                    known.insert(pid, Known { space: spaces, ..me });
                }
            }
            56..70 => {
                let waited = machine.wait(pid, None);
                if let Ok(Some(child)) = waited {
                    assert!(
                        !known.contains_key(&child),
                        "seed {seed} step {step}: reaped {child}, which runs"
                    );
                    assert!(matches!(machine.tasks[&child].state, State::Dead(_)));
                }
            }
            _ => {
                let at = machine
                    .mmap(pid, VirtAddr(0), 40 << 12, RW, ANON)
                    .unwrap_or_else(|e| fail(format!("{e}")));
                for n in 0..dice.below(40) {
                    machine.write_user(pid, VirtAddr(at.0 + (n << 12)), n).unwrap();
                }
                machine.munmap(pid, VirtAddr(at.0 + (8 << 12)), 32 << 12).unwrap();
            }
        }
        for (pid, k) in &known {
            let task = &machine.tasks[pid];
            assert!(task.is_alive(), "seed {seed} step {step}: {pid} should live");
            assert_eq!(task.tgid, k.tgid, "seed {seed} step {step}: group of {pid}");
            // The parent may have ended: then it is another thread of its group, or init.
            if known.contains_key(&k.parent) {
                assert_eq!(task.parent, k.parent, "seed {seed} step {step}: parent of {pid}");
            }
            for (other, o) in &known {
                let shared = task.mm == machine.tasks[other].mm;
                assert_eq!(shared, k.space == o.space, "seed {seed} step {step}: {pid} and {other}");
            }
        }
        let alive = machine.tasks.values().filter(|t| t.is_alive()).count();
        assert_eq!(alive, known.len() + 1, "seed {seed} step {step}: init and who is known");
        if step % 25 == 0 {
            machine.check().unwrap_or_else(|e| panic!("seed {seed} step {step}: {e}"));
        }
    }
    for pid in known.keys() {
        let _ = machine.kill_task(*pid);
    }
    assert_eq!(held(&mut machine), before, "seed {seed}: everything came back");
    let left = machine.tasks.values().filter(|t| !matches!(t.state, State::Dead(_))).count();
    assert_eq!(left, 1, "seed {seed}: init alone is left");
}

#[test]
fn tasks_leave_nothing_behind() {
    for seed in 0..12 {
        run(seed, 300);
    }
}

#[test]
fn a_pid_is_used_again_after_its_task_was_reaped() {
    let mut machine = boot(pc(1024, 6000, 1, 1));
    for _ in 0..33_000 {
        let pid = machine.kthread("short").unwrap();
        machine.exit_task(pid, 0).unwrap();
    }
    machine.check().unwrap();
    assert!(machine.tasks.keys().all(|pid| pid < 32_768));
}

#[test]
fn a_fork_bomb_ends_at_the_limit_that_binds() {
    let mut machine = boot(pc(1024, 6000, 1, 1));
    let pid = machine.spawn("bomb").unwrap();
    let task = machine.tasks.get_mut(&pid).unwrap();
    (task.uid, task.rlimits.nproc) = (1000, 5);
    let children: Vec<_> = (0..10).map(|_| machine.fork(pid)).collect();
    assert_eq!(children.iter().filter(|c| c.is_ok()).count(), 4, "itself counts");
    assert_eq!(children[9], Err(Errno::EAGAIN));
    assert!(machine.log().next_back().unwrap().text.contains("RLIMIT_NPROC is 5"));
    // Root goes on to threads-max.
    machine.tasks.get_mut(&pid).unwrap().uid = 0;
    let more = (0..5000).take_while(|_| machine.kthread("k").is_ok()).count() as u64;
    assert_eq!(more + 5, machine.max_threads());
    machine.check().unwrap();
}

#[test]
fn every_allocation_of_a_new_program_may_fail() {
    for program in ["busybox", "bash"] {
        for n in 1.. {
            let mut machine = boot(pc(1024, 6000, 2, 1));
            let before = held(&mut machine);
            let pid = machine.spawn("plain").unwrap();
            let child = machine.fork(pid).unwrap();
            machine.set_fail_nth(n);
            let result = machine.execve(child, program);
            let over = machine.fail_nth_left().is_some();
            machine.set_fail_nth(0);
            machine.check().unwrap_or_else(|e| panic!("{program}, allocation {n}: {e}"));
            let task = &machine.tasks[&child];
            match result {
                Ok(()) => assert!(task.is_alive()),
                Err(_) if task.is_alive() => {
                    assert_eq!(task.comm.as_str(), "plain", "the old program goes on")
                }
                Err(e) => assert_eq!(e, Errno::ENOMEM),
            }
            machine.kill_task(pid).unwrap();
            let _ = machine.kill_task(child);
            assert_eq!(held(&mut machine), before, "{program}, allocation {n}");
            if over {
                assert!(n > 4, "stack, tables, page of the bss: {n}");
                break;
            }
        }
    }
}

#[test]
fn every_allocation_of_fork_and_spawn_may_fail() {
    for n in 1.. {
        let mut machine = boot(pc(1024, 6000, 2, 1));
        let before = held(&mut machine);
        machine.set_fail_nth(n);
        let pid = machine.spawn("bash");
        let child = pid.and_then(|pid| machine.clone_task(pid, 0));
        let thread = pid.and_then(|pid| machine.clone_task(pid, THREAD));
        let over = machine.fail_nth_left().is_some();
        machine.set_fail_nth(0);
        machine.check().unwrap_or_else(|e| panic!("allocation {n}: {e}"));
        // A slab that finds no large block takes a small one.
        assert!(!over || child.is_ok() && pid.is_ok() && thread.is_ok(), "allocation {n}");
        if let Ok(pid) = pid {
            machine.kill_task(pid).unwrap();
            assert!(thread.is_err() || !machine.tasks[&thread.unwrap()].is_alive());
        }
        if let Ok(child) = child {
            machine.kill_task(child).unwrap();
        }
        assert_eq!(held(&mut machine), before, "allocation {n}");
        if over {
            break;
        }
    }
}

#[test]
fn a_flush_interrupts_who_runs_and_spares_the_lazy() {
    let mut machine = boot(pc(1024, 6000, 3, 1));
    let a = machine.spawn("a").unwrap();
    let b = machine.clone_task(a, THREAD).unwrap();
    let at = machine.mmap(a, VirtAddr(0), 8 << 12, RW, ANON).unwrap();
    let touch = |m: &mut Machine, cpu: u16, pid: Pid| {
        m.set_cpu(cpu).unwrap();
        m.write_user(pid, at, 1).unwrap();
    };
    // Two threads on two CPUs: one changes the address space, the other is interrupted.
    touch(&mut machine, 1, a);
    touch(&mut machine, 0, b);
    let last = VirtAddr(at.0 + (7 << 12));
    machine.write_user(b, last, 1).unwrap();
    machine.mprotect(b, last, 4096, prot::READ).unwrap();
    assert_eq!((machine.tlbs[0].count.remote, machine.tlbs[1].count.received), (1, 1));
    // It sleeps: the CPU idles in the same address space, and is left alone.
    touch(&mut machine, 2, a);
    machine.mprotect(a, last, 4096, prot::NONE).unwrap();
    assert_eq!(machine.tlbs[1].count.received, 1, "CPU 1 is lazy");
    let spared = machine.tlbs[1].count.lazy_spared;
    assert!(spared >= 1 || machine.tlbs[1].loaded.is_none());
    // Page tables go: now the lazy CPU must let go of them.
    machine.munmap(a, at, 8 << 12).unwrap();
    assert_eq!(machine.tlbs[1].loaded, None);
    machine.check().unwrap();
}

#[test]
fn a_huge_page_is_one_entry_of_the_tlb() {
    const MIB: u64 = 1 << 20;
    let mut machine = boot(pc(1024, 6000, 1, 1));
    machine.thp = ThpMode::Always;
    machine.model_tlb(true);
    let a = machine.spawn("a").unwrap();
    let area = machine.mmap(a, VirtAddr(0), 6 * MIB, RW, ANON).unwrap();
    let at = VirtAddr(area.0.next_multiple_of(2 * MIB));
    let counts = |m: &mut Machine, at: VirtAddr, len: u64| {
        let before = m.tlbs[0].model.as_ref().unwrap().count;
        m.touch(a, at, len, Access::Write).unwrap();
        let after = m.tlbs[0].model.as_ref().unwrap().count;
        m.check().unwrap();
        (after.walks - before.walks, after.steps - before.steps, after.total() - before.total())
    };
    assert_eq!(counts(&mut machine, at, 2 * MIB), (1, 3, 512), "one walk of three steps");
    assert_eq!(counts(&mut machine, at, 2 * MIB), (0, 0, 512));
    // A page of its own rights: the one entry is split, and 512 small ones take its place.
    machine.mprotect(a, at, 4096, prot::READ).unwrap();
    machine.mprotect(a, at, 4096, RW).unwrap();
    assert_eq!(counts(&mut machine, at, 2 * MIB), (512, 4 * 512, 512));
}

#[test]
fn a_cpu_keeps_six_address_spaces_apart() {
    let mut machine = boot(pc(1024, 6000, 1, 1));
    let pids: Vec<Pid> = (0..7).map(|_| machine.spawn("p").unwrap()).collect();
    let switch = |m: &mut Machine, pid: Pid| {
        let at = VirtAddr(m.mms[m.tasks[&pid].mm.unwrap()].start_stack);
        m.read_user(pid, at).unwrap();
        m.tlbs[0].asid
    };
    for pid in &pids[..6] {
        switch(&mut machine, *pid);
    }
    let again: Vec<usize> = pids[..6].iter().map(|pid| switch(&mut machine, *pid)).collect();
    let mut apart = again.clone();
    apart.sort_unstable();
    apart.dedup();
    assert_eq!(apart.len(), 6, "{again:?}");
    assert_eq!(switch(&mut machine, pids[6]), again[0], "the seventh takes the first one's place");
    machine.check().unwrap();
}
