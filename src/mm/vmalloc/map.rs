//! Areas are made, mapped in `init_mm` and taken away; freed addresses are purged together.
//!
//! Gorman 7.2, 7.3. Kernel: `mm/vmalloc.c`, `arch/x86/mm/fault.c` (`arch_sync_kernel_mappings`).
//! Fidelity: faithful — order of the steps, when a purge is made.

use super::{AreaFlags, VmStruct};
use crate::mm::addr::{Order, PAGE_SHIFT, PAGE_SIZE, Pfn, VirtAddr};
use crate::mm::errno::Errno;
use crate::mm::gfp::Gfp;
use crate::mm::machine::Machine;
use crate::mm::page::PageType;
use crate::mm::pgtable::{Pte, UpperId};

/// `GFP_PGTABLE_KERNEL`.
const PGTABLE_KERNEL: Gfp = Gfp(Gfp::KERNEL.0 | Gfp::ZERO.0);

impl Machine {
    /// Finds addresses for an area and a guard page (`__get_vm_area_node`).
    pub(super) fn get_vm_area(
        &mut self,
        size: u64,
        flags: AreaFlags,
        align: u64,
        caller: &'static str,
    ) -> Result<u64, Errno> {
        let Some(size) =
            size.checked_next_multiple_of(PAGE_SIZE).and_then(|size| size.checked_add(PAGE_SIZE))
        else {
            return Err(Errno::ENOMEM);
        };
        let start = match self.vmalloc.reserve(size, align) {
            Some(start) => start,
            None => {
                // What was freed may be room enough.
                self.purge_vmap_area_lazy();
                let Some(start) = self.vmalloc.reserve(size, align) else {
                    self.printk(format!(
                        "vmap allocation for size {size} failed: use vmalloc=<size> to increase size"
                    ));
                    return Err(Errno::ENOMEM);
                };
                start
            }
        };
        let flags =
            if flags.has(AreaFlags::ALLOC) { AreaFlags(flags.0 | AreaFlags::UNINITIALIZED.0) } else { flags };
        let (pages, phys, page_array) = (Vec::new(), None, None);
        self.vmalloc.insert(VmStruct {
            start,
            size,
            flags,
            pages,
            phys,
            page_array,
            caller: caller.into(),
            mapped_by_entries: true,
        });
        Ok(start)
    }

    /// Unmaps an area; its addresses stay unused until the next purge (`remove_vm_area`).
    pub(super) fn remove_vm_area(&mut self, start: u64) -> Option<VmStruct> {
        let range = self.vmalloc.area(start)?.mapped();
        for addr in range.step_by(PAGE_SIZE as usize).map(VirtAddr) {
            self.unmap_kernel_page(addr);
        }
        let area = self.vmalloc.retire(start);
        if self.vmalloc.lazy_nr > self.lazy_max_pages() {
            self.purge_vmap_area_lazy();
        }
        area
    }

    /// Freed pages of addresses that may gather before a purge: 32 MiB for each power of two of CPUs.
    pub fn lazy_max_pages(&self) -> u64 {
        let log = u64::from((self.config.nr_cpus() as u64).ilog2() + 1);
        log * ((32 << 20) >> PAGE_SHIFT)
    }

    /// Flushes every TLB once and makes all freed addresses usable again (`purge_vmap_area_lazy`).
    pub fn purge_vmap_area_lazy(&mut self) -> u64 {
        if self.vmalloc.lazy_nr == 0 {
            return 0;
        }
        // The modelled TLBs hold addresses of tasks only: there is nothing to forget in them.
        self.vmalloc.purge()
    }

    /// Maps a page in the kernel's tables; missing tables are allocated (`vmap_pages_range`).
    pub(super) fn vmap_page(&mut self, addr: u64, pfn: Pfn, prot: u64) -> Result<(), Errno> {
        self.map_kernel_page(VirtAddr(addr), Pte::new(pfn, prot))
    }

    /// Sets an entry of `init_mm`.
    pub(crate) fn map_kernel_page(&mut self, addr: VirtAddr, pte: Pte) -> Result<(), Errno> {
        self.map_kernel_page_with(addr, pte, |m| {
            let pfn = m.alloc_pages(PGTABLE_KERNEL, Order::ZERO)?;
            m.mem_map.page_mut(pfn).set_page_type(Some(PageType::Table));
            Ok(pfn)
        })
    }

    /// The same, with frames for missing tables from elsewhere.
    pub(crate) fn map_kernel_page_with(
        &mut self,
        addr: VirtAddr,
        pte: Pte,
        frame: impl FnMut(&mut Machine) -> Result<Pfn, Errno>,
    ) -> Result<(), Errno> {
        let leaf = match self.tables.leaf(self.init_mm, addr) {
            Some(leaf) => leaf,
            None => {
                self.make_kernel_tables(addr, frame)?;
                self.tables.leaf(self.init_mm, addr).ok_or(Errno::ENOMEM)?
            }
        };
        self.tables.set(leaf, addr, pte);
        Ok(())
    }

    /// Clears an entry of `init_mm`; its table stays, as in the kernel.
    pub(crate) fn unmap_kernel_page(&mut self, addr: VirtAddr) {
        if let Some(leaf) = self.tables.leaf(self.init_mm, addr) {
            self.tables.set(leaf, addr, Pte(0));
        }
    }

    /// Tables of the kernel have no owner that is charged, and nr_page_table_pages does not count them.
    pub(crate) fn make_kernel_tables(
        &mut self,
        addr: VirtAddr,
        mut frame: impl FnMut(&mut Machine) -> Result<Pfn, Errno>,
    ) -> Result<(), Errno> {
        let mut id = self.init_mm;
        for level in (1..self.tables.geometry.levels()).rev() {
            let entry = self.tables.geometry.index(addr, level);
            if self.tables.upper(id).below(entry).next().is_none() {
                let pfn = frame(self)?;
                self.tables.insert_below(id, entry, pfn, Pte::TABLE);
                if level == self.tables.geometry.top() && self.sync_kernel_mappings {
                    self.arch_sync_kernel_mappings(entry);
                }
            }
            match self.tables.upper(id).upper_below(entry) {
                Some(below) => id = below,
                None => break,
            }
        }
        Ok(())
    }

    /// The first of the frames in which the kernel's own tables stand: the first that boot kept above 1 MiB.
    pub fn kernel_table_frame(&self) -> Pfn {
        let reserved = self.mem_map.reserved();
        let above = reserved.iter().find(|(start, end)| *end > 0x100 && self.mem_map.contains(Pfn(*start)));
        Pfn(above.map_or(1, |(start, _)| (*start).max(0x100)))
    }

    /// Gives a new PGD the entries of the kernel's half that are there now (`pgd_ctor`).
    pub(crate) fn copy_kernel_entries(&mut self, pgd: UpperId) {
        if !self.has_vmalloc_fault() {
            return;
        }
        let first = self.user_pgd_entries();
        let entries: Vec<usize> =
            self.tables.upper(self.init_mm).occupied().filter(|n| *n >= first).collect();
        for entry in entries {
            self.tables.link(pgd, entry, self.init_mm);
        }
    }

    /// Copies a new entry of the kernel's PGD into every process's (`arch_sync_kernel_mappings`).
    fn arch_sync_kernel_mappings(&mut self, entry: usize) {
        if !self.has_vmalloc_fault() {
            return;
        }
        let pgds: Vec<_> = self.mms.iter().map(|(_, mm)| mm.pgd).collect();
        for pgd in pgds {
            self.tables.link(pgd, entry, self.init_mm);
        }
    }
}
