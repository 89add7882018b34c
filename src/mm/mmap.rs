//! Changing an address space: mmap, munmap, mprotect, brk, and what they may commit.
//!
//! Gorman 4.4, 4.5. Kernel: `mm/mmap.c`, `mm/mprotect.c`, `mm/util.c`.
//! Fidelity: faithful — merge with both neighbours, top-down search with guard gaps, overcommit modes, limits,
//! accounting. Absent — files, huge pages, mremap, madvise, mlock (they come with the address spaces).

use crate::mm::addr::{PAGE_SHIFT, PAGE_SIZE, VirtAddr};
use crate::mm::errno::Errno;
use crate::mm::machine::Machine;
use crate::mm::pgtable::Pte;
use crate::mm::task::{MmId, Pid};
use crate::mm::vma::{SwapRa, VmFlags, Vma, VmaId, VmaName, page_align};
use crate::mm::vmstat::ZoneStat;

/// Free pages below a stack (`stack_guard_gap`).
const STACK_GUARD_GAP: u64 = 256 * PAGE_SIZE;

/// `prot` of mmap and mprotect.
pub mod prot {
    #![allow(missing_docs)]
    pub const NONE: u64 = 0;
    pub const READ: u64 = 1;
    pub const WRITE: u64 = 2;
    pub const EXEC: u64 = 4;
    pub const GROWSDOWN: u64 = 0x0100_0000;
    pub const GROWSUP: u64 = 0x0200_0000;
}

/// `flags` of mmap.
pub mod map {
    #![allow(missing_docs)]
    pub const SHARED: u64 = 0x01;
    pub const PRIVATE: u64 = 0x02;
    pub const SHARED_VALIDATE: u64 = 0x03;
    pub const TYPE: u64 = 0x0f;
    pub const FIXED: u64 = 0x10;
    pub const ANONYMOUS: u64 = 0x20;
    pub const GROWSDOWN: u64 = 0x0100;
    pub const LOCKED: u64 = 0x2000;
    pub const NORESERVE: u64 = 0x4000;
    pub const POPULATE: u64 = 0x8000;
    pub const NONBLOCK: u64 = 0x1_0000;
    pub const STACK: u64 = 0x2_0000;
    pub const HUGETLB: u64 = 0x4_0000;
    pub const FIXED_NOREPLACE: u64 = 0x10_0000;
}

impl Machine {
    /// Maps anonymous memory into a task's address space (`mmap`); the first address.
    ///
    /// # Errors
    /// `EINVAL` for a length of 0, a misaligned fixed address or wrong flags; `ENOMEM` beyond the address space, the
    /// number of areas, a limit or what may be committed; `EEXIST` for `MAP_FIXED_NOREPLACE`; `ESRCH`.
    pub fn mmap(
        &mut self,
        pid: Pid,
        addr: VirtAddr,
        len: u64,
        prot: u64,
        flags: u64,
    ) -> Result<VirtAddr, Errno> {
        let mm = self.mm_of(pid)?;
        if len == 0 {
            return Err(Errno::EINVAL);
        }
        let mut flags = flags;
        if flags & map::FIXED_NOREPLACE != 0 {
            flags |= map::FIXED;
        }
        let mut hint = addr.0;
        if flags & map::FIXED == 0 {
            hint &= !(PAGE_SIZE - 1);
            if hint > 0 && hint < self.sysctl.mmap_min_addr {
                hint = page_align(self.sysctl.mmap_min_addr).unwrap_or(hint);
            }
        }
        let len = page_align(len).filter(|len| *len > 0).ok_or(Errno::ENOMEM)?;
        if self.mms[mm].vmas.len() as u64 > self.sysctl.max_map_count {
            return Err(Errno::ENOMEM);
        }
        let start = self.get_unmapped_area(mm, hint, len, flags)?;
        if flags & map::FIXED_NOREPLACE != 0 && self.find_vma_intersection(mm, start, start + len).is_some() {
            return Err(Errno::EEXIST);
        }
        let vm_flags = self.mmap_flags(mm, prot, flags)?;
        self.as_task(pid, |m| m.mmap_region(pid, mm, start, len, vm_flags))
    }

