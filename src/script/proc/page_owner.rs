//! /sys/kernel/debug/page_owner: who allocated each page that is in use.
//!
//! Kernel: `mm/page_owner.c`, `print_page_owner`. The stacks that a kernel prints below each record are not simulated.

use crate::mm::Machine;
use crate::mm::addr::{Order, Pfn};
use crate::mm::page::PageFlags;
use crate::mm::page_owner::Owner;
use crate::script::table::{Cell, Column, Record, Table};
use std::collections::BTreeMap;

/// The file's path.
pub const PATH: &str = "/sys/kernel/debug/page_owner";

/// The whole file: a record for each block in use, in the order of frames.
pub fn table(machine: &Machine) -> Table {
    let mut table = Table::new();
    let mut records = Vec::new();
    for (pfn, owner) in machine.page_owner.allocated() {
        for line in lines(machine, pfn, owner) {
            table = table.line(line);
        }
        table = table.line("");
        records.push(record(pfn, owner));
    }
    table.with_records(records)
}

fn lines(machine: &Machine, pfn: Pfn, owner: &Owner) -> Vec<String> {
    let Owner { order, gfp, pid, tgid, comm, ts, free_ts, .. } = owner;
    let mask = if gfp.0 == 0 { String::new() } else { gfp.to_string() };
    let mut lines = vec![
        format!(
            "Page allocated via order {order}, mask {:#x}({mask}), pid {pid}, tgid {tgid} ({comm}), ts {ts} ns, free_ts {free_ts} ns",
            gfp.0
        ),
        format!(
            "PFN {} type {} Block {} type {} Flags {}",
            pfn.0,
            gfp.migratetype().name(),
            pfn.0 >> Order::PAGEBLOCK.get(),
            machine.pageblocks.get(pfn).name(),
            machine.page_flags_text(pfn)
        ),
    ];
    if let Some(reason) = owner.migrate_reason {
        lines.push(format!("Page has been migrated, last migrate reason: {}", reason.name()));
    }
    lines
}

fn record(pfn: Pfn, owner: &Owner) -> Record {
    vec![
        ("pfn".into(), pfn.0.into()),
        ("order".into(), owner.order.get().into()),
        ("gfp".into(), owner.gfp.to_string().into()),
        ("pid".into(), owner.pid.into()),
        ("comm".into(), owner.comm.as_str().into()),
        ("ns".into(), owner.ts.into()),
        ("free_ns".into(), owner.free_ts.into()),
        ("migrated".into(), owner.migrate_reason.map(|reason| reason.name()).into()),
    ]
}

/// Pages in use by who asked for them, the largest share first, as `page_owner_sort` counts them.
pub fn sorted(machine: &Machine) -> Table {
    let mut owners: BTreeMap<(u32, &str, u8, u32), (u64, u64)> = BTreeMap::new();
    for (_, owner) in machine.page_owner.allocated() {
        let key = (owner.pid, owner.comm.as_str(), owner.order.get(), owner.gfp.0);
        let (times, pages) = owners.entry(key).or_default();
        *times += 1;
        *pages += u64::from(owner.order.pages());
    }
    let mut owners: Vec<_> = owners.into_iter().collect();
    owners.sort_by_key(|(key, (_, pages))| (std::cmp::Reverse(*pages), *key));
    let row = |((pid, comm, order, gfp), (times, pages)): ((u32, &str, u8, u32), (u64, u64))| {
        let mask = crate::mm::gfp::Gfp(gfp).to_string();
        vec![times.into(), pages.into(), order.into(), pid.into(), Cell::from(comm), mask.into()]
    };
    let rows: Vec<Vec<Cell>> = owners.into_iter().map(row).collect();
    let columns = ["TIMES", "PAGES", "ORDER", "PID"].map(|head| Column::right(head, 0)).into_iter();
    let columns = columns.chain(["COMM", "MASK"].map(|head| Column::left(head, 0)));
    Table::grid(columns.collect(), rows)
}

/// `allocated by pid 3 "cc" alloc_pages(GFP_KERNEL, order 0) at tick 120`, for what lies at an address.
pub fn told(machine: &Machine, pfn: Pfn) -> Option<String> {
    /// Nanoseconds of a tick, at 250 a second.
    const TICK: u64 = 4_000_000;
    let owner = machine.page_owner.get(pfn)?;
    let Owner { order, gfp, pid, comm, ts, free_ts, .. } = owner;
    let mut text =
        format!("allocated by pid {pid} \"{comm}\" alloc_pages({gfp}, order {order}) at tick {}", ts / TICK);
    if !owner.allocated {
        text = format!("last {text}, freed at tick {}", free_ts / TICK);
    }
    if let Some(reason) = owner.migrate_reason {
        text += &format!(", moved here by {}", reason.name().replace('_', " "));
    }
    Some(text)
}

/// Pageblocks of a zone with a page that does not belong there, by the pageblock's type
/// (`pagetypeinfo_showmixedcount`).
pub fn mixed(
    machine: &Machine,
    zone: &crate::mm::mmzone::Zone,
) -> [u64; crate::mm::config::MigrateType::COUNT] {
    use crate::mm::config::MigrateType;
    let mut count = [0; MigrateType::COUNT];
    let step = machine.config.pageblock_order.pages();
    let mut at = zone.zone_start_pfn;
    while at < zone.end_pfn() {
        let end = (at / step + 1) * step;
        let block = machine.pageblocks.get(Pfn(at));
        let odd = |pfn: &u32| {
            let page = machine.mem_map.page(Pfn(*pfn));
            let here = machine.mem_map.zone_of(Pfn(*pfn)) == Some(zone.id) && !page.is(PageFlags::RESERVED);
            let owner = machine.page_owner.get(Pfn(*pfn)).filter(|owner| here && owner.allocated);
            owner.is_some_and(|owner| owner.gfp.migratetype() != block)
        };
        if (at..end.min(zone.end_pfn())).any(|pfn| odd(&pfn)) {
            let counted = if block == MigrateType::Cma { MigrateType::Movable } else { block };
            count[counted.index()] += 1;
        }
        at = end;
    }
    count
}
