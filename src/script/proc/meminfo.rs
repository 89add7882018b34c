//! /proc/meminfo: memory as a whole, and a node's part of it.
//!
//! Kernel: `fs/proc/meminfo.c`, `drivers/base/node.c`, `arch/x86/mm/pat/set_memory.c`.
//! Fidelity: faithful — lines, order, formulas. Absent — block-device buffers (0 here). Imported — what
//! vmalloc held after the boot of a captured machine. Simplified — the direct map is all large pages but for its ragged end.

use crate::mm::Machine;
use crate::mm::config::{Arch, ZoneType};
use crate::mm::vmstat::{NodeStat, ZoneStat};
use crate::script::table::Table;

/// Value of a line: kilobytes, or a plain number.
enum Value {
    Kb(u64),
    Count(u64),
}

/// The whole file.
pub fn table(machine: &Machine) -> Table {
    draw(&lines(machine), "")
}

fn draw(lines: &[(&'static str, Value)], prefix: &str) -> Table {
    let mut table = Table::new();
    let mut records = Vec::new();
    for (name, value) in lines {
        let label = format!("{prefix}{name}:");
        let width = match *name {
            // The kernel's own formats for these are a space shorter.
            "FileHugePages" | "FilePmdMapped" if !prefix.is_empty() => label.len() + 1,
            _ => 16 + prefix.len(),
        };
        let (text, n) = match value {
            Value::Kb(kb) if *name == "HardwareCorrupted" => (format!("{label} {kb:>5} kB"), *kb),
            Value::Kb(kb) => (format!("{label:<width$}{kb:>8} kB"), *kb),
            Value::Count(n) if prefix.is_empty() => (format!("{label:<width$}{n:>8}"), *n),
            Value::Count(n) => (format!("{label:<wider$}{n:>5}", wider = width + 1), *n),
        };
        table = table.line(text);
        records.push(vec![("name".to_string(), (*name).into()), ("kb".to_string(), n.into())]);
    }
    table.with_records(records)
}

/// Pages as the file shows them.
fn kb(pages: u64) -> Value {
    Value::Kb(pages * 4)
}

fn lines(machine: &Machine) -> Vec<(&'static str, Value)> {
    let arch = machine.config.arch;
    let stat = |item| machine.node_stat(item);
    let zone = |item| machine.zones.iter().map(|z| z.stat(item)).sum::<u64>();
    let (swap, swap_free) = machine.swap_pages();
    let (total, free) = (machine.totalram_pages(), machine.nr_free_pages());
    let swapcached = stat(NodeStat::Swapcached);
    let mut lines = vec![
        ("MemTotal", kb(total)),
        ("MemFree", kb(free)),
        ("MemAvailable", kb(machine.si_mem_available())),
        ("Buffers", kb(0)),
        ("Cached", kb(stat(NodeStat::FilePages).saturating_sub(swapcached))),
        ("SwapCached", kb(swapcached)),
        ("Active", kb(stat(NodeStat::ActiveAnon) + stat(NodeStat::ActiveFile))),
        ("Inactive", kb(stat(NodeStat::InactiveAnon) + stat(NodeStat::InactiveFile))),
        ("Active(anon)", kb(stat(NodeStat::ActiveAnon))),
        ("Inactive(anon)", kb(stat(NodeStat::InactiveAnon))),
        ("Active(file)", kb(stat(NodeStat::ActiveFile))),
        ("Inactive(file)", kb(stat(NodeStat::InactiveFile))),
        ("Unevictable", kb(stat(NodeStat::Unevictable))),
        ("Mlocked", kb(zone(ZoneStat::Mlock))),
    ];
    if arch.has_highmem() {
        let (high, high_free) = machine.high_pages();
        lines.extend([
            ("HighTotal", kb(high)),
            ("HighFree", kb(high_free)),
            ("LowTotal", kb(total - high)),
            ("LowFree", kb(free - high_free)),
        ]);
    }
    lines.extend([
        ("SwapTotal", kb(swap)),
        ("SwapFree", kb(swap_free)),
        ("Zswap", kb(0)),
        ("Zswapped", kb(0)),
        ("Dirty", kb(stat(NodeStat::Dirty))),
        ("Writeback", kb(stat(NodeStat::Writeback))),
    ]);
    lines.extend(owners(&stat, machine.zone_stat(ZoneStat::Bounce)));
    lines.extend([
        ("CommitLimit", kb(machine.vm_commit_limit(swap))),
        ("Committed_AS", kb(machine.committed_as)),
        ("VmallocTotal", Value::Kb(vmalloc_total(machine))),
        ("VmallocUsed", kb(machine.vmalloc.nr_pages)),
        ("VmallocChunk", kb(0)),
        ("Percpu", kb(machine.percpu.nr_pages())),
    ]);
    if arch != Arch::Uml {
        lines.push(("HardwareCorrupted", kb(0)));
        lines.extend(huge(&stat));
    }
    if machine.config.cma {
        lines.extend([
            ("CmaTotal", kb(machine.zones.iter().map(|z| z.cma_pages).sum())),
            ("CmaFree", kb(zone(ZoneStat::FreeCma))),
        ]);
    }
    if arch != Arch::Uml {
        let names = ["HugePages_Total", "HugePages_Free", "HugePages_Rsvd", "HugePages_Surp"];
        lines.extend(names.map(|name| (name, Value::Count(0))));
        lines.extend([
            ("Hugepagesize", Value::Kb(4 << machine.config.pageblock_order.get())),
            ("Hugetlb", kb(0)),
        ]);
    }
    if matches!(arch, Arch::X86_64 | Arch::I386 | Arch::I386Pae) {
        let large = 4 << machine.config.pageblock_order.get();
        let mapped = direct_map(machine);
        let name = if large == 4096 { "DirectMap4M" } else { "DirectMap2M" };
        lines
            .extend([("DirectMap4k", Value::Kb(mapped % large)), (name, Value::Kb(mapped - mapped % large))]);
    }
    lines
}

/// The lines that files of nodes share.
fn owners(stat: &impl Fn(NodeStat) -> u64, bounce: u64) -> Vec<(&'static str, Value)> {
    let reclaimable = stat(NodeStat::SlabReclaimable);
    vec![
        ("AnonPages", kb(stat(NodeStat::AnonPages))),
        ("Mapped", kb(stat(NodeStat::Mapped))),
        ("Shmem", kb(stat(NodeStat::Shmem))),
        ("KReclaimable", kb(reclaimable + stat(NodeStat::KernelMiscReclaimable))),
        ("Slab", kb(reclaimable + stat(NodeStat::SlabUnreclaimable))),
        ("SReclaimable", kb(reclaimable)),
        ("SUnreclaim", kb(stat(NodeStat::SlabUnreclaimable))),
        ("KernelStack", Value::Kb(stat(NodeStat::KernelStackKb))),
        ("PageTables", kb(stat(NodeStat::PageTablePages))),
        ("SecPageTables", kb(stat(NodeStat::SecPageTablePages))),
        ("NFS_Unstable", kb(0)),
        ("Bounce", kb(bounce)),
        ("WritebackTmp", kb(stat(NodeStat::WritebackTemp))),
    ]
}

fn huge(stat: &impl Fn(NodeStat) -> u64) -> Vec<(&'static str, Value)> {
    vec![
        ("AnonHugePages", kb(stat(NodeStat::AnonTransparentHugepages) * 512)),
        ("ShmemHugePages", kb(stat(NodeStat::ShmemHugepages) * 512)),
        ("ShmemPmdMapped", kb(stat(NodeStat::ShmemPmdmapped) * 512)),
        ("FileHugePages", kb(stat(NodeStat::FileHugepages) * 512)),
        ("FilePmdMapped", kb(stat(NodeStat::FilePmdmapped) * 512)),
    ]
}

/// Memory that the kernel reaches without a mapping of its own, in kB.
fn direct_map(machine: &Machine) -> u64 {
    let low = machine.zones.iter().filter(|z| z.is_populated() && z.kind != ZoneType::HighMem);
    u64::from(low.map(|z| z.end_pfn()).max().unwrap_or(0)) * 4
}

/// The room for vmalloc, in kB.
fn vmalloc_total(machine: &Machine) -> u64 {
    let room = &machine.layout.vmalloc;
    (room.end - room.start) >> 10
}

/// /sys/devices/system/node/nodeN/meminfo.
pub fn node_table(machine: &Machine, node: usize) -> Table {
    let of = &machine.nodes[node];
    let stat = |item| of.stat(item);
    let zones = || of.zones.iter().map(|id| &machine.zones[id.index()]);
    let (total, free): (u64, u64) =
        (zones().map(|z| z.managed_pages).sum(), zones().map(|z| z.free_pages()).sum());
    let mut lines = vec![
        ("MemTotal", kb(total)),
        ("MemFree", kb(free)),
        ("MemUsed", kb(total - free)),
        ("SwapCached", kb(stat(NodeStat::Swapcached))),
        ("Active", kb(stat(NodeStat::ActiveAnon) + stat(NodeStat::ActiveFile))),
        ("Inactive", kb(stat(NodeStat::InactiveAnon) + stat(NodeStat::InactiveFile))),
        ("Active(anon)", kb(stat(NodeStat::ActiveAnon))),
        ("Inactive(anon)", kb(stat(NodeStat::InactiveAnon))),
        ("Active(file)", kb(stat(NodeStat::ActiveFile))),
        ("Inactive(file)", kb(stat(NodeStat::InactiveFile))),
        ("Unevictable", kb(stat(NodeStat::Unevictable))),
        ("Mlocked", kb(zones().map(|z| z.stat(ZoneStat::Mlock)).sum())),
        ("Dirty", kb(stat(NodeStat::Dirty))),
        ("Writeback", kb(stat(NodeStat::Writeback))),
        ("FilePages", kb(stat(NodeStat::FilePages))),
        ("Mapped", kb(stat(NodeStat::Mapped))),
        ("AnonPages", kb(stat(NodeStat::AnonPages))),
        ("Shmem", kb(stat(NodeStat::Shmem))),
        ("KernelStack", Value::Kb(stat(NodeStat::KernelStackKb))),
        ("PageTables", kb(stat(NodeStat::PageTablePages))),
        ("SecPageTables", kb(stat(NodeStat::SecPageTablePages))),
        ("NFS_Unstable", kb(0)),
        ("Bounce", kb(zones().map(|z| z.stat(ZoneStat::Bounce)).sum())),
        ("WritebackTmp", kb(stat(NodeStat::WritebackTemp))),
    ];
    let shared = owners(&stat, 0);
    let slab = ["KReclaimable", "Slab", "SReclaimable", "SUnreclaim"];
    lines.extend(shared.into_iter().filter(|(name, _)| slab.contains(name)));
    lines.extend(huge(&stat));
    lines.extend(["HugePages_Total", "HugePages_Free", "HugePages_Surp"].map(|name| (name, Value::Count(0))));
    draw(&lines, &format!("Node {} ", of.nid))
}
