//! A machine that stands as a report shows it: zones, watermarks, reserves, free blocks, pages by owner.
//!
//! Fidelity: imported — watermarks, boost, reserves, present and managed pages, free blocks of each order, totals.
//! Inferred — where zones lie, pageblock types, CPUs, who owns what is not on a list; each is a sentence. Kernels with
//! larger pages stand here in pages of 4 KiB: every page is several, every block the same memory.

use super::{Buddy, Report, Zone, blocks, unseen};
use crate::import::zoneinfo::{Pageset, ZoneText};
use crate::import::{ImportError, bare, layout, profile};
use crate::mm::addr::Order;
use crate::mm::config::{Arch, Config, FreeBlocks, MigrateType, SwapConfig, ZoneConfig, ZoneType};
use crate::mm::page_alloc::pcp::batchsize;

/// CPUs that are made up at most: a number in a log is no proof of so many.
const MOST_CPUS: u16 = 512;

/// Makes the machine; `file` is named in errors.
pub fn machine(name: &str, file: &str, report: &Report) -> Result<Config, ImportError> {
    let mut said = Vec::new();
    let mut zones: Vec<ZoneText> = report.zones.iter().map(|z| zone(report, z, &mut said)).collect();
    add_unseen(report, &mut zones, &mut said);
    let release = report.release.as_ref().map(|r| r.value.clone()).unwrap_or_default();
    let (arch, sentence) = architecture(report, &zones, &release);
    span(arch, &mut zones);
    owners(report, &mut zones);
    let mut config = Config::new(name, arch);
    config.inferred.extend(sentence);
    config.inferred.extend(said);
    if report.version().is_none() {
        config.inferred.push("The report names no kernel: it is taken for one of Linux 6.1.".into());
    }
    if let Some(version) = report.version().filter(|v| (v.0, v.1) != (6, 1)) {
        config
            .inferred
            .push(format!("Reported by Linux {version}; the rules and formats of 6.1 apply from here on."));
    }
    let pageblock = config.pageblock_order;
    let lines = report.zones.iter().filter(|z| z.buddy.is_some()).count();
    bare::settle(&mut config, file, &zones, |at, nid| {
        let zone = report.zones.iter().find(|z| (z.node, z.kind) == (nid, at.kind))?;
        Some(known_blocks(zone, zone.buddy.as_ref()?, at, pageblock))
    })?;
    config.inferred.push(match lines {
        0 => "Free blocks are not in the report: free pages are at the top of each zone, in the largest blocks.".into(),
        _ => "Blocks of one order are counted together: how many each migratetype has, and which pageblocks it owns, fits the letters and the sizes of CMA and HighAtomic.".to_string(),
    });
    swap(report, &mut config);
    let cpus = config.nr_cpus();
    let one = if cpus == 1 { "1 CPU is" } else { &format!("{cpus} CPUs are") };
    config.inferred.push(match report.cpu {
        Some(cpu) => format!("How many CPUs there are is not said: {one} taken, as CPU {cpu} reported."),
        None => format!("How many CPUs there are is not said: {one} taken."),
    });
    config.account = super::cause::account(report, file);
    Ok(config)
}

/// Pages of 4 KiB.
fn pages(kb: u64) -> u64 {
    kb / 4
}

/// The zone as zoneinfo would show it.
fn zone(report: &Report, zone: &Zone, said: &mut Vec<String>) -> ZoneText {
    let mut text = ZoneText::new(zone.node, zone.kind, zone.line);
    let number = |name: &str| zone.get(name).map(|n| pages(n.value));
    (text.free, text.boost) = (number("free"), number("boost"));
    (text.min, text.low, text.high) = (number("min"), number("low"), number("high"));
    (text.present, text.managed) = (number("present"), number("managed"));
    text.highatomic = number("reserved_highatomic");
    // Reserves are counted in the kernel's own pages.
    let scale = report.page_kb() / 4;
    text.protection = zone.reserve.iter().map(|n| n.value.saturating_mul(scale)).collect();
    let blocks = zone.buddy.as_ref().map_or(0, |b| b.runs.iter().map(|r| pages(r.count * r.kb)).sum());
    let free = text.free.unwrap_or(0).max(blocks);
    if text.managed.or(text.present).is_none() {
        (text.present, text.managed) = size_of_cut_zone(report, zone, free, said);
    }
    if let Some(room) = text.managed.or(text.present).filter(|room| *room < free) {
        said.push(format!(
            "{}: {free} pages are free, more than the {room} that are printed as its size; it is as large as that.",
            text.title(),
        ));
        (text.managed, text.present) = (Some(free), text.present.map(|p| p.max(free)).or(Some(free)));
    }
    pagesets(report, zone, &mut text, blocks);
    statistics(zone, &mut text);
    text
}

