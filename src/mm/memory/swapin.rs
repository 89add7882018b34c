//! Faults on pages that lie in swap: found in the swap cache, or read with their neighbours.
//!
//! Gorman 4.6.5, 11.4. Kernel: `mm/memory.c` (`do_swap_page`), `mm/swap_state.c`.
//! Fidelity: faithful — swap cache, area-wise readahead with its window, `swap_ra` and `swap_ra_hit`, slots dropped when
//! swap is more than half full. Absent — cluster readahead of rotating disks, zswap.

use super::VmFault;
use crate::mm::addr::{PAGE_SHIFT, Pfn, VirtAddr};
use crate::mm::machine::Machine;
use crate::mm::page::PageFlags;
use crate::mm::pgtable::{Pte, SwapEntry, TableId, index};
use crate::mm::task::{MmId, Rss};
use crate::mm::trace::FaultKind;
use crate::mm::vma::{SwapRa, VmFlags, VmaId};
use crate::mm::vmstat::VmEvent;

impl Machine {
    /// Brings a page back from swap (`do_swap_page`).
    pub(super) fn do_swap_page(
        &mut self,
        mm: MmId,
        vma: VmaId,
        leaf: TableId,
        addr: VirtAddr,
        pte: Pte,
        write: bool,
    ) -> Result<FaultKind, VmFault> {
        let entry = pte.swap_entry();
        let (pfn, major) = match self.lookup_swap_cache(entry) {
            Some(pfn) => {
                self.note_readahead_hit(vma, addr, pfn);
                (pfn, false)
            }
            None => (self.swapin_readahead(mm, vma, addr, entry)?, true),
        };
        // The fault holds the page: reclaim that runs meanwhile must leave it.
        self.mem_map.page_mut(pfn).refcount += 1;
        self.wait_on_page(pfn);
        let leaf = self.leaf(mm, addr).unwrap_or(leaf);
        if Pte(self.tables.get(leaf).entries[index(addr, 0)]) != pte
            || !self.mem_map.page(pfn).is(PageFlags::SWAPCACHE)
        {
            self.put_lru_page(pfn);
            return Ok(FaultKind::Spurious);
        }
        let flags = self.vmas[vma].flags;
        let exclusive = pte.swap_exclusive() && !self.mem_map.page(pfn).is(PageFlags::WRITEBACK);
        self.add_rss(mm, Rss::Anon, 1);
        self.add_rss(mm, Rss::Swap, -1);
        self.anon_vma_prepare(vma);
        self.swap_free(entry);
        if self.should_try_to_free_swap(pfn, flags, write) {
            self.try_to_free_swap(pfn);
        }
        let alone = exclusive || self.mem_map.page(pfn).refcount == 1;
        let mut bits = flags.page_prot();
        if write && alone && flags.has(VmFlags::WRITE) {
            bits |= Pte::RW | Pte::DIRTY | Pte::SOFT_DIRTY;
        }
        self.page_add_anon_rmap(pfn, vma, addr, alone);
        self.tables.set(leaf, addr, Pte::new(pfn, bits));
        if flags.has(VmFlags::LOCKED) {
            self.mlock_page(pfn);
        }
        // The reference taken above is the entry's own from now on.
        if write && !alone {
            self.do_wp_page(mm, vma, leaf, addr, Pte::new(pfn, bits))?;
        }
        Ok(FaultKind::SwapIn { major })
    }

    /// Is the slot better given back now? (`should_try_to_free_swap`)
    fn should_try_to_free_swap(&self, pfn: Pfn, flags: VmFlags, write: bool) -> bool {
        let page = self.mem_map.page(pfn);
        if !page.is(PageFlags::SWAPCACHE) {
            return false;
        }
        if self.vm_swap_full() || flags.has(VmFlags::LOCKED) || page.is(PageFlags::MLOCKED) {
            return true;
        }
        // A write that could reuse the page, if only the swap cache let go of it.
        write && !page.is(PageFlags::WRITEBACK) && page.refcount == 2
    }

    /// A page that was read ahead was wanted: the window may grow.
    fn note_readahead_hit(&mut self, vma: VmaId, addr: VirtAddr, pfn: Pfn) {
        let page = self.mem_map.page_mut(pfn);
        if page.test_and_clear(PageFlags::RECLAIM) && !page.is(PageFlags::WRITEBACK) {
            // PG_readahead shares its bit with PG_reclaim.
            self.vmstat.count(VmEvent::SwapRaHit, 1);
            let ra = &mut self.vmas[vma].swap_ra;
            ra.hits = (ra.hits + 1).min(1 << 6);
        }
        self.vmas[vma].swap_ra.addr = addr.vpn();
    }

