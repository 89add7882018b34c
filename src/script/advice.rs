//! Moving mappings, locking them, advice, limits, and the C library's heap.
//!
//! Gorman 4.4. Kernel: `mm/mremap.c`, `mm/mlock.c`, `mm/madvise.c`, `kernel/sys.c`.

use crate::mm::addr::VirtAddr;
use crate::mm::errno::Errno;
use crate::mm::madvise::madv;
use crate::mm::memory::Stop;
use crate::mm::mlock::mcl;
use crate::mm::mremap::remap;
use crate::mm::sys::rlimit;
use crate::script::answer::{OrErrno, ScriptResult, answer, misuse};
use crate::script::args::{self, Addr, Address, Size, Who};
use crate::script::bench::Bench;
use crate::script::constants::Constant;
use crate::script::mmap::{call, traced_call};
use crate::script::strace::{self, flags_of, name_of, pointer};
use rhai::Array;
use rhai::plugin::*;

/// Moving mappings, locking them, advice, limits, and the C library's heap.
#[export_module]
pub mod functions {
    /// Moves or resizes a mapping and answers where it is now.
    ///
    /// It grows in place if it can. Else it may move with `MREMAP_MAYMOVE`, to a place of your choice with `MREMAP_FIXED`;
    /// `MREMAP_DONTUNMAP` leaves an empty area behind. An old length of 0 maps a shared area once more.
    ///
    /// ```vmlab
    /// > let p = spawn("app");
    /// > let a = mmap(p, 0, "16k", PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS);
    /// > write(p, a, 7);
    /// > let b = mremap(p, a, "16k", "64k", MREMAP_MAYMOVE);
    /// > [read(p, b), find_vma(p, b).pages]
    /// [7, 16]
    /// > mremap(p, b, "64k", "1M", 0)
    /// ENOMEM (Cannot allocate memory)
    /// > mremap(p, b, "64k", "64k", MREMAP_MAYMOVE|MREMAP_FIXED, 0x100000) == 0x100000
    /// true
    /// > mremap(p, b, "64k", "64k", MREMAP_MAYMOVE)
    /// EFAULT (Bad address)
    /// ```
    ///
    /// Kernel: `mremap`, `move_vma`. Gorman: 4.4.
    #[rhai_fn(return_raw)]
    pub fn mremap(
        ctx: NativeCallContext,
        p: Who,
        old: Addr,
        old_len: Size,
        new_len: Size,
        flags: i64,
    ) -> ScriptResult<OrErrno<Address>> {
        mremap_to(ctx, p, old, old_len, new_len, flags, 0_i64.into())
    }

    #[rhai_fn(name = "mremap", return_raw)]
    pub fn mremap_to(
        ctx: NativeCallContext,
        p: Who,
        old: Addr,
        old_len: Size,
        new_len: Size,
        flags: i64,
        new: Addr,
    ) -> ScriptResult<OrErrno<Address>> {
        let (old, new) = (VirtAddr(args::addr("old", &old)?), VirtAddr(args::addr("new", &new)?));
        let (old_len, new_len) = (args::size("old_len", &old_len)?, args::size("new_len", &new_len)?);
        let shown = || {
            let flags = flags_of(super::constants(), "MREMAP_", flags as u64);
            let to = if new.0 == 0 { String::new() } else { format!(", {}", pointer(new.0)) };
            format!("mremap({}, {old_len}, {new_len}, {flags}{to})", pointer(old.0))
        };
        traced_call(&ctx, &p, shown, |desk, pid| {
            let moved = desk.machine.mremap(pid, old, old_len, new_len, flags as u64, new);
            answer(moved.map(|a| Address(a.0)))
        })
    }

