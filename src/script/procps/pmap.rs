//! `pmap`: the areas of a task, from the rows of /proc/PID/smaps.
//!
//! ```text
//!   pmap         size, mode, mapping        -x  and RSS, Dirty       -d  and offset, device
//!   -X  columns of smaps that say most      -XX  all of them         -p  paths, not their last names
//! ```

use crate::mm::Machine;
use crate::mm::vma::{ShownFile, VmFlags, Vma};
use crate::script::answer::{ScriptResult, misuse};
use crate::script::proc::pid::smaps;
use crate::script::ps::list::Listed;
use crate::script::table::{Cell, Record, Table};

/// Columns of smaps that only -XX shows.
const MINOR: &[&str] = &[
    "KernelPageSize",
    "MMUPageSize",
    "Shared_Clean",
    "Shared_Dirty",
    "Private_Clean",
    "Private_Dirty",
    "AnonHugePages",
    "VmFlags",
];

/// What is shown of each area.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Form {
    #[default]
    Short,
    /// `-x`.
    Extended,
    /// `-d`.
    Device,
    /// `-X`, and `-XX` with everything.
    Smaps { all: bool },
}

/// An area with its row of smaps.
struct Area<'a> {
    vma: &'a Vma,
    place: ShownFile,
    name: String,
    row: &'a Record,
}

impl Area<'_> {
    /// A number of smaps, in kB.
    fn kb(&self, key: &str) -> u64 {
        let key = key.to_lowercase();
        let cell = self.row.iter().find(|(name, _)| *name == key).map(|(_, cell)| cell);
        if let Some(Cell::Int(n)) = cell { *n as u64 } else { 0 }
    }

    fn dirty(&self) -> u64 {
        self.kb("Shared_Dirty") + self.kb("Private_Dirty")
    }

    fn is_shared(&self) -> bool {
        self.vma.flags.has(VmFlags::MAYSHARE)
    }

    /// The tool shows private as `-` and has a place for R of reserve.
    fn mode(&self) -> String {
        let perms = self.vma.flags.perms();
        let shared = if self.is_shared() { 's' } else { '-' };
        format!("{}{shared}-", perms.get(..3).unwrap_or("---"))
    }

    /// Of a file its path or the last part of it; else what `other` makes of the name.
    fn mapping(&self, paths: bool, other: fn(&str) -> &str) -> String {
        match self.name.rsplit_once('/') {
            _ if self.name.starts_with("/SYSV") => format!("  [ shmid={:#x} ]", self.place.inode),
            Some(_) if paths => self.name.clone(),
            Some((_, file)) => file.into(),
            None => other(&self.name).into(),
        }
    }
}

/// Whatever else stands in brackets is anonymous to the tool.
fn plain(name: &str) -> &str {
    if name == "[stack]" { "  [ stack ]" } else { "  [ anon ]" }
}

/// The areas and their sum.
pub fn pmap(machine: &Machine, t: &Listed, options: &str) -> ScriptResult<Table> {
    let (mut form, mut paths) = (Form::Short, false);
    for option in options.split_whitespace() {
        match option {
            "-x" => form = Form::Extended,
            "-d" => form = Form::Device,
            "-X" => form = Form::Smaps { all: false },
            "-XX" => form = Form::Smaps { all: true },
            "-p" => paths = true,
            other => return misuse(format!("pmap: {other:?} is none of -x, -X, -XX, -d and -p")),
        }
    }
    let smaps = smaps::smaps(machine, t.pid);
    let mm = machine.tasks.get(&t.pid).and_then(|task| task.mm);
    let vmas = mm.into_iter().flat_map(|mm| machine.areas(mm));
    let areas: Vec<Area> = vmas
        .zip(smaps.records())
        .map(|((_, vma), row)| {
            let (place, name) = (machine.shown_file(vma), machine.vma_name(vma).into_owned());
            Area { vma, place, name, row }
        })
        .collect();
    let table = Table::new().head(format!("{}:   {}", t.pid, t.comm));
    let width = if machine.config.arch.is_64bit() { 16 } else { 8 };
    Ok(match form {
        Form::Smaps { all } => columns(table, &areas, all, paths, width),
        _ => listing(table, &areas, form, paths, width),
    })
}

