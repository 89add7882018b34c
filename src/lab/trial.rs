//! One run of a script on a lab's machine, under one seed.
//!
//! ```text
//!   boot, seed ─► setup ─► given ─► the student's script ─► experiment ─► goals
//!                 author's session     its own session        author's session
//!                                      tight limits           the same machine
//! ```
//!
//! Two sessions sit at one bench: the author's never sees a function, an operator or a variable of the student's,
//! only plain copies of the asked answers. In a *predict* lab the experiment runs on the machine as it was before
//! the student's script, whatever that did.

use crate::import::shipped;
use crate::lab::answers::{self, Answers};
use crate::lab::exercise::Kind;
use crate::lab::library::Lab;
use crate::lab::used::{self, Used};
use crate::mm::Machine;
use crate::script::bench::Bench;
use crate::script::complaint::{Complaint, Kind as Ended};
use crate::script::limits::Limits;
use crate::script::out::Out;
use crate::script::snapshots::Snapshots;
use crate::shell::render;
use crate::shell::session::Session;
use crate::shell::theme::Theme;
use rhai::{Dynamic, Map, Module};
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::Duration;

/// Steps a student's script may take when the lab does not say.
const OPERATIONS: u64 = 20_000_000;
/// The limits of a student's script.
const STUDENT: Limits = Limits {
    operations: OPERATIONS,
    string: 256 << 10,
    array: 64 << 10,
    output: 256 << 10,
    host: false,
    ..Limits::PERSON
};
/// Variables a student's script may have: together with the limits above, what it can hold.
const VARIABLES: usize = 256;
/// The limits of the author's scripts: more, but nothing of the host either.
const AUTHOR: Limits = Limits { host: false, ..Limits::PERSON };
/// A script that is stuck in long calls is ended by the host's clock; nothing else here looks at it.
const PATIENCE: Duration = Duration::from_secs(60);

/// What became of a run.
pub struct Trial {
    /// The author's session, after the experiment.
    pub author: Session,
    /// What the script printed.
    pub printed: String,
    /// What the script answered.
    pub answers: Answers,
    /// Why nothing can be earned: the script did not end by itself, or did what it may not.
    pub foul: Option<Foul>,
    /// What the script used up.
    pub used: Used,
}

/// Why nothing can be earned.
#[derive(Clone, Debug)]
pub struct Foul {
    /// As the student reads it.
    pub text: String,
    /// The line of the script that is to blame.
    pub line: Option<usize>,
    /// It was the lab's own script that failed.
    pub own: bool,
}

/// The lab is wrong, not the student.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Broken(pub String);

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "error: this lab is broken: {}", self.0)
    }
}

/// The lab's machine as a script finds it, and the numbers that are given.
pub struct Stage {
    /// The bench with the machine.
    pub bench: Bench,
    /// The author's session at it.
    pub author: Session,
    /// Numbers that depend on the seed.
    pub given: Map,
}

impl Stage {
    /// Boots a lab's machine under a seed, and brings it into its state.
    ///
    /// # Errors
    /// When the lab is wrong.
    pub fn set(lab: &Lab, seed: u64) -> Result<Stage, Broken> {
        let exercise = &lab.exercise;
        let broken = |what: String| Broken(format!("{}: {what}", lab.name));
        let mut config = shipped::get(&exercise.machine).map_err(|why| broken(why.to_string()))?;
        config.seed = seed;
        let machine = Machine::boot(config).map_err(|why| broken(why.to_string()))?;
        let bench = Bench::new(machine, AUTHOR, Out::nowhere());
        let mut author = Session::quiet(bench.clone());
        let _ = author_runs(&mut author, lab, "setup", &exercise.setup)?;
        let given = author_runs(&mut author, lab, "given", &exercise.given)?;
        let given = match given.try_cast::<Map>() {
            Some(map) => map,
            None if exercise.given.trim().is_empty() => Map::new(),
            None => return Err(broken("`given` is no map: #{ pages: 100 + random(50) }".into())),
        };
        // What the author kept of the machine is no way back for the student.
        bench.borrow_mut().snapshots = Snapshots::default();
        if let Some(pattern) = &exercise.trace {
            let mut desk = bench.borrow_mut();
            desk.machine.record_hot_events(true);
            desk.traced = pattern.split_whitespace().map(String::from).collect();
        }
        constants(&mut author, [("given".to_string(), Dynamic::from(given.clone()))]);
        Ok(Stage { bench, author, given })
    }
}

/// Makes values visible everywhere in a session's scripts, inside functions, too.
pub fn constants(session: &mut Session, values: impl IntoIterator<Item = (String, Dynamic)>) {
    let mut module = Module::new();
    for (name, value) in values {
        module.set_var(name, value);
    }
    session.interpreter.engine_mut().register_global_module(module.into());
}

