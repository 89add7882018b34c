//! Which pageblock gets which type at boot, so that free blocks find room among their own.
//!
//! A *region* is an aligned run of frames. A *restricted* region has a free buddy, so it must never become wholly free:
//! cutting a block out of it always leaves a smaller restricted region, at last a single used page.
//!
//! Fidelity: imported — pageblock types, counts of blocks. Ours — the places.

use crate::mm::addr::{Order, Pfn, ZoneId};
use crate::mm::config::{FreeBlocks, MigrateType, ZoneConfig};
use crate::mm::machine::Machine;

/// Regions of one migratetype: by restriction and order, lowest frame first, taken from the end.
#[derive(Default)]
pub(super) struct Pool {
    regions: [[Vec<u32>; Order::COUNT]; 2],
}

const FREE: usize = 0;
const RESTRICTED: usize = 1;

impl Pool {
    /// Pageblocks that can hold these blocks below a pageblock's order.
    fn pageblocks_for(free: &FreeBlocks, pageblock: Order) -> usize {
        let (mut pool, mut pageblocks) = (Pool::default(), 0);
        for order in Order::all().rev().filter(|order| *order < pageblock) {
            for _ in 0..free.blocks[order.index()] {
                if pool.cut(order).is_none() {
                    pool.put(0, pageblock, FREE);
                    pool.cut(order);
                    pageblocks += 1;
                }
            }
        }
        pageblocks
    }

    fn put(&mut self, start: u32, order: Order, kind: usize) {
        self.regions[kind][order.index()].push(start);
    }

    /// Cuts a block out of the smallest region that can give it; restricted regions first.
    pub(super) fn cut(&mut self, order: Order) -> Option<u32> {
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
    /// Gives the remaining pageblocks types, places blocks of pageblock order, fills the pools of smaller ones.
    pub(super) fn share_out_pageblocks(
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
        // Movable keeps what its own free blocks need: rare types that find no room go to the edges.
        let need = MigrateType::ALL.map(|mt| Pool::pageblocks_for(&want[mt.index()], pageblock));
        let room = whole.len().saturating_sub(need[MigrateType::Movable.index()]);
        if room < owners.len() {
            // What a rare type needs for its free blocks comes before what it has besides.
            let mut seen = [0; MigrateType::COUNT];
            owners.sort_by_cached_key(|mt| {
                seen[mt.index()] += 1;
                seen[mt.index()] > need[mt.index()]
            });
        }
        let (rare_blocks, others) = whole.split_at(owners.len().min(room));
        for (&(pfn, _), mt) in rare_blocks.iter().zip(owners.drain(..rare_blocks.len())) {
            self.pageblocks.set(Pfn(pfn), mt);
        }
        // A zone of less than a few pageblocks has nothing but edges.
        for &(pfn, _) in edges.iter().filter(|_| whole.is_empty()) {
            if !owners.is_empty() && self.pageblocks.get(Pfn(pfn)) == MigrateType::Movable {
                self.pageblocks.set(Pfn(pfn), owners.remove(0));
            }
        }
        self.type_used_pageblocks(config, &mut owners, others, id);
        if owners.last().is_some_and(|mt| self.share_edge(Pfn(config.start_pfn as u32), *mt)) {
            owners.pop();
        }
        for (&(pfn, _), mt) in others.iter().zip(owners) {
            self.pageblocks.set(Pfn(pfn), mt);
        }
        // All types are settled: each region goes by the type of its pageblock.
        for (pfn, kind) in whole {
            pools[self.pageblocks.get(Pfn(pfn)).index()].put(pfn, pageblock, kind);
        }
        for (pfn, order) in edges {
            pools[self.pageblocks.get(Pfn(pfn)).index()].put(pfn, order, FREE);
        }
    }

    /// Types that found no whole pageblock go to the lowest others of this zone alone that are not free as a whole.
    fn type_used_pageblocks(
        &mut self,
        config: &ZoneConfig,
        owners: &mut Vec<MigrateType>,
        kept: &[(u32, usize)],
        id: ZoneId,
    ) {
        let pageblock = self.pageblocks.order();
        // The kernel counts a pageblock's length from the zone's first frame on: what it steps over has no type to give.
        let (first, end) = (config.start_pfn as u32, (config.start_pfn + config.spanned) as u32);
        for counted in (first..end).step_by(pageblock.pages() as usize).map(Pfn) {
            let Some(&mt) = owners.last() else { break };
            let start = self.pageblocks.start(counted);
            let elsewhere = self.mem_map.zone_of(start).is_some_and(|zone| zone != id);
            let whole = self.zones[id.index()].virgin.iter().any(|r| (r.0..r.1).contains(&start.0))
                || kept.binary_search_by_key(&start.0, |block| block.0).is_ok()
                || (self.mem_map.contains(start)
                    && self.mem_map.page(start).is_buddy()
                    && self.mem_map.page(start).order() >= pageblock);
            if !elsewhere && !whole && self.pageblocks.get(start) == MigrateType::Movable {
                self.pageblocks.set(start, mt);
                owners.pop();
            }
        }
    }

    /// The pageblock that a zone shares with the one below counts for both: it changes types with one of that zone's.
    ///
    /// False when no pageblock there could change.
    fn share_edge(&mut self, start: Pfn, mt: MigrateType) -> bool {
        let edge = self.pageblocks.start(start);
        let Some(below) = self.mem_map.zone_of(edge) else { return false };
        let first = self.pageblocks.start(Pfn(self.zones[below.index()].zone_start_pfn)).0;
        let old = self.pageblocks.get(edge);
        let blocks = (first..edge.0).step_by(self.pageblocks.pages() as usize).rev().map(Pfn);
        let same = blocks.filter(|block| self.mem_map.zone_of(*block) == Some(below));
        // What lies free there is on lists of its type.
        let used =
            |block: &Pfn| (0..self.pageblocks.pages()).all(|n| !self.mem_map.page(block.up(n)).is_buddy());
        let Some(other) = same.filter(used).find(|block| self.pageblocks.get(*block) == mt) else {
            return false;
        };
        self.pageblocks.set(other, old);
        self.pageblocks.set(edge, mt);
        true
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
}
