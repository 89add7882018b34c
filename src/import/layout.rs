//! Frames of a zone: where its holes are, and which free blocks a number of free pages makes.
//!
//! Gorman chapters 2 and 6. Kernel: `mm/mm_init.c`, `mm/memblock.c` (`__free_pages_memory`).
//! Fidelity: faithful — blocks aligned to their size and as large as possible, as boot frees them. Inferred — holes of
//! a capture that does not show them.

use crate::mm::addr::Order;
use crate::mm::config::{Arch, FreeBlocks, MigrateType, ZoneConfig};
use std::ops::Range;

/// The frames of `span` that none of `memory` covers, as first frame and length.
pub fn holes(span: Range<u64>, memory: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let mut memory: Vec<_> = memory.iter().map(|&(a, b)| (a.max(span.start), b.min(span.end))).collect();
    memory.retain(|(first, end)| first < end);
    memory.sort_unstable();
    let mut holes = Vec::new();
    let mut at = span.start;
    for (first, end) in memory {
        if first > at {
            holes.push((at, first - at));
        }
        at = at.max(end);
    }
    if at < span.end {
        holes.push((at, span.end - at));
    }
    holes
}

/// Where the holes of a zone probably are when only their size is known.
///
/// A PC has the first one below 1 MiB (video memory and firmware); the rest lies at the zone's end, where the PC's
/// devices are for DMA32.
pub fn infer_holes(arch: Arch, span: Range<u64>, present: u64) -> Vec<(u64, u64)> {
    const MIB: u64 = 0x100;
    let mut missing = (span.end - span.start).saturating_sub(present);
    let mut holes = Vec::new();
    let pc = matches!(arch, Arch::X86_64 | Arch::I386 | Arch::I386Pae);
    if pc && missing > 0 && span.start < MIB && span.end > MIB {
        let low = missing.min(MIB - span.start);
        holes.push((MIB - low, low));
        missing -= low;
    }
    if missing > 0 {
        holes.push((span.end - missing, missing));
    }
    holes
}

/// The frames of a zone that exist, low to high.
pub fn present(zone: &ZoneConfig) -> Vec<Range<u64>> {
    let end = zone.start_pfn.saturating_add(zone.spanned);
    let mut at = zone.start_pfn;
    let mut ranges = Vec::new();
    for &(first, length) in &zone.holes {
        if at < first {
            ranges.push(at..first.min(end));
        }
        at = at.max(first.saturating_add(length));
    }
    if at < end {
        ranges.push(at..end);
    }
    ranges
}

/// The highest `pages` frames of these ranges, low to high.
pub fn top(ranges: &[Range<u64>], pages: u64) -> Vec<Range<u64>> {
    let mut left = pages;
    let mut chosen = Vec::new();
    for range in ranges.iter().rev() {
        let take = left.min(range.end - range.start);
        if take > 0 {
            chosen.push(range.end - take..range.end);
        }
        left -= take;
    }
    chosen.reverse();
    chosen
}

/// The free blocks these frames make: each as large as its alignment and the range allow.
pub fn blocks(ranges: &[Range<u64>]) -> FreeBlocks {
    let largest = u64::from(Order::MAX.pages());
    let mut free = FreeBlocks::default();
    for range in ranges {
        let mut at = range.start;
        while at < range.end {
            let aligned = if at == 0 { Order::MAX.get().into() } else { at.trailing_zeros() };
            let fits = (range.end - at).ilog2();
            let order = aligned.min(fits).min(Order::MAX.get().into());
            // A terabyte has 262144 of the largest blocks: counted, not walked.
            let run = if 1 << order == largest { (range.end - at) / largest } else { 1 };
            free.blocks[order as usize] += run;
            at += run << order;
        }
    }
    free
}

/// Pageblocks that a span touches.
pub fn pageblocks(span: Range<u64>, order: Order) -> u64 {
    if span.is_empty() {
        return 0;
    }
    span.end.div_ceil(order.pages().into()) - span.start / u64::from(order.pages())
}

