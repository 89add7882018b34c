//! Shrinkers: caches that give objects back when memory is short.
//!
//! ```text
//!   freeable   what the cache could give                    count_objects
//!   delta      freeable >> priority, times 4 / seeks        how much of it now
//!   + deferred what could not be done last time
//!   batches    of 128, or what the shrinker wants           scan_objects
//!   deferred   what is left of it, for the next time
//! ```
//!
//! Gorman 10.5. Kernel: `mm/vmscan.c` (`do_shrink_slab`, `shrink_slab`, `drop_slab`), `fs/super.c`.
//! Fidelity: faithful — the arithmetic, batches, deferring, `vfs_cache_pressure`, shares of dentries and inodes.
//! Simplified — one disk, so one shrinker. Absent — cgroups, shrinkers of drivers.

use super::DEF_PRIORITY;
use crate::mm::gfp::Gfp;
use crate::mm::machine::Machine;
use crate::mm::trace::Event;
use crate::mm::vmstat::{NodeStat, VmEvent};

/// Objects that are looked at together, unless the shrinker says otherwise (`SHRINK_BATCH`).
pub const SHRINK_BATCH: u64 = 128;
/// What it costs to make an object again (`DEFAULT_SEEKS`).
pub const DEFAULT_SEEKS: u64 = 2;

/// A cache that can be shrunk (`struct shrinker`).
#[derive(Clone, Debug)]
pub struct Shrinker {
    /// Its name in debugfs.
    pub name: &'static str,
    /// Disk seeks to make an object again.
    pub seeks: u64,
    /// Objects that are looked at together.
    pub batch: u64,
    /// What was put off, by node.
    pub nr_deferred: Vec<u64>,
}

/// What one run of a shrinker was to do and did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ShrinkWork {
    /// Objects that could go.
    pub freeable: u64,
    /// Put off before.
    pub deferred: u64,
    /// Of the freeable ones, for this priority.
    pub delta: u64,
    /// To be looked at now.
    pub total_scan: u64,
}

impl ShrinkWork {
    /// The arithmetic of `do_shrink_slab`.
    pub fn new(freeable: u64, deferred: u64, priority: u8, seeks: u64) -> ShrinkWork {
        // An object that costs no seek goes by halves.
        let delta = ((freeable >> priority) * 4).checked_div(seeks).unwrap_or(freeable / 2);
        let total_scan = ((deferred >> priority) + delta).min(2 * freeable);
        ShrinkWork { freeable, deferred, delta, total_scan }
    }

    /// What is put off when so many were looked at.
    pub fn left(&self, scanned: u64) -> u64 {
        (self.deferred + self.delta).saturating_sub(scanned).min(2 * self.freeable)
    }
}

/// The shrinker of the disk: its batch is larger than usual. A tmpfs has nothing unused.
pub(crate) fn super_block(nodes: usize) -> Shrinker {
    Shrinker { name: "sb-ext4:vda1", seeks: DEFAULT_SEEKS, batch: 1024, nr_deferred: vec![0; nodes] }
}

impl Machine {
    /// Runs every shrinker on a node; objects freed (`shrink_slab`).
    pub(crate) fn shrink_slab(&mut self, gfp: Gfp, node: usize, priority: u8) -> u64 {
        (0..self.shrinkers.len()).map(|n| self.do_shrink_slab(n, gfp, node, priority)).sum()
    }

    /// One shrinker on one node (`do_shrink_slab`).
    fn do_shrink_slab(&mut self, n: usize, gfp: Gfp, node: usize, priority: u8) -> u64 {
        let freeable = self.super_cache_count(node);
        if freeable == 0 {
            return 0;
        }
        let shrinker = &mut self.shrinkers[n];
        let deferred = std::mem::take(&mut shrinker.nr_deferred[node]);
        let (name, batch) = (shrinker.name, shrinker.batch);
        let work = ShrinkWork::new(freeable, deferred, priority, shrinker.seeks);
        let (mut left, mut scanned, mut freed) = (work.total_scan, 0, 0);
        while left >= batch || left >= freeable {
            let nr_to_scan = batch.min(left);
            if nr_to_scan == 0 {
                break;
            }
            let Some(got) = self.super_cache_scan(gfp, node, nr_to_scan) else { break };
            freed += got;
            self.vmstat.count(VmEvent::SlabsScanned, nr_to_scan);
            left -= nr_to_scan;
            scanned += nr_to_scan;
        }
        self.charge(scanned * self.config.costs.scan_page);
        self.shrinkers[n].nr_deferred[node] += work.left(scanned);
        let nid = self.nodes[node].nid;
        self.emit(Event::ShrinkSlab { name, nid, priority, work, scanned, freed });
        freed
    }

