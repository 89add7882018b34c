//! Grades for machines: what Gradescope, Autolab, GitHub Classroom, Exercism, CI and scripts read.
//!
//! Nothing secret gets out: of a hidden goal only the name and the points, of a script's own output nothing.

use crate::lab::command::{FAILED, Output};
use crate::lab::grade::{Grade, Verdict};
use crate::lab::library::Lab;
use serde_json::{Map, Value, json};

/// Who reads it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, clap::ValueEnum)]
pub enum Format {
    /// People
    #[default]
    Text,
    /// Scripts: one document, with a schema
    Json,
    /// Gradescope: results.json
    Gradescope,
    /// Autolab: the last lines of standard output
    Autolab,
    /// GitHub Classroom's reporter
    Classroom,
    /// Exercism: results.json, version 3
    Exercism,
    /// CI: the Test Anything Protocol, version 14
    Tap,
    /// CI: JUnit's XML
    Junit,
}

/// A lab with its grade.
#[derive(Clone, Copy, Debug)]
pub struct Graded<'a> {
    /// The lab.
    pub lab: &'a Lab,
    /// Its grade.
    pub grade: &'a Grade,
}

/// Points earned, and points there are.
pub fn total(graded: &[Graded]) -> (u32, u32) {
    let sum = |of: fn(&Grade) -> u32| graded.iter().map(|g| of(g.grade)).sum();
    (sum(Grade::score), sum(Grade::points))
}

/// The exit status: platforms that read a file want 0 even from a student who failed.
pub fn status(output: &Output, full: bool) -> u8 {
    let read_by_platform =
        output.out.is_some() && matches!(output.format, Format::Gradescope | Format::Exercism);
    if full || read_by_platform { 0 } else { FAILED }
}

/// The name a file of this format ends with.
pub fn extension(format: Format) -> &'static str {
    match format {
        Format::Text | Format::Autolab => "txt",
        Format::Json | Format::Gradescope | Format::Classroom | Format::Exercism => "json",
        Format::Tap => "tap",
        Format::Junit => "xml",
    }
}

