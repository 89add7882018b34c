//! A folder of captures: a machine as it stood after boot.
//!
//! Gorman chapters 2, 5 and 6. Kernel: the files of /proc and /sys/devices/system/node.
//! Fidelity: imported — occupancy. Computed by boot — watermarks, protection, per-CPU sizes. Only zoneinfo must be
//! there; what a missing file would have said is inferred and listed.

mod captures;
mod memory;

pub use captures::Captures;

use crate::import::zoneinfo::ZoneText;
use crate::import::{ImportError, check, dmesg, iomem, nodes, profile, slabs, sysctl, sysfs, vmallocinfo};
use crate::mm::addr::{Nid, PAGE_SIZE};
use crate::mm::config::{Config, EarlyMemory, KernelImage};

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
    memory::holes(&mut config, &log, &map);
    memory::free_blocks(&mut config, captures, &zones)?;
    memory::late_freed(&mut config, &log, &map);
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
    config.early = early(&log, &map);
    config.iomem = map.lines;
    config.caches = match captures.get("slabinfo") {
        Some(text) => slabs::parse(text, captures.get("slab-sysfs").unwrap_or("")),
        None => slabs::usual(config.arch),
    };
    config.vmalloc = captures.get("vmallocinfo").map(vmallocinfo::parse).unwrap_or_default();
    check::config(&config, FILE)?;
    Ok(config)
}

/// What the boot allocator was told: the image, the RAM disk.
fn early(log: &dmesg::BootLog, map: &iomem::IoMem) -> EarlyMemory {
    let place = map.kernel.zip(map.kernel_end).filter(|(start, end)| start < end && *end <= check::MAX_PFN);
    let image = log.image.map(|image| match place {
        Some((start_pfn, end_pfn)) => KernelImage { start_pfn, end_pfn, ..image },
        None => image,
    });
    // The loader's range is rounded up; what is freed at last tells how long it is.
    let freed = log.freed.iter().find(|f| f.what.contains("initrd")).map_or(0, |f| f.pages);
    let ramdisk =
        log.ramdisk.map(|(first, _)| first / PAGE_SIZE).map(|first| (first, first.saturating_add(freed)));
    let ramdisk = ramdisk.filter(|(first, end)| first < end && *end <= check::MAX_PFN);
    EarlyMemory { image, ramdisk, alternatives: log.alternatives }
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
