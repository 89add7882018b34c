//! `struct kmem_cache`.
//!
//! Kernel: `include/linux/slub_def.h`; SLAB's and SLOB's keep fewer of these members.

use super::member::{Member, Value, member, somewhere};
use crate::mm::Machine;
use crate::mm::addr::{Order, PAGE_SIZE};
use crate::mm::slab_common::CacheId;

/// Order in the upper half of a word, objects in the lower: `struct kmem_cache_order_objects`.
fn order_objects(order: Order, objects: u32) -> Value {
    let packed = u64::from(order.get()) << 16 | u64::from(objects);
    Value::Group(vec![somewhere("unsigned int", "x", Value::Number(packed))])
}

/// A cache's descriptor.
pub fn kmem_cache(machine: &Machine, id: CacheId) -> Vec<Member> {
    let cache = &machine.caches.all[id];
    let number = |n: u32| Value::Number(n.into());
    let least = (PAGE_SIZE << cache.min_order.get()) / u64::from(cache.size.max(1));
    vec![
        member("slab_flags_t", "flags", 8, number(cache.flags.0)),
        member("unsigned long", "min_partial", 16, number(cache.min_partial)),
        member("unsigned int", "size", 24, number(cache.size)),
        member("unsigned int", "object_size", 28, number(cache.object_size)),
        member("unsigned int", "offset", 40, number(cache.offset)),
        member("unsigned int", "cpu_partial", 44, number(cache.cpu_partial)),
        member("unsigned int", "cpu_partial_slabs", 48, number(cache.cpu_partial_slabs)),
        member("struct kmem_cache_order_objects", "oo", 52, order_objects(cache.order, cache.objects)),
        member("struct kmem_cache_order_objects", "min", 56, order_objects(cache.min_order, least as u32)),
        member("gfp_t", "allocflags", 60, number(cache.allocflags.0)),
        member("int", "refcount", 64, Value::Signed(cache.refcount.into())),
        member("unsigned int", "inuse", 80, number(cache.inuse)),
        member("unsigned int", "align", 84, number(cache.align)),
        member("unsigned int", "red_left_pad", 88, number(cache.red_left_pad)),
        member("const char *", "name", 96, Value::Text(cache.name().into())),
    ]
}
