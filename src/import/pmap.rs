//! A listing of `pmap`: the areas of a process, as the tool of procps shows them.
//!
//! ```text
//!   00314000    108K r-x--  /lib/ld-2.10.1.so                              pmap, pmap -p
//!   0000000000945000       4       4       4 r---- python3.11             -x: RSS and Dirty
//!   000055f85688e000     772 r-x-- 000000000002f000 0fe:00000 bash         -d: offset and device
//!       55f85688e000 r-xp 0002f000  fe:00 247003  772  648 … bash          -X, -XX: columns of smaps
//! ```
//!
//! Fidelity: not of the kernel. Inferred — what a listing leaves out: a file lies in the root by its last name; offsets
//! are counted from the first of the areas of one file that follow each other; what has no name is memory without a file.

use crate::import::ImportError;
use crate::import::maps::{Maps, Source, detail, flags};
use crate::import::text::{Line, lines};
use crate::mm::addr::PAGE_SIZE;
use crate::mm::exec::recorded::RecordedArea;
use crate::mm::vma::VmFlags;

/// Parts of one file are no farther apart than a library's unused middle.
const ONE_FILE: u64 = 2 << 20;
/// Where the kernel's own page of system calls lies, in every process of x86_64.
const VSYSCALL: u64 = 0xffff_ffff_ff60_0000;

/// True for a listing: the process's line, or the columns' names, then an area by its first address.
pub fn is_one(text: &str) -> bool {
    let mut said = lines("", text).skip_while(|line| is_prompt(line)).take(3);
    let mut head = false;
    said.any(|line| {
        let area = head && line.words().next().and_then(address).is_some();
        head |= process_of(&line).is_some() || columns_of(&line).is_some();
        area
    })
}

/// Reads a listing of any kind: `pmap`, `-x`, `-d`, `-X`, `-XX`, with `-p` or without.
///
/// # Errors
/// The line that is no area; areas that overlap or run backwards; a second process; no area at all.
pub fn parse(file: &str, text: &str) -> Result<Maps, ImportError> {
    let mut maps = Maps { source: Source::Pmap, ..Maps::default() };
    let mut columns = Columns::plain();
    let mut named = false;
    for line in lines(file, text).skip_while(|line| is_prompt(line)) {
        if let Some(command) = process_of(&line) {
            if named || !maps.areas.is_empty() {
                return Err(line
                    .error("a second process begins here")
                    .advise("Give the listing of one process: pmap -x PID"));
            }
            (named, maps.command) = (true, command.trim().into());
        } else if let Some(found) = columns_of(&line) {
            columns = found;
        } else if is_end(&line) {
            break;
        } else {
            let (mut area, short) = columns.area(&line).map_err(|problem| {
                line.error(problem)
                    .advise("Give the listing as `pmap PID` prints it, also with -x, -X or -d.")
            })?;
            if !columns.has("Offset") {
                area.offset = offset_of(&maps.areas, &area);
            }
            maps.narrow |= short && area.end <= 1 << 32;
            maps.add(area).map_err(|(problem, advice)| line.error(problem).advise(advice))?;
        }
    }
    maps.resident = columns.has("RSS") || columns.has("Rss");
    maps.placed = columns.has("Offset");
    maps.whole(file)
}

/// What was typed, above what was printed.
fn is_prompt(line: &Line) -> bool {
    line.text.starts_with(['$', '#'])
}

/// The command of `3244:   man pmap`.
fn process_of<'a>(line: &Line<'a>) -> Option<&'a str> {
    let (pid, command) = line.text.split_once(':')?;
    (!pid.is_empty() && pid.bytes().all(|b| b.is_ascii_digit())).then_some(command)
}

fn address(word: &str) -> Option<u64> {
    (word.len() >= 5).then(|| u64::from_str_radix(word, 16).ok()).flatten()
}

/// Sums, and the strokes above them: behind them nothing follows.
fn is_end(line: &Line) -> bool {
    let first = line.words().next().unwrap_or_default();
    matches!(first, "total" | "mapped:")
        || (first.len() > 2 && first.bytes().all(|b| b == b'-'))
        || (first.len() > 2 && first.bytes().all(|b| b == b'='))
}

/// What a listing's columns are called.
struct Columns<'a> {
    names: Vec<&'a str>,
    /// Where the column of flags ends, which is of several words: names stand behind it.
    flags_end: Option<usize>,
}

/// The columns' names, when the line is theirs.
fn columns_of<'a>(line: &Line<'a>) -> Option<Columns<'a>> {
    let names: Vec<&str> = line.words().collect();
    let whole = names.first() == Some(&"Address") && names.last() == Some(&"Mapping");
    let flags_end = line.text.find(" VmFlags ").map(|at| at + " VmFlags".len());
    whole.then_some(Columns { names, flags_end })
}

