//! Faults on files: map what is there, copy for a private write, ask before a shared one.
//!
//! ```text
//!   do_fault ─┬─ read ──────────► do_read_fault     first the 16 pages around that are in memory (fault-around),
//!             │                                     else this one, read if need be
//!             ├─ private write ─► do_cow_fault      a page of its own, filled from the file's
//!             └─ shared write ──► do_shared_fault   the file's page, after page_mkwrite where a disk must know
//! ```
//!
//! Gorman 4.6.3, 4.6.4. Kernel: `mm/memory.c` (`do_fault`, `wp_page_shared`), `mm/filemap.c` (`filemap_map_pages`).
//! Fidelity: faithful — the tree above, windows of fault-around, minor and major, SIGBUS beyond the end.
//! Absent — DAX, huge pages of files.

use super::VmFault;
use crate::mm::addr::{PAGE_SHIFT, PAGE_SIZE, Pfn, VirtAddr};
use crate::mm::errno::Errno;
use crate::mm::fs::FileId;
use crate::mm::machine::Machine;
use crate::mm::page::PageFlags;
use crate::mm::pgtable::{PTRS_PER_TABLE, Pte, TableId, index};
use crate::mm::task::{MmId, Rss};
use crate::mm::trace::FaultKind;
use crate::mm::vma::{VmFlags, VmaId};
use crate::mm::vmstat::{NodeStat, VmEvent};
use crate::mm::xarray::Entry;

/// Pages that one fault may map when they are in memory (`fault_around_bytes`).
const FAULT_AROUND_PAGES: u64 = 16;

/// A fault being handled (`struct vm_fault`).
#[derive(Clone, Copy)]
struct Fault {
    mm: MmId,
    vma: VmaId,
    leaf: TableId,
    addr: VirtAddr,
    file: FileId,
    /// The page's index in the file.
    pgoff: u32,
}

impl Machine {
    /// First use of a page of a file's area (`do_fault`).
    pub(super) fn do_fault(
        &mut self,
        mm: MmId,
        vma: VmaId,
        leaf: TableId,
        addr: VirtAddr,
        write: bool,
    ) -> Result<FaultKind, VmFault> {
        let area = &self.vmas[vma];
        let (flags, pgoff) = (area.flags, area.index_of(addr));
        let Some(file) = area.file else { return Err(VmFault::SigBus) };
        let fault = Fault { mm, vma, leaf, addr, file, pgoff };
        match (write, flags.has(VmFlags::SHARED)) {
            (false, _) => self.do_read_fault(fault),
            (true, false) => self.do_cow_fault(fault),
            (true, true) => self.do_shared_fault(fault),
        }
    }

    fn do_read_fault(&mut self, fault: Fault) -> Result<FaultKind, VmFault> {
        let mapped = self.do_fault_around(fault);
        let pte = Pte(self.tables.get(fault.leaf).entries[index(fault.addr, 0)]);
        if pte.is_present() {
            return Ok(FaultKind::MapFile { pfn: pte.pfn(), around: mapped as u8, major: false });
        }
        let (pfn, major) = self.fault_page(fault)?;
        self.finish_fault(fault, pfn, false)?;
        Ok(FaultKind::MapFile { pfn, around: 0, major })
    }

