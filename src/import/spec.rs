//! Machine specs: YAML a person can write, to a machine.
//!
//! ```yaml
//! arch: x86_64          # a plain machine, laid out as this kernel would
//! mem: 256M
//! cpus: 2
//! swap: 512M
//! ```
//!
//! Or, as captures are written, every zone of every node: see `machines/x86_64-256M.yaml`. JSON is YAML, so a map of a
//! script is a spec as well. Fidelity: not of the kernel.

mod brackets;
mod build;
mod cmdline;
mod form;
mod many;
mod values;
mod write;

pub use cmdline::fields_of_cmdline;
pub use values::{size, size_text};
pub use write::to_yaml;

use crate::import::{ImportError, nearest};
use crate::mm::config::Config;

/// A spec above this is none.
pub const MAX_BYTES: u64 = 4 << 20;

/// Makes a machine of a spec; `name` is its name when the spec has none, `file` is named in errors.
pub fn machine(name: &str, file: &str, text: &str) -> Result<Config, ImportError> {
    let spec: form::Spec = serde_yaml::from_str(text).map_err(|error| not_a_spec(file, text, &error))?;
    machine_of(name, file, text, spec)
}

/// The same with words on the kernel's command line, behind those that the spec has.
pub fn machine_with_cmdline(
    name: &str,
    file: &str,
    text: &str,
    cmdline: &str,
) -> Result<Config, ImportError> {
    let mut spec: form::Spec = serde_yaml::from_str(text).map_err(|error| not_a_spec(file, text, &error))?;
    spec.cmdline = Some([spec.cmdline.as_deref().unwrap_or_default(), cmdline].join(" ").trim().to_string());
    machine_of(name, file, text, spec)
}

fn machine_of(name: &str, file: &str, text: &str, mut spec: form::Spec) -> Result<Config, ImportError> {
    cmdline::obey(file, &mut spec)?;
    build::machine(name, file, spec).map_err(|error| located(error, file, text))
}

/// A complaint of the YAML reader, with the line it is about and what to try.
fn not_a_spec(file: &str, text: &str, error: &serde_yaml::Error) -> ImportError {
    if let Some((line, column, what, advice)) = brackets::mistake(text) {
        let source = text.lines().nth(line - 1).unwrap_or("");
        return ImportError::new(file, what).at(line, source).column(column).advise(advice);
    }
    let message = error.to_string();
    // The place stands in front, as everywhere: it need not be said twice.
    let problem = message.split(" at line ").next().unwrap_or(&message);
    let (field, problem) = match problem.split_once(": ") {
        Some((path, rest)) if is_path(path) => (path, rest),
        _ => ("", problem),
    };
    let problem = problem.replace("struct Spec", "a machine spec").replace("struct ", "");
    let advice = advice(&problem);
    // Every key there is, one after the other, is no help: the nearest one is.
    let problem = match problem.split_once(", expected one of") {
        Some((unknown, _)) if problem.starts_with("unknown field") => unknown.to_string(),
        _ => problem,
    };
    let mut found = ImportError::new(file, problem).field(field).advise(advice);
    if let Some(place) = error.location() {
        let line = text.lines().nth(place.line().saturating_sub(1)).unwrap_or("");
        found = found.at(place.line(), line).column(place.column());
    }
    found
}

fn is_path(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || "_.[]".contains(c))
}

/// What to try: `did you mean` for an unknown key, else what a spec looks like.
fn advice(problem: &str) -> String {
    let mut quoted = problem.split('`').skip(1).step_by(2);
    if problem.starts_with("unknown field")
        && let Some(word) = quoted.next()
    {
        let known: Vec<&str> = quoted.collect();
        return match nearest(word, known.iter().copied()) {
            Some(meant) => format!("Did you mean `{meant}`?"),
            None => "Leave the key out; a machine's first keys are `arch`, `mem`, `cpus`, `nodes`, `swap` and `sysctl`.".into(),
        };
    }
    if problem.contains("a machine spec") {
        return "A machine is a YAML spec such as `arch: x86_64` and `mem: 256M`, a zoneinfo text, or a folder of captures."
            .into();
    }
    // A complaint that ends in what could be written is its own advice.
    if problem.contains(" is no ") || problem.starts_with("invalid ") {
        return "Correct the value, or leave the key out where the rest says enough.".into();
    }
    if problem.contains("tab character") {
        return "Indent with spaces: YAML takes no tabs.".into();
    }
    "Indentation and brackets make the structure; see the shipped machines for an example.".into()
}

/// Adds the line to an error about a field that was read well but cannot be.
fn located(error: ImportError, file: &str, text: &str) -> ImportError {
    if error.line().is_some() || error.file() != file {
        return error;
    }
    match place(error.field_name(), text) {
        Some((line, source)) => error.at(line, source),
        None => error,
    }
}

