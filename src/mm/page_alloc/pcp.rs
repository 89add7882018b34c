//! Per-CPU page lists: small blocks kept near a CPU, so that most allocations touch no lock of the zone.
//!
//! ```text
//!   lists[order * 3 + migratetype] for orders 0..=3, and one list more for huge pages
//!   alloc: from the front; empty → refill `batch` blocks from the buddy lists
//!   free:  to the front;   count ≥ high → give the coldest (the tails) back, round robin
//! ```
//!
//! The kernel threads these lists through the pages. Here they are stacks: taking a page or putting it back touches no
//! other page.
//!
//! Gorman 6.6 (then: hot and cold lists). Kernel: `mm/page_alloc.c`, `include/linux/mmzone.h`.
//! Fidelity: faithful — list layout, batch and high, bulk sizes, free_factor. Absent — the periodic drain of vmstat_update.

use crate::mm::addr::{Cpu, Order, Pfn, ZoneId};
use crate::mm::config::MigrateType;
use crate::mm::machine::Machine;
use crate::mm::mmzone::{Pageblocks, Zone};
use crate::mm::page::{MemMap, Page, PageFlags, PageType};
use crate::mm::page_alloc::watermark::AllocFlags;
use crate::mm::page_alloc::{AllocContext, FreeTo};
use crate::mm::trace::Event;
use crate::mm::vmstat::{VmEvent, ZoneStat};

/// Lists of small orders, and one for huge pages (`NR_PCP_LISTS`).
pub const NR_PCP_LISTS: usize = MigrateType::PCPTYPES * (Order::COSTLY.get() as usize + 1) + 1;
const THP_LIST: usize = NR_PCP_LISTS - 1;

/// First pages of blocks that wait, the last one to come being the first one to be used.
///
/// The top stands apart: a page that is freed and asked for again at once, as pages often are, meets no vector.
#[derive(Clone, Debug)]
pub struct PcpList {
    /// The next one to be used, or [`Pfn::NIL`].
    top: Pfn,
    /// The others, the coldest first.
    rest: Vec<Pfn>,
}

impl Default for PcpList {
    fn default() -> PcpList {
        PcpList { top: Pfn::NIL, rest: Vec::new() }
    }
}

impl PcpList {
    /// True without blocks.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.top == Pfn::NIL && self.rest.is_empty()
    }

    /// Puts a block where it is used next.
    #[inline(always)]
    pub(crate) fn push(&mut self, pfn: Pfn) {
        if self.top != Pfn::NIL {
            self.rest.push(self.top);
        }
        self.top = pfn;
    }

    /// Takes the block that is used next.
    #[inline(always)]
    pub(crate) fn pop(&mut self) -> Option<Pfn> {
        if self.top == Pfn::NIL {
            return self.rest.pop();
        }
        Some(std::mem::replace(&mut self.top, Pfn::NIL))
    }

    /// Takes all blocks, the coldest first.
    fn take(&mut self) -> Vec<Pfn> {
        let mut all = std::mem::take(&mut self.rest);
        if self.top != Pfn::NIL {
            all.push(std::mem::replace(&mut self.top, Pfn::NIL));
        }
        all
    }

    /// The blocks in the order in which they are used.
    pub fn iter(&self) -> impl Iterator<Item = Pfn> + '_ {
        let top = (self.top != Pfn::NIL).then_some(self.top);
        top.into_iter().chain(self.rest.iter().rev().copied())
    }

    /// Turns the order round.
    pub(crate) fn reverse(&mut self) {
        let mut all = self.take();
        all.reverse();
        self.rest = all;
    }
}

/// One CPU's lists in one zone (`struct per_cpu_pages`).
#[derive(Clone, Debug)]
pub struct PerCpuPages {
    /// Pages on all lists.
    pub count: u64,
    /// From this count on pages go back to the buddy lists.
    pub high: u64,
    /// The same, less while reclaim works on the zone: see [`PerCpuPages::set_full`].
    pub full: u64,
    /// Blocks moved at once.
    pub batch: u64,
    /// How often in a row frees overflowed: each time more is given back.
    pub free_factor: u32,
    /// The lists: see [`pindex`].
    pub lists: [PcpList; NR_PCP_LISTS],
}

