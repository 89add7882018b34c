//! Masks of other kernels: the bits moved five times, the names nearly never.
//!
//! | kernels | `GFP_KERNEL` | printed as |
//! |---|---|---|
//! | up to 4.3 | `0xd0` | `mode:0xd0` |
//! | 4.4, 4.5 | `0x24000c0` | `mode:0x24000c0` |
//! | 4.6 to 4.9 | `0x24000c0` | `mode:0x24000c0(GFP_KERNEL)` |
//! | 4.10 to 4.14 | `0x14000c0` | with names, as from 4.6 on |
//! | 4.15 to 5.0 | `0x6000c0` | |
//! | 5.1 and later | `0xcc0` | |
//!
//! Kernel: `include/linux/gfp.h`, `include/trace/events/mmflags.h`.
//! Fidelity: faithful — names where they are printed, else the bits of that kernel, both as 6.1 would have them.

use super::Version;
use crate::mm::gfp::{Gfp, OLD_NAMES};

/// A mask as 6.1 would have it, and what its own kernel allowed it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mask {
    /// As it was printed: `0x40c00(GFP_NOIO|__GFP_COMP)`.
    pub printed: String,
    /// The mask of 6.1 that means the same.
    pub gfp: Gfp,
    /// May it go a quarter deeper? Up to 4.3 whoever could not sleep might, since 6.3 who is important as well.
    pub harder: bool,
}

const WAIT: u32 = 0x10;

/// Bits that every kernel has had in the same place.
const ALWAYS: [(u32, Gfp); 6] =
    [(1, Gfp::DMA), (2, Gfp::HIGHMEM), (4, Gfp::DMA32), (0x20, Gfp::HIGH), (0x40, Gfp::IO), (0x80, Gfp::FS)];
/// Bits from 2.6 to 5.0.
const BEFORE_5_1: [(u32, Gfp); 11] = [
    (8, Gfp::MOVABLE),
    (0x200, Gfp::NOWARN),
    (0x400, Gfp::RETRY_MAYFAIL),
    (0x800, Gfp::NOFAIL),
    (0x1000, Gfp::NORETRY),
    (0x2000, Gfp::MEMALLOC),
    (0x4000, Gfp::COMP),
    (0x8000, Gfp::ZERO),
    (0x1_0000, Gfp::NOMEMALLOC),
    (0x2_0000, Gfp::HARDWALL),
    (0x4_0000, Gfp::THISNODE),
];
const UP_TO_4_3: [(u32, Gfp); 3] =
    [(WAIT, Gfp::RECLAIM), (0x8_0000, Gfp::RECLAIMABLE), (0x100_0000, Gfp::WRITE)];
const FROM_4_4: [(u32, Gfp); 3] =
    [(0x10, Gfp::RECLAIMABLE), (0x8_0000, Gfp::ATOMIC_FLAG), (0x10_0000, Gfp::ACCOUNT)];
const IN_4_4: [(u32, Gfp); 3] =
    [(0x40_0000, Gfp::DIRECT_RECLAIM), (0x100_0000, Gfp::WRITE), (0x200_0000, Gfp::KSWAPD_RECLAIM)];
const IN_4_10: [(u32, Gfp); 3] =
    [(0x40_0000, Gfp::DIRECT_RECLAIM), (0x80_0000, Gfp::WRITE), (0x100_0000, Gfp::KSWAPD_RECLAIM)];
const IN_4_15: [(u32, Gfp); 3] =
    [(0x100, Gfp::WRITE), (0x20_0000, Gfp::DIRECT_RECLAIM), (0x40_0000, Gfp::KSWAPD_RECLAIM)];

/// Reads a mask: `0x40c00(GFP_NOIO|__GFP_COMP)`, or its bits alone.
pub fn read(printed: &str, version: Option<Version>) -> Mask {
    let (hex, names) = printed.split_once('(').unwrap_or((printed, ""));
    let digits = hex.trim_start_matches("0x").trim_end_matches(|c: char| !c.is_ascii_hexdigit());
    let bits = u32::from_str_radix(digits, 16).unwrap_or(0);
    let names = names.split(')').next().unwrap_or("");
    let mut gfp = if names.is_empty() { by_bits(bits, version) } else { by_names(names) };
    let may_sleep = gfp.has(Gfp::DIRECT_RECLAIM);
    let important = match version {
        Some(version) if version >= Version(6, 3, 0) => gfp.has(Gfp::HIGH) && !may_sleep,
        Some(version) if version < Version(4, 4, 0) => !may_sleep,
        // A mask without a version: only the oldest kernels print no names, and only their masks are so short.
        None if names.is_empty() && bits < 0x10_0000 => !may_sleep,
        _ => gfp.has(Gfp::ATOMIC_FLAG),
    };
    if important && gfp.has(Gfp::HIGH) {
        gfp = gfp | Gfp::ATOMIC_FLAG;
    }
    Mask { printed: printed.to_string(), gfp, harder: important && !gfp.has(Gfp::NOMEMALLOC) }
}

