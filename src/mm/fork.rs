//! Tasks begin: spawn, fork, vfork, clone.
//!
//! ```text
//!   fork            copies the areas and the page tables; pages are shared until one side writes
//!   vfork           shares everything, and the parent sleeps until the child calls exec or exit
//!   clone(CLONE_VM) shares the address space; with CLONE_THREAD it is one more thread of the group
//! ```
//!
//! Gorman 4.3. Kernel: `kernel/fork.c`.
//! Fidelity: faithful — which flags go together, whose child it is, copying of areas and page tables, undoing a fork
//! that fails half way. Absent — open files, signal handlers and namespaces: their flags are taken and share nothing.

use crate::mm::augmented::MapleTree;
use crate::mm::errno::{Errno, Signal};
use crate::mm::kernel_caches::KernelCache;
use crate::mm::machine::{Comm, Machine};
use crate::mm::malloc::Heap;
use crate::mm::pgtable::UpperId;
use crate::mm::pid::{INIT_PID, KTHREADD_PID};
use crate::mm::task::{Exit, Mm, MmId, Pid, Rlimits, State, Task, Usage};
use crate::mm::trace::Event;
use crate::mm::vma::{SwapRa, VmFlags};
use std::collections::BTreeSet;

/// Flags of `clone` that say what is shared.
pub mod clone_flags {
    #![allow(missing_docs)]
    pub const VM: u64 = 0x100;
    pub const FS: u64 = 0x200;
    pub const FILES: u64 = 0x400;
    pub const SIGHAND: u64 = 0x800;
    pub const VFORK: u64 = 0x4000;
    pub const PARENT: u64 = 0x8000;
    pub const THREAD: u64 = 0x1_0000;
    pub const SYSVSEM: u64 = 0x4_0000;
    pub const SETTLS: u64 = 0x8_0000;
    pub const PARENT_SETTID: u64 = 0x10_0000;
    pub const CHILD_CLEARTID: u64 = 0x20_0000;
    pub const CHILD_SETTID: u64 = 0x100_0000;
    /// The signal that the parent gets at the end: the low byte.
    pub const SIGNAL: u64 = 0xff;
    /// All that are taken.
    pub const KNOWN: u64 = VM
        | FS
        | FILES
        | SIGHAND
        | VFORK
        | PARENT
        | THREAD
        | SYSVSEM
        | SETTLS
        | PARENT_SETTID
        | CHILD_CLEARTID
        | CHILD_SETTID
        | SIGNAL;
}

impl Machine {
    /// Starts a task with a fresh address space, as execve leaves it: that of the program of this name, or one with a
    /// stack and the kernel's two areas alone.
    ///
    /// # Errors
    /// `EAGAIN` when there are too many tasks, `ENOMEM`.
    pub fn spawn(&mut self, comm: &str) -> Result<Pid, Errno> {
        let pid = self.alloc_pid(INIT_PID)?;
        self.alloc_task_struct(pid, 0)?;
        let mm = match self.mm_alloc() {
            Ok(mm) => mm,
            Err(e) => {
                self.free_task_struct(pid);
                return Err(e);
            }
        };
        self.add_task(self.new_task(pid, INIT_PID, comm, Some(mm)));
        if let Err(e) = self.load_program(pid, mm, comm) {
            self.exit_mm(pid);
            self.forget_task(pid);
            return Err(e);
        }
        self.emit(Event::TaskNewtask { pid, comm: Comm::new(comm), parent: INIT_PID });
        if self.tasks.get(&pid).is_some_and(|t| t.oom_victim) {
            // The page of its own stack was one too many: it never reaches user space.
            self.do_exit(pid, Exit::Signal(Signal::Kill));
        }
        Ok(pid)
    }

    /// Starts a task with an address space in which nothing is mapped.
    ///
    /// # Errors
    /// As [`Machine::spawn`].
    pub(crate) fn spawn_empty(&mut self, comm: &str) -> Result<Pid, Errno> {
        let pid = self.alloc_pid(INIT_PID)?;
        self.alloc_task_struct(pid, 0)?;
        let mm = self.mm_alloc().inspect_err(|_| self.free_task_struct(pid));
        let task = self.new_task(pid, INIT_PID, comm, Some(mm?));
        self.add_task(task);
        self.emit(Event::TaskNewtask { pid, comm: Comm::new(comm), parent: INIT_PID });
        Ok(pid)
    }

    /// Memory for a task: `task_struct`, kernel stack, and what it does not share (`dup_task_struct`, `copy_files`, …).
    pub(crate) fn alloc_task_struct(&mut self, pid: Pid, flags: u64) -> Result<(), Errno> {
        self.alloc_task_objects(pid, flags)
    }

