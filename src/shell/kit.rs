//! The session's own commands: help, aliases, history, saving and reading lines back.

use crate::script::table::{Column, Table};
use crate::shell::session::{Outcome, Session};
use crate::shell::words;
use clap::{Command, FromArgMatches, Subcommand};
use rhai::Dynamic;
use std::collections::BTreeMap;

/// What the session's own commands remember.
#[derive(Default)]
pub struct Kit {
    aliases: BTreeMap<String, String>,
    /// Lines as they were typed.
    pub history: Vec<String>,
    /// The script that would do the same again.
    pub replay: Vec<String>,
    /// Show the time each line took.
    pub timing: bool,
}

/// One of the session's own commands; its doc comment is its page.
#[derive(Subcommand)]
#[command(no_binary_name = true, disable_help_flag = true, disable_help_subcommand = true)]
enum Line {
    /// Lists the commands and functions, or shows the page of a name; `help --model` tells what is simulated.
    Help {
        /// A command, a function, a constant, a property
        #[arg(value_name = "TOPIC", allow_hyphen_values = true)]
        name: Vec<String>,
    },
    /// Shows the page of a name, as help does.
    Man {
        /// A command, a function, a constant, a property
        #[arg(value_name = "TOPIC")]
        name: Vec<String>,
    },
    /// Lists every page that mentions a word.
    Apropos {
        /// What to look for
        word: Vec<String>,
    },
    /// Lists the aliases, or gives a command line a short name.
    Alias {
        /// The name, and the command line it stands for
        #[arg(value_name = "COMMAND", trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
    /// Repeats a command: `repeat -3 kmem -i`.
    Repeat {
        /// How often, and the command line
        #[arg(value_name = "COMMAND", trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
    /// Lists the lines typed so far.
    History,
    /// Writes a script that does the same again.
    Save {
        /// The file
        #[arg(value_name = "FILE")]
        file: String,
    },
    /// Reads lines from a file, as if they were typed.
    Source {
        /// The file
        #[arg(value_name = "FILE")]
        file: String,
    },
    /// Shows after each line how much virtual time it took: `timing on`.
    Timing {
        /// `on` or `off`
        #[arg(value_name = "on|off")]
        switch: Option<String>,
    },
    /// Boots the machine afresh; variables stay.
    Reset,
    /// Ends the session.
    #[command(alias = "q")]
    Quit,
    /// Ends the session, with a status if one is given.
    Exit {
        /// 0 to 255
        status: Option<u8>,
    },
}

fn declared() -> Command {
    Line::augment_subcommands(
        Command::new("").no_binary_name(true).disable_help_subcommand(true).disable_help_flag(true),
    )
}

impl Kit {
    /// Is this one of the session's own commands?
    pub fn knows(word: &str) -> bool {
        matches!(
            word,
            "help"
                | "man"
                | "apropos"
                | "alias"
                | "repeat"
                | "history"
                | "save"
                | "source"
                | "timing"
                | "reset"
                | "quit"
                | "q"
                | "exit"
        )
    }

    /// The session's own commands, with what each is for.
    pub fn pages() -> Vec<(String, String)> {
        let about = |c: &Command| c.get_about().map(ToString::to_string).unwrap_or_default();
        declared().get_subcommands().map(|c| (c.get_name().to_string(), about(c))).collect()
    }

    /// What the argument of one of them is called: `TOPIC`, `FILE`, `on|off`; empty when there is none.
    pub fn argument(name: &str) -> Option<String> {
        let declared = declared();
        let command = declared.find_subcommand(name)?;
        let argument = command.get_positionals().next().and_then(|arg| arg.get_value_names()?.first());
        Some(argument.map(ToString::to_string).unwrap_or_default())
    }

    /// The line with its first word replaced, when that is an alias.
    pub fn expand_alias(&self, line: &str) -> String {
        let (word, rest) = crate::shell::dispatch::first_word(line.trim_start());
        match self.aliases.get(word) {
            Some(meaning) if rest.is_empty() || rest.starts_with([' ', '|', '>']) => {
                format!("{meaning}{rest}")
            }
            _ => line.to_string(),
        }
    }

    /// The names given by `alias`.
    pub fn aliases(&self) -> impl Iterator<Item = &str> {
        self.aliases.keys().map(String::as_str)
    }

    /// Runs one of the session's own commands.
    pub fn run(session: &mut Session, line: &[String]) -> Outcome {
        let parsed =
            declared().try_get_matches_from(line).and_then(|matches| Line::from_arg_matches(&matches));
        let parsed = match parsed {
            Ok(parsed) => parsed,
            Err(error) => {
                let what = error.to_string();
                let what = what.lines().next().unwrap_or_default().trim_start_matches("error: ");
                return session.complain(format!("{}: {what}", line[0]));
            }
        };
        match parsed {
            Line::Help { name } | Line::Man { name } => page(session, "help", &name),
            Line::Apropos { word } => page(session, "apropos", &word),
            Line::Alias { words } => alias(session, &words),
            Line::Repeat { words } => repeat(session, &words),
            Line::History => {
                let lines = session.kit.history.iter().enumerate();
                let rows = lines.map(|(n, line)| vec![(n + 1).into(), line.as_str().into()]).collect();
                let columns = vec![Column::right("#", 4).key("number"), Column::left("line", 0)];
                session.answer(Dynamic::from(Table::grid(columns, rows)));
                session.done()
            }
            Line::Save { file } => save(session, &file),
            Line::Source { file } => source(session, &file),
            Line::Timing { switch } => match switch.as_deref() {
                Some("on") | None => set_timing(session, true),
                Some("off") => set_timing(session, false),
                Some(other) => session.complain(format!("timing is on or off, not {other:?}")),
            },
            Line::Reset => session.expanded("reset()"),
            Line::Quit => Outcome::Exit(0),
            Line::Exit { status } => Outcome::Exit(status.unwrap_or(0)),
        }
    }
}

fn page(session: &mut Session, how: &str, words: &[String]) -> Outcome {
    match session.pages.clone().answer(how, words) {
        Ok(page) => {
            session.answer(Dynamic::from(page));
            session.done()
        }
        Err(complaint) => session.fail(&complaint),
    }
}

fn set_timing(session: &mut Session, on: bool) -> Outcome {
    session.kit.timing = on;
    Outcome::Done
}

fn alias(session: &mut Session, words: &[String]) -> Outcome {
    match words {
        [] => {
            let rows = session
                .kit
                .aliases
                .iter()
                .map(|(name, line)| vec!["user".into(), name.as_str().into(), line.as_str().into()]);
            let rows = rows.collect();
            let columns =
                vec![Column::left("ORIGIN", 0), Column::left("ALIAS", 0), Column::left("COMMAND", 0)];
            session.answer(Dynamic::from(Table::grid(columns, rows)));
            session.done()
        }
        [name] => match session.kit.aliases.get(name) {
            Some(line) => {
                let line = line.clone();
                session.bench.out.line(&line);
                session.done()
            }
            None => session.complain(format!("{name} is no alias")),
        },
        [name, ..] if Kit::knows(name) => {
            session.complain(format!("{name} is a command of the session; choose another name"))
        }
        [name, line @ ..] => {
            // Words that held spaces were quoted; they are again.
            let line: Vec<String> = line
                .iter()
                .map(|w| {
                    if w.contains(char::is_whitespace) && line.len() > 1 {
                        words::quoted(w)
                    } else {
                        w.clone()
                    }
                })
                .collect();
            session.kit.aliases.insert(name.clone(), line.join(" "));
            Outcome::Done
        }
    }
}

fn repeat(session: &mut Session, words: &[String]) -> Outcome {
    let (times, line) = match words.split_first() {
        Some((first, rest)) => match first.trim_start_matches('-').parse::<u32>() {
            Ok(times) => (times.min(10_000), rest),
            Err(_) => (1, words),
        },
        None => return session.complain("repeat what? for example: repeat -3 kmem -i"),
    };
    let line = line.join(" ");
    for _ in 0..times {
        let outcome = session.obey(&line);
        if outcome != Outcome::Done {
            return outcome;
        }
    }
    Outcome::Done
}

fn save(session: &mut Session, file: &str) -> Outcome {
    if !session.bench.borrow().limits.host {
        return session.complain(format!("save {file}: a sandboxed session writes no files"));
    }
    let mut text = session.replay_header();
    for line in &session.kit.replay {
        text.push_str(line);
        text.push('\n');
    }
    match std::fs::write(file, text) {
        Ok(()) => Outcome::Done,
        Err(why) => session.complain(format!("{file}: {why}")),
    }
}

fn source(session: &mut Session, file: &str) -> Outcome {
    if !session.bench.borrow().limits.host {
        return session.complain(format!("source {file}: a sandboxed session reads no files"));
    }
    match std::fs::read_to_string(file) {
        Ok(text) => session.obey_lines(&text, true),
        Err(why) => session.complain(format!("{file}: {why}")),
    }
}
