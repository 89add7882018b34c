//! `slabinfo` and `slabtop`: what a cache wastes, and which caches are the largest.
//!
//! Kernel: `tools/vm/slabinfo.c`; procps.

use crate::mm::Machine;
use crate::mm::addr::PAGE_SHIFT;
use crate::mm::slab::SlabList;
use crate::mm::slab_common::{Allocator, CacheId, SlabFlags};
use crate::mm::slub::{Place, Stat};
use crate::script::table::{Cell, Record, Table};

/// Bytes of a cache that no object has.
pub struct Waste {
    /// Bytes of all slabs.
    pub total: u64,
    /// Bytes of objects in use.
    pub used: u64,
    /// Bytes of objects in use that their users cannot use: alignment and metadata.
    pub lalig: u64,
    /// Bytes at the ends of slabs that hold no object.
    pub lpadd: u64,
    /// Objects in use.
    pub objects: u64,
}

/// What a cache wastes.
pub fn waste(machine: &Machine, id: CacheId) -> Waste {
    let (cache, census) = (&machine.caches.all[id], machine.cache_census(id));
    let total = census.pages << PAGE_SHIFT;
    Waste {
        total,
        used: census.allocated * u64::from(cache.object_size),
        lalig: census.allocated * u64::from(cache.size - cache.object_size),
        lpadd: total - census.total * u64::from(cache.size),
        objects: census.allocated,
    }
}

fn record(machine: &Machine, id: CacheId) -> Record {
    let (cache, waste) = (&machine.caches.all[id], waste(machine, id));
    vec![
        ("name".into(), cache.name().into()),
        ("objects".into(), waste.objects.into()),
        ("objsize".into(), cache.object_size.into()),
        ("slabobj".into(), cache.size.into()),
        ("total".into(), waste.total.into()),
        ("used".into(), waste.used.into()),
        ("loss".into(), (waste.total - waste.used).into()),
        ("lalig".into(), waste.lalig.into()),
        ("lpadd".into(), waste.lpadd.into()),
    ]
}

fn on(flags: SlabFlags, flag: SlabFlags) -> &'static str {
    if flags.has(flag) { "On" } else { "Off" }
}

/// Slabs of a cache, by what is left in them.
#[derive(Default)]
struct Slabs {
    total: usize,
    full: usize,
    partial: usize,
    /// A CPU has them: SLAB's CPUs have queues instead.
    of_cpu: usize,
}

fn slabs_of(machine: &Machine, id: CacheId) -> Slabs {
    let mut found = Slabs::default();
    if machine.caches.allocator == Allocator::Slab {
        let slabs = machine.caches.slab.slabs_of(machine, id);
        let on = |list| slabs.iter().filter(|slab| slab.list == list).count();
        (found.full, found.partial) = (on(SlabList::Full), on(SlabList::Partial));
        found.total = slabs.len();
        return found;
    }
    for slab in machine.slabs_of(id).map(|nr| machine.slab(nr)) {
        found.total += 1;
        match slab.place {
            Place::Partial => found.partial += 1,
            _ if slab.frozen() => found.of_cpu += 1,
            _ => found.full += 1,
        }
    }
    found
}

/// One cache: sizes, slabs, debugging, memory, counters.
pub fn one(machine: &Machine, id: CacheId) -> Table {
    let (cache, waste) = (&machine.caches.all[id], waste(machine, id));
    let Slabs { total, full, partial, of_cpu } = slabs_of(machine, id);
    let tail = cache.slab_bytes() - u64::from(cache.objects * cache.size);
    let flags = cache.flags;
    let rows = [
        (
            "Object ",
            cache.object_size.into(),
            "Total  ",
            total,
            "Sanity Checks",
            SlabFlags::CONSISTENCY_CHECKS,
            "Total",
            waste.total,
        ),
        (
            "SlabObj",
            cache.size.into(),
            "Full   ",
            full,
            "Redzoning    ",
            SlabFlags::RED_ZONE,
            "Used ",
            waste.used,
        ),
        (
            "SlabSiz",
            cache.slab_bytes(),
            "Partial",
            partial,
            "Poisoning    ",
            SlabFlags::POISON,
            "Loss ",
            waste.total - waste.used,
        ),
        (
            "Loss   ",
            u64::from(cache.size - cache.object_size),
            "CpuSlab",
            of_cpu,
            "Tracking     ",
            SlabFlags::STORE_USER,
            "Lalig",
            waste.lalig,
        ),
        (
            "Align  ",
            cache.align.into(),
            "Objects",
            cache.objects as usize,
            "Tracing      ",
            SlabFlags::TRACE,
            "Lpadd",
            waste.lpadd,
        ),
    ];
    let mut table = Table::new()
        .line("")
        .line(format!(
            "Slabcache: {:<15}  Aliases: {:>2} Order : {:>2} Objects: {}",
            cache.name(),
            cache.aliases().len(),
            cache.order,
            waste.objects
        ))
        .line(if flags.has(SlabFlags::HWCACHE_ALIGN) { "** Hardware cacheline aligned" } else { "" })
        .line("Sizes (bytes)     Slabs              Debug                Memory")
        .line("-".repeat(72));
    for (size, bytes, what, n, debug, flag, memory, sum) in rows {
        table = table.line(format!(
            "{size}: {bytes:>7}  {what}: {n:>7}   {debug} : {:<3}  {memory}: {sum:>7}",
            on(flags, flag)
        ));
    }
    if tail > 0 {
        table = table.line("").line(format!("{tail} bytes at the end of each slab hold no object"));
    }
    let counted: Vec<&Stat> = Stat::ALL.iter().filter(|item| machine.slub_stat(id, **item) > 0).collect();
    if !counted.is_empty() {
        table = table.line("").line("Counters");
        for item in counted {
            table = table.line(format!(
                "  {:<24} {:>8}  {}",
                item.name(),
                machine.slub_stat(id, *item),
                item.doc()
            ));
        }
    }
    table.with_records(vec![record(machine, id)])
}

