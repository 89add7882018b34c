//! What a lab is: the file `lab.yaml`, read strictly.
//!
//! ```yaml
//! title: One page, ten splits
//! chapter: 3
//! kind: predict               # predict | cause | diagnose
//! minutes: 10
//! points: 10                  # the sum over all goals
//! story: …                    # what the student reads first
//! machine: tiny               # a shipped machine
//! seeds: { student: 1, grader: 20 }
//! given: '#{ order: random(10) }'     # numbers that depend on the seed, as the constant `given`
//! answers: [{ name: splits, is: int, what: how often a block is halved }]
//! experiment: let p = alloc_pages(GFP_KERNEL, given.order);
//! goals:
//!   - name: the splits are counted
//!     that: splits == vmstat("mm_buddy_split")
//!     points: 10
//!     else: A block was halved ${vmstat("mm_buddy_split")} times; you said ${splits}.
//! hints: [A nudge., Nearly the answer., "See 'Splitting' in chapter 3."]
//! lesson: …                   # what the student reads last
//! ```
//!
//! A goal is a script expression over the machine, its counters and its events: the grader has no vocabulary of
//! its own.

use crate::import::{ImportError, nearest};
use serde::Deserialize;

/// A lab's `lab.yaml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exercise {
    /// A few words.
    pub title: String,
    /// The chapter of the book it belongs to.
    pub chapter: u32,
    /// What the student does.
    pub kind: Kind,
    /// How long it takes.
    pub minutes: u32,
    /// The sum of the points of all goals.
    pub points: u32,
    /// The task.
    pub story: String,
    /// A shipped machine.
    pub machine: String,
    /// Which dice the student and the grader throw.
    #[serde(default)]
    pub seeds: Seeds,
    /// Hot events to record: `kmem:*`.
    #[serde(default)]
    pub trace: Option<String>,
    /// A script that brings the machine into its state before the student comes; it may boot another one, of a size
    /// that depends on the seed.
    #[serde(default)]
    pub setup: String,
    /// An expression whose map the student finds as `given`.
    #[serde(default)]
    pub given: String,
    /// Variables the student's script must set.
    #[serde(default)]
    pub answers: Vec<Answer>,
    /// A script that runs after the student's; its variables are seen by the goals.
    #[serde(default)]
    pub experiment: String,
    /// What has to be true at the end.
    pub goals: Vec<Goal>,
    /// What the student's script may use up.
    #[serde(default)]
    pub budget: Budget,
    /// From a nudge to nearly the answer; the last names a section of the book.
    pub hints: Vec<String>,
    /// What was shown, and the kernel's name for it.
    pub lesson: String,
}

/// What a student does in a lab.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Writes down numbers before the machine moves; the script may look at everything and change nothing.
    Predict,
    /// Brings the machine into a state.
    Cause,
    /// Finds out what is wrong with a machine in trouble, or mends it.
    Diagnose,
}

impl Kind {
    /// As it is written in `lab.yaml`.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Predict => "predict",
            Kind::Cause => "cause",
            Kind::Diagnose => "diagnose",
        }
    }
}

/// Which dice are thrown.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seeds {
    /// The seed of a student's check.
    #[serde(default = "one")]
    pub student: u64,
    /// How many others a grader tries.
    #[serde(default = "twenty")]
    pub grader: u64,
}

fn one() -> u64 {
    1
}

fn twenty() -> u64 {
    20
}

impl Default for Seeds {
    fn default() -> Seeds {
        Seeds { student: one(), grader: twenty() }
    }
}

impl Seeds {
    /// The grader's seeds, for a student whose own seed is `own`: never that one.
    pub fn others(self, own: u64) -> impl Iterator<Item = u64> {
        (1..=self.grader).map(move |n| own.wrapping_add(n))
    }
}

/// A variable the student's script must set.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// Its name.
    pub name: String,
    /// The type of its value.
    pub is: Shape,
    /// What it says.
    pub what: String,
}

/// The type of an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Shape {
    Int,
    Float,
    Bool,
    String,
    Addr,
    Array,
    Map,
}

