//! `struct page`, one for every frame, and the array of them.
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
//! Gorman chapter 2. Kernel: `include/linux/mm_types.h`, `include/linux/page-flags.h`, `include/linux/list.h`.
//! Fidelity: faithful — flags, reference and map counts, list links inside the page. Simplified — 32 bytes where the
//! kernel has 64; the order of an allocated block is kept in `private`. Absent — folios as a type of their own.

use crate::mm::addr::{Order, Pfn, ZoneId};
use crate::mm::config::MigrateType;
use std::fmt;
use std::rc::Rc;

/// Pages of a section: the unit of laziness and of copy-on-write for snapshots.
pub const SECTION_PAGES: usize = 2048;

/// Flags of a page (`PG_*`).
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct PageFlags(pub u32);

macro_rules! page_flags {
    ($($name:ident = $bit:literal, $text:literal, $doc:literal;)*) => {
        impl PageFlags {
            $(#[doc = $doc] pub const $name: PageFlags = PageFlags(1 << $bit);)*

            /// Every flag: name, bit number, meaning.
            pub const ALL: &[(&str, u32, &str)] = &[$(($text, $bit, $doc),)*];
        }
    };
}

page_flags! {
    LOCKED = 0, "locked", "Locked for IO or for a change of its contents.";
    REFERENCED = 1, "referenced", "Used since reclaim last looked.";
    UPTODATE = 2, "uptodate", "The contents are valid.";
    DIRTY = 3, "dirty", "Changed since it was read or written back.";
    LRU = 4, "lru", "On a list of reclaim.";
    ACTIVE = 5, "active", "On an active list.";
    WORKINGSET = 6, "workingset", "Was evicted and came back soon: part of the working set.";
    WAITERS = 7, "waiters", "Somebody waits for it.";
    ERROR = 8, "error", "An IO error hit it.";
    SLAB = 9, "slab", "Belongs to a slab cache.";
    SWAPCACHE = 10, "swapcache", "In the swap cache (owner_priv_1).";
    EXCLUSIVE = 11, "anon_exclusive", "This anonymous page belongs to one process alone (arch_1 stands beside it in the kernel).";
    RESERVED = 12, "reserved", "Never given to the buddy allocator.";
    PRIVATE = 13, "private", "Carries buffers.";
    PRIVATE_2 = 14, "private_2", "For the file system.";
    WRITEBACK = 15, "writeback", "Being written.";
    HEAD = 16, "head", "First page of a compound page.";
    TAIL = 17, "tail", "Another page of a compound page (the kernel tags compound_head instead).";
    RECLAIM = 18, "reclaim", "To be reclaimed as soon as writing it ends.";
    SWAPBACKED = 19, "swapbacked", "Its backing store is swap.";
    UNEVICTABLE = 20, "unevictable", "May not be reclaimed.";
    MLOCKED = 21, "mlocked", "Locked into memory by mlock.";
}

/// Where the zone's number begins in `Page::flags`.
const ZONE_SHIFT: u32 = 23;
const FLAG_MASK: u32 = (1 << ZONE_SHIFT) - 1;
/// A script holds a handle of the page: freeing it must bump the frame's serial.
const WATCHED: u32 = 1 << 22;
/// More than the page itself ends with it.
const SPECIAL: u32 = WATCHED | PageFlags::HEAD.0;

impl PageFlags {
    /// No flag.
    pub const NONE: PageFlags = PageFlags(0);

    /// True when every flag of `other` is set.
    #[inline]
    pub const fn has(self, other: PageFlags) -> bool {
        self.0 & other.0 == other.0
    }

    /// True when one flag of `other` is set.
    #[inline]
    pub const fn any(self, other: PageFlags) -> bool {
        self.0 & other.0 != 0
    }
}

impl std::ops::BitOr for PageFlags {
    type Output = PageFlags;
    fn bitor(self, other: PageFlags) -> PageFlags {
        PageFlags(self.0 | other.0)
    }
}

/// `uptodate,lru,active`, as crash prints flags.
impl fmt::Display for PageFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for &(name, bit, _) in PageFlags::ALL {
            if self.0 & (1 << bit) != 0 {
                write!(f, "{separator}{name}")?;
                separator = ",";
            }
        }
        Ok(())
    }
}

