//! Areas of vmalloc against a model: a list of ranges, searched from the bottom.

use vmlab::import::spec;
use vmlab::mm::Machine;
use vmlab::mm::addr::{Order, PAGE_SIZE, VirtAddr};
use vmlab::mm::gfp::Gfp;
use vmlab::mm::machine::Dice;

fn boot(text: &str) -> Machine {
    Machine::boot(spec::machine("vmalloc", "vmalloc.yaml", text).expect("a spec")).expect("a machine")
}

/// Which addresses are taken, and nothing else.
struct Model {
    start: u64,
    taken: Vec<(u64, u64)>,
    lazy: Vec<(u64, u64)>,
}

impl Model {
    fn alloc(&mut self, size: u64, align: u64) -> u64 {
        let size = size.next_multiple_of(PAGE_SIZE) + PAGE_SIZE;
        let mut all: Vec<(u64, u64)> = self.taken.iter().chain(&self.lazy).copied().collect();
        all.sort_unstable();
        let mut at = self.start;
        for (start, end) in all {
            if at.next_multiple_of(align) + size <= start {
                break;
            }
            at = at.max(end);
        }
        let at = at.next_multiple_of(align);
        self.taken.push((at, at + size));
        at
    }

    fn free(&mut self, start: u64) {
        let n = self.taken.iter().position(|(at, _)| *at == start).expect("taken");
        self.lazy.push(self.taken.swap_remove(n));
    }
}

#[test]
fn addresses_are_the_lowest_that_fit() {
    for (text, seed) in
        [("arch: x86_64\nmem: 512M\n", 1), ("arch: i386\nmem: 1G\n", 2), ("arch: i386_pae\nmem: 1G\n", 3)]
    {
        let mut machine = boot(text);
        let mut model = Model { start: machine.layout.vmalloc.start, taken: Vec::new(), lazy: Vec::new() };
        let mut dice = Dice::new(seed);
        let before = machine.nr_free_and_pcp_pages();
        for step in 0..600 {
            match dice.below(5) {
                0..3 => {
                    let size = 1 + dice.below(9 * PAGE_SIZE);
                    let addr = machine.vmalloc(size, Gfp::KERNEL).expect("no BUG").expect("memory");
                    assert_eq!(addr.0, model.alloc(size, PAGE_SIZE), "{text}: step {step}");
                }
                3 => {
                    let size = 1 + dice.below(5 * PAGE_SIZE);
                    let align = size.next_multiple_of(PAGE_SIZE).next_power_of_two();
                    let addr = machine.ioremap(0xfed0_0000, size).expect("no BUG").expect("room");
                    assert_eq!(addr.0, model.alloc(size, align), "{text}: step {step}");
                }
                _ if model.taken.is_empty() => {}
                _ => {
                    let (start, _) = model.taken[dice.below(model.taken.len() as u64) as usize];
                    let io = machine.vmalloc.area(start).expect("an area").phys.is_some();
                    let addr = VirtAddr(start);
                    if io { machine.iounmap(addr) } else { machine.vfree(addr) }.expect("no complaint");
                    model.free(start);
                }
            }
            if step % 150 == 149 {
                machine.purge_vmap_area_lazy();
                model.lazy.clear();
                machine.check().expect("invariants");
            }
        }
        for (start, _) in model.taken {
            let io = machine.vmalloc.area(start).expect("an area").phys.is_some();
            let addr = VirtAddr(start);
            if io { machine.iounmap(addr) } else { machine.vfree(addr) }.expect("no complaint");
        }
        machine.check().expect("invariants");
        let tables = before - machine.nr_free_and_pcp_pages();
        assert!(tables <= 8, "{text}: only page tables stay, {tables} pages");
    }
}

/// Whichever page allocation fails, nothing is lost and nothing stays half made.
#[test]
fn every_failure_of_vmalloc_is_clean() {
    let mut machine = boot("arch: x86_64\nmem: 512M\n");
    let keep = machine.vmalloc(4096, Gfp::KERNEL).expect("no BUG").expect("memory");
    // Large enough for a page array in vmalloc.
    let size = 600 * PAGE_SIZE;
    for nth in (1..620).step_by(23) {
        machine.set_fail_nth(nth);
        let before = machine.vmalloc.nr_pages;
        let answer = machine.vmalloc(size, Gfp::KERNEL).expect("no BUG");
        machine.set_fail_nth(0);
        machine.check().expect("invariants");
        if let Ok(addr) = answer {
            machine.vfree(addr).expect("an area");
        }
        assert_eq!(machine.vmalloc.nr_pages, before, "failure {nth}");
    }
    machine.vfree(keep).expect("an area");
    machine.check().expect("invariants");
}

/// Freed addresses gather, and are purged when there are too many.
#[test]
fn lazy_pages_never_pass_their_limit() {
    let mut machine = boot("arch: x86_64\nmem: 512M\n");
    for _ in 0..200 {
        let addr = machine.vmalloc(255 * PAGE_SIZE, Gfp::KERNEL).expect("no BUG").expect("memory");
        machine.vfree(addr).expect("an area");
        assert!(machine.vmalloc.lazy_nr <= machine.lazy_max_pages());
    }
    assert!(machine.vmalloc.purges > 0);
    machine.check().expect("invariants");
}

