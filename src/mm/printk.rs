//! What the kernel says about a bad moment, and how often it says so.
//!
//! Kernel: `lib/ratelimit.c`, `lib/dump_stack.c`, `kernel/printk/printk.c`.
//! Fidelity: faithful — intervals, bursts, the line about what was left out. Simplified — the call trace holds the
//! simulator's own path by the names of the kernel; there are no registers, no code and no hardware.

use crate::mm::machine::Machine;

/// Messages of one kind: at most `burst` of them in `interval` (`struct ratelimit_state`).
#[derive(Clone, Debug)]
pub struct Ratelimit {
    /// The function that speaks.
    name: &'static str,
    /// Nanoseconds.
    interval: u64,
    burst: u32,
    begin: Option<u64>,
    printed: u32,
    missed: u32,
}

impl Ratelimit {
    const fn new(name: &'static str, seconds: u64, burst: u32) -> Ratelimit {
        Ratelimit { name, interval: seconds * 1_000_000_000, burst, begin: None, printed: 0, missed: 0 }
    }

    /// May it be said now? And how many messages were left out before (`___ratelimit`).
    fn allows(&mut self, now: u64) -> (bool, u32) {
        let begin = *self.begin.get_or_insert(now);
        let mut missed = 0;
        if now > begin + self.interval {
            missed = std::mem::take(&mut self.missed);
            self.begin = Some(now);
            self.printed = 0;
        }
        let allowed = self.printed < self.burst;
        if allowed {
            self.printed += 1;
        } else {
            self.missed += 1;
        }
        (allowed, missed)
    }
}

/// Every kind of message that is limited.
#[derive(Clone, Debug)]
pub(crate) struct Ratelimits {
    /// `page allocation failure`, with its report.
    pub nopage: Ratelimit,
    /// The report of the OOM killer; the line about the kill is always said.
    pub oom: Ratelimit,
    /// A fault that found no memory.
    pub pagefault: Ratelimit,
    /// A cache that found no memory for a slab.
    pub slab: Ratelimit,
}

impl Default for Ratelimits {
    fn default() -> Ratelimits {
        Ratelimits {
            nopage: Ratelimit::new("warn_alloc", 10, 1),
            oom: Ratelimit::new("oom_kill_process", 5, 10),
            pagefault: Ratelimit::new("pagefault_out_of_memory", 5, 10),
            slab: Ratelimit::new("slab_out_of_memory", 5, 10),
        }
    }
}

impl Machine {
    /// May a message of this kind be said now? What was left out before is said first.
    pub(crate) fn ratelimit(&mut self, which: fn(&mut Ratelimits) -> &mut Ratelimit) -> bool {
        let now = self.clock;
        let limit = which(&mut self.ratelimits);
        let (name, (allowed, missed)) = (limit.name, limit.allows(now));
        if missed > 0 {
            self.printk(format!("{name}: {missed} callbacks suppressed"));
        }
        allowed
    }

    /// Who runs, and how it came here (`dump_stack`).
    ///
    /// `path` are the functions of the allocator, innermost first; a page fault's follow.
    pub(crate) fn dump_stack(&mut self, path: &[&str]) {
        const FAULT: [&str; 5] = [
            "vma_alloc_folio",
            "__handle_mm_fault",
            "handle_mm_fault",
            "do_user_addr_fault",
            "exc_page_fault",
        ];
        self.printk(self.dump_stack_print_info(self.current.pid, self.current.comm));
        self.printk("Call Trace:");
        self.printk(" <TASK>");
        let fault = if self.faulting.is_some() { FAULT.as_slice() } else { &[] };
        for name in ["dump_stack_lvl"].iter().chain(path).chain(fault) {
            self.printk(format!(" {name}"));
        }
        self.printk(" </TASK>");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_said_and_the_rest_is_counted() {
        const SECOND: u64 = 1_000_000_000;
        let mut limit = Ratelimit::new("f", 5, 2);
        let answers: Vec<bool> = (0..4).map(|n| limit.allows(n).0).collect();
        assert_eq!(answers, [true, true, false, false]);
        assert_eq!(limit.allows(5 * SECOND), (false, 0));
        assert_eq!(limit.allows(5 * SECOND + 1), (true, 3));
        assert_eq!(limit.allows(5 * SECOND + 2), (true, 0));
    }
}
