//! The memory report of the kernel log: `Mem-Info:` and what follows.
//!
//! Gorman 13. Kernel: `mm/page_alloc.c` (`__show_free_areas`), `lib/show_mem.c`.
//! Fidelity: faithful — lines and fields of 6.1, one line a `printk`.

use crate::mm::addr::Order;
use crate::mm::config::{Arch, MigrateType, ZoneType};
use crate::mm::machine::Machine;
use crate::mm::mmzone::{Node, Wmark, Zone};
use crate::mm::vmscan::MAX_KSWAPD_FAILURES;
use crate::mm::vmstat::{NodeStat, ZoneStat};

impl Machine {
    /// The report, line by line; zones above `highest` do not matter to who asked (`__show_mem`).
    pub fn show_mem(&self, highest: ZoneType) -> Vec<String> {
        let mut lines = vec!["Mem-Info:".to_string()];
        self.show_totals(&mut lines);
        let has_managed = |node: &&Node| {
            let zones = node.zones.iter().map(|z| &self.zones[z.index()]);
            zones.into_iter().any(|z| z.kind <= highest && z.managed_pages > 0)
        };
        for node in self.nodes.iter().filter(has_managed) {
            lines.push(self.show_node_line(node));
        }
        let zones = || self.zones.iter().filter(|z| z.is_populated() && z.kind <= highest);
        for zone in zones() {
            lines.push(self.show_zone_line(zone));
            let kinds = self.config.arch.zone_types();
            let reserves: Vec<String> =
                kinds.iter().map(|k| zone.lowmem_reserve[*k as usize].to_string()).collect();
            lines.push(format!("lowmem_reserve[]: {}", reserves.join(" ")));
        }
        for zone in zones() {
            lines.push(self.show_buddy_line(zone));
        }
        self.show_trailer(&mut lines);
        lines
    }

    /// The report that a key press asks for: all of it (`sysrq_handle_showmem`).
    pub fn sysrq_show_memory(&mut self) -> Vec<String> {
        let mut lines = vec!["sysrq: Show Memory".to_string()];
        lines.extend(self.show_mem(ZoneType::Device));
        for line in &lines {
            self.printk(line.clone());
        }
        lines
    }

    fn show_totals(&self, lines: &mut Vec<String>) {
        use NodeStat::*;
        let n = |item| self.node_stat(item);
        lines.push(format!(
            "active_anon:{} inactive_anon:{} isolated_anon:{}",
            n(ActiveAnon),
            n(InactiveAnon),
            n(IsolatedAnon)
        ));
        lines.push(format!(
            " active_file:{} inactive_file:{} isolated_file:{}",
            n(ActiveFile),
            n(InactiveFile),
            n(IsolatedFile)
        ));
        lines.push(format!(" unevictable:{} dirty:{} writeback:{}", n(Unevictable), n(Dirty), n(Writeback)));
        lines.push(format!(
            " slab_reclaimable:{} slab_unreclaimable:{}",
            n(SlabReclaimable),
            n(SlabUnreclaimable)
        ));
        lines.push(format!(" mapped:{} shmem:{} pagetables:{}", n(Mapped), n(Shmem), n(PageTablePages)));
        lines.push(format!(
            " sec_pagetables:{} bounce:{}",
            n(SecPageTablePages),
            self.zone_stat(ZoneStat::Bounce)
        ));
        lines.push(format!(" kernel_misc_reclaimable:{}", n(KernelMiscReclaimable)));
        let pcp: u64 = self.zones.iter().map(Zone::pcp_pages).sum();
        lines.push(format!(
            " free:{} free_pcp:{pcp} free_cma:{}",
            self.nr_free_pages(),
            self.zone_stat(ZoneStat::FreeCma)
        ));
    }

    fn show_node_line(&self, node: &Node) -> String {
        use crate::mm::huge_memory::HPAGE_PAGES;
        use NodeStat::*;
        let kb = |item| node.stat(item) * 4;
        let thp = match self.config.thp {
            Some(_) => format!(
                "shmem_thp: {}kB shmem_pmdmapped: {}kB anon_thp: {}kB ",
                kb(ShmemHugepages),
                kb(ShmemPmdmapped),
                kb(AnonTransparentHugepages) * HPAGE_PAGES
            ),
            None => String::new(),
        };
        format!(
            "Node {} active_anon:{}kB inactive_anon:{}kB active_file:{}kB inactive_file:{}kB unevictable:{}kB isolated(anon):{}kB isolated(file):{}kB mapped:{}kB dirty:{}kB writeback:{}kB shmem:{}kB {thp}writeback_tmp:{}kB kernel_stack:{}kB pagetables:{}kB sec_pagetables:{}kB all_unreclaimable? {}",
            node.nid,
            kb(ActiveAnon),
            kb(InactiveAnon),
            kb(ActiveFile),
            kb(InactiveFile),
            kb(Unevictable),
            kb(IsolatedAnon),
            kb(IsolatedFile),
            kb(Mapped),
            kb(Dirty),
            kb(Writeback),
            kb(Shmem),
            kb(WritebackTemp),
            node.stat(KernelStackKb),
            kb(PageTablePages),
            kb(SecPageTablePages),
            if node.kswapd.failures >= MAX_KSWAPD_FAILURES { "yes" } else { "no" }
        )
    }

