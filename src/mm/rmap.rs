//! Reverse mapping: from a page to every entry that maps it.
//!
//! ```text
//!   page ── mapping ──► anon_vma ──► areas that may map its pages: the creator's, and its children's after fork
//!                  or ► file ──────► i_mmap: areas of the file, by the first page they show
//!        ── index ────► the address in each of them
//! ```
//!
//! Gorman 10 (2.4 had to search every page table). Kernel: `mm/rmap.c`.
//! Fidelity: faithful — anon_vma chains, fork, reuse of an anon_vma nobody else uses, map counts. Simplified —
//! a fault or a fork that gets no memory for an anon_vma or a link of a chain goes on without the object.

mod unmap;

use crate::mm::addr::{Pfn, VirtAddr};
use crate::mm::augmented::IntervalTree;
use crate::mm::kernel_caches::KernelCache;
use crate::mm::machine::Machine;
use crate::mm::page::PageFlags;
use crate::mm::pgtable::{Pte, TableId};
use crate::mm::slots::Id;
use crate::mm::task::Rss;
use crate::mm::vma::{VmFlags, VmaId};
use crate::mm::vmstat::NodeStat;
use std::collections::BTreeMap;

/// Number of an anon_vma.
pub type AnonVmaId = Id<AnonVma>;

/// In `Page::mapping`: the rest is the number of an anon_vma.
pub const MAPPING_ANON: u32 = 1 << 31;

/// What ties anonymous pages to the areas that map them (`struct anon_vma`).
#[derive(Clone, Debug, Default)]
pub struct AnonVma {
    /// Areas whose chain names it, by the pages they may map (`rb_root`).
    pub vmas: IntervalTree,
    /// The anon_vma it was forked from.
    pub parent: Option<AnonVmaId>,
    /// anon_vmas forked from it, itself counted when it is a root.
    pub num_children: u32,
    /// Areas that put new pages here.
    pub num_active_vmas: u32,
    /// Its object; those of the boot's areas have none of their own.
    object: Option<VirtAddr>,
    /// The `anon_vma_chain` that ties each area to it.
    chains: BTreeMap<VmaId, VirtAddr>,
}

impl AnonVma {
    /// The areas that may map a page of this index (`anon_vma_interval_tree_foreach`).
    fn areas_of(&self, index: u32) -> Vec<VmaId> {
        let index = u64::from(index);
        let mut areas = self.vmas.overlapping(index, index);
        // Of an area that lies across the point where page indices begin again, the upper part.
        let again = index + (1 << 32);
        areas.extend(self.vmas.overlapping(again, again));
        areas
    }

    /// Its objects of a kind.
    pub(crate) fn objects(&self, kind: KernelCache) -> impl Iterator<Item = VirtAddr> + '_ {
        let own = self.object.filter(|_| kind == KernelCache::AnonVma);
        let ties = self.chains.values().copied().filter(move |_| kind == KernelCache::AnonVmaChain);
        own.into_iter().chain(ties)
    }
}

impl Machine {
    /// Gives an area an anon_vma before its first anonymous page (`anon_vma_prepare`).
    #[inline]
    pub(crate) fn anon_vma_prepare(&mut self, vma: VmaId) -> AnonVmaId {
        match self.vmas[vma].anon_vma {
            Some(anon) => anon,
            None => self.make_anon_vma(vma),
        }
    }

    #[cold]
    fn make_anon_vma(&mut self, id: VmaId) -> AnonVmaId {
        let anon = self.find_mergeable_anon_vma(id).unwrap_or_else(|| {
            let object = self.rmap_object(id, KernelCache::AnonVma);
            self.anon_vmas.insert(AnonVma { num_children: 1, object, ..AnonVma::default() })
        });
        self.anon_vmas[anon].num_active_vmas += 1;
        self.vmas[id].anon_vma = Some(anon);
        self.anon_vma_chain_link(id, anon);
        anon
    }

    /// An object for an area's ties. The areas of the boot have none: what they had is among what the caches had.
    fn rmap_object(&mut self, id: VmaId, kind: KernelCache) -> Option<VirtAddr> {
        self.vmas[id].object?;
        self.kernel_object(kind).ok()
    }

    /// Ties an area to an anon_vma (`anon_vma_chain_link`).
    fn anon_vma_chain_link(&mut self, id: VmaId, anon: AnonVmaId) {
        let chain = self.rmap_object(id, KernelCache::AnonVmaChain);
        let interval = self.vmas[id].anon_interval(id);
        let of = &mut self.anon_vmas[anon];
        of.vmas.insert(interval);
        of.chains.extend(chain.map(|chain| (id, chain)));
        self.vmas[id].chain.push(anon);
    }

    /// A neighbour's anon_vma, if the two could become one area later (`find_mergeable_anon_vma`).
    fn find_mergeable_anon_vma(&self, id: VmaId) -> Option<AnonVmaId> {
        let vma = &self.vmas[id];
        let next = self.mms[vma.mm].vmas.get(vma.end);
        let prev = self.find_vma_prev(vma.mm, vma.start).filter(|p| self.vmas[*p].end == vma.start);
        next.and_then(|n| self.reusable_anon_vma(id, n, n))
            .or_else(|| prev.and_then(|p| self.reusable_anon_vma(p, id, p)))
    }

