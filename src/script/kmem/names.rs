//! Names of counters in the kernel's enumerations, where they differ from those of /proc/vmstat.
//!
//! Kernel: `include/linux/mmzone.h`, `include/linux/vm_event_item.h`.

/// `/proc/vmstat` name and enumerator, where upper case alone does not do.
const RENAMED: &[(&str, &str)] = &[
    ("nr_free_cma", "NR_FREE_CMA_PAGES"),
    ("nr_slab_reclaimable", "NR_SLAB_RECLAIMABLE_B"),
    ("nr_slab_unreclaimable", "NR_SLAB_UNRECLAIMABLE_B"),
    ("nr_anon_pages", "NR_ANON_MAPPED"),
    ("nr_mapped", "NR_FILE_MAPPED"),
    ("nr_dirty", "NR_FILE_DIRTY"),
    ("nr_shmem_hugepages", "NR_SHMEM_THPS"),
    ("nr_file_hugepages", "NR_FILE_THPS"),
    ("nr_anon_transparent_hugepages", "NR_ANON_THPS"),
    ("nr_vmscan_immediate_reclaim", "NR_VMSCAN_IMMEDIATE"),
    ("nr_kernel_stack", "NR_KERNEL_STACK_KB"),
    ("nr_page_table_pages", "NR_PAGETABLE"),
    ("nr_sec_page_table_pages", "NR_SECONDARY_PAGETABLE"),
    ("nr_swapcached", "NR_SWAPCACHE"),
    ("zone_reclaim_failed", "PGSCAN_ZONE_RECLAIM_FAILED"),
    ("numa_pages_migrated", "NUMA_PAGE_MIGRATE"),
    ("htlb_buddy_alloc_success", "HTLB_BUDDY_PGALLOC"),
    ("htlb_buddy_alloc_fail", "HTLB_BUDDY_PGALLOC_FAIL"),
    ("thp_scan_exceed_share_pte", "THP_SCAN_EXCEED_SHARED_PTE"),
    ("direct_map_level2_splits", "DIRECT_MAP_LEVEL2_SPLIT"),
    ("direct_map_level3_splits", "DIRECT_MAP_LEVEL3_SPLIT"),
    ("compact_daemon_wake", "KCOMPACTD_WAKE"),
    ("compact_daemon_migrate_scanned", "KCOMPACTD_MIGRATE_SCANNED"),
    ("compact_daemon_free_scanned", "KCOMPACTD_FREE_SCANNED"),
];

/// The enumerator of a counter.
pub fn enumerator(name: &str) -> String {
    if let Some((_, renamed)) = RENAMED.iter().find(|(known, _)| *known == name) {
        return (*renamed).into();
    }
    let upper = name.to_uppercase();
    for (start, renamed) in
        [("PGSKIP_", "PGSCAN_SKIP_"), ("COMPACT_", "COMPACT"), ("UNEVICTABLE_PGS_", "UNEVICTABLE_PG")]
    {
        if let Some(rest) = upper.strip_prefix(start) {
            return format!("{renamed}{rest}");
        }
    }
    upper
}
