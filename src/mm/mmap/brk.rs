//! The heap: one area whose end a program may move.
//!
//! Gorman 4.4. Kernel: `mm/mmap.c` (`brk`, `do_brk_flags`).
//! Fidelity: faithful — limits, guard gaps, the area before it that grows.

use super::{map, prot};
use crate::mm::addr::{PAGE_SHIFT, PAGE_SIZE, VirtAddr};
use crate::mm::errno::Errno;
use crate::mm::machine::Machine;
use crate::mm::task::{MmId, Pid};
use crate::mm::vma::{VmFlags, Vma, page_align};

impl Machine {
    /// Moves the end of the heap (`brk`); the new end, or the old one when it cannot move.
    ///
    /// # Errors
    /// `ESRCH`.
    pub fn brk(&mut self, pid: Pid, addr: VirtAddr) -> Result<VirtAddr, Errno> {
        let mm = self.mm_of(pid)?;
        let (start, old) = (self.mms[mm].start_brk, self.mms[mm].brk);
        let unchanged = Ok(VirtAddr(old));
        if addr.0 < start || addr.0 - start > self.tasks[&pid].rlimits.data {
            return unchanged;
        }
        let (Some(new_end), Some(old_end)) = (page_align(addr.0), page_align(old)) else { return unchanged };
        if new_end < old_end {
            if self.as_task(pid, |m| m.do_munmap(mm, new_end, old_end - new_end)).is_err() {
                return unchanged;
            }
        } else if new_end > old_end {
            // A page stays free behind the heap, and a stack above keeps its guard gap.
            let next = self.find_vma(mm, VirtAddr(old_end));
            let room = next.is_none_or(|n| new_end.saturating_add(PAGE_SIZE) <= self.gap_start(n));
            if !room || self.do_brk_flags(pid, mm, old_end, new_end - old_end).is_err() {
                return unchanged;
            }
        }
        self.mms[mm].brk = addr.0;
        if new_end > old_end && self.mms[mm].def_flags.has(VmFlags::LOCKED) {
            let _ = self.as_task(pid, |m| m.mm_populate(mm, old_end, new_end - old_end, true));
            self.die_if_killed(pid);
        }
        Ok(addr)
    }

    /// Adds to the heap: the area before it grows, if it fits, or a new one begins (`do_brk_flags`).
    fn do_brk_flags(&mut self, pid: Pid, mm: MmId, start: u64, len: u64) -> Result<(), Errno> {
        let end = self.get_unmapped_area(pid, mm, start, len, map::FIXED)? + len;
        self.mlock_future_check(pid, mm, self.mms[mm].def_flags, len)?;
        let flags = VmFlags(prot::READ | prot::WRITE)
            .with(VmFlags::MAY_ALL)
            .with(VmFlags::ACCOUNT)
            .with(self.mms[mm].def_flags);
        let pages = len >> PAGE_SHIFT;
        if !self.may_expand_vm(pid, mm, flags, pages)
            || self.mms[mm].vmas.len() as u64 > self.sysctl.max_map_count
        {
            return Err(Errno::ENOMEM);
        }
        self.as_task(pid, |m| m.vm_enough_memory(pages))?;
        let pgoff = start >> PAGE_SHIFT;
        let prev = self.find_vma_prev(mm, start).filter(|p| self.vmas[*p].end == start);
        let id = match prev.filter(|p| self.can_merge_after(*p, flags, None, None, pgoff)) {
            Some(prev) => {
                self.extend_vma(prev, end);
                prev
            }
            None => self.vm_area_alloc(Vma::new(mm, start..end, flags, pgoff))?,
        };
        self.committed_as += pages;
        self.mark_soft_dirty(id);
        self.vm_stat_account(mm, flags, pages as i64);
        if flags.has(VmFlags::LOCKED) {
            self.mms[mm].locked_vm += pages;
        }
        Ok(())
    }
}
