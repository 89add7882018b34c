//! One stream of events: what the memory manager did, with the numbers that decided.
//!
//! Kernel: `kernel/trace/ring_buffer.c`.
//! Fidelity: ours — one ring for all CPUs; the tracepoints are in event.rs.
//!
//! Counters are always on (`vmstat`). *Decisions* are always recorded. *Hot* events — every page allocated, freed,
//! faulted — are recorded only while `trace` is on, in a ring that forgets the oldest.

mod compaction;
mod event;
pub mod explain;
mod fault;
mod record;
mod slab;

pub use compaction::{CompactionEvent, CompactionPlace, DeferStep, Passed, Scanned};
pub use event::{Blocker, Event, times};
pub use fault::{FaultKind, FaultRecord};
pub(crate) use record::Brief;
pub use record::{AllocRecord, Path, SlowStep, Unsuitable, Verdict, ZoneTry};
pub use slab::SlabEvent;

use crate::mm::machine::Comm;
use std::collections::VecDeque;

/// How many events the ring keeps.
const RING: usize = 1 << 16;

/// Every group of tracepoints.
pub const GROUPS: [&str; 11] = [
    "compaction",
    "exceptions",
    "kmem",
    "oom",
    "page_isolation",
    "page_poison",
    "sched",
    "sysctl",
    "task",
    "tlb",
    "vmscan",
];

/// An event, and when and by whom.
#[derive(Clone, PartialEq, Debug)]
pub struct Stamped {
    /// Virtual time in nanoseconds.
    pub at: u64,
    /// The simulated CPU.
    pub cpu: u16,
    /// The task.
    pub pid: u32,
    /// Its name.
    pub comm: Comm,
    /// In an interrupt handler, which borrowed the CPU from the task.
    pub irq: bool,
    /// What happened.
    pub event: Event,
}

/// The stream of events.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// Hot events are recorded as well.
    pub(in crate::mm) hot: bool,
    /// Steps of compaction are recorded as well.
    pub steps: bool,
    ring: VecDeque<Stamped>,
    /// Events that the ring has forgotten.
    pub dropped: u64,
    /// Events recorded since boot, forgotten ones included.
    pub total: u64,
}

impl Trace {
    /// Is every pageblock that compaction looks at to be recorded?
    pub fn wants_steps(&self) -> bool {
        self.hot || self.steps
    }

    /// Records an event; the oldest one makes room.
    pub fn push(&mut self, event: Stamped) {
        if self.ring.len() == RING {
            self.ring.pop_front();
            self.dropped += 1;
        }
        self.ring.push_back(event);
        self.total += 1;
    }

    /// The events kept, oldest first.
    pub fn events(&self) -> impl DoubleEndedIterator<Item = &Stamped> {
        self.ring.iter()
    }

    /// Forgets every event; `total` goes on counting.
    pub fn clear(&mut self) {
        self.dropped += self.ring.len() as u64;
        self.ring.clear();
    }
}
