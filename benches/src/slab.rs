//! Row 20: kmalloc and kfree beside an allocator of bytes that other kernels use.
//!
//! `linked_list_allocator` searches one list of holes and keeps no size classes; no simulator of slabs was found to
//! measure beside.

use crate::buddy::{Arena, add_ways, rows_of_ways};
use crate::clock::{Race, timed};
use crate::spec;
use crate::table::{Goal, Row};
use linked_list_allocator::Heap;
use std::alloc::Layout;
use std::cell::RefCell;
use vmlab::mm::Machine;
use vmlab::mm::gfp::Gfp;

const PAIRS: usize = 1 << 20;
/// Objects alive at once in the bulk row.
const LIVE: usize = 10_000_000;

fn ours(machine: &mut Machine) -> f64 {
    timed(PAIRS, || {
        for _ in 0..PAIRS {
            let object = machine.kmalloc(64, Gfp::KERNEL).expect("the machine is large enough");
            machine.kfree(std::hint::black_box(object)).expect("it is an object");
        }
    })
}

fn theirs(heap: &mut Heap) -> f64 {
    let layout = Layout::from_size_align(64, 8).expect("a layout");
    timed(PAIRS, || {
        for _ in 0..PAIRS {
            let object = heap.allocate_first_fit(layout).expect("the arena is large enough");
            // SAFETY: it was allocated above with this layout, and nobody else has it.
            unsafe { heap.deallocate(std::hint::black_box(object), layout) };
        }
    })
}

/// Row 20.
pub fn pairs(reps: usize) -> Vec<Row> {
    let (arena, machine) = (Arena::new(), RefCell::new(spec::boot(8, 1)));
    let mut heap = Heap::empty();
    // SAFETY: the arena is mapped, writable, outlives the heap, and nobody else uses it.
    unsafe { heap.init(arena.base(), 1 << 30) };
    let mut race = Race::default();
    race.add(|| theirs(&mut heap));
    add_ways(&mut race, &machine, ours);
    let goal = Goal::Faster { floor: 0.3, ambitious: 1.0 };
    rows_of_ways("20", "kmalloc(64) and kfree", "linked_list_allocator", race.run(reps), goal)
}

/// Ten million objects taken and given back, nanoseconds a pair: for a profiler.
pub fn alone() {
    let mut machine = spec::boot(8, 1);
    let mut objects = Vec::with_capacity(LIVE);
    let ns = timed(LIVE, || {
        for _ in 0..LIVE {
            objects.push(machine.kmalloc(64, Gfp::KERNEL).expect("the machine is large enough"));
        }
        for object in objects.drain(..) {
            machine.kfree(object).expect("it is an object");
        }
    });
    println!("row 20: {ns:.2} ns a pair, {LIVE} objects live");
}
