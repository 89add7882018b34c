//! `draw("slab", cache)`: the slabs of a cache, a strip for each, a mark for each object.
//!
//! ```text
//!   cpu 0 slab    │███==·│   in use, on the CPU's own list, free in the slab
//!   cpu 0 partial │█·····│
//!   node 0        │██··█·│   next: 2, 3, 5: the order in which the free ones are given
//! ```

use super::strip::{Strip, Tone};
use crate::mm::Machine;
use crate::mm::addr::VirtAddr;
use crate::mm::slab::{Slab, SlabList};
use crate::mm::slab_common::{Allocator, CacheId};
use crate::mm::slub::{Place, SlabNr};
use crate::script::table::{Cell, Record, Table};

/// Slabs of one list that are drawn; of more it is said how many there are.
const MOST: usize = 8;
/// Free objects that are named.
const NAMED: usize = 8;

/// A slab to be drawn: where it is, its objects, and who gets which of the free ones next.
struct Drawn {
    list: String,
    memory: u64,
    tones: Vec<Tone>,
    /// What a CPU keeps for itself, and what that is called.
    own: Vec<u32>,
    holder: &'static str,
    /// What waits in the slab.
    free: Vec<u32>,
}

impl Drawn {
    fn strip(&self, digits: usize) -> Strip {
        let mut strip = Strip::new(&*self.list, self.tones.len() as u64);
        for (tone, at) in self.tones.iter().zip(0..) {
            strip.add(at, at + 1, *tone);
        }
        let used = self.tones.iter().filter(|tone| **tone == Tone::Fill).count();
        let mut words = format!("{:0digits$x} {used}/{}", self.memory, self.tones.len());
        for (what, objects) in [(self.holder, &self.own), ("free", &self.free)] {
            if !objects.is_empty() {
                words += &format!(" {what}: {}", order(objects));
            }
        }
        strip.after(words)
    }

    fn record(&self, strip: &Strip) -> Record {
        let cells = |objects: &[u32]| Cell::List(objects.iter().map(|n| Cell::from(*n)).collect());
        vec![
            ("list".into(), self.list.as_str().into()),
            ("memory".into(), Cell::Addr(self.memory)),
            ("objects".into(), self.tones.len().into()),
            (self.holder.into(), cells(&self.own)),
            ("free".into(), cells(&self.free)),
            ("strip".into(), strip.marks(false).into()),
        ]
    }
}

/// `3 4 5 …`
fn order(objects: &[u32]) -> String {
    let named: Vec<String> = objects.iter().take(NAMED).map(ToString::to_string).collect();
    format!("{}{}", named.join(" "), if objects.len() > NAMED { " …" } else { "" })
}

/// The slabs of a cache; SLOB has none.
pub fn slabs(machine: &Machine, id: CacheId) -> Option<Table> {
    let cache = &machine.caches.all[id];
    let lists = match machine.caches.allocator {
        Allocator::Slub => slub(machine, id),
        Allocator::Slab => slab(machine, id),
        Allocator::Slob => return None,
    };
    let digits = machine.config.arch.address_digits();
    let mut table = Table::new().head(format!(
        "{}: objects of {} bytes, {} apart; slabs of {} bytes",
        cache.name(),
        cache.object_size,
        cache.size,
        cache.slab_bytes()
    ));
    let mut records = Vec::new();
    if lists.iter().all(Vec::is_empty) {
        return Some(table.line("no slab"));
    }
    for list in lists {
        for drawn in list.iter().take(MOST) {
            let strip = drawn.strip(digits);
            records.push(drawn.record(&strip));
            table = table.strip(strip);
        }
        if list.len() > MOST {
            table = table.line(format!("{}: {} more", list[0].list, list.len() - MOST));
        }
    }
    let queue = match machine.caches.allocator {
        Allocator::Slab => "in a queue",
        _ => "on the CPU's list",
    };
    Some(
        table
            .legend([(Tone::Fill, "in use"), (Tone::Shared, queue), (Tone::Dim, "free in the slab")])
            .with_records(records),
    )
}

