//! Flags of areas (`VM_*`), and what they say about an area.
//!
//! Kernel: `include/linux/mm.h`.
//! Fidelity: faithful — values, and which pages count as data, stack and code.

use crate::mm::pgtable::Pte;

/// Flags of an area (`VM_*`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct VmFlags(pub u64);

#[allow(missing_docs)]
impl VmFlags {
    pub const READ: VmFlags = VmFlags(0x1);
    pub const WRITE: VmFlags = VmFlags(0x2);
    pub const EXEC: VmFlags = VmFlags(0x4);
    pub const SHARED: VmFlags = VmFlags(0x8);
    pub const MAYREAD: VmFlags = VmFlags(0x10);
    pub const MAYWRITE: VmFlags = VmFlags(0x20);
    pub const MAYEXEC: VmFlags = VmFlags(0x40);
    pub const MAYSHARE: VmFlags = VmFlags(0x80);
    pub const GROWSDOWN: VmFlags = VmFlags(0x100);
    pub const PFNMAP: VmFlags = VmFlags(0x400);
    pub const LOCKED: VmFlags = VmFlags(0x2000);
    pub const IO: VmFlags = VmFlags(0x4000);
    pub const SEQ_READ: VmFlags = VmFlags(0x8000);
    pub const RAND_READ: VmFlags = VmFlags(0x1_0000);
    pub const DONTCOPY: VmFlags = VmFlags(0x2_0000);
    pub const DONTEXPAND: VmFlags = VmFlags(0x4_0000);
    pub const LOCKONFAULT: VmFlags = VmFlags(0x8_0000);
    pub const ACCOUNT: VmFlags = VmFlags(0x10_0000);
    pub const NORESERVE: VmFlags = VmFlags(0x20_0000);
    pub const HUGETLB: VmFlags = VmFlags(0x40_0000);
    pub const WIPEONFORK: VmFlags = VmFlags(0x200_0000);
    pub const DONTDUMP: VmFlags = VmFlags(0x400_0000);
    pub const SOFTDIRTY: VmFlags = VmFlags(0x800_0000);
    pub const MIXEDMAP: VmFlags = VmFlags(0x1000_0000);
    pub const HUGEPAGE: VmFlags = VmFlags(0x2000_0000);
    pub const NOHUGEPAGE: VmFlags = VmFlags(0x4000_0000);
    pub const MERGEABLE: VmFlags = VmFlags(0x8000_0000);
    /// Never merged, never locked (`VM_SPECIAL`).
    pub const SPECIAL: VmFlags = VmFlags(0x4_4400);
    /// What an area of a new process gets: `VM_MAYREAD | VM_MAYWRITE | VM_MAYEXEC`.
    pub const MAY_ALL: VmFlags = VmFlags(0x70);
    /// Both kinds of lock (`VM_LOCKED_MASK`).
    pub const LOCKED_MASK: VmFlags = VmFlags(0x8_2000);
    /// The three access bits.
    pub const ACCESS: VmFlags = VmFlags(0x7);

    /// True when every flag of `other` is set.
    #[inline]
    pub const fn has(self, other: VmFlags) -> bool {
        self.0 & other.0 == other.0
    }

    /// True when one flag of `other` is set.
    #[inline]
    pub const fn any(self, other: VmFlags) -> bool {
        self.0 & other.0 != 0
    }

    /// These and those.
    #[inline]
    pub const fn with(self, other: VmFlags) -> VmFlags {
        VmFlags(self.0 | other.0)
    }

    /// These without those.
    #[inline]
    pub const fn without(self, other: VmFlags) -> VmFlags {
        VmFlags(self.0 & !other.0)
    }

    /// Private, writable, and no stack (`is_data_mapping`).
    #[inline]
    pub const fn is_data(self) -> bool {
        self.has(VmFlags::WRITE) && !self.any(VmFlags(VmFlags::SHARED.0 | VmFlags::GROWSDOWN.0))
    }

    /// It grows down (`is_stack_mapping`).
    #[inline]
    pub const fn is_stack(self) -> bool {
        self.has(VmFlags::GROWSDOWN)
    }

    /// Executable, not writable, and no stack (`is_exec_mapping`).
    #[inline]
    pub const fn is_exec(self) -> bool {
        self.has(VmFlags::EXEC) && !self.any(VmFlags(VmFlags::WRITE.0 | VmFlags::GROWSDOWN.0))
    }

    /// A private mapping that may become writable (`is_cow_mapping`).
    #[inline]
    pub const fn is_cow(self) -> bool {
        self.0 & (VmFlags::SHARED.0 | VmFlags::MAYWRITE.0) == VmFlags::MAYWRITE.0
    }

    /// Bits of a present entry in such an area (`vm_get_page_prot`); private areas never start writable.
    #[inline]
    pub fn page_prot(self) -> u64 {
        if !self.any(VmFlags::ACCESS) {
            return Pte::PROTNONE | Pte::ACCESSED | Pte::NX;
        }
        let mut bits = Pte::PRESENT | Pte::USER | Pte::ACCESSED;
        if self.has(VmFlags::WRITE.with(VmFlags::SHARED)) {
            bits |= Pte::RW;
        }
        if !self.has(VmFlags::EXEC) {
            bits |= Pte::NX;
        }
        bits
    }

    /// `rw-p`, as /proc/PID/maps prints.
    pub fn perms(self) -> String {
        let bit = |flag: VmFlags, on, off| if self.has(flag) { on } else { off };
        [
            bit(VmFlags::READ, 'r', '-'),
            bit(VmFlags::WRITE, 'w', '-'),
            bit(VmFlags::EXEC, 'x', '-'),
            bit(VmFlags::MAYSHARE, 's', 'p'),
        ]
        .iter()
        .collect()
    }
}
