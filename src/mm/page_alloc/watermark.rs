//! May this zone give pages to this request? And what the lines are.
//!
//! ```text
//!   free ─┐
//!         │ kswapd sleeps
//!   high ─┼────────────────
//!         │ kswapd reclaims, everybody allocates
//!   low  ─┼────────────────  kswapd is woken
//!         │ callers reclaim themselves before they get a page
//!   min  ─┼────────────────  GFP_ATOMIC may go to 3/8 of min, victims of the OOM killer to 1/2
//!         │ PF_MEMALLOC only
//!      0 ─┘        every line is raised by lowmem_reserve for requests that could be satisfied higher up
//! ```
//!
//! Gorman 2.2.1, 6.2. Kernel: `mm/page_alloc.c`, `mm/internal.h`.
//! Fidelity: faithful — the formulas of `__setup_per_zone_wmarks`, `setup_per_zone_lowmem_reserve`,
//! `init_per_zone_wmark_min` and of both watermark checks, verified against recorded machines.

use crate::mm::addr::Order;
use crate::mm::config::{MigrateType, ZoneType};
use crate::mm::gfp::Gfp;
use crate::mm::machine::Machine;
use crate::mm::mmzone::{Wmark, Zone};
use crate::mm::page_alloc::AllocContext;
use crate::mm::trace::{Event, Verdict, ZoneTry};

/// What one attempt may do (`ALLOC_*`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct AllocFlags(pub u16);

#[allow(missing_docs)]
impl AllocFlags {
    pub const WMARK_MIN: AllocFlags = AllocFlags(0);
    pub const WMARK_LOW: AllocFlags = AllocFlags(1);
    pub const WMARK_HIGH: AllocFlags = AllocFlags(2);
    pub const NO_WATERMARKS: AllocFlags = AllocFlags(4);
    pub const OOM: AllocFlags = AllocFlags(8);
    pub const HARDER: AllocFlags = AllocFlags(0x10);
    pub const HIGH: AllocFlags = AllocFlags(0x20);
    pub const CPUSET: AllocFlags = AllocFlags(0x40);
    pub const CMA: AllocFlags = AllocFlags(0x80);
    pub const NOFRAGMENT: AllocFlags = AllocFlags(0x100);
    pub const KSWAPD: AllocFlags = AllocFlags(0x800);

    /// True when every bit of `other` is set.
    #[inline]
    pub const fn has(self, other: AllocFlags) -> bool {
        self.0 & other.0 == other.0
    }

    /// True when one bit of `other` is set.
    #[inline]
    pub const fn any(self, other: AllocFlags) -> bool {
        self.0 & other.0 != 0
    }

    /// These and those.
    #[inline]
    pub const fn with(self, other: AllocFlags) -> AllocFlags {
        AllocFlags(self.0 | other.0)
    }

    /// These without those.
    #[inline]
    pub const fn without(self, other: AllocFlags) -> AllocFlags {
        AllocFlags(self.0 & !other.0)
    }

    /// The watermark the attempt is held to.
    #[inline]
    pub const fn wmark(self) -> Wmark {
        match self.0 & 3 {
            0 => Wmark::Min,
            1 => Wmark::Low,
            _ => Wmark::High,
        }
    }
}

/// `min` after the caller's privileges: half for `__GFP_HIGH`, then a quarter off, or half for OOM victims.
pub fn lowered(mark: u64, flags: AllocFlags) -> u64 {
    let mut min = mark;
    if flags.has(AllocFlags::HIGH) {
        min -= min / 2;
    }
    if flags.has(AllocFlags::OOM) {
        min -= min / 2;
    } else if flags.has(AllocFlags::HARDER) {
        min -= min / 4;
    }
    min
}

impl Zone {
    /// The full check: enough pages, and for larger orders a block that is large enough (`__zone_watermark_ok`).
    pub fn watermark_ok(&self, order: Order, mark: u64, highest: ZoneType, flags: AllocFlags) -> Verdict {
        self.watermark_ok_with(order, mark, highest, flags, self.free_pages())
    }

    /// The full check with an assumed number of free pages.
    #[inline(always)]
    pub fn watermark_ok_with(
        &self,
        order: Order,
        mark: u64,
        highest: ZoneType,
        flags: AllocFlags,
        free: u64,
    ) -> Verdict {
        let harder = flags.any(AllocFlags(AllocFlags::HARDER.0 | AllocFlags::OOM.0));
        let free = free as i64 - self.unusable_free(order, flags) as i64;
        let min = lowered(mark, flags);
        if free <= (min + self.lowmem_reserve[highest as usize]) as i64 {
            return Verdict::BelowMark;
        }
        if order == Order::ZERO {
            return Verdict::Allowed;
        }
        let large_enough = |mt: MigrateType| self.smallest_free(order, mt).is_some();
        if MigrateType::ALL[..MigrateType::PCPTYPES].iter().any(|mt| large_enough(*mt))
            || (flags.has(AllocFlags::CMA) && large_enough(MigrateType::Cma))
            || (harder && large_enough(MigrateType::HighAtomic))
        {
            return Verdict::Allowed;
        }
        Verdict::NoBlock
    }

