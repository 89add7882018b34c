//! Entries as each processor writes them; the simulator keeps the form of x86_64.
//!
//! ```text
//!   i386    31…12 frame │ 8 G │ 7 PSE │ 6 D │ 5 A │ 4 PCD │ 3 PWT │ 2 US │ 1 RW │ 0 P      no NX, no soft-dirty
//!   PAE     as x86_64, without soft-dirty
//!   arm64   58 PROT_NONE │ 56 special │ 55 dirty │ 54 UXN │ 53 PXN │ 51 write │ 11 nG │ 10 AF │ 9…8 SH │ 7 read-only
//!           │ 6 user │ 4…2 memory type │ 1…0 11: a page or a table
//! ```
//!
//! Gorman 3.2. Kernel: `arch/x86/include/asm/pgtable-2level.h`, `arch/arm64/include/asm/pgtable-hwdef.h`.
//! Fidelity: faithful — bits of i386, PAE and arm64. Simplified — 32-bit ARM and UML are shown in the form of x86_64.

use super::{Pte, SwapEntry};
use crate::mm::addr::Pfn;
use crate::mm::config::Arch;

/// Bits of an arm64 entry.
mod arm64 {
    pub const VALID: u64 = 1;
    pub const TABLE: u64 = 3;
    pub const USER: u64 = 1 << 6;
    pub const RDONLY: u64 = 1 << 7;
    pub const SHARED: u64 = 3 << 8;
    pub const AF: u64 = 1 << 10;
    pub const NG: u64 = 1 << 11;
    pub const WRITE: u64 = 1 << 51;
    pub const PXN: u64 = 1 << 53;
    pub const UXN: u64 = 1 << 54;
    pub const DIRTY: u64 = 1 << 55;
    pub const SPECIAL: u64 = 1 << 56;
    pub const PROT_NONE: u64 = 1 << 58;

    pub const NAMES: &[(u64, &str)] = &[
        (VALID, "VALID"),
        (USER, "USER"),
        (RDONLY, "RDONLY"),
        (SHARED, "SHARED"),
        (AF, "AF"),
        (NG, "NG"),
        (PXN, "PXN"),
        (UXN, "UXN"),
        (DIRTY, "DIRTY"),
        (SPECIAL, "SPECIAL"),
        (PROT_NONE, "PROTNONE"),
    ];
}

impl Pte {
    /// The entry as this processor has it; `level` 0 is a PTE.
    pub fn raw(self, arch: Arch, level: u8) -> u64 {
        match arch {
            _ if self.is_none() => 0,
            Arch::I386 if self.is_swap() => swap_i386(self.swap_entry()),
            Arch::I386 => self.0 & 0xffff_ffff & !Pte::SOFT_DIRTY,
            Arch::I386Pae if self.is_swap() => self.0 & !Pte::SWP_EXCLUSIVE,
            Arch::I386Pae => self.0 & !Pte::SOFT_DIRTY,
            Arch::Arm64 if self.is_swap() => swap_arm64(self.swap_entry(), self.swap_exclusive()),
            Arch::Arm64 => self.raw_arm64(level),
            Arch::X86_64 | Arch::Arm | Arch::Uml => self.0,
        }
    }

    /// What an entry of this processor's says, in the form of x86_64; a PTE, or what is like one.
    pub fn of_raw(arch: Arch, raw: u64) -> Pte {
        let has = |bit: u64| raw & bit != 0;
        match arch {
            Arch::Arm64 if has(arm64::VALID | arm64::PROT_NONE) => {
                let frame = Pfn((raw >> 12 & 0xffff_ffff) as u32);
                let bits = [
                    (has(arm64::VALID), Pte::PRESENT),
                    (!has(arm64::VALID), Pte::PROTNONE),
                    (has(arm64::WRITE) || !has(arm64::RDONLY), Pte::RW),
                    (has(arm64::USER), Pte::USER),
                    (has(arm64::AF), Pte::ACCESSED),
                    (has(arm64::DIRTY) || !has(arm64::RDONLY), Pte::DIRTY),
                    (has(arm64::SPECIAL), Pte::SPECIAL),
                    (has(arm64::UXN), Pte::NX),
                ];
                Pte::new(frame, bits.iter().filter(|bit| bit.0).fold(0, |bits, bit| bits | bit.1))
            }
            Arch::Arm64 if raw != 0 => {
                Pte::swap(SwapEntry { area: (raw >> 3 & 0x1f) as u8, offset: (raw >> 8) as u32 }, has(4))
            }
            Arch::I386 if raw != 0 && !has(Pte::PRESENT | Pte::PROTNONE) => {
                Pte::swap(SwapEntry { area: (raw >> 1 & 0x1f) as u8, offset: (raw >> 9) as u32 }, false)
            }
            Arch::I386 => Pte(raw & 0xffff_ffff),
            _ => Pte(raw),
        }
    }

