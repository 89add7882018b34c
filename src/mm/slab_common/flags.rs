//! `SLAB_*`: what a cache is like.
//!
//! Kernel: `include/linux/slab.h`, `mm/slab.h`.
//! Fidelity: faithful — bits and names of 6.1.

use crate::mm::gfp::Gfp;
use std::fmt;

/// Flags of a cache (`slab_flags_t`).
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct SlabFlags(pub u32);

macro_rules! slab_flags {
    ($($name:ident = $bits:literal, $text:literal, $doc:literal;)*) => {
        impl SlabFlags {
    /// What the pages of a cache's slabs are asked for with (`allocflags`).
    pub(crate) fn allocflags(self) -> Gfp {
        let masks = [
            (SlabFlags::CACHE_DMA, Gfp::DMA),
            (SlabFlags::CACHE_DMA32, Gfp::DMA32),
            (SlabFlags::RECLAIM_ACCOUNT, Gfp::RECLAIMABLE),
        ];
        masks.into_iter().filter(|(flag, _)| self.has(*flag)).fold(Gfp::NONE, |gfp, (_, mask)| gfp | mask)
    }

            $(#[doc = $doc] pub const $name: SlabFlags = SlabFlags($bits);)*

            /// Every flag: name, bits, meaning.
            pub const ALL: &[(&str, SlabFlags, &str)] = &[$(($text, SlabFlags::$name, $doc),)*];
        }
    };
}

slab_flags! {
    CONSISTENCY_CHECKS = 0x100, "SLAB_CONSISTENCY_CHECKS", "Checks each object when it is given out and taken back.";
    RED_ZONE = 0x400, "SLAB_RED_ZONE", "Bytes around each object that nobody may write: finds overflows.";
    POISON = 0x800, "SLAB_POISON", "Free objects are filled with 0x6b: finds use after free.";
    KMALLOC = 0x1000, "SLAB_KMALLOC", "One of the size classes of kmalloc.";
    HWCACHE_ALIGN = 0x2000, "SLAB_HWCACHE_ALIGN", "Objects begin at a cache line, or share one evenly.";
    CACHE_DMA = 0x4000, "SLAB_CACHE_DMA", "Slabs come from ZONE_DMA.";
    CACHE_DMA32 = 0x8000, "SLAB_CACHE_DMA32", "Slabs come from below 4 GiB.";
    STORE_USER = 0x10000, "SLAB_STORE_USER", "Remembers who had each object last, and who freed it.";
    RECLAIM_ACCOUNT = 0x20000, "SLAB_RECLAIM_ACCOUNT", "Objects can be given back under pressure: dentries, inodes.";
    PANIC = 0x40000, "SLAB_PANIC", "The kernel cannot go on without this cache.";
    TYPESAFE_BY_RCU = 0x80000, "SLAB_TYPESAFE_BY_RCU", "A slab's pages are freed only after readers under RCU have gone.";
    TRACE = 0x200000, "SLAB_TRACE", "Every allocation and free is written to the log.";
    ACCOUNT = 0x4000000, "SLAB_ACCOUNT", "Charged to the memory cgroup of whoever allocates.";
    NO_USER_FLAGS = 0x10000000, "SLAB_NO_USER_FLAGS", "Debugging flags of the command line do not apply.";
    OBJECT_POISON = 0x80000000, "__OBJECT_POISON", "Objects themselves are poisoned: there is no constructor.";
}

impl SlabFlags {
    /// No flag.
    pub const NONE: SlabFlags = SlabFlags(0);
    /// Flags that cost time to find mistakes (`SLAB_DEBUG_FLAGS`).
    pub const DEBUG_FLAGS: SlabFlags = SlabFlags(
        SlabFlags::RED_ZONE.0
            | SlabFlags::POISON.0
            | SlabFlags::STORE_USER.0
            | SlabFlags::TRACE.0
            | SlabFlags::CONSISTENCY_CHECKS.0,
    );
    /// Caches with one of these are never merged (`SLAB_NEVER_MERGE`).
    pub const NEVER_MERGE: SlabFlags = SlabFlags(
        SlabFlags::RED_ZONE.0
            | SlabFlags::POISON.0
            | SlabFlags::STORE_USER.0
            | SlabFlags::TRACE.0
            | SlabFlags::TYPESAFE_BY_RCU.0
            | SlabFlags::NO_USER_FLAGS.0,
    );
    /// Caches are merged only when these agree (`SLAB_MERGE_SAME`).
    pub const MERGE_SAME: SlabFlags = SlabFlags(
        SlabFlags::RECLAIM_ACCOUNT.0
            | SlabFlags::CACHE_DMA.0
            | SlabFlags::CACHE_DMA32.0
            | SlabFlags::ACCOUNT.0,
    );
    /// What a caller of `kmem_cache_create` may ask for.
    pub const PERMITTED: SlabFlags = SlabFlags(0x17ff_fd00 & !SlabFlags::KMALLOC.0);

    /// True when every flag of `other` is set.
    #[inline]
    pub const fn has(self, other: SlabFlags) -> bool {
        self.0 & other.0 == other.0
    }

    /// True when one flag of `other` is set.
    #[inline]
    pub const fn any(self, other: SlabFlags) -> bool {
        self.0 & other.0 != 0
    }

    /// These flags, with or without those of `other`.
    pub const fn with(self, other: SlabFlags, on: bool) -> SlabFlags {
        SlabFlags(if on { self.0 | other.0 } else { self.0 & !other.0 })
    }
}

impl std::ops::BitOr for SlabFlags {
    type Output = SlabFlags;
    fn bitor(self, other: SlabFlags) -> SlabFlags {
        SlabFlags(self.0 | other.0)
    }
}

/// `SLAB_HWCACHE_ALIGN|SLAB_PANIC`.
impl fmt::Display for SlabFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for &(name, bits, _) in SlabFlags::ALL {
            if self.has(bits) {
                write!(f, "{separator}{name}")?;
                separator = "|";
            }
        }
        if separator.is_empty() { write!(f, "0") } else { Ok(()) }
    }
}

impl fmt::Debug for SlabFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
