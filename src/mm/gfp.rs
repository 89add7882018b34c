//! Get-free-page flags: where a page may come from, and what may be done to get it.
//!
//! Gorman 6.4. Kernel: `include/linux/gfp_types.h`, `include/linux/gfp.h`, `include/trace/events/mmflags.h`.
//! Fidelity: faithful — bits, combinations and spelling of 6.1, zone and migratetype of a mask; names of 2.4 as aliases.

use crate::mm::config::{Arch, MigrateType, ZoneType};
use std::fmt;

/// A mask of get-free-page flags (`gfp_t`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Gfp(pub u32);

macro_rules! flags {
    ($($name:ident = $bits:expr, $text:literal, $doc:literal;)*) => {
        impl Gfp {
            $(#[doc = $doc] pub const $name: Gfp = Gfp($bits);)*

            /// Every name a script may write, its bits, and what it means.
            pub const FLAGS: &[(&str, Gfp, &str)] = &[$(($text, Gfp::$name, $doc),)*];
        }
    };
}

flags! {
    DMA = 0x01, "__GFP_DMA", "From ZONE_DMA only: old devices.";
    HIGHMEM = 0x02, "__GFP_HIGHMEM", "May come from ZONE_HIGHMEM: the kernel needs no permanent mapping of it.";
    DMA32 = 0x04, "__GFP_DMA32", "From below 4 GiB only.";
    MOVABLE = 0x08, "__GFP_MOVABLE", "The page can be migrated or reclaimed: may come from ZONE_MOVABLE.";
    RECLAIMABLE = 0x10, "__GFP_RECLAIMABLE", "A slab page that a shrinker can give back.";
    HIGH = 0x20, "__GFP_HIGH", "Important: may use half of the reserve below min.";
    IO = 0x40, "__GFP_IO", "Reclaim may start input and output.";
    FS = 0x80, "__GFP_FS", "Reclaim may call into the file system.";
    ZERO = 0x100, "__GFP_ZERO", "The page comes filled with zeros.";
    ATOMIC_FLAG = 0x200, "__GFP_ATOMIC", "The caller cannot sleep and is important: it may go a quarter deeper below min.";
    DIRECT_RECLAIM = 0x400, "__GFP_DIRECT_RECLAIM", "The caller may reclaim itself, so it may sleep.";
    KSWAPD_RECLAIM = 0x800, "__GFP_KSWAPD_RECLAIM", "kswapd may be woken.";
    WRITE = 0x1000, "__GFP_WRITE", "The page will be dirtied: spread over zones.";
    NOWARN = 0x2000, "__GFP_NOWARN", "A failure is not written to the log.";
    RETRY_MAYFAIL = 0x4000, "__GFP_RETRY_MAYFAIL", "Try hard, but fail rather than kill a task.";
    NOFAIL = 0x8000, "__GFP_NOFAIL", "Never fails: the allocator tries for ever.";
    NORETRY = 0x10000, "__GFP_NORETRY", "One light attempt at reclaim, then fail.";
    MEMALLOC = 0x20000, "__GFP_MEMALLOC", "Ignores the watermarks: the caller will free memory very soon.";
    COMP = 0x40000, "__GFP_COMP", "A block of several pages becomes one compound page.";
    NOMEMALLOC = 0x80000, "__GFP_NOMEMALLOC", "Never uses the emergency reserves; stronger than __GFP_MEMALLOC.";
    HARDWALL = 0x100000, "__GFP_HARDWALL", "Only from the nodes of the task's cpuset.";
    THISNODE = 0x200000, "__GFP_THISNODE", "From the given node or not at all.";
    ACCOUNT = 0x400000, "__GFP_ACCOUNT", "Charged to the task's memory cgroup.";
    ZEROTAGS = 0x800000, "__GFP_ZEROTAGS", "Memory tags are zeroed with the page (arm64).";
    RECLAIM = 0xc00, "__GFP_RECLAIM", "May sleep for direct reclaim, and may wake kswapd.";
    ATOMIC = 0xa20, "GFP_ATOMIC", "Cannot sleep, and is important: interrupt handlers.";
    KERNEL = 0xcc0, "GFP_KERNEL", "The usual mask of the kernel: may sleep, start IO, enter the file system.";
    KERNEL_ACCOUNT = 0x400cc0, "GFP_KERNEL_ACCOUNT", "As GFP_KERNEL, charged to the memory cgroup.";
    NOWAIT = 0x800, "GFP_NOWAIT", "Cannot sleep; may wake kswapd.";
    NOIO = 0xc00, "GFP_NOIO", "May reclaim clean pages, but start no IO.";
    NOFS = 0xc40, "GFP_NOFS", "May start IO, but not enter the file system.";
    USER = 0x100cc0, "GFP_USER", "For user space, also reachable by the kernel.";
    HIGHUSER = 0x100cc2, "GFP_HIGHUSER", "For user space, from high memory if there is any.";
    HIGHUSER_MOVABLE = 0x100cca, "GFP_HIGHUSER_MOVABLE", "For user space, and can be migrated: pages of tasks.";
    TRANSHUGE_LIGHT = 0x1c20ca, "GFP_TRANSHUGE_LIGHT", "A huge page without reclaim or compaction.";
    TRANSHUGE = 0x1c24ca, "GFP_TRANSHUGE", "A huge page, with direct reclaim and compaction.";
}

/// Names of 2.4 and 2.6 (Gorman's book), and what they are today; at the end, names that stand for no bit here.
pub const OLD_NAMES: &[(&str, Gfp, &str)] = &[
    ("__GFP_WAIT", Gfp::RECLAIM, "2.4 to 4.3; today __GFP_RECLAIM."),
    ("__GFP_HIGHIO", Gfp::IO, "2.4: IO on high memory; today __GFP_IO."),
    ("__GFP_REPEAT", Gfp::RETRY_MAYFAIL, "2.6 to 4.12; today __GFP_RETRY_MAYFAIL."),
    ("__GFP_COLD", Gfp(0), "2.6 to 4.14; gone."),
    ("__GFP_NO_GROW", Gfp(0), "2.6: a cache shall not grow; gone."),
    ("__GFP_NO_KSWAPD", Gfp(0), "3.x; today the absence of __GFP_KSWAPD_RECLAIM."),
    ("__GFP_OTHER_NODE", Gfp(0), "2.6.38 to 4.9; gone."),
    ("__GFP_NOTRACK", Gfp(0), "2.6.31 to 4.14: not for kmemcheck; gone."),
    ("GFP_LEVEL_MASK", Gfp(0x5_ece0), "2.6: the flags that a slab hands down; gone."),
    ("GFP_TEMPORARY", Gfp(0xcd0), "2.6.24 to 4.13: GFP_KERNEL|__GFP_RECLAIMABLE; gone."),
    ("GFP_IOFS", Gfp(0xc0), "2.6.35 to 4.3: __GFP_IO|__GFP_FS; gone."),
    ("GFP_THISNODE", Gfp(0x21_2000), "2.6.18 to 3.19: __GFP_THISNODE|__GFP_NORETRY|__GFP_NOWARN; gone."),
    ("GFP_NOHIGHIO", Gfp::NOFS, "2.4; today GFP_NOFS."),
    ("GFP_KSWAPD", Gfp::KERNEL, "2.4; today GFP_KERNEL."),
    ("GFP_DMA", Gfp::DMA, "The same as __GFP_DMA."),
    ("GFP_DMA32", Gfp::DMA32, "The same as __GFP_DMA32."),
    ("__GFP_SKIP_ZERO", Gfp(0), "A bit only in kernels with memory tags (CONFIG_KASAN_HW_TAGS)."),
    ("__GFP_SKIP_KASAN_UNPOISON", Gfp(0), "A bit only in kernels with memory tags (CONFIG_KASAN_HW_TAGS)."),
    ("__GFP_SKIP_KASAN_POISON", Gfp(0), "A bit only in kernels with memory tags (CONFIG_KASAN_HW_TAGS)."),
    ("__GFP_NOLOCKDEP", Gfp(0), "A bit only in kernels that check their locks (CONFIG_LOCKDEP)."),
];

/// The order in which the kernel spells a mask: combinations first, each taking its bits away.
const SPELLING: &[(Gfp, &str)] = &[
    (Gfp::TRANSHUGE, "GFP_TRANSHUGE"),
    (Gfp::TRANSHUGE_LIGHT, "GFP_TRANSHUGE_LIGHT"),
    (Gfp::HIGHUSER_MOVABLE, "GFP_HIGHUSER_MOVABLE"),
    (Gfp::HIGHUSER, "GFP_HIGHUSER"),
    (Gfp::USER, "GFP_USER"),
    (Gfp::KERNEL_ACCOUNT, "GFP_KERNEL_ACCOUNT"),
    (Gfp::KERNEL, "GFP_KERNEL"),
    (Gfp::NOFS, "GFP_NOFS"),
    (Gfp::ATOMIC, "GFP_ATOMIC"),
    (Gfp::NOIO, "GFP_NOIO"),
    (Gfp::NOWAIT, "GFP_NOWAIT"),
    (Gfp::DMA, "GFP_DMA"),
    (Gfp::HIGHMEM, "__GFP_HIGHMEM"),
    (Gfp::DMA32, "GFP_DMA32"),
    (Gfp::HIGH, "__GFP_HIGH"),
    (Gfp::ATOMIC_FLAG, "__GFP_ATOMIC"),
    (Gfp::IO, "__GFP_IO"),
    (Gfp::FS, "__GFP_FS"),
    (Gfp::NOWARN, "__GFP_NOWARN"),
    (Gfp::RETRY_MAYFAIL, "__GFP_RETRY_MAYFAIL"),
    (Gfp::NOFAIL, "__GFP_NOFAIL"),
    (Gfp::NORETRY, "__GFP_NORETRY"),
    (Gfp::COMP, "__GFP_COMP"),
    (Gfp::ZERO, "__GFP_ZERO"),
    (Gfp::NOMEMALLOC, "__GFP_NOMEMALLOC"),
    (Gfp::MEMALLOC, "__GFP_MEMALLOC"),
    (Gfp::HARDWALL, "__GFP_HARDWALL"),
    (Gfp::THISNODE, "__GFP_THISNODE"),
    (Gfp::RECLAIMABLE, "__GFP_RECLAIMABLE"),
    (Gfp::MOVABLE, "__GFP_MOVABLE"),
    (Gfp::ACCOUNT, "__GFP_ACCOUNT"),
    (Gfp::WRITE, "__GFP_WRITE"),
    (Gfp::RECLAIM, "__GFP_RECLAIM"),
    (Gfp::DIRECT_RECLAIM, "__GFP_DIRECT_RECLAIM"),
    (Gfp::KSWAPD_RECLAIM, "__GFP_KSWAPD_RECLAIM"),
    (Gfp::ZEROTAGS, "__GFP_ZEROTAGS"),
];

/// All bits that mean something in 6.1.
pub const GFP_ALL: Gfp = Gfp((1 << 27) - 1);

impl Gfp {
    /// No flag at all: cannot sleep, wakes nobody.
    pub const NONE: Gfp = Gfp(0);

    /// True when every flag of `other` is set.
    #[inline]
    pub const fn has(self, other: Gfp) -> bool {
        self.0 & other.0 == other.0
    }

    /// True when at least one flag of `other` is set.
    #[inline]
    pub const fn any(self, other: Gfp) -> bool {
        self.0 & other.0 != 0
    }

    /// These flags without those of `other`.
    #[inline]
    pub const fn without(self, other: Gfp) -> Gfp {
        Gfp(self.0 & !other.0)
    }

    /// May the caller sleep? (`gfpflags_allow_blocking`)
    #[inline]
    pub const fn may_sleep(self) -> bool {
        self.has(Gfp::DIRECT_RECLAIM)
    }

    /// What makes no sense about the mask, one sentence each; two zones are told by [`Gfp::zone`].
    pub fn contradictions(self) -> Vec<&'static str> {
        let rules: [(bool, &str); 5] = [
            (
                self.has(Gfp::MOVABLE | Gfp::RECLAIMABLE),
                "movable and reclaimable at once: the kernel warns (VM_WARN_ON in gfp_migratetype)",
            ),
            (
                self.has(Gfp::ATOMIC_FLAG | Gfp::DIRECT_RECLAIM),
                "who may sleep needs no atomic reserve: the kernel warns and drops __GFP_ATOMIC",
            ),
            (
                self.has(Gfp::NOFAIL) && !self.may_sleep(),
                "__GFP_NOFAIL cannot hold without sleeping: the kernel warns, and the request may fail",
            ),
            (
                self.has(Gfp::NOFAIL) && self.any(Gfp::NORETRY | Gfp::RETRY_MAYFAIL),
                "__GFP_NOFAIL and a flag that asks to fail: after each failure it goes on all the same",
            ),
            (
                self.has(Gfp::MEMALLOC | Gfp::NOMEMALLOC),
                "__GFP_NOMEMALLOC is stronger than __GFP_MEMALLOC: no reserve is opened",
            ),
        ];
        rules.into_iter().filter(|(broken, _)| *broken).map(|(_, what)| what).collect()
    }

    /// The pageblocks the page belongs into (`gfp_migratetype`).
    #[inline]
    pub const fn migratetype(self) -> MigrateType {
        match self.0 & (Gfp::MOVABLE.0 | Gfp::RECLAIMABLE.0) {
            0 => MigrateType::Unmovable,
            0x08 => MigrateType::Movable,
            // Both bits contradict each other; the kernel warns and reads them as reclaimable here.
            _ => MigrateType::Reclaimable,
        }
    }

    /// The highest zone the page may come from (`gfp_zone`), on an architecture that may lack some zones.
    ///
    /// Two of `__GFP_DMA`, `__GFP_DMA32` and `__GFP_HIGHMEM` contradict each other: `None`.
    #[inline]
    pub const fn zone(self, arch: Arch) -> Option<ZoneType> {
        ZONE_TABLE[arch as usize][self.0 as usize & 0x0f]
    }
}

