//! Pictures of the machine as it stands: strips of marks as text, and the same as SVG.
//!
//! A drawing is a [`Table`](crate::script::table::Table) whose parts are strips: it has `.text`, `.svg`, `.rows`.
//! A new picture is a module here, and a line in [`PICTURES`].
//!
//! ```text
//!   draw("buddy", "Normal") ──► PICTURES ──► buddy.rs ──► Table of Strips ──► shell/render.rs   text
//!                                                                        └──► shell/svg.rs      SVG
//! ```

mod buddy;
mod slab;
pub mod strip;
mod vma;
mod walk;
mod zones;

use crate::mm::addr::VirtAddr;
use crate::script::answer::{ScriptResult, misuse};
use crate::script::args::{self, Who};
use crate::script::bench::{Bench, Desk};
use crate::script::handles::{PageRef, ZoneRef};
use crate::script::ps::list;
use crate::script::table::Table;
use crate::script::takes::ZoneName;
use crate::script::vm::areas::mm_of;
use crate::script::vm::vtop::{self, Half};
use rhai::plugin::*;

/// A picture: its name, what may be said besides, and what draws it.
type Picture = (&'static str, &'static str, fn(&Desk, &[Dynamic]) -> ScriptResult<Table>);

/// Every picture there is.
const PICTURES: &[Picture] = &[
    ("buddy", "[ZONE or PAGE]", buddy),
    ("ptwalk", "[TASK] ADDRESS", walk),
    ("slab", "CACHE", slab),
    ("vma", "TASK", vma),
    ("walk", "[TASK] ADDRESS", walk),
    ("zones", "", zones),
];

/// Pictures of the machine as it stands.
#[export_module]
pub mod functions {
    /// Draws a part of the machine: zones, free blocks, slabs of a cache, an address space, a walk through page tables.
    ///
    /// What is drawn has `.text`, `.svg` and `.rows`. At the prompt, `--svg` behind it prints the SVG, and `--ascii`
    /// the text without Unicode.
    ///
    /// ```vmlab
    /// > draw("zones")
    /// node 0 cpus=0 present=3998
    /// DMA │rr  rrrrrrrrrrrr████████████████████████████████████████████████│ 1-fff 3998 present, 3072 managed, 97 holes
    ///     │█████████!!█!!█!████████████████████████████████████████████████│ > 3072 free, min 110, low 137, high 164
    /// █ free  · used  r reserved  ! min, low, high
    /// > draw("buddy", alloc_pages(GFP_KERNEL, 6))
    /// frames 400-7ff of zone DMA node=0
    /// 10 │────────────────────────────────────────────────────────────────│ 1 split
    /// 9  │────────────────────────────────████████████████████████████████│ 1 split, 1 free
    /// 8  │────────────────████████████████                                │ 1 split, 1 free
    /// 7  │────────████████                                                │ 1 split, 1 free
    /// 6  │····████                                                        │ 1 free, 1 used
    /// █ free  · used  ─ split
    /// > let c = kmem_cache_create("big", 1000, 0, 0);
    /// > kmem_cache_alloc(c, GFP_KERNEL);
    /// > draw("slab", c)
    /// big: objects of 1000 bytes, 1000 apart; slabs of 8192 bytes
    /// cpu 0 slab │█=======│ ffff888000442000 1/8 cpu: 1 2 3 4 5 6 7
    /// █ in use  = on the CPU's list  · free in the slab
    /// > let p = spawn("sh");
    /// > draw("walk", p, 0x1000)
    /// PID: 3        TASK: ffff888000448000  CPU: 0    COMMAND: "sh"
    /// PGD 468000 [0] │!······························░································│ => 46e067 PRESENT|RW|USER|ACCESSED|DIRTY
    /// PUD 46e000 [0] │!·······························································│ => 46f067 PRESENT|RW|USER|ACCESSED|DIRTY
    /// PMD 46f000 [0] │!·······························································│ => 0
    /// the PMD's entry is empty: no table below, nothing is mapped
    /// ! the entry taken  █ others in use  · empty
    /// > draw("zones").rows[0].zone
    /// DMA
    /// > draw("zones").svg.starts_with("<svg ")
    /// true
    /// ```
    ///
    /// Kernel: `struct zone`, `include/linux/mmzone.h`. Gorman: 2.2, 3.3, 6.1, 8.2.
    /// Command: `draw zones`, `draw buddy`, `draw buddy DMA`, `draw slab dentry`, `draw vma 3`, `draw walk 3 0x1000`
    #[rhai_fn(return_raw)]
    pub fn draw(ctx: NativeCallContext, what: &str) -> ScriptResult<Dynamic> {
        super::picture(&ctx, what, &[])
    }

    #[rhai_fn(name = "draw", return_raw)]
    pub fn draw_zone(ctx: NativeCallContext, what: &str, zone: ZoneName) -> ScriptResult<Dynamic> {
        super::picture(&ctx, what, &[zone.into()])
    }

    #[rhai_fn(name = "draw", return_raw)]
    pub fn draw_of(ctx: NativeCallContext, what: &str, of: Who) -> ScriptResult<Dynamic> {
        super::picture(&ctx, what, &[of])
    }

    #[rhai_fn(name = "draw", return_raw)]
    pub fn draw_at(ctx: NativeCallContext, what: &str, of: Dynamic, at: Dynamic) -> ScriptResult<Dynamic> {
        super::picture(&ctx, what, &[of, at])
    }

