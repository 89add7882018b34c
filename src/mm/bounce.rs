//! Bounce buffers: pages of HighMem for a device that cannot reach them.
//!
//! ```text
//!   write   HighMem page ──copy──► bounce page in lowmem ──► device            NR_BOUNCE + 1 until it is done
//!   read    HighMem page ◄──copy── bounce page in lowmem ◄── device
//!                                     └─ of a pool of 64: when memory is short, some are always kept
//! ```
//!
//! Gorman 9.4, 9.5. Kernel: `block/bounce.c`.
//! Fidelity: faithful — which pages are copied, the emergency pool, the counter. Simplified — there is one device, for swap
//! and files alike; the pool is made when the first device needs it, not at boot.

use crate::mm::addr::{Order, Pfn, VirtAddr};
use crate::mm::errno::Errno;
use crate::mm::gfp::Gfp;
use crate::mm::machine::Machine;
use crate::mm::mempool::{MempoolId, Source};
use crate::mm::vmstat::ZoneStat;

/// Pages that are kept for bouncing (`POOL_SIZE`).
pub const POOL_SIZE: u32 = 64;

/// What the device cannot reach, and the pages that help.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bounce {
    /// The device does not reach HighMem (`BLK_BOUNCE_HIGH`).
    pub high: bool,
    /// The emergency pool.
    pool: Option<MempoolId>,
    /// Pages that were copied so far.
    pub bounced: u64,
}

impl Machine {
    /// The device cannot reach HighMem from now on, or it can (`blk_queue_bounce_limit`).
    ///
    /// # Errors
    /// `ENOMEM` when the emergency pool cannot be filled; the device is as it was.
    pub fn blk_queue_bounce_limit(&mut self, high: bool) -> Result<(), Errno> {
        if high && self.bounce.pool.is_none() && self.zones.iter().any(|zone| self.is_highmem(zone)) {
            self.bounce.pool = Some(self.mempool_create(POOL_SIZE, Source::Pages(Order::ZERO))?);
            self.printk(format!("bounce: pool size: {POOL_SIZE} pages"));
        }
        self.bounce.high = high;
        Ok(())
    }

    /// A page that the device can reach in the place of one that it cannot (`__blk_queue_bounce`).
    ///
    /// Waits for the device when all pages of the pool are on their way and memory has none.
    pub(crate) fn bounce_page(&mut self, pfn: Pfn) -> Option<VirtAddr> {
        let pool = self.bounce.pool.filter(|_| self.bounce.high && self.is_highmem_page(pfn))?;
        while self.mempools[pool].curr_nr() == 0 && self.wait_for_bounce() {}
        let page = self.mempool_alloc(pool, Gfp::NOIO).ok()?.ok()?;
        self.bounce.bounced += 1;
        self.count_bounce(page, 1);
        self.charge(self.config.costs.copy_page);
        Some(page)
    }

    /// The device is done with a bounce page (`bounce_end_io`).
    pub(crate) fn bounce_end_io(&mut self, page: VirtAddr) {
        self.count_bounce(page, -1);
        if let Some(pool) = self.bounce.pool {
            let freed = self.mempool_free(page, pool);
            debug_assert!(freed.is_ok(), "{freed:?}");
        }
    }

    fn count_bounce(&mut self, page: VirtAddr, pages: i64) {
        if let Some(zone) = self.virt_to_pfn(page).map(|pfn| self.mem_map.page(pfn).zone()) {
            self.zones[zone.index()].mod_stat(ZoneStat::Bounce, pages);
        }
    }
}
