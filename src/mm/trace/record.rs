//! The last allocation with its arithmetic: what `explain()` reads.
//!
//! Fidelity: ours. It holds numbers, not references: by the time somebody asks, the machine has moved on.

use crate::mm::addr::{Nid, Order, Pfn, ZoneId};
use crate::mm::compaction::Priority;
use crate::mm::config::{MigrateType, ZoneType};
use crate::mm::gfp::Gfp;
use crate::mm::machine::Machine;
use crate::mm::mmzone::Wmark;
use crate::mm::page_alloc::watermark::AllocFlags;
use crate::mm::page_alloc::{AllocContext, Lane};

/// What the watermark check of a zone said.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Verdict {
    /// The zone may give the pages.
    #[default]
    Allowed,
    /// Too few pages would be left.
    BelowMark,
    /// Pages enough, but no block that is large enough.
    NoBlock,
}

/// How an allocation came by its page, or why it did not.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Path {
    /// Nothing happened yet.
    #[default]
    Begun,
    /// On the first walk of the zonelist.
    Fast,
    /// After the slow path.
    Slow,
    /// No zone could give it.
    Failed,
    /// `fail_nth` asked for a failure here.
    Injected,
    /// Memblock is the only allocator yet.
    Early,
}

/// One zone that was tried, with the numbers of its check.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ZoneTry {
    /// Which zone.
    pub zone: ZoneId,
    /// Its kind.
    pub kind: ZoneType,
    /// Its node.
    pub nid: Nid,
    /// The watermark asked for.
    pub wmark: Wmark,
    /// What the attempt was allowed.
    pub flags: AllocFlags,
    /// Free pages then.
    pub free: u64,
    /// The watermark with boost.
    pub mark: u64,
    /// The boost in it.
    pub boost: u64,
    /// `lowmem_reserve` against this request.
    pub reserve: u64,
    /// What the check said.
    pub verdict: Verdict,
    /// Steps of the slow path that came before it.
    pub after: u8,
}

impl ZoneTry {
    const NONE: ZoneTry = ZoneTry {
        zone: ZoneId(0),
        kind: ZoneType::Normal,
        nid: Nid(0),
        wmark: Wmark::Min,
        flags: AllocFlags(0),
        free: 0,
        mark: 0,
        boost: 0,
        reserve: 0,
        verdict: Verdict::Allowed,
        after: 0,
    };
}

/// Why there is no point in compacting.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unsuitable {
    /// Too few pages are free to move others to.
    TooLittle {
        /// The zone.
        zone: ZoneType,
        /// Free pages.
        free: u64,
        /// What they must exceed.
        needed: u64,
    },
    /// Memory is scarce rather than scattered.
    NotScattered {
        /// The zone.
        zone: ZoneType,
        /// The fragmentation index, of 1000.
        index: i64,
        /// `vm.extfrag_threshold`.
        threshold: i64,
    },
    /// The caller may not start IO.
    NoIo,
    /// The machine reclaims as 2.6 did.
    Lumpy,
}

/// One step of the slow path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SlowStep {
    /// kswapd was woken for these nodes.
    WokeKswapd(Vec<Nid>),
    /// The zonelist was walked again, held to another line.
    Retried(AllocFlags),
    /// The caller may not sleep, so it cannot reclaim.
    CannotReclaim,
    /// The caller is itself freeing memory: it may not reclaim again.
    Recursion,
    /// Compaction was asked for a block; what came of it, and how hard it tried.
    Compacted(&'static str, Priority),
    /// A zone was compacted.
    CompactedZone {
        /// The zone.
        zone: ZoneType,
        /// Pages moved.
        moved: u64,
        /// Frames the migrate scanner looked at.
        migrate_scanned: u64,
        /// Frames the free scanner looked at.
        free_scanned: u64,
        /// How it ended.
        result: &'static str,
    },
    /// A zone was not compacted, and the number that decided.
    NotCompacted(Unsuitable),
    /// The caller reclaimed: pages looked at, pages freed, the last priority.
    Reclaimed {
        /// Pages looked at.
        scanned: u64,
        /// Pages freed.
        reclaimed: u64,
        /// The priority it ended at: 12 is gentle, 0 desperate.
        priority: u8,
    },
    /// The per-CPU lists were drained and the HighAtomic reserve opened.
    Drained(u64),
    /// The request's flags or size end the attempt here.
    GaveUp(&'static str),
    /// `__GFP_NOFAIL`: after this many rounds it goes on, with part of the reserve.
    NoFail(u32),
    /// The OOM killer was asked; the victim's pid, if there is one.
    OomKilled(Option<u32>),
}

/// How many zones a record keeps.
const TRIES: usize = 16;

/// An allocation that had nothing to decide: it took the machine's [`Lane`], whose numbers are not repeated here.
///
/// Nearly all do, so the hot path notes only this; [`Machine::last_alloc`] makes the record of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Brief {
    pub free: u64,
    pub pfn: Pfn,
    pub order: Order,
    /// The order of the free block it came from; none for a page of the per-CPU lists.
    pub from: Option<Order>,
}

