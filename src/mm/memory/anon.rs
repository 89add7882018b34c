//! Anonymous faults: the zero page, the new page, and copy on write.
//!
//! Gorman 4.6.2, 4.6.6. Kernel: `mm/memory.c` (`do_anonymous_page`, `do_wp_page`, `wp_page_copy`).
//! Fidelity: faithful — reuse when the page is exclusive or alone, copy otherwise; `pgreuse`.

use super::VmFault;
use crate::mm::addr::{Pfn, VirtAddr};
use crate::mm::lru::Lru;
use crate::mm::machine::Machine;
use crate::mm::page::PageFlags;
use crate::mm::pgtable::{Pte, TableId};
use crate::mm::rmap::{AnonVmaId, MAPPING_ANON};
use crate::mm::task::{MmId, Rss};
use crate::mm::trace::FaultKind;
use crate::mm::vma::{VmFlags, VmaId};
use crate::mm::vmstat::{NodeStat, VmEvent, ZoneStat};

impl Machine {
    /// First touch of an anonymous page (`do_anonymous_page`).
    #[inline]
    pub(super) fn do_anonymous_page(
        &mut self,
        mm: MmId,
        vma: VmaId,
        leaf: TableId,
        addr: VirtAddr,
        write: bool,
    ) -> Result<FaultKind, VmFault> {
        if !write {
            let pte = self.zero_pte(self.vmas[vma].flags);
            self.tables.set(leaf, addr, pte);
            return Ok(FaultKind::ZeroPage);
        }
        let anon = self.anon_vma_prepare(vma);
        let pfn = self.alloc_user_page(true)?;
        self.add_rss(mm, Rss::Anon, 1);
        let flags = self.add_new_anon_page(pfn, vma, anon, addr);
        let mut bits = flags.page_prot() | Pte::SOFT_DIRTY;
        if flags.has(VmFlags::WRITE) {
            bits |= Pte::RW | Pte::DIRTY;
        }
        self.tables.set(leaf, addr, Pte::new(pfn, bits));
        Ok(FaultKind::NewPage { pfn })
    }

    /// A new anonymous page is mapped for the first time and joins the inactive list; the area's flags.
    ///
    /// It is `page_add_new_anon_rmap` and `lru_cache_add_inactive_or_unevictable` with one look at the page.
    #[inline(always)]
    pub(crate) fn add_new_anon_page(
        &mut self,
        pfn: Pfn,
        vma: VmaId,
        anon: AnonVmaId,
        addr: VirtAddr,
    ) -> VmFlags {
        let area = &self.vmas[vma];
        let flags = area.flags;
        if flags.has(VmFlags::LOCKED) {
            self.page_add_new_anon_rmap(pfn, vma, anon, addr);
            self.lru_add_anon(pfn, flags);
            return flags;
        }
        let page = self.mem_map.page_mut(pfn);
        page.become_anon(MAPPING_ANON | (anon.index() + 1), area.index_of(addr));
        page.set(PageFlags::LRU);
        let zone = &mut self.zones[page.zone().index()];
        zone.mod_stat(ZoneStat::ZoneInactiveAnon, 1);
        let node = &mut self.nodes[zone.pgdat];
        node.mod_stat(NodeStat::AnonPages, 1);
        node.mod_stat(NodeStat::InactiveAnon, 1);
        let list = &mut node.lruvec.lists[Lru::InactiveAnon as usize];
        page.next = list.head;
        list.link_front(&mut self.mem_map, pfn);
        flags
    }

    /// A new anonymous page joins the inactive list, or the unevictable one in a locked area.
    #[inline]
    pub(crate) fn lru_add_anon(&mut self, pfn: Pfn, flags: VmFlags) {
        if flags.has(VmFlags::LOCKED) && !flags.any(VmFlags::SPECIAL) {
            self.mlock_new_page(pfn);
        }
        self.lru_add(pfn);
    }

