//! /proc/zoneinfo: the one file every import needs.
//!
//! Gorman chapter 2. Kernel: `mm/vmstat.c` (`zoneinfo_show_print`).
//! Fidelity: faithful — every form from 2.6 to 6.18: `scanned`, `prev_priority`, hot and cold lists, statistics before
//! or after `protection`, `boost`, `cma`, empty zones cut short.

use crate::import::ImportError;
use crate::import::text::{Line, lines, numbers};
use crate::mm::config::{LruPages, Owners, ZoneType};
use std::collections::BTreeMap;

/// What one CPU keeps of a zone.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Pageset {
    /// The CPU.
    pub cpu: u16,
    /// `count`: pages on its lists, hot and cold ones together.
    pub count: u64,
    /// `high`: the list is emptied by a batch above this.
    pub high: u64,
    /// `batch`: pages moved at a time.
    pub batch: u64,
}

/// One zone as zoneinfo shows it; what is not shown is `None` or empty.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ZoneText {
    /// The node's number.
    pub node: u8,
    /// Which zone.
    pub kind: ZoneType,
    /// The line of `Node 0, zone …`.
    pub line: usize,
    /// `pages free`.
    pub free: Option<u64>,
    /// `boost` (5.12 and later), in pages.
    pub boost: Option<u64>,
    /// `min`, in pages.
    pub min: Option<u64>,
    /// `low`, in pages.
    pub low: Option<u64>,
    /// `high`, in pages.
    pub high: Option<u64>,
    /// `spanned`, in pages.
    pub spanned: Option<u64>,
    /// `present`, in pages.
    pub present: Option<u64>,
    /// `managed` (3.9 and later), in pages.
    pub managed: Option<u64>,
    /// `cma` (5.11 and later), in pages.
    pub cma: Option<u64>,
    /// `reserved_highatomic` of a memory report, in pages.
    pub highatomic: Option<u64>,
    /// `start_pfn`.
    pub start_pfn: Option<u64>,
    /// `protection`, one number for each zone of that kernel.
    pub protection: Vec<u64>,
    /// One entry a CPU.
    pub pagesets: Vec<Pageset>,
    /// Statistics of the zone: `nr_free_pages`, and before 4.8 those of the node.
    pub stats: BTreeMap<String, u64>,
    /// `per-node stats`, in the first zone of a node (4.8 and later).
    pub node_stats: BTreeMap<String, u64>,
}

impl ZoneText {
    /// A zone of which nothing is known yet.
    pub(super) fn new(node: u8, kind: ZoneType, line: usize) -> ZoneText {
        ZoneText {
            node,
            kind,
            line,
            free: None,
            boost: None,
            min: None,
            low: None,
            high: None,
            spanned: None,
            present: None,
            managed: None,
            cma: None,
            highatomic: None,
            start_pfn: None,
            protection: Vec::new(),
            pagesets: Vec::new(),
            stats: BTreeMap::new(),
            node_stats: BTreeMap::new(),
        }
    }

    /// True when the zone shows a page.
    pub fn populated(&self) -> bool {
        [self.present, self.managed, self.spanned, self.free].into_iter().flatten().any(|n| n > 0)
    }

    /// How messages call it: `Node 0, zone DMA`.
    pub fn title(&self) -> String {
        format!("Node {}, zone {}", self.node, self.kind)
    }

    /// The pages on the lists of reclaim: `nr_zone_inactive_anon` (4.8), `nr_inactive_anon` (2.6.28), `inactive` before.
    pub fn lru(&self) -> LruPages {
        let zone =
            |name: &str| self.stat(&format!("nr_zone_{name}")).or_else(|| self.stat(&format!("nr_{name}")));
        let old = |name: &str| self.stat(name).or_else(|| self.stat(&format!("nr_{name}")));
        LruPages {
            inactive_anon: zone("inactive_anon").unwrap_or(0),
            active_anon: zone("active_anon").unwrap_or(0),
            // Before 2.6.28 one pair of lists held both kinds; most of what a small system keeps there is file pages.
            inactive_file: zone("inactive_file").or_else(|| old("inactive")).unwrap_or(0),
            active_file: zone("active_file").or_else(|| old("active")).unwrap_or(0),
            unevictable: zone("unevictable").unwrap_or(0),
            mlock: self.stat("nr_mlock").unwrap_or(0),
        }
    }

    fn stat(&self, name: &str) -> Option<u64> {
        self.stats.get(name).copied()
    }

    /// Takes `word` for the name of a number of this zone; `None` when it is none.
    fn named(&mut self, word: &str) -> Option<&mut Option<u64>> {
        Some(match word {
            "boost" => &mut self.boost,
            "min" => &mut self.min,
            "low" => &mut self.low,
            "high" => &mut self.high,
            "spanned" => &mut self.spanned,
            "present" => &mut self.present,
            "managed" => &mut self.managed,
            "cma" => &mut self.cma,
            _ => return None,
        })
    }
}

