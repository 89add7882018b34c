//! The processor's TLB: two levels of sets, entries tagged by PCID, and how often an access finds one.
//!
//! ```text
//!   access ─► level 1: 64 entries, 4 ways ─► level 2: 1536 entries, 12 ways ─► walk of the tables, then both remember it
//! ```
//!
//! Gorman 3.8. Kernel: none, it is hardware; `arch/x86/mm/tlb.c` flushes it.
//! Fidelity: simplified — one unit for data and instructions, least recently used goes first; an entry for a huge page of
//! 2 MiB stands in the same two levels as one for 4 KiB, as on AMD's Zen, where Intel's first level keeps them apart.
//! Switched on when somebody looks: an access then does real work for it.

use crate::mm::addr::{PAGE_SHIFT, Pfn, VirtAddr};
use crate::mm::pgtable::LEAF_SHIFT;

/// Marks the number of a huge page.
const HUGE: u64 = 1 << 63;

/// Sizes of a TLB: entries and ways of each level, and what an access costs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TlbSpec {
    /// Entries of the first level.
    pub l1: u64,
    /// Ways of the first level: entries that a page may stand in.
    pub l1_ways: u64,
    /// Entries of the second level; 0 for none.
    pub l2: u64,
    /// Ways of the second level.
    pub l2_ways: u64,
    /// Picoseconds of a look into the first level.
    pub l1_ps: u64,
    /// Picoseconds of a look into the second level.
    pub l2_ps: u64,
    /// Picoseconds of one access to memory: the datum itself, and each level of a walk.
    pub memory_ps: u64,
}

impl Default for TlbSpec {
    fn default() -> TlbSpec {
        // As a server core of the time of 6.1 has it; memory costs what DRAM does.
        TlbSpec { l1: 64, l1_ways: 4, l2: 1536, l2_ways: 12, l1_ps: 500, l2_ps: 3_500, memory_ps: 80_000 }
    }
}

/// A translation that the processor remembers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Entry {
    /// Number of the virtual page; of a huge one among huge ones, and marked.
    vpn: u64,
    /// The frame, the first one of a huge page.
    pub pfn: u32,
    /// The PCID it belongs to.
    pub asid: u8,
    /// A write needs no walk.
    pub writable: bool,
    /// It belongs to every address space: a page of the kernel.
    pub global: bool,
    /// There is one.
    pub valid: bool,
}

/// A level: sets of entries, the most recently used first in each.
#[derive(Clone, Debug)]
struct Level {
    ways: usize,
    entries: Vec<Entry>,
}

impl Level {
    fn new(entries: u64, ways: u64) -> Level {
        let entries = entries as usize;
        // Ways that do not fit leave no set: one set of all entries is meant.
        Level { ways: (ways as usize).clamp(1, entries.max(1)), entries: vec![Entry::default(); entries] }
    }

    fn set(&mut self, vpn: u64) -> Option<&mut [Entry]> {
        let sets = self.entries.len() / self.ways;
        let at = vpn.checked_rem(sets as u64)? as usize * self.ways;
        self.entries.get_mut(at..at + self.ways)
    }

    fn find(&mut self, asid: u8, vpn: u64, write: bool) -> Option<Entry> {
        let set = self.set(vpn)?;
        let found = set.iter().position(|e| e.valid && e.vpn == vpn && (e.global || e.asid == asid))?;
        if write && !set[found].writable {
            // The permission is not enough: the processor walks, and remembers what it finds.
            set[found].valid = false;
            return None;
        }
        set[..=found].rotate_right(1);
        Some(set[0])
    }

    fn insert(&mut self, entry: Entry) {
        if let Some(set) = self.set(entry.vpn) {
            let room = set.iter().position(|e| !e.valid).unwrap_or(set.len() - 1);
            set[..=room].rotate_right(1);
            set[0] = entry;
        }
    }

    fn forget(&mut self, which: impl Fn(&Entry) -> bool) {
        self.entries.iter_mut().filter(|e| which(e)).for_each(|e| e.valid = false);
    }
}

/// Accesses so far, by where their translation was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Accesses {
    /// In the first level.
    pub l1: u64,
    /// In the second.
    pub l2: u64,
    /// In neither: the tables were walked.
    pub walks: u64,
    /// Entries of tables that these walks read.
    pub steps: u64,
}

