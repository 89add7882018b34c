//! SLOB: one heap for everything, for machines with very little memory.
//!
//! ```text
//!   free_slob_small   pages whose last free was below 256 bytes     ─ page ─ page ─ …
//!   free_slob_medium                          below 1024 bytes      ─ page ─ …
//!   free_slob_large                           the rest              ─ page ─ …
//!
//!   a page  │ used │ free 24 │ used │ free 300 │ used │            free blocks are linked by address
//! ```
//!
//! An object takes the first free block that holds it, on the first page that has enough free units; the list then
//! begins at that page, so that no page is asked first for ever (Knuth's roving pointer). What `kmalloc` gives carries
//! its size in a header before it; an object of a cache does not, for its cache knows. From a page on, whole pages.
//!
//! Kernel: `mm/slob.c`.
//! Fidelity: faithful — units of 2 bytes, three lists, first fit with alignment, the header, roving, coalescing.
//! Ours — every freed address is checked; the kernel's SLOB would go on with a damaged list. Absent — freeing after a
//! grace period of RCU.

mod check;
mod page;

use crate::mm::addr::{Order, PAGE_SIZE, Pfn, VirtAddr};
use crate::mm::errno::{Errno, Oops};
use crate::mm::gfp::Gfp;
use crate::mm::machine::Machine;
use crate::mm::page::PageFlags;
use crate::mm::slab_common::{
    CacheCensus, CacheId, KmemCache, LastSlabAlloc, SlabInfo, SlabObject, SlabPages, SlabPath,
};
use crate::mm::slots::{Id, Slots};
use page::SlobPage;
use std::collections::{BTreeMap, VecDeque};

/// Bytes of a unit (`SLOB_UNIT`).
pub const SLOB_UNIT: u64 = 2;
/// Below it an object is small (`SLOB_BREAK1`).
pub const SLOB_BREAK1: u64 = 256;
/// Below it an object is medium (`SLOB_BREAK2`).
pub const SLOB_BREAK2: u64 = 1024;
/// Bytes before what `kmalloc` gives: its size, kept aligned.
pub const SLOB_HEADER: u64 = 8;
/// Units of a page.
const PAGE_UNITS: u32 = (PAGE_SIZE / SLOB_UNIT) as u32;

/// The number of a page of SLOB.
type SlobId = Id<SlobPage>;

/// Whose a block is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Owner {
    /// An object of a cache.
    Cache(CacheId),
    /// So many bytes from `kmalloc`, behind a header.
    Kmalloc(u16),
}

/// What SLOB counts: the work that its search is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stats {
    /// Allocations.
    pub allocs: u64,
    /// Frees.
    pub frees: u64,
    /// Pages looked at for a block.
    pub pages_searched: u64,
    /// Free blocks looked at.
    pub blocks_searched: u64,
    /// New pages.
    pub grown: u64,
    /// Pages given back.
    pub shrunk: u64,
}

/// SLOB's state.
#[derive(Clone, Debug, Default)]
pub struct State {
    pages: Slots<SlobPage>,
    /// Small, medium, large.
    lists: [VecDeque<SlobId>; 3],
    /// Whole pages that a cache or kmalloc has, by their first frame.
    large: BTreeMap<Pfn, Owner>,
    /// Counters.
    pub stats: Stats,
}

impl State {
    /// Pages on each list, and their free bytes.
    pub fn lists(&self) -> [(usize, u64); 3] {
        let free = |id: &SlobId| self.pages.get(*id).map_or(0, |page| u64::from(page.units) * SLOB_UNIT);
        [0, 1, 2].map(|n: usize| (self.lists[n].len(), self.lists[n].iter().map(free).sum()))
    }

    /// Pages that are cut into blocks, and bytes in use on them, headers counted.
    pub fn usage(&self) -> (usize, u64) {
        let used = self.pages.iter().map(|(_, page)| u64::from(PAGE_UNITS - page.units) * SLOB_UNIT).sum();
        (self.pages.len(), used)
    }
}

