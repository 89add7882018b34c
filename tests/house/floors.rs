//! The floors: nothing points up, nothing prints, nothing is unsafe.
//!
//! `FLOORS` says what a folder must not mention; see the head of `src/lib.rs` for the reasons.

use std::path::{Path, PathBuf};

const FLOORS: [(&str, &[&str]); 4] = [
    (
        "src/mm",
        &[
            "rhai",
            "rustyline",
            "comfy_table",
            "owo_colors",
            "serde_yaml",
            "serde_json",
            "clap",
            "crate::import",
            "crate::script",
            "crate::shell",
            "crate::lab",
            "println!",
            "std::fs",
            "std::env",
            "std::time",
            "std::thread",
            "HashMap",
            "HashSet",
        ],
    ),
    (
        "src/import",
        &[
            "rhai",
            "rustyline",
            "clap",
            "comfy_table",
            "owo_colors",
            "crate::script",
            "crate::shell",
            "crate::lab",
            "println!",
            "HashMap",
        ],
    ),
    (
        "src/script",
        &[
            "rustyline",
            "comfy_table",
            "owo_colors",
            "serde_yaml",
            "crate::shell",
            "crate::lab",
            "println!",
            "std::time",
            "HashMap",
        ],
    ),
    ("src/shell", &["crate::lab", "println!", "HashMap"]),
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// Code lines: doc comments may mention what code may not.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .map(|(n, line)| (n + 1, line))
}

#[test]
fn nothing_points_up() {
    let mut wrong = Vec::new();
    for (floor, forbidden) in FLOORS {
        let mut files = Vec::new();
        sources(Path::new(floor), &mut files);
        for file in files {
            let text = std::fs::read_to_string(&file).unwrap();
            for (number, line) in code(&text) {
                for word in forbidden.iter().filter(|word| line.contains(**word)) {
                    wrong.push(format!(
                        "{}:{number}: {floor} must not mention {word}: {}",
                        file.display(),
                        line.trim()
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn there_is_no_state_outside_of_a_machine() {
    let mut files = Vec::new();
    sources(Path::new("src"), &mut files);
    let mut wrong = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        for (number, line) in code(&text) {
            let line = line.trim();
            let global = line.starts_with("static ")
                || line.starts_with("pub static ")
                || line.contains("thread_local!");
            if global || line.contains("unsafe {") || line.contains("OnceLock") || line.contains("LazyLock") {
                wrong.push(format!("{}:{number}: {line}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_module_says_what_it_is() {
    let mut files = Vec::new();
    sources(Path::new("src"), &mut files);
    let silent: Vec<String> = files
        .iter()
        .filter(|file| !std::fs::read_to_string(file).unwrap().starts_with("//! "))
        .map(|file| file.display().to_string())
        .collect();
    assert!(silent.is_empty(), "no header: {silent:?}");
}

#[test]
fn the_simulator_states_its_fidelity() {
    let mut files = Vec::new();
    sources(Path::new("src/mm"), &mut files);
    let silent: Vec<String> = files
        .iter()
        .filter(|file| !file.ends_with("mod.rs"))
        .filter(|file| {
            !std::fs::read_to_string(file).unwrap().lines().take(40).any(|l| l.starts_with("//! Fidelity:"))
        })
        .map(|file| file.display().to_string())
        .collect();
    assert!(silent.is_empty(), "no line `Fidelity:` in {silent:?}");
}
