//! Every example in a doc comment is a session that really runs; `UPDATE=1` writes the real answers back.

use crate::updating;
use std::path::{Path, PathBuf};
use vmlab::script::catalogue::{Kind, everything};
use vmlab::shell::transcript::refresh;

fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    fn walk(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) {
        let Ok(entries) = std::fs::read_dir(folder) else { return };
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                walk(&path, extension, found);
            } else if path.extension().is_some_and(|e| e == extension) {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(Path::new(folder), extension, &mut found);
    found.sort();
    found
}

/// Replays every block of the files; differences are written back or reported.
fn hold(files: &[PathBuf]) {
    let update = updating();
    let mut wrong = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(file).unwrap();
        let (fresh, mismatches) = refresh(&text);
        if update.is_some() && fresh != text {
            std::fs::write(file, fresh).unwrap();
            continue;
        }
        for m in mismatches {
            wrong.push(format!(
                "{}:{}\n--- written\n{}--- answered\n{}",
                file.display(),
                m.line,
                m.want,
                m.got
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "\n{}\nUPDATE=1 cargo test writes the answers back: read them",
        wrong.join("\n")
    );
}

#[test]
fn examples_in_doc_comments_are_true() {
    hold(&[files("src/script", "rs"), files("src/shell", "rs")].concat());
}

#[test]
fn golden_sessions_are_true() {
    hold(&files("tests/transcripts", "md"));
}

#[test]
fn every_function_is_documented_with_an_example() {
    let mut wrong = Vec::new();
    for entry in everything() {
        let name = if entry.owner.is_empty() {
            entry.name.clone()
        } else {
            format!("{}.{}", entry.owner, entry.name)
        };
        let summary = entry.summary();
        let sentence = summary.ends_with(['.', '?']) || summary.contains(". ");
        if entry.kind != Kind::Constant && (!sentence || !summary.starts_with(char::is_uppercase)) {
            wrong.push(format!("{name}: the summary is no sentence: {summary:?}"));
        }
        if entry.kind == Kind::Function && entry.examples().is_empty() {
            wrong.push(format!("{name}: no example"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn no_name_has_two_pages() {
    let mut names: Vec<(String, String)> = everything()
        .into_iter()
        .filter(|e| e.kind != Kind::Property)
        .map(|e| (e.name, e.chapter.to_string()))
        .collect();
    names.sort();
    let twice: Vec<_> = names.windows(2).filter(|pair| pair[0].0 == pair[1].0).collect();
    assert!(twice.is_empty(), "{twice:?}");
}

#[test]
fn what_mirrors_the_kernel_says_which_function() {
    // Chapters that are ours alone: values, the program, tables, snapshots, time.
    let ours = ["values", "program", "tables", "snapshot", "machine", "trace"];
    let silent: Vec<String> = everything()
        .into_iter()
        .filter(|e| {
            e.kind == Kind::Function
                && !ours.contains(&e.chapter)
                && !matches!(e.name.as_str(), "whatis" | "fail_nth")
        })
        .filter(|e| e.footer("Kernel").is_none())
        .map(|e| e.name)
        .collect();
    assert!(silent.is_empty(), "no line `Kernel:` in {silent:?}");
}

#[test]
fn every_command_can_show_the_script_it_stands_for() {
    use vmlab::script::bench::Bench;
    use vmlab::shell::session::Session;
    for option in ["-f", "-F", "-i", "-n", "-z", "-V", "-p", "-o", "-h", "-g", "-g 36"] {
        let mut session = Session::quiet(Bench::sandbox("x86_64-numa2", None).unwrap());
        let shown = session.reply(&format!("kmem {option} --script"));
        let (script, by_hand) = shown.split_once("\n//").unwrap_or((&shown, ""));
        assert_eq!(session.reply(script.trim()), session.reply(&format!("kmem {option}")), "kmem {option}");
        assert_eq!(
            session.reply(&format!("kmem(\"{option}\")")),
            session.reply(&format!("kmem {option}")),
            "{option}"
        );
        let by_hand = by_hand.split_once('\n').map_or("", |(_, script)| script);
        let answer = session.reply(by_hand);
        assert!(!answer.contains("error"), "{by_hand}: {answer}");
    }
    // The blocks counted by hand are those that the command counts.
    let mut session = Session::quiet(Bench::sandbox("x86_64-numa2", None).unwrap());
    let counted = session.reply(
        "let pages = 0; for z in zones() { for o in 0..=10 { pages += z.free_area[o] * (1 << o); } } pages",
    );
    assert!(session.reply("kmem -f").contains(&format!("nr_free_pages: {}  (verified)", counted.trim())));
}
