//! Why a request was refused: the watermark check and the free lists of its kernel, on the numbers that were printed.
//!
//! ```text
//!   up to 4.3   free - 2^order + 1 > min + reserve, and then for each smaller order o:
//!               what is left without the blocks of order o must exceed min / 2^(o+1)
//!   from 4.4    free - 2^order + 1 - highatomic - cma > min + reserve, and a block that large must be free
//! ```
//!
//! Gorman 6.2. Kernel: `mm/page_alloc.c` (`__zone_watermark_ok`, `gfp_to_alloc_flags`, `__gfp_pfmemalloc_flags`).
//! Fidelity: faithful — both checks, who may go how deep, which free pages do not count. The report is printed after
//! the last attempt: what it shows may be later than what decided.

use super::unseen::{highest_zone, zone_kinds};
use super::{Kind, Noted, Report, Run, Version, Zone};
use crate::mm::addr::Order;
use crate::mm::config::ZoneType;
use crate::mm::gfp::Gfp;
use crate::mm::page_alloc::watermark::{AllocFlags, lowered};

/// Since 4.4 a block must be there, before it was computed.
const BLOCKS_ARE_LOOKED_FOR: Version = Version(4, 4, 0);
/// Since 6.12 only the free pages of the reserve are left out.
const FREE_HIGHATOMIC: Version = Version(6, 12, 0);

/// What the check of one zone says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It would have been given.
    Allowed,
    /// Free pages do not exceed the line.
    BelowMark,
    /// Without blocks that are too small, too little is left (up to 4.3).
    Scattered {
        /// The order whose blocks were taken away last.
        order: u8,
        /// What was left, in kB.
        left: i64,
        /// What it had to exceed, in kB.
        must_exceed: u64,
    },
    /// Pages enough, but no block that large may be taken.
    NoBlock {
        /// Types that have such a block: `C` and `H` are not for everybody.
        others: String,
    },
    /// Every watermark may be ignored, and nothing is left.
    Exhausted,
    /// The allocator was never given a page of it.
    Empty,
    /// What decides was cut away.
    Cut,
}

/// Free pages that a request cannot have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unusable {
    /// Why.
    pub why: &'static str,
    /// How much, in kB.
    pub kb: u64,
    /// The line that says so; `None` when it follows from the request or was inferred.
    pub line: Option<usize>,
}

/// One zone with the arithmetic of its check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    /// Which of the report's zones.
    pub zone: usize,
    /// Its name in messages.
    pub name: String,
    /// `free`, in kB.
    pub free: Noted<u64>,
    /// What of it does not count.
    pub unusable: Vec<Unusable>,
    /// The watermark the last attempt was held to: name, and what is printed.
    pub mark: (&'static str, Noted<u64>),
    /// The watermark after the caller's privileges, in kB.
    pub lowered: u64,
    /// `lowmem_reserve`, in pages, as printed.
    pub reserve: Noted<u64>,
    /// The same in kB.
    pub reserve_kb: u64,
    /// What follows.
    pub verdict: Verdict,
}

impl Tried {
    /// Free pages that count, in kB.
    pub fn usable(&self) -> i64 {
        self.free.value as i64 - self.unusable.iter().map(|u| u.kb as i64).sum::<i64>()
    }

    /// The line that free pages must exceed, in kB.
    pub fn must_exceed(&self) -> u64 {
        self.lowered.saturating_add(self.reserve_kb)
    }
}

/// What the report's numbers say about its request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The memory cgroup was full: the machine's memory did not decide.
    Group,
    /// Nothing was asked for: the key `m`.
    NothingAsked,
    /// Every zone refuses.
    Refused,
    /// A zone would have given it: the numbers are later than the failure.
    Later,
    /// What decides was cut away, after this line.
    Cut(usize),
}

/// A request against its report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What follows from all zones.
    pub outcome: Outcome,
    /// The highest zone the mask allows.
    pub highest: ZoneType,
    /// Zones it may use, as they are tried on each node: high ones first.
    pub tried: Vec<Tried>,
    /// Zones with pages that this mask, or this task, may not use.
    pub barred: Vec<usize>,
    /// The watermarks are ignored: the task was freeing memory itself.
    pub ignores_watermarks: bool,
    /// The order asked for.
    pub order: u8,
}