    /// The area's flags from `prot` and `flags`.
    fn mmap_flags(&self, mm: MmId, prot: u64, flags: u64) -> Result<VmFlags, Errno> {
        let mut vm = VmFlags(prot & 7).with(VmFlags::MAY_ALL).with(self.mms[mm].def_flags);
        if flags & map::ANONYMOUS == 0 {
            return Err(Errno::EBADF);
        }
        match flags & map::TYPE {
            map::SHARED => vm = vm.with(VmFlags::SHARED).with(VmFlags::MAYSHARE),
            map::PRIVATE => {}
            _ => return Err(Errno::EINVAL),
        }
        if flags & map::GROWSDOWN != 0 {
            vm = vm.with(VmFlags::GROWSDOWN);
        }
        if flags & map::LOCKED != 0 {
            vm = vm.with(VmFlags::LOCKED);
        }
        // In mode 2 nobody is excused from accounting.
        if flags & map::NORESERVE != 0 && self.sysctl.overcommit_memory != 2 {
            vm = vm.with(VmFlags::NORESERVE);
        }
        Ok(vm)
    }

    /// Puts a mapping in place, joining it to its neighbours if it can (`mmap_region`).
    fn mmap_region(
        &mut self,
        pid: Pid,
        mm: MmId,
        start: u64,
        len: u64,
        flags: VmFlags,
    ) -> Result<VirtAddr, Errno> {
        let pages = len >> PAGE_SHIFT;
        let end = start + len;
        let replaced = self.mapped_pages(mm, start, end);
        if !self.may_expand_vm(pid, mm, flags, pages - replaced.min(pages)) {
            return Err(Errno::ENOMEM);
        }
        self.do_munmap(mm, start, len)?;
        let mut flags = flags;
        if is_accountable(flags) {
            self.vm_enough_memory(pages)?;
            flags = flags.with(VmFlags::ACCOUNT);
            self.committed_as += pages;
        }
        let pgoff = start >> PAGE_SHIFT;
        if !self.expand_neighbour(mm, start, end, flags, pgoff) {
            let name = VmaName::None;
            let vma = Vma {
                mm,
                start,
                end,
                flags,
                pgoff,
                anon_vma: None,
                chain: Vec::new(),
                name,
                swap_ra: SwapRa::default(),
            };
            self.insert_vma(vma);
        }
        self.mark_soft_dirty(mm, start);
        self.vm_stat_account(mm, flags, pages as i64);
        if flags.has(VmFlags::LOCKED) {
            self.mms[mm].locked_vm += pages;
        }
        Ok(VirtAddr(start))
    }

    /// A new or grown area counts as changed, on kernels that keep track (`VM_SOFTDIRTY`).
    fn mark_soft_dirty(&mut self, mm: MmId, start: u64) {
        if let Some(id) = self.find_vma(mm, VirtAddr(start)).filter(|_| self.config.arch.has_soft_dirty()) {
            let flags = &mut self.vmas[id].flags;
            *flags = flags.with(VmFlags::SOFTDIRTY);
        }
    }

