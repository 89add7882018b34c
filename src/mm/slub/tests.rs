use super::*;
use crate::import::shipped;
use crate::mm::gfp::Gfp;
use crate::mm::slab_common::{CacheArgs, SlabPath, ZERO_SIZE_PTR};

fn machine() -> Machine {
    Machine::boot(shipped::get("x86_64-smp4-1G").unwrap()).unwrap()
}

#[test]
fn what_is_taken_comes_back() {
    let mut m = machine();
    m.check().unwrap();
    let before = m.nr_free_and_pcp_pages();
    let id = m.kmem_cache_create(&CacheArgs { name: "test", size: 200, ..CacheArgs::default() }).unwrap();
    let mut objects: Vec<VirtAddr> = (0..1000).map(|_| m.kmem_cache_alloc(id, Gfp::KERNEL).unwrap()).collect();
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
    assert!(m.slub_shrink(descriptors) || m.cache_census(descriptors).slabs > 0);
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
    let stat = |item| m.caches.all[id].stat.get(item);
    assert_eq!((stat(Stat::AllocFastpath), stat(Stat::FreeFastpath), stat(Stat::AllocSlab)), (2, 1, 1));
}

#[test]
fn bad_frees_are_refused() {
    let mut m = machine();
    let a = m.kmalloc(100, Gfp::KERNEL).unwrap();
    let line = |oops: Result<(), crate::mm::errno::Oops>| oops.unwrap_err().line.clone();
    assert!(line(m.kfree(VirtAddr(a.0 + 4))).starts_with("BUG kmalloc-128 (Not tainted): Invalid object pointer"));
    m.kfree(a).unwrap();
    assert_eq!(line(m.kfree(a)), "BUG kmalloc-128 (Tainted: G    B): Object already free");
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
    let id = m.kmem_cache_create(&CacheArgs { name: "watched", size: 60, flags, ..CacheArgs::default() }).unwrap();
    let a = m.kmem_cache_alloc(id, Gfp::KERNEL).unwrap();
    let b = m.kmem_cache_alloc(id, Gfp::KERNEL).unwrap();
    m.fill_bytes(VirtAddr(a.0 + 60), 2, 0x41);
    let oops = m.kmem_cache_free(id, a).unwrap_err();
    assert_eq!(oops.line, "BUG watched (Not tainted): Right Redzone overwritten");
    // It was repaired: the second time it goes well.
    m.kmem_cache_free(id, a).unwrap();
    m.kmem_cache_free(id, b).unwrap();
    m.fill_bytes(VirtAddr(b.0 + 8), 1, 0x42);
    let c = m.kmem_cache_alloc(id, Gfp::KERNEL).unwrap();
    assert_ne!(c, b);
    let log: Vec<&str> = m.log().map(|line| line.text.as_str()).collect();
    assert!(log.contains(&"BUG watched (Tainted: G    B): Poison overwritten"), "{log:#?}");
    assert!(log.iter().any(|line| line.starts_with("FIX watched: Restoring Poison 0x")));
    m.check().unwrap();
    m.kmem_cache_free(id, c).unwrap();
    m.check().unwrap();
}
