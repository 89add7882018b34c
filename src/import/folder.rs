//! A folder of captures: a machine as it stood after boot.
//!
//! Gorman chapters 2, 5 and 6. Kernel: the files of /proc and /sys/devices/system/node.
//! Fidelity: imported — occupancy. Computed by boot — watermarks, protection, per-CPU sizes. Only zoneinfo must be
//! there; what a missing file would have said is inferred and listed.

use crate::import::dmesg::BootLog;
use crate::import::iomem::IoMem;
use crate::import::zoneinfo::{self, ZoneText};
use crate::import::{
    ImportError, buddyinfo, check, dmesg, iomem, layout, nodes, pagetypeinfo, profile, sysctl, sysfs,
};
use crate::mm::addr::{Nid, PAGE_SIZE};
use crate::mm::config::{Config, LateFreed, MigrateType, ZoneType};
use std::collections::BTreeMap;
use std::path::Path;

/// The captured files of one machine by name, without `.txt`: `zoneinfo`, `node0-distance`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Captures {
    files: BTreeMap<String, String>,
}

/// Files above this are no capture of a small file of /proc.
const MAX_BYTES: u64 = 16 << 20;

/// What a file of a folder is called when it is one of those that are read.
const FILES: &[&str] = &[
    "zoneinfo",
    "buddyinfo",
    "pagetypeinfo",
    "dmesg",
    "iomem",
    "meminfo",
    "sysctl-vm",
    "sys-kernel-mm",
    "swaps",
    "uname",
    "node-masks",
];

impl Captures {
    /// Adds the text of a file; `.txt` at the end of its name does not count.
    pub fn add(&mut self, name: &str, text: impl Into<String>) {
        self.files.insert(name.strip_suffix(".txt").unwrap_or(name).to_string(), text.into());
    }

    /// Reads the files of a folder that are known here; others are left alone.
    pub fn read(folder: &Path) -> Result<Captures, ImportError> {
        let shown = folder.display().to_string();
        let failed = |error: std::io::Error| {
            ImportError::new(&shown, error.to_string())
                .advise("Name a folder with the captured zoneinfo.txt in it.")
        };
        let mut captures = Captures::default();
        for entry in std::fs::read_dir(folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let Some(name) = path.file_name().and_then(|n| n.to_str()) else { continue };
            let stem = name.strip_suffix(".txt").unwrap_or(name);
            let of_node =
                stem.starts_with("node") && (stem.ends_with("-cpulist") || stem.ends_with("-distance"));
            if (FILES.contains(&stem) || of_node) && path.is_file() {
                captures.add(stem, super::read(&path, MAX_BYTES)?);
            }
        }
        Ok(captures)
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.files.get(name).map(String::as_str)
    }

    /// The numbers of the file `nodeN-KIND`.
    fn of_node(&self, nid: Nid, kind: &str) -> Option<(String, &str)> {
        let name = format!("node{nid}-{kind}");
        Some((format!("{name}.txt"), self.get(&name)?))
    }

    /// The zones of zoneinfo.
    pub fn zones(&self) -> Result<Vec<ZoneText>, ImportError> {
        let text = self.get("zoneinfo").ok_or_else(|| {
            let problem = format!("there is no zoneinfo.txt among its {} captures", self.files.len());
            ImportError::new("zoneinfo.txt", problem)
                .advise("Capture it with: cat /proc/zoneinfo > zoneinfo.txt")
        })?;
        zoneinfo::parse("zoneinfo.txt", text)
    }

    /// `vm.min_free_kbytes` as it was captured.
    pub fn min_free_kbytes(&self) -> Option<u64> {
        let line = self.get("sysctl-vm")?.lines().find_map(|l| l.strip_prefix("vm.min_free_kbytes"))?;
        line.trim_start_matches([' ', '=']).trim().parse().ok()
    }
}