    #[rhai_fn(name = "draw", return_raw)]
    pub fn draw_as(
        ctx: NativeCallContext,
        what: &str,
        of: Dynamic,
        at: Dynamic,
        format: Dynamic,
    ) -> ScriptResult<Dynamic> {
        super::picture(&ctx, what, &[of, at, format])
    }
}

/// The drawing, or its SVG or ASCII when the last word asks for that.
fn picture(ctx: &NativeCallContext, what: &str, words: &[Dynamic]) -> ScriptResult<Dynamic> {
    let bench = Bench::of(ctx);
    let format = words.last().and_then(|word| word.read_lock::<ImmutableString>().map(|word| word.clone()));
    let format = format.filter(|word| word.starts_with("--"));
    let arguments = &words[..words.len() - usize::from(format.is_some())];
    let table = draw(&bench.borrow(), what, arguments)?;
    Ok(match format.as_deref() {
        None => Dynamic::from(table),
        Some("--svg") => bench.svg(&table).into(),
        Some("--ascii") => bench.ascii(&table).into(),
        Some(other) => return misuse(format!("draw: {other} is neither --svg nor --ascii")),
    })
}

fn draw(desk: &Desk, what: &str, arguments: &[Dynamic]) -> ScriptResult<Table> {
    let Some((_, _, draw)) = PICTURES.iter().find(|picture| picture.0 == what) else {
        let names: Vec<&str> = PICTURES.iter().map(|picture| picture.0).collect();
        return misuse(format!("draw knows no {what:?}; it draws {}", names.join(", ")));
    };
    draw(desk, arguments)
}

/// Neither more nor fewer arguments than a picture takes.
fn usage<T>(what: &str) -> ScriptResult<T> {
    let takes = PICTURES.iter().find(|picture| picture.0 == what).map_or("", |picture| picture.1);
    misuse(format!("usage: {}", format!("draw {what} {takes}").trim_end()))
}

fn zones(desk: &Desk, arguments: &[Dynamic]) -> ScriptResult<Table> {
    if arguments.is_empty() { Ok(zones::zones(&desk.machine)) } else { usage("zones") }
}

fn vma(desk: &Desk, arguments: &[Dynamic]) -> ScriptResult<Table> {
    let [task] = arguments else { return usage("vma") };
    Ok(vma::areas(&desk.machine, &list::who(desk, "draw", task)?))
}

fn slab(desk: &Desk, arguments: &[Dynamic]) -> ScriptResult<Table> {
    let [cache] = arguments else { return usage("slab") };
    crate::script::memblock::late(desk)?;
    match slab::slabs(&desk.machine, crate::script::slab::named(desk, cache)?) {
        Some(table) => Ok(table),
        None => {
            misuse("draw slab: SLOB has no slabs, objects of all caches share its pages; slob() shows them")
        }
    }
}

fn walk(desk: &Desk, arguments: &[Dynamic]) -> ScriptResult<Table> {
    let machine = &desk.machine;
    let (task, addr) = match arguments {
        [addr] => (list::who(desk, "draw", &Dynamic::UNIT)?, addr),
        [task, addr] => (list::who(desk, "draw", task)?, addr),
        _ => return usage("walk"),
    };
    let addr = args::addr("draw walk: the address", addr)?;
    match vtop::half(machine, addr) {
        Half::User => match mm_of(machine, &task) {
            Some(mm) => Ok(walk::walk(machine, task.header(), walk::Whose::Task(mm), addr)),
            None => misuse(format!("draw walk: task {} ({}) has no address space", task.pid, task.comm)),
        },
        Half::Kernel if machine.virt_to_pfn(VirtAddr(addr)).is_some() => misuse(format!(
            "draw walk: {addr:x} lies in the direct map: its tables are not simulated, vtop({addr:#x}) tells where \
             they would stand"
        )),
        Half::Kernel => Ok(walk::walk(machine, "the kernel's tables".into(), walk::Whose::Kernel, addr)),
        Half::Neither => misuse(format!("draw walk: {addr:x} is neither a user's address nor the kernel's")),
    }
}

fn buddy(desk: &Desk, arguments: &[Dynamic]) -> ScriptResult<Table> {
    let machine = &desk.machine;
    crate::script::memblock::late(desk)?;
    let of = match arguments {
        [] => return Ok(buddy::zones(machine, machine.zones.iter().filter(|z| z.is_populated()))),
        [of] => of,
        _ => return usage("buddy"),
    };
    if let Some(zone) = of.read_lock::<ZoneRef>() {
        return Ok(buddy::zone(machine, zone.of(desk)?));
    }
    if let Some(page) = of.read_lock::<PageRef>() {
        return Ok(buddy::region(machine, page.pfn));
    }
    if let Ok(pfn) = of.as_int() {
        return Ok(buddy::region(machine, crate::script::page::pfn(desk, pfn)?));
    }
    match of.read_lock::<ImmutableString>() {
        Some(name) => {
            let kind = crate::script::zone::kind(desk, &name)?;
            let mut zones =
                machine.zones.iter().filter(|zone| zone.kind == kind && zone.is_populated()).peekable();
            if zones.peek().is_none() {
                let there: Vec<&str> = machine
                    .zones
                    .iter()
                    .filter(|zone| zone.is_populated())
                    .map(|zone| zone.kind.name())
                    .collect();
                return misuse(format!(
                    "draw buddy: zone {} has no memory on this machine; {} has",
                    kind.name(),
                    there.join(", ")
                ));
            }
            Ok(zones.fold(Table::new(), |table, zone| table.join(&buddy::zone(machine, zone))))
        }
        None => misuse(format!("draw buddy: a zone or a page is needed, not {}", args::describe(of))),
    }
}
