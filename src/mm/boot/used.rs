//! The frames of a zone: what the buddy allocator manages, and which of them somebody uses.
//!
//! Fidelity: imported — how many. Ours — the places.

use crate::mm::addr::{Order, Pfn, ZoneId};
use crate::mm::config::ZoneConfig;
use crate::mm::machine::Machine;

/// Ranges `(start, end)` of a zone that the buddy allocator never gets: holes, and the lowest present frames.
pub(super) fn reserved_ranges(zone: &ZoneConfig) -> Vec<(u32, u32)> {
    let mut ranges: Vec<(u32, u32)> = zone.holes.iter().map(|h| (h.0 as u32, (h.0 + h.1) as u32)).collect();
    let known: u64 = zone.holes.iter().map(|h| h.1).sum();
    // Holes whose place is not known are taken to be low as well.
    let mut left = zone.spanned - known - zone.managed;
    for (start, end) in present_ranges(zone) {
        let here = left.min(end - start);
        if here > 0 {
            ranges.push((start as u32, (start + here) as u32));
        }
        left -= here;
    }
    ranges
}

/// The frames of a zone outside its holes.
fn present_ranges(zone: &ZoneConfig) -> Vec<(u64, u64)> {
    let mut holes = zone.holes.clone();
    holes.sort_unstable();
    let mut ranges = Vec::new();
    let mut at = zone.start_pfn;
    for (start, len) in holes {
        if start > at {
            ranges.push((at, start));
        }
        at = start + len;
    }
    if zone.start_pfn + zone.spanned > at {
        ranges.push((at, zone.start_pfn + zone.spanned));
    }
    ranges
}

/// The frames of a zone that the buddy allocator manages.
pub(super) fn managed_ranges(zone: &ZoneConfig) -> Vec<(u32, u32)> {
    let mut cut = reserved_ranges(zone);
    cut.sort_unstable();
    let mut ranges = Vec::new();
    let mut at = zone.start_pfn as u32;
    for (start, end) in cut {
        if start > at {
            ranges.push((at, start));
        }
        at = at.max(end);
    }
    let end = (zone.start_pfn + zone.spanned) as u32;
    if end > at {
        ranges.push((at, end));
    }
    ranges
}

/// Cuts a range into aligned blocks that are as large as possible.
pub(super) fn aligned_chunks(start: u32, end: u32) -> impl Iterator<Item = (u32, Order)> {
    let mut at = start;
    std::iter::from_fn(move || {
        if at >= end {
            return None;
        }
        let order = Order::all().rev().find(|o| Pfn(at).is_aligned(*o) && end - at >= o.pages())?;
        let chunk = (at, order);
        at += order.pages();
        Some(chunk)
    })
}

/// The managed frames of a zone that are not free, highest first.
pub(super) struct UsedPages {
    frames: Vec<(u32, u32)>,
}

/// Aligned blocks cut from used pages, largest orders first: what did not hold a block will not hold one later.
pub(super) struct UsedBlocks<'a> {
    frames: &'a mut Vec<(u32, u32)>,
    order: Order,
    /// Ranges from here on have been looked at.
    at: usize,
}

impl UsedBlocks<'_> {
    /// The highest block of this order that is left.
    pub fn take(&mut self, order: Order) -> Option<Pfn> {
        if order != self.order {
            (self.order, self.at) = (order, self.frames.len());
        }
        while self.at > 0 {
            let (start, end) = self.frames[self.at - 1];
            let block = end.saturating_sub(order.pages()) & !(order.pages() - 1);
            if block >= start && end >= block + order.pages() {
                self.frames[self.at - 1].1 = block;
                if end > block + order.pages() {
                    self.frames.insert(self.at, (block + order.pages(), end));
                }
                return Some(Pfn(block));
            }
            self.at -= 1;
        }
        None
    }
}

impl UsedPages {
    pub(super) fn new(machine: &Machine, id: ZoneId, config: &ZoneConfig) -> UsedPages {
        let zone = &machine.zones[id.index()];
        let mut free: Vec<(u32, u32)> = zone.virgin.iter().copied().collect();
        for order in Order::all() {
            for list in &zone.free_area[order.index()].lists {
                free.extend(list.iter(&machine.mem_map).map(|p| (p.0, p.0 + order.pages())));
            }
        }
        free.sort_unstable();
        let mut frames = Vec::new();
        let mut next = 0;
        for (start, end) in managed_ranges(config) {
            let mut at = start;
            while next < free.len() && free[next].0 < end {
                if free[next].0 > at {
                    frames.push((at, free[next].0));
                }
                at = free[next].1;
                next += 1;
            }
            if end > at {
                frames.push((at, end));
            }
        }
        UsedPages { frames }
    }

    /// The pages as blocks.
    pub(super) fn blocks(&mut self) -> UsedBlocks<'_> {
        self.frames.retain(|(start, end)| start < end);
        let at = self.frames.len();
        UsedBlocks { frames: &mut self.frames, order: Order::ZERO, at }
    }

    pub(super) fn take(&mut self, n: u64) -> Vec<Pfn> {
        let mut taken = Vec::new();
        while (taken.len() as u64) < n {
            let Some(range) = self.frames.last_mut() else { break };
            if range.0 == range.1 {
                self.frames.pop();
                continue;
            }
            range.1 -= 1;
            taken.push(Pfn(range.1));
            if range.0 == range.1 {
                self.frames.pop();
            }
        }
        taken
    }

    pub(super) fn rest(self) -> Vec<Pfn> {
        self.frames.into_iter().flat_map(|(start, end)| (start..end).map(Pfn)).collect()
    }
}
