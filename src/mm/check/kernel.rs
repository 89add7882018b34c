//! Invariants of kernel addresses: areas of vmalloc, their entries, and the mappings of high memory.
//!
//! Fidelity: ours.

use super::{Broken, broken};
use crate::mm::addr::{PAGE_SHIFT, PAGE_SIZE, Pfn, VirtAddr};
use crate::mm::machine::Machine;
use crate::mm::pgtable::{Pte, UpperId};
use crate::mm::vmalloc::{AreaFlags, VmStruct};
use crate::mm::vmstat::ZoneStat;
use std::collections::BTreeSet;
use std::ops::Range;

impl Machine {
    /// The vmalloc room is parted without a gap, what is mapped is what areas and counters say.
    pub(super) fn check_kernel(&self) -> Result<(), Broken> {
        self.check_vmalloc_room()?;
        let mut entries = 0;
        let mut frames = BTreeSet::new();
        for area in self.vmalloc.areas() {
            entries += self.check_vm_struct(area, &mut frames)?;
        }
        let bounced: u64 = self.zones.iter().map(|zone| zone.stat(ZoneStat::Bounce)).sum();
        if bounced != self.bounces_in_flight() {
            let what = format!("{bounced} counted, {} at the device", self.bounces_in_flight());
            return broken("NR_BOUNCE counts bounce pages at the device", what);
        }
        entries += self.check_pkmap()?;
        entries += self.check_local_maps()?;
        let found = self.kernel_entries(self.init_mm);
        if found != entries {
            return broken(
                "the kernel maps what areas and kmaps say",
                format!("{found} entries in init_mm, {entries} pages in areas, PKMap and slots"),
            );
        }
        Ok(())
    }

    fn check_vmalloc_room(&self) -> Result<(), Broken> {
        let busy = self.vmalloc.areas().map(|area| area.start..area.end());
        let mut parts: Vec<Range<u64>> =
            busy.chain(self.vmalloc.lazy()).chain(self.vmalloc.holes()).collect();
        parts.sort_by_key(|part| part.start);
        let mut at = self.layout.vmalloc.start;
        for part in parts {
            if part.start != at || part.end <= part.start {
                let what = format!("{:#x}-{:#x} follows {at:#x}", part.start, part.end);
                return broken("areas, lazy ranges and holes part the vmalloc room", what);
            }
            at = part.end;
        }
        if at != self.layout.vmalloc.end & !(PAGE_SIZE - 1) && at != self.layout.vmalloc.start {
            return broken(
                "areas, lazy ranges and holes part the vmalloc room",
                format!("they end at {at:#x}"),
            );
        }
        let lazy: u64 = self.vmalloc.lazy().map(|range| (range.end - range.start) >> PAGE_SHIFT).sum();
        if lazy != self.vmalloc.lazy_nr || lazy > self.lazy_max_pages() {
            let what =
                format!("{lazy} pages, {} counted, {} allowed", self.vmalloc.lazy_nr, self.lazy_max_pages());
            return broken("freed addresses are counted and few", what);
        }
        let held: u64 = self.vmalloc.areas().map(held_pages).sum();
        if held != self.vmalloc.nr_pages {
            let what = format!("{held} pages in areas, {} counted", self.vmalloc.nr_pages);
            return broken("nr_vmalloc_pages is what areas hold", what);
        }
        Ok(())
    }

    /// Every page of an area is mapped at its place, the guard page is not; how many entries that are.
    fn check_vm_struct(&self, area: &VmStruct, frames: &mut BTreeSet<Pfn>) -> Result<u64, Broken> {
        let wrong = |what: String| {
            broken("an area maps each of its pages once", format!("{:#x}: {what}", area.start))
        };
        let first = area.phys.map(|phys| phys >> PAGE_SHIFT);
        let mut entries = 0;
        let mapped = if area.mapped_by_entries { area.mapped() } else { 0..0 };
        for (n, addr) in mapped.step_by(PAGE_SIZE as usize).enumerate() {
            let pte = self.tables.pte(self.init_mm, VirtAddr(addr));
            let meant = first.map(|pfn| Pfn((pfn + n as u64) as u32)).or_else(|| area.pages.get(n).copied());
            if pte.is_none() || meant != Some(pte.pfn()) {
                return wrong(format!("page {n} is {meant:?}, the entry {:#x}", pte.0));
            }
            entries += 1;
        }
        if area.mapped().end < area.end()
            && !self.tables.pte(self.init_mm, VirtAddr(area.mapped().end)).is_none()
        {
            return wrong("the guard page is mapped".into());
        }
        for pfn in area.pages.iter().filter(|_| held_pages(area) > 0) {
            if self.mem_map.page(*pfn).refcount == 0 || !frames.insert(*pfn) {
                return wrong(format!("pfn {pfn} is free, or of another area, too"));
            }
        }
        Ok(entries)
    }

    fn check_pkmap(&self) -> Result<u64, Broken> {
        let mut entries = 0;
        for (entry, count) in self.highmem.counts().iter().enumerate() {
            let pte = self.tables.pte(self.init_mm, self.pkmap_addr(entry));
            let right = match count {
                0 => pte.is_none(),
                _ => !pte.is_none() && self.highmem.entry_of(pte.pfn()) == Some(entry),
            };
            if !right {
                let what = format!("entry {entry}: count {count}, {:#x} mapped", pte.0);
                return broken("a counted PKMap entry maps its page", what);
            }
            entries += u64::from(*count > 0);
        }
        let waits = self.highmem.waiting().next().is_some();
        if waits && self.highmem.counts().iter().any(|count| *count < 2) {
            return broken("nobody waits while a PKMap entry is free", "an entry has no user".into());
        }
        Ok(entries)
    }

    fn check_local_maps(&self) -> Result<u64, Broken> {
        let mut entries = 0;
        for cpu in 0..self.tlbs.len() {
            for map in self.highmem.local(cpu).iter().filter(|map| map.slot) {
                if self.tables.pte(self.init_mm, map.addr).pfn() != map.pfn {
                    return broken("a slot maps its page", format!("CPU {cpu}, {}", map.addr));
                }
                entries += 1;
            }
        }
        Ok(entries)
    }

    fn kernel_entries(&self, id: UpperId) -> u64 {
        let table = self.tables.upper(id);
        let leaf =
            |id| self.tables.get(id).entries.iter().filter(|entry| !Pte(**entry).is_none()).count() as u64;
        table
            .occupied()
            .map(|entry| match table.upper_below(entry) {
                Some(below) => self.kernel_entries(below),
                None => table.below(entry).map(leaf).sum(),
            })
            .sum()
    }
}

/// Pages that belong to the area, not to who mapped them.
fn held_pages(area: &VmStruct) -> u64 {
    if area.flags.has(AreaFlags::ALLOC) { area.pages.len() as u64 } else { 0 }
}
