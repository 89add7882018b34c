//! A machine of its free lists alone: buddyinfo or pagetypeinfo without the zoneinfo that belongs to it.
//!
//! Gorman chapter 6. Kernel: `mm/vmstat.c` (`frag_show_print`, `pagetypeinfo_show`).
//! Fidelity: imported — free blocks, with pagetypeinfo also their types and those of pageblocks. Inferred — everything
//! else: how large zones are, where they lie, watermarks.

use crate::import::pagetypeinfo::PageTypes;
use crate::import::zoneinfo::ZoneText;
use crate::import::{ImportError, bare, buddyinfo, pagetypeinfo, profile};
use crate::mm::addr::Order;
use crate::mm::config::{Arch, Config, FreeBlocks, MigrateType, ZoneType};

/// What is known of one zone.
struct Known {
    node: u8,
    kind: ZoneType,
    line: usize,
    free: [FreeBlocks; MigrateType::COUNT],
    /// All zero when only counts of all types together are known.
    pageblocks: [u64; MigrateType::COUNT],
}

/// Makes a machine of a buddyinfo or a pagetypeinfo; `None` for any other text. `file` is named in errors.
pub fn machine(name: &str, file: &str, text: &str) -> Option<Result<Config, ImportError>> {
    if text.contains("Page block order:") || (text.contains(", type ") && text.contains("zone")) {
        let types = pagetypeinfo::parse(file, text);
        return Some(types.and_then(|types| of_types(name, file, &types)));
    }
    let lines = buddyinfo::parse(file, text).ok()?;
    let known = lines.iter().map(|line| {
        let mut free = [FreeBlocks::default(); MigrateType::COUNT];
        free[MigrateType::Movable.index()] = line.free;
        Known { node: line.node, kind: line.zone, line: line.line, free, pageblocks: [0; MigrateType::COUNT] }
    });
    Some(build(name, file, &known.collect::<Vec<_>>(), None))
}

fn of_types(name: &str, file: &str, types: &PageTypes) -> Result<Config, ImportError> {
    let known = types.zones.iter().map(|zone| Known {
        node: zone.node,
        kind: zone.zone,
        line: zone.line,
        free: zone.free,
        pageblocks: zone.pageblocks,
    });
    build(name, file, &known.collect::<Vec<_>>(), Some(types))
}

fn build(name: &str, file: &str, known: &[Known], types: Option<&PageTypes>) -> Result<Config, ImportError> {
    let order = types.and_then(|types| types.pageblock_order);
    let built = |mt: MigrateType| types.is_some_and(|types| types.built.contains(&mt));
    let zones: Vec<ZoneText> = known.iter().map(|zone| text(zone, order)).collect();
    // Only user-mode Linux does without isolating pageblocks.
    let no_isolation = types.is_some() && !built(MigrateType::Isolate);
    let uml = no_isolation && zones.iter().all(|z| z.kind == ZoneType::Normal);
    let (arch, sentence) = if uml { (Arch::Uml, None) } else { profile::arch(&zones, "") };
    let mut config = Config::new(name, arch);
    config.inferred.extend(sentence);
    config.pageblock_order = order.unwrap_or(config.pageblock_order);
    config.cma |= built(MigrateType::Cma);
    if types.is_some_and(|types| types.reserve) {
        config.inferred.push(pagetypeinfo::RESERVE.into());
    }
    config.inferred.push(match order {
        Some(_) => {
            "Only free lists are shown: a zone is as large as its pageblocks, and what is not free is in use."
                .into()
        }
        None => "Only free blocks are shown: a zone is twice as large as they are, all of them are Movable."
            .to_string(),
    });
    bare::settle(&mut config, file, &zones, |zone, nid| {
        let zone = known.iter().find(|k| (k.node, k.kind) == (nid, zone.kind))?;
        Some((zone.free, zone.pageblocks))
    })?;
    Ok(config)
}

/// The zone as zoneinfo would show it: large enough that no two blocks need to be neighbours.
fn text(zone: &Known, order: Option<Order>) -> ZoneText {
    let free: u64 = zone.free.iter().map(FreeBlocks::pages).fold(0, u64::saturating_add);
    let largest = u64::from(Order::MAX.pages());
    let blocks: u64 = zone.pageblocks.iter().fold(0, |sum, n| sum.saturating_add(*n));
    let pages = match order.filter(|_| blocks > 0) {
        Some(order) => blocks.saturating_mul(order.pages().into()).max(free),
        None => free.saturating_mul(2).next_multiple_of(largest),
    };
    let mut text = ZoneText::new(zone.node, zone.kind, zone.line);
    text.free = Some(free);
    (text.spanned, text.present, text.managed) = (Some(pages), Some(pages), Some(pages));
    text
}