/// Which list an object of this size looks through.
fn list_of(bytes: u64) -> u8 {
    match bytes {
        0..SLOB_BREAK1 => 0,
        SLOB_BREAK1..SLOB_BREAK2 => 1,
        _ => 2,
    }
}

fn units(bytes: u64) -> u16 {
    bytes.div_ceil(SLOB_UNIT) as u16
}

impl Machine {
    /// Sizes of a cache: an object is as large as its user says; `order` counts only from a page on.
    pub(crate) fn slob_calculate_sizes(&self, cache: &mut KmemCache) -> Option<()> {
        let size = u64::from(cache.object_size);
        cache.size = cache.object_size;
        cache.inuse = cache.object_size;
        cache.reciprocal = (1_u64 << 46).div_ceil(size.max(1));
        cache.order = if size < PAGE_SIZE { Order::ZERO } else { Order::holding(size.div_ceil(PAGE_SIZE))? };
        cache.min_order = cache.order;
        cache.objects =
            if size < PAGE_SIZE { (PAGE_SIZE / size.next_multiple_of(SLOB_UNIT)) as u32 } else { 1 };
        Some(())
    }

    /// Takes an object of a cache (`slob_alloc_node`).
    pub(crate) fn slob_alloc_object(
        &mut self,
        id: CacheId,
        gfp: Gfp,
        node: Option<usize>,
    ) -> Result<VirtAddr, Errno> {
        let cache = &self.caches.all[id];
        let (size, align) = (u64::from(cache.size), u64::from(cache.align));
        let owner = Owner::Cache(id);
        let addr = if size < PAGE_SIZE {
            self.slob_alloc(size, gfp, align, node, 0, owner)?
        } else {
            self.slob_alloc_pages(size, gfp, node, owner)?
        };
        if self.caches.all[id].ctor {
            self.caches.constructed.push((id, addr, 1));
        }
        self.slob_last(Some(id), size, gfp, addr);
        Ok(addr)
    }

    /// Memory of any size (`__do_kmalloc_node`).
    pub(crate) fn slob_kmalloc(
        &mut self,
        size: u64,
        gfp: Gfp,
        node: Option<usize>,
    ) -> Result<VirtAddr, Errno> {
        let gfp = self.fix_slab_gfp(gfp);
        let addr = if size < PAGE_SIZE - SLOB_HEADER {
            // Powers of two are aligned to their size, as with the other allocators.
            let align = if size.is_power_of_two() { size.max(SLOB_HEADER) } else { SLOB_HEADER };
            let owner = Owner::Kmalloc(size as u16);
            let block = self.slob_alloc(size + SLOB_HEADER, gfp, align, node, SLOB_HEADER, owner)?;
            VirtAddr(block.0 + SLOB_HEADER)
        } else {
            self.slob_alloc_pages(size, gfp, node, Owner::Kmalloc(0))?
        };
        self.slob_last(None, size, gfp, addr);
        Ok(addr)
    }

    fn slob_last(&mut self, cache: Option<CacheId>, requested: u64, gfp: Gfp, addr: VirtAddr) {
        if gfp.has(Gfp::ZERO) {
            self.zero_kernel_bytes(addr, requested);
        }
        let path = SlabPath::Other("SLOB's heap");
        self.caches.last = Some(LastSlabAlloc { at: self.clock, cache, requested, gfp, addr, path });
    }