/// A full vmalloc room is a refusal, and the pages come back.
#[test]
fn a_small_room_fills_up() {
    let mut machine = boot("arch: i386\nmem: 1G\n");
    let mut areas = Vec::new();
    while let Ok(addr) = machine.ioremap(0xf000_0000, 4 << 20).expect("no BUG") {
        areas.push(addr);
        assert!(areas.len() < 64, "the room has 128 MiB");
    }
    assert!(areas.len() >= 8);
    machine.check().expect("invariants");
    areas.into_iter().for_each(|addr| machine.iounmap(addr).expect("an area"));
    assert!(
        machine.ioremap(0xf000_0000, 4 << 20).expect("no BUG").is_ok(),
        "what was freed is purged when needed"
    );
    machine.check().expect("invariants");
}

/// The 1025th user of the pool sleeps, and the next free entry is its own.
#[test]
fn kmap_sleeps_and_is_woken() {
    for (text, entries) in [("arch: i386\nmem: 2G\n", 1024), ("arch: i386_pae\nmem: 2G\n", 512)] {
        let mut machine = boot(text);
        let pages: Vec<_> =
            (0..=entries).map(|_| machine.alloc_pages(Gfp::HIGHUSER, Order::ZERO).expect("memory")).collect();
        assert!(pages.iter().all(|pfn| machine.is_highmem_page(*pfn)));
        for pfn in &pages[..entries] {
            assert!(machine.kmap(*pfn).expect("no BUG").is_some());
        }
        assert_eq!(machine.kmap(pages[entries]).expect("no BUG"), None);
        let task = machine.spawn("reader").expect("a task");
        assert_eq!(machine.kmap_as(task, pages[entries]).expect("no BUG"), None);
        machine.check().expect("invariants");
        machine.kunmap(pages[7]).expect("mapped");
        assert!(!machine.highmem.is_waiting(task));
        assert!(machine.highmem.entry_of(pages[entries]).is_some());
        assert!(machine.kunmap(pages[7]).is_err(), "it was cleared");
        machine.check().expect("invariants");
    }
}

/// Short mappings nest; a wrong order is a complaint and changes nothing.
#[test]
fn short_mappings_nest() {
    let mut machine = boot("arch: i386\nmem: 2G\n");
    let pages: Vec<_> =
        (0..17).map(|_| machine.alloc_pages(Gfp::HIGHUSER, Order::ZERO).expect("memory")).collect();
    let maps: Vec<_> =
        pages[..16].iter().map(|pfn| machine.kmap_local(*pfn, false).expect("a slot")).collect();
    assert!(machine.kmap_local(pages[16], false).is_err(), "16 slots");
    assert!(machine.kunmap_local(maps[3], false).is_err());
    machine.check().expect("invariants");
    maps.iter().rev().for_each(|addr| machine.kunmap_local(*addr, false).expect("the last one"));
    assert!(machine.kunmap_local(maps[0], false).is_err());
    machine.check().expect("invariants");
}

/// The rooms are those that the captured kernels printed.
#[test]
fn rooms_are_those_of_the_recorded_machines() {
    for (name, total_kb, pkmap) in [
        ("i386-2G", 122_880, 1024),
        ("i386-pae-1G", 122_880, 512),
        ("i386-pae-512M", 499_844, 512),
        ("i386-pae-6G", 122_880, 512),
        ("x86_64-1G", 34_359_738_367, 0),
        ("arm64-1G", 133_143_592_960, 0),
        ("uml-64M", 533_815_280, 0),
    ] {
        let machine = Machine::boot(vmlab::import::shipped::get(name).expect("shipped")).expect("boots");
        let room = &machine.layout.vmalloc;
        assert_eq!((room.end - room.start) >> 10, total_kb, "{name}");
        assert_eq!(machine.highmem.counts().len(), pkmap, "{name}");
    }
}

#[test]
fn kvmalloc_falls_back_only_where_the_kernel_does() {
    let mut m = boot("arch: x86_64\nmem: 64M\n");
    let is_area = |m: &Machine, addr| m.is_vmalloc_addr(addr);
    let small = m.kvmalloc(PAGE_SIZE, Gfp::KERNEL).expect("no oops").expect("a page");
    let large = m.kvmalloc(8 << 20, Gfp::KERNEL).expect("no oops").expect("an area");
    assert_eq!([is_area(&m, small), is_area(&m, large)], [false, true]);
    assert!(m.kvmalloc(8 << 20, Gfp::ATOMIC).expect("no oops").is_err(), "it may not sleep");
    assert!(m.kvmalloc(1 << 31, Gfp::KERNEL).expect("no oops").is_err(), "above INT_MAX");

    // Every second page is taken, of the reserves too: no block of two, pages enough.
    let mut held = Vec::new();
    while let Ok(pfn) = m.alloc_pages(Gfp::NOWAIT | Gfp::NOWARN | Gfp::MEMALLOC, Order::ZERO) {
        held.push(pfn);
    }
    for pfn in held.iter().filter(|pfn| pfn.0 % 2 == 0) {
        m.free_pages(*pfn, Order::ZERO).expect("it was given");
    }
    let broken = m.kvmalloc(4 * PAGE_SIZE, Gfp::KERNEL).expect("no oops").expect("pages are there");
    assert!(is_area(&m, broken), "{broken} came from kmalloc");

    for addr in [small, large, broken] {
        m.kvfree(addr).expect("it was given");
    }
    assert!(m.kvfree(large).is_err(), "freed twice");
    m.check().expect("invariants");
}