/// Applies the checks of the report's kernel to the zones its request may use.
pub fn decide(report: &Report) -> Decision {
    let request = report.request.as_ref();
    let gfp = request.and_then(|r| r.mask.as_ref()).map_or(Gfp::NONE, |mask| mask.value.gfp);
    let order = request.and_then(|r| r.order).map_or(0, |order| order.value);
    let kinds = zone_kinds(report);
    let highest = highest_zone(gfp, &kinds);
    let memalloc = gfp.has(Gfp::MEMALLOC) || (report.reclaiming && report.kind == Kind::AllocFailure);
    let mut decision = Decision {
        outcome: Outcome::NothingAsked,
        highest,
        tried: Vec::new(),
        barred: Vec::new(),
        ignores_watermarks: memalloc && !gfp.has(Gfp::NOMEMALLOC),
        order,
    };
    let known = request.is_some_and(|r| r.mask.is_some() && r.order.is_some());
    if report.group.is_some() {
        decision.outcome = Outcome::Group;
        return decision;
    }
    if report.kind == Kind::ShowMemory && !known {
        return decision;
    }
    let nodes = allowed_nodes(report, gfp);
    let column = kinds.iter().position(|kind| *kind == highest).or_else(|| kinds.len().checked_sub(1));
    let mut zones: Vec<usize> = (0..report.zones.len()).collect();
    zones.sort_by_key(|i| (report.zones[*i].node, std::cmp::Reverse(report.zones[*i].kind)));
    for at in zones {
        let zone = &report.zones[at];
        if zone.kind > highest || nodes.as_ref().is_some_and(|nodes| !nodes.contains(&zone.node)) {
            if zone.is_managed() {
                decision.barred.push(at);
            }
            continue;
        }
        let tried = try_zone(report, at, &decision, column.unwrap_or(0));
        decision.tried.push(tried);
    }
    let all = |verdict: fn(&Verdict) -> bool| decision.tried.iter().any(|t| verdict(&t.verdict));
    let cut = report.cut.unwrap_or(report.last);
    decision.outcome = if !known || decision.tried.is_empty() && report.zones.is_empty() {
        Outcome::Cut(cut)
    } else if all(|v| *v == Verdict::Allowed) {
        Outcome::Later
    } else if all(|v| *v == Verdict::Cut) {
        Outcome::Cut(cut)
    } else {
        Outcome::Refused
    };
    decision
}

/// Nodes the request was bound to; `None` when any would do.
fn allowed_nodes(report: &Report, gfp: Gfp) -> Option<Vec<u8>> {
    let request = report.request.as_ref()?;
    if let Some(mask) = &request.nodemask {
        return Some(mask.value.clone());
    }
    // Who cannot sleep is not held to the cpuset.
    let bound = gfp.has(Gfp::DIRECT_RECLAIM);
    request.mems_allowed.as_ref().filter(|_| bound).map(|nodes| nodes.value.clone())
}

/// The last attempt, held to min; who is about to kill looks once more, held to high.
fn try_zone(report: &Report, at: usize, decision: &Decision, column: usize) -> Tried {
    let mask = report.request.as_ref().and_then(|r| r.mask.as_ref()).map(|m| &m.value);
    let mut flags = AllocFlags::WMARK_MIN;
    if mask.is_some_and(|mask| mask.gfp.has(Gfp::HIGH)) {
        flags = flags.with(AllocFlags::HIGH);
    }
    if mask.is_some_and(|mask| mask.harder) {
        flags = flags.with(AllocFlags::HARDER);
    }
    let tried = attempt(report, at, decision, column, "min", flags);
    if report.kind == Kind::Oom && tried.verdict == Verdict::Allowed {
        let last = attempt(report, at, decision, column, "high", AllocFlags::WMARK_HIGH);
        if last.verdict != Verdict::Allowed {
            return last;
        }
    }
    tried
}

fn attempt(
    report: &Report,
    at: usize,
    decision: &Decision,
    column: usize,
    name: &'static str,
    flags: AllocFlags,
) -> Tried {
    let zone = &report.zones[at];
    let page_kb = report.page_kb();
    let gfp = report.request.as_ref().and_then(|r| r.mask.as_ref()).map_or(Gfp::NONE, |mask| mask.value.gfp);
    let printed = zone.get(name);
    let mark = printed.unwrap_or(Noted { value: 0, line: zone.line });
    let boost = zone.kb("boost");
    // An atomic request for one page is held to min without the boost, which is a hint for reclaim.
    let plain = boost > 0 && decision.order == 0 && gfp.has(Gfp::ATOMIC_FLAG) && name == "min";
    let held = mark.value.saturating_sub(if plain { boost } else { 0 }) / page_kb;
    let reserve = zone.reserve.get(column).or(zone.reserve.last()).copied();
    let reserve = reserve.unwrap_or(Noted { value: 0, line: zone.line });
    let mut tried = Tried {
        zone: at,
        name: report.zone_name(zone),
        free: zone.get("free").unwrap_or(Noted { value: 0, line: zone.line }),
        unusable: Vec::new(),
        mark: (if plain { "min without boost" } else { name }, mark),
        lowered: lowered(held, flags).saturating_mul(page_kb),
        reserve,
        reserve_kb: reserve.value.saturating_mul(page_kb),
        verdict: Verdict::Allowed,
    };
    tried.verdict = if !zone.is_managed() {
        Verdict::Empty
    } else if zone.get("free").is_none() {
        Verdict::Cut
    } else if decision.ignores_watermarks {
        nothing_left(zone, decision.order, page_kb)
    } else if printed.is_none() {
        Verdict::Cut
    } else {
        tried.unusable = unusable(report, zone, decision.order, flags, gfp);
        check(report, zone, &tried, decision.order, flags, gfp)
    };
    tried
}

