//! SLAB: queues of free objects for every CPU, and slabs that are full, partial or free.
//!
//! ```text
//!   kmem_cache_alloc ─► array_cache of the CPU ─ empty ─► batchcount objects from the shared array of the node
//!      ▲   LIFO, limit entries    │                        └ empty ─► from slabs_partial, then slabs_free
//!      │                          │                                     └ none ─► cache_grow: a new slab
//!   kmem_cache_free ◄─────────────┘ full: the batchcount oldest go to the shared array, or to their slabs
//!
//!   a slab   │ colour │ object 0 │ object 1 │ … │ left over │      freelist: indices, [active..] are free
//!                                                                 in a free object, off the slab, or at its end
//! ```
//!
//! In 2.4 the freelist was an array of `kmem_bufctl_t` in which each free object names the next one (`slab_bufctl`);
//! here it is a stack of indices whose first `active` have been taken. A slab's first address moves by `colour_off`
//! from slab to slab, so that the same object of different slabs falls on different cache lines.
//!
//! Gorman 8.1 to 8.5. Kernel: `mm/slab.c`.
//! Fidelity: faithful — three lists, array caches and their limits, the shared array, batches, order and colour,
//! where the freelist lies, reaping. Simplified — objects of other nodes go back to their slabs at once, as with an
//! alien cache of length 0; the timer that reaps runs when a script calls it. Absent — `CONFIG_DEBUG_SLAB` (red
//! zones, poison; the checks of a freed address are ours), slabs of pfmemalloc reserves.

mod alloc;
mod check;
mod free;
mod layout;
mod reap;

pub use layout::{FreelistPlace, colours, cpucache_sizes};

use crate::mm::addr::{PAGE_SHIFT, Pfn, VirtAddr};
use crate::mm::errno::{Errno, Oops};
use crate::mm::machine::Machine;
use crate::mm::page::{List, PageFlags};
use crate::mm::panic::Taint;
use crate::mm::slab_common::{CacheCensus, CacheId, SlabInfo, SlabObject, SlabPages};
use crate::mm::slots::{Id, Slots};

/// The number of a slab; its place stands in the mapping of its first page.
pub type SlabId = Id<Slab>;

/// On which of the node's lists a slab is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SlabList {
    /// Every object was taken.
    Full,
    /// Some were.
    Partial,
    /// None was.
    Free,
}

/// A block of pages cut into objects.
#[derive(Clone, Debug)]
pub struct Slab {
    /// The cache.
    pub cache: CacheId,
    /// Its first page.
    pub pfn: Pfn,
    /// The index of its node.
    pub node: usize,
    /// The first object (`s_mem`): the slab's address and its colour.
    pub s_mem: VirtAddr,
    /// Objects that were taken: by users, or into a queue.
    pub active: u32,
    /// Indices of objects; those from `active` on are free.
    pub(crate) freelist: Vec<u8>,
    /// Which objects their users have: what waits in a queue is not among them.
    used: [u64; 4],
    /// The list it is on.
    pub list: SlabList,
    /// The object of another cache that holds the freelist.
    pub(crate) off_slab: Option<VirtAddr>,
}

impl Slab {
    /// Has somebody the object?
    pub fn is_used(&self, index: u32) -> bool {
        self.used[index as usize / 64] & (1 << (index % 64)) != 0
    }

    /// Indices of free objects, the next one to be taken first.
    pub fn free_indices(&self) -> &[u8] {
        &self.freelist[self.active as usize..]
    }

    /// Objects of the slab.
    pub fn total(&self) -> u32 {
        self.freelist.len() as u32
    }

    fn set_used(&mut self, index: u32, used: bool) {
        let (word, bit) = (&mut self.used[index as usize / 64], 1 << (index % 64));
        *word = if used { *word | bit } else { *word & !bit };
    }

    /// Objects that somebody has.
    pub fn nr_used(&self) -> u32 {
        self.used.iter().map(|word| word.count_ones()).sum()
    }
}

/// A stack of free objects (`struct array_cache`): the last one freed is the first one given.
#[derive(Clone, Debug, Default)]
pub struct ArrayCache {
    /// Addresses of free objects, oldest first.
    pub entry: Vec<VirtAddr>,
    /// Most entries.
    pub limit: u32,
    /// It was used since the reaper looked.
    pub touched: bool,
}

