//! Areas of vmalloc: which addresses are in use, which wait to be used again, which are free.
//!
//! ```text
//!   busy    start → VmStruct      vmap_area_root
//!   lazy    start → end           purge_vmap_area_root: unmapped, perhaps still in a TLB
//!   free    start → end           free_vmap_area_root: the lowest hole that is large enough is taken
//! ```
//!
//! Gorman 7.1. Kernel: `mm/vmalloc.c` (`alloc_vmap_area`, `__purge_vmap_area_lazy`).
//! Fidelity: faithful — the address that is chosen, merging of holes, lazy_max_pages. Ours — instead of the largest hole
//! below each node of a tree, the lowest hole of each power of two is remembered.

use crate::mm::addr::{PAGE_SHIFT, PAGE_SIZE, Pfn};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

/// What kind of area it is (`VM_*` of `include/linux/vmalloc.h`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct AreaFlags(pub u32);

#[allow(missing_docs)]
impl AreaFlags {
    pub const IOREMAP: AreaFlags = AreaFlags(0x1);
    pub const ALLOC: AreaFlags = AreaFlags(0x2);
    pub const MAP: AreaFlags = AreaFlags(0x4);
    pub const USERMAP: AreaFlags = AreaFlags(0x8);
    pub const DMA_COHERENT: AreaFlags = AreaFlags(0x10);
    pub const UNINITIALIZED: AreaFlags = AreaFlags(0x20);
    pub const NO_GUARD: AreaFlags = AreaFlags(0x40);
    pub const MAP_PUT_PAGES: AreaFlags = AreaFlags(0x200);

    /// Names, in the order of /proc/vmallocinfo.
    pub const NAMES: &[(AreaFlags, &str)] = &[
        (AreaFlags::IOREMAP, "ioremap"),
        (AreaFlags::ALLOC, "vmalloc"),
        (AreaFlags::MAP, "vmap"),
        (AreaFlags::USERMAP, "user"),
        (AreaFlags::DMA_COHERENT, "dma-coherent"),
    ];

    /// True when these flags are set.
    pub fn has(self, flags: AreaFlags) -> bool {
        self.0 & flags.0 == flags.0
    }
}

/// An area in use (`struct vm_struct`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VmStruct {
    /// Its first address.
    pub start: u64,
    /// Bytes, with the guard page.
    pub size: u64,
    /// What kind it is.
    pub flags: AreaFlags,
    /// Its pages, in the order of their addresses.
    pub pages: Vec<Pfn>,
    /// Where device memory begins, for `ioremap`.
    pub phys: Option<u64>,
    /// The area that holds the array of its pages, when that takes more than a page.
    pub page_array: Option<u64>,
    /// Who made it.
    pub caller: Cow<'static, str>,
    /// Entries map it; areas of the boot whose pages nobody knows have none.
    pub mapped_by_entries: bool,
}

impl VmStruct {
    /// One past its last address, the guard page counted.
    pub fn end(&self) -> u64 {
        self.start + self.size
    }

    /// Addresses that are mapped: all but the guard page.
    pub fn mapped(&self) -> Range<u64> {
        let guard = if self.flags.has(AreaFlags::NO_GUARD) { 0 } else { PAGE_SIZE };
        self.start..self.end() - guard
    }
}

/// Powers of two that a hole's pages can reach.
const CLASSES: usize = 48;

/// All areas of the vmalloc room, and its holes.
#[derive(Clone, Debug)]
pub struct VmapAreas {
    busy: BTreeMap<u64, VmStruct>,
    lazy: BTreeMap<u64, u64>,
    free: BTreeMap<u64, u64>,
    /// Below this address, no hole has `2^class` pages.
    lowest: [u64; CLASSES],
    /// Pages of areas that wait for a purge (`vmap_lazy_nr`).
    pub lazy_nr: u64,
    /// Pages that areas hold (`nr_vmalloc_pages`).
    pub nr_pages: u64,
    /// Purges so far: each flushed every TLB once.
    pub purges: u64,
    /// Somebody has been told that an area of no bytes is none.
    pub(super) warned_no_size: bool,
}

impl VmapAreas {
    /// A room without an area.
    pub fn new(room: &Range<u64>) -> VmapAreas {
        // The room may end a byte below a page's end.
        let end = room.end & !(PAGE_SIZE - 1);
        let free = if room.start < end { BTreeMap::from([(room.start, end)]) } else { BTreeMap::new() };
        VmapAreas {
            busy: BTreeMap::new(),
            lazy: BTreeMap::new(),
            free,
            lowest: [0; CLASSES],
            lazy_nr: 0,
            nr_pages: 0,
            purges: 0,
            warned_no_size: false,
        }
    }

    /// Areas in use, lowest first.
    pub fn areas(&self) -> impl DoubleEndedIterator<Item = &VmStruct> {
        self.busy.values()
    }

    /// Freed ranges that wait for a purge, lowest first.
    pub fn lazy(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        self.lazy.iter().map(|(start, end)| *start..*end)
    }

    /// Holes, lowest first.
    pub fn holes(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        self.free.iter().map(|(start, end)| *start..*end)
    }

