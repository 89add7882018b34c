//! Memory reports of a kernel log: `Mem-Info:` and what follows, as allocation failures, the OOM killer and the key
//! `m` print it; what was asked, what was free, and why that was refused.
//!
//! ```text
//!   log ─ text ── lines without their prefixes ─┬─ header   who asked, for what: comm, order, mask, kernel
//!                                               └─ memory   zones, reserves, blocks, totals
//!   Report ─┬─ decide   each zone's arithmetic: allowed, refused by which check, or cut off
//!           ├─ cause    the same in words, with the line of every number
//!           └─ rebuild  a machine that stands as the report shows it
//! ```
//!
//! Gorman 6.2, 13. Kernel: `mm/page_alloc.c` (`warn_alloc`), `lib/show_mem.c`, `mm/oom_kill.c` (`dump_header`).
//! Fidelity: faithful — every form from 2.6 to 6.19: masks whose bits moved, watermark checks of both kinds. Imported —
//! numbers as printed, each with its line. Inferred — what a report does not say; every inference is a sentence.

mod arithmetic;
mod blocks;
pub mod cause;
pub mod decide;
mod header;
pub mod mask;
mod memory;
mod rebuild;
mod text;
mod unseen;

pub use header::{Group, Request};
pub use rebuild::machine;

use crate::import::ImportError;
use crate::mm::config::ZoneType;
use std::collections::BTreeMap;

/// A value, and the line of the log where it stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Noted<T> {
    /// What was printed.
    pub value: T,
    /// The line, counted from 1.
    pub line: usize,
}

/// Numbers by the name they are printed with.
pub type Counts = BTreeMap<String, Noted<u64>>;

/// What made the kernel print it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// `page allocation failure`.
    AllocFailure,
    /// `invoked oom-killer`.
    Oom,
    /// The key `m`, or a report whose head is missing.
    ShowMemory,
}

impl Kind {
    /// What one is called.
    pub fn name(self) -> &'static str {
        match self {
            Kind::AllocFailure => "allocation failure",
            Kind::Oom => "OOM report",
            Kind::ShowMemory => "memory report",
        }
    }
}

/// A kernel's version, as far as rules depend on it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Version(pub u32, pub u32, pub u32);

/// `6.8` of `6.8.0-rc3`, `2.6.32` of `2.6.32-642.el6.x86_64`.
impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Version(2, minor, patch) => write!(f, "2.{minor}.{patch}"),
            Version(major, minor, _) => write!(f, "{major}.{minor}"),
        }
    }
}

/// A run of blocks of one order: `12*32kB (UME)`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Run {
    /// Free blocks.
    pub count: u64,
    /// The size of one.
    pub kb: u64,
    /// The types that have one; empty before 3.9, and where there is none.
    pub letters: String,
    /// The line.
    pub line: usize,
}

/// The free blocks of a zone.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Buddy {
    /// One entry an order, as far as the line goes.
    pub runs: Vec<Run>,
    /// What they sum up to; missing when the line is cut.
    pub total_kb: Option<Noted<u64>>,
    /// The line it begins in.
    pub line: usize,
}

/// One zone of a report.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Zone {
    /// The node; 0 on kernels without NUMA.
    pub node: u8,
    /// Which zone.
    pub kind: ZoneType,
    /// The line it begins in.
    pub line: usize,
    /// Numbers of its line, in kB: `free`, `min`, `free_cma`.
    pub kb: Counts,
    /// `lowmem_reserve[]`, in pages, one number for each zone of that kernel.
    pub reserve: Vec<Noted<u64>>,
    /// Its free blocks.
    pub buddy: Option<Buddy>,
    /// CPUs with their high, batch and pages in use, where per-CPU lists are printed (up to 3.18).
    pub pcp: Vec<(u16, u64, u64, u64)>,
}

impl Zone {
    /// A number of its line.
    pub fn get(&self, name: &str) -> Option<Noted<u64>> {
        self.kb.get(name).copied()
    }

    /// A number of its line in kB; 0 when it is not printed.
    pub fn kb(&self, name: &str) -> u64 {
        self.get(name).map_or(0, |n| n.value)
    }

    /// Does it have pages the allocator may give away? Before 3.9 only present ones are counted.
    pub fn is_managed(&self) -> bool {
        let size = self.get("managed").or(self.get("present")).or(self.get("free"));
        size.is_none_or(|n| n.value > 0)
    }
}

/// A report on memory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// What made the kernel print it.
    pub kind: Kind,
    /// Its first line.
    pub first: usize,
    /// The last line that belongs to it.
    pub last: usize,
    /// What was asked for.
    pub request: Option<Request>,
    /// The kernel's release: `6.8.0-rc3-1.gae4495f-default`.
    pub release: Option<Noted<String>>,
    /// The machine as the kernel calls it.
    pub hardware: String,
    /// The highest number of a CPU that is named.
    pub cpu: Option<u16>,
    /// The task was reclaiming: its stack goes through reclaim, or it is kswapd.
    pub reclaiming: bool,
    /// The memory cgroup that was full.
    pub group: Option<Group>,
    /// Who was killed: pid and name.
    pub victim: Option<Noted<(u32, String)>>,
    /// `CONSTRAINT_CPUSET` and its sisters.
    pub constraint: Option<Noted<String>>,
    /// Zones in the order of the report.
    pub zones: Vec<Zone>,
    /// Numbers of each node's line, in kB.
    pub nodes: BTreeMap<u8, Counts>,
    /// Totals, in pages.
    pub totals: Counts,
    /// What follows the zones, in pages or kB: `pages RAM`, `Free swap`.
    pub trailer: Counts,
    /// True when zone lines name their node.
    pub numa: bool,
    /// The line in which something ends before its time.
    pub cut: Option<usize>,
}

