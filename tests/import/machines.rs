//! The shipped machines are what the importer makes of the captures; `UPDATE=1 cargo test --test import machines` writes them.

use crate::recording;
use crate::truth::{self, recordings, shipped_truth};
use std::fs;
use std::path::{Path, PathBuf};
use vmlab::import::{folder, shipped, spec};
use vmlab::mm::config::Config;
use vmlab::mm::machine::Machine;

fn machines() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/import/machines")
}

/// Compares the spec with the file, or writes it.
fn keep(name: &str, comment: &str, config: &Config) -> Option<String> {
    let path = machines().join(format!("{name}.yaml"));
    let want = format!("# {comment}\n# Kept by tests/import/machines.rs.\n{}", spec::to_yaml(config));
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &want).unwrap();
    }
    let have = fs::read_to_string(&path).unwrap_or_default();
    if have != want {
        let line = have.lines().zip(want.lines()).position(|(a, b)| a != b).unwrap_or(0);
        let show = |text: &str| text.lines().nth(line).unwrap_or("").to_string();
        return Some(format!(
            "line {}: want {:?}, got {:?}; UPDATE=1 writes it",
            line + 1,
            show(&want),
            show(&have)
        ));
    }
    let read = spec::machine(name, name, &want).expect("what was written can be read");
    assert_eq!(&read, config, "{name}: the spec says the same as the capture");
    None
}

#[test]
fn captured_machines_are_what_the_captures_say() {
    let boot = shipped_truth().join("boot");
    let mut report = truth::Report::default();
    for name in recordings(&boot) {
        let captures = folder::Captures::read(&boot.join(&name)).unwrap();
        let config = folder::machine(&name, &captures).unwrap_or_else(|e| panic!("{e}"));
        let comment =
            "As captured right after boot: occupancy is imported, watermarks and protection are computed.";
        report.on(&name, keep(&name, comment, &config));
    }
    report.finish("captured machines");
}

#[test]
fn workload_machines_are_what_the_recordings_start_with() {
    let mut report = truth::Report::default();
    for (profile, recording, comment) in recording::PROFILES {
        let name = format!("workload-{profile}");
        let config = recording::machine(&name, profile, recording);
        report.on(&name, keep(&name, comment, &config));
    }
    report.finish("workload machines");
}

#[test]
fn every_spec_is_shipped_and_boots() {
    let mut files: Vec<String> = recordings(&machines());
    let mut names: Vec<String> = shipped::names().map(|name| format!("{name}.yaml")).collect();
    files.sort();
    names.sort();
    assert_eq!(files, names);
    for name in shipped::names() {
        let machine = Machine::boot(shipped::get(name).unwrap()).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(machine.nr_free_pages() > 0);
    }
}
