//! Tasks end: exit, kill, wait, and who inherits their children.
//!
//! ```text
//!   do_exit ── memory goes ──► zombie ── wait by the parent ──► reaped, the pid is free
//!                               └─ a thread that is no leader, or a child of init: reaped at once
//!   children of the dead: to another thread of the group, else to init
//! ```
//!
//! Gorman 4.3. Kernel: `kernel/exit.c`, `kernel/signal.c`.
//! Fidelity: faithful — a leader outlives its threads as a zombie, faults of reaped children are added up, a fatal
//! signal ends the whole group, order of exit_mmap. Simplified — init reaps at once, wait never sleeps; an address
//! space that a lazy CPU borrows goes when its last task ends, not when that CPU next runs a user.

use crate::mm::errno::{Errno, Signal};
use crate::mm::machine::Machine;
use crate::mm::pid::INIT_PID;
use crate::mm::task::{Exit, MmId, Pid, Rss, State};
use crate::mm::trace::Event;
use crate::mm::vma::VmFlags;

impl Machine {
    /// Ends every thread of a task's group (`do_group_exit`).
    pub(crate) fn do_group_exit(&mut self, pid: Pid, how: Exit) {
        for thread in self.thread_group(pid) {
            self.do_exit(thread, how);
        }
    }

    /// Ends one task (`do_exit`).
    pub(crate) fn do_exit(&mut self, pid: Pid, how: Exit) {
        let Some(task) = self.tasks.get_mut(&pid).filter(|t| t.is_alive()) else { return };
        task.state = State::Zombie(how);
        task.end_time = self.clock;
        let comm = task.comm;
        let before = self.nr_free_and_pcp_pages();
        self.exit_mm(pid);
        let free = self.nr_free_and_pcp_pages();
        if let Some(kill) = self.ooms.iter_mut().rev().find(|kill| kill.victim == Some(pid)) {
            // A victim that ran when it was chosen gives its memory back only now.
            kill.freed += free.saturating_sub(before);
        }
        self.exit_task_objects(pid);
        self.emit(Event::ProcessExit { pid, comm, how });
        self.exit_notify(pid);
    }

    /// A task lets go of its address space; the last one frees it (`exit_mm`).
    pub(crate) fn exit_mm(&mut self, pid: Pid) {
        self.complete_vfork(pid);
        let Some(mm) = self.tasks.get_mut(&pid).and_then(|t| t.mm.take()) else { return };
        let last = &self.mms[mm];
        let at_exit = [last.resident(), last.rss(Rss::Swap), last.pgtables_bytes];
        let maxrss = last.hiwater_rss;
        if let Some(task) = self.tasks.get_mut(&pid) {
            task.at_exit = at_exit;
            task.usage.maxrss = task.usage.maxrss.max(maxrss);
        }
        self.leave_cpu(pid);
        self.mmput(mm);
    }

    /// One user of an address space less; the last one frees it (`mmput`).
    pub(crate) fn mmput(&mut self, mm: MmId) {
        self.mms[mm].users -= 1;
        if self.mms[mm].users == 0 {
            self.exit_mmap(mm);
            self.mm_free(mm);
        }
    }

    /// Empties an address space: pages, tables, areas (`exit_mmap`).
    pub(crate) fn exit_mmap(&mut self, mm: MmId) {
        let areas: Vec<_> = self.mms[mm].vmas.iter().map(|area| area.id).collect();
        for &id in &areas {
            self.zap_range(id, self.vmas[id].start, self.vmas[id].end);
        }
        self.free_pgtables(mm, 0..u64::MAX, 0, u64::MAX);
        for id in areas {
            if self.vmas[id].flags.has(VmFlags::ACCOUNT) {
                self.committed_as -= self.vmas[id].pages();
            }
            self.remove_vma(id);
        }
    }

    /// Children get another parent, and the parent is told (`exit_notify`).
    fn exit_notify(&mut self, pid: Pid) {
        self.forget_original_parent(pid);
        let task = &self.tasks[&pid];
        let tgid = task.tgid;
        if tgid == pid {
            self.notify_parent(pid);
            return;
        }
        // A thread that is no leader is never waited for.
        let used = (task.min_flt, task.maj_flt, task.usage.maxrss);
        if let Some(leader) = self.tasks.get_mut(&tgid) {
            leader.threads.remove(&pid);
            leader.usage.minflt += used.0;
            leader.usage.majflt += used.1;
            leader.usage.maxrss = leader.usage.maxrss.max(used.2);
        }
        self.release_task(pid);
        self.notify_parent(tgid);
    }

    /// A leader whose group has ended is a child to wait for; init does it at once.
    fn notify_parent(&mut self, leader: Pid) {
        let Some(task) = self.tasks.get(&leader) else { return };
        if !matches!(task.state, State::Zombie(_)) || !task.threads.is_empty() {
            return;
        }
        let parent = task.parent;
        let waits = parent != INIT_PID && self.tasks.get(&parent).is_some_and(|p| p.is_alive());
        if !waits {
            self.release_task(leader);
        }
    }

