//! Frames of one's own choice: a range is emptied of whoever is in it, and taken.
//!
//! ```text
//!   pageblocks of the range ← Isolate ──► drain ──► pages of tasks migrate away, clean pages of files are dropped
//!        ──► all free? take the blocks, cut into pages, give back what stands over ──► pageblocks ← Movable
//!            no? EBUSY, and the page that decided
//! ```
//!
//! Kernel: `mm/page_alloc.c` (`alloc_contig_range`, `alloc_contig_pages`, `free_contig_range`).
//! Fidelity: faithful — order of the steps, what makes it fail, five attempts at a page, undoing. Simplified — a page is
//! moved at once or not at all. Absent — the contiguous memory allocator with its areas, huge pages.

use crate::mm::addr::{Order, Pfn, ZoneId};
use crate::mm::config::ZoneType;
use crate::mm::errno::{Errno, Oops};
use crate::mm::gfp::Gfp;
use crate::mm::machine::Machine;
use crate::mm::page::PageFlags;
use crate::mm::page_isolation::Frames;
use crate::mm::page_owner::MigrateReason;
use crate::mm::trace::{Blocker, Event};
use crate::mm::vmstat::VmEvent;

/// How often a page that stays is tried (`__alloc_contig_migrate_range`).
const TRIES: u32 = 5;

/// What emptying a range came to.
#[derive(Clone, Copy, Default)]
struct Emptied {
    migrated: u64,
    reclaimed: u64,
}

impl Machine {
    /// Allocates exactly the frames `start..end`, each to be freed on its own (`alloc_contig_range`).
    ///
    /// # Errors
    /// `EBUSY` when a page cannot leave the range; `ENOMEM` when there is no room elsewhere; `EINVAL` for a range that
    /// is empty, outside of memory, or of several zones.
    pub fn alloc_contig_range(&mut self, range: Frames, gfp: Gfp) -> Result<(), Errno> {
        let zone = self.contig_zone(&range)?;
        let mut done = Emptied::default();
        let taken = self.take_contig_range(zone, &range, &mut done);
        let Emptied { migrated, reclaimed } = done;
        let (result, blocker) = match taken {
            Ok(()) => (Ok(()), None),
            Err((errno, blocker)) => (Err(errno), blocker),
        };
        self.emit(Event::AllocContigRange { range, gfp, migrated, reclaimed, result, blocker });
        result
    }

    /// The zone of a range that lies in one (`EINVAL` otherwise).
    fn contig_zone(&self, range: &Frames) -> Result<ZoneId, Errno> {
        let last = Pfn(range.end.checked_sub(1).filter(|last| *last >= range.start).ok_or(Errno::EINVAL)?);
        let zone = self.mem_map.zone_of(Pfn(range.start)).ok_or(Errno::EINVAL)?;
        let same = range.clone().all(|pfn| self.mem_map.zone_of(Pfn(pfn)) == Some(zone));
        if same && self.zones[zone.index()].spans(last) { Ok(zone) } else { Err(Errno::EINVAL) }
    }

    fn take_contig_range(
        &mut self,
        zone: ZoneId,
        range: &Frames,
        done: &mut Emptied,
    ) -> Result<(), (Errno, Option<Blocker>)> {
        let busy = |m: &Machine, pfn| (Errno::EBUSY, Some(m.blocker(pfn)));
        self.start_isolate_page_range(range).map_err(|pfn| busy(self, pfn))?;
        let blocks = crate::mm::compaction::pageblock_start(range.start)
            ..crate::mm::compaction::pageblock_end(range.end - 1);
        self.drain_all_pages(Some(zone));
        let emptied = self.empty_range(range, done);
        let taken = match emptied {
            Err(Errno::ENOMEM) => Err((Errno::ENOMEM, None)),
            // What stays is found by looking: it may have been freed meanwhile.
            _ => self.grab_isolated(zone, range).map_err(|pfn| busy(self, pfn)),
        };
        self.undo_isolate_page_range(&blocks);
        taken
    }

    /// Moves every page of a task out of the range and drops clean pages of files (`__alloc_contig_migrate_range`).
    fn empty_range(&mut self, range: &Frames, done: &mut Emptied) -> Result<(), Errno> {
        let mut result = Ok(());
        for pfn in range.clone().map(Pfn) {
            for _ in 0..TRIES {
                let page = self.mem_map.page(pfn);
                if page.refcount == 0 || !page.is(PageFlags::LRU) {
                    break;
                }
                if self.reclaim_clean_page(pfn) {
                    done.reclaimed += 1;
                    break;
                }
                if !self.is_migratable(pfn) {
                    // Being written, or locked: time may help.
                    self.cond_resched();
                    result = Err(Errno::EBUSY);
                    continue;
                }
                let target = self.alloc_migration_target(pfn)?;
                if self.migrate_page(pfn, target, MigrateReason::ContigRange) {
                    done.migrated += 1;
                    break;
                }
                self.mem_map.page_mut(target).refcount = 0;
                self.free_unreferenced(target, Order::ZERO);
                result = Err(Errno::EBUSY);
            }
        }
        result
    }