impl Default for PerCpuPages {
    fn default() -> PerCpuPages {
        PerCpuPages { count: 0, high: 0, full: 0, batch: 1, free_factor: 0, lists: Default::default() }
    }
}

impl PerCpuPages {
    /// Pages on the lists of one type, of all orders.
    pub fn pages_of(&self, migratetype: MigrateType) -> u64 {
        let costly = (0..=Order::COSTLY.get()).filter_map(Order::new);
        let small: u64 = costly
            .map(|order| {
                let list = &self.lists[pindex(migratetype, order)];
                list.iter().count() as u64 * u64::from(order.pages())
            })
            .sum();
        // Huge pages have one list, and all of them are movable.
        let rest = if migratetype == MigrateType::Movable { self.count - self.small_pages() } else { 0 };
        small + rest
    }

    /// Pages of blocks up to the costly order.
    fn small_pages(&self) -> u64 {
        let lists = self.lists[..THP_LIST].iter().enumerate();
        let pages = |at: usize| 1_u64 << (at / MigrateType::PCPTYPES);
        lists.map(|(at, list)| list.iter().count() as u64 * pages(at)).sum()
    }
}

/// The list for a block (`order_to_pindex`).
#[inline]
pub fn pindex(migratetype: MigrateType, order: Order) -> usize {
    if order > Order::COSTLY { THP_LIST } else { MigrateType::PCPTYPES * order.index() + migratetype.index() }
}

/// The order of a list's blocks (`pindex_to_order`).
fn order_of(pindex: usize, pageblock: Order) -> Order {
    if pindex == THP_LIST {
        pageblock
    } else {
        Order::new((pindex / MigrateType::PCPTYPES) as u8).unwrap_or_default()
    }
}

/// How many blocks the lists move at once (`zone_batchsize`): a power of two less one.
pub fn batchsize(managed_pages: u64) -> u64 {
    let batch = ((managed_pages >> 10).min(256) / 4).max(1);
    let batch = batch + batch / 2;
    let power = 1 << batch.ilog2();
    (power - 1u64).max(1)
}

impl PerCpuPages {
    /// How many pages to give back at once (`nr_pcp_free`).
    fn nr_free(&mut self, high: u64, free_high: bool) -> u64 {
        if free_high {
            return self.count;
        }
        if high < self.batch {
            return 1;
        }
        let (least, most) = (self.batch, high.saturating_sub(self.batch));
        let wanted = self.batch << self.free_factor;
        if wanted < most {
            self.free_factor += 1;
        }
        wanted.clamp(least.min(most), most.max(least))
    }

    /// Finds the count from which pages go back, as the zone is now (`nr_pcp_high`).
    pub(crate) fn set_full(&mut self, reclaim_active: bool) {
        self.full = if reclaim_active { (self.batch << 2).min(self.high) } else { self.high };
    }
}

impl Machine {
    /// True for orders that the per-CPU lists keep (`pcp_allowed_order`).
    #[inline]
    pub fn pcp_allowed_order(&self, order: Order) -> bool {
        order <= Order::COSTLY || (order == self.pageblocks.order() && self.config.thp.is_some())
    }

    /// Gives each CPU's lists the size that fits the zone now (`zone_set_pageset_high_and_batch`).
    pub(crate) fn zone_pcp_update(&mut self, zone: usize) {
        let cpus = self.nodes[self.zones[zone].pgdat].cpus.len();
        let online = self.config.nr_cpus();
        let fraction = self.sysctl.percpu_pagelist_high_fraction;
        let zone = &mut self.zones[zone];
        let batch = batchsize(zone.managed_pages);
        let total = zone.managed_pages.checked_div(fraction).unwrap_or(zone.watermark.low);
        // A node without a CPU is served by all of them.
        let sharers = if cpus == 0 { online } else { cpus }.max(1) as u64;
        let high = (total / sharers).max(batch << 2);
        for pcp in &mut zone.pageset {
            pcp.high = high;
            pcp.batch = batch;
            pcp.set_full(zone.reclaim_active);
        }
    }

