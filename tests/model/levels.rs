//! Every shape of page tables: the same program on each, and the tables it takes.

use vmlab::import::spec;
use vmlab::mm::Machine;
use vmlab::mm::addr::VirtAddr;
use vmlab::mm::memory::Access;
use vmlab::mm::mmap::{map, prot};
use vmlab::mm::task::Pid;
use vmlab::mm::vmstat::NodeStat;

fn boot(text: &str) -> Machine {
    Machine::boot(spec::machine("levels", "levels.yaml", text).expect("a spec")).expect("a machine")
}

fn map_and_touch(machine: &mut Machine, pid: Pid, at: u64, len: u64) {
    let flags = map::PRIVATE | map::ANONYMOUS | map::FIXED;
    let addr = machine.mmap(pid, VirtAddr(at), len, prot::READ | prot::WRITE, flags).expect("room");
    machine.touch(pid, addr, len, Access::Write).expect("memory");
}

/// Levels, what `pgtables_bytes` grows by for one page at 1 GiB and for one more page 2 MiB above.
#[test]
fn a_page_takes_the_tables_of_its_machine() {
    for (text, levels, first, second) in [
        ("arch: i386\nmem: 512M\n", 2, 4096, 0),
        // The PMD of each GiB of user space comes with the PGD.
        ("arch: i386_pae\nmem: 512M\n", 3, 4096, 4096),
        ("arch: uml\nmem: 512M\n", 3, 2 * 4096, 4096),
        ("arch: x86_64\nmem: 512M\n", 4, 3 * 4096, 4096),
        ("arch: arm64\nmem: 512M\n", 4, 3 * 4096, 4096),
        // Tables of the fourth level are not counted, those of the kernel neither.
        ("arch: x86_64\nmem: 512M\nla57: true\n", 5, 3 * 4096, 4096),
    ] {
        let mut machine = boot(text);
        assert_eq!(machine.tables.geometry.levels(), levels, "{text}");
        let pid = machine.spawn("levels").expect("a task");
        let mm = machine.tasks[&pid].mm.expect("an address space");
        let bytes = |m: &Machine| m.mms[mm].pgtables_bytes;
        let (tables, stat) = (bytes(&machine), machine.node_stat(NodeStat::PageTablePages));
        map_and_touch(&mut machine, pid, 0x4000_0000, 4096);
        let one = bytes(&machine);
        map_and_touch(&mut machine, pid, 0x4020_0000, 4096);
        assert_eq!((one - tables, bytes(&machine) - one), (first, second), "{text}");
        let steps = machine.walk(machine.mms[mm].pgd, VirtAddr(0x4020_0000));
        assert_eq!(steps.len(), usize::from(levels), "{text}");
        machine.check().expect("invariants");
        machine.munmap(pid, VirtAddr(0x4000_0000), 4 << 20).expect("mapped");
        let left = if levels == 3 && first == 4096 { tables - 4096 } else { tables };
        assert_eq!(bytes(&machine), left, "a PMD of PAE goes with its last table\n{text}");
        machine.check().expect("invariants");
        machine.kill_task(pid).expect("alive");
        assert!(machine.node_stat(NodeStat::PageTablePages) <= stat, "{text}");
        machine.check().expect("invariants");
    }
}

/// Fork, copy on write and exit where two leaves share a frame.
#[test]
fn fork_copies_the_wide_tables_of_i386() {
    let mut machine = boot("arch: i386\nmem: 1G\n");
    let before = machine.nr_free_and_pcp_pages();
    let parent = machine.spawn("parent").expect("a task");
    map_and_touch(&mut machine, parent, 0x0812_3000, 9 << 20);
    let child = machine.fork(parent).expect("a child");
    machine.touch(child, VirtAddr(0x0812_3000), 9 << 20, Access::Write).expect("memory");
    machine.check().expect("invariants");
    let walk = |pid| {
        let mm = machine.tasks[&pid].mm.expect("an address space");
        machine.walk(machine.mms[mm].pgd, VirtAddr(0x0832_3000))
    };
    assert_ne!(walk(parent)[1].table, walk(child)[1].table);
    assert_eq!(walk(parent)[1].index, 0x323, "an index of ten bits");
    machine.kill_task(child).expect("alive");
    machine.kill_task(parent).expect("alive");
    machine.shrink_all_caches();
    machine.check().expect("invariants");
    assert_eq!(machine.nr_free_and_pcp_pages(), before, "everything came back");
}

/// The limits of user space are those of the machine.
#[test]
fn user_space_ends_where_the_machine_says() {
    for (text, end) in [
        ("arch: i386\nmem: 512M\n", 0xc000_0000),
        ("arch: arm64\nmem: 512M\n", 1 << 48),
        ("arch: uml\nmem: 512M\n", 0x7f_c000_0000),
        ("arch: x86_64\nmem: 512M\n", 0x7fff_ffff_f000),
    ] {
        let mut machine = boot(text);
        let pid = machine.spawn("edge").expect("a task");
        let flags = map::PRIVATE | map::ANONYMOUS | map::FIXED;
        let mut try_at = |at: u64| machine.mmap(pid, VirtAddr(at), 4096, prot::READ, flags);
        assert!(try_at(end).is_err(), "{text}");
        assert!(try_at(end - 0x1000_0000).is_ok(), "{text}");
        machine.check().expect("invariants");
    }
}

/// An address beyond what the tables translate is none, also where its lower bits name a page.
#[test]
fn nothing_lies_beyond_the_tables() {
    for text in ["arch: i386\nmem: 512M\n", "arch: uml\nmem: 512M\n", "arch: x86_64\nmem: 512M\n"] {
        let mut machine = boot(text);
        let bits = machine.tables.geometry.address_bits();
        let pid = machine.spawn("beyond").expect("a task");
        map_and_touch(&mut machine, pid, 0x2000_0000, 4096);
        assert!(machine.touch(pid, VirtAddr(0x2000_0000 + (1 << bits)), 1, Access::Read).is_err(), "{text}");
        machine.check().expect("invariants");
    }
}
