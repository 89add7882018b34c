//! A sparse array of 2^32 places: the pages of a file by their index.
//!
//! ```text
//!   index  31 … 30 │ 29 … 24 │ 23 … 18 │ 17 … 12 │ 11 … 6 │ 5 … 0
//!                                                 ┌────────┐   ┌──┬──┬─ ─┬──┐  an entry: nothing, a page,
//!   root: as high as the largest index needs ───► │ node   ├──►│  │  │   │  │  or a number (a swap slot,
//!                                                 └────────┘   └──┴──┴─ ─┴──┘  the shadow of an evicted page)
//! ```
//!
//! A node knows which of its 64 places are used, and which hold something dirty or under writeback below them: whoever
//! looks for those passes over everything else. Nodes are shared with snapshots and copied when one side writes.
//!
//! Gorman 10.2 (then: a hash table of all pages). Kernel: `lib/xarray.c`, `include/linux/xarray.h`.
//! Fidelity: faithful — 64 places a node, value entries, marks that propagate. Simplified — nodes are not pages of slab.

use crate::mm::addr::Pfn;
use std::rc::Rc;

const SHIFT: u32 = 6;
const SLOTS: usize = 1 << SHIFT;

/// What stands at a place.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Entry(u64);

impl Entry {
    /// Nothing.
    pub const NONE: Entry = Entry(0);

    /// A page.
    #[inline]
    pub fn page(pfn: Pfn) -> Entry {
        Entry((u64::from(pfn.0) + 1) << 1)
    }

    /// A number in place of a page (`xa_mk_value`).
    #[inline]
    pub fn value(value: u64) -> Entry {
        Entry(value << 1 | 1)
    }

    /// True without anything.
    #[inline]
    pub fn is_none(self) -> bool {
        self.0 == 0
    }

    /// The page, if it is one.
    #[inline]
    pub fn as_page(self) -> Option<Pfn> {
        (self.0 != 0 && self.0 & 1 == 0).then(|| Pfn((self.0 >> 1) as u32 - 1))
    }

    /// The number, if it is one (`xa_to_value`).
    #[inline]
    pub fn as_value(self) -> Option<u64> {
        (self.0 & 1 == 1).then_some(self.0 >> 1)
    }
}

/// What can be said of a place beside its entry (`PAGECACHE_TAG_*`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mark {
    /// The page has to be written.
    Dirty,
    /// It is being written.
    Writeback,
}

const MARKS: usize = 2;

#[derive(Clone, Debug)]
struct Node {
    /// Bits of the index below this node's part; 0 in the lowest.
    shift: u32,
    /// Places in use, one bit each.
    used: u64,
    /// Places with a mark on them or below.
    marks: [u64; MARKS],
    slots: NodeSlots,
}

#[derive(Clone, Debug)]
enum NodeSlots {
    Entries([Entry; SLOTS]),
    Nodes([Option<Rc<Node>>; SLOTS]),
}

impl Node {
    fn new(shift: u32) -> Node {
        let slots = match shift {
            0 => NodeSlots::Entries([Entry::NONE; SLOTS]),
            _ => NodeSlots::Nodes([const { None }; SLOTS]),
        };
        Node { shift, used: 0, marks: [0; MARKS], slots }
    }

    #[inline]
    fn place(&self, index: u32) -> usize {
        (index >> self.shift) as usize & (SLOTS - 1)
    }

    /// Puts an entry in; what was there before. Nodes that become empty go.
    fn store(&mut self, index: u32, entry: Entry) -> Entry {
        let (at, shift) = (self.place(index), self.shift);
        let (old, empty) = match &mut self.slots {
            NodeSlots::Entries(entries) => (std::mem::replace(&mut entries[at], entry), entry.is_none()),
            NodeSlots::Nodes(nodes) => {
                if nodes[at].is_none() && entry.is_none() {
                    return Entry::NONE;
                }
                let below = nodes[at].get_or_insert_with(|| Rc::new(Node::new(shift - SHIFT)));
                let below = Rc::make_mut(below);
                let old = below.store(index, entry);
                let (used, marks) = (below.used, below.marks);
                if used == 0 {
                    nodes[at] = None;
                }
                for (mine, theirs) in self.marks.iter_mut().zip(marks) {
                    set_bit(mine, at, theirs != 0);
                }
                (old, used == 0)
            }
        };
        set_bit(&mut self.used, at, !empty);
        if empty {
            self.marks.iter_mut().for_each(|mark| set_bit(mark, at, false));
        }
        old
    }