    /// Takes a small block from this CPU's list; an empty list is refilled first (`rmqueue_pcplist`).
    pub(crate) fn rmqueue_pcplist(
        &mut self,
        ac: &AllocContext,
        zone_id: ZoneId,
        flags: AllocFlags,
    ) -> Option<Pfn> {
        let (zone, cpu) = (zone_id.index(), self.cpu.index());
        let pcp = &mut self.zones[zone].pageset[cpu];
        pcp.free_factor >>= 1;
        if pcp.lists[pindex(ac.migratetype, ac.order)].is_empty() {
            self.refill(ac, zone_id, flags);
        }
        let pcp = &mut self.zones[zone].pageset[cpu];
        let pfn = pcp.lists[pindex(ac.migratetype, ac.order)].pop()?;
        pcp.count -= u64::from(ac.order.pages());
        Some(pfn)
    }

    /// Moves a batch of blocks from the buddy lists to this CPU's list (`rmqueue_bulk`).
    #[inline(never)]
    fn refill(&mut self, ac: &AllocContext, zone_id: ZoneId, flags: AllocFlags) {
        let (cpu, list) = (self.cpu.index(), pindex(ac.migratetype, ac.order));
        let batch = self.zones[zone_id.index()].pageset[cpu].batch;
        // Larger blocks come in smaller numbers, but never singly.
        let blocks = if batch > 1 { (batch >> ac.order.get()).max(2) } else { batch };
        let mut left = blocks as u32;
        while left > 0 {
            let Some((first, n)) = self.rmqueue_run(ac, zone_id, flags, left) else { break };
            let pcp = &mut self.zones[zone_id.index()].pageset[cpu];
            for block in 0..n {
                let pfn = first.up(block << ac.order.get());
                let page = self.mem_map.page_mut(pfn);
                page.set_page_type(Some(PageType::Pcp));
                page.private = u32::from(ac.order.get());
                page.index = ac.migratetype as u32;
                pcp.lists[list].push(pfn);
            }
            pcp.count += u64::from(n * ac.order.pages());
            left -= n;
        }
        // The list was empty, and refilled blocks are used in the order in which they came.
        self.zones[zone_id.index()].pageset[cpu].lists[list].reverse();
        self.last_alloc.refilled(blocks - u64::from(left));
    }

    /// Takes up to `most` blocks that lie side by side; the trace sees each of them split off.
    ///
    /// The smallest block that is large enough is split while it lasts, since what a split leaves is smaller still. So
    /// many blocks in a row come out of one, lowest first, and only what is left of it goes back to the lists.
    #[inline(always)]
    fn rmqueue_run(
        &mut self,
        ac: &AllocContext,
        zone_id: ZoneId,
        flags: AllocFlags,
        most: u32,
    ) -> Option<(Pfn, u32)> {
        let zone = &mut self.zones[zone_id.index()];
        let from = zone.smallest_free(ac.order, ac.migratetype);
        let Some(from) = from.filter(|_| !self.trace.hot) else {
            return Some((self.rmqueue_list(zone_id, ac.order, ac.migratetype, flags)?, 1));
        };
        let first = zone.take_block(&mut self.mem_map, from, ac.migratetype)?;
        let halvings = from.get() - ac.order.get();
        let n = most.min(1 << halvings);
        zone.give_rest(&mut self.mem_map, first, from, n << ac.order.get(), ac.migratetype);
        zone.mod_stat(ZoneStat::FreePages, -i64::from(n << ac.order.get()));
        // A block of 2^l of these blocks is split once for each that begins among the n.
        let splits: u64 = (1..=halvings).map(|l| u64::from(n.div_ceil(1 << l))).sum();
        self.vmstat.count(VmEvent::BuddySplit, splits);
        self.last_alloc.split(from, ac.order);
        Some((first, n))
    }

