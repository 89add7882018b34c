//! The last allocation in words: every zone tried with its arithmetic, every step of the slow path.
//!
//! Fidelity: ours. It reads the record, never the machine: the numbers are those that decided.

use super::record::{AllocRecord, Path, SlowStep, Unsuitable, Verdict, ZoneTry};
use crate::mm::addr::Order;
use crate::mm::config::ZoneType;
use crate::mm::gfp::Gfp;
use crate::mm::mmzone::Wmark;
use crate::mm::page_alloc::watermark::{AllocFlags, lowered};
use crate::mm::trace::times;
use std::fmt::Write;

impl ZoneTry {
    /// The line that free pages must exceed: the watermark after privileges, and the reserve.
    pub fn must_exceed(&self) -> u64 {
        lowered(self.mark, self.flags) + self.reserve
    }

    /// `925 = min 413 + boost 512 + lowmem_reserve 0`.
    pub fn arithmetic(&self) -> String {
        let plain = self.mark - self.boost;
        let boost = if self.boost > 0 { format!(" + boost {}", self.boost) } else { String::new() };
        let line = lowered(self.mark, self.flags);
        let lowered = if line == self.mark { String::new() } else { format!(" lowered to {line}") };
        let name = self.wmark.name();
        format!("{} = {name} {plain}{boost}{lowered} + lowmem_reserve {}", self.must_exceed(), self.reserve)
    }

    /// What an atomic request is held to in this zone, where that can be told: the boost is not for it.
    fn atomic_line(&self) -> Option<u64> {
        let plain = self.mark - self.boost;
        let line = lowered(plain, AllocFlags::HIGH.with(AllocFlags::HARDER)) + self.reserve;
        (self.wmark == Wmark::Min).then_some(line)
    }

    /// Asked again, would it read the same?
    fn reads_as(&self, other: &ZoneTry) -> bool {
        (self.zone, self.free, self.must_exceed(), self.verdict, self.wmark)
            == (other.zone, other.free, other.must_exceed(), other.verdict, other.wmark)
    }
}

impl AllocRecord {
    /// The decision path of the allocation, line by line.
    pub fn explain(&self) -> String {
        let mut text = String::new();
        let pages = self.order.pages();
        let wanted = format!(
            "alloc_pages({}, {}) wanted {pages} page{}",
            self.gfp,
            self.order,
            if pages == 1 { "" } else { "s together" }
        );
        let _ = match self.path {
            Path::Begun => return "Nothing has been allocated yet: try alloc_pages(GFP_KERNEL, 0), then explain() again.".into(),
            Path::Fast | Path::Slow => writeln!(text, "{wanted} and got pfn {}.", self.pfn),
            Path::Failed => writeln!(text, "{wanted} and failed: ENOMEM."),
            Path::Injected => writeln!(text, "{wanted} and was made to fail by fail_nth: the zones were not asked."),
            Path::Early => writeln!(text, "{wanted} and failed: the buddy allocator has no memory before memblock_free_all()."),
        };
        let _ = writeln!(text, "  mask: {}.", describe(self.gfp, self.highest));
        self.explain_way(&mut text);
        match self.path {
            Path::Failed => self.explain_remedy(&mut text),
            Path::Fast | Path::Slow => self.explain_source(&mut text),
            Path::Begun | Path::Injected | Path::Early => {}
        }
        text.push_str("Kernel: __alloc_pages, get_page_from_freelist, zone_watermark_fast. Next: kmem -z, gfp(mask), events()\n");
        text
    }

    /// The steps in their order, and under each the zones that were asked then.
    fn explain_way(&self, text: &mut String) {
        if !self.tries().is_empty() {
            let _ = writeln!(text, "  {:<14} {:>10}  must exceed", "zone", "free");
        }
        let mut before: &[ZoneTry] = &[];
        for done in 0..=self.slow.len() {
            if let Some(step) = done.checked_sub(1).map(|n| &self.slow[n]) {
                let _ = writeln!(text, "  {done}. {}", told(step));
            }
            let asked = |tried: &ZoneTry| usize::from(tried.after) == done;
            let Some(first) = self.tries().iter().position(asked) else { continue };
            let walk = &self.tries()[first..];
            let walk = &walk[..walk.iter().take_while(|tried| asked(tried)).count()];
            if walk.len() == before.len() && walk.iter().zip(before).all(|(now, then)| now.reads_as(then)) {
                text.push_str("     Each zone was as before.\n");
            } else {
                self.explain_walk(text, walk, if done == 0 { 2 } else { 5 });
            }
            before = walk;
        }
    }

