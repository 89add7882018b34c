//! Nodes and zones: where memory lies, how much of it is free, and the lines that must not be crossed.
//!
//! Gorman chapter 2. Kernel: `include/linux/mmzone.h`, `mm/mmzone.c`.
//! Fidelity: faithful — spans, watermarks, lowmem_reserve, free areas by migratetype, zonelists by distance.
//! Simplified — blocks of the largest order that nobody touched since boot are a range, not list entries.

use crate::mm::addr::{Nid, Order, Pfn, ZoneId};
use crate::mm::compaction::{Kcompactd, Memory};
use crate::mm::config::{MigrateType, ZoneType};
use crate::mm::lru::Lruvec;
use crate::mm::machine::Machine;
use crate::mm::page::{List, MemMap};
use crate::mm::page_alloc::pcp::PerCpuPages;
use crate::mm::vmscan::Kswapd;
use crate::mm::vmstat::{NodeStat, NumaStat, ZoneStat};
use std::collections::VecDeque;

/// The lines below which less and less is allowed, in pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Watermarks {
    /// Below it only emergencies allocate.
    pub min: u64,
    /// Below it kswapd is woken.
    pub low: u64,
    /// Above it kswapd sleeps.
    pub high: u64,
    /// Above it NUMA promotion stops.
    pub promo: u64,
}

/// One of the watermarks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wmark {
    /// `WMARK_MIN`.
    Min,
    /// `WMARK_LOW`.
    Low,
    /// `WMARK_HIGH`.
    High,
}

impl Wmark {
    /// `min`, `low`, `high`.
    pub fn name(self) -> &'static str {
        match self {
            Wmark::Min => "min",
            Wmark::Low => "low",
            Wmark::High => "high",
        }
    }
}

/// Free blocks of one order, by migratetype.
#[derive(Clone, Copy, Debug, Default)]
pub struct FreeArea {
    /// One list for each migratetype.
    pub lists: [List; MigrateType::COUNT],
}

impl FreeArea {
    /// Blocks of this order, of all types (`nr_free`).
    #[inline]
    pub fn nr_free(&self) -> u64 {
        self.lists.iter().map(|l| u64::from(l.len)).sum()
    }
}

/// A zone.
#[derive(Clone, Debug)]
pub struct Zone {
    /// Its index in `Machine::zones`.
    pub id: ZoneId,
    /// Which zone.
    pub kind: ZoneType,
    /// The node it belongs to.
    pub node: Nid,
    /// That node's index in `Machine::nodes`.
    pub pgdat: usize,
    /// First frame of the span.
    pub zone_start_pfn: u32,
    /// Frames from the first to the last.
    pub spanned_pages: u64,
    /// Frames that exist.
    pub present_pages: u64,
    /// Frames the buddy allocator was given.
    pub managed_pages: u64,
    /// Frames set aside for CMA.
    pub cma_pages: u64,
    /// The watermarks without the boost.
    pub watermark: Watermarks,
    /// Pages by which the watermarks are raised after a fallback.
    pub watermark_boost: u64,
    /// kswapd must be woken because of the boost (`ZONE_BOOSTED_WATERMARK`).
    pub boosted_watermark: bool,
    /// Reclaim works on the zone: per-CPU lists keep less (`ZONE_RECLAIM_ACTIVE`).
    pub reclaim_active: bool,
    /// Pages a request for each higher kind of zone must leave here, indexed by `ZoneType`.
    pub lowmem_reserve: [u64; ZoneType::ALL.len()],
    /// Pages of HighAtomic pageblocks.
    pub nr_reserved_highatomic: u64,
    /// Free blocks by order.
    pub free_area: [FreeArea; Order::COUNT],
    /// By migratetype: bit n is set while a block of order n is free.
    pub nonempty: [u16; MigrateType::COUNT],
    /// Largest blocks untouched since boot, all Movable: ranges of frames, lowest first.
    pub virgin: VecDeque<(u32, u32)>,
    /// What compaction remembers of the zone.
    pub compaction: Memory,
    /// Lists of each CPU.
    pub pageset: Vec<PerCpuPages>,
    /// Pages by state.
    pub stat: [u64; ZoneStat::COUNT],
    /// NUMA events; read them with [`Zone::numa`].
    pub(in crate::mm) numa: [u64; NumaStat::COUNT],
    /// Single pages that the lane gave: each counts as `pgalloc`, `numa_hit` and `numa_local`.
    pub(in crate::mm) singles: u64,
}

