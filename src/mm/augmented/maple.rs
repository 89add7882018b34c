//! The areas of an address space, with the largest gap below each branch.
//!
//! Gorman 4.4.2. Kernel: `lib/maple_tree.c` (`mas_empty_area`, `mas_empty_area_rev`).
//! Fidelity: faithful — room is found without looking at every area.

use super::{Entry, Iter, Node, Tree};
use crate::mm::vma::VmaId;
use std::ops::Range;

/// An area as the tree knows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Area {
    /// First address.
    pub start: u64,
    /// One past the last address.
    pub end: u64,
    /// Which it is.
    pub id: VmaId,
}

/// What a run of areas covers, and the largest gap between two of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    start: u64,
    end: u64,
    gap: u64,
}

impl Entry for Area {
    type Key = u64;
    type Sum = Span;

    #[inline]
    fn key(&self) -> u64 {
        self.start
    }

    #[inline]
    fn sum(&self) -> Span {
        Span { start: self.start, end: self.end, gap: 0 }
    }

    #[inline]
    fn join(low: Span, high: Span) -> Span {
        let between = high.start.saturating_sub(low.end);
        Span { start: low.start, end: high.end, gap: low.gap.max(high.gap).max(between) }
    }
}

/// The areas of an address space by address (`mm->mm_mt`).
#[derive(Clone, Debug, Default)]
pub struct MapleTree(Tree<Area>);

impl MapleTree {
    /// How many areas there are (`map_count`).
    #[inline]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True when there is none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The area that begins at an address.
    pub fn get(&self, start: u64) -> Option<VmaId> {
        self.0.get(start).map(|area| area.id)
    }

    /// The first area that ends above an address (`mt_find`).
    #[inline]
    pub fn find(&self, addr: u64) -> Option<Area> {
        let (below, above) = self.0.around(|start| start <= addr);
        below.filter(|area| addr < area.end).or(above).copied()
    }

    /// The first area that begins at an address or above it.
    #[inline]
    pub fn from(&self, addr: u64) -> Option<Area> {
        self.0.first_from(|start| start < addr).copied()
    }

    /// The last area that begins below an address.
    #[inline]
    pub fn below(&self, addr: u64) -> Option<Area> {
        self.0.last_before(|start| start < addr).copied()
    }

    /// The neighbours of an address: the last area that begins below it, and the first that does not.
    #[inline]
    pub fn around(&self, addr: u64) -> (Option<Area>, Option<Area>) {
        let (below, above) = self.0.around(|start| start < addr);
        (below.copied(), above.copied())
    }

    /// The areas between which a free range lies without a gap.
    #[inline]
    pub fn touching(&self, room: &Range<u64>) -> (Option<VmaId>, Option<VmaId>) {
        let (below, above) = self.around(room.start);
        let below = below.filter(|area| area.end == room.start);
        let above = above.filter(|area| area.start == room.end);
        (below.map(|area| area.id), above.map(|area| area.id))
    }