/// The highest zone for each value of the four zone bits (`GFP_ZONE_TABLE`).
const ZONE_TABLE: [[Option<ZoneType>; 16]; Arch::ALL.len()] = {
    let mut table = [[None; 16]; Arch::ALL.len()];
    let mut at = 0;
    while at < Arch::ALL.len() * 16 {
        let (arch, bits) = (Arch::ALL[at / 16], at % 16);
        table[arch as usize][bits] = match bits {
            0x00 | 0x08 => Some(arch.nearest_zone(ZoneType::Normal)),
            0x01 | 0x09 => Some(arch.nearest_zone(ZoneType::Dma)),
            0x04 | 0x0c => Some(arch.nearest_zone(ZoneType::Dma32)),
            0x02 => Some(arch.nearest_zone(ZoneType::HighMem)),
            0x0a => Some(arch.nearest_zone(ZoneType::Movable)),
            _ => None,
        };
        at += 1;
    }
    table
};

impl std::ops::BitOr for Gfp {
    type Output = Gfp;
    fn bitor(self, other: Gfp) -> Gfp {
        Gfp(self.0 | other.0)
    }
}

/// As the kernel spells a mask: `GFP_KERNEL|__GFP_COMP`.
impl fmt::Display for Gfp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut left = *self;
        let mut separator = "";
        for &(bits, name) in SPELLING {
            if left.has(bits) {
                write!(f, "{separator}{name}")?;
                left = left.without(bits);
                separator = "|";
            }
        }
        if left.0 != 0 {
            write!(f, "{separator}{:#x}", left.0)
        } else if separator.is_empty() {
            write!(f, "0")
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_are_spelled_as_the_kernel_spells_them() {
        assert_eq!(Gfp(0x140dca).to_string(), "GFP_HIGHUSER_MOVABLE|__GFP_COMP|__GFP_ZERO");
        assert_eq!(Gfp(0x40cc0).to_string(), "GFP_KERNEL|__GFP_COMP");
        assert_eq!(Gfp::ATOMIC.to_string(), "GFP_ATOMIC");
        assert_eq!(Gfp(0).to_string(), "0");
        assert_eq!(Gfp::TRANSHUGE.to_string(), "GFP_TRANSHUGE");
    }

    #[test]
    fn names_of_combinations_are_their_bits() {
        let flag = |name: &str| Gfp::FLAGS.iter().find(|f| f.0 == name).unwrap().1;
        let all = |names: &[&str]| names.iter().fold(Gfp::NONE, |mask, name| mask | flag(name));
        for (name, parts) in [
            ("GFP_ATOMIC", &["__GFP_HIGH", "__GFP_ATOMIC", "__GFP_KSWAPD_RECLAIM"][..]),
            ("GFP_KERNEL", &["__GFP_RECLAIM", "__GFP_IO", "__GFP_FS"]),
            ("GFP_KERNEL_ACCOUNT", &["GFP_KERNEL", "__GFP_ACCOUNT"]),
            ("GFP_NOWAIT", &["__GFP_KSWAPD_RECLAIM"]),
            ("GFP_NOIO", &["__GFP_RECLAIM"]),
            ("GFP_NOFS", &["__GFP_RECLAIM", "__GFP_IO"]),
            ("GFP_USER", &["__GFP_RECLAIM", "__GFP_IO", "__GFP_FS", "__GFP_HARDWALL"]),
            ("GFP_HIGHUSER", &["GFP_USER", "__GFP_HIGHMEM"]),
            ("GFP_HIGHUSER_MOVABLE", &["GFP_HIGHUSER", "__GFP_MOVABLE"]),
            ("GFP_TRANSHUGE", &["GFP_TRANSHUGE_LIGHT", "__GFP_DIRECT_RECLAIM"]),
        ] {
            assert_eq!(flag(name), all(parts), "{name}");
        }
        let light = Gfp(all(&["GFP_HIGHUSER_MOVABLE", "__GFP_COMP", "__GFP_NOMEMALLOC", "__GFP_NOWARN"]).0);
        assert_eq!(flag("GFP_TRANSHUGE_LIGHT"), light.without(Gfp::RECLAIM));
        // Every single bit of 6.1 has a name, and the kernel's spelling names it, too.
        for bit in (0..24).map(|n| Gfp(1 << n)) {
            assert!(Gfp::FLAGS.iter().any(|f| f.1 == bit && f.0.starts_with("__")), "{bit:?}");
            assert!(!bit.to_string().starts_with("0x"), "{bit:?}");
        }
    }

    #[test]
    fn a_mask_that_makes_no_sense_says_so() {
        assert!(Gfp::KERNEL.contradictions().is_empty() && Gfp::ATOMIC.contradictions().is_empty());
        for mask in [
            Gfp::MOVABLE | Gfp::RECLAIMABLE,
            Gfp::ATOMIC | Gfp::DIRECT_RECLAIM,
            Gfp::NOWAIT | Gfp::NOFAIL,
            Gfp::KERNEL | Gfp::NOFAIL | Gfp::NORETRY,
            Gfp::MEMALLOC | Gfp::NOMEMALLOC,
        ] {
            assert_eq!(mask.contradictions().len(), 1, "{mask}");
        }
    }

    #[test]
    fn a_mask_chooses_a_zone_and_a_migratetype() {
        assert_eq!(Gfp::KERNEL.zone(Arch::X86_64), Some(ZoneType::Normal));
        assert_eq!(Gfp::HIGHUSER.zone(Arch::X86_64), Some(ZoneType::Normal));
        assert_eq!(Gfp::HIGHUSER.zone(Arch::I386), Some(ZoneType::HighMem));
        assert_eq!(Gfp::HIGHUSER_MOVABLE.zone(Arch::X86_64), Some(ZoneType::Movable));
        assert_eq!(Gfp::DMA32.zone(Arch::I386), Some(ZoneType::Normal));
        assert_eq!((Gfp::DMA | Gfp::HIGHMEM).zone(Arch::X86_64), None);
        assert_eq!(Gfp::HIGHUSER_MOVABLE.migratetype(), MigrateType::Movable);
    }
}