/// The slabs of a cache on one node (`struct kmem_cache_node`).
#[derive(Clone, Debug, Default)]
pub struct CacheNode {
    /// Every object taken.
    pub full: List,
    /// Some taken.
    pub partial: List,
    /// None taken.
    pub free: List,
    /// Free objects of all slabs; those in queues are not among them.
    pub free_objects: u32,
    /// More of them are not kept: free slabs go back.
    pub free_limit: u32,
    /// The colour of the last slab.
    pub colour_next: u32,
    /// The queue between the node's CPUs.
    pub shared: Option<ArrayCache>,
    /// A slab was taken from the free list since the reaper looked.
    pub free_touched: bool,
}

impl CacheNode {
    /// All slabs.
    pub fn total_slabs(&self) -> u32 {
        self.full.len + self.partial.len + self.free.len
    }

    fn list_mut(&mut self, list: SlabList) -> &mut List {
        match list {
            SlabList::Full => &mut self.full,
            SlabList::Partial => &mut self.partial,
            SlabList::Free => &mut self.free,
        }
    }
}

/// What SLAB counts of a cache (`CONFIG_DEBUG_SLAB`'s statistics), always on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stats {
    /// Allocations from the CPU's queue.
    pub allochit: u64,
    /// Allocations that had to fill it.
    pub allocmiss: u64,
    /// Frees to the CPU's queue.
    pub freehit: u64,
    /// Frees that had to empty it.
    pub freemiss: u64,
    /// Objects moved between queues and slabs.
    pub moved: u64,
    /// New slabs.
    pub grown: u64,
    /// Slabs given back.
    pub reaped: u64,
}

/// What SLAB knows of a cache beside its sizes.
#[derive(Clone, Debug)]
pub struct SlabCache {
    /// Objects of a slab.
    pub num: u32,
    /// Different offsets of the first object.
    pub colour: u32,
    /// Bytes from one to the next.
    pub colour_off: u32,
    /// Bytes of a slab that are left over.
    pub left_over: u32,
    /// Where slabs have their freelist.
    pub freelist: FreelistPlace,
    /// Most entries of a CPU's queue.
    pub limit: u32,
    /// Objects that go to it or from it at once.
    pub batchcount: u32,
    /// The shared array holds so many batches.
    pub shared: u32,
    /// Each CPU's queue.
    pub cpus: Vec<ArrayCache>,
    /// Each node's slabs.
    pub nodes: Vec<CacheNode>,
    /// Counters.
    pub stats: Stats,
}

/// SLAB's state: everything about every cache.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// Caches by the place of their number.
    caches: Vec<Option<SlabCache>>,
    /// Every slab.
    pub(crate) slabs: Slots<Slab>,
    /// The cache at which the next reaping begins (`clock_searchp`).
    clock_searchp: usize,
}

impl State {
    /// What SLAB knows of a cache.
    pub fn cache(&self, id: CacheId) -> Option<&SlabCache> {
        self.caches.get(id.index() as usize)?.as_ref()
    }

    /// The same, to be changed; every cache of a SLAB machine has it.
    fn of(&mut self, id: CacheId) -> &mut SlabCache {
        match self.caches.get_mut(id.index() as usize).and_then(Option::as_mut) {
            Some(cache) => cache,
            None => panic!("cache {id:?} is none of SLAB's"),
        }
    }

    /// The slab whose first page has this in its mapping.
    fn slab_of_mapping(&self, mapping: u32) -> Option<SlabId> {
        self.slabs.at(mapping.checked_sub(1)?)
    }

    /// The slab whose freelist is the object at an address.
    pub(crate) fn freelist_at(&self, addr: VirtAddr) -> Option<&Slab> {
        self.slabs.iter().map(|(_, slab)| slab).find(|slab| slab.off_slab == Some(addr))
    }

    /// Every slab of a cache: list by list, in the order of the lists.
    pub fn slabs_of<'a>(&'a self, machine: &'a Machine, id: CacheId) -> Vec<&'a Slab> {
        let nodes = self.cache(id).map_or(&[][..], |cache| &cache.nodes);
        let lists = nodes.iter().flat_map(|node| [node.partial, node.full, node.free]);
        let pages = lists.flat_map(|list| list.iter(&machine.mem_map).collect::<Vec<_>>());
        let slab = |pfn| self.slabs.get(self.slab_of_mapping(machine.mem_map.page(pfn).mapping)?);
        pages.filter_map(slab).collect()
    }
}

