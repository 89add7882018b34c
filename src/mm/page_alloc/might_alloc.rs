//! May the caller sleep here? The question that a debugging kernel asks before every allocation.
//!
//! ```text
//!   a task              may sleep: another one runs meanwhile
//!   an interrupt        has borrowed the CPU from a task that cannot go on before it ends: it may not
//! ```
//!
//! Gorman 6.4 (`__GFP_WAIT`). Kernel: `include/linux/sched/mm.h` (`might_alloc`), `kernel/sched/core.c`
//! (`__might_resched`), `kernel/softirq.c`.
//! Fidelity: faithful — the condition, and the lines of a kernel with `CONFIG_DEBUG_ATOMIC_SLEEP`: it asks whether the
//! mask allows sleeping, not whether there is anything to wait for. Simplified — every offence is reported, where the
//! kernel reports one a second and the stack with it; an offender that does have to wait waits.

use crate::mm::gfp::Gfp;
use crate::mm::machine::Machine;

/// `HARDIRQ_OFFSET`: what one interrupt handler adds to `preempt_count`.
const HARDIRQ_OFFSET: u32 = 0x1_0000;

impl Machine {
    /// What runs from now on is an interrupt handler; answers what ran before (`irq_enter`).
    pub fn irq_enter(&mut self) -> bool {
        std::mem::replace(&mut self.current.in_interrupt, true)
    }

    /// The handler has ended, and what ran before goes on (`irq_exit`).
    pub fn irq_exit(&mut self, before: bool) {
        self.current.in_interrupt = before;
    }

    /// Complains in the log when a mask that allows sleeping is used where nobody may sleep (`might_alloc`).
    pub fn might_alloc(&mut self, gfp: Gfp) {
        if !(self.current.in_interrupt && gfp.may_sleep()) {
            return;
        }
        let (pid, comm) = (self.current.pid, self.current.comm);
        self.printk("BUG: sleeping function called from invalid context at include/linux/sched/mm.h:274");
        self.printk(format!("in_atomic(): 1, irqs_disabled(): 1, non_block: 0, pid: {pid}, name: {comm}"));
        self.printk(format!("preempt_count: {HARDIRQ_OFFSET:x}, expected: 0"));
    }
}
