//! Kernel memory as the crash utility shows it: zones, free blocks, nodes, page structures, counters.
//!
//! The layouts are crash's, column for column; the rows are there for scripts. `kmem -z` at the prompt is
//! `zone_stats()` here.

mod free;
pub mod identify;
mod info;
pub mod members;
mod names;
mod nodes;
pub(crate) mod owner;
pub mod pages;
mod pcp;
mod stats;
pub mod vmap;

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
    /// DMA
    /// > kmem -z | head -3
    /// NODE: 0  ZONE: 0  ADDR: ffff888000d83000  NAME: "DMA"
    ///   SIZE: 4095  PRESENT: 3998  MIN/LOW/HIGH: 110/137/164
    ///   VM_STAT:
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
    /// NR_FREE_PAGES
    /// > kmem -V | grep NR_FREE_PAGES
    ///              NR_FREE_PAGES: 3072
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
    /// 0
    /// > kmem -f | tail -1
    /// nr_free_pages: 3072  (verified)
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
    /// true
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
    /// FREE
    /// > kmem -i | head -2
    ///                  PAGES        TOTAL      PERCENTAGE
    ///     TOTAL MEM     3072        12 MB         ----
    /// ```
    ///
    /// Kernel: `fs/proc/meminfo.c`.
    pub fn memory_usage(ctx: NativeCallContext) -> Table {
        super::info::usage(&Bench::of(&ctx).borrow().machine)
    }

    /// Areas of vmalloc: `kmem -v`.
    ///
    /// ```vmlab
    /// > vmap_areas().rows.len
    /// 0
    /// > vmalloc(4096);
    /// > kmem -v
    ///    VMAP_AREA         VM_STRUCT                 ADDRESS RANGE                SIZE
    /// ffff8880001c0000  ffff8880001c8000  ffffc90000000000 - ffffc90000002000     8192
    /// ```
    ///
    /// Kernel: `vmap_area_list`, `mm/vmalloc.c`. Gorman: 7.1.
    pub fn vmap_areas(ctx: NativeCallContext) -> Table {
        super::vmap::areas(&Bench::of(&ctx).borrow().machine)
    }

    /// Nodes, zones and memory sections: `kmem -n`.
    ///
    /// ```vmlab
    /// > node_map().rows[0].size
    /// 4095
    /// > kmem -n | head -2
    /// NODE    SIZE      PGLIST_DATA       BOOTMEM_DATA       NODE_ZONES
    ///   0      4095   ffff888000d83000        ----        ffff888000d83000
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
    ///       PAGE       PHYSICAL      MAPPING       INDEX CNT FLAGS
    /// ffffea0000000400    10000                0        0  1 7ffffc0001000 reserved
    /// ffffea0000000440    11000                0        0  1 7ffffc0001000 reserved
    /// > mem_map(addr("ffff888000010000")).rows[0].cnt
    /// 1
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

    /// Chosen members of `struct page`, of all pages or of the one at an address: `kmem -m`.
    ///
    /// The members are parted by commas; a wrong name is answered with all of them. `lru` is next and previous.
    ///
    /// ```vmlab
    /// > kmem -m flags,_refcount | head -3
    ///       PAGE        flags  _refcount
    /// ffffea0000000040  0007ffffc0001000  00000001
    /// ffffea0000000080  0007ffffc0001000  00000001
    /// > let p = alloc_pages(GFP_KERNEL|__GFP_COMP, 1);
    /// > page_members("compound_head", page_address(p) + PAGE_SIZE)
    ///       PAGE        compound_head
    /// ffffea0000010040  ffffea0000010001
    /// ```
    ///
    /// Kernel: `struct page`, `include/linux/mm_types.h`. Gorman: 2.3.
    #[rhai_fn(return_raw)]
    pub fn page_members(ctx: NativeCallContext, members: &str) -> ScriptResult<Table> {
        super::members::of_pages(&Bench::of(&ctx).borrow().machine, members, None)
    }

    #[rhai_fn(name = "page_members", return_raw)]
    pub fn page_members_of(ctx: NativeCallContext, members: &str, addr: Addr) -> ScriptResult<Table> {
        let at = args::addr("the address", &addr)?;
        super::members::of_pages(&Bench::of(&ctx).borrow().machine, members, Some(at))
    }

    /// Bits of page flags: `kmem -g`; or the names of the bits in a value, in hexadecimal.
    ///
    /// ```vmlab
    /// > page_flags("36")
    /// FLAGS: 36
    ///   PAGE-FLAG              BIT  VALUE
    ///   PG_referenced            1  0000002
    ///   PG_uptodate              2  0000004
    ///   PG_lru                   4  0000010
    ///   PG_active                5  0000020
    ///   PG_reported              2  0000004
    /// > page_flags().rows[4].flag
    /// PG_lru
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

    /// The per-CPU lists of every zone: pages, the limits they are kept to, and their mobility.
    ///
    /// ```vmlab
    /// > free_page(__get_free_page(GFP_KERNEL));
    /// > pcp
    /// NODE  ZONE  CPU  COUNT  HIGH  BATCH  UNMOVABLE  MOVABLE  RECLAIMABLE
    ///    0  DMA     0      1   137      1          1        0            0
    /// ```
    ///
    /// Kernel: `struct per_cpu_pages`, `mm/page_alloc.c`. Gorman: 6.1.
    /// Command: `pcp`
    pub fn pcp(ctx: NativeCallContext) -> Table {
        super::pcp::lists(&Bench::of(&ctx).borrow().machine)
    }

    /// How large the page cache is: `kmem -c`; the pages of all files are counted one by one and compared.
    ///
    /// ```vmlab
    /// > let f = create("/data", "64k"); pread(f, 0, "64k");
    /// > kmem -c
    /// page_cache_size: 16  (verified)
    /// ```
    ///
    /// Kernel: `NR_FILE_PAGES`, `mm/filemap.c`. Gorman: 10.2.
    pub fn page_cache_size(ctx: NativeCallContext) -> Table {
        super::info::page_cache_size(&Bench::of(&ctx).borrow().machine)
    }

    /// Where each CPU's own data lies: `kmem -o`.
    ///
    /// ```vmlab
    /// > percpu_offsets()
    /// PER-CPU OFFSET VALUES:
    ///   CPU 0: ffff888000200000
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
    ///      HSTATE        SIZE    FREE   TOTAL  NAME
    /// ffffffff83fdffe0    2MB       0       0  hugepages-2048kB
    /// note: hugetlb is not simulated: its pools stay empty
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
    /// > whatis(page_address(p))
    ///       PAGE       PHYSICAL      MAPPING       INDEX CNT FLAGS
    /// ffffea0000010000   400000                0        0  1 7ffffc0000000
    ///
    /// page pfn=0x400, zone DMA of node 0: allocated: order 2, 1 reference
    ///   physical 400000, direct map ffff888000400000, pageblock Unmovable
    /// > let p = spawn("made");
    /// > whatis(ps("made").rows[0].task)
    /// ffff888000408000: task_struct of task 3 (made)
    /// CACHE             OBJSIZE  ALLOCATED     TOTAL  SLABS  SSIZE  NAME
    /// ffff888000005600     6208          1         5      1    32k  task_struct
    ///   SLAB              MEMORY            NODE  TOTAL  ALLOCATED  FREE
    ///   ffffea0000010200  ffff888000408000     0      5          1     4
    ///   FREE / [ALLOCATED]
    ///   [ffff888000408000]
    ///
    ///       PAGE       PHYSICAL      MAPPING       INDEX CNT FLAGS
    /// ffffea0000010200   408000 ffff888000005600        0  1 7ffffc0010200 slab,head
    ///
    /// page pfn=0x408, zone DMA of node 0: slab of task_struct: order 3
    ///   physical 408000, direct map ffff888000408000, pageblock Unmovable
    /// > set_context(p); let a = mmap(p, 0, "8K", PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS);
    /// > whatis(a)
    /// 7ffff7ff7000: user virtual address of task 3 (made), in the area 0x7ffff7ff7000-0x7ffff7ff9000 r--p
    ///   no page is there yet
    /// > whatis(0x7f0000000000)
    /// error: cannot determine page for 7f0000000000: no direct map, page structure or physical memory there, and no area of the task looked at; set PID looks at another
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
        let bench = Bench::of(&ctx);
        let desk = bench.borrow();
        super::identify::whatis(&desk.machine, at, desk.context)
    }
}
