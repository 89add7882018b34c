//! A machine as a spec a person can read: the text of the shipped machines.
//!
//! Fidelity: not of the kernel — what equals its default is left out; reading the text gives the same machine.

use super::form::{CostsSpec, LruSpec, OwnersSpec, TlbForm};
use super::values::size;
use crate::import::text::list_text;
use crate::import::{slabs, vmallocinfo};
use crate::mm::addr::{Order, PAGE_SHIFT};
use crate::mm::config::{Config, FreeBlocks, KernelImage, MigrateType, NodeConfig, Shown, Stop, ZoneConfig};
use crate::mm::mm_init::CoreSize;
use crate::mm::slab_common::Allocator;
use std::fmt::Write;

/// Writes a machine as YAML.
pub fn to_yaml(config: &Config) -> String {
    let mut out = String::new();
    let defaults = Config::new("", config.arch);
    line(&mut out, 0, "name", &quoted(&config.name));
    line(&mut out, 0, "arch", config.arch.name());
    if config.kernel != defaults.kernel {
        line(&mut out, 0, "kernel", &quoted(&config.kernel));
    }
    if config.la57 {
        line(&mut out, 0, "la57", "true");
    }
    if config.pageblock_order != defaults.pageblock_order {
        line(&mut out, 0, "pageblock_order", &config.pageblock_order.to_string());
    }
    if config.cma != defaults.cma {
        line(&mut out, 0, "cma", &config.cma.to_string());
    }
    line(&mut out, 0, "thp", config.thp.map_or("absent", |mode| mode.name()));
    if !config.cmdline.is_empty() {
        line(&mut out, 0, "cmdline", &quoted(&config.cmdline));
    }
    if config.seed != defaults.seed {
        line(&mut out, 0, "seed", &config.seed.to_string());
    }
    if let Some(nth) = config.fail_nth {
        line(&mut out, 0, "fail_nth", &nth.to_string());
    }
    out.push_str("nodes:\n");
    config.nodes.iter().for_each(|n| node(&mut out, n));
    if !config.late_freed.is_empty() {
        out.push_str("late_freed: # after the watermarks were computed\n");
    }
    for late in &config.late_freed {
        let (what, node, zone) = (quoted(&late.what), late.node, late.zone);
        let _ = writeln!(out, "- {{ what: {what}, node: {node}, zone: {zone}, pages: {} }}", late.pages);
    }
    if !config.swap.is_empty() {
        out.push_str("swap:\n");
    }
    for area in &config.swap {
        let _ = write!(out, "- {{ name: {}, pages: {}", quoted(&area.name), area.pages);
        let _ = area.priority.map(|priority| write!(out, ", priority: {priority}"));
        out.push_str(" }\n");
    }
    if !config.sysctl.is_empty() {
        out.push_str("sysctl:\n");
    }
    for (name, value) in &config.sysctl {
        line(&mut out, 2, &quoted(name), &quoted(value));
    }
    let costs = CostsSpec::changed(&config.costs);
    if !costs.is_empty() {
        line(&mut out, 0, "costs", &pairs(&costs));
    }
    let tlb = TlbForm::changed(&config.tlb);
    if !tlb.is_empty() {
        line(&mut out, 0, "tlb", &pairs(&tlb));
    }
    if !config.inferred.is_empty() {
        out.push_str("inferred:\n");
    }
    for sentence in &config.inferred {
        let _ = writeln!(out, "- {}", quoted(sentence));
    }
    early(&mut out, config);
    iomem(&mut out, &config.iomem);
    caches(&mut out, config);
    if !config.vmalloc.is_empty() {
        out.push_str("vmallocinfo: | # as the file shows them, without addresses\n");
    }
    for area in &config.vmalloc {
        let _ = writeln!(out, "  {}", vmallocinfo::line(area));
    }
    out
}

