//! A bare zoneinfo: a machine taken as the state it shows.
//!
//! Gorman chapter 2. Kernel: `mm/vmstat.c`, `mm/page_alloc.c`.
//! Fidelity: imported — watermarks, protection and sizes of per-CPU lists as shown. Inferred — free blocks are as large
//! as can be, holes lie where a PC has them, and much of the rest; every inference is listed.

use crate::import::zoneinfo::{self, ZoneText};
use crate::import::{ImportError, check, layout, nodes, profile};
use crate::mm::config::{Config, FreeBlocks, MigrateType, Shown, ZoneConfig};
use crate::mm::page_alloc::pcp::batchsize;
use crate::mm::vmstat::NumaStat;

/// Reads a zoneinfo text alone; `file` is named in errors, `name` is the machine's.
pub fn machine(name: &str, file: &str, text: &str) -> Result<Config, ImportError> {
    let zones = zoneinfo::parse(file, text)?;
    let (arch, sentence) = profile::arch(&zones, "");
    let mut config = Config::new(name, arch);
    config.inferred.extend(sentence);
    settle(&mut config, file, &zones, |_, _| None)?;
    config.inferred.push(
        "Free blocks are not shown: free pages are at the top of each zone, in the largest blocks.".into(),
    );
    Ok(config)
}

/// What is known of the free blocks of a zone, by type, and of its pageblocks.
pub type Blocks = ([FreeBlocks; MigrateType::COUNT], [u64; MigrateType::COUNT]);

/// Makes the nodes of `config` from zones that show the state they are in; `blocks` answers what is free where it is known.
pub fn settle(
    config: &mut Config,
    file: &str,
    zones: &[ZoneText],
    blocks: impl Fn(&ZoneConfig, u8) -> Option<Blocks>,
) -> Result<(), ImportError> {
    let arch = config.arch;
    nodes::assemble(config, file, zones)?;
    nodes::deal_cpus(config, zones);
    nodes::infer_distances(config);
    config.thp = profile::thp(arch, profile::managed(config));
    check::spans(config, file)?;
    let pageblock = config.pageblock_order;
    let complete = zones
        .iter()
        .filter(|z| z.populated())
        .all(|z| z.min.is_some() && z.low.is_some() && z.high.is_some());
    if !complete {
        config.inferred.push("Some watermarks are not shown: all of them are computed.".into());
    }
    for node in &mut config.nodes {
        for zone in &mut node.zones {
            let text = zones.iter().find(|z| (z.node, z.kind) == (node.nid.0, zone.kind));
            if zone.spanned > zone.present {
                let span = zone.start_pfn..zone.start_pfn + zone.spanned;
                zone.holes = layout::infer_holes(arch, span, zone.present);
                let missing = zone.spanned - zone.present;
                config.inferred.push(format!(
                    "Node {}, zone {}: where its {missing} missing frames are is not shown; they lie {}.",
                    node.nid,
                    zone.kind,
                    if zone.holes.len() == 1 && zone.start_pfn < 0x100 {
                        "below 1 MiB"
                    } else {
                        "at its end"
                    }
                ));
            }
            // An empty zone shows zeros, but for Movable on a machine with HighMem.
            if let Some(text) = text.filter(|t| complete && (t.populated() || t.min.unwrap_or(0) > 0)) {
                zone.shown = Some(shown(text, zone.managed, arch.zone_types().len()));
            }
            let Some(text) = text.filter(|t| t.populated()) else { continue };
            let free_cma = text.stats.get("nr_free_cma").copied().unwrap_or(0);
            // Before 5.11 the size of the CMA area is not shown, only what is free of it.
            zone.cma = zone.cma.max(free_cma).min(zone.present);
            match blocks(zone, node.nid.0) {
                Some((free, pageblocks)) => (zone.free, zone.pageblocks) = (free, pageblocks),
                None => layout::fill(
                    zone,
                    text.free.unwrap_or(0).min(zone.managed),
                    free_cma.min(zone.managed),
                    pageblock,
                ),
            }
        }
    }
    config.cma |= profile::has_cma_pages(config);
    check::config(config, file)
}

/// Watermarks and per-CPU sizes as shown.
pub fn shown(text: &ZoneText, managed: u64, kinds: usize) -> Shown {
    let boost = text.boost.unwrap_or(0);
    // zoneinfo prints watermarks with the boost in them.
    let without = |mark: Option<u64>| mark.unwrap_or(0).saturating_sub(boost);
    let mut protection = text.protection.clone();
    // Kernels differ in how many zones they have; beyond the last one protection does not grow.
    protection.resize(kinds, protection.last().copied().unwrap_or(0));
    let pageset = text.pagesets.first();
    let batch = pageset.map_or_else(|| batchsize(managed), |p| p.batch.max(1));
    let high = pageset.map_or_else(|| without(text.low).max(4 * batch), |p| p.high);
    Shown {
        boost,
        highatomic: text.highatomic.unwrap_or(0),
        numa: std::array::from_fn(|n| text.stats.get(NumaStat::ALL[n].name()).copied().unwrap_or(0)),
        min: without(text.min),
        low: without(text.low),
        high: without(text.high),
        protection,
        pcp_high: high,
        pcp_batch: batch,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mm::config::{Arch, ThpMode};

    const PC: &str = "\
Node 0, zone      DMA
  pages free     3840
        min      12
        low      15
        high     18
        spanned  4095
        present  3998
        managed  3840
        protection: (0, 3125, 20006, 20006)
Node 0, zone    DMA32
  pages free     800000
        boost    100
        min      2737
        low      3537
        high     4337
        spanned  1044480
        present  913392
        managed  815354
        protection: (0, 0, 16881, 16881)
  pagesets
    cpu: 0
              count: 7
              high: 378
              batch: 63
";

    #[test]
    fn the_state_is_taken_as_shown() {
        let config = machine("pc", "pc.txt", PC).unwrap();
        assert_eq!((config.arch, config.nodes.len(), config.thp), (Arch::X86_64, 1, Some(ThpMode::Always)));
        let [dma, dma32, ..] = &config.nodes[0].zones[..] else { panic!() };
        assert_eq!((dma.start_pfn, dma32.start_pfn), (1, 0x1000));
        assert_eq!((dma.free_pages(), dma32.free_pages()), (3840, 800_000));
        assert_eq!(dma.holes, [(0x9f, 0x61)]);
        let shown = dma32.shown.as_ref().unwrap();
        assert_eq!((shown.boost, shown.min, shown.high, shown.pcp_batch), (100, 2637, 4237, 63));
        assert_eq!(shown.protection, [0, 0, 16881, 16881, 16881]);
        assert_eq!(dma32.pcp, [7]);
        assert!(config.inferred.iter().any(|s| s.contains("start_pfn not shown")));
    }

    #[test]
    fn a_fragment_boots_with_what_it_has() {
        let config = machine("f", "f", "Node 0, zone Normal\n  pages free 5000\n").unwrap();
        let normal = &config.nodes[0].zones[2];
        assert_eq!(
            (normal.spanned, normal.present, normal.managed, normal.free_pages()),
            (5000, 5000, 5000, 5000)
        );
        assert_eq!(normal.shown, None, "without watermarks boot computes them");
        let error = machine("f", "f", "Node 0, zone Movable\n  pages free 0\n").unwrap_err();
        assert!(error.to_string().contains("none of its 1 zones has a page"));
    }
}