    /// Children go to another thread of the group, else to init (`forget_original_parent`).
    fn forget_original_parent(&mut self, pid: Pid) {
        let Some(task) = self.tasks.get_mut(&pid) else { return };
        let children = std::mem::take(&mut task.children);
        if children.is_empty() {
            return;
        }
        let reaper = self.thread_group(pid).first().copied().unwrap_or(INIT_PID);
        for child in children {
            if let Some(task) = self.tasks.get_mut(&child) {
                task.parent = reaper;
            }
            if let Some(reaper) = self.tasks.get_mut(&reaper) {
                reaper.children.insert(child);
            }
            if reaper == INIT_PID {
                self.notify_parent(child);
            }
        }
    }

    /// The last of a task: from now on its pid is free (`release_task`).
    fn release_task(&mut self, pid: Pid) {
        let usage = self.group_usage(pid);
        let Some(task) = self.tasks.get_mut(&pid) else { return };
        let State::Zombie(how) = task.state else { return };
        task.state = State::Dead(how);
        let (parent, leader) = (task.parent, task.is_leader());
        let children = task.child_usage;
        self.nr_threads = self.nr_threads.saturating_sub(1);
        self.free_task_struct(pid);
        if let Some(parent) = self.tasks.get_mut(&parent).filter(|_| leader) {
            parent.children.remove(&pid);
            parent.child_usage = parent.child_usage.with(usage).with(children);
        }
    }

    /// Takes back a task that never ran.
    pub(crate) fn forget_task(&mut self, pid: Pid) {
        self.free_task_struct(pid);
        self.nr_threads -= 1;
        if let Some(task) = self.tasks.remove(&pid)
            && let Some(parent) = self.tasks.get_mut(&task.parent)
        {
            parent.children.remove(&pid);
        }
    }

    /// Reaps a child that has ended, and tells its pid; `None` when all still run (`wait4` with `WNOHANG`).
    ///
    /// # Errors
    /// `ESRCH`; `ECHILD` without children, or when `which` is none of them.
    pub fn wait(&mut self, pid: Pid, which: Option<Pid>) -> Result<Option<Pid>, Errno> {
        self.live_task(pid)?;
        let group = self.thread_group(pid);
        let mut children = group.iter().flat_map(|thread| self.tasks[thread].children.iter().copied());
        let mut waited =
            children.by_ref().filter(|child| which.is_none_or(|which| which == *child)).peekable();
        if waited.peek().is_none() {
            return Err(Errno::ECHILD);
        }
        let ended = |child: &Pid| {
            self.tasks.get(child).is_some_and(|t| matches!(t.state, State::Zombie(_)) && t.threads.is_empty())
        };
        let found = waited.find(ended);
        if let Some(child) = found {
            self.release_task(child);
        }
        Ok(found)
    }

    /// Lets a task end by itself: a leader with its whole group, another thread alone (`exit_group`, `exit`).
    ///
    /// # Errors
    /// `ESRCH`.
    pub fn exit_task(&mut self, pid: Pid, status: i32) -> Result<(), Errno> {
        let leader = self.live_task(pid)?.is_leader();
        if leader {
            self.do_group_exit(pid, Exit::Status(status));
        } else {
            self.do_exit(pid, Exit::Status(status));
        }
        Ok(())
    }

    /// Ends every thread of a group, as one of them asked for it (`exit_group`).
    ///
    /// # Errors
    /// `ESRCH`.
    pub fn exit_group(&mut self, pid: Pid, status: i32) -> Result<(), Errno> {
        if self.thread_group(pid).is_empty() {
            return Err(Errno::ESRCH);
        }
        self.do_group_exit(pid, Exit::Status(status));
        Ok(())
    }

    /// Kills a task and every thread of its group (`kill(pid, SIGKILL)`).
    ///
    /// # Errors
    /// `ESRCH`; `EPERM` for init and kernel threads.
    pub fn kill_task(&mut self, pid: Pid) -> Result<(), Errno> {
        if self.live_task(pid)?.mm.is_none() || pid == INIT_PID {
            return Err(Errno::EPERM);
        }
        self.do_group_exit(pid, Exit::Signal(Signal::Kill));
        Ok(())
    }

    /// Changes how the OOM killer sees a task: every thread of its group, and who shares its address space.
    ///
    /// # Errors
    /// `ESRCH`; `EINVAL` outside of -1000..=1000.
    pub fn set_oom_score_adj(&mut self, pid: Pid, adj: i64) -> Result<(), Errno> {
        let task = self.live_task(pid)?;
        if !(-1000..=1000).contains(&adj) {
            return Err(Errno::EINVAL);
        }
        let (tgid, mm) = (task.tgid, task.mm.filter(|mm| self.mms[*mm].users > 1));
        let same = |t: &crate::mm::task::Task| t.tgid == tgid || (mm.is_some() && t.mm == mm);
        for task in self.tasks.values_mut().filter(|t| t.is_alive() && same(t)) {
            task.oom_score_adj = adj;
        }
        Ok(())
    }
}