    /// The area that begins here (`find_vm_area`).
    pub fn area(&self, start: u64) -> Option<&VmStruct> {
        self.busy.get(&start)
    }

    /// The area that holds an address, guard page included.
    pub fn find(&self, addr: u64) -> Option<&VmStruct> {
        self.busy.range(..=addr).next_back().map(|(_, area)| area).filter(|area| addr < area.end())
    }

    /// Does this address wait for a purge?
    pub fn is_lazy(&self, addr: u64) -> bool {
        self.lazy.range(..=addr).next_back().is_some_and(|(_, end)| addr < *end)
    }

    /// Takes the lowest hole that is large enough (`find_vmap_lowest_match`).
    pub(super) fn reserve(&mut self, size: u64, align: u64) -> Option<u64> {
        let class = class_of(size);
        let mut first = None;
        let found = self.free.range(self.lowest[class]..).find_map(|(&start, &end)| {
            if class_of(end - start) >= class {
                first.get_or_insert(start);
            }
            let at = start.checked_next_multiple_of(align)?;
            (at.checked_add(size)? <= end).then_some((start, end, at))
        });
        // Everything below the first hole of this class is too small for the class.
        self.lowest[class] = first.unwrap_or(u64::MAX);
        let (start, end, at) = found?;
        self.free.remove(&start);
        for (from, to) in [(start, at), (at + size, end)] {
            if from < to {
                self.insert_hole(from, to);
            }
        }
        Some(at)
    }

    /// Takes a range out of the hole that holds it; false when there is none.
    pub(crate) fn claim(&mut self, start: u64, size: u64) -> bool {
        let Some(end) = start.checked_add(size) else { return false };
        let hole = self.free.range(..=start).next_back().map(|(from, to)| (*from, *to));
        let Some((from, to)) = hole.filter(|hole| end <= hole.1) else { return false };
        self.free.remove(&from);
        for (from, to) in [(from, start), (end, to)] {
            if from < to {
                self.insert_hole(from, to);
            }
        }
        true
    }

    fn insert_hole(&mut self, start: u64, end: u64) {
        self.free.insert(start, end);
        for lowest in &mut self.lowest[..=class_of(end - start)] {
            *lowest = (*lowest).min(start);
        }
    }

    /// Gives a range back; it joins the holes beside it (`merge_or_add_vmap_area`).
    pub(super) fn release(&mut self, mut start: u64, mut end: u64) {
        if let Some((&before, _)) = self.free.range(..start).next_back().filter(|(_, e)| **e == start) {
            self.free.remove(&before);
            start = before;
        }
        if let Some(after) = self.free.remove(&end) {
            end = after;
        }
        self.insert_hole(start, end);
    }

    pub(super) fn insert(&mut self, area: VmStruct) {
        self.busy.insert(area.start, area);
    }

    /// An area of the boot, whose range was claimed, with the pages it has.
    pub(crate) fn adopt(&mut self, area: VmStruct) {
        self.nr_pages += if area.flags.has(AreaFlags::ALLOC) { area.pages.len() as u64 } else { 0 };
        self.insert(area);
    }

    /// No entries map the area after all.
    pub(crate) fn forget_entries(&mut self, start: u64) {
        if let Some(area) = self.busy.get_mut(&start) {
            area.mapped_by_entries = false;
        }
    }

    /// Takes an area out; its addresses wait for the next purge.
    pub(super) fn retire(&mut self, start: u64) -> Option<VmStruct> {
        let area = self.busy.remove(&start)?;
        self.lazy.insert(start, area.end());
        self.lazy_nr += area.size >> PAGE_SHIFT;
        self.nr_pages -= if area.flags.has(AreaFlags::ALLOC) { area.pages.len() as u64 } else { 0 };
        Some(area)
    }

    /// Gives all waiting addresses back; how many pages of them there were.
    pub(super) fn purge(&mut self) -> u64 {
        for (start, end) in std::mem::take(&mut self.lazy) {
            self.release(start, end);
        }
        self.purges += 1;
        std::mem::take(&mut self.lazy_nr)
    }

    pub(super) fn push_page(&mut self, start: u64, pfn: Pfn) {
        if let Some(area) = self.busy.get_mut(&start) {
            area.pages.push(pfn);
            self.nr_pages += u64::from(area.flags.has(AreaFlags::ALLOC));
        }
    }

    pub(crate) fn set_page_array(&mut self, start: u64, array: u64) {
        if let Some(area) = self.busy.get_mut(&start) {
            area.page_array = Some(array);
        }
    }

    pub(super) fn set_phys(&mut self, start: u64, phys: u64) {
        if let Some(area) = self.busy.get_mut(&start) {
            area.phys = Some(phys);
        }
    }

    pub(super) fn clear_uninitialized(&mut self, start: u64) {
        if let Some(area) = self.busy.get_mut(&start) {
            area.flags.0 &= !AreaFlags::UNINITIALIZED.0;
        }
    }
}

fn class_of(size: u64) -> usize {
    ((size >> PAGE_SHIFT).max(1).ilog2() as usize).min(CLASSES - 1)
}
