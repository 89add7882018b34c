//! Kinds of zones, of free lists, of the use of huge pages: the kernel's words and their order.
//!
//! Gorman 2.2. Kernel: `include/linux/mmzone.h` (`enum zone_type`, `enum migratetype`).
//! Fidelity: faithful — order and names.

use std::fmt;

/// A zone's kind, from low addresses to high.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ZoneType {
    /// Below 16 MiB (x86) or below the reach of the weakest device (arm64).
    Dma,
    /// Below 4 GiB.
    Dma32,
    /// Mapped for good by the kernel.
    Normal,
    /// Not mapped by a 32-bit kernel: reached through kmap.
    HighMem,
    /// Movable pages only.
    Movable,
    /// Memory of devices; always empty here.
    Device,
}

impl ZoneType {
    /// Every kind, low to high.
    pub const ALL: [ZoneType; 6] = [
        ZoneType::Dma,
        ZoneType::Dma32,
        ZoneType::Normal,
        ZoneType::HighMem,
        ZoneType::Movable,
        ZoneType::Device,
    ];

    /// The name in /proc: `DMA32`.
    pub fn name(self) -> &'static str {
        match self {
            ZoneType::Dma => "DMA",
            ZoneType::Dma32 => "DMA32",
            ZoneType::Normal => "Normal",
            ZoneType::HighMem => "HighMem",
            ZoneType::Movable => "Movable",
            ZoneType::Device => "Device",
        }
    }

    /// The kind with this name in /proc.
    pub fn from_name(name: &str) -> Option<ZoneType> {
        ZoneType::ALL.into_iter().find(|z| z.name() == name)
    }
}

impl fmt::Display for ZoneType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Grouping of pages by mobility: the type of a pageblock, and of a free list.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum MigrateType {
    /// Kernel memory that stays where it is.
    #[default]
    Unmovable,
    /// Pages of tasks and of the page cache.
    Movable,
    /// Caches that a shrinker can give back.
    Reclaimable,
    /// Kept for high-order atomic requests.
    HighAtomic,
    /// The contiguous memory allocator's (kernels with CMA).
    Cma,
    /// Being isolated: nothing is allocated from here.
    Isolate,
}

impl MigrateType {
    /// How many there are.
    pub const COUNT: usize = 6;
    /// How many of them have per-CPU lists (`MIGRATE_PCPTYPES`).
    pub const PCPTYPES: usize = 3;
    /// Every type, in the order of /proc/pagetypeinfo.
    pub const ALL: [MigrateType; MigrateType::COUNT] = [
        MigrateType::Unmovable,
        MigrateType::Movable,
        MigrateType::Reclaimable,
        MigrateType::HighAtomic,
        MigrateType::Cma,
        MigrateType::Isolate,
    ];

    /// The name in /proc/pagetypeinfo.
    pub fn name(self) -> &'static str {
        match self {
            MigrateType::Unmovable => "Unmovable",
            MigrateType::Movable => "Movable",
            MigrateType::Reclaimable => "Reclaimable",
            MigrateType::HighAtomic => "HighAtomic",
            MigrateType::Cma => "CMA",
            MigrateType::Isolate => "Isolate",
        }
    }

    /// The type with this name in /proc/pagetypeinfo.
    pub fn from_name(name: &str) -> Option<MigrateType> {
        MigrateType::ALL.into_iter().find(|m| m.name() == name)
    }

    /// The type as an index.
    #[inline]
    pub fn index(self) -> usize {
        self as usize
    }

    /// The letter in the buddy lines of a memory report: `(UME)`.
    pub fn letter(self) -> char {
        match self {
            MigrateType::Unmovable => 'U',
            MigrateType::Movable => 'M',
            MigrateType::Reclaimable => 'E',
            MigrateType::HighAtomic => 'H',
            MigrateType::Cma => 'C',
            MigrateType::Isolate => 'I',
        }
    }
}

/// The mode of transparent huge pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ThpMode {
    /// Every suitable area.
    Always,
    /// Areas that asked by `madvise`.
    Madvise,
    /// None.
    #[default]
    Never,
}

impl ThpMode {
    /// The word in `/sys/kernel/mm/transparent_hugepage/enabled`.
    pub fn name(self) -> &'static str {
        match self {
            ThpMode::Always => "always",
            ThpMode::Madvise => "madvise",
            ThpMode::Never => "never",
        }
    }

    /// The mode with this name.
    pub fn from_name(name: &str) -> Option<ThpMode> {
        [ThpMode::Always, ThpMode::Madvise, ThpMode::Never].into_iter().find(|m| m.name() == name)
    }
}
