//! Areas drawn as strips, one letter a page, before and after each call.
//!
//! ```text
//!   aa*b   DD  cc      a, b, c, d   areas with these rights; the upper case letter is a page that was written
//!                      *            where the next call maps something
//! ```
//!
//! Letters name rights: `a` may be read and written, `b` only read, `c` nothing, `d` read and executed. A bar stands
//! where two areas of the same rights meet and did not become one.

use crate::machines::{boot, pc};
use vmlab::mm::Machine;
use vmlab::mm::addr::VirtAddr;
use vmlab::mm::errno::Errno;
use vmlab::mm::memory::Access;
use vmlab::mm::mmap::{map, prot};
use vmlab::mm::mremap::remap;
use vmlab::mm::task::Pid;

const BASE: u64 = 0x10_0000_0000;
const FIXED: u64 = map::PRIVATE | map::ANONYMOUS | map::FIXED;

fn rights(letter: char) -> u64 {
    match letter.to_ascii_lowercase() {
        'a' => prot::READ | prot::WRITE,
        'b' => prot::READ,
        'c' => prot::NONE,
        _ => prot::READ | prot::EXEC,
    }
}

/// A task whose window looks like a strip, and what can be done to it.
struct Strip {
    machine: Machine,
    pid: Pid,
}

impl Strip {
    /// Draws a strip: areas are mapped from left to right, pages of upper case letters written at once.
    fn new(strip: &str) -> Strip {
        let mut machine = boot(pc(1024, 4096, 1, 1));
        let pid = machine.spawn("strip").unwrap();
        let mut strips = Strip { machine, pid };
        let mut at = 0;
        for part in runs(strip) {
            if part.starts_with([' ', '*']) {
                at += part.len() as u64;
                continue;
            }
            strips.lay(at, &part);
            at += part.len() as u64;
        }
        assert_eq!(strips.drawn(), strip.replace('*', " ").trim_end(), "the strip itself");
        strips
    }

    /// Maps one area and writes its pages that stand in upper case; a read-only one is writable for so long.
    fn lay(&mut self, at: u64, part: &str) {
        let letter = part.chars().next().unwrap();
        let (addr, len) = (page(at), (part.len() as u64) << 12);
        let written: Vec<u64> =
            part.chars().enumerate().filter(|(_, c)| c.is_uppercase()).map(|(n, _)| n as u64).collect();
        self.machine.mmap(self.pid, addr, len, prot::READ | prot::WRITE, FIXED | map::NORESERVE).unwrap();
        for n in written {
            self.machine.touch(self.pid, page(at + n), 1, Access::Write).unwrap();
        }
        self.machine.mprotect(self.pid, addr, len, rights(letter)).unwrap();
    }

    /// The window as it is now.
    fn drawn(&self) -> String {
        self.machine.check().unwrap_or_else(|e| panic!("{e}"));
        let mm = self.machine.mm_of(self.pid).unwrap();
        let mut drawn = String::new();
        let mut pages = 0;
        let mut before = (0, ' ');
        for (_, vma) in
            self.machine.areas(mm).filter(|(_, vma)| (BASE..BASE + (64 << 12)).contains(&vma.start))
        {
            let letter = match vma.flags.0 & 7 {
                3 => 'a',
                1 => 'b',
                0 => 'c',
                _ => 'd',
            };
            while pages < (vma.start - BASE) >> 12 {
                drawn.push(' ');
                pages += 1;
            }
            if before == (vma.start, letter) {
                drawn.push('|');
            }
            for addr in (vma.start..vma.end).step_by(4096) {
                let pte = self.machine.tables.pte(self.machine.mms[mm].pgd, VirtAddr(addr));
                drawn.push(if pte.is_none() { letter } else { letter.to_ascii_uppercase() });
                pages += 1;
            }
            before = (vma.end, letter);
        }
        drawn
    }

    #[track_caller]
    fn is(&mut self, want: &str) -> &mut Strip {
        assert_eq!(self.drawn(), want);
        self
    }

    fn mmap(&mut self, at: u64, letters: &str) -> &mut Strip {
        let letter = letters.chars().next().unwrap();
        self.machine
            .mmap(self.pid, page(at), (letters.len() as u64) << 12, rights(letter), FIXED | map::NORESERVE)
            .unwrap();
        self
    }

    fn munmap(&mut self, at: u64, pages: u64) -> &mut Strip {
        self.machine.munmap(self.pid, page(at), pages << 12).unwrap();
        self
    }

