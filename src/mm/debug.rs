//! `dump_page`: a page in the kernel log, as it stands under `BUG: Bad page state`.
//!
//! ```text
//!   BUG: Bad page state in process cc  pfn:1f3c4
//!   page:ffffea00007cf100 refcount:0 mapcount:0 mapping:0000000000000000 index:0x0 pfn:0x1f3c4
//!   flags: 0x7ffffc0000000(node=0|zone=1|lastcpupid=0x1fffff)
//!   page dumped because: nonzero _refcount
//! ```
//!
//! Kernel: `mm/debug.c`, `mm/page_alloc.c` (`bad_page`), `include/trace/events/mmflags.h`.
//! Fidelity: faithful — lines, order and names of flags, the word of flags with node and zone. Simplified — addresses
//! are not hashed; a page in use that is freed once too often is noticed at once, not at its next allocation. Absent —
//! the raw words of the descriptor, the list of modules.

use crate::mm::addr::{Order, Pfn};
use crate::mm::errno::Oops;
use crate::mm::gfp::Gfp;
use crate::mm::machine::Machine;
use crate::mm::page::{Page, PageFlags, PageType};
use crate::mm::panic::Taint;

/// Flags in the order in which the kernel prints them (`__def_pageflag_names`).
const PRINTED: &[(PageFlags, &str)] = &[
    (PageFlags::LOCKED, "locked"),
    (PageFlags::WAITERS, "waiters"),
    (PageFlags::ERROR, "error"),
    (PageFlags::REFERENCED, "referenced"),
    (PageFlags::UPTODATE, "uptodate"),
    (PageFlags::DIRTY, "dirty"),
    (PageFlags::LRU, "lru"),
    (PageFlags::ACTIVE, "active"),
    (PageFlags::WORKINGSET, "workingset"),
    (PageFlags::SLAB, "slab"),
    (PageFlags::SWAPCACHE, "owner_priv_1"),
    (PageFlags::RESERVED, "reserved"),
    (PageFlags::PRIVATE, "private"),
    (PageFlags::PRIVATE_2, "private_2"),
    (PageFlags::WRITEBACK, "writeback"),
    (PageFlags::HEAD, "head"),
    (PageFlags::EXCLUSIVE, "mappedtodisk"),
    (PageFlags::RECLAIM, "reclaim"),
    (PageFlags::SWAPBACKED, "swapbacked"),
    (PageFlags::UNEVICTABLE, "unevictable"),
    (PageFlags::MLOCKED, "mlocked"),
];

/// The last CPU and task that used a page, as it stands before anybody did.
const LAST_CPUPID: u64 = 0x1f_ffff;

impl Machine {
    /// Number of the zone in its node, and of the node.
    fn zone_and_node(&self, pfn: Pfn) -> (u64, u64) {
        let Some(id) = self.mem_map.zone_of(pfn) else { return (0, 0) };
        let zone = &self.zones[id.index()];
        let place = self.nodes[zone.pgdat].zones.iter().position(|z| *z == id).unwrap_or(0);
        (place as u64, u64::from(zone.node.0))
    }

    /// The flags as the kernel stores them: bits below, the last CPU, zone and node above.
    pub fn page_flags_word(&self, pfn: Pfn, page: &Page) -> u64 {
        const ANON_EXCLUSIVE: u64 = 1 << 17;
        let ours = PageFlags::EXCLUSIVE.0 | PageFlags::TAIL.0;
        let mut bits = u64::from(page.flags().0 & !ours);
        if page.is(PageFlags::EXCLUSIVE) {
            bits |= ANON_EXCLUSIVE;
        }
        if !self.config.arch.is_64bit() {
            return bits;
        }
        let (zone, node) = self.zone_and_node(pfn);
        bits | LAST_CPUPID << 30 | zone << 51 | node << 54
    }

    /// `0x7ffffc0010014(uptodate|lru|head|node=0|zone=1|lastcpupid=0x1fffff)`, as `%pGp` prints it.
    pub fn page_flags_text(&self, pfn: Pfn) -> String {
        let page = self.mem_map.page(pfn);
        let (zone, node) = self.zone_and_node(pfn);
        let mut names: Vec<String> =
            PRINTED.iter().filter(|(flag, _)| page.is(*flag)).map(|(_, name)| name.to_string()).collect();
        if self.config.arch.has_numa() {
            names.push(format!("node={node}"));
        }
        names.push(format!("zone={zone}"));
        if self.config.arch.has_numa() {
            names.push(format!("lastcpupid={LAST_CPUPID:#x}"));
        }
        format!("{:#x}({})", self.page_flags_word(pfn, &page), names.join("|"))
    }

    /// Writes a page into the log (`dump_page`).
    pub(crate) fn dump_page(&mut self, pfn: Pfn, reason: &str) {
        let page = self.mem_map.page(pfn);
        let digits = self.config.arch.address_digits();
        // A type shares its place with the count of mappings, which reads below 0 then.
        let mapcount = match page.page_type() {
            Some(PageType::Buddy) => -127,
            Some(PageType::Table) => -511,
            _ => i64::from(page.mapcount()),
        };
        self.printk(format!(
            "page:{:0digits$x} refcount:{} mapcount:{mapcount} mapping:{:0digits$x} index:{:#x} pfn:{:#x}",
            self.page_struct(pfn).0,
            page.refcount,
            page.mapping,
            if page.page_type().is_some() { 0 } else { page.index },
            pfn.0,
        ));
        if page.is_any(PageFlags::HEAD | PageFlags::TAIL) {
            let head = self.compound_head(pfn);
            let order = self.mem_map.page(head).order();
            let at = self.page_struct(head).0;
            self.printk(format!("head:{at:0digits$x} order:{order} compound_mapcount:0 compound_pincount:0"));
        }
        let anon = if page.mapping & crate::mm::rmap::MAPPING_ANON != 0 { "anon " } else { "" };
        let flags = self.page_flags_text(pfn);
        self.printk(format!("{anon}flags: {flags}"));
        self.printk(format!("page dumped because: {reason}"));
        self.dump_page_owner(pfn);
    }

