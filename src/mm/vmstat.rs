//! Counters: what happened, and how many pages of each kind there are.
//!
//! Gorman 2.  Kernel: `mm/vmstat.c`, `include/linux/vm_event_item.h`, `include/linux/mmzone.h`.
//! Fidelity: faithful — names and order of /proc/vmstat of 6.1. Simplified — exact at every moment; the kernel keeps
//! differences per CPU and folds them every second. Events, `numa_hit` and its kin among them, start at 0 on a booted
//! machine: what the real boot counted is not imported.

use crate::mm::config::ZoneType;

macro_rules! counters {
    ($(#[$doc:meta])* $name:ident { $($item:ident $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[allow(missing_docs)]
        pub enum $name { $($item,)* }

        impl $name {
            /// Every counter, in the order of /proc/vmstat.
            pub const ALL: &[$name] = &[$($name::$item,)*];
            /// How many there are.
            pub const COUNT: usize = $name::ALL.len();

            /// The name in /proc/vmstat.
            pub fn name(self) -> &'static str {
                match self { $($name::$item => $text,)* }
            }
        }
    };
}

counters! {
    /// Pages of a zone (`enum zone_stat_item`).
    ZoneStat {
        FreePages "nr_free_pages",
        ZoneInactiveAnon "nr_zone_inactive_anon",
        ZoneActiveAnon "nr_zone_active_anon",
        ZoneInactiveFile "nr_zone_inactive_file",
        ZoneActiveFile "nr_zone_active_file",
        ZoneUnevictable "nr_zone_unevictable",
        ZoneWritePending "nr_zone_write_pending",
        Mlock "nr_mlock",
        Bounce "nr_bounce",
        Zspages "nr_zspages",
        FreeCma "nr_free_cma",
    }
}

counters! {
    /// Where allocations were satisfied (`enum numa_stat_item`).
    NumaStat {
        Hit "numa_hit",
        Miss "numa_miss",
        Foreign "numa_foreign",
        Interleave "numa_interleave",
        Local "numa_local",
        Other "numa_other",
    }
}

counters! {
    /// Pages of a node (`enum node_stat_item`).
    NodeStat {
        InactiveAnon "nr_inactive_anon",
        ActiveAnon "nr_active_anon",
        InactiveFile "nr_inactive_file",
        ActiveFile "nr_active_file",
        Unevictable "nr_unevictable",
        SlabReclaimable "nr_slab_reclaimable",
        SlabUnreclaimable "nr_slab_unreclaimable",
        IsolatedAnon "nr_isolated_anon",
        IsolatedFile "nr_isolated_file",
        WorkingsetNodes "workingset_nodes",
        WorkingsetRefaultAnon "workingset_refault_anon",
        WorkingsetRefaultFile "workingset_refault_file",
        WorkingsetActivateAnon "workingset_activate_anon",
        WorkingsetActivateFile "workingset_activate_file",
        WorkingsetRestoreAnon "workingset_restore_anon",
        WorkingsetRestoreFile "workingset_restore_file",
        WorkingsetNodereclaim "workingset_nodereclaim",
        AnonPages "nr_anon_pages",
        Mapped "nr_mapped",
        FilePages "nr_file_pages",
        Dirty "nr_dirty",
        Writeback "nr_writeback",
        WritebackTemp "nr_writeback_temp",
        Shmem "nr_shmem",
        ShmemHugepages "nr_shmem_hugepages",
        ShmemPmdmapped "nr_shmem_pmdmapped",
        FileHugepages "nr_file_hugepages",
        FilePmdmapped "nr_file_pmdmapped",
        AnonTransparentHugepages "nr_anon_transparent_hugepages",
        VmscanWrite "nr_vmscan_write",
        VmscanImmediateReclaim "nr_vmscan_immediate_reclaim",
        Dirtied "nr_dirtied",
        Written "nr_written",
        ThrottledWritten "nr_throttled_written",
        KernelMiscReclaimable "nr_kernel_misc_reclaimable",
        FollPinAcquired "nr_foll_pin_acquired",
        FollPinReleased "nr_foll_pin_released",
        KernelStackKb "nr_kernel_stack",
        PageTablePages "nr_page_table_pages",
        SecPageTablePages "nr_sec_page_table_pages",
        Swapcached "nr_swapcached",
        PgpromoteSuccess "pgpromote_success",
        PgpromoteCandidate "pgpromote_candidate",
    }
}

