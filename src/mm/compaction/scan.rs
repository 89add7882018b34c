//! The two scanners: pages that can move, from below; free pages to move them to, from above.
//!
//! ```text
//!   isolate_migratepages   pageblock by pageblock, up to 32 pages of tasks at a time
//!        │                   passes over: a skip bit, another type's pageblock (asynchronous), a huge free block
//!        ▼
//!   migrate_pages ◄── compaction_alloc ◄── isolate_freepages   Movable pageblocks only, from the zone's end
//! ```
//!
//! Kernel: `mm/compaction.c`.
//! Fidelity: faithful — what is looked at, in which order, what is passed over and why, the stride of asynchronous runs.
//! Simplified — a page is not off its list between its isolation and its move.

use super::{COMPACT_CLUSTER_MAX, CompactResult, Compaction, Mode, pageblock_end, pageblock_start};
use crate::mm::addr::{Order, Pfn};
use crate::mm::config::MigrateType;
use crate::mm::machine::Machine;
use crate::mm::page::PageFlags;
use crate::mm::page_owner::MigrateReason;
use crate::mm::trace::{CompactionEvent, Passed, Scanned};
use crate::mm::vmstat::VmEvent;

impl Machine {
    /// One turn: isolates up to 32 pages, moves them, and merges what they leave behind.
    ///
    /// Answers a result when the run cannot go on.
    pub(super) fn compact_turn(&mut self, run: &mut Compaction) -> Option<CompactResult> {
        let begun = pageblock_start(run.migrate_pfn);
        run.rescan = pageblock_start(run.last_migrated_pfn) == begun;
        let mut end = None;
        if self.isolate_migratepages(run) {
            let start = self.zones[run.zone.index()].zone_start_pfn;
            run.last_migrated_pfn = start.max(pageblock_start(run.migrate_pfn - 1));
            end = self.migrate_isolated(run);
        }
        self.drain_behind(run);
        end
    }

    /// What the pages left is free, but on this CPU's list: behind the scanner it shall merge (`check_drain`).
    fn drain_behind(&mut self, run: &mut Compaction) {
        let Some(order) = run.order.filter(|_| run.last_migrated_pfn > 0) else { return };
        if run.last_migrated_pfn < run.migrate_pfn & !(order.pages() - 1) {
            let count = self.zones[run.zone.index()].pageset[self.cpu.index()].count;
            if count > 0 {
                self.free_pcppages_bulk(run.zone, self.cpu, count, 0);
            }
            run.last_migrated_pfn = 0;
        }
    }

    /// Looks for a pageblock with pages to move and isolates them; false when there was none (`isolate_migratepages`).
    fn isolate_migratepages(&mut self, run: &mut Compaction) -> bool {
        run.migratepages.clear();
        let mut passed = None;
        while pageblock_end(run.migrate_pfn) <= run.free_pfn {
            let (low, end) = (run.migrate_pfn, pageblock_end(run.migrate_pfn));
            match self.pass_source(run, low) {
                None => {
                    self.trace_passed(&mut passed);
                    self.isolate_migratepages_block(run, low, end);
                    break;
                }
                Some(why) => {
                    self.pass_over(&mut passed, (low, end), why);
                    run.migrate_pfn = end;
                }
            }
        }
        self.trace_passed(&mut passed);
        !run.migratepages.is_empty()
    }

    /// Why a pageblock is not looked at (`isolation_suitable`, `suitable_migration_source`).
    fn pass_source(&mut self, run: &Compaction, low: u32) -> Option<Passed> {
        if self.mem_map.zone_of(Pfn(low)) != Some(run.zone) {
            return Some(Passed::Hole);
        }
        if low == pageblock_start(low) && !self.isolation_suitable(run, low) {
            return Some(Passed::SkipBit);
        }
        let block = self.pageblocks.get(Pfn(low));
        let movable = |mt| matches!(mt, MigrateType::Movable | MigrateType::Cma);
        let suitable = match run.migratetype {
            _ if run.mode != Mode::Async || !run.direct => true,
            MigrateType::Movable => movable(block),
            wanted => block == wanted,
        };
        if !suitable {
            self.update_cached_migrate(run, pageblock_end(low));
            return Some(Passed::OtherType(block));
        }
        None
    }

