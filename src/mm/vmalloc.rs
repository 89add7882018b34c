//! Memory whose pages lie anywhere, in addresses that lie together.
//!
//! ```text
//!   vmalloc room  │ area ·│ area ····│g│      hole       │ area │g│          g: a guard page that nothing backs
//!                    │ │     │  │ └┐
//!   frames         9 │ 4  12│ 7  3  8          in any order: HighMem will do
//!
//!   vfree: entries cleared at once; the addresses wait until many have gathered, then one TLB flush gives all back
//! ```
//!
//! Gorman chapter 7. Kernel: `mm/vmalloc.c`.
//! Fidelity: faithful — lowest fitting addresses, guard pages, page by page allocation, page array in vmalloc when it is
//! large, lazy freeing and its limit, complaints, fault of the processes that have no entry yet (i386). Simplified —
//! pages come one by one, not in bulk; the purge is done at once, not by a worker; small page arrays and the area's
//! descriptors come from no cache. Absent — huge pages, vm_map_ram, per-CPU blocks.

mod access;
mod area;
mod ioremap;
mod map;

pub use access::VmallocFault;
pub use area::{AreaFlags, VmStruct, VmapAreas};

use crate::mm::addr::{Order, PAGE_SHIFT, PAGE_SIZE, Pfn, VirtAddr};
use crate::mm::config::Arch;
use crate::mm::errno::{Errno, Oops};
use crate::mm::gfp::Gfp;
use crate::mm::machine::Machine;
use crate::mm::panic::Taint;
use crate::mm::pgtable::Pte;

impl Machine {
    /// Allocates pages anywhere and maps them next to each other in kernel addresses (`vmalloc`).
    ///
    /// # Errors
    /// `ENOMEM` for size 0, for more than all memory, when no room or no page is left; the kernel's BUG in an interrupt.
    pub fn vmalloc(&mut self, size: u64, gfp: Gfp) -> Result<Result<VirtAddr, Errno>, Oops> {
        self.may_make_area()?;
        Ok(self.vmalloc_node_range(size, gfp, PAGE_SIZE, "vmalloc"))
    }

    /// Memory that lies together if it can be had without trouble, else pages from anywhere (`kvmalloc`).
    ///
    /// # Errors
    /// `ENOMEM`; the kernel's BUG when vmalloc is come to in an interrupt.
    pub fn kvmalloc(&mut self, size: u64, gfp: Gfp) -> Result<Result<VirtAddr, Errno>, Oops> {
        let mut first = gfp;
        if size > PAGE_SIZE {
            // There is another way: neither hard tries nor a complaint are wanted.
            first = first.without(Gfp::NOFAIL) | Gfp::NOWARN;
            if !gfp.has(Gfp::RETRY_MAYFAIL) {
                first = first | Gfp::NORETRY;
            }
        }
        let found = self.kmalloc(size, first);
        if found.is_ok() || !self.kvmalloc_may_fall_back(size, gfp) {
            return Ok(found);
        }
        self.may_make_area()?;
        Ok(self.vmalloc_node_range(size, gfp, PAGE_SIZE, "kvmalloc"))
    }

    /// Does `kvmalloc` try vmalloc after kmalloc? Not for what a page holds, nor from `INT_MAX` on, nor when the caller
    /// may not sleep.
    pub fn kvmalloc_may_fall_back(&self, size: u64, gfp: Gfp) -> bool {
        size > PAGE_SIZE && size <= i32::MAX as u64 && gfp.may_sleep()
    }

    /// Frees what `kvmalloc` gave, whichever it was (`kvfree`).
    ///
    /// # Errors
    /// As [`Machine::vfree`] and [`Machine::kfree`].
    pub fn kvfree(&mut self, addr: VirtAddr) -> Result<(), Oops> {
        if self.is_vmalloc_addr(addr) { self.vfree(addr) } else { self.kfree(addr) }
    }

    /// Does an address lie in the room of vmalloc? (`is_vmalloc_addr`)
    pub fn is_vmalloc_addr(&self, addr: VirtAddr) -> bool {
        (self.layout.vmalloc.start..self.layout.vmalloc.end).contains(&addr.0)
    }

    /// The mask of `vmalloc_32`: pages that 32 bits of an address reach.
    pub fn vmalloc_32_mask(&self) -> Gfp {
        match self.config.arch {
            Arch::X86_64 | Arch::Arm64 => Gfp(Gfp::KERNEL.0 | Gfp::DMA32.0),
            _ => Gfp::KERNEL,
        }
    }

