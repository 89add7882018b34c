//! `draw("vma", pid)`: an address space as a strip, one mark for each page or group of pages.
//!
//! ```text
//!   ####..s.zz   # in memory   = in memory and shared   s in swap   z the frame of zeros   . never touched
//! ```

use super::areas::mm_of;
use super::entries::{self, Behind};
use crate::mm::Machine;
use crate::mm::addr::PAGE_SIZE;
use crate::mm::vma::Vma;
use crate::script::ps::list::Listed;
use crate::script::table::{Cell, Table};

/// Marks of an area at most: an area of more pages is drawn in groups.
const MARKS: u64 = 64;

/// The areas of a task, lowest first, each with its strip.
pub fn strip(machine: &Machine, t: &Listed) -> Table {
    let mut table = Table::new().head(t.header());
    let Some(mm) = mm_of(machine, t) else { return table.line("no address space") };
    let mut records = Vec::new();
    let mut end = None;
    for (id, vma) in machine.areas(mm) {
        if let Some(gap) = end.map(|end| vma.start - end).filter(|gap| *gap > 0) {
            table = table.line(format!("{:>20}  {} free", "", kilobytes(gap)));
        }
        end = Some(vma.end);
        let marks = marks(machine, vma);
        let name = machine.vma_name(&machine.vmas[id]);
        let start =
            format!("{:>12x} {}  {:>7} ", vma.start, vma.flags.perms(), kilobytes(vma.end - vma.start));
        table = table.line(format!("{start} |{marks}| {name}").trim_end());
        records.push(vec![
            ("start".into(), Cell::Addr(vma.start)),
            ("end".into(), Cell::Addr(vma.end)),
            ("perms".into(), vma.flags.perms().into()),
            ("name".into(), name.into()),
            ("strip".into(), marks.into()),
        ]);
    }
    table.line("# in memory  = shared  s in swap  z frame of zeros  . never touched").with_records(records)
}

/// One mark a page, or a group of pages: what most deserves to be seen in it.
fn marks(machine: &Machine, vma: &Vma) -> String {
    let group = vma.pages().div_ceil(MARKS).max(1);
    let mut marks = vec!['.'; vma.pages().div_ceil(group) as usize];
    for (addr, pte) in entries::entries(machine, vma.mm, vma.start, vma.end) {
        let mark = &mut marks[((addr.0 - vma.start) / PAGE_SIZE / group) as usize];
        let this = match Behind::of(pte) {
            Behind::Swap(_) => 's',
            Behind::Page(pfn) if machine.mem_map.page(pfn).mapcount() > 1 => '=',
            Behind::Page(_) => '#',
            Behind::ZeroPage(_) => 'z',
            Behind::Nothing => '.',
        };
        const WEIGHT: &str = ".z#=s";
        if WEIGHT.find(this) > WEIGHT.find(*mark) {
            *mark = this;
        }
    }
    marks.into_iter().collect()
}

/// `132K`, `64M`, `127T`.
fn kilobytes(bytes: u64) -> String {
    let units = [(40, "T"), (30, "G"), (20, "M")];
    match units.into_iter().find(|(shift, _)| bytes >> shift >= 10) {
        Some((shift, unit)) => format!("{}{unit}", bytes >> shift),
        None => format!("{}K", bytes >> 10),
    }
}
