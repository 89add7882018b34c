//! Finding memory that is free, and taking it.
//!
//! Kernel: `mm/memblock.c` (`__next_mem_range`, `memblock_find_in_range_node`, `memblock_alloc_range_nid`).
//! Fidelity: faithful — regions passed over by node and flags, alignment, limits, mirrored memory first, other nodes last.

use super::{Memblock, MemblockFlags};
use crate::mm::addr::{Nid, PAGE_SIZE};
use crate::mm::errno::Errno;

/// Memory that nobody has: part of one region.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FreeRange {
    /// First byte.
    pub start: u64,
    /// One past the last byte.
    pub end: u64,
    /// The node of its region.
    pub nid: Option<Nid>,
}

/// What an allocation asks for; `Request::new` is what `memblock_phys_alloc` asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Request {
    /// Bytes.
    pub size: u64,
    /// The first byte is a multiple of it; 0 means a cache line.
    pub align: u64,
    /// Not below.
    pub min_addr: u64,
    /// Not beyond; 0 (`MEMBLOCK_ALLOC_ACCESSIBLE`) means what the kernel maps.
    pub max_addr: u64,
    /// Preferably on this node.
    pub nid: Option<Nid>,
    /// On that node or not at all.
    pub exact_nid: bool,
}

/// A cache line, the alignment of those who do not say one (`SMP_CACHE_BYTES`).
pub const SMP_CACHE_BYTES: u64 = 64;

impl Request {
    /// So many bytes, anywhere.
    pub fn new(size: u64, align: u64) -> Request {
        Request { size, align, min_addr: 0, max_addr: 0, nid: None, exact_nid: false }
    }

    /// The same near a node.
    pub fn near(self, nid: Option<Nid>) -> Request {
        Request { nid, ..self }
    }

    /// The same between two addresses.
    pub fn between(self, min_addr: u64, max_addr: u64) -> Request {
        Request { min_addr, max_addr, ..self }
    }
}