    fn mprotect(&mut self, at: u64, letters: &str) -> &mut Strip {
        let letter = letters.chars().next().unwrap();
        self.machine.mprotect(self.pid, page(at), (letters.len() as u64) << 12, rights(letter)).unwrap();
        self
    }

    fn touch(&mut self, at: u64, pages: u64) -> &mut Strip {
        self.machine.touch(self.pid, page(at), pages << 12, Access::Write).unwrap();
        self
    }

    fn mremap(&mut self, at: u64, old: u64, new: u64, flags: u64, to: u64) -> Result<u64, Errno> {
        let moved = self.machine.mremap(self.pid, page(at), old << 12, new << 12, flags, page(to))?;
        Ok((moved.0.wrapping_sub(BASE)) >> 12)
    }

    fn fork(&mut self) -> Strip {
        let mut machine = self.machine.clone();
        let pid = machine.fork(self.pid).unwrap();
        Strip { machine, pid }
    }
}

fn page(n: u64) -> VirtAddr {
    VirtAddr(BASE + (n << 12))
}

/// A strip in runs of the same letter in either case.
fn runs(strip: &str) -> Vec<String> {
    let mut runs: Vec<String> = Vec::new();
    let kind = |c: char| if c == '*' { ' ' } else { c.to_ascii_lowercase() };
    for c in strip.chars() {
        match runs.last_mut() {
            Some(run) if run.chars().next().map(kind) == Some(kind(c)) => run.push(c),
            _ => runs.push(c.into()),
        }
    }
    runs
}

#[test]
fn a_new_mapping_joins_its_neighbours() {
    // Neither fits.
    Strip::new("bb**bb").mmap(2, "aa").is("bbaabb");
    // The one before, the one after, both.
    Strip::new("aa**bb").mmap(2, "aa").is("aaaabb");
    Strip::new("bb**aa").mmap(2, "aa").is("bbaaaa");
    Strip::new("aa**aa").mmap(2, "aa").is("aaaaaa");
    // A hole between is no neighbour.
    Strip::new("aa ** aa").mmap(3, "aa").is("aa aa aa");
}

#[test]
fn a_new_mapping_joins_one_of_two_that_have_pages_of_their_own() {
    // Both have an anon_vma, and not the same one: the next one takes it, in 6.1.
    Strip::new("AA**AA").mmap(2, "aa").is("AA|aaAA");
    // The first alone has: all become one.
    Strip::new("AA**aa").mmap(2, "aa").is("AAaaaa");
    // But an area that never had a page does not take in one that has (up to 6.14): it is the next one that grows.
    Strip::new("aa**AA").mmap(2, "aa").is("aa|aaAA");
    // A hole cut into one area: the parts share its anon_vma, and become one again.
    Strip::new("AAAAAA").munmap(2, 2).is("AA  AA").mmap(2, "aa").is("AAaaAA");
}

#[test]
fn the_eight_cases_of_vma_merge() {
    // Cases 1 to 3 are those of a new mapping, above, and of mremap, below. Case 4: the end of an area joins the next
    // one, which grows downwards over it.
    Strip::new("aaaabb").mprotect(2, "bb").is("aabbbb");
    // Case 5: the beginning of an area joins the one before.
    Strip::new("bbaaaa").mprotect(2, "bb").is("bbbbaa");
    // Case 6: a whole area joins both neighbours.
    Strip::new("bbaabb").mprotect(2, "bb").is("bbbbbb");
    // Case 7: a whole area joins the one before.
    Strip::new("bbaacc").mprotect(2, "bb").is("bbbbcc");
    // Case 8: a whole area joins the one after.
    Strip::new("ccaabb").mprotect(2, "bb").is("ccbbbb");
    // None of them: the area is cut, in two or three.
    Strip::new("aaaaaa").mprotect(2, "bb").is("aabbaa");
    Strip::new("aaaa").mprotect(0, "bb").is("bbaa");
    Strip::new("aaaa").mprotect(2, "bb").is("aabb");
    // And only the rights changed, where the neighbours are others.
    Strip::new("ccaacc").mprotect(2, "bb").is("ccbbcc");
}

