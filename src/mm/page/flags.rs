//! Flags of a page: what it is used for, and what reclaim knows about it.
//!
//! Gorman 2.4. Kernel: `include/linux/page-flags.h`, `include/trace/events/mmflags.h`.
//! Fidelity: faithful — names, bits. Simplified — tails have a bit of their own, where the kernel has `mappedtodisk`.

use std::fmt;

/// Flags of a page (`PG_*`).
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct PageFlags(pub u32);

macro_rules! page_flags {
    ($($name:ident = $bit:literal, $text:literal, $doc:literal;)*) => {
        impl PageFlags {
            $(#[doc = $doc] pub const $name: PageFlags = PageFlags(1 << $bit);)*

            /// Every flag: name, bit number, meaning.
            pub const ALL: &[(&str, u32, &str)] = &[$(($text, $bit, $doc),)*];
        }
    };
}

page_flags! {
    LOCKED = 0, "locked", "Locked for IO or for a change of its contents.";
    REFERENCED = 1, "referenced", "Used since reclaim last looked.";
    UPTODATE = 2, "uptodate", "The contents are valid.";
    DIRTY = 3, "dirty", "Changed since it was read or written back.";
    LRU = 4, "lru", "On a list of reclaim.";
    ACTIVE = 5, "active", "On an active list.";
    WORKINGSET = 6, "workingset", "Was evicted and came back soon: part of the working set.";
    WAITERS = 7, "waiters", "Somebody waits for it.";
    ERROR = 8, "error", "An IO error hit it.";
    SLAB = 9, "slab", "Belongs to a slab cache.";
    SWAPCACHE = 10, "swapcache", "In the swap cache (owner_priv_1).";
    EXCLUSIVE = 11, "anon_exclusive", "This anonymous page belongs to one process alone (arch_1 stands beside it in the kernel).";
    RESERVED = 12, "reserved", "Never given to the buddy allocator.";
    PRIVATE = 13, "private", "Carries buffers.";
    PRIVATE_2 = 14, "private_2", "For the file system.";
    WRITEBACK = 15, "writeback", "Being written.";
    HEAD = 16, "head", "First page of a compound page.";
    TAIL = 17, "tail", "Another page of a compound page (the kernel tags compound_head instead).";
    RECLAIM = 18, "reclaim", "To be reclaimed as soon as writing it ends.";
    SWAPBACKED = 19, "swapbacked", "Its backing store is swap.";
    UNEVICTABLE = 20, "unevictable", "May not be reclaimed.";
    MLOCKED = 21, "mlocked", "Locked into memory by mlock.";
}

impl PageFlags {
    /// No flag.
    pub const NONE: PageFlags = PageFlags(0);

    /// True when every flag of `other` is set.
    #[inline]
    pub const fn has(self, other: PageFlags) -> bool {
        self.0 & other.0 == other.0
    }

    /// True when one flag of `other` is set.
    #[inline]
    pub const fn any(self, other: PageFlags) -> bool {
        self.0 & other.0 != 0
    }
}

impl std::ops::BitOr for PageFlags {
    type Output = PageFlags;
    fn bitor(self, other: PageFlags) -> PageFlags {
        PageFlags(self.0 | other.0)
    }
}

/// `uptodate,lru,active`, as crash prints flags.
impl fmt::Display for PageFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for &(name, bit, _) in PageFlags::ALL {
            if self.0 & (1 << bit) != 0 {
                write!(f, "{separator}{name}")?;
                separator = ",";
            }
        }
        Ok(())
    }
}

impl fmt::Debug for PageFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