/// Who may ignore the watermarks is refused only when no block is left.
fn nothing_left(zone: &Zone, order: u8, page_kb: u64) -> Verdict {
    let large = |run: &&Run| run.kb >= page_kb << order;
    let blocks = zone.buddy.as_ref().map(|buddy| buddy.runs.iter().filter(large).any(|run| run.count > 0));
    match blocks {
        Some(true) => Verdict::Allowed,
        Some(false) => Verdict::Exhausted,
        None if zone.kb("free") < page_kb << order => Verdict::Exhausted,
        None if order == 0 => Verdict::Allowed,
        None => Verdict::Cut,
    }
}

/// Free pages that do not count (`__zone_watermark_unusable_free`).
fn unusable(report: &Report, zone: &Zone, order: u8, flags: AllocFlags, gfp: Gfp) -> Vec<Unusable> {
    let mut found = Vec::new();
    let page_kb = report.page_kb();
    if order > 0 {
        let kb = ((1u64 << order.min(20)) - 1) * page_kb;
        found.push(Unusable { why: "of the block itself", kb, line: None });
    }
    let modern = report.version().is_none_or(|version| version >= BLOCKS_ARE_LOOKED_FOR);
    if modern && !flags.has(AllocFlags::HARDER) {
        let free_only = report.version().is_some_and(|version| version >= FREE_HIGHATOMIC);
        let printed = zone.get("free_highatomic").filter(|_| free_only).or(zone.get("reserved_highatomic"));
        let has_blocks = zone.buddy.iter().flat_map(|b| &b.runs).any(|run| run.letters.contains('H'));
        match printed {
            Some(kb) if kb.value > 0 => {
                found.push(Unusable {
                    why: "reserved for atomic requests",
                    kb: kb.value,
                    line: Some(kb.line),
                });
            }
            None if has_blocks => {
                // Up to 5.3 the reserve is not printed: it is a pageblock at least.
                let kb = u64::from(Order::PAGEBLOCK.pages()) * page_kb;
                found.push(Unusable { why: "reserved for atomic requests at least", kb, line: None });
            }
            _ => {}
        }
    }
    if gfp.has(Gfp::MOVABLE) {
        return found;
    }
    if let Some(kb) = zone.get("free_cma").filter(|kb| kb.value > 0) {
        found.push(Unusable { why: "of CMA, for movable pages only", kb: kb.value, line: Some(kb.line) });
    }
    found
}

fn check(report: &Report, zone: &Zone, tried: &Tried, order: u8, flags: AllocFlags, gfp: Gfp) -> Verdict {
    if tried.usable() <= tried.must_exceed() as i64 {
        return Verdict::BelowMark;
    }
    if order == 0 {
        return Verdict::Allowed;
    }
    let Some(buddy) = &zone.buddy else { return Verdict::Cut };
    let wanted = report.page_kb() << order;
    if report.version().is_some_and(|version| version < BLOCKS_ARE_LOOKED_FOR) {
        let scattered = halved(&buddy.runs, tried, wanted);
        if let Some(verdict) = scattered {
            return verdict;
        }
    }
    let may = |letter: char| match letter {
        'U' | 'M' | 'E' | 'R' => true,
        'C' => gfp.has(Gfp::MOVABLE),
        'H' => flags.has(AllocFlags::HARDER),
        _ => false,
    };
    let large: Vec<&Run> = buddy.runs.iter().filter(|run| run.kb >= wanted && run.count > 0).collect();
    if large.iter().any(|run| run.letters.is_empty() || run.letters.chars().any(may)) {
        return Verdict::Allowed;
    }
    let complete = buddy.total_kb.is_some() || buddy.runs.last().is_some_and(|run| run.kb >= wanted);
    if !complete {
        return Verdict::Cut;
    }
    let mut others: Vec<char> = large.iter().flat_map(|run| run.letters.chars()).collect();
    others.sort_unstable();
    others.dedup();
    Verdict::NoBlock { others: others.into_iter().collect() }
}

/// Order by order the blocks that are too small are taken away, and the line is halved (up to 4.3).
fn halved(runs: &[Run], tried: &Tried, wanted: u64) -> Option<Verdict> {
    let mut left = tried.usable();
    let mut line = tried.lowered;
    for (order, run) in (0..).zip(runs.iter().filter(|run| run.kb < wanted)) {
        left -= (run.count * run.kb) as i64;
        line /= 2;
        if left <= line as i64 {
            return Some(Verdict::Scattered { order, left, must_exceed: line });
        }
    }
    None
}
