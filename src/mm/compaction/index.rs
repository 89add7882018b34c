//! How scattered free memory is: indices that decide between reclaim and compaction, and the score kcompactd watches.
//!
//! ```text
//!   fragmentation index   would a block of this order fail for lack of memory (0) or for fragmentation (1000)?
//!   unusable index        which share of free memory is in blocks too small for this order, of 1000
//!   fragmentation score   the same share for huge pages, in percent; of a node, zones weighted by their size
//! ```
//!
//! Gorman wrote the first two (2.6.33). Kernel: `mm/vmstat.c`, `mm/compaction.c`.
//! Fidelity: faithful.

use crate::mm::addr::Order;
use crate::mm::machine::Machine;
use crate::mm::mmzone::Zone;

/// The order whose blocks the score asks for: a huge page (`COMPACTION_HPAGE_ORDER`).
pub const COMPACTION_HPAGE_ORDER: Order = Order::PAGEBLOCK;

/// What the free lists of a zone say about an order (`struct contig_page_info`).
struct ContigPageInfo {
    free_pages: u64,
    free_blocks_total: u64,
    free_blocks_suitable: u64,
}

/// Counts free pages, blocks, and how many blocks of this order could be cut out of them (`fill_contig_page_info`).
fn contig_page_info(zone: &Zone, order: Order) -> ContigPageInfo {
    let mut info = ContigPageInfo { free_pages: 0, free_blocks_total: 0, free_blocks_suitable: 0 };
    for o in Order::all() {
        let blocks = zone.nr_free(o);
        info.free_blocks_total += blocks;
        info.free_pages += blocks << o.get();
        if o >= order {
            info.free_blocks_suitable += blocks << (o.get() - order.get());
        }
    }
    info
}

/// 0…1000: would a block of this order fail for lack of memory (0) or for fragmentation (1000)? −1000: it would succeed.
pub fn fragmentation_index(zone: &Zone, order: Order) -> i64 {
    let info = contig_page_info(zone, order);
    if info.free_blocks_total == 0 {
        return 0;
    }
    if info.free_blocks_suitable > 0 {
        return -1000;
    }
    let wanted = u64::from(order.pages());
    1000 - ((1000 + info.free_pages * 1000 / wanted) / info.free_blocks_total) as i64
}

/// How much of the free memory is useless for this order, of 1000 (`unusable_free_index`).
pub fn unusable_index(zone: &Zone, order: Order) -> u64 {
    let info = contig_page_info(zone, order);
    let useless = info.free_pages - (info.free_blocks_suitable << order.get());
    (useless * 1000).checked_div(info.free_pages).unwrap_or(1000)
}

/// The same in percent; 0 without free memory (`extfrag_for_order`).
pub fn extfrag_for_order(zone: &Zone, order: Order) -> u64 {
    let info = contig_page_info(zone, order);
    let useless = info.free_pages - (info.free_blocks_suitable << order.get());
    (useless * 100).checked_div(info.free_pages).unwrap_or(0)
}

/// A zone's score: percent of its free memory that no huge page can be made of (`fragmentation_score_zone`).
pub fn fragmentation_score_zone(zone: &Zone) -> u64 {
    extfrag_for_order(zone, COMPACTION_HPAGE_ORDER)
}

impl Machine {
    /// A node's score: its zones' scores, weighted by their size (`fragmentation_score_node`).
    pub fn fragmentation_score_node(&self, node: usize) -> u64 {
        let zones = || self.nodes[node].zones.iter().map(|z| &self.zones[z.index()]);
        let present: u64 = zones().map(|z| z.present_pages).sum();
        let weighted = |z: &Zone| z.present_pages * fragmentation_score_zone(z) / (present + 1);
        zones().filter(|z| z.is_populated()).map(weighted).sum()
    }

    /// The score from which proactive compaction starts, or at which it stops (`fragmentation_score_wmark`).
    pub fn fragmentation_score_wmark(&self, low: bool) -> u64 {
        let stops = (100 - self.sysctl.compaction_proactiveness).max(5);
        if low { stops } else { (stops + 10).min(100) }
    }
}