/// Present and managed pages of a zone whose line ends before them: what the report says of the whole machine when it
/// has no other zone, else what is free and what the lists of reclaim hold.
fn size_of_cut_zone(
    report: &Report,
    zone: &Zone,
    free: u64,
    said: &mut Vec<String>,
) -> (Option<u64>, Option<u64>) {
    let scale = report.page_kb() / 4;
    let of = |name: &str| report.trailer.get(name).map(|n| n.value.saturating_mul(scale));
    let lists = ["active_anon", "inactive_anon", "active_file", "inactive_file", "unevictable"];
    let seen = lists.iter().fold(free, |sum, name| sum.saturating_add(pages(zone.kb(name))));
    let title = format!("Node {}, zone {}", zone.node, zone.kind);
    if let ([_], Some(ram)) = (report.zones.as_slice(), of("pages RAM").filter(|ram| *ram > seen)) {
        let managed = ram.saturating_sub(of("pages reserved").unwrap_or(0)).max(seen);
        said.push(format!(
            "{title}: its line is cut; it is taken to be all of the {ram} pages of RAM, {managed} managed."
        ));
        return (Some(ram), Some(managed));
    }
    said.push(format!(
        "{title}: its size is not in the report; taken as the {seen} pages that are free or on a list."
    ));
    (Some(seen), Some(seen))
}

/// Per-CPU lists: as printed up to 3.18, else what is on them in all and on the reporting CPU.
fn pagesets(report: &Report, zone: &Zone, text: &mut ZoneText, blocks: u64) {
    let managed = text.managed.or(text.present).unwrap_or(0);
    let room = managed.saturating_sub(text.free.unwrap_or(0).max(blocks));
    let mut left = room;
    if !zone.pcp.is_empty() {
        for &(cpu, high, batch, used) in &zone.pcp {
            let count = used.min(left);
            left -= count;
            text.pagesets.push(Pageset { cpu, count, high, batch });
        }
        return;
    }
    let named = report.cpu.unwrap_or(0).min(MOST_CPUS - 1);
    let cpus = u64::from(named) + 1;
    let batch = batchsize(managed);
    let high = (text.low.unwrap_or(0) / cpus).max(4 * batch);
    let local = pages(zone.kb("local_pcp")).min(high);
    let others = pages(zone.kb("free_pcp")).saturating_sub(local);
    for cpu in 0..=named {
        let share = if cpu == named { local } else { (others / (cpus - 1).max(1)).min(high) };
        let count = share.min(left);
        left -= count;
        text.pagesets.push(Pageset { cpu, count, high, batch });
    }
}

/// Lists of reclaim and owners that stand in the zone's line.
fn statistics(zone: &Zone, text: &mut ZoneText) {
    for (name, stat) in [
        ("active_anon", "nr_zone_active_anon"),
        ("inactive_anon", "nr_zone_inactive_anon"),
        ("active_file", "nr_zone_active_file"),
        ("inactive_file", "nr_zone_inactive_file"),
        ("unevictable", "nr_zone_unevictable"),
        ("active", "active"),
        ("inactive", "inactive"),
        ("mlocked", "nr_mlock"),
        ("free_cma", "nr_free_cma"),
        ("slab_reclaimable", "nr_slab_reclaimable"),
        ("slab_unreclaimable", "nr_slab_unreclaimable"),
        ("pagetables", "nr_page_table_pages"),
    ] {
        if let Some(kb) = zone.get(name) {
            text.stats.insert(stat.into(), pages(kb.value));
        }
    }
    // The kernel counts stacks in kB.
    if let Some(kb) = zone.get("kernel_stack") {
        text.stats.insert("nr_kernel_stack".into(), kb.value);
    }
}

