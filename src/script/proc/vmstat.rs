//! /proc/vmstat: every counter, summed over the machine.
//!
//! Kernel: `mm/vmstat.c`, `vmstat_text`.
//! Fidelity: faithful — names, order, and which architecture's kernel has which.

use crate::mm::Machine;
use crate::mm::config::{Arch, ZoneType};
use crate::mm::vmstat::{NodeStat, NumaStat, VmEvent, ZoneEvent, ZoneStat};
use crate::script::table::Table;

/// The whole file.
pub fn table(machine: &Machine) -> Table {
    let mut table = Table::new();
    let mut records = Vec::new();
    for (name, n) in counters(machine) {
        table = table.line(format!("{name} {n}"));
        records.push(vec![("name".to_string(), name.into()), ("value".to_string(), n.into())]);
    }
    table.with_records(records)
}

/// Names and numbers, in the kernel's order.
pub fn counters(machine: &Machine) -> Vec<(String, u64)> {
    let arch = machine.config.arch;
    let mut all: Vec<(String, u64)> = Vec::new();
    for &item in ZoneStat::ALL {
        all.push((item.name().into(), machine.zones.iter().map(|z| z.stat(item)).sum()));
    }
    if arch.has_numa() {
        for &item in NumaStat::ALL {
            all.push((item.name().into(), machine.zones.iter().map(|z| z.numa(item)).sum()));
        }
    }
    for &item in node_items(arch) {
        all.push((item.name().into(), machine.node_stat(item)));
    }
    let (background, thresh) = machine.global_dirty_limits();
    all.push(("nr_dirty_threshold".into(), thresh));
    all.push(("nr_dirty_background_threshold".into(), background));
    for &event in VmEvent::ALL {
        if event == VmEvent::Pgfree {
            zone_events(machine, &mut all);
        }
        if event == VmEvent::UnevictablePgsCulled && machine.config.cma {
            all.extend(["cma_alloc_success", "cma_alloc_fail"].map(|name| (name.to_string(), 0)));
        }
        if is_built(event, arch) {
            all.push((event.name().into(), machine.vmstat.get(event)));
        }
    }
    all.push(("nr_unstable".into(), 0));
    all
}

/// Counters of nodes that this kernel has; promotion between nodes needs NUMA.
pub fn node_items(arch: Arch) -> &'static [NodeStat] {
    let promotion = NodeStat::ALL.iter().position(|&item| item == NodeStat::PgpromoteSuccess);
    if arch.has_numa() { NodeStat::ALL } else { &NodeStat::ALL[..promotion.unwrap_or(NodeStat::COUNT)] }
}

/// `pgalloc_dma pgalloc_dma32 …`: one for each kind of zone.
fn zone_events(machine: &Machine, all: &mut Vec<(String, u64)>) {
    for &event in ZoneEvent::ALL {
        for &kind in machine.config.arch.zone_types() {
            let suffix = if kind == ZoneType::HighMem { "high".into() } else { kind.name().to_lowercase() };
            all.push((format!("{}_{suffix}", event.name()), machine.zone_event(event, kind)));
        }
    }
}

/// Is the counter compiled in?
fn is_built(event: VmEvent, arch: Arch) -> bool {
    let name = event.name();
    if name.starts_with("mm_buddy") {
        // Ours: `vmstat("mm_buddy_split")` has them, the kernel's file does not.
        return false;
    }
    let numa = arch.has_numa() || !(name.starts_with("numa_") || name == "zone_reclaim_failed");
    let huge = arch != Arch::Uml
        || !["thp_", "htlb_", "ksm_", "cow_ksm"].iter().any(|start| name.starts_with(start));
    // Migration of huge pages is counted even where there are none.
    let huge = huge || name.starts_with("thp_migration");
    let pud = arch == Arch::X86_64 || name != "thp_split_pud";
    let direct = matches!(arch, Arch::X86_64 | Arch::I386 | Arch::I386Pae) || !name.starts_with("direct_map");
    numa && huge && pud && direct
}
