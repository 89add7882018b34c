//! Where page tables are kept: upper tables of any width, and leaves of 512 entries.
//!
//! A leaf is a PTE table, on every machine of 2 MiB: so the paths of a fault need not know the machine. The PTE table of
//! i386 has 1,024 entries of half the size: it is two leaves in one frame.
//!
//! Gorman 3.2. Kernel: `mm/memory.c` (`__pte_alloc`).
//! Fidelity: ours — an upper table also knows where the simulator keeps the tables below.

use super::geometry::Geometry;
use super::{LEAF_SHIFT, PTRS_PER_TABLE, Pte, index};
use crate::mm::addr::{Pfn, VirtAddr};
use std::ops::Range;
use std::rc::Rc;

/// Index of a leaf in the simulator's store.
pub type TableId = u32;
/// No table.
pub const NO_TABLE: TableId = u32::MAX;

/// Index of an upper table in the simulator's store.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct UpperId(pub u32);

/// 512 entries of the lowest level.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// The frame that holds them.
    pub pfn: Pfn,
    /// The entries.
    pub entries: [u64; PTRS_PER_TABLE],
    /// Put aside: one entry of the table above maps all of it, as a huge page.
    pub huge: bool,
}

/// A table above: a PGD, P4D, PUD or PMD.
#[derive(Clone, Debug)]
pub struct Upper {
    /// The frame that holds it.
    pub pfn: Pfn,
    /// 1 above PTE tables; the PGD has the highest.
    pub level: u8,
    /// The lowest bit of an address that chooses a table below.
    shift: u8,
    /// Tables below each entry.
    each: usize,
    /// The entries.
    pub entries: Box<[u64]>,
    /// Where the tables below are kept: leaves at level 1, else upper ones.
    below: Box<[u32]>,
}

impl Upper {
    #[inline]
    fn slot(&self, addr: VirtAddr) -> usize {
        (addr.0 >> self.shift) as usize & (self.below.len() - 1)
    }

    /// Which tables hang below an entry, in the order of their addresses; those of level 1 are leaves.
    pub fn below(&self, entry: usize) -> impl Iterator<Item = u32> + '_ {
        self.below[entry * self.each..(entry + 1) * self.each].iter().copied().filter(|id| *id != NO_TABLE)
    }

    /// The upper table below an entry; `None` when there is none, or when leaves are below.
    pub fn upper_below(&self, entry: usize) -> Option<UpperId> {
        self.below(entry).next().filter(|_| self.level > 1).map(UpperId)
    }

    /// The first leaf below an entry; `None` when there is none, or when upper tables are below.
    pub fn leaf_below(&self, entry: usize) -> Option<TableId> {
        self.below(entry).next().filter(|_| self.level == 1)
    }

    /// The entries below which there are tables.
    pub fn occupied(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.entries.len()).filter(|entry| self.below(*entry).next().is_some())
    }
}

/// Tables of one kind; a snapshot shares them as it shares sections of the `mem_map`.
#[derive(Clone)]
struct Store<T> {
    /// Tables that are this machine's alone.
    owned: Vec<Option<Box<T>>>,
    /// Tables that a snapshot may hold as well. The box goes back and forth: sharing copies no table.
    #[allow(clippy::redundant_allocation)]
    shared: Vec<Option<Rc<Box<T>>>>,
    free: Vec<u32>,
}

impl<T> Default for Store<T> {
    fn default() -> Store<T> {
        Store { owned: Vec::new(), shared: Vec::new(), free: Vec::new() }
    }
}

impl<T: Clone> Store<T> {
    fn len(&self) -> usize {
        self.owned.len() - self.free.len()
    }

    fn iter(&self) -> impl Iterator<Item = &T> {
        let both = self.owned.iter().zip(&self.shared);
        both.filter_map(|(owned, shared)| owned.as_deref().or(shared.as_deref().map(|table| &**table)))
    }

