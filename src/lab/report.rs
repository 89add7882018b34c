//! A grade as a student reads it, in the manner of gradelib.
//!
//! ```text
//!   == 10 watermark-arithmetic ==
//!     GFP_KERNEL has to reclaim: OK (0.0s)
//!     GFP_ATOMIC is refused: FAIL
//!       You said 590; the machine refused at 556.
//!       my.rhai:12: let atomic = kernel / 2;
//!   Score: 6/10
//! ```
//!
//! The seconds are the machine's own: the same script has the same report everywhere.

use crate::lab::exercise::Exercise;
use crate::lab::grade::{Grade, Verdict};
use crate::lab::library::Lab;
use crate::shell::theme::Theme;

/// How wide sentences are set.
const WIDTH: usize = 96;
/// Lines of the script's own output that are shown.
const PRINTED: usize = 20;

/// The report of one lab, without its score.
pub fn goals(lab: &Lab, grade: &Grade, theme: Theme) -> String {
    let mut text = format!("{}\n", theme.heading(&format!("== {} {} ==", lab.number(), lab.slug())));
    text.push_str(&printed(&grade.printed, theme));
    if let Some(foul) = &grade.foul {
        text.push_str(&format!("  your script: {}\n", theme.error("FAIL")));
        text.push_str(&indented(&foul.text, 4));
    }
    for goal in &grade.goals {
        text.push_str(&verdict(goal, grade, theme));
    }
    text
}

fn verdict(goal: &Verdict, grade: &Grade, theme: Theme) -> String {
    let seconds = goal.ns as f64 / 1e9;
    if goal.met {
        return format!("  {}: {} ({seconds:.1}s)\n", goal.name, theme.literal("OK"));
    }
    if grade.foul.is_some() && goal.why.is_empty() {
        return format!("  {}: {}\n", goal.name, theme.faint("not looked at"));
    }
    let part =
        if goal.earned > 0 { format!(", {} of {} points", goal.earned, goal.points) } else { String::new() };
    let mut text = format!("  {}: {} ({seconds:.1}s{part})\n", goal.name, theme.error("FAIL"));
    for line in &goal.why {
        text.push_str(&indented(line, 4));
    }
    text
}

/// `Score: 8/10`.
pub fn score(earned: u32, points: u32) -> String {
    format!("Score: {earned}/{points}\n")
}

/// What the script printed: it helps its author, and earns nothing.
fn printed(text: &str, theme: Theme) -> String {
    let mut shown = String::new();
    let count = text.lines().count();
    for line in text.lines().take(PRINTED) {
        let line: String = line.chars().filter(|c| !c.is_control()).take(200).collect();
        shown.push_str(&theme.faint(&format!("  | {line}")));
        shown.push('\n');
    }
    if count > PRINTED {
        shown.push_str(&theme.faint(&format!("  | … {} more lines", count - PRINTED)));
        shown.push('\n');
    }
    shown
}

/// The task, as `lab start` shows it; `setup` may have booted another machine than the one `lab.yaml` names.
pub fn task(lab: &Lab, machine: &str, given: &[String], theme: Theme) -> String {
    let Exercise { title, chapter, kind, minutes, points, story, answers, .. } = &lab.exercise;
    let mut text = theme.heading(&format!("== {} {title} ==", lab.number()));
    text.push_str(&format!(
        "\n{} · chapter {chapter} · {minutes} minutes · {points} points · machine {machine}\n\n",
        kind.name()
    ));
    text.push_str(story.trim_end());
    text.push('\n');
    if !given.is_empty() {
        text.push_str(&format!("\ngiven, on your machine{}", self::given(given)));
    }
    if !answers.is_empty() {
        text.push_str("\nyour script sets\n");
    }
    let width = answers.iter().map(|answer| answer.name.chars().count()).max().unwrap_or(0);
    for answer in answers {
        let name = format!("{:width$}", answer.name);
        text.push_str(&format!("  {}   {} ({})\n", theme.known(&name), answer.what, answer.is.name()));
    }
    text
}

/// Given numbers behind a line of text: on the same line if they fit there, else each on lines of its own.
pub fn given(each: &[String]) -> String {
    let line = each.join(", ");
    if each.is_empty() {
        return "\n".into();
    }
    if line.chars().count() <= 2 * WIDTH / 3 {
        return format!(": {line}\n");
    }
    let set = each.iter().map(|text| indented(text, 2).replace("\n  ", "\n      "));
    format!(":\n{}", set.collect::<String>())
}

