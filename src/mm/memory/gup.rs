//! Pages of user space that the kernel wants present for itself, such as a new program's stack.
//!
//! Kernel: `mm/gup.c`.
//! Fidelity: faithful — nobody tries again: without memory the caller is told. Absent — pinning.

use crate::mm::addr::VirtAddr;
use crate::mm::errno::Errno;
use crate::mm::machine::Machine;
use crate::mm::task::MmId;
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
}
