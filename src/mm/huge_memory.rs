//! Huge pages of tasks: 2 MiB that one entry of the table above maps.
//!
//! ```text
//!   PMD ── PSE ──► 512 frames in a row                     first touch of an aligned 2 MiB of an area that wants it
//!    └── split ──► PTE table ──► 512 entries, same frames  when a part of them needs an entry of its own
//! ```
//!
//! The table that a split needs is put aside when the huge page is mapped, as in the kernel: nothing can fail later.
//! Here it holds the entries from the start that the split would write into it, so that whoever looks for the page of an
//! address finds it; [`Table::huge`](crate::mm::pgtable::Table) says that the table above does not know it yet.
//!
//! Gorman has no such thing (2.4 maps tasks' memory by small pages only). Kernel: `mm/huge_memory.c`.
//! Fidelity: simplified — when a huge page is used, how it is allocated, when its entry is split and what is counted are
//! faithful; its 512 pages are pages of their own from the start, where the kernel has one compound page: they age one by
//! one, and what is unmapped of them is free at once. Absent — huge pages of files and of swap.

use crate::mm::addr::{Order, PAGE_SIZE, Pfn, VirtAddr};
use crate::mm::config::{Arch, ThpMode};
use crate::mm::gfp::Gfp;
use crate::mm::machine::Machine;
use crate::mm::memory::VmFault;
use crate::mm::page::PageFlags;
use crate::mm::pgtable::{PTRS_PER_TABLE, Pte, TableId};
use crate::mm::task::{MmId, Rss};
use crate::mm::trace::FaultKind;
use crate::mm::vma::{VmFlags, Vma, VmaId};
use crate::mm::vmstat::{NodeStat, VmEvent};

/// Bytes of a huge page (`HPAGE_PMD_SIZE`).
pub const HPAGE_SIZE: u64 = PTRS_PER_TABLE as u64 * PAGE_SIZE;
/// Pages of a huge page (`HPAGE_PMD_NR`).
pub const HPAGE_PAGES: u64 = PTRS_PER_TABLE as u64;
/// Its order (`HPAGE_PMD_ORDER`).
pub(crate) const HPAGE_ORDER: u8 = 9;
/// Below this, huge pages and all that belongs to them are switched off at boot, in pages.
const SMALL_MACHINE: u64 = 512 << (20 - 12);

impl Machine {
    /// May huge pages stand in an area at all? (`hugepage_vma_check`)
    pub fn hugepage_vma_check(&self, vma: &Vma) -> bool {
        let wanted = match self.thp {
            ThpMode::Always => !vma.flags.has(VmFlags::NOHUGEPAGE),
            ThpMode::Madvise => vma.flags.has(VmFlags::HUGEPAGE) && !vma.flags.has(VmFlags::NOHUGEPAGE),
            ThpMode::Never => false,
        };
        // Without PAE an entry above maps 4 MiB, and tasks are never given that.
        let arch = self.config.arch != Arch::I386;
        arch && wanted && vma.is_anonymous() && !vma.flags.has(VmFlags::GROWSDOWN)
    }

    /// Reads are served by a shared huge page of zeros (`use_zero_page`): not on a small machine.
    fn uses_huge_zero_page(&self) -> bool {
        self.totalram_pages() >= SMALL_MACHINE
    }

    /// What an allocation of a huge page may do: without advice it must be at hand (`vma_thp_gfp_mask`).
    fn thp_gfp(&self, flags: VmFlags) -> Gfp {
        let reclaim = flags.has(VmFlags::HUGEPAGE) && self.totalram_pages() >= SMALL_MACHINE;
        let light = Gfp::TRANSHUGE_LIGHT.without(Gfp::COMP) | Gfp::ZERO;
        if reclaim { light | Gfp::DIRECT_RECLAIM } else { light }
    }

    /// First touch of 2 MiB without a table: a huge page, if the area may have one there and one is to be had
    /// (`do_huge_pmd_anonymous_page`); else nothing, and small pages follow.
    pub(crate) fn do_huge_pmd_anonymous_page(
        &mut self,
        mm: MmId,
        id: VmaId,
        addr: VirtAddr,
        write: bool,
    ) -> Result<Option<FaultKind>, VmFault> {
        let vma = &self.vmas[id];
        let start = addr.0 & !(HPAGE_SIZE - 1);
        if start < vma.start || start + HPAGE_SIZE > vma.end || !self.hugepage_vma_check(vma) {
            return Ok(None);
        }
        let flags = vma.flags;
        let anon = self.anon_vma_prepare(id);
        if !write && self.uses_huge_zero_page() {
            return self.map_huge_zero_page(mm, flags, VirtAddr(start));
        }
        let order = Order::new(HPAGE_ORDER).unwrap_or_default();
        let Ok(head) = self.alloc_pages(self.thp_gfp(flags), order) else {
            self.vmstat.count(VmEvent::ThpFaultFallback, 1);
            return Ok(None);
        };
        let leaf = match self.pte_alloc(mm, VirtAddr(start)) {
            Ok(leaf) => leaf,
            Err(e) => {
                self.mem_map.page_mut(head).refcount = 0;
                self.free_unreferenced(head, order);
                return Err(e.into());
            }
        };
        let split = self.split_page(head, order);
        debug_assert!(split.is_ok(), "it was just allocated");
        let mut bits = flags.page_prot() | Pte::DIRTY | Pte::SOFT_DIRTY;
        if flags.has(VmFlags::WRITE) {
            bits |= Pte::RW;
        }
        for n in 0..PTRS_PER_TABLE {
            let pfn = head.up(n as u32);
            self.add_new_anon_page(pfn, id, anon, VirtAddr(start + n as u64 * PAGE_SIZE));
            self.mem_map.page_mut(pfn).set(PageFlags::PRIVATE_2);
            self.tables.get_mut(leaf).entries[n] = Pte::new(pfn, bits).0;
        }
        self.add_rss(mm, Rss::Anon, HPAGE_PAGES as i64);
        self.set_huge_pmd(mm, VirtAddr(start), leaf, Pte::new(head, bits));
        self.vmstat.count(VmEvent::ThpFaultAlloc, 1);
        Ok(Some(FaultKind::HugePage { pfn: head }))
    }

