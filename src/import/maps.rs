//! /proc/PID/maps and smaps of a real process: its areas, to be laid out on a machine.
//!
//! ```text
//!   7f0a7a48f000-7f0a7a503000 r-xp 00010000 fe:00 326282          /usr/lib/x86_64-linux-gnu/libm.so.6
//!   Rss:                 212 kB                                   smaps: what was in memory
//!   VmFlags: rd ex mr mw me sd                                    smaps: what maps does not say
//! ```
//!
//! Kernel: `fs/proc/task_mmu.c`.
//! Fidelity: faithful — every area, its access, file, offset, device and inode, the flags of smaps, and how many of its
//! pages were in memory, written or as they are in the file. Inferred — which pages it were.

use crate::import::ImportError;
use crate::mm::addr::PAGE_SIZE;
use crate::mm::exec::recorded::{RecordedArea, Resident};
use crate::mm::vma::VmFlags;
use crate::mm::vma::names::flag_of;

/// Areas a file may have: more than the kernel allows by default.
const MOST: usize = 1 << 17;

/// What told the areas of a process.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Source {
    /// /proc/PID/maps.
    #[default]
    Maps,
    /// /proc/PID/smaps.
    Smaps,
    /// The tool pmap.
    Pmap,
}

/// The areas of a process, as a file of /proc or a tool told them.
#[derive(Clone, Debug, Default)]
pub struct Maps {
    /// Areas, lowest first.
    pub areas: Vec<RecordedArea>,
    /// What told them.
    pub source: Source,
    /// What was typed to start the process, as far as it was told.
    pub command: String,
    /// It was said what of them was in memory.
    pub resident: bool,
    /// It was said where they lie in their files.
    pub placed: bool,
    /// The process was one of a 32-bit kernel: names stand in column 49 of maps, not in 73; addresses are short.
    pub narrow: bool,
}

impl Maps {
    /// Adds the next area.
    ///
    /// # Errors
    /// What is wrong with it, and what to try, when it begins inside the one before or is one too many.
    pub(super) fn add(&mut self, area: RecordedArea) -> Result<(), (String, &'static str)> {
        if let Some(last) = self.areas.last().filter(|last| area.start < last.end) {
            let problem = format!(
                "this area begins at {:#x}, inside the one before, which ends at {:#x}",
                area.start, last.end
            );
            return Err((problem, "The areas of one process never overlap: are two files pasted together?"));
        }
        if self.areas.len() == MOST {
            return Err((format!("more than {MOST} areas"), "vm.max_map_count allows 65,530."));
        }
        self.areas.push(area);
        Ok(())
    }

    /// The areas, if there is one.
    ///
    /// # Errors
    /// None was found.
    pub(super) fn whole(self, file: &str) -> Result<Maps, ImportError> {
        if self.areas.is_empty() {
            return Err(ImportError::new(file, "no area was found")
                .advise("A kernel thread or a zombie has none: take the maps of a process that runs."));
        }
        Ok(self)
    }

    /// Pages that were in memory: written ones (some may have been in swap), and those of files.
    pub fn pages(&self) -> Resident {
        let add = |sum: Resident, area: &RecordedArea| Resident {
            written: sum.written + area.written,
            read: sum.read + area.read,
        };
        self.areas.iter().fold(Resident::default(), add)
    }
}

/// True for a text that begins with an area.
pub fn is_one(text: &str) -> bool {
    text.lines().find(|line| !line.trim().is_empty()).is_some_and(|line| area(line).is_ok())
}

/// Reads maps or smaps, told by content.
///
/// # Errors
/// The line that is none, with what is wrong about it; areas that overlap or run backwards.
pub fn parse(file: &str, text: &str) -> Result<Maps, ImportError> {
    let mut maps = Maps { placed: true, ..Maps::default() };
    for (n, line) in text.lines().enumerate() {
        let wrong = |problem: String| ImportError::new(file, problem).at(n + 1, line);
        if line.trim().is_empty() {
            continue;
        }
        if let Some((key, value)) = key_of(line) {
            (maps.source, maps.resident) = (Source::Smaps, true);
            let Some(area) = maps.areas.last_mut() else {
                return Err(wrong(format!("{key} stands before the first area"))
                    .advise("A line such as 00400000-00401000 r--p … must come first: is the text cut?"));
            };
            detail(area, key, value).map_err(wrong)?;
            continue;
        }
        let (found, column) = area(line).map_err(|problem| {
            wrong(problem).advise("Give the file as `cat /proc/PID/maps` or smaps prints it.")
        })?;
        maps.narrow |= column == Some(49);
        maps.add(found).map_err(|(problem, advice)| wrong(problem).advise(advice))?;
    }
    maps.whole(file)
}

