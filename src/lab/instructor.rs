//! Grading a class: a folder of submissions, each contained, none able to reach another.
//!
//! ```text
//!   submissions/alice/10-watermark-arithmetic.rhai       one folder a student
//!   submissions/bob/labs/32-copy-on-write/my.rhai        or as the student's own labs folder lies
//!   submission/10.rhai                                   or the folder of one student
//! ```

use crate::lab::command::{BUG, Output, Room};
use crate::lab::formats::{self, Format, Graded};
use crate::lab::grade::{self, Eyes, Grade, Submission};
use crate::lab::library::{self, Lab};
use std::path::{Path, PathBuf};

/// How deep a submission's folders are searched.
const DEPTH: usize = 6;
/// Files of one submission that are looked at.
const FILES: usize = 10_000;

/// Which seeds are tried, where the lab's own are not.
#[derive(Clone, Copy, Debug, Default)]
pub struct Dice {
    /// The first one; without it, the one after the student's.
    pub first: Option<u64>,
    /// How many; without it, as the lab says.
    pub count: Option<u64>,
}

/// Grades a folder of submissions.
///
/// # Errors
/// Usage: no such folder, no such lab, a result that cannot be written.
pub fn grade(
    room: &Room,
    folder: &Path,
    labs: &[String],
    dice: Dice,
    shard: Option<&str>,
    output: &Output,
) -> Result<u8, String> {
    if !folder.is_dir() {
        return Err(format!("error: {} is no folder", folder.display()));
    }
    let labs: Vec<&Lab> = match labs {
        [] => room.library.labs.iter().collect(),
        names => names.iter().map(|name| room.library.find(name)).collect::<Result<_, _>>()?,
    };
    let (students, alone) = students(folder, &labs);
    let students = shard_of(students, shard)?;
    if !alone && let Some(out) = &output.out {
        std::fs::create_dir_all(out).map_err(|why| format!("error: {}: {why}", out.display()))?;
    }
    let (mut status, mut full) = (0, true);
    for (who, home) in &students {
        let mut grades = Vec::new();
        for lab in &labs {
            let grade = one(lab, home, dice).unwrap_or_else(|broken| {
                room.out.complaint(&format!("{who}: {broken}"));
                status = BUG;
                Grade::nothing(lab, &broken)
            });
            full &= grade.is_full();
            grades.push((*lab, grade));
        }
        let graded: Vec<Graded> = grades.iter().map(|(lab, grade)| Graded { lab, grade }).collect();
        let name = if alone { "" } else { who };
        if alone || (output.out.is_none() && output.format != Format::Text) {
            room.deliver(output, &formats::write(output.format, name, &graded))?;
            continue;
        }
        if let Some(out) = &output.out {
            let file = out.join(format!("{who}.{}", formats::extension(output.format)));
            let text = formats::write(output.format, name, &graded);
            std::fs::write(&file, text).map_err(|why| format!("error: {}: {why}", file.display()))?;
        }
        let (earned, points) = formats::total(&graded);
        room.say(&format!("{who:32} {earned:>4}/{points}\n"));
    }
    Ok(if status == 0 { formats::status(output, full || output.out.is_some()) } else { status })
}

/// Grades one lab of one student; `Err` is a bug.
fn one(lab: &Lab, home: &Path, dice: Dice) -> Result<Grade, String> {
    let Some(file) = submitted(lab, home) else { return Ok(Grade::nothing(lab, "nothing was handed in")) };
    let script = match library::read(&file) {
        Ok(script) => script,
        Err(why) => return Ok(Grade::nothing(lab, &why)),
    };
    let own = lab.exercise.seeds;
    let first = dice.first.unwrap_or(own.student.wrapping_add(1));
    let seeds = (0..dice.count.unwrap_or(own.grader).max(1)).map(|n| first.wrapping_add(n));
    let name = file.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let submission = Submission { file: &name, script: &script };
    grade::check_all_seeds(lab, submission, seeds, Eyes::Grader).map_err(|why| why.to_string())
}

/// The students and their folders; `true` when the folder is that of one student.
fn students(folder: &Path, labs: &[&Lab]) -> (Vec<(String, PathBuf)>, bool) {
    let homes: Vec<(String, PathBuf)> =
        library::entries(folder).into_iter().filter(|(_, path)| is_folder(path)).collect();
    // Something of a lab lies here, not one folder deeper: it is one student's.
    let is_lab = |name: &str| labs.iter().any(|lab| belongs(lab, name) || name == "labs");
    let here = library::entries(folder)
        .iter()
        .any(|(name, path)| is_lab(name) || (path.is_file() && name.ends_with(".rhai")));
    if here || homes.is_empty() {
        return (vec![(String::new(), folder.to_path_buf())], true);
    }
    (homes, false)
}

fn shard_of(students: Vec<(String, PathBuf)>, shard: Option<&str>) -> Result<Vec<(String, PathBuf)>, String> {
    let Some(shard) = shard else { return Ok(students) };
    let parts =
        shard.split_once('/').and_then(|(i, n)| Some((i.parse::<usize>().ok()?, n.parse::<usize>().ok()?)));
    match parts {
        Some((i, n)) if (1..=n).contains(&i) => {
            Ok(students.into_iter().enumerate().filter(|(at, _)| at % n == i - 1).map(|(_, s)| s).collect())
        }
        _ => Err(format!("error: --shard {shard}: a part and their number are expected, 1/4 to 4/4")),
    }
}

/// The file a student handed in for a lab.
fn submitted(lab: &Lab, home: &Path) -> Option<PathBuf> {
    let mut folders = vec![(home.to_path_buf(), 0)];
    let mut seen = 0;
    while let Some((folder, depth)) = folders.pop() {
        for (name, path) in library::entries(&folder) {
            seen += 1;
            if seen > FILES {
                return None;
            }
            if is_folder(&path) {
                let work = path.join(library::WORK);
                if belongs(lab, &name) && is_file(&work) {
                    return Some(work);
                }
                if depth < DEPTH {
                    folders.push((path, depth + 1));
                }
            } else if name.strip_suffix(".rhai").is_some_and(|stem| belongs(lab, stem)) && is_file(&path) {
                return Some(path);
            }
        }
    }
    None
}

/// Is this name the lab's?
fn belongs(lab: &Lab, name: &str) -> bool {
    name == lab.name
        || name == lab.slug()
        || name == lab.number()
        || name == lab.number().trim_start_matches('0')
}

/// A folder, and no link: a submission does not lead out of itself.
fn is_folder(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|data| data.is_dir())
}

fn is_file(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|data| data.is_file())
}
