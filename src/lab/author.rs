//! For those who write labs: `lab dev check` proves one, `lab dev new` begins one.

use crate::lab::command::{FAILED, Room};
use crate::lab::exercise::{Exercise, Kind};
use crate::lab::grade::{self, Eyes, Grade, Submission};
use crate::lab::library::{self, Lab, Library};
use crate::lab::progress;
use std::path::{Path, PathBuf};

/// What may lie in a lab's folder.
const FILES: [&str; 6] = ["lab.yaml", "start.rhai", "solution.rhai", "wrong", library::WORK, "my.old.rhai"];
/// Hints every lab has.
const HINTS: usize = 3;
/// Wrong answers every lab has.
const WRONG: usize = 2;

/// Proves labs.
///
/// # Errors
/// When a folder holds none.
pub fn check(room: &Room, folder: Option<&Path>) -> Result<u8, String> {
    let labs: Vec<Lab> = match folder {
        None => room.library.labs.clone(),
        Some(folder) if folder.join("lab.yaml").is_file() => {
            let real = folder.canonicalize().map_err(|why| format!("error: {}: {why}", folder.display()))?;
            let name = real.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
            vec![library::read_lab(&name, folder)?]
        }
        Some(folder) => Library::folder(folder)?,
    };
    if labs.is_empty() {
        return Err("error: there is no lab\n  help: a lab is a folder with a lab.yaml; `lab dev new 60-name` makes one".into());
    }
    let mut wrong = 0;
    for lab in &labs {
        let problems = problems(lab);
        wrong += problems.len();
        let seeds = lab.exercise.seeds.grader + 1;
        if problems.is_empty() {
            room.say(&format!(
                "{}: OK ({} points, {seeds} seeds, {} wrong answers)\n",
                lab.name,
                lab.exercise.points,
                lab.wrong.len()
            ));
        } else {
            room.say(&format!("{}: FAIL\n", lab.name));
        }
        for problem in problems {
            room.say(&format!("  {}\n", problem.trim_end().replace('\n', "\n  ")));
        }
    }
    let twice = labs.windows(2).filter(|pair| pair[0].number() == pair[1].number());
    for pair in twice {
        wrong += 1;
        room.say(&format!("{} and {} have the same number\n", pair[0].name, pair[1].name));
    }
    Ok(if wrong == 0 { 0 } else { FAILED })
}

/// Everything that is wrong with a lab.
pub fn problems(lab: &Lab) -> Vec<String> {
    let mut problems = on_paper(lab);
    problems.extend(stray(&lab.folder));
    match running(lab) {
        Ok(found) => problems.extend(found),
        Err(broken) => problems.push(broken),
    }
    problems
}

/// What can be seen without running anything.
fn on_paper(lab: &Lab) -> Vec<String> {
    let exercise: &Exercise = &lab.exercise;
    let mut problems = Vec::new();
    let mut demand = |holds: bool, what: String| {
        if !holds {
            problems.push(what);
        }
    };
    let name_fits = lab.number().len() == 2
        && lab.number().chars().all(|c| c.is_ascii_digit())
        && !lab.slug().is_empty()
        && lab.slug().chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    demand(name_fits, format!("the name {} is not of the form 05-ten-splits", lab.name));
    let sum: u32 = exercise.goals.iter().map(|goal| goal.points).sum();
    demand(sum == exercise.points, format!("points: {} is declared, the goals have {sum}", exercise.points));
    demand(!exercise.goals.is_empty(), "there is no goal".into());
    for text in [("title", &exercise.title), ("story", &exercise.story), ("lesson", &exercise.lesson)] {
        demand(!text.1.trim().is_empty(), format!("{} is empty", text.0));
    }
    for goal in &exercise.goals {
        demand(goal.points > 0, format!("goal `{}` is worth nothing", goal.title()));
        demand(!goal.otherwise.trim().is_empty(), format!("goal `{}` has no `else`", goal.title()));
    }
    demand(
        exercise.kind != Kind::Predict || !exercise.answers.is_empty(),
        "a predict lab asks for `answers`".into(),
    );
    demand(exercise.hints.len() >= HINTS, format!("{} hints; {HINTS} are needed", exercise.hints.len()));
    demand(exercise.hints.iter().all(|hint| !hint.trim().is_empty()), "a hint is empty".into());
    let section = exercise.hints.last().is_some_and(|hint| {
        hint.contains("See '") && hint.contains(&format!("chapter {}", exercise.chapter))
    });
    demand(
        section,
        format!("the last hint does not name a section: See '…' in chapter {}.", exercise.chapter),
    );
    for (function, name) in hidden_parameters(exercise) {
        demand(
            false,
            format!(
                "`{function}` has a parameter {name}, which is an answer's name: inside, it would mean the answer"
            ),
        );
    }
    demand(lab.wrong.len() >= WRONG, format!("{} wrong answers; {WRONG} are needed", lab.wrong.len()));
    problems
}

