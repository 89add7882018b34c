//! /proc/pagetypeinfo: free blocks and pageblocks by migratetype.
//!
//! Gorman chapter 6. Kernel: `mm/vmstat.c` (`pagetypeinfo_show`).
//! Fidelity: faithful — any order of the types, with and without CMA and Isolate, one heading a node. Simplified —
//! `Reserve` (up to 4.3) is read as HighAtomic, which replaced it.

use crate::import::ImportError;
use crate::import::buddyinfo::{blocks, place};
use crate::import::text::{Line, lines};
use crate::mm::addr::Order;
use crate::mm::config::{FreeBlocks, MigrateType, ZoneType};

/// The free blocks and pageblocks of one zone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ZoneTypes {
    /// The node's number.
    pub node: u8,
    /// The zone.
    pub zone: ZoneType,
    /// The line of its first mention.
    pub line: usize,
    /// Free blocks, indexed as [`MigrateType::ALL`].
    pub free: [FreeBlocks; MigrateType::COUNT],
    /// Pageblocks, indexed as [`MigrateType::ALL`].
    pub pageblocks: [u64; MigrateType::COUNT],
    /// Counts the kernel gave up counting (`>100000`, 5.5 and later), by type and order: they are at least so large.
    pub at_least: Vec<(MigrateType, Order)>,
}

/// All of /proc/pagetypeinfo.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PageTypes {
    /// `Page block order`; `None` when the heading was cut away.
    pub pageblock_order: Option<Order>,
    /// The populated zones.
    pub zones: Vec<ZoneTypes>,
    /// True when some blocks were `Reserve` (kernels up to 4.3).
    pub reserve: bool,
    /// Types that have a row: those this kernel was built with.
    pub built: Vec<MigrateType>,
}

/// What is inferred of kernels that have it.
pub const RESERVE: &str = "Pageblocks of type Reserve (kernels up to 4.3) are taken as HighAtomic.";

/// Reads /proc/pagetypeinfo; `file` is named in errors.
pub fn parse(file: &str, text: &str) -> Result<PageTypes, ImportError> {
    let mut types = PageTypes { pageblock_order: None, zones: Vec::new(), reserve: false, built: Vec::new() };
    // The columns of `Number of blocks type`, once that heading has been seen.
    let mut columns: Vec<MigrateType> = Vec::new();
    for line in lines(file, text) {
        let words: Vec<&str> = line.words().collect();
        match words[..] {
            ["Page", "block", "order:", order, ..] => {
                types.pageblock_order = Some(pageblock_order(&line, order)?)
            }
            ["Number", "of", "blocks", "type", ref names @ ..] => {
                columns = names.iter().map(|name| migratetype(&line, name)).collect::<Result<_, _>>()?;
                types.reserve |= names.contains(&"Reserve");
            }
            ["Node", _, "zone", _, "type", name, ref counts @ ..] => {
                let name = name.trim_end_matches(',');
                types.reserve |= name == "Reserve";
                let kind = migratetype(&line, name)?;
                if !types.built.contains(&kind) {
                    types.built.push(kind);
                }
                let zone = zone(&mut types.zones, &line)?;
                let given_up = Order::all().zip(counts).filter(|(_, word)| word.starts_with('>'));
                zone.at_least.extend(given_up.map(|(order, _)| (kind, order)));
                let counts: Vec<&str> = counts.iter().map(|word| word.trim_start_matches('>')).collect();
                let counts = blocks(&line, &counts)?;
                zone.free[kind.index()].blocks.iter_mut().zip(counts.blocks).for_each(|(sum, n)| *sum += n);
            }
            ["Node", _, "zone", _, ref counts @ ..] => {
                if counts.len() != columns.len() {
                    let problem = format!("{} counts stand under {} types", counts.len(), columns.len());
                    return Err(line.error(problem).field("Number of blocks type").advise(CAPTURE));
                }
                for (&kind, word) in columns.iter().zip(counts) {
                    let count = line.number(word, kind.name())?;
                    let sum = &mut zone(&mut types.zones, &line)?.pageblocks[kind.index()];
                    *sum = sum.saturating_add(count);
                }
            }
            _ => {}
        }
    }
    if types.zones.is_empty() {
        return Err(ImportError::new(file, "there is no line `Node 0, zone …` in it").advise(CAPTURE));
    }
    Ok(types)
}

