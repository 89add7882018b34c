//! What differs between architectures and their usual kernels.
//!
//! Kernel: `arch/*/include/asm`, `arch/*/Kconfig`.
//! Fidelity: imported — from the captured kernels of 6.1.

use super::ZoneType;
use crate::mm::addr::Order;

/// The architecture profile: which zones exist, how many page-table levels, where kernel memory lies.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Arch {
    /// 64-bit PC: DMA, DMA32, Normal, Movable, Device; NUMA.
    #[default]
    X86_64,
    /// 32-bit PC, two levels: DMA, Normal, HighMem, Movable.
    I386,
    /// 32-bit PC with physical address extension, three levels.
    I386Pae,
    /// 64-bit ARM: DMA, DMA32, Normal, Movable; NUMA; CMA.
    Arm64,
    /// A 32-bit ARM telephone: Normal, HighMem, Movable.
    Arm,
    /// User-mode Linux: Normal, Movable.
    Uml,
}

impl Arch {
    /// Every profile.
    pub const ALL: &[Arch] = &[Arch::X86_64, Arch::I386, Arch::I386Pae, Arch::Arm64, Arch::Arm, Arch::Uml];

    /// The name in a machine spec: `x86_64`.
    pub fn name(self) -> &'static str {
        match self {
            Arch::X86_64 => "x86_64",
            Arch::I386 => "i386",
            Arch::I386Pae => "i386_pae",
            Arch::Arm64 => "arm64",
            Arch::Arm => "arm",
            Arch::Uml => "uml",
        }
    }

    /// The zones this kernel was built with, low to high.
    pub const fn zone_types(self) -> &'static [ZoneType] {
        use ZoneType::*;
        match self {
            Arch::X86_64 => &[Dma, Dma32, Normal, Movable, Device],
            // Debian's arm64 kernel of 6.1 has no ZONE_DEVICE: its protection shows four numbers.
            Arch::Arm64 => &[Dma, Dma32, Normal, Movable],
            Arch::I386 | Arch::I386Pae => &[Dma, Normal, HighMem, Movable],
            Arch::Arm => &[Normal, HighMem, Movable],
            Arch::Uml => &[Normal, Movable],
        }
    }

    /// The zone a request for `zone` falls to when the kernel has no such zone.
    pub const fn nearest_zone(self, zone: ZoneType) -> ZoneType {
        let kinds = self.zone_types();
        let mut at = 0;
        while at < kinds.len() {
            if kinds[at] as u8 == zone as u8 {
                return zone;
            }
            at += 1;
        }
        // OPT_ZONE_DMA, OPT_ZONE_DMA32 and OPT_ZONE_HIGHMEM all fall to ZONE_NORMAL.
        ZoneType::Normal
    }

    /// Built with `CONFIG_ZONE_DMA32`.
    #[inline]
    pub fn has_dma32(self) -> bool {
        matches!(self, Arch::X86_64 | Arch::Arm64)
    }

    /// Built with `CONFIG_NUMA`.
    pub fn has_numa(self) -> bool {
        matches!(self, Arch::X86_64 | Arch::Arm64)
    }

    /// Debian builds it with `CONFIG_CMA`; a machine may say otherwise (`Config::cma`).
    #[inline]
    pub fn has_cma(self) -> bool {
        matches!(self, Arch::Arm64)
    }

    /// Built with `CONFIG_MEMORY_FAILURE`: a frame can be poisoned, and reports count such frames.
    pub fn has_memory_failure(self) -> bool {
        !matches!(self, Arch::Uml | Arch::Arm)
    }

    /// Built with `CONFIG_DEBUG_FS`: there is /sys/kernel/debug.
    pub fn has_debugfs(self) -> bool {
        self != Arch::Uml
    }

    /// Built with `CONFIG_HIGHMEM`.
    pub fn has_highmem(self) -> bool {
        matches!(self, Arch::I386 | Arch::I386Pae | Arch::Arm)
    }

    /// The order of a pageblock: that of a huge page, or the largest where huge pages are 4 MiB or absent.
    pub fn pageblock_order(self) -> Order {
        match self {
            Arch::X86_64 | Arch::I386Pae | Arch::Arm64 => Order::PAGEBLOCK,
            Arch::I386 | Arch::Arm | Arch::Uml => Order::MAX,
        }
    }

    /// True for addresses of 64 bits.
    pub fn is_64bit(self) -> bool {
        matches!(self, Arch::X86_64 | Arch::Arm64 | Arch::Uml)
    }

    /// Does this kernel remember which areas and pages changed (`CONFIG_MEM_SOFT_DIRTY`)?
    pub fn has_soft_dirty(self) -> bool {
        self == Arch::X86_64
    }

    /// Does its TLB keep address spaces apart by a number (`X86_FEATURE_PCID`, arm64's ASID)?
    pub fn has_pcid(self) -> bool {
        matches!(self, Arch::X86_64 | Arch::Arm64)
    }
}