/// Parameters of the lab's own functions that have the name of an answer or of another constant: the optimizer of the
/// language puts the constant's value in their place.
fn hidden_parameters(exercise: &Exercise) -> Vec<(String, String)> {
    let taken = |name: &str| name == "given" || name == "used" || exercise.answer(name).is_some();
    let scripts = [&exercise.setup, &exercise.given, &exercise.experiment];
    let functions = scripts.into_iter().flat_map(|script| script.lines()).filter_map(|line| {
        let (name, rest) = line.trim().strip_prefix("fn ")?.split_once('(')?;
        Some((name.to_string(), rest.split(')').next()?.to_string()))
    });
    let pairs = functions.flat_map(|(function, list)| {
        let names: Vec<String> = list.split(',').map(|name| name.trim().to_string()).collect();
        names.into_iter().map(move |name| (function.clone(), name))
    });
    pairs.filter(|(_, name)| taken(name)).collect()
}

/// Files that do not belong there.
fn stray(folder: &Path) -> Vec<String> {
    let here = library::entries(folder).into_iter().filter(|(name, _)| !FILES.contains(&name.as_str()));
    let wrong =
        library::entries(&folder.join("wrong")).into_iter().filter(|(name, _)| !name.ends_with(".rhai"));
    here.chain(wrong).map(|(_, path)| format!("stray file {}", path.display())).collect()
}

/// What shows when the scripts run.
fn running(lab: &Lab) -> Result<Vec<String>, String> {
    let mut problems = Vec::new();
    let own = lab.exercise.seeds.student;
    let once = |file: &str, script: &str| {
        grade::check(lab, Submission { file, script }, own, Eyes::Grader).map_err(|why| why.to_string())
    };
    let why = |grade: &Grade| -> String {
        let foul = grade.foul.iter().map(|foul| foul.text.clone());
        let goals = grade.goals.iter().filter(|goal| !goal.met);
        let goals = goals.map(|goal| format!("{}: {}", goal.name, goal.why.join(" ")));
        foul.chain(goals).collect::<Vec<_>>().join("\n")
    };
    let start = once("start.rhai", &lab.start)?;
    if let Some(foul) = &start.foul {
        problems.push(format!("start.rhai does not run: {}", foul.text));
    }
    if start.is_full() {
        problems.push("start.rhai passes already".into());
    }
    let empty = once("empty.rhai", "")?;
    if empty.score() > 0 {
        problems.push(format!("an empty script earns {} points", empty.score()));
    }
    let seeds = || std::iter::once(own).chain(lab.exercise.seeds.others(own));
    let script = Submission { file: "solution.rhai", script: &lab.solution };
    let solution =
        grade::check_all_seeds(lab, script, seeds(), Eyes::Grader).map_err(|why| why.to_string())?;
    if !solution.is_full() {
        problems.push(format!(
            "solution.rhai has {}/{}:\n{}",
            solution.score(),
            solution.points(),
            why(&solution)
        ));
    }
    problems.extend([&start, &empty, &solution].iter().flat_map(|grade| grade.unclear()));
    let mut can_fail: Vec<bool> = start.goals.iter().map(|goal| !goal.met && !goal.why.is_empty()).collect();
    for (name, script) in &lab.wrong {
        // A wrong answer may be right on one machine; it must not be on all.
        let script = Submission { file: &format!("wrong/{name}.rhai"), script };
        let wrong =
            grade::check_all_seeds(lab, script, seeds(), Eyes::Grader).map_err(|why| why.to_string())?;
        if wrong.is_full() {
            problems.push(format!("wrong/{name}.rhai passes"));
        } else if why(&wrong).trim().is_empty() {
            problems.push(format!("wrong/{name}.rhai fails without a sentence"));
        }
        problems.extend(wrong.unclear());
        for (can, goal) in can_fail.iter_mut().zip(&wrong.goals) {
            *can |= !goal.met;
        }
    }
    let never = can_fail.iter().zip(&lab.exercise.goals).filter(|(can, _)| !**can);
    problems.extend(
        never.map(|(_, goal)| format!("goal `{}` is failed by no script that is here", goal.title())),
    );
    Ok(problems)
}

