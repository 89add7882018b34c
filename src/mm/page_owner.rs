//! Page owner: who allocated each page, with which mask, when; and when it was freed.
//!
//! ```text
//!   page_owner=on ──► a record beside every descriptor
//!   alloc    order, mask, task, time           migrate   the record moves with the page
//!   free     time of freeing; the rest stays   split     order 0 for every page of the block
//! ```
//!
//! Read through `/sys/kernel/debug/page_owner`. Kernel: `mm/page_owner.c`.
//! Fidelity: faithful — what is recorded, pages of the boot, the order of the file, tails left out. Simplified — it can be
//! switched on later, which a kernel cannot. Absent — stacks.

use crate::mm::addr::{Order, Pfn};
use crate::mm::config::MigrateType;
use crate::mm::gfp::Gfp;
use crate::mm::machine::{Comm, Machine};
use crate::mm::page::PageFlags;
use std::rc::Rc;

/// Pages of a section of records.
const SECTION: usize = 512;

/// The record of one page (`struct page_owner`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Owner {
    /// The order of the block.
    pub order: Order,
    /// The mask it was asked for with.
    pub gfp: Gfp,
    /// The task that asked.
    pub pid: u32,
    /// The process the task belongs to.
    pub tgid: u32,
    /// The task's name.
    pub comm: Comm,
    /// When it was allocated, in nanoseconds of virtual time.
    pub ts: u64,
    /// When it was freed last; 0 is never.
    pub free_ts: u64,
    /// Why it was moved last; `None` was never moved.
    pub migrate_reason: Option<MigrateReason>,
    /// It was ever allocated (`PAGE_EXT_OWNER`).
    pub known: bool,
    /// It is allocated now (`PAGE_EXT_OWNER_ALLOCATED`).
    pub allocated: bool,
}

/// Why a page was moved (`enum migrate_reason`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MigrateReason {
    /// To gather free pages.
    Compaction,
    /// To empty a range.
    ContigRange,
}

impl MigrateReason {
    /// The word in the kernel's files.
    pub fn name(self) -> &'static str {
        match self {
            MigrateReason::Compaction => "compaction",
            MigrateReason::ContigRange => "contig_range",
        }
    }
}

/// All records; sections that nobody wrote take no room.
#[derive(Clone, Debug, Default)]
pub struct PageOwners {
    /// Records are kept.
    pub enabled: bool,
    sections: Vec<Option<Rc<[Owner; SECTION]>>>,
}

impl PageOwners {
    /// The record of a page.
    pub fn get(&self, pfn: Pfn) -> Option<&Owner> {
        let section = self.sections.get(pfn.0 as usize / SECTION)?.as_ref()?;
        Some(&section[pfn.0 as usize % SECTION]).filter(|owner| owner.known)
    }

    fn get_mut(&mut self, pfn: Pfn) -> &mut Owner {
        let at = pfn.0 as usize / SECTION;
        if self.sections.len() <= at {
            self.sections.resize(at + 1, None);
        }
        let section = self.sections[at].get_or_insert_with(|| Rc::new([Owner::default(); SECTION]));
        &mut Rc::make_mut(section)[pfn.0 as usize % SECTION]
    }

    /// Pages with a record that are allocated, ascending, the tails of blocks left out.
    pub fn allocated(&self) -> impl Iterator<Item = (Pfn, &Owner)> {
        let sections = self.sections.iter().enumerate().filter_map(|(n, s)| Some((n, s.as_ref()?)));
        let pages = sections
            .flat_map(|(n, s)| s.iter().enumerate().map(move |(i, o)| (Pfn((n * SECTION + i) as u32), o)));
        pages.filter(|(pfn, owner)| owner.known && owner.allocated && pfn.is_aligned(owner.order))
    }
}

impl Machine {
    /// Switches the records on or off; pages in use then are recorded as those of the boot.
    pub fn set_page_owner(&mut self, enabled: bool) {
        if enabled && !self.page_owner.enabled {
            self.page_owner = PageOwners { enabled, ..PageOwners::default() };
            self.init_early_allocated_pages();
        } else if !enabled {
            self.page_owner = PageOwners::default();
        }
        self.watch_pages();
    }

