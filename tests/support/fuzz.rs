//! Random sequences of memory calls in a window of pages, what each call came to, and strips of areas as text.

#![allow(dead_code)]

use std::fmt::Write;
use vmlab::mm::machine::Dice;
use vmlab::mm::madvise::madv;
use vmlab::mm::mmap::{map, prot};
use vmlab::mm::mremap::remap;

/// Where the window begins: nothing else is mapped near it.
pub const WINDOW: u64 = 0x10_0000_0000;
/// Pages of the window.
pub const WINDOW_PAGES: u64 = 48;

/// A call, in pages of the window.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// `mmap`, always at a fixed place.
    Mmap { page: u64, pages: u64, prot: u64, flags: u64 },
    /// `munmap`.
    Munmap { page: u64, pages: u64 },
    /// `mprotect`.
    Mprotect { page: u64, pages: u64, prot: u64 },
    /// `mremap`; it moves only to `to`.
    Mremap { page: u64, old: u64, new: u64, flags: u64, to: u64 },
    /// `madvise`.
    Madvise { page: u64, pages: u64, advice: u64 },
    /// Reads or writes every page of a range that allows it.
    Touch { page: u64, pages: u64, write: bool },
}

/// The sequence of a seed.
pub fn sequence(seed: u64, steps: usize) -> Vec<Step> {
    let mut dice = Dice::new(seed);
    (0..steps).map(|_| step(&mut dice)).collect()
}

fn step(dice: &mut Dice) -> Step {
    const PROTS: [u64; 6] = [
        prot::READ | prot::WRITE,
        prot::READ | prot::WRITE,
        prot::READ | prot::WRITE,
        prot::READ,
        prot::NONE,
        prot::READ | prot::WRITE | prot::EXEC,
    ];
    const ADVICE: [u64; 12] = [
        madv::DONTNEED,
        madv::DONTNEED,
        madv::FREE,
        madv::NORMAL,
        madv::RANDOM,
        madv::SEQUENTIAL,
        madv::DONTFORK,
        madv::DOFORK,
        madv::WIPEONFORK,
        madv::KEEPONFORK,
        madv::POPULATE_READ,
        madv::POPULATE_WRITE,
    ];
    let page = dice.below(WINDOW_PAGES);
    let pages = dice.below(10.min(WINDOW_PAGES - page + 1));
    let pick = |dice: &mut Dice, list: &[u64]| list[dice.below(list.len() as u64) as usize];
    match dice.below(100) {
        0..30 => {
            let place = if dice.below(5) == 0 { map::FIXED_NOREPLACE } else { map::FIXED };
            let reserve = if dice.below(6) == 0 { map::NORESERVE } else { 0 };
            let flags = map::PRIVATE | map::ANONYMOUS | place | reserve;
            Step::Mmap { page, pages, prot: pick(dice, &PROTS), flags }
        }
        30..42 => Step::Munmap { page, pages },
        42..58 => Step::Mprotect { page, pages, prot: pick(dice, &PROTS) },
        58..72 => {
            let to = dice.below(WINDOW_PAGES - pages + 1);
            let new = if dice.below(2) == 0 { pages } else { dice.below(WINDOW_PAGES - to + 1).min(12) };
            let flags = match dice.below(6) {
                0 | 1 => 0,
                2 => remap::MAYMOVE | remap::FIXED | remap::DONTUNMAP,
                _ => remap::MAYMOVE | remap::FIXED,
            };
            Step::Mremap { page, old: pages, new, flags, to }
        }
        72..82 => Step::Madvise { page, pages, advice: pick(dice, &ADVICE) },
        _ => Step::Touch { page, pages, write: dice.below(3) > 0 },
    }
}

/// Areas of a window: first page, end, what is allowed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Strip(Vec<(u64, u64, String)>);

impl Strip {
    /// One more area.
    pub fn push(&mut self, start: u64, end: u64, perms: &str) {
        self.0.push((start, end, perms.to_string()));
    }

    /// Does the page allow the access?
    pub fn allows(&self, page: u64, write: bool) -> bool {
        let found = self.0.iter().find(|(start, end, _)| (*start..*end).contains(&page));
        found.is_some_and(|(_, _, perms)| perms.contains(if write { 'w' } else { 'r' }))
    }

    /// One letter a page, `_` where nothing is: each area has its letter, small when it cannot be written, `.` for none.
    pub fn draw(&self) -> String {
        let mut line = vec!['_'; WINDOW_PAGES as usize];
        for (n, (start, end, perms)) in self.0.iter().enumerate() {
            let letter = char::from(b'A' + (n % 26) as u8);
            let letter = match (perms.contains('w'), perms.contains('r')) {
                (true, _) => letter,
                (false, true) => letter.to_ascii_lowercase(),
                (false, false) => '.',
            };
            line[*start as usize..(*end).min(WINDOW_PAGES) as usize].fill(letter);
        }
        line.into_iter().collect()
    }
}

/// What a step came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// A page in the window, pages touched, 0, or an errno as a negative number.
    pub result: i64,
    /// Faults of a touch.
    pub faults: u64,
    /// The areas afterwards.
    pub strip: Strip,
}

impl Outcome {
    /// One line, for a pipe.
    pub fn write(&self, text: &mut String) {
        let _ = write!(text, "{} {}", self.result, self.faults);
        for (start, end, perms) in &self.strip.0 {
            let _ = write!(text, " {start} {end} {perms}");
        }
        text.push('\n');
    }

    /// The line back.
    pub fn parse(line: &str) -> Option<Outcome> {
        let mut words = line.split(' ');
        let (result, faults) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let mut strip = Strip::default();
        while let Some(start) = words.next() {
            strip.push(start.parse().ok()?, words.next()?.parse().ok()?, words.next()?);
        }
        Some(Outcome { result, faults, strip })
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}  result {}, {} faults", self.strip.draw(), self.result, self.faults)
    }
}
