//! tmpfs: files that live in memory and swap, and shared memory that is nothing but such files.
//!
//! ```text
//!   pages[index]   nothing ──► a hole: reads as zeros, the first write or fault makes a page
//!                  a page  ──► on the anonymous lists; when reclaim wants it, it is moved to the swap cache
//!                  a slot  ──► its bytes are in swap; the next use brings it back
//! ```
//!
//! Gorman chapter 12. Kernel: `mm/shmem.c`.
//! Fidelity: faithful — holes, swap entries in the page cache, limits of a mount, what counts as committed. Simplified —
//! clean holes are uncharged when they go, not at the next look. Absent — huge pages, directories, mempolicy.

use crate::mm::addr::{PAGE_SHIFT, Pfn};
use crate::mm::errno::Errno;
use crate::mm::fs::{Backing, FileId, FsType, SHM_MNT};
use crate::mm::machine::Machine;
use crate::mm::page::PageFlags;
use crate::mm::pgtable::SwapEntry;
use crate::mm::vma::{VmFlags, Vma};
use crate::mm::xarray::Entry;

/// What tmpfs knows of a file (`struct shmem_inode_info`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Shmem {
    /// Pages promised when it was made; 0 when each page is counted as it comes (`VM_NORESERVE`).
    pub reserved: u64,
    /// Pages it has, in memory or in swap.
    pub alloced: u64,
    /// Those of them in swap.
    pub swapped: u64,
    /// The segment of SysV shared memory that it is.
    pub segment: Option<i32>,
}

impl Shmem {
    /// Pages are counted as committed one by one (`VM_NORESERVE`).
    fn counts_blocks(&self) -> bool {
        self.reserved == 0
    }
}

/// Why a page is wanted (`enum sgp_type`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sgp {
    /// For a fault: holes are filled, but not beyond the end.
    Cache,
    /// To be written: the end does not matter.
    Write,
}

/// A swap slot as an entry of the page cache (`swp_to_radix_entry`).
fn swap_to_entry(slot: SwapEntry) -> Entry {
    Entry::value(u64::from(slot.area) << 32 | u64::from(slot.offset))
}

/// The swap slot that an entry of the page cache names (`radix_to_swp_entry`).
pub(crate) fn entry_to_swap(entry: Entry) -> Option<SwapEntry> {
    entry.as_value().map(|value| SwapEntry { area: (value >> 32) as u8, offset: value as u32 })
}

impl Machine {
    /// A file of the kernel's own tmpfs, whose size counts as committed unless nothing shall be reserved
    /// (`__shmem_file_setup`).
    ///
    /// # Errors
    /// `ENOMEM` when that much may not be committed, or there is no inode for it.
    pub(crate) fn shmem_file_setup(&mut self, name: &str, size: u64, reserve: bool) -> Result<FileId, Errno> {
        let mut reserved = 0;
        if reserve {
            reserved = size >> PAGE_SHIFT;
            self.vm_enough_memory(reserved)?;
            self.committed_as += reserved;
        }
        let backing = Backing::Shmem(Shmem { reserved, ..Shmem::default() });
        let made = self.new_pseudo_file(name.into(), SHM_MNT, size, backing);
        if made.is_err() {
            self.committed_as -= reserved;
        }
        made
    }

    /// A tmpfs without a limit of its own may take half of memory (`shmem_default_max_blocks`).
    pub(crate) fn limit_tmpfs(&mut self) {
        let half = self.totalram_pages() / 2;
        for mount in self.fs.mounts.iter_mut().skip(SHM_MNT + 1).filter(|m| m.kind == FsType::Tmpfs) {
            mount.max_blocks = half;
        }
    }

    /// Pages of an area that its file has in swap (`shmem_swap_usage`).
    pub fn shmem_swap_usage(&self, vma: &Vma) -> u64 {
        let Some(file) = vma.file.map(|file| &self.files[file]) else { return 0 };
        if file.shmem().is_none_or(|shmem| shmem.swapped == 0) {
            return 0;
        }
        let range = vma.pgoff..vma.pgoff + vma.pages();
        let slots = file.pages.iter().filter(|(_, entry)| entry.as_value().is_some());
        slots.filter(|(index, _)| range.contains(&u64::from(*index))).count() as u64
    }