/// What was shown, after passing.
pub fn lesson(exercise: &Exercise, theme: Theme) -> String {
    let mut text = format!("\n{}\n", theme.heading("What you saw"));
    for line in exercise.lesson.trim_end().lines() {
        text.push_str(format!("  {line}").trim_end());
        text.push('\n');
    }
    text
}

/// Text, each of its lines set to a width behind a margin.
pub fn indented(text: &str, margin: usize) -> String {
    let space = " ".repeat(margin);
    let mut set = String::new();
    for line in text.lines() {
        let indent: String = line.chars().take_while(|c| *c == ' ').collect();
        let mut column = 0;
        // What is indented already is a picture or a piece of script: it stays as it is.
        if !indent.is_empty() || line.chars().count() + margin <= WIDTH {
            set.push_str(format!("{space}{line}").trim_end());
            set.push('\n');
            continue;
        }
        for word in line.split_whitespace() {
            let length = word.chars().count();
            if column == 0 {
                set.push_str(&space);
            } else if margin + column + 1 + length > WIDTH {
                set.push_str(&format!("\n{space}"));
                column = 0;
            } else {
                set.push(' ');
                column += 1;
            }
            set.push_str(word);
            column += length;
        }
        set.push('\n');
    }
    set
}

/// Text for a terminal of this width: paragraphs with a line that is too long are set anew.
///
/// Tables, pictures and pieces of script stay as they are: lines that are indented or have columns.
pub fn fitted(text: &str, width: usize) -> String {
    let mut set = String::new();
    let mut lines = text.split_inclusive('\n').peekable();
    while let Some(line) = lines.next() {
        if seen(line.trim_end()) <= width || !flows(line) {
            set.push_str(line);
            continue;
        }
        // The rest of the paragraph flows with it: a line of its own for what hangs over would be ragged.
        let mut paragraph = line.trim_end().to_string();
        let mut ended = line.ends_with('\n');
        while let Some(next) = lines.next_if(|next| ended && flows(next)) {
            paragraph.push(' ');
            paragraph.push_str(next.trim_end());
            ended = next.ends_with('\n');
        }
        let mut column = 0;
        for word in paragraph.split(' ') {
            let length = seen(word);
            if column > 0 && column + 1 + length > width {
                set.push('\n');
                column = 0;
            } else if column > 0 {
                set.push(' ');
                column += 1;
            }
            set.push_str(word);
            column += length;
        }
        if ended {
            set.push('\n');
        }
    }
    set
}

/// Is it a line of prose?
fn flows(line: &str) -> bool {
    let text = line.trim_end();
    !text.is_empty() && !text.starts_with([' ', '=', '·', '✓', '●', '|']) && !text.contains("  ")
}

/// Columns that a text takes: colours take none.
fn seen(text: &str) -> usize {
    let mut columns = 0;
    let mut escaped = false;
    for c in text.chars() {
        match (escaped, c) {
            (false, '\u{1b}') => escaped = true,
            (false, _) => columns += 1,
            (true, 'm') => escaped = false,
            (true, _) => {}
        }
    }
    columns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_are_set_and_pictures_are_not() {
        let long = "word ".repeat(30);
        let set = indented(&format!("{long}\n  --> my.rhai:3\n"), 4);
        assert_eq!(set.lines().count(), 3);
        assert!(set.lines().all(|line| line.starts_with("    ") && line.len() <= WIDTH));
        assert!(set.ends_with("      --> my.rhai:3\n"));
    }

    #[test]
    fn paragraphs_fit_the_terminal_and_tables_stay() {
        let story =
            format!("{0}\n{0}\n\n  let p = {1};\n01  tiny  {1}\n", "word ".repeat(20).trim(), "x".repeat(90));
        let set = fitted(&story, 60);
        let prose: Vec<&str> = set.lines().take_while(|line| !line.is_empty()).collect();
        assert_eq!(prose.len(), 4, "{set}");
        assert!(prose[..3].iter().all(|line| line.len() == 59), "{set}");
        assert!(set.ends_with(story.split_once("\n\n").unwrap().1));
        assert_eq!(fitted(&story, 120), story);
        assert_eq!(seen("\u{1b}[1mbold\u{1b}[0m"), 4);
    }

    #[test]
    fn what_a_script_prints_cannot_look_like_a_score() {
        let text = printed("Score: 10/10\n\u{1b}[2Jx", Theme::PLAIN);
        assert_eq!(text, "  | Score: 10/10\n  | [2Jx\n");
    }
}