impl Zone {
    /// A zone without pages.
    pub fn empty(id: ZoneId, kind: ZoneType, node: Nid, pgdat: usize) -> Zone {
        Zone {
            id,
            kind,
            node,
            pgdat,
            zone_start_pfn: 0,
            spanned_pages: 0,
            present_pages: 0,
            managed_pages: 0,
            cma_pages: 0,
            watermark: Watermarks::default(),
            watermark_boost: 0,
            boosted_watermark: false,
            reclaim_active: false,
            lowmem_reserve: [0; ZoneType::ALL.len()],
            nr_reserved_highatomic: 0,
            free_area: [FreeArea::default(); Order::COUNT],
            nonempty: [0; MigrateType::COUNT],
            virgin: VecDeque::new(),
            compaction: Memory::default(),
            pageset: Vec::new(),
            stat: [0; ZoneStat::COUNT],
            numa: [0; NumaStat::COUNT],
            singles: 0,
        }
    }

    /// True with at least one page present (`populated_zone`).
    #[inline]
    pub fn is_populated(&self) -> bool {
        self.present_pages > 0
    }

    /// One past the last frame (`zone_end_pfn`).
    pub fn end_pfn(&self) -> u32 {
        self.zone_start_pfn + self.spanned_pages as u32
    }

    /// True when the frame lies in the span (`zone_spans_pfn`).
    #[inline]
    pub fn spans(&self, pfn: Pfn) -> bool {
        pfn.0 >= self.zone_start_pfn && u64::from(pfn.0) < u64::from(self.zone_start_pfn) + self.spanned_pages
    }

    /// Free pages (`NR_FREE_PAGES`).
    #[inline]
    pub fn free_pages(&self) -> u64 {
        self.stat[ZoneStat::FreePages as usize]
    }

    /// A counter of pages.
    #[inline]
    pub fn stat(&self, item: ZoneStat) -> u64 {
        self.stat[item as usize]
    }

    /// How often something happened that has to do with nodes.
    pub fn numa(&self, item: NumaStat) -> u64 {
        let both = matches!(item, NumaStat::Hit | NumaStat::Local);
        self.numa[item as usize] + if both { self.singles } else { 0 }
    }

    /// Changes a counter of pages.
    #[inline]
    pub fn mod_stat(&mut self, item: ZoneStat, delta: i64) {
        let counter = &mut self.stat[item as usize];
        debug_assert!(
            delta >= 0 || *counter >= delta.unsigned_abs(),
            "{item:?} of {} would fall below 0",
            self.kind
        );
        *counter = counter.wrapping_add_signed(delta);
    }

    /// A watermark with the boost (`wmark_pages`).
    #[inline]
    pub fn wmark(&self, mark: Wmark) -> u64 {
        self.watermark_boost
            + match mark {
                Wmark::Min => self.watermark.min,
                Wmark::Low => self.watermark.low,
                Wmark::High => self.watermark.high,
            }
    }

    /// Largest blocks that nobody touched since boot.
    pub fn virgin_blocks(&self) -> u64 {
        self.virgin.iter().map(|r| u64::from((r.1 - r.0) / Order::MAX.pages())).sum()
    }

    /// The block untouched since boot that holds a frame: its first frame.
    pub fn virgin_block(&self, pfn: Pfn) -> Option<Pfn> {
        self.virgin
            .iter()
            .find(|r| (r.0..r.1).contains(&pfn.0))
            .map(|_| Pfn(pfn.0 & !(Order::MAX.pages() - 1)))
    }

    /// Takes the block that holds a frame out of those untouched since boot.
    pub(crate) fn take_virgin_at(&mut self, pfn: Pfn) -> Option<Pfn> {
        let at = self.virgin.iter().position(|r| (r.0..r.1).contains(&pfn.0))?;
        let (start, end) = self.virgin[at];
        let head = pfn.0 & !(Order::MAX.pages() - 1);
        let parts = [(start, head), (head + Order::MAX.pages(), end)];
        self.virgin.remove(at);
        for part in parts.into_iter().rev().filter(|(start, end)| start < end) {
            self.virgin.insert(at, part);
        }
        self.note_emptied(Order::MAX, MigrateType::Movable);
        Some(Pfn(head))
    }

