//! The machine: one owner of all state.
//!
//! Kernel: `init/main.c`, `kernel/printk/printk.c`.
//! Fidelity: simplified — one clock, one foreground; kernel threads run at known points. No state lives elsewhere.

mod contents;
mod current;
mod dice;
mod fail_nth;

pub use contents::{Contents, Serials};
pub use current::{Comm, Current, SCRIPT_PID};
pub use dice::Dice;

use crate::mm::addr::{Cpu, Nid, Pfn};
use crate::mm::bounce::Bounce;
use crate::mm::config::{Config, ThpMode, ZoneType};
use crate::mm::dcache::Dcache;
use crate::mm::fs::{File, Fs};
use crate::mm::highmem::Highmem;
use crate::mm::kernel_caches::{KernelCache, KernelObjects};
use crate::mm::memblock::Memblock;
use crate::mm::mempool::Mempool;
use crate::mm::mmzone::{Node, Pageblocks, Zone};
use crate::mm::oom_kill::OomRecord;
use crate::mm::page::MemMap;
use crate::mm::page_alloc::Lane;
use crate::mm::page_owner::PageOwners;
use crate::mm::page_poison::PagePoison;
use crate::mm::percpu::Percpu;
use crate::mm::pgtable::{Tables, UpperId};
use crate::mm::pid::PidTable;
use crate::mm::printk::Ratelimits;
use crate::mm::refused::Refused;
use crate::mm::rmap::AnonVma;
use crate::mm::shm::Shm;
use crate::mm::slab_common::CacheId;
use crate::mm::slab_common::Caches;
use crate::mm::slots::Slots;
use crate::mm::stack::Stacks;
use crate::mm::swapfile::{Io, SwapArea};
use crate::mm::sysctl::Sysctl;
use crate::mm::task::{Mm, Pid};
use crate::mm::tlb::Tlb;
use crate::mm::trace::{AllocRecord, Event, FaultRecord, Stamped, Trace};
use crate::mm::va_layout::Layout;
use crate::mm::vma::{MappedFile, Vma};
use crate::mm::vmalloc::{VmallocFault, VmapAreas};
use crate::mm::vmscan::shrink_slab::Shrinker;
use crate::mm::vmstat::{NodeStat, VmEvent, Vmstat, ZoneEvent};
use std::collections::VecDeque;
use std::rc::Rc;

/// Lines the kernel log keeps.
const LOG_LINES: usize = 1 << 16;

/// A line of the kernel log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogLine {
    /// Virtual time in nanoseconds.
    pub at: u64,
    /// The text.
    pub text: String,
}

