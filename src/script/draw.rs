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
pub mod strip;
mod vma;
mod zones;

use crate::script::answer::{ScriptResult, misuse};
use crate::script::args::{self, Who};
use crate::script::bench::{Bench, Desk};
use crate::script::handles::{PageRef, ZoneRef};
use crate::script::ps::list;
use crate::script::table::Table;
use crate::script::takes::ZoneName;
use rhai::plugin::*;

/// A picture: its name, what may be said besides, and what draws it.
type Picture = (&'static str, &'static str, fn(&Desk, &[Dynamic]) -> ScriptResult<Table>);

/// Every picture there is.
const PICTURES: &[Picture] =
    &[("buddy", "[ZONE or PAGE]", buddy), ("vma", "TASK", vma), ("zones", "", zones)];

/// Pictures of the machine as it stands.
#[export_module]
pub mod functions {
    /// Draws a part of the machine: its zones, the free blocks of a zone, an address space.
    ///
    /// What is drawn has `.text`, `.svg` and `.rows`. At the prompt, `--svg` behind it prints the SVG, and `--ascii`
    /// the text without Unicode.
    ///
    /// ```vmlab
    /// > draw("zones")
    /// node 0 cpus=0 present=3998
    /// DMA │rr  rrrrrrrrrrrr████████████████████████████████████████████████│ 1-fff 3998 present, 3072 managed, 97 holes
    ///     │█████████!!█!!█!████████████████████████████████████████████████│ 3072 free, min 110, low 137, high 164
    /// █ free  · used  r reserved  ! min, low, high
    /// > draw("buddy", alloc_pages(GFP_KERNEL, 6))
    /// frames 400-7ff of zone DMA node=0
    /// 10 │────────────────────────────────────────────────────────────────│ 1 split
    /// 9  │────────────────────────────────████████████████████████████████│ 1 split, 1 free
    /// 8  │────────────────████████████████                                │ 1 split, 1 free
    /// 7  │────────████████                                                │ 1 split, 1 free
    /// 6  │····████                                                        │ 1 free, 1 used
    /// █ free  · used  ─ split
    /// > draw("zones").rows[0].zone
    /// DMA
    /// > draw("zones").svg.starts_with("<svg ")
    /// true
    /// ```
    ///
    /// Kernel: `struct zone`, `include/linux/mmzone.h`. Gorman: 2.2, 6.1.
    /// Command: `draw zones`, `draw buddy`, `draw buddy DMA`, `draw vma 3`
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
            let zones = machine.zones.iter().filter(|zone| zone.kind == kind && zone.is_populated());
            Ok(zones.fold(Table::new(), |table, zone| table.join(&buddy::zone(machine, zone))))
        }
        None => misuse(format!("draw buddy: a zone or a page is needed, not {}", args::describe(of))),
    }
}