/// What memblock is told, and what the command line says.
fn early(out: &mut String, config: &Config) {
    let frames = |start: u64, end: u64| format!("{start:#x}-{:#x}", end.saturating_sub(1));
    if let Some(KernelImage { start_pfn, end_pfn, code, rwdata, rodata, init, bss }) = config.early.image {
        let place = if end_pfn > start_pfn {
            format!("frames: {}, ", frames(start_pfn, end_pfn))
        } else {
            String::new()
        };
        let parts = format!("code: {code}, rwdata: {rwdata}, rodata: {rodata}, init: {init}, bss: {bss}");
        line(out, 0, "kernel_image", &format!("{{ {place}{parts} }}"));
    }
    if let Some((start, end)) = config.early.ramdisk {
        line(out, 0, "ramdisk", &frames(start, end));
    }
    if config.early.alternatives > 0 {
        line(out, 0, "alternatives", &config.early.alternatives.to_string());
    }
    for (key, amount) in [("kernelcore", config.core.kernelcore), ("movablecore", config.core.movablecore)] {
        match amount {
            Some(CoreSize::Pages(pages)) => line(out, 0, key, &(pages << PAGE_SHIFT).to_string()),
            Some(CoreSize::Percent(percent)) => line(out, 0, key, &format!("{percent}%")),
            None => {}
        }
    }
    if config.core.movable_node {
        line(out, 0, "movable_node", "true");
    }
    if config.memblock_debug {
        line(out, 0, "memblock", "debug");
    }
    if config.stop == Some(Stop::Memblock) {
        line(out, 0, "stop", "memblock");
    }
}

fn node(out: &mut String, node: &NodeConfig) {
    let _ = writeln!(out, "- node: {}", node.nid);
    let cpus = if node.cpus.len() > 8 { quoted(&list_text(&node.cpus)) } else { format!("{:?}", node.cpus) };
    line(out, 2, "cpus", &cpus);
    line(out, 2, "distances", &format!("{:?}", node.distances));
    let zones: Vec<&ZoneConfig> = node.zones.iter().filter(|z| **z != ZoneConfig::empty(z.kind)).collect();
    if zones.is_empty() {
        out.push_str("  zones: {}\n");
    } else {
        out.push_str("  zones:\n");
    }
    zones.into_iter().for_each(|z| zone(out, z));
    let owners = OwnersSpec::changed(&node.owners);
    if !owners.is_empty() {
        line(out, 2, "owners", &pairs(&owners));
    }
}

fn zone(out: &mut String, zone: &ZoneConfig) {
    let _ = writeln!(out, "    {}:", zone.kind);
    if zone.spanned > 0 {
        line(out, 6, "start_pfn", &zone.start_pfn.to_string());
        line(out, 6, "spanned", &zone.spanned.to_string());
        line(out, 6, "present", &zone.present.to_string());
        line(out, 6, "managed", &zone.managed.to_string());
    }
    if !zone.holes.is_empty() {
        let last = |&(first, length): &(u64, u64)| first.saturating_add(length).saturating_sub(1);
        let holes: Vec<String> = zone.holes.iter().map(|h| format!("{:#x}-{:#x}", h.0, last(h))).collect();
        line(out, 6, "holes", &format!("[{}]", holes.join(", ")));
    }
    if zone.cma != 0 {
        line(out, 6, "cma", &zone.cma.to_string());
    }
    free(out, &zone.free, zone.spanned > 0);
    let blocks: Vec<(&str, u64)> =
        MigrateType::ALL.iter().map(|m| (m.name(), zone.pageblocks[m.index()])).collect();
    let blocks: Vec<_> = blocks.into_iter().filter(|b| b.1 > 0).collect();
    if !blocks.is_empty() {
        line(out, 6, "pageblocks", &pairs(&blocks));
    }
    if !zone.pcp.is_empty() {
        line(out, 6, "pcp", &format!("{:?}", zone.pcp));
    }
    let lru = LruSpec::changed(&zone.lru);
    if !lru.is_empty() {
        line(out, 6, "lru", &pairs(&lru));
    }
    if let Some(Shown { boost, min, low, high, protection, highatomic, numa, pcp_high, pcp_batch }) =
        &zone.shown
    {
        let boost = if *boost > 0 { format!("boost: {boost}, ") } else { String::new() };
        let atomic = if *highatomic > 0 { format!("highatomic: {highatomic}, ") } else { String::new() };
        let numa = if numa.iter().any(|n| *n > 0) { format!("numa: {numa:?}, ") } else { String::new() };
        let marks = format!(
            "{{ {boost}min: {min}, low: {low}, high: {high}, protection: {protection:?}, {atomic}{numa}pcp_high: {pcp_high}, pcp_batch: {pcp_batch} }}"
        );
        line(out, 6, "shown", &marks);
    }
}

