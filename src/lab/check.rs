//! Checking: the student's file on the lab's machine, under the student's seed and then under others.

use crate::lab::command::{FAILED, Output, Room};
use crate::lab::formats::{self, Format, Graded};
use crate::lab::grade::{self, Eyes, Grade, Submission};
use crate::lab::library::{self, Lab, WORK};
use crate::lab::report;
use crate::lab::student::{advice, chosen, progress, remember, upcoming};
use crate::lab::trial::Broken;
use std::path::Path;

/// Runs the student's file and looks at the goals.
///
/// # Errors
/// When there is no such lab or file.
pub fn check(
    room: &Room,
    asked: Option<&str>,
    file: Option<&Path>,
    seed: Option<u64>,
    output: &Output,
) -> Result<u8, String> {
    let lab = chosen(room, asked)?;
    let work = file.map_or_else(|| lab.work(), Path::to_path_buf);
    if file.is_none() && !work.is_file() {
        let (call, number) = (room.call, lab.number());
        return Err(format!(
            "error: {} is not there\n  help: `{call} start {number}` makes it",
            work.display()
        ));
    }
    let script = library::read(&work)?;
    let name = work.file_name().map_or_else(|| WORK.to_string(), |name| name.to_string_lossy().into_owned());
    let submission = Submission { file: &name, script: &script };
    let mine = match grade::check(lab, submission, seed.unwrap_or(lab.exercise.seeds.student), Eyes::Student)
    {
        Ok(grade) => grade,
        Err(broken) => return internal(room, lab, &broken, output),
    };
    // Numbers of one machine are not an understanding of all.
    let others = match seed {
        None if mine.is_full() && lab.exercise.seeds.grader > 0 => {
            let seeds = lab.exercise.seeds.others(mine.seed);
            match grade::check_all_seeds(lab, submission, seeds, Eyes::Student) {
                Ok(grade) => Some(grade),
                Err(broken) => return internal(room, lab, &broken, output),
            }
        }
        _ => None,
    };
    let worst = others.as_ref().unwrap_or(&mine);
    let passed = worst.is_full() && seed.is_none();
    let before = remember(room, lab, |mark| {
        mark.checks += 1;
        if seed.is_none() {
            mark.best = mark.best.max(worst.score());
            mark.passed |= passed;
        }
    });
    if output.format != Format::Text {
        let graded = [Graded { lab, grade: worst }];
        room.deliver(output, &formats::write(output.format, "", &graded))?;
        return Ok(formats::status(output, worst.is_full()));
    }
    room.say(&report::goals(lab, &mine, room.theme));
    room.say(&on_others(lab, &mine, others.as_ref(), room));
    room.say(&report::score(worst.score(), mine.points()));
    if mine.unseen > 0 {
        let met = mine.goals.iter().filter(|goal| goal.met).count();
        let all = mine.goals.len();
        room.say(&format!("public checks {met}/{all} passed; {} more run at grading\n", mine.unseen));
    }
    if passed {
        room.say(&report::lesson(&lab.exercise, room.theme));
        let after = upcoming(room, &progress(room));
        room.say(&match after {
            Some(next) => format!("\nnext: {}\n", advice(room, next)),
            None => "\nall labs are passed\n".to_string(),
        });
    } else if !worst.is_full() && before.hints < lab.exercise.hints.len() as u32 {
        room.say(&room.theme.faint(&format!("stuck? {} hint {}\n", room.call, lab.number())));
    }
    Ok(if worst.is_full() { 0 } else { FAILED })
}

/// What became of the same script on other machines.
fn on_others(lab: &Lab, mine: &Grade, others: Option<&Grade>, room: &Room) -> String {
    let Some(others) = others else { return String::new() };
    let count = lab.exercise.seeds.grader;
    if others.is_full() {
        return format!("  {count} other seeds: {}\n", room.theme.literal("OK"));
    }
    let mut text = format!("  {count} other seeds: {}\n", room.theme.error("FAIL"));
    let why: Option<String> = match &others.foul {
        Some(foul) => Some(foul.text.clone()),
        None => others.goals.iter().find(|goal| !goal.met).map(|goal| match goal.why.first() {
            Some(first) if others.miss.is_some() => first.clone(),
            Some(first) => format!("Under seed {}: {first}", others.seed),
            None => goal.name.clone(),
        }),
    };
    text.push_str(&report::indented(&why.unwrap_or_default(), 4));
    let advice = format!(
        "Right on this machine (seed {}), not on others: let the script work the numbers out, from `given` and from the machine.",
        mine.seed
    );
    text.push_str(&report::indented(&advice, 4));
    text
}

/// Checks every lab.
///
/// # Errors
/// When a result cannot be written.
pub fn check_all(room: &Room, output: &Output) -> Result<u8, String> {
    let mut grades = Vec::new();
    let mut status = 0;
    for lab in &room.library.labs {
        let seeds = std::iter::once(lab.exercise.seeds.student)
            .chain(lab.exercise.seeds.others(lab.exercise.seeds.student));
        let grade = match library::read(&lab.work()) {
            Ok(script) => {
                let submission = Submission { file: WORK, script: &script };
                grade::check_all_seeds(lab, submission, seeds, Eyes::Student).unwrap_or_else(|broken| {
                    status = room.bug(&broken);
                    Grade::nothing(lab, &broken.to_string())
                })
            }
            Err(_) => Grade::nothing(lab, &format!("not started: {}", advice(room, lab))),
        };
        if output.format == Format::Text {
            room.say(&report::goals(lab, &grade, room.theme));
        }
        grades.push((lab, grade));
    }
    let full = grades.iter().all(|(_, grade)| grade.is_full());
    let graded: Vec<Graded> = grades.iter().map(|(lab, grade)| Graded { lab, grade }).collect();
    if output.format == Format::Text {
        let (earned, points) = formats::total(&graded);
        room.say(&report::score(earned, points));
    } else {
        room.deliver(output, &formats::write(output.format, "", &graded))?;
    }
    Ok(if status == 0 { formats::status(output, full) } else { status })
}

/// A bug of vmlab or of the lab: it is said, and platforms still get their file.
fn internal(room: &Room, lab: &Lab, broken: &Broken, output: &Output) -> Result<u8, String> {
    if output.format != Format::Text {
        let grade = Grade::nothing(lab, &broken.to_string());
        room.deliver(output, &formats::write(output.format, "", &[Graded { lab, grade: &grade }]))?;
    }
    Ok(room.bug(broken))
}