    /// The file behind shared anonymous memory (`shmem_zero_setup`).
    pub(crate) fn shmem_zero_setup(&mut self, len: u64, flags: VmFlags) -> Result<FileId, Errno> {
        self.shmem_file_setup("/dev/zero", len, !flags.has(VmFlags::NORESERVE))
    }

    /// A file in memory without a name (`memfd_create`); the caller's descriptor keeps it.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn memfd_create(&mut self, name: &str) -> Result<FileId, Errno> {
        let id = self.shmem_file_setup(&format!("/memfd:{name}"), 0, false)?;
        self.get_file(id);
        Ok(id)
    }

    /// A page of a tmpfs file, with a reference for the caller; true when it had to be read from swap
    /// (`shmem_get_folio`).
    ///
    /// # Errors
    /// `EINVAL` beyond the end, `ENOSPC` on a full mount, `ENOMEM`.
    pub(crate) fn shmem_get_page(
        &mut self,
        file: FileId,
        index: u32,
        sgp: Sgp,
    ) -> Result<(Pfn, bool), Errno> {
        if sgp == Sgp::Cache && u64::from(index) >= self.files[file].size_pages() {
            return Err(Errno::EINVAL);
        }
        let entry = self.files[file].pages.load(index);
        if let Some(pfn) = entry.as_page() {
            self.mem_map.page_mut(pfn).refcount += 1;
            if sgp == Sgp::Write {
                self.mark_page_accessed(pfn);
            }
            return Ok((pfn, false));
        }
        if let Some(slot) = entry_to_swap(entry) {
            return self.shmem_swapin(file, index, slot);
        }
        self.shmem_charge(file)?;
        let pfn = match self.alloc_file_page(true) {
            Ok(pfn) => pfn,
            Err(e) => {
                self.shmem_uncharge(file, 1);
                return Err(e);
            }
        };
        self.add_to_page_cache(pfn, file, index);
        let page = self.mem_map.page_mut(pfn);
        page.set(PageFlags::UPTODATE);
        if sgp == Sgp::Write {
            page.set(PageFlags::REFERENCED);
        }
        self.lru_add(pfn);
        Ok((pfn, false))
    }

    /// A page of a tmpfs file to be read, with a reference; nothing for a hole (`SGP_READ`).
    pub(crate) fn shmem_read_page(&mut self, file: FileId, index: u32) -> Result<Option<Pfn>, Errno> {
        if self.files[file].pages.load(index).is_none() {
            return Ok(None);
        }
        self.shmem_get_page(file, index, Sgp::Write).map(|(pfn, _)| Some(pfn))
    }

    /// Brings a page back from swap into its file's cache (`shmem_swapin_folio`).
    fn shmem_swapin(&mut self, file: FileId, index: u32, slot: SwapEntry) -> Result<(Pfn, bool), Errno> {
        let (pfn, major) = match self.lookup_swap_cache(slot) {
            Some(pfn) => (pfn, false),
            None => (self.read_swap_cache(slot, true).map_err(|_| Errno::ENOMEM)?, true),
        };
        self.mem_map.page_mut(pfn).refcount += 1;
        self.wait_on_page(pfn);
        self.wait_on_page_writeback(pfn);
        self.delete_from_swap_cache(pfn);
        // The swap cache's reference is dropped; the page cache takes one of its own.
        self.mem_map.page_mut(pfn).refcount -= 1;
        self.add_to_page_cache(pfn, file, index);
        self.set_page_dirty(pfn);
        self.swap_free(slot);
        self.shmem_mut(file).swapped -= 1;
        Ok((pfn, major))
    }

    /// A page of tmpfs that reclaim wants goes to swap: its file remembers the slot, the swap cache has the page
    /// (`shmem_writepage`). False when there is no slot.
    pub(crate) fn shmem_writepage(&mut self, pfn: Pfn) -> bool {
        let Some(file) = self.file_of(pfn) else { return false };
        if !self.add_to_swap(pfn) {
            return false;
        }
        let Some(slot) = self.page_swap_entry(pfn) else { return false };
        // The file's own claim to the slot (swap_shmem_alloc).
        self.swap_duplicate(slot);
        self.shmem_mut(file).swapped += 1;
        self.delete_from_page_cache(pfn, swap_to_entry(slot));
        self.mem_map.page_mut(pfn).refcount -= 1;
        true
    }

    /// A slot that a file's cache names is given back (`shmem_free_swap`).
    pub(crate) fn shmem_free_swap(&mut self, file: FileId, index: u32, entry: Entry) {
        let Some(slot) = entry_to_swap(entry) else { return };
        self.files[file].pages.store(index, Entry::NONE);
        self.shmem_mut(file).swapped -= 1;
        self.shmem_uncharge(file, 1);
        self.swap_free(slot);
    }

    /// Every page of tmpfs that lies in a swap area comes back (`shmem_unuse`).
    ///
    /// # Errors
    /// `ENOMEM`; what has come back stays in memory.
    pub(crate) fn shmem_unuse(&mut self, area: u8) -> Result<(), Errno> {
        let files: Vec<FileId> = self
            .files
            .iter()
            .filter(|(_, f)| f.shmem().is_some_and(|s| s.swapped > 0))
            .map(|(id, _)| id)
            .collect();
        for file in files {
            let there =
                |(index, entry)| Some((index, entry_to_swap(entry).filter(|slot| slot.area == area)?));
            let slots: Vec<_> = self.files[file].pages.iter().filter_map(there).collect();
            for (index, slot) in slots {
                let (pfn, _) = self.shmem_swapin(file, index, slot)?;
                self.put_lru_page(pfn);
            }
        }
        Ok(())
    }

    /// A hole of a file begins to take memory: the mount and what may be committed have a say
    /// (`shmem_inode_acct_block`).
    fn shmem_charge(&mut self, file: FileId) -> Result<(), Errno> {
        let mount = self.files[file].mount;
        let Some(shmem) = self.files[file].shmem() else { return Ok(()) };
        let counts = shmem.counts_blocks();
        if counts {
            self.vm_enough_memory(1).map_err(|_| Errno::ENOSPC)?;
        }
        let mount = &mut self.fs.mounts[mount];
        if mount.max_blocks > 0 && mount.used_blocks >= mount.max_blocks {
            return Err(Errno::ENOSPC);
        }
        mount.used_blocks += 1;
        self.committed_as += u64::from(counts);
        self.shmem_mut(file).alloced += 1;
        Ok(())
    }

    /// Pages of a file take no memory any more (`shmem_inode_unacct_blocks`).
    pub(crate) fn shmem_uncharge(&mut self, file: FileId, pages: u64) {
        let inode = &mut self.files[file];
        let Backing::Shmem(shmem) = &mut inode.backing else { return };
        shmem.alloced -= pages;
        if shmem.counts_blocks() {
            self.committed_as -= pages;
        }
        self.fs.mounts[inode.mount].used_blocks -= pages;
    }

    /// What was promised for a file when it was made (`shmem_unacct_size`).
    pub(crate) fn shmem_evict_inode(&mut self, file: FileId) {
        if let Some(shmem) = self.files[file].shmem() {
            self.committed_as -= shmem.reserved;
        }
    }

    fn shmem_mut(&mut self, file: FileId) -> &mut Shmem {
        match &mut self.files[file].backing {
            Backing::Shmem(shmem) => shmem,
            Backing::Disk(_) => unreachable!("file {file:?} has a disk"),
        }
    }

    /// Areas of SysV segments are told when they close, so they never merge.
    #[inline]
    pub(crate) fn closes_with_area(&self, file: FileId) -> bool {
        self.files[file].shmem().is_some_and(|shmem| shmem.segment.is_some())
    }
}
