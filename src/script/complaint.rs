//! What went wrong, where, and what to try: Rhai's errors in the words of this laboratory.
//!
//! ```text
//!   error: no such name: GFP_KERNL          what
//!    --> oom.rhai:3:13                      place
//!   help: did you mean GFP_KERNEL?          help, from the catalogue
//! ```

use crate::mm::errno::Oops;
use crate::script::answer::Ended;
use crate::script::catalogue::{Entry, Kind as Name, type_name};
use crate::script::suggest::nearest;
use rhai::{Engine, EvalAltResult, LexError, ParseErrorType, Position};

/// What kind of end it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The script is wrong.
    Script,
    /// A kernel rule is broken.
    Oops,
    /// The simulated kernel panicked.
    Panic,
    /// Not an error: `exit(n)`.
    Exit(u8),
    /// Ctrl-C.
    Interrupted,
    /// The reader of the results went away.
    Closed,
}

/// A complaint, ready to be printed by the shell.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Complaint {
    /// What kind.
    pub kind: Kind,
    /// What was asked, and the number that decided.
    pub what: String,
    /// Where.
    pub place: Option<Box<Place>>,
    /// What to try, one line each.
    pub help: Vec<String>,
    /// The calls that led there, innermost first: `in f (oom.rhai:12:5)`.
    pub calls: Vec<String>,
}

/// A place in a script.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// The file, or empty for a typed line.
    pub source: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// How many characters are meant.
    pub width: usize,
    /// The line itself.
    pub text: String,
}

impl Complaint {
    /// A complaint without a place.
    pub fn new(what: impl Into<String>) -> Complaint {
        Complaint { kind: Kind::Script, what: what.into(), place: None, help: Vec::new(), calls: Vec::new() }
    }

    /// The same with a line of help.
    pub fn help(mut self, help: impl Into<String>) -> Complaint {
        self.help.push(help.into());
        self
    }
}

/// The texts that were run, for places and hints.
pub trait Sources {
    /// The text of a source by its name.
    fn text(&self, name: &str) -> Option<&str>;
    /// The source in which a function of the script is written: the engine forgets it between lines.
    fn home(&self, function: &str) -> Option<&str>;
    /// The name that a person knows it by; empty for a typed line.
    fn shown<'a>(&self, name: &'a str) -> &'a str {
        name
    }
}

/// Puts an error of the engine into words; `current` is the source that was run.
pub fn complain(
    error: &EvalAltResult,
    current: &str,
    sources: &impl Sources,
    engine: &Engine,
    entries: &[Entry],
    variables: &[String],
) -> Complaint {
    let mut error = error;
    let mut calls = Vec::new();
    // Where the call stands, and then where the function that was called is written.
    let mut file = current.to_string();
    loop {
        match error {
            EvalAltResult::ErrorInFunctionCall(name, from, inner, pos) => {
                let shown = if name.is_empty() || name.starts_with("anon$") { "a closure" } else { name };
                calls.push(format!("in {shown}, called at {}", spot(sources.shown(&file), *pos)));
                if let Some(home) = sources.home(name) {
                    file = home.to_string();
                } else if !from.is_empty() {
                    file.clone_from(from);
                }
                error = inner;
            }
            EvalAltResult::ErrorInModule(name, inner, _) => {
                file.clone_from(name);
                error = inner;
            }
            _ => break,
        }
    }
    calls.reverse();
    let (kind, what, mut help) = words(error, engine, entries, variables);
    // A message may carry its advice; the place stands between them.
    let mut lines = what.split("\n  help: ");
    let what = lines.next().unwrap_or_default().to_string();
    help.extend(lines.map(String::from));
    let pos = error.position();
    let text = sources.text(&file);
    let place = text.and_then(|text| place(sources.shown(&file), text, pos));
    let place = place.map(|place| Box::new(at_literal(place, &what)));
    if text.is_none() && !pos.is_none() {
        calls.insert(0, format!("at {}", spot(&file, pos)));
    }
    Complaint { kind, what, place, help, calls }
}

fn spot(source: &str, pos: Position) -> String {
    let (line, column) = (pos.line().unwrap_or(0), pos.position().unwrap_or(0));
    if source.is_empty() { format!("{line}:{column}") } else { format!("{source}:{line}:{column}") }
}

/// The place in the script, with the whole word that stands there.
fn place(source: &str, text: &str, pos: Position) -> Option<Place> {
    let (line, column) = (pos.line()?, pos.position().unwrap_or(1).max(1));
    let text = text.lines().nth(line - 1).unwrap_or_default().to_string();
    let rest: Vec<char> = text.chars().skip(column - 1).collect();
    let word = rest.iter().take_while(|c| c.is_alphanumeric() || **c == '_').count();
    Some(Place { source: source.into(), line, column, width: word.max(1), text })
}

