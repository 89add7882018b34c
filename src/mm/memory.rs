//! Page faults: what happens when a task touches an address.
//!
//! ```text
//!   access ── in the TLB? ── entry present and allowed? ── done
//!      └─ fault ── area?  ── no ─────────────────────────► SIGSEGV (MAPERR), or the stack grows
//!                   ├─ forbids the access ───────────────► SIGSEGV (ACCERR)
//!                   └─ entry: none, read ────────────────► the zero page
//!                             none, write ───────────────► a new page of zeros             anon.rs
//!                             in swap ───────────────────► read it, and its neighbours     swapin.rs
//!                             present, write-protected ──► reuse it alone, or copy it      anon.rs
//! ```
//!
//! Gorman 4.6. Kernel: `mm/memory.c`, `arch/x86/mm/fault.c`.
//! Fidelity: faithful — the tree above, counters, map and reference counts. Absent — NUMA hints.

mod anon;
mod copy;
mod file;
mod gup;
mod populate;
mod swapin;
mod user;

use crate::mm::addr::{Order, PAGE_SIZE, Pfn, VirtAddr};
use crate::mm::config::Arch;
use crate::mm::config::ThpMode;
use crate::mm::errno::{Errno, Signal};
use crate::mm::machine::Machine;
use crate::mm::page::PageFlags;
use crate::mm::pgtable::{Pte, TableId, index};
use crate::mm::task::{Exit, MmId, Pid, Rss};
use crate::mm::tlb::model::Entry;
use crate::mm::trace::{Event, FaultKind, FaultRecord};
use crate::mm::vma::{VmFlags, VmaId};
use crate::mm::vmstat::{NodeStat, VmEvent};

/// What a task does to an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Loads from it.
    Read,
    /// Stores to it.
    Write,
    /// Fetches an instruction from it.
    Exec,
}

/// Why an access did not succeed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    /// The task was told so, and is dead.
    Signal(Signal),
    /// There is no such task, or it has no address space.
    Errno(Errno),
}

impl From<Errno> for Stop {
    fn from(errno: Errno) -> Stop {
        Stop::Errno(errno)
    }
}

/// What touching a range came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Touched {
    /// Pages touched.
    pub pages: u64,
    /// Minor faults the task gained.
    pub minor: u64,
    /// Major faults the task gained.
    pub major: u64,
}

/// Why a fault could not be resolved (`VM_FAULT_*`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum VmFault {
    /// No memory, and the caller was told to give up.
    Oom,
    /// Beyond the end of the file, or no room for a page of it.
    SigBus,
}

impl From<Errno> for VmFault {
    fn from(_: Errno) -> VmFault {
        VmFault::Oom
    }
}

impl Machine {
    /// Touches every page that overlaps `addr..addr + len` as a task would.
    ///
    /// # Errors
    /// The signal that killed the task; `ESRCH` for a dead one.
    pub fn touch(&mut self, pid: Pid, addr: VirtAddr, len: u64, access: Access) -> Result<Touched, Stop> {
        let first = addr.page().0;
        let pages = addr.0.saturating_add(len).saturating_sub(first).div_ceil(PAGE_SIZE);
        self.touch_each(pid, (0..pages).map(|n| (VirtAddr(first + n * PAGE_SIZE), access)))
    }

    /// Lets a task touch these addresses, one after the other: a recorded trace, or a range.
    ///
    /// # Errors
    /// As [`Machine::touch`].
    pub fn touch_each(
        &mut self,
        pid: Pid,
        trace: impl Iterator<Item = (VirtAddr, Access)>,
    ) -> Result<Touched, Stop> {
        let mm = self.mm_of(pid)?;
        let before = (self.tasks[&pid].min_flt, self.tasks[&pid].maj_flt);
        let outer = self.current.clone();
        self.become_task(pid);
        let result = self.touch_pages(pid, mm, trace);
        self.return_to(outer);
        let task = &self.tasks[&pid];
        let (minor, major) = (task.min_flt - before.0, task.maj_flt - before.1);
        result.map(|pages| Touched { pages, minor, major })
    }

