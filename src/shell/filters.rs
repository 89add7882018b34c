//! What stands after a pipe: the host's programs, or the few that are built in.
//!
//! Transcripts, sandboxes and browsers have no shell; there `grep head tail wc sort` are these.

use crate::shell::words;
use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Who runs what stands after a pipe.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Programs {
    /// The host's shell.
    Host,
    /// The built-in filters only.
    BuiltIn,
}

/// What a filter wrote, and whether it ended well: `grep` that finds nothing does not.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Filtered {
    /// Its standard output.
    pub text: String,
    /// Its exit status was 0.
    pub well: bool,
}

/// Runs `line` with `input` on its standard input; a pager wants the terminal, so the last filter of a line may have
/// our own standard output, and then answers no text.
///
/// # Errors
/// When it cannot be run.
pub fn pipe(
    programs: Programs,
    line: &str,
    input: &str,
    terminal: Option<&AtomicBool>,
) -> Result<Filtered, String> {
    match programs {
        Programs::Host => host(line, input, terminal),
        Programs::BuiltIn => built_in(line, input),
    }
}

/// Runs a line of the host's shell on the terminal (`!ls`); answers whether it ended well.
///
/// # Errors
/// When there is no shell.
pub fn run(line: &str, stop: &AtomicBool) -> Result<bool, String> {
    let started = Command::new("sh").args(["-c", line]).spawn();
    let ended = started.and_then(|mut child| wait(&mut child, stop).and_then(|()| child.wait()));
    ended.map(|status| status.success()).map_err(|why| format!("no shell to run {line:?}: {why}"))
}

/// Waits for a program that has the terminal: a Ctrl-C there is meant for it, however often.
fn wait(child: &mut Child, stop: &AtomicBool) -> std::io::Result<()> {
    let mut nap = Duration::from_micros(100);
    while child.try_wait()?.is_none() {
        stop.store(false, Ordering::Relaxed);
        std::thread::sleep(nap);
        nap = (nap * 2).min(Duration::from_millis(20));
    }
    Ok(())
}

fn host(line: &str, input: &str, terminal: Option<&AtomicBool>) -> Result<Filtered, String> {
    let output = if terminal.is_some() { Stdio::inherit() } else { Stdio::piped() };
    let started = Command::new("sh").args(["-c", line]).stdin(Stdio::piped()).stdout(output).spawn();
    let mut child = started.map_err(|why| format!("no shell to run {line:?}: {why}"))?;
    let mut stdin = child.stdin.take();
    let input = input.to_string();
    // A filter may answer before it has read everything: write from another thread.
    let writer = std::thread::spawn(move || {
        if let Some(stdin) = &mut stdin {
            // `head` closes early; that is its right.
            let _ = stdin.write_all(input.as_bytes());
        }
        drop(stdin);
    });
    if let Some(stop) = terminal {
        wait(&mut child, stop).map_err(|why| format!("{line:?}: {why}"))?;
    }
    let answer = child.wait_with_output().map_err(|why| format!("{line:?}: {why}"));
    let _ = writer.join();
    answer.map(|answer| Filtered {
        text: String::from_utf8_lossy(&answer.stdout).into_owned(),
        well: answer.status.success(),
    })
}

fn built_in(line: &str, input: &str) -> Result<Filtered, String> {
    let words = words::words(line)?;
    let Some((program, args)) = words.split_first() else {
        return Ok(Filtered { text: input.into(), well: true });
    };
    let lines: Vec<&str> = input.lines().collect();
    let kept: Vec<String> = match program.as_str() {
        "grep" => grep(args, &lines)?,
        "head" => lines.iter().take(count(args)?).map(ToString::to_string).collect(),
        "tail" => lines[lines.len().saturating_sub(count(args)?)..].iter().map(ToString::to_string).collect(),
        "wc" => wc(args, input),
        "sort" => sort(args, &lines)?,
        other => return Err(format!("no {other} here; built in are grep, head, tail, sort and wc")),
    };
    let well = program != "grep" || kept.iter().any(|line| line != "0");
    Ok(Filtered { text: kept.into_iter().map(|line| line + "\n").collect(), well })
}

fn count(args: &[String]) -> Result<usize, String> {
    let digits = match args {
        [] => return Ok(10),
        [flag, n] if flag == "-n" => n.as_str(),
        [n] => n.trim_start_matches("-n").trim_start_matches('-'),
        _ => "",
    };
    digits.parse().map_err(|_| format!("how many lines is {:?}? write -n 5", args.join(" ")))
}

