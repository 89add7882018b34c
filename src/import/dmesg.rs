//! The boot log: what was freed after the watermarks were computed, where the initrd lay, which memory a node has.
//!
//! Gorman chapter 5. Kernel: `mm/page_alloc.c` (`free_reserved_area`), `mm/memblock.c`, `arch/x86/kernel/setup.c`.
//! Fidelity: faithful — lines of 4.x to 6.x, with time stamps, syslog dates or none; only the last boot of a log counts.

use crate::import::text::{hex_range, lines};
use crate::mm::addr::PAGE_SIZE;
use crate::mm::config::KernelImage;

/// `Freeing initrd memory: 1664K`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Freed {
    /// `initrd`, `unused kernel image (initmem)`.
    pub what: String,
    /// Pages given to the buddy allocator.
    pub pages: u64,
}

/// Memory of a node: frames `first .. end`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MemoryRange {
    /// The node's number.
    pub node: u64,
    /// The first frame.
    pub first: u64,
    /// The frame after the last.
    pub end: u64,
}

/// What the log of a boot says about memory.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct BootLog {
    /// `Linux version …`, up to the compiler.
    pub version: Option<String>,
    /// Freed after the watermarks were computed, in the order of the log.
    pub freed: Vec<Freed>,
    /// Where the initrd lies at last, in bytes: the kernel may have moved it down from where the loader put it.
    pub ramdisk: Option<(u64, u64)>,
    /// `Early memory node ranges`.
    pub memory: Vec<MemoryRange>,
    /// Pages freed before the watermarks were computed: `SMP alternatives`.
    pub alternatives: u64,
    /// Sizes of the kernel's image, from the line `Memory: …`; its place stands in iomem.
    pub image: Option<KernelImage>,
}

/// Reads a boot log; lines that say nothing about memory are passed over.
pub fn parse(text: &str) -> BootLog {
    let mut log = BootLog::default();
    for line in lines("dmesg", text) {
        let line = line.text;
        if let Some(at) = line.find("Linux version ") {
            // A log that holds two boots: what was before belongs to the earlier one.
            log = BootLog { version: Some(banner(&line[at..])), ..BootLog::default() };
        } else if let Some(freed) = freed(line) {
            if freed.what.contains("SMP alternatives") {
                // Freed before the watermarks: whatever stands above it does not count as late.
                log.freed.clear();
                log.alternatives = freed.pages;
            } else if freed.pages > 0 {
                log.freed.push(freed);
            }
        } else if let Some(image) = image(line) {
            log.image = Some(image);
        } else if let Some(range) = ramdisk(line) {
            log.ramdisk = Some(range);
        } else if let Some(range) = memory(line) {
            log.memory.push(range);
        }
    }
    log
}

/// `Linux version 6.1.0-50-amd64`.
fn banner(line: &str) -> String {
    line.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}

/// `Freeing unused kernel image (initmem) memory: 2820K`; up to 3.x `… memory: 1180k freed`.
fn freed(line: &str) -> Option<Freed> {
    let rest = &line[line.find("Freeing ")? + "Freeing ".len()..];
    let (what, size) = rest.split_once(" memory: ")?;
    let kilobytes: u64 = size[..size.find(['K', 'k'])?].trim().parse().ok()?;
    Some(Freed { what: what.to_string(), pages: kilobytes / (PAGE_SIZE / 1024) })
}

/// `Memory: …K/…K available (14343K kernel code, 2338K rwdata, 9116K rodata, 2820K init, 17356K bss, …)`.
fn image(line: &str) -> Option<KernelImage> {
    let rest = &line[line.find("Memory: ")?..];
    let part = |name: &str| -> Option<u64> {
        let before = rest[..rest.find(name)?].trim_end().strip_suffix(['K', 'k'])?;
        before.rsplit([' ', '(']).next()?.parse().ok()
    };
    let (code, rwdata) = (part(" kernel code")?, part(" rwdata").unwrap_or(0));
    let [rodata, init, bss] = [" rodata", " init", " bss"].map(|name| part(name).unwrap_or(0));
    Some(KernelImage { code, rwdata, rodata, init, bss, ..KernelImage::default() })
}