    fn touch_pages(
        &mut self,
        pid: Pid,
        mm: MmId,
        trace: impl Iterator<Item = (VirtAddr, Access)>,
    ) -> Result<u64, Stop> {
        let mut tag = self.mms[mm].context.tag;
        let mut pages = 0;
        for (addr, access) in trace {
            if !self.tlbs[self.cpu.index()].hit(tag, addr, access == Access::Write) {
                self.access_page(pid, mm, addr, access)?;
                // A fault may have flushed the address space.
                tag = self.mms[mm].context.tag;
            }
            pages += 1;
        }
        Ok(pages)
    }

    /// Makes one page accessible to a task and answers its frame: the walk, and the fault if it is needed.
    ///
    /// # Errors
    /// The signal that killed the task.
    #[inline]
    pub(crate) fn access_page(
        &mut self,
        pid: Pid,
        mm: MmId,
        addr: VirtAddr,
        access: Access,
    ) -> Result<Pfn, Stop> {
        /// Faults on one access that lead nowhere mean that the simulator turns in a circle.
        const ROUNDS: u32 = 64;
        for _ in 0..ROUNDS {
            if let Some(pfn) = self.walk_hardware(mm, addr, access) {
                return Ok(pfn);
            }
            self.fault(pid, mm, addr, access)?;
        }
        unreachable!("the fault at {addr} of task {pid} does not end")
    }

    /// What the processor does: walks the tables, checks the bits, marks the entry accessed and dirty.
    #[inline]
    pub(super) fn walk_hardware(&mut self, mm: MmId, addr: VirtAddr, access: Access) -> Option<Pfn> {
        let leaf = self.leaf(mm, addr)?;
        let pte = Pte(self.tables.get(leaf).entries[index(addr, 0)]);
        let write = access == Access::Write;
        if !pte.is_valid() || (write && !pte.has(Pte::RW)) || (access == Access::Exec && pte.has(Pte::NX)) {
            return None;
        }
        let bits = if write { Pte::ACCESSED | Pte::DIRTY | Pte::SOFT_DIRTY } else { Pte::ACCESSED };
        if !pte.has(bits) {
            self.tables.set(leaf, addr, pte.with(bits));
        }
        let tag = self.mms[mm].context.tag;
        let tlb = &mut self.tlbs[self.cpu.index()];
        match &mut tlb.model {
            None => tlb.fill(tag, addr, write && pte.has(Pte::RW)),
            // The model wants to see every access: nothing is remembered beside it.
            Some(model) => {
                let entry = Entry::new(tlb.asid, addr, pte.pfn(), write && pte.has(Pte::RW));
                model.access(entry, write, self.tables.geometry.levels().into());
            }
        }
        Some(pte.pfn())
    }

    /// The PTE table for an address, remembering the last one.
    #[inline]
    pub(crate) fn leaf(&mut self, mm: MmId, addr: VirtAddr) -> Option<TableId> {
        let key = addr.0 >> 21;
        let mm = &mut self.mms[mm];
        if let Some((cached, leaf)) = mm.leaf_cache
            && cached == key
        {
            return Some(leaf);
        }
        // The tables do not look at the highest bits.
        if addr.0 >= self.layout.task_size {
            return None;
        }
        let leaf = self.tables.leaf(mm.pgd, addr)?;
        mm.leaf_cache = Some((key, leaf));
        Some(leaf)
    }

    /// The unused high bits of an address all equal the highest used one: to x86_64 nothing else is an address.
    fn is_canonical(&self, addr: VirtAddr) -> bool {
        let unused = 64 - self.tables.geometry.address_bits();
        self.config.arch != Arch::X86_64 || ((addr.0 as i64) << unused) >> unused == addr.0 as i64
    }