impl<'a> Columns<'a> {
    /// Those of a listing without options, which does not name them.
    fn plain() -> Columns<'a> {
        Columns { names: vec!["Address", "Kbytes", "Mode", "Mapping"], flags_end: None }
    }

    fn has(&self, name: &str) -> bool {
        self.names.contains(&name)
    }

    /// The area of a line; true when its address was written short.
    fn area(&self, line: &Line) -> Result<(RecordedArea, bool), String> {
        let (mut front, behind) = match self.flags_end {
            Some(end) => line.text.split_at_checked(end).ok_or("the line ends before its column VmFlags")?,
            None => (line.text, ""),
        };
        let mut cells: Vec<(&str, &str)> = Vec::new();
        let mut named = "";
        for name in &self.names {
            let trimmed = front.trim_start();
            match *name {
                "VmFlags" => cells.push((name, trimmed)),
                "Mapping" if self.flags_end.is_some() => named = behind,
                "Mapping" => named = trimmed,
                _ => {
                    let (word, after) = trimmed.split_once(char::is_whitespace).unwrap_or((trimmed, ""));
                    if word.is_empty() {
                        return Err(format!("the line ends before its column {name}"));
                    }
                    cells.push((name, word));
                    front = after;
                }
            }
        }
        let cell = |name: &str| cells.iter().find(|(known, _)| *known == name).map(|(_, word)| *word);
        let word = cell("Address").unwrap_or_default();
        let start = address(word).ok_or_else(|| format!("{word:?} is no address in hexadecimal"))?;
        let size = cell("Kbytes").or(cell("Size")).ok_or("no column tells the size")?;
        let end = start.checked_add(kilobytes("the size", size)?.saturating_mul(1024));
        let end = end
            .filter(|end| start < *end && (start | end).is_multiple_of(PAGE_SIZE))
            .ok_or_else(|| format!("{size} from {start:#x} on are no whole pages"))?;
        let mut area = RecordedArea {
            start,
            end,
            flags: mode(cell("Mode").or(cell("Perm")).unwrap_or_default())?,
            offset: cell("Offset").map_or(Ok(0), |word| hex("the offset", word))?,
            device: cell("Device").map_or(Ok((0, 0)), device)?,
            inode: cell("Inode").map_or(Ok(0), |word| kilobytes("the inode", word))?,
            name: String::new(),
            written: 0,
            read: 0,
        };
        area.name = name_of(named.trim(), &mut area);
        if let Some(rss) = cell("RSS") {
            in_memory(&mut area, rss, cell("Dirty").or(cell("Anon")))?;
        } else if self.has("Rss") {
            let known = |name: &str| !matches!(name, "Address" | "Perm" | "Offset" | "Device" | "Inode");
            for (name, word) in cells.iter().filter(|(name, _)| known(name)) {
                detail(&mut area, name, word)?;
            }
        }
        Ok((area, word.len() <= 8))
    }
}

/// `RSS` and `Dirty` of -x. What is dirty in a private area is the process's own, the rest is the file's.
fn in_memory(area: &mut RecordedArea, rss: &str, dirty: Option<&str>) -> Result<(), String> {
    // Old kernels did not tell: the tool put a stroke.
    let pages = |what, word| if word == "-" { Ok(0) } else { kilobytes(what, word).map(|kb| kb / 4) };
    let most = (area.end - area.start) / PAGE_SIZE;
    let rss = pages("RSS", rss)?.min(most);
    let dirty = dirty.map_or(Ok(0), |word| pages("Dirty", word))?.min(rss);
    let own = !area.name.starts_with('/') && area.flags.has(VmFlags::WRITE);
    area.written = if own { rss } else { dirty };
    area.read = rss - area.written;
    Ok(())
}

/// A number in kB, with or without its K.
fn kilobytes(what: &str, word: &str) -> Result<u64, String> {
    word.trim_end_matches('K').parse().map_err(|_| format!("{what} {word:?} is no number"))
}

fn hex(what: &str, word: &str) -> Result<u64, String> {
    u64::from_str_radix(word, 16).map_err(|_| format!("{what} {word:?} is no number in hexadecimal"))
}

/// `0fe:00000` of -d, `fe:00` of -X.
fn device(word: &str) -> Result<(u32, u32), String> {
    let number = |part| hex("the device", part).map(|n| n as u32);
    let (major, minor) = word.split_once(':').ok_or_else(|| format!("{word:?} is no device"))?;
    Ok((number(major)?, number(minor)?))
}

/// `rw-s-` as flags: private is a stroke to the tool, and a fifth letter is R for memory that is not reserved.
fn mode(word: &str) -> Result<VmFlags, String> {
    let perms = match word.as_bytes() {
        [r, w, x, b'-', b'-' | b'R'] | [r, w, x, b'p'] => [*r, *w, *x, b'p'],
        [r, w, x, b's', b'-' | b'R'] | [r, w, x, b's'] => [*r, *w, *x, b's'],
        _ => return Err(format!("{word:?} is no mode such as rw---")),
    };
    let unreserved = if word.ends_with('R') { VmFlags::NORESERVE } else { VmFlags(0) };
    Ok(flags(&String::from_utf8_lossy(&perms))?.with(unreserved))
}