/// The forms whose columns have fixed widths.
fn listing(mut table: Table, areas: &[Area], form: Form, paths: bool, width: usize) -> Table {
    table = match form {
        Form::Extended => table.head(format!("{:<width$}  Kbytes     RSS   Dirty Mode  Mapping", "Address")),
        Form::Device => {
            table.head(format!("{:<width$}  Kbytes Mode  Offset           Device    Mapping", "Address"))
        }
        _ => table,
    };
    let mut records = Vec::new();
    for a in areas {
        let (start, size, mode) = (a.vma.start, a.kb("Size"), a.mode());
        let (rss, dirty, mapping) = (a.kb("Rss"), a.dirty(), a.mapping(paths, plain));
        let (ShownFile { offset, .. }, (major, minor)) = (a.place, a.place.device);
        table = table.line(match form {
            Form::Extended => format!("{start:0width$x} {size:>7} {rss:>7} {dirty:>7} {mode} {mapping}"),
            Form::Device => {
                format!("{start:0width$x} {size:>7} {mode} {offset:016x} {major:03x}:{minor:05x} {mapping}")
            }
            _ => format!("{start:0width$x} {size:>6}K {mode} {mapping}"),
        });
        let mut record: Record = vec![
            ("address".into(), Cell::Addr(start)),
            ("kbytes".into(), size.into()),
            ("rss".into(), rss.into()),
            ("dirty".into(), dirty.into()),
            ("mode".into(), mode.as_str().into()),
            ("mapping".into(), mapping.trim().into()),
        ];
        if form == Form::Device {
            record.push(("offset".into(), Cell::Addr(offset)));
            record.push(("device".into(), format!("{major:03x}:{minor:05x}").as_str().into()));
        }
        records.push(record);
    }
    let sum = |part: fn(&Area) -> u64| areas.iter().map(part).sum::<u64>();
    let size = sum(|a| a.kb("Size"));
    table = match form {
        Form::Extended => {
            let (rss, dirty, first) = (sum(|a| a.kb("Rss")), sum(|a| a.dirty()), width - 1);
            table
                .line(format!("{} ------- ------- ------- ", "-".repeat(width)))
                .line(format!("total kB {size:>first$} {rss:>7} {dirty:>7}"))
        }
        Form::Device => {
            let own = sum(|a| match a.vma.flags.has(VmFlags::WRITE) && !a.is_shared() {
                true => a.kb("Size"),
                false => 0,
            });
            let shared = sum(|a| if a.is_shared() { a.kb("Size") } else { 0 });
            table.line(format!("mapped: {size}K    writeable/private: {own}K    shared: {shared}K"))
        }
        _ => table.line(format!(" total {size:>width$}K")),
    };
    table.with_records(records)
}

/// The columns of smaps, each as wide as what stands in it.
fn columns(mut table: Table, areas: &[Area], all: bool, paths: bool, width: usize) -> Table {
    let keys: Vec<&str> = smaps::keys().filter(|key| all || !MINOR.contains(key)).collect();
    let numbers: Vec<&str> = keys.iter().copied().filter(|key| *key != "VmFlags").collect();
    let sums: Vec<u64> =
        numbers.iter().map(|key| areas.iter().map(|area| area.kb(key)).sum::<u64>()).collect();
    let text = |area: &Area, key: &str| match key {
        "VmFlags" => area.row.iter().find(|(name, _)| name == "vmflags").map(|(_, cell)| cell.text()),
        _ => Some(area.kb(key).to_string()),
    };
    let widest = |key: &str, least: usize| {
        let cells = areas.iter().filter_map(|area| text(area, key)).map(|cell| cell.len());
        cells.max().unwrap_or(0).max(least).max(key.len())
    };
    let sum_of = |key: &str| numbers.iter().position(|known| *known == key).map(|at| sums[at]);
    let widths: Vec<usize> =
        keys.iter().map(|key| widest(key, sum_of(key).map_or(0, |sum| sum.to_string().len()))).collect();
    let inodes = areas.iter().map(|a| a.place.inode.to_string().len()).max().unwrap_or(0).max(5);
    let row = |cells: &mut dyn Iterator<Item = String>| {
        cells.zip(&widths).map(|(cell, width)| format!("{cell:>width$}")).collect::<Vec<_>>().join(" ")
    };
    let names = row(&mut keys.iter().map(|key| key.to_string()));
    table = table
        .head(format!("{:>width$} Perm   Offset Device {:>inodes$} {names} Mapping", "Address", "Inode"));
    let mut records = Vec::new();
    for a in areas {
        let ShownFile { offset, device: (major, minor), inode } = a.place;
        let (start, perms) = (a.vma.start, a.vma.flags.perms());
        let device = format!("{major:02x}:{minor:02x}");
        let cells = row(&mut keys.iter().map(|key| text(a, key).unwrap_or_default()));
        let mapping = a.mapping(paths, |name| name);
        table = table.line(format!(
            "{start:>width$x} {perms} {offset:08x} {device:>6} {inode:>inodes$} {cells} {mapping}"
        ));
        let mut record: Record = vec![
            ("address".into(), Cell::Addr(start)),
            ("perm".into(), perms.as_str().into()),
            ("offset".into(), Cell::Addr(offset)),
            ("device".into(), device.as_str().into()),
            ("inode".into(), inode.into()),
        ];
        record.extend(keys.iter().filter_map(|key| {
            let key = key.to_lowercase();
            a.row.iter().find(|(name, _)| *name == key).cloned()
        }));
        record.push(("mapping".into(), mapping.as_str().into()));
        records.push(record);
    }
    let before = " ".repeat(width + inodes + 22);
    let strokes = row(&mut widths.iter().take(numbers.len()).map(|width| "=".repeat(*width)));
    let sums = row(&mut sums.iter().map(u64::to_string));
    table.line(format!("{before}{strokes} ")).line(format!("{before}{sums} KB ")).with_records(records)
}
