//! Events of compaction: who asked, where the scanners stood, what they took, passed over and moved.
//!
//! Kernel: `include/trace/events/compaction.h`.
//! Fidelity: faithful — names and fields of the tracepoints of 6.1. Ours — `mm_compaction_passed`, and what stands after
//! the kernel's fields: the type of the pageblock, why frames were not taken, where pages went, the score.

use crate::mm::addr::{Nid, Order};
use crate::mm::compaction::Priority;
use crate::mm::config::{MigrateType, ZoneType};
use crate::mm::gfp::Gfp;
use std::fmt;

/// Where a run stands: its zone and both scanners.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CompactionPlace {
    /// The node.
    pub nid: Nid,
    /// The zone.
    pub zone: ZoneType,
    /// First frame of the zone.
    pub start: u32,
    /// The migrate scanner.
    pub migrate_pfn: u32,
    /// The free scanner.
    pub free_pfn: u32,
    /// One past the last frame of the zone.
    pub end: u32,
    /// The run may wait for pages.
    pub sync: bool,
}

/// What a scanner saw in a pageblock.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Scanned {
    /// The first frame looked at.
    pub start: u32,
    /// One past the last.
    pub end: u32,
    /// The pageblock's type.
    pub block: MigrateType,
    /// Frames looked at; a free block counts once.
    pub scanned: u32,
    /// Pages isolated.
    pub taken: u32,
    /// Frames that are free (migrate scanner).
    pub free: u32,
    /// Pages of the kernel, which have no owner that could be told (migrate scanner).
    pub fixed: u32,
    /// Pages of tasks and files that cannot move now (migrate scanner).
    pub busy: u32,
}

/// Why a pageblock was not looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Passed {
    /// It is not the zone's, or there is no memory.
    Hole,
    /// Nothing was found there lately.
    SkipBit,
    /// An asynchronous run looks at pageblocks of its kind only; no page is moved into others.
    OtherType(MigrateType),
    /// It is one free block: there is nothing to gain.
    AllFree,
}

impl fmt::Display for Passed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Passed::Hole => write!(f, "no memory of this zone"),
            Passed::SkipBit => write!(f, "skip bit: nothing was found there lately"),
            Passed::OtherType(mt) => write!(f, "pageblocks of type {}", mt.name()),
            Passed::AllFree => write!(f, "all of it is free"),
        }
    }
}

/// A step of deferral.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DeferStep {
    /// A request was turned away.
    Deferred,
    /// A failure: more requests will be turned away.
    Defer,
    /// A success: the next request is let through.
    Reset,
}

/// Something compaction did.
#[derive(Clone, PartialEq, Debug)]
#[allow(missing_docs)]
pub enum CompactionEvent {
    TryToCompactPages {
        order: Order,
        gfp: Gfp,
        priority: Priority,
    },
    Begin {
        place: CompactionPlace,
        order: Option<Order>,
    },
    End {
        place: CompactionPlace,
        moved: u64,
        failed: u64,
        status: &'static str,
    },
    IsolateMigratepages(Scanned),
    IsolateFreepages(Scanned),
    Passed {
        start: u32,
        end: u32,
        why: Passed,
    },
    Migratepages {
        moved: u64,
        failed: u64,
        targets: Option<(u32, u32)>,
    },
    Defer {
        step: DeferStep,
        nid: Nid,
        zone: ZoneType,
        order: Order,
        failed: Order,
        considered: u32,
        limit: u32,
    },
    WakeupKcompactd {
        nid: Nid,
        order: Order,
        highest: ZoneType,
    },
    KcompactdWake {
        nid: Nid,
        order: Option<Order>,
        highest: ZoneType,
        score: u64,
        starts_at: u64,
    },
    KcompactdSleep {
        nid: Nid,
        moved: u64,
        before: u64,
        score: u64,
        next_look: u64,
    },
}