/// `RAMDISK: [mem 0x…-0x…]`, `Allocated new RAMDISK: [mem …]`, `Move RAMDISK from [mem …] to [mem …]`.
fn ramdisk(line: &str) -> Option<(u64, u64)> {
    let rest = &line[line.find("RAMDISK")? + "RAMDISK".len()..];
    let place = rest.rsplit_once(" to ").map_or(rest, |(_, to)| to);
    brackets(place).or_else(|| hex_range(place.trim_start_matches(':')))
}

/// `  node   0: [mem 0x0000000000001000-0x000000000009efff]`, below `Early memory node ranges`.
fn memory(line: &str) -> Option<MemoryRange> {
    let rest = line[line.find("node ")? + "node ".len()..].trim_start();
    let (node, place) = rest.split_once(':')?;
    let node = node.parse().ok()?;
    let (first, last) = brackets(place)?;
    // Half a page at either end is no page.
    let (first, end) = (first.div_ceil(PAGE_SIZE), last.checked_add(1)? / PAGE_SIZE);
    (first < end).then_some(MemoryRange { node, first, end })
}

/// The range in `[mem 0x…-0x…]`.
fn brackets(text: &str) -> Option<(u64, u64)> {
    let rest = &text[text.find("[mem ")? + "[mem ".len()..];
    hex_range(rest.split(']').next()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_comes_after_the_alternatives_is_late() {
        let log = parse(
            "[    0.0] Linux version 6.1.0-50-amd64 (builder) #1\n\
             [    0.0] RAMDISK: [mem 0x7fe54000-0x7ffcffff]\n\
             [    0.0] Allocated new RAMDISK: [mem 0x36a82000-0x36bfdf63]\n\
             [    0.0] Move RAMDISK from [mem 0x7fe54000-0x7ffcff63] to [mem 0x36a82000-0x36bfdf63]\n\
             [    0.0] Early memory node ranges\n\
             [    0.0]   node   0: [mem 0x0000000000001000-0x000000000009efff]\n\
             [    0.0] Initmem setup node 0 [mem 0x0000000000001000-0x000000000ffdcfff]\n\
             [    0.1] Freeing SMP alternatives memory: 32K\n\
             [    1.1] Freeing initrd memory: 1520K\n\
             Jul  1 10:00:00 host kernel: [    3.3] Freeing unused kernel memory: 912k freed\n",
        );
        let freed: Vec<_> = log.freed.iter().map(|f| (f.what.as_str(), f.pages)).collect();
        assert_eq!(freed, [("initrd", 380), ("unused kernel", 228)]);
        assert_eq!(log.ramdisk, Some((0x36a82000, 0x36bfdf63)));
        assert_eq!(log.memory, [MemoryRange { node: 0, first: 1, end: 0x9f }]);
        assert_eq!((log.alternatives, log.image), (8, None));
        assert_eq!(log.version.as_deref(), Some("Linux version 6.1.0-50-amd64"));
    }

    #[test]
    fn the_image_is_measured_by_the_line_about_memory() {
        let line = "[    0.0] Memory: 71944K/130540K available (14343K kernel code, 2338K rwdata, 9116K rodata, 2820K init, 17356K bss, 58340K reserved, 0K cma-reserved)";
        let image = parse(line).image.unwrap();
        assert_eq!(
            [image.code, image.rwdata, image.rodata, image.init, image.bss],
            [14343, 2338, 9116, 2820, 17356]
        );
    }

    #[test]
    fn a_second_boot_starts_afresh() {
        let boot = "Linux version 6.1.1 x\nFreeing initrd memory: 4K\n";
        assert_eq!(parse(&format!("{boot}{boot}")).freed.len(), 1);
        assert_eq!(parse(""), BootLog::default());
    }
}
