//! What a script reads from the handle of a cache.
//!
//! Kernel: `struct kmem_cache`, `include/linux/slub_def.h`.

use super::functions::Cache;
use crate::script::answer::ScriptResult;
use crate::script::bench::Bench;
use rhai::plugin::*;

/// What a script reads from the handle of a cache.
#[export_module]
pub mod functions {
    /// The cache's name.
    #[rhai_fn(get = "name", pure, return_raw)]
    pub fn name(ctx: NativeCallContext, cache: &mut Cache) -> ScriptResult<String> {
        let bench = Bench::of(&ctx);
        let desk = bench.borrow();
        let id = cache.id(&desk)?;
        Ok(desk.machine.caches.all[id].name().to_string())
    }

    /// Bytes of an object.
    #[rhai_fn(get = "objsize", pure, return_raw)]
    pub fn objsize(ctx: NativeCallContext, cache: &mut Cache) -> ScriptResult<i64> {
        let bench = Bench::of(&ctx);
        let desk = bench.borrow();
        let id = cache.id(&desk)?;
        Ok(desk.machine.caches.all[id].object_size.into())
    }

    /// Bytes from one object to the next.
    #[rhai_fn(get = "size", pure, return_raw)]
    pub fn size(ctx: NativeCallContext, cache: &mut Cache) -> ScriptResult<i64> {
        let bench = Bench::of(&ctx);
        let desk = bench.borrow();
        let id = cache.id(&desk)?;
        Ok(desk.machine.caches.all[id].size.into())
    }

    /// Objects of all slabs.
    #[rhai_fn(get = "num_objs", pure, return_raw)]
    pub fn num_objs(ctx: NativeCallContext, cache: &mut Cache) -> ScriptResult<i64> {
        let bench = Bench::of(&ctx);
        let desk = bench.borrow();
        Ok(desk.machine.slabinfo(cache.id(&desk)?).num_objs as i64)
    }

    /// Objects that are not free on a node's partial list, as /proc/slabinfo counts.
    #[rhai_fn(get = "active_objs", pure, return_raw)]
    pub fn active_objs(ctx: NativeCallContext, cache: &mut Cache) -> ScriptResult<i64> {
        let bench = Bench::of(&ctx);
        let desk = bench.borrow();
        Ok(desk.machine.slabinfo(cache.id(&desk)?).active_objs as i64)
    }

    /// Objects in use, each looked at, as `kmem -s` counts.
    #[rhai_fn(get = "allocated", pure, return_raw)]
    pub fn allocated(ctx: NativeCallContext, cache: &mut Cache) -> ScriptResult<i64> {
        let bench = Bench::of(&ctx);
        let desk = bench.borrow();
        Ok(desk.machine.cache_census(cache.id(&desk)?).allocated as i64)
    }

    /// Slabs.
    #[rhai_fn(get = "num_slabs", pure, return_raw)]
    pub fn num_slabs(ctx: NativeCallContext, cache: &mut Cache) -> ScriptResult<i64> {
        let bench = Bench::of(&ctx);
        let desk = bench.borrow();
        Ok(desk.machine.slabinfo(cache.id(&desk)?).num_slabs as i64)
    }

    /// The order of a slab.
    #[rhai_fn(get = "order", pure, return_raw)]
    pub fn order(ctx: NativeCallContext, cache: &mut Cache) -> ScriptResult<i64> {
        let bench = Bench::of(&ctx);
        let desk = bench.borrow();
        let id = cache.id(&desk)?;
        Ok(desk.machine.caches.all[id].order.get().into())
    }

    #[rhai_fn(name = "to_string", name = "to_debug", pure)]
    pub fn cache_text(ctx: NativeCallContext, cache: &mut Cache) -> String {
        cache.text(&Bench::of(&ctx).borrow())
    }
}
