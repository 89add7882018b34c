//! What a report leaves out: which zones its kernel has, and those it did not print.
//!
//! Kernel: `include/linux/mmzone.h` (`enum zone_type`), `lib/show_mem.c` (zones above the request's are left out, 6.0).

use super::{Report, Version};
use crate::mm::config::ZoneType;
use crate::mm::gfp::Gfp;

/// The zones of the report's kernel, low to high: as many as `lowmem_reserve[]` has numbers.
pub fn zone_kinds(report: &Report) -> Vec<ZoneType> {
    use ZoneType::*;
    let length = report.zones.iter().map(|z| z.reserve.len()).max().unwrap_or(0);
    let seen = |kind: ZoneType| report.zones.iter().any(|z| z.kind == kind);
    let high = report.trailer.get("pages HighMem").is_some_and(|n| n.value > 0);
    let mut kinds: Vec<ZoneType> = ZoneType::ALL.into_iter().filter(|kind| seen(*kind)).collect();
    // Every kernel has Normal; Movable came with 2.6.23.
    let is_32bit = seen(HighMem) || (high && !seen(Dma32));
    let likely: &[ZoneType] = if is_32bit {
        &[Normal, HighMem, Movable, Dma, Device, Dma32]
    } else if seen(Dma32) || report.numa {
        &[Normal, Movable, Dma, Device, Dma32, HighMem]
    } else {
        &[Normal, Movable, HighMem, Dma, Dma32, Device]
    };
    for kind in likely {
        if kinds.len() < length && !kinds.contains(kind) {
            kinds.push(*kind);
        }
    }
    kinds.sort_unstable();
    kinds
}

/// The highest zone a mask may use on a kernel with these zones (`gfp_zone`).
pub fn highest_zone(gfp: Gfp, kinds: &[ZoneType]) -> ZoneType {
    let has = |kind: ZoneType| kinds.contains(&kind);
    let low = |kind: ZoneType| if has(kind) { kind } else { ZoneType::Normal };
    if gfp.has(Gfp::DMA) {
        return low(ZoneType::Dma);
    }
    if gfp.has(Gfp::DMA32) {
        return low(ZoneType::Dma32);
    }
    match (gfp.has(Gfp::HIGHMEM), gfp.has(Gfp::MOVABLE)) {
        (true, true) => ZoneType::Movable,
        (true, false) if has(ZoneType::HighMem) => ZoneType::HighMem,
        _ => ZoneType::Normal,
    }
}

/// Frames that exist beside those of the zones that are printed, and pages free in them.
pub fn missing(report: &Report) -> Option<(u64, u64)> {
    // Older kernels print every zone, and count holes as RAM.
    if report.version().is_none_or(|version| version < Version(6, 0, 0)) {
        return None;
    }
    let pages = |kb: u64| kb / report.page_kb();
    let ram = report.trailer.get("pages RAM")?.value;
    let present = report.zones.iter().fold(0u64, |sum, z| sum.saturating_add(pages(z.kb("present"))));
    if report.zones.iter().any(|z| z.get("present").is_none()) {
        return None;
    }
    let free = report.zones.iter().fold(0u64, |sum, z| sum.saturating_add(pages(z.kb("free"))));
    let total = report.totals.get("free").map_or(0, |n| n.value);
    let frames = ram.saturating_sub(present);
    // Counters are read one after another: a few pages are no zone.
    (frames > 4096 && frames > ram / 64).then(|| (frames, total.saturating_sub(free).min(frames)))
}
