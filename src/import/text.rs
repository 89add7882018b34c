//! Captured text as lines and numbers: what every parser of this floor needs.
//!
//! Fidelity: not of the kernel — survives CRLF, mail quoting and what people write after a number.

use crate::import::ImportError;

/// A line of a capture, with its number for messages.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// The file's name, for messages.
    pub file: &'a str,
    /// The line's number; the first is 1.
    pub number: usize,
    /// The line without its end, and without quoting.
    pub text: &'a str,
}

/// The lines of a capture that say something; the number counts every line.
pub fn lines<'a>(file: &'a str, text: &'a str) -> impl Iterator<Item = Line<'a>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let numbered = text.split('\n').enumerate();
    numbered.filter(|(_, line)| !line.trim().is_empty()).map(move |(at, line)| Line {
        file,
        number: at + 1,
        text: unquote(line.trim_end()),
    })
}

/// Takes away the `>` of mail quoting; indentation stays.
fn unquote(line: &str) -> &str {
    let mut line = line;
    while let Some(rest) = line.strip_prefix('>') {
        line = rest;
    }
    line
}

impl<'a> Line<'a> {
    /// The words between blanks.
    pub fn words(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.text.split_whitespace()
    }

    /// An error in this line.
    pub fn error(&self, problem: impl Into<String>) -> ImportError {
        ImportError::new(self.file, problem).at(self.number, self.text)
    }

    /// The word as a number; `field` names it in the message.
    pub fn number(&self, word: &str, field: &str) -> Result<u64, ImportError> {
        let digits = word.trim_end_matches([',', ';', ')', ']']);
        digits.parse().map_err(|_| {
            let shown: String = word.chars().take(40).collect();
            let why = if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
                format!("{shown} is larger than {}, the largest number a page count can be", u64::MAX)
            } else {
                format!("expected a number, found {shown:?}")
            };
            self.error(why)
                .field(field)
                .advise("Capture the file again; the line may have been cut or edited.")
        })
    }
}

/// Numbers between brackets or commas: `(0, 181, 181)`, `[0, 181]`; whatever is no number separates.
pub fn numbers(text: &str) -> Vec<u64> {
    let digits = text.split(|c: char| !c.is_ascii_digit()).filter(|d| !d.is_empty());
    digits.map(|d| d.parse().unwrap_or(u64::MAX)).collect()
}

/// A list as the kernel prints one: `0-3,8` is 0 1 2 3 8; `None` for anything else.
pub fn list(text: &str) -> Option<Vec<u16>> {
    let mut members = Vec::new();
    for part in text.trim().split(',').map(str::trim).filter(|p| !p.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u16, u16) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        if first > last || members.len() + usize::from(last - first) > 8192 {
            return None;
        }
        members.extend(first..=last);
    }
    Some(members)
}

/// The members as the kernel prints a list: `0-3,8`.
pub fn list_text(members: &[u16]) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut rest = members;
    while let Some(&first) = rest.first() {
        let run =
            rest.iter().zip(u32::from(first)..).take_while(|&(&have, want)| u32::from(have) == want).count();
        let last = rest[run - 1];
        parts.push(if run == 1 { first.to_string() } else { format!("{first}-{last}") });
        rest = &rest[run..];
    }
    parts.join(",")
}

/// A range of addresses in hex as /proc/iomem and the boot log write them, to (first byte, last byte).
pub fn hex_range(text: &str) -> Option<(u64, u64)> {
    let (first, last) = text.split_once('-')?;
    let hex = |s: &str| u64::from_str_radix(s.trim().trim_start_matches("0x"), 16).ok();
    let (first, last) = (hex(first)?, hex(last)?);
    (first <= last).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_survive_windows_and_mail() {
        let read: Vec<_> = lines("f", "\u{feff}a 1\r\n\r\n> b 2\r\n").map(|l| (l.number, l.text)).collect();
        assert_eq!(read, [(1, "a 1"), (3, " b 2")]);
    }

    #[test]
    fn a_number_says_what_it_is_not() {
        let line = Line { file: "zoneinfo.txt", number: 7, text: "  managed 12x" };
        let error = line.number("12x", "managed").unwrap_err().to_string();
        assert!(error.starts_with("zoneinfo.txt:7: managed: expected a number, found \"12x\""), "{error}");
        let error = line.number("99999999999999999999999", "managed").unwrap_err();
        assert!(error.problem().contains("larger than"), "{error}");
        assert_eq!(line.number("12,", "managed"), Ok(12));
    }

    #[test]
    fn lists_are_the_kernels() {
        assert_eq!(list("0-3,8\n"), Some(vec![0, 1, 2, 3, 8]));
        assert_eq!(list("\n"), Some(vec![]));
        assert_eq!(list("3-1"), None);
        assert_eq!(list("0-65535"), None, "8192 CPUs are the most a list may name");
        assert_eq!(list_text(&[0, 1, 2, 3, 8]), "0-3,8");
        assert_eq!(list_text(&[]), "");
        assert_eq!(hex_range("00001000-0009fbff"), Some((0x1000, 0x9fbff)));
        assert_eq!(numbers("(0, 181, 7)"), [0, 181, 7]);
    }
}
