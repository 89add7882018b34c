//! The boot allocator: which memory there is, and which of it is taken, as two lists of ranges.
//!
//! ```text
//!   memory    ├──── node 0 ────┤        ├──────── node 0 ────────┼──── node 1 ────┤
//!   reserved    ├─┤    ├─────┤                      ├───┤                      ├──┤
//!   free      ├─┤  ├───┤     ├─┤        ├───────────┤   ├────────┼─────────────┤        memory less reserved
//! ```
//!
//! Before `struct page` and the buddy allocator exist there are only these lists. Allocating is reserving: a hole of the
//! right size is found, from the top of memory down unless `bottom_up` is set, and added to `reserved`. What is free
//! at the end becomes the buddy allocator's (`memblock_free_all`, in [`crate::mm::boot`]).
//!
//! Gorman chapter 5 describes its ancestor, a bitmap with one bit for each page. Kernel: `mm/memblock.c`.
//! Fidelity: faithful — overlaps, merging, isolation, flags, node numbers, doubling of the arrays with memory taken from
//! memblock itself, top-down and bottom-up search, fallback to other nodes, lines of `memblock=debug`.
//! Simplified — a caller is a function's name without its offset; an array has at most 32,768 regions.
//! Absent — `physmem` (s390), kmemleak, the slab as a source of arrays.

mod find;

use crate::mm::addr::{Nid, PAGE_SIZE};
use crate::mm::config::Arch;
use crate::mm::errno::Errno;
use std::fmt;

pub use find::{FreeRange, Request, SMP_CACHE_BYTES};

/// Attributes of a region of memory (`enum memblock_flags`).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct MemblockFlags(pub u32);

impl MemblockFlags {
    /// No attribute.
    pub const NONE: MemblockFlags = MemblockFlags(0);
    /// May be unplugged: with `movable_node`, kernel memory keeps away from it.
    pub const HOTPLUG: MemblockFlags = MemblockFlags(1);
    /// Mirrored: kernel memory goes there first.
    pub const MIRROR: MemblockFlags = MemblockFlags(2);
    /// Not in the kernel's direct map: never allocated, its pages are reserved.
    pub const NOMAP: MemblockFlags = MemblockFlags(4);

    /// True when every flag of `other` is set.
    pub fn has(self, other: MemblockFlags) -> bool {
        self.0 & other.0 == other.0
    }

    fn with(self, other: MemblockFlags, on: bool) -> MemblockFlags {
        MemblockFlags(if on { self.0 | other.0 } else { self.0 & !other.0 })
    }
}

/// `HOTPLUG|MIRROR`, or `NONE`.
impl fmt::Display for MemblockFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [(Self::HOTPLUG, "HOTPLUG"), (Self::MIRROR, "MIRROR"), (Self::NOMAP, "NOMAP")];
        let set: Vec<&str> = names.into_iter().filter(|(flag, _)| self.has(*flag)).map(|(_, n)| n).collect();
        f.write_str(if set.is_empty() { "NONE" } else { "" })?;
        f.write_str(&set.join("|"))
    }
}

/// A range of physical memory (`struct memblock_region`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Region {
    /// Its first byte.
    pub base: u64,
    /// Its length in bytes; never 0.
    pub size: u64,
    /// Its attributes.
    pub flags: MemblockFlags,
    /// Its node, when one was named.
    pub nid: Option<Nid>,
}

impl Region {
    /// One past the last byte.
    pub fn end(&self) -> u64 {
        self.base + self.size
    }
}

/// A list of ranges: sorted, disjoint, neighbours of the same kind merged (`struct memblock_type`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MemblockType {
    /// `memory` or `reserved`.
    pub name: &'static str,
    /// The ranges, lowest first.
    pub regions: Vec<Region>,
    /// How many fit the array before it must be doubled.
    pub max: usize,
    /// Bytes in all ranges.
    pub total_size: u64,
    /// Where the array lies once it was doubled; before, in the kernel's image.
    array: Option<(u64, u64)>,
}

/// Regions that fit the arrays in the kernel's image (`INIT_MEMBLOCK_REGIONS`).
pub const INIT_MEMBLOCK_REGIONS: usize = 128;
/// What the simulation carries.
const MOST_REGIONS: usize = 1 << 15;

impl MemblockType {
    fn new(name: &'static str) -> MemblockType {
        MemblockType { name, regions: Vec::new(), max: INIT_MEMBLOCK_REGIONS, total_size: 0, array: None }
    }

