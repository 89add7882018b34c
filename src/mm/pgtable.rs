//! Page tables: an entry, and the trees of tables that are frames of the machine.
//!
//! ```text
//!   47       39 38       30 29       21 20       12 11         0
//!   ┌──────────┬──────────┬──────────┬──────────┬────────────┐
//!   │   PGD    │   PUD    │   PMD    │   PTE    │   offset   │   four levels; geometry.rs has the other shapes
//!   └──────────┴──────────┴──────────┴──────────┴────────────┘
//!   an entry:  63 NX │ 51…12 frame │ 11 soft-dirty │ 8 G │ 7 PSE │ 6 D │ 5 A │ 2 US │ 1 RW │ 0 P
//!   not present, not zero: a swap entry — type in bits 63…59, offset inverted in bits 58…9
//! ```
//!
//! Gorman chapter 3. Kernel: `arch/x86/include/asm/pgtable_types.h`, `pgtable_64.h`, `mm/memory.c`.
//! Fidelity: faithful — levels by profile, entry bits, swap and migration entries, table frames, accounting.
//! Simplified — entries are kept in the form of x86_64, other processors' are shown in their own; the 32 bytes of a
//! PAE PGD take a page. Absent — page-table locks.

mod encode;
mod geometry;
mod tables;
mod walk;

pub use geometry::{Geometry, MAX_LEVELS};
pub use tables::{Leaf, NO_TABLE, TableId, Tables, Upper, UpperId};
pub use walk::WalkStep;

use crate::mm::addr::{PAGE_SHIFT, Pfn, VirtAddr};

/// Entries of a leaf.
pub const PTRS_PER_TABLE: usize = 512;
/// The lowest bit of an address that chooses a leaf: each covers 2 MiB.
pub const LEAF_SHIFT: u32 = 21;

/// One entry of a page table.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Pte(pub u64);

#[allow(missing_docs)]
impl Pte {
    pub const PRESENT: u64 = 1;
    pub const RW: u64 = 1 << 1;
    pub const USER: u64 = 1 << 2;
    pub const PWT: u64 = 1 << 3;
    pub const PCD: u64 = 1 << 4;
    pub const ACCESSED: u64 = 1 << 5;
    pub const DIRTY: u64 = 1 << 6;
    pub const PSE: u64 = 1 << 7;
    pub const GLOBAL: u64 = 1 << 8;
    /// Present for the kernel, not for the processor: the area forbids every access.
    pub const PROTNONE: u64 = 1 << 8;
    /// Not a page of memory that is counted: the zero page.
    pub const SPECIAL: u64 = 1 << 9;
    pub const SOFT_DIRTY: u64 = 1 << 11;
    pub const NX: u64 = 1 << 63;
    const FRAME: u64 = 0x000f_ffff_ffff_f000;
    /// An upper entry, as the kernel writes it: `_PAGE_TABLE`.
    pub const TABLE: u64 = Pte::PRESENT | Pte::RW | Pte::USER | Pte::ACCESSED | Pte::DIRTY;
    /// In a swap entry: this anonymous page belonged to one process alone.
    const SWP_EXCLUSIVE: u64 = 1 << 3;

    /// Names of the bits, as crash prints them.
    pub const NAMES: &[(u64, &str)] = &[
        (Pte::PRESENT, "PRESENT"),
        (Pte::RW, "RW"),
        (Pte::USER, "USER"),
        (Pte::PWT, "PWT"),
        (Pte::PCD, "PCD"),
        (Pte::ACCESSED, "ACCESSED"),
        (Pte::DIRTY, "DIRTY"),
        (Pte::PSE, "PSE"),
        (Pte::GLOBAL, "GLOBAL"),
        (Pte::NX, "NX"),
    ];

    /// An entry that maps a frame.
    #[inline]
    pub fn new(pfn: Pfn, bits: u64) -> Pte {
        Pte(u64::from(pfn.0) << PAGE_SHIFT | bits)
    }

    /// Nothing was ever here.
    #[inline]
    pub fn is_none(self) -> bool {
        self.0 == 0
    }

    /// A page is here, also when the area forbids every access (`pte_present`).
    #[inline]
    pub fn is_present(self) -> bool {
        self.0 & (Pte::PRESENT | Pte::PROTNONE) != 0
    }

    /// The processor may use it.
    #[inline]
    pub fn is_valid(self) -> bool {
        self.0 & Pte::PRESENT != 0
    }

