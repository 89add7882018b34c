//! What happened, and why: events, counters, the kernel log, the last allocation with its arithmetic.
//!
//! Kernel: `include/trace/events/*.h`, `mm/vmstat.c`, `kernel/printk/printk.c`.

use crate::mm::Machine;
use crate::mm::trace::GROUPS;
use crate::mm::trace::{Path, Stamped};
use crate::script::answer::{ScriptResult, misuse};
use crate::script::bench::Bench;
use crate::script::suggest::nearest;
use crate::script::table::{Record, Table};
use crate::script::takes::CounterName;
use rhai::Map;
use rhai::plugin::*;

/// What happened, and why: events, counters, the kernel log.
#[export_module]
pub mod functions {
    /// Explains the last allocation: the mask decoded, every zone tried with its arithmetic, every step of the slow path.
    ///
    /// After a call that was refused it tells what refused it; after an access that ended in a signal, the fault; after
    /// any other access the page allocation that came last.
    ///
    /// `explain("fault")` goes through the last page fault, `explain("compaction")` tells what compaction did last,
    /// `explain("contig")` what became of the last range, `explain("report")` why the request failed in the report that
    /// the machine was made of.
    ///
    /// ```vmlab
    /// > let p = alloc_pages(GFP_KERNEL, 2);
    /// > explain()
    /// alloc_pages(GFP_KERNEL, 2) wanted 4 pages together and got pfn 0x400.
    ///   mask: may sleep and reclaim, may start IO, may enter the file system, may wake kswapd;
    ///     unmovable pages, zones up to Normal.
    ///   zone                 free  must exceed
    ///   DMA                  3072  137 = low 137 + lowmem_reserve 0: allowed
    ///   The per-CPU list was empty: 1 block of order 2 was moved to it from zone DMA,
    ///     the first one out of a block of order 10.
    ///   No Unmovable block was free: one was taken from Movable; its pageblock changed hands.
    /// Kernel: __alloc_pages, get_page_from_freelist, zone_watermark_fast.
    ///   Next: kmem -z, gfp(mask), events()
    /// ```
    ///
    /// Command: `explain`
    pub fn explain(ctx: NativeCallContext) -> Table {
        let bench = Bench::of(&ctx);
        let desk = bench.borrow();
        crate::script::told::explain(&desk.machine, &desk.told)
    }

    #[rhai_fn(name = "explain", return_raw)]
    pub fn explain_what(ctx: NativeCallContext, what: &str) -> ScriptResult<Table> {
        match what {
            "alloc" | "allocation" | "last" => Ok(super::page_account(&Bench::of(&ctx).borrow().machine)),
            "kmalloc" | "slab" => {
                Ok(Table::prose(&crate::script::slab::explain(&Bench::of(&ctx).borrow().machine)))
            }
            "report" => {
                let bench = Bench::of(&ctx);
                let account = &bench.borrow().machine.config.account;
                if account.is_empty() {
                    return misuse(
                        "explain(\"report\"): this machine was not made of a kernel's report: vmlab import LOG",
                    );
                }
                Ok(crate::script::imported::account(account))
            }
            "fault" => Ok(crate::script::fault_path::explain(&Bench::of(&ctx).borrow().machine)),
            "vmalloc" => crate::script::vmalloc::explain(&Bench::of(&ctx).borrow().machine),
            "contig" => crate::script::contig::explain(&Bench::of(&ctx).borrow().machine),
            "compaction" => crate::script::compaction::explain(&Bench::of(&ctx).borrow().machine),
            other => misuse(format!(
                "explain({other:?}): there is `explain()`, and `explain(what)` with \"alloc\", \"kmalloc\", \"fault\", \"compaction\", \"contig\", \"report\" or \"vmalloc\""
            )),
        }
    }

    /// Records hot events, too: pages allocated and freed, blocks split and merged.
    ///
    /// Without it only decisions are recorded. A pattern chooses what `events()` shows: `kmem:*`; `off` ends it.
    ///
    /// ```vmlab
    /// > trace("kmem:mm_page_alloc");
    /// > alloc_page(GFP_KERNEL);
    /// > events()
    ///           script-24      [000]     0.000000: mm_page_alloc: pfn=0x400 order=0 migratetype=0 gfp_flags=GFP_KERNEL
    /// > trace("off")
    /// ```
    ///
    /// Command: `trace kmem:*`, `trace off`
    #[rhai_fn(return_raw)]
    pub fn trace(ctx: NativeCallContext, pattern: &str) -> ScriptResult<()> {
        let bench = Bench::of(&ctx);
        let mut desk = bench.borrow_to_look();
        let words: Vec<String> =
            pattern.split_whitespace().filter(|w| *w != "on").map(String::from).collect();
        let off = matches!(pattern.trim(), "off" | "");
        for word in words.iter().filter(|_| !off) {
            super::known_group(word)?;
        }
        desk.machine.record_hot_events(!off);
        desk.traced = if off || words.is_empty() { vec!["*".into()] } else { words };
        Ok(())
    }

