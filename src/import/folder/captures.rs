//! The captured files of one machine, by name.
//!
//! Fidelity: not of the kernel — names are those of the files in /proc and /sys, with or without `.txt`.

use crate::import::ImportError;
use crate::import::zoneinfo::{self, ZoneText};
use crate::mm::addr::Nid;
use std::collections::BTreeMap;
use std::path::Path;

/// The captured files of one machine by name, without `.txt`: `zoneinfo`, `node0-distance`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Captures {
    pub(super) files: BTreeMap<String, String>,
}

/// Files above this are no capture of a small file of /proc.
const MAX_BYTES: u64 = 16 << 20;

/// What a file of a folder is called when it is one of those that are read.
const FILES: &[&str] = &[
    "zoneinfo",
    "buddyinfo",
    "pagetypeinfo",
    "dmesg",
    "iomem",
    "meminfo",
    "sysctl-vm",
    "sys-kernel-mm",
    "swaps",
    "uname",
    "node-masks",
];

impl Captures {
    /// Adds the text of a file; `.txt` at the end of its name does not count.
    pub fn add(&mut self, name: &str, text: impl Into<String>) {
        self.files.insert(name.strip_suffix(".txt").unwrap_or(name).to_string(), text.into());
    }

    /// Reads the files of a folder that are known here; others are left alone.
    pub fn read(folder: &Path) -> Result<Captures, ImportError> {
        let shown = folder.display().to_string();
        let failed = |error: std::io::Error| {
            ImportError::new(&shown, error.to_string())
                .advise("Name a folder with the captured zoneinfo.txt in it.")
        };
        let mut captures = Captures::default();
        for entry in std::fs::read_dir(folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let Some(name) = path.file_name().and_then(|n| n.to_str()) else { continue };
            let stem = name.strip_suffix(".txt").unwrap_or(name);
            let of_node =
                stem.starts_with("node") && (stem.ends_with("-cpulist") || stem.ends_with("-distance"));
            if (FILES.contains(&stem) || of_node) && path.is_file() {
                captures.add(stem, crate::import::read(&path, MAX_BYTES)?);
            }
        }
        Ok(captures)
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.files.get(name).map(String::as_str)
    }

    /// The numbers of the file `nodeN-KIND`.
    pub(super) fn of_node(&self, nid: Nid, kind: &str) -> Option<(String, &str)> {
        let name = format!("node{nid}-{kind}");
        Some((format!("{name}.txt"), self.get(&name)?))
    }

    /// The zones of zoneinfo.
    pub fn zones(&self) -> Result<Vec<ZoneText>, ImportError> {
        let text = self.get("zoneinfo").ok_or_else(|| {
            let problem = format!("there is no zoneinfo.txt among its {} captures", self.files.len());
            ImportError::new("zoneinfo.txt", problem)
                .advise("Capture it with: cat /proc/zoneinfo > zoneinfo.txt")
        })?;
        zoneinfo::parse("zoneinfo.txt", text)
    }

    /// `vm.min_free_kbytes` as it was captured.
    pub fn min_free_kbytes(&self) -> Option<u64> {
        let line = self.get("sysctl-vm")?.lines().find_map(|l| l.strip_prefix("vm.min_free_kbytes"))?;
        line.trim_start_matches([' ', '=']).trim().parse().ok()
    }
}