    /// A write to a present, write-protected page (`do_wp_page`).
    pub(super) fn do_wp_page(
        &mut self,
        mm: MmId,
        vma: VmaId,
        leaf: TableId,
        addr: VirtAddr,
        pte: Pte,
    ) -> Result<FaultKind, VmFault> {
        if pte.has(Pte::SPECIAL) {
            return self.wp_page_copy(mm, vma, leaf, addr, pte);
        }
        if self.vmas[vma].flags.has(VmFlags::SHARED) {
            return self.wp_page_shared(mm, vma, leaf, addr, pte);
        }
        let pfn = pte.pfn();
        let page = self.mem_map.page(pfn);
        if page.mapping & MAPPING_ANON == 0 {
            return self.wp_page_copy(mm, vma, leaf, addr, pte);
        }
        if page.is(PageFlags::EXCLUSIVE) || self.is_alone(pfn) {
            // page_move_anon_rmap: from now on only this process's areas need to be searched.
            if let Some(anon) = self.vmas[vma].anon_vma {
                let page = self.mem_map.page_mut(pfn);
                page.mapping = crate::mm::rmap::MAPPING_ANON | (anon.index() + 1);
                page.set(PageFlags::EXCLUSIVE);
            }
            self.tables.set(leaf, addr, pte.with(Pte::RW | Pte::DIRTY | Pte::ACCESSED | Pte::SOFT_DIRTY));
            self.flush_tlb_page(mm, addr);
            self.vmstat.count(VmEvent::Pgreuse, 1);
            return Ok(FaultKind::Reuse { pfn, split: false });
        }
        self.wp_page_copy(mm, vma, leaf, addr, pte)
    }

    /// Maps a page of the task's own in place of what was there, writable if the area is.
    pub(super) fn map_new_anon(&mut self, mm: MmId, vma: VmaId, leaf: TableId, addr: VirtAddr, new: Pfn) {
        let anon = self.anon_vma_prepare(vma);
        let flags = self.add_new_anon_page(new, vma, anon, addr);
        let mut bits = flags.page_prot() | Pte::DIRTY | Pte::SOFT_DIRTY;
        if flags.has(VmFlags::WRITE) {
            bits |= Pte::RW;
        }
        self.tables.set(leaf, addr, Pte::new(new, bits));
        self.flush_tlb_page(mm, addr);
    }

    /// Is this entry the page's only user, but for the swap cache?
    fn is_alone(&mut self, pfn: Pfn) -> bool {
        let page = self.mem_map.page(pfn);
        let cached = u32::from(page.is(PageFlags::SWAPCACHE));
        if page.refcount > 1 + cached {
            return false;
        }
        if cached > 0 {
            self.try_to_free_swap(pfn);
        }
        self.mem_map.page(pfn).refcount == 1
    }

    /// Copies the page for the writer (`wp_page_copy`).
    fn wp_page_copy(
        &mut self,
        mm: MmId,
        vma: VmaId,
        leaf: TableId,
        addr: VirtAddr,
        pte: Pte,
    ) -> Result<FaultKind, VmFault> {
        self.anon_vma_prepare(vma);
        let from_zero = pte.has(Pte::SPECIAL);
        let old = pte.pfn();
        // The page must not go while the copy is made: reclaim may run in between.
        if !from_zero {
            self.mem_map.page_mut(old).refcount += 1;
        }
        let new = match self.alloc_user_page(from_zero) {
            Ok(new) => new,
            Err(e) => {
                if !from_zero {
                    self.put_lru_page(old);
                }
                return Err(e);
            }
        };
        if !from_zero {
            let bytes = self.page_bytes(old);
            self.contents.put(new, bytes);
            self.charge(self.config.costs.copy_page);
        }
        // Reclaim may have taken the old page out of the table meanwhile: then the fault is tried again.
        let leaf = self.leaf(mm, addr).unwrap_or(leaf);
        let now = Pte(self.tables.get(leaf).entries[crate::mm::pgtable::index(addr, 0)]);
        if now.without(Pte::ACCESSED | Pte::DIRTY) != pte.without(Pte::ACCESSED | Pte::DIRTY) {
            self.put_lru_page(new);
            if !from_zero {
                self.put_lru_page(old);
            }
            return Ok(FaultKind::Spurious);
        }
        self.map_new_anon(mm, vma, leaf, addr, new);
        if from_zero {
            self.add_rss(mm, Rss::Anon, 1);
        } else {
            if self.vmas[vma].flags.has(VmFlags::LOCKED) {
                self.munlock_page(old, vma);
            }
            let kind = self.mm_counter(old);
            if kind != Rss::Anon {
                self.add_rss(mm, kind, -1);
                self.add_rss(mm, Rss::Anon, 1);
            }
            self.page_remove_rmap(old);
            self.put_lru_page(old);
            self.free_page_and_swap_cache(old);
        }
        Ok(FaultKind::Copy { old, new, from_zero, split: false })
    }
}
