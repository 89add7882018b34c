//! Trees that know a sum of every branch: what a whole branch cannot hold is never looked for inside it.
//!
//! ```text
//!            ┌─ 4 areas, largest gap 9 ─┬─ 3 areas, largest gap 2 ─┐        room for 5? the left branch
//!     A B _________ C D             E _ F __ G
//! ```
//!
//! Gorman 4.4.2 (find_vma on a red-black tree). Kernel: `lib/maple_tree.c`, `include/linux/rbtree_augmented.h`.
//! Fidelity: faithful — a gap for each branch of areas, the last page for each branch of an interval tree. Simplified —
//! both are B-trees of 16 slots a node; the kernel's interval trees are red-black, and its maple tree is read without
//! a lock.

mod interval;
mod maple;

pub use interval::{Interval, IntervalTree};
pub use maple::{Area, MapleTree};

use std::fmt::Debug;

/// Slots of a node (`MAPLE_RANGE64_SLOTS`).
const SLOTS: usize = 16;
/// Entries that a node may have too many until it is cut: an area becomes three at most.
const MORE: usize = 2;
/// A node with fewer is joined with its neighbour, if both fit in one.
const FEW: usize = SLOTS / 4;

/// What a tree holds, in the order of its keys.
pub trait Entry: Clone {
    /// What it is sorted by; no two are equal.
    type Key: Ord + Copy + Debug;
    /// What a branch knows about everything in it.
    type Sum: Copy + PartialEq + Debug;

    /// Its place in the order.
    fn key(&self) -> Self::Key;
    /// The sum of itself alone.
    fn sum(&self) -> Self::Sum;
    /// The sum of two runs of entries side by side.
    fn join(low: Self::Sum, high: Self::Sum) -> Self::Sum;
}

/// A branch as its parent sees it.
#[derive(Clone, Debug)]
struct Child<E: Entry> {
    first: E::Key,
    sum: E::Sum,
    node: Node<E>,
}

/// What a parent knows of a branch in which something happened.
#[derive(Clone, Copy, PartialEq)]
enum Seen {
    /// It is what it was: nobody above need look again.
    Same,
    /// It may be other.
    Changed,
}

#[derive(Clone, Debug)]
enum Node<E: Entry> {
    Leaf(Vec<E>),
    Branch(Vec<Child<E>>),
}

/// Entries in the order of their keys, with a sum for each branch.
#[derive(Clone, Debug)]
pub struct Tree<E: Entry> {
    root: Node<E>,
    len: usize,
}

impl<E: Entry> Default for Tree<E> {
    fn default() -> Tree<E> {
        Tree { root: Node::Leaf(Vec::new()), len: 0 }
    }
}

impl<E: Entry> Tree<E> {
    /// How many there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// True when there is none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds an entry whose key is not there yet.
    pub fn insert(&mut self, entry: E) {
        self.len += 1;
        if let (_, Some(right)) = self.root.insert(entry) {
            self.raise_root(right);
        }
    }

    /// The root was cut: a node above has both halves.
    #[cold]
    fn raise_root(&mut self, right: Child<E>) {
        let left = std::mem::replace(&mut self.root, Node::Branch(Vec::with_capacity(SLOTS + MORE)));
        if let (Node::Branch(children), Some(left)) = (&mut self.root, Child::of(left)) {
            children.extend([left, right]);
        }
    }

    /// Takes the entry with this key out.
    pub fn remove(&mut self, key: E::Key) -> Option<E> {
        let (_, gone) = self.root.remove(key)?;
        self.len -= 1;
        self.lower_root();
        Some(gone)
    }

    /// A root with one branch is that branch.
    fn lower_root(&mut self) {
        while let Node::Branch(children) = &mut self.root
            && children.len() == 1
        {
            self.root = children.remove(0).node;
        }
    }

    /// Cuts the entry with this key into `N` more, which together have the sum that it had: no branch above changes.
    pub fn split<const N: usize>(&mut self, key: E::Key, cut: impl FnOnce(&mut E) -> [E; N]) {
        self.len += N;
        if let Some(right) = self.root.split(key, cut) {
            self.raise_root(right);
        }
    }

