//! The OOM killer: when nothing can be freed, one task is chosen and killed.
//!
//! ```text
//!   badness = rss + swap entries + page tables + oom_score_adj × (RAM + swap) / 1000      in pages
//!   oom_score_adj -1000: never.  The largest is chosen; of equals the youngest.
//! ```
//!
//! Gorman chapter 13. Kernel: `mm/oom_kill.c`.
//! Fidelity: faithful — badness, choice, order and text of the report, panics. Simplified — a victim that does not run
//! gives its memory back at once, long before the two seconds after which the reaper would help it. Absent — cgroups,
//! cpusets, the list of unreclaimable slabs.

pub mod why;

pub use why::grouped;

use crate::mm::addr::{Order, PAGE_SIZE};
use crate::mm::errno::Signal;
use crate::mm::gfp::Gfp;
use crate::mm::machine::{Comm, Machine, SCRIPT_PID};
use crate::mm::mmzone::Wmark;
use crate::mm::page_alloc::AllocContext;
use crate::mm::page_alloc::slowpath::OomOutcome;
use crate::mm::pid::INIT_PID;
use crate::mm::task::{Exit, OOM_SCORE_ADJ_MIN, Pid, Rss, Task};
use crate::mm::trace::{Event, SlowStep, ZoneTry};
use crate::mm::vmscan::MAX_KSWAPD_FAILURES;
use crate::mm::vmstat::{NodeStat, VmEvent};

/// A task that the killer looked at.
#[derive(Clone, PartialEq, Debug)]
pub struct Candidate {
    /// The task.
    pub pid: Pid,
    /// Its name.
    pub comm: Comm,
    /// Resident pages.
    pub rss: u64,
    /// Pages in swap.
    pub swap: u64,
    /// Pages of page tables.
    pub pgtables: u64,
    /// The user's wish.
    pub oom_score_adj: i64,
    /// What the wish adds, in pages.
    pub adj_pages: i64,
    /// The sum; `None` for a task that is never killed.
    pub score: Option<i64>,
}

/// One run of the OOM killer, with everything that decided.
#[derive(Clone, Debug)]
pub struct OomRecord {
    /// When, in nanoseconds.
    pub at: u64,
    /// Who needed the page.
    pub pid: Pid,
    /// Its name.
    pub comm: Comm,
    /// The request's mask.
    pub gfp: Gfp,
    /// Its order.
    pub order: Order,
    /// What it touched, when it was a fault.
    pub fault: Option<u64>,
    /// The last walk of the zonelist.
    pub zones: Vec<ZoneTry>,
    /// The last direct reclaim: pages scanned, freed, and the priority it ended at.
    pub reclaim: (u64, u64, u8),
    /// Since when kswapd had been running, and whether it had given up.
    pub kswapd: (Option<u64>, bool),
    /// Slots of swap, and free ones.
    pub swap: (u64, u64),
    /// File pages on the lists.
    pub file_pages: u64,
    /// Pages of RAM and swap: what `oom_score_adj` is a share of.
    pub totalpages: u64,
    /// Everybody looked at, highest score first.
    pub candidates: Vec<Candidate>,
    /// Who was killed.
    pub victim: Option<Pid>,
    /// Pages that came back.
    pub freed: u64,
    /// `vm.oom_kill_allocating_task` chose whoever asked.
    pub allocating_task: bool,
}

