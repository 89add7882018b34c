//! What scripts hand over: addresses, sizes and tasks, each in the forms people write them.
//!
//! | alias in a signature | a script may write | becomes |
//! |---|---|---|
//! | [`Addr`] | an `addr`, or an int by bit pattern | `u64` |
//! | [`Size`] | an int, or `"256M"` | `u64` |
//! | [`GfpMask`] | a `gfp`, a string of names, or the number | a mask |
//! | [`Who`] | a task handle, or a pid | a pid |
//! | [`FileArg`] | a file handle, or a path | a file's number |
//!
//! The aliases are `Dynamic` to Rust; the functions here convert them, and only they do.

use crate::mm::addr::Order;
use crate::mm::fs::FileId;
use crate::mm::gfp::{GFP_ALL, Gfp, OLD_NAMES};
use crate::mm::task::Pid;
use crate::script::answer::{ScriptResult, misuse};
use crate::script::bench::Desk;
use crate::script::handles::{FileRef, TaskRef};
use rhai::{Dynamic, ImmutableString};
use std::fmt;

/// An address as an argument: an `addr`, or an int by bit pattern.
pub type Addr = Dynamic;
/// A size as an argument: an int, or a string such as `"256M"`.
pub type Size = Dynamic;
/// A task as an argument: a handle or a pid.
pub type Who = Dynamic;
/// A file as an argument: a handle or a path.
pub type FileArg = Dynamic;
/// A mask of get-free-page flags as an argument: a `gfp`, a string of names, or an int.
pub type GfpMask = Dynamic;

/// An address as a value: unsigned, printed in hexadecimal. Kernel addresses do not fit a signed int.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Address(pub u64);

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// The address that an argument means.
pub fn addr(what: &str, value: &Dynamic) -> ScriptResult<u64> {
    if let Some(address) = value.read_lock::<Address>() {
        return Ok(address.0);
    }
    match value.as_int() {
        Ok(bits) => Ok(bits as u64),
        Err(_) => misuse(format!("{what} must be an addr or an int, not {}", describe(value))),
    }
}

/// The number of bytes that an argument means.
pub fn size(what: &str, value: &Dynamic) -> ScriptResult<u64> {
    if let Ok(bytes) = value.as_int() {
        return match u64::try_from(bytes) {
            Ok(bytes) => Ok(bytes),
            Err(_) => misuse(format!("{what} is {bytes}, but a size cannot be negative")),
        };
    }
    // A length of 2^63 and more is no int: an address says it.
    if let Some(addr) = value.read_lock::<Address>() {
        return Ok(addr.0);
    }
    match value.read_lock::<ImmutableString>() {
        Some(text) => match parse_size(&text) {
            Some(bytes) => Ok(bytes),
            None => misuse(format!(
                "{what} is {:?}, which is no size; write a number, or \"64k\", \"256M\", \"2G\"",
                &**text
            )),
        },
        None => {
            misuse(format!("{what} must be an int or a string such as \"256M\", not {}", describe(value)))
        }
    }
}

/// Reads `4096`, `64k`, `256M`, `2 GiB`, `0x1000`.
pub fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    if let Some(hex) = text.strip_prefix("0x") {
        return u64::from_str_radix(hex, 16).ok();
    }
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(text.len());
    let number: u64 = text[..digits].replace('_', "").parse().ok()?;
    let shift = match text[digits..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return None,
    };
    number.checked_mul(1 << shift)
}

/// The mask that an argument means: a `gfp`, a spelling such as `"GFP_KERNEL|__GFP_ZERO"`, or the number.
pub fn gfp(value: &Dynamic) -> ScriptResult<Gfp> {
    if let Some(gfp) = value.read_lock::<Gfp>() {
        return Ok(*gfp);
    }
    if let Ok(bits) = value.as_int() {
        return match u32::try_from(bits).ok().map(Gfp).filter(|&gfp| GFP_ALL.has(gfp)) {
            Some(gfp) => Ok(gfp),
            None => misuse(format!(
                "{bits:#x} is no mask of get-free-page flags: it has bits above {:#x}",
                GFP_ALL.0
            )),
        };
    }
    let Some(text) = value.read_lock::<ImmutableString>() else {
        return misuse(format!("a mask is needed, such as GFP_KERNEL, not {}", describe(value)));
    };
    if let Some(bits) = text.strip_prefix("0x").and_then(|hex| i64::from_str_radix(hex, 16).ok()) {
        return gfp(&bits.into());
    }
    let names = || Gfp::FLAGS.iter().chain(OLD_NAMES);
    let mut mask = Gfp::NONE;
    for word in text.split(['|', '+', ' ']).filter(|word| !word.is_empty()) {
        match names().find(|(name, ..)| name == &word) {
            Some(&(_, bits, _)) => mask = mask | bits,
            None => {
                let near = crate::script::suggest::nearest(word, names().map(|(name, ..)| *name));
                let help = near.first().map(|near| format!("; did you mean {near}?")).unwrap_or_default();
                let advice =
                    "a mask is flags with | between them: GFP_KERNEL|__GFP_ZERO; apropos GFP lists them";
                let help = if help.is_empty() { format!("\n  help: {advice}") } else { help };
                return misuse(format!("no such flag: {word:?}{help}"));
            }
        }
    }
    Ok(mask)
}

