//! Tasks begin and end: spawn, fork, exit, kill.
//!
//! Gorman 4.3. Kernel: `kernel/fork.c`, `kernel/exit.c`, `fs/exec.c`.
//! Fidelity: faithful — copying of areas and page tables, undoing a fork that fails half way, order of exit_mmap.
//! Simplified — a new program has a stack, a heap and the two kernel areas; its text belongs to files.

use crate::mm::addr::{PAGE_SHIFT, PAGE_SIZE, Pfn, VirtAddr};
use crate::mm::errno::{Errno, Signal};
use crate::mm::lru::Lru;
use crate::mm::machine::{Comm, Machine};
use crate::mm::mmap::TASK_SIZE;
use crate::mm::page::PageType;
use crate::mm::pgtable::{LEVELS, Pte, TableId};
use crate::mm::task::{Exit, INIT_PID, KTHREADD_PID, Mm, MmId, PID_MAX, Pid, Rlimits, Rss, State, Task};
use crate::mm::trace::Event;
use crate::mm::vma::{SwapRa, VmFlags, Vma, VmaName};
use crate::mm::vmstat::NodeStat;
use std::collections::BTreeMap;

/// `clone`'s wish to share the address space.
pub const CLONE_VM: u64 = 0x100;
/// Where the heap of a program without randomisation begins.
const PROGRAM_BRK: u64 = 0x5555_5555_9000;
/// Pages of a fresh stack: 132 KiB.
const STACK_PAGES: u64 = 33;
/// Gap between the stack and the area of mmap: the stack's limit, and room for its guard.
const MMAP_GAP: u64 = (8 << 20) + (256 << PAGE_SHIFT) + 0x1000;

/// The lists of anonymous pages.
const ANON_LISTS: [Lru; 2] = [Lru::InactiveAnon, Lru::ActiveAnon];

impl Machine {
    /// Starts a task with a fresh address space, as execve leaves it.
    ///
    /// # Errors
    /// `EAGAIN` when there are too many tasks, `ENOMEM`.
    pub fn spawn(&mut self, comm: &str) -> Result<Pid, Errno> {
        let pid = self.alloc_pid()?;
        let mm = self.mm_alloc()?;
        self.add_task(self.new_task(pid, INIT_PID, comm, Some(mm)));
        if let Err(e) = self.setup_arg_pages(pid, mm) {
            self.exit_mm(pid);
            self.tasks.remove(&pid);
            self.nr_threads -= 1;
            return Err(e);
        }
        self.emit(Event::TaskNewtask { pid, comm: Comm::new(comm), parent: INIT_PID });
        if self.tasks.get(&pid).is_some_and(|t| t.oom_victim) {
            // The page of its own stack was one too many: it never reaches user space.
            self.do_exit(pid, Exit::Signal(Signal::Kill));
        }
        Ok(pid)
    }

    /// Gives init the anonymous pages that were there at boot, mapped in its heap.
    ///
    /// Its page tables are frames that the spec counted as page tables: nothing is allocated, and what was imported
    /// stays as it was. A spec with too few of them, or with several gigabytes, leaves the pages without an owner.
    pub(crate) fn adopt_anonymous_pages(&mut self) {
        const MOST: usize = 1 << 18;
        let lists = self.nodes.iter().flat_map(|n| ANON_LISTS.map(|l| n.lruvec.lists[l as usize]));
        let pages: Vec<Pfn> = lists.flat_map(|list| list.iter(&self.mem_map).collect::<Vec<_>>()).collect();
        let is_table = |pfn: &Pfn| self.mem_map.page(*pfn).page_type() == Some(PageType::Table);
        let tables: Vec<Pfn> = self.mem_map.touched().filter(is_table).take(4 + pages.len() / 512).collect();
        if pages.is_empty() || pages.len() > MOST || tables.len() < 4 + pages.len() / 512 {
            self.tasks.insert(INIT_PID, self.new_task(INIT_PID, 0, "init", None));
            return;
        }
        let mut frames = tables.into_iter();
        let pgd = frames.next().map_or(0, |pfn| self.tables.insert(pfn, LEVELS - 1));
        let mm = self.mm_with(pgd);
        self.tasks.insert(INIT_PID, self.new_task(INIT_PID, 0, "init", Some(mm)));
        let (start, len) = (PROGRAM_BRK, pages.len() as u64 * PAGE_SIZE);
        let flags = VmFlags(3).with(VmFlags::MAY_ALL).with(VmFlags::ACCOUNT);
        self.add_area(mm, start, start + len, flags, VmaName::None);
        self.committed_as += pages.len() as u64;
        self.mms[mm].brk = start + len;
        let vma = self.mms[mm].vmas[&start];
        let anon = self.anon_vma_prepare(vma);
        let counted: Vec<_> = self.nodes.iter().map(|n| n.stat).collect();
        for (n, pfn) in pages.iter().enumerate() {
            let addr = VirtAddr(start + n as u64 * PAGE_SIZE);
            let Some(leaf) = self.leaf_from(mm, addr, &mut frames) else { break };
            self.page_add_new_anon_rmap(*pfn, vma, anon, addr);
            self.tables.set(leaf, addr, Pte::new(*pfn, flags.page_prot() | Pte::RW | Pte::DIRTY));
            self.add_rss(mm, Rss::Anon, 1);
        }
        // The spec has counted these pages and tables already.
        for (node, stat) in self.nodes.iter_mut().zip(counted) {
            let mapped = node.stat[NodeStat::AnonPages as usize];
            node.stat = stat;
            let least = mapped - stat[NodeStat::AnonPages as usize];
            let counter = &mut node.stat[NodeStat::AnonPages as usize];
            *counter = (*counter).max(least);
        }
    }

