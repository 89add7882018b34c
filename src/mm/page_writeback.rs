//! Dirty pages: how many there may be, and how they get to the disk.
//!
//! Gorman 10.2 (then: bdflush). Kernel: `mm/page-writeback.c`.
//! Fidelity: faithful — the global limits, accounts, entries made clean before a write. Absent — the flusher, throttling of
//! writers, limits of devices and cgroups.

use crate::mm::addr::Pfn;
use crate::mm::config::ZoneType;
use crate::mm::fs::{Backing, FileId};
use crate::mm::machine::Machine;
use crate::mm::page::PageFlags;
use crate::mm::vmstat::{NodeStat, ZoneStat};
use crate::mm::xarray::{Entry, Mark};

impl Machine {
    /// Pages that could be dirty at all (`global_dirtyable_memory`).
    pub fn global_dirtyable_memory(&self) -> u64 {
        let free = self.nr_free_pages();
        let file = self.node_stat(NodeStat::InactiveFile) + self.node_stat(NodeStat::ActiveFile);
        let mut pages = free - free.min(self.totalreserve_pages) + file;
        // High memory is not counted: writing it takes low memory.
        for zone in self.zones.iter().filter(|z| z.kind == ZoneType::HighMem) {
            let high = zone.free_pages().saturating_sub(zone.watermark.high)
                + zone.stat(ZoneStat::ZoneInactiveFile)
                + zone.stat(ZoneStat::ZoneActiveFile);
            pages = pages.saturating_sub(high);
        }
        pages + 1
    }

    /// The pages at which background writeback starts, and at which writers are throttled (`global_dirty_limits`).
    pub fn global_dirty_limits(&self) -> (u64, u64) {
        const PAGE: u64 = crate::mm::addr::PAGE_SIZE;
        let available = self.global_dirtyable_memory();
        let of = |bytes: u64, ratio: u64| {
            if bytes > 0 { bytes.div_ceil(PAGE) } else { available * (ratio * PAGE / 100) / PAGE }
        };
        let thresh = of(self.sysctl.dirty_bytes, self.sysctl.dirty_ratio);
        let background = of(self.sysctl.dirty_background_bytes, self.sysctl.dirty_background_ratio);
        (if background >= thresh { thresh / 2 } else { background }, thresh)
    }
}

impl Machine {
    /// A page of a file became dirty (`folio_account_dirtied`).
    pub(crate) fn account_dirtied(&mut self, file: FileId, pfn: Pfn) {
        let page = self.mem_map.page(pfn);
        self.files[file].pages.mark(page.index, Mark::Dirty, true);
        let zone = &mut self.zones[page.zone().index()];
        zone.mod_stat(ZoneStat::ZoneWritePending, 1);
        let node = &mut self.nodes[zone.pgdat];
        node.mod_stat(NodeStat::Dirty, 1);
        node.mod_stat(NodeStat::Dirtied, 1);
    }

    /// A page of a file is dirty no more (`folio_account_cleaned`).
    pub(crate) fn account_cleaned(&mut self, pfn: Pfn) {
        let zone = &mut self.zones[self.mem_map.page(pfn).zone().index()];
        zone.mod_stat(ZoneStat::ZoneWritePending, -1);
        self.nodes[zone.pgdat].mod_stat(NodeStat::Dirty, -1);
    }

    /// Starts writing a dirty page of a file to its disk: entries that map it are made clean first, so that the next
    /// write to it is seen (`folio_clear_dirty_for_io`, `ext4_bio_write_page`).
    pub(crate) fn write_page(&mut self, file: FileId, pfn: Pfn) {
        self.page_mkclean(pfn);
        self.mem_map.page_mut(pfn).clear(PageFlags::DIRTY);
        self.account_cleaned(pfn);
        let index = self.mem_map.page(pfn).index;
        let bytes = self.contents.share(pfn);
        let inode = &mut self.files[file];
        inode.pages.mark(index, Mark::Dirty, false);
        inode.pages.mark(index, Mark::Writeback, true);
        if let Backing::Disk(disk) = &mut inode.backing {
            disk.written.insert(index, bytes);
        }
        self.submit_device_write(pfn);
    }

    /// Writes the dirty pages `first..=last` of a file and waits until they are on the disk
    /// (`file_write_and_wait_range`).
    pub fn fsync_range(&mut self, file: FileId, first: u32, last: u32) {
        self.start_writeback(file, first, last);
        let mut from = first;
        while let Some((index, entry)) = self.marked(file, from, last, Mark::Writeback) {
            if let Some(pfn) = entry.as_page() {
                self.wait_on_page_writeback(pfn);
            }
            let Some(next) = index.checked_add(1) else { return };
            from = next;
        }
    }

    /// Starts writing the dirty pages `first..=last` of a file (`filemap_fdatawrite_range`); how many.
    pub(crate) fn start_writeback(&mut self, file: FileId, first: u32, last: u32) -> u64 {
        let (mut from, mut started) = (first, 0);
        while let Some((index, entry)) = self.marked(file, from, last, Mark::Dirty) {
            if let Some(pfn) = entry.as_page() {
                self.wait_on_page_writeback(pfn);
                self.write_page(file, pfn);
                started += 1;
            }
            let Some(next) = index.checked_add(1) else { break };
            from = next;
        }
        started
    }

    fn marked(&self, file: FileId, from: u32, last: u32, mark: Mark) -> Option<(u32, Entry)> {
        self.files[file].pages.find(from, Some(mark)).filter(|(index, _)| *index <= last)
    }

    /// Writes every dirty page of a file and waits (`fsync`).
    pub fn fsync(&mut self, file: FileId) {
        self.charge(self.config.costs.trap);
        self.fsync_range(file, 0, u32::MAX);
    }

    /// Writes every dirty page of every file and waits (`sync`).
    pub fn sync(&mut self) {
        self.charge(self.config.costs.trap);
        let files: Vec<FileId> = self.files.iter().map(|(id, _)| id).collect();
        for &file in &files {
            self.start_writeback(file, 0, u32::MAX);
        }
        for file in files {
            self.fsync_range(file, 0, u32::MAX);
        }
    }
}
