//! The buddy allocator against a map of what is taken.

use crate::machines::{boot, pc};
use std::collections::BTreeMap;
use vmlab::mm::addr::{Order, Pfn};
use vmlab::mm::gfp::Gfp;
use vmlab::mm::machine::Dice;

const MASKS: [Gfp; 5] =
    [Gfp::KERNEL, Gfp::HIGHUSER_MOVABLE, Gfp::ATOMIC, Gfp::DMA, Gfp(Gfp::KERNEL.0 | Gfp::RECLAIMABLE.0)];

/// Takes and gives back at random; no frame is given twice, none is lost.
fn run(seed: u64, steps: u32) {
    let cpus = 1 + (seed % 3) as u16;
    let mut config = pc(1024, 7000 + seed * 7 % 900, cpus, 1 + (seed % 2) as u8);
    // Kernels group blocks of order 9 by mobility, or of order 10; smaller ones must work as well.
    config.pageblock_order = Order::new([9, 9, 10, 7][(seed / 3 % 4) as usize]).unwrap();
    let mut machine = boot(config);
    let all_cpus: Vec<u16> = machine.nodes.iter().flat_map(|n| n.cpus.clone()).collect();
    let before = machine.check().unwrap_or_else(|e| panic!("seed {seed} boot: {e}"));
    let mut dice = Dice::new(seed);
    let mut taken: BTreeMap<Pfn, Order> = BTreeMap::new();
    for step in 0..steps {
        let fail = |what: String| -> ! { panic!("seed {seed} step {step}: {what}") };
        machine.set_cpu(all_cpus[dice.below(all_cpus.len() as u64) as usize]);
        if dice.below(100) < 55 || taken.is_empty() {
            let order = Order::new((dice.below(11).min(dice.below(11))) as u8).unwrap();
            let gfp = MASKS[dice.below(MASKS.len() as u64) as usize];
            if let Ok(pfn) = machine.alloc_pages(gfp, order) {
                if !pfn.is_aligned(order) {
                    fail(format!("pfn {pfn} is not aligned to order {order}"));
                }
                let below = taken.range(..=pfn).next_back().is_some_and(|(p, o)| p.0 + o.pages() > pfn.0);
                let above = taken.range(pfn..).next().is_some_and(|(p, _)| pfn.0 + order.pages() > p.0);
                if below || above {
                    fail(format!("pfn {pfn} order {order} was given twice"));
                }
                taken.insert(pfn, order);
            }
        } else {
            let at = dice.below(taken.len() as u64) as usize;
            let (&pfn, &order) = taken.iter().nth(at).unwrap();
            taken.remove(&pfn);
            machine.free_pages(pfn, order).unwrap_or_else(|e| fail(e.to_string()));
        }
        if dice.below(50) == 0 {
            machine.drain_all_pages(None);
        }
        let census = machine.check().unwrap_or_else(|e| fail(e.to_string()));
        let ours: u64 = taken.values().map(|o| u64::from(o.pages())).sum();
        if census.used != before.used + ours {
            fail(format!("{} pages used, the model holds {ours} beside {}", census.used, before.used));
        }
    }
    for (pfn, order) in taken {
        machine.free_pages(pfn, order).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
    }
    machine.drain_all_pages(None);
    let after = machine.check().unwrap_or_else(|e| panic!("seed {seed} end: {e}"));
    assert_eq!((after.free, after.pcp), (before.free + before.pcp, 0), "seed {seed}");
}

#[test]
fn no_frame_is_given_twice_and_none_is_lost() {
    for seed in 0..50 {
        run(seed, 300);
    }
}

#[test]
fn a_block_freed_twice_or_with_another_order_is_a_bug() {
    let mut machine = boot(pc(1024, 8192, 1, 1));
    let pfn = machine.alloc_pages(Gfp::KERNEL, Order::new(2).unwrap()).unwrap();
    let oops = machine.free_pages(pfn, Order::new(3).unwrap()).unwrap_err();
    assert!(oops.line.starts_with("BUG: Bad page state in process script  pfn:"), "{oops}");
    assert!(oops.advice.contains("order 3 given, allocated with 2"), "{oops}");
    machine.free_pages(pfn, Order::new(2).unwrap()).unwrap();
    assert!(machine.free_pages(pfn, Order::new(2).unwrap()).unwrap_err().advice.contains("not allocated"));
    // A frame behind the end of memory was never anybody's.
    let never = machine.free_pages(Pfn(machine.mem_map.end_pfn()), Order::ZERO).unwrap_err();
    assert!(never.line.starts_with("BUG: "), "{never}");
    machine.check().unwrap();
}

#[test]
fn the_nth_allocation_fails_and_nothing_is_lost() {
    for n in 1..20 {
        let mut machine = boot(pc(1024, 8192, 1, 1));
        machine.set_fail_nth(n);
        let results: Vec<_> = (0..20).map(|_| machine.alloc_pages(Gfp::KERNEL, Order::ZERO)).collect();
        assert_eq!(results.iter().position(|r| r.is_err()), Some(n as usize - 1));
        machine.check().unwrap();
    }
}

#[test]
fn a_snapshot_is_another_machine() {
    let mut machine = boot(pc(1024, 8192, 2, 1));
    let snapshot = machine.snapshot();
    let first = machine.alloc_pages(Gfp::KERNEL, Order::ZERO).unwrap();
    for _ in 0..3000 {
        let _ = machine.alloc_pages(Gfp::KERNEL, Order::ZERO);
    }
    snapshot.check().unwrap();
    machine.restore(&snapshot);
    machine.check().unwrap();
    assert_eq!(machine.alloc_pages(Gfp::KERNEL, Order::ZERO).unwrap(), first);
}
