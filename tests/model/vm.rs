//! Tasks that write, read, fork and swap, against a map of what each of them wrote.

use crate::machines::{boot, pc};
use std::collections::BTreeMap;
use vmlab::mm::addr::VirtAddr;
use vmlab::mm::config::{SwapConfig, ThpMode};
use vmlab::mm::machine::Dice;
use vmlab::mm::memory::{Access, Stop};
use vmlab::mm::mmap::{map, prot};
use vmlab::mm::task::Pid;

const ANON: u64 = map::PRIVATE | map::ANONYMOUS;
const RW: u64 = prot::READ | prot::WRITE;

/// What a task would read at each page it may read.
type Memory = BTreeMap<u64, u64>;

fn run(seed: u64, steps: u32) {
    let mut config = pc(1024, 2200 + seed % 300, 1 + (seed % 2) as u16, 1);
    config.swap.push(SwapConfig { name: "/dev/vda".into(), pages: 6000, priority: None });
    let mut machine = boot(config);
    if seed % 4 == 3 {
        machine.thp = ThpMode::Always;
    }
    // What the TLBs remember is held against the tables, huge pages too.
    machine.model_tlb(seed.is_multiple_of(3));
    let before = machine.check().unwrap_or_else(|e| panic!("seed {seed} boot: {e}"));
    let mut dice = Dice::new(seed);
    let mut tasks: BTreeMap<Pid, (u64, Memory)> = BTreeMap::new();
    for step in 0..steps {
        let fail = |what: String| -> ! { panic!("seed {seed} step {step}: {what}") };
        let pick = |dice: &mut Dice, tasks: &BTreeMap<Pid, (u64, Memory)>| {
            *tasks.keys().nth(dice.below(tasks.len() as u64) as usize).unwrap()
        };
        let what = dice.below(100);
        if tasks.is_empty() || (what < 3 && tasks.len() < 5) {
            let pid = machine.spawn("model").unwrap();
            let base = machine.mmap(pid, VirtAddr(0), 1500 << 12, RW, ANON).unwrap();
            tasks.insert(pid, (base.0, Memory::new()));
        } else if what < 6 && tasks.len() < 5 {
            let pid = pick(&mut dice, &tasks);
            let child = machine.fork(pid).unwrap_or_else(|e| fail(format!("fork: {e}")));
            tasks.insert(child, tasks[&pid].clone());
        } else if what < 8 {
            let pid = pick(&mut dice, &tasks);
            machine.exit_task(pid, 0).unwrap();
            tasks.remove(&pid);
        } else if what < 50 {
            let pid = pick(&mut dice, &tasks);
            let (base, memory) = tasks.get_mut(&pid).unwrap();
            let page = dice.below(1500);
            let value = dice.next_u64();
            machine
                .write_user(pid, VirtAddr(*base + (page << 12)), value)
                .unwrap_or_else(|e| fail(format!("write: {e:?}")));
            memory.insert(page, value);
        } else if what < 80 {
            let pid = pick(&mut dice, &tasks);
            let (base, memory) = &tasks[&pid];
            let page = dice.below(1500);
            let want = memory.get(&page).copied().unwrap_or(0);
            match machine.read_user(pid, VirtAddr(base + (page << 12))) {
                Ok(got) if got == want => {}
                other => fail(format!("task {pid} page {page}: read {other:x?}, wrote {want:x}")),
            }
        } else if what < 82 && machine.thp == ThpMode::Always {
            let pid = pick(&mut dice, &tasks);
            machine.khugepaged_scan(pid).unwrap_or_else(|e| fail(format!("khugepaged: {e}")));
        } else if what < 95 {
            // Pages without bytes press the others out to swap.
            let pid = pick(&mut dice, &tasks);
            let start = dice.below(1400);
            let base = tasks[&pid].0;
            let access = if dice.below(2) == 0 { Access::Read } else { Access::Write };
            machine
                .touch(pid, VirtAddr(base + (start << 12)), 100 << 12, access)
                .unwrap_or_else(|e| fail(format!("touch: {e:?}")));
        } else {
            let pid = pick(&mut dice, &tasks);
            let (base, memory) = tasks.get_mut(&pid).unwrap();
            let start = dice.below(1490);
            let addr = VirtAddr(*base + (start << 12));
            machine.munmap(pid, addr, 10 << 12).unwrap();
            let flags = ANON | map::FIXED;
            machine.mmap(pid, addr, 10 << 12, RW, flags).unwrap();
            memory.retain(|page, _| !(start..start + 10).contains(page));
        }
        if step % 8 == 0 {
            machine.check().unwrap_or_else(|e| fail(e.to_string()));
        }
    }
    for (pid, (base, memory)) in &tasks {
        for (page, want) in memory {
            let got = machine.read_user(*pid, VirtAddr(base + (page << 12)));
            assert_eq!(got, Ok(*want), "seed {seed} end: task {pid} page {page}");
        }
    }
    for pid in tasks.keys() {
        machine.exit_task(*pid, 0).unwrap();
    }
    machine.sleep_for(1_000_000_000);
    machine.reclaim_node(0, 10_000);
    machine.shrink_all_caches();
    let after = machine.check().unwrap_or_else(|e| panic!("seed {seed} end: {e}"));
    assert_eq!(
        (after.used, machine.contents.len(), machine.committed_as),
        (before.used, 0, 0),
        "seed {seed}: leak"
    );
}

#[test]
fn what_was_written_is_read_back() {
    for seed in 0..200 {
        run(seed, 120);
    }
}

#[test]
fn a_failed_allocation_leaves_nothing_behind() {
    for n in 1..60 {
        let mut machine = boot(pc(1024, 8192, 1, 1));
        let parent = machine.spawn("parent").unwrap();
        let base = machine.mmap(parent, VirtAddr(0), 16 << 20, RW, ANON).unwrap();
        machine.touch(parent, base, 16 << 20, Access::Write).unwrap();
        machine.shrink_all_caches();
        let before = machine.check().unwrap();
        machine.set_fail_nth(n);
        let forked = machine.fork(parent);
        machine.set_fail_nth(0);
        machine.check().unwrap_or_else(|e| panic!("n = {n}: {e}"));
        machine.shrink_all_caches();
        let after = machine.check().unwrap_or_else(|e| panic!("n = {n}: {e}"));
        match forked {
            Ok(child) => {
                machine.exit_task(child, 0).unwrap();
                machine.check().unwrap();
                return assert!(n > 5, "only {n} allocations in a fork");
            }
            Err(_) => assert_eq!(after.used, before.used, "n = {n}: a failed fork leaks"),
        }
    }
    panic!("fork never succeeds");
}

#[test]
fn a_task_that_touches_nothing_of_its_own_dies() {
    let mut machine = boot(pc(1024, 8192, 1, 1));
    let pid = machine.spawn("wild").unwrap();
    let stop = machine.touch(pid, VirtAddr(0x7f00_dead_0000), 8, Access::Read);
    assert!(matches!(stop, Err(Stop::Signal(s)) if s.name() == "SIGSEGV"));
    assert!(machine.touch(pid, VirtAddr(0x7f00_dead_0000), 8, Access::Read).is_err());
    machine.check().unwrap();
}
