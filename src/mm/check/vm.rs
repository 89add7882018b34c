//! Invariants of address spaces: what entries say, pages, slots and counters say too.
//!
//! Fidelity: ours.

use super::{Broken, broken};
use crate::mm::addr::{PAGE_SIZE, Pfn, VirtAddr};
use crate::mm::lru::Lru;
use crate::mm::machine::Machine;
use crate::mm::page::PageFlags;
use crate::mm::pgtable::{PTRS_PER_TABLE, Pte, TableId, UpperId};
use crate::mm::task::{MmId, Rss};
use std::collections::BTreeMap;

/// What all page tables together say.
#[derive(Default)]
struct Tally {
    mapped: BTreeMap<Pfn, u32>,
    slots: BTreeMap<(u8, u32), u32>,
}

impl Machine {
    /// Areas, page tables, map counts, swap counts and lists agree.
    pub(super) fn check_vm(&self) -> Result<(), Broken> {
        let mut tally = Tally::default();
        for (mm, _) in self.mms.iter() {
            self.check_mm(mm, &mut tally)?;
        }
        self.check_anon_vmas()?;
        self.check_files(&mut tally.slots)?;
        self.check_mapcounts(&tally)?;
        self.check_slots(&tally)?;
        self.check_lru()
    }

    fn check_mm(&self, mm: MmId, tally: &mut Tally) -> Result<(), Broken> {
        let space = &self.mms[mm];
        self.check_areas(mm)?;
        let (mut rss, mut swap, mut tables) = (0, 0, 0);
        let mut leaves = Vec::new();
        self.leaves(space.pgd, 0, &mut leaves, &mut tables);
        for (base, leaf) in leaves {
            self.check_huge(mm, leaf, base)?;
            for (i, entry) in self.tables.get(leaf).entries.iter().enumerate() {
                let (pte, addr) = (Pte(*entry), VirtAddr(base + i as u64 * PAGE_SIZE));
                if pte.is_none() {
                    continue;
                }
                if self.find_vma(mm, addr).is_none_or(|v| !self.vmas[v].contains(addr)) {
                    return broken("every entry lies in an area", format!("{mm:?} {addr}"));
                }
                if pte.is_swap() {
                    swap += 1;
                    let entry = pte.swap_entry();
                    *tally.slots.entry((entry.area, entry.offset)).or_default() += 1;
                } else if !pte.has(Pte::SPECIAL) {
                    rss += 1;
                    *tally.mapped.entry(pte.pfn()).or_default() += 1;
                }
            }
        }
        if (rss, swap) != (space.resident(), space.rss(Rss::Swap)) {
            let counted = (space.resident(), space.rss(Rss::Swap));
            return broken(
                "rss is what the entries say",
                format!("{mm:?}: {:?} found, {counted:?} counted", (rss, swap)),
            );
        }
        if tables * PAGE_SIZE != space.pgtables_bytes {
            return broken(
                "pgtables_bytes is what the tables take",
                format!("{mm:?}: {tables} tables, {} bytes", space.pgtables_bytes),
            );
        }
        Ok(())
    }

    /// The leaves below a table with their first addresses, and how many tables the kernel would have counted.
    fn leaves(&self, id: UpperId, base: u64, found: &mut Vec<(u64, TableId)>, tables: &mut u64) {
        let table = self.tables.upper(id);
        let geometry = &self.tables.geometry;
        let own = if table.level == geometry.top() {
            self.user_pgd_entries()
        } else {
            geometry.entries(table.level)
        };
        for entry in table.occupied().take_while(|entry| *entry < own) {
            let start = base + ((entry as u64) << geometry.shift(table.level));
            *tables += u64::from(table.level <= 3);
            match table.upper_below(entry) {
                Some(below) => self.leaves(below, start, found, tables),
                None => found.extend(
                    (0..).map(|n| start + n * PTRS_PER_TABLE as u64 * PAGE_SIZE).zip(table.below(entry)),
                ),
            }
        }
    }

