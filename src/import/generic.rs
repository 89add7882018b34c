//! A plain machine: so much memory, so many CPUs, laid out as its architecture's kernel would.
//!
//! Gorman chapter 2. Kernel: `arch/x86/kernel/e820.c`, `arch/*/mm/init.c` (`zone_sizes_init`).
//! Fidelity: faithful — limits of zones, the PC's holes, NUMA nodes one after another. Inferred — the kernel's own share
//! of memory, from its size in the captures; everything else is free, in the largest blocks.

use crate::import::{ImportError, check, layout, nodes, profile};
use crate::mm::addr::{Nid, PAGE_SHIFT};
use crate::mm::config::{Arch, Config, NodeConfig, ZoneConfig, ZoneType};
use crate::mm::mm_init::{Core, MemRange, free_area_init, zone_limits};
use std::iter;
use std::ops::Range;

/// A node of a plain machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PlainNode {
    /// The node's number.
    pub nid: Nid,
    /// Memory, in bytes; a node may have none.
    pub bytes: u64,
    /// Numbers of its CPUs; a node may have none.
    pub cpus: Vec<u16>,
    /// Distance to each node; empty means 10 to itself and 20 to any other.
    pub distances: Vec<u8>,
}

/// No kernel boots in less; the lesson is in more than one block of each order.
const SMALLEST: u64 = 4 << 20;
/// 16 TiB less a page: frame numbers are 32 bits.
const LARGEST: u64 = check::MAX_PFN << PAGE_SHIFT;

const MIB: u64 = 1 << (20 - PAGE_SHIFT);
const GIB: u64 = 1 << (30 - PAGE_SHIFT);

/// Lays the memory of `nodes` out; `file` is named in errors.
pub fn machine(
    name: &str,
    file: &str,
    arch: Arch,
    nodes: &[PlainNode],
    core: Core,
) -> Result<Config, ImportError> {
    let total = nodes.iter().fold(0u64, |sum, n| sum.saturating_add(n.bytes));
    if !(SMALLEST..=LARGEST).contains(&total) {
        let problem = format!("{total} bytes of memory; a machine has 4 MiB to 16 TiB");
        return Err(ImportError::new(file, problem)
            .field("mem")
            .advise("Write it as a size: \"256M\" or \"4G\"."));
    }
    let map = ram(arch, total >> PAGE_SHIFT);
    let end = map.last().map_or(0, |r| r.end);
    let reach = arch.max_phys() >> PAGE_SHIFT;
    if end > reach {
        let problem =
            format!("memory ends at {} MiB, {} reaches {} MiB", end / MIB, arch.name(), reach / MIB);
        let advice =
            if arch == Arch::I386 { "Take i386_pae, or x86_64." } else { "Take less memory, or x86_64." };
        return Err(ImportError::new(file, problem).field("mem").advise(advice));
    }
    let mut config = Config::new(name, arch);
    let mut below = 0;
    let mut memory = Vec::new();
    for plain in nodes {
        let own = slice(&map, below, plain.bytes >> PAGE_SHIFT).into_iter();
        memory.extend(own.map(|r| MemRange { start: r.start, end: r.end, nid: plain.nid, hotplug: false }));
        below += plain.bytes >> PAGE_SHIFT;
        let mut node = nodes::memoryless(plain.nid, arch);
        (node.cpus, node.distances) = (plain.cpus.clone(), plain.distances.clone());
        config.nodes.push(node);
    }
    free_area_init(&mut config.nodes, &zone_limits(arch), &memory, core);
    for (at, node) in config.nodes.iter_mut().enumerate() {
        reserve(arch, node, at == 0);
    }
    if nodes.iter().all(|n| n.distances.is_empty()) {
        nodes::infer_distances(&mut config);
        // For a machine nobody captured this is no inference but its definition.
        config.inferred.clear();
    }
    config.thp = profile::thp(arch, profile::managed(&config));
    let reserved = config.present_pages() - profile::managed(&config);
    config.inferred.push(format!(
        "A plain machine: {reserved} pages are taken as the kernel's own share, everything else is free."
    ));
    config.iomem = map.iter().map(line).collect();
    let pageblock = config.pageblock_order;
    for zone in config.nodes.iter_mut().flat_map(|n| &mut n.zones).filter(|z| z.spanned > 0) {
        layout::fill(zone, zone.managed, zone.cma, pageblock);
    }
    check::config(&config, file)?;
    Ok(config)
}

