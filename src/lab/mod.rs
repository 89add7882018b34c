//! Labs: exercises that are graded on the state of the machine.
//!
//! | module | what |
//! |---|---|
//! | [`exercise`] | `lab.yaml` |
//! | [`library`], [`shipped`] | where labs are found |
//! | [`trial`] | one run of a script on a lab's machine |
//! | [`answers`], [`used`] | what the script answered, and what it used up |
//! | [`grade`] | a run held against the goals, under one seed or many |
//! | [`report`], [`formats`] | a grade for people, and for machines |
//! | [`progress`] | how far a student is |
//! | [`command`], [`student`], [`check`], [`instructor`], [`author`] | `vmlab lab …` |
//! | [`prompt`], [`watch`] | `lab …` at the prompt, and a check at every save |
//!
//! Everything is graded through [`Session`](crate::shell::session::Session), on what a student could look at as
//! well: the machine, its counters, its events, and plain values of the script. Text that a script prints is never
//! looked at.

pub mod answers;
pub mod author;
pub mod check;
pub mod command;
pub mod exercise;
pub mod formats;
pub mod grade;
pub mod instructor;
pub mod library;
pub mod progress;
pub mod prompt;
pub mod report;
pub mod shipped;
pub mod student;
pub mod trial;
pub mod used;
pub mod watch;
