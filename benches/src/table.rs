//! The table: what was measured, beside what, and whether the goal is met.

use crate::clock::Sample;
use std::fmt;

/// What a row must reach. The floor must hold; ambitious is where we are going.
#[derive(Clone, Copy)]
pub enum Goal {
    /// The anchor takes at least so many times as long.
    Faster { floor: f64, ambitious: f64 },
    /// We take at most so many times as long as the anchor.
    Within { floor: f64, ambitious: f64 },
    /// We need at most so much, whatever the anchor needs.
    AtMost { floor: f64, ambitious: f64 },
    /// Shown beside the others, not judged.
    Context,
}

/// One line of the table.
pub struct Row {
    /// The goal's number.
    pub number: &'static str,
    /// What is measured.
    pub measure: String,
    /// Our figure.
    pub ours: Sample,
    /// What it is compared with.
    pub anchor: &'static str,
    /// The anchor's figure, measured in the same run or a recorded constant.
    pub theirs: Sample,
    /// Nanoseconds, bytes, MiB, ms.
    pub unit: &'static str,
    /// What must be reached.
    pub goal: Goal,
    /// Whether a missed floor fails the run; other rows are shown beside those.
    pub judged: bool,
}

impl Row {
    fn ratio(&self) -> f64 {
        match self.goal {
            Goal::Within { .. } => self.ours.median() / self.theirs.median(),
            _ => self.theirs.median() / self.ours.median(),
        }
    }

    /// Whether the floor holds, and the ambitious goal; `None` when the row is not judged.
    fn reached(&self) -> Option<(bool, bool)> {
        match self.goal {
            Goal::Faster { floor, ambitious } => Some((self.ratio() >= floor, self.ratio() >= ambitious)),
            Goal::Within { floor, ambitious } => Some((self.ratio() <= floor, self.ratio() <= ambitious)),
            Goal::AtMost { floor, ambitious } => {
                Some((self.ours.median() <= floor, self.ours.median() <= ambitious))
            }
            Goal::Context => None,
        }
    }

    /// True when the floor is missed.
    pub fn missed(&self) -> bool {
        self.judged && self.reached().is_some_and(|(floor, _)| !floor)
    }

    fn cells(&self) -> [String; 8] {
        let (floor, ambitious) = match self.goal {
            _ if !self.judged => (String::new(), String::new()),
            Goal::Faster { floor, ambitious } => (format!(">= {floor}x"), format!(">= {ambitious}x")),
            Goal::Within { floor, ambitious } => (format!("<= {floor}x"), format!("<= {ambitious}x")),
            Goal::AtMost { floor, ambitious } => {
                (format!("<= {floor} {}", self.unit), format!("<= {ambitious} {}", self.unit))
            }
            Goal::Context => (String::new(), String::new()),
        };
        let verdict = match self.reached() {
            _ if !self.judged => "",
            None => "",
            Some((false, _)) => "MISSED",
            Some((true, false)) => "ok",
            Some((true, true)) => "ok, ambitious",
        };
        let theirs = match self.theirs.median() {
            nothing if nothing.is_nan() => self.anchor.to_string(),
            _ => format!("{} {} {}", self.anchor, self.theirs, self.unit),
        };
        let ratio = if self.ratio().is_nan() { String::new() } else { format!("{:.2}x", self.ratio()) };
        [
            self.number.to_string(),
            self.measure.clone(),
            format!("{} {}", self.ours, self.unit),
            theirs,
            ratio,
            floor,
            ambitious,
            verdict.to_string(),
        ]
    }
}

/// Every row, aligned.
pub struct Table(pub Vec<Row>);

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const HEADS: [&str; 8] =
            ["row", "measure", "ours", "anchor", "ratio", "floor", "ambitious", "verdict"];
        let mut lines = vec![HEADS.map(String::from)];
        lines.extend(self.0.iter().map(Row::cells));
        let width = |column: usize| lines.iter().map(|l| l[column].chars().count()).max().unwrap_or(0);
        let widths: [usize; 8] = std::array::from_fn(width);
        for line in &lines {
            let cells = line.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
            writeln!(f, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        Ok(())
    }
}
