//! How SLAB cuts pages into objects: order, colour, where the freelist lies, how long queues are.
//!
//! Gorman 8.1.4 to 8.1.6. Kernel: `mm/slab.c` (`calculate_slab_order`, `set_*_slab_cache`, `enable_cpucache`).
//! Fidelity: faithful — the three places of the freelist are tried in the kernel's order, with its conditions.

use super::SlabCache;
use crate::mm::addr::{Order, PAGE_SHIFT, PAGE_SIZE};
use crate::mm::gfp::Gfp;
use crate::mm::machine::Machine;
use crate::mm::slab_common::{CacheId, KMALLOC_MAX_CACHE_SIZE, KmemCache, SlabFlags};

/// Objects are at least so large: then an index fits a byte (`SLAB_OBJ_MIN_SIZE`).
const SLAB_OBJ_MIN_SIZE: u64 = 16;
/// Most objects of a slab (`SLAB_OBJ_MAX_NUM`).
const SLAB_OBJ_MAX_NUM: u64 = 255;
/// Orders are not raised above this for a better fit, on a machine with more than 32 MiB (`SLAB_MAX_ORDER_HI`).
const SLAB_MAX_ORDER_HI: u8 = 1;

/// Where slabs of a cache have their freelist.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FreelistPlace {
    /// In one of their free objects (`CFLGS_OBJFREELIST_SLAB`).
    InObject,
    /// In an object of another cache (`CFLGS_OFF_SLAB`).
    OffSlab(CacheId),
    /// At their own end.
    OnSlab,
}

impl FreelistPlace {
    /// `on slab`, `off slab`, `in an object`.
    pub fn name(self) -> &'static str {
        match self {
            FreelistPlace::InObject => "in an object",
            FreelistPlace::OffSlab(_) => "off slab",
            FreelistPlace::OnSlab => "on slab",
        }
    }
}

/// Order, objects, and bytes left over of a slab.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Shape {
    order: u8,
    num: u32,
    left: u32,
}

/// Limit, batchcount, and length of the shared array in batches, for objects of a size (`enable_cpucache`).
pub fn cpucache_sizes(size: u64, cpus: usize) -> (u32, u32, u32) {
    let limit = match size {
        131_073.. => 1,
        size if size > PAGE_SIZE => 8,
        1025.. => 24,
        257.. => 54,
        _ => 120,
    };
    let shared = if size <= PAGE_SIZE && cpus > 1 { 8 } else { 0 };
    (limit, limit.div_ceil(2), shared)
}

/// The offsets of the first objects of `n` slabs, one after another: as 6.1 counts, and as 2.4 did.
///
/// 6.1 adds one before it looks, so its first slab has colour 1.
pub fn colours(colour: u32, colour_off: u32, n: usize) -> [Vec<u32>; 2] {
    let turn = |first: u32| (0..n as u32).map(|k| (first + k) % colour.max(1) * colour_off).collect();
    [turn(1), turn(0)]
}

impl Machine {
    /// Sizes and order of a new cache; `None` when no block holds one object.
    pub(crate) fn slab_calculate_sizes(&self, cache: &mut KmemCache) -> Option<()> {
        let word = u64::from(self.config.arch.pointer_bytes());
        let align = u64::from(cache.align);
        let size = u64::from(cache.object_size).next_multiple_of(word).next_multiple_of(align);
        let size = if size < SLAB_OBJ_MIN_SIZE { SLAB_OBJ_MIN_SIZE.next_multiple_of(align) } else { size };
        cache.size = u32::try_from(size).ok()?;
        cache.inuse = cache.object_size;
        cache.reciprocal = (1_u64 << 46).div_ceil(size);
        let (shape, _) = self.slab_shape(cache)?;
        (cache.objects, cache.order) = (shape.num, Order::new(shape.order)?);
        cache.min_order = cache.order;
        cache.allocflags = Gfp::COMP | cache.flags.allocflags();
        Some(())
    }

    /// SLAB's own state of a cache, without queues yet.
    pub(super) fn slab_state_of(&self, id: CacheId) -> Option<SlabCache> {
        let cache = &self.caches.all[id];
        let (shape, freelist) = self.slab_shape(cache)?;
        let colour_off = self.config.arch.cache_line().max(cache.align);
        let (limit, batchcount, shared) = cpucache_sizes(u64::from(cache.size), self.caches.cpus);
        Some(SlabCache {
            num: shape.num,
            colour: shape.left / colour_off,
            colour_off,
            left_over: shape.left,
            freelist,
            limit,
            batchcount,
            shared,
            cpus: Vec::new(),
            nodes: Vec::new(),
            stats: Default::default(),
        })
    }

