//! Events as the tracepoints print them.
//!
//! Kernel: `TP_printk` of `include/trace/events/{kmem,vmscan,oom,compaction,migrate}.h`.
//! Fidelity: faithful — names and order of the fields of 6.1.

use super::{Event, exit_text};
use std::fmt;

/// As the tracepoint prints: `mm_page_alloc: pfn=0x1f3c4 order=2 …`.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.name())?;
        match self {
            Event::PageAlloc { pfn, order, gfp, migratetype } => {
                write!(f, "pfn={pfn} order={order} migratetype={} gfp_flags={gfp}", *migratetype as u8)
            }
            Event::PageAllocFailed { order, gfp, nr_free } => {
                write!(f, "order={order} gfp_flags={gfp} nr_free={nr_free}")
            }
            Event::PageFree { pfn, order } => write!(f, "pfn={pfn} order={order}"),
            Event::BuddySplit { pfn, from, to } | Event::BuddyMerge { pfn, from, to } => {
                write!(f, "pfn={pfn} from={from} to={to}")
            }
            Event::PcpuDrain { pages } => write!(f, "pages={pages}"),
            Event::Extfrag {
                pfn,
                alloc_order,
                fallback_order,
                pageblock_order,
                alloc,
                fallback,
                change_ownership,
            } => write!(
                f,
                "pfn={pfn} alloc_order={alloc_order} fallback_order={fallback_order} pageblock_order={pageblock_order} alloc_migratetype={} fallback_migratetype={} fragmenting={} change_ownership={}",
                *alloc as u8,
                *fallback as u8,
                u8::from(fallback_order < pageblock_order),
                u8::from(*change_ownership)
            ),
            Event::SetupWmarks { min_free_kbytes, lowmem } => {
                write!(f, "min_free_kbytes={min_free_kbytes} lowmem={lowmem}")
            }
            Event::Sysctl { name, old, new } => write!(f, "{name} old={old} new={new}"),
            Event::PageFault { addr, access, kind } => {
                write!(f, "address={addr} access={access:?} -> {kind}")
            }
            Event::Compaction(event) => write!(f, "{event}"),
            Event::Slab(event) => write!(f, "{event}"),
            Event::TestPagesIsolated { start, end, fin } => {
                write!(f, "start_pfn={start:#x} end_pfn={end:#x} fin_pfn={fin:#x} ret=")?;
                f.write_str(if fin < end { "fail" } else { "success" })
            }
            Event::AllocContigRange { range, gfp, migrated, reclaimed, result, blocker } => {
                let errno = result.map_or_else(|e| -e.number(), |()| 0);
                write!(f, "start={:#x} end={:#x} gfp_flags={gfp} errorno={errno}", range.start, range.end)?;
                write!(f, " nr_migrated={migrated} nr_reclaimed={reclaimed}")?;
                blocker.as_ref().map_or(Ok(()), |page| write!(f, " busy={page}"))
            }
            Event::PoisonOverwritten { pfn, offset, len } => {
                write!(f, "pfn={pfn} offset={offset:#x} len={len}")
            }
            Event::KswapdWake { nid, order } => write!(f, "nid={nid} order={order}"),
            Event::KswapdSleep { nid, reclaimed, hopeless } => {
                write!(f, "nid={nid} reclaimed={reclaimed} hopeless={}", u8::from(*hopeless))
            }
            Event::DirectReclaimBegin { order, gfp } => write!(f, "order={order} gfp_flags={gfp}"),
            Event::DirectReclaimEnd { nr_scanned, nr_reclaimed, priority } => {
                write!(f, "nr_reclaimed={nr_reclaimed} nr_scanned={nr_scanned} priority={priority}")
            }
            Event::ShrinkSlab { name, nid, priority, work, scanned, freed } => write!(
                f,
                "{name}: nid={nid} objects to shrink {} cache items {} delta {} total_scan {} priority {priority} scanned {scanned} last shrinker return val {freed} new scan count {}",
                work.deferred,
                work.freeable,
                work.delta,
                work.total_scan,
                work.left(*scanned)
            ),
            Event::LruShrinkInactive { nid, scanned, reclaimed, priority, file } => write!(
                f,
                "nid={nid} nr_scanned={scanned} nr_reclaimed={reclaimed} priority={priority} flags={}",
                if *file { "RECLAIM_WB_FILE" } else { "RECLAIM_WB_ANON" }
            ),
            Event::LruIsolate {
                order,
                requested,
                scanned,
                taken,
                contig_taken,
                contig_dirty,
                contig_failed,
            } => write!(
                f,
                "isolate_mode=2 order={order} nr_requested={requested} nr_scanned={scanned} nr_taken={taken} contig_taken={contig_taken} contig_dirty={contig_dirty} contig_failed={contig_failed}"
            ),
            Event::MarkVictim { pid, comm, score, freed } => {
                write!(f, "pid={pid} comm={comm} score={score} freed={freed}")
            }
            Event::TlbFlush { pages, reason } => {
                let pages = pages.map_or(-1, |pages| pages as i64);
                write!(f, "pages:{pages} reason:{reason}")
            }
            Event::TaskNewtask { pid, comm, parent } => write!(f, "pid={pid} comm={comm} parent={parent}"),
            Event::ProcessExit { pid, comm, how } => write!(f, "comm={comm} pid={pid} {}", exit_text(*how)),
            Event::WakeupKswapd { nid, zone, order, gfp, free, low } => {
                write!(f, "nid={nid} order={order} gfp_flags={gfp} zone={zone} free={free} low={low}")
            }
        }
    }
}
