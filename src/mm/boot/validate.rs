//! What a description must keep to, so that booting it cannot fail half way.
//!
//! Fidelity: ours — a real machine's firmware is not asked.

use super::BootError;
use crate::mm::config::{Config, ZoneConfig};

/// Frames a machine can have: 16 TiB, less the number that ends lists.
const MAX_FRAMES: u64 = u32::MAX as u64 - 1;

/// Refuses what no machine can be: the first mistake, with its place and what to try.
pub(super) fn validate(config: &Config) -> Result<(), BootError> {
    if config.nodes.is_empty() {
        return Err(BootError::new("nodes", "there is none", "a machine needs at least one node"));
    }
    if config.nr_cpus() == 0 {
        return Err(BootError::new("nodes", "no node has a CPU", "give one of them `cpus: [0]`"));
    }
    if config.nodes.len() > 64 {
        return Err(BootError::new(
            "nodes",
            format!("{} nodes", config.nodes.len()),
            "64 are the most that are simulated",
        ));
    }
    for n in 0..config.nodes.len() {
        validate_node(config, n)?;
    }
    if config.present_pages() == 0 {
        return Err(BootError::new(
            "nodes",
            "no zone has memory",
            "give a zone spanned, present and managed pages",
        ));
    }
    zones_share_no_frame(config)
}

/// A node has its number, its distances, CPUs of its own, and every zone of the architecture.
fn validate_node(config: &Config, n: usize) -> Result<(), BootError> {
    let node = &config.nodes[n];
    let kinds = config.arch.zone_types();
    let field = format!("nodes[{n}]");
    if config.nodes[..n].iter().any(|other| other.nid >= node.nid) {
        return Err(BootError::new(
            field,
            format!("number {} is not above the one before", node.nid),
            "list nodes in ascending order",
        ));
    }
    if node.distances.len() != config.nodes.len() {
        let what = format!("{} distances for {} nodes", node.distances.len(), config.nodes.len());
        return Err(BootError::new(field, what, "give one distance for each node, 10 for the node itself"));
    }
    for (m, other) in config.nodes.iter().enumerate() {
        if node.distances[m] != other.distances.get(n).copied().unwrap_or(0)
            || (n == m && node.distances[m] != 10)
        {
            let what = format!("the distance to node {} is {}", other.nid, node.distances[m]);
            return Err(BootError::new(
                field,
                what,
                "distances are 10 to the node itself and the same in both directions",
            ));
        }
    }
    if node.cpus.is_empty() && node.zones.iter().all(|z| z.present == 0) {
        return Err(BootError::new(field, "neither memory nor a CPU", "leave such a node out"));
    }
    for cpu in &node.cpus {
        if *cpu >= 4096 || config.nodes[..n].iter().any(|other| other.cpus.contains(cpu)) {
            return Err(BootError::new(
                field,
                format!("CPU {cpu}"),
                "CPU numbers are below 4096 and belong to one node",
            ));
        }
    }
    if node.zones.iter().map(|z| z.kind).ne(kinds.iter().copied()) {
        let have: Vec<&str> = node.zones.iter().map(|z| z.kind.name()).collect();
        let want: Vec<&str> = kinds.iter().map(|k| k.name()).collect();
        let what = format!("zones {}", have.join(" "));
        return Err(BootError::new(
            field,
            what,
            format!("{} has the zones {}, empty ones too", config.arch.name(), want.join(" ")),
        ));
    }
    for zone in &node.zones {
        validate_zone(zone, &format!("{field}.zones[{}]", zone.kind), config)?;
    }
    Ok(())
}

/// No two zones have memory in one place; a zone may lie in another's hole.
fn zones_share_no_frame(config: &Config) -> Result<(), BootError> {
    let mut ranges: Vec<(u64, u64, String)> = Vec::new();
    for (n, node) in config.nodes.iter().enumerate() {
        for zone in node.zones.iter().filter(|zone| zone.spanned > 0) {
            let field = format!("nodes[{n}].zones[{}]", zone.kind);
            let mut at = zone.start_pfn;
            for (hole, len) in &zone.holes {
                ranges.push((at, *hole, field.clone()));
                at = hole + len;
            }
            ranges.push((at, zone.start_pfn + zone.spanned, field));
        }
    }
    ranges.sort();
    for pair in ranges.windows(2) {
        if pair[1].0 < pair[0].1 {
            let what = format!("frames {}..{} overlap {}", pair[1].0, pair[0].1, pair[0].2);
            return Err(BootError::new(
                pair[1].2.clone(),
                what,
                "zones share no frame: correct start_pfn, spanned or holes",
            ));
        }
    }
    Ok(())
}

fn validate_zone(zone: &ZoneConfig, field: &str, config: &Config) -> Result<(), BootError> {
    let error = |what: String, advice: &str| Err(BootError::new(field, what, advice));
    if zone.start_pfn.checked_add(zone.spanned).is_none_or(|end| end > MAX_FRAMES) {
        return error(format!("ends beyond frame {MAX_FRAMES}"), "a machine has at most 16 TiB");
    }
    if zone.present > zone.spanned || zone.managed > zone.present {
        let what = format!(
            "managed {} <= present {} <= spanned {} does not hold",
            zone.managed, zone.present, zone.spanned
        );
        return error(what, "managed pages are a part of the present ones, those of the span");
    }
    let mut holes = zone.holes.clone();
    holes.sort_unstable();
    let mut at = zone.start_pfn;
    for (start, len) in &holes {
        if *start < at || start.checked_add(*len).is_none_or(|end| end > zone.start_pfn + zone.spanned) {
            return error(
                format!("hole at frame {start} of {len} pages"),
                "holes lie inside the span and do not overlap",
            );
        }
        at = start + len;
    }
    let missing: u64 = holes.iter().map(|h| h.1).sum();
    if zone.spanned - missing < zone.present {
        return error(
            format!("{} pages present, but holes leave {}", zone.present, zone.spanned - missing),
            "correct present or holes",
        );
    }
    let pcp: u64 = zone.pcp.iter().sum();
    if zone.free_pages() + pcp > zone.managed {
        let what = format!(
            "{} pages free and {pcp} on per-CPU lists of {} managed",
            zone.free_pages(),
            zone.managed
        );
        return error(what, "free pages are a part of the managed ones");
    }
    let late: u64 = config
        .late_freed
        .iter()
        .filter(|l| l.zone == zone.kind && field.starts_with(&node_field(config, l.node)))
        .map(|l| l.pages)
        .sum();
    if late > zone.managed {
        return error(format!("{late} pages freed late of {} managed", zone.managed), "correct late_freed");
    }
    Ok(())
}

fn node_field(config: &Config, nid: crate::mm::addr::Nid) -> String {
    let index = config.nodes.iter().position(|n| n.nid == nid);
    index.map_or("nodes[?]".into(), |n| format!("nodes[{n}]."))
}
