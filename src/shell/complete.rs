//! What could be typed next: commands, options, functions, flags, properties, and names that are alive now.

use crate::script::catalogue::{Entry, Kind, type_name};
use crate::shell::dispatch::first_word;
use crate::shell::session::Session;

/// Something that could stand at the cursor.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Candidate {
    /// What is inserted.
    pub text: String,
    /// What the list shows.
    pub shown: String,
}

/// Rhai's own words, completed like names.
const WORDS: &[&str] = &[
    "let", "const", "fn", "if", "else", "for", "in", "while", "loop", "break", "continue", "return",
    "switch", "try", "catch", "throw", "import", "true", "false", "print",
];

/// What could stand at the end of `line`, and where it would begin.
pub fn complete(session: &Session, line: &str) -> (usize, Vec<Candidate>) {
    let entries = &session.interpreter.entries;
    let trimmed = line.trim_start();
    let (first, rest) = first_word(trimmed.trim_start_matches('%'));
    let as_command = !rest.is_empty() && rest.starts_with(' ') && session.is_command(first);
    if as_command {
        let start = line.rfind([' ', '=', ',']).map_or(0, |at| at + 1);
        return (start, arguments(session, first, &line[start..]));
    }
    // Inside a string: a path, a zone, a parameter.
    if line.matches('"').count() % 2 == 1 {
        let start = line.rfind('"').map_or(0, |at| at + 1);
        return (start, names(live(session), &line[start..]));
    }
    let start = line.rfind(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).map_or(0, |at| at + 1);
    let word = &line[start..];
    if let Some(object) = line[..start].strip_suffix('.') {
        return (start, members(session, object, word));
    }
    let mut found: Vec<Candidate> = Vec::new();
    if line[..start].trim().is_empty() || line[..start].trim() == "%" {
        found.extend(names(session.pages.command_names(), word));
        found.extend(names(session.kit.aliases().map(String::from).collect(), word));
    }
    if !word.is_empty() || !found.is_empty() {
        found.extend(entries.iter().filter(|e| e.kind != Kind::Property).filter_map(|e| named(e, word)));
        let variables = session.interpreter.scope.iter_raw().map(|(name, ..)| name.to_string()).collect();
        found.extend(names(variables, word));
        found.extend(names(WORDS.iter().map(ToString::to_string).collect(), word));
    }
    tidy(&mut found);
    (start, found)
}

/// The grey text after the cursor: the parameters of the call that is being typed.
pub fn hint(session: &Session, line: &str) -> Option<String> {
    let (open, inside) = open_call(line)?;
    let entry = session.interpreter.entries.iter().find(|e| e.kind == Kind::Function && e.name == open)?;
    let typed = inside.matches(',').count();
    let forms = entry.signatures.iter().map(|form| {
        let start = form.find('(').map_or(0, |at| at + 1);
        let end = form.rfind(')').unwrap_or(form.len());
        form[start..end].split(", ").filter(|p| !p.is_empty()).map(String::from).collect::<Vec<_>>()
    });
    let params = forms.filter(|params| params.len() > typed || params.is_empty()).min_by_key(Vec::len)?;
    let begun = inside.rsplit(',').next().is_some_and(|arg| !arg.trim().is_empty());
    let rest = params.get(typed + usize::from(begun)..).unwrap_or_default();
    if rest.is_empty() {
        return None;
    }
    Some(format!("{}{})", if begun { ", " } else { "" }, rest.join(", ")))
}

/// `f(a, g(` is inside of `g`.
fn open_call(line: &str) -> Option<(&str, &str)> {
    let mut depth = 0;
    for (at, c) in line.char_indices().rev() {
        match c {
            ')' | ']' | '}' => depth += 1,
            '[' | '{' if depth > 0 => depth -= 1,
            '(' if depth > 0 => depth -= 1,
            '(' => {
                let start =
                    line[..at].rfind(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).map_or(0, |s| s + 1);
                return Some((&line[start..at], &line[at + 1..]));
            }
            _ => {}
        }
    }
    None
}

