//! Slabs and the links between their free objects.
//!
//! Kernel: `struct slab` in `mm/slab.h`.
//! Fidelity: faithful — freelist, inuse, objects, frozen. Ours — links in an array beside the memory, slabs by number,
//! in sections that a snapshot shares.

use crate::mm::addr::Pfn;
use crate::mm::slab_common::CacheId;
use std::rc::Rc;

/// The end of a free list; every value from here on is no object.
pub(crate) const END: u16 = 0xfffd;
/// A free object whose pointer was overwritten: the list goes astray here.
pub(crate) const WILD: u16 = 0xfffe;
/// An object in use.
pub(crate) const TAKEN: u16 = 0xffff;
/// Slabs of a section.
const SECTION: usize = 64;

/// The number of a slab; it stands in the mapping of its first page.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SlabNr(pub u32);

impl SlabNr {
    /// No slab.
    pub const NONE: SlabNr = SlabNr(u32::MAX);

    /// The slab, unless there is none.
    #[inline]
    pub fn some(self) -> Option<SlabNr> {
        (self != SlabNr::NONE).then_some(self)
    }

    /// What stands in `Page::mapping`.
    pub(crate) fn mapping(self) -> u32 {
        self.0 + 1
    }

    /// The slab that a page's mapping names.
    #[inline]
    pub(crate) fn of_mapping(mapping: u32) -> Option<SlabNr> {
        mapping.checked_sub(1).map(SlabNr)
    }
}

/// Where a slab is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Place {
    /// On no list: all of its objects are in use.
    #[default]
    Full,
    /// A CPU allocates from it.
    Cpu(u16),
    /// On a CPU's partial list.
    CpuPartial(u16),
    /// On its node's partial list.
    Partial,
}

/// A block of pages cut into objects (`struct slab`).
#[derive(Clone, Debug)]
pub struct Slab {
    /// The cache.
    pub cache: CacheId,
    /// Its first page.
    pub pfn: Pfn,
    /// The slab behind it on a CPU's partial list.
    pub next: SlabNr,
    /// Its own first free object; a CPU that allocates from it has taken the list along.
    pub(crate) freelist: u16,
    /// Objects in use; a CPU's own free list counts as in use.
    pub inuse: u16,
    /// Objects.
    pub objects: u16,
    /// Where it is; a slab of a CPU is *frozen*.
    pub place: Place,
    /// The index of its node.
    pub node: u8,
    /// Its block's order.
    pub order: u8,
    /// Next free object of each object, [`TAKEN`] for one in use; empty while all are in use since the boot.
    links: Vec<u16>,
}

impl Slab {
    /// A slab whose objects are all in use.
    pub(crate) fn full(cache: CacheId, pfn: Pfn, order: u8, objects: u16, node: u8) -> Slab {
        let place = Place::Full;
        Slab {
            cache,
            pfn,
            next: SlabNr::NONE,
            freelist: END,
            inuse: objects,
            objects,
            place,
            node,
            order,
            links: Vec::new(),
        }
    }

    /// A slab whose objects are all free from `first` on, in the order of their addresses (`shuffle_freelist` is off).
    pub(crate) fn free_from(mut self, first: u16) -> Slab {
        let next = |n: u16| if n + 1 == self.objects { END } else { n + 1 };
        self.links = (0..self.objects).map(|n| if n < first { TAKEN } else { next(n) }).collect();
        self.freelist = if first < self.objects { first } else { END };
        self.inuse = first;
        self
    }

    /// True for a slab that belongs to a CPU.
    pub fn frozen(&self) -> bool {
        matches!(self.place, Place::Cpu(_) | Place::CpuPartial(_))
    }

    /// What follows a free object, or that it is in use.
    #[inline]
    pub(crate) fn link(&self, index: u32) -> u16 {
        self.links.get(index as usize).copied().unwrap_or(TAKEN)
    }

    /// Changes what follows an object; says what it was. `None` while there are no links yet.
    #[inline(always)]
    pub(crate) fn link_mut(&mut self, index: usize) -> Option<&mut u16> {
        self.links.get_mut(index)
    }

    /// Makes the links of a slab that was full since the boot.
    #[cold]
    pub(crate) fn materialise(&mut self) {
        if self.links.is_empty() {
            self.links = vec![TAKEN; usize::from(self.objects)];
        }
    }

    /// What is free and on no list any more is lost: it counts as in use.
    pub(crate) fn lose_unlisted(&mut self) {
        self.materialise();
        let listed: Vec<u16> = self.walk(self.freelist).collect();
        let mut kept = vec![false; self.links.len()];
        listed.iter().for_each(|index| kept[usize::from(*index)] = true);
        self.links.iter_mut().zip(kept).filter(|(_, kept)| !kept).for_each(|(link, _)| *link = TAKEN);
        self.inuse = self.objects - listed.len() as u16;
    }

    /// Sets what follows an object.
    pub(crate) fn set_link(&mut self, index: u16, next: u16) {
        self.materialise();
        self.links[usize::from(index)] = next;
    }

    /// Objects in use, each looked at.
    pub fn taken(&self) -> u32 {
        if self.links.is_empty() {
            return u32::from(self.objects);
        }
        self.links.iter().filter(|link| **link == TAKEN).count() as u32
    }

