//! Why it failed, in words: the cause, what decided, what would have helped; every printed number with its line.
//!
//! Fidelity: ours. It says no more than the report's numbers prove: where they would have allowed the request, it says
//! that they are later than the failure; where what decides is missing, in which line the report ends.

use super::arithmetic;
use super::decide::{Decision, Outcome, Tried, Verdict, decide};
use super::{Kind, Report, Zone};
use crate::mm::gfp::Gfp;

/// The classes of causes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Class {
    /// Every zone is below its line.
    BelowMark,
    /// Pages enough, but none together.
    Fragmented,
    /// What is free is CMA's.
    OnlyCma,
    /// Watermarks were ignored, and nothing was left.
    Exhausted,
    /// The zone that was asked for has no pages.
    NoZone,
    /// Zones that this mask may not use have the pages.
    WrongZone,
    /// Other nodes have the pages: the task was bound.
    WrongNode,
    /// A memory cgroup was full.
    Group,
    /// Nothing was asked for.
    NothingAsked,
    /// By the printed numbers it would have succeeded.
    Later,
    /// The report is cut.
    Cut,
}

impl Class {
    /// The class in a few words.
    pub fn name(self) -> &'static str {
        match self {
            Class::BelowMark => "refused: every zone is below its watermark",
            Class::Fragmented => "refused: no free block is large enough",
            Class::OnlyCma => "refused: what is free is CMA's",
            Class::Exhausted => "refused: nothing is left, though watermarks are ignored",
            Class::NoZone => "refused: the zone it asks for has no pages",
            Class::WrongZone => "refused: only zones that its mask bars have pages",
            Class::WrongNode => "refused: only nodes it is not bound to have pages",
            Class::Group => "a memory cgroup was full",
            Class::NothingAsked => "nothing was asked for",
            Class::Later => "by the printed numbers this would have succeeded",
            Class::Cut => "the report is cut",
        }
    }
}

/// What a report tells about its moment.
pub struct Account {
    /// Of which kind the cause is.
    pub class: Class,
    /// One sentence or two.
    pub cause: String,
    /// The arithmetic, zone by zone.
    pub decided: Vec<String>,
    /// What would have helped.
    pub helped: Vec<String>,
}

/// The account of a report as lines, for `explain`.
pub fn account(report: &Report, file: &str) -> Vec<String> {
    let told = tell(report);
    let mut lines = vec![format!("cause: {}", told.cause)];
    if !told.decided.is_empty() {
        lines.push(format!("what decided (numbers in brackets are lines of {file}):"));
        lines.extend(told.decided.iter().map(|line| format!("  {line}")));
    }
    if !told.helped.is_empty() {
        lines.push(format!("what would have helped: {}", told.helped.join(" ")));
    }
    lines
}

/// Tells why the request of a report failed.
pub fn tell(report: &Report) -> Account {
    let decision = decide(report);
    let class = classify(report, &decision);
    let cause = cause(report, &decision, class);
    let decided = decision.tried.iter().map(|tried| arithmetic::zone(report, &decision, tried));
    let decided = match class {
        Class::Group | Class::NothingAsked => Vec::new(),
        _ => decided.chain(barred(report, &decision)).collect(),
    };
    Account { class, cause, decided, helped: helped(report, &decision, class) }
}

