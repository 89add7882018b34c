//! Command lines in the manner of crash and the proc tools: spellings that expand to script text.
//!
//! ```text
//!   kmem -f            ──clap──►  Kmem { free: true }  ──script()──►  free_areas()
//!   kmem -f --script   prints the right-hand side instead of running it
//! ```
//!
//! A command can do nothing that a script cannot. One struct declares a command: clap parses it, and help and
//! completion read the same declaration.

mod evaluate;
mod kmem;
mod memory;
mod procps;
mod ps;
mod sysctl;
mod vm;

use crate::script::takes::Takes;
use crate::shell::words;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

/// A command's declaration: its options as fields, and the script they mean.
pub trait Spelling: Args + FromArgMatches {
    /// The first word of the line.
    const NAME: &'static str;
    /// Where to read on.
    const SEE_ALSO: &'static [&'static str] = &[];
    /// Complaints about a word are one line, without the usage, as crash's commands on tasks and addresses have them.
    const PLAIN: bool = false;
    /// The script text that answers the command, or why there is none; an empty reason shows the usage alone.
    fn script(&self) -> Result<String, String>;
    /// The same numbers by hand, in the plain language, when that teaches something.
    fn by_hand(&self) -> Option<String> {
        None
    }
}

/// What a command line means.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Expansion {
    /// The script that answers it.
    pub script: String,
    /// The same by hand.
    pub by_hand: Option<String>,
    /// `--script` was given: print, do not run.
    pub show: bool,
}

/// The script of a parsed line and the same by hand, or why there is none.
type Scripted = Result<(String, Option<String>), String>;

/// A declared command.
pub struct Spelled {
    /// The first word.
    pub name: &'static str,
    /// Where to read on.
    pub see_also: &'static [&'static str],
    command: Command,
    plain: bool,
    script: fn(&ArgMatches) -> Scripted,
}

fn spelled<T: Spelling>() -> Spelled {
    let command = T::augment_args(Command::new(T::NAME)).no_binary_name(true).disable_help_flag(true).arg(
        Arg::new("script")
            .long("script")
            .action(ArgAction::SetTrue)
            .help("Prints the script this command stands for"),
    );
    let script = |matches: &ArgMatches| {
        let typed = T::from_arg_matches(matches).map_err(|why| why.to_string())?;
        Ok((typed.script()?, typed.by_hand()))
    };
    Spelled { name: T::NAME, see_also: T::SEE_ALSO, command, plain: T::PLAIN, script }
}

/// Every declared command, by name.
pub fn commands() -> Vec<Spelled> {
    vec![
        spelled::<kmem::Kmem>(),
        spelled::<sysctl::Sysctl>(),
        spelled::<vm::Vm>(),
        spelled::<vm::Vtop>(),
        spelled::<vm::Pte>(),
        spelled::<vm::Ptov>(),
        spelled::<vm::Ptob>(),
        spelled::<vm::Btop>(),
        spelled::<evaluate::Eval>(),
        spelled::<evaluate::Cow>(),
        spelled::<memory::Rd>(),
        spelled::<memory::Struct>(),
        spelled::<ps::Ps>(),
        spelled::<ps::Set>(),
        spelled::<ps::Task>(),
        spelled::<ps::Foreach>(),
        spelled::<ps::Swap>(),
        spelled::<procps::Free>(),
        spelled::<procps::Pmap>(),
        spelled::<procps::PageTypes>(),
        spelled::<procps::Slabtop>(),
        spelled::<procps::Slabinfo>(),
    ]
}

impl Spelled {
    /// What the words after the name mean, or what crash would say about them.
    pub fn expand(&self, words: &[String]) -> Result<Expansion, String> {
        // Wherever it stands: commands that take words with dashes would swallow it.
        let show = words.iter().any(|word| word == "--script");
        let words = words.iter().filter(|word| *word != "--script");
        let matches = self.command.clone().try_get_matches_from(words).map_err(|error| self.usage(&error))?;
        let complain = |why: String| match why.as_str() {
            "" => self.with_usage(why),
            _ if self.plain => format!("{}: {why}", self.name),
            _ => self.with_usage(format!("{}: {why}", self.name)),
        };
        let (script, by_hand) = (self.script)(&matches).map_err(complain)?;
        Ok(Expansion { script, by_hand, show })
    }

    /// What the command is for.
    pub fn about(&self) -> String {
        self.command.get_about().map(ToString::to_string).unwrap_or_default()
    }

    /// The doc comment of the declaration.
    pub fn doc(&self) -> String {
        let doc = self.command.get_long_about().or(self.command.get_about());
        doc.map(ToString::to_string).unwrap_or_default()
    }

    /// Options with what they do: `("-f", "Free blocks …")`.
    pub fn options(&self) -> Vec<(String, String)> {
        let options = self.command.get_arguments().filter(|arg| !arg.is_positional());
        options
            .map(|arg| (option(arg), arg.get_help().map(ToString::to_string).unwrap_or_default()))
            .collect()
    }

    /// What the next word after these words takes, by the name its declaration gives it: `PID`, `ADDRESS`.
    pub fn takes(&self, before: &[&str]) -> Takes {
        let last = before.last().copied().unwrap_or_default();
        let valued = |arg: &&Arg| {
            let named = arg.get_short().is_some_and(|short| last == format!("-{short}"));
            named && arg.get_action().takes_values()
        };
        let arg = self.command.get_arguments().find(valued);
        let arg = arg.or_else(|| self.command.get_arguments().find(|arg| arg.is_positional()));
        let name = arg.and_then(|arg| arg.get_value_names()?.first().map(ToString::to_string));
        named(&name.unwrap_or_default())
    }