    /// `reusable_anon_vma` with `anon_vma_compatible`: the two lie side by side and differ in access bits at most.
    fn reusable_anon_vma(&self, low: VmaId, high: VmaId, with: VmaId) -> Option<AnonVmaId> {
        let (a, b) = (&self.vmas[low], &self.vmas[high]);
        let ignored = VmFlags::ACCESS.with(VmFlags::SOFTDIRTY);
        let compatible = a.end == b.start
            && (a.name, a.file) == (b.name, b.file)
            && a.flags.without(ignored) == b.flags.without(ignored)
            && b.pgoff == a.pgoff + a.pages();
        let anon = self.vmas[with].anon_vma?;
        (compatible && self.vmas[with].chain.len() == 1).then_some(anon)
    }

    /// Ties an area to everything another one is tied to (`anon_vma_clone`).
    fn anon_vma_clone(&mut self, to: VmaId, from: VmaId) {
        for anon in self.vmas[from].chain.clone() {
            self.anon_vma_chain_link(to, anon);
            // A child that nobody uses any more may be used again.
            let a = &self.anon_vmas[anon];
            let idle = a.num_children < 2 && a.num_active_vmas == 0;
            if self.vmas[to].anon_vma.is_none() && self.vmas[from].anon_vma.is_some() && idle {
                self.vmas[to].anon_vma = Some(anon);
            }
        }
        if let Some(anon) = self.vmas[to].anon_vma {
            self.anon_vmas[anon].num_active_vmas += 1;
        }
    }

    /// An area goes on where another one of the same address space put its pages, and is tied to all it is tied to.
    #[inline]
    pub(crate) fn anon_vma_inherit(&mut self, to: VmaId, from: VmaId) {
        if self.vmas[from].chain.is_empty() {
            return;
        }
        self.vmas[to].anon_vma = self.vmas[from].anon_vma;
        self.anon_vma_clone(to, from);
    }

    /// Ties a child's area to its parent's pages, and gives it an anon_vma of its own (`anon_vma_fork`).
    pub(crate) fn anon_vma_fork(&mut self, child: VmaId, parent: VmaId) {
        let Some(parents) = self.vmas[parent].anon_vma else { return };
        self.vmas[child].anon_vma = None;
        self.anon_vma_clone(child, parent);
        if self.vmas[child].anon_vma.is_some() {
            return;
        }
        let object = self.rmap_object(child, KernelCache::AnonVma);
        let anon = AnonVma { parent: Some(parents), num_active_vmas: 1, object, ..AnonVma::default() };
        let anon = self.anon_vmas.insert(anon);
        self.anon_vmas[parents].num_children += 1;
        self.vmas[child].anon_vma = Some(anon);
        self.anon_vma_chain_link(child, anon);
    }

    /// Unties an area; an anon_vma without areas goes (`unlink_anon_vmas`).
    #[inline(always)]
    pub(crate) fn unlink_anon_vmas(&mut self, id: VmaId) {
        if !self.vmas[id].chain.is_empty() {
            self.unlink_chain(id);
        }
    }

    fn unlink_chain(&mut self, id: VmaId) {
        let vma = &mut self.vmas[id];
        let interval = vma.anon_interval(id);
        let own = vma.anon_vma.take();
        let chain = std::mem::take(&mut vma.chain);
        if let Some(own) = own {
            self.anon_vmas[own].num_active_vmas -= 1;
        }
        for anon in chain {
            let of = &mut self.anon_vmas[anon];
            of.vmas.remove(interval);
            let (empty, object) = (of.vmas.is_empty(), of.object);
            if let Some(chain) = of.chains.remove(&id) {
                self.free_kernel_object(KernelCache::AnonVmaChain, chain);
            }
            if empty {
                if let Some(parent) = self.anon_vmas[anon].parent.filter(|p| self.anon_vmas.get(*p).is_some())
                {
                    self.anon_vmas[parent].num_children =
                        self.anon_vmas[parent].num_children.saturating_sub(1);
                }
                self.anon_vmas.remove(anon);
                if let Some(object) = object {
                    self.free_kernel_object(KernelCache::AnonVma, object);
                }
            }
        }
    }

    /// The entries that map a page: area, address, PTE table (`rmap_walk`).
    pub fn rmap(&self, pfn: Pfn) -> Vec<(VmaId, VirtAddr, TableId)> {
        let page = self.mem_map.page(pfn);
        if page.mapcount() == 0 {
            return Vec::new();
        }
        if page.mapping & MAPPING_ANON != 0 {
            let Some(anon) = self.anon_vmas.at((page.mapping & !MAPPING_ANON) - 1) else { return Vec::new() };
            let areas = self.anon_vmas[anon].areas_of(page.index).into_iter();
            return areas.filter_map(|id| self.entry_of(id, pfn, page.index)).collect();
        }
        let Some(file) = self.file_of(pfn) else { return Vec::new() };
        let index = u64::from(page.index);
        let areas = self.files[file].i_mmap.overlapping(index, index).into_iter();
        areas.filter_map(|id| self.entry_of(id, pfn, page.index)).collect()
    }

