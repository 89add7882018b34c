//! Areas of vmalloc that a captured machine had after boot: stacks of its threads, tables, mappings of devices.
//!
//! ```text
//!   vmalloc room  │ vmap │ ioremap │ stack │·│ 1 page │·│ stack │ …        one behind the other, as they were listed
//!                                      └┴─ frames that boot left in use and nobody else owns
//! ```
//!
//! Kernel: `mm/vmalloc.c` (`vm_area_register_early`).
//! Fidelity: imported — sizes, callers, kinds, pages by node. Ours — addresses, which captures hide: each area lies behind
//! the one before it, aligned as its kind is. Simplified — what huge entries would map, and what no capture tells the
//! pages of, has no entries.

use crate::mm::addr::{Nid, PAGE_SIZE, Pfn, VirtAddr};
use crate::mm::config::VmAreaConfig;
use crate::mm::errno::Errno;
use crate::mm::machine::Machine;
use crate::mm::page::PageType;
use crate::mm::pgtable::Pte;
use crate::mm::vmalloc::{AreaFlags, VmStruct};
use std::collections::BTreeMap;

/// From here on a mapping of devices or of the kernel's image has huge entries.
const PMD_SIZE: u64 = 2 << 20;

/// Frames in use without an owner, by node.
type Frames = BTreeMap<Nid, Vec<Pfn>>;

impl Machine {
    /// Lays out the areas of the spec; one for which there is no room or no frame is left out.
    pub(super) fn adopt_vmalloc_areas(&mut self) {
        let specs = std::mem::take(&mut self.config.vmalloc);
        if specs.is_empty() {
            return;
        }
        let mut frames = Frames::new();
        for pfn in self.unowned_frames(usize::MAX) {
            frames.entry(self.zones[self.mem_map.page(pfn).zone().index()].node).or_default().push(pfn);
        }
        let mut at = self.layout.vmalloc.start;
        for spec in &specs {
            at = self.adopt_area(spec, at, &mut frames).unwrap_or(at);
        }
        self.link_page_arrays(&specs);
        self.config.vmalloc = specs;
    }

    /// One area at or behind `at`; where it ends.
    fn adopt_area(&mut self, spec: &VmAreaConfig, at: u64, frames: &mut Frames) -> Option<u64> {
        let image = spec.flags.has(AreaFlags::MAP) && spec.phys.is_some();
        // The parts of the kernel's image lie without a gap: no guard page is between them.
        let guard = if image { 0 } else { PAGE_SIZE };
        let bytes = spec.size.checked_sub(guard).filter(|bytes| *bytes > 0)?;
        let align = if spec.flags.has(AreaFlags::IOREMAP) {
            bytes.next_power_of_two().clamp(PAGE_SIZE, PMD_SIZE)
        } else if self.is_thread_stack(spec) {
            self.config.arch.thread_size()
        } else {
            spec.phys.map_or(PAGE_SIZE, |phys| (phys & phys.wrapping_neg()).clamp(PAGE_SIZE, PMD_SIZE))
        };
        let start = at.checked_next_multiple_of(align)?;
        if spec.pages > frames.values().map(|frames| frames.len() as u64).sum()
            || !self.vmalloc.claim(start, spec.size)
        {
            return None;
        }
        let pages = frames_of(spec, frames);
        let mapped = !pages.is_empty() || spec.phys.is_some_and(|_| bytes < PMD_SIZE);
        let no_guard = if image { AreaFlags::NO_GUARD.0 } else { 0 };
        self.vmalloc.adopt(VmStruct {
            start,
            size: spec.size,
            flags: AreaFlags(spec.flags.0 | no_guard),
            pages,
            phys: spec.phys,
            page_array: None,
            caller: spec.caller.clone().into(),
            mapped_by_entries: mapped,
        });
        if mapped {
            self.map_adopted(start, frames);
        }
        Some(start + spec.size)
    }

    fn is_thread_stack(&self, spec: &VmAreaConfig) -> bool {
        self.config.arch.has_vmap_stack()
            && spec.pages * PAGE_SIZE == self.config.arch.thread_size()
            && ["kernel_clone+", "start_kernel+", "dup_task_struct+"]
                .iter()
                .any(|f| spec.caller.starts_with(f))
    }

    /// The entries of an area; it loses what there are no tables for.
    fn map_adopted(&mut self, start: u64, frames: &mut Frames) {
        let Some(area) = self.vmalloc.area(start).cloned() else { return };
        for (n, addr) in area.mapped().step_by(PAGE_SIZE as usize).enumerate() {
            let device = area.phys.map(|phys| Pfn(((phys >> 12) + n as u64) as u32));
            let Some(pfn) = device.or_else(|| area.pages.get(n).copied()) else { return };
            let cache = if area.flags.has(AreaFlags::IOREMAP) { Pte::PCD } else { 0 };
            let pte = Pte::new(pfn, self.kernel_prot() | cache);
            let made = self.map_kernel_page_with(VirtAddr(addr), pte, |m| {
                let pfn = pop_any(frames).ok_or(Errno::ENOMEM)?;
                m.mem_map.page_mut(pfn).set_page_type(Some(PageType::Table));
                Ok(pfn)
            });
            if made.is_err() {
                area.mapped().step_by(PAGE_SIZE as usize).for_each(|at| self.unmap_kernel_page(VirtAddr(at)));
                self.vmalloc.forget_entries(start);
                return;
            }
        }
    }

    /// An area of more than 512 pages keeps their array in another area of the same caller's.
    fn link_page_arrays(&mut self, specs: &[VmAreaConfig]) {
        let large: Vec<&VmAreaConfig> = specs.iter().filter(|spec| spec.vpages).collect();
        for spec in large {
            let pages = (spec.pages * if self.config.arch.is_64bit() { 8 } else { 4 }).div_ceil(PAGE_SIZE);
            let of =
                |area: &VmStruct, pages: u64| area.caller == spec.caller && area.pages.len() as u64 == pages;
            let owner = self.vmalloc.areas().find(|a| of(a, spec.pages) && a.page_array.is_none());
            let array = self.vmalloc.areas().find(|a| of(a, pages));
            if let (Some(owner), Some(array)) = (owner.map(|a| a.start), array.map(|a| a.start)) {
                self.vmalloc.set_page_array(owner, array);
            }
        }
    }
}

/// Frames for an area's pages, from the nodes that the capture tells.
fn frames_of(spec: &VmAreaConfig, frames: &mut Frames) -> Vec<Pfn> {
    let told = spec.nodes.iter().flat_map(|(nid, pages)| std::iter::repeat_n(*nid, *pages as usize));
    let mut taken: Vec<Pfn> = told.filter_map(|nid| frames.get_mut(&nid)?.pop()).collect();
    // A node that has none left, or a kernel that tells no nodes: any frame will do.
    taken.extend((taken.len() as u64..spec.pages).filter_map(|_| pop_any(frames)));
    taken
}

fn pop_any(frames: &mut Frames) -> Option<Pfn> {
    frames.values_mut().find_map(Vec::pop)
}
