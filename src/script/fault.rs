//! Accesses: what a task does to its memory, and what the kernel answers.
//!
//! Gorman 4.6. Kernel: `arch/x86/mm/fault.c`, `mm/memory.c`.

use crate::mm::addr::{PAGE_SIZE, VirtAddr};
use crate::mm::machine::Machine;
use crate::mm::memory::{Access, Stop};
use crate::mm::task::Pid;
use crate::script::answer::{OrSignal, ScriptResult, misuse};
use crate::script::args::{self, Addr, Size, Who};
use crate::script::bench::Bench;
use crate::script::told::Told;
use rhai::Map;
use rhai::plugin::*;

/// Accesses: what a task does to its memory, and what the kernel answers.
#[export_module]
pub mod functions {
    /// Reads 8 bytes at an address of a task, little-endian.
    ///
    /// Returns the signal when the task may not, and `ESRCH` for a dead task.
    ///
    /// ```vmlab
    /// > let p = spawn("app");
    /// > let a = mmap(p, 0, 4096, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS);
    /// > read(p, a)
    /// 0
    /// > write(p, a, 42);
    /// > read(p, a)
    /// 42
    /// > read(p, 0xdead0000)
    /// SIGSEGV (SEGV_MAPERR) at 0xdead0000
    /// > p.alive
    /// false
    /// ```
    ///
    /// Kernel: `exc_page_fault`, `handle_mm_fault`. Gorman: 4.6.
    #[rhai_fn(return_raw)]
    pub fn read(ctx: NativeCallContext, p: Who, addr: Addr) -> ScriptResult<OrSignal<i64>> {
        super::access(&ctx, &p, &addr, |m, pid, addr| m.read_user(pid, addr).map(|v| (v as i64).into()))
    }

    /// Writes 8 bytes at an address of a task, little-endian.
    ///
    /// Returns the signal when the task may not, and `ESRCH` for a dead task.
    ///
    /// ```vmlab
    /// > let p = spawn("app");
    /// > let a = mmap(p, 0, 4096, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS);
    /// > write(p, a, 7);
    /// > let child = fork(p);
    /// > write(child, a, 8);
    /// > [read(p, a), read(child, a)]
    /// [7, 8]
    /// ```
    ///
    /// Kernel: `exc_page_fault`, `handle_mm_fault`. Gorman: 4.6.
    #[rhai_fn(return_raw)]
    pub fn write(ctx: NativeCallContext, p: Who, addr: Addr, value: i64) -> ScriptResult<OrSignal<()>> {
        super::access(&ctx, &p, &addr, |m, pid, addr| {
            m.write_user(pid, addr, value as u64).map(|()| Dynamic::UNIT)
        })
    }

    /// Fetches an instruction at an address of a task.
    ///
    /// ```vmlab
    /// > let p = spawn("app");
    /// > let a = mmap(p, 0, 4096, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS);
    /// > exec(p, a)
    /// SIGSEGV (SEGV_ACCERR) at 0x7ffff7ff8000
    /// ```
    ///
    /// Kernel: `exc_page_fault`, `access_error`.
    #[rhai_fn(return_raw)]
    pub fn exec(ctx: NativeCallContext, p: Who, addr: Addr) -> ScriptResult<OrSignal<()>> {
        super::access(&ctx, &p, &addr, |m, pid, addr| m.exec_user(pid, addr).map(|()| Dynamic::UNIT))
    }

    /// Touches every page that overlaps a range, writing, and counts the faults the task gained.
    ///
    /// Returns the signal when the task dies of it: `SIGKILL` from the OOM killer, too.
    ///
    /// ```vmlab
    /// > let p = spawn("app");
    /// > let a = mmap(p, 0, "1M", PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS);
    /// > touch(p, a, "1M")
    /// #{"major": 0, "minor": 256, "pages": 256}
    /// > touch(p, a, "1M")
    /// #{"major": 0, "minor": 0, "pages": 256}
    /// > p.rss
    /// 257
    /// ```
    ///
    /// Kernel: `exc_page_fault`, `handle_mm_fault`. Gorman: 4.6.
    #[rhai_fn(return_raw)]
    pub fn touch(ctx: NativeCallContext, p: Who, addr: Addr, len: Size) -> ScriptResult<OrSignal<Map>> {
        super::touch_range(&ctx, &p, &addr, &len, Access::Write)
    }

    #[rhai_fn(name = "touch", return_raw)]
    pub fn touch_as(
        ctx: NativeCallContext,
        p: Who,
        addr: Addr,
        len: Size,
        access: i64,
    ) -> ScriptResult<OrSignal<Map>> {
        let access = match access {
            0 => Access::Read,
            1 => Access::Write,
            other => return misuse(format!("touch takes READ or WRITE, not {other}")),
        };
        super::touch_range(&ctx, &p, &addr, &len, access)
    }
}

fn access(
    ctx: &NativeCallContext,
    p: &Dynamic,
    addr: &Dynamic,
    f: impl FnOnce(&mut Machine, Pid, VirtAddr) -> Result<Dynamic, Stop>,
) -> ScriptResult<Dynamic> {
    let bench = Bench::of(ctx);
    let mut desk = bench.borrow_mut();
    let pid = args::who(&desk, p)?;
    let addr = VirtAddr(args::addr("addr", addr)?);
    let result = f(&mut desk.machine, pid, addr);
    desk.told = if result.is_ok() { Told::Access } else { Told::Fault };
    super::task::alive(&desk)?;
    Ok(result.unwrap_or_else(stopped))
}

fn touch_range(
    ctx: &NativeCallContext,
    p: &Dynamic,
    addr: &Dynamic,
    len: &Dynamic,
    access: Access,
) -> ScriptResult<Dynamic> {
    let bench = Bench::of(ctx);
    let pid = args::who(&bench.borrow(), p)?;
    let (start, len) = (args::addr("addr", addr)?, args::size("len", len)?);
    // In pieces, so that a long touch can be stopped.
    const PIECE: u64 = 64 << 20;
    let mut sum = crate::mm::memory::Touched::default();
    let mut at = start;
    // One past the last byte, which may lie beyond all addresses.
    let end = u128::from(start) + u128::from(len);
    while u128::from(at) < end {
        let piece = u64::try_from(end - u128::from(at)).unwrap_or(u64::MAX).min(PIECE);
        let mut desk = bench.borrow_mut();
        let result = desk.machine.touch(pid, VirtAddr(at), piece, access);
        desk.told = if matches!(result, Err(Stop::Signal(_))) { Told::Fault } else { Told::Access };
        super::task::alive(&desk)?;
        match result {
            Ok(touched) => {
                sum.pages += touched.pages;
                sum.minor += touched.minor;
                sum.major += touched.major;
            }
            Err(stop) => return Ok(stopped(stop)),
        }
        if bench.stopped() {
            break;
        }
        at = at.saturating_add(piece);
        // The next piece begins at a page, or the last one of this piece would count twice.
        at = at.div_ceil(PAGE_SIZE).saturating_mul(PAGE_SIZE).max(at);
    }
    let mut map = Map::new();
    for (name, value) in [("pages", sum.pages), ("minor", sum.minor), ("major", sum.major)] {
        map.insert(name.into(), (value as i64).into());
    }
    Ok(map.into())
}

/// A signal or a refusal becomes a value: the simulated task is dead, the script goes on.
fn stopped(stop: Stop) -> Dynamic {
    match stop {
        Stop::Signal(signal) => Dynamic::from(signal),
        Stop::Errno(errno) => Dynamic::from(errno),
    }
}