    /// Puts a freed small block on this CPU's list; too many go back to the buddy lists (`free_unref_page`).
    #[inline(always)]
    pub(crate) fn free_unref_page(&mut self, pfn: Pfn, order: Order) {
        let real = self.pageblocks.get(pfn);
        let page = self.mem_map.page_mut(pfn);
        page.reset_flags(PageFlags::NONE);
        page.refcount = 0;
        let zone_id = page.zone();
        let migratetype = match real {
            MigrateType::Isolate => {
                return self.free_one_page(zone_id, pfn, order, real, FreeTo::Likely);
            }
            // They wait with the movable ones, but remember what they are.
            MigrateType::HighAtomic | MigrateType::Cma => MigrateType::Movable,
            plain => plain,
        };
        let list = pindex(migratetype, order);
        let zone = &mut self.zones[zone_id.index()];
        let pcp = &mut zone.pageset[self.cpu.index()];
        page.private = u32::from(order.get());
        page.become_pcp(Page::in_zone(zone_id), real);
        pcp.lists[list].push(pfn);
        pcp.count += u64::from(order.pages());
        self.vmstat.count(VmEvent::Pgfree, u64::from(order.pages()));
        self.free_pcp_excess(zone_id, order, list);
    }

    /// Gives blocks back when this CPU's lists hold too many, after one of `order` came to a list.
    #[inline(never)]
    pub(crate) fn free_pcp_excess(&mut self, zone_id: ZoneId, order: Order, list: usize) {
        let zone = &mut self.zones[zone_id.index()];
        let pcp = &mut zone.pageset[self.cpu.index()];
        let free_high = order > Order::ZERO && order <= Order::COSTLY && pcp.free_factor > 0;
        let limit = if free_high { 0 } else { pcp.full };
        if pcp.count >= limit {
            let count = pcp.nr_free(limit, free_high);
            self.free_pcppages_bulk(zone_id, self.cpu, count, list);
        }
    }

    /// Gives pages of a CPU's lists back, starting with a list and going round (`free_pcppages_bulk`).
    #[inline(never)]
    pub(crate) fn free_pcppages_bulk(&mut self, zone_id: ZoneId, cpu: Cpu, count: u64, first: usize) {
        let Machine { zones, mem_map, pageblocks, vmstat, .. } = self;
        let zone = &mut zones[zone_id.index()];
        let mut left = count.min(zone.pageset[cpu.index()].count) as i64;
        let mut list = first;
        while left > 0 {
            // `left` never exceeds the count, so one of the lists has a block.
            while zone.pageset[cpu.index()].lists[list].is_empty() {
                list = (list + 1) % NR_PCP_LISTS;
            }
            let order = order_of(list, pageblocks.order());
            let mut waiting = zone.pageset[cpu.index()].lists[list].take();
            let mut given = 0;
            while left > 0 && given < waiting.len() {
                let most = left.div_euclid(i64::from(order.pages())).max(1) as usize;
                let run = Run::first_of(mem_map, pageblocks.order(), &waiting[given..], order, most);
                given += run.blocks as usize;
                left -= i64::from(run.blocks * order.pages());
                let migratetype = match pageblocks.get(run.first) {
                    // The block may have been isolated while the page waited here.
                    MigrateType::Isolate => MigrateType::Isolate,
                    _ => run.migratetype,
                };
                let merged = zone.free_run(mem_map, pageblocks, run.first, run.blocks, order, migratetype);
                vmstat.count(VmEvent::BuddyMerge, merged);
            }
            waiting.drain(..given);
            let pcp = &mut zone.pageset[cpu.index()];
            pcp.count -= given as u64 * u64::from(order.pages());
            pcp.lists[list].rest = waiting;
            list = (list + 1) % NR_PCP_LISTS;
        }
    }

