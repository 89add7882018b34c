//! How far a student is: `labs/.vmlab-state.yaml`.
//!
//! It remembers for the student's convenience and proves nothing: points in `check-all` and `grade` are always
//! counted anew from the scripts.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The file beside the labs.
pub const FILE: &str = ".vmlab-state.yaml";
const SCHEMA: u32 = 1;

/// How far a student is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    schema: u32,
    /// By the lab's name.
    #[serde(default)]
    pub labs: BTreeMap<String, Mark>,
}

/// How far a student is in one lab.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mark {
    /// The most points so far.
    pub best: u32,
    /// All goals were met, under all seeds.
    pub passed: bool,
    /// Hints that were shown.
    pub hints: u32,
    /// Checks so far.
    pub checks: u32,
    /// The solution was shown before passing.
    pub gave_up: bool,
}

impl Default for Progress {
    fn default() -> Progress {
        Progress { schema: SCHEMA, labs: BTreeMap::new() }
    }
}

impl Progress {
    /// Reads the state beside the labs; without a file, nothing was done yet.
    ///
    /// # Errors
    /// When the file is none of ours: a sentence; what was done is then unknown.
    pub fn read(root: &Path) -> Result<Progress, String> {
        let file = root.join(FILE);
        let text = match std::fs::read_to_string(&file) {
            Ok(text) => text,
            Err(why) if why.kind() == std::io::ErrorKind::NotFound => return Ok(Progress::default()),
            Err(why) => return Err(format!("{}: {why}", file.display())),
        };
        match serde_yaml::from_str::<Progress>(&text) {
            Ok(progress) if progress.schema == SCHEMA => Ok(progress),
            Ok(progress) => Err(format!("{}: schema {} is not {SCHEMA}", file.display(), progress.schema)),
            Err(why) => Err(format!("{}: {why}", file.display())),
        }
    }

    /// Writes the state beside the labs; a file that could not be read is kept under another name.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, root: &Path) -> Result<(), String> {
        let file = root.join(FILE);
        if Progress::read(root).is_err() && file.is_file() {
            let _ = std::fs::rename(&file, root.join(format!("{FILE}.broken")));
        }
        let text = serde_yaml::to_string(self).map_err(|why| why.to_string())?;
        let say = |why: std::io::Error| format!("{}: {why}", file.display());
        std::fs::create_dir_all(root).map_err(say)?;
        // Whole or not at all: a check may be interrupted.
        let fresh: PathBuf = root.join(format!("{FILE}.new"));
        std::fs::write(&fresh, text).and_then(|()| std::fs::rename(&fresh, &file)).map_err(say)
    }

    /// What is known of a lab.
    pub fn of(&self, lab: &str) -> Mark {
        self.labs.get(lab).copied().unwrap_or_default()
    }

    /// What is known of a lab, to change it.
    pub fn mark(&mut self, lab: &str) -> &mut Mark {
        self.labs.entry(lab.to_string()).or_default()
    }
}
