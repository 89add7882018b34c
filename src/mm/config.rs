//! What a machine is made of before it boots: the hand-over from firmware, boot loader and evidence.
//!
//! Gorman chapter 2. Kernel: `mm/mm_init.c`, `arch/*/mm/init.c`, `mm/memblock.c`.
//! Fidelity: faithful — spans, holes, managed pages, distances. Imported — occupancy: free blocks, pageblock types,
//! per-CPU counts, owners. Computed by `boot` — watermarks, lowmem_reserve, per-CPU high and batch.

mod arch;
mod kinds;
mod release;

pub use arch::Arch;
pub use kinds::{MigrateType, ThpMode, ZoneType};
pub use release::Release;

use crate::mm::addr::{Nid, Order};
use crate::mm::mm_init::Core;
use crate::mm::slab_common::{Allocator, SlabFlags};
use crate::mm::tlb::model::TlbSpec;
use crate::mm::vmalloc::AreaFlags;
use crate::mm::vmstat::NumaStat;

/// Free blocks of one migratetype: how many of each order.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FreeBlocks {
    /// Blocks of each order, order 0 first.
    pub blocks: [u64; Order::COUNT],
}

impl FreeBlocks {
    /// Pages in these blocks.
    pub fn pages(&self) -> u64 {
        self.blocks.iter().enumerate().map(|(order, n)| n << order).sum()
    }
}

/// Watermarks, protection and per-CPU sizes as a bare zoneinfo shows them: taken as they are, not computed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Shown {
    /// `boost`, in pages.
    pub boost: u64,
    /// `min`, in pages, without the boost.
    pub min: u64,
    /// `low`, in pages, without the boost.
    pub low: u64,
    /// `high`, in pages, without the boost.
    pub high: u64,
    /// `protection`, one number for each zone of the node.
    pub protection: Vec<u64>,
    /// `reserved_highatomic` of a report, in pages; other evidence does not show it.
    pub highatomic: u64,
    /// `numa_hit` and what follows it: where requests were satisfied until then.
    pub numa: [u64; NumaStat::COUNT],
    /// `high` of the per-CPU lists.
    pub pcp_high: u64,
    /// `batch` of the per-CPU lists.
    pub pcp_batch: u64,
}

/// Pages of a zone on the lists of reclaim, and locked ones.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LruPages {
    /// `nr_zone_inactive_anon`.
    pub inactive_anon: u64,
    /// `nr_zone_active_anon`.
    pub active_anon: u64,
    /// `nr_zone_inactive_file`.
    pub inactive_file: u64,
    /// `nr_zone_active_file`.
    pub active_file: u64,
    /// `nr_zone_unevictable`.
    pub unevictable: u64,
    /// `nr_mlock`.
    pub mlock: u64,
}

impl LruPages {
    /// All pages on these lists; locked ones are among the unevictable.
    pub fn total(&self) -> u64 {
        self.inactive_anon + self.active_anon + self.inactive_file + self.active_file + self.unevictable
    }
}

/// A zone before boot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ZoneConfig {
    /// Which zone.
    pub kind: ZoneType,
    /// First frame of the span.
    pub start_pfn: u64,
    /// Frames from the first to the last, holes included.
    pub spanned: u64,
    /// Frames that exist.
    pub present: u64,
    /// Frames the buddy allocator was given, late-freed ones included.
    pub managed: u64,
    /// Ranges of the span without memory: first frame and length.
    pub holes: Vec<(u64, u64)>,
    /// Free blocks by migratetype, indexed as [`MigrateType::ALL`].
    pub free: [FreeBlocks; MigrateType::COUNT],
    /// Pageblocks (of `Config::pageblock_order`) by migratetype; all zero when not known (then all are Movable).
    pub pageblocks: [u64; MigrateType::COUNT],
    /// Pages on the per-CPU lists, CPU 0 first; shorter than the machine's CPUs means zero.
    pub pcp: Vec<u64>,
    /// Pages on the lists of reclaim.
    pub lru: LruPages,
    /// Frames set aside for CMA (`cma` of zoneinfo).
    pub cma: u64,
    /// What a bare zoneinfo showed; `None` lets `boot` compute it.
    pub shown: Option<Shown>,
}

impl ZoneConfig {
    /// A zone without a page.
    pub fn empty(kind: ZoneType) -> ZoneConfig {
        ZoneConfig {
            kind,
            start_pfn: 0,
            spanned: 0,
            present: 0,
            managed: 0,
            holes: Vec::new(),
            free: [FreeBlocks::default(); MigrateType::COUNT],
            pageblocks: [0; MigrateType::COUNT],
            pcp: Vec::new(),
            lru: LruPages::default(),
            cma: 0,
            shown: None,
        }
    }

