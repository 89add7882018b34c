//! Moving and resizing a mapping: in place, elsewhere, or as a second view of the same memory.
//!
//! ```text
//!   grow in place    AA__      ►  AAAA            the end of the area must be free
//!   move             AABB      ►  __BB…AAAA       new area, entries moved, old area unmapped
//!   DONTUNMAP        AA        ►  AA…AA           the old area stays, empty
//!   old_len 0        SS        ►  SS…SS           a shared area is mapped once more
//! ```
//!
//! Gorman 4.4.7. Kernel: `mm/mremap.c`.
//! Fidelity: faithful — order of checks, accounting, whole PTE tables moved when both ends allow it, undo when memory
//! runs out on the way.

mod batch;
mod tables;

use crate::mm::addr::{PAGE_SHIFT, PAGE_SIZE, VirtAddr};
use crate::mm::errno::Errno;
use crate::mm::machine::Machine;
use crate::mm::mmap::map;
use crate::mm::refused::Refused;
use crate::mm::task::{MmId, Pid};
use crate::mm::vma::{NewArea, VmFlags, VmaId, page_align};

/// `flags` of mremap.
pub mod remap {
    #![allow(missing_docs)]
    pub const MAYMOVE: u64 = 1;
    pub const FIXED: u64 = 2;
    pub const DONTUNMAP: u64 = 4;
}

/// What is to be moved, and how.
#[derive(Clone, Copy)]
struct Move {
    pid: Pid,
    mm: MmId,
    addr: u64,
    old_len: u64,
    new_len: u64,
    flags: u64,
}

impl Machine {
    /// Moves or resizes a mapping (`mremap`); its first address.
    ///
    /// # Errors
    /// `EINVAL` for wrong flags, misaligned addresses, a new length of 0 or ranges that overlap; `EFAULT` when the old
    /// range is not one area; `ENOMEM` when it cannot grow here and may not move, beyond limits or the address space;
    /// `EAGAIN` beyond the limit of locked memory; `ESRCH`.
    pub fn mremap(
        &mut self,
        pid: Pid,
        addr: VirtAddr,
        old_len: u64,
        new_len: u64,
        flags: u64,
        new_addr: VirtAddr,
    ) -> Result<VirtAddr, Errno> {
        let mm = self.mm_of(pid)?;
        if flags & !(remap::MAYMOVE | remap::FIXED | remap::DONTUNMAP) != 0
            || (flags & (remap::FIXED | remap::DONTUNMAP) != 0 && flags & remap::MAYMOVE == 0)
            || (flags & remap::DONTUNMAP != 0 && old_len != new_len)
            || !addr.is_aligned()
        {
            return Err(Errno::EINVAL);
        }
        // A length that wraps when it is rounded becomes 0, as in the kernel.
        let (old_len, new_len) = (page_align(old_len).unwrap_or(0), page_align(new_len).unwrap_or(0));
        if new_len == 0 {
            return Err(Errno::EINVAL);
        }
        let to = Move { pid, mm, addr: addr.0, old_len, new_len, flags };
        let result = self.as_task(pid, |m| m.do_mremap(to, new_addr.0));
        self.die_if_killed(pid);
        result.map(VirtAddr)
    }

    fn do_mremap(&mut self, to: Move, new_addr: u64) -> Result<u64, Errno> {
        if self.config.kernel_since(6, 17) {
            return self.do_mremap_in_batches(to, new_addr);
        }
        self.vma_lookup(to.mm, to.addr).ok_or(Errno::EFAULT)?;
        let named = to.flags & (remap::FIXED | remap::DONTUNMAP) != 0;
        if named { self.mremap_to(to, new_addr) } else { self.mremap_at(to) }
    }

    /// Shrinks, grows in place, or moves where there is room (`mremap_at`).
    fn mremap_at(&mut self, to: Move) -> Result<u64, Errno> {
        let Move { mm, addr, old_len, new_len, flags, .. } = to;
        if old_len >= new_len {
            if old_len > new_len {
                self.do_munmap(mm, addr + new_len, old_len - new_len)?;
            }
            return Ok(addr);
        }
        let vma = self.vma_to_resize(to)?;
        if old_len == self.vmas[vma].end - addr && self.vma_expandable(vma, new_len - old_len) {
            self.expand_in_place(vma, addr + old_len, new_len - old_len)?;
            self.populate_locked(mm, addr, old_len, new_len);
            return Ok(addr);
        }
        if flags & remap::MAYMOVE == 0 {
            let asked = new_len.saturating_sub(old_len) >> PAGE_SHIFT;
            return Err(self.refuse(Refused::NotHere { asked }));
        }
        let new_addr = self.get_unmapped_area(to.pid, mm, 0, new_len, 0)?;
        self.move_vma(vma, to, new_addr)
    }

