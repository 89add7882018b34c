//! Row 19: reading a mapping of a file whose pages are in memory, beside this machine's kernel.

use crate::buddy::{add_ways, rows_of_ways};
use crate::clock::{Race, timed};
use crate::table::{Goal, Row};
use crate::{host, spec};
use std::cell::RefCell;
use vmlab::mm::Machine;
use vmlab::mm::addr::VirtAddr;
use vmlab::mm::fadvise::fadv;
use vmlab::mm::fs::FileId;
use vmlab::mm::memory::Access;
use vmlab::mm::mmap::{map, prot};

const PAGES: usize = host::FILE_PAGES;
const LEN: u64 = (PAGES as u64) << 12;

/// A file that is in memory as a whole.
fn cached(machine: &mut Machine) -> FileId {
    machine.lookup_file("/bench").unwrap_or_else(|_| {
        let file = machine.create_file("/bench", LEN).unwrap_or_else(|e| panic!("{e:?}"));
        machine.fadvise(file, 0, 0, fadv::WILLNEED).unwrap_or_else(|e| panic!("{e:?}"));
        assert_eq!(machine.files[file].nrpages, PAGES as u64);
        file
    })
}

/// Maps the file and reads every page; ns a page.
fn read(machine: &mut Machine) -> f64 {
    let file = cached(machine);
    let pid = machine.spawn("bench").unwrap_or_else(|e| panic!("{e:?}"));
    let base = machine
        .mmap_file(pid, VirtAddr(0), LEN, prot::READ, map::SHARED, (file, 0))
        .unwrap_or_else(|e| panic!("{e:?}"));
    let ns = timed(PAGES, || machine.touch(pid, base, LEN, Access::Read));
    machine.exit_task(pid, 0).unwrap_or_else(|e| panic!("{e:?}"));
    ns
}

/// Row 19.
pub fn mapped_read(reps: usize) -> Vec<Row> {
    let machine = RefCell::new(spec::boot(8, 1));
    let mut race = Race::default();
    race.add(host::mapped_read);
    add_ways(&mut race, &machine, read);
    let goal = Goal::Faster { floor: 2.0, ambitious: 5.0 };
    rows_of_ways("19", "read of a mapped file in memory, a page", "this kernel", race.run(reps), goal)
}
