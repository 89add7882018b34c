//! mincore: which pages of a range are in memory.
//!
//! Gorman 4.4. Kernel: `mm/mincore.c`.
//! Fidelity: faithful — what counts as in memory for anonymous pages, files, tmpfs and swap. Absent — the check whether
//! the task may write to the file.

use crate::mm::addr::{PAGE_SIZE, VirtAddr};
use crate::mm::errno::Errno;
use crate::mm::machine::Machine;
use crate::mm::page::PageFlags;
use crate::mm::pgtable::SwapEntry;
use crate::mm::refused::Refused;
use crate::mm::shmem::entry_to_swap;
use crate::mm::task::Pid;
use crate::mm::vma::{Vma, page_align};

impl Machine {
    /// For each page of a range, whether it is in memory: mapped, or at hand in a cache (`mincore`).
    ///
    /// # Errors
    /// `EINVAL` for a misaligned address, `ENOMEM` for a hole in the range, `ESRCH`.
    pub fn mincore(&mut self, pid: Pid, addr: VirtAddr, len: u64) -> Result<Vec<bool>, Errno> {
        let mm = self.mm_of(pid)?;
        if !addr.is_aligned() {
            return Err(Errno::EINVAL);
        }
        let end = page_align(len)
            .and_then(|len| addr.0.checked_add(len))
            .filter(|end| *end <= self.layout.task_size);
        let end = end.ok_or_else(|| self.refuse(Refused::Wraps { at: addr.0, len }))?;
        let mut pages = Vec::new();
        let mut at = addr.0;
        while at < end {
            let id = self.vma_lookup(mm, at).ok_or_else(|| self.refuse(Refused::Hole { at }))?;
            let vma = &self.vmas[id];
            let stop = vma.end.min(end);
            pages.extend((at..stop).step_by(PAGE_SIZE as usize).map(|at| self.is_in_core(vma, VirtAddr(at))));
            at = stop;
        }
        Ok(pages)
    }

    fn is_in_core(&self, vma: &Vma, addr: VirtAddr) -> bool {
        let pte = self.tables.pte(self.mms[vma.mm].pgd, addr);
        if pte.is_present() {
            return true;
        }
        if pte.is_swap() {
            return self.is_cached_slot(pte.swap_entry());
        }
        let Some(file) = vma.file else { return false };
        let entry = self.files[file].pages.load(vma.index_of(addr));
        match entry.as_page() {
            Some(pfn) => self.mem_map.page(pfn).is(PageFlags::UPTODATE),
            None => entry_to_swap(entry).is_some_and(|slot| self.is_cached_slot(slot)),
        }
    }

    fn is_cached_slot(&self, slot: SwapEntry) -> bool {
        self.lookup_swap_cache(slot).is_some()
    }
}
