//! What happens when no zone is above its low watermark: wake, compact, reclaim, retry, kill, or give up.
//!
//! Gorman 6.2, 10.6. Kernel: `mm/page_alloc.c` (`__alloc_pages_slowpath` and what it calls).
//! Fidelity: faithful — order of the steps, flags that end them, reserves, priorities of compaction.
//! Simplified — where the kernel would try for ever (`__GFP_NOFAIL`, no `__GFP_FS`), the request fails after a bounded
//! number of rounds and says so. Absent — the cpuset and cgroup retries, the warnings about masks that make no sense.

use crate::mm::addr::{Order, Pfn, ZoneId};
use crate::mm::compaction::{CompactResult, Priority};
use crate::mm::config::{MigrateType, ZoneType};
use crate::mm::errno::Errno;
use crate::mm::gfp::Gfp;
use crate::mm::machine::Machine;
use crate::mm::mmzone::Wmark;
use crate::mm::page_alloc::AllocContext;
use crate::mm::page_alloc::watermark::AllocFlags;
use crate::mm::trace::{Event, Path, SlowStep, Verdict};
use crate::mm::vmstat::VmEvent;

/// Rounds without progress after which reclaim is given up (`MAX_RECLAIM_RETRIES`).
const MAX_RECLAIM_RETRIES: u32 = 16;
/// Rounds of compaction after which it is given up (`MAX_COMPACT_RETRIES`).
const MAX_COMPACT_RETRIES: u32 = 16;
/// The kernel would try for ever; a laboratory says so instead.
const MAX_ROUNDS: u32 = 100;

impl Machine {
    /// The slow path of an allocation (`__alloc_pages_slowpath`).
    #[cold]
    pub(crate) fn alloc_pages_slowpath(&mut self, ac: &AllocContext) -> Result<Pfn, Errno> {
        if self.is_early() {
            self.last_alloc.fail(Path::Early);
            return Err(Errno::ENOMEM);
        }
        let mut ac = *ac;
        if ac.gfp.has(Gfp::ATOMIC_FLAG | Gfp::DIRECT_RECLAIM) {
            // Asking for both makes no sense: who may sleep does not need the atomic reserve.
            ac.gfp = ac.gfp.without(Gfp::ATOMIC_FLAG);
        }
        let ac = &ac;
        let mut flags = self.gfp_to_alloc_flags(ac);
        if flags.has(AllocFlags::KSWAPD) {
            self.wake_all_kswapds(ac);
        }
        self.last_alloc.step(SlowStep::Retried(flags));
        if let Some(pfn) = self.get_page_from_freelist(ac, flags) {
            return Ok(pfn);
        }
        let mut retries = match self.compact_first(ac, flags) {
            First::Page(pfn) => return Ok(pfn),
            First::Hopeless(why) => return self.nopage(ac, why),
            First::GoOn(priority) => Retries { priority, no_progress_loops: 0, compaction: 0 },
        };
        for round in 1.. {
            if flags.has(AllocFlags::KSWAPD) {
                self.wake_all_kswapds(ac);
            }
            if let Some(reserve) = self.pfmemalloc_flags(ac.gfp) {
                flags = reserve.with(AllocFlags(flags.0 & AllocFlags::KSWAPD.0));
            }
            self.last_alloc.step(SlowStep::Retried(flags));
            if let Some(pfn) = self.get_page_from_freelist(ac, flags) {
                return Ok(pfn);
            }
            if !ac.gfp.may_sleep() {
                self.last_alloc.step(SlowStep::CannotReclaim);
                return self.nopage(ac, "the caller may not sleep, so it cannot reclaim");
            }
            if self.current.memalloc {
                self.last_alloc.step(SlowStep::Recursion);
                return self.nopage(ac, "the caller is freeing memory itself");
            }
            let (pfn, progress) = self.alloc_pages_direct_reclaim(ac, flags);
            if let Some(pfn) = pfn {
                return Ok(pfn);
            }
            let (pfn, compacted) = self.alloc_pages_direct_compact(ac, flags, retries.priority);
            if let Some(pfn) = pfn {
                return Ok(pfn);
            }
            let why = match self.after_round(ac, flags, &mut retries, round, progress > 0, compacted) {
                Next::Page(pfn) => return Ok(pfn),
                Next::Again => continue,
                Next::Dying => return self.nopage(ac, "the caller was killed by the OOM killer"),
                Next::Enough(why) => why,
            };
            if !ac.gfp.has(Gfp::NOFAIL) {
                return self.nopage(ac, why);
            }
            if round >= MAX_ROUNDS {
                break;
            }
            // It may not fail: part of the reserve is opened, but not all of it.
            let harder = AllocFlags::WMARK_MIN.with(AllocFlags::HARDER);
            self.last_alloc.step(SlowStep::NoFail(round));
            if let Some(pfn) = self.get_page_from_freelist(ac, harder) {
                return Ok(pfn);
            }
            self.cond_resched();
        }
        self.nopage(ac, "__GFP_NOFAIL: the kernel would try for ever; here a hundred rounds are enough")
    }

