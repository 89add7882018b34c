//! `vm`: an address space, its areas, and with `-p` every page of them.
//!
//! ```text
//!   PID: 3        TASK: …  CPU: 0    COMMAND: "hog"
//!          MM               PGD          RSS    TOTAL_VM
//!         VMA           START       END     FLAGS FILE
//!   VIRTUAL     PHYSICAL                                   with -p: address, or SWAP: …, or (not mapped)
//! ```

use super::entries::{self, Behind};
use crate::mm::Machine;
use crate::mm::addr::PAGE_SIZE;
use crate::mm::task::MmId;
use crate::mm::vma::{Vma, VmaId};
use crate::script::objects::{self, Object};
use crate::script::ps::list::Listed;
use crate::script::table::{Cell, Record, Table};
use std::collections::BTreeMap;

/// Pages that are shown at most: those of 1 GiB.
const SHOWN: u64 = 1 << 18;

/// What is looked for with `-R`: a number or the name of a file.
#[derive(Clone, Debug)]
pub struct Reference {
    number: Option<u64>,
    text: String,
}

impl Reference {
    /// What a word refers to.
    pub fn new(word: &str) -> Reference {
        let number = u64::from_str_radix(word.trim_start_matches("0x"), 16).ok();
        Reference { number, text: word.into() }
    }

    fn is_area(&self, machine: &Machine, addr: u64, vma: &Vma) -> bool {
        let numbers = [addr, vma.start, vma.end, vma.flags.0];
        self.number.is_some_and(|n| numbers.contains(&n))
            || (!self.text.is_empty() && entries::file(machine, vma).contains(&self.text))
    }

    fn is_page(&self, virt: u64, behind: Behind) -> bool {
        let frame = match behind {
            Behind::Page(pfn) | Behind::ZeroPage(pfn) => Some(pfn.phys().0),
            _ => None,
        };
        self.number.is_some_and(|n| n & !(PAGE_SIZE - 1) == virt || Some(n & !(PAGE_SIZE - 1)) == frame)
    }
}

/// The address space of a task as a whole: heading and line.
fn space(machine: &Machine, t: &Listed) -> (String, String) {
    let digits = machine.config.arch.address_digits();
    let centred = |text: &str, width: usize| {
        let right = width.saturating_sub(text.len()).div_ceil(2);
        format!("{text:>0$}{1}", width.saturating_sub(right).max(text.len()), " ".repeat(right))
    };
    let head = format!("{}  {}   RSS    TOTAL_VM", centred("MM", digits), centred("PGD", digits));
    let row = match mm_of(machine, t) {
        Some(mm) => {
            let of = &machine.mms[mm];
            let pgd = machine.phys_to_virt(machine.tables.upper(of.pgd).pfn.phys()).0;
            let (rss, total) =
                (format!("{}k", of.resident() * 4), centred(&format!("{}k", of.total_vm * 4), 8));
            format!("{:0digits$x}  {pgd:0digits$x}  {}  {total}", objects::mm(machine, mm), centred(&rss, 6))
        }
        None => format!(
            "{}  {}  {}  {}",
            centred("0", digits),
            centred("0", digits),
            centred("0k", 6),
            centred("0k", 8)
        ),
    };
    (head, row.trim_end().to_string())
}

/// The task's address space, if it has one.
pub fn mm_of(machine: &Machine, t: &Listed) -> Option<MmId> {
    machine.tasks.get(&t.pid)?.mm.filter(|mm| machine.mms.get(*mm).is_some())
}

/// The heading over areas.
pub fn area_head(machine: &Machine) -> &'static str {
    if machine.config.arch.is_64bit() {
        "      VMA           START       END     FLAGS FILE"
    } else {
        "  VMA       START       END     FLAGS FILE"
    }
}

/// The line of an area.
pub fn area_line(machine: &Machine, id: VmaId, vma: &Vma) -> String {
    let digits = machine.config.arch.address_digits();
    let (at, file) = (objects::vma(machine, id), entries::file(machine, vma));
    format!("{at:0digits$x} {:>10x} {:>10x} {:>6x} {file}", vma.start, vma.end, vma.flags.0)
        .trim_end()
        .to_string()
}

fn area_record(machine: &Machine, t: &Listed, id: VmaId, vma: &Vma) -> Record {
    vec![
        ("pid".into(), t.pid.into()),
        ("vma".into(), Cell::Addr(objects::vma(machine, id))),
        ("start".into(), Cell::Addr(vma.start)),
        ("end".into(), Cell::Addr(vma.end)),
        ("flags".into(), Cell::Addr(vma.flags.0)),
        ("file".into(), entries::file(machine, vma).into()),
    ]
}

/// `vm`: header, address space, areas.
pub fn areas(machine: &Machine, t: &Listed) -> Table {
    let mut table = Table::new().head(t.header());
    let (head, row) = space(machine, t);
    table = table.head(head).line(row);
    let mut records = Vec::new();
    if let Some(mm) = mm_of(machine, t) {
        table = table.head(area_head(machine));
        for (id, vma) in machine.areas(mm) {
            table = table.line(area_line(machine, id, vma));
            records.push(area_record(machine, t, id, vma));
        }
    }
    table.with_records(records)
}

