//! /proc/PID/numa_maps: on which node the pages of each area lie.
//!
//! ```text
//!   7ffff7ef9000 default anon=256 dirty=256 active=0 N0=128 N1=128 kernelpagesize_kB=4
//! ```
//!
//! Kernel: `fs/proc/task_mmu.c` (`show_numa_map`, `gather_stats`).
//! Fidelity: faithful — what is counted, what is left out, the order. Pages in swap and the frame of zeros are on no
//! node. Absent — policies: each area has that of its task, which is `default`.

use crate::mm::Machine;
use crate::mm::addr::Pfn;
use crate::mm::page::PageFlags;
use crate::mm::pgtable::Pte;
use crate::mm::rmap::MAPPING_ANON;
use crate::mm::task::Pid;
use crate::mm::vma::Vma;
use crate::script::table::{Cell, Record, Table};
use crate::script::vm::entries::{self, Behind};
use std::collections::BTreeMap;

/// Pages of an area (`struct numa_maps`).
#[derive(Default)]
struct Counts {
    pages: u64,
    anon: u64,
    dirty: u64,
    mapcount_max: u64,
    swapcache: u64,
    active: u64,
    writeback: u64,
    node: BTreeMap<u8, u64>,
}

impl Counts {
    fn of(machine: &Machine, vma: &Vma) -> Counts {
        let mut counts = Counts::default();
        for (_, pte) in entries::entries(machine, vma.mm, vma.start, vma.end) {
            if let Behind::Page(pfn) = Behind::of(pte) {
                counts.page(machine, pfn, pte);
            }
        }
        counts
    }

    fn page(&mut self, machine: &Machine, pfn: Pfn, pte: Pte) {
        let page = machine.mem_map.page(pfn);
        // Code and data of the kernel may be mapped; they belong to nobody's policy.
        if page.is(PageFlags::RESERVED) {
            return;
        }
        self.pages += 1;
        self.anon += u64::from(page.mapping & MAPPING_ANON != 0);
        self.dirty += u64::from(pte.has(Pte::DIRTY) || page.is(PageFlags::DIRTY));
        self.mapcount_max = self.mapcount_max.max(page.mapcount().into());
        self.swapcache += u64::from(page.is(PageFlags::SWAPCACHE));
        self.active += u64::from(page.is(PageFlags::ACTIVE) || page.is(PageFlags::UNEVICTABLE));
        self.writeback += u64::from(page.is(PageFlags::WRITEBACK));
        *self.node.entry(machine.zones[page.zone().index()].node.0).or_insert(0) += 1;
    }

    /// What the line says of the pages: nothing when there is none, and only what tells something.
    fn fields(&self) -> Vec<(String, u64)> {
        if self.pages == 0 {
            return Vec::new();
        }
        let file = self.pages != self.anon && self.pages != self.dirty;
        let told = [
            (self.anon > 0, "anon", self.anon),
            (self.dirty > 0, "dirty", self.dirty),
            (file, "mapped", self.pages),
            (self.mapcount_max > 1, "mapmax", self.mapcount_max),
            (self.swapcache > 0, "swapcache", self.swapcache),
            // That all are active is the usual case.
            (self.active < self.pages, "active", self.active),
            (self.writeback > 0, "writeback", self.writeback),
        ];
        let told = told.into_iter().filter(|(shown, ..)| *shown).map(|(_, name, n)| (name.to_string(), n));
        let nodes = self.node.iter().map(|(nid, pages)| (format!("N{nid}"), *pages));
        told.chain(nodes).chain([("kernelpagesize_kB".to_string(), 4)]).collect()
    }
}

/// The whole file.
pub fn numa_maps(machine: &Machine, pid: Pid) -> Table {
    let mut table = Table::new();
    let mut records = Vec::new();
    let Some(mm) = machine.tasks.get(&pid).and_then(|t| t.mm) else { return table };
    for (_, vma) in machine.areas(mm) {
        let name = machine.vma_name(vma);
        let what = match name.as_ref() {
            "[heap]" => " heap".into(),
            "[stack]" => " stack".into(),
            path if path.starts_with('/') => format!(" file={}", escaped(path)),
            _ => String::new(),
        };
        let fields = Counts::of(machine, vma).fields();
        let words: String = fields.iter().map(|(name, n)| format!(" {name}={n}")).collect();
        table = table.line(format!("{:08x} default{what}{words}", vma.start));
        let mut record: Record = vec![
            ("start".into(), Cell::Addr(vma.start)),
            ("policy".into(), "default".into()),
            ("name".into(), name.as_ref().into()),
        ];
        record.extend(fields.into_iter().map(|(name, n)| (name.to_lowercase(), n.into())));
        records.push(record);
    }
    table.with_records(records)
}

