//! What a task may do: limits and the user it runs as.
//!
//! Kernel: `kernel/sys.c`, `include/uapi/linux/resource.h`, `kernel/capability.c`.
//! Fidelity: faithful — names and meaning of the limits that memory knows. Simplified — user 0 has every capability,
//! everybody else none; hard limits are infinite.

use crate::mm::errno::Errno;
use crate::mm::machine::Machine;
use crate::mm::task::Pid;

/// Numbers of limits.
pub mod rlimit {
    #![allow(missing_docs)]
    pub const DATA: u64 = 2;
    pub const STACK: u64 = 3;
    pub const NPROC: u64 = 6;
    pub const MEMLOCK: u64 = 8;
    pub const AS: u64 = 9;
    /// No limit.
    pub const INFINITY: u64 = u64::MAX;
    /// How many limits there are.
    pub const NLIMITS: u64 = 16;
}

impl Machine {
    /// Limits what a task may have (`setrlimit`), in bytes.
    ///
    /// # Errors
    /// `EINVAL` for a limit that does not exist, `EOPNOTSUPP` for one that memory does not know, `ESRCH`.
    pub fn setrlimit(&mut self, pid: Pid, resource: u64, limit: u64) -> Result<(), Errno> {
        self.live_task(pid)?;
        let Some(task) = self.tasks.get_mut(&pid) else { return Err(Errno::ESRCH) };
        let limits = &mut task.rlimits;
        let slot = match resource {
            rlimit::DATA => &mut limits.data,
            rlimit::STACK => &mut limits.stack,
            rlimit::NPROC => &mut limits.nproc,
            rlimit::MEMLOCK => &mut limits.memlock,
            rlimit::AS => &mut limits.address_space,
            rlimit::NLIMITS.. => return Err(Errno::EINVAL),
            _ => return Err(Errno::EOPNOTSUPP),
        };
        *slot = limit;
        Ok(())
    }

    /// Makes a task another user's (`setuid`); whoever leaves user 0 loses every capability.
    ///
    /// # Errors
    /// `EPERM` when the task is not user 0's and wants to be a third one, `ESRCH`.
    pub fn setuid(&mut self, pid: Pid, uid: u32) -> Result<(), Errno> {
        let old = self.live_task(pid)?.uid;
        if old != 0 && old != uid {
            return Err(Errno::EPERM);
        }
        if let Some(task) = self.tasks.get_mut(&pid) {
            task.uid = uid;
        }
        Ok(())
    }

    /// Has the task the capability? (`capable`)
    #[inline]
    pub(crate) fn capable(&self, pid: Pid) -> bool {
        self.tasks.get(&pid).is_none_or(|t| t.uid == 0)
    }

    /// A task that the OOM killer chose during a call dies when it would return to user space.
    #[inline(always)]
    pub(crate) fn die_if_killed(&mut self, pid: Pid) {
        if self.ooms.is_empty() {
            return;
        }
        if self.tasks.get(&pid).is_some_and(|t| t.is_alive() && t.oom_victim) {
            self.do_group_exit(pid, crate::mm::task::Exit::Signal(crate::mm::errno::Signal::Kill));
        }
    }
}
