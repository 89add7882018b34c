//! Every captured boot: what the simulator computes equals what the kernel showed.
//!
//! Compared are spans, min_free_kbytes, watermarks, protection, high and batch of every per-CPU list.

#[path = "support/truth.rs"]
mod truth;

use truth::{recordings, truth};
use vmlab::import::{folder, numbers};
use vmlab::mm::addr::Order;
use vmlab::mm::config::MigrateType;
use vmlab::mm::gfp::Gfp;
use vmlab::mm::machine::Machine;
use vmlab::mm::trace::Event;
use vmlab::mm::vmstat::ZoneStat;
use vmlab::script::proc;
use vmlab::shell::render;

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

/// A block is taken and given back, of every order and every mobility: buddyinfo and pagetypeinfo read as before.
#[test]
fn lists_are_the_same_after_a_round_trip() {
    let boot = truth().join("boot");
    let mut report = truth::Report::default();
    for name in recordings(&boot) {
        report.on(&name, moved(&boot.join(&name), &name));
    }
    report.finish("round trips");
}

fn moved(path: &std::path::Path, name: &str) -> Option<String> {
    let captures = folder::Captures::read(path).unwrap_or_else(|e| panic!("{e}"));
    let config = folder::machine(name, &captures).unwrap_or_else(|e| panic!("{e}"));
    let mut booted = Machine::boot(config).unwrap_or_else(|e| panic!("{name}: {e}"));
    // What waits on the per-CPU lists is not free yet: a drain may merge it with its buddies.
    booted.drain_all_pages(None);
    let before = lists(&mut booted);
    let mut compared = 0;
    for gfp in [Gfp::KERNEL, Gfp::HIGHUSER_MOVABLE, Gfp::KERNEL | Gfp::RECLAIMABLE] {
        for order in Order::all() {
            let mut machine = booted.snapshot();
            let Ok(pfn) = machine.alloc_pages(gfp | Gfp::NORETRY | Gfp::NOWARN, order) else { continue };
            machine.free_pages(pfn, order).unwrap_or_else(|e| panic!("{name}: {e}"));
            machine.drain_all_pages(None);
            if let Some(broken) = machine.check().err() {
                return Some(format!("{broken:?}"));
            }
            // Who stole a block of another type keeps its pageblock.
            if machine.trace.events().any(|record| matches!(record.event, Event::Extfrag { .. })) {
                continue;
            }
            compared += 1;
            let after = lists(&mut machine);
            if let Some((old, new)) = before.lines().zip(after.lines()).find(|(old, new)| old != new) {
                return Some(format!("{gfp:?} of order {order}: was {old:?}, is {new:?}"));
            }
        }
    }
    (compared < 11).then(|| format!("{compared} round trips without stealing"))
}

fn lists(machine: &mut Machine) -> String {
    ["/proc/buddyinfo", "/proc/pagetypeinfo"]
        .map(|file| render::plain(&proc::read(machine, file).unwrap()))
        .concat()
}