impl Machine {
    /// Chooses a task and kills it (`out_of_memory`).
    pub(crate) fn out_of_memory(&mut self, ac: &AllocContext) -> OomOutcome {
        if self.panicked.is_some() {
            return OomOutcome::NotAllowed("the kernel panicked");
        }
        if !ac.gfp.has(Gfp::FS) {
            return OomOutcome::TooEarly;
        }
        if self.sysctl.panic_on_oom > 0 {
            self.dump_header(ac, None);
            let kind = if self.sysctl.panic_on_oom == 2 { "compulsory" } else { "system-wide" };
            return self.panic(format!("Out of memory: {kind} panic_on_oom is enabled"));
        }
        let totalpages = self.totalram_pages() + self.swap_pages().0;
        let candidates = self.oom_candidates(totalpages);
        let allocating = self.sysctl.oom_kill_allocating_task == 1
            && candidates.iter().any(|c| c.pid == self.current.pid && c.score.is_some());
        let victim = if allocating {
            Some(self.current.pid)
        } else {
            // Of equal scores the last one looked at is kept: the list goes from old to young.
            candidates.iter().filter(|c| c.score.is_some()).max_by_key(|c| (c.score, c.pid)).map(|c| c.pid)
        };
        let mut record = self.oom_record(ac, candidates, totalpages);
        let Some(victim) = victim else {
            self.dump_header(ac, None);
            self.printk("Out of memory and no killable processes...");
            self.last_alloc.step(SlowStep::OomKilled(None));
            self.ooms.push(record);
            return self.panic("System is deadlocked on memory".into());
        };
        if self.ratelimit(|limits| &mut limits.oom) {
            self.dump_header(ac, Some(victim));
        }
        record.victim = Some(victim);
        record.allocating_task = allocating;
        self.last_alloc.step(SlowStep::OomKilled(Some(victim)));
        let free = self.nr_free_and_pcp_pages();
        let what = if allocating { "Out of memory (oom_kill_allocating_task)" } else { "Out of memory" };
        self.oom_kill_process(victim, what);
        record.freed = self.nr_free_and_pcp_pages().saturating_sub(free);
        let score = record.candidates.iter().find(|c| c.pid == victim).and_then(|c| c.score).unwrap_or(0);
        let comm = self.tasks.get(&victim).map(|t| t.comm).unwrap_or_default();
        self.emit(Event::MarkVictim { pid: victim, comm, score, freed: record.freed });
        self.ooms.push(record);
        OomOutcome::Killed
    }

    /// The kernel cannot go on (`panic`).
    fn panic(&mut self, why: String) -> OomOutcome {
        let line = format!("Kernel panic - not syncing: {why}");
        self.printk(line.clone());
        self.panicked = Some(line);
        OomOutcome::NotAllowed("the kernel panicked")
    }

    /// Every process with its score, highest first (`oom_badness`).
    pub fn oom_candidates(&self, totalpages: u64) -> Vec<Candidate> {
        let mut found: Vec<Candidate> = self
            .tasks
            .values()
            .filter(|t| t.is_alive() && t.pid == t.tgid)
            .filter_map(|t| self.oom_badness(t, totalpages))
            .collect();
        found.sort_by_key(|c| std::cmp::Reverse((c.score, c.pid)));
        found
    }

    fn oom_badness(&self, task: &Task, totalpages: u64) -> Option<Candidate> {
        if task.pid == INIT_PID || task.pid == SCRIPT_PID {
            return None;
        }
        let mm = &self.mms[task.mm?];
        let (rss, swap) = (mm.resident(), mm.rss(Rss::Swap));
        let pgtables = mm.pgtables_bytes / PAGE_SIZE;
        let adj_pages = task.oom_score_adj * (totalpages / 1000) as i64;
        let killable = task.oom_score_adj != OOM_SCORE_ADJ_MIN && !task.oom_victim;
        let score = killable.then_some((rss + swap + pgtables) as i64 + adj_pages);
        let (pid, comm, oom_score_adj) = (task.pid, task.comm, task.oom_score_adj);
        Some(Candidate { pid, comm, rss, swap, pgtables, oom_score_adj, adj_pages, score })
    }

    fn oom_record(&self, ac: &AllocContext, candidates: Vec<Candidate>, totalpages: u64) -> OomRecord {
        let reclaim = self.last_alloc.slow.iter().rev().find_map(|step| match step {
            SlowStep::Reclaimed { scanned, reclaimed, priority } => Some((*scanned, *reclaimed, *priority)),
            _ => None,
        });
        // The last walk that counted was held to min; the one after it only looked for another kill's leavings.
        let tries: Vec<ZoneTry> =
            self.last_alloc.tries().iter().filter(|t| t.wmark == Wmark::Min).copied().collect();
        let walk = tries.len() - self.zonelist(ac).len().min(tries.len());
        let woken = self.trace.events().rev().find_map(|e| match e.event {
            Event::KswapdWake { .. } => Some(Some(e.at)),
            Event::KswapdSleep { .. } => Some(None),
            _ => None,
        });
        let gave_up = self.nodes.iter().any(|n| n.kswapd.failures >= MAX_KSWAPD_FAILURES);
        OomRecord {
            at: self.clock,
            pid: self.current.pid,
            comm: self.current.comm,
            gfp: ac.gfp,
            order: ac.order,
            fault: self.faulting,
            zones: tries[walk..].to_vec(),
            reclaim: reclaim.unwrap_or((0, 0, 0)),
            kswapd: (woken.flatten(), gave_up),
            swap: self.swap_pages(),
            file_pages: self.node_stat(NodeStat::ActiveFile) + self.node_stat(NodeStat::InactiveFile),
            totalpages,
            candidates,
            victim: None,
            freed: 0,
            allocating_task: false,
        }
    }

