//! Frames of one's own choice: contiguous ranges that are emptied first.
//!
//! Kernel: `mm/page_alloc.c`, `include/linux/gfp.h`.

use crate::mm::addr::{Order, Pfn};
use crate::mm::errno::Errno;
use crate::mm::trace::Event;
use crate::script::answer::{OrErrno, ScriptResult, answer, misuse, oops};
use crate::script::args::{self, GfpMask};
use crate::script::bench::{Bench, Desk};
use crate::script::handles::PageRef;
use crate::script::page::pfn;
use crate::script::table::Table;
use rhai::plugin::*;

/// Frames of one's own choice: contiguous ranges that are emptied first.
#[export_module]
pub mod functions {
    /// Allocates exactly the frames from `start` up to, but not including, `end`: whoever is in them is moved away.
    ///
    /// Answers the first page; each page is free to be freed on its own. `EBUSY` when a page cannot go, and
    /// `explain("contig")` says which; `ENOMEM` when there is no room elsewhere; `EINVAL` for a range of several zones.
    ///
    /// ```vmlab
    /// > let p = spawn("app");
    /// > let a = mmap(p, 0, "3M", PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS);
    /// > touch(p, a, "3M");
    /// > write(p, a, 42);
    /// > let first = alloc_contig_range(0x980, 0xb00, GFP_KERNEL)
    /// page pfn=0x980 order=0 zone=DMA node=0
    /// > explain("contig")
    /// Frames 0x980 to 0xaff were asked for and given: 384 pages were moved away and 0 dropped for it.
    ///   2 pageblocks were isolated for it and are Movable now, from frame 0x800 to 0xbff.
    /// Kernel: alloc_contig_range, start_isolate_page_range, has_unmovable_pages. Next: events("page_isolation:*")
    /// > free_contig_range(first, 0x180)
    /// 0
    /// > read(p, a)
    /// 42
    /// > alloc_contig_range(0x400, 0x600, GFP_KERNEL)
    /// EBUSY (Device or resource busy)
    /// > explain("contig")
    /// Frames 0x400 to 0x5ff were asked for: EBUSY. Frame 0x400 decided, the kernel has it, and nobody could be told that it moved; 0 pages were moved away and 0 dropped.
    ///   Frame 0x400: refcount 1, mapcount 0, flags (slab,head). Who has it: whatis(0x400000).
    /// Kernel: alloc_contig_range, start_isolate_page_range, has_unmovable_pages. Next: events("page_isolation:*")
    /// > alloc_contig_range(0x900, 0x800, GFP_KERNEL)
    /// error: frames 0x900 to 0x800: the end must lie behind the start
    /// ```
    ///
    /// Kernel: `alloc_contig_range`, `mm/page_alloc.c`.
    #[rhai_fn(return_raw)]
    pub fn alloc_contig_range(
        ctx: NativeCallContext,
        start: i64,
        end: i64,
        gfp: GfpMask,
    ) -> ScriptResult<OrErrno<PageRef>> {
        let gfp = args::gfp(&gfp)?;
        let bench = Bench::of(&ctx);
        let mut desk = bench.borrow_mut();
        args::zones_agree(&mut desk, gfp)?;
        if end <= start {
            return misuse(format!("frames {start:#x} to {end:#x}: the end must lie behind the start"));
        }
        let (first, last) = (pfn(&desk, start)?, pfn(&desk, end - 1)?);
        let taken = desk.machine.alloc_contig_range(first.0..last.0 + 1, gfp);
        super::pages(&mut desk, taken.map(|()| first))
    }

    /// Allocates so many contiguous frames wherever a range of that length can be emptied.
    ///
    /// Unlike `alloc_pages` it is not bound to powers of two, nor to the largest order.
    ///
    /// ```vmlab
    /// > let first = alloc_contig_pages(1500, GFP_KERNEL)
    /// page pfn=0x5dc order=0 zone=DMA node=0
    /// > free_contig_range(first, 1500)
    /// 0
    /// > alloc_contig_pages(1000000, GFP_KERNEL)
    /// ENOMEM (Cannot allocate memory)
    /// ```
    ///
    /// Kernel: `alloc_contig_pages`, `mm/page_alloc.c`.
    #[rhai_fn(return_raw)]
    pub fn alloc_contig_pages(
        ctx: NativeCallContext,
        nr: i64,
        gfp: GfpMask,
    ) -> ScriptResult<OrErrno<PageRef>> {
        let gfp = args::gfp(&gfp)?;
        let nr = args::within("the number of pages", nr, i64::from(u32::MAX))?;
        let bench = Bench::of(&ctx);
        let mut desk = bench.borrow_mut();
        args::zones_agree(&mut desk, gfp)?;
        let taken = desk.machine.alloc_contig_pages(nr, gfp);
        super::pages(&mut desk, taken)
    }

