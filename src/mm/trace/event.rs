//! What the memory manager did: one kind for each tracepoint, with the numbers that decided.
//!
//! Kernel: `include/trace/events/{kmem,vmscan,oom,compaction,migrate}.h`.
//! Fidelity: faithful — names and fields of the tracepoints of 6.1. Simplified — `mm_buddy_split` and
//! `mm_buddy_merge` are ours: the kernel does not trace them.

use super::{CompactionEvent, FaultKind, SlabEvent};
use crate::mm::addr::{Nid, Order, Pfn, VirtAddr};
use crate::mm::config::{MigrateType, ZoneType};
use crate::mm::errno::Errno;
use crate::mm::gfp::Gfp;
use crate::mm::machine::Comm;
use crate::mm::memory::Access;
use crate::mm::page::PageFlags;
use crate::mm::task::{Exit, Pid};
use crate::mm::tlb::FlushReason;
use crate::mm::vmscan::shrink_slab::ShrinkWork;
use std::fmt;
use std::ops::Range;

/// The page that kept a range from being taken, and what kept it.
#[derive(Clone, PartialEq, Debug)]
pub struct Blocker {
    /// Its frame.
    pub pfn: Pfn,
    /// Who holds it.
    pub refcount: u32,
    /// How many entries map it.
    pub mapcount: u32,
    /// Its flags.
    pub flags: PageFlags,
    /// The reason, in words.
    pub why: &'static str,
}

impl fmt::Display for Blocker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Blocker { pfn, refcount, mapcount, flags, .. } = self;
        write!(f, "{pfn} refcount={refcount} mapcount={mapcount} flags=({flags})")
    }
}

/// Something the memory manager did.
#[derive(Clone, PartialEq, Debug)]
#[allow(missing_docs)]
pub enum Event {
    PageAlloc {
        pfn: Pfn,
        order: Order,
        gfp: Gfp,
        migratetype: MigrateType,
    },
    PageAllocFailed {
        order: Order,
        gfp: Gfp,
        nr_free: u64,
    },
    PageFree {
        pfn: Pfn,
        order: Order,
    },
    BuddySplit {
        pfn: Pfn,
        from: Order,
        to: Order,
    },
    BuddyMerge {
        pfn: Pfn,
        from: Order,
        to: Order,
    },
    PcpuDrain {
        pages: u64,
    },
    Extfrag {
        pfn: Pfn,
        alloc_order: Order,
        fallback_order: Order,
        pageblock_order: Order,
        alloc: MigrateType,
        fallback: MigrateType,
        change_ownership: bool,
    },
    SetupWmarks {
        min_free_kbytes: u64,
        lowmem: u64,
    },
    Sysctl {
        name: String,
        old: String,
        new: String,
    },
    PageFault {
        addr: VirtAddr,
        access: Access,
        kind: FaultKind,
    },
    Compaction(CompactionEvent),
    TestPagesIsolated {
        start: u32,
        end: u32,
        fin: u32,
    },
    AllocContigRange {
        range: Range<u32>,
        gfp: Gfp,
        migrated: u64,
        reclaimed: u64,
        result: Result<(), Errno>,
        blocker: Option<Blocker>,
    },
    PoisonOverwritten {
        pfn: Pfn,
        offset: u32,
        len: u32,
    },
    KswapdWake {
        nid: Nid,
        order: Order,
    },
    KswapdSleep {
        nid: Nid,
        reclaimed: u64,
        hopeless: bool,
    },
    DirectReclaimBegin {
        order: Order,
        gfp: Gfp,
    },
    DirectReclaimEnd {
        nr_scanned: u64,
        nr_reclaimed: u64,
        priority: u8,
    },
    ShrinkSlab {
        name: &'static str,
        nid: Nid,
        priority: u8,
        work: ShrinkWork,
        scanned: u64,
        freed: u64,
    },
    LruShrinkInactive {
        nid: Nid,
        scanned: u64,
        reclaimed: u64,
        priority: u8,
        file: bool,
    },
    LruIsolate {
        order: Order,
        requested: u64,
        scanned: u64,
        taken: u64,
        contig_taken: u64,
        contig_dirty: u64,
        contig_failed: u64,
    },
    Slab(SlabEvent),
    MarkVictim {
        pid: Pid,
        comm: Comm,
        score: i64,
        freed: u64,
    },
    TlbFlush {
        pages: Option<u64>,
        reason: FlushReason,
    },
    TaskNewtask {
        pid: Pid,
        comm: Comm,
        parent: Pid,
    },
    ProcessExit {
        pid: Pid,
        comm: Comm,
        how: Exit,
    },
    WakeupKswapd {
        nid: Nid,
        zone: ZoneType,
        order: Order,
        gfp: Gfp,
        free: u64,
        low: u64,
    },
}

