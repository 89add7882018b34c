//! What a recorded address space had in memory, brought back: written pages, and pages read from files.
//!
//! ```text
//!   start ── written ──┬── read ──┬── neither ── end        a stack, which grows down, is filled from its end
//! ```
//!
//! Fidelity: faithful — every page comes by the fault that would bring it, as a debugger's access does where the area
//! forbids it (`FOLL_FORCE`). Inferred — which pages it were: a recording only says how many.

use super::RecordedArea;
use crate::mm::addr::{PAGE_SIZE, VirtAddr};
use crate::mm::errno::Errno;
use crate::mm::machine::Machine;
use crate::mm::pgtable::Pte;
use crate::mm::task::{MmId, Pid};
use crate::mm::vma::{VmFlags, VmaId};
use std::ops::Range;

/// Pages that were brought back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Resident {
    /// Written ones.
    pub written: u64,
    /// Those of files, as they are on the disk.
    pub read: u64,
}

impl Machine {
    /// Brings back what a recorded task had in memory, as far as there is room for it: nobody is killed for a recording.
    pub fn recall_recorded(&mut self, pid: Pid, areas: &[RecordedArea]) -> Resident {
        let mut done = Resident::default();
        let Ok(mm) = self.mm_of(pid) else { return done };
        for area in areas.iter().filter(|area| area.written + area.read > 0) {
            let Some(id) = self.mms[mm].vmas.get(area.start) else { continue };
            if area.end > self.layout.task_size || self.vmas[id].end != area.end {
                continue;
            }
            if self.as_task(pid, |m| m.recall_area(mm, id, area, &mut done)).is_err() {
                break;
            }
        }
        done
    }

    fn recall_area(
        &mut self,
        mm: MmId,
        id: VmaId,
        area: &RecordedArea,
        done: &mut Resident,
    ) -> Result<(), Errno> {
        let (shared, file) = (area.flags.has(VmFlags::SHARED), self.vmas[id].file.is_some());
        let room = self.nr_free_pages().saturating_sub(self.totalreserve_pages * 2);
        let pages = room.min((area.end - area.start) / PAGE_SIZE);
        // Pages without a file are written or are the frame of zeros; what is shared is a file's.
        let may_write = !shared || (file && area.flags.has(VmFlags::WRITE));
        let written = if may_write { area.written.min(pages) } else { 0 };
        let read = if file { area.read.min(pages - written) } else { 0 };
        let first = if self.vmas[id].flags.has(VmFlags::GROWSDOWN) {
            area.end - (written + read) * PAGE_SIZE
        } else {
            area.start
        };
        let middle = first + written * PAGE_SIZE;
        let last = middle + read * PAGE_SIZE;
        self.recall_pages(mm, first..middle, true, &mut done.written)?;
        self.recall_pages(mm, middle..last, false, &mut done.read)?;
        if written + read > 0 {
            // A fault maps what lies around as well; a huge page is more than was asked for.
            self.zap_range(id, area.start, first);
            self.zap_range(id, last, area.end);
        }
        Ok(())
    }

    fn recall_pages(
        &mut self,
        mm: MmId,
        range: Range<u64>,
        write: bool,
        count: &mut u64,
    ) -> Result<(), Errno> {
        for addr in range.step_by(PAGE_SIZE as usize).map(VirtAddr) {
            if !self.tables.pte(self.mms[mm].pgd, addr).is_present() {
                self.faultin_page(mm, addr, write)?;
            }
            let leaf = self.leaf(mm, addr).ok_or(Errno::ENOMEM)?;
            let pte = self.tables.pte(self.mms[mm].pgd, addr);
            // It was written when the area still allowed that.
            let bits = if write { Pte::ACCESSED | Pte::DIRTY | Pte::SOFT_DIRTY } else { Pte::ACCESSED };
            if pte.is_present() {
                self.tables.set(leaf, addr, pte.with(bits));
                *count += 1;
            }
        }
        Ok(())
    }
}