/// All caches that have a slab.
pub fn all(machine: &Machine) -> Table {
    let mut table = Table::new()
        .head("Name                   Objects Objsize           Space Slabs/Part/Cpu  O/S O %Fr %Ef Flg");
    let mut records = Vec::new();
    let mut ids: Vec<CacheId> = machine.caches.order.clone();
    ids.sort_by(|a, b| machine.caches.all[*a].name().cmp(machine.caches.all[*b].name()));
    for id in ids {
        let Slabs { total, partial, of_cpu, .. } = slabs_of(machine, id);
        if total == 0 {
            continue;
        }
        let (cache, waste) = (&machine.caches.all[id], waste(machine, id));
        let letters = [
            (SlabFlags::CACHE_DMA, 'd'),
            (SlabFlags::HWCACHE_ALIGN, 'A'),
            (SlabFlags::POISON, 'P'),
            (SlabFlags::RECLAIM_ACCOUNT, 'a'),
            (SlabFlags::RED_ZONE, 'Z'),
            (SlabFlags::CONSISTENCY_CHECKS, 'F'),
            (SlabFlags::STORE_USER, 'U'),
            (SlabFlags::TRACE, 'T'),
        ];
        let letters: String =
            letters.iter().filter(|(flag, _)| cache.flags.has(*flag)).map(|(_, letter)| *letter).collect();
        let shape = format!("{}/{partial}/{of_cpu}", total - of_cpu);
        table = table.line(
            format!(
                "{:<21} {:>8} {:>7} {:>15} {shape:>14} {:>4} {} {:>3} {:>3} {letters}",
                cache.name(),
                waste.objects,
                cache.object_size,
                waste.total,
                cache.objects,
                cache.order,
                (partial * 100) / total,
                waste.used * 100 / waste.total.max(1),
            )
            .trim_end()
            .to_string(),
        );
        records.push(record(machine, id));
    }
    table.with_records(records)
}

/// Caches by number of objects, the largest first, as `slabtop -o` prints them.
pub fn top(machine: &Machine) -> Table {
    struct Row {
        id: CacheId,
        objects: u64,
        active: u64,
        slabs: u64,
        pages: u64,
    }
    let mut rows: Vec<Row> = Vec::new();
    for &id in machine.caches.order.iter().rev() {
        let info = machine.slabinfo(id);
        let pages = info.num_slabs << info.cache_order;
        rows.push(Row { id, objects: info.num_objs, active: info.active_objs, slabs: info.num_slabs, pages });
    }
    rows.sort_by_key(|row| std::cmp::Reverse(row.objects));
    let kib = |bytes: u64| format!("{:.2}K", bytes as f64 / 1024.0);
    let share = |part: u64, whole: u64| {
        format!("{:.1}%", if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 })
    };
    let size = |row: &Row| u64::from(machine.caches.all[row.id].size);
    let sum = |of: &dyn Fn(&Row) -> u64| -> u64 { rows.iter().map(of).sum() };
    let (active, objects) = (sum(&|r| r.active), sum(&|r| r.objects));
    let slabs = sum(&|r| r.slabs);
    let (live, caches) = (rows.iter().filter(|r| r.active > 0).count() as u64, rows.len() as u64);
    let (used, whole) = (sum(&|r| r.active * size(r)), sum(&|r| r.objects * size(r)));
    let sizes = || rows.iter().map(size);
    let mut table = Table::new()
        .line(format!(
            " Active / Total Objects (% used)    : {active} / {objects} ({})",
            share(active, objects)
        ))
        .line(format!(" Active / Total Slabs (% used)      : {slabs} / {slabs} ({})", share(slabs, slabs)))
        .line(format!(" Active / Total Caches (% used)     : {live} / {caches} ({})", share(live, caches)))
        .line(format!(
            " Active / Total Size (% used)       : {} / {} ({})",
            kib(used),
            kib(whole),
            share(used, whole)
        ))
        .line(format!(
            " Minimum / Average / Maximum Object : {} / {} / {}",
            kib(sizes().min().unwrap_or(0)),
            kib(whole.checked_div(objects).unwrap_or(0)),
            kib(sizes().max().unwrap_or(0))
        ))
        .line("")
        .head("  OBJS ACTIVE  USE OBJ SIZE  SLABS OBJ/SLAB CACHE SIZE NAME");
    let mut records = Vec::new();
    for row in &rows {
        let cache = &machine.caches.all[row.id];
        let used = (row.active * 100).checked_div(row.objects).unwrap_or(0);
        table = table.line(format!(
            "{:>6} {:>6} {used:>3}% {:>7}K {:>6} {:>8} {:>9}K {}",
            row.objects,
            row.active,
            format!("{:.2}", f64::from(cache.size) / 1024.0),
            row.slabs,
            cache.objects,
            row.pages * 4,
            cache.name()
        ));
        records.push(vec![
            ("objs".into(), row.objects.into()),
            ("active".into(), row.active.into()),
            ("obj_size".into(), Cell::from(cache.size)),
            ("slabs".into(), row.slabs.into()),
            ("name".into(), cache.name().into()),
        ]);
    }
    table.with_records(records)
}
