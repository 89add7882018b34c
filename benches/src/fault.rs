//! What a page fault does to a page, without tables: take it, write its fields, link it into a list of reclaim.

use crate::buddy::{add_ways, rows_of_ways};
use crate::clock::{Race, timed};
use crate::spec;
use crate::table::{Goal, Row};
use std::cell::RefCell;
use vmlab::mm::Machine;
use vmlab::mm::addr::{Order, Pfn};
use vmlab::mm::gfp::Gfp;
use vmlab::mm::page::{List, PageFlags};

/// 1 GiB of pages, as if a task touched them; ns a page. They are freed outside of the clock.
fn fault_like(machine: &mut Machine) -> f64 {
    let mut list = List::default();
    let ns = timed(spec::GIB as usize, || {
        for index in 0..spec::GIB as u32 {
            let Ok(pfn) = machine.alloc_pages(Gfp::HIGHUSER_MOVABLE, Order::ZERO) else { break };
            let page = machine.mem_map.page_mut(pfn);
            page.set(PageFlags::LRU | PageFlags::UPTODATE | PageFlags::SWAPBACKED);
            (page.mapping, page.index) = (1, index);
            page.map();
            list.push_front(&mut machine.mem_map, pfn);
        }
    });
    while let Some(pfn) = list.pop_front(&mut machine.mem_map) {
        let page = machine.mem_map.page_mut(pfn);
        page.clear(PageFlags::LRU);
        page.mapping = 0;
        page.unmap();
        machine.put_page(pfn).unwrap_or_else(|e| panic!("{e}"));
    }
    assert_eq!(list.head, Pfn::NIL);
    ns
}

/// The bare loop, until tasks fault.
pub fn bare(reps: usize) -> Vec<Row> {
    let machine = RefCell::new(spec::boot(8, 1));
    let mut race = Race::default();
    race.add(|| f64::NAN);
    add_ways(&mut race, &machine, fault_like);
    rows_of_ways("", "page of a fault, tables apart", "", race.run(reps), Goal::Context)
}

/// Our side alone, for a profiler.
pub fn alone() {
    let mut machine = spec::boot(8, 1);
    println!("fault-like: {:.2} ns a page", fault_like(&mut machine));
}