    /// The free objects from one on, at most as many as there are.
    pub(crate) fn walk(&self, first: u16) -> impl Iterator<Item = u16> + '_ {
        let mut at = first;
        let list = std::iter::from_fn(move || {
            let index = (at < END).then_some(at)?;
            at = self.link(u32::from(index));
            Some(index)
        });
        list.take(usize::from(self.objects))
    }
}

#[derive(Clone, Debug)]
enum Section {
    Owned(Vec<Option<Slab>>),
    /// A snapshot holds it as well: writing copies it.
    Shared(Rc<Vec<Option<Slab>>>),
}

/// Every slab by its number.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slabs {
    sections: Vec<Section>,
    free: Vec<u32>,
    len: u32,
}

impl Slabs {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.len as usize - self.free.len()
    }

    /// The slab; a number that the simulator itself keeps is never stale.
    #[inline]
    pub fn get(&self, nr: SlabNr) -> &Slab {
        let slots = match &self.sections[nr.0 as usize / SECTION] {
            Section::Owned(slots) => slots,
            Section::Shared(slots) => &**slots,
        };
        match &slots[nr.0 as usize % SECTION] {
            Some(slab) => slab,
            None => panic!("stale number of a slab: {nr:?}"),
        }
    }

    /// The slab, to be changed.
    #[inline]
    pub fn get_mut(&mut self, nr: SlabNr) -> &mut Slab {
        let slots = own(&mut self.sections[nr.0 as usize / SECTION]);
        match &mut slots[nr.0 as usize % SECTION] {
            Some(slab) => slab,
            None => panic!("stale number of a slab: {nr:?}"),
        }
    }

    /// The number that the next slab gets.
    pub fn next(&self) -> SlabNr {
        SlabNr(self.free.last().copied().unwrap_or(self.len))
    }

    /// Puts a slab in.
    pub fn insert(&mut self, slab: Slab) -> SlabNr {
        let nr = self.next();
        if self.free.pop().is_none() {
            self.len += 1;
            if nr.0 as usize / SECTION == self.sections.len() {
                self.sections.push(Section::Owned(Vec::with_capacity(SECTION)));
            }
            own(&mut self.sections[nr.0 as usize / SECTION]).push(Some(slab));
        } else {
            own(&mut self.sections[nr.0 as usize / SECTION])[nr.0 as usize % SECTION] = Some(slab);
        }
        nr
    }

    /// Takes a slab out.
    pub fn remove(&mut self, nr: SlabNr) -> Option<Slab> {
        let slab = own(&mut self.sections[nr.0 as usize / SECTION])[nr.0 as usize % SECTION].take();
        if slab.is_some() {
            self.free.push(nr.0);
        }
        slab
    }

    /// Every slab by number.
    pub fn iter(&self) -> impl Iterator<Item = (SlabNr, &Slab)> {
        self.sections.iter().enumerate().flat_map(|(at, section)| {
            let slots = match section {
                Section::Owned(slots) => slots,
                Section::Shared(slots) => &**slots,
            };
            let number = move |n: usize| SlabNr((at * SECTION + n) as u32);
            slots.iter().enumerate().filter_map(move |(n, slab)| Some((number(n), slab.as_ref()?)))
        })
    }

    /// From now on a copy may hold every section, too.
    pub fn share(&mut self) {
        for section in &mut self.sections {
            if let Section::Owned(slots) = section {
                *section = Section::Shared(Rc::new(std::mem::take(slots)));
            }
        }
    }
}

/// A section that may be written: a shared one is copied, unless nobody else holds it any more.
#[inline]
fn own(section: &mut Section) -> &mut Vec<Option<Slab>> {
    if let Section::Shared(_) = section {
        unshare(section);
    }
    match section {
        Section::Owned(slots) => slots,
        Section::Shared(_) => unreachable!("it is owned now"),
    }
}

#[cold]
fn unshare(section: &mut Section) {
    if let Section::Shared(slots) = section {
        let slots = std::mem::take(slots);
        *section = Section::Owned(Rc::try_unwrap(slots).unwrap_or_else(|slots| (*slots).clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slab() -> Slab {
        Slab::full(CacheId::dangling(), Pfn(7), 0, 4, 0)
    }

    #[test]
    fn a_fresh_slab_is_a_list_of_its_objects() {
        let fresh = slab().free_from(0);
        assert_eq!(fresh.walk(fresh.freelist).collect::<Vec<_>>(), [0, 1, 2, 3]);
        let half = slab().free_from(2);
        assert_eq!((half.inuse, half.taken(), half.walk(half.freelist).count()), (2, 2, 2));
        assert_eq!(slab().taken(), 4);
    }

    #[test]
    fn a_copy_shares_slabs_until_one_side_writes() {
        let mut slabs = Slabs::default();
        let nr = slabs.insert(slab());
        slabs.share();
        let before = slabs.clone();
        slabs.get_mut(nr).inuse = 1;
        assert_eq!((before.get(nr).inuse, slabs.get(nr).inuse), (4, 1));
        assert_eq!(slabs.remove(nr).map(|slab| slab.inuse), Some(1));
        assert_eq!((slabs.len(), slabs.next(), slabs.iter().count()), (0, nr, 0));
    }
}