    /// Compaction before reclaim, for those whom it helps most: pages are there, but not together.
    fn compact_first(&mut self, ac: &AllocContext, flags: AllocFlags) -> First {
        let costly = ac.order > Order::COSTLY;
        let wanted = costly || (ac.order > Order::ZERO && ac.migratetype != MigrateType::Movable);
        if !ac.gfp.may_sleep() || !wanted || self.pfmemalloc_flags(ac.gfp).is_some() {
            return First::GoOn(Priority::SyncLight);
        }
        let (pfn, result) = self.alloc_pages_direct_compact(ac, flags, Priority::Async);
        if let Some(pfn) = pfn {
            return First::Page(pfn);
        }
        if !costly || !ac.gfp.has(Gfp::NORETRY) {
            return First::GoOn(Priority::SyncLight);
        }
        if matches!(result, CompactResult::Skipped | CompactResult::Deferred) {
            return First::Hopeless("a costly order with __GFP_NORETRY: compaction cannot help now");
        }
        // Who would rather fail shall not wait for compaction.
        First::GoOn(Priority::Async)
    }

    /// A round gave no page: is another one worth it, must a task die for it, or is it enough?
    fn after_round(
        &mut self,
        ac: &AllocContext,
        flags: AllocFlags,
        retries: &mut Retries,
        round: u32,
        progress: bool,
        compacted: CompactResult,
    ) -> Next {
        if ac.gfp.has(Gfp::NORETRY) {
            return Next::Enough("__GFP_NORETRY: one round is all it may cost");
        }
        if ac.order > Order::COSTLY && !ac.gfp.has(Gfp::RETRY_MAYFAIL) {
            return Next::Enough(
                "orders above 3 are costly: without __GFP_RETRY_MAYFAIL one round is enough",
            );
        }
        if self.should_reclaim_retry(ac, flags, progress, &mut retries.no_progress_loops)
            || (progress && self.should_compact_retry(ac, compacted, retries))
        {
            return Next::Again;
        }
        match self.alloc_pages_may_oom(ac) {
            OomOutcome::Page(pfn) => Next::Page(pfn),
            OomOutcome::Dying => Next::Dying,
            OomOutcome::NotAllowed(why) => Next::Enough(why),
            OomOutcome::TooEarly if round >= MAX_ROUNDS => {
                Next::Enough("without __GFP_FS nobody is killed, and reclaim freed nothing")
            }
            // Every kill takes a task that was not chosen before: this ends, with a page or with a panic.
            OomOutcome::Killed | OomOutcome::TooEarly => {
                retries.no_progress_loops = 0;
                Next::Again
            }
        }
    }

    /// What the second attempt may do (`gfp_to_alloc_flags`).
    pub(crate) fn gfp_to_alloc_flags(&self, ac: &AllocContext) -> AllocFlags {
        let mut flags = AllocFlags::WMARK_MIN.with(AllocFlags::CPUSET);
        if ac.gfp.has(Gfp::HIGH) {
            flags = flags.with(AllocFlags::HIGH);
        }
        if ac.gfp.has(Gfp::KSWAPD_RECLAIM) {
            flags = flags.with(AllocFlags::KSWAPD);
        }
        if ac.gfp.has(Gfp::ATOMIC_FLAG) {
            if !ac.gfp.has(Gfp::NOMEMALLOC) {
                flags = flags.with(AllocFlags::HARDER);
            }
            flags = flags.without(AllocFlags::CPUSET);
        }
        if self.config.cma && ac.migratetype == MigrateType::Movable {
            flags = flags.with(AllocFlags::CMA);
        }
        flags
    }

    /// What the caller may take of the reserves (`__gfp_pfmemalloc_flags`).
    pub(crate) fn pfmemalloc_flags(&self, gfp: Gfp) -> Option<AllocFlags> {
        if gfp.has(Gfp::NOMEMALLOC) {
            return None;
        }
        if Machine::gfp_wants_reserves(gfp) {
            return Some(AllocFlags::NO_WATERMARKS);
        }
        // An interrupt handler has no right of the task it interrupted.
        if self.current.in_interrupt {
            return None;
        }
        if self.current.memalloc {
            return Some(AllocFlags::NO_WATERMARKS);
        }
        self.current.oom_victim.then_some(AllocFlags::OOM)
    }

