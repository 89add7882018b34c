//! A machine stopped at memblock, and the hand-over of its memory to the buddy allocator.
//!
//! ```text
//!   memory  ├──────────────────────────────┤
//!   reserved   ├──┤      ├───┤          ├─┤
//!   handed  ├─┤    ├────┤     ├────────┤        each part in the largest aligned blocks that fit
//! ```
//!
//! Gorman 5.4, "Retiring the boot memory allocator". Kernel: `mm/memblock.c` (`memblock_free_all`),
//! `mm/page_alloc.c` (`__free_pages_core`, `free_reserved_area`, `init_cma_reserved_pageblock`).
//! Fidelity: faithful — blocks, their order, reserved pages, managed pages, what is freed late. Simplified — all
//! descriptors exist at the hand-over; only the line `Memory: …` counts as if some were made later. Until
//! `free_area_init` runs, zones are shown as firmware's memory makes them.

use super::early::{self, Step};
use super::used::aligned_chunks;
use super::{BootError, apply};
use crate::mm::addr::{Nid, Order, PAGE_SHIFT, PAGE_SIZE, Pfn};
use crate::mm::config::{Arch, Config, MigrateType, ZoneType};
use crate::mm::machine::Machine;
use crate::mm::memblock::{Memblock, MemblockFlags};
use crate::mm::mm_init::report::MemInit;
use crate::mm::page::{PageFlags, PageType};
use crate::mm::page_alloc::FreeTo;
use std::ops::Range;
use std::rc::Rc;

/// Pages of page tables that a captured x86_64 kernel prepares for vmalloc (`preallocate_vmalloc_pages`).
const VMALLOC_TABLES: u64 = 64;

impl Machine {
    /// A machine on which memblock is the only allocator yet.
    pub(super) fn stop_at_memblock(spec: Config) -> Machine {
        let memblock = early::setup(&spec);
        let mut config = early::with_zones(&spec, &memblock);
        unmanaged(&mut config);
        let mut machine = Machine::assemble(config);
        machine.memblock = memblock;
        machine.origin = Some(Rc::new(spec));
        machine.early = Some(0);
        machine.print_memblock_lines();
        machine
    }

    /// True while memblock is the only allocator.
    pub fn is_early(&self) -> bool {
        self.early.is_some()
    }

    /// The spec that was booted: what a reset boots again.
    pub fn spec(&self) -> &Config {
        self.origin.as_deref().unwrap_or(&self.config)
    }

    /// The step of the boot that comes next; `None` before the hand-over and after it.
    pub fn next_early_step(&self) -> Option<Step> {
        Step::ALL.get(usize::from(self.early?)).copied()
    }