    /// Isolates the movable pages of a pageblock, up to 32 (`isolate_migratepages_block`).
    fn isolate_migratepages_block(&mut self, run: &mut Compaction, mut low: u32, end: u32) {
        let mut seen = Scanned { start: low, block: self.pageblocks.get(Pfn(low)), ..Scanned::default() };
        // An asynchronous run for one block gives an order-aligned piece up with its first page that cannot move.
        let piece = run.order.filter(|_| run.direct && run.mode == Mode::Async).map(Order::pages);
        let piece_end = |low: u32| piece.map_or(u32::MAX, |pages| (low & !(pages - 1)) + pages);
        let mut next = piece_end(low);
        while low < end {
            if low >= next {
                if !run.migratepages.is_empty() {
                    break;
                }
                next = piece_end(low);
            }
            seen.scanned += 1;
            let page = self.mem_map.page(Pfn(low));
            if let Some(pages) = self.free_pages_at(Pfn(low)) {
                seen.free += pages.min(end - low);
                low += pages;
                continue;
            }
            let mine = page.zone() == run.zone;
            if mine && page.refcount > 0 && self.may_move(Pfn(low)) {
                run.migratepages.push(Pfn(low));
                low += 1;
                if run.migratepages.len() >= COMPACT_CLUSTER_MAX && !run.rescan {
                    break;
                }
                continue;
            }
            if page.is(PageFlags::LRU) {
                seen.busy += 1
            } else {
                seen.fixed += 1
            }
            low += if page.is(PageFlags::HEAD) { page.order().pages() } else { 1 };
            if piece.is_some() {
                run.migratepages.clear();
                low = low.max(next);
            }
        }
        run.migrate_pfn = low.min(end);
        (seen.end, seen.taken) = (run.migrate_pfn, run.migratepages.len() as u32);
        if run.migrate_pfn == end && (run.migratepages.is_empty() || run.rescan) {
            self.pageblocks.set_skip(Pfn(seen.start));
            self.update_cached_migrate(run, end);
        }
        let scanned = u64::from(seen.scanned);
        run.migrate_scanned += scanned;
        self.vmstat.count(VmEvent::CompactMigrateScanned, scanned);
        self.vmstat.count(VmEvent::CompactIsolated, u64::from(seen.taken));
        self.charge(scanned * self.config.costs.scan_page / 8);
        if self.trace.wants_steps() {
            self.emit_compaction(CompactionEvent::IsolateMigratepages(seen));
        }
    }

    /// Pages of the free block that begins at a frame, on a list or untouched since boot.
    fn free_pages_at(&self, pfn: Pfn) -> Option<u32> {
        match self.mem_map.touched_page(pfn) {
            Some(page) => page.is_buddy().then(|| page.order().pages()),
            None => {
                let zone = self.mem_map.zone_of(pfn)?;
                self.zones[zone.index()].virgin_block(pfn).map(|head| head.up(Order::MAX.pages()).0 - pfn.0)
            }
        }
    }

    /// Is it a page of a task that nobody else holds? Locked ones only if `vm.compact_unevictable_allowed` says so.
    fn may_move(&self, pfn: Pfn) -> bool {
        let page = self.mem_map.page(pfn);
        let locked = page.is_any(PageFlags::UNEVICTABLE | PageFlags::MLOCKED);
        (!locked || self.sysctl.compact_unevictable_allowed > 0) && self.is_migratable(pfn)
    }

    /// Moves the isolated pages, the last one first (`migrate_pages` as compaction calls it).
    fn migrate_isolated(&mut self, run: &mut Compaction) -> Option<CompactResult> {
        let (mut moved, mut failed, mut targets) = (0, 0, None::<(u32, u32)>);
        let mut out_of_targets = false;
        let isolated = std::mem::take(&mut run.migratepages);
        let wanted = isolated.len();
        for old in isolated.into_iter().rev() {
            if out_of_targets {
                failed += 1;
                continue;
            }
            let Some(new) = self.compaction_alloc(run, wanted) else {
                (out_of_targets, failed) = (true, failed + 1);
                continue;
            };
            if self.migrate_page(old, new, MigrateReason::Compaction) {
                moved += 1;
                let (low, high) = targets.unwrap_or((new.0, new.0));
                targets = Some((low.min(new.0), high.max(new.0)));
            } else {
                run.freepages.push_front(new);
                failed += 1;
            }
        }
        (run.moved, run.failed) = (run.moved + moved, run.failed + failed);
        if self.trace.wants_steps() {
            self.emit_compaction(CompactionEvent::Migratepages { moved, failed, targets });
        }
        if out_of_targets && !run.scanners_met() {
            // The watermark forbids to isolate more: going on would help nobody.
            return Some(CompactResult::Contended);
        }
        if let Some(order) = run.order.filter(|_| failed > 0 && run.direct && run.mode == Mode::Async) {
            run.migrate_pfn = ((run.migrate_pfn - 1) & !(order.pages() - 1)) + order.pages();
            run.last_migrated_pfn = 0;
        }
        None
    }

    /// A free page to move to (`compaction_alloc`).
    fn compaction_alloc(&mut self, run: &mut Compaction, wanted: usize) -> Option<Pfn> {
        if run.freepages.is_empty() {
            self.isolate_freepages(run, wanted);
        }
        run.freepages.pop_front()
    }

