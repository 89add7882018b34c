//! `ZONE_MOVABLE`: where it begins on each node.
//!
//! Kernel: `mm/page_alloc.c` (`find_zone_movable_pfns_for_nodes`).
//! Fidelity: faithful — kernel memory is spread evenly over the nodes, what a small node cannot give the others give,
//! starts are aligned to the largest block.

use super::{Core, MemRange, ZoneLimits};
use crate::mm::addr::{Nid, Order, PAGE_SHIFT};

/// An amount of memory as `kernelcore=` and `movablecore=` take it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CoreSize {
    /// Pages.
    Pages(u64),
    /// Percent of all memory.
    Percent(u64),
}

impl CoreSize {
    /// So many bytes, in whole pages (`cmdline_parse_core`).
    pub fn bytes(bytes: u64) -> CoreSize {
        CoreSize::Pages(bytes >> PAGE_SHIFT)
    }

    fn pages(self, total: u64) -> u64 {
        match self {
            CoreSize::Pages(pages) => pages,
            CoreSize::Percent(percent) => total.saturating_mul(percent) / 100,
        }
    }
}

/// A node while kernel memory is dealt out.
struct Dealt<'a> {
    nid: Nid,
    memory: Vec<&'a MemRange>,
    /// Memory below it is the kernel's.
    movable_pfn: u64,
}

/// The first movable frame of each node that has one; `memory` is sorted.
pub(super) fn find_zone_movable_pfns_for_nodes(
    limits: &ZoneLimits,
    memory: &[MemRange],
    core: Core,
) -> Vec<(Nid, u64)> {
    let mut nodes: Vec<Dealt> = Vec::new();
    for range in memory {
        match nodes.iter_mut().find(|n| n.nid == range.nid) {
            Some(node) => node.memory.push(range),
            None => nodes.push(Dealt { nid: range.nid, memory: vec![range], movable_pfn: 0 }),
        }
    }
    nodes.sort_by_key(|n| n.nid);
    if core.movable_node {
        for node in &mut nodes {
            node.movable_pfn = node.memory.iter().find(|r| r.hotplug).map_or(0, |r| r.start);
        }
    } else {
        let total: u64 = memory.iter().map(|r| r.pages()).sum();
        let required = required_kernelcore(core, total);
        if required == 0 || required >= total {
            return Vec::new();
        }
        spread_kernelcore(&mut nodes, usable_startpfn(limits, memory), required);
    }
    let largest = u64::from(Order::MAX.pages());
    let end = |node: &Dealt| node.memory.last().map_or(0, |r| r.end);
    let aligned = nodes.iter().map(|n| (n, n.movable_pfn.next_multiple_of(largest)));
    aligned.filter(|(node, pfn)| *pfn > 0 && *pfn < end(node)).map(|(node, pfn)| (node.nid, pfn)).collect()
}

/// Pages that must stay the kernel's, whichever of the two was said.
fn required_kernelcore(core: Core, total: u64) -> u64 {
    let kernelcore = core.kernelcore.map_or(0, |size| size.pages(total));
    match core.movablecore.map_or(0, |size| size.pages(total)) {
        0 => kernelcore,
        // Rounded up: the zone is at least as large as was asked for.
        movable => {
            let movable = movable.min(total).next_multiple_of(u64::from(Order::MAX.pages())).min(total);
            kernelcore.max(total - movable)
        }
    }
}

/// Movable memory is cut from the highest zone there is: nothing below that zone can be movable
/// (`find_usable_zone_for_movable`).
fn usable_startpfn(limits: &ZoneLimits, memory: &[MemRange]) -> u64 {
    let (start, end) = (memory.first().map_or(0, |r| r.start), memory.last().map_or(0, |r| r.end));
    let populated = limits.iter().rev().find(|(_, limit)| limit.start.max(start) < limit.end.min(end));
    populated.map_or(0, |(_, limit)| limit.start.max(start))
}

