//! Page-frame reclaim.
//!
//! Gorman chapter 10. Kernel: `mm/vmscan.c`.
//! Fidelity: absent — reclaim frees nothing yet, and says so in the allocation's record.

use crate::mm::addr::{Order, ZoneId};
use crate::mm::config::ZoneType;
use crate::mm::gfp::Gfp;
use crate::mm::machine::Machine;
use crate::mm::page_alloc::AllocContext;
use crate::mm::trace::SlowStep;
use crate::mm::vmstat::ZoneEvent;

impl Machine {
    /// Reclaims on behalf of the caller (`try_to_free_pages`).
    pub(crate) fn try_to_free_pages(&mut self, ac: &AllocContext) -> u64 {
        self.vmstat.count_zone(ZoneEvent::Allocstall, ac.highest, 1);
        self.last_alloc.step(SlowStep::Reclaimed { scanned: 0, reclaimed: 0, priority: 0 });
        0
    }

    /// Pages of a zone that reclaim could free (`zone_reclaimable_pages`).
    pub(crate) fn zone_reclaimable_pages(&self, _zone: ZoneId) -> u64 {
        0
    }

    /// Notes that kswapd is wanted; true when it was asleep.
    pub(crate) fn kswapd_note_wakeup(
        &mut self,
        _zone: ZoneId,
        _gfp: Gfp,
        _order: Order,
        _highest: ZoneType,
    ) -> bool {
        false
    }
}
