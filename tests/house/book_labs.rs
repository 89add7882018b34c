//! Labs and chapters name each other: a chapter lists its labs, and the section a lab names is in its chapter.
//!
//! `UPDATE=1 cargo test --test house book_labs` writes the lists.

use crate::updating;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use vmlab::lab::exercise::Kind;
use vmlab::lab::library::{Lab, Library};

const START: &str = "<!-- labs -->\n";
const END: &str = "<!-- end -->";

fn labs() -> Vec<Lab> {
    Library::folder(Path::new("labs")).unwrap()
}

/// The chapters by their numbers.
fn chapters() -> BTreeMap<u32, PathBuf> {
    fs::read_dir("book/src")
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter_map(|path| {
            let number = path.file_name()?.to_str()?.strip_prefix("ch")?.get(..2)?.parse().ok()?;
            Some((number, path))
        })
        .collect()
}

fn line(lab: &Lab) -> String {
    let task = match lab.exercise.kind {
        Kind::Predict => "say beforehand what will happen",
        Kind::Cause => "bring the machine into a state",
        Kind::Diagnose => "find out what is wrong",
    };
    let (number, title, minutes) = (lab.number(), &lab.exercise.title, lab.exercise.minutes);
    format!("* {number} *{title}*: {task}. {minutes} minutes. `cargo run --release -- lab start {number}`\n")
}

#[test]
fn every_chapter_lists_its_labs() {
    let (labs, update) = (labs(), updating());
    let mut wrong = Vec::new();
    for (number, page) in chapters() {
        let its: Vec<&Lab> = labs.iter().filter(|lab| lab.exercise.chapter == number).collect();
        let list: String = its.iter().map(|lab| line(lab)).collect();
        let list = if its.is_empty() { "None is built yet.\n".to_string() } else { list };
        let text = fs::read_to_string(&page).unwrap();
        let Some((before, rest)) = text.split_once(START) else {
            wrong.push(format!("{}: no {}", page.display(), START.trim()));
            continue;
        };
        let Some((_, after)) = rest.split_once(END) else {
            wrong.push(format!("{}: {} is not closed by {END}", page.display(), START.trim()));
            continue;
        };
        let fresh = format!("{before}{START}\n{list}\n{END}{after}");
        if fresh != text && update.is_some() {
            fs::write(&page, fresh).unwrap();
        } else if fresh != text {
            wrong.push(format!("{}: its labs are\n{list}", page.display()));
        }
        let planned = text.split("\n\n").find(|words| words.starts_with("Planned")).unwrap_or_default();
        let built = its.iter().filter(|lab| planned.contains(&format!(" {} *", lab.number())));
        wrong.extend(built.map(|lab| format!("{}: {} is planned, and built", page.display(), lab.name)));
    }
    assert!(wrong.is_empty(), "\n{}\nUPDATE=1 cargo test writes the lists", wrong.join("\n"));
}

/// What a wrong answer believes: the first line of its script.
fn belief(script: &str) -> &str {
    script.lines().next().unwrap_or_default().trim_start_matches('/').trim()
}

/// For instructors: every lab, and the mistakes that it answers with a sentence of their own.
#[test]
fn instructors_see_all_labs() {
    const PAGE: &str = "book/src/instructors.md";
    let mut list = String::from("| lab | kind | chapter | minutes | points |\n|---|---|---|---|---|\n");
    let (labs, update) = (labs(), updating());
    for lab in &labs {
        let (number, exercise) = (lab.number(), &lab.exercise);
        let row = [exercise.chapter, exercise.minutes, exercise.points].map(|n| n.to_string()).join(" | ");
        list += &format!("| {number} *{}* | {} | {row} |\n", exercise.title, exercise.kind.name());
    }
    for lab in &labs {
        list += &format!("\n**{} {}**\n\n", lab.number(), lab.exercise.title);
        lab.wrong.iter().for_each(|(_, script)| list += &format!("* {}\n", belief(script)));
    }
    let text = fs::read_to_string(PAGE).unwrap();
    let (before, rest) = text.split_once(START).expect("instructors.md has a place for the labs");
    let (_, after) = rest.split_once(END).expect("and its end");
    let fresh = format!("{before}{START}\n{list}\n{END}{after}");
    if fresh != text && update.is_some() {
        fs::write(PAGE, &fresh).unwrap();
    } else {
        assert_eq!(fresh, text, "UPDATE=1 cargo test --test house book_labs writes it anew");
    }
    // A belief is a sentence, and no two wrong answers of a lab have the same.
    for lab in &labs {
        let mut beliefs: Vec<&str> = lab.wrong.iter().map(|(_, script)| belief(script)).collect();
        assert!(beliefs.iter().all(|belief| belief.ends_with(['.', '?'])), "{}: {beliefs:?}", lab.name);
        beliefs.sort_unstable();
        beliefs.dedup();
        assert_eq!(beliefs.len(), lab.wrong.len(), "{}", lab.name);
    }
}

#[test]
fn the_sections_that_labs_name_are_there() {
    let chapters = chapters();
    let mut wrong = Vec::new();
    for lab in labs() {
        let Exercise { chapter, hints, lesson } = exercise(&lab);
        let Some(page) = chapters.get(&chapter) else {
            wrong.push(format!("{}: there is no chapter {chapter}", lab.name));
            continue;
        };
        let text = fs::read_to_string(page).unwrap();
        let named = hints.iter().chain([&lesson]).flat_map(|words| sections(words, chapter));
        let lost = named.filter(|section| !text.contains(&format!("\n## {section}\n")));
        wrong.extend(
            lost.map(|section| format!("{}: {} has no section '{section}'", lab.name, page.display())),
        );
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

struct Exercise {
    chapter: u32,
    hints: Vec<String>,
    lesson: String,
}

/// The texts of a lab, with blanks for the ends of their lines.
fn exercise(lab: &Lab) -> Exercise {
    let joined = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    Exercise {
        chapter: lab.exercise.chapter,
        hints: lab.exercise.hints.iter().map(|hint| joined(hint)).collect(),
        lesson: joined(&lab.exercise.lesson),
    }
}

/// The sections named as `'Splitting' in chapter 3` or `chapter 3, 'Splitting'`.
fn sections(words: &str, chapter: u32) -> Vec<String> {
    let (behind, before) = (format!("' in chapter {chapter}"), format!("chapter {chapter}, '"));
    let ends = words.match_indices(&behind).filter_map(|(at, _)| words[..at].rsplit('\'').next());
    let starts = words.split(&before).skip(1).filter_map(|rest| rest.split('\'').next());
    ends.chain(starts).map(String::from).collect()
}

#[test]
fn sections_are_found_in_both_forms() {
    assert_eq!(sections("See 'May it sleep' in chapter 4.", 4), ["May it sleep"]);
    assert_eq!(sections("Book: chapter 4, 'Reserves'. It's 'x' in chapter 5.", 4), ["Reserves"]);
    assert!(sections("nothing", 4).is_empty());
}
