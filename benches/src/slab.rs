//! Rows 20 and 22: kmalloc and kfree beside an allocator of bytes that other kernels use; ten million objects beside one.
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
use vmlab::mm::slab_common::{Allocator, CacheArgs};

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

/// Takes so many objects of a cache, then gives all of them back, the oldest first; nanoseconds an object.
fn alive(allocator: Allocator, size: u64, objects: usize) -> f64 {
    let mut config = spec::pc(16, 1);
    config.slab = allocator;
    let mut machine =
        Machine::boot(config).unwrap_or_else(|e| panic!("the benchmark's machine does not boot: {e}"));
    let args = CacheArgs { name: "bench", size, ..CacheArgs::default() };
    let cache = machine.kmem_cache_create(&args).expect("the machine is large enough");
    let mut held = Vec::with_capacity(objects);
    timed(objects, || {
        for _ in 0..objects {
            held.push(machine.kmem_cache_alloc(cache, Gfp::KERNEL).expect("the machine is large enough"));
        }
        for object in held.drain(..) {
            machine.kmem_cache_free(cache, object).expect("it is an object");
        }
    })
}

/// Row 22: an object must not cost more because others are alive.
///
/// SLOB keeps its word for objects that fill a page. Of others each page has a rest that is too small, and first fit
/// passes by all of them before it asks for a new page, in the kernel as here: that is shown, not judged.
pub fn live(reps: usize) -> Vec<Row> {
    let row = |allocator, size, most: usize, measure: &str, anchor, judged| {
        let mut race = Race::default();
        race.add(|| alive(allocator, size, most / 10));
        race.add(|| alive(allocator, size, most));
        let mut samples = race.run(reps).into_iter();
        let (theirs, ours) = (samples.next().unwrap_or_default(), samples.next().unwrap_or_default());
        let goal = Goal::Within { floor: 1.5, ambitious: 1.15 };
        Row { number: "22", measure: measure.into(), ours, anchor, theirs, unit: "ns", goal, judged }
    };
    vec![
        row(Allocator::Slub, 64, LIVE, "10,000,000 objects alive, SLUB", "1,000,000", true),
        row(Allocator::Slab, 64, LIVE, "10,000,000 objects alive, SLAB", "1,000,000", true),
        row(Allocator::Slob, 64, LIVE, "10,000,000 objects alive, SLOB", "1,000,000", true),
        row(Allocator::Slob, 72, LIVE / 10, "1,000,000 of 72 bytes, SLOB", "100,000", false),
    ]
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