/// A mask that names two zones is a bug of whoever wrote it: the kernel stops there (`GFP_ZONE_BAD`).
pub fn zones_agree(desk: &mut Desk, gfp: Gfp) -> ScriptResult<()> {
    if gfp.zone(desk.machine.config.arch).is_some() {
        return Ok(());
    }
    crate::script::answer::oops(Err(desk.machine.gfp_zone_bad(gfp)))
}

/// The pid that an argument means: a task's handle, or a number.
pub fn who(desk: &Desk, value: &Dynamic) -> ScriptResult<Pid> {
    if let Some(task) = value.read_lock::<TaskRef>() {
        return Ok(task.of(desk)?.pid);
    }
    let Ok(number) = value.as_int() else {
        return misuse(format!("a task or a pid is needed, not {}", describe(value)));
    };
    match Pid::try_from(number).ok().filter(|pid| desk.machine.tasks.contains_key(pid)) {
        Some(pid) => Ok(pid),
        None => misuse(format!("there is no task {number}; ps() lists them")),
    }
}

/// The file that an argument means: a handle, or a path.
pub fn file(desk: &Desk, value: &Dynamic) -> ScriptResult<FileId> {
    if let Some(file) = value.read_lock::<FileRef>() {
        return file.id(desk);
    }
    let Some(path) = value.read_lock::<ImmutableString>() else {
        return misuse(format!("a file or its path is needed, not {}", describe(value)));
    };
    match desk.machine.lookup_file(&path) {
        Ok(file) => Ok(file),
        Err(_) => misuse(format!("there is no file {}; create(path, size) makes one", &**path)),
    }
}

/// The order that an argument means.
pub fn order(order: i64) -> ScriptResult<Order> {
    match u8::try_from(order).ok().and_then(Order::new) {
        Some(order) => Ok(order),
        None if order < 0 => misuse(format!("order {order} is negative: orders are 0 to {}", Order::MAX)),
        None => misuse(format!("order {order} is too large: the largest is {}", Order::MAX)),
    }
}

/// An index or a count that must lie in a range; `what` names it in the complaint.
pub fn within(what: &str, value: i64, max: i64) -> ScriptResult<u32> {
    match u32::try_from(value) {
        Ok(small) if value <= max => Ok(small),
        _ => misuse(format!("{what} is {value}, but must be from 0 to {max}")),
    }
}

/// A value in a complaint: `a string ("abc")`, `ENOMEM (Cannot allocate memory)`.
pub fn describe(value: &Dynamic) -> String {
    use crate::mm::errno::{Errno, Signal};
    if let Some(errno) = value.read_lock::<Errno>() {
        return format!("{} (the call that made it failed; test it with is_err)", errno.name());
    }
    if let Some(signal) = value.read_lock::<Signal>() {
        return format!("{} (the task was killed; test it with is_err)", signal.name());
    }
    match value.type_name() {
        "()" => "nothing, ()".into(),
        "string" => format!("the string {value:?}"),
        "i64" => format!("the int {value}"),
        "bool" => format!("{value}"),
        "f64" => format!("the float {value}; ints have no decimal point"),
        "array" => "an array".into(),
        "map" => "a map".into(),
        other => {
            let name = crate::script::catalogue::type_name(other);
            let article = if name.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
            format!("{article} {name}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        let read: Vec<_> = ["4096", "64k", "256M", "2 GiB", "1_000", "0x1000", "1T"].map(parse_size).to_vec();
        assert_eq!(read, [4096, 65536, 256 << 20, 2 << 30, 1000, 4096, 1 << 40].map(Some));
        assert_eq!(["", "M", "12x", "-4", "99999999999T"].map(parse_size), [None; 5]);
    }

    #[test]
    fn an_address_is_an_addr_or_an_int_by_bit_pattern() {
        let kernel = Dynamic::from(Address(0xffff_8880_0000_0000));
        assert_eq!(addr("addr", &kernel).ok(), Some(0xffff_8880_0000_0000));
        assert_eq!(addr("addr", &Dynamic::from(-1_i64)).ok(), Some(u64::MAX));
        assert!(addr("addr", &Dynamic::from("x")).unwrap_err().to_string().contains("not the string"));
    }
}
