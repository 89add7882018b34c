//! A chunk of per-CPU data: the same areas in the unit of every CPU.
//!
//! Kernel: `mm/percpu-internal.h` (`struct pcpu_chunk`), `mm/percpu.c` (`pcpu_find_block_fit`).
//! Fidelity: simplified — areas are kept by offset where the kernel has a bitmap; the lowest that fits is taken, as there.

use crate::mm::addr::{PAGE_SIZE, Pfn, VirtAddr};
use std::collections::BTreeMap;

/// Room for variables, a unit for every CPU (`struct pcpu_chunk`).
#[derive(Clone, Debug)]
pub struct Chunk {
    /// The address of the first unit.
    pub base: VirtAddr,
    /// Where in a unit variables may lie.
    pub(super) room: (u64, u64),
    /// Variables by offset, with their sizes.
    pub(super) areas: BTreeMap<u64, u64>,
    /// Populated pages of a unit, each with one frame a CPU; the first chunk's are there without being listed.
    pub(super) pages: BTreeMap<u64, Vec<Pfn>>,
    /// The first chunk, which is populated from boot on and never goes.
    pub(super) first: bool,
}

impl Chunk {
    /// Bytes of a unit that are free.
    pub fn free_bytes(&self) -> u64 {
        self.room.1 - self.room.0 - self.areas.values().sum::<u64>()
    }

    /// The holes between variables: offset and size.
    fn holes(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let starts = std::iter::once(self.room.0).chain(self.areas.iter().map(|(at, size)| at + size));
        let ends = self.areas.keys().copied().chain(std::iter::once(self.room.1));
        starts.zip(ends).map(|(start, end)| (start, end - start)).filter(|hole| hole.1 > 0)
    }

    /// The largest hole (`contig_hint`).
    pub fn contig_bytes(&self) -> u64 {
        self.holes().map(|hole| hole.1).max().unwrap_or(0)
    }

    /// Variables in the chunk.
    pub fn nr_alloc(&self) -> usize {
        self.areas.len()
    }

    /// Offset and size of every variable.
    pub fn areas(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.areas.iter().map(|(at, size)| (*at, *size))
    }

    /// Is it the one from boot?
    pub fn is_first(&self) -> bool {
        self.first
    }

    /// Populated pages of a unit.
    pub fn populated(&self) -> u64 {
        if self.first { self.room.1.div_ceil(PAGE_SIZE) } else { self.pages.len() as u64 }
    }

    /// The first hole that holds so much at this alignment (`pcpu_find_block_fit`).
    pub(super) fn find_fit(&self, size: u64, align: u64) -> Option<u64> {
        let fits = |(at, room): (u64, u64)| {
            let start = at.next_multiple_of(align);
            (start + size <= at + room).then_some(start)
        };
        self.holes().find_map(fits)
    }

    /// True when the page of a unit holds part of a variable.
    pub(super) fn page_in_use(&self, page: u64) -> bool {
        let (start, end) = (page * PAGE_SIZE, (page + 1) * PAGE_SIZE);
        self.areas.range(..end).next_back().is_some_and(|(at, size)| at + size > start)
    }

    /// Populated pages without a variable (`nr_empty_pop_pages`).
    pub fn empty_pop_pages(&self) -> u64 {
        if self.first {
            let pages = self.room.0.div_ceil(PAGE_SIZE)..self.room.1 / PAGE_SIZE;
            return pages.filter(|page| !self.page_in_use(*page)).count() as u64;
        }
        self.pages.keys().filter(|page| !self.page_in_use(**page)).count() as u64
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.first && self.areas.is_empty()
    }
}
