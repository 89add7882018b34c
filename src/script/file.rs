//! Files: their pages in memory, reading, writing, and what reaches the disk.
//!
//! Gorman chapter 10. Kernel: `mm/filemap.c`, `mm/shmem.c`, `mm/truncate.c`, `fs/namei.c`.

use crate::mm::errno::Errno;
use crate::mm::fadvise::fadv;
use crate::mm::filemap::Payload;
use crate::mm::fs::{File, FileId};
use crate::mm::machine::Machine;
use crate::script::answer::{OrErrno, ScriptResult, answer, misuse};
use crate::script::args::{self, FileArg, Size};
use crate::script::bench::{Bench, Desk};
use crate::script::constants::Constant;
use crate::script::handles::FileRef;
use rhai::plugin::*;

/// Files: their pages in memory, reading, writing, and what reaches the disk.
#[export_module]
pub mod functions {
    /// Makes a file of this size.
    ///
    /// On a disk it has been there before: nothing of it is in memory, and page i is filled with byte i + 1. On a tmpfs,
    /// such as `/dev/shm`, it is one hole: zeros that take no memory. A handle is a name of the file, no descriptor: it
    /// does not keep the file when its path is unlinked.
    ///
    /// ```vmlab
    /// > let f = create("/data", "1M")
    /// file /data ext4 size=1048576 pages=0
    /// > pread(f, 0, 8192)
    /// 8192
    /// > f.nrpages
    /// 2
    /// > create("/data", 0)
    /// EEXIST (File exists)
    /// ```
    ///
    /// Kernel: `do_sys_openat2`, `vfs_truncate`. Gorman: 10.
    #[rhai_fn(return_raw)]
    pub fn create(ctx: NativeCallContext, path: &str, size: Size) -> ScriptResult<OrErrno<FileRef>> {
        let size = args::size("size", &size)?;
        super::handle(&ctx, |machine| machine.create_file(path, size))
    }

    /// The file of a path.
    ///
    /// ```vmlab
    /// > create("/data", 4096);
    /// > open("/data").size
    /// 4096
    /// > open("/nothing")
    /// ENOENT (No such file or directory)
    /// ```
    ///
    /// Kernel: `do_sys_openat2`. Gorman: 10.
    #[rhai_fn(return_raw)]
    pub fn open(ctx: NativeCallContext, path: &str) -> ScriptResult<OrErrno<FileRef>> {
        super::handle(&ctx, |machine| machine.open_file(path))
    }

    /// Takes a file's name away; the file ends when no area maps it.
    ///
    /// ```vmlab
    /// > let f = create("/dev/shm/scratch", 8192);
    /// > pwrite(f, 0, 8192);
    /// > unlink("/dev/shm/scratch");
    /// > open("/dev/shm/scratch")
    /// ENOENT (No such file or directory)
    /// ```
    ///
    /// Kernel: `vfs_unlink`, `iput`. Gorman: 10.
    #[rhai_fn(return_raw)]
    pub fn unlink(ctx: NativeCallContext, path: &str) -> ScriptResult<OrErrno<()>> {
        let bench = Bench::of(&ctx);
        let mut desk = bench.borrow_mut();
        crate::script::memblock::late(&desk)?;
        Ok(answer(desk.machine.unlink(path)))
    }

    /// Reads a range of a file and answers how many bytes there were before its end.
    ///
    /// ```vmlab
    /// > let f = create("/data", 6000);
    /// > pread(f, 4096, 4096)
    /// 1904
    /// > pread(f, 8192, 1)
    /// 0
    /// ```
    ///
    /// Kernel: `filemap_read`. Gorman: 10.2.
    #[rhai_fn(return_raw)]
    pub fn pread(ctx: NativeCallContext, f: FileArg, off: Size, len: Size) -> ScriptResult<OrErrno<i64>> {
        let (off, len) = (args::size("off", &off)?, args::size("len", &len)?);
        super::with(&ctx, &f, |machine, file| machine.pread(file, off, len).map(|n| n as i64))
    }

