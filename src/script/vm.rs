//! Address spaces as the crash utility shows them: areas, translations, swap.
//!
//! The layouts are crash's, column for column; the rows are there for scripts. The functions have the commands' names:
//! `vm -p 3` at the prompt is `vm(3, "-p")` here.

pub mod areas;
pub mod entries;
pub mod pte;
pub mod structs;
pub mod swap;
pub mod vtop;

use crate::script::answer::{ScriptResult, misuse};
use crate::script::args::{self, Addr, Who};
use crate::script::bench::{Bench, Desk};
use crate::script::ps::list::{self, Listed};
use crate::script::table::Table;
use areas::Reference;
use rhai::plugin::*;
use structs::Radix;
use vtop::Half;

/// Address spaces as the crash utility shows them.
#[export_module]
pub mod functions {
    /// An address space and its areas: of the task that `set` chose, or of another.
    ///
    /// Options are those of the command: `-p` shows every page of each area, `-P ADDR` those of one area, `-R WORD` only
    /// what refers to a number, `-m` and `-v` the structures behind it (`-x`: numbers in hexadecimal).
    ///
    /// ```vmlab
    /// > let p = spawn("hog");
    /// > vm(p)
    /// PID: 3        TASK: ffff888000400000  CPU: 0    COMMAND: "hog"
    ///        MM               PGD          RSS    TOTAL_VM
    /// ffff888000420000  ffff888000424000    4k      156k
    ///       VMA           START       END     FLAGS FILE
    /// ffff888000426098 7ffff7ff9000 7ffff7ffd000 c044411
    /// ffff888000426130 7ffff7ffd000 7ffff7fff000 8040075
    /// ffff888000426000 7ffffffde000 7ffffffff000 100173
    /// > vm(p, "-p").rows.filter(|page| page.pfn != ()).len
    /// 1
    /// > vm(99)
    /// error: vm: invalid task or pid value: 99
    /// ```
    ///
    /// Kernel: `struct mm_struct`, `struct vm_area_struct`, `include/linux/mm_types.h`. Gorman: 4.2, 4.4.
    #[rhai_fn(return_raw)]
    pub fn vm(ctx: NativeCallContext, p: Who) -> ScriptResult<Table> {
        vm_as(ctx, p, "")
    }

    #[rhai_fn(name = "vm", return_raw)]
    pub fn vm_of_context(ctx: NativeCallContext) -> ScriptResult<Table> {
        vm_as(ctx, Dynamic::UNIT, "")
    }

    #[rhai_fn(name = "vm", return_raw)]
    pub fn vm_as(ctx: NativeCallContext, p: Who, options: &str) -> ScriptResult<Table> {
        let bench = Bench::of(&ctx);
        let desk = bench.borrow();
        let task = list::who(&desk, "vm", &p)?;
        super::view(&desk, &task, options)
    }

    /// Names of an area's flags: `vm -f`; the value in hexadecimal.
    ///
    /// ```vmlab
    /// > vm_flags("8100073")
    /// 8100073: (READ|WRITE|MAYREAD|MAYWRITE|MAYEXEC|ACCOUNT|CAN_NONLINEAR)
    /// > vm_flags("2071").rows[0].flags
    /// "READ"
    /// "MAYREAD"
    /// "MAYWRITE"
    /// "MAYEXEC"
    /// "LOCKED"
    /// ```
    ///
    /// Kernel: `VM_READ` and the others, `include/linux/mm.h`. Gorman: 4.4.
    #[rhai_fn(return_raw)]
    pub fn vm_flags(value: Addr) -> ScriptResult<Table> {
        Ok(structs::flags(super::number("vm", &value)?))
    }