    /// Gives back what [`Machine::alloc_task_struct`] took (`free_task`).
    pub(crate) fn free_task_struct(&mut self, pid: Pid) {
        self.free_task_objects(pid);
    }

    pub(crate) fn new_task(&self, pid: Pid, parent: Pid, comm: &str, mm: Option<MmId>) -> Task {
        Task {
            pid,
            tgid: pid,
            parent,
            children: BTreeSet::new(),
            threads: BTreeSet::new(),
            serial: self.tasks.get(&pid).map_or(0, |before| before.serial + 1),
            vfork_child: None,
            vfork_parent: None,
            comm: Comm::new(comm),
            mm,
            state: State::Running,
            min_flt: 0,
            maj_flt: 0,
            oom_score_adj: 0,
            uid: 0,
            oom_victim: false,
            catches_faults: false,
            cpu: self.cpu.0,
            rlimits: Rlimits { nproc: self.max_threads() / 2, ..Rlimits::default() },
            usage: Usage::default(),
            child_usage: Usage::default(),
            start_time: self.clock,
            last_ran: self.clock,
            end_time: 0,
            at_exit: [0; 3],
        }
    }

    fn add_task(&mut self, task: Task) {
        self.nr_threads += 1;
        let (pid, tgid, parent) = (task.pid, task.tgid, task.parent);
        self.tasks.insert(pid, task);
        if tgid != pid {
            if let Some(leader) = self.tasks.get_mut(&tgid) {
                leader.threads.insert(pid);
            }
        } else if let Some(parent) = self.tasks.get_mut(&parent) {
            parent.children.insert(pid);
        }
    }

    /// Memory for an empty address space and its top table (`mm_alloc`).
    pub(crate) fn mm_alloc(&mut self) -> Result<MmId, Errno> {
        let object = self.alloc_mm_object()?;
        let pgd = self.pgd_alloc().inspect_err(|_| self.free_kernel_object(KernelCache::MmStruct, object))?;
        let mm = self.mm_with(pgd);
        self.set_mm_object(mm, object);
        self.mms[mm].pgtables_bytes = self.preallocated_bytes();
        Ok(mm)
    }

    /// Gives an empty address space back: nobody uses it any more (`__mmdrop`).
    pub(crate) fn mm_free(&mut self, mm: MmId) {
        self.leave_mm(mm);
        let pgd = self.mms[mm].pgd;
        self.pgd_free(pgd);
        self.mms.remove(mm);
        self.free_mm_object(mm);
    }

    /// An empty address space above a top table (`mm_init`).
    pub(crate) fn mm_with(&mut self, pgd: UpperId) -> MmId {
        let context = self.new_context();
        let mm = Mm {
            pgd,
            users: 1,
            vmas: MapleTree::default(),
            vma_cache: None,
            leaf_cache: None,
            rss: [0; 4],
            hiwater_rss: 0,
            hiwater_vm: 0,
            total_vm: 0,
            locked_vm: 0,
            data_vm: 0,
            exec_vm: 0,
            stack_vm: 0,
            pgtables_bytes: 0,
            code: 0..0,
            data: 0..0,
            start_brk: self.layout.program_brk,
            brk: self.layout.program_brk,
            heap: Heap::default(),
            start_stack: self.layout.stack_top - 0x1000,
            mmap_base: 0,
            def_flags: VmFlags::default(),
            context,
            oom_reaped: false,
        };
        let mm = self.mms.insert(mm);
        self.arch_pick_mmap_layout(mm, &Rlimits::default());
        mm
    }

    /// Makes a copy of a task (`fork`); the child's pid.
    ///
    /// # Errors
    /// `ESRCH`, `EAGAIN` when there are too many tasks, `ENOMEM`; a fork that fails leaves nothing behind.
    pub fn fork(&mut self, pid: Pid) -> Result<Pid, Errno> {
        self.clone_task(pid, 0)
    }

    /// Makes a child that borrows everything, while its parent sleeps (`vfork`).
    ///
    /// # Errors
    /// As [`Machine::fork`].
    pub fn vfork(&mut self, pid: Pid) -> Result<Pid, Errno> {
        self.clone_task(pid, clone_flags::VM | clone_flags::VFORK)
    }

