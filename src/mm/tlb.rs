//! The translation lookaside buffer: which address space each CPU has loaded, and who must forget what, when.
//!
//! ```text
//!   CPU      task    loaded mm    PCID   slots: address space @ generation      a CPU keeps six address spaces apart
//!   0        shell   #3           1      #3@7  #4@2  …
//!   1        (idle)  #3, lazy     0      #3@5        ◄── behind: flushed when it runs #3 again, not before
//!
//!   mm #3    generation 7, CPUs 0-1                  every flush adds one
//! ```
//!
//! Gorman 3.8. Kernel: `arch/x86/mm/tlb.c`.
//! Fidelity: faithful — six dynamic PCIDs, generations, lazy mode, whom a flush interrupts, the ceiling of 33 pages,
//! reasons. Simplified — every architecture flushes as x86 does; 32-bit x86 has no PCIDs. Ours — next to the model
//! stands a table of recent walks that spares the simulator most of them; it is kept exact by the same flushes.

pub mod model;
mod soft;

use crate::mm::addr::{Cpu, PAGE_SHIFT, PAGE_SIZE, VirtAddr};
use crate::mm::machine::{Comm, Current, Machine};
use crate::mm::task::{MmId, Pid};
use crate::mm::trace::Event;
use model::Model;
use soft::Soft;
use std::fmt;

/// PCIDs that a CPU hands out in turn (`TLB_NR_DYN_ASIDS`).
pub const NR_DYN_ASIDS: usize = 6;
/// More pages than these are not flushed one by one (`tlb_single_page_flush_ceiling`).
pub const SINGLE_PAGE_FLUSH_CEILING: u64 = 33;
/// Number of the kernel's own address space, which a CPU loads when it has no other (`init_mm`).
const INIT_CONTEXT: u64 = 1;

/// Why a TLB was flushed (`enum tlb_flush_reason`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FlushReason {
    /// Another address space was loaded.
    TaskSwitch,
    /// Another CPU asked for it.
    RemoteShootdown,
    /// A batch of this CPU.
    LocalShootdown,
    /// This CPU changed the address space that it runs.
    LocalMmShootdown,
    /// This CPU asked others.
    RemoteSendIpi,
}

impl FlushReason {
    /// The number and the words that the tracepoint prints.
    pub fn symbol(self) -> (u8, &'static str) {
        match self {
            FlushReason::TaskSwitch => (0, "flush on task switch"),
            FlushReason::RemoteShootdown => (1, "remote shootdown"),
            FlushReason::LocalShootdown => (2, "local shootdown"),
            FlushReason::LocalMmShootdown => (3, "local MM shootdown"),
            FlushReason::RemoteSendIpi => (4, "remote IPI send"),
        }
    }
}

impl fmt::Display for FlushReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (number, words) = self.symbol();
        write!(f, "{words} ({number})")
    }
}

/// What the TLBs know of an address space (`mm_context_t`, `mm_cpumask`).
#[derive(Clone, Debug, Default)]
pub struct MmContext {
    /// A number that no other address space ever has.
    pub ctx_id: u64,
    /// Flushes so far.
    pub tlb_gen: u64,
    /// CPUs that have it loaded, ascending (`mm_cpumask`).
    pub cpumask: Vec<u16>,
    /// Its tag in the simulator's own tables.
    pub(crate) tag: u16,
}

/// An address space that a CPU has a PCID for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Slot {
    /// Which one; 0 for none.
    pub ctx_id: u64,
    /// Its generation when this CPU flushed last.
    pub tlb_gen: u64,
}

/// What happened to a CPU's TLB.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FlushCounters {
    /// Address spaces loaded.
    pub switches: u64,
    /// Flushes of all that belongs to an address space (`nr_tlb_local_flush_all`).
    pub local_all: u64,
    /// Single pages flushed (`nr_tlb_local_flush_one`).
    pub local_one: u64,
    /// Times it interrupted other CPUs (`nr_tlb_remote_flush`).
    pub remote: u64,
    /// Times it was interrupted (`nr_tlb_remote_flush_received`).
    pub received: u64,
    /// Flushes it was spared because it was lazy.
    pub lazy_spared: u64,
}