    fn mark(&mut self, index: u32, mark: Mark, on: bool) {
        let at = self.place(index);
        if self.used & (1 << at) == 0 {
            return;
        }
        let on = match &mut self.slots {
            NodeSlots::Entries(_) => on,
            NodeSlots::Nodes(nodes) => {
                let Some(below) = &mut nodes[at] else { return };
                let below = Rc::make_mut(below);
                below.mark(index, mark, on);
                below.marks[mark as usize] != 0
            }
        };
        set_bit(&mut self.marks[mark as usize], at, on);
    }

    /// The first entry at `from` or above it, in this node's part of the array, that has the mark.
    fn find(&self, base: u32, from: u32, mark: Option<Mark>) -> Option<(u32, Entry)> {
        let wanted = mark.map_or(self.used, |mark| self.marks[mark as usize]);
        let first = if from <= base { 0 } else { self.place(from) };
        let mut left = wanted & (u64::MAX << first);
        while left != 0 {
            let at = left.trailing_zeros() as usize;
            left &= left - 1;
            let start = base | (at as u32) << self.shift;
            match &self.slots {
                NodeSlots::Entries(entries) => return Some((start, entries[at])),
                NodeSlots::Nodes(nodes) => {
                    let below = nodes[at].as_ref().and_then(|below| below.find(start, from.max(start), mark));
                    if below.is_some() {
                        return below;
                    }
                }
            }
        }
        None
    }
}

#[inline]
fn set_bit(word: &mut u64, at: usize, on: bool) {
    *word = *word & !(1 << at) | u64::from(on) << at;
}

/// The array (`struct xarray`).
#[derive(Clone, Debug, Default)]
pub struct XArray {
    root: Option<Rc<Node>>,
}

impl XArray {
    /// True without entries.
    pub fn is_empty(&self) -> bool {
        self.root.is_none()
    }

    /// The entry at a place (`xa_load`).
    #[inline]
    pub fn load(&self, index: u32) -> Entry {
        self.leaf(index).map_or(Entry::NONE, |entries| entries[index as usize & (SLOTS - 1)])
    }

    /// The 64 entries around a place.
    #[inline]
    fn leaf(&self, index: u32) -> Option<&[Entry; SLOTS]> {
        let mut node = self.root.as_ref()?;
        if u64::from(index) >> (node.shift + SHIFT) != 0 {
            return None;
        }
        loop {
            match &node.slots {
                NodeSlots::Entries(entries) => return Some(entries),
                NodeSlots::Nodes(nodes) => node = nodes[node.place(index)].as_ref()?,
            }
        }
    }

    /// Entries of `first..=last` that lie within the 64 around `first`: what one fault maps is found with one walk.
    #[inline]
    pub fn near(&self, first: u32, last: u32) -> &[Entry] {
        let from = first as usize & (SLOTS - 1);
        let to = (from + (last.saturating_sub(first)) as usize).min(SLOTS - 1);
        self.leaf(first).map_or(&[], |entries| &entries[from..=to])
    }

    /// Puts an entry at a place, or takes it away with [`Entry::NONE`]; what was there (`xa_store`).
    pub fn store(&mut self, index: u32, entry: Entry) -> Entry {
        if entry.is_none() && self.load(index).is_none() {
            return Entry::NONE;
        }
        let mut root = self.root.take().unwrap_or_else(|| Rc::new(Node::new(0)));
        while u64::from(index) >> (root.shift + SHIFT) != 0 {
            root = Rc::new(above(root));
        }
        let old = Rc::make_mut(&mut root).store(index, entry);
        self.root = (root.used != 0).then_some(root);
        old
    }

    /// Sets a mark on an entry, or takes it away (`xa_set_mark`, `xa_clear_mark`).
    pub fn mark(&mut self, index: u32, mark: Mark, on: bool) {
        if let Some(root) = self.root.as_mut().filter(|root| u64::from(index) >> (root.shift + SHIFT) == 0) {
            Rc::make_mut(root).mark(index, mark, on);
        }
    }

