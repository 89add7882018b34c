//! `sys`: what this machine is, in the crash utility's first screen.

use crate::mm::Machine;
use crate::mm::addr::PAGE_SHIFT;
use crate::script::bench::Bench;
use crate::script::ps::list;
use crate::script::table::Table;
use rhai::plugin::*;

/// What this machine is.
#[export_module]
pub mod functions {
    /// Shows what the machine is: kernel, CPUs, how long it is up, tasks, memory, nodes and seed.
    ///
    /// ```vmlab
    /// > sys()
    ///       KERNEL: 6.1
    ///     DUMPFILE: none: the machine is simulated
    ///         CPUS: 1
    ///       UPTIME: 00:00:00
    ///        TASKS: 6
    ///     NODENAME: tiny
    ///      RELEASE: 6.1
    ///      MACHINE: x86_64
    ///       MEMORY: 15 MB  NODES: 1  CPUS: 1  SEED: 1
    ///        PANIC: ""
    /// > sys().rows[0].nodes
    /// 1
    /// ```
    ///
    /// Kernel: `init_uts_ns`, `init/version.c`.
    /// Command: `sys`
    pub fn sys(ctx: NativeCallContext) -> Table {
        super::table(&Bench::of(&ctx).borrow().machine)
    }
}

fn table(machine: &Machine) -> Table {
    let config = &machine.config;
    let cpus = config.nr_cpus();
    let seconds = machine.clock / 1_000_000_000;
    let uptime = format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    let tasks = list::all(machine).iter().filter(|t| t.st != "DE").count();
    let kernel = &config.kernel;
    let memory = config.present_pages() >> (20 - PAGE_SHIFT);
    let nodes = machine.nodes.len();
    let arch = config.arch.name();
    let panic = machine.panicked.clone().unwrap_or_default();
    Table::new()
        .line(format!("      KERNEL: {kernel}"))
        .line("    DUMPFILE: none: the machine is simulated")
        .line(format!("        CPUS: {cpus}"))
        .line(format!("      UPTIME: {uptime}"))
        .line(format!("       TASKS: {tasks}"))
        .line(format!("    NODENAME: {}", config.name))
        .line(format!("     RELEASE: {kernel}"))
        .line(format!("     MACHINE: {arch}"))
        .line(format!("      MEMORY: {memory} MB  NODES: {nodes}  CPUS: {cpus}  SEED: {}", config.seed))
        .line(format!("       PANIC: {panic:?}"))
        .with_records(vec![vec![
            ("kernel".into(), kernel.to_string().into()),
            ("cpus".into(), cpus.into()),
            ("uptime".into(), seconds.into()),
            ("tasks".into(), tasks.into()),
            ("nodename".into(), config.name.as_str().into()),
            ("machine".into(), arch.into()),
            ("nodes".into(), nodes.into()),
            ("seed".into(), config.seed.into()),
        ]])
}
