//! A task touches memory: page by page, through the TLB, as a program would.
//!
//! Fidelity: ours. A task runs while a script acts for it.

use super::{Access, Stop, Touched};
use crate::mm::addr::{PAGE_SIZE, VirtAddr};
use crate::mm::machine::Machine;
use crate::mm::task::{MmId, Pid};

impl Machine {
    /// Touches every page that overlaps `addr..addr + len` as a task would.
    ///
    /// # Errors
    /// The signal that killed the task; `ESRCH` for a dead one.
    pub fn touch(&mut self, pid: Pid, addr: VirtAddr, len: u64, access: Access) -> Result<Touched, Stop> {
        let first = addr.page().0;
        let pages = addr.0.saturating_add(len).saturating_sub(first).div_ceil(PAGE_SIZE);
        self.touch_each(pid, (0..pages).map(|n| (VirtAddr(first + n * PAGE_SIZE), access)))
    }

    /// Lets a task touch these addresses, one after the other: a recorded trace, or a range.
    ///
    /// # Errors
    /// As [`Machine::touch`].
    pub fn touch_each(
        &mut self,
        pid: Pid,
        trace: impl Iterator<Item = (VirtAddr, Access)>,
    ) -> Result<Touched, Stop> {
        let mm = self.mm_of(pid)?;
        let before = (self.tasks[&pid].min_flt, self.tasks[&pid].maj_flt);
        let outer = self.current.clone();
        self.become_task(pid);
        let result = self.touch_pages(pid, mm, trace);
        self.return_to(outer);
        let task = &self.tasks[&pid];
        let (minor, major) = (task.min_flt - before.0, task.maj_flt - before.1);
        result.map(|pages| Touched { pages, minor, major })
    }

    fn touch_pages(
        &mut self,
        pid: Pid,
        mm: MmId,
        trace: impl Iterator<Item = (VirtAddr, Access)>,
    ) -> Result<u64, Stop> {
        let mut tag = self.mms[mm].context.tag;
        let mut pages = 0;
        for (addr, access) in trace {
            if !self.tlbs[self.cpu.index()].hit(tag, addr, access == Access::Write) {
                self.access_page(pid, mm, addr, access)?;
                // A fault may have flushed the address space.
                tag = self.mms[mm].context.tag;
            }
            pages += 1;
        }
        Ok(pages)
    }
}
