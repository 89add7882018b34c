//! What takes memory before the buddy allocator has any: the order of `setup_arch` and `mm_core_init`, on memblock.
//!
//! ```text
//!   firmware's memory, the kernel's image, the RAM disk          a machine can be stopped here
//!     → initmem_init      nodes get their memory, a NODE_DATA each
//!     → sparse_init       mem_map: a descriptor for every frame
//!     → free_area_init    zones
//!     → setup_per_cpu_areas
//!     → build_all_zonelists
//!     → alloc_large_system_hash
//!     → swiotlb_init, page tables, whatever else the capture shows as reserved
//!     → memblock_free_all
//! ```
//!
//! Gorman 5. Kernel: `init/main.c`, `arch/x86/kernel/setup.c`, `mm/sparse.c`, `mm/percpu.c`.
//! Fidelity: faithful — order, sizes of what is named, who searches where. Simplified — early page tables and everything
//! else that is not named is one allocation on each node, so large that the sum is what the spec has reserved.

use crate::mm::addr::{Nid, PAGE_SHIFT, PAGE_SIZE};
use crate::mm::config::{Arch, Config, KernelImage};
use crate::mm::errno::Errno;
use crate::mm::memblock::{Memblock, MemblockFlags, Request};
use crate::mm::mm_init::report::{self, Estimate, LargeHash};
use crate::mm::mm_init::{MemRange, free_area_init, limits_of, memory_of};
use std::ops::Range;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// `pg_data_t` with its zones, as the captured kernels allocate it.
const NODE_DATA_BYTES: u64 = 0x2b000;

/// A step of the boot between memblock's first line and its last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Memory learns its nodes; each gets its `pg_data_t`.
    InitmemInit,
    /// The area of the contiguous memory allocator.
    DmaContiguousReserve,
    /// Descriptors of all frames.
    SparseInit,
    /// Zones.
    FreeAreaInit,
    /// A copy of the per-CPU variables for each CPU.
    SetupPerCpuAreas,
    /// The order of zones for every node.
    BuildAllZonelists,
    /// Hash tables of dentries and inodes.
    AllocLargeSystemHash,
    /// Buffers for devices that reach 32 bits only.
    SwiotlbInit,
    /// Everything else.
    Others,
}

impl Step {
    /// The steps in their order.
    pub const ALL: [Step; 9] = [
        Step::InitmemInit,
        Step::DmaContiguousReserve,
        Step::SparseInit,
        Step::FreeAreaInit,
        Step::SetupPerCpuAreas,
        Step::BuildAllZonelists,
        Step::AllocLargeSystemHash,
        Step::SwiotlbInit,
        Step::Others,
    ];

    /// The kernel's function.
    pub fn name(self) -> &'static str {
        match self {
            Step::InitmemInit => "initmem_init",
            Step::DmaContiguousReserve => "dma_contiguous_reserve",
            Step::SparseInit => "sparse_init",
            Step::FreeAreaInit => "free_area_init",
            Step::SetupPerCpuAreas => "setup_per_cpu_areas",
            Step::BuildAllZonelists => "build_all_zonelists",
            Step::AllocLargeSystemHash => "alloc_large_system_hash",
            Step::SwiotlbInit => "swiotlb_init",
            Step::Others => "early_alloc",
        }
    }

    /// Does it, and answers what the kernel says.
    ///
    /// # Errors
    /// The kernel's last words, when memory it needs is not there.
    pub fn run(self, spec: &Config, memblock: &mut Memblock) -> Result<Vec<String>, String> {
        memblock.caller = self.name();
        let done = match self {
            Step::InitmemInit => initmem_init(spec, memblock),
            Step::DmaContiguousReserve => dma_contiguous_reserve(spec, memblock),
            Step::SparseInit => sparse_init(spec, memblock),
            Step::FreeAreaInit => Ok(free_area_lines(spec, memblock)),
            Step::SetupPerCpuAreas => setup_per_cpu_areas(spec, memblock),
            Step::BuildAllZonelists => Ok(build_all_zonelists(spec, memblock)),
            Step::AllocLargeSystemHash => alloc_large_system_hash(spec, memblock),
            Step::SwiotlbInit => swiotlb_init(spec, memblock),
            Step::Others => others(spec, memblock),
        };
        memblock.caller = "script";
        done
    }
}

