//! Tunables: `/proc/sys/vm/*`, and the moments at which writing or reading one changes the machine.
//!
//! Kernel: `kernel/sysctl.c`, `mm/page_alloc.c`, `Documentation/admin-guide/sysctl/vm.rst`.
//! Fidelity: faithful — names, defaults, ranges, side effects of those marked *effective* below; the others keep
//! their value and do nothing. Reading `lowmem_reserve_ratio` recomputes the reserves, as in the kernel.
//! Ours — `vmlab.*`, which no kernel has and `sysctl -a` does not list.

use crate::mm::config::{Arch, Config};
use crate::mm::errno::Errno;
use crate::mm::machine::Machine;
use crate::mm::trace::Event;
use std::fmt;

/// Why a sysctl was not read or written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SysctlError {
    /// `EINVAL`, or `ENOENT` when there is none of that name.
    pub errno: Errno,
    /// What was asked, the number that decided, what to try.
    pub what: String,
}

impl fmt::Display for SysctlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.what)
    }
}

impl std::error::Error for SysctlError {}

macro_rules! tunables {
    ($($field:ident $name:literal = $default:expr, $least:literal ..= $most:expr, $doc:literal;)*) => {
        /// The tunables.
        #[derive(Clone, PartialEq, Eq, Debug)]
        pub struct Sysctl {
            /// `vm.lowmem_reserve_ratio`, one number for each zone below the highest.
            pub lowmem_reserve_ratio: [u64; 5],
            /// What the user wrote into `vm.min_free_kbytes`, if ever.
            pub user_min_free_kbytes: Option<u64>,
            $(#[doc = $doc] pub $field: u64,)*
        }

        impl Sysctl {
            /// Every tunable with a single number: name, what it does.
            pub const ALL: &[(&str, &str)] = &[$(($name, $doc),)*];

            /// The kernel's defaults.
            pub fn new(config: &Config) -> Sysctl {
                let lowmem_reserve_ratio = match config.arch {
                    Arch::X86_64 | Arch::Arm64 => [256, 256, 32, 0, 0],
                    Arch::I386 | Arch::I386Pae => [256, 32, 0, 0, 0],
                    Arch::Arm => [32, 0, 0, 0, 0],
                    Arch::Uml => [32, 0, 0, 0, 0],
                };
                Sysctl { lowmem_reserve_ratio, user_min_free_kbytes: None, $($field: $default,)* }
            }

            fn slot(&mut self, name: &str) -> Option<(&mut u64, u64, u64)> {
                match name { $($name => Some((&mut self.$field, $least, $most)),)* _ => None }
            }

            /// The least and the largest value of a tunable, by its name with or without `vm.`.
            pub fn range(name: &str) -> Option<(u64, u64)> {
                match short(name) { $($name => Some(($least, $most)),)* _ => None }
            }

            fn value(&self, name: &str) -> Option<u64> {
                match name { $($name => Some(self.$field),)* _ => None }
            }
        }
    };
}

tunables! {
    admin_reserve_kbytes "admin_reserve_kbytes" = 8192, 0..=u64::MAX, "Kept for root when overcommit is refused, in kB.";
    compact_unevictable_allowed "compact_unevictable_allowed" = 1, 0..=1, "Compaction may move unevictable pages.";
    compaction_proactiveness "compaction_proactiveness" = 20, 0..=100, "How eagerly kcompactd compacts in advance.";
    dirty_background_bytes "dirty_background_bytes" = 0, 0..=u64::MAX, "Background writeback starts here, in bytes; 0 uses the ratio.";
    dirty_background_ratio "dirty_background_ratio" = 10, 0..=100, "Background writeback starts at this percentage.";
    dirty_bytes "dirty_bytes" = 0, 0..=u64::MAX, "Writers are throttled here, in bytes; 0 uses the ratio.";
    dirty_expire_centisecs "dirty_expire_centisecs" = 3000, 0..=u64::MAX, "Dirty data older than this is written.";
    dirty_ratio "dirty_ratio" = 20, 0..=100, "Writers are throttled at this percentage.";
    dirty_writeback_centisecs "dirty_writeback_centisecs" = 500, 0..=u64::MAX, "How often the flusher wakes.";
    dirtytime_expire_seconds "dirtytime_expire_seconds" = 43200, 0..=u64::MAX, "Time stamps older than this are written.";
    extfrag_threshold "extfrag_threshold" = 500, 0..=1000, "Above it a failure is blamed on fragmentation: compact, do not reclaim.";
    laptop_mode "laptop_mode" = 0, 0..=u64::MAX, "Batches writes so that a disk may sleep.";
    legacy_va_layout "legacy_va_layout" = 0, 0..=1, "mmap from the bottom up, as in 2.4.";
    max_map_count "max_map_count" = 65530, 0..=i32::MAX as u64, "Areas a process may have.";
    min_free_kbytes "min_free_kbytes" = 0, 0..=i32::MAX as u64, "What the watermarks are computed from.";
    min_slab_ratio "min_slab_ratio" = 5, 0..=100, "Slab share of a node from which node reclaim shrinks it.";
    min_unmapped_ratio "min_unmapped_ratio" = 1, 0..=100, "Unmapped share of a node from which node reclaim works.";
    mmap_min_addr "mmap_min_addr" = 65536, 0..=u64::MAX, "Lowest address a process may map.";
    nr_hugepages "nr_hugepages" = 0, 0..=u64::MAX, "Persistent huge pages (not simulated: stays 0).";
    nr_overcommit_hugepages "nr_overcommit_hugepages" = 0, 0..=u64::MAX, "Surplus huge pages (not simulated).";
    numa_stat "numa_stat" = 1, 0..=1, "NUMA counters are kept.";
    oom_dump_tasks "oom_dump_tasks" = 1, 0..=1, "The OOM report lists the tasks.";
    oom_kill_allocating_task "oom_kill_allocating_task" = 0, 0..=1, "The OOM killer kills whoever asks.";
    overcommit_kbytes "overcommit_kbytes" = 0, 0..=u64::MAX, "Commit limit in kB; 0 uses the ratio.";
    overcommit_memory "overcommit_memory" = 0, 0..=2, "0 guesses, 1 always grants, 2 never overcommits.";
    overcommit_ratio "overcommit_ratio" = 50, 0..=u64::MAX, "Percentage of RAM that may be committed in mode 2.";
    page_cluster "page-cluster" = 3, 0..=10, "Swap readahead: 2^n pages.";
    page_lock_unfairness "page_lock_unfairness" = 5, 0..=u64::MAX, "How often a page lock may be stolen.";
    panic_on_oom "panic_on_oom" = 0, 0..=2, "Panic instead of killing a task.";
    percpu_pagelist_high_fraction "percpu_pagelist_high_fraction" = 0, 0..=i32::MAX as u64, "Per-CPU lists may hold this fraction of a zone; 0 uses low.";
    stat_interval "stat_interval" = 1, 0..=u64::MAX, "Seconds between foldings of per-CPU counters.";
    swappiness "swappiness" = 60, 0..=200, "Cost of swapping against that of file reads, 100 is equal.";
    unprivileged_userfaultfd "unprivileged_userfaultfd" = 0, 0..=1, "userfaultfd for everybody.";
    user_reserve_kbytes "user_reserve_kbytes" = 131_072, 0..=u64::MAX, "Kept for the user's recovery in mode 2, in kB.";
    vfs_cache_pressure "vfs_cache_pressure" = 100, 0..=u64::MAX, "How hard dentries and inodes are reclaimed.";
    watermark_boost_factor "watermark_boost_factor" = 15000, 0..=u64::MAX, "How far a fallback raises the watermarks, of 10000.";
    watermark_scale_factor "watermark_scale_factor" = 10, 1..=3000, "Distance between watermarks, of 10000.";
    zone_reclaim_mode "zone_reclaim_mode" = 0, 0..=7, "Reclaim locally before using another node.";
}

/// Tunables outside of `vm.`: those of the laboratory, which no kernel has, and two of the kernel.
pub const OURS: &[(&str, &str)] = &[
    (
        "vmlab.lumpy_reclaim",
        "Orders above 0 are reclaimed as in 2.6.23 to 3.4, neighbours together, and nothing is compacted.",
    ),
    (TAINTED, "Reasons to doubt what the kernel says, a bit each; bits that are written are added."),
    (RANDOMIZE, "0 lays every program out alike, 1 shuffles stack, mmap and text, 2 the heap too."),
];

/// The mask that reports begin with.
const TAINTED: &str = "kernel.tainted";
/// A kernel has 0, 1 or 2; distributions set 2.
const RANDOMIZE: &str = "kernel.randomize_va_space";

/// The name without `vm.` and `/proc/sys/vm/`.
fn short(name: &str) -> &str {
    let name = name.strip_prefix("/proc/sys/").unwrap_or(name);
    let dotted = name.replacen('/', ".", 1);
    if let Some((known, _)) = OURS.iter().find(|(known, _)| *known == dotted) {
        return known;
    }
    name.strip_prefix("vm.").or_else(|| name.strip_prefix("vm/")).unwrap_or(name)
}

impl Machine {
    /// Every tunable's name, in the order of `sysctl -a`.
    pub fn sysctl_names(&self) -> Vec<&'static str> {
        let mut names: Vec<&str> = Sysctl::ALL.iter().map(|t| t.0).chain(["lowmem_reserve_ratio"]).collect();
        names.sort_unstable();
        names
    }

    /// Reads a tunable; reading `lowmem_reserve_ratio` recomputes the reserves, as in the kernel.
    ///
    /// # Errors
    /// `ENOENT` when there is none of that name.
    pub fn sysctl(&mut self, name: &str) -> Result<String, SysctlError> {
        let key = short(name);
        if key == "lowmem_reserve_ratio" {
            let text = self.lowmem_reserve_ratio();
            self.setup_per_zone_lowmem_reserve();
            return Ok(text);
        }
        self.peek_sysctl(key).ok_or_else(|| unknown(name))
    }

    /// Reads a tunable without the side effect that reading may have.
    pub fn peek_sysctl(&self, name: &str) -> Option<String> {
        match short(name) {
            "lowmem_reserve_ratio" => Some(self.lowmem_reserve_ratio()),
            "vmlab.lumpy_reclaim" => Some(u64::from(self.lumpy_reclaim).to_string()),
            TAINTED => Some(self.tainted.to_string()),
            RANDOMIZE => Some(self.randomize_va_space.to_string()),
            key => self.sysctl.value(key).map(|v| v.to_string()),
        }
    }

    fn lowmem_reserve_ratio(&self) -> String {
        let zones = self.config.arch.zone_types().len();
        let ratios: Vec<String> =
            self.sysctl.lowmem_reserve_ratio[..zones.min(5)].iter().map(u64::to_string).collect();
        ratios.join("\t")
    }

    /// Writes a tunable, with everything that the kernel recomputes then.
    ///
    /// # Errors
    /// `EINVAL` outside of the range, `ENOENT` when there is none of that name; nothing is changed then.
    pub fn set_sysctl(&mut self, name: &str, value: &str) -> Result<(), SysctlError> {
        let key = short(name);
        let old = self.peek_sysctl(key).ok_or_else(|| unknown(name))?;
        match key {
            "lowmem_reserve_ratio" => self.write_lowmem_reserve_ratio(value)?,
            "vmlab.lumpy_reclaim" => match value.trim() {
                "0" => self.lumpy_reclaim = false,
                "1" => self.lumpy_reclaim = true,
                other => return Err(invalid(format!("{name}={other} is out of range: 0 to 1"))),
            },
            TAINTED => match value.trim().parse() {
                Ok(mask) => self.add_taints(mask),
                Err(_) => return Err(invalid(format!("{name} takes a whole number, not {value:?}"))),
            },
            RANDOMIZE => match value.trim().parse::<u64>() {
                Ok(new @ 0..=2) => self.randomize_va_space = new,
                _ => return Err(invalid(format!("{name}={value} is out of range: 0 to 2"))),
            },
            _ => {
                let new: u64 = value
                    .trim()
                    .parse()
                    .map_err(|_| invalid(format!("{name} takes a whole number, not {value:?}")))?;
                if key == "percpu_pagelist_high_fraction" && (1..8).contains(&new) {
                    return Err(invalid(format!("{name} is 0 or at least 8, not {new}")));
                }
                if key == "min_free_kbytes" && new / 4 > self.totalram_pages() {
                    let ram = self.totalram_pages() * 4;
                    return Err(invalid(format!("{name}={new} is more than the machine has: {ram} kB")));
                }
                let Some((slot, least, most)) = self.sysctl.slot(key) else { return Err(unknown(name)) };
                if new < least || new > most {
                    return Err(invalid(format!("{name}={new} is out of range: {least} to {most}")));
                }
                *slot = new;
                self.after_write(key, new);
            }
        }
        let new = self.peek_sysctl(key).unwrap_or_default();
        let name =
            if OURS.iter().any(|(ours, _)| *ours == key) { key.to_string() } else { format!("vm.{key}") };
        self.emit(Event::Sysctl { name, old, new });
        Ok(())
    }

    /// What the kernel's handlers do after a value has changed.
    fn after_write(&mut self, key: &str, new: u64) {
        match key {
            "min_free_kbytes" => {
                self.sysctl.user_min_free_kbytes = Some(new);
                self.setup_per_zone_wmarks();
            }
            "watermark_scale_factor" => self.setup_per_zone_wmarks(),
            "compaction_proactiveness" => self.trigger_proactive_compaction(),
            "percpu_pagelist_high_fraction" => (0..self.zones.len()).for_each(|z| self.zone_pcp_update(z)),
            "dirty_ratio" => self.sysctl.dirty_bytes = 0,
            "dirty_bytes" => self.sysctl.dirty_ratio = 0,
            "dirty_background_ratio" => self.sysctl.dirty_background_bytes = 0,
            "dirty_background_bytes" => self.sysctl.dirty_background_ratio = 0,
            "overcommit_ratio" => self.sysctl.overcommit_kbytes = 0,
            "overcommit_kbytes" => self.sysctl.overcommit_ratio = 0,
            _ => {}
        }
    }

    fn write_lowmem_reserve_ratio(&mut self, value: &str) -> Result<(), SysctlError> {
        let most = self.config.arch.zone_types().len().min(5);
        let words: Vec<&str> = value.split_whitespace().collect();
        let parse = |w: &&str| {
            w.parse::<u64>().map_err(|_| invalid(format!("vm.lowmem_reserve_ratio takes numbers, not {w:?}")))
        };
        let numbers = words.iter().map(parse).collect::<Result<Vec<u64>, _>>()?;
        // As the kernel does, fewer numbers change the first ones and further ones are ignored.
        for (slot, ratio) in self.sysctl.lowmem_reserve_ratio[..most].iter_mut().zip(numbers) {
            *slot = ratio;
        }
        self.setup_per_zone_lowmem_reserve();
        Ok(())
    }
}

fn invalid(what: String) -> SysctlError {
    SysctlError { errno: Errno::EINVAL, what }
}

fn unknown(name: &str) -> SysctlError {
    SysctlError { errno: Errno::ENOENT, what: format!("there is no sysctl {name}; `sysctl -a` lists them") }
}
