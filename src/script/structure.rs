//! `struct`: the kernel's structures by name, member by member, as the crash utility prints them.
//!
//! ```text
//!   struct("page.flags,lru", addr)
//!            │    │           └──── objects.rs, identify.rs: what lies there
//!            │    └──────────────── member.rs: one member, by its path
//!            └───────────────────── KINDS: which structure, how large, how its members are read
//! ```
//!
//! A structure shows the members that the simulator keeps, by the kernel's names and in its order. Offsets are those of
//! 6.1 on x86_64. `vm -m`, `vm -v` and `task` are the same structures under another head.

mod area;
pub mod member;
mod page;
mod slab;
mod task;
mod zone;

pub use area::vm_area_struct;
pub use member::Radix;
pub use task::{mm_struct, task_struct};

use crate::mm::Machine;
use crate::mm::addr::{Pfn, VirtAddr};
use crate::mm::config::Arch;
use crate::mm::slab_common::Allocator;
use crate::script::answer::{ScriptResult, misuse};
use crate::script::args::{self, Addr};
use crate::script::bench::{Bench, Desk};
use crate::script::handles::{CacheRef, NodeRef, PageRef, TaskRef, ZoneRef};
use crate::script::objects::{self, Object};
use crate::script::ps::list;
use crate::script::suggest;
use crate::script::table::Table;
use member::Member;
use rhai::plugin::*;

/// A structure: its name, its bytes on x86_64, its members at an address, and the address of one to show it by.
struct Kind {
    name: &'static str,
    size: u32,
    at: fn(&Machine, u64) -> Option<Vec<Member>>,
    sample: fn(&Machine) -> Option<u64>,
}

const KINDS: &[Kind] = &[
    Kind {
        name: "kmem_cache",
        size: 8408,
        at: |m, addr| Some(slab::kmem_cache(m, m.caches.at(VirtAddr(addr))?)),
        sample: |m| Some(m.caches.all[*m.caches.order.first()?].addr.0),
    },
    Kind {
        name: "mm_struct",
        size: 1088,
        at: |m, addr| match objects::find(m, addr)? {
            Object::Mm(id) if objects::mm(m, id) == addr => Some(mm_struct(m, id)),
            _ => None,
        },
        sample: |m| m.tasks.values().find_map(|t| t.mm).map(|id| objects::mm(m, id)),
    },
    Kind {
        name: "page",
        size: 64,
        at: |m, addr| {
            let pfn = m.pfn_of_struct(VirtAddr(addr)).filter(|pfn| m.page_struct(*pfn).0 == addr)?;
            Some(page::page(m, pfn))
        },
        sample: |m| m.mem_map.reserved().first().map(|(start, _)| m.page_struct(Pfn(*start)).0),
    },
    Kind {
        name: "pglist_data",
        size: 174_208,
        at: |m, addr| {
            let node = (0..m.nodes.len()).find(|node| m.pgdat_address(*node).0 == addr)?;
            Some(zone::pglist_data(m, node))
        },
        sample: |m| Some(m.pgdat_address(0).0),
    },
    Kind {
        name: "task_struct",
        size: 6208,
        at: |m, addr| list::all(m).iter().find(|t| t.task == addr).map(|t| task_struct(m, t)),
        sample: |m| Some(objects::task(m, m.tasks.keys().next()?)),
    },
    Kind {
        name: "vm_area_struct",
        size: 152,
        at: |m, addr| match objects::find(m, addr)? {
            Object::Vma(id) if objects::vma(m, id) == addr => Some(vm_area_struct(m, id)),
            _ => None,
        },
        sample: |m| m.vmas.iter().next().map(|(id, _)| objects::vma(m, id)),
    },
    Kind {
        name: "zone",
        size: 1536,
        at: |m, addr| {
            let zone = (0..m.zones.len()).find(|zone| m.zone_address(*zone).0 == addr)?;
            Some(zone::zone(m, zone))
        },
        sample: |m| Some(m.zone_address(0).0),
    },
];

/// Every structure that can be shown.
pub fn names() -> impl Iterator<Item = &'static str> {
    KINDS.iter().map(|kind| kind.name)
}

