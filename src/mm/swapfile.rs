//! Swap: areas of slots, the cache of pages that also lie in a slot, and the device behind them.
//!
//! ```text
//!   entry (area, offset) ──► swap_map[offset]  how many page-table entries name the slot, and whether the cache does
//!                        ──► cache[offset]     the page in memory, if there is one
//!                        ──► bytes[offset]     what was written out
//! ```
//!
//! Gorman chapter 11. Kernel: `mm/swapfile.c`, `mm/swap_state.c`, `mm/page_io.c`, `mm/workingset.c`.
//! Fidelity: faithful — counts, priorities, cache, swapoff, refault distance. Simplified — slots are handed out one
//! after the other; the device serves one page at a time. Absent — zswap, discard, swap files with holes.

use crate::mm::addr::{PAGE_SIZE, Pfn, VirtAddr};
use crate::mm::config::SwapConfig;
use crate::mm::errno::Errno;
use crate::mm::machine::Machine;
use crate::mm::page::PageFlags;
use crate::mm::pgtable::SwapEntry;
use crate::mm::vmstat::{NodeStat, VmEvent, ZoneStat};
use crate::mm::xarray::Mark;
use std::collections::BTreeMap;
use std::rc::Rc;

/// The swap cache names the slot.
const HAS_CACHE: u8 = 0x40;
/// The slot cannot be used.
const BAD: u8 = 0x3f;
/// Areas a machine can have.
pub const MAX_SWAPFILES: usize = 23;

type Bytes = Rc<[u8; PAGE_SIZE as usize]>;

/// A swap area (`struct swap_info_struct`).
#[derive(Clone, Debug)]
pub struct SwapArea {
    /// The device or file.
    pub name: String,
    /// Usable slots.
    pub pages: u32,
    /// Slots in use.
    pub inuse: u32,
    /// Areas of higher priority are filled first.
    pub prio: i16,
    /// False after swapoff; the place may be used again.
    pub active: bool,
    map: Vec<u8>,
    cache: Vec<Pfn>,
    /// What workingset remembers of a slot's page when it is evicted.
    shadow: BTreeMap<u32, u64>,
    bytes: BTreeMap<u32, Bytes>,
    next: u32,
}

impl SwapArea {
    fn new(config: &SwapConfig, prio: i16) -> SwapArea {
        let pages = config.pages as u32;
        let mut map = vec![0; pages as usize + 1];
        map[0] = BAD;
        SwapArea {
            name: config.name.clone(),
            pages,
            inuse: 0,
            prio,
            active: true,
            map,
            cache: vec![Pfn::NIL; pages as usize + 1],
            shadow: BTreeMap::new(),
            bytes: BTreeMap::new(),
            next: 1,
        }
    }

    /// How many page-table entries name a slot.
    pub fn count(&self, offset: u32) -> u8 {
        self.map.get(offset as usize).map_or(0, |c| c & !HAS_CACHE)
    }

    /// The bytes that lie in a slot.
    pub fn load(&self, offset: u32) -> Option<Bytes> {
        self.bytes.get(&offset).cloned()
    }

    /// Takes the next free slot for the cache.
    fn allocate(&mut self) -> Option<u32> {
        if self.inuse == self.pages {
            return None;
        }
        let slots = self.map.len() as u32;
        for step in 0..slots {
            let offset = (self.next + step - 1) % (slots - 1) + 1;
            if self.map[offset as usize] == 0 {
                self.map[offset as usize] = HAS_CACHE;
                self.inuse += 1;
                self.next = offset + 1;
                return Some(offset);
            }
        }
        None
    }

    fn release(&mut self, offset: u32, what: u8) {
        let count = &mut self.map[offset as usize];
        *count -= what;
        if *count == 0 {
            self.inuse -= 1;
            self.bytes.remove(&offset);
            self.shadow.remove(&offset);
        }
    }
}

/// Something the device is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Io {
    done_at: u64,
    pfn: Pfn,
    write: bool,
    /// The page in lowmem that stands for it, when the device does not reach it.
    bounce: Option<VirtAddr>,
}