    /// The page-fault handler (`do_user_addr_fault`).
    #[inline]
    fn fault(&mut self, pid: Pid, mm: MmId, addr: VirtAddr, access: Access) -> Result<(), Stop> {
        self.charge(self.config.costs.trap);
        if !self.is_canonical(addr) {
            return Err(self.general_protection(pid, addr, access));
        }
        let Some((vma, flags)) = self.area_of_fault(pid, mm, addr) else {
            return Err(self.segv(pid, addr, access, false));
        };
        let allowed = match access {
            Access::Write => flags.has(VmFlags::WRITE),
            Access::Exec => flags.has(VmFlags::EXEC),
            Access::Read => flags.any(VmFlags::ACCESS),
        };
        if !allowed {
            return Err(self.segv(pid, addr, access, true));
        }
        // handle_mm_fault counts: an access that nothing allows is no page fault to it.
        self.vmstat.count(VmEvent::Pgfault, 1);
        self.faulting = Some(addr.0);
        let result = self.handle_mm_fault(mm, vma, addr, access == Access::Write);
        self.faulting = None;
        // A kill takes effect when the task would return to user space.
        let mut dying = true;
        match result {
            Ok(kind) => {
                let major = kind.is_major();
                if major {
                    self.vmstat.count(VmEvent::Pgmajfault, 1);
                }
                if let Some(task) = self.tasks.get_mut(&pid) {
                    if major {
                        task.maj_flt += 1
                    } else {
                        task.min_flt += 1
                    }
                    dying = task.oom_victim || !task.is_alive();
                }
                self.charge(self.config.costs.minor_fault);
                self.end_fault(pid, vma, addr, access, kind);
            }
            Err(VmFault::Oom) => {
                self.last_fault = FaultRecord::new(self.clock, pid, addr, access, FaultKind::NoMemory);
                dying = self.pagefault_out_of_memory(pid);
            }
            Err(VmFault::SigBus) => return Err(self.sigbus(pid, vma, addr, access)),
        }
        if dying {
            self.do_group_exit(pid, Exit::Signal(Signal::Kill));
            return Err(Stop::Signal(Signal::Kill));
        }
        Ok(())
    }

    /// A fault found no memory: who is being killed dies of it, anybody else faults again (`pagefault_out_of_memory`).
    #[cold]
    fn pagefault_out_of_memory(&mut self, pid: Pid) -> bool {
        let dying = self.panicked.is_some() || self.tasks.get(&pid).is_none_or(|t| t.oom_victim);
        if !dying && self.ratelimit(|limits| &mut limits.pagefault) {
            self.printk("Huh VM_FAULT_OOM leaked out to the #PF handler. Retrying PF");
        }
        dying
    }

    /// The area an address lies in and its flags; a stack may grow down to it.
    #[inline]
    fn area_of_fault(&mut self, pid: Pid, mm: MmId, addr: VirtAddr) -> Option<(VmaId, VmFlags)> {
        if let Some(id) = self.mms[mm].vma_cache
            && let Some(vma) = self.vmas.get(id)
            && vma.contains(addr)
        {
            return Some((id, vma.flags));
        }
        self.find_area_of_fault(pid, mm, addr)
    }

    #[inline(never)]
    fn find_area_of_fault(&mut self, pid: Pid, mm: MmId, addr: VirtAddr) -> Option<(VmaId, VmFlags)> {
        let id = self.find_vma(mm, addr)?;
        let vma = &self.vmas[id];
        let flags = vma.flags;
        let inside = vma.start <= addr.0;
        if !inside && (!flags.has(VmFlags::GROWSDOWN) || self.expand_stack(pid, id, addr).is_err()) {
            return None;
        }
        self.mms[mm].vma_cache = Some(id);
        Some((id, flags))
    }

    #[inline]
    fn end_fault(&mut self, pid: Pid, vma: VmaId, addr: VirtAddr, access: Access, kind: FaultKind) {
        let mut record = FaultRecord::new(self.clock, pid, addr, access, kind);
        if let Some(vma) = self.vmas.get(vma) {
            (record.start, record.end, record.flags) = (vma.start, vma.end, vma.flags);
        }
        self.last_fault = record;
        if self.trace.hot {
            self.emit(Event::PageFault { addr, access, kind });
        }
    }