impl Machine {
    /// SLAB has its own state of a new cache: queues and empty lists (`__kmem_cache_create`).
    pub(crate) fn slab_cache_created(&mut self, id: CacheId) -> Result<(), Errno> {
        let Some(mut cache) = self.slab_state_of(id) else { return Err(Errno::E2BIG) };
        cache.cpus = vec![ArrayCache { limit: cache.limit, ..ArrayCache::default() }; self.caches.cpus];
        let shared = ArrayCache { limit: cache.shared * cache.batchcount, ..ArrayCache::default() };
        cache.nodes = self
            .nodes
            .iter()
            .map(|node| CacheNode {
                free_limit: (1 + node.cpus.len() as u32) * cache.batchcount + cache.num,
                shared: (cache.shared > 0).then(|| shared.clone()),
                ..CacheNode::default()
            })
            .collect();
        let caches = &mut self.caches.slab.caches;
        let at = id.index() as usize;
        if caches.len() <= at {
            caches.resize(at + 1, None);
        }
        caches[at] = Some(cache);
        Ok(())
    }

    /// The cache loses its number.
    pub(crate) fn slab_cache_gone(&mut self, id: CacheId) {
        if let Some(place) = self.caches.slab.caches.get_mut(id.index() as usize) {
            *place = None;
        }
    }

    /// Puts a slab on a list of its node: at its front, or at its end; one that is there already stays.
    fn move_slab(&mut self, id: CacheId, slab: SlabId, list: SlabList, front: bool) {
        let of = &mut self.caches.slab.slabs[slab];
        let (pfn, node, from) = (of.pfn, of.node, of.list);
        if from == list && front {
            return;
        }
        of.list = list;
        let map = &mut self.mem_map;
        let node = &mut self.caches.slab.of(id).nodes[node];
        node.list_mut(from).remove(map, pfn);
        if front {
            node.list_mut(list).push_front(map, pfn);
        } else {
            node.list_mut(list).push_back(map, pfn);
        }
    }

    /// A slab that is there from boot on, with some objects in use.
    pub(crate) fn slab_adopt(&mut self, id: CacheId, pfn: Pfn, block: SlabPages, used: u32) {
        let num = self.caches.slab.of(id).num;
        let node = self.zones[self.mem_map.page(pfn).zone().index()].pgdat;
        self.mark_slab_pages(block, pfn);
        self.insert_slab(id, pfn, node, 0, (0..num as u8).collect(), used.min(num));
    }

    /// Gives an object back in the usual case; `false` has done nothing.
    pub(crate) fn slab_free_object_fast(&mut self, addr: VirtAddr) -> bool {
        match self.slab_object(addr).filter(|object| object.allocated && object.start == addr) {
            Some(object) => {
                self.cache_free(object.cache, addr);
                true
            }
            None => false,
        }
    }

    /// Gives an object back (`__cache_free`).
    ///
    /// # Errors
    /// SLAB's complaint, in the words of a kernel that checks.
    pub(crate) fn slab_free_object(&mut self, expected: Option<CacheId>, addr: VirtAddr) -> Result<(), Oops> {
        let Some(object) = self.slab_object(addr) else {
            return Err(self.not_an_object("kmem_cache_free", addr));
        };
        let name = self.caches.all[object.cache].name().to_string();
        if let Some(other) = expected.filter(|id| *id != object.cache) {
            let other = self.caches.all[other].name().to_string();
            let line = format!("cache_from_obj: Wrong slab cache. {other} but object is from {name}");
            let advice = format!("kmem_cache_free: {addr} belongs to {name}; nothing was freed");
            return Err(self.slab_error(Taint::Warn, line, advice));
        }
        if object.start != addr {
            let line = format!("slab error in cache_free_debugcheck(): cache `{name}': bad object pointer");
            let advice = format!("{addr} lies inside the object that begins at {}", object.start);
            return Err(self.slab_error(Taint::BadPage, line, advice));
        }
        if !object.allocated {
            let line = format!("slab error in verify_redzone_free(): cache `{name}': double free detected");
            let advice = format!("{addr} is free already; free an object once");
            return Err(self.slab_error(Taint::BadPage, line, advice));
        }
        self.cache_free(object.cache, addr);
        Ok(())
    }

