//! Tasks and their address spaces.
//!
//! ```text
//!   thread group                        task ── mm ──┐
//!     leader  pid = tgid    ── threads ─►  task ── mm ─┴─► one address space, as many users as tasks
//!     parent  ── children ─► leaders of other groups; zombies among them wait for wait()
//! ```
//!
//! Gorman chapter 4. Kernel: `include/linux/sched.h`, `include/linux/mm_types.h`.
//! Fidelity: faithful — thread groups, counters, limits, layout of an address space. Simplified — a task runs only
//! while a script acts for it; one that was reaped stays listed, so that a script may ask how it ended.

use crate::mm::addr::VirtAddr;
use crate::mm::augmented::MapleTree;
use crate::mm::errno::{Errno, Signal};
use crate::mm::machine::{Comm, Machine};
use crate::mm::malloc::Heap;
use crate::mm::pgtable::{TableId, UpperId};
use crate::mm::slots::Id;
use crate::mm::tlb::MmContext;
use crate::mm::vma::{VmFlags, VmaId};
use std::collections::BTreeSet;
use std::ops::Range;

/// Number of a task.
pub type Pid = u32;
/// Number of an address space.
pub type MmId = Id<Mm>;

/// Never killed by the OOM killer.
pub const OOM_SCORE_ADJ_MIN: i64 = -1000;

/// What kinds of pages an address space counts (`MM_FILEPAGES` …).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rss {
    /// Pages of files.
    File,
    /// Anonymous pages.
    Anon,
    /// Anonymous pages that lie in swap.
    Swap,
    /// Pages of shared memory.
    Shmem,
}

/// An address space (`struct mm_struct`).
#[derive(Clone, Debug)]
pub struct Mm {
    /// The top page table.
    pub pgd: UpperId,
    /// Tasks that share it (`mm_users`).
    pub users: u32,
    /// Areas by first address.
    pub vmas: MapleTree,
    /// The area found last.
    pub vma_cache: Option<VmaId>,
    /// The PTE table used last: address in 2 MiB units, and the table.
    pub leaf_cache: Option<(u64, TableId)>,
    /// Pages by kind, indexed by [`Rss`].
    pub rss: [u64; 4],
    /// Largest number of resident pages so far.
    pub hiwater_rss: u64,
    /// Largest number of mapped pages so far.
    pub hiwater_vm: u64,
    /// Mapped pages.
    pub total_vm: u64,
    /// Locked pages.
    pub locked_vm: u64,
    /// Private writable pages that are no stack.
    pub data_vm: u64,
    /// Executable pages that are not writable.
    pub exec_vm: u64,
    /// Pages of stacks.
    pub stack_vm: u64,
    /// Bytes of page tables below the top one.
    pub pgtables_bytes: u64,
    /// Where the program's code lies (`start_code..end_code`).
    pub code: Range<u64>,
    /// Where its initialised data lies (`start_data..end_data`).
    pub data: Range<u64>,
    /// Where the heap begins.
    pub start_brk: u64,
    /// Where the heap ends.
    pub brk: u64,
    /// Top of the stack.
    pub start_stack: u64,
    /// What the C library keeps about the heap.
    pub heap: Heap,
    /// Where mmap begins to search, downwards.
    pub mmap_base: u64,
    /// Flags of every new area: `mlockall(MCL_FUTURE)`.
    pub def_flags: VmFlags,
    /// What the TLBs know it by, and the CPUs that have it loaded.
    pub context: MmContext,
    /// The OOM killer reaped it: accesses of other threads find nothing.
    pub oom_reaped: bool,
}

impl Mm {
    /// Resident pages (`get_mm_rss`).
    #[inline]
    pub fn resident(&self) -> u64 {
        self.rss[Rss::File as usize] + self.rss[Rss::Anon as usize] + self.rss[Rss::Shmem as usize]
    }

