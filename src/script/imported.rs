//! The report on an imported machine: what was read, what it makes, why it failed, where it differs from what is computed.

use crate::import::evidence::Evidence;
use crate::import::maps::{Maps, Source};
use crate::import::process::{LaidOut, Process};
use crate::import::report::cause::{account as told, tell};
use crate::import::report::{Kind, Report};
use crate::mm::Machine;
use crate::mm::addr::PAGE_SHIFT;
use crate::mm::exec::recorded::{RecordedArea, Resident};
use crate::mm::mmzone::Wmark;
use crate::mm::task::Pid;
use crate::mm::vma::VmFlags;
use crate::script::table::{Column, Table};

/// Reports that are listed beside the one that is explained.
const LISTED: usize = 20;
/// Areas of a process that are listed by size.
const LARGEST: usize = 5;

/// The report; its rows are the zones. There may be no machine: then it is said why.
pub fn report(evidence: &Evidence, machine: Result<&Machine, &str>) -> Table {
    let mut table = if evidence.reports.is_empty() {
        Table::new().head(format!("read: {}", evidence.kinds.join(", "))).line("")
    } else {
        found(evidence)
    };
    let machine = match machine {
        Ok(machine) => machine,
        Err(why) => return table.sentence(why),
    };
    table = crate::script::machine::text(machine).lines().fold(table, Table::line).line("");
    let columns = vec![
        Column::right("NODE", 0),
        Column::left("ZONE", 0),
        Column::right("START_PFN", 0),
        Column::right("PRESENT", 0),
        Column::right("MANAGED", 0),
        Column::right("FREE", 0),
        Column::right("MIN", 0),
        Column::right("LOW", 0),
        Column::right("HIGH", 0),
    ];
    let zones = machine.zones.iter().filter(|zone| zone.is_populated());
    let rows = zones.map(|zone| {
        vec![
            u64::from(zone.node.0).into(),
            zone.kind.name().into(),
            u64::from(zone.zone_start_pfn).into(),
            zone.present_pages.into(),
            zone.managed_pages.into(),
            zone.free_pages().into(),
            zone.wmark(Wmark::Min).into(),
            zone.wmark(Wmark::Low).into(),
            zone.wmark(Wmark::High).into(),
        ]
    });
    let zones = Table::grid(columns, rows.collect());
    table = zones.parts().iter().fold(table, |table, part| table.part(part.clone())).line("");
    let found = match evidence.differences(machine) {
        Ok(found) => found,
        Err(why) => return table.sentence(why.to_string()).with_records(zones.records().to_vec()),
    };
    table = match (found.as_slice(), evidence.is_state()) {
        (_, true) => table.line("Watermarks and protection are those that it shows."),
        ([], false) => {
            table.line("Watermarks, protection and per-CPU lists, as computed, are those captured.")
        }
        (found, false) => {
            let table = table.sentence("What is computed differs from what was captured: the machine was tuned, or the captures are of different moments.");
            found.iter().fold(table, |table, difference| table.sentence(format!("  {difference}")))
        }
    };
    table.with_records(zones.records().to_vec())
}

/// The report on a process that was imported: what it has, and what came of it here. Its rows are the areas by kind.
pub fn process(process: &Process, laid_out: &LaidOut, machine: &Machine) -> Table {
    match (process, laid_out) {
        (Process::Areas { file, maps }, LaidOut::Task(pid, here)) => areas(file, maps, *pid, *here, machine),
        (Process::Calls { file, .. }, LaidOut::Replay(done)) => {
            let head = Table::new()
                .head(format!("read: {file}, a log of strace, done again on {}", machine.config.name));
            let said = crate::script::strace::report(done);
            let records = said.records().to_vec();
            head.line("")
                .append(&said)
                .line("")
                .line(format!(
                    "Its areas now: cat /proc/{0}/maps, vm {0}, pmap -x {0}, draw vma {0}",
                    done.pid
                ))
                .with_records(records)
        }
        _ => Table::new(),
    }
}

