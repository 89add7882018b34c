//! The invariants of SLUB, each with a name.
//!
//! Fidelity: ours.

use super::slabs::END;
use super::{Place, SlabNr};
use crate::mm::check::Broken;
use crate::mm::machine::Machine;
use crate::mm::page::PageFlags;
use crate::mm::slab_common::{CacheId, LARGE_KMALLOC, UNTOLD_RECLAIMABLE};
use crate::mm::vmstat::NodeStat;

fn broken<T>(invariant: &'static str, what: String) -> Result<T, Broken> {
    Err(Broken { invariant, what })
}

impl Machine {
    /// Proves them, or names the first that does not hold.
    pub(crate) fn slub_check(&self) -> Result<(), Broken> {
        let nodes = self.nodes.len();
        let mut of_node = vec![(0u64, 0u64, 0usize); self.caches.slub.node.len()];
        let mut pages = vec![[0u64; 2]; nodes];
        for (nr, slab) in self.caches.slub.slabs.iter() {
            self.check_slab(nr)?;
            let at = slab.cache.index() as usize * nodes + usize::from(slab.node);
            of_node[at].0 += 1;
            of_node[at].1 += u64::from(slab.objects);
            of_node[at].2 += usize::from(slab.place == Place::Partial);
            let reclaimable = self.caches.all[slab.cache].is_reclaimable();
            pages[usize::from(slab.node)][usize::from(!reclaimable)] += 1 << slab.order;
        }
        for &id in &self.caches.order {
            let at = id.index() as usize * nodes;
            self.check_lists(id, &of_node[at..at + nodes])?;
            for node in 0..nodes {
                let (known, found) =
                    (self.kmem_cache_node(id, node), of_node[id.index() as usize * nodes + node]);
                if (known.nr_slabs, known.total_objects) != (found.0, found.1) {
                    return broken(
                        "slabs and objects of a node are counted",
                        format!("{}: {found:?} found, {known:?}", self.caches.all[id].name()),
                    );
                }
            }
        }
        self.check_slab_pages(&pages)
    }

    fn check_slab(&self, nr: SlabNr) -> Result<(), Broken> {
        let slab = self.slab(nr);
        let Some(cache) = self.caches.all.get(slab.cache) else {
            return broken("a slab belongs to a cache", format!("slab at pfn {}", slab.pfn));
        };
        let place = || format!("{} slab at pfn {}", cache.name(), slab.pfn);
        let page = self.mem_map.page(slab.pfn);
        if !page.is(PageFlags::SLAB)
            || page.mapping != nr.mapping()
            || page.refcount != 1
            || page.order().get() != slab.order
        {
            return broken("a slab's first page is marked so", place());
        }
        let first = match slab.place {
            Place::Cpu(cpu) => self.kmem_cache_cpu(slab.cache, cpu.into()).freelist,
            _ => END,
        };
        let mut seen = vec![false; usize::from(slab.objects)];
        let (mut own, mut of_cpu) = (0, 0);
        for (list, count) in [(slab.freelist, &mut own), (first, &mut of_cpu)] {
            for index in self.links(nr).walk(list) {
                if std::mem::replace(&mut seen[usize::from(index)], true) && !self.caches.slub.scribbled {
                    return broken("a free list has no loop and no object twice", place());
                }
                *count += 1;
            }
        }
        if self.caches.slub.scribbled {
            return Ok(());
        }
        let free = self.links(nr).free() as usize;
        if free != own + of_cpu {
            return broken(
                "free and allocated objects are all of the slab",
                format!("{}: {free} free, {own} and {of_cpu} listed", place()),
            );
        }
        if usize::from(slab.inuse) + own != usize::from(slab.objects) {
            return broken(
                "inuse is what is not on the slab's list",
                format!("{}: {} + {own} of {}", place(), slab.inuse, slab.objects),
            );
        }
        Ok(())
    }

    /// Each list holds what says it is there, once.
    fn check_lists(&self, id: CacheId, found: &[(u64, u64, usize)]) -> Result<(), Broken> {
        let name = || self.caches.all[id].name().to_string();
        for cpu in 0..self.caches.cpus {
            let c = self.kmem_cache_cpu(id, cpu);
            if c.slab.some().is_some_and(|nr| self.slab(nr).place != Place::Cpu(cpu as u16))
                || (c.slab == SlabNr::NONE && c.freelist < END)
            {
                return broken("a CPU's slab knows its CPU", format!("{} cpu {cpu}", name()));
            }
            let copied = match c.slab.some() {
                Some(nr) => {
                    let size = u64::from(self.caches.all[id].size);
                    let slab = self.slab(nr);
                    (c.base, c.span) == (self.object_address(nr, 0).0, u64::from(slab.objects) * size)
                        && (c.of, c.size, c.node) == (id.generation(), size, slab.node)
                        && slab.links.is_empty()
                        && self.caches.slub.slabs.owner(nr) == Some(id.index() as usize)
                }
                None => c.span == 0 && c.links.is_empty(),
            };
            if !copied {
                return broken("a CPU has its slab's place and links", format!("{} cpu {cpu}", name()));
            }
            let list: Vec<SlabNr> =
                self.cpu_partial_slabs(id, cpu).take(self.caches.slub.slabs.len() + 1).collect();
            if list.iter().any(|nr| self.slab(*nr).place != Place::CpuPartial(cpu as u16))
                || list.len() != usize::from(c.partial_slabs)
            {
                return broken(
                    "a CPU's partial list is as long as it says",
                    format!("{} cpu {cpu}: {} of {}", name(), list.len(), c.partial_slabs),
                );
            }
        }
        for (node, found) in found.iter().enumerate() {
            let list: Vec<SlabNr> = self.partial_slabs(id, node).collect();
            let fits = |nr: &SlabNr| {
                let slab = self.slab(*nr);
                slab.place == Place::Partial
                    && usize::from(slab.node) == node
                    && slab.cache == id
                    && slab.freelist < END
            };
            let told = self.kmem_cache_node(id, node).partial.len as usize;
            let here = found.2;
            if !list.iter().all(fits) || list.len() != told || here != told {
                return broken(
                    "a partial list holds the node's slabs with free objects",
                    format!("{} node {node}: {} listed, {told} counted, {here} say so", name(), list.len()),
                );
            }
        }
        Ok(())
    }

    /// `nr_slab_reclaimable` is the pages of such slabs, `nr_slab_unreclaimable` those of the others and of large kmallocs.
    fn check_slab_pages(&self, pages: &[[u64; 2]]) -> Result<(), Broken> {
        let mut pages = pages.to_vec();
        let told = |node: &crate::mm::mmzone::Node| {
            [node.stat(NodeStat::SlabReclaimable), node.stat(NodeStat::SlabUnreclaimable)]
        };
        if self.nodes.iter().zip(&pages).all(|(node, pages)| told(node) == *pages) {
            return Ok(());
        }
        for pfn in self.mem_map.touched() {
            let page = self.mem_map.page(pfn);
            let kind = match page.mapping {
                _ if page.refcount == 0 => continue,
                UNTOLD_RECLAIMABLE => 0,
                LARGE_KMALLOC => 1,
                _ => continue,
            };
            pages[self.zones[page.zone().index()].pgdat][kind] += u64::from(page.order().pages());
        }
        for (node, pages) in self.nodes.iter().zip(pages) {
            let told = told(node);
            if told != pages {
                return broken(
                    "nr_slab counters are the pages of slabs",
                    format!("node {}: {pages:?} found, {told:?} counted", node.nid),
                );
            }
        }
        Ok(())
    }
}