    /// True when the entry at a place has the mark (`xa_get_mark`).
    pub fn is_marked(&self, index: u32, mark: Mark) -> bool {
        self.find(index, Some(mark)).is_some_and(|(at, _)| at == index)
    }

    /// True when some entry has the mark (`xa_marked`).
    #[inline]
    pub fn any_marked(&self, mark: Mark) -> bool {
        self.root.as_ref().is_some_and(|root| root.marks[mark as usize] != 0)
    }

    /// The first entry at this place or above it, of those with a mark if one is named (`xa_find`).
    pub fn find(&self, from: u32, mark: Option<Mark>) -> Option<(u32, Entry)> {
        let root = self.root.as_ref()?;
        if u64::from(from) >> (root.shift + SHIFT) != 0 {
            return None;
        }
        root.find(0, from, mark)
    }

    /// Every entry, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (u32, Entry)> + '_ {
        let mut next = Some(0);
        std::iter::from_fn(move || {
            let found = self.find(next?, None)?;
            next = found.0.checked_add(1);
            Some(found)
        })
    }
}

/// A root above this one.
fn above(root: Rc<Node>) -> Node {
    let mut top = Node::new(root.shift + SHIFT);
    top.used = u64::from(root.used != 0);
    top.marks = root.marks.map(|mark| u64::from(mark != 0));
    if let NodeSlots::Nodes(nodes) = &mut top.slots
        && root.used != 0
    {
        nodes[0] = Some(root);
    }
    top
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mm::machine::Dice;
    use std::collections::BTreeMap;

    #[test]
    fn it_is_a_map_with_marks() {
        let mut dice = Dice::new(7);
        let (mut array, mut model) = (XArray::default(), BTreeMap::new());
        for step in 0..20_000 {
            let wide = [6, 12, 18, 32][dice.below(4) as usize];
            let index = (dice.below(1 << wide)) as u32;
            match dice.below(10) {
                0..5 => {
                    let entry = Entry::page(Pfn(step));
                    let old = array.store(index, entry);
                    let marks = model.get(&index).map_or([false; 2], |(_, marks)| *marks);
                    assert_eq!(old, model.insert(index, (entry, marks)).map_or(Entry::NONE, |(e, _)| e));
                }
                5..7 => {
                    let old = array.store(index, Entry::NONE);
                    assert_eq!(old, model.remove(&index).map_or(Entry::NONE, |(e, _)| e));
                }
                _ => {
                    let (mark, on) =
                        ([Mark::Dirty, Mark::Writeback][dice.below(2) as usize], dice.below(3) > 0);
                    array.mark(index, mark, on);
                    if let Some((_, marks)) = model.get_mut(&index) {
                        marks[mark as usize] = on;
                    }
                }
            }
        }
        assert!(array.iter().eq(model.iter().map(|(index, (entry, _))| (*index, *entry))));
        for mark in [Mark::Dirty, Mark::Writeback] {
            let mut at = 0;
            for index in model.iter().filter(|(_, (_, marks))| marks[mark as usize]).map(|(index, _)| *index)
            {
                assert_eq!(array.find(at, Some(mark)).map(|found| found.0), Some(index));
                at = index + 1;
            }
            assert_eq!(array.find(at, Some(mark)), None);
        }
        let before = array.clone();
        for index in model.keys() {
            array.store(*index, Entry::NONE);
        }
        assert!(array.is_empty() && !array.any_marked(Mark::Dirty));
        assert_eq!(before.iter().count(), model.len(), "a copy keeps what was");
    }

    #[test]
    fn numbers_and_pages_are_told_apart() {
        for n in [0, 1, u32::MAX - 1] {
            assert_eq!((Entry::page(Pfn(n)).as_page(), Entry::page(Pfn(n)).as_value()), (Some(Pfn(n)), None));
            let value = Entry::value(u64::from(n));
            assert_eq!(
                (value.as_page(), value.as_value(), value.is_none()),
                (None, Some(u64::from(n)), false)
            );
        }
    }
}