/// The line of `nodes`, or of `Node 0, zone DMA: managed`: every word of it, each after the one before.
fn place<'a>(field: &str, text: &'a str) -> Option<(usize, &'a str)> {
    let (zone, key) = field.rsplit_once(": ").unwrap_or(("", field));
    let node = zone.strip_prefix("Node ").and_then(|z| z.split(',').next()).map(|n| format!("node: {n}"));
    let zone = zone.split_once("zone ").map(|(_, kind)| format!("{kind}:"));
    let keys = [node, zone, Some(format!("{key}:"))];
    let mut found = None;
    let mut lines = text.lines().enumerate().peekable();
    for key in keys.into_iter().flatten() {
        let has = |line: &str| {
            line.match_indices(&key).any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric()))
        };
        let hit = loop {
            match lines.peek() {
                Some(&(_, line)) if has(line) => break lines.peek().copied(),
                Some(_) => lines.next(),
                None => break None,
            };
        };
        let Some((at, line)) = hit else { break };
        found = Some((at + 1, line));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mm::config::{Arch, ThpMode};

    fn refused(text: &str) -> String {
        machine("m", "m.yaml", text).unwrap_err().to_string()
    }

    #[test]
    fn a_plain_machine_is_four_lines() {
        let config = machine("m", "m.yaml", "arch: x86_64\nmem: 256M\ncpus: 2\nswap: 512M\n").unwrap();
        assert_eq!((config.arch, config.nr_cpus(), config.thp), (Arch::X86_64, 2, Some(ThpMode::Never)));
        assert_eq!((config.swap[0].name.as_str(), config.swap[0].pages), ("/dev/vda", 131_071));
    }

    #[test]
    fn json_is_a_spec_too() {
        let text = r#"{"arch": "i386", "mem": 1073741824, "nodes": [{"mem": "1G", "cpus": [0, 1]}], "sysctl": {"vm.swappiness": 10}}"#;
        let config = machine("m", "map", text).unwrap();
        assert_eq!(config.nodes[0].cpus, [0, 1]);
        assert_eq!(config.sysctl, [("vm.swappiness".to_string(), "10".to_string())]);
    }

    #[test]
    fn nodes_are_a_number_sizes_or_written_out() {
        for nodes in ["2", "[512M, 512M]", "[{ mem: 512M, cpus: 1 }, { node: 1, mem: 512M, cpus: 1 }]"] {
            let config = machine("m", "m.yaml", &format!("mem: 1G\ncpus: 2\nnodes: {nodes}\n")).unwrap();
            let cpus: Vec<_> = config.nodes.iter().map(|n| n.cpus.clone()).collect();
            assert_eq!((cpus, config.present_pages() + 98), (vec![vec![0], vec![1]], 1 << 18), "{nodes}");
            assert_eq!(config.nodes[1].distances, [20, 10]);
        }
    }

    #[test]
    fn what_is_wrong_has_a_place_and_an_advice() {
        let error = refused("arch: x86_64\nmemory: 256M\n");
        assert!(error.starts_with("m.yaml:2:1: unknown field `memory`"), "{error}");
        assert!(
            error.contains("    2 | memory: 256M\n") && error.contains("help: Did you mean `mem`?"),
            "{error}"
        );
        let error = refused("arch: x86-64\n");
        assert!(error.contains("m.yaml:1:7: arch: \"x86-64\" is no architecture"), "{error}");
        assert!(error.contains("Did you mean x86_64?"), "{error}");
        let error = refused("arch: vax\n");
        assert!(error.contains("there are x86_64") && error.contains("help: Correct the value"), "{error}");
        let error = refused("nodes: [512M, 512M\ncpus: 2\n");
        assert!(
            error.starts_with("m.yaml:1:8: [ is never closed\n") && error.contains("Close it with ]"),
            "{error}"
        );
        assert!(refused("mem: 1G\n\tcpus: 2\n").contains("Indent with spaces"));
        let error = refused("mem: lots\n");
        assert!(error.contains("\"lots\" is no size"), "{error}");
        let error = refused("mem: 1M\n");
        assert!(error.starts_with("m.yaml:1: mem: 1048576 bytes of memory"), "{error}");
        assert!(refused("just words").contains("a YAML spec such as"), "{}", refused("just words"));
        assert!(refused("mem: [1,\n").contains("m.yaml:"), "{}", refused("mem: [1,\n"));
        assert!(refused("mem: 1G\nmem: 2G\n").contains("duplicate"), "{}", refused("mem: 1G\nmem: 2G\n"));
    }

    #[test]
    fn a_zone_that_cannot_be_names_its_line() {
        let text = "arch: x86_64\nnodes:\n- node: 0\n  cpus: [0]\n  zones:\n    DMA:\n      start_pfn: 1\n      \
                    spanned: 4095\n      managed: 5000\n";
        let error = refused(text);
        assert!(error.starts_with("m.yaml:9: Node 0, zone DMA: managed: 5000 managed pages"), "{error}");
        let error = refused(&text.replace("5000", "4000").replace("x86_64", "uml"));
        assert!(error.contains("uml has no zone DMA"), "{error}");
    }

    #[test]
    fn hostile_specs_are_refused_not_obeyed() {
        assert!(machine("m", "m", &"[".repeat(100_000)).is_err());
        assert!(machine("m", "m", &"{a: ".repeat(10_000)).is_err());
        let bomb =
            "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b]\nmem: *c\n";
        assert!(machine("m", "m", bomb).is_err());
        for text in
            ["", "~", "nodes: 0", "nodes: 99999999999", "cpus: 99999999999", "nodes: []", "seed: -1", "\0"]
        {
            let error = machine("m", "m", text).map(|c| c.nr_cpus());
            assert!(error.is_err() || text.is_empty() || text == "~", "{text:?}: {error:?}");
        }
    }
}
