//! The machine: booting one, tuning it, letting its time pass.
//!
//! Kernel: `init/main.c`, `kernel/sysctl.c`.

mod properties;
mod sysctl;
mod time;

use crate::import;
use crate::mm::Machine;
use crate::mm::config::Config;
use crate::mm::machine::Dice;
use crate::script::answer::{ScriptResult, misuse};
use crate::script::args;
use crate::script::bench::Bench;
use crate::script::handles::{MachineRef, listed};
use crate::script::table::{Column, Table, WIDTH, wrap};
use crate::script::takes::{CpuNumber, MachineSpec};
use rhai::plugin::*;
use rhai::{FnPtr, Map};

/// All of the chapter.
pub fn module() -> Module {
    let mut module = exported_module!(functions);
    combine_with_exported_module!(&mut module, "properties", properties::functions);
    combine_with_exported_module!(&mut module, "sysctl", sysctl::functions);
    combine_with_exported_module!(&mut module, "time", time::functions);
    module
}

/// The machine: booting one, tuning it, letting its time pass.
#[export_module]
pub mod functions {
    /// Boots another machine: a shipped one by its name, a file, or a description; with a kernel command line, if given.
    ///
    /// Handles and snapshots of the old machine are stale afterwards. Of the command line, `kernelcore=`,
    /// `movablecore=`, `movable_node`, `transparent_hugepage=`, `slub_debug`, `slab_nomerge`, `page_owner=on` and `page_poison=1`
    /// have an effect; the log names the others.
    ///
    /// ```vmlab
    /// > boot("tiny", "page_owner=on");
    /// > cat /proc/cmdline
    /// page_owner=on
    /// > boot(#{ mem: "64M" }, "movablecore=25%"); zone("Movable").managed > 0
    /// error: a zone has no property managed
    ///  --> 1:59
    ///   |
    /// 1 | boot(#{ mem: "64M" }, "movablecore=25%"); zone("Movable").managed > 0
    ///   |                                                           ^^^^^^^
    ///   help: it has boost, free, free_area, high, low, managed_pages, min, name, node, pageset, pcp, present_pages, protection, spanned_pages, zone_end_pfn, zone_start_pfn
    /// > boot("x86_64-numa2")
    /// machine x86_64-numa2: x86_64, kernel 6.1
    ///   MEMORY: 2047 MB (2017048 kB managed)  NODES: 2  CPUS: 2  SEED: 1
    ///   inferred: Node 0, zone DMA32: its free blocks hold 233576 pages, zoneinfo shows 233639;
    ///     the files are of different moments, the blocks count.
    /// > boot(#{ arch: "x86_64", mem: "64M", cpus: 2 })
    /// machine custom: x86_64, kernel 6.1
    ///   MEMORY: 63 MB (49152 kB managed)  NODES: 1  CPUS: 2  SEED: 1
    ///   inferred: A plain machine: 3998 pages are taken as the kernel's own share,
    ///     everything else is free.
    /// > boot("x86_64-1T")
    /// error: x86_64-1T: there is no such machine among the 27 shipped ones
    ///   help: Did you mean x86_64-1T-numa8?
    /// ```
    ///
    /// Kernel: `start_kernel`, `init/main.c`.
    /// Command: `boot x86_64-numa2`
    #[rhai_fn(return_raw)]
    pub fn boot(ctx: NativeCallContext, machine: MachineSpec) -> ScriptResult<MachineRef> {
        let bench = Bench::of(&ctx);
        let host = bench.borrow().limits.host;
        let config = super::config(&machine, host)?;
        super::put(&bench, config)
    }

    #[rhai_fn(name = "boot", return_raw)]
    pub fn boot_with(ctx: NativeCallContext, machine: Dynamic, cmdline: &str) -> ScriptResult<MachineRef> {
        let bench = Bench::of(&ctx);
        let host = bench.borrow().limits.host;
        let config = super::config_with_cmdline(&machine, cmdline, host)?;
        super::put(&bench, config)
    }

    /// Boots the same machine afresh.
    ///
    /// ```vmlab
    /// > let p = alloc_pages(GFP_KERNEL, 0);
    /// > reset()
    /// machine tiny: x86_64, kernel 6.1
    ///   MEMORY: 15 MB (12288 kB managed)  NODES: 1  CPUS: 1  SEED: 1
    ///   inferred: A plain machine: 926 pages are taken as the kernel's own share, everything else is free.
    /// > p.refcount
    /// error: page pfn=0x400 belonged to a machine that is gone: another one was booted
    ///  --> 1:3
    ///   |
    /// 1 | p.refcount
    ///   |   ^^^^^^^^
    /// ```
    ///
    /// Command: `reset`
    #[rhai_fn(return_raw)]
    pub fn reset(ctx: NativeCallContext) -> ScriptResult<MachineRef> {
        let bench = Bench::of(&ctx);
        let config = bench.borrow().machine.spec().clone();
        super::put(&bench, config)
    }