/// `00100000-0fffffff : System RAM`.
fn line(range: &Range<u64>) -> String {
    format!("{:08x}-{:08x} : System RAM", range.start << PAGE_SHIFT, (range.end << PAGE_SHIFT) - 1)
}

/// Where a board has its memory, as frames.
fn ram(arch: Arch, frames: u64) -> Vec<Range<u64>> {
    match arch {
        Arch::X86_64 | Arch::I386 | Arch::I386Pae => {
            // Frame 0 and 0x9f to 0xff are the firmware's; what does not fit below the devices is above 4 GiB.
            let low = if frames >= 3 * GIB + GIB / 2 { 3 * GIB } else { frames };
            let mut map = vec![1..0x9f, 0x100..low];
            if frames > low {
                map.push(4 * GIB..4 * GIB + frames - low);
            }
            map
        }
        Arch::Arm64 => iter::once(GIB..GIB + frames).collect(),
        Arch::Arm => iter::once(2 * GIB..2 * GIB + frames).collect(),
        Arch::Uml => iter::once(0..frames).collect(),
    }
}

/// The `frames` frames after the first `below` ones; firmware's frames count as memory, as a board's size does.
fn slice(map: &[Range<u64>], below: u64, frames: u64) -> Vec<Range<u64>> {
    let (mut from, to) = (below, below + frames);
    let mut at = 0;
    let mut found = Vec::new();
    for (n, range) in map.iter().enumerate() {
        // A hole below 1 MiB belongs to the memory around it; only the hole below 4 GiB moves memory up.
        let base =
            if n > 0 && range.start <= 0x100 || n == 0 && range.start <= 1 { 0 } else { range.start - at };
        let (start, end) = ((from + base).max(range.start), (to + base).min(range.end));
        if start < end {
            found.push(start..end);
            from = from.max(end - base);
        }
        at = range.end - base;
    }
    found
}

/// Takes the kernel's own share: its image on the first node, page descriptors on each.
fn reserve(arch: Arch, node: &mut NodeConfig, boot: bool) {
    let frames: u64 = node.zones.iter().map(|z| z.present).sum();
    // Pages that image, hash tables and per-CPU areas took in the captures.
    let image = match arch {
        Arch::X86_64 | Arch::Arm64 => 40 * MIB,
        Arch::I386 | Arch::I386Pae | Arch::Arm | Arch::Uml => 16 * MIB,
    };
    // Where all descriptors are one array, a hole has descriptors as well.
    let described = if arch.section_pages().is_some() {
        frames
    } else {
        let present = || node.zones.iter().filter(|z| z.present > 0);
        let first = present().map(|z| z.start_pfn).min().unwrap_or(0);
        present().map(|z| z.start_pfn + z.spanned).max().unwrap_or(0) - first
    };
    let memmap = (described * arch.page_struct_bytes()) >> PAGE_SHIFT;
    // A PC's kernel leaves the first MiB to the firmware.
    let pc = matches!(arch, Arch::X86_64 | Arch::I386 | Arch::I386Pae);
    let low = node.zones.iter_mut().filter(|z| pc && z.present > 0 && z.start_pfn < MIB);
    let low: u64 = low.map(below_a_mib).sum();
    let share = memmap + if boot { image } else { 0 };
    // On a small machine a quarter is taken: 4 of 16 MiB.
    let share = share.min((frames + if low > 0 { MIB - low } else { 0 }) / 4).saturating_sub(if low > 0 {
        MIB
    } else {
        0
    });
    let mapped = node.zones.iter_mut().filter(|z| z.kind < ZoneType::HighMem);
    if let Some(zone) = mapped.max_by_key(|z| z.managed) {
        zone.managed -= share.min(zone.managed * 3 / 4);
    }
    // arm64 keeps 64 MiB for devices when there is enough.
    if arch == Arch::Arm64 && boot && frames >= 512 * MIB {
        node.zones[0].cma = 64 * MIB;
    }
}