    fn insert(&mut self, table: T) -> u32 {
        let table = Some(Box::new(table));
        match self.free.pop() {
            Some(id) => {
                self.owned[id as usize] = table;
                id
            }
            None => {
                self.owned.push(table);
                self.shared.push(None);
                (self.owned.len() - 1) as u32
            }
        }
    }

    fn remove(&mut self, id: u32) {
        self.owned[id as usize] = None;
        self.shared[id as usize] = None;
        self.free.push(id);
    }

    #[inline(always)]
    fn get(&self, id: u32) -> &T {
        match &self.owned[id as usize] {
            Some(table) => table,
            None => self.get_shared(id),
        }
    }

    #[inline(never)]
    fn get_shared(&self, id: u32) -> &T {
        match &self.shared[id as usize] {
            Some(table) => table,
            None => unreachable!("table {id} is free"),
        }
    }

    #[inline(always)]
    fn get_mut(&mut self, id: u32) -> &mut T {
        let Store { owned, shared, .. } = self;
        owned[id as usize].get_or_insert_with(|| own(shared, id))
    }

    fn snapshot(&mut self) -> Store<T> {
        for (owned, shared) in self.owned.iter_mut().zip(&mut self.shared) {
            if let Some(table) = owned.take() {
                *shared = Some(Rc::new(table));
            }
        }
        self.clone()
    }
}

/// A shared table, copied unless nobody else holds it.
#[cold]
#[allow(clippy::redundant_allocation)]
fn own<T: Clone>(shared: &mut [Option<Rc<Box<T>>>], id: u32) -> Box<T> {
    match shared[id as usize].take() {
        Some(table) => Rc::try_unwrap(table).unwrap_or_else(|shared| (*shared).clone()),
        None => unreachable!("table {id} is free"),
    }
}

/// Every page table of the machine.
#[derive(Clone)]
pub struct Tables {
    /// Their shape.
    pub geometry: Geometry,
    leaves: Store<Leaf>,
    uppers: Store<Upper>,
}

impl Tables {
    /// No table yet.
    pub fn new(geometry: Geometry) -> Tables {
        Tables { geometry, leaves: Store::default(), uppers: Store::default() }
    }

    /// How many tables there are; two leaves in one frame are two.
    pub fn len(&self) -> usize {
        self.leaves.len() + self.uppers.len()
    }

    /// True without tables.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Leaves in a frame of the lowest level.
    pub fn leaves_per_table(&self) -> usize {
        self.geometry.entries(0) / PTRS_PER_TABLE
    }

    /// A new upper table.
    pub(crate) fn insert_upper(&mut self, pfn: Pfn, level: u8) -> UpperId {
        let entries = self.geometry.entries(level);
        let (shift, each) =
            if level == 1 { (LEAF_SHIFT, self.leaves_per_table()) } else { (self.geometry.shift(level), 1) };
        UpperId(self.uppers.insert(Upper {
            pfn,
            level,
            shift: shift as u8,
            each,
            entries: vec![0; entries].into(),
            below: vec![NO_TABLE; entries * each].into(),
        }))
    }

    /// A new table below an entry of an upper one, in this frame; the entry gets these bits.
    pub(crate) fn insert_below(&mut self, id: UpperId, entry: usize, pfn: Pfn, bits: u64) {
        let Upper { level, each, .. } = *self.upper(id);
        for part in 0..each {
            let below = if level == 1 {
                self.leaves.insert(Leaf { pfn, entries: [0; PTRS_PER_TABLE], huge: false })
            } else {
                self.insert_upper(pfn, level - 1).0
            };
            self.upper_mut(id).below[entry * each + part] = below;
        }
        self.upper_mut(id).entries[entry] = Pte::new(pfn, bits).0;
    }

