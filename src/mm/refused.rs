//! Why a call about address spaces was refused: the number that decided, kept for whoever asks.
//!
//! Fidelity: ours — the kernel answers `ENOMEM` to all of these, and keeps nothing.

use crate::mm::addr::PAGE_SHIFT;
use crate::mm::errno::Errno;
use crate::mm::machine::Machine;
use crate::mm::task::{MmId, Pid};
use crate::mm::vma::VmFlags;
use std::fmt;

/// The comparison at which a call ended with `ENOMEM`. Sizes are in pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// So many areas are needed for a moment, and there may be no more than `most` (`sysctl_max_map_count`).
    Areas { needed: u64, most: u64 },
    /// A limit of the task's (`may_expand_vm`, `mlock`).
    Limit { name: &'static str, has: u64, asked: u64, limit: u64 },
    /// No gap between the areas is that long (`vm_unmapped_area`).
    Room { asked: u64 },
    /// More than may be promised to all tasks together (`__vm_enough_memory`).
    Promise { mode: u64, promised: u64, asked: u64, most: u64 },
    /// Nothing is mapped at this address.
    Hole { at: u64 },
    /// The range ends beyond the last address.
    Wraps { at: u64, len: u64 },
    /// There is no pool of persistent huge pages (`MAP_HUGETLB`).
    NoHugePages,
    /// Larger than a file of the simulator can be.
    File { asked: u64, most: u64 },
    /// The area cannot grow where it is, and may not move.
    NotHere { asked: u64 },
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kb = |pages: u64| u128::from(pages) << 2;
        match *self {
            Refused::Areas { needed, most } => {
                write!(f, "It needs {needed} areas, and vm.max_map_count is {most}.")
            }
            Refused::Limit { name, has, asked, limit } => write!(
                f,
                "{name}: it has {} kB and asks for {} kB more, and the limit is {} kB.",
                kb(has),
                kb(asked),
                kb(limit)
            ),
            Refused::Room { asked } => write!(f, "No gap between its areas is {} kB long.", kb(asked)),
            Refused::Promise { mode: 0, asked, most, .. } => write!(
                f,
                "overcommit_memory 0: {} kB in one piece are more than all memory and swap, {} kB.",
                kb(asked),
                kb(most)
            ),
            Refused::Promise { mode, promised, asked, most } => write!(
                f,
                "overcommit_memory {mode}: {} kB are promised, {} kB more were asked for, and {} kB is where it ends for this task.",
                kb(promised),
                kb(asked),
                kb(most)
            ),
            Refused::Hole { at } => write!(f, "Nothing is mapped at {at:#x}."),
            Refused::Wraps { at, len } => {
                write!(f, "{len:#x} bytes from {at:#x} on end beyond the last address.")
            }
            Refused::NoHugePages => {
                write!(f, "MAP_HUGETLB takes pages of a pool of persistent huge pages, and there is none.")
            }
            Refused::File { asked, most } => {
                write!(f, "{} kB are more than a file of the simulator can have, {} kB.", kb(asked), kb(most))
            }
            Refused::NotHere { asked } => write!(
                f,
                "There is no room for {} kB more behind the area, and without MREMAP_MAYMOVE it stays where it is.",
                kb(asked)
            ),
        }
    }
}

impl Machine {
    /// Keeps why a call is refused.
    #[cold]
    pub(crate) fn refuse(&mut self, why: Refused) -> Errno {
        self.refused = Some(why);
        Errno::ENOMEM
    }

    /// The limit that [`Machine::may_expand_vm`] met.
    #[cold]
    pub(crate) fn refuse_growth(&mut self, pid: Pid, mm: MmId, flags: VmFlags, asked: u64) -> Errno {
        let limits = &self.tasks[&pid].rlimits;
        let mm = &self.mms[mm];
        let all = limits.address_space;
        let why = if all != u64::MAX && mm.total_vm + asked > all >> PAGE_SHIFT {
            Refused::Limit { name: "RLIMIT_AS", has: mm.total_vm, asked, limit: all >> PAGE_SHIFT }
        } else {
            debug_assert!(flags.is_data());
            Refused::Limit { name: "RLIMIT_DATA", has: mm.data_vm, asked, limit: limits.data >> PAGE_SHIFT }
        };
        self.refuse(why)
    }
}