    fn new_task(&self, pid: Pid, parent: Pid, comm: &str, mm: Option<MmId>) -> Task {
        Task {
            pid,
            tgid: pid,
            parent,
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
            rlimits: Rlimits::default(),
            start_time: self.clock,
            end_time: 0,
            at_exit: [0; 3],
        }
    }

    fn add_task(&mut self, task: Task) {
        self.nr_threads += 1;
        self.tasks.insert(task.pid, task);
    }

    fn alloc_pid(&mut self) -> Result<Pid, Errno> {
        if self.next_pid >= PID_MAX || self.nr_threads >= self.max_threads() {
            let line = format!(
                "fork: EAGAIN: {} tasks run, threads-max is {}; pids end at {}",
                self.nr_threads,
                self.max_threads(),
                PID_MAX - 1
            );
            // A fork bomb says it once.
            if self.log().next_back().is_none_or(|last| last.text != line) {
                self.printk(line);
            }
            return Err(Errno::EAGAIN);
        }
        // Numbers that are taken are passed over, as the kernel does once it has counted round.
        let pid = (self.next_pid..).find(|pid| !self.is_kthread_pid(*pid)).unwrap_or(self.next_pid);
        self.next_pid = pid + 1;
        Ok(pid)
    }

    /// Tasks that memory allows: an eighth of it may go to their structures (`set_max_threads`).
    pub fn max_threads(&self) -> u64 {
        const THREAD_SIZE_PAGES: u64 = 4;
        (self.totalram_pages() / (8 * THREAD_SIZE_PAGES)).max(20)
    }

    fn mm_alloc(&mut self) -> Result<MmId, Errno> {
        let pgd = self.pgd_alloc()?;
        Ok(self.mm_with(pgd))
    }

    /// An empty address space above a top table.
    fn mm_with(&mut self, pgd: TableId) -> MmId {
        self.next_asid = self.next_asid.wrapping_add(1).max(1);
        let mm = Mm {
            pgd,
            users: 1,
            vmas: BTreeMap::new(),
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
            start_brk: PROGRAM_BRK,
            brk: PROGRAM_BRK,
            start_stack: TASK_SIZE - 0x1000,
            mmap_base: TASK_SIZE - MMAP_GAP,
            def_flags: VmFlags::default(),
            asid: self.next_asid,
            oom_reaped: false,
        };
        self.mms.insert(mm)
    }

