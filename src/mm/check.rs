//! Every invariant of the machine, each with a name.
//!
//! Fidelity: ours. `check()` runs after every line of a debug session, in every test and every lab.

mod areas;
mod files;
mod kernel;
mod tasks;
mod vm;

use crate::mm::addr::{Order, Pfn};
use crate::mm::config::MigrateType;
use crate::mm::machine::Machine;
use crate::mm::mmzone::Zone;
use crate::mm::page::PageFlags;
use crate::mm::page_alloc::pcp::PcpList;
use crate::mm::page_alloc::{AllocContext, Lane};
use std::collections::BTreeSet;
use std::fmt;

/// An invariant that does not hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Broken {
    /// The invariant's name.
    pub invariant: &'static str,
    /// Where, and the numbers.
    pub what: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.what)
    }
}

/// Where all pages of the machine are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Census {
    /// Pages given to the buddy allocator.
    pub managed: u64,
    /// Free pages.
    pub free: u64,
    /// Pages on per-CPU lists.
    pub pcp: u64,
    /// Pages out of the lists for a moment: isolated pageblocks, and what kcompactd holds to move pages to.
    pub isolated: u64,
    /// Pages in use.
    pub used: u64,
}

impl Machine {
    /// Proves every invariant, or names the first that does not hold.
    ///
    /// # Errors
    /// The broken invariant, with its place and numbers.
    pub fn check(&self) -> Result<Census, Broken> {
        let mut census = Census { managed: self.totalram_pages(), ..Census::default() };
        let mut free = BTreeSet::new();
        for zone in &self.zones {
            self.check_free_lists(zone, &mut free)?;
            self.check_pcp(zone)?;
            census.free += zone.free_pages();
            census.pcp += zone.pcp_pages();
            census.isolated += isolated_pages(zone);
        }
        self.check_lane()?;
        self.check_buddies(&free)?;
        let held: u64 = self.nodes.iter().map(|n| n.kcompactd.isolated()).sum();
        census.used = self.check_frames()? - held;
        census.isolated += held;
        let sum = census.free + census.pcp + census.isolated + census.used;
        if sum != census.managed {
            let what = format!(
                "{} free + {} per-CPU + {} isolated + {} used = {sum}, managed {}",
                census.free, census.pcp, census.isolated, census.used, census.managed
            );
            return broken("no page is lost or made", what);
        }
        if let Some(what) = self.memblock.first_wrong() {
            return broken("memblock's regions are sorted, disjoint and merged", what);
        }
        let named = [
            ("per-CPU variables do not overlap, and every copy has a frame", self.first_wrong_percpu()),
            ("every kernel stack has its pages and its task", self.first_wrong_stack()),
            ("tasks and address spaces have their objects", self.first_wrong_kernel_object()),
            ("a mempool's reserve is what its source gave", self.first_wrong_mempool()),
            ("dentries hold their parents, and unused ones are on a list", self.first_wrong_dentry()),
            ("files in use have their inode and dentry, and those their objects", self.first_wrong_inode()),
        ];
        if let Some((invariant, Some(what))) = named.into_iter().find(|(_, wrong)| wrong.is_some()) {
            return broken(invariant, what);
        }
        self.check_page_owner()?;
        self.check_caches()?;
        self.check_vm()?;
        self.check_kernel()?;
        self.check_tasks()?;
        Ok(census)
    }

    fn check_free_lists(&self, zone: &Zone, free: &mut BTreeSet<(u32, u8)>) -> Result<(), Broken> {
        let mut pages = 0;
        for order in Order::all() {
            for mt in MigrateType::ALL {
                let (mut count, mut previous) = (0, Pfn::NIL);
                let list = &zone.free_area[order.index()].lists[mt.index()];
                for pfn in list.iter(&self.mem_map) {
                    let page = self.mem_map.page(pfn);
                    let place = || format!("{} order {order} {} pfn {pfn}", zone.kind, mt.name());
                    if !page.is_buddy_of(order) || page.index != mt as u32 || page.zone() != zone.id {
                        return broken("a listed block is free, of its order, type and zone", place());
                    }
                    if !pfn.is_aligned(order) || !zone.spans(pfn) || !zone.spans(pfn.up(order.pages() - 1)) {
                        return broken("a free block is aligned and inside its zone", place());
                    }
                    if previous != Pfn::NIL && page.prev != previous {
                        return broken("list links agree in both directions", place());
                    }
                    if (mt == MigrateType::Isolate) != (self.pageblocks.get(pfn) == MigrateType::Isolate) {
                        return broken(
                            "what is free in an isolated pageblock is on an Isolate list",
                            place(),
                        );
                    }
                    if !free.insert((pfn.0, order.get())) {
                        return broken("a block is on one list once", place());
                    }
                    previous = pfn;
                    count += 1;
                }
                if count != list.len || list.tail != previous {
                    return broken(
                        "nr_free is the list's length",
                        format!(
                            "{} order {order} {}: {count} listed, {} counted",
                            zone.kind,
                            mt.name(),
                            list.len
                        ),
                    );
                }
                if zone.free_area_empty(order, mt) != (zone.blocks(order, mt) == 0) {
                    return broken(
                        "the mask of free orders tells which lists are empty",
                        format!("{} order {order} {}: {count} listed", zone.kind, mt.name()),
                    );
                }
                if mt != MigrateType::Isolate {
                    pages += u64::from(count) * u64::from(order.pages());
                }
            }
        }
        pages += zone.virgin_blocks() * u64::from(Order::MAX.pages());
        if pages != zone.free_pages() {
            return broken(
                "free pages sum to nr_free_pages",
                format!("{} of node {}: {pages} listed, {} counted", zone.kind, zone.node, zone.free_pages()),
            );
        }
        Ok(())
    }

