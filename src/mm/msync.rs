//! msync: changes made through a mapping reach the disk.
//!
//! Gorman 4.4. Kernel: `mm/msync.c`.
//! Fidelity: faithful.

use crate::mm::addr::{PAGE_SHIFT, VirtAddr};
use crate::mm::errno::Errno;
use crate::mm::machine::Machine;
use crate::mm::refused::Refused;
use crate::mm::task::Pid;
use crate::mm::vma::{VmFlags, page_align};

/// `MS_*`.
pub mod ms {
    #![allow(missing_docs)]
    pub const ASYNC: u64 = 1;
    pub const INVALIDATE: u64 = 2;
    pub const SYNC: u64 = 4;
}

impl Machine {
    /// Writes the dirty pages of shared mappings of files in a range, with `MS_SYNC` (`msync`).
    ///
    /// # Errors
    /// `EINVAL` for a misaligned address or wrong flags, `ENOMEM` for holes in the range (the rest is written), `EBUSY`
    /// for `MS_INVALIDATE` of a locked area, `ESRCH`.
    pub fn msync(&mut self, pid: Pid, addr: VirtAddr, len: u64, flags: u64) -> Result<(), Errno> {
        let mm = self.mm_of(pid)?;
        let both = ms::ASYNC | ms::SYNC;
        if flags & !(both | ms::INVALIDATE) != 0 || flags & both == both || !addr.is_aligned() {
            return Err(Errno::EINVAL);
        }
        let end = page_align(len).and_then(|len| addr.0.checked_add(len));
        let end = end.ok_or_else(|| self.refuse(Refused::Wraps { at: addr.0, len }))?;
        let (mut at, mut hole) = (addr.0, None);
        while at < end {
            let Some(id) = self.find_vma(mm, VirtAddr(at)).filter(|id| self.vmas[*id].start < end) else {
                return Err(self.refuse(Refused::Hole { at: hole.unwrap_or(at) }));
            };
            let vma = &self.vmas[id];
            if vma.start > at {
                hole = hole.or(Some(at));
            }
            at = at.max(vma.start);
            if flags & ms::INVALIDATE != 0 && vma.flags.has(VmFlags::LOCKED) {
                return Err(Errno::EBUSY);
            }
            let stop = vma.end.min(end);
            if flags & ms::SYNC != 0
                && vma.flags.has(VmFlags::SHARED)
                && let Some(file) = vma.file
            {
                let first = vma.index_of(VirtAddr(at));
                let last = first + ((stop - at) >> PAGE_SHIFT) as u32 - 1;
                self.as_task(pid, |m| m.fsync_range(file, first, last));
            }
            at = stop;
        }
        hole.map_or(Ok(()), |at| Err(self.refuse(Refused::Hole { at })))
    }
}
