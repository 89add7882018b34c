//! The machines that come with the laboratory.
//!
//! Fidelity: imported — each captured machine is generated from its capture by `tests/machines.rs`; `tiny`, `classic`
//! and `phone` are plain machines for lessons.

use crate::import::{ImportError, nearest, spec};
use crate::mm::config::Config;

macro_rules! machines {
    ($($name:literal)*) => {
        const MACHINES: &[(&str, &str)] = &[$(($name, include_str!(concat!("machines/", $name, ".yaml"))),)*];
    };
}

machines! {
    "tiny" "classic" "phone"
    "x86_64-128M" "x86_64-256M" "x86_64-512M" "x86_64-1G" "x86_64-4G" "x86_64-6G" "x86_64-smp4-1G"
    "x86_64-numa2" "x86_64-numa4" "x86_64-numa-memoryless" "x86_64-numa-cpuless"
    "i386-2G" "i386-pae-512M" "i386-pae-1G" "i386-pae-6G"
    "arm64-512M" "arm64-1G" "uml-64M"
    "workload-swap" "workload-noswap" "workload-swap64" "workload-numa" "workload-cpuless"
}

/// The machine that is booted when none is named.
pub const DEFAULT: &str = "x86_64-1G";

/// The names of the shipped machines: the teaching ones, the captured ones, those of the recorded workloads.
pub fn names() -> impl Iterator<Item = &'static str> {
    MACHINES.iter().map(|(name, _)| *name)
}

/// The spec of a shipped machine, as YAML.
pub fn text(name: &str) -> Option<&'static str> {
    MACHINES.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
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
