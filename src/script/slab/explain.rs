//! `explain("kmalloc")`: which class, which cache, which way, what is lost.

use crate::mm::Machine;
use crate::mm::addr::PAGE_SHIFT;
use crate::mm::slab_common::{
    KMALLOC_MAX_CACHE_SIZE, KmallocType, LastSlabAlloc, SlabFlags, SlabPath, kmalloc_index,
};
use crate::mm::slub::Stat;
use std::fmt::Write;

/// The account of the last object that was given out.
pub fn explain(machine: &Machine) -> String {
    let Some(last) = machine.caches.last else {
        return "No object was allocated yet: kmalloc(100, GFP_KERNEL) takes one.\n".into();
    };
    let mut text = String::new();
    let LastSlabAlloc { cache, requested, gfp, addr, path, .. } = last;
    let Some((id, cache)) = cache.and_then(|id| Some((id, machine.caches.all.get(id)?))) else {
        return large(last);
    };
    if cache.flags.has(SlabFlags::KMALLOC) && requested > 0 {
        let index = kmalloc_index(machine.config.arch, requested);
        let _ = writeln!(text, "kmalloc({requested}, {gfp}) got {addr} from {}.", cache.name());
        let kind = match KmallocType::of(gfp) {
            KmallocType::Normal => "no flag asks for another type",
            KmallocType::Cgroup => "__GFP_ACCOUNT: charged to the memory cgroup",
            KmallocType::Reclaim => "__GFP_RECLAIMABLE: given back under pressure",
            KmallocType::Dma => "__GFP_DMA: from ZONE_DMA",
        };
        let _ = writeln!(
            text,
            "  class: index {index}, the smallest of at least {requested} bytes, has {}; {kind}.",
            cache.object_size
        );
        let lost = u64::from(cache.size) - requested;
        let _ = writeln!(
            text,
            "  lost: {lost} of {} bytes, {}% (internal fragmentation).",
            cache.size,
            percent(lost, u64::from(cache.size))
        );
    } else {
        let _ = writeln!(text, "kmem_cache_alloc({}, {gfp}) got {addr}.", cache.name());
        let lost = cache.size - cache.object_size;
        let _ = writeln!(
            text,
            "  object: {} bytes, {} to the next one: {lost} for alignment and metadata.",
            cache.object_size, cache.size
        );
    }
    let way = match path {
        SlabPath::Fastpath => "the CPU's own free list: one pop, no lock (fast path)".to_string(),
        SlabPath::Refill => "objects of the CPU's slab that were freed elsewhere (slow path, refill)".into(),
        SlabPath::CpuPartial => "the CPU's free list was empty; its partial list had a slab".into(),
        SlabPath::NodePartial { taken_along: 0 } => {
            "the CPU had nothing; the node's partial list gave a slab".into()
        }
        SlabPath::NodePartial { taken_along } => format!(
            "the CPU had nothing; the node's partial list gave a slab, and {taken_along} more for the CPU's partial list"
        ),
        SlabPath::NewSlab { order } => {
            let objects = (u64::from(order.pages()) << PAGE_SHIFT) / u64::from(cache.size);
            format!(
                "no slab had a free object: a new one of order {order}, {} pages cut into {objects} objects",
                order.pages()
            )
        }
        SlabPath::Large { .. } => String::new(),
        SlabPath::Other(way) => way.into(),
    };
    let _ = writeln!(text, "  way: {way}.");
    if cache.is_debug() {
        let _ = writeln!(
            text,
            "  debugged ({}): every object is checked, no CPU has a slab of its own.",
            cache.flags
        );
    }
    if let Some(stats) = machine.caches.slab.cache(id).map(|cache| cache.stats) {
        let (hits, misses, grown) = (stats.allochit, stats.allocmiss, stats.grown);
        let _ = writeln!(
            text,
            "  so far: {hits} from the CPU's queue, {misses} that filled it, {grown} new slabs."
        );
        let _ = writeln!(
            text,
            "Kernel: ____cache_alloc, cache_alloc_refill, cache_grow_begin.\n  Next: slabs({:?})",
            cache.name()
        );
        return text;
    }
    let (fast, slow) =
        (machine.slub_stat(id, Stat::AllocFastpath), machine.slub_stat(id, Stat::AllocSlowpath));
    let _ = writeln!(
        text,
        "  so far: {fast} fast, {slow} slow, {} new slabs.",
        machine.slub_stat(id, Stat::AllocSlab)
    );
    text.push_str("Kernel: slab_alloc_node, ___slab_alloc, new_slab.\n");
    let _ = writeln!(text, "  Next: kmem -S {}, slabinfo {}, explain(\"alloc\")", cache.name(), cache.name());
    text
}

fn large(last: LastSlabAlloc) -> String {
    if let SlabPath::Other(heap) = last.path {
        return format!(
            "kmalloc({}, {}) got {} from {heap}: the first free block that holds it and 8 bytes for its size.\n\
             Kernel: slob_alloc, slob_page_alloc.\n  Next: slob()\n",
            last.requested, last.gfp, last.addr
        );
    }
    let SlabPath::Large { order } = last.path else {
        return "The cache of the last object is gone.\n".into();
    };
    let given = u64::from(order.pages()) << PAGE_SHIFT;
    let lost = given - last.requested;
    format!(
        "kmalloc({}, {}) got {}: a block of order {order} straight from the buddy allocator.\n  \
         class: none, {} bytes are more than the {KMALLOC_MAX_CACHE_SIZE} of the largest.\n  \
         lost: {lost} of {given} bytes, {}%.\nKernel: __kmalloc_large_node.\n  Next: explain(\"alloc\"), kmem -f\n",
        last.requested,
        last.gfp,
        last.addr,
        last.requested,
        percent(lost, given)
    )
}

/// A share, to the nearest whole percent.
fn percent(part: u64, whole: u64) -> u64 {
    (part * 100 + whole / 2).checked_div(whole).unwrap_or(0)
}
