//! Page tables: trees of 512 entries whose tables are frames of the machine.
//!
//! ```text
//!   47       39 38       30 29       21 20       12 11         0
//!   ┌──────────┬──────────┬──────────┬──────────┬────────────┐
//!   │   PGD    │   PUD    │   PMD    │   PTE    │   offset   │
//!   └──────────┴──────────┴──────────┴──────────┴────────────┘
//!   an entry:  63 NX │ 51…12 frame │ 11 soft-dirty │ 8 G │ 7 PSE │ 6 D │ 5 A │ 2 US │ 1 RW │ 0 P
//!   not present, not zero: a swap entry — type in bits 63…59, offset inverted in bits 58…9
//! ```
//!
//! Gorman chapter 3. Kernel: `arch/x86/include/asm/pgtable_types.h`, `pgtable_64.h`, `mm/memory.c`.
//! Fidelity: faithful — entry bits, swap entries, table frames, accounting. Simplified — an entry of an upper level
//! also knows where the simulator keeps the lower table. Absent — five levels, page-table locks.

use crate::mm::addr::{Order, PAGE_SHIFT, Pfn, VirtAddr};
use crate::mm::errno::Errno;
use crate::mm::gfp::Gfp;
use crate::mm::machine::Machine;
use crate::mm::page::PageType;
use crate::mm::task::MmId;
use crate::mm::vmstat::NodeStat;
use std::ops::Range;
use std::rc::Rc;

/// Entries of a table.
pub const PTRS_PER_TABLE: usize = 512;
/// Levels of tables: PGD, PUD, PMD, PTE.
pub const LEVELS: u8 = 4;
/// Names of the levels, lowest first.
pub const LEVEL_NAMES: [&str; 4] = ["PTE", "PMD", "PUD", "PGD"];

/// One entry of a page table.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Pte(pub u64);

#[allow(missing_docs)]
impl Pte {
    pub const PRESENT: u64 = 1;
    pub const RW: u64 = 1 << 1;
    pub const USER: u64 = 1 << 2;
    pub const PWT: u64 = 1 << 3;
    pub const PCD: u64 = 1 << 4;
    pub const ACCESSED: u64 = 1 << 5;
    pub const DIRTY: u64 = 1 << 6;
    pub const PSE: u64 = 1 << 7;
    pub const GLOBAL: u64 = 1 << 8;
    /// Present for the kernel, not for the processor: the area forbids every access.
    pub const PROTNONE: u64 = 1 << 8;
    /// Not a page of memory that is counted: the zero page.
    pub const SPECIAL: u64 = 1 << 9;
    pub const SOFT_DIRTY: u64 = 1 << 11;
    pub const NX: u64 = 1 << 63;
    const FRAME: u64 = 0x000f_ffff_ffff_f000;
    /// An upper entry, as the kernel writes it: `_PAGE_TABLE`.
    pub const TABLE: u64 = Pte::PRESENT | Pte::RW | Pte::USER | Pte::ACCESSED | Pte::DIRTY;
    /// In a swap entry: this anonymous page belonged to one process alone.
    const SWP_EXCLUSIVE: u64 = 1 << 3;

    /// Names of the bits, as crash prints them.
    pub const NAMES: &[(u64, &str)] = &[
        (Pte::PRESENT, "PRESENT"),
        (Pte::RW, "RW"),
        (Pte::USER, "USER"),
        (Pte::PWT, "PWT"),
        (Pte::PCD, "PCD"),
        (Pte::ACCESSED, "ACCESSED"),
        (Pte::DIRTY, "DIRTY"),
        (Pte::PSE, "PSE"),
        (Pte::GLOBAL, "GLOBAL"),
        (Pte::NX, "NX"),
    ];

    /// An entry that maps a frame.
    #[inline]
    pub fn new(pfn: Pfn, bits: u64) -> Pte {
        Pte(u64::from(pfn.0) << PAGE_SHIFT | bits)
    }