/// A simulated machine: owns everything, passed explicitly.
#[derive(Clone)]
pub struct Machine {
    /// What was booted.
    pub config: Config,
    /// Every page descriptor.
    pub mem_map: MemMap,
    /// The type of every pageblock.
    pub pageblocks: Pageblocks,
    /// NUMA nodes, in the order of their numbers.
    pub nodes: Vec<Node>,
    /// Zones of all nodes, low to high within each.
    pub zones: Vec<Zone>,
    /// Tunables.
    pub sysctl: Sysctl,
    /// The present mode of transparent huge pages.
    pub thp: ThpMode,
    /// Pages user space can never count on.
    pub totalreserve_pages: u64,
    /// Event counters.
    pub vmstat: Vmstat,
    /// Events.
    pub trace: Trace,
    /// The last allocation; read it with [`Machine::last_alloc`].
    pub(crate) last_alloc: AllocRecord,
    /// The way that the last request's mask takes.
    pub(crate) lane: Lane,
    /// Virtual time in nanoseconds since boot.
    pub clock: u64,
    /// The CPU on which the foreground runs.
    pub cpu: Cpu,
    /// The index of that CPU's node.
    pub(crate) home: usize,
    /// Who runs.
    pub current: Current,
    /// The only source of randomness.
    pub dice: Dice,
    /// Slab caches.
    pub caches: Caches,
    /// What was written into pages.
    pub contents: Contents,
    /// Which page handles are alive.
    pub serials: Serials,
    /// Where kernel and user memory lie in virtual addresses.
    pub layout: Layout,
    /// Page tables of all address spaces.
    pub tables: Tables,
    /// The kernel's own top table (`init_mm.pgd`, `swapper_pg_dir`).
    pub init_mm: UpperId,
    /// Areas of vmalloc.
    pub vmalloc: VmapAreas,
    /// New entries of the kernel's PGD are copied to every process at once, as from 5.8 on (i386).
    pub sync_kernel_mappings: bool,
    /// The last fault on a kernel address that a process had no entry for.
    pub last_vmalloc_fault: Option<VmallocFault>,
    /// How many of them there were.
    pub nr_vmalloc_faults: u64,
    /// Mappings of frames that the direct map does not reach.
    pub highmem: Highmem,
    /// Areas of all address spaces.
    pub vmas: Slots<Vma>,
    /// What ties anonymous pages to areas.
    pub anon_vmas: Slots<AnonVma>,
    /// Address spaces.
    pub mms: Slots<Mm>,
    /// Tasks by pid, dead ones too.
    pub tasks: PidTable,
    /// Files, with the pages of each.
    pub files: Slots<File>,
    /// What is mounted, and the names of files.
    pub fs: Fs,
    /// Segments of System V shared memory.
    pub shm: Shm,
    /// Swap areas.
    pub swap: Vec<SwapArea>,
    /// Kernel stacks of tasks.
    pub stacks: Stacks,
    /// Reserves for those who must not fail.
    pub mempools: Slots<Mempool>,
    /// Names that were looked up, and their inodes.
    pub dcache: Dcache,
    /// Caches that can be shrunk.
    pub shrinkers: Vec<Shrinker>,
    /// Caches of the kernel's own objects, by [`KernelCache`].
    pub(crate) kernel_caches: [Option<CacheId>; KernelCache::COUNT],
    /// Which of their objects belong to which task and address space.
    pub objects: KernelObjects,
    /// One copy of a variable for every CPU.
    pub percpu: Percpu,
    /// Recent translations of each CPU.
    pub tlbs: Vec<Tlb>,
    /// The frame of zeros.
    pub zero_pfn: Pfn,
    /// The huge page of zeros, once somebody wanted it.
    pub(crate) huge_zero: Option<Pfn>,
    /// Pages promised to processes (`Committed_AS`).
    pub committed_as: u64,
    /// The last fault.
    pub last_fault: FaultRecord,
    /// Every run of the OOM killer.
    pub ooms: Vec<OomRecord>,
    /// What the last refused call about an address space was refused for, until somebody asks.
    pub refused: Option<Refused>,
    /// Reasons to doubt what the kernel says, a bit each (`tainted_mask`); /proc/sys/kernel/tainted.
    pub tainted: u64,
    /// The kernel's last words, after a panic.
    pub panicked: Option<String>,
    /// The boot allocator; after the hand-over, what it was.
    pub memblock: Memblock,
    /// The next step of the boot, while memblock is the only allocator.
    pub(crate) early: Option<u8>,
    /// What was booted, when `config` no longer says it.
    pub(crate) origin: Option<Rc<Config>>,
    /// The address whose fault is being handled.
    pub(crate) faulting: Option<u64>,
    /// Tasks that have not ended (`nr_threads`).
    pub(crate) nr_threads: u64,
    pub(crate) next_pid: Pid,
    pub(crate) next_ctx_id: u64,
    pub(crate) next_tag: u16,
    /// Files that areas have by name.
    pub mapped_files: Vec<MappedFile>,
    /// `kernel.randomize_va_space`: 0 lays every program out alike, 2 is what distributions set.
    pub randomize_va_space: u64,
    pub(crate) swap_turn: u32,
    pub(crate) io: VecDeque<Io>,
    pub(crate) device_free_at: u64,
    /// What the device does not reach.
    pub bounce: Bounce,
    /// When the device or a kernel thread has something to do next, in nanoseconds; 0 while one of them is busy.
    pub(crate) alarm: u64,
    pub(crate) in_background: bool,
    /// The running CPU was lazy when kernel threads elsewhere got their time.
    pub(crate) background_lazy: bool,
    /// Pages that wait on this CPU for the list of what may be dropped (`lru_lazyfree`).
    pub(crate) lazyfree: Vec<Pfn>,
    /// Room for isolated pages, kept to spare allocations.
    pub(crate) isolated: Vec<Pfn>,
    pub(crate) log: VecDeque<LogLine>,
    pub(crate) ratelimits: Ratelimits,
    /// Order > 0 is reclaimed as 2.6 did: neighbours of a victim go with it, and nothing is compacted.
    pub lumpy_reclaim: bool,
    /// Who allocated each page.
    pub page_owner: PageOwners,
    /// The pattern in freed pages.
    pub page_poison: PagePoison,
    /// A script wrote into a page that was free.
    pub(crate) stray_writes: bool,
    /// One of the three wants to see every page that is allocated or freed.
    pub(crate) debug_pages: bool,
    /// Page allocations until one is made to fail.
    pub(crate) fail_in: Option<u64>,
    /// How many in a row are, from that one on.
    pub(crate) fail_times: u64,
}

impl Machine {
    /// The index of a node.
    pub fn node_index(&self, nid: Nid) -> Option<usize> {
        self.nodes.iter().position(|n| n.nid == nid)
    }

    /// The index of the node of the running CPU.
    #[inline]
    pub fn cpu_node(&self) -> usize {
        debug_assert_eq!(Some(self.home), self.node_of(self.cpu), "the CPU was changed without set_cpu");
        self.home
    }

    /// The index of the node a CPU belongs to.
    pub fn node_of(&self, cpu: Cpu) -> Option<usize> {
        self.nodes.iter().position(|n| n.cpus.contains(&cpu.0))
    }

