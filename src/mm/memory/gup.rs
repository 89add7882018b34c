//! Pages of user space that the kernel wants present for itself, such as a new program's stack.
//!
//! Kernel: `mm/gup.c`.
//! Fidelity: faithful — nobody tries again: without memory the caller is told. Absent — pinning.

use super::Access;
use crate::mm::addr::{PAGE_SIZE, Pfn, VirtAddr};
use crate::mm::errno::Errno;
use crate::mm::machine::Machine;
use crate::mm::task::MmId;
use crate::mm::vma::VmFlags;
use crate::mm::vmstat::VmEvent;

impl Machine {
    /// Makes one page present, and writable if it is to be written (`faultin_page`).
    ///
    /// # Errors
    /// `EFAULT` where no area is, `ENOMEM`.
    pub(crate) fn faultin_page(&mut self, mm: MmId, addr: VirtAddr, write: bool) -> Result<(), Errno> {
        let found = self.find_vma(mm, addr).filter(|id| self.vmas[*id].contains(addr));
        let vma = found.ok_or(Errno::EFAULT)?;
        self.vmstat.count(VmEvent::Pgfault, 1);
        self.handle_mm_fault(mm, vma, addr, write).map_err(|_| Errno::ENOMEM)?;
        self.charge(self.config.costs.minor_fault);
        Ok(())
    }

    /// Copies bytes into a task's memory; how many, until the memory refuses (`copy_to_user`).
    pub(crate) fn copy_to_user(&mut self, mm: MmId, addr: u64, bytes: &[u8]) -> usize {
        let mut done = 0;
        while done < bytes.len() {
            let at = VirtAddr(addr.wrapping_add(done as u64));
            let len = (bytes.len() - done).min((PAGE_SIZE - at.offset()) as usize);
            let Some(pfn) = self.user_page_for_write(mm, at) else { break };
            let from = at.offset() as usize;
            self.page_bytes_mut(pfn)[from..from + len].copy_from_slice(&bytes[done..done + len]);
            done += len;
        }
        done
    }

    /// The page at an address, writable for the task; nothing where it may not write.
    fn user_page_for_write(&mut self, mm: MmId, addr: VirtAddr) -> Option<Pfn> {
        /// A page may be taken away again before it is used, but not for ever.
        const ROUNDS: u32 = 64;
        for _ in 0..ROUNDS {
            if let Some(pfn) = self.walk_hardware(mm, addr, Access::Write) {
                return Some(pfn);
            }
            let vma = self.find_vma(mm, addr).filter(|id| self.vmas[*id].contains(addr))?;
            if !self.vmas[vma].flags.has(VmFlags::WRITE) || self.faultin_page(mm, addr, true).is_err() {
                return None;
            }
        }
        None
    }
}