    /// Free blocks of an order and a migratetype.
    pub fn blocks(&self, order: Order, migratetype: MigrateType) -> u64 {
        let listed = u64::from(self.free_area[order.index()].lists[migratetype.index()].len);
        let virgin = order == Order::MAX && migratetype == MigrateType::Movable;
        listed + if virgin { self.virgin_blocks() } else { 0 }
    }

    /// Free blocks of an order.
    pub fn nr_free(&self, order: Order) -> u64 {
        self.free_area[order.index()].nr_free() + if order == Order::MAX { self.virgin_blocks() } else { 0 }
    }

    /// True when no block of this order and type is free (`free_area_empty`).
    #[inline]
    pub fn free_area_empty(&self, order: Order, migratetype: MigrateType) -> bool {
        self.nonempty[migratetype.index()] & 1 << order.get() == 0
    }

    /// The smallest order from `order` on of which a block of this type is free.
    #[inline]
    pub fn smallest_free(&self, order: Order, migratetype: MigrateType) -> Option<Order> {
        let large_enough = u32::from(self.nonempty[migratetype.index()]) >> order.get() << order.get();
        Order::new(large_enough.trailing_zeros() as u8)
    }

    /// A list lost its last block, or the virgin blocks ran out: is anything of the order left?
    #[inline]
    pub(crate) fn note_emptied(&mut self, order: Order, migratetype: MigrateType) {
        let listed = !self.free_area[order.index()].lists[migratetype.index()].is_empty();
        let virgin = order == Order::MAX && migratetype == MigrateType::Movable && !self.virgin.is_empty();
        if !listed && !virgin {
            self.nonempty[migratetype.index()] &= !(1 << order.get());
        }
    }

    /// First frames of the free blocks of an order and a type, in list order.
    pub fn free_blocks<'a>(
        &'a self,
        map: &'a MemMap,
        order: Order,
        migratetype: MigrateType,
    ) -> Box<dyn Iterator<Item = Pfn> + 'a> {
        let listed = self.free_area[order.index()].lists[migratetype.index()].iter(map);
        if order != Order::MAX || migratetype != MigrateType::Movable {
            return Box::new(listed);
        }
        let blocks = |&(start, end): &(u32, u32)| (start..end).step_by(Order::MAX.pages() as usize).map(Pfn);
        Box::new(listed.chain(self.virgin.iter().flat_map(blocks)))
    }
}

/// The zones to try for a request, the preferred one first (`struct zonelist`).
#[derive(Clone, Debug, Default)]
pub struct Zonelist {
    zones: Box<[ZoneId]>,
    /// The first attempt keeps pageblocks unmixed: another zone could help instead.
    pub nofragment: bool,
}

impl Zonelist {
    /// These zones, in this order.
    pub fn new(zones: Box<[ZoneId]>, nofragment: bool) -> Zonelist {
        Zonelist { zones, nofragment }
    }
}

impl std::ops::Deref for Zonelist {
    type Target = [ZoneId];
    #[inline]
    fn deref(&self) -> &[ZoneId] {
        &self.zones
    }
}

impl<'a> IntoIterator for &'a Zonelist {
    type Item = &'a ZoneId;
    type IntoIter = std::slice::Iter<'a, ZoneId>;
    fn into_iter(self) -> std::slice::Iter<'a, ZoneId> {
        self.zones.iter()
    }
}

/// A NUMA node (`pg_data_t`).
#[derive(Clone, Debug)]
pub struct Node {
    /// Its number.
    pub nid: Nid,
    /// Its CPUs.
    pub cpus: Vec<u16>,
    /// Distance to each node, in the order of `Machine::nodes`.
    pub distances: Vec<u8>,
    /// Its zones, low to high: indices into `Machine::zones`.
    pub zones: Vec<ZoneId>,
    /// For each highest kind of zone, the zones to try: near nodes first, in each node high zones first.
    pub zonelists: [Zonelist; ZoneType::ALL.len()],
    /// For `__GFP_THISNODE`: the same without other nodes.
    pub this_node: [Zonelist; ZoneType::ALL.len()],
    /// Pages by state.
    pub stat: [u64; NodeStat::COUNT],
    /// The lists of reclaim.
    pub lruvec: Lruvec,
    /// Its reclaim thread.
    pub kswapd: Kswapd,
    /// Its compaction thread.
    pub kcompactd: Kcompactd,
}

