//! Events of slab caches: who took an object, who gave one back.
//!
//! Kernel: `include/trace/events/kmem.h`.
//! Fidelity: faithful — names and fields of the tracepoints of 6.1. Simplified —
//! `call_site` is not told: it would be the script.

use crate::mm::gfp::Gfp;
use std::fmt;
use std::rc::Rc;

/// Something a cache did.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum SlabEvent {
    Alloc { cache: Rc<[String]>, kmalloc: bool, addr: u64, requested: u32, given: u32, gfp: Gfp },
    Free { cache: Rc<[String]>, kmalloc: bool, addr: u64 },
}

impl SlabEvent {
    /// The tracepoint's name.
    pub fn name(&self) -> &'static str {
        match self {
            SlabEvent::Alloc { kmalloc: true, .. } => "kmalloc",
            SlabEvent::Alloc { .. } => "kmem_cache_alloc",
            SlabEvent::Free { kmalloc: true, .. } => "kfree",
            SlabEvent::Free { .. } => "kmem_cache_free",
        }
    }

    /// One sentence for a newcomer.
    pub fn explain(&self) -> String {
        match self {
            SlabEvent::Alloc { cache, addr, requested, given, .. } => {
                format!("{requested} bytes were wanted; {} gave the {given} at {addr:#x}.", cache[0])
            }
            SlabEvent::Free { cache, addr, .. } => {
                format!("The object at {addr:#x} went back to {}.", cache[0])
            }
        }
    }
}

impl fmt::Display for SlabEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SlabEvent::Alloc { cache, addr, requested, given, gfp, .. } => write!(
                f,
                "ptr={addr:#x} name={} bytes_req={requested} bytes_alloc={given} gfp_flags={gfp}",
                cache[0]
            ),
            SlabEvent::Free { cache, addr, .. } => write!(f, "ptr={addr:#x} name={}", cache[0]),
        }
    }
}