impl CompactionEvent {
    /// The tracepoint's name.
    pub fn name(&self) -> &'static str {
        match self {
            CompactionEvent::TryToCompactPages { .. } => "mm_compaction_try_to_compact_pages",
            CompactionEvent::Begin { .. } => "mm_compaction_begin",
            CompactionEvent::End { .. } => "mm_compaction_end",
            CompactionEvent::IsolateMigratepages(_) => "mm_compaction_isolate_migratepages",
            CompactionEvent::IsolateFreepages(_) => "mm_compaction_isolate_freepages",
            CompactionEvent::Passed { .. } => "mm_compaction_passed",
            CompactionEvent::Migratepages { .. } => "mm_compaction_migratepages",
            CompactionEvent::Defer { step: DeferStep::Deferred, .. } => "mm_compaction_deferred",
            CompactionEvent::Defer { step: DeferStep::Defer, .. } => "mm_compaction_defer_compaction",
            CompactionEvent::Defer { step: DeferStep::Reset, .. } => "mm_compaction_defer_reset",
            CompactionEvent::WakeupKcompactd { .. } => "mm_compaction_wakeup_kcompactd",
            CompactionEvent::KcompactdWake { .. } => "mm_compaction_kcompactd_wake",
            CompactionEvent::KcompactdSleep { .. } => "mm_compaction_kcompactd_sleep",
        }
    }

    /// One sentence for a newcomer.
    pub fn explain(&self) -> String {
        match self {
            CompactionEvent::TryToCompactPages { order, gfp, priority } => {
                format!("A request of order {order} ({gfp}) began to compact, {}.", tried(*priority))
            }
            CompactionEvent::Begin { place, order: Some(order) } => format!(
                "Compaction of zone {} of node {} began, for a block of order {order}.",
                place.zone, place.nid
            ),
            CompactionEvent::Begin { place, order: None } => {
                format!("Compaction of the whole zone {} of node {} began.", place.zone, place.nid)
            }
            CompactionEvent::End { place, moved, status, .. } => format!(
                "Compaction of zone {} of node {} moved {moved} pages: {status}.",
                place.zone, place.nid
            ),
            CompactionEvent::IsolateMigratepages(seen) => format!(
                "The migrate scanner looked at frames {:#x} to {:#x} ({}) and isolated {} pages; {} frames were free, {} hold kernel memory, {} pages were busy.",
                seen.start,
                seen.end - 1,
                seen.block.name(),
                seen.taken,
                seen.free,
                seen.fixed,
                seen.busy
            ),
            CompactionEvent::IsolateFreepages(seen) => format!(
                "The free scanner looked at frames {:#x} to {:#x} ({}) and isolated {} free pages.",
                seen.start,
                seen.end.max(seen.start + 1) - 1,
                seen.block.name(),
                seen.taken
            ),
            CompactionEvent::Passed { start, end, why } => {
                format!("A scanner passed over frames {start:#x} to {:#x}: {why}.", end - 1)
            }
            CompactionEvent::Migratepages { moved, failed, targets: Some((low, high)) } => format!(
                "{moved} pages were moved to frames {low:#x} to {high:#x}, {failed} could not be moved."
            ),
            CompactionEvent::Migratepages { failed, .. } => {
                format!("None of {failed} isolated pages could be moved.")
            }
            CompactionEvent::Defer { step, nid, zone, order, considered, limit, .. } => match step {
                DeferStep::Deferred => format!(
                    "Compaction of zone {zone} of node {nid} for order {order} was put off: it failed lately; request {considered} of {limit}."
                ),
                DeferStep::Defer => format!(
                    "Compaction of zone {zone} of node {nid} failed at order {order}: {} will be turned away.",
                    match limit - 1 {
                        1 => "one request".to_string(),
                        n => format!("{n} requests"),
                    }
                ),
                DeferStep::Reset => {
                    format!(
                        "Compaction of zone {zone} of node {nid} helped at order {order}: it is tried again."
                    )
                }
            },
            CompactionEvent::WakeupKcompactd { nid, order, highest } => {
                format!("kcompactd{nid} was asked for a block of order {order} in zones up to {highest}.")
            }
            CompactionEvent::KcompactdWake { nid, order: Some(order), highest, .. } => {
                format!("kcompactd{nid} began to make a block of order {order} in zones up to {highest}.")
            }
            CompactionEvent::KcompactdWake { nid, order: None, score, starts_at, .. } => format!(
                "kcompactd{nid} began by itself: {score} % of the node's free memory is useless for huge pages, more than {starts_at} %."
            ),
            CompactionEvent::KcompactdSleep { nid, moved, before, score, .. } => format!(
                "kcompactd{nid} went back to sleep: it moved {moved} pages, the score went from {before} to {score}."
            ),
        }
    }
}