const CAPTURE: &str = "Capture it again, as root, with: cat /proc/pagetypeinfo > pagetypeinfo.txt";

fn pageblock_order(line: &Line, word: &str) -> Result<Order, ImportError> {
    let number = line.number(word, "Page block order")?;
    u8::try_from(number).ok().and_then(Order::new).ok_or_else(|| {
        let problem = format!(
            "pageblocks of order {number} are larger than the largest block here, order {}",
            Order::MAX
        );
        line.error(problem).field("Page block order").advise("Only kernels with 4 KiB pages can be imported.")
    })
}

fn migratetype(line: &Line, name: &str) -> Result<MigrateType, ImportError> {
    // Reserve kept blocks for atomic requests until 4.4 gave that task to HighAtomic.
    let name = if name == "Reserve" { "HighAtomic" } else { name };
    MigrateType::from_name(name).ok_or_else(|| {
        let names: Vec<&str> = MigrateType::ALL.iter().map(|m| m.name()).collect();
        line.error(format!("migratetype {name:?} is unknown"))
            .advise(format!("Types are {}.", names.join(", ")))
    })
}

/// The entry of the line's zone, made at its first mention.
fn zone<'a>(zones: &'a mut Vec<ZoneTypes>, line: &Line) -> Result<&'a mut ZoneTypes, ImportError> {
    let (node, zone) = place(line)?;
    let at = zones.iter().position(|z| (z.node, z.zone) == (node, zone)).unwrap_or(zones.len());
    if at == zones.len() {
        let free = [FreeBlocks::default(); MigrateType::COUNT];
        let (pageblocks, at_least) = ([0; MigrateType::COUNT], Vec::new());
        zones.push(ZoneTypes { node, zone, line: line.number, free, pageblocks, at_least });
    }
    Ok(&mut zones[at])
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
Page block order: 9
Pages per block:  512

Free pages count per migrate type at order       0      1      2      3      4      5      6      7      8      9     10 
Node    0, zone      DMA, type    Unmovable      0      0      0      0      0      1      1      1      0      0      0 
Node    0, zone      DMA, type      Movable      0      0      0      0      0      0      0      0      0      1      3 
Node    0, zone      DMA, type      Reserve      0      0      0      0      0      0      0      0      0      0      0 

Number of blocks type     Unmovable      Movable      Reserve 
Node 0, zone      DMA            1            7            2 
";

    #[test]
    fn types_are_read_in_any_order() {
        let types = parse("pagetypeinfo.txt", TEXT).unwrap();
        assert_eq!(types.pageblock_order, Some(Order::PAGEBLOCK));
        assert!(types.reserve);
        let dma = &types.zones[0];
        assert_eq!(dma.free[MigrateType::Movable.index()].pages(), 512 + 3 * 1024);
        assert_eq!(dma.pageblocks[..4], [1, 7, 0, 2]);
    }

    #[test]
    fn counts_that_the_kernel_gave_up_are_lower_bounds() {
        let types = parse("p", &TEXT.replace("      1      3 \n", "      1 >100000 \n")).unwrap();
        assert_eq!(types.zones[0].at_least, [(MigrateType::Movable, Order::MAX)]);
        assert_eq!(types.zones[0].free[1].blocks[10], 100_000);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let error = parse("p", &TEXT.replace("order: 9", "order: 13")).unwrap_err().to_string();
        assert!(error.contains("p:1: Page block order: pageblocks of order 13 are larger"), "{error}");
        assert!(
            parse("p", &TEXT.replace("Movable", "Mobile"))
                .unwrap_err()
                .to_string()
                .contains("\"Mobile\" is unknown")
        );
        let cut = parse("p", &TEXT.replace("            7", "")).unwrap_err().to_string();
        assert!(cut.contains("2 counts stand under 3 types"), "{cut}");
        assert!(parse("p", "\n").is_err());
    }
}
