//! What a student does with labs beside checking: list, start, hint, solution, reset.

use crate::lab::command::{FAILED, Room};
use crate::lab::library::Lab;
use crate::lab::progress::{Mark, Progress};
use crate::lab::report;
use crate::lab::trial::Stage;
use crate::script::args::Address;
use rhai::Dynamic;
use serde_json::json;
use std::path::Path;

/// Lists the labs with the student's points.
///
/// # Errors
/// Usage.
pub fn list(room: &Room) -> Result<u8, String> {
    let progress = progress(room);
    let labs = &room.library.labs;
    if room.json {
        let rows: Vec<_> = labs.iter().map(|lab| row(lab, progress.of(&lab.name))).collect();
        let next = upcoming(room, &progress).map(|lab| lab.name.clone());
        room.say(&format!("{}\n", json!({ "schema": 1, "labs": rows, "next": next })));
        return Ok(0);
    }
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

/// A lab of the list, for programs.
fn row(lab: &Lab, mark: Mark) -> serde_json::Value {
    let exercise = &lab.exercise;
    json!({
        "name": lab.name,
        "number": lab.number(),
        "title": exercise.title,
        "kind": exercise.kind.name(),
        "chapter": exercise.chapter,
        "minutes": exercise.minutes,
        "points": exercise.points,
        "earned": mark.best.min(exercise.points),
        "passed": mark.passed,
        "begun": lab.work().is_file(),
    })
}

/// Shows the next lab that is not passed.
///
/// # Errors
/// Usage.
pub fn next(room: &Room) -> Result<u8, String> {
    let progress = progress(room);
    if room.json {
        let next = upcoming(room, &progress).map(|lab| row(lab, progress.of(&lab.name)));
        room.say(&format!("{}\n", json!({ "schema": 1, "next": next })));
        return Ok(0);
    }
    match upcoming(room, &progress) {
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
    let stage = match Stage::set(lab, lab.exercise.seeds.student) {
        Ok(stage) => stage,
        Err(broken) => return Ok(room.bug(&broken)),
    };
    let machine = stage.bench.borrow().machine.config.name.clone();
    room.say(&report::task(lab, &machine, &given(&stage), room.theme));
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
pub(crate) fn given(stage: &Stage) -> String {
    let shown = |value: &Dynamic| match value.read_lock::<Address>() {
        Some(address) => address.to_string(),
        None => format!("{value:?}"),
    };
    let each = stage.given.iter().map(|(key, value)| format!("given.{key} = {}", shown(value)));
    each.collect::<Vec<_>>().join(", ")
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

pub(crate) fn advice(room: &Room, lab: &Lab) -> String {
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
pub(crate) fn remember(room: &Room, lab: &Lab, change: impl FnOnce(&mut Mark)) -> Mark {
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