    /// Resolves a fault in an area that allows the access (`handle_mm_fault`).
    #[inline]
    pub(crate) fn handle_mm_fault(
        &mut self,
        mm: MmId,
        vma: VmaId,
        addr: VirtAddr,
        write: bool,
    ) -> Result<FaultKind, VmFault> {
        let leaf = match self.leaf(mm, addr) {
            Some(leaf) => leaf,
            None => {
                if self.thp != ThpMode::Never
                    && let Some(kind) = self.do_huge_pmd_anonymous_page(mm, vma, addr, write)?
                {
                    return Ok(kind);
                }
                let leaf = self.pte_alloc(mm, addr)?;
                self.mms[mm].leaf_cache = Some((addr.0 >> 21, leaf));
                leaf
            }
        };
        let pte = Pte(self.tables.get(leaf).entries[index(addr, 0)]);
        if pte.is_none() {
            if self.vmas[vma].file.is_some() {
                return self.do_fault(mm, vma, leaf, addr, write);
            }
            return self.do_anonymous_page(mm, vma, leaf, addr, write);
        }
        if !pte.is_present() {
            return self.do_swap_page(mm, vma, leaf, addr, pte, write);
        }
        if write && !pte.has(Pte::RW) {
            if self.tables.get(leaf).huge && self.do_huge_pmd_wp_page(mm, leaf, addr) {
                return Ok(FaultKind::Reuse { pfn: pte.pfn() });
            }
            let pte = Pte(self.tables.get(leaf).entries[index(addr, 0)]);
            return self.do_wp_page(mm, vma, leaf, addr, pte);
        }
        // Somebody else was faster, or the TLB was stale.
        self.flush_tlb_page(mm, addr);
        self.tables.set(leaf, addr, pte.with(Pte::ACCESSED));
        Ok(FaultKind::Spurious)
    }

    /// Lets a stack grow down to an address (`expand_stack`).
    ///
    /// # Errors
    /// `ENOMEM` beyond the limits or too near to the area below.
    fn expand_stack(&mut self, pid: Pid, id: VmaId, addr: VirtAddr) -> Result<(), Errno> {
        /// `stack_guard_gap`: 256 pages stay free below a stack.
        const GUARD_GAP: u64 = 256 * PAGE_SIZE;
        let (start, end, mm) = (addr.page().0, self.vmas[id].end, self.vmas[id].mm);
        if start < self.sysctl.mmap_min_addr {
            return Err(Errno::EPERM);
        }
        if let Some(below) = self.find_vma_prev(mm, start) {
            let below = &self.vmas[below];
            if !below.flags.has(VmFlags::GROWSDOWN)
                && below.flags.any(VmFlags::ACCESS)
                && start - below.end < GUARD_GAP
            {
                return Err(Errno::ENOMEM);
            }
        }
        self.anon_vma_prepare(id);
        let (flags, old_pgoff) = (self.vmas[id].flags, self.vmas[id].pgoff);
        let grow = (self.vmas[id].start - start) / PAGE_SIZE;
        let fits = end - start <= self.tasks[&pid].rlimits.stack && grow <= old_pgoff;
        if !fits
            || !self.may_expand_vm(pid, mm, flags, grow)
            || self.mlock_future_check(pid, mm, flags, grow * PAGE_SIZE).is_err()
        {
            return Err(Errno::ENOMEM);
        }
        if flags.has(VmFlags::ACCOUNT) {
            self.vm_enough_memory(grow)?;
            self.committed_as += grow;
        }
        self.adjust_vma(id, start, end, old_pgoff - grow);
        self.vm_stat_account(mm, flags, grow as i64);
        if flags.has(VmFlags::LOCKED) {
            self.mms[mm].locked_vm += grow;
        }
        Ok(())
    }

    /// The task gets SIGSEGV; without a handler for it, the kernel's line goes to the log (`bad_area`).
    #[cold]
    fn segv(&mut self, pid: Pid, addr: VirtAddr, access: Access, accerr: bool) -> Stop {
        // Bit 0 says that a page was there: a protection fault, not a missing page.
        let mm = self.tasks.get(&pid).and_then(|t| t.mm);
        let present = mm.is_some_and(|mm| self.tables.pte(self.mms[mm].pgd, addr).is_present());
        let error = u32::from(present)
            | if access == Access::Write { 2 } else { 0 }
            | 4
            | if access == Access::Exec { 16 } else { 0 };
        self.last_fault = FaultRecord::new(self.clock, pid, addr, access, FaultKind::Segv { accerr });
        if let Some(mm) = mm {
            let near = self.find_vma(mm, addr);
            let below = self.find_vma_prev(mm, addr.0.saturating_add(1));
            if let Some(vma) = near.filter(|v| self.vmas[*v].contains(addr)).or(below).or(near) {
                let vma = &self.vmas[vma];
                (self.last_fault.start, self.last_fault.end, self.last_fault.flags) =
                    (vma.start, vma.end, vma.flags);
            }
        }
        let (ip, place) = self.where_it_ran(pid);
        let line = |comm: &str, sp: u64| {
            format!("{comm}[{pid}]: segfault at {:x} ip {ip:016x} sp {sp:016x} error {error}{place}", addr.0)
        };
        self.fault_signal(pid, Signal::Segv { addr, accerr }, line)
    }

