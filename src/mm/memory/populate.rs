//! Faulting a range in before anybody touches it: MAP_POPULATE, locked areas, MADV_POPULATE_*.
//!
//! Kernel: `mm/gup.c` (`__mm_populate`, `populate_vma_page_range`, `faultin_vma_page_range`).
//! Fidelity: faithful — private writable areas get pages of their own, others are read; areas without access refuse.

use crate::mm::addr::{PAGE_SIZE, VirtAddr};
use crate::mm::errno::Errno;
use crate::mm::machine::Machine;
use crate::mm::pgtable::Pte;
use crate::mm::task::MmId;
use crate::mm::vma::{VmFlags, VmaId};

impl Machine {
    /// Faults a range in, area by area (`__mm_populate`).
    ///
    /// # Errors
    /// `EFAULT` for an area that allows no access, `ENOMEM`; none when errors are to be ignored.
    pub(crate) fn mm_populate(
        &mut self,
        mm: MmId,
        start: u64,
        len: u64,
        ignore_errors: bool,
    ) -> Result<(), Errno> {
        let end = start.saturating_add(len);
        let mut at = start;
        while at < end {
            let Some(id) = self.find_vma_intersection(mm, at, end) else { break };
            let (first, last) = (self.vmas[id].start.max(at), self.vmas[id].end.min(end));
            if !self.vmas[id].flags.any(VmFlags::IO.with(VmFlags::PFNMAP)) {
                let populated = self.populate_vma_page_range(id, first, last);
                if !ignore_errors {
                    populated?;
                }
            }
            if self.current_is_dying() {
                break;
            }
            at = last;
        }
        Ok(())
    }

    /// Faults a part of an area in, as its first accesses would (`populate_vma_page_range`).
    pub(crate) fn populate_vma_page_range(&mut self, id: VmaId, start: u64, end: u64) -> Result<(), Errno> {
        let flags = self.vmas[id].flags;
        if flags.has(VmFlags::LOCKONFAULT) {
            return Ok(());
        }
        if !flags.any(VmFlags::ACCESS) {
            return Err(Errno::EFAULT);
        }
        // A private page is copied now, so that its first write is no fault. Shared ones are not made dirty.
        let write = flags.has(VmFlags::WRITE) && !flags.has(VmFlags::SHARED);
        self.fault_in_range(id, start, end, write)
    }

    /// Makes pages of an area present, and writable if they are to be written (`faultin_vma_page_range`).
    pub(crate) fn fault_in_range(
        &mut self,
        id: VmaId,
        start: u64,
        end: u64,
        write: bool,
    ) -> Result<(), Errno> {
        /// Reclaim may take a page again before the next one is there, but not for ever.
        const ROUNDS: u32 = 64;
        let mm = self.vmas[id].mm;
        self.mms[mm].vma_cache = Some(id);
        for addr in (start..end).step_by(PAGE_SIZE as usize).map(VirtAddr) {
            for _ in 0..ROUNDS {
                let pte = self.tables.pte(self.mms[mm].pgd, addr);
                if pte.is_present() && (!write || pte.has(Pte::RW)) {
                    break;
                }
                self.faultin_page(mm, addr, write)?;
            }
            if self.current_is_dying() {
                // The caller is on its way out: nobody will see the rest.
                return Err(Errno::EINTR);
            }
        }
        Ok(())
    }

    /// The task that runs was chosen by the OOM killer (`fatal_signal_pending`).
    fn current_is_dying(&self) -> bool {
        self.tasks.get(&self.current.pid).is_some_and(|t| t.oom_victim)
    }
}
