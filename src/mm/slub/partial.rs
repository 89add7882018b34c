//! Partial lists: slabs with free objects, of a CPU or of a node.
//!
//! Kernel: `mm/slub.c` (`get_partial_node`, `put_cpu_partial`, `__unfreeze_partials`, `deactivate_slab`).
//! Fidelity: faithful — ends of lists, limits, counters. Simplified — other nodes are always asked
//! (`remote_node_defrag_ratio` is thrown at dice in the kernel, and says no one time in forty).

use super::slabs::{END, TAKEN};
use super::{Place, SlabNr, Stat};
use crate::mm::addr::Pfn;
use crate::mm::config::ZoneType;
use crate::mm::machine::Machine;
use crate::mm::slab_common::{CacheId, SlabPages};

impl Machine {
    /// Puts a slab on its node's partial list (`add_partial`).
    pub(super) fn add_partial(&mut self, nr: SlabNr, tail: bool) {
        let slab = self.slab_mut(nr);
        slab.place = Place::Partial;
        let (id, pfn, node) = (slab.cache, slab.pfn, usize::from(slab.node));
        let at = id.index() as usize * self.nodes.len() + node;
        let list = &mut self.caches.slub.node[at].partial;
        if tail { list.push_back(&mut self.mem_map, pfn) } else { list.push_front(&mut self.mem_map, pfn) }
    }

    /// Takes a slab off its node's partial list (`remove_partial`).
    pub(super) fn remove_partial(&mut self, nr: SlabNr) {
        let slab = self.slab_mut(nr);
        slab.place = Place::Full;
        let (id, pfn, node) = (slab.cache, slab.pfn, usize::from(slab.node));
        let at = id.index() as usize * self.nodes.len() + node;
        self.caches.slub.node[at].partial.remove(&mut self.mem_map, pfn);
    }