    /// Isolates free pages from the end of the zone (`isolate_freepages`).
    fn isolate_freepages(&mut self, run: &mut Compaction, wanted: usize) {
        let zone_end = self.zones[run.zone.index()].end_pfn();
        let lowest = pageblock_end(run.migrate_pfn);
        let mut start = run.free_pfn;
        let mut block = pageblock_start(start);
        let mut stride = if run.mode == Mode::Async { COMPACT_CLUSTER_MAX as u32 } else { 1 };
        let mut passed = None;
        while block >= lowest {
            let end = pageblock_end(block).min(zone_end);
            if let Some(why) = self.pass_target(run, block) {
                self.pass_over(&mut passed, (block, end), why);
            } else {
                self.trace_passed(&mut passed);
                let taken = self.isolate_freepages_block(run, &mut start, end, stride, wanted);
                if start >= end {
                    self.update_pageblock_skip(run, block);
                }
                if run.freepages.len() >= wanted {
                    if start >= end {
                        start = block - Order::PAGEBLOCK.pages();
                    }
                    break;
                } else if start < end {
                    // The watermark forbade to take more.
                    break;
                }
                stride = if taken > 0 { 1 } else { (stride << 1).min(COMPACT_CLUSTER_MAX as u32) };
            }
            block -= Order::PAGEBLOCK.pages();
            start = block;
        }
        self.trace_passed(&mut passed);
        run.free_pfn = start;
    }

    /// Why no page is moved into a pageblock (`suitable_migration_target`).
    fn pass_target(&self, run: &Compaction, block: u32) -> Option<Passed> {
        if self.mem_map.zone_of(Pfn(block)) != Some(run.zone) {
            return Some(Passed::Hole);
        }
        if self.free_pages_at(Pfn(block)).is_some_and(|pages| pages >= Order::PAGEBLOCK.pages()) {
            return Some(Passed::AllFree);
        }
        let mt = self.pageblocks.get(Pfn(block));
        if !run.ignore_block_suitable && !matches!(mt, MigrateType::Movable | MigrateType::Cma) {
            return Some(Passed::OtherType(mt));
        }
        (!self.isolation_suitable(run, block)).then_some(Passed::SkipBit)
    }

    /// Isolates the free blocks of a pageblock until there are enough (`isolate_freepages_block`).
    fn isolate_freepages_block(
        &mut self,
        run: &mut Compaction,
        start: &mut u32,
        end: u32,
        stride: u32,
        wanted: usize,
    ) -> u32 {
        let mut seen =
            Scanned { start: *start, block: self.pageblocks.get(Pfn(*start)), ..Scanned::default() };
        let mut at = *start;
        while at < end {
            seen.scanned += 1;
            let page = self.mem_map.page(Pfn(at));
            let order = page.order();
            if !page.is_buddy() || page.zone() != run.zone {
                at += if page.is(PageFlags::HEAD) { order.pages() } else { stride };
                continue;
            }
            if !self.isolate_free_page(Pfn(at), order) {
                break;
            }
            seen.scanned += order.pages() - 1;
            seen.taken += order.pages();
            self.split_map_pages(Pfn(at), order);
            run.freepages.extend((0..order.pages()).map(|n| Pfn(at + n)));
            at += order.pages();
            if run.freepages.len() >= wanted {
                break;
            }
            at += stride - 1;
        }
        *start = at.min(end);
        seen.end = *start;
        let scanned = u64::from(seen.scanned);
        run.free_scanned += scanned;
        self.vmstat.count(VmEvent::CompactFreeScanned, scanned);
        self.vmstat.count(VmEvent::CompactIsolated, u64::from(seen.taken));
        if self.trace.wants_steps() {
            self.emit_compaction(CompactionEvent::IsolateFreepages(seen));
        }
        seen.taken
    }

    /// Gives back a free page that was isolated and not needed (`release_freepages`).
    pub(super) fn release_freepage(&mut self, pfn: Pfn) {
        self.mem_map.page_mut(pfn).refcount = 0;
        self.free_unreferenced(pfn, Order::ZERO);
    }

    /// Notes a pageblock that was passed over; neighbours with the same reason are told together.
    fn pass_over(&mut self, passed: &mut Option<(u32, u32, Passed)>, block: (u32, u32), why: Passed) {
        match passed {
            Some((start, end, same)) if *same == why && (*end == block.0 || *start == block.1) => {
                (*start, *end) = ((*start).min(block.0), (*end).max(block.1));
            }
            _ => {
                self.trace_passed(passed);
                *passed = Some((block.0, block.1, why));
            }
        }
    }

    fn trace_passed(&mut self, passed: &mut Option<(u32, u32, Passed)>) {
        if let Some((start, end, why)) = passed.take()
            && self.trace.wants_steps()
        {
            self.emit_compaction(CompactionEvent::Passed { start, end, why });
        }
    }
}
