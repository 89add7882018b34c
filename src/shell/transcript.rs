//! Sessions as text: `> ` is typed, the rest is answered.
//!
//! The same text is the example in a doc comment, a ```` ```vmlab ```` block of the book, and a golden session
//! under `tests/`. [`refresh`] replays every block of a file and answers the file as it should be; tests compare,
//! and with `UPDATE=1` write it back.
//!
//! ````text
//!   ```vmlab machine=x86_64-numa2 seed=7      another machine, other dice
//!   ```vmlab machine=book/src/logs/x.log      the machine of a kernel's report
//!   ```vmlab continue                         goes on where the block before ended
//!   ```vmlab should_fail                      at least one line must be answered by an error
//!   <!-- picture split: draw("buddy") -->     what is answered here is the file of a picture ([`pictures`])
//! ````

use crate::script::bench::Bench;
use crate::shell::session::{Outcome, Session};

/// The machine of a block that names none.
pub const MACHINE: &str = "tiny";

/// Something wrong with a block.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mismatch {
    /// The line of the fence, from 1.
    pub line: usize,
    /// What the file says.
    pub want: String,
    /// What the session answered.
    pub got: String,
}

/// Replays a transcript in a session: every typed line, each with its answer.
pub fn replay_in(session: &mut Session, transcript: &str) -> (String, bool) {
    let (mut text, mut failed) = (String::new(), false);
    let mut input = String::new();
    let mut typed = transcript.lines().filter_map(|line| line.strip_prefix('>')).peekable();
    while let Some(line) = typed.next() {
        // Only a line that goes on may be indented: `ps` marks what runs with a `>` of its own.
        if input.is_empty() && line.starts_with("  ") {
            continue;
        }
        let line = line.strip_prefix(' ').unwrap_or(line);
        text.push_str(format!("> {line}").trim_end());
        text.push('\n');
        input.push_str(line);
        if typed.peek().is_some() && session.is_incomplete(&input) {
            input.push('\n');
            continue;
        }
        let out = session.bench.out.clone();
        let line = std::mem::take(&mut input);
        let (outcome, answer) = out.capture(|| session.type_line(&line));
        failed |= outcome == Outcome::Failed;
        for line in answer.lines() {
            text.push_str(line.trim_end());
            text.push('\n');
        }
    }
    (text, failed)
}

/// Replays a transcript on a fresh machine.
pub fn replay(transcript: &str) -> Result<String, String> {
    let mut session = session_for("")?;
    Ok(replay_in(&mut session, transcript).0)
}

/// A sandboxed session for a fence such as ```` ```vmlab machine=tiny seed=7 ````.
fn session_for(attributes: &str) -> Result<Session, String> {
    let value =
        |key: &str| attributes.split_whitespace().find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
    let seed = match value("seed") {
        Some(seed) => Some(seed.parse().map_err(|_| format!("seed={seed} is no number"))?),
        None => None,
    };
    let machine = value("machine").unwrap_or(MACHINE);
    // A page may bring evidence of its own: the file of a kernel's report.
    let bench = match machine.contains('/') {
        true => Bench::sandbox_of(crate::import::load(machine).map_err(|why| why.to_string())?, seed)?,
        false => Bench::sandbox(machine, seed)?,
    };
    Ok(Session::quiet(bench))
}

/// A picture that a page asks for, drawn from the machine as it stands after the block before.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Picture {
    /// The line of the request, from 1.
    pub line: usize,
    /// Its name: the file without its ending.
    pub name: String,
    /// What the machine answered: the contents of the file.
    pub text: String,
}