    /// All areas, lowest first.
    pub fn iter(&self) -> Iter<'_, Area> {
        self.0.iter()
    }

    /// Where the first area begins, and where the last one ends; beyond every address when there is none.
    fn ends(&self) -> (u64, u64) {
        let ends = match &self.0.root {
            Node::Leaf(areas) => areas.first().zip(areas.last()).map(|(first, last)| (first.start, last.end)),
            Node::Branch(branches) => {
                branches.first().zip(branches.last()).map(|(first, last)| (first.sum.start, last.sum.end))
            }
        };
        ends.unwrap_or((u64::MAX, u64::MAX))
    }

    /// Adds an area; nothing may be there.
    pub fn insert(&mut self, area: Area) {
        debug_assert!(self.find(area.start).is_none_or(|next| area.end <= next.start), "{area:?}");
        self.0.insert(area);
    }

    /// Takes out the area that begins at an address.
    pub fn remove(&mut self, start: u64) -> Option<Area> {
        self.0.remove(start)
    }

    /// Gives the area that begins at `start` other borders; it stays between its neighbours.
    pub fn resize(&mut self, start: u64, to: Range<u64>) {
        self.0.change(start, |area| (area.start, area.end) = (to.start, to.end));
    }

    /// Cuts the area that begins at `start` in two; the part from `at` on is `id`.
    pub fn split(&mut self, start: u64, at: u64, id: VmaId) {
        self.0.split(start, |area| {
            let end = std::mem::replace(&mut area.end, at);
            [Area { start: at, end, id }]
        });
    }

    /// Cuts `part` out of the middle of the area that begins at `start`; it is `mid`, and what lies above it `high`.
    pub fn cut_out(&mut self, start: u64, part: Range<u64>, mid: VmaId, high: VmaId) {
        self.0.split(start, |area| {
            let end = std::mem::replace(&mut area.end, part.start);
            [Area { start: part.start, end: part.end, id: mid }, Area { start: part.end, end, id: high }]
        });
    }

    /// The area that begins at `start` takes in the `more` that follow it, and ends at `end`.
    pub fn merge(&mut self, start: u64, more: usize, end: u64) {
        self.0.merge(start, more, |area| area.end = end);
    }

    /// The lowest address in `within` from which on `len` bytes are free (`mas_empty_area`).
    pub fn lowest_gap(&self, len: u64, within: Range<u64>) -> Option<u64> {
        let fit = |gap: Range<u64>| {
            if gap.end - gap.start < len {
                return None;
            }
            let (start, end) = (gap.start.max(within.start), gap.end.min(within.end));
            (end > start && end - start >= len).then_some(start)
        };
        let (first, last) = self.ends();
        fit(0..first)
            .or_else(|| lowest_inside(&self.0.root, len, &within, &fit))
            .or_else(|| fit(last..u64::MAX))
    }

    /// The highest address in `within` from which on `len` bytes are free (`mas_empty_area_rev`).
    pub fn highest_gap(&self, len: u64, within: Range<u64>) -> Option<u64> {
        let fit = |gap: Range<u64>| {
            if gap.end - gap.start < len {
                return None;
            }
            let (start, end) = (gap.start.max(within.start), gap.end.min(within.end));
            (end > start && end - start >= len).then(|| end - len)
        };
        let (first, last) = self.ends();
        fit(last..u64::MAX)
            .or_else(|| highest_inside(&self.0.root, len, &within, &fit))
            .or_else(|| fit(0..first))
    }

    /// What is wrong with the tree, if anything is.
    pub fn first_wrong(&self) -> Option<String> {
        self.0.first_wrong()
    }
}

/// A branch whose largest gap is too small, or which lies outside, is not entered.
fn worth_entering(span: &Span, len: u64, within: &Range<u64>) -> bool {
    span.gap >= len && span.start < within.end && within.start < span.end
}

fn lowest_inside(
    node: &Node<Area>,
    len: u64,
    within: &Range<u64>,
    fit: &impl Fn(Range<u64>) -> Option<u64>,
) -> Option<u64> {
    match node {
        Node::Leaf(areas) => areas.windows(2).find_map(|pair| fit(pair[0].end..pair[1].start)),
        Node::Branch(children) => children.iter().enumerate().find_map(|(n, child)| {
            let below = n.checked_sub(1).and_then(|low| fit(children[low].sum.end..child.sum.start));
            below.or_else(|| {
                let enter = worth_entering(&child.sum, len, within);
                if enter { lowest_inside(&child.node, len, within, fit) } else { None }
            })
        }),
    }
}