/// True for a machine whose kernel was captured: sizes are that kernel's own.
fn is_captured(spec: &Config) -> bool {
    spec.early.image.is_some()
}

/// Memblock as it stands when the architecture has told it about memory, the kernel and the RAM disk.
pub fn setup(spec: &Config) -> Memblock {
    let mut memblock = Memblock::new(spec.arch);
    memblock.debug = spec.memblock_debug;
    memblock.movable_node = spec.core.movable_node;
    let pc = matches!(spec.arch, Arch::X86_64 | Arch::I386 | Arch::I386Pae);
    memblock.caller = match spec.arch {
        Arch::Arm64 | Arch::Arm => "early_init_dt_add_memory_arch",
        Arch::Uml => "setup_physmem",
        _ => "e820__memblock_setup",
    };
    let memory = memory_of(spec);
    // The lists in the kernel's image are large enough for any captured machine; a spec may have more ranges.
    let mut refused = Ok(());
    for range in &memory {
        refused = refused.and(memblock.add(range.start << PAGE_SHIFT, range_bytes(range), None));
    }
    if let Some(high) = lowmem_end(spec) {
        memblock.current_limit = high << PAGE_SHIFT;
    }
    memblock.caller = "setup_arch";
    let image = image(spec);
    if image.end_pfn > image.start_pfn {
        let (start, end) = (image.start_pfn << PAGE_SHIFT, image.end_pfn << PAGE_SHIFT);
        refused = refused.and(memblock.reserve(start, end - start));
        refused = refused.and(around_the_image(spec, &mut memblock, end));
    }
    if pc {
        refused = refused.and(memblock.reserve(0, MIB));
    }
    if let Some((start, end)) = spec.early.ramdisk {
        refused = refused.and(memblock.reserve(start << PAGE_SHIFT, (end - start) << PAGE_SHIFT));
    }
    debug_assert_eq!(refused, Ok(()));
    memblock.caller = "script";
    memblock
}

/// What belongs to a captured image and does not show in iomem.
fn around_the_image(spec: &Config, memblock: &mut Memblock, end: u64) -> Result<(), Errno> {
    /// The brk section behind an x86_64 image: first page tables, DMI tables.
    const BRK: u64 = 17 * PAGE_SIZE;
    /// The first page tables of arm64, given back once the final ones are made.
    const INIT_PG_DIR: u64 = 5 * PAGE_SIZE;
    match spec.arch {
        Arch::X86_64 if is_captured(spec) => memblock.reserve(end, BRK),
        Arch::Arm64 if is_captured(spec) => memblock.phys_free(end - INIT_PG_DIR, INIT_PG_DIR),
        _ => Ok(()),
    }
}

fn range_bytes(range: &MemRange) -> u64 {
    (range.end - range.start) << PAGE_SHIFT
}

/// The first frame that the kernel does not map for good, on machines with HighMem.
fn lowmem_end(spec: &Config) -> Option<u64> {
    let limits = limits_of(spec);
    limits.iter().find(|l| l.0 == crate::mm::config::ZoneType::HighMem).map(|l| l.1.start)
}

/// The kernel's image: the captured one, or one as large as the spec leaves room for.
pub fn image(spec: &Config) -> KernelImage {
    match spec.early.image {
        Some(image) if image.end_pfn > image.start_pfn => image,
        // Its parts were captured, its place was not.
        Some(image) => {
            let KernelImage { start_pfn, end_pfn, .. } = plain_image(spec);
            KernelImage { start_pfn, end_pfn, ..image }
        }
        None => plain_image(spec),
    }
}

