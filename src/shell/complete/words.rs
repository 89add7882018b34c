//! The words of a command line: options, and what the command's declaration says of its arguments.

use super::{Candidate, clip, names, topics};
use crate::script::catalogue::{Entry, Kind};
use crate::script::takes::Takes;
use crate::shell::crash::Spelled;
use crate::shell::kit::Kit;
use crate::shell::model;
use crate::shell::session::Session;
use crate::shell::words::{Part, last_part};

/// The filters that are always there; a host's shell knows more.
const FILTERS: &[&str] = &["grep", "head", "sort", "tail", "wc"];

/// What could stand at the end of a command line, and where it would begin.
pub fn command_line(session: &Session, line: &str) -> (usize, Vec<Candidate>) {
    let (part, part_start) = last_part(line);
    let typed = &line[part_start..];
    let space = typed.rfind(' ').map_or(0, |at| at + 1);
    let before: Vec<&str> = typed[..space].split_whitespace().collect();
    // A bar that is still inside of a command belongs to a mask.
    let start = part_start + typed[space..].rfind('|').map_or(space, |at| space + at + 1);
    let word = &line[start..];
    let command = line.trim_start().trim_start_matches('%').split_whitespace().next().unwrap_or_default();
    let found = match (part, before.as_slice()) {
        (Part::Command, [_, before @ ..]) => arguments(session, command, before, word),
        (Part::Filter, []) => names(FILTERS.iter().map(ToString::to_string), word),
        (Part::File, []) if command == "echo" => live(session, Takes::Writable, word),
        (Part::File, []) => host_files(session, word),
        _ => Vec::new(),
    };
    (start, found)
}

/// What could follow these words of a command.
pub fn arguments(session: &Session, command: &str, before: &[&str], word: &str) -> Vec<Candidate> {
    if let Some(guest) = session.guests.iter().find(|guest| guest.name == command) {
        let offered = (guest.complete)(before).into_iter().filter(|(text, _)| text.starts_with(word));
        return offered.map(|(text, remark)| Candidate::remarked(text, &remark)).collect();
    }
    if let Some(argument) = Kit::argument(command) {
        return match argument.as_str() {
            "TOPIC" if before == ["--model"] => names(model::names(), word),
            "TOPIC" if word.starts_with('-') => names(["--model".to_string()], word),
            "TOPIC" => topics(session, word),
            "FILE" => host_files(session, word),
            "COMMAND" => names(session.pages.command_names(), word),
            choices if before.is_empty() => {
                names(choices.split('|').filter(|choice| !choice.is_empty()).map(String::from), word)
            }
            _ => Vec::new(),
        };
    }
    if let Some(spelled) = session.commands.iter().find(|c| c.name == command) {
        return spelled_words(session, spelled, before, word);
    }
    if (command, before) == ("draw", &["slab"]) {
        return live(session, Takes::Cache, word);
    }
    match session.interpreter.entries.iter().find(|e| e.name == command && e.is_command()) {
        Some(entry) => argument(session, entry, before.len(), before, word),
        None => Vec::new(),
    }
}

fn spelled_words(session: &Session, spelled: &Spelled, before: &[&str], word: &str) -> Vec<Candidate> {
    let takes = spelled.takes(before);
    let mut found = if word.starts_with('-') { Vec::new() } else { live(session, takes, word) };
    if spelled.name == "foreach" && !word.starts_with('-') {
        let doable = ["vm", "vtop", "set", "task", "ps"].map(String::from);
        found.extend(names(doable, word));
    }
    // Options when they are asked for, and where nothing else can stand.
    if word.starts_with('-') || (word.is_empty() && matches!(takes, Takes::Address | Takes::Other)) {
        for (option, help) in spelled.options() {
            let text = option.split(' ').next().unwrap_or_default().to_string();
            if text.starts_with(word) {
                found.push(Candidate { text, shown: clip(&format!("{option:<12} {help}")) });
            }
        }
    }
    found
}

