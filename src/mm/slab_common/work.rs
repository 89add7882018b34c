//! What an allocator did, so that three of them can be compared.
//!
//! Fidelity: ours — the kernel has no such number. Each kind of step has a price in nanoseconds of virtual time, near
//! what it costs on hardware: one cache line or a few, a lock, the page allocator.

use super::Allocator;
use crate::mm::machine::Machine;
use crate::mm::slub::Stat;
use crate::mm::vmstat::NodeStat;

/// From a CPU's own list or queue, or to it.
const HIT: u64 = 10;
/// Beyond that: a lock, lists of a node.
const MISS: u64 = 60;
/// An object moved between queue and slab, a free block or a page looked at.
const STEP: u64 = 5;

/// Steps of all caches since the boot.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct AllocatorWork {
    /// Allocations and frees that needed nothing but the CPU's own list.
    pub hits: u64,
    /// Those that needed more.
    pub misses: u64,
    /// Objects moved in batches (SLAB), pages and free blocks searched (SLOB).
    pub steps: u64,
    /// Blocks taken from the buddy allocator or given back.
    pub blocks: u64,
    /// Pages that slabs hold now.
    pub pages: u64,
}

impl AllocatorWork {
    /// What these steps cost, a block at the price of the page allocator.
    pub fn ns(&self, block: u64) -> u64 {
        self.hits * HIT + self.misses * MISS + self.steps * STEP + self.blocks * block
    }
}

impl Machine {
    /// What the allocator behind the caches has done so far.
    pub fn allocator_work(&self) -> AllocatorWork {
        let pages = self.node_stat(NodeStat::SlabReclaimable) + self.node_stat(NodeStat::SlabUnreclaimable);
        let mut work = AllocatorWork { pages, ..AllocatorWork::default() };
        match self.caches.allocator {
            Allocator::Slub => {
                for (id, _) in self.caches.all.iter() {
                    let sum =
                        |items: &[Stat]| items.iter().map(|item| self.slub_stat(id, *item)).sum::<u64>();
                    work.hits += sum(&[Stat::AllocFastpath, Stat::FreeFastpath]);
                    work.misses += sum(&[Stat::AllocSlowpath, Stat::FreeSlowpath]);
                    work.blocks += sum(&[Stat::AllocSlab, Stat::FreeSlab]);
                }
            }
            Allocator::Slab => {
                for stats in
                    self.caches.order.iter().filter_map(|id| Some(self.caches.slab.cache(*id)?.stats))
                {
                    work.hits += stats.allochit + stats.freehit;
                    work.misses += stats.allocmiss + stats.freemiss;
                    work.steps += stats.moved;
                    work.blocks += stats.grown + stats.reaped;
                }
            }
            Allocator::Slob => {
                let stats = self.caches.slob.stats;
                work.misses = stats.allocs + stats.frees;
                work.steps = stats.pages_searched + stats.blocks_searched;
                work.blocks = stats.grown + stats.shrunk;
            }
        }
        work
    }
}
