//! /proc/buddyinfo: free blocks of each order, zone by zone.
//!
//! Gorman chapter 6. Kernel: `mm/vmstat.c` (`frag_show_print`).
//! Fidelity: faithful — 11 orders of 4 KiB pages; other kernels' are refused with the number that decided.

use crate::import::ImportError;
use crate::import::text::{Line, lines};
use crate::mm::addr::Order;
use crate::mm::config::{FreeBlocks, ZoneType};

/// One line: the free blocks of a zone, all migratetypes together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BuddyLine {
    /// The node's number.
    pub node: u8,
    /// The zone.
    pub zone: ZoneType,
    /// The line's number in the file.
    pub line: usize,
    /// Blocks of each order.
    pub free: FreeBlocks,
}

/// Reads /proc/buddyinfo; `file` is named in errors.
pub fn parse(file: &str, text: &str) -> Result<Vec<BuddyLine>, ImportError> {
    let mut found: Vec<BuddyLine> = Vec::new();
    for line in lines(file, text) {
        let mut words = line.words();
        if (words.next(), words.nth(1)) != (Some("Node"), Some("zone")) {
            continue;
        }
        let (node, zone) = place(&line)?;
        if let Some(first) = found.iter().find(|f| (f.node, f.zone) == (node, zone)) {
            let problem =
                format!("Node {node}, zone {zone} appears a second time; line {} has it too", first.line);
            return Err(line.error(problem).advise("Give one capture a file."));
        }
        let counts: Vec<&str> = line.words().skip(4).collect();
        found.push(BuddyLine { node, zone, line: line.number, free: blocks(&line, &counts)? });
    }
    if found.is_empty() {
        let problem = "there is no line `Node 0, zone …` in it";
        return Err(
            ImportError::new(file, problem).advise("Capture it with: cat /proc/buddyinfo > buddyinfo.txt")
        );
    }
    Ok(found)
}

/// True for a text whose zones stand in one line each, with a number for each order.
pub fn is_one(text: &str) -> bool {
    let is_line = |line: Line| {
        let words: Vec<&str> = line.words().collect();
        let numbers = words.iter().skip(4).filter(|word| word.parse::<u64>().is_ok()).count();
        words.first() == Some(&"Node") && words.get(2) == Some(&"zone") && numbers > 4
    };
    lines("", text).any(is_line)
}

/// Node and zone of a line `Node 0, zone DMA32, …`.
pub(super) fn place(line: &Line) -> Result<(u8, ZoneType), ImportError> {
    let mut words = line.words().skip(1);
    let node = line.number(words.next().unwrap_or(""), "Node")?;
    let node = u8::try_from(node)
        .map_err(|_| line.error(format!("node {node} is beyond 255, the last one here")))?;
    let name = words.nth(1).unwrap_or("").trim_end_matches(',');
    let zone = ZoneType::from_name(name).ok_or_else(|| {
        let problem = format!("zone {name:?} is unknown");
        line.error(problem).advise("Zones are DMA, DMA32, Normal, HighMem, Movable and Device.")
    })?;
    Ok((node, zone))
}

/// The blocks of each order; a kernel with other orders is another kernel.
pub(super) fn blocks(line: &Line, counts: &[&str]) -> Result<FreeBlocks, ImportError> {
    if counts.len() != Order::COUNT {
        let problem = format!("{} orders are shown, this laboratory has {}", counts.len(), Order::COUNT);
        let advice = "Only kernels with 4 KiB pages and the usual MAX_ORDER can be imported; if the line was cut, capture it again.";
        return Err(line.error(problem).field("orders").advise(advice));
    }
    let mut free = FreeBlocks::default();
    for ((order, blocks), word) in free.blocks.iter_mut().enumerate().zip(counts) {
        *blocks = line.number(word, &format!("order {order}"))?;
        if *blocks > u64::from(u32::MAX) {
            let problem = format!("{blocks} blocks are more than the {} frames a machine can have", u32::MAX);
            return Err(line.error(problem).field(format!("order {order}")).advise("Check the capture."));
        }
    }
    Ok(free)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_zone() {
        let text = "Node 0, zone      DMA      0      0      0      0      0      1      1      1      0      1      3 \n";
        let found = parse("buddyinfo.txt", text).unwrap();
        assert_eq!((found[0].node, found[0].zone), (0, ZoneType::Dma));
        assert_eq!(found[0].free.pages(), 32 + 64 + 128 + 512 + 3 * 1024);
    }

    #[test]
    fn other_orders_are_refused_with_their_number() {
        let error =
            parse("b", "Node 0, zone DMA 1 2 3 4 5 6 7 8 9 10 11 12 13 14\n").unwrap_err().to_string();
        assert!(error.contains("14 orders are shown, this laboratory has 11"), "{error}");
        assert!(parse("b", "").is_err());
        assert!(parse("b", "Node 0, zone DMA 1 2 3 4 5 6 7 8 9 10 99999999999\n").is_err());
    }
}
