//! Per-CPU data: one copy of a variable for every CPU, each in its CPU's unit.
//!
//! ```text
//!   a chunk      unit of CPU 0          unit of CPU 1          unit of CPU 2
//!              ┌───────┬─────────┐    ┌───────┬─────────┐    ┌───────┬─────────┐
//!   first:     │static │ dynamic │    │static │ dynamic │    │static │ dynamic │   in the direct map, from boot on
//!              └───────┴───▲─────┘    └───────┴───▲─────┘    └───────┴───▲─────┘
//!                          └── the same offset in every unit ──┴──────────┘
//!   later ones: address space at the end of vmalloc's, the units as far apart as in the first chunk; a page of it
//!               gets frames, one for every CPU, when the first variable is put there
//! ```
//!
//! So one number finds every copy: `per_cpu_ptr(p, cpu) = p + __per_cpu_offset[cpu]`.
//!
//! Kernel: `mm/percpu.c`, `mm/percpu-vm.c`, `include/linux/percpu.h`.
//! Fidelity: faithful — units, groups of nodes, first fit from the fullest chunk that may fit, populating by page, the
//! reserve of two empty populated pages, giving empty chunks back. Simplified — chunks carry no bookkeeping memory;
//! `__per_cpu_start` counts as 0, as it is on x86_64: elsewhere it lies in the image, and every offset is less by it.
//! Absent — charging to cgroups.

mod chunk;
mod first_chunk;

pub use chunk::Chunk;
pub use first_chunk::UnitLayout;

use crate::mm::addr::{Order, PAGE_SHIFT, PAGE_SIZE, Pfn, VirtAddr};
use crate::mm::config::Arch;
use crate::mm::errno::{Errno, Oops};
use crate::mm::gfp::Gfp;
use crate::mm::machine::Machine;
use crate::mm::panic::Taint;
use std::collections::BTreeMap;

/// The smallest piece, and what every size is rounded up to (`PCPU_MIN_ALLOC_SIZE`).
pub const PCPU_MIN_ALLOC_SIZE: u64 = 4;
/// The largest piece (`PCPU_MIN_UNIT_SIZE`).
pub const PCPU_MIN_UNIT_SIZE: u64 = 32 << 10;
/// Populated pages without a variable that are kept at least (`PCPU_EMPTY_POP_PAGES_LOW`).
pub const PCPU_EMPTY_POP_PAGES_LOW: u64 = 2;
/// The same, at most: what is above is given back (`PCPU_EMPTY_POP_PAGES_HIGH`).
pub const PCPU_EMPTY_POP_PAGES_HIGH: u64 = 4;
/// Chunks are sorted by their largest hole, from 2^5 bytes on (`PCPU_SLOT_BASE_SHIFT`).
const PCPU_SLOT_BASE_SHIFT: u32 = 5;
/// x86_64 puts the first chunk into pages of 2 MiB.
const PMD_SIZE: u64 = 2 << 20;

/// All per-CPU data of the machine.
#[derive(Clone, Debug)]
pub struct Percpu {
    /// Sizes of the first chunk.
    pub layout: UnitLayout,
    /// Bytes from one unit to the next, within a node.
    pub unit_size: u64,
    /// The first CPU's unit of the first chunk (`pcpu_base_addr`).
    pub base: VirtAddr,
    /// Each CPU, and how far its unit is from the first one; the index of its node.
    units: Vec<(u16, u64, usize)>,
    /// The frames of each unit of the first chunk, if the kernel kept enough of its node.
    backed: bool,
    chunks: Vec<Chunk>,
    /// Variables allocated so far.
    pub nr_alloc: u64,
    /// Variables freed so far.
    pub nr_dealloc: u64,
    /// The most there were at once.
    pub nr_max_alloc: u64,
    /// The smallest and the largest size so far.
    pub alloc_sizes: Option<(u64, u64)>,
}

impl Default for Percpu {
    fn default() -> Percpu {
        Percpu {
            layout: UnitLayout::of(Arch::Uml),
            unit_size: 0,
            base: VirtAddr(0),
            units: Vec::new(),
            backed: false,
            chunks: Vec::new(),
            nr_alloc: 0,
            nr_dealloc: 0,
            nr_max_alloc: 0,
            alloc_sizes: None,
        }
    }
}

impl Percpu {
    /// What to add to a per-CPU pointer for a CPU's copy (`__per_cpu_offset`); `None` for a CPU that is not there.
    pub fn offset(&self, cpu: u16) -> Option<u64> {
        self.units.iter().find(|unit| unit.0 == cpu).map(|unit| self.base.0 + unit.1)
    }