    /// Nothing was ever here.
    #[inline]
    pub fn is_none(self) -> bool {
        self.0 == 0
    }

    /// A page is here, also when the area forbids every access (`pte_present`).
    #[inline]
    pub fn is_present(self) -> bool {
        self.0 & (Pte::PRESENT | Pte::PROTNONE) != 0
    }

    /// The processor may use it.
    #[inline]
    pub fn is_valid(self) -> bool {
        self.0 & Pte::PRESENT != 0
    }

    /// True when these bits are set.
    #[inline]
    pub fn has(self, bits: u64) -> bool {
        self.0 & bits == bits
    }

    /// With these bits set.
    #[inline]
    pub fn with(self, bits: u64) -> Pte {
        Pte(self.0 | bits)
    }

    /// With these bits cleared.
    #[inline]
    pub fn without(self, bits: u64) -> Pte {
        Pte(self.0 & !bits)
    }

    /// The frame mapped.
    #[inline]
    pub fn pfn(self) -> Pfn {
        Pfn(((self.0 & Pte::FRAME) >> PAGE_SHIFT) as u32)
    }

    /// An entry for a page that lies in swap (`swp_entry_to_pte`).
    pub fn swap(entry: SwapEntry, exclusive: bool) -> Pte {
        let offset = !u64::from(entry.offset) << 14 >> 5;
        Pte(u64::from(entry.area) << 59 | offset | if exclusive { Pte::SWP_EXCLUSIVE } else { 0 })
    }

    /// True for a page that lies in swap (`is_swap_pte`).
    #[inline]
    pub fn is_swap(self) -> bool {
        // An inverted offset leaves high bits set that no frame number below 16 TiB can have.
        self.0 & Pte::PRESENT == 0 && self.0 & 0x07ff_0000_0000_0000 != 0
    }

    /// Where in swap the page lies.
    #[inline]
    pub fn swap_entry(self) -> SwapEntry {
        SwapEntry { area: (self.0 >> 59) as u8, offset: (!(self.0 << 5 >> 14)) as u32 }
    }

    /// The page in swap belonged to one process alone.
    #[inline]
    pub fn swap_exclusive(self) -> bool {
        self.has(Pte::SWP_EXCLUSIVE)
    }
}

/// A place in swap: which area, which slot (`swp_entry_t`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct SwapEntry {
    /// Index of the area.
    pub area: u8,
    /// The slot; 0 is the area's header.
    pub offset: u32,
}

/// Index of a table in the simulator's store.
pub type TableId = u32;
/// No table.
pub const NO_TABLE: TableId = u32::MAX;

/// A table: a frame, its entries, and where the tables below it are kept.
#[derive(Clone, Debug)]
pub struct Table {
    /// The frame that holds it.
    pub pfn: Pfn,
    /// 0 for PTE tables, 3 for the PGD.
    pub level: u8,
    /// The entries.
    pub entries: [u64; PTRS_PER_TABLE],
    /// Tables below; empty for PTE tables.
    pub below: Vec<TableId>,
    /// A PTE table put aside: one entry of the table above maps all of it, as a huge page.
    pub huge: bool,
}

/// Every page table of the machine; a snapshot shares them as it shares sections of the `mem_map`.
#[derive(Clone, Default)]
pub struct Tables {
    /// Tables that are this machine's alone.
    owned: Vec<Option<Box<Table>>>,
    /// Tables that a snapshot may hold as well. The box goes back and forth: sharing copies no table.
    #[allow(clippy::redundant_allocation)]
    shared: Vec<Option<Rc<Box<Table>>>>,
    free: Vec<TableId>,
}

impl Tables {
    /// How many tables there are.
    pub fn len(&self) -> usize {
        self.owned.len() - self.free.len()
    }

