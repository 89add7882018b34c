//! Words of the kernel's command line that say what a field of the spec says.
//!
//! Kernel: `mm/page_alloc.c` (`cmdline_parse_core`, `cmdline_parse_movable_node`), `mm/huge_memory.c`
//! (`setup_transparent_hugepage`).
//! Fidelity: simplified — the words of `Machine::apply_cmdline` have an effect as well; others are listed in the log.

use super::form::Spec;
use super::values::{Amount, Thp};
use crate::import::ImportError;
use serde::de::DeserializeOwned;

/// Words that [`obey`] understands, without their values.
const WORDS: [&str; 4] = ["kernelcore", "movablecore", "movable_node", "transparent_hugepage"];

/// The words of a command line that are fields of a spec.
pub fn fields_of_cmdline(line: &str) -> impl Iterator<Item = &str> {
    line.split_whitespace().filter(|word| WORDS.contains(&word.split('=').next().unwrap_or_default()))
}

/// Moves what the command line says into the fields; a field that is written stays.
pub fn obey(file: &str, spec: &mut Spec) -> Result<(), ImportError> {
    let line = spec.cmdline.clone().unwrap_or_default();
    for word in line.split_whitespace() {
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        match name {
            "kernelcore" => set(file, &mut spec.kernelcore, name, value)?,
            "movablecore" => set::<Amount>(file, &mut spec.movablecore, name, value)?,
            "transparent_hugepage" => set::<Thp>(file, &mut spec.thp, name, value)?,
            "movable_node" => spec.movable_node = true,
            _ => {}
        }
    }
    Ok(())
}

fn set<T: DeserializeOwned>(
    file: &str,
    field: &mut Option<T>,
    name: &str,
    value: &str,
) -> Result<(), ImportError> {
    if field.is_none() {
        let wrong = |why: serde_yaml::Error| {
            ImportError::new(file, why.to_string()).field(format!("cmdline: {name}"))
        };
        *field = Some(serde_yaml::from_str(&format!("{value:?}")).map_err(wrong)?);
    }
    Ok(())
}