/// Deals kernel memory out to the nodes, evenly; those with more memory take what the others could not.
fn spread_kernelcore(nodes: &mut [Dealt], usable_startpfn: u64, mut required: u64) {
    let mut usable_nodes = nodes.len() as u64;
    loop {
        let mut share = required / usable_nodes;
        for node in nodes.iter_mut() {
            // Less is left than a share: deal the rest out evenly.
            if required < share {
                share = required / usable_nodes;
            }
            let mut remaining = share;
            for range in &node.memory {
                let start = range.start.max(node.movable_pfn);
                if start >= range.end {
                    continue;
                }
                // Below the zone that movable memory is cut from, all memory is the kernel's.
                let low = range.end.min(usable_startpfn).saturating_sub(start);
                remaining = remaining.saturating_sub(low);
                required = required.saturating_sub(low);
                if range.end <= usable_startpfn {
                    node.movable_pfn = range.end;
                    continue;
                }
                let start = start.max(usable_startpfn);
                let taken = remaining.min(range.end - start);
                node.movable_pfn = start + taken;
                required = required.saturating_sub(taken);
                remaining -= taken;
                if remaining == 0 {
                    break;
                }
            }
        }
        usable_nodes -= 1;
        if usable_nodes == 0 || required <= usable_nodes {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mm::config::Arch;
    use crate::mm::mm_init::zone_limits;

    const GIB: u64 = 1 << 18;

    fn nodes(sizes: &[(u64, u64)]) -> Vec<MemRange> {
        let range = |(n, (start, end)): (usize, &(u64, u64))| MemRange {
            start: *start,
            end: *end,
            nid: Nid(n as u8),
            hotplug: n > 0,
        };
        sizes.iter().enumerate().map(range).collect()
    }

    fn starts(arch: Arch, memory: &[MemRange], core: Core) -> Vec<(u8, u64)> {
        let found = find_zone_movable_pfns_for_nodes(&zone_limits(arch), memory, core);
        found.into_iter().map(|(nid, pfn)| (nid.0, pfn)).collect()
    }

    fn movablecore(size: CoreSize) -> Core {
        Core { movablecore: Some(size), ..Core::default() }
    }

    #[test]
    fn the_end_of_memory_is_movable() {
        let one = nodes(&[(0x100, GIB)]);
        assert_eq!(starts(Arch::X86_64, &one, movablecore(CoreSize::Pages(GIB / 4))), [(0, GIB / 4 * 3)]);
        // Rounded so that at least as much is movable, then the start up to a block of the largest order.
        let some = starts(Arch::X86_64, &one, movablecore(CoreSize::Pages(1000)));
        assert_eq!(some, [(0, GIB - 1024)]);
        assert_eq!(starts(Arch::X86_64, &one, movablecore(CoreSize::Percent(50)))[0].1 % 1024, 0);
        assert_eq!(starts(Arch::X86_64, &one, Core::default()), []);
        // More than there is: everything but what lies below the zone.
        assert_eq!(starts(Arch::X86_64, &one, movablecore(CoreSize::Pages(4 * GIB))), []);
        let kernelcore = Core { kernelcore: Some(CoreSize::Pages(GIB)), ..Core::default() };
        assert_eq!(starts(Arch::X86_64, &one, kernelcore), []);
    }

    #[test]
    fn nothing_below_the_highest_zone_is_movable() {
        let high = nodes(&[(0x100, GIB)]);
        // 896 MiB are low: only the 128 MiB above can be movable.
        let all = starts(Arch::I386, &high, movablecore(CoreSize::Percent(90)));
        assert_eq!(all, [(0, 896 << 8)]);
    }

    #[test]
    fn kernel_memory_is_spread_over_the_nodes() {
        let two = nodes(&[(0x100, GIB), (GIB, 2 * GIB)]);
        let kernelcore = |pages| Core { kernelcore: Some(CoreSize::Pages(pages)), ..Core::default() };
        assert_eq!(starts(Arch::X86_64, &two, kernelcore(GIB)), [(0, GIB / 2 + 1024), (1, GIB + GIB / 2)]);
        // A node of 256 MiB cannot give its half: the other one gives more.
        let uneven = nodes(&[(0x100, GIB / 4), (GIB / 4, 4 * GIB)]);
        assert_eq!(starts(Arch::X86_64, &uneven, kernelcore(GIB)), [(1, GIB + 1024)]);
    }

    #[test]
    fn hotpluggable_memory_is_movable_with_movable_node() {
        let two = nodes(&[(0x100, GIB), (GIB, 2 * GIB)]);
        let core = Core { movable_node: true, ..Core::default() };
        assert_eq!(starts(Arch::X86_64, &two, core), [(1, GIB)]);
    }
}