    /// Writes to a file, which grows if need be, and answers how many bytes.
    ///
    /// Without a value the file says afterwards what it said before, and zeros where nothing was; a value fills the range
    /// with that byte. Returns `ENOSPC` on a full tmpfs, `EFBIG` beyond the largest file.
    ///
    /// ```vmlab
    /// > let f = create("/data", 0);
    /// > pwrite(f, 0, 10000)
    /// 10000
    /// > f.size
    /// 10000
    /// > pwrite(f, 4096, 8, 7);
    /// > f.byte(4097)
    /// 7
    /// ```
    ///
    /// Kernel: `generic_perform_write`. Gorman: 10.2.
    #[rhai_fn(return_raw)]
    pub fn pwrite(ctx: NativeCallContext, f: FileArg, off: Size, len: Size) -> ScriptResult<OrErrno<i64>> {
        let (off, len) = (args::size("off", &off)?, args::size("len", &len)?);
        super::with(&ctx, &f, |machine, file| {
            machine.pwrite(file, off, Payload::Same { len }).map(|n| n as i64)
        })
    }

    #[rhai_fn(name = "pwrite", return_raw)]
    pub fn pwrite_byte(
        ctx: NativeCallContext,
        f: FileArg,
        off: Size,
        len: Size,
        value: i64,
    ) -> ScriptResult<OrErrno<i64>> {
        let (off, len) = (args::size("off", &off)?, args::size("len", &len)?);
        let byte = args::within("value", value, 255)? as u8;
        super::with(&ctx, &f, |machine, file| {
            machine.pwrite(file, off, Payload::Fill { byte, len }).map(|n| n as i64)
        })
    }

    /// Reads one byte of a file; `()` behind its end.
    ///
    /// ```vmlab
    /// > let f = create("/data", "64k");
    /// > [byte(f, 0), byte(f, 4096), byte(f, 8191)]
    /// [1, 2, 2]
    /// ```
    ///
    /// Kernel: `filemap_read`.
    #[rhai_fn(return_raw)]
    pub fn byte(ctx: NativeCallContext, f: FileArg, off: Size) -> ScriptResult<OrErrno<i64>> {
        let off = args::size("off", &off)?;
        let mut byte = [0];
        let read =
            super::with(&ctx, &f, |machine, file| machine.read_file(file, off, &mut byte).map(|n| n as i64))?;
        Ok(match read.as_int() {
            Ok(1) => i64::from(byte[0]).into(),
            Ok(_) => Dynamic::UNIT,
            Err(_) => read,
        })
    }

    /// Writes the dirty pages of a file to its disk and waits until they are there.
    ///
    /// ```vmlab
    /// > let f = create("/data", 0);
    /// > pwrite(f, 0, "64k");
    /// > f.dirty
    /// 16
    /// > fsync(f);
    /// > f.dirty
    /// 0
    /// ```
    ///
    /// Kernel: `vfs_fsync_range`, `file_write_and_wait_range`. Gorman: 10.2.
    #[rhai_fn(return_raw)]
    pub fn fsync(ctx: NativeCallContext, f: FileArg) -> ScriptResult<OrErrno<()>> {
        super::with(&ctx, &f, |machine, file| {
            machine.fsync(file);
            Ok(())
        })
    }

    /// Writes the dirty pages of all files to their disks and waits until they are there.
    ///
    /// ```vmlab
    /// > let f = create("/data", 0);
    /// > pwrite(f, 0, 4096);
    /// > sync();
    /// > f.dirty
    /// 0
    /// ```
    ///
    /// Kernel: `ksys_sync`. Gorman: 10.2.
    pub fn sync(ctx: NativeCallContext) {
        Bench::of(&ctx).borrow_mut().machine.sync();
    }

    /// Makes a file this long: what lies behind goes, also out of the tables of tasks that map it.
    ///
    /// ```vmlab
    /// > let f = create("/data", "64k");
    /// > truncate(f, 4096);
    /// > f.size
    /// 4096
    /// ```
    ///
    /// Kernel: `do_truncate`, `truncate_pagecache`. Gorman: 10.3.
    #[rhai_fn(return_raw)]
    pub fn truncate(ctx: NativeCallContext, f: FileRef, size: Size) -> ScriptResult<OrErrno<()>> {
        let size = args::size("size", &size)?;
        // A path would be cut itself: strings of Rhai have a function of this name.
        super::with(&ctx, &Dynamic::from(f), |machine, file| machine.truncate(file, size))
    }

