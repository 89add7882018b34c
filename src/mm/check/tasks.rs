//! Invariants of tasks and TLBs: who shares what, whose child is whose, and what each CPU may still remember.
//!
//! Fidelity: ours.

use super::{Broken, broken};
use crate::mm::machine::Machine;
use crate::mm::pgtable::Pte;
use crate::mm::pid::INIT_PID;
use crate::mm::task::{MmId, State, Task};
use std::collections::BTreeMap;

impl Machine {
    /// Tasks, address spaces and TLBs agree.
    pub(super) fn check_tasks(&self) -> Result<(), Broken> {
        self.check_users()?;
        self.check_threads()?;
        for cpu in 0..self.tlbs.len() {
            self.check_tlb(cpu as u16)?;
        }
        Ok(())
    }

    fn check_users(&self) -> Result<(), Broken> {
        let mut users: BTreeMap<MmId, u32> = BTreeMap::new();
        for task in self.tasks.values() {
            if let Some(mm) = task.mm {
                if !task.is_alive() {
                    return broken(
                        "a task that has ended has no address space",
                        format!("task {}", task.pid),
                    );
                }
                *users.entry(mm).or_default() += 1;
            }
        }
        for (id, mm) in self.mms.iter() {
            let sharing = users.remove(&id).unwrap_or(0);
            if sharing != mm.users {
                return broken(
                    "mm_users is the number of tasks that share it",
                    format!("{id:?}: {sharing} tasks, mm_users {}", mm.users),
                );
            }
            let loaded =
                (0..self.tlbs.len() as u16).filter(|cpu| self.tlbs[usize::from(*cpu)].loaded == Some(id));
            if !loaded.eq(mm.context.cpumask.iter().copied()) {
                return broken(
                    "mm_cpumask names the CPUs that have it loaded",
                    format!("{id:?}: {:?}", mm.context.cpumask),
                );
            }
        }
        match users.keys().next() {
            Some(gone) => broken("a task's address space is there", format!("{gone:?}")),
            None => Ok(()),
        }
    }

    fn check_threads(&self) -> Result<(), Broken> {
        let reaped = |t: &Task| matches!(t.state, State::Dead(_));
        for task in self.tasks.values() {
            let wrong =
                |what: &str| broken("thread groups are consistent", format!("task {}: {what}", task.pid));
            let Some(leader) = self.tasks.get(&task.tgid) else { return wrong("no leader") };
            if !task.is_leader() && task.is_alive() && !leader.threads.contains(&task.pid) {
                return wrong("its leader does not know it");
            }
            for thread in &task.threads {
                let known = self.tasks.get(thread).is_some_and(|t| t.tgid == task.pid && t.is_alive());
                if !known || !task.is_leader() {
                    return wrong("it counts a thread that is none");
                }
            }
            if task.is_leader() && reaped(task) && !(task.threads.is_empty() && task.children.is_empty()) {
                return wrong("reaped before its threads and children were gone");
            }
            for child in &task.children {
                if self.tasks.get(child).is_none_or(|t| t.parent != task.pid || reaped(t)) {
                    return broken(
                        "parents and children name each other",
                        format!("task {child} is no child of {}", task.pid),
                    );
                }
            }
            if let Some(child) = task.vfork_child
                && self.tasks.get(&child).is_none_or(|t| t.vfork_parent != Some(task.pid))
            {
                return broken("a vfork parent waits for its child", format!("task {}", task.pid));
            }
            let parent = self.tasks.get(&task.parent);
            if task.is_leader()
                && !reaped(task)
                && task.pid != INIT_PID
                && parent.is_some_and(|p| !p.children.contains(&task.pid))
            {
                return broken(
                    "parents and children name each other",
                    format!("task {} is unknown to its parent {}", task.pid, task.parent),
                );
            }
        }
        let counted = self.tasks.values().filter(|t| t.pid != INIT_PID && !reaped(t)).count() as u64;
        if counted != self.nr_threads {
            return broken(
                "nr_threads is the number of tasks that are not reaped",
                format!("{counted} tasks, {} counted", self.nr_threads),
            );
        }
        Ok(())
    }

    /// What a CPU remembers of an address space whose flushes it has seen is what the page tables say.
    fn check_tlb(&self, cpu: u16) -> Result<(), Broken> {
        let tlb = &self.tlbs[usize::from(cpu)];
        let wrong =
            |what: String| broken("a TLB remembers what the page tables say", format!("CPU {cpu}: {what}"));
        if tlb.task != 0 && self.tasks.get(&tlb.task).is_none_or(|t| !t.is_alive() || t.cpu != cpu) {
            return broken("a task runs on one CPU", format!("CPU {cpu}: task {}", tlb.task));
        }
        if let Some(mm) = tlb.loaded {
            let context = &self.mms[mm].context;
            let slot = tlb.slots[tlb.asid];
            let behind = slot.tlb_gen < context.tlb_gen && !self.is_lazy(cpu) && tlb.ready != 0;
            if slot.ctx_id != context.ctx_id || slot.tlb_gen > context.tlb_gen || behind {
                return wrong(format!("{mm:?} is loaded at {slot:?}, and stands at {}", context.tlb_gen));
            }
        }
        let Some(model) = &tlb.model else { return Ok(()) };
        for (level, entry) in model.entries().filter(|(_, e)| !e.global) {
            let slot = tlb.slots[usize::from(entry.asid)];
            // Of an address space that has ended, or was flushed meanwhile, nothing is used again.
            let current = |mm: &crate::mm::task::Mm| {
                mm.context.ctx_id == slot.ctx_id && mm.context.tlb_gen == slot.tlb_gen
            };
            let Some((_, mm)) = self.mms.iter().find(|(_, mm)| current(mm)) else { continue };
            let addr = entry.addr();
            let pte = match entry.is_huge() {
                true => self.tables.huge(mm.pgd, addr).unwrap_or_default(),
                false => self.tables.pte(mm.pgd, addr),
            };
            if !pte.is_valid() || pte.pfn().0 != entry.pfn || (entry.writable && !pte.has(Pte::RW)) {
                return wrong(format!("level {level} has {addr} as {entry:?}, the entry is {:#x}", pte.0));
            }
        }
        Ok(())
    }
}
