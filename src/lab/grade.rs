//! Grading: a script's run, held against a lab's goals, under one seed or many.
//!
//! A goal is met, or not, or met in part. Under many seeds it is worth what it was worth under the worst of them:
//! a script that knows the numbers of one machine has not understood it.

use crate::lab::answers;
use crate::lab::exercise::{Goal, Reveal};
use crate::lab::library::Lab;
use crate::lab::trial::{Broken, Foul, Trial};
use crate::script::complaint::Complaint;
use crate::shell::session::Session;
use rhai::Dynamic;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What became of one goal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// The goal's name.
    pub name: String,
    /// Is it met?
    pub met: bool,
    /// What it earned.
    pub earned: u32,
    /// What it is worth.
    pub points: u32,
    /// Why it failed, as far as the lab reveals it; lines.
    pub why: Vec<String>,
    /// Is it looked at only by the grader?
    pub hidden: bool,
    /// Virtual nanoseconds since boot when it was looked at.
    pub ns: u64,
    /// Why it could not be looked at: a mistake of the lab's, unless the student left the machine in ruins.
    pub unclear: Option<String>,
}

impl Verdict {
    /// Nothing earned so far.
    fn open(goal: &Goal, ns: u64) -> Verdict {
        Verdict {
            name: goal.title().into(),
            met: false,
            earned: 0,
            points: goal.points,
            why: Vec::new(),
            hidden: goal.hidden,
            ns,
            unclear: None,
        }
    }

    /// A goal that could not be looked at is not met.
    fn unclear(mut self, part: &str, what: &str) -> Verdict {
        self.earned = 0;
        self.why = vec![format!("This could not be looked at: {what}")];
        self.unclear = Some(format!("goal `{}`, {part}: {what}", self.name));
        self
    }
}

/// A graded lab.
#[derive(Clone, Debug)]
pub struct Grade {
    /// The lab's name.
    pub lab: String,
    /// The seed, or the first of them.
    pub seed: u64,
    /// How many seeds were tried.
    pub seeds: u64,
    /// One for every goal that was looked at.
    pub goals: Vec<Verdict>,
    /// Why nothing could be earned.
    pub foul: Option<Foul>,
    /// What the script printed, under the first seed.
    pub printed: String,
    /// Goals that were not looked at.
    pub unseen: usize,
    /// The first seed under which a goal failed that was met under the ones before.
    pub miss: Option<u64>,
}

impl Grade {
    /// The points.
    pub fn score(&self) -> u32 {
        self.goals.iter().map(|goal| goal.earned).sum()
    }

    /// The points there are.
    pub fn points(&self) -> u32 {
        self.goals.iter().map(|goal| goal.points).sum()
    }

    /// What the lab's author should mend.
    pub fn unclear(&self) -> Vec<String> {
        let foul = self.foul.iter().filter(|foul| foul.own).map(|foul| foul.text.clone());
        foul.chain(self.goals.iter().filter_map(|goal| goal.unclear.clone())).collect()
    }

    /// Are all goals met?
    pub fn is_full(&self) -> bool {
        self.foul.is_none() && self.goals.iter().all(|goal| goal.met)
    }

    /// A grade of nothing, for a lab nobody handed in or that could not be run.
    pub fn nothing(lab: &Lab, why: &str) -> Grade {
        let goals = lab.exercise.goals.iter().map(|goal| Verdict::open(goal, 0));
        Grade {
            lab: lab.name.clone(),
            seed: lab.exercise.seeds.student,
            seeds: 0,
            goals: goals.collect(),
            foul: Some(Foul { text: why.into(), line: None, own: false }),
            printed: String::new(),
            unseen: 0,
            miss: None,
        }
    }
}

/// Which goals are looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Eyes {
    /// Those a student may see.
    Student,
    /// All of them.
    Grader,
}

/// A student's script.
#[derive(Clone, Copy, Debug)]
pub struct Submission<'a> {
    /// As complaints call it.
    pub file: &'a str,
    /// The text.
    pub script: &'a str,
}

/// Runs a script under one seed and looks at the goals.
///
/// # Errors
/// When the lab is wrong, or vmlab is.
pub fn check(lab: &Lab, work: Submission, seed: u64, eyes: Eyes) -> Result<Grade, Broken> {
    // A bug met by one submission must not take the others with it; the panic's own text is on standard error.
    let graded = catch_unwind(AssertUnwindSafe(|| contained(lab, work, seed, eyes)));
    graded.unwrap_or_else(|_| Err(Broken(format!("{}: vmlab has a bug; see above", lab.name))))
}

