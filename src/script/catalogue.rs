//! Everything written about everything: the documentation of the language, read back from its declarations.
//!
//! ```text
//!   doc comment ──►  help · completion · book/src/reference.md · tests/house/examples.rs · hints in errors
//!   + signature
//! ```
//!
//! Functions come from the chapters' `#[export_module]`s through Rhai's metadata; constants from the tables
//! that define them. Nothing is listed twice.

use crate::script::bench::Bench;
use crate::script::constants::Constant;
use crate::script::takes::{self, Takes};
use rhai::{Engine, FuncMetadata, Module};

/// A chapter of the language: one subject, one module.
pub struct Chapter {
    /// The file under `src/script/`.
    pub name: &'static str,
    /// What a script can call.
    pub module: Module,
    /// What a script can name.
    pub constants: Vec<Constant>,
}

impl Chapter {
    /// A chapter without constants.
    pub fn new(name: &'static str, module: Module) -> Chapter {
        Chapter { name, module, constants: Vec::new() }
    }

    /// The chapter with constants, which its module then also defines.
    pub fn with(mut self, constants: Vec<Constant>) -> Chapter {
        for constant in &constants {
            self.module.set_var(constant.name, constant.value.clone());
        }
        self.constants = constants;
        self
    }

    /// The sentence above the module: what the chapter is about.
    pub fn intro(&self) -> String {
        plain(self.module.doc())
    }
}

/// What kind of name an entry is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Called: `alloc_pages(GFP_KERNEL, 0)`.
    Function,
    /// Read from a handle: `page.pfn`.
    Property,
    /// Named: `GFP_KERNEL`.
    Constant,
}

/// One name of the language, with everything written about it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The name; a property without its type.
    pub name: String,
    /// The type a property belongs to; empty for the rest.
    pub owner: String,
    /// What it is.
    pub kind: Kind,
    /// The chapter that declares it.
    pub chapter: &'static str,
    /// How it is called, one line for each form.
    pub signatures: Vec<String>,
    /// What the parameters of each form take.
    pub takes: Vec<Vec<Takes>>,
    /// The doc comment, without slashes.
    pub doc: String,
}

impl Entry {
    /// The first sentence.
    pub fn summary(&self) -> &str {
        self.doc.lines().next().unwrap_or_default()
    }

    /// The transcripts of the doc comment, without their fences.
    pub fn examples(&self) -> Vec<String> {
        fenced(&self.doc)
    }

    /// The rest of the line that starts with `word:`, such as `Kernel:`.
    pub fn footer(&self, word: &str) -> Option<&str> {
        self.doc.lines().find_map(|line| line.strip_prefix(word)?.strip_prefix(':').map(str::trim))
    }

    /// The command lines of the lines `Command:`, without their quotes.
    pub fn command_lines(&self) -> Vec<&str> {
        let lines = self.doc.lines().filter_map(|line| line.strip_prefix("Command:"));
        lines.flat_map(|line| line.split('`').skip(1).step_by(2)).collect()
    }

    /// May the name start a command line at the prompt?
    pub fn is_command(&self) -> bool {
        self.kind == Kind::Function && self.footer("Command").is_some()
    }
}

/// The text of every ```` ```vmlab ```` block.
pub fn fenced(doc: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut open: Option<String> = None;
    for line in doc.lines() {
        match &mut open {
            None if line.trim_start().starts_with("```vmlab") => open = Some(String::new()),
            None => {}
            Some(_) if line.trim() == "```" => blocks.extend(open.take()),
            Some(block) => {
                block.push_str(line);
                block.push('\n');
            }
        }
    }
    blocks
}

/// Everything about the functions, properties and constants of these chapters; in the chapters' order, then by name.
pub fn catalogue(chapters: Vec<Chapter>) -> Vec<Entry> {
    let mut all = Vec::new();
    for chapter in chapters {
        let (name, constants) = (chapter.name, chapter.constants);
        let mut engine = Engine::new_raw();
        engine.register_global_module(chapter.module.into());
        let mut entries: Vec<Entry> = engine
            .collect_fn_metadata(None, |f| Some(f.metadata.clone()), false)
            .iter()
            .filter_map(|f| entry(name, f))
            .collect();
        entries.sort_by(|a, b| (&a.name, &a.owner, &a.signatures).cmp(&(&b.name, &b.owner, &b.signatures)));
        all.extend(merge(entries));
        all.extend(constants.into_iter().map(|c| Entry {
            name: c.name.into(),
            owner: String::new(),
            kind: Kind::Constant,
            chapter: name,
            signatures: vec![format!("{} = {}", c.name, c.shown)],
            takes: Vec::new(),
            doc: c.doc.into(),
        }));
    }
    all
}

/// The same name in several forms is one entry; the form that is documented speaks for all.
fn merge(entries: Vec<Entry>) -> Vec<Entry> {
    let mut merged: Vec<Entry> = Vec::new();
    for entry in entries {
        match merged.last_mut().filter(|last| last.name == entry.name && last.owner == entry.owner) {
            Some(last) => {
                last.signatures.extend(entry.signatures);
                last.takes.extend(entry.takes);
                if last.doc.is_empty() {
                    last.doc = entry.doc;
                } else if !entry.doc.is_empty() && entry.doc != last.doc {
                    last.doc = format!("{}\n\n{}", last.doc, entry.doc);
                }
            }
            None => merged.push(entry),
        }
    }
    for entry in &mut merged {
        entry.signatures.sort_by_key(String::len);
    }
    merged
}

