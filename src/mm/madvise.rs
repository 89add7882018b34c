//! Advice: what a task says about its memory, and what the kernel makes of it.
//!
//! ```text
//!   flags of areas     NORMAL RANDOM SEQUENTIAL DONTFORK WIPEONFORK DONTDUMP MERGEABLE HUGEPAGE … and their opposites
//!   pages, now         DONTNEED FREE COLD PAGEOUT WILLNEED POPULATE_READ POPULATE_WRITE COLLAPSE REMOVE
//! ```
//!
//! Kernel: `mm/madvise.c`.
//! Fidelity: faithful — which advice is refused where, holes skipped and told at the end, split and merge, errnos.
//! Absent — merging of equal pages (MERGEABLE is kept and does nothing), poisoned pages.

mod reclaim;

use crate::mm::addr::{PAGE_SIZE, VirtAddr};
use crate::mm::errno::Errno;
use crate::mm::machine::Machine;
use crate::mm::refused::Refused;
use crate::mm::task::{MmId, Pid};
use crate::mm::vma::{VmFlags, VmaId, page_align};

/// `advice` of madvise.
pub mod madv {
    #![allow(missing_docs)]
    pub const NORMAL: u64 = 0;
    pub const RANDOM: u64 = 1;
    pub const SEQUENTIAL: u64 = 2;
    pub const WILLNEED: u64 = 3;
    pub const DONTNEED: u64 = 4;
    pub const FREE: u64 = 8;
    pub const REMOVE: u64 = 9;
    pub const DONTFORK: u64 = 10;
    pub const DOFORK: u64 = 11;
    pub const MERGEABLE: u64 = 12;
    pub const UNMERGEABLE: u64 = 13;
    pub const HUGEPAGE: u64 = 14;
    pub const NOHUGEPAGE: u64 = 15;
    pub const DONTDUMP: u64 = 16;
    pub const DODUMP: u64 = 17;
    pub const WIPEONFORK: u64 = 18;
    pub const KEEPONFORK: u64 = 19;
    pub const COLD: u64 = 20;
    pub const PAGEOUT: u64 = 21;
    pub const POPULATE_READ: u64 = 22;
    pub const POPULATE_WRITE: u64 = 23;
    pub const DONTNEED_LOCKED: u64 = 24;
    pub const COLLAPSE: u64 = 25;
}

impl Machine {
    /// Advises the kernel about a range (`madvise`).
    ///
    /// # Errors
    /// `EINVAL` for a misaligned address, a length that wraps, unknown advice or an area that it cannot be about; `ENOMEM`
    /// for a hole (the rest is done) or where no page can be had; `EAGAIN` for too many areas; `ESRCH`.
    pub fn madvise(&mut self, pid: Pid, addr: VirtAddr, len: u64, advice: u64) -> Result<(), Errno> {
        let mm = self.mm_of(pid)?;
        let result = self.as_task(pid, |m| m.do_madvise(mm, addr, len, advice));
        self.die_if_killed(pid);
        result
    }

    /// Advises the kernel about ranges of another task (`process_madvise`); the bytes advised.
    ///
    /// # Errors
    /// `EINVAL` for advice that would change what the other task sees, `EPERM` for another user's task; what
    /// [`Machine::madvise`] refuses at the first range.
    pub fn process_madvise(
        &mut self,
        pid: Pid,
        target: Pid,
        ranges: &[(VirtAddr, u64)],
        advice: u64,
    ) -> Result<u64, Errno> {
        self.mm_of(pid)?;
        let mm = self.mm_of(target)?;
        if !matches!(advice, madv::COLD | madv::PAGEOUT | madv::WILLNEED | madv::COLLAPSE) {
            return Err(Errno::EINVAL);
        }
        if !self.capable(pid) {
            return Err(Errno::EPERM);
        }
        let mut advised = 0;
        for &(addr, len) in ranges {
            match self.as_task(pid, |m| m.do_madvise(mm, addr, len, advice)) {
                Ok(()) => advised += len,
                // The caller learns how far it came.
                Err(_) if advised > 0 => break,
                Err(errno) => return Err(errno),
            }
        }
        Ok(advised)
    }

