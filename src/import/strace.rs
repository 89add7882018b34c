//! Logs of strace: calls, their arguments and what came back.
//!
//! ```text
//!   12154 mmap(NULL, 8192, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7f0a7a581000
//!   12303 mmap(NULL, 134217728, PROT_NONE, … <unfinished ...>        another thread was faster to print
//!   12303 <... mmap resumed>) = 0x7f3dbc000000                       joined to the line above
//!   12155 +++ exited with 0 +++
//! ```
//!
//! Fidelity: faithful — pids with or without brackets, time stamps, `-y` paths, calls in two pieces. A call that never
//! came back is counted, a line that is cut is an error.

use crate::import::ImportError;
use std::collections::BTreeMap;

/// Lines a log may have.
const MOST: usize = 4_000_000;

/// Something that a line says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The line it ends on; the first is 1.
    pub line: usize,
    /// Who: 0 when the log names nobody.
    pub pid: u32,
    /// What.
    pub what: What,
}

/// A call, or the end of a task.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum What {
    /// A system call.
    Call(Call),
    /// It exited with a status.
    Exited(i32),
    /// It was killed by a signal.
    Killed(String),
}

/// A system call that came back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Call {
    /// Its name.
    pub name: String,
    /// Its arguments, as they stand there.
    pub args: Vec<String>,
    /// What it returned: a number, or the name of an error.
    pub result: Result<u64, String>,
}

/// A log that was read.
#[derive(Clone, Debug, Default)]
pub struct Log {
    /// What happened, in order.
    pub entries: Vec<Entry>,
    /// Calls that never came back: the task was killed in them, or the log ends before.
    pub unfinished: usize,
}

/// True for a text that looks like one.
pub fn is_one(text: &str) -> bool {
    let mut lines = text.lines().filter(|line| !line.trim().is_empty()).take(5);
    lines.any(|line| matches!(body(line), Some((_, rest)) if call(rest).is_ok_and(|c| c.is_some())))
}

/// Reads a log.
///
/// # Errors
/// The line that is cut or is none.
pub fn parse(file: &str, text: &str) -> Result<Log, ImportError> {
    let mut log = Log::default();
    let mut open: BTreeMap<u32, String> = BTreeMap::new();
    for (n, line) in text.lines().enumerate() {
        let wrong = |problem: &str| {
            ImportError::new(file, problem.to_string()).at(n + 1, line).advise(
                "Is the log cut here? Take it with strace -f -y -o FILE, and wait until the program ends.",
            )
        };
        if line.trim().is_empty() {
            continue;
        }
        if n == MOST {
            return Err(wrong(&format!("the log has more than {MOST} lines")));
        }
        let (pid, rest) = body(line).ok_or_else(|| wrong("no call and no event stands here"))?;
        let end = |what: What| Entry { line: n + 1, pid, what };
        if let Some(event) = rest.strip_prefix("+++ ") {
            open.remove(&pid);
            log.entries.push(end(ended(event).ok_or_else(|| wrong("this end of a task is cut"))?));
            continue;
        }
        if rest.starts_with("---") || rest.starts_with("strace:") {
            continue;
        }
        if let Some(start) = rest.strip_suffix("<unfinished ...>") {
            open.insert(pid, start.trim_end().to_string());
            continue;
        }
        let whole;
        let text = match rest.strip_prefix("<... ") {
            Some(resumed) => {
                let (name, tail) = resumed
                    .split_once(" resumed>")
                    .ok_or_else(|| wrong("a call comes back, but its line is cut"))?;
                let Some(start) = open.remove(&pid) else {
                    return Err(wrong(&format!("{name} comes back, but task {pid} is in no call")));
                };
                whole = format!("{start}{tail}");
                whole.as_str()
            }
            None => rest,
        };
        match call(text) {
            Ok(Some(call)) => log.entries.push(end(What::Call(call))),
            Ok(None) => return Err(wrong("no call and no event stands here")),
            Err(problem) => return Err(wrong(problem)),
        }
    }
    log.unfinished = open.len();
    if log.entries.is_empty() {
        return Err(ImportError::new(file, "no call was found")
            .advise("Take the log with strace -f -y -o FILE PROGRAM."));
    }
    Ok(log)
}

/// The pid that a line begins with, and the line without it and without its time.
fn body(line: &str) -> Option<(u32, &str)> {
    let mut rest = line.trim();
    let mut pid = 0;
    if let Some(bracket) = rest.strip_prefix("[pid ") {
        let (number, after) = bracket.split_once(']')?;
        (pid, rest) = (number.trim().parse().ok()?, after.trim_start());
    } else if let Some((number, after)) = rest.split_once(' ')
        && number.bytes().all(|b| b.is_ascii_digit())
        && !number.is_empty()
    {
        (pid, rest) = (number.parse().ok()?, after.trim_start());
    }
    // 12:00:01.123456, or seconds since 1970.
    if let Some((time, after)) = rest.split_once(' ')
        && time.starts_with(|c: char| c.is_ascii_digit())
        && time.bytes().all(|b| b.is_ascii_digit() || matches!(b, b':' | b'.'))
    {
        rest = after.trim_start();
    }
    let starts = rest.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '_' | '<' | '+' | '-'));
    starts.then_some((pid, rest))
}

fn ended(event: &str) -> Option<What> {
    let event = event.strip_suffix("+++")?.trim();
    if let Some(status) = event.strip_prefix("exited with ") {
        return status.parse().ok().map(What::Exited);
    }
    let signal = event.strip_prefix("killed by ")?;
    signal.split_whitespace().next().map(|signal| What::Killed(signal.to_string()))
}