/// One CPU's TLB (`struct tlb_state`).
#[derive(Clone, Debug)]
pub struct Tlb {
    /// The user task that the CPU runs, or ran last before the script came to it; 0 when it idles.
    pub task: Pid,
    /// The task that may go on here without a look at anything below; 0 when one must look.
    pub(crate) ready: Pid,
    /// The address space loaded; `None` is the kernel's own.
    pub loaded: Option<MmId>,
    /// The PCID loaded.
    pub asid: usize,
    next_asid: usize,
    /// Address spaces by PCID.
    pub slots: [Slot; NR_DYN_ASIDS],
    /// What happened so far.
    pub count: FlushCounters,
    /// The processor's TLB, when it is modelled.
    pub model: Option<Box<Model>>,
    soft: Soft,
}

impl Default for Tlb {
    fn default() -> Tlb {
        let mut slots = [Slot::default(); NR_DYN_ASIDS];
        slots[0].ctx_id = INIT_CONTEXT;
        Tlb {
            task: 0,
            ready: 0,
            loaded: None,
            asid: 0,
            next_asid: 1,
            slots,
            count: FlushCounters::default(),
            model: None,
            soft: Soft::default(),
        }
    }
}

impl Tlb {
    /// True when the access needs no walk.
    #[inline]
    pub(crate) fn hit(&mut self, tag: u16, addr: VirtAddr, write: bool) -> bool {
        self.soft.hit(tag, addr, write)
    }

    /// Remembers a walk.
    #[inline]
    pub(crate) fn fill(&mut self, tag: u16, addr: VirtAddr, write: bool) {
        self.soft.fill(tag, addr, write);
    }

    /// A PCID for an address space, and whether its old entries must go (`choose_new_asid`).
    fn choose_new_asid(&mut self, pcid: bool, ctx_id: u64, tlb_gen: u64) -> (usize, bool) {
        if !pcid {
            return (0, true);
        }
        if let Some(asid) = self.slots.iter().position(|slot| slot.ctx_id == ctx_id) {
            return (asid, self.slots[asid].tlb_gen < tlb_gen);
        }
        let mut asid = self.next_asid;
        self.next_asid += 1;
        if asid >= NR_DYN_ASIDS {
            asid = 0;
            self.next_asid = 1;
        }
        (asid, true)
    }
}

impl Machine {
    /// Names of an address space that nobody had before.
    pub(crate) fn new_context(&mut self) -> MmContext {
        self.next_ctx_id += 1;
        MmContext { ctx_id: INIT_CONTEXT + self.next_ctx_id, tag: self.new_tag(), ..MmContext::default() }
    }

    /// A tag that no remembered walk carries.
    fn new_tag(&mut self) -> u16 {
        if self.next_tag == u16::MAX {
            // All are used: everybody forgets everything, and every address space gets one of the first.
            for tlb in &mut self.tlbs {
                tlb.soft.flush();
            }
            let mms: Vec<MmId> = self.mms.iter().map(|(id, _)| id).collect();
            self.next_tag = 0;
            for mm in mms {
                self.next_tag += 1;
                self.mms[mm].context.tag = self.next_tag;
            }
        }
        self.next_tag += 1;
        self.next_tag
    }

    /// Does the kernel itself run on this CPU, or nobody? Then it needs no user address space at once.
    pub fn is_lazy(&self, cpu: u16) -> bool {
        let task = self.tlbs[usize::from(cpu)].task;
        if cpu != self.cpu.0 {
            task == 0
        } else if self.in_background {
            self.background_lazy
        } else {
            task == 0 || self.current.pid != task
        }
    }

