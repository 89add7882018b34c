//! Invariants of areas: their tree, what an address space counts of them, and what ties them to anon_vmas and files.
//!
//! ```text
//!   mm ── tree ──► area ── chain ──► anon_vma ── rb_root ──► the same areas
//!                     └─── file ──► i_mmap ────────────────► the same areas
//! ```
//!
//! Fidelity: ours.

use super::{Broken, broken};
use crate::mm::machine::Machine;
use crate::mm::rmap::AnonVmaId;
use crate::mm::task::{Mm, MmId};
use crate::mm::vma::{VmFlags, Vma};
use std::collections::BTreeMap;

/// An invariant of a counter: its name, the counter, and which areas it counts.
type Sum = (&'static str, fn(&Mm) -> u64, fn(VmFlags) -> bool);

/// What an address space counts of its areas.
const SUMS: [Sum; 5] = [
    ("total_vm is the sum of areas", |mm| mm.total_vm, |_| true),
    ("locked_vm is the sum of locked areas", |mm| mm.locked_vm, |flags| flags.has(VmFlags::LOCKED)),
    ("data_vm is the sum of private writable areas", |mm| mm.data_vm, VmFlags::is_data),
    ("stack_vm is the sum of areas that grow down", |mm| mm.stack_vm, VmFlags::is_stack),
    ("exec_vm is the sum of areas of code", |mm| mm.exec_vm, VmFlags::is_exec),
];

impl Machine {
    /// The tree holds the areas in order and with their gaps, and the sums are theirs.
    pub(super) fn check_areas(&self, mm: MmId) -> Result<(), Broken> {
        let space = &self.mms[mm];
        if let Some(what) = space.vmas.first_wrong() {
            return broken("the tree of areas knows its gaps", format!("{mm:?}: {what}"));
        }
        let mut end = 0;
        for area in space.vmas.iter() {
            let vma = self.vmas.get(area.id).filter(|vma| vma.mm == mm);
            if vma.is_none_or(|vma| (vma.start, vma.end) != (area.start, area.end))
                || area.start < end
                || area.start >= area.end
            {
                return broken("areas are ordered and apart", format!("{mm:?} {area:x?}"));
            }
            end = area.end;
        }
        for (invariant, counted, belongs) in SUMS {
            let areas = self.areas(mm).map(|(_, vma)| vma).filter(|vma| belongs(vma.flags));
            let (sum, counted) = (areas.map(Vma::pages).sum::<u64>(), counted(space));
            if sum != counted {
                return broken(invariant, format!("{mm:?}: {sum} pages, {counted} counted"));
            }
        }
        Ok(())
    }

    /// Every area is in the trees of its chain, and these trees hold nothing else.
    pub(super) fn check_anon_vmas(&self) -> Result<(), Broken> {
        let (mut ties, mut active): (usize, BTreeMap<AnonVmaId, u32>) = (0, BTreeMap::new());
        for (id, vma) in self.vmas.iter() {
            for anon in &vma.chain {
                let tied = self.anon_vmas.get(*anon).map(|anon| anon.vmas.contains(&vma.anon_interval(id)));
                if tied != Some(true) {
                    return broken("areas and anon_vmas are tied both ways", format!("{vma}: {anon:?}"));
                }
                ties += 1;
            }
            if let Some(own) = vma.anon_vma {
                if !vma.chain.contains(&own) {
                    return broken("an area's own anon_vma is in its chain", format!("{vma}: {own:?}"));
                }
                *active.entry(own).or_default() += 1;
            }
        }
        let listed: usize = self.anon_vmas.iter().map(|(_, anon)| anon.vmas.len()).sum();
        if listed != ties {
            return broken(
                "areas and anon_vmas are tied both ways",
                format!("{ties} links of areas, {listed} of anon_vmas"),
            );
        }
        let mut children: BTreeMap<AnonVmaId, u32> = BTreeMap::new();
        for (id, anon) in self.anon_vmas.iter() {
            // A root counts itself.
            *children.entry(anon.parent.unwrap_or(id)).or_default() += 1;
        }
        for (id, anon) in self.anon_vmas.iter() {
            if let Some(what) = anon.vmas.first_wrong() {
                return broken("the tree of an anon_vma knows its last pages", format!("{id:?}: {what}"));
            }
            let users = active.get(&id).copied().unwrap_or(0);
            if anon.num_active_vmas != users {
                let what = format!("{id:?}: {users} areas, num_active_vmas {}", anon.num_active_vmas);
                return broken("num_active_vmas is the areas that put pages there", what);
            }
            let below = children.get(&id).copied().unwrap_or(0);
            if anon.num_children != below {
                let what = format!("{id:?}: {below} of them, num_children {}", anon.num_children);
                return broken("num_children is the anon_vmas forked from it", what);
            }
        }
        Ok(())
    }
}
