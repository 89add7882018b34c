//! Evidence: files of whatever name, or a paste on standard input, as one machine.
//!
//! ```text
//!   one folder        as `load` takes it
//!   one text          a zoneinfo, a kernel log with reports on memory, or a machine spec
//!   several texts     captures of one machine: each is told by its name, else by its content
//! ```
//!
//! Fidelity: not of the kernel — it only sorts what it is given.

use crate::import::folder::{self, Captures};
use crate::import::numbers::{self, Difference};
use crate::import::report::{self, Report};
use crate::import::{
    ImportError, MAX_TEXT, bare, free_lists, is_free_list, load, nothing_in, read, spec, zoneinfo,
};
use crate::mm::config::Config;
use crate::mm::machine::Machine;
use std::path::Path;

/// A machine that was made of evidence.
pub struct Evidence {
    /// The machine; a log may have reports without one, of a memory cgroup or cut short.
    pub config: Option<Config>,
    /// What was read, by kind: `zoneinfo`, `dmesg`.
    pub kinds: Vec<String>,
    /// Reports on memory, in the order of the log.
    pub reports: Vec<Report>,
    /// The log's name.
    pub log: String,
    /// Which of the reports the machine is made of.
    pub chosen: Option<usize>,
    /// What boot computes is compared with this; a bare zoneinfo is taken as the state it shows.
    captures: Option<Captures>,
}

impl Evidence {
    /// Makes a machine of what lies at these paths; `-` is the text that `input` answers. Of the reports of a log the
    /// `nth` is taken, or the first with a machine.
    ///
    /// # Errors
    /// When something cannot be read, or is no evidence of a machine's memory.
    pub fn gather(
        paths: &[impl AsRef<Path>],
        nth: Option<usize>,
        input: impl FnOnce() -> std::io::Result<Vec<u8>>,
    ) -> Result<Evidence, ImportError> {
        if let [path] = paths
            && path.as_ref().is_dir()
        {
            let captures = Captures::read(path.as_ref())?;
            let kinds = captures.names();
            return Ok(Evidence { captures: Some(captures), ..Evidence::with(load(path)?, kinds) });
        }
        Evidence::of(Evidence::texts(paths, input)?, nth)
    }

    /// What stands in these files, each with its name; `-` is the text that `input` answers.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn texts(
        paths: &[impl AsRef<Path>],
        input: impl FnOnce() -> std::io::Result<Vec<u8>>,
    ) -> Result<Vec<(String, String)>, ImportError> {
        let (mut texts, mut input) = (Vec::new(), Some(input));
        for path in paths.iter().map(AsRef::as_ref) {
            let shown = path.display().to_string();
            if shown != "-" {
                texts.push((shown, read(path, MAX_TEXT)?));
            } else if let Some(input) = input.take() {
                texts.push(("standard input".into(), pasted(input())?));
            }
        }
        Ok(texts)
    }

    fn with(config: Config, kinds: Vec<String>) -> Evidence {
        let log = String::new();
        Evidence { config: Some(config), kinds, reports: Vec::new(), log, chosen: None, captures: None }
    }

    /// Makes a machine of texts, each with the name of its file.
    ///
    /// # Errors
    /// When one is no evidence, or they do not belong together.
    pub fn of(texts: Vec<(String, String)>, nth: Option<usize>) -> Result<Evidence, ImportError> {
        if let Some((file, _)) = texts.iter().find(|(_, text)| text.trim().is_empty()) {
            return Err(nothing_in(file));
        }
        if let [(file, text)] = texts.as_slice()
            && let Some(found) = alone(file, text, nth)
        {
            return found;
        }
        let mut captures = Captures::default();
        let first = texts.first().map(|(file, _)| file.clone()).unwrap_or_default();
        for (file, text) in texts {
            captures.add_evidence(&file, text)?;
        }
        if !captures.has_zones() {
            let problem =
                format!("{} alone does not say how the machine's zones lie", captures.names().join(", "));
            return Err(ImportError::new(first, problem)
                .advise("Give /proc/zoneinfo of the same machine as well; it is enough by itself."));
        }
        let config = folder::machine("imported", &captures)?;
        Ok(Evidence { captures: Some(captures.clone()), ..Evidence::with(config, captures.names()) })
    }

    /// Where the booted machine differs from what was captured.
    ///
    /// # Errors
    /// When the captured zoneinfo cannot be read.
    pub fn differences(&self, machine: &Machine) -> Result<Vec<Difference>, ImportError> {
        self.captures.as_ref().map_or(Ok(Vec::new()), |captures| numbers::differences(captures, machine))
    }

    /// Is it taken as the state it shows, so that nothing was computed that could differ?
    pub fn is_state(&self) -> bool {
        self.captures.is_none()
    }
}