    /// Every CPU with its offset.
    pub fn offsets(&self) -> impl Iterator<Item = (u16, u64)> + '_ {
        self.units.iter().map(|unit| (unit.0, self.base.0 + unit.1))
    }

    /// Every chunk; the first is the one from boot.
    pub fn chunks(&self) -> &[Chunk] {
        &self.chunks
    }

    /// Populated pages of all units (`pcpu_nr_pages`): what meminfo calls Percpu.
    pub fn nr_pages(&self) -> u64 {
        self.chunks.iter().map(Chunk::populated).sum::<u64>() * self.units.len() as u64
    }

    /// Populated pages without a variable, of all chunks.
    pub fn empty_pop_pages(&self) -> u64 {
        self.chunks.iter().map(Chunk::empty_pop_pages).sum()
    }

    /// The frame and the offset in it behind an address of a chunk after the first (`pcpu_chunk_page`).
    pub fn page_of(&self, addr: VirtAddr) -> Option<(Pfn, u64)> {
        let unit_of = |chunk: &Chunk| {
            let inside = addr.0.checked_sub(chunk.base.0)?;
            let (n, unit) =
                self.units.iter().enumerate().find(|(_, unit)| {
                    inside.checked_sub(unit.1).is_some_and(|offset| offset < self.unit_size)
                })?;
            let offset = inside - unit.1;
            Some((*chunk.pages.get(&(offset >> PAGE_SHIFT))?.get(n)?, offset % PAGE_SIZE))
        };
        self.chunks.iter().filter(|chunk| !chunk.first).find_map(unit_of)
    }

    /// The chunk and the offset in its units that a per-CPU pointer means (`pcpu_chunk_addr_search`).
    fn find(&self, ptr: u64) -> Option<(usize, u64)> {
        let addr = self.base.0.wrapping_add(ptr);
        let inside = |chunk: &Chunk| addr.checked_sub(chunk.base.0).filter(|at| *at < self.unit_size);
        self.chunks.iter().enumerate().find_map(|(n, chunk)| Some((n, inside(chunk)?)))
    }

    /// The size of the variable that a per-CPU pointer begins.
    pub fn size_of(&self, ptr: u64) -> Option<u64> {
        let (chunk, offset) = self.find(ptr)?;
        self.chunks[chunk].areas.get(&offset).copied()
    }

    /// The farthest unit's end, counted from the first one's start.
    fn span(&self) -> u64 {
        self.units.iter().map(|unit| unit.1).max().unwrap_or(0) + self.unit_size
    }

    /// Where the next chunk goes: as high as vmalloc's space reaches, below the chunks that are there.
    fn next_base(&self, end: u64) -> u64 {
        let lowest = self.chunks.iter().filter(|chunk| !chunk.first).map(|chunk| chunk.base.0).min();
        let top = lowest.unwrap_or((end + 1).saturating_sub(self.span() - self.unit_size));
        (top - self.unit_size) & !(self.unit_size.next_power_of_two() - 1).min(PMD_SIZE - 1)
    }
}

/// The list that a chunk with such a hole is on (`pcpu_size_to_slot`).
fn slot_of(bytes: u64) -> u32 {
    let highbit = u64::BITS - bytes.leading_zeros();
    (highbit + 2).saturating_sub(PCPU_SLOT_BASE_SHIFT).max(1)
}

impl Machine {
    /// Allocates `size` bytes for every CPU, and answers the per-CPU pointer (`pcpu_alloc`).
    ///
    /// # Errors
    /// `EINVAL` for a size or an alignment that makes no sense, with the kernel's warning; `ENOMEM`.
    pub fn pcpu_alloc(&mut self, size: u64, align: u64, gfp: Gfp) -> Result<u64, Errno> {
        let sense = size > 0 && size <= PCPU_MIN_UNIT_SIZE && align <= PAGE_SIZE && align.is_power_of_two();
        if !sense {
            self.printk(format!("illegal size ({size}) or align ({align}) for percpu allocation"));
            self.dump_stack(&["pcpu_alloc", "__alloc_percpu"]);
            return Err(Errno::EINVAL);
        }
        let (size, align) = (size.next_multiple_of(PCPU_MIN_ALLOC_SIZE), align.max(PCPU_MIN_ALLOC_SIZE));
        self.charge(self.config.costs.alloc);
        // A caller that may not sleep gets what is populated already.
        let atomic = !gfp.has(Gfp::KERNEL);
        let found = match self.find_room(size, align, atomic) {
            Some(found) => found,
            None if atomic => return Err(self.pcpu_failed(size, align, true, "no space left")),
            None => (self.create_chunk(), 0),
        };
        let (chunk, offset) = found;
        self.percpu.chunks[chunk].areas.insert(offset, size);
        if self.populate(chunk, offset, size, gfp).is_err() {
            self.percpu.chunks[chunk].areas.remove(&offset);
            return Err(self.pcpu_failed(size, align, false, "failed to populate"));
        }
        let percpu = &mut self.percpu;
        percpu.nr_alloc += 1;
        percpu.nr_max_alloc = percpu.nr_max_alloc.max(percpu.nr_alloc - percpu.nr_dealloc);
        let (least, largest) = percpu.alloc_sizes.unwrap_or((size, size));
        percpu.alloc_sizes = Some((least.min(size), largest.max(size)));
        let addr = percpu.chunks[chunk].base.0 + offset;
        if !atomic {
            // The kernel's worker does it a moment later.
            self.balance_populated();
        }
        Ok(addr.wrapping_sub(self.percpu.base.0))
    }

