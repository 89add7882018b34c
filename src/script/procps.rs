//! The everyday tools of a Linux user: `free`, `pmap` and `page-types`.
//!
//! They read /proc, so their numbers are those of `cat`.

mod free;
mod page_types;
pub mod pmap;

use crate::script::advice;
use crate::script::answer::{OrErrno, ScriptResult};
use crate::script::args::{Addr, Who};
use crate::script::bench::Bench;
use crate::script::ps::list;
use crate::script::table::Table;
use rhai::plugin::*;

/// The everyday tools of a Linux user.
#[export_module]
pub mod functions {
    /// How much memory is used, free and available: in kB, or as `-b`, `-m`, `-g` or `-h` says.
    ///
    /// With a task and an address it is the C library's `free`: it gives memory of `malloc` back.
    ///
    /// ```vmlab
    /// > free()
    ///               total        used        free      shared  buff/cache   available
    /// Mem:          12288           0       12288           0           0       11632
    /// Swap:             0           0           0
    /// > free("-m").rows[0].available
    /// 11
    /// > let p = spawn("app");
    /// > free(p, malloc(p, 100))
    /// ```
    ///
    /// Kernel: /proc/meminfo, `fs/proc/meminfo.c`.
    #[rhai_fn(return_raw)]
    pub fn free(ctx: NativeCallContext, options: &str) -> ScriptResult<Table> {
        super::free::free(&Bench::of(&ctx).borrow().machine, options)
    }

    #[rhai_fn(name = "free", return_raw)]
    pub fn free_in_kilobytes(ctx: NativeCallContext) -> ScriptResult<Table> {
        free(ctx, "")
    }

    #[rhai_fn(name = "free", return_raw)]
    pub fn free_memory(ctx: NativeCallContext, p: Who, addr: Addr) -> ScriptResult<OrErrno<()>> {
        advice::free_memory(&ctx, &p, &addr)
    }

    /// The areas of a task with their size, and with options more of each.
    ///
    /// `-x` shows what of them is in memory and dirty, `-d` where they lie in their files, `-X` and `-XX` most or all of
    /// what smaps says, in columns; `-p` shows whole paths.
    ///
    /// ```vmlab
    /// > let p = spawn("app");
    /// > sbrk(p, 65536);
    /// > pmap(p)
    /// 3:   app
    /// 0000555555559000     64K rw---   [ anon ]
    /// 00007ffff7ff9000     16K r----   [ anon ]
    /// 00007ffff7ffd000      8K r-x--   [ anon ]
    /// 00007ffffffde000    132K rw---   [ stack ]
    ///  total              220K
    /// > pmap("-x", p)
    /// 3:   app
    /// Address           Kbytes     RSS   Dirty Mode  Mapping
    /// 0000555555559000      64       0       0 rw---   [ anon ]
    /// 00007ffff7ff9000      16       0       0 r----   [ anon ]
    /// 00007ffff7ffd000       8       0       0 r-x--   [ anon ]
    /// 00007ffffffde000     132       4       4 rw---   [ stack ]
    /// ---------------- ------- ------- -------
    /// total kB             220       4       4
    /// > execve(p, "/bin/bash"); pmap("-x", p).rows[1].mapping
    /// bash
    /// > pmap("-d", p).rows[1].offset
    /// 0x2f000
    /// > pmap("-X -p", p).rows[1].mapping
    /// /usr/bin/bash
    /// ```
    ///
    /// Kernel: /proc/PID/smaps, `fs/proc/task_mmu.c`.
    #[rhai_fn(return_raw)]
    pub fn pmap(ctx: NativeCallContext, p: Who) -> ScriptResult<Table> {
        pmap_as(ctx, "", p)
    }

    /// How many pages have which flags; with `-l` where they lie, with `-r` all flags; of the machine or of a task.
    ///
    /// ```vmlab
    /// > let p = spawn("app");
    /// > sbrk(p, 65536); touch(p, brk(p, 0) - 65536, 65536);
    /// > page_types()
    ///              flags	page-count       MB  symbolic-flags			long-symbolic-flags
    /// 0x0000000000000000	     29724      116  _____________________________________________
    /// 0x0000000001000000	         1        0  ________________________z____________________	zero_page
    /// 0x0000000004000000	         7        0  __________________________g__________________	pgtable
    /// 0x0000000000000080	        10        0  _______S_____________________________________	slab
    /// 0x0000000000000400	      3009       11  __________B__________________________________	buddy
    /// 0x0000000000005828	        17        0  ___U_l_____Ma_b______________________________	uptodate,lru,mmap,anonymous,swapbacked
    ///              total	     32768      128
    /// > page_types("-l -r", p)
    /// voffset	offset	len	flags
    /// 555555559	801	10	___U_l_____Ma_b____________________f_d______1
    /// 7fffffffe	800	1	___U_l_____Ma_b____________________f_d______1
    ///
    ///
    ///              flags	page-count       MB  symbolic-flags			long-symbolic-flags
    /// 0x8000810000005828	        17        0  ___U_l_____Ma_b____________________f_d______1	uptodate,lru,mmap,anonymous,swapbacked,softdirty,anon_exclusive,mmap_exclusive
    ///              total	        17        0
    /// > page-types | tail -1
    ///              total	     32768      128
    /// > page_types().rows[1].names
    /// zero_page
    /// ```
    ///
    /// Kernel: /proc/kpageflags, `stable_page_flags`, `fs/proc/page.c`.
    #[rhai_fn(return_raw)]
    pub fn page_types(ctx: NativeCallContext) -> ScriptResult<Table> {
        page_types_as(ctx, "")
    }

    #[rhai_fn(name = "page_types", return_raw)]
    pub fn page_types_as(ctx: NativeCallContext, options: &str) -> ScriptResult<Table> {
        super::page_types::page_types(&Bench::of(&ctx).borrow().machine, None, options)
    }

    #[rhai_fn(name = "page_types", return_raw)]
    pub fn page_types_of(ctx: NativeCallContext, options: &str, p: Who) -> ScriptResult<Table> {
        let bench = Bench::of(&ctx);
        let desk = bench.borrow();
        let task = list::who(&desk, "page_types", &p)?;
        super::page_types::page_types(&desk.machine, Some(&task), options)
    }

    #[rhai_fn(name = "pmap", return_raw)]
    pub fn pmap_as(ctx: NativeCallContext, options: &str, p: Who) -> ScriptResult<Table> {
        let bench = Bench::of(&ctx);
        let desk = bench.borrow();
        let task = list::who(&desk, "pmap", &p)?;
        super::pmap::pmap(&desk.machine, &task, options)
    }
}
