//! Virtual time: one clock, moved by what things cost.
//!
//! Fidelity: ours. Kernel threads get their time at three points only: the end of a charge, a sleep, and the
//! allocator's slow path.

use crate::mm::machine::Machine;

impl Machine {
    /// Lets virtual time pass for work of the foreground, in nanoseconds.
    #[inline]
    pub fn charge(&mut self, ns: u64) {
        self.clock += ns;
        if self.clock >= self.alarm {
            self.run_background(ns, false);
        }
    }

    /// Lets a long time pass, in nanoseconds: what kernel threads do at intervals happens at intervals.
    pub fn pass(&mut self, ns: u64) {
        /// As often as kcompactd looks, but never more often than this in all.
        const PIECES: u64 = 256;
        let piece = (ns / PIECES).max(crate::mm::compaction::FRAG_CHECK_INTERVAL);
        let mut left = ns;
        while left > 0 {
            self.charge(piece.min(left));
            left -= piece.min(left);
        }
    }

    /// The foreground offers the CPU: a kernel thread that waits for it has its turn (`cond_resched`).
    pub(crate) fn cond_resched(&mut self) {
        /// A turn of a thread among equals, far less than a tick.
        const TURN: u64 = 100_000;
        if self.clock >= self.alarm && !self.in_background {
            let before = self.clock;
            self.run_background(TURN, true);
            // The thread took this CPU for what it did.
            self.clock = self.clock.max(before);
        }
    }

    /// The foreground sleeps until a time; the CPU is free for kernel threads.
    pub(crate) fn sleep_until(&mut self, at: u64) {
        self.sleep_for(at.saturating_sub(self.clock));
    }

    /// The foreground sleeps; the device and kernel threads go on.
    pub fn sleep_for(&mut self, ns: u64) {
        let end = self.clock + ns;
        // In pieces, so that what the device finishes meanwhile is seen in time.
        const PIECE: u64 = 50_000;
        while self.clock < end {
            // Nothing happens before the alarm.
            let quiet = self.alarm.min(end).saturating_sub(self.clock);
            let piece = quiet.max(PIECE.min(end - self.clock));
            self.clock += piece;
            if self.clock >= self.alarm {
                self.run_background(piece, true);
            }
            if self.in_background {
                self.complete_io();
            }
        }
    }
}