    /// A row for each zone.
    fn explain_walk(&self, text: &mut String, walk: &[ZoneTry], indent: usize) {
        let nodes = self.tries().iter().any(|t| t.nid != self.tries()[0].nid);
        for tried in walk {
            let zone =
                if nodes { format!("{} node {}", tried.kind, tried.nid) } else { tried.kind.to_string() };
            let verdict = match tried.verdict {
                Verdict::Allowed => "allowed",
                Verdict::BelowMark if tried.flags.has(AllocFlags::NO_WATERMARKS) => {
                    "below, but the caller may ignore watermarks"
                }
                Verdict::BelowMark => "refused",
                Verdict::NoBlock => "refused: pages enough, but no free block is large enough",
            };
            let width = 16 - indent;
            let _ = writeln!(
                text,
                "{:indent$}{zone:<width$} {:>10}  {}: {verdict}",
                "",
                tried.free,
                tried.arithmetic()
            );
        }
    }

    fn explain_source(&self, text: &mut String) {
        let zone = self.tries().iter().rev().find(|t| t.zone == self.zone).map_or("?", |t| t.kind.name());
        let _ = match (self.refilled, self.split) {
            (0, None) if self.order <= Order::COSTLY => {
                writeln!(text, "  It came from the per-CPU list of zone {zone}.")
            }
            (0, None) => {
                writeln!(text, "  It came whole from the free list of order {} of zone {zone}.", self.order)
            }
            (0, Some((from, to))) if from == to => {
                writeln!(text, "  It came whole from the free list of order {to} of zone {zone}.")
            }
            (0, Some((from, to))) => writeln!(
                text,
                "  A block of order {from} of zone {zone} was halved {}.",
                times(from.get() - to.get())
            ),
            (n, Some((from, to))) => writeln!(
                text,
                "  The per-CPU list was empty: {} moved to it from zone {zone}, the first one out of a block of order {from}.",
                moved(n, &format!(" of order {to}"))
            ),
            (n, None) => {
                writeln!(text, "  The per-CPU list was empty: {} moved to it from zone {zone}.", moved(n, ""))
            }
        };
        if let Some((from, changed)) = self.fallback {
            let claim = if changed { "its pageblock changed hands" } else { "its pageblock kept its type" };
            let _ = writeln!(
                text,
                "  No {} block was free: one was taken from {}; {claim}.",
                self.migratetype.name(),
                from.name()
            );
        }
    }

    fn explain_remedy(&self, text: &mut String) {
        let last = |t: &&ZoneTry| t.verdict == Verdict::BelowMark;
        let missing = |t: &ZoneTry| (t.must_exceed() + u64::from(self.order.pages())).saturating_sub(t.free);
        let Some(nearest) = self.tries().iter().rev().filter(last).min_by_key(|t| missing(t)) else {
            text.push_str(
                "  It would have succeeded if free pages had lain together: compact(), or a smaller order.\n",
            );
            return;
        };
        let _ = writeln!(
            text,
            "  It would have succeeded with {} more free page{} in {}, or with a lower vm.min_free_kbytes.",
            missing(nearest),
            if missing(nearest) == 1 { "" } else { "s" },
            nearest.kind
        );
        let walk = self.tries().iter().filter(|tried| tried.after == nearest.after);
        let gives =
            |tried: &ZoneTry| Some((tried.kind, tried.atomic_line().filter(|line| tried.free > *line)?));
        let atomic = if self.order == Order::ZERO { walk.clone().find_map(gives) } else { None };
        if let Some((zone, line)) = atomic.filter(|_| !self.gfp.has(Gfp::HIGH)) {
            let _ =
                writeln!(text, "  GFP_ATOMIC would still get a page in {zone}: it is held to {line} there.");
        } else if !self.gfp.has(Gfp::MEMALLOC) && nearest.free > 0 && self.order == Order::ZERO {
            text.push_str("  Only PF_MEMALLOC, a task that frees memory, would still get a page: it ignores the watermarks.\n");
        }
    }
}

/// `1 block of order 2 was`, `3 blocks were`.
fn moved(blocks: u64, of: &str) -> String {
    if blocks == 1 { format!("1 block{of} was") } else { format!("{blocks} blocks{of} were") }
}

