//! mremap as it is since 6.17: everything that can be wrong is looked at before anything changes, and a move without
//! a change of size may take several areas along.
//!
//! ```text
//!   mremap(addr, 8, 8, MAYMOVE|FIXED, new)      AA__BBcc  ►  AA__BBcc      gaps between the areas stay gaps
//! ```
//!
//! Kernel: `mm/mremap.c` of 6.17 (`check_mremap_params`, `remap_move`, `check_prep_vma`).
//! Fidelity: faithful — order of checks, which moves are allowed. Absent — sealed areas.

use super::{Move, remap};
use crate::mm::addr::PAGE_SIZE;
use crate::mm::errno::Errno;
use crate::mm::machine::Machine;

impl Machine {
    /// The call (`do_mremap`).
    pub(super) fn do_mremap_in_batches(&mut self, to: Move, new_addr: u64) -> Result<u64, Errno> {
        let Move { mm, addr, old_len, new_len, flags, .. } = to;
        let named = flags & (remap::FIXED | remap::DONTUNMAP) != 0;
        if new_len > self.layout.task_size {
            return Err(Errno::EINVAL);
        }
        if named {
            self.check_new_addr(to, new_addr)?;
            if flags & remap::FIXED != 0 && old_len == new_len {
                return self.remap_move(to, new_addr);
            }
        }
        self.vma_lookup(mm, addr).ok_or(Errno::EFAULT)?;
        if named || new_len > old_len {
            // Of a move that shrinks, only what will be moved must be one area: the rest is unmapped.
            self.vma_to_resize(Move { old_len: old_len.min(new_len), ..to })?;
        }
        if named { self.mremap_to(to, new_addr) } else { self.mremap_at(to) }
    }

    /// A place that was named must be sensible, apart from the old one, and there must be room for the pieces.
    fn check_new_addr(&self, to: Move, new_addr: u64) -> Result<(), Errno> {
        let Move { mm, addr, old_len, new_len, .. } = to;
        let overlap = addr.saturating_add(old_len) > new_addr && new_addr.saturating_add(new_len) > addr;
        if new_addr > self.layout.task_size - new_len || new_addr & (PAGE_SIZE - 1) != 0 || overlap {
            return Err(Errno::EINVAL);
        }
        let areas = self.mms[mm].vmas.len() as u64 + 2;
        if areas >= self.sysctl.max_map_count.saturating_sub(3) { Err(Errno::ENOMEM) } else { Ok(()) }
    }

    /// Moves all areas of a range, each on its own; what was moved before one refuses stays moved (`remap_move`).
    fn remap_move(&mut self, to: Move, new_addr: u64) -> Result<u64, Errno> {
        let (start, end) = (to.addr, to.addr.saturating_add(to.old_len));
        let mut at = start;
        let mut moved = Err(Errno::EFAULT);
        while at < end {
            let Some(id) = self.find_vma_intersection(to.mm, at, end) else { break };
            let (first, last) = (self.vmas[id].start.max(start), self.vmas[id].end.min(end));
            if moved.is_err() && first > start {
                return Err(Errno::EFAULT);
            }
            let len = last - first;
            let part = Move { addr: first, old_len: len, new_len: len, ..to };
            self.vma_to_resize(part)?;
            let there = self.mremap_to(part, new_addr + (first - start))?;
            moved = moved.or(Ok(there));
            at = last;
        }
        moved
    }
}