/// The architecture: the kernel's release often names it; a 32-bit PC is the nearest to what is not simulated.
fn architecture(report: &Report, zones: &[ZoneText], release: &str) -> (Arch, Option<String>) {
    let hardware = report.hardware.to_lowercase();
    let foreign = ["powermac", "powerpc", "mips", "sparc", "9000/", "s390", "alpha"]
        .iter()
        .any(|w| hardware.contains(w));
    // Where ZONE_DMA is larger than 16 MiB there is no PC, and a kernel for NUMA is no 32-bit one.
    let large =
        report.numa && zones.iter().any(|z| z.kind == ZoneType::Dma && z.present.unwrap_or(0) > 0x1000);
    let (arch, sentence) = match large && release.is_empty() {
        true => (
            Arch::Arm64,
            Some("The architecture is not in the report: a ZONE_DMA this large fits arm64.".into()),
        ),
        false => profile::arch(zones, release),
    };
    // Whatever was printed must have its zone.
    let fits =
        |arch: Arch| zones.iter().filter(|z| z.populated()).all(|z| arch.zone_types().contains(&z.kind));
    let arch = if fits(arch) {
        arch
    } else {
        let others = [Arch::X86_64, Arch::I386Pae, Arch::Arm, Arch::Arm64];
        others.into_iter().find(|arch| fits(*arch)).unwrap_or(arch)
    };
    if foreign {
        let hardware = &report.hardware;
        return (arch, Some(format!("{hardware} is not simulated: its zones stand on {}.", arch.name())));
    }
    (arch, sentence)
}

/// On a PC zones end where the next one begins, whatever lies between.
fn span(arch: Arch, zones: &mut [ZoneText]) {
    const DMA: u64 = 0xfff;
    const DMA32: u64 = 0x10_0000 - 0x1000;
    let pc = matches!(arch, Arch::X86_64 | Arch::I386 | Arch::I386Pae);
    let first = zones.iter().map(|z| z.node).min();
    let normal = |zones: &[ZoneText], node: u8| {
        zones.iter().any(|z| z.node >= node && z.kind == ZoneType::Normal && z.populated())
    };
    for at in 0..zones.len() {
        let (node, kind, present) = (zones[at].node, zones[at].kind, zones[at].present.unwrap_or(0));
        let whole = match kind {
            ZoneType::Dma if pc => DMA,
            ZoneType::Dma32 if pc && normal(zones, node) && Some(node) == first => DMA32,
            _ => continue,
        };
        let alone = zones.iter().filter(|z| z.kind == kind && z.populated()).count() == 1;
        if alone && (1..=whole).contains(&present) {
            zones[at].spanned = Some(whole);
        }
    }
}

/// Totals of the machine belong to its nodes by their size.
fn owners(report: &Report, zones: &mut [ZoneText]) {
    let of_zones = zones.iter().any(|z| z.stats.contains_key("nr_slab_unreclaimable"));
    let scale = report.page_kb() / 4;
    let total = |name: &str| report.totals.get(name).map_or(0, |n| n.value.saturating_mul(scale));
    let anon = (total("active_anon") + total("inactive_anon")).saturating_sub(total("shmem"));
    let cache = |name: &str| report.trailer.get(name).map_or(0, |n| n.value.saturating_mul(scale));
    let mut numbers = vec![
        ("nr_anon_pages", anon),
        ("nr_file_pages", cache("pagecache")),
        ("nr_swapcached", cache("swapcache")),
        ("nr_mapped", total("mapped")),
        ("nr_shmem", total("shmem")),
        ("nr_dirty", total("dirty")),
    ];
    if !of_zones {
        numbers.push(("nr_slab_reclaimable", total("slab_reclaimable")));
        numbers.push(("nr_slab_unreclaimable", total("slab_unreclaimable").max(total("slab"))));
        numbers.push(("nr_page_table_pages", total("pagetables")));
    }
    let size = |z: &ZoneText| z.managed.or(z.present).unwrap_or(0);
    let all = zones.iter().map(size).fold(0u64, u64::saturating_add).max(1);
    let mut nids: Vec<u8> = zones.iter().map(|z| z.node).collect();
    nids.dedup();
    for nid in nids {
        let own = zones.iter().filter(|z| z.node == nid).map(size).fold(0u64, u64::saturating_add);
        let share = |n: u64| (u128::from(n) * u128::from(own) / u128::from(all)) as u64;
        let stack = report.nodes.get(&nid).and_then(|node| node.get("kernel_stack")).map(|n| n.value);
        let Some(first) = zones.iter_mut().find(|z| z.node == nid) else { continue };
        for (name, pages) in &numbers {
            first.node_stats.insert((*name).into(), share(*pages));
        }
        if let Some(kb) = stack {
            first.node_stats.insert("nr_kernel_stack".into(), kb);
        }
    }
}