    /// Moves to a place that was named, or keeps the old area (`mremap_to`).
    fn mremap_to(&mut self, to: Move, new_addr: u64) -> Result<u64, Errno> {
        let Move { mm, addr, new_len, flags, .. } = to;
        let mut to = to;
        if new_addr & (PAGE_SIZE - 1) != 0
            || new_len > self.layout.task_size
            || new_addr > self.layout.task_size - new_len
        {
            return Err(Errno::EINVAL);
        }
        if addr.saturating_add(to.old_len) > new_addr && new_addr + new_len > addr {
            return Err(Errno::EINVAL);
        }
        // Both ends may have to be split, and the move itself needs room for three.
        if self.mms[mm].vmas.len() as u64 + 2 >= self.sysctl.max_map_count.saturating_sub(3) {
            let (needed, most) = (self.mms[mm].vmas.len() as u64 + 6, self.sysctl.max_map_count);
            return Err(self.refuse(Refused::Areas { needed, most }));
        }
        if flags & remap::FIXED != 0 {
            self.do_munmap(mm, new_addr, new_len)?;
        }
        if to.old_len > new_len {
            self.do_munmap(mm, addr + new_len, to.old_len - new_len)?;
            to.old_len = new_len;
        }
        let vma = self.vma_to_resize(to)?;
        let area = self.vmas[vma].flags;
        if flags & remap::DONTUNMAP != 0 && !self.may_expand_vm(to.pid, mm, area, to.old_len >> PAGE_SHIFT) {
            return Err(self.refuse_growth(to.pid, mm, area, to.old_len >> PAGE_SHIFT));
        }
        let fixed = if flags & remap::FIXED != 0 { map::FIXED } else { 0 };
        let new_addr = self.get_unmapped_area(to.pid, mm, new_addr, new_len, fixed)?;
        self.move_vma(vma, to, new_addr)
    }

    /// The area, if it may be resized so (`vma_to_resize`).
    fn vma_to_resize(&mut self, to: Move) -> Result<VmaId, Errno> {
        let Move { pid, mm, addr, old_len, new_len, flags } = to;
        let id = self.vma_lookup(mm, addr).ok_or(Errno::EFAULT)?;
        let vma = &self.vmas[id];
        let fixed_size = vma.flags.any(VmFlags::DONTEXPAND.with(VmFlags::PFNMAP));
        if old_len == 0 && !vma.flags.any(VmFlags::SHARED.with(VmFlags::MAYSHARE)) {
            return Err(Errno::EINVAL);
        }
        if flags & remap::DONTUNMAP != 0 && fixed_size {
            return Err(Errno::EINVAL);
        }
        if old_len > vma.end - addr {
            return Err(Errno::EFAULT);
        }
        if new_len == old_len {
            return Ok(id);
        }
        let pgoff = ((addr - vma.start) >> PAGE_SHIFT) + vma.pgoff;
        if pgoff.checked_add(new_len >> PAGE_SHIFT).is_none() {
            return Err(Errno::EINVAL);
        }
        if fixed_size {
            return Err(Errno::EFAULT);
        }
        self.mlock_future_check(pid, mm, vma.flags, new_len - old_len)?;
        let (flags, more) = (vma.flags, (new_len - old_len) >> PAGE_SHIFT);
        if !self.may_expand_vm(pid, mm, flags, more) {
            return Err(self.refuse_growth(pid, mm, flags, more));
        }
        Ok(id)
    }

    /// Is there room behind an area? (`vma_expandable`)
    fn vma_expandable(&self, id: VmaId, delta: u64) -> bool {
        let vma = &self.vmas[id];
        let Some(end) = vma.end.checked_add(delta).filter(|end| *end <= self.layout.task_size) else {
            return false;
        };
        self.find_vma_intersection(vma.mm, vma.end, end).is_none()
    }

    /// Makes an area longer, and one with the next when they fit (`mremap`, the case of `vma_merge`).
    fn expand_in_place(&mut self, id: VmaId, start: u64, len: u64) -> Result<(), Errno> {
        let vma = &self.vmas[id];
        let (mm, flags, file, pages) = (vma.mm, vma.flags, vma.file, len >> PAGE_SHIFT);
        let pgoff = vma.pgoff + vma.pages();
        let new = NewArea { range: start..start + len, flags, file, pgoff, like: Some(id) };
        if flags.has(VmFlags::ACCOUNT) {
            self.vm_enough_memory(pages)?;
            self.committed_as += pages;
        }
        if self.vma_merge_new(mm, &new).is_none() {
            let (first, pgoff) = (self.vmas[id].start, self.vmas[id].pgoff);
            self.adjust_vma(id, first, start + len, pgoff);
        }
        self.vm_stat_account(mm, flags, pages as i64);
        if flags.has(VmFlags::LOCKED) {
            self.mms[mm].locked_vm += pages;
        }
        Ok(())
    }

    /// The new part of a locked mapping is faulted in.
    fn populate_locked(&mut self, mm: MmId, addr: u64, old_len: u64, new_len: u64) {
        let locked = self.vma_lookup(mm, addr).is_some_and(|id| self.vmas[id].flags.has(VmFlags::LOCKED));
        if locked && new_len > old_len {
            let _ = self.mm_populate(mm, addr + old_len, new_len - old_len, true);
        }
    }