impl Machine {
    /// Switches a swap area on (`swapon`).
    ///
    /// # Errors
    /// `EINVAL` for an area without a page or beyond what offsets can name, `EBUSY` when it is on already, `EPERM` when
    /// there are too many.
    pub fn swapon(&mut self, config: &SwapConfig) -> Result<usize, Errno> {
        if config.pages == 0 || config.pages >= u64::from(u32::MAX >> 1) || config.name.is_empty() {
            return Err(Errno::EINVAL);
        }
        if self.swap.iter().any(|a| a.active && a.name == config.name) {
            return Err(Errno::EBUSY);
        }
        let place = self.swap.iter().position(|a| !a.active).unwrap_or(self.swap.len());
        if place >= MAX_SWAPFILES {
            return Err(Errno::EPERM);
        }
        let least = self.swap.iter().filter(|a| a.active).map(|a| a.prio).min().unwrap_or(-1).min(-1);
        let prio = config.priority.unwrap_or(least - 1);
        let area = SwapArea::new(config, prio);
        self.printk(format!(
            "Adding {}k swap on {}.  Priority:{prio} extents:1 across:{}k SS",
            config.pages * 4,
            config.name,
            config.pages * 4
        ));
        if place == self.swap.len() {
            self.swap.push(area)
        } else {
            self.swap[place] = area
        }
        Ok(place)
    }

    /// Brings everything back from an area and switches it off (`swapoff`).
    ///
    /// # Errors
    /// `EINVAL` when it is not on, `ENOMEM` when memory and the other areas cannot hold what lies there; nothing is lost.
    pub fn swapoff(&mut self, name: &str) -> Result<(), Errno> {
        let area = self.swap.iter().position(|a| a.active && a.name == name).ok_or(Errno::EINVAL)?;
        // __vm_enough_memory with the area's slots in use: refused up front when there is no room.
        let inuse = u64::from(self.swap[area].inuse);
        let others: u64 = self
            .swap
            .iter()
            .enumerate()
            .filter(|(i, a)| *i != area && a.active)
            .map(|(_, a)| u64::from(a.pages - a.inuse))
            .sum();
        if inuse > others + self.si_mem_available() {
            return Err(Errno::ENOMEM);
        }
        let prio = std::mem::replace(&mut self.swap[area].prio, i16::MIN);
        match self.try_to_unuse(area as u8) {
            Ok(()) => {
                self.swap[area].active = false;
                Ok(())
            }
            Err(e) => {
                self.swap[area].prio = prio;
                Err(e)
            }
        }
    }

    /// Reads every slot that an entry names, and drops the cache of the others (`try_to_unuse`).
    fn try_to_unuse(&mut self, area: u8) -> Result<(), Errno> {
        let mms: Vec<_> = self.mms.iter().map(|(id, _)| id).collect();
        for mm in mms {
            for (vma, start, end) in self.areas(mm).map(|(id, v)| (id, v.start, v.end)).collect::<Vec<_>>() {
                for addr in (start..end).step_by(PAGE_SIZE as usize) {
                    let pte = self.tables.pte(self.mms[mm].pgd, VirtAddr(addr));
                    if !pte.is_swap() || pte.swap_entry().area != area {
                        continue;
                    }
                    self.handle_mm_fault(mm, vma, VirtAddr(addr), false).map_err(|_| Errno::ENOMEM)?;
                    if self.tables.pte(self.mms[mm].pgd, VirtAddr(addr)).is_swap() {
                        return Err(Errno::ENOMEM);
                    }
                }
            }
        }
        self.shmem_unuse(area)?;
        self.wait_for_device();
        for offset in 1..self.swap[usize::from(area)].map.len() {
            let pfn = self.swap[usize::from(area)].cache[offset];
            if pfn != Pfn::NIL {
                self.delete_from_swap_cache(pfn);
                self.mem_map.page_mut(pfn).set(PageFlags::DIRTY);
                self.put_lru_page(pfn);
            }
        }
        if self.swap[usize::from(area)].inuse > 0 { Err(Errno::ENOMEM) } else { Ok(()) }
    }

    /// Slots of all areas, and those that are free.
    pub fn swap_pages(&self) -> (u64, u64) {
        let active = self.swap.iter().filter(|a| a.active);
        active.fold((0, 0), |(total, free), a| {
            (total + u64::from(a.pages), free + u64::from(a.pages - a.inuse))
        })
    }

    /// Free slots of areas that take new pages (`get_nr_swap_pages`).
    #[inline]
    pub fn nr_swap_pages(&self) -> u64 {
        self.swap
            .iter()
            .filter(|a| a.active && a.prio != i16::MIN)
            .map(|a| u64::from(a.pages - a.inuse))
            .sum()
    }