    fn pcpu_failed(&mut self, size: u64, align: u64, atomic: bool, why: &str) -> Errno {
        self.printk(format!(
            "percpu: allocation failed, size={size} align={align} atomic={}, {why}",
            u8::from(atomic)
        ));
        Errno::ENOMEM
    }

    /// Looks through the chunks whose largest hole may do, the smallest first.
    fn find_room(&self, size: u64, align: u64, atomic: bool) -> Option<(usize, u64)> {
        let chunks = &self.percpu.chunks;
        let mut order: Vec<usize> = (0..chunks.len()).collect();
        order.sort_by_key(|n| (slot_of(chunks[*n].contig_bytes()), *n));
        let populated = |chunk: &Chunk, at: u64| {
            let mut pages = at / PAGE_SIZE..=(at + size - 1) / PAGE_SIZE;
            chunk.first || pages.all(|page| chunk.pages.contains_key(&page))
        };
        order.into_iter().filter(|n| chunks[*n].contig_bytes() >= size).find_map(|n| {
            let at = chunks[n].find_fit(size, align)?;
            (!atomic || populated(&chunks[n], at)).then_some((n, at))
        })
    }

    /// More address space (`pcpu_create_chunk`); no page of it has a frame.
    fn create_chunk(&mut self) -> usize {
        let percpu = &mut self.percpu;
        let base = VirtAddr(percpu.next_base(self.layout.vmalloc.end - 1));
        let room = (0, percpu.unit_size & !(PAGE_SIZE - 1));
        percpu.chunks.push(Chunk {
            base,
            room,
            areas: BTreeMap::new(),
            pages: BTreeMap::new(),
            first: false,
        });
        percpu.chunks.len() - 1
    }

    /// Gives frames to the pages of a range, in every unit; all of them or none (`pcpu_populate_chunk`).
    fn populate(&mut self, chunk: usize, offset: u64, size: u64, gfp: Gfp) -> Result<(), Errno> {
        if self.percpu.chunks[chunk].first {
            return Ok(());
        }
        let mut new = Vec::new();
        for page in offset / PAGE_SIZE..=(offset + size - 1) / PAGE_SIZE {
            if self.percpu.chunks[chunk].pages.contains_key(&page) {
                continue;
            }
            match self.percpu_frames(gfp) {
                Ok(frames) => {
                    self.percpu.chunks[chunk].pages.insert(page, frames);
                    new.push(page);
                }
                Err(errno) => {
                    new.into_iter().for_each(|page| self.depopulate(chunk, page));
                    return Err(errno);
                }
            }
        }
        Ok(())
    }

    /// One frame for every CPU, near it.
    fn percpu_frames(&mut self, gfp: Gfp) -> Result<Vec<Pfn>, Errno> {
        let nodes: Vec<usize> = self.percpu.units.iter().map(|unit| unit.2).collect();
        let mut frames = Vec::new();
        for node in nodes {
            match self.alloc_pages_at(node, gfp | Gfp::HIGHMEM, Order::ZERO) {
                Ok(pfn) => frames.push(pfn),
                Err(errno) => {
                    frames.into_iter().for_each(|pfn| self.give_back_frame(pfn));
                    return Err(errno);
                }
            }
        }
        Ok(frames)
    }

    fn depopulate(&mut self, chunk: usize, page: u64) {
        let frames = self.percpu.chunks[chunk].pages.remove(&page).unwrap_or_default();
        frames.into_iter().for_each(|pfn| self.give_back_frame(pfn));
    }

    pub(crate) fn give_back_frame(&mut self, pfn: Pfn) {
        // Nobody else holds it, so nothing speaks against it.
        let _ = self.free_pages(pfn, Order::ZERO);
    }

