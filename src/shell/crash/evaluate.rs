//! `eval` and `cow`: a number in every radix, and who shares a page.

use crate::shell::crash::{Spelling, bare, task};
use crate::shell::words::quoted;
use clap::Args;

/// Shows a number, or an operation on two, in hexadecimal, decimal, octal and binary.
///
/// A line whose first word is followed by a parenthesis is Rhai: leave it out, or write %eval.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct Eval {
    /// -b for the bits that are set, and the expression: 64k, 0x10 + 3, 1 << 20
    #[arg(value_name = "EXPRESSION", required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

impl Spelling for Eval {
    const NAME: &'static str = "eval";
    const SEE_ALSO: &'static [&'static str] = &["evaluate", "ptob", "btop", "pte"];
    const PLAIN: bool = true;

    fn script(&self) -> Result<String, String> {
        Ok(format!("evaluate({})", quoted(&self.words.join(" "))))
    }
}

/// Tells who shares the page at a task's address, and what a write to it would do.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct Cow {
    /// A pid, or the address of a task
    #[arg(value_name = "PID", required = true)]
    task: String,
    /// A user's address in hexadecimal
    #[arg(value_name = "ADDRESS", required = true)]
    address: String,
}

impl Spelling for Cow {
    const NAME: &'static str = "cow";
    const SEE_ALSO: &'static [&'static str] = &["vtop", "explain", "rmap", "fork"];
    const PLAIN: bool = true;

    fn script(&self) -> Result<String, String> {
        Ok(format!("cow({}, {})", task(&self.task), bare(&self.address)?))
    }
}
