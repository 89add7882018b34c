//! Accesses that nothing can make good: the task is told, and the log says where.
//!
//! Gorman 4.6.1. Kernel: `arch/x86/mm/fault.c` (`bad_area`, `do_sigbus`), `arch/x86/kernel/traps.c`.
//! Fidelity: faithful — which signal, the error code, the line in the log.

use super::{Access, Stop};
use crate::mm::addr::VirtAddr;
use crate::mm::errno::Signal;
use crate::mm::machine::Machine;
use crate::mm::task::{Exit, Pid};
use crate::mm::trace::{FaultKind, FaultRecord};
use crate::mm::vma::VmaId;

impl Machine {
    /// The task gets SIGSEGV; without a handler for it, the kernel's line goes to the log (`bad_area`).
    #[cold]
    pub(super) fn segv(&mut self, pid: Pid, addr: VirtAddr, access: Access, accerr: bool) -> Stop {
        // Bit 0 says that a page was there: a protection fault, not a missing page.
        let mm = self.tasks.get(&pid).and_then(|t| t.mm);
        let present = mm.is_some_and(|mm| self.tables.pte(self.mms[mm].pgd, addr).is_present());
        let error = u32::from(present)
            | if access == Access::Write { 2 } else { 0 }
            | 4
            | if access == Access::Exec { 16 } else { 0 };
        self.last_fault = FaultRecord::new(self.clock, pid, addr, access, FaultKind::Segv { accerr });
        if let Some(mm) = mm {
            let near = self.find_vma(mm, addr);
            let below = self.find_vma_prev(mm, addr.0.saturating_add(1));
            if let Some(vma) = near.filter(|v| self.vmas[*v].contains(addr)).or(below).or(near) {
                let vma = &self.vmas[vma];
                (self.last_fault.start, self.last_fault.end, self.last_fault.flags) =
                    (vma.start, vma.end, vma.flags);
            }
        }
        let (ip, place) = self.where_it_ran(pid);
        let line = |comm: &str, sp: u64| {
            format!("{comm}[{pid}]: segfault at {:x} ip {ip:016x} sp {sp:016x} error {error}{place}", addr.0)
        };
        self.fault_signal(pid, Signal::Segv { addr, accerr }, line)
    }

    /// The instruction at which a task is taken to be, and the kernel's words about it: the file it lies in, and the
    /// CPU (`print_vma_addr`, and since 6.1 the CPU).
    fn where_it_ran(&self, pid: Pid) -> (u64, String) {
        let cpu = self.cpu.0;
        let likely = format!(" likely on CPU {cpu} (core {cpu}, socket {})", self.cpu_node());
        let mm = self.tasks.get(&pid).and_then(|t| t.mm);
        // Nothing is executed: every instruction is the first one of the program.
        let ip = mm.map(|mm| self.mms[mm].code.start).filter(|start| *start != 0).unwrap_or(0x40_1000);
        let vma = mm.and_then(|mm| self.find_vma(mm, VirtAddr(ip))).map(|id| &self.vmas[id]);
        let file = vma.filter(|vma| vma.contains(VirtAddr(ip))).filter(|vma| !self.vma_name(vma).is_empty());
        let words = file.map(|vma| {
            let name = self.vma_name(vma);
            let last = name.rsplit('/').next().unwrap_or(&name);
            format!(" in {last}[{:x}+{:x}]", vma.start, vma.end - vma.start)
        });
        (ip, words.unwrap_or_default() + likely.as_str())
    }

    /// An address that is no address at all: the processor refuses it before any table is looked at
    /// (`exc_general_protection`).
    #[cold]
    pub(super) fn general_protection(&mut self, pid: Pid, addr: VirtAddr, access: Access) -> Stop {
        self.last_fault = FaultRecord::new(self.clock, pid, addr, access, FaultKind::Segv { accerr: false });
        let line = |comm: &str, sp: u64| {
            format!("traps: {comm}[{pid}] general protection fault ip:401000 sp:{sp:x} error:0")
        };
        self.fault_signal(pid, Signal::GeneralProtection, line)
    }

    /// Delivers a signal of a bad access (`force_sig_fault`): a handler catches it, or the task dies of it.
    #[cold]
    pub(crate) fn fault_signal(
        &mut self,
        pid: Pid,
        signal: Signal,
        line: impl FnOnce(&str, u64) -> String,
    ) -> Stop {
        let Some(task) = self.tasks.get(&pid) else { return Stop::Signal(signal) };
        if !task.catches_faults {
            let sp = task.mm.map_or(0, |mm| self.mms[mm].start_stack);
            let text = line(task.comm.as_str(), sp);
            if !text.is_empty() {
                self.printk(text);
            }
            self.do_group_exit(pid, Exit::Signal(signal));
        }
        Stop::Signal(signal)
    }

    /// The task gets SIGBUS: no page of the file is there, or none can be had (`do_sigbus`).
    #[cold]
    pub(super) fn sigbus(&mut self, pid: Pid, vma: VmaId, addr: VirtAddr, access: Access) -> Stop {
        self.end_fault(pid, vma, addr, access, FaultKind::SigBus);
        self.fault_signal(pid, Signal::Bus { addr }, |_, _| String::new())
    }
}
