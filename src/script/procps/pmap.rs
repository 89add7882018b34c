//! `pmap`: the areas of a task, from the rows of /proc/PID/smaps.

use crate::mm::Machine;
use crate::script::answer::{ScriptResult, misuse};
use crate::script::proc::pid::smaps::smaps;
use crate::script::ps::list::Listed;
use crate::script::table::{Cell, Record, Table};

/// An area, in kB.
struct Area {
    start: u64,
    size: i64,
    rss: i64,
    dirty: i64,
    perms: String,
    mapping: String,
}

impl Area {
    fn of(row: &Record) -> Area {
        let cell =
            |key: &str| row.iter().find(|(name, _)| name == key).map_or(&Cell::Empty, |(_, cell)| cell);
        let number = |key: &str| match cell(key) {
            Cell::Int(n) => *n,
            Cell::Addr(n) => *n as i64,
            _ => 0,
        };
        let perms = cell("perms").text();
        // The tool shows private as `-` and has a place for R of reserve.
        let shared = if perms.ends_with('s') { 's' } else { '-' };
        // Of a file the last part of its path; whatever else stands in brackets is anonymous to the tool.
        let name = cell("name").text();
        let mapping = match name.rsplit_once('/') {
            Some((_, file)) => file.to_string(),
            None if name == "[stack]" => "  [ stack ]".into(),
            None => "  [ anon ]".into(),
        };
        Area {
            start: number("start") as u64,
            size: number("size"),
            rss: number("rss"),
            dirty: number("shared_dirty") + number("private_dirty"),
            perms: format!("{}{shared}-", perms.get(..3).unwrap_or("---")),
            mapping,
        }
    }
}

/// The areas and their sum.
pub fn pmap(machine: &Machine, t: &Listed, options: &str) -> ScriptResult<Table> {
    let long = match options.trim() {
        "" => false,
        "-x" => true,
        other => return misuse(format!("pmap: {other:?} is not -x")),
    };
    let areas: Vec<Area> = smaps(machine, t.pid).records().iter().map(Area::of).collect();
    let mut table = Table::new().head(format!("{}:   {}", t.pid, t.comm));
    if long {
        table = table.head("Address           Kbytes     RSS   Dirty Mode  Mapping");
    }
    let mut records = Vec::new();
    for a in &areas {
        table = table.line(if long {
            format!("{:016x} {:>7} {:>7} {:>7} {} {}", a.start, a.size, a.rss, a.dirty, a.perms, a.mapping)
        } else {
            format!("{:016x} {:>6}K {} {}", a.start, a.size, a.perms, a.mapping)
        });
        records.push(vec![
            ("address".into(), Cell::Addr(a.start)),
            ("kbytes".into(), a.size.into()),
            ("rss".into(), a.rss.into()),
            ("dirty".into(), a.dirty.into()),
            ("mode".into(), a.perms.as_str().into()),
            ("mapping".into(), a.mapping.trim().into()),
        ]);
    }
    let sum = |part: fn(&Area) -> i64| areas.iter().map(part).sum::<i64>();
    let (size, rss, dirty) = (sum(|a| a.size), sum(|a| a.rss), sum(|a| a.dirty));
    table = if long {
        table
            .line("---------------- ------- ------- ------- ")
            .line(format!("total kB         {size:>7} {rss:>7} {dirty:>7}"))
    } else {
        table.line(format!(" total {size:>16}K"))
    };
    Ok(table.with_records(records))
}
