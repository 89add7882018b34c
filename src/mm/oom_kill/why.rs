//! A kill in words: for whom, why nothing else helped, and why this task.
//!
//! Fidelity: ours. The numbers are those of the record.

use super::{Candidate, OomRecord};
use crate::mm::addr::Order;
use crate::mm::machine::Machine;
use crate::mm::trace::{Verdict, ZoneTry};
use std::fmt::Write;

/// `1,234,567`.
pub fn grouped(n: i64) -> String {
    let digits = n.unsigned_abs().to_string();
    let mut text = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(c);
    }
    if n < 0 { format!("-{text}") } else { text }
}

impl OomRecord {
    /// The account of the kill, line by line; every number was one of those that decided.
    pub fn explain(&self, machine: &Machine) -> String {
        let mut text = String::new();
        let victim = self.candidates.iter().find(|c| Some(c.pid) == self.victim);
        let (pid, comm) = victim.map_or((0, "?".to_string()), |v| (v.pid, v.comm.to_string()));
        let behalf =
            if pid == self.pid { "itself".to_string() } else { format!("task {} ({})", self.pid, self.comm) };
        let at = self.at as f64 / 1e6;
        let _ = writeln!(
            text,
            "Task {pid} ({comm}) was killed by the OOM killer at {at:.1} ms, on behalf of {behalf}."
        );
        self.explain_request(&mut text);
        self.explain_zones(&mut text);
        self.explain_reclaim(&mut text);
        let _ = match self.order {
            Order::ZERO => {
                writeln!(text, "  4. Fragmentation was not the cause: order 0 needs no contiguous block.")
            }
            order => writeln!(
                text,
                "  4. The request was for {} pages together: free pages that lie apart do not help.",
                order.pages()
            ),
        };
        self.explain_choice(&mut text, victim);
        self.explain_remedy(&mut text, machine);
        text.push_str("Kernel: out_of_memory, oom_badness. Book: \"Out of memory\". Next: events(\"oom:*\"), log(), lab 46.\n");
        text
    }

    fn explain_request(&self, text: &mut String) {
        let pages = self.order.pages();
        let needed = if pages == 1 { "one page".to_string() } else { format!("{pages} pages together") };
        let what = match self.fault {
            Some(addr) => format!("{} touched {:#x} and needed {needed}", self.comm, addr & !0xfff),
            None => format!("{} needed {needed}", self.comm),
        };
        let _ = writeln!(text, "  1. {what}: order {}, {}.", self.order, self.gfp);
    }

    fn explain_zones(&self, text: &mut String) {
        let _ = writeln!(text, "  2. No zone could give it:   free    must exceed");
        let nodes = self.zones.iter().any(|t| t.nid != self.zones[0].nid);
        for tried in &self.zones {
            let name =
                if nodes { format!("{} node {}", tried.kind, tried.nid) } else { tried.kind.to_string() };
            let why =
                if tried.verdict == Verdict::NoBlock { "  (enough, but no block of that order)" } else { "" };
            let line = format!(
                "       {name:<20} {:>7}    {:>4}{why}",
                grouped(tried.free as i64),
                tried.arithmetic()
            );
            text.push_str(&line);
            text.push('\n');
        }
    }

    fn explain_reclaim(&self, text: &mut String) {
        let kswapd = match self.kswapd {
            (_, true) => "kswapd had given up: 16 runs in a row freed nothing".to_string(),
            (Some(since), _) => format!("kswapd had run since {:.1} ms", since as f64 / 1e6),
            (None, _) => "kswapd was asleep".to_string(),
        };
        let (scanned, freed, priority) = self.reclaim;
        let _ = writeln!(
            text,
            "  3. {kswapd}; {} then reclaimed itself, priority 12 down to {priority}: scanned {} pages, freed {}.",
            self.comm,
            grouped(scanned as i64),
            grouped(freed as i64)
        );
        let (total, free) = self.swap;
        let swap = match total {
            0 => "there is no swap: anonymous pages cannot go anywhere".to_string(),
            _ => format!("swap: {} of {} slots free", grouped(free as i64), grouped(total as i64)),
        };
        let _ = writeln!(
            text,
            "       {swap}; file pages left on the lists: {}.",
            grouped(self.file_pages as i64)
        );
    }

    fn explain_choice(&self, text: &mut String, victim: Option<&Candidate>) {
        if self.allocating_task {
            let _ = writeln!(
                text,
                "  5. vm.oom_kill_allocating_task is 1: whoever asks is killed, whatever its score."
            );
        } else {
            let _ = writeln!(
                text,
                "  5. The largest score was chosen (rss + swap + page tables + adj x {} / 1000):",
                grouped(self.totalpages as i64)
            );
        }
        for c in self.candidates.iter().take(5) {
            let fate = match victim {
                Some(v) if v.pid == c.pid => {
                    format!("   killed, {} pages came back", grouped(self.freed as i64))
                }
                _ => String::new(),
            };
            let score = c.score.map_or("never killed (oom_score_adj -1000)".to_string(), grouped);
            let _ = writeln!(
                text,
                "       {:<10} {:>9} + {:>9} + {:>5} + {:>9} = {score:>9}{fate}",
                c.comm.as_str(),
                grouped(c.rss as i64),
                grouped(c.swap as i64),
                grouped(c.pgtables as i64),
                grouped(c.adj_pages)
            );
        }
        if self.candidates.len() > 5 {
            let _ = writeln!(text, "       and {} more with smaller scores", self.candidates.len() - 5);
        }
        let _ = writeln!(text, "     total_vm, what it mapped, was not asked: only what it used.");
    }

    fn explain_remedy(&self, text: &mut String, machine: &Machine) {
        let missing = |t: &ZoneTry| (must_exceed(t) + u64::from(self.order.pages())).saturating_sub(t.free);
        if let Some(short) = self.zones.iter().map(missing).filter(|n| *n > 0).min() {
            let _ = writeln!(
                text,
                "It would not have happened then with {} more free page{}, or with more swap.",
                grouped(short as i64),
                if short == 1 { "" } else { "s" }
            );
        }
        let limit = machine.vm_commit_limit(self.swap.0);
        if machine.sysctl.overcommit_memory != 2 && machine.committed_as > limit {
            let _ = writeln!(
                text,
                "With vm.overcommit_memory=2 an mmap would have failed first: {} pages are promised, the limit is {}.",
                grouped(machine.committed_as as i64),
                grouped(limit as i64)
            );
        }
    }
}

fn must_exceed(tried: &ZoneTry) -> u64 {
    tried.must_exceed()
}
