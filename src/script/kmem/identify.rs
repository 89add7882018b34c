//! What lies at an address: its page, and who has it.

use super::owner;
use crate::mm::Machine;
use crate::mm::addr::{Order, Pfn, PhysAddr, VirtAddr};
use crate::mm::config::MigrateType;
use crate::mm::page::{PageFlags, PageType};
use crate::script::answer::{ScriptResult, misuse};
use crate::script::objects;
use crate::script::table::{Cell, Table};

/// The frame that an address means: of the direct map, of a page structure, or physical.
pub fn pfn_of(machine: &Machine, addr: u64) -> Option<Pfn> {
    let virt = VirtAddr(addr);
    let physical = || PhysAddr(addr).pfn().filter(|&pfn| machine.mem_map.contains(pfn));
    machine.virt_to_pfn(virt).or_else(|| machine.pfn_of_struct(virt)).or_else(physical)
}

/// The free block that holds a frame: its first frame, its order, the list it is on.
pub fn free_block(machine: &Machine, pfn: Pfn) -> Option<(Pfn, Order, MigrateType)> {
    let zone = machine.mem_map.zone_of(pfn).map(|id| &machine.zones[id.index()])?;
    if let Some(head) =
        zone.virgin.iter().find(|r| (r.0..r.1).contains(&pfn.0)).map(|_| pfn.0 & !(Order::MAX.pages() - 1))
    {
        return Some((Pfn(head), Order::MAX, MigrateType::Movable));
    }
    let (head, order) = Order::all().find_map(|order| {
        let head = Pfn(pfn.0 & !(order.pages() - 1));
        (machine.mem_map.contains(head) && machine.mem_map.page(head).is_buddy_of(order))
            .then_some((head, order))
    })?;
    // The list's type stands in the block's first page.
    let mt = MigrateType::ALL.into_iter().find(|mt| *mt as u32 == machine.mem_map.page(head).index)?;
    Some((head, order, mt))
}

/// The page's row, and a sentence for each layer that knows it.
pub fn whatis(machine: &Machine, addr: u64) -> ScriptResult<Table> {
    if let Some(object) = objects::find(machine, addr) {
        let what = owner::of_object(machine, object);
        let record = vec![("addr".into(), Cell::Addr(addr)), ("what".into(), what.as_str().into())];
        let table = Table::new().line(format!("{addr:x}: {what}"));
        return Ok(table.note("kernel objects have made-up addresses so far").with_records(vec![record]));
    }
    if let Some(area) = super::vmap::area_of(machine, addr) {
        // As crash shows it: the area, then the page behind the address.
        let page = machine.vmalloc_to_page(VirtAddr(addr)).filter(|pfn| machine.mem_map.contains(*pfn));
        let records = area.records().to_vec();
        let told = match page {
            Some(pfn) => {
                let shown = super::pages::some(machine, pfn.0, 1);
                shown.parts().iter().fold(area.line(""), |table, part| table.part(part.clone()))
            }
            None => area,
        };
        return Ok(told.with_records(records));
    }
    let Some(pfn) = pfn_of(machine, addr) else {
        if let Some(kind) = machine.address_kind(VirtAddr(addr)) {
            let record = vec![("addr".into(), Cell::Addr(addr)), ("what".into(), kind.into())];
            return Ok(Table::new().line(format!("{addr:x}: {kind}")).with_records(vec![record]));
        }
        return misuse(format!(
            "cannot determine page for {addr:x}: no direct map, page structure or physical memory there"
        ));
    };
    let page = machine.mem_map.page(pfn);
    let zone = machine.mem_map.zone_of(pfn).map(|id| &machine.zones[id.index()]);
    let place = zone.map(|z| format!("zone {} of node {}", z.kind, z.node)).unwrap_or_default();
    let state = if let Some((head, order, mt)) = free_block(machine, pfn) {
        format!("free: in the block of order {order} at pfn {head}, on the {} list", mt.name())
    } else if let Some((head, order)) = waiting(machine, pfn) {
        format!("free: in the block of order {order} at pfn {head}, on a per-CPU list")
    } else if page.is(PageFlags::RESERVED) {
        "reserved: the buddy allocator never had it".into()
    } else if page.is(PageFlags::TAIL) {
        format!("allocated: in the middle of the compound page at pfn {}", Pfn(page.private))
    } else if page.mapcount() > 0 {
        let n = page.mapcount();
        format!("anonymous: mapped by {n} entr{}", if n == 1 { "y" } else { "ies" })
    } else if page.refcount > 0 {
        let order = page.order();
        format!(
            "allocated: order {order}, {} reference{}",
            page.refcount,
            if page.refcount == 1 { "" } else { "s" }
        )
    } else {
        "in use, or in the middle of an allocated block".into()
    };
    let shown = super::pages::some(machine, pfn.0, 1);
    let records = shown.records().to_vec();
    let told = shown.line("").line(format!("page pfn={pfn}, {place}: {state}"));
    let told =
        owner::of_page(machine, pfn).into_iter().fold(told, |table, line| table.line(format!("  {line}")));
    Ok(told.with_records(records))
}

/// The block on a per-CPU list that holds a frame.
fn waiting(machine: &Machine, pfn: Pfn) -> Option<(Pfn, Order)> {
    Order::all().find_map(|order| {
        let head = Pfn(pfn.0 & !(order.pages() - 1));
        let page = machine.mem_map.contains(head).then(|| machine.mem_map.page(head))?;
        (page.page_type() == Some(PageType::Pcp) && page.order() == order).then_some((head, order))
    })
}