/// The kernel's structures, member by member.
#[export_module]
pub mod functions {
    /// Shows a structure of the kernel at an address, or some of its members; without an address, how it is declared.
    ///
    /// There are `page`, `zone`, `pglist_data`, `vm_area_struct`, `mm_struct`, `task_struct` and `kmem_cache`, with the
    /// members that mean something here. The address may also be a handle, or the name of a zone or a cache. Behind the
    /// name, `-x` writes numbers in hexadecimal and `-o` shows offsets; a count takes so many page structures in a row.
    ///
    /// ```vmlab
    /// > struct page.flags,_refcount ffffea0000000400
    ///   flags = 2251798739947520,
    ///   _refcount = {
    ///     counter = 1
    ///   }
    /// > let p = spawn("app");
    /// > struct("vm_area_struct", p.vmas[0]).rows[0].vm_start == p.vmas[0].start
    /// true
    /// > struct zone.free_area[10] DMA -x
    ///   free_area[10] = {
    ///     nr_free = 0x1
    ///   }
    /// > struct vm_area_struct -o
    /// struct vm_area_struct {
    ///     [0] unsigned long vm_start;
    ///     [8] unsigned long vm_end;
    ///    [16] struct mm_struct *vm_mm;
    ///    [24] pgprot_t vm_page_prot;
    ///    [32] unsigned long vm_flags;
    ///    [88] struct anon_vma *anon_vma;
    ///   [104] unsigned long vm_pgoff;
    ///   [112] struct file *vm_file;
    /// }
    /// SIZE: 152
    /// note: the members that mean something here; the kernel's structure has more
    /// > struct page 1000
    /// struct: 1000 is not the address of a struct page; that of the memory there is ffffea0000000040
    /// > struct nosuchstruct
    /// struct: invalid data structure reference: nosuchstruct
    /// ```
    ///
    /// Kernel: `include/linux/mm_types.h`, `include/linux/mmzone.h`. Gorman: 2.1, 2.3, 4.3.
    /// Command: `struct page ffffea0000000400`, `struct zone Normal`, `struct mm_struct -o`
    #[rhai_fn(name = "struct", return_raw)]
    pub fn structure(ctx: NativeCallContext, name: &str) -> ScriptResult<Table> {
        let asked = super::Asked::parse(name)?;
        super::declared(&Bench::of(&ctx).borrow().machine, &asked)
    }

    #[rhai_fn(name = "struct", return_raw)]
    pub fn structure_at(ctx: NativeCallContext, name: &str, addr: Addr) -> ScriptResult<Table> {
        structures_at(ctx, name, addr, 1)
    }

    #[rhai_fn(name = "struct", return_raw)]
    pub fn structures_at(ctx: NativeCallContext, name: &str, addr: Addr, count: i64) -> ScriptResult<Table> {
        let asked = super::Asked::parse(name)?;
        let bench = Bench::of(&ctx);
        let desk = bench.borrow();
        let at = super::address(&desk, asked.kind, &addr)?;
        super::shown(&desk.machine, &asked, at, args::within("the count", count, 1 << 16)?)
    }
}

/// What was asked for: `page.flags,lru -x`.
struct Asked<'a> {
    kind: &'static Kind,
    members: Vec<&'a str>,
    radix: Radix,
    offsets: bool,
}

impl Asked<'_> {
    fn parse(text: &str) -> ScriptResult<Asked<'_>> {
        let (mut radix, mut offsets, mut reference) = (Radix::Decimal, false, None);
        for word in text.split_whitespace() {
            match word {
                "-x" => radix = Radix::Hex,
                "-d" => radix = Radix::Decimal,
                "-o" => offsets = true,
                word if word.starts_with('-') => {
                    return misuse(format!("struct: {word} is none of -x, -d, -o"));
                }
                word => reference = reference.or(Some(word)),
            }
        }
        let Some(reference) = reference else { return misuse("struct: which structure?") };
        let (name, members) = reference.split_once('.').unwrap_or((reference, ""));
        let Some(kind) = KINDS.iter().find(|kind| kind.name == name) else {
            let near = suggest::nearest(name, KINDS.iter().map(|kind| kind.name));
            let near = near.first().map(|near| format!("; did you mean {near}?")).unwrap_or_default();
            return misuse(format!("struct: invalid data structure reference: {name}{near}"));
        };
        let members = members.split(',').filter(|member| !member.is_empty()).collect();
        Ok(Asked { kind, members, radix, offsets })
    }
}

