//! Compaction.
//!
//! Kernel: `mm/compaction.c`.
//! Fidelity: absent — nothing is compacted yet, and the allocation's record says so.

use crate::mm::machine::Machine;
use crate::mm::page_alloc::AllocContext;
use crate::mm::page_alloc::slowpath::CompactResult;
use crate::mm::page_alloc::watermark::AllocFlags;

impl Machine {
    /// Compacts for the caller (`try_to_compact_pages`).
    pub(crate) fn try_to_compact_pages(
        &mut self,
        _ac: &AllocContext,
        _flags: AllocFlags,
        _asynchronous: bool,
    ) -> CompactResult {
        CompactResult::Skipped
    }

    /// Could compaction make the block at all? (`compaction_zonelist_suitable`)
    pub(crate) fn compaction_zonelist_suitable(&self, _ac: &AllocContext) -> bool {
        false
    }
}
