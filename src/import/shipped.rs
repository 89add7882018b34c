//! The machines that come with the laboratory.
//!
//! Fidelity: imported — each captured machine is generated from its capture by `tests/import/machines.rs`; `tiny`, `classic`,
//! `phone` and `x86_64-1T-numa8` are plain machines for lessons.

use crate::import::{ImportError, nearest, spec};
use crate::mm::config::Config;

macro_rules! machines {
    ($($name:literal: $purpose:literal,)*) => {
        /// Name, spec, and what it is for.
        const MACHINES: &[(&str, &str, &str)] =
            &[$(($name, include_str!(concat!("machines/", $name, ".yaml")), $purpose),)*];
    };
}

machines! {
    "tiny": "small enough to draw",
    "classic": "the textbooks' PC, with HighMem",
    "phone": "a 32-bit phone, with HighMem",
    "x86_64-1T-numa8": "a large server",
    "x86_64-128M": "captured",
    "x86_64-256M": "captured",
    "x86_64-512M": "captured",
    "x86_64-1G": "captured; the default",
    "x86_64-4G": "captured, memory above 4 GiB",
    "x86_64-6G": "captured",
    "x86_64-smp4-1G": "captured, four CPUs",
    "x86_64-numa2": "captured, two nodes",
    "x86_64-numa4": "captured, four nodes",
    "x86_64-numa-memoryless": "captured, a node without memory",
    "x86_64-numa-cpuless": "captured, a node without CPUs",
    "i386-2G": "captured, HighMem",
    "i386-pae-512M": "captured, three levels of tables",
    "i386-pae-1G": "captured, three levels, HighMem",
    "i386-pae-6G": "captured, HighMem above 4 GiB",
    "arm64-512M": "captured, another architecture",
    "arm64-1G": "captured, another architecture",
    "uml-64M": "captured, Linux as a process",
    "workload-swap": "of the recorded workloads, with swap",
    "workload-noswap": "of the recorded workloads, without swap",
    "workload-swap64": "of the recorded workloads, little swap",
    "workload-numa": "of the recorded workloads, two nodes",
    "workload-cpuless": "of the recorded workloads, a node without CPUs",
}

/// The machine that is booted when none is named.
pub const DEFAULT: &str = "x86_64-1G";

/// The names of the shipped machines: the teaching ones, the captured ones, those of the recorded workloads.
pub fn names() -> impl Iterator<Item = &'static str> {
    MACHINES.iter().map(|(name, ..)| *name)
}

/// What a shipped machine is for, in a few words.
pub fn purpose(name: &str) -> &'static str {
    MACHINES.iter().find(|(known, ..)| *known == name).map_or("", |(.., purpose)| purpose)
}

/// The spec of a shipped machine, as YAML.
pub fn text(name: &str) -> Option<&'static str> {
    MACHINES.iter().find(|(known, ..)| *known == name).map(|(_, text, _)| *text)
}

/// The shipped machine with this name.
pub fn get(name: &str) -> Result<Config, ImportError> {
    let Some(text) = text(name) else {
        let shown: String = name.chars().take(64).collect();
        let error = ImportError::new(
            shown,
            format!("there is no such machine among the {} shipped ones", MACHINES.len()),
        );
        return Err(match nearest(name, names()) {
            Some(meant) => error.advise(format!("Did you mean {meant}?")),
            None => error.advise(format!(
                "Name one of {}, or a file, or a folder of captures.",
                names().collect::<Vec<_>>().join(", ")
            )),
        });
    };
    spec::machine(name, &format!("{name}.yaml"), text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_machine_is_one() {
        for name in names() {
            let config = get(name).unwrap();
            assert_eq!(config.name, name);
        }
        assert!(text(DEFAULT).is_some());
    }

    #[test]
    fn a_misspelled_name_is_recognised() {
        assert!(get("x86-64-256m").unwrap_err().to_string().contains("Did you mean x86_64-256M?"));
        assert!(get("a cray").unwrap_err().to_string().contains("Name one of tiny, classic, phone"));
    }
}