    /// Tells the kernel how a task will use a range, or what it may do with its pages.
    ///
    /// Some advice acts at once (`MADV_DONTNEED`, `MADV_PAGEOUT`, `MADV_POPULATE_WRITE` …), some is kept in the area's flags.
    ///
    /// ```vmlab
    /// > let p = spawn("app");
    /// > let a = mmap(p, 0, "64k", PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS);
    /// > write(p, a, 7);
    /// > madvise(p, a, 4096, MADV_DONTNEED);
    /// > read(p, a)
    /// 0
    /// > madvise(p, a, 4096, 77)
    /// EINVAL (Invalid argument)
    /// ```
    ///
    /// Kernel: `do_madvise`. Gorman: 10.
    #[rhai_fn(return_raw)]
    pub fn madvise(
        ctx: NativeCallContext,
        p: Who,
        addr: Addr,
        len: Size,
        advice: i64,
    ) -> ScriptResult<OrErrno<()>> {
        let (addr, len) = (VirtAddr(args::addr("addr", &addr)?), args::size("len", &len)?);
        let shown = || {
            let advice = name_of(super::constants(), "MADV_", advice as u64);
            format!("madvise({}, {len}, {advice})", pointer(addr.0))
        };
        traced_call(&ctx, &p, shown, |desk, pid| answer(desk.machine.madvise(pid, addr, len, advice as u64)))
    }

    /// Advises the kernel about another task's memory, and answers the bytes that were advised.
    ///
    /// Ranges are arrays of address and length; only `MADV_COLD`, `MADV_PAGEOUT` and `MADV_WILLNEED` may be given to others.
    ///
    /// ```vmlab
    /// > let p = spawn("app"); let helper = spawn("helper");
    /// > let a = mmap(p, 0, "64k", PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS);
    /// > process_madvise(helper, p, [[a, 8192]], MADV_COLD)
    /// 8192
    /// > process_madvise(helper, p, [[a, 8192]], MADV_DONTNEED)
    /// EINVAL (Invalid argument)
    /// ```
    ///
    /// Kernel: `process_madvise`, `mm/madvise.c`.
    #[rhai_fn(return_raw)]
    pub fn process_madvise(
        ctx: NativeCallContext,
        p: Who,
        target: Who,
        ranges: Array,
        advice: i64,
    ) -> ScriptResult<OrErrno<i64>> {
        let mut list = Vec::new();
        for range in ranges {
            let pair = range.into_array().unwrap_or_default();
            let [addr, len] = pair.as_slice() else {
                return misuse("each range is an array of an address and a length: [[a, 4096]]");
            };
            list.push((VirtAddr(args::addr("addr", addr)?), args::size("len", len)?));
        }
        let target = args::who(&Bench::of(&ctx).borrow(), &target)?;
        let shown = || {
            let vectors: Vec<String> = list
                .iter()
                .map(|(addr, len)| format!("{{iov_base={}, iov_len={len}}}", pointer(addr.0)))
                .collect();
            let (n, advice) = (list.len(), name_of(super::constants(), "MADV_", advice as u64));
            // The first argument is a descriptor of the other task; the pid stands for it here.
            format!("process_madvise({target}, [{}], {n}, {advice}, 0)", vectors.join(", "))
        };
        traced_call(&ctx, &p, shown, |desk, pid| {
            let advised = desk.machine.process_madvise(pid, target, &list, advice as u64);
            answer(advised.map(|bytes| bytes as i64))
        })
    }

    /// Keeps a range of a task's memory in memory: its pages are faulted in and not reclaimed.
    ///
    /// ```vmlab
    /// > let p = spawn("app");
    /// > let a = mmap(p, 0, "64k", PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS);
    /// > mlock(p, a, "16k");
    /// > find_vma(p, a).rss
    /// 4
    /// > setuid(p, 1000); setrlimit(p, RLIMIT_MEMLOCK, "32k");
    /// > mlock(p, a, "64k")
    /// ENOMEM (Cannot allocate memory)
    /// ```
    ///
    /// Kernel: `do_mlock`, `mm/mlock.c`. Gorman: 4.4.
    #[rhai_fn(return_raw)]
    pub fn mlock(ctx: NativeCallContext, p: Who, addr: Addr, len: Size) -> ScriptResult<OrErrno<()>> {
        let (addr, len) = (VirtAddr(args::addr("addr", &addr)?), args::size("len", &len)?);
        let shown = || format!("mlock({}, {len})", pointer(addr.0));
        traced_call(&ctx, &p, shown, |desk, pid| answer(desk.machine.mlock(pid, addr, len)))
    }

