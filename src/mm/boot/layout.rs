//! Where the spec's free blocks and owned pages lie: largest blocks highest, no two free buddies apart.
//!
//! A spec says *how many* blocks of each order and type are free, not where. The layout is ours, and always the same:
//!
//! ```text
//!   zone  reserved │ unmovable … reclaimable … movable pageblocks │ blocks of order 9 │ blocks of order 10
//!         low pfns                                                                          high pfns
//! ```
//!
//! A *region* is an aligned run of frames. A *restricted* region has a free buddy, so it must never become wholly free:
//! cutting a block out of it always leaves a smaller restricted region, at last a single used page.
//!
//! Fidelity: imported — counts by order and type, pageblock types, per-CPU counts, owners. Ours — the places.

use super::slabs::SlabShare;
use crate::mm::addr::{Cpu, Order, Pfn, ZoneId};
use crate::mm::config::{FreeBlocks, MigrateType, ZoneConfig};
use crate::mm::machine::Machine;
use crate::mm::page::{PageFlags, PageType};
use crate::mm::page_alloc::pcp::pindex;
use crate::mm::vmstat::{NodeStat, ZoneStat};

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
fn managed_ranges(zone: &ZoneConfig) -> Vec<(u32, u32)> {
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

/// Regions of one migratetype: by restriction and order, lowest frame first, taken from the end.
#[derive(Default)]
struct Pool {
    regions: [[Vec<u32>; Order::COUNT]; 2],
}

const FREE: usize = 0;
const RESTRICTED: usize = 1;

impl Pool {
    fn put(&mut self, start: u32, order: Order, kind: usize) {
        self.regions[kind][order.index()].push(start);
    }

    /// Cuts a block out of the smallest region that can give it; restricted regions first.
    fn cut(&mut self, order: Order) -> Option<u32> {
        let from = |kind: usize| {
            order.and_above().filter(move |o| kind == FREE || *o > order).map(move |o| (kind, o))
        };
        let mut choices: Vec<(usize, Order)> = from(RESTRICTED).chain(from(FREE)).collect();
        choices.sort_by_key(|(kind, o)| (*o, FREE + RESTRICTED - kind));
        let (kind, region) =
            choices.into_iter().find(|(kind, o)| !self.regions[*kind][o.index()].is_empty())?;
        let mut start = self.regions[kind][region.index()].pop()?;
        let mut o = region;
        while let Some(half) = o.down().filter(|_| o > order) {
            // The upper half is cut further, the lower one stays; the last one is the block's buddy.
            self.put(start, half, if half == order { RESTRICTED } else { FREE });
            start += half.pages();
            o = half;
        }
        Some(start)
    }
}

impl Machine {
    /// Lays out what the spec says about each zone: free blocks, pageblock types, per-CPU pages, owners.
    pub(super) fn lay_out_occupancy(&mut self) {
        let mut shares = self.deal_slabs();
        for node in 0..self.config.nodes.len() {
            for zone in 0..self.config.nodes[node].zones.len() {
                let id = self.nodes[node].zones[zone];
                let config = self.config.nodes[node].zones[zone].clone();
                if config.managed > 0 {
                    self.lay_out_zone(id, &config);
                }
            }
            self.settle_owners(node, &mut shares);
        }
        self.give_slabs_to_cpu();
        self.settle_descriptors();
    }

    fn lay_out_zone(&mut self, id: ZoneId, config: &ZoneConfig) {
        let ranges = managed_ranges(config);
        let mut chunks: [Vec<u32>; Order::COUNT] = Default::default();
        for &(start, end) in &ranges {
            for (pfn, order) in aligned_chunks(start, end) {
                chunks[order.index()].push(pfn);
            }
        }
        chunks.iter_mut().for_each(|c| c.sort_unstable());
        let mut want = config.free;
        // Blocks of the largest order, highest frames first; those of Movable stay a range until touched.
        let mut virgin = Vec::new();
        for mt in MigrateType::ALL {
            while want[mt.index()].blocks[Order::MAX.index()] > 0 {
                let Some(pfn) = chunks[Order::MAX.index()].pop() else { break };
                want[mt.index()].blocks[Order::MAX.index()] -= 1;
                if mt == MigrateType::Movable {
                    virgin.push(pfn);
                } else {
                    self.place_free(id, Pfn(pfn), Order::MAX, mt, true);
                }
            }
        }
        self.add_virgin(id, virgin);
        let mut pools: [Pool; MigrateType::COUNT] = Default::default();
        self.share_out_pageblocks(config, &mut want, chunks, &mut pools, id);
        self.cut_small_blocks(id, &want, &mut pools);
        self.order_lists(id);
    }

    /// Gives the remaining pageblocks types, places blocks of pageblock order, fills the pools of smaller ones.
    fn share_out_pageblocks(
        &mut self,
        config: &ZoneConfig,
        want: &mut [FreeBlocks; MigrateType::COUNT],
        chunks: [Vec<u32>; Order::COUNT],
        pools: &mut [Pool; MigrateType::COUNT],
        id: ZoneId,
    ) {
        let pageblock = self.pageblocks.order();
        let mut types = config.pageblocks;
        for mt in MigrateType::ALL {
            let largest = |free: &FreeBlocks| free.blocks[Order::MAX.index()];
            let placed = largest(&config.free[mt.index()]) - largest(&want[mt.index()]);
            let blocks = placed << (Order::MAX.get() - pageblock.get());
            types[mt.index()] = types[mt.index()].saturating_sub(blocks);
        }
        // Whole pageblocks, lowest first: rare types take the low ones, Movable the rest.
        let mut whole: Vec<(u32, usize)> = Vec::new();
        for order in pageblock.and_above() {
            for &pfn in &chunks[order.index()] {
                whole.extend(
                    (pfn..pfn + order.pages()).step_by(pageblock.pages() as usize).map(|p| (p, FREE)),
                );
            }
        }
        whole.sort_unstable();
        self.type_holes(config, &mut types);
        self.place_whole_pageblocks(id, want, &mut types, &mut whole);
        let rare: Vec<MigrateType> =
            MigrateType::ALL.into_iter().filter(|m| *m != MigrateType::Movable).collect();
        let mut owners = rare
            .iter()
            .flat_map(|mt| std::iter::repeat_n(*mt, types[mt.index()] as usize))
            .collect::<Vec<_>>();
        // The zone's edges and what lies beside reserved memory: smaller regions in pageblocks of their own.
        let mut edges: Vec<(u32, Order)> = Vec::new();
        for order in Order::all().filter(|o| *o < pageblock) {
            edges.extend(chunks[order.index()].iter().map(|p| (*p, order)));
        }
        edges.sort_unstable();
        let only_edges = whole.is_empty();
        for (pfn, kind) in whole {
            let mt = if owners.is_empty() { MigrateType::Movable } else { owners.remove(0) };
            self.pageblocks.set(Pfn(pfn), mt);
            pools[mt.index()].put(pfn, pageblock, kind);
        }
        for (pfn, order) in edges {
            // A zone of less than a few pageblocks has nothing but edges.
            if only_edges && !owners.is_empty() && self.pageblocks.get(Pfn(pfn)) == MigrateType::Movable {
                let mt = owners.remove(0);
                self.pageblocks.set(Pfn(pfn), mt);
            }
            pools[self.pageblocks.get(Pfn(pfn)).index()].put(pfn, order, FREE);
        }
        // Types that found no whole pageblock go to the lowest others of this zone alone that are not free as a whole.
        // The kernel counts a pageblock's length from the zone's first frame on: what it steps over has no type to give.
        let (first, end) = (config.start_pfn as u32, (config.start_pfn + config.spanned) as u32);
        for counted in (first..end).step_by(pageblock.pages() as usize).map(Pfn) {
            let Some(&mt) = owners.last() else { break };
            let start = self.pageblocks.start(counted);
            let elsewhere = self.mem_map.zone_of(start).is_some_and(|zone| zone != id);
            let whole = self.zones[id.index()].virgin.iter().any(|r| (r.0..r.1).contains(&start.0))
                || (self.mem_map.contains(start)
                    && self.mem_map.page(start).is_buddy()
                    && self.mem_map.page(start).order() >= pageblock);
            if !elsewhere && !whole && self.pageblocks.get(start) == MigrateType::Movable {
                self.pageblocks.set(start, mt);
                owners.pop();
            }
        }
        if let Some(mt) = owners.pop() {
            self.share_edge(Pfn(config.start_pfn as u32), mt);
        }
    }

    /// The pageblock that a zone shares with the one below counts for both: it changes types with one of that zone's.
    fn share_edge(&mut self, start: Pfn, mt: MigrateType) {
        let edge = self.pageblocks.start(start);
        let Some(below) = self.mem_map.zone_of(edge) else { return };
        let first = self.pageblocks.start(Pfn(self.zones[below.index()].zone_start_pfn)).0;
        let old = self.pageblocks.get(edge);
        let blocks = (first..edge.0).step_by(self.pageblocks.pages() as usize).rev().map(Pfn);
        let same = blocks.filter(|block| self.mem_map.zone_of(*block) == Some(below));
        if let Some(other) = same.into_iter().find(|block| self.pageblocks.get(*block) == mt) {
            self.pageblocks.set(other, old);
            self.pageblocks.set(edge, mt);
        }
    }

    /// Pageblocks in a hole never got a type: they stay Unmovable, and are counted so.
    fn type_holes(&mut self, config: &ZoneConfig, types: &mut [u64; MigrateType::COUNT]) {
        let pages = self.pageblocks.pages();
        for &(start, len) in &config.holes {
            let (first, end) = ((start as u32).next_multiple_of(pages), (start + len) as u32);
            for block in (first..end).step_by(pages as usize).filter(|block| end - block >= pages) {
                self.pageblocks.set(Pfn(block), MigrateType::Unmovable);
                let count = &mut types[MigrateType::Unmovable.index()];
                *count = count.saturating_sub(u64::from(self.pfn_online(Pfn(block))));
            }
        }
    }

    /// Places the blocks of a pageblock's order and above, but for the largest, which have their place: from the top.
    ///
    /// Their pageblocks are taken out of `whole`.
    fn place_whole_pageblocks(
        &mut self,
        id: ZoneId,
        want: &mut [FreeBlocks; MigrateType::COUNT],
        types: &mut [u64; MigrateType::COUNT],
        whole: &mut Vec<(u32, usize)>,
    ) {
        let pageblock = self.pageblocks.order();
        for order in pageblock.and_above().filter(|o| *o < Order::MAX).rev() {
            let blocks = 1 << (order.get() - pageblock.get());
            let mut top = whole.len();
            for mt in MigrateType::ALL {
                while want[mt.index()].blocks[order.index()] > 0 {
                    let fits = |at: &usize| {
                        let run = whole.get(*at..*at + blocks).unwrap_or_default();
                        let (Some(first), Some(last)) = (run.first(), run.last()) else { return false };
                        Pfn(first.0).is_aligned(order)
                            && last.0 - first.0 == order.pages() - pageblock.pages()
                            && run.iter().all(|block| block.1 == FREE)
                    };
                    let Some(at) = (0..top).rev().find(fits) else { break };
                    let pfn = Pfn(whole[at].0);
                    whole.drain(at..at + blocks);
                    top = at;
                    // What would become one with it stays for smaller blocks.
                    let buddy = pfn.buddy(order).0;
                    if let Some(other) = whole.iter_mut().find(|w| w.0 == buddy) {
                        other.1 = RESTRICTED;
                    }
                    want[mt.index()].blocks[order.index()] -= 1;
                    types[mt.index()] = types[mt.index()].saturating_sub(blocks as u64);
                    self.place_free(id, pfn, order, mt, true);
                }
            }
        }
    }

    /// Places all blocks that are left, large ones first, each in a pageblock of its type when there is room.
    fn cut_small_blocks(
        &mut self,
        id: ZoneId,
        want: &[FreeBlocks; MigrateType::COUNT],
        pools: &mut [Pool; MigrateType::COUNT],
    ) {
        for order in Order::all().rev() {
            for mt in MigrateType::ALL {
                for _ in 0..want[mt.index()].blocks[order.index()] {
                    let own = pools[mt.index()].cut(order);
                    let found = own.or_else(|| pools.iter_mut().find_map(|pool| pool.cut(order)));
                    match found {
                        Some(pfn) => self.place_free(id, Pfn(pfn), order, mt, false),
                        // No room for it whole: its pages lie apart.
                        None => self.place_pieces(id, order, mt, pools),
                    }
                }
            }
        }
    }

    /// A block for which no aligned room is left is laid out as smaller ones.
    fn place_pieces(
        &mut self,
        id: ZoneId,
        order: Order,
        mt: MigrateType,
        pools: &mut [Pool; MigrateType::COUNT],
    ) {
        let mut left = order.pages();
        let mut size = order.down();
        while let (Some(o), true) = (size, left > 0) {
            match pools.iter_mut().find_map(|pool| if o.pages() <= left { pool.cut(o) } else { None }) {
                Some(pfn) => {
                    self.place_free(id, Pfn(pfn), o, mt, false);
                    left -= o.pages();
                }
                None => size = o.down(),
            }
        }
    }

    fn place_free(&mut self, id: ZoneId, pfn: Pfn, order: Order, mt: MigrateType, own_blocks: bool) {
        if own_blocks {
            for block in (0..order.pages()).step_by(self.pageblocks.pages() as usize) {
                self.pageblocks.set(pfn.up(block), mt);
            }
        }
        let zone = &mut self.zones[id.index()];
        zone.add_block(&mut self.mem_map, pfn, order, mt, false);
        zone.mod_stat(ZoneStat::FreePages, i64::from(order.pages()));
        if mt == MigrateType::Cma {
            zone.mod_stat(ZoneStat::FreeCma, i64::from(order.pages()));
        }
    }

    pub(super) fn add_virgin(&mut self, id: ZoneId, mut blocks: Vec<u32>) {
        blocks.sort_unstable();
        let zone = &mut self.zones[id.index()];
        zone.mod_stat(ZoneStat::FreePages, blocks.len() as i64 * i64::from(Order::MAX.pages()));
        if !blocks.is_empty() {
            zone.nonempty[MigrateType::Movable.index()] |= 1 << Order::MAX.get();
        }
        for pfn in blocks {
            match zone.virgin.back_mut() {
                Some(last) if last.1 == pfn => last.1 = pfn + Order::MAX.pages(),
                _ => zone.virgin.push_back((pfn, pfn + Order::MAX.pages())),
            }
        }
    }

    /// Sorts every free list by frame number, lowest first: that is the order in which boot frees memory.
    fn order_lists(&mut self, id: ZoneId) {
        for order in Order::all() {
            for mt in MigrateType::ALL {
                let zone = &mut self.zones[id.index()];
                let mut blocks: Vec<Pfn> =
                    zone.free_area[order.index()].lists[mt.index()].iter(&self.mem_map).collect();
                blocks.sort_unstable();
                zone.free_area[order.index()].lists[mt.index()] = Default::default();
                for pfn in blocks {
                    zone.free_area[order.index()].lists[mt.index()].push_back(&mut self.mem_map, pfn);
                }
            }
        }
    }

    /// Gives the used pages of a node to their owners, and fills the per-CPU lists.
    fn settle_owners(&mut self, node: usize, shares: &mut [SlabShare]) {
        let owners = self.config.nodes[node].owners;
        let mut tables = owners.page_tables;
        // High zones first: kernel memory comes from the highest zone that is mapped.
        for zone in (0..self.config.nodes[node].zones.len()).rev() {
            let config = self.config.nodes[node].zones[zone].clone();
            let id = self.nodes[node].zones[zone];
            if config.managed == 0 {
                continue;
            }
            let mut used = UsedPages::new(self, id, &config);
            self.fill_pcp(id, &config, &mut used);
            self.fill_lru(id, &config, &mut used);
            let highmem = self.is_highmem(&self.zones[id.index()]);
            if !highmem {
                self.lay_out_slabs(node, shares, &mut used);
                self.lay_out_untold(node, &mut used);
            }
            for pfn in used.take(tables) {
                self.hold(pfn).set_page_type(Some(PageType::Table));
                tables -= 1;
            }
            for pfn in used.rest() {
                self.hold(pfn);
            }
        }
        let stats = [
            (NodeStat::PageTablePages, owners.page_tables),
            (NodeStat::KernelStackKb, owners.kernel_stack_kb),
            (NodeStat::FilePages, owners.file),
            (NodeStat::AnonPages, owners.anon),
            (NodeStat::Mapped, owners.mapped),
            (NodeStat::Shmem, owners.shmem),
            (NodeStat::Dirty, owners.dirty),
            (NodeStat::Swapcached, owners.swapcached),
        ];
        for (item, pages) in stats {
            self.nodes[node].stat[item as usize] = pages;
        }
    }

    fn fill_pcp(&mut self, id: ZoneId, config: &ZoneConfig, used: &mut UsedPages) {
        let nr_cpus = self.zones[id.index()].pageset.len();
        for (cpu, count) in config.pcp.iter().enumerate().take(nr_cpus) {
            for pfn in used.take(*count) {
                let migratetype = match self.pageblocks.get(pfn) {
                    special if special.index() >= MigrateType::PCPTYPES => MigrateType::Movable,
                    plain => plain,
                };
                let page = self.mem_map.page_mut(pfn);
                page.set_page_type(Some(PageType::Pcp));
                page.private = 0;
                page.index = migratetype as u32;
                let pcp = &mut self.zones[id.index()].pageset[Cpu(cpu as u16).index()];
                pcp.lists[pindex(migratetype, Order::ZERO)].push(pfn);
                pcp.count += 1;
            }
        }
        for list in self.zones[id.index()].pageset.iter_mut().flat_map(|pcp| &mut pcp.lists) {
            // The first one found is the first one used.
            list.reverse();
        }
    }

    fn fill_lru(&mut self, id: ZoneId, config: &ZoneConfig, used: &mut UsedPages) {
        let lru = config.lru;
        let base = PageFlags::LRU | PageFlags::UPTODATE;
        let lists = [
            (ZoneStat::ZoneInactiveAnon, lru.inactive_anon, base | PageFlags::SWAPBACKED),
            (ZoneStat::ZoneActiveAnon, lru.active_anon, base | PageFlags::SWAPBACKED | PageFlags::ACTIVE),
            (ZoneStat::ZoneInactiveFile, lru.inactive_file, base),
            (ZoneStat::ZoneActiveFile, lru.active_file, base | PageFlags::ACTIVE),
            (ZoneStat::ZoneUnevictable, lru.unevictable, base | PageFlags::UNEVICTABLE),
        ];
        for (zone_item, pages, flags) in lists {
            let mut placed = 0;
            for pfn in used.take(pages) {
                self.hold(pfn).set(flags);
                self.lru_link(pfn, false);
                placed += 1;
            }
            debug_assert!(self.zones[id.index()].stat(zone_item) == placed);
        }
        self.zones[id.index()].mod_stat(ZoneStat::Mlock, lru.mlock as i64);
    }

    /// The page is in use from boot on.
    fn hold(&mut self, pfn: Pfn) -> &mut crate::mm::page::Page {
        let page = self.mem_map.page_mut(pfn);
        page.refcount = 1;
        page.private = 0;
        page
    }
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
    fn new(machine: &Machine, id: ZoneId, config: &ZoneConfig) -> UsedPages {
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

    fn rest(self) -> Vec<Pfn> {
        self.frames.into_iter().flat_map(|(start, end)| (start..end).map(Pfn)).collect()
    }
}