    /// Makes the new area, moves the entries, and unmaps the old one unless it stays (`move_vma`).
    fn move_vma(&mut self, id: VmaId, to: Move, new_addr: u64) -> Result<u64, Errno> {
        let Move { mm, addr, old_len, new_len, flags, .. } = to;
        let keep = flags & remap::DONTUNMAP != 0;
        if self.mms[mm].vmas.len() as u64 >= self.sysctl.max_map_count.saturating_sub(3) {
            let (needed, most) = (self.mms[mm].vmas.len() as u64 + 4, self.sysctl.max_map_count);
            return Err(self.refuse(Refused::Areas { needed, most }));
        }
        let area = self.vmas[id].flags;
        let charge = if keep { new_len } else { new_len - old_len } >> PAGE_SHIFT;
        if area.has(VmFlags::ACCOUNT) {
            self.vm_enough_memory(charge)?;
            self.committed_as += charge;
        }
        let copied = self.copy_vma(id, addr, new_addr, new_len);
        if copied.is_err() && area.has(VmFlags::ACCOUNT) {
            self.committed_as -= charge;
        }
        let (id, new) = copied?;
        let moved = self.move_page_tables(id, addr, new, new_addr, old_len);
        self.vm_stat_account(mm, area, (new_len >> PAGE_SHIFT) as i64);
        if area.has(VmFlags::LOCKED) {
            self.mms[mm].locked_vm += new_len >> PAGE_SHIFT;
        }
        if let Err(done) = moved {
            // The tables they came from are still there: going back cannot fail.
            let back = self.move_page_tables(new, new_addr, id, addr, done);
            debug_assert!(back.is_ok());
            self.unmap_moved(mm, new_addr, new_len, area, new_len - old_len);
            return Err(Errno::ENOMEM);
        }
        if keep {
            self.keep_old(id, addr, old_len, area);
        } else if old_len > 0 {
            self.unmap_moved(mm, addr, old_len, area, 0);
        }
        self.populate_locked(mm, new_addr, old_len, new_len);
        Ok(new_addr)
    }

    /// The old area stays, without locks and without the anonymous pages that went (`MREMAP_DONTUNMAP`).
    fn keep_old(&mut self, id: VmaId, addr: u64, len: u64, area: VmFlags) {
        let vma = &mut self.vmas[id];
        vma.flags = vma.flags.without(VmFlags::LOCKED_MASK);
        let (mm, pages, whole) = (vma.mm, vma.pages(), vma.start == addr && vma.end == addr + len);
        if area.has(VmFlags::LOCKED) {
            self.mms[mm].locked_vm -= pages;
        }
        if whole {
            self.unlink_anon_vmas(id);
        }
    }

    /// Unmaps the side that lost its entries; what it was charged stays charged, but for `uncharge` bytes.
    fn unmap_moved(&mut self, mm: MmId, start: u64, len: u64, area: VmFlags, uncharge: u64) {
        let peak = self.mms[mm].hiwater_vm;
        let committed = self.committed_as;
        // Room for the pieces was made sure of before.
        let unmapped = self.do_munmap(mm, start, len);
        debug_assert!(unmapped.is_ok());
        if area.has(VmFlags::ACCOUNT) {
            self.committed_as = committed - (uncharge >> PAGE_SHIFT);
        }
        self.mms[mm].hiwater_vm = peak;
    }

    /// An area like the old one at the new place, merged with its neighbours there (`copy_vma`); the old area, which may
    /// have become part of the new one, and the new area.
    fn copy_vma(&mut self, id: VmaId, addr: u64, new_addr: u64, len: u64) -> Result<(VmaId, VmaId), Errno> {
        let old = &self.vmas[id];
        let (mm, flags) = (old.mm, old.flags);
        let mut pgoff = old.pgoff + ((addr - old.start) >> PAGE_SHIFT);
        if old.is_private_anonymous() && old.anon_vma.is_none() {
            // Nothing was faulted in yet: the offset of the new place merges better.
            pgoff = new_addr >> PAGE_SHIFT;
        }
        let old_start = old.start;
        let range = new_addr..new_addr + len;
        let new = NewArea { range, flags, file: old.file, pgoff, like: Some(id) };
        if let Some(new) = self.vma_merge_new(mm, &new) {
            let swallowed = self.vmas[new].start <= old_start && old_start < self.vmas[new].end;
            return Ok((if swallowed { new } else { id }, new));
        }
        let mut copy = self.vmas[id].clone();
        (copy.start, copy.end, copy.pgoff) = (new_addr, new_addr + len, pgoff);
        (copy.anon_vma, copy.chain) = (None, Vec::new());
        let new = self.vm_area_alloc(copy)?;
        self.anon_vma_inherit(new, id);
        Ok((id, new))
    }
}