    /// The same at an alignment, for callers inside the kernel (`__vmalloc_node_range`).
    pub(crate) fn vmalloc_node_range(
        &mut self,
        size: u64,
        gfp: Gfp,
        align: u64,
        caller: &'static str,
    ) -> Result<VirtAddr, Errno> {
        let pages = size.div_ceil(PAGE_SIZE);
        if pages == 0 {
            self.warn_on_no_size();
            return Err(Errno::ENOMEM);
        }
        if pages > self.totalram_pages() {
            self.warn_alloc_vmalloc(gfp, format!("vmalloc error: size {size}, exceeds total pages"));
            return Err(Errno::ENOMEM);
        }
        let start = self.get_vm_area(size, AreaFlags::ALLOC, align, caller)?;
        match self.vmalloc_area_node(start, pages, gfp) {
            Ok(()) => {
                self.vmalloc.clear_uninitialized(start);
                Ok(VirtAddr(start))
            }
            Err(errno) => {
                self.give_up_area(start);
                Err(errno)
            }
        }
    }

    /// Pages for an area, and the entries that map them (`__vmalloc_area_node`).
    fn vmalloc_area_node(&mut self, start: u64, pages: u64, gfp: Gfp) -> Result<(), Errno> {
        let array = pages * if self.config.arch.is_64bit() { 8 } else { 4 };
        if array > PAGE_SIZE {
            let place = self.vmalloc_node_range(
                array,
                Gfp(gfp.0 & !Gfp::DMA32.0 | Gfp::ZERO.0),
                PAGE_SIZE,
                "__vmalloc_area_node",
            );
            let Ok(place) = place else {
                let size = pages << PAGE_SHIFT;
                self.warn_alloc_vmalloc(
                    gfp,
                    format!("vmalloc error: size {size}, page array size {array} allocation failed"),
                );
                return Err(Errno::ENOMEM);
            };
            self.vmalloc.set_page_array(start, place.0);
        }
        let low = gfp.0 & (Gfp::DMA.0 | Gfp::DMA32.0) != 0;
        let page_gfp = Gfp(gfp.0 | Gfp::NOWARN.0 | if low { 0 } else { Gfp::HIGHMEM.0 });
        for n in 0..pages {
            let Ok(pfn) = self.alloc_pages(page_gfp, Order::ZERO) else {
                let size = pages << PAGE_SHIFT;
                self.warn_alloc_vmalloc(
                    gfp,
                    format!("vmalloc error: size {size}, page order 0, failed to allocate pages"),
                );
                return Err(Errno::ENOMEM);
            };
            self.vmalloc.push_page(start, pfn);
            self.vmap_page(start + n * PAGE_SIZE, pfn, self.kernel_prot())?;
        }
        Ok(())
    }

    /// Frees what `vmalloc` gave (`vfree`).
    ///
    /// # Errors
    /// The kernel's warning for an address that is none of an area, or not its first.
    pub fn vfree(&mut self, addr: VirtAddr) -> Result<(), Oops> {
        self.vunmap_checked(addr)
    }

    /// Takes a mapping of `vmap` away; the pages stay (`vunmap`).
    ///
    /// # Errors
    /// As [`Machine::vfree`]; the kernel's BUG in an interrupt.
    pub fn vunmap(&mut self, addr: VirtAddr) -> Result<(), Oops> {
        if self.current.in_interrupt {
            return Err(
                self.vmalloc_bug("in_interrupt()", "vunmap may sleep: an interrupt handler must not call it")
            );
        }
        self.vunmap_checked(addr)
    }

    fn vunmap_checked(&mut self, addr: VirtAddr) -> Result<(), Oops> {
        if addr.0 == 0 {
            return Ok(());
        }
        let (what, advice) = if !addr.is_aligned() {
            ("bad address", "an area begins at a page's first byte: give what vmalloc answered")
        } else if self.vmalloc.area(addr.0).is_none() {
            ("nonexistent vm area", self.vfree_advice(addr))
        } else {
            return self.vunmap_area(addr.0);
        };
        let digits = self.config.arch.address_digits();
        let line = format!("Trying to vfree() {what} ({:0digits$x})", addr.0);
        self.printk("------------[ cut here ]------------");
        self.printk(line.clone());
        self.dump_stack(&["__vunmap", "vfree"]);
        self.add_taint(Taint::Warn);
        Err(Oops::new(line, advice.to_string()))
    }