/// Takes the frames below 1 MiB from a zone; answers how many.
fn below_a_mib(zone: &mut ZoneConfig) -> u64 {
    let low: u64 = layout::present(zone).iter().map(|r| r.end.min(MIB).saturating_sub(r.start)).sum();
    zone.managed -= low;
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(arch: Arch, mib: u64) -> Config {
        let node = PlainNode { nid: Nid(0), bytes: mib << 20, cpus: vec![0], distances: vec![] };
        machine("plain", "plain", arch, &[node], Core::default()).unwrap()
    }

    fn spans(config: &Config) -> Vec<(u8, &str, u64, u64, u64)> {
        let zones = config.nodes.iter().flat_map(|n| n.zones.iter().map(move |z| (n.nid.0, z)));
        let zones = zones.filter(|(_, z)| z.spanned > 0);
        zones.map(|(nid, z)| (nid, z.kind.name(), z.start_pfn, z.spanned, z.present)).collect()
    }

    #[test]
    fn a_pc_is_laid_out_as_the_captured_ones() {
        assert_eq!(
            spans(&plain(Arch::X86_64, 256)),
            [(0, "DMA", 1, 4095, 3998), (0, "DMA32", 4096, 61440, 61440)]
        );
        // As x86_64-4G, but for 35 frames of ACPI tables below 3 GiB.
        assert_eq!(
            spans(&plain(Arch::X86_64, 4096)),
            [
                (0, "DMA", 1, 4095, 3998),
                (0, "DMA32", 4096, 1_044_480, 782_336),
                (0, "Normal", 1_048_576, 262_144, 262_144)
            ]
        );
        assert_eq!(
            spans(&plain(Arch::I386, 1024)),
            [
                (0, "DMA", 1, 4095, 3998),
                (0, "Normal", 4096, 225_280, 225_280),
                (0, "HighMem", 229_376, 32768, 32768)
            ]
        );
        assert_eq!(spans(&plain(Arch::Arm64, 1024)), [(0, "DMA", 262_144, 262_144, 262_144)]);
        assert_eq!(spans(&plain(Arch::Arm, 1024))[1].1, "HighMem");
    }

    #[test]
    fn sixteen_mib_are_three_free_blocks() {
        let tiny = plain(Arch::X86_64, 16);
        let dma = &tiny.nodes[0].zones[0];
        assert_eq!((dma.managed, dma.free_pages()), (3072, 3072));
        assert_eq!(dma.free[1].blocks, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3]);
    }

    #[test]
    fn nodes_follow_one_another_and_step_over_the_hole() {
        let node = |nid, mib: u64| PlainNode {
            nid: Nid(nid),
            bytes: mib << 20,
            cpus: vec![nid.into()],
            distances: vec![],
        };
        let config =
            machine("n", "n", Arch::X86_64, &[node(0, 2048), node(1, 0), node(2, 2048)], Core::default())
                .unwrap();
        assert_eq!(
            spans(&config),
            [
                (0, "DMA", 1, 4095, 3998),
                (0, "DMA32", 4096, 520_192, 520_192),
                (2, "DMA32", 524_288, 524_288, 262_144),
                (2, "Normal", 1_048_576, 262_144, 262_144)
            ]
        );
        assert_eq!(config.nodes[2].distances, [20, 20, 10]);
    }

    #[test]
    fn a_terabyte_is_no_more_work_than_a_megabyte() {
        let config = plain(Arch::X86_64, 1 << 20);
        let normal = &config.nodes[0].zones[2];
        assert_eq!(normal.free_pages(), normal.managed);
        assert!(normal.free[1].blocks[10] > 250_000);
        assert_eq!(config.present_pages() + 98, 1 << 28);
    }

    #[test]
    fn what_cannot_be_is_said() {
        let node = |bytes| [PlainNode { nid: Nid(0), bytes, cpus: vec![0], distances: vec![] }];
        let error = machine("m", "m", Arch::I386, &node(8 << 30), Core::default()).unwrap_err().to_string();
        assert!(error.contains("memory ends at 9216 MiB, i386 reaches 4096 MiB"), "{error}");
        assert!(machine("m", "m", Arch::X86_64, &node(1000), Core::default()).is_err());
        assert!(machine("m", "m", Arch::X86_64, &node(u64::MAX), Core::default()).is_err());
        for mib in 4..600 {
            Arch::ALL.iter().for_each(|&arch| drop(plain(arch, mib)));
        }
    }
}
