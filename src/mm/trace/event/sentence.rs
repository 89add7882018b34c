//! Events in words: one sentence for a newcomer.
//!
//! Fidelity: ours.

use super::{Blocker, Event, exit_text, times};
use crate::mm::errno::Errno;
use std::ops::Range;

impl Event {
    /// One sentence for a newcomer.
    pub fn explain(&self) -> String {
        match self {
            Event::PageAlloc { pfn, order, gfp, .. } => {
                format!("{} page(s) from pfn {pfn} on were allocated with {gfp}.", order.pages())
            }
            Event::PageAllocFailed { order, gfp, nr_free } => format!(
                "A request for {} page(s) together ({gfp}) failed while {nr_free} pages were free.",
                order.pages()
            ),
            Event::PageFree { pfn, order } => {
                format!("{} page(s) from pfn {pfn} on were freed.", order.pages())
            }
            Event::BuddySplit { pfn, from, to } => {
                format!(
                    "The block of order {from} at pfn {pfn} was halved {} to get one of order {to}.",
                    times(from.get() - to.get())
                )
            }
            Event::BuddyMerge { pfn, from, to } => {
                format!("The block of order {from} at pfn {pfn} found its buddy free and grew to order {to}.")
            }
            Event::PcpuDrain { pages } => {
                format!("{pages} pages went from the per-CPU lists back to the buddy lists.")
            }
            Event::Extfrag {
                pfn, alloc_order, fallback_order, alloc, fallback, change_ownership, ..
            } => {
                format!(
                    "A request of order {alloc_order} for {} memory found none and took a block of order {fallback_order} at pfn {pfn} from {}; the pageblock {}.",
                    alloc.name(),
                    fallback.name(),
                    if *change_ownership { "changed its type" } else { "kept its type" }
                )
            }
            Event::SetupWmarks { min_free_kbytes, lowmem } => {
                format!(
                    "Watermarks were computed from min_free_kbytes {min_free_kbytes} over {lowmem} pages of low memory."
                )
            }
            Event::Sysctl { name, old, new } => format!("{name} was changed from {old} to {new}."),
            Event::PageFault { addr, access, kind } => format!("A {access:?} of {addr} faulted: {kind}."),
            Event::Compaction(event) => event.explain(),
            Event::Slab(event) => event.explain(),
            Event::TestPagesIsolated { start, end, fin } if fin < end => format!(
                "Frames {start:#x} to {:#x} should have been free by then, but {fin:#x} was not.",
                end - 1
            ),
            Event::TestPagesIsolated { start, end, .. } => {
                format!("Frames {start:#x} to {:#x} are all free and isolated.", end - 1)
            }
            Event::AllocContigRange { range, migrated, reclaimed, result, blocker, .. } => {
                let moved = format!("{migrated} pages were moved away and {reclaimed} dropped");
                contig_range(range, &moved, *result, blocker.as_ref())
            }
            Event::PoisonOverwritten { pfn, offset, len } => format!(
                "Frame {pfn} was written after it was freed: {len} byte{} at {offset:#x} no longer held the pattern 0xaa.",
                if *len == 1 { "" } else { "s" }
            ),
            Event::KswapdWake { nid, .. } => format!("kswapd{nid} began to reclaim."),
            Event::KswapdSleep { nid, hopeless: true, .. } => {
                format!(
                    "kswapd{nid} gave up: 16 runs freed nothing; from now on callers must reclaim themselves."
                )
            }
            Event::KswapdSleep { nid, reclaimed, .. } => {
                format!("kswapd{nid} went back to sleep: a zone is above high, {reclaimed} pages were freed.")
            }
            Event::DirectReclaimBegin { order, gfp } => {
                format!(
                    "A request of order {order} ({gfp}) found every zone below min and began to reclaim itself."
                )
            }
            Event::DirectReclaimEnd { nr_scanned, nr_reclaimed, priority } => {
                format!(
                    "It looked at {nr_scanned} pages down to priority {priority} and freed {nr_reclaimed}."
                )
            }
            Event::ShrinkSlab { name, nid, priority, work, scanned, freed } => format!(
                "{name} had {} objects on node {nid} that could go, and {} put off before; at priority {priority} that makes {} to look at: {scanned} were, {freed} freed, {} put off.",
                work.freeable,
                work.deferred,
                work.total_scan,
                work.left(*scanned)
            ),
            Event::LruShrinkInactive { nid, scanned, reclaimed, priority, file } => format!(
                "{scanned} inactive {} pages of node {nid} were looked at (priority {priority}), {reclaimed} freed.",
                if *file { "file" } else { "anonymous" }
            ),
            Event::LruIsolate { order, taken, contig_taken, contig_failed, .. } => format!(
                "Lumpy reclaim for order {order} took {taken} pages, {contig_taken} of them because they lie beside a victim; {contig_failed} blocks hold a page that cannot go."
            ),
            Event::MarkVictim { pid, comm, score, freed } => {
                format!(
                    "The OOM killer killed task {pid} ({comm}), whose score {score} was the largest; {freed} pages came back."
                )
            }
            Event::TlbFlush { pages: None, reason } => {
                format!("Everything an address space has in the TLB was flushed: {reason}.")
            }
            Event::TlbFlush { pages: Some(0), reason } => {
                format!("The TLB kept what it has of the next address space: {reason}.")
            }
            Event::TlbFlush { pages: Some(pages), reason } => {
                format!("{pages} page(s) were flushed from the TLB: {reason}.")
            }
            Event::TaskNewtask { pid, comm, parent } => {
                format!("Task {pid} ({comm}) was started by task {parent}.")
            }
            Event::ProcessExit { pid, comm, how } => {
                format!("Task {pid} ({comm}) ended: {}.", exit_text(*how))
            }
            Event::WakeupKswapd { nid, zone, free, low, .. } => {
                format!("kswapd{nid} was woken: zone {zone} had {free} pages free, low is {low}.")
            }
        }
    }
}

/// What became of a range that was asked for as a whole.
fn contig_range(
    range: &Range<u32>,
    moved: &str,
    result: Result<(), Errno>,
    blocker: Option<&Blocker>,
) -> String {
    let asked = format!("Frames {:#x} to {:#x} were asked for", range.start, range.end - 1);
    match (result, blocker) {
        (Ok(()), _) => format!("{asked} and given: {moved} for it."),
        (Err(errno), Some(page)) => {
            format!("{asked}: {}. Frame {} decided, {}; {moved}.", errno.name(), page.pfn, page.why)
        }
        (Err(errno), None) => {
            format!("{asked}: {}. There was no room for its pages elsewhere; {moved}.", errno.name())
        }
    }
}
