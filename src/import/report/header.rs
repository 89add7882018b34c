//! The head of a report: who asked, for what; and what stands between it and the memory.
//!
//! ```text
//!   kworker/u32:45: page allocation failure: order:4, mode:0x40c00(GFP_NOIO|__GFP_COMP), nodemask=(null),cpuset=/,…
//!   Xorg invoked oom-killer: gfp_mask=0x2d0, order=0, oomkilladj=0
//!   CPU: 0 PID: 19318 Comm: kworker/u32:45 Not tainted 6.8.0-rc3-1.gae4495f-default #1
//! ```
//!
//! Kernel: `mm/page_alloc.c` (`warn_alloc`), `mm/oom_kill.c` (`dump_header`, `oom_kill_process`).

use super::mask::{self, Mask};
use super::text::{BREAK, Segment, Word};
use super::{Kind, Noted, Report};
use crate::import::text::list;

/// What was asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    /// The task's name.
    pub comm: String,
    /// The order; `None` where it cannot be read, and for the key `m` of some kernels (`order=-1`).
    pub order: Option<Noted<u8>>,
    /// The mask.
    pub mask: Option<Noted<Mask>>,
    /// `cpuset=`.
    pub cpuset: Option<Noted<String>>,
    /// `mems_allowed=`: nodes the task may use.
    pub mems_allowed: Option<Noted<Vec<u8>>>,
    /// `nodemask=`: nodes this request may use; `None` means all.
    pub nodemask: Option<Noted<Vec<u8>>>,
    /// The line.
    pub line: usize,
}

/// The limit of a memory cgroup.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Group {
    /// The group that was full.
    pub name: String,
    /// `usage`, in kB.
    pub usage: Option<Noted<u64>>,
    /// `limit`, in kB.
    pub limit: Option<Noted<u64>>,
}

/// No kernel has blocks of a higher order.
const MOST: u8 = 20;
/// Functions that only reclaim calls: with one of them on its stack a task may ignore the watermarks.
const RECLAIM: [&str; 8] = [
    "shrink_node",
    "shrink_one",
    "shrink_slab",
    "shrink_zone",
    "balance_pgdat",
    "try_to_free_pages",
    "shrink_inactive_list",
    "shrink_page_list",
];

/// Reads the head, and what later lines say about the task.
pub fn read(report: &mut Report, segment: &Segment) {
    let words = segment.words();
    let head = segment.lines.iter().take(2).find(|l| !comm(&l.text, report.kind).is_empty());
    let name = head.map(|line| comm(&line.text, report.kind)).unwrap_or_default();
    let mut request = Request {
        comm: name,
        order: None,
        mask: None,
        cpuset: None,
        mems_allowed: None,
        nodemask: None,
        line: head.map_or(segment.first(), |line| line.number),
    };
    let mut raw_mask = None;
    let memory = words.iter().position(|w| w.text.starts_with("Mem-"));
    let before = &words[..memory.unwrap_or(words.len())];
    for (at, word) in before.iter().enumerate() {
        for part in split(word) {
            fields(&mut request, &mut raw_mask, part, before.get(at + 1), word.line);
        }
    }
    for (at, word) in words.iter().enumerate() {
        task(report, &words, at, word);
    }
    stack(report, before);
    report.reclaiming |= request.comm.starts_with("kswapd");
    request.mask = raw_mask.map(|Noted { value, line }: Noted<String>| Noted {
        value: mask::read(&value, report.version()),
        line,
    });
    if report.kind != Kind::ShowMemory || request.mask.is_some() {
        report.request = Some(request);
    }
    group(report, segment);
}

/// Words of the head hang together by commas: `nodemask=(null),cpuset=/,mems_allowed=0`.
fn split<'a>(word: &Word<'a>) -> impl Iterator<Item = &'a str> + use<'a> {
    // The names of a mask contain no comma, a list of nodes does.
    let whole = word.text.starts_with("mems_allowed=");
    word.text.split(move |c| c == ',' && !whole).filter(|part| !part.is_empty())
}

fn fields(
    request: &mut Request,
    mask: &mut Option<Noted<String>>,
    part: &str,
    next: Option<&Word>,
    line: usize,
) {
    let Some((key, value)) = part.split_once('=').or_else(|| part.split_once(':')) else { return };
    // A mailer breaks behind the sign.
    let (value, line) = match next {
        Some(next) if value.is_empty() => (next.text.trim_end_matches(','), next.line),
        _ => (value, line),
    };
    match key {
        "order" if request.order.is_none() => {
            request.order = value.parse().ok().filter(|n| *n <= MOST).map(|value| Noted { value, line });
        }
        "gfp_mask" | "mode" if mask.is_none() && value.starts_with("0x") => {
            *mask = Some(Noted { value: value.to_string(), line });
        }
        "cpuset" if request.cpuset.is_none() => {
            request.cpuset = Some(Noted { value: value.to_string(), line });
        }
        "mems_allowed" if request.mems_allowed.is_none() => {
            request.mems_allowed = nodes(value).map(|value| Noted { value, line });
        }
        "nodemask" if request.nodemask.is_none() => {
            request.nodemask = nodes(value).map(|value| Noted { value, line });
        }
        _ => {}
    }
}

