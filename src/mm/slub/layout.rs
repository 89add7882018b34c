//! How large a slab is, and where things stand in an object.
//!
//! ```text
//!   plain     │ object        │                                      the free pointer lies in the middle of it
//!   debugged  │ red zone │ object │ red zone │ free pointer │ tracks │ padding │
//!             0          └ red_left_pad       └ offset                        └ size
//! ```
//!
//! Kernel: `mm/slub.c` (`calculate_sizes`, `calculate_order`, `set_min_partial`, `set_cpu_partial`).
//! Fidelity: faithful — all of it; the caches of every captured kernel come out as they were.

use crate::mm::addr::{Order, PAGE_SIZE};
use crate::mm::config::Arch;
use crate::mm::gfp::Gfp;
use crate::mm::machine::Machine;
use crate::mm::slab_common::{KmemCache, SlabFlags};

/// The largest order that is tried for more objects (`slub_max_order`).
const SLUB_MAX_ORDER: u32 = 3;
/// Objects that a slab can count.
const MAX_OBJS_PER_PAGE: u64 = 32767;
/// Empty slabs that a node keeps at least, and at most.
const MIN_PARTIAL: u32 = 5;
const MAX_PARTIAL: u32 = 10;

/// The smallest order whose block holds so many bytes (`get_order`).
fn get_order(bytes: u64) -> u32 {
    bytes.div_ceil(PAGE_SIZE).next_power_of_two().trailing_zeros()
}

fn order_objects(order: u32, size: u64) -> u64 {
    (PAGE_SIZE << order) / size
}

/// The first order that holds enough objects and wastes little (`calc_slab_order`).
fn calc_slab_order(size: u64, min_objects: u64, max_order: u32, fraction: u64) -> u32 {
    if order_objects(0, size) > MAX_OBJS_PER_PAGE {
        return get_order(size * MAX_OBJS_PER_PAGE) - 1;
    }
    let mut order = get_order(min_objects * size);
    while order <= max_order {
        let slab = PAGE_SIZE << order;
        if slab % size <= slab / fraction {
            break;
        }
        order += 1;
    }
    order
}

/// The order of a cache's slabs, on a machine with so many CPUs (`calculate_order`).
pub(crate) fn calculate_order(size: u64, cpus: u64) -> Option<Order> {
    // 4 * (fls(cpus) + 1): more CPUs take more objects at once.
    let wanted = 4 * (u64::from(64 - cpus.leading_zeros()) + 1);
    let mut min_objects = wanted.min(order_objects(SLUB_MAX_ORDER, size));
    while min_objects > 1 {
        for fraction in [16, 8, 4] {
            let order = calc_slab_order(size, min_objects, SLUB_MAX_ORDER, fraction);
            if order <= SLUB_MAX_ORDER {
                return Order::new(order as u8);
            }
        }
        min_objects -= 1;
    }
    // A slab of one object, however much is wasted.
    let order = calc_slab_order(size, 1, SLUB_MAX_ORDER, 1);
    let order = if order <= SLUB_MAX_ORDER {
        order
    } else {
        calc_slab_order(size, 1, u32::from(Order::MAX.get()), 1)
    };
    Order::new(u8::try_from(order).ok()?)
}

impl Machine {
    /// Bytes of one record of `SLAB_STORE_USER` (`struct track`).
    fn sizeof_track(&self) -> u32 {
        if self.config.arch.is_64bit() { 32 } else { 20 }
    }

    /// Does the cache remember how much kmalloc was asked for?
    pub(super) fn has_orig_size(cache: &KmemCache) -> bool {
        cache.flags.has(SlabFlags::STORE_USER | SlabFlags::KMALLOC)
    }

    /// Where the metadata that the kernel knows of ends (`get_info_end` and what follows).
    pub(super) fn info_end(&self, cache: &KmemCache) -> u32 {
        let word = self.config.arch.pointer_bytes();
        let mut end = if cache.offset >= cache.inuse { cache.inuse + word } else { cache.inuse };
        if cache.flags.has(SlabFlags::STORE_USER) {
            end += 2 * self.sizeof_track();
        }
        end + if Machine::has_orig_size(cache) { 4 } else { 0 }
    }

