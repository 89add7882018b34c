//! Lines of a log without what loggers, mailers and consoles put around them; and where reports begin.
//!
//! ```text
//!   > Oct  9 21:46:17 host kernel: [135404.331945][ T71] <4>Node 0 DMA free:3044kB
//!   └ quoting └ syslog ──────────┘ └ printk ────┘ └ task  └ level
//! ```
//!
//! Wrapped lines need no mending: a report is read word by word, and each word knows its line.
//! Fidelity: not of the kernel.

use super::Kind;

/// Stands where a second console broke into a line.
pub const BREAK: &str = " \u{1f} ";
/// A report does not go on for longer, whatever follows it in the log.
const LONGEST: usize = 4000;

/// A line of the log as it was printed.
#[derive(Clone, Debug)]
pub struct Clean {
    /// Its number in the log; the first is 1.
    pub number: usize,
    /// Without prefixes.
    pub text: String,
}

/// A word, and the line it stands in.
#[derive(Clone, Copy, Debug)]
pub struct Word<'a> {
    /// The word.
    pub text: &'a str,
    /// Its line.
    pub line: usize,
}

/// The lines of one report, and what follows it up to the next.
pub struct Segment {
    /// What the report is.
    pub kind: Kind,
    /// Its lines.
    pub lines: Vec<Clean>,
}

impl Segment {
    /// The number of the first line.
    pub fn first(&self) -> usize {
        self.lines.first().map_or(1, |line| line.number)
    }

    /// The number of the last line that says something.
    pub fn last_said(&self) -> usize {
        self.lines.iter().rev().find(|l| !l.text.trim().is_empty()).map_or(self.first(), |l| l.number)
    }

    /// All words.
    pub fn words(&self) -> Vec<Word<'_>> {
        let each = self
            .lines
            .iter()
            .flat_map(|line| line.text.split_whitespace().map(|text| Word { text, line: line.number }));
        each.collect()
    }
}

/// The reports of a log.
pub fn segments(log: &str) -> Vec<Segment> {
    let mut found: Vec<Segment> = Vec::new();
    let mut before: Option<Clean> = None;
    let mut has_memory = false;
    let mut lines = log.lines().enumerate().peekable();
    while let Some((at, raw)) = lines.next() {
        let next = lines.peek().map_or("", |(_, next)| next);
        let begins = begins(raw, next);
        let memory = is_memory(raw);
        let line = Clean { number: at + 1, text: clean(raw) };
        let open = found.last().is_some_and(|s| s.lines.len() < LONGEST);
        let anew = match begins {
            Some(kind) => Some(kind),
            // Without a head of its own a report begins with its memory.
            None => (memory && (!open || has_memory)).then_some(Kind::ShowMemory),
        };
        if let Some(kind) = anew {
            has_memory = memory;
            let mut segment = Segment { kind, lines: Vec::new() };
            // A mailer may have wrapped the line before the word that tells.
            if kind == Kind::Oom && !raw.contains("invoked oom-killer") {
                segment.lines.extend(before.take().filter(|line| line.text.trim_end().ends_with("invoked")));
            }
            found.push(segment);
        }
        has_memory |= memory;
        if let Some(segment) = found.last_mut().filter(|s| s.lines.len() < LONGEST) {
            segment.lines.push(line.clone());
        }
        before = Some(line);
    }
    found
}

/// Does a report begin in one of the lines?
pub fn begins_somewhere(log: &str) -> bool {
    let mut lines = log.lines().peekable();
    while let Some(line) = lines.next() {
        if begins(line, lines.peek().unwrap_or(&"")).is_some() || is_memory(line) {
            return true;
        }
    }
    false
}

/// What begins in this line.
fn begins(line: &str, next: &str) -> Option<Kind> {
    if line.contains("page allocation failure") {
        return (line.contains("order:") || next.contains("order:")).then_some(Kind::AllocFailure);
    }
    if line.contains("oom-killer:") {
        return (line.contains("gfp_mask=") || line.contains("order=") || next.contains("gfp_mask="))
            .then_some(Kind::Oom);
    }
    let lower = || line.to_ascii_lowercase();
    (line.contains("how Memory") && lower().contains("sysrq")).then_some(Kind::ShowMemory)
}

/// Does the memory of a report begin in this line?
fn is_memory(line: &str) -> bool {
    line.contains("Mem-Info:") || line.contains("Mem-info:")
}

/// The line without quoting and prefixes; line ends that were written as letters are blanks.
pub fn clean(raw: &str) -> String {
    let mut line = raw.trim_end().trim_start_matches(['>', '\u{feff}']).trim_start_matches("> ");
    // `Oct  9 21:46:16 host kernel: `, an ISO time, or dots in their place.
    if let Some((_, rest)) = line.split_once("kernel: ").filter(|(before, _)| is_syslog(before)) {
        line = rest;
    }
    loop {
        let rest = without_level(line.trim_start());
        let rest = without_stamp(rest).unwrap_or(rest);
        if rest.len() == line.len() {
            break;
        }
        line = rest;
    }
    let line: String = line.chars().filter(|c| !c.is_control() || *c == '\t').collect();
    let line = line.replace("#012", " ").replace("\\x0a", " ");
    // A second console writes into the same line: its stamp is no part of the text.
    without_inner_stamps(&line)
}

