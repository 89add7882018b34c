//! The everyday tools of a Linux user: `free` and `pmap`.
//!
//! They read /proc, so their numbers are those of `cat`.

mod free;
mod pmap;

use crate::script::answer::ScriptResult;
use crate::script::args::Who;
use crate::script::bench::Bench;
use crate::script::ps::list;
use crate::script::table::Table;
use rhai::plugin::*;

/// The everyday tools of a Linux user.
#[export_module]
pub mod functions {
    /// How much memory is used, free and available: in kB, or as `-b`, `-m`, `-g` or `-h` says.
    ///
    /// ```vmlab
    /// > free()
    /// > free("-m").rows[0].available
    /// ```
    ///
    /// Kernel: /proc/meminfo, `fs/proc/meminfo.c`.
    #[rhai_fn(return_raw)]
    pub fn free(ctx: NativeCallContext, options: &str) -> ScriptResult<Table> {
        super::free::free(&Bench::of(&ctx).borrow().machine, options)
    }

    #[rhai_fn(name = "free", return_raw)]
    pub fn free_in_kilobytes(ctx: NativeCallContext) -> ScriptResult<Table> {
        free(ctx, "")
    }

    /// The areas of a task with their size; with `-x`, what of them is in memory and dirty.
    ///
    /// ```vmlab
    /// > let p = spawn("app");
    /// > sbrk(p, 65536);
    /// > pmap(p)
    /// > pmap("-x", p)
    /// ```
    ///
    /// Kernel: /proc/PID/smaps, `fs/proc/task_mmu.c`.
    #[rhai_fn(return_raw)]
    pub fn pmap(ctx: NativeCallContext, p: Who) -> ScriptResult<Table> {
        pmap_as(ctx, "", p)
    }

    #[rhai_fn(name = "pmap", return_raw)]
    pub fn pmap_as(ctx: NativeCallContext, options: &str, p: Who) -> ScriptResult<Table> {
        let bench = Bench::of(&ctx);
        let desk = bench.borrow();
        let task = list::who(&desk, "pmap", &p)?;
        super::pmap::pmap(&desk.machine, &task, options)
    }
}
