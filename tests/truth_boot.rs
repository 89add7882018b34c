//! Every captured boot: what the simulator computes equals what the kernel showed.
//!
//! Compared are spans, min_free_kbytes, watermarks, protection, high and batch of every per-CPU list.

#[path = "support/truth.rs"]
mod truth;

use truth::{recordings, truth};
use vmlab::import::{folder, numbers};
use vmlab::mm::addr::Order;
use vmlab::mm::config::MigrateType;
use vmlab::mm::machine::Machine;
use vmlab::mm::vmstat::ZoneStat;

#[test]
fn every_captured_boot_is_recomputed() {
    let boot = truth().join("boot");
    let mut report = truth::Report::default();
    for name in recordings(&boot) {
        report.on(&name, differs(&boot.join(&name), &name));
    }
    report.finish("captured boots");
}

fn differs(path: &std::path::Path, name: &str) -> Option<String> {
    let captures = folder::Captures::read(path).unwrap_or_else(|e| panic!("{e}"));
    let config = folder::machine(name, &captures).unwrap_or_else(|e| panic!("{e}"));
    let machine = Machine::boot(config).unwrap_or_else(|e| panic!("{name}: {e}"));
    let found = numbers::differences(&captures, &machine).unwrap_or_else(|e| panic!("{e}"));
    found.first().map(|d| {
        format!("{}: want {}, got {} (and {} more)", d.what, d.captured, d.computed, found.len() - 1)
    })
}

/// Occupancy is imported: after boot the lists hold what was captured, and every invariant holds.
#[test]
fn every_captured_block_is_on_its_list() {
    let boot = truth().join("boot");
    let mut report = truth::Report::default();
    for name in recordings(&boot) {
        report.on(&name, misplaced(&boot.join(&name), &name));
    }
    report.finish("captured occupancy");
}

fn misplaced(path: &std::path::Path, name: &str) -> Option<String> {
    let captures = folder::Captures::read(path).unwrap_or_else(|e| panic!("{e}"));
    let config = folder::machine(name, &captures).unwrap_or_else(|e| panic!("{e}"));
    let machine = Machine::boot(config.clone()).unwrap_or_else(|e| panic!("{name}: {e}"));
    let zones = config.nodes.iter().flat_map(|n| n.zones.iter().map(move |z| (n, z)));
    for ((node, want), got) in zones.zip(&machine.zones) {
        let place = format!("Node {}, zone {}", node.nid, want.kind);
        for (kind, order) in MigrateType::ALL.into_iter().flat_map(|m| Order::all().map(move |o| (m, o))) {
            let (want, got) = (want.free[kind.index()].blocks[order.index()], got.blocks(order, kind));
            if want != got {
                return Some(format!(
                    "{place}: {} blocks of order {order}: want {want}, got {got}",
                    kind.name()
                ));
            }
        }
        let pcp: u64 = got.pageset.iter().map(|p| p.count).sum();
        let numbers = [
            ("free", want.free_pages(), got.free_pages()),
            ("per-CPU pages", want.pcp.iter().sum(), pcp),
            ("unevictable", want.lru.unevictable, got.stat(ZoneStat::ZoneUnevictable)),
            ("inactive_anon", want.lru.inactive_anon, got.stat(ZoneStat::ZoneInactiveAnon)),
        ];
        if let Some((what, want, got)) = numbers.into_iter().find(|n| n.1 != n.2) {
            return Some(format!("{place}: {what}: want {want}, got {got}"));
        }
    }
    machine.check().err().map(|broken| format!("{broken:?}"))
}