    /// The index of the nearest node with memory (`numa_mem_id`).
    #[inline]
    pub fn mem_node(&self) -> usize {
        self.cpu_node()
    }

    /// Chooses the CPU on which the foreground goes on; `None` when there is no such CPU.
    pub fn set_cpu(&mut self, cpu: u16) -> Option<()> {
        self.home = self.node_of(Cpu(cpu))?;
        self.close_lane();
        self.cpu = Cpu(cpu);
        Some(())
    }

    /// Records an event; the only door for events.
    pub fn emit(&mut self, event: Event) {
        let stamped = Stamped {
            at: self.clock,
            cpu: self.cpu.0,
            pid: self.current.pid,
            comm: self.current.comm,
            irq: self.current.in_interrupt,
            event,
        };
        self.trace.push(stamped);
    }

    /// Writes a line to the kernel log.
    pub fn printk(&mut self, text: impl Into<String>) {
        if self.log.len() == LOG_LINES {
            self.log.pop_front();
        }
        self.log.push_back(LogLine { at: self.clock, text: text.into() });
    }

    /// The kernel log, oldest line first.
    pub fn log(&self) -> impl DoubleEndedIterator<Item = &LogLine> + ExactSizeIterator {
        self.log.iter()
    }

    /// Sum of a node counter over all nodes.
    pub fn node_stat(&self, item: NodeStat) -> u64 {
        self.nodes.iter().map(|n| n.stat(item)).sum()
    }

    /// Pages given to the buddy allocator (`totalram_pages`).
    pub fn totalram_pages(&self) -> u64 {
        self.zones.iter().map(|z| z.managed_pages).sum()
    }

    /// Free pages of all zones.
    pub fn nr_free_pages(&self) -> u64 {
        self.zones.iter().map(Zone::free_pages).sum()
    }

    /// Free pages of all zones and those on per-CPU lists.
    pub fn nr_free_and_pcp_pages(&self) -> u64 {
        self.zones.iter().map(|z| z.free_pages() + z.pcp_pages()).sum()
    }

    /// Numbers of the nodes with memory, as the kernel prints a node mask: `0-1,3`.
    pub fn mems_allowed(&self) -> String {
        let nids: Vec<u8> = self.nodes.iter().filter(|n| self.node_has_memory(n)).map(|n| n.nid.0).collect();
        range_list(&nids)
    }

    /// True when a zone of the node has memory.
    pub fn node_has_memory(&self, node: &Node) -> bool {
        node.zones.iter().any(|z| self.zones[z.index()].is_populated())
    }

    /// Marks the page as held by a script, and answers its serial.
    pub fn watch_page(&mut self, pfn: Pfn) -> u32 {
        self.mem_map.page_mut(pfn).watch();
        self.serials.watch(pfn)
    }

    /// Records events of the hot paths too, or no longer.
    pub fn record_hot_events(&mut self, on: bool) {
        self.trace.hot = on;
        self.close_lane();
    }

    /// A copy that shares every section of memory until one side writes.
    pub fn snapshot(&mut self) -> Machine {
        let mem_map = self.mem_map.snapshot();
        let tables = self.tables.snapshot();
        self.caches.share();
        // The sections are shared already: cloning the rest copies no page.
        let mut copy = self.clone();
        (copy.mem_map, copy.tables) = (mem_map, tables);
        copy
    }

    /// Goes back to a snapshot; serials of page handles do not go back.
    pub fn restore(&mut self, snapshot: &Machine) {
        let next = self.serials.next;
        // An interrupt handler that goes back is still one.
        let in_interrupt = self.current.in_interrupt;
        *self = snapshot.clone();
        self.serials.next = next.max(self.serials.next);
        self.current.in_interrupt = in_interrupt;
    }

    /// How often something happened in zones of a kind.
    pub fn zone_event(&self, event: ZoneEvent, kind: ZoneType) -> u64 {
        let singles =
            self.zones.iter().filter(|z| event == ZoneEvent::Pgalloc && z.kind == kind).map(|z| z.singles);
        self.vmstat.get_zone(event, kind) + singles.sum::<u64>()
    }

    /// A vmstat event by its name in /proc/vmstat.
    pub fn vm_event(&self, name: &str) -> Option<u64> {
        VmEvent::ALL.iter().find(|e| e.name() == name).map(|e| self.vmstat.get(*e))
    }
}

/// Prints ascending numbers as the kernel does: `0-2,5`.
pub fn range_list(numbers: &[u8]) -> String {
    let mut text = String::new();
    let mut at = 0;
    while at < numbers.len() {
        let mut end = at;
        while end + 1 < numbers.len() && numbers[end + 1] == numbers[end] + 1 {
            end += 1;
        }
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(&numbers[at].to_string());
        if end > at {
            text.push_str(&format!("-{}", numbers[end]));
        }
        at = end + 1;
    }
    text
}
