//! `sysctl vm`: the values a person changed.
//!
//! Gorman chapter 13. Kernel: `kernel/sysctl.c`, `mm/page-writeback.c`, `mm/page_alloc.c`.
//! Fidelity: faithful — defaults of 6.1. Simplified — values that boot computes itself are not imported.

use crate::import::text::lines;
use crate::mm::config::Arch;

/// What a freshly booted kernel shows.
const DEFAULTS: &[(&str, &str)] = &[
    ("vm.compact_unevictable_allowed", "1"),
    ("vm.compaction_proactiveness", "20"),
    ("vm.dirty_background_bytes", "0"),
    ("vm.dirty_background_ratio", "10"),
    ("vm.dirty_bytes", "0"),
    ("vm.dirty_expire_centisecs", "3000"),
    ("vm.dirty_ratio", "20"),
    ("vm.dirty_writeback_centisecs", "500"),
    ("vm.dirtytime_expire_seconds", "43200"),
    ("vm.extfrag_threshold", "500"),
    ("vm.highmem_is_dirtyable", "0"),
    ("vm.laptop_mode", "0"),
    ("vm.max_map_count", "65530"),
    ("vm.min_slab_ratio", "5"),
    ("vm.min_unmapped_ratio", "1"),
    ("vm.nr_hugepages", "0"),
    ("vm.nr_overcommit_hugepages", "0"),
    ("vm.oom_dump_tasks", "1"),
    ("vm.oom_kill_allocating_task", "0"),
    ("vm.overcommit_kbytes", "0"),
    ("vm.overcommit_memory", "0"),
    ("vm.overcommit_ratio", "50"),
    ("vm.page-cluster", "3"),
    ("vm.panic_on_oom", "0"),
    ("vm.percpu_pagelist_high_fraction", "0"),
    ("vm.swappiness", "60"),
    ("vm.vfs_cache_pressure", "100"),
    ("vm.watermark_boost_factor", "15000"),
    ("vm.watermark_scale_factor", "10"),
    ("vm.zone_reclaim_mode", "0"),
];

/// The values of `name = value` lines that differ from the kernel's defaults, in the order of the file.
///
/// Left out are those that boot computes from the size of memory (`min_free_kbytes`, `user_reserve_kbytes`, …) and
/// those that say nothing about memory management (`mmap_rnd_bits`, `stat_interval`, …).
pub fn changed(arch: Arch, text: &str) -> Vec<(String, String)> {
    let mut changed = Vec::new();
    for line in lines("sysctl", text) {
        let Some((name, value)) = line.text.split_once('=') else { continue };
        let (name, value) = (name.trim().replace('/', "."), normal(value));
        let ratio = lowmem_reserve_ratio(arch);
        let default = match name.as_str() {
            "vm.lowmem_reserve_ratio" => Some(ratio.as_str()),
            // Zero of the pair means that the other one counts; writing it would switch the other one off.
            "vm.dirty_bytes" | "vm.dirty_background_bytes" | "vm.overcommit_kbytes" if value == "0" => None,
            "vm.dirty_ratio" | "vm.dirty_background_ratio" | "vm.overcommit_ratio" if value == "0" => None,
            _ => DEFAULTS.iter().find(|(known, _)| *known == name).map(|&(_, default)| default),
        };
        if default.is_some_and(|default| default != value) {
            changed.push((name, value));
        }
    }
    changed
}

/// Numbers apart by one blank.
fn normal(value: &str) -> String {
    value.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// 256 for DMA and DMA32, 32 for Normal, 0 for the zones above; one number for each zone.
fn lowmem_reserve_ratio(arch: Arch) -> String {
    use crate::mm::config::ZoneType::*;
    let ratio = |zone: &_| match zone {
        Dma | Dma32 => "256",
        Normal => "32",
        HighMem | Movable | Device => "0",
    };
    arch.zone_types().iter().map(ratio).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_person_changed_is_kept() {
        let text = "vm.swappiness = 10\nvm.min_free_kbytes = 1793\nvm.dirty_ratio = 20\nvm.dirty_bytes = 0\n\
                    vm.lowmem_reserve_ratio = 256\t256\t32\t0\t0\nvm.overcommit_memory = 2\nkernel.panic = 1\n";
        let changed = changed(Arch::X86_64, text);
        let expected = [("vm.swappiness", "10"), ("vm.overcommit_memory", "2")];
        assert_eq!(changed, expected.map(|(n, v)| (n.to_string(), v.to_string())));
    }

    #[test]
    fn every_architecture_has_its_ratios() {
        assert_eq!(lowmem_reserve_ratio(Arch::X86_64), "256 256 32 0 0");
        assert_eq!(lowmem_reserve_ratio(Arch::I386), "256 32 0 0");
        assert_eq!(lowmem_reserve_ratio(Arch::Arm64), "256 256 32 0");
        assert_eq!(lowmem_reserve_ratio(Arch::Uml), "32 0");
    }
}