/// `name(arguments) = result`; `None` when there is no name and no parenthesis.
fn call(text: &str) -> Result<Option<Call>, &'static str> {
    let Some((name, rest)) = text.split_once('(') else { return Ok(None) };
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return Ok(None);
    }
    let (args, after) = arguments(rest).ok_or("the arguments are cut: no closing parenthesis")?;
    let result = after.trim_start().strip_prefix('=').ok_or("what the call returned is missing")?;
    let result = result.trim();
    let word = result.split(|c: char| c.is_whitespace() || c == '<').next().unwrap_or_default();
    let number = |w: &str| match w.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => w.parse::<i64>().ok().map(|n| n as u64),
    };
    let result = match word {
        "" => return Err("what the call returned is missing"),
        // It never returned: exit, or a call that the end of its task cut short.
        "?" => Err("?".to_string()),
        "-1" => Err(result.split_whitespace().nth(1).unwrap_or("?").to_string()),
        word => Ok(number(word).ok_or("what the call returned is no number")?),
    };
    Ok(Some(Call { name: name.into(), args, result }))
}

/// Arguments up to the parenthesis that closes them, and what stands behind it.
fn arguments(text: &str) -> Option<(Vec<String>, &str)> {
    let (mut args, mut depth, mut start) = (Vec::new(), 0, 0);
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => at += 1 + quoted(&bytes[at + 1..])?,
            b'/' if text[at..].starts_with("/*") => at += text[at..].find("*/")? + 1,
            // The path that -y adds to a descriptor.
            b'<' if at > start && !bytes[start..at].contains(&b'<') => at += text[at..].find('>')?,
            b'(' | b'[' | b'{' => depth += 1,
            b')' if depth == 0 => {
                let last = text[start..at].trim();
                if !last.is_empty() || !args.is_empty() {
                    args.push(last.to_string());
                }
                return Some((args, &text[at + 1..]));
            }
            b')' | b']' | b'}' => depth -= 1,
            b',' if depth == 0 => {
                args.push(text[start..at].trim().to_string());
                start = at + 1;
            }
            _ => {}
        }
        at += 1;
    }
    None
}

/// How far behind its first quote a string ends.
fn quoted(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 1,
            b'"' => return Some(at),
            _ => {}
        }
        at += 1;
    }
    None
}

impl Call {
    /// An argument as a number: `NULL`, decimal, hexadecimal; what `-y` and comments add is left out.
    pub fn number(&self, at: usize) -> Option<u64> {
        let text = self.args.get(at)?;
        let text = text.split_once('=').map_or(text.as_str(), |(key, value)| {
            if key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') { value } else { text }
        });
        let word = text.split(['<', ' ', '*']).next()?;
        match (word, word.strip_prefix("0x")) {
            ("NULL", _) => Some(0),
            (_, Some(hex)) => u64::from_str_radix(hex, 16).ok(),
            (decimal, _) => decimal.parse::<i64>().ok().map(|n| n as u64),
        }
    }

    /// The path that `-y` puts behind a descriptor.
    pub fn path(&self, at: usize) -> Option<&str> {
        self.args.get(at)?.split_once('<')?.1.strip_suffix('>')
    }

    /// A string in quotes.
    pub fn text(&self, at: usize) -> Option<&str> {
        self.args.get(at)?.strip_prefix('"')?.split('"').next()
    }

    /// Names joined by `|`, as bits; `None` for a name that `of` does not know.
    pub fn bits(&self, at: usize, of: impl Fn(&str) -> Option<u64>) -> Option<u64> {
        let text = self.args.get(at)?;
        text.split('|').try_fold(0, |bits, word| {
            let word = word.trim();
            let number = word.strip_prefix("0x").and_then(|hex| u64::from_str_radix(hex, 16).ok());
            Some(bits | number.or_else(|| word.parse().ok()).or_else(|| of(word))?)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Call {
        match parse("log", text).unwrap().entries.pop().unwrap().what {
            What::Call(call) => call,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn calls_are_taken_apart() {
        let call = one(
            "12 mmap(0x7f00, 8192, PROT_READ, MAP_PRIVATE|MAP_FIXED, 3</usr/lib/a(b),c.so>, 0x1000) = 0x7f00\n",
        );
        assert_eq!((call.name.as_str(), call.args.len(), call.number(5)), ("mmap", 6, Some(0x1000)));
        assert_eq!((call.path(4), call.result.clone()), (Some("/usr/lib/a(b),c.so"), Ok(0x7f00)));
        let call = one(
            "execve(\"/bin/x\", [\"x\", \"a\\\"b,\"], 0x55 /* 41 vars (x) */) = -1 ENOENT (No such file)\n",
        );
        assert_eq!(
            (call.text(0), call.args.len(), call.result.clone()),
            (Some("/bin/x"), 3, Err("ENOENT".into()))
        );
    }

    #[test]
    fn calls_in_two_pieces_are_joined() {
        let log = parse("log", "[pid 7] 12:00:01.5 brk(NULL <unfinished ...>\n[pid 8] getpid() = 8\n[pid 7] <... brk resumed>) = 0x1000\n").unwrap();
        assert_eq!(log.entries.len(), 2);
        assert!(
            matches!(&log.entries[1], Entry { line: 3, pid: 7, what: What::Call(c) } if c.name == "brk" && c.result == Ok(0x1000))
        );
    }

    #[test]
    fn a_cut_line_is_named() {
        for cut in [
            "7 mmap(NULL, 8192, PROT_R",
            "7 munmap(0x1000, 4096)",
            "7 munmap(0x1000, 4096) =",
            "7 <... mmap resu",
            "7 +++ exited wi",
        ] {
            let why = parse("log", &format!("7 getpid() = 7\n{cut}\n")).unwrap_err();
            assert_eq!(why.line(), Some(2), "{cut}: {why}");
        }
    }
}
