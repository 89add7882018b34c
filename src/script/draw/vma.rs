//! `draw("vma", pid)`: an address space, a strip for each area.

use super::strip::{Strip, Tone};
use crate::mm::Machine;
use crate::mm::addr::PAGE_SIZE;
use crate::mm::vma::Vma;
use crate::script::ps::list::Listed;
use crate::script::table::{Cell, Table};
use crate::script::vm::areas::mm_of;
use crate::script::vm::entries::{self, Behind};

/// The areas of a task, lowest first, each with its strip.
pub fn areas(machine: &Machine, t: &Listed) -> Table {
    let mut table = Table::new().head(t.header());
    let Some(mm) = mm_of(machine, t) else { return table.line("no address space") };
    let mut records = Vec::new();
    let mut end = None;
    for (id, vma) in machine.areas(mm) {
        if let Some(gap) = end.map(|end| vma.start - end).filter(|gap| *gap > 0) {
            table = table.line(format!("{:>20}  {} free", "", kilobytes(gap)));
        }
        end = Some(vma.end);
        let (name, size) = (machine.vma_name(&machine.vmas[id]), kilobytes(vma.end - vma.start));
        let strip = strip(machine, vma, format!("{:>12x} {}  {size:>7}", vma.start, vma.flags.perms()));
        records.push(vec![
            ("start".into(), Cell::Addr(vma.start)),
            ("end".into(), Cell::Addr(vma.end)),
            ("perms".into(), vma.flags.perms().into()),
            ("name".into(), name.as_ref().into()),
            ("strip".into(), strip.marks(false).into()),
        ]);
        table = table.strip(strip.after(name.as_ref()));
    }
    let legend = [
        (Tone::Fill, "in memory"),
        (Tone::Shared, "shared"),
        (Tone::Swap, "in swap"),
        (Tone::Zero, "frame of zeros"),
        (Tone::Dim, "never touched"),
    ];
    table.legend(legend).with_records(records)
}

/// The pages of an area.
fn strip(machine: &Machine, vma: &Vma, label: String) -> Strip {
    let mut strip = Strip::new(label, vma.pages());
    for (addr, pte) in entries::entries(machine, vma.mm, vma.start, vma.end) {
        let tone = match Behind::of(pte) {
            Behind::Swap(_) => Tone::Swap,
            Behind::Page(pfn) if machine.mem_map.page(pfn).mapcount() > 1 => Tone::Shared,
            Behind::Page(_) => Tone::Fill,
            Behind::ZeroPage(_) => Tone::Zero,
            Behind::Nothing => continue,
        };
        let page = (addr.0 - vma.start) / PAGE_SIZE;
        strip.add(page, page + 1, tone);
    }
    strip.fill(Tone::Dim);
    strip
}

/// `132K`, `64M`, `127T`.
fn kilobytes(bytes: u64) -> String {
    let units = [(40, "T"), (30, "G"), (20, "M")];
    match units.into_iter().find(|(shift, _)| bytes >> shift >= 10) {
        Some((shift, unit)) => format!("{}{unit}", bytes >> shift),
        None => format!("{}K", bytes >> 10),
    }
}