    /// Does the next step of the boot, the hand-over at last; answers the kernel's function.
    ///
    /// # Errors
    /// As [`Machine::memblock_free_all`]. Nothing is done on an error.
    pub fn early_step(&mut self) -> Result<&'static str, BootError> {
        let Some(step) = self.next_early_step() else {
            self.memblock_free_all()?;
            return Ok("memblock_free_all");
        };
        let spec = self.origin.clone().unwrap_or_else(|| Rc::new(self.config.clone()));
        let before = self.memblock.clone();
        if step == Step::BuildAllZonelists {
            self.build_all_zonelists();
            self.print_fallback_orders();
        }
        match step.run(&spec, &mut self.memblock) {
            Ok(lines) => {
                self.print_memblock_lines();
                lines.into_iter().for_each(|line| self.printk(line));
                self.early = self.early.map(|at| at + 1);
            }
            Err(words) => {
                self.memblock = before;
                return Err(BootError::new(step.name(), words, OUT_OF_MEMORY));
            }
        }
        if step == Step::FreeAreaInit {
            let mut config = early::with_zones(&spec, &self.memblock);
            unmanaged(&mut config);
            self.reassemble(config, None);
        }
        Ok(step.name())
    }

    /// Does the rest of the boot: what is left in memblock becomes the buddy allocator's. Answers its pages.
    ///
    /// # Errors
    /// When the kernel's own early allocations find no memory, or none is left to hand over. Nothing is done then.
    pub fn memblock_free_all(&mut self) -> Result<u64, BootError> {
        let before = self.snapshot();
        self.hand_over().inspect_err(|_| self.restore(&before))
    }

    fn hand_over(&mut self) -> Result<u64, BootError> {
        while self.next_early_step().is_some() {
            self.early_step()?;
        }
        let spec = self.origin.clone().unwrap_or_else(|| Rc::new(self.config.clone()));
        let mut config = early::with_zones(&spec, &self.memblock);
        let handed = handed_over(&self.memblock);
        for zone in config.nodes.iter_mut().flat_map(|n| &mut n.zones) {
            let span = zone.start_pfn..zone.start_pfn + zone.spanned;
            zone.managed = handed.iter().map(|r| overlap(&widen(r), &span)).sum();
        }
        let total: u64 = handed.iter().map(|r| u64::from(r.end - r.start)).sum();
        if total == 0 {
            let advice = "free some with memblock_phys_free(base, size), or add memory";
            return Err(BootError::new("memblock_free_all", "no memory is left to hand over", advice));
        }
        self.early = None;
        self.reassemble(config, Some(complement(&handed)));
        self.build_all_zonelists();
        self.free_low_memory_core_early(&handed);
        self.preallocate_vmalloc_pages(&spec);
        self.mem_init_print_info(&spec);
        self.free_alternatives(&spec);
        self.init_cma_reserved_areas(&spec);
        self.init_per_zone_wmark_min();
        self.start_thp();
        self.free_reserved_areas(&spec);
        self.choose_zero_page();
        self.adopt_anonymous_pages();
        self.setup_per_cpu_areas();
        self.kmem_cache_init();
        self.proc_caches_init();
        self.settle_descriptors();
        apply(self)?;
        Ok(total)
    }

    /// The machine with other zones; what happened so far stays.
    fn reassemble(&mut self, config: Config, reserved: Option<Vec<(u32, u32)>>) {
        let old = std::mem::replace(self, Machine::assemble_with(config, reserved));
        self.memblock = old.memblock;
        (self.origin, self.early) = (old.origin, old.early);
        (self.log, self.clock, self.dice, self.serials) = (old.log, old.clock, old.dice, old.serials);
        self.serials.bump_all();
        (self.trace, self.vmstat, self.current) = (old.trace, old.vmstat, old.current);
        (self.cpu, self.home, self.fail_in) = (old.cpu, old.home, old.fail_in);
    }

    /// Every free part goes to the buddy allocator, low addresses first (`free_low_memory_core_early`).
    fn free_low_memory_core_early(&mut self, handed: &[Range<u32>]) {
        let mut virgin = vec![Vec::new(); self.zones.len()];
        for (pfn, order) in handed.iter().flat_map(|r| aligned_chunks(r.start, r.end)) {
            let Some(zone) = self.mem_map.zone_of(Pfn(pfn)) else { continue };
            if order == Order::MAX {
                virgin[zone.index()].push(pfn);
            } else {
                self.free_one_page(zone, Pfn(pfn), order, MigrateType::Movable, FreeTo::Tail);
            }
        }
        for (zone, blocks) in virgin.into_iter().enumerate() {
            self.add_virgin(self.zones[zone].id, blocks);
        }
    }

    /// Frames of a range that are still reserved become free (`free_reserved_area`); answers how many.
    fn free_reserved_area(&mut self, frames: Range<u64>, migratetype: MigrateType) -> u64 {
        let mut freed = 0;
        for pfn in frames.filter_map(|pfn| u32::try_from(pfn).ok().map(Pfn)) {
            let Some(zone) = self.mem_map.zone_of(pfn) else { continue };
            if !self.mem_map.page(pfn).is(PageFlags::RESERVED) {
                continue;
            }
            let page = self.mem_map.page_mut(pfn);
            page.clear(PageFlags::RESERVED);
            page.refcount = 0;
            self.free_one_page(zone, pfn, Order::ZERO, migratetype, FreeTo::Likely);
            self.zones[zone.index()].managed_pages += 1;
            freed += 1;
        }
        freed
    }

    fn preallocate_vmalloc_pages(&mut self, spec: &Config) {
        if spec.arch != Arch::X86_64 || spec.early.image.is_none() {
            return;
        }
        for _ in 0..VMALLOC_TABLES {
            let normal = self.zones.iter().rposition(|z| z.free_pages() > 0 && z.kind != ZoneType::Movable);
            let Some(zone) = normal.map(|z| self.zones[z].id) else { return };
            let found = self.rmqueue_smallest(zone, Order::ZERO, MigrateType::Unmovable);
            let found = found.or_else(|| self.rmqueue_smallest(zone, Order::ZERO, MigrateType::Movable));
            let Some(pfn) = found else { return };
            let page = self.mem_map.page_mut(pfn);
            page.prep(Order::ZERO);
            page.set_page_type(Some(PageType::Table));
        }
    }

    fn free_alternatives(&mut self, spec: &Config) {
        if spec.early.alternatives > 0 {
            self.free_of_image(spec, spec.early.alternatives);
            self.printk(format!("Freeing SMP alternatives memory: {}K", spec.early.alternatives * 4));
        }
    }

    /// The area of the contiguous memory allocator gets its type and becomes free.
    fn init_cma_reserved_areas(&mut self, spec: &Config) {
        let pages: u64 = spec.nodes.iter().flat_map(|n| &n.zones).map(|z| z.cma).sum();
        let Some(start) = self.cma_start().filter(|_| pages > 0) else { return };
        for pfn in (start..start + pages).step_by(spec.pageblock_order.pages() as usize) {
            self.pageblocks.set(Pfn(pfn as u32), MigrateType::Cma);
        }
        if let Some(zone) = self.mem_map.zone_of(Pfn(start as u32)) {
            self.zones[zone.index()].cma_pages += pages;
        }
        self.free_reserved_area(start..start + pages, MigrateType::Cma);
    }

    /// Where the log says that the area lies.
    fn cma_start(&self) -> Option<u64> {
        let line = self.log().find(|l| l.text.starts_with("cma: Reserved "))?;
        let (_, addr) = line.text.rsplit_once("0x")?;
        u64::from_str_radix(addr, 16).ok().map(|addr| addr >> PAGE_SHIFT)
    }

    /// The RAM disk and parts of the kernel's image, freed when the watermarks are computed already.
    fn free_reserved_areas(&mut self, spec: &Config) {
        for late in &spec.late_freed {
            match spec.early.ramdisk {
                Some((start, end)) if late.what.contains("initrd") => {
                    self.free_reserved_area(start..end.min(start + late.pages), MigrateType::Movable);
                }
                _ => self.free_of_image(spec, late.pages),
            }
            self.printk(format!("Freeing {} memory: {}K", late.what, late.pages * 4));
        }
    }

    /// Frees so many pages of the kernel's image: its highest ones that are still reserved.
    fn free_of_image(&mut self, spec: &Config, pages: u64) {
        let image = early::image(spec);
        let mut left = pages;
        for pfn in (image.start_pfn..image.end_pfn).rev() {
            if left == 0 {
                return;
            }
            left -= self.free_reserved_area(pfn..pfn + 1, MigrateType::Movable);
        }
    }

    /// `Memory: …K/…K available`, right after the hand-over.
    fn mem_init_print_info(&mut self, spec: &Config) {
        let deferred = early::first_deferred(&self.config);
        let free = match deferred.is_empty() {
            true => self.nr_free_pages(),
            false => free_below(&node_frames(&self.memblock), &deferred)
                .saturating_sub(VMALLOC_TABLES * u64::from(spec.arch == Arch::X86_64)),
        };
        let cma = spec.nodes.iter().flat_map(|n| &n.zones).map(|z| z.cma).sum();
        self.print_memory_line(spec, free, self.totalram_pages(), cma);
    }

    fn print_memory_line(&mut self, spec: &Config, free: u64, totalram: u64, totalcma: u64) {
        let high = |z: &&crate::mm::mmzone::Zone| self.is_highmem(z);
        let totalhigh = self.zones.iter().filter(high).map(|z| z.managed_pages).sum();
        let physpages = self.zones.iter().map(|z| z.present_pages).sum();
        let line =
            MemInit { free, physpages, totalram, totalcma, totalhigh }.line(spec.arch, &early::image(spec));
        self.printk(line);
        self.print_virtual_memory_layout();
    }

    /// The same for a boot that is not stopped: nothing but the late memory is missing from what zones manage.
    pub(super) fn print_memory_of_spec(&mut self) {
        let spec = self.config.clone();
        let cma: u64 = spec.nodes.iter().flat_map(|n| &n.zones).map(|z| z.cma).sum();
        let totalram = self.totalram_pages().saturating_sub(spec.early.alternatives + cma);
        let tables = VMALLOC_TABLES * u64::from(spec.arch == Arch::X86_64 && spec.early.image.is_some());
        let deferred = early::first_deferred(&spec);
        let free = match deferred.is_empty() {
            true => totalram,
            // Which frames have descriptors already is known once the boot is played through.
            false => model(&spec).map_or(totalram, |memblock| free_below(&node_frames(&memblock), &deferred)),
        };
        self.print_memory_line(&spec, free.saturating_sub(tables), totalram, cma);
        if spec.early.alternatives > 0 {
            self.printk(format!("Freeing SMP alternatives memory: {}K", spec.early.alternatives * 4));
        }
    }

    /// Prints what memblock has said.
    pub fn print_memblock_lines(&mut self) {
        for line in self.memblock.take_lines() {
            self.printk(line);
        }
    }
}