    fn slab_error(&mut self, taint: Taint, line: String, advice: String) -> Oops {
        self.printk(line.clone());
        self.dump_stack(&["cache_free_debugcheck", "__cache_free", "kmem_cache_free"]);
        self.add_taint(taint);
        Oops::new(line, advice)
    }

    /// Somebody has the object from now on, or no longer.
    fn mark_used(&mut self, id: CacheId, addr: VirtAddr, used: bool) {
        let size = u64::from(self.caches.all[id].size);
        if let Some(slab) = self.slab_holding(addr) {
            let slab = &mut self.caches.slab.slabs[slab];
            slab.set_used(((addr.0 - slab.s_mem.0) / size) as u32, used);
        }
    }

    /// The slab whose pages hold an address.
    fn slab_holding(&self, addr: VirtAddr) -> Option<SlabId> {
        let head = self.virt_to_head(addr)?;
        let page = self.mem_map.page(head);
        page.is(PageFlags::SLAB).then(|| self.caches.slab.slab_of_mapping(page.mapping)).flatten()
    }

    /// The object that holds an address.
    pub(crate) fn slab_object(&self, addr: VirtAddr) -> Option<SlabObject> {
        let slab = &self.caches.slab.slabs[self.slab_holding(addr)?];
        let (cache, known) = (&self.caches.all[slab.cache], self.caches.slab.cache(slab.cache)?);
        let inside = addr.0.checked_sub(slab.s_mem.0)?;
        let index = (inside / u64::from(cache.size)) as u32;
        if index >= known.num {
            return None;
        }
        let start = VirtAddr(slab.s_mem.0 + u64::from(index) * u64::from(cache.size));
        Some(SlabObject { cache: slab.cache, start, index, allocated: slab.is_used(index), slab: slab.pfn })
    }

    /// Numbers for /proc/slabinfo (`get_slabinfo`): what waits in queues counts as active.
    pub(crate) fn slab_slabinfo(&self, id: CacheId) -> SlabInfo {
        let Some(cache) = self.caches.slab.cache(id) else { return SlabInfo::default() };
        let sum = |of: fn(&CacheNode) -> u32| cache.nodes.iter().map(|node| u64::from(of(node))).sum::<u64>();
        let (slabs, free) = (sum(CacheNode::total_slabs), sum(|node| node.free.len));
        let num_objs = slabs * u64::from(cache.num);
        SlabInfo {
            active_objs: num_objs - sum(|node| node.free_objects),
            num_objs,
            active_slabs: slabs - free,
            num_slabs: slabs,
            objects_per_slab: cache.num,
            cache_order: self.caches.all[id].order.get(),
            limit: cache.limit,
            batchcount: cache.batchcount,
            shared: cache.shared,
            shared_avail: sum(|node| node.shared.as_ref().map_or(0, |ac| ac.entry.len() as u32)),
        }
    }

    /// Objects and slabs of a cache, each looked at: what waits in queues is free.
    pub(crate) fn slab_census(&self, id: CacheId) -> CacheCensus {
        let Some(cache) = self.caches.slab.cache(id) else { return CacheCensus::default() };
        let info = self.slab_slabinfo(id);
        let queued: usize = cache.cpus.iter().map(|ac| ac.entry.len()).sum();
        CacheCensus {
            allocated: info.active_objs - queued as u64 - info.shared_avail,
            total: info.num_objs,
            slabs: info.num_slabs,
            pages: info.num_slabs << self.caches.all[id].order.get(),
        }
    }

    /// Fills an object with zeros, if anybody wrote its pages.
    pub(crate) fn zero_kernel_bytes(&mut self, addr: VirtAddr, bytes: u64) {
        let (mut at, end) = (addr.0, addr.0 + bytes);
        while at < end {
            let next = ((at >> PAGE_SHIFT) + 1) << PAGE_SHIFT;
            let Some(pfn) = self.virt_to_pfn(VirtAddr(at)) else { return };
            if self.contents.get(pfn).is_some() {
                let (from, to) = ((at & 0xfff) as usize, ((next.min(end) - 1) & 0xfff) as usize);
                self.contents.get_mut(pfn)[from..=to].fill(0);
            }
            at = next;
        }
    }
}
