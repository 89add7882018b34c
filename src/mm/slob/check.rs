//! What must hold of SLOB's pages.
//!
//! Fidelity: ours.

use super::PAGE_UNITS;
use crate::mm::check::Broken;
use crate::mm::machine::Machine;

impl Machine {
    /// Proves the invariants of every page.
    pub(crate) fn slob_check(&self) -> Result<(), Broken> {
        let broken = |invariant, what| Err(Broken { invariant, what });
        for (id, page) in self.caches.slob.pages.iter() {
            let mut blocks: Vec<(u16, u16, bool)> =
                page.free.iter().map(|(at, len)| (*at, *len, true)).collect();
            blocks.extend(page.used.iter().map(|(at, (len, _))| (*at, *len, false)));
            blocks.sort_unstable();
            let mut end = 0;
            for (at, len, _) in &blocks {
                if *at != end {
                    return broken(
                        "a page of SLOB is blocks without gap",
                        format!("pfn {}: unit {at}, not {end}", page.pfn),
                    );
                }
                end = at + len;
            }
            if blocks.windows(2).any(|pair| pair[0].2 && pair[1].2) {
                return broken("free neighbours are one block", format!("pfn {}", page.pfn));
            }
            let free: u32 = page.free.values().map(|len| u32::from(*len)).sum();
            let listed = page.list.is_some_and(|list| self.caches.slob.lists[list as usize].contains(&id));
            if u32::from(end) != PAGE_UNITS || free != page.units || listed != (free > 0) {
                return broken(
                    "a page with free units is on a list",
                    format!("pfn {}: {free} free, {} counted, listed: {listed}", page.pfn, page.units),
                );
            }
        }
        Ok(())
    }
}
