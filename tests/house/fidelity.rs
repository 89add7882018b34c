//! What is simulated, and how faithfully: the heads of the modules say it once, the book shows it.
//!
//! `UPDATE=1 cargo test --test house fidelity` writes the book's page and the lists in its chapters.

use crate::updating;
use std::fs;
use std::path::{Path, PathBuf};

const FOLDER: &str = "src/mm";
const PAGE: &str = "book/src/simulated.md";
const INTRO: &str = "\
# What is simulated

The simulator is the folder `src/mm`, one file for each of the kernel's. The head of every file says how far it goes.
This page collects what they say; a test keeps it true.

* **Faithful**: as the kernel does it. The same steps, the same numbers.
* **Simplified**: the result is the kernel's, the way to it is shorter, or a detail is missing.
* **Imported**: taken from a captured machine as it was found there, not computed.
* **Absent**: not there. Nothing pretends to be it.
* **Ours**: something that the kernel does not have.
";

/// One clause of a `Fidelity:` line: how, and what.
struct Clause {
    how: String,
    what: String,
}

/// The head of a module.
struct Head {
    /// The path under `src/mm`, without `.rs`.
    name: String,
    /// The first sentence.
    summary: String,
    /// The line `Gorman …. Kernel: …`.
    source: String,
    clauses: Vec<Clause>,
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    // A file comes before the folder of its parts.
    paths.sort_by_key(|path| (path.with_extension(""), path.is_dir()));
    for path in paths {
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") && !path.ends_with("mod.rs") {
            found.push(path);
        }
    }
}

fn heads() -> Vec<Head> {
    let mut files = Vec::new();
    sources(Path::new(FOLDER), &mut files);
    files.iter().filter_map(|file| head(file)).collect()
}

fn head(file: &Path) -> Option<Head> {
    let text = fs::read_to_string(file).unwrap();
    let lines: Vec<&str> = text
        .lines()
        .map_while(|line| line.strip_prefix("//!"))
        .map(|line| line.strip_prefix(' ').unwrap_or(line))
        .collect();
    let paragraph = |start: &str| {
        let at = lines.iter().position(|line| line.starts_with(start))?;
        let until = lines[at..]
            .iter()
            .take_while(|line| !(line.is_empty() || line.starts_with("Fidelity:") && start != "Fidelity:"));
        Some(until.copied().collect::<Vec<_>>().join(" "))
    };
    let fidelity = paragraph("Fidelity:")?;
    let source = paragraph("Gorman").or_else(|| paragraph("Kernel:")).unwrap_or_default();
    let name = file.strip_prefix(FOLDER).unwrap().with_extension("").display().to_string();
    let fidelity = fidelity.trim_start_matches("Fidelity:").trim();
    Some(Head { name, summary: lines[0].to_string(), source, clauses: clauses(fidelity) })
}

/// `faithful — a, b. Simplified — c.` as clauses; a sentence without a word of ours belongs to the one before.
fn clauses(text: &str) -> Vec<Clause> {
    const WORDS: [&str; 7] =
        ["Faithful", "Simplified", "Imported", "Computed by `boot`", "Inferred", "Absent", "Ours"];
    let mut found: Vec<Clause> = Vec::new();
    for sentence in text.split_inclusive(". ") {
        let sentence = sentence.trim();
        let word = WORDS.iter().find(|word| sentence.to_lowercase().starts_with(&word.to_lowercase()));
        match (word, found.last_mut()) {
            (Some(word), _) => {
                let what =
                    sentence[word.len()..].trim_start_matches([' ', '—', '.', ':']).trim_end_matches('.');
                found.push(Clause { how: (*word).to_string(), what: what.to_string() });
            }
            (None, Some(last)) => {
                let before = if last.what.is_empty() { String::new() } else { format!("{}. ", last.what) };
                last.what = before + sentence.trim_end_matches('.');
            }
            (None, None) => panic!("Fidelity: {text}: begins with none of {WORDS:?}"),
        }
    }
    found
}

fn shown(clause: &Clause) -> String {
    if clause.what.is_empty() {
        format!("* **{}**.\n", clause.how)
    } else {
        format!("* **{}**: {}.\n", clause.how, clause.what)
    }
}