    /// More than half of swap is in use: slots are given back early (`vm_swap_full`).
    pub(crate) fn vm_swap_full(&self) -> bool {
        let (total, free) = self.swap_pages();
        free * 2 < total
    }

    /// Takes a slot of the area with the highest priority (`get_swap_page`); equal ones take turns.
    fn get_swap_page(&mut self) -> Option<SwapEntry> {
        let usable = |a: &&SwapArea| a.active && a.prio != i16::MIN && a.inuse < a.pages;
        let best = self.swap.iter().filter(usable).map(|a| a.prio).max()?;
        let equal: Vec<usize> =
            (0..self.swap.len()).filter(|i| usable(&&self.swap[*i]) && self.swap[*i].prio == best).collect();
        let area = equal[self.swap_turn as usize % equal.len()];
        let offset = self.swap[area].allocate()?;
        self.swap_turn = self.swap_turn.wrapping_add(1);
        Some(SwapEntry { area: area as u8, offset })
    }

    /// The page of a slot, if it is in memory (`lookup_swap_cache`).
    #[inline]
    pub(crate) fn lookup_swap_cache(&self, entry: SwapEntry) -> Option<Pfn> {
        let pfn = self.swap[usize::from(entry.area)].cache[entry.offset as usize];
        (pfn != Pfn::NIL).then_some(pfn)
    }

    /// Gives an anonymous page a slot, so that it can be written out (`add_to_swap`).
    pub(crate) fn add_to_swap(&mut self, pfn: Pfn) -> bool {
        let Some(entry) = self.get_swap_page() else { return false };
        // The slot was taken with the cache's mark on it.
        self.swap[usize::from(entry.area)].map[entry.offset as usize] -= HAS_CACHE;
        self.add_to_swap_cache(pfn, entry);
        self.mem_map.page_mut(pfn).set(PageFlags::DIRTY);
        true
    }

    /// Ties a page to a slot (`add_to_swap_cache`).
    pub(crate) fn add_to_swap_cache(&mut self, pfn: Pfn, entry: SwapEntry) {
        let area = &mut self.swap[usize::from(entry.area)];
        area.map[entry.offset as usize] += HAS_CACHE;
        area.cache[entry.offset as usize] = pfn;
        let page = self.mem_map.page_mut(pfn);
        page.set(PageFlags::SWAPCACHE);
        page.private = entry.offset | u32::from(entry.area) << 27;
        page.refcount += 1;
        let pgdat = self.zones[page.zone().index()].pgdat;
        self.nodes[pgdat].mod_stat(NodeStat::FilePages, 1);
        self.nodes[pgdat].mod_stat(NodeStat::Swapcached, 1);
    }

    /// The slot of a page in the swap cache.
    pub fn page_swap_entry(&self, pfn: Pfn) -> Option<SwapEntry> {
        let page = self.mem_map.page(pfn);
        let entry = SwapEntry { area: (page.private >> 27) as u8, offset: page.private & ((1 << 27) - 1) };
        page.is(PageFlags::SWAPCACHE).then_some(entry)
    }

    /// The slot's page lives in another frame now.
    pub(crate) fn swap_cache_replace(&mut self, entry: SwapEntry, pfn: Pfn) {
        self.swap[usize::from(entry.area)].cache[entry.offset as usize] = pfn;
    }

    /// Unties a page from its slot; the cache's reference is the caller's now (`delete_from_swap_cache`).
    pub(crate) fn delete_from_swap_cache(&mut self, pfn: Pfn) {
        let Some(entry) = self.page_swap_entry(pfn) else { return };
        let area = &mut self.swap[usize::from(entry.area)];
        area.cache[entry.offset as usize] = Pfn::NIL;
        area.release(entry.offset, HAS_CACHE);
        let page = self.mem_map.page_mut(pfn);
        page.clear(PageFlags::SWAPCACHE);
        page.private = 0;
        let pgdat = self.zones[page.zone().index()].pgdat;
        self.nodes[pgdat].mod_stat(NodeStat::FilePages, -1);
        self.nodes[pgdat].mod_stat(NodeStat::Swapcached, -1);
    }

    /// Gives a page's slot back when only the cache names it (`try_to_free_swap`).
    pub(crate) fn try_to_free_swap(&mut self, pfn: Pfn) -> bool {
        let page = self.mem_map.page(pfn);
        let Some(entry) = self.page_swap_entry(pfn) else { return false };
        if page.is(PageFlags::WRITEBACK) || self.swap[usize::from(entry.area)].count(entry.offset) > 0 {
            return false;
        }
        self.delete_from_swap_cache(pfn);
        let page = self.mem_map.page_mut(pfn);
        page.set(PageFlags::DIRTY);
        page.refcount -= 1;
        true
    }

