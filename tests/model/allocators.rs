//! SLUB, SLAB and SLOB against a model: a map of what was given out.

use crate::machines::{boot, pc};
use std::collections::BTreeMap;
use vmlab::mm::Machine;
use vmlab::mm::addr::VirtAddr;
use vmlab::mm::gfp::Gfp;
use vmlab::mm::machine::Dice;
use vmlab::mm::slab::{FreelistPlace, SlabCache};
use vmlab::mm::slab_common::{Allocator, CacheArgs, CacheId, SlabFlags};

fn machine(allocator: Allocator, cpus: u16, nodes: u8) -> Machine {
    let mut config = pc(2048, 8192, cpus, nodes);
    config.slab = allocator;
    boot(config)
}

fn cache(machine: &mut Machine, name: &str, size: u64, flags: SlabFlags) -> CacheId {
    machine.kmem_cache_create(&CacheArgs { name, size, flags, ..CacheArgs::default() }).unwrap()
}

/// Allocates and frees at random; what is given out must lie apart from everything else that is out.
fn play(allocator: Allocator, seed: u64) {
    let mut machine = machine(allocator, 2, 1);
    let mut dice = Dice::new(seed);
    let own = cache(&mut machine, "model", 136, SlabFlags::NONE);
    let before = machine.check().unwrap().used;
    let mut out: BTreeMap<u64, (u64, bool)> = BTreeMap::new();
    for step in 0..1500 {
        let place = |what: &str| format!("{allocator} seed {seed} step {step}: {what}");
        machine.set_cpu(dice.below(2) as u16);
        if out.is_empty() || dice.below(100) < 55 {
            let mine = dice.below(3) == 0;
            let most = if dice.below(20) == 0 { 9000 } else { 600 };
            let size = if mine { 136 } else { 1 + dice.below(most) };
            let addr = if mine {
                machine.kmem_cache_alloc(own, Gfp::KERNEL)
            } else {
                machine.kmalloc(size, Gfp::KERNEL)
            };
            let addr = addr.unwrap().0;
            let end = out.range(..addr).next_back().map_or(0, |(at, (size, _))| at + size);
            let next = out.range(addr..).next().map_or(u64::MAX, |(at, _)| *at);
            assert!(end <= addr && addr + size <= next, "{}", place("two objects overlap"));
            assert!(size < 8 || addr % 8 == 0, "{}", place("not aligned"));
            if !mine {
                assert!(machine.ksize(VirtAddr(addr)).unwrap() >= size, "{}", place("ksize"));
            }
            out.insert(addr, (size, mine));
        } else {
            let turn = dice.below(out.len() as u64) as usize;
            let (&addr, &(_, mine)) = out.iter().nth(turn).unwrap();
            out.remove(&addr);
            let freed = if mine {
                machine.kmem_cache_free(own, VirtAddr(addr))
            } else {
                machine.kfree(VirtAddr(addr))
            };
            freed.unwrap_or_else(|e| panic!("{}", place(&e.to_string())));
            assert!(machine.kfree(VirtAddr(addr)).is_err(), "{}", place("freed twice"));
        }
        if step % 50 == 0 {
            machine.check().unwrap_or_else(|e| panic!("{}", place(&e.to_string())));
        }
    }
    let mine = out.values().filter(|(_, mine)| *mine).count() as u64;
    assert_eq!(machine.cache_census(own).allocated, mine, "{allocator} seed {seed}");
    for (addr, (_, mine)) in out {
        let freed =
            if mine { machine.kmem_cache_free(own, VirtAddr(addr)) } else { machine.kfree(VirtAddr(addr)) };
        freed.unwrap();
    }
    machine.shrink_all_caches();
    assert_eq!(machine.check().unwrap().used, before, "{allocator} seed {seed}: pages came back");
}

#[test]
fn nothing_is_given_out_twice() {
    for allocator in Allocator::ALL {
        (0..6).for_each(|seed| play(*allocator, seed));
    }
}

fn of(machine: &Machine, id: CacheId) -> &SlabCache {
    machine.caches.slab.cache(id).unwrap()
}

#[test]
fn slab_fills_queues_and_empties_them_by_batches() {
    let mut machine = machine(Allocator::Slab, 2, 1);
    let id = cache(&mut machine, "q", 200, SlabFlags::HWCACHE_ALIGN);
    let known = of(&machine, id);
    assert_eq!((known.limit, known.batchcount, known.shared, known.num), (120, 60, 8, 16));
    // The first allocation finds nothing: a new slab fills the queue, as far as it reaches.
    let first = machine.kmem_cache_alloc(id, Gfp::KERNEL).unwrap();
    assert_eq!((of(&machine, id).cpus[0].entry.len(), of(&machine, id).stats.allocmiss), (15, 1));
    let mut all = vec![first];
    all.extend((0..399).map(|_| machine.kmem_cache_alloc(id, Gfp::KERNEL).unwrap()));
    assert_eq!(of(&machine, id).stats.grown, 25);
    for addr in &all {
        machine.kmem_cache_free(id, *addr).unwrap();
        machine.check().unwrap();
    }
    // 120 wait on the CPU after the last batch, the rest is in the shared array.
    let known = of(&machine, id);
    let shared = known.nodes[0].shared.as_ref().unwrap();
    assert_eq!(known.cpus[0].entry.len() + shared.entry.len(), 400);
    assert_eq!(shared.entry.len() % 60, 0);
    let info = machine.slabinfo(id);
    assert_eq!((info.active_objs, info.num_objs, info.num_slabs, info.active_slabs), (400, 400, 25, 25));
    assert_eq!(machine.cache_census(id).allocated, 0);
    assert!(machine.kmem_cache_shrink(id));
    assert_eq!(machine.slabinfo(id).num_slabs, 0);
}

