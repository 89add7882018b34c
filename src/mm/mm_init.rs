//! From ranges of memory to zones: limits of the architecture, `ZONE_MOVABLE`, spans and holes; and what it costs.
//!
//! ```text
//!   memory of a node   ├────────────┤    ├──────────────────────────────┤
//!   limits             ├ DMA ┼────── DMA32 ──────┼──── Normal ───────────
//!   movablecore=                                             ├─ Movable ┤   cut from the highest zone
//!   spanned            ├──5──┼──────────14───────┼─────11────┼────10────┤
//!   present            ├──5──┼───7──┤    ├───3───┼─────11────┼────10────┤
//! ```
//!
//! Gorman 2.2, 2.3. Kernel: `mm/page_alloc.c` (`free_area_init`), `arch/*/mm/init.c`; `mm/mm_init.c` since 6.4.
//! Fidelity: faithful — limits of zones, `kernelcore=` and `movablecore=` (amounts, percents), `movable_node`, spans,
//! holes, the estimate of `Total pages`. Simplified — low memory of 32-bit x86 ends at 896 MiB unless a capture says
//! where (6.1 keeps 16 to 20 MiB more for fixed mappings). Absent — `kernelcore=mirror`, `ZONE_DEVICE`.

mod movable;
pub mod report;

pub use movable::CoreSize;

use crate::mm::addr::{Nid, PAGE_SHIFT, PAGE_SIZE};
use crate::mm::config::{Arch, Config, NodeConfig, ZoneConfig, ZoneType};
use std::ops::Range;

const MIB: u64 = 1 << (20 - PAGE_SHIFT);
const GIB: u64 = 1 << (30 - PAGE_SHIFT);
/// One past the last frame a machine can have: frame numbers are 32 bits, and the last one ends lists.
pub const MAX_PFN: u64 = u32::MAX as u64 - 1;

/// The zones of a kernel, Movable and Device apart, with the frames between which each lies (`max_zone_pfns`).
pub type ZoneLimits = Vec<(ZoneType, Range<u64>)>;

/// Memory of a node, as frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MemRange {
    /// First frame.
    pub start: u64,
    /// One past the last frame.
    pub end: u64,
    /// Its node.
    pub nid: Nid,
    /// It may be unplugged (`MEMBLOCK_HOTPLUG`).
    pub hotplug: bool,
}

impl MemRange {
    fn pages(self) -> u64 {
        self.end - self.start
    }
}

/// Where the zones of an architecture lie (`zone_sizes_init`).
pub fn zone_limits(arch: Arch) -> ZoneLimits {
    use ZoneType::*;
    match arch {
        Arch::X86_64 => vec![(Dma, 0..16 * MIB), (Dma32, 16 * MIB..4 * GIB), (Normal, 4 * GIB..MAX_PFN)],
        Arch::I386 | Arch::I386Pae => {
            vec![(Dma, 0..16 * MIB), (Normal, 16 * MIB..896 * MIB), (HighMem, 896 * MIB..MAX_PFN)]
        }
        // All devices of these machines reach 32 bits: DMA32 has nothing of its own.
        Arch::Arm64 => vec![(Dma, 0..4 * GIB), (Dma32, 4 * GIB..4 * GIB), (Normal, 4 * GIB..MAX_PFN)],
        Arch::Arm => vec![(Normal, 0..2 * GIB + 760 * MIB), (HighMem, 2 * GIB + 760 * MIB..MAX_PFN)],
        Arch::Uml => vec![(Normal, 0..MAX_PFN)],
    }
}

/// The same for a machine whose zones are known: low memory ends where its HighMem begins.
pub fn limits_of(config: &Config) -> ZoneLimits {
    let mut limits = zone_limits(config.arch);
    let zones = || config.nodes.iter().flat_map(|n| &n.zones).filter(|z| z.spanned > 0);
    let high = zones().filter(|z| z.kind == ZoneType::HighMem).map(|z| z.start_pfn).min();
    if let (Some(at), Some(high)) = (limits.iter().position(|l| l.0 == ZoneType::HighMem), high) {
        (limits[at - 1].1.end, limits[at].1.start) = (high, high);
    }
    limits
}

/// The memory of a machine whose zones are known, lowest first; neighbours of one node are one range.
pub fn memory_of(config: &Config) -> Vec<MemRange> {
    let mut ranges = Vec::new();
    for node in &config.nodes {
        for zone in &node.zones {
            ranges.extend(present(zone).into_iter().map(|r| MemRange {
                start: r.start,
                end: r.end,
                nid: node.nid,
                hotplug: false,
            }));
        }
    }
    ranges.sort_unstable_by_key(|r| r.start);
    ranges.dedup_by(|next, this| {
        let joined = this.end == next.start && this.nid == next.nid;
        if joined {
            this.end = next.end;
        }
        joined
    });
    ranges
}

/// The frames of a zone outside its holes, lowest first.
pub fn present(zone: &ZoneConfig) -> Vec<Range<u64>> {
    let mut holes = zone.holes.clone();
    holes.sort_unstable();
    let mut ranges = Vec::new();
    let (mut at, end) = (zone.start_pfn, zone.start_pfn.saturating_add(zone.spanned));
    for (first, length) in holes {
        if at < first.min(end) {
            ranges.push(at..first.min(end));
        }
        at = at.max(first.saturating_add(length));
    }
    if at < end {
        ranges.push(at..end);
    }
    ranges
}

