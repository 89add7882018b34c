//! The report on an imported machine: what was read, what it makes, where it differs from what was computed.

use crate::import::evidence::Evidence;
use crate::mm::Machine;
use crate::mm::mmzone::Wmark;
use crate::script::table::{Column, Table};

/// The report; its rows are the zones.
pub fn report(evidence: &Evidence, machine: &Machine) -> Table {
    let read = evidence.kinds.join(", ");
    let mut table = Table::new().head(format!("read: {read}")).line("");
    table = crate::script::machine::text(machine).lines().fold(table, Table::line).line("");
    let columns = vec![
        Column::right("NODE", 0),
        Column::left("ZONE", 0),
        Column::right("START_PFN", 0),
        Column::right("PRESENT", 0),
        Column::right("MANAGED", 0),
        Column::right("FREE", 0),
        Column::right("MIN", 0),
        Column::right("LOW", 0),
        Column::right("HIGH", 0),
    ];
    let zones = machine.zones.iter().filter(|zone| zone.is_populated());
    let rows = zones.map(|zone| {
        vec![
            u64::from(zone.node.0).into(),
            zone.kind.name().into(),
            u64::from(zone.zone_start_pfn).into(),
            zone.present_pages.into(),
            zone.managed_pages.into(),
            zone.free_pages().into(),
            zone.wmark(Wmark::Min).into(),
            zone.wmark(Wmark::Low).into(),
            zone.wmark(Wmark::High).into(),
        ]
    });
    let zones = Table::grid(columns, rows.collect());
    table = zones.parts().iter().fold(table, |table, part| table.part(part.clone())).line("");
    let found = match evidence.differences(machine) {
        Ok(found) => found,
        Err(why) => return table.sentence(why.to_string()).with_records(zones.records().to_vec()),
    };
    table = match (found.as_slice(), evidence.is_state()) {
        (_, true) => table.line("Watermarks and protection are those that it shows."),
        ([], false) => {
            table.line("Watermarks, protection and per-CPU lists, as computed, are those captured.")
        }
        (found, false) => {
            let table = table.sentence("What is computed differs from what was captured: the machine was tuned, or the captures are of different moments.");
            found.iter().fold(table, |table, difference| table.sentence(format!("  {difference}")))
        }
    };
    table.with_records(zones.records().to_vec())
}