#[test]
fn slab_colours_its_slabs() {
    let mut machine = machine(Allocator::Slab, 1, 1);
    // 4096 - 5 * 768 = 256 bytes left over: four lines of 64, and the freelist lies in a free object.
    let id = cache(&mut machine, "coloured", 768, SlabFlags::HWCACHE_ALIGN);
    let known = of(&machine, id);
    assert_eq!((known.colour, known.colour_off, known.freelist), (4, 64, FreelistPlace::InObject));
    (0..30).for_each(|_| assert!(machine.kmem_cache_alloc(id, Gfp::KERNEL).is_ok()));
    let state = &machine.caches.slab;
    let mut slabs = state.slabs_of(&machine, id);
    slabs.sort_by_key(|slab| slab.pfn);
    let mut colours: Vec<u64> = slabs.iter().map(|slab| slab.s_mem.0 & 0xfff).collect();
    colours.sort_unstable();
    assert_eq!(colours, [0, 64, 64, 128, 128, 192]);
}

#[test]
fn reaping_gives_free_slabs_back_bit_by_bit() {
    let mut machine = machine(Allocator::Slab, 1, 1);
    let id = cache(&mut machine, "reaped", 512, SlabFlags::NONE);
    let all: Vec<_> = (0..400).map(|_| machine.kmem_cache_alloc(id, Gfp::KERNEL).unwrap()).collect();
    all.into_iter().for_each(|addr| machine.kmem_cache_free(id, addr).unwrap());
    let slabs = machine.slabinfo(id).num_slabs;
    let mut passes = 0;
    while machine.slabinfo(id).num_slabs > 0 && passes < 100 {
        machine.cache_reap();
        machine.check().unwrap();
        passes += 1;
    }
    assert!(slabs > 1 && passes > 3 && passes < 100, "{slabs} slabs, {passes} passes");
    let again: Vec<_> = (0..400).map(|_| machine.kmem_cache_alloc(id, Gfp::KERNEL).unwrap()).collect();
    again.into_iter().for_each(|addr| machine.kmem_cache_free(id, addr).unwrap());
    // Ten caches a call, one after another: ours has its turn.
    let turns = machine.caches.order.len().div_ceil(10);
    assert!((0..turns).map(|_| machine.kmem_cache_reap()).sum::<u64>() > 0);
    machine.check().unwrap();
}

#[test]
fn slob_takes_the_first_block_that_fits() {
    let mut machine = machine(Allocator::Slob, 1, 1);
    let a = machine.kmalloc(100, Gfp::KERNEL).unwrap();
    let b = machine.kmalloc(100, Gfp::KERNEL).unwrap();
    // 100 bytes and a header of 8.
    assert_eq!(b.0 - a.0, 112);
    machine.kfree(a).unwrap();
    assert_eq!(machine.kmalloc(50, Gfp::KERNEL).unwrap(), a);
    assert_eq!(machine.ksize(b).unwrap(), 100);
    // Powers of two are aligned; medium and large ones have lists of their own.
    assert_eq!(machine.kmalloc(128, Gfp::KERNEL).unwrap().0 % 128, 0);
    machine.kmalloc(300, Gfp::KERNEL).unwrap();
    machine.kmalloc(2000, Gfp::KERNEL).unwrap();
    assert_eq!(machine.caches.slob.lists().map(|list| list.0), [1, 1, 1]);
    let page = machine.kmalloc(4096, Gfp::KERNEL).unwrap();
    assert_eq!((page.0 % 4096, machine.ksize(page).unwrap()), (0, 4096));
    assert!(machine.kfree(VirtAddr(b.0 + 2)).is_err());
    machine.check().unwrap();
}

#[test]
fn slab_lays_out_the_caches_of_the_boot_as_later_ones() {
    let mut config = vmlab::import::shipped::get("x86_64-1G").unwrap();
    config.slab = Allocator::Slab;
    let mut machine = boot(config);
    let shape =
        |machine: &Machine, id: CacheId| (machine.caches.all[id].objects, machine.caches.all[id].order);
    let mut seen = 0;
    for id in machine.caches.order.clone() {
        let cache = machine.caches.all[id].clone();
        if !cache.flags.has(SlabFlags::TYPESAFE_BY_RCU) {
            continue;
        }
        let name = format!("again-{}", cache.name());
        let args = CacheArgs {
            name: &name,
            size: cache.object_size.into(),
            align: cache.align.into(),
            flags: cache.flags,
            ctor: true,
            usersize: false,
        };
        let again = machine.kmem_cache_create(&args).unwrap();
        assert_eq!(shape(&machine, id), shape(&machine, again), "{}", cache.name());
        seen += 1;
    }
    assert!(seen > 20, "{seen} caches");
    for (name, objects, pages) in [("RAW", 4, 1), ("fsverity_info", 16, 1)] {
        let cache = &machine.caches.all[machine.caches.find(name).unwrap()];
        assert_eq!((cache.objects, cache.order.pages()), (objects, pages), "{name}");
    }
    machine.check().unwrap();
}