/// An image with the proportions of the captured kernel of 6.1, of most of what the first node has reserved.
fn plain_image(spec: &Config) -> KernelImage {
    let Some(node) = spec.nodes.iter().find(|n| n.zones.iter().any(|z| z.present > 0)) else {
        return KernelImage::default();
    };
    let taken: u64 = node.zones.iter().map(|z| z.present - z.managed).sum();
    let frames: u64 = node.zones.iter().map(|z| z.present).sum();
    let memory = memory_of(spec);
    let below = |r: &MemRange| r.end.min(0x100).saturating_sub(r.start);
    let pc = matches!(spec.arch, Arch::X86_64 | Arch::I386 | Arch::I386Pae);
    let low: u64 = if pc { memory.iter().map(below).sum() } else { 0 };
    let described = match spec.arch.section_pages() {
        Some(_) => frames,
        None => {
            node.zones.iter().filter(|z| z.present > 0).map(|z| z.start_pfn + z.spanned).max().unwrap_or(0)
        }
    };
    let memmap = (described * spec.arch.page_struct_bytes()).div_ceil(PAGE_SIZE);
    let pages = taken.saturating_sub(low + memmap) * 3 / 4;
    // A PC's kernel is loaded at 16 MiB, however much memory lies above 4 GiB.
    let within_reach = |r: &&MemRange| !pc || r.start < 0x1000;
    let main = memory
        .iter()
        .filter(within_reach)
        .max_by_key(|r| (r.nid == node.nid, r.end - r.start))
        .map_or(0..0, |r| r.start..r.end);
    let wanted = match spec.arch {
        _ if pc && main.end >= 0x4000 => 0x1000,
        _ if pc => 0x100,
        Arch::Arm64 => main.start + 0x210,
        Arch::Arm => main.start + 8,
        _ => main.start,
    };
    let start = wanted.max(main.start).min(main.end.saturating_sub(pages));
    // Code, written data, constants, init, zeros, in kB.
    let parts: [u64; 5] = match spec.arch {
        Arch::X86_64 => [14343, 2338, 9116, 2820, 17356],
        Arch::I386 | Arch::I386Pae | Arch::Arm => [9327, 1246, 3188, 912, 464],
        Arch::Arm64 => [13248, 2806, 9504, 6464, 627],
        Arch::Uml => [6634, 1490, 2112, 211, 306],
    };
    let all: u64 = parts.iter().sum();
    let [code, rwdata, rodata, init, bss] = parts.map(|part| part * (pages << (PAGE_SHIFT - 10)) / all);
    KernelImage { start_pfn: start, end_pfn: start + pages, code, rwdata, rodata, init, bss }
}

/// The memory that memblock has, by node; what no node was named for belongs to the nearest one.
pub fn node_memory(spec: &Config, memblock: &Memblock) -> Vec<MemRange> {
    let mut known = memblock.clone();
    known.debug = false;
    if known.memory.regions.iter().any(|r| r.nid.is_none()) {
        register_nodes(spec, &mut known);
    }
    let mut ranges: Vec<MemRange> = Vec::new();
    for region in &known.memory.regions {
        // Half a page at either end is no page.
        let (start, end) = (region.base.div_ceil(PAGE_SIZE), region.end() >> PAGE_SHIFT);
        if start < end {
            let nid = region.nid.unwrap_or_else(|| nearest_node(spec, start));
            let hotplug = region.flags.has(MemblockFlags::HOTPLUG);
            ranges.push(MemRange { start, end, nid, hotplug });
        }
    }
    ranges
}

/// Gives the memory that firmware described its nodes (`numa_register_memblks`).
fn register_nodes(spec: &Config, memblock: &mut Memblock) {
    for range in memory_of(spec) {
        let whole = range.start << PAGE_SHIFT..range.end << PAGE_SHIFT;
        let unnamed: Vec<Range<u64>> = memblock
            .memory
            .regions
            .iter()
            .filter(|r| r.nid.is_none())
            .map(|r| r.base.max(whole.start)..r.end().min(whole.end))
            .filter(|r| r.start < r.end)
            .collect();
        for part in unnamed {
            // An array that cannot grow leaves the memory without a name: the nearest node has it.
            let _ = memblock.set_node(part.start, part.end - part.start, Some(range.nid));
        }
    }
}

