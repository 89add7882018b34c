//! Rules of the allocator that are broken: what the kernel says, and that nothing is lost by it.

use crate::machines::{boot, pc};
use vmlab::mm::Machine;
use vmlab::mm::addr::{Order, Pfn, VirtAddr};
use vmlab::mm::gfp::Gfp;
use vmlab::mm::mmap::{map, prot};
use vmlab::mm::page::PageFlags;
use vmlab::mm::pgtable::{Pte, index};

fn order(n: u8) -> Order {
    Order::new(n).unwrap()
}

fn machine(cmdline: &str) -> Machine {
    let mut config = pc(1024, 8192, 1, 1);
    config.cmdline = cmdline.into();
    boot(config)
}

/// The frame behind an address of a task.
fn frame(machine: &Machine, pid: u32, addr: VirtAddr) -> Pfn {
    let mm = machine.tasks[&pid].mm.unwrap();
    let leaf = machine.tables.leaf(machine.mms[mm].pgd, addr).unwrap();
    Pte(machine.tables.get(leaf).entries[index(addr, 0)]).pfn()
}

fn log(machine: &Machine) -> String {
    machine.log().map(|line| format!("{}\n", line.text)).collect()
}

#[test]
fn the_middle_of_a_compound_page_is_not_freed() {
    let mut machine = machine("");
    let head = machine.alloc_pages(Gfp::KERNEL | Gfp::COMP, order(2)).unwrap();
    for (pfn, free, reason) in [
        (head.up(1), order(0), "VM_BUG_ON_PAGE(PageTail(page))"),
        (head, order(1), "VM_BUG_ON_PAGE(compound && compound_order(page) != order)"),
    ] {
        let oops = machine.free_pages(pfn, free).unwrap_err();
        assert!(oops.line.ends_with(reason), "{oops}");
        assert!(log(&machine).contains(&format!("page dumped because: {reason}\n")));
    }
    assert!(log(&machine).contains(" order:2 compound_mapcount:0 compound_pincount:0\n"));
    // A reference to any of its pages is one to all of it.
    machine.mem_map.page_mut(head).refcount += 1;
    machine.put_page(head.up(3)).unwrap();
    assert_eq!(machine.mem_map.page(head).refcount, 1);
    machine.put_page(head.up(2)).unwrap();
    assert_eq!(machine.mem_map.page(head).refcount, 0);
    machine.check().unwrap();
}

#[test]
fn a_plain_block_is_freed_around_a_page_that_somebody_holds() {
    let mut machine = machine("");
    let used = machine.check().unwrap().used;
    let pfn = machine.alloc_pages(Gfp::KERNEL, order(3)).unwrap();
    machine.mem_map.page_mut(pfn).refcount += 1;
    machine.free_pages(pfn, order(3)).unwrap();
    assert_eq!(machine.check().unwrap().used, used + 1, "seven of eight pages are free");
    assert_eq!((machine.mem_map.page(pfn).refcount, machine.mem_map.page(pfn).order()), (1, Order::ZERO));
    machine.put_page(pfn).unwrap();
    assert_eq!(machine.check().unwrap().used, used);
}

#[test]
fn a_reserved_or_free_page_is_a_bad_page() {
    let mut machine = machine("");
    let pfn = machine.alloc_pages(Gfp::KERNEL, Order::ZERO).unwrap();
    machine.free_pages(pfn, Order::ZERO).unwrap();
    let oops = machine.free_pages(pfn, Order::ZERO).unwrap_err();
    assert_eq!(oops.line, format!("BUG: Bad page state in process script  pfn:{:05x}", pfn.0));
    assert!(oops.advice.contains("page dumped because: nonzero _refcount"), "{oops}");
    let mut machine = boot(vmlab::import::shipped::get("tiny").unwrap());
    let is_reserved = |pfn: &Pfn| machine.mem_map.page(*pfn).is(PageFlags::RESERVED);
    let frames = (0..machine.mem_map.end_pfn()).map(Pfn).filter(|pfn| machine.mem_map.contains(*pfn));
    let reserved = frames.into_iter().find(is_reserved);
    let oops = machine.free_pages(reserved.unwrap(), Order::ZERO).unwrap_err();
    assert!(oops.advice.contains("PAGE_FLAGS_CHECK_AT_FREE flag(s) set"), "{oops}");
    assert!(log(&machine).contains("(reserved|node=0|zone=0|lastcpupid=0x1fffff)\n"), "{}", log(&machine));
    machine.check().unwrap();
}