    /// Pages that were there before the records: order 0, no mask (`init_early_allocated_pages`).
    fn init_early_allocated_pages(&mut self) {
        let in_use: Vec<Pfn> = self
            .mem_map
            .touched()
            .filter(|pfn| self.mem_map.contains(*pfn))
            .filter(|pfn| {
                let page = self.mem_map.page(*pfn);
                !page.is(PageFlags::RESERVED) && page.refcount > 0
            })
            .collect();
        let early = Owner {
            pid: 1,
            tgid: 1,
            comm: Comm::new("swapper/0"),
            ts: self.clock,
            known: true,
            allocated: true,
            ..Owner::default()
        };
        for head in in_use {
            for n in 0..self.mem_map.page(head).order().pages() {
                *self.page_owner.get_mut(head.up(n)) = early;
            }
        }
    }

    /// A block was allocated (`__set_page_owner`).
    pub(crate) fn set_page_owner_of(&mut self, pfn: Pfn, order: Order, gfp: Gfp) {
        let (pid, comm, ts) = (self.current.pid, self.current.comm, self.clock);
        let tgid = self.tasks.get(&pid).map_or(pid, |task| task.tgid);
        for n in 0..order.pages() {
            let owner = self.page_owner.get_mut(pfn.up(n));
            let free_ts = owner.free_ts;
            let migrate_reason = None;
            *owner = Owner {
                order,
                gfp,
                pid,
                tgid,
                comm,
                ts,
                free_ts,
                migrate_reason,
                known: true,
                allocated: true,
            };
        }
    }

    /// A block was freed (`__reset_page_owner`).
    pub(crate) fn reset_page_owner(&mut self, pfn: Pfn, order: Order) {
        let now = self.clock;
        for n in 0..order.pages() {
            let owner = self.page_owner.get_mut(pfn.up(n));
            (owner.allocated, owner.free_ts) = (false, now);
        }
    }

    /// A block became single pages (`__split_page_owner`).
    pub(crate) fn split_page_owner(&mut self, pfn: Pfn, order: Order) {
        if self.page_owner.enabled {
            for n in 0..order.pages() {
                self.page_owner.get_mut(pfn.up(n)).order = Order::ZERO;
            }
        }
    }

    /// A page moved to another frame, and its record with it (`__folio_copy_owner`).
    pub(crate) fn copy_page_owner(&mut self, old: Pfn, new: Pfn, reason: MigrateReason) {
        if self.page_owner.enabled
            && let Some(owner) = self.page_owner.get(old).copied()
        {
            // The kernel gives the new page the time of allocation as that of freeing, too.
            let copy = Owner { free_ts: owner.ts, migrate_reason: Some(reason), ..owner };
            *self.page_owner.get_mut(new) = copy;
        }
    }

    /// What the record says, in the log under a dumped page (`__dump_page_owner`).
    pub(crate) fn dump_page_owner(&mut self, pfn: Pfn) {
        if !self.page_owner.enabled {
            return;
        }
        let Some(owner) = self.page_owner.get(pfn).copied() else {
            return self.printk("page_owner info is not present (never set?)");
        };
        let Owner { order, gfp, pid, tgid, comm, ts, free_ts, .. } = owner;
        let now = if owner.allocated { "allocated" } else { "freed" };
        self.printk(format!("page_owner tracks the page as {now}"));
        let mt: MigrateType = gfp.migratetype();
        self.printk(format!(
            "page last allocated via order {order}, migratetype {}, gfp_mask {:#x}({gfp}), pid {pid}, tgid {tgid} ({comm}), ts {ts}, free_ts {free_ts}",
            mt.name(),
            gfp.0
        ));
        if let Some(reason) = owner.migrate_reason {
            self.printk(format!("page has been migrated, last migrate reason: {}", reason.name()));
        }
    }

    /// What hangs on a block that is given out: its poison is checked, its owner is noted (`post_alloc_hook`).
    #[cold]
    #[inline(never)]
    pub(crate) fn post_alloc_hook(&mut self, pfn: Pfn, order: Order, gfp: Gfp) {
        if self.page_poison.enabled {
            self.kernel_unpoison_pages(pfn, order);
        }
        if gfp.has(Gfp::ZERO) {
            self.contents.forget(pfn, order);
        }
        if self.page_owner.enabled {
            self.set_page_owner_of(pfn, order, gfp);
        }
    }

    /// Somebody must see every page that is allocated or freed: the records, the poison, or bytes in free pages.
    pub(crate) fn watch_pages(&mut self) {
        self.debug_pages = self.page_owner.enabled || self.page_poison.enabled || self.stray_writes;
        self.close_lane();
    }
}
