//! What a student does with labs: list, start, check, hint, solution, reset.

use crate::lab::command::{BUG, FAILED, Output, Room};
use crate::lab::formats::{self, Format, Graded};
use crate::lab::grade::{self, Eyes, Grade, Submission};
use crate::lab::library::{self, Lab, WORK};
use crate::lab::progress::{Mark, Progress};
use crate::lab::report;
use crate::lab::trial::{Broken, Stage};
use std::path::Path;

/// Lists the labs with the student's points.
///
/// # Errors
/// Usage.
pub fn list(room: &Room) -> Result<u8, String> {
    let progress = progress(room);
    let labs = &room.library.labs;
    let (mut earned, mut points) = (0, 0);
    let width = labs.iter().map(|lab| lab.exercise.title.chars().count()).max().unwrap_or(0);
    for lab in labs {
        let (mark, exercise) = (progress.of(&lab.name), &lab.exercise);
        earned += mark.best.min(exercise.points);
        points += exercise.points;
        let sign = if mark.passed {
            room.theme.literal("✓")
        } else if lab.work().is_file() {
            room.theme.hint("●")
        } else {
            room.theme.faint("·")
        };
        room.say(&format!(
            "{sign} {:>2}  {:width$}  {:8}  chapter {:>2}  {:>3} min  {:>2}/{}\n",
            lab.number(),
            exercise.title,
            exercise.kind.name(),
            exercise.chapter,
            exercise.minutes,
            mark.best.min(exercise.points),
            exercise.points
        ));
    }
    room.say(&format!("{earned}/{points} points"));
    match upcoming(room, &progress) {
        Some(lab) => room.say(&format!(" · next: {}\n", advice(room, lab))),
        None => room.say(" · all passed\n"),
    }
    Ok(0)
}

/// Shows the next lab that is not passed.
///
/// # Errors
/// Usage.
pub fn next(room: &Room) -> Result<u8, String> {
    match upcoming(room, &progress(room)) {
        Some(lab) => room.say(&format!("{}  {}\n{}\n", lab.number(), lab.exercise.title, advice(room, lab))),
        None => room.say("all passed\n"),
    }
    Ok(0)
}

/// Shows a lab's task, and makes the student's file if there is none.
///
/// # Errors
/// When there is no such lab, or the file cannot be written.
pub fn start(room: &Room, asked: Option<&str>) -> Result<u8, String> {
    let lab = match asked {
        Some(asked) => room.library.find(asked)?,
        None => match upcoming(room, &progress(room)) {
            Some(lab) => lab,
            None => {
                room.say("all passed\n");
                return Ok(0);
            }
        },
    };
    let given = match given(lab) {
        Ok(given) => given,
        Err(broken) => return Ok(bug(room, &broken)),
    };
    room.say(&report::task(lab, &given, room.theme));
    let (work, call) = (lab.work(), room.call);
    if work.is_file() {
        room.say(&format!(
            "\nyour file is {} as you left it; `{call} reset {}` begins anew\n",
            work.display(),
            lab.number()
        ));
    } else {
        write(&work, &lab.start)?;
        room.say(&format!(
            "\nyour file is {}: edit it, then `{call} check {}`",
            work.display(),
            lab.number()
        ));
        room.say(&format!("; stuck? `{call} hint {}`\n", lab.number()));
    }
    Ok(0)
}

/// The given numbers of a student's machine, as they are written.
fn given(lab: &Lab) -> Result<String, Broken> {
    let stage = Stage::set(lab, lab.exercise.seeds.student)?;
    let each = stage.given.iter().map(|(key, value)| format!("given.{key} = {value:?}"));
    Ok(each.collect::<Vec<_>>().join(", "))
}

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

