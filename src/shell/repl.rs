//! The prompt.
//!
//! Ctrl-C stops a running script, not the session; at the prompt it drops the half-typed line. Ctrl-D ends.

use crate::shell::complete;
use crate::shell::session::{Outcome, Session};
use crate::shell::theme::Theme;
use rhai::Token;
use rustyline::completion::{Completer, Pair};
use rustyline::config::{Behavior, Builder, CompletionType};
use rustyline::error::ReadlineError;
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Context, Editor, Helper};
use std::borrow::Cow;
use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;

/// What the line editor asks the session.
struct Typist {
    session: Rc<RefCell<Session>>,
    theme: Theme,
}

impl Helper for Typist {}

impl Completer for Typist {
    type Candidate = Pair;
    fn complete(&self, line: &str, pos: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        let (start, found) = complete::complete(&self.session.borrow(), &line[..pos]);
        let pairs = found.into_iter().map(|c| Pair { display: c.shown, replacement: c.text });
        Ok((start, pairs.collect()))
    }
}

impl Hinter for Typist {
    type Hint = String;
    fn hint(&self, line: &str, pos: usize, context: &Context<'_>) -> Option<String> {
        if pos < line.len() {
            return None;
        }
        let call = complete::hint(&self.session.borrow(), line);
        call.or_else(|| rustyline::hint::HistoryHinter::new().hint(line, pos, context))
    }
}

impl Validator for Typist {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        let input = context.input();
        // An empty line after unfinished input submits it, so that its error is seen.
        let insisted = input.ends_with("\n\n");
        let incomplete = !insisted && self.session.borrow().is_incomplete(input);
        Ok(if incomplete { ValidationResult::Incomplete } else { ValidationResult::Valid(None) })
    }
}

impl Highlighter for Typist {
    fn highlight<'l>(&self, line: &'l str, _: usize) -> Cow<'l, str> {
        if !self.theme.is_coloured() {
            Cow::Borrowed(line)
        } else {
            Cow::Owned(colour(&self.session.borrow(), line, self.theme))
        }
    }

    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(&'s self, prompt: &'p str, _: bool) -> Cow<'b, str> {
        if self.theme.is_coloured() { Cow::Owned(self.theme.heading(prompt)) } else { Cow::Borrowed(prompt) }
    }

    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        Cow::Owned(self.theme.faint(hint))
    }

    fn highlight_char(&self, _: &str, _: usize, _: CmdKind) -> bool {
        self.theme.is_coloured()
    }
}

/// The line with its words coloured; what is no token (remarks, blanks) stays as it is.
fn colour(session: &Session, line: &str, theme: Theme) -> String {
    let mut text = String::new();
    let mut done = 0;
    let line_starts: Vec<usize> =
        std::iter::once(0).chain(line.match_indices('\n').map(|(at, _)| at + 1)).collect();
    let byte = |pos: rhai::Position| -> Option<usize> {
        let start = *line_starts.get(pos.line()?.checked_sub(1)?)?;
        let column = pos.position()?.checked_sub(1)?;
        line[start..].char_indices().nth(column).map(|(at, _)| start + at)
    };
    for (token, pos) in session.interpreter.engine().lex([&line]).0 {
        if matches!(token, Token::EOF | Token::LexError(_)) {
            break;
        }
        let Some(start) = byte(pos).filter(|&start| start >= done) else { continue };
        let rest = &line[start..];
        let word = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
        let (len, coloured) = match &token {
            Token::StringConstant(_) | Token::CharConstant(_) | Token::InterpolatedString(_) => continue,
            Token::IntegerConstant(_) | Token::FloatConstant(_) => (word, theme.literal(&rest[..word])),
            Token::Identifier(name) => {
                let known = session.interpreter.entries.iter().any(|e| e.name == name.as_str());
                (word, if known { theme.known(&rest[..word]) } else { rest[..word].to_string() })
            }
            _ if word > 0 => (word, theme.keyword(&rest[..word])),
            _ => continue,
        };
        text.push_str(&line[done..start]);
        text.push_str(&coloured);
        done = start + len;
    }
    text.push_str(&line[done..]);
    text
}

/// Where the history is kept: `$XDG_STATE_HOME/vmlab/history`.
fn history_file() -> Option<PathBuf> {
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state"));
    let state =
        std::env::var_os("XDG_STATE_HOME").filter(|dir| !dir.is_empty()).map(PathBuf::from).or_else(home)?;
    Some(state.join("vmlab").join("history"))
}

/// The file read at the start of a prompt: `$XDG_CONFIG_HOME/vmlab/rc.rhai`.
pub fn rc_file() -> Option<PathBuf> {
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config"));
    let config =
        std::env::var_os("XDG_CONFIG_HOME").filter(|dir| !dir.is_empty()).map(PathBuf::from).or_else(home)?;
    Some(config.join("vmlab").join("rc.rhai"))
}

/// Talks with whoever sits at the terminal until they leave; answers the exit status.
///
/// With `past_stdin` standard input was read for something else: the terminal itself is asked.
pub fn run(session: Session, past_stdin: bool) -> Result<u8, ReadlineError> {
    let theme = session.manners().theme;
    let session = Rc::new(RefCell::new(session));
    let config = Builder::new()
        .completion_type(CompletionType::List)
        .completion_show_all_if_ambiguous(true)
        .history_ignore_dups(true)?
        .history_ignore_space(true)
        .max_history_size(5000)?
        .bracketed_paste(true)
        .behavior(if past_stdin { Behavior::PreferTerm } else { Behavior::Stdio })
        .build();
    let mut editor: Editor<Typist, FileHistory> = Editor::with_config(config)?;
    editor.set_helper(Some(Typist { session: session.clone(), theme }));
    let history = history_file();
    if let Some(file) = &history {
        // A first run has no history.
        let _ = editor.load_history(file);
    }
    let status = loop {
        match editor.readline("vmlab> ") {
            Ok(line) => {
                if !line.trim().is_empty() {
                    editor.add_history_entry(line.as_str())?;
                }
                // The session is lent to the line editor only while a line is typed.
                let outcome = session.borrow_mut().type_line(&line);
                match outcome {
                    Outcome::Exit(code) => break code,
                    Outcome::Closed => break 0,
                    Outcome::Done | Outcome::Failed | Outcome::Interrupted => {}
                }
            }
            Err(ReadlineError::Interrupted) => {}
            Err(ReadlineError::Eof) => break 0,
            Err(error) => return Err(error),
        }
    };
    if let Some(file) = &history {
        let kept = file.parent().map_or(Ok(()), std::fs::create_dir_all).map_err(ReadlineError::from);
        if let Err(why) = kept.and_then(|()| editor.save_history(file)) {
            session
                .borrow()
                .bench
                .out
                .complaint(&format!("note: the history was not kept in {}: {why}", file.display()));
        }
    }
    Ok(status)
}