    /// The slabs on a node's partial list, first to last.
    pub fn partial_slabs(&self, id: CacheId, node: usize) -> impl Iterator<Item = SlabNr> + '_ {
        let heads = self.kmem_cache_node(id, node).partial.iter(&self.mem_map);
        heads.filter_map(|pfn: Pfn| SlabNr::of_mapping(self.mem_map.page(pfn).mapping))
    }

    /// The slabs on a CPU's partial list, first to last.
    pub fn cpu_partial_slabs(&self, id: CacheId, cpu: usize) -> impl Iterator<Item = SlabNr> + '_ {
        let mut at = self.kmem_cache_cpu(id, cpu).partial;
        std::iter::from_fn(move || {
            let nr = at.some()?;
            at = self.slab(nr).next;
            Some(nr)
        })
    }

    /// A slab with free objects, first of the node, then of all others that can spare one: the slab, its first free
    /// object, and how many more slabs came along (`get_partial`).
    pub(super) fn get_partial(&mut self, id: CacheId, node: Option<usize>) -> Option<(SlabNr, u16, u32)> {
        let near = node.unwrap_or(self.mem_node());
        if let Some(found) = self.get_partial_node(id, near) {
            return Some(found);
        }
        self.other_nodes(id, node, near).into_iter().find_map(|other| self.get_partial_node(id, other))
    }

    /// Nodes beside the near one that have more partial slabs than they must keep, by distance (`get_any_partial`).
    fn other_nodes(&self, id: CacheId, wanted: Option<usize>, near: usize) -> Vec<usize> {
        if wanted.is_some() || self.nodes.len() == 1 {
            return Vec::new();
        }
        let least = self.caches.all[id].min_partial;
        let zones = self.nodes[near].zonelists[ZoneType::Normal as usize].iter();
        let mut nodes: Vec<usize> = zones.map(|zone| self.zones[zone.index()].pgdat).collect();
        nodes.dedup();
        nodes.retain(|&node| node != near && self.kmem_cache_node(id, node).partial.len > least);
        nodes
    }

    /// Takes the first partial slab of a node for this CPU, and some more for its partial list (`get_partial_node`).
    fn get_partial_node(&mut self, id: CacheId, node: usize) -> Option<(SlabNr, u16, u32)> {
        let cpu = self.cpu.index();
        let limit = self.caches.all[id].cpu_partial_slabs;
        let (nr, index) = self.acquire_slab(id, node, Place::Cpu(cpu as u16))?;
        let slab = self.slab_mut(nr);
        (slab.freelist, slab.inuse) = (END, slab.objects);
        self.count_stat(id, Stat::AllocFromPartial);
        let mut taken_along = 0;
        if limit == 0 {
            return Some((nr, index, 0));
        }
        while let Some((more, _)) = self.acquire_slab(id, node, Place::CpuPartial(cpu as u16)) {
            self.put_cpu_partial(id, more, false);
            self.count_stat(id, Stat::CpuPartialNode);
            taken_along += 1;
            if taken_along > limit / 2 {
                break;
            }
        }
        Some((nr, index, taken_along))
    }

    /// Takes the first slab off a node's partial list, and says where its free list begins (`acquire_slab`).
    fn acquire_slab(&mut self, id: CacheId, node: usize, place: Place) -> Option<(SlabNr, u16)> {
        let nr = self.partial_slabs(id, node).next()?;
        self.remove_partial(nr);
        let slab = self.slab_mut(nr);
        slab.place = place;
        Some((nr, slab.freelist))
    }

    /// One object of a partial slab whose objects are checked (`alloc_single_from_partial`).
    pub(super) fn single_from_partial(
        &mut self,
        id: CacheId,
        node: Option<usize>,
        requested: u64,
    ) -> Option<(SlabNr, u16)> {
        let near = node.unwrap_or(self.mem_node());
        for node in std::iter::once(near).chain(self.other_nodes(id, node, near)) {
            loop {
                let first = self.partial_slabs(id, node).next();
                let Some(nr) = first else { break };
                let index = self.slab(nr).freelist;
                let next = self.links(nr).next(u32::from(index));
                self.set_link(nr, index, TAKEN);
                let slab = self.slab_mut(nr);
                slab.freelist = next;
                slab.inuse += 1;
                if slab.inuse == slab.objects || next >= END {
                    self.remove_partial(nr);
                }
                if self.alloc_debug_processing(nr, index, requested) {
                    return Some((nr, index));
                }
            }
        }
        None
    }

    /// Puts a slab on this CPU's partial list; when that is full, the list goes to the node first (`put_cpu_partial`).
    pub(super) fn put_cpu_partial(&mut self, id: CacheId, nr: SlabNr, drain: bool) {
        let cpu = self.cpu.index();
        let limit = self.caches.all[id].cpu_partial_slabs;
        let c = self.kmem_cache_cpu(id, cpu);
        let (partial, partial_slabs) = (c.partial, c.partial_slabs);
        let full = drain && partial != SlabNr::NONE && u32::from(partial_slabs) >= limit;
        let (next, slabs) = if full { (SlabNr::NONE, 0) } else { (partial, partial_slabs) };
        let slab = self.slab_mut(nr);
        (slab.next, slab.place) = (next, Place::CpuPartial(cpu as u16));
        let own = self.kmem_cache_cpu_mut(id, cpu);
        (own.partial, own.partial_slabs) = (nr, slabs + 1);
        if full {
            self.unfreeze_partials(partial);
            self.count_stat(id, Stat::CpuPartialDrain);
        }
    }

    /// Takes the first slab off this CPU's partial list and allocates from it.
    pub(super) fn take_cpu_partial(&mut self, id: CacheId, cpu: usize, nr: SlabNr) {
        let next = std::mem::replace(&mut self.slab_mut(nr).next, SlabNr::NONE);
        self.slab_mut(nr).place = Place::Cpu(cpu as u16);
        let c = self.kmem_cache_cpu_mut(id, cpu);
        c.partial = next;
        c.partial_slabs = c.partial_slabs.saturating_sub(1);
        self.open_slab(id, cpu, nr);
        self.count_stat(id, Stat::CpuPartialAlloc);
    }

    /// Slabs of a CPU's partial list go to their nodes, empty ones back (`__unfreeze_partials`).
    fn unfreeze_partials(&mut self, first: SlabNr) {
        let (mut at, mut discard) = (first, Vec::new());
        while let Some(nr) = at.some() {
            let slab = self.slab_mut(nr);
            at = std::mem::replace(&mut slab.next, SlabNr::NONE);
            let (id, node, empty) = (slab.cache, usize::from(slab.node), slab.inuse == 0);
            if empty && self.kmem_cache_node(id, node).partial.len >= self.caches.all[id].min_partial {
                self.slab_mut(nr).place = Place::Full;
                discard.push(nr);
            } else {
                self.add_partial(nr, true);
                self.count_stat(id, Stat::FreeAddPartial);
            }
        }
        for nr in discard {
            let id = self.slab(nr).cache;
            self.count_stat(id, Stat::DeactivateEmpty);
            self.discard_slab(nr);
        }
    }

    /// The CPU's slab is its own no longer: what was on its free list goes back to the slab (`flush_slab`).
    pub(super) fn flush_slab(&mut self, id: CacheId, cpu: usize) {
        let Some(nr) = self.kmem_cache_cpu(id, cpu).slab.some() else { return };
        let freelist = self.close_slab(id, cpu);
        self.count_stat(id, Stat::CpuslabFlush);
        self.deactivate_slab(id, nr, freelist);
    }

    /// Finds a slab its place when its CPU gives it up (`deactivate_slab`).
    fn deactivate_slab(&mut self, id: CacheId, nr: SlabNr, freelist: u16) {
        let remote = self.slab(nr).freelist < END;
        if remote {
            self.count_stat(id, Stat::DeactivateRemoteFrees);
        }
        // The CPU's list goes in front of what others freed.
        let (mut last, mut n) = (END, 0);
        for index in self.links(nr).walk(freelist) {
            (last, n) = (index, n + 1);
        }
        if last < END {
            self.set_link(nr, last, self.slab(nr).freelist);
            self.slab_mut(nr).freelist = freelist;
        }
        let slab = self.slab_mut(nr);
        slab.inuse -= n;
        let (inuse, has_free, node) = (slab.inuse, slab.freelist < END, usize::from(slab.node));
        slab.place = Place::Full;
        if inuse == 0 && self.kmem_cache_node(id, node).partial.len >= self.caches.all[id].min_partial {
            self.count_stat(id, Stat::DeactivateEmpty);
            self.discard_slab(nr);
        } else if has_free {
            self.add_partial(nr, remote);
            self.count_stat(id, if remote { Stat::DeactivateToTail } else { Stat::DeactivateToHead });
        } else {
            self.count_stat(id, Stat::DeactivateFull);
        }
    }

    /// Takes everything from a CPU (`__flush_cpu_slab`).
    pub(crate) fn flush_cpu_slab(&mut self, id: CacheId, cpu: usize) {
        self.flush_slab(id, cpu);
        let c = self.kmem_cache_cpu_mut(id, cpu);
        let first = std::mem::replace(&mut c.partial, SlabNr::NONE);
        c.partial_slabs = 0;
        self.unfreeze_partials(first);
    }

    /// Gives a slab's pages back (`discard_slab`, `free_slab`).
    pub(super) fn discard_slab(&mut self, nr: SlabNr) {
        let Some(slab) = self.caches.slub.slabs.remove(nr) else { return };
        self.count_stat(slab.cache, Stat::FreeSlab);
        let of_node = self.kmem_cache_node_mut(slab.cache, usize::from(slab.node));
        of_node.nr_slabs -= 1;
        of_node.total_objects -= u64::from(slab.objects);
        if !self.caches.slub.tracks.is_empty() {
            self.forget_tracks(&slab);
        }
        let order = crate::mm::addr::Order::new(slab.order).unwrap_or_default();
        let block = SlabPages::of(&self.caches.all[slab.cache], order, 0);
        self.free_slab_pages(block, slab.pfn);
    }

    /// Empty slabs of the nodes' lists go back, full ones to the front: true when no slab is left (`__kmem_cache_do_shrink`).
    pub(crate) fn slub_shrink(&mut self, id: CacheId) -> bool {
        (0..self.caches.cpus).for_each(|cpu| self.flush_cpu_slab(id, cpu));
        let mut none_left = true;
        for node in 0..self.nodes.len() {
            let slabs: Vec<SlabNr> = self.partial_slabs(id, node).collect();
            let free = |nr: &SlabNr| self.slab(*nr).objects - self.slab(*nr).inuse;
            // Those with the fewest free objects come to the front, up to so many (SHRINK_PROMOTE_MAX).
            const PROMOTE_MAX: u16 = 32;
            let mut promoted: Vec<(u16, SlabNr)> =
                slabs.iter().map(|nr| (free(nr), *nr)).filter(|(free, _)| *free <= PROMOTE_MAX).collect();
            promoted.retain(|(_, nr)| self.slab(*nr).inuse > 0);
            promoted.sort_by_key(|(free, _)| std::cmp::Reverse(*free));
            for nr in slabs.into_iter().filter(|nr| self.slab(*nr).inuse == 0).collect::<Vec<_>>() {
                self.remove_partial(nr);
                self.discard_slab(nr);
            }
            for (_, nr) in promoted {
                self.remove_partial(nr);
                self.add_partial(nr, false);
            }
            none_left &= self.kmem_cache_node(id, node).nr_slabs == 0;
        }
        none_left
    }

    /// Gives back every slab; false when some have objects in use: these are reported and stay (`__kmem_cache_shutdown`).
    pub(crate) fn slub_shutdown(&mut self, id: CacheId) -> bool {
        (0..self.caches.cpus).for_each(|cpu| self.flush_cpu_slab(id, cpu));
        let (mut empty, mut left) = (Vec::new(), Vec::new());
        for nr in self.slabs_of(id) {
            if self.slab(nr).inuse == 0 { &mut empty } else { &mut left }.push(nr);
        }
        for nr in empty {
            if self.slab(nr).place == Place::Partial {
                self.remove_partial(nr);
            }
            self.discard_slab(nr);
        }
        for &nr in &left {
            self.list_slab_objects(nr);
        }
        left.is_empty()
    }
}
