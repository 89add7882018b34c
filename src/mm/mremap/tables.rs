//! Moving entries from one place of an address space to another: one by one, or a whole PTE table.
//!
//! ```text
//!   both ends at a multiple of 2 MiB, nothing there yet:   PMD[old] ──► PMD[new]     512 entries in one step
//!   else:                                                  PTE[old] ──► PTE[new]
//! ```
//!
//! Kernel: `mm/mremap.c` (`move_page_tables`, `move_normal_pmd`, `move_ptes`).
//! Fidelity: faithful — what is moved whole, soft-dirty marks. Absent — moving of whole PMD tables (1 GiB).

use crate::mm::addr::{PAGE_SIZE, VirtAddr};
use crate::mm::machine::Machine;
use crate::mm::pgtable::{LEAF_SHIFT, Pte, TableId, UpperId, index};
use crate::mm::vma::VmaId;

/// Bytes that a leaf covers.
const LEAF_SIZE: u64 = 1 << LEAF_SHIFT;

impl Machine {
    /// Moves the entries of `old..old + len` to `new`; on failure, how many bytes were moved.
    pub(super) fn move_page_tables(
        &mut self,
        from: VmaId,
        old: u64,
        to: VmaId,
        new: u64,
        len: u64,
    ) -> Result<(), u64> {
        debug_assert_eq!(self.vmas[from].mm, self.vmas[to].mm);
        let mm = self.vmas[from].mm;
        let pgd = self.mms[mm].pgd;
        let pmd_size = self.tables.geometry.span(1);
        self.mms[mm].leaf_cache = None;
        let (mut done, mut moved) = (0, false);
        let mut result = Ok(());
        while done < len {
            let (at, there) = (old + done, new + done);
            // No further than to the end of either table.
            let mut extent = (len - done).min(LEAF_SIZE - at % LEAF_SIZE).min(LEAF_SIZE - there % LEAF_SIZE);
            if extent < LEAF_SIZE || self.tables.leaf(pgd, VirtAddr(there)).is_some() {
                self.split_huge_pmd(mm, VirtAddr(at));
            }
            if let Some(leaf) = self.tables.leaf(pgd, VirtAddr(at)) {
                let whole =
                    at.is_multiple_of(pmd_size) && there.is_multiple_of(pmd_size) && len - done >= pmd_size;
                if whole && self.tables.leaf(pgd, VirtAddr(there)).is_none() {
                    extent = pmd_size;
                    let Ok(above) = self.table_above(mm, VirtAddr(there)) else {
                        result = Err(done);
                        break;
                    };
                    self.move_table(pgd, at, above, there);
                } else {
                    let Ok(target) = self.pte_alloc(mm, VirtAddr(there)) else {
                        result = Err(done);
                        break;
                    };
                    self.move_ptes(leaf, at, target, there, extent);
                }
                moved = true;
            }
            done += extent;
        }
        self.mms[mm].leaf_cache = None;
        if moved {
            self.flush_tlb_range(mm, old, old + len, true);
        }
        result
    }

    /// Hangs a PTE table below another entry of a PMD (`move_normal_pmd`).
    fn move_table(&mut self, pgd: UpperId, old: u64, above: UpperId, new: u64) {
        let Some(source) = self.tables.above_leaf(pgd, VirtAddr(old)) else { return };
        let entry = |addr| self.tables.geometry.index(VirtAddr(addr), 1);
        let (from, to) = (entry(old), entry(new));
        self.tables.move_entry((source, from), (above, to));
    }

    /// Moves entries one by one (`move_ptes`).
    fn move_ptes(&mut self, leaf: TableId, old: u64, target: TableId, new: u64, len: u64) {
        let pages = (len / PAGE_SIZE) as usize;
        let (i, j) = (index(VirtAddr(old), 0), index(VirtAddr(new), 0));
        let soft_dirty = self.config.arch.has_soft_dirty();
        let mark = |entry: u64| {
            let pte = Pte(entry);
            if soft_dirty && pte.is_present() { pte.with(Pte::SOFT_DIRTY).0 } else { entry }
        };
        if leaf == target {
            let entries = &mut self.tables.get_mut(leaf).entries;
            entries.copy_within(i..i + pages, j);
            // The two ranges do not overlap: mremap refuses that.
            entries[i..i + pages].fill(0);
            entries[j..j + pages].iter_mut().for_each(|entry| *entry = mark(*entry));
            return;
        }
        let source = &mut self.tables.get_mut(leaf).entries[i..i + pages];
        let mut taken = [0; crate::mm::pgtable::PTRS_PER_TABLE];
        taken[..pages].copy_from_slice(source);
        source.fill(0);
        let there = &mut self.tables.get_mut(target).entries[j..j + pages];
        there.iter_mut().zip(&taken).for_each(|(entry, from)| *entry = mark(*from));
    }
}
