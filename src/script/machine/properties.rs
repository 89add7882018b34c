//! What a script reads from the handle of the machine.

use crate::script::bench::Bench;
use crate::script::handles::MachineRef;
use crate::script::machine;
use rhai::plugin::*;

/// What a script reads from the handle of the machine.
#[export_module]
pub mod functions {
    /// The name: `x86_64-1G`.
    #[rhai_fn(get = "name", pure)]
    pub fn name(ctx: NativeCallContext, _machine: &mut MachineRef) -> String {
        Bench::of(&ctx).borrow().machine.config.name.clone()
    }

    /// The architecture: `x86_64`.
    #[rhai_fn(get = "arch", pure)]
    pub fn arch(ctx: NativeCallContext, _machine: &mut MachineRef) -> String {
        Bench::of(&ctx).borrow().machine.config.arch.name().into()
    }

    /// The kernel whose rules apply: `6.1`.
    #[rhai_fn(get = "kernel", pure)]
    pub fn kernel(ctx: NativeCallContext, _machine: &mut MachineRef) -> String {
        Bench::of(&ctx).borrow().machine.config.kernel.to_string()
    }

    /// How many CPUs it has.
    #[rhai_fn(get = "cpus", pure)]
    pub fn cpus(ctx: NativeCallContext, _machine: &mut MachineRef) -> i64 {
        Bench::of(&ctx).borrow().machine.config.nr_cpus() as i64
    }

    /// The CPU on which the script runs.
    #[rhai_fn(get = "cpu", pure)]
    pub fn cpu(ctx: NativeCallContext, _machine: &mut MachineRef) -> i64 {
        Bench::of(&ctx).borrow().machine.cpu.0.into()
    }

    /// The seed of its dice.
    #[rhai_fn(get = "seed", pure)]
    pub fn machine_seed(ctx: NativeCallContext, _machine: &mut MachineRef) -> i64 {
        Bench::of(&ctx).borrow().machine.config.seed as i64
    }

    /// Pages given to the allocator.
    #[rhai_fn(get = "managed_pages", pure)]
    pub fn managed_pages(ctx: NativeCallContext, _machine: &mut MachineRef) -> i64 {
        Bench::of(&ctx).borrow().machine.totalram_pages() as i64
    }

    /// Free pages.
    #[rhai_fn(get = "free", pure)]
    pub fn free(ctx: NativeCallContext, _machine: &mut MachineRef) -> i64 {
        Bench::of(&ctx).borrow().machine.nr_free_pages() as i64
    }

    /// What had to be inferred about it, one sentence each.
    #[rhai_fn(get = "inferred", pure)]
    pub fn inferred(ctx: NativeCallContext, _machine: &mut MachineRef) -> rhai::Array {
        Bench::of(&ctx).borrow().machine.config.inferred.iter().map(|s| s.as_str().into()).collect()
    }

    #[rhai_fn(global, name = "to_string", name = "to_debug", pure)]
    pub fn machine_text(ctx: NativeCallContext, _machine: &mut MachineRef) -> String {
        machine::text(&Bench::of(&ctx).borrow().machine)
    }
}