    /// Keeps a range in memory; with `MLOCK_ONFAULT`, each page from its first touch on.
    ///
    /// ```vmlab
    /// > let p = spawn("app");
    /// > let a = mmap(p, 0, "64k", PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS);
    /// > mlock2(p, a, "64k", MLOCK_ONFAULT);
    /// > find_vma(p, a).rss
    /// 0
    /// ```
    ///
    /// Kernel: `mlock2`, `mm/mlock.c`.
    #[rhai_fn(return_raw)]
    pub fn mlock2(
        ctx: NativeCallContext,
        p: Who,
        addr: Addr,
        len: Size,
        flags: i64,
    ) -> ScriptResult<OrErrno<()>> {
        let (addr, len) = (VirtAddr(args::addr("addr", &addr)?), args::size("len", &len)?);
        let shown = || {
            let flags = flags_of(super::constants(), "MLOCK_", flags as u64);
            format!("mlock2({}, {len}, {flags})", pointer(addr.0))
        };
        traced_call(&ctx, &p, shown, |desk, pid| answer(desk.machine.mlock2(pid, addr, len, flags as u64)))
    }

    /// Lets a range of a task's memory be reclaimed again.
    ///
    /// ```vmlab
    /// > let p = spawn("app");
    /// > let a = mmap(p, 0, "64k", PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS);
    /// > mlock(p, a, "64k"); munlock(p, a, "64k")
    /// > munlock(p, a, "1M")
    /// ENOMEM (Cannot allocate memory)
    /// ```
    ///
    /// Kernel: `munlock`, `mm/mlock.c`. Gorman: 4.4.
    #[rhai_fn(return_raw)]
    pub fn munlock(ctx: NativeCallContext, p: Who, addr: Addr, len: Size) -> ScriptResult<OrErrno<()>> {
        let (addr, len) = (VirtAddr(args::addr("addr", &addr)?), args::size("len", &len)?);
        let shown = || format!("munlock({}, {len})", pointer(addr.0));
        traced_call(&ctx, &p, shown, |desk, pid| answer(desk.machine.munlock(pid, addr, len)))
    }

    /// Keeps all of a task's memory in memory: what it has (`MCL_CURRENT`), what it will map (`MCL_FUTURE`), or both.
    ///
    /// ```vmlab
    /// > let p = spawn("app");
    /// > mlockall(p, MCL_CURRENT|MCL_FUTURE);
    /// > find_vma(p, mmap(p, 0, "64k", PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS)).rss
    /// 16
    /// > mlockall(p, 0)
    /// EINVAL (Invalid argument)
    /// ```
    ///
    /// Kernel: `mlockall`, `mm/mlock.c`. Gorman: 4.4.
    #[rhai_fn(return_raw)]
    pub fn mlockall(ctx: NativeCallContext, p: Who, flags: i64) -> ScriptResult<OrErrno<()>> {
        let shown = || format!("mlockall({})", flags_of(super::constants(), "MCL_", flags as u64));
        traced_call(&ctx, &p, shown, |desk, pid| answer(desk.machine.mlockall(pid, flags as u64)))
    }

    /// Lets all of a task's memory be reclaimed again, also what it will map.
    ///
    /// ```vmlab
    /// > let p = spawn("app");
    /// > mlockall(p, MCL_CURRENT); munlockall(p)
    /// ```
    ///
    /// Kernel: `munlockall`, `mm/mlock.c`. Gorman: 4.4.
    #[rhai_fn(return_raw)]
    pub fn munlockall(ctx: NativeCallContext, p: Who) -> ScriptResult<OrErrno<()>> {
        traced_call(&ctx, &p, || "munlockall()".into(), |desk, pid| answer(desk.machine.munlockall(pid)))
    }

