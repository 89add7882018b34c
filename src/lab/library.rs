//! Where labs are found: in the binary, in `$VMLAB_LABS`, in `./labs`.
//!
//! ```text
//!   $VMLAB_LABS, or ./labs     a folder with lab.yaml is a lab; it hides a shipped one of the same name
//!   the binary                 the labs that were there when it was built
//! ```
//!
//! What a student writes stands beside the lab: `labs/10-watermark-arithmetic/my.rhai`.

use crate::import::ImportError;
use crate::lab::exercise::Exercise;
use crate::lab::shipped;
use crate::script::suggest::nearest;
use std::path::{Path, PathBuf};

/// The student's own file in a lab's folder.
pub const WORK: &str = "my.rhai";
/// A lab's file above this is none.
const MAX_BYTES: u64 = 1 << 20;

/// A lab with its files.
#[derive(Clone, Debug)]
pub struct Lab {
    /// `10-watermark-arithmetic`.
    pub name: String,
    /// `lab.yaml`.
    pub exercise: Exercise,
    /// What the student starts from: it runs, but fails.
    pub start: String,
    /// One way to do it.
    pub solution: String,
    /// Mistakes people really make, by name.
    pub wrong: Vec<(String, String)>,
    /// The folder that holds, or will hold, the student's file.
    pub folder: PathBuf,
}

impl Lab {
    /// Makes a lab of the texts of its files.
    ///
    /// # Errors
    /// When `lab.yaml` is none, with place and advice.
    pub fn new(
        folder: PathBuf,
        name: &str,
        yaml: &str,
        start: &str,
        solution: &str,
        wrong: Vec<(String, String)>,
    ) -> Result<Lab, ImportError> {
        let exercise = Exercise::read(&folder.join("lab.yaml").display().to_string(), yaml)?;
        let (name, start, solution) = (name.to_string(), start.to_string(), solution.to_string());
        Ok(Lab { name, exercise, start, solution, wrong, folder })
    }

    /// `10` of `10-watermark-arithmetic`.
    pub fn number(&self) -> &str {
        self.name.split('-').next().unwrap_or_default()
    }

    /// `watermark-arithmetic` of `10-watermark-arithmetic`.
    pub fn slug(&self) -> &str {
        self.name.split_once('-').map_or(self.name.as_str(), |(_, slug)| slug)
    }

    /// The student's file.
    pub fn work(&self) -> PathBuf {
        self.folder.join(WORK)
    }
}

/// All labs, in the order of their names.
pub struct Library {
    /// The labs.
    pub labs: Vec<Lab>,
    /// The folder that holds the student's files.
    pub root: PathBuf,
}

impl Library {
    /// The labs of the binary, and those of `$VMLAB_LABS` or `./labs`.
    ///
    /// # Errors
    /// When a lab there cannot be read.
    pub fn open() -> Result<Library, String> {
        let root = std::env::var_os("VMLAB_LABS").map_or_else(|| PathBuf::from("labs"), PathBuf::from);
        Library::at(&root)
    }

    /// The labs of the binary, and those of a folder.
    ///
    /// # Errors
    /// When a lab there cannot be read.
    pub fn at(root: &Path) -> Result<Library, String> {
        let mut labs = shipped::labs(root).map_err(|why| why.to_string())?;
        for lab in Library::folder(root)? {
            labs.retain(|shipped| shipped.name != lab.name);
            labs.push(lab);
        }
        labs.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Library { labs, root: root.to_path_buf() })
    }

    /// Only the labs of a folder.
    ///
    /// # Errors
    /// When one of them cannot be read.
    pub fn folder(root: &Path) -> Result<Vec<Lab>, String> {
        let mut labs = Vec::new();
        for (name, folder) in entries(root) {
            if folder.join("lab.yaml").is_file() {
                labs.push(read_lab(&name, &folder)?);
            }
        }
        Ok(labs)
    }

    /// The lab that is meant by `10`, `5`, `10-watermark-arithmetic` or `watermark`.
    ///
    /// # Errors
    /// When none is, or more than one.
    pub fn find(&self, asked: &str) -> Result<&Lab, String> {
        let asked = asked.trim().trim_end_matches('/').trim_start_matches("labs/");
        let number = |text: &str| text.parse::<u32>().ok();
        let exact = |lab: &&Lab| {
            lab.name == asked
                || lab.slug() == asked
                || (number(asked).is_some() && number(lab.number()) == number(asked))
        };
        if let Some(lab) = self.labs.iter().find(exact) {
            return Ok(lab);
        }
        let part: Vec<&Lab> =
            self.labs.iter().filter(|lab| asked.len() > 2 && lab.name.contains(asked)).collect();
        match part.as_slice() {
            [lab] => Ok(lab),
            [] => {
                let words = |lab| [Lab::slug(lab)].into_iter().chain(Lab::slug(lab).split('-'));
                let names = self.labs.iter().flat_map(words);
                let near = nearest(asked, names);
                let shown: String = asked.chars().take(64).collect();
                Err(match near.first() {
                    Some(near) => format!("error: there is no lab {shown}\n  help: did you mean {near}?"),
                    None => format!(
                        "error: there is no lab {shown}\n  help: `vmlab lab list` shows all {}",
                        self.labs.len()
                    ),
                })
            }
            several => {
                let names: Vec<&str> = several.iter().map(|lab| lab.name.as_str()).collect();
                Err(format!("error: {asked} may be {}\n  help: say the number", names.join(" or ")))
            }
        }
    }
}

/// The lab in a folder.
///
/// # Errors
/// When a file is missing or no text, or `lab.yaml` is none.
pub fn read_lab(name: &str, folder: &Path) -> Result<Lab, String> {
    let text = |file: &str| read(&folder.join(file));
    let mut wrong = Vec::new();
    for (file, path) in entries(&folder.join("wrong")) {
        if let Some(stem) = file.strip_suffix(".rhai") {
            wrong.push((stem.to_string(), read(&path)?));
        }
    }
    let (yaml, start, solution) = (text("lab.yaml")?, text("start.rhai")?, text("solution.rhai")?);
    Lab::new(folder.to_path_buf(), name, &yaml, &start, &solution, wrong)
        .map_err(|why| format!("error: {why}"))
}

/// A small text file.
///
/// # Errors
/// When there is none, or it is no text, or too large.
pub fn read(path: &Path) -> Result<String, String> {
    let shown = path.display();
    let size = std::fs::metadata(path).map_err(|why| format!("error: {shown}: {why}"))?.len();
    if size > MAX_BYTES {
        return Err(format!("error: {shown} has {size} bytes; a lab's file has at most {MAX_BYTES}"));
    }
    let bytes = std::fs::read(path).map_err(|why| format!("error: {shown}: {why}"))?;
    String::from_utf8(bytes).map_err(|_| format!("error: {shown} is not text in UTF-8"))
}

/// What lies in a folder, by name; nothing when there is no folder.
pub fn entries(folder: &Path) -> Vec<(String, PathBuf)> {
    let Ok(found) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut found: Vec<(String, PathBuf)> = found
        .flatten()
        .filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path())))
        .collect();
    found.sort();
    found
}