    /// Lets a neighbour grow over `start..end`: the next one is asked first, as in 6.1 (`mmap_region`, `vma_expand`).
    fn expand_neighbour(&mut self, mm: MmId, start: u64, end: u64, flags: VmFlags, pgoff: u64) -> bool {
        if flags.any(VmFlags::SPECIAL) {
            return false;
        }
        let pages = (end - start) >> PAGE_SHIFT;
        let next = self.mms[mm].vmas.get(&end).copied();
        let next = next.filter(|n| self.can_merge_before(*n, flags, None, pgoff + pages));
        let anon = next.and_then(|n| self.vmas[n].anon_vma);
        let prev = self.find_vma_prev(mm, start).filter(|p| self.vmas[*p].end == start);
        let prev = prev.filter(|p| self.can_merge_after(*p, flags, anon, pgoff));
        match (prev, next) {
            (Some(prev), next) => {
                let (p_start, p_off) = (self.vmas[prev].start, self.vmas[prev].pgoff);
                let new_end = next.map_or(end, |n| self.vmas[n].end);
                if let Some(next) = next {
                    self.inherit_anon(prev, &[next]);
                    self.remove_vma(next);
                }
                self.adjust_vma(prev, p_start, new_end, p_off);
                true
            }
            (None, Some(next)) => {
                let n_end = self.vmas[next].end;
                self.adjust_vma(next, start, n_end, pgoff);
                true
            }
            (None, None) => false,
        }
    }

    /// Finds room for a mapping: the hint, else from the top down (`get_unmapped_area`).
    pub(crate) fn get_unmapped_area(&self, mm: MmId, hint: u64, len: u64, flags: u64) -> Result<u64, Errno> {
        if len > self.layout.task_size {
            return Err(Errno::ENOMEM);
        }
        if flags & map::FIXED != 0 {
            if hint > self.layout.task_size - len {
                return Err(Errno::ENOMEM);
            }
            if hint & (PAGE_SIZE - 1) != 0 {
                return Err(Errno::EINVAL);
            }
            return if hint < self.sysctl.mmap_min_addr { Err(Errno::EPERM) } else { Ok(hint) };
        }
        if hint != 0
            && hint <= self.layout.task_size - len
            && hint >= self.sysctl.mmap_min_addr
            && self.is_room(mm, hint, len)
        {
            return Ok(hint);
        }
        self.unmapped_area_topdown(mm, len).or_else(|| self.unmapped_area(mm, len)).ok_or(Errno::ENOMEM)
    }

    /// Free, and not too near below a stack?
    fn is_room(&self, mm: MmId, start: u64, len: u64) -> bool {
        let next = self.find_vma(mm, VirtAddr(start));
        let prev = self.find_vma_prev(mm, start);
        next.is_none_or(|n| start + len <= self.gap_start(n))
            && prev.is_none_or(|p| start >= self.vmas[p].end)
    }

    /// Where the free room below an area ends: a stack keeps its guard gap (`vm_start_gap`).
    fn gap_start(&self, id: VmaId) -> u64 {
        let vma = &self.vmas[id];
        if vma.flags.has(VmFlags::GROWSDOWN) { vma.start.saturating_sub(STACK_GUARD_GAP) } else { vma.start }
    }

    /// The highest room below `mmap_base` (`unmapped_area_topdown`).
    fn unmapped_area_topdown(&self, mm: MmId, len: u64) -> Option<u64> {
        if self.sysctl.legacy_va_layout == 1 {
            return None;
        }
        let base = self.mms[mm].mmap_base;
        let mut top = base;
        for id in self.mms[mm].vmas.range(..base).rev().map(|(_, id)| *id) {
            let vma = &self.vmas[id];
            if vma.end <= top && top - vma.end >= len {
                return Some(top - len);
            }
            top = top.min(self.gap_start(id));
        }
        let least = self.sysctl.mmap_min_addr;
        (top >= least && top - least >= len).then(|| top - len)
    }