    /// Walks a virtual address down to its page: in the task that `set` chose, in another, or in the kernel.
    ///
    /// ```vmlab
    /// > let p = spawn("app");
    /// > let a = mmap(p, 0, 8192, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS);
    /// > write(p, a, 7);
    /// > vtop(p, a)
    /// VIRTUAL       PHYSICAL
    /// 7ffff7ff7000  801000
    ///
    ///    PGD: 4247f8 => 427067
    ///    PUD: 427ff8 => 428067
    ///    PMD: 428df8 => 42b067
    ///    PTE: 42bfb8 => 8000000000801867
    ///   PAGE: 801000
    ///
    ///       PTE         PHYSICAL  FLAGS
    /// 8000000000801867    801000  (PRESENT|RW|USER|ACCESSED|DIRTY|NX)
    ///
    ///       VMA           START       END     FLAGS FILE
    /// ffff8880004261c8 7ffff7ff7000 7ffff7ff9000 8100073
    ///
    ///       PAGE       PHYSICAL      MAPPING       INDEX CNT FLAGS
    /// ffffea0000020040   801000 ffff888000310069 7ffff7ff7  1 7ffffc00a0014 uptodate,lru,anon_exclusive,swapbacked
    /// > vtop(p, a + 4096).lines[1]
    /// 7ffff7ff8000  (not mapped)
    /// > vtop(addr(0xffff888000100000)).rows[0].physical
    /// 0x100000
    /// > vtop(addr(0x1000000000000))
    /// error: vtop: ambiguous address: 1000000000000  (requires -u or -k)
    /// ```
    ///
    /// Kernel: `include/linux/pgtable.h`. Gorman: 3.5.
    #[rhai_fn(return_raw)]
    pub fn vtop(ctx: NativeCallContext, p: Who, addr: Addr) -> ScriptResult<Table> {
        super::translate(&ctx, &p, &addr, None)
    }

    #[rhai_fn(name = "vtop", return_raw)]
    pub fn vtop_in_context(ctx: NativeCallContext, addr: Addr) -> ScriptResult<Table> {
        super::translate(&ctx, &Dynamic::UNIT, &addr, None)
    }

    #[rhai_fn(name = "vtop", return_raw)]
    pub fn vtop_half(ctx: NativeCallContext, p: Who, addr: Addr, half: &str) -> ScriptResult<Table> {
        let forced = match half {
            "-u" => Half::User,
            "-k" => Half::Kernel,
            _ => return misuse(format!("vtop takes \"-u\" or \"-k\", not {half:?}")),
        };
        super::translate(&ctx, &p, &addr, Some(forced))
    }

    /// Takes an entry of a page table apart: its frame and its bits, or where in swap the page lies.
    ///
    /// ```vmlab
    /// > pte(addr(0x8000000001234867))
    ///       PTE         PHYSICAL  FLAGS
    /// 8000000001234867   1234000  (PRESENT|RW|USER|ACCESSED|DIRTY|NX)
    /// > pte(0x660f067).rows[0].flags
    /// "PRESENT"
    /// "RW"
    /// "USER"
    /// "ACCESSED"
    /// "DIRTY"
    /// > pte(addr(0x7fffffffffffc00))
    ///       PTE                 SWAP            OFFSET
    /// 7fffffffffffc00  (unknown swap location)     1
    /// ```
    ///
    /// Kernel: `arch/x86/include/asm/pgtable_types.h`. Gorman: 3.3.
    #[rhai_fn(return_raw)]
    pub fn pte(ctx: NativeCallContext, value: Addr) -> ScriptResult<Table> {
        Ok(super::pte::pte(&Bench::of(&ctx).borrow().machine, super::number("pte", &value)?))
    }

    /// The kernel's virtual address of a physical one.
    ///
    /// ```vmlab
    /// > ptov(0x9e82000)
    /// VIRTUAL           PHYSICAL
    /// ffff888009e82000  9e82000
    /// ```
    ///
    /// Kernel: `__va`, `arch/x86/include/asm/page.h`. Gorman: 3.7.
    #[rhai_fn(return_raw)]
    pub fn ptov(ctx: NativeCallContext, phys: Addr) -> ScriptResult<Table> {
        Ok(super::pte::ptov(&Bench::of(&ctx).borrow().machine, super::number("ptov", &phys)?))
    }

