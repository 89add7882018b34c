//! `draw("walk", task, addr)`, also `ptwalk`: the page tables on the way to an address, a strip of entries for each level.
//!
//! ```text
//!   PGD 1000 [170] │·····!····│ => 2067 RW|USER|…    the entry that is taken leads to the table below
//!   PUD 2000 [341] │··········│ => 3067
//!   PMD 3000 [170] │····!·····│ => 0                 nothing there: the walk stops
//! ```

use super::strip::{Strip, Tone};
use crate::mm::Machine;
use crate::mm::addr::{PAGE_SIZE, Pfn, VirtAddr};
use crate::mm::pgtable::{Pte, UpperId};
use crate::mm::task::MmId;
use crate::script::handles::page_text;
use crate::script::table::{Cell, Record, Table};
use crate::script::vm::entries::Behind;
use crate::script::vm::pte;

/// Whose tables are walked.
#[derive(Clone, Copy)]
pub enum Whose {
    /// Those of an address space.
    Task(MmId),
    /// The kernel's own, which map what lies outside of the direct map.
    Kernel,
}

/// The walk, a strip for each level that there is.
pub fn walk(machine: &Machine, head: String, whose: Whose, addr: u64) -> Table {
    let pgd = match whose {
        Whose::Task(mm) => machine.mms[mm].pgd,
        Whose::Kernel => machine.init_mm,
    };
    let (arch, geometry, virt) = (machine.config.arch, &machine.tables.geometry, VirtAddr(addr));
    let steps = machine.walk(pgd, virt);
    let entries = tables(machine, pgd, virt);
    let mut table = Table::new().head(head);
    let mut records = Vec::new();
    for (step, entries) in steps.iter().zip(entries) {
        let (name, raw) = (geometry.name(step.level), step.entry.raw(arch, step.level));
        let label = format!("{name} {:x} [{}]", step.table.phys().0, step.index);
        let mut strip = Strip::new(label, entries.len() as u64);
        for (entry, at) in entries.iter().zip(0..) {
            let taken = at == step.index as u64;
            let tone = match Pte(*entry).is_none() {
                _ if taken => Tone::Low,
                true => Tone::Dim,
                false => Tone::Fill,
            };
            strip.add(at, at + 1, tone);
        }
        let (_, parts) = pte::translate(machine, step.entry, raw);
        let flags = parts.iter().find(|part| part.0 == "flags").map_or(Cell::Empty, |part| part.1.clone());
        let strip = strip.after(format!("=> {raw:x} {}", flags.text().replace(' ', "|")).trim_end());
        let mut record: Record = vec![
            ("level".into(), name.into()),
            ("table".into(), Cell::Addr(step.table.phys().0)),
            ("index".into(), step.index.into()),
            ("entry".into(), Cell::Addr(raw)),
            ("flags".into(), flags),
        ];
        record.push(("strip".into(), strip.marks(false).into()));
        records.push(record);
        table = table.strip(strip);
    }
    let Some(last) = steps.last() else { return table };
    let at = geometry.name(last.level);
    let end = if last.level == 1 && last.entry.has(Pte::PRESENT | Pte::PSE) {
        let inside = addr & (geometry.span(1) - 1);
        let pfn = Pfn(last.entry.pfn().0 + (inside / PAGE_SIZE) as u32);
        format!("the {at} maps the whole huge page: byte {inside:#x} of it lies in {}", frame(machine, pfn))
    } else if last.level > 0 {
        format!("the {at}'s entry is empty: no table below, nothing is mapped")
    } else {
        let inside = addr & (PAGE_SIZE - 1);
        match Behind::of(last.entry) {
            Behind::Page(pfn) if last.entry.is_present() => {
                format!("byte {inside:#x} of {}", frame(machine, pfn))
            }
            Behind::Page(pfn) => format!("no access is allowed: it would be {}", frame(machine, pfn)),
            Behind::ZeroPage(pfn) => format!("byte {inside:#x} of the frame of zeros, pfn={:#x}", pfn.0),
            Behind::Swap(entry) => {
                format!("not present: the page lies in swap area {}, slot {}", entry.area, entry.offset)
            }
            Behind::Nothing => "the entry is empty: the page was never touched, or taken back".into(),
        }
    };
    let entry = [(Tone::Low, "the entry taken"), (Tone::Fill, "others in use"), (Tone::Dim, "empty")];
    table.line(end).legend(entry).with_records(records)
}

/// A frame as a handle prints; a device's has no page.
fn frame(machine: &Machine, pfn: Pfn) -> String {
    match machine.mem_map.contains(pfn) {
        true => page_text(machine, pfn),
        false => format!("a device at {:x}", pfn.phys().0),
    }
}

/// All entries of each table on the way.
fn tables(machine: &Machine, pgd: UpperId, addr: VirtAddr) -> Vec<Vec<u64>> {
    let mut found = Vec::new();
    let mut table = machine.tables.upper(pgd);
    loop {
        found.push(table.entries.to_vec());
        let index = machine.tables.geometry.index(addr, table.level);
        match table.upper_below(index) {
            Some(below) => table = machine.tables.upper(below),
            None if table.level == 1 => {
                // A table of 1,024 entries is two leaves.
                let leaves = table.below(index).flat_map(|leaf| machine.tables.get(leaf).entries);
                found.push(leaves.collect());
                return found;
            }
            None => return found,
        }
    }
}
