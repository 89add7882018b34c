//! `ps`: the table of tasks, who is chosen, and what else is asked about them.

use super::limits;
use super::list::{self, Listed};
use crate::mm::Machine;
use crate::script::answer::{ScriptResult, misuse};
use crate::script::bench::Desk;
use crate::script::objects;
use crate::script::table::{Cell, Record, Table};

/// What a `ps` line asks for.
#[derive(Default)]
struct Wanted {
    kernel: bool,
    user: bool,
    leaders: bool,
    active: bool,
    summary: bool,
    limits: bool,
    arguments: bool,
    times: bool,
    stack: bool,
    last_run: bool,
    who: Vec<String>,
}

/// Reads options, pids, addresses and names.
fn wanted(words: &str) -> ScriptResult<Wanted> {
    let mut wanted = Wanted::default();
    for word in words.split_whitespace() {
        match word {
            "-k" => wanted.kernel = true,
            "-u" => wanted.user = true,
            "-G" => wanted.leaders = true,
            "-A" => wanted.active = true,
            "-S" => wanted.summary = true,
            "-r" => wanted.limits = true,
            "-a" => wanted.arguments = true,
            "-t" => wanted.times = true,
            "-s" => wanted.stack = true,
            "-m" | "-l" => wanted.last_run = true,
            word if word.starts_with('-') => {
                return misuse(format!("ps: invalid option -- '{}'", word.trim_start_matches('-')));
            }
            word => wanted.who.push(word.into()),
        }
    }
    Ok(wanted)
}

/// The tasks that the words choose, as the view they ask for.
pub fn ps(desk: &Desk, words: &str) -> ScriptResult<Table> {
    let wanted = wanted(words)?;
    let machine = &desk.machine;
    let mut chosen = list::all(machine);
    if !wanted.who.is_empty() {
        let everybody = std::mem::take(&mut chosen);
        for word in &wanted.who {
            let named: Vec<Listed> = everybody.iter().filter(|t| t.comm == *word).cloned().collect();
            if named.is_empty() {
                chosen.push(list::who(desk, "ps", &word.as_str().into())?);
            } else {
                chosen.extend(named);
            }
        }
    }
    let leads = |t: &Listed| machine.tasks.get(&t.pid).is_none_or(|task| task.pid == task.tgid);
    chosen.retain(|t| {
        (!wanted.kernel || t.kernel)
            && (!wanted.user || !t.kernel)
            && (!wanted.active || t.active)
            && (!wanted.leaders || leads(t))
    });
    if wanted.summary {
        return Ok(summary(&chosen));
    }
    if wanted.limits {
        return Ok(limits::crash(machine, &chosen));
    }
    if wanted.arguments {
        return Ok(arguments(&chosen));
    }
    if wanted.times {
        return Ok(times(machine, &chosen));
    }
    if wanted.last_run {
        return Ok(last_run(machine, chosen));
    }
    Ok(table(machine, &chosen, wanted.stack))
}

/// One line for each task, in crash's columns.
fn table(machine: &Machine, tasks: &[Listed], stack: bool) -> Table {
    let digits = machine.config.arch.address_digits();
    let physical: u64 = machine.zones.iter().map(|z| z.present_pages * 4).sum();
    // The heading is one column wider than the rows below it, as in crash.
    let (left, right) = (digits / 2 - 3, digits / 2 - 2);
    let head = if stack {
        "      PID    PPID  CPU      KSTACKP      ST  %MEM      VSZ      RSS  COMM".to_string()
    } else {
        format!("      PID    PPID  CPU  {:left$}TASK{:right$}  ST  %MEM      VSZ      RSS  COMM", "", "")
    };
    let mut table = Table::new().head(head);
    let mut records = Vec::new();
    for t in tasks {
        let mem = format!("{:.1}", (t.rss * 100) as f64 / physical.max(1) as f64);
        let mark = if t.active { '>' } else { ' ' };
        table = table.line(format!(
            "{mark}{:>8}{:>8}{:>4}  {:0digits$x}  {}{mem:>6}{:>9}{:>9}  {}",
            t.pid,
            t.ppid,
            t.cpu,
            if stack { objects::kernel_stack(machine, t.pid, t.cpu) } else { t.task },
            t.st,
            t.vsz,
            t.rss,
            t.shown()
        ));
        records.push(record(t));
    }
    table.with_records(records)
}