    /// The instruction at which a task is taken to be, and the kernel's words about it: the file it lies in, and the
    /// CPU (`print_vma_addr`, and since 6.1 the CPU).
    fn where_it_ran(&self, pid: Pid) -> (u64, String) {
        let cpu = self.cpu.0;
        let likely = format!(" likely on CPU {cpu} (core {cpu}, socket {})", self.cpu_node());
        let mm = self.tasks.get(&pid).and_then(|t| t.mm);
        // Nothing is executed: every instruction is the first one of the program.
        let ip = mm.map(|mm| self.mms[mm].code.start).filter(|start| *start != 0).unwrap_or(0x40_1000);
        let vma = mm.and_then(|mm| self.find_vma(mm, VirtAddr(ip))).map(|id| &self.vmas[id]);
        let file = vma.filter(|vma| vma.contains(VirtAddr(ip))).filter(|vma| !self.vma_name(vma).is_empty());
        let words = file.map(|vma| {
            let name = self.vma_name(vma);
            let last = name.rsplit('/').next().unwrap_or(&name);
            format!(" in {last}[{:x}+{:x}]", vma.start, vma.end - vma.start)
        });
        (ip, words.unwrap_or_default() + likely.as_str())
    }

    /// An address that is no address at all: the processor refuses it before any table is looked at
    /// (`exc_general_protection`).
    #[cold]
    fn general_protection(&mut self, pid: Pid, addr: VirtAddr, access: Access) -> Stop {
        self.last_fault = FaultRecord::new(self.clock, pid, addr, access, FaultKind::Segv { accerr: false });
        let line = |comm: &str, sp: u64| {
            format!("traps: {comm}[{pid}] general protection fault ip:401000 sp:{sp:x} error:0")
        };
        self.fault_signal(pid, Signal::GeneralProtection, line)
    }

    /// Delivers a signal of a bad access (`force_sig_fault`): a handler catches it, or the task dies of it.
    #[cold]
    pub(crate) fn fault_signal(
        &mut self,
        pid: Pid,
        signal: Signal,
        line: impl FnOnce(&str, u64) -> String,
    ) -> Stop {
        let Some(task) = self.tasks.get(&pid) else { return Stop::Signal(signal) };
        if !task.catches_faults {
            let sp = task.mm.map_or(0, |mm| self.mms[mm].start_stack);
            let text = line(task.comm.as_str(), sp);
            if !text.is_empty() {
                self.printk(text);
            }
            self.do_group_exit(pid, Exit::Signal(signal));
        }
        Stop::Signal(signal)
    }

    /// The task gets SIGBUS: no page of the file is there, or none can be had (`do_sigbus`).
    #[cold]
    fn sigbus(&mut self, pid: Pid, vma: VmaId, addr: VirtAddr, access: Access) -> Stop {
        self.end_fault(pid, vma, addr, access, FaultKind::SigBus);
        self.fault_signal(pid, Signal::Bus { addr }, |_, _| String::new())
    }

    /// Takes the pages of a range out of an area and lets go of them (`unmap_page_range`).
    pub(crate) fn zap_range(&mut self, vma: VmaId, start: u64, end: u64) {
        let mm = self.vmas[vma].mm;
        let pgd = self.mms[mm].pgd;
        if self.vmas[vma].flags.has(VmFlags::LOCKED) {
            // A child may keep a page: without this area nothing locks it any more.
            self.mlock_vma_pages_range(vma, start, end, false);
        }
        // Who reads in order does not come back to a page.
        let used = !self.vmas[vma].flags.has(VmFlags::SEQ_READ);
        let mut at = start;
        let mut flush = false;
        while at < end {
            let mut next = (((at >> 21) + 1) << 21).min(end);
            if let Some(leaf) = self.tables.leaf(pgd, VirtAddr(at)) {
                let huge = self.tables.get(leaf).huge && self.zap_huge_pmd(mm, at, next);
                flush |= self.zap_table(mm, leaf, at, next, used);
                if huge {
                    // The table that was put aside goes, too.
                    self.free_pgtables(mm, at..next, at, next);
                }
            } else {
                // One step over everything that an empty entry above stands for.
                next = next.max(at + self.tables.gap(pgd, VirtAddr(at)).min(end - at));
            }
            at = next;
        }
        if flush {
            self.flush_tlb_range(mm, start, end, true);
        }
    }