    /// Takes the table below an entry away; its frame.
    pub(crate) fn remove_below(&mut self, id: UpperId, entry: usize) -> Option<Pfn> {
        let below: Vec<u32> = self.upper(id).below(entry).collect();
        let level = self.upper(id).level;
        let first = *below.first()?;
        let pfn = if level == 1 { self.get(first).pfn } else { self.upper(UpperId(first)).pfn };
        for table in &below {
            if level == 1 { self.leaves.remove(*table) } else { self.uppers.remove(*table) }
        }
        self.unlink(id, entry);
        Some(pfn)
    }

    /// Makes an entry name the same table as the entry of another (`set_pgd`).
    pub(crate) fn link(&mut self, id: UpperId, entry: usize, from: UpperId) {
        self.link_entry((id, entry), (from, entry));
    }

    fn link_entry(&mut self, to: (UpperId, usize), from: (UpperId, usize)) {
        let source = self.upper(from.0);
        let each = source.each;
        let (value, below) =
            (source.entries[from.1], source.below[from.1 * each..(from.1 + 1) * each].to_vec());
        let table = self.upper_mut(to.0);
        table.entries[to.1] = value;
        table.below[to.1 * each..(to.1 + 1) * each].copy_from_slice(&below);
    }

    /// Clears an entry; the table that it named stays.
    pub(crate) fn unlink(&mut self, id: UpperId, entry: usize) {
        let table = self.upper_mut(id);
        let each = table.each;
        table.entries[entry] = 0;
        table.below[entry * each..(entry + 1) * each].fill(NO_TABLE);
    }

    /// Takes a top table away.
    pub(crate) fn remove_top(&mut self, pgd: UpperId) {
        self.uppers.remove(pgd.0);
    }

    /// A leaf.
    ///
    /// # Panics
    /// When there is none of that number: a bug of the simulator.
    #[inline(always)]
    pub fn get(&self, id: TableId) -> &Leaf {
        self.leaves.get(id)
    }

    /// A leaf, to be changed; it becomes this machine's own.
    #[inline(always)]
    pub fn get_mut(&mut self, id: TableId) -> &mut Leaf {
        self.leaves.get_mut(id)
    }

    /// An entry of the table that a frame holds; `None` for a frame without one. It searches: for a reader's eyes.
    pub fn entry_in(&self, pfn: Pfn, entry: usize) -> Option<u64> {
        let uppers = || self.uppers.iter();
        if let Some(upper) = uppers().find(|upper| upper.pfn == pfn) {
            return upper.entries.get(entry).copied();
        }
        // Where the entries are small, two leaves lie in one frame: both hang below one entry of the table above.
        let mut lowest = uppers().filter(|upper| upper.level == 1);
        lowest.find_map(|upper| {
            let mut below = (0..upper.entries.len()).map(|n| upper.below(n).collect::<Vec<_>>());
            let ids = below.find(|ids| ids.first().is_some_and(|id| self.get(*id).pfn == pfn))?;
            let leaf = self.get(*ids.get(entry / PTRS_PER_TABLE)?);
            Some(leaf.entries[entry % PTRS_PER_TABLE])
        })
    }

    /// An upper table.
    ///
    /// # Panics
    /// When there is none of that number: a bug of the simulator.
    #[inline(always)]
    pub fn upper(&self, id: UpperId) -> &Upper {
        self.uppers.get(id.0)
    }

    /// An upper table, to be changed; it becomes this machine's own.
    #[inline(always)]
    pub(crate) fn upper_mut(&mut self, id: UpperId) -> &mut Upper {
        self.uppers.get_mut(id.0)
    }

    /// Shares every table with the copy it returns.
    pub fn snapshot(&mut self) -> Tables {
        let (leaves, uppers) = (self.leaves.snapshot(), self.uppers.snapshot());
        Tables { geometry: self.geometry, leaves, uppers }
    }

    /// The leaf that covers an address, if there is one.
    #[inline]
    pub fn leaf(&self, pgd: UpperId, addr: VirtAddr) -> Option<TableId> {
        self.leaf_or_gap(pgd, addr).ok()
    }