/// Makes a machine of captured files.
pub fn machine(name: &str, captures: &Captures) -> Result<Config, ImportError> {
    const FILE: &str = "zoneinfo.txt";
    let zones = captures.zones()?;
    let log = captures.get("dmesg").map(dmesg::parse).unwrap_or_default();
    let map = captures.get("iomem").map(iomem::parse).unwrap_or_default();
    let banner = format!("{} {}", captures.get("uname").unwrap_or(""), log.version.as_deref().unwrap_or(""));
    let (arch, sentence) = profile::arch(&zones, &banner);
    let mut config = Config::new(name, arch);
    config.inferred.extend(sentence);
    config.inferred.extend(other_kernel(&banner));
    nodes::assemble(&mut config, FILE, &zones)?;
    page_size(&config, captures)?;
    memoryless_nodes(&mut config, captures);
    cpus(&mut config, captures, &zones)?;
    distances(&mut config, captures)?;
    check::spans(&config, FILE)?;
    holes(&mut config, &log, &map);
    free_blocks(&mut config, captures, &zones)?;
    late_freed(&mut config, &log, &map);
    match captures.get("sys-kernel-mm") {
        Some(text) => config.thp = sysfs::thp(text),
        None => {
            config.thp = profile::thp(arch, profile::managed(&config));
            let mode = config.thp.map_or("absent", |mode| mode.name());
            config.inferred.push(format!(
                "sys-kernel-mm is missing: transparent huge pages are {mode}, as at this size."
            ));
        }
    }
    config.sysctl = captures.get("sysctl-vm").map(|text| sysctl::changed(arch, text)).unwrap_or_default();
    config.swap = captures.get("swaps").map_or(Ok(Vec::new()), |text| sysfs::swaps("swaps.txt", text))?;
    config.iomem = map.lines;
    check::config(&config, FILE)?;
    Ok(config)
}

/// A sentence when the capture is of another kernel than the one whose rules apply.
fn other_kernel(banner: &str) -> Option<String> {
    let starts = |w: &&str| w.starts_with(|c: char| c.is_ascii_digit()) && w.contains('.');
    let version = banner.split_whitespace().find(starts)?;
    let (major, rest) = version.split_once('.')?;
    let minor = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    ((major, minor) != ("6", "1"))
        .then(|| format!("Captured on Linux {version}; the rules and formats of 6.1 apply."))
}

/// Pages of 16 or 64 KiB: MemTotal then counts four or sixteen times the managed pages.
fn page_size(config: &Config, captures: &Captures) -> Result<(), ImportError> {
    let total = captures.get("meminfo").and_then(|text| sysfs::counters(text).get("MemTotal").copied());
    let managed = profile::managed(config);
    let (Some(total), true) = (total, managed > 0) else { return Ok(()) };
    let kib = total / managed;
    if kib < 2 * PAGE_SIZE / 1024 {
        return Ok(());
    }
    let problem =
        format!("{total} kB in {managed} managed pages are {kib} kB a page, this laboratory has 4 kB pages");
    Err(ImportError::new("meminfo.txt", problem)
        .field("MemTotal")
        .advise("Only kernels with 4 KiB pages can be imported."))
}

/// Nodes that zoneinfo does not print because they have no memory.
fn memoryless_nodes(config: &mut Config, captures: &Captures) {
    let masks = captures.get("node-masks").map(sysfs::online_nodes).unwrap_or_default();
    let files = captures
        .files
        .keys()
        .filter_map(|name| name.strip_prefix("node")?.strip_suffix("-cpulist")?.parse().ok());
    for nid in masks.into_iter().chain(files) {
        let Ok(nid) = u8::try_from(nid).map(Nid) else { continue };
        if config.nodes.iter().all(|n| n.nid != nid) {
            config.nodes.push(nodes::memoryless(nid, config.arch));
        }
    }
    config.nodes.sort_by_key(|n| n.nid);
}