/// `0-3,7` as numbers of nodes; `(null)` is none.
fn nodes(value: &str) -> Option<Vec<u8>> {
    let nodes = list(value.trim_end_matches(|c: char| !c.is_ascii_digit()))?;
    let nodes: Vec<u8> = nodes.into_iter().filter_map(|n| u8::try_from(n).ok()).collect();
    (!nodes.is_empty()).then_some(nodes)
}

/// The name in front of what tells the kind of report; it may hold blanks, colons and brackets.
fn comm(line: &str, kind: Kind) -> String {
    let line = line.rsplit(BREAK.trim()).next().unwrap_or(line);
    let end = match kind {
        Kind::AllocFailure => line.find("page allocation failure"),
        Kind::Oom => line
            .find(" invoked oom-killer")
            .or_else(|| line.trim_end().strip_suffix(" invoked").map(str::len)),
        Kind::ShowMemory => None,
    };
    let name = end.map_or("", |end| line[..end].trim());
    let name = name.strip_suffix(':').unwrap_or(name);
    name.chars().filter(|c| !c.is_control()).take(40).collect()
}

/// Kernel, CPU, who was killed, the constraint.
fn task(report: &mut Report, words: &[Word], at: usize, word: &Word) {
    let next = |n: usize| words.get(at + n).map_or("", |w| w.text);
    match word.text {
        "tainted" | "Tainted:" if report.release.is_none() => {
            // Flags stand between: `Tainted: G        W  OE`.
            let release = words[at + 1..].iter().take(16).find(|w| is_release(w.text));
            report.release = release.map(|w| Noted { value: w.text.to_string(), line: w.line });
        }
        "version"
            if report.release.is_none() && at > 0 && words[at - 1].text == "Linux" && is_release(next(1)) =>
        {
            report.release = Some(Noted { value: next(1).to_string(), line: word.line });
        }
        "CPU:" => {
            let cpu: Option<u16> = next(1).parse().ok();
            report.cpu = report.cpu.max(cpu);
        }
        "name:" if at > 0 && words[at - 1].text == "Hardware" && report.hardware.is_empty() => {
            let line = words[at + 1..].iter().take_while(|w| w.line == word.line).map(|w| w.text);
            report.hardware = line.collect::<Vec<_>>().join(" ").chars().take(80).collect();
        }
        "Killed" if next(1) == "process" && report.victim.is_none() => {
            let pid = next(2).trim_end_matches(',').parse().unwrap_or(0);
            let name = next(3).trim_matches(['(', ')', ',']).to_string();
            report.victim = Some(Noted { value: (pid, name), line: word.line });
        }
        _ => {
            if let Some(rest) = word.text.strip_prefix("oom-kill:constraint=")
                && report.constraint.is_none()
            {
                let value = rest.split(',').next().unwrap_or(rest).to_string();
                report.constraint = Some(Noted { value, line: word.line });
            }
        }
    }
}

/// `6.8.0-rc3-1.gae4495f-default`.
fn is_release(word: &str) -> bool {
    let digits = |part: &str| !part.is_empty() && part.len() < 4 && part.bytes().all(|b| b.is_ascii_digit());
    let mut parts = word.splitn(3, '.');
    let (major, minor) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
    digits(major) && digits(minor.split(|c: char| !c.is_ascii_digit()).next().unwrap_or(""))
}

/// Is the task reclaiming? An interrupt has no right of the task below it.
fn stack(report: &mut Report, words: &[Word]) {
    let interrupt = words.iter().any(|w| w.text == "<IRQ>");
    let called = words.iter().any(|w| {
        let name = w.text.split(['+', '.', '/']).next().unwrap_or("");
        RECLAIM.contains(&name)
    });
    report.reclaiming = called && !interrupt;
}

/// The memory cgroup that was full, if it was one.
fn group(report: &mut Report, segment: &Segment) {
    let is_group = |text: &str| {
        text.contains("CONSTRAINT_MEMCG")
            || text.contains("Memory cgroup out of memory")
            || text.contains("as a result of limit of")
            || (text.starts_with("memory: usage "))
    };
    if report.kind != Kind::Oom || !segment.lines.iter().any(|l| is_group(&l.text)) {
        return;
    }
    let mut group = Group::default();
    for line in &segment.lines {
        if let Some((_, rest)) = line.text.split_once("as a result of limit of ") {
            group.name = rest.split_whitespace().next().unwrap_or("").into();
        }
        if let Some((_, rest)) = line.text.split_once("oom_memcg=") {
            group.name = rest.split(',').next().unwrap_or("").into();
        }
        if let Some((_, rest)) = line.text.split_once("memory: usage ")
            && group.usage.is_none()
        {
            let number = |text: &str| text.split("kB").next().and_then(|n| n.trim().parse().ok());
            let noted = |value| Noted { value, line: line.number };
            group.usage = number(rest).map(noted);
            group.limit = rest.split_once("limit ").and_then(|(_, limit)| number(limit)).map(noted);
        }
    }
    group.name.truncate((0..=120).rev().find(|at| group.name.is_char_boundary(*at)).unwrap_or(0));
    report.group = Some(group);
}
