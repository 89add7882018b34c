//! Rows 4, 5 and 6: the page allocator beside the allocators of other crates.
//!
//! The peers keep nothing but their free blocks. We keep zones, watermarks, migratetypes, per-CPU lists, counters,
//! a record for `explain()` and events; the ratio says what that costs.

use crate::clock::{Race, Sample, timed};
use crate::spec;
use crate::table::{Goal, Row};
use buddy_alloc::buddy_alloc::{BuddyAlloc, BuddyAllocParam};
use buddy_system_allocator::FrameAllocator;
use std::cell::RefCell;
use vmlab::mm::Machine;
use vmlab::mm::addr::{Order, Pfn};
use vmlab::mm::gfp::Gfp;
use vmlab::mm::machine::Dice;

const MASK: Gfp = Gfp::HIGHUSER_MOVABLE;
/// Pages of the peers' arena: 4 GiB.
const ARENA: usize = 1 << 20;
/// Pages of one bulk run: 1 GiB.
const BULK: usize = 1 << 18;
const PING_PONGS: usize = 1 << 20;

/// Something that gives and takes back blocks of pages.
trait Pages {
    type Block: Copy;
    fn take(&mut self, order: Order) -> Self::Block;
    fn give(&mut self, block: Self::Block, order: Order);
}

impl Pages for Machine {
    type Block = Pfn;

    #[inline(always)]
    fn take(&mut self, order: Order) -> Pfn {
        self.alloc_pages(MASK, order).unwrap_or_else(|e| panic!("the machine is too small: {e:?}"))
    }

    #[inline(always)]
    fn give(&mut self, block: Pfn, order: Order) {
        self.free_pages(block, order).unwrap_or_else(|e| panic!("{e}"));
    }
}

impl Pages for BuddyAlloc {
    type Block = *mut u8;

    #[inline(always)]
    fn take(&mut self, order: Order) -> *mut u8 {
        let block = self.malloc((order.pages() as usize) << 12);
        assert!(!block.is_null());
        block
    }

    #[inline(always)]
    fn give(&mut self, block: *mut u8, _order: Order) {
        self.free(block);
    }
}

impl Pages for FrameAllocator {
    type Block = usize;

    #[inline(always)]
    fn take(&mut self, order: Order) -> usize {
        self.alloc(order.pages() as usize).expect("the arena is large enough")
    }

    #[inline(always)]
    fn give(&mut self, block: usize, order: Order) {
        self.dealloc(block, order.pages() as usize);
    }
}

/// buddy-alloc keeps its lists inside the free memory, so it gets real memory.
pub struct Arena {
    base: *mut u8,
}

impl Arena {
    pub fn new() -> Arena {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a fresh private mapping at a place of the kernel's choice touches nothing that exists.
        let base = unsafe {
            libc::mmap(std::ptr::null_mut(), ARENA << 12, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0)
        };
        assert_ne!(base, libc::MAP_FAILED, "no 4 GiB of address space");
        Arena { base: base.cast() }
    }

    /// Where it begins.
    pub fn base(&self) -> *mut u8 {
        self.base
    }

    fn buddy_alloc(&self) -> BuddyAlloc {
        // SAFETY: the arena is mapped, zero, writable, and used by this allocator alone.
        unsafe { BuddyAlloc::new(BuddyAllocParam::new_with_zero_filled(self.base, ARENA << 12, 1 << 12)) }
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `new`, and nobody uses it any more.
        unsafe { libc::munmap(self.base.cast(), ARENA << 12) };
    }
}

/// One step of the random trace: the slot is filled with a block of this order, or emptied.
type Step = (u16, Order);

const SLOTS: usize = 4096;

fn random_steps() -> Vec<Step> {
    let mut dice = Dice::new(4);
    let order = |dice: &mut Dice| Order::new(dice.below(10) as u8).unwrap_or_default();
    (0..1 << 20).map(|_| (dice.below(SLOTS as u64) as u16, order(&mut dice))).collect()
}

/// Blocks of random orders in random slots; answers ns a pair of take and give.
fn random_orders<P: Pages>(pages: &mut P, steps: &[Step]) -> f64 {
    let mut slots: Vec<Option<(P::Block, Order)>> = vec![None; SLOTS];
    let ns = timed(steps.len() / 2, || {
        for &(slot, order) in steps {
            let slot = &mut slots[usize::from(slot)];
            *slot = match slot.take() {
                Some((block, order)) => {
                    pages.give(block, order);
                    None
                }
                None => Some((pages.take(order), order)),
            };
        }
    });
    for (block, order) in slots.into_iter().flatten() {
        pages.give(block, order);
    }
    ns
}