/// The engine points at the call; a complaint that quotes one of its literals means that.
fn at_literal(place: Place, what: &str) -> Place {
    let Some(literal) = what.find('"').and_then(|from| {
        let length = what[from + 1..].find('"')?;
        Some(&what[from..from + length + 2])
    }) else {
        return place;
    };
    let start = place.text.char_indices().nth(place.column - 1).map_or(place.text.len(), |(at, _)| at);
    match place.text[start..].find(literal) {
        Some(at) if literal.len() > 2 => {
            let column = place.column + place.text[start..start + at].chars().count();
            Place { column, width: literal.chars().count(), ..place }
        }
        _ => place,
    }
}

type Words = (Kind, String, Vec<String>);

fn words(error: &EvalAltResult, engine: &Engine, entries: &[Entry], variables: &[String]) -> Words {
    use EvalAltResult::*;
    let script = |what: String| (Kind::Script, what, Vec::new());
    match error {
        ErrorTerminated(token, _) => terminated(token),
        ErrorRuntime(value, _) if value.is_unit() => script("the script threw an error".into()),
        ErrorRuntime(value, _) if value.is_string() => script(value.to_string()),
        ErrorRuntime(value, _) => {
            script(format!("the script threw {}", crate::script::args::describe(value)))
        }
        ErrorVariableNotFound(name, _) => unknown_name(name, entries, variables),
        ErrorParsing(ParseErrorType::VariableUndefined(name), _) => unknown_name(name, entries, variables),
        ErrorParsing(problem, _) => syntax(problem),
        ErrorFunctionNotFound(call, _) => unknown_call(call, engine, entries),
        ErrorDotExpr(text, _) => unknown_property(text, entries),
        ErrorPropertyNotFound(name, _) => script(format!("no such key in the map: {name}")),
        ErrorTooManyOperations(_) => too_many_operations(engine.max_operations()),
        ErrorStackOverflow(_) => {
            let what = format!("calls go deeper than {}", engine.max_call_levels());
            (Kind::Script, what, vec!["does the recursion end?".into()])
        }
        ErrorDataTooLarge(what, _) => {
            let limit =
                if what.contains("string") { engine.max_string_size() } else { engine.max_array_size() };
            script(format!("too large: {} (limit {limit})", what.to_lowercase()))
        }
        ErrorTooManyVariables(_) => script(format!("too many variables (limit {})", engine.max_variables())),
        ErrorMismatchDataType(wanted, got, _) => {
            script(format!("{} is needed here, not {}", article(wanted), article(got)))
        }
        ErrorMismatchOutputType(wanted, got, _) => {
            script(format!("{} is needed here, not {}", article(wanted), article(got)))
        }
        ErrorArrayBounds(len, index, _) => script(format!("index {index} is outside the array of {len}")),
        ErrorStringBounds(len, index, _) => script(format!("index {index} is outside the string of {len}")),
        ErrorIndexingType(of, _) => {
            script(format!("{} cannot be indexed", article(of.split(' ').next().unwrap_or(of))))
        }
        ErrorFor(_) => script("for needs something that has items: an array, a range, a map's keys()".into()),
        ErrorAssignmentToConstant(name, _) => script(format!("{name} is a constant")),
        ErrorNonPureMethodCallOnConstant(name, _) => script(format!("{name} would change a constant")),
        ErrorArithmetic(text, _) => script(text.to_lowercase()),
        other => {
            let mut text = other.to_string();
            if let Some(at) = text.rfind(" (line ") {
                text.truncate(at);
            }
            script(text)
        }
    }
}

fn too_many_operations(limit: u64) -> Words {
    let what = format!("too many operations (limit {limit})");
    (Kind::Script, what, vec!["raise the limit with --max-ops N; 0 is none".into()])
}

fn terminated(token: &rhai::Dynamic) -> Words {
    if let Some(oops) = token.read_lock::<Oops>() {
        let help = if oops.advice.is_empty() { vec![] } else { vec![oops.advice.clone()] };
        return (Kind::Oops, oops.line.clone(), help);
    }
    match token.read_lock::<Ended>().as_deref() {
        Some(Ended::Interrupted) => (Kind::Interrupted, "interrupted".into(), vec![]),
        Some(Ended::Exit(status)) => (Kind::Exit(*status), String::new(), vec![]),
        Some(Ended::Closed) => (Kind::Closed, String::new(), vec![]),
        Some(Ended::TooMuchOutput(limit)) => {
            (Kind::Script, format!("too much output (limit {limit} bytes)"), vec![])
        }
        Some(Ended::TooManyOperations(limit)) => too_many_operations(*limit),
        Some(Ended::Panic(line)) => (Kind::Panic, line.clone(), vec![]),
        None => (Kind::Script, "the script was ended".into(), vec![]),
    }
}

