//! Booting: from a `Config` to a running machine, in the order in which the kernel computes things.
//!
//! ```text
//!   zones (managed without what is freed late)
//!     → min_free_kbytes, watermarks, lowmem_reserve, per-CPU high and batch
//!     → huge pages may raise min_free_kbytes
//!     → late memory freed, nothing recomputed
//!     → occupancy of the spec laid out
//!     → the spec's sysctls and swap areas
//! ```
//!
//! Gorman chapter 5, 2.2. Kernel: `mm/mm_init.c`, `mm/page_alloc.c`, `mm/khugepaged.c`.
//! Fidelity: faithful — moments and formulas; every number of the captured boots follows. Imported — occupancy.

pub mod adopt;
mod areas;
mod cmdline;
mod early;
mod handover;
mod layout;
mod pageblocks;
mod slabs;
mod used;
mod validate;
mod zonelists;

pub use cmdline::kstrtobool;

use crate::mm::addr::{Cpu, Order, PAGE_SHIFT, PAGE_SIZE, Pfn, ZoneId};
use crate::mm::bounce::Bounce;
use crate::mm::compaction::Kcompactd;
use crate::mm::config::{Arch, Config, NodeConfig, Stop, ThpMode, ZoneConfig, ZoneType};
use crate::mm::dcache::Dcache;
use crate::mm::fs::Fs;
use crate::mm::highmem::Highmem;
use crate::mm::lru::Lruvec;
use crate::mm::machine::{Contents, Current, Dice, Machine, Serials};
use crate::mm::memblock::Memblock;
use crate::mm::mm_init::report::{self, LargeHash};
use crate::mm::mm_init::{limits_of, memory_of};
use crate::mm::mmzone::{Node, Pageblocks, Watermarks, Zone};
use crate::mm::page::{MemMap, Span};
use crate::mm::page_alloc::Lane;
use crate::mm::page_alloc::pcp::PerCpuPages;
use crate::mm::page_owner::PageOwners;
use crate::mm::page_poison::PagePoison;
use crate::mm::percpu::Percpu;
use crate::mm::pgtable::{Geometry, Tables};
use crate::mm::pid::PidTable;
use crate::mm::printk::Ratelimits;
use crate::mm::slab_common::Caches;
use crate::mm::slots::Slots;
use crate::mm::stack::Stacks;
use crate::mm::sysctl::Sysctl;
use crate::mm::tlb::Tlb;
use crate::mm::trace::{AllocRecord, FaultRecord, Trace};
use crate::mm::va_layout::Layout;
use crate::mm::vmalloc::VmapAreas;
use crate::mm::vmscan::{Kswapd, shrink_slab};
use crate::mm::vmstat::{NodeStat, Vmstat};
use std::collections::VecDeque;
use std::fmt;

/// Why a spec cannot boot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BootError {
    /// The field: `nodes[0].zones[DMA].managed`.
    pub field: String,
    /// What is wrong, with the number that decided.
    pub what: String,
    /// What to try.
    pub advice: String,
}

impl BootError {
    fn new(field: impl Into<String>, what: impl Into<String>, advice: impl Into<String>) -> BootError {
        BootError { field: field.into(), what: what.into(), advice: advice.into() }
    }
}

impl fmt::Display for BootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.field, self.what, self.advice)
    }
}

impl std::error::Error for BootError {}

/// The pid of the first task; init is 1, kthreadd 2.
const FIRST_PID: u32 = 3;

impl Machine {
    /// Boots a machine.
    ///
    /// # Errors
    /// When the spec contradicts itself: zones overlap, more pages managed than present, no memory, no CPU.
    pub fn boot(config: Config) -> Result<Machine, BootError> {
        validate::validate(&config)?;
        if config.stop == Some(Stop::Memblock) {
            return Ok(Machine::stop_at_memblock(config));
        }
        let mut machine = Machine::assemble(config);
        machine.free_area_init_lines();
        machine.build_all_zonelists();
        machine.print_fallback_orders();
        machine.print_zonelists_and_tables();
        machine.print_memory_of_spec();
        machine.init_per_zone_wmark_min();
        machine.start_thp();
        machine.free_late_memory();
        machine.kmem_cache_init();
        machine.proc_caches_init();
        machine.lay_out_occupancy();
        machine.adopt_shown_state();
        machine.choose_zero_page();
        machine.adopt_anonymous_pages();
        machine.setup_per_cpu_areas();
        machine.make_stack_tables();
        machine.adopt_vmalloc_areas();
        apply(&mut machine)?;
        machine.memblock = machine.memblock_of_spec();
        machine.trace.clear();
        machine.clock = 0;
        machine.set_alarm();
        Ok(machine)
    }

