//! khugepaged: small pages of an area that wants huge ones become a huge page again.
//!
//! ```text
//!   512 entries, some empty ──► a block of order 9 ──► bytes are copied, empty places are zeros ──► one entry above
//! ```
//!
//! Gorman has no such thing. Kernel: `mm/khugepaged.c`.
//! Fidelity: faithful — what is collapsed and what speaks against it, counters, MADV_COLLAPSE. Simplified — it scans an address space
//! when it is told to; swapped and shared pages are never collapsed. Absent — its own thread and its pace, files.

use crate::mm::addr::{Order, PAGE_SIZE, Pfn, VirtAddr};
use crate::mm::config::Arch;
use crate::mm::errno::Errno;
use crate::mm::gfp::Gfp;
use crate::mm::huge_memory::{HPAGE_ORDER, HPAGE_SIZE};
use crate::mm::machine::Machine;
use crate::mm::page::PageFlags;
use crate::mm::pgtable::{PTRS_PER_TABLE, Pte, TableId};
use crate::mm::rmap::MAPPING_ANON;
use crate::mm::task::{MmId, Pid, Rss};
use crate::mm::vma::{VmFlags, VmaId};
use crate::mm::vmstat::VmEvent;

/// Empty places that a huge page may fill with zeros (`max_ptes_none`).
const MAX_PTES_NONE: usize = PTRS_PER_TABLE - 1;

/// Who wants a huge page.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asker {
    /// The thread, on its round.
    Khugepaged,
    /// The task itself, with MADV_COLLAPSE.
    Madvise,
}

impl Machine {
    /// Looks at every 2 MiB of a task's address space once and collapses what can be (`khugepaged_scan_mm_slot`); how
    /// many huge pages were made.
    ///
    /// # Errors
    /// `ESRCH`.
    pub fn khugepaged_scan(&mut self, pid: Pid) -> Result<u64, Errno> {
        let mm = self.mm_of(pid)?;
        let areas: Vec<VmaId> = self.areas(mm).map(|(id, _)| id).collect();
        let mut made = 0;
        for id in areas {
            let vma = &self.vmas[id];
            let (first, end) = (vma.start.next_multiple_of(HPAGE_SIZE), vma.end);
            if !self.hugepage_vma_check(vma) {
                continue;
            }
            for start in (first..end.saturating_sub(HPAGE_SIZE - 1)).step_by(HPAGE_SIZE as usize) {
                let Some(leaf) = self.tables.leaf(self.mms[mm].pgd, VirtAddr(start)) else { continue };
                if !self.tables.get(leaf).huge
                    && self.collapse_huge_page(mm, id, leaf, VirtAddr(start), Asker::Khugepaged).is_ok()
                {
                    made += 1;
                }
            }
        }
        Ok(made)
    }

    /// Makes the whole 2 MiB of a range huge pages at once, whatever the switch of huge pages says (`madvise_collapse`).
    ///
    /// # Errors
    /// `EINVAL` where there can be no huge page or nothing to make one of, `EAGAIN` for pages in use, `ENOMEM` without a
    /// block; what was collapsed stays so.
    pub(crate) fn madvise_collapse(&mut self, id: VmaId, start: u64, end: u64) -> Result<(), Errno> {
        let vma = &self.vmas[id];
        let mm = vma.mm;
        let (first, last) = (start.next_multiple_of(HPAGE_SIZE), end & !(HPAGE_SIZE - 1));
        let suits = vma.start.next_multiple_of(HPAGE_SIZE) + HPAGE_SIZE <= vma.end;
        let never = VmFlags::NOHUGEPAGE.with(VmFlags::GROWSDOWN);
        let possible = vma.is_private_anonymous() && vma.anon_vma.is_some() && !vma.flags.any(never);
        if self.config.arch == Arch::I386 || !possible || !suits || first > last {
            return Err(Errno::EINVAL);
        }
        let mut result = Ok(());
        for at in (first..last).step_by(HPAGE_SIZE as usize).map(VirtAddr) {
            let collapsed = match self.tables.leaf(self.mms[mm].pgd, at) {
                None => Err(Errno::EINVAL),
                Some(leaf) if self.tables.get(leaf).huge => Ok(()),
                Some(leaf) => self.collapse_huge_page(mm, id, leaf, at, Asker::Madvise),
            };
            if collapsed == Err(Errno::ENOMEM) {
                return collapsed;
            }
            // The others are tried all the same; the last reason is told.
            result = if collapsed.is_err() { collapsed } else { result };
        }
        result
    }

