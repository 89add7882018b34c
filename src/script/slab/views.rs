//! Caches as the crash utility shows them: `kmem -s`, `kmem -S`, and the slab behind an address.

use crate::mm::Machine;
use crate::mm::addr::VirtAddr;
use crate::mm::slab_common::{Allocator, CacheId};
use crate::mm::slub::{Place, SlabNr};
use crate::script::table::{Cell, Record, Table};

fn hex(machine: &Machine, addr: u64) -> String {
    format!("{addr:0digits$x}", digits = machine.config.arch.address_digits())
}

/// The head of `kmem -s`.
fn head(machine: &Machine) -> String {
    let digits = machine.config.arch.address_digits();
    format!("{:<digits$}  OBJSIZE  ALLOCATED     TOTAL  SLABS  SSIZE  NAME", "CACHE")
}

/// The row of a cache in `kmem -s`, under one of its names.
fn row(machine: &Machine, id: CacheId) -> (String, Record) {
    let (cache, census) = (&machine.caches.all[id], machine.cache_census(id));
    let kib = cache.slab_bytes() >> 10;
    let line = format!(
        "{} {:>8}  {:>9}  {:>8}  {:>5}  {:>5}  {}",
        hex(machine, cache.addr.0),
        cache.object_size,
        census.allocated,
        census.total,
        census.slabs,
        format!("{kib}k"),
        cache.name()
    );
    let record = vec![
        ("cache".into(), Cell::Addr(cache.addr.0)),
        ("objsize".into(), cache.object_size.into()),
        ("allocated".into(), census.allocated.into()),
        ("total".into(), census.total.into()),
        ("slabs".into(), census.slabs.into()),
        ("ssize".into(), Cell::Shown(format!("{kib}k"), cache.slab_bytes() as i64)),
        ("name".into(), cache.name().into()),
    ];
    (line, record)
}

/// `kmem -s`: every cache, the newest first.
pub fn caches(machine: &Machine, ids: impl Iterator<Item = CacheId>) -> Table {
    let mut table = Table::new().head(head(machine));
    let mut records = Vec::new();
    for id in ids {
        let (line, record) = row(machine, id);
        table = table.line(line);
        records.push(record);
    }
    table.with_records(records)
}

fn slab_row(machine: &Machine, nr: SlabNr) -> String {
    let slab = machine.slab(nr);
    let taken = machine.objects_taken(nr);
    format!(
        "  {}  {}  {:>4}  {:>5}  {:>9}  {:>4}",
        hex(machine, machine.page_struct(slab.pfn).0),
        hex(machine, machine.slab_base(nr).0),
        machine.nodes[usize::from(slab.node)].nid.0,
        slab.objects,
        taken,
        u32::from(slab.objects) - taken
    )
}

fn slab_head(machine: &Machine) -> String {
    let digits = machine.config.arch.address_digits();
    format!("  {:<digits$}  {:<digits$}  NODE  TOTAL  ALLOCATED  FREE", "SLAB", "MEMORY")
}

fn object_row(machine: &Machine, nr: SlabNr, index: u32) -> String {
    let addr = hex(machine, machine.object_address(nr, index).0);
    if machine.object_is_allocated(nr, index) {
        return format!("  [{addr}]");
    }
    match machine.cpu_cache_of(nr, index) {
        Some(cpu) => format!("   {addr}  (cpu {cpu} cache)"),
        None => format!("   {addr}"),
    }
}

/// A slab with all of its objects, or the one that is asked for.
fn slab_block(mut table: Table, machine: &Machine, nr: SlabNr, only: Option<u32>) -> Table {
    table = table.line(slab_head(machine)).line(slab_row(machine, nr)).line("  FREE / [ALLOCATED]");
    let objects = 0..u32::from(machine.slab(nr).objects);
    for index in objects.filter(|index| only.is_none_or(|only| only == *index)) {
        table = table.line(object_row(machine, nr, index));
    }
    table
}

/// Slabs of a list, each with its objects, or that there is none.
fn list(mut table: Table, machine: &Machine, title: String, slabs: &[SlabNr]) -> Table {
    table = table.line(title);
    if slabs.is_empty() {
        return table.line("  (empty)");
    }
    slabs.iter().fold(table, |table, nr| slab_block(table, machine, *nr, None))
}

/// `kmem -S CACHE`: what each CPU and node has of it.
pub fn slabs(machine: &Machine, id: CacheId) -> Table {
    let (line, record) = row(machine, id);
    let mut table = Table::new().head(head(machine)).line(line);
    if machine.caches.allocator != Allocator::Slub {
        return crate::script::allocators::slab_lists(table, machine, id);
    }
    let mut per_cpu = vec![0u64; machine.nodes.len()];
    let place = u64::from(id.index()) * 0x20;
    for cpu in machine.nodes.iter().flat_map(|n| &n.cpus) {
        let cpu_index = usize::from(*cpu);
        let c = machine.kmem_cache_cpu(id, cpu_index);
        let offset = machine.percpu.offset(*cpu).unwrap_or(0) + 0x3_0000 + place;
        table = table.line(format!("CPU {cpu} KMEM_CACHE_CPU:")).line(format!("  {}", hex(machine, offset)));
        let own: Vec<SlabNr> = c.slab.some().into_iter().collect();
        let partial: Vec<SlabNr> = machine.cpu_partial_slabs(id, cpu_index).collect();
        own.iter().chain(&partial).for_each(|nr| per_cpu[usize::from(machine.slab(*nr).node)] += 1);
        table = list(table, machine, format!("CPU {cpu} SLAB:"), &own);
        table = list(table, machine, format!("CPU {cpu} PARTIAL:"), &partial);
    }
    for (node, at) in machine.nodes.iter().zip(0..) {
        let known = *machine.kmem_cache_node(id, at);
        let digits = machine.config.arch.address_digits();
        let descriptor = machine.caches.all[id].addr.0 + 0xc0 + 8 * at as u64;
        table = table.line(format!("{:<digits$}  NODE  SLABS  PARTIAL  PER-CPU", "KMEM_CACHE_NODE")).line(
            format!(
                "{} {:>5}  {:>5}  {:>7}  {:>7}",
                hex(machine, descriptor),
                node.nid.0,
                known.nr_slabs,
                known.partial.len,
                per_cpu[at]
            ),
        );
        let partial: Vec<SlabNr> = machine.partial_slabs(id, at).collect();
        table = list(table, machine, format!("NODE {} PARTIAL:", node.nid), &partial);
        let on_node = |nr: &SlabNr| usize::from(machine.slab(*nr).node) == at;
        let full: Vec<SlabNr> = machine
            .slabs_of(id)
            .filter(on_node)
            .filter(|nr| machine.slab(*nr).place == Place::Full)
            .collect();
        table = table.line(format!("NODE {} FULL:", node.nid));
        table = match full.is_empty() {
            true => table.line("  (empty)"),
            false => full.iter().fold(table.line(slab_head(machine)), |t, nr| t.line(slab_row(machine, *nr))),
        };
    }
    table.with_records(vec![record])
}

/// The slab layer of `kmem ADDRESS`: the cache, the slab, the object.
pub fn layer(machine: &Machine, addr: u64) -> Option<Table> {
    let nr = machine.slab_of(VirtAddr(addr))?;
    let object = machine.find_object(VirtAddr(addr));
    let (line, _) = row(machine, machine.slab(nr).cache);
    let table = Table::new().line(head(machine)).line(line);
    Some(slab_block(table, machine, nr, object.map(|object| object.index)))
}
