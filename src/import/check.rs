//! Whether a machine can exist: spans in order, pages that fit, numbers within limits.
//!
//! Fidelity: not of the kernel — it trusts its firmware; this floor trusts nothing.

mod limits;

use crate::import::ImportError;
use crate::import::layout;
use crate::mm::config::{Config, NodeConfig, ZoneConfig};

/// The frame after the last one a machine can have: frame numbers are 32 bits, and the last one ends lists.
pub const MAX_PFN: u64 = u32::MAX as u64 - 1;
/// The most nodes a machine can have.
pub const MAX_NODES: usize = 64;
/// The most CPUs, and the number after the highest.
pub const MAX_CPUS: u16 = 4096;
/// The most holes a zone can have.
const MAX_HOLES: usize = 4096;

/// Checks what `boot` takes for granted. `file` is named in errors.
pub fn config(config: &Config, file: &str) -> Result<(), ImportError> {
    spans(config, file)?;
    pageblock_order(config, file)?;
    cpus(config, file)?;
    for node in &config.nodes {
        for zone in &node.zones {
            pages(node, zone, file)?;
        }
    }
    limits::config(config, file)?;
    late(config, file)
}

/// No kernel with 4 KiB pages groups smaller blocks by mobility.
fn pageblock_order(config: &Config, file: &str) -> Result<(), ImportError> {
    const LEAST: u8 = 5;
    let order = config.pageblock_order;
    if order.get() >= LEAST {
        return Ok(());
    }
    let problem = format!("order {order} is below {LEAST}, the smallest here");
    Err(ImportError::new(file, problem)
        .field("pageblock_order")
        .advise("Usually 9, the order of a huge page."))
}

/// Checks where zones lie.
pub fn spans(config: &Config, file: &str) -> Result<(), ImportError> {
    if config.nodes.is_empty() || config.nodes.len() > MAX_NODES {
        let problem = format!("{} nodes; a machine has 1 to {MAX_NODES}", config.nodes.len());
        return Err(ImportError::new(file, problem)
            .field("nodes")
            .advise("Give at least one node with memory."));
    }
    if let Some(pair) = config.nodes.windows(2).find(|pair| pair[0].nid >= pair[1].nid) {
        let problem = format!("node {} comes after node {}", pair[1].nid, pair[0].nid);
        return Err(ImportError::new(file, problem)
            .field("nodes")
            .advise("List nodes by number, each once."));
    }
    let mut ranges = Vec::new();
    for node in &config.nodes {
        for zone in &node.zones {
            span(node, zone, file)?;
            ranges.extend(layout::present(zone).into_iter().map(|r| (r.start, r.end, title(node, zone))));
        }
    }
    if ranges.is_empty() {
        return Err(ImportError::new(file, "no node has a page")
            .field("nodes")
            .advise("Give one node `mem: 64M`."));
    }
    ranges.sort_unstable();
    if let Some(pair) = ranges.windows(2).find(|pair| pair[0].1 > pair[1].0) {
        let problem = format!(
            "{} begins at frame {:#x}, but {} ends at {:#x}",
            pair[1].2, pair[1].0, pair[0].2, pair[0].1
        );
        return Err(ImportError::new(file, problem)
            .field("zones")
            .advise("Zones may not share frames: check start_pfn, spanned and holes."));
    }
    Ok(())
}

fn span(node: &NodeConfig, zone: &ZoneConfig, file: &str) -> Result<(), ImportError> {
    let wrong = |name: &str, problem: String, advice: &str| {
        Err(ImportError::new(file, problem).field(format!("{}: {name}", title(node, zone))).advise(advice))
    };
    let end = zone.start_pfn.saturating_add(zone.spanned);
    if end > MAX_PFN {
        let problem = format!("the zone ends at frame {end:#x}, frames end at {MAX_PFN:#x} (16 TiB)");
        return wrong("spanned", problem, "Pages are 4 KiB: `spanned` and `start_pfn` are counts of them.");
    }
    if zone.present > zone.spanned {
        let problem = format!("{} present pages do not fit a span of {}", zone.present, zone.spanned);
        return wrong("present", problem, "spanned = present + holes.");
    }
    if zone.managed > zone.present {
        let problem =
            format!("{} managed pages are more than the {} present ones", zone.managed, zone.present);
        return wrong("managed", problem, "managed = present - what the kernel reserved at boot.");
    }
    if zone.holes.len() > MAX_HOLES {
        let problem = format!("{} holes; a zone has at most {MAX_HOLES}", zone.holes.len());
        return wrong("holes", problem, "Leave the small ones out, and lower `present`.");
    }
    let mut at = zone.start_pfn;
    for &(first, length) in &zone.holes {
        if first < at || length > MAX_PFN || first.saturating_add(length) > end {
            let problem =
                format!("the hole of {length} frames at {first:#x} is not between {at:#x} and {end:#x}");
            return wrong("holes", problem, "List holes inside the span, low to high, without overlap.");
        }
        at = first + length;
    }
    Ok(())
}