/// `once`, `3 times`.
pub fn times(n: u8) -> String {
    if n == 1 { "once".into() } else { format!("{n} times") }
}

impl Event {
    /// The tracepoint's group: `kmem`, `vmscan`, `oom`, …
    pub fn group(&self) -> &'static str {
        match self {
            Event::PageAlloc { .. }
            | Event::PageAllocFailed { .. }
            | Event::PageFree { .. }
            | Event::BuddySplit { .. }
            | Event::BuddyMerge { .. }
            | Event::PcpuDrain { .. }
            | Event::Extfrag { .. }
            | Event::SetupWmarks { .. }
            | Event::Slab(_) => "kmem",
            Event::WakeupKswapd { .. }
            | Event::KswapdWake { .. }
            | Event::KswapdSleep { .. }
            | Event::DirectReclaimBegin { .. }
            | Event::DirectReclaimEnd { .. }
            | Event::LruIsolate { .. }
            | Event::ShrinkSlab { .. }
            | Event::LruShrinkInactive { .. } => "vmscan",
            Event::Compaction(_) => "compaction",
            Event::TestPagesIsolated { .. } | Event::AllocContigRange { .. } => "page_isolation",
            Event::PoisonOverwritten { .. } => "page_poison",
            Event::PageFault { .. } => "exceptions",
            Event::MarkVictim { .. } => "oom",
            Event::TlbFlush { .. } => "tlb",
            Event::TaskNewtask { .. } => "task",
            Event::ProcessExit { .. } => "sched",
            Event::Sysctl { .. } => "sysctl",
        }
    }

    /// The tracepoint's name.
    pub fn name(&self) -> &'static str {
        match self {
            Event::PageAlloc { .. } => "mm_page_alloc",
            Event::PageAllocFailed { .. } => "mm_page_alloc_failed",
            Event::PageFree { .. } => "mm_page_free",
            Event::BuddySplit { .. } => "mm_buddy_split",
            Event::BuddyMerge { .. } => "mm_buddy_merge",
            Event::PcpuDrain { .. } => "mm_page_pcpu_drain",
            Event::Extfrag { .. } => "mm_page_alloc_extfrag",
            Event::SetupWmarks { .. } => "mm_setup_per_zone_wmarks",
            Event::Sysctl { .. } => "sysctl_write",
            Event::WakeupKswapd { .. } => "mm_vmscan_wakeup_kswapd",
            Event::PageFault { .. } => "page_fault_user",
            Event::Compaction(event) => event.name(),
            Event::Slab(event) => event.name(),
            Event::TestPagesIsolated { .. } => "test_pages_isolated",
            Event::AllocContigRange { .. } => "alloc_contig_range",
            Event::PoisonOverwritten { .. } => "page_poison_overwritten",
            Event::KswapdWake { .. } => "mm_vmscan_kswapd_wake",
            Event::KswapdSleep { .. } => "mm_vmscan_kswapd_sleep",
            Event::DirectReclaimBegin { .. } => "mm_vmscan_direct_reclaim_begin",
            Event::DirectReclaimEnd { .. } => "mm_vmscan_direct_reclaim_end",
            Event::ShrinkSlab { .. } => "mm_shrink_slab_end",
            Event::LruShrinkInactive { .. } => "mm_vmscan_lru_shrink_inactive",
            Event::LruIsolate { .. } => "mm_vmscan_lru_isolate",
            Event::MarkVictim { .. } => "mark_victim",
            Event::TlbFlush { .. } => "tlb_flush",
            Event::TaskNewtask { .. } => "task_newtask",
            Event::ProcessExit { .. } => "sched_process_exit",
        }
    }

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
                let asked = format!("Frames {:#x} to {:#x} were asked for", range.start, range.end - 1);
                match (result, blocker) {
                    (Ok(()), _) => format!("{asked} and given: {moved} for it."),
                    (Err(errno), Some(page)) => format!(
                        "{asked}: {}. Frame {} decided, {}; {moved}.",
                        errno.name(),
                        page.pfn,
                        page.why
                    ),
                    (Err(errno), None) => {
                        format!(
                            "{asked}: {}. There was no room for its pages elsewhere; {moved}.",
                            errno.name()
                        )
                    }
                }
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

fn exit_text(how: Exit) -> String {
    match how {
        Exit::Status(status) => format!("exit status {status}"),
        Exit::Signal(signal) => signal.to_string(),
    }
}