    /// Takes the pages out of one PTE table (`zap_pte_range`); true when one was mapped.
    fn zap_table(&mut self, mm: MmId, leaf: TableId, start: u64, end: u64, used: bool) -> bool {
        let first = index(VirtAddr(start), 0);
        let last = first + ((end - start) / PAGE_SIZE) as usize;
        let mut gone = [0; 4];
        let mut present = false;
        let entries = self.tables.get(leaf).entries;
        if entries[first..last].iter().all(|entry| *entry == 0) {
            return false;
        }
        self.tables.get_mut(leaf).entries[first..last].fill(0);
        for pte in entries[first..last].iter().map(|entry| Pte(*entry)).filter(|pte| !pte.is_none()) {
            if pte.is_swap() {
                self.swap_free(pte.swap_entry());
                gone[Rss::Swap as usize] += 1;
                continue;
            }
            present = true;
            if !pte.has(Pte::SPECIAL) {
                gone[self.zap_page(pte, used) as usize] += 1;
            }
        }
        for kind in [Rss::File, Rss::Anon, Rss::Swap, Rss::Shmem] {
            self.add_rss(mm, kind, -gone[kind as usize]);
        }
        present
    }

    /// Lets go of a page of which an entry is gone; the kind it was counted as.
    #[inline(always)]
    pub(crate) fn zap_page(&mut self, pte: Pte, used: bool) -> Rss {
        let pfn = pte.pfn();
        let page = self.mem_map.page_mut(pfn);
        // A page that is nothing but anonymous memory of this process is looked at once. Others are let go step by step.
        if !page.is_only_anon() {
            return self.zap_other_page(pte, used);
        }
        let was = *page;
        page.let_go();
        self.lru_unlink_page(pfn, &was).mod_stat(NodeStat::AnonPages, -1);
        self.free_unreferenced(pfn, Order::ZERO);
        Rss::Anon
    }

    fn zap_other_page(&mut self, pte: Pte, used: bool) -> Rss {
        let pfn = pte.pfn();
        let kind = self.mm_counter(pfn);
        if kind != Rss::Anon {
            // What the entry knew of a file's page, the page must know.
            if pte.has(Pte::DIRTY) {
                self.set_page_dirty(pfn);
            }
            if used && pte.has(Pte::ACCESSED) {
                self.mark_page_accessed(pfn);
            }
        }
        self.page_remove_rmap(pfn);
        self.free_page_and_swap_cache(pfn);
        kind
    }

    /// Lets go of a page that was unmapped; its swap slot goes too when nobody else needs it.
    #[inline]
    pub(crate) fn free_page_and_swap_cache(&mut self, pfn: Pfn) {
        let page = self.mem_map.page(pfn);
        if page.is(PageFlags::SWAPCACHE) && page.mapcount() == 0 {
            self.try_to_free_swap(pfn);
        }
        self.put_lru_page(pfn);
    }

    /// A frame of zeros that every untouched read shares (`ZERO_PAGE`).
    #[inline]
    pub(crate) fn zero_pte(&self, flags: VmFlags) -> Pte {
        Pte::new(self.zero_pfn, flags.page_prot() | Pte::SPECIAL)
    }

    /// Allocates a page for user space near the running CPU (`vma_alloc_folio`).
    #[inline(always)]
    pub(crate) fn alloc_user_page(&mut self, zeroed: bool) -> Result<Pfn, VmFault> {
        use crate::mm::gfp::Gfp;
        const USER_PAGE: Gfp = Gfp(Gfp::HIGHUSER_MOVABLE.0 | Gfp::COMP.0);
        const ZEROED: Gfp = Gfp(USER_PAGE.0 | Gfp::ZERO.0);
        Ok(if zeroed { self.alloc_page(ZEROED)? } else { self.alloc_page(USER_PAGE)? })
    }
}