    /// One entry more names a slot (`swap_duplicate`).
    pub(crate) fn swap_duplicate(&mut self, entry: SwapEntry) {
        self.swap[usize::from(entry.area)].map[entry.offset as usize] += 1;
    }

    /// One entry less names a slot (`swap_free`).
    pub(crate) fn swap_free(&mut self, entry: SwapEntry) {
        self.swap[usize::from(entry.area)].release(entry.offset, 1);
        if self.swap[usize::from(entry.area)].count(entry.offset) == 0 {
            // free_swap_and_cache: a clean page nobody maps has no reason to stay in the cache.
            if let Some(pfn) = self.lookup_swap_cache(entry) {
                let page = self.mem_map.page(pfn);
                if page.mapcount() == 0 && page.refcount == 1 && !page.is(PageFlags::WRITEBACK) {
                    self.delete_from_swap_cache(pfn);
                    self.put_lru_page(pfn);
                }
            }
        }
    }

    /// Starts writing a page to its slot (`swap_writepage`); it is under writeback until the device is done.
    pub(crate) fn swap_writepage(&mut self, pfn: Pfn) {
        let Some(entry) = self.page_swap_entry(pfn) else { return };
        let bytes = self.contents.share(pfn);
        let area = &mut self.swap[usize::from(entry.area)];
        match bytes {
            Some(bytes) => area.bytes.insert(entry.offset, bytes),
            None => area.bytes.remove(&entry.offset),
        };
        self.vmstat.count(VmEvent::Pswpout, 1);
        self.submit_device_write(pfn);
    }

    /// Starts writing a page to a device; it is under writeback until the device is done (`folio_start_writeback`).
    pub(crate) fn submit_device_write(&mut self, pfn: Pfn) {
        let page = self.mem_map.page_mut(pfn);
        page.set(PageFlags::WRITEBACK);
        let zone = &mut self.zones[page.zone().index()];
        zone.mod_stat(ZoneStat::ZoneWritePending, 1);
        self.nodes[zone.pgdat].mod_stat(NodeStat::Writeback, 1);
        self.vmstat.count(VmEvent::Pgpgout, 4);
        self.submit(pfn, true, self.config.costs.disk_write);
    }

    /// Starts reading a page; the caller may wait for it.
    pub(crate) fn submit_read(&mut self, pfn: Pfn, _wait: bool) {
        self.vmstat.count(VmEvent::Pswpin, 1);
        self.submit_device_read(pfn);
    }

    /// Starts reading a page from a device; it is locked until the device is done.
    pub(crate) fn submit_device_read(&mut self, pfn: Pfn) {
        self.mem_map.page_mut(pfn).set(PageFlags::LOCKED);
        self.vmstat.count(VmEvent::Pgpgin, 4);
        self.submit(pfn, false, self.config.costs.disk_read);
    }

    fn submit(&mut self, pfn: Pfn, write: bool, cost: u64) {
        let bounce = if self.bounce.high { self.bounce_page(pfn) } else { None };
        let done_at = self.device_free_at.max(self.clock) + cost;
        self.device_free_at = done_at;
        self.io.push_back(Io { done_at, pfn, write, bounce });
        self.alarm = 0;
    }

    /// Sleeps until the device gives a bounce page back; false when it has none.
    pub(crate) fn wait_for_bounce(&mut self) -> bool {
        let Some(io) = self.io.iter().find(|io| io.bounce.is_some()).copied() else { return false };
        self.sleep_until(io.done_at);
        self.complete_io();
        true
    }

    /// Bounce pages that the device works on.
    pub(crate) fn bounces_in_flight(&self) -> u64 {
        self.io.iter().filter(|io| io.bounce.is_some()).count() as u64
    }

    /// Sleeps until a page is read (`folio_wait_locked`).
    pub(crate) fn wait_on_page(&mut self, pfn: Pfn) {
        while self.mem_map.page(pfn).is(PageFlags::LOCKED) {
            let Some(io) = self.io.iter().find(|io| io.pfn == pfn && !io.write).copied() else { return };
            self.sleep_until(io.done_at);
        }
    }

