//! From zones as text to nodes of a machine: spans, pages, owners; and what has to be inferred for it.
//!
//! Gorman chapter 2. Kernel: `mm/mm_init.c` (`calculate_node_totalpages`).
//! Fidelity: imported — as shown. Inferred — a missing `start_pfn`, `spanned`, `present` or `managed`, CPUs of nodes.

use crate::import::ImportError;
use crate::import::zoneinfo::{ZoneText, owners};
use crate::mm::addr::Nid;
use crate::mm::config::{Arch, Config, NodeConfig, Owners, ZoneConfig, ZoneType};

/// Makes the nodes of `config` from its zones as zoneinfo shows them; free blocks and holes are still missing.
pub fn assemble(config: &mut Config, file: &str, zones: &[ZoneText]) -> Result<(), ImportError> {
    if !zones.iter().any(ZoneText::populated) {
        let problem = format!("none of its {} zones has a page", zones.len());
        return Err(ImportError::new(file, problem)
            .advise("A machine needs at least one populated zone: capture the whole file."));
    }
    for zone in zones.iter().filter(|z| z.populated()) {
        if !config.arch.zone_types().contains(&zone.kind) {
            let kinds: Vec<&str> = config.arch.zone_types().iter().map(|z| z.name()).collect();
            let problem = format!(
                "{} is populated, but {} has only the zones {}",
                zone.title(),
                config.arch.name(),
                kinds.join(", ")
            );
            return Err(ImportError::new(file, problem)
                .at(zone.line, "")
                .advise("Write the machine as a spec with another `arch:`."));
        }
    }
    let mut nids: Vec<u8> = zones.iter().map(|z| z.node).collect();
    nids.sort_unstable();
    nids.dedup();
    let mut end = 0;
    for nid in nids {
        let mut node = NodeConfig {
            nid: Nid(nid),
            cpus: Vec::new(),
            distances: Vec::new(),
            zones: Vec::new(),
            owners: owners(zones, nid),
        };
        for &kind in config.arch.zone_types() {
            let zone = match zones.iter().find(|z| (z.node, z.kind) == (nid, kind)) {
                Some(text) if text.populated() => populated(text, config.arch, end, &mut config.inferred),
                _ => ZoneConfig::empty(kind),
            };
            if zone.spanned > 0 {
                end = zone.start_pfn.saturating_add(zone.spanned);
            }
            node.zones.push(zone);
        }
        config.nodes.push(node);
    }
    Ok(())
}

/// A zone with pages. `end` is where the zone below it ends.
fn populated(text: &ZoneText, arch: Arch, end: u64, inferred: &mut Vec<String>) -> ZoneConfig {
    let mut zone = ZoneConfig::empty(text.kind);
    // free <= managed <= present <= spanned: what is missing equals the nearest that is there.
    let known = [text.spanned, text.present, text.managed, text.free];
    let first_from = |at: usize| known[at..].iter().chain(known[..at].iter().rev()).flatten().next().copied();
    zone.spanned = text.spanned.or(first_from(1)).unwrap_or(0);
    zone.present = text.present.or(text.spanned).or(first_from(2)).unwrap_or(0);
    zone.managed = text.managed.or(text.present).or(first_from(0)).unwrap_or(0);
    let missing: Vec<&str> =
        [("spanned", text.spanned), ("present", text.present), ("managed", text.managed)]
            .into_iter()
            .filter_map(|(name, value)| value.is_none().then_some(name))
            .collect();
    if !missing.is_empty() {
        let (names, pages) = (missing.join(", "), zone.managed);
        inferred.push(format!("{}: {names} not shown; taken as {pages} pages.", text.title()));
    }
    zone.start_pfn = text.start_pfn.unwrap_or_else(|| {
        let start = end.max(lowest(arch, text.kind, zone.spanned));
        inferred
            .push(format!("{}: start_pfn not shown; it follows the zone below at {start:#x}.", text.title()));
        start
    });
    for pageset in &text.pagesets {
        let at = usize::from(pageset.cpu);
        if pageset.count > 0 {
            zone.pcp.resize(zone.pcp.len().max(at + 1), 0);
            zone.pcp[at] = pageset.count;
        }
    }
    zone.lru = text.lru();
    zone.cma = text.cma.unwrap_or(0);
    zone
}

/// The lowest frame a zone of this kind has on an architecture whose memory begins at 0.
fn lowest(arch: Arch, kind: ZoneType, spanned: u64) -> u64 {
    const MIB_16: u64 = 0x1000;
    match (arch, kind) {
        // Frame 0 is the firmware's: DMA spans 4095 frames.
        (Arch::X86_64 | Arch::I386 | Arch::I386Pae, ZoneType::Dma) => u64::from(spanned < MIB_16),
        (Arch::X86_64, ZoneType::Dma32) => MIB_16,
        (Arch::X86_64, ZoneType::Normal) => 1 << 20,
        (Arch::I386 | Arch::I386Pae, ZoneType::Normal) => MIB_16,
        _ => 0,
    }
}

/// Deals the CPUs that have per-CPU lists out to the nodes: zoneinfo does not say where they are.
pub fn deal_cpus(config: &mut Config, zones: &[ZoneText]) {
    let mut cpus: Vec<u16> = zones.iter().flat_map(|z| &z.pagesets).map(|p| p.cpu).collect();
    cpus.sort_unstable();
    cpus.dedup();
    if cpus.is_empty() {
        config.inferred.push("No per-CPU list is shown: one CPU, on the first node.".into());
        cpus.push(0);
    }
    let nodes = config.nodes.len();
    if nodes > 1 {
        let text =
            "zoneinfo does not show on which node a CPU is: they are dealt out evenly, low numbers first.";
        config.inferred.push(text.into());
    }
    for (at, node) in config.nodes.iter_mut().enumerate() {
        node.cpus = cpus[cpus.len() * at / nodes..cpus.len() * (at + 1) / nodes].to_vec();
    }
}

/// Distances when none are known: 10 to itself, 20 to any other.
pub fn infer_distances(config: &mut Config) {
    let nodes = config.nodes.len();
    if nodes > 1 {
        config
            .inferred
            .push("Distances of nodes are not in the capture: 10 to itself, 20 to any other.".into());
    }
    for (at, node) in config.nodes.iter_mut().enumerate() {
        node.distances = (0..nodes).map(|to| if to == at { 10 } else { 20 }).collect();
    }
}

/// A node without memory.
pub fn memoryless(nid: Nid, arch: Arch) -> NodeConfig {
    let zones = arch.zone_types().iter().map(|&kind| ZoneConfig::empty(kind)).collect();
    NodeConfig { nid, cpus: Vec::new(), distances: Vec::new(), zones, owners: Owners::default() }
}
