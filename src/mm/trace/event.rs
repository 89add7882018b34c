//! What the memory manager did: one kind for each tracepoint, with the numbers that decided.
//!
//! Kernel: `include/trace/events/{kmem,vmscan,oom,compaction,migrate}.h`.
//! Fidelity: faithful — names and fields of the tracepoints of 6.1. Simplified — `mm_buddy_split` and
//! `mm_buddy_merge` are ours: the kernel does not trace them.

mod line;
mod sentence;

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
}

fn exit_text(how: Exit) -> String {
    match how {
        Exit::Status(status) => format!("exit status {status}"),
        Exit::Signal(signal) => signal.to_string(),
    }
}