fn nearest_node(spec: &Config, pfn: u64) -> Nid {
    let away = |r: &MemRange| if pfn < r.start { r.start - pfn } else { (pfn + 1).saturating_sub(r.end) };
    memory_of(spec).iter().min_by_key(|r| away(r)).map_or(Nid(0), |r| r.nid)
}

/// The spec with the zones that this memory makes, and nothing in them yet.
pub fn with_zones(spec: &Config, memblock: &Memblock) -> Config {
    let mut config = spec.clone();
    let memory = node_memory(spec, memblock);
    free_area_init(&mut config.nodes, &limits_of(spec), &memory, spec.core);
    for node in &mut config.nodes {
        node.owners = Default::default();
    }
    // Late memory is reserved still: it is freed by its place, not subtracted from what is managed.
    config.late_freed.clear();
    config
}

/// Allocates, or tells what the kernel would say before it stops.
fn take(memblock: &mut Memblock, request: Request) -> Result<u64, String> {
    let caller = memblock.caller;
    memblock.alloc_try_nid(request).map_err(|_| {
        format!(
            "{caller}: Failed to allocate {} bytes align={:#x} nid={}",
            request.size,
            request.align,
            request.nid.map_or("-1".into(), |n| n.to_string())
        )
    })
}

fn initmem_init(spec: &Config, memblock: &mut Memblock) -> Result<Vec<String>, String> {
    register_nodes(spec, memblock);
    let rest: Vec<_> =
        memblock.memory.regions.iter().filter(|r| r.nid.is_none()).map(|r| (r.base, r.size)).collect();
    for (base, size) in rest {
        let nid = nearest_node(spec, base >> PAGE_SHIFT);
        memblock.set_node(base, size, Some(nid)).map_err(|_| "memblock: out of regions".to_string())?;
    }
    let mut lines = Vec::new();
    if !spec.arch.has_numa() {
        return Ok(lines);
    }
    for node in &spec.nodes {
        if !memblock.memory.regions.iter().any(|r| r.nid == Some(node.nid)) {
            continue;
        }
        let bytes = if is_captured(spec) && spec.arch == Arch::Arm64 { 0x2c80 } else { NODE_DATA_BYTES };
        let addr = take(memblock, Request::new(bytes, 64).near(Some(node.nid)))?;
        let last = addr + bytes - 1;
        lines.push(format!("NODE_DATA({}) allocated [mem {addr:#x}-{last:#x}]", node.nid));
    }
    Ok(lines)
}

fn dma_contiguous_reserve(spec: &Config, memblock: &mut Memblock) -> Result<Vec<String>, String> {
    let pages: u64 = spec.nodes.iter().flat_map(|n| &n.zones).map(|z| z.cma).sum();
    if pages == 0 {
        return Ok(Vec::new());
    }
    let request = Request::new(pages << PAGE_SHIFT, 4 * MIB).between(0, 4 * GIB);
    let addr = memblock.alloc_range_nid(request).map_err(|_| "cma: Failed to reserve".to_string())?;
    Ok(vec![format!("cma: Reserved {} MiB at {}", pages >> 8, memblock.pa(addr))])
}