    /// True without tables.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn insert(&mut self, pfn: Pfn, level: u8) -> TableId {
        let below = if level == 0 { Vec::new() } else { vec![NO_TABLE; PTRS_PER_TABLE] };
        let table = Some(Box::new(Table { pfn, level, entries: [0; PTRS_PER_TABLE], below, huge: false }));
        match self.free.pop() {
            Some(id) => {
                self.owned[id as usize] = table;
                id
            }
            None => {
                self.owned.push(table);
                self.shared.push(None);
                (self.owned.len() - 1) as TableId
            }
        }
    }

    fn remove(&mut self, id: TableId) {
        self.owned[id as usize] = None;
        self.shared[id as usize] = None;
        self.free.push(id);
    }

    /// A table.
    ///
    /// # Panics
    /// When there is none of that number: a bug of the simulator.
    #[inline(always)]
    pub fn get(&self, id: TableId) -> &Table {
        match &self.owned[id as usize] {
            Some(table) => table,
            None => self.get_shared(id),
        }
    }

    #[inline(never)]
    fn get_shared(&self, id: TableId) -> &Table {
        match &self.shared[id as usize] {
            Some(table) => table,
            None => unreachable!("table {id} is free"),
        }
    }

    /// A table, to be changed; it becomes this machine's own.
    #[inline(always)]
    pub fn get_mut(&mut self, id: TableId) -> &mut Table {
        let Tables { owned, shared, .. } = self;
        owned[id as usize].get_or_insert_with(|| own(shared, id))
    }

    /// Shares every table with the copy it returns.
    pub fn snapshot(&mut self) -> Tables {
        for (owned, shared) in self.owned.iter_mut().zip(&mut self.shared) {
            if let Some(table) = owned.take() {
                *shared = Some(Rc::new(table));
            }
        }
        self.clone()
    }

    /// The PTE table that covers an address, if there is one.
    #[inline]
    pub fn leaf(&self, pgd: TableId, addr: VirtAddr) -> Option<TableId> {
        let mut table = pgd;
        for level in (1..LEVELS).rev() {
            table = self.get(table).below[index(addr, level)];
            if table == NO_TABLE {
                return None;
            }
        }
        Some(table)
    }

    /// The table whose entry leads to the PTE table of an address: its PMD, if there is one.
    pub(crate) fn above_leaf(&self, pgd: TableId, addr: VirtAddr) -> Option<TableId> {
        let mut table = pgd;
        for level in (2..LEVELS).rev() {
            table = self.get(table).below[index(addr, level)];
            if table == NO_TABLE {
                return None;
            }
        }
        Some(table)
    }

    /// The entry for an address; nothing when no table covers it.
    #[inline]
    pub fn pte(&self, pgd: TableId, addr: VirtAddr) -> Pte {
        self.leaf(pgd, addr).map_or(Pte(0), |leaf| Pte(self.get(leaf).entries[index(addr, 0)]))
    }

    /// Makes the entry above a PTE table map all of it as a huge page, or name the table again.
    pub(crate) fn set_huge(&mut self, pgd: TableId, addr: VirtAddr, huge: Option<Pte>) {
        let (Some(above), Some(leaf)) = (self.above_leaf(pgd, addr), self.leaf(pgd, addr)) else { return };
        let entry = huge.unwrap_or(Pte::new(self.get(leaf).pfn, Pte::TABLE));
        self.get_mut(leaf).huge = huge.is_some();
        self.get_mut(above).entries[index(addr, 1)] = entry.0;
    }

    /// Changes an entry of a PTE table.
    #[inline]
    pub fn set(&mut self, leaf: TableId, addr: VirtAddr, pte: Pte) {
        self.get_mut(leaf).entries[index(addr, 0)] = pte.0;
    }
}

/// A shared table, copied unless nobody else holds it.
#[cold]
#[allow(clippy::redundant_allocation)]
fn own(shared: &mut [Option<Rc<Box<Table>>>], id: TableId) -> Box<Table> {
    match shared[id as usize].take() {
        Some(table) => Rc::try_unwrap(table).unwrap_or_else(|shared| (*shared).clone()),
        None => unreachable!("table {id} is free"),
    }
}

