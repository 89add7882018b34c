//! Part of an area is to become other than the rest: it is cut out.
//!
//! Gorman 4.4.4. Kernel: `mm/mmap.c` (`__split_vma`, `split_vma`).
//! Fidelity: faithful — the limit of areas, and what a cut that fails leaves behind.

use super::{VmFlags, Vma, VmaId};
use crate::mm::addr::{PAGE_SHIFT, VirtAddr};
use crate::mm::errno::Errno;
use crate::mm::kernel_caches::KernelCache;
use crate::mm::machine::Machine;
use crate::mm::refused::Refused;
use crate::mm::task::MmId;
use std::ops::Range;

impl Machine {
    /// Cuts an area in two; the lower part keeps the number, the upper one is returned (`__split_vma`).
    ///
    /// The limit is not asked: munmap may exceed it for a moment, because one of the parts goes away again.
    ///
    /// # Errors
    /// `ENOMEM` without memory for the structure.
    pub(crate) fn cut_vma(&mut self, id: VmaId, at: u64) -> Result<VmaId, Errno> {
        let object = self.kernel_object(KernelCache::VmArea)?;
        Ok(self.cut_with(id, at, object))
    }

    /// Cuts an area in two, if the process may have one more (`split_vma`).
    fn split_vma(&mut self, mm: MmId, id: VmaId, at: u64) -> Result<VmaId, Errno> {
        self.may_have_areas(mm, 1)?;
        self.cut_vma(id, at)
    }

    /// Cuts `start..end` out of the middle of an area, which becomes three; the part.
    ///
    /// The kernel cuts twice: the first cut stays when the second one fails.
    fn cut_out(&mut self, mm: MmId, id: VmaId, start: u64, end: u64) -> Result<VmaId, Errno> {
        self.may_have_areas(mm, 1)?;
        let object = self.kernel_object(KernelCache::VmArea)?;
        let second = self.may_have_areas(mm, 2).and_then(|()| self.kernel_object(KernelCache::VmArea));
        let second = match second {
            Ok(object) => object,
            Err(errno) => {
                self.cut_with(id, start, object);
                return Err(errno);
            }
        };
        let Vma { start: first, end: last, pgoff, .. } = self.vmas[id];
        let mid = self.part_of(id, start..end, object);
        let high = self.part_of(id, end..last, second);
        self.mms[mm].vmas.cut_out(first, start..end, mid, high);
        self.set_borders(id, first, start, pgoff);
        self.tie_part(mid, id);
        self.tie_part(high, mid);
        Ok(mid)
    }

    /// May the process have so many areas more? (`sysctl_max_map_count`)
    fn may_have_areas(&mut self, mm: MmId, more: u64) -> Result<(), Errno> {
        let (needed, most) = (self.mms[mm].vmas.len() as u64 + more, self.sysctl.max_map_count);
        if needed > most { Err(self.refuse(Refused::Areas { needed, most })) } else { Ok(()) }
    }

    fn cut_with(&mut self, id: VmaId, at: u64, object: VirtAddr) -> VmaId {
        let Vma { mm, start, end, pgoff, .. } = self.vmas[id];
        debug_assert!(start < at && at < end);
        let new = self.part_of(id, at..end, object);
        self.mms[mm].vmas.split(start, at, new);
        self.set_borders(id, start, at, pgoff);
        self.tie_part(new, id);
        new
    }

    /// A new area like a part of another one, which nothing knows yet.
    fn part_of(&mut self, id: VmaId, part: Range<u64>, object: VirtAddr) -> VmaId {
        let vma = &self.vmas[id];
        let pgoff = vma.pgoff + ((part.start - vma.start) >> PAGE_SHIFT);
        let (start, end, object) = (part.start, part.end, Some(object));
        self.vmas.insert(Vma { start, end, pgoff, anon_vma: None, chain: Vec::new(), object, ..*vma })
    }

    /// The file and the anon_vmas of an area know the part that was cut off it.
    #[inline]
    fn tie_part(&mut self, part: VmaId, of: VmaId) {
        self.link_file(part);
        self.anon_vma_inherit(part, of);
    }

    /// Gives `start..end` of an area other flags: it joins a neighbour, or is cut out (`vma_modify_flags`).
    ///
    /// # Errors
    /// `ENOMEM` when the process has too many areas; a cut that was made stays.
    #[inline]
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
        let Vma { mm, start: first, end: last, .. } = self.vmas[id];
        let id = match (first < start, end < last) {
            (true, true) => self.cut_out(mm, id, start, end)?,
            (true, false) => self.split_vma(mm, id, start)?,
            (false, true) => {
                self.split_vma(mm, id, end)?;
                id
            }
            (false, false) => id,
        };
        self.vmas[id].flags = flags;
        Ok(id)
    }
}
