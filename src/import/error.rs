//! What is wrong with imported text: the place, the number that decided, and what to try.
//!
//! Fidelity: not of the kernel — the shape of every message of this floor.

use std::fmt;
use std::path::Path;

/// Why a capture or a machine spec could not be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ImportError {
    place: Box<Place>,
    problem: Box<str>,
    advice: Box<str>,
}

/// Where it was found; boxed, since `Result` is returned everywhere and errors are rare.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Place {
    file: String,
    line: Option<usize>,
    column: Option<usize>,
    field: String,
    snippet: String,
}

impl ImportError {
    /// Says what is wrong with `file`, with the number that decided.
    pub fn new(file: impl Into<String>, problem: impl Into<String>) -> ImportError {
        let place = Place { file: clip(&file.into(), 400), ..Place::default() };
        let advice = "Check what is written there, or capture the file again.";
        ImportError {
            place: Box::new(place),
            problem: clip(&problem.into(), 600).into(),
            advice: advice.into(),
        }
    }

    /// Adds the line (the first is 1) and its text.
    pub fn at(mut self, line: usize, text: &str) -> ImportError {
        self.place.line = Some(line);
        self.place.snippet = clip(text, 120);
        self
    }

    /// Adds the column (the first is 1), for a caret below the line.
    pub fn column(mut self, column: usize) -> ImportError {
        self.place.column = Some(column);
        self
    }

    /// Adds the field: `Node 0, zone DMA: managed`, or `nodes[0].zones.DMA.managed`.
    pub fn field(mut self, field: impl Into<String>) -> ImportError {
        self.place.field = clip(&field.into(), 120);
        self
    }

    /// Adds a sentence that says what to try.
    pub fn advise(mut self, advice: impl Into<String>) -> ImportError {
        self.advice = advice.into().into();
        self
    }

    /// Names the folder that the file lies in, when only the file's own name is known.
    pub fn inside(mut self, folder: &Path) -> ImportError {
        if !self.place.file.contains(['/', '\\']) {
            self.place.file = clip(&folder.join(&self.place.file).display().to_string(), 400);
        }
        self
    }

    /// The file it was found in.
    pub fn file(&self) -> &str {
        &self.place.file
    }

    /// The line, when one line is to blame; the first is 1.
    pub fn line(&self) -> Option<usize> {
        self.place.line
    }

    /// What is wrong, without place and advice.
    pub fn problem(&self) -> &str {
        &self.problem
    }

    /// What to try.
    pub fn advice(&self) -> &str {
        &self.advice
    }

    /// The field, when one field is to blame.
    pub fn field_name(&self) -> &str {
        &self.place.field
    }
}

/// `FILE:LINE:COLUMN: FIELD: PROBLEM`, the line with a caret, and the advice.
impl fmt::Display for ImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place.file)?;
        if let Some(line) = self.place.line {
            write!(f, ":{line}")?;
            if let Some(column) = self.place.column {
                write!(f, ":{column}")?;
            }
        }
        if !self.place.field.is_empty() {
            write!(f, ": {}", self.place.field)?;
        }
        write!(f, ": {}", self.problem)?;
        if let (Some(line), false) = (self.place.line, self.place.snippet.trim().is_empty()) {
            write!(f, "\n{line:>5} | {}", self.place.snippet)?;
            if let Some(column) = self.place.column {
                write!(f, "\n      | {:>column$}", "^")?;
            }
        }
        write!(f, "\n  help: {}", self.advice)
    }
}

impl std::error::Error for ImportError {}

/// Foreign text as a message can show it: no control characters, and not without end.
fn clip(text: &str, width: usize) -> String {
    let text = text.trim_end();
    let mut shown: String = text.chars().take(width).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(width).is_some() {
        shown.push('…');
    }
    shown
}

/// The known word nearest to `word`, when it is near enough to be meant: for *did you mean*.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A paste of a thousand letters is no misspelling, and its distance would be slow to compute.
    if word.chars().count() > 64 {
        return None;
    }
    let lower = word.to_lowercase();
    // The beginning of a word is it, cut short (`mem` for `memory` as well).
    let begins = |k: &str| lower.len() > 2 && k.len() > 2 && (k.starts_with(&lower) || lower.starts_with(k));
    let score = |k: &str| if begins(k) { 1 } else { distance(&lower, k) };
    let scored = known.into_iter().map(|k| (score(&k.to_lowercase()), k));
    let (steps, best) = scored.min_by_key(|&(steps, _)| steps)?;
    (steps <= 1 + word.len() / 4).then_some(best)
}

/// How many letters must be changed, added or taken away (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &cb) in b.iter().enumerate() {
            let replace = diagonal + usize::from(ca != cb);
            diagonal = row[j + 1];
            row[j + 1] = replace.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_place_number_and_advice() {
        let error = ImportError::new("zoneinfo.txt", "48848 managed pages do not fit 3998 present ones")
            .at(36, "        managed  48848")
            .column(18)
            .field("Node 0, zone DMA: managed")
            .advise("Check that the capture is of one moment.");
        assert_eq!(
            error.to_string(),
            "zoneinfo.txt:36:18: Node 0, zone DMA: managed: 48848 managed pages do not fit 3998 present ones\n   \
             36 |         managed  48848\n      |                  ^\n  \
             help: Check that the capture is of one moment."
        );
        assert!(size_of::<ImportError>() <= 64, "errors are returned by value");
    }

    #[test]
    fn a_misspelling_is_recognised() {
        let names = ["x86_64-1G", "x86_64-256M", "tiny"];
        assert_eq!(nearest("x86-64-1g", names), Some("x86_64-1G"));
        assert_eq!(nearest("tini", names), Some("tiny"));
        assert_eq!(nearest("a toaster", names), None);
        assert_eq!(nearest(&"x".repeat(10_000), names), None);
    }
}
