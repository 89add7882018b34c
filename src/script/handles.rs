//! What a script holds of the machine: handles of the machine, its nodes, zones and pages.
//!
//! A handle is a number, never a copy. One of an earlier machine, or of a page that was freed, answers with a
//! clear *use after free*, never with a stranger's data.

use crate::mm::Machine;
use crate::mm::addr::{Nid, Pfn, ZoneId};
use crate::mm::fs::{File, FileId};
use crate::mm::mmzone::{Node, Zone};
use crate::mm::page::Page;
use crate::mm::slab_common::CacheId;
use crate::mm::task::{Pid, Task};
use crate::mm::vma::{Vma, VmaId};
use crate::script::answer::{ScriptResult, misuse};
use crate::script::bench::Desk;
use std::fmt;
use std::rc::Rc;

/// The machine on the bench.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MachineRef;

/// A node of the machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NodeRef {
    /// Its number.
    pub nid: Nid,
    boot: u32,
}

/// A zone of the machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ZoneRef {
    /// Its place in `Machine::zones`.
    pub id: ZoneId,
    boot: u32,
}

/// A page of the machine, as it was when the handle was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PageRef {
    /// Its frame.
    pub pfn: Pfn,
    serial: u32,
    boot: u32,
}

/// A task of the machine, alive or dead.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TaskRef {
    /// Its number, which another task may have once this one is reaped.
    pub pid: Pid,
    serial: u32,
    boot: u32,
}

/// An area of a task's address space.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VmaRef {
    id: VmaId,
    boot: u32,
}

/// A slab cache of the machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CacheRef {
    id: CacheId,
    /// The name it was made under: one of the cache's.
    pub name: Rc<str>,
    boot: u32,
}

impl CacheRef {
    /// A handle of a cache.
    pub fn new(desk: &Desk, id: CacheId, name: &str) -> CacheRef {
        CacheRef { id, name: name.into(), boot: desk.boots }
    }

    /// The cache's number.
    pub fn id(&self, desk: &Desk) -> ScriptResult<CacheId> {
        match desk.machine.caches.all.get(self.id) {
            Some(_) if self.boot == desk.boots => Ok(self.id),
            _ => misuse(format!(
                "use after free: the cache {} was destroyed after this handle was made",
                self.name
            )),
        }
    }

    /// `kmem_cache widget objsize=200 order=0 objects=3/16 slabs=1`.
    pub fn text(&self, desk: &Desk) -> String {
        let Ok(id) = self.id(desk) else { return format!("kmem_cache {} (destroyed)", self.name) };
        let (cache, census) = (&desk.machine.caches.all[id], desk.machine.cache_census(id));
        format!(
            "kmem_cache {} objsize={} order={} objects={}/{} slabs={}",
            cache.name(),
            cache.object_size,
            cache.order,
            census.allocated,
            census.total,
            census.slabs
        )
    }
}

/// A file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FileRef {
    id: FileId,
    boot: u32,
}

impl FileRef {
    /// A handle of a file.
    pub fn new(desk: &Desk, id: FileId) -> FileRef {
        FileRef { id, boot: desk.boots }
    }

    /// The file's number, if it has not ended.
    pub fn id(self, desk: &Desk) -> ScriptResult<FileId> {
        if self.boot != desk.boots {
            return gone("the file");
        }
        match desk.machine.files.get(self.id) {
            Some(_) => Ok(self.id),
            None => crate::script::file::gone(),
        }
    }

    /// The file.
    pub fn of(self, desk: &Desk) -> ScriptResult<&File> {
        Ok(&desk.machine.files[self.id(desk)?])
    }
}

impl TaskRef {
    /// A handle of the task with this pid.
    pub fn new(desk: &Desk, pid: Pid) -> TaskRef {
        let serial = desk.machine.tasks.get(&pid).map_or(0, |t| t.serial);
        TaskRef { pid, serial, boot: desk.boots }
    }

    /// The task, dead or alive.
    pub fn of(self, desk: &Desk) -> ScriptResult<&Task> {
        match desk.machine.tasks.get(&self.pid) {
            Some(task) if self.boot == desk.boots && task.serial == self.serial => Ok(task),
            Some(_) if self.boot == desk.boots => misuse(format!(
                "use after free: task {} was reaped after this handle was made, and its pid belongs to another now",
                self.pid
            )),
            None if self.boot == desk.boots => misuse(format!(
                "there is no task {} now: it was reaped after this handle was made, or undo and restore went back before it",
                self.pid
            )),
            _ => gone(format_args!("task {}", self.pid)),
        }
    }

    /// `task 3 hog rss=12 …`.
    pub fn text(self, desk: &Desk) -> String {
        self.of(desk)
            .map_or_else(|_| format!("task {} (gone)", self.pid), |t| super::task::task_text(desk, t))
    }
}

impl VmaRef {
    /// A handle of an area.
    pub fn new(desk: &Desk, id: VmaId) -> VmaRef {
        VmaRef { id, boot: desk.boots }
    }

    /// The area's number, if it is still there.
    pub fn id(self, desk: &Desk) -> ScriptResult<VmaId> {
        match desk.machine.vmas.get(self.id) {
            Some(_) if self.boot == desk.boots => Ok(self.id),
            _ => misuse("use after free: the area was unmapped or merged after this handle was made"),
        }
    }

    /// The area.
    pub fn of(self, desk: &Desk) -> ScriptResult<&Vma> {
        Ok(&desk.machine.vmas[self.id(desk)?])
    }
}

fn gone<T>(what: impl fmt::Display) -> ScriptResult<T> {
    misuse(format!("{what} belonged to a machine that is gone: another one was booted"))
}