    /// Makes one entry of the one with this key and the `more` that follow it, with the sum that they had together: no
    /// branch above changes.
    pub fn merge(&mut self, key: E::Key, more: usize, change: impl Fn(&mut E)) {
        if self.root.merge(key, more, &change) {
            self.len -= more;
            self.lower_root();
            return;
        }
        // They lie in several leaves.
        for _ in 0..more {
            if let Some(next) = self.first_from(|k| k <= key).map(Entry::key) {
                self.remove(next);
            }
        }
        self.change(key, change);
    }

    /// Changes the entry with this key; its place in the order stays the same.
    pub fn change(&mut self, key: E::Key, change: impl FnOnce(&mut E)) -> bool {
        self.root.change(key, change).is_some()
    }

    /// The entry with this key.
    pub fn get(&self, key: E::Key) -> Option<&E> {
        self.first_from(|k| k < key).filter(|entry| entry.key() == key)
    }

    /// The first entry that is not `before` the place asked for; `before` holds for a beginning of the order.
    #[inline]
    pub fn first_from(&self, before: impl Fn(E::Key) -> bool) -> Option<&E> {
        self.root.from(&before).first()
    }

    /// The last entry that is `before` the place asked for.
    #[inline]
    pub fn last_before(&self, before: impl Fn(E::Key) -> bool) -> Option<&E> {
        self.root.until(&before).last()
    }

    /// The neighbours of a place: the last entry that is `before` it, and the first that is not.
    #[inline]
    pub fn around(&self, before: impl Fn(E::Key) -> bool) -> (Option<&E>, Option<&E>) {
        self.root.around(&before)
    }

    /// Everything, in order.
    pub fn iter(&self) -> Iter<'_, E> {
        Iter { tree: self, front: [].iter(), back: [].iter(), first: None, last: None, left: self.len }
    }

    /// What is wrong with the tree, if anything is: order, sums, or how full its nodes are.
    pub fn first_wrong(&self) -> Option<String> {
        let keys: Vec<E::Key> = self.iter().map(Entry::key).collect();
        if keys.len() != self.len || !keys.is_sorted() {
            return Some(format!("{} entries in order, {} counted", keys.len(), self.len));
        }
        self.root.first_wrong()
    }
}

impl<E: Entry> Child<E> {
    /// A node with what its parent knows of it; `None` for an empty one.
    fn of(node: Node<E>) -> Option<Child<E>> {
        Some(Child { first: node.first()?, sum: node.sum()?, node })
    }

    /// Looks again at what is below.
    fn refresh(&mut self) -> Seen {
        let (Some(first), Some(sum)) = (self.node.first(), self.node.sum()) else { return Seen::Changed };
        let same = self.first == first && self.sum == sum;
        (self.first, self.sum) = (first, sum);
        if same { Seen::Same } else { Seen::Changed }
    }
}

impl<E: Entry> Node<E> {
    fn len(&self) -> usize {
        match self {
            Node::Leaf(entries) => entries.len(),
            Node::Branch(children) => children.len(),
        }
    }

    fn first(&self) -> Option<E::Key> {
        match self {
            Node::Leaf(entries) => entries.first().map(Entry::key),
            Node::Branch(children) => children.first().map(|child| child.first),
        }
    }

    fn sum(&self) -> Option<E::Sum> {
        match self {
            Node::Leaf(entries) => entries.iter().map(Entry::sum).reduce(E::join),
            Node::Branch(children) => children.iter().map(|child| child.sum).reduce(E::join),
        }
    }

    /// Adds an entry; the upper half of the node, when it became too full.
    fn insert(&mut self, entry: E) -> (Seen, Option<Child<E>>) {
        let key = entry.key();
        match self {
            Node::Leaf(entries) => {
                let at = entries.partition_point(|e| e.key() < key);
                entries.insert(at, entry);
                (Seen::Changed, upper_half(entries).and_then(|half| Child::of(Node::Leaf(half))))
            }
            Node::Branch(children) => {
                let at = place(children, key);
                let (mut seen, split) = children[at].node.insert(entry);
                if seen == Seen::Changed {
                    seen = children[at].refresh();
                }
                let Some(right) = split else { return (seen, None) };
                children.insert(at + 1, right);
                (Seen::Changed, upper_half(children).and_then(|half| Child::of(Node::Branch(half))))
            }
        }
    }

