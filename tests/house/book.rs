//! The book is true: every session in it is replayed, every link leads somewhere, every chapter is listed.
//!
//! `UPDATE=1 cargo test --test house book` writes the real answers into the pages: read the difference.

use crate::updating;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use vmlab::shell::transcript::{pictures, refresh};

const BOOK: &str = "book/src";

/// The pages of the book, and the README.
fn pages() -> Vec<PathBuf> {
    let mut pages: Vec<PathBuf> = fs::read_dir(BOOK)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "md"))
        .collect();
    pages.sort();
    pages.push("README.md".into());
    pages
}

/// The reference holds the examples of the doc comments: `tests/house/examples.rs` replays those.
fn is_generated(page: &Path) -> bool {
    page.ends_with("reference.md")
}

#[test]
fn every_session_is_true() {
    let update = updating();
    let mut wrong = Vec::new();
    for page in pages().iter().filter(|page| !is_generated(page)) {
        let text = fs::read_to_string(page).unwrap();
        let (fresh, mismatches) = refresh(&text);
        if update.is_some() && fresh != text {
            fs::write(page, fresh).unwrap();
            continue;
        }
        for m in mismatches {
            wrong.push(format!(
                "{}:{}\n--- written\n{}--- answered\n{}",
                page.display(),
                m.line,
                m.want,
                m.got
            ));
        }
    }
    assert!(wrong.is_empty(), "\n{}\nUPDATE=1 cargo test writes the answers: read them", wrong.join("\n"));
}

/// Pictures are drawn from the machine as it stands where the page asks for them, and no other picture is there.
#[test]
fn every_picture_is_drawn_from_the_machine() {
    let folder = Path::new(BOOK).join("img");
    let update = updating();
    let (mut wrong, mut drawn) = (Vec::new(), BTreeSet::new());
    for page in pages().iter().filter(|page| !is_generated(page)) {
        let text = fs::read_to_string(page).unwrap();
        if !text.contains("<!-- picture ") {
            continue;
        }
        for picture in pictures(&text) {
            let place = format!("{}:{}: {}", page.display(), picture.line, picture.name);
            let file = folder.join(format!("{}.svg", picture.name));
            if !picture.text.starts_with("<svg ") {
                wrong.push(format!("{place}: this is no picture: {}", picture.text));
            } else if !drawn.insert(file.clone()) {
                wrong.push(format!("{place}: there are two of this name"));
            } else if !text.contains(&format!("](img/{}.svg)", picture.name)) {
                wrong.push(format!("{place}: the page does not show it"));
            } else if fs::read_to_string(&file).unwrap_or_default() != picture.text {
                if update.is_some() {
                    fs::create_dir_all(&folder).unwrap();
                    fs::write(&file, &picture.text).unwrap();
                } else {
                    wrong.push(format!("{place}: the machine draws another"));
                }
            }
        }
    }
    for file in fs::read_dir(&folder).into_iter().flatten().map(|entry| entry.unwrap().path()) {
        if !drawn.contains(&file) {
            wrong.push(format!("{}: no page asks for it", file.display()));
        }
    }
    assert!(wrong.is_empty(), "\n{}\nUPDATE=1 cargo test draws them", wrong.join("\n"));
}