    /// The first block that fits, on a page with enough free units; a new page when there is none (`slob_alloc`).
    fn slob_alloc(
        &mut self,
        size: u64,
        gfp: Gfp,
        align: u64,
        node: Option<usize>,
        align_offset: u64,
        owner: Owner,
    ) -> Result<VirtAddr, Errno> {
        let (list, units) = (list_of(size), units(size));
        self.caches.slob.stats.allocs += 1;
        let mut found = None;
        for turn in 0..self.caches.slob.lists[list as usize].len() {
            let id = self.caches.slob.lists[list as usize][turn];
            let page = &self.caches.slob.pages[id];
            self.caches.slob.stats.pages_searched += 1;
            let elsewhere =
                node.is_some_and(|node| self.zones[self.mem_map.page(page.pfn).zone().index()].pgdat != node);
            if elsewhere || page.units < u32::from(units) {
                continue;
            }
            let (fit, looked) = page.find_fit(units, align, align_offset);
            self.caches.slob.stats.blocks_searched += looked;
            if let Some(fit) = fit {
                found = Some((id, turn, fit));
                break;
            }
        }
        let (id, (at, delta)) = match found {
            Some((id, turn, fit)) => {
                // The next search begins where this one ended.
                self.caches.slob.lists[list as usize].rotate_left(turn);
                (id, fit)
            }
            None => {
                let id = self.slob_new_page(gfp, node, list)?;
                let (fit, looked) = self.caches.slob.pages[id].find_fit(units, align, align_offset);
                self.caches.slob.stats.blocks_searched += looked;
                (id, fit.ok_or(Errno::ENOMEM)?)
            }
        };
        let page = &mut self.caches.slob.pages[id];
        let start = page.take(at, delta, units);
        page.used.insert(start, (units, owner));
        let (pfn, full) = (page.pfn, page.units == 0);
        if full {
            self.slob_unlist(id);
        }
        Ok(VirtAddr(self.phys_to_virt(pfn.phys()).0 + u64::from(start) * SLOB_UNIT))
    }

    /// A new page, wholly free, at the front of a list.
    fn slob_new_page(&mut self, gfp: Gfp, node: Option<usize>, list: u8) -> Result<SlobId, Errno> {
        let block = slob_block(Order::ZERO);
        let pfn = self.alloc_slab_pages(block, gfp.without(Gfp::ZERO), node).ok_or(Errno::ENOMEM)?;
        self.charge(self.config.costs.alloc);
        let free = BTreeMap::from([(0, PAGE_UNITS as u16)]);
        let page = SlobPage { pfn, units: PAGE_UNITS, free, used: BTreeMap::new(), list: Some(list) };
        let state = &mut self.caches.slob;
        state.stats.grown += 1;
        let id = state.pages.insert(page);
        state.lists[list as usize].push_front(id);
        self.mem_map.page_mut(pfn).mapping = id.index() + 1;
        Ok(id)
    }

    /// Whole pages for what does not fit one (`slob_new_pages`).
    fn slob_alloc_pages(
        &mut self,
        size: u64,
        gfp: Gfp,
        node: Option<usize>,
        owner: Owner,
    ) -> Result<VirtAddr, Errno> {
        let order = Order::holding(size.div_ceil(PAGE_SIZE)).ok_or(Errno::ENOMEM)?;
        let pfn =
            self.alloc_slab_pages(slob_block(order), gfp.without(Gfp::ZERO), node).ok_or(Errno::ENOMEM)?;
        self.charge(self.config.costs.alloc);
        self.caches.slob.stats.allocs += 1;
        self.caches.slob.large.insert(pfn, owner);
        Ok(self.phys_to_virt(pfn.phys()))
    }

    fn slob_unlist(&mut self, id: SlobId) {
        if let Some(list) = self.caches.slob.pages[id].list.take() {
            self.caches.slob.lists[list as usize].retain(|other| *other != id);
        }
    }

    /// Gives back an object, or what `kmalloc` gave (`slob_free`, `kfree`).
    ///
    /// # Errors
    /// When no block begins there; the kernel's SLOB would not notice.
    pub(crate) fn slob_free(&mut self, expected: Option<CacheId>, addr: VirtAddr) -> Result<(), Oops> {
        let Some((block, _)) =
            self.slob_block_at(addr).filter(|(_, object)| object.start == addr && object.allocated)
        else {
            return Err(self.slob_oops(addr, "no block that is in use begins there"));
        };
        let of = match block {
            SlobBlock::Pages(_, owner) | SlobBlock::Units(_, _, owner) => owner,
        };
        if expected.is_some_and(|id| of != Owner::Cache(id)) {
            return Err(self.slob_oops(addr, "it belongs to another cache, or to kmalloc"));
        }
        self.caches.slob.stats.frees += 1;
        match block {
            SlobBlock::Pages(pfn, _) => {
                self.caches.slob.large.remove(&pfn);
                let order = self.mem_map.page(pfn).order();
                self.free_slab_pages(slob_block(order), pfn);
            }
            SlobBlock::Units(id, start, _) => self.slob_free_units(id, start),
        }
        Ok(())
    }

