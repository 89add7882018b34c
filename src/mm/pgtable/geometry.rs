//! The shape of the page tables: how many levels, how wide, under which names.
//!
//! ```text
//!   i386        31     22│21        12│             2 levels, entries of 4 bytes
//!                  PGD   │    PTE     │
//!   i386 PAE    31 30│29      21│20     12│         3 levels, 4 entries in the PGD
//!                PGD │    PMD   │   PTE   │
//!   x86_64      47   39│38   30│29   21│20   12│    4 levels; arm64 with pages of 4 KiB as well
//!                PGD   │  PUD  │  PMD  │  PTE  │
//!   la57        56   48│ P4D │ …                    5 levels
//! ```
//!
//! Gorman 3.1. Kernel: `arch/*/include/asm/pgtable*_types.h`.
//! Fidelity: faithful — levels, widths, names of each profile.

use crate::mm::addr::{Order, PAGE_SHIFT, VirtAddr};
use crate::mm::config::Arch;

/// The most levels there are.
pub const MAX_LEVELS: usize = 5;

/// The shape of a machine's page tables; level 0 is the PTE table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Geometry {
    /// Bits of the index into a table, lowest level first.
    bits: &'static [u32],
    /// Names of the levels, lowest first.
    names: &'static [&'static str],
    /// Bytes of an entry.
    entry_bytes: u64,
    /// The block that holds a top table.
    pgd_order: Order,
    /// Tables of the second level that a top table comes with.
    preallocated: usize,
}

impl Geometry {
    /// The shape of a profile's tables; `la57` gives x86_64 a fifth level.
    pub fn of(arch: Arch, la57: bool) -> Geometry {
        const FOUR: &[&str] = &["PTE", "PMD", "PUD", "PGD"];
        let (bits, names): (&[u32], &[&str]) = match arch {
            Arch::X86_64 if la57 => (&[9, 9, 9, 9, 9], &["PTE", "PMD", "PUD", "P4D", "PGD"]),
            Arch::X86_64 | Arch::Arm64 => (&[9, 9, 9, 9], FOUR),
            Arch::I386Pae => (&[9, 9, 2], &["PTE", "PMD", "PGD"]),
            Arch::Uml => (&[9, 9, 9], &["PTE", "PMD", "PGD"]),
            Arch::I386 => (&[10, 10], &["PTE", "PGD"]),
            // Linux keeps its own entries beside those of the processor: half a page of each.
            Arch::Arm => (&[9, 11], &["PTE", "PGD"]),
        };
        let pgd_order = match arch {
            // Built to separate user and kernel tables, a kernel takes two pages, whether it does or not.
            Arch::X86_64 => 1,
            // 2,048 entries of 8 bytes.
            Arch::Arm => 2,
            _ => 0,
        };
        Geometry {
            bits,
            names,
            entry_bytes: if arch == Arch::I386 { 4 } else { 8 },
            pgd_order: Order::new(pgd_order).unwrap_or_default(),
            // The processor reads all four entries of a PAE PGD at once: they must be there. The kernel's own is shared.
            preallocated: if arch == Arch::I386Pae { 3 } else { 0 },
        }
    }

    /// How many levels there are.
    pub fn levels(&self) -> u8 {
        self.bits.len() as u8
    }

    /// The level of the top table, the PGD.
    pub fn top(&self) -> u8 {
        self.levels() - 1
    }

    /// The name of a level: `PMD`.
    pub fn name(&self, level: u8) -> &'static str {
        self.names[usize::from(level)]
    }

    /// Names of the levels, lowest first.
    pub fn names(&self) -> &'static [&'static str] {
        self.names
    }

    /// Entries of a table of a level.
    pub fn entries(&self, level: u8) -> usize {
        1 << self.bits[usize::from(level)]
    }

    /// Bytes of an entry.
    pub fn entry_bytes(&self) -> u64 {
        self.entry_bytes
    }

    /// The lowest bit of an address that chooses the entry of a level (`PMD_SHIFT`, `PGDIR_SHIFT`).
    pub fn shift(&self, level: u8) -> u32 {
        PAGE_SHIFT + self.bits[..usize::from(level)].iter().sum::<u32>()
    }

    /// Bytes that an entry of a level covers (`PMD_SIZE`).
    pub fn span(&self, level: u8) -> u64 {
        1 << self.shift(level)
    }

    /// The index into a table of a level (`pmd_index`).
    pub fn index(&self, addr: VirtAddr, level: u8) -> usize {
        (addr.0 >> self.shift(level)) as usize & (self.entries(level) - 1)
    }

    /// Bits of an address that the tables translate.
    pub fn address_bits(&self) -> u32 {
        self.shift(self.levels())
    }

    /// The block that holds a top table.
    pub fn pgd_order(&self) -> Order {
        self.pgd_order
    }

    /// Tables of the second level that a top table comes with (`PREALLOCATED_PMDS`).
    pub fn preallocated(&self) -> usize {
        self.preallocated
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_its_indices() {
        let addr = VirtAddr(0xb7f9_a123);
        for (arch, la57) in Arch::ALL.iter().map(|a| (*a, false)).chain([(Arch::X86_64, true)]) {
            let g = Geometry::of(arch, la57);
            let rebuilt = (0..g.levels()).fold(0, |sum, l| sum | (g.index(addr, l) as u64) << g.shift(l));
            assert_eq!(rebuilt, addr.page().0, "{arch:?}");
        }
    }

    #[test]
    fn profiles_have_the_widths_of_their_kernels() {
        let of = |arch, la57| {
            let g = Geometry::of(arch, la57);
            (g.levels(), g.address_bits(), g.entries(g.top()), g.shift(1))
        };
        assert_eq!(of(Arch::I386, false), (2, 32, 1024, 22));
        assert_eq!(of(Arch::I386Pae, false), (3, 32, 4, 21));
        assert_eq!(of(Arch::X86_64, false), (4, 48, 512, 21));
        assert_eq!(of(Arch::X86_64, true), (5, 57, 512, 21));
        assert_eq!(of(Arch::Arm64, false), (4, 48, 512, 21));
        assert_eq!(of(Arch::Arm, false), (2, 32, 2048, 21));
        assert_eq!(of(Arch::Uml, false), (3, 39, 512, 21));
    }
}
