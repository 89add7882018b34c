//! Per-CPU data.
//!
//! Kernel: `mm/percpu.c`, `mm/percpu-stats.c`.

use crate::mm::Machine;
use crate::mm::addr::PAGE_SIZE;
use crate::mm::gfp::Gfp;
use crate::mm::percpu::Chunk;
use crate::script::answer::{OrErrno, ScriptResult, answer, misuse, oops};
use crate::script::args::{self, Addr, Address, GfpMask, Size};
use crate::script::bench::Bench;
use crate::script::table::Table;
use rhai::plugin::*;

/// Per-CPU data.
#[export_module]
pub mod functions {
    /// Allocates `size` bytes for every CPU, and answers the per-CPU pointer: an offset that every CPU's unit shares.
    ///
    /// The pointer is no address: [`per_cpu_ptr`] makes one of it. Pages of a unit get their frames, one for each
    /// CPU, when the first variable is put there.
    ///
    /// ```vmlab
    /// > let hits = alloc_percpu(64);
    /// > hits
    /// 0x607fffa00000
    /// > per_cpu_ptr(hits, 0)
    /// 0xffffe8ffffc00000
    /// > per_cpu_ptr(hits, 0) - hits == percpu_offsets().rows[0].offset
    /// true
    /// > alloc_percpu(40000)
    /// EINVAL (Invalid argument)
    /// ```
    ///
    /// Kernel: `__alloc_percpu`, `mm/percpu.c`.
    #[rhai_fn(return_raw)]
    pub fn alloc_percpu(ctx: NativeCallContext, size: Size) -> ScriptResult<OrErrno<Address>> {
        let size = args::size("size", &size)?;
        // As a structure of that size is aligned.
        super::alloc(&ctx, size, 1 << size.max(1).trailing_zeros().min(3), Gfp::KERNEL)
    }

    /// Allocates per-CPU memory of an alignment and by a mask: without `GFP_KERNEL` only what has frames already.
    ///
    /// ```vmlab
    /// > let p = __alloc_percpu_gfp(256, 64, GFP_KERNEL);
    /// > p & 63
    /// 0x0
    /// > is_err(__alloc_percpu_gfp(100, 3, GFP_KERNEL))
    /// true
    /// > log | grep percpu
    /// [    0.000000] illegal size (100) or align (3) for percpu allocation
    /// [    0.000000]  __alloc_percpu
    /// ```
    ///
    /// Kernel: `__alloc_percpu_gfp`, `mm/percpu.c`.
    #[rhai_fn(return_raw)]
    pub fn __alloc_percpu_gfp(
        ctx: NativeCallContext,
        size: Size,
        align: Size,
        gfp: GfpMask,
    ) -> ScriptResult<OrErrno<Address>> {
        super::alloc(&ctx, args::size("size", &size)?, args::size("align", &align)?, args::gfp(&gfp)?)
    }

    /// Frees every CPU's copy of a variable.
    ///
    /// ```vmlab
    /// > let p = alloc_percpu(8);
    /// > free_percpu(p);
    /// > free_percpu(p)
    /// BUG: unable to handle page fault for address: ffffe8ffffc00000
    ///   free_percpu(0x607fffa00000): no variable begins there: freed before, or never allocated;
    ///     pass what alloc_percpu answered, once
    /// ```
    ///
    /// Kernel: `free_percpu`, `mm/percpu.c`.
    #[rhai_fn(return_raw)]
    pub fn free_percpu(ctx: NativeCallContext, ptr: Addr) -> ScriptResult<()> {
        let ptr = args::addr("the per-CPU pointer", &ptr)?;
        oops(Bench::of(&ctx).borrow_mut().machine.free_percpu(ptr))
    }

    /// The address of one CPU's copy: the pointer, plus what [`percpu_offsets`] shows for the CPU.
    ///
    /// ```vmlab
    /// > boot(#{ mem: "64M", cpus: 2 });
    /// > let p = alloc_percpu(16);
    /// > per_cpu_ptr(p, 1) - per_cpu_ptr(p, 0)
    /// 1048576
    /// > per_cpu_ptr(p, 2)
    /// error: there is no CPU 2: the machine has 2, percpu_offsets() lists them
    /// ```
    ///
    /// Kernel: `per_cpu_ptr`, `include/linux/percpu-defs.h`.
    #[rhai_fn(return_raw)]
    pub fn per_cpu_ptr(ctx: NativeCallContext, ptr: Addr, cpu: i64) -> ScriptResult<Address> {
        let ptr = args::addr("the per-CPU pointer", &ptr)?;
        let bench = Bench::of(&ctx);
        let desk = bench.borrow();
        let percpu = &desk.machine.percpu;
        match u16::try_from(cpu).ok().and_then(|cpu| percpu.offset(cpu)) {
            Some(offset) => Ok(Address(offset.wrapping_add(ptr))),
            None => misuse(format!(
                "there is no CPU {cpu}: the machine has {}, percpu_offsets() lists them",
                percpu.offsets().count()
            )),
        }
    }

