//! Room for a new mapping: where the caller wants it, or the first hole from the top.
//!
//! ```text
//!   legacy_base ──► bottom up, when nothing else is left    …    top down ◄── mmap_base │ gap │ stack
//! ```
//!
//! Gorman 4.4.6. Kernel: `mm/mmap.c` (`get_unmapped_area`, `unmapped_area_topdown`, `vm_unmapped_area`).
//! Fidelity: faithful — hints, both directions, guard gaps below stacks, `mmap_min_addr`.

use super::map;
use crate::mm::addr::{PAGE_SIZE, VirtAddr};
use crate::mm::errno::Errno;
use crate::mm::machine::Machine;
use crate::mm::task::{MmId, Pid};
use crate::mm::vma::{VmFlags, VmaId, page_align};

/// Free pages below a stack (`stack_guard_gap`).
pub(crate) const STACK_GUARD_GAP: u64 = 256 * PAGE_SIZE;

impl Machine {
    /// Finds room for a mapping: the hint, else from the top down (`get_unmapped_area`).
    ///
    /// # Errors
    /// `ENOMEM` without room, `EINVAL` for a misaligned fixed address, `EPERM` below `mmap_min_addr` for all but root.
    pub(crate) fn get_unmapped_area(
        &self,
        pid: Pid,
        mm: MmId,
        hint: u64,
        len: u64,
        flags: u64,
    ) -> Result<u64, Errno> {
        if len > self.layout.task_size {
            return Err(Errno::ENOMEM);
        }
        let at = if flags & map::FIXED != 0 {
            hint
        } else if hint != 0
            && hint <= self.layout.task_size - len
            && self.is_room(mm, hint & !(PAGE_SIZE - 1), len)
        {
            hint & !(PAGE_SIZE - 1)
        } else {
            let found = self.unmapped_area_topdown(mm, len).or_else(|| self.unmapped_area(mm, len));
            found.ok_or(Errno::ENOMEM)?
        };
        if at > self.layout.task_size - len {
            return Err(Errno::ENOMEM);
        }
        if at & (PAGE_SIZE - 1) != 0 {
            return Err(Errno::EINVAL);
        }
        if at < self.sysctl.mmap_min_addr && !self.capable(pid) { Err(Errno::EPERM) } else { Ok(at) }
    }

    /// Free, and not too near below a stack?
    fn is_room(&self, mm: MmId, start: u64, len: u64) -> bool {
        let next = self.find_vma(mm, VirtAddr(start));
        let prev = self.find_vma_prev(mm, start);
        next.is_none_or(|n| start + len <= self.gap_start(n))
            && prev.is_none_or(|p| start >= self.vmas[p].end)
    }

    /// Where the free room below an area ends: a stack keeps its guard gap (`vm_start_gap`).
    pub(crate) fn gap_start(&self, id: VmaId) -> u64 {
        let vma = &self.vmas[id];
        if vma.flags.has(VmFlags::GROWSDOWN) { vma.start.saturating_sub(STACK_GUARD_GAP) } else { vma.start }
    }

    /// The highest room below `mmap_base` (`unmapped_area_topdown`).
    fn unmapped_area_topdown(&self, mm: MmId, len: u64) -> Option<u64> {
        if self.sysctl.legacy_va_layout == 1 {
            return None;
        }
        let areas = &self.mms[mm].vmas;
        // Page 0 is never found, only asked for.
        let low = self.sysctl.mmap_min_addr.max(PAGE_SIZE);
        let mut high = self.mms[mm].mmap_base;
        loop {
            let at = areas.highest_gap(len, low..high)?;
            match areas.from(at + len).map(|next| self.gap_start(next.id)) {
                // A stack above needs some of it: look below its guard gap.
                Some(end) if end < at + len => high = end,
                _ => return Some(at),
            }
        }
    }

    /// The lowest room above a third of the address space (`unmapped_area`).
    fn unmapped_area(&self, mm: MmId, len: u64) -> Option<u64> {
        let areas = &self.mms[mm].vmas;
        let mut low = page_align(self.layout.legacy_base)?;
        loop {
            let at = areas.lowest_gap(len, low..self.layout.task_size)?;
            match areas.from(at + len) {
                // A stack keeps its guard gap: look above it.
                Some(next) if self.gap_start(next.id) < at + len => low = next.end,
                _ => return Some(at),
            }
        }
    }
}
