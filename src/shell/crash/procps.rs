//! `free` and `pmap`, as a Linux user types them.

use crate::shell::crash::{Spelling, task};
use clap::Args;

/// Shows how much memory is used, free and available.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct Free {
    /// In bytes
    #[arg(short = 'b')]
    bytes: bool,
    /// In kB, as without an option
    #[arg(short = 'k')]
    kilo: bool,
    /// In MiB
    #[arg(short = 'm')]
    mega: bool,
    /// In GiB
    #[arg(short = 'g')]
    giga: bool,
    /// In units that fit
    #[arg(short = 'h')]
    human: bool,
}

impl Spelling for Free {
    const NAME: &'static str = "free";
    const SEE_ALSO: &'static [&'static str] = &["kmem -i", "cat /proc/meminfo", "swap"];

    fn script(&self) -> Result<String, String> {
        let unit = match self {
            Free { bytes: true, .. } => "\"-b\"",
            Free { mega: true, .. } => "\"-m\"",
            Free { giga: true, .. } => "\"-g\"",
            Free { human: true, .. } => "\"-h\"",
            _ => "",
        };
        Ok(format!("free({unit})"))
    }
}

/// Shows the areas of a task.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct Pmap {
    /// With what of them is in memory, and dirty
    #[arg(short = 'x')]
    long: bool,
    /// A pid
    #[arg(value_name = "PID", required = true)]
    tasks: Vec<String>,
}

impl Spelling for Pmap {
    const NAME: &'static str = "pmap";
    const SEE_ALSO: &'static [&'static str] = &["vm", "cat /proc/self/smaps", "draw"];
    const PLAIN: bool = true;

    fn script(&self) -> Result<String, String> {
        let option = if self.long { "\"-x\", " } else { "" };
        let calls: Vec<String> =
            self.tasks.iter().map(|word| format!("pmap({option}{})", task(word))).collect();
        Ok(super::together(&calls))
    }
}
