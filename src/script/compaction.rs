//! Compaction: used pages move together, so that free ones lie together, too.
//!
//! Kernel: `mm/compaction.c`.

use crate::script::bench::Bench;
use rhai::plugin::*;

/// Compaction: used pages move together, so that free ones lie together, too.
#[export_module]
pub mod functions {
    /// Compacts every zone and answers how many pages moved.
    ///
    /// The same as writing 1 into `/proc/sys/vm/compact_memory`.
    ///
    /// ```vmlab
    /// > boot("x86_64-256M");
    /// > let p = spawn("holes");
    /// > let a = mmap(p, 0, "64M", PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS);
    /// > touch(p, a, "64M");
    /// > for page in 0..8192 { munmap(p, a + page * 8192, 4096); }
    /// > let before = zone("DMA32").free_area[9] + zone("DMA32").free_area[10];
    /// > compact()
    /// 4202
    /// > zone("DMA32").free_area[9] + zone("DMA32").free_area[10] > before
    /// true
    /// ```
    ///
    /// Kernel: `compact_nodes`, `mm/compaction.c`.
    /// Command: `compact`
    pub fn compact(ctx: NativeCallContext) -> i64 {
        Bench::of(&ctx).borrow_mut().machine.compact_memory() as i64
    }
}
