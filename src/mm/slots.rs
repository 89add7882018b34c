//! Numbered places that remember who lived there: an old number never finds a stranger.
//!
//! Fidelity: ours. The kernel has pointers; a stale one is a bug it cannot see.

use std::fmt;
use std::marker::PhantomData;

/// The number of a thing in [`Slots`], with the generation of its place.
pub struct Id<T> {
    index: u32,
    generation: u32,
    of: PhantomData<fn() -> T>,
}

impl<T> Id<T> {
    /// The place.
    #[inline]
    pub fn index(self) -> u32 {
        self.index
    }

    /// How many lived there before.
    #[inline]
    pub(crate) fn generation(self) -> u32 {
        self.generation
    }
}

#[cfg(test)]
impl<T> Id<T> {
    /// A number for tests that never look it up.
    pub fn dangling() -> Id<T> {
        Id { index: 0, generation: 0, of: PhantomData }
    }
}

impl<T> Clone for Id<T> {
    fn clone(&self) -> Id<T> {
        *self
    }
}
impl<T> Copy for Id<T> {}
impl<T> PartialEq for Id<T> {
    fn eq(&self, other: &Id<T>) -> bool {
        (self.index, self.generation) == (other.index, other.generation)
    }
}
impl<T> Eq for Id<T> {}
impl<T> PartialOrd for Id<T> {
    fn partial_cmp(&self, other: &Id<T>) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<T> Ord for Id<T> {
    fn cmp(&self, other: &Id<T>) -> std::cmp::Ordering {
        (self.index, self.generation).cmp(&(other.index, other.generation))
    }
}
impl<T> fmt::Debug for Id<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}.{}", self.index, self.generation)
    }
}

#[derive(Clone, Debug)]
struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

/// A vector with holes: `insert` fills the last hole, `get` checks the generation.
#[derive(Clone, Debug)]
pub struct Slots<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
}

impl<T> Default for Slots<T> {
    fn default() -> Slots<T> {
        Slots { slots: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slots<T> {
    /// Puts a thing in; its number.
    #[inline(always)]
    pub fn insert(&mut self, value: T) -> Id<T> {
        let index = self.free.pop().unwrap_or(self.slots.len() as u32);
        match self.slots.get_mut(index as usize) {
            Some(slot) => slot.value = Some(value),
            None => self.slots.push(Slot { generation: 0, value: Some(value) }),
        }
        Id { index, generation: self.slots[index as usize].generation, of: PhantomData }
    }

    /// Takes a thing out; its number is stale from then on.
    #[inline]
    pub fn remove(&mut self, id: Id<T>) -> Option<T> {
        let slot = self.slots.get_mut(id.index as usize).filter(|s| s.generation == id.generation)?;
        let value = slot.value.take()?;
        slot.generation += 1;
        self.free.push(id.index);
        Some(value)
    }

    /// Takes a thing out and lets it go, where it is.
    #[inline]
    pub fn forget(&mut self, id: Id<T>) {
        if let Some(slot) = self.slots.get_mut(id.index as usize)
            && slot.generation == id.generation
            && slot.value.is_some()
        {
            slot.value = None;
            slot.generation += 1;
            self.free.push(id.index);
        }
    }

    /// The thing, if its number is not stale.
    #[inline]
    pub fn get(&self, id: Id<T>) -> Option<&T> {
        let slot = self.slots.get(id.index as usize)?;
        if slot.generation == id.generation { slot.value.as_ref() } else { None }
    }

    /// The thing, to be changed.
    #[inline]
    pub fn get_mut(&mut self, id: Id<T>) -> Option<&mut T> {
        let slot = self.slots.get_mut(id.index as usize)?;
        if slot.generation == id.generation { slot.value.as_mut() } else { None }
    }

    /// The living thing at a place, whoever it is now.
    pub fn at(&self, index: u32) -> Option<Id<T>> {
        let slot = self.slots.get(index as usize).filter(|s| s.value.is_some())?;
        Some(Id { index, generation: slot.generation, of: PhantomData })
    }

    /// Everything, by place.
    pub fn iter(&self) -> impl Iterator<Item = (Id<T>, &T)> {
        let id = |index: usize, generation: u32| Id { index: index as u32, generation, of: PhantomData };
        self.slots.iter().enumerate().filter_map(move |(i, s)| Some((id(i, s.generation), s.value.as_ref()?)))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A number that the simulator itself keeps is never stale: this panics if it is, for that is our bug.
impl<T> std::ops::Index<Id<T>> for Slots<T> {
    type Output = T;
    #[inline(always)]
    fn index(&self, id: Id<T>) -> &T {
        match self.get(id) {
            Some(value) => value,
            None => stale(id),
        }
    }
}

impl<T> std::ops::IndexMut<Id<T>> for Slots<T> {
    #[inline(always)]
    fn index_mut(&mut self, id: Id<T>) -> &mut T {
        match self.get_mut(id) {
            Some(value) => value,
            None => stale(id),
        }
    }
}

#[cold]
#[inline(never)]
fn stale<T>(id: Id<T>) -> ! {
    panic!("stale number {id:?}")
}
