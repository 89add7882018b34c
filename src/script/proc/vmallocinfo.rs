//! /proc/vmallocinfo: every area of vmalloc, who made it, and on which nodes its pages lie.
//!
//! Kernel: `mm/vmalloc.c` (`s_show`).
//! Fidelity: faithful — columns and words. Simplified — addresses are shown; of what was made since the boot the
//! caller is a function without an offset.

use crate::mm::Machine;
use crate::mm::config::Arch;
use crate::mm::vmalloc::{AreaFlags, VmStruct};
use crate::script::table::{Cell, Table};
use std::collections::BTreeMap;

/// The whole file.
pub fn table(machine: &Machine) -> Table {
    let digits = machine.config.arch.address_digits();
    let mut records = Vec::new();
    let mut table = Table::new();
    for area in machine.vmalloc.areas() {
        let (start, end) = (area.start, area.end());
        table = table.line(format!(
            "0x{start:0digits$x}-0x{end:0digits$x} {:>7}{}",
            area.size,
            told(machine, area)
        ));
        records.push(vec![
            ("start".to_string(), Cell::Addr(start)),
            ("end".to_string(), Cell::Addr(end)),
            ("size".to_string(), area.size.into()),
            ("pages".to_string(), area.pages.len().into()),
        ]);
    }
    for range in machine.vmalloc.lazy() {
        let (start, end) = (range.start, range.end);
        table =
            table.line(format!("0x{start:0digits$x}-0x{end:0digits$x} {:>7} unpurged vm_area", end - start));
    }
    table.with_records(records)
}

fn told(machine: &Machine, area: &VmStruct) -> String {
    let mut text = format!(" {}", area.caller);
    // Who only maps pages of others keeps no list of them (vmap).
    let own = area.flags.has(AreaFlags::ALLOC) || area.flags.has(AreaFlags::MAP_PUT_PAGES);
    let pages = if own { &area.pages[..] } else { &[] };
    if !pages.is_empty() {
        text += &format!(" pages={}", pages.len());
    }
    if let Some(phys) = area.phys {
        // A physical address is wider than a pointer with PAE.
        let width =
            if machine.config.arch.is_64bit() || machine.config.arch == Arch::I386Pae { 16 } else { 8 };
        text += &format!(" phys=0x{phys:0width$x}");
    }
    for (flag, name) in AreaFlags::NAMES {
        if area.flags.has(*flag) {
            text += &format!(" {name}");
        }
    }
    if area.page_array.is_some() {
        text += " vpages";
    }
    if machine.config.arch.has_numa() {
        let mut nodes = BTreeMap::new();
        for zone in pages.iter().filter_map(|pfn| machine.mem_map.zone_of(*pfn)) {
            *nodes.entry(machine.zones[zone.index()].node).or_insert(0) += 1;
        }
        nodes.iter().for_each(|(nid, pages)| text += &format!(" N{nid}={pages}"));
    }
    text
}