    fn check_buddies(&self, free: &BTreeSet<(u32, u8)>) -> Result<(), Broken> {
        let mut end = 0;
        for &(pfn, order) in free {
            if pfn < end {
                return broken("free blocks do not overlap", format!("pfn {}", Pfn(pfn)));
            }
            let Some(o) = Order::new(order) else { continue };
            end = pfn + o.pages();
            let buddy = Pfn(pfn).buddy(o);
            if o >= Order::MAX || !free.contains(&(buddy.0, order)) {
                continue;
            }
            let special = |p: Pfn| self.pageblocks.get(p).index() >= MigrateType::PCPTYPES;
            let apart = o >= self.pageblocks.order() && (special(Pfn(pfn)) || special(buddy));
            if self.mem_map.page(Pfn(pfn)).zone() == self.mem_map.page(buddy).zone() && !apart {
                return broken(
                    "no two free buddies are apart",
                    format!("order {order}: pfn {} and {buddy}", Pfn(pfn)),
                );
            }
        }
        Ok(())
    }

    /// What the hot path computed once is what it would compute now.
    fn check_lane(&self) -> Result<(), Broken> {
        let lane = self.lane;
        let Some(highest) = lane.gfp.zone(self.config.arch).filter(|_| lane != Lane::default()) else {
            return Ok(());
        };
        let (gfp, migratetype) = (lane.gfp, lane.gfp.migratetype());
        let ac = AllocContext { gfp, order: Order::ZERO, node: self.home, highest, migratetype };
        let now = self.zonelist(&ac).first().and_then(|first| self.lane_to(&ac, *first));
        if now == Some(lane) {
            return Ok(());
        }
        broken("the lane of the hot path stands on the numbers of now", format!("{lane:?}, now {now:?}"))
    }

    fn check_pcp(&self, zone: &Zone) -> Result<(), Broken> {
        for (cpu, pcp) in zone.pageset.iter().enumerate() {
            let mut pages = 0;
            for pfn in pcp.lists.iter().flat_map(PcpList::iter) {
                let page = self.mem_map.page(pfn);
                if !page.is_pcp() || page.zone() != zone.id || page.refcount != 0 {
                    return broken(
                        "a page on a per-CPU list is marked so",
                        format!("{} cpu {cpu} pfn {pfn}", zone.kind),
                    );
                }
                pages += u64::from(page.order().pages());
            }
            if pages != pcp.count {
                return broken(
                    "per-CPU counts are their lists' lengths",
                    format!("{} cpu {cpu}: {pages} listed, {} counted", zone.kind, pcp.count),
                );
            }
        }
        Ok(())
    }

    /// Who is recorded as a page's owner has it.
    fn check_page_owner(&self) -> Result<(), Broken> {
        for (pfn, owner) in self.page_owner.allocated() {
            let page = self.mem_map.page(pfn);
            if page.is_buddy() || page.is_pcp() {
                return broken("a page with an owner is not free", format!("pfn {pfn}: {}", owner.comm));
            }
            let whole = page.refcount > 0 && !page.is_any(PageFlags::TAIL | PageFlags::SWAPCACHE);
            if whole && owner.gfp != crate::mm::gfp::Gfp::NONE && page.order() != owner.order {
                return broken(
                    "the owner's record knows the order",
                    format!("pfn {pfn}: order {}, recorded {}", page.order(), owner.order),
                );
            }
        }
        Ok(())
    }

    /// Walks the descriptors that were ever written, and answers how many pages are in use.
    fn check_frames(&self) -> Result<u64, Broken> {
        let mut used = 0;
        for pfn in self.mem_map.touched() {
            let page = self.mem_map.page(pfn);
            if page.is(PageFlags::RESERVED) || page.refcount == 0 {
                if page.mapcount() > 0 {
                    return broken(
                        "refcount covers mapcount",
                        format!("pfn {pfn}: refcount {}, mapcount {}", page.refcount, page.mapcount()),
                    );
                }
                continue;
            }
            if page.is_buddy() || page.is_pcp() {
                return broken(
                    "a free page has no references",
                    format!("pfn {pfn}: refcount {}", page.refcount),
                );
            }
            if page.refcount < page.mapcount() {
                return broken(
                    "refcount covers mapcount",
                    format!("pfn {pfn}: refcount {}, mapcount {}", page.refcount, page.mapcount()),
                );
            }
            if page.is(PageFlags::TAIL) {
                continue;
            }
            used += u64::from(page.order().pages());
        }
        Ok(used)
    }
}

/// Free pages of isolated pageblocks.
fn isolated_pages(zone: &Zone) -> u64 {
    Order::all().map(|order| zone.blocks(order, MigrateType::Isolate) << order.get()).sum()
}

fn broken<T>(invariant: &'static str, what: String) -> Result<T, Broken> {
    Err(Broken { invariant, what })
}
