//! Mapped pages: writing changes back to files, what is in memory, and who maps a page.
//!
//! Gorman 4.4, 10. Kernel: `mm/mmap.c`, `mm/msync.c`, `mm/mincore.c`, `mm/rmap.c`.

use crate::mm::addr::VirtAddr;
use crate::mm::msync::ms;
use crate::script::answer::{OrErrno, ScriptResult, answer};
use crate::script::args::{self, Addr, Address, Size, Who};
use crate::script::bench::Bench;
use crate::script::constants::Constant;
use crate::script::handles::{PageRef, TaskRef, VmaRef};
use crate::script::mmap::traced_call;
use crate::script::strace::{called, flags_of, pointer};
use rhai::plugin::*;
use rhai::{Array, Map};

/// Mapped pages: writing changes back to files, what is in memory, and who maps a page.
#[export_module]
pub mod functions {
    /// Writes what a task changed through shared mappings of files in a range, and waits with `MS_SYNC`.
    ///
    /// ```vmlab
    /// > let p = spawn("app");
    /// > let f = create("/data", 4096);
    /// > let a = mmap(p, 0, 4096, PROT_READ|PROT_WRITE, MAP_SHARED, f, 0);
    /// > write(p, a, 1);
    /// > f.dirty
    /// 1
    /// > msync(p, a, 4096, MS_SYNC);
    /// > f.dirty
    /// 0
    /// > msync(p, a + 1, 4096, MS_SYNC)
    /// EINVAL (Invalid argument)
    /// ```
    ///
    /// Kernel: `msync`. Gorman: 4.4.
    #[rhai_fn(return_raw)]
    pub fn msync(
        ctx: NativeCallContext,
        p: Who,
        addr: Addr,
        len: Size,
        flags: i64,
    ) -> ScriptResult<OrErrno<()>> {
        let (addr, len) = (VirtAddr(args::addr("addr", &addr)?), args::size("len", &len)?);
        let shown = || {
            let flags = flags_of(super::constants(), "MS_", flags as u64);
            format!("msync({}, {len}, {flags})", pointer(addr.0))
        };
        traced_call(&ctx, &p, shown, |desk, pid| answer(desk.machine.msync(pid, addr, len, flags as u64)))
    }

    /// For each page of a range of a task's address space, whether it is in memory.
    ///
    /// ```vmlab
    /// > let p = spawn("app");
    /// > let a = mmap(p, 0, "16k", PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS);
    /// > write(p, a + 4096, 1);
    /// > mincore(p, a, "16k")
    /// [false, true, false, false]
    /// ```
    ///
    /// Kernel: `mincore`. Gorman: 4.4.
    #[rhai_fn(return_raw)]
    pub fn mincore(ctx: NativeCallContext, p: Who, addr: Addr, len: Size) -> ScriptResult<OrErrno<Array>> {
        let (addr, len) = (VirtAddr(args::addr("addr", &addr)?), args::size("len", &len)?);
        crate::script::mmap::call(&ctx, &p, |desk, pid| {
            let pages = desk.machine.mincore(pid, addr, len);
            // strace shows the vector that the kernel filled, which is no return value.
            let shown = || {
                let vector: Vec<&str> =
                    pages.iter().flatten().map(|resident| if *resident { "1" } else { "0" }).collect();
                let vector =
                    if pages.is_ok() { format!("[{}]", vector.join(", ")) } else { "0x7ffffffde000".into() };
                format!("mincore({}, {len}, {vector})", pointer(addr.0))
            };
            let returned = answer(pages.as_ref().map(|_| ()).map_err(|errno| *errno));
            called(&Bench::of(&ctx), desk, pid, shown, &returned);
            answer(pages.map(|pages| pages.into_iter().map(Dynamic::from).collect::<Array>()))
        })
    }

    /// Everybody who maps a page: the tasks, the area and the address of each entry.
    ///
    /// ```vmlab
    /// > let p = spawn("app");
    /// > let a = mmap(p, 0, 4096, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS);
    /// > write(p, a, 1);
    /// > let child = fork(p);
    /// > rmap(page_at(p, a)).len()
    /// 2
    /// > rmap(page_at(p, a))[0].addr == a
    /// true
    /// ```
    ///
    /// Kernel: `rmap_walk`, `mm/rmap.c`. Gorman: 10.
    #[rhai_fn(return_raw)]
    pub fn rmap(ctx: NativeCallContext, page: PageRef) -> ScriptResult<Array> {
        let bench = Bench::of(&ctx);
        let desk = bench.borrow();
        page.read(&desk)?;
        let mut found = Array::new();
        for (vma, addr, _) in desk.machine.rmap(page.pfn) {
            let mm = desk.machine.vmas[vma].mm;
            for task in desk.machine.tasks.values().filter(|task| task.mm == Some(mm)) {
                let mut entry = Map::new();
                entry.insert("task".into(), Dynamic::from(TaskRef::new(&desk, task.pid)));
                entry.insert("vma".into(), Dynamic::from(VmaRef::new(&desk, vma)));
                entry.insert("addr".into(), Dynamic::from(Address(addr.0)));
                found.push(entry.into());
            }
        }
        Ok(found)
    }

    /// The page that a task's address shows, or `()` when none is mapped there.
    ///
    /// ```vmlab
    /// > let p = spawn("app");
    /// > let a = mmap(p, 0, 4096, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS);
    /// > page_at(p, a) == ()
    /// true
    /// > write(p, a, 1);
    /// > page_at(p, a).mapcount
    /// 1
    /// ```
    ///
    /// Kernel: `follow_page`, `mm/gup.c`.
    #[rhai_fn(return_raw)]
    pub fn page_at(ctx: NativeCallContext, p: Who, addr: Addr) -> ScriptResult<OrErrno<PageRef>> {
        let addr = VirtAddr(args::addr("addr", &addr)?);
        crate::script::mmap::call(&ctx, &p, |desk, pid| {
            let pte = match desk.machine.mm_of(pid) {
                Ok(mm) => desk.machine.tables.pte(desk.machine.mms[mm].pgd, addr),
                Err(errno) => return Dynamic::from(errno),
            };
            if !pte.is_present() {
                return Dynamic::UNIT;
            }
            Dynamic::from(PageRef::new(desk, pte.pfn()))
        })
    }
}

/// `MS_SYNC` and its kin.
pub fn constants() -> Vec<Constant> {
    let bits = |name, value: u64, doc| Constant::bits(name, value as i64, doc);
    vec![
        bits("MS_ASYNC", ms::ASYNC, "Writing may begin some time."),
        bits("MS_INVALIDATE", ms::INVALIDATE, "Other mappings shall see the changes: they always do."),
        bits("MS_SYNC", ms::SYNC, "Wait until it is on the disk."),
    ]
}
