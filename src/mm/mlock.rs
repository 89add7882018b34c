//! Locked memory: areas whose pages stay, and the pages themselves.
//!
//! ```text
//!   mlock(addr, len)     flags of the areas ── split, merge ──► pages that are there: mlocked, unevictable
//!                        then the rest is faulted in (mm_populate)
//!   mlockall(FUTURE)     flags for areas that do not exist yet (def_flags)
//! ```
//!
//! Gorman 4.4.4. Kernel: `mm/mlock.c`.
//! Fidelity: faithful — limits, order of checks, partial effects, populate, on-fault locks. Simplified — a page is
//! unlocked when no other locked area maps it; the kernel counts locks and may leave one behind.

use crate::mm::addr::{PAGE_SHIFT, PAGE_SIZE, Pfn, VirtAddr};
use crate::mm::errno::Errno;
use crate::mm::lru::Lru;
use crate::mm::machine::Machine;
use crate::mm::page::PageFlags;
use crate::mm::pgtable::{Pte, index};
use crate::mm::refused::Refused;
use crate::mm::task::{MmId, Pid};
use crate::mm::vma::{VmFlags, VmaId, page_align};
use crate::mm::vmstat::{VmEvent, ZoneStat};

/// `flags` of mlockall and mlock2.
pub mod mcl {
    #![allow(missing_docs)]
    pub const CURRENT: u64 = 1;
    pub const FUTURE: u64 = 2;
    pub const ONFAULT: u64 = 4;
    /// Of mlock2: `MLOCK_ONFAULT`.
    pub const MLOCK_ONFAULT: u64 = 1;
}

impl Machine {
    /// Keeps a range in memory (`mlock`).
    ///
    /// # Errors
    /// `EPERM` when the limit is 0, `ENOMEM` beyond the limit, for a hole (what lies before it is locked) or where no
    /// page can be had, `EAGAIN` without memory, `EINVAL` when the range wraps, `ESRCH`.
    pub fn mlock(&mut self, pid: Pid, addr: VirtAddr, len: u64) -> Result<(), Errno> {
        self.mlock2(pid, addr, len, 0)
    }

    /// Keeps a range in memory, pages that are not there yet from their first fault on if it is asked for (`mlock2`).
    ///
    /// # Errors
    /// As [`Machine::mlock`]; `EINVAL` for other flags.
    pub fn mlock2(&mut self, pid: Pid, addr: VirtAddr, len: u64, flags: u64) -> Result<(), Errno> {
        let mm = self.mm_of(pid)?;
        if flags & !mcl::MLOCK_ONFAULT != 0 {
            return Err(Errno::EINVAL);
        }
        let on_fault = flags & mcl::MLOCK_ONFAULT != 0;
        let locks = if on_fault { VmFlags::LOCKED_MASK } else { VmFlags::LOCKED };
        let result = self.as_task(pid, |m| m.do_mlock(pid, mm, addr, len, locks));
        self.die_if_killed(pid);
        result
    }

    fn do_mlock(
        &mut self,
        pid: Pid,
        mm: MmId,
        addr: VirtAddr,
        len: u64,
        locks: VmFlags,
    ) -> Result<(), Errno> {
        if !self.can_do_mlock(pid) {
            return Err(Errno::EPERM);
        }
        let (start, len) = whole_pages(addr, len);
        let limit = self.tasks[&pid].rlimits.memlock >> PAGE_SHIFT;
        let mut locked = (len >> PAGE_SHIFT) + self.mms[mm].locked_vm;
        if locked > limit && !self.capable(pid) {
            // What is locked already does not count twice.
            locked -= self.locked_pages(mm, start, start.saturating_add(len));
        }
        if locked > limit && !self.capable(pid) {
            let has = self.mms[mm].locked_vm;
            let why = Refused::Limit { name: "RLIMIT_MEMLOCK", has, asked: locked - has.min(locked), limit };
            return Err(self.refuse(why));
        }
        self.apply_vma_lock_flags(mm, start, len, locks)?;
        self.mm_populate(mm, start, len, false).map_err(|errno| match errno {
            Errno::EFAULT => Errno::ENOMEM,
            Errno::ENOMEM => Errno::EAGAIN,
            other => other,
        })
    }

    /// Lets a range be reclaimed again (`munlock`).
    ///
    /// # Errors
    /// `ENOMEM` for a hole (what lies before it is unlocked) or too many areas, `EINVAL` when the range wraps, `ESRCH`.
    pub fn munlock(&mut self, pid: Pid, addr: VirtAddr, len: u64) -> Result<(), Errno> {
        let mm = self.mm_of(pid)?;
        let (start, len) = whole_pages(addr, len);
        self.as_task(pid, |m| m.apply_vma_lock_flags(mm, start, len, VmFlags::default()))
    }

