//! The reference of the language, as Markdown: `vmlab reference`, and the book's chapter.

use crate::script::catalogue::{Entry, Kind, everything};
use crate::shell::crash;

/// The whole reference.
pub fn markdown() -> String {
    let entries = everything();
    let mut text = "# Reference\n\nEvery function, property, constant and command. This page is generated from the declarations; \
                    a test keeps it true.\n"
        .to_string();
    let chapters = crate::script::chapters();
    for chapter in &chapters {
        let intro = chapter.intro();
        let title = chapter.name.replace('_', " ");
        text += &format!("\n## {title}\n\n{intro}\n");
        let of = |kind: Kind| entries.iter().filter(move |e| e.chapter == chapter.name && e.kind == kind);
        for entry in of(Kind::Function) {
            text += &function(entry);
        }
        if of(Kind::Property).count() > 0 {
            text += "\n### Properties\n\n| property | type | what |\n|---|---|---|\n";
            for entry in of(Kind::Property) {
                let returns = entry.signatures[0].split_once(" -> ").map_or("", |(_, returns)| returns);
                text += &format!("| `{}.{}` | {returns} | {} |\n", entry.owner, entry.name, entry.summary());
            }
        }
        if of(Kind::Constant).count() > 0 {
            text += "\n### Constants\n\n| name | value | what |\n|---|---|---|\n";
            for entry in of(Kind::Constant) {
                let value = entry.signatures[0].split_once(" = ").map_or("", |(_, value)| value);
                text += &format!("| `{}` | {value} | {} |\n", entry.name, entry.doc);
            }
        }
    }
    text += "\n## Commands in the manner of crash\n";
    for command in crash::commands() {
        text += &format!("\n### {}\n\n`{}`\n\n{}\n\n", command.name, command.synopsis(), command.doc());
        text += "| option | what |\n|---|---|\n";
        for (option, help) in command.options() {
            text += &format!("| `{option}` | {help}. |\n");
        }
    }
    text
}

fn function(entry: &Entry) -> String {
    let mut text = format!("\n### {}\n\n", entry.name);
    for signature in &entry.signatures {
        text += &format!("    {signature}\n");
    }
    text.push_str(&format!("\n{}\n", entry.doc));
    text
}
