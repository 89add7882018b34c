//! `vmlab lab …` as a student, an instructor and a platform meet it: files, exit statuses, formats.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use vmlab::lab::library::Library;

/// A folder of this test's own, removed at its end.
struct Desk(PathBuf);

impl Desk {
    fn new(name: &str) -> Desk {
        let folder = std::env::temp_dir().join(format!("vmlab-lab-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        Desk(folder)
    }

    fn lab(&self, words: &str) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vmlab"));
        command
            .env_remove("VMLAB_LABS")
            .env_remove("CLICOLOR_FORCE")
            .current_dir(&self.0)
            .stdin(Stdio::null());
        command.arg("lab").args(words.split_whitespace()).output().expect("the binary runs")
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.0.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.0.join(file)).unwrap()
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn status(output: &Output) -> i32 {
    output.status.code().expect("no signal ended it")
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn complained(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn of_lab(lab: &str, file: &str) -> String {
    std::fs::read_to_string(Path::new("labs").join(lab).join(file)).unwrap()
}

/// Numbers of the shipped labs in their order, and the points of all together.
fn course() -> (Vec<String>, u32) {
    let labs = Library::folder(Path::new("labs")).unwrap();
    (
        labs.iter().map(|lab| lab.number().to_string()).collect(),
        labs.iter().map(|lab| lab.exercise.points).sum(),
    )
}

const TEN: &str = "10-watermark-arithmetic";
const MINE: &str = "labs/10-watermark-arithmetic/my.rhai";
const STATE: &str = "labs/.vmlab-state.yaml";

/// An installed binary has its labs with it; the student's files appear in ./labs, and nothing before `start`.
#[test]
fn a_student_walks_through_a_lab() {
    let desk = Desk::new("walk");
    let list = said(&desk.lab("list"));
    let (numbers, points) = course();
    let first = &numbers[0];
    assert!(
        list.contains("· 10  Watermark arithmetic")
            && list.contains(&format!("0/{points} points · next: vmlab lab start {first}")),
        "{list}"
    );
    assert!(!desk.0.join("labs").exists(), "listing writes nothing");

    let early = desk.lab("check 10");
    assert_eq!(status(&early), 2);
    assert!(complained(&early).contains("`vmlab lab start 10` makes it"));

    let start = desk.lab("start 10");
    assert_eq!(status(&start), 0);
    assert!(said(&start).contains("given.min_free_kbytes = 4368"), "{}", said(&start));
    assert_eq!(desk.read(MINE), of_lab(TEN, "start.rhai"));

    let check = desk.lab("check 10");
    assert_eq!(status(&check), 1);
    assert!(said(&check).contains("`kernel` is not answered yet") && said(&check).contains("Score: 0/10"));
    assert_eq!(status(&desk.lab("solution 10")), 1);
    assert!(said(&desk.lab("hint 10")).starts_with("hint 1 of 3: "));
    assert!(said(&desk.lab("hint")).contains("hint 2 of 3: "), "the lab that is open is meant");

    desk.write(MINE, &of_lab(TEN, "solution.rhai"));
    assert!(said(&desk.lab("start 10")).contains("as you left it"));
    assert_eq!(desk.read(MINE), of_lab(TEN, "solution.rhai"), "start never overwrites");
    let check = desk.lab("check 10");
    assert_eq!(status(&check), 0);
    let report = said(&check);
    assert!(report.contains("  20 other seeds: OK\nScore: 10/10\n\nWhat you saw\n"), "{report}");
    assert!(
        report.ends_with(&format!("next: vmlab lab start {first}\n")),
        "the first that is not passed: {report}"
    );
    assert_eq!(said(&desk.lab("check 10")), report, "same script, same bytes");
    assert!(said(&desk.lab("list")).contains("✓ 10"));
    assert_eq!(said(&desk.lab("solution 10")), of_lab(TEN, "solution.rhai"));

    assert_eq!(status(&desk.lab("reset 10")), 0);
    assert_eq!(desk.read(MINE), of_lab(TEN, "start.rhai"));
    assert_eq!(desk.read("labs/10-watermark-arithmetic/my.old.rhai"), of_lab(TEN, "solution.rhai"));
}

#[test]
fn usage_is_explained() {
    let desk = Desk::new("usage");
    for (words, part) in [
        ("check 99", "there is no lab 99"),
        ("check watermrk", "did you mean watermark"),
        ("chek", "similar subcommand"),
        ("check", "which lab?"),
        ("grade nowhere", "is no folder"),
        ("check 10 nowhere.rhai", "nowhere.rhai"),
        ("dev check .", "there is no lab"),
        ("dev new my-lab", "60-my-lab"),
        ("grade . --shard 3/2", "1/4 to 4/4"),
    ] {
        let output = desk.lab(words);
        assert_eq!(status(&output), 2, "{words}");
        assert!(complained(&output).contains(part), "{words}: {}", complained(&output));
    }
    desk.write("labs/70-broken/lab.yaml", "title: x\nchapters: 3\n");
    desk.write("labs/70-broken/start.rhai", "");
    desk.write("labs/70-broken/solution.rhai", "");
    let output = desk.lab("list");
    assert_eq!(status(&output), 2);
    assert!(complained(&output).contains("lab.yaml:2:"), "{}", complained(&output));
}

/// The state is for the student's convenience; points come from scripts only.
#[test]
fn the_state_file_earns_nothing() {
    let desk = Desk::new("state");
    desk.write(
        STATE,
        &format!(
            "schema: 1\nlabs:\n  {TEN}: {{ best: 999, passed: true, hints: 0, checks: 1, gave_up: false }}\n"
        ),
    );
    let all = desk.lab("check-all");
    assert_eq!(status(&all), 1);
    let none = format!("Score: 0/{}\n", course().1);
    assert!(said(&all).ends_with(&none), "{}", said(&all));
    assert!(said(&desk.lab("grade .")).ends_with(&none));
    desk.write(STATE, "labs: [");
    let list = desk.lab("list");
    assert_eq!(status(&list), 0);
    assert!(complained(&list).contains("what was done before is not known"));
    assert_eq!(status(&desk.lab("hint 10")), 0);
    assert!(desk.0.join("labs/.vmlab-state.yaml.broken").is_file(), "nothing is thrown away");
}

#[test]
fn a_class_is_graded() {
    let desk = Desk::new("class");
    desk.write("subs/alice/10.rhai", &of_lab(TEN, "solution.rhai"));
    desk.write(&format!("subs/bob/labs/{TEN}/my.rhai"), &of_lab(TEN, "wrong/no-lowmem-reserve.rhai"));
    desk.write("subs/eve/watermark-arithmetic.rhai", "print(\"Score: 10/10\"); loop {}");
    let graded = desk.lab("grade subs --lab 10 --seeds 3");
    assert_eq!(status(&graded), 1);
    let points: Vec<String> =
        said(&graded).lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(points, ["alice 10/10", "bob 6/10", "eve 0/10"]);
    assert_eq!(said(&desk.lab("grade subs --lab 10 --seeds 3 --shard 2/2")).lines().count(), 1);

    let graded = desk.lab("grade subs --lab 10 --seeds 3 --format gradescope --out results");
    assert_eq!(status(&graded), 0, "platforms read the file");
    let bob: serde_json::Value = serde_json::from_str(&desk.read("results/bob.json")).unwrap();
    let tests = bob["tests"].as_array().unwrap();
    let sum = |key: &str| tests.iter().map(|test| test[key].as_i64().unwrap()).sum::<i64>();
    assert_eq!((sum("score"), sum("max_score")), (6, 10));
    assert!(bob.get("score").is_none(), "the sum and a score together would be ambiguous");
    assert!(!desk.read("results/eve.json").contains("10/10"), "what a script prints stays out");
}

#[test]
fn every_format_is_well_formed() {
    let desk = Desk::new("formats");
    desk.write("10.rhai", &of_lab(TEN, "wrong/atomic-is-half.rhai"));
    let format = |name: &str| {
        let output = desk.lab(&format!("check 10 10.rhai --seed 5 --format {name}"));
        assert_eq!(status(&output), 1, "{name}: {}", complained(&output));
        said(&output)
    };
    for name in ["json", "gradescope", "classroom", "exercism"] {
        let value: serde_json::Value = serde_json::from_str(&format(name)).unwrap();
        assert!(value.is_object(), "{name}");
    }
    assert_eq!(serde_json::from_str::<serde_json::Value>(&format("json")).unwrap()["score"], 4);
    let autolab = format("autolab");
    let last: serde_json::Value = serde_json::from_str(autolab.lines().last().unwrap()).unwrap();
    assert_eq!(last["scores"][TEN], 4);
    let tap = format("tap");
    assert!(
        tap.starts_with("TAP version 14\n1..3\nok 1 - 10.1 ") && tap.contains("\nnot ok 2 - 10.2 "),
        "{tap}"
    );
    let junit = format("junit");
    assert!(junit.contains("tests=\"3\" failures=\"2\"") && junit.ends_with("</testsuites>\n"), "{junit}");
}

/// `lab` at the prompt, and its machine to try things on.
#[test]
fn json_is_asked_for_like_anywhere_else() {
    let desk = Desk::new("json");
    let json = |words: &[&str]| -> serde_json::Value {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vmlab"));
        command.env_remove("VMLAB_LABS").current_dir(&desk.0).stdin(Stdio::null());
        let output = command.arg("--json").args(words).output().unwrap();
        assert_eq!(said(&output).lines().count(), 1, "{words:?}: {}", said(&output));
        serde_json::from_str(&said(&output)).expect("JSON")
    };
    for words in [&["lab", "list"][..], &["lab"], &["--machine", "tiny", "-e", "lab list"]] {
        let list = json(words);
        let labs = list["labs"].as_array().expect("labs");
        let ten = labs.iter().find(|lab| lab["name"] == TEN).expect("the lab is listed");
        assert_eq!((&list["schema"], &ten["passed"]), (&1.into(), &false.into()), "{list}");
    }
    assert_eq!(json(&["lab", "next"])["next"]["points"], 10);
    assert!(json(&["lab", "hint", "10"])["text"].as_str().unwrap().starts_with("hint 1 of"));
    desk.write("10.rhai", &of_lab(TEN, "solution.rhai"));
    assert!(json(&["lab", "check", "10", "10.rhai"])["schema"].is_number());
}

#[test]
fn the_prompt_knows_labs() {
    let desk = Desk::new("prompt");
    let mut command = Command::new(env!("CARGO_BIN_EXE_vmlab"));
    command.current_dir(&desk.0).env_remove("VMLAB_LABS").stdin(Stdio::null());
    command.args([
        "--machine",
        "tiny",
        "-e",
        "lab",
        "-e",
        "lab try 10",
        "-e",
        "machine().name",
        "-e",
        "given.min_free_kbytes",
    ]);
    let output = command.output().unwrap();
    assert_eq!(status(&output), 0, "{}", complained(&output));
    let text = said(&output);
    assert!(text.contains(&format!("next: lab start {}", course().0[0])), "{text}");
    assert!(text.ends_with("x86_64-256M\n4368\n"), "{text}");
}