/// Which part of a zone the lines belong to: `high` is a watermark, or a limit of a per-CPU list.
#[derive(PartialEq)]
enum Part {
    Node,
    Zone,
    Pagesets,
}

/// Reads /proc/zoneinfo, of any kernel since 2.6.13; `file` is named in errors.
pub fn parse(file: &str, text: &str) -> Result<Vec<ZoneText>, ImportError> {
    let mut zones: Vec<ZoneText> = Vec::new();
    let mut part = Part::Zone;
    for line in lines(file, text) {
        if let Some((node, kind)) = header(&line)? {
            if let Some(first) = zones.iter().find(|z| z.node == node && z.kind == kind) {
                let problem =
                    format!("{} appears a second time; line {} has it too", first.title(), first.line);
                return Err(line
                    .error(problem)
                    .advise("Give one capture a file: cut this one at the first repeated zone."));
            }
            zones.push(ZoneText::new(node, kind, line.number));
            part = Part::Zone;
            continue;
        }
        // What stands before the first zone is a prompt, a command, a comment.
        let Some(zone) = zones.last_mut() else { continue };
        read(zone, &mut part, &line)?;
    }
    if zones.is_empty() {
        let problem = "there is no line `Node 0, zone …` in it";
        return Err(
            ImportError::new(file, problem).advise("Capture it with: cat /proc/zoneinfo > zoneinfo.txt")
        );
    }
    Ok(zones)
}

/// True for a text with a line `Node 0, zone …`; that it can be read is not said.
pub fn is_one(text: &str) -> bool {
    lines("", text).any(|line| {
        let mut words = line.words();
        words.next() == Some("Node")
            && words.next().is_some_and(|n| n.starts_with(|c: char| c.is_ascii_digit()))
            && words.next() == Some("zone")
    })
}

/// `Node 0, zone   Normal`.
fn header(line: &Line) -> Result<Option<(u8, ZoneType)>, ImportError> {
    let mut words = line.words();
    let (Some("Node"), Some(node), Some("zone"), Some(name)) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Ok(None);
    };
    let number = line.number(node, "Node")?;
    let node = u8::try_from(number)
        .map_err(|_| line.error(format!("node {number} is beyond 255, the last one here")))?;
    let name = name.trim_end_matches(',');
    if words.next().is_some_and(|next| next == "type" || next.parse::<u64>().is_ok()) {
        let problem = "this is a line of buddyinfo or pagetypeinfo, not of zoneinfo";
        return Err(line
            .error(problem)
            .advise("A machine needs /proc/zoneinfo; put all captures into one folder."));
    }
    let Some(kind) = ZoneType::from_name(name) else {
        let problem = format!("zone {name:?} is unknown");
        return Err(line.error(problem).advise("Zones are DMA, DMA32, Normal, HighMem, Movable and Device."));
    };
    Ok(Some((node, kind)))
}

/// One line inside a zone. Lines that are not known (later kernels have more) say nothing.
fn read(zone: &mut ZoneText, part: &mut Part, line: &Line) -> Result<(), ImportError> {
    let mut words = line.words();
    let Some(first) = words.next() else { return Ok(()) };
    let key = first.trim_end_matches(':');
    let field = |zone: &ZoneText| format!("{}: {key}", zone.title());
    match key {
        "per-node" => *part = Part::Node,
        "pagesets" => *part = Part::Pagesets,
        "protection" => {
            zone.protection = numbers(line.text);
            *part = Part::Zone;
        }
        "pages" => {
            *part = Part::Zone;
            if let (Some("free"), Some(value)) = (words.next(), words.next()) {
                zone.free = Some(line.number(value, &field(zone))?);
            }
        }
        "start_pfn" => {
            if let Some(value) = words.next() {
                zone.start_pfn = Some(line.number(value, &field(zone))?);
            }
        }
        "cpu" => {
            *part = Part::Pagesets;
            let Some(value) = words.next() else { return Ok(()) };
            let cpu = line.number(value, &field(zone))?;
            let cpu = u16::try_from(cpu).map_err(|_| line.error(format!("CPU {cpu} is beyond 65535")))?;
            // Before 2.6.25 each CPU has two lines: `cpu: 0 pcp: 0` is the hot list, `pcp: 1` the cold one.
            if zone.pagesets.iter().all(|p| p.cpu != cpu) {
                zone.pagesets.push(Pageset { cpu, ..Pageset::default() });
            }
        }
        "count" | "high" | "batch" if *part == Part::Pagesets => {
            let Some(value) = words.next() else { return Ok(()) };
            let value = line.number(value, &field(zone))?;
            let Some(pageset) = zone.pagesets.last_mut() else { return Ok(()) };
            match key {
                "count" => pageset.count = pageset.count.saturating_add(value),
                "high" => pageset.high = pageset.high.max(value),
                _ => pageset.batch = pageset.batch.max(value),
            }
        }
        _ => {
            let Some(value) = words.next() else { return Ok(()) };
            let title = field(zone);
            if *part == Part::Zone
                && let Some(number) = zone.named(key)
            {
                *number = Some(line.number(value, &title)?);
            } else if key.starts_with("nr_")
                || key.starts_with("numa_")
                || matches!(key, "active" | "inactive")
            {
                let value = line.number(value, &title)?;
                let stats = if *part == Part::Node { &mut zone.node_stats } else { &mut zone.stats };
                stats.insert(key.to_string(), value);
            }
        }
    }
    Ok(())
}