/// `host`, a date, a time: what stands before `kernel:`; no word of a report does.
fn is_syslog(before: &str) -> bool {
    before.len() < 80 && !before.contains("Comm:") && !before.contains("comm:") && !before.contains("Killed")
}

/// Without `<4>`.
fn without_level(line: &str) -> &str {
    let level = line.strip_prefix('<').and_then(|rest| rest.split_once('>'));
    match level {
        Some((digits, rest)) if digits.len() <= 3 && digits.parse::<u16>().is_ok() => rest,
        _ => line,
    }
}

/// Without `[  123.456789]`, `[    T71]`, `[Mon Jun  3 19:59:56 2024]`, in whatever language.
fn without_stamp(line: &str) -> Option<&str> {
    let (inside, rest) = line.strip_prefix('[')?.split_once(']')?;
    let task = inside.trim().strip_prefix(['T', 'C']).is_some_and(|id| id.parse::<u32>().is_ok());
    (task || is_seconds(inside) || is_date(inside)).then_some(rest)
}

fn is_seconds(inside: &str) -> bool {
    let mut parts = inside.trim().split('.');
    let all_digits =
        |part: Option<&str>| part.is_some_and(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()));
    all_digits(parts.next()) && all_digits(parts.next()) && parts.next().is_none()
}

fn is_date(inside: &str) -> bool {
    let is_time = |word: &str| {
        let mut parts = word.split(':');
        parts.clone().count() == 3 && parts.all(|p| p.len() == 2 && p.bytes().all(|b| b.is_ascii_digit()))
    };
    inside.len() < 48 && inside.split([' ', 'T', '+', '.', ',']).any(is_time)
}

fn without_inner_stamps(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((before, after)) = rest.split_once('[') {
        text.push_str(before);
        match after.split_once(']').filter(|(inside, _)| inside.len() < 20 && is_seconds(inside)) {
            Some((_, behind)) => {
                // What stood before it was written by somebody else.
                text.push_str(BREAK);
                rest = behind;
            }
            None => {
                text.push('[');
                rest = after;
            }
        }
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_no_part_of_a_line() {
        for line in [
            "Mem-Info:",
            "[  123.456] Mem-Info:",
            "[  123.456][    T1] Mem-Info:",
            "[  123.456][ T71] Mem-Info:",
            "<4>[  842.796720] Mem-Info:",
            "<6>Mem-Info:",
            "[Mon Jun  3 19:59:56 2024] Mem-Info:",
            "[пн июн  3 19:59:56 2024] Mem-Info:",
            "Oct  9 21:46:17 host kernel: [135404.332587] Mem-Info:",
            "2024-06-03T19:59:56.123456+02:00 host kernel: Mem-Info:",
            "... kernel: [430837.196260] Mem-Info:",
            "kernel: Mem-Info:",
            "> [  123.456] Mem-Info:",
            ">> Mem-Info:\r",
        ] {
            assert_eq!(clean(line).trim(), "Mem-Info:", "{line}");
        }
        assert_eq!(clean("free:1#012 next:2"), "free:1  next:2");
        assert_eq!(clean("\u{7f}mode:0x40cc0"), "mode:0x40cc0", "a mailer marks the line it broke");
        assert!(clean("Creating journal: [   31.251333] mkfs.ext4 invoked").ends_with("mkfs.ext4 invoked"));
        assert_eq!(clean("[<ffffffff81142646>] oom_kill_process"), "[<ffffffff81142646>] oom_kill_process");
    }

    #[test]
    fn a_log_is_cut_where_reports_begin() {
        let log = "boot\nX invoked oom-killer: gfp_mask=0xd0, order=0\nMem-Info:\nfree:1\ncat: page allocation \
                   failure. order:10, mode:0xd0\nnoise\nMem-Info:\nMem-Info:\nsysrq: Show Memory\nMem-Info:\n";
        let kinds: Vec<_> = segments(log).iter().map(|s| (s.kind, s.first())).collect();
        use Kind::*;
        assert_eq!(kinds, [(Oom, 2), (AllocFailure, 5), (ShowMemory, 8), (ShowMemory, 9)]);
        let prose = "the kernel says page allocation failure\nand invoked oom-killer.\n";
        assert!(segments(prose).is_empty() && !begins_somewhere(prose));
        let wrapped = segments("Creating: [   31.2] mkfs.ext4 invoked\noom-killer: gfp_mask=0x1, order=0\n");
        assert_eq!((wrapped[0].kind, wrapped[0].first()), (Oom, 1));
    }
}
