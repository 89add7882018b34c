//! `cow`: who shares a page of a task, and what a write to it would do.
//!
//! The order of the questions is that of `do_wp_page`: `mm/memory.c`. Looking changes nothing.

use crate::mm::Machine;
use crate::mm::addr::{Pfn, VirtAddr};
use crate::mm::page::PageFlags;
use crate::mm::pgtable::Pte;
use crate::mm::rmap::MAPPING_ANON;
use crate::mm::vma::{VmFlags, Vma};
use crate::script::answer::{ScriptResult, misuse};
use crate::script::args::{Addr, Who};
use crate::script::bench::Bench;
use crate::script::ps::list::{self, Listed};
use crate::script::table::{Cell, Table};
use crate::script::vm::areas::mm_of;
use crate::script::vm::entries::Behind;
use rhai::plugin::*;

/// Copy on write, told.
#[export_module]
pub mod functions {
    /// Tells who shares the page at a task's address, and what a write to it would do: reuse, copy, or nothing special.
    ///
    /// ```vmlab
    /// > let p = spawn("app");
    /// > let a = mmap(p, 0, 4096, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS);
    /// > write(p, a, 1);
    /// > let child = fork(p);
    /// > cow(p, a)
    /// PID: 3        TASK: ffff888000400000  CPU: 0    COMMAND: "app"
    /// 7ffff7ff8000  pfn 0x801, read-only in a writable private area, _mapcount 1: mapped by tasks 3, 4
    /// a write copies it: the page is shared (do_wp_page, wp_page_copy)
    /// > write(child, a, 2);
    /// > cow(p, a).rows[0].write
    /// reuse
    /// ```
    ///
    /// Kernel: `do_wp_page`, `mm/memory.c`. Gorman: 4.6.4.
    #[rhai_fn(return_raw)]
    pub fn cow(ctx: NativeCallContext, p: Who, addr: Addr) -> ScriptResult<Table> {
        let bench = Bench::of(&ctx);
        let desk = bench.borrow();
        let task = list::who(&desk, "cow", &p)?;
        super::story(&desk.machine, &task, crate::script::vm::number("cow", &addr)?)
    }
}

/// What a write would do, in a word, and why.
type Verdict = (&'static str, &'static str);

fn story(machine: &Machine, t: &Listed, addr: u64) -> ScriptResult<Table> {
    let Some(mm) = mm_of(machine, t) else {
        return misuse(format!("cow: task {} ({}) has no address space", t.pid, t.comm));
    };
    let at = VirtAddr(addr).page();
    let area = machine.find_vma(mm, at).map(|id| &machine.vmas[id]).filter(|vma| vma.start <= at.0);
    let Some(vma) = area else {
        return misuse(format!("cow: no area of task {} holds {addr:x}; vm({}) lists them", t.pid, t.pid));
    };
    let pte = machine.tables.pte(machine.mms[mm].pgd, at);
    let place = |what: String| format!("{:x}  {what}", at.0);
    let mut record = vec![("pid".to_string(), Cell::from(t.pid)), ("addr".to_string(), Cell::Addr(at.0))];
    let (line, verdict) = match Behind::of(pte) {
        Behind::Nothing => (place("no page yet".into()), unmapped(vma)),
        Behind::Swap(_) => (
            place("in swap".into()),
            ("swapin", "a write brings it back first, then it is as for any other page (do_swap_page)"),
        ),
        Behind::ZeroPage(pfn) => {
            record.push(("pfn".into(), pfn.0.into()));
            let told = format!("pfn {:#x}, the page of zeros that everybody shares", pfn.0);
            (
                place(told),
                denied(vma).unwrap_or(("copy", "a write gets a page of its own, of zeros (wp_page_copy)")),
            )
        }
        Behind::Page(pfn) => {
            record.push(("pfn".into(), pfn.0.into()));
            let sharers = sharers(machine, pfn);
            record.push(("tasks".into(), Cell::from(sharers.clone())));
            (place(mapped(machine, vma, pte, pfn, &sharers)), verdict(machine, vma, pte, pfn))
        }
    };
    record.push(("write".into(), verdict.0.into()));
    Ok(Table::new().head(t.header()).line(line).line(verdict.1).with_records(vec![record]))
}

fn mapped(machine: &Machine, vma: &Vma, pte: Pte, pfn: Pfn, sharers: &[u32]) -> String {
    let right = if pte.has(Pte::RW) { "writable" } else { "read-only" };
    let area = if vma.flags.has(VmFlags::WRITE) { "writable" } else { "read-only" };
    let kind = if vma.flags.has(VmFlags::SHARED) { "shared" } else { "private" };
    let count = i64::from(machine.mem_map.page(pfn).mapcount()) - 1;
    let shown: Vec<String> = sharers.iter().map(u32::to_string).collect();
    let tasks = if shown.len() == 1 { "task" } else { "tasks" };
    format!(
        "pfn {:#x}, {right} in a {area} {kind} area, _mapcount {count}: mapped by {tasks} {}",
        pfn.0,
        shown.join(", ")
    )
}

/// Pids of the processes that map a frame.
fn sharers(machine: &Machine, pfn: Pfn) -> Vec<u32> {
    let spaces: Vec<_> = machine.rmap(pfn).iter().map(|(id, ..)| machine.vmas[*id].mm).collect();
    let tasks = machine.tasks.values().filter(|t| t.is_leader());
    tasks.filter(|t| t.mm.is_some_and(|mm| spaces.contains(&mm))).map(|t| t.pid).collect()
}

fn denied(vma: &Vma) -> Option<Verdict> {
    (!vma.flags.has(VmFlags::WRITE))
        .then_some(("SIGSEGV", "a write is refused: the area is not writable (SEGV_ACCERR)"))
}

fn unmapped(vma: &Vma) -> Verdict {
    match denied(vma) {
        Some(denied) => denied,
        None if vma.file.is_none() => ("new", "a write gets a new page of zeros (do_anonymous_page)"),
        None if vma.flags.has(VmFlags::SHARED) => {
            ("shared", "a write maps the file's own page (do_shared_fault)")
        }
        None => ("copy", "a write gets a copy of the file's page (do_cow_fault)"),
    }
}

/// The questions of `do_wp_page`, in its order.
fn verdict(machine: &Machine, vma: &Vma, pte: Pte, pfn: Pfn) -> Verdict {
    let page = machine.mem_map.page(pfn);
    let cached = u32::from(page.is(PageFlags::SWAPCACHE));
    match denied(vma) {
        Some(denied) => denied,
        None if pte.has(Pte::RW) => ("plain", "a write goes through without a fault: the entry allows it"),
        None if vma.flags.has(VmFlags::SHARED) => {
            ("shared", "a write faults once and is then seen by all who map it (wp_page_shared)")
        }
        None if page.mapping & MAPPING_ANON == 0 => {
            ("copy", "a write copies it: it is the file's page (do_wp_page, wp_page_copy)")
        }
        None if page.is(PageFlags::EXCLUSIVE) => {
            ("reuse", "a write reuses it: the page is this process's alone (PageAnonExclusive)")
        }
        None if page.refcount <= 1 + cached => {
            ("reuse", "a write reuses it: nobody else refers to the page any more (do_wp_page, pgreuse)")
        }
        None => ("copy", "a write copies it: the page is shared (do_wp_page, wp_page_copy)"),
    }
}
