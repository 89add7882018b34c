//! How a script ends, and what it can ask of the language itself.

use crate::script::answer::{self, ScriptResult, misuse};
use crate::script::args;
use crate::script::bench::Bench;
use crate::script::handles::TaskRef;
use crate::script::strace;
use rhai::plugin::*;

/// The program: ending it.
#[export_module]
pub mod functions {
    /// Ends the script with this status, 0 to 255; with a task, that task exits instead.
    ///
    /// ```vmlab
    /// > exit(300)
    /// error: exit takes a task or a status from 0 to 255, not the int 300
    /// ```
    #[rhai_fn(return_raw)]
    pub fn exit(ctx: NativeCallContext, status: Dynamic) -> ScriptResult<Dynamic> {
        if status.is::<TaskRef>() {
            let bench = Bench::of(&ctx);
            let mut desk = bench.borrow_mut();
            let pid = args::who(&desk, &status)?;
            let result = answer::answer(desk.machine.exit_task(pid, 0));
            strace::exited(&bench, &desk, pid, "exit", 0, &result);
            return Ok(result);
        }
        match status.as_int().ok().and_then(|n| u8::try_from(n).ok()) {
            Some(status) => answer::exit(status),
            None => misuse(format!(
                "exit takes a task or a status from 0 to 255, not {}",
                args::describe(&status)
            )),
        }
    }

    #[rhai_fn(name = "exit", return_raw)]
    pub fn exit_0() -> ScriptResult<()> {
        answer::exit(0)
    }
}
