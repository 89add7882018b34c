//! The last fault: what `explain()` says about an access.
//!
//! Fidelity: ours. It holds numbers, not references.

use crate::mm::addr::{Pfn, VirtAddr};
use crate::mm::memory::Access;
use crate::mm::vma::VmFlags;
use std::fmt;

/// Which branch of the fault handler was taken, and what it found or made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum FaultKind {
    /// No fault yet.
    #[default]
    None,
    /// A read of a page nobody wrote: the shared page of zeros.
    ZeroPage,
    /// A new page of zeros.
    NewPage {
        /// The page.
        pfn: Pfn,
    },
    /// Copy on write, but the page had no other user: it became writable.
    Reuse {
        /// The page.
        pfn: Pfn,
        /// One entry of the table above mapped it with 511 others: it was split first.
        split: bool,
    },
    /// The same with 2 MiB that one entry of the table above maps.
    ReuseHuge {
        /// Its page at the address.
        pfn: Pfn,
    },
    /// Copy on write: the writer got a page of its own.
    Copy {
        /// The page shared until then.
        old: Pfn,
        /// The writer's page.
        new: Pfn,
        /// The shared page was the page of zeros.
        from_zero: bool,
        /// One entry of the table above mapped 2 MiB at once: it was split first.
        split: bool,
    },
    /// The page came back from swap; major when it had to be read.
    SwapIn {
        /// It was read from the device.
        major: bool,
    },
    /// A page of a file was mapped, and others around it that were in memory.
    MapFile {
        /// The page.
        pfn: Pfn,
        /// Pages that were in memory and were mapped at once; 0 when this one had to be brought.
        around: u8,
        /// It was read from the disk.
        major: bool,
    },
    /// A private write to a page of a file: the writer got a page of its own.
    CopyFile {
        /// The file's page.
        old: Pfn,
        /// The writer's page.
        new: Pfn,
        /// The file's page was read from the disk.
        major: bool,
    },
    /// A shared write to a page of a file that was not mapped.
    SharedFile {
        /// The page.
        pfn: Pfn,
        /// It was read from the disk.
        major: bool,
    },
    /// The first write to a shared page since it was clean.
    Mkwrite {
        /// The page.
        pfn: Pfn,
    },
    /// The task was told SIGBUS.
    SigBus,
    /// A huge page of zeros.
    HugePage {
        /// Its first page.
        pfn: Pfn,
    },
    /// A read of 2 MiB nobody wrote: the shared huge page of zeros.
    HugeZeroPage,
    /// The entry was right already.
    Spurious,
    /// The task was told SIGSEGV.
    Segv {
        /// An area is there but forbids the access.
        accerr: bool,
    },
    /// The task was told SIGSEGV: the address is the kernel's.
    KernelAddress,
    /// The task was told SIGSEGV: the processor takes it for no address.
    GeneralProtection,
    /// No page could be had.
    NoMemory,
}

impl FaultKind {
    /// True when the page had to be read from a device.
    #[inline]
    pub fn is_major(self) -> bool {
        matches!(
            self,
            FaultKind::SwapIn { major: true }
                | FaultKind::MapFile { major: true, .. }
                | FaultKind::CopyFile { major: true, .. }
                | FaultKind::SharedFile { major: true, .. }
        )
    }

    /// What came of a write after the entry of a huge page had been split for it.
    #[cold]
    pub(crate) fn after_split(mut self) -> FaultKind {
        if let FaultKind::Reuse { split, .. } | FaultKind::Copy { split, .. } = &mut self {
            *split = true;
        }
        self
    }