    /// The areas that every program has, and the first page of its stack (`setup_arg_pages`).
    fn setup_arg_pages(&mut self, pid: Pid, mm: MmId) -> Result<(), Errno> {
        let stack = VmFlags(3).with(VmFlags::MAY_ALL).with(VmFlags::GROWSDOWN).with(VmFlags::ACCOUNT);
        let end = TASK_SIZE;
        self.vm_enough_memory(STACK_PAGES)?;
        self.committed_as += STACK_PAGES;
        self.add_area(mm, end - STACK_PAGES * PAGE_SIZE, end, stack, VmaName::None);
        let base = self.mms[mm].mmap_base;
        let fixed = VmFlags::READ.with(VmFlags::MAYREAD).with(VmFlags::DONTEXPAND).with(VmFlags::DONTDUMP);
        let fixed = if self.config.arch.has_soft_dirty() { fixed.with(VmFlags::SOFTDIRTY) } else { fixed };
        self.add_area(
            mm,
            base - 0x6000,
            base - 0x2000,
            fixed.with(VmFlags::IO).with(VmFlags::PFNMAP),
            VmaName::Vvar,
        );
        let code = fixed
            .with(VmFlags::EXEC)
            .with(VmFlags::MAYWRITE)
            .with(VmFlags::MAYEXEC)
            .without(VmFlags::DONTDUMP);
        self.add_area(mm, base - 0x2000, base, code, VmaName::Vdso);
        // Arguments and environment are copied by execve itself.
        self.as_task(pid, |m| m.faultin_page(mm, VirtAddr(end - PAGE_SIZE), true))
    }

    fn add_area(&mut self, mm: MmId, start: u64, end: u64, flags: VmFlags, name: VmaName) {
        let (pgoff, pages) = (start >> PAGE_SHIFT, (end - start) >> PAGE_SHIFT);
        self.insert_vma(Vma { name, ..Vma::new(mm, start..end, flags, pgoff) });
        self.vm_stat_account(mm, flags, pages as i64);
    }

    /// Makes a copy of a task (`fork`); the child's pid.
    ///
    /// # Errors
    /// `ESRCH`, `EAGAIN` when there are too many tasks, `ENOMEM`; a fork that fails leaves nothing behind.
    pub fn fork(&mut self, pid: Pid) -> Result<Pid, Errno> {
        self.clone_task(pid, 0)
    }

    /// Makes a task that shares or copies the address space (`clone`).
    ///
    /// # Errors
    /// As [`Machine::fork`].
    pub fn clone_task(&mut self, pid: Pid, flags: u64) -> Result<Pid, Errno> {
        let parent = self.mm_of(pid)?;
        let child = self.alloc_pid()?;
        let outer = self.current.clone();
        self.become_task(pid);
        let mm = if flags & CLONE_VM != 0 {
            self.mms[parent].users += 1;
            Ok(parent)
        } else {
            self.dup_mm(parent)
        };
        self.current = outer;
        let mm = mm?;
        let old = &self.tasks[&pid];
        let (comm, adj, limits, uid) = (old.comm, old.oom_score_adj, old.rlimits, old.uid);
        let catches_faults = old.catches_faults;
        let tgid = if flags & CLONE_VM != 0 { old.tgid } else { child };
        let mut task = self.new_task(child, pid, comm.as_str(), Some(mm));
        (task.oom_score_adj, task.rlimits, task.uid, task.tgid) = (adj, limits, uid, tgid);
        task.catches_faults = catches_faults;
        self.add_task(task);
        self.emit(Event::TaskNewtask { pid: child, comm, parent: pid });
        Ok(child)
    }

    /// Copies an address space: areas, then page tables (`dup_mm`).
    fn dup_mm(&mut self, old: MmId) -> Result<MmId, Errno> {
        let new = self.mm_alloc()?;
        let source = self.mms[old].clone();
        let mm = &mut self.mms[new];
        (mm.start_brk, mm.brk, mm.start_stack, mm.mmap_base) =
            (source.start_brk, source.brk, source.start_stack, source.mmap_base);
        let areas: Vec<_> = source.vmas.values().copied().collect();
        for parent in areas {
            let vma = &self.vmas[parent];
            if vma.flags.has(VmFlags::DONTCOPY) {
                continue;
            }
            let pages = vma.pages();
            let mut copy = vma.clone();
            // Locks are not inherited.
            copy.flags = copy.flags.without(VmFlags(VmFlags::LOCKED.0 | VmFlags::LOCKONFAULT.0));
            (copy.mm, copy.anon_vma, copy.chain, copy.swap_ra) = (new, None, Vec::new(), SwapRa::default());
            let flags = copy.flags;
            let charged = if flags.has(VmFlags::ACCOUNT) { self.vm_enough_memory(pages) } else { Ok(()) };
            if let Err(e) = charged {
                self.flush_tlb_mm();
                self.exit_mmap(new);
                return Err(e);
            }
            if flags.has(VmFlags::ACCOUNT) {
                self.committed_as += pages;
            }
            let child = self.insert_vma(copy);
            self.vm_stat_account(new, flags, pages as i64);
            if !flags.has(VmFlags::WIPEONFORK) {
                self.anon_vma_fork(child, parent);
            }
            if self.copy_page_range(child, parent).is_err() {
                self.flush_tlb_mm();
                self.exit_mmap(new);
                return Err(Errno::ENOMEM);
            }
        }
        // The parent's entries lost their write permission.
        self.flush_tlb_mm();
        Ok(new)
    }