fn sparse_init(spec: &Config, memblock: &mut Memblock) -> Result<Vec<String>, String> {
    let memory = node_memory(spec, memblock);
    for node in &spec.nodes {
        let own: Vec<&MemRange> = memory.iter().filter(|r| r.nid == node.nid).collect();
        let (Some(first), Some(last)) = (own.first(), own.last()) else { continue };
        let frames: u64 = own.iter().map(|r| r.end - r.start).sum();
        let bytes = spec.arch.page_struct_bytes();
        let (size, align) = match spec.arch.section_pages().filter(|_| is_captured(spec)) {
            // Whole sections, each with its part of the array in a page of 2 MiB.
            Some(pages) => {
                let mut sections: Vec<u64> =
                    own.iter().flat_map(|r| r.start / pages..r.end.div_ceil(pages)).collect();
                sections.dedup();
                (sections.len() as u64 * pages * bytes, pages * bytes)
            }
            None if spec.arch.section_pages().is_some() => (frames * bytes, PAGE_SIZE),
            None => ((last.end - first.start) * bytes, 64),
        };
        take(memblock, Request::new(size, align).near(Some(node.nid)).between(16 * MIB, 0))?;
    }
    Ok(Vec::new())
}

/// Zones as they come out now: what `free_area_init` prints.
fn free_area_lines(spec: &Config, memblock: &Memblock) -> Vec<String> {
    report::free_area_lines(&with_zones(spec, memblock), &limits_of(spec), &node_memory(spec, memblock))
}

/// One chunk for the CPUs of each node; what it has beyond their copies is given back (`pcpu_embed_first_chunk`).
fn setup_per_cpu_areas(spec: &Config, memblock: &mut Memblock) -> Result<Vec<String>, String> {
    let pages = match spec.arch {
        Arch::X86_64 => 62,
        Arch::Arm64 => 31,
        Arch::I386 | Arch::I386Pae | Arch::Arm => 33,
        Arch::Uml => return Ok(Vec::new()),
    };
    let copy = pages * PAGE_SIZE;
    let most = spec.nodes.iter().map(|n| n.cpus.len()).max().unwrap_or(1).max(1) as u64;
    for node in spec.nodes.iter().filter(|n| !n.cpus.is_empty()) {
        let cpus = node.cpus.len() as u64;
        if spec.arch != Arch::X86_64 || !is_captured(spec) {
            take(memblock, Request::new(cpus * copy, PAGE_SIZE).near(Some(node.nid)).between(16 * MIB, 0))?;
            continue;
        }
        // x86_64 takes 2 MiB at a time and shares them out among up to eight CPUs.
        let unit = 2 * MIB / most.min(8).next_power_of_two();
        let size = (cpus * unit).next_multiple_of(2 * MIB);
        let addr = take(memblock, Request::new(size, 2 * MIB).near(Some(node.nid)).between(16 * MIB, 0))?;
        for n in 0..size / unit {
            let kept = if n < cpus { copy } else { 0 };
            memblock.phys_free(addr + n * unit + kept, unit - kept).map_err(|_| "percpu: out of regions")?;
        }
    }
    Ok(Vec::new())
}

/// Pages of the lowest zone that are taken already: only x86_64 keeps count of them (`memblock_find_dma_reserve`).
pub fn dma_reserve(spec: &Config, memblock: &Memblock) -> u64 {
    if spec.arch != Arch::X86_64 {
        return 0;
    }
    let limit = (16 * MIB) >> PAGE_SHIFT;
    let present: u64 =
        node_memory(spec, memblock).iter().map(|r| r.end.min(limit).saturating_sub(r.start)).sum();
    let free = memblock.free_ranges(None, MemblockFlags::NONE);
    let free: u64 =
        free.map(|r| (r.end >> PAGE_SHIFT).min(limit).saturating_sub(r.start.div_ceil(PAGE_SIZE))).sum();
    present.saturating_sub(free)
}

fn estimate(spec: &Config, memblock: &Memblock) -> Estimate {
    report::estimate(&with_zones(spec, memblock), dma_reserve(spec, memblock))
}

/// What the kernel counts on, now that it knows its zones.
fn build_all_zonelists(spec: &Config, memblock: &Memblock) -> Vec<String> {
    report::zonelist_lines(&with_zones(spec, memblock), estimate(spec, memblock))
}