    fn do_madvise(&mut self, mm: MmId, addr: VirtAddr, len: u64, advice: u64) -> Result<(), Errno> {
        let known = matches!(advice, madv::NORMAL..=madv::DONTNEED | madv::FREE..=madv::COLLAPSE);
        if !known || !addr.is_aligned() {
            return Err(Errno::EINVAL);
        }
        let end = page_align(len).and_then(|len| addr.0.checked_add(len)).ok_or(Errno::EINVAL)?;
        let populate = matches!(advice, madv::POPULATE_READ | madv::POPULATE_WRITE);
        if populate && self.config.kernel_since(6, 9) {
            return self.populate_in_order(mm, addr.0, end, advice);
        }
        self.walk_vmas(mm, addr.0, end, |m, id, start, end| m.madvise_vma(id, start, end, advice))
    }

    /// Visits the areas of a range; holes are skipped, and told when the rest is done (`madvise_walk_vmas`).
    fn walk_vmas(
        &mut self,
        mm: MmId,
        start: u64,
        end: u64,
        mut visit: impl FnMut(&mut Machine, VmaId, u64, u64) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let (mut at, mut hole) = (start, None);
        while at < end {
            let Some(id) = self.find_vma(mm, VirtAddr(at)) else {
                return Err(self.refuse(Refused::Hole { at: hole.unwrap_or(at) }));
            };
            let (first, last) = (self.vmas[id].start.max(at), self.vmas[id].end.min(end));
            if first > at {
                hole = hole.or(Some(at));
            }
            if first >= end {
                break;
            }
            visit(self, id, first, last)?;
            at = last;
        }
        hole.map_or(Ok(()), |at| Err(self.refuse(Refused::Hole { at })))
    }

    /// Does what an advice means in one area (`madvise_vma_behavior`).
    fn madvise_vma(&mut self, id: VmaId, start: u64, end: u64, advice: u64) -> Result<(), Errno> {
        let vma = &self.vmas[id];
        let flags = vma.flags;
        let refuse = |wrong: bool| if wrong { Err(Errno::EINVAL) } else { Ok(()) };
        let pinned = VmFlags::PFNMAP.with(VmFlags::HUGETLB);
        match advice {
            madv::DONTNEED => refuse(flags.any(pinned.with(VmFlags::LOCKED)))?,
            madv::DONTNEED_LOCKED => refuse(flags.any(pinned))?,
            madv::FREE => {
                refuse(flags.any(pinned.with(VmFlags::LOCKED)))?;
                refuse(!vma.is_private_anonymous())?;
            }
            madv::COLD | madv::PAGEOUT => refuse(flags.any(pinned.with(VmFlags::LOCKED)))?,
            madv::WIPEONFORK => refuse(!vma.is_private_anonymous())?,
            madv::DOFORK => refuse(flags.has(VmFlags::IO))?,
            madv::DODUMP => refuse(flags.any(VmFlags::SPECIAL) && !flags.has(VmFlags::HUGETLB))?,
            madv::REMOVE => return self.madvise_remove(id, start, end),
            _ => {}
        }
        match advice {
            madv::DONTNEED | madv::DONTNEED_LOCKED => self.zap_range(id, start, end),
            madv::FREE => self.madvise_free(id, start, end),
            madv::COLD => self.madvise_cold(id, start, end),
            madv::PAGEOUT => self.madvise_pageout(id, start, end),
            madv::WILLNEED => self.madvise_willneed(id, start, end),
            madv::POPULATE_READ => return self.madvise_populate(id, start, end, false),
            madv::POPULATE_WRITE => return self.madvise_populate(id, start, end, true),
            madv::COLLAPSE => return self.madvise_collapse(id, start, end),
            _ => return self.madvise_flags(id, start, end, advice),
        }
        Ok(())
    }

