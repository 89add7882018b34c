//! Kernel code touches an address: through the direct map, or by a walk of the tables that the processor uses.
//!
//! ```text
//!   direct map ───────────────────────────────► its frame
//!   vmalloc, pkmap, fixmap ─ the current PGD ─► entry there? ─ yes ─► the kernel's tables below
//!                                                └ no (i386) ─ vmalloc fault: copied from init_mm's PGD, or an oops
//!   anything else ────────────────────────────► BUG: unable to handle page fault
//! ```
//!
//! Gorman 4.6.1, 7.2. Kernel: `arch/x86/mm/fault.c` (`vmalloc_fault`, `bad_area_nosemaphore`).
//! Fidelity: faithful — which processes fault, what is copied, the lines of the oops. Simplified — 6.1 copies new
//! entries to all processes at once and keeps the fault for a race; up to 5.7 it was the only way, and is the default
//! here.

use crate::mm::addr::{Pfn, VirtAddr};
use crate::mm::config::Arch;
use crate::mm::errno::Oops;
use crate::mm::machine::{Comm, Machine};
use crate::mm::panic::Taint;
use crate::mm::pgtable::{Pte, UpperId};

/// A fault on a kernel address that the tables of a process did not have yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VmallocFault {
    /// Virtual time.
    pub at: u64,
    /// Who touched it.
    pub pid: u32,
    /// Its name.
    pub comm: Comm,
    /// The CPU on which it ran.
    pub cpu: u16,
    /// The address.
    pub addr: VirtAddr,
    /// The entry of the PGD that was missing.
    pub index: usize,
    /// What was copied into it.
    pub entry: Pte,
}

impl Machine {
    /// Can a process lack an entry of the kernel's? Only where each has a PGD of its own for the vmalloc room.
    pub fn has_vmalloc_fault(&self) -> bool {
        // The four entries of PAE share the kernel's one PMD; on 64 bits the entries are there from the beginning.
        self.config.arch == Arch::I386
    }

    /// The PGD that the processor uses: that of the running process; a kernel thread has the kernel's.
    pub fn current_pgd(&self) -> UpperId {
        let mm = self.tasks.get(&self.current.pid).and_then(|task| task.mm);
        mm.map_or(self.init_mm, |mm| self.mms[mm].pgd)
    }

    /// The frame behind a kernel address that the running code touches.
    ///
    /// # Errors
    /// The kernel's oops when nothing is mapped there.
    pub fn kernel_access(&mut self, addr: VirtAddr, write: bool) -> Result<Pfn, Oops> {
        if let Some(pfn) = self.virt_to_pfn(addr) {
            return Ok(pfn);
        }
        // Chunks of per-CPU data keep their own account of what is mapped.
        if let Some((pfn, _)) = self.percpu.page_of(addr) {
            return Ok(pfn);
        }
        if !self.is_kernel_mapped(addr) {
            return Err(self.bad_kernel_access(addr, write));
        }
        if self.has_vmalloc_fault() && self.layout.vmalloc.contains(&addr.0) {
            self.vmalloc_fault(addr);
        }
        match self.vmalloc_to_page(addr) {
            Some(pfn) => Ok(pfn),
            None => Err(self.bad_kernel_access(addr, write)),
        }
    }

    fn is_kernel_mapped(&self, addr: VirtAddr) -> bool {
        let rooms = [&self.layout.vmalloc, &self.layout.pkmap, &self.layout.fixmap, &self.layout.modules];
        rooms.iter().any(|room| room.contains(&addr.0))
    }

    /// Copies the entry that the running process lacks from the kernel's PGD (`vmalloc_fault`).
    fn vmalloc_fault(&mut self, addr: VirtAddr) {
        let pgd = self.current_pgd();
        let index = self.tables.geometry.index(addr, self.tables.geometry.top());
        let entry = Pte(self.tables.upper(self.init_mm).entries[index]);
        if entry.is_none() || self.tables.upper(pgd).entries[index] != 0 {
            return;
        }
        self.tables.link(pgd, index, self.init_mm);
        self.charge(self.config.costs.trap);
        self.last_vmalloc_fault = Some(VmallocFault {
            at: self.clock,
            pid: self.current.pid,
            comm: self.current.comm,
            cpu: self.cpu.0,
            addr,
            index,
            entry,
        });
        self.nr_vmalloc_faults += 1;
    }

    /// Kernel code touched what is not mapped (`page_fault_oops`).
    fn bad_kernel_access(&mut self, addr: VirtAddr, write: bool) -> Oops {
        let digits = self.config.arch.address_digits();
        let line = if addr.0 < 4096 {
            format!("BUG: kernel NULL pointer dereference, address: {:0digits$x}", addr.0)
        } else {
            format!("BUG: unable to handle page fault for address: {:0digits$x}", addr.0)
        };
        let kind = if write { "write" } else { "read" };
        self.printk(line.clone());
        self.printk(format!("#PF: supervisor {kind} access in kernel mode"));
        self.printk(format!("#PF: error_code(0x{:04x}) - not-present page", if write { 2 } else { 0 }));
        self.dump_stack(&["page_fault_oops", "exc_page_fault"]);
        self.add_taint(Taint::Die);
        let advice = if let Some(area) = self.vmalloc.find(addr.0) {
            if addr.0 >= area.mapped().end {
                format!("it is the guard page behind the area at {:x}: the code ran past its end", area.start)
            } else {
                "the area is not mapped there".into()
            }
        } else if self.vmalloc.is_lazy(addr.0) {
            "the area was freed: a use after vfree".into()
        } else if addr.0 < self.layout.task_size {
            "it is an address of user space: the kernel reaches it by copy_from_user only; write read(p, addr)".into()
        } else {
            "nothing is mapped there; whatis(addr) tells what lies around it".into()
        };
        Oops::new(line, advice)
    }
}