fn alloc_large_system_hash(spec: &Config, memblock: &mut Memblock) -> Result<Vec<String>, String> {
    let mut lines = Vec::new();
    // On NUMA they are spread over the nodes later, by vmalloc.
    if spec.nodes.len() == 1 {
        for table in LargeHash::early(spec.arch, estimate(spec, memblock)) {
            take(memblock, Request::new(table.bytes, 64))?;
            lines.push(table.line());
        }
    }
    Ok(lines)
}

fn swiotlb_init(spec: &Config, memblock: &mut Memblock) -> Result<Vec<String>, String> {
    let needed = is_captured(spec)
        && matches!(spec.arch, Arch::X86_64 | Arch::I386Pae)
        && memblock.end_of_dram() > 4 * GIB;
    if needed {
        take(memblock, Request::new(64 * MIB, PAGE_SIZE).between(0, 4 * GIB))?;
    }
    Ok(Vec::new())
}

/// What the spec has reserved on each node and no step above has taken.
fn others(spec: &Config, memblock: &mut Memblock) -> Result<Vec<String>, String> {
    // A boot in which nobody interferes tells how much that is.
    let mut alone = setup(spec);
    alone.debug = false;
    for step in Step::ALL.into_iter().filter(|s| *s != Step::Others) {
        step.run(spec, &mut alone)?;
    }
    for (nid, wanted) in reserved_by_spec(spec) {
        let mut left = wanted.saturating_sub(reserved_pages(&alone, nid)) << PAGE_SHIFT;
        let mut size = left;
        // In pieces, where no hole is large enough for all of it.
        while left > 0 && size >= PAGE_SIZE {
            let request =
                Request { exact_nid: true, ..Request::new(size.min(left), PAGE_SIZE).near(Some(nid)) };
            match memblock.alloc_try_nid(request) {
                Ok(_) => left -= size.min(left),
                Err(_) => size = (size / 2) >> PAGE_SHIFT << PAGE_SHIFT,
            }
        }
    }
    Ok(Vec::new())
}

/// Pages that are reserved on each node when memory is handed over.
fn reserved_by_spec(spec: &Config) -> Vec<(Nid, u64)> {
    let late = |nid: Nid| spec.late_freed.iter().filter(|l| l.node == nid).map(|l| l.pages).sum::<u64>();
    let nodes = spec.nodes.iter().enumerate().map(|(n, node)| {
        let zones: u64 = node.zones.iter().map(|z| z.present - z.managed + z.cma).sum();
        let alternatives = if n == 0 { spec.early.alternatives } else { 0 };
        (node.nid, zones + late(node.nid) + alternatives)
    });
    nodes.collect()
}

/// Pages of a node's memory that are reserved, whole or in part.
fn reserved_pages(memblock: &Memblock, nid: Nid) -> u64 {
    let own = memblock.memory.regions.iter().filter(|r| r.nid == Some(nid));
    let all: u64 = own.map(|r| (r.end() >> PAGE_SHIFT).saturating_sub(r.base.div_ceil(PAGE_SIZE))).sum();
    let free = memblock.free_ranges(Some(nid), MemblockFlags::NONE);
    all - free.map(|r| (r.end >> PAGE_SHIFT).saturating_sub(r.start.div_ceil(PAGE_SIZE))).sum::<u64>()
}

/// The first frame of each node whose descriptor is made later, by threads (`defer_init`): captured kernels of x86_64
/// and arm64 were built with `CONFIG_DEFERRED_STRUCT_PAGE_INIT`.
pub fn first_deferred(config: &Config) -> Vec<(Nid, u64)> {
    let Some(section) = config.arch.section_pages().filter(|_| is_captured(config)) else {
        return Vec::new();
    };
    let last = |n: &crate::mm::config::NodeConfig| n.zones.iter().rfind(|z| z.present > 0).cloned();
    let deferred = config.nodes.iter().filter_map(|node| {
        // Lower zones are always complete; of the highest, one section at least.
        let zone = last(node)?;
        let pfn = (zone.start_pfn + section).next_multiple_of(section);
        (pfn < zone.start_pfn + zone.spanned).then_some((node.nid, pfn))
    });
    deferred.collect()
}
