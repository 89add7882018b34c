//! What ties areas to their address space, their anon_vmas and their files, damaged: `check()` names what is wrong.

use crate::machines::{boot, pc};
use vmlab::mm::Machine;
use vmlab::mm::addr::VirtAddr;
use vmlab::mm::augmented::Interval;
use vmlab::mm::mmap::{map, prot};
use vmlab::mm::rmap::AnonVmaId;
use vmlab::mm::task::Mm;
use vmlab::mm::vma::VmaId;

const RW: u64 = prot::READ | prot::WRITE;
const ANON: u64 = map::PRIVATE | map::ANONYMOUS;

/// A task and its child, with a written area and a mapped file; the area and the file's area.
fn machine() -> (Machine, VmaId, VmaId) {
    let mut machine = boot(pc(1024, 4096, 1, 1));
    let pid = machine.spawn("model").unwrap();
    let base = machine.mmap(pid, VirtAddr(0), 8 << 12, RW, ANON | map::LOCKED).unwrap();
    let file = machine.create_file("/f", 4 << 12).unwrap();
    let shown = machine.mmap_file(pid, VirtAddr(0), 4 << 12, RW, map::SHARED, (file, 0)).unwrap();
    machine.fork(pid).unwrap();
    let at = |m: &Machine, addr| m.vma_at(pid, addr).unwrap().unwrap();
    let (area, shown) = (at(&machine, base), at(&machine, shown));
    machine.check().unwrap();
    (machine, area, shown)
}

/// The invariant that `check` names after the damage.
fn told(damage: impl FnOnce(&mut Machine, VmaId, VmaId)) -> &'static str {
    let (mut machine, area, shown) = machine();
    damage(&mut machine, area, shown);
    machine.check().expect_err("the damage is not seen").invariant
}

#[test]
fn damaged_sums_are_seen() {
    type Field = fn(&mut Mm) -> &mut u64;
    let fields: [(&str, Field); 5] = [
        ("total_vm is the sum of areas", |mm| &mut mm.total_vm),
        ("locked_vm is the sum of locked areas", |mm| &mut mm.locked_vm),
        ("data_vm is the sum of private writable areas", |mm| &mut mm.data_vm),
        ("stack_vm is the sum of areas that grow down", |mm| &mut mm.stack_vm),
        ("exec_vm is the sum of areas of code", |mm| &mut mm.exec_vm),
    ];
    for (invariant, field) in fields {
        let damage = |m: &mut Machine, area: VmaId, _| {
            let mm = m.vmas[area].mm;
            *field(&mut m.mms[mm]) += 1;
        };
        assert_eq!(told(damage), invariant);
    }
}

#[test]
fn a_damaged_tree_of_areas_is_seen() {
    let moved = told(|m, area, _| m.vmas[area].end += 4096);
    assert_eq!(moved, "areas are ordered and apart");
    let grown = told(|m, area, _| {
        let (mm, start, end) = (m.vmas[area].mm, m.vmas[area].start, m.vmas[area].end);
        m.mms[mm].vmas.resize(start, start..end - 4096);
    });
    assert_eq!(grown, "areas are ordered and apart");
}

#[test]
fn damaged_links_to_anon_vmas_are_seen() {
    let own = |m: &Machine, area: VmaId| -> AnonVmaId { m.vmas[area].anon_vma.unwrap() };
    let tied = "areas and anon_vmas are tied both ways";
    let untied = told(|m, area, _| {
        let (anon, interval) = (own(m, area), m.vmas[area].anon_interval(area));
        m.anon_vmas[anon].vmas.remove(interval);
    });
    assert_eq!(untied, tied);
    let shifted = told(|m, area, _| {
        let (anon, interval) = (own(m, area), m.vmas[area].anon_interval(area));
        m.anon_vmas[anon].vmas.replace(interval, Interval { last: interval.last + 1, ..interval });
    });
    assert_eq!(shifted, tied);
    let stray = told(|m, area, shown| {
        let anon = own(m, area);
        let interval = m.vmas[shown].anon_interval(shown);
        m.anon_vmas[anon].vmas.insert(interval);
    });
    assert_eq!(stray, tied);
    let forgotten = told(|m, area, _| m.vmas[area].chain.clear());
    assert_eq!(forgotten, "an area's own anon_vma is in its chain");
    let active = told(|m, area, _| {
        let anon = own(m, area);
        m.anon_vmas[anon].num_active_vmas += 1;
    });
    assert_eq!(active, "num_active_vmas is the areas that put pages there");
    let children = told(|m, area, _| {
        let anon = own(m, area);
        m.anon_vmas[anon].num_children -= 1;
    });
    assert_eq!(children, "num_children is the anon_vmas forked from it");
}

#[test]
fn damaged_links_to_files_are_seen() {
    let tied = "areas and files are tied both ways";
    let untied = told(|m, _, shown| {
        let (file, interval) = (m.vmas[shown].file.unwrap(), m.vmas[shown].interval(shown));
        m.files[file].i_mmap.remove(interval);
    });
    assert_eq!(untied, tied);
    let stray = told(|m, area, shown| {
        let file = m.vmas[shown].file.unwrap();
        let interval = m.vmas[area].interval(area);
        m.files[file].i_mmap.insert(interval);
    });
    assert_eq!(stray, tied);
    let shifted = told(|m, _, shown| {
        let (file, interval) = (m.vmas[shown].file.unwrap(), m.vmas[shown].interval(shown));
        m.files[file].i_mmap.replace(interval, Interval { first: interval.first + 1, ..interval });
    });
    assert_eq!(shifted, tied);
}