fn record(t: &Listed) -> Record {
    vec![
        ("pid".into(), t.pid.into()),
        ("ppid".into(), t.ppid.into()),
        ("cpu".into(), t.cpu.into()),
        ("task".into(), Cell::Addr(t.task)),
        ("st".into(), t.st.into()),
        ("active".into(), t.active.into()),
        ("kernel".into(), t.kernel.into()),
        ("vsz".into(), t.vsz.into()),
        ("rss".into(), t.rss.into()),
        ("comm".into(), t.comm.as_str().into()),
    ]
}

/// How many tasks stand how.
fn summary(tasks: &[Listed]) -> Table {
    let mut table = Table::new();
    let mut records = Vec::new();
    for st in ["RU", "IN", "DE"] {
        let n = tasks.iter().filter(|t| t.st == st).count();
        if n > 0 {
            table = table.line(format!("  {st}: {n}"));
            records.push(vec![("st".to_string(), st.into()), ("tasks".to_string(), n.into())]);
        }
    }
    table.with_records(records)
}

/// `ps -a`: what a program was called with. Programs here get their name and no environment.
fn arguments(tasks: &[Listed]) -> Table {
    let mut table = Table::new();
    for t in tasks {
        table = table.head(t.header());
        table = if t.kernel {
            table.line("(no user stack)")
        } else if matches!(t.st, "DE" | "ZO") {
            table.line("(no user address space)")
        } else {
            table.line(format!("ARG: {} ", t.comm)).line("ENV: ")
        };
        table = table.line("");
    }
    table.with_records(tasks.iter().map(record).collect())
}

/// Nanoseconds as `hh:mm:ss`.
fn clock(ns: u64) -> String {
    let s = ns / 1_000_000_000;
    format!("{:02}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60)
}

/// `ps -t`: since when, and for how long. Shares of the CPU are not kept.
fn times(machine: &Machine, tasks: &[Listed]) -> Table {
    let mut table = Table::new();
    let mut records = Vec::new();
    for t in tasks {
        let task = machine.tasks.get(&t.pid);
        let start = task.map_or(0, |task| task.start_time);
        let end = task.filter(|task| !task.is_alive()).map_or(machine.clock, |task| task.end_time);
        table = table
            .head(t.header())
            .line(format!("    RUN TIME: {}", clock(end.saturating_sub(start))))
            .line(format!("  START TIME: {start}"))
            .line("");
        records.push(vec![
            ("pid".to_string(), t.pid.into()),
            ("run_time".to_string(), end.saturating_sub(start).into()),
            ("start_time".to_string(), start.into()),
        ]);
    }
    table.note("UTIME and STIME are not kept: time here has one owner").with_records(records)
}

/// `ps -m`: who ran last comes first.
fn last_run(machine: &Machine, tasks: Vec<Listed>) -> Table {
    let since = |t: &Listed| {
        let ran = machine.tasks.get(&t.pid).map_or(0, |task| task.last_ran);
        if t.active { 0 } else { machine.clock.saturating_sub(ran) }
    };
    let mut tasks = tasks;
    tasks.retain(|t| t.pid != 0);
    tasks.sort_by_key(|t| (since(t), t.pid));
    let mut table = Table::new();
    let mut records = Vec::new();
    for t in &tasks {
        let ns = since(t);
        let (days, ms) = (ns / 86_400_000_000_000, ns / 1_000_000 % 1000);
        let text = format!("[{days} {}.{ms:03}] [{}]  {}", clock(ns % 86_400_000_000_000), t.st, t.header());
        table = table.line(text);
        records.push(vec![("pid".to_string(), t.pid.into()), ("ago".to_string(), ns.into())]);
    }
    table.with_records(records)
}
