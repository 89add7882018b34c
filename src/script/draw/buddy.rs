//! `draw("buddy")`: the free blocks of a zone, a strip for each order; and one region as the tree it was split into.
//!
//! ```text
//!   10 │────────────────│ split into two of order 9
//!    9 │────────████████│ the right one is free
//!    8 │····────        │ the left one: all of its left half is used, the right half is split again
//! ```

use super::strip::{Strip, Tone};
use super::zones::free_blocks;
use crate::mm::Machine;
use crate::mm::addr::{Order, Pfn};
use crate::mm::config::MigrateType;
use crate::mm::mmzone::Zone;
use crate::script::handles::zone_text;
use crate::script::kmem::identify::free_block;
use crate::script::table::{Cell, Record, Table};

/// The free blocks of these zones, by order.
pub fn zones<'a>(machine: &Machine, zones: impl Iterator<Item = &'a Zone>) -> Table {
    let (mut table, mut records) = (Table::new(), Vec::new());
    for zone in zones {
        table = table.head(heading(zone));
        for (strip, blocks, order) in orders(machine, zone) {
            records.push(record(zone, order, blocks, &strip));
            table = table.strip(strip);
        }
    }
    table.legend([(Tone::Fill, "free in blocks of the order")]).with_records(records)
}

/// One zone: its free blocks by order, and the region that the next movable page comes from.
pub fn zone(machine: &Machine, zone: &Zone) -> Table {
    let strips = zones(machine, std::iter::once(zone));
    let next = MigrateType::ALL.into_iter().take(MigrateType::PCPTYPES).filter_map(|mt| {
        let order = zone.smallest_free(Order::ZERO, mt)?;
        let pfn = zone.free_blocks(&machine.mem_map, order, mt).next()?;
        Some((order, mt, pfn))
    });
    let Some((order, mt, pfn)) = next.min_by_key(|next| next.0) else { return strips };
    let records = strips.records().to_vec();
    let words = format!("smallest free block: order {order} at {:x}, {}; its region:", pfn.0, mt.name());
    strips.line("").line(words).append(&region(machine, pfn)).with_records(records)
}

fn heading(zone: &Zone) -> String {
    format!("{}: frames {:x}-{:x}", zone_text(zone), zone.zone_start_pfn, zone.end_pfn().saturating_sub(1),)
}

/// A strip for each order of the zone, largest first, with the number of its blocks.
fn orders(machine: &Machine, zone: &Zone) -> Vec<(Strip, u64, Order)> {
    let mut blocks: Vec<(Pfn, Order)> = free_blocks(machine, zone).collect();
    blocks.sort_unstable_by_key(|block| block.0);
    let strip = |order: Order| {
        let mut strip = Strip::new(format!("{order:>2}"), zone.spanned_pages);
        let mut count = 0;
        for (pfn, _) in blocks.iter().filter(|block| block.1 == order) {
            let from = u64::from(pfn.0 - zone.zone_start_pfn);
            strip.add(from, from + u64::from(order.pages()), Tone::Fill);
            count += 1;
        }
        (strip.after(count.to_string()), count, order)
    };
    Order::all().rev().map(strip).collect()
}

/// The aligned region of the largest order around a frame: which parts are split, free and used.
pub fn region(machine: &Machine, pfn: Pfn) -> Table {
    let start = pfn.0 & !(Order::MAX.pages() - 1);
    let frames = Pfn(start).to(Order::MAX.pages()).map(Pfn);
    let mut tree = Tree {
        free: frames
            .filter_map(|at| free_block(machine, at))
            .filter(|block| block.0.0 >= start)
            .map(|(p, o, _)| (p, o))
            .collect(),
        strips: Order::all()
            .rev()
            .map(|o| Strip::new(format!("{o:>2}"), Order::MAX.pages().into()))
            .collect(),
        counts: [[0; 3]; Order::COUNT],
        start,
    };
    tree.free.dedup();
    tree.draw(Pfn(start), Order::MAX);
    let zone = machine.mem_map.zone_of(pfn).map(|id| &machine.zones[id.index()]);
    let place = zone.map(|z| format!(" of zone {} node={}", z.kind, z.node)).unwrap_or_default();
    let last = start + Order::MAX.pages() - 1;
    let mut table = Table::new().head(format!("frames {start:x}-{last:x}{place}"));
    let mut records: Vec<Record> = Vec::new();
    for ((strip, counts), order) in tree.strips.into_iter().zip(tree.counts).zip(Order::all().rev()) {
        // Below the smallest part there is nothing to see.
        if counts == [0; 3] {
            break;
        }
        let words = ["split", "free", "used"];
        let said = words.iter().zip(counts).filter(|(_, n)| *n > 0).map(|(word, n)| format!("{n} {word}"));
        let said: Vec<String> = said.collect();
        let mut record: Record = vec![("order".into(), order.get().into())];
        record.extend(words.iter().zip(counts).map(|(word, n)| ((*word).to_string(), n.into())));
        record.push(("strip".into(), strip.marks(false).into()));
        records.push(record);
        table = table.strip(strip.after(said.join(", ")));
    }
    table.legend([(Tone::Fill, "free"), (Tone::Dim, "used"), (Tone::Split, "split")]).with_records(records)
}

/// The strips of a region while it is walked.
struct Tree {
    /// The free blocks of the region.
    free: Vec<(Pfn, Order)>,
    /// Largest order first.
    strips: Vec<Strip>,
    /// Blocks of each order that are split, free, used.
    counts: [[u32; 3]; Order::COUNT],
    start: u32,
}

impl Tree {
    /// Draws the block, and its halves when it is split.
    fn draw(&mut self, pfn: Pfn, order: Order) {
        let within = |block: &(Pfn, Order)| pfn.to(order.pages()).contains(&block.0.0);
        let kind = if self.free.contains(&(pfn, order)) {
            1
        } else if self.free.iter().any(within) {
            0
        } else {
            2
        };
        let row = usize::from(Order::MAX.get() - order.get());
        let from = u64::from(pfn.0 - self.start);
        self.strips[row].add(
            from,
            from + u64::from(order.pages()),
            [Tone::Split, Tone::Fill, Tone::Dim][kind],
        );
        self.counts[row][kind] += 1;
        if let Some(half) = order.down().filter(|_| kind == 0) {
            self.draw(pfn, half);
            self.draw(pfn.up(half.pages()), half);
        }
    }
}

fn record(zone: &Zone, order: Order, blocks: u64, strip: &Strip) -> Record {
    vec![
        ("node".into(), zone.node.0.into()),
        ("zone".into(), zone.kind.name().into()),
        ("order".into(), order.get().into()),
        ("blocks".into(), blocks.into()),
        ("strip".into(), Cell::from(strip.marks(false))),
    ]
}