    fn show_zone_line(&self, zone: &Zone) -> String {
        use ZoneStat::*;
        let kb = |item| zone.stat(item) * 4;
        let local = zone.pageset.get(self.cpu.index()).map_or(0, |p| p.count);
        format!(
            "{}{} free:{}kB boost:{}kB min:{}kB low:{}kB high:{}kB reserved_highatomic:{}KB active_anon:{}kB inactive_anon:{}kB active_file:{}kB inactive_file:{}kB unevictable:{}kB writepending:{}kB present:{}kB managed:{}kB mlocked:{}kB bounce:{}kB free_pcp:{}kB local_pcp:{}kB free_cma:{}kB",
            self.node_prefix(zone),
            zone.kind,
            zone.free_pages() * 4,
            zone.watermark_boost * 4,
            zone.wmark(Wmark::Min) * 4,
            zone.wmark(Wmark::Low) * 4,
            zone.wmark(Wmark::High) * 4,
            zone.nr_reserved_highatomic * 4,
            kb(ZoneActiveAnon),
            kb(ZoneInactiveAnon),
            kb(ZoneActiveFile),
            kb(ZoneInactiveFile),
            kb(ZoneUnevictable),
            kb(ZoneWritePending),
            zone.present_pages * 4,
            zone.managed_pages * 4,
            kb(Mlock),
            kb(Bounce),
            zone.pcp_pages() * 4,
            local * 4,
            kb(FreeCma)
        )
    }

    fn show_buddy_line(&self, zone: &Zone) -> String {
        let mut line = format!("{}{}: ", self.node_prefix(zone), zone.kind);
        for order in Order::all() {
            line.push_str(&format!("{}*{}kB ", zone.nr_free(order), 4 << order.get()));
            let types: String = MigrateType::ALL
                .iter()
                .filter(|mt| !zone.free_area_empty(order, **mt))
                .map(|mt| mt.letter())
                .collect();
            if !types.is_empty() {
                line.push_str(&format!("({types}) "));
            }
        }
        format!("{line}= {}kB", zone.free_pages() * 4)
    }

    fn show_trailer(&self, lines: &mut Vec<String>) {
        if !matches!(self.config.arch, Arch::Uml | Arch::Arm) {
            // Nodes without memory are asked as well, and have a number on every kernel.
            for node in &self.nodes {
                for kb in self.hugepage_sizes() {
                    lines.push(format!(
                        "Node {} hugepages_total=0 hugepages_free=0 hugepages_surp=0 hugepages_size={kb}kB",
                        node.nid
                    ));
                }
            }
        }
        lines.push(format!("{} total pagecache pages", self.node_stat(NodeStat::FilePages)));
        lines.push(format!("{} pages in swap cache", self.node_stat(NodeStat::Swapcached)));
        let (total, free) = self.swap_pages();
        lines.push(format!("Free swap  = {}kB", free * 4));
        lines.push(format!("Total swap = {}kB", total * 4));
        let present: u64 = self.zones.iter().map(|z| z.present_pages).sum();
        let high = |z: &&Zone| z.kind == ZoneType::Movable || self.is_highmem(z);
        let highmem: u64 = self.zones.iter().filter(high).map(|z| z.present_pages).sum();
        lines.push(format!("{present} pages RAM"));
        lines.push(format!("{highmem} pages HighMem/MovableOnly"));
        lines.push(format!("{} pages reserved", present - self.totalram_pages()));
        if self.config.cma {
            lines.push(format!("{} pages cma reserved", self.zones.iter().map(|z| z.cma_pages).sum::<u64>()));
        }
        if self.config.arch.has_memory_failure() {
            lines.push("0 pages hwpoisoned".to_string());
        }
    }

    /// Sizes of persistent huge pages that a kernel with hugetlb knows, in kB.
    fn hugepage_sizes(&self) -> &'static [u64] {
        match self.config.arch {
            Arch::Arm64 => &[1_048_576, 32768, 2048, 64],
            Arch::I386 => &[4096],
            _ => &[2048],
        }
    }

    /// `Node 0 ` on kernels built for NUMA.
    fn node_prefix(&self, zone: &Zone) -> String {
        if self.config.arch.has_numa() { format!("Node {} ", zone.node) } else { String::new() }
    }
}
