//! What a script reads from the handle of an area.
//!
//! Gorman 4.4. Kernel: `struct vm_area_struct`.

use crate::script::answer::ScriptResult;
use crate::script::args;
use crate::script::bench::Bench;
use crate::script::handles::VmaRef;
use crate::script::proc::pid::smaps;
use rhai::plugin::*;

/// What a script reads from the handle of an area.
#[export_module]
pub mod functions {
    /// First address of the area.
    #[rhai_fn(get = "start", pure, return_raw)]
    pub fn start(ctx: NativeCallContext, vma: &mut VmaRef) -> ScriptResult<args::Address> {
        Ok(args::Address(vma.of(&Bench::of(&ctx).borrow())?.start))
    }

    /// One past the last address of the area.
    #[rhai_fn(get = "end", pure, return_raw)]
    pub fn end(ctx: NativeCallContext, vma: &mut VmaRef) -> ScriptResult<args::Address> {
        Ok(args::Address(vma.of(&Bench::of(&ctx).borrow())?.end))
    }

    /// The area's flags as a number.
    #[rhai_fn(get = "flags", pure, return_raw)]
    pub fn vma_flags(ctx: NativeCallContext, vma: &mut VmaRef) -> ScriptResult<i64> {
        Ok(vma.of(&Bench::of(&ctx).borrow())?.flags.0 as i64)
    }

    /// What the area allows: `rw-p`.
    #[rhai_fn(get = "perms", pure, return_raw)]
    pub fn perms(ctx: NativeCallContext, vma: &mut VmaRef) -> ScriptResult<String> {
        Ok(vma.of(&Bench::of(&ctx).borrow())?.flags.perms())
    }

    /// The area's offset into its file, in pages.
    #[rhai_fn(get = "pgoff", pure, return_raw)]
    pub fn pgoff(ctx: NativeCallContext, vma: &mut VmaRef) -> ScriptResult<i64> {
        Ok(vma.of(&Bench::of(&ctx).borrow())?.pgoff as i64)
    }

    /// The path of the area's file, or `()` for anonymous memory.
    #[rhai_fn(get = "file", pure, return_raw)]
    pub fn vma_file(ctx: NativeCallContext, vma: &mut VmaRef) -> ScriptResult<Dynamic> {
        let bench = Bench::of(&ctx);
        let desk = bench.borrow();
        let vma = vma.of(&desk)?;
        let has_file = vma.file.is_some() || desk.machine.named_file(vma).is_some();
        Ok(if has_file { desk.machine.vma_name(vma).into_owned().into() } else { Dynamic::UNIT })
    }

    /// Pages of the area that are in memory.
    #[rhai_fn(get = "rss", pure, return_raw)]
    pub fn vma_rss(ctx: NativeCallContext, vma: &mut VmaRef) -> ScriptResult<i64> {
        let bench = Bench::of(&ctx);
        let desk = bench.borrow();
        let vma = vma.of(&desk)?;
        Ok(smaps::resident_pages(&desk.machine, vma) as i64)
    }

    /// Pages of the area.
    #[rhai_fn(get = "pages", pure, return_raw)]
    pub fn pages(ctx: NativeCallContext, vma: &mut VmaRef) -> ScriptResult<i64> {
        Ok(vma.of(&Bench::of(&ctx).borrow())?.pages() as i64)
    }

    #[rhai_fn(global, name = "to_string", name = "to_debug", pure)]
    pub fn vma_string(ctx: NativeCallContext, vma: &mut VmaRef) -> String {
        let bench = Bench::of(&ctx);
        let desk = bench.borrow();
        vma.of(&desk).map_or_else(|_| "vma (gone)".into(), |v| format!("vma {v}"))
    }
}