/// Replays every block of a page and draws the pictures that it asks for, each where it stands.
pub fn pictures(text: &str) -> Vec<Picture> {
    let mut drawn = Vec::new();
    let mut session = None;
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        if let Some(attributes) = fence(line) {
            let typed: Vec<&str> =
                lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```").collect();
            // What is wrong with a block is for `refresh` to say.
            let _ = block(&mut session, attributes, &typed.join("\n"));
        }
        let request = line.strip_prefix("<!-- picture ").and_then(|rest| rest.strip_suffix(" -->"));
        if let Some((name, code)) = request.and_then(|request| request.split_once(": ")) {
            let text = match &mut session {
                Some(session) => replay_in(session, &format!("> {code}")).0,
                None => String::new(),
            };
            let text = text.split_once('\n').map_or(String::new(), |(_, answer)| answer.to_string());
            drawn.push(Picture { line: number + 1, name: name.to_string(), text });
        }
    }
    drawn
}

/// Replays every block of a file; answers the text as it should be, and what differs.
///
/// Works on Markdown and on Rust sources, where blocks stand in doc comments.
pub fn refresh(text: &str) -> (String, Vec<Mismatch>) {
    let mut fresh = String::new();
    let mut mismatches = Vec::new();
    let mut session: Option<Session> = None;
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        fresh.push_str(line);
        fresh.push('\n');
        let (margin, body) = split_margin(line);
        let Some(attributes) = fence(body) else { continue };
        let mut want = String::new();
        let mut end = None;
        for (_, line) in lines.by_ref() {
            let inner =
                line.strip_prefix(margin).or_else(|| line.strip_prefix(margin.trim_end())).unwrap_or(line);
            if inner.trim() == "```" {
                end = Some(line);
                break;
            }
            want.push_str(inner.trim_end());
            want.push('\n');
        }
        let got = match block(&mut session, attributes, &want) {
            Ok(got) => got,
            Err(why) => format!("{want}error: {why}\n"),
        };
        for line in got.lines() {
            fresh.push_str(format!("{margin}{line}").trim_end());
            fresh.push('\n');
        }
        fresh.extend(end.map(|line| format!("{line}\n")));
        if got != want {
            mismatches.push(Mismatch { line: number + 1, want, got });
        }
    }
    if !text.ends_with('\n') {
        fresh.truncate(fresh.trim_end_matches('\n').len());
    }
    (fresh, mismatches)
}

fn block(session: &mut Option<Session>, attributes: &str, transcript: &str) -> Result<String, String> {
    let has = |word: &str| attributes.split_whitespace().any(|w| w == word);
    if !has("continue") {
        *session = Some(session_for(attributes)?);
    }
    let Some(session) = session else { return Err("there is no block before this one to continue".into()) };
    let (text, failed) = replay_in(session, transcript);
    match (has("should_fail"), failed) {
        (true, false) => Err("this block should fail, but every line was answered".into()),
        _ => Ok(text),
    }
}

/// The attributes of a line that opens a block.
fn fence(line: &str) -> Option<&str> {
    line.strip_prefix("```vmlab").filter(|attributes| attributes.is_empty() || attributes.starts_with(' '))
}

/// The margin of a line (`    /// `) and what follows.
fn split_margin(line: &str) -> (&str, &str) {
    let indent = line.len() - line.trim_start().len();
    let rest = &line[indent..];
    let slashes = if rest.starts_with("///") || rest.starts_with("//!") { 3 } else { 0 };
    let space = usize::from(slashes > 0 && rest[slashes..].starts_with(' '));
    line.split_at(indent + slashes + space)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_drawn_where_they_stand() {
        let page = "```vmlab\n> let n = 1;\n```\n<!-- picture one: n -->\n```vmlab continue\n> n += 1;\n```\n\
                    <!-- picture two: print(n) -->\n<!-- no picture -->\n";
        let drawn: Vec<_> = pictures(page).into_iter().map(|p| (p.line, p.name, p.text)).collect();
        assert_eq!(drawn, [(4, "one".into(), "1\n".into()), (8, "two".into(), "2\n".into())]);
    }

    #[test]
    fn margins_are_kept() {
        assert_eq!(split_margin("    /// ```vmlab"), ("    /// ", "```vmlab"));
        assert_eq!(split_margin("```vmlab"), ("", "```vmlab"));
        assert_eq!(split_margin("    ///"), ("    ///", ""));
    }
}