    /// Gives every page of a zone's per-CPU lists back; `None` drains all zones (`drain_all_pages`).
    pub fn drain_all_pages(&mut self, zone: Option<ZoneId>) -> u64 {
        let mut drained = 0;
        for i in 0..self.zones.len() {
            let id = ZoneId(i as u16);
            if zone.is_some_and(|only| only != id) {
                continue;
            }
            for cpu in 0..self.zones[i].pageset.len() {
                let count = self.zones[i].pageset[cpu].count;
                if count > 0 {
                    self.free_pcppages_bulk(id, Cpu(cpu as u16), count, 0);
                    drained += count;
                }
            }
        }
        if drained > 0 && self.trace.hot {
            self.emit(Event::PcpuDrain { pages: drained });
        }
        drained
    }
}

/// Blocks that lie side by side in one pageblock and go back together.
struct Run {
    first: Pfn,
    blocks: u32,
    migratetype: MigrateType,
}

impl Run {
    /// The first of these blocks, and those after it while each lies right behind the one before; they wait no more.
    #[inline(always)]
    fn first_of(map: &mut MemMap, pageblock: Order, waiting: &[Pfn], order: Order, most: usize) -> Run {
        let first = waiting[0];
        let end = (first.0 | (pageblock.pages() - 1)) + 1;
        let page = map.page_mut(first);
        page.set_page_type(None);
        let index = page.index;
        let mut blocks = 1;
        for &pfn in waiting.iter().take(most).skip(1) {
            let behind = pfn == first.up(blocks << order.get()) && pfn.0 < end;
            if !behind {
                break;
            }
            let page = map.page_mut(pfn);
            if page.index != index {
                break;
            }
            page.set_page_type(None);
            blocks += 1;
        }
        Run { first, blocks, migratetype: MigrateType::ALL[index as usize] }
    }
}

impl Zone {
    /// Reclaim begins to work on the zone, or ends (`ZONE_RECLAIM_ACTIVE`).
    pub(crate) fn set_reclaim_active(&mut self, active: bool) {
        self.reclaim_active = active;
        self.pageset.iter_mut().for_each(|pcp| pcp.set_full(active));
    }

    /// Frees blocks that lie side by side, lowest first; answers how many merges that took.
    ///
    /// Freed one by one they would merge among themselves first, since none of them was free: so the largest aligned
    /// blocks of the run are freed at once.
    #[inline(always)]
    fn free_run(
        &mut self,
        map: &mut MemMap,
        pageblocks: &Pageblocks,
        first: Pfn,
        blocks: u32,
        order: Order,
        migratetype: MigrateType,
    ) -> u64 {
        let (mut at, mut left, mut merges) = (first, blocks, 0);
        while left > 0 {
            let aligned = (at.0 >> order.get()).trailing_zeros();
            let doublings = aligned.min(left.ilog2()).min(u32::from(Order::MAX.get() - order.get()));
            let whole = Order::new(order.get() + doublings as u8).unwrap_or(order);
            let (merged, _) = self.free_one_page(map, pageblocks, at, whole, migratetype, FreeTo::Likely);
            merges += merged + (1 << doublings) - 1;
            left -= 1 << doublings;
            at = at.up(whole.pages());
        }
        merges
    }

    /// Gives back what remains of a block of order `from` whose first `taken` pages are used.
    #[inline(always)]
    fn give_rest(&mut self, map: &mut MemMap, first: Pfn, from: Order, taken: u32, migratetype: MigrateType) {
        let mut at = taken;
        while at < from.pages() {
            let order = Order::new(at.trailing_zeros() as u8).unwrap_or_default();
            self.add_block(map, first.up(at), order, migratetype, false);
            at += order.pages();
        }
    }

    /// Pages on the per-CPU lists of the zone (`free_pcp`).
    pub fn pcp_pages(&self) -> u64 {
        self.pageset.iter().map(|p| p.count).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_as_recorded() {
        // managed pages → batch, from captured machines
        for (managed, batch) in [(3840, 1), (48848, 15), (11803, 1), (113_504, 31), (1_347_551, 63)] {
            assert_eq!(batchsize(managed), batch, "{managed}");
        }
    }
}