/// A text that makes a machine by itself; `None` when it can only be one capture of several.
fn alone(file: &str, text: &str, nth: Option<usize>) -> Option<Result<Evidence, ImportError>> {
    let name = Path::new(file).file_stem().and_then(|name| name.to_str()).unwrap_or("imported");
    let name = if file == "standard input" { "imported" } else { name };
    let of = |kind: &str, config| Evidence::with(config, vec![kind.to_string()]);
    if zoneinfo::is_one(text) && text.contains("pages free") {
        return Some(bare::machine(name, file, text).map(|config| of("zoneinfo", config)));
    }
    if let Some(made) = is_free_list(text).then(|| free_lists::machine(name, file, text)).flatten() {
        return Some(made.map(|config| of("free lists", config)));
    }
    if report::is_one(text) {
        return Some(reported(name, file, text, nth));
    }
    let is_spec = [".yaml", ".yml", ".json"].iter().any(|end| file.ends_with(end));
    if text.len() as u64 > spec::MAX_BYTES {
        return None;
    }
    match spec::machine(name, file, text) {
        Ok(config) => Some(Ok(of("machine spec", config))),
        // What is called a spec is one, with a mistake in it.
        Err(why) if is_spec => Some(Err(why)),
        Err(_) => None,
    }
}

/// The reports of a log, and the machine of one of them, if there is one.
fn reported(name: &str, file: &str, text: &str, nth: Option<usize>) -> Result<Evidence, ImportError> {
    let reports = report::parse(text);
    let chosen = match report::choose(&reports, nth, file) {
        Ok(chosen) => Some(chosen),
        Err(why) if nth.is_some() => return Err(why),
        Err(_) => None,
    };
    let config = chosen.map(|at| report::machine(name, file, &reports[at])).transpose()?;
    let (kinds, log) = (vec!["kernel log".to_string()], file.to_string());
    Ok(Evidence { config, kinds, reports, log, chosen, captures: None })
}

fn pasted(bytes: std::io::Result<Vec<u8>>) -> Result<String, ImportError> {
    const FILE: &str = "standard input";
    let bytes = bytes.map_err(|why| {
        ImportError::new(FILE, why.to_string()).advise("Give a file, or a text on standard input.")
    })?;
    if bytes.len() as u64 > MAX_TEXT {
        let problem = format!("the text is larger than {} MiB", MAX_TEXT >> 20);
        return Err(ImportError::new(FILE, problem).advise("Captures are small: is this the right text?"));
    }
    let text = String::from_utf8_lossy(&bytes).into_owned();
    if text.trim().is_empty() {
        return Err(ImportError::new(FILE, "the text is empty")
            .advise("Pipe something into it: cat /proc/zoneinfo | vmlab import -"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ZONEINFO: &str = "Node 0, zone   Normal\n  pages free     3000\n        spanned  4096\n        present  4096\n        managed  4000\n        protection: (0, 0)\n  start_pfn:           0\n";

    fn of(texts: &[(&str, &str)]) -> Result<Evidence, ImportError> {
        Evidence::of(texts.iter().map(|(file, text)| (file.to_string(), text.to_string())).collect(), None)
    }

    #[test]
    fn texts_are_sorted_by_what_they_say() {
        let alone = of(&[("paste", ZONEINFO)]).unwrap();
        assert!(alone.is_state() && alone.kinds == ["zoneinfo"]);
        assert_eq!(of(&[("m.yaml", "mem: 64M\n")]).unwrap().kinds, ["machine spec"]);
        let both = of(&[("a", ZONEINFO), ("b", "Node 0, zone Normal 8 0 0 0 0 0 0 0 0 0 2\n")]).unwrap();
        assert_eq!(both.kinds, ["buddyinfo", "zoneinfo"]);
        let machine = Machine::boot(both.config.clone().unwrap()).unwrap();
        assert!(!both.differences(&machine).unwrap().iter().any(|d| d.what.contains("present")));
    }

    #[test]
    fn what_is_no_evidence_is_refused_with_advice() {
        let why = |texts: &[(&str, &str)]| of(texts).err().map(|why| why.to_string()).unwrap_or_default();
        assert!(why(&[("letter.txt", "Dear Sir")]).contains("looks like none of the files"));
        assert!(why(&[("m.yaml", "mem: [1\n")]).contains("[ is never closed"));
        assert!(why(&[("meminfo", "MemTotal: 100 kB\n")]).contains("meminfo alone does not say"));
        let empty = Evidence::gather(&["-"], None, || Ok(b" \n".to_vec())).err().map(|why| why.to_string());
        assert!(empty.is_some_and(|why| why.contains("the text is empty")));
        let gone =
            Evidence::gather(&["/no/such/file"], None, || Ok(Vec::new())).err().map(|why| why.to_string());
        assert!(gone.is_some_and(|why| why.contains("/no/such/file")));
    }
}
