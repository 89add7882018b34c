//! Per-CPU data, memory pools, dentries and shrinkers against what they promise.

use crate::machines::{boot, pc};
use std::collections::BTreeMap;
use vmlab::mm::Machine;
use vmlab::mm::addr::VirtAddr;
use vmlab::mm::errno::Errno;
use vmlab::mm::gfp::Gfp;
use vmlab::mm::machine::Dice;
use vmlab::mm::mempool::Source;
use vmlab::mm::slab_common::Allocator;
use vmlab::mm::vmstat::VmEvent;

fn machine(cpus: u16, nodes: u8) -> Machine {
    boot(pc(2048, 6144, cpus, nodes))
}

#[test]
fn per_cpu_variables_lie_apart_and_their_pages_come_back() {
    for seed in 0..8 {
        let mut machine = machine(2, 2);
        let mut dice = Dice::new(seed);
        let first = machine.pcpu_alloc(8, 8, Gfp::KERNEL).unwrap();
        let before = machine.check().unwrap().used;
        let mut out: BTreeMap<u64, u64> = BTreeMap::new();
        for step in 0..300 {
            if out.is_empty() || dice.below(10) < 6 {
                let (size, align) = (1 + dice.below(3000), 4 << dice.below(6));
                let ptr = machine.pcpu_alloc(size, align, Gfp::KERNEL).unwrap();
                assert_eq!(ptr % align, 0, "seed {seed} step {step}");
                let end = out.range(..ptr).next_back().map_or(0, |(at, size)| at + size);
                let next = out.range(ptr..).next().map_or(u64::MAX, |(at, _)| *at);
                assert!(end <= ptr && ptr + size <= next, "seed {seed} step {step}: two variables overlap");
                for cpu in 0..4 {
                    let addr = machine.percpu.offset(cpu).unwrap().wrapping_add(ptr);
                    assert!(
                        machine.percpu.page_of(VirtAddr(addr)).is_some(),
                        "seed {seed} step {step} cpu {cpu}"
                    );
                }
                out.insert(ptr, size);
            } else {
                let ptr = *out.keys().nth(dice.below(out.len() as u64) as usize).unwrap();
                out.remove(&ptr);
                machine.free_percpu(ptr).unwrap();
                assert!(machine.free_percpu(ptr).is_err(), "seed {seed} step {step}: freed twice");
            }
            machine.check().unwrap_or_else(|e| panic!("seed {seed} step {step}: {e}"));
        }
        out.into_keys().for_each(|ptr| machine.free_percpu(ptr).unwrap());
        let used = machine.check().unwrap().used;
        // What is kept for callers that may not sleep: at most four pages for each CPU.
        assert!(used <= before + 4 * 4, "seed {seed}: {used} pages, {before} before");
        machine.free_percpu(first).unwrap();
    }
}

#[test]
fn a_per_cpu_allocation_that_fails_leaves_nothing() {
    let mut n = 1;
    loop {
        let mut machine = machine(2, 1);
        let before = machine.check().unwrap().used;
        machine.set_fail_nth(n);
        let answer = machine.pcpu_alloc(9000, 64, Gfp::KERNEL);
        if machine.fail_nth_left().is_some() {
            assert!(answer.is_ok() && n > 4);
            return;
        }
        if answer.is_err() {
            assert_eq!(
                (answer, machine.check().unwrap().used),
                (Err(Errno::ENOMEM), before),
                "allocation {n}"
            );
        }
        n += 1;
    }
}

#[test]
fn who_may_not_sleep_gets_what_has_frames() {
    let mut machine = machine(1, 1);
    let ptr = machine.pcpu_alloc(64, 8, Gfp::KERNEL).unwrap();
    // Two empty pages wait beside the first one.
    assert_eq!(machine.percpu.empty_pop_pages(), 2);
    let given = (0..64).take_while(|_| machine.pcpu_alloc(4096, 4, Gfp::ATOMIC).is_ok()).count();
    assert_eq!(given, 2);
    assert_eq!(machine.pcpu_alloc(0, 4, Gfp::KERNEL), Err(Errno::EINVAL));
    machine.free_percpu(ptr).unwrap();
    machine.check().unwrap();
}