/// The address that a handle, a name or a number means.
fn address(desk: &Desk, kind: &Kind, value: &Dynamic) -> ScriptResult<u64> {
    let machine = &desk.machine;
    if let Some(page) = value.read_lock::<PageRef>() {
        page.read(desk)?;
        return Ok(machine.page_struct(page.pfn).0);
    }
    if let Some(zone) = value.read_lock::<ZoneRef>() {
        return Ok(machine.zone_address(zone.of(desk)?.id.index()).0);
    }
    if let Some(node) = value.read_lock::<NodeRef>() {
        return Ok(machine.pgdat_address(node.index(desk)?).0);
    }
    if let Some(area) = value.read_lock::<crate::script::handles::VmaRef>() {
        return Ok(objects::vma(machine, area.id(desk)?));
    }
    if let Some(cache) = value.read_lock::<CacheRef>() {
        return Ok(machine.caches.all[cache.id(desk)?].addr.0);
    }
    if let Some(task) = value.read_lock::<TaskRef>() {
        let task = task.of(desk)?;
        return match (kind.name, task.mm) {
            ("mm_struct", Some(mm)) => Ok(objects::mm(machine, mm)),
            ("mm_struct", None) => {
                misuse(format!("struct: task {} ({}) has no address space", task.pid, task.comm))
            }
            _ => Ok(objects::task(machine, task.pid)),
        };
    }
    let Some(name) = value.read_lock::<ImmutableString>() else { return args::addr("the address", value) };
    let zone = machine.zones.iter().position(|zone| zone.kind.name() == &**name);
    let cache = || machine.caches.find(&name).map(|id| machine.caches.all[id].addr.0);
    zone.map(|zone| machine.zone_address(zone).0)
        .or_else(cache)
        .or_else(|| u64::from_str_radix(name.trim_start_matches("0x"), 16).ok())
        .map_or_else(|| misuse(format!("struct: invalid input: \"{}\"", &**name)), Ok)
}

/// The structures at an address, one after the other.
fn shown(machine: &Machine, asked: &Asked, at: u64, count: u32) -> ScriptResult<Table> {
    let kind = asked.kind;
    if count != 1 && kind.name != "page" {
        return misuse(format!("struct: only page structures lie in an array here, not {}", kind.name));
    }
    let stride = machine.page_struct(Pfn(1)).0.wrapping_sub(machine.page_struct(Pfn(0)).0);
    let mut table = Table::new();
    let mut records = Vec::new();
    for n in 0..u64::from(count) {
        let at = at.wrapping_add(n * stride);
        let Some(members) = (kind.at)(machine, at) else { return misuse(stranger(machine, kind, at)) };
        let chosen = member::choose(&members, kind.name, &asked.members)?;
        if n > 0 && !asked.members.is_empty() {
            table = table.line("");
        }
        for line in member::lines(kind.name, &chosen, asked.members.is_empty(), asked.radix) {
            table = table.line(line);
        }
        records.push(member::record(&chosen));
    }
    Ok(table.with_records(records))
}

/// What to say of an address at which no such structure lies.
fn stranger(machine: &Machine, kind: &Kind, at: u64) -> String {
    let head = format!("struct: {at:x} is not the address of a struct {}", kind.name);
    let hint = match kind.name {
        "page" => crate::script::kmem::identify::pfn_of(machine, at)
            .map(|pfn| format!("that of the memory there is {:x}", machine.page_struct(pfn).0)),
        "zone" => Some("kmem -z shows those of all zones".to_string()),
        "pglist_data" => Some("kmem -n shows those of all nodes".to_string()),
        "kmem_cache" => Some("kmem -s shows those of all caches".to_string()),
        "task_struct" => Some("ps shows those of all tasks".to_string()),
        _ => Some("vm shows those of a task".to_string()),
    };
    hint.map_or(head.clone(), |hint| format!("{head}; {hint}"))
}

/// How a structure is declared, with its size; of single members their declarations and offsets.
fn declared(machine: &Machine, asked: &Asked) -> ScriptResult<Table> {
    let kind = asked.kind;
    let Some(members) = (kind.sample)(machine).and_then(|at| (kind.at)(machine, at)) else {
        return misuse(format!("struct: this machine has no {} yet", kind.name));
    };
    let chosen = member::choose(&members, kind.name, &asked.members)?;
    // A member alone is shown with its offset.
    let offsets = asked.offsets || !asked.members.is_empty();
    let known = machine.config.arch == Arch::X86_64
        && chosen.iter().all(|(_, member)| member.has_offset())
        && (kind.name != "kmem_cache" || machine.caches.allocator == Allocator::Slub);
    if asked.offsets && !known {
        return misuse(format!("struct: offsets in {} are not known here", kind.name));
    }
    let width = (offsets && known).then(|| kind.size.to_string().len() + 4);
    let mut table = Table::new().line(format!("struct {} {{", kind.name));
    for (_, member) in &chosen {
        for line in member.declaration(width, 1) {
            table = table.line(line);
        }
    }
    table = table.line("}");
    if asked.members.is_empty() && machine.config.arch == Arch::X86_64 {
        table = table.line(format!("SIZE: {}", kind.size));
    }
    let records = chosen.iter().flat_map(|(_, member)| member.declarations()).collect();
    Ok(table
        .with_records(records)
        .note("the members that mean something here; the kernel's structure has more"))
}
