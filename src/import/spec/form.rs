//! The form of a machine spec: which keys there are.
//!
//! Fidelity: not of the kernel — unknown keys are refused, so that a misspelling is found.

use super::many::Many;
use super::values::{
    AllocatorName, Amount, ArchName, ByType, Cpus, Debug, Free, Hole, Number, Settings, Size, StopName, Text,
    Thp,
};
use crate::mm::config::{Costs, LruPages, Owners};
use crate::mm::tlb::model::TlbSpec;
use crate::mm::vmstat::NumaStat;
use serde::Deserialize;

/// A whole spec.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    pub name: Option<Text>,
    pub arch: Option<ArchName>,
    pub kernel: Option<Text>,
    #[serde(default)]
    pub la57: bool,
    pub mem: Option<Size>,
    pub cpus: Option<u64>,
    pub nodes: Option<Many<NodeSpec>>,
    pub swap: Option<Many<SwapSpec>>,
    pub pageblock_order: Option<u8>,
    pub cma: Option<bool>,
    pub thp: Option<Thp>,
    pub slab: Option<AllocatorName>,
    pub cmdline: Option<String>,
    #[serde(default)]
    pub late_freed: Vec<LateSpec>,
    #[serde(default)]
    pub sysctl: Settings,
    #[serde(default)]
    pub costs: CostsSpec,
    #[serde(default)]
    pub tlb: TlbForm,
    pub iomem: Option<String>,
    pub slabs: Option<String>,
    pub vmallocinfo: Option<String>,
    pub seed: Option<u64>,
    pub fail_nth: Option<u64>,
    pub inferred: Option<Vec<String>>,
    pub kernel_image: Option<ImageSpec>,
    pub ramdisk: Option<Hole>,
    #[serde(default)]
    pub alternatives: u64,
    pub machine: Option<Text>,
    pub stop: Option<StopName>,
    pub memblock: Option<Debug>,
    pub kernelcore: Option<Amount>,
    pub movablecore: Option<Amount>,
    #[serde(default)]
    pub movable_node: bool,
}

/// The kernel's image: where it lies, and the sizes of its parts in kB.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageSpec {
    pub frames: Option<Hole>,
    pub code: u64,
    pub rwdata: u64,
    pub rodata: u64,
    pub init: u64,
    pub bss: u64,
}

/// A node: plain (`mem`), or with its zones.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct NodeSpec {
    pub node: Option<u8>,
    pub mem: Option<Size>,
    pub cpus: Option<Cpus>,
    #[serde(default)]
    pub distances: Vec<u8>,
    pub zones: Option<Zones>,
    #[serde(default)]
    pub owners: OwnersSpec,
}

/// The zones of a node; those left out are empty.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Zones {
    #[serde(rename = "DMA")]
    pub dma: Option<ZoneSpec>,
    #[serde(rename = "DMA32")]
    pub dma32: Option<ZoneSpec>,
    #[serde(rename = "Normal")]
    pub normal: Option<ZoneSpec>,
    #[serde(rename = "HighMem")]
    pub high_mem: Option<ZoneSpec>,
    #[serde(rename = "Movable")]
    pub movable: Option<ZoneSpec>,
    #[serde(rename = "Device")]
    pub device: Option<ZoneSpec>,
}

/// A zone.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ZoneSpec {
    #[serde(default)]
    pub start_pfn: Number,
    #[serde(default)]
    pub spanned: Number,
    pub present: Option<Number>,
    pub managed: Option<Number>,
    #[serde(default)]
    pub holes: Vec<Hole>,
    pub free: Option<Free>,
    #[serde(default)]
    pub pageblocks: ByType,
    #[serde(default)]
    pub pcp: Vec<u64>,
    #[serde(default)]
    pub lru: LruSpec,
    #[serde(default)]
    pub cma: u64,
    pub shown: Option<ShownSpec>,
}

/// A swap area.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SwapSpec {
    pub name: Option<String>,
    pub size: Option<Size>,
    pub pages: Option<u64>,
    pub priority: Option<i16>,
}

/// Memory freed after the watermarks were computed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LateSpec {
    pub what: String,
    #[serde(default)]
    pub node: u8,
    pub zone: String,
    pub pages: u64,
}

/// Watermarks taken as shown, not computed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShownSpec {
    #[serde(default)]
    pub boost: u64,
    pub min: u64,
    pub low: u64,
    pub high: u64,
    pub protection: Vec<u64>,
    #[serde(default)]
    pub highatomic: u64,
    #[serde(default)]
    pub numa: [u64; NumaStat::COUNT],
    pub pcp_high: u64,
    pub pcp_batch: u64,
}

/// A struct of numbers of the simulator, as a spec writes it: fields that keep their default are left out.
macro_rules! numbers {
    ($spec:ident, $of:ident, $($field:ident)*) => {
        #[doc = concat!("`", stringify!($of), "` as a spec writes it.")]
        #[derive(Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $spec {
            $(pub $field: u64,)*
        }

        impl Default for $spec {
            fn default() -> $spec {
                let $of { $($field,)* } = $of::default();
                $spec { $($field,)* }
            }
        }

        impl From<$spec> for $of {
            fn from(spec: $spec) -> $of {
                let $spec { $($field,)* } = spec;
                $of { $($field,)* }
            }
        }

        impl $spec {
            /// The fields that differ from their default.
            pub fn changed(of: &$of) -> Vec<(&'static str, u64)> {
                let default = $of::default();
                let all = [$((stringify!($field), of.$field, default.$field),)*];
                all.into_iter().filter(|(_, value, default)| value != default).map(|(n, v, _)| (n, v)).collect()
            }
        }
    };
}

numbers!(LruSpec, LruPages, inactive_anon active_anon inactive_file active_file unevictable mlock);
numbers!(OwnersSpec, Owners, slab_reclaimable slab_unreclaimable page_tables kernel_stack_kb file anon mapped shmem dirty swapcached);
numbers!(TlbForm, TlbSpec, l1 l1_ways l2 l2_ways l1_ps l2_ps memory_ps);
numbers!(CostsSpec, Costs, trap minor_fault alloc clear_page copy_page scan_page disk_read disk_write migrate_page kthread_share);