    /// A huge page is 512 frames in a row that one entry maps.
    fn check_huge(&self, mm: MmId, leaf: TableId, base: u64) -> Result<(), Broken> {
        let table = self.tables.get(leaf);
        let above = self.walk(self.mms[mm].pgd, VirtAddr(base)).into_iter().find(|step| step.level == 1);
        let named = above.is_some_and(|step| step.entry.has(Pte::PSE));
        let first = Pte(table.entries[0]);
        let in_a_row = |(n, entry): (usize, &u64)| {
            let pte = Pte(*entry);
            let pfn = if first.has(Pte::SPECIAL) { first.pfn() } else { first.pfn().up(n as u32) };
            pte.is_present() && pte.pfn() == pfn
        };
        if named != table.huge || (table.huge && !table.entries.iter().enumerate().all(in_a_row)) {
            return broken("a huge page is 512 frames in a row", format!("{mm:?} {base:#x}"));
        }
        Ok(())
    }

    fn check_mapcounts(&self, tally: &Tally) -> Result<(), Broken> {
        for (&pfn, &times) in &tally.mapped {
            let page = self.mem_map.page(pfn);
            if page.mapcount() != times {
                return broken(
                    "mapcount is the number of entries",
                    format!("pfn {pfn}: {times} entries, mapcount {}", page.mapcount()),
                );
            }
            if page.is(PageFlags::EXCLUSIVE) && times > 1 {
                return broken("an exclusive page is mapped once", format!("pfn {pfn}: {times} entries"));
            }
        }
        for pfn in self.mem_map.touched() {
            let count = self.mem_map.page(pfn).mapcount();
            if count > 0 && !tally.mapped.contains_key(&pfn) {
                return broken(
                    "mapcount is the number of entries",
                    format!("pfn {pfn}: no entry, mapcount {count}"),
                );
            }
        }
        Ok(())
    }

    fn check_slots(&self, tally: &Tally) -> Result<(), Broken> {
        let mut seen = 0;
        for (entry, count, cached) in self.swap_slots() {
            let named = tally.slots.get(&(entry.area, entry.offset)).copied().unwrap_or(0);
            seen += u64::from(named > 0);
            let in_cache = u8::from(cached != Pfn::NIL) * 0x40;
            if u32::from(count & 0x3f) != named || count & 0x40 != in_cache {
                return broken(
                    "a slot's count is the number of entries",
                    format!("slot {entry:?}: {named} entries, count {count:#x}"),
                );
            }
            if cached != Pfn::NIL && self.page_swap_entry(cached) != Some(entry) {
                return broken("the swap cache and its page agree", format!("slot {entry:?}: pfn {cached}"));
            }
        }
        if seen != tally.slots.len() as u64 {
            return broken(
                "a slot's count is the number of entries",
                "an entry names a slot that is free".into(),
            );
        }
        Ok(())
    }

    fn check_lru(&self) -> Result<(), Broken> {
        for node in &self.nodes {
            for lru in Lru::EVICTABLE.into_iter().chain([Lru::Unevictable]) {
                let list = &node.lruvec.lists[lru as usize];
                let mut count = 0;
                for pfn in list.iter(&self.mem_map) {
                    let page = self.mem_map.page(pfn);
                    if !page.is(PageFlags::LRU) || Lru::of(&page) != lru || page.refcount == 0 {
                        return broken(
                            "a page is on the list its flags name",
                            format!("pfn {pfn} on {lru:?}: {}", page.flags()),
                        );
                    }
                    count += 1;
                }
                if count != list.len || u64::from(count) != node.stat(lru.node_stat()) {
                    let what = format!(
                        "{lru:?} of node {}: {count} listed, {} counted",
                        node.nid,
                        node.stat(lru.node_stat())
                    );
                    return broken("a list has the length it counts", what);
                }
            }
        }
        Ok(())
    }
}
