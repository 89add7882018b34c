//! Memblock against a map with one entry for each 64 bytes: too simple to be wrong.

use vmlab::mm::addr::Nid;
use vmlab::mm::config::Arch;
use vmlab::mm::errno::Errno;
use vmlab::mm::machine::Dice;
use vmlab::mm::memblock::{Memblock, MemblockFlags, Region, Request};

/// What a range is made of here.
const UNIT: u64 = 64;
/// Units of the whole map: 1 MiB.
const UNITS: u64 = 1 << 14;
/// The first page is never given.
const FIRST: u64 = 4096 / UNIT;
const FLAGS: [MemblockFlags; 3] = [MemblockFlags::HOTPLUG, MemblockFlags::MIRROR, MemblockFlags::NOMAP];

/// What is known of one unit of memory.
type Known = Option<(u32, Option<u8>)>;

/// The oracle: flags and node of each unit that is memory, and whether it is taken.
struct Naive {
    memory: Vec<Known>,
    taken: Vec<bool>,
    bottom_up: bool,
    movable_node: bool,
    mirror: bool,
}

impl Naive {
    fn new() -> Naive {
        let (memory, taken) = (vec![None; UNITS as usize], vec![false; UNITS as usize]);
        Naive { memory, taken, bottom_up: false, movable_node: false, mirror: false }
    }

    /// Maximal runs of units that are alike, as memblock would list them.
    fn runs<T: PartialEq + Copy>(units: &[Option<T>]) -> Vec<(u64, u64, T)> {
        let mut runs: Vec<(u64, u64, T)> = Vec::new();
        for (n, unit) in units.iter().enumerate() {
            let (at, Some(unit)) = (n as u64 * UNIT, *unit) else { continue };
            match runs.last_mut() {
                Some(last) if last.1 == at && last.2 == unit => last.1 += UNIT,
                _ => runs.push((at, at + UNIT, unit)),
            }
        }
        runs
    }

    fn usable(&self, n: usize, nid: Option<u8>, mirrored: bool) -> bool {
        let Some((flags, at)) = self.memory[n] else { return false };
        let has = |flag: MemblockFlags| flags & flag.0 != 0;
        !self.taken[n]
            && (nid.is_none() || at == nid)
            && !has(MemblockFlags::NOMAP)
            && !(self.movable_node && has(MemblockFlags::HOTPLUG))
            && (!mirrored || has(MemblockFlags::MIRROR))
    }

    /// The place that an allocation of so many units must get.
    fn place(&self, units: u64, align: u64, from: u64, to: u64, nid: Option<u8>) -> Option<u64> {
        let tries: &[bool] = if self.mirror { &[true, false] } else { &[false] };
        for &mirrored in tries {
            for nid in [nid, None] {
                // Only runs of one region count: a block never straddles two.
                let fits = |at: &u64| {
                    let whole = *at..*at + units;
                    let kind = self.memory[*at as usize];
                    whole.clone().all(|n| self.usable(n as usize, nid, mirrored))
                        && whole.clone().all(|n| self.memory[n as usize] == kind)
                };
                let mut starts = (from.max(FIRST)..(to + 1).saturating_sub(units)).filter(|n| n % align == 0);
                let found = if self.bottom_up { starts.find(fits) } else { starts.rfind(fits) };
                if found.is_some() {
                    return found;
                }
            }
        }
        None
    }
}

fn compare(naive: &Naive, memblock: &Memblock) -> Result<(), String> {
    let known: Vec<_> =
        memblock.memory.regions.iter().map(|r| (r.base, r.end(), (r.flags.0, r.nid.map(|n| n.0)))).collect();
    let want = Naive::runs(&naive.memory);
    if known != want {
        return Err(format!("memory: want {want:x?}, got {known:x?}"));
    }
    let known: Vec<_> = memblock.reserved.regions.iter().map(|r| (r.base, r.end(), ())).collect();
    let taken: Vec<Option<()>> = naive.taken.iter().map(|taken| taken.then_some(())).collect();
    let want = Naive::runs(&taken);
    if known != want {
        return Err(format!("reserved: want {want:x?}, got {known:x?}"));
    }
    for list in [&memblock.memory, &memblock.reserved] {
        let total: u64 = list.regions.iter().map(|r| r.size).sum();
        if total != list.total_size {
            return Err(format!("{}: {total} bytes, counted {}", list.name, list.total_size));
        }
    }
    let free: u64 = memblock.free_ranges(None, MemblockFlags::NONE).map(|r| r.end - r.start).sum();
    let want = (0..UNITS as usize).filter(|n| {
        let plain = naive.memory[*n].is_some_and(|(flags, _)| flags & MemblockFlags::NOMAP.0 == 0);
        let hidden =
            naive.movable_node && naive.memory[*n].is_some_and(|m| m.0 & MemblockFlags::HOTPLUG.0 != 0);
        plain && !hidden && !naive.taken[*n]
    });
    let want = want.count() as u64 * UNIT;
    if free != want { Err(format!("free: want {want}, got {free}")) } else { Ok(()) }
}

