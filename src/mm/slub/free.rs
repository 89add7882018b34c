//! Giving an object back.
//!
//! Kernel: `mm/slub.c` (`do_slab_free`, `__slab_free`).
//! Fidelity: faithful — fast path, which slab moves where, counters. Simplified — what a kernel without debugging would
//! not see (an object that is free already, an address inside of one) is always noticed, in the words of one that checks.

use super::slabs::{END, TAKEN};
use super::{Place, SlabNr, Stat};
use crate::mm::addr::{PAGE_SHIFT, Pfn, VirtAddr};
use crate::mm::errno::Oops;
use crate::mm::machine::Machine;
use crate::mm::page::PageFlags;
use crate::mm::slab_common::{CacheId, SlabFlags};
use crate::mm::trace::{Event, SlabEvent};

impl Machine {
    /// Pushes an object on the CPU's own free list, if its slab is the CPU's; `false` has done nothing.
    #[inline]
    pub(crate) fn slub_free_fast(&mut self, addr: VirtAddr) -> bool {
        self.push_to_cpu(None, addr).is_some()
    }

    #[inline]
    fn push_to_cpu(&mut self, only: Option<CacheId>, addr: VirtAddr) -> Option<()> {
        let (cpus, cpu) = (self.caches.cpus, self.cpu.index());
        let recent = self.caches.slub.recent;
        let near = self.caches.slub.cpu.get(recent * cpus + cpu).is_some_and(|c| c.holds(addr));
        let owner = if near { recent } else { self.owner_by_page(addr)? };
        let c = self.caches.slub.cpu.get_mut(owner * cpus + cpu)?;
        let other = |only: CacheId| only.index() as usize != owner || only.generation() != c.of;
        if !c.holds(addr) || only.is_some_and(other) || self.trace.hot {
            return None;
        }
        let offset = addr.0 - c.base;
        let index = (offset.wrapping_mul(c.reciprocal) >> 46) as usize;
        let link = c.links.slot(index)?;
        if *link != TAKEN || index as u64 * c.size != offset {
            return None;
        }
        *link = c.freelist;
        c.freelist = index as u16;
        c.fast[1] += 1;
        Some(())
    }

    /// The place of the cache whose slab holds an address, as the page tells.
    #[inline]
    fn owner_by_page(&self, addr: VirtAddr) -> Option<usize> {
        let from_start = addr.0.wrapping_sub(self.caches.direct_map);
        let pfn = Pfn(u32::try_from(from_start >> PAGE_SHIFT).ok()?);
        let page = self.mem_map.touched_page(pfn)?;
        let page =
            if page.is(PageFlags::TAIL) { self.mem_map.touched_page(Pfn(page.private))? } else { page };
        if !page.is(PageFlags::SLAB) {
            return None;
        }
        self.caches.slub.slabs.owner(SlabNr::of_mapping(page.mapping)?)
    }

    /// Gives an object back, to the given cache if one is named (`slab_free`, `cache_from_obj`).
    pub(crate) fn slub_free(&mut self, only: Option<CacheId>, addr: VirtAddr) -> Result<(), Oops> {
        if self.push_to_cpu(only, addr).is_some() {
            return Ok(());
        }
        self.slub_free_further(only, addr)
    }

    #[cold]
    fn slub_free_further(&mut self, only: Option<CacheId>, addr: VirtAddr) -> Result<(), Oops> {
        let Some(nr) = self.slab_of(addr) else {
            let call = if only.is_some() { "kmem_cache_free" } else { "kfree" };
            return Err(self.not_an_object(call, addr));
        };
        let id = self.slab(nr).cache;
        if let Some(asked) = only.filter(|asked| *asked != id) {
            return Err(self.wrong_cache(asked, nr, addr));
        }
        let index = self.checked_index(nr, addr)?;
        if self.caches.all[id].is_debug() {
            self.free_debug_processing(nr, index)?;
        }
        if self.trace.hot {
            let kmalloc = self.caches.all[id].flags.has(SlabFlags::KMALLOC);
            let cache = self.caches.all[id].names.clone();
            self.emit(Event::Slab(SlabEvent::Free { cache, kmalloc, addr: addr.0 }));
        }
        if self.caches.all[id].is_debug() {
            self.count_stat(id, Stat::FreeSlowpath);
            self.put_checked(nr, index);
        } else {
            self.put_object(id, nr, index);
        }
        Ok(())
    }

    /// The object's place in its slab, if it begins there and is in use.
    fn checked_index(&mut self, nr: SlabNr, addr: VirtAddr) -> Result<u16, Oops> {
        let (slab, first) = (self.slab(nr), self.object_address(nr, 0));
        let size = u64::from(self.caches.all[slab.cache].size);
        let index = addr.0.checked_sub(first.0).map(|offset| (offset / size, offset % size));
        match index {
            Some((index, 0)) if index < u64::from(slab.objects) => match self.links(nr).next(index as u32) {
                TAKEN => Ok(index as u16),
                _ => Err(self.free_twice(nr, index as u16)),
            },
            _ => Err(self.invalid_pointer(nr, addr)),
        }
    }

    /// The slab gets its object back, and goes where it belongs now (`__slab_free`).
    fn put_object(&mut self, id: CacheId, nr: SlabNr, index: u16) {
        let cpu = self.cpu.index();
        if self.kmem_cache_cpu(id, cpu).slab == nr {
            let first = self.kmem_cache_cpu(id, cpu).freelist;
            self.set_link(nr, index, first);
            self.kmem_cache_cpu_mut(id, cpu).freelist = index;
            self.count_stat(id, Stat::FreeFastpath);
            return;
        }
        self.count_stat(id, Stat::FreeSlowpath);
        let prior = self.slab(nr).freelist;
        self.set_link(nr, index, prior);
        let slab = self.slab_mut(nr);
        slab.freelist = index;
        slab.inuse -= 1;
        if slab.frozen() {
            self.count_stat(id, Stat::FreeFrozen);
            return;
        }
        let (empty, was_full, node) = (slab.inuse == 0, prior >= END, usize::from(slab.node));
        let has_cpu_partial = self.caches.all[id].cpu_partial > 0;
        if was_full && has_cpu_partial {
            self.put_cpu_partial(id, nr, true);
            self.count_stat(id, Stat::CpuPartialFree);
        } else if empty && self.kmem_cache_node(id, node).partial.len >= self.caches.all[id].min_partial {
            if !was_full {
                self.remove_partial(nr);
                self.count_stat(id, Stat::FreeRemovePartial);
            }
            self.discard_slab(nr);
        } else if was_full {
            self.add_partial(nr, true);
            self.count_stat(id, Stat::FreeAddPartial);
        }
    }

    /// The same for a slab whose objects are checked: no CPU has it (end of `free_debug_processing`).
    fn put_checked(&mut self, nr: SlabNr, index: u16) {
        let prior = self.slab(nr).freelist;
        self.set_link(nr, index, prior);
        let slab = self.slab_mut(nr);
        let (id, node) = (slab.cache, usize::from(slab.node));
        slab.freelist = index;
        slab.inuse -= 1;
        let (empty, place) = (slab.inuse == 0, slab.place);
        let enough = self.kmem_cache_node(id, node).partial.len >= self.caches.all[id].min_partial;
        if empty && enough {
            if place == Place::Partial {
                self.remove_partial(nr);
                self.count_stat(id, Stat::FreeRemovePartial);
            }
            self.discard_slab(nr);
        } else if place == Place::Full {
            self.add_partial(nr, true);
            self.count_stat(id, Stat::FreeAddPartial);
        }
    }
}
