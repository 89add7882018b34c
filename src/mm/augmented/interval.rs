//! Which areas show a page of a file, or may map a page of an anon_vma.
//!
//! Kernel: `mm/interval_tree.c`.
//! Fidelity: faithful — a branch whose areas all end before the page is not looked at.

use super::{Entry, Iter, Node, Tree};
use crate::mm::vma::VmaId;

/// The pages that an area shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Interval {
    /// First page.
    pub first: u64,
    /// Last page.
    pub last: u64,
    /// The area.
    pub id: VmaId,
}

impl Entry for Interval {
    type Key = (u64, VmaId);
    /// The last page that any of them shows (`rb_subtree_last`).
    type Sum = u64;

    #[inline]
    fn key(&self) -> (u64, VmaId) {
        (self.first, self.id)
    }

    #[inline]
    fn sum(&self) -> u64 {
        self.last
    }

    #[inline]
    fn join(low: u64, high: u64) -> u64 {
        low.max(high)
    }
}

/// Areas by the pages they show (`i_mmap` of a file, `rb_root` of an anon_vma).
#[derive(Clone, Debug, Default)]
pub struct IntervalTree(Tree<Interval>);

impl IntervalTree {
    /// How many areas there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Everything, by first page.
    pub fn iter(&self) -> Iter<'_, Interval> {
        self.0.iter()
    }

    /// True when the area is here with exactly these pages.
    pub fn contains(&self, area: &Interval) -> bool {
        self.0.get(area.key()) == Some(area)
    }

    /// The areas that show a page of `first..=last`, by their first page (`vma_interval_tree_foreach`).
    pub fn overlapping(&self, first: u64, last: u64) -> Vec<VmaId> {
        let mut found = Vec::new();
        visit(&self.0.root, first, last, &mut |id| found.push(id));
        found
    }

    /// Adds an area that shows these pages.
    pub fn insert(&mut self, area: Interval) {
        self.0.insert(area);
    }

    /// An area shows other pages from now on.
    pub fn replace(&mut self, old: Interval, new: Interval) {
        if old != new && self.remove(old) {
            self.insert(new);
        }
    }

    /// Takes an area out; false when it was not there.
    pub fn remove(&mut self, area: Interval) -> bool {
        self.0.remove(area.key()).is_some()
    }

    /// What is wrong with the tree, if anything is.
    pub fn first_wrong(&self) -> Option<String> {
        self.0.first_wrong()
    }
}

fn visit(node: &Node<Interval>, first: u64, last: u64, found: &mut impl FnMut(VmaId)) {
    match node {
        Node::Leaf(areas) => {
            let here = areas.iter().take_while(|area| area.first <= last);
            here.filter(|area| first <= area.last).for_each(|area| found(area.id));
        }
        Node::Branch(children) => {
            let near = children.iter().take_while(|child| child.first.0 <= last);
            near.filter(|child| first <= child.sum).for_each(|child| visit(&child.node, first, last, found));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mm::machine::Dice;

    #[test]
    fn a_page_is_found_in_the_areas_that_show_it() {
        let mut dice = Dice::new(7);
        let (mut tree, mut areas) = (IntervalTree::default(), Vec::new());
        for step in 0..3000 {
            let (first, pages) = (dice.below(200), 1 + dice.below(40));
            let area = Interval { first, last: first + pages - 1, id: VmaId::dangling() };
            let same = areas.iter().position(|other: &Interval| other.first == first);
            match same {
                Some(n) if step % 3 == 0 => assert!(tree.remove(areas.swap_remove(n))),
                Some(n) => {
                    tree.replace(areas[n], area);
                    areas[n] = area;
                }
                None => {
                    tree.insert(area);
                    areas.push(area);
                }
            }
            assert_eq!(tree.first_wrong(), None, "step {step}");
            let (from, to) = (dice.below(220), dice.below(220));
            let want = areas.iter().filter(|area| area.first <= to && from <= area.last).count();
            assert_eq!(tree.overlapping(from, to).len(), want, "step {step}: {from}..={to}");
        }
    }
}
