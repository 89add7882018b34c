//! The machines that are measured: PCs whose memory is free but for what a kernel holds.

use vmlab::mm::Machine;
use vmlab::mm::addr::Nid;
use vmlab::mm::config::{
    Arch, Config, FreeBlocks, MigrateType, NodeConfig, Owners, ThpMode, ZoneConfig, ZoneType,
};

/// Pages of 1 GiB.
pub const GIB: u64 = 1 << 18;

/// A zone with its first `used` pages in use; the rest is free in the largest blocks that fit.
fn zone(kind: ZoneType, start: u64, end: u64, used: u64) -> ZoneConfig {
    let mut zone = ZoneConfig::empty(kind);
    let pages = end - start;
    (zone.start_pfn, zone.spanned, zone.present, zone.managed) = (start, pages, pages, pages);
    let mut free = FreeBlocks::default();
    let mut at = start + used;
    while at < end {
        let order = (0..11).rev().find(|o| at % (1 << o) == 0 && end - at >= 1 << o).unwrap_or(0);
        free.blocks[order] += 1;
        at += 1 << order;
    }
    zone.free[MigrateType::Movable.index()] = free;
    zone
}

/// A PC of `gib` GiB with `cpus` CPUs: 16 MiB of DMA, 3 GiB below 4 GiB, the rest above.
pub fn pc(gib: u64, cpus: u16) -> Config {
    let mut config = Config::new(format!("pc-{gib}G"), Arch::X86_64);
    config.thp = Some(ThpMode::Madvise);
    let zones = vec![
        zone(ZoneType::Dma, 1, 4096, 255),
        zone(ZoneType::Dma32, 4096, 3 * GIB, 6000),
        zone(ZoneType::Normal, 4 * GIB, (gib + 1) * GIB, 20_000),
        ZoneConfig::empty(ZoneType::Movable),
        ZoneConfig::empty(ZoneType::Device),
    ];
    let (distances, cpus) = (vec![10], (0..cpus).collect());
    config.nodes.push(NodeConfig { nid: Nid(0), cpus, distances, zones, owners: Owners::default() });
    config
}

/// A machine of `nodes` nodes with `gib` GiB and 8 CPUs each; the first one has the low zones.
pub fn numa(nodes: u8, gib: u64) -> Config {
    let mut config = pc(gib, 8);
    config.name = format!("numa-{nodes}x{gib}G");
    let distances =
        |here: u8| (0..nodes).map(|there| if here == there { 10 } else { 20 }).collect::<Vec<u8>>();
    config.nodes[0].distances = distances(0);
    for nid in 1..nodes {
        let start = (gib + 1 + gib * (u64::from(nid) - 1)) * GIB;
        let zones = vec![
            ZoneConfig::empty(ZoneType::Dma),
            ZoneConfig::empty(ZoneType::Dma32),
            zone(ZoneType::Normal, start, start + gib * GIB, 20_000),
            ZoneConfig::empty(ZoneType::Movable),
            ZoneConfig::empty(ZoneType::Device),
        ];
        let cpus = (u16::from(nid) * 8..u16::from(nid) * 8 + 8).collect();
        let (nid, distances) = (Nid(nid), distances(nid));
        config.nodes.push(NodeConfig { nid, cpus, distances, zones, owners: Owners::default() });
    }
    config
}

/// That machine, booted.
pub fn boot(gib: u64, cpus: u16) -> Machine {
    Machine::boot(pc(gib, cpus)).unwrap_or_else(|e| panic!("the benchmark's machine does not boot: {e}"))
}
