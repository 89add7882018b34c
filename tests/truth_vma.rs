//! What a real kernel answered to memory calls and accesses, step by step, and what the simulator answers.
//!
//! `tests/truth/vma/scenarios` holds the steps, `answers` the same steps with the kernel's answers: results, errnos, lists
//! of areas, faults, smaps, pagemap. `VMLAB_TRUTH=DIR` replays other recordings of the same layout.

#[path = "support/truth.rs"]
mod truth;
#[path = "support/vma/mod.rs"]
mod vma;

use truth::{Report, recordings, truth};
use vma::{Player, difference};

/// When khugepaged, a thread that nobody calls, ran on the recorded machine: the next answer shows it.
const KHUGEPAGED: &[(&str, &str)] = &[("49-thp", "mprotect B+520 1 r")];

#[test]
fn address_spaces_answer_as_recorded() {
    let folder = truth().join("vma");
    let mut report = Report::default();
    for file in recordings(&folder.join("scenarios")) {
        let name = file.trim_end_matches(".txt");
        let scenario = std::fs::read_to_string(folder.join("scenarios").join(&file)).expect(name);
        let answers = folder.join("answers").join(format!("{name}.out"));
        let want = std::fs::read_to_string(&answers).unwrap_or_else(|e| panic!("{}: {e}", answers.display()));
        let want = want.strip_suffix("# exit 0\n").unwrap_or(&want);
        let mut player = Player::new();
        player.khugepaged_before = KHUGEPAGED.iter().find(|(at, _)| *at == name).map(|(_, step)| *step);
        report.on(name, difference(want, &player.play(&scenario)));
        player.machine.check().unwrap_or_else(|e| panic!("{name}: {e}"));
    }
    report.finish("address spaces");
}