    /// Where an area would map a page of this index, if it does.
    fn entry_of(&self, id: VmaId, pfn: Pfn, index: u32) -> Option<(VmaId, VirtAddr, TableId)> {
        let vma = &self.vmas[id];
        let addr = vma.address_of(index)?;
        let leaf = self.tables.leaf(self.mms[vma.mm].pgd, addr)?;
        let pte = Pte(self.tables.get(leaf).entries[crate::mm::pgtable::index(addr, 0)]);
        (pte.is_present() && !pte.has(Pte::SPECIAL) && pte.pfn() == pfn).then_some((id, addr, leaf))
    }

    /// Which of a task's counters a page of a file is in (`mm_counter_file`).
    #[inline]
    pub(crate) fn mm_counter_file(&self, pfn: Pfn) -> Rss {
        if self.mem_map.page(pfn).is(PageFlags::SWAPBACKED) { Rss::Shmem } else { Rss::File }
    }

    /// Which of a task's counters a page is in (`mm_counter`).
    #[inline]
    pub(crate) fn mm_counter(&self, pfn: Pfn) -> Rss {
        if self.mem_map.page(pfn).mapping & MAPPING_ANON != 0 { Rss::Anon } else { self.mm_counter_file(pfn) }
    }

    /// An entry that maps a page of a file was added (`page_add_file_rmap`).
    #[inline]
    pub(crate) fn page_add_file_rmap(&mut self, pfn: Pfn) {
        let page = self.mem_map.page_mut(pfn);
        page.map();
        if page.mapcount() == 1 {
            let pgdat = self.zones[page.zone().index()].pgdat;
            self.nodes[pgdat].mod_stat(NodeStat::Mapped, 1);
        }
    }

    /// Entries of shared areas lose the right to write and the mark of a write, so that the next one is seen
    /// (`folio_mkclean`); true when one had written.
    pub(crate) fn page_mkclean(&mut self, pfn: Pfn) -> bool {
        let mut cleaned = false;
        for (vma, addr, leaf) in self.rmap(pfn) {
            let pte = Pte(self.tables.get(leaf).entries[crate::mm::pgtable::index(addr, 0)]);
            if self.vmas[vma].flags.has(VmFlags::SHARED) && (pte.has(Pte::DIRTY) || pte.has(Pte::RW)) {
                self.tables.set(leaf, addr, pte.without(Pte::DIRTY | Pte::RW));
                self.flush_tlb_page(self.vmas[vma].mm, addr);
                cleaned = true;
            }
        }
        cleaned
    }

    /// A new anonymous page is mapped for the first time (`page_add_new_anon_rmap`).
    #[inline]
    pub(crate) fn page_add_new_anon_rmap(&mut self, pfn: Pfn, vma: VmaId, anon: AnonVmaId, addr: VirtAddr) {
        let index = self.vmas[vma].index_of(addr);
        let page = self.mem_map.page_mut(pfn);
        page.become_anon(MAPPING_ANON | (anon.index() + 1), index);
        let zone = page.zone();
        let pgdat = self.zones[zone.index()].pgdat;
        self.nodes[pgdat].mod_stat(NodeStat::AnonPages, 1);
    }

    /// An entry that maps an anonymous page was added (`page_add_anon_rmap`).
    pub(crate) fn page_add_anon_rmap(&mut self, pfn: Pfn, vma: VmaId, addr: VirtAddr, exclusive: bool) {
        if self.mem_map.page(pfn).mapcount() == 0 {
            let root = self.vmas[vma].chain.first().copied().or(self.vmas[vma].anon_vma);
            // Shared pages hang on the oldest anon_vma of the family: all of it can find them.
            let anon = if exclusive { self.vmas[vma].anon_vma } else { root };
            let index = self.vmas[vma].index_of(addr);
            let page = self.mem_map.page_mut(pfn);
            if let Some(anon) = anon {
                page.mapping = MAPPING_ANON | (anon.index() + 1);
                page.index = index;
            }
            let pgdat = self.zones[page.zone().index()].pgdat;
            self.nodes[pgdat].mod_stat(NodeStat::AnonPages, 1);
        }
        let page = self.mem_map.page_mut(pfn);
        page.map();
        if exclusive {
            page.set(PageFlags::EXCLUSIVE);
        }
    }

    /// An entry that maps a page is gone (`page_remove_rmap`).
    #[inline]
    pub(crate) fn page_remove_rmap(&mut self, pfn: Pfn) {
        let page = self.mem_map.page_mut(pfn);
        let anon = page.mapping & MAPPING_ANON != 0;
        if page.unmap() == 0 {
            let pgdat = self.zones[page.zone().index()].pgdat;
            self.nodes[pgdat].mod_stat(if anon { NodeStat::AnonPages } else { NodeStat::Mapped }, -1);
        }
    }
}