    /// The check of the fast path, with a short cut for single pages (`zone_watermark_fast`).
    #[inline(always)]
    pub fn watermark_fast(
        &self,
        order: Order,
        mark: u64,
        highest: ZoneType,
        flags: AllocFlags,
        gfp: Gfp,
    ) -> Verdict {
        if order > Order::ZERO {
            return self.watermark_ok_with(order, mark, highest, flags, self.free_pages());
        }
        // The unusable pages stand on the other side, where they cannot make a number fall below 0.
        let needed = mark + self.lowmem_reserve[highest as usize] + self.unusable_free(order, flags);
        if self.free_pages() > needed {
            Verdict::Allowed
        } else {
            self.watermark_rest(mark, highest, flags, gfp)
        }
    }

    /// What the short cut leaves: a single page when there is little.
    #[cold]
    fn watermark_rest(&self, mark: u64, highest: ZoneType, flags: AllocFlags, gfp: Gfp) -> Verdict {
        let verdict = self.watermark_ok(Order::ZERO, mark, highest, flags);
        let atomic = gfp.has(Gfp::ATOMIC_FLAG) && self.watermark_boost > 0;
        if verdict != Verdict::Allowed && atomic && flags.wmark() == Wmark::Min {
            // The boost is a hint for reclaim; an atomic request is held to the plain min.
            return self.watermark_ok(Order::ZERO, self.watermark.min, highest, flags);
        }
        verdict
    }

    /// The check of the fast path with its arithmetic, as `explain` shows it.
    #[inline(always)]
    pub(crate) fn try_watermark(&self, ac: &AllocContext, flags: AllocFlags) -> ZoneTry {
        let (wmark, reserve) = (flags.wmark(), self.lowmem_reserve[ac.highest as usize]);
        let mark = self.wmark(wmark);
        let verdict = self.watermark_fast(ac.order, mark, ac.highest, flags, ac.gfp);
        let (zone, kind, nid, free) = (self.id, self.kind, self.node, self.free_pages());
        let boost = self.watermark_boost;
        ZoneTry { zone, kind, nid, wmark, flags, free, mark, boost, reserve, verdict, after: 0 }
    }

    /// Free pages this request cannot have (`__zone_watermark_unusable_free`).
    #[inline]
    fn unusable_free(&self, order: Order, flags: AllocFlags) -> u64 {
        let mut unusable = u64::from(order.pages()) - 1;
        if !flags.any(AllocFlags(AllocFlags::HARDER.0 | AllocFlags::OOM.0)) {
            unusable += self.nr_reserved_highatomic;
        }
        if !flags.has(AllocFlags::CMA) {
            unusable += self.stat(crate::mm::vmstat::ZoneStat::FreeCma);
        }
        unusable
    }
}

impl Machine {
    /// Keep pageblocks unmixed on the first attempt, if another zone could help instead (`alloc_flags_nofragment`).
    #[inline]
    pub(crate) fn alloc_flags_nofragment(&self, ac: &AllocContext) -> AllocFlags {
        let mut flags =
            if ac.gfp.has(Gfp::KSWAPD_RECLAIM) { AllocFlags::KSWAPD } else { AllocFlags::default() };
        if self.config.cma && ac.migratetype == MigrateType::Movable {
            flags = flags.with(AllocFlags::CMA);
        }
        if self.zonelist(ac).nofragment { flags.with(AllocFlags::NOFRAGMENT) } else { flags }
    }

    /// Computes every zone's watermarks from `min_free_kbytes` (`setup_per_zone_wmarks`).
    ///
    /// It also clears boosts and gives the per-CPU lists their new size.
    pub fn setup_per_zone_wmarks(&mut self) {
        self.close_lane();
        let pages_min = self.sysctl.min_free_kbytes >> 2;
        let scale = self.sysctl.watermark_scale_factor;
        let lowmem: u64 = self.zones.iter().filter(|z| !self.is_highmem(z)).map(|z| z.managed_pages).sum();
        for i in 0..self.zones.len() {
            let highmem = self.is_highmem(&self.zones[i]);
            let zone = &mut self.zones[i];
            let share = pages_min * zone.managed_pages / lowmem.max(1);
            zone.watermark.min = if highmem { (zone.managed_pages / 1024).clamp(32, 128) } else { share };
            let gap = (share >> 2).max(zone.managed_pages * scale / 10_000);
            zone.watermark_boost = 0;
            zone.watermark.low = zone.watermark.min + gap;
            zone.watermark.high = zone.watermark.low + gap;
            zone.watermark.promo = zone.watermark.high + gap;
            self.zone_pcp_update(i);
        }
        self.calculate_totalreserve_pages();
        self.emit(Event::SetupWmarks { min_free_kbytes: self.sysctl.min_free_kbytes, lowmem });
    }

