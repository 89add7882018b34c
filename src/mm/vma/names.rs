//! Names of the flags of an area.
//!
//! Kernel: `fs/proc/task_mmu.c` (`show_smap_vma_flags`).
//! Fidelity: faithful — what 6.1 abbreviates; the long names are those of crash.

use super::VmFlags;

/// Names of the bits as crash prints them, lowest first, and as /proc/PID/smaps abbreviates them.
///
/// crash keeps names of older kernels: its `CAN_NONLINEAR` is today's soft-dirty bit. The kernel has no abbreviation
/// for lock-on-fault and prints `??`.
pub const FLAGS: &[(u64, &str, &str)] = &[
    (0x1, "READ", "rd"),
    (0x2, "WRITE", "wr"),
    (0x4, "EXEC", "ex"),
    (0x8, "SHARED", "sh"),
    (0x10, "MAYREAD", "mr"),
    (0x20, "MAYWRITE", "mw"),
    (0x40, "MAYEXEC", "me"),
    (0x80, "MAYSHARE", "ms"),
    (0x100, "GROWSDOWN", "gd"),
    (0x200, "UFFD_MISSING", "um"),
    (0x400, "PFNMAP", "pf"),
    (0x1000, "UFFD_WP", "uw"),
    (0x2000, "LOCKED", "lo"),
    (0x4000, "IO", "io"),
    (0x8000, "SEQ_READ", "sr"),
    (0x1_0000, "RAND_READ", "rr"),
    (0x2_0000, "DONTCOPY", "dc"),
    (0x4_0000, "DONTEXPAND", "de"),
    (0x8_0000, "LOCKONFAULT", "??"),
    (0x10_0000, "ACCOUNT", "ac"),
    (0x20_0000, "NORESERVE", "nr"),
    (0x40_0000, "HUGETLB", "ht"),
    (0x80_0000, "SYNC", "sf"),
    (0x100_0000, "ARCH_1", "ar"),
    (0x200_0000, "WIPEONFORK", "wf"),
    (0x400_0000, "DONTDUMP", "dd"),
    (0x800_0000, "CAN_NONLINEAR", "sd"),
    (0x1000_0000, "MIXEDMAP", "mm"),
    (0x2000_0000, "HUGEPAGE", "hg"),
    (0x4000_0000, "NOHUGEPAGE", "nh"),
    (0x8000_0000, "MERGEABLE", "mg"),
];

/// The flag that /proc/PID/smaps abbreviates so.
pub fn flag_of(short: &str) -> Option<VmFlags> {
    FLAGS.iter().find(|(_, _, abbreviation)| *abbreviation == short).map(|(bit, ..)| VmFlags(*bit))
}
