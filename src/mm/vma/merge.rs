//! Areas that differ in nothing become one.
//!
//! ```text
//!   1 prev NEW next  ►  one        4 prev aaaAAA next  ►  the next one grows down      7 prev AAA  ►  the previous one
//!   2 prev NEW       ►  prev       5 prev AAAaaa       ►  the previous one grows up    8 AAA next  ►  the next one
//!   3      NEW next  ►  next       6 prev AAA next     ►  one                          a: not touched by the call
//! ```
//!
//! Two areas that have pages of different anon_vmas stay two: a page has room for the name of one.
//!
//! Gorman 4.4.3. Kernel: `mm/mmap.c` (`vma_merge`, `can_vma_merge_before`, `is_mergeable_anon_vma`).
//! Fidelity: faithful — all eight cases, whose anon_vma remains, and what newer kernels do otherwise.

use super::{VmFlags, Vma, VmaId, VmaName};
use crate::mm::addr::PAGE_SHIFT;
use crate::mm::fs::FileId;
use crate::mm::machine::Machine;
use crate::mm::rmap::AnonVmaId;
use crate::mm::task::MmId;
use std::ops::Range;

/// A mapping that is about to be made, for neighbours to say whether it could be theirs.
pub(crate) struct NewArea {
    /// Where it will be; nothing is there.
    pub range: Range<u64>,
    /// Its flags.
    pub flags: VmFlags,
    /// The file behind it.
    pub file: Option<FileId>,
    /// Its first page in the file; for anonymous memory the first address in pages.
    pub pgoff: u64,
    /// The area it continues, or is a copy of: anonymous pages will be found from there.
    pub like: Option<VmaId>,
}

impl Machine {
    /// May pages of the two anon_vmas live in one area? (`is_mergeable_anon_vma`)
    fn mergeable_anon(&self, a: Option<AnonVmaId>, b: Option<AnonVmaId>, vma: Option<VmaId>) -> bool {
        // An area inherited by fork has a longer chain: merging it would tie the child to the parent for good.
        // Up to 6.14 one that has no pages at all (an empty chain) did not take in one that has, either.
        let alone = |v: VmaId| match self.vmas[v].chain.len() {
            0 => self.config.kernel_since(6, 15),
            links => links == 1,
        };
        a == b || ((a.is_none() || b.is_none()) && vma.is_none_or(alone))
    }

    /// Would an area with these flags, pages and file be one with it? (`is_mergeable_vma`, `is_mergeable_anon_vma`)
    fn mergeable(&self, id: VmaId, flags: VmFlags, anon: Option<AnonVmaId>, file: Option<FileId>) -> bool {
        let vma = &self.vmas[id];
        vma.flags.without(VmFlags::SOFTDIRTY) == flags.without(VmFlags::SOFTDIRTY)
            && vma.name == VmaName::None
            && vma.file == file
            && !file.is_some_and(|file| self.closes_with_area(file))
            && self.mergeable_anon(anon, vma.anon_vma, Some(id))
    }

    /// Could a mapping that begins with page `pgoff` be the area's continuation? (`can_vma_merge_after`)
    pub(crate) fn can_merge_after(
        &self,
        id: VmaId,
        flags: VmFlags,
        anon: Option<AnonVmaId>,
        file: Option<FileId>,
        pgoff: u64,
    ) -> bool {
        let vma = &self.vmas[id];
        vma.pgoff + vma.pages() == pgoff && self.mergeable(id, flags, anon, file)
    }

    /// Could a mapping that ends before page `pgoff` be the area's beginning? (`can_vma_merge_before`)
    pub(crate) fn can_merge_before(
        &self,
        id: VmaId,
        flags: VmFlags,
        anon: Option<AnonVmaId>,
        file: Option<FileId>,
        pgoff: u64,
    ) -> bool {
        let vma = &self.vmas[id];
        vma.pgoff == pgoff && self.mergeable(id, flags, anon, file)
    }