/// Something that has to be true at the end.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Goal {
    /// What the report calls it; without one, the condition itself.
    #[serde(default)]
    pub name: String,
    /// The condition, as script.
    pub that: String,
    /// What it is worth.
    pub points: u32,
    /// Why it failed, with `${…}`.
    #[serde(rename = "else")]
    pub otherwise: String,
    /// Points for half the way: an expression that answers how many.
    #[serde(default)]
    pub partial: String,
    /// How much a failure tells.
    #[serde(default)]
    pub reveal: Reveal,
    /// Only the grader looks at it.
    #[serde(default)]
    pub hidden: bool,
}

impl Goal {
    /// What the report calls it.
    pub fn title(&self) -> &str {
        if self.name.is_empty() { &self.that } else { &self.name }
    }
}

/// How much a failed goal tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reveal {
    /// The sentence, the line of the script, and the condition.
    Full,
    /// The sentence, and the line of the script.
    #[default]
    Actual,
    /// Only its name.
    Name,
}

/// What the student's script may use up; what is not said is not counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// Steps of the interpreter.
    #[serde(default)]
    pub operations: Option<u64>,
    /// Page frames taken from the allocator.
    #[serde(default)]
    pub pages: Option<u64>,
    /// Page faults.
    #[serde(default)]
    pub faults: Option<u64>,
    /// Virtual milliseconds.
    #[serde(default)]
    pub ms: Option<u64>,
}

impl Exercise {
    /// Reads a `lab.yaml`; `file` is named in errors.
    ///
    /// # Errors
    /// When it is no lab, with place and advice.
    pub fn read(file: &str, text: &str) -> Result<Exercise, ImportError> {
        serde_yaml::from_str(text).map_err(|error| not_a_lab(file, text, &error))
    }

    /// The variables a script must set, as `kernel, atomic and memalloc`.
    pub fn answer(&self, name: &str) -> Option<&Answer> {
        self.answers.iter().find(|answer| answer.name == name)
    }
}

/// A complaint of the YAML reader, with the line it is about and what to try.
fn not_a_lab(file: &str, text: &str, error: &serde_yaml::Error) -> ImportError {
    let message = error.to_string();
    let problem = message.split(" at line ").next().unwrap_or(&message).replace("struct Exercise", "a lab");
    let advice = advice(&problem);
    let found = ImportError::new(file, problem.replace("struct ", "")).advise(advice);
    match error.location() {
        Some(place) => {
            let line = text.lines().nth(place.line().saturating_sub(1)).unwrap_or("");
            found.at(place.line(), line).column(place.column())
        }
        None => found,
    }
}

fn advice(problem: &str) -> String {
    let mut quoted = problem.split('`').skip(1).step_by(2);
    if problem.contains("unknown field") || problem.contains("unknown variant") {
        let word = quoted.next().unwrap_or_default();
        let known: Vec<&str> = quoted.collect();
        return match nearest(word, known.iter().copied()) {
            Some(meant) => format!("Did you mean `{meant}`?"),
            None => format!("It may be one of {}.", known.join(", ")),
        };
    }
    if problem.contains("missing field") {
        return format!(
            "Add the key `{}:`; `vmlab lab dev new` shows all of them.",
            quoted.next().unwrap_or("…")
        );
    }
    "A value that holds `: ` or starts with `#` or `${` is put in quotes; a script of several lines follows `|`.".into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = "title: t\nchapter: 3\nkind: cause\nminutes: 5\npoints: 1\nstory: s\nmachine: tiny\n\
                         goals: [{ that: 'true', points: 1, else: e }]\nhints: [h]\nlesson: l\n";

    #[test]
    fn the_least_lab_has_defaults() {
        let lab = Exercise::read("lab.yaml", SMALL).unwrap();
        assert_eq!((lab.seeds.student, lab.seeds.grader), (1, 20));
        assert_eq!(lab.goals[0].title(), "true");
        assert!(lab.seeds.others(1).eq(2..=21));
    }

    #[test]
    fn a_misspelled_key_is_recognised() {
        let error = Exercise::read("lab.yaml", &SMALL.replace("chapter", "chaptre")).unwrap_err().to_string();
        assert!(error.starts_with("lab.yaml:2:"), "{error}");
        assert!(error.contains("Did you mean `chapter`?"), "{error}");
        let error = Exercise::read("lab.yaml", &SMALL.replace("lesson: l\n", "")).unwrap_err().to_string();
        assert!(error.contains("Add the key `lesson:`"), "{error}");
    }
}