impl fmt::Debug for PageFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// What a page without mappings is used for; it stands in `mapcount`, as `page_type` does in the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PageType {
    /// First page of a free block; `private` is its order.
    Buddy,
    /// On a per-CPU list; `private` is its order, `index` its migratetype.
    Pcp,
    /// A page table.
    Table,
}

const TYPE_BUDDY: u32 = 1 << 31;
const TYPE_PCP: u32 = 1 << 30;
const TYPE_TABLE: u32 = 1 << 29;
const TYPES: u32 = TYPE_BUDDY | TYPE_PCP | TYPE_TABLE;

/// A zone's number, where a page's flags have it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ZoneBits(u32);

impl ZoneBits {
    /// No page lies there.
    pub const NOWHERE: ZoneBits = ZoneBits(u32::MAX);
}

/// One page frame's descriptor. All zero bytes mean *untouched*.
#[derive(Clone, Copy, Default, Debug)]
#[repr(C)]
pub struct Page {
    /// `PG_*` flags below, the zone's number above.
    flags: u32,
    /// `_refcount`: who holds the page; 0 is free.
    pub refcount: u32,
    /// How many page-table entries map it, or its [`PageType`].
    mapcount: u32,
    /// The order of a block; the swap slot of a page in the swap cache.
    pub private: u32,
    /// What it belongs to: 0, or the number and kind of an `anon_vma`, a file, a slab cache.
    pub mapping: u32,
    /// The page before it on the list it is on; stale in the first one.
    pub prev: Pfn,
    /// The page after it; stale in the last one.
    pub next: Pfn,
    /// Its place there, in pages, modulo 2^32.
    pub index: u32,
}

const _: () = assert!(size_of::<Page>() == 32);

impl Page {
    /// The page's flags.
    #[inline]
    pub fn flags(&self) -> PageFlags {
        PageFlags(self.flags & FLAG_MASK & !WATCHED)
    }

    /// True when every one of these flags is set.
    #[inline]
    pub fn is(&self, flags: PageFlags) -> bool {
        self.flags & flags.0 == flags.0
    }

    /// True when one of these flags is set.
    #[inline]
    pub fn is_any(&self, flags: PageFlags) -> bool {
        self.flags & flags.0 != 0
    }

    /// Sets flags.
    #[inline]
    pub fn set(&mut self, flags: PageFlags) {
        self.flags |= flags.0;
    }

    /// Clears flags.
    #[inline]
    pub fn clear(&mut self, flags: PageFlags) {
        self.flags &= !flags.0;
    }

    /// Sets flags or clears them.
    #[inline]
    pub fn assign(&mut self, flags: PageFlags, on: bool) {
        if on { self.set(flags) } else { self.clear(flags) }
    }

    /// Clears flags and says whether they were set.
    #[inline]
    pub fn test_and_clear(&mut self, flags: PageFlags) -> bool {
        let was = self.is_any(flags);
        self.clear(flags);
        was
    }

    /// Replaces all flags; the zone stays.
    #[inline]
    pub fn reset_flags(&mut self, flags: PageFlags) {
        self.flags = self.flags & !FLAG_MASK | flags.0;
    }

    /// The zone the frame lies in (`page_zone`).
    #[inline]
    pub fn zone(&self) -> ZoneId {
        ZoneId((self.flags >> ZONE_SHIFT) as u16)
    }

    /// True when a script holds a handle of the page.
    #[inline]
    pub fn is_watched(&self) -> bool {
        self.flags & WATCHED != 0
    }

    /// Remembers that a script holds a handle of the page.
    pub fn watch(&mut self) {
        self.flags |= WATCHED;
    }

    /// How many page-table entries map the page (`page_mapcount`).
    #[inline]
    pub fn mapcount(&self) -> u32 {
        if self.mapcount & TYPES == 0 { self.mapcount } else { 0 }
    }

    /// One more entry maps it.
    #[inline]
    pub fn map(&mut self) {
        debug_assert!(self.mapcount & TYPES == 0);
        self.mapcount += 1;
    }

    /// One entry less maps it; says how many still do.
    #[inline]
    pub fn unmap(&mut self) -> u32 {
        debug_assert!(self.mapcount & TYPES == 0 && self.mapcount > 0);
        self.mapcount -= 1;
        self.mapcount
    }