/// SLUB: of each CPU its slab and its partial list, of each node the partial and the full ones.
fn slub(machine: &Machine, id: CacheId) -> Vec<Vec<Drawn>> {
    let mut lists = Vec::new();
    for cpu in machine.nodes.iter().flat_map(|node| &node.cpus) {
        let at = usize::from(*cpu);
        let slab = machine.kmem_cache_cpu(id, at).slab.some();
        lists.push(slab.map(|nr| slub_slab(machine, format!("cpu {cpu} slab"), nr)).into_iter().collect());
        let partial = machine.cpu_partial_slabs(id, at);
        lists.push(partial.map(|nr| slub_slab(machine, format!("cpu {cpu} partial"), nr)).collect());
    }
    for (node, at) in machine.nodes.iter().zip(0..) {
        let nid = node.nid;
        let partial = machine.partial_slabs(id, at);
        lists.push(partial.map(|nr| slub_slab(machine, format!("node {nid} partial"), nr)).collect());
        let full = machine.slabs_of(id).filter(|nr| {
            let slab = machine.slab(*nr);
            usize::from(slab.node) == at && slab.place == Place::Full
        });
        lists.push(full.map(|nr| slub_slab(machine, format!("node {nid} full"), nr)).collect());
    }
    lists
}

fn slub_slab(machine: &Machine, list: String, nr: SlabNr) -> Drawn {
    let slab = machine.slab(nr);
    let walk = |first: u16| machine.free_objects(nr, first).collect::<Vec<u32>>();
    let own = match slab.place {
        Place::Cpu(cpu) => walk(machine.kmem_cache_cpu(slab.cache, usize::from(cpu)).freelist),
        _ => Vec::new(),
    };
    let tone = |index: u32| match machine.object_is_allocated(nr, index) {
        true => Tone::Fill,
        false if own.contains(&index) => Tone::Shared,
        false => Tone::Dim,
    };
    let tones = (0..u32::from(slab.objects)).map(tone).collect();
    Drawn { list, memory: machine.slab_base(nr).0, tones, free: walk(slab.freelist), own, holder: "cpu" }
}

/// SLAB: of each node the slabs that are partial, full, free.
fn slab(machine: &Machine, id: CacheId) -> Vec<Vec<Drawn>> {
    let slabs = machine.caches.slab.slabs_of(machine, id);
    let queued: Vec<VirtAddr> = machine.caches.slab.cache(id).map_or_else(Vec::new, |cache| {
        let shared = cache.nodes.iter().filter_map(|node| node.shared.as_ref());
        cache.cpus.iter().chain(shared).flat_map(|queue| queue.entry.iter().copied()).collect()
    });
    let size = u64::from(machine.caches.all[id].size);
    let mut lists = Vec::new();
    for (node, at) in machine.nodes.iter().zip(0..) {
        for (list, word) in
            [(SlabList::Partial, "partial"), (SlabList::Full, "full"), (SlabList::Free, "free")]
        {
            let here = slabs.iter().filter(|slab| slab.node == at && slab.list == list);
            lists.push(
                here.map(|slab| slab_slab(slab, format!("node {} {word}", node.nid), size, &queued))
                    .collect(),
            );
        }
    }
    lists
}

fn slab_slab(slab: &Slab, list: String, size: u64, queued: &[VirtAddr]) -> Drawn {
    let own: Vec<u32> = (0..slab.total())
        .filter(|index| queued.contains(&VirtAddr(slab.s_mem.0 + u64::from(*index) * size)))
        .collect();
    let free: Vec<u32> = slab.free_indices().iter().map(|index| u32::from(*index)).collect();
    let tone = |index: u32| match slab.is_used(index) {
        true => Tone::Fill,
        false if own.contains(&index) => Tone::Shared,
        false => Tone::Dim,
    };
    // A queue gives what came last first, whichever slab it is of: its order is not the slab's.
    let tones = (0..slab.total()).map(tone).collect();
    Drawn { list, memory: slab.s_mem.0, tones, own, free, holder: "queue" }
}