    /// The number of regions as the kernel counts them: never below 1.
    pub fn cnt(&self) -> usize {
        self.regions.len().max(1)
    }

    /// The parts of a range that no region covers.
    fn uncovered(&self, base: u64, end: u64) -> Vec<(u64, u64)> {
        let mut at = base;
        let mut parts = Vec::new();
        for region in &self.regions[self.first_above(base)..] {
            if region.base >= end {
                break;
            }
            if region.base > at {
                parts.push((at, region.base));
            }
            at = region.end().min(end);
        }
        if at < end {
            parts.push((at, end));
        }
        parts
    }

    /// The index of the first region that ends above an address.
    fn first_above(&self, addr: u64) -> usize {
        self.regions.partition_point(|r| r.end() <= addr)
    }

    fn insert(&mut self, region: Region) {
        let at = self.regions.partition_point(|r| r.base < region.base);
        self.regions.insert(at, region);
        self.total_size += region.size;
    }

    /// Merges neighbours of the same node and flags (`memblock_merge_regions`).
    fn merge_regions(&mut self) {
        self.regions.dedup_by(|next, this| {
            let alike = this.end() == next.base && (this.nid, this.flags) == (next.nid, next.flags);
            if alike {
                this.size += next.size;
            }
            alike
        });
    }

    /// Splits the region that an address lies inside of.
    fn split_at(&mut self, addr: u64) {
        let at = self.first_above(addr);
        if let Some(region) = self.regions.get_mut(at).filter(|r| r.base < addr) {
            let upper = Region { base: addr, size: region.end() - addr, ..*region };
            region.size = addr - region.base;
            self.regions.insert(at + 1, upper);
        }
    }

    /// The region that holds an address (`memblock_search`).
    pub fn search(&self, addr: u64) -> Option<&Region> {
        self.regions.get(self.first_above(addr)).filter(|r| r.base <= addr)
    }

    /// True when a byte of the range lies in a region (`memblock_overlaps_region`).
    pub fn overlaps(&self, base: u64, size: u64) -> bool {
        let end = base.saturating_add(size);
        self.regions.get(self.first_above(base)).is_some_and(|r| r.base < end && size > 0)
    }
}

/// One of the two lists.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Which {
    Memory,
    Reserved,
}

/// The boot allocator (`struct memblock`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Memblock {
    /// Memory that exists.
    pub memory: MemblockType,
    /// Memory that is taken.
    pub reserved: MemblockType,
    /// Search from low addresses up.
    pub bottom_up: bool,
    /// Nothing at or above it is allocated: the end of what the kernel maps.
    pub current_limit: u64,
    /// Keep kernel memory out of hotpluggable regions (`movable_node`).
    pub movable_node: bool,
    /// Some region was marked as mirrored.
    pub has_mirror: bool,
    /// Print what is done (`memblock=debug`).
    pub debug: bool,
    /// In whose name it is done: the end of a debug line.
    pub caller: &'static str,
    /// Hexadecimal digits of a physical address.
    digits: usize,
    /// Bytes of a `struct memblock_region`.
    region_bytes: u64,
    /// Lines that wait to be printed.
    lines: Vec<String>,
}

impl Memblock {
    /// Empty lists of a kernel for this architecture.
    pub fn new(arch: Arch) -> Memblock {
        // phys_addr_t has 32 bits only where no more can be reached.
        let short = matches!(arch, Arch::I386 | Arch::Arm);
        Memblock {
            memory: MemblockType::new("memory"),
            reserved: MemblockType::new("reserved"),
            bottom_up: false,
            current_limit: u64::MAX,
            movable_node: false,
            has_mirror: false,
            debug: false,
            caller: "setup_arch",
            digits: if short { 8 } else { 16 },
            region_bytes: if short { 12 } else { 24 },
            lines: Vec::new(),
        }
    }

    /// Adds memory (`memblock_add`, `memblock_add_node`); parts that are there already stay as they are.
    ///
    /// # Errors
    /// `ENOMEM` when the array is full and cannot be doubled.
    pub fn add(&mut self, base: u64, size: u64, nid: Option<Nid>) -> Result<(), Errno> {
        match nid {
            None => self.say("memblock_add", base, size, ""),
            Some(nid) => self.say("memblock_add_node", base, size, &format!(" nid={nid} flags=0")),
        }
        self.add_range(Which::Memory, base, size, nid)
    }

