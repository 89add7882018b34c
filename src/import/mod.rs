//! Data from outside: captures of real machines and machine specs, to [`Config`].
//!
//! ```text
//!   load(path) ─┬─ a folder of captures   folder    dmesg iomem pagetypeinfo buddyinfo sysfs sysctl
//!               ├─ a zoneinfo text        bare      zoneinfo
//!               └─ a machine spec (YAML)  spec      generic (a plain machine)
//!   machine(name) ── shipped specs        shipped
//! ```
//!
//! | module | reads |
//! |---|---|
//! | [`zoneinfo`] [`buddyinfo`] [`pagetypeinfo`] [`iomem`] | files of /proc |
//! | [`dmesg`] | the boot log |
//! | [`sysfs`] [`sysctl`] | small files of /sys and /proc/sys |
//! | [`bare`] [`folder`] | captures, as a machine |
//! | [`nodes`] [`profile`] [`layout`] | what captures leave open |
//! | [`check`] | whether the machine can exist |
//!
//! Everything here is hostile until parsed: numbers have limits, errors have a place and an advice, and every
//! inference is a sentence in `Config::inferred`.

pub mod bare;
pub mod buddyinfo;
pub mod check;
pub mod dmesg;
mod error;
pub mod folder;
pub mod generic;
pub mod iomem;
pub mod layout;
pub mod nodes;
pub mod pagetypeinfo;
pub mod profile;
pub mod sysctl;
pub mod sysfs;
mod text;
pub mod zoneinfo;

pub use error::{ImportError, nearest};

use std::path::Path;

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
