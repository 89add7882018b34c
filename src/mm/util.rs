//! Sums over the whole machine that /proc/meminfo shows.
//!
//! Gorman 13.1 (vm_enough_memory). Kernel: `mm/util.c`, `mm/page_alloc.c`, `mm/vmstat.c`.
//! Fidelity: faithful — the formulas.

use crate::mm::config::ZoneType;
use crate::mm::errno::Errno;
use crate::mm::machine::Machine;
use crate::mm::mmzone::{Wmark, Zone};
use crate::mm::refused::Refused;
use crate::mm::vmstat::NodeStat;

impl Machine {
    /// Pages that could be had without swapping (`si_mem_available`).
    pub fn si_mem_available(&self) -> u64 {
        let low: i64 = self.zones.iter().map(|z| z.wmark(Wmark::Low) as i64).sum();
        let free = self.nr_free_pages() as i64 - self.totalreserve_pages as i64;
        let cache = (self.node_stat(NodeStat::ActiveFile) + self.node_stat(NodeStat::InactiveFile)) as i64;
        let reclaimable = (self.node_stat(NodeStat::SlabReclaimable)
            + self.node_stat(NodeStat::KernelMiscReclaimable)) as i64;
        // At least half of the cache, or down to the low watermarks, has to stay.
        let available = free + cache - (cache / 2).min(low) + reclaimable - (reclaimable / 2).min(low);
        available.max(0) as u64
    }

    /// May so many pages be promised? (`__vm_enough_memory`)
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(crate) fn vm_enough_memory(&mut self, pages: u64) -> Result<(), Errno> {
        match self.sysctl.overcommit_memory {
            1 => Ok(()),
            0 => {
                // The heuristic refuses only what could never be: more than RAM and swap together.
                let most = self.totalram_pages() + self.swap_pages().0;
                if pages <= most {
                    return Ok(());
                }
                let promised = self.committed_as;
                Err(self.refuse(Refused::Promise { mode: 0, promised, asked: pages, most }))
            }
            mode => {
                let mut allowed = self.vm_commit_limit(self.swap_pages().0);
                if !self.capable(self.current.pid) {
                    allowed = allowed.saturating_sub(self.sysctl.admin_reserve_kbytes >> 2);
                }
                if self.current.pid != crate::mm::machine::SCRIPT_PID {
                    let mm = self.tasks.get(&self.current.pid).and_then(|t| t.mm);
                    let total = mm.map_or(0, |mm| self.mms[mm].total_vm);
                    allowed = allowed.saturating_sub((total / 32).min(self.sysctl.user_reserve_kbytes >> 2));
                }
                let promised = self.committed_as;
                if promised + pages < allowed {
                    return Ok(());
                }
                Err(self.refuse(Refused::Promise { mode, promised, asked: pages, most: allowed }))
            }
        }
    }

    /// Pages that may be committed in mode 2 (`vm_commit_limit`).
    pub fn vm_commit_limit(&self, swap_pages: u64) -> u64 {
        let allowed = if self.sysctl.overcommit_kbytes > 0 {
            self.sysctl.overcommit_kbytes / 4
        } else {
            self.totalram_pages() * self.sysctl.overcommit_ratio / 100
        };
        allowed + swap_pages
    }

    /// From how many differences on a CPU's counters are folded (`calculate_normal_threshold`).
    pub fn stat_threshold(&self, zone: &Zone) -> u64 {
        let fls = |n: u64| u64::from(u64::BITS - n.leading_zeros());
        // In units of 128 MiB.
        let memory = zone.managed_pages >> 15;
        (2 * fls(self.config.nr_cpus() as u64) * (1 + fls(memory))).min(125)
    }

    /// Pages of HighMem, and how many of them are free.
    pub fn high_pages(&self) -> (u64, u64) {
        let high = self.zones.iter().filter(|z| z.kind == ZoneType::HighMem);
        high.fold((0, 0), |sum, z| (sum.0 + z.managed_pages, sum.1 + z.free_pages()))
    }
}