    /// Lists the recorded events, as the kernel's tracer prints them; a pattern chooses some.
    ///
    /// ```vmlab
    /// > sysctl("vm.swappiness", 10);
    /// > events()
    ///           script-24      [000]     0.000000: sysctl_write: vm.swappiness old=60 new=10
    /// > events("kmem:*").rows.len
    /// 0
    /// > events()[0].event
    /// sysctl_write
    /// ```
    ///
    /// Kernel: `include/trace/events/kmem.h`.
    /// Command: `events`, `events vmscan:*`
    pub fn events(ctx: NativeCallContext) -> Table {
        let bench = Bench::of(&ctx);
        let desk = bench.borrow();
        super::events(&desk.machine, &desk.traced)
    }

    #[rhai_fn(name = "events")]
    pub fn events_like(ctx: NativeCallContext, pattern: &str) -> Table {
        let patterns: Vec<String> = pattern.split_whitespace().map(String::from).collect();
        super::events(&Bench::of(&ctx).borrow().machine, &patterns)
    }

    /// Shows the kernel log.
    ///
    /// ```vmlab
    /// > let p = alloc_page(GFP_KERNEL);
    /// > __free_pages(p, 1)
    /// BUG: Bad page state in process script  pfn:00400
    ///   page dumped because: nonzero _refcount
    ///   order 1 given, allocated with 0
    ///   a kernel does not remember the order of such a block: it would free pages behind the block that
    ///     belong to others
    /// > log()
    /// [    0.000000] Zone ranges:
    /// [    0.000000]   DMA      [mem 0x0000000000001000-0x0000000000ffffff]
    /// [    0.000000]   DMA32    empty
    /// [    0.000000]   Normal   empty
    /// [    0.000000]   Device   empty
    /// [    0.000000] Movable zone start for each node
    /// [    0.000000] Early memory node ranges
    /// [    0.000000]   node   0: [mem 0x0000000000001000-0x000000000009efff]
    /// [    0.000000]   node   0: [mem 0x0000000000100000-0x0000000000ffffff]
    /// [    0.000000] Initmem setup node 0 [mem 0x0000000000001000-0x0000000000ffffff]
    /// [    0.000000] On node 0, zone DMA: 1 pages in unavailable ranges
    /// [    0.000000] On node 0, zone DMA: 97 pages in unavailable ranges
    /// [    0.000000] On node 0, zone DMA: 28672 pages in unavailable ranges
    /// [    0.000000] Fallback order for Node 0: 0
    /// [    0.000000] Built 1 zonelists, mobility grouping on.  Total pages: 3008
    /// [    0.000000] Policy zone: DMA
    /// [    0.000000] Dentry cache hash table entries: 2048 (order: 2, 16384 bytes, linear)
    /// [    0.000000] Inode-cache hash table entries: 1024 (order: 1, 8192 bytes, linear)
    /// [    0.000000] Memory: 12288K/15992K available (658K kernel code, 107K rwdata, 418K rodata, 129K init, 797K bss, 3704K reserved, 0K cma-reserved)
    /// [    0.000000] SLUB: HWalign=64, Order=0-3, MinObjects=0, CPUs=1, Nodes=1
    /// [    0.000000] BUG: Bad page state in process script  pfn:00400
    /// [    0.000000] page:ffffea0000010000 refcount:1 mapcount:0 mapping:0000000000000000 index:0x0 pfn:0x400
    /// [    0.000000] flags: 0x7ffffc0000000(node=0|zone=0|lastcpupid=0x1fffff)
    /// [    0.000000] page dumped because: nonzero _refcount
    /// [    0.000000] CPU: 0 PID: 24 Comm: script Not tainted 6.1.0-vmlab #1
    /// [    0.000000] Call Trace:
    /// [    0.000000]  <TASK>
    /// [    0.000000]  dump_stack_lvl
    /// [    0.000000]  bad_page
    /// [    0.000000]  __free_pages
    /// [    0.000000]  </TASK>
    /// ```
    ///
    /// Kernel: `kernel/printk/printk.c`.
    /// Command: `log`
    pub fn log(ctx: NativeCallContext) -> Table {
        super::log(&Bench::of(&ctx).borrow().machine)
    }

    /// The counters of /proc/vmstat as a map, or one of them.
    ///
    /// Those of pages are what the machine has; those of events, `numa_hit` and its kin among them, start at 0 when it
    /// is booted.
    ///
    /// ```vmlab
    /// > vmstat("nr_free_pages") == nr_free_pages()
    /// true
    /// > vmstat("pgfault")
    /// 0
    /// > vmstat().pgfree
    /// 0
    /// > vmstat("pgfalt")
    /// error: there is no counter pgfalt; did you mean pgfault?
    /// ```
    ///
    /// Kernel: `mm/vmstat.c`.
    #[rhai_fn(name = "vmstat")]
    pub fn vmstat_map(ctx: NativeCallContext) -> Map {
        let bench = Bench::of(&ctx);
        let desk = bench.borrow();
        crate::script::proc::vmstat::counters(&desk.machine)
            .into_iter()
            .map(|(name, n)| (name.into(), (n as i64).into()))
            .collect()
    }

