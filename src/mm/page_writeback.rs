//! How much may be dirty: the lines at which writeback starts and writers are throttled.
//!
//! Gorman 10.2 (then: bdflush). Kernel: `mm/page-writeback.c`.
//! Fidelity: faithful — the global limits. Absent — limits of devices and cgroups.

use crate::mm::config::ZoneType;
use crate::mm::machine::Machine;
use crate::mm::vmstat::{NodeStat, ZoneStat};

impl Machine {
    /// Pages that could be dirty at all (`global_dirtyable_memory`).
    pub fn global_dirtyable_memory(&self) -> u64 {
        let free = self.nr_free_pages();
        let file = self.node_stat(NodeStat::InactiveFile) + self.node_stat(NodeStat::ActiveFile);
        let mut pages = free - free.min(self.totalreserve_pages) + file;
        // High memory is not counted: writing it takes low memory.
        for zone in self.zones.iter().filter(|z| z.kind == ZoneType::HighMem) {
            let high = zone.free_pages().saturating_sub(zone.watermark.high)
                + zone.stat(ZoneStat::ZoneInactiveFile)
                + zone.stat(ZoneStat::ZoneActiveFile);
            pages = pages.saturating_sub(high);
        }
        pages + 1
    }

    /// The pages at which background writeback starts, and at which writers are throttled (`global_dirty_limits`).
    pub fn global_dirty_limits(&self) -> (u64, u64) {
        const PAGE: u64 = crate::mm::addr::PAGE_SIZE;
        let available = self.global_dirtyable_memory();
        let of = |bytes: u64, ratio: u64| {
            if bytes > 0 { bytes.div_ceil(PAGE) } else { available * (ratio * PAGE / 100) / PAGE }
        };
        let thresh = of(self.sysctl.dirty_bytes, self.sysctl.dirty_ratio);
        let background = of(self.sysctl.dirty_background_bytes, self.sysctl.dirty_background_ratio);
        (if background >= thresh { thresh / 2 } else { background }, thresh)
    }
}
