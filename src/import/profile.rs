//! Which architecture a capture comes from, and what follows from it.
//!
//! Gorman chapter 2. Kernel: `include/linux/mmzone.h`, `mm/huge_memory.c` (`hugepage_init`).
//! Fidelity: inferred — from the kernel's banner when there is one, else from the zones.

use crate::import::zoneinfo::ZoneText;
use crate::mm::config::{Arch, Config, MigrateType, ThpMode, ZoneType};

/// The architecture, and the sentence about it when it had to be inferred from the zones.
///
/// `banner` is uname, or the boot log's first line; empty when there is neither.
pub fn arch(zones: &[ZoneText], banner: &str) -> (Arch, Option<String>) {
    if let Some(arch) = from_banner(zones, &banner.to_lowercase()) {
        return (arch, None);
    }
    let arch = from_zones(zones);
    let mut names: Vec<&str> = zones.iter().filter(|z| z.populated()).map(|z| z.kind.name()).collect();
    names.dedup();
    let sentence = format!(
        "The architecture is not in the capture: {} fit {}; a spec with `arch:` can say otherwise.",
        if names.is_empty() { "its zones".into() } else { format!("zones {}", names.join(", ")) },
        arch.name()
    );
    (arch, Some(sentence))
}

fn from_banner(zones: &[ZoneText], banner: &str) -> Option<Arch> {
    let says = |words: &[&str]| words.iter().any(|w| banner.contains(w));
    if says(&["aarch64", "arm64"]) {
        return Some(Arch::Arm64);
    }
    if says(&["x86_64", "amd64"]) {
        // User-mode Linux calls itself x86_64 too, but has no zone for devices.
        let pc = zones.iter().any(|z| matches!(z.kind, ZoneType::Dma | ZoneType::Dma32)) || fragment(zones);
        return Some(if pc { Arch::X86_64 } else { Arch::Uml });
    }
    if says(&["i386", "i486", "i586", "i686", "-686", "-586"]) {
        return Some(if says(&["pae"]) || beyond_4_gib(zones) { Arch::I386Pae } else { Arch::I386 });
    }
    says(&["armv", "armhf", "armmp"]).then_some(Arch::Arm)
}

fn from_zones(zones: &[ZoneText]) -> Arch {
    let has = |kind| zones.iter().any(|z| z.kind == kind);
    let lowest = zones.iter().filter(|z| z.populated()).filter_map(|z| z.start_pfn).min();
    let kinds = zones.iter().map(|z| z.protection.len()).max().unwrap_or(0);
    let i386 = if beyond_4_gib(zones) { Arch::I386Pae } else { Arch::I386 };
    if has(ZoneType::HighMem) {
        return if has(ZoneType::Dma) { i386 } else { Arch::Arm };
    }
    if has(ZoneType::Dma32) || has(ZoneType::Device) {
        // Memory of a PC begins at 0; that of most ARM boards does not.
        return if lowest.is_some_and(|pfn| pfn >= 0x20000) && has(ZoneType::Dma) {
            Arch::Arm64
        } else {
            Arch::X86_64
        };
    }
    if has(ZoneType::Dma) {
        // Up to 896 MiB a 32-bit PC may show no HighMem.
        let small = zones.iter().filter_map(|z| z.spanned).fold(0u64, u64::saturating_add) <= 0x38000;
        return if small && kinds <= 4 { i386 } else { Arch::X86_64 };
    }
    match kinds {
        0 | 4.. => Arch::X86_64,
        2 if lowest.unwrap_or(0) == 0 => Arch::Uml,
        _ => Arch::Arm,
    }
}

/// True for a few zones out of more: `protection` has a number for each zone the kernel has.
fn fragment(zones: &[ZoneText]) -> bool {
    zones.iter().any(|z| z.protection.len() > 3)
}

fn beyond_4_gib(zones: &[ZoneText]) -> bool {
    let end = |z: &ZoneText| z.start_pfn.unwrap_or(0).saturating_add(z.spanned.unwrap_or(0));
    zones.iter().any(|z| end(z) > 1 << 20)
}

/// The mode of transparent huge pages at boot: `never` below 512 MiB, absent on UML and 32-bit ARM.
pub fn thp(arch: Arch, managed: u64) -> Option<ThpMode> {
    const MIB_512: u64 = 512 << 8;
    match arch {
        Arch::Uml | Arch::Arm => None,
        _ if managed < MIB_512 => Some(ThpMode::Never),
        _ => Some(ThpMode::Always),
    }
}

/// True when a zone has pages of CMA: its kernel was built with it.
pub fn has_cma_pages(config: &Config) -> bool {
    let cma = MigrateType::Cma.index();
    let mut zones = config.nodes.iter().flat_map(|n| &n.zones);
    zones.any(|z| z.cma > 0 || z.pageblocks[cma] > 0 || z.free[cma].pages() > 0)
}

/// Pages the buddy allocator was given, on all nodes.
pub fn managed(config: &Config) -> u64 {
    config.nodes.iter().flat_map(|n| &n.zones).fold(0u64, |sum, z| sum.saturating_add(z.managed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::zoneinfo::parse;

    fn guess(text: &str, banner: &str) -> Arch {
        arch(&parse("z", text).unwrap(), banner).0
    }

    #[test]
    fn zones_tell_the_architecture() {
        let zone = |name: &str, start: u64, kinds: &str| {
            format!(
                "Node 0, zone {name}\n pages free 1\n spanned 4096\n protection: ({kinds})\n start_pfn: {start}\n"
            )
        };
        let pc = [zone("DMA", 1, "0, 0, 0, 0, 0"), zone("DMA32", 4096, "0, 0, 0, 0, 0")].concat();
        assert_eq!(guess(&pc, ""), Arch::X86_64);
        assert_eq!(
            guess(&[zone("DMA", 0x40000, "0"), zone("DMA32", 0x100000, "0")].concat(), ""),
            Arch::Arm64
        );
        let i386 = [zone("DMA", 1, "0, 0, 0, 0"), zone("HighMem", 0x38000, "0")].concat();
        assert_eq!(guess(&i386, ""), Arch::I386);
        assert_eq!(guess(&i386, "Linux (none) 6.1.0-50-686-pae i686"), Arch::I386Pae);
        assert_eq!(guess(&zone("Normal", 0x80000, "0, 0"), ""), Arch::Arm);
        assert_eq!(guess(&zone("Normal", 0, "0, 0"), ""), Arch::Uml);
        assert_eq!(guess(&zone("Normal", 0, "0, 0"), "Linux 6.1.176 x86_64"), Arch::Uml);
        assert_eq!(guess(&zone("Normal", 0x100000, "0, 0, 0, 0, 0"), ""), Arch::X86_64);
    }

    #[test]
    fn what_is_inferred_is_said() {
        let zones = parse("z", "Node 0, zone DMA32\n pages free 7\n").unwrap();
        let sentence = arch(&zones, "").1.unwrap();
        assert!(sentence.contains("zones DMA32 fit x86_64"), "{sentence}");
        assert_eq!(arch(&zones, "aarch64"), (Arch::Arm64, None));
        assert_eq!(thp(Arch::X86_64, 131_071), Some(ThpMode::Never));
        assert_eq!(thp(Arch::X86_64, 131_072), Some(ThpMode::Always));
        assert_eq!(thp(Arch::Uml, 131_072), None);
    }
}
