//! Who runs now.
//!
//! Kernel: `current`, `include/linux/sched.h`.
//! Fidelity: simplified — one foreground; of a task's state only what the allocator asks of it.

use crate::mm::gfp::Gfp;
use std::fmt;

/// A task's name: at most 15 bytes, as in the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Comm {
    bytes: [u8; 15],
    len: u8,
}

impl Comm {
    /// The first 15 bytes of a name, cut at a character.
    pub fn new(name: &str) -> Comm {
        let mut len = name.len().min(15);
        while !name.is_char_boundary(len) {
            len -= 1;
        }
        let mut bytes = [0; 15];
        bytes[..len].copy_from_slice(&name.as_bytes()[..len]);
        Comm { bytes, len: len as u8 }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.len)]).unwrap_or("?")
    }
}

impl fmt::Display for Comm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Comm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

/// Who runs now: the kernel thread `script`, or a task it acts for.
#[derive(Clone, Debug)]
pub struct Current {
    /// The task's pid.
    pub pid: u32,
    /// Its name.
    pub comm: Comm,
    /// `PF_MEMALLOC`: it frees memory, so it may use the reserves.
    pub memalloc: bool,
    /// The OOM killer chose it.
    pub oom_victim: bool,
    /// In an interrupt: it may not sleep.
    pub in_interrupt: bool,
    /// Flags that `PF_MEMALLOC_NOIO` and `PF_MEMALLOC_NOFS` leave of a mask; who narrows them closes the lane.
    pub gfp_allowed: Gfp,
}

/// The pid of the kernel thread in whose name scripts call: one that no thread of a real boot keeps.
pub const SCRIPT_PID: u32 = 24;

impl Default for Current {
    fn default() -> Current {
        Current {
            pid: SCRIPT_PID,
            comm: Comm::new("script"),
            memalloc: false,
            oom_victim: false,
            in_interrupt: false,
            gfp_allowed: Gfp(u32::MAX),
        }
    }
}