    fn slob_free_units(&mut self, id: SlobId, start: u16) {
        let page = &mut self.caches.slob.pages[id];
        let Some((units, _)) = page.used.remove(&start) else { return };
        page.put(start, units);
        let pfn = page.pfn;
        if page.units == PAGE_UNITS {
            self.slob_unlist(id);
            self.caches.slob.pages.remove(id);
            self.caches.slob.stats.shrunk += 1;
            self.free_slab_pages(slob_block(Order::ZERO), pfn);
        } else if page.list.is_none() {
            // A page that was full goes by the size of what was freed first.
            let list = list_of(u64::from(units) * SLOB_UNIT);
            page.list = Some(list);
            self.caches.slob.lists[list as usize].push_front(id);
        }
    }

    #[cold]
    fn slob_oops(&mut self, addr: VirtAddr, why: &str) -> Oops {
        if self.slob_block_at(addr).is_none()
            && !self.virt_to_head(addr).is_some_and(|pfn| self.mem_map.page(pfn).is(PageFlags::SLAB))
        {
            return self.not_an_object("kfree", addr);
        }
        let line = format!("BUG: slob: {addr} cannot be freed");
        self.printk(line.clone());
        Oops::new(
            line,
            format!("{why}; nothing was freed. SLOB itself checks nothing: its list would be damaged now"),
        )
    }

    /// The block whose bytes hold an address.
    fn slob_block_at(&self, addr: VirtAddr) -> Option<(SlobBlock, SlabObject)> {
        let head = self.virt_to_head(addr)?;
        let page = self.mem_map.page(head);
        if !page.is(PageFlags::SLAB) {
            return None;
        }
        let base = self.phys_to_virt(head.phys());
        let object = |owner, start, index, allocated| {
            // What kmalloc gave belongs to no cache: the first one stands for it.
            let cache = match owner {
                Owner::Cache(id) => id,
                Owner::Kmalloc(_) => *self.caches.order.first()?,
            };
            Some(SlabObject { cache, start, index, allocated, slab: head })
        };
        if let Some(&owner) = self.caches.slob.large.get(&head) {
            return Some((SlobBlock::Pages(head, owner), object(owner, base, 0, true)?));
        }
        let id = self.caches.slob.pages.at(page.mapping.checked_sub(1)?)?;
        let page = &self.caches.slob.pages[id];
        let unit = ((addr.0 - base.0) / SLOB_UNIT) as u16;
        let (&start, &(units, owner)) = page.used.range(..=unit).next_back()?;
        let header = if matches!(owner, Owner::Kmalloc(_)) { SLOB_HEADER } else { 0 };
        let first = VirtAddr(base.0 + u64::from(start) * SLOB_UNIT + header);
        (unit < start + units)
            .then(|| {
                Some((SlobBlock::Units(id, start, owner), object(owner, first, u32::from(start), true)?))
            })
            .flatten()
    }

    /// The object that holds an address.
    pub(crate) fn slob_find_object(&self, addr: VirtAddr) -> Option<SlabObject> {
        self.slob_block_at(addr).map(|(_, object)| object)
    }

    /// Bytes that may be used at an address (`ksize`).
    pub(crate) fn slob_ksize(&self, addr: VirtAddr) -> Option<u64> {
        let (block, object) = self.slob_block_at(addr)?;
        (object.start == addr).then_some(match block {
            SlobBlock::Pages(pfn, _) => u64::from(self.mem_map.page(pfn).order().pages()) * PAGE_SIZE,
            SlobBlock::Units(_, _, Owner::Kmalloc(size)) => u64::from(size).next_multiple_of(SLOB_UNIT),
            SlobBlock::Units(_, _, Owner::Cache(id)) => u64::from(self.caches.all[id].size),
        })
    }

