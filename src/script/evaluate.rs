//! `eval`: a number in every radix, as the crash utility shows it.

use crate::script::answer::{ScriptResult, misuse};
use crate::script::table::{Cell, Table};
use rhai::plugin::*;

/// A number in every radix.
#[export_module]
pub mod functions {
    /// Works out a number or an operation on two, and shows it in hexadecimal, decimal, octal and binary: `eval`.
    ///
    /// Numbers are decimal, or hexadecimal behind `0x` or with a letter in them; `k`, `m` and `g` behind them multiply. The
    /// operators are `+ - * / % & | ^ << >>`, and `~` before a number. With `-b` the bits that are set are listed.
    ///
    /// ```vmlab
    /// > eval 64k
    /// hexadecimal: 10000  (64KB)
    ///     decimal: 65536
    ///       octal: 200000
    ///      binary: 0000000000000000000000000000000000000000000000010000000000000000
    /// > eval -b 0x8000000000000067 & ff
    /// hexadecimal: 67
    ///     decimal: 103
    ///       octal: 147
    ///      binary: 0000000000000000000000000000000000000000000000000000000001100111
    ///    bits set: 6 5 2 1 0
    /// > evaluate("1m >> 12").rows[0].value
    /// 0x100
    /// > eval 5 /
    /// eval: invalid expression: "5 /"
    /// ```
    ///
    /// Kernel: `include/linux/bits.h`.
    #[rhai_fn(return_raw)]
    pub fn evaluate(text: &str) -> ScriptResult<Table> {
        super::table(text)
    }
}

fn table(text: &str) -> ScriptResult<Table> {
    let (bits, expression) = match text.trim().strip_prefix("-b") {
        Some(rest) => (true, rest.trim()),
        None => (false, text.trim()),
    };
    let Some(value) = value(expression) else {
        return misuse(format!("eval: invalid expression: {expression:?}"));
    };
    let unit = [(30, "GB"), (20, "MB"), (10, "KB")]
        .into_iter()
        .find(|(shift, _)| value != 0 && value.trailing_zeros() >= *shift)
        .map(|(shift, unit)| format!("  ({}{unit})", value >> shift));
    let signed = if (value as i64) < 0 { format!("  ({})", value as i64) } else { String::new() };
    let mut table = Table::new()
        .line(format!("hexadecimal: {value:x}{}", unit.unwrap_or_default()))
        .line(format!("    decimal: {value}{signed}"))
        .line(format!("      octal: {value:o}"))
        .line(format!("     binary: {value:064b}"));
    let set: Vec<u64> = (0..64).rev().filter(|bit| value >> bit & 1 != 0).collect();
    if bits {
        let shown: Vec<String> = set.iter().map(u64::to_string).collect();
        table = table.line(format!("   bits set: {}", shown.join(" ")).trim_end().to_string());
    }
    let record = vec![("value".into(), Cell::Addr(value)), ("bits".into(), Cell::from(set))];
    Ok(table.with_records(vec![record]))
}

/// A number, `~` and a number, or two with an operator between them, in parentheses or not.
fn value(text: &str) -> Option<u64> {
    let text = text.trim();
    let text = text.strip_prefix('(').and_then(|inner| inner.strip_suffix(')')).unwrap_or(text);
    if let Some(alone) = operand(text) {
        return Some(alone);
    }
    for operator in ["<<", ">>", "+", "-", "*", "/", "%", "&", "|", "^"] {
        // The first character may be a sign.
        let Some(at) = text.get(1..).and_then(|rest| rest.find(operator)).map(|at| at + 1) else { continue };
        let (left, right) = (operand(&text[..at])?, operand(&text[at + operator.len()..])?);
        return match operator {
            "<<" => left.checked_shl(u32::try_from(right).ok()?),
            ">>" => left.checked_shr(u32::try_from(right).ok()?),
            "+" => Some(left.wrapping_add(right)),
            "-" => Some(left.wrapping_sub(right)),
            "*" => Some(left.wrapping_mul(right)),
            "/" => left.checked_div(right),
            "%" => left.checked_rem(right),
            "&" => Some(left & right),
            "|" => Some(left | right),
            _ => Some(left ^ right),
        };
    }
    None
}

fn operand(text: &str) -> Option<u64> {
    let text = text.trim();
    if let Some(rest) = text.strip_prefix('~') {
        return operand(rest).map(|value| !value);
    }
    if let Some(rest) = text.strip_prefix('-') {
        return operand(rest).map(u64::wrapping_neg);
    }
    let lower = text.to_ascii_lowercase();
    if let Some(hex) = lower.strip_prefix("0x") {
        return u64::from_str_radix(hex, 16).ok();
    }
    let (digits, shift) = match lower.strip_suffix(['k', 'm', 'g']) {
        Some(digits) => (
            digits,
            if lower.ends_with('k') {
                10
            } else if lower.ends_with('m') {
                20
            } else {
                30
            },
        ),
        None => (&*lower, 0),
    };
    let decimal = digits.parse::<u64>();
    let value = decimal.or_else(|_| u64::from_str_radix(digits, 16)).ok()?;
    value.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_operations_are_read_as_crash_reads_them() {
        for (text, expected) in [
            ("16", Some(16)),
            ("ff", Some(0xff)),
            ("0x10", Some(16)),
            ("64k", Some(65536)),
            ("1g", Some(1 << 30)),
            ("-1", Some(u64::MAX)),
            ("~0", Some(u64::MAX)),
            ("(4k * 3)", Some(12288)),
            ("1 << 63", Some(1 << 63)),
            ("7 - 8", Some(u64::MAX)),
            ("1 << 64", None),
            ("1 / 0", None),
            ("1 +", None),
            ("", None),
            ("hello", None),
        ] {
            assert_eq!(value(text), expected, "{text}");
        }
    }
}
