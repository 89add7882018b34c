//! What people type, at the prompt and at the command line: names that must stay, words, exit statuses, streams.

mod cli;
mod lab_command;
mod names;
mod prompt_words;
mod stopped;
mod undo;