impl NodeRef {
    /// A handle of the node with this number.
    pub fn new(desk: &Desk, nid: Nid) -> NodeRef {
        NodeRef { nid, boot: desk.boots }
    }

    /// The node's place in `Machine::nodes`.
    pub fn index(self, desk: &Desk) -> ScriptResult<usize> {
        match desk.machine.node_index(self.nid) {
            Some(index) if self.boot == desk.boots => Ok(index),
            _ => gone(format_args!("node {}", self.nid)),
        }
    }

    /// The node.
    pub fn of(self, desk: &Desk) -> ScriptResult<&Node> {
        Ok(&desk.machine.nodes[self.index(desk)?])
    }
}

impl ZoneRef {
    /// A handle of the zone at this place.
    pub fn new(desk: &Desk, id: ZoneId) -> ZoneRef {
        ZoneRef { id, boot: desk.boots }
    }

    /// The zone.
    pub fn of(self, desk: &Desk) -> ScriptResult<&Zone> {
        match desk.machine.zones.get(self.id.index()) {
            Some(zone) if self.boot == desk.boots => Ok(zone),
            _ => gone("the zone"),
        }
    }
}

impl PageRef {
    /// A handle of the frame as it is now.
    pub fn new(desk: &mut Desk, pfn: Pfn) -> PageRef {
        PageRef { pfn, serial: desk.machine.watch_page(pfn), boot: desk.boots }
    }

    /// Is the frame still what it was when the handle was made?
    pub fn is_live(self, desk: &Desk) -> bool {
        self.boot == desk.boots && desk.machine.serials.is_live(self.pfn, self.serial)
    }

    /// The frame to be read.
    pub fn read(self, desk: &Desk) -> ScriptResult<Page> {
        if self.boot != desk.boots {
            return gone(format_args!("page pfn={}", self.pfn));
        }
        if !self.is_live(desk) {
            return misuse(format!(
                "use after free: page pfn={} was freed after this handle was made",
                self.pfn
            ));
        }
        Ok(desk.machine.mem_map.page(self.pfn))
    }

    /// The frame to be given back: through a stale handle that is the kernel's own complaint.
    pub fn give_back(self, desk: &mut Desk) -> ScriptResult<Pfn> {
        if self.boot != desk.boots {
            return gone(format_args!("page pfn={}", self.pfn));
        }
        if self.is_live(desk) {
            crate::script::answer::oops(desk.machine.own_reference(self.pfn))?;
            return Ok(self.pfn);
        }
        let page = desk.machine.mem_map.page(self.pfn);
        let now = if page.refcount == 0 { "and is free now" } else { "and belongs to somebody else now" };
        let advice = format!(
            "page pfn={} was freed after this handle was made, {now}: it cannot be freed again",
            self.pfn
        );
        let reason = if page.refcount == 0 { "nonzero _refcount" } else { "page still in use" };
        crate::script::answer::oops(Err(desk.machine.bad_page(self.pfn, reason, &advice)))
    }

    /// The one way to print a page: `page pfn=0x1f3c4 order=2 zone=DMA32 node=0`.
    pub fn text(self, desk: &Desk) -> String {
        if !self.is_live(desk) {
            return format!("page pfn={} (freed)", self.pfn);
        }
        page_text(&desk.machine, self.pfn)
    }
}

/// `page pfn=0x1f3c4 order=2 zone=DMA32 node=0`.
pub fn page_text(machine: &Machine, pfn: Pfn) -> String {
    let page = machine.mem_map.page(pfn);
    let zone = &machine.zones[page.zone().index()];
    format!("page pfn={pfn} order={} zone={} node={}", page.order(), zone.kind, zone.node)
}

/// `zone DMA32 node=0 free=87271 min=653 low=816 high=979`.
pub fn zone_text(zone: &Zone) -> String {
    let start = format!("zone {} node={}", zone.kind, zone.node);
    if !zone.is_populated() {
        return format!("{start} (empty)");
    }
    let (mark, boost) = (zone.watermark, zone.watermark_boost);
    let [min, low, high] = [mark.min, mark.low, mark.high].map(|mark| mark + boost);
    format!("{start} free={} min={min} low={low} high={high}", zone.free_pages())
}

/// `node 0 cpus=0-1 free=…`.
pub fn node_text(machine: &Machine, node: &Node) -> String {
    let zones = node.zones.iter().map(|z| &machine.zones[z.index()]);
    let (present, free) = zones.fold((0, 0), |sum, z| (sum.0 + z.present_pages, sum.1 + z.free_pages()));
    format!("node {} cpus={} present={present} free={free}", node.nid, cpu_list(&node.cpus))
}

/// `CPU 0`, or `CPUs 0-3`: the numbers of several things of a kind.
pub fn listed(what: &str, numbers: &[u16]) -> String {
    let plural = if numbers.len() == 1 { "" } else { "s" };
    format!("{what}{plural} {}", cpu_list(numbers))
}

/// `0-2,5`; `none` for a node without CPU.
pub fn cpu_list(cpus: &[u16]) -> String {
    let mut text = String::new();
    let mut at = 0;
    while at < cpus.len() {
        let mut end = at;
        while end + 1 < cpus.len() && cpus[end + 1] == cpus[end] + 1 {
            end += 1;
        }
        let comma = if text.is_empty() { "" } else { "," };
        text += &if end > at {
            format!("{comma}{}-{}", cpus[at], cpus[end])
        } else {
            format!("{comma}{}", cpus[at])
        };
        at = end + 1;
    }
    if text.is_empty() { "none".into() } else { text }
}
