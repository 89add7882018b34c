//! `struct zone` and `struct pglist_data`.
//!
//! Kernel: `include/linux/mmzone.h`.

use super::member::{Member, Value, member, somewhere};
use crate::mm::Machine;
use crate::mm::addr::Order;
use crate::mm::mmzone::Zone;
use crate::mm::vmstat::{NumaStat, ZoneStat};
use crate::script::objects;
use crate::script::proc::vmstat::node_items;
use crate::script::proc::zoneinfo::protection;

fn numbers(values: impl IntoIterator<Item = u64>) -> Value {
    Value::Array(values.into_iter().map(Value::Number).collect())
}

fn counters(values: impl IntoIterator<Item = u64>) -> Value {
    Value::Array(values.into_iter().map(|n| Value::Counter(n as i64)).collect())
}

/// A zone, by its place in `Machine::zones`.
pub fn zone(machine: &Machine, place: usize) -> Vec<Member> {
    let zone = &machine.zones[place];
    let mark = &zone.watermark;
    let reserve = protection(machine, zone);
    let area = |order: Order| {
        Value::Group(vec![somewhere("unsigned long", "nr_free", Value::Number(zone.nr_free(order)))])
    };
    let pageset = zone.pageset.first();
    let (high, batch) = pageset.map_or((0, 0), |lists| (lists.high, lists.batch));
    let memory = &zone.compaction;
    // Scanners that have stood nowhere yet.
    let placed = |pfn: u32| if pfn == u32::MAX { 0 } else { u64::from(pfn) };
    let migrate = memory.cached_migrate.map(placed);
    let failed = memory.failed.map_or(0, |order| i64::from(order.get()));
    let numa = if machine.config.arch.has_numa() { NumaStat::ALL } else { &[] };
    vec![
        member("unsigned long[4]", "_watermark", 0, numbers([mark.min, mark.low, mark.high, mark.promo])),
        member("unsigned long", "watermark_boost", 32, Value::Number(zone.watermark_boost)),
        member("unsigned long", "nr_reserved_highatomic", 40, Value::Number(zone.nr_reserved_highatomic)),
        member(format!("long[{}]", reserve.len()), "lowmem_reserve", 48, numbers(reserve)),
        member("int", "node", 88, Value::Number(zone.node.0.into())),
        member("struct pglist_data *", "zone_pgdat", 96, Value::Pointer(machine.pgdat_address(zone.pgdat).0)),
        member("int", "pageset_high", 120, Value::Number(high)),
        member("int", "pageset_batch", 124, Value::Number(batch)),
        member("unsigned long", "zone_start_pfn", 128, Value::Number(zone.zone_start_pfn.into())),
        member("atomic_long_t", "managed_pages", 136, Value::Counter(zone.managed_pages as i64)),
        member("unsigned long", "spanned_pages", 144, Value::Number(zone.spanned_pages)),
        member("unsigned long", "present_pages", 152, Value::Number(zone.present_pages)),
        member("const char *", "name", 168, Value::Text(zone.kind.name().into())),
        member(
            format!("struct free_area[{}]", Order::COUNT),
            "free_area",
            256,
            Value::Array(Order::all().map(area).collect()),
        ),
        member("unsigned long", "flags", 1224, Value::Number(flags(zone))),
        member("unsigned long", "compact_cached_free_pfn", 1288, Value::Number(placed(memory.cached_free))),
        member("unsigned long[2]", "compact_cached_migrate_pfn", 1296, numbers(migrate)),
        member("unsigned int", "compact_considered", 1328, Value::Number(memory.considered.into())),
        member("unsigned int", "compact_defer_shift", 1332, Value::Number(memory.shift.into())),
        member("int", "compact_order_failed", 1336, Value::Signed(failed)),
        member("bool", "compact_blockskip_flush", 1340, Value::Flag(memory.blockskip_flush)),
        member(
            format!("atomic_long_t[{}]", ZoneStat::COUNT),
            "vm_stat",
            1344,
            counters(ZoneStat::ALL.iter().map(|&item| zone.stat(item))),
        ),
        member(
            format!("atomic_long_t[{}]", numa.len()),
            "vm_numa_event",
            1432,
            counters(numa.iter().map(|&item| zone.numa(item))),
        ),
    ]
}

/// `ZONE_BOOSTED_WATERMARK` and `ZONE_RECLAIM_ACTIVE`.
fn flags(zone: &Zone) -> u64 {
    u64::from(zone.boosted_watermark) | u64::from(zone.reclaim_active) << 1
}

/// A node, by its place in `Machine::nodes`.
pub fn pglist_data(machine: &Machine, place: usize) -> Vec<Member> {
    let node = &machine.nodes[place];
    let populated = || node.zones.iter().map(|id| &machine.zones[id.index()]).filter(|z| z.is_populated());
    let start = populated().map(|zone| zone.zone_start_pfn).min().unwrap_or(0);
    let end = populated().map(Zone::end_pfn).max().unwrap_or(start);
    let thread = |pid: Option<u32>| Value::Pointer(pid.map_or(0, |pid| objects::task(machine, pid)));
    let number = |n: u64| Value::Number(n);
    let items = node_items(machine.config.arch);
    vec![
        somewhere("int", "nr_zones", number(node.zones.len() as u64)),
        somewhere("unsigned long", "node_start_pfn", number(start.into())),
        somewhere("unsigned long", "node_present_pages", number(populated().map(|z| z.present_pages).sum())),
        somewhere("unsigned long", "node_spanned_pages", number((end - start).into())),
        somewhere("int", "node_id", number(node.nid.0.into())),
        somewhere("struct task_struct *", "kswapd", thread(machine.kswapd_pid(place))),
        somewhere("int", "kswapd_failures", number(node.kswapd.failures.into())),
        somewhere("int", "kcompactd_max_order", number(node.kcompactd.max_order.get().into())),
        somewhere("enum zone_type", "kcompactd_highest_zoneidx", number(node.kcompactd.highest as u64)),
        somewhere("struct task_struct *", "kcompactd", thread(machine.kcompactd_pid(place))),
        somewhere(
            format!("atomic_long_t[{}]", items.len()),
            "vm_stat",
            counters(items.iter().map(|&item| node.stat(item))),
        ),
    ]
}
