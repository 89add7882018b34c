//! Where recordings of real kernels lie, and how a runner reports on them.

#![allow(dead_code)]

use std::path::{Path, PathBuf};

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
        println!("{what}: {} of {} agree", self.ok, self.ok + self.failed.len());
        assert!(self.ok + self.failed.len() > 0, "{what}: no recording was found");
        assert!(self.failed.is_empty(), "{what}:\n{}", self.failed.join("\n"));
    }
}
