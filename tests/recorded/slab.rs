//! Slab caches of the captured machines: /proc/slabinfo after boot, and what /sys/kernel/slab says of each cache.

use crate::truth::{self, recordings, truth};
use std::fs;
use vmlab::import::folder;
use vmlab::mm::machine::Machine;
use vmlab::script::proc::slabinfo;
use vmlab::shell::render;

/// The rows of slabinfo without their spaces: sysfs and vmstat fix everything else.
fn rows(text: &str) -> Vec<String> {
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    text.lines().map(words).collect()
}

#[test]
fn slabinfo_is_as_captured() {
    let mut report = truth::Report::default();
    let boot = truth().join("boot");
    for name in recordings(&boot) {
        let folder_of = boot.join(&name);
        let Ok(want) = fs::read_to_string(folder_of.join("slabinfo.txt")) else { continue };
        let captures = folder::Captures::read(&folder_of).unwrap();
        let mut machine = Machine::boot(folder::machine(&name, &captures).unwrap()).unwrap();
        let got = render::plain(&slabinfo::table(&machine));
        let (want, got) = (rows(&want), rows(&got));
        let differs = want.iter().zip(&got).find(|(want, got)| want != got);
        let found = differs.map(|(want, got)| format!("want {want}\n      got {got}"));
        let found =
            found.or((want.len() != got.len()).then(|| format!("{} lines, not {}", got.len(), want.len())));
        let found =
            found.or_else(|| sysfs(&machine, &fs::read_to_string(folder_of.join("slab-sysfs.txt")).unwrap()));
        let found = found.or_else(|| machine.check().err().map(|broken| broken.to_string()));
        // A new object of every class is one of the slabs that the boot laid out, or a new one.
        for size in [8, 64, 192, 1000, 4096] {
            let addr = machine.kmalloc(size, vmlab::mm::gfp::Gfp::KERNEL).unwrap();
            machine.kfree(addr).unwrap();
        }
        report.on(&name, found);
    }
    report.finish("slab caches");
}

/// Sizes, order and limits of every cache; the first difference.
fn sysfs(machine: &Machine, text: &str) -> Option<String> {
    let (directories, links) = text.split_once("# links").unwrap_or((text, ""));
    directories.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let link = links.lines().filter_map(|l| l.split_once(" -> ")).find(|(_, of)| *of == words[0]);
        // A unique name without a link is of a cache that has no name any more.
        let name = link.map_or(words[0], |(name, _)| name);
        let Some(id) = machine.caches.find(name) else {
            return (!words[0].starts_with(':')).then(|| format!("there is no cache {name}"));
        };
        let c = &machine.caches.all[id];
        let got =
            [c.object_size, c.size, c.objects, c.order.get().into(), c.align, c.min_partial, c.cpu_partial]
                .map(|n| n.to_string());
        (got != words[1..]).then(|| format!("{name}: want {:?}, got {got:?}", &words[1..]))
    })
}