    /// The count of the pages that an area with these flags is for: code, stack or data.
    #[inline]
    pub(crate) fn count_of(&mut self, flags: VmFlags) -> Option<&mut u64> {
        if flags.is_exec() {
            Some(&mut self.exec_vm)
        } else if flags.is_stack() {
            Some(&mut self.stack_vm)
        } else if flags.is_data() {
            Some(&mut self.data_vm)
        } else {
            None
        }
    }

    /// Mapped pages are for something else from now on.
    #[inline]
    pub(crate) fn recount(&mut self, from: VmFlags, to: VmFlags, pages: u64) {
        if let Some(count) = self.count_of(from) {
            *count -= pages;
        }
        if let Some(count) = self.count_of(to) {
            *count += pages;
        }
    }

    /// Pages of the program's own code.
    pub fn text_pages(&self) -> u64 {
        let pages = self.code.end.div_ceil(4096).saturating_sub(self.code.start / 4096);
        pages.min(self.exec_vm)
    }

    /// Pages of a kind.
    #[inline]
    pub fn rss(&self, kind: Rss) -> u64 {
        self.rss[kind as usize]
    }
}

/// How a task stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// Ready to run.
    Running,
    /// Ended, and nobody has asked how (`EXIT_ZOMBIE`): its memory is gone, its pid is not.
    Zombie(Exit),
    /// Reaped (`EXIT_DEAD`); it remains listed until its pid is given away again.
    Dead(Exit),
}

impl State {
    /// How it ended; `None` while it lives.
    pub fn exit(self) -> Option<Exit> {
        match self {
            State::Running => None,
            State::Zombie(how) | State::Dead(how) => Some(how),
        }
    }
}

/// What a thread group used: the faults of its threads, and the most memory it had at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Usage {
    /// Minor faults.
    pub minflt: u64,
    /// Major faults.
    pub majflt: u64,
    /// The largest number of resident pages.
    pub maxrss: u64,
}

impl Usage {
    /// Both together: faults add up, the larger memory counts.
    #[must_use]
    pub fn with(self, other: Usage) -> Usage {
        Usage {
            minflt: self.minflt + other.minflt,
            majflt: self.majflt + other.majflt,
            maxrss: self.maxrss.max(other.maxrss),
        }
    }
}

/// How a task ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// By itself, with a status.
    Status(i32),
    /// By a signal.
    Signal(Signal),
}

/// Limits of a process (`RLIMIT_*`), in bytes; `u64::MAX` is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rlimits {
    /// Size of the address space.
    pub address_space: u64,
    /// Size of the data segment.
    pub data: u64,
    /// Size of the stack.
    pub stack: u64,
    /// Locked memory.
    pub memlock: u64,
    /// Tasks of the same user; root may have more.
    pub nproc: u64,
}

impl Default for Rlimits {
    fn default() -> Rlimits {
        Rlimits { address_space: u64::MAX, data: u64::MAX, stack: 8 << 20, memlock: 8 << 20, nproc: u64::MAX }
    }
}

/// A task (`struct task_struct`).
#[derive(Clone, Debug)]
pub struct Task {
    /// Its number.
    pub pid: Pid,
    /// Number of its thread group.
    pub tgid: Pid,
    /// Whose child it is: who started it, or init once that one has ended.
    pub parent: Pid,
    /// Its children that nobody has reaped.
    pub children: BTreeSet<Pid>,
    /// Of a group's leader: the other threads that have not ended.
    pub threads: BTreeSet<Pid>,
    /// Which of the tasks that ever had this pid it is.
    pub serial: u32,
    /// The child that vfork made it wait for.
    pub vfork_child: Option<Pid>,
    /// The parent that waits until this child has called exec or exit.
    pub vfork_parent: Option<Pid>,
    /// Its name.
    pub comm: Comm,
    /// Its address space; kernel threads and dead tasks have none.
    pub mm: Option<MmId>,
    /// How it stands.
    pub state: State,
    /// Minor faults.
    pub min_flt: u64,
    /// Major faults: the page had to be read.
    pub maj_flt: u64,
    /// The user's wish for the OOM killer: -1000 never, 1000 first.
    pub oom_score_adj: i64,
    /// The user.
    pub uid: u32,
    /// The OOM killer chose it, and its memory is on the way out.
    pub oom_victim: bool,
    /// It has handlers for SIGSEGV and SIGBUS.
    pub catches_faults: bool,
    /// The CPU it ran on last.
    pub cpu: u16,
    /// Limits.
    pub rlimits: Rlimits,
    /// Of a group's leader: what threads that have ended used.
    pub usage: Usage,
    /// Of a group's leader: what children used that were waited for.
    pub child_usage: Usage,
    /// When it started, in nanoseconds of virtual time.
    pub start_time: u64,
    /// When it began to run last.
    pub last_ran: u64,
    /// When it ended.
    pub end_time: u64,
    /// Resident pages, swap entries and page-table bytes when it ended.
    pub at_exit: [u64; 3],
}

