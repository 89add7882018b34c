//! What captures say about the frames of a zone: holes, free blocks, what was freed late.
//!
//! Gorman chapters 5 and 6. Kernel: `mm/mm_init.c`, `mm/vmstat.c`, `mm/page_alloc.c` (`free_reserved_area`).
//! Fidelity: imported — from the boot log, iomem, pagetypeinfo and buddyinfo. Inferred — what none of them shows.

use super::captures::Captures;
use crate::import::dmesg::BootLog;
use crate::import::iomem::IoMem;
use crate::import::zoneinfo::ZoneText;
use crate::import::{ImportError, buddyinfo, layout, pagetypeinfo};
use crate::mm::addr::{Nid, PAGE_SIZE};
use crate::mm::config::{Config, LateFreed, MigrateType, ZoneType};

/// Holes, from the boot log's ranges of each node, else from `System RAM`, else where they probably are.
pub fn holes(config: &mut Config, log: &BootLog, map: &IoMem) {
    let arch = config.arch;
    for node in &mut config.nodes {
        let of_node = log.memory.iter().filter(|r| r.node == u64::from(node.nid.0));
        let ranges: Vec<(u64, u64)> = of_node.map(|r| (r.first, r.end)).collect();
        for zone in node.zones.iter_mut().filter(|z| z.spanned > z.present) {
            let span = zone.start_pfn..zone.start_pfn + zone.spanned;
            let missing = zone.spanned - zone.present;
            let known = [&ranges, &map.ram].map(|memory| layout::holes(span.clone(), memory));
            let fits = known.into_iter().find(|holes| holes.iter().map(|h| h.1).sum::<u64>() == missing);
            zone.holes = fits.unwrap_or_else(|| {
                let place = format!("Node {}, zone {}", node.nid, zone.kind);
                config.inferred.push(format!(
                    "{place}: neither dmesg nor iomem shows where its {missing} missing frames are; they are put where a PC has them, else at the end."
                ));
                layout::infer_holes(arch, span, zone.present)
            });
        }
    }
}

/// Free blocks by migratetype, from pagetypeinfo, else from buddyinfo as Movable, else the largest there can be.
pub fn free_blocks(config: &mut Config, captures: &Captures, zones: &[ZoneText]) -> Result<(), ImportError> {
    let types =
        captures.get("pagetypeinfo").map(|t| pagetypeinfo::parse("pagetypeinfo.txt", t)).transpose()?;
    let buddy = captures
        .get("buddyinfo")
        .map(|t| buddyinfo::parse("buddyinfo.txt", t))
        .transpose()?
        .unwrap_or_default();
    if let Some(order) = types.as_ref().and_then(|t| t.pageblock_order) {
        config.pageblock_order = order;
    }
    if types.as_ref().is_some_and(|t| t.reserve) {
        config.inferred.push(pagetypeinfo::RESERVE.into());
    }
    if types.is_none() {
        config.inferred.push("pagetypeinfo is missing: all free blocks and pageblocks are Movable.".into());
    }
    let pageblock = config.pageblock_order;
    for node in &mut config.nodes {
        for zone in node.zones.iter_mut().filter(|z| z.spanned > 0) {
            let place = format!("Node {}, zone {}", node.nid, zone.kind);
            let text = zones.iter().find(|z| (z.node, z.kind) == (node.nid.0, zone.kind));
            let shown = text.and_then(|t| t.free).unwrap_or(0);
            let by_type =
                types.iter().flat_map(|t| &t.zones).find(|z| (z.node, z.zone) == (node.nid.0, zone.kind));
            let by_order = buddy.iter().find(|b| (b.node, b.zone) == (node.nid.0, zone.kind));
            if let Some(types) = by_type {
                (zone.free, zone.pageblocks) = (types.free, types.pageblocks);
                for &(kind, order) in &types.at_least {
                    let others: u64 = zone.free.iter().map(|f| f.blocks[order.index()]).sum();
                    let missing =
                        by_order.map_or(0, |line| line.free.blocks[order.index()].saturating_sub(others));
                    zone.free[kind.index()].blocks[order.index()] += missing;
                    let rest =
                        if by_order.is_some() { "buddyinfo tells the rest" } else { "no more are taken" };
                    config.inferred.push(format!(
                        "{place}: pagetypeinfo gave up counting {} blocks of order {order}; {rest}.",
                        kind.name()
                    ));
                }
            } else if let Some(line) = by_order {
                zone.free[MigrateType::Movable.index()] = line.free;
            } else {
                if shown > 0 {
                    config.inferred.push(format!(
                        "{place}: its {shown} free pages are in the largest blocks, at its top."
                    ));
                }
                let cma = text.and_then(|t| t.stats.get("nr_free_cma")).copied().unwrap_or(0);
                layout::fill(zone, shown.min(zone.managed), cma.min(zone.managed), pageblock);
                continue;
            }
            let found = zone.free.iter().flat_map(|f| f.blocks.iter().enumerate());
            let found = found.fold(0u64, |sum, (order, &n)| sum.saturating_add(n.saturating_mul(1 << order)));
            if found != shown {
                config.inferred.push(format!(
                    "{place}: its free blocks hold {found} pages, zoneinfo shows {shown}; the files are of different moments, the blocks count."
                ));
            }
        }
    }
    Ok(())
}

/// Where the pages lie that were freed after the watermarks were computed.
pub fn late_freed(config: &mut Config, log: &BootLog, map: &IoMem) {
    for freed in &log.freed {
        let initrd = freed.what.contains("initrd") || freed.what.contains("ramdisk");
        let first = if initrd { log.ramdisk.map(|r| r.0 / PAGE_SIZE) } else { map.kernel };
        let mut parts: Vec<LateFreed> = Vec::new();
        if let Some(first) = first {
            for node in &config.nodes {
                for zone in &node.zones {
                    // The image is freed in pieces from here and there in it; its zone is that of its first frame.
                    let length = if initrd { freed.pages } else { 1 };
                    let frames = overlap(
                        first..first.saturating_add(length),
                        zone.start_pfn..zone.start_pfn + zone.spanned,
                    );
                    let pages = if initrd { frames } else { frames * freed.pages };
                    if pages > 0 {
                        parts.push(LateFreed {
                            what: freed.what.clone(),
                            node: node.nid,
                            zone: zone.kind,
                            pages,
                        });
                    }
                }
            }
        }
        if parts.iter().map(|p| p.pages).sum::<u64>() != freed.pages {
            let Some((node, zone)) = main_zone(config) else { continue };
            let source = if initrd { "The boot log" } else { "iomem" };
            config.inferred.push(format!(
                "{source} does not show where the {} pages of \"{}\" lay: Node {node}, zone {zone}.",
                freed.pages, freed.what
            ));
            parts = vec![LateFreed { what: freed.what.clone(), node, zone, pages: freed.pages }];
        }
        config.late_freed.extend(parts);
    }
}

fn overlap(a: std::ops::Range<u64>, b: std::ops::Range<u64>) -> u64 {
    a.end.min(b.end).saturating_sub(a.start.max(b.start))
}

/// The zone most kernel memory is in: the largest one the kernel maps for good.
fn main_zone(config: &Config) -> Option<(Nid, ZoneType)> {
    let zones = config.nodes.iter().flat_map(|n| n.zones.iter().map(move |z| (n.nid, z)));
    let mapped =
        zones.filter(|(_, z)| z.managed > 0 && !matches!(z.kind, ZoneType::HighMem | ZoneType::Movable));
    mapped.max_by_key(|(nid, z)| (z.managed, std::cmp::Reverse(*nid))).map(|(nid, z)| (nid, z.kind))
}