/// A pattern is a text, anchored by `^` and `$`; `-i -v -c` as usual.
fn grep(args: &[String], lines: &[&str]) -> Result<Vec<String>, String> {
    let (flags, patterns): (Vec<&String>, Vec<&String>) =
        args.iter().partition(|a| a.starts_with('-') && a.len() > 1);
    let mut has = [false; 3];
    for letter in flags.iter().flat_map(|f| f.chars().skip(1)) {
        match letter {
            'i' => has[0] = true,
            'v' => has[1] = true,
            'c' => has[2] = true,
            'e' | 'E' | 'F' => {}
            other => return Err(format!("grep: -{other} is not built in; -i, -v and -c are")),
        }
    }
    let [pattern] = patterns.as_slice() else { return Err("grep: one pattern is expected".into()) };
    let fold = |text: &str| if has[0] { text.to_lowercase() } else { text.to_string() };
    let pattern = fold(pattern);
    let matches = |line: &str| {
        pattern.split('|').any(|choice| {
            let (start, choice) = choice.strip_prefix('^').map_or((false, choice), |rest| (true, rest));
            let (end, choice) = choice.strip_suffix('$').map_or((false, choice), |rest| (true, rest));
            match (start, end) {
                (true, true) => line == choice,
                (true, false) => line.starts_with(choice),
                (false, true) => line.ends_with(choice),
                (false, false) => line.contains(choice),
            }
        })
    };
    let kept: Vec<String> =
        lines.iter().filter(|line| matches(&fold(line)) != has[1]).map(ToString::to_string).collect();
    Ok(if has[2] { vec![kept.len().to_string()] } else { kept })
}

fn wc(args: &[String], input: &str) -> Vec<String> {
    let (lines, words, bytes) = (input.lines().count(), input.split_whitespace().count(), input.len());
    vec![match args.first().map(String::as_str) {
        Some("-l") => lines.to_string(),
        Some("-w") => words.to_string(),
        Some("-c") => bytes.to_string(),
        _ => format!("{lines:>7} {words:>7} {bytes:>7}"),
    }]
}

/// `-n` by the first number, `-r` backwards, `-kN` by the N-th word.
fn sort(args: &[String], lines: &[&str]) -> Result<Vec<String>, String> {
    let (mut numeric, mut reverse, mut key) = (false, false, 0_usize);
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut letters = arg.trim_start_matches('-').chars();
        while let Some(letter) = letters.next() {
            match letter {
                'n' => numeric = true,
                'r' => reverse = true,
                'k' => {
                    let rest: String = letters.by_ref().collect();
                    let digits =
                        if rest.is_empty() { args.next().cloned().unwrap_or_default() } else { rest };
                    let field = digits.trim_end_matches(|c: char| !c.is_ascii_digit());
                    key = field.parse().map_err(|_| format!("sort: -k{digits} names no column"))?;
                }
                other => return Err(format!("sort: -{other} is not built in; -n, -r and -k are")),
            }
        }
    }
    let field = |line: &str| match key {
        0 => line.trim().to_string(),
        key => line.split_whitespace().nth(key - 1).unwrap_or_default().to_string(),
    };
    let number = |line: &str| {
        let field = field(line);
        let end = field.find(|c: char| !c.is_ascii_digit() && c != '-').unwrap_or(field.len());
        field[..end].parse::<i64>().unwrap_or(0)
    };
    let mut sorted: Vec<String> = lines.iter().map(ToString::to_string).collect();
    if numeric {
        sorted.sort_by_key(|line| number(line));
    } else {
        sorted.sort_by_key(|line| field(line));
    }
    if reverse {
        sorted.reverse();
    }
    Ok(sorted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_filters_do_what_their_names_say() {
        let text = "b 2\na 10\nc 1\n";
        let of = |line| built_in(line, text).unwrap().text;
        assert_eq!(of("grep a"), "a 10\n");
        assert_eq!(of("grep -v ^a"), "b 2\nc 1\n");
        assert_eq!(of("grep -c 1"), "2\n");
        assert_eq!(of("head -n 1"), "b 2\n");
        assert_eq!(of("tail -1"), "c 1\n");
        assert_eq!(of("sort"), "a 10\nb 2\nc 1\n");
        assert_eq!(of("sort -k2 -n -r"), "a 10\nb 2\nc 1\n");
        assert_eq!(of("wc -l"), "3\n");
        let well = |line| built_in(line, text).unwrap().well;
        assert!(well("grep a") && !well("grep z") && !well("grep -c z") && well("head -n 0"));
        assert!(built_in("awk x", text).unwrap_err().contains("built in are grep"));
        assert!(built_in("head -n many", text).is_err());
    }
}
