//! The memory of a report, word by word: totals, nodes, zones, reserves, free blocks, trailer.
//!
//! ```text
//!   active_anon:97516 … free:2494 free_pcp:54                         totals, in pages
//!   Node 0 active_anon:19776kB … all_unreclaimable? no                a node (4.8 and later)
//!   Node 0 Normal free:40288kB min:40124kB … free_cma:52kB            a zone
//!   lowmem_reserve[]: 0 0 0                                           its reserve, in pages
//!   Node 0 Normal: 651*4kB (UMEC) 693*8kB (UMEC) … = 41076kB          its free blocks
//!   2097012 pages RAM                                                 trailer
//! ```
//!
//! Kernel: `lib/show_mem.c`. Line ends mean nothing: mailers wrap, loggers cut.

use super::text::{Segment, Word};
use super::{Buddy, Noted, Report, Run, Zone};
use crate::mm::config::ZoneType;

/// Orders of the largest kernels: 64 KiB pages go up to 13, others to 11.
const MOST_ORDERS: usize = 16;
/// A report of more zones is none.
const MOST_ZONES: usize = 512;

/// Where `name:number` belongs.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    Nowhere,
    Totals,
    Node(u8),
    Zone(usize),
    /// CPUs of a zone, before the zones themselves.
    Pcp(u8, ZoneType),
}

/// Per-CPU lists stand before the zones: what was read of them.
type Cpus = Vec<((u8, ZoneType), (u16, u64, u64, u64))>;

/// Reads everything after the head.
pub fn read(report: &mut Report, segment: &Segment) {
    let words = segment.words();
    let mut at = 0;
    let mut place = Place::Nowhere;
    let mut cpus = Cpus::new();
    while at < words.len() {
        let (step, then) = one(report, &words[at..], place, &mut cpus);
        if then != Place::Nowhere || step > 1 {
            report.last = words[at + step - 1].line.max(report.last);
        }
        place = then;
        at += step;
    }
    for ((node, kind), cpu) in cpus {
        let zone = report.zones.iter_mut().find(|z| (z.node, z.kind) == (node, kind));
        if let Some(zone) = zone {
            zone.pcp.push(cpu);
        }
    }
}

/// Reads what begins at the first word; answers how many words it took, and where the next ones belong.
fn one(report: &mut Report, words: &[Word], place: Place, cpus: &mut Cpus) -> (usize, Place) {
    let word = words[0];
    let text = |n: usize| words.get(n).map_or("", |w| w.text);
    // `Node 1` stands before zones and blocks on kernels for NUMA.
    let node = (word.text == "Node").then(|| text(1).trim_end_matches(',').parse::<u8>().ok()).flatten();
    let skip = if node.is_some() { 2 } else { 0 };
    let nid = node.unwrap_or(0);
    let name = text(skip);
    if let Some(kind) = ZoneType::from_name(name) {
        if text(skip + 1).starts_with("free:") {
            return match begin_zone(report, nid, kind, word.line) {
                Some(zone) => {
                    report.numa |= node.is_some();
                    (skip + 1, Place::Zone(zone))
                }
                None => (skip + 1, Place::Nowhere),
            };
        }
        if text(skip + 1) == "per-cpu:" {
            return (skip + 2, Place::Pcp(nid, kind));
        }
    }
    if let Some(kind) = name.strip_suffix(':').and_then(ZoneType::from_name)
        && (text(skip + 1).contains('*') || text(skip + 1) == "empty")
    {
        let (buddy, took) = buddy(&words[skip + 1..], word.line);
        let zone = report.zones.iter_mut().find(|z| (z.node, z.kind) == (nid, kind));
        if let Some(zone) = zone.filter(|z| z.buddy.is_none()) {
            zone.buddy = Some(buddy);
        }
        return (skip + 1 + took, Place::Nowhere);
    }
    if node.is_some() && name.starts_with("active_anon:") {
        return (skip, Place::Node(nid));
    }
    if name.starts_with("lowmem_reserve[]:") || name.starts_with("protections[]:") {
        let (reserve, took) = reserve(&words[1..]);
        if let Place::Zone(zone) = place {
            report.zones[zone].reserve = reserve;
        }
        return (1 + took, Place::Nowhere);
    }
    if let ("CPU" | "cpu", Place::Pcp(node, kind)) = (word.text, place) {
        return pcp(words, (node, kind), cpus);
    }
    if let Some(took) = trailer(report, words) {
        return (took, Place::Nowhere);
    }
    pair(report, words, place)
}