/// An area's line, and the column of its name.
fn area(line: &str) -> Result<(RecordedArea, Option<usize>), String> {
    let mut rest = line;
    let mut word = || {
        let trimmed = rest.trim_start();
        let (word, after) = trimmed.split_once(' ').unwrap_or((trimmed, ""));
        rest = after;
        word.trim_end()
    };
    let hex = |text: &str, what: &str| {
        u64::from_str_radix(text, 16).map_err(|_| format!("{what} {text:?} is no number in hexadecimal"))
    };
    let range = word();
    let (start, end) = range.split_once('-').ok_or_else(|| format!("{range:?} is no range of addresses"))?;
    let (start, end) = (hex(start, "the start")?, hex(end, "the end")?);
    let perms = word();
    let offset = hex(word(), "the offset")?;
    let device = word();
    let (major, minor) = device.split_once(':').ok_or_else(|| format!("{device:?} is no device"))?;
    let number = |text| hex(text, "the device").map(|n| n as u32);
    let device = (number(major)?, number(minor)?);
    let inode = word();
    let inode = inode.parse().map_err(|_| format!("the inode {inode:?} is no number"))?;
    let name = rest.trim();
    if start >= end || start % PAGE_SIZE != 0 || end % PAGE_SIZE != 0 {
        return Err(format!("{start:#x}-{end:#x} is no range of whole pages"));
    }
    let column = (!name.is_empty()).then(|| line.len() - rest.trim_start().len());
    let area = RecordedArea {
        start,
        end,
        flags: flags(perms)?,
        offset,
        device,
        inode,
        name: name.into(),
        written: 0,
        read: 0,
    };
    Ok((area, column))
}

/// `rw-p` as flags; what the area may become is not said, so it may become anything.
pub(super) fn flags(perms: &str) -> Result<VmFlags, String> {
    let bytes = perms.as_bytes();
    let known = |at: usize, yes: u8, no: u8| bytes.get(at).is_some_and(|b| *b == yes || *b == no);
    if bytes.len() != 4
        || !known(0, b'r', b'-')
        || !known(1, b'w', b'-')
        || !known(2, b'x', b'-')
        || !known(3, b's', b'p')
    {
        return Err(format!("{perms:?} is no access such as rw-p"));
    }
    let bit = |at: usize, yes: u8, flag: VmFlags| if bytes[at] == yes { flag } else { VmFlags(0) };
    let shared = if bytes[3] == b's' { VmFlags::SHARED.with(VmFlags::MAYSHARE) } else { VmFlags(0) };
    Ok(bit(0, b'r', VmFlags::READ)
        .with(bit(1, b'w', VmFlags::WRITE))
        .with(bit(2, b'x', VmFlags::EXEC))
        .with(VmFlags::MAY_ALL)
        .with(shared))
}

/// The key and the value of a line of smaps.
fn key_of(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.split_once(':')?;
    let word = key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    // An area's line has a colon only in its device, behind a dash and blanks.
    (word && key.starts_with(|c: char| c.is_ascii_uppercase())).then_some((key, value.trim()))
}

/// What a line of smaps, or a column of `pmap -X`, adds to its area. `Rss` stands before `Anonymous`, and `Swap` behind.
pub(super) fn detail(area: &mut RecordedArea, key: &str, value: &str) -> Result<(), String> {
    if key == "VmFlags" {
        let access = area.flags;
        let named = value.split_whitespace().filter_map(flag_of).fold(VmFlags(0), VmFlags::with);
        if named.0 & 7 != access.0 & 7 {
            return Err(format!("VmFlags says {value}, but the area's line says {}", access.perms()));
        }
        area.flags = named;
        return Ok(());
    }
    let number = value.split_whitespace().next().unwrap_or_default();
    let kb: u64 = number.parse().map_err(|_| format!("{key} {number:?} is no number"))?;
    let most = (area.end - area.start) / PAGE_SIZE;
    match key {
        "Rss" => area.read = (kb / 4).min(most),
        "Anonymous" => {
            area.written = (kb / 4).min(most);
            area.read = area.read.saturating_sub(area.written);
        }
        "Swap" => area.written = area.written.saturating_add(kb / 4).min(most),
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_area_is_read_whole() {
        let text = "7f0a7a48f000-7f0a7a503000 r-xp 00010000 fe:00 326282                     /usr/lib/lib m.so (deleted)\n";
        let maps = parse("maps", text).unwrap();
        let area = &maps.areas[0];
        assert_eq!(
            (area.start, area.offset, area.device, area.inode),
            (0x7f0a_7a48_f000, 0x1_0000, (0xfe, 0), 326_282)
        );
        assert_eq!((area.name.as_str(), maps.narrow), ("/usr/lib/lib m.so (deleted)", false));
        assert_eq!(area.flags.perms(), "r-xp");
    }

    #[test]
    fn what_is_no_area_is_refused_with_its_line() {
        let why = |text: &str| parse("maps", text).unwrap_err().to_string();
        assert!(why("").contains("no area"));
        assert!(why("00400000-00401000 r--p 00000000 00:00 0\nhello\n").contains("maps:2"));
        assert!(why("00401000-00400000 r--p 00000000 00:00 0\n").contains("whole pages"));
        assert!(
            why("00400000-00402000 r--p 0 00:00 0\n00401000-00403000 r--p 0 00:00 0\n")
                .contains("inside the one before")
        );
        assert!(why("00400000-00401000 r--q 0 00:00 0\n").contains("no access"));
        assert!(why("Rss: 4 kB\n").contains("before the first area"));
    }
}
