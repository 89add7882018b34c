//! `rd` and `struct`: memory as numbers, and as the kernel's structures.

use crate::shell::crash::{Spelling, address, bare};
use crate::shell::words::quoted;
use clap::Args;

/// Shows memory at an address, as numbers and as characters.
///
/// The numbers are as large as a pointer, or of 8, 16, 32 or 64 bits with -8, -16, -32 or -64; -a shows characters only, -p takes
/// a physical address, -x leaves the characters out. The count is the last word.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct Rd {
    /// Options, an address in hexadecimal, and how many numbers
    #[arg(
        value_name = "OPTION... ADDRESS COUNT",
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    words: Vec<String>,
}

impl Spelling for Rd {
    const NAME: &'static str = "rd";
    const SEE_ALSO: &'static [&'static str] = &["struct", "vtop", "kmem", "kread"];
    const PLAIN: bool = true;

    fn script(&self) -> Result<String, String> {
        let (options, rest): (Vec<&String>, Vec<&String>) =
            self.words.iter().partition(|word| word.starts_with('-'));
        let options: Vec<&str> = options.into_iter().map(String::as_str).collect();
        let (at, count) = match rest.as_slice() {
            [] => return Err(String::new()),
            [at] => (at, String::new()),
            [at, count] => (at, format!(", {}", number(count)?)),
            [_, _, more, ..] => return Err(format!("{more:?} is not expected here")),
        };
        let options = match options.join(" ") {
            none if none.is_empty() => String::new(),
            options => format!(", {}", quoted(&options)),
        };
        Ok(format!("rd({}{count}{options})", bare(at)?))
    }
}

/// Shows a structure of the kernel: its members at an address, or how it is declared.
///
/// Members are parted by commas: struct page.flags,lru ADDRESS. A zone or a cache may be named instead of its address.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct Struct {
    /// Numbers in hexadecimal
    #[arg(short = 'x')]
    hex: bool,
    /// Numbers in decimal, as without an option
    #[arg(short = 'd', conflicts_with = "hex")]
    decimal: bool,
    /// Offsets of the members
    #[arg(short = 'o')]
    offsets: bool,
    /// The structure, and members of it
    #[arg(value_name = "NAME[.MEMBER[,MEMBER]]", required = true)]
    name: String,
    /// Where it lies, in hexadecimal
    #[arg(value_name = "ADDRESS")]
    at: Option<String>,
    /// How many page structures in a row
    #[arg(value_name = "COUNT")]
    count: Option<String>,
}

impl Spelling for Struct {
    const NAME: &'static str = "struct";
    const SEE_ALSO: &'static [&'static str] = &["rd", "kmem", "vm", "task"];
    const PLAIN: bool = true;

    fn script(&self) -> Result<String, String> {
        let options = [(self.hex, " -x"), (self.offsets, " -o")];
        let options: String = options.iter().filter(|(on, _)| *on).map(|(_, option)| *option).collect();
        let name = quoted(&format!("{}{options}", self.name));
        let Some(at) = &self.at else { return Ok(format!("struct({name})")) };
        // What is no number is the name of a zone or a cache.
        let at = address(at).unwrap_or_else(|_| quoted(at));
        let count = self.count.as_deref().map(number).transpose()?;
        Ok(match count {
            Some(count) => format!("struct({name}, {at}, {count})"),
            None => format!("struct({name}, {at})"),
        })
    }
}

/// A count in decimal, or in hexadecimal behind `0x`.
fn number(word: &str) -> Result<i64, String> {
    let hex = word.strip_prefix("0x").map(|digits| i64::from_str_radix(digits, 16).ok());
    hex.unwrap_or_else(|| word.parse().ok()).ok_or_else(|| format!("invalid count: {word:?}"))
}
