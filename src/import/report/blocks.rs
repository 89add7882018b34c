//! Free blocks by type from a buddy line, which counts all types together and names those that have one.
//!
//! Kernel: `lib/show_mem.c` (`show_migration_types`).
//! Fidelity: imported — blocks of each order, types that have one. Inferred — how many each type has: CMA and HighAtomic
//! as many as their printed pages make, the others one, and Movable what is left.

use super::{Buddy, Zone};
use crate::mm::addr::Order;
use crate::mm::config::{FreeBlocks, MigrateType};

/// Free blocks of the machine by type: pages of 4 KiB, orders up to 10.
pub fn by_type(zone: &Zone, buddy: &Buddy) -> [FreeBlocks; MigrateType::COUNT] {
    let mut free = [FreeBlocks::default(); MigrateType::COUNT];
    let exact = |name: &str| zone.kb(name) / 4;
    let cma = spread(buddy, 'C', exact("free_cma"));
    let reserve = match zone.get("free_highatomic") {
        Some(kb) => kb.value / 4,
        // At most what is reserved, and it is the last to be used up.
        None => zone.kb("reserved_highatomic") / 4,
    };
    let atomic = spread(buddy, 'H', reserve);
    for (at, run) in buddy.runs.iter().enumerate() {
        let mut left = run.count;
        let mut give = |mt: MigrateType, count: u64, left: &mut u64| {
            let count = count.min(*left);
            *left -= count;
            place(&mut free[mt.index()], run.kb, count);
        };
        give(MigrateType::Cma, cma[at], &mut left);
        give(MigrateType::HighAtomic, atomic[at], &mut left);
        let others: Vec<MigrateType> = run.letters.chars().filter_map(plain).collect();
        let most = others.iter().find(|mt| **mt == MigrateType::Movable).or(others.first()).copied();
        for mt in others.iter().filter(|mt| Some(**mt) != most) {
            give(*mt, 1, &mut left);
        }
        let rest = most.unwrap_or(match run.letters.chars().next() {
            Some('C') => MigrateType::Cma,
            Some('H') => MigrateType::HighAtomic,
            _ => MigrateType::Movable,
        });
        let all = left;
        give(rest, all, &mut left);
    }
    free
}

/// The type of a letter, but for the two that are counted apart.
fn plain(letter: char) -> Option<MigrateType> {
    match letter {
        'C' | 'H' => None,
        // Reserve, up to 4.3, was for who could not wait.
        'R' => Some(MigrateType::HighAtomic),
        letter => MigrateType::ALL.into_iter().find(|mt| mt.letter() == letter),
    }
}

/// How many blocks of each order make `pages` of a type that its letter says is there: large ones first, one at least.
fn spread(buddy: &Buddy, letter: char, pages: u64) -> Vec<u64> {
    let has = |at: &usize| buddy.runs[*at].letters.contains(letter) && buddy.runs[*at].count > 0;
    let mut counts: Vec<u64> = (0..buddy.runs.len()).map(|at| u64::from(has(&at))).collect();
    let size = |at: usize| buddy.runs[at].kb / 4;
    let least: u64 = (0..buddy.runs.len()).map(|at| counts[at] * size(at)).sum();
    let mut left = pages.saturating_sub(least);
    for at in (0..buddy.runs.len()).rev().filter(has) {
        // A block of each other type that the letters name stays.
        let others = buddy.runs[at].letters.len() as u64 - 1;
        let room = buddy.runs[at].count.saturating_sub(others + counts[at]);
        let more = room.min(left / size(at).max(1));
        counts[at] += more;
        left -= more * size(at);
    }
    counts
}

/// Adds blocks of a size; those above 4 MiB are several here.
fn place(free: &mut FreeBlocks, kb: u64, count: u64) {
    let order = (kb / 4).max(1).ilog2() as usize;
    let top = Order::MAX.index();
    free.blocks[order.min(top)] += count << order.saturating_sub(top);
}
