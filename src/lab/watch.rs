//! A check at every save, until the student has enough.
//!
//! ```text
//!   n next   h hint   l list   c check all   x reset   r run   q quit        each followed by Enter
//! ```

use crate::lab::check;
use crate::lab::command::{Output, Room};
use crate::lab::library::Lab;
use crate::lab::student;
use std::io::BufRead;
use std::path::Path;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, SystemTime};

/// What can be typed, each followed by Enter.
const KEYS: &str = "n next · h hint · l list · c check all · x reset · r run · q quit";
/// How often the file is looked at.
const EVERY: Duration = Duration::from_millis(300);

/// Checks the student's file whenever it changes.
///
/// # Errors
/// When there is no such lab, or a file cannot be read or written.
pub fn watch(room: &Room, asked: Option<&str>, manual: bool) -> Result<u8, String> {
    let keys = keys();
    let mut lab = match asked {
        Some(asked) => room.library.find(asked)?,
        None => match student::upcoming(room, &student::progress(room)) {
            Some(lab) => lab,
            None => return student::list(room),
        },
    };
    begin(room, lab)?;
    let mut seen = saved(&lab.work());
    loop {
        let key = match keys.recv_timeout(EVERY) {
            Ok(key) => key,
            Err(RecvTimeoutError::Timeout) => {
                let now = saved(&lab.work());
                if now == seen || manual {
                    continue;
                }
                seen = now;
                "r".to_string()
            }
            // Nobody can type any more.
            Err(RecvTimeoutError::Disconnected) => return Ok(0),
        };
        match key.trim() {
            "q" | "quit" => return Ok(0),
            "r" | "run" | "" => run(room, lab),
            "h" | "hint" => {
                student::hint(room, Some(&lab.name))?;
            }
            "l" | "list" => {
                student::list(room)?;
            }
            "c" => {
                check::check_all(room, &Output::default())?;
            }
            "x" | "reset" => {
                student::reset(room, &lab.name)?;
                seen = saved(&lab.work());
            }
            "n" | "next" => match after(room, lab) {
                Some(next) => {
                    lab = next;
                    begin(room, lab)?;
                    seen = saved(&lab.work());
                }
                None => room.say("all passed\n"),
            },
            other => {
                let known: String = other.chars().take(20).collect();
                room.say(&format!("{known}? a letter and Enter: {KEYS}\n"));
            }
        }
    }
}

fn begin(room: &Room, lab: &Lab) -> Result<(), String> {
    student::start(room, Some(&lab.name))?;
    room.say(&format!("watching it: save to check, or type a letter and Enter:\n{KEYS}\n"));
    Ok(())
}

fn run(room: &Room, lab: &Lab) {
    room.say("\n");
    // A file that is being written may be gone for a moment.
    if let Err(why) = check::check(room, Some(&lab.name), None, None, &Output::default()) {
        room.out.complaint(&why);
    }
}

/// The lab to go on with: the next one that is not passed, and not this one if there is another.
fn after<'a>(room: &'a Room, lab: &Lab) -> Option<&'a Lab> {
    let progress = student::progress(room);
    let open: Vec<&Lab> = room.library.labs.iter().filter(|lab| !progress.of(&lab.name).passed).collect();
    open.iter().find(|next| next.name > lab.name).or(open.first()).copied()
}

fn saved(file: &Path) -> Option<SystemTime> {
    std::fs::metadata(file).and_then(|data| data.modified()).ok()
}

/// Lines from the keyboard, read beside the watching.
fn keys() -> Receiver<String> {
    let (send, keys) = mpsc::channel();
    let _ = std::thread::Builder::new().spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { break };
            if send.send(line).is_err() {
                break;
            }
        }
    });
    keys
}
