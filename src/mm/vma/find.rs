//! Which area is at an address, or next to it.
//!
//! Gorman 4.4.2. Kernel: `mm/mmap.c` (`find_vma`, `find_vma_prev`).
//! Fidelity: faithful — the area found last is asked first.

use super::{Vma, VmaId};
use crate::mm::addr::VirtAddr;
use crate::mm::machine::Machine;
use crate::mm::task::MmId;

impl Machine {
    /// The first area that ends above an address (`find_vma`).
    #[inline]
    pub fn find_vma(&self, mm: MmId, addr: VirtAddr) -> Option<VmaId> {
        let mm = &self.mms[mm];
        if let Some(id) = mm.vma_cache
            && self.vmas.get(id).is_some_and(|v| v.contains(addr))
        {
            return Some(id);
        }
        mm.vmas.find(addr.0).map(|area| area.id)
    }

    /// The first area that touches `start..end` (`find_vma_intersection`).
    pub fn find_vma_intersection(&self, mm: MmId, start: u64, end: u64) -> Option<VmaId> {
        self.find_vma(mm, VirtAddr(start)).filter(|id| self.vmas[*id].start < end)
    }

    /// The area below an address that does not contain it.
    pub fn find_vma_prev(&self, mm: MmId, addr: u64) -> Option<VmaId> {
        self.mms[mm].vmas.below(addr).filter(|area| area.end <= addr).map(|area| area.id)
    }

    /// Areas of an address space, lowest first.
    pub fn areas(&self, mm: MmId) -> impl DoubleEndedIterator<Item = (VmaId, &Vma)> {
        self.mms[mm].vmas.iter().map(|area| (area.id, &self.vmas[area.id]))
    }

    /// Areas that touch `start..end`, lowest first.
    pub(crate) fn areas_in(&self, mm: MmId, start: u64, end: u64) -> Vec<VmaId> {
        let mut found = Vec::new();
        let mut next = self.mms[mm].vmas.find(start);
        while let Some(area) = next.filter(|area| area.start < end) {
            found.push(area.id);
            next = if area.end < end { self.mms[mm].vmas.from(area.end) } else { None };
        }
        found
    }

    /// The area that an address lies in (`vma_lookup`).
    pub fn vma_lookup(&self, mm: MmId, addr: u64) -> Option<VmaId> {
        self.find_vma(mm, VirtAddr(addr)).filter(|id| self.vmas[*id].start <= addr)
    }
}