fn by_names(names: &str) -> Gfp {
    names.split('|').fold(Gfp::NONE, |mask, name| {
        let name = name.trim();
        // What 6.1 does not know (GFP_NOTRACK, a number) says nothing about where a page comes from.
        let known = Gfp::FLAGS.iter().chain(OLD_NAMES).find(|flag| flag.0 == name);
        known.map_or(mask, |flag| mask | flag.1)
    })
}

fn by_bits(bits: u32, version: Option<Version>) -> Gfp {
    let pick = |tables: &[&[(u32, Gfp)]]| {
        let set = tables.iter().flat_map(|table| table.iter()).filter(|(bit, _)| bits & bit != 0);
        set.fold(Gfp::NONE, |mask, (_, flag)| mask | *flag)
    };
    // Without a version: names are missing only up to 4.5, and 4.4 moved what makes masks long.
    let version = version.unwrap_or(if bits >= 0x40_0000 { Version(4, 4, 0) } else { Version(2, 6, 32) });
    if version >= Version(5, 1, 0) {
        return Gfp(bits & crate::mm::gfp::GFP_ALL.0);
    }
    if version >= Version(4, 15, 0) {
        return pick(&[&ALWAYS, &BEFORE_5_1, &FROM_4_4, &IN_4_15]);
    }
    if version >= Version(4, 10, 0) {
        return pick(&[&ALWAYS, &BEFORE_5_1, &FROM_4_4, &IN_4_10]);
    }
    if version >= Version(4, 4, 0) {
        return pick(&[&ALWAYS, &BEFORE_5_1, &FROM_4_4, &IN_4_4]);
    }
    let mut gfp = pick(&[&ALWAYS, &BEFORE_5_1, &UP_TO_4_3]);
    // Who asked was never in doubt that kswapd is woken, but for huge pages (__GFP_NO_KSWAPD, 3.x).
    if bits & 0x40_0000 == 0 {
        gfp = gfp | Gfp::KSWAPD_RECLAIM;
    }
    // 2.6.23 to 2.6.30 had __GFP_MOVABLE here.
    if version < Version(2, 6, 31) && bits & 0x10_0000 != 0 {
        gfp = gfp | Gfp::MOVABLE;
    }
    gfp
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gfp_kernel_is_itself_in_every_kernel() {
        for (printed, version) in [
            ("0xd0", Version(2, 6, 32)),
            ("0x24000c0", Version(4, 4, 0)),
            ("0x24000c0(GFP_KERNEL)", Version(4, 8, 0)),
            ("0x14000c0", Version(4, 12, 0)),
            ("0x6000c0", Version(4, 19, 57)),
            ("0xcc0", Version(5, 1, 0)),
            ("0xcc0(GFP_KERNEL)", Version(6, 10, 0)),
        ] {
            let mask = read(printed, Some(version));
            assert_eq!((mask.gfp, mask.harder), (Gfp::KERNEL, false), "{printed} of {version}");
            let alone = read(printed, None);
            if printed.contains('(') || version < Version(4, 10, 0) {
                assert_eq!(alone.gfp, Gfp::KERNEL, "{printed} of an unknown kernel");
            }
        }
    }

    #[test]
    fn who_cannot_sleep_may_go_deeper() {
        for (printed, version, harder) in [
            ("0x20", Version(3, 13, 0), true),
            ("0x480020(GFP_ATOMIC)", Version(4, 18, 0), true),
            ("0xa20(GFP_ATOMIC)", Version(5, 4, 26), true),
            ("0x820(GFP_ATOMIC)", Version(6, 9, 0), true),
            ("0x400000(GFP_NOWAIT)", Version(5, 0, 10), false),
        ] {
            let mask = read(printed, Some(version));
            assert_eq!(mask.harder, harder, "{printed}");
            assert_eq!(mask.gfp == Gfp::ATOMIC, harder, "{printed}: {}", mask.gfp);
        }
        assert_eq!(read("0x2200000", Some(Version(4, 4, 169))).gfp, Gfp::NOWAIT);
        assert_eq!(read("0x200da", Some(Version(2, 6, 32))).gfp, Gfp::HIGHUSER_MOVABLE);
        assert_eq!(read("0x1201d2", Some(Version(2, 6, 26))).gfp, Gfp::HIGHUSER_MOVABLE);
        let kswapd = read("0xc0c40(GFP_NOFS|__GFP_COMP|__GFP_NOMEMALLOC)", None);
        assert!(kswapd.gfp.has(Gfp::NOMEMALLOC) && !kswapd.harder);
        assert_eq!(read("nonsense", None).gfp, Gfp::KSWAPD_RECLAIM);
    }
}