    /// The machine: what it is, and what was inferred about it.
    ///
    /// ```vmlab
    /// > machine()
    /// machine tiny: x86_64, kernel 6.1
    ///   MEMORY: 15 MB (12288 kB managed)  NODES: 1  CPUS: 1  SEED: 1
    ///   inferred: A plain machine: 926 pages are taken as the kernel's own share, everything else is free.
    /// > machine().arch
    /// x86_64
    /// ```
    ///
    /// Command: `machine`
    pub fn machine() -> MachineRef {
        MachineRef
    }

    /// Lists the shipped machines.
    ///
    /// ```vmlab
    /// > machines().rows[0].name
    /// tiny
    /// ```
    ///
    /// Command: `machines`
    pub fn machines() -> Table {
        super::shipped()
    }

    /// Chooses the CPU on which the script goes on.
    ///
    /// ```vmlab
    /// > boot("x86_64-smp4-1G");
    /// > on_cpu(3)
    /// > on_cpu(4)
    /// error: there is no CPU 4: this machine has CPUs 0-3
    /// ```
    ///
    /// Command: `on_cpu 1`
    #[rhai_fn(return_raw)]
    pub fn on_cpu(ctx: NativeCallContext, cpu: CpuNumber) -> ScriptResult<()> {
        let bench = Bench::of(&ctx);
        let machine = &mut bench.borrow_mut().machine;
        let chosen = u16::try_from(cpu).ok().and_then(|cpu| machine.set_cpu(cpu));
        match chosen {
            Some(()) => Ok(()),
            None => {
                let cpus: Vec<u16> = machine.nodes.iter().flat_map(|n| n.cpus.iter().copied()).collect();
                misuse(format!("there is no CPU {cpu}: this machine has {}", listed("CPU", &cpus)))
            }
        }
    }

    /// Runs a closure as an interrupt handler, on the CPU where the script is; answers what it answers.
    ///
    /// Whoever is interrupted cannot go on before the handler is done, so nothing in it may sleep.
    ///
    /// ```vmlab
    /// > in_interrupt(|| alloc_page(GFP_ATOMIC))
    /// page pfn=0x400 order=0 zone=DMA node=0
    /// > in_interrupt(|| alloc_page(GFP_KERNEL))
    /// BUG: sleeping function called from invalid context at include/linux/sched/mm.h:274
    ///   GFP_KERNEL may sleep (__GFP_DIRECT_RECLAIM), and an interrupt handler must not: nobody could wake
    ///     it
    ///   GFP_ATOMIC may be used here, and GFP_NOWAIT by those who can do without
    /// ```
    ///
    /// Kernel: `irq_enter`, `kernel/softirq.c`; `might_alloc`, `include/linux/sched/mm.h`.
    #[rhai_fn(return_raw)]
    pub fn in_interrupt(ctx: NativeCallContext, handler: FnPtr) -> ScriptResult<Dynamic> {
        let bench = Bench::of(&ctx);
        let (outer, boots) = {
            let mut desk = bench.borrow_mut();
            (desk.machine.irq_enter(), desk.boots)
        };
        let answer = handler.call_within_context(&ctx, ());
        let mut desk = bench.borrow_mut();
        if desk.boots == boots {
            desk.machine.irq_exit(outer);
        }
        answer
    }

    /// Sets the machine's dice: the same seed makes the same things happen.
    ///
    /// ```vmlab
    /// > seed(7);
    /// > let a = random(100);
    /// > seed(7);
    /// > random(100) == a
    /// true
    /// ```
    ///
    /// Command: `seed 7`
    pub fn seed(ctx: NativeCallContext, n: i64) {
        Bench::of(&ctx).borrow_mut().machine.dice = Dice::new(n as u64);
    }

    /// Throws the machine's dice: a number from 0 to n - 1.
    ///
    /// ```vmlab
    /// > seed(1);
    /// > random(6)
    /// 3
    /// > random(0)
    /// error: random(0): the dice have at least one side
    /// ```
    #[rhai_fn(return_raw)]
    pub fn random(ctx: NativeCallContext, n: i64) -> ScriptResult<i64> {
        match u64::try_from(n) {
            Ok(n) if n > 0 => Ok(Bench::of(&ctx).borrow_mut().machine.dice.below(n) as i64),
            _ => misuse(format!("random({n}): the dice have at least one side")),
        }
    }

