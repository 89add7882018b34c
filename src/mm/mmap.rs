//! Changing an address space: mmap, munmap, brk, and what they may commit.
//!
//! Gorman 4.4, 4.5. Kernel: `mm/mmap.c`, `mm/util.c`.
//! Fidelity: faithful — merge with both neighbours, top-down search with guard gaps, overcommit modes, limits,
//! accounting. Absent — hugetlbfs.

mod brk;
mod munmap;
mod unmapped_area;

pub(crate) use unmapped_area::STACK_GUARD_GAP;

use crate::mm::addr::{PAGE_SHIFT, PAGE_SIZE, VirtAddr};
use crate::mm::augmented::Area;
use crate::mm::errno::Errno;
use crate::mm::fs::{MAX_BYTES, MapFile};
use crate::mm::machine::Machine;
use crate::mm::refused::Refused;
use crate::mm::task::{MmId, Pid};
use crate::mm::vma::{NewArea, VmFlags, Vma, VmaId, page_align};
use crate::mm::vmstat::ZoneStat;
use std::ops::Range;

/// `prot` of mmap and mprotect.
pub mod prot {
    #![allow(missing_docs)]
    pub const NONE: u64 = 0;
    pub const READ: u64 = 1;
    pub const WRITE: u64 = 2;
    pub const EXEC: u64 = 4;
    pub const SEM: u64 = 8;
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

/// The areas below and above a place, if there are any.
type Neighbours = (Option<Area>, Option<Area>);

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
        self.do_mmap(pid, addr, len, prot, flags, None)
    }

    /// Maps pages of a file (`mmap` with a descriptor); the first address.
    ///
    /// # Errors
    /// As [`Machine::mmap`]; `EACCES` when the descriptor does not allow it, `EOVERFLOW` beyond the last page a file can
    /// have, `EOPNOTSUPP` for flags that `MAP_SHARED_VALIDATE` does not know.
    pub fn mmap_file(
        &mut self,
        pid: Pid,
        addr: VirtAddr,
        len: u64,
        prot: u64,
        flags: u64,
        file: impl Into<MapFile>,
    ) -> Result<VirtAddr, Errno> {
        self.do_mmap(pid, addr, len, prot, flags & !map::ANONYMOUS, Some(file.into()))
    }

    fn do_mmap(
        &mut self,
        pid: Pid,
        addr: VirtAddr,
        len: u64,
        prot: u64,
        flags: u64,
        file: Option<MapFile>,
    ) -> Result<VirtAddr, Errno> {
        let mm = self.mm_of(pid)?;
        if flags & map::ANONYMOUS == 0 && file.is_none() {
            return Err(Errno::EBADF);
        }
        if len == 0 {
            return Err(Errno::EINVAL);
        }
        if flags & map::HUGETLB != 0 {
            // There is no pool of persistent huge pages to take them from, and no file of hugetlbfs.
            return Err(if file.is_some() { Errno::EINVAL } else { self.refuse(Refused::NoHugePages) });
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
        let pages = page_align(len).filter(|len| *len > 0);
        let len = pages.ok_or_else(|| self.refuse(Refused::Wraps { at: hint, len }))?;
        let last = file.map_or(0, |file| file.pgoff).checked_add(len >> PAGE_SHIFT);
        if last.is_none_or(|last| file.is_some() && last > MAX_BYTES >> PAGE_SHIFT) {
            return Err(Errno::EOVERFLOW);
        }
        if self.mms[mm].vmas.len() as u64 > self.sysctl.max_map_count {
            let (needed, most) = (self.mms[mm].vmas.len() as u64 + 1, self.sysctl.max_map_count);
            return Err(self.refuse(Refused::Areas { needed, most }));
        }
        let start = match self.get_unmapped_area(pid, mm, hint, len, flags) {
            Err(Errno::ENOMEM) => return Err(self.refuse(Refused::Room { asked: len >> PAGE_SHIFT })),
            found => found?,
        };
        if flags & map::FIXED_NOREPLACE != 0 && self.find_vma_intersection(mm, start, start + len).is_some() {
            return Err(Errno::EEXIST);
        }
        let vm_flags = self.mmap_flags(mm, prot, flags, file)?;
        if flags & map::LOCKED != 0 && !self.can_do_mlock(pid) {
            return Err(Errno::EPERM);
        }
        self.mlock_future_check(pid, mm, vm_flags, len)?;
        let result = self.as_task(pid, |m| match file {
            Some(map) => m.with_file(map.id, |m| m.mmap_region(pid, mm, start, len, vm_flags, file)),
            None => m.mmap_region(pid, mm, start, len, vm_flags, file),
        })?;
        let populate = flags & (map::POPULATE | map::NONBLOCK) == map::POPULATE;
        if populate || vm_flags.has(VmFlags::LOCKED) {
            // A page that cannot be had now comes at its first use: that is no error.
            let _ = self.as_task(pid, |m| m.mm_populate(mm, start, len, true));
            self.die_if_killed(pid);
        }
        Ok(result)
    }

    /// The area's flags from `prot`, `flags` and what the descriptor allows.
    fn mmap_flags(&self, mm: MmId, prot: u64, flags: u64, file: Option<MapFile>) -> Result<VmFlags, Errno> {
        let mut vm = VmFlags(prot & 7).with(VmFlags::MAY_ALL).with(self.mms[mm].def_flags);
        let shared = match flags & map::TYPE {
            map::SHARED => true,
            map::PRIVATE => false,
            map::SHARED_VALIDATE if file.is_some() => true,
            _ => return Err(Errno::EINVAL),
        };
        // Only private memory without a file is a stack.
        if flags & map::GROWSDOWN != 0 && shared && file.is_none() {
            return Err(Errno::EINVAL);
        }
        if shared {
            vm = vm.with(VmFlags::SHARED).with(VmFlags::MAYSHARE);
        }
        if let Some(file) = file {
            if shared && prot & prot::WRITE != 0 && !file.mode.write {
                return Err(Errno::EACCES);
            }
            if shared && !file.mode.write {
                vm = vm.without(VmFlags::MAYWRITE.with(VmFlags::SHARED));
            }
            if !file.mode.read {
                return Err(Errno::EACCES);
            }
            if flags & map::GROWSDOWN != 0 {
                return Err(Errno::EINVAL);
            }
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
        file: Option<MapFile>,
    ) -> Result<VirtAddr, Errno> {
        let pages = len >> PAGE_SHIFT;
        let end = start + len;
        if !self.may_expand_vm(pid, mm, flags, pages) {
            // What is mapped there already goes first.
            let replaced = self.mapped_pages(mm, start, end);
            let more = pages - replaced.min(pages);
            if !self.may_expand_vm(pid, mm, flags, more) {
                return Err(self.refuse_growth(pid, mm, flags, more));
            }
        }
        let mut neighbours = self.mms[mm].vmas.around(start);
        if neighbours.0.is_some_and(|below| below.end > start)
            || neighbours.1.is_some_and(|above| above.start < end)
        {
            self.do_munmap(mm, start, len)?;
            neighbours = self.mms[mm].vmas.around(start);
        }
        let mut flags = flags;
        if is_accountable(flags) {
            self.vm_enough_memory(pages)?;
            flags = flags.with(VmFlags::ACCOUNT);
            self.committed_as += pages;
        }
        let (file, pgoff) = match file {
            Some(file) => (Some(file.id), file.pgoff),
            // Shared memory without a file gets one of the kernel's own.
            None if flags.has(VmFlags::SHARED) => (Some(self.shmem_zero_setup(len, flags)?), 0),
            None => (None, start >> PAGE_SHIFT),
        };
        let area = NewArea { range: start..end, flags, file, pgoff, like: None };
        let id = match self.expand_neighbour(mm, &area, neighbours) {
            Some(id) => id,
            None => {
                let mut vma = Vma::new(mm, start..end, flags, pgoff);
                if let Some(file) = file {
                    vma.file = Some(file);
                    vma.writenotify = self.files[file].can_writeback();
                }
                let made = self.vm_area_alloc(vma);
                if made.is_err() {
                    self.committed_as -= if flags.has(VmFlags::ACCOUNT) { pages } else { 0 };
                    // The kernel's own file has nobody else.
                    file.into_iter().for_each(|file| self.fput(file));
                }
                made?
            }
        };
        self.mark_soft_dirty(id);
        self.vm_stat_account(mm, flags, pages as i64);
        if flags.has(VmFlags::LOCKED) {
            self.mms[mm].locked_vm += pages;
        }
        Ok(VirtAddr(start))
    }

    /// A new or grown area counts as changed, on kernels that keep track (`VM_SOFTDIRTY`).
    fn mark_soft_dirty(&mut self, id: VmaId) {
        if self.config.arch.has_soft_dirty() {
            let flags = &mut self.vmas[id].flags;
            *flags = flags.with(VmFlags::SOFTDIRTY);
        }
    }

    /// Lets a neighbour grow over `start..end`: the next one is asked first, as in 6.1 (`mmap_region`, `vma_expand`).
    fn expand_neighbour(&mut self, mm: MmId, new: &NewArea, (below, above): Neighbours) -> Option<VmaId> {
        let NewArea { range: Range { start, end }, flags, file, pgoff, .. } = *new;
        if flags.any(VmFlags::SPECIAL) {
            return None;
        }
        // Since 6.12 a new mapping is merged as mremap always did it: when both neighbours fit but not each other, the
        // previous one grows.
        if self.config.kernel_since(6, 12) {
            return self.vma_merge_new(mm, new);
        }
        let pages = (end - start) >> PAGE_SHIFT;
        let prev = below.filter(|below| below.end == start).map(|below| below.id);
        let next = above.filter(|above| above.start == end).map(|above| above.id);
        let next = next.filter(|n| self.can_merge_before(*n, flags, None, file, pgoff + pages));
        let anon = next.and_then(|n| self.vmas[n].anon_vma);
        let prev = prev.filter(|p| self.can_merge_after(*p, flags, anon, file, pgoff));
        match (prev, next) {
            (Some(prev), next) => {
                self.extend_vma(prev, end);
                if let Some(next) = next {
                    self.take_in(prev, &[next]);
                }
                Some(prev)
            }
            (None, Some(next)) => {
                let n_end = self.vmas[next].end;
                self.adjust_vma(next, start, n_end, pgoff);
                Some(next)
            }
            (None, None) => None,
        }
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
        fits(mm.total_vm, limits.address_space) && (!flags.is_data() || fits(mm.data_vm, limits.data))
    }

    /// Counts pages of an area by what it is for (`vm_stat_account`).
    pub(crate) fn vm_stat_account(&mut self, mm: MmId, flags: VmFlags, pages: i64) {
        let mm = &mut self.mms[mm];
        mm.total_vm = mm.total_vm.wrapping_add_signed(pages);
        mm.hiwater_vm = mm.hiwater_vm.max(mm.total_vm);
        if let Some(count) = mm.count_of(flags) {
            *count = count.wrapping_add_signed(pages);
        }
    }

    /// Pages of a kind in all zones.
    pub fn zone_stat(&self, item: ZoneStat) -> u64 {
        self.zones.iter().map(|z| z.stat(item)).sum()
    }
}

/// Is the mapping counted as committed? (`accountable_mapping`)
fn is_accountable(flags: VmFlags) -> bool {
    !flags.any(VmFlags(VmFlags::NORESERVE.0 | VmFlags::SHARED.0 | VmFlags::HUGETLB.0))
        && flags.has(VmFlags::WRITE)
}
