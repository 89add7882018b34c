//! Forgetting what a process used, so that one can see what it uses from now on: `/proc/PID/clear_refs`.
//!
//! ```text
//!   1 every page   2 pages without a file   3 pages of files    their accessed bits go
//!   4 soft-dirty bits go, and the right to write: the next write faults, and sets the bit again
//!   5 the peak of resident memory is what is resident now
//! ```
//!
//! Kernel: `fs/proc/task_mmu.c` (`clear_refs_write`), `Documentation/admin-guide/mm/soft-dirty.rst`.
//! Fidelity: faithful — which bits of which entries, the flush at the end.

use crate::mm::addr::{PAGE_SIZE, VirtAddr};
use crate::mm::errno::Errno;
use crate::mm::machine::Machine;
use crate::mm::page::PageFlags;
use crate::mm::pgtable::{Pte, index};
use crate::mm::rmap::MAPPING_ANON;
use crate::mm::task::{MmId, Pid};
use crate::mm::vma::{VmFlags, VmaId};

/// What is forgotten.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClearRefs {
    /// That any page was used.
    All,
    /// That pages without a file were.
    Anon,
    /// That pages of files were.
    Mapped,
    /// That pages were written.
    SoftDirty,
    /// How much was resident at most.
    HiwaterRss,
}

impl ClearRefs {
    /// By the number that is written into the file.
    pub fn from_number(n: u64) -> Option<ClearRefs> {
        use ClearRefs::{All, Anon, HiwaterRss, Mapped, SoftDirty};
        [All, Anon, Mapped, SoftDirty, HiwaterRss].get(n.checked_sub(1)? as usize).copied()
    }
}

impl Machine {
    /// Makes the kernel forget what a task used.
    ///
    /// # Errors
    /// `ESRCH`; `EINVAL` for a kernel thread.
    pub fn clear_refs(&mut self, pid: Pid, what: ClearRefs) -> Result<(), Errno> {
        let mm = self.live_task(pid)?.mm.ok_or(Errno::EINVAL)?;
        if what == ClearRefs::HiwaterRss {
            self.mms[mm].hiwater_rss = self.mms[mm].resident();
            return Ok(());
        }
        let areas: Vec<VmaId> = self.mms[mm].vmas.iter().map(|area| area.id).collect();
        for id in areas {
            let vma = &mut self.vmas[id];
            if what == ClearRefs::SoftDirty {
                vma.flags = vma.flags.without(VmFlags::SOFTDIRTY);
            }
            if vma.flags.has(VmFlags::PFNMAP) {
                continue;
            }
            let (start, end) = (vma.start, vma.end);
            self.clear_refs_range(mm, start, end, what);
        }
        // Entries lost bits that a TLB may still have.
        self.flush_tlb_mm(mm);
        Ok(())
    }

    fn clear_refs_range(&mut self, mm: MmId, start: u64, end: u64, what: ClearRefs) {
        let pgd = self.mms[mm].pgd;
        let mut at = start;
        while let Some((leaf, part)) = self.tables.next_leaf(pgd, at, end) {
            at = part.end;
            for addr in part.step_by(PAGE_SIZE as usize).map(VirtAddr) {
                let pte = Pte(self.tables.get(leaf).entries[index(addr, 0)]);
                let new = self.cleared(pte, what);
                if new != pte {
                    self.tables.set(leaf, addr, new);
                }
            }
        }
    }

    /// The entry as it is afterwards.
    fn cleared(&mut self, pte: Pte, what: ClearRefs) -> Pte {
        if !pte.is_present() {
            return pte;
        }
        if what == ClearRefs::SoftDirty {
            return pte.without(Pte::SOFT_DIRTY | Pte::RW);
        }
        if pte.has(Pte::SPECIAL) {
            return pte;
        }
        let page = self.mem_map.page_mut(pte.pfn());
        let anon = page.mapping & MAPPING_ANON != 0;
        if (what == ClearRefs::Anon && !anon) || (what == ClearRefs::Mapped && anon) {
            return pte;
        }
        page.clear(PageFlags::REFERENCED);
        pte.without(Pte::ACCESSED)
    }
}
