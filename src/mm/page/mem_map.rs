//! The array of all page descriptors, made section by section when somebody writes one.
//!
//! ```text
//!   mem_map   sections of 2048 pages, two tables that say where a section stands
//!            ┌───────────┬───────────┬───────────┬─ ─ ─
//!   owned    │   None    │     ●     │   None    │       in neither: nobody wrote a page of it yet
//!            ├───────────┼─────┼─────┼───────────┼─ ─ ─
//!   shared   │   None    │   None    │     ●     │       a snapshot holds it too: writing copies it
//!            └───────────┴─────┼─────┴─────┼─────┴─ ─ ─
//!                              ▼           ▼
//!                      [Page; 2048]   Rc<Box<[Page; 2048]>>
//! ```
//!
//! Gorman 2.4. Kernel: `mm/sparse.c`, `include/linux/mmzone.h` (`struct mem_section`).
//! Fidelity: simplified — descriptors are made lazily, and shared with snapshots until one side writes; a hole has none.

use super::{Page, PageFlags, ZONE_SHIFT};
use crate::mm::addr::{Pfn, ZoneId};
use std::rc::Rc;

/// Pages of a section: the unit of laziness and of copy-on-write for snapshots.
pub const SECTION_PAGES: usize = 2048;
/// A run of frames and the zone they belong to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    /// First frame.
    pub start: u32,
    /// One past the last frame.
    pub end: u32,
    /// The zone.
    pub zone: ZoneId,
}

impl Span {
    /// True when the frame lies in it.
    pub fn contains(&self, pfn: Pfn) -> bool {
        (self.start..self.end).contains(&pfn.0)
    }
}

type Pages = Box<[Page; SECTION_PAGES]>;

/// Every page descriptor of the machine, by frame number.
///
/// A null pointer is the whole of the copy-on-write check: what may be written is found with one load, and a
/// table of nulls costs no memory before it is written.
#[derive(Clone)]
pub struct MemMap {
    /// Sections that are this machine's alone.
    owned: Vec<Option<Pages>>,
    /// Sections that a snapshot may hold as well; no entries before the first snapshot.
    shared: Vec<Option<Rc<Pages>>>,
    ground: Ground,
}

/// What a page is before anybody writes it.
#[derive(Clone)]
struct Ground {
    /// Spans of zones in ascending order; frames outside are holes.
    spans: Vec<Span>,
    /// Ranges without memory or never given to the buddy allocator: `(start, end)`, ascending.
    reserved: Vec<(u32, u32)>,
}

impl MemMap {
    /// A map of all frames up to the end of the last span; nothing is written yet.
    pub fn new(mut spans: Vec<Span>, mut reserved: Vec<(u32, u32)>) -> MemMap {
        spans.sort_by_key(|s| s.start);
        reserved.sort_unstable();
        let ground = Ground { spans, reserved };
        let owned = vec![None; (ground.end_pfn() as usize).div_ceil(SECTION_PAGES)];
        MemMap { owned, shared: Vec::new(), ground }
    }

    /// One past the last frame (`max_pfn`).
    pub fn end_pfn(&self) -> u32 {
        self.ground.end_pfn()
    }

    /// True when the frame has a descriptor.
    pub fn contains(&self, pfn: Pfn) -> bool {
        self.zone_of(pfn).is_some()
    }

    /// The zone of a frame; `None` between spans. Where spans overlap, the first one that is no hole wins.
    pub fn zone_of(&self, pfn: Pfn) -> Option<ZoneId> {
        self.ground.zone_of(pfn)
    }

    /// The first frame of the next zone's part above a frame; `None` above the last.
    pub fn next_span(&self, pfn: Pfn) -> Option<u32> {
        self.ground.spans.iter().map(|span| span.start).find(|start| *start > pfn.0)
    }

    /// True when a zone has memory among the frames `first..=last`.
    pub fn touches_span(&self, first: u32, last: u32) -> bool {
        self.ground.spans.iter().any(|span| span.start <= last && first < span.end)
    }

    /// Ranges that the buddy allocator never got, holes among them.
    pub fn reserved(&self) -> &[(u32, u32)] {
        &self.ground.reserved
    }

    /// The page as it stands, also of a section that nobody wrote yet.
    #[inline(always)]
    pub fn page(&self, pfn: Pfn) -> Page {
        match self.owned.get(pfn.0 as usize / SECTION_PAGES) {
            Some(Some(pages)) => pages[pfn.0 as usize % SECTION_PAGES],
            _ => self.page_not_owned(pfn),
        }
    }

    /// The page, if somebody ever wrote one of its section.
    #[inline(always)]
    pub fn touched_page(&self, pfn: Pfn) -> Option<&Page> {
        match self.owned.get(pfn.0 as usize / SECTION_PAGES) {
            Some(Some(pages)) => Some(&pages[pfn.0 as usize % SECTION_PAGES]),
            _ => self.shared_page(pfn),
        }
    }

    /// The page, to be changed, if its section is this machine's own already.
    #[inline(always)]
    pub fn own_page_mut(&mut self, pfn: Pfn) -> Option<&mut Page> {
        let pages = self.owned.get_mut(pfn.0 as usize / SECTION_PAGES)?.as_mut()?;
        Some(&mut pages[pfn.0 as usize % SECTION_PAGES])
    }

