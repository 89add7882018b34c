//! How a script ends, and what it can ask of the language itself.

use crate::script::answer::{ScriptResult, misuse};
use crate::script::args;
use rhai::plugin::*;
use rhai::{EvalAltResult, Position};

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
    pub fn exit(status: Dynamic) -> ScriptResult<()> {
        match status.as_int() {
            Ok(n) if (0..=255).contains(&n) => Err(Box::new(EvalAltResult::Exit(status, Position::NONE))),
            _ => misuse(format!(
                "exit takes a task or a status from 0 to 255, not {}",
                args::describe(&status)
            )),
        }
    }

    #[rhai_fn(name = "exit", return_raw)]
    pub fn exit_0() -> ScriptResult<()> {
        Err(Box::new(EvalAltResult::Exit(0_i64.into(), Position::NONE)))
    }
}
