//! Slabs and the links between their free objects.
//!
//! Kernel: `struct slab` in `mm/slab.h`.
//! Fidelity: faithful — freelist, inuse, objects, frozen. Ours — links in an array beside the memory, which the CPU that
//! allocates from a slab has at hand; slabs by number, in sections that a snapshot shares.

use crate::mm::addr::Pfn;
use crate::mm::machine::Machine;
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
    /// Its free objects, unless a CPU has taken them along.
    pub(super) links: Links,
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
            links: Links::default(),
        }
    }

    /// A slab whose objects are all free from `first` on, in the order of their addresses (`shuffle_freelist` is off).
    pub(crate) fn free_from(mut self, first: u16) -> Slab {
        let next = |n: u16| if n + 1 == self.objects { END } else { n + 1 };
        self.links = Links((0..self.objects).map(|n| if n < first { TAKEN } else { next(n) }).collect());
        self.freelist = if first < self.objects { first } else { END };
        self.inuse = first;
        self
    }

    /// True for a slab that belongs to a CPU.
    pub fn frozen(&self) -> bool {
        matches!(self.place, Place::Cpu(_) | Place::CpuPartial(_))
    }
}

/// What follows each object of a slab on its free list; [`TAKEN`] for one in use. Empty while all are in use since the
/// boot.
#[derive(Clone, Debug, Default)]
pub(crate) struct Links(Vec<u16>);

impl Links {
    /// What follows a free object, or that it is in use.
    #[inline]
    pub fn next(&self, index: u32) -> u16 {
        self.0.get(index as usize).copied().unwrap_or(TAKEN)
    }

    /// The same, to be changed; `None` behind the last object.
    #[inline(always)]
    pub fn slot(&mut self, index: usize) -> Option<&mut u16> {
        self.0.get_mut(index)
    }

    /// Sets what follows an object of a slab of so many.
    pub fn set(&mut self, index: u16, next: u16, objects: u16) {
        self.materialise(objects);
        self.0[usize::from(index)] = next;
    }

    /// Makes the links of a slab that was full since the boot.
    #[cold]
    fn materialise(&mut self, objects: u16) {
        if self.0.is_empty() {
            self.0 = vec![TAKEN; usize::from(objects)];
        }
    }

    /// What is free and not on this list is lost: it counts as in use. How many are free.
    fn keep_listed(&mut self, first: u16, objects: u16) -> u16 {
        self.materialise(objects);
        let listed: Vec<u16> = self.walk(first).collect();
        let mut kept = vec![false; self.0.len()];
        listed.iter().for_each(|index| kept[usize::from(*index)] = true);
        self.0.iter_mut().zip(kept).filter(|(_, kept)| !kept).for_each(|(link, _)| *link = TAKEN);
        listed.len() as u16
    }

    /// True without links: they are elsewhere, or every object is in use.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Free objects, each looked at.
    pub fn free(&self) -> u32 {
        self.0.iter().filter(|link| **link != TAKEN).count() as u32
    }

    /// The free objects from one on, at most as many as there are.
    pub fn walk(&self, first: u16) -> impl Iterator<Item = u16> + '_ {
        let mut at = first;
        let list = std::iter::from_fn(move || {
            let index = (at < END).then_some(at)?;
            at = self.next(u32::from(index));
            Some(index)
        });
        list.take(self.0.len())
    }
}

impl Machine {
    /// The links of a slab: the CPU that allocates from it has them.
    pub(crate) fn links(&self, nr: SlabNr) -> &Links {
        let slab = self.slab(nr);
        match slab.place {
            Place::Cpu(cpu) if self.kmem_cache_cpu(slab.cache, cpu.into()).slab == nr => {
                &self.kmem_cache_cpu(slab.cache, cpu.into()).links
            }
            _ => &slab.links,
        }
    }

    fn links_mut(&mut self, nr: SlabNr) -> &mut Links {
        let slab = self.slab(nr);
        let (cache, place) = (slab.cache, slab.place);
        match place {
            Place::Cpu(cpu) if self.kmem_cache_cpu(cache, cpu.into()).slab == nr => {
                &mut self.kmem_cache_cpu_mut(cache, cpu.into()).links
            }
            _ => &mut self.slab_mut(nr).links,
        }
    }

    /// Sets what follows an object.
    pub(super) fn set_link(&mut self, nr: SlabNr, index: u16, next: u16) {
        let objects = self.slab(nr).objects;
        self.links_mut(nr).set(index, next, objects);
    }

    /// Objects of a slab that are in use, each looked at.
    pub fn objects_taken(&self, nr: SlabNr) -> u32 {
        u32::from(self.slab(nr).objects) - self.links(nr).free()
    }

    /// What is free and not on the slab's own list is lost: it counts as in use.
    pub(super) fn lose_unlisted(&mut self, nr: SlabNr) {
        let (first, objects) = (self.slab(nr).freelist, self.slab(nr).objects);
        let free = self.links_mut(nr).keep_listed(first, objects);
        self.slab_mut(nr).inuse = objects - free;
    }

    /// A CPU allocates from a slab from now on: it takes the links along (`c->slab = slab`).
    pub(super) fn open_slab(&mut self, id: CacheId, cpu: usize, nr: SlabNr) {
        let (base, links) = (self.object_address(nr, 0).0, std::mem::take(&mut self.slab_mut(nr).links));
        let (node, objects) = (self.slab(nr).node, u64::from(self.slab(nr).objects));
        let cache = &self.caches.all[id];
        let (size, reciprocal) = (u64::from(cache.size), cache.reciprocal);
        let c = self.kmem_cache_cpu_mut(id, cpu);
        debug_assert!(c.slab == SlabNr::NONE, "a CPU has one slab of a cache");
        c.of = id.generation();
        (c.slab, c.freelist, c.links) = (nr, END, links);
        (c.base, c.span, c.size, c.reciprocal, c.node) = (base, objects * size, size, reciprocal, node);
    }

    /// A CPU's slab gets its links back; the first object of the free list that the CPU had.
    pub(super) fn close_slab(&mut self, id: CacheId, cpu: usize) -> u16 {
        let c = self.kmem_cache_cpu_mut(id, cpu);
        let (nr, freelist) = (c.slab, c.freelist);
        let links = std::mem::take(&mut c.links);
        (c.slab, c.freelist, c.span) = (SlabNr::NONE, END, 0);
        self.slab_mut(nr).links = links;
        freelist
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
    /// The place of each slab's cache: a free begins with this question.
    owners: Vec<u32>,
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

    /// The place of a slab's cache; that of a number that was given back is stale.
    #[inline(always)]
    pub fn owner(&self, nr: SlabNr) -> Option<usize> {
        self.owners.get(nr.0 as usize).map(|owner| *owner as usize)
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
            self.owners.push(slab.cache.index());
            if nr.0 as usize / SECTION == self.sections.len() {
                self.sections.push(Section::Owned(Vec::with_capacity(SECTION)));
            }
            own(&mut self.sections[nr.0 as usize / SECTION]).push(Some(slab));
        } else {
            self.owners[nr.0 as usize] = slab.cache.index();
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
        assert_eq!(fresh.links.walk(fresh.freelist).collect::<Vec<_>>(), [0, 1, 2, 3]);
        let half = slab().free_from(2);
        assert_eq!((half.inuse, half.links.free(), half.links.walk(half.freelist).count()), (2, 2, 2));
        assert_eq!((slab().links.free(), slab().links.next(3)), (0, TAKEN));
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