    /// Maps pages near the fault that are in memory (`do_fault_around`); how many.
    #[inline]
    fn do_fault_around(&mut self, fault: Fault) -> u64 {
        let area = &self.vmas[fault.vma];
        let page = fault.addr.page().0;
        let first = (page & !(FAULT_AROUND_PAGES * PAGE_SIZE - 1)).max(area.start);
        // The window ends with the table, the area, the sixteenth page and the file.
        let to_table_end = (PTRS_PER_TABLE - index(VirtAddr(first), 0)) as u64;
        let to_area_end = (area.end - first) >> PAGE_SHIFT;
        let start = u64::from(fault.pgoff) - ((page - first) >> PAGE_SHIFT);
        let inode = &self.files[fault.file];
        let to_eof = inode.size_pages().saturating_sub(start);
        let pages = FAULT_AROUND_PAGES.min(to_table_end).min(to_area_end).min(to_eof);
        if pages == 0 {
            return 0;
        }
        let prot = area.page_prot();
        let shmem = inode.shmem().is_some();
        let mut entries = [Entry::NONE; FAULT_AROUND_PAGES as usize];
        let (start, last) = (start as u32, (start + pages - 1) as u32);
        // Two nodes at most.
        let near = inode.pages.near(start, last);
        entries[..near.len()].copy_from_slice(near);
        if let Some(rest) = next_node(start).filter(|next| *next <= last) {
            let near = inode.pages.near(rest, last);
            let at = (rest - start) as usize;
            entries[at..at + near.len()].copy_from_slice(near);
        }
        let mut mapped = 0;
        for (n, pfn) in entries.iter().enumerate().filter_map(|(n, entry)| Some((n, entry.as_page()?))) {
            let addr = VirtAddr(first + n as u64 * PAGE_SIZE);
            let slot = index(addr, 0);
            if self.tables.get(fault.leaf).entries[slot] != 0 || !self.page_add_resident_file_rmap(pfn) {
                continue;
            }
            self.tables.get_mut(fault.leaf).entries[slot] = Pte::new(pfn, prot).0;
            mapped += 1;
        }
        self.add_rss(fault.mm, if shmem { Rss::Shmem } else { Rss::File }, mapped as i64);
        mapped
    }

    /// A page of the cache that needs no waiting gets one entry more; false when it has to be waited for.
    #[inline(always)]
    fn page_add_resident_file_rmap(&mut self, pfn: Pfn) -> bool {
        let page = self.mem_map.page_mut(pfn);
        if !page.is(PageFlags::UPTODATE) || page.is(PageFlags::LOCKED) {
            return false;
        }
        page.refcount += 1;
        page.map();
        if page.mapcount() == 1 {
            let pgdat = self.zones[page.zone().index()].pgdat;
            self.nodes[pgdat].mod_stat(NodeStat::Mapped, 1);
        }
        true
    }

    /// The file's page, with a reference; true when it was read (`__do_fault`).
    fn fault_page(&mut self, fault: Fault) -> Result<(Pfn, bool), VmFault> {
        if u64::from(fault.pgoff) >= self.files[fault.file].size_pages() {
            return Err(VmFault::SigBus);
        }
        self.get_file_page(fault.file, fault.pgoff).map_err(|errno| match errno {
            Errno::ENOMEM => VmFault::Oom,
            _ => VmFault::SigBus,
        })
    }

    /// Maps the file's page; the caller's reference becomes the entry's (`finish_fault`).
    fn finish_fault(&mut self, fault: Fault, pfn: Pfn, write: bool) -> Result<(), VmFault> {
        // The table may have gone while the page was read.
        let leaf = match self.leaf(fault.mm, fault.addr) {
            Some(leaf) => leaf,
            None => self.pte_alloc(fault.mm, fault.addr)?,
        };
        if self.tables.get(leaf).entries[index(fault.addr, 0)] != 0 {
            self.put_lru_page(pfn);
            return Ok(());
        }
        let mut bits = self.vmas[fault.vma].page_prot();
        if write {
            bits |= Pte::RW | Pte::DIRTY | Pte::SOFT_DIRTY;
        }
        let kind = self.mm_counter_file(pfn);
        self.add_rss(fault.mm, kind, 1);
        self.page_add_file_rmap(pfn);
        self.tables.set(leaf, fault.addr, Pte::new(pfn, bits));
        Ok(())
    }