    /// Wakes the kswapd of every node this request could use (`wake_all_kswapds`).
    fn wake_all_kswapds(&mut self, ac: &AllocContext) {
        let mut woken = Vec::new();
        let mut last = None;
        for zone_id in self.zonelist(ac).to_vec() {
            let zone = &self.zones[zone_id.index()];
            if last != Some(zone.node) {
                last = Some(zone.node);
                woken.push(zone.node);
                self.wakeup_kswapd(zone_id, ac.gfp, ac.order, ac.highest);
            }
        }
        self.last_alloc.step(SlowStep::WokeKswapd(woken));
    }

    /// Reclaims on the caller's own time, then tries again (`__alloc_pages_direct_reclaim`).
    fn alloc_pages_direct_reclaim(&mut self, ac: &AllocContext, flags: AllocFlags) -> (Option<Pfn>, u64) {
        let progress = self.try_to_free_pages(ac);
        if progress == 0 {
            return (None, 0);
        }
        if let Some(pfn) = self.get_page_from_freelist(ac, flags) {
            return (Some(pfn), progress);
        }
        // Pages may hide on per-CPU lists or in the HighAtomic reserve.
        self.unreserve_highatomic_pageblock(ac, false);
        let drained = self.drain_all_pages(None);
        self.last_alloc.step(SlowStep::Drained(drained));
        (self.get_page_from_freelist(ac, flags), progress)
    }

    /// Makes a free block by moving pages, then tries again (`__alloc_pages_direct_compact`).
    fn alloc_pages_direct_compact(
        &mut self,
        ac: &AllocContext,
        flags: AllocFlags,
        priority: Priority,
    ) -> (Option<Pfn>, CompactResult) {
        if ac.order == Order::ZERO {
            return (None, CompactResult::Skipped);
        }
        let result = self.try_to_compact_pages(ac, flags, priority);
        self.last_alloc.step(SlowStep::Compacted(result.name(), priority));
        if result == CompactResult::Skipped {
            return (None, result);
        }
        self.vmstat.count(VmEvent::CompactStall, 1);
        let pfn = self.get_page_from_freelist(ac, flags);
        if let Some(pfn) = pfn {
            let zone = self.mem_map.page(pfn).zone();
            self.compaction_defer_reset(zone, ac.order, true);
        }
        self.vmstat.count(if pfn.is_some() { VmEvent::CompactSuccess } else { VmEvent::CompactFail }, 1);
        (pfn, result)
    }

    /// Is there hope that reclaim could still satisfy the request? (`should_reclaim_retry`)
    fn should_reclaim_retry(
        &mut self,
        ac: &AllocContext,
        flags: AllocFlags,
        progress: bool,
        loops: &mut u32,
    ) -> bool {
        // Costly orders may count progress that other tasks eat up.
        if progress && ac.order <= Order::COSTLY {
            *loops = 0
        } else {
            *loops += 1
        }
        if *loops > MAX_RECLAIM_RETRIES {
            return self.unreserve_highatomic_pageblock(ac, true);
        }
        self.cond_resched();
        for &zone_id in self.zonelist(ac) {
            let zone = &self.zones[zone_id.index()];
            let available = self.zone_reclaimable_pages(zone_id) + zone.free_pages();
            let min = zone.wmark(Wmark::Min);
            if zone.watermark_ok_with(ac.order, min, ac.highest, flags, available) == Verdict::Allowed {
                return true;
            }
        }
        false
    }

    /// Could another round of compaction help, perhaps with more force? (`should_compact_retry`)
    fn should_compact_retry(&self, ac: &AllocContext, result: CompactResult, retries: &mut Retries) -> bool {
        if ac.order == Order::ZERO {
            return false;
        }
        let costly = ac.order > Order::COSTLY;
        match result {
            // Too few free pages to move others to: only if reclaim can help.
            CompactResult::Skipped => return self.compaction_zonelist_suitable(ac),
            CompactResult::Success => {
                retries.compaction += 1;
                let most = if costly { MAX_COMPACT_RETRIES / 4 } else { MAX_COMPACT_RETRIES };
                if retries.compaction <= most {
                    return true;
                }
            }
            _ => {}
        }
        let harder = match retries.priority {
            Priority::Async => Priority::SyncLight,
            Priority::SyncLight if !costly => Priority::SyncFull,
            _ => return false,
        };
        (retries.priority, retries.compaction) = (harder, 0);
        true
    }

