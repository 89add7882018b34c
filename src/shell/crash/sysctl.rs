//! `sysctl`: reading and writing tunables, as the tool of that name does.

use crate::shell::crash::Spelling;
use crate::shell::words::{argument, quoted};
use clap::Args;

/// Reads and writes the kernel's tunables: `sysctl vm.swappiness`, `sysctl vm.swappiness=10`.
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
    #[arg(value_name = "NAME[=VALUE]")]
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
        let calls = words.iter().enumerate().map(|(n, word)| match word.split_once('=') {
            // lowmem_reserve_ratio takes several numbers after its =.
            Some((name, value)) => {
                let rest = words[n + 1..].iter().take_while(|w| !w.contains('=') && w.parse::<u64>().is_ok());
                let value = [&[value], rest.copied().collect::<Vec<_>>().as_slice()].concat().join(" ");
                Some(format!("sysctl({}, {})", quoted(name), argument(&value)))
            }
            None if n > 0 && word.parse::<u64>().is_ok() => None,
            None => Some(format!("sysctl({})", quoted(word))),
        });
        let calls: Vec<String> = calls.flatten().collect();
        Ok(if calls.len() == 1 { calls[0].clone() } else { format!("[{}]", calls.join(", ")) })
    }
}