fn cpus(config: &mut Config, captures: &Captures, zones: &[ZoneText]) -> Result<(), ImportError> {
    let lists: Vec<_> = config.nodes.iter().map(|n| captures.of_node(n.nid, "cpulist")).collect();
    if lists.iter().all(Option::is_none) {
        nodes::deal_cpus(config, zones);
        return Ok(());
    }
    for (node, list) in config.nodes.iter_mut().zip(lists) {
        if let Some((file, text)) = list {
            node.cpus = sysfs::cpulist(&file, text)?;
        }
    }
    Ok(())
}

fn distances(config: &mut Config, captures: &Captures) -> Result<(), ImportError> {
    let rows: Option<Vec<_>> = config.nodes.iter().map(|n| captures.of_node(n.nid, "distance")).collect();
    let Some(rows) = rows else {
        nodes::infer_distances(config);
        return Ok(());
    };
    let count = config.nodes.len();
    for (node, (file, text)) in config.nodes.iter_mut().zip(rows) {
        node.distances = sysfs::distance(&file, text)?;
        if node.distances.len() != count {
            let problem = format!("{} distances for {count} nodes", node.distances.len());
            return Err(
                ImportError::new(file, problem).advise("Capture zoneinfo and the distances of one machine.")
            );
        }
    }
    Ok(())
}

/// Holes, from the boot log's ranges of each node, else from `System RAM`, else where they probably are.
fn holes(config: &mut Config, log: &BootLog, map: &IoMem) {
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
fn free_blocks(config: &mut Config, captures: &Captures, zones: &[ZoneText]) -> Result<(), ImportError> {
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
        config
            .inferred
            .push("Pageblocks of type Reserve (kernels up to 4.3) are taken as HighAtomic.".into());
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
fn late_freed(config: &mut Config, log: &BootLog, map: &IoMem) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mm::config::Arch;

    const ZONEINFO: &str = "\
Node 0, zone   Normal
  pages free     3000
        spanned  4096
        present  4096
        managed  4000
        protection: (0, 0)
  start_pfn:           0
";

    fn captures(files: &[(&str, &str)]) -> Captures {
        let mut captures = Captures::default();
        captures.add("zoneinfo.txt", ZONEINFO);
        files.iter().for_each(|(name, text)| captures.add(name, *text));
        captures
    }

    #[test]
    fn only_zoneinfo_must_be_there() {
        let config = machine("uml", &captures(&[])).unwrap();
        assert_eq!((config.arch, config.thp), (Arch::Uml, None));
        assert_eq!(config.nodes[0].zones[0].free_pages(), 3000);
        assert_eq!(config.nodes[0].zones[0].shown, None);
        let error = machine("none", &Captures::default()).unwrap_err().to_string();
        assert!(error.contains("there is no zoneinfo.txt among its 0 captures"), "{error}");
    }

    #[test]
    fn every_inference_is_a_sentence() {
        let log = "Linux version 5.10.0\nFreeing initrd memory: 40K\n";
        let buddy = "Node 0, zone Normal 8 0 0 0 0 0 0 0 0 0 2\n";
        let config = machine("uml", &captures(&[("dmesg.txt", log), ("buddyinfo", buddy)])).unwrap();
        for words in [
            "Linux 5.10.0",
            "pagetypeinfo is missing",
            "hold 2056 pages, zoneinfo shows 3000",
            "the 10 pages of \"initrd\"",
        ] {
            assert!(config.inferred.iter().any(|s| s.contains(words)), "{words}: {:?}", config.inferred);
        }
        assert_eq!(config.late_freed[0].pages, 10);
    }

    #[test]
    fn other_page_sizes_are_refused_with_their_number() {
        let error =
            machine("big", &captures(&[("meminfo", "MemTotal: 256000 kB\n")])).unwrap_err().to_string();
        assert!(error.contains("256000 kB in 4000 managed pages are 64 kB a page"), "{error}");
    }
}