    /// Free pages of all migratetypes.
    pub fn free_pages(&self) -> u64 {
        self.free.iter().map(FreeBlocks::pages).sum()
    }
}

/// Pages of a node by owner, as the node's statistics count them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Owners {
    /// `nr_slab_reclaimable`.
    pub slab_reclaimable: u64,
    /// `nr_slab_unreclaimable`.
    pub slab_unreclaimable: u64,
    /// `nr_page_table_pages`.
    pub page_tables: u64,
    /// `nr_kernel_stack`, in kB.
    pub kernel_stack_kb: u64,
    /// `nr_file_pages`.
    pub file: u64,
    /// `nr_anon_pages`.
    pub anon: u64,
    /// `nr_mapped`.
    pub mapped: u64,
    /// `nr_shmem`.
    pub shmem: u64,
    /// `nr_dirty`.
    pub dirty: u64,
    /// `nr_swapcached`.
    pub swapcached: u64,
}

/// A NUMA node before boot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeConfig {
    /// The node's number; numbers may have gaps.
    pub nid: Nid,
    /// Numbers of its CPUs; a node may have none.
    pub cpus: Vec<u16>,
    /// Distance to each node, in the order of `Config::nodes`; 10 is local.
    pub distances: Vec<u8>,
    /// One entry for each zone of the architecture, low to high, empty ones too.
    pub zones: Vec<ZoneConfig>,
    /// Pages by owner.
    pub owners: Owners,
}

/// Memory handed to the buddy allocator after watermarks were computed: `Freeing ... memory` lines of the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LateFreed {
    /// What was freed: `initrd`, `unused kernel image (initmem)`.
    pub what: String,
    /// The node it lies on.
    pub node: Nid,
    /// The zone it lies in.
    pub zone: ZoneType,
    /// Pages.
    pub pages: u64,
}

/// A swap area that is there from boot on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SwapConfig {
    /// The device or file: `/dev/vda`.
    pub name: String,
    /// Usable slots, the header not counted.
    pub pages: u64,
    /// Priority; `None` lets swapon choose -2, -3, …
    pub priority: Option<i16>,
}

/// A slab cache that is there after boot, as /proc/slabinfo and /sys/kernel/slab show it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CacheConfig {
    /// Its name, and those of the caches merged into it.
    pub names: Vec<String>,
    /// Bytes of an object.
    pub object_size: u32,
    /// Bytes from one object to the next.
    pub size: u32,
    /// What addresses of objects are multiples of.
    pub align: u32,
    /// Accounting and DMA; `SLAB_TYPESAFE_BY_RCU` stands for whatever keeps it from being merged.
    pub flags: SlabFlags,
    /// Objects that are not free on a node's partial list.
    pub active: u64,
    /// Objects of all slabs.
    pub total: u64,
}

/// An area of vmalloc that is there after boot, as /proc/vmallocinfo shows it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct VmAreaConfig {
    /// Bytes, with the guard page.
    pub size: u64,
    /// Who made it: `kernel_clone+0xbf/0x430`.
    pub caller: String,
    /// What kind it is.
    pub flags: AreaFlags,
    /// Pages of its own.
    pub pages: u64,
    /// On which nodes they lie; a kernel without NUMA does not tell.
    pub nodes: Vec<(Nid, u64)>,
    /// What it maps, when that is one range of physical addresses.
    pub phys: Option<u64>,
    /// The array of its pages has an area of its own.
    pub vpages: bool,
}

/// How much virtual time things take, in nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Costs {
    /// Entering the kernel and leaving it: a fault or a system call.
    pub trap: u64,
    /// The work of a minor fault beside its allocation.
    pub minor_fault: u64,
    /// The allocator's fast path.
    pub alloc: u64,
    /// Filling a page with zeros.
    pub clear_page: u64,
    /// Copying a page.
    pub copy_page: u64,
    /// Looking at one page during reclaim.
    pub scan_page: u64,
    /// Reading one page from the swap device or a disk.
    pub disk_read: u64,
    /// Writing one page to the swap device or a disk.
    pub disk_write: u64,
    /// Moving one page in compaction or migration.
    pub migrate_page: u64,
    /// A kernel thread's share of a CPU that the foreground also wants, in percent.
    pub kthread_share: u64,
}

impl Default for Costs {
    fn default() -> Costs {
        Costs {
            trap: 500,
            minor_fault: 500,
            alloc: 100,
            clear_page: 100,
            copy_page: 200,
            scan_page: 200,
            disk_read: 800,
            disk_write: 300,
            migrate_page: 1_000,
            kthread_share: 22,
        }
    }
}

