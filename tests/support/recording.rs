//! The machine a workload recording starts on: its `## phase start`, laid over a captured machine.

use super::truth::shipped_truth;
use std::collections::BTreeMap;
use vmlab::import::{folder, nodes};
use vmlab::mm::addr::Nid;
use vmlab::mm::config::{
    Config, FreeBlocks, LateFreed, LruPages, MigrateType, NodeConfig, Owners, SwapConfig, ZoneConfig,
    ZoneType,
};
use vmlab::mm::machine::Machine;
use vmlab::mm::mmzone::Wmark;

/// Profile, the recording whose start is taken, and the first line of the spec.
pub const PROFILES: &[(&str, &str, &str)] = &[
    ("swap", "anon-seq-1.5", "The start of the workloads of profile `swap`: 256 MiB, 1 CPU, swap 512 MiB."),
    ("noswap", "oom-single", "The start of the workloads of profile `noswap`: 256 MiB, 1 CPU, no swap."),
    (
        "swap64",
        "oom-swapfull",
        "The start of the workloads of profile `swap64`: 256 MiB, 1 CPU, swap 64 MiB.",
    ),
    (
        "numa",
        "numa-local-spill",
        "The start of the workloads of profile `numa`: 2 nodes of 256 MiB, a CPU on each.",
    ),
    (
        "cpuless",
        "numa-demotion",
        "The start of the workloads of profile `cpuless`: 2 nodes of 256 MiB, CPU 0 on node 0.",
    ),
];

/// The first column of the start phase: sections of `name value` lines.
struct Start {
    sections: BTreeMap<String, Vec<String>>,
}

