//! Accesses that nothing can make good: the task is told, and the log says where.
//!
//! Gorman 4.6.1. Kernel: `arch/x86/mm/fault.c` (`bad_area`, `do_sigbus`), `arch/x86/kernel/traps.c`,
//! `arch/um/kernel/trap.c`; arm64's and ARM's, `arch/arm64/mm/fault.c`, are silent by default.
//! Fidelity: faithful — which signal, the error code, the line in the log. Simplified — a task stands at the first
//! instruction of its program. Absent — the line's rate limit, the bytes of the code behind it.

use super::{Access, Stop};
use crate::mm::addr::VirtAddr;
use crate::mm::config::Arch;
use crate::mm::errno::Signal;
use crate::mm::machine::Machine;
use crate::mm::task::{Exit, MmId, Pid};
use crate::mm::trace::{FaultKind, FaultRecord};
use crate::mm::vma::VmaId;

impl Machine {
    /// The task gets SIGSEGV; without a handler for it, the kernel's line goes to the log (`bad_area`).
    #[cold]
    pub(super) fn segv(&mut self, pid: Pid, addr: VirtAddr, access: Access, accerr: bool) -> Stop {
        let mm = self.tasks.get(&pid).and_then(|t| t.mm);
        let error = self.error_code(mm, addr, access);
        let kind = match self.is_kernel_address(addr) {
            true => FaultKind::KernelAddress,
            false => FaultKind::Segv { accerr },
        };
        self.last_fault = FaultRecord::new(self.clock, pid, addr, access, kind);
        // The areas are not asked about an address that no task can have.
        if let Some(mm) = mm.filter(|_| kind != FaultKind::KernelAddress) {
            let near = self.find_vma(mm, addr);
            let below = self.find_vma_prev(mm, addr.0.saturating_add(1));
            if let Some(vma) = near.filter(|v| self.vmas[*v].contains(addr)).or(below).or(near) {
                let vma = &self.vmas[vma];
                (self.last_fault.start, self.last_fault.end, self.last_fault.flags) =
                    (vma.start, vma.end, vma.flags);
            }
        }
        let (ip, place) = self.where_it_ran(pid);
        let (arch, digits) = (self.config.arch, self.config.arch.address_digits());
        let likely = match arch {
            // On its host's processors it is not the one that knows.
            Arch::Uml => String::new(),
            _ => format!(" likely on CPU {0} (core {0}, socket {1})", self.cpu.0, self.cpu_node()),
        };
        let line = |comm: &str, sp: u64| match arch {
            // Silent unless asked: show_unhandled_signals and user_debug are 0.
            Arch::Arm64 | Arch::Arm => String::new(),
            _ => format!(
                "{comm}[{pid}]: segfault at {:x} ip {ip:0digits$x} sp {sp:0digits$x} error {error:x}{place}{likely}",
                addr.0
            ),
        };
        self.fault_signal(pid, Signal::Segv { addr, accerr }, line)
    }

    /// What the processor pushes for the handler, as the task is shown it (`sanitize_error_code`).
    fn error_code(&self, mm: Option<MmId>, addr: VirtAddr, access: Access) -> u32 {
        const PROT: u32 = 1;
        const WRITE: u32 = 2;
        const USER: u32 = 4;
        const INSTR: u32 = 16;
        // A protection fault, not a missing page: what the processor calls present. A page of an area that forbids
        // everything is not, to it. And whether the kernel has a page somewhere is not a task's business.
        let present = mm.is_some_and(|mm| self.tables.pte(self.mms[mm].pgd, addr).is_valid());
        let prot = if present || self.is_kernel_address(addr) { PROT } else { 0 };
        let access = match access {
            Access::Read => 0,
            Access::Write => WRITE,
            Access::Exec => INSTR,
        };
        USER | prot | access
    }

    /// No task can have it: the handler turns it away at once (`fault_in_kernel_space`). UML's tasks are processes of
    /// a host, and it looks for an area first.
    fn is_kernel_address(&self, addr: VirtAddr) -> bool {
        self.config.arch != Arch::Uml && addr.0 >= self.layout.task_size
    }

    /// The instruction at which a task is taken to be, and the kernel's words about it: the file it lies in
    /// (`print_vma_addr`).
    fn where_it_ran(&self, pid: Pid) -> (u64, String) {
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
        (ip, words.unwrap_or_default())
    }

    /// An address that is no address at all: the processor refuses it before any table is looked at
    /// (`exc_general_protection`).
    #[cold]
    pub(super) fn general_protection(&mut self, pid: Pid, addr: VirtAddr, access: Access) -> Stop {
        self.last_fault = FaultRecord::new(self.clock, pid, addr, access, FaultKind::GeneralProtection);
        let (ip, place) = self.where_it_ran(pid);
        let line = |comm: &str, sp: u64| {
            format!("traps: {comm}[{pid}] general protection fault ip:{ip:x} sp:{sp:x} error:0{place}")
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