#[test]
fn a_pool_gives_its_reserve_when_there_is_no_memory() {
    let mut machine = machine(1, 1);
    let before = machine.check().unwrap().used;
    let pool = machine.mempool_create(3, Source::Kmalloc(8192)).unwrap();
    let mut hog = Vec::new();
    while let Ok(addr) = machine.kmalloc(8192, Gfp::NOWAIT | Gfp::NOWARN) {
        hog.push(addr);
    }
    let given: Vec<VirtAddr> =
        (0..3).map(|_| machine.mempool_alloc(pool, Gfp::NOWAIT).unwrap().unwrap()).collect();
    assert_eq!(machine.mempool_alloc(pool, Gfp::NOWAIT).unwrap(), Err(Errno::ENOMEM));
    assert_eq!(machine.mempools[pool].counts[1], 3);
    for addr in &given {
        machine.mempool_free(*addr, pool).unwrap();
        assert!(machine.mempool_free(*addr, pool).unwrap_err().line.contains("poison mismatch"));
    }
    assert!(machine.mempool_free(VirtAddr(given[0].0 + 16), pool).is_err());
    machine.check().unwrap();
    machine.mempool_destroy(pool);
    hog.into_iter().for_each(|addr| machine.kfree(addr).unwrap());
    machine.shrink_all_caches();
    assert_eq!(machine.check().unwrap().used, before);
}

#[test]
fn a_pool_that_cannot_be_filled_is_not_made() {
    for n in 1.. {
        let mut machine = machine(1, 1);
        machine.set_fail_nth(n);
        let answer = machine.mempool_create(20, Source::Kmalloc(2000));
        if machine.fail_nth_left().is_some() {
            break;
        }
        let used: Vec<u64> = machine
            .caches
            .order
            .iter()
            .map(|id| machine.cache_census(*id).allocated)
            .filter(|n| *n > 0)
            .collect();
        machine.check().unwrap();
        // A slab may come in a smaller block instead.
        let empty = machine.mempools.is_empty() && used.is_empty();
        assert!(answer.is_ok() || empty, "allocation {n}: {used:?}");
    }
}

#[test]
fn names_are_found_again_until_a_shrinker_takes_them() {
    for allocator in [Allocator::Slub, Allocator::Slab] {
        let mut config = pc(2048, 6144, 1, 2);
        config.slab = allocator;
        let mut machine = boot(config);
        for n in 0..3000 {
            machine.lookup(&format!("/var/{}/{n}", n % 7), n % 5 > 0).unwrap();
        }
        machine.check().unwrap();
        let [dentries, unused, negative] = machine.dcache.state();
        // The root, /var, seven directories hold their children.
        assert_eq!((dentries, unused, negative), (3009, 3000, 600));
        let hits = machine.dcache.hits;
        machine.lookup("/var/3/3", true).unwrap();
        assert_eq!(machine.dcache.hits, hits + 4);
        let reclaimable = machine.node_stat(vmlab::mm::vmstat::NodeStat::SlabReclaimable);
        machine.drop_slab();
        machine.check().unwrap();
        // The root is the file system's.
        assert_eq!((machine.dcache.state()[0], machine.dcache.inode_state()), (1, [1, 0]));
        assert!(machine.vmstat.get(VmEvent::SlabsScanned) >= 5400);
        assert!(machine.node_stat(vmlab::mm::vmstat::NodeStat::SlabReclaimable) < reclaimable / 4);
    }
}

#[test]
fn reclaim_shrinks_dentries_before_anybody_is_killed() {
    let mut machine = machine(1, 1);
    // Without reserves that only kswapd gives back: the machine is small.
    machine.set_sysctl("watermark_boost_factor", "0").unwrap();
    let mut n = 0;
    while machine.vmstat.get(VmEvent::SlabsScanned) == 0 && n < 60_000 {
        machine.lookup(&format!("/cache/{n}"), true).unwrap();
        n += 1;
    }
    assert!(n > 5000 && n < 60_000, "{n} names until the first was shrunk");
    assert!(machine.ooms.is_empty());
    machine.check().unwrap();
}
