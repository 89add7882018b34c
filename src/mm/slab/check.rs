//! What must hold of SLAB's lists and queues.
//!
//! Fidelity: ours.

use super::{SlabCache, SlabList};
use crate::mm::check::Broken;
use crate::mm::machine::Machine;
use crate::mm::page::PageFlags;
use crate::mm::slab_common::CacheId;
use std::collections::BTreeSet;

impl Machine {
    /// Proves the invariants of every cache.
    pub(crate) fn slab_check(&self) -> Result<(), Broken> {
        for &id in &self.caches.order {
            if let Some(cache) = self.caches.slab.cache(id) {
                self.check_slab_lists(id, cache)?;
                self.check_queues(id, cache)?;
            }
        }
        Ok(())
    }

    fn check_slab_lists(&self, id: CacheId, cache: &SlabCache) -> Result<(), Broken> {
        let name = self.caches.all[id].name();
        let wrong =
            |invariant, what: String| Err(Broken { invariant, what: format!("cache {name}: {what}") });
        let mut used = 0;
        for node in &cache.nodes {
            let mut free = 0;
            for (kind, list) in
                [(SlabList::Full, node.full), (SlabList::Partial, node.partial), (SlabList::Free, node.free)]
            {
                let mut len = 0;
                for pfn in list.iter(&self.mem_map) {
                    let page = self.mem_map.page(pfn);
                    let slab = self
                        .caches
                        .slab
                        .slab_of_mapping(page.mapping)
                        .map(|slab| &self.caches.slab.slabs[slab]);
                    let Some(slab) = slab.filter(|slab| slab.pfn == pfn && slab.cache == id) else {
                        return wrong("the pages of a slab know it", format!("pfn {pfn}"));
                    };
                    if !page.is(PageFlags::SLAB) {
                        return wrong("the pages of a slab are marked", format!("pfn {pfn}"));
                    }
                    let right = match slab.active {
                        0 => SlabList::Free,
                        n if n == cache.num => SlabList::Full,
                        _ => SlabList::Partial,
                    };
                    if kind != right || slab.list != kind {
                        return wrong(
                            "a slab is on the list of its kind",
                            format!("pfn {pfn}: {} of {} taken, on {kind:?}", slab.active, cache.num),
                        );
                    }
                    let indices: BTreeSet<u8> = slab.freelist.iter().copied().collect();
                    if indices.len() != cache.num as usize && slab.active == 0 {
                        return wrong("a free slab lists each object once", format!("pfn {pfn}"));
                    }
                    used += slab.nr_used();
                    free += cache.num - slab.active;
                    len += 1;
                }
                if len != list.len {
                    return wrong("a list is as long as it says", format!("{kind:?}: {len} of {}", list.len));
                }
            }
            if free != node.free_objects {
                return wrong(
                    "free objects are counted",
                    format!("{free} found, {} counted", node.free_objects),
                );
            }
        }
        let counted = self.slab_census(id).allocated;
        if u64::from(used) != counted {
            return wrong(
                "what is taken and in no queue is in use",
                format!("{used} in use, {counted} counted"),
            );
        }
        Ok(())
    }

    fn check_queues(&self, id: CacheId, cache: &SlabCache) -> Result<(), Broken> {
        let name = self.caches.all[id].name();
        let mut seen = BTreeSet::new();
        let shared = cache.nodes.iter().filter_map(|node| node.shared.as_ref());
        for ac in cache.cpus.iter().chain(shared) {
            if ac.entry.len() > ac.limit as usize {
                let what = format!("cache {name}: {} of {}", ac.entry.len(), ac.limit);
                return Err(Broken { invariant: "a queue keeps its limit", what });
            }
            for &addr in &ac.entry {
                let slab = self.slab_holding(addr).map(|slab| &self.caches.slab.slabs[slab]);
                let taken = slab.is_some_and(|slab| {
                    let index =
                        (addr.0.wrapping_sub(slab.s_mem.0) / u64::from(self.caches.all[id].size)) as u8;
                    slab.cache == id && !slab.freelist[slab.active as usize..].contains(&index)
                });
                if !taken || !seen.insert(addr) {
                    let what = format!("cache {name}: {addr}");
                    return Err(Broken { invariant: "an object in a queue is in one place", what });
                }
            }
        }
        Ok(())
    }
}