    /// Sizes, offsets and order of a cache (`calculate_sizes`, `kmem_cache_open`).
    pub(crate) fn slub_calculate_sizes(&self, cache: &mut KmemCache) -> Option<()> {
        let word = self.config.arch.pointer_bytes();
        let flags = cache.flags;
        let has_poison =
            flags.has(SlabFlags::POISON) && !flags.has(SlabFlags::TYPESAFE_BY_RCU) && !cache.ctor;
        cache.flags = flags.with(SlabFlags::OBJECT_POISON, has_poison);
        let mut size = cache.object_size.next_multiple_of(word);
        if flags.has(SlabFlags::RED_ZONE) && size == cache.object_size {
            size += word;
        }
        cache.inuse = size;
        let outside = Machine::has_orig_size(cache)
            || flags.any(SlabFlags::TYPESAFE_BY_RCU | SlabFlags::POISON)
            || (flags.has(SlabFlags::RED_ZONE) && cache.object_size < word)
            || cache.ctor;
        if outside {
            cache.offset = size;
            size += word;
        } else {
            // In the middle, where neither a short overflow nor an underflow reaches it.
            cache.offset = cache.object_size / 2 / word * word;
        }
        if flags.has(SlabFlags::STORE_USER) {
            size += 2 * self.sizeof_track() + if Machine::has_orig_size(cache) { 4 } else { 0 };
        }
        cache.red_left_pad = 0;
        if flags.has(SlabFlags::RED_ZONE) {
            cache.red_left_pad = word.next_multiple_of(cache.align);
            size += word + cache.red_left_pad;
        }
        self.set_size(cache, size.next_multiple_of(cache.align))
    }

    /// What follows from the distance between objects.
    pub(crate) fn set_size(&self, cache: &mut KmemCache, size: u32) -> Option<()> {
        cache.size = size;
        cache.reciprocal = (1u64 << 46) / u64::from(size) + 1;
        let bytes = u64::from(size);
        let cpus = self.config.nr_cpus().max(1) as u64;
        cache.order = calculate_order(bytes, cpus)?;
        cache.objects = order_objects(cache.order.get().into(), bytes) as u32;
        cache.min_order = Order::new(get_order(bytes) as u8)?;
        let compound = if cache.order > Order::ZERO { Gfp::COMP } else { Gfp::NONE };
        cache.allocflags = compound | cache.flags.allocflags();
        cache.min_partial = (size.ilog2() / 2).clamp(MIN_PARTIAL, MAX_PARTIAL);
        cache.cpu_partial = match size {
            // CONFIG_SLUB_CPU_PARTIAL needs more than one CPU.
            _ if cache.is_debug() || self.config.arch == Arch::Uml => 0,
            4096.. => 6,
            1024.. => 24,
            256.. => 52,
            _ => 120,
        };
        cache.cpu_partial_slabs = (cache.cpu_partial * 2).div_ceil(cache.objects.max(1));
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slabs_hold_enough_objects_and_waste_little() {
        let shape = |size: u64, cpus| {
            let order = calculate_order(size, cpus).unwrap();
            (order_objects(order.get().into(), size), 1 << order.get())
        };
        // size → objects, pages: kmalloc-256, task_struct, TCPv6, net_namespace, names_cache on one CPU.
        assert_eq!(shape(256, 1), (16, 1));
        assert_eq!(shape(6208, 1), (5, 8));
        assert_eq!(shape(2432, 1), (13, 8));
        assert_eq!(shape(4480, 1), (7, 8));
        assert_eq!(shape(4096, 1), (8, 8));
        // More CPUs, more objects: mm_struct and kmalloc-512.
        assert_eq!((shape(1152, 2), shape(512, 1), shape(512, 4)), ((14, 4), (8, 1), (16, 2)));
        assert_eq!(shape(100_000, 1), (1, 32));
        assert_eq!(calculate_order(5 << 20, 1), None);
    }
}