/// Gives a zone `free` free pages in the largest blocks at its top, `free_cma` of them in the CMA area at the very top.
pub fn fill(zone: &mut ZoneConfig, free: u64, free_cma: u64, pageblock: Order) {
    let ranges = present(zone);
    let all: u64 = ranges.iter().map(|r| r.end - r.start).sum();
    let (movable, cma) = (MigrateType::Movable.index(), MigrateType::Cma.index());
    zone.free = Default::default();
    let area = zone.cma.min(all).next_multiple_of(pageblock.pages().into()).min(all);
    if area == 0 {
        zone.free[movable] = blocks(&top(&ranges, free));
        return;
    }
    zone.free[cma] = blocks(&top(&ranges, free_cma.min(area)));
    // What lies below the area: all frames but the highest `area`.
    let below = bottom(&ranges, all - area);
    zone.free[movable] = blocks(&top(&below, free.saturating_sub(free_cma)));
    let total = pageblocks(zone.start_pfn..zone.start_pfn + zone.spanned, pageblock);
    zone.pageblocks = [0; MigrateType::COUNT];
    zone.pageblocks[cma] = area.div_ceil(pageblock.pages().into()).min(total);
    zone.pageblocks[movable] = total - zone.pageblocks[cma];
}

/// The lowest `pages` frames of these ranges, low to high.
fn bottom(ranges: &[Range<u64>], pages: u64) -> Vec<Range<u64>> {
    let mut left = pages;
    let mut chosen = Vec::new();
    for range in ranges {
        let take = left.min(range.end - range.start);
        if take > 0 {
            chosen.push(range.start..range.start + take);
        }
        left -= take;
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mm::config::ZoneType;

    #[test]
    fn a_pc_has_its_hole_below_a_megabyte() {
        assert_eq!(holes(1..0x1000, &[(1, 0x9f), (0x100, 0xffdd)]), [(0x9f, 0x61)]);
        assert_eq!(infer_holes(Arch::X86_64, 1..0x1000, 3998), [(0x9f, 0x61)]);
        assert_eq!(infer_holes(Arch::X86_64, 0x1000..0x100000, 782_288), [(0xbffd0, 0x40030)]);
        assert_eq!(infer_holes(Arch::Arm64, 0x40000..0x80000, 0x40000), []);
    }

    #[test]
    fn free_frames_are_blocks_as_large_as_alignment_allows() {
        let blocks = |range: Range<u64>| blocks(std::slice::from_ref(&range));
        // 0x3fd frames below 0x1000 with the first three missing: 3 -> 1, 4 -> 4, 8 -> 8, … up to half of the last MiB.
        let free = blocks(0xc03..0x1000);
        assert_eq!(free.blocks, [1, 0, 1, 1, 1, 1, 1, 1, 1, 1, 0]);
        assert_eq!(free.pages(), 0x3fd);
        // The classic: 16 MiB without its first quarter is three blocks of 4 MiB.
        assert_eq!(blocks(0x400..0x1000).blocks, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3]);
        assert_eq!(blocks(0..1 << 28).blocks[10], 1 << 18);
    }

    #[test]
    fn frames_are_taken_from_the_top() {
        let two = [0..10, 20..30];
        assert_eq!(top(&two, 15), [5..10, 20..30]);
        assert_eq!(top(&two, 99), two);
        assert_eq!(bottom(&two, 15), [0..10, 20..25]);
    }

    #[test]
    fn the_cma_area_is_at_the_top() {
        let mut zone =
            ZoneConfig { start_pfn: 0x40000, spanned: 0x20000, ..ZoneConfig::empty(ZoneType::Dma) };
        zone.cma = 16384;
        fill(&mut zone, 100_000, 16384, Order::PAGEBLOCK);
        assert_eq!(zone.free[MigrateType::Cma.index()].blocks[10], 16);
        assert_eq!(zone.free_pages(), 100_000);
        assert_eq!(zone.pageblocks, [0, 256 - 32, 0, 0, 32, 0]);
    }
}
