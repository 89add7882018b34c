//! Lists threaded through the pages themselves.
//!
//! Gorman 2.4. Kernel: `include/linux/list.h`.
//! Fidelity: faithful — order. Simplified — the list knows its ends and its length, the kernel's is a ring.

use super::{MemMap, Page};
use crate::mm::addr::Pfn;

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