/// How hard a direct compaction tries, in words.
fn tried(priority: Priority) -> &'static str {
    match priority {
        Priority::Async => "lightly: pageblocks of its kind only, without waiting",
        Priority::SyncLight => "in earnest: waiting for pages, but not for writing",
        Priority::SyncFull => "with all its might: the whole zone, every pageblock",
    }
}

/// The fields as the tracepoint prints them; ours stand behind.
impl fmt::Display for CompactionEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CompactionEvent::TryToCompactPages { order, gfp, priority } => {
                write!(f, "order={order} gfp_mask={gfp} priority={}", priority.name())
            }
            CompactionEvent::Begin { place, order } => {
                let order = order.map_or(-1, |o| i64::from(o.get()));
                write!(f, "{place} node={} zone={} order={order}", place.nid, place.zone)
            }
            CompactionEvent::End { place, moved, failed, status } => write!(
                f,
                "{place} status={status} node={} zone={} nr_migrated={moved} nr_failed={failed}",
                place.nid, place.zone
            ),
            CompactionEvent::IsolateMigratepages(seen) => write!(
                f,
                "{seen} type={} free={} fixed={} busy={}",
                seen.block.name(),
                seen.free,
                seen.fixed,
                seen.busy
            ),
            CompactionEvent::IsolateFreepages(seen) => write!(f, "{seen} type={}", seen.block.name()),
            CompactionEvent::Passed { start, end, why } => {
                write!(f, "range=({start:#x} ~ {end:#x}) why={why}")
            }
            CompactionEvent::Migratepages { moved, failed, targets } => {
                write!(f, "nr_migrated={moved} nr_failed={failed}")?;
                targets.map_or(Ok(()), |(low, high)| write!(f, " to=({low:#x} ~ {:#x})", high + 1))
            }
            CompactionEvent::Defer { nid, zone, order, failed, considered, limit, .. } => write!(
                f,
                "node={nid} zone={:<8} order={order} order_failed={failed} consider={considered} limit={limit}",
                zone.name()
            ),
            CompactionEvent::WakeupKcompactd { nid, order, highest } => {
                write!(f, "nid={nid} order={order} classzone_idx={:<8}", highest.name())
            }
            CompactionEvent::KcompactdWake { nid, order, highest, score, starts_at } => write!(
                f,
                "nid={nid} order={} classzone_idx={:<8} score={score} starts_at={starts_at}",
                order.map_or(-1, |o| i64::from(o.get())),
                highest.name()
            ),
            CompactionEvent::KcompactdSleep { nid, moved, before, score, next_look } => write!(
                f,
                "nid={nid} nr_migrated={moved} score={before}->{score} next_look={}.{:03}",
                next_look / 1_000_000_000,
                next_look / 1_000_000 % 1000
            ),
        }
    }
}

impl fmt::Display for CompactionPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let CompactionPlace { start, migrate_pfn, free_pfn, end, sync, .. } = self;
        let mode = if *sync { "sync" } else { "async" };
        write!(
            f,
            "zone_start={start:#x} migrate_pfn={migrate_pfn:#x} free_pfn={free_pfn:#x} zone_end={end:#x}, mode={mode}"
        )
    }
}

impl fmt::Display for Scanned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Scanned { start, end, scanned, taken, .. } = self;
        write!(f, "range=({start:#x} ~ {end:#x}) nr_scanned={scanned} nr_taken={taken}")
    }
}