    /// `kmem [-f|-F|-i] [-g FLAGS] [ADDRESS]`.
    pub fn synopsis(&self) -> String {
        let (mut flags, mut rest) = (Vec::new(), Vec::new());
        for arg in self.command.get_arguments() {
            let shown = option(arg);
            if arg.is_positional() || shown.contains(' ') {
                rest.push(format!("[{shown}]"));
            } else if arg.get_id() != "script" {
                flags.push(shown);
            }
        }
        let flags = if flags.is_empty() { vec![] } else { vec![format!("[{}]", flags.join("|"))] };
        [vec![self.name.to_string()], flags, rest].concat().join(" ")
    }

    /// A wrong command line is answered in crash's shape: what is wrong, the usage, where to read.
    fn usage(&self, error: &clap::Error) -> String {
        let context = |kind| match error.get(kind) {
            Some(ContextValue::String(text)) => text.clone(),
            _ => String::new(),
        };
        let invalid = context(ContextKind::InvalidArg);
        let name = self.name;
        let what = match error.kind() {
            ErrorKind::UnknownArgument => match invalid.strip_prefix('-') {
                Some(letter) if !letter.starts_with('-') => format!("{name}: invalid option -- '{letter}'"),
                _ => format!("{name}: {invalid:?} is not expected here"),
            },
            ErrorKind::InvalidValue if context(ContextKind::InvalidValue).is_empty() => {
                format!("{name}: {invalid} needs a value")
            }
            ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
                format!("{name}: {:?} is not a value for {invalid}", context(ContextKind::InvalidValue))
            }
            // crash says nothing more than how it is used.
            ErrorKind::MissingRequiredArgument => String::new(),
            ErrorKind::ArgumentConflict => {
                format!("{name}: {invalid} cannot be used with another of these options")
            }
            _ => format!("{name}: {}", error.to_string().lines().next().unwrap_or_default()),
        };
        self.with_usage(what)
    }

    fn with_usage(&self, what: String) -> String {
        let usage = format!("Usage:\n  {}\nEnter \"help {}\" for details.", self.synopsis(), self.name);
        if what.is_empty() { usage } else { format!("{what}\n{usage}") }
    }
}

/// What a word of this name takes.
fn named(value: &str) -> Takes {
    let word = |name: &str| value.split(['|', '.', ' ', '[', '=']).any(|word| word == name);
    if word("PID") || word("TASK") {
        Takes::Task
    } else if word("ADDRESS") || word("VMA") {
        Takes::Address
    } else if word("SYSCTL") {
        Takes::Sysctl
    } else if word("CACHE") || word("CACHES") {
        Takes::Cache
    } else if word("MEMBERS") {
        Takes::Member
    } else if word("NAME") {
        Takes::Structure
    } else {
        Takes::Other
    }
}

fn option(arg: &Arg) -> String {
    let name = match (arg.get_short(), arg.get_long()) {
        (Some(short), _) => format!("-{short}"),
        (None, Some(long)) => format!("--{long}"),
        (None, None) => String::new(),
    };
    let takes = arg.is_positional() || arg.get_action().takes_values();
    let value = arg.get_value_names().and_then(|names| names.first()).map(|name| name.to_uppercase());
    match (name.is_empty(), takes.then_some(value).flatten()) {
        (true, value) => value.unwrap_or_default(),
        (false, Some(value)) => format!("{name} {value}"),
        (false, None) => name,
    }
}

/// An address as crash takes it: hexadecimal, with or without `0x`.
pub(crate) fn address(word: &str) -> Result<String, String> {
    let digits = word.trim_start_matches("0x");
    match u64::from_str_radix(digits, 16) {
        Ok(bits) => Ok(format!("addr({})", words::quoted(&format!("{bits:x}")))),
        Err(_) => Err(format!("{word:?} is no address: it is not a hexadecimal number")),
    }
}

/// The same as an argument, complained about in the words of crash's translators.
pub(crate) fn bare(word: &str) -> Result<String, String> {
    address(word).map_err(|_| format!("invalid input: {word:?}"))
}

/// A task as an argument: a pid is a number, an address or anything else a word.
pub(crate) fn task(word: &str) -> String {
    match word.parse::<u32>() {
        Ok(pid) => pid.to_string(),
        Err(_) => words::quoted(word),
    }
}

/// Several calls as one script: all are shown, with an empty line between.
pub(crate) fn together(calls: &[String]) -> String {
    let shown: Vec<String> =
        calls.iter().rev().skip(1).rev().map(|call| format!("print({call}); print(\"\"); ")).collect();
    format!("{}{}", shown.concat(), calls.last().map(String::as_str).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_declared_well() {
        for command in commands() {
            command.command.clone().debug_assert();
            assert!(command.about().ends_with('.'), "{}: {:?} is no sentence", command.name, command.about());
            for (option, help) in command.options() {
                assert!(!help.is_empty(), "{} {option} has no doc comment", command.name);
            }
        }
    }

    #[test]
    fn a_wrong_option_is_answered_in_crashs_shape() {
        let kmem = commands().into_iter().find(|c| c.name == "kmem").expect("kmem is declared");
        let complaint = kmem.expand(&["-x".into()]).unwrap_err();
        let lines: Vec<&str> = complaint.lines().collect();
        assert_eq!(lines[0], "kmem: invalid option -- 'x'");
        assert_eq!(lines[1], "Usage:");
        assert!(lines[2].starts_with("  kmem [-f|-F|"), "{}", lines[2]);
        assert_eq!(lines[3], "Enter \"help kmem\" for details.");
    }
}
