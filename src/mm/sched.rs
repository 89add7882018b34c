//! Who runs on which CPU.
//!
//! The script calls the kernel as a thread of its own and borrows the address space of the task that ran before it on
//! its CPU. When it acts for a task, that task runs there; when it leaves for another CPU, the task goes on:
//!
//! ```text
//!   on_cpu(0); touch(a, …)     CPU 0: a runs, then the script, lazily in a's address space
//!   on_cpu(1); touch(b, …)     CPU 0: a runs                          CPU 1: b, then the script
//!   munmap(b, …)               a and b are threads: CPU 0 is interrupted and flushes its TLB
//!   on_cpu(0); touch(b, …)     CPU 0: b runs, a sleeps                CPU 1: idle, lazily in b's address space
//! ```
//!
//! Gorman 4.2. Kernel: `kernel/sched/core.c` (`context_switch`).
//! Fidelity: ours — a rule in place of a scheduler. Faithful — lazy TLB mode of kernel threads.

use crate::mm::gfp::Gfp;
use crate::mm::machine::{Current, Machine, SCRIPT_PID};
use crate::mm::task::Pid;

impl Machine {
    /// Runs as a task for the length of `f`: allocations and events carry its name.
    pub fn as_task<R>(&mut self, pid: Pid, f: impl FnOnce(&mut Machine) -> R) -> R {
        let outer = self.current.clone();
        self.become_task(pid);
        let result = f(self);
        self.return_to(outer);
        result
    }

    /// Makes a task the current one until [`Machine::return_to`] gets what this answers.
    pub fn step_into(&mut self, pid: Pid) -> Current {
        let outer = self.current.clone();
        self.become_task(pid);
        outer
    }

    /// Makes a task the current one.
    #[inline]
    pub(crate) fn become_task(&mut self, pid: Pid) {
        let Some(task) = self.tasks.get_mut(&pid) else { return };
        task.last_ran = self.clock;
        self.current = Current {
            pid,
            comm: task.comm,
            memalloc: false,
            oom_victim: task.oom_victim,
            in_interrupt: false,
            gfp_allowed: Gfp(u32::MAX),
        };
        if self.tlbs[self.cpu.index()].ready != pid {
            self.context_switch(pid);
        }
    }

    /// Who ran before goes on.
    #[inline]
    pub fn return_to(&mut self, outer: Current) {
        let pid = outer.pid;
        self.current = outer;
        // The script's thread has no address space to switch to.
        if pid != SCRIPT_PID && self.tlbs[self.cpu.index()].ready != pid {
            self.context_switch(pid);
        }
    }

    /// A task comes to the running CPU; a kernel thread borrows what is loaded there (`context_switch`).
    #[cold]
    fn context_switch(&mut self, next: Pid) {
        let here = self.cpu.0;
        let Some(task) = self.tasks.get_mut(&next) else { return };
        let Some(mm) = task.mm else { return };
        let from = std::mem::replace(&mut task.cpu, here);
        if from != here && self.tlbs[usize::from(from)].task == next {
            self.idle(from);
        }
        self.tlbs[usize::from(here)].task = next;
        self.switch_mm(here, Some(mm));
        self.tlbs[usize::from(here)].ready = next;
    }

    /// Nobody runs on a CPU any more: it keeps the address space, lazily.
    pub(crate) fn idle(&mut self, cpu: u16) {
        let tlb = &mut self.tlbs[usize::from(cpu)];
        (tlb.task, tlb.ready) = (0, 0);
    }

    /// A task ends: the CPU that ran it idles.
    pub(crate) fn leave_cpu(&mut self, pid: Pid) {
        let Some(cpu) = self.tasks.get(&pid).map(|t| t.cpu) else { return };
        if self.tlbs.get(usize::from(cpu)).is_some_and(|tlb| tlb.task == pid) {
            self.idle(cpu);
        }
    }

    /// The task that runs on a CPU in its user half, while the script is on another.
    pub fn running_on(&self, cpu: u16) -> Option<Pid> {
        let tlb = self.tlbs.get(usize::from(cpu))?;
        (tlb.task != 0 && !self.is_lazy(cpu)).then_some(tlb.task)
    }
}
