//! Lists of what nobody uses, one for each node, oldest first: what a shrinker walks.
//!
//! Kernel: `mm/list_lru.c`.
//! Fidelity: faithful — an object waits on the list of the node its memory lies on. Absent — lists by cgroup.

use crate::mm::slots::Id;
use std::collections::BTreeMap;

/// Where an object stands in the list of its node: later comers have larger numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    node: usize,
    turn: u64,
}

/// Lists by node (`struct list_lru`).
#[derive(Clone, Debug)]
pub struct ListLru<T> {
    lists: Vec<BTreeMap<u64, Id<T>>>,
    next_turn: u64,
}

impl<T> Default for ListLru<T> {
    fn default() -> ListLru<T> {
        ListLru::new(0)
    }
}

impl<T> ListLru<T> {
    /// An empty list for each node.
    pub fn new(nodes: usize) -> ListLru<T> {
        ListLru { lists: vec![BTreeMap::new(); nodes], next_turn: 0 }
    }

    /// Puts an object at the young end (`list_lru_add`).
    pub fn add(&mut self, node: usize, id: Id<T>) -> Place {
        let turn = self.next_turn;
        self.next_turn += 1;
        self.lists[node].insert(turn, id);
        Place { node, turn }
    }

    /// Takes an object out, wherever it stands (`list_lru_del`).
    pub fn remove(&mut self, place: Place) {
        self.lists[place.node].remove(&place.turn);
    }

    /// Takes the oldest object of a node.
    pub fn pop(&mut self, node: usize) -> Option<Id<T>> {
        self.lists[node].pop_first().map(|(_, id)| id)
    }

    /// The object that stands here.
    pub fn at(&self, place: Place) -> Option<Id<T>> {
        self.lists[place.node].get(&place.turn).copied()
    }

    /// Objects on a node's list (`list_lru_count_node`).
    pub fn count(&self, node: usize) -> u64 {
        self.lists[node].len() as u64
    }

    /// Objects on all lists.
    pub fn total(&self) -> u64 {
        self.lists.iter().map(|list| list.len() as u64).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_of_a_node_comes_first() {
        let mut lru = ListLru::<u8>::new(2);
        let id = Id::dangling();
        let places: Vec<Place> = [0, 1, 0, 0].map(|node| lru.add(node, id)).to_vec();
        lru.remove(places[0]);
        assert_eq!([lru.at(places[0]), lru.at(places[2])], [None, Some(id)]);
        assert_eq!((lru.count(0), lru.count(1), lru.total()), (2, 1, 3));
        assert_eq!(lru.pop(1), Some(id));
        assert_eq!((lru.pop(1), lru.at(places[1])), (None, None));
    }
}