fn unknown_name(name: &str, entries: &[Entry], variables: &[String]) -> Words {
    if let Some(entry) = entries.iter().find(|e| e.name == name && e.kind == Name::Function) {
        let help = vec![format!("{name} is a function; call it: {}", entry.signatures[0])];
        return (Kind::Script, format!("no variable {name}"), help);
    }
    let known = entries.iter().filter(|e| e.kind != Name::Property).map(|e| e.name.as_str());
    let near = nearest(name, known.chain(variables.iter().map(String::as_str)));
    (Kind::Script, format!("no such name: {name}"), did_you_mean(&near))
}

fn did_you_mean(near: &[&str]) -> Vec<String> {
    if near.is_empty() { vec![] } else { vec![format!("did you mean {}?", near.join(" or "))] }
}

/// `alloc_pages (i64)`: the name is known and the arguments do not fit, or the name is not known.
fn unknown_call(call: &str, engine: &Engine, entries: &[Entry]) -> Words {
    let (name, given) = call.split_once(" (").unwrap_or((call, ")"));
    let name = name.trim();
    let given: Vec<String> =
        given.trim_end_matches(')').split(", ").filter(|t| !t.is_empty()).map(given_type).collect();
    if let Some(word) = name.strip_prefix("get$").or_else(|| name.strip_prefix("set$")) {
        return unknown_property_of(word, given.first().map_or("", String::as_str), entries);
    }
    let shown = format!("{name}({})", given.join(", "));
    let forms: Vec<&String> = entries
        .iter()
        .filter(|e| e.name == name && e.kind == Name::Function)
        .flat_map(|e| &e.signatures)
        .collect();
    if !forms.is_empty() {
        if let Some(failed) = given.iter().find(|t| matches!(t.as_str(), "errno" | "signal")) {
            let what = format!("{shown}: the call that made the {failed} failed; test it with is_err()");
            return (Kind::Script, what, forms.into_iter().cloned().collect());
        }
        return (Kind::Script, format!("no such call: {shown}"), forms.into_iter().cloned().collect());
    }
    let operator = !name.starts_with(|c: char| c.is_alphanumeric() || c == '_');
    if operator {
        let what = match given.as_slice() {
            [left, right] => format!("{} {name} {} means nothing", article(left), article(right)),
            _ => format!("{name} cannot be applied to {}", given.join(", ")),
        };
        return (Kind::Script, what, vec![]);
    }
    // Rhai's own functions are called with something they do not take.
    let standard = engine.collect_fn_metadata(None, |f| (f.metadata.name == name).then_some(()), true);
    if !standard.is_empty() {
        return (
            Kind::Script,
            format!("no such call: {shown}"),
            vec![format!("{name} is a function of Rhai that takes something else")],
        );
    }
    let known = entries.iter().filter(|e| e.kind == Name::Function).map(|e| e.name.as_str());
    (Kind::Script, format!("no such function: {name}"), did_you_mean(&nearest(name, known)))
}

fn given_type(rhai: &str) -> String {
    if rhai.contains("ImmutableString") { "string".into() } else { type_name(rhai) }
}

/// `Unknown property 'pnf' - a getter is not registered for type 'page'`.
fn unknown_property(text: &str, entries: &[Entry]) -> Words {
    let mut quoted = text.split('\'').skip(1).step_by(2);
    match (quoted.next(), quoted.next()) {
        (Some(property), Some(owner)) => unknown_property_of(property, &given_type(owner), entries),
        _ => (Kind::Script, text.to_string(), vec![]),
    }
}

fn unknown_property_of(property: &str, owner: &str, entries: &[Entry]) -> Words {
    if matches!(owner, "errno" | "signal") {
        let what = format!(
            "an {owner} has no property {property}: the call that made it failed; test it with is_err()"
        );
        return (Kind::Script, what, vec![]);
    }
    let known: Vec<&str> = entries
        .iter()
        .filter(|e| e.kind == Name::Property && e.owner == owner)
        .map(|e| e.name.as_str())
        .collect();
    let near = nearest(property, known.iter().copied());
    let help = if near.is_empty() && !known.is_empty() {
        vec![format!("it has {}", known.join(", "))]
    } else {
        did_you_mean(&near)
    };
    (Kind::Script, format!("{} has no property {property}", article(owner)), help)
}

fn syntax(problem: &ParseErrorType) -> Words {
    let help = match problem {
        ParseErrorType::Reserved(word) => {
            vec![format!("{word} is a word of the language; choose another name")]
        }
        ParseErrorType::BadInput(LexError::MalformedNumber(_)) => {
            vec!["sizes are written 64 * KiB, or as strings: \"64k\"".into()]
        }
        _ => vec![],
    };
    let text = problem.to_string();
    let mut letters = text.chars();
    let text =
        letters.next().map(|c| c.to_lowercase().chain(letters).collect::<String>()).unwrap_or_default();
    (Kind::Script, format!("syntax: {text}"), help)
}

fn article(of: &str) -> String {
    let of = type_name(of);
    let of = if of.is_empty() { "()".to_string() } else { of };
    let vowel = of.starts_with(['a', 'e', 'i', 'o', 'u']);
    format!("{} {of}", if vowel { "an" } else { "a" })
}