    /// Sleeps until the page is written (`wait_on_page_writeback`).
    pub(crate) fn wait_on_page_writeback(&mut self, pfn: Pfn) {
        while self.mem_map.page(pfn).is(PageFlags::WRITEBACK) {
            let Some(io) = self.io.iter().find(|io| io.pfn == pfn && io.write).copied() else { return };
            self.sleep_until(io.done_at);
            self.complete_io();
        }
    }

    /// Sleeps until the device has nothing left to do.
    pub(crate) fn wait_for_device(&mut self) {
        while let Some(last) = self.io.back().copied() {
            self.sleep_until(last.done_at);
        }
    }

    /// What the device has finished by now: interrupts of the disk.
    pub(crate) fn complete_io(&mut self) {
        while self.io.front().is_some_and(|io| io.done_at <= self.clock) {
            let Some(io) = self.io.pop_front() else { return };
            if let Some(page) = io.bounce {
                self.bounce_end_io(page);
            }
            if io.write {
                self.end_page_writeback(io.pfn);
            } else {
                self.mem_map.page_mut(io.pfn).clear(PageFlags::LOCKED);
            }
        }
    }

    fn end_page_writeback(&mut self, pfn: Pfn) {
        let zone = &mut self.zones[self.mem_map.page(pfn).zone().index()];
        zone.mod_stat(ZoneStat::ZoneWritePending, -1);
        self.nodes[zone.pgdat].mod_stat(NodeStat::Writeback, -1);
        self.nodes[zone.pgdat].mod_stat(NodeStat::Written, 1);
        if let Some(file) = self.file_of(pfn) {
            let index = self.mem_map.page(pfn).index;
            self.files[file].pages.mark(index, Mark::Writeback, false);
        }
        let page = self.mem_map.page_mut(pfn);
        let reclaim = page.test_and_clear(PageFlags::RECLAIM);
        page.clear(PageFlags::WRITEBACK);
        if reclaim {
            self.rotate_reclaimable_page(pfn);
        }
    }

    /// What the refault clock showed when a page was evicted (`workingset_eviction`).
    pub(crate) fn workingset_eviction(&mut self, pfn: Pfn) {
        let Some(entry) = self.page_swap_entry(pfn) else { return };
        let page = self.mem_map.page(pfn);
        let pgdat = self.zones[page.zone().index()].pgdat;
        let lruvec = &mut self.nodes[pgdat].lruvec;
        let shadow = lruvec.nonresident_age << 1 | u64::from(page.is(PageFlags::WORKINGSET));
        lruvec.nonresident_age += 1;
        self.swap[usize::from(entry.area)].shadow.insert(entry.offset, shadow);
    }

    /// A page comes back: soon enough to be part of the working set? (`workingset_refault`)
    pub(crate) fn workingset_refault_anon(&mut self, pfn: Pfn, entry: SwapEntry) {
        let Some(shadow) = self.swap[usize::from(entry.area)].shadow.remove(&entry.offset) else { return };
        let pgdat = self.zones[self.mem_map.page(pfn).zone().index()].pgdat;
        let swap_left = self.nr_swap_pages() > 0;
        let node = &mut self.nodes[pgdat];
        let distance = node.lruvec.nonresident_age.saturating_sub(shadow >> 1);
        let mut workingset = node.stat(NodeStat::ActiveFile) + node.stat(NodeStat::InactiveFile);
        if swap_left {
            workingset += node.stat(NodeStat::ActiveAnon);
        }
        node.mod_stat(NodeStat::WorkingsetRefaultAnon, 1);
        if distance > workingset {
            return;
        }
        node.lruvec.nonresident_age += 1;
        node.mod_stat(NodeStat::WorkingsetActivateAnon, 1);
        if shadow & 1 == 1 {
            node.mod_stat(NodeStat::WorkingsetRestoreAnon, 1);
            node.lruvec.anon_cost += 1;
        }
        let page = self.mem_map.page_mut(pfn);
        page.set(PageFlags::ACTIVE);
        if shadow & 1 == 1 {
            page.set(PageFlags::WORKINGSET);
        }
    }

    /// Entries that name a slot, for `check()`.
    pub(crate) fn swap_slots(&self) -> impl Iterator<Item = (SwapEntry, u8, Pfn)> + '_ {
        let areas = self.swap.iter().enumerate().filter(|(_, a)| a.active);
        areas.flat_map(|(n, a)| {
            (1..a.map.len())
                .filter(|i| a.map[*i] != 0)
                .map(move |i| (SwapEntry { area: n as u8, offset: i as u32 }, a.map[i], a.cache[i]))
        })
    }
}
