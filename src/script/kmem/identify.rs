//! What lies at an address: its page, and who has it.

use super::owner;
use crate::mm::Machine;
use crate::mm::addr::{Order, Pfn, PhysAddr, VirtAddr};
use crate::mm::config::{Arch, MigrateType};
use crate::mm::page::{PageFlags, PageType};
use crate::mm::task::Pid;
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

/// What a layer of the kernel knows about an address.
struct Known {
    /// What crash prints above the page's row.
    told: Table,
    /// The frame behind the address.
    pfn: Option<Pfn>,
}

/// Those that may know an address, asked in this order: the first that does speaks above the page's row.
///
/// A layer that keeps objects or ranges of its own is added here, before the pages.
const LAYERS: &[fn(&Machine, u64) -> Option<Known>] = &[image, object, vmap, slab, page, room];

/// The kernel's image, which is mapped a second time at the end of the addresses (`__START_KERNEL_map`).
fn image(machine: &Machine, addr: u64) -> Option<Known> {
    const START_KERNEL_MAP: u64 = 0xffff_ffff_8000_0000;
    if machine.config.arch != Arch::X86_64 {
        return None;
    }
    let phys = addr.checked_sub(START_KERNEL_MAP)?;
    let part = machine.config.iomem.iter().find_map(|line| {
        let (range, name) = line.trim().split_once(" : Kernel ")?;
        let (first, last) = range.split_once('-')?;
        let ends = [first, last].map(|end| u64::from_str_radix(end, 16).ok());
        let [Some(first), Some(last)] = ends else { return None };
        (first..=last).contains(&phys).then_some(name)
    })?;
    let told = Table::new().line(format!("{addr:x}: Kernel {part}")).line("");
    Some(Known { told, pfn: PhysAddr(phys).pfn().filter(|&pfn| machine.mem_map.contains(pfn)) })
}

/// A structure that a task or an address space is made of.
fn object(machine: &Machine, addr: u64) -> Option<Known> {
    let what = owner::of_object(machine, objects::find(machine, addr)?);
    let record = vec![("addr".into(), Cell::Addr(addr)), ("what".into(), what.as_str().into())];
    let told = Table::new().line(format!("{addr:x}: {what}"));
    if machine.find_object(VirtAddr(addr)).is_some_and(|object| object.allocated) {
        let slab = crate::script::slab::views::layer(machine, addr);
        let told = slab.map_or(told.clone(), |slab| told.append(&slab)).line("");
        return Some(Known { told: told.with_records(vec![record]), pfn: pfn_of(machine, addr) });
    }
    let told = told.note("it was there at boot: its address is made up, and no slab holds it");
    Some(Known { told: told.with_records(vec![record]), pfn: None })
}

/// An area of vmalloc.
fn vmap(machine: &Machine, addr: u64) -> Option<Known> {
    let told = super::vmap::area_of(machine, addr)?;
    let pfn = machine.vmalloc_to_page(VirtAddr(addr)).filter(|pfn| machine.mem_map.contains(*pfn));
    Some(Known { told: if pfn.is_some() { told.line("") } else { told }, pfn })
}

/// A kernel address that nothing more is known of than where it lies.
fn room(machine: &Machine, addr: u64) -> Option<Known> {
    let direct = machine.layout.direct.contains(&addr);
    let behind = || {
        format!(
            "in the direct map (physical {:x}), where there is no page",
            machine.virt_to_phys(VirtAddr(addr)).0
        )
    };
    let kind = machine.address_kind(VirtAddr(addr)).map(String::from).or_else(|| direct.then(behind))?;
    let pfn = machine.vmalloc_to_page(VirtAddr(addr)).filter(|pfn| machine.mem_map.contains(*pfn));
    let record = vec![("addr".into(), Cell::Addr(addr)), ("what".into(), kind.as_str().into())];
    let mut told = Table::new().line(format!("{addr:x}: {kind}"));
    if let Some(room) = machine.kernel_rooms().into_iter().find(|room| room.range.contains(&addr)) {
        told = told.line(room.line(machine.config.arch));
    }
    Some(Known { told: if pfn.is_some() { told.line("") } else { told.with_records(vec![record]) }, pfn })
}

