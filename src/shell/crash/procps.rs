//! `free`, `pmap` and `page-types`, as a Linux user types them.

// page-types separates by tabs, and an example is what it prints.
#![allow(clippy::tabs_in_doc_comments)]

use crate::shell::crash::{Spelling, task};
use crate::shell::words::quoted;
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

/// Shows slab caches by number of objects, the largest first.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct Slabtop {
    /// Once, as always here
    #[arg(short = 'o')]
    once: bool,
}

impl Spelling for Slabtop {
    const NAME: &'static str = "slabtop";
    const SEE_ALSO: &'static [&'static str] = &["kmem -s", "slabinfo", "cat /proc/slabinfo"];

    fn script(&self) -> Result<String, String> {
        Ok("slabtop()".into())
    }
}

/// Shows what slab caches waste: all that have a slab, or everything about one.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct Slabinfo {
    /// A cache
    #[arg(value_name = "CACHE")]
    cache: Option<String>,
}

impl Spelling for Slabinfo {
    const NAME: &'static str = "slabinfo";
    const SEE_ALSO: &'static [&'static str] = &["kmem -S", "slabtop", "cat /proc/slabinfo"];

    fn script(&self) -> Result<String, String> {
        let cache = self.cache.as_deref().map(quoted).unwrap_or_default();
        Ok(format!("slabinfo({cache})"))
    }
}

/// Shows how many pages have which flags.
///
/// ```vmlab
/// > page-types -r | tail -1
///              total	     32768      128
/// > page-types -l | head -3
/// offset	len	flags
/// 0	1	_____________________________________________
/// 1	1	________________________z____________________
/// > page-types -p 1 --script
/// page_types("", 1)
/// ```
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct PageTypes {
    /// All flags, those for kernel developers as well
    #[arg(short = 'r', long = "raw")]
    raw: bool,
    /// Where the pages lie, too
    #[arg(short = 'l', long = "list")]
    list: bool,
    /// The pages of a task
    #[arg(short = 'p', long = "pid", value_name = "PID")]
    pid: Option<String>,
}

impl Spelling for PageTypes {
    const NAME: &'static str = "page-types";
    const SEE_ALSO: &'static [&'static str] = &["kmem -p", "kmem -g", "cat /proc/pagetypeinfo"];

    fn script(&self) -> Result<String, String> {
        let options: Vec<&str> = [(self.raw, "-r"), (self.list, "-l")]
            .iter()
            .filter(|(on, _)| *on)
            .map(|(_, word)| *word)
            .collect();
        Ok(match &self.pid {
            Some(pid) => format!("page_types({:?}, {})", options.join(" "), task(pid)),
            None if options.is_empty() => "page_types()".into(),
            None => format!("page_types({:?})", options.join(" ")),
        })
    }
}

/// Shows the areas of a task.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct Pmap {
    /// With what of them is in memory, and dirty
    #[arg(short = 'x')]
    long: bool,
    /// With offset and device of their files
    #[arg(short = 'd', conflicts_with = "long")]
    device: bool,
    /// With the columns of smaps that say most; twice: with all of them
    #[arg(short = 'X', action = clap::ArgAction::Count, conflicts_with_all = ["long", "device"])]
    smaps: u8,
    /// Whole paths
    #[arg(short = 'p')]
    paths: bool,
    /// A pid
    #[arg(value_name = "PID", required = true)]
    tasks: Vec<String>,
}

impl Spelling for Pmap {
    const NAME: &'static str = "pmap";
    const SEE_ALSO: &'static [&'static str] = &["vm", "cat /proc/self/smaps", "draw"];
    const PLAIN: bool = true;

    fn script(&self) -> Result<String, String> {
        let smaps = if self.smaps == 1 { "-X" } else { "-XX" };
        let options = [(self.long, "-x"), (self.device, "-d"), (self.smaps > 0, smaps), (self.paths, "-p")];
        let options: Vec<&str> = options.iter().filter(|(given, _)| *given).map(|(_, word)| *word).collect();
        let options = if options.is_empty() { String::new() } else { format!("{:?}, ", options.join(" ")) };
        let calls: Vec<String> =
            self.tasks.iter().map(|word| format!("pmap({options}{})", task(word))).collect();
        Ok(super::together(&calls))
    }
}