    /// The zones as `free_area_init` tells them.
    fn free_area_init_lines(&mut self) {
        let memory = memory_of(&self.config);
        let lines = report::free_area_lines(&self.config, &limits_of(&self.config), &memory);
        lines.into_iter().for_each(|line| self.printk(line));
    }

    /// The kernel's estimate of its memory, and the tables that it sizes by it.
    fn print_zonelists_and_tables(&mut self) {
        let config = &self.config;
        let dma = |n: &NodeConfig| {
            n.zones.iter().find(|z| z.kind == ZoneType::Dma).map_or(0, |z| z.present - z.managed)
        };
        let taken: u64 = config.nodes.iter().map(dma).sum();
        let estimate = report::estimate(config, if config.arch == Arch::X86_64 { taken } else { 0 });
        let mut lines = report::zonelist_lines(config, estimate);
        if config.nodes.len() == 1 {
            lines.extend(LargeHash::early(config.arch, estimate).iter().map(LargeHash::line));
        }
        lines.into_iter().for_each(|line| self.printk(line));
    }

    /// What memblock would show of a machine that was not stopped there: memory, and the frames it never handed over.
    fn memblock_of_spec(&self) -> Memblock {
        let mut memblock = Memblock::new(self.config.arch);
        let mut known = Ok(());
        for range in memory_of(&self.config) {
            let (base, end) = (range.start << PAGE_SHIFT, range.end << PAGE_SHIFT);
            known = known.and(memblock.add(base, end - base, Some(range.nid)));
            for &(start, end) in self.mem_map.reserved() {
                let (start, end) = (range.start.max(start.into()), range.end.min(end.into()));
                if start < end {
                    known = known.and(memblock.reserve(start << PAGE_SHIFT, (end - start) << PAGE_SHIFT));
                }
            }
        }
        memblock
    }

    /// Nodes and zones as the firmware describes them, with nothing computed yet.
    fn assemble(config: Config) -> Machine {
        Machine::assemble_with(config, None)
    }

    /// The same, with the frames that the buddy allocator does not get where they are known.
    fn assemble_with(config: Config, known: Option<Vec<(u32, u32)>>) -> Machine {
        let cpus = config.nodes.iter().flat_map(|n| &n.cpus).map(|c| usize::from(*c) + 1).max().unwrap_or(1);
        let (nodes, mut zones) = assemble_nodes(&config, cpus);
        hold_back_late_memory(&config, &mut zones);
        let mem_map = assemble_mem_map(&config, known);
        // A hole at the end has pageblocks, too.
        let end_pfn = zones.iter().map(Zone::end_pfn).max().unwrap_or(0).max(mem_map.end_pfn());
        let first_cpu = config.nodes.iter().flat_map(|n| &n.cpus).min().copied().unwrap_or(0);
        let layout = Layout::new(&config);
        let mut tables = Tables::new(Geometry::of(config.arch, config.la57));
        let init_mm = tables.insert_upper(Pfn(0), tables.geometry.top());
        let mut machine = Machine {
            pageblocks: Pageblocks::new(config.pageblock_order, end_pfn),
            mem_map,
            nodes,
            zones,
            sysctl: Sysctl::new(&config),
            thp: ThpMode::Never,
            totalreserve_pages: 0,
            vmstat: Vmstat::default(),
            trace: Trace::default(),
            last_alloc: AllocRecord::default(),
            lane: Lane::default(),
            clock: 0,
            cpu: Cpu(first_cpu),
            home: config.nodes.iter().position(|n| n.cpus.contains(&first_cpu)).unwrap_or(0),
            current: Current::default(),
            dice: Dice::new(config.seed),
            caches: Caches::new(config.slab, cpus),
            contents: Contents::default(),
            serials: Serials::default(),
            log: VecDeque::new(),
            ratelimits: Ratelimits::default(),
            fail_in: config.fail_nth,
            fail_times: 1,
            tables,
            init_mm,
            vmalloc: VmapAreas::new(&layout.vmalloc),
            highmem: Highmem::new(((layout.pkmap.end - layout.pkmap.start) / PAGE_SIZE) as usize, cpus),
            layout,
            sync_kernel_mappings: false,
            last_vmalloc_fault: None,
            nr_vmalloc_faults: 0,
            vmas: Slots::default(),
            anon_vmas: Slots::default(),
            mms: Slots::default(),
            tasks: PidTable::default(),
            nr_threads: 0,
            next_pid: FIRST_PID,
            stacks: Stacks::new(cpus),
            mempools: Slots::default(),
            dcache: Dcache::new(config.nodes.len()),
            shrinkers: vec![shrink_slab::super_block(config.nodes.len())],
            kernel_caches: Default::default(),
            objects: Default::default(),
            percpu: Percpu::default(),
            next_ctx_id: 0,
            next_tag: 0,
            mapped_files: Vec::new(),
            randomize_va_space: 0,
            tlbs: vec![Tlb::default(); cpus],
            zero_pfn: Pfn::NIL,
            committed_as: 0,
            last_fault: FaultRecord::default(),
            faulting: None,
            files: Slots::default(),
            huge_zero: None,
            fs: Fs::default(),
            shm: Default::default(),
            swap: Vec::new(),
            swap_turn: 0,
            io: VecDeque::new(),
            device_free_at: 0,
            bounce: Bounce::default(),
            alarm: 0,
            lumpy_reclaim: false,
            page_owner: PageOwners::default(),
            page_poison: PagePoison::default(),
            stray_writes: false,
            debug_pages: false,
            in_background: false,
            background_lazy: false,
            lazyfree: Vec::new(),
            isolated: Vec::new(),
            ooms: Vec::new(),
            refused: None,
            tainted: 0,
            panicked: None,
            memblock: Memblock::new(config.arch),
            early: None,
            origin: None,
            config,
        };
        machine.tables.upper_mut(init_mm).pfn = machine.kernel_table_frame();
        machine
    }

