//! `draw("zones")`: where the memory of each zone lies, and how far its free pages are from the watermarks.

use super::strip::{Strip, Tone};
use crate::mm::Machine;
use crate::mm::addr::{Order, PAGE_SIZE, Pfn};
use crate::mm::config::MigrateType;
use crate::mm::mmzone::{Wmark, Zone};
use crate::script::handles::cpu_list;
use crate::script::table::{Cell, Table};

/// Each node with its zones: a strip of the span, and one of free pages against the watermarks.
pub fn zones(machine: &Machine) -> Table {
    let mut table = Table::new();
    let mut records = Vec::new();
    for node in &machine.nodes {
        let zones = || node.zones.iter().map(|id| &machine.zones[id.index()]).filter(|z| z.is_populated());
        let present: u64 = zones().map(|z| z.present_pages).sum();
        let cpus = cpu_list(&node.cpus);
        table = table.head(format!("node {} cpus={cpus} present={present}", node.nid));
        for zone in zones() {
            let span = span(machine, zone);
            records.push(record(zone, &span));
            table = table.strip(span).strip(level(zone));
        }
    }
    table
        .legend([
            (Tone::Fill, "free"),
            (Tone::Dim, "used"),
            (Tone::Reserved, "reserved"),
            (Tone::Low, "min, low, high"),
        ])
        .with_records(records)
}

/// The frames of the span: free, used, reserved, or not there.
fn span(machine: &Machine, zone: &Zone) -> Strip {
    let (start, end) = (zone.zone_start_pfn, zone.end_pfn());
    let numbers = [
        ("present", zone.present_pages),
        ("managed", zone.managed_pages),
        ("holes", zone.spanned_pages - zone.present_pages),
    ];
    let numbers = numbers.iter().filter(|(what, n)| *n > 0 || *what != "holes");
    let numbers: Vec<String> = numbers.map(|(what, n)| format!("{n} {what}")).collect();
    let after = format!("{start:x}-{:x} {}", end - 1, numbers.join(", "));
    let mut strip = Strip::new(zone.kind.name(), zone.spanned_pages).after(after);
    let mut parts: Vec<(u32, u32, Tone)> = free_blocks(machine, zone)
        .map(|(pfn, order)| (pfn.0, pfn.0 + order.pages(), Tone::Fill))
        .chain(kept(machine, zone))
        .collect();
    parts.sort_unstable_by_key(|part| part.0);
    for (from, to, tone) in parts {
        strip.add((from - start).into(), (to - start).into(), tone);
    }
    strip.fill(Tone::Dim);
    strip
}

/// Every free block of a zone.
pub fn free_blocks<'a>(machine: &'a Machine, zone: &'a Zone) -> impl Iterator<Item = (Pfn, Order)> + 'a {
    let lists = Order::all().flat_map(|order| MigrateType::ALL.into_iter().map(move |mt| (order, mt)));
    lists.flat_map(|(order, mt)| zone.free_blocks(&machine.mem_map, order, mt).map(move |pfn| (pfn, order)))
}

/// What of the span the buddy allocator never got: reserved memory, and what is not there or another zone's.
fn kept(machine: &Machine, zone: &Zone) -> Vec<(u32, u32, Tone)> {
    let (start, end) = (zone.zone_start_pfn, zone.end_pfn());
    let mut kept = Vec::new();
    for &(from, to) in machine.mem_map.reserved() {
        let (mut at, to) = (from.max(start), to.min(end));
        for region in &machine.memblock.memory.regions {
            // A frame that is memory only in part is of no use.
            let first = region.base.div_ceil(PAGE_SIZE) as u32;
            let last = to.min((region.end() / PAGE_SIZE) as u32);
            let first = first.max(at);
            if first < last {
                kept.push((at, first, Tone::Hole));
                kept.push((first, last, Tone::Reserved));
                at = last;
            }
        }
        kept.push((at, to, Tone::Hole));
    }
    kept.retain(|(from, to, _)| from < to);
    kept
}

/// Free pages on a scale that ends at four times the high watermark.
fn level(zone: &Zone) -> Strip {
    let free = zone.free_pages();
    let marks = [Wmark::Min, Wmark::Low, Wmark::High].map(|mark| (mark, zone.wmark(mark)));
    let words: Vec<String> = marks.iter().map(|(mark, at)| format!("{} {at}", mark.name())).collect();
    let scale = (marks[2].1 * 4).max(64);
    // What goes on behind the right edge says so.
    let more = if free > scale { "> " } else { "" };
    let mut strip = Strip::new("", scale).after(format!("{more}{free} free, {}", words.join(", ")));
    let mut at = 0;
    for (_, mark) in marks {
        let tick = (scale / 64).max(1);
        strip.add(at, free.min(mark.saturating_sub(tick)), Tone::Fill);
        strip.add(mark.saturating_sub(tick).max(at), mark, Tone::Low);
        at = mark.max(at);
    }
    strip.add(at, free, Tone::Fill);
    strip
}

fn record(zone: &Zone, span: &Strip) -> Vec<(String, Cell)> {
    vec![
        ("node".into(), zone.node.0.into()),
        ("zone".into(), zone.kind.name().into()),
        ("start".into(), zone.zone_start_pfn.into()),
        ("end".into(), zone.end_pfn().into()),
        ("present".into(), zone.present_pages.into()),
        ("managed".into(), zone.managed_pages.into()),
        ("free".into(), zone.free_pages().into()),
        ("min".into(), zone.wmark(Wmark::Min).into()),
        ("low".into(), zone.wmark(Wmark::Low).into()),
        ("high".into(), zone.wmark(Wmark::High).into()),
        ("strip".into(), span.marks(false).into()),
    ]
}
