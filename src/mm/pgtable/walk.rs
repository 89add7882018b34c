//! Walking page tables, making them and taking them away.
//!
//! Gorman 3.3, 3.4. Kernel: `mm/memory.c` (`__pte_alloc`, `free_pgtables`), `arch/x86/mm/pgtable.c`.
//! Fidelity: faithful — which tables are allocated and freed, what is counted.

use super::{Pte, TableId, UpperId};
use crate::mm::addr::{Order, Pfn, VirtAddr};
use crate::mm::errno::Errno;
use crate::mm::gfp::Gfp;
use crate::mm::machine::Machine;
use crate::mm::page::PageType;
use crate::mm::task::MmId;
use crate::mm::vmstat::NodeStat;
use std::ops::Range;

/// `GFP_PGTABLE_USER`: zeroed, charged to the cgroup.
const PGTABLE_USER: Gfp = Gfp(Gfp::KERNEL_ACCOUNT.0 | Gfp::ZERO.0);

/// One step of a walk, for `vtop` and `draw`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WalkStep {
    /// 0 for the PTE; the PGD has the highest.
    pub level: u8,
    /// The frame of the table.
    pub table: Pfn,
    /// The index into it.
    pub index: usize,
    /// What is there.
    pub entry: Pte,
}

impl Machine {
    /// The walk from the PGD down, as far as there are tables.
    pub fn walk(&self, pgd: UpperId, addr: VirtAddr) -> Vec<WalkStep> {
        let geometry = &self.tables.geometry;
        let mut steps = Vec::new();
        let mut table = self.tables.upper(pgd);
        loop {
            let index = geometry.index(addr, table.level);
            let entry = Pte(table.entries[index]);
            steps.push(WalkStep { level: table.level, table: table.pfn, index, entry });
            match table.upper_below(index) {
                Some(below) => table = self.tables.upper(below),
                None if entry.has(Pte::PSE) => return steps,
                None => break,
            }
        }
        if let Some(leaf) = self.tables.leaf(pgd, addr) {
            let leaf = self.tables.get(leaf);
            let entry = Pte(leaf.entries[super::index(addr, 0)]);
            steps.push(WalkStep { level: 0, table: leaf.pfn, index: geometry.index(addr, 0), entry });
        }
        steps
    }

    /// Entries of a top table that belong to user space; the rest are the kernel's.
    pub fn user_pgd_entries(&self) -> usize {
        let geometry = &self.tables.geometry;
        match self.config.arch.is_64bit() {
            // One table each for user and kernel, or a kernel that lives elsewhere.
            true if self.config.arch != crate::mm::config::Arch::X86_64 => geometry.entries(geometry.top()),
            true => geometry.entries(geometry.top()) / 2,
            false => (self.layout.direct.start >> geometry.shift(geometry.top())) as usize,
        }
    }

