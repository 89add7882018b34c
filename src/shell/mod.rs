//! The terminal: what is typed, and how answers look.
//!
//! | module | what |
//! |---|---|
//! | [`session`] | one line in, one answer out |
//! | [`dispatch`], [`words`], [`filters`] | command or Rhai, words, pipes |
//! | [`interpreter`] | typed Rhai: run, keep, show |
//! | [`crash`] | command lines that expand to script text |
//! | [`kit`] | the session's own commands: alias, history, save, help … |
//! | [`render`], [`svg`], [`theme`] | the one place that draws, and its colours |
//! | [`help`] | pages from the catalogue |
//! | [`reference`] | the same as a chapter of the book |
//! | [`complete`] | what could be typed next |
//! | [`transcript`] | sessions as text: examples, book, golden tests |
//! | [`repl`] | the prompt |

mod command;
pub mod complete;
pub mod crash;
pub mod dispatch;
pub mod filters;
pub mod help;
pub mod interpreter;
pub mod kit;
pub mod model;
pub mod reference;
pub mod render;
#[cfg(unix)]
pub mod repl;
pub mod session;
pub mod svg;
pub mod theme;
pub mod transcript;
pub mod words;
