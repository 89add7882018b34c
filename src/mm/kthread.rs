//! Kernel threads get their time: kswapd and kcompactd of every node, and the device behind them.
//!
//! The simulator has one clock. Time that passes for the foreground is credit for each runnable thread: as much on
//! another CPU, a share of it on the same one. A thread works in batches of 32 pages when its credit covers them.
//!
//! Kernel: `kernel/kthread.c`, `kernel/sched/`.
//! Fidelity: ours — a rule in place of a scheduler.

use crate::mm::addr::Nid;
use crate::mm::machine::{Comm, Current, Machine};
use crate::mm::vmscan::SWAP_CLUSTER_MAX;

/// A kernel thread of a node.
#[derive(Clone, Copy)]
enum Kthread {
    Kswapd,
    Kcompactd,
}

impl Kthread {
    fn current(self, nid: Nid, pid: u32) -> Current {
        let (name, memalloc) = match self {
            Kthread::Kswapd => ("kswapd", true),
            Kthread::Kcompactd => ("kcompactd", false),
        };
        Current { pid, comm: Comm::new(&format!("{name}{nid}")), memalloc, ..Current::default() }
    }
}

impl Machine {
    /// Gives kernel threads their share of time that has passed; the foreground sleeps or works.
    #[cold]
    pub(crate) fn run_background(&mut self, ns: u64, asleep: bool) {
        // Nothing else runs on a CPU that handles an interrupt.
        if self.in_background || (self.current.in_interrupt && self.config.nr_cpus() == 1) {
            return;
        }
        self.background_lazy = self.is_lazy(self.cpu.0);
        self.in_background = true;
        self.complete_io();
        let elsewhere = asleep || self.config.nr_cpus() > 1;
        let share = if elsewhere { ns } else { ns * self.config.costs.kthread_share / 100 };
        for node in 0..self.nodes.len() {
            for thread in [Kthread::Kswapd, Kthread::Kcompactd] {
                self.run_kthread(node, thread, share, elsewhere);
            }
        }
        self.in_background = false;
        self.set_alarm();
    }

    fn run_kthread(&mut self, node: usize, thread: Kthread, share: u64, elsewhere: bool) {
        if !self.kthread_is_runnable(node, thread) {
            return;
        }
        *self.kthread_credit(node, thread) += share as i64;
        let batch = (SWAP_CLUSTER_MAX * self.config.costs.scan_page) as i64;
        let pid = match thread {
            Kthread::Kswapd => self.kswapd_pid(node),
            Kthread::Kcompactd => self.kcompactd_pid(node),
        };
        let current = thread.current(self.nodes[node].nid, pid.unwrap_or(0));
        let outer = std::mem::replace(&mut self.current, current);
        while self.kthread_is_runnable(node, thread) && *self.kthread_credit(node, thread) >= batch {
            let before = self.clock;
            match thread {
                Kthread::Kswapd => self.kswapd_step(node),
                Kthread::Kcompactd => self.kcompactd_step(node),
            }
            let cost = self.clock - before;
            // On another CPU, or while the foreground sleeps, its work takes none of the foreground's time.
            if elsewhere {
                self.clock = before;
            }
            *self.kthread_credit(node, thread) -= (cost as i64).max(1);
            self.complete_io();
        }
        self.current = outer;
    }

    fn kthread_is_runnable(&mut self, node: usize, thread: Kthread) -> bool {
        match thread {
            Kthread::Kswapd => self.nodes[node].kswapd.awake,
            Kthread::Kcompactd => self.kcompactd_is_runnable(node),
        }
    }

    fn kthread_credit(&mut self, node: usize, thread: Kthread) -> &mut i64 {
        match thread {
            Kthread::Kswapd => &mut self.nodes[node].kswapd.credit,
            Kthread::Kcompactd => &mut self.nodes[node].kcompactd.credit,
        }
    }

    /// When the clock must be looked at again: at once while somebody works, else at the next look of a kcompactd.
    pub(crate) fn set_alarm(&mut self) {
        let busy = |n: &crate::mm::mmzone::Node| n.kswapd.awake || n.kcompactd.is_awake();
        self.alarm = if !self.io.is_empty() || self.nodes.iter().any(busy) {
            0
        } else if self.sysctl.compaction_proactiveness > 0 {
            self.nodes.iter().map(|n| n.kcompactd.next_look).min().unwrap_or(u64::MAX)
        } else {
            u64::MAX
        };
    }
}
