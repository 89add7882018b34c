//! Which pages of a range are in memory.
//!
//! Kernel: `mm/mincore.c`.
//! Fidelity: faithful — entries, the swap cache, the order of refusals.

use crate::mm::addr::{PAGE_SHIFT, PAGE_SIZE, VirtAddr};
use crate::mm::errno::Errno;
use crate::mm::machine::Machine;
use crate::mm::mmap::TASK_SIZE;
use crate::mm::task::Pid;
use crate::mm::vma::VmaId;

impl Machine {
    /// Says of each page of a range whether it could be used without reading it from anywhere (`mincore`).
    ///
    /// # Errors
    /// `EINVAL` for a misaligned address, `ENOMEM` for a hole or beyond the address space, `ESRCH`.
    pub fn mincore(&self, pid: Pid, addr: VirtAddr, len: u64) -> Result<Vec<bool>, Errno> {
        let mm = self.mm_of(pid)?;
        if !addr.is_aligned() {
            return Err(Errno::EINVAL);
        }
        let end = addr.0.checked_add(len).filter(|end| *end <= TASK_SIZE).ok_or(Errno::ENOMEM)?;
        let mut resident = Vec::new();
        let mut at = addr.0;
        while at < end {
            let found = self.find_vma(mm, VirtAddr(at)).filter(|id| self.vmas[*id].start <= at);
            let id = found.ok_or(Errno::ENOMEM)?;
            let stop = self.vmas[id].end.min(end);
            resident.extend((at..stop).step_by(PAGE_SIZE as usize).map(|page| self.is_incore(id, page)));
            at = page_end(at, stop);
        }
        Ok(resident)
    }

    /// Is this page of an area in memory?
    fn is_incore(&self, id: VmaId, addr: u64) -> bool {
        let vma = &self.vmas[id];
        let pte = self.tables.pte(self.mms[vma.mm].pgd, VirtAddr(addr));
        if pte.is_swap() {
            return self.lookup_swap_cache(pte.swap_entry()).is_some();
        }
        pte.is_present()
    }
}

/// Where the page after the last one looked at begins.
fn page_end(at: u64, stop: u64) -> u64 {
    at + ((stop - at).div_ceil(PAGE_SIZE) << PAGE_SHIFT)
}