fn contained(lab: &Lab, work: Submission, seed: u64, eyes: Eyes) -> Result<Grade, Broken> {
    let mut trial = Trial::run(lab, seed, work.file, work.script)?;
    let looked_at = |goal: &&Goal| eyes == Eyes::Grader || !goal.hidden;
    let mut goals = Vec::new();
    for goal in lab.exercise.goals.iter().filter(looked_at) {
        goals.push(judge(goal, &mut trial, work));
    }
    let unseen = lab.exercise.goals.len() - goals.len();
    let Trial { foul, printed, .. } = trial;
    Ok(Grade { lab: lab.name.clone(), seed, seeds: 1, goals, foul, printed, unseen, miss: None })
}

/// Runs a script under several seeds; every goal is worth its worst result.
///
/// # Errors
/// As [`check`].
pub fn check_all_seeds(
    lab: &Lab,
    work: Submission,
    seeds: impl IntoIterator<Item = u64>,
    eyes: Eyes,
) -> Result<Grade, Broken> {
    let mut seeds = seeds.into_iter();
    let mut worst = check(lab, work, seeds.next().unwrap_or(lab.exercise.seeds.student), eyes)?;
    for seed in seeds {
        if worst.score() == 0 {
            break;
        }
        worst.seeds += 1;
        let next = check(lab, work, seed, eyes)?;
        for (kept, new) in worst.goals.iter_mut().zip(next.goals) {
            if new.earned < kept.earned || (kept.met && !new.met) {
                worst.miss.get_or_insert(seed);
                *kept = Verdict { why: under(seed, new.why), ..new };
            }
        }
        if worst.foul.is_none() {
            worst.foul =
                next.foul.map(|foul| Foul { text: format!("Under seed {seed}: {}", foul.text), ..foul });
        }
    }
    Ok(worst)
}

fn under(seed: u64, mut why: Vec<String>) -> Vec<String> {
    if let Some(first) = why.first_mut() {
        first.insert_str(0, &format!("Under seed {seed}: "));
    }
    why
}

/// Looks at one goal.
fn judge(goal: &Goal, trial: &mut Trial, work: Submission) -> Verdict {
    let ns = trial.author.bench.borrow().machine.clock;
    let mut verdict = Verdict::open(goal, ns);
    if trial.foul.is_some() {
        return verdict;
    }
    // A goal about something that was not answered cannot be looked at.
    let asked: Vec<&str> =
        trial.answers.keys().map(String::as_str).filter(|name| mentions(&goal.that, name)).collect();
    let missing = asked.iter().find_map(|name| trial.answers[*name].as_ref().err().cloned());
    if let Some(missing) = missing {
        verdict.why = vec![missing];
        return verdict;
    }
    verdict.met = match evaluate(&mut trial.author, &goal.that) {
        Ok(value) if value.is_bool() => value.as_bool() == Ok(true),
        // What the student answered, or made of the machine, may be more than the goal was written for.
        Ok(other) => {
            return verdict.unclear("that", &format!("true or false is needed, not {}", other.type_name()));
        }
        Err(why) => return verdict.unclear("that", &why.what),
    };
    if verdict.met {
        verdict.earned = goal.points;
        return verdict;
    }
    if !goal.partial.is_empty() {
        match evaluate(&mut trial.author, &goal.partial).map(|points| points.as_int()) {
            // All the points are for those who meet the goal.
            Ok(Ok(points)) => {
                let points = u32::try_from(points.max(0)).unwrap_or(u32::MAX);
                verdict.earned = points.min(goal.points.saturating_sub(1));
            }
            Ok(Err(kind)) => return verdict.unclear("partial", &format!("an int is needed, not {kind}")),
            Err(why) => return verdict.unclear("partial", &why.what),
        }
    }
    if goal.reveal == Reveal::Name {
        return verdict;
    }
    match evaluate(&mut trial.author, &template(&goal.otherwise)) {
        Ok(sentence) => {
            verdict.why = sentence.to_string().trim_end().lines().map(String::from).collect();
        }
        Err(why) => return verdict.unclear("else", &why.what),
    }
    for name in asked {
        if let Some((line, text)) = answers::line_of(work.script, name) {
            let text: String = text.trim().chars().take(100).collect();
            verdict.why.push(format!("{}:{line}: {text}", work.file));
        }
    }
    if goal.reveal == Reveal::Full {
        verdict.why.push(format!("wanted: {}", goal.that.trim()));
    }
    verdict
}

fn evaluate(author: &mut Session, text: &str) -> Result<Dynamic, Complaint> {
    author.interpreter.run("goal", text)
}

/// A sentence with `${…}` as a string of the language.
fn template(sentence: &str) -> String {
    format!("`{}`", sentence.trim_end().replace('`', "``"))
}

/// Does a script mention a name?
fn mentions(script: &str, name: &str) -> bool {
    script.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == name)
}
