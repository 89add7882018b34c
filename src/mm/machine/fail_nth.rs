//! Making an allocation fail on purpose.
//!
//! Kernel: `lib/fault-inject.c` (`fail-nth`, `times`), `mm/page_alloc.c` (`should_fail_alloc_page`).
//! Fidelity: simplified — the n-th allocation of pages, and so many after it; no probability, no filter.

use super::Machine;

impl Machine {
    /// Counts a failure that `fail_nth` asked for.
    #[inline]
    pub(crate) fn fail_nth(&mut self) -> bool {
        let Some(left) = &mut self.fail_in else { return false };
        *left -= 1;
        let now = *left == 0;
        if now {
            self.fail_times -= 1;
            self.fail_in = (self.fail_times > 0).then_some(1);
        }
        now
    }

    /// Makes the n-th page allocation from now on fail; 0 switches it off.
    pub fn set_fail_nth(&mut self, n: u64) {
        self.set_fail_nth_times(n, 1);
    }

    /// Makes so many page allocations in a row fail, the n-th from now on first: a slab that finds no large block asks
    /// for a small one, and must not get that either (`times` of the kernel's fault injection).
    pub fn set_fail_nth_times(&mut self, n: u64, times: u64) {
        (self.fail_in, self.fail_times) = ((n > 0 && times > 0).then_some(n), times);
        self.close_lane();
    }

    /// Page allocations until the one that is made to fail; `None` when none is.
    pub fn fail_nth_left(&self) -> Option<u64> {
        self.fail_in
    }
}
