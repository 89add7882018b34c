//! The translation lookaside buffer: what each CPU has loaded, how it was flushed, how often it helps.
//!
//! Gorman 3.8. Kernel: `arch/x86/mm/tlb.c`.

use crate::mm::Machine;
use crate::mm::addr::PAGE_SHIFT;
use crate::mm::tlb::NR_DYN_ASIDS;
use crate::mm::tlb::model::Model;
use crate::script::answer::{ScriptResult, misuse};
use crate::script::bench::Bench;
use crate::script::objects;
use crate::script::table::{Cell, Record, Table};
use rhai::plugin::*;

/// The translation lookaside buffer.
#[export_module]
pub mod functions {
    /// What every CPU's TLB has loaded, how often it was flushed, and what accesses cost with it.
    ///
    /// Flushes are always counted. Hits and misses are counted while the processor's TLB is modelled: `tlb("on")` begins,
    /// `tlb("off")` ends it. The last column is what an access costs on average: looks into the TLB, the walk of the page
    /// tables where they fail, and the access itself, by the machine's `tlb` sizes and times.
    ///
    /// ```vmlab
    /// > tlb("on");
    /// > let p = spawn("app");
    /// > let a = mmap(p, 0, "1M", PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS);
    /// > touch(p, a, "1M"); touch(p, a, "1M"); touch(p, a, "64k");
    /// > tlb()
    /// CPU  TASK  LOADED MM         LAZY  PCID  SWITCHES  FLUSH ALL  FLUSH PAGE  IPI SENT  RECEIVED  SPARED
    ///   0     3  ffff888000420000  yes      1         1          0           0         0         0       0
    ///
    /// level 1: 64 entries, 4 ways, 0.5 ns; level 2: 1536 entries, 12 ways, 3.5 ns; memory: 80.0 ns; 6 PCIDs
    /// CPU    ACCESSES     LEVEL 1     LEVEL 2       WALKS  HIT RATIO  EFFECTIVE ACCESS TIME
    ///   0         528           0         272         256      51.5%  239.1 ns
    /// > tlb().rows[0].walks
    /// 256
    /// ```
    ///
    /// Kernel: `cpu_tlbstate`, `flush_tlb_mm_range`, `arch/x86/mm/tlb.c`. Gorman: 3.8.
    pub fn tlb(ctx: NativeCallContext) -> Table {
        super::view(&Bench::of(&ctx).borrow().machine)
    }

    #[rhai_fn(name = "tlb", return_raw)]
    pub fn tlb_switch(ctx: NativeCallContext, what: &str) -> ScriptResult<()> {
        let bench = Bench::of(&ctx);
        let mut desk = bench.borrow_mut();
        match what {
            "on" => desk.machine.model_tlb(true),
            "off" => desk.machine.model_tlb(false),
            other => return misuse(format!("tlb takes \"on\" or \"off\", not {other:?}")),
        }
        Ok(())
    }

    /// The translations that a CPU's TLB remembers, while it is modelled; `PSE` is one for a huge page.
    ///
    /// ```vmlab
    /// > tlb("on");
    /// > let p = spawn("app");
    /// > write(p, p.vmas[2].end - 8, 1);
    /// > tlb_entries(0).rows.len
    /// 2
    /// ```
    ///
    /// Kernel: none, it is hardware. Gorman: 3.8.
    #[rhai_fn(return_raw)]
    pub fn tlb_entries(ctx: NativeCallContext, cpu: i64) -> ScriptResult<Table> {
        let bench = Bench::of(&ctx);
        let desk = bench.borrow();
        let tlb = usize::try_from(cpu).ok().and_then(|cpu| desk.machine.tlbs.get(cpu));
        match tlb.map(|tlb| tlb.model.as_deref()) {
            Some(Some(model)) => Ok(super::entries(model)),
            Some(None) => misuse("the processor's TLB is not modelled: tlb(\"on\") begins"),
            None => misuse(format!("there is no CPU {cpu}")),
        }
    }
}