/// What the area is called in /proc/PID/maps, as far as the tool lets it through.
fn name_of(shown: &str, area: &mut RecordedArea) -> String {
    let inside = shown.strip_prefix("[ ").and_then(|rest| rest.strip_suffix(" ]"));
    let segment = inside.and_then(|words| words.strip_prefix("shmid=0x"));
    if let Some(segment) = segment.and_then(|id| u64::from_str_radix(id, 16).ok()) {
        area.inode = segment;
        return "/SYSV00000000 (deleted)".into();
    }
    match (inside, shown) {
        _ if area.start == VSYSCALL => "[vsyscall]".into(),
        (Some("stack"), _) => "[stack]".into(),
        (Some(_), _) | (None, "") => String::new(),
        // Of a path the last part is shown; words in brackets are what maps calls a part that is no file.
        (None, name) if name.starts_with(['/', '[']) => name.into(),
        (None, name) => format!("/{name}"),
    }
}

/// Where an area lies in its file: as far in as it is from the first of the areas that belong together.
fn offset_of(before: &[RecordedArea], area: &RecordedArea) -> u64 {
    if !area.name.starts_with('/') {
        return 0;
    }
    let same = before.iter().rev().find(|other| other.name == area.name);
    let near = same.filter(|last| area.start.saturating_sub(last.end) <= ONE_FILE);
    near.map_or(0, |last| last.offset + (area.start.saturating_sub(last.start)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: &str = "\
$ pmap -x 12
12:   /bin/demo -v
Address           Kbytes     RSS   Dirty Mode  Mapping
0000555555554000      16      12       0 r-x-- demo
0000555555558000       8       8       4 rw--- demo
00007ffff7ffd000       8       4       0 r-x--   [ anon ]
00007ffffffde000     132      12      12 rw---   [ stack ]
ffffffffff600000       4       0       0 --x--   [ anon ]
---------------- ------- ------- ------- \n\
total kB             168      36      16
";

    #[test]
    fn a_listing_says_what_was_in_memory() {
        assert!(is_one(LONG));
        let maps = parse("f", LONG).unwrap();
        assert!(maps.resident && !maps.placed && !maps.narrow);
        let short = |a: &RecordedArea| (a.name.clone(), a.offset, a.written, a.read);
        let areas: Vec<_> = maps.areas.iter().map(short).collect();
        assert_eq!(areas[0], ("/demo".into(), 0, 0, 3));
        assert_eq!(areas[1], ("/demo".into(), 0x4000, 1, 1));
        assert_eq!(areas[2], ("".into(), 0, 0, 1));
        assert_eq!(areas[3], ("[stack]".into(), 0, 3, 0));
        assert_eq!(areas[4].0, "[vsyscall]");
    }

    #[test]
    fn other_options_have_other_columns() {
        let plain = "3244:   man pmap\n00314000    108K r-x--  /lib/ld-2.10.1.so\n total     108K\n";
        let maps = parse("f", plain).unwrap();
        assert!(maps.narrow && !maps.resident);
        assert_eq!((&*maps.areas[0].name, maps.areas[0].end), ("/lib/ld-2.10.1.so", 0x32_f000));
        let device = "7:   x\nAddress           Kbytes Mode  Offset           Device    Mapping\n\
                      000055f85688e000     772 r-xs- 000000000002f000 0fe:00001 bash\n\
                      mapped: 772K    writeable/private: 0K    shared: 772K\n";
        let area = &parse("f", device).unwrap().areas[0];
        assert_eq!((area.offset, area.device, area.flags.perms()), (0x2_f000, (0xfe, 1), "r-xs".into()));
        let all = "\
7:   x
         Address Perm   Offset Device Inode Size Rss Anonymous Swap     VmFlags Mapping
    55f85698b000 rw-p 0012c000  fe:00 24700   36  32        16    4 rd wr mr me bash
    55f856994000 rw-p 00000000  00:00     0   44   0         0    0 rd wr mr me 
                                            ==== === ========= ==== \n";
        let maps = parse("f", all).unwrap();
        let area = &maps.areas[0];
        assert_eq!((area.inode, area.written, area.read, &*area.name), (24700, 5, 4, "/bash"));
        assert!(!area.flags.has(VmFlags::MAYWRITE) && maps.areas[1].name.is_empty());
    }

    #[test]
    fn what_is_no_listing_is_refused_with_its_line() {
        let why = |text: &str| parse("f", text).unwrap_err().to_string();
        assert!(why("12:   x\n").contains("no area"));
        assert!(why("12:   x\n13:   y\n").contains("f:2: a second process"));
        assert!(why("12:   x\n00314000    107K r-x-- ld\n").contains("no whole pages"));
        assert!(why("12:   x\n00314000    108K r-y-- ld\n").contains("no access"));
        assert!(why("12:   x\n00314000    108K ld\n").contains("no mode"));
        assert!(why("12:   x\n00314000\n").contains("before its column Kbytes"));
        assert!(why("12:   x\n00314000 8K r---- a\n00315000 8K r---- a\n").contains("inside the one before"));
        assert!(!is_one("Dear Sir\n") && !is_one("mem: 64M\n"));
    }
}