/// `vm -p`: the areas, each with its pages; with a reference, only what it names.
pub fn pages(machine: &Machine, t: &Listed, wanted: Option<&Reference>) -> Table {
    let mut body = Table::new();
    let mut records = Vec::new();
    let mut left = SHOWN;
    let Some(mm) = mm_of(machine, t) else { return areas(machine, t) };
    for (id, vma) in machine.areas(mm) {
        let (lines, rows) = area_pages(machine, t, vma, mm, wanted, &mut left);
        let named = wanted.is_none_or(|r| r.is_area(machine, objects::vma(machine, id), vma));
        if !named && lines.is_empty() {
            continue;
        }
        body = body.head(area_head(machine)).line(area_line(machine, id, vma));
        if wanted.is_none() || !lines.is_empty() {
            body = body.head("VIRTUAL     PHYSICAL");
        }
        body = lines.into_iter().fold(body, Table::line);
        records.extend(rows);
    }
    if body.parts().is_empty() && wanted.is_some() {
        return Table::new();
    }
    let mut table = Table::new().head(t.header());
    let (head, row) = space(machine, t);
    table = body.parts().iter().fold(table.head(head).line(row), |table, part| table.part(part.clone()));
    if left == 0 {
        table = table.note(format!("{SHOWN} pages are shown; vm -P ADDRESS shows one area"));
    }
    table.with_records(records)
}

/// `vm -P`: one area with its pages, by the address of its structure or one inside of it.
pub fn area(machine: &Machine, t: &Listed, addr: u64) -> Option<Table> {
    let mm = mm_of(machine, t)?;
    let by_struct = || match objects::find(machine, addr) {
        Some(Object::Vma(id)) => Some(id),
        _ => None,
    };
    let inside = machine.areas(mm).find(|(_, vma)| (vma.start..vma.end).contains(&addr)).map(|(id, _)| id);
    let id = inside.or_else(by_struct)?;
    let vma = machine.vmas.get(id).filter(|vma| vma.mm == mm)?;
    let mut left = SHOWN;
    let (lines, rows) = area_pages(machine, t, vma, mm, None, &mut left);
    let table = Table::new()
        .head(t.header())
        .head(area_head(machine))
        .line(area_line(machine, id, vma))
        .head("VIRTUAL     PHYSICAL");
    Some(lines.into_iter().fold(table, Table::line).with_records(rows))
}

/// Lines and rows for each page of an area.
fn area_pages(
    machine: &Machine,
    t: &Listed,
    vma: &Vma,
    mm: MmId,
    wanted: Option<&Reference>,
    left: &mut u64,
) -> (Vec<String>, Vec<Record>) {
    let end = vma.end.min(vma.start + *left * PAGE_SIZE);
    let present: BTreeMap<u64, Behind> = entries::entries(machine, mm, vma.start, end)
        .into_iter()
        .map(|(addr, pte)| (addr.0, Behind::of(pte)))
        .collect();
    let (mut lines, mut rows) = (Vec::new(), Vec::new());
    for virt in (vma.start..end).step_by(PAGE_SIZE as usize) {
        let behind = present.get(&virt).copied().unwrap_or(Behind::Nothing);
        if wanted.is_some_and(|r| !r.is_page(virt, behind)) {
            continue;
        }
        *left = left.saturating_sub(1);
        lines.push(format!("{virt:<10x}  {}", place(machine, behind)));
        let mut row: Record = vec![("pid".into(), t.pid.into()), ("virtual".into(), Cell::Addr(virt))];
        match behind {
            Behind::Page(pfn) | Behind::ZeroPage(pfn) => {
                row.push(("physical".into(), Cell::Addr(pfn.phys().0)));
                row.push(("pfn".into(), pfn.0.into()));
            }
            Behind::Swap(entry) => {
                row.push(("swap".into(), swap_name(machine, entry.area).into()));
                row.push(("offset".into(), entry.offset.into()));
            }
            Behind::Nothing => {}
        }
        rows.push(row);
    }
    (lines, rows)
}

/// The right-hand side of a page's line.
fn place(machine: &Machine, behind: Behind) -> String {
    match behind {
        Behind::Page(pfn) | Behind::ZeroPage(pfn) => format!("{:>8x}", pfn.phys().0),
        Behind::Swap(entry) => {
            format!("SWAP: {}  OFFSET: {}", swap_name(machine, entry.area), entry.offset)
        }
        Behind::Nothing => "(not mapped)".into(),
    }
}

/// The device or file of a swap area.
pub fn swap_name(machine: &Machine, area: u8) -> String {
    let known = machine.swap.get(usize::from(area)).filter(|a| a.active);
    known.map_or_else(|| "(unknown swap location)".into(), |a| a.name.clone())
}