    /// What the page is used for, when it is of a type.
    #[inline]
    pub fn page_type(&self) -> Option<PageType> {
        match self.mapcount & TYPES {
            TYPE_BUDDY => Some(PageType::Buddy),
            TYPE_PCP => Some(PageType::Pcp),
            TYPE_TABLE => Some(PageType::Table),
            _ => None,
        }
    }

    /// Gives the page a type, or takes it away.
    #[inline]
    pub fn set_page_type(&mut self, page_type: Option<PageType>) {
        self.mapcount = match page_type {
            Some(PageType::Buddy) => TYPE_BUDDY,
            Some(PageType::Pcp) => TYPE_PCP,
            Some(PageType::Table) => TYPE_TABLE,
            None => 0,
        };
    }

    /// True for the first page of a free block.
    #[inline]
    pub fn is_buddy(&self) -> bool {
        self.mapcount == TYPE_BUDDY
    }

    /// True for the first page of a free block of exactly this order.
    #[inline]
    pub fn is_buddy_of(&self, order: Order) -> bool {
        self.mapcount == TYPE_BUDDY && self.private == u32::from(order.get())
    }

    /// True for a page, or the first of a block, that waits on a per-CPU list.
    #[inline]
    pub fn is_pcp(&self) -> bool {
        self.mapcount == TYPE_PCP
    }

    /// The order of the block that begins here: free, waiting, or allocated.
    #[inline]
    pub fn order(&self) -> Order {
        if self.is(PageFlags::SWAPCACHE) {
            Order::ZERO
        } else {
            Order::new(self.private as u8).unwrap_or(Order::ZERO)
        }
    }

    /// Makes it the first page of an allocated block (`set_page_refcounted`, `set_page_private`).
    #[inline]
    pub(crate) fn prep(&mut self, order: Order) {
        self.mapcount = 0;
        self.refcount = 1;
        self.private = u32::from(order.get());
        self.mapping = 0;
    }

    /// The first page of a block that waited on a per-CPU list has a new owner; its order stands already.
    #[inline(always)]
    pub(crate) fn leave_pcp(&mut self) {
        debug_assert!(self.is_pcp() && self.mapping == 0);
        (self.refcount, self.mapcount) = (1, 0);
    }

    /// A page that is [ready to be freed](Page::is_ready_to_free) begins to wait on a per-CPU list of its zone.
    #[inline(always)]
    pub(crate) fn become_pcp(&mut self, zone: ZoneBits, migratetype: MigrateType) {
        self.flags = zone.0;
        (self.refcount, self.mapcount) = (0, TYPE_PCP);
        self.index = migratetype as u32;
    }

    /// True when dropping a reference frees a block of this order, nothing speaks against it (`page_expected_state`),
    /// and nothing else ends with it.
    #[inline]
    pub fn is_ready_to_free(&self, order: Order) -> bool {
        self.is_ready_to_free_in(order, Page::in_zone(self.zone()))
    }

    /// The same for a page of this zone.
    #[inline(always)]
    pub(crate) fn is_ready_to_free_in(&self, order: Order, zone: ZoneBits) -> bool {
        const WRONG: u32 = CHECK_AT_FREE.0 | SPECIAL;
        // Neighbours are compared together.
        let both = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
        self.flags & (WRONG | !FLAG_MASK) == zone.0
            && both(self.refcount, self.mapcount) == 1
            && both(self.private, self.mapping) == u64::from(order.get())
    }

    /// The flags of a page of this zone that has no others.
    pub(crate) fn in_zone(zone: ZoneId) -> ZoneBits {
        ZoneBits(u32::from(zone.0) << ZONE_SHIFT)
    }

    /// Makes a new page anonymous memory, mapped once.
    #[inline]
    pub(crate) fn become_anon(&mut self, mapping: u32, index: u32) {
        (self.mapping, self.index, self.mapcount) = (mapping, index, 1);
        self.flags |= PageFlags::SWAPBACKED.0 | PageFlags::EXCLUSIVE.0 | PageFlags::UPTODATE.0;
    }

    /// An anonymous page on a list of reclaim that one entry maps and nobody else holds: no swap slot, no lock.
    #[inline]
    pub(crate) fn is_only_anon(&self) -> bool {
        const WANTED: u32 = PageFlags::LRU.0 | PageFlags::SWAPBACKED.0;
        const OTHER: u32 = PageFlags::SWAPCACHE.0 | PageFlags::MLOCKED.0 | PageFlags::UNEVICTABLE.0;
        let wrong = (self.refcount ^ 1) | (self.mapcount ^ 1) | (self.flags & (WANTED | OTHER) ^ WANTED);
        wrong == 0 && self.mapping & crate::mm::rmap::MAPPING_ANON != 0
    }

