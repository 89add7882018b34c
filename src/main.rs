//! The program: `vmlab`, `vmlab FILE`, `-e CODE`, and the subcommands.
//!
//! Exit status: 0 ok · 1 script error · 2 usage, missing file, failed load · 3 a bug in vmlab · 130 interrupted ·
//! `exit(n)` is n. Results go to standard output; errors, warnings and progress to standard error.

#![forbid(unsafe_code)]

mod bench;
mod cli;

use std::process::ExitCode;

/// Deep scripts recurse deep in the interpreter.
const STACK: usize = 512 << 20;

fn main() -> ExitCode {
    // A panic is a bug in vmlab, not in a script: it becomes exit status 3 and a way to replay it.
    std::panic::set_hook(Box::new(|panic| cli::report_bug(&panic.to_string())));
    let worker = std::thread::Builder::new().stack_size(STACK).spawn(cli::run);
    match worker.map(std::thread::JoinHandle::join) {
        Ok(Ok(status)) => ExitCode::from(status),
        Ok(Err(_)) => ExitCode::from(cli::BUG),
        Err(why) => {
            cli::complain(&format!("error: no thread could be started: {why}"));
            ExitCode::from(cli::BUG)
        }
    }
}