    /// A read maps the huge page of zeros that all tasks share (`set_huge_zero_page`).
    fn map_huge_zero_page(
        &mut self,
        mm: MmId,
        flags: VmFlags,
        start: VirtAddr,
    ) -> Result<Option<FaultKind>, VmFault> {
        let Some(zero) = self.get_huge_zero_page() else {
            self.vmstat.count(VmEvent::ThpFaultFallback, 1);
            return Ok(None);
        };
        let leaf = self.pte_alloc(mm, start)?;
        // What a split leaves: every small entry shows the frame of zeros.
        let small = self.zero_pte(flags).0;
        self.tables.get_mut(leaf).entries.fill(small);
        let pmd = Pte::new(zero, flags.page_prot());
        self.tables.set_huge(self.mms[mm].pgd, start, Some(pmd.with(Pte::PSE)));
        Ok(Some(FaultKind::HugeZeroPage))
    }

    /// The huge page of zeros, allocated when it is wanted for the first time (`get_huge_zero_page`).
    fn get_huge_zero_page(&mut self) -> Option<Pfn> {
        if self.huge_zero.is_none() {
            let order = Order::new(HPAGE_ORDER)?;
            let gfp = Gfp::TRANSHUGE.without(Gfp::MOVABLE) | Gfp::ZERO;
            match self.alloc_pages(gfp, order) {
                Ok(pfn) => {
                    self.huge_zero = Some(pfn);
                    self.vmstat.count(VmEvent::ThpZeroPageAlloc, 1);
                }
                Err(_) => self.vmstat.count(VmEvent::ThpZeroPageAllocFailed, 1),
            }
        }
        self.huge_zero
    }

    /// The table above maps a whole leaf by one entry from now on.
    pub(crate) fn set_huge_pmd(&mut self, mm: MmId, addr: VirtAddr, leaf: TableId, pmd: Pte) {
        self.count_huge(leaf, 1);
        self.tables.set_huge(self.mms[mm].pgd, addr, Some(pmd.with(Pte::PSE)));
    }

    /// Counts a huge page when the first entry maps it as one, or the last one no longer does (`NR_ANON_THPS`).
    fn count_huge(&mut self, leaf: TableId, n: i64) {
        let first = Pte(self.tables.get(leaf).entries[0]);
        if first.has(Pte::SPECIAL) || !first.is_present() {
            return;
        }
        let others = self.rmap(first.pfn()).iter().any(|(_, _, l)| *l != leaf && self.tables.get(*l).huge);
        if !others {
            let pgdat = self.zones[self.mem_map.page(first.pfn()).zone().index()].pgdat;
            self.nodes[pgdat].mod_stat(NodeStat::AnonTransparentHugepages, n);
        }
    }

    /// The 2 MiB of an address get entries of their own (`__split_huge_pmd`); nothing when they have them already.
    pub(crate) fn split_huge_pmd(&mut self, mm: MmId, addr: VirtAddr) {
        let Some(leaf) = self.huge_leaf(mm, addr) else { return };
        // What the one entry knew of accesses, each of the many must know.
        let table = self.tables.get_mut(leaf);
        let marks = table.entries.iter().fold(0, |all, entry| all | entry & (Pte::ACCESSED | Pte::DIRTY));
        table
            .entries
            .iter_mut()
            .filter(|entry| **entry & Pte::SPECIAL == 0)
            .for_each(|entry| *entry |= marks);
        self.clear_huge_pmd(mm, addr, leaf);
        self.vmstat.count(VmEvent::ThpSplitPmd, 1);
    }