    /// Kills the chosen task and gives its memory back (`__oom_kill_process`).
    fn oom_kill_process(&mut self, pid: Pid, message: &str) {
        self.vmstat.count(VmEvent::OomKill, 1);
        let Some(task) = self.tasks.get_mut(&pid) else { return };
        task.oom_victim = true;
        let (comm, uid, adj, mm) = (task.comm, task.uid, task.oom_score_adj, task.mm);
        let Some(mm) = mm.and_then(|mm| self.mms.get(mm)) else { return };
        let kb = |pages: u64| pages * 4;
        let line = format!(
            "{message}: Killed process {pid} ({comm}) total-vm:{}kB, anon-rss:{}kB, file-rss:{}kB, shmem-rss:{}kB, UID:{uid} pgtables:{}kB oom_score_adj:{adj}",
            kb(mm.total_vm),
            kb(mm.rss(Rss::Anon)),
            kb(mm.rss(Rss::File)),
            kb(mm.rss(Rss::Shmem)),
            mm.pgtables_bytes >> 10
        );
        self.printk(line);
        if pid == self.current.pid {
            // It dies when it returns to user space; until then it may use the reserves.
            self.current.oom_victim = true;
            return;
        }
        let shared = self.tasks.get(&pid).and_then(|t| t.mm);
        let threads: Vec<Pid> =
            self.tasks.values().filter(|t| t.is_alive() && t.mm == shared).map(|t| t.pid).collect();
        for thread in threads {
            if thread != self.current.pid {
                self.do_exit(thread, Exit::Signal(Signal::Kill));
            } else if let Some(task) = self.tasks.get_mut(&thread) {
                task.oom_victim = true;
                self.current.oom_victim = true;
            }
        }
    }

    /// The report that comes before a kill (`dump_header`).
    fn dump_header(&mut self, ac: &AllocContext, victim: Option<Pid>) {
        let adj = self.tasks.get(&self.current.pid).map_or(0, |t| t.oom_score_adj);
        let comm = self.current.comm;
        self.printk(format!(
            "{comm} invoked oom-killer: gfp_mask={:#x}({}), order={}, oom_score_adj={adj}",
            ac.gfp.0, ac.gfp, ac.order
        ));
        let mut path = vec!["dump_header", "out_of_memory", "__alloc_pages_slowpath", "__alloc_pages"];
        if victim.is_some() {
            path.insert(1, "oom_kill_process");
        }
        self.dump_stack(&path);
        for line in self.show_mem(ac.highest) {
            self.printk(line);
        }
        if self.sysctl.oom_dump_tasks == 1 {
            self.dump_tasks();
        }
        if let Some(task) = victim.and_then(|pid| self.tasks.get(&pid)) {
            let (pid, comm, uid) = (task.pid, task.comm, task.uid);
            self.printk(format!(
                "oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed={},global_oom,task_memcg=/,task={comm},pid={pid},uid={uid}",
                self.mems_allowed()
            ));
        }
    }

    fn dump_tasks(&mut self) {
        self.printk("Tasks state (memory values in pages):");
        self.printk("[  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name");
        let mut lines = Vec::new();
        for task in self.tasks.values().filter(|t| t.is_alive() && t.pid != INIT_PID && t.pid == t.tgid) {
            let Some(mm) = task.mm.and_then(|mm| self.mms.get(mm)) else { continue };
            lines.push(format!(
                "[{:7}] {:5} {:5} {:8} {:8} {:8} {:8}         {:5} {}",
                task.pid,
                task.uid,
                task.tgid,
                mm.total_vm,
                mm.resident(),
                mm.pgtables_bytes,
                mm.rss(Rss::Swap),
                task.oom_score_adj,
                task.comm
            ));
        }
        for line in lines {
            self.printk(line);
        }
    }
}