    /// Loads an address space on a CPU; `None` is the kernel's own (`switch_mm_irqs_off`).
    pub(crate) fn switch_mm(&mut self, cpu: u16, next: Option<MmId>) {
        let pcid = self.config.arch.has_pcid();
        let (ctx_id, tlb_gen) =
            next.map_or((INIT_CONTEXT, 0), |mm| (self.mms[mm].context.ctx_id, self.mms[mm].context.tlb_gen));
        let at = usize::from(cpu);
        let prev = self.tlbs[at].loaded;
        let (asid, flush) = if prev == next {
            let asid = self.tlbs[at].asid;
            // A CPU that stayed lazy missed the flushes that others made meanwhile.
            if self.tlbs[at].slots[asid].tlb_gen == tlb_gen {
                return;
            }
            (asid, true)
        } else {
            if let Some(prev) = prev {
                self.mms[prev].context.cpumask.retain(|c| *c != cpu);
            }
            if let Some(next) = next {
                let mask = &mut self.mms[next].context.cpumask;
                if let Err(place) = mask.binary_search(&cpu) {
                    mask.insert(place, cpu);
                }
            }
            self.tlbs[at].count.switches += 1;
            self.tlbs[at].choose_new_asid(pcid, ctx_id, tlb_gen)
        };
        let tlb = &mut self.tlbs[at];
        (tlb.loaded, tlb.asid) = (next, asid);
        if flush {
            tlb.slots[asid] = Slot { ctx_id, tlb_gen };
            if let Some(model) = &mut tlb.model {
                model.flush_asid(asid, pcid);
            }
        }
        self.trace_tlb_flush(cpu, FlushReason::TaskSwitch, if flush { None } else { Some(0) });
    }

    /// Forgets one page's translation (`flush_tlb_page`).
    #[inline]
    pub(crate) fn flush_tlb_page(&mut self, mm: MmId, addr: VirtAddr) {
        let page = addr.page().0;
        self.flush_tlb_range(mm, page, page + PAGE_SIZE, false);
    }

    /// Forgets all translations of an address space (`flush_tlb_mm`).
    pub(crate) fn flush_tlb_mm(&mut self, mm: MmId) {
        self.flush_tlb_range(mm, 0, u64::MAX, true);
    }

    /// Forgets the translations of a range, on every CPU that may use them (`flush_tlb_mm_range`).
    ///
    /// When page tables are freed, lazy CPUs are interrupted as well: they might walk them.
    pub(crate) fn flush_tlb_range(&mut self, mm: MmId, start: u64, end: u64, freed_tables: bool) {
        let pages = end.saturating_sub(start) >> PAGE_SHIFT;
        let single = (pages <= SINGLE_PAGE_FLUSH_CEILING).then_some(start..end);
        match &single {
            Some(range) => {
                let tag = self.mms[mm].context.tag;
                for addr in range.clone().step_by(PAGE_SIZE as usize) {
                    for tlb in &mut self.tlbs {
                        tlb.soft.flush_page(tag, VirtAddr(addr));
                    }
                }
            }
            // A new tag: what carries the old one is never found again.
            None => self.mms[mm].context.tag = self.new_tag(),
        }
        let context = &mut self.mms[mm].context;
        context.tlb_gen += 1;
        let (me, tlb_gen) = (self.cpu.0, context.tlb_gen);
        let shown = single.as_ref().map(|_| pages);
        if context.cpumask.iter().any(|cpu| *cpu != me) {
            let mask = std::mem::take(&mut context.cpumask);
            self.tlbs[usize::from(me)].count.remote += 1;
            self.trace_tlb_flush(me, FlushReason::RemoteSendIpi, shown);
            self.mms[mm].context.cpumask = mask.clone();
            for cpu in mask {
                if freed_tables || !self.is_lazy(cpu) {
                    self.flush_tlb_func(cpu, mm, single.clone(), tlb_gen);
                } else {
                    self.spare_lazy(cpu);
                }
            }
        } else if context.cpumask.contains(&me) {
            self.flush_tlb_func(me, mm, single, tlb_gen);
        }
    }

