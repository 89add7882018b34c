//! System calls that change an address space.
//!
//! Gorman chapter 4. Kernel: `mm/mmap.c`, `mm/mprotect.c`.

use crate::mm::addr::{PAGE_SHIFT, PAGE_SIZE, VirtAddr};
use crate::mm::errno::Errno;
use crate::mm::fork::clone_flags;
use crate::mm::fs::MapFile;
use crate::mm::mmap::{map, prot};
use crate::mm::task::Pid;
use crate::script::answer::{OrErrno, ScriptResult, answer};
use crate::script::args::{self, Addr, Address, FileArg, Size, Who};
use crate::script::bench::{Bench, Desk};
use crate::script::constants::Constant;
use crate::script::strace;
use crate::script::told::Told;
use rhai::plugin::*;

/// System calls that change an address space.
#[export_module]
pub mod functions {
    /// Maps anonymous memory, or a part of a file, into a task's address space and answers its first address.
    ///
    /// Returns `ENOMEM`, `EINVAL`, `EEXIST` or `ESRCH` when the kernel refuses. An address of 0 lets the kernel choose. A
    /// file comes last, with the byte where the mapping begins.
    ///
    /// ```vmlab
    /// > let p = spawn("app");
    /// > let f = create("/data", "64k");
    /// > fadvise(f, 0, 0, POSIX_FADV_WILLNEED);
    /// > touch(p, mmap(p, 0, "64k", PROT_READ, MAP_PRIVATE, f, 0), "64k", READ)
    /// #{"major": 0, "minor": 1, "pages": 16}
    /// > let a = mmap(p, 0, "1M", PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS);
    /// > p.total_vm
    /// 311
    /// > mmap(p, 0, 0, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS)
    /// EINVAL (Invalid argument)
    /// > mmap(p, 0, 1000000000000000000, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS)
    /// ENOMEM (Cannot allocate memory)
    /// ```
    ///
    /// Kernel: `do_mmap`, `mmap_region`. Gorman: 4.4.
    #[rhai_fn(return_raw)]
    pub fn mmap(
        ctx: NativeCallContext,
        p: Who,
        addr: Addr,
        len: Size,
        prot: i64,
        flags: i64,
    ) -> ScriptResult<OrErrno<Address>> {
        let (addr, len) = (VirtAddr(args::addr("addr", &addr)?), args::size("len", &len)?);
        let shown = || {
            let (prot, flags) = (strace::prot_names(prot as u64), strace::map_names(flags as u64));
            format!("mmap({}, {len}, {prot}, {flags}, -1, 0)", strace::pointer(addr.0))
        };
        super::traced_call(&ctx, &p, shown, |desk, pid| {
            answer(desk.machine.mmap(pid, addr, len, prot as u64, flags as u64).map(|a| Address(a.0)))
        })
    }

    #[allow(clippy::too_many_arguments)]
    #[rhai_fn(name = "mmap", return_raw)]
    pub fn mmap_file(
        ctx: NativeCallContext,
        p: Who,
        addr: Addr,
        len: Size,
        prot: i64,
        flags: i64,
        file: FileArg,
        offset: Size,
    ) -> ScriptResult<OrErrno<Address>> {
        let (addr, len) = (VirtAddr(args::addr("addr", &addr)?), args::size("len", &len)?);
        let offset = args::size("offset", &offset)?;
        let id = args::file(&Bench::of(&ctx).borrow(), &file)?;
        let name = Bench::of(&ctx).borrow().machine.files[id].shown_name().to_string();
        let shown = || {
            let (prot, flags) = (strace::prot_names(prot as u64), strace::map_names(flags as u64));
            let (at, file) = (strace::pointer(addr.0), strace::descriptor(&name));
            let offset = if offset == 0 { "0".to_string() } else { format!("{offset:#x}") };
            format!("mmap({at}, {len}, {prot}, {flags}, {file}, {offset})")
        };
        super::traced_call(&ctx, &p, shown, |desk, pid| {
            if !offset.is_multiple_of(PAGE_SIZE) {
                return Dynamic::from(Errno::EINVAL);
            }
            let file = MapFile::from((id, offset >> PAGE_SHIFT));
            let mapped = desk.machine.mmap_file(pid, addr, len, prot as u64, flags as u64, file);
            answer(mapped.map(|a| Address(a.0)))
        })
    }

