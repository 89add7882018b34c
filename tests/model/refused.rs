//! Calls that are refused: which number decided, and that a crime of a script is the kernel's complaint.

use crate::machines::{boot, pc};
use vmlab::mm::Machine;
use vmlab::mm::addr::VirtAddr;
use vmlab::mm::errno::Errno;
use vmlab::mm::memory::Access;
use vmlab::mm::mmap::{map, prot};
use vmlab::mm::refused::Refused;
use vmlab::mm::task::Pid;

const ANON: u64 = map::PRIVATE | map::ANONYMOUS;
const RW: u64 = prot::READ | prot::WRITE;
const AT: VirtAddr = VirtAddr(0x1000_0000);

fn process() -> (Machine, Pid) {
    let mut machine = boot(pc(1024, 6000, 1, 1));
    let pid = machine.spawn("x").unwrap();
    (machine, pid)
}

#[test]
fn the_number_that_decided_is_kept() {
    let (mut m, pid) = process();
    assert_eq!(m.mmap(pid, AT, 16 << 10, RW, ANON), Ok(AT));
    assert_eq!(m.mprotect(pid, AT, 32 << 10, prot::READ), Err(Errno::ENOMEM));
    assert_eq!(m.refused.take(), Some(Refused::Hole { at: AT.0 + (16 << 10) }));
    // The part before the hole was changed.
    let mm = m.mm_of(pid).unwrap();
    let area = m.find_vma(mm, AT).unwrap();
    assert!(!m.vmas[area].flags.is_data());

    assert_eq!(m.mmap(pid, VirtAddr(0), 1 << 40, RW, ANON), Err(Errno::ENOMEM));
    assert!(matches!(m.refused.take(), Some(Refused::Promise { mode: 0, asked, .. }) if asked == 1 << 28));
    assert_eq!(m.mmap(pid, VirtAddr(0), 1 << 46, prot::NONE, ANON), Ok(VirtAddr(0x3fff_f7ff_9000)));
    assert_eq!(m.mmap(pid, VirtAddr(0), 1 << 46, prot::NONE, ANON), Err(Errno::ENOMEM));
    assert_eq!(m.refused.take(), Some(Refused::Room { asked: 1 << 34 }));

    let has = m.mms[mm].total_vm;
    if let Some(task) = m.tasks.get_mut(&pid) {
        task.rlimits.address_space = (has + 3) << 12;
    }
    assert_eq!(m.mmap(pid, VirtAddr(0), 16 << 10, prot::READ, ANON), Err(Errno::ENOMEM));
    assert_eq!(m.refused.take(), Some(Refused::Limit { name: "RLIMIT_AS", has, asked: 4, limit: has + 3 }));
    if let Some(task) = m.tasks.get_mut(&pid) {
        task.rlimits.address_space = u64::MAX;
    }
    let hole = AT.0 + (16 << 10);
    assert_eq!(m.mincore(pid, AT, 32 << 10), Err(Errno::ENOMEM));
    assert_eq!(m.refused.take(), Some(Refused::Hole { at: hole }));
    assert_eq!(m.msync(pid, AT, 32 << 10, 4), Err(Errno::ENOMEM));
    assert_eq!(m.refused.take(), Some(Refused::Hole { at: hole }));
    assert_eq!(m.mprotect(pid, AT, u64::MAX - 4095, prot::READ), Err(Errno::ENOMEM));
    assert_eq!(m.refused.take(), Some(Refused::Wraps { at: AT.0, len: u64::MAX - 4095 }));

    m.sysctl.max_map_count = m.mms[mm].vmas.len() as u64;
    let most = m.sysctl.max_map_count;
    let hole = VirtAddr(AT.0 + 4096);
    assert_eq!(m.munmap(pid, hole, 4096), Err(Errno::ENOMEM));
    assert_eq!(m.refused.take(), Some(Refused::Areas { needed: most + 1, most }));
    m.check().unwrap();
}

#[test]
fn arguments_are_refused_in_the_kernels_order() {
    let (mut m, pid) = process();
    let shared = map::SHARED | map::ANONYMOUS;
    assert_eq!(m.mmap(pid, VirtAddr(0), 4096, RW, shared | map::GROWSDOWN), Err(Errno::EINVAL));
    assert!(m.mmap(pid, VirtAddr(0), 4096, RW, ANON | map::GROWSDOWN).is_ok());
    // The descriptor is looked for first.
    assert_eq!(m.mmap(pid, VirtAddr(0), 0, RW, map::PRIVATE), Err(Errno::EBADF));
    assert_eq!(m.mmap(pid, VirtAddr(0), 0, RW, ANON), Err(Errno::EINVAL));
    assert_eq!(m.shmget(0, 1 << 62, 0), Err(Errno::ENOMEM));
    let segments: Vec<i32> = (0..2).map(|_| m.shmget(0, 4096, 0).unwrap()).collect();
    let inodes: Vec<u64> = segments.iter().map(|id| m.files[m.shm.segments[id].file].ino).collect();
    assert_eq!(inodes, [0, 1], "maps shows a segment's number as its inode");
    m.check().unwrap();
}

#[test]
fn a_reference_of_a_table_is_not_the_callers() {
    let (mut m, pid) = process();
    m.mmap(pid, AT, 4096, RW, ANON).unwrap();
    m.touch(pid, AT, 4096, Access::Write).unwrap();
    let child = m.fork(pid).unwrap();
    let mm = m.mm_of(pid).unwrap();
    let pfn = m.tables.pte(m.mms[mm].pgd, AT).pfn();
    assert_eq!((m.mem_map.page(pfn).refcount, m.mem_map.page(pfn).mapcount()), (2, 2));
    let oops = m.own_reference(pfn).unwrap_err();
    assert!(oops.advice.contains("2 page-table entries"), "{}", oops.advice);
    m.mem_map.page_mut(pfn).refcount += 1;
    m.own_reference(pfn).unwrap();
    m.put_page(pfn).unwrap();
    for pid in [child, pid] {
        m.exit_task(pid, 0).unwrap();
    }
    m.check().unwrap();
}
