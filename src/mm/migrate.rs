//! Moving a page to another frame while its owners keep using it.
//!
//! ```text
//!   old frame ──► every entry that maps it is taken out ──► flags, bytes, swap slot, list place move ──► entries point at the new frame
//! ```
//!
//! Gorman has no such thing (2.4 does not migrate). Kernel: `mm/migrate.c`.
//! Fidelity: faithful — what moves and what is refused (locked, under writeback, more references than mappings).
//! Simplified — the entries are never seen in between; pages of all file systems move. Absent — huge pages.

use crate::mm::addr::Pfn;
use crate::mm::machine::Machine;
use crate::mm::page::PageFlags;
use crate::mm::page_owner::MigrateReason;
use crate::mm::pgtable::{Pte, index};
use crate::mm::vmstat::{NodeStat, VmEvent, ZoneStat};
use crate::mm::xarray::Entry;

impl Machine {
    /// Could the page move at all? An anonymous page or one of a file, on a list, with no user but its entries and a cache.
    pub(crate) fn is_migratable(&self, pfn: Pfn) -> bool {
        let page = self.mem_map.page(pfn);
        let busy = PageFlags::LOCKED | PageFlags::WRITEBACK | PageFlags::MLOCKED;
        let held = self.references_held(pfn);
        page.is(PageFlags::LRU)
            && (page.is(PageFlags::SWAPBACKED) || self.file_of(pfn).is_some())
            && !page.is_any(busy)
            && !page.is_thp()
            && held > 0
            && page.refcount == held
    }

    /// References of a page that its entries and its cache hold (`folio_expected_refs`).
    pub(crate) fn references_held(&self, pfn: Pfn) -> u32 {
        let page = self.mem_map.page(pfn);
        let cached = page.is(PageFlags::SWAPCACHE) || self.file_of(pfn).is_some();
        page.mapcount() + u32::from(cached)
    }

    /// Moves a page into a frame that the caller has taken from the allocator (`migrate_folio_move`).
    ///
    /// False when it could not move; the frame is the caller's still.
    pub(crate) fn migrate_page(&mut self, old: Pfn, new: Pfn, reason: MigrateReason) -> bool {
        if !self.is_migratable(old) {
            self.vmstat.count(VmEvent::PgmigrateFail, 1);
            return false;
        }
        let entries = self.rmap(old);
        if entries.len() as u32 != self.mem_map.page(old).mapcount() {
            self.vmstat.count(VmEvent::PgmigrateFail, 1);
            return false;
        }
        self.lru_unlink(old);
        let from = self.mem_map.page(old);
        let to = self.mem_map.page_mut(new);
        to.set(from.flags());
        (to.refcount, to.mapping, to.index, to.private) =
            (from.refcount, from.mapping, from.index, from.private);
        for _ in 0..from.mapcount() {
            to.map();
        }
        let bytes = self.contents.share(old);
        self.contents.put(new, bytes);
        self.copy_page_owner(old, new, reason);
        for (vma, addr, leaf) in entries {
            let pte = Pte(self.tables.get(leaf).entries[index(addr, 0)]);
            self.tables.set(leaf, addr, Pte::new(new, pte.0 & !Pte::new(Pfn(u32::MAX), 0).0));
            let mm = self.vmas[vma].mm;
            self.flush_tlb_page(mm, addr);
        }
        if let Some(entry) = self.page_swap_entry(new) {
            self.swap_cache_replace(entry, new);
        }
        if let Some(file) = self.file_of(new) {
            self.files[file].pages.store(from.index, Entry::page(new));
        }
        self.move_stat(old, new);
        let page = self.mem_map.page_mut(old);
        page.reset_flags(PageFlags::NONE);
        page.set_page_type(None);
        (page.refcount, page.mapping, page.private) = (0, 0, 0);
        self.lru_link(new, false);
        self.contents.put(old, None);
        self.free_unreferenced(old, crate::mm::addr::Order::ZERO);
        self.vmstat.count(VmEvent::PgmigrateSuccess, 1);
        self.charge(self.config.costs.migrate_page);
        true
    }

    /// Counters of the node follow a page that changes its node.
    fn move_stat(&mut self, old: Pfn, new: Pfn) {
        let page = self.mem_map.page(new);
        let file = self.file_of(new);
        let dirty = page.is(PageFlags::DIRTY) && file.is_some_and(|file| self.files[file].can_writeback());
        let zone = |m: &Machine, pfn: Pfn| m.mem_map.page(pfn).zone().index();
        let (from, to) = (zone(self, old), zone(self, new));
        self.zones[from].mod_stat(ZoneStat::ZoneWritePending, -i64::from(dirty));
        self.zones[to].mod_stat(ZoneStat::ZoneWritePending, i64::from(dirty));
        let (from, to) = (self.zones[from].pgdat, self.zones[to].pgdat);
        if from == to {
            return;
        }
        let (mapped, swapcached) = (page.mapcount() > 0, page.is(PageFlags::SWAPCACHE));
        let items = [
            (NodeStat::AnonPages, mapped && file.is_none()),
            (NodeStat::Mapped, mapped && file.is_some()),
            (NodeStat::FilePages, swapcached || file.is_some()),
            (NodeStat::Swapcached, swapcached),
            (NodeStat::Shmem, file.is_some() && page.is(PageFlags::SWAPBACKED)),
            (NodeStat::Dirty, dirty),
        ];
        for (item, counted) in items {
            if counted {
                self.nodes[from].mod_stat(item, -1);
                self.nodes[to].mod_stat(item, 1);
            }
        }
    }
}