    /// Computes what each zone keeps back from requests for higher zones (`setup_per_zone_lowmem_reserve`).
    pub fn setup_per_zone_lowmem_reserve(&mut self) {
        self.close_lane();
        let kinds = self.config.arch.zone_types();
        for node in 0..self.nodes.len() {
            for low in 0..kinds.len() {
                let zone = self.nodes[node].zones[low];
                let managed = self.zones[zone.index()].managed_pages;
                let ratio = self.sysctl.lowmem_reserve_ratio[low];
                let mut above = 0;
                self.zones[zone.index()].lowmem_reserve[kinds[low] as usize] = 0;
                for (high, kind) in kinds.iter().enumerate().skip(low + 1) {
                    above += self.zones[self.nodes[node].zones[high].index()].managed_pages;
                    let reserve = if ratio == 0 || managed == 0 { 0 } else { above / ratio };
                    self.zones[zone.index()].lowmem_reserve[*kind as usize] = reserve;
                }
            }
        }
        self.calculate_totalreserve_pages();
    }

    /// The default of `min_free_kbytes` from the present size of low memory: `isqrt(16 * lowmem_kbytes)`.
    pub fn default_min_free_kbytes(&self) -> u64 {
        ((self.nr_free_buffer_pages() * 4 * 16).isqrt()).clamp(128, 262_144)
    }

    /// Computes `min_free_kbytes` and everything that follows from it (`init_per_zone_wmark_min`).
    pub fn init_per_zone_wmark_min(&mut self) {
        let new = self.default_min_free_kbytes();
        let user = self.sysctl.user_min_free_kbytes;
        if user.is_none_or(|user| new > user) {
            self.sysctl.min_free_kbytes = new;
        } else if let Some(user) = user {
            self.printk(format!(
                "min_free_kbytes is not updated to {new} because user defined value {user} is preferred"
            ));
        }
        self.setup_per_zone_wmarks();
        self.setup_per_zone_lowmem_reserve();
    }

    /// What khugepaged wants free so that huge pages can be found (`set_recommended_min_free_kbytes`).
    pub fn set_recommended_min_free_kbytes(&mut self) {
        if !self.thp_enabled() {
            return self.init_per_zone_wmark_min();
        }
        // A pageblock of each type for each zone, and one more of each for each type that may spill over it.
        let highest = if self.config.arch.has_highmem() { ZoneType::HighMem } else { ZoneType::Normal };
        let zones = self.zones.iter().filter(|z| z.is_populated() && (z.kind <= highest)).count() as u64;
        let pcptypes = MigrateType::PCPTYPES as u64;
        let pages = u64::from(self.config.pageblock_order.pages()) * zones * (2 + pcptypes * pcptypes);
        let recommended = pages.min(self.nr_free_buffer_pages() / 20) << 2;
        if recommended > self.sysctl.min_free_kbytes {
            if let Some(user) = self.sysctl.user_min_free_kbytes {
                self.printk(format!(
                    "khugepaged: raising min_free_kbytes from {user} to {recommended} to help transparent hugepage allocations"
                ));
            }
            self.sysctl.min_free_kbytes = recommended;
        }
        self.setup_per_zone_wmarks();
    }

    /// Pages of low memory above the high watermarks (`nr_free_buffer_pages`).
    ///
    /// The kernel walks the zonelist of the current node: on NUMA that is the memory of all nodes.
    pub fn nr_free_buffer_pages(&self) -> u64 {
        let low = |z: &&Zone| z.kind <= ZoneType::Normal;
        self.zones.iter().filter(low).map(|z| z.managed_pages.saturating_sub(z.wmark(Wmark::High))).sum()
    }

    /// Pages that user space can never count on (`calculate_totalreserve_pages`).
    pub fn calculate_totalreserve_pages(&mut self) {
        let reserve = |z: &Zone| {
            let largest = z.lowmem_reserve.iter().copied().max().unwrap_or(0);
            (largest + z.wmark(Wmark::High)).min(z.managed_pages)
        };
        self.totalreserve_pages = self.zones.iter().map(reserve).sum();
    }

    /// True for HighMem, and for a Movable zone that takes its pages from there (`is_highmem`).
    pub fn is_highmem(&self, zone: &Zone) -> bool {
        zone.kind == ZoneType::HighMem || (zone.kind == ZoneType::Movable && self.movable_is_highmem())
    }

    /// Movable memory comes from the highest populated zone: is that HighMem? (`movable_zone`)
    fn movable_is_highmem(&self) -> bool {
        self.zones.iter().any(|z| z.kind == ZoneType::HighMem && z.is_populated())
    }
}