    /// True when these bits are set.
    #[inline]
    pub fn has(self, bits: u64) -> bool {
        self.0 & bits == bits
    }

    /// With these bits set.
    #[inline]
    pub fn with(self, bits: u64) -> Pte {
        Pte(self.0 | bits)
    }

    /// With these bits cleared.
    #[inline]
    pub fn without(self, bits: u64) -> Pte {
        Pte(self.0 & !bits)
    }

    /// The frame mapped.
    #[inline]
    pub fn pfn(self) -> Pfn {
        Pfn(((self.0 & Pte::FRAME) >> PAGE_SHIFT) as u32)
    }

    /// An entry for a page that lies in swap (`swp_entry_to_pte`).
    pub fn swap(entry: SwapEntry, exclusive: bool) -> Pte {
        let offset = !u64::from(entry.offset) << 14 >> 5;
        Pte(u64::from(entry.area) << 59 | offset | if exclusive { Pte::SWP_EXCLUSIVE } else { 0 })
    }

    /// True for a page that lies in swap (`is_swap_pte`).
    #[inline]
    pub fn is_swap(self) -> bool {
        // An inverted offset leaves high bits set that no frame number below 16 TiB can have.
        self.0 & Pte::PRESENT == 0 && self.0 & 0x07ff_0000_0000_0000 != 0
    }

    /// Where in swap the page lies.
    #[inline]
    pub fn swap_entry(self) -> SwapEntry {
        SwapEntry { area: (self.0 >> 59) as u8, offset: (!(self.0 << 5 >> 14)) as u32 }
    }

    /// The page in swap belonged to one process alone.
    #[inline]
    pub fn swap_exclusive(self) -> bool {
        self.has(Pte::SWP_EXCLUSIVE)
    }

    /// An entry of a page that is being moved (`make_migration_entry`): it holds the frame, who meets it waits.
    pub fn migration(pfn: Pfn, kind: Migration) -> Pte {
        Pte::swap(SwapEntry { area: SWP_MIGRATION + kind as u8, offset: pfn.0 }, false)
    }

    /// What a migration entry says, and of which frame (`is_migration_entry`).
    pub fn as_migration(self) -> Option<(Pfn, Migration)> {
        let entry = self.swap_entry();
        let kind = match entry.area.checked_sub(SWP_MIGRATION)? {
            0 => Migration::Read,
            1 => Migration::ReadExclusive,
            2 => Migration::Write,
            _ => return None,
        };
        self.is_swap().then_some((Pfn(entry.offset), kind))
    }
}

/// How a page that is being moved was mapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Migration {
    /// Write-protected, perhaps shared.
    Read,
    /// Write-protected, and of one process alone.
    ReadExclusive,
    /// Writable.
    Write,
}

/// The first type of a swap entry that means a page being moved; the 24 below are 23 areas and poisoned frames.
const SWP_MIGRATION: u8 = 24;

/// A place in swap: which area, which slot (`swp_entry_t`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct SwapEntry {
    /// Index of the area.
    pub area: u8,
    /// The slot; 0 is the area's header.
    pub offset: u32,
}

/// The index into a table of 512 entries, of a level; 0 is a leaf, on every machine.
#[inline]
pub fn index(addr: VirtAddr, level: u8) -> usize {
    (addr.0 >> (PAGE_SHIFT + 9 * u32::from(level))) as usize & (PTRS_PER_TABLE - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swap_entries_survive_their_encoding() {
        for (area, offset) in [(0, 1), (3, 24225), (31, u32::MAX >> 1)] {
            let entry = SwapEntry { area, offset };
            for exclusive in [false, true] {
                let pte = Pte::swap(entry, exclusive);
                assert!(pte.is_swap() && !pte.is_present() && !pte.is_none());
                assert_eq!((pte.swap_entry(), pte.swap_exclusive()), (entry, exclusive));
            }
        }
        assert!(!Pte::new(Pfn(u32::MAX - 1), Pte::PROTNONE).is_swap());
    }

    #[test]
    fn a_page_on_the_move_keeps_its_frame_in_the_entry() {
        for kind in [Migration::Read, Migration::ReadExclusive, Migration::Write] {
            let pte = Pte::migration(Pfn(0x1f3c4), kind);
            assert!(pte.is_swap() && !pte.is_present());
            assert_eq!(pte.as_migration(), Some((Pfn(0x1f3c4), kind)));
        }
        assert_eq!(Pte::swap(SwapEntry { area: 2, offset: 7 }, true).as_migration(), None);
    }
}
