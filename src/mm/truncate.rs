//! Cutting files: pages beyond the new end go, out of page tables and out of memory.
//!
//! Gorman 10.3. Kernel: `mm/truncate.c`, `mm/memory.c` (`unmap_mapping_range`).
//! Fidelity: faithful — order of size, tables and pages; private copies go too; the rest of the last page becomes zeros.

use crate::mm::addr::{PAGE_SIZE, Pfn};
use crate::mm::errno::Errno;
use crate::mm::fs::{Backing, FileId, MAX_BYTES};
use crate::mm::machine::Machine;
use crate::mm::page::PageFlags;
use crate::mm::xarray::Entry;
use std::rc::Rc;

impl Machine {
    /// Makes a file this long (`ftruncate`).
    ///
    /// # Errors
    /// `EFBIG`.
    pub fn truncate(&mut self, file: FileId, size: u64) -> Result<(), Errno> {
        if size > MAX_BYTES {
            return Err(Errno::EFBIG);
        }
        self.charge(self.config.costs.trap);
        let old = std::mem::replace(&mut self.files[file].size, size);
        if size < old {
            self.unmap_mapping_range(file, size.div_ceil(PAGE_SIZE), u64::MAX, true);
            self.truncate_inode_pages(file, size);
        }
        Ok(())
    }

    /// Takes pages `first..=last` of a file out of every page table; with `even_cows`, private copies as well.
    pub(crate) fn unmap_mapping_range(&mut self, file: FileId, first: u64, last: u64, even_cows: bool) {
        for id in self.files[file].i_mmap.overlapping(first, last) {
            let vma = &self.vmas[id];
            let (pgoff, end) = (vma.pgoff, vma.pgoff + vma.pages());
            let at = |page: u64| vma.start + (page - pgoff) * PAGE_SIZE;
            let range = at(first.max(pgoff))..at(end.min(last.saturating_add(1)));
            self.zap_file_range(id, range, even_cows);
        }
    }

    /// Pages `first..=last` of a file become zeros and take no room any more (`fallocate` with `FALLOC_FL_PUNCH_HOLE`).
    pub(crate) fn punch_hole(&mut self, file: FileId, first: u32, last: u32) {
        let Some(end) = self.files[file].size.div_ceil(PAGE_SIZE).checked_sub(1) else { return };
        let last = last.min(end as u32);
        self.unmap_mapping_range(file, first.into(), last.into(), false);
        self.truncate_pages(file, first, last);
        if let Backing::Disk(disk) = &mut self.files[file].backing {
            // What the disk had there is gone: no bytes, where the pattern would have some.
            disk.written.extend((first..=last).map(|index| (index, None)));
        }
    }

    /// Pages at `size` and beyond leave memory; what lies behind it in the last page becomes zeros
    /// (`truncate_inode_pages`).
    pub(crate) fn truncate_inode_pages(&mut self, file: FileId, size: u64) {
        let first = size.div_ceil(PAGE_SIZE) as u32;
        self.truncate_pages(file, first, u32::MAX);
        if let Backing::Disk(disk) = &mut self.files[file].backing {
            disk.pattern = disk.pattern.min(size);
            disk.written.split_off(&first);
        }
        let rest = (size % PAGE_SIZE) as usize;
        if rest > 0 {
            self.zero_rest(file, first - 1, rest);
        }
    }

    /// Pages `first..=last` of a file leave memory and swap, dirty or not.
    pub(crate) fn truncate_pages(&mut self, file: FileId, first: u32, last: u32) {
        let mut from = first;
        while let Some((index, entry)) =
            self.files[file].pages.find(from, None).filter(|(index, _)| *index <= last)
        {
            match entry.as_page() {
                Some(pfn) => self.truncate_page(file, pfn),
                None => self.shmem_free_swap(file, index, entry),
            }
            match index.checked_add(1) {
                Some(next) => from = next,
                None => return,
            }
        }
    }

    fn truncate_page(&mut self, file: FileId, pfn: Pfn) {
        self.mem_map.page_mut(pfn).refcount += 1;
        self.wait_on_page(pfn);
        self.wait_on_page_writeback(pfn);
        self.delete_from_page_cache(pfn, Entry::NONE);
        self.mem_map.page_mut(pfn).clear(PageFlags::DIRTY);
        self.shmem_uncharge(file, 1);
        self.mem_map.page_mut(pfn).refcount -= 1;
        self.put_lru_page(pfn);
    }

    /// Bytes of a page from `rest` on become zeros, wherever the page is (`truncate_inode_partial_folio`).
    fn zero_rest(&mut self, file: FileId, index: u32, rest: usize) {
        if self.files[file].shmem().is_some() {
            // A page in swap has to come in for that; without memory for it, its bytes stay behind the end.
            if let Ok(Some(pfn)) = self.shmem_read_page(file, index) {
                if self.contents.get(pfn).is_some() {
                    self.contents.get_mut(pfn)[rest..].fill(0);
                }
                self.set_page_dirty(pfn);
                self.put_lru_page(pfn);
            }
            return;
        }
        if let Some(pfn) = self.find_page(file, index)
            && self.contents.get(pfn).is_some()
        {
            self.contents.get_mut(pfn)[rest..].fill(0);
            self.set_page_dirty(pfn);
        }
        if let Backing::Disk(disk) = &mut self.files[file].backing
            && let Some(Some(bytes)) = disk.written.get_mut(&index)
        {
            Rc::make_mut(bytes)[rest..].fill(0);
        }
    }

    /// Clean pages of a range that nobody maps leave memory (`invalidate_mapping_pages`); how many.
    pub(crate) fn invalidate_mapping_pages(&mut self, file: FileId, first: u32, last: u32) -> u64 {
        let (mut from, mut gone) = (first, 0);
        while let Some((index, entry)) =
            self.files[file].pages.find(from, None).filter(|(index, _)| *index <= last)
        {
            if entry.as_page().is_some_and(|pfn| self.reclaim_clean_page(pfn)) {
                gone += 1;
            }
            match index.checked_add(1) {
                Some(next) => from = next,
                None => break,
            }
        }
        gone
    }
}