/// Since 6.0 zones above the request's are left out; `pages RAM` and the total of free pages count them.
fn add_unseen(report: &Report, zones: &mut Vec<ZoneText>, said: &mut Vec<String>) {
    let Some((frames, free)) = unseen::missing(report) else { return };
    let scale = report.page_kb() / 4;
    let (frames, free) = (frames * scale, free * scale);
    let high = report.trailer.get("pages HighMem").map_or(0, |n| n.value * scale);
    let kind = if high * 2 > frames { ZoneType::HighMem } else { ZoneType::Normal };
    let Some(low) = zones.iter().filter(|z| z.kind < kind).max_by_key(|z| z.managed).cloned() else { return };
    if zones.iter().any(|z| z.kind == kind) {
        return;
    }
    let mut zone = ZoneText::new(low.node, kind, low.line);
    let managed = frames - frames / 64;
    (zone.present, zone.managed, zone.free) = (Some(frames), Some(managed.max(free)), Some(free));
    // As the watermarks of the zone below, each by its size.
    let part = |mark: Option<u64>| {
        let mark = u128::from(mark?.saturating_sub(low.boost.unwrap_or(0)));
        Some((mark * u128::from(managed) / u128::from(low.managed.unwrap_or(1).max(1))) as u64)
    };
    (zone.min, zone.low, zone.high) = (part(low.min), part(low.low), part(low.high));
    zone.protection = vec![0; low.protection.len()];
    said.push(format!(
        "Zone {kind} is not printed (the request could not use it): {frames} frames and {free} free pages are what the totals leave; its watermarks are those of {} in proportion.",
        low.kind
    ));
    let at = zones.iter().rposition(|z| z.node == low.node).map_or(zones.len(), |at| at + 1);
    zones.insert(at, zone);
}

/// Free blocks as printed, and pageblocks that fit them.
fn known_blocks(zone: &Zone, buddy: &Buddy, at: &ZoneConfig, pageblock: Order) -> bare::Blocks {
    let mut free = blocks::by_type(zone, buddy);
    let held: u64 = at.pcp.iter().sum();
    // What was counted while others allocated cannot be more than there is.
    for mt in MigrateType::ALL {
        for order in Order::all() {
            let above = free
                .iter()
                .map(FreeBlocks::pages)
                .sum::<u64>()
                .saturating_sub(at.managed.saturating_sub(held));
            let blocks = &mut free[mt.index()].blocks[order.index()];
            *blocks = blocks.saturating_sub(above.div_ceil(order.pages().into()));
        }
    }
    let pages = |mt: MigrateType| free[mt.index()].pages();
    let block = u64::from(pageblock.pages());
    let total = layout::pageblocks(at.start_pfn..at.start_pfn + at.spanned, pageblock);
    let mut types = [0u64; MigrateType::COUNT];
    let mut left = total;
    let mut own = |mt: MigrateType, pages: u64| {
        types[mt.index()] = pages.div_ceil(block).min(left);
        left -= types[mt.index()];
    };
    own(MigrateType::Cma, at.cma.max(pages(MigrateType::Cma)));
    own(MigrateType::HighAtomic, (zone.kb("reserved_highatomic") / 4).max(pages(MigrateType::HighAtomic)));
    own(MigrateType::Isolate, pages(MigrateType::Isolate));
    own(MigrateType::Reclaimable, pages(MigrateType::Reclaimable) + zone.kb("slab_reclaimable") / 4);
    let movable = at.lru.total() + pages(MigrateType::Movable);
    let kernel = at.managed.saturating_sub(movable).max(pages(MigrateType::Unmovable));
    own(MigrateType::Unmovable, kernel);
    types[MigrateType::Movable.index()] = left;
    (free, types)
}

/// What was free of swap is the machine's swap: what lay in it belongs to tasks that are not here.
fn swap(report: &Report, config: &mut Config) {
    let kb = |name: &str| report.trailer.get(name).map_or(0, |n| n.value);
    let (free, total) = (kb("free swap"), kb("total swap"));
    if free / 4 > 0 {
        let pages = (free / 4).min(1 << 28);
        config.swap.push(SwapConfig { name: "/dev/swap".into(), pages, priority: None });
    }
    if total > free {
        config.inferred.push(format!(
            "{} of {total} kB of swap were in use: the machine has the {free} kB that were free.",
            total - free
        ));
    }
}