    /// Limits what a task may have: `RLIMIT_AS`, `RLIMIT_DATA`, `RLIMIT_STACK` or `RLIMIT_MEMLOCK`, in bytes.
    ///
    /// `RLIM_INFINITY` is no limit.
    ///
    /// ```vmlab
    /// > let p = spawn("app");
    /// > setrlimit(p, RLIMIT_AS, "1M");
    /// > mmap(p, 0, "2M", PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS)
    /// ENOMEM (Cannot allocate memory)
    /// > setrlimit(p, RLIMIT_AS, RLIM_INFINITY);
    /// > is_err(mmap(p, 0, "2M", PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS))
    /// false
    /// ```
    ///
    /// Kernel: `do_prlimit`, `kernel/sys.c`.
    #[rhai_fn(return_raw)]
    pub fn setrlimit(
        ctx: NativeCallContext,
        p: Who,
        resource: i64,
        limit: Size,
    ) -> ScriptResult<OrErrno<()>> {
        let limit = match limit.as_int() {
            Ok(-1) => rlimit::INFINITY,
            _ => args::size("limit", &limit)?,
        };
        let shown = || {
            let resource = name_of(super::constants(), "RLIMIT_", resource as u64);
            let limit =
                if limit == rlimit::INFINITY { "RLIM64_INFINITY".to_string() } else { limit.to_string() };
            format!("prlimit64(0, {resource}, {{rlim_cur={limit}, rlim_max={limit}}}, NULL)")
        };
        traced_call(&ctx, &p, shown, |desk, pid| answer(desk.machine.setrlimit(pid, resource as u64, limit)))
    }

    /// Makes a task another user's; whoever is not user 0 is held to its limits and reserves.
    ///
    /// ```vmlab
    /// > let p = spawn("app");
    /// > setuid(p, 1000);
    /// > setuid(p, 0)
    /// EPERM (Operation not permitted)
    /// ```
    ///
    /// Kernel: `__sys_setuid`, `kernel/sys.c`.
    #[rhai_fn(return_raw)]
    pub fn setuid(ctx: NativeCallContext, p: Who, uid: i64) -> ScriptResult<OrErrno<()>> {
        let uid = args::within("uid", uid, u32::MAX.into())?;
        let shown = || format!("setuid({uid})");
        traced_call(&ctx, &p, shown, |desk, pid| answer(desk.machine.setuid(pid, uid)))
    }

    /// Allocates memory as a C program does: small pieces from the heap, large ones as mappings of their own.
    ///
    /// ```vmlab
    /// > let p = spawn("app");
    /// > let small = malloc(p, 100);
    /// > brk(p, 0) - small
    /// 135152
    /// > let large = malloc(p, "4M");
    /// > p.minflt
    /// 2
    /// > free(p, large); free(p, small);
    /// > free(p, small)
    /// EINVAL (Invalid argument)
    /// ```
    ///
    /// Kernel: none; the C library's. It calls `brk` and `mmap`.
    #[rhai_fn(return_raw)]
    pub fn malloc(ctx: NativeCallContext, p: Who, size: Size) -> ScriptResult<OrErrno<Address>> {
        let size = args::size("size", &size)?;
        call(&ctx, &p, |desk, pid| {
            let before = strace::Library::of(desk, pid);
            let result = desk.machine.malloc(pid, size);
            before.show(&Bench::of(&ctx), desk, pid, result.as_ref().ok().copied());
            match result {
                Ok(addr) => answer(Ok(Address(addr.0))),
                Err(stop) => stopped(stop),
            }
        })
    }
}

/// Gives memory of malloc back; the function of scripts is an overload of `free`, which also shows memory.
pub(crate) fn free_memory(ctx: &NativeCallContext, p: &Dynamic, addr: &Dynamic) -> ScriptResult<Dynamic> {
    let addr = VirtAddr(args::addr("addr", addr)?);
    call(ctx, p, |desk, pid| {
        let before = strace::Library::of(desk, pid);
        let result = desk.machine.free_memory(pid, addr);
        before.show(&Bench::of(ctx), desk, pid, Some(addr));
        match result {
            Ok(()) => answer(Ok(())),
            Err(stop) => stopped(stop),
        }
    })
}

/// A signal or an errno, as a value.
fn stopped(stop: Stop) -> Dynamic {
    match stop {
        Stop::Signal(signal) => Dynamic::from(signal),
        Stop::Errno(errno) => answer::<()>(Err::<(), Errno>(errno)),
    }
}