/// Blocks of each order, one line a type, in columns.
fn free(out: &mut String, free: &[FreeBlocks; MigrateType::COUNT], spanned: bool) {
    let rows: Vec<(&str, &[u64; Order::COUNT])> = MigrateType::ALL
        .iter()
        .map(|m| (m.name(), &free[m.index()].blocks))
        .filter(|r| *r.1 != [0; Order::COUNT])
        .collect();
    if rows.is_empty() {
        if spanned {
            line(out, 6, "free", "none");
        }
        return;
    }
    out.push_str("      free:\n");
    let widths: Vec<usize> = (0..Order::COUNT)
        .map(|order| rows.iter().map(|r| r.1[order].to_string().len()).max().unwrap_or(1))
        .collect();
    let longest = rows.iter().map(|r| r.0.len()).max().unwrap_or(0) + 1;
    for (name, blocks) in &rows {
        let cells: Vec<String> =
            blocks.iter().zip(&widths).map(|(n, &width)| format!("{n:>width$}")).collect();
        let _ = writeln!(out, "        {:<longest$} [{}]", format!("{name}:"), cells.join(", "));
    }
}

fn line(out: &mut String, indent: usize, key: &str, value: &str) {
    let _ = writeln!(out, "{:indent$}{key}: {value}", "");
}

/// `{ name: 1, other: 2 }`.
fn pairs(pairs: &[(&str, u64)]) -> String {
    let pairs: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    format!("{{ {} }}", pairs.join(", "))
}

/// Slab caches, unless they are the usual ones of a kernel.
fn caches(out: &mut String, config: &Config) {
    if config.slab != Allocator::default() {
        let _ = writeln!(out, "slab: {}", config.slab);
    }
    if config.caches == slabs::usual(config.arch) {
        return;
    }
    if config.caches.is_empty() {
        out.push_str("slabs: \"\"\n");
        return;
    }
    out.push_str("slabs: | # name object/whole align flags active/total\n");
    for cache in &config.caches {
        let _ = writeln!(out, "  {}", slabs::line(cache));
    }
}

/// Lines as they were captured, as a block of text where they are plain.
fn iomem(out: &mut String, lines: &[String]) {
    let plain = |line: &String| {
        line.bytes().all(|b| (b' '..=b'~').contains(&b)) && !line.ends_with(' ') && !line.is_empty()
    };
    if lines.is_empty() {
    } else if lines.iter().all(plain) && !lines[0].starts_with(' ') {
        out.push_str("iomem: |\n");
        for line in lines {
            let _ = writeln!(out, "  {line}");
        }
    } else {
        let _ = writeln!(out, "iomem: {}", escaped(&lines.join("\n")));
    }
}

/// A word as it is where YAML takes it for one, else between quotes.
fn quoted(text: &str) -> String {
    let word = |c: char| c.is_ascii_alphanumeric() || "_./-".contains(c);
    let words = ["true", "false", "null", "yes", "no", "on", "off", "nan", "inf", "y", "n", "none", "all"];
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && text.chars().all(word)
        && !words.contains(&text.to_lowercase().as_str())
        && size(text).is_none();
    // Whole numbers are read back as the same text; others may lose a zero.
    let number = text.parse::<u64>().is_ok_and(|n| n.to_string() == text);
    if plain || number { text.to_string() } else { escaped(text) }
}

fn escaped(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if (c as u32) < 0x20
                || (0x7f..0xa0).contains(&(c as u32))
                || "\u{2028}\u{2029}\u{feff}".contains(c) =>
            {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::spec::machine;

    #[test]
    fn what_is_written_reads_back_as_the_same_machine() {
        let spec = "name: odd \"one\"\narch: arm64\nkernel: 6.10\nmem: 1G\ncpus: 12\nnodes: 2\nla57: false\nswap: [1G, { name: /swap file, pages: 9, priority: 5 }]\n\
                    seed: 7\nfail_nth: 3\nthp: madvise\nslab: slob\nsysctl: { vm.swappiness: 010, vm.lowmem_reserve_ratio: 256 32 0 }\n\
                    costs: { trap: 1 }\nlate_freed: [{ what: initrd, zone: DMA, pages: 4 }]\niomem: \"a : b\\n\\x07 : c\"\n";
        let config = machine("m", "m.yaml", spec).unwrap();
        assert_eq!(config.costs.trap, 1);
        let text = to_yaml(&config);
        assert_eq!(machine("other", "again.yaml", &text).as_ref(), Ok(&config), "{text}");
    }

    #[test]
    fn a_bare_machine_can_be_kept_as_a_spec() {
        let text =
            "Node 0, zone Normal\n pages free 5000\n boost 1\n min 11\n low 20\n high 30\n protection: (0)\n";
        let config = crate::import::bare::machine("bare", "z", text).unwrap();
        let yaml = to_yaml(&config);
        assert!(yaml.contains("shown: { boost: 1, min: 10,"), "{yaml}");
        assert_eq!(machine("", "y", &yaml).as_ref(), Ok(&config), "{yaml}");
    }
}