    /// The first page of the compound page that holds a page; the page itself outside of one (`compound_head`).
    pub fn compound_head(&self, pfn: Pfn) -> Pfn {
        let page = self.mem_map.page(pfn);
        if page.is(PageFlags::TAIL) { Pfn(page.private) } else { pfn }
    }

    /// The kernel's complaint about a page that must not be freed (`bad_page`).
    pub(crate) fn bad_page(&mut self, pfn: Pfn, reason: &str, advice: &str) -> Oops {
        let line = format!("BUG: Bad page state in process {}  pfn:{:05x}", self.current.comm, pfn.0);
        self.printk(line.clone());
        self.dump_page(pfn, reason);
        self.dump_stack(&["bad_page", "__free_pages"]);
        self.add_taint(Taint::BadPage);
        Oops::new(line, format!("page dumped because: {reason}\n  {advice}"))
    }

    /// May a caller give back a reference that it says is its own?
    ///
    /// The kernel believes it, and finds out when the page is freed while entries still map it.
    ///
    /// # Errors
    /// When every reference is that of a page-table entry or of a cache.
    pub fn own_reference(&mut self, pfn: Pfn) -> Result<(), Oops> {
        let head = self.compound_head(pfn);
        let (held, page) = (self.references_held(head), self.mem_map.page(head));
        // The last reference is looked at when the page is freed.
        if page.refcount <= 1 || page.refcount > held {
            return Ok(());
        }
        let (mapped, reason) = match page.mapcount() {
            0 => (0, "non-NULL mapping"),
            n => (n, "nonzero mapcount"),
        };
        let cached = if held > mapped { " and its cache" } else { "" };
        let advice = format!(
            "its {} references are those of {mapped} page-table entries{cached}: none is the caller's to give back; get_page takes one",
            page.refcount
        );
        Err(self.bad_page(head, reason, &advice))
    }

    /// A rule that a kernel with `CONFIG_DEBUG_VM` stops at (`VM_BUG_ON_PAGE`).
    pub(crate) fn vm_bug_on_page(&mut self, pfn: Pfn, condition: &str, advice: &str) -> Oops {
        let reason = format!("VM_BUG_ON_PAGE({condition})");
        self.dump_page(pfn, &reason);
        self.add_taint(Taint::Die);
        Oops::new(format!("page dumped because: {reason}"), advice)
    }

    /// A mask that names two zones (`gfp_zone`, with `CONFIG_DEBUG_VM`).
    pub(crate) fn gfp_zone_bad(&mut self, gfp: Gfp) -> Oops {
        let line = "kernel BUG at include/linux/gfp.h!";
        self.kernel_bug(line);
        let zones = Gfp(gfp.0 & (Gfp::DMA.0 | Gfp::HIGHMEM.0 | Gfp::DMA32.0));
        let lowest = self.config.arch.zone_types()[0];
        let advice = format!(
            "VM_BUG_ON((GFP_ZONE_BAD >> bit) & 1): {zones} names more than one zone; ask for one of them\n  a kernel without CONFIG_DEBUG_VM would take its lowest zone, {lowest}"
        );
        Oops::new(line, advice)
    }

    /// Why a block cannot be freed with this order, or not at all.
    #[cold]
    pub(crate) fn bad_free(&mut self, pfn: Pfn, order: Order) -> Oops {
        let page = self.mem_map.page(pfn);
        let own = page.order();
        if page.is(PageFlags::RESERVED) {
            let advice = "the frame is reserved: the buddy allocator never had it";
            return self.bad_page(pfn, "PAGE_FLAGS_CHECK_AT_FREE flag(s) set", advice);
        }
        if page.is(PageFlags::TAIL) {
            let advice = format!(
                "page pfn={pfn} is in the middle of a compound page; free its head, pfn {}",
                Pfn(page.private)
            );
            return self.vm_bug_on_page(pfn, "PageTail(page)", &advice);
        }
        if page.refcount == 0 {
            let advice = format!(
                "page pfn={pfn} is not allocated, so it cannot be freed: freed twice, or never allocated"
            );
            return self.bad_page(pfn, "nonzero _refcount", &advice);
        }
        if page.is(PageFlags::HEAD) {
            let advice =
                format!("order {order} given, allocated with {own}: the compound page knows its order");
            return self.vm_bug_on_page(pfn, "compound && compound_order(page) != order", &advice);
        }
        let would = if order > own {
            "free pages behind the block that belong to others"
        } else {
            "lose the rest of the block"
        };
        let advice = format!(
            "order {order} given, allocated with {own}\n  a kernel does not remember the order of such a block: it would {would}"
        );
        self.bad_page(pfn, "nonzero _refcount", &advice)
    }
}
