//! `sysctl`: reading and writing tunables, as the tool of that name does.

// Transcripts show what the kernel prints, tabs and all.
#![allow(clippy::tabs_in_doc_comments)]

use crate::shell::crash::Spelling;
use crate::shell::words::{argument, quoted};
use clap::Args;

/// Reads and writes the kernel's tunables: `sysctl vm.swappiness`, `sysctl vm.swappiness=10`.
///
/// Writing recomputes what the kernel recomputes: watermarks, reserves, per-CPU limits.
///
/// ```vmlab
/// > sysctl vm.swappiness
/// vm.swappiness = 60
/// > sysctl vm.swappiness=10 vm.page-cluster=0
/// vm.swappiness = 10
/// vm.page-cluster = 0
/// > sysctl vm.lowmem_reserve_ratio="256 128 32" | wc -l
/// 1
/// > sysctl vm.swapiness
/// error: there is no sysctl vm.swapiness; did you mean vm.swappiness?
/// ```
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct Sysctl {
    /// Every tunable with its value
    #[arg(short = 'a')]
    all: bool,
    /// Write; writing needs no option here
    #[arg(short = 'w')]
    write: bool,
    /// `vm.swappiness`, or `vm.swappiness=10`
    #[arg(value_name = "SYSCTL[=VALUE]")]
    names: Vec<String>,
}

impl Spelling for Sysctl {
    const NAME: &'static str = "sysctl";
    const SEE_ALSO: &'static [&'static str] = &["cat /proc/sys/vm/swappiness", "zoneinfo", "diff"];

    fn script(&self) -> Result<String, String> {
        if self.all {
            return Ok("sysctls()".into());
        }
        // `sysctl vm.swappiness = 10` arrives in three words.
        let joined = self.names.join(" ").replace(" =", "=").replace("= ", "=");
        let words: Vec<&str> = joined.split_whitespace().collect();
        if words.is_empty() {
            return Err("name a tunable, or -a for all of them".into());
        }
        let (mut calls, mut names): (Vec<String>, Vec<&str>) = (Vec::new(), Vec::new());
        let mut words = words.into_iter().peekable();
        while let Some(word) = words.next() {
            let (name, value) =
                word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value)));
            names.push(name);
            if let Some(value) = value {
                // lowmem_reserve_ratio takes several numbers after its =.
                let mut value = value.to_string();
                while let Some(number) = words.next_if(|word| word.parse::<u64>().is_ok()) {
                    value.push(' ');
                    value.push_str(number);
                }
                calls.push(format!("sysctl({}, {}); ", quoted(name), argument(value.trim())));
            }
        }
        Ok(format!("{}sysctls({})", calls.concat(), quoted(&names.join(" "))))
    }
}
