//! Who has a page: the tasks that map it, the table it is, the slot of swap it also lies in.

use crate::mm::Machine;
use crate::mm::addr::{PAGE_SHIFT, Pfn};
use crate::mm::lru::Lru;
use crate::mm::page::{Page, PageFlags, PageType};
use crate::mm::pgtable::UpperId;
use crate::mm::rmap::{AnonVmaId, MAPPING_ANON};
use crate::mm::slab_common::LARGE_KMALLOC;
use crate::mm::task::MmId;
use crate::script::objects::{self, Object};
use crate::script::vm::areas::swap_name;

/// Mappings that are told one by one.
const TOLD: usize = 16;

/// A sentence for each that has the page.
pub fn of_page(machine: &Machine, pfn: Pfn) -> Vec<String> {
    let page = machine.mem_map.page(pfn);
    let mut lines = Vec::new();
    if pfn == machine.zero_pfn {
        lines.push("the frame of zeros: what every untouched page of a task reads as".into());
    }
    if page.page_type() == Some(PageType::Table) {
        lines.extend(of_table(machine, pfn));
    }
    let mappings = machine.rmap(pfn);
    for (id, addr, _) in mappings.iter().take(TOLD) {
        let vma = &machine.vmas[*id];
        let name = machine.vma_name(vma);
        let area = format!("area {:x}-{:x} {} {name}", vma.start, vma.end, vma.flags.perms());
        lines.push(format!("mapped at {:x} by {}, {}", addr.0, tasks_of(machine, vma.mm), area.trim_end()));
    }
    if mappings.len() > TOLD {
        lines.push(format!("and {} more", mappings.len() - TOLD));
    }
    if let Some(entry) = machine.page_swap_entry(pfn) {
        let name = swap_name(machine, entry.area);
        lines.push(format!("in the swap cache: also slot {} of {name}", entry.offset));
    }
    lines.extend(crate::script::proc::page_owner::told(machine, pfn));
    if page.is(PageFlags::LRU) {
        lines.push(format!("on the list {}", Lru::of(&page).node_stat().name().trim_start_matches("nr_")));
    }
    lines
}

/// What a made-up address means.
pub fn of_object(machine: &Machine, object: Object) -> String {
    match object {
        Object::Idle(cpu) => format!("task_struct of the idle task of CPU {cpu}"),
        Object::Task(pid) => {
            let comm = crate::script::ps::list::one(machine, pid).map(|t| t.comm).unwrap_or_default();
            format!("task_struct of task {pid} ({comm})")
        }
        Object::Mm(mm) => format!("mm_struct of {}", tasks_of(machine, mm)),
        Object::Vma(id) => match machine.vmas.get(id) {
            Some(vma) => format!(
                "vm_area_struct of {}: {:x}-{:x} {}",
                tasks_of(machine, vma.mm),
                vma.start,
                vma.end,
                vma.flags.perms()
            ),
            None => "vm_area_struct".into(),
        },
        Object::AnonVma(id) => {
            let areas = machine.anon_vmas.get(id).map_or(0, |anon| anon.vmas.len());
            format!("anon_vma of {areas} area{}", if areas == 1 { "" } else { "s" })
        }
        Object::Swap(place) => format!("swap_info_struct of {}", swap_name(machine, place as u8)),
    }
}

/// `task 3 (hog)`, or all tasks that share the address space.
fn tasks_of(machine: &Machine, mm: MmId) -> String {
    let tasks = machine.tasks.values().filter(|t| t.mm == Some(mm));
    let names: Vec<String> = tasks.map(|t| format!("{} ({})", t.pid, t.comm)).collect();
    format!("task{} {}", if names.len() == 1 { "" } else { "s" }, names.join(", "))
}

/// Which table of whose address space the frame holds.
fn of_table(machine: &Machine, pfn: Pfn) -> Option<String> {
    machine.mms.iter().find_map(|(id, mm)| {
        let level = level_of(machine, mm.pgd, pfn)?;
        let name = machine.tables.geometry.name(level);
        let article = if level == machine.tables.geometry.top() { "the" } else { "a" };
        Some(format!("page table: {article} {name} table of {}", tasks_of(machine, id)))
    })
}

/// The level of the table that a frame holds in an address space.
pub fn level_of(machine: &Machine, id: UpperId, pfn: Pfn) -> Option<u8> {
    let table = machine.tables.upper(id);
    if table.pfn == pfn {
        return Some(table.level);
    }
    // The kernel's tables are not the task's.
    let top = table.level == machine.tables.geometry.top();
    let own = if top { machine.user_pgd_entries() } else { table.entries.len() };
    table.occupied().take_while(|entry| *entry < own).find_map(|entry| match table.upper_below(entry) {
        Some(below) => level_of(machine, below, pfn),
        None => table.leaf_below(entry).filter(|leaf| machine.tables.get(*leaf).pfn == pfn).map(|_| 0),
    })
}

/// `page->mapping` and `page->index` as the kernel holds them: for an anonymous page the address of its `anon_vma`
/// with the lowest bit set, and the number of the page in the address space.
pub fn mapping(machine: &Machine, pfn: Pfn, page: &Page) -> (u64, u64) {
    if let Some(nr) = machine.slab_at(pfn) {
        // `slab_cache` lies where a page of a file has its mapping.
        return (machine.caches.all[machine.slab(nr).cache].addr.0, 0);
    }
    if page.mapping & LARGE_KMALLOC != 0 && page.mapping & MAPPING_ANON == 0 {
        return (0, 0);
    }
    let plain = (page.mapping.into(), page.index.into());
    let Some(anon) = anon_vma(machine, page) else { return plain };
    let index = machine.rmap(pfn).first().map_or(plain.1, |(id, addr, _)| {
        let vma = &machine.vmas[*id];
        vma.pgoff + (addr.0.saturating_sub(vma.start) >> PAGE_SHIFT)
    });
    (objects::anon_vma(machine, anon) + 1, index)
}

fn anon_vma(machine: &Machine, page: &Page) -> Option<AnonVmaId> {
    let number = (page.mapping & !MAPPING_ANON).checked_sub(1)?;
    (page.mapping & MAPPING_ANON != 0).then(|| machine.anon_vmas.at(number)).flatten()
}