    fn remove(&mut self, key: E::Key) -> Option<(Seen, E)> {
        match self {
            Node::Leaf(entries) => {
                let at = entries.binary_search_by_key(&key, Entry::key).ok()?;
                Some((Seen::Changed, entries.remove(at)))
            }
            Node::Branch(children) => {
                let at = place(children, key);
                let (mut seen, gone) = children[at].node.remove(key)?;
                if seen == Seen::Changed {
                    seen = children[at].refresh();
                }
                if children[at].node.len() < FEW {
                    join_neighbours(children, at);
                }
                Some((seen, gone))
            }
        }
    }

    /// Cuts an entry in parts; the upper half of the node, when it became too full.
    fn split<const N: usize>(&mut self, key: E::Key, cut: impl FnOnce(&mut E) -> [E; N]) -> Option<Child<E>> {
        match self {
            Node::Leaf(entries) => {
                let above = entries.partition_point(|e| e.key() <= key);
                for (at, upper) in (above..).zip(cut(entries[..above].last_mut()?)) {
                    entries.insert(at, upper);
                }
                upper_half(entries).and_then(|half| Child::of(Node::Leaf(half)))
            }
            Node::Branch(children) => {
                let at = place(children, key);
                let right = children[at].node.split(key, cut)?;
                children[at].refresh();
                children.insert(at + 1, right);
                upper_half(children).and_then(|half| Child::of(Node::Branch(half)))
            }
        }
    }

    /// Makes one entry of several, if they lie in one leaf; false has done nothing.
    fn merge(&mut self, key: E::Key, more: usize, change: &impl Fn(&mut E)) -> bool {
        match self {
            Node::Leaf(entries) => {
                let above = entries.partition_point(|e| e.key() <= key);
                if above == 0 || above + more > entries.len() {
                    return false;
                }
                entries.drain(above..above + more);
                change(&mut entries[above - 1]);
                true
            }
            Node::Branch(children) => {
                let at = place(children, key);
                let merged = children[at].node.merge(key, more, change);
                if merged && children[at].node.len() < FEW {
                    join_neighbours(children, at);
                }
                merged
            }
        }
    }

    fn change(&mut self, key: E::Key, change: impl FnOnce(&mut E)) -> Option<Seen> {
        match self {
            Node::Leaf(entries) => {
                let at = entries.binary_search_by_key(&key, Entry::key).ok()?;
                change(&mut entries[at]);
                Some(Seen::Changed)
            }
            Node::Branch(children) => {
                let at = place(children, key);
                match children[at].node.change(key, change)? {
                    Seen::Same => Some(Seen::Same),
                    Seen::Changed => Some(children[at].refresh()),
                }
            }
        }
    }

    /// The rest of a leaf, from the first entry on that is not `before`.
    #[inline]
    fn from(&self, before: &impl Fn(E::Key) -> bool) -> &[E] {
        let (_, above, next) = self.cut_at(before);
        if above.is_empty() { next.map_or(&[], Node::lowest) } else { above }
    }

    /// The beginning of a leaf, up to the last entry that is `before`.
    #[inline]
    fn until(&self, before: &impl Fn(E::Key) -> bool) -> &[E] {
        self.cut_at(before).0
    }

    /// The last entry that is `before`, and the first that is not.
    #[inline]
    fn around(&self, before: &impl Fn(E::Key) -> bool) -> (Option<&E>, Option<&E>) {
        let (below, above, next) = self.cut_at(before);
        (below.last(), above.first().or_else(|| next?.lowest().first()))
    }

