//! Slab caches against a model too simple to be wrong: which addresses are taken, and how long each is.

use crate::machines::{boot, pc};
use std::collections::BTreeMap;
use vmlab::mm::Machine;
use vmlab::mm::addr::VirtAddr;
use vmlab::mm::gfp::Gfp;
use vmlab::mm::machine::Dice;
use vmlab::mm::slab_common::{Allocator, CacheArgs, CacheId, SlabFlags, SlabPath, ZERO_SIZE_PTR};
use vmlab::mm::slub::Stat;

/// Takes and gives back at random, on every CPU and node; no byte is given twice, none is lost.
fn run(seed: u64, steps: u32) {
    let mut m = boot(pc(1024, 3000, 1 + (seed % 3) as u16, 1 + (seed % 2) as u8));
    let cpus: Vec<u16> = m.nodes.iter().flat_map(|n| n.cpus.clone()).collect();
    let mut dice = Dice::new(seed);
    let debug = SlabFlags::RED_ZONE | SlabFlags::POISON | SlabFlags::STORE_USER;
    let kinds = [SlabFlags::NONE, SlabFlags::HWCACHE_ALIGN, SlabFlags::RECLAIM_ACCOUNT, debug];
    let caches: Vec<CacheId> = (0..6)
        .map(|n| {
            let (name, size) = (format!("model-{n}"), 8 + dice.below(3000));
            let flags = kinds[dice.below(4) as usize];
            m.kmem_cache_create(&CacheArgs { name: &name, size, flags, ..CacheArgs::default() }).unwrap()
        })
        .collect();
    let mut taken: BTreeMap<u64, (u64, Option<CacheId>)> = BTreeMap::new();
    for step in 0..steps {
        let fail = |what: String| -> ! { panic!("seed {seed} step {step}: {what}") };
        m.set_cpu(cpus[dice.below(cpus.len() as u64) as usize]);
        if dice.below(100) < 55 || taken.is_empty() {
            let node = (dice.below(4) == 0).then(|| dice.below(m.nodes.len() as u64) as usize);
            let (size, cache, addr) = if dice.below(2) == 0 {
                let id = caches[dice.below(6) as usize];
                (
                    u64::from(m.caches.all[id].object_size),
                    Some(id),
                    m.kmem_cache_alloc_node(id, Gfp::KERNEL, node),
                )
            } else {
                let power = 3 + dice.below(12);
                let size = 1 + dice.below(1 << power);
                (size, None, m.kmalloc_node(size, Gfp::KERNEL, node))
            };
            let Ok(addr) = addr else { continue };
            let below = taken.range(..=addr.0).next_back().is_some_and(|(a, (len, _))| a + len > addr.0);
            let above = taken.range(addr.0..).next().is_some_and(|(a, _)| addr.0 + size > *a);
            if below || above || m.ksize(addr).unwrap() < size {
                fail(format!("{addr} of {size} bytes was given twice, or is too small"));
            }
            taken.insert(addr.0, (size, cache));
        } else {
            let at = dice.below(taken.len() as u64) as usize;
            let (&addr, &(_, cache)) = taken.iter().nth(at).unwrap();
            taken.remove(&addr);
            let freed = match cache {
                Some(id) => m.kmem_cache_free(id, VirtAddr(addr)),
                None => m.kfree(VirtAddr(addr)),
            };
            freed.unwrap_or_else(|e| fail(e.to_string()));
        }
        if dice.below(40) == 0 {
            m.kmem_cache_shrink(caches[dice.below(6) as usize]);
        }
        if dice.below(8) == 0 {
            m.check().unwrap_or_else(|e| fail(e.to_string()));
        }
    }
    for (addr, _) in taken {
        m.kfree(VirtAddr(addr)).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
    }
    for id in caches {
        assert!(m.kmem_cache_shrink(id), "seed {seed}: {}", m.caches.all[id].name());
    }
    m.check().unwrap_or_else(|e| panic!("seed {seed} end: {e}"));
}

#[test]
fn no_byte_is_given_twice() {
    (0..30).for_each(|seed| run(seed, 300));
}

fn machine() -> Machine {
    Machine::boot(vmlab::import::shipped::get("x86_64-smp4-1G").unwrap()).unwrap()
}

#[test]
fn what_is_taken_comes_back() {
    let mut m = machine();
    m.check().unwrap();
    let before = m.nr_free_and_pcp_pages();
    let id = m.kmem_cache_create(&CacheArgs { name: "test", size: 200, ..CacheArgs::default() }).unwrap();
    let mut objects: Vec<VirtAddr> =
        (0..1000).map(|_| m.kmem_cache_alloc(id, Gfp::KERNEL).unwrap()).collect();
    m.check().unwrap();
    objects.sort_unstable();
    objects.dedup();
    assert_eq!((objects.len(), m.cache_census(id).allocated), (1000, 1000));
    for (n, object) in objects.into_iter().enumerate() {
        m.set_cpu((n % 4) as u16).unwrap();
        m.kfree(object).unwrap();
        if n % 50 == 0 {
            m.check().unwrap();
        }
    }
    assert!(m.kmem_cache_shrink(id));
    m.check().unwrap();
    assert_eq!(m.cache_census(id).total, 0);
    m.kmem_cache_destroy(id, "test").unwrap();
    let descriptors = m.caches.find("kmem_cache").unwrap();
    assert!(m.kmem_cache_shrink(descriptors) || m.cache_census(descriptors).slabs > 0);
    assert_eq!(m.nr_free_and_pcp_pages(), before);
}