    /// Advice that only changes the area's flags (`madvise_update_vma`).
    fn madvise_flags(&mut self, id: VmaId, start: u64, end: u64, advice: u64) -> Result<(), Errno> {
        let old = self.vmas[id].flags;
        let new = match advice {
            madv::NORMAL => old.without(VmFlags::RAND_READ.with(VmFlags::SEQ_READ)),
            madv::RANDOM => old.without(VmFlags::SEQ_READ).with(VmFlags::RAND_READ),
            madv::SEQUENTIAL => old.without(VmFlags::RAND_READ).with(VmFlags::SEQ_READ),
            madv::DONTFORK => old.with(VmFlags::DONTCOPY),
            madv::DOFORK => old.without(VmFlags::DONTCOPY),
            madv::WIPEONFORK => old.with(VmFlags::WIPEONFORK),
            madv::KEEPONFORK => old.without(VmFlags::WIPEONFORK),
            madv::DONTDUMP => old.with(VmFlags::DONTDUMP),
            madv::DODUMP => old.without(VmFlags::DONTDUMP),
            // Areas that hold no pages of their own are no candidates; that is no error.
            madv::MERGEABLE if old.any(VmFlags::SPECIAL.with(VmFlags::SHARED).with(VmFlags::MAYSHARE)) => old,
            madv::MERGEABLE => old.with(VmFlags::MERGEABLE),
            madv::UNMERGEABLE => old.without(VmFlags::MERGEABLE),
            madv::HUGEPAGE => old.without(VmFlags::NOHUGEPAGE).with(VmFlags::HUGEPAGE),
            _ => old.without(VmFlags::HUGEPAGE).with(VmFlags::NOHUGEPAGE),
        };
        if new == old {
            return Ok(());
        }
        // Advice that fails for want of an area may be given again: madvise says so.
        let changed = self.vma_modify_flags(id, start, end, new);
        changed.map(|_| ()).map_err(|e| if e == Errno::ENOMEM { Errno::EAGAIN } else { e })
    }

    /// Faults pages in; unlike mm_populate it tells what did not work (`madvise_populate`).
    fn madvise_populate(&mut self, id: VmaId, start: u64, end: u64, write: bool) -> Result<(), Errno> {
        let flags = self.vmas[id].flags;
        let needed = if write { VmFlags::WRITE } else { VmFlags::READ };
        if flags.any(VmFlags::IO.with(VmFlags::PFNMAP)) || !flags.has(needed) {
            return Err(Errno::EINVAL);
        }
        self.fault_in_range(id, start, end, write)
    }

    /// Since 6.9 populating ends at the first hole instead of passing over it (`faultin_page_range`).
    fn populate_in_order(&mut self, mm: MmId, start: u64, end: u64, advice: u64) -> Result<(), Errno> {
        let mut at = start;
        while at < end {
            let id = self.vma_lookup(mm, at).ok_or_else(|| self.refuse(Refused::Hole { at }))?;
            let stop = self.vmas[id].end.min(end);
            self.madvise_vma(id, at, stop, advice)?;
            at = stop;
        }
        Ok(())
    }

    /// Makes a hole in the file behind a shared area (`madvise_remove`).
    fn madvise_remove(&mut self, id: VmaId, start: u64, end: u64) -> Result<(), Errno> {
        let vma = &self.vmas[id];
        let Some(file) = vma.file.filter(|_| !vma.flags.has(VmFlags::LOCKED)) else {
            return Err(Errno::EINVAL);
        };
        if !vma.flags.has(VmFlags::SHARED.with(VmFlags::WRITE)) {
            return Err(Errno::EACCES);
        }
        let (first, last) = (vma.index_of(VirtAddr(start)), vma.index_of(VirtAddr(end - PAGE_SIZE)));
        self.punch_hole(file, first, last);
        Ok(())
    }
}