    /// Frees a variable of every CPU (`free_percpu`); a null pointer is nothing.
    ///
    /// # Errors
    /// The kernel's complaint about a pointer that begins no variable; the state stays as it was.
    pub fn free_percpu(&mut self, ptr: u64) -> Result<(), Oops> {
        if ptr == 0 {
            return Ok(());
        }
        let Some((chunk, offset)) = self.percpu.find(ptr) else {
            return Err(self.percpu_oops(ptr, "no chunk has such an address"));
        };
        if self.percpu.chunks[chunk].areas.remove(&offset).is_none() {
            return Err(self.percpu_oops(ptr, "no variable begins there: freed before, or never allocated"));
        }
        self.percpu.nr_dealloc += 1;
        self.charge(self.config.costs.alloc);
        self.balance_free();
        self.reclaim_populated();
        Ok(())
    }

    fn percpu_oops(&mut self, ptr: u64, why: &str) -> Oops {
        let line = format!(
            "BUG: unable to handle page fault for address: {:016x}",
            self.percpu.base.0.wrapping_add(ptr)
        );
        self.printk(line.clone());
        self.add_taint(Taint::Die);
        Oops::new(line, format!("free_percpu({ptr:#x}): {why}; pass what alloc_percpu answered, once"))
    }

    /// Of the chunks without a variable one is kept (`pcpu_balance_free`).
    fn balance_free(&mut self) {
        while self.percpu.chunks.iter().filter(|chunk| chunk.is_empty()).count() > 1 {
            let Some(last) = self.percpu.chunks.iter().rposition(Chunk::is_empty) else { return };
            let pages: Vec<u64> = self.percpu.chunks[last].pages.keys().copied().collect();
            pages.into_iter().for_each(|page| self.depopulate(last, page));
            self.percpu.chunks.remove(last);
        }
    }

    /// Pages without a variable are given back above a number (`pcpu_reclaim_populated`).
    fn reclaim_populated(&mut self) {
        let mut left = self.percpu.empty_pop_pages().saturating_sub(PCPU_EMPTY_POP_PAGES_HIGH);
        for n in (1..self.percpu.chunks.len()).rev() {
            let chunk = &self.percpu.chunks[n];
            let empty: Vec<u64> =
                chunk.pages.keys().copied().filter(|page| !chunk.page_in_use(*page)).collect();
            for page in empty.into_iter().rev().take(left as usize) {
                self.depopulate(n, page);
                left -= 1;
            }
        }
    }

    /// A few populated pages wait for callers that may not sleep (`pcpu_balance_populated`).
    fn balance_populated(&mut self) {
        let mut wanted = PCPU_EMPTY_POP_PAGES_LOW.saturating_sub(self.percpu.empty_pop_pages());
        let mut chunk = 1;
        while wanted > 0 && chunk < self.percpu.chunks.len() {
            let own = &self.percpu.chunks[chunk];
            let hole =
                (own.room.0 / PAGE_SIZE..own.room.1 / PAGE_SIZE).find(|page| !own.pages.contains_key(page));
            match hole.map(|page| {
                self.populate(chunk, page * PAGE_SIZE, PAGE_SIZE, Gfp::KERNEL | Gfp::NORETRY | Gfp::NOWARN)
            }) {
                Some(Ok(())) => wanted -= 1,
                Some(Err(_)) => return,
                None => chunk += 1,
            }
        }
    }

    /// Variables do not overlap, lie in populated pages, and every page of a unit has a frame for each CPU.
    pub(crate) fn first_wrong_percpu(&self) -> Option<String> {
        let cpus = self.percpu.units.len();
        for (n, chunk) in self.percpu.chunks.iter().enumerate() {
            let mut end = chunk.room.0;
            for (&at, &size) in &chunk.areas {
                if at < end || at + size > chunk.room.1 {
                    return Some(format!(
                        "chunk {n}: {size} bytes at {at:#x}, where the one before ends at {end:#x}"
                    ));
                }
                end = at + size;
                let bare = (at / PAGE_SIZE..=(end - 1) / PAGE_SIZE)
                    .find(|page| !chunk.first && !chunk.pages.contains_key(page));
                if let Some(page) = bare {
                    return Some(format!("chunk {n}: a variable at {at:#x}, but page {page} has no frames"));
                }
            }
            for (page, frames) in &chunk.pages {
                if frames.len() != cpus || frames.iter().any(|pfn| self.mem_map.page(*pfn).refcount == 0) {
                    return Some(format!("chunk {n} page {page}: {} frames for {cpus} CPUs", frames.len()));
                }
            }
        }
        None
    }
}
