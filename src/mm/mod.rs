//! The simulator: Linux 6.1's memory manager on a simulated machine.
//!
//! | module | kernel file | Gorman |
//! |---|---|---|
//! | [`addr`] | `include/linux/mm_types.h` | 2 |
//! | [`errno`] | `include/uapi/asm-generic/errno-base.h` | |
//! | [`gfp`] | `include/linux/gfp_types.h` | 6.4 |
//! | [`config`] | what a boot loader and the firmware hand over | 2 |

pub mod addr;
pub mod config;
pub mod errno;
pub mod gfp;
