//! What recorded kernels showed, and what the simulator shows: files of /proc, layouts, reports, tunables, workloads.
//!
//! `truth_boot`, `truth_vma` and `reports` are programs of their own.

#[path = "../support/layout.rs"]
mod layout;
#[path = "../support/truth.rs"]
mod truth;

mod crash;
mod crash_layout;
mod early;
mod proc;
mod reports;
mod slab;
mod sysctl;
mod workloads;