fn run(seed: u64, steps: u32) {
    let mut dice = Dice::new(seed);
    let mut memblock = Memblock::new(Arch::X86_64);
    let mut naive = Naive::new();
    memblock.movable_node = seed.is_multiple_of(3);
    naive.movable_node = memblock.movable_node;
    for step in 0..steps {
        let from = dice.below(UNITS);
        let most = dice.below((UNITS - from).min(2000));
        let units = 1 + dice.below(1 + most);
        let (base, size) = (from * UNIT, units * UNIT);
        let whole = from as usize..(from + units) as usize;
        let nid = [None, Some(0), Some(1)][dice.below(3) as usize];
        let did = match dice.below(12) {
            0..=2 => {
                for unit in naive.memory[whole].iter_mut().filter(|unit| unit.is_none()) {
                    *unit = Some((0, nid));
                }
                memblock.add(base, size, nid.map(Nid))
            }
            3 => {
                naive.memory[whole].fill(None);
                memblock.remove(base, size)
            }
            4 => {
                naive.taken[whole].fill(true);
                memblock.reserve(base, size)
            }
            5..=6 => {
                naive.taken[whole].fill(false);
                memblock.phys_free(base, size)
            }
            7 => {
                let (flag, on) = (FLAGS[dice.below(3) as usize], dice.below(2) == 0);
                for (flags, _) in naive.memory[whole].iter_mut().flatten() {
                    *flags = if on { *flags | flag.0 } else { *flags & !flag.0 };
                }
                naive.mirror |= on && flag == MemblockFlags::MIRROR;
                memblock.mark(base, size, flag, on)
            }
            8 => {
                naive.memory[whole].iter_mut().flatten().for_each(|unit| unit.1 = nid);
                memblock.set_node(base, size, nid.map(Nid))
            }
            9 => {
                memblock.bottom_up = !memblock.bottom_up;
                naive.bottom_up = memblock.bottom_up;
                Ok(())
            }
            _ => {
                let (units, align) = (1 + dice.below(200), 1 << dice.below(8));
                let limits = (dice.below(UNITS), dice.below(UNITS));
                let (low, high) = (limits.0.min(limits.1), limits.0.max(limits.1));
                let want = naive.place(units, align, low, high, nid);
                let request = Request::new(units * UNIT, align * UNIT)
                    .near(nid.map(Nid))
                    .between(low * UNIT, (high * UNIT).max(1));
                let got = memblock.alloc_range_nid(request);
                assert_eq!(
                    got,
                    want.map(|at| at * UNIT).ok_or(Errno::ENOMEM),
                    "seed {seed} step {step}: {request:x?}"
                );
                if let Some(at) = want {
                    naive.taken[at as usize..(at + units) as usize].fill(true);
                }
                Ok(())
            }
        };
        assert_eq!(did, Ok(()), "seed {seed} step {step}");
        compare(&naive, &memblock).unwrap_or_else(|e| panic!("seed {seed} step {step}: {e}"));
    }
}

#[test]
fn memblock_agrees_with_a_map_of_units() {
    for seed in 0..30 {
        run(seed, 150);
    }
}

/// The array of regions doubles, with memory taken from memblock itself, and its old place is given back.
#[test]
fn a_full_array_doubles_in_memory_of_its_own() {
    let mut memblock = Memblock::new(Arch::X86_64);
    memblock.debug = true;
    memblock.add(1 << 20, 1 << 28, None).unwrap();
    // Every other page, so that nothing merges.
    for n in 0..1000 {
        memblock.reserve((1 << 20) + n * 8192, 4096).unwrap();
    }
    assert_eq!((memblock.reserved.max, memblock.memory.max), (1024, 128));
    let doubled: Vec<String> =
        memblock.take_lines().into_iter().filter(|l| l.contains("is doubled")).collect();
    assert_eq!(doubled.len(), 3, "{doubled:?}");
    assert_eq!(doubled[0], "memblock: reserved is doubled to 256 at [0x00000000100fe000-0x00000000100ff7ff]");
    // 1000 pages, and the array of 1024 regions of 24 bytes.
    assert_eq!(memblock.reserved.total_size, 1000 * 4096 + 24 * 1024);
    for n in 0..1000 {
        memblock.phys_free((1 << 20) + n * 8192, 4096).unwrap();
    }
    let left: Vec<Region> = memblock.reserved.regions.clone();
    assert_eq!(left.len(), 1, "{left:x?}");
}

#[test]
fn an_array_that_cannot_grow_refuses_and_changes_nothing() {
    let mut memblock = Memblock::new(Arch::X86_64);
    memblock.add(0x10000, 4096, None).unwrap();
    for n in 0..128 {
        memblock.reserve(0x10000 + n * 32, 16).unwrap();
    }
    let before = memblock.clone();
    assert_eq!(memblock.reserve(0x20000, 16), Err(Errno::ENOMEM));
    assert_eq!(
        memblock.take_lines(),
        ["memblock: Failed to double reserved array from 128 to 256 entries !"]
    );
    assert_eq!(memblock, before);
    // Even a range that would merge needs room first; one that is reserved already needs none.
    assert_eq!(memblock.reserve(0x10010, 16), Err(Errno::ENOMEM));
    assert_eq!(memblock.reserve(0x10004, 8), Ok(()));
}
