//! `vm`, `vtop`, `pte` and the small ones: address spaces and translations.

use crate::shell::crash::{Spelling, address, bare, task};
use crate::shell::words::quoted;
use clap::Args;

/// Shows a task's address space: its page directory, its size, its areas.
///
/// Without a pid it is about the task that `set` chose.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct Vm {
    /// Every page of each area: its physical address, or where in swap it lies
    #[arg(short = 'p')]
    pages: bool,
    /// Pages of one area only: by the address of its structure, or one inside of it
    #[arg(short = 'P', value_name = "VMA")]
    area: Option<String>,
    /// The task's mm_struct
    #[arg(short = 'm')]
    mm: bool,
    /// Every vm_area_struct of the task
    #[arg(short = 'v')]
    areas: bool,
    /// Numbers of -m and -v in hexadecimal
    #[arg(short = 'x')]
    hex: bool,
    /// Only what refers to this number or name
    #[arg(short = 'R', value_name = "REFERENCE")]
    reference: Option<String>,
    /// Names of the flags in a value, in hexadecimal
    #[arg(short = 'f', value_name = "VM_FLAGS")]
    flags: Option<String>,
    /// A pid, or the address of a task
    #[arg(value_name = "PID")]
    tasks: Vec<String>,
}

impl Spelling for Vm {
    const NAME: &'static str = "vm";
    const SEE_ALSO: &'static [&'static str] =
        &["vtop", "ps", "set", "foreach", "cat /proc/self/maps", "pmap"];
    const PLAIN: bool = true;

    fn script(&self) -> Result<String, String> {
        if let Some(flags) = &self.flags {
            return Ok(format!("vm_flags({})", bare(flags)?));
        }
        let options = match self {
            Vm { pages: true, .. } => "-p".to_string(),
            Vm { area: Some(area), .. } => format!("-P {}", hexadecimal(area)?),
            Vm { reference: Some(reference), .. } => format!("-R {reference}"),
            Vm { mm: true, hex: true, .. } => "-m -x".into(),
            Vm { mm: true, .. } => "-m".into(),
            Vm { areas: true, hex: true, .. } => "-v -x".into(),
            Vm { areas: true, .. } => "-v".into(),
            _ => String::new(),
        };
        match (self.tasks.as_slice(), options.as_str()) {
            ([], "") => Ok("vm()".into()),
            ([], options) => Ok(format!("vm((), {})", quoted(options))),
            ([one], "") => Ok(format!("vm({})", task(one))),
            ([one], options) => Ok(format!("vm({}, {})", task(one), quoted(options))),
            (many, options) => {
                Ok(format!("foreach({})", quoted(&format!("{} vm {options}", many.join(" ")))))
            }
        }
    }

    fn by_hand(&self) -> Option<String> {
        let pid = self.tasks.first().filter(|pid| pid.bytes().all(|b| b.is_ascii_digit()))?;
        Some(format!("for v in task({pid}).vmas {{ print(`${{v.start}} ${{v.end}} ${{v.perms}}`); }}"))
    }
}

/// Translates virtual addresses to physical ones, showing every step of the walk.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct Vtop {
    /// The task whose address space is meant, instead of the one that `set` chose
    #[arg(short = 'c', value_name = "PID")]
    context: Option<String>,
    /// The address is a user's
    #[arg(short = 'u')]
    user: bool,
    /// The address is the kernel's
    #[arg(short = 'k', conflicts_with = "user")]
    kernel: bool,
    /// Virtual addresses in hexadecimal
    #[arg(value_name = "ADDRESS", required = true)]
    addresses: Vec<String>,
}

impl Spelling for Vtop {
    const NAME: &'static str = "vtop";
    const SEE_ALSO: &'static [&'static str] = &["vm", "pte", "ptov", "kmem", "explain"];
    const PLAIN: bool = true;

    fn script(&self) -> Result<String, String> {
        let half = match self {
            Vtop { user: true, .. } => Some("-u"),
            Vtop { kernel: true, .. } => Some("-k"),
            _ => None,
        };
        let mut calls = Vec::new();
        for word in &self.addresses {
            let at = bare(word)?;
            calls.push(match (&self.context, half) {
                (Some(pid), Some(half)) => format!("vtop({}, {at}, \"{half}\")", task(pid)),
                (Some(pid), None) => format!("vtop({}, {at})", task(pid)),
                (None, Some(half)) => format!("vtop((), {at}, \"{half}\")"),
                (None, None) => format!("vtop({at})"),
            });
        }
        Ok(super::together(&calls))
    }
}

/// Takes entries of page tables apart: the frame and the bits, or the place in swap.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct Pte {
    /// Entries in hexadecimal
    #[arg(value_name = "CONTENTS", required = true)]
    entries: Vec<String>,
}

impl Spelling for Pte {
    const NAME: &'static str = "pte";
    const SEE_ALSO: &'static [&'static str] = &["vtop", "vm"];
    const PLAIN: bool = true;

    fn script(&self) -> Result<String, String> {
        each("pte", &self.entries, bare)
    }
}

/// Finds the kernel's virtual address of physical ones.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct Ptov {
    /// Physical addresses in hexadecimal
    #[arg(value_name = "ADDRESS", required = true)]
    addresses: Vec<String>,
}

impl Spelling for Ptov {
    const NAME: &'static str = "ptov";
    const SEE_ALSO: &'static [&'static str] = &["vtop", "ptob", "btop"];
    const PLAIN: bool = true;

    fn script(&self) -> Result<String, String> {
        each("ptov", &self.addresses, bare)
    }
}

/// Finds the address at which pages begin, by their numbers.
///
/// As in crash, a number of decimal digits only is decimal, any other hexadecimal.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct Ptob {
    /// Numbers of pages
    #[arg(value_name = "PAGE", required = true)]
    pages: Vec<String>,
}

impl Spelling for Ptob {
    const NAME: &'static str = "ptob";
    const SEE_ALSO: &'static [&'static str] = &["btop", "ptov"];
    const PLAIN: bool = true;

    fn script(&self) -> Result<String, String> {
        each("ptob", &self.pages, |word| match word.parse::<u32>() {
            Ok(decimal) => Ok(format!("{decimal:#x}")),
            Err(_) => bare(word),
        })
    }
}

/// Finds the numbers of the pages that hold addresses.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct Btop {
    /// Addresses in hexadecimal
    #[arg(value_name = "ADDRESS", required = true)]
    addresses: Vec<String>,
}

impl Spelling for Btop {
    const NAME: &'static str = "btop";
    const SEE_ALSO: &'static [&'static str] = &["ptob", "ptov"];
    const PLAIN: bool = true;

    fn script(&self) -> Result<String, String> {
        each("btop", &self.addresses, bare)
    }
}

/// One call for each word.
fn each(
    call: &str,
    words: &[String],
    argument: impl Fn(&str) -> Result<String, String>,
) -> Result<String, String> {
    let calls: Result<Vec<String>, String> =
        words.iter().map(|word| Ok(format!("{call}({})", argument(word)?))).collect();
    Ok(super::together(&calls?))
}

/// The word, if it is hexadecimal.
fn hexadecimal(word: &str) -> Result<&str, String> {
    address(word).map(|_| word).map_err(|_| format!("invalid input: \"{word}\""))
}