    /// Ends a task (`do_exit`).
    pub(crate) fn do_exit(&mut self, pid: Pid, how: Exit) {
        let Some(task) = self.tasks.get_mut(&pid).filter(|t| t.is_alive()) else { return };
        task.state = State::Dead(how);
        self.nr_threads = self.nr_threads.saturating_sub(1);
        task.end_time = self.clock;
        let comm = task.comm;
        let before = self.nr_free_and_pcp_pages();
        self.exit_mm(pid);
        let free = self.nr_free_and_pcp_pages();
        if let Some(kill) = self.ooms.iter_mut().rev().find(|kill| kill.victim == Some(pid)) {
            // A victim that ran when it was chosen gives its memory back only now.
            kill.freed += free.saturating_sub(before);
        }
        self.emit(Event::ProcessExit { pid, comm, how });
    }

    /// A task lets go of its address space; the last one frees it (`exit_mm`).
    fn exit_mm(&mut self, pid: Pid) {
        let Some(mm) = self.tasks.get_mut(&pid).and_then(|t| t.mm.take()) else { return };
        let last = &self.mms[mm];
        let at_exit = [last.resident(), last.rss[crate::mm::task::Rss::Swap as usize], last.pgtables_bytes];
        if let Some(task) = self.tasks.get_mut(&pid) {
            task.at_exit = at_exit;
        }
        self.mms[mm].users -= 1;
        if self.mms[mm].users == 0 {
            self.exit_mmap(mm);
        }
    }

    /// Frees an address space: pages, tables, areas (`exit_mmap`).
    pub(crate) fn exit_mmap(&mut self, mm: MmId) {
        let areas: Vec<_> = self.mms[mm].vmas.values().copied().collect();
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
        let pgd = self.mms[mm].pgd;
        self.pgd_free(pgd);
        self.mms.remove(mm);
    }

    /// Lets a task end by itself (`exit`).
    ///
    /// # Errors
    /// `ESRCH`.
    pub fn exit_task(&mut self, pid: Pid, status: i32) -> Result<(), Errno> {
        self.live_task(pid)?;
        self.do_exit(pid, Exit::Status(status));
        Ok(())
    }

    /// Kills a task (`kill(pid, SIGKILL)`).
    ///
    /// # Errors
    /// `ESRCH`; `EPERM` for init and kernel threads.
    pub fn kill_task(&mut self, pid: Pid) -> Result<(), Errno> {
        if self.live_task(pid)?.mm.is_none() || pid == INIT_PID {
            return Err(Errno::EPERM);
        }
        self.do_exit(pid, Exit::Signal(Signal::Kill));
        Ok(())
    }

    /// Starts a kernel thread: a task without an address space.
    ///
    /// # Errors
    /// `EAGAIN`.
    pub fn kthread(&mut self, comm: &str) -> Result<Pid, Errno> {
        let pid = self.alloc_pid()?;
        let task = self.new_task(pid, KTHREADD_PID, comm, None);
        self.add_task(task);
        Ok(pid)
    }

    /// Changes how the OOM killer sees a task.
    ///
    /// # Errors
    /// `ESRCH`; `EINVAL` outside of -1000..=1000.
    pub fn set_oom_score_adj(&mut self, pid: Pid, adj: i64) -> Result<(), Errno> {
        self.live_task(pid)?;
        if !(-1000..=1000).contains(&adj) {
            return Err(Errno::EINVAL);
        }
        if let Some(task) = self.tasks.get_mut(&pid) {
            task.oom_score_adj = adj;
        }
        Ok(())
    }
}