    /// Makes a task that shares or copies the address space (`clone`).
    ///
    /// # Errors
    /// As [`Machine::fork`]; `EINVAL` for flags that do not go together.
    pub fn clone_task(&mut self, pid: Pid, flags: u64) -> Result<Pid, Errno> {
        use clone_flags::{PARENT, SIGHAND, THREAD, VFORK, VM};
        let has = |flag| flags & flag != 0;
        // Threads share signal handlers, and handlers lie in shared memory.
        if (has(THREAD) && !has(SIGHAND)) || (has(SIGHAND) && !has(VM)) {
            return Err(Errno::EINVAL);
        }
        let parent = self.mm_of(pid)?;
        let child = self.alloc_pid(pid)?;
        self.alloc_task_struct(child, flags)?;
        let mm = if has(VM) {
            self.mms[parent].users += 1;
            Ok(parent)
        } else {
            self.as_task(pid, |m| m.dup_mm(parent))
        };
        let mm = match mm {
            Ok(mm) => mm,
            Err(e) => {
                self.free_task_struct(child);
                return Err(e);
            }
        };
        let old = &self.tasks[&pid];
        let (comm, adj, limits, uid) = (old.comm, old.oom_score_adj, old.rlimits, old.uid);
        let catches_faults = old.catches_faults;
        let tgid = if has(THREAD) { old.tgid } else { child };
        let whose = if has(THREAD) || has(PARENT) { old.parent } else { pid };
        let mut task = self.new_task(child, whose, comm.as_str(), Some(mm));
        (task.oom_score_adj, task.rlimits, task.uid, task.tgid) = (adj, limits, uid, tgid);
        task.vfork_parent = has(VFORK).then_some(pid);
        task.catches_faults = catches_faults;
        self.add_task(task);
        if has(VFORK)
            && let Some(parent) = self.tasks.get_mut(&pid)
        {
            parent.vfork_child = Some(child);
        }
        self.emit(Event::TaskNewtask { pid: child, comm, parent: pid });
        Ok(child)
    }

    /// Wakes the parent whom vfork put to sleep: the child no longer uses its memory (`complete_vfork_done`).
    pub(crate) fn complete_vfork(&mut self, child: Pid) {
        let parent = self.tasks.get_mut(&child).and_then(|t| t.vfork_parent.take());
        if let Some(parent) = parent.and_then(|pid| self.tasks.get_mut(&pid))
            && parent.vfork_child == Some(child)
        {
            parent.vfork_child = None;
        }
    }

    /// Starts a kernel thread: a task without an address space.
    ///
    /// # Errors
    /// `EAGAIN`, `ENOMEM`.
    pub fn kthread(&mut self, comm: &str) -> Result<Pid, Errno> {
        let pid = self.alloc_pid(KTHREADD_PID)?;
        // It shares directories and open files with kthreadd.
        self.alloc_task_struct(pid, clone_flags::FS | clone_flags::FILES)?;
        let task = self.new_task(pid, KTHREADD_PID, comm, None);
        self.add_task(task);
        self.emit(Event::TaskNewtask { pid, comm: Comm::new(comm), parent: KTHREADD_PID });
        Ok(pid)
    }

    /// Copies an address space: areas, then page tables (`dup_mm`).
    fn dup_mm(&mut self, old: MmId) -> Result<MmId, Errno> {
        let new = self.mm_alloc()?;
        let source = self.mms[old].clone();
        let mm = &mut self.mms[new];
        (mm.start_brk, mm.brk, mm.start_stack, mm.mmap_base) =
            (source.start_brk, source.brk, source.start_stack, source.mmap_base);
        mm.heap = source.heap.clone();
        (mm.code, mm.data) = (source.code.clone(), source.data.clone());
        let areas: Vec<_> = source.vmas.iter().map(|area| area.id).collect();
        for parent in areas {
            let vma = &self.vmas[parent];
            if vma.flags.has(VmFlags::DONTCOPY) {
                continue;
            }
            let pages = vma.pages();
            let mut copy = vma.clone();
            // Locks are not inherited.
            copy.flags = copy.flags.without(VmFlags::LOCKED_MASK);
            (copy.mm, copy.anon_vma, copy.chain, copy.swap_ra) = (new, None, Vec::new(), SwapRa::default());
            let flags = copy.flags;
            let charged = if flags.has(VmFlags::ACCOUNT) { self.vm_enough_memory(pages) } else { Ok(()) };
            if let Err(e) = charged {
                self.flush_tlb_mm(old);
                self.mmput(new);
                return Err(e);
            }
            if flags.has(VmFlags::ACCOUNT) {
                self.committed_as += pages;
            }
            let child = match self.vm_area_alloc(copy) {
                Ok(child) => child,
                Err(e) => {
                    self.committed_as -= if flags.has(VmFlags::ACCOUNT) { pages } else { 0 };
                    self.flush_tlb_mm(old);
                    self.mmput(new);
                    return Err(e);
                }
            };
            self.vm_stat_account(new, flags, pages as i64);
            if !flags.has(VmFlags::WIPEONFORK) {
                self.anon_vma_fork(child, parent);
            }
            if self.copy_page_range(child, parent).is_err() {
                self.flush_tlb_mm(old);
                self.mmput(new);
                return Err(Errno::ENOMEM);
            }
        }
        // The parent's entries lost their write permission.
        self.flush_tlb_mm(old);
        Ok(new)
    }
}
