//! Changing what a range allows.
//!
//! Gorman 4.4. Kernel: `mm/mprotect.c`.
//! Fidelity: faithful — partial effects, limits and charges of areas that become writable, pages of one process alone
//! stay writable without a fault. Absent — protection keys.

use crate::mm::addr::{PAGE_SHIFT, PAGE_SIZE, VirtAddr};
use crate::mm::errno::Errno;
use crate::mm::machine::Machine;
use crate::mm::mmap::prot;
use crate::mm::page::PageFlags;
use crate::mm::pgtable::{Pte, TableId, index};
use crate::mm::refused::Refused;
use crate::mm::task::{MmId, Pid};
use crate::mm::vma::{VmFlags, VmaId, page_align};

impl Machine {
    /// Changes what a range allows (`mprotect`).
    ///
    /// # Errors
    /// `EINVAL` for a misaligned address, unknown bits, or `PROT_GROWSDOWN` on an area that does not grow; `ENOMEM` for a
    /// hole (what lies before it is changed), too many areas or beyond a limit; `EACCES` for what the file behind the area
    /// does not allow; `ESRCH`.
    pub fn mprotect(&mut self, pid: Pid, addr: VirtAddr, len: u64, prot: u64) -> Result<(), Errno> {
        let mm = self.mm_of(pid)?;
        let result = self.as_task(pid, |m| m.do_mprotect(pid, mm, addr, len, prot));
        self.die_if_killed(pid);
        result
    }

    fn do_mprotect(&mut self, pid: Pid, mm: MmId, addr: VirtAddr, len: u64, prot: u64) -> Result<(), Errno> {
        const ACCESS: u64 = prot::READ | prot::WRITE | prot::EXEC;
        let grows = prot & (prot::GROWSDOWN | prot::GROWSUP);
        let access = prot & !grows;
        if grows == prot::GROWSDOWN | prot::GROWSUP || !addr.is_aligned() {
            return Err(Errno::EINVAL);
        }
        if len == 0 {
            return Ok(());
        }
        let end = page_align(len).and_then(|len| addr.0.checked_add(len)).filter(|end| *end > addr.0);
        let end = end.ok_or_else(|| self.refuse(Refused::Wraps { at: addr.0, len }))?;
        if access & !(ACCESS | prot::SEM) != 0 {
            return Err(Errno::EINVAL);
        }
        let hole = |m: &mut Machine, at: u64| m.refuse(Refused::Hole { at });
        let mut id = self.find_vma(mm, addr).ok_or_else(|| hole(self, addr.0))?;
        let mut vma = &self.vmas[id];
        let mut at = addr.0;
        if grows == prot::GROWSDOWN {
            // The whole stack from its present end: the caller need not know how far it has grown.
            if vma.start >= end {
                return Err(hole(self, addr.0));
            }
            if !vma.flags.has(VmFlags::GROWSDOWN) {
                return Err(Errno::EINVAL);
            }
            at = vma.start;
        } else if vma.start > at {
            return Err(hole(self, at));
        } else if grows == prot::GROWSUP {
            // No area grows upwards on this architecture.
            return Err(Errno::EINVAL);
        }
        loop {
            let stop = vma.end.min(end);
            let flags = vma.flags.without(VmFlags::ACCESS).with(VmFlags(access & ACCESS));
            // VM_MAY* stand four bits above VM_*.
            if flags.0 & !(flags.0 >> 4) & ACCESS != 0 {
                return Err(Errno::EACCES);
            }
            if flags != vma.flags {
                self.mprotect_fixup(pid, id, at, stop, flags)?;
            }
            if stop == end {
                return Ok(());
            }
            at = stop;
            id = self.find_vma(mm, VirtAddr(at)).ok_or_else(|| hole(self, at))?;
            vma = &self.vmas[id];
            if vma.start > at {
                return Err(hole(self, at));
            }
        }
    }