/// Makes the skeleton of a lab.
///
/// # Errors
/// When the name is none, or the folder exists.
pub fn new(room: &Room, name: &str) -> Result<u8, String> {
    let fits = name.split_once('-').is_some_and(|(number, slug)| {
        number.len() == 2
            && number.chars().all(|c| c.is_ascii_digit())
            && !slug.is_empty()
            && slug.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
    });
    if !fits {
        return Err("error: a lab's name is a number of two digits and words: 60-my-lab".into());
    }
    let folder: PathBuf = room.library.root.join(name);
    if folder.exists() {
        return Err(format!("error: {} exists", folder.display()));
    }
    let write = |file: &str, text: &str| {
        std::fs::write(folder.join(file), text).map_err(|why| format!("error: {file}: {why}"))
    };
    std::fs::create_dir_all(folder.join("wrong"))
        .map_err(|why| format!("error: {}: {why}", folder.display()))?;
    write("lab.yaml", YAML)?;
    write(
        "start.rhai",
        "// How many free pages does the machine have after the experiment?\nlet left = ();\n",
    )?;
    write(
        "solution.rhai",
        "// An order is a power of two.\nlet left = nr_free_pages() - (1 << given.order);\n",
    )?;
    write("wrong/one-page.rhai", "let left = nr_free_pages() - 1;\n")?;
    write("wrong/order-as-pages.rhai", "let left = nr_free_pages() - given.order;\n")?;
    room.say(&format!(
        "{} is a lab that passes `{} dev check`: make it yours\n",
        folder.display(),
        room.call
    ));
    let state = progress::FILE;
    room.say(&format!(
        "  lab.yaml  start.rhai  solution.rhai  wrong/     (my.rhai and {state} are the student's)\n"
    ));
    Ok(0)
}

/// A lab that works, so that its parts can be replaced one by one.
const YAML: &str = r#"title: What an order takes
chapter: 3
kind: predict               # predict | cause | diagnose
minutes: 5
points: 10
story: |
  The script takes one block of order `given.order`. How many pages are free afterwards?
  Look at the machine as much as you like (kmem -f), but say it before it happens.
machine: tiny
seeds: { student: 1, grader: 20 }
given: |
  #{ order: 4 + random(4) }
answers:
  - { name: left, is: int, what: free pages of the machine afterwards }
experiment: |
  let p = alloc_pages(GFP_KERNEL, given.order);
goals:
  - name: the rest is counted
    that: left == nr_free_pages()
    points: 10
    partial: if left == nr_free_pages() + (1 << given.order) - given.order { 2 } else { 0 }
    else: "You said ${left}; an order of ${given.order} took ${1 << given.order} pages and left ${nr_free_pages()}."
budget: { operations: 100000 }
hints:
  - Draw the block.
  - Order 1 is two pages, order 2 is four.
  - See 'Blocks and orders' in chapter 3.
lesson: |
  An order is a power of two: alloc_pages(gfp, order) takes 1 << order pages.
"#;