    /// What the file system could give back on a node (`super_cache_count`).
    pub fn super_cache_count(&self, node: usize) -> u64 {
        let unused = self.dcache.unused(node) + self.dcache.inodes.unused(node);
        (u128::from(unused) * u128::from(self.sysctl.vfs_cache_pressure) / 100).try_into().unwrap_or(u64::MAX)
    }

    /// Gives objects back, dentries and inodes by their shares (`super_cache_scan`); `None` when it may not be entered.
    fn super_cache_scan(&mut self, gfp: Gfp, node: usize, nr_to_scan: u64) -> Option<u64> {
        if !gfp.has(Gfp::FS) {
            return None;
        }
        let (dentries, inodes) = (self.dcache.unused(node), self.dcache.inodes.unused(node));
        let total = dentries + inodes + 1;
        // A dentry holds its inode: dentries go first.
        let freed = self.prune_dcache(node, nr_to_scan * dentries / total + 1);
        Some(freed + self.prune_icache(node, nr_to_scan * inodes / total + 1))
    }

    /// Shrinkers as part of a pass over a node: slab pages that came free count as reclaimed.
    pub(super) fn shrink_slab_of_pass(&mut self, node: usize, gfp: Gfp, priority: u8) -> u64 {
        let pages =
            |m: &Machine| m.node_stat(NodeStat::SlabReclaimable) + m.node_stat(NodeStat::SlabUnreclaimable);
        let before = pages(self);
        self.shrink_slab(gfp, node, priority);
        before.saturating_sub(pages(self))
    }

    /// Gives back what files keep in memory (1), what shrinkers have (2), or both (3) (`drop_caches_sysctl_handler`).
    ///
    /// Pages that are dirty or mapped stay, as do objects in use.
    pub fn drop_caches(&mut self, what: u32) {
        if what & 1 != 0 {
            let files: Vec<_> = self.files.iter().map(|(id, _)| id).collect();
            for file in files {
                self.invalidate_mapping_pages(file, 0, u32::MAX);
            }
            self.vmstat.count(VmEvent::DropPagecache, 1);
        }
        if what & 2 != 0 {
            self.drop_slab();
        }
        let comm = self.current.comm;
        let (pid, what) = (self.current.pid, what & 3);
        self.printk(format!("{comm} ({pid}): drop_caches: {what}"));
    }

    /// Shrinks as long as it is worth it (`drop_slab`): `echo 2 > /proc/sys/vm/drop_caches`.
    pub fn drop_slab(&mut self) {
        self.vmstat.count(VmEvent::DropSlab, 1);
        // Each round must free twice as much as the last to be followed by another.
        for shift in 0..u64::from(DEF_PRIORITY) {
            let freed: u64 = (0..self.nodes.len()).map(|node| self.shrink_slab(Gfp::KERNEL, node, 0)).sum();
            if freed >> shift <= 1 {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_grows_as_the_priority_falls() {
        let work = |priority| ShrinkWork::new(8192, 0, priority, DEFAULT_SEEKS);
        assert_eq!([12, 6, 0].map(|priority| work(priority).total_scan), [4, 256, 16384]);
        // Less than a batch is put off, and done when enough has come together.
        assert_eq!(work(12).left(0), 4);
        assert_eq!(ShrinkWork::new(8192, 6000, 3, DEFAULT_SEEKS).total_scan, 750 + 2048);
        assert_eq!(ShrinkWork::new(100, 9000, 0, DEFAULT_SEEKS).total_scan, 200);
    }
}