    /// Takes a range out of a task's address space.
    ///
    /// ```vmlab
    /// > let p = spawn("app");
    /// > let a = mmap(p, 0, "64k", PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS);
    /// > munmap(p, a + 4096, 4096);
    /// > find_vma(p, a).pages
    /// 1
    /// > munmap(p, a + 1, 4096)
    /// EINVAL (Invalid argument)
    /// ```
    ///
    /// Kernel: `do_mas_munmap`. Gorman: 4.4.6.
    #[rhai_fn(return_raw)]
    pub fn munmap(ctx: NativeCallContext, p: Who, addr: Addr, len: Size) -> ScriptResult<OrErrno<()>> {
        let (addr, len) = (VirtAddr(args::addr("addr", &addr)?), args::size("len", &len)?);
        let shown = || format!("munmap({}, {len})", strace::pointer(addr.0));
        super::traced_call(&ctx, &p, shown, |desk, pid| answer(desk.machine.munmap(pid, addr, len)))
    }

    /// Changes what a range of a task's address space allows.
    ///
    /// ```vmlab
    /// > let p = spawn("app");
    /// > let a = mmap(p, 0, "64k", PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS);
    /// > mprotect(p, a, 4096, PROT_READ);
    /// > write(p, a, 1)
    /// SIGSEGV (SEGV_ACCERR) at 0x7ffff7fe9000
    /// ```
    ///
    /// Kernel: `do_mprotect_pkey`. Gorman: 4.4.
    #[rhai_fn(return_raw)]
    pub fn mprotect(
        ctx: NativeCallContext,
        p: Who,
        addr: Addr,
        len: Size,
        prot: i64,
    ) -> ScriptResult<OrErrno<()>> {
        let (addr, len) = (VirtAddr(args::addr("addr", &addr)?), args::size("len", &len)?);
        let shown =
            || format!("mprotect({}, {len}, {})", strace::pointer(addr.0), strace::prot_names(prot as u64));
        super::traced_call(&ctx, &p, shown, |desk, pid| {
            answer(desk.machine.mprotect(pid, addr, len, prot as u64))
        })
    }

    /// Moves the end of a task's heap and answers where it is; when it cannot move, that is where it was.
    ///
    /// ```vmlab
    /// > let p = spawn("app");
    /// > let end = brk(p, 0);
    /// > brk(p, end + 65536) - end
    /// 65536
    /// ```
    ///
    /// Kernel: `brk`. Gorman: 4.4.
    #[rhai_fn(return_raw)]
    pub fn brk(ctx: NativeCallContext, p: Who, addr: Addr) -> ScriptResult<OrErrno<Address>> {
        let addr = VirtAddr(args::addr("addr", &addr)?);
        let shown = || format!("brk({})", strace::pointer(addr.0));
        super::traced_call(&ctx, &p, shown, |desk, pid| {
            answer(desk.machine.brk(pid, addr).map(|a| Address(a.0)))
        })
    }

    /// Grows a task's heap by so many bytes and answers where it ended before, or `ENOMEM`.
    ///
    /// ```vmlab
    /// > let p = spawn("app");
    /// > let old = sbrk(p, 8192);
    /// > brk(p, 0) - old
    /// 8192
    /// ```
    ///
    /// Kernel: `brk`; `sbrk` is the C library's.
    #[rhai_fn(return_raw)]
    pub fn sbrk(ctx: NativeCallContext, p: Who, delta: i64) -> ScriptResult<OrErrno<Address>> {
        let bench = Bench::of(&ctx);
        super::call(&ctx, &p, |desk, pid| {
            // The C library asks where the heap ends, and then for another end.
            let mut brk = |to: VirtAddr| {
                let end = desk.machine.brk(pid, to);
                let returned = answer(end.map(|end| Address(end.0)));
                strace::called(&bench, desk, pid, || format!("brk({})", strace::pointer(to.0)), &returned);
                end
            };
            let moved = brk(VirtAddr(0)).and_then(|old| {
                let wanted = VirtAddr(old.0.wrapping_add(delta as u64));
                if delta == 0 {
                    return Ok(Address(old.0));
                }
                let new = brk(wanted)?;
                if new == wanted { Ok(Address(old.0)) } else { Err(crate::mm::errno::Errno::ENOMEM) }
            });
            answer(moved)
        })
    }
}

