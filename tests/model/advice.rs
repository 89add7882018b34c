//! What newer advice answers, and calls that want what there is none of.

use crate::machines::{boot, pc};
use vmlab::mm::Machine;
use vmlab::mm::addr::VirtAddr;
use vmlab::mm::errno::Errno;
use vmlab::mm::madvise::madv;
use vmlab::mm::memory::Access;
use vmlab::mm::mmap::{map, prot};
use vmlab::mm::task::Pid;

const RW: u64 = prot::READ | prot::WRITE;
const ANON: u64 = map::PRIVATE | map::ANONYMOUS;
const HUGE: u64 = 2 << 20;
const AT: VirtAddr = VirtAddr(0x10_0000_0000);

/// A task with two times 2 MiB of small pages, of which the first half has some that were written.
fn machine() -> (Machine, Pid) {
    let mut machine = boot(pc(1024, 8192, 1, 1));
    let pid = machine.spawn("model").unwrap();
    machine.mmap(pid, AT, 2 * HUGE, RW, ANON | map::FIXED).unwrap();
    for n in [0, 7, 500] {
        machine.write_user(pid, VirtAddr(AT.0 + (n << 12)), n + 1).unwrap();
    }
    (machine, pid)
}

#[test]
fn collapse_makes_huge_pages_of_small_ones() {
    let (mut machine, pid) = machine();
    let mm = machine.mm_of(pid).unwrap();
    assert_eq!(machine.madvise(pid, AT, HUGE, madv::COLLAPSE), Ok(()));
    assert!(machine.huge_leaf(mm, AT).is_some());
    machine.check().unwrap();
    assert_eq!(machine.read_user(pid, VirtAddr(AT.0 + (500 << 12))), Ok(501));
    assert_eq!(machine.read_user(pid, VirtAddr(AT.0 + (501 << 12))), Ok(0));
    // Twice is once; of the second half there is nothing to make one of.
    assert_eq!(machine.madvise(pid, AT, HUGE, madv::COLLAPSE), Ok(()));
    assert_eq!(machine.madvise(pid, AT, 2 * HUGE, madv::COLLAPSE), Err(Errno::EINVAL));
    machine.check().unwrap();
}

#[test]
fn collapse_refuses_what_cannot_be_huge() {
    let (mut machine, pid) = machine();
    let other = VirtAddr(AT.0 + (1 << 30));
    machine.mmap(pid, other, HUGE, RW, ANON | map::FIXED).unwrap();
    let mut advise = |at: VirtAddr, len| machine.madvise(pid, at, len, madv::COLLAPSE);
    assert_eq!(advise(other, HUGE), Err(Errno::EINVAL), "it never had a page");
    assert_eq!(advise(VirtAddr(AT.0 + 4096), 4096), Err(Errno::EINVAL), "no whole 2 MiB");
    machine.madvise(pid, AT, HUGE, madv::NOHUGEPAGE).unwrap();
    assert_eq!(machine.madvise(pid, AT, HUGE, madv::COLLAPSE), Err(Errno::EINVAL), "not wanted");
    machine.check().unwrap();
}

#[test]
fn collapse_without_a_block_says_so() {
    let (mut machine, pid) = machine();
    machine.set_fail_nth(1);
    assert_eq!(machine.madvise(pid, AT, HUGE, madv::COLLAPSE), Err(Errno::ENOMEM));
    machine.check().unwrap();
    assert_eq!(machine.read_user(pid, AT), Ok(1));
}

#[test]
fn advice_for_another_task_may_not_change_what_it_sees() {
    let (mut machine, pid) = machine();
    let boss = machine.spawn("boss").unwrap();
    let range = [(AT, HUGE), (VirtAddr(AT.0 + HUGE), HUGE)];
    let mut advise = |advice| machine.process_madvise(boss, pid, &range, advice);
    for advice in [madv::COLD, madv::PAGEOUT, madv::WILLNEED] {
        assert_eq!(advise(advice), Ok(2 * HUGE), "{advice}");
    }
    for advice in [madv::DONTNEED, madv::FREE, madv::NORMAL, madv::HUGEPAGE, 77] {
        assert_eq!(advise(advice), Err(Errno::EINVAL), "{advice}");
    }
    // The second half cannot be collapsed: the caller learns how far it came.
    assert_eq!(advise(madv::COLLAPSE), Ok(HUGE));
    machine.exit_task(pid, 0).unwrap();
    assert_eq!(machine.process_madvise(boss, pid, &range, madv::COLD), Err(Errno::ESRCH));
    let task = machine.tasks.get_mut(&boss).unwrap();
    task.uid = 1000;
    let third = machine.spawn("third").unwrap();
    assert_eq!(machine.process_madvise(boss, third, &range, madv::COLD), Err(Errno::EPERM));
    machine.check().unwrap();
}

#[test]
fn huge_pages_of_a_pool_are_refused_without_one() {
    let (mut machine, pid) = machine();
    let hugetlb = machine.mmap(pid, VirtAddr(0), HUGE, RW, ANON | map::HUGETLB);
    assert_eq!(hugetlb, Err(Errno::ENOMEM));
    let file = machine.create_file("/f", HUGE).unwrap();
    let of_a_file = machine.mmap_file(pid, VirtAddr(0), HUGE, RW, map::SHARED | map::HUGETLB, (file, 0));
    assert_eq!(of_a_file, Err(Errno::EINVAL), "a file that is not of hugetlbfs");
    machine.touch(pid, AT, HUGE, Access::Write).unwrap();
    machine.check().unwrap();
}
