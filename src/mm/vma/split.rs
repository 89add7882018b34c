//! Part of an area is to become other than the rest: it is cut out.
//!
//! Gorman 4.4.4. Kernel: `mm/mmap.c` (`__split_vma`, `split_vma`).
//! Fidelity: faithful — the limit of areas, and what a cut that fails leaves behind.

use super::{VmFlags, Vma, VmaId};
use crate::mm::addr::PAGE_SHIFT;
use crate::mm::errno::Errno;
use crate::mm::kernel_caches::KernelCache;
use crate::mm::machine::Machine;

impl Machine {
    /// Cuts an area in two at `at`, if the process may have one more (`split_vma`).
    ///
    /// # Errors
    /// `ENOMEM` when the process has too many areas.
    pub(crate) fn split_vma(&mut self, id: VmaId, at: u64) -> Result<VmaId, Errno> {
        if self.mms[self.vmas[id].mm].vmas.len() as u64 >= self.sysctl.max_map_count {
            return Err(Errno::ENOMEM);
        }
        self.cut_vma(id, at)
    }

    /// Cuts an area in two; the lower part keeps the number, the upper one is returned (`__split_vma`).
    ///
    /// The limit is not asked: munmap may exceed it for a moment, because one of the parts goes away again.
    ///
    /// # Errors
    /// `ENOMEM` without memory for the structure.
    pub(crate) fn cut_vma(&mut self, id: VmaId, at: u64) -> Result<VmaId, Errno> {
        let object = Some(self.kernel_object(KernelCache::VmArea)?);
        let vma = &self.vmas[id];
        debug_assert!(vma.start < at && at < vma.end);
        let (mm, start, pgoff) = (vma.mm, vma.start, vma.pgoff);
        let upper_pgoff = pgoff + ((at - start) >> PAGE_SHIFT);
        let upper = Vma { start: at, pgoff: upper_pgoff, anon_vma: None, chain: Vec::new(), object, ..*vma };
        let new = self.vmas.insert(upper);
        self.mms[mm].vmas.split(start, at, new);
        self.set_borders(id, start, at, pgoff);
        self.link_file(new);
        self.anon_vma_inherit(new, id);
        Ok(new)
    }

    /// Gives `start..end` of an area other flags: it joins a neighbour, or is cut out (`vma_modify_flags`).
    ///
    /// # Errors
    /// `ENOMEM` when the process has too many areas; a cut that was made stays.
    pub(crate) fn vma_modify_flags(
        &mut self,
        id: VmaId,
        start: u64,
        end: u64,
        flags: VmFlags,
    ) -> Result<VmaId, Errno> {
        if let Some(merged) = self.vma_merge(id, start, end, flags) {
            return Ok(merged);
        }
        let (first, last) = (self.vmas[id].start, self.vmas[id].end);
        let id = if first < start { self.split_vma(id, start)? } else { id };
        if end < last {
            self.split_vma(id, end)?;
        }
        self.vmas[id].flags = flags;
        Ok(id)
    }
}