/// Pages by owner of a node: from its `per-node stats`, or summed over its zones (before 4.8).
pub fn owners(zones: &[ZoneText], node: u8) -> Owners {
    let of_node = || zones.iter().filter(|z| z.node == node);
    let sum = |name: &str| -> u64 {
        match of_node().find_map(|z| z.node_stats.get(name)) {
            Some(&n) => n,
            None => of_node().filter_map(|z| z.stats.get(name)).fold(0u64, |sum, &n| sum.saturating_add(n)),
        }
    };
    Owners {
        slab_reclaimable: sum("nr_slab_reclaimable"),
        slab_unreclaimable: sum("nr_slab_unreclaimable"),
        page_tables: sum("nr_page_table_pages"),
        kernel_stack_kb: sum("nr_kernel_stack"),
        file: sum("nr_file_pages"),
        anon: sum("nr_anon_pages"),
        mapped: sum("nr_mapped"),
        shmem: sum("nr_shmem"),
        dirty: sum("nr_dirty"),
        swapcached: sum("nr_swapcached"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: &str = "\
Node 0, zone      DMA
  per-node stats
      nr_slab_reclaimable 2195
      176096
  pages free     3808
        boost    0
        min      34
        high     50
        spanned  4095
        present  3998
        managed  3840
        cma      0
        protection: (0, 181, 181, 181, 181)
      nr_free_pages 3808
      nr_zone_unevictable 7
  pagesets
    cpu: 0
              count: 3
              high:  42
              batch: 1
  vm stats threshold: 2
  start_pfn:           1
Node 0, zone   Device
  pages free     0
        boost    0
";

    const OLD: &str = "\
Node 0, zone      DMA\r
  pages free     5410\r
        min      181\r
        active   367\r
        inactive 720\r
        scanned  0 (a: 0 i: 0)\r
        spanned  8192\r
        present  8192\r
        protection: (0, 0, 0, 0)\r
  pagesets\r
    cpu: 0 pcp: 0\r
              count: 2\r
              high:  6\r
              batch: 1\r
    cpu: 0 pcp: 1\r
              count: 1\r
              high:  2\r
              batch: 1\r
  prev_priority:     12\r
";

    #[test]
    fn a_new_zoneinfo_is_read() {
        let zones = parse("zoneinfo.txt", NEW).unwrap();
        assert_eq!(zones.len(), 2);
        let dma = &zones[0];
        assert_eq!((dma.free, dma.min, dma.high, dma.low), (Some(3808), Some(34), Some(50), None));
        assert_eq!((dma.spanned, dma.start_pfn), (Some(4095), Some(1)));
        assert_eq!(dma.protection, [0, 181, 181, 181, 181]);
        assert_eq!(dma.pagesets, [Pageset { cpu: 0, count: 3, high: 42, batch: 1 }]);
        assert_eq!(dma.lru().unevictable, 7);
        assert_eq!(owners(&zones, 0).slab_reclaimable, 2195);
        assert!(!zones[1].populated());
    }

    #[test]
    fn an_old_zoneinfo_is_read() {
        let zones = parse("zoneinfo.txt", OLD).unwrap();
        let dma = &zones[0];
        assert_eq!((dma.present, dma.managed, dma.start_pfn), (Some(8192), None, None));
        assert_eq!(dma.pagesets, [Pageset { cpu: 0, count: 3, high: 6, batch: 1 }]);
        assert_eq!((dma.lru().inactive_file, dma.lru().active_file), (720, 367));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let twice = format!("{NEW}{NEW}");
        let error = parse("z", &twice).unwrap_err().to_string();
        assert!(error.starts_with("z:26: Node 0, zone DMA appears a second time; line 1"), "{error}");
        assert!(parse("z", "Hello\n").unwrap_err().to_string().contains("help: Capture it with"));
        assert!(
            parse("z", "Node 0, zone Attic\n").unwrap_err().to_string().contains("zone \"Attic\" is unknown")
        );
        let cut = parse("z", "Node 0, zone DMA\n  pages free x\n").unwrap_err().to_string();
        assert!(cut.starts_with("z:2: Node 0, zone DMA: pages: expected a number"), "{cut}");
    }
}
