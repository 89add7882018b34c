//! vmlab: a laboratory for the Linux memory manager.
//!
//! ```text
//!   main.rs    vmlab · vmlab FILE · -e CODE · lab … · bench             clap
//!   4 lab/     exercises, goals, grades                                 serde_yaml
//!   3 shell/   session, crash spellings, rendering, prompt, help        rustyline, comfy-table, owo-colors
//!   2 script/  the language: engine, chapters, catalogue, Table, Bench  rhai
//!   1 import/  specs and /proc text to Config                           serde_yaml
//!   0 mm/      the simulator                                            std only
//! ```
//!
//! Arrows point down only; `tests/house/floors.rs` holds these invariants:
//!
//! * **`mm` knows only `std`.** No Rhai, no terminal, no YAML, no files, no clock, no environment, and no
//!   randomness except `Machine::dice`, seeded by `Config`.
//! * **`mm` never prints and never formats a table.** It answers values and emits events.
//! * **`script` decides what can be called; `shell` decides how it looks.** A view returns a `Table`; only
//!   `shell/render.rs` draws one.
//! * **A crash command can do nothing a script cannot**: it expands to script text.
//! * **`lab` sees only what a student sees**: it grades through `Session` and the event stream.
//! * **There is one `Machine` per `Bench` and no `static` state anywhere.** Two machines run side by side.

#![forbid(unsafe_code)]

pub mod import;
pub mod lab;
pub mod mm;
pub mod script;
pub mod shell;