/// Makes the zones of every node from its memory (`free_area_init`); `nodes` keep their CPUs and distances.
pub fn free_area_init(nodes: &mut [NodeConfig], limits: &ZoneLimits, memory: &[MemRange], core: Core) {
    let movable = movable::find_zone_movable_pfns_for_nodes(limits, memory, core);
    for node in nodes {
        let own: Vec<MemRange> = memory.iter().copied().filter(|r| r.nid == node.nid).collect();
        let from = movable.iter().find(|(nid, _)| *nid == node.nid).map(|(_, pfn)| *pfn);
        for zone in &mut node.zones {
            *zone = zone_of_node(zone.kind, limits, &own, from);
        }
    }
}

/// What the command line asks of `ZONE_MOVABLE`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Core {
    /// `kernelcore=`: memory that is not movable, at least.
    pub kernelcore: Option<CoreSize>,
    /// `movablecore=`: memory that is movable, at least.
    pub movablecore: Option<CoreSize>,
    /// `movable_node`: hotpluggable memory is movable.
    pub movable_node: bool,
}

impl Core {
    /// Nothing is asked.
    pub fn is_none(self) -> bool {
        self == Core::default()
    }
}

/// The zone of this kind in a node with this memory (`calculate_node_totalpages`).
fn zone_of_node(
    kind: ZoneType,
    limits: &ZoneLimits,
    memory: &[MemRange],
    movable: Option<u64>,
) -> ZoneConfig {
    let mut zone = ZoneConfig::empty(kind);
    let (Some(first), Some(last)) = (memory.first(), memory.last()) else { return zone };
    let movable_pfn = movable.unwrap_or(u64::MAX);
    let span = match limits.iter().find(|l| l.0 == kind) {
        // adjust_zone_range_for_zone_movable: what lies above is cut off.
        Some((_, limit)) => limit.start.max(first.start)..limit.end.min(last.end).min(movable_pfn),
        None if kind == ZoneType::Movable => movable_pfn..last.end,
        None => 0..0,
    };
    let inside = |r: &MemRange| r.end.min(span.end).saturating_sub(r.start.max(span.start));
    let present: u64 = memory.iter().map(inside).sum();
    if present == 0 {
        return zone;
    }
    (zone.start_pfn, zone.spanned) = (span.start, span.end - span.start);
    (zone.present, zone.managed) = (present, present);
    zone.holes = absent(span, memory);
    zone
}

/// The parts of a span where no memory is, as first frame and length (`zone_absent_pages_in_node`).
fn absent(span: Range<u64>, memory: &[MemRange]) -> Vec<(u64, u64)> {
    let mut holes = Vec::new();
    let mut at = span.start;
    for range in memory.iter().filter(|r| r.end > span.start && r.start < span.end) {
        if range.start > at {
            holes.push((at, range.start - at));
        }
        at = at.max(range.end.min(span.end));
    }
    if at < span.end {
        holes.push((at, span.end - at));
    }
    holes
}

impl Arch {
    /// One past the last physical address that it reaches.
    pub fn max_phys(self) -> u64 {
        match self {
            Arch::I386 | Arch::Arm => (4 * GIB) << PAGE_SHIFT,
            Arch::I386Pae => (64 * GIB) << PAGE_SHIFT,
            Arch::X86_64 | Arch::Arm64 | Arch::Uml => MAX_PFN << PAGE_SHIFT,
        }
    }

    /// Bytes of a `struct page` in the captured kernels of 6.1.
    pub fn page_struct_bytes(self) -> u64 {
        match self {
            Arch::X86_64 | Arch::Arm64 | Arch::Uml => 64,
            Arch::I386 | Arch::I386Pae => 40,
            Arch::Arm => 32,
        }
    }

    /// Frames of a memory section (`PAGES_PER_SECTION`); `None` where all descriptors are one array (`FLATMEM`).
    pub fn section_pages(self) -> Option<u64> {
        match self {
            Arch::X86_64 | Arch::Arm64 => Some(32768),
            Arch::I386 | Arch::I386Pae | Arch::Arm | Arch::Uml => None,
        }
    }
}

/// Pages that the descriptors of a zone take (`calc_memmap_size`).
pub fn calc_memmap_size(arch: Arch, zone: &ZoneConfig) -> u64 {
    // Where holes have no descriptors they cost nothing.
    let sparse = arch.section_pages().is_some() && zone.spanned > zone.present + (zone.present >> 4);
    let frames = if sparse { zone.present } else { zone.spanned };
    (frames * arch.page_struct_bytes()).div_ceil(PAGE_SIZE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_cut_by_limits_and_holes() {
        let limits = zone_limits(Arch::X86_64);
        let range = |start, end| MemRange { start, end, nid: Nid(0), hotplug: false };
        let memory = [range(1, 0x9f), range(0x100, 0xbffdd), range(0x10_0000, 0x14_0000)];
        let zone = zone_of_node(ZoneType::Dma32, &limits, &memory, None);
        assert_eq!((zone.start_pfn, zone.spanned, zone.present), (4096, 1_044_480, 782_301));
        assert_eq!(zone.holes, [(0xbffdd, 0x40023)]);
        let zone = zone_of_node(ZoneType::Normal, &limits, &memory, Some(0x12_0000));
        assert_eq!((zone.start_pfn, zone.present), (0x10_0000, 0x2_0000));
        let zone = zone_of_node(ZoneType::Movable, &limits, &memory, Some(0x12_0000));
        assert_eq!((zone.start_pfn, zone.present), (0x12_0000, 0x2_0000));
        assert_eq!(zone_of_node(ZoneType::Normal, &limits, &memory[..2], None).spanned, 0);
    }
}