/// Calls the kernel for a task, and prints the call while somebody traces.
pub(crate) fn traced_call(
    ctx: &NativeCallContext,
    p: &Dynamic,
    shown: impl FnOnce() -> String,
    f: impl FnOnce(&mut Desk, Pid) -> Dynamic,
) -> ScriptResult<Dynamic> {
    call(ctx, p, |desk, pid| {
        let value = f(desk, pid);
        strace::called(&Bench::of(ctx), desk, pid, shown, &value);
        value
    })
}

/// Calls the kernel for a task.
pub(crate) fn call(
    ctx: &NativeCallContext,
    p: &Dynamic,
    f: impl FnOnce(&mut Desk, Pid) -> Dynamic,
) -> ScriptResult<Dynamic> {
    let bench = Bench::of(ctx);
    let mut desk = bench.borrow_mut();
    let pid = args::who(&desk, p)?;
    // What other calls were refused is not told of this one.
    desk.machine.refused = None;
    let value = f(&mut desk, pid);
    super::task::alive(&desk)?;
    let why = desk.machine.refused.take();
    if let Some(errno) = value.read_lock::<Errno>() {
        desk.told = Told::Call(ctx.fn_name().into(), pid, *errno, why);
    }
    Ok(value)
}

/// `PROT_READ`, `MAP_PRIVATE`, `SIGKILL` and the like.
pub fn constants() -> Vec<Constant> {
    let bits = |name, value: u64, doc| Constant::bits(name, value as i64, doc);
    vec![
        bits("PROT_NONE", prot::NONE, "No access."),
        bits("PROT_READ", prot::READ, "Reading is allowed."),
        bits("PROT_WRITE", prot::WRITE, "Writing is allowed."),
        bits("PROT_EXEC", prot::EXEC, "Executing is allowed."),
        bits("MAP_SHARED", map::SHARED, "Changes are seen by all who map it."),
        bits("MAP_PRIVATE", map::PRIVATE, "Changes are the task's own: copy on write."),
        bits("MAP_FIXED", map::FIXED, "Exactly here; what is there goes."),
        bits("MAP_FIXED_NOREPLACE", map::FIXED_NOREPLACE, "Exactly here, or EEXIST."),
        bits("MAP_ANONYMOUS", map::ANONYMOUS, "No file: pages of zeros."),
        bits("MAP_ANON", map::ANONYMOUS, "The same as MAP_ANONYMOUS."),
        bits("MAP_GROWSDOWN", map::GROWSDOWN, "Grows downwards like a stack."),
        bits("MAP_LOCKED", map::LOCKED, "Stays in memory."),
        bits("MAP_NORESERVE", map::NORESERVE, "Is not counted as committed."),
        bits("MAP_STACK", map::STACK, "For a stack: means nothing to the kernel."),
        bits("CLONE_VM", clone_flags::VM, "Shares the address space."),
        bits("CLONE_FS", clone_flags::FS, "Shares the working directory: not simulated, no task has one."),
        bits("CLONE_FILES", clone_flags::FILES, "Shares open files: not simulated, no task has any."),
        bits("CLONE_SIGHAND", clone_flags::SIGHAND, "Shares signal handlers; needs CLONE_VM."),
        bits("CLONE_THREAD", clone_flags::THREAD, "One more thread of the group; needs CLONE_SIGHAND."),
        bits("CLONE_VFORK", clone_flags::VFORK, "The parent sleeps until the child calls exec or exit."),
        bits("CLONE_PARENT", clone_flags::PARENT, "A sibling: its parent is the caller's parent."),
        bits("CLONE_SYSVSEM", clone_flags::SYSVSEM, "Shares semaphore adjustments: not simulated."),
        bits("CLONE_SETTLS", clone_flags::SETTLS, "Sets thread-local storage: means nothing to memory."),
        bits(
            "CLONE_PARENT_SETTID",
            clone_flags::PARENT_SETTID,
            "Writes the pid in the parent: not simulated.",
        ),
        bits("CLONE_CHILD_CLEARTID", clone_flags::CHILD_CLEARTID, "Clears the pid at exit: not simulated."),
        bits("CLONE_CHILD_SETTID", clone_flags::CHILD_SETTID, "Writes the pid in the child: not simulated."),
        Constant::int("SIGKILL", 9, "Ends a task for certain."),
        Constant::int("READ", 0, "For touch: the task loads."),
        Constant::int("WRITE", 1, "For touch: the task stores."),
    ]
}
