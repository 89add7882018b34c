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
    "slabinfo",
    "slab-sysfs",
    "vmallocinfo",
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

    /// Adds a text that may be called anything: what it is is told by its name, else by its content.
    pub fn add_evidence(&mut self, file: &str, text: impl Into<String>) -> Result<(), ImportError> {
        let text = text.into();
        let name = Path::new(file).file_name().and_then(|n| n.to_str()).unwrap_or(file);
        let stem = name.strip_suffix(".txt").unwrap_or(name);
        let known = is_known(stem).then_some(stem).or_else(|| kind_of(&text));
        let Some(kind) = known else {
            let problem = "it looks like none of the files that tell about a machine's memory";
            let known = FILES.join(", ");
            return Err(ImportError::new(file, problem)
                .advise(format!("Known are machine specs (YAML), the captures {known}; alone, a process's maps or smaps, or a log of strace.")));
        };
        if self.files.contains_key(kind) {
            let problem = format!("it is a second {kind}");
            return Err(
                ImportError::new(file, problem).advise("Give the captures of one machine, each once.")
            );
        }
        self.add(kind, text);
        Ok(())
    }

    /// Is there a zoneinfo, without which there is no machine?
    pub fn has_zones(&self) -> bool {
        self.files.contains_key("zoneinfo")
    }

    /// What is there, by name.
    pub fn names(&self) -> Vec<String> {
        self.files.keys().cloned().collect()
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

/// Files that may lie beside the others, and say nothing that those do not.
const BESIDE: &[&str] = &["extfrag_index", "unusable_index", "sysrq-m"];

fn is_known(stem: &str) -> bool {
    let of_node = stem.starts_with("node") && (stem.ends_with("-cpulist") || stem.ends_with("-distance"));
    FILES.contains(&stem) || BESIDE.contains(&stem) || of_node
}

/// What a text is by its content.
fn kind_of(text: &str) -> Option<&'static str> {
    let has = |words: &str| text.contains(words);
    let line = |start: &str| text.lines().any(|l| l.starts_with(start));
    Some(if has("migrate type at order") || has("Number of blocks type") {
        "pagetypeinfo"
    } else if has("Linux version ") || has("Freeing initrd memory") {
        "dmesg"
    } else if zoneinfo::is_one(text) {
        if has("pages free") { "zoneinfo" } else { "buddyinfo" }
    } else if has(" : System RAM") {
        "iomem"
    } else if line("slabinfo - version") {
        "slabinfo"
    } else if line("MemTotal:") {
        "meminfo"
    } else if line("vm.") {
        "sysctl-vm"
    } else if line("Filename") && has("Priority") {
        "swaps"
    } else if has("transparent_hugepage/enabled") {
        "sys-kernel-mm"
    } else if line("online:") {
        "node-masks"
    } else {
        return None;
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_is_told_by_name_or_content() {
        let mut captures = Captures::default();
        captures.add_evidence("paste 1", "Node 0, zone DMA\n  pages free 7\n").unwrap();
        captures.add_evidence("paste 2", "Node 0, zone DMA 1 1 1 0 0 0 0 0 0 0 0\n").unwrap();
        captures.add_evidence("/tmp/node0-distance.txt", "10\n").unwrap();
        captures.add_evidence("boot.log", "[ 0.0] Linux version 6.1.0 x\n").unwrap();
        let names: Vec<&str> = captures.files.keys().map(String::as_str).collect();
        assert_eq!(names, ["buddyinfo", "dmesg", "node0-distance", "zoneinfo"]);
        let error = captures.add_evidence("letter.txt", "Dear Sir").unwrap_err().to_string();
        assert!(error.contains("letter.txt: it looks like none of the files"), "{error}");
        assert!(
            captures
                .add_evidence("again", "Linux version 6")
                .unwrap_err()
                .to_string()
                .contains("a second dmesg")
        );
    }
}