/// Grades of one student; `who` may be empty.
pub fn write(format: Format, who: &str, graded: &[Graded]) -> String {
    match format {
        Format::Text => text(graded),
        Format::Json => pretty(&document(who, graded)),
        Format::Gradescope => pretty(&gradescope(graded)),
        Format::Autolab => autolab(graded),
        Format::Classroom => pretty(&classroom(graded)),
        Format::Exercism => pretty(&exercism(graded)),
        Format::Tap => tap(graded),
        Format::Junit => junit(graded),
    }
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

/// Every goal with its lab.
fn goals<'a>(graded: &'a [Graded<'a>]) -> impl Iterator<Item = (&'a Lab, &'a Grade, &'a Verdict)> {
    graded.iter().flat_map(|g| g.grade.goals.iter().map(|goal| (g.lab, g.grade, goal)))
}

/// Why a goal failed, as far as it may be said.
fn reason(grade: &Grade, goal: &Verdict) -> String {
    if goal.met || goal.hidden {
        return String::new();
    }
    match &grade.foul {
        Some(foul) if goal.why.is_empty() => foul.text.clone(),
        _ => goal.why.join("\n"),
    }
}

/// `10.2 GFP_ATOMIC is refused`.
fn numbered(lab: &Lab, grade: &Grade, goal: &Verdict) -> (String, String) {
    let place = grade.goals.iter().position(|g| std::ptr::eq(g, goal)).unwrap_or(0) + 1;
    let number = format!("{}.{place}", lab.number().trim_start_matches('0'));
    (format!("{}.{place} {}", lab.number(), goal.name), number)
}

fn text(graded: &[Graded]) -> String {
    let mut text = String::new();
    for g in graded {
        text.push_str(&crate::lab::report::goals(g.lab, &quiet(g.grade), crate::shell::theme::Theme::PLAIN));
    }
    let (earned, points) = total(graded);
    text.push_str(&crate::lab::report::score(earned, points));
    text
}

/// The grade without what the script printed, and without what hidden goals say.
fn quiet(grade: &Grade) -> Grade {
    let mut grade = Grade { printed: String::new(), ..grade.clone() };
    for goal in grade.goals.iter_mut().filter(|goal| goal.hidden) {
        goal.why.clear();
    }
    grade
}

fn document(who: &str, graded: &[Graded]) -> Value {
    let labs: Vec<Value> = graded
        .iter()
        .map(|g| {
            let goals: Vec<Value> = g
                .grade
                .goals
                .iter()
                .map(|goal| {
                    json!({
                        "name": goal.name, "met": goal.met, "score": goal.earned, "points": goal.points,
                        "hidden": goal.hidden, "why": reason(g.grade, goal),
                    })
                })
                .collect();
            json!({
                "name": g.lab.name, "title": g.lab.exercise.title, "score": g.grade.score(),
                "points": g.grade.points(), "passed": g.grade.is_full(), "seed": g.grade.seed,
                "seeds": g.grade.seeds, "trouble": g.grade.foul.as_ref().map(|foul| foul.text.clone()),
                "goals": goals,
            })
        })
        .collect();
    let (earned, points) = total(graded);
    let mut document = json!({ "schema": 1, "score": earned, "points": points, "labs": labs });
    if !who.is_empty() {
        document["student"] = who.into();
    }
    document
}

fn gradescope(graded: &[Graded]) -> Value {
    let tests: Vec<Value> = goals(graded)
        .map(|(lab, grade, goal)| {
            let (name, number) = numbered(lab, grade, goal);
            json!({
                "score": goal.earned, "max_score": goal.points,
                "status": if goal.met { "passed" } else { "failed" },
                "name": name, "number": number, "output": reason(grade, goal),
                "visibility": if goal.hidden { "hidden" } else { "visible" },
            })
        })
        .collect();
    let (earned, points) = total(graded);
    let troubles =
        graded.iter().filter_map(|g| Some(format!("{}: {}", g.lab.name, g.grade.foul.as_ref()?.text)));
    let mut output = vec![format!("Score: {earned}/{points}")];
    output.extend(troubles);
    json!({
        "output": output.join("\n"), "output_format": "text", "test_output_format": "text",
        "test_name_format": "text", "visibility": "visible", "stdout_visibility": "hidden", "tests": tests,
    })
}

fn autolab(graded: &[Graded]) -> String {
    let mut stages = Map::new();
    for g in graded {
        let mut stage = Map::new();
        for goal in &g.grade.goals {
            stage.insert(goal.name.clone(), json!({ "passed": goal.met, "hint": reason(g.grade, goal) }));
        }
        stages.insert(g.lab.name.clone(), stage.into());
    }
    let names: Vec<&str> = graded.iter().map(|g| g.lab.name.as_str()).collect();
    let mut presentation = json!({ "_presentation": "semantic", "stages": names });
    if let Some(object) = presentation.as_object_mut() {
        object.extend(stages);
    }
    let scores: Map<String, Value> =
        graded.iter().map(|g| (g.lab.name.clone(), g.grade.score().into())).collect();
    let (earned, _) = total(graded);
    format!("{presentation}\n{}\n", json!({ "scores": scores, "scoreboard": [earned] }))
}

fn classroom(graded: &[Graded]) -> Value {
    let full = graded.iter().all(|g| g.grade.is_full());
    let tests: Vec<Value> = goals(graded)
        .map(|(lab, grade, goal)| {
            json!({
                "name": numbered(lab, grade, goal).0, "status": if goal.met { "pass" } else { "fail" },
                "score": goal.earned, "message": reason(grade, goal), "test_code": "",
                "filename": format!("{}/my.rhai", lab.name), "line_no": 0, "duration": 0,
            })
        })
        .collect();
    json!({ "version": 1, "status": if full { "pass" } else { "fail" }, "max_score": total(graded).1, "tests": tests })
}

fn exercism(graded: &[Graded]) -> Value {
    let full = graded.iter().all(|g| g.grade.is_full());
    let tests: Vec<Value> = goals(graded)
        .map(|(lab, grade, goal)| {
            let message: String = reason(grade, goal).chars().take(500).collect();
            json!({
                "name": numbered(lab, grade, goal).0, "status": if goal.met { "pass" } else { "fail" },
                "message": if message.is_empty() { Value::Null } else { message.into() },
            })
        })
        .collect();
    json!({ "version": 3, "status": if full { "pass" } else { "fail" }, "message": Value::Null, "tests": tests })
}

fn tap(graded: &[Graded]) -> String {
    let mut text = format!("TAP version 14\n1..{}\n", goals(graded).count());
    for (at, (lab, grade, goal)) in goals(graded).enumerate() {
        let ok = if goal.met { "ok" } else { "not ok" };
        let name = numbered(lab, grade, goal).0.replace('\\', "\\\\").replace('#', "\\#");
        text.push_str(&format!("{ok} {} - {name}\n", at + 1));
        for line in reason(grade, goal).lines() {
            text.push_str(&format!("# {line}\n"));
        }
    }
    text
}

fn junit(graded: &[Graded]) -> String {
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    for g in graded {
        let failures = g.grade.goals.iter().filter(|goal| !goal.met).count();
        text.push_str(&format!(
            "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{failures}\" time=\"0\">\n",
            xml(&g.lab.name),
            g.grade.goals.len()
        ));
        for goal in &g.grade.goals {
            let case = format!("classname=\"{}\" name=\"{}\" time=\"0\"", xml(&g.lab.name), xml(&goal.name));
            if goal.met {
                text.push_str(&format!("    <testcase {case}/>\n"));
            } else {
                let why = xml(&reason(g.grade, goal));
                text.push_str(&format!("    <testcase {case}><failure message=\"{why}\"/></testcase>\n"));
            }
        }
        text.push_str("  </testsuite>\n");
    }
    text + "</testsuites>\n"
}

fn xml(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' => escaped.push_str("&#10;"),
            // Other control characters cannot stand in XML at all.
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}