    fn shared_page(&self, pfn: Pfn) -> Option<&Page> {
        let pages = self.shared.get(pfn.0 as usize / SECTION_PAGES)?.as_ref()?;
        Some(&pages[pfn.0 as usize % SECTION_PAGES])
    }

    fn page_not_owned(&self, pfn: Pfn) -> Page {
        self.shared_page(pfn).copied().unwrap_or_else(|| self.ground.pristine(pfn))
    }

    /// The page, to be changed; its section becomes this machine's own.
    ///
    /// # Panics
    /// Outside of the map: a frame number that no zone gave out is a bug of the simulator.
    #[inline(always)]
    pub fn page_mut(&mut self, pfn: Pfn) -> &mut Page {
        let MemMap { owned, shared, ground } = self;
        let section = pfn.0 as usize / SECTION_PAGES;
        let pages = owned[section].get_or_insert_with(|| make_own(shared, ground, section));
        &mut pages[pfn.0 as usize % SECTION_PAGES]
    }

    /// How many sections have descriptors in memory, and how many there are.
    pub fn sections(&self) -> (usize, usize) {
        let touched = (0..self.owned.len()).filter(|s| self.is_touched(*s)).count();
        (touched, self.owned.len())
    }

    fn is_touched(&self, section: usize) -> bool {
        self.owned[section].is_some() || self.shared.get(section).is_some_and(Option::is_some)
    }

    /// Frames of the sections that somebody wrote, ascending.
    pub fn touched(&self) -> impl Iterator<Item = Pfn> + '_ {
        let touched = (0..self.owned.len()).filter(|s| self.is_touched(*s));
        touched.flat_map(|s| (0..SECTION_PAGES).map(move |p| Pfn((s * SECTION_PAGES + p) as u32)))
    }

    /// Shares every section with the copy it returns: nothing is copied until one side writes.
    pub fn snapshot(&mut self) -> MemMap {
        self.shared.resize(self.owned.len(), None);
        for (owned, shared) in self.owned.iter_mut().zip(&mut self.shared) {
            if let Some(pages) = owned.take() {
                *shared = Some(Rc::new(pages));
            }
        }
        self.clone()
    }

    /// Bytes that only this map holds: owned sections, and shared ones nobody else has.
    pub fn own_bytes(&self) -> usize {
        let alone = |s: &&Option<Rc<Pages>>| s.as_ref().is_some_and(|pages| Rc::strong_count(pages) == 1);
        let sections = self.owned.iter().flatten().count() + self.shared.iter().filter(alone).count();
        sections * SECTION_PAGES * size_of::<Page>()
    }
}

/// A section that may be written: the shared one, copied unless nobody else holds it, or a fresh one.
#[cold]
fn make_own(shared: &mut [Option<Rc<Pages>>], ground: &Ground, section: usize) -> Pages {
    match shared.get_mut(section).and_then(Option::take) {
        Some(pages) => Rc::try_unwrap(pages).unwrap_or_else(|shared| (*shared).clone()),
        None => ground.materialise(section),
    }
}

impl Ground {
    fn end_pfn(&self) -> u32 {
        self.spans.iter().map(|s| s.end).max().unwrap_or(0)
    }

    fn zone_of(&self, pfn: Pfn) -> Option<ZoneId> {
        self.spans.iter().find(|s| s.contains(pfn)).map(|s| s.zone)
    }

    fn materialise(&self, section: usize) -> Pages {
        let first = (section * SECTION_PAGES) as u32;
        let last = first + SECTION_PAGES as u32;
        // The common section lies in one zone and holds nothing reserved.
        let whole = self.spans.iter().find(|s| s.start <= first && last <= s.end);
        let plain = whole.filter(|_| !self.reserved.iter().any(|r| r.0 < last && first < r.1));
        let page = plain.map_or(Page::default(), |s| Page {
            flags: u32::from(s.zone.0) << ZONE_SHIFT,
            ..Page::default()
        });
        let mut pages: Pages = vec![page; SECTION_PAGES]
            .try_into()
            .unwrap_or_else(|_| unreachable!("the vector has SECTION_PAGES pages"));
        if plain.is_none() {
            for (i, page) in pages.iter_mut().enumerate() {
                *page = self.pristine(Pfn(first + i as u32));
            }
        }
        pages
    }

    /// The page before anybody wrote it: its zone, and whether it is reserved.
    fn pristine(&self, pfn: Pfn) -> Page {
        let Some(zone) = self.zone_of(pfn) else {
            return Page { flags: PageFlags::RESERVED.0, refcount: 1, ..Page::default() };
        };
        let flags = u32::from(zone.0) << ZONE_SHIFT;
        let after = self.reserved.partition_point(|r| r.0 <= pfn.0);
        if after > 0 && pfn.0 < self.reserved[after - 1].1 {
            return Page { flags: flags | PageFlags::RESERVED.0, refcount: 1, ..Page::default() };
        }
        Page { flags, ..Page::default() }
    }
}