/// The zone that begins here; a second one of the same name belongs to another report.
fn begin_zone(report: &mut Report, node: u8, kind: ZoneType, line: usize) -> Option<usize> {
    if report.zones.len() >= MOST_ZONES || report.zones.iter().any(|z| (z.node, z.kind) == (node, kind)) {
        return None;
    }
    let (kb, reserve) = (Default::default(), Vec::new());
    report.zones.push(Zone { node, kind, line, kb, reserve, buddy: None, pcp: Vec::new() });
    Some(report.zones.len() - 1)
}

/// `name:number` of wherever the words belong; `shmem_thp: 0kB` has a blank in it.
fn pair(report: &mut Report, words: &[Word], place: Place) -> (usize, Place) {
    let word = words[0];
    let lower = word.text.to_ascii_lowercase();
    // Totals have no unit; up to 2.6.27 they begin with `Active:`, later with `active_anon:`.
    let begins = |name: &str| lower.strip_prefix(name).is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()));
    let totals = begins("active:") || begins("active_anon:");
    let place =
        if totals && matches!(place, Place::Nowhere | Place::Pcp(..)) { Place::Totals } else { place };
    let Some((key, value)) = word.text.split_once(':') else { return (1, place) };
    let (value, took) = match words.get(1) {
        Some(next) if value.is_empty() && next.text.starts_with(|c: char| c.is_ascii_digit()) => {
            (next.text, 2)
        }
        _ => (value, 1),
    };
    let Some(value) = leading(value) else { return (1, place) };
    let noted = Noted { value, line: words[took - 1].line };
    let counts = match place {
        Place::Totals => &mut report.totals,
        Place::Node(nid) => report.nodes.entry(nid).or_default(),
        Place::Zone(zone) => &mut report.zones[zone].kb,
        Place::Nowhere | Place::Pcp(..) => return (1, place),
    };
    if counts.len() < 64 && key.len() < 40 {
        counts.entry(key.to_ascii_lowercase()).or_insert(noted);
    }
    (took, place)
}

/// The number a word begins with.
fn leading(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    // Nothing in a report is above a few TiB in kB: a larger number is damage.
    text[..end].parse().ok().filter(|n| *n < 1 << 52)
}

/// Pages kept back from requests for each higher zone.
fn reserve(words: &[Word]) -> (Vec<Noted<u64>>, usize) {
    let mut found = Vec::new();
    for (at, word) in words.iter().enumerate() {
        let number = word.text.parse::<u64>().ok().filter(|_| word.text.len() < 14 && found.len() < 6);
        // A number that begins a line may be the first word of the next thing: `10132 total pagecache pages`.
        let is_other = words.get(at + 1).is_some_and(|next| {
            next.line == word.line && next.text.starts_with(|c: char| c.is_ascii_alphabetic())
        });
        let Some(value) = number.filter(|_| !is_other) else { break };
        found.push(Noted { value, line: word.line });
    }
    let took = found.len();
    (found, took)
}

