//! Measures vmlab beside its peers, in one run, and prints the table of goals.
//!
//! ```text
//!   cargo run --release --manifest-path benches/Cargo.toml -- [--judge] [--reps N] [--rows 4,5,6]
//! ```
//!
//! `--judge` exits with 1 when a floor is missed. `--alone ROW` runs our side of a row once, for a profiler.

mod areas;
mod boot;
mod buddy;
mod clock;
mod fault;
mod file;
mod host;
mod script;
mod slab;
mod spec;
mod table;
mod vm;
mod walk;

use std::process::ExitCode;
use table::{Row, Table};

type Bench = fn(usize) -> Vec<Row>;

/// Every benchmark, with the rows it prints.
const BENCHES: &[(&[&str], Bench)] = &[
    (&["bare"], fault::bare),
    (&["1"], vm::faults),
    (&["2"], walk::random),
    (&["3"], walk::hot_set),
    (&["4"], buddy::random),
    (&["5"], buddy::bulk_row),
    (&["6"], buddy::ping_pong_row),
    (&["8"], script::calls),
    (&["9"], script::bulk),
    (&["10"], script::limits),
    (&["11"], boot::time),
    (&["12", "13"], boot::space),
    (&["14"], vm::forks),
    (&["15"], vm::munmaps),
    (&["16"], vm::cows),
    (&["17"], vm::pairs),
    (&["17", "areas"], areas::many),
    (&["18"], vm::mremaps),
    (&["19"], file::mapped_read),
    (&["20"], slab::pairs),
    (&["21"], script::objects),
    (&["22"], slab::live),
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| args.iter().position(|a| a == name).and_then(|at| args.get(at + 1)).cloned();
    if let Some(what) = value("--added-by") {
        println!("{}", boot::added_by(&what));
        return ExitCode::SUCCESS;
    }
    if let Some(row) = value("--alone") {
        match row.as_str() {
            "bare" => fault::alone(),
            "20" => slab::alone(),
            "4" | "5" | "6" => buddy::alone(&row),
            "17 map" | "17 merge" => areas::alone(&row),
            row => vm::alone(row),
        }
        return ExitCode::SUCCESS;
    }
    let reps = value("--reps").and_then(|n| n.parse().ok()).unwrap_or(7).max(1);
    let only = value("--rows");
    let wanted = |row: &&str| only.as_ref().is_none_or(|only| only.split(',').any(|w| w == *row));
    let mut rows = Vec::new();
    for (numbers, bench) in BENCHES.iter().filter(|(numbers, _)| numbers.iter().any(|n| wanted(&n))) {
        eprintln!("row {} ...", numbers.join(", "));
        rows.extend(bench(reps));
    }
    let table = Table(rows);
    println!(
        "Thread CPU time, median (least-most) of {reps} runs; the anchor ran in turn with us unless it says so.\n"
    );
    print!("{table}");
    let missed = table.0.iter().filter(|r| r.missed()).count();
    if args.iter().any(|a| a == "--judge") && missed > 0 {
        println!("\n{missed} row(s) miss the floor.");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