    /// Tries the places of the freelist in the kernel's order.
    fn slab_shape(&self, cache: &KmemCache) -> Option<(Shape, FreelistPlace)> {
        self.objfreelist(cache)
            .or_else(|| self.off_slab(cache))
            .or_else(|| Some((self.calculate_slab_order(cache, 1, None)?, FreelistPlace::OnSlab)))
    }

    /// The freelist lies in a free object, if a freed object may be written (`set_objfreelist_slab_cache`).
    fn objfreelist(&self, cache: &KmemCache) -> Option<(Shape, FreelistPlace)> {
        if cache.ctor || cache.flags.has(SlabFlags::TYPESAFE_BY_RCU) {
            return None;
        }
        let shape = self.calculate_slab_order(cache, 0, None)?;
        (shape.num <= cache.object_size).then_some((shape, FreelistPlace::InObject))
    }

    /// The freelist lies elsewhere, unless what is left over would hold it (`set_off_slab_cache`).
    fn off_slab(&self, cache: &KmemCache) -> Option<(Shape, FreelistPlace)> {
        let mut holder = None;
        let shape = self.calculate_slab_order(cache, 0, Some(&mut holder))?;
        let elsewhere = FreelistPlace::OffSlab(holder?);
        (shape.left < shape.num).then_some((shape, elsewhere))
    }

    /// The order at which little is left over (`calculate_slab_order`); `index` bytes of each object's share go to the
    /// freelist. With a place for it, slabs whose freelist is elsewhere are looked for.
    fn calculate_slab_order(
        &self,
        cache: &KmemCache,
        index: u64,
        mut holder: Option<&mut Option<CacheId>>,
    ) -> Option<Shape> {
        let size = u64::from(cache.size);
        let max_order = if self.totalram_pages() > (32 << 20) >> PAGE_SHIFT { SLAB_MAX_ORDER_HI } else { 0 };
        let mut found = None;
        for order in 0..=Order::MAX.get() {
            let bytes = PAGE_SIZE << order;
            let (num, left) = (bytes / (size + index), bytes % (size + index));
            if num == 0 {
                continue;
            }
            if num > SLAB_OBJ_MAX_NUM {
                break;
            }
            if let Some(holder) = &mut holder {
                let Some(other) = self.freelist_cache(num).filter(|other| {
                    let known = self.caches.slab.cache(*other);
                    let off = known.is_some_and(|known| matches!(known.freelist, FreelistPlace::OffSlab(_)));
                    !off && u64::from(self.caches.all[*other].size) <= size / 2
                }) else {
                    continue;
                };
                **holder = Some(other);
            }
            found = Some(Shape { order, num: num as u32, left: left as u32 });
            // Much that can be reclaimed is asked for where nothing may be: low orders are to be had.
            if cache.flags.has(SlabFlags::RECLAIM_ACCOUNT) || order >= max_order || left * 8 <= bytes {
                break;
            }
        }
        found
    }

    /// The cache for a freelist of so many bytes.
    fn freelist_cache(&self, bytes: u64) -> Option<CacheId> {
        (bytes <= KMALLOC_MAX_CACHE_SIZE).then(|| self.kmalloc_slab(bytes, Gfp::NONE)).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_are_shorter_for_larger_objects() {
        let sizes = [64, 512, 2048, 8192, 200_000].map(|size| cpucache_sizes(size, 2));
        assert_eq!(sizes, [(120, 60, 8), (54, 27, 8), (24, 12, 8), (8, 4, 0), (1, 1, 0)]);
        assert_eq!(cpucache_sizes(64, 1), (120, 60, 0));
    }

    #[test]
    fn colours_go_round() {
        // 100 bytes left over, lines of 32: colour 3.
        assert_eq!(colours(100 / 32, 32, 5), [vec![32, 64, 0, 32, 64], vec![0, 32, 64, 0, 32]]);
        assert_eq!(colours(0, 64, 2), [vec![0, 0], vec![0, 0]]);
    }
}