impl Report {
    /// The kernel's version.
    pub fn version(&self) -> Option<Version> {
        let release = &self.release.as_ref()?.value;
        let mut numbers = release.split(|c: char| !c.is_ascii_digit());
        let mut next = || numbers.next().and_then(|n| n.parse().ok());
        Some(Version(next()?, next()?, next().unwrap_or(0)))
    }

    /// The size of a page: the smallest block, else what makes pages of the total out of the zones' kB.
    pub fn page_kb(&self) -> u64 {
        let smallest = self.zones.iter().find_map(|z| Some(z.buddy.as_ref()?.runs.first()?.kb));
        let pages = self.totals.get("free").map_or(0, |n| n.value);
        let free = || self.zones.iter().fold(0u64, |sum, z| sum.saturating_add(z.kb("free")));
        let kb = smallest.unwrap_or_else(|| free().checked_div(pages).unwrap_or(4));
        [4, 8, 16, 32, 64].into_iter().find(|size| *size == kb).unwrap_or(4)
    }

    /// How messages call a zone: `Normal`, with several nodes `Node 1 Normal`.
    pub fn zone_name(&self, zone: &Zone) -> String {
        let several = self.zones.iter().any(|z| z.node != self.zones[0].node);
        if several { format!("Node {} {}", zone.node, zone.kind) } else { zone.kind.to_string() }
    }

    /// True when it has enough to rebuild a machine of: a zone with its free pages.
    pub fn has_machine(&self) -> bool {
        self.zones.iter().any(|z| z.get("free").is_some() && z.is_managed())
    }
}

/// Every report in a log, in its order.
pub fn parse(log: &str) -> Vec<Report> {
    text::segments(log).iter().map(read).collect()
}

/// A line of a log without what loggers, mailers and consoles put around it.
pub fn plain_line(line: &str) -> String {
    text::clean(line)
}

/// True for a log with at least one report.
pub fn is_one(log: &str) -> bool {
    text::begins_somewhere(log)
}

/// The report a machine is made of: the `n`th, or the first that has one.
pub fn choose(reports: &[Report], n: Option<usize>, file: &str) -> Result<usize, ImportError> {
    if let Some(n) = n {
        let known = (1..=reports.len()).contains(&n) && reports[n - 1].has_machine();
        return if known { Ok(n - 1) } else { Err(no_machine(reports, Some(n), file)) };
    }
    reports.iter().position(Report::has_machine).ok_or_else(|| no_machine(reports, None, file))
}

fn no_machine(reports: &[Report], n: Option<usize>, file: &str) -> ImportError {
    let problem = match n {
        Some(n) if n == 0 || n > reports.len() => format!("there is no report {n}: it has {}", reports.len()),
        Some(n) => format!("report {n} shows no zone, so there is no machine in it"),
        None => format!("none of its {} reports shows a zone, so there is no machine in it", reports.len()),
    };
    let at = reports.first().map_or(0, |r| r.first);
    ImportError::new(file, problem).at(at, "").advise(
        "A report needs its lines after `Mem-Info:`; paste it from the first line to the last, or give /proc/zoneinfo.",
    )
}

/// Reads one report.
fn read(segment: &text::Segment) -> Report {
    let mut report = Report {
        kind: segment.kind,
        first: segment.first(),
        last: segment.first(),
        request: None,
        release: None,
        hardware: String::new(),
        cpu: None,
        reclaiming: false,
        group: None,
        victim: None,
        constraint: None,
        zones: Vec::new(),
        nodes: BTreeMap::new(),
        totals: Counts::new(),
        trailer: Counts::new(),
        numa: false,
        cut: None,
    };
    header::read(&mut report, segment);
    memory::read(&mut report, segment);
    report.cut = cut(&report, segment);
    report
}

/// The line after which something is missing that a report always has.
fn cut(report: &Report, segment: &text::Segment) -> Option<usize> {
    if report.group.is_some() {
        return None;
    }
    if report.zones.is_empty() {
        return Some(segment.last_said());
    }
    let ends = |zone: &Zone| zone.kb.values().map(|n| n.line).max().unwrap_or(zone.line);
    let short = report.zones.iter().find(|z| z.get("min").is_none() || z.get("free").is_none());
    let buddy_cut = |z: &Zone| {
        let buddy = z.buddy.as_ref()?;
        buddy.total_kb.is_none().then(|| buddy.runs.last().map_or(buddy.line, |run| run.line))
    };
    short
        .map(ends)
        .or_else(|| report.zones.iter().find_map(buddy_cut))
        .or_else(|| report.zones.iter().any(|z| z.buddy.is_none()).then_some(report.last))
}