/// 262,144 pages taken one by one, then given back in the same order; ns a pair.
fn bulk<P: Pages>(pages: &mut P) -> f64 {
    let mut taken: Vec<P::Block> = Vec::with_capacity(BULK);
    timed(BULK, || {
        for _ in 0..BULK {
            taken.push(pages.take(Order::ZERO));
        }
        for &block in &taken {
            pages.give(block, Order::ZERO);
        }
    })
}

/// One page taken and given back at once; ns a pair.
fn ping_pong<P: Pages>(pages: &mut P) -> f64 {
    timed(PING_PONGS, || {
        for _ in 0..PING_PONGS {
            let block = pages.take(Order::ZERO);
            pages.give(std::hint::black_box(block), Order::ZERO);
        }
    })
}

/// Ways in which our machine is run: plainly, with a snapshot of it held, with hot events recorded.
pub const WAYS: [&str; 3] = ["", ", snapshot held", ", traced"];

/// Adds our machine to a race, once for each of [`WAYS`].
pub fn add_ways<'a>(
    race: &mut Race<'a>,
    machine: &'a RefCell<Machine>,
    run: impl Fn(&mut Machine) -> f64 + Copy + 'a,
) {
    race.add(move || run(&mut machine.borrow_mut()));
    race.add(move || {
        let _held = machine.borrow_mut().snapshot();
        run(&mut machine.borrow_mut())
    });
    race.add(move || {
        machine.borrow_mut().record_hot_events(true);
        let ns = run(&mut machine.borrow_mut());
        machine.borrow_mut().record_hot_events(false);
        ns
    });
}

/// One row for each of [`WAYS`]; tracing is shown and not judged.
pub fn rows_of_ways(
    number: &'static str,
    measure: &str,
    anchor: &'static str,
    samples: Vec<Sample>,
    goal: Goal,
) -> Vec<Row> {
    let mut samples = samples.into_iter();
    let theirs = samples.next().unwrap_or_default();
    let row = |(way, ours): (&str, Sample)| Row {
        number,
        measure: format!("{measure}{way}"),
        ours,
        anchor,
        theirs: theirs.clone(),
        unit: "ns",
        goal,
        judged: way != WAYS[2],
    };
    WAYS.into_iter().zip(samples).map(row).collect()
}

/// Row 4.
pub fn random(reps: usize) -> Vec<Row> {
    let (arena, machine, steps) = (Arena::new(), RefCell::new(spec::boot(8, 1)), random_steps());
    let mut peer = arena.buddy_alloc();
    let mut race = Race::default();
    race.add(|| random_orders(&mut peer, &steps));
    add_ways(&mut race, &machine, |m| random_orders(m, &steps));
    let goal = Goal::Faster { floor: 1.0, ambitious: 1.7 };
    rows_of_ways("4", "buddy, random orders 0-9", "buddy-alloc", race.run(reps), goal)
}

/// Row 5.
pub fn bulk_row(reps: usize) -> Vec<Row> {
    let machine = RefCell::new(spec::boot(8, 1));
    let mut peer = FrameAllocator::<33>::new();
    peer.add_frame(0, ARENA);
    let mut race = Race::default();
    race.add(|| bulk(&mut peer));
    add_ways(&mut race, &machine, |m| bulk(m));
    let goal = Goal::Faster { floor: 1.5, ambitious: 3.0 };
    rows_of_ways("5", "buddy, 262,144 pages of order 0", "FrameAllocator", race.run(reps), goal)
}

/// Row 6.
pub fn ping_pong_row(reps: usize) -> Vec<Row> {
    let (arena, machine) = (Arena::new(), RefCell::new(spec::boot(8, 1)));
    let mut peer = arena.buddy_alloc();
    let mut race = Race::default();
    race.add(|| ping_pong(&mut peer));
    add_ways(&mut race, &machine, |m| ping_pong(m));
    let goal = Goal::Faster { floor: 1.0, ambitious: 3.0 };
    rows_of_ways("6", "order 0 through the per-CPU lists", "buddy-alloc", race.run(reps), goal)
}

/// Our side of a row alone, for a profiler.
pub fn alone(row: &str) {
    let mut machine = spec::boot(8, 1);
    let ns = match row {
        "4" => random_orders(&mut machine, &random_steps()),
        "5" => bulk(&mut machine),
        _ => ping_pong(&mut machine),
    };
    println!("row {row}: {ns:.2} ns a pair");
}