    /// khugepaged starts, unless memory is small; it may raise `min_free_kbytes` (`hugepage_init`).
    fn start_thp(&mut self) {
        /// Below 512 MiB huge pages are switched off.
        const LEAST_PAGES: u64 = 512 << 8;
        let Some(mode) = self.config.thp else { return };
        self.thp = if self.totalram_pages() < LEAST_PAGES { ThpMode::Never } else { mode };
        if self.thp_enabled() {
            self.set_recommended_min_free_kbytes();
        }
    }

    /// Late memory joins its zones; watermarks stay as they are.
    fn free_late_memory(&mut self) {
        for late in self.config.late_freed.clone() {
            if let Some(zone) = self.zones.iter_mut().find(|z| z.node == late.node && z.kind == late.zone) {
                zone.managed_pages += late.pages;
            }
            self.printk(format!("Freeing {} memory: {}K", late.what, late.pages * 4));
        }
    }

    /// A bare zoneinfo is taken as the state it shows.
    fn adopt_shown_state(&mut self) {
        for zone in 0..self.zones.len() {
            let (node, index) =
                (self.zones[zone].pgdat, zone - self.nodes[self.zones[zone].pgdat].zones[0].index());
            let Some(shown) = self.config.nodes[node].zones[index].shown.clone() else { continue };
            let kinds = self.config.arch.zone_types();
            let zone = &mut self.zones[zone];
            let step = shown.high.saturating_sub(shown.low);
            zone.watermark =
                Watermarks { min: shown.min, low: shown.low, high: shown.high, promo: shown.high + step };
            zone.watermark_boost = shown.boost;
            zone.nr_reserved_highatomic = shown.highatomic;
            zone.numa = shown.numa;
            for (kind, pages) in kinds.iter().zip(&shown.protection) {
                zone.lowmem_reserve[*kind as usize] = *pages;
            }
            for pcp in &mut zone.pageset {
                pcp.high = shown.pcp_high;
                pcp.batch = shown.pcp_batch.max(1);
                pcp.set_full(false);
            }
        }
        self.close_lane();
        self.calculate_totalreserve_pages();
        let shown = |n: &NodeConfig| n.zones.iter().any(|z| z.shown.is_some());
        if self.config.nodes.iter().any(shown) {
            // The value that these watermarks were computed from.
            let low = |z: &&Zone| !self.is_highmem(z);
            self.sysctl.min_free_kbytes = self.zones.iter().filter(low).map(|z| z.watermark.min * 4).sum();
        }
    }

    /// The page of zeros lies in the kernel's image: the first reserved frame that exists.
    fn choose_zero_page(&mut self) {
        let reserved = self.mem_map.reserved().iter().map(|r| Pfn(r.0));
        self.zero_pfn = reserved.into_iter().find(|p| self.mem_map.contains(*p)).unwrap_or(Pfn(0));
    }

    fn apply_spec_swap(&mut self) -> Result<(), BootError> {
        for area in self.config.swap.clone() {
            let field = format!("swap.{}", area.name);
            self.swapon(&area).map_err(|e| {
                BootError::new(field, e.to_string(), "give it a name of its own and at least one page")
            })?;
        }
        Ok(())
    }

