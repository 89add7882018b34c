//! The translation lookaside buffer: recent walks, so that most accesses need none.
//!
//! Gorman 3.8. Kernel: `arch/x86/mm/tlb.c`.
//! Fidelity: simplified — one direct-mapped table of 2048 entries for each CPU, tagged by address space; flushes at the
//! kernel's places. Counters tell hits and misses.

use crate::mm::addr::VirtAddr;

/// Entries.
const ENTRIES: usize = 2048;
const WRITABLE: u64 = 1 << 63;

/// One CPU's TLB.
#[derive(Clone, Debug)]
pub struct Tlb {
    /// Page number, address space and whether a write needs no walk.
    tags: Box<[u64; ENTRIES]>,
    /// Accesses that needed no walk.
    pub hits: u64,
    /// Accesses that walked the page tables.
    pub misses: u64,
    /// Whole flushes.
    pub flushes: u64,
}

impl Default for Tlb {
    fn default() -> Tlb {
        let tags =
            vec![0; ENTRIES].try_into().unwrap_or_else(|_| unreachable!("the vector has ENTRIES entries"));
        Tlb { tags, hits: 0, misses: 0, flushes: 0 }
    }
}

impl Tlb {
    #[inline]
    fn tag(asid: u16, addr: VirtAddr) -> (usize, u64) {
        let vpn = addr.vpn();
        (vpn as usize % ENTRIES, vpn | u64::from(asid) << 46)
    }

    /// True when the access needs no walk.
    #[inline]
    pub fn hit(&mut self, asid: u16, addr: VirtAddr, write: bool) -> bool {
        let (at, tag) = Tlb::tag(asid, addr);
        let have = self.tags[at];
        let hit = if write { have == tag | WRITABLE } else { have & !WRITABLE == tag };
        self.hits += u64::from(hit);
        hit
    }

    /// Remembers a walk.
    #[inline]
    pub fn fill(&mut self, asid: u16, addr: VirtAddr, write: bool) {
        self.misses += 1;
        let (at, tag) = Tlb::tag(asid, addr);
        self.tags[at] = tag | if write { WRITABLE } else { 0 };
    }

    /// Forgets one page (`flush_tlb_page`).
    #[inline]
    pub fn flush_page(&mut self, asid: u16, addr: VirtAddr) {
        let (at, tag) = Tlb::tag(asid, addr);
        if self.tags[at] & !WRITABLE == tag {
            self.tags[at] = 0;
        }
    }

    /// Forgets everything (`flush_tlb_mm`).
    pub fn flush(&mut self) {
        self.tags.fill(0);
        self.flushes += 1;
    }
}