    /// A page outside of the isolated pageblocks (`alloc_migration_target`).
    fn alloc_migration_target(&mut self, old: Pfn) -> Result<Pfn, Errno> {
        let zone = &self.zones[self.mem_map.page(old).zone().index()];
        let mut gfp = Gfp::USER | Gfp::MOVABLE | Gfp::RETRY_MAYFAIL;
        if matches!(zone.kind, ZoneType::HighMem | ZoneType::Movable) {
            gfp = gfp | Gfp::HIGHMEM;
        }
        let node = zone.pgdat;
        self.alloc_pages_at(node, gfp, Order::ZERO)
    }

    /// Takes the free blocks of an emptied range off the Isolate lists, and gives back what stands over at its ends.
    fn grab_isolated(&mut self, zone: ZoneId, range: &Frames) -> Result<(), Pfn> {
        self.drain_all_pages(Some(zone));
        let outer = self.free_head(range.start)..range.end;
        self.test_pages_isolated(&outer)?;
        let mut at = outer.start;
        while at < range.end {
            let order = self.mem_map.page(Pfn(at)).order();
            self.isolate_free_page(Pfn(at), order);
            self.split_map_pages(Pfn(at), order);
            at += order.pages();
        }
        self.vmstat.count(VmEvent::CompactIsolated, u64::from(at - outer.start));
        for pfn in (outer.start..range.start).chain(range.end..at).map(Pfn) {
            self.mem_map.page_mut(pfn).refcount = 0;
            self.free_unreferenced(pfn, Order::ZERO);
        }
        Ok(())
    }

    /// The first frame of the free block that holds a frame; the frame itself when none does.
    fn free_head(&self, pfn: u32) -> u32 {
        let holds = |order: &Order| {
            let head = Pfn(pfn & !(order.pages() - 1));
            self.mem_map.contains(head) && self.mem_map.page(head).is_buddy() && {
                let free = self.mem_map.page(head).order();
                head.0 + free.pages() > pfn
            }
        };
        Order::all().find(holds).map_or(pfn, |order| pfn & !(order.pages() - 1))
    }

    /// What keeps a page where it is.
    fn blocker(&self, pfn: Pfn) -> Blocker {
        let page = self.mem_map.page(pfn);
        let why = if self.pageblocks.get(pfn) == crate::mm::config::MigrateType::Cma {
            "it is kept for the contiguous memory allocator"
        } else if page.is(PageFlags::RESERVED) {
            "it is reserved: the allocator never had it"
        } else if page.page_type() == Some(crate::mm::page::PageType::Table) {
            "it is a page table"
        } else if page.is(PageFlags::WRITEBACK) {
            "it is being written"
        } else if page.is(PageFlags::LRU) && page.refcount > page.mapcount() {
            "somebody holds it beside those who map it"
        } else if page.is(PageFlags::LRU) {
            "it is a page of a file that cannot be dropped now"
        } else if page.is(PageFlags::TAIL) {
            "it is in the middle of a compound page"
        } else if page.refcount > 0 {
            "the kernel has it, and nobody could be told that it moved"
        } else if page.is_pcp() {
            "it waits on a per-CPU list"
        } else {
            "it is in the middle of an allocated block"
        };
        Blocker { pfn, refcount: page.refcount, mapcount: page.mapcount(), flags: page.flags(), why }
    }

    /// Allocates contiguous pages wherever a range of that length can be emptied (`alloc_contig_pages`).
    ///
    /// # Errors
    /// `ENOMEM` when every aligned range of the zonelist has a page that stays; `EINVAL` for no page or a mask that
    /// contradicts itself.
    pub fn alloc_contig_pages(&mut self, nr_pages: u32, gfp: Gfp) -> Result<Pfn, Errno> {
        if nr_pages == 0 {
            return Err(Errno::EINVAL);
        }
        let highest = gfp.zone(self.config.arch).ok_or(Errno::EINVAL)?;
        let zones = self.nodes[self.mem_node()].zonelists[highest as usize].to_vec();
        for zone in zones {
            let (start, end) = (self.zones[zone.index()].zone_start_pfn, self.zones[zone.index()].end_pfn());
            let mut at = start.checked_next_multiple_of(nr_pages).unwrap_or(end);
            while at.checked_add(nr_pages).is_some_and(|last| last <= end) {
                let plain = (at..at + nr_pages).all(|pfn| self.is_plain_page(Pfn(pfn), zone));
                if plain && self.alloc_contig_range(at..at + nr_pages, gfp).is_ok() {
                    return Ok(Pfn(at));
                }
                at += nr_pages;
            }
        }
        Err(Errno::ENOMEM)
    }

    /// Of this zone and not reserved (`pfn_range_valid_contig`).
    fn is_plain_page(&self, pfn: Pfn, zone: ZoneId) -> bool {
        self.mem_map.zone_of(pfn) == Some(zone) && !self.mem_map.page(pfn).is(PageFlags::RESERVED)
    }

    /// Frees pages of a contiguous range, one by one (`free_contig_range`).
    ///
    /// Answers how many are still held by somebody else.
    ///
    /// # Errors
    /// As [`Machine::free_pages`], for the first page that cannot be freed.
    pub fn free_contig_range(&mut self, pfn: Pfn, nr_pages: u32) -> Result<u32, Oops> {
        let mut held = 0;
        for n in 0..nr_pages {
            held += u32::from(self.mem_map.page(pfn.up(n)).refcount > 1);
            self.free_pages(pfn.up(n), Order::ZERO)?;
        }
        if held > 0 {
            self.printk(format!("{held} pages are still in use!"));
        }
        Ok(held)
    }
}
