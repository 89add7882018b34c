//! Data from outside: captures of real machines and machine specs, to [`Config`].
//!
//! ```text
//!   load(path) ─┬─ a folder of captures   folder    dmesg iomem pagetypeinfo buddyinfo sysfs sysctl
//!               ├─ a zoneinfo text        bare      zoneinfo
//!               ├─ a kernel log           report    allocation failures, OOM reports, the key m
//!               └─ a machine spec (YAML)  spec      generic (a plain machine)
//!   machine(name) ── shipped specs        shipped
//!   Evidence      ── pastes and files     evidence
//! ```
//!
//! | module | reads |
//! |---|---|
//! | [`zoneinfo`] [`buddyinfo`] [`pagetypeinfo`] [`iomem`] | files of /proc |
//! | [`dmesg`] | the boot log |
//! | [`sysfs`] [`sysctl`] | small files of /sys and /proc/sys |
//! | [`maps`] [`pmap`] [`strace`] [`replay`] [`process`] | what a process had mapped, what it called |
//! | [`bare`] [`folder`] [`free_lists`] | captures, as a machine |
//! | [`report`] | memory reports of a kernel log, as a machine and a cause |
//! | [`nodes`] [`profile`] [`layout`] | what captures leave open |
//! | [`spec`] [`generic`] [`shipped`] | machines written down, plain, shipped |
//! | [`numbers`] | what boot computes, beside what a capture shows |
//! | [`check`] | whether the machine can exist |
//!
//! Everything here is hostile until parsed: numbers have limits, errors have a place and an advice, and every
//! inference is a sentence in `Config::inferred`.

pub mod bare;
pub mod buddyinfo;
pub mod check;
pub mod dmesg;
mod error;
pub mod evidence;
pub mod folder;
pub mod free_lists;
pub mod generic;
pub mod iomem;
pub mod layout;
pub mod maps;
pub mod nodes;
pub mod numbers;
pub mod pagetypeinfo;
pub mod pmap;
pub mod process;
pub mod profile;
pub mod replay;
pub mod report;
pub mod shipped;
pub mod slabs;
pub mod spec;
pub mod strace;
pub mod sysctl;
pub mod sysfs;
mod text;
pub mod vmallocinfo;
mod zoneinfo;

pub use error::{ImportError, nearest};

use crate::mm::config::Config;
use crate::mm::machine::Machine;
use std::path::Path;

/// A zoneinfo of the largest machines is below this.
pub const MAX_TEXT: u64 = 64 << 20;

/// Makes a machine of what lies at `path`: a folder of captures, a zoneinfo text, a kernel log with a report on memory,
/// or a machine spec, told by content.
pub fn load(path: impl AsRef<Path>) -> Result<Config, ImportError> {
    let path = path.as_ref();
    let name = path.file_stem().and_then(|n| n.to_str()).unwrap_or("machine");
    if path.is_dir() {
        // A folder's name has no extension: `linux-6.1` is called that.
        let name = path.canonicalize().ok().and_then(|p| Some(p.file_name()?.to_str()?.to_string()));
        let captures = folder::Captures::read(path)?;
        return folder::machine(name.as_deref().unwrap_or("machine"), &captures)
            .map_err(|why| why.inside(path));
    }
    parse(name, &path.display().to_string(), &read(path, MAX_TEXT)?)
}

/// Makes a machine of a text: a zoneinfo, a kernel log or a machine spec, told by content; `file` is named in errors.
pub fn parse(name: &str, file: &str, text: &str) -> Result<Config, ImportError> {
    if text.trim().is_empty() {
        return Err(nothing_in(file));
    }
    if zoneinfo::is_one(text) && !is_free_list(text) {
        return bare::machine(name, file, text);
    }
    if report::is_one(text) {
        let reports = report::parse(text);
        return report::machine(name, file, &reports[report::choose(&reports, None, file)?]);
    }
    if let Some(made) = free_lists::machine(name, file, text) {
        return made;
    }
    if text.len() as u64 > spec::MAX_BYTES {
        let problem = format!("{} bytes of text, and no line `Node 0, zone …` in it", text.len());
        return Err(ImportError::new(file, problem).advise("A machine spec has at most 4 MiB."));
    }
    spec::machine(name, file, text)
}

/// The complaint about a file without a word.
fn nothing_in(file: &str) -> ImportError {
    ImportError::new(file, "the file is empty").advise(
        "Capture it again: `cat /proc/zoneinfo` must not fail; or write `mem: 64M` for a plain machine.",
    )
}

/// Lines of buddyinfo and pagetypeinfo begin as those of zoneinfo do, and go on in numbers.
fn is_free_list(text: &str) -> bool {
    buddyinfo::is_one(text) || text.contains("Page block order:") || text.contains(", type ")
}

/// Makes a shipped machine, or one that lies at a path: shipped names win.
pub fn machine(name_or_path: &str) -> Result<Config, ImportError> {
    if shipped::text(name_or_path).is_some() || !Path::new(name_or_path).exists() {
        // A path that is not there is the file's problem, not a misspelled name.
        let is_path = name_or_path.contains(['/', '\\'])
            || name_or_path.ends_with(".yaml")
            || name_or_path.ends_with(".txt");
        return if is_path { load(name_or_path) } else { shipped::get(name_or_path) };
    }
    load(name_or_path)
}

/// The same machine with words on the kernel's command line.
///
/// # Errors
/// As [`machine`]; and when a word is a field of the spec and the machine is none.
pub fn machine_with_cmdline(name_or_path: &str, cmdline: &str) -> Result<Config, ImportError> {
    if shipped::text(name_or_path).is_some() {
        let spec = format!("machine: {name_or_path:?}");
        return spec::machine_with_cmdline(name_or_path, name_or_path, &spec, cmdline);
    }
    let mut config = machine(name_or_path)?;
    if let Some(word) = spec::fields_of_cmdline(cmdline).next() {
        let problem = format!("{word}: of a machine that lies in a file, the file says it");
        return Err(ImportError::new(name_or_path, problem)
            .advise("Write it into the spec, as a field or as `cmdline`."));
    }
    config.cmdline = cmdline.into();
    Ok(config)
}

/// Where a machine booted from a folder of captures differs from them; nothing for any other source.
pub fn differences(name_or_path: &str, machine: &Machine) -> Result<Vec<numbers::Difference>, ImportError> {
    let path = Path::new(name_or_path);
    if shipped::text(name_or_path).is_some() || !path.is_dir() {
        return Ok(Vec::new());
    }
    numbers::differences(&folder::Captures::read(path)?, machine).map_err(|why| why.inside(path))
}

/// Reads a text that a person names.
///
/// # Errors
/// When it cannot be read, or is larger than any capture.
pub fn text_of(path: &str) -> Result<String, ImportError> {
    read(Path::new(path), MAX_TEXT)
}

/// Reads a text file of at most `limit` bytes; what is no UTF-8 is replaced.
fn read(path: &Path, limit: u64) -> Result<String, ImportError> {
    use std::io::Read;
    let shown = path.display().to_string();
    let failed = |error: std::io::Error| {
        ImportError::new(&shown, error.to_string()).advise("Check the path, and that the file may be read.")
    };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(limit + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > limit {
        let problem = format!("the file is larger than {} MiB", limit >> 20);
        return Err(
            ImportError::new(shown, problem).advise("Captures and specs are small: is this the right file?")
        );
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