    /// The leaf that covers an address, or how many bytes from there on an empty entry above stands for.
    #[inline]
    pub(crate) fn leaf_or_gap(&self, pgd: UpperId, addr: VirtAddr) -> Result<TableId, u64> {
        let mut upper = self.upper(pgd);
        loop {
            let below = upper.below[upper.slot(addr)];
            if below == NO_TABLE {
                let span = 1u64 << upper.shift;
                return Err(span - (addr.0 & (span - 1)));
            }
            if upper.level == 1 {
                return Ok(below);
            }
            upper = self.upper(UpperId(below));
        }
    }

    /// The next PTE table of a range, and the part of the range that it covers; gaps are stepped over.
    ///
    /// A walk over `at..end` goes on where the part ends:
    ///
    /// ```text
    ///   while let Some((leaf, part)) = tables.next_leaf(pgd, at, end) { …; at = part.end; }
    /// ```
    #[inline(always)]
    pub(crate) fn next_leaf(&self, pgd: UpperId, at: u64, end: u64) -> Option<(TableId, Range<u64>)> {
        let mut at = at;
        while at < end {
            match self.leaf_or_gap(pgd, VirtAddr(at)) {
                Ok(leaf) => return Some((leaf, at..(((at >> LEAF_SHIFT) + 1) << LEAF_SHIFT).min(end))),
                // One step over everything that an empty entry above stands for.
                Err(gap) => at += gap.min(end - at),
            }
        }
        None
    }

    /// The table whose entry leads to the PTE table of an address: its PMD, or the PGD of two levels.
    pub(crate) fn above_leaf(&self, pgd: UpperId, addr: VirtAddr) -> Option<UpperId> {
        let mut id = pgd;
        while self.upper(id).level > 1 {
            let upper = self.upper(id);
            let below = upper.below[upper.slot(addr)];
            if below == NO_TABLE {
                return None;
            }
            id = UpperId(below);
        }
        Some(id)
    }

    /// Hangs the table below an entry under another one.
    pub(crate) fn move_entry(&mut self, from: (UpperId, usize), to: (UpperId, usize)) {
        self.link_entry(to, from);
        self.unlink(from.0, from.1);
    }

    /// Bytes from an address on that no table covers for sure, because an upper entry above it is empty; 0 under a leaf.
    pub fn gap(&self, pgd: UpperId, addr: VirtAddr) -> u64 {
        self.leaf_or_gap(pgd, addr).err().unwrap_or(0)
    }

    /// The entry for an address; nothing when no table covers it.
    #[inline]
    pub fn pte(&self, pgd: UpperId, addr: VirtAddr) -> Pte {
        self.leaf(pgd, addr).map_or(Pte(0), |leaf| Pte(self.get(leaf).entries[index(addr, 0)]))
    }

    /// Makes the entry above a leaf map all of it as a huge page, or name the table again.
    pub(crate) fn set_huge(&mut self, pgd: UpperId, addr: VirtAddr, huge: Option<Pte>) {
        let (Some(above), Some(leaf)) = (self.above_leaf(pgd, addr), self.leaf(pgd, addr)) else { return };
        let entry = huge.unwrap_or(Pte::new(self.get(leaf).pfn, Pte::TABLE));
        self.get_mut(leaf).huge = huge.is_some();
        let index = self.geometry.index(addr, 1);
        self.upper_mut(above).entries[index] = entry.0;
    }

    /// The entry of the table above that maps all of an address's leaf as a huge page.
    pub fn huge(&self, pgd: UpperId, addr: VirtAddr) -> Option<Pte> {
        let leaf = self.leaf(pgd, addr)?;
        let above = self.above_leaf(pgd, addr).filter(|_| self.get(leaf).huge)?;
        Some(Pte(self.upper(above).entries[self.geometry.index(addr, 1)]))
    }

    /// Changes an entry of a leaf.
    #[inline]
    pub fn set(&mut self, leaf: TableId, addr: VirtAddr, pte: Pte) {
        self.get_mut(leaf).entries[index(addr, 0)] = pte.0;
    }
}