    /// A lazy CPU is left alone: it looks at the generations before it runs a user again.
    fn spare_lazy(&mut self, cpu: u16) {
        let tlb = &mut self.tlbs[usize::from(cpu)];
        tlb.count.lazy_spared += 1;
        tlb.ready = 0;
    }

    /// What a CPU does that was asked to flush (`flush_tlb_func`).
    fn flush_tlb_func(&mut self, cpu: u16, mm: MmId, single: Option<std::ops::Range<u64>>, tlb_gen: u64) {
        let (local, lazy) = (cpu == self.cpu.0, self.is_lazy(cpu));
        let pcid = self.config.arch.has_pcid();
        let tlb = &mut self.tlbs[usize::from(cpu)];
        if !local {
            tlb.count.received += 1;
        }
        if tlb.loaded != Some(mm) {
            return;
        }
        if lazy {
            // It does not need the address space: it lets go of it, and is asked no more.
            tlb.ready = 0;
            return self.switch_mm(cpu, None);
        }
        let asid = tlb.asid;
        let slot = &mut tlb.slots[asid];
        if slot.tlb_gen == tlb_gen {
            return;
        }
        let partial = single.filter(|_| slot.tlb_gen + 1 == tlb_gen);
        slot.tlb_gen = tlb_gen;
        let pages = match partial {
            Some(range) => {
                let pages = (range.end - range.start) >> PAGE_SHIFT;
                tlb.count.local_one += pages;
                if let Some(model) = &mut tlb.model {
                    range.step_by(PAGE_SIZE as usize).for_each(|addr| model.flush_page(asid, VirtAddr(addr)));
                }
                Some(pages)
            }
            None => {
                tlb.count.local_all += 1;
                if let Some(model) = &mut tlb.model {
                    model.flush_asid(asid, pcid);
                }
                None
            }
        };
        let reason = if local { FlushReason::LocalMmShootdown } else { FlushReason::RemoteShootdown };
        self.trace_tlb_flush(cpu, reason, pages);
    }

    /// An address space ends: CPUs that borrow it let go of it (`leave_mm`).
    pub(crate) fn leave_mm(&mut self, mm: MmId) {
        for cpu in self.mms[mm].context.cpumask.clone() {
            let tlb = &mut self.tlbs[usize::from(cpu)];
            tlb.ready = 0;
            self.switch_mm(cpu, None);
        }
    }

    /// A flush in the stream of events, as it is seen on a CPU: by the task that runs there; `None` is everything.
    fn trace_tlb_flush(&mut self, cpu: u16, reason: FlushReason, pages: Option<u64>) {
        if !self.trace.hot {
            return;
        }
        let event = Event::TlbFlush { pages, reason };
        if cpu == self.cpu.0 {
            return self.emit(event);
        }
        let pid = self.running_on(cpu).unwrap_or(0);
        let here = std::mem::replace(&mut self.cpu, Cpu(cpu));
        let comm = self.tasks.get(&pid).map_or(Comm::new("<idle>"), |task| task.comm);
        let in_interrupt = reason == FlushReason::RemoteShootdown;
        let there = Current { pid, comm, in_interrupt, ..Current::default() };
        let outer = std::mem::replace(&mut self.current, there);
        self.emit(event);
        (self.cpu, self.current) = (here, outer);
    }
}

impl Machine {
    /// Models the processor's TLB from now on, or no longer; it starts empty.
    pub fn model_tlb(&mut self, on: bool) {
        let spec = self.config.tlb;
        for tlb in &mut self.tlbs {
            tlb.soft.flush();
            tlb.model = on.then(|| Box::new(Model::new(&spec)));
        }
    }
}