fn classify(report: &Report, decision: &Decision) -> Class {
    match decision.outcome {
        Outcome::Group => return Class::Group,
        Outcome::NothingAsked => return Class::NothingAsked,
        Outcome::Later => return Class::Later,
        Outcome::Cut(_) => return Class::Cut,
        Outcome::Refused => {}
    }
    let tried = || decision.tried.iter();
    if tried().all(|t| t.verdict == Verdict::Empty) {
        // Zones of other nodes are not printed: what is shown need not be all there is.
        return if tried().next().is_none() { Class::WrongZone } else { Class::NoZone };
    }
    if decision.ignores_watermarks {
        return Class::Exhausted;
    }
    let cma = |t: &Tried| t.unusable.iter().find(|u| u.why.contains("CMA")).map_or(0, |u| u.kb);
    let only_cma = |t: &Tried| match &t.verdict {
        Verdict::BelowMark => cma(t) > 0 && t.usable() + cma(t) as i64 > t.must_exceed() as i64,
        Verdict::NoBlock { others } => others == "C",
        _ => false,
    };
    if tried().any(only_cma) {
        return Class::OnlyCma;
    }
    if tried().any(|t| matches!(t.verdict, Verdict::Scattered { .. } | Verdict::NoBlock { .. })) {
        return Class::Fragmented;
    }
    // A zone that is not merely full: it alone has more above its high watermark than all others lack.
    let plenty = |zone: &Zone| zone.kb("free") > zone.kb("high") + zone.kb("high") / 4;
    let lies = |higher: bool| {
        decision
            .barred
            .iter()
            .any(|i| plenty(&report.zones[*i]) && (report.zones[*i].kind > decision.highest) == higher)
    };
    match (lies(false), lies(true)) {
        (true, _) => Class::WrongNode,
        (_, true) => Class::WrongZone,
        _ => Class::BelowMark,
    }
}

/// `kworker/u32:45 asked for 16 pages together (order 4, GFP_NOIO|__GFP_COMP) [1]`.
fn asked(report: &Report) -> String {
    let Some(request) = &report.request else { return "Nothing was asked for".into() };
    let who = if request.comm.is_empty() { "Somebody" } else { &request.comm };
    let Some(order) = request.order else {
        return format!("{who} asked for pages [{}]", request.line);
    };
    let pages = 1u64 << order.value;
    let together = if pages == 1 { "one page".into() } else { format!("{pages} pages together") };
    let mask = request.mask.as_ref().map_or("mask cut away".into(), |m| m.value.gfp.to_string());
    format!("{who} asked for {together} (order {}, {mask}) [{}]", order.value, order.line)
}

fn cause(report: &Report, decision: &Decision, class: Class) -> String {
    let asked = asked(report);
    let free: u64 = decision.tried.iter().map(|t| t.free.value).sum();
    let wanted = report.page_kb() << decision.order;
    match class {
        Class::Group => group(report),
        Class::NothingAsked => "Nobody was refused: the report shows memory as it was.".into(),
        Class::Later => format!(
            "{asked}; by the printed numbers this would have succeeded: they are later than the failure.{}",
            unprinted(report)
        ),
        Class::Cut => format!(
            "{asked}; the report is cut at line {}: {}.",
            report.cut.unwrap_or(report.last),
            match (report.zones.is_empty(), &report.request) {
                (true, _) => "it shows no zone",
                (_, Some(request)) if request.mask.is_none() || request.order.is_none() =>
                    "its order and mask are missing",
                _ => "what decides is missing",
            }
        ),
        Class::NoZone => format!(
            "{asked}: {} has no page on this machine, and the mask allows no higher zone.",
            decision.highest
        ),
        Class::Exhausted => format!(
            "{asked}: {}, so it may ignore every watermark, and yet {}.",
            if report.reclaiming {
                "it was freeing memory itself"
            } else {
                "__GFP_MEMALLOC opens the reserves"
            },
            if free == 0 {
                "not one page is left".into()
            } else {
                format!("no block of {wanted} kB is left")
            }
        ),
        Class::OnlyCma => format!(
            "{asked}: {free} kB are free in the zones it may use, but most of it is CMA's, which only movable pages may use."
        ),
        Class::Fragmented => format!(
            "{asked}: {free} kB are free in the zones it may use, but no block of {wanted} kB that it may take: memory is fragmented."
        ),
        Class::WrongNode => {
            let (zone, constraint) = (richest(report, decision), constraint(report));
            format!(
                "{asked}: every zone it may use is below its watermark, while {zone}; the task was bound{constraint}."
            )
        }
        Class::WrongZone => {
            let tried = match decision.tried.is_empty() {
                true => "none of the zones shown may serve it",
                false => "every zone it may use is below its watermark",
            };
            format!(
                "{asked}: {tried}, while {}, which its mask bars{}.",
                richest(report, decision),
                constraint(report)
            )
        }
        Class::BelowMark if report.kind == Kind::Oom => {
            format!("{asked}: every zone it may use is below its watermark.{}", used(report))
        }
        Class::BelowMark => format!("{asked}: every zone it may use is below its watermark."),
    }
}

