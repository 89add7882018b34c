//! The house is in order: the floors hold, and what is written is what the program answers.
//!
//! `UPDATE=1 cargo test --test house` writes the generated pages, the transcripts and the output of the scripts.

mod book;
mod book_labs;
mod examples;
mod fidelity;
mod floors;
mod reference;
mod scripts;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Whether files are to be written anew: `UPDATE=1` asks for it. Tests write the same pages, so each holds this alone.
fn updating() -> Option<MutexGuard<'static, ()>> {
    static WRITING: Mutex<()> = Mutex::new(());
    std::env::var_os("UPDATE")?;
    Some(WRITING.lock().unwrap_or_else(PoisonError::into_inner))
}