    /// Asks the OOM killer, if this request may (`__alloc_pages_may_oom`).
    fn alloc_pages_may_oom(&mut self, ac: &AllocContext) -> OomOutcome {
        // A last look, held to the high watermark: another kill may just have helped.
        let flags = AllocFlags::WMARK_HIGH.with(AllocFlags::CPUSET);
        if let Some(pfn) = self.get_page_from_freelist(ac, flags) {
            return OomOutcome::Page(pfn);
        }
        if self.current.oom_victim {
            return OomOutcome::Dying;
        }
        if ac.order > Order::COSTLY {
            return OomOutcome::NotAllowed(
                "killing a task does not make pages contiguous: orders above 3 kill nobody",
            );
        }
        if ac.gfp.any(Gfp(Gfp::RETRY_MAYFAIL.0 | Gfp::THISNODE.0)) {
            return OomOutcome::NotAllowed(
                "__GFP_RETRY_MAYFAIL and __GFP_THISNODE would rather fail than kill",
            );
        }
        if ac.highest < ZoneType::Normal {
            return OomOutcome::NotAllowed("killing a task hardly frees the low zone that was asked for");
        }
        if !ac.gfp.has(Gfp::FS) && !ac.gfp.has(Gfp::NOFAIL) {
            return OomOutcome::NotAllowed(
                "without __GFP_FS reclaim saw only part of memory: too early to kill; the kernel would try for ever",
            );
        }
        self.out_of_memory(ac)
    }

    /// The request has failed: the kernel's report goes to the log (`warn_alloc`).
    fn nopage(&mut self, ac: &AllocContext, why: &'static str) -> Result<Pfn, Errno> {
        self.last_alloc.step(SlowStep::GaveUp(why));
        self.last_alloc.fail(Path::Failed);
        let nr_free = self.zonelist(ac).iter().map(|z| self.zones[z.index()].free_pages()).sum();
        self.emit(Event::PageAllocFailed { order: ac.order, gfp: ac.gfp, nr_free });
        if !ac.gfp.has(Gfp::NOWARN) && !self.current.memalloc {
            self.warn_alloc(ac);
        }
        Err(Errno::ENOMEM)
    }

    /// `page allocation failure` with the report on memory, at most once in ten seconds (`warn_alloc`).
    fn warn_alloc(&mut self, ac: &AllocContext) {
        let no_dma = !self.zones.iter().any(|z| z.kind == ZoneType::Dma && z.managed_pages > 0);
        if (ac.gfp.has(Gfp::DMA) && no_dma) || !self.ratelimit(|limits| &mut limits.nopage) {
            return;
        }
        let line = format!(
            "{}: page allocation failure: order:{}, mode:{:#x}({}), nodemask=(null),cpuset=/,mems_allowed={}",
            self.current.comm,
            ac.order,
            ac.gfp.0,
            ac.gfp,
            self.mems_allowed()
        );
        self.printk(line);
        self.dump_stack(&["warn_alloc", "__alloc_pages_slowpath", "__alloc_pages"]);
        for line in self.show_mem(ac.highest) {
            self.printk(line);
        }
    }

    /// Wakes a node's kswapd when its zones are short of pages (`wakeup_kswapd`).
    pub(crate) fn wakeup_kswapd(&mut self, zone_id: ZoneId, gfp: Gfp, order: Order, highest: ZoneType) {
        let zone = &self.zones[zone_id.index()];
        if zone.managed_pages == 0 {
            return;
        }
        let (nid, kind, free, low) = (zone.node, zone.kind, zone.free_pages(), zone.wmark(Wmark::Low));
        if self.kswapd_note_wakeup(zone_id, gfp, order, highest) {
            self.emit(Event::WakeupKswapd { nid, zone: kind, order, gfp, free, low });
        }
    }
}

/// What compaction before reclaim came to.
enum First {
    /// It made a page.
    Page(Pfn),
    /// Reclaim is next; how hard compaction tries from now on.
    GoOn(Priority),
    /// Nothing else shall be tried; why.
    Hopeless(&'static str),
}

/// What the rounds without a page have come to.
struct Retries {
    /// How hard compaction tries.
    priority: Priority,
    /// Rounds in which reclaim freed nothing that counts.
    no_progress_loops: u32,
    /// Rounds of compaction at this priority.
    compaction: u32,
}

/// What follows a round without a page.
enum Next {
    /// The last look before a kill found one.
    Page(Pfn),
    /// Another round.
    Again,
    /// The caller itself was killed.
    Dying,
    /// It has cost enough; why.
    Enough(&'static str),
}

/// What asking the OOM killer came to.
pub(crate) enum OomOutcome {
    /// The last look found a page.
    Page(Pfn),
    /// Somebody was killed: try again.
    Killed,
    /// Reclaim could not use the file system, so its failure says little: try again.
    TooEarly,
    /// This request may not kill; why.
    NotAllowed(&'static str),
    /// The caller itself was chosen.
    Dying,
}