/// The kernel's image, as the boot log and iomem show it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct KernelImage {
    /// Its first frame.
    pub start_pfn: u64,
    /// The frame after its last.
    pub end_pfn: u64,
    /// Instructions, in kB.
    pub code: u64,
    /// Data that is written, in kB.
    pub rwdata: u64,
    /// Constants, in kB.
    pub rodata: u64,
    /// Freed at the end of the boot, in kB.
    pub init: u64,
    /// Data that begins as zeros, in kB.
    pub bss: u64,
}

/// What the boot allocator is told before anybody allocates.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct EarlyMemory {
    /// The kernel's image, when it is known.
    pub image: Option<KernelImage>,
    /// The initial RAM disk: first frame, and the one after the last.
    pub ramdisk: Option<(u64, u64)>,
    /// Pages freed before the watermarks were computed: `Freeing SMP alternatives memory`.
    pub alternatives: u64,
}

/// Where a boot is stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    /// While memblock is the only allocator.
    Memblock,
}

/// Everything `Machine::boot` needs: nodes, tunables, seed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// The machine's name: `x86_64-256M`.
    pub name: String,
    /// The architecture profile.
    pub arch: Arch,
    /// x86_64 with a fifth level of page tables (`la57`).
    pub la57: bool,
    /// The kernel whose rules and formats apply: `6.1`.
    pub kernel: Release,
    /// Nodes in the order of their numbers.
    pub nodes: Vec<NodeConfig>,
    /// The order of a pageblock: `Page block order` of pagetypeinfo.
    pub pageblock_order: Order,
    /// Built with `CONFIG_CMA`: there are counters of it, and movable pages may use what is free there.
    pub cma: bool,
    /// Built with transparent huge pages, and the mode at boot.
    pub thp: Option<ThpMode>,
    /// Freed after the watermarks were computed, in the order of the log.
    pub late_freed: Vec<LateFreed>,
    /// The kernel's command line: `page_owner=on page_poison=1`.
    pub cmdline: String,
    /// Sysctls of the spec, written in this order after boot; the three values that reading shows come first.
    pub sysctl: Vec<(String, String)>,
    /// Swap areas switched on after boot.
    pub swap: Vec<SwapConfig>,
    /// Nanoseconds of each thing that takes time.
    pub costs: Costs,
    /// Sizes of a CPU's TLB, and what it spares.
    pub tlb: TlbSpec,
    /// Lines of /proc/iomem, shown as they were captured.
    pub iomem: Vec<String>,
    /// What the importer had to infer, one sentence each.
    pub inferred: Vec<String>,
    /// What the evidence tells about its moment, line by line: `explain` shows it until something is allocated.
    pub account: Vec<String>,
    /// Seed of the machine's dice.
    pub seed: u64,
    /// Makes the n-th page allocation fail (anomaly tests).
    pub fail_nth: Option<u64>,
    /// The image, the RAM disk, what was freed early.
    pub early: EarlyMemory,
    /// What the command line says about `ZONE_MOVABLE`.
    pub core: Core,
    /// Print what memblock does (`memblock=debug`).
    pub memblock_debug: bool,
    /// Where the boot is stopped, if anywhere.
    pub stop: Option<Stop>,
    /// The allocator behind slab caches.
    pub slab: Allocator,
    /// Caches that are there after boot, in the order of their creation.
    pub caches: Vec<CacheConfig>,
    /// Areas of vmalloc that are there after boot, in the order of their addresses.
    pub vmalloc: Vec<VmAreaConfig>,
}

impl Config {
    /// A machine without a node: the start of every spec.
    pub fn new(name: impl Into<String>, arch: Arch) -> Config {
        Config {
            name: name.into(),
            arch,
            la57: false,
            kernel: "6.1".into(),
            nodes: Vec::new(),
            pageblock_order: arch.pageblock_order(),
            cma: arch.has_cma(),
            thp: None,
            late_freed: Vec::new(),
            cmdline: String::new(),
            sysctl: Vec::new(),
            swap: Vec::new(),
            costs: Costs::default(),
            tlb: TlbSpec::default(),
            iomem: Vec::new(),
            inferred: Vec::new(),
            account: Vec::new(),
            seed: 1,
            fail_nth: None,
            early: EarlyMemory::default(),
            core: Core::default(),
            memblock_debug: false,
            stop: None,
            slab: Allocator::default(),
            caches: Vec::new(),
            vmalloc: Vec::new(),
        }
    }

    /// Is the kernel whose rules apply this one or a newer one?
    #[inline]
    pub fn kernel_since(&self, major: u32, minor: u32) -> bool {
        self.kernel.since(major, minor)
    }

    /// CPUs of all nodes.
    pub fn nr_cpus(&self) -> usize {
        self.nodes.iter().map(|n| n.cpus.len()).sum()
    }

    /// Frames that exist on all nodes.
    pub fn present_pages(&self) -> u64 {
        self.nodes.iter().flat_map(|n| &n.zones).map(|z| z.present).sum()
    }
}
