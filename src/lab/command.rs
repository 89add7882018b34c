//! `vmlab lab …`, and `lab …` at the prompt: which labs there are, and what is done with them.
//!
//! Exit status: 0 all points · 1 some missing · 2 usage, unknown lab, missing file · 3 a bug in vmlab or in a lab.

use crate::lab::formats::Format;
use crate::lab::library::Library;
use crate::lab::trial::Broken;
use crate::lab::{author, check, instructor, student, watch};
use crate::script::out::Out;
use crate::shell::session::Manners;
use crate::shell::theme::Theme;
use clap::Parser;
use std::io::IsTerminal;
use std::path::PathBuf;

/// Something is missing.
pub const FAILED: u8 = 1;
/// Usage.
pub const USAGE: u8 = 2;
/// vmlab or a lab is wrong.
pub const BUG: u8 = 3;

/// What is typed before a lab's command in a shell.
pub const SHELL: &str = "vmlab lab";

/// Exercises that are graded on the state of the machine
#[derive(clap::Parser, Debug)]
#[command(name = "lab", no_binary_name = true, max_term_width = 100)]
struct Line {
    /// What to do; without it, at a terminal, watch the next lab, else list them
    #[command(subcommand)]
    command: Option<Command>,
}

/// What to do with labs.
#[derive(clap::Subcommand, Debug)]
pub enum Command {
    /// List the labs, with your points
    List,
    /// Show the next lab you have not passed
    Next,
    /// Show a lab's task, and make your file
    Start {
        /// Its number or name; without it, the next one
        lab: Option<String>,
    },
    /// Run your file on the lab's machine and look at the goals
    Check {
        /// Its number or name; without it, the one you worked at last
        lab: Option<String>,
        /// Another file than labs/…/my.rhai
        file: Option<PathBuf>,
        /// Another seed than the lab's; other seeds are then not tried
        #[arg(long)]
        seed: Option<u64>,
        #[command(flatten)]
        output: Output,
    },
    /// Check your file each time you save it
    Watch {
        /// Its number or name; without it, the next one
        lab: Option<String>,
        /// Check only when asked
        #[arg(long)]
        manual_run: bool,
    },
    /// Put the lab's machine at the prompt, to try things out
    Try {
        /// Its number or name
        lab: Option<String>,
        /// Another seed than the lab's
        #[arg(long)]
        seed: Option<u64>,
    },
    /// Show the next hint
    Hint {
        /// Its number or name
        lab: Option<String>,
    },
    /// Put your file back to the beginning; the old one is kept as my.old.rhai
    Reset {
        /// Its number or name
        lab: String,
    },
    /// Show a solution, once you have passed
    Solution {
        /// Its number or name
        lab: String,
        /// Show it even so
        #[arg(long)]
        give_up: bool,
    },
    /// Check every lab
    CheckAll {
        #[command(flatten)]
        output: Output,
    },
    /// Grade submissions: a folder of one student, or of folders, one a student
    Grade {
        /// Files are found by name: 10-watermark-arithmetic.rhai, 10.rhai, 10-…/my.rhai
        folder: PathBuf,
        /// Only these labs; without it, all
        #[arg(long = "lab", value_name = "LAB")]
        labs: Vec<String>,
        /// How many seeds to try; without it, as the lab says
        #[arg(long, value_name = "N")]
        seeds: Option<u64>,
        /// The first seed to try, kept to yourself; without it, the one after the student's
        #[arg(long, value_name = "N")]
        seed: Option<u64>,
        /// Only the i-th of n parts of the class
        #[arg(long, value_name = "I/N")]
        shard: Option<String>,
        #[command(flatten)]
        output: Output,
    },
    /// For those who write labs
    Dev {
        #[command(subcommand)]
        command: Dev,
    },
}

/// For those who write labs.
#[derive(clap::Subcommand, Debug)]
pub enum Dev {
    /// Prove labs: the starter fails, the solution passes under every seed, wrong answers get their sentence
    Check {
        /// A lab's folder, or a folder of labs; without it, all labs
        folder: Option<PathBuf>,
    },
    /// Make the skeleton of a lab
    New {
        /// `60-my-lab`
        name: String,
    },
}

/// How grades are written.
#[derive(clap::Args, Debug, Default)]
pub struct Output {
    /// How grades are written
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    /// Where; without it, standard output
    #[arg(long, value_name = "PATH")]
    pub out: Option<PathBuf>,
}

/// What a command works with.
pub struct Room {
    /// The labs.
    pub library: Library,
    /// Where text goes.
    pub out: Out,
    /// How it looks.
    pub theme: Theme,
    /// Answers are JSON.
    pub json: bool,
    /// How wide a terminal is; `None` when nobody looks: then lines stay as their author set them.
    pub width: Option<usize>,
    /// What stands before a command in advice: `vmlab lab` in a shell, `lab` at the prompt.
    pub call: &'static str,
}

/// The lab and the seed of `try`, when that is what the words say.
pub fn is_try(words: &[String]) -> Option<(Option<String>, Option<u64>)> {
    match Line::try_parse_from(words).ok()?.command? {
        Command::Try { lab, seed } => Some((lab, seed)),
        _ => None,
    }
}