fn pages(node: &NodeConfig, zone: &ZoneConfig, file: &str) -> Result<(), ImportError> {
    let wrong = |name: &str, problem: String, advice: &str| {
        Err(ImportError::new(file, problem).field(format!("{}: {name}", title(node, zone))).advise(advice))
    };
    if let Some(blocks) = zone.free.iter().flat_map(|f| f.blocks).find(|&n| n > MAX_PFN) {
        let problem = format!("{blocks} free blocks are more than the {MAX_PFN} frames a machine can have");
        return wrong("free", problem, "Counts are of blocks, order 0 first.");
    }
    let free = zone.free_pages();
    let pcp = zone.pcp.iter().fold(0u64, |sum, &n| sum.saturating_add(n));
    let held = free.saturating_add(pcp);
    if held > zone.managed {
        let problem = format!(
            "{free} free pages and {pcp} on per-CPU lists are more than the {} managed ones",
            zone.managed
        );
        return wrong("free", problem, "If files were captured at different moments, take them again.");
    }
    let exist: u64 = layout::present(zone).iter().map(|r| r.end - r.start).sum();
    if zone.managed > exist {
        let problem =
            format!("{} managed pages do not fit the {exist} frames outside the holes", zone.managed);
        return wrong("holes", problem, "present = spanned - holes.");
    }
    Ok(())
}

fn cpus(config: &Config, file: &str) -> Result<(), ImportError> {
    let mut all: Vec<u16> = config.nodes.iter().flat_map(|n| n.cpus.iter().copied()).collect();
    all.sort_unstable();
    let wrong =
        |problem: String, advice: &str| Err(ImportError::new(file, problem).field("cpus").advise(advice));
    match all.last() {
        None => return wrong("no node has a CPU".into(), "Give one node `cpus: 0`."),
        Some(&last) if last >= MAX_CPUS => {
            return wrong(
                format!("CPU {last} is beyond the last one, {}", MAX_CPUS - 1),
                "Number CPUs from 0.",
            );
        }
        _ => {}
    }
    if let Some(pair) = all.windows(2).find(|pair| pair[0] == pair[1]) {
        return wrong(format!("CPU {} is on two nodes", pair[0]), "A CPU belongs to one node.");
    }
    for (at, node) in config.nodes.iter().enumerate() {
        if node.cpus.is_empty() && node.zones.iter().all(|z| z.present == 0) {
            return wrong(
                format!("node {} has neither memory nor a CPU", node.nid),
                "Leave such a node out.",
            );
        }
        if node.distances.len() != config.nodes.len() {
            let problem = format!("{} distances for {} nodes", node.distances.len(), config.nodes.len());
            let field = format!("node {}: distances", node.nid);
            return Err(ImportError::new(file, problem)
                .field(field)
                .advise("Give one for each node, itself (10) among them."));
        }
        for (to, other) in config.nodes.iter().enumerate() {
            let (there, back) = (node.distances[to], other.distances.get(at).copied().unwrap_or(0));
            if there != back || (to == at && there != 10) {
                let problem = format!("the distance to node {} is {there}, and back it is {back}", other.nid);
                let field = format!("node {}: distances", node.nid);
                let advice = "A node is 10 from itself, and distances are the same in both directions.";
                return Err(ImportError::new(file, problem).field(field).advise(advice));
            }
        }
        if let Some(zone) = node.zones.iter().find(|z| z.pcp.len() > usize::from(MAX_CPUS)) {
            return wrong(
                format!("{}: {} per-CPU lists", title(node, zone), zone.pcp.len()),
                "Give one for each CPU.",
            );
        }
    }
    Ok(())
}