impl Task {
    /// True until it ends.
    pub fn is_alive(&self) -> bool {
        self.state == State::Running
    }

    /// True for the first thread of a group, whose pid is the group's number.
    pub fn is_leader(&self) -> bool {
        self.pid == self.tgid
    }
}

impl Machine {
    /// A task that has not ended.
    ///
    /// # Errors
    /// `ESRCH`.
    pub fn live_task(&self, pid: Pid) -> Result<&Task, Errno> {
        self.tasks.get(&pid).filter(|t| t.is_alive()).ok_or(Errno::ESRCH)
    }

    /// The address space of a task that can run.
    ///
    /// # Errors
    /// `ESRCH`; `EINVAL` for a kernel thread, which has none; `EBUSY` for a task that sleeps in vfork until its child
    /// calls exec or exit.
    #[inline]
    pub fn mm_of(&self, pid: Pid) -> Result<MmId, Errno> {
        let task = self.live_task(pid)?;
        if task.vfork_child.is_some() {
            return Err(Errno::EBUSY);
        }
        task.mm.ok_or(Errno::EINVAL)
    }

    /// The threads of a task's group that have not ended, by pid.
    pub fn thread_group(&self, pid: Pid) -> Vec<Pid> {
        let Some(leader) = self.tasks.get(&pid).and_then(|t| self.tasks.get(&t.tgid)) else {
            return Vec::new();
        };
        let alive = |pid: &Pid| self.tasks.get(pid).is_some_and(Task::is_alive);
        std::iter::once(leader.pid).chain(leader.threads.iter().copied()).filter(alive).collect()
    }

    /// What a task's group used so far, threads that have ended counted (`getrusage`).
    pub fn group_usage(&self, pid: Pid) -> Usage {
        let Some(leader) = self.tasks.get(&pid).and_then(|t| self.tasks.get(&t.tgid)) else {
            return Usage::default();
        };
        let running = leader.threads.iter().filter_map(|pid| self.tasks.get(pid)).chain([leader]);
        running.fold(leader.usage, |sum, thread| {
            let maxrss = thread.mm.map_or(0, |mm| self.mms[mm].hiwater_rss.max(self.mms[mm].resident()));
            sum.with(Usage { minflt: thread.min_flt, majflt: thread.maj_flt, maxrss })
        })
    }

    /// The area an address of a task lies in.
    ///
    /// # Errors
    /// As [`Machine::mm_of`].
    pub fn vma_at(&self, pid: Pid, addr: VirtAddr) -> Result<Option<VmaId>, Errno> {
        let mm = self.mm_of(pid)?;
        Ok(self.find_vma(mm, addr).filter(|id| self.vmas[*id].contains(addr)))
    }

    /// Counts pages of an address space.
    #[inline]
    pub(crate) fn add_rss(&mut self, mm: MmId, kind: Rss, n: i64) {
        let mm = &mut self.mms[mm];
        let counter = &mut mm.rss[kind as usize];
        *counter = counter.wrapping_add_signed(n);
        if n > 0 {
            let resident = mm.resident();
            if resident > mm.hiwater_rss {
                mm.hiwater_rss = resident;
            }
        }
    }
}