#[test]
fn a_freed_page_that_is_written_is_found_out_when_it_is_given_out() {
    let mut machine = machine("page_poison=1");
    let pfn = machine.alloc_pages(Gfp::KERNEL, Order::ZERO).unwrap();
    let mut bytes = [0; 4];
    machine.read_phys(pfn, 0, &mut bytes);
    assert_eq!(bytes, [0xaa; 4], "a page that nobody cleared holds the pattern");
    machine.write_phys(pfn, 0, &[7; 4]);
    machine.free_pages(pfn, Order::ZERO).unwrap();
    machine.read_phys(pfn, 0, &mut bytes);
    assert_eq!(bytes, [0xaa; 4], "freeing fills it");
    machine.write_phys(pfn, 32, b"late");
    assert_eq!(machine.alloc_pages(Gfp::KERNEL, Order::ZERO), Ok(pfn));
    let said = log(&machine);
    assert!(said.contains("pagealloc: memory corruption\n"), "{said}");
    assert!(said.contains(": 6c 61 74 65                                      late\n"), "{said}");
    assert!(said.contains("page dumped because: pagealloc: corrupted page details\n"), "{said}");
    // One bit has another word.
    machine.free_pages(pfn, Order::ZERO).unwrap();
    machine.write_phys(pfn, 100, &[0xaa ^ 0x10]);
    machine.alloc_pages(Gfp::KERNEL, Order::ZERO).unwrap();
    assert!(log(&machine).contains("pagealloc: single bit error\n"));
    machine.check().unwrap();
}

#[test]
fn a_late_write_does_not_reach_a_page_of_zeros() {
    for cmdline in ["", "page_poison=1"] {
        let mut machine = machine(cmdline);
        let pid = machine.spawn("victim").unwrap();
        let base = machine
            .mmap(pid, VirtAddr(0), 1 << 20, prot::READ | prot::WRITE, map::PRIVATE | map::ANONYMOUS)
            .unwrap();
        let pfn = machine.alloc_pages(Gfp::HIGHUSER_MOVABLE, Order::ZERO).unwrap();
        machine.free_pages(pfn, Order::ZERO).unwrap();
        machine.write_phys(pfn, 8, &[1; 8]);
        machine.write_user(pid, base, 5).unwrap();
        assert_eq!(frame(&machine, pid, base), pfn, "the page came back");
        assert_eq!(machine.read_user(pid, VirtAddr(base.0 + 8)), Ok(0), "{cmdline}");
        // Without __GFP_ZERO what was written is there.
        machine.exit_task(pid, 0).unwrap();
    }
}

#[test]
fn a_page_knows_who_asked_for_it() {
    let mut config = pc(1024, 1 << 16, 1, 1);
    config.cmdline = "page_owner=on".into();
    let mut machine = boot(config);
    machine.charge(1_000_000);
    let pid = machine.spawn("cc").unwrap();
    let base = machine
        .mmap(pid, VirtAddr(0), 8 << 20, prot::READ | prot::WRITE, map::PRIVATE | map::ANONYMOUS)
        .unwrap();
    // A page whose pageblock holds nothing that must stay.
    let pages = (0..2048).map(|n| VirtAddr(base.0 + n * 4096)).collect::<Vec<_>>();
    pages.iter().for_each(|at| machine.write_user(pid, *at, 42).unwrap());
    let stays = |m: &Machine, pfn: u32| {
        let page = m.mem_map.page(Pfn(pfn));
        page.refcount > 0 && page.mapcount() == 0
    };
    let movable = |m: &Machine, pfn: Pfn| (0..512).all(|n| !stays(m, (pfn.0 & !511) + n));
    let base = *pages.iter().find(|at| movable(&machine, frame(&machine, pid, **at))).unwrap();
    let pfn = frame(&machine, pid, base);
    let owner = *machine.page_owner.get(pfn).unwrap();
    assert_eq!(
        (owner.pid, owner.comm.as_str(), owner.order, owner.allocated),
        (pid, "cc", Order::ZERO, true)
    );
    assert!(owner.gfp.has(Gfp::HIGHUSER_MOVABLE) && owner.ts >= 1_000_000);
    // The record goes where the page goes.
    let block = pfn.0 & !511;
    machine.alloc_contig_range(block..block + 512, Gfp::KERNEL).unwrap();
    let moved = frame(&machine, pid, base);
    let owner = machine.page_owner.get(moved).unwrap();
    assert_eq!((owner.comm.as_str(), owner.migrate_reason.unwrap().name()), ("cc", "contig_range"));
    assert_ne!(moved, pfn);
    machine.free_contig_range(Pfn(block), 512).unwrap();
    machine.exit_task(pid, 0).unwrap();
    let owner = machine.page_owner.get(moved).unwrap();
    assert!(!owner.allocated && owner.free_ts > owner.ts);
    machine.check().unwrap();
    // A bad page is dumped with its record.
    let pfn = machine.alloc_pages(Gfp::KERNEL, order(1)).unwrap();
    machine.free_pages(pfn, order(2)).unwrap_err();
    let said = log(&machine);
    assert!(said.contains("page_owner tracks the page as allocated\npage last allocated via order 1, migratetype Unmovable, gfp_mask 0xcc0(GFP_KERNEL), pid 24, tgid 24 (script), ts "), "{said}");
}

#[test]
fn pages_of_the_boot_belong_to_swapper_and_a_wrong_word_is_told() {
    let machine = machine("page_owner=1 page_poison=maybe root=/dev/vda");
    let said = log(&machine);
    assert!(said.contains("Malformed early option 'page_poison'\n"), "{said}");
    assert!(said.contains("Unknown kernel command line parameters \"root=/dev/vda\""), "{said}");
    assert!(machine.page_owner.enabled && !machine.page_poison.enabled);
    assert!(machine.page_owner.allocated().all(|(_, owner)| owner.comm.as_str() == "swapper/0"));
    machine.check().unwrap();
}