    /// Objects of a cache: SLOB itself does not know, we look.
    pub(crate) fn slob_census(&self, id: CacheId) -> CacheCensus {
        let state = &self.caches.slob;
        let of = |owner: &Owner| *owner == Owner::Cache(id);
        let small = state
            .pages
            .iter()
            .map(|(_, page)| page.used.values().filter(|(_, owner)| of(owner)).count() as u64);
        let large: Vec<u64> = state
            .large
            .iter()
            .filter(|(_, owner)| of(owner))
            .map(|(pfn, _)| u64::from(self.mem_map.page(*pfn).order().pages()))
            .collect();
        let on_pages: Vec<u64> = small.filter(|n| *n > 0).collect();
        let allocated = on_pages.iter().sum::<u64>() + large.len() as u64;
        let slabs = (on_pages.len() + large.len()) as u64;
        let pages = on_pages.len() as u64 + large.iter().sum::<u64>();
        CacheCensus { allocated, total: allocated, slabs, pages }
    }

    /// Numbers as /proc/slabinfo would show them: SLOB has no such file, so these are ours.
    pub(crate) fn slob_slabinfo(&self, id: CacheId) -> SlabInfo {
        let census = self.slob_census(id);
        SlabInfo {
            active_objs: census.allocated,
            num_objs: census.total,
            active_slabs: census.slabs,
            num_slabs: census.slabs,
            objects_per_slab: self.caches.all[id].objects,
            cache_order: self.caches.all[id].order.get(),
            ..SlabInfo::default()
        }
    }

    /// A page that is there from boot on, with some objects of a cache.
    pub(crate) fn slob_adopt(&mut self, id: CacheId, pfn: Pfn, block: SlabPages, used: u32) {
        self.mark_slab_pages(block, pfn);
        let cache = &self.caches.all[id];
        let size = u64::from(cache.size);
        if size >= PAGE_SIZE || block.order > Order::ZERO {
            self.caches.slob.large.insert(pfn, Owner::Cache(id));
            return;
        }
        let stride = units(size.next_multiple_of(u64::from(cache.align)));
        let fits = (PAGE_UNITS as u16 / stride.max(1)).min(used as u16);
        let mut page =
            SlobPage { pfn, units: PAGE_UNITS, free: BTreeMap::new(), used: BTreeMap::new(), list: None };
        page.free.insert(0, PAGE_UNITS as u16);
        for n in 0..fits {
            let (fit, _) = page.find_fit(units(size), u64::from(self.caches.all[id].align), 0);
            let Some((at, delta)) = fit else { break };
            debug_assert_eq!(at + delta, n * stride);
            let start = page.take(at, delta, units(size));
            page.used.insert(start, (units(size), Owner::Cache(id)));
        }
        let list = (page.units > 0).then(|| list_of(size));
        page.list = list;
        let number = self.caches.slob.pages.insert(page);
        if let Some(list) = list {
            self.caches.slob.lists[list as usize].push_back(number);
        }
        self.mem_map.page_mut(pfn).mapping = number.index() + 1;
    }

    /// Is nothing of the cache in use? SLOB keeps nothing that could be given back.
    pub(crate) fn slob_shutdown(&mut self, id: CacheId) -> bool {
        self.slob_census(id).allocated == 0
    }
}

/// What a free finds.
#[derive(Clone, Copy)]
enum SlobBlock {
    /// Whole pages.
    Pages(Pfn, Owner),
    /// A block of a page.
    Units(SlobId, u16, Owner),
}

/// SLOB counts all its pages as unreclaimable.
fn slob_block(order: Order) -> SlabPages {
    SlabPages { order, reclaimable: false, mapping: 0 }
}
