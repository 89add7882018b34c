//! The check of one zone in words, each printed number with its line in brackets.
//!
//! ```text
//!   Normal: free 774368 kB [55] - 60 of the block itself - 2048 reserved for atomic requests [55] = 772260;
//!     must exceed min 193928 [55] + reserve 0 [56] = 193928: enough, but no block of 64 kB or more is free [59].
//! ```
//!
//! Fidelity: ours.

use super::decide::{Decision, Tried, Verdict};
use super::{Noted, Report};

/// `free 774368 kB [55]`.
pub fn number(name: &str, noted: Noted<u64>) -> String {
    format!("{name} {} kB [{}]", noted.value, noted.line)
}

/// What one zone's check says.
pub fn zone(report: &Report, decision: &Decision, tried: &Tried) -> String {
    let zone = &report.zones[tried.zone];
    let name = &tried.name;
    let free = number("free", tried.free);
    let wanted = report.page_kb() << decision.order;
    let line = zone.buddy.as_ref().map_or(zone.line, |buddy| buddy.line);
    match &tried.verdict {
        Verdict::Empty => {
            return format!(
                "{name}: the allocator was never given a page of it [{}]: it cannot serve anybody.",
                zone.line
            );
        }
        Verdict::Exhausted if decision.order == 0 => {
            return format!("{name}: {free}, and no block is left [{line}]: not even below min.");
        }
        Verdict::Exhausted => {
            return format!(
                "{name}: {free}, and no block of {wanted} kB is left [{line}]: not even below min."
            );
        }
        Verdict::Allowed if decision.ignores_watermarks => {
            return format!("{name}: {free}; every watermark may be ignored: this would have been given.");
        }
        Verdict::Cut => return format!("{name}: {free}; what decides is cut away."),
        _ => {}
    }
    let mut text = format!("{name}: {free}");
    for part in &tried.unusable {
        text += &format!(" - {} {}", part.kb, part.why);
        text += &part.line.map_or(String::new(), |line| format!(" [{line}]"));
    }
    if !tried.unusable.is_empty() {
        text += &format!(" = {}", tried.usable());
    }
    let (mark, printed) = tried.mark;
    text += &format!("; must exceed {mark} {} [{}]", printed.value, printed.line);
    if mark == "high" {
        text += " at the last look before a kill";
    }
    if mark != "high" && tried.lowered != printed.value {
        text += &format!(", lowered to {}", tried.lowered);
    }
    if tried.reserve_kb > 0 {
        text += &format!(" + reserve {} [{}]", tried.reserve_kb, tried.reserve.line);
        text += &format!(" = {}", tried.must_exceed());
    }
    let verdict = match &tried.verdict {
        Verdict::BelowMark => {
            let missing = tried.must_exceed() as i64 - tried.usable() + report.page_kb() as i64;
            format!(": refused, {missing} kB are missing.")
        }
        Verdict::Scattered { order, left, must_exceed } => format!(
            ": enough, but without blocks of order 0 to {order} only {left} kB are left [{line}], which must exceed {must_exceed} (the line halved {}): refused.",
            crate::mm::trace::times(*order + 1)
        ),
        Verdict::NoBlock { others } => {
            let but = match others.as_str() {
                "" => String::new(),
                "C" => ", but for those of CMA".into(),
                "H" => ", but for those reserved for atomic requests".into(),
                _ => ", but for those of CMA and those reserved for atomic requests".into(),
            };
            format!(": enough, but no block of {wanted} kB or more is free [{line}]{but}: refused.")
        }
        _ => ": this would have been given.".into(),
    };
    text + verdict.as_str()
}