fn late(config: &Config, file: &str) -> Result<(), ImportError> {
    for late in &config.late_freed {
        let zone = config
            .nodes
            .iter()
            .filter(|n| n.nid == late.node)
            .flat_map(|n| &n.zones)
            .find(|z| z.kind == late.zone);
        let all = config.late_freed.iter().filter(|l| (l.node, l.zone) == (late.node, late.zone));
        let pages = all.fold(0u64, |sum, l| sum.saturating_add(l.pages));
        let managed = zone.map_or(0, |z| z.managed);
        if pages > managed {
            let problem = format!(
                "{pages} pages were freed late into Node {}, zone {}, which manages {managed}",
                late.node, late.zone
            );
            return Err(ImportError::new(file, problem)
                .field("late_freed")
                .advise("`managed` counts pages freed late, too."));
        }
    }
    Ok(())
}

/// How messages call a zone.
fn title(node: &NodeConfig, zone: &ZoneConfig) -> String {
    format!("Node {}, zone {}", node.nid, zone.kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::nodes::memoryless;
    use crate::mm::addr::Nid;
    use crate::mm::config::{Arch, Shown};

    fn machine() -> Config {
        let mut config = Config::new("m", Arch::X86_64);
        let mut node = memoryless(Nid(0), Arch::X86_64);
        let dma = &mut node.zones[0];
        (dma.start_pfn, dma.spanned, dma.present, dma.managed) = (1, 4095, 3998, 3840);
        dma.holes = vec![(0x9f, 0x61)];
        (node.cpus, node.distances) = (vec![0], vec![10]);
        config.nodes.push(node);
        config
    }

    #[test]
    fn a_machine_that_cannot_be_is_refused() {
        assert_eq!(super::config(&machine(), "m"), Ok(()));
        let refused = |change: fn(&mut Config), words: &str| {
            let mut config = machine();
            change(&mut config);
            let error = super::config(&config, "m.yaml").unwrap_err().to_string();
            assert!(error.contains(words) && error.contains("help: "), "{error}");
        };
        refused(|c| c.nodes.clear(), "0 nodes; a machine has 1 to 64");
        refused(
            |c| c.nodes[0].zones[0].managed = 4000,
            "4000 managed pages are more than the 3998 present ones",
        );
        refused(|c| c.nodes[0].zones[0].present = 5000, "5000 present pages do not fit a span of 4095");
        refused(|c| c.nodes[0].zones[0].start_pfn = u64::MAX, "16 TiB");
        refused(|c| c.nodes[0].zones[0].free[1].blocks[10] = 4, "4096 free pages and 0 on per-CPU lists");
        refused(|c| c.nodes[0].zones[0].free[1].blocks[10] = u64::MAX, "free blocks are more than");
        refused(|c| c.nodes[0].zones[0].holes.push((0, 9)), "the hole of 9 frames at 0x0 is not between");
        refused(
            |c| c.nodes[0].zones[0].pageblocks[0] = u64::MAX,
            "pageblocks are more than the 16 there can be",
        );
        refused(|c| c.nodes[0].zones[0].lru.mlock = u64::MAX, "Node 0, zone DMA: lru");
        refused(|c| c.nodes[0].owners.dirty = u64::MAX, "Node 0: owners");
        refused(|c| c.costs.trap = u64::MAX, "nanoseconds are more than");
        refused(
            |c| c.nodes[0].zones[0].shown = Some(Shown { min: 1 << 40, ..Shown::default() }),
            "zone DMA: shown",
        );
        refused(|c| c.nodes[0].cpus.clear(), "no node has a CPU");
        refused(|c| c.nodes[0].cpus = vec![3, 3], "CPU 3 is on two nodes");
        refused(|c| c.nodes[0].distances.clear(), "0 distances for 1 nodes");
        refused(|c| c.nodes[0].distances = vec![20], "the distance to node 0 is 20");
        refused(
            |c| {
                let mut twin = c.nodes[0].clone();
                twin.nid = Nid(1);
                twin.cpus.clear();
                c.nodes.push(twin);
            },
            "begins at frame 0x1, but",
        );
    }
}