    /// Frees frames of a contiguous range one by one, from a frame or a page on.
    ///
    /// Answers how many of them somebody else still holds.
    ///
    /// ```vmlab
    /// > let first = alloc_contig_range(0x800, 0x810, GFP_KERNEL);
    /// > get_page(page(0x803));
    /// > free_contig_range(first, 16)
    /// 1
    /// > free_contig_range(0x800, 1)
    /// BUG: Bad page state in process script  pfn:00800
    ///   page dumped because: nonzero _refcount
    ///   page pfn=0x800 is not allocated, so it cannot be freed: freed twice, or never allocated
    /// ```
    ///
    /// Kernel: `free_contig_range`, `mm/page_alloc.c`.
    #[rhai_fn(return_raw)]
    pub fn free_contig_range(ctx: NativeCallContext, start: i64, nr: i64) -> ScriptResult<i64> {
        let bench = Bench::of(&ctx);
        let mut desk = bench.borrow_mut();
        let first = pfn(&desk, start)?;
        super::free(&mut desk, first, nr)
    }

    #[rhai_fn(name = "free_contig_range", return_raw)]
    pub fn free_contig_range_of(ctx: NativeCallContext, first: PageRef, nr: i64) -> ScriptResult<i64> {
        let bench = Bench::of(&ctx);
        let mut desk = bench.borrow_mut();
        let first = first.give_back(&mut desk)?;
        super::free(&mut desk, first, nr)
    }
}

/// The first page of a range that was taken.
fn pages(desk: &mut Desk, taken: Result<Pfn, Errno>) -> ScriptResult<OrErrno<PageRef>> {
    super::task::alive(desk)?;
    Ok(answer(taken.map(|first| PageRef::new(desk, first))))
}

/// Frees a range all of which exists.
fn free(desk: &mut Desk, first: Pfn, nr: i64) -> ScriptResult<i64> {
    let nr = args::within("the number of pages", nr, i64::from(u32::MAX))?;
    if nr > 0 {
        pfn(desk, i64::from(first.0) + i64::from(nr) - 1)?;
    }
    (0..nr).try_for_each(|n| oops(desk.machine.own_reference(first.up(n))))?;
    oops(desk.machine.free_contig_range(first, nr)).map(i64::from)
}

/// The last request for a range in words: what was in it, and what decided.
pub fn explain(machine: &crate::mm::Machine) -> ScriptResult<Table> {
    let asked = |event: &Event| matches!(event, Event::AllocContigRange { .. });
    let Some(last) = machine.trace.events().rev().find(|stamped| asked(&stamped.event)) else {
        return misuse("no range was asked for yet: try alloc_contig_range(start, end, GFP_KERNEL)");
    };
    let mut text = last.event.explain();
    if let Event::AllocContigRange { range, result, blocker, .. } = &last.event {
        let block = |pfn: u32| pfn & !(Order::PAGEBLOCK.pages() - 1);
        let (from, to) = (block(range.start), block(range.end - 1) + Order::PAGEBLOCK.pages());
        if result.is_ok() {
            let blocks = (to - from) / Order::PAGEBLOCK.pages();
            let is = if blocks == 1 {
                "pageblock was isolated for it and is"
            } else {
                "pageblocks were isolated for it and are"
            };
            text += &format!("\n  {blocks} {is} Movable now, from frame {from:#x} to {:#x}.", to - 1);
        }
        if let Some(page) = blocker {
            text += &format!(
                "\n  Frame {}: refcount {}, mapcount {}, flags ({}). Who has it: whatis({:#x}).",
                page.pfn,
                page.refcount,
                page.mapcount,
                page.flags,
                page.pfn.phys().0
            );
        }
    }
    text += "\nKernel: alloc_contig_range, start_isolate_page_range, has_unmovable_pages. Next: events(\"page_isolation:*\")";
    Ok(Table::lines(&text))
}