    /// The entry of a huge page had to be split first.
    pub fn was_split(self) -> bool {
        matches!(self, FaultKind::Reuse { split: true, .. } | FaultKind::Copy { split: true, .. })
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FaultKind::None => write!(f, "no fault"),
            FaultKind::ZeroPage => write!(f, "minor: the zero page"),
            FaultKind::NewPage { pfn } => write!(f, "minor: new page pfn {pfn}"),
            FaultKind::Reuse { pfn, .. } => write!(f, "minor: page pfn {pfn} reused, nobody else uses it"),
            FaultKind::ReuseHuge { pfn } => {
                write!(f, "minor: huge page of pfn {pfn} reused, nobody else uses it")
            }
            FaultKind::Copy { new, from_zero: true, .. } => {
                write!(f, "minor: zero page -> new page pfn {new}")
            }
            FaultKind::Copy { old, new, .. } => write!(f, "minor: copy on write, pfn {old} -> pfn {new}"),
            FaultKind::SwapIn { major: true } => write!(f, "major: read from swap"),
            FaultKind::SwapIn { major: false } => write!(f, "minor: found in the swap cache"),
            FaultKind::MapFile { pfn, major: true, .. } => write!(f, "major: file page read into pfn {pfn}"),
            FaultKind::MapFile { pfn, around: 0 | 1, .. } => write!(f, "minor: file page pfn {pfn}"),
            FaultKind::MapFile { pfn, around, .. } => {
                write!(f, "minor: file page pfn {pfn}, {around} pages mapped around it")
            }
            FaultKind::CopyFile { old, new, major } => {
                let class = if *major { "major" } else { "minor" };
                write!(f, "{class}: private copy of a file page, pfn {old} -> pfn {new}")
            }
            FaultKind::SharedFile { pfn, major } => {
                write!(f, "{}: shared file page pfn {pfn}", if *major { "major" } else { "minor" })
            }
            FaultKind::Mkwrite { pfn } => write!(f, "minor: first write to shared page pfn {pfn}"),
            FaultKind::SigBus => write!(f, "SIGBUS, nothing of the file is there"),
            FaultKind::HugePage { pfn } => write!(f, "minor: new huge page pfn {pfn}"),
            FaultKind::HugeZeroPage => write!(f, "minor: the huge zero page"),
            FaultKind::Spurious => write!(f, "minor: nothing to do"),
            FaultKind::Segv { accerr: false } => write!(f, "SIGSEGV, no area"),
            FaultKind::Segv { accerr: true } => write!(f, "SIGSEGV, access forbidden"),
            FaultKind::KernelAddress => write!(f, "SIGSEGV, a kernel's address"),
            FaultKind::GeneralProtection => write!(f, "SIGSEGV, no address at all"),
            FaultKind::NoMemory => write!(f, "no memory"),
        }
    }
}

/// Everything decided during one fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FaultRecord {
    /// When it ended, in nanoseconds.
    pub at: u64,
    /// The task.
    pub pid: u32,
    /// The address.
    pub addr: VirtAddr,
    /// What the task did.
    pub access: Access,
    /// The area, or the nearest one below: first address.
    pub start: u64,
    /// One past its last address.
    pub end: u64,
    /// Its flags.
    pub flags: VmFlags,
    /// What came of it.
    pub kind: FaultKind,
}

impl Default for FaultRecord {
    fn default() -> FaultRecord {
        FaultRecord::new(0, 0, VirtAddr(0), Access::Read, FaultKind::None)
    }
}

impl FaultRecord {
    /// A record without an area.
    pub fn new(at: u64, pid: u32, addr: VirtAddr, access: Access, kind: FaultKind) -> FaultRecord {
        FaultRecord { at, pid, addr, access, start: 0, end: 0, flags: VmFlags::default(), kind }
    }