    /// The names of the bits of an entry as this processor has it, lowest first; as crash has them.
    pub fn names_of_raw(arch: Arch, raw: u64) -> Vec<&'static str> {
        let names: &[(u64, &str)] = match arch {
            Arch::Arm64 => arm64::NAMES,
            _ => Pte::NAMES,
        };
        let named = names.iter().filter(|(bit, _)| raw & bit == *bit);
        // Without PRESENT, the bit of GLOBAL says that the area forbids every access.
        let forbids = |bit: u64| arch != Arch::Arm64 && bit == Pte::PROTNONE && raw & Pte::PRESENT == 0;
        named.map(|(bit, name)| if forbids(*bit) { "PROTNONE" } else { *name }).collect()
    }

    fn raw_arm64(self, level: u8) -> u64 {
        let frame = u64::from(self.pfn().0) << 12;
        if level > 0 && !self.has(Pte::PSE) {
            return frame | arm64::TABLE;
        }
        let pick = |yes: bool, bit: u64| if yes { bit } else { 0 };
        let user = self.has(Pte::USER);
        frame
            | if self.is_valid() { pick(level == 0, 2) | arm64::VALID } else { arm64::PROT_NONE }
            | arm64::SHARED
            | pick(user, arm64::USER | arm64::NG | arm64::PXN)
            | pick(!self.has(Pte::RW) || !self.has(Pte::DIRTY), arm64::RDONLY)
            | pick(self.has(Pte::RW), arm64::WRITE)
            | pick(self.has(Pte::ACCESSED), arm64::AF)
            | pick(self.has(Pte::DIRTY), arm64::DIRTY)
            | pick(self.has(Pte::SPECIAL), arm64::SPECIAL)
            | pick(self.has(Pte::NX), arm64::UXN)
            | pick(!user, arm64::PXN | arm64::UXN)
    }
}

/// Type in bits 1 to 5, the slot from bit 9 on; before 6.3, 32-bit kernels kept no exclusive mark in swap.
fn swap_i386(entry: SwapEntry) -> u64 {
    (u64::from(entry.area & 0x1f) << 1 | u64::from(entry.offset) << 9) & 0xffff_ffff
}

/// The exclusive mark in bit 2, type in bits 3 to 7, the slot from bit 8 on.
fn swap_arm64(entry: SwapEntry, exclusive: bool) -> u64 {
    u64::from(exclusive) << 2 | u64::from(entry.area & 0x1f) << 3 | u64::from(entry.offset) << 8
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn every_processor_has_its_bits() {
        let pte = Pte::new(
            Pfn(0x9e82),
            Pte::PRESENT | Pte::RW | Pte::USER | Pte::ACCESSED | Pte::DIRTY | Pte::NX | Pte::SOFT_DIRTY,
        );
        assert_eq!(pte.raw(Arch::X86_64, 0), 0x8000_0000_09e8_2867);
        assert_eq!(pte.raw(Arch::I386Pae, 0), 0x8000_0000_09e8_2067);
        assert_eq!(pte.raw(Arch::I386, 0), 0x09e8_2067);
        assert_eq!(pte.raw(Arch::Arm64, 0), 0x00e8_0000_09e8_2f43);
        assert_eq!(Pte::new(Pfn(1), Pte::TABLE).raw(Arch::Arm64, 2), 0x1003);
    }

    #[test]
    fn an_entry_of_arm64_is_read_back() {
        let bits = Pte::PRESENT | Pte::RW | Pte::USER | Pte::ACCESSED | Pte::DIRTY | Pte::NX;
        let raw = Pte::new(Pfn(0x9e82), bits).raw(Arch::Arm64, 0);
        assert_eq!(Pte::of_raw(Arch::Arm64, raw), Pte::new(Pfn(0x9e82), bits));
        assert_eq!(
            Pte::names_of_raw(Arch::Arm64, raw),
            ["VALID", "USER", "SHARED", "AF", "NG", "PXN", "UXN", "DIRTY"]
        );
        for arch in [Arch::Arm64, Arch::I386] {
            let swap = Pte::swap(SwapEntry { area: 1, offset: 5 }, false);
            assert_eq!(Pte::of_raw(arch, swap.raw(arch, 0)), swap);
        }
    }

    #[test]
    fn a_swap_entry_of_32_bits_has_its_type_below_its_slot() {
        let pte = Pte::swap(SwapEntry { area: 1, offset: 5 }, false);
        assert_eq!(pte.raw(Arch::I386, 0), 5 << 9 | 1 << 1);
        assert_eq!(pte.raw(Arch::Arm64, 0), 5 << 8 | 1 << 3);
    }
}
