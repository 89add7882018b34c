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
    },
    /// Copy on write: the writer got a page of its own.
    Copy {
        /// The page shared until then.
        old: Pfn,
        /// The writer's page.
        new: Pfn,
        /// The shared page was the page of zeros.
        from_zero: bool,
    },
    /// The page came back from swap; major when it had to be read.
    SwapIn {
        /// It was read from the device.
        major: bool,
    },
    /// The entry was right already.
    Spurious,
    /// The task was told SIGSEGV.
    Segv {
        /// An area is there but forbids the access.
        accerr: bool,
    },
    /// No page could be had.
    NoMemory,
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FaultKind::None => write!(f, "no fault"),
            FaultKind::ZeroPage => write!(f, "minor: the zero page"),
            FaultKind::NewPage { pfn } => write!(f, "minor: new page pfn {pfn}"),
            FaultKind::Reuse { pfn } => write!(f, "minor: page pfn {pfn} reused, nobody else uses it"),
            FaultKind::Copy { new, from_zero: true, .. } => {
                write!(f, "minor: zero page -> new page pfn {new}")
            }
            FaultKind::Copy { old, new, .. } => write!(f, "minor: copy on write, pfn {old} -> pfn {new}"),
            FaultKind::SwapIn { major: true } => write!(f, "major: read from swap"),
            FaultKind::SwapIn { major: false } => write!(f, "minor: found in the swap cache"),
            FaultKind::Spurious => write!(f, "minor: nothing to do"),
            FaultKind::Segv { accerr: false } => write!(f, "SIGSEGV, no area"),
            FaultKind::Segv { accerr: true } => write!(f, "SIGSEGV, access forbidden"),
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
            _ => format!("  The area {area} allows it.\n"),
        };
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
            _ => "",
        };
        text + "Kernel: do_user_addr_fault, handle_mm_fault. Next: vtop(p, addr), vm(pid, \"-p\")\n"
    }
}