impl Accesses {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.l1 + self.l2 + self.walks
    }

    /// Picoseconds of an access on average: what the TLB costs, the walks, and the access itself.
    pub fn effective_ps(&self, spec: &TlbSpec) -> u64 {
        let looks = self.total() * spec.l1_ps + (self.l2 + self.walks) * spec.l2_ps;
        let memory = (self.total() + self.steps) * spec.memory_ps;
        (looks + memory).checked_div(self.total()).unwrap_or(0)
    }
}

/// One CPU's TLB.
#[derive(Clone, Debug)]
pub struct Model {
    l1: Level,
    l2: Level,
    /// What was found where.
    pub count: Accesses,
}

impl Model {
    /// An empty TLB of these sizes.
    pub fn new(spec: &TlbSpec) -> Model {
        Model {
            l1: Level::new(spec.l1, spec.l1_ways),
            l2: Level::new(spec.l2, spec.l2_ways),
            count: Accesses::default(),
        }
    }

    /// An access; the tables say that `entry` is the translation, and a walk to it reads `steps` entries.
    pub(crate) fn access(&mut self, entry: Entry, write: bool, steps: u64) {
        if self.l1.find(entry.asid, entry.vpn, write).is_some() {
            self.count.l1 += 1;
        } else if let Some(found) = self.l2.find(entry.asid, entry.vpn, write) {
            self.count.l2 += 1;
            self.l1.insert(found);
        } else {
            self.count.walks += 1;
            self.count.steps += steps;
            self.l2.insert(entry);
            self.l1.insert(entry);
        }
    }

    /// Forgets one page of an address space.
    pub(crate) fn flush_page(&mut self, asid: usize, addr: VirtAddr) {
        // The one entry of a huge page goes with any of its pages.
        for vpn in [addr.vpn(), huge_vpn(addr)] {
            let of = |e: &Entry| e.vpn == vpn && (e.global || usize::from(e.asid) == asid);
            for level in [&mut self.l1, &mut self.l2] {
                if let Some(set) = level.set(vpn) {
                    set.iter_mut().filter(|e| of(e)).for_each(|e| e.valid = false);
                }
            }
        }
    }

    /// Forgets an address space; without PCIDs all but the kernel's pages go.
    pub(crate) fn flush_asid(&mut self, asid: usize, pcid: bool) {
        let of = |e: &Entry| !e.global && (!pcid || usize::from(e.asid) == asid);
        self.l1.forget(of);
        self.l2.forget(of);
    }

    /// Forgets everything, the kernel's pages too (`__flush_tlb_all`).
    pub fn flush_all(&mut self) {
        self.l1.forget(|_| true);
        self.l2.forget(|_| true);
    }

    /// What is remembered, level by level: the level and the entry.
    pub fn entries(&self) -> impl Iterator<Item = (u8, &Entry)> {
        let levels = [(1, &self.l1), (2, &self.l2)];
        levels
            .into_iter()
            .flat_map(|(n, level)| level.entries.iter().filter(|e| e.valid).map(move |entry| (n, entry)))
    }
}

impl Entry {
    /// A translation as the tables have it.
    pub(crate) fn new(asid: usize, addr: VirtAddr, pfn: Pfn, writable: bool) -> Entry {
        Entry { vpn: addr.vpn(), pfn: pfn.0, asid: asid as u8, writable, global: false, valid: true }
    }

    /// The same of the huge page around an address; its first frame.
    pub(crate) fn huge(asid: usize, addr: VirtAddr, pfn: Pfn, writable: bool) -> Entry {
        Entry { vpn: huge_vpn(addr), ..Entry::new(asid, addr, pfn, writable) }
    }

    /// One entry for 2 MiB.
    pub fn is_huge(&self) -> bool {
        self.vpn & HUGE != 0
    }

    /// The first address that it translates.
    pub fn addr(&self) -> VirtAddr {
        VirtAddr(match self.is_huge() {
            true => (self.vpn & !HUGE) << LEAF_SHIFT,
            false => self.vpn << PAGE_SHIFT,
        })
    }
}

fn huge_vpn(addr: VirtAddr) -> u64 {
    addr.0 >> LEAF_SHIFT | HUGE
}
