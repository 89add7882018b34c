//! `ps`: the table of tasks, who is chosen, and what else is asked about them.

use super::list::{self, Listed};
use crate::mm::Machine;
use crate::mm::task::Rlimits;
use crate::script::answer::{ScriptResult, misuse};
use crate::script::bench::Desk;
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
    who: Vec<String>,
}

/// Reads `-k`, `-u`, pids, addresses and names.
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
        return Ok(limits(machine, &chosen));
    }
    Ok(table(machine, &chosen))
}

/// One line for each task, in crash's columns.
fn table(machine: &Machine, tasks: &[Listed]) -> Table {
    let digits = machine.config.arch.address_digits();
    let physical: u64 = machine.zones.iter().map(|z| z.present_pages * 4).sum();
    // The heading is one column wider than the rows below it, as in crash.
    let (left, right) = (digits / 2 - 3, digits / 2 - 2);
    let head =
        format!("      PID    PPID  CPU  {:left$}TASK{:right$}  ST  %MEM      VSZ      RSS  COMM", "", "");
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
            t.task,
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

/// The limits that bind memory; the kernel has more of them.
fn limits(machine: &Machine, tasks: &[Listed]) -> Table {
    let mut table = Table::new();
    let mut records = Vec::new();
    for t in tasks {
        let limits = machine.tasks.get(&t.pid).map_or_else(Rlimits::default, |task| task.rlimits);
        table = table.head(t.header()).head("      RLIMIT     CURRENT       MAXIMUM");
        for (name, bytes) in [
            ("DATA", limits.data),
            ("STACK", limits.stack),
            ("MEMLOCK", limits.memlock),
            ("AS", limits.address_space),
        ] {
            let shown = if bytes == u64::MAX { "(unlimited)".to_string() } else { bytes.to_string() };
            table = table.line(format!("{name:>12}   {shown:^11}   {shown:^11}").trim_end());
            records.push(vec![
                ("pid".to_string(), t.pid.into()),
                ("limit".to_string(), name.into()),
                ("bytes".to_string(), if bytes == u64::MAX { Cell::Empty } else { bytes.into() }),
            ]);
        }
        table = table.line("");
    }
    table.with_records(records)
}