#[test]
fn pages_of_different_anon_vmas_keep_areas_apart() {
    // Case 6 with two anon_vmas: the first neighbour takes it, the second stays.
    Strip::new("BB").mmap(2, "a").is("BBa");
    Strip::new("AA  AA").mprotect(4, "bb").mmap(2, "bb").is("AAbbBB");
    Strip::new("AAbbbb").touch(0, 1).mprotect(2, "aa").is("AAaabb");
    // Cut apart and joined again: the parts share one anon_vma.
    Strip::new("AAAAAA").mprotect(2, "bb").is("AABBAA").mprotect(2, "aa").is("AAAAAA");
    // The middle got its first page while its neighbours had theirs: find_mergeable_anon_vma lent it theirs.
    Strip::new("AAaaaa").mprotect(2, "bb").mprotect(2, "aa").touch(2, 1).is("AAAaaa");
    // Two that were far from each other never share: moved side by side they stay two.
    let mut far = Strip::new("AA      AA");
    assert_eq!(far.mremap(8, 2, 2, remap::MAYMOVE | remap::FIXED, 2), Ok(2));
    far.is("AA|AA");
}

#[test]
fn a_child_does_not_tie_itself_to_its_parent() {
    let mut parent = Strip::new("AA**");
    let mut child = parent.fork();
    // What the child inherited has two anon_vmas: a new area of its own stays apart, until there is something to share.
    child.mmap(2, "aa").is("AA|aa");
    // The parent's has one, and takes a new neighbour in.
    parent.mmap(2, "aa").is("AAaa");
}

#[test]
fn munmap_cuts() {
    Strip::new("aaaaaa").munmap(2, 2).is("aa  aa");
    Strip::new("aaaaaa").munmap(0, 2).is("  aaaa");
    Strip::new("aaaaaa").munmap(4, 2).is("aaaa");
    Strip::new("aabbcc").munmap(1, 4).is("a    c");
    Strip::new("AABBCC").munmap(1, 4).is("A    C");
    Strip::new("aa  bb  cc").munmap(1, 8).is("a        c");
    Strip::new("aa  bb").munmap(2, 2).is("aa  bb");
}

#[test]
fn a_mapping_at_a_fixed_place_replaces_what_is_there() {
    Strip::new("AABBCC").mmap(1, "aaaa").is("AaaaaC");
    Strip::new("BBBB").mmap(1, "aa").is("BaaB");
    Strip::new("aa  bb").mmap(1, "dddd").is("addddb");
}

#[test]
fn mremap_grows_moves_and_shrinks() {
    let mut grows = Strip::new("AA");
    assert_eq!(grows.mremap(0, 2, 4, 0, 0), Ok(0));
    grows.is("AAaa");
    // The next area is met and joined, when it fits; one that never had a page does not (up to 6.14).
    for (before, after) in [("aa  aa", "aaaaaa"), ("AA  aa", "AAaa|aa"), ("AA  AA", "AAaa|AA")] {
        let mut meets = Strip::new(before);
        assert_eq!(meets.mremap(0, 2, 4, 0, 0), Ok(0));
        meets.is(after);
    }
    let mut parts = Strip::new("AAAAAA");
    assert_eq!(parts.munmap(2, 2).mremap(0, 2, 4, 0, 0), Ok(0));
    parts.is("AAaaAA");
    let mut shut = Strip::new("AAbb");
    assert_eq!(shut.mremap(0, 2, 4, 0, 0), Err(Errno::ENOMEM));
    shut.is("AAbb");
    let mut shrinks = Strip::new("AAAAbb");
    assert_eq!(shrinks.mremap(0, 4, 1, 0, 0), Ok(0));
    shrinks.is("A   bb");
    let mut moves = Strip::new("bbAAAAbb");
    assert_eq!(moves.mremap(3, 2, 3, remap::MAYMOVE | remap::FIXED, 12), Ok(12));
    moves.is("bbA  Abb    AAa");
    // The old place stays, empty.
    let mut stays = Strip::new("AAAA");
    assert_eq!(stays.mremap(1, 2, 2, remap::MAYMOVE | remap::DONTUNMAP | remap::FIXED, 8), Ok(8));
    stays.is("AaaA    AA");
    // What is at the new place goes.
    let mut over = Strip::new("AAAA  bbbb");
    assert_eq!(over.mremap(0, 2, 2, remap::MAYMOVE | remap::FIXED, 7), Ok(7));
    over.is("  AA  bAAb");
    // A part moved to where it came from again is one with the rest.
    let mut back = Strip::new("AAAA");
    assert_eq!(back.mremap(1, 2, 2, remap::MAYMOVE | remap::FIXED, 8), Ok(8));
    back.is("A  A    AA");
    assert_eq!(back.mremap(8, 2, 2, remap::MAYMOVE | remap::FIXED, 1), Ok(1));
    back.is("AAAA");
}