/// What could be typed after these words of a `lab` line: what can be done, labs, options.
pub fn complete(before: &[&str]) -> Vec<(String, String)> {
    let mut command = <Line as clap::CommandFactory>::command();
    for word in before {
        if let Some(chosen) = command.find_subcommand(word) {
            command = chosen.clone();
        }
    }
    let about = |help: Option<&clap::builder::StyledStr>| help.map(ToString::to_string).unwrap_or_default();
    let mut found: Vec<(String, String)> =
        command.get_subcommands().map(|c| (c.get_name().to_string(), about(c.get_about()))).collect();
    if command.get_arguments().any(|arg| arg.get_id() == "lab") {
        let library = Library::open().map(|library| library.labs).unwrap_or_default();
        found.extend(library.iter().map(|lab| (lab.name.clone(), lab.exercise.title.clone())));
    }
    let options = command.get_arguments().filter_map(|arg| Some((arg.get_long()?, about(arg.get_help()))));
    found.extend(options.map(|(name, help)| (format!("--{name}"), help)));
    found
}

/// Obeys the words after `lab`; answers the exit status.
pub fn obey_words(words: &[String], out: &Out, manners: Manners, call: &'static str) -> u8 {
    let line = match Line::try_parse_from(words) {
        Ok(line) => line,
        Err(error) => {
            let text = error.to_string().replace("Usage: lab", &format!("Usage: {call}"));
            if error.use_stderr() {
                out.complaint(text.trim_end());
                return USAGE;
            }
            out.text(&text);
            return 0;
        }
    };
    let terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let alone = if terminal && call == SHELL && !manners.json {
        Command::Watch { lab: None, manual_run: false }
    } else {
        Command::List
    };
    run(line.command.unwrap_or(alone), out, manners, call)
}

/// Obeys a command; answers the exit status.
pub fn run(command: Command, out: &Out, manners: Manners, call: &'static str) -> u8 {
    let result = Room::open(out, manners, call).and_then(|room| match command {
        Command::List | Command::Next | Command::Watch { .. } => obey(&room, command),
        command if manners.json => document(&room, command),
        command => obey(&room, command),
    });
    result.unwrap_or_else(|complaint| {
        out.complaint(complaint.trim_end());
        USAGE
    })
}

/// One JSON document: grades as graders read them, anything else as its text.
fn document(room: &Room, mut command: Command) -> Result<u8, String> {
    if let Command::Check { output, .. } | Command::CheckAll { output } | Command::Grade { output, .. } =
        &mut command
    {
        if output.format != Format::Text {
            return obey(room, command);
        }
        output.format = Format::Json;
    }
    let (status, text) = room.out.capture(|| obey(room, command));
    let status = status?;
    // A grade is a document already; here it becomes a line.
    if let Ok(grade) = serde_json::from_str::<serde_json::Value>(&text) {
        room.say(&format!("{grade}\n"));
        return Ok(status);
    }
    room.say(&format!("{}\n", serde_json::json!({ "schema": 1, "text": text })));
    Ok(status)
}

fn obey(room: &Room, command: Command) -> Result<u8, String> {
    match command {
        Command::List => student::list(room),
        Command::Next => student::next(room),
        Command::Start { lab } => student::start(room, lab.as_deref()),
        Command::Check { lab, file, seed, output } => {
            check::check(room, lab.as_deref(), file.as_deref(), seed, &output)
        }
        Command::Watch { lab, manual_run } => watch::watch(room, lab.as_deref(), manual_run),
        Command::Try { .. } => Err("error: `lab try` is for the prompt".into()),
        Command::Hint { lab } => student::hint(room, lab.as_deref()),
        Command::Reset { lab } => student::reset(room, &lab),
        Command::Solution { lab, give_up } => student::solution(room, &lab, give_up),
        Command::CheckAll { output } => check::check_all(room, &output),
        Command::Grade { folder, labs, seeds, seed, shard, output } => {
            let dice = instructor::Dice { first: seed, count: seeds };
            instructor::grade(room, &folder, &labs, dice, shard.as_deref(), &output)
        }
        Command::Dev { command: Dev::Check { folder } } => author::check(room, folder.as_deref()),
        Command::Dev { command: Dev::New { name } } => author::new(room, &name),
    }
}

impl Room {
    /// Writes a result.
    pub fn say(&self, text: &str) {
        match self.width {
            Some(width) => self.out.text(&crate::lab::report::fitted(text, width)),
            None => self.out.text(text),
        }
    }

    /// What stands here to work with: the labs, the streams.
    ///
    /// # Errors
    /// When a lab cannot be read.
    pub fn open(out: &Out, manners: Manners, call: &'static str) -> Result<Room, String> {
        let Manners { theme, json, .. } = manners;
        Ok(Room {
            library: Library::open()?,
            out: out.clone(),
            theme,
            json,
            width: crate::shell::theme::terminal_width(),
            call,
        })
    }

    /// Writes a remark beside the results.
    pub fn note(&self, text: &str) {
        self.out.complaint(&self.theme.hint(&format!("note: {text}")));
    }

    /// Says that vmlab or the lab is wrong; answers the exit status.
    pub fn bug(&self, broken: &Broken) -> u8 {
        self.out.complaint(&format!("{broken}\n  help: this is not your script's fault; please report it"));
        BUG
    }

    /// Writes text to where it was asked for.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn deliver(&self, output: &Output, text: &str) -> Result<(), String> {
        match &output.out {
            None => {
                self.say(text);
                Ok(())
            }
            Some(file) => {
                std::fs::write(file, text).map_err(|why| format!("error: {}: {why}", file.display()))
            }
        }
    }
}
