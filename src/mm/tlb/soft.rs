//! The simulator's own memory of recent walks: most accesses need none.
//!
//! It is no model of a processor. Every translation in it is right at any time, whatever a real TLB would still
//! remember; so it may be large and simple.
//!
//! Fidelity: ours.

use crate::mm::addr::VirtAddr;

/// Entries.
const ENTRIES: usize = 2048;
const WRITABLE: u64 = 1 << 63;

/// Recent walks of one CPU: page number, address space, and whether a write needs no walk.
#[derive(Clone, Debug)]
pub struct Soft {
    tags: Box<[u64; ENTRIES]>,
}

impl Default for Soft {
    fn default() -> Soft {
        let tags =
            vec![0; ENTRIES].try_into().unwrap_or_else(|_| unreachable!("the vector has ENTRIES entries"));
        Soft { tags }
    }
}

impl Soft {
    #[inline]
    fn tag(space: u16, addr: VirtAddr) -> (usize, u64) {
        let vpn = addr.vpn();
        (vpn as usize % ENTRIES, vpn | u64::from(space) << 46)
    }

    /// True when the access needs no walk.
    #[inline]
    pub fn hit(&self, space: u16, addr: VirtAddr, write: bool) -> bool {
        let (at, tag) = Soft::tag(space, addr);
        let have = self.tags[at];
        if write { have == tag | WRITABLE } else { have & !WRITABLE == tag }
    }

    /// Remembers a walk.
    #[inline]
    pub fn fill(&mut self, space: u16, addr: VirtAddr, write: bool) {
        let (at, tag) = Soft::tag(space, addr);
        self.tags[at] = tag | if write { WRITABLE } else { 0 };
    }

    /// Forgets one page.
    #[inline]
    pub fn flush_page(&mut self, space: u16, addr: VirtAddr) {
        let (at, tag) = Soft::tag(space, addr);
        if self.tags[at] & !WRITABLE == tag {
            self.tags[at] = 0;
        }
    }

    /// Forgets everything.
    pub fn flush(&mut self) {
        self.tags.fill(0);
    }
}