    /// Changes one area's part: limits and charge, merge or split, then the entries (`mprotect_fixup`).
    #[inline(always)]
    fn mprotect_fixup(
        &mut self,
        pid: Pid,
        id: VmaId,
        start: u64,
        end: u64,
        flags: VmFlags,
    ) -> Result<(), Errno> {
        const UNCHARGED: VmFlags = VmFlags(
            VmFlags::ACCOUNT.0
                | VmFlags::WRITE.0
                | VmFlags::HUGETLB.0
                | VmFlags::SHARED.0
                | VmFlags::NORESERVE.0,
        );
        let vma = &self.vmas[id];
        let (mm, old) = (vma.mm, vma.flags);
        let pages = (end - start) >> PAGE_SHIFT;
        let mut flags = flags;
        let mut charged = 0;
        if flags.has(VmFlags::WRITE) {
            // An area that becomes data must fit the limit of data.
            if !self.may_expand_vm(pid, mm, flags, pages) && self.may_expand_vm(pid, mm, old, pages) {
                return Err(self.refuse_growth(pid, mm, flags, pages));
            }
            // A private mapping that becomes writable is charged from now on.
            if !old.any(UNCHARGED) {
                self.vm_enough_memory(pages)?;
                flags = flags.with(VmFlags::ACCOUNT);
                self.committed_as += pages;
                charged = pages;
            }
        } else if old.has(VmFlags::ACCOUNT)
            && vma.is_private_anonymous()
            && vma.anon_vma.is_none()
            && self.config.kernel_since(6, 7)
        {
            // Since 6.7 an area that never had a page gives its charge back; up to then it kept it for good.
            flags = flags.without(VmFlags::ACCOUNT);
        }
        let id = match self.vma_modify_flags(id, start, end, flags) {
            Ok(id) => id,
            Err(errno) => {
                self.committed_as -= charged;
                return Err(errno);
            }
        };
        if old.has(VmFlags::ACCOUNT) && !flags.has(VmFlags::ACCOUNT) {
            self.committed_as -= pages;
        }
        self.change_protection(id, start, end);
        self.mms[mm].recount(old, flags, pages);
        if flags.has(VmFlags::WRITE)
            && old.has(VmFlags::LOCKED)
            && !old.any(VmFlags::WRITE.with(VmFlags::SHARED))
        {
            // Locked memory is there to spare faults: what could fault from now on is copied at once.
            let _ = self.populate_vma_page_range(id, start, end);
        }
        Ok(())
    }

    /// Rewrites the bits of present entries of an area (`change_protection`).
    pub(crate) fn change_protection(&mut self, id: VmaId, start: u64, end: u64) {
        let mm = self.vmas[id].mm;
        let pgd = self.mms[mm].pgd;
        let mut changed = false;
        let mut at = start;
        while let Some((leaf, part)) = self.tables.next_leaf(pgd, at, end) {
            at = part.end;
            changed |= self.change_table(id, leaf, part.start, part.end);
        }
        if changed {
            self.flush_tlb_range(mm, start, end, false);
        }
    }

    /// Rewrites the bits of present entries of one PTE table (`change_pte_range`); true when one changed.
    fn change_table(&mut self, id: VmaId, leaf: TableId, start: u64, end: u64) -> bool {
        const KEEP: u64 = Pte::ACCESSED | Pte::DIRTY | Pte::SOFT_DIRTY | Pte::SPECIAL;
        let vma = &self.vmas[id];
        let (mm, flags, prot) = (vma.mm, vma.flags, vma.page_prot());
        let huge = self.keep_or_split(mm, start, end);
        let mut changed = false;
        for addr in (start..end).step_by(PAGE_SIZE as usize).map(VirtAddr) {
            let pte = Pte(self.tables.get(leaf).entries[index(addr, 0)]);
            if !pte.is_present() {
                continue;
            }
            let mut new = Pte::new(pte.pfn(), prot & !Pte::ACCESSED | pte.0 & KEEP);
            if self.can_change_pte_writable(flags, new) {
                new = new.with(Pte::RW);
            }
            if new != pte {
                changed = true;
                self.tables.set(leaf, addr, new);
            }
        }
        if huge {
            self.sync_huge_pmd(mm, VirtAddr(start), leaf);
        }
        changed
    }

    /// May an entry become writable without a fault? (`can_change_pte_writable`)
    fn can_change_pte_writable(&self, flags: VmFlags, pte: Pte) -> bool {
        if !flags.has(VmFlags::WRITE) || !pte.is_valid() || pte.has(Pte::SPECIAL) {
            return false;
        }
        // Since 6.2 a clean page of one process alone will do: its first write sets the mark without a fault.
        let shared = flags.has(VmFlags::SHARED);
        let written = pte.has(Pte::DIRTY) || (!shared && self.config.kernel_since(6, 2));
        let tracked = self.config.arch.has_soft_dirty() && !flags.has(VmFlags::SOFTDIRTY);
        written
            && (!tracked || pte.has(Pte::SOFT_DIRTY))
            && (shared || self.mem_map.page(pte.pfn()).is(PageFlags::EXCLUSIVE))
    }
}