    /// Its last entry and reference are gone.
    #[inline]
    pub(crate) fn let_go(&mut self) {
        (self.refcount, self.mapcount, self.mapping, self.private) = (0, 0, 0, 0);
    }

    /// True when more than the page itself ends with it: a handle, a compound page.
    #[inline]
    pub fn is_special(&self) -> bool {
        self.flags & SPECIAL != 0
    }

    /// The serious part of `free_page_is_bad`: why this page may not be freed.
    #[inline]
    pub fn bad_reason(&self) -> Option<&'static str> {
        if self.mapcount != 0 {
            Some("nonzero mapcount")
        } else if self.mapping != 0 {
            Some("non-NULL mapping")
        } else if self.refcount != 0 {
            Some("nonzero _refcount")
        } else if self.is_any(CHECK_AT_FREE) {
            Some("PAGE_FLAGS_CHECK_AT_FREE flag(s) set")
        } else {
            None
        }
    }
}

/// Flags that a page must have lost before it is freed (`PAGE_FLAGS_CHECK_AT_FREE`).
const CHECK_AT_FREE: PageFlags = PageFlags(
    PageFlags::LOCKED.0
        | PageFlags::LRU.0
        | PageFlags::ACTIVE.0
        | PageFlags::SLAB.0
        | PageFlags::RESERVED.0
        | PageFlags::PRIVATE.0
        | PageFlags::WRITEBACK.0
        | PageFlags::UNEVICTABLE.0
        | PageFlags::MLOCKED.0
        | PageFlags::SWAPCACHE.0,
);

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

/// A doubly linked list threaded through the pages themselves, as `page->lru` is.
///
/// The list knows its ends, the pages do not: `prev` of the first page and `next` of the last one are stale, so
/// taking a page off an end touches no other page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct List {
    /// The first page, or [`Pfn::NIL`].
    pub head: Pfn,
    /// The last page, or [`Pfn::NIL`].
    pub tail: Pfn,
    /// How many entries.
    pub len: u32,
}

impl Default for List {
    fn default() -> List {
        List { head: Pfn::NIL, tail: Pfn::NIL, len: 0 }
    }
}

impl List {
    /// True without entries.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Puts a page at the front (`list_add`).
    #[inline]
    pub fn push_front(&mut self, map: &mut MemMap, pfn: Pfn) {
        map.page_mut(pfn).next = self.head;
        self.link_front(map, pfn);
    }

    /// Puts a page at the front that already names the first one as its next.
    #[inline(always)]
    pub(crate) fn link_front(&mut self, map: &mut MemMap, pfn: Pfn) {
        if self.is_empty() {
            self.tail = pfn;
        } else {
            map.page_mut(self.head).prev = pfn;
        }
        self.head = pfn;
        self.len += 1;
    }

    /// Puts a page at the end (`list_add_tail`).
    #[inline]
    pub fn push_back(&mut self, map: &mut MemMap, pfn: Pfn) {
        map.page_mut(pfn).prev = self.tail;
        self.link_back(map, pfn);
    }

    /// Puts a page at the end that already names the last one as its previous.
    #[inline(always)]
    pub(crate) fn link_back(&mut self, map: &mut MemMap, pfn: Pfn) {
        if self.is_empty() {
            self.head = pfn;
        } else {
            map.page_mut(self.tail).next = pfn;
        }
        self.tail = pfn;
        self.len += 1;
    }

    /// Takes a page out (`list_del`).
    #[inline]
    pub fn remove(&mut self, map: &mut MemMap, pfn: Pfn) {
        let page = map.page(pfn);
        self.unlink(map, pfn, page.prev, page.next);
    }

    /// Takes a page out that lies between these two, if it has neighbours.
    #[inline(always)]
    pub(crate) fn unlink(&mut self, map: &mut MemMap, pfn: Pfn, prev: Pfn, next: Pfn) {
        if pfn == self.head {
            return self.behead(next);
        }
        if pfn == self.tail {
            self.tail = prev;
        } else {
            map.page_mut(prev).next = next;
            map.page_mut(next).prev = prev;
        }
        self.len -= 1;
    }