    /// Keeps everything in memory: what is mapped, what will be mapped, or both (`mlockall`).
    ///
    /// # Errors
    /// `EINVAL` for wrong flags, `EPERM` when the limit is 0, `ENOMEM` beyond the limit, `ESRCH`.
    pub fn mlockall(&mut self, pid: Pid, flags: u64) -> Result<(), Errno> {
        let mm = self.mm_of(pid)?;
        let all = mcl::CURRENT | mcl::FUTURE | mcl::ONFAULT;
        if flags == 0 || flags & !all != 0 || flags == mcl::ONFAULT {
            return Err(Errno::EINVAL);
        }
        if !self.can_do_mlock(pid) {
            return Err(Errno::EPERM);
        }
        let limit = self.tasks[&pid].rlimits.memlock >> PAGE_SHIFT;
        let current = flags & mcl::CURRENT != 0;
        if current && self.mms[mm].total_vm > limit && !self.capable(pid) {
            let (has, all) = (self.mms[mm].locked_vm, self.mms[mm].total_vm);
            let why = Refused::Limit { name: "RLIMIT_MEMLOCK", has, asked: all.saturating_sub(has), limit };
            return Err(self.refuse(why));
        }
        self.as_task(pid, |m| {
            m.apply_mlockall_flags(mm, flags);
            if current {
                // What cannot be had now is locked when it comes.
                let _ = m.mm_populate(mm, 0, m.layout.task_size, true);
            }
        });
        self.die_if_killed(pid);
        Ok(())
    }

    /// Lets everything be reclaimed again, also what will be mapped (`munlockall`).
    ///
    /// # Errors
    /// `ESRCH`.
    pub fn munlockall(&mut self, pid: Pid) -> Result<(), Errno> {
        let mm = self.mm_of(pid)?;
        self.as_task(pid, |m| m.apply_mlockall_flags(mm, 0));
        Ok(())
    }

    fn apply_mlockall_flags(&mut self, mm: MmId, flags: u64) {
        let on_fault = flags & mcl::ONFAULT != 0;
        let locks = if on_fault { VmFlags::LOCKED_MASK } else { VmFlags::LOCKED };
        let future = flags & mcl::FUTURE != 0;
        let defaults = self.mms[mm].def_flags.without(VmFlags::LOCKED_MASK);
        self.mms[mm].def_flags = if future { defaults.with(locks) } else { defaults };
        let current = flags & mcl::CURRENT != 0;
        if future && !current {
            return;
        }
        let to_add = if current { locks } else { VmFlags::default() };
        for id in self.areas_in(mm, 0, u64::MAX) {
            // A neighbour may have swallowed it meanwhile.
            let Some(vma) = self.vmas.get(id) else { continue };
            let (start, end, new) =
                (vma.start, vma.end, vma.flags.without(VmFlags::LOCKED_MASK).with(to_add));
            let _ = self.mlock_fixup(id, start, end, new);
        }
    }

    /// May the task lock anything? (`can_do_mlock`)
    pub(crate) fn can_do_mlock(&self, pid: Pid) -> bool {
        self.tasks[&pid].rlimits.memlock != 0 || self.capable(pid)
    }

    /// Does the limit allow so many bytes more in a locked area? (`mlock_future_check`)
    ///
    /// # Errors
    /// `EAGAIN`.
    pub(crate) fn mlock_future_check(
        &self,
        pid: Pid,
        mm: MmId,
        flags: VmFlags,
        len: u64,
    ) -> Result<(), Errno> {
        if !flags.has(VmFlags::LOCKED) {
            return Ok(());
        }
        let limit = self.tasks[&pid].rlimits.memlock >> PAGE_SHIFT;
        let locked = (len >> PAGE_SHIFT) + self.mms[mm].locked_vm;
        if locked > limit && !self.capable(pid) { Err(Errno::EAGAIN) } else { Ok(()) }
    }

    /// Pages of a range that are in locked areas (`count_mm_mlocked_page_nr`).
    fn locked_pages(&self, mm: MmId, start: u64, end: u64) -> u64 {
        let inside = |id: VmaId| {
            let vma = &self.vmas[id];
            (vma.end.min(end) - vma.start.max(start)) >> PAGE_SHIFT
        };
        let areas = self.areas_in(mm, start, end).into_iter();
        areas.filter(|id| self.vmas[*id].flags.has(VmFlags::LOCKED)).map(inside).sum()
    }

