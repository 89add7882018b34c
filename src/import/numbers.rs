//! The numbers boot computes, beside those a capture shows.
//!
//! Gorman 2.2.1. Kernel: `mm/page_alloc.c` (`__setup_per_zone_wmarks`, `setup_per_zone_lowmem_reserve`).
//! Fidelity: faithful — a difference means that the machine was tuned, or that one of the two is wrong.

use crate::import::ImportError;
use crate::import::folder::Captures;
use crate::import::zoneinfo::ZoneText;
use crate::mm::machine::Machine;
use crate::mm::mmzone::{Wmark, Zone};

/// One number of a zone, in the capture and in the booted machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Difference {
    /// `Node 0, zone DMA32: min`, or `vm.min_free_kbytes`.
    pub what: String,
    /// What the capture shows.
    pub captured: String,
    /// What boot computed.
    pub computed: String,
}

/// `Node 0, zone DMA32: min is 413 in the capture, 412 computed`.
impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} is {} in the capture, {} computed", self.what, self.captured, self.computed)
    }
}

/// Where the booted machine differs from the captures it was made of.
///
/// Compared are spans, watermarks, protection, high and batch of the per-CPU lists, and `min_free_kbytes`.
pub fn differences(captures: &Captures, machine: &Machine) -> Result<Vec<Difference>, ImportError> {
    let mut found = Vec::new();
    if let Some(captured) = captures.min_free_kbytes() {
        compare(&mut found, || "vm.min_free_kbytes".into(), Some(captured), machine.sysctl.min_free_kbytes);
    }
    for text in captures.zones()? {
        match machine.zones.iter().find(|z| (z.node.0, z.kind) == (text.node, text.kind)) {
            Some(zone) => of_zone(&mut found, &text, zone, machine),
            None if text.populated() => found.push(Difference {
                what: text.title(),
                captured: format!("{} pages", text.managed.unwrap_or(0)),
                computed: "absent".into(),
            }),
            None => {}
        }
    }
    Ok(found)
}

fn of_zone(found: &mut Vec<Difference>, text: &ZoneText, zone: &Zone, machine: &Machine) {
    let mut number = |name: &str, captured: Option<u64>, computed: u64| {
        compare(found, || format!("{}: {name}", text.title()), captured, computed);
    };
    if text.populated() {
        number("start_pfn", text.start_pfn, zone.zone_start_pfn.into());
    }
    number("spanned", text.spanned, zone.spanned_pages);
    number("present", text.present, zone.present_pages);
    number("managed", text.managed, zone.managed_pages);
    number("min", text.min, zone.wmark(Wmark::Min));
    number("low", text.low, zone.wmark(Wmark::Low));
    number("high", text.high, zone.wmark(Wmark::High));
    for pageset in &text.pagesets {
        let Some(pcp) = zone.pageset.get(usize::from(pageset.cpu)) else { continue };
        number(&format!("cpu {}: high", pageset.cpu), Some(pageset.high), pcp.high);
        number(&format!("cpu {}: batch", pageset.cpu), Some(pageset.batch), pcp.batch);
    }
    let kinds = machine.config.arch.zone_types();
    let computed: Vec<u64> = kinds.iter().map(|kind| zone.lowmem_reserve[*kind as usize]).collect();
    // A kernel with other zones shows another count of numbers: those of both are compared.
    let both = text.protection.len().min(computed.len());
    if text.protection[..both] != computed[..both] {
        found.push(Difference {
            what: format!("{}: protection", text.title()),
            captured: format!("{:?}", text.protection),
            computed: format!("{computed:?}"),
        });
    }
}

fn compare(found: &mut Vec<Difference>, what: impl Fn() -> String, captured: Option<u64>, computed: u64) {
    if let Some(captured) = captured.filter(|&captured| captured != computed) {
        found.push(Difference {
            what: what(),
            captured: captured.to_string(),
            computed: computed.to_string(),
        });
    }
}