    /// Allocates the top table of an address space (`pgd_alloc`), with the kernel's entries.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(crate) fn pgd_alloc(&mut self) -> Result<UpperId, Errno> {
        let geometry = self.tables.geometry;
        let pfn = self.alloc_pages(PGTABLE_USER, geometry.pgd_order())?;
        self.mem_map.page_mut(pfn).set_page_type(Some(PageType::Table));
        let pgd = self.tables.insert_upper(pfn, geometry.top());
        for entry in 0..geometry.preallocated() {
            match self.alloc_pages(PGTABLE_USER, Order::ZERO) {
                Ok(pfn) => {
                    self.mem_map.page_mut(pfn).set_page_type(Some(PageType::Table));
                    self.tables.insert_below(pgd, entry, pfn, Pte::PRESENT);
                    self.count_table(pfn, geometry.top() - 1, 1);
                }
                Err(errno) => {
                    self.pgd_free(pgd);
                    return Err(errno);
                }
            }
        }
        self.copy_kernel_entries(pgd);
        Ok(pgd)
    }

    /// Frees the top table and those it came with; the others are gone already (`pgd_free`).
    pub(crate) fn pgd_free(&mut self, pgd: UpperId) {
        let geometry = self.tables.geometry;
        for entry in 0..geometry.preallocated() {
            if let Some(pfn) = self.tables.remove_below(pgd, entry) {
                self.count_table(pfn, geometry.top() - 1, -1);
                self.free_table_frame(pfn, Order::ZERO);
            }
        }
        let pfn = self.tables.upper(pgd).pfn;
        self.tables.remove_top(pgd);
        self.free_table_frame(pfn, geometry.pgd_order());
    }

    /// Bytes of tables that a new top table comes with.
    pub(crate) fn preallocated_bytes(&self) -> u64 {
        self.tables.geometry.preallocated() as u64 * crate::mm::addr::PAGE_SIZE
    }

    /// The leaf that covers an address; missing tables are allocated (`pte_alloc`).
    ///
    /// # Errors
    /// `ENOMEM`; upper tables that were made stay, as in the kernel.
    pub(crate) fn pte_alloc(&mut self, mm: MmId, addr: VirtAddr) -> Result<TableId, Errno> {
        let above = self.table_above(mm, addr)?;
        self.table_below(mm, above, addr, &mut |m| m.alloc_pages(PGTABLE_USER, Order::ZERO))?;
        self.tables.leaf(above, addr).ok_or(Errno::ENOMEM)
    }

    /// The table above the PTE table of an address, its PMD; missing tables are allocated (`pmd_alloc`).
    ///
    /// # Errors
    /// `ENOMEM`, as [`Machine::pte_alloc`].
    pub(crate) fn table_above(&mut self, mm: MmId, addr: VirtAddr) -> Result<UpperId, Errno> {
        self.table_above_with(mm, addr, &mut |m| m.alloc_pages(PGTABLE_USER, Order::ZERO))
    }

    /// The same, with frames that are in use already; `None` when they run out.
    pub(crate) fn leaf_from(
        &mut self,
        mm: MmId,
        addr: VirtAddr,
        frames: &mut impl Iterator<Item = Pfn>,
    ) -> Option<TableId> {
        let mut frame = |_: &mut Machine| frames.next().ok_or(Errno::ENOMEM);
        let above = self.table_above_with(mm, addr, &mut frame).ok()?;
        self.table_below(mm, above, addr, &mut frame).ok()?;
        self.tables.leaf(above, addr)
    }

    fn table_above_with(
        &mut self,
        mm: MmId,
        addr: VirtAddr,
        frame: &mut impl FnMut(&mut Machine) -> Result<Pfn, Errno>,
    ) -> Result<UpperId, Errno> {
        let mut id = self.mms[mm].pgd;
        while self.tables.upper(id).level > 1 {
            let entry = self.table_below(mm, id, addr, frame)?;
            id = self.tables.upper(id).upper_below(entry).ok_or(Errno::ENOMEM)?;
        }
        Ok(id)
    }

    /// Makes the table below an upper one if it is missing; the entry that leads to it.
    fn table_below(
        &mut self,
        mm: MmId,
        id: UpperId,
        addr: VirtAddr,
        frame: &mut impl FnMut(&mut Machine) -> Result<Pfn, Errno>,
    ) -> Result<usize, Errno> {
        let level = self.tables.upper(id).level;
        let entry = self.tables.geometry.index(addr, level);
        if self.tables.upper(id).below(entry).next().is_none() {
            let pfn = frame(self)?;
            self.mem_map.page_mut(pfn).set_page_type(Some(PageType::Table));
            self.tables.insert_below(id, entry, pfn, Pte::TABLE);
            self.account_table(mm, pfn, level - 1, 1);
        }
        Ok(entry)
    }

    fn account_table(&mut self, mm: MmId, pfn: Pfn, level: u8, n: i64) {
        // The kernel counts PTE, PMD and PUD tables (`mm_inc_nr_puds`), no others.
        if level < 3 {
            let bytes = &mut self.mms[mm].pgtables_bytes;
            *bytes = bytes.wrapping_add_signed(n * 4096);
        }
        self.count_table(pfn, level, n);
    }

    fn count_table(&mut self, pfn: Pfn, level: u8, n: i64) {
        // PUD tables have no constructor: nr_page_table_pages does not count them.
        if level < 2 {
            let pgdat = self.zones[self.mem_map.page(pfn).zone().index()].pgdat;
            self.nodes[pgdat].mod_stat(NodeStat::PageTablePages, n);
        }
    }

    pub(crate) fn free_table_frame(&mut self, pfn: Pfn, order: Order) {
        let page = self.mem_map.page_mut(pfn);
        page.set_page_type(None);
        page.refcount = 0;
        self.free_unreferenced(pfn, order);
    }

    /// Frees the tables of a range that is unmapped, as far as they lie between its neighbours (`free_pgtables`).
    ///
    /// The tables that cover `start..end` are looked at; those are freed that lie wholly in `floor..ceiling`.
    pub(crate) fn free_pgtables(&mut self, mm: MmId, range: Range<u64>, floor: u64, ceiling: u64) {
        // No table covers less than a PMD entry: what the neighbours need of the first and the last one stays
        // (free_pgd_range).
        let pmd = self.tables.geometry.span(1);
        let first = range.start & !(pmd - 1);
        let last = range.end.saturating_sub(1) | (pmd - 1);
        let start = if first < floor { first.saturating_add(pmd) } else { first };
        let end = if last >= ceiling { last.saturating_sub(pmd) } else { last };
        if start > end {
            return;
        }
        let pgd = self.mms[mm].pgd;
        self.free_tables_below(mm, pgd, 0, &(start..end.saturating_add(1)), &(floor..ceiling));
        self.mms[mm].leaf_cache = None;
    }

    fn free_tables_below(
        &mut self,
        mm: MmId,
        id: UpperId,
        base: u64,
        range: &Range<u64>,
        between: &Range<u64>,
    ) {
        let level = self.tables.upper(id).level;
        let geometry = &self.tables.geometry;
        let shift = geometry.shift(level);
        let span = 1 << shift;
        let most =
            if level == geometry.top() { self.user_pgd_entries() } else { geometry.entries(level) } as u64;
        let first = (range.start.saturating_sub(base) >> shift).min(most) as usize;
        let last = range.end.saturating_sub(base).checked_sub(1).map_or(0, |last| (last >> shift) + 1);
        for entry in first..last.min(most) as usize {
            let table = self.tables.upper(id);
            if table.below(entry).next().is_none() {
                continue;
            }
            let start = base + entry as u64 * span;
            if let Some(below) = table.upper_below(entry) {
                self.free_tables_below(mm, below, start, range, between);
            }
            if start >= between.start
                && start + span <= between.end
                && let Some(pfn) = self.tables.remove_below(id, entry)
            {
                self.account_table(mm, pfn, level - 1, -1);
                self.free_table_frame(pfn, Order::ZERO);
            }
        }
    }
}