impl Node {
    /// A counter of pages.
    #[inline]
    pub fn stat(&self, item: NodeStat) -> u64 {
        self.stat[item as usize]
    }

    /// Changes a counter of pages.
    #[inline]
    pub fn mod_stat(&mut self, item: NodeStat, delta: i64) {
        let counter = &mut self.stat[item as usize];
        debug_assert!(
            delta >= 0 || *counter >= delta.unsigned_abs(),
            "{item:?} of node {} would fall below 0",
            self.nid
        );
        *counter = counter.wrapping_add_signed(delta);
    }
}

/// Pageblock types, one byte for each 2 MiB, and whether compaction shall skip the pageblock.
#[derive(Clone, Debug, Default)]
pub struct Pageblocks {
    order: Order,
    types: Vec<MigrateType>,
    /// One bit each (`PB_migrate_skip`); nothing while no bit was ever set.
    skip: Vec<u64>,
}

impl Pageblocks {
    /// All Movable, up to the frame `end`; blocks of `order`.
    pub fn new(order: Order, end: u32) -> Pageblocks {
        let blocks = (end as usize).div_ceil(order.pages() as usize);
        Pageblocks { order, types: vec![MigrateType::Movable; blocks], skip: Vec::new() }
    }

    /// How large a pageblock is (`pageblock_order`).
    #[inline]
    pub fn order(&self) -> Order {
        self.order
    }

    /// Pages of a pageblock (`pageblock_nr_pages`).
    #[inline]
    pub fn pages(&self) -> u32 {
        self.order.pages()
    }

    /// The first frame of the pageblock that holds a frame (`pageblock_start_pfn`).
    #[inline]
    pub fn start(&self, pfn: Pfn) -> Pfn {
        Pfn(pfn.0 & !(self.pages() - 1))
    }

    /// Shall compaction skip the pageblock? (`get_pageblock_skip`)
    pub fn skip(&self, pfn: Pfn) -> bool {
        let block = pfn.0 as usize >> self.order.get();
        self.skip.get(block / 64).is_some_and(|bits| bits & 1 << (block % 64) != 0)
    }

    /// Compaction shall skip the pageblock (`set_pageblock_skip`).
    pub fn set_skip(&mut self, pfn: Pfn) {
        let block = pfn.0 as usize >> self.order.get();
        if self.skip.is_empty() {
            self.skip = vec![0; self.types.len().div_ceil(64)];
        }
        self.skip[block / 64] |= 1 << (block % 64);
    }

    /// Compaction shall look again at the pageblocks from one frame to another (`clear_pageblock_skip`).
    pub fn clear_skip(&mut self, start: u32, end: u32) {
        let shift = self.order.get();
        for block in start as usize >> shift..=(end.max(start + 1) as usize - 1) >> shift {
            if let Some(bits) = self.skip.get_mut(block / 64) {
                *bits &= !(1 << (block % 64));
            }
        }
    }

    /// The type of the pageblock that holds a frame (`get_pageblock_migratetype`).
    #[inline]
    pub fn get(&self, pfn: Pfn) -> MigrateType {
        self.types[pfn.0 as usize >> self.order.get()]
    }

    /// Changes the type (`set_pageblock_migratetype`).
    pub fn set(&mut self, pfn: Pfn, migratetype: MigrateType) {
        self.types[pfn.0 as usize >> self.order.get()] = migratetype;
    }
}

impl Machine {
    /// Does the kernel keep a `struct page` for the frame, be it memory or a hole beside it (`pfn_to_online_page`)?
    pub fn pfn_online(&self, pfn: Pfn) -> bool {
        if self.mem_map.contains(pfn) {
            return true;
        }
        let spanned = self.zones.iter().any(|z| z.is_populated() && z.spans(pfn));
        match self.config.arch.section_pages() {
            // A section with any memory has descriptors for all of its frames.
            Some(pages) => {
                let last = pages as u32 - 1;
                spanned && self.mem_map.touches_span(pfn.0 & !last, pfn.0 | last)
            }
            None => spanned,
        }
    }
}
