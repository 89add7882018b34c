//! Small machines for model tests.

use vmlab::mm::Machine;
use vmlab::mm::addr::Nid;
use vmlab::mm::config::{Arch, Config, FreeBlocks, MigrateType, NodeConfig, Owners, ZoneConfig, ZoneType};

/// A zone that is free but for its first `used` pages, in the largest blocks.
fn zone(kind: ZoneType, start_pfn: u64, pages: u64, used: u64) -> ZoneConfig {
    let mut zone = ZoneConfig::empty(kind);
    if pages == 0 {
        return zone;
    }
    (zone.start_pfn, zone.spanned, zone.present, zone.managed) = (start_pfn, pages, pages, pages);
    let mut free = FreeBlocks::default();
    let (mut at, end) = (start_pfn + used, start_pfn + pages);
    while at < end {
        let order = (0..11).rev().find(|o| at % (1 << o) == 0 && end - at >= 1 << o).unwrap();
        free.blocks[order] += 1;
        at += 1 << order;
    }
    zone.free[MigrateType::Movable.index()] = free;
    zone
}

/// A PC with `dma` and `dma32` pages, `cpus` CPUs on each of `nodes` nodes.
pub fn pc(dma: u64, dma32: u64, cpus: u16, nodes: u8) -> Config {
    let mut config = Config::new("model", Arch::X86_64);
    let mut start = 0;
    for nid in 0..nodes {
        let dma = if nid == 0 { dma } else { 0 };
        let zones = vec![
            zone(ZoneType::Dma, start, dma, 16.min(dma)),
            zone(ZoneType::Dma32, start + dma, dma32, 100),
            ZoneConfig::empty(ZoneType::Normal),
            ZoneConfig::empty(ZoneType::Movable),
            ZoneConfig::empty(ZoneType::Device),
        ];
        start += dma + dma32;
        let distances = (0..nodes).map(|n| if n == nid { 10 } else { 20 }).collect();
        let cpus = (0..cpus).map(|c| u16::from(nid) * cpus + c).collect();
        config.nodes.push(NodeConfig { nid: Nid(nid), cpus, distances, zones, owners: Owners::default() });
    }
    config
}

/// That machine, booted.
pub fn boot(config: Config) -> Machine {
    Machine::boot(config).unwrap_or_else(|e| panic!("{e}"))
}