/// What an argument of a function could be; `before` are the words before it, where it is typed as a command.
pub fn argument(session: &Session, entry: &Entry, nth: usize, before: &[&str], word: &str) -> Vec<Candidate> {
    let kinds: Vec<Takes> = entry.takes.iter().filter_map(|form| form.get(nth).copied()).collect();
    of_kinds(session, entry, kinds, nth, before, word)
}

/// The same inside of a string, where no number can stand.
pub fn in_quotes(
    session: &Session,
    entry: &Entry,
    nth: usize,
    before: &[&str],
    word: &str,
) -> Vec<Candidate> {
    let number = |takes: &Takes| matches!(takes, Takes::Node | Takes::Cpu | Takes::Snapshot);
    let kinds = entry.takes.iter().filter_map(|form| form.get(nth).copied());
    of_kinds(session, entry, kinds.filter(|takes| !number(takes)).collect(), nth, before, word)
}

fn of_kinds(
    session: &Session,
    entry: &Entry,
    mut kinds: Vec<Takes>,
    nth: usize,
    before: &[&str],
    word: &str,
) -> Vec<Candidate> {
    kinds.dedup();
    let mut found: Vec<Candidate> = kinds.iter().flat_map(|takes| live(session, *takes, word)).collect();
    if kinds.contains(&Takes::Text) {
        let lines = entry.command_lines().into_iter().map(|line| line.split_whitespace().skip(1));
        let lines = lines.map(Iterator::collect::<Vec<_>>);
        let fitting = lines.filter(|line| nth == 0 || line.starts_with(before));
        found.extend(names(fitting.filter_map(|line| line.get(nth).map(ToString::to_string)), word));
    }
    found
}

/// What exists now and fits.
pub fn live(session: &Session, takes: Takes, word: &str) -> Vec<Candidate> {
    match takes {
        Takes::Gfp => {
            let flags = session.interpreter.entries.iter().filter(|e| e.kind == Kind::Constant);
            let flags = flags.filter(|e| e.name.starts_with("GFP_") || e.name.starts_with("__GFP_"));
            let flags = flags.filter(|e| e.name.starts_with(word));
            flags.map(|e| Candidate::remarked(e.name.clone(), e.summary())).collect()
        }
        Takes::Address => {
            let variables = session.interpreter.scope.iter_raw();
            let address = |value: &rhai::Dynamic| {
                value.read_lock::<crate::script::args::Address>().map(|addr| format!("{:x}", addr.0))
            };
            let held = variables.filter_map(|(name, _, value)| Some((address(value)?, name.to_string())));
            let held = held.filter(|(text, _)| text.starts_with(word.trim_start_matches("0x")));
            held.map(|(text, name)| Candidate::remarked(text, &name)).collect()
        }
        Takes::Topic => topics(session, word),
        // Of several, parted by commas, the last one is being typed.
        Takes::Member | Takes::Cache if word.contains(',') => {
            let (before, last) = word.rsplit_once(',').unwrap_or_default();
            let offered = takes.live(&session.bench.borrow()).into_iter();
            let offered = offered.filter(|(text, _)| text.starts_with(last));
            names(offered.map(|(text, _)| format!("{before},{text}")), word)
        }
        takes => {
            let offered = takes.live(&session.bench.borrow()).into_iter();
            let offered = offered.filter(|(text, _)| text.starts_with(word));
            offered.map(|(text, remark)| Candidate::remarked(text, &remark)).collect()
        }
    }
}

/// Files of the host, where the session may touch them.
fn host_files(session: &Session, word: &str) -> Vec<Candidate> {
    if !session.bench.borrow().limits.host {
        return Vec::new();
    }
    let (folder, start) = word.rsplit_once('/').map_or((".", word), |(folder, start)| (folder, start));
    let folder = if word.starts_with('/') && folder.is_empty() { "/" } else { folder };
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut found: Vec<String> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let hidden = name.starts_with('.') && !start.starts_with('.');
            let end = if entry.path().is_dir() { "/" } else { "" };
            (name.starts_with(start) && !hidden)
                .then(|| format!("{}{name}{end}", &word[..word.len() - start.len()]))
        })
        .collect();
    found.sort();
    names(found, word)
}
