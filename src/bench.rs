//! `vmlab bench`: what the simulator's own operations cost on this host, in a second or two.
//!
//! It measures itself alone, by the wall clock, on the machine that `--machine` names: enough to see whether a
//! change or a build made it slower. The comparison with other simulators, allocators and this host's kernel is the
//! package in `benches/`, which says how it measures.

use std::hint::black_box;
use std::time::Instant;
use vmlab::mm::Machine;
use vmlab::mm::addr::{Order, PAGE_SIZE, Pfn, VirtAddr};
use vmlab::mm::config::Config;
use vmlab::mm::errno::Errno;
use vmlab::mm::gfp::Gfp;
use vmlab::mm::machine::Dice;
use vmlab::mm::memory::Access;
use vmlab::mm::mmap::{map, prot};
use vmlab::mm::task::Pid;
use vmlab::script::table::{Column, Table};

/// Runs of each operation; the one in the middle counts. One more warms up.
const RUNS: usize = 5;
/// Steps of a run of the allocator.
const STEPS: usize = 100_000;
/// Pages of the mapping: 64 MiB, or an eighth of what is free.
const PAGES: u64 = 16_384;
const MASK: Gfp = Gfp::HIGHUSER_MOVABLE;

/// How the comparison with others is run.
const PEERS: &str = "cargo run --release --manifest-path benches/Cargo.toml";

/// Why a measurement could not be made: the simulated machine refused.
type Refused = String;

/// An operation with what it costs.
pub struct Row {
    what: String,
    /// The kernel's function that does it.
    kernel: &'static str,
    /// How often it was done in a run.
    each: usize,
    /// Nanoseconds of each, run by run, ascending.
    ns: Vec<f64>,
}

impl Row {
    fn median(&self) -> f64 {
        self.ns[self.ns.len() / 2]
    }
}

/// Measures every operation on a machine.
///
/// # Errors
/// When the machine is too small to do something.
pub fn measure(config: &Config) -> Result<Vec<Row>, Refused> {
    let mut machine = Machine::boot(config.clone()).map_err(|why| why.to_string())?;
    let m = &mut machine;
    let pages = PAGES.min(m.nr_free_pages() / 8).max(1);
    let order = Order::new(if pages < PAGES { 3 } else { 9 }).unwrap_or_default();
    let (each, mixed) = (pages as usize, format!("alloc and free, orders 0 to {order}"));
    let boot = || Ok(timed(1, || black_box(Machine::boot(config.clone()))).0);
    Ok(vec![
        row("boot", "start_kernel", 1, boot)?,
        row("alloc and free, order 0", "__alloc_pages", STEPS, || one_page(m))?,
        row(&mixed, "__alloc_pages", STEPS / 2, || random_orders(m, order))?,
        row("kmalloc(64) and kfree", "__kmem_cache_alloc_node", STEPS, || one_object(m))?,
        row("first write to a page", "handle_mm_fault", each, || Process::of(m, pages)?.fault())?,
        row("write to a resident page", "no fault", each, || Process::of(m, pages)?.touch())?,
        row("fork, a resident page", "copy_page_range", each, || Process::of(m, pages)?.fork())?,
        row("copy on write, a page", "wp_page_copy", each, || Process::of(m, pages)?.copy())?,
        row("munmap, a resident page", "unmap_page_range", each, || Process::of(m, pages)?.munmap())?,
    ])
}

fn row(
    what: &str,
    kernel: &'static str,
    each: usize,
    mut run: impl FnMut() -> Result<f64, Refused>,
) -> Result<Row, Refused> {
    // The first run warms up.
    run()?;
    let mut ns = (0..RUNS).map(|_| run()).collect::<Result<Vec<f64>, Refused>>()?;
    ns.sort_by(f64::total_cmp);
    Ok(Row { what: what.into(), kernel, each, ns })
}

/// The rows for people.
pub fn table(rows: &[Row], config: &Config) -> Table {
    let cells = rows.iter().map(|row| {
        let [low, high] = [row.ns[0], row.ns[RUNS - 1]].map(shown);
        vec![
            row.what.as_str().into(),
            shown(row.median()).into(),
            format!("{low} to {high}").into(),
            (row.each as u64).into(),
            row.kernel.into(),
        ]
    });
    let columns = vec![
        Column::left("OPERATION", 0),
        Column::right("NS EACH", 0),
        Column::right("FROM TO", 0),
        Column::right("IN A RUN", 0),
        Column::left("KERNEL", 0),
    ];
    let table = Table::grid(columns, cells.collect());
    let how = format!("Medians of {RUNS} runs on the machine {}, by this host's wall clock.", config.name);
    let table = table.line("").line(how);
    let table = if cfg!(debug_assertions) {
        table.note("this is a debug build, several times slower: cargo run --release -- bench")
    } else {
        table
    };
    table.line("Beside other simulators, allocators and this host's kernel:").line(format!("  {PEERS}"))
}