fn named(entry: &Entry, word: &str) -> Option<Candidate> {
    if !entry.name.starts_with(word) {
        return None;
    }
    let text = if entry.kind == Kind::Function { format!("{}(", entry.name) } else { entry.name.clone() };
    Some(Candidate { text, shown: clip(&format!("{:<24} {}", entry.name, entry.summary())) })
}

/// A line of a list that fits a terminal.
fn clip(line: &str) -> String {
    const WIDTH: usize = 76;
    if line.chars().count() <= WIDTH {
        line.into()
    } else {
        line.chars().take(WIDTH - 1).chain(['…']).collect()
    }
}

fn names(names: Vec<String>, word: &str) -> Vec<Candidate> {
    names
        .into_iter()
        .filter(|name| name.starts_with(word))
        .map(|name| Candidate { text: name.clone(), shown: name })
        .collect()
}

fn tidy(found: &mut Vec<Candidate>) {
    found.sort_by(|a, b| {
        (a.text.trim_end_matches('('), &a.text).cmp(&(b.text.trim_end_matches('('), &b.text))
    });
    found.dedup_by(|a, b| a.text == b.text);
}

/// Words of a command line: options of the command, live names, names of pages.
fn arguments(session: &Session, command: &str, word: &str) -> Vec<Candidate> {
    let mut found = Vec::new();
    if word.starts_with('-') {
        if let Some(spelled) = session.commands.iter().find(|c| c.name == command) {
            for (option, help) in spelled.options() {
                let text = option.split(' ').next().unwrap_or_default().to_string();
                if text.starts_with(word) {
                    found.push(Candidate { text, shown: clip(&format!("{option:<12} {help}")) });
                }
            }
        }
        return found;
    }
    if matches!(command, "help" | "man" | "apropos") {
        found = names(session.pages.command_names(), word);
        found.extend(names(session.interpreter.entries.iter().map(|e| e.name.clone()).collect(), word));
    } else {
        found.extend(names(live(session), word));
        let constants =
            session.interpreter.entries.iter().filter(|e| e.kind == Kind::Constant && !word.is_empty());
        found.extend(names(constants.map(|e| e.name.clone()).collect(), word));
    }
    tidy(&mut found);
    found
}

/// Names that exist on the machine now: zones, files of /proc, sysctls.
fn live(session: &Session) -> Vec<String> {
    crate::script::bench::live_names(&session.bench)
}

/// What may follow the dot: properties of the value's type, or functions that take it first.
fn members(session: &Session, object: &str, word: &str) -> Vec<Candidate> {
    let start = object.rfind(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).map_or(0, |at| at + 1);
    let value = session.interpreter.scope.get(&object[start..]);
    let owner = value.map(|value| type_name(session.interpreter.engine().map_type_name(value.type_name())));
    let fits = |entry: &&Entry| match (&owner, entry.kind) {
        (Some(owner), Kind::Property) => entry.owner == *owner,
        (None, Kind::Property) => true,
        (Some(owner), Kind::Function) => entry.signatures.iter().any(|form| takes_first(form, owner)),
        _ => false,
    };
    let mut found: Vec<Candidate> =
        session.interpreter.entries.iter().filter(fits).filter_map(|e| named(e, word)).collect();
    tidy(&mut found);
    found
}

fn takes_first(form: &str, owner: &str) -> bool {
    let params = form.split_once('(').map_or("", |(_, rest)| rest);
    let first = params.split([',', ')']).next().unwrap_or_default();
    first.split_once(": ").is_some_and(|(_, of)| of == owner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::bench::Bench;

    #[test]
    fn tasks_that_live_are_offered_to_commands() {
        let mut session = Session::quiet(Bench::sandbox("tiny", None).unwrap());
        session.reply("let p = spawn(\"a\"); let q = spawn(\"b\"); kill(q, SIGKILL)");
        let texts = |line: &str| complete(&session, line).1.into_iter().map(|c| c.text).collect::<Vec<_>>();
        assert!(texts("vm ").contains(&"3".to_string()));
        assert!(!texts("vm ").contains(&"4".to_string()));
        assert_eq!(texts("vm -"), ["-p", "-P", "-m", "-v", "-x", "-R", "-f", "--script"].map(String::from));
        assert!(texts("cat /proc/3/ma").contains(&"/proc/3/maps".to_string()));
    }
}
