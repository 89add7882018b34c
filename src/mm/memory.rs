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
mod signal;
mod stack;
mod swapin;
mod touch;
mod user;
mod zap;

use crate::mm::addr::{Pfn, VirtAddr};
use crate::mm::config::Arch;
use crate::mm::config::ThpMode;
use crate::mm::errno::{Errno, Signal};
use crate::mm::machine::Machine;
use crate::mm::pgtable::{Pte, TableId, index};
use crate::mm::task::{Exit, MmId, Pid};
use crate::mm::tlb::model::Entry;
use crate::mm::trace::{Event, FaultKind, FaultRecord};
use crate::mm::vma::{VmFlags, VmaId};
use crate::mm::vmstat::VmEvent;

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
                let (writable, levels) = (write && pte.has(Pte::RW), self.tables.geometry.levels().into());
                let table = self.tables.get(leaf);
                if table.huge {
                    // To the processor one entry of the table above is the end of the walk.
                    let first = Pte(table.entries[0]).pfn();
                    let first = self.huge_zero.filter(|_| pte.has(Pte::SPECIAL)).unwrap_or(first);
                    model.access(Entry::huge(tlb.asid, addr, first, writable), write, levels - 1);
                } else {
                    model.access(Entry::new(tlb.asid, addr, pte.pfn(), writable), write, levels);
                }
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
                self.last_fault = self.fault_record(pid, vma, addr, access, FaultKind::NoMemory);
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
    fn fault_record(
        &self,
        pid: Pid,
        vma: VmaId,
        addr: VirtAddr,
        access: Access,
        kind: FaultKind,
    ) -> FaultRecord {
        let mut record = FaultRecord::new(self.clock, pid, addr, access, kind);
        if let Some(vma) = self.vmas.get(vma) {
            (record.start, record.end, record.flags) = (vma.start, vma.end, vma.flags);
        }
        record
    }

    #[inline]
    fn end_fault(&mut self, pid: Pid, vma: VmaId, addr: VirtAddr, access: Access, kind: FaultKind) {
        self.last_fault = self.fault_record(pid, vma, addr, access, kind);
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
            if self.tables.get(leaf).huge {
                if self.do_huge_pmd_wp_page(mm, leaf, addr) {
                    return Ok(FaultKind::ReuseHuge { pfn: pte.pfn() });
                }
                let pte = Pte(self.tables.get(leaf).entries[index(addr, 0)]);
                return self.do_wp_page(mm, vma, leaf, addr, pte).map(FaultKind::after_split);
            }
            return self.do_wp_page(mm, vma, leaf, addr, pte);
        }
        // Somebody else was faster, or the TLB was stale.
        self.flush_tlb_page(mm, addr);
        self.tables.set(leaf, addr, pte.with(Pte::ACCESSED));
        Ok(FaultKind::Spurious)
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
