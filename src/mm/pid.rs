//! Pids: who has which number, and how many tasks there may be.
//!
//! ```text
//!   pid 0      swapper/N   one a CPU
//!   pid 1      init        the parent of every task whose own parent has ended
//!   pid 2      kthreadd    the parent of kernel threads
//!   pid 24     script      33… kcompactdN     43… kswapdN     the machine keeps no task for these
//! ```
//!
//! Kernel: `kernel/pid.c`, `kernel/fork.c` (`set_max_threads`).
//! Fidelity: faithful — numbers go up and start again at 300 after `pid_max`; `threads-max`, `RLIMIT_NPROC`.
//! Simplified — `pid_max` is 32768 whatever the number of CPUs.

mod table;

pub use table::PidTable;

use crate::mm::errno::Errno;
use crate::mm::machine::{Machine, SCRIPT_PID};
use crate::mm::mmzone::Node;
use crate::mm::task::{Pid, State};

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
/// Where numbers start again after `pid_max` (`RESERVED_PIDS`).
const RESERVED_PIDS: Pid = 300;

impl Machine {
    /// A number for a new task, unless there are too many (`copy_process`, `alloc_pid`).
    pub(crate) fn alloc_pid(&mut self, parent: Pid) -> Result<Pid, Errno> {
        let refused = self.refuse_task(parent);
        if let Some(line) = refused {
            // A fork bomb says it once.
            if self.log().next_back().is_none_or(|last| last.text != line) {
                self.printk(line);
            }
            return Err(Errno::EAGAIN);
        }
        let free = |m: &Machine, pid: &Pid| {
            let taken = m.tasks.get(pid).is_some_and(|t| !matches!(t.state, State::Dead(_)));
            !taken && !m.is_kthread_pid(*pid)
        };
        let first = self.next_pid;
        let upwards = (first..PID_MAX).find(|pid| free(self, pid));
        let found = upwards.or_else(|| (RESERVED_PIDS..first).find(|pid| free(self, pid)));
        let pid = found.ok_or(Errno::EAGAIN)?;
        self.next_pid = pid + 1;
        Ok(pid)
    }

    /// Why a task cannot start another one: the limit that binds, and how far it is used.
    fn refuse_task(&self, parent: Pid) -> Option<String> {
        if let Some(task) = self.tasks.get(&parent).filter(|t| t.uid != 0) {
            // Root is excused, as CAP_SYS_RESOURCE is.
            let (have, limit) = (self.processes_of(task.uid), task.rlimits.nproc);
            if have >= limit {
                return Some(format!(
                    "fork: EAGAIN: user {} has {have} tasks, RLIMIT_NPROC is {limit}",
                    task.uid
                ));
            }
        }
        (self.nr_threads >= self.max_threads() || self.nr_threads >= u64::from(PID_MAX)).then(|| {
            format!(
                "fork: EAGAIN: {} tasks run, threads-max is {}; pids end at {}",
                self.nr_threads,
                self.max_threads(),
                PID_MAX - 1
            )
        })
    }

    /// Tasks of a user, zombies too.
    fn processes_of(&self, uid: u32) -> u64 {
        let counted = |t: &&crate::mm::task::Task| t.uid == uid && !matches!(t.state, State::Dead(_));
        self.tasks.values().filter(counted).count() as u64
    }

    /// Tasks that memory allows: an eighth of it may go to their structures (`set_max_threads`).
    pub fn max_threads(&self) -> u64 {
        const THREAD_SIZE_PAGES: u64 = 4;
        (self.totalram_pages() / (8 * THREAD_SIZE_PAGES)).max(20)
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
}
