//! The first chunk: units that lie in what the kernel kept of each node, and what the kernel puts there itself.
//!
//! Kernel: `mm/percpu.c` (`pcpu_embed_first_chunk`, `pcpu_build_alloc_info`), `arch/x86/kernel/setup_percpu.c`.
//! Fidelity: imported — sizes, by architecture. Simplified — units lie in the largest range that the kernel kept of each
//! node; what the kernel itself allocated before the prompt is one block.

use super::{Chunk, PCPU_EMPTY_POP_PAGES_LOW, PMD_SIZE, Percpu};
use crate::mm::addr::{PAGE_SHIFT, PAGE_SIZE, Pfn, PhysAddr, VirtAddr};
use crate::mm::config::{Arch, ZoneType};
use crate::mm::machine::Machine;
use crate::mm::page::PageFlags;
use std::collections::{BTreeMap, BTreeSet};

/// Sizes of a unit of the first chunk (`pcpu-alloc: s… r… d…` in the boot log), and what the kernel used by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnitLayout {
    /// Variables that were declared with `DEFINE_PER_CPU`.
    pub static_size: u64,
    /// For variables of modules.
    pub reserved_size: u64,
    /// For `alloc_percpu`.
    pub dyn_size: u64,
    /// Bytes of the dynamic part and beyond that the kernel has allocated when the prompt appears.
    kernel: u64,
}

impl UnitLayout {
    /// The sizes that a kernel of this architecture prints.
    pub fn of(arch: Arch) -> UnitLayout {
        let layout = |static_size, reserved_size, dyn_size, kernel| UnitLayout {
            static_size,
            reserved_size,
            dyn_size,
            kernel,
        };
        match arch {
            // The part for boot is used up, and a first page of the next chunk is begun.
            Arch::X86_64 => layout(217_088, 8192, 28_672, 28_672 + 2048),
            Arch::Arm64 => layout(87_208, 8192, 31_576, 31_576 + 2048),
            Arch::I386 => layout(103_316, 0, 31_852, 20 << 10),
            Arch::I386Pae | Arch::Arm => layout(104_276, 0, 30_892, 20 << 10),
            Arch::Uml => layout(0, 0, 32_768, 16 << 10),
        }
    }

    /// Bytes of a unit that are in use or can be.
    pub fn size(self) -> u64 {
        self.static_size + self.reserved_size + self.dyn_size
    }
}

impl Machine {
    /// Lays out the first chunk, and what the kernel allocates before anybody can ask (`setup_per_cpu_areas`).
    pub(crate) fn setup_per_cpu_areas(&mut self) {
        let layout = UnitLayout::of(self.config.arch);
        let nodes: Vec<usize> = (0..self.nodes.len()).filter(|n| !self.nodes[*n].cpus.is_empty()).collect();
        let most = nodes.iter().map(|n| self.nodes[*n].cpus.len() as u64).max().unwrap_or(1);
        let (unit_size, atom) = match self.config.arch {
            // Units share pages of 2 MiB.
            Arch::X86_64 => {
                ((PMD_SIZE / most.next_power_of_two()).max(layout.size().next_power_of_two()), PMD_SIZE)
            }
            _ => (layout.size().next_multiple_of(PAGE_SIZE), PAGE_SIZE),
        };
        let mut kept: Vec<(u64, u64)> = self.kept_ranges();
        let mut groups = Vec::new();
        for &node in &nodes {
            let bytes = self.nodes[node].cpus.len() as u64 * unit_size;
            groups.push((node, self.take_kept(&mut kept, node, bytes, atom)));
        }
        let backed = groups.iter().all(|group| group.1.is_some());
        let mut units = Vec::new();
        for (turn, (node, start)) in groups.into_iter().enumerate() {
            let start =
                start.filter(|_| backed).unwrap_or_else(|| self.end_of_low_memory() + turn as u64 * PMD_SIZE);
            for (n, cpu) in self.nodes[node].cpus.iter().enumerate() {
                units.push((*cpu, self.phys_to_virt(PhysAddr(start + n as u64 * unit_size)).0, node));
            }
        }
        let base = units.iter().map(|unit| unit.1).min().unwrap_or(0);
        units.sort_unstable();
        for unit in &mut units {
            unit.1 -= base;
        }
        let room = (layout.static_size + layout.reserved_size, layout.size());
        let first =
            Chunk { base: VirtAddr(base), room, areas: BTreeMap::new(), pages: BTreeMap::new(), first: true };
        self.percpu = Percpu {
            layout,
            unit_size,
            base: VirtAddr(base),
            units,
            backed,
            chunks: vec![first],
            ..Percpu::default()
        };
        self.allocate_for_kernel(layout.kernel);
    }

