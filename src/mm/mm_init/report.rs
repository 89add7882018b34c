//! What the kernel says about memory while it boots: zones, nodes, estimates, and the line `Memory: …`.
//!
//! Kernel: `mm/page_alloc.c` (`free_area_init`, `memmap_init`, `build_all_zonelists`, `alloc_large_system_hash`,
//! `mem_init_print_info`).
//! Fidelity: faithful — the lines of every captured boot follow, but user-mode Linux's range of Normal, which counts
//! addresses that it never had memory for. Absent — machines so small that grouping is off group all the same.

use super::{MemRange, ZoneLimits, calc_memmap_size};
use crate::mm::addr::{PAGE_SHIFT, PAGE_SIZE};
use crate::mm::config::{Arch, Config, KernelImage, ZoneConfig, ZoneType};

/// `[mem 0x0000000000001000-0x000000000009efff]`.
fn mem(start: u64, end: u64) -> String {
    format!("[mem {:#018x}-{:#018x}]", start << PAGE_SHIFT, (end << PAGE_SHIFT) - 1)
}

/// The lines of `free_area_init`; `config` has the zones that were made.
pub fn free_area_lines(config: &Config, limits: &ZoneLimits, memory: &[MemRange]) -> Vec<String> {
    let mut lines = vec!["Zone ranges:".to_string()];
    let (first, end) = (memory.first().map_or(0, |r| r.start), memory.last().map_or(0, |r| r.end));
    for kind in config.arch.zone_types().iter().filter(|kind| **kind != ZoneType::Movable) {
        let limit = limits.iter().find(|l| l.0 == *kind).map_or(0..0, |l| l.1.clone());
        let (start, end) = (limit.start.max(first), limit.end.min(end));
        let range = if start < end { mem(start, end) } else { "empty".into() };
        lines.push(format!("  {:<8} {range}", kind.name()));
    }
    lines.push("Movable zone start for each node".into());
    for node in &config.nodes {
        let movable = node.zones.iter().find(|z| z.kind == ZoneType::Movable && z.present > 0);
        if let Some(zone) = movable {
            lines.push(format!("  Node {}: {:#018x}", node.nid, zone.start_pfn << PAGE_SHIFT));
        }
    }
    lines.push("Early memory node ranges".into());
    lines.extend(memory.iter().map(|r| format!("  node {:>3}: {}", r.nid.0, mem(r.start, r.end))));
    for node in &config.nodes {
        let own = || memory.iter().filter(|r| r.nid == node.nid);
        lines.push(match (own().next(), own().next_back()) {
            (Some(first), Some(last)) => {
                format!("Initmem setup node {} {}", node.nid, mem(first.start, last.end))
            }
            _ => format!("Initmem setup node {} as memoryless", node.nid),
        });
    }
    lines.extend(unavailable_lines(config, memory));
    lines
}

/// Frames without memory that have descriptors all the same (`memmap_init`).
fn unavailable_lines(config: &Config, memory: &[MemRange]) -> Vec<String> {
    let mut lines = Vec::new();
    let section = config.arch.section_pages();
    let end = memory.last().map_or(0, |r| r.end);
    // Where all descriptors are one array it reaches from the first frame of the board's memory to the last.
    let base = if config.arch == Arch::Arm { memory.first().map_or(0, |r| r.start) } else { 0 };
    let described = |from: u64, to: u64| match section {
        None => to.saturating_sub(from.max(base)),
        Some(pages) => {
            let present = |nr: u64| memory.iter().any(|r| r.start < (nr + 1) * pages && r.end > nr * pages);
            let within = |nr: u64| to.min((nr + 1) * pages) - from.max(nr * pages);
            (from / pages..to.div_ceil(pages)).filter(|nr| present(*nr)).map(within).sum()
        }
    };
    let mut hole = 0;
    let mut last = None;
    let mut tell = |hole: u64, to: u64, place: (crate::mm::addr::Nid, ZoneType)| {
        let pages = if hole < to { described(hole, to) } else { 0 };
        if pages > 0 {
            lines.push(format!("On node {}, zone {}: {pages} pages in unavailable ranges", place.0, place.1));
        }
    };
    for range in memory {
        let node = config.nodes.iter().find(|n| n.nid == range.nid);
        for zone in node.into_iter().flat_map(|n| &n.zones).filter(|z| z.present > 0) {
            let (start, end) =
                (range.start.max(zone.start_pfn), range.end.min(zone.start_pfn + zone.spanned));
            if start < end {
                tell(hole, start, (range.nid, zone.kind));
                hole = end;
            }
            last = Some((range.nid, zone.kind));
        }
    }
    if let (Some(place), Some(pages)) = (last, section) {
        tell(hole, end.next_multiple_of(pages), place);
    }
    lines
}

/// How many pages the kernel thinks it will have, before it has them (`free_area_init_core`).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Estimate {
    /// Pages the kernel can use itself (`nr_kernel_pages`).
    pub kernel: u64,
    /// Those and HighMem (`nr_all_pages`).
    pub all: u64,
    /// What the zones are said to manage: `Total pages`.
    pub total: u64,
}

