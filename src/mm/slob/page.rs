//! A page of SLOB: its blocks, free and in use, and how one is cut or joined.
//!
//! Kernel: `mm/slob.c` (`slob_page_alloc`, `slob_free`).
//! Fidelity: faithful — first fit with alignment, coalescing with both neighbours.

use super::{Owner, SLOB_UNIT};
use crate::mm::addr::Pfn;
use std::collections::BTreeMap;

/// A page cut into blocks.
#[derive(Clone, Debug)]
pub(super) struct SlobPage {
    pub(super) pfn: Pfn,
    /// Free units.
    pub(super) units: u32,
    /// Free blocks by their first unit.
    pub(super) free: BTreeMap<u16, u16>,
    /// Blocks in use by their first unit: units, and whose they are.
    pub(super) used: BTreeMap<u16, (u16, Owner)>,
    /// The list it is on, while it has free units.
    pub(super) list: Option<u8>,
}

impl SlobPage {
    /// The first free block that holds so many units at this alignment, its header before it; and how many blocks
    /// were looked at (`slob_page_alloc`).
    pub(super) fn find_fit(&self, units: u16, align: u64, align_offset: u64) -> (Option<(u16, u16)>, u64) {
        let mut looked = 0;
        for (&at, &avail) in &self.free {
            looked += 1;
            let byte = u64::from(at) * SLOB_UNIT;
            let aligned = (byte + align_offset).next_multiple_of(align.max(1)) - align_offset;
            let delta = ((aligned - byte) / SLOB_UNIT) as u16;
            if u32::from(avail) >= u32::from(units) + u32::from(delta) {
                return (Some((at, delta)), looked);
            }
        }
        (None, looked)
    }

    /// Takes units out of a free block; what is before and behind them stays free.
    pub(super) fn take(&mut self, at: u16, delta: u16, units: u16) -> u16 {
        let avail = self.free.remove(&at).unwrap_or(0);
        if delta > 0 {
            self.free.insert(at, delta);
        }
        let start = at + delta;
        if avail > delta + units {
            self.free.insert(start + units, avail - delta - units);
        }
        self.units -= u32::from(units);
        start
    }

    /// Units are free again, one block with their neighbours.
    pub(super) fn put(&mut self, start: u16, units: u16) {
        self.units += u32::from(units);
        let (mut start, mut units) = (start, units);
        if let Some((&before, &len)) =
            self.free.range(..start).next_back().filter(|(at, len)| **at + **len == start)
        {
            self.free.remove(&before);
            (start, units) = (before, units + len);
        }
        if let Some(len) = self.free.remove(&(start + units)) {
            units += len;
        }
        self.free.insert(start, units);
    }
}