/// Compares a page with what it should be, or writes it.
fn keep(path: &str, fresh: &str, update: bool) -> Option<String> {
    let kept = fs::read_to_string(path).unwrap_or_default();
    if kept == fresh {
        return None;
    }
    if update {
        fs::write(path, fresh).unwrap();
        return None;
    }
    let same = kept.lines().zip(fresh.lines()).take_while(|(kept, fresh)| kept == fresh).count();
    Some(format!(
        "{path}:{}: says {:?}, the heads say {:?}",
        same + 1,
        kept.lines().nth(same).unwrap_or_default(),
        fresh.lines().nth(same).unwrap_or_default()
    ))
}

#[test]
fn the_page_says_what_the_heads_say() {
    let mut page = INTRO.to_string();
    for head in heads() {
        page += &format!("\n## {}\n\n{}\n", head.name, head.summary);
        if !head.source.is_empty() {
            page += &format!("{}\n", head.source);
        }
        page += "\n";
        head.clauses.iter().for_each(|clause| page += &shown(clause));
    }
    let wrong = keep(PAGE, &page, updating().is_some());
    assert!(
        wrong.is_none(),
        "{}\nUPDATE=1 cargo test writes it: read the difference",
        wrong.unwrap_or_default()
    );
}

/// Between `<!-- fidelity: mmzone page_alloc/pcp -->` and `<!-- end -->` a chapter lists what is not faithful there.
#[test]
fn chapters_say_what_the_heads_say() {
    let (heads, update) = (heads(), updating());
    let mut wrong = Vec::new();
    let mut pages: Vec<PathBuf> =
        fs::read_dir("book/src").unwrap().map(|entry| entry.unwrap().path()).collect();
    pages.sort();
    for page in pages.iter().filter(|page| page.extension().is_some_and(|e| e == "md")) {
        let text = fs::read_to_string(page).unwrap();
        let mut parts = text.split("<!-- fidelity: ");
        let mut fresh = parts.next().unwrap_or_default().to_string();
        for part in parts {
            let (names, rest) = part.split_once(" -->\n").expect("names, and the end of the comment");
            let (_, rest) = rest.split_once("<!-- end -->").expect("<!-- end --> closes a list");
            fresh += &format!("<!-- fidelity: {names} -->\n{}\n<!-- end -->{rest}", list(&heads, names));
        }
        wrong.extend(keep(&page.display().to_string(), &fresh, update.is_some()));
    }
    assert!(wrong.is_empty(), "\n{}\nUPDATE=1 cargo test writes it: read the difference", wrong.join("\n"));
}

fn list(heads: &[Head], names: &str) -> String {
    let mut list = String::new();
    for name in names.split_whitespace() {
        let head = heads
            .iter()
            .find(|head| head.name == name)
            .unwrap_or_else(|| panic!("no module {name} in {FOLDER}"));
        let mut differs: Vec<String> = Vec::new();
        for clause in head.clauses.iter().filter(|clause| clause.how != "Faithful") {
            let end = if clause.what.is_empty() { String::new() } else { format!(": {}", clause.what) };
            differs.push(format!("{}{end}", clause.how.to_lowercase()));
        }
        let differs =
            if differs.is_empty() { "nothing is known to differ".to_string() } else { differs.join("; ") };
        list += &format!("\n* `{name}`: {differs}.");
    }
    list + "\n"
}

#[test]
fn clauses_are_told_apart() {
    let read = |text| clauses(text).into_iter().map(|c| (c.how, c.what)).collect::<Vec<_>>();
    let pair = |how: &str, what: &str| (how.to_string(), what.to_string());
    assert_eq!(
        read("faithful — a, b. Simplified — c; the rest\nd. It e. Absent — f."),
        [pair("Faithful", "a, b"), pair("Simplified", "c; the rest\nd. It e"), pair("Absent", "f")]
    );
    assert_eq!(read("ours."), [pair("Ours", "")]);
    assert_eq!(read("ours. It runs."), [pair("Ours", "It runs")]);
}
