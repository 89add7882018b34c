//! A stack grows down to where it was touched.
//!
//! Gorman 4.6.1. Kernel: `mm/mmap.c` (`expand_downwards`, `acct_stack_growth`).
//! Fidelity: faithful — guard gap, limits, accounting.

use crate::mm::addr::{PAGE_SIZE, VirtAddr};
use crate::mm::errno::Errno;
use crate::mm::machine::Machine;
use crate::mm::mmap::STACK_GUARD_GAP;
use crate::mm::task::Pid;
use crate::mm::vma::{VmFlags, VmaId};

impl Machine {
    /// Lets a stack grow down to an address (`expand_stack`).
    ///
    /// # Errors
    /// `ENOMEM` beyond the limits or too near to the area below.
    pub(super) fn expand_stack(&mut self, pid: Pid, id: VmaId, addr: VirtAddr) -> Result<(), Errno> {
        let (start, end, mm) = (addr.page().0, self.vmas[id].end, self.vmas[id].mm);
        if start < self.sysctl.mmap_min_addr {
            return Err(Errno::EPERM);
        }
        if let Some(below) = self.find_vma_prev(mm, start) {
            let below = &self.vmas[below];
            if !below.flags.has(VmFlags::GROWSDOWN)
                && below.flags.any(VmFlags::ACCESS)
                && start - below.end < STACK_GUARD_GAP
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
}