/// The index into a table of a level.
#[inline]
pub fn index(addr: VirtAddr, level: u8) -> usize {
    (addr.0 >> (PAGE_SHIFT + 9 * u32::from(level))) as usize & (PTRS_PER_TABLE - 1)
}

/// One step of a walk, for `vtop` and `draw`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WalkStep {
    /// 3 for the PGD, 0 for the PTE.
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
    pub fn walk(&self, pgd: TableId, addr: VirtAddr) -> Vec<WalkStep> {
        let mut steps = Vec::new();
        let mut id = pgd;
        for level in (0..LEVELS).rev() {
            let table = self.tables.get(id);
            let index = index(addr, level);
            steps.push(WalkStep { level, table: table.pfn, index, entry: Pte(table.entries[index]) });
            let huge = level > 0 && Pte(table.entries[index]).has(Pte::PSE);
            if level == 0 || huge || table.below[index] == NO_TABLE {
                break;
            }
            id = table.below[index];
        }
        steps
    }

    /// Allocates the top table of an address space (`pgd_alloc`).
    ///
    /// A kernel that can separate user and kernel tables takes two pages, whether it does or not.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(crate) fn pgd_alloc(&mut self) -> Result<TableId, Errno> {
        let pfn = self.alloc_pages(PGTABLE_USER, self.pgd_order())?;
        self.mem_map.page_mut(pfn).set_page_type(Some(PageType::Table));
        Ok(self.tables.insert(pfn, LEVELS - 1))
    }

    fn pgd_order(&self) -> Order {
        if self.config.arch == crate::mm::config::Arch::X86_64 {
            Order::ZERO.up().unwrap_or_default()
        } else {
            Order::ZERO
        }
    }

    /// Frees the top table; the lower ones are gone already.
    pub(crate) fn pgd_free(&mut self, pgd: TableId) {
        let pfn = self.tables.get(pgd).pfn;
        self.tables.remove(pgd);
        let order = self.pgd_order();
        self.free_table_frame(pfn, order);
    }

    /// The PTE table that covers an address; missing tables are allocated (`pte_alloc`).
    ///
    /// # Errors
    /// `ENOMEM`; upper tables that were made stay, as in the kernel.
    pub(crate) fn pte_alloc(&mut self, mm: MmId, addr: VirtAddr) -> Result<TableId, Errno> {
        self.pte_alloc_with(mm, addr, 1, |m| m.alloc_pages(PGTABLE_USER, Order::ZERO))
    }

    /// The PMD that covers an address; missing tables are allocated (`pmd_alloc`).
    ///
    /// # Errors
    /// `ENOMEM`, as [`Machine::pte_alloc`].
    pub(crate) fn table_above(&mut self, mm: MmId, addr: VirtAddr) -> Result<TableId, Errno> {
        self.pte_alloc_with(mm, addr, 2, |m| m.alloc_pages(PGTABLE_USER, Order::ZERO))
    }

    /// The same, with frames that are in use already; `None` when they run out.
    pub(crate) fn leaf_from(
        &mut self,
        mm: MmId,
        addr: VirtAddr,
        frames: &mut impl Iterator<Item = Pfn>,
    ) -> Option<TableId> {
        self.pte_alloc_with(mm, addr, 1, |_| frames.next().ok_or(Errno::ENOMEM)).ok()
    }

    fn pte_alloc_with(
        &mut self,
        mm: MmId,
        addr: VirtAddr,
        lowest: u8,
        mut frame: impl FnMut(&mut Machine) -> Result<Pfn, Errno>,
    ) -> Result<TableId, Errno> {
        let mut id = self.mms[mm].pgd;
        for level in (lowest..LEVELS).rev() {
            let at = index(addr, level);
            let mut below = self.tables.get(id).below[at];
            if below == NO_TABLE {
                let pfn = frame(self)?;
                self.mem_map.page_mut(pfn).set_page_type(Some(PageType::Table));
                below = self.tables.insert(pfn, level - 1);
                let table = self.tables.get_mut(id);
                table.entries[at] = Pte::new(pfn, Pte::TABLE).0;
                table.below[at] = below;
                self.account_table(mm, pfn, level - 1, 1);
            }
            id = below;
        }
        Ok(id)
    }

    fn account_table(&mut self, mm: MmId, pfn: Pfn, level: u8, n: i64) {
        let bytes = &mut self.mms[mm].pgtables_bytes;
        *bytes = bytes.wrapping_add_signed(n * 4096);
        // PUD tables have no constructor: nr_page_table_pages does not count them.
        if level < 2 {
            let pgdat = self.zones[self.mem_map.page(pfn).zone().index()].pgdat;
            self.nodes[pgdat].mod_stat(NodeStat::PageTablePages, n);
        }
    }

    fn free_table_frame(&mut self, pfn: Pfn, order: Order) {
        let page = self.mem_map.page_mut(pfn);
        page.set_page_type(None);
        page.refcount = 0;
        self.free_unreferenced(pfn, order);
    }

    /// Frees the tables of a range that is unmapped, as far as they lie between its neighbours (`free_pgtables`).
    ///
    /// The tables that cover `start..end` are looked at; those are freed that lie wholly in `floor..ceiling`.
    pub(crate) fn free_pgtables(&mut self, mm: MmId, range: Range<u64>, floor: u64, ceiling: u64) {
        let pgd = self.mms[mm].pgd;
        self.free_tables_below(mm, pgd, LEVELS - 1, 0, range, floor..ceiling);
        self.mms[mm].leaf_cache = None;
    }

    fn free_tables_below(
        &mut self,
        mm: MmId,
        id: TableId,
        level: u8,
        base: u64,
        range: Range<u64>,
        between: Range<u64>,
    ) {
        let span = 1u64 << (PAGE_SHIFT + 9 * u32::from(level));
        let first = (range.start.saturating_sub(base) / span).min(PTRS_PER_TABLE as u64) as usize;
        let last = range.end.saturating_sub(base).div_ceil(span).min(PTRS_PER_TABLE as u64) as usize;
        for at in first..last {
            let below = self.tables.get(id).below[at];
            if below == NO_TABLE {
                continue;
            }
            let start = base + at as u64 * span;
            if level > 1 {
                self.free_tables_below(mm, below, level - 1, start, range.clone(), between.clone());
            }
            if start >= between.start && start + span <= between.end {
                let pfn = self.tables.get(below).pfn;
                self.tables.remove(below);
                let table = self.tables.get_mut(id);
                table.entries[at] = 0;
                table.below[at] = NO_TABLE;
                self.account_table(mm, pfn, level - 1, -1);
                self.free_table_frame(pfn, Order::ZERO);
            }
        }
    }
}

/// `GFP_PGTABLE_USER`: zeroed, charged to the cgroup.
const PGTABLE_USER: Gfp = Gfp(Gfp::KERNEL_ACCOUNT.0 | Gfp::ZERO.0);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swap_entries_survive_their_encoding() {
        for (area, offset) in [(0, 1), (3, 24225), (31, u32::MAX >> 1)] {
            let entry = SwapEntry { area, offset };
            for exclusive in [false, true] {
                let pte = Pte::swap(entry, exclusive);
                assert!(pte.is_swap() && !pte.is_present() && !pte.is_none());
                assert_eq!((pte.swap_entry(), pte.swap_exclusive()), (entry, exclusive));
            }
        }
        assert!(!Pte::new(Pfn(u32::MAX - 1), Pte::PROTNONE).is_swap());
    }

    #[test]
    fn an_address_is_four_indices() {
        let addr = VirtAddr(0x7f21_c0a3_f123);
        let rebuilt = (0..LEVELS).fold(0, |sum, l| sum | (index(addr, l) as u64) << (12 + 9 * u32::from(l)));
        assert_eq!(rebuilt, addr.page().0);
    }
}
