//! Where recordings of real kernels lie, and how a runner reports on them.

#![allow(dead_code)]

use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// `tests/truth`, or the folder of the same layout that `VMLAB_TRUTH` names.
pub fn truth() -> PathBuf {
    std::env::var_os("VMLAB_TRUTH").map_or_else(shipped_truth, PathBuf::from)
}

/// `tests/truth` of this project.
pub fn shipped_truth() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/truth")
}

/// The names of the recordings in a folder, sorted; none when the folder is not there.
pub fn recordings(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|e| e.file_name().into_string().ok()).collect();
    names.retain(|n| !n.starts_with('.'));
    names.sort();
    names
}

/// A line for each recording, and a total.
#[derive(Default)]
pub struct Report {
    ok: usize,
    failed: Vec<String>,
}

impl Report {
    /// Records what was found on `name`: nothing, or the first difference.
    pub fn on(&mut self, name: &str, difference: Option<String>) {
        match difference {
            None => {
                println!("{name}: ok");
                self.ok += 1;
            }
            Some(difference) => {
                println!("{name}: {difference}");
                self.failed.push(format!("{name}: {difference}"));
            }
        }
    }

    /// Prints the total, and fails the test when a recording differs or there was none.
    pub fn finish(self, what: &str) {
        let all = self.ok + self.failed.len();
        println!("{what}: {} of {all} agree", self.ok);
        assert!(all > 0, "{what}: no recording was found");
        assert!(self.failed.is_empty(), "{what}:\n{}", self.failed.join("\n"));
        // Another folder of recordings is not what the book tells about.
        if truth() == shipped_truth() {
            publish(what, self.ok, all);
        }
    }
}

/// The page of the book that tells how true the simulator is: one row for each total.
const PAGE: &str = "book/src/true.md";

/// Runners of one program share the page.
static WRITING: Mutex<()> = Mutex::new(());

/// Holds the page's row `| what | what is compared | ok of all |` to the total; `UPDATE=1` writes it.
fn publish(what: &str, ok: usize, all: usize) {
    let _alone = WRITING.lock();
    let page = std::fs::read_to_string(PAGE).unwrap_or_default();
    let total = format!("{ok} of {all}");
    let start = format!("| {what} |");
    let old = page.lines().find(|line| line.starts_with(&start));
    let compared = old.and_then(|row| row.split('|').nth(2)).map_or("", str::trim);
    let row = format!("{start} {compared} | {total} |");
    if old == Some(row.as_str()) {
        return;
    }
    assert!(
        std::env::var_os("UPDATE").is_some(),
        "{PAGE} does not say {total} of {what}: UPDATE=1 cargo test writes the row; say there what is compared"
    );
    let page = match old {
        Some(old) => page.replace(old, &row),
        None => page.replacen("|---|---|---|\n", &format!("|---|---|---|\n{row}\n"), 1),
    };
    std::fs::write(PAGE, page).expect(PAGE);
}