    fn apply_spec_sysctls(&mut self) -> Result<(), BootError> {
        for (name, value) in self.config.sysctl.clone() {
            self.set_sysctl(&name, &value).map_err(|e| {
                BootError::new(format!("sysctl.{name}"), e.to_string(), "correct the value or leave it out")
            })?;
        }
        Ok(())
    }

    /// True unless huge pages are absent or switched off.
    pub fn thp_enabled(&self) -> bool {
        self.config.thp.is_some() && self.thp != ThpMode::Never
    }

    /// Switches transparent huge pages, which recomputes `min_free_kbytes` (`enabled_store`).
    pub fn set_thp(&mut self, mode: ThpMode) {
        if self.config.thp.is_none() {
            return;
        }
        let before = self.thp_enabled();
        self.thp = mode;
        // start_stop_khugepaged: between always and madvise nothing changes, but raising is tried again.
        if self.thp_enabled() || before || mode == ThpMode::Never {
            self.set_recommended_min_free_kbytes();
        }
    }
}

/// The spec's own settings come last.
fn apply(machine: &mut Machine) -> Result<(), BootError> {
    machine.limit_tmpfs();
    machine.apply_spec_sysctls()?;
    machine.apply_spec_swap()?;
    machine.apply_cmdline();
    Ok(())
}

/// Every node with the numbers of its zones, and the zones of all.
fn assemble_nodes(config: &Config, cpus: usize) -> (Vec<Node>, Vec<Zone>) {
    let (mut nodes, mut zones) = (Vec::new(), Vec::new());
    for (pgdat, node) in config.nodes.iter().enumerate() {
        let first = zones.len();
        for zone in &node.zones {
            zones.push(assemble_zone(zone, ZoneId(zones.len() as u16), node, pgdat, cpus));
        }
        nodes.push(Node {
            nid: node.nid,
            cpus: node.cpus.clone(),
            distances: node.distances.clone(),
            zones: (first..zones.len()).map(|z| ZoneId(z as u16)).collect(),
            zonelists: Default::default(),
            this_node: Default::default(),
            stat: [0; NodeStat::COUNT],
            lruvec: Lruvec::default(),
            kswapd: Kswapd::default(),
            kcompactd: Kcompactd::default(),
        });
    }
    (nodes, zones)
}

fn assemble_zone(config: &ZoneConfig, id: ZoneId, node: &NodeConfig, pgdat: usize, cpus: usize) -> Zone {
    let mut zone = Zone::empty(id, config.kind, node.nid, pgdat);
    zone.zone_start_pfn = config.start_pfn as u32;
    zone.spanned_pages = config.spanned;
    zone.present_pages = config.present;
    zone.managed_pages = config.managed;
    zone.cma_pages = config.cma;
    if config.present > 0 {
        zone.pageset = vec![PerCpuPages::default(); cpus];
    }
    zone
}

/// What is freed late in the boot is not managed while watermarks are computed.
fn hold_back_late_memory(config: &Config, zones: &mut [Zone]) {
    for late in &config.late_freed {
        if let Some(zone) = zones.iter_mut().find(|z| z.node == late.node && z.kind == late.zone) {
            zone.managed_pages -= late.pages.min(zone.managed_pages);
        }
    }
}

/// Descriptors where there is memory; `known` are the frames that the buddy allocator does not get, else those of the spec.
fn assemble_mem_map(config: &Config, known: Option<Vec<(u32, u32)>>) -> MemMap {
    let zones = || config.nodes.iter().flat_map(|node| &node.zones);
    let spans = zones().enumerate().flat_map(|(n, zone)| present_spans(zone, ZoneId(n as u16))).collect();
    let of_spec = || zones().flat_map(used::reserved_ranges).collect();
    MemMap::new(spans, known.unwrap_or_else(of_spec))
}

/// The parts of a zone's span where it has memory.
fn present_spans(zone: &ZoneConfig, id: ZoneId) -> Vec<Span> {
    let mut spans = Vec::new();
    let mut at = zone.start_pfn;
    let mut holes = zone.holes.clone();
    holes.sort_unstable();
    for (start, len) in holes {
        // Holes of a few pages keep their descriptors, as in the kernel; large ones are no part of the zone.
        if len >= u64::from(Order::PAGEBLOCK.pages()) && start > at {
            spans.push(Span { start: at as u32, end: start as u32, zone: id });
            at = start + len;
        } else if len >= u64::from(Order::PAGEBLOCK.pages()) {
            at = at.max(start + len);
        }
    }
    let end = zone.start_pfn + zone.spanned;
    if end > at {
        spans.push(Span { start: at as u32, end: end as u32, zone: id });
    }
    spans
}