impl Start {
    fn read(profile: &str, recording: &str) -> Start {
        let path = shipped_truth().join("workloads").join(profile).join(format!("{recording}.txt"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let mut sections: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut section = String::new();
        let start = text.split("## phase ").find(|p| p.starts_with("start")).expect("a phase `start`");
        for line in start.lines().skip(1) {
            if let Some(name) = line.strip_prefix('[') {
                section = name.split([':', ']']).next().unwrap_or("").to_string();
            } else if !line.trim().is_empty() {
                sections.entry(section.clone()).or_default().push(line.to_string());
            }
        }
        Start { sections }
    }

    /// The number of run 1 behind `name`; 0 when the section does not have it.
    fn number(&self, section: &str, name: &str) -> u64 {
        let lines = self.sections.get(section).map(Vec::as_slice).unwrap_or_default();
        let line = lines.iter().find_map(|l| l.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|l| l.split_whitespace().next()?.parse().ok()).unwrap_or(0)
    }

    fn zone(&self, nid: Nid, zone: ZoneType, name: &str) -> u64 {
        self.number("zones", &format!("{nid}/{zone} {name}"))
    }

    fn blocks(&self, nid: Nid, zone: ZoneType) -> FreeBlocks {
        let mut free = FreeBlocks::default();
        for line in &self.sections["buddyinfo"] {
            let words: Vec<&str> = line.split_whitespace().collect();
            if words[1] == format!("{nid},") && words[3] == zone.name() {
                free.blocks.iter_mut().zip(&words[4..]).for_each(|(n, word)| *n = word.parse().unwrap());
            }
        }
        free
    }
}

/// Makes the machine of a profile.
pub fn machine(name: &str, profile: &str, recording: &str) -> Config {
    let start = Start::read(profile, recording);
    let numa = matches!(profile, "numa" | "cpuless");
    let mut config = captured(if numa { "x86_64-512M" } else { "x86_64-256M" });
    config.name = name.to_string();
    if numa {
        split_in_two(&mut config, profile == "numa");
    }
    config.inferred = vec![
        "The recording does not show migratetypes: at each order as many blocks are Unmovable and Reclaimable as in \
         the captured boot, the rest is Movable."
            .into(),
    ];
    let nodes = config.nodes.len();
    for node in &mut config.nodes {
        let section = if nodes == 1 { "gauges".into() } else { format!("node{}-vmstat", node.nid) };
        let section = section.as_str();
        let number = |name: &str| start.number(section, name);
        node.owners = Owners {
            slab_reclaimable: number("nr_slab_reclaimable"),
            slab_unreclaimable: number("nr_slab_unreclaimable"),
            page_tables: number("nr_page_table_pages"),
            kernel_stack_kb: number("nr_kernel_stack"),
            file: number("nr_file_pages"),
            anon: number("nr_anon_pages"),
            mapped: number("nr_mapped"),
            shmem: number("nr_shmem"),
            dirty: number("nr_dirty"),
            swapcached: number("nr_swapcached"),
        };
        let cpu = usize::from(node.cpus.first().copied().unwrap_or(0));
        for zone in node.zones.iter_mut().filter(|z| z.spanned > 0) {
            occupy(zone, node.nid, cpu, &start);
        }
    }
    let kilobytes = start.number("meminfo", "SwapTotal");
    if kilobytes > 0 {
        config.swap = vec![SwapConfig { name: "/dev/vdb".into(), pages: kilobytes / 4, priority: None }];
    }
    choose_initrd(&mut config, &start);
    config
}

fn captured(name: &str) -> Config {
    let captures = folder::Captures::read(&shipped_truth().join("boot").join(name)).unwrap();
    folder::machine(name, &captures).unwrap()
}

/// Cuts the machine at 256 MiB into two nodes; pageblock types are those of the captured machine with two nodes.
fn split_in_two(config: &mut Config, second_cpu: bool) {
    const FRAMES: u64 = 256 << 8;
    let like = captured("x86_64-numa2");
    let first = &mut config.nodes[0];
    let mut second: NodeConfig = nodes::memoryless(Nid(1), config.arch);
    let (low, high) = (&mut first.zones[1], &mut second.zones[1]);
    let end = low.start_pfn + low.spanned;
    (high.start_pfn, high.spanned, high.present) = (FRAMES, end - FRAMES, end - FRAMES);
    low.spanned = FRAMES - low.start_pfn;
    low.present = low.spanned;
    for (zone, node) in [(&mut *low, 0), (&mut *high, 1)] {
        let like: &ZoneConfig = &like.nodes[node].zones[1];
        (zone.free, zone.pageblocks) = (like.free, like.pageblocks);
        let total = (zone.start_pfn + zone.spanned).div_ceil(512) - zone.start_pfn / 512;
        let movable = MigrateType::Movable.index();
        zone.pageblocks[movable] = total - (zone.pageblocks.iter().sum::<u64>() - zone.pageblocks[movable]);
    }
    first.distances = vec![10, 20];
    second.distances = vec![20, 10];
    second.cpus = if second_cpu { vec![1] } else { vec![] };
    config.nodes.push(second);
    // The loader puts the initrd at the end of memory.
    config.late_freed.iter_mut().filter(|l| l.what == "initrd").for_each(|l| l.node = Nid(1));
}

fn occupy(zone: &mut ZoneConfig, nid: Nid, cpu: usize, start: &Start) {
    let number = |name: &str| start.zone(nid, zone.kind, name);
    zone.lru = LruPages {
        inactive_anon: number("inactive_anon"),
        active_anon: number("active_anon"),
        inactive_file: number("inactive_file"),
        active_file: number("active_file"),
        unevictable: number("unevictable"),
        mlock: 0,
    };
    let pcp = number("pcp");
    zone.managed = number("managed");
    zone.pcp = vec![0; if pcp > 0 { cpu + 1 } else { 0 }];
    if pcp > 0 {
        zone.pcp[cpu] = pcp;
    }
    let total = start.blocks(nid, zone.kind);
    assert_eq!(total.pages(), start.zone(nid, zone.kind, "free"), "buddyinfo and zones are of one moment");
    for (order, &blocks) in total.blocks.iter().enumerate() {
        let mut left = blocks;
        for kind in [MigrateType::Unmovable, MigrateType::Reclaimable] {
            let here = &mut zone.free[kind.index()].blocks[order];
            *here = left.min(*here);
            left -= *here;
        }
        zone.free[MigrateType::Movable.index()].blocks[order] = left;
    }
}

/// The initrd's size is not recorded, but it decides the watermarks: the size nearest to the captured boot's that gives
/// the recorded ones is taken.
fn choose_initrd(config: &mut Config, start: &Start) {
    let at = config.late_freed.iter().position(|l: &LateFreed| l.what == "initrd").expect("an initrd");
    let captured = config.late_freed[at].pages;
    let sizes = (0..400).flat_map(|d| [captured + d, captured.saturating_sub(d)]);
    let fits = sizes.into_iter().find(|&pages| {
        config.late_freed[at].pages = pages;
        let machine = Machine::boot(config.clone()).unwrap_or_else(|e| panic!("{e}"));
        machine.zones.iter().filter(|z| z.is_populated()).all(|z| {
            let marks = [("min", Wmark::Min), ("low", Wmark::Low), ("high", Wmark::High)];
            marks.iter().all(|(name, mark)| start.zone(z.node, z.kind, name) == z.wmark(*mark))
        })
    });
    let pages = fits.expect("some initrd gives the recorded watermarks");
    config.late_freed[at].pages = pages;
    config.inferred.push(format!(
        "The boot log was not recorded: an initrd of {pages} pages gives the recorded watermarks (the captured boot \
         had {captured})."
    ));
}
