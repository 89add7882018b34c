//! Short mappings: a few slots of each CPU, given back in the reverse order.
//!
//! Gorman 9.4. Kernel: `mm/highmem.c` (`__kmap_local_pfn_prot`, `kunmap_local_indexed`).
//! Fidelity: faithful — addresses of the slots, the limit, wrong orders. Simplified — a slot is a CPU's, not a task's.

use crate::mm::addr::{PAGE_SIZE, Pfn, VirtAddr};
use crate::mm::config::Arch;
use crate::mm::errno::Oops;
use crate::mm::machine::Machine;
use crate::mm::panic::Taint;
use crate::mm::pgtable::Pte;

/// Slots of a CPU (`KM_MAX_IDX`).
pub const KM_MAX_IDX: usize = 16;
/// The first of the fixed mappings that are slots on a 32-bit PC: after the APICs (`FIX_KMAP_BEGIN`).
const FIX_KMAP_BEGIN: u64 = 69;

/// A short mapping.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LocalMap {
    /// The frame.
    pub pfn: Pfn,
    /// Its address.
    pub addr: VirtAddr,
    /// Made by `kmap_atomic`: whoever holds it may not sleep.
    pub atomic: bool,
    /// It takes a slot: the page is one of HighMem.
    pub slot: bool,
}

impl Machine {
    /// Gives a page an address on this CPU for a moment (`kmap_local_page`, `kmap_atomic`).
    ///
    /// # Errors
    /// The kernel's BUG when all slots of the CPU are in use.
    pub fn kmap_local(&mut self, pfn: Pfn, atomic: bool) -> Result<VirtAddr, Oops> {
        let cpu = self.cpu.index();
        let slot = self.is_highmem_page(pfn);
        let used = self.highmem.local(cpu).iter().filter(|map| map.slot).count();
        if slot && used >= KM_MAX_IDX {
            let advice = format!("CPU {cpu} holds all {KM_MAX_IDX} slots: kunmap_local the last ones first");
            return Err(self.highmem_bug("current->kmap_ctrl.idx >= KM_MAX_IDX", &advice));
        }
        let addr = match self.page_address(pfn).filter(|_| !slot) {
            Some(addr) => addr,
            None => {
                let addr = self.kmap_slot(cpu, used);
                self.set_fixed_mapping(addr, Pte::new(pfn, self.kernel_prot()));
                addr
            }
        };
        // A page that has its address for good leaves no trace, but for the promise not to sleep.
        if (slot || atomic)
            && let Some(maps) = self.highmem.local.get_mut(cpu)
        {
            maps.push(LocalMap { pfn, addr, atomic, slot });
        }
        Ok(addr)
    }

    /// The address of a CPU's slot: fixed mappings are counted downwards (`__fix_to_virt`).
    fn kmap_slot(&self, cpu: usize, slot: usize) -> VirtAddr {
        let (top, first) = match self.config.arch {
            Arch::Arm => (self.layout.fixmap.end - PAGE_SIZE, 1),
            _ => (self.layout.fixmap.end, FIX_KMAP_BEGIN),
        };
        VirtAddr(top - (first + (cpu * KM_MAX_IDX + slot) as u64) * PAGE_SIZE)
    }

    /// Gives the last short mapping of this CPU back (`kunmap_local`, `kunmap_atomic`).
    ///
    /// # Errors
    /// The kernel's warning for an address that is not the last one mapped, its BUG when none is.
    pub fn kunmap_local(&mut self, addr: VirtAddr, atomic: bool) -> Result<(), Oops> {
        let cpu = self.cpu.index();
        let page = addr.page();
        if self.virt_to_pfn(page).is_some() && !atomic {
            return Ok(());
        }
        let Some(last) = self.highmem.local(cpu).last().copied() else {
            return Err(self.highmem_bug(
                "current->kmap_ctrl.idx < 0",
                &format!("nothing is mapped on CPU {cpu}: {addr} was given back before, or on another CPU"),
            ));
        };
        if last.addr != page || last.atomic != atomic {
            let call = |atomic| if atomic { "kunmap_atomic" } else { "kunmap_local" };
            let line = "WARNING: mm/highmem.c kunmap_local_indexed";
            self.printk("------------[ cut here ]------------");
            self.printk(line);
            self.add_taint(Taint::Warn);
            return Err(Oops::new(
                line,
                format!(
                    "addr != __fix_to_virt(FIX_KMAP_BEGIN + idx): short mappings nest, the last one goes first\n  \
                     the last on CPU {cpu} is {} (page pfn={}): {}({}) comes before {}({addr})",
                    last.addr,
                    last.pfn,
                    call(last.atomic),
                    last.addr,
                    call(atomic)
                ),
            ));
        }
        if last.slot {
            self.unmap_kernel_page(page);
        }
        if let Some(maps) = self.highmem.local.get_mut(cpu) {
            maps.pop();
        }
        Ok(())
    }
}
