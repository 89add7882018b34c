//! Help: pages in the manner of `man`, made of the catalogue and the commands' declarations.

use crate::script::catalogue::{Entry, Kind};
use crate::script::complaint::Complaint;
use crate::script::suggest::nearest;
use crate::script::table::Table;
use crate::shell::crash::Spelled;
use crate::shell::kit::Kit;
use crate::shell::model;
use std::rc::Rc;

/// Everything that has a page.
pub struct Pages {
    entries: Rc<[Entry]>,
    commands: Rc<[Spelled]>,
    kit: Vec<(String, String)>,
}

impl Pages {
    /// The pages of these declarations.
    pub fn new(entries: Rc<[Entry]>, commands: Rc<[Spelled]>) -> Pages {
        Pages { entries, commands, kit: Kit::pages() }
    }

    /// Answers `help …`, `man …` or `apropos …`.
    pub fn answer(&self, how: &str, words: &[String]) -> Result<Table, Complaint> {
        match (how, words) {
            ("apropos", []) => Err(Complaint::new("apropos what? for example: apropos watermark")),
            ("apropos", words) => self.apropos(&words.join(" ")),
            (_, []) => Ok(self.index()),
            (_, [option, rooms @ ..]) if option == "--model" => match rooms {
                [] => Ok(model::overview()),
                rooms => model::room(&rooms.join(" ")),
            },
            (_, [name]) => self.page(name),
            (_, words) => {
                let mut all = Table::new();
                for word in words {
                    for part in self.page(word)?.parts() {
                        all = all.part(part.clone());
                    }
                }
                Ok(all)
            }
        }
    }

    /// Every word a command line may start with, in alphabetical order.
    pub fn command_names(&self) -> Vec<String> {
        let spelled = self.commands.iter().map(|c| c.name.to_string());
        let kit = self.kit.iter().map(|(name, _)| name.clone());
        let functions = self.entries.iter().filter(|e| e.is_command()).map(|e| e.name.clone());
        let mut names: Vec<String> = spelled.chain(kit).chain(functions).collect();
        names.sort();
        names.dedup();
        names
    }

    fn index(&self) -> Table {
        let mut page = Table::new().head("COMMANDS").line("");
        page = columns(page, &self.command_names());
        let mut chapter = "";
        for entry in self.entries.iter().filter(|e| e.kind == Kind::Function) {
            if entry.chapter != chapter {
                chapter = entry.chapter;
                let names: Vec<String> = self
                    .entries
                    .iter()
                    .filter(|e| e.kind == Kind::Function && e.chapter == chapter)
                    .map(|e| e.name.clone())
                    .collect();
                page = columns(
                    page.line("").head(format!("FUNCTIONS: {}", chapter.replace('_', " "))).line(""),
                    &names,
                );
            }
        }
        page.line("")
            .line("help NAME shows a page, apropos WORD finds one; help --model says what is simulated, and how truly.")
            .line("A command line may be piped: kmem -i | grep FREE")
            .line("Rhai and commands mix: let p = alloc_pages(GFP_KERNEL, 2)   then   kmem -f   then   undo")
    }

    /// The page of a name.
    pub fn page(&self, name: &str) -> Result<Table, Complaint> {
        let name = name.trim_end_matches("()");
        if let Some(spelled) = self.commands.iter().find(|c| c.name == name) {
            let functions: Vec<&Entry> = self.entries.iter().filter(|e| e.name == name).collect();
            return Ok(functions
                .into_iter()
                .fold(command_page(spelled), |page, entry| entry_page(page.line(""), entry)));
        }
        if let Some((name, about)) = self.kit.iter().find(|(n, _)| n == name) {
            return Ok(Table::new()
                .head("NAME")
                .line(format!("  {name} - {about}"))
                .line("")
                .line("A command of the session."));
        }
        let (owner, last) = name.split_once('.').unwrap_or(("", name));
        let mut found: Vec<&Entry> = self
            .entries
            .iter()
            .filter(|e| e.name == last && (owner.is_empty() || e.owner == owner))
            .collect();
        if found.is_empty() {
            let known = self.entries.iter().map(|e| e.name.clone()).chain(self.command_names());
            let known: Vec<String> = known.collect();
            let near = nearest(name, known.iter().map(String::as_str));
            let complaint = Complaint::new(format!("no page about {name}"));
            return Err(if near.is_empty() {
                complaint.help(format!("apropos {name} looks inside the pages"))
            } else {
                complaint.help(format!("did you mean {}?", near.join(" or ")))
            });
        }
        // What can be typed comes before properties of the same name.
        found.sort_by_key(|entry| entry.kind != Kind::Function);
        let mut page = Table::new();
        for (n, entry) in found.into_iter().enumerate() {
            page = entry_page(if n > 0 { page.line("") } else { page }, entry);
        }
        Ok(page)
    }