/// Shows the next hint.
///
/// # Errors
/// When there is no such lab.
pub fn hint(room: &Room, asked: Option<&str>) -> Result<u8, String> {
    let lab = chosen(room, asked)?;
    let hints = &lab.exercise.hints;
    let mark = remember(room, lab, |mark| mark.hints = (mark.hints + 1).min(hints.len() as u32));
    let shown = (mark.hints as usize + 1).min(hints.len());
    // A hint that was seen is read again beside the new one.
    for (at, hint) in hints.iter().enumerate().take(shown) {
        let text = format!("hint {} of {}: {}", at + 1, hints.len(), hint.trim());
        let text = report::indented(&text, 0);
        room.say(&if at + 1 < shown { room.theme.faint(&text) } else { text });
    }
    Ok(0)
}

/// Puts the student's file back to the beginning.
///
/// # Errors
/// When there is no such lab, or the file cannot be written.
pub fn reset(room: &Room, asked: &str) -> Result<u8, String> {
    let lab = room.library.find(asked)?;
    let (work, old) = (lab.work(), lab.folder.join("my.old.rhai"));
    let kept = work.is_file();
    if kept {
        std::fs::rename(&work, &old).map_err(|why| format!("error: {}: {why}", work.display()))?;
    }
    write(&work, &lab.start)?;
    remember(room, lab, |mark| *mark = Mark { best: mark.best, passed: mark.passed, ..Mark::default() });
    room.say(&format!("{} is at its beginning", work.display()));
    room.say(&if kept { format!("; what you had is {}\n", old.display()) } else { "\n".to_string() });
    Ok(0)
}

/// Shows the solution, to those who have passed or give up.
///
/// # Errors
/// When there is no such lab.
pub fn solution(room: &Room, asked: &str, give_up: bool) -> Result<u8, String> {
    let lab = room.library.find(asked)?;
    if !progress(room).of(&lab.name).passed {
        if !give_up {
            let (call, number) = (room.call, lab.number());
            room.out.complaint(&format!(
                "error: lab {number} is not passed yet\n  help: `{call} hint {number}`, or `{call} solution {number} --give-up`"
            ));
            return Ok(FAILED);
        }
        remember(room, lab, |mark| mark.gave_up = true);
    }
    room.say(&lab.solution);
    Ok(0)
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
                    status = bug(room, &broken);
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
    Ok(bug(room, broken))
}

pub(crate) fn bug(room: &Room, broken: &Broken) -> u8 {
    room.out.complaint(&format!("{broken}\n  help: this is not your script's fault; please report it"));
    BUG
}

fn advice(room: &Room, lab: &Lab) -> String {
    let what = if lab.work().is_file() { "check" } else { "start" };
    format!("{} {what} {}", room.call, lab.number())
}

/// The first lab that is not passed.
pub(crate) fn upcoming<'a>(room: &'a Room, progress: &Progress) -> Option<&'a Lab> {
    room.library.labs.iter().find(|lab| !progress.of(&lab.name).passed)
}

/// The lab that is meant; without a name, the first that was started and is not passed.
pub(crate) fn chosen<'a>(room: &'a Room, asked: Option<&str>) -> Result<&'a Lab, String> {
    if let Some(asked) = asked {
        return room.library.find(asked);
    }
    let progress = progress(room);
    let open = room.library.labs.iter().find(|lab| lab.work().is_file() && !progress.of(&lab.name).passed);
    open.ok_or_else(|| format!("error: which lab?\n  help: `{} list` shows them", room.call))
}

pub(crate) fn progress(room: &Room) -> Progress {
    Progress::read(&room.library.root).unwrap_or_else(|why| {
        room.note(&format!("{why}; what was done before is not known"));
        Progress::default()
    })
}

/// Changes what is known of a lab; answers what was known before.
fn remember(room: &Room, lab: &Lab, change: impl FnOnce(&mut Mark)) -> Mark {
    let mut progress = Progress::read(&room.library.root).unwrap_or_default();
    let before = progress.of(&lab.name);
    change(progress.mark(&lab.name));
    if let Err(why) = progress.write(&room.library.root) {
        room.note(&format!("your progress is not kept: {why}"));
    }
    before
}

fn write(file: &Path, text: &str) -> Result<(), String> {
    let say = |why: std::io::Error| format!("error: {}: {why}", file.display());
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder).map_err(say)?;
    }
    std::fs::write(file, text).map_err(say)
}