    /// Takes the first page out.
    #[inline]
    pub fn pop_front(&mut self, map: &mut MemMap) -> Option<Pfn> {
        self.pop_front_mut(map).map(|(pfn, _)| pfn)
    }

    /// Takes the first page out and hands it over to be changed.
    #[inline(always)]
    pub(crate) fn pop_front_mut<'a>(&mut self, map: &'a mut MemMap) -> Option<(Pfn, &'a mut Page)> {
        if self.is_empty() {
            return None;
        }
        let first = self.head;
        let page = map.page_mut(first);
        self.behead(page.next);
        Some((first, page))
    }

    /// The list goes on with its second page, if it has one.
    #[inline(always)]
    fn behead(&mut self, second: Pfn) {
        match self.len {
            1 => *self = List::default(),
            len => (self.head, self.len) = (second, len - 1),
        }
    }

    /// Takes the last page out.
    #[inline]
    pub fn pop_back(&mut self, map: &mut MemMap) -> Option<Pfn> {
        self.pop_back_mut(map).map(|(pfn, _)| pfn)
    }

    /// Takes the last page out and hands it over to be changed.
    #[inline(always)]
    pub(crate) fn pop_back_mut<'a>(&mut self, map: &'a mut MemMap) -> Option<(Pfn, &'a mut Page)> {
        let last = self.tail;
        if self.is_empty() {
            return None;
        }
        let page = map.page_mut(last);
        match self.len {
            1 => *self = List::default(),
            len => (self.tail, self.len) = (page.prev, len - 1),
        }
        Some((last, page))
    }

    /// The pages from first to last.
    pub fn iter<'a>(&self, map: &'a MemMap) -> impl Iterator<Item = Pfn> + 'a {
        let (mut at, tail) = (self.head, self.tail);
        std::iter::from_fn(move || {
            let pfn = (at != Pfn::NIL).then_some(at)?;
            at = if pfn == tail { Pfn::NIL } else { map.page(pfn).next };
            Some(pfn)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map() -> MemMap {
        MemMap::new(vec![Span { start: 1, end: 5000, zone: ZoneId(3) }], vec![(1, 16), (160, 256)])
    }

    #[test]
    fn an_untouched_page_knows_its_zone_and_whether_it_is_reserved() {
        let mut map = map();
        assert_eq!(map.page(Pfn(100)).zone(), ZoneId(3));
        assert!(map.page(Pfn(200)).is(PageFlags::RESERVED));
        assert!(!map.page(Pfn(256)).is(PageFlags::RESERVED));
        assert_eq!(map.sections(), (0, 3));
        map.page_mut(Pfn(100)).refcount = 1;
        assert_eq!(map.sections(), (1, 3));
        assert!(map.page(Pfn(200)).is(PageFlags::RESERVED));
        assert_eq!(map.page(Pfn(100)).zone(), ZoneId(3));
    }

    #[test]
    fn a_snapshot_keeps_what_was() {
        let mut map = map();
        map.page_mut(Pfn(100)).refcount = 1;
        let before = map.snapshot();
        map.page_mut(Pfn(100)).refcount = 2;
        map.page_mut(Pfn(4000)).refcount = 7;
        assert_eq!(before.page(Pfn(100)).refcount, 1);
        assert_eq!(before.page(Pfn(4000)).refcount, 0);
        assert_eq!(map.page(Pfn(100)).refcount, 2);
    }

    #[test]
    fn a_list_is_threaded_through_its_pages() {
        let (mut map, mut list) = (map(), List::default());
        for pfn in [300, 301, 302] {
            list.push_back(&mut map, Pfn(pfn));
        }
        list.push_front(&mut map, Pfn(299));
        list.remove(&mut map, Pfn(301));
        assert_eq!(list.iter(&map).collect::<Vec<_>>(), [Pfn(299), Pfn(300), Pfn(302)]);
        assert_eq!(list.pop_front(&mut map), Some(Pfn(299)));
        assert_eq!((list.len, list.tail), (2, Pfn(302)));
        assert_eq!(list.pop_back(&mut map), Some(Pfn(302)));
        list.remove(&mut map, Pfn(300));
        assert_eq!((list, list.iter(&map).next()), (List::default(), None));
    }
}