counters! {
    /// Things that happened (`enum vm_event_item`); the per-zone ones are [`ZoneEvent`]s.
    VmEvent {
        Pgpgin "pgpgin",
        Pgpgout "pgpgout",
        Pswpin "pswpin",
        Pswpout "pswpout",
        Pgfree "pgfree",
        Pgactivate "pgactivate",
        Pgdeactivate "pgdeactivate",
        Pglazyfree "pglazyfree",
        Pgfault "pgfault",
        Pgmajfault "pgmajfault",
        Pglazyfreed "pglazyfreed",
        Pgrefill "pgrefill",
        Pgreuse "pgreuse",
        PgstealKswapd "pgsteal_kswapd",
        PgstealDirect "pgsteal_direct",
        PgdemoteKswapd "pgdemote_kswapd",
        PgdemoteDirect "pgdemote_direct",
        PgscanKswapd "pgscan_kswapd",
        PgscanDirect "pgscan_direct",
        PgscanDirectThrottle "pgscan_direct_throttle",
        PgscanAnon "pgscan_anon",
        PgscanFile "pgscan_file",
        PgstealAnon "pgsteal_anon",
        PgstealFile "pgsteal_file",
        ZoneReclaimFailed "zone_reclaim_failed",
        Pginodesteal "pginodesteal",
        SlabsScanned "slabs_scanned",
        KswapdInodesteal "kswapd_inodesteal",
        KswapdLowWmarkHitQuickly "kswapd_low_wmark_hit_quickly",
        KswapdHighWmarkHitQuickly "kswapd_high_wmark_hit_quickly",
        Pageoutrun "pageoutrun",
        Pgrotated "pgrotated",
        DropPagecache "drop_pagecache",
        DropSlab "drop_slab",
        OomKill "oom_kill",
        NumaPteUpdates "numa_pte_updates",
        NumaHugePteUpdates "numa_huge_pte_updates",
        NumaHintFaults "numa_hint_faults",
        NumaHintFaultsLocal "numa_hint_faults_local",
        NumaPagesMigrated "numa_pages_migrated",
        PgmigrateSuccess "pgmigrate_success",
        PgmigrateFail "pgmigrate_fail",
        ThpMigrationSuccess "thp_migration_success",
        ThpMigrationFail "thp_migration_fail",
        ThpMigrationSplit "thp_migration_split",
        CompactMigrateScanned "compact_migrate_scanned",
        CompactFreeScanned "compact_free_scanned",
        CompactIsolated "compact_isolated",
        CompactStall "compact_stall",
        CompactFail "compact_fail",
        CompactSuccess "compact_success",
        CompactDaemonWake "compact_daemon_wake",
        CompactDaemonMigrateScanned "compact_daemon_migrate_scanned",
        CompactDaemonFreeScanned "compact_daemon_free_scanned",
        HtlbBuddyAllocSuccess "htlb_buddy_alloc_success",
        HtlbBuddyAllocFail "htlb_buddy_alloc_fail",
        UnevictablePgsCulled "unevictable_pgs_culled",
        UnevictablePgsScanned "unevictable_pgs_scanned",
        UnevictablePgsRescued "unevictable_pgs_rescued",
        UnevictablePgsMlocked "unevictable_pgs_mlocked",
        UnevictablePgsMunlocked "unevictable_pgs_munlocked",
        UnevictablePgsCleared "unevictable_pgs_cleared",
        UnevictablePgsStranded "unevictable_pgs_stranded",
        ThpFaultAlloc "thp_fault_alloc",
        ThpFaultFallback "thp_fault_fallback",
        ThpFaultFallbackCharge "thp_fault_fallback_charge",
        ThpCollapseAlloc "thp_collapse_alloc",
        ThpCollapseAllocFailed "thp_collapse_alloc_failed",
        ThpFileAlloc "thp_file_alloc",
        ThpFileFallback "thp_file_fallback",
        ThpFileFallbackCharge "thp_file_fallback_charge",
        ThpFileMapped "thp_file_mapped",
        ThpSplitPage "thp_split_page",
        ThpSplitPageFailed "thp_split_page_failed",
        ThpDeferredSplitPage "thp_deferred_split_page",
        ThpSplitPmd "thp_split_pmd",
        ThpScanExceedNonePte "thp_scan_exceed_none_pte",
        ThpScanExceedSwapPte "thp_scan_exceed_swap_pte",
        ThpScanExceedSharePte "thp_scan_exceed_share_pte",
        ThpSplitPud "thp_split_pud",
        ThpZeroPageAlloc "thp_zero_page_alloc",
        ThpZeroPageAllocFailed "thp_zero_page_alloc_failed",
        ThpSwpout "thp_swpout",
        ThpSwpoutFallback "thp_swpout_fallback",
        BalloonInflate "balloon_inflate",
        BalloonDeflate "balloon_deflate",
        BalloonMigrate "balloon_migrate",
        SwapRa "swap_ra",
        SwapRaHit "swap_ra_hit",
        KsmSwpinCopy "ksm_swpin_copy",
        CowKsm "cow_ksm",
        Zswpin "zswpin",
        Zswpout "zswpout",
        DirectMapLevel2Splits "direct_map_level2_splits",
        DirectMapLevel3Splits "direct_map_level3_splits",
        BuddySplit "mm_buddy_split",
        BuddyMerge "mm_buddy_merge",
    }
}

counters! {
    /// Events counted by the kind of zone.
    ZoneEvent {
        Pgalloc "pgalloc",
        Allocstall "allocstall",
        Pgskip "pgskip",
    }
}

/// The event counters of the machine; those of zones and nodes stand in `Zone` and `Node`.
#[derive(Clone, Debug)]
pub struct Vmstat {
    events: [u64; VmEvent::COUNT],
    by_zone: [[u64; ZoneType::ALL.len()]; ZoneEvent::COUNT],
}

impl Default for Vmstat {
    fn default() -> Vmstat {
        Vmstat { events: [0; VmEvent::COUNT], by_zone: [[0; ZoneType::ALL.len()]; ZoneEvent::COUNT] }
    }
}

impl Vmstat {
    /// Counts `n` events (`count_vm_events`).
    #[inline]
    pub fn count(&mut self, event: VmEvent, n: u64) {
        self.events[event as usize] += n;
    }

    /// Counts `n` events of a zone's kind (`__count_zid_vm_events`).
    #[inline]
    pub fn count_zone(&mut self, event: ZoneEvent, zone: ZoneType, n: u64) {
        self.by_zone[event as usize][zone as usize] += n;
    }

    /// How often it happened.
    pub fn get(&self, event: VmEvent) -> u64 {
        self.events[event as usize]
    }

    /// How often it happened in zones of a kind, without what the zones count themselves.
    pub(in crate::mm) fn get_zone(&self, event: ZoneEvent, zone: ZoneType) -> u64 {
        self.by_zone[event as usize][zone as usize]
    }
}
