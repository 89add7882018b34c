//! `lab …` at the prompt, and `lab try`: a lab's machine to try things on.

use crate::lab::command::{self, Room};
use crate::lab::student;
use crate::lab::trial::Stage;
use crate::shell::session::{Guest, Outcome, Session};
use rhai::Dynamic;

/// The command the prompt gains.
pub const GUEST: Guest = Guest { name: "lab", run, complete: command::complete };

fn run(session: &mut Session, line: &[String]) -> Outcome {
    let words = line.get(1..).unwrap_or_default();
    if let Some((lab, seed)) = command::is_try(words) {
        return match put(session, lab.as_deref(), seed) {
            Ok(()) => Outcome::Done,
            Err(why) => {
                session.bench.out.complaint(why.trim_end());
                Outcome::Failed
            }
        };
    }
    let out = session.bench.out.clone();
    match command::obey_words(words, &out, session.manners(), "lab") {
        0 => Outcome::Done,
        _ => Outcome::Failed,
    }
}

/// Puts a lab's machine on the bench, as the student's script finds it; `given` is a variable.
fn put(session: &mut Session, asked: Option<&str>, seed: Option<u64>) -> Result<(), String> {
    let room = Room::open(&session.bench.out, session.manners(), "lab")?;
    let lab = match asked {
        Some(asked) => room.library.find(asked)?,
        None => student::upcoming(&room, &student::progress(&room)).ok_or("error: all labs are passed")?,
    };
    let seed = seed.unwrap_or(lab.exercise.seeds.student);
    let stage = Stage::set(lab, seed).map_err(|why| why.to_string())?;
    let machine = stage.bench.borrow_mut().machine.snapshot();
    session.bench.borrow_mut().put(machine);
    session.interpreter.scope.set_or_push("given", Dynamic::from(stage.given.clone()));
    let given = student::given(&stage);
    let rest = if given.is_empty() { given } else { format!("; {given}") };
    room.say(&format!("the machine of lab {}, seed {seed}{rest}\n", lab.number()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_labs_line_is_completed() {
        let texts = |before: &[&str]| -> Vec<String> {
            (GUEST.complete)(before).into_iter().map(|(text, _)| text).collect()
        };
        assert!(texts(&[]).contains(&"start".to_string()));
        let labs = texts(&["start"]);
        assert!(
            labs.iter().any(|lab| lab.starts_with("10-")) && !labs.contains(&"list".to_string()),
            "{labs:?}"
        );
        assert!(texts(&["solution"]).contains(&"--give-up".to_string()));
        assert_eq!(texts(&["dev"]), ["check", "new"]);
    }
}