    /// Joins `start..end`, an existing area's part about to get `flags`, with its neighbours (`vma_merge`).
    ///
    /// ```text
    ///   prev ▒▒▒▒ next        1: all three become one      2: prev grows      3: next grows downwards
    /// ```
    pub(crate) fn vma_merge(&mut self, mid: VmaId, start: u64, end: u64, flags: VmFlags) -> Option<VmaId> {
        if flags.any(VmFlags::SPECIAL) {
            return None;
        }
        let vma = &self.vmas[mid];
        // Only an end of the area has a neighbour.
        let (from_start, to_end) = (vma.start == start, vma.end == end);
        if !from_start && !to_end {
            return None;
        }
        let Vma { mm, anon_vma: anon, file, .. } = *vma;
        let pgoff = vma.pgoff + ((start - vma.start) >> PAGE_SHIFT);
        let pages = (end - start) >> PAGE_SHIFT;
        let areas = &self.mms[mm].vmas;
        let prev = if from_start { areas.below(start).filter(|prev| prev.end == start) } else { None };
        let prev = prev.map(|p| p.id).filter(|p| self.can_merge_after(*p, flags, anon, file, pgoff));
        let next = if to_end { areas.get(end) } else { None };
        let next = next.filter(|n| self.can_merge_before(*n, flags, anon, file, pgoff + pages));
        match (prev, next) {
            (Some(prev), Some(next))
                if self.mergeable_anon(self.vmas[prev].anon_vma, self.vmas[next].anon_vma, None) =>
            {
                self.take_in(prev, &[mid, next]);
                Some(prev)
            }
            (Some(prev), _) if to_end => {
                self.take_in(prev, &[mid]);
                Some(prev)
            }
            (Some(prev), _) => {
                let (p_start, p_off) = (self.vmas[prev].start, self.vmas[prev].pgoff);
                self.inherit_anon(prev, &[mid]);
                self.shrink_or_remove(mid, start, end);
                self.adjust_vma(prev, p_start, end, p_off);
                Some(prev)
            }
            (None, Some(next)) => {
                let n_end = self.vmas[next].end;
                self.inherit_anon(next, &[mid]);
                self.shrink_or_remove(mid, start, end);
                self.adjust_vma(next, start, n_end, pgoff);
                Some(next)
            }
            (None, None) => None,
        }
    }

    /// Joins a new mapping, where nothing is, with its neighbours (`vma_merge`, cases 1 to 3).
    pub(crate) fn vma_merge_new(&mut self, mm: MmId, new: &NewArea) -> Option<VmaId> {
        let NewArea { range: Range { start, end }, flags, file, pgoff, like } = *new;
        if flags.any(VmFlags::SPECIAL) {
            return None;
        }
        let anon = like.and_then(|like| self.vmas[like].anon_vma);
        let pages = (end - start) >> PAGE_SHIFT;
        let (prev, next) = self.mms[mm].vmas.touching(&new.range);
        let prev = prev.filter(|p| self.can_merge_after(*p, flags, anon, file, pgoff));
        let next = next.filter(|n| self.can_merge_before(*n, flags, anon, file, pgoff + pages));
        match (prev, next) {
            (Some(prev), next) => {
                let both = next
                    .filter(|n| self.mergeable_anon(self.vmas[prev].anon_vma, self.vmas[*n].anon_vma, None));
                self.extend_vma(prev, end);
                if let Some(next) = both {
                    self.take_in(prev, &[next]);
                }
                self.inherit_from(prev, like);
                Some(prev)
            }
            (None, Some(next)) => {
                let n_end = self.vmas[next].end;
                self.adjust_vma(next, start, n_end, pgoff);
                self.inherit_from(next, like);
                Some(next)
            }
            (None, None) => None,
        }
    }

    /// An area grows upwards.
    pub(crate) fn extend_vma(&mut self, id: VmaId, end: u64) {
        let (start, pgoff) = (self.vmas[id].start, self.vmas[id].pgoff);
        self.adjust_vma(id, start, end, pgoff);
    }

    /// An area takes in those that follow it side by side, and the chain of the first that has anonymous pages.
    pub(crate) fn take_in(&mut self, id: VmaId, others: &[VmaId]) {
        self.inherit_anon(id, others);
        let Some(end) = others.last().map(|last| self.vmas[*last].end) else { return };
        for other in others {
            self.free_vma(*other);
        }
        let Vma { mm, start, pgoff, .. } = self.vmas[id];
        self.mms[mm].vmas.merge(start, others.len(), end);
        self.set_borders(id, start, end, pgoff);
    }

    /// An area without anonymous pages that takes a copy in is tied to the original's.
    fn inherit_from(&mut self, id: VmaId, like: Option<VmaId>) {
        if let Some(like) = like.filter(|l| *l != id && self.vmas.get(*l).is_some()) {
            self.inherit_anon(id, &[like]);
        }
    }

    /// The part `start..end` of an area now belongs to a neighbour.
    fn shrink_or_remove(&mut self, id: VmaId, start: u64, end: u64) {
        let vma = &self.vmas[id];
        let (v_start, v_end, pgoff) = (vma.start, vma.end, vma.pgoff);
        if v_start == start && v_end == end {
            self.remove_vma(id);
        } else if v_start == start {
            self.adjust_vma(id, end, v_end, pgoff + ((end - start) >> PAGE_SHIFT));
        } else {
            self.adjust_vma(id, v_start, start, pgoff);
        }
    }

    /// An area that swallows others takes over the chain of the first that has anonymous pages.
    #[inline]
    pub(crate) fn inherit_anon(&mut self, id: VmaId, others: &[VmaId]) {
        if self.vmas[id].anon_vma.is_some() {
            return;
        }
        if let Some(&from) = others.iter().find(|o| self.vmas[**o].anon_vma.is_some()) {
            self.anon_vma_inherit(id, from);
        }
    }
}
