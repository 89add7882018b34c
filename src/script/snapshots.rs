//! Kept machines: what `snapshot`, `undo` and `diff` remember.
//!
//! A snapshot shares the machine's sections of memory and writing copies one, so keeping one is cheap.

use crate::mm::Machine;
use std::collections::VecDeque;

/// Snapshots the prompt keeps before each line.
const UNDO: usize = 32;
/// Bytes all of them together may hold that nobody else holds.
const UNDO_BYTES: usize = 256 << 20;
/// Snapshots a script may hold.
const HELD: usize = 256;

/// The machines that were kept.
#[derive(Default)]
pub struct Snapshots {
    /// By number: `snapshot()` answers it.
    held: Vec<Machine>,
    /// One before each typed line that changed something, with the line; oldest first.
    undo: VecDeque<(Machine, String)>,
    /// The machine before the line that is being obeyed.
    pending: Option<(Machine, String)>,
}

impl Snapshots {
    /// Keeps a machine, and answers its number; `None` when there are too many.
    pub fn keep(&mut self, machine: &mut Machine) -> Option<usize> {
        if self.held.len() == HELD {
            return None;
        }
        self.held.push(machine.snapshot());
        Some(self.held.len())
    }

    /// A kept machine by its number, from 1.
    pub fn get(&self, number: usize) -> Option<&Machine> {
        self.held.get(number.checked_sub(1)?)
    }

    /// How many are kept.
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Is none kept?
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Keeps the machine as it is before a typed line.
    pub fn before_line(&mut self, machine: &mut Machine, line: &str) {
        self.pending = Some((machine.snapshot(), line.trim().to_string()));
    }

    /// The line has been obeyed: what it changed can be undone; an undo itself cannot.
    pub fn after_line(&mut self, changed: bool) {
        let Some(kept) = self.pending.take().filter(|_| changed) else { return };
        self.undo.push_back(kept);
        while self.undo.len() > UNDO || (self.undo.len() > 1 && self.undo_bytes() > UNDO_BYTES) {
            self.undo.pop_front();
        }
    }

    fn undo_bytes(&self) -> usize {
        self.undo.iter().map(|(machine, _)| machine.mem_map.own_bytes()).sum()
    }

    /// The machine before the last line that changed it, and that line.
    pub fn undo(&mut self) -> Option<(Machine, String)> {
        self.pending = None;
        self.undo.pop_back()
    }

    /// How many lines can be undone.
    pub fn undoable(&self) -> usize {
        self.undo.len()
    }
}
