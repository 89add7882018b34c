//! Kernel memory as the crash utility shows it: zones, free blocks, nodes, page structures, counters.
//!
//! The layouts are crash's, column for column; the rows are there for scripts. `kmem -z` at the prompt is
//! `zone_stats()` here.

mod free;
mod identify;
mod info;
mod names;
mod nodes;
mod pages;
mod stats;

use crate::script::answer::ScriptResult;
use crate::script::args::{self, Addr};
use crate::script::bench::Bench;
use crate::script::table::Table;
use rhai::plugin::*;

/// Kernel memory as the crash utility shows it.
#[export_module]
pub mod functions {
    /// Zones with their size, watermarks and counters: `kmem -z`.
    ///
    /// ```vmlab
    /// > zone_stats().rows[0].name
    /// > kmem -z | head -3
    /// ```
    ///
    /// Kernel: `struct zone`, `include/linux/mmzone.h`.
    pub fn zone_stats(ctx: NativeCallContext) -> Table {
        super::stats::zones(&Bench::of(&ctx).borrow().machine)
    }

    /// Every counter of zones, nodes and events: `kmem -V`.
    ///
    /// ```vmlab
    /// > vm_stat().rows[0].name
    /// > kmem -V | grep NR_FREE_PAGES
    /// ```
    ///
    /// Kernel: `mm/vmstat.c`.
    pub fn vm_stat(ctx: NativeCallContext) -> Table {
        super::stats::all(&Bench::of(&ctx).borrow().machine)
    }

    /// Free blocks of each zone, order and mobility: `kmem -f`; with an address, the free block that holds it.
    ///
    /// The blocks are counted one by one and compared with the zones' own count.
    ///
    /// ```vmlab
    /// > free_areas().rows[0].blocks
    /// > kmem -f | tail -1
    /// ```
    ///
    /// Kernel: `struct free_area`, `include/linux/mmzone.h`. Gorman: 6.1.
    pub fn free_areas(ctx: NativeCallContext) -> Table {
        super::free::areas(&Bench::of(&ctx).borrow().machine, false)
    }

    #[rhai_fn(name = "free_areas", return_raw)]
    pub fn free_area_of(ctx: NativeCallContext, addr: Addr) -> ScriptResult<Table> {
        super::free::area_of(&Bench::of(&ctx).borrow().machine, args::addr("the address", &addr)?)
    }

    /// Free blocks with the addresses of their page structures: `kmem -F`.
    ///
    /// ```vmlab
    /// > free_lists().rows.len > 0
    /// ```
    ///
    /// Kernel: `struct free_area`, `include/linux/mmzone.h`. Gorman: 6.1.
    pub fn free_lists(ctx: NativeCallContext) -> Table {
        super::free::areas(&Bench::of(&ctx).borrow().machine, true)
    }

    #[rhai_fn(name = "free_lists", return_raw)]
    pub fn free_list_of(ctx: NativeCallContext, addr: Addr) -> ScriptResult<Table> {
        free_area_of(ctx, addr)
    }

    /// How memory is used, as a whole: `kmem -i`.
    ///
    /// ```vmlab
    /// > memory_usage().rows[1].what
    /// > kmem -i | head -2
    /// ```
    ///
    /// Kernel: `fs/proc/meminfo.c`.
    pub fn memory_usage(ctx: NativeCallContext) -> Table {
        super::info::usage(&Bench::of(&ctx).borrow().machine)
    }

    /// Nodes, zones and memory sections: `kmem -n`.
    ///
    /// ```vmlab
    /// > node_map().rows[0].size
    /// > kmem -n | head -2
    /// ```
    ///
    /// Kernel: `struct pglist_data`, `mm/sparse.c`. Gorman: 2.1.
    pub fn node_map(ctx: NativeCallContext) -> Table {
        super::nodes::map(&Bench::of(&ctx).borrow().machine)
    }

    /// Page structures: `kmem -p`; of the page at an address, or of `n` pages from a frame on.
    ///
    /// ```vmlab
    /// > mem_map(0x10, 2)
    /// > mem_map(addr("ffff888000010000")).rows[0].cnt
    /// ```
    ///
    /// Kernel: `struct page`, `include/linux/mm_types.h`. Gorman: 2.3.
    pub fn mem_map(ctx: NativeCallContext) -> Table {
        super::pages::all(&Bench::of(&ctx).borrow().machine)
    }

    #[rhai_fn(name = "mem_map", return_raw)]
    pub fn mem_map_of(ctx: NativeCallContext, addr: Addr) -> ScriptResult<Table> {
        super::pages::at(&Bench::of(&ctx).borrow().machine, args::addr("the address", &addr)?)
    }

    #[rhai_fn(name = "mem_map", return_raw)]
    pub fn mem_map_from(ctx: NativeCallContext, pfn: i64, n: i64) -> ScriptResult<Table> {
        let (pfn, n) = (
            args::within("the frame", pfn, i64::from(u32::MAX))?,
            args::within("the number of pages", n, 1 << 20)?,
        );
        Ok(super::pages::some(&Bench::of(&ctx).borrow().machine, pfn, n))
    }

    /// Bits of page flags: `kmem -g`; or the names of the bits in a value, in hexadecimal.
    ///
    /// ```vmlab
    /// > page_flags("36")
    /// > page_flags().rows[4].flag
    /// ```
    ///
    /// Kernel: `enum pageflags`, `include/linux/page-flags.h`. Gorman: 2.3.1.
    pub fn page_flags() -> Table {
        super::pages::flags()
    }

    #[rhai_fn(name = "page_flags", return_raw)]
    pub fn page_flags_of(value: &str) -> ScriptResult<Table> {
        super::pages::flags_of(value)
    }

    /// Where each CPU's own data lies: `kmem -o`.
    ///
    /// ```vmlab
    /// > percpu_offsets()
    /// ```
    ///
    /// Kernel: `__per_cpu_offset`, `mm/percpu.c`.
    pub fn percpu_offsets(ctx: NativeCallContext) -> Table {
        super::nodes::percpu_offsets(&Bench::of(&ctx).borrow().machine)
    }

    /// Pools of huge pages: `kmem -h`.
    ///
    /// ```vmlab
    /// > hstates()
    /// ```
    ///
    /// Kernel: `struct hstate`, `mm/hugetlb.c`.
    pub fn hstates(ctx: NativeCallContext) -> Table {
        super::info::hstates(&Bench::of(&ctx).borrow().machine)
    }

    /// Tells what lies at an address: its page, and who has it.
    ///
    /// ```vmlab
    /// > let p = alloc_pages(GFP_KERNEL, 2);
    /// > whatis(page_address(p)).lines[3]
    /// > whatis(0x7f0000000000)
    /// ```
    ///
    /// Command: `whatis ffff888000010000`
    #[rhai_fn(return_raw)]
    pub fn whatis(ctx: NativeCallContext, addr: Addr) -> ScriptResult<Table> {
        // At the prompt the word arrives as a string, in hexadecimal as crash takes it.
        let at = match addr.read_lock::<ImmutableString>() {
            Some(text) => crate::script::values::functions::addr(text.clone().into())?.0,
            None => args::addr("the address", &addr)?,
        };
        super::identify::whatis(&Bench::of(&ctx).borrow().machine, at)
    }
}