/// Runs a script of the author's.
fn author_runs(author: &mut Session, lab: &Lab, part: &str, text: &str) -> Result<Dynamic, Broken> {
    if text.trim().is_empty() {
        return Ok(Dynamic::UNIT);
    }
    let name = format!("{}/lab.yaml, {part}", lab.name);
    let result = author.interpreter.run(&name, text);
    result.map_err(|why| Broken(render::complaint(&why, Theme::PLAIN)))
}

impl Trial {
    /// Runs a student's script, called `name` in complaints.
    ///
    /// # Errors
    /// When the lab is wrong; the student's mistakes are part of the trial.
    pub fn run(lab: &Lab, seed: u64, name: &str, script: &str) -> Result<Trial, Broken> {
        let exercise = &lab.exercise;
        let Stage { bench, mut author, given } = Stage::set(lab, seed)?;
        let (before, boots) = (Used::now(&bench.borrow().machine), bench.borrow().boots);
        let kept = (exercise.kind == Kind::Predict).then(|| bench.borrow_mut().machine.snapshot());

        let limits = Limits { operations: exercise.budget.operations.unwrap_or(OPERATIONS), ..STUDENT };
        bench.borrow_mut().limits = limits;
        bench.out.set_limit(limits.output);
        let mut student = Session::quiet(bench.clone());
        student.interpreter.engine_mut().set_max_variables(VARIABLES);
        constants(&mut student, [("given".to_string(), Dynamic::from(given))]);
        let (result, printed) = patiently(&bench, || {
            bench.out.capture(|| student.interpreter.run(name, &without_shebang(script)))
        });
        bench.out.set_limit(0);
        bench.rearm();

        let used = Used::now(&bench.borrow().machine).since(before);
        let foul = match result {
            Err(complaint) => Some(Foul::ended(&complaint, limits)),
            Ok(_) => used::foul(exercise.kind, exercise.budget, used, &bench.borrow(), boots)
                .map(|text| Foul { text, line: None, own: false }),
        };
        let answers = answers::take(&exercise.answers, &student.interpreter.scope);
        drop(student);

        bench.borrow_mut().limits = AUTHOR;
        if let Some(machine) = kept {
            // Not `put`: handles the author made in `setup` stay good.
            bench.borrow_mut().machine = machine;
        }
        // A variable that `setup` left behind hides no answer.
        for name in answers.keys() {
            while author.interpreter.scope.remove::<Dynamic>(name).is_some() {}
        }
        let known =
            answers.iter().map(|(name, value)| (name.clone(), value.clone().unwrap_or(Dynamic::UNIT)));
        let used_map = [("used".to_string(), Dynamic::from(used.map()))];
        constants(&mut author, known.chain(used_map));
        let mut foul = foul;
        if foul.is_none() {
            let experiment = author_runs(&mut author, lab, "experiment", &exercise.experiment);
            // What the student left behind, or answered, may be more than the lab was written for.
            if let Err(Broken(why)) = experiment {
                let text = format!("The lab's own script could not run after yours: {}", why.trim_end());
                foul = Some(Foul { text, line: None, own: true });
            }
        }
        Ok(Trial { author, printed, answers, foul, used })
    }
}

impl Foul {
    /// A script that did not reach its end earns nothing: what it left undone cannot be told from what it avoided.
    fn ended(complaint: &Complaint, limits: Limits) -> Foul {
        let line = complaint.place.as_ref().map(|place| place.line);
        let text = match complaint.kind {
            Ended::Exit(_) => {
                "Your script called exit(): a script that does not run to its end earns no points.".into()
            }
            Ended::Interrupted => {
                format!("Your script ran for more than {} s and was stopped.", PATIENCE.as_secs())
            }
            Ended::Panic => format!(
                "{}\n  help: GFP_KERNEL goes on until somebody can be killed, and nobody was left; GFP_NOWAIT gives up in time, \
                 and __GFP_NORETRY does, too",
                render::complaint(complaint, Theme::PLAIN).trim_end()
            ),
            _ if complaint.what.starts_with("too many operations") => format!(
                "Your script took more than {} steps and was stopped: is there a loop that does not end?",
                limits.operations
            ),
            _ => render::complaint(complaint, Theme::PLAIN).trim_end().to_string(),
        };
        Foul { text, line, own: false }
    }
}

fn without_shebang(script: &str) -> String {
    if script.starts_with("#!") { format!("//{script}") } else { script.to_string() }
}

/// Throws the bench's switch when the work takes longer than anybody would wait.
fn patiently<T>(bench: &Bench, work: impl FnOnce() -> T) -> T {
    let (done, waiting) = mpsc::channel::<()>();
    let stop = bench.stop_switch();
    // Where there are no threads, the limit on operations has to do.
    let watch = std::thread::Builder::new().spawn(move || {
        if waiting.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
            stop.store(true, Ordering::Relaxed);
        }
    });
    let result = work();
    drop(done);
    if let Ok(watch) = watch {
        let _ = watch.join();
    }
    result
}