    fn vfree_advice(&self, addr: VirtAddr) -> &'static str {
        if self.virt_to_pfn(addr).is_some() {
            "it is an address of the direct map: kfree or free_pages gave it a meaning, and take it back"
        } else if self.vmalloc.find(addr.0).is_some() {
            "it lies inside an area: give the address that vmalloc answered; see kmem -v"
        } else if self.vmalloc.is_lazy(addr.0) {
            "it was freed already, and waits for the next purge; see kmem -v"
        } else {
            "no area begins there; see kmem -v"
        }
    }

    /// Unmaps an area and frees its pages; its addresses come back with the next purge (`__vunmap`).
    ///
    /// # Errors
    /// The kernel's complaint about the first page that was the area's no more, or is in use otherwise; the area is
    /// gone, and its other pages are free.
    pub(crate) fn vunmap_area(&mut self, start: u64) -> Result<(), Oops> {
        let Some(area) = self.remove_vm_area(start) else { return Ok(()) };
        let mut freed = Ok(());
        if area.flags.has(AreaFlags::ALLOC) || area.flags.has(AreaFlags::MAP_PUT_PAGES) {
            for pfn in area.pages {
                freed = freed.and(self.free_pages(pfn, Order::ZERO));
            }
        }
        match area.page_array {
            Some(array) => freed.and(self.vunmap_area(array)),
            None => freed,
        }
    }

    /// Takes back an area that the kernel made for itself; a page that somebody else freed is the log's matter.
    pub(crate) fn give_up_area(&mut self, start: u64) {
        let _ = self.vunmap_area(start);
    }

    /// Maps pages of the caller's next to each other (`vmap`).
    ///
    /// # Errors
    /// `ENOMEM`; the kernel's BUG in an interrupt.
    pub fn vmap(&mut self, pages: &[Pfn]) -> Result<Result<VirtAddr, Errno>, Oops> {
        self.may_make_area()?;
        if pages.is_empty() || pages.len() as u64 > self.totalram_pages() {
            return Ok(Err(Errno::ENOMEM));
        }
        let size = pages.len() as u64 * PAGE_SIZE;
        let Ok(start) = self.get_vm_area(size, AreaFlags::MAP, PAGE_SIZE, "vmap") else {
            return Ok(Err(Errno::ENOMEM));
        };
        for (n, pfn) in pages.iter().enumerate() {
            self.vmalloc.push_page(start, *pfn);
            if let Err(errno) = self.vmap_page(start + n as u64 * PAGE_SIZE, *pfn, self.kernel_prot()) {
                self.give_up_area(start);
                return Ok(Err(errno));
            }
        }
        Ok(Ok(VirtAddr(start)))
    }

    /// The frame behind an address of the vmalloc room (`vmalloc_to_page`).
    pub fn vmalloc_to_page(&self, addr: VirtAddr) -> Option<Pfn> {
        let pte = self.tables.pte(self.init_mm, addr);
        pte.is_present().then(|| pte.pfn())
    }

    /// Bits of an entry that maps kernel memory (`PAGE_KERNEL`).
    pub(crate) fn kernel_prot(&self) -> u64 {
        let nx = if self.config.arch == Arch::I386 { 0 } else { Pte::NX };
        Pte::PRESENT | Pte::RW | Pte::ACCESSED | Pte::DIRTY | Pte::GLOBAL | nx
    }

    /// May an area be made here? It takes a mutex's place: never in an interrupt (`__get_vm_area_node`).
    fn may_make_area(&mut self) -> Result<(), Oops> {
        if !self.current.in_interrupt {
            return Ok(());
        }
        Err(self.vmalloc_bug(
            "in_interrupt()",
            "vmalloc may sleep: it allocates page tables and pages with GFP_KERNEL, and waits when none is free\n  \
             in an interrupt, take kmalloc(size, GFP_ATOMIC), or memory that was set aside before",
        ))
    }

    fn vmalloc_bug(&mut self, condition: &str, advice: &str) -> Oops {
        let line = "kernel BUG at mm/vmalloc.c!";
        self.kernel_bug(line);
        Oops::new(line, format!("BUG_ON({condition}): {advice}"))
    }

    /// An area of no bytes is a mistake of the caller's, told the first time only (`WARN_ON_ONCE(!size)`).
    #[cold]
    fn warn_on_no_size(&mut self) {
        if std::mem::replace(&mut self.vmalloc.warned_no_size, true) {
            return;
        }
        self.printk("------------[ cut here ]------------");
        self.printk(format!(
            "WARNING: CPU: {} PID: {} at mm/vmalloc.c __vmalloc_node_range",
            self.cpu.0, self.current.pid
        ));
        self.dump_stack(&["__vmalloc_node_range", "vmalloc"]);
        self.add_taint(Taint::Warn);
    }

    /// The kernel's report of a vmalloc that failed (`warn_alloc`).
    fn warn_alloc_vmalloc(&mut self, gfp: Gfp, what: String) {
        if gfp.0 & Gfp::NOWARN.0 != 0 || !self.ratelimit(|limits| &mut limits.nopage) {
            return;
        }
        let (comm, nodes) = (self.current.comm, self.mems_allowed());
        self.printk(format!(
            "{comm}: {what}, mode:{:#x}({gfp}), nodemask=(null),cpuset=/,mems_allowed={nodes}",
            gfp.0
        ));
        self.dump_stack(&["warn_alloc", "__vmalloc_node_range", "vmalloc"]);
    }
}
