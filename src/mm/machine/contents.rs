//! What pages hold: bytes of those that somebody wrote, and which handles of a page are still good.
//!
//! Fidelity: ours — a page that nobody wrote takes no memory of the host.

use crate::mm::addr::{Order, PAGE_SIZE, Pfn};
use std::collections::BTreeMap;
use std::rc::Rc;

/// Bytes of pages that somebody wrote; a page that is not here reads as zeros.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    pages: BTreeMap<u32, Rc<[u8; PAGE_SIZE as usize]>>,
}

impl Contents {
    /// True when no page carries bytes.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.pages.is_empty()
    }

    /// How many pages carry bytes.
    pub fn len(&self) -> usize {
        self.pages.len()
    }

    /// The bytes of a page, if somebody wrote it.
    pub fn get(&self, pfn: Pfn) -> Option<&[u8; PAGE_SIZE as usize]> {
        self.pages.get(&pfn.0).map(|page| &**page)
    }

    /// The bytes of a page, to be written.
    pub fn get_mut(&mut self, pfn: Pfn) -> &mut [u8; PAGE_SIZE as usize] {
        Rc::make_mut(self.pages.entry(pfn.0).or_insert_with(|| Rc::new([0; PAGE_SIZE as usize])))
    }

    /// Takes a page's bytes along: to swap, to a copy.
    pub fn share(&self, pfn: Pfn) -> Option<Rc<[u8; PAGE_SIZE as usize]>> {
        self.pages.get(&pfn.0).cloned()
    }

    /// Gives a page bytes that came from elsewhere; `None` reads as zeros.
    pub fn put(&mut self, pfn: Pfn, bytes: Option<Rc<[u8; PAGE_SIZE as usize]>>) {
        match bytes {
            Some(bytes) => self.pages.insert(pfn.0, bytes),
            None => self.pages.remove(&pfn.0),
        };
    }

    /// Forgets the bytes of a block that is freed.
    pub fn forget(&mut self, pfn: Pfn, order: Order) {
        for n in 0..order.pages() {
            self.pages.remove(&(pfn.0 + n));
        }
    }

    /// The pages that carry bytes, ascending.
    pub fn pfns(&self) -> impl Iterator<Item = Pfn> + '_ {
        self.pages.keys().map(|pfn| Pfn(*pfn))
    }
}

/// Serial numbers of pages whose handle a script holds: a stale handle is told from a live one.
#[derive(Clone, Debug, Default)]
pub struct Serials {
    live: BTreeMap<u32, u32>,
    pub(super) next: u32,
}

impl Serials {
    /// The frame was freed: handles of it are stale from now on.
    pub fn bump(&mut self, pfn: Pfn) {
        self.live.remove(&pfn.0);
    }

    /// All frames changed: every handle is stale from now on.
    pub(crate) fn bump_all(&mut self) {
        self.live.clear();
    }

    pub(super) fn watch(&mut self, pfn: Pfn) -> u32 {
        let next = &mut self.next;
        *self.live.entry(pfn.0).or_insert_with(|| {
            *next += 1;
            *next
        })
    }

    /// True when the handle's page is still the one it was made for.
    pub fn is_live(&self, pfn: Pfn, serial: u32) -> bool {
        self.live.get(&pfn.0) == Some(&serial)
    }
}
