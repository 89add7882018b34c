//! The simulator: Linux 6.1's memory manager on a simulated machine.
//!
//! | module | kernel file | Gorman |
//! |---|---|---|
//! | [`addr`] | `include/linux/mm_types.h` | 2 |
//! | [`errno`] | `include/uapi/asm-generic/errno-base.h` | |
//! | [`gfp`] | `include/linux/gfp_types.h` | 6.4 |
//! | [`config`] | what a boot loader and the firmware hand over | 2 |
//! | [`page`] | `include/linux/mm_types.h`, `page-flags.h` | 2 |
//! | [`mmzone`] | `include/linux/mmzone.h` | 2 |
//! | [`boot`] | `mm/mm_init.c`, `mm/page_alloc.c` | 5 |
//! | [`page_alloc`] | `mm/page_alloc.c` | 6 |
//! | [`va_layout`] | `arch/*/include/asm/page.h` | 2.5 |
//! | [`compaction`] | `mm/compaction.c` | |
//! | [`vmscan`] | `mm/vmscan.c` | 10 |
//! | [`oom_kill`] | `mm/oom_kill.c` | 13 |
//! | [`page_writeback`] | `mm/page-writeback.c` | 10.2 |
//! | [`util`] | `mm/util.c` | 13.1 |
//! | [`sysctl`] | `kernel/sysctl.c` | |
//! | [`vmstat`] | `mm/vmstat.c` | |
//! | [`trace`] | `include/trace/events/*.h` | |
//! | [`machine`] | owns everything | |
//! | [`check`] | proves the invariants | |

pub mod addr;
pub mod boot;
pub mod check;
pub mod compaction;
pub mod config;
pub mod errno;
pub mod gfp;
pub mod machine;
pub mod mmzone;
pub mod oom_kill;
pub mod page;
pub mod page_alloc;
pub mod page_writeback;
pub mod sysctl;
pub mod trace;
pub mod util;
pub mod va_layout;
pub mod vmscan;
pub mod vmstat;

pub use machine::Machine;