fn entry(chapter: &'static str, f: &FuncMetadata) -> Option<Entry> {
    let doc = plain(&f.comments.join("\n"));
    let params: Vec<String> = f.params_info.iter().map(|p| parameter(p)).collect();
    let returns = type_name(&f.return_type);
    if let Some(name) = f.name.strip_prefix("get$") {
        let owner = f
            .params_info
            .first()
            .and_then(|p| p.split_once(':'))
            .map(|(_, t)| type_name(t))
            .unwrap_or_default();
        let signature = format!("{owner}.{name} -> {returns}");
        return Some(Entry {
            name: name.into(),
            owner,
            kind: Kind::Property,
            chapter,
            signatures: vec![signature],
            takes: Vec::new(),
            doc,
        });
    }
    // Operators, indexers and what the engine calls itself need no page of their own.
    if !f.name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        || f.name.contains('$')
        || matches!(f.name.as_str(), "to_string" | "to_debug" | "to_int" | "to_json")
    {
        return None;
    }
    let mut signature = format!("{}({})", f.name, params.join(", "));
    if !returns.is_empty() {
        signature = format!("{signature} -> {returns}");
    }
    let name = f.name.to_string();
    Some(Entry {
        name,
        owner: String::new(),
        kind: Kind::Function,
        chapter,
        signatures: vec![signature],
        takes: vec![f.params_info.iter().map(|p| takes(p)).collect()],
        doc,
    })
}

fn takes(info: &str) -> Takes {
    info.split_once(':').map_or(Takes::Other, |(_, of)| Takes::of_type(of))
}

fn parameter(info: &str) -> String {
    match info.split_once(':') {
        Some((name, of)) => format!("{}: {}", name.trim().trim_start_matches('_'), type_name(of)),
        None => info.to_string(),
    }
}

/// The type as a script's author knows it: `ScriptResult<OrErrno<Page>>` is `page or errno`.
pub fn type_name(rust: &str) -> String {
    let rust = rust.trim().trim_start_matches("&mut ").trim_start_matches('&').trim();
    let squeezed: String = rust.chars().filter(|c| !c.is_whitespace()).collect();
    let inside = |wrapper: &str| {
        squeezed
            .strip_prefix(wrapper)
            .and_then(|rest| rest.strip_prefix('<')?.strip_suffix('>'))
            .map(type_name)
    };
    if let Some(inner) = inside("ScriptResult").or_else(|| inside("Vec")) {
        return inner;
    }
    for (wrapper, also) in [("OrErrno", "errno"), ("OrSignal", "signal"), ("OrNothing", "nothing")] {
        if let Some(inner) = inside(wrapper) {
            return if inner.is_empty() {
                format!("nothing or {also}")
            } else {
                format!("{inner} or {also}")
            };
        }
    }
    let name = squeezed.rsplit("::").next().unwrap_or_default();
    if let Some(shown) = takes::stands_for(name) {
        return shown.into();
    }
    match name {
        "()" => "".into(),
        "i64" | "INT" => "int".into(),
        "f64" | "FLOAT" => "float".into(),
        "str" | "ImmutableString" | "String" => "string".into(),
        "bool" => "bool".into(),
        "Dynamic" => "any".into(),
        "Array" => "array".into(),
        "Map" => "map".into(),
        "FnPtr" => "function".into(),
        "Address" => "addr".into(),
        other => other.strip_suffix("Ref").unwrap_or(other).to_ascii_lowercase(),
    }
}

/// A doc comment without its slashes or stars.
fn plain(doc: &str) -> String {
    let lines = doc.lines().map(|line| {
        let line = line.trim_start();
        let line = line.strip_prefix("///").or_else(|| line.strip_prefix("//!")).unwrap_or(line);
        line.strip_prefix(' ').unwrap_or(line).trim_end()
    });
    lines.collect::<Vec<_>>().join("\n").trim().to_string()
}

/// Every entry of the language.
pub fn everything() -> Vec<Entry> {
    catalogue(crate::script::chapters())
}

/// Does the engine of this bench know the call? Used by tests that compile every promised name.
pub fn is_known(bench: &Bench, name: &str) -> bool {
    let engine = crate::script::engine(bench);
    engine
        .collect_fn_metadata(None, |f| (f.metadata.name == name).then_some(()), true)
        .is_empty()
        .then_some(())
        .is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_named_as_a_scripts_author_knows_them() {
        let names = [
            ("ScriptResult < OrErrno < PageRef > >", "page or errno"),
            ("OrErrno<Address>", "addr or errno"),
            ("OrErrno<()>", "nothing or errno"),
            ("&mut PageRef", "page"),
            ("i64", "int"),
            ("& str", "string"),
            ("vmlab::script::zone::ZoneRef", "zone"),
            ("()", ""),
        ];
        for (rust, name) in names {
            assert_eq!(type_name(rust), name, "{rust}");
        }
    }

    #[test]
    fn fences_are_found() {
        assert_eq!(fenced("a\n\n```vmlab\n> 1\n1\n```\nb\n```text\nx\n```"), ["> 1\n1\n"]);
    }
}
