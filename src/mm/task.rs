//! Tasks and their address spaces.
//!
//! Gorman chapter 4. Kernel: `include/linux/sched.h`, `include/linux/mm_types.h`.
//! Fidelity: faithful — counters, limits, layout of an address space. Simplified — a task runs only while a script
//! acts for it.

use crate::mm::addr::VirtAddr;
use crate::mm::errno::{Errno, Signal};
use crate::mm::machine::{Comm, Current, Machine, SCRIPT_PID};
use crate::mm::mmzone::Node;
use crate::mm::pgtable::TableId;
use crate::mm::slots::Id;
use crate::mm::vma::{VmFlags, VmaId};
use std::collections::BTreeMap;

/// Number of a task.
pub type Pid = u32;
/// Number of an address space.
pub type MmId = Id<Mm>;

/// The first process, whose anonymous pages are those the spec found.
pub const INIT_PID: Pid = 1;
/// The parent of all kernel threads.
pub const KTHREADD_PID: Pid = 2;
/// The pid of the first node's kcompactd, as a small PC's boot gives it.
pub const KCOMPACTD_PID: Pid = 33;
/// The first node's kswapd, as a boot of 6.1 on two CPUs numbers it; those of further nodes follow.
pub const KSWAPD_PID: Pid = 43;
/// Tasks a machine can have (`pid_max`).
pub const PID_MAX: u32 = 32_768;
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
    pub pgd: TableId,
    /// Tasks that share it (`mm_users`).
    pub users: u32,
    /// Areas by first address.
    pub vmas: BTreeMap<u64, VmaId>,
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
    /// Where the heap begins.
    pub start_brk: u64,
    /// Where the heap ends.
    pub brk: u64,
    /// Top of the stack.
    pub start_stack: u64,
    /// Where mmap begins to search, downwards.
    pub mmap_base: u64,
    /// Flags of every new area: `mlockall(MCL_FUTURE)`.
    pub def_flags: VmFlags,
    /// The TLB tag.
    pub asid: u16,
    /// The OOM killer reaped it: accesses of other threads find nothing.
    pub oom_reaped: bool,
}

impl Mm {
    /// Resident pages (`get_mm_rss`).
    #[inline]
    pub fn resident(&self) -> u64 {
        self.rss[Rss::File as usize] + self.rss[Rss::Anon as usize] + self.rss[Rss::Shmem as usize]
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
    /// Ended; it remains listed.
    Dead(Exit),
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
}

impl Default for Rlimits {
    fn default() -> Rlimits {
        Rlimits { address_space: u64::MAX, data: u64::MAX, stack: 8 << 20, memlock: 8 << 20 }
    }
}

/// A task (`struct task_struct`).
#[derive(Clone, Debug)]
pub struct Task {
    /// Its number.
    pub pid: Pid,
    /// Number of its thread group.
    pub tgid: Pid,
    /// Who started it.
    pub parent: Pid,
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
    /// When it started, in nanoseconds of virtual time.
    pub start_time: u64,
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
}

impl Machine {
    /// A task that has not ended.
    ///
    /// # Errors
    /// `ESRCH`.
    pub fn live_task(&self, pid: Pid) -> Result<&Task, Errno> {
        self.tasks.get(&pid).filter(|t| t.is_alive()).ok_or(Errno::ESRCH)
    }

    /// The pid of a node's kswapd, by the node's index; a node without memory has none.
    pub fn kswapd_pid(&self, node: usize) -> Option<Pid> {
        // On a machine with many nodes the kcompactds before it need more numbers.
        let first = KSWAPD_PID.max(KCOMPACTD_PID + self.nodes_with_memory());
        Some(first + self.kthread_turn(node)?)
    }

    /// The pid of a node's kcompactd, by the node's index; a node without memory has none.
    pub fn kcompactd_pid(&self, node: usize) -> Option<Pid> {
        Some(KCOMPACTD_PID + self.kthread_turn(node)?)
    }

    fn nodes_with_memory(&self) -> Pid {
        self.nodes.iter().filter(|n| self.node_has_memory(n)).count() as Pid
    }

    /// Which of the nodes with memory this one is.
    fn kthread_turn(&self, node: usize) -> Option<Pid> {
        let with_memory = |n: &&Node| self.node_has_memory(n);
        with_memory(&self.nodes.get(node)?)
            .then(|| self.nodes[..node].iter().filter(with_memory).count() as Pid)
    }

    /// True for the pids of kernel threads that the machine keeps no task for.
    pub fn is_kthread_pid(&self, pid: Pid) -> bool {
        let nodes = self.nodes_with_memory();
        let kswapd = KSWAPD_PID.max(KCOMPACTD_PID + nodes);
        pid == KTHREADD_PID
            || pid == SCRIPT_PID
            || (KCOMPACTD_PID..KCOMPACTD_PID + nodes).contains(&pid)
            || (kswapd..kswapd + nodes).contains(&pid)
    }

    /// The address space of a task that has not ended.
    ///
    /// # Errors
    /// `ESRCH`; `EINVAL` for a kernel thread, which has none.
    pub fn mm_of(&self, pid: Pid) -> Result<MmId, Errno> {
        self.live_task(pid)?.mm.ok_or(Errno::EINVAL)
    }

    /// Runs as a task for the length of `f`: allocations and events carry its name.
    pub fn as_task<R>(&mut self, pid: Pid, f: impl FnOnce(&mut Machine) -> R) -> R {
        let outer = self.current.clone();
        self.become_task(pid);
        let result = f(self);
        self.current = outer;
        result
    }

    /// Makes a task the current one.
    pub(crate) fn become_task(&mut self, pid: Pid) {
        if let Some(task) = self.tasks.get(&pid) {
            self.current = Current {
                pid,
                comm: task.comm,
                memalloc: false,
                oom_victim: task.oom_victim,
                in_interrupt: false,
                gfp_allowed: crate::mm::gfp::Gfp(u32::MAX),
            };
        }
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