/// A path as one word: what would end it stands in octal (`seq_path`).
fn escaped(path: &str) -> String {
    let special = |c: char| matches!(c, '\n' | '\t' | '=' | ' ' | '\\');
    path.chars().fold(String::new(), |text, c| match special(c) {
        true => format!("{text}\\{:03o}", u32::from(c)),
        false => format!("{text}{c}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mm::addr::VirtAddr;
    use crate::mm::memory::Access;
    use crate::mm::mmap::{map, prot};
    use crate::script::table::Part;

    const RW: u64 = prot::READ | prot::WRITE;

    fn words(machine: &Machine, pid: Pid, start: VirtAddr) -> String {
        let table = numa_maps(machine, pid);
        let begin = format!("{:08x} ", start.0);
        let mut lines = table.parts().iter().filter_map(|part| match part {
            Part::Line(line) => line.strip_prefix(&begin),
            _ => None,
        });
        lines.next().unwrap().to_string()
    }

    #[test]
    fn pages_are_counted_on_their_nodes() {
        let mut m = Machine::boot(crate::import::shipped::get("x86_64-numa2").unwrap()).unwrap();
        let pid = m.spawn("app").unwrap();
        let anon = m.mmap(pid, VirtAddr(0), 64 << 12, RW, map::PRIVATE | map::ANONYMOUS).unwrap();
        assert_eq!(words(&m, pid, anon), "default", "nothing is there yet");
        m.touch(pid, anon, 8 << 12, Access::Read).unwrap();
        assert_eq!(words(&m, pid, anon), "default", "the frame of zeros is on no node");
        m.touch(pid, anon, 8 << 12, Access::Write).unwrap();
        assert_eq!(words(&m, pid, anon), "default anon=8 dirty=8 active=0 N0=8 kernelpagesize_kB=4");
        // The other CPU takes from the node it is on.
        m.set_cpu(1).unwrap();
        let there = m.mmap(pid, VirtAddr(0), 64 << 12, RW, map::PRIVATE | map::ANONYMOUS).unwrap();
        m.touch(pid, VirtAddr(there.0 + (60 << 12)), 4 << 12, Access::Write).unwrap();
        // Both mappings are one area by now.
        let both = "default anon=12 dirty=12 active=0 N0=8 N1=4 kernelpagesize_kB=4";
        assert_eq!(words(&m, pid, there), both);
        m.munmap(pid, there, 64 << 12).unwrap();
        m.set_cpu(0).unwrap();
        // Shared with a child: the largest number of entries that map one page.
        let child = m.fork(pid).unwrap();
        let two = "default anon=8 dirty=8 mapmax=2 active=0 N0=8 kernelpagesize_kB=4";
        assert_eq!(words(&m, child, anon), two);
        m.kill_task(child).unwrap();
        // Locked pages are on no list of inactive ones.
        m.mlock(pid, anon, 8 << 12).unwrap();
        assert_eq!(words(&m, pid, anon), "default anon=8 dirty=8 N0=8 kernelpagesize_kB=4");
        m.check().unwrap();
    }

    #[test]
    fn files_are_named_and_their_pages_mapped() {
        let mut m = Machine::boot(crate::import::shipped::get("x86_64-numa2").unwrap()).unwrap();
        let pid = m.spawn("app").unwrap();
        let file = m.create_file("/data/a b=c", 16 << 12).unwrap();
        let addr = m.mmap_file(pid, VirtAddr(0), 16 << 12, RW, map::PRIVATE, (file, 0)).unwrap();
        m.touch(pid, addr, 4 << 12, Access::Read).unwrap();
        m.touch(pid, addr, 1 << 12, Access::Write).unwrap();
        let said = words(&m, pid, addr);
        assert!(said.starts_with(r"default file=/data/a\040b\075c anon=1 dirty=1 mapped="), "{said}");
        let rows = numa_maps(&m, pid);
        let row = rows.records().iter().find(|row| row[0].1.text() == format!("{:x}", addr.0)).unwrap();
        let number = |key: &str| {
            row.iter().find(|(name, _)| name == key).map_or(0, |(_, n)| n.text().parse().unwrap())
        };
        let nodes: u64 = number("n0") + number("n1");
        assert_eq!((number("anon"), number("mapped")), (1, nodes), "mapped is the sum of the nodes: {said}");
        m.check().unwrap();
    }
}