    /// Tells the kernel how a range of a file will be used; a length of 0 reaches to its end.
    ///
    /// ```vmlab
    /// > let f = create("/data", "64k");
    /// > fadvise(f, 0, 0, POSIX_FADV_WILLNEED);
    /// > f.nrpages
    /// 16
    /// > fadvise(f, 0, 0, POSIX_FADV_DONTNEED);
    /// > f.nrpages
    /// 0
    /// > fadvise(f, 0, 0, 99)
    /// EINVAL (Invalid argument)
    /// ```
    ///
    /// Kernel: `generic_fadvise`. Gorman: 10.
    #[rhai_fn(return_raw)]
    pub fn fadvise(
        ctx: NativeCallContext,
        f: FileArg,
        off: Size,
        len: Size,
        advice: i64,
    ) -> ScriptResult<OrErrno<()>> {
        let (off, len) = (args::size("off", &off)?, args::size("len", &len)?);
        super::with(&ctx, &f, |machine, file| machine.fadvise(file, off, len, advice as u64))
    }

    /// Mounts a tmpfs that may hold so many bytes; 0 is no limit.
    ///
    /// ```vmlab
    /// > mount_tmpfs("/mnt", "16k");
    /// > let f = create("/mnt/a", 0);
    /// > pwrite(f, 0, "64k")
    /// 16384
    /// > pwrite(f, "16k", 1)
    /// ENOSPC (No space left on device)
    /// ```
    ///
    /// Kernel: `shmem_fill_super`. Gorman: 12.
    #[rhai_fn(return_raw)]
    pub fn mount_tmpfs(ctx: NativeCallContext, path: &str, size: Size) -> ScriptResult<OrErrno<()>> {
        let size = args::size("size", &size)?;
        let bench = Bench::of(&ctx);
        let mut desk = bench.borrow_mut();
        crate::script::memblock::late(&desk)?;
        Ok(answer(desk.machine.mount_tmpfs(path, size).map(|_| ())))
    }

    /// Makes a file in memory without a path; it lives until `close`, and as long as an area maps it.
    ///
    /// ```vmlab
    /// > let f = memfd_create("ring");
    /// > truncate(f, 8192);
    /// > f.name
    /// /memfd:ring (deleted)
    /// ```
    ///
    /// Kernel: `memfd_create`. Gorman: 12.
    #[rhai_fn(return_raw)]
    pub fn memfd_create(ctx: NativeCallContext, name: &str) -> ScriptResult<OrErrno<FileRef>> {
        super::handle(&ctx, |machine| machine.memfd_create(name))
    }

    /// Closes the descriptor that `memfd_create` made; of other files nothing is kept by it.
    ///
    /// ```vmlab
    /// > let f = memfd_create("ring");
    /// > close(f);
    /// > f.size
    /// error: use after free: the file has ended: it has no name, and no area maps it
    ///  --> 1:3
    ///   |
    /// 1 | f.size
    ///   |   ^^^^
    /// ```
    ///
    /// Kernel: `filp_close`, `fput`.
    #[rhai_fn(return_raw)]
    pub fn close(ctx: NativeCallContext, f: FileArg) -> ScriptResult<OrErrno<()>> {
        super::with(&ctx, &f, |machine, file| {
            machine.put_file(file);
            Ok(())
        })
    }

    /// The file's path, or what /proc/PID/maps calls it.
    #[rhai_fn(get = "name", pure, return_raw)]
    pub fn name(ctx: NativeCallContext, file: &mut FileRef) -> ScriptResult<String> {
        Ok(file.of(&Bench::of(&ctx).borrow())?.shown_name())
    }

    /// Bytes of the file.
    #[rhai_fn(get = "size", pure, return_raw)]
    pub fn size(ctx: NativeCallContext, file: &mut FileRef) -> ScriptResult<i64> {
        super::number(&ctx, *file, |file| file.size)
    }

    /// The file's inode number.
    #[rhai_fn(get = "ino", pure, return_raw)]
    pub fn ino(ctx: NativeCallContext, file: &mut FileRef) -> ScriptResult<i64> {
        super::number(&ctx, *file, |file| file.ino)
    }

    /// Names of the file: 0 once it is unlinked.
    #[rhai_fn(get = "nlink", pure, return_raw)]
    pub fn nlink(ctx: NativeCallContext, file: &mut FileRef) -> ScriptResult<i64> {
        super::number(&ctx, *file, |file| file.nlink.into())
    }

