//! Counters of the ways through SLUB (`CONFIG_SLUB_STATS`): always on here.
//!
//! Kernel: `enum stat_item` in `include/linux/slub_def.h`.
//! Fidelity: faithful — names and moments. Simplified — counted
//! for a cache, not for each of its CPUs.

macro_rules! stats {
    ($($name:ident $text:literal, $doc:literal;)*) => {
        /// A way through SLUB that is counted.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Stat {
            $(#[doc = $doc] $name,)*
        }

        impl Stat {
            /// Every counter in the kernel's order.
            pub const ALL: &[Stat] = &[$(Stat::$name,)*];

            /// The file under `/sys/kernel/slab/CACHE`: `alloc_fastpath`.
            pub fn name(self) -> &'static str {
                match self { $(Stat::$name => $text,)* }
            }

            /// What it counts.
            pub fn doc(self) -> &'static str {
                match self { $(Stat::$name => $doc,)* }
            }
        }
    };
}

stats! {
    AllocFastpath "alloc_fastpath", "Allocations from the CPU's free list.";
    AllocSlowpath "alloc_slowpath", "Allocations that had to find a slab.";
    FreeFastpath "free_fastpath", "Frees to the CPU's free list.";
    FreeSlowpath "free_slowpath", "Frees to another slab.";
    FreeFrozen "free_frozen", "Frees to a slab that belongs to a CPU.";
    FreeAddPartial "free_add_partial", "Frees that put a slab on the node's partial list.";
    FreeRemovePartial "free_remove_partial", "Frees that took an empty slab off the node's partial list.";
    AllocFromPartial "alloc_from_partial", "Slabs taken from the node's partial list.";
    AllocSlab "alloc_slab", "New slabs.";
    AllocRefill "alloc_refill", "Free lists taken over from the CPU's slab.";
    AllocNodeMismatch "alloc_node_mismatch", "Slabs given up because they are of another node.";
    FreeSlab "free_slab", "Slabs given back.";
    CpuslabFlush "cpuslab_flush", "Slabs taken from a CPU.";
    DeactivateFull "deactivate_full", "Slabs that were full when their CPU gave them up.";
    DeactivateEmpty "deactivate_empty", "Slabs that were empty then.";
    DeactivateToHead "deactivate_to_head", "Slabs that went to the front of the partial list then.";
    DeactivateToTail "deactivate_to_tail", "Slabs that went to its end.";
    DeactivateRemoteFrees "deactivate_remote_frees", "Slabs with objects that other CPUs had freed.";
    DeactivateBypass "deactivate_bypass", "Slabs that were given up full, without a list.";
    OrderFallback "order_fallback", "Slabs of a lower order, for want of a large block.";
    CpuPartialAlloc "cpu_partial_alloc", "Slabs taken from the CPU's partial list.";
    CpuPartialFree "cpu_partial_free", "Full slabs that a free put on the CPU's partial list.";
    CpuPartialNode "cpu_partial_node", "Slabs that came to the CPU's partial list from the node's.";
    CpuPartialDrain "cpu_partial_drain", "Times the CPU's partial list went to the node.";
}

/// Every counter of a cache.
#[derive(Clone, Debug)]
pub struct Stats([u64; Stat::ALL.len()]);

impl Default for Stats {
    fn default() -> Stats {
        Stats([0; Stat::ALL.len()])
    }
}

impl Stats {
    /// How often.
    pub fn get(&self, item: Stat) -> u64 {
        self.0[item as usize]
    }

    #[inline]
    pub(crate) fn count(&mut self, item: Stat) {
        self.0[item as usize] += 1;
    }
}