/// A line for each CPU, and below them what accesses cost.
fn view(machine: &Machine) -> Table {
    let mut cpus: Vec<u16> = machine.nodes.iter().flat_map(|n| n.cpus.iter().copied()).collect();
    cpus.sort_unstable();
    let digits = machine.config.arch.address_digits();
    let mut table = Table::new().head(format!(
        "CPU  TASK  {:<digits$}  LAZY  PCID  SWITCHES  FLUSH ALL  FLUSH PAGE  IPI SENT  RECEIVED  SPARED",
        "LOADED MM"
    ));
    let mut records: Vec<Record> = Vec::new();
    for &cpu in &cpus {
        let tlb = &machine.tlbs[usize::from(cpu)];
        let loaded = tlb.loaded.map_or("init_mm".to_string(), |mm| format!("{:x}", objects::mm(machine, mm)));
        let lazy = machine.is_lazy(cpu) && tlb.loaded.is_some();
        let task = if tlb.task == 0 { "-".to_string() } else { tlb.task.to_string() };
        let c = tlb.count;
        table = table.line(format!(
            "{cpu:>3}  {task:>4}  {loaded:<digits$}  {:<4}  {:>4}  {:>8}  {:>9}  {:>10}  {:>8}  {:>8}  {:>6}",
            if lazy { "yes" } else { "no" },
            tlb.asid,
            c.switches,
            c.local_all,
            c.local_one,
            c.remote,
            c.received,
            c.lazy_spared
        ));
        let accesses = tlb.model.as_ref().map(|m| m.count).unwrap_or_default();
        records.push(vec![
            ("cpu".into(), cpu.into()),
            ("task".into(), tlb.task.into()),
            ("mm".into(), tlb.loaded.map_or(Cell::Empty, |mm| Cell::Addr(objects::mm(machine, mm)))),
            ("lazy".into(), lazy.into()),
            ("pcid".into(), tlb.asid.into()),
            ("switches".into(), c.switches.into()),
            ("flush_all".into(), c.local_all.into()),
            ("flush_page".into(), c.local_one.into()),
            ("ipi_sent".into(), c.remote.into()),
            ("received".into(), c.received.into()),
            ("spared".into(), c.lazy_spared.into()),
            ("l1".into(), accesses.l1.into()),
            ("l2".into(), accesses.l2.into()),
            ("walks".into(), accesses.walks.into()),
            ("effective_ps".into(), accesses.effective_ps(&machine.config.tlb).into()),
        ]);
    }
    let spec = &machine.config.tlb;
    if machine.tlbs.iter().all(|tlb| tlb.model.is_none()) {
        return table.note("hits and misses are not counted: tlb(\"on\") begins").with_records(records);
    }
    table = table
        .line("")
        .line(format!(
            "level 1: {} entries, {} ways, {}; level 2: {} entries, {} ways, {}; memory: {}; {NR_DYN_ASIDS} PCIDs",
            spec.l1,
            spec.l1_ways,
            ns(spec.l1_ps),
            spec.l2,
            spec.l2_ways,
            ns(spec.l2_ps),
            ns(spec.memory_ps)
        ))
        .line("CPU    ACCESSES     LEVEL 1     LEVEL 2       WALKS  HIT RATIO  EFFECTIVE ACCESS TIME");
    for &cpu in &cpus {
        let Some(model) = &machine.tlbs[usize::from(cpu)].model else { continue };
        let c = model.count;
        let hits = (c.l1 + c.l2) as f64 * 100.0 / c.total().max(1) as f64;
        table = table.line(format!(
            "{cpu:>3}  {:>10}  {:>10}  {:>10}  {:>10}  {hits:>8.1}%  {}",
            c.total(),
            c.l1,
            c.l2,
            c.walks,
            ns(c.effective_ps(spec))
        ));
    }
    table.with_records(records)
}

/// Picoseconds as `83.5 ns`.
fn ns(ps: u64) -> String {
    format!("{}.{} ns", ps / 1000, ps % 1000 / 100)
}

fn entries(model: &Model) -> Table {
    let mut table = Table::new().head("LEVEL  PCID  VIRTUAL       PHYSICAL      FLAGS");
    let mut records = Vec::new();
    for (level, e) in model.entries() {
        let (virt, phys) = (e.addr().0, u64::from(e.pfn) << PAGE_SHIFT);
        let mut flags = if e.writable { "RW" } else { "RO" }.to_string();
        flags += if e.global { "|GLOBAL" } else { "" };
        flags += if e.is_huge() { "|PSE" } else { "" };
        table = table.line(format!("{level:>5}  {:>4}  {virt:<12x}  {phys:<12x}  {flags}", e.asid));
        records.push(vec![
            ("level".into(), i64::from(level).into()),
            ("pcid".into(), i64::from(e.asid).into()),
            ("virtual".into(), Cell::Addr(virt)),
            ("physical".into(), Cell::Addr(phys)),
            ("writable".into(), e.writable.into()),
            ("global".into(), e.global.into()),
            ("huge".into(), e.is_huge().into()),
        ]);
    }
    table.with_records(records)
}