/// An object of a slab cache, or what else lies in a slab.
fn slab(machine: &Machine, addr: u64) -> Option<Known> {
    let told = crate::script::slab::views::layer(machine, addr)?.line("");
    Some(Known { told, pfn: pfn_of(machine, addr) })
}

fn page(machine: &Machine, addr: u64) -> Option<Known> {
    Some(Known { told: Table::new(), pfn: Some(pfn_of(machine, addr)?) })
}

/// An address of a task's own: its area, and the page if there is one.
fn user(machine: &Machine, pid: Pid, addr: u64) -> Option<Known> {
    let task = machine.tasks.get(&pid)?;
    let mm = &machine.mms[task.mm?];
    let vma = &machine.vmas[machine.vma_lookup(task.mm?, addr)?];
    let name = machine.vma_name(vma);
    let area = format!("{addr:x}: user virtual address of task {pid} ({}), in the area {vma}", task.comm);
    let told = Table::new().line(format!("{area} {name}").trim_end());
    let pte = machine.tables.pte(mm.pgd, VirtAddr(addr));
    if pte.is_present() {
        return Some(Known { told: told.line(""), pfn: Some(pte.pfn()) });
    }
    let state = if pte.is_swap() { "its page is in swap" } else { "no page is there yet" };
    Some(Known { told: told.line(format!("  {state}")), pfn: None })
}

/// What each layer knows: the first lines are crash's, the page's row among them; then a sentence for each owner.
///
/// An address that is none of the kernel's is looked for in the task that the prompt looks at.
pub fn whatis(machine: &Machine, addr: u64, looked_at: Pid) -> ScriptResult<Table> {
    let known = LAYERS.iter().find_map(|layer| layer(machine, addr));
    match known.or_else(|| user(machine, looked_at, addr)) {
        Some(Known { told, pfn: None }) => Ok(told),
        Some(Known { told, pfn: Some(pfn) }) => {
            let page = page_of(machine, pfn);
            let records = page.records().to_vec();
            Ok(told.append(&page).with_records(records))
        }
        None => misuse(format!(
            "cannot determine page for {addr:x}: no direct map, page structure or physical memory there, and no area of the task looked at; set PID looks at another"
        )),
    }
}

/// The page's row, where it lies, what state it is in, and who has it.
fn page_of(machine: &Machine, pfn: Pfn) -> Table {
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
    } else if page.is(PageFlags::SLAB) {
        let cache = machine.slab_at(pfn).map(|nr| machine.caches.all[machine.slab(nr).cache].name());
        format!("slab of {}: order {}", cache.unwrap_or("a cache"), page.order())
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
    let lines = std::iter::once(mapped(machine, pfn)).chain(owner::of_page(machine, pfn));
    lines.fold(told, |table, line| table.line(format!("  {line}"))).with_records(records)
}

/// Its addresses, and for what its pageblock is.
fn mapped(machine: &Machine, pfn: Pfn) -> String {
    let direct = match machine.page_address(pfn) {
        Some(virt) => format!("direct map {:x}", virt.0),
        None => "outside of the direct map (HighMem)".into(),
    };
    let pageblock = machine.pageblocks.get(pfn).name();
    format!("physical {:x}, {direct}, pageblock {pageblock}", pfn.phys().0)
}

/// The block on a per-CPU list that holds a frame.
fn waiting(machine: &Machine, pfn: Pfn) -> Option<(Pfn, Order)> {
    Order::all().find_map(|order| {
        let head = Pfn(pfn.0 & !(order.pages() - 1));
        let page = machine.mem_map.contains(head).then(|| machine.mem_map.page(head))?;
        (page.page_type() == Some(PageType::Pcp) && page.order() == order).then_some((head, order))
    })
}