/// The rows for programs.
pub fn json(rows: &[Row], config: &Config) -> serde_json::Value {
    let rows = rows.iter().map(|row| {
        serde_json::json!({
            "operation": row.what, "kernel": row.kernel, "operations": row.each,
            "ns": row.median(), "ns_least": row.ns[0], "ns_most": row.ns[RUNS - 1],
        })
    });
    serde_json::json!({
        "schema": 1, "machine": config.name, "runs": RUNS, "debug_build": cfg!(debug_assertions),
        "rows": rows.collect::<Vec<_>>(),
    })
}

fn shown(ns: f64) -> String {
    if ns < 100.0 { format!("{ns:.1}") } else { format!("{ns:.0}") }
}

fn timed<T>(n: usize, run: impl FnOnce() -> T) -> (f64, T) {
    let start = Instant::now();
    let value = black_box(run());
    (start.elapsed().as_nanos() as f64 / n as f64, value)
}

fn refused(errno: Errno) -> Refused {
    format!("the machine is too small to measure on: {errno}")
}

/// A page taken and given back, again and again.
fn one_page(machine: &mut Machine) -> Result<f64, Refused> {
    let (ns, done) = timed(STEPS, || {
        for _ in 0..STEPS {
            let pfn = machine.alloc_pages(MASK, Order::ZERO).map_err(refused)?;
            machine.free_pages(pfn, Order::ZERO).map_err(|oops| oops.to_string())?;
        }
        Ok(())
    });
    done.map(|()| ns)
}

/// An object of 64 bytes taken and given back, again and again.
fn one_object(machine: &mut Machine) -> Result<f64, Refused> {
    let (ns, done) = timed(STEPS, || {
        for _ in 0..STEPS {
            let object = machine.kmalloc(64, Gfp::KERNEL).map_err(refused)?;
            machine.kfree(object).map_err(|oops| oops.to_string())?;
        }
        Ok(())
    });
    done.map(|()| ns)
}

/// Blocks of random orders in random slots; a pair is a block taken and given back.
fn random_orders(machine: &mut Machine, most: Order) -> Result<f64, Refused> {
    let mut dice = Dice::new(4);
    let slots = (machine.nr_free_pages() >> (most.get() + 1)).clamp(1, 256) as usize;
    let mut taken: Vec<Option<(Pfn, Order)>> = vec![None; slots];
    let (ns, done) = timed(STEPS / 2, || {
        for _ in 0..STEPS {
            let slot = &mut taken[dice.below(slots as u64) as usize];
            *slot = match slot.take() {
                Some((pfn, order)) => {
                    machine.free_pages(pfn, order).map_err(|oops| oops.to_string())?;
                    None
                }
                None => {
                    let order = Order::new(dice.below(u64::from(most.get()) + 1) as u8).unwrap_or_default();
                    Some((machine.alloc_pages(MASK, order).map_err(refused)?, order))
                }
            };
        }
        Ok(())
    });
    for (pfn, order) in taken.into_iter().flatten() {
        machine.free_pages(pfn, order).map_err(|oops| oops.to_string())?;
    }
    done.map(|()| ns)
}

/// A process with a mapping, ended when it goes out of scope.
struct Process<'a> {
    machine: &'a mut Machine,
    pid: Pid,
    base: VirtAddr,
    pages: u64,
}

impl Drop for Process<'_> {
    fn drop(&mut self) {
        // It is over already when the OOM killer came.
        let _ = self.machine.exit_task(self.pid, 0);
    }
}

impl<'a> Process<'a> {
    fn of(machine: &'a mut Machine, pages: u64) -> Result<Process<'a>, Refused> {
        let pid = machine.spawn("bench").map_err(refused)?;
        let (rw, anonymous) = (prot::READ | prot::WRITE, map::PRIVATE | map::ANONYMOUS);
        let base = machine.mmap(pid, VirtAddr(0), pages * PAGE_SIZE, rw, anonymous).map_err(refused)?;
        Ok(Process { machine, pid, base, pages })
    }

    fn write(&mut self) -> Result<f64, Refused> {
        let bytes = self.pages * PAGE_SIZE;
        let (ns, touched) =
            timed(self.pages as usize, || self.machine.touch(self.pid, self.base, bytes, Access::Write));
        touched.map(|_| ns).map_err(|stop| format!("the machine is too small to measure on: {stop:?}"))
    }

    fn fault(mut self) -> Result<f64, Refused> {
        self.write()
    }

    fn touch(mut self) -> Result<f64, Refused> {
        self.write()?;
        self.write()
    }

    fn fork(mut self) -> Result<f64, Refused> {
        self.write()?;
        let (ns, child) = timed(self.pages as usize, || self.machine.fork(self.pid));
        self.machine.exit_task(child.map_err(refused)?, 0).map_err(refused)?;
        Ok(ns)
    }

    fn copy(mut self) -> Result<f64, Refused> {
        self.write()?;
        let child = self.machine.fork(self.pid).map_err(refused)?;
        let ns = self.write();
        self.machine.exit_task(child, 0).map_err(refused)?;
        ns
    }

    fn munmap(mut self) -> Result<f64, Refused> {
        self.write()?;
        let (base, bytes) = (self.base, self.pages * PAGE_SIZE);
        let (ns, done) = timed(self.pages as usize, || self.machine.munmap(self.pid, base, bytes));
        done.map(|_| ns).map_err(refused)
    }
}