    /// Is the table worth a huge page, and may its pages move? (`hpage_collapse_scan_pmd`)
    ///
    /// # Errors
    /// `EINVAL` when not, `EAGAIN` for pages in use.
    fn hpage_collapse_scan_pmd(&mut self, leaf: TableId, asker: Asker) -> Result<(), Errno> {
        let (mut empty, mut writable, mut referenced) = (0, false, false);
        for entry in self.tables.get(leaf).entries {
            let pte = Pte(entry);
            if pte.is_none() || pte.has(Pte::SPECIAL) {
                empty += 1;
                continue;
            }
            if pte.is_swap() {
                self.vmstat.count(VmEvent::ThpScanExceedSwapPte, 1);
                return Err(Errno::EINVAL);
            }
            let page = self.mem_map.page(pte.pfn());
            if page.mapcount() > 1 {
                self.vmstat.count(VmEvent::ThpScanExceedSharePte, 1);
                return Err(Errno::EINVAL);
            }
            let busy = PageFlags::LOCKED | PageFlags::WRITEBACK | PageFlags::SWAPCACHE | PageFlags::MLOCKED;
            if !page.is(PageFlags::LRU)
                || page.is_any(busy)
                || page.refcount != 1
                || page.mapping & MAPPING_ANON == 0
            {
                return Err(Errno::EAGAIN);
            }
            writable |= pte.has(Pte::RW);
            referenced |= pte.has(Pte::ACCESSED) || page.is(PageFlags::REFERENCED);
        }
        // Who asks for it need not have used it.
        let by_itself = asker == Asker::Khugepaged;
        if by_itself && empty > MAX_PTES_NONE {
            self.vmstat.count(VmEvent::ThpScanExceedNonePte, 1);
            return Err(Errno::EINVAL);
        }
        if writable && (referenced || !by_itself) { Ok(()) } else { Err(Errno::EINVAL) }
    }

    /// Copies what is there into a block and maps that as a huge page (`collapse_huge_page`).
    ///
    /// # Errors
    /// As [`Machine::hpage_collapse_scan_pmd`]; `ENOMEM`.
    fn collapse_huge_page(
        &mut self,
        mm: MmId,
        id: VmaId,
        leaf: TableId,
        start: VirtAddr,
        asker: Asker,
    ) -> Result<(), Errno> {
        self.hpage_collapse_scan_pmd(leaf, asker)?;
        let order = Order::new(HPAGE_ORDER).unwrap_or_default();
        let Ok(head) = self.alloc_pages(Gfp::TRANSHUGE.without(Gfp::COMP), order) else {
            self.vmstat.count(VmEvent::ThpCollapseAllocFailed, 1);
            return Err(Errno::ENOMEM);
        };
        self.vmstat.count(VmEvent::ThpCollapseAlloc, 1);
        let split = self.split_page(head, order);
        debug_assert!(split.is_ok(), "it was just allocated");
        // The allocation may have reclaimed, and what it took must not be mapped again.
        let there = self.tables.leaf(self.mms[mm].pgd, start) == Some(leaf);
        if !there || self.hpage_collapse_scan_pmd(leaf, asker).is_err() {
            (0..order.pages()).for_each(|n| self.put_lru_page(head.up(n)));
            return Err(Errno::EAGAIN);
        }
        let flags = self.vmas[id].flags;
        let mut bits = self.vmas[id].page_prot() | Pte::DIRTY | Pte::SOFT_DIRTY;
        if flags.has(VmFlags::WRITE) {
            bits |= Pte::RW;
        }
        let anon = self.anon_vma_prepare(id);
        for n in 0..PTRS_PER_TABLE {
            let (old, new) = (Pte(self.tables.get(leaf).entries[n]), head.up(n as u32));
            self.collapse_one(mm, old, new);
            self.add_new_anon_page(new, id, anon, VirtAddr(start.0 + n as u64 * PAGE_SIZE));
            self.mem_map.page_mut(new).set(PageFlags::PRIVATE_2);
            self.tables.get_mut(leaf).entries[n] = Pte::new(new, bits).0;
        }
        self.set_huge_pmd(mm, start, leaf, Pte::new(head, bits));
        self.flush_huge_pmd(mm, start);
        Ok(())
    }

    /// A page's bytes move to their place in the block, and the page is let go; an empty place is filled with zeros.
    fn collapse_one(&mut self, mm: MmId, old: Pte, new: Pfn) {
        if old.is_none() || old.has(Pte::SPECIAL) {
            self.charge(self.config.costs.clear_page);
            self.add_rss(mm, Rss::Anon, 1);
            return;
        }
        let bytes = self.contents.share(old.pfn());
        self.contents.put(new, bytes);
        self.charge(self.config.costs.copy_page);
        self.zap_page(old, false);
    }
}
