//! `pte`, `ptov`, `ptob`, `btop`: what the bits of an entry say, and arithmetic on addresses.

use super::areas::swap_name;
use crate::mm::Machine;
use crate::mm::addr::{PAGE_SHIFT, PhysAddr};
use crate::mm::pgtable::Pte;
use crate::script::table::{Cell, Record, Table};

/// An entry taken apart, in crash's columns: heading, line, and the same as data; `raw` is how its processor has it.
pub fn translate(machine: &Machine, pte: Pte, raw: u64) -> ([String; 2], Record) {
    let value = format!("{raw:x}");
    let width = value.len().max(3);
    let pte_head = {
        let right = (width - 3).div_ceil(2);
        format!("{}PTE{}", " ".repeat(width - 3 - right), " ".repeat(right))
    };
    let mut record: Record = vec![("pte".into(), Cell::Addr(raw))];
    if pte.is_swap() {
        let entry = pte.swap_entry();
        let name = swap_name(machine, entry.area);
        let spare = name.len().saturating_sub(4);
        let head =
            format!("{pte_head}  {}SWAP{}  OFFSET", " ".repeat(spare / 2), " ".repeat(spare.div_ceil(2)));
        let offset = entry.offset.to_string();
        // crash centres the number, the odd space to its left.
        let left = 6_usize.saturating_sub(offset.len()).div_ceil(2);
        record.push(("swap".into(), name.as_str().into()));
        record.push(("offset".into(), entry.offset.into()));
        return ([head, format!("{value:<width$}  {name:<4}  {}{offset}", " ".repeat(left))], record);
    }
    let head = format!("{pte_head}  PHYSICAL  FLAGS");
    if pte.is_none() {
        return ([head, format!("{value:>width$}  {:>8}  (no mapping)", "")], record);
    }
    let phys = pte.pfn().phys().0;
    let names = Pte::names_of_raw(machine.config.arch, raw);
    record.push(("physical".into(), Cell::Addr(phys)));
    record.push(("flags".into(), Cell::from(names.clone())));
    ([head, format!("{value:<width$}  {phys:>8x}  ({})", names.join("|"))], record)
}

/// `pte`: an entry taken apart.
pub fn pte(machine: &Machine, value: u64) -> Table {
    let ([head, line], record) = translate(machine, Pte::of_raw(machine.config.arch, value), value);
    Table::new().head(head).line(line).with_records(vec![record])
}

/// `ptov`: the kernel's address of a physical one.
pub fn ptov(machine: &Machine, phys: u64) -> Table {
    let virt = machine.phys_to_virt(PhysAddr(phys)).0;
    let width = machine.config.arch.address_digits().max(8);
    Table::new()
        .head(format!("{:<width$}  PHYSICAL", "VIRTUAL"))
        .line(format!("{virt:<width$x}  {phys:x}"))
        .with_records(vec![vec![("virtual".into(), Cell::Addr(virt)), ("physical".into(), Cell::Addr(phys))]])
}

/// `ptob`: the first byte of a page, by its number.
pub fn ptob(page: u64) -> Table {
    arithmetic(page, page.wrapping_shl(PAGE_SHIFT), ["page", "address"])
}

/// `btop`: the number of the page that holds a byte.
pub fn btop(address: u64) -> Table {
    arithmetic(address, address >> PAGE_SHIFT, ["address", "page"])
}

fn arithmetic(from: u64, to: u64, keys: [&str; 2]) -> Table {
    let record = keys.map(String::from).into_iter().zip([Cell::Addr(from), Cell::Addr(to)]).collect();
    Table::new().line(format!("{from:x}: {to:x}")).with_records(vec![record])
}