impl Memblock {
    /// Memory that is not reserved, lowest first (`for_each_free_mem_range`).
    pub fn free_ranges(
        &self,
        nid: Option<Nid>,
        flags: MemblockFlags,
    ) -> impl DoubleEndedIterator<Item = FreeRange> + '_ {
        let regions = self.memory.regions.iter();
        regions.filter(move |m| !self.should_skip(m.nid, m.flags, nid, flags)).flat_map(move |m| {
            let first = self.reserved.first_above(m.base);
            let count = self.reserved.regions[first..].partition_point(|r| r.base < m.end());
            let taken = &self.reserved.regions[first..first + count];
            // Before the first reserved region, between them, after the last.
            (0..=count).filter_map(move |n| {
                let start = if n == 0 { m.base } else { taken[n - 1].end() };
                let end = if n == count { m.end() } else { taken[n].base };
                (start < end).then_some(FreeRange { start, end, nid: m.nid })
            })
        })
    }

    /// Is memory of this region out of the question (`should_skip_region`)?
    fn should_skip(
        &self,
        region: Option<Nid>,
        has: MemblockFlags,
        nid: Option<Nid>,
        flags: MemblockFlags,
    ) -> bool {
        (nid.is_some() && region != nid)
            || (self.movable_node && has.has(MemblockFlags::HOTPLUG) && !flags.has(MemblockFlags::HOTPLUG))
            || (flags.has(MemblockFlags::MIRROR) && !has.has(MemblockFlags::MIRROR))
            || (has.has(MemblockFlags::NOMAP) && !flags.has(MemblockFlags::NOMAP))
    }

    /// Kernel memory goes to mirrored memory first, when there is some (`choose_memblock_flags`).
    fn choose_flags(&self) -> MemblockFlags {
        if self.has_mirror { MemblockFlags::MIRROR } else { MemblockFlags::NONE }
    }

    /// Room in a range of addresses (`memblock_find_in_range`).
    pub(super) fn find_in_range(&self, start: u64, end: u64, size: u64, align: u64) -> Option<u64> {
        let flags = self.choose_flags();
        let found = self.find_in_range_node(size, align, start, end, None, flags);
        found.or_else(|| {
            let any = flags.has(MemblockFlags::MIRROR);
            any.then(|| self.find_in_range_node(size, align, start, end, None, MemblockFlags::NONE)).flatten()
        })
    }

    /// Room in a range of addresses on a node: the highest, or with `bottom_up` the lowest.
    fn find_in_range_node(
        &self,
        size: u64,
        align: u64,
        start: u64,
        end: u64,
        nid: Option<Nid>,
        flags: MemblockFlags,
    ) -> Option<u64> {
        // The first page is never given: address 0 means failure.
        let start = start.max(PAGE_SIZE);
        let clamped =
            |r: FreeRange| (r.start.clamp(start, end.max(start)), r.end.clamp(start, end.max(start)));
        let mut ranges = self.free_ranges(nid, flags).map(clamped);
        if self.bottom_up {
            return ranges.find_map(|(from, to)| {
                let at = from.checked_next_multiple_of(align)?;
                (at < to && to - at >= size).then_some(at)
            });
        }
        ranges.rev().find_map(|(from, to)| {
            let at = to.checked_sub(size)? / align * align;
            (at >= from).then_some(at)
        })
    }

    /// Finds room and reserves it; answers its physical address (`memblock_alloc_range_nid`).
    ///
    /// # Errors
    /// `ENOMEM` when no free range is large enough, or the array of reserved regions cannot grow.
    pub fn alloc_range_nid(&mut self, request: Request) -> Result<u64, Errno> {
        let Request { size, min_addr, nid, .. } = request;
        if size == 0 {
            return Err(Errno::EINVAL);
        }
        let align = if request.align == 0 { SMP_CACHE_BYTES } else { request.align };
        let max_addr = if request.max_addr == 0 { self.current_limit } else { request.max_addr };
        let mut flags = self.choose_flags();
        loop {
            let here = self.find_in_range_node(size, align, min_addr, max_addr, nid, flags);
            let elsewhere = nid.is_some() && !request.exact_nid;
            let found = here.or_else(|| {
                elsewhere
                    .then(|| self.find_in_range_node(size, align, min_addr, max_addr, None, flags))
                    .flatten()
            });
            if let Some(addr) = found {
                let caller = std::mem::replace(&mut self.caller, "memblock_alloc_range_nid");
                let reserved = self.reserve(addr, size);
                self.caller = caller;
                return reserved.map(|()| addr);
            }
            if !flags.has(MemblockFlags::MIRROR) {
                return Err(Errno::ENOMEM);
            }
            let line = format!("Could not allocate {} bytes of mirrored memory", self.pa(size));
            self.lines.push(line);
            flags = MemblockFlags::NONE;
        }
    }

    /// Allocates memory that the kernel can address; the lower limit is given up before the request is
    /// (`memblock_alloc_try_nid`).
    ///
    /// # Errors
    /// As [`Memblock::alloc_range_nid`].
    pub fn alloc_try_nid(&mut self, request: Request) -> Result<u64, Errno> {
        if self.debug {
            let line = format!(
                "memblock_alloc_try_nid: {} bytes align={:#x} nid={} from={} max_addr={} {}",
                request.size,
                request.align,
                request.nid.map_or("-1".into(), |nid| nid.to_string()),
                self.pa(request.min_addr),
                self.pa(request.max_addr),
                self.caller
            );
            self.lines.push(line);
        }
        let max_addr = request.max_addr.min(self.current_limit);
        let request = Request { max_addr, ..request };
        match self.alloc_range_nid(request) {
            Err(Errno::ENOMEM) if request.min_addr > 0 => self.alloc_range_nid(request.between(0, max_addr)),
            found => found,
        }
    }
}
