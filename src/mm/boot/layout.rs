//! Where the spec's free blocks and owned pages lie: largest blocks highest, no two free buddies apart.
//!
//! A spec says *how many* blocks of each order and type are free, not where. The layout is ours, and always the same:
//!
//! ```text
//!   zone  reserved │ unmovable … reclaimable … movable pageblocks │ blocks of order 9 │ blocks of order 10
//!         low pfns                                                                          high pfns
//! ```
//!
//! Fidelity: imported — counts by order and type, pageblock types, per-CPU counts, owners. Ours — the places.

use super::pageblocks::Pool;
use super::slabs::SlabShare;
use super::used::{UsedPages, aligned_chunks, managed_ranges};
use crate::mm::addr::{Cpu, Order, Pfn, ZoneId};
use crate::mm::config::{FreeBlocks, LruPages, MigrateType, ZoneConfig};
use crate::mm::machine::Machine;
use crate::mm::page::{PageFlags, PageType};
use crate::mm::page_alloc::pcp::pindex;
use crate::mm::vmstat::{NodeStat, ZoneStat};
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

    /// Places all blocks that are left, large ones first, each in a pageblock of its type when there is room.
    ///
    /// Those that find none lie among other types, as a block that was taken from another type's pageblock does.
    fn cut_small_blocks(
        &mut self,
        id: ZoneId,
        want: &[FreeBlocks; MigrateType::COUNT],
        pools: &mut [Pool; MigrateType::COUNT],
    ) {
        let mut strangers = Vec::new();
        for (order, mt) in Order::all().rev().flat_map(|order| MigrateType::ALL.map(|mt| (order, mt))) {
            for _ in 0..want[mt.index()].blocks[order.index()] {
                match pools[mt.index()].cut(order) {
                    Some(pfn) => self.place_free(id, Pfn(pfn), order, mt, false),
                    None => strangers.push((order, mt)),
                }
            }
        }
        for (order, mt) in strangers {
            match pools.iter_mut().find_map(|pool| pool.cut(order)) {
                Some(pfn) => self.place_free(id, Pfn(pfn), order, mt, false),
                // No room for it whole: its pages lie apart.
                None => self.place_pieces(id, order, mt, pools),
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

    pub(super) fn place_free(
        &mut self,
        id: ZoneId,
        pfn: Pfn,
        order: Order,
        mt: MigrateType,
        own_blocks: bool,
    ) {
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
            let mut lru = config.lru;
            self.fill_lru(id, &mut lru, &mut used);
            self.config.nodes[node].zones[zone].lru = lru;
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

    fn fill_lru(&mut self, id: ZoneId, lru: &mut LruPages, used: &mut UsedPages) {
        let base = PageFlags::LRU | PageFlags::UPTODATE;
        let lists = [
            (&mut lru.inactive_anon, base | PageFlags::SWAPBACKED),
            (&mut lru.active_anon, base | PageFlags::SWAPBACKED | PageFlags::ACTIVE),
            (&mut lru.inactive_file, base),
            (&mut lru.active_file, base | PageFlags::ACTIVE),
            (&mut lru.unevictable, base | PageFlags::UNEVICTABLE),
        ];
        for (pages, flags) in lists {
            let frames = used.take(*pages);
            // A report that is cut can name more pages than its zone has.
            *pages = frames.len() as u64;
            for pfn in frames {
                self.hold(pfn).set(flags);
                self.lru_link(pfn, false);
            }
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