/// Up to 5.3 the reserve for atomic requests is not printed.
fn unprinted(report: &Report) -> &'static str {
    let atomic = |z: &Zone| {
        z.get("reserved_highatomic").is_none()
            && z.buddy.iter().flat_map(|b| &b.runs).any(|run| run.letters.contains('H'))
    };
    if report.zones.iter().any(atomic) {
        " (Or more was reserved for atomic requests than one pageblock: this kernel does not print how much.)"
    } else {
        ""
    }
}

/// The zone out of reach that has most above its line.
fn richest(report: &Report, decision: &Decision) -> String {
    let zones = decision.barred.iter().map(|i| &report.zones[*i]);
    let most = zones.max_by_key(|z| z.kb("free").saturating_sub(z.kb("high")));
    most.and_then(|z| {
        Some(format!("{} has {}", report.zone_name(z), arithmetic::number("free", z.get("free")?)))
    })
    .unwrap_or_default()
}

/// The nodes a task was bound to, and what bound it.
fn constraint(report: &Report) -> String {
    let nodes = report.request.as_ref().and_then(|r| r.nodemask.as_ref().or(r.mems_allowed.as_ref()));
    let list = nodes.map_or(String::new(), |nodes| {
        let list: Vec<u16> = nodes.value.iter().map(|n| (*n).into()).collect();
        format!(" (node {} [{}])", crate::import::text::list_text(&list), nodes.line)
    });
    let named = report.constraint.as_ref().filter(|c| c.value != "CONSTRAINT_NONE");
    list + named.map_or(String::new(), |c| format!(" ({} [{}])", c.value, c.line)).as_str()
}

/// Where the memory is: anonymous pages, page cache, slab, swap.
fn used(report: &Report) -> String {
    let kb = report.page_kb();
    let of = |names: &[&str]| {
        let found: Vec<_> = names.iter().filter_map(|name| report.totals.get(*name)).collect();
        let line = found.first()?.line;
        Some((found.iter().map(|n| n.value.saturating_mul(kb)).sum::<u64>(), line))
    };
    let parts = [
        ("anonymous pages", of(&["active_anon", "inactive_anon"])),
        ("slab", of(&["slab_reclaimable", "slab_unreclaimable", "slab"])),
        ("page cache on the lists", of(&["active_file", "inactive_file"])),
        ("unevictable", of(&["unevictable"])),
    ];
    let mut parts: Vec<_> = parts.into_iter().filter_map(|(name, part)| Some((name, part?))).collect();
    parts.sort_by_key(|(_, (kb, _))| std::cmp::Reverse(*kb));
    let words: Vec<String> =
        parts.iter().take(3).map(|(name, (kb, line))| format!("{kb} kB {name} [{line}]")).collect();
    let free = report.trailer.get("free swap").zip(report.trailer.get("total swap"));
    let swap = match free {
        Some((_, total)) if total.value == 0 => format!(", no swap [{}]", total.line),
        Some((free, total)) => format!(", {} of {} kB of swap free [{}]", free.value, total.value, free.line),
        None => String::new(),
    };
    if words.is_empty() { String::new() } else { format!(" Memory is in {}{swap}.", words.join(", ")) }
}

