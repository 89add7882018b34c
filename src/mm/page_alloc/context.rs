//! From where memory is asked for: a task may sleep, an interrupt handler may not.
//!
//! ```text
//!   task        ── alloc_pages(GFP_KERNEL) ──► may sleep: reclaim, wait for a disk
//!     ▲
//!     └ interrupt ── alloc_pages(GFP_ATOMIC) ──► takes what is there, or is refused
//! ```
//!
//! Gorman 6.4. Kernel: `include/linux/sched/mm.h` (`might_alloc`), `kernel/softirq.c`.
//! Fidelity: faithful — which masks are wrong in an interrupt, the kernel's line (`CONFIG_DEBUG_ATOMIC_SLEEP`).
//! Simplified — the kernel complains and goes on; here the call ends. Absent — softirqs and spinlocks as contexts.

use crate::mm::errno::Oops;
use crate::mm::gfp::Gfp;
use crate::mm::machine::Machine;
use crate::mm::panic::Taint;

impl Machine {
    /// An interrupt handler borrows the CPU from the current task (`irq_enter`); answers whether it was in one already.
    pub fn irq_enter(&mut self) -> bool {
        std::mem::replace(&mut self.current.in_interrupt, true)
    }

    /// The handler is done (`irq_exit`); `outer` is what [`irq_enter`](Machine::irq_enter) answered.
    pub fn irq_exit(&mut self, outer: bool) {
        self.current.in_interrupt = outer;
    }

    /// May memory be asked for with this mask, here? (`might_alloc`)
    ///
    /// # Errors
    /// The kernel's `BUG: sleeping function called from invalid context`.
    pub fn might_alloc(&mut self, gfp: Gfp) -> Result<(), Oops> {
        if !gfp.may_sleep() {
            return Ok(());
        }
        let who = if self.current.in_interrupt {
            "an interrupt handler must not: nobody could wake it"
        } else {
            "between kmap_atomic and kunmap_atomic nobody must: preemption is off"
        };
        let advice = format!(
            "{gfp} may sleep (__GFP_DIRECT_RECLAIM), and {who}\n  \
             GFP_ATOMIC may be used here, and GFP_NOWAIT by those who can do without"
        );
        self.might_sleep("include/linux/sched/mm.h:274", &advice)
    }

    /// May the caller sleep here? (`might_sleep`)
    ///
    /// # Errors
    /// The kernel's `BUG: sleeping function called from invalid context`.
    pub(crate) fn might_sleep(&mut self, file: &str, advice: &str) -> Result<(), Oops> {
        const HARDIRQ_OFFSET: u32 = 0x10000;
        let in_interrupt = self.current.in_interrupt;
        let atomic = self.highmem.is_atomic(self.cpu.index());
        if !in_interrupt && !atomic {
            return Ok(());
        }
        let line = format!("BUG: sleeping function called from invalid context at {file}");
        self.printk(line.clone());
        self.printk(format!(
            "in_atomic(): 1, irqs_disabled(): {}, non_block: 0, pid: {}, name: {}",
            u8::from(in_interrupt),
            self.current.pid,
            self.current.comm
        ));
        let count = u32::from(atomic) + if in_interrupt { HARDIRQ_OFFSET } else { 0 };
        self.printk(format!("preempt_count: {count:x}, expected: 0"));
        self.dump_stack(&["__might_resched"]);
        self.add_taint(Taint::Warn);
        Err(Oops::new(line, advice.to_string()))
    }
}