    /// Takes memory away (`memblock_remove`).
    ///
    /// # Errors
    /// As [`Memblock::add`]: cutting a hole makes a region more.
    pub fn remove(&mut self, base: u64, size: u64) -> Result<(), Errno> {
        self.say("memblock_remove", base, size, "");
        self.remove_range(Which::Memory, base, size)
    }

    /// Marks a range as taken (`memblock_reserve`), whether there is memory or not.
    ///
    /// # Errors
    /// As [`Memblock::add`].
    pub fn reserve(&mut self, base: u64, size: u64) -> Result<(), Errno> {
        self.say("memblock_reserve", base, size, "");
        self.add_range(Which::Reserved, base, size, None)
    }

    /// Gives a range back (`memblock_phys_free`); what was not taken is passed over.
    ///
    /// # Errors
    /// As [`Memblock::add`].
    pub fn phys_free(&mut self, base: u64, size: u64) -> Result<(), Errno> {
        self.say("memblock_phys_free", base, size, "");
        self.remove_range(Which::Reserved, base, size)
    }

    /// Sets an attribute of the memory in a range, or clears it (`memblock_mark_hotplug`, `memblock_clear_nomap`, …).
    ///
    /// # Errors
    /// As [`Memblock::add`].
    pub fn mark(&mut self, base: u64, size: u64, flag: MemblockFlags, on: bool) -> Result<(), Errno> {
        self.has_mirror |= on && flag == MemblockFlags::MIRROR;
        let inside = self.isolate_range(Which::Memory, base, size)?;
        for region in &mut self.memory.regions[inside] {
            region.flags = region.flags.with(flag, on);
        }
        self.memory.merge_regions();
        Ok(())
    }

    /// Tells which node the memory of a range belongs to (`memblock_set_node`).
    ///
    /// # Errors
    /// As [`Memblock::add`].
    pub fn set_node(&mut self, base: u64, size: u64, nid: Option<Nid>) -> Result<(), Errno> {
        let inside = self.isolate_range(Which::Memory, base, size)?;
        for region in &mut self.memory.regions[inside] {
            region.nid = nid;
        }
        self.memory.merge_regions();
        Ok(())
    }

    /// Lowest address of memory (`memblock_start_of_DRAM`); 0 without memory.
    pub fn start_of_dram(&self) -> u64 {
        self.memory.regions.first().map_or(0, |r| r.base)
    }

    /// One past the highest address of memory (`memblock_end_of_DRAM`).
    pub fn end_of_dram(&self) -> u64 {
        self.memory.regions.last().map_or(0, Region::end)
    }

    fn array(&self, which: Which) -> &MemblockType {
        if which == Which::Memory { &self.memory } else { &self.reserved }
    }

    fn array_mut(&mut self, which: Which) -> &mut MemblockType {
        if which == Which::Memory { &mut self.memory } else { &mut self.reserved }
    }

    /// Adds what no region covers yet, and merges (`memblock_add_range`).
    fn add_range(&mut self, which: Which, base: u64, size: u64, nid: Option<Nid>) -> Result<(), Errno> {
        let end = base.saturating_add(size);
        let parts = self.array(which).uncovered(base, end);
        while self.array(which).regions.len() + parts.len() > self.array(which).max {
            self.double_array(which, base, end)?;
        }
        // A doubled array of reserved regions keeps away from this range: the parts are still uncovered.
        let array = self.array_mut(which);
        for (base, end) in parts {
            array.insert(Region { base, size: end - base, flags: MemblockFlags::NONE, nid });
        }
        array.merge_regions();
        Ok(())
    }

    /// Cuts regions at the range's ends; answers which of them lie inside (`memblock_isolate_range`).
    fn isolate_range(&mut self, which: Which, base: u64, size: u64) -> Result<std::ops::Range<usize>, Errno> {
        let end = base.saturating_add(size);
        if base == end {
            return Ok(0..0);
        }
        // At most two regions more.
        while self.array(which).cnt() + 2 > self.array(which).max {
            self.double_array(which, base, end)?;
        }
        let array = self.array_mut(which);
        array.split_at(base);
        array.split_at(end);
        let first = array.first_above(base);
        Ok(first..first + array.regions[first..].partition_point(|r| r.base < end))
    }

    fn remove_range(&mut self, which: Which, base: u64, size: u64) -> Result<(), Errno> {
        let inside = self.isolate_range(which, base, size)?;
        let array = self.array_mut(which);
        array.total_size -= array.regions.drain(inside).map(|r| r.size).sum::<u64>();
        Ok(())
    }