fn group(report: &Report) -> String {
    let Some(group) = &report.group else { return String::new() };
    let name = if group.name.is_empty() { "it belongs to" } else { &group.name };
    let limit = match (group.usage, group.limit) {
        (Some(usage), Some(limit)) => {
            format!(" ({}, {})", arithmetic::number("usage", usage), arithmetic::number("limit", limit))
        }
        _ => String::new(),
    };
    let shown = if report.zones.is_empty() {
        "; the machine's memory did not decide, and is not in the report"
    } else {
        ""
    };
    format!("{}: the memory cgroup {name} was full{limit}{shown}.", asked(report))
}

/// Zones with pages that could not be used, and why.
fn barred(report: &Report, decision: &Decision) -> Vec<String> {
    let why = |zone: &Zone| {
        if zone.kind > decision.highest {
            "the mask does not allow it"
        } else {
            "the task is bound to other nodes"
        }
    };
    let zones = decision.barred.iter().map(|i| &report.zones[*i]);
    let shown = zones.filter_map(|zone| Some((zone, zone.get("free")?)));
    shown
        .map(|(zone, free)| {
            format!(
                "{}: {}; not tried, {}.",
                report.zone_name(zone),
                arithmetic::number("free", free),
                why(zone)
            )
        })
        .collect()
}

fn helped(report: &Report, decision: &Decision, class: Class) -> Vec<String> {
    let gfp = report.request.as_ref().and_then(|r| r.mask.as_ref()).map_or(Gfp::NONE, |m| m.value.gfp);
    let mut advice: Vec<String> = Vec::new();
    let mut say = |text: &str| advice.push(text.to_string());
    match class {
        Class::BelowMark if !gfp.may_sleep() => {
            say(
                "It could not sleep, so it could not reclaim; the caller usually tries again, and then this is harmless.",
            );
            say("A higher vm.min_free_kbytes keeps more for who cannot wait.");
        }
        Class::BelowMark if report.kind == Kind::Oom => {
            say("Less memory in use: a limit for who grew, or more memory.");
            let swap = |name: &str| report.trailer.get(name).map_or(0, |n| n.value);
            if swap("total swap") == 0 {
                say("Swap, for anonymous pages that are seldom used.");
            } else if swap("free swap") < swap("total swap") / 16 {
                say("More swap: what there was is full.");
            } else if !gfp.has(Gfp::IO) {
                say("Swap was free, but without __GFP_IO reclaim may not write to it.");
            }
        }
        Class::BelowMark => {
            let missing = |t: &Tried| {
                (t.must_exceed() as i64 - t.usable()).max(0) as u64 + (report.page_kb() << decision.order)
            };
            let nearest =
                decision.tried.iter().filter(|t| t.verdict == Verdict::BelowMark).min_by_key(|t| missing(t));
            if let Some(t) = nearest {
                say(&format!("{} kB more free in {}, or a lower vm.min_free_kbytes.", missing(t), t.name));
            }
            if decision.order > 0 {
                say("A smaller order, or memory that need not lie together (kvmalloc).");
            }
        }
        Class::Fragmented => {
            say("A smaller order, or memory that need not lie together (kvmalloc).");
            if gfp.may_sleep() {
                say(
                    "Compaction before it was needed: vm.compaction_proactiveness, or vm.compact_memory by hand (here: compact()).",
                );
            } else {
                say(
                    "It could not sleep, so it could not compact: a higher vm.min_free_kbytes keeps larger blocks.",
                );
            }
        }
        Class::OnlyCma => say("A smaller area for CMA (cma= of the command line), or a smaller order."),
        Class::Exhausted => {
            say("A higher vm.min_free_kbytes: those who free memory need some themselves.");
        }
        Class::NoZone => {
            say("A mask without that zone, or memory below its limit that firmware leaves to the kernel.")
        }
        Class::WrongZone => say(
            "A mask that allows the higher zone, less kernel memory, or a 64-bit kernel, which has no HighMem.",
        ),
        Class::WrongNode => say("A policy or cpuset with more nodes."),
        Class::Group => say("A higher memory.max of the group, or less memory in use inside it."),
        Class::Later | Class::Cut | Class::NothingAsked => {}
    }
    advice
}
