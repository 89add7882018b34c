//! Steal, fragment, compact: what tasks wrote survives, no page is lost, and blocks come back.

use crate::machines::{boot, pc};
use std::collections::BTreeMap;
use vmlab::mm::Machine;
use vmlab::mm::addr::{Order, Pfn, VirtAddr};
use vmlab::mm::config::SwapConfig;
use vmlab::mm::gfp::Gfp;
use vmlab::mm::machine::Dice;
use vmlab::mm::mmap::{map, prot};

fn run(seed: u64, steps: u32) {
    let mut config = pc(1024, 6000 + seed % 500, 1, 1);
    config.swap.push(SwapConfig { name: "/dev/vda".into(), pages: 2000, priority: None });
    let mut machine = boot(config);
    let mut dice = Dice::new(seed);
    let pid = machine.spawn("model").unwrap();
    let flags = map::PRIVATE | map::ANONYMOUS;
    let base = machine.mmap(pid, VirtAddr(0), 3000 << 12, prot::READ | prot::WRITE, flags).unwrap();
    let mut memory: BTreeMap<u64, u64> = BTreeMap::new();
    let mut taken: Vec<(Pfn, Order)> = Vec::new();
    for step in 0..steps {
        let fail = |what: String| -> ! { panic!("seed {seed} step {step}: {what}") };
        match dice.below(10) {
            0..=3 => {
                let page = dice.below(3000);
                let value = dice.next_u64();
                machine
                    .write_user(pid, VirtAddr(base.0 + (page << 12)), value)
                    .unwrap_or_else(|e| fail(format!("{e:?}")));
                memory.insert(page, value);
            }
            4..=6 => {
                let order = Order::new(dice.below(5) as u8).unwrap();
                let gfp =
                    if dice.below(2) == 0 { Gfp::KERNEL } else { Gfp(Gfp::KERNEL.0 | Gfp::RECLAIMABLE.0) };
                if let Ok(pfn) = machine.alloc_pages(gfp, order) {
                    taken.push((pfn, order));
                }
            }
            7..=8 if !taken.is_empty() => {
                let (pfn, order) = taken.swap_remove(dice.below(taken.len() as u64) as usize);
                machine.free_pages(pfn, order).unwrap_or_else(|e| fail(e.to_string()));
            }
            _ if dice.below(8) == 0 => {
                machine.compact_memory();
            }
            _ => {}
        }
        machine.check().unwrap_or_else(|e| fail(e.to_string()));
    }
    machine.compact_memory();
    machine.check().unwrap_or_else(|e| panic!("seed {seed} end: {e}"));
    for (page, want) in memory {
        assert_eq!(
            machine.read_user(pid, VirtAddr(base.0 + (page << 12))),
            Ok(want),
            "seed {seed} page {page}"
        );
    }
}

#[test]
fn nothing_is_lost_while_memory_is_fragmented_and_compacted() {
    let seeds = std::env::var("SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(100);
    for seed in 0..seeds {
        run(seed, 60);
    }
}

/// Every second page of a task is given back: half of memory is free, and no two free pages are together.
fn fragment(machine: &mut Machine) {
    let pid = machine.spawn("holes").unwrap();
    let flags = map::PRIVATE | map::ANONYMOUS;
    let pages = machine.nr_free_pages() - 600;
    let base = machine.mmap(pid, VirtAddr(0), pages << 12, prot::READ | prot::WRITE, flags).unwrap();
    machine.touch(pid, base, pages << 12, vmlab::mm::memory::Access::Write).unwrap();
    for page in (0..pages).step_by(2) {
        machine.munmap(pid, VirtAddr(base.0 + (page << 12)), 4096).unwrap();
    }
    machine.drain_all_pages(None);
}

#[test]
fn compaction_makes_the_block_that_fragmentation_hid() {
    let mut machine = boot(pc(1024, 20_000, 1, 1));
    machine.sysctl.min_free_kbytes = 256;
    machine.setup_per_zone_wmarks();
    fragment(&mut machine);
    let order = Order::new(4).unwrap();
    // GFP_NOWAIT may not compact, so it shows what is there.
    machine.alloc_pages(Gfp::NOWAIT, Order::new(9).unwrap()).unwrap_err();
    machine.check().unwrap();
    machine.alloc_pages(Gfp::KERNEL, order).unwrap();
    assert!(
        machine.vm_event("compact_success").unwrap() > 0
            || machine.vm_event("pgmigrate_success").unwrap() == 0
    );
    machine.compact_memory();
    machine.check().unwrap();
    assert!(machine.zones.iter().any(|z| z.nr_free(Order::new(9).unwrap()) + z.nr_free(Order::MAX) > 0));
    machine.alloc_pages(Gfp::NOWAIT, Order::new(9).unwrap()).unwrap();
}