    fn apropos(&self, word: &str) -> Result<Table, Complaint> {
        let wanted = word.to_lowercase();
        let mentions = |texts: [&str; 2]| texts.iter().any(|text| text.to_lowercase().contains(&wanted));
        let mut lines: Vec<String> = Vec::new();
        for command in self.commands.iter() {
            let options: Vec<String> = command.options().into_iter().map(|(_, help)| help).collect();
            if mentions([command.name, &command.doc()]) || mentions([&options.join(" "), ""]) {
                lines.push(format!("{:<24} {}", command.name, command.about()));
            }
        }
        for (name, about) in &self.kit {
            if mentions([name, about]) {
                lines.push(format!("{name:<24} {about}"));
            }
        }
        for entry in self.entries.iter() {
            if mentions([&entry.name, &entry.doc]) {
                let name = if entry.owner.is_empty() {
                    entry.name.clone()
                } else {
                    format!("{}.{}", entry.owner, entry.name)
                };
                lines.push(format!("{name:<24} {}", entry.summary()));
            }
        }
        if lines.is_empty() {
            Err(Complaint::new(format!("no page mentions {word:?}")))
        } else {
            Ok(Table::lines(&lines.join("\n")))
        }
    }
}

fn command_page(spelled: &Spelled) -> Table {
    let mut page = Table::new().head("NAME").line(format!("  {} - {}", spelled.name, spelled.about()));
    page =
        page.line("").head("SYNOPSIS").line(format!("  {}", spelled.synopsis())).line("").head("DESCRIPTION");
    let (prose, examples) = split_examples(&spelled.doc());
    // The first sentence stands under NAME already.
    page = indented(page, prose.split_once("\n\n").map_or("", |(_, rest)| rest));
    let options = spelled.options();
    let width = options.iter().map(|(option, _)| option.len()).max().unwrap_or(0);
    page = page.line("");
    for (option, help) in options {
        page = page.line(format!("  {option:<width$}  {help}."));
    }
    page = with_examples(page, &examples);
    if spelled.see_also.is_empty() {
        page
    } else {
        page.line("").head("SEE ALSO").line(format!("  {}", spelled.see_also.join(", ")))
    }
}

fn entry_page(page: Table, entry: &Entry) -> Table {
    let (prose, examples) = split_examples(&entry.doc);
    let mut prose = prose.lines();
    let summary = prose.next().unwrap_or_default();
    let name =
        if entry.owner.is_empty() { entry.name.clone() } else { format!("{}.{}", entry.owner, entry.name) };
    let mut page = page.head("NAME").line(format!("  {name} - {summary}")).line("").head("SYNOPSIS");
    for signature in &entry.signatures {
        page = page.line(format!("  {signature}"));
    }
    let rest = prose.collect::<Vec<_>>().join("\n");
    if !rest.trim().is_empty() {
        page = indented(page.line("").head("DESCRIPTION"), rest.trim());
    }
    with_examples(page, &examples)
}

/// The doc comment without its transcripts, and the transcripts.
fn split_examples(doc: &str) -> (String, Vec<String>) {
    let mut prose = Vec::new();
    let mut inside = false;
    for line in doc.lines() {
        match (inside, line.trim_start().starts_with("```")) {
            (false, true) => inside = true,
            (true, true) => inside = false,
            (true, false) => {}
            (false, false) => prose.push(line),
        }
    }
    (prose.join("\n").trim().replace("\n\n\n", "\n\n"), crate::script::catalogue::fenced(doc))
}

fn indented(mut page: Table, text: &str) -> Table {
    for line in text.lines() {
        page = page.line(if line.is_empty() { String::new() } else { format!("  {line}") });
    }
    page
}

fn with_examples(mut page: Table, examples: &[String]) -> Table {
    if !examples.is_empty() {
        page = page.line("").head("EXAMPLES");
    }
    for (n, example) in examples.iter().enumerate() {
        page = indented(if n > 0 { page.line("") } else { page }, example.trim_end());
    }
    page
}

/// Names in columns, down and then across.
fn columns(mut page: Table, names: &[String]) -> Table {
    let width = names.iter().map(String::len).max().unwrap_or(0) + 2;
    let across = (78 / width).max(1);
    let down = names.len().div_ceil(across);
    for row in 0..down {
        let cells: Vec<String> =
            names.iter().skip(row).step_by(down.max(1)).map(|name| format!("{name:<width$}")).collect();
        page = page.line(format!("  {}", cells.concat().trim_end()));
    }
    page
}