    /// The kernel's own variables: the first chunk, and what did not fit there.
    fn allocate_for_kernel(&mut self, bytes: u64) {
        let percpu = &mut self.percpu;
        // Without frames of its own the first chunk gives nothing to anybody else.
        let own = if percpu.backed { bytes.min(percpu.layout.dyn_size) } else { percpu.layout.dyn_size };
        let start = percpu.chunks[0].room.0;
        percpu.chunks[0].areas.insert(start, own);
        let beyond = bytes.saturating_sub(percpu.layout.dyn_size);
        if beyond == 0 && percpu.backed {
            return;
        }
        let chunk = self.create_chunk();
        // These pages are among those that the spec has counted as used: they only get their owner here.
        let pages = 1 + PCPU_EMPTY_POP_PAGES_LOW;
        let cpus = self.percpu.units.len() as u64;
        let mut frames = self.unowned_frames((pages * cpus) as usize).into_iter();
        if frames.len() as u64 == pages * cpus {
            for page in 0..pages {
                let own: Vec<Pfn> = frames.by_ref().take(cpus as usize).collect();
                self.percpu.chunks[chunk].pages.insert(page, own);
            }
            if beyond > 0 {
                self.percpu.chunks[chunk].areas.insert(0, beyond);
            }
        }
    }

    /// Frames that are in use from boot on and belong to nobody in particular.
    pub(crate) fn unowned_frames(&self, most: usize) -> Vec<Pfn> {
        let chunks = self.percpu.chunks.iter().flat_map(|chunk| chunk.pages.values().flatten());
        let of_chunks: BTreeSet<Pfn> = chunks.copied().collect();
        let unowned = |pfn: &Pfn| {
            let page = self.mem_map.page(*pfn);
            let zone = self.zones[page.zone().index()].kind;
            page.refcount == 1
                && page.flags() == PageFlags::NONE
                && page.page_type().is_none()
                && zone != ZoneType::HighMem
                && !of_chunks.contains(pfn)
        };
        // The highest ones: what is low is easily somebody's who does not say so.
        let mut frames: Vec<Pfn> = self.mem_map.touched().filter(unowned).collect();
        frames.split_off(frames.len().saturating_sub(most))
    }

    /// Ranges of the direct map that the buddy allocator never got: physical addresses.
    fn kept_ranges(&self) -> Vec<(u64, u64)> {
        let low = |pfn: u32| {
            let zone = self.mem_map.zone_of(Pfn(pfn)).map(|id| self.zones[id.index()].kind);
            zone.is_some_and(|kind| kind != ZoneType::HighMem)
        };
        let ranges = self.mem_map.reserved().iter().filter(|(start, end)| low(*start) && low(end - 1));
        ranges.map(|(start, end)| (u64::from(*start) << PAGE_SHIFT, u64::from(*end) << PAGE_SHIFT)).collect()
    }

    /// Takes the end of a node's largest kept range, or of the largest of all.
    fn take_kept(&self, kept: &mut [(u64, u64)], node: usize, bytes: u64, align: u64) -> Option<u64> {
        let start_in = |range: &(u64, u64)| {
            let start = range.1.checked_sub(bytes)? & !(align - 1);
            (start >= range.0).then_some(start)
        };
        let on_node = |range: &(u64, u64)| {
            let zone = self.mem_map.zone_of(Pfn((range.0 >> PAGE_SHIFT) as u32));
            zone.is_some_and(|id| self.zones[id.index()].pgdat == node)
        };
        let fitting = kept.iter().enumerate().filter_map(|(n, range)| Some((n, *range, start_in(range)?)));
        let (n, _, start) = fitting.max_by_key(|(_, range, _)| (on_node(range), range.1 - range.0))?;
        kept[n].1 = start;
        Some(start)
    }

    fn end_of_low_memory(&self) -> u64 {
        let low = self.zones.iter().filter(|z| z.is_populated() && z.kind != ZoneType::HighMem);
        u64::from(low.map(|z| z.end_pfn()).max().unwrap_or(0)) << PAGE_SHIFT
    }
}