/// `2127*4kB (UMEC) 1508*8kB (UMEC) … = 33244kB`, or `empty`.
fn buddy(words: &[Word], line: usize) -> (Buddy, usize) {
    let mut buddy = Buddy { line, ..Buddy::default() };
    let mut at = 0;
    while let Some(word) = words.get(at) {
        if word.text == "empty" {
            buddy.total_kb = Some(Noted { value: 0, line: word.line });
            return (buddy, at + 1);
        }
        if word.text == "=" {
            let total = words.get(at + 1).and_then(|w| Some(Noted { value: leading(w.text)?, line: w.line }));
            buddy.total_kb = total;
            return (buddy, at + 1 + usize::from(total.is_some()));
        }
        if let Some(letters) = word.text.strip_prefix('(').and_then(|l| l.strip_suffix(')')) {
            if let Some(run) = buddy.runs.last_mut() {
                run.letters = letters.chars().filter(|c| "UMECHRI".contains(*c)).collect();
            }
            at += 1;
            continue;
        }
        let Some((count, size)) = word.text.split_once('*') else { break };
        // A mailer broke `0*16384kB` in two.
        let (size, took) = match words.get(at + 1) {
            Some(next) if size.is_empty() => (next.text, 2),
            _ => (size, 1),
        };
        let (Ok(count), Some(kb)) = (count.parse::<u32>(), leading(size)) else { break };
        // Every order is twice the one before, the first is a page: anything else is damage.
        let expected = buddy.runs.last().map_or(kb, |last| last.kb * 2);
        if kb != expected || (buddy.runs.is_empty() && kb > 64) || kb < 4 || buddy.runs.len() >= MOST_ORDERS {
            break;
        }
        buddy.runs.push(Run { count: count.into(), kb, letters: String::new(), line: word.line });
        at += took;
    }
    (buddy, at)
}

/// `CPU    0: Hot: hi:  186, btch:  31 usd: 152   Cold: hi:   62, …`, or `cpu 0 hot: low 2, high 6, batch 1`.
fn pcp(words: &[Word], zone: (u8, ZoneType), cpus: &mut Cpus) -> (usize, Place) {
    let line = words[0].line;
    let words: Vec<&str> = words.iter().take_while(|w| w.line == line).map(|w| w.text).take(24).collect();
    let number = |n: usize| words.get(n).and_then(|w| leading(w));
    let Some(cpu) = number(1).and_then(|n| u16::try_from(n).ok()).filter(|n| *n < 4096) else {
        return (1, Place::Pcp(zone.0, zone.1));
    };
    let (mut high, mut batch, mut used) = (0, 0, 0);
    for (at, word) in words.iter().enumerate() {
        match *word {
            "hi:" | "high" => high = high.max(number(at + 1).unwrap_or(0)),
            "btch:" | "batch" => batch = batch.max(number(at + 1).unwrap_or(0)),
            "usd:" => used += number(at + 1).unwrap_or(0),
            _ => {}
        }
    }
    let known = cpus.iter().any(|(of, c)| *of == zone && c.0 == cpu);
    if !known && cpus.len() < 1 << 16 {
        cpus.push((zone, (cpu, high, batch, used)));
    }
    (words.len(), Place::Pcp(zone.0, zone.1))
}

/// Lines after the zones; answers how many words it took.
fn trailer(report: &mut Report, words: &[Word]) -> Option<usize> {
    let text = |n: usize| words.get(n).map_or("", |w| w.text);
    let (name, value, took) = match (text(0), text(1), text(2), text(3)) {
        (n, "pages", "RAM", _) | (n, "pages", "of", "RAM") => ("pages RAM", n, 3),
        (n, "pages", "HighMem/MovableOnly", _) | (n, "pages", "of", "HIGHMEM") => ("pages HighMem", n, 3),
        (n, "pages", "reserved", _) | (n, "reserved", "pages", _) => ("pages reserved", n, 3),
        (n, "pages", "cma", "reserved") => ("pages cma reserved", n, 4),
        (n, "total", "pagecache", "pages") => ("pagecache", n, 4),
        (n, "pages", "in", "swap") => ("swapcache", n, 4),
        ("Free", "swap", "=", n) => ("free swap", n, 4),
        ("Total", "swap", "=", n) => ("total swap", n, 4),
        ("Free", "swap:", n, _) => ("free swap", n, 3),
        _ => return None,
    };
    let value = leading(value)?;
    report.trailer.entry(name.to_string()).or_insert(Noted { value, line: words[0].line });
    Some(took)
}
