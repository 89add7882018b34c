//! `struct page`, one for every frame.
//!
//! ```text
//!   flags.rs   what it is used for          mem_map.rs   the array of them
//!   list.rs    lists threaded through them
//! ```
//!
//! Gorman chapter 2. Kernel: `include/linux/mm_types.h`.
//! Fidelity: faithful — flags, reference and map counts, list links inside the page. Simplified — 32 bytes where the
//! kernel has 64; the order of an allocated block is kept in `private`. Absent — folios as a type of their own.

mod flags;
mod list;
mod mem_map;

pub use flags::PageFlags;
pub use list::List;
pub use mem_map::{MemMap, SECTION_PAGES, Span};

use crate::mm::addr::{Order, Pfn, ZoneId};
use crate::mm::config::MigrateType;

/// Where the zone's number begins in `Page::flags`.
const ZONE_SHIFT: u32 = 23;
const FLAG_MASK: u32 = (1 << ZONE_SHIFT) - 1;
/// A script holds a handle of the page: freeing it must bump the frame's serial.
const WATCHED: u32 = 1 << 22;
/// More than the page itself ends with it.
const SPECIAL: u32 = WATCHED | PageFlags::HEAD.0;

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

    /// It came as one of the 512 pages of a huge page, which nothing has split since (`PageTransCompound`).
    ///
    /// Anonymous pages have no other use for `PG_private_2`.
    #[inline]
    pub fn is_thp(&self) -> bool {
        self.is(PageFlags::PRIVATE_2) && self.mapping & crate::mm::rmap::MAPPING_ANON != 0
    }

    /// Its owner gave it up (`MADV_FREE`): clean, it is dropped instead of being swapped.
    #[inline]
    pub fn is_lazyfree(&self) -> bool {
        self.mapping & crate::mm::rmap::MAPPING_ANON != 0 && !self.is(PageFlags::SWAPBACKED)
    }

    /// The only entry of an anonymous page is gone: nothing is left of it but the entry's reference.
    #[inline]
    pub(crate) fn unmap_only(&mut self) {
        self.flags &= !FLAG_MASK | SPECIAL;
        (self.mapcount, self.mapping, self.private) = (0, 0, 0);
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