fn areas(file: &str, maps: &Maps, pid: Pid, here: Resident, machine: &Machine) -> Table {
    let pages = |area: &RecordedArea| (area.end - area.start) >> PAGE_SHIFT;
    let kind = |area: &RecordedArea| match &*area.name {
        name if name.starts_with('/') => "files",
        "[heap]" => "heap",
        name if name.starts_with("[stack") => "stack",
        "" => "anonymous",
        _ => "other",
    };
    let what = match maps.source {
        Source::Maps => "a maps",
        Source::Smaps => "an smaps",
        Source::Pmap => "a pmap",
    };
    let total: u64 = maps.areas.iter().map(pages).sum();
    let mut table = Table::new()
        .head(format!("read: {file}, {what} of a process: {} areas, {} KiB", maps.areas.len(), total * 4))
        .line("");
    let columns = vec![
        Column::left("KIND", 0),
        Column::right("AREAS", 0),
        Column::right("KIB", 0),
        Column::right("WRITABLE_KIB", 0),
    ];
    let rows = ["files", "heap", "stack", "anonymous", "other"].map(|name| {
        let these = || maps.areas.iter().filter(|area| kind(area) == name);
        let writable = these().filter(|area| area.flags.has(VmFlags::WRITE)).map(pages).sum::<u64>();
        let size = these().map(pages).sum::<u64>();
        vec![name.into(), these().count().into(), (size * 4).into(), (writable * 4).into()]
    });
    let kinds = Table::grid(columns, rows.to_vec());
    table = table.append(&kinds).line("").line("the largest:");
    let mut largest: Vec<&RecordedArea> = maps.areas.iter().collect();
    largest.sort_by_key(|area| (std::cmp::Reverse(pages(area)), area.start));
    for area in largest.into_iter().take(LARGEST) {
        let name = if area.name.is_empty() { "[ anon ]" } else { &area.name };
        table = table.line(format!("  {:>10} KiB  {:x}-{:x}  {name}", pages(area) * 4, area.start, area.end));
    }
    let comm = machine.tasks.get(&pid).map(|task| task.comm.to_string()).unwrap_or_default();
    table = table.line("").sentence(format!(
        "It is task {pid} ({comm}) on {} here: cat /proc/{pid}/maps, vm {pid}, pmap -x {pid}, draw vma {pid}",
        machine.config.name
    ));
    if !maps.placed {
        table = table.sentence(
            "The listing does not say where the areas lie in their files: offsets are counted from the first area of a file.",
        );
    }
    let wanted = maps.pages();
    table = table.sentence(if maps.resident {
        format!(
            "In memory were {} KiB that had been written, some maybe in swap, and {} KiB of files; here are {} and {} KiB.",
            wanted.written * 4,
            wanted.read * 4,
            here.written * 4,
            here.read * 4
        )
    } else {
        "It was not said what was in memory: the task has touched nothing. An smaps or pmap -x says it.".into()
    });
    table.with_records(kinds.records().to_vec())
}

/// What a report tells about its request: the cause, the arithmetic, what would have helped.
pub fn account(lines: &[String]) -> Table {
    lines.iter().fold(Table::new(), Table::sentence)
}

/// What was found in a log, and why the request of the chosen report failed.
fn found(evidence: &Evidence) -> Table {
    let reports = &evidence.reports;
    let chosen = &reports[evidence.chosen.unwrap_or(0)];
    let inferred = evidence.config.as_ref().map_or(0, |config| config.inferred.len());
    let machine = match (&evidence.config, inferred) {
        (None, _) => "no machine in it".to_string(),
        (Some(_), 1) => "machine rebuilt; 1 thing inferred, listed".into(),
        (Some(_), n) => format!("machine rebuilt; {n} things inferred, listed"),
    };
    let what = if reports.len() == 1 {
        format!("found 1 {}", chosen.kind.name())
    } else {
        format!("found {} reports; explained is {}, {}", reports.len(), nth(evidence.chosen), an(chosen.kind))
    };
    let config = evidence.config.as_ref();
    let table = Table::new().sentence(format!(
        "{what} ({}), lines {} to {} of {}; {machine}",
        of_what(chosen, config.map(|config| (config.arch.name(), config.nodes.len()))),
        chosen.first,
        chosen.last,
        evidence.log
    ));
    let table = told(chosen, &evidence.log).iter().fold(table, Table::sentence);
    others(evidence, table).line("")
}

/// `Linux 6.8.0-rc3, x86_64, 1 node`.
fn of_what(report: &Report, machine: Option<(&str, usize)>) -> String {
    let linux = report.release.as_ref().map_or("kernel not named".into(), |r| format!("Linux {}", r.value));
    match machine {
        Some((arch, 1)) => format!("{linux}, {arch}, 1 node"),
        Some((arch, nodes)) => format!("{linux}, {arch}, {nodes} nodes"),
        None => linux,
    }
}

fn nth(at: Option<usize>) -> String {
    format!("report {}", at.unwrap_or(0) + 1)
}

fn an(kind: Kind) -> String {
    match kind {
        Kind::ShowMemory => format!("a {}", kind.name()),
        Kind::AllocFailure | Kind::Oom => format!("an {}", kind.name()),
    }
}

/// The other reports of the log, one line each.
fn others(evidence: &Evidence, table: Table) -> Table {
    let chosen = evidence.chosen.unwrap_or(0);
    let others = || evidence.reports.iter().enumerate().filter(|(at, _)| *at != chosen);
    if others().next().is_none() {
        return table;
    }
    let mut table = table.line("others (vmlab --report N import … explains one):");
    for (at, report) in others().take(LISTED) {
        let class = tell(report).class.name();
        table =
            table.sentence(format!("  {}. line {}, {}: {class}", at + 1, report.first, report.kind.name()));
    }
    match others().count().saturating_sub(LISTED) {
        0 => table,
        more => table.line(format!("  and {more} more")),
    }
}