    /// The address at which a page of memory begins, by the page's number.
    ///
    /// ```vmlab
    /// > ptob(0x9e82)
    /// 9e82: 9e82000
    /// ```
    ///
    /// Kernel: `PFN_PHYS`, `include/linux/pfn.h`.
    #[rhai_fn(return_raw)]
    pub fn ptob(page: Addr) -> ScriptResult<Table> {
        Ok(super::pte::ptob(super::number("ptob", &page)?))
    }

    /// The number of the page that holds an address.
    ///
    /// ```vmlab
    /// > btop(0x512a000)
    /// 512a000: 512a
    /// ```
    ///
    /// Kernel: `PHYS_PFN`, `include/linux/pfn.h`.
    #[rhai_fn(return_raw)]
    pub fn btop(address: Addr) -> ScriptResult<Table> {
        Ok(super::pte::btop(super::number("btop", &address)?))
    }

    /// Swap areas: how large they are, and how much of them is used.
    ///
    /// ```vmlab
    /// > swapon("/dev/vdb", "256M");
    /// > swap()
    /// SWAP_INFO_STRUCT    TYPE       SIZE       USED     PCT  PRI  FILENAME
    /// ffff888000360000  PARTITION   262140k       0k      0%   -2  /dev/vdb
    /// > swap().rows[0].used
    /// 0
    /// ```
    ///
    /// Kernel: `struct swap_info_struct`, `include/linux/swap.h`. Gorman: 11.1.
    pub fn swap(ctx: NativeCallContext) -> Table {
        super::swap::swap(&Bench::of(&ctx).borrow().machine)
    }
}

/// The view that the options of `vm` ask for.
pub fn view(desk: &Desk, task: &Listed, options: &str) -> ScriptResult<Table> {
    let machine = &desk.machine;
    let words: Vec<&str> = options.split_whitespace().collect();
    let hex = words.contains(&"-x");
    let radix = if hex { Radix::Hex } else { Radix::Decimal };
    let words: Vec<&str> = words.into_iter().filter(|word| !matches!(*word, "-x" | "-d")).collect();
    match words.as_slice() {
        [] => Ok(areas::areas(machine, task)),
        ["-p"] => Ok(areas::pages(machine, task, None)),
        ["-m"] => Ok(structs::mm_struct(machine, task, radix)),
        ["-v"] => Ok(structs::vm_area_structs(machine, task, radix)),
        ["-R", word] => Ok(areas::pages(machine, task, Some(&Reference::new(word)))),
        ["-P", word] => {
            let addr = number("vm", &(*word).into())?;
            match areas::area(machine, task, addr) {
                Some(table) => Ok(table),
                None => misuse(format!("vm: {addr:x}: task {} has no such area", task.pid)),
            }
        }
        _ => misuse(format!("vm: {options:?} is none of -p, -P ADDRESS, -R WORD, -m, -v")),
    }
}

fn translate(
    ctx: &NativeCallContext,
    p: &Dynamic,
    addr: &Dynamic,
    half: Option<Half>,
) -> ScriptResult<Table> {
    let bench = Bench::of(ctx);
    let desk = bench.borrow();
    let addr = number("vtop", addr)?;
    let task = list::who(&desk, "vtop", p)?;
    vtop::vtop(&desk.machine, &task, addr, half)
}

/// A number as crash takes it: an address, an int, or a word in hexadecimal.
pub fn number(tool: &str, value: &Dynamic) -> ScriptResult<u64> {
    match value.read_lock::<ImmutableString>() {
        Some(word) => match u64::from_str_radix(word.trim_start_matches("0x"), 16) {
            Ok(number) => Ok(number),
            Err(_) => misuse(format!("{tool}: invalid input: \"{}\"", &**word)),
        },
        None => args::addr("the number", value),
    }
}

/// `vtop` of a task that is at hand.
pub fn vtop_for(desk: &Desk, task: &Listed, addr: u64) -> ScriptResult<Table> {
    vtop::vtop(&desk.machine, task, addr, None)
}
