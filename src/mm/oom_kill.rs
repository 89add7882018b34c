//! The OOM killer.
//!
//! Gorman chapter 13. Kernel: `mm/oom_kill.c`.
//! Fidelity: absent — there are no tasks to kill yet.

use crate::mm::machine::Machine;
use crate::mm::page_alloc::AllocContext;
use crate::mm::page_alloc::slowpath::OomOutcome;
use crate::mm::trace::SlowStep;

impl Machine {
    /// Chooses a task and kills it (`out_of_memory`).
    pub(crate) fn out_of_memory(&mut self, _ac: &AllocContext) -> OomOutcome {
        self.last_alloc.step(SlowStep::OomKilled(None));
        OomOutcome::NotAllowed("no task can be killed")
    }
}