    /// The pages of a huge page are nothing but pages from now on: one of them goes to swap (`split_huge_page`).
    pub(crate) fn split_huge_page(&mut self, pfn: Pfn) {
        let head = Pfn(pfn.0 & !(PTRS_PER_TABLE as u32 - 1));
        for n in 0..PTRS_PER_TABLE as u32 {
            if self.mem_map.page(head.up(n)).is_thp() {
                self.mem_map.page_mut(head.up(n)).clear(PageFlags::PRIVATE_2);
            }
        }
        self.vmstat.count(VmEvent::ThpSplitPage, 1);
    }

    /// Forgets the translations of the 2 MiB around an address (`pmdp_huge_clear_flush`).
    pub(crate) fn flush_huge_pmd(&mut self, mm: MmId, addr: VirtAddr) {
        let start = addr.0 & !(HPAGE_SIZE - 1);
        self.flush_tlb_range(mm, start, start + HPAGE_SIZE, false);
    }

    /// The table above names the leaf again.
    fn clear_huge_pmd(&mut self, mm: MmId, addr: VirtAddr, leaf: TableId) {
        self.count_huge(leaf, -1);
        self.tables.set_huge(self.mms[mm].pgd, addr, None);
        self.flush_huge_pmd(mm, addr);
    }

    /// The leaf of an address, if one entry of the table above maps the whole of it.
    #[inline]
    pub fn huge_leaf(&self, mm: MmId, addr: VirtAddr) -> Option<TableId> {
        let leaf = self.tables.leaf(self.mms[mm].pgd, addr)?;
        self.tables.get(leaf).huge.then_some(leaf)
    }

    /// Part of an address space is about to change: a huge page that lies in it as a whole stays one, others are split.
    /// True when it stays.
    pub(crate) fn keep_or_split(&mut self, mm: MmId, start: u64, end: u64) -> bool {
        if self.huge_leaf(mm, VirtAddr(start)).is_none() {
            return false;
        }
        let whole = end - start == HPAGE_SIZE;
        if !whole {
            self.split_huge_pmd(mm, VirtAddr(start));
        }
        whole
    }

    /// Takes a huge page that lies in the range out of the table above before its entries are zapped
    /// (`zap_huge_pmd`); one that lies there in part is split, and queued to be split as a page.
    pub(crate) fn zap_huge_pmd(&mut self, mm: MmId, start: u64, end: u64) -> bool {
        let Some(leaf) = self.huge_leaf(mm, VirtAddr(start)) else { return false };
        if end - start == HPAGE_SIZE {
            self.clear_huge_pmd(mm, VirtAddr(start), leaf);
            return true;
        }
        let zero = Pte(self.tables.get(leaf).entries[0]).has(Pte::SPECIAL);
        self.split_huge_pmd(mm, VirtAddr(start));
        self.vmstat.count(VmEvent::ThpDeferredSplitPage, u64::from(!zero));
        false
    }

    /// A write to a huge page that its entry forbids: alone it becomes writable, else it is split and the small page
    /// is dealt with (`do_huge_pmd_wp_page`). True when it became writable.
    pub(crate) fn do_huge_pmd_wp_page(&mut self, mm: MmId, leaf: TableId, addr: VirtAddr) -> bool {
        let alone = |m: &Machine, entry: u64| {
            let page = m.mem_map.page(Pte(entry).pfn());
            page.is(PageFlags::EXCLUSIVE) || page.refcount == 1
        };
        let entries = self.tables.get(leaf).entries;
        let zero = Pte(entries[0]).has(Pte::SPECIAL);
        if zero || !entries.iter().all(|entry| alone(self, *entry)) {
            self.split_huge_pmd(mm, addr);
            return false;
        }
        for entry in entries {
            self.mem_map.page_mut(Pte(entry).pfn()).set(PageFlags::EXCLUSIVE);
        }
        self.tables
            .get_mut(leaf)
            .entries
            .iter_mut()
            .for_each(|entry| *entry |= Pte::RW | Pte::DIRTY | Pte::ACCESSED);
        self.sync_huge_pmd(mm, addr, leaf);
        self.flush_huge_pmd(mm, addr);
        true
    }

    /// The entry of the table above gets the rights that the entries put aside have.
    pub(crate) fn sync_huge_pmd(&mut self, mm: MmId, addr: VirtAddr, leaf: TableId) {
        let first = Pte(self.tables.get(leaf).entries[0]);
        let pmd = match self.huge_zero.filter(|_| first.has(Pte::SPECIAL)) {
            Some(zero) => Pte::new(zero, first.0 & !Pte::new(Pfn(u32::MAX), 0).0 & !Pte::SPECIAL),
            None => first,
        };
        self.tables.set_huge(self.mms[mm].pgd, addr, Some(pmd.with(Pte::PSE)));
    }

    /// A child's copied entries map a huge page as one, as the parent's do (`copy_huge_pmd`).
    pub(crate) fn copy_huge_pmd(&mut self, from: MmId, to: MmId, addr: VirtAddr) {
        let Some(source) = self.huge_leaf(from, addr) else { return };
        self.sync_huge_pmd(from, addr, source);
        if let Some(leaf) = self.tables.leaf(self.mms[to].pgd, addr) {
            self.sync_huge_pmd(to, addr, leaf);
        }
    }
}