/// Everything decided during one allocation.
#[derive(Clone, Debug)]
pub struct AllocRecord {
    /// The mask.
    pub gfp: Gfp,
    /// The order.
    pub order: Order,
    /// The highest zone allowed.
    pub highest: ZoneType,
    /// The lists asked.
    pub migratetype: MigrateType,
    /// How it ended.
    pub path: Path,
    /// The page, when it succeeded.
    pub pfn: Pfn,
    /// The zone it came from.
    pub zone: ZoneId,
    /// The block that was split, when one was: its order, and the order taken.
    pub split: Option<(Order, Order)>,
    /// Blocks moved to the per-CPU list first.
    pub refilled: u64,
    /// The type stolen from, and whether its pageblock changed hands.
    pub fallback: Option<(MigrateType, bool)>,
    /// Steps of the slow path, in order.
    pub slow: Vec<SlowStep>,
    tries: [ZoneTry; TRIES],
    nr_tries: u8,
    /// Stands for all of the above, when it is there.
    pub(crate) brief: Option<Brief>,
}

impl Default for AllocRecord {
    fn default() -> AllocRecord {
        AllocRecord {
            gfp: Gfp::NONE,
            order: Order::ZERO,
            highest: ZoneType::Normal,
            migratetype: MigrateType::Unmovable,
            path: Path::Begun,
            pfn: Pfn::NIL,
            zone: ZoneId(0),
            split: None,
            refilled: 0,
            fallback: None,
            slow: Vec::new(),
            tries: [ZoneTry::NONE; TRIES],
            nr_tries: 0,
            brief: None,
        }
    }
}

impl AllocRecord {
    /// Starts the record of a new allocation.
    pub fn begin(&mut self, ac: &AllocContext) {
        self.brief = None;
        self.slow.clear();
        self.gfp = ac.gfp;
        self.order = ac.order;
        self.highest = ac.highest;
        self.migratetype = ac.migratetype;
        self.path = Path::Begun;
        self.pfn = Pfn::NIL;
        self.split = None;
        self.refilled = 0;
        self.fallback = None;
        self.nr_tries = 0;
    }

    /// The zones tried, in order; a long slow path keeps the first and the last ones.
    pub fn tries(&self) -> &[ZoneTry] {
        &self.tries[..usize::from(self.nr_tries)]
    }

    /// Remembers a zone that was tried.
    #[inline(always)]
    pub fn tried(&mut self, tried: ZoneTry) {
        if usize::from(self.nr_tries) == TRIES {
            self.forget_tries();
        }
        self.tries[usize::from(self.nr_tries)] = ZoneTry { after: self.slow.len() as u8, ..tried };
        self.nr_tries += 1;
    }

    /// The last walk is the one that failed: it must not be lost.
    #[cold]
    fn forget_tries(&mut self) {
        self.tries.copy_within(TRIES / 2.., TRIES / 2 - 1);
        self.nr_tries -= 1;
    }

    /// The last zone tried had no block after all, although its watermark allowed it.
    #[inline]
    pub fn empty(&mut self) {
        if let Some(last) = self.nr_tries.checked_sub(1) {
            self.tries[usize::from(last)].verdict = Verdict::NoBlock;
        }
    }

    /// The allocation succeeded.
    #[inline]
    pub fn found(&mut self, pfn: Pfn, zone: ZoneId) {
        self.pfn = pfn;
        self.zone = zone;
        self.path = if self.slow.is_empty() { Path::Fast } else { Path::Slow };
    }

    /// The allocation failed.
    pub fn fail(&mut self, path: Path) {
        self.path = path;
    }

    /// A block was split; the first one of a refill is the one whose page the caller gets.
    #[inline]
    pub fn split(&mut self, from: Order, to: Order) {
        if self.split.is_none() {
            self.split = Some((from, to));
        }
    }

    /// The per-CPU list was refilled.
    #[inline]
    pub fn refilled(&mut self, blocks: u64) {
        self.refilled = blocks;
    }

    /// Another type's block was taken; true when it is the first of this allocation.
    #[inline]
    pub fn fallback(&mut self, from: MigrateType, changed: bool) -> bool {
        let first = self.fallback.is_none();
        self.fallback = Some((from, changed));
        first
    }

    /// A step of the slow path was taken; outside of an allocation nobody asks for it.
    pub fn step(&mut self, step: SlowStep) {
        const STEPS: usize = 64;
        if self.brief.is_some() {
            return;
        }
        if self.slow.len() < STEPS {
            self.slow.push(step);
        } else if let Some(last) = self.slow.last_mut() {
            *last = step;
        }
    }
}

impl Machine {
    /// The last allocation with its arithmetic: what [`AllocRecord::explain`] tells.
    pub fn last_alloc(&self) -> AllocRecord {
        let Some(brief) = self.last_alloc.brief else { return self.last_alloc.clone() };
        let Brief { free, pfn, order, from } = brief;
        let Lane { gfp, zone, kind, migratetype, mark, reserve, .. } = self.lane;
        let of = &self.zones[zone.index()];
        let highest = gfp.zone(self.config.arch).unwrap_or(kind);
        let ac = AllocContext { gfp, order, node: of.pgdat, highest, migratetype };
        let flags = self.alloc_flags_nofragment(&ac).with(AllocFlags::WMARK_LOW);
        let (nid, wmark, verdict) = (of.node, Wmark::Low, Verdict::Allowed);
        let mut record = AllocRecord::default();
        record.begin(&ac);
        let boost = of.watermark_boost;
        record.tried(ZoneTry {
            zone,
            kind,
            nid,
            wmark,
            flags,
            free,
            mark,
            boost,
            reserve,
            verdict,
            after: 0,
        });
        if let Some(from) = from {
            record.split(from, order);
        }
        record.found(pfn, zone);
        record
    }
}
