//! Every demonstration under `scripts/` runs, twice with the same bytes, and says what `NAME.out` beside it says.
//!
//! `UPDATE=1 cargo test --test house scripts` writes the output: read the difference.

use crate::updating;
use std::fs;
use std::path::{Path, PathBuf};
use vmlab::import;
use vmlab::script::bench::Bench;
use vmlab::shell::session::{Outcome, Session};

fn scripts() -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir("scripts")
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "rhai"))
        .collect();
    found.sort();
    found
}

/// Runs a script as `vmlab FILE` does, on the default machine.
fn run(script: &Path) -> (Outcome, String) {
    let bench = Bench::sandbox(import::shipped::DEFAULT, None).unwrap();
    let mut session = Session::quiet(bench);
    let text = fs::read_to_string(script).unwrap();
    let out = session.bench.out.clone();
    let name = script.display().to_string();
    out.capture(|| session.run_script(&name, &text))
}

#[test]
fn every_script_says_what_it_said() {
    let update = updating();
    let mut wrong = Vec::new();
    for script in scripts() {
        let kept = script.with_extension("out");
        let (outcome, output) = run(&script);
        if !matches!(outcome, Outcome::Done | Outcome::Exit(0)) {
            wrong.push(format!("{}: {outcome:?}\n{output}", script.display()));
            continue;
        }
        if run(&script).1 != output {
            wrong.push(format!("{}: a second run says something else", script.display()));
        }
        if update.is_some() {
            fs::write(&kept, output).unwrap();
            continue;
        }
        let want = fs::read_to_string(&kept).unwrap_or_default();
        if want != output {
            let same = want.lines().zip(output.lines()).take_while(|(want, got)| want == got).count();
            wrong.push(format!(
                "{} differs from line {}:\n  kept: {:?}\n  now:  {:?}",
                kept.display(),
                same + 1,
                want.lines().nth(same),
                output.lines().nth(same)
            ));
        }
    }
    assert!(wrong.is_empty(), "\n{}\nUPDATE=1 cargo test writes it: read the difference", wrong.join("\n"));
}

/// A demonstration is read before it is run: it opens with what it shows and how to run it.
#[test]
fn every_script_says_what_it_is() {
    for script in scripts() {
        let text = fs::read_to_string(&script).unwrap();
        let name = script.display();
        assert!(text.starts_with("// "), "{name} opens with a comment");
        assert!(text.contains(&format!("cargo run --release -- {name}")), "{name} says how it is run");
        assert!(
            text.lines().all(|line| line.chars().count() <= 110),
            "{name} has a line over 110 characters"
        );
    }
}

/// Every `.out` belongs to a script.
#[test]
fn no_output_is_left_over() {
    for entry in fs::read_dir("scripts").unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "out") {
            assert!(path.with_extension("rhai").is_file(), "{} has no script", path.display());
        }
    }
}

/// README.md shows real output, cut short: the comment before a block says which lines.
///
/// `<!-- scripts/oom.out: 12 lines, then 17 from "Task" -->`; `UPDATE=1` writes them.
#[test]
fn the_readme_shows_real_output() {
    const OPEN: &str = "<!-- scripts/";
    let update = updating();
    let readme = fs::read_to_string("README.md").unwrap();
    let mut parts = readme.split(OPEN);
    let mut fresh = parts.next().unwrap_or_default().to_string();
    let mut blocks = 0;
    for part in parts {
        let (cut, rest) = part.split_once(" -->\n").expect("a comment on one line");
        let (old, rest) =
            rest.strip_prefix("```text\n").and_then(|r| r.split_once("```\n")).expect("a block after it");
        let shown =
            excerpt(cut).unwrap_or_else(|| panic!("README.md: cannot read the comment {OPEN}{cut} -->"));
        fresh += &format!("{OPEN}{cut} -->\n```text\n{shown}```\n{rest}");
        blocks += 1;
        assert!(old == shown || update.is_some(), "README.md shows\n{old}\nbut it is\n{shown}");
    }
    assert!(blocks > 0, "README.md shows no output");
    if fresh != readme {
        fs::write("README.md", fresh).unwrap();
    }
}

/// The lines that `oom.out: 12 lines, then 17 from "Task"` asks for.
fn excerpt(cut: &str) -> Option<String> {
    let (file, cut) = cut.split_once(": ")?;
    // The script itself is run: with `UPDATE=1`, another test is writing its output just now.
    let script = Path::new("scripts").join(file).with_extension("rhai");
    let text = if script.is_file() { run(&script).1 } else { return None };
    let (first, then) = cut.split_once(" lines, then ")?;
    let (count, from) = then.split_once(" from ")?;
    let (first, count): (usize, usize) = (first.parse().ok()?, count.parse().ok()?);
    let from = from.trim_matches('"');
    let top = text.lines().take(first).chain(["…"]);
    let rest = text.lines().skip_while(|line| !line.starts_with(from)).take(count);
    Some(top.chain(rest).map(|line| format!("{line}\n")).collect())
}