    /// Reads a page and its neighbours in the area (`swap_vma_readahead`).
    fn swapin_readahead(
        &mut self,
        mm: MmId,
        vma: VmaId,
        addr: VirtAddr,
        entry: SwapEntry,
    ) -> Result<Pfn, VmFault> {
        let window = self.readahead_window(vma, addr);
        let (first, count) = window_around(&self.vmas[vma], addr, window.0, window.1);
        for vpn in first..first + count {
            let near = VirtAddr(vpn << PAGE_SHIFT);
            if near == addr.page() || count == 1 {
                continue;
            }
            let Some(leaf) = self.tables.leaf(self.mms[mm].pgd, near) else { continue };
            let pte = Pte(self.tables.get(leaf).entries[index(near, 0)]);
            if pte.is_swap()
                && self.lookup_swap_cache(pte.swap_entry()).is_none()
                && let Ok(pfn) = self.read_swap_cache(pte.swap_entry(), false)
            {
                self.mem_map.page_mut(pfn).set(PageFlags::RECLAIM);
                self.vmstat.count(VmEvent::SwapRa, 1);
            }
        }
        match self.lookup_swap_cache(entry) {
            Some(pfn) => Ok(pfn),
            None => self.read_swap_cache(entry, true),
        }
    }

    /// How many pages to read, and the address of the fault before (`__swapin_nr_pages`, `swap_ra_info`).
    fn readahead_window(&mut self, vma: VmaId, addr: VirtAddr) -> (u32, u64) {
        let most = 1u32 << self.sysctl.page_cluster.min(5);
        let vpn = addr.vpn();
        let ra = self.vmas[vma].swap_ra;
        if most == 1 {
            return (1, vpn);
        }
        let mut pages = ra.hits + 2;
        if pages == 2 {
            // No hits: only a fault right beside the last one keeps a window.
            if vpn != ra.addr + 1 && vpn + 1 != ra.addr {
                pages = 1;
            }
        } else {
            pages = pages.next_power_of_two().max(4);
        }
        // The window never shrinks too fast.
        let pages = pages.min(most).max((ra.win / 2).min(most));
        self.vmas[vma].swap_ra = SwapRa { addr: vpn, win: pages, hits: 0 };
        (pages, ra.addr)
    }

    /// Allocates a page, puts it into the swap cache and reads it (`read_swap_cache_async`).
    pub(crate) fn read_swap_cache(&mut self, entry: SwapEntry, wait: bool) -> Result<Pfn, VmFault> {
        let pfn = self.alloc_user_page(false)?;
        if let Some(found) = self.lookup_swap_cache(entry) {
            // Reclaim ran during the allocation; nobody else can have read it, but be safe.
            self.put_lru_page(pfn);
            return Ok(found);
        }
        self.add_to_swap_cache(pfn, entry);
        let bytes = self.swap[usize::from(entry.area)].load(entry.offset);
        self.contents.put(pfn, bytes);
        let page = self.mem_map.page_mut(pfn);
        page.set(PageFlags::SWAPBACKED | PageFlags::UPTODATE);
        self.workingset_refault_anon(pfn, entry);
        self.lru_add(pfn);
        // Only the cache holds it from now on.
        self.mem_map.page_mut(pfn).refcount -= 1;
        self.submit_read(pfn, wait);
        Ok(pfn)
    }
}

/// The pages to read: forwards, backwards or around the fault, inside the area and the PTE table.
fn window_around(vma: &crate::mm::vma::Vma, addr: VirtAddr, window: u32, previous: u64) -> (u64, u64) {
    let vpn = addr.vpn();
    let window = u64::from(window);
    let (mut left, mut right) = if vpn == previous + 1 {
        (vpn, vpn + window)
    } else if previous == vpn + 1 {
        ((vpn + 1).saturating_sub(window), vpn + 1)
    } else {
        let left = vpn.saturating_sub((window - 1) / 2);
        (left, left + window)
    };
    left = left.max(vma.start >> PAGE_SHIFT).max(vpn & !511);
    right = right.min(vma.end >> PAGE_SHIFT).min((vpn & !511) + 512);
    (left, right.saturating_sub(left).max(1))
}