const OUT_OF_MEMORY: &str =
    "the kernel would panic here: leave it more memory, or free some with memblock_phys_free";

/// The boot of a spec on memblock alone.
fn model(spec: &Config) -> Option<Memblock> {
    let mut memblock = early::setup(spec);
    memblock.debug = false;
    Step::ALL.iter().try_for_each(|step| step.run(spec, &mut memblock).map(|_| ())).ok()?;
    Some(memblock)
}

/// Zones that have memory and manage none of it yet.
fn unmanaged(config: &mut Config) {
    config.nodes.iter_mut().flat_map(|n| &mut n.zones).for_each(|z| z.managed = 0);
}

/// Whole frames that nobody has, by node, lowest first.
fn node_frames(memblock: &Memblock) -> Vec<(Option<Nid>, Range<u32>)> {
    let whole = |start: u64, end: u64| start.div_ceil(PAGE_SIZE) as u32..(end >> PAGE_SHIFT) as u32;
    let free = memblock.free_ranges(None, MemblockFlags::NONE);
    free.map(|r| (r.nid, whole(r.start, r.end))).filter(|(_, r)| r.start < r.end).collect()
}

fn handed_over(memblock: &Memblock) -> Vec<Range<u32>> {
    // Hotpluggable memory was kept from the kernel's own allocations, not from the buddy allocator.
    let mut all = memblock.clone();
    all.movable_node = false;
    node_frames(&all).into_iter().map(|(_, r)| r).collect()
}

/// Frames of these below each node's first frame without a descriptor.
fn free_below(frames: &[(Option<Nid>, Range<u32>)], deferred: &[(Nid, u64)]) -> u64 {
    let limit = |nid: &Option<Nid>| deferred.iter().find(|(n, _)| Some(*n) == *nid).map_or(u64::MAX, |d| d.1);
    frames.iter().map(|(nid, r)| limit(nid).min(r.end.into()).saturating_sub(r.start.into())).sum()
}

fn widen(r: &Range<u32>) -> Range<u64> {
    u64::from(r.start)..u64::from(r.end)
}

fn overlap(a: &Range<u64>, b: &Range<u64>) -> u64 {
    a.end.min(b.end).saturating_sub(a.start.max(b.start))
}

/// What lies between these ranges and above them.
fn complement(handed: &[Range<u32>]) -> Vec<(u32, u32)> {
    let mut at = 0;
    let mut reserved = Vec::new();
    for range in handed {
        if range.start > at {
            reserved.push((at, range.start));
        }
        at = range.end;
    }
    reserved.push((at, u32::MAX));
    reserved
}