    /// The lowest room above a third of the address space (`unmapped_area`).
    fn unmapped_area(&self, mm: MmId, len: u64) -> Option<u64> {
        let mut at = page_align(self.layout.legacy_base)?;
        for id in self.mms[mm].vmas.range(..).map(|(_, id)| *id) {
            if self.vmas[id].end <= at {
                continue;
            }
            if self.gap_start(id) >= at && self.gap_start(id) - at >= len {
                return Some(at);
            }
            at = at.max(self.vmas[id].end);
        }
        (self.layout.task_size - at >= len).then_some(at)
    }

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
        let Some(first) = self.find_vma_intersection(mm, start, end) else { return Ok(()) };
        if self.vmas[first].start < start {
            // Cutting a hole makes one area more than there was.
            if end < self.vmas[first].end && self.mms[mm].vmas.len() as u64 >= self.sysctl.max_map_count {
                return Err(Errno::ENOMEM);
            }
            self.cut_vma(first, start);
        }
        if let Some(last) = self
            .find_vma(mm, VirtAddr(end - 1))
            .filter(|id| self.vmas[*id].start < end && self.vmas[*id].end > end)
        {
            self.cut_vma(last, end);
        }
        let areas = self.areas_in(mm, start, end);
        for id in &areas {
            self.zap_range(*id, self.vmas[*id].start, self.vmas[*id].end);
        }
        let floor = self.find_vma_prev(mm, start).map_or(0, |p| self.vmas[p].end);
        let ceiling = self.mms[mm].vmas.range(end..).next().map_or(u64::MAX, |(s, _)| *s);
        self.free_pgtables(mm, start..end, floor, ceiling);
        for id in areas {
            self.forget_area(id);
        }
        Ok(())
    }

    /// Takes an empty area out of the accounts and away.
    fn forget_area(&mut self, id: VmaId) {
        let vma = &self.vmas[id];
        let (mm, flags, pages) = (vma.mm, vma.flags, vma.pages());
        self.vm_stat_account(mm, flags, -(pages as i64));
        if flags.has(VmFlags::ACCOUNT) {
            self.committed_as -= pages;
        }
        if flags.has(VmFlags::LOCKED) {
            self.mms[mm].locked_vm -= pages;
        }
        self.remove_vma(id);
    }

    /// Changes what a range allows (`mprotect`).
    ///
    /// # Errors
    /// `EINVAL` for a misaligned address, `ENOMEM` for a hole in the range (what lies before it is changed) or too many
    /// areas, `ESRCH`.
    pub fn mprotect(&mut self, pid: Pid, addr: VirtAddr, len: u64, prot: u64) -> Result<(), Errno> {
        let mm = self.mm_of(pid)?;
        if !addr.is_aligned() {
            return Err(Errno::EINVAL);
        }
        if len == 0 {
            return Ok(());
        }
        let end = page_align(len).and_then(|len| addr.0.checked_add(len)).ok_or(Errno::ENOMEM)?;
        if prot & !7 != 0 {
            return Err(Errno::EINVAL);
        }
        let mut at = addr.0;
        while at < end {
            let found = self.find_vma(mm, VirtAddr(at)).filter(|id| self.vmas[*id].start <= at);
            let Some(id) = found else { return Err(Errno::ENOMEM) };
            let stop = self.vmas[id].end.min(end);
            let flags = self.vmas[id].flags.without(VmFlags::ACCESS).with(VmFlags(prot));
            if flags.0 & !(flags.0 >> 4) & 7 != 0 {
                return Err(Errno::EACCES);
            }
            self.mprotect_fixup(id, at, stop, flags)?;
            at = stop;
        }
        Ok(())
    }

    /// Changes one area's part: accounts, merges or splits, then the entries (`mprotect_fixup`).
    fn mprotect_fixup(&mut self, id: VmaId, start: u64, end: u64, flags: VmFlags) -> Result<(), Errno> {
        let old = self.vmas[id].flags;
        if flags == old {
            return Ok(());
        }
        let mm = self.vmas[id].mm;
        let pages = (end - start) >> PAGE_SHIFT;
        let mut flags = flags;
        // A private mapping that becomes writable is charged from now on.
        if flags.has(VmFlags::WRITE)
            && !old.any(VmFlags(
                VmFlags::ACCOUNT.0 | VmFlags::WRITE.0 | VmFlags::SHARED.0 | VmFlags::NORESERVE.0,
            ))
        {
            self.vm_enough_memory(pages)?;
            flags = flags.with(VmFlags::ACCOUNT);
            self.committed_as += pages;
        }
        let undo = |m: &mut Machine| {
            if flags.has(VmFlags::ACCOUNT) && !old.has(VmFlags::ACCOUNT) {
                m.committed_as -= pages;
            }
        };
        if self.vma_merge(id, start, end, flags).is_none() {
            let mut id = id;
            if start > self.vmas[id].start {
                id = match self.split_vma(id, start) {
                    Ok(upper) => upper,
                    Err(e) => {
                        undo(self);
                        return Err(e);
                    }
                };
            }
            if end < self.vmas[id].end
                && let Err(e) = self.split_vma(id, end)
            {
                undo(self);
                return Err(e);
            }
            self.vmas[id].flags = flags;
        }
        self.change_protection(mm, start, end, flags);
        self.vm_stat_account(mm, old, -(pages as i64));
        self.vm_stat_account(mm, flags, pages as i64);
        Ok(())
    }

    /// Rewrites the bits of present entries (`change_protection`).
    pub(crate) fn change_protection(&mut self, mm: MmId, start: u64, end: u64, flags: VmFlags) {
        const KEEP: u64 = Pte::ACCESSED | Pte::DIRTY | Pte::SOFT_DIRTY | Pte::SPECIAL;
        let pgd = self.mms[mm].pgd;
        let prot = flags.page_prot();
        let mut changed = false;
        let mut at = start;
        while at < end {
            let next = (((at >> 21) + 1) << 21).min(end);
            if let Some(leaf) = self.tables.leaf(pgd, VirtAddr(at)) {
                for addr in (at..next).step_by(PAGE_SIZE as usize) {
                    let pte =
                        Pte(self.tables.get(leaf).entries[crate::mm::pgtable::index(VirtAddr(addr), 0)]);
                    if pte.is_present() {
                        // An exclusive page that was written may be written again without a fault.
                        let exclusive = !pte.has(Pte::SPECIAL)
                            && self.mem_map.page(pte.pfn()).is(crate::mm::page::PageFlags::EXCLUSIVE);
                        let writable = flags.has(VmFlags::WRITE)
                            && exclusive
                            && pte.has(Pte::DIRTY)
                            && prot & Pte::PRESENT != 0;
                        let rw = if writable && pte.has(Pte::RW) { Pte::RW } else { 0 };
                        let new = Pte::new(pte.pfn(), prot & !Pte::ACCESSED | pte.0 & KEEP | rw);
                        changed |= new != pte;
                        self.tables.set(leaf, VirtAddr(addr), new);
                    }
                }
            }
            at = next;
        }
        if changed {
            self.flush_tlb_mm();
        }
    }

    /// Moves the end of the heap (`brk`); the new end, or the old one when it cannot move.
    ///
    /// # Errors
    /// `ESRCH`.
    pub fn brk(&mut self, pid: Pid, addr: VirtAddr) -> Result<VirtAddr, Errno> {
        let mm = self.mm_of(pid)?;
        let (start, old) = (self.mms[mm].start_brk, self.mms[mm].brk);
        let unchanged = Ok(VirtAddr(old));
        if addr.0 < start || addr.0 > self.layout.task_size {
            return unchanged;
        }
        let (Some(new_end), Some(old_end)) = (page_align(addr.0), page_align(old)) else { return unchanged };
        if new_end < old_end {
            if self.as_task(pid, |m| m.do_munmap(mm, new_end, old_end - new_end)).is_err() {
                return unchanged;
            }
        } else if new_end > old_end {
            // A stack above keeps its guard gap; anything else must not be touched.
            let room = self.find_vma(mm, VirtAddr(old_end)).is_none_or(|n| new_end <= self.gap_start(n));
            let data = self.tasks[&pid].rlimits.data;
            if !room || addr.0 - start > data || self.grow_brk(pid, mm, old_end, new_end - old_end).is_err() {
                return unchanged;
            }
        }
        self.mms[mm].brk = addr.0;
        Ok(addr)
    }

    fn grow_brk(&mut self, pid: Pid, mm: MmId, start: u64, len: u64) -> Result<(), Errno> {
        let flags = VmFlags(3).with(VmFlags::MAY_ALL).with(VmFlags::ACCOUNT).with(self.mms[mm].def_flags);
        let pages = len >> PAGE_SHIFT;
        if !self.may_expand_vm(pid, mm, flags, pages)
            || self.mms[mm].vmas.len() as u64 > self.sysctl.max_map_count
        {
            return Err(Errno::ENOMEM);
        }
        self.as_task(pid, |m| m.vm_enough_memory(pages))?;
        self.committed_as += pages;
        if !self.expand_neighbour(mm, start, start + len, flags, start >> PAGE_SHIFT) {
            let (end, pgoff) = (start + len, start >> PAGE_SHIFT);
            let vma = Vma {
                mm,
                start,
                end,
                flags,
                pgoff,
                anon_vma: None,
                chain: Vec::new(),
                name: VmaName::None,
                swap_ra: SwapRa::default(),
            };
            self.insert_vma(vma);
        }
        self.mark_soft_dirty(mm, start);
        self.vm_stat_account(mm, flags, pages as i64);
        Ok(())
    }

    /// Pages of areas inside a range.
    fn mapped_pages(&self, mm: MmId, start: u64, end: u64) -> u64 {
        let inside =
            |id: &VmaId| (self.vmas[*id].end.min(end) - self.vmas[*id].start.max(start)) >> PAGE_SHIFT;
        self.areas_in(mm, start, end).iter().map(inside).sum()
    }

    /// Do the limits allow so many pages more? (`may_expand_vm`)
    pub(crate) fn may_expand_vm(&self, pid: Pid, mm: MmId, flags: VmFlags, pages: u64) -> bool {
        let limits = &self.tasks[&pid].rlimits;
        let mm = &self.mms[mm];
        let fits = |have: u64, limit: u64| limit == u64::MAX || have + pages <= limit >> PAGE_SHIFT;
        fits(mm.total_vm, limits.address_space) && (!is_data_mapping(flags) || fits(mm.data_vm, limits.data))
    }

    /// Counts pages of an area by what it is for (`vm_stat_account`).
    pub(crate) fn vm_stat_account(&mut self, mm: MmId, flags: VmFlags, pages: i64) {
        let mm = &mut self.mms[mm];
        mm.total_vm = mm.total_vm.wrapping_add_signed(pages);
        mm.hiwater_vm = mm.hiwater_vm.max(mm.total_vm);
        if flags.has(VmFlags::EXEC) && !flags.any(VmFlags(VmFlags::WRITE.0 | VmFlags::GROWSDOWN.0)) {
            mm.exec_vm = mm.exec_vm.wrapping_add_signed(pages);
        } else if flags.has(VmFlags::GROWSDOWN) {
            mm.stack_vm = mm.stack_vm.wrapping_add_signed(pages);
        } else if is_data_mapping(flags) {
            mm.data_vm = mm.data_vm.wrapping_add_signed(pages);
        }
    }

    /// Pages of a kind in all zones.
    pub fn zone_stat(&self, item: ZoneStat) -> u64 {
        self.zones.iter().map(|z| z.stat(item)).sum()
    }
}

/// Private, writable, and no stack (`is_data_mapping`).
fn is_data_mapping(flags: VmFlags) -> bool {
    flags.has(VmFlags::WRITE) && !flags.any(VmFlags(VmFlags::SHARED.0 | VmFlags::GROWSDOWN.0))
}

/// Is the mapping counted as committed? (`accountable_mapping`)
fn is_accountable(flags: VmFlags) -> bool {
    !flags.any(VmFlags(VmFlags::NORESERVE.0 | VmFlags::SHARED.0 | VmFlags::HUGETLB.0))
        && flags.has(VmFlags::WRITE)
}
