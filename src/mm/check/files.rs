//! Invariants of files: the page cache, who maps it, what is dirty, what lies in swap, and what all that counts as.
//!
//! Fidelity: ours.

use super::{Broken, broken};
use crate::mm::fs::{File, FileId};
use crate::mm::lru::Lru;
use crate::mm::machine::Machine;
use crate::mm::page::PageFlags;
use crate::mm::shmem::entry_to_swap;
use crate::mm::vma::VmFlags;
use crate::mm::vmstat::NodeStat;
use crate::mm::xarray::Mark;
use std::collections::BTreeMap;

/// What the files of a node add up to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Sums {
    cached: u64,
    shmem: u64,
    dirty: u64,
}

impl Machine {
    /// Page caches, areas of files, swap entries of tmpfs, limits of mounts and counters agree.
    ///
    /// Adds the slots that files name to those that entries name.
    pub(super) fn check_files(&self, slots: &mut BTreeMap<(u8, u32), u32>) -> Result<(), Broken> {
        let mut sums = vec![Sums::default(); self.nodes.len()];
        for (id, file) in self.files.iter() {
            self.check_file(id, file, slots, &mut sums)?;
        }
        let tied: usize = self.files.iter().map(|(_, file)| file.i_mmap.len()).sum();
        let of_files = self.vmas.iter().filter(|(_, vma)| vma.file.is_some()).count();
        if tied != of_files {
            return broken("areas and files are tied both ways", format!("{of_files} areas, {tied} ties"));
        }
        self.check_mounts()?;
        self.check_committed()?;
        self.check_file_counters(&sums)
    }

    fn check_file(
        &self,
        id: FileId,
        file: &File,
        slots: &mut BTreeMap<(u8, u32), u32>,
        sums: &mut [Sums],
    ) -> Result<(), Broken> {
        let (mut pages, mut swapped) = (0, 0);
        for (index, entry) in file.pages.iter() {
            let Some(pfn) = entry.as_page() else {
                if let Some(slot) = entry_to_swap(entry) {
                    *slots.entry((slot.area, slot.offset)).or_default() += 1;
                }
                swapped += 1;
                continue;
            };
            pages += 1;
            let page = self.mem_map.page(pfn);
            let place = || format!("{} page {index} pfn {pfn}: {}", file.name, page.flags());
            if self.file_of(pfn) != Some(id) || page.index != index {
                return broken("a cached page knows its file and its place", place());
            }
            if page.refcount <= page.mapcount() {
                let what = format!("{}, refcount {}, mapcount {}", place(), page.refcount, page.mapcount());
                return broken("the page cache holds a reference", what);
            }
            if self.rmap(pfn).len() as u32 != page.mapcount() {
                let what =
                    format!("{}: {} found, mapcount {}", place(), self.rmap(pfn).len(), page.mapcount());
                return broken("every entry of a file's page is found from the page", what);
            }
            let disk = file.can_writeback();
            let dirty = disk && page.is(PageFlags::DIRTY);
            if file.pages.is_marked(index, Mark::Dirty) != dirty
                || file.pages.is_marked(index, Mark::Writeback) != (disk && page.is(PageFlags::WRITEBACK))
            {
                return broken("marks say what pages say", place());
            }
            let sum = &mut sums[self.zones[page.zone().index()].pgdat];
            sum.cached += 1;
            sum.shmem += u64::from(!disk);
            sum.dirty += u64::from(dirty);
        }
        let shmem = file.shmem().copied().unwrap_or_default();
        if pages != file.nrpages
            || swapped != shmem.swapped
            || (file.shmem().is_some() && pages + swapped != shmem.alloced)
        {
            let what = format!(
                "{}: {pages} pages and {swapped} in swap, counted {} and {} of {}",
                file.name, file.nrpages, shmem.swapped, shmem.alloced
            );
            return broken("a file counts its pages", what);
        }
        if let Some(what) = file.i_mmap.first_wrong() {
            return broken(
                "the tree of a file's areas knows its last pages",
                format!("{}: {what}", file.name),
            );
        }
        for tie in file.i_mmap.iter() {
            if self.vmas.get(tie.id).is_none_or(|vma| vma.file != Some(id) || vma.interval(tie.id) != *tie) {
                return broken("areas and files are tied both ways", format!("{}: {tie:?}", file.name));
            }
        }
        if file.nlink == 0 && file.opens == 0 && file.i_mmap.is_empty() {
            return broken("a file that nothing needs is gone", file.name.to_string());
        }
        Ok(())
    }

    fn check_mounts(&self) -> Result<(), Broken> {
        for (n, mount) in self.fs.mounts.iter().enumerate() {
            let files = self.files.iter().filter(|(_, file)| file.mount == n);
            let blocks: u64 = files.filter_map(|(_, file)| Some(file.shmem()?.alloced)).sum();
            if blocks != mount.used_blocks || (mount.max_blocks > 0 && blocks > mount.max_blocks) {
                let what = format!(
                    "{}: files have {blocks} pages, counted {} of {}",
                    mount.path, mount.used_blocks, mount.max_blocks
                );
                return broken("a mount counts the pages of its files", what);
            }
        }
        Ok(())
    }

    fn check_committed(&self) -> Result<(), Broken> {
        let areas = self.vmas.iter().filter(|(_, vma)| vma.flags.has(VmFlags::ACCOUNT));
        let areas: u64 = areas.map(|(_, vma)| vma.pages()).sum();
        let files = self.files.iter().filter_map(|(_, file)| file.shmem());
        let files: u64 = files.map(|s| if s.reserved > 0 { s.reserved } else { s.alloced }).sum();
        if areas + files != self.committed_as {
            let what = format!("areas {areas} + files {files}, counted {}", self.committed_as);
            return broken("Committed_AS is what areas and files were promised", what);
        }
        Ok(())
    }

    /// What the spec counted as pages of files and nobody has freed since: they belong to no file of the simulator.
    fn imported_file_pages(&self, node: usize) -> Sums {
        let config = &self.config.nodes[node];
        let owners = &config.owners;
        let listed: u64 = config.zones.iter().map(|z| z.lru.inactive_file + z.lru.active_file).sum();
        let lists =
            [Lru::InactiveFile, Lru::ActiveFile].map(|lru| self.nodes[node].lruvec.lists[lru as usize]);
        let left = lists.iter().flat_map(|list| list.iter(&self.mem_map));
        let left = left.filter(|pfn| self.mem_map.page(*pfn).mapping == 0).count() as u64;
        let cached = (owners.file + left).wrapping_sub(owners.swapcached + listed);
        Sums { cached, shmem: owners.shmem, dirty: owners.dirty }
    }

    fn check_file_counters(&self, sums: &[Sums]) -> Result<(), Broken> {
        for (n, node) in self.nodes.iter().enumerate() {
            let base = self.imported_file_pages(n);
            let counted = Sums {
                cached: node.stat(NodeStat::FilePages).wrapping_sub(node.stat(NodeStat::Swapcached)),
                shmem: node.stat(NodeStat::Shmem),
                dirty: node.stat(NodeStat::Dirty),
            };
            let sum = Sums {
                cached: sums[n].cached.wrapping_add(base.cached),
                shmem: sums[n].shmem + base.shmem,
                dirty: sums[n].dirty + base.dirty,
            };
            if counted != sum {
                return broken(
                    "counters of files are the sums of their pages",
                    format!("node {}: {sum:?}, counted {counted:?}", node.nid),
                );
            }
        }
        Ok(())
    }
}