    #[rhai_fn(name = "vmstat", return_raw)]
    pub fn vmstat_counter(ctx: NativeCallContext, name: CounterName) -> ScriptResult<i64> {
        let bench = Bench::of(&ctx);
        let desk = bench.borrow();
        let counters = crate::script::proc::vmstat::counters(&desk.machine);
        if let Some((_, n)) = counters.iter().find(|(counter, _)| *counter == name) {
            return Ok(*n as i64);
        }
        // Ours, which the kernel does not have.
        if let Some(n) = desk.machine.vm_event(&name) {
            return Ok(n as i64);
        }
        let near = nearest(&name, counters.iter().map(|(name, _)| name.as_str()));
        let help = near.first().map(|near| format!("; did you mean {near}?")).unwrap_or_default();
        misuse(format!("there is no counter {name}{help}"))
    }
}

/// The account of the last page allocation; until there is one on an imported machine, of the one in its report.
pub(super) fn page_account(machine: &Machine) -> Table {
    let last = machine.last_alloc();
    if last.path == Path::Begun && !machine.config.account.is_empty() {
        return crate::script::imported::account(&machine.config.account);
    }
    Table::prose(&last.explain())
}

/// Events that fit one of the patterns, oldest first.
fn events(machine: &Machine, patterns: &[String]) -> Table {
    let mut table = Table::new();
    let mut records = Vec::new();
    for event in machine.trace.events().filter(|e| patterns.is_empty() || patterns.iter().any(|p| fits(p, e)))
    {
        table = table.line(line(event));
        records.push(record(event));
    }
    if records.is_empty() {
        table = table.note(
            "no such event was recorded; pages allocated and freed are recorded only after trace(\"kmem:*\")",
        );
    } else if machine.trace.dropped > 0 {
        table = table.note(format!("{} older events were forgotten", machine.trace.dropped));
    }
    table.with_records(records)
}

/// A pattern whose group nobody has would wait for events that never come.
fn known_group(pattern: &str) -> ScriptResult<()> {
    let Some((group, _)) = pattern.split_once(':') else { return Ok(()) };
    if GROUPS.iter().any(|known| like(group, known)) {
        return Ok(());
    }
    let near = crate::script::suggest::nearest(group, GROUPS.iter().copied());
    misuse(match near.first() {
        Some(near) => format!("trace: no events are called {group}:…; did you mean {near}:*?"),
        None => format!("trace: no events are called {group}:…; the groups are {}", GROUPS.join(", ")),
    })
}

/// A text, with one `*` for whatever stands in its place.
fn like(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        Some((start, end)) => {
            text.len() >= start.len() + end.len() && text.starts_with(start) && text.ends_with(end)
        }
        None => pattern == text,
    }
}

/// `kmem:*`, `kmem:mm_page_alloc`, `mm_page_*`, `*`.
fn fits(pattern: &str, event: &Stamped) -> bool {
    let (group, name) = pattern.split_once(':').unwrap_or(("*", pattern));
    like(group, event.event.group()) && like(name, event.event.name())
}

/// `          script-2     [000]     0.000412: mm_page_alloc: pfn=0x32c …`.
fn line(event: &Stamped) -> String {
    let (seconds, micros) = (event.at / 1_000_000_000, event.at / 1000 % 1_000_000);
    format!(
        "{:>16}-{:<7} [{:03}] {seconds:>5}.{micros:06}: {}",
        event.comm.as_str(),
        event.pid,
        event.cpu,
        event.event
    )
}

fn record(event: &Stamped) -> Record {
    let text = event.event.to_string();
    let detail = text.split_once(": ").map_or("", |(_, detail)| detail);
    vec![
        ("ns".into(), event.at.into()),
        ("cpu".into(), event.cpu.into()),
        ("comm".into(), event.comm.as_str().into()),
        ("pid".into(), event.pid.into()),
        ("irq".into(), event.irq.into()),
        ("group".into(), event.event.group().into()),
        ("event".into(), event.event.name().into()),
        ("detail".into(), detail.into()),
        ("explain".into(), event.event.explain().into()),
    ]
}

/// The kernel log as dmesg prints it.
pub fn log(machine: &Machine) -> Table {
    let mut table = Table::new();
    let mut records = Vec::new();
    for line in machine.log() {
        let (seconds, micros) = (line.at / 1_000_000_000, line.at / 1000 % 1_000_000);
        table = table.line(format!("[{seconds:>5}.{micros:06}] {}", line.text));
        records
            .push(vec![("ns".to_string(), line.at.into()), ("line".to_string(), line.text.as_str().into())]);
    }
    table.with_records(records)
}