    /// Proves every invariant of the machine: no page lost, none in two places.
    ///
    /// ```vmlab
    /// > check()
    /// pages 3072: free 3072 + per-CPU 0 + used 0 = 3072 (verified)
    /// ```
    ///
    /// Command: `check`
    #[rhai_fn(return_raw)]
    pub fn check(ctx: NativeCallContext) -> ScriptResult<String> {
        let census = Bench::of(&ctx).borrow().machine.check();
        match census {
            Ok(c) => {
                let isolated =
                    if c.isolated > 0 { format!(" + isolated {}", c.isolated) } else { String::new() };
                let sum = c.free + c.pcp + c.isolated + c.used;
                Ok(format!(
                    "pages {}: free {} + per-CPU {}{isolated} + used {} = {sum} (verified)",
                    c.managed, c.free, c.pcp, c.used
                ))
            }
            Err(broken) => misuse(format!("this is a bug in vmlab: an invariant is broken: {broken}")),
        }
    }
}

/// The machine that `boot` is asked for.
fn config(machine: &Dynamic, host: bool) -> ScriptResult<Config> {
    let config = if let Some(name) = machine.read_lock::<ImmutableString>() {
        // A stranger's script may boot shipped machines, but read no files.
        if host { import::machine(&name) } else { import::shipped::get(&name) }
    } else if let Some(map) = machine.read_lock::<Map>() {
        // A map is a spec: JSON is YAML.
        let spec = rhai::format_map_as_json(&map);
        import::parse("custom", "boot(#{…})", &spec)
    } else {
        return misuse(format!("boot takes a name, a file or a map, not {}", args::describe(machine)));
    };
    config.or_else(|why| misuse(why.to_string()))
}

/// The same with words on the kernel's command line.
fn config_with_cmdline(machine: &Dynamic, cmdline: &str, host: bool) -> ScriptResult<Config> {
    let config = if let Some(name) = machine.read_lock::<ImmutableString>() {
        if !host && import::shipped::text(&name).is_none() {
            return config(machine, host);
        }
        import::machine_with_cmdline(&name, cmdline)
    } else if let Some(map) = machine.read_lock::<Map>() {
        let spec = rhai::format_map_as_json(&map);
        import::spec::machine_with_cmdline("custom", "boot(#{…})", &spec, cmdline)
    } else {
        return config(machine, host);
    };
    config.or_else(|why| misuse(why.to_string()))
}

fn put(bench: &Bench, config: Config) -> ScriptResult<MachineRef> {
    match Machine::boot(config) {
        Ok(machine) => {
            bench.borrow_mut().put(machine);
            Ok(MachineRef)
        }
        Err(why) => misuse(why.to_string()),
    }
}

/// The shipped machines: what each has, and what it is for.
pub fn shipped() -> Table {
    let mut rows = Vec::new();
    for name in import::shipped::names() {
        let Ok(config) = import::shipped::get(name) else { continue };
        rows.push(vec![
            name.into(),
            config.arch.name().into(),
            (config.present_pages() * 4 / 1024).into(),
            config.nodes.len().into(),
            config.nr_cpus().into(),
            import::shipped::purpose(name).into(),
        ]);
    }
    let columns = ["NAME", "ARCH"].map(|head| Column::left(head, 0)).into_iter();
    let columns = columns.chain(["MIB", "NODES", "CPUS"].map(|head| Column::right(head, 0)));
    Table::grid(columns.chain([Column::left("PURPOSE", 0)]).collect(), rows)
}

/// What a person wants to know of a machine first.
pub fn text(machine: &Machine) -> String {
    let config = &machine.config;
    let mut lines =
        vec![format!("machine {}: {}, kernel {}", config.name, config.arch.name(), config.kernel)];
    let kb = machine.totalram_pages() * 4;
    lines.push(format!(
        "  MEMORY: {} MB ({kb} kB managed)  NODES: {}  CPUS: {}  SEED: {}",
        config.present_pages() * 4 / 1024,
        machine.nodes.len(),
        config.nr_cpus(),
        config.seed
    ));
    if machine.is_early() {
        let next = machine.next_early_step().map_or("memblock_free_all", |step| step.name());
        lines.push(format!(
            "  stopped at memblock: next is {next}; step() does it, memblock_free_all() does the rest"
        ));
    }
    let inferred = config.inferred.iter().map(|sentence| format!("  inferred: {sentence}"));
    lines.extend(inferred.flat_map(|sentence| wrap(&sentence, WIDTH)));
    lines.join("\n")
}
