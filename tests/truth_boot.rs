//! Every captured boot: what the simulator computes equals what the kernel showed.
//!
//! Compared are spans, min_free_kbytes, watermarks, protection, high and batch of every per-CPU list.

#[path = "support/truth.rs"]
mod truth;

use truth::{recordings, truth};
use vmlab::import::{folder, numbers};
use vmlab::mm::machine::Machine;

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