/// A session in the book shows errors only where it says so: `should_fail`.
#[test]
fn errors_are_shown_on_purpose() {
    let mut wrong = Vec::new();
    for page in pages().iter().filter(|page| !is_generated(page)) {
        let text = fs::read_to_string(page).unwrap();
        let mut expected = true;
        for (number, line) in text.lines().enumerate() {
            if let Some(fence) = line.strip_prefix("```") {
                expected =
                    !fence.starts_with("vmlab") || fence.split_whitespace().any(|w| w == "should_fail");
            } else if !expected && line.starts_with("error:") {
                wrong.push(format!("{}:{}: {line}", page.display(), number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_link_leads_somewhere() {
    let mut wrong = Vec::new();
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for (number, target) in links(&text) {
            if let Err(why) = leads(&page, &target) {
                wrong.push(format!("{}:{number}: ({target}): {why}", page.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// `SUMMARY.md` lists every page, and in the order of their numbers.
#[test]
fn every_page_is_in_the_summary() {
    let summary = fs::read_to_string(Path::new(BOOK).join("SUMMARY.md")).unwrap();
    let listed: Vec<String> = links(&summary).into_iter().map(|(_, target)| target).collect();
    let known: BTreeSet<&str> = listed.iter().map(String::as_str).collect();
    let lost: Vec<String> = pages()
        .iter()
        .filter(|page| page.starts_with(BOOK))
        .map(|page| page.file_name().unwrap().to_string_lossy().into_owned())
        .filter(|name| name != "SUMMARY.md" && !known.contains(name.as_str()))
        .collect();
    assert!(lost.is_empty(), "not in SUMMARY.md: {lost:?}");
    let chapters: Vec<&String> = listed.iter().filter(|name| name.starts_with("ch")).collect();
    assert!(chapters.is_sorted(), "{chapters:?}");
}

/// Chapters are built alike, so that a reader knows where to look.
#[test]
fn every_chapter_has_its_parts() {
    const PARTS: [&str; 6] = [
        "## Then and now",
        "## Where the model differs",
        "## Check yourself",
        "## Labs",
        "## In the real kernel",
        "<details>",
    ];
    let mut wrong = Vec::new();
    for page in
        pages().iter().filter(|page| page.file_name().is_some_and(|n| n.to_string_lossy().starts_with("ch")))
    {
        let text = fs::read_to_string(page).unwrap();
        for part in PARTS.iter().filter(|part| !text.contains(**part)) {
            wrong.push(format!("{}: no {part}", page.display()));
        }
        if !text.contains("```vmlab") {
            wrong.push(format!("{}: no session", page.display()));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Nothing is loaded from elsewhere: the book works without a network.
#[test]
fn the_book_needs_no_network() {
    let mut wrong = Vec::new();
    for file in ["book/book.toml", "book/theme/vmlab.js", "book/theme/vmlab.css"] {
        let text = fs::read_to_string(file).unwrap_or_default();
        wrong.extend(
            text.lines()
                .filter(|l| l.contains("http://") || l.contains("https://"))
                .map(|l| format!("{file}: {l}")),
        );
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Targets of `[text](target)` outside of code, each with its line.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut fenced = false;
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced || line.starts_with("    ") {
            continue;
        }
        // Every second part stands between back quotes.
        let prose: String = line.split('`').step_by(2).collect::<Vec<_>>().join("`");
        for rest in prose.split("](").skip(1) {
            let target = rest.split(')').next().unwrap_or_default();
            if !target.is_empty() {
                found.push((number + 1, target.to_string()));
            }
        }
    }
    found
}

fn leads(page: &Path, target: &str) -> Result<(), String> {
    if target.starts_with("https://") || target.starts_with("http://") {
        return Ok(());
    }
    let (file, anchor) = target.split_once('#').map_or((target, None), |(file, anchor)| (file, Some(anchor)));
    let path = if file.is_empty() { page.to_path_buf() } else { page.parent().unwrap().join(file) };
    // Links out of the book would break once it is built: only the README may point anywhere.
    if page.starts_with(BOOK) && file.contains("..") {
        return Err("leads out of the book".into());
    }
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(_) if path.is_dir() => return Ok(()),
        Err(why) => return Err(why.to_string()),
    };
    match anchor {
        Some(anchor) if !anchors(&text).contains(anchor) => Err(format!("no heading #{anchor}")),
        _ => Ok(()),
    }
}

/// Ids of headings, as mdBook makes them.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut fenced = false;
    for line in text.lines() {
        if line.starts_with("```") {
            fenced = !fenced;
        }
        if let Some(heading) = line.strip_prefix('#').filter(|_| !fenced) {
            let heading = heading.trim_start_matches('#').trim();
            let heading = heading.to_lowercase();
            let kept = heading.chars().filter_map(|c| match c {
                ' ' => Some('-'),
                c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c),
                _ => None,
            });
            let id: String = kept.collect();
            let copies = (1..).map(|n| format!("{id}-{n}"));
            let free = std::iter::once(id.clone()).chain(copies).find(|id| !found.contains(id));
            found.extend(free);
        }
        for part in line.split("<a id=\"").skip(1) {
            found.extend(part.split('"').next().map(String::from));
        }
    }
    found
}

#[test]
fn links_and_headings_are_read_as_mdbook_reads_them() {
    assert_eq!(links("see [a](b.md#c) and `[x](y)`\n```\n[q](r)\n```\n"), [(1, "b.md#c".to_string())]);
    let ids = anchors("# Low, min & high\n## `kmem -z`\n## A\n## A\n");
    assert_eq!(ids.into_iter().collect::<Vec<_>>(), ["a", "a-1", "kmem--z", "low-min--high"]);
}
