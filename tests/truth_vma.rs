//! What a real kernel answered to memory calls and accesses, step by step, and what the simulator answers.
//!
//! `tests/truth/vma/scenarios` holds the steps, `answers` the same steps with the kernel's answers: results, errnos, lists
//! of areas, faults, smaps, pagemap. `VMLAB_TRUTH=DIR` replays other recordings of the same layout.

#[path = "support/truth.rs"]
mod truth;
#[path = "support/vma/mod.rs"]
mod vma;

use std::collections::BTreeSet;
use truth::{recordings, shipped_truth, truth};
use vma::{Player, difference};

/// Scenarios that agree. The list only grows: it goes when all of them are here.
const AGREE: &[&str] = &[
    "02-split-munmap",
    "04-errors-munmap-mprotect",
    "05-fixed-noreplace",
    "06-hint-and-topdown",
    "07-mprotect-split-merge",
    "08-prot-access",
    "09-zero-page-read-then-write",
    "11-cow-fork",
    "12-cow-child-exits-first",
    "33-anon-vma-no-merge",
    "35-growsdown",
    "40-max-map-count",
];

#[test]
fn address_spaces_answer_as_recorded() {
    let folder = truth().join("vma");
    let mut agree = BTreeSet::new();
    let names = recordings(&folder.join("scenarios"));
    for file in &names {
        let name = file.trim_end_matches(".txt");
        let scenario = std::fs::read_to_string(folder.join("scenarios").join(file)).expect(file);
        let answers = folder.join("answers").join(format!("{name}.out"));
        let want = std::fs::read_to_string(&answers).unwrap_or_else(|e| panic!("{}: {e}", answers.display()));
        let want = want.strip_suffix("# exit 0\n").unwrap_or(&want);
        let mut player = Player::new();
        match difference(want, &player.play(&scenario)) {
            None => {
                println!("{name}: ok");
                agree.insert(name.to_string());
            }
            Some(difference) => println!("{name}: {difference}"),
        }
        player.machine.check().unwrap_or_else(|e| panic!("{name}: {e}"));
    }
    println!("address spaces: {} of {} agree", agree.len(), names.len());
    assert!(!names.is_empty(), "no recording was found");
    if truth() == shipped_truth() {
        let known: BTreeSet<String> = AGREE.iter().map(|name| name.to_string()).collect();
        let lost: Vec<_> = known.difference(&agree).collect();
        assert!(lost.is_empty(), "no longer as recorded: {lost:?}");
        let new: Vec<_> = agree.difference(&known).collect();
        assert!(new.is_empty(), "as recorded at last; add to AGREE: {new:?}");
    }
}
