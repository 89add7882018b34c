//! Per-CPU page lists: small blocks kept near a CPU, so that most allocations touch no lock of the zone.
//!
//! ```text
//!   lists[order * 3 + migratetype] for orders 0..=3, and one list more for huge pages
//!   alloc: from the front; empty → refill `batch` blocks from the buddy lists
//!   free:  to the front;   count ≥ high → give the coldest (the tails) back, round robin
//! ```
//!
//! Gorman 6.6 (then: hot and cold lists). Kernel: `mm/page_alloc.c`, `include/linux/mmzone.h`.
//! Fidelity: faithful — list layout, batch and high, bulk sizes, free_factor. Absent — the periodic drain of vmstat_update.

use crate::mm::addr::{Cpu, Order, Pfn, ZoneId};
use crate::mm::config::MigrateType;
use crate::mm::machine::Machine;
use crate::mm::mmzone::Zone;
use crate::mm::page::{List, MemMap, Page, PageFlags, PageType};
use crate::mm::page_alloc::watermark::AllocFlags;
use crate::mm::page_alloc::{AllocContext, FreeTo};
use crate::mm::trace::Event;
use crate::mm::vmstat::VmEvent;

/// Lists of small orders, and one for huge pages (`NR_PCP_LISTS`).
pub const NR_PCP_LISTS: usize = MigrateType::PCPTYPES * (Order::COSTLY.get() as usize + 1) + 1;
const THP_LIST: usize = NR_PCP_LISTS - 1;

/// One CPU's lists in one zone (`struct per_cpu_pages`).
#[derive(Clone, Debug)]
pub struct PerCpuPages {
    /// Pages on all lists.
    pub count: u64,
    /// From this count on pages go back to the buddy lists.
    pub high: u64,
    /// Blocks moved at once.
    pub batch: u64,
    /// How often in a row frees overflowed: each time more is given back.
    pub free_factor: u32,
    /// The lists: see [`pindex`].
    pub lists: [List; NR_PCP_LISTS],
}

impl Default for PerCpuPages {
    fn default() -> PerCpuPages {
        PerCpuPages { count: 0, high: 0, batch: 1, free_factor: 0, lists: [List::default(); NR_PCP_LISTS] }
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
    /// Takes the first block of a list.
    #[inline(always)]
    pub(crate) fn pop<'a>(
        &mut self,
        map: &'a mut MemMap,
        migratetype: MigrateType,
        order: Order,
    ) -> Option<(Pfn, &'a mut Page)> {
        let block = self.lists[pindex(migratetype, order)].pop_front_mut(map)?;
        self.count -= u64::from(order.pages());
        Some(block)
    }

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

    /// The count from which pages go back (`nr_pcp_high`).
    fn limit(&self, reclaim_active: bool, free_high: bool) -> u64 {
        if self.high == 0 || free_high {
            0
        } else if reclaim_active {
            (self.batch << 2).min(self.high)
        } else {
            self.high
        }
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
        let block = self.zones[zone].pageset[cpu].pop(&mut self.mem_map, ac.migratetype, ac.order)?;
        Some(block.0)
    }

    /// Moves a batch of blocks from the buddy lists to this CPU's list (`rmqueue_bulk`).
    #[inline(never)]
    fn refill(&mut self, ac: &AllocContext, zone_id: ZoneId, flags: AllocFlags) {
        let (cpu, list) = (self.cpu.index(), pindex(ac.migratetype, ac.order));
        let batch = self.zones[zone_id.index()].pageset[cpu].batch;
        // Larger blocks come in smaller numbers, but never singly.
        let blocks = if batch > 1 { (batch >> ac.order.get()).max(2) } else { batch };
        let mut moved = 0;
        for _ in 0..blocks {
            let Some(pfn) = self.rmqueue_list(zone_id, ac.order, ac.migratetype, flags) else { break };
            let page = self.mem_map.page_mut(pfn);
            page.set_page_type(Some(PageType::Pcp));
            page.private = u32::from(ac.order.get());
            page.index = ac.migratetype as u32;
            let pcp = &mut self.zones[zone_id.index()].pageset[cpu];
            // At the tail: refilled blocks are used in the order in which they came.
            page.prev = pcp.lists[list].tail;
            pcp.lists[list].link_back(&mut self.mem_map, pfn);
            pcp.count += u64::from(ac.order.pages());
            moved += 1;
        }
        self.last_alloc.refilled(moved);
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
        page.set_page_type(Some(PageType::Pcp));
        page.private = u32::from(order.get());
        page.index = real as u32;
        page.next = pcp.lists[list].head;
        pcp.lists[list].link_front(&mut self.mem_map, pfn);
        pcp.count += u64::from(order.pages());
        self.vmstat.count(VmEvent::Pgfree, u64::from(order.pages()));
        let free_high = order > Order::ZERO && order <= Order::COSTLY && pcp.free_factor > 0;
        let limit = pcp.limit(zone.reclaim_active, free_high);
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
            while left > 0 {
                let pcp = &mut zone.pageset[cpu.index()];
                let Some((tail, page)) = pcp.lists[list].pop_back_mut(mem_map) else { break };
                pcp.count -= u64::from(order.pages());
                left -= i64::from(order.pages());
                let migratetype = match pageblocks.get(tail) {
                    // The block may have been isolated while the page waited here.
                    MigrateType::Isolate => MigrateType::Isolate,
                    _ => MigrateType::ALL[page.index as usize],
                };
                page.set_page_type(None);
                let (merged, _) =
                    zone.free_one_page(mem_map, pageblocks, tail, order, migratetype, FreeTo::Likely);
                vmstat.count(VmEvent::BuddyMerge, merged);
            }
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

impl Zone {
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