/// One step of the slow path in words.
fn told(step: &SlowStep) -> String {
    match step {
        SlowStep::WokeKswapd(nids) => {
            let names: Vec<String> = nids.iter().map(|n| format!("kswapd{n}")).collect();
            format!("{} was woken: no zone could give it and stay above low.", names.join(", "))
        }
        SlowStep::Retried(flags) => format!("The zones were tried again, {}.", held_to(*flags)),
        SlowStep::CannotReclaim => {
            "The caller may not sleep (no __GFP_DIRECT_RECLAIM), so it could not reclaim.".into()
        }
        SlowStep::Recursion => {
            "The caller is freeing memory itself (PF_MEMALLOC): it may not reclaim again.".into()
        }
        SlowStep::NotCompacted(why) => not_compacted(*why),
        SlowStep::CompactedZone { zone, moved, migrate_scanned, free_scanned, result } => format!(
            "Compaction of {zone} moved {moved} pages, having looked at {migrate_scanned} frames from below and {free_scanned} from above: {result}."
        ),
        SlowStep::Compacted("skipped", _) => "No zone was compacted: it could not help.".into(),
        SlowStep::Compacted("deferred", _) => {
            "Compaction was put off: it failed lately at this order.".into()
        }
        SlowStep::Compacted("success", priority) => {
            format!("Compaction ({}) says that the block is there.", priority.name())
        }
        SlowStep::Compacted(result, priority) => {
            format!("Compaction ({}) did not make the block: {result}.", priority.name())
        }
        SlowStep::NoFail(round) => format!(
            "Round {round} failed, but __GFP_NOFAIL may not: the zones were tried with a quarter less of min, and it goes on."
        ),
        SlowStep::Reclaimed { scanned, reclaimed, priority } => {
            format!(
                "Direct reclaim, priority 12 down to {priority}: scanned {scanned} pages, freed {reclaimed}."
            )
        }
        SlowStep::Drained(pages) => format!("Per-CPU lists were drained: {pages} pages came back."),
        SlowStep::GaveUp(why) => format!("It ended there: {why}."),
        SlowStep::OomKilled(Some(pid)) => format!("The OOM killer killed task {pid}."),
        SlowStep::OomKilled(None) => "The OOM killer found no task to kill.".into(),
    }
}

/// What a mask allows, in words.
pub fn describe(gfp: Gfp, highest: ZoneType) -> String {
    let mut words = vec![if gfp.may_sleep() { "may sleep and reclaim" } else { "may not sleep" }];
    if gfp.has(Gfp::IO) {
        words.push("may start IO");
    }
    if gfp.has(Gfp::FS) {
        words.push("may enter the file system");
    }
    if gfp.has(Gfp::KSWAPD_RECLAIM) {
        words.push("may wake kswapd");
    }
    if gfp.has(Gfp::HIGH) {
        words.push("may use half of min");
    }
    if gfp.has(Gfp::ATOMIC_FLAG) {
        words.push("and a quarter of the rest");
    }
    if gfp.has(Gfp::MEMALLOC) {
        words.push("ignores the watermarks");
    }
    if gfp.has(Gfp::NOMEMALLOC) {
        words.push("uses no reserve");
    }
    if gfp.has(Gfp::THISNODE) {
        words.push("takes nothing from other nodes");
    }
    if gfp.has(Gfp::NORETRY) {
        words.push("gives up after one round");
    }
    if gfp.has(Gfp::RETRY_MAYFAIL) {
        words.push("tries hard but kills nobody");
    }
    if gfp.has(Gfp::NOFAIL) {
        words.push("never gives up");
    }
    format!("{}; {} pages, zones up to {highest}", words.join(", "), gfp.migratetype().name().to_lowercase())
}

/// Why compaction left a zone alone, with the numbers.
fn not_compacted(why: Unsuitable) -> String {
    match why {
        Unsuitable::TooLittle { zone, free, needed } => format!(
            "{zone} was not compacted: {free} pages are free, {needed} are needed to move others to and still be above the watermark."
        ),
        Unsuitable::NotScattered { zone, index, threshold } => format!(
            "{zone} was not compacted: its fragmentation index is {index}, up to vm.extfrag_threshold {threshold} memory is scarce rather than scattered."
        ),
        Unsuitable::NoIo => {
            "The caller may not start IO (no __GFP_IO): moving a page could wait for it.".into()
        }
        Unsuitable::Lumpy => "This machine reclaims in lumps, as 2.6 did: nothing is compacted.".into(),
    }
}

fn held_to(flags: AllocFlags) -> String {
    if flags.has(AllocFlags::NO_WATERMARKS) {
        return "ignoring the watermarks".into();
    }
    let mut text = format!("held to {}", flags.wmark().name());
    for (flag, words) in [
        (AllocFlags::HIGH, ", half of it for __GFP_HIGH"),
        (AllocFlags::HARDER, ", a quarter less for __GFP_ATOMIC"),
        (AllocFlags::OOM, ", half less for a victim of the OOM killer"),
    ] {
        if flags.has(flag) {
            text.push_str(words);
        }
    }
    text
}
