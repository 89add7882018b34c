//! Taking a range out of an address space.
//!
//! ```text
//!   aaaabbbbcc  munmap of the middle:  the areas at both ends are cut, what lies between goes with its pages and tables
//! ```
//!
//! Gorman 4.4.5. Kernel: `mm/mmap.c` (`do_mas_munmap`, `unmap_region`).
//! Fidelity: faithful — order of checks, the limit of areas, which page tables go, accounting.

use crate::mm::addr::{PAGE_SHIFT, PAGE_SIZE, VirtAddr};
use crate::mm::augmented::Area;
use crate::mm::errno::Errno;
use crate::mm::kernel_caches::KernelCache;
use crate::mm::machine::Machine;
use crate::mm::refused::Refused;
use crate::mm::task::{MmId, Pid};
use crate::mm::vma::{VmFlags, Vma, page_align};
use std::ops::Range;

impl Machine {
    /// Takes a range out of a task's address space (`munmap`).
    ///
    /// # Errors
    /// `EINVAL` for a misaligned address, a length of 0 or a range beyond the address space; `ENOMEM` when a hole would
    /// make one area more than there may be; `ESRCH`.
    pub fn munmap(&mut self, pid: Pid, addr: VirtAddr, len: u64) -> Result<(), Errno> {
        let mm = self.mm_of(pid)?;
        self.as_task(pid, |m| m.do_munmap(mm, addr.0, len))
    }

    /// Takes a range out (`do_mas_munmap`): split the ends, unmap, free tables, forget the areas.
    pub(crate) fn do_munmap(&mut self, mm: MmId, start: u64, len: u64) -> Result<(), Errno> {
        if start & (PAGE_SIZE - 1) != 0
            || start > self.layout.task_size
            || len > self.layout.task_size - start
        {
            return Err(Errno::EINVAL);
        }
        let len = page_align(len).filter(|len| *len > 0).ok_or(Errno::EINVAL)?;
        let end = start + len;
        let found = self.mms[mm].vmas.find(start).filter(|area| area.start < end);
        let Some(area) = found else { return Ok(()) };
        let inside = area.start <= start && end <= area.end;
        let one_end = (area.start == start) != (area.end == end);
        if inside && one_end && self.vmas[area.id].chain.is_empty() {
            return self.trim_vma(mm, area, start..end);
        }
        let mut first = area;
        if area.start < start {
            // Cutting a hole makes one area more than there was.
            if end < area.end && self.mms[mm].vmas.len() as u64 >= self.sysctl.max_map_count {
                let most = self.sysctl.max_map_count;
                return Err(self.refuse(Refused::Areas { needed: most + 1, most }));
            }
            first = Area { start, end: area.end, id: self.cut_vma(area.id, start)? };
        }
        let last = if first.end < end { self.mms[mm].vmas.below(end) } else { Some(first) };
        if let Some(last) = last.filter(|last| end < last.end) {
            self.cut_vma(last.id, end)?;
        }
        self.lru_add_drain();
        let mut next = Some(first);
        while let Some(area) = next {
            self.zap_range(area.id, area.start, area.end.min(end));
            next = self.area_below(mm, area.end, end);
        }
        let floor = self.mms[mm].vmas.below(start).map_or(0, |area| area.end);
        let ceiling = self.mms[mm].vmas.from(end).map_or(u64::MAX, |area| area.start);
        self.free_pgtables(mm, start..end, floor, ceiling);
        let mut next = Some(first);
        while let Some(area) = next {
            let vma = &self.vmas[area.id];
            self.uncharge(mm, vma.flags, vma.pages());
            self.remove_vma(area.id);
            next = self.area_below(mm, area.end, end);
        }
        Ok(())
    }

    /// The first area of `from..to`.
    #[inline]
    fn area_below(&self, mm: MmId, from: u64, to: u64) -> Option<Area> {
        if from < to { self.mms[mm].vmas.from(from).filter(|area| area.start < to) } else { None }
    }

    /// Takes one end of an area that has no anonymous pages: the area is shortened.
    ///
    /// The kernel cuts the part off first. Its structure may be refused, and is freed last.
    fn trim_vma(&mut self, mm: MmId, area: Area, gone: Range<u64>) -> Result<(), Errno> {
        let object = self.kernel_object(KernelCache::VmArea)?;
        let Vma { flags, pgoff, .. } = self.vmas[area.id];
        self.lru_add_drain();
        self.zap_range(area.id, gone.start, gone.end);
        let kept = if gone.start == area.start { gone.end..area.end } else { area.start..gone.start };
        let pgoff = pgoff + ((kept.start - area.start) >> PAGE_SHIFT);
        self.adjust_vma(area.id, kept.start, kept.end, pgoff);
        let (below, above) = self.mms[mm].vmas.around(gone.start);
        let floor = below.map_or(0, |area| area.end);
        let ceiling = above.map_or(u64::MAX, |area| area.start);
        self.uncharge(mm, flags, (gone.end - gone.start) >> PAGE_SHIFT);
        self.free_pgtables(mm, gone, floor, ceiling);
        self.free_kernel_object(KernelCache::VmArea, object);
        Ok(())
    }

    /// Takes pages of an area out of the accounts.
    fn uncharge(&mut self, mm: MmId, flags: VmFlags, pages: u64) {
        self.vm_stat_account(mm, flags, -(pages as i64));
        if flags.has(VmFlags::ACCOUNT) {
            self.committed_as -= pages;
        }
        if flags.has(VmFlags::LOCKED) {
            self.mms[mm].locked_vm -= pages;
        }
    }
}
