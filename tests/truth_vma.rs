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

/// Scenarios that do not agree yet, each with the reason. The list only shrinks.
const DIFFER: &[(&str, &str)] = &[];

/// When khugepaged, a thread that nobody calls, ran on the recorded machine: the next answer shows it.
const KHUGEPAGED: &[(&str, &str)] = &[("49-thp", "mprotect B+520 1 r")];

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
        player.khugepaged_before = KHUGEPAGED.iter().find(|(at, _)| *at == name).map(|(_, step)| *step);
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
        let known = |name: &String| DIFFER.iter().any(|(differs, _)| differs == name);
        let all = names.iter().map(|file| file.trim_end_matches(".txt").to_string());
        let (wrong, right): (Vec<_>, Vec<_>) = all.partition(|name| !agree.contains(name));
        assert!(wrong.iter().all(known), "not as recorded: {wrong:?}, known are {DIFFER:?}");
        assert!(!right.iter().any(known), "as recorded at last: take it out of DIFFER");
    }
}