    /// The leaf in which what is `before` ends: both parts of it, and the branch that follows.
    #[inline]
    fn cut_at(&self, before: &impl Fn(E::Key) -> bool) -> (&[E], &[E], Option<&Node<E>>) {
        let (mut node, mut next) = (self, None);
        loop {
            match node {
                Node::Leaf(entries) => {
                    let (below, above) = entries.split_at(entries.partition_point(|e| before(e.key())));
                    return (below, above, next);
                }
                Node::Branch(children) => {
                    let at = children.partition_point(|child| before(child.first));
                    next = children.get(at).map(|child| &child.node).or(next);
                    // When nothing is before, the first leaf is cut at its beginning.
                    node = &children[at.saturating_sub(1)].node;
                }
            }
        }
    }

    /// The first leaf.
    fn lowest(&self) -> &[E] {
        let mut node = self;
        loop {
            match node {
                Node::Leaf(entries) => return entries,
                Node::Branch(children) => node = &children[0].node,
            }
        }
    }

    fn first_wrong(&self) -> Option<String> {
        let Node::Branch(children) = self else {
            return (self.len() > SLOTS).then(|| format!("{} entries in a leaf", self.len()));
        };
        if !(2..=SLOTS).contains(&children.len()) {
            return Some(format!("{} branches in a node", children.len()));
        }
        let stale = |child: &&Child<E>| {
            child.node.first() != Some(child.first) || child.node.sum() != Some(child.sum)
        };
        if children.iter().any(|child| stale(&child)) {
            return Some("a branch holds something else than its parent knows".into());
        }
        children.iter().find_map(|child| child.node.first_wrong())
    }
}

/// The branch in which a key is, or would be.
fn place<E: Entry>(children: &[Child<E>], key: E::Key) -> usize {
    children.partition_point(|child| child.first <= key).saturating_sub(1)
}

/// Cuts the upper half off a node that is too full.
#[inline]
fn upper_half<T>(slots: &mut Vec<T>) -> Option<Vec<T>> {
    if slots.len() <= SLOTS { None } else { Some(cut_half(slots)) }
}

#[cold]
fn cut_half<T>(slots: &mut Vec<T>) -> Vec<T> {
    let mut half = Vec::with_capacity(SLOTS + MORE);
    half.extend(slots.drain(SLOTS / 2..));
    half
}

/// A node with few entries becomes one with its neighbour, if both fit.
fn join_neighbours<E: Entry>(children: &mut Vec<Child<E>>, at: usize) {
    if children[at].node.len() == 0 {
        children.remove(at);
        return;
    }
    let low = at.saturating_sub(1);
    if children.len() < 2 || children[low].node.len() + children[low + 1].node.len() > SLOTS {
        return;
    }
    let high = children.remove(low + 1).node;
    match (&mut children[low].node, high) {
        (Node::Leaf(entries), Node::Leaf(more)) => entries.extend(more),
        (Node::Branch(branches), Node::Branch(more)) => branches.extend(more),
        // All leaves are equally deep.
        _ => {}
    }
    children[low].refresh();
}

/// Entries in order, from both ends.
pub struct Iter<'a, E: Entry> {
    tree: &'a Tree<E>,
    front: std::slice::Iter<'a, E>,
    back: std::slice::Iter<'a, E>,
    first: Option<E::Key>,
    last: Option<E::Key>,
    left: usize,
}

impl<'a, E: Entry> Iterator for Iter<'a, E> {
    type Item = &'a E;

    fn next(&mut self) -> Option<&'a E> {
        self.left = self.left.checked_sub(1)?;
        if self.front.as_slice().is_empty() {
            let done = self.first;
            self.front = self.tree.root.from(&|key| done.is_some_and(|done| key <= done)).iter();
        }
        let entry = self.front.next()?;
        self.first = Some(entry.key());
        Some(entry)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<'a, E: Entry> DoubleEndedIterator for Iter<'a, E> {
    fn next_back(&mut self) -> Option<&'a E> {
        self.left = self.left.checked_sub(1)?;
        if self.back.as_slice().is_empty() {
            let done = self.last;
            self.back = self.tree.root.until(&|key| done.is_none_or(|done| key < done)).iter();
        }
        let entry = self.back.next_back()?;
        self.last = Some(entry.key());
        Some(entry)
    }
}

impl<E: Entry> ExactSizeIterator for Iter<'_, E> {}