    /// Pages of the file that are in memory.
    #[rhai_fn(get = "nrpages", pure, return_raw)]
    pub fn nrpages(ctx: NativeCallContext, file: &mut FileRef) -> ScriptResult<i64> {
        super::number(&ctx, *file, |file| file.nrpages)
    }

    /// Pages of the file that lie in swap: only tmpfs has any.
    #[rhai_fn(get = "swapped", pure, return_raw)]
    pub fn swapped(ctx: NativeCallContext, file: &mut FileRef) -> ScriptResult<i64> {
        super::number(&ctx, *file, |file| file.shmem().map_or(0, |shmem| shmem.swapped))
    }

    /// Areas that map the file.
    #[rhai_fn(get = "mapped", pure, return_raw)]
    pub fn mapped(ctx: NativeCallContext, file: &mut FileRef) -> ScriptResult<i64> {
        super::number(&ctx, *file, |file| file.i_mmap.len() as u64)
    }

    /// Pages of the file that still have to be written to its disk.
    #[rhai_fn(get = "dirty", pure, return_raw)]
    pub fn dirty(ctx: NativeCallContext, file: &mut FileRef) -> ScriptResult<i64> {
        super::number(&ctx, *file, File::dirty_pages)
    }

    #[rhai_fn(global, name = "to_string", name = "to_debug", pure)]
    pub fn file_string(ctx: NativeCallContext, file: &mut FileRef) -> String {
        let bench = Bench::of(&ctx);
        let desk = bench.borrow();
        file.of(&desk).map_or_else(|_| "file (gone)".into(), |file| super::file_text(&desk, file))
    }

    #[rhai_fn(name = "==")]
    pub fn file_equals(a: FileRef, b: FileRef) -> bool {
        a == b
    }

    #[rhai_fn(name = "!=")]
    pub fn file_differs(a: FileRef, b: FileRef) -> bool {
        a != b
    }
}

/// `file /data ext4 size=1048576 pages=0`.
fn file_text(desk: &Desk, file: &File) -> String {
    let kind = desk.machine.fs.mounts[file.mount].kind.name();
    format!("file {} {kind} size={} pages={}", file.shown_name(), file.size, file.nrpages)
}

/// A handle of the file that `f` makes or finds.
fn handle(
    ctx: &NativeCallContext,
    f: impl FnOnce(&mut Machine) -> Result<FileId, Errno>,
) -> ScriptResult<Dynamic> {
    let bench = Bench::of(ctx);
    let mut desk = bench.borrow_mut();
    crate::script::memblock::late(&desk)?;
    let id = f(&mut desk.machine);
    Ok(answer(id.map(|id| FileRef::new(&desk, id))))
}

/// Calls the kernel for a file.
fn with<T: Clone + 'static>(
    ctx: &NativeCallContext,
    f: &Dynamic,
    call: impl FnOnce(&mut Machine, FileId) -> Result<T, Errno>,
) -> ScriptResult<Dynamic> {
    let bench = Bench::of(ctx);
    let mut desk = bench.borrow_mut();
    let file = args::file(&desk, f)?;
    let result = call(&mut desk.machine, file);
    crate::script::task::alive(&desk)?;
    Ok(answer(result))
}

fn number(ctx: &NativeCallContext, file: FileRef, number: impl Fn(&File) -> u64) -> ScriptResult<i64> {
    Ok(number(file.of(&Bench::of(ctx).borrow())?) as i64)
}

/// `POSIX_FADV_WILLNEED` and the like.
pub fn constants() -> Vec<Constant> {
    let bits = |name, value: u64, doc| Constant::int(name, value as i64, doc);
    vec![
        bits("POSIX_FADV_NORMAL", fadv::NORMAL, "Nothing is known about the use of the file."),
        bits("POSIX_FADV_RANDOM", fadv::RANDOM, "Pages are used in no order."),
        bits("POSIX_FADV_SEQUENTIAL", fadv::SEQUENTIAL, "Pages are used in order."),
        bits("POSIX_FADV_WILLNEED", fadv::WILLNEED, "Pages will be used soon."),
        bits("POSIX_FADV_DONTNEED", fadv::DONTNEED, "Pages will not be used soon."),
        bits("POSIX_FADV_NOREUSE", fadv::NOREUSE, "Pages will be used once."),
    ]
}

/// The file of a handle, or a complaint.
pub(crate) fn gone<T>() -> ScriptResult<T> {
    misuse("use after free: the file has ended: it has no name, and no area maps it")
}
