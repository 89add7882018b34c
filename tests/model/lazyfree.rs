//! Pages given up with MADV_FREE: reclaim drops those that nobody wrote to since, and swaps the others.

use crate::machines::{boot, pc};
use vmlab::mm::Machine;
use vmlab::mm::addr::VirtAddr;
use vmlab::mm::config::SwapConfig;
use vmlab::mm::madvise::madv;
use vmlab::mm::mmap::{map, prot};
use vmlab::mm::task::{Pid, Rss};
use vmlab::mm::vmstat::{NodeStat, VmEvent};

const RW: u64 = prot::READ | prot::WRITE;
const ANON: u64 = map::PRIVATE | map::ANONYMOUS;
const PAGES: u64 = 64;

/// A task whose 64 pages say their numbers, and that has given up all of them.
fn given_up(swap: bool) -> (Machine, Pid, VirtAddr) {
    let mut config = pc(1024, 4096, 1, 1);
    if swap {
        config.swap.push(SwapConfig { name: "/dev/vda".into(), pages: 6000, priority: None });
    }
    let mut machine = boot(config);
    let pid = machine.spawn("model").unwrap();
    let base = machine.mmap(pid, VirtAddr(0), PAGES << 12, RW, ANON).unwrap();
    for n in 0..PAGES {
        machine.write_user(pid, at(base, n), n + 1).unwrap();
    }
    machine.madvise(pid, base, PAGES << 12, madv::FREE).unwrap();
    machine.check().unwrap();
    (machine, pid, base)
}

fn at(base: VirtAddr, n: u64) -> VirtAddr {
    VirtAddr(base.0 + (n << 12))
}

fn press(machine: &mut Machine) {
    for _ in 0..50 {
        machine.reclaim_node(0, 256);
        machine.sleep_for(1_000_000_000);
        machine.check().unwrap();
    }
}

#[test]
fn pages_given_up_wait_on_the_list_of_inactive_files() {
    let (mut machine, pid, base) = given_up(true);
    let before = machine.nodes[0].stat(NodeStat::InactiveFile);
    // The batch of 15 is full four times; the last four pages still wait on the CPU.
    assert_eq!(machine.vmstat.get(VmEvent::Pglazyfree), 60);
    let again = machine.mmap(pid, VirtAddr(0), 1 << 12, RW, ANON).unwrap();
    machine.mlock(pid, again, 1 << 12).unwrap();
    assert_eq!(machine.vmstat.get(VmEvent::Pglazyfree), 64);
    assert_eq!(machine.nodes[0].stat(NodeStat::InactiveFile), before + 4);
    // Until memory is short, they say what they said.
    assert_eq!(machine.read_user(pid, at(base, 5)), Ok(6));
    assert_eq!(machine.mms[machine.mm_of(pid).unwrap()].rss(Rss::Anon), PAGES + 2);
}

#[test]
fn clean_ones_are_dropped_and_written_ones_stay() {
    for swap in [true, false] {
        let (mut machine, pid, base) = given_up(swap);
        for n in (0..PAGES).step_by(4) {
            machine.write_user(pid, at(base, n), 1000 + n).unwrap();
        }
        press(&mut machine);
        assert_eq!(machine.vmstat.get(VmEvent::Pglazyfreed), PAGES * 3 / 4, "swap {swap}");
        if !swap {
            assert_eq!(machine.vmstat.get(VmEvent::Pswpout), 0);
        }
        for n in 0..PAGES {
            let want = if n % 4 == 0 { 1000 + n } else { 0 };
            assert_eq!(machine.read_user(pid, at(base, n)), Ok(want), "swap {swap} page {n}");
        }
        machine.exit_task(pid, 0).unwrap();
        machine.check().unwrap();
    }
}

#[test]
fn a_child_that_shares_a_page_given_up_loses_it_too() {
    let (mut machine, pid, base) = given_up(true);
    let child = machine.fork(pid).unwrap();
    machine.write_user(child, base, 77).unwrap();
    press(&mut machine);
    assert_eq!(machine.read_user(child, base), Ok(77), "its own copy was never given up");
    for n in 1..PAGES {
        let both = [pid, child].map(|pid| machine.read_user(pid, at(base, n)));
        assert_eq!(both, [Ok(0), Ok(0)], "page {n}");
    }
    machine.check().unwrap();
}