    /// The fault in words.
    pub fn explain(&self) -> String {
        let verb = match self.access {
            Access::Read => "read",
            Access::Write => "wrote",
            Access::Exec => "executed",
        };
        let mut text = format!("Task {} {verb} {}: {}.\n", self.pid, self.addr, self.kind);
        let area = format!("{:#x}-{:#x} {}", self.start, self.end, self.flags.perms());
        text += &match self.kind {
            FaultKind::None => {
                return "No task has faulted yet: try write(p, addr, 1) on a fresh mapping.\n".into();
            }
            FaultKind::Segv { accerr: false } if self.end > 0 && self.end <= self.addr.0 => {
                format!(
                    "  No area holds the address; the nearest below ends at {:#x}, {} bytes away.\n",
                    self.end,
                    self.addr.0 - self.end
                )
            }
            FaultKind::Segv { accerr: false } => {
                "  No area holds the address, and none lies below it.\n".into()
            }
            FaultKind::Segv { accerr: true } => format!("  The area {area} does not allow it.\n"),
            FaultKind::KernelAddress => {
                "  The address lies above all that a task may have: its areas are not asked.\n".into()
            }
            FaultKind::GeneralProtection => {
                "  The high bits of the address are not all alike: the processor looks at no table for it.\n"
                    .into()
            }
            _ => format!("  The area {area} allows it.\n"),
        };
        if self.kind.was_split() {
            text += "  One entry of the table above mapped 2 MiB at once: it was split into 512.\n";
        }
        text += match self.kind {
            FaultKind::ZeroPage => {
                "  The entry was empty and the access a read: every such page shares one frame of zeros, and rss stays as it was.\n"
            }
            FaultKind::NewPage { .. } => {
                "  The entry was empty and the access a write: a page was allocated with GFP_HIGHUSER_MOVABLE|__GFP_COMP|__GFP_ZERO and joined the inactive list.\n"
            }
            FaultKind::Reuse { .. } => {
                "  The entry was write-protected, but the page has no other user: the entry became writable, nothing was copied.\n"
            }
            FaultKind::ReuseHuge { .. } => {
                "  One entry of the table above maps 2 MiB and was write-protected, but the huge page has no other user: the entry became writable, nothing was copied.\n"
            }
            FaultKind::Copy { from_zero: true, .. } => {
                "  The entry showed the page of zeros: the writer got a page of its own.\n"
            }
            FaultKind::Copy { .. } => {
                "  The entry was write-protected because the page is shared since fork: the writer got a copy, the others keep the old page.\n"
            }
            FaultKind::SwapIn { major: true } => {
                "  The entry named a swap slot and the page was not in the swap cache: it was read, with its neighbours.\n"
            }
            FaultKind::SwapIn { major: false } => {
                "  The entry named a swap slot, and readahead had already brought the page into the swap cache.\n"
            }
            FaultKind::MapFile { major: true, .. } => {
                "  The entry was empty and the page was not in the page cache: it was read, and mapped.\n"
            }
            FaultKind::MapFile { around: 0, .. } => {
                "  The entry was empty and no page could be mapped at once: the file was asked for it, and nothing had to be read.\n"
            }
            FaultKind::MapFile { .. } => {
                "  The entry was empty and the access a read: pages of the file that are in memory, up to 16 around the address, were mapped at once.\n"
            }
            FaultKind::CopyFile { .. } => {
                "  The area is private: the writer got a page of its own with the bytes of the file's, which stays as it is.\n"
            }
            FaultKind::SharedFile { .. } => {
                "  The area is shared: the entry shows the file's own page, which is dirty from now on.\n"
            }
            FaultKind::Mkwrite { .. } => {
                "  The entry was write-protected so that the file system hears of the first write: the page is dirty from now on.\n"
            }
            FaultKind::HugePage { .. } => {
                "  No table covered the 2 MiB around the address, the area holds them all and wants huge pages, and a block of order 9 was free: one entry maps 512 pages.\n"
            }
            FaultKind::HugeZeroPage => {
                "  No table covered the 2 MiB around the address and the access was a read: one entry shows the huge page of zeros that all tasks share.\n"
            }
            FaultKind::SigBus => {
                "  The page lies beyond the end of the file behind the area, or the file system has no room for it.\n"
            }
            _ => "",
        };
        let kernel = match self.kind {
            FaultKind::KernelAddress => "do_kern_addr_fault, bad_area_nosemaphore",
            FaultKind::GeneralProtection => "exc_general_protection",
            _ => "do_user_addr_fault, handle_mm_fault",
        };
        text + "Kernel: " + kernel + ". Next: vtop(p, addr), vm(pid, \"-p\")\n"
    }
}