    /// The address of the running CPU's copy.
    ///
    /// ```vmlab
    /// > let p = alloc_percpu(16);
    /// > this_cpu_ptr(p) == per_cpu_ptr(p, 0)
    /// true
    /// ```
    ///
    /// Kernel: `this_cpu_ptr`, `include/linux/percpu-defs.h`.
    #[rhai_fn(return_raw)]
    pub fn this_cpu_ptr(ctx: NativeCallContext, ptr: Addr) -> ScriptResult<Address> {
        let cpu = i64::from(Bench::of(&ctx).borrow().machine.cpu.0);
        per_cpu_ptr(ctx, ptr, cpu)
    }

    /// How per-CPU memory is used: sizes of a unit, counts, and each chunk with its variables and holes.
    ///
    /// ```vmlab
    /// > let p = alloc_percpu(64);
    /// > percpu_stats()
    /// Percpu Memory Statistics
    /// Allocation Info:
    /// ----------------------------------------
    ///   unit_size           :    2097152
    ///   static_size         :     217088
    ///   reserved_size       :       8192
    ///   dyn_size            :      28672
    /// Global Stats:
    /// ----------------------------------------
    ///   nr_alloc            :          1
    ///   nr_dealloc          :          0
    ///   nr_cur_alloc        :          1
    ///   nr_max_alloc        :          1
    ///   nr_chunks           :          2
    ///   min_alloc_size      :         64
    ///   max_alloc_size      :         64
    ///   empty_pop_pages     :          2
    /// Per Chunk Stats:
    /// ----------------------------------------
    /// Chunk: <- First Chunk
    ///   nr_alloc            :          1
    ///   max_alloc_size      :      28672
    ///   populated           :     253952
    ///   empty_pop_pages     :          0
    ///   free_bytes          :          0
    ///   contig_bytes        :          0
    /// Chunk: 0xffffe8ffffc00000
    ///   nr_alloc            :          1
    ///   max_alloc_size      :         64
    ///   populated           :      12288
    ///   empty_pop_pages     :          2
    ///   free_bytes          :    2097088
    ///   contig_bytes        :    2097088
    /// ```
    ///
    /// Kernel: `percpu_stats_show`, `mm/percpu-stats.c`.
    /// Command: `percpu_stats`
    pub fn percpu_stats(ctx: NativeCallContext) -> Table {
        super::stats(&Bench::of(&ctx).borrow().machine)
    }
}

fn alloc(ctx: &NativeCallContext, size: u64, align: u64, gfp: Gfp) -> ScriptResult<OrErrno<Address>> {
    Ok(answer(Bench::of(ctx).borrow_mut().machine.pcpu_alloc(size, align, gfp).map(Address)))
}

fn stats(machine: &Machine) -> Table {
    let percpu = &machine.percpu;
    let row = |name: &str, value: u64| format!("  {name:<20}: {value:>10}");
    let rule = "-".repeat(40);
    let (least, largest) = percpu.alloc_sizes.unwrap_or_default();
    let mut table = Table::new()
        .line("Percpu Memory Statistics")
        .line("Allocation Info:")
        .line(rule.clone())
        .line(row("unit_size", percpu.unit_size))
        .line(row("static_size", percpu.layout.static_size))
        .line(row("reserved_size", percpu.layout.reserved_size))
        .line(row("dyn_size", percpu.layout.dyn_size))
        .line("Global Stats:")
        .line(rule.clone())
        .line(row("nr_alloc", percpu.nr_alloc))
        .line(row("nr_dealloc", percpu.nr_dealloc))
        .line(row("nr_cur_alloc", percpu.nr_alloc - percpu.nr_dealloc))
        .line(row("nr_max_alloc", percpu.nr_max_alloc))
        .line(row("nr_chunks", percpu.chunks().len() as u64))
        .line(row("min_alloc_size", least))
        .line(row("max_alloc_size", largest))
        .line(row("empty_pop_pages", percpu.empty_pop_pages()))
        .line("Per Chunk Stats:")
        .line(rule);
    let mut records = Vec::new();
    for chunk in percpu.chunks() {
        table = table.line(if chunk.is_first() {
            "Chunk: <- First Chunk".into()
        } else {
            format!("Chunk: {}", chunk.base)
        });
        for (name, value) in chunk_numbers(chunk) {
            table = table.line(row(name, value));
        }
        let mut record: Vec<_> =
            chunk_numbers(chunk).into_iter().map(|(name, value)| (name.to_string(), value.into())).collect();
        record.push(("base".to_string(), crate::script::table::Cell::Addr(chunk.base.0)));
        records.push(record);
    }
    table.with_records(records)
}

fn chunk_numbers(chunk: &Chunk) -> [(&'static str, u64); 6] {
    [
        ("nr_alloc", chunk.nr_alloc() as u64),
        ("max_alloc_size", chunk.areas().map(|(_, size)| size).max().unwrap_or(0)),
        ("populated", chunk.populated() * PAGE_SIZE),
        ("empty_pop_pages", chunk.empty_pop_pages()),
        ("free_bytes", chunk.free_bytes()),
        ("contig_bytes", chunk.contig_bytes()),
    ]
}