    /// Changes the locks of all areas of a range (`apply_vma_lock_flags`).
    fn apply_vma_lock_flags(&mut self, mm: MmId, start: u64, len: u64, locks: VmFlags) -> Result<(), Errno> {
        let end = start.checked_add(len).ok_or(Errno::EINVAL)?;
        let mut at = start;
        while at < end {
            let found = self.find_vma(mm, VirtAddr(at)).filter(|id| self.vmas[*id].start <= at);
            let id = found.ok_or_else(|| self.refuse(Refused::Hole { at }))?;
            let stop = self.vmas[id].end.min(end);
            let flags = self.vmas[id].flags.without(VmFlags::LOCKED_MASK).with(locks);
            self.mlock_fixup(id, at, stop, flags)?;
            at = stop;
        }
        Ok(())
    }

    /// Changes the locks of an area's part: merge or split, count, then its pages (`mlock_fixup`).
    fn mlock_fixup(&mut self, id: VmaId, start: u64, end: u64, flags: VmFlags) -> Result<(), Errno> {
        let old = self.vmas[id].flags;
        if flags == old || old.any(VmFlags::SPECIAL) {
            return Ok(());
        }
        let mm = self.vmas[id].mm;
        let id = self.vma_modify_flags(id, start, end, flags)?;
        let pages = (end - start) >> PAGE_SHIFT;
        match (old.has(VmFlags::LOCKED), flags.has(VmFlags::LOCKED)) {
            (false, true) => self.mms[mm].locked_vm += pages,
            (true, false) => self.mms[mm].locked_vm -= pages,
            _ => return Ok(()),
        }
        self.mlock_vma_pages_range(id, start, end, flags.has(VmFlags::LOCKED));
        Ok(())
    }

    /// Locks or unlocks the pages that an area maps already (`mlock_vma_pages_range`).
    pub(crate) fn mlock_vma_pages_range(&mut self, id: VmaId, start: u64, end: u64, lock: bool) {
        self.lru_add_drain();
        let pgd = self.mms[self.vmas[id].mm].pgd;
        let mut at = start;
        while let Some((leaf, part)) = self.tables.next_leaf(pgd, at, end) {
            at = part.end;
            for addr in part.step_by(PAGE_SIZE as usize) {
                let pte = Pte(self.tables.get(leaf).entries[index(VirtAddr(addr), 0)]);
                if pte.is_present() && !pte.has(Pte::SPECIAL) {
                    if lock { self.mlock_page(pte.pfn()) } else { self.munlock_page(pte.pfn(), id) }
                }
            }
        }
    }

    /// A page of a locked area leaves the lists that reclaim looks at (`mlock_folio`).
    pub(crate) fn mlock_page(&mut self, pfn: Pfn) {
        let page = self.mem_map.page(pfn);
        if page.is(PageFlags::MLOCKED) {
            return;
        }
        let listed = page.is(PageFlags::LRU);
        if listed {
            self.lru_unlink(pfn);
            self.vmstat.count(VmEvent::UnevictablePgsCulled, 1);
        }
        self.mlock_new_page(pfn);
        if listed {
            self.mem_map.page_mut(pfn).clear(PageFlags::ACTIVE);
            self.lru_link(pfn, false);
        }
    }

    /// An area that locked a page does so no longer; without another one the page may be reclaimed (`munlock_page`).
    pub(crate) fn munlock_page(&mut self, pfn: Pfn, by: VmaId) {
        if !self.mem_map.page(pfn).is(PageFlags::MLOCKED) {
            return;
        }
        let others = self.rmap(pfn);
        if others.iter().any(|(id, ..)| *id != by && self.vmas[*id].flags.has(VmFlags::LOCKED)) {
            return;
        }
        let listed = self.mem_map.page(pfn).is(PageFlags::LRU);
        if listed {
            self.lru_unlink(pfn);
        }
        let page = self.mem_map.page_mut(pfn);
        page.clear(PageFlags::MLOCKED | PageFlags::UNEVICTABLE);
        let zone = page.zone();
        self.zones[zone.index()].mod_stat(ZoneStat::Mlock, -1);
        self.vmstat.count(VmEvent::UnevictablePgsMunlocked, 1);
        if listed {
            debug_assert!(Lru::of(&self.mem_map.page(pfn)) != Lru::Unevictable);
            self.lru_link(pfn, false);
            self.vmstat.count(VmEvent::UnevictablePgsRescued, 1);
        }
    }
}

/// The whole pages that a range touches, as mlock rounds: outwards; a length that wraps becomes 0.
fn whole_pages(addr: VirtAddr, len: u64) -> (u64, u64) {
    let len = page_align(len.wrapping_add(addr.offset())).unwrap_or(0);
    (addr.page().0, len)
}
