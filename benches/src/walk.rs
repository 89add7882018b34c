//! Rows 2 and 3: touching resident pages, beside a crate that walks page tables and beside a bare counter.

use crate::buddy::{add_ways, rows_of_ways};
use crate::clock::{Race, timed};
use crate::spec;
use crate::table::{Goal, Row};
use crate::vm::Process;
use std::cell::RefCell;
use std::hint::black_box;
use vmlab::mm::Machine;
use vmlab::mm::addr::VirtAddr;
use vmlab::mm::machine::Dice;
use vmlab::mm::memory::Access;
use x86_64::structures::paging::mapper::Translate;
use x86_64::structures::paging::{
    FrameAllocator, Mapper, OffsetPageTable, Page, PageTable, PageTableFlags, PhysFrame, Size4KiB,
};
use x86_64::{PhysAddr, VirtAddr as HardwareAddr};

const TOUCHES: usize = 1 << 20;

/// Offsets of random pages of 1 GiB.
fn random_pages(pages: u64) -> Vec<u64> {
    let mut dice = Dice::new(2);
    (0..TOUCHES).map(|_| dice.below(pages) << 12).collect()
}

/// Frames of the crate's tables: memory of this process, where a physical address is a pointer.
struct Tables;

// SAFETY: every frame is a fresh page, given once and never freed.
unsafe impl FrameAllocator<Size4KiB> for Tables {
    fn allocate_frame(&mut self) -> Option<PhysFrame> {
        let table = Box::leak(Box::new(PageTable::new()));
        Some(PhysFrame::containing_address(PhysAddr::new(std::ptr::from_mut(table) as u64)))
    }
}

/// Tables that map 1 GiB, with the offset 0 between physical and virtual addresses.
fn hardware_tables(base: u64) -> OffsetPageTable<'static> {
    let top = Box::leak(Box::new(PageTable::new()));
    // SAFETY: all tables are pages of this process, found at their own addresses.
    let mut tables = unsafe { OffsetPageTable::new(top, HardwareAddr::new(0)) };
    let flags = PageTableFlags::PRESENT | PageTableFlags::WRITABLE;
    for page in 0..spec::GIB {
        let at = Page::<Size4KiB>::containing_address(HardwareAddr::new(base + (page << 12)));
        let frame = PhysFrame::containing_address(PhysAddr::new((1 << 32) + (page << 12)));
        // SAFETY: nobody ever loads these tables into a processor.
        unsafe { tables.map_to(at, frame, flags, &mut Tables) }.expect("the tables map 1 GiB").ignore();
    }
    tables
}

/// Row 2.
pub fn random(reps: usize) -> Vec<Row> {
    let (machine, pages) = (RefCell::new(spec::boot(8, 1)), random_pages(spec::GIB));
    let tables = hardware_tables(0x7000_0000_0000);
    let process = Process::resident(&mut machine.borrow_mut());
    let mut race = Race::default();
    race.add(|| {
        timed(TOUCHES, || {
            for page in &pages {
                black_box(tables.translate_addr(HardwareAddr::new(0x7000_0000_0000 + page)));
            }
        })
    });
    add_ways(&mut race, &machine, |m| touch_all(m, &process, &pages));
    let goal = Goal::Within { floor: 4.0, ambitious: 2.0 };
    rows_of_ways(
        "2",
        "touch of a resident page, random over 1 GiB",
        "x86_64 translate_addr",
        race.run(reps),
        goal,
    )
}

/// Row 3: 64 pages again and again, all of them in the TLB.
pub fn hot_set(reps: usize) -> Vec<Row> {
    let (machine, pages) = (RefCell::new(spec::boot(8, 1)), random_pages(64));
    let process = Process::resident(&mut machine.borrow_mut());
    let mut race = Race::default();
    race.add(|| {
        // As many counters as there are pages; the compiler cannot make one addition of them.
        let mut counters = [0u64; 64];
        timed(TOUCHES, || {
            for page in &pages {
                counters[(page >> 12) as usize % 64] += 1;
            }
            black_box(&mut counters);
        })
    });
    add_ways(&mut race, &machine, |m| touch_all(m, &process, &pages));
    let goal = Goal::Within { floor: 15.0, ambitious: 5.0 };
    rows_of_ways("3", "touch in the TLB, 64 pages", "counter of a page", race.run(reps), goal)
}

fn touch_all(machine: &mut Machine, process: &Process, pages: &[u64]) -> f64 {
    let base = process.base.0;
    timed(pages.len(), || {
        let trace = pages.iter().map(|page| (VirtAddr(base + page), Access::Write));
        machine.touch_each(process.pid, trace).unwrap_or_else(|e| panic!("{e:?}"))
    })
}