fn highest_inside(
    node: &Node<Area>,
    len: u64,
    within: &Range<u64>,
    fit: &impl Fn(Range<u64>) -> Option<u64>,
) -> Option<u64> {
    match node {
        Node::Leaf(areas) => areas.windows(2).rev().find_map(|pair| fit(pair[0].end..pair[1].start)),
        Node::Branch(children) => children.iter().enumerate().rev().find_map(|(n, child)| {
            let above = children.get(n + 1).and_then(|high| fit(child.sum.end..high.sum.start));
            above.or_else(|| {
                let enter = worth_entering(&child.sum, len, within);
                if enter { highest_inside(&child.node, len, within, fit) } else { None }
            })
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mm::machine::Dice;
    use crate::mm::slots::Id;

    /// The lowest and the highest place, found by looking at every area.
    fn by_hand(areas: &[Range<u64>], len: u64, within: &Range<u64>) -> Option<(u64, u64)> {
        let starts = std::iter::once(0).chain(areas.iter().map(|area| area.end));
        let ends = areas.iter().map(|area| area.start).chain([u64::MAX]);
        let gaps = starts.zip(ends).map(|(start, end)| (start.max(within.start), end.min(within.end)));
        let fits: Vec<_> = gaps.filter(|(start, end)| end > start && end - start >= len).collect();
        Some((fits.first()?.0, fits.last()?.1 - len))
    }

    #[test]
    fn room_is_found_where_a_look_at_every_area_finds_it() {
        for seed in 0..60 {
            let mut dice = Dice::new(seed);
            let (mut tree, mut areas) = (MapleTree::default(), Vec::<Range<u64>>::new());
            let most = [3, 40, 600][seed as usize % 3];
            for step in 0..2 * most {
                let at = dice.below(4 * most);
                let size = 1 + dice.below(3);
                let found = areas.iter().position(|area| area.start < at + size && at < area.end);
                match found {
                    None => {
                        tree.insert(Area { start: at, end: at + size, id: Id::dangling() });
                        areas.push(at..at + size);
                        areas.sort_by_key(|area| area.start);
                    }
                    Some(n) if areas[n].end - areas[n].start == 3 && dice.below(2) == 0 => {
                        let Range { start, end } = areas[n];
                        tree.cut_out(start, start + 1..start + 2, Id::dangling(), Id::dangling());
                        areas.splice(n..=n, [start..start + 1, start + 1..start + 2, start + 2..end]);
                    }
                    Some(n) if areas[n].end - areas[n].start > 1 && dice.below(3) == 0 => {
                        let cut = areas[n].start + 1;
                        tree.split(areas[n].start, cut, Id::dangling());
                        areas.insert(n + 1, cut..areas[n].end);
                        areas[n].end = cut;
                    }
                    Some(n) if dice.below(2) == 0 => {
                        // It takes in those that follow without a gap, two at most.
                        let follows =
                            |k: &usize| areas.get(k + 1).is_some_and(|next| next.start == areas[*k].end);
                        let more = (n..n + 2).take_while(follows).count();
                        tree.merge(areas[n].start, more, areas[n + more].end);
                        areas[n].end = areas[n + more].end;
                        areas.drain(n + 1..=n + more);
                    }
                    Some(n) if dice.below(2) == 0 => {
                        let gone = areas.remove(n);
                        assert_eq!(tree.remove(gone.start).map(|area| area.end), Some(gone.end));
                    }
                    Some(n) => {
                        // One border moves, as far as the neighbour at most.
                        let next = areas.get(n + 1).map_or(u64::MAX, |next| next.start);
                        let to = areas[n].start..(areas[n].end + dice.below(3)).min(next);
                        tree.resize(areas[n].start, to.clone());
                        areas[n] = to;
                    }
                }
                assert_eq!(tree.first_wrong(), None, "seed {seed} step {step}");
                let low = dice.below(4 * most);
                let within = low..low + dice.below(4 * most);
                for within in [within, 0..4 * most, 0..u64::MAX] {
                    let len = 1 + dice.below(6);
                    let found = (tree.lowest_gap(len, within.clone()), tree.highest_gap(len, within.clone()));
                    let want = by_hand(&areas, len, &within).unzip();
                    assert_eq!(found, want, "seed {seed} step {step}: {len} in {within:?} beside {areas:?}");
                }
                let first = areas.iter().find(|area| at < area.end).map(|area| area.start);
                assert_eq!(tree.find(at).map(|area| area.start), first, "seed {seed} step {step}");
                let last = areas.iter().rfind(|area| area.start < at).map(|area| area.start);
                assert_eq!(tree.below(at).map(|area| area.start), last, "seed {seed} step {step}");
            }
            let starts: Vec<u64> = areas.iter().map(|area| area.start).collect();
            assert!(tree.iter().map(|area| area.start).eq(starts.iter().copied()));
            assert!(tree.iter().rev().map(|area| area.start).eq(starts.iter().rev().copied()));
            // From both ends, until they meet.
            let mut ends = tree.iter();
            let mut met = 0;
            while ends.next().is_some() {
                met += 1 + usize::from(ends.next_back().is_some());
            }
            assert_eq!(met, starts.len());
        }
    }
}