    /// Moves an array to twice the room, which is taken from memblock itself (`memblock_double_array`).
    ///
    /// The range `base..end` is about to be reserved: a new array of reserved regions keeps away from it.
    fn double_array(&mut self, which: Which, base: u64, end: u64) -> Result<(), Errno> {
        let (name, max) = (self.array(which).name, self.array(which).max);
        let bytes = (max as u64 * 2 * self.region_bytes).next_multiple_of(PAGE_SIZE);
        let (avoid_from, avoid_to) = if which == Which::Reserved { (base, end) } else { (0, 0) };
        let limit = self.current_limit;
        let found = self
            .find_in_range(avoid_to, limit, bytes, PAGE_SIZE)
            .or_else(|| self.find_in_range(0, avoid_from.min(limit), bytes, PAGE_SIZE))
            .filter(|_| max * 2 <= MOST_REGIONS);
        let Some(addr) = found else {
            self.lines
                .push(format!("memblock: Failed to double {name} array from {max} to {} entries !", max * 2));
            return Err(Errno::ENOMEM);
        };
        if self.debug {
            let range = self.range(addr, max as u64 * 2 * self.region_bytes);
            self.lines.push(format!("memblock: {name} is doubled to {} at {range}", max * 2));
        }
        let array = self.array_mut(which);
        array.max *= 2;
        let old = array.array.replace((addr, bytes));
        // The first array lies in the kernel's image and stays there.
        if let Some((addr, bytes)) = old {
            self.phys_free(addr, bytes)?;
        }
        self.reserve(addr, bytes)
    }

    /// `[0x0000000000001000-0x000000000009efff]`.
    pub fn range(&self, base: u64, size: u64) -> String {
        let last = base.saturating_add(size).wrapping_sub(1);
        format!("[{}-{}]", self.pa(base), self.pa(last))
    }

    /// A physical address as `%pa` prints it.
    pub fn pa(&self, addr: u64) -> String {
        let width = self.digits + 2;
        format!("{addr:#0width$x}")
    }

    fn say(&mut self, what: &str, base: u64, size: u64, more: &str) {
        if self.debug {
            let line = format!("{what}: {}{more} {}", self.range(base, size), self.caller);
            self.lines.push(line);
        }
    }

    /// Takes the lines that wait to be printed.
    pub fn take_lines(&mut self) -> Vec<String> {
        std::mem::take(&mut self.lines)
    }

    /// Both lists as the kernel prints them (`memblock_dump_all`).
    pub fn dump(&self) -> Vec<String> {
        let mut lines = vec![
            "MEMBLOCK configuration:".to_string(),
            format!(
                " memory size = {} reserved size = {}",
                self.pa(self.memory.total_size),
                self.pa(self.reserved.total_size)
            ),
        ];
        for array in [&self.memory, &self.reserved] {
            lines.push(format!(" {}.cnt  = {:#x}", array.name, array.cnt()));
            for (n, region) in array.regions.iter().enumerate() {
                let node = region.nid.map_or(String::new(), |nid| format!(" on node {nid}"));
                lines.push(format!(
                    " {}[{n:#x}]\t{}, {} bytes{node} flags: {:#x}",
                    array.name,
                    self.range(region.base, region.size),
                    self.pa(region.size),
                    region.flags.0
                ));
            }
        }
        lines
    }

    /// Proves that a list is sorted, disjoint and merged; answers the first region that breaks the rule.
    pub(crate) fn first_wrong(&self) -> Option<String> {
        for array in [&self.memory, &self.reserved] {
            let place = |n: usize| format!("{}[{n:#x}]", array.name);
            for (n, pair) in array.regions.windows(2).enumerate() {
                let alike = (pair[0].nid, pair[0].flags) == (pair[1].nid, pair[1].flags);
                if pair[0].end() > pair[1].base || (pair[0].end() == pair[1].base && alike) {
                    return Some(format!(
                        "{} ends at {:#x}, the next begins at {:#x}",
                        place(n),
                        pair[0].end(),
                        pair[1].base
                    ));
                }
            }
            let total: u64 = array.regions.iter().map(|r| r.size).sum();
            if total != array.total_size
                || array.regions.iter().any(|r| r.size == 0)
                || array.regions.len() > array.max
            {
                return Some(format!(
                    "{} has {} regions of {}, {total} bytes, counted {}",
                    array.name,
                    array.regions.len(),
                    array.max,
                    array.total_size
                ));
            }
        }
        None
    }
}