/// The estimate; `dma_reserve` pages of each lowest zone are known to be taken (x86_64 alone says how many).
pub fn estimate(config: &Config, dma_reserve: u64) -> Estimate {
    let mut estimate = Estimate::default();
    for zone in config.nodes.iter().flat_map(|n| &n.zones).filter(|z| z.present > 0) {
        let highmem = is_highmem(config, zone);
        let memmap = calc_memmap_size(config.arch, zone);
        let mut free = zone.present;
        if !highmem && free >= memmap {
            free -= memmap;
        }
        if zone.kind == config.arch.zone_types()[0] && free > dma_reserve {
            free -= dma_reserve;
        }
        if !highmem {
            estimate.kernel += free;
        } else if estimate.kernel > 2 * memmap {
            // Low memory pays for the descriptors of high memory.
            estimate.kernel -= memmap;
        }
        estimate.all += free;
        estimate.total += if highmem { zone.present } else { free };
    }
    estimate
}

fn is_highmem(config: &Config, zone: &ZoneConfig) -> bool {
    let high = |z: &ZoneConfig| z.kind == ZoneType::HighMem && z.present > 0;
    let any = || config.nodes.iter().flat_map(|n| &n.zones).any(high);
    zone.kind == ZoneType::HighMem || (zone.kind == ZoneType::Movable && any())
}

/// A hash table that is sized by the memory there is (`alloc_large_system_hash`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LargeHash {
    /// What it is for: `Dentry cache`.
    pub what: &'static str,
    /// One bucket for each `2^scale` bytes of memory.
    scale: u32,
    /// Buckets.
    pub entries: u64,
    /// Bytes.
    pub bytes: u64,
}

impl LargeHash {
    /// The tables of the file system's caches, which come from memblock on machines of one node.
    pub fn early(arch: Arch, estimate: Estimate) -> [LargeHash; 2] {
        [("Dentry cache", 13), ("Inode-cache", 14)]
            .map(|(what, scale)| LargeHash::new(arch, what, scale, estimate))
    }

    fn new(arch: Arch, what: &'static str, scale: u32, estimate: Estimate) -> LargeHash {
        /// From 64 GiB on a table grows only half as fast: each fourfold memory costs a step of the scale.
        const ADAPT_SCALE_PAGES: u64 = 64 << (30 - PAGE_SHIFT);
        let bucket = if arch.is_64bit() { 8 } else { 4 };
        let pages = estimate.kernel.next_multiple_of(1 << (20 - PAGE_SHIFT));
        let mut shift = scale;
        let mut adapt = ADAPT_SCALE_PAGES;
        while arch.is_64bit() && adapt < pages {
            shift += 1;
            adapt <<= 2;
        }
        let entries = (pages >> (shift - PAGE_SHIFT)).max(PAGE_SIZE / bucket).next_power_of_two();
        // At most a sixteenth of all memory.
        let most = ((estimate.all << PAGE_SHIFT) >> 4) / bucket;
        let entries = if entries > most { (most + 1).next_power_of_two() / 2 } else { entries }.max(1);
        LargeHash { what, scale, entries, bytes: entries * bucket }
    }

    /// `Dentry cache hash table entries: 131072 (order: 8, 1048576 bytes, linear)`.
    pub fn line(&self) -> String {
        let order = self.bytes.div_ceil(PAGE_SIZE).next_power_of_two().trailing_zeros();
        format!(
            "{} hash table entries: {} (order: {order}, {} bytes, linear)",
            self.what, self.entries, self.bytes
        )
    }
}

/// `Built 1 zonelists, mobility grouping on.  Total pages: 257757`, and on NUMA the zone policies apply to.
pub fn zonelist_lines(config: &Config, estimate: Estimate) -> Vec<String> {
    // Grouping needs a pageblock of each type the kernel was built with.
    let types = match config.arch {
        Arch::Uml => 4,
        _ => 5 + u64::from(config.cma),
    };
    let grouping = estimate.total >= u64::from(config.pageblock_order.pages()) * types;
    let mut lines = vec![format!(
        "Built {} zonelists, mobility grouping {}.  Total pages: {}",
        config.nodes.len(),
        if grouping { "on" } else { "off" },
        estimate.total
    )];
    let highest = config.nodes.iter().flat_map(|n| &n.zones).filter(|z| z.present > 0);
    if let Some(zone) = highest.map(|z| z.kind).filter(|k| *k < ZoneType::Movable).max()
        && config.arch.has_numa()
    {
        lines.push(format!("Policy zone: {zone}"));
    }
    lines
}

/// Pages as the line `Memory: …` counts them.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct MemInit {
    /// Free in the buddy allocator at this moment.
    pub free: u64,
    /// All that exist.
    pub physpages: u64,
    /// Handed over, those that wait for their descriptors among them.
    pub totalram: u64,
    /// Set aside for CMA.
    pub totalcma: u64,
    /// Of HighMem.
    pub totalhigh: u64,
}

impl MemInit {
    /// The line (`mem_init_print_info`).
    pub fn line(&self, arch: Arch, image: &KernelImage) -> String {
        let kb = |pages: u64| pages << (PAGE_SHIFT - 10);
        let reserved = self.physpages.saturating_sub(self.totalram + self.totalcma);
        let highmem = if matches!(arch, Arch::I386 | Arch::I386Pae | Arch::Arm) {
            format!(", {}K highmem", kb(self.totalhigh))
        } else {
            String::new()
        };
        let KernelImage { code, rwdata, rodata, init, bss, .. } = *image;
        format!(
            "Memory: {}K/{}K available ({code}K kernel code, {rwdata}K rwdata, {rodata}K rodata, {init}K init, {bss}K bss, {}K reserved, {}K cma-reserved{highmem})",
            kb(self.free),
            kb(self.physpages),
            kb(reserved),
            kb(self.totalcma)
        )
    }
}