/// `MREMAP_MAYMOVE`, `MADV_DONTNEED`, `MCL_CURRENT`, `RLIMIT_AS` and the like.
pub fn constants() -> Vec<Constant> {
    let bits = |name, value: u64, doc| Constant::bits(name, value as i64, doc);
    let int = |name, value: u64, doc| Constant::int(name, value as i64, doc);
    vec![
        bits("MAP_POPULATE", crate::mm::mmap::map::POPULATE, "Faults the pages in at once."),
        bits("MAP_NONBLOCK", crate::mm::mmap::map::NONBLOCK, "With MAP_POPULATE: does not."),
        bits(
            "MAP_SHARED_VALIDATE",
            crate::mm::mmap::map::SHARED_VALIDATE,
            "Shared; unknown flags are refused.",
        ),
        bits("MAP_HUGETLB", crate::mm::mmap::map::HUGETLB, "From the pool of huge pages, which is empty."),
        bits("PROT_GROWSDOWN", crate::mm::mmap::prot::GROWSDOWN, "From the present end of a stack on."),
        bits("PROT_GROWSUP", crate::mm::mmap::prot::GROWSUP, "To the end of an area that grows upwards."),
        bits("MREMAP_MAYMOVE", remap::MAYMOVE, "The mapping may move."),
        bits("MREMAP_FIXED", remap::FIXED, "To exactly this place; what is there goes."),
        bits("MREMAP_DONTUNMAP", remap::DONTUNMAP, "The old area stays, empty."),
        bits("MCL_CURRENT", mcl::CURRENT, "What is mapped now."),
        bits("MCL_FUTURE", mcl::FUTURE, "What will be mapped."),
        bits("MCL_ONFAULT", mcl::ONFAULT, "Pages from their first touch on."),
        bits("MLOCK_ONFAULT", mcl::MLOCK_ONFAULT, "Pages from their first touch on."),
        int("MADV_NORMAL", madv::NORMAL, "No advice."),
        int("MADV_RANDOM", madv::RANDOM, "Pages will be used in no order."),
        int("MADV_SEQUENTIAL", madv::SEQUENTIAL, "Pages will be used in order, once."),
        int("MADV_WILLNEED", madv::WILLNEED, "Pages will be used soon: reads them."),
        int("MADV_DONTNEED", madv::DONTNEED, "Pages go at once, with what was written."),
        int("MADV_FREE", madv::FREE, "Pages may go when memory is short, unless they are written before."),
        int("MADV_REMOVE", madv::REMOVE, "Makes a hole in the file."),
        int("MADV_DONTFORK", madv::DONTFORK, "Children do not get the area."),
        int("MADV_DOFORK", madv::DOFORK, "Children get it again."),
        int("MADV_MERGEABLE", madv::MERGEABLE, "Equal pages may be merged."),
        int("MADV_UNMERGEABLE", madv::UNMERGEABLE, "They may no longer."),
        int("MADV_HUGEPAGE", madv::HUGEPAGE, "Huge pages are welcome."),
        int("MADV_NOHUGEPAGE", madv::NOHUGEPAGE, "Huge pages are not wanted."),
        int("MADV_DONTDUMP", madv::DONTDUMP, "Not in a core dump."),
        int("MADV_DODUMP", madv::DODUMP, "In a core dump again."),
        int("MADV_WIPEONFORK", madv::WIPEONFORK, "Children get zeros."),
        int("MADV_KEEPONFORK", madv::KEEPONFORK, "Children get the contents again."),
        int("MADV_COLD", madv::COLD, "Pages look unused to reclaim."),
        int("MADV_PAGEOUT", madv::PAGEOUT, "Pages are reclaimed now."),
        int("MADV_POPULATE_READ", madv::POPULATE_READ, "Faults pages in for reading."),
        int("MADV_POPULATE_WRITE", madv::POPULATE_WRITE, "Faults pages in for writing."),
        int("MADV_DONTNEED_LOCKED", madv::DONTNEED_LOCKED, "As MADV_DONTNEED, locked or not."),
        int("MADV_COLLAPSE", madv::COLLAPSE, "Small pages become huge ones now."),
        int("RLIMIT_DATA", rlimit::DATA, "Private writable memory, in bytes."),
        int("RLIMIT_STACK", rlimit::STACK, "The stack, in bytes."),
        int("RLIMIT_MEMLOCK", rlimit::MEMLOCK, "Locked memory, in bytes."),
        int("RLIMIT_AS", rlimit::AS, "The address space, in bytes."),
        int("RLIM_INFINITY", rlimit::INFINITY, "No limit."),
    ]
}