#[test]
fn the_fast_path_pops_and_pushes() {
    let mut m = machine();
    let id = m.kmem_cache_create(&CacheArgs { name: "odd", size: 1000, ..CacheArgs::default() }).unwrap();
    let a = m.kmem_cache_alloc(id, Gfp::KERNEL).unwrap();
    let b = m.kmem_cache_alloc(id, Gfp::KERNEL).unwrap();
    assert_eq!((b.0 - a.0, m.caches.last.unwrap().path), (1000, SlabPath::Fastpath));
    m.kmem_cache_free(id, a).unwrap();
    assert_eq!(m.kmem_cache_alloc(id, Gfp::KERNEL).unwrap(), a);
    let stat = |item| m.slub_stat(id, item);
    assert_eq!((stat(Stat::AllocFastpath), stat(Stat::FreeFastpath), stat(Stat::AllocSlab)), (2, 1, 1));
}

#[test]
fn every_size_has_the_smallest_class_that_holds_it() {
    for (name, allocator) in [
        ("x86_64-256M", Allocator::Slub),
        ("x86_64-256M", Allocator::Slab),
        ("arm64-512M", Allocator::Slub),
        ("i386-2G", Allocator::Slab),
    ] {
        let mut config = vmlab::import::shipped::get(name).unwrap();
        config.slab = allocator;
        let m = boot(config);
        let size_of = |size| m.caches.all[m.kmalloc_slab(size, Gfp::KERNEL).unwrap()].object_size;
        let classes: std::collections::BTreeSet<u32> = (1..=8192).map(size_of).collect();
        for size in 1..=8192u64 {
            let smallest = classes.range(size as u32..).next();
            assert_eq!(Some(&size_of(size)), smallest, "{name} {allocator:?}: {size}");
        }
        assert_eq!((m.kmalloc_slab(0, Gfp::KERNEL), m.kmalloc_slab(8193, Gfp::KERNEL)), (None, None));
    }
}

#[test]
fn bad_frees_are_refused() {
    let mut m = machine();
    let a = m.kmalloc(100, Gfp::KERNEL).unwrap();
    let line = |oops: Result<(), vmlab::mm::errno::Oops>| oops.unwrap_err().line.clone();
    assert!(
        line(m.kfree(VirtAddr(a.0 + 4))).starts_with("BUG kmalloc-128 (Not tainted): Invalid object pointer")
    );
    m.kfree(a).unwrap();
    assert_eq!(line(m.kfree(a)), "BUG kmalloc-128 (Tainted: G    B             ): Object already free");
    m.kfree(VirtAddr(0)).unwrap();
    m.kfree(ZERO_SIZE_PTR).unwrap();
    let big = m.kmalloc(20_000, Gfp::KERNEL).unwrap();
    assert_eq!(m.ksize(big).unwrap(), 32768);
    assert!(line(m.kfree(VirtAddr(big.0 + 4096))).starts_with("object pointer: 0x"));
    m.kfree(big).unwrap();
    assert!(m.kfree(big).is_err());
    assert!(line(m.kfree(VirtAddr(0x1000))).starts_with("BUG: unable to handle page fault"));
    m.check().unwrap();
}

#[test]
fn crimes_are_found() {
    let mut m = machine();
    let flags = SlabFlags::RED_ZONE | SlabFlags::POISON | SlabFlags::STORE_USER;
    let id =
        m.kmem_cache_create(&CacheArgs { name: "watched", size: 60, flags, ..CacheArgs::default() }).unwrap();
    let a = m.kmem_cache_alloc(id, Gfp::KERNEL).unwrap();
    let b = m.kmem_cache_alloc(id, Gfp::KERNEL).unwrap();
    m.kernel_write(VirtAddr(a.0 + 60), b"AA");
    let oops = m.kmem_cache_free(id, a).unwrap_err();
    assert_eq!(oops.line, "BUG watched (Not tainted): Right Redzone overwritten");
    // It was repaired: the second time it goes well.
    m.kmem_cache_free(id, a).unwrap();
    m.kmem_cache_free(id, b).unwrap();
    m.kernel_write(VirtAddr(b.0 + 8), &[0x42]);
    let c = m.kmem_cache_alloc(id, Gfp::KERNEL).unwrap();
    assert_ne!(c, b);
    let log: Vec<&str> = m.log().map(|line| line.text.as_str()).collect();
    assert!(log.contains(&"BUG watched (Tainted: G    B             ): Poison overwritten"), "{log:#?}");
    assert!(log.iter().any(|line| line.starts_with("FIX watched: Restoring Poison 0x")));
    m.check().unwrap();
    m.kmem_cache_free(id, c).unwrap();
    m.check().unwrap();
}
