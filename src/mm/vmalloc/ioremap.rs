//! Memory of devices in kernel addresses.
//!
//! Gorman 7.1. Kernel: `arch/x86/mm/ioremap.c`, `arch/arm64/mm/ioremap.c`.
//! Fidelity: faithful — RAM is refused, alignment of the area, the offset inside a page, complaints. Absent — the memory
//! types of PAT: every mapping is uncached.

use super::AreaFlags;
use crate::mm::addr::{PAGE_SIZE, Pfn, VirtAddr};
use crate::mm::config::Arch;
use crate::mm::errno::{Errno, Oops};
use crate::mm::machine::Machine;
use crate::mm::pgtable::Pte;

impl Machine {
    /// Maps physical addresses of a device (`ioremap`).
    ///
    /// # Errors
    /// `ENOMEM` for size 0, addresses that wrap or do not exist, RAM, or when no room is left; the kernel's BUG in an
    /// interrupt.
    pub fn ioremap(&mut self, phys: u64, size: u64) -> Result<Result<VirtAddr, Errno>, Oops> {
        self.may_make_area()?;
        Ok(self.ioremap_caller(phys, size))
    }

    fn ioremap_caller(&mut self, phys: u64, size: u64) -> Result<VirtAddr, Errno> {
        let last = phys.checked_add(size).filter(|_| size > 0).map(|end| end - 1).ok_or(Errno::ENOMEM)?;
        let bits = match self.config.arch {
            Arch::I386 | Arch::Arm => 32,
            Arch::I386Pae => 36,
            // Frame numbers have 32 bits here.
            _ => 44,
        };
        if last >> bits != 0 {
            let digits = self.config.arch.address_digits();
            self.printk(format!("ioremap: invalid physical address {phys:0digits$x}"));
            return Err(Errno::ENOMEM);
        }
        let first = phys & !(PAGE_SIZE - 1);
        let pages = (last - first) / PAGE_SIZE + 1;
        let is_ram = |page: u64| {
            let pfn = Pfn((page / PAGE_SIZE) as u32);
            self.mem_map.contains(pfn)
        };
        if (0..pages).take(1 << 20).any(|n| is_ram(first + n * PAGE_SIZE)) {
            self.printk(format!("ioremap on RAM at {phys:#018x} - {last:#018x}"));
            return Err(Errno::ENOMEM);
        }
        let bytes = pages * PAGE_SIZE;
        // An area of devices is aligned to its size, so that huge entries could map it.
        let align = bytes.next_power_of_two().clamp(PAGE_SIZE, self.ioremap_max_align());
        let start = self.get_vm_area(bytes, AreaFlags::IOREMAP, align, "ioremap")?;
        self.vmalloc.set_phys(start, first);
        for n in 0..pages {
            let pfn = Pfn(((first >> 12) + n) as u32);
            if let Err(errno) = self.vmap_page(start + n * PAGE_SIZE, pfn, self.kernel_prot() | Pte::PCD) {
                self.remove_vm_area(start);
                return Err(errno);
            }
        }
        Ok(VirtAddr(start + (phys - first)))
    }

    /// `IOREMAP_MAX_ORDER`: the largest alignment of an area of devices.
    fn ioremap_max_align(&self) -> u64 {
        match self.config.arch {
            Arch::X86_64 | Arch::Arm64 => 1 << 30,
            Arch::I386 => 1 << 22,
            Arch::I386Pae => 1 << 21,
            Arch::Arm => 1 << 24,
            Arch::Uml => 128 * PAGE_SIZE,
        }
    }

    /// Takes such a mapping away (`iounmap`).
    ///
    /// # Errors
    /// The kernel's `iounmap: bad address` for what `ioremap` did not give.
    pub fn iounmap(&mut self, addr: VirtAddr) -> Result<(), Oops> {
        let start = addr.page().0;
        if self.layout.direct.contains(&addr.0) {
            // The kernel takes it for memory that was always mapped.
            return Ok(());
        }
        if self.vmalloc.area(start).is_some_and(|area| area.flags.has(AreaFlags::IOREMAP)) {
            self.remove_vm_area(start);
            return Ok(());
        }
        let digits = self.config.arch.address_digits();
        let line = format!("iounmap: bad address {:0digits$x}", addr.0);
        self.printk(line.clone());
        self.dump_stack(&["iounmap"]);
        Err(Oops::new(line, "ioremap gave no such address; see kmem -v".to_string()))
    }
}