    /// A private write: the writer's own page, filled from the file's (`do_cow_fault`).
    fn do_cow_fault(&mut self, fault: Fault) -> Result<FaultKind, VmFault> {
        self.anon_vma_prepare(fault.vma);
        let new = self.alloc_user_page(false)?;
        let (old, major) = match self.fault_page(fault) {
            Ok(found) => found,
            Err(e) => {
                self.put_lru_page(new);
                return Err(e);
            }
        };
        let bytes = self.page_bytes(old);
        self.contents.put(new, bytes);
        self.charge(self.config.costs.copy_page);
        let leaf = self.leaf(fault.mm, fault.addr).unwrap_or(fault.leaf);
        if self.tables.get(leaf).entries[index(fault.addr, 0)] == 0 {
            self.map_new_anon(fault.mm, fault.vma, leaf, fault.addr, new);
            self.add_rss(fault.mm, Rss::Anon, 1);
        } else {
            self.put_lru_page(new);
        }
        self.put_lru_page(old);
        Ok(FaultKind::CopyFile { old, new, major })
    }

    /// A shared write: the file's own page (`do_shared_fault`).
    fn do_shared_fault(&mut self, fault: Fault) -> Result<FaultKind, VmFault> {
        let (pfn, major) = self.fault_page(fault)?;
        self.page_mkwrite(fault.file, pfn);
        self.finish_fault(fault, pfn, true)?;
        self.set_page_dirty(pfn);
        Ok(FaultKind::SharedFile { pfn, major })
    }

    /// A file on a disk is told before a page of it is written through a mapping (`page_mkwrite`).
    fn page_mkwrite(&mut self, file: FileId, pfn: Pfn) {
        if self.files[file].can_writeback() {
            // What is being written must not change under the device's hands.
            self.wait_on_page_writeback(pfn);
            self.set_page_dirty(pfn);
        }
    }

    /// A write to a page of a shared area whose entry forbids it (`wp_page_shared`).
    pub(super) fn wp_page_shared(
        &mut self,
        mm: MmId,
        vma: VmaId,
        leaf: TableId,
        addr: VirtAddr,
        pte: Pte,
    ) -> Result<FaultKind, VmFault> {
        let pfn = pte.pfn();
        if let Some(file) = self.vmas[vma].file {
            self.page_mkwrite(file, pfn);
        }
        // Waiting may have let reclaim in: then the fault is tried again.
        let leaf = self.leaf(mm, addr).unwrap_or(leaf);
        let now = Pte(self.tables.get(leaf).entries[index(addr, 0)]);
        if now.pfn() != pfn || !now.is_present() {
            return Ok(FaultKind::Spurious);
        }
        self.tables.set(leaf, addr, now.with(Pte::RW | Pte::DIRTY | Pte::ACCESSED | Pte::SOFT_DIRTY));
        self.flush_tlb_page(mm, addr);
        self.vmstat.count(VmEvent::Pgreuse, 1);
        self.set_page_dirty(pfn);
        Ok(FaultKind::Mkwrite { pfn })
    }

    /// Takes pages of a file out of part of an area; private copies only if asked to (`zap_page_range_single`).
    pub(crate) fn zap_file_range(&mut self, vma: VmaId, range: std::ops::Range<u64>, even_cows: bool) {
        if even_cows {
            return self.zap_range(vma, range.start, range.end);
        }
        let mm = self.vmas[vma].mm;
        let pgd = self.mms[mm].pgd;
        let mut at = range.start;
        while let Some((leaf, part)) = self.tables.next_leaf(pgd, at, range.end) {
            at = part.end;
            for addr in part.step_by(PAGE_SIZE as usize) {
                let pte = Pte(self.tables.get(leaf).entries[index(VirtAddr(addr), 0)]);
                if pte.is_present() && !pte.has(Pte::SPECIAL) && self.file_of(pte.pfn()).is_some() {
                    self.zap_range(vma, addr, addr + PAGE_SIZE);
                }
            }
        }
    }
}

/// The first index of the next node of the page cache's tree.
fn next_node(index: u32) -> Option<u32> {
    (index | 63).checked_add(1)
}
