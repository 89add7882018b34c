//! `rd`: memory as numbers and characters, as the crash utility shows it.
//!
//! What can be read is what has a frame behind it: the direct map, vmalloc areas, windows into HighMem, page tables, and
//! the resident pages of the task that `set` chose. Reading this way is looking: nothing faults, nothing is charged.

use crate::mm::addr::{PAGE_SIZE, Pfn, PhysAddr, VirtAddr};
use crate::mm::page::PageType;
use crate::mm::{Machine, task::MmId};
use crate::script::answer::{ScriptResult, misuse};
use crate::script::args::{self, Addr};
use crate::script::bench::{Bench, Desk};
use crate::script::ps::list;
use crate::script::table::{Cell, Table};
use crate::script::vm::areas::mm_of;
use crate::script::vm::entries::Behind;
use crate::script::vm::vtop::{Half, half};
use rhai::plugin::*;

/// Bytes of a line of numbers, and characters of a line of text.
const LINE: usize = 16;
const TEXT: usize = 60;
/// Numbers that one call reads at most.
const MOST: i64 = 1 << 16;

/// Memory as numbers and characters.
#[export_module]
pub mod functions {
    /// Shows memory at an address: so many numbers, and the same bytes as characters.
    ///
    /// Options: `-8`, `-16`, `-32`, `-64` for the size of a number, which is otherwise that of a pointer; `-a` for characters
    /// only, up to the first that cannot be printed unless a count is given; `-p` when the address is physical; `-x` without
    /// the characters. Addresses of a user belong to the task that `set` chose.
    ///
    /// ```vmlab
    /// > let a = get_zeroed_page(GFP_KERNEL);
    /// > kwrite(a, 0x62616c6d76);
    /// > rd(a, 2)
    /// ffff888000400000:  00000062616c6d76 0000000000000000   vmlab...........
    /// > rd -8 ffff888000400000 6
    /// ffff888000400000:  76 6d 6c 61 62 00                                 vmlab.
    /// > rd -a ffff888000400000
    /// ffff888000400000:  vmlab
    /// > rd(a, 2).rows[0].value
    /// 0x62616c6d76
    /// > rd ffffc90000000000
    /// rd: invalid kernel virtual address: ffffc90000000000  type: "64-bit KVADDR"
    /// ```
    ///
    /// Kernel: `arch/x86/include/asm/page.h`.
    /// Command: `rd ffff888000010000 8`
    #[rhai_fn(return_raw)]
    pub fn rd(ctx: NativeCallContext, addr: Addr) -> ScriptResult<Table> {
        super::read(&Bench::of(&ctx).borrow(), &addr, None, "")
    }

    #[rhai_fn(name = "rd", return_raw)]
    pub fn rd_some(ctx: NativeCallContext, addr: Addr, count: i64) -> ScriptResult<Table> {
        super::read(&Bench::of(&ctx).borrow(), &addr, Some(count), "")
    }

    #[rhai_fn(name = "rd", return_raw)]
    pub fn rd_as(ctx: NativeCallContext, addr: Addr, options: &str) -> ScriptResult<Table> {
        super::read(&Bench::of(&ctx).borrow(), &addr, None, options)
    }

    #[rhai_fn(name = "rd", return_raw)]
    pub fn rd_some_as(ctx: NativeCallContext, addr: Addr, count: i64, options: &str) -> ScriptResult<Table> {
        super::read(&Bench::of(&ctx).borrow(), &addr, Some(count), options)
    }
}

/// How memory is shown.
struct Look {
    /// Bytes of a number.
    size: usize,
    text: bool,
    physical: bool,
    characters: bool,
}

fn look(machine: &Machine, options: &str) -> ScriptResult<Look> {
    let size = if machine.config.arch.is_64bit() { 8 } else { 4 };
    let mut look = Look { size, text: false, physical: false, characters: true };
    for option in options.split_whitespace() {
        match option {
            "-8" => look.size = 1,
            "-16" => look.size = 2,
            "-32" => look.size = 4,
            "-64" => look.size = 8,
            "-a" => look.text = true,
            "-p" => look.physical = true,
            "-x" => look.characters = false,
            other => return misuse(format!("rd: {other:?} is none of -8, -16, -32, -64, -a, -p, -x")),
        }
    }
    Ok(look)
}

fn read(desk: &Desk, addr: &Dynamic, count: Option<i64>, options: &str) -> ScriptResult<Table> {
    let machine = &desk.machine;
    let look = look(machine, options)?;
    let start = crate::script::vm::number("rd", addr)?;
    let count = match count {
        None => None,
        Some(0) => return misuse("rd: the count is 0"),
        Some(n) => Some(args::within("rd: the count", n, MOST)? as usize),
    };
    let mm = mm_of(machine, &list::who(desk, "rd", &Dynamic::UNIT)?);
    let memory = Memory { machine, mm, physical: look.physical };
    if look.text { text(&memory, start, count) } else { numbers(&memory, start, count.unwrap_or(1), &look) }
}

fn numbers(memory: &Memory, start: u64, count: usize, look: &Look) -> ScriptResult<Table> {
    let bytes = memory.read(start, count * look.size)?;
    let digits = memory.machine.config.arch.address_digits();
    let width = LINE / look.size * (2 * look.size + 1);
    let mut table = Table::new();
    let mut records = Vec::new();
    for (n, line) in bytes.chunks(LINE).enumerate() {
        let at = start + (n * LINE) as u64;
        let mut shown = String::new();
        for (m, number) in line.chunks(look.size).enumerate() {
            let value = number.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte));
            shown += &format!("{value:0wide$x} ", wide = 2 * look.size);
            let address = Cell::Addr(at + (m * look.size) as u64);
            records.push(vec![("address".into(), address), ("value".into(), Cell::Addr(value))]);
        }
        let characters = if look.characters { format!("{shown:<width$}  {}", printed(line)) } else { shown };
        table = table.line(format!("{at:>digits$x}:  {}", characters.trim_end()));
    }
    Ok(table.with_records(records))
}

/// Characters only: so many, or up to the first that cannot be printed.
fn text(memory: &Memory, start: u64, count: Option<usize>) -> ScriptResult<Table> {
    let digits = memory.machine.config.arch.address_digits();
    let bytes = match count {
        Some(count) => memory.read(start, count)?,
        None => {
            let mut bytes = memory.read(start, 1)?;
            // The rest of the page is enough: what goes on behind it goes on in the next call.
            let room = PAGE_SIZE - VirtAddr(start).offset();
            bytes.extend(memory.read(start + 1, room as usize - 1)?);
            let end = bytes.iter().position(|byte| !is_printable(*byte)).unwrap_or(bytes.len());
            bytes.truncate(end);
            bytes
        }
    };
    let mut table = Table::new();
    for (n, line) in bytes.chunks(TEXT).enumerate() {
        table = table.line(format!("{:>digits$x}:  {}", start + (n * TEXT) as u64, printed(line)));
    }
    let whole = vec![("address".into(), Cell::Addr(start)), ("text".into(), printed(&bytes).into())];
    Ok(table.with_records(vec![whole]))
}

fn is_printable(byte: u8) -> bool {
    byte.is_ascii_graphic() || byte == b' '
}

fn printed(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| if is_printable(*byte) { char::from(*byte) } else { '.' }).collect()
}

/// What can be read, and in whose name.
struct Memory<'a> {
    machine: &'a Machine,
    mm: Option<MmId>,
    physical: bool,
}

impl Memory<'_> {
    fn read(&self, start: u64, len: usize) -> ScriptResult<Vec<u8>> {
        let mut bytes = Vec::with_capacity(len);
        while bytes.len() < len {
            let at = start.wrapping_add(bytes.len() as u64);
            let Some(pfn) = self.frame(at) else { return misuse(self.refusal(at)) };
            let offset = VirtAddr(at).offset();
            let n = (PAGE_SIZE - offset).min((len - bytes.len()) as u64) as usize;
            bytes.extend(frame_bytes(self.machine, pfn).into_iter().skip(offset as usize).take(n));
        }
        Ok(bytes)
    }

    /// The frame behind an address.
    fn frame(&self, addr: u64) -> Option<Pfn> {
        let machine = self.machine;
        let virt = VirtAddr(addr);
        if self.physical {
            return PhysAddr(addr).pfn().filter(|pfn| machine.mem_map.contains(*pfn));
        }
        match half(machine, addr) {
            Half::Kernel => {
                let percpu = || machine.percpu.page_of(virt).map(|(pfn, _)| pfn);
                let mapped = || machine.vmalloc_to_page(virt).filter(|pfn| machine.mem_map.contains(*pfn));
                machine.virt_to_pfn(virt).or_else(percpu).or_else(mapped)
            }
            Half::User => match Behind::of(machine.tables.pte(machine.mms[self.mm?].pgd, virt)) {
                Behind::Page(pfn) | Behind::ZeroPage(pfn) => Some(pfn),
                _ => None,
            },
            Half::Neither => None,
        }
    }

    fn refusal(&self, addr: u64) -> String {
        let wide = if self.machine.config.arch.is_64bit() { "64-bit" } else { "32-bit" };
        match half(self.machine, addr) {
            _ if self.physical => {
                format!("rd: invalid physical address: {addr:x}  type: \"{wide} PHYSADDR\"")
            }
            Half::User if self.mm.is_none() => {
                format!(
                    "rd: {addr:x} is a user's address, and the chosen task has none; set PID chooses another"
                )
            }
            Half::User => format!("rd: invalid user virtual address: {addr:x}  type: \"{wide} UVADDR\""),
            _ => format!("rd: invalid kernel virtual address: {addr:x}  type: \"{wide} KVADDR\""),
        }
    }
}

/// The bytes of a frame: of a page table its entries, of a slab with the pointers of its free objects.
fn frame_bytes(machine: &Machine, pfn: Pfn) -> Vec<u8> {
    if machine.mem_map.page(pfn).page_type() == Some(PageType::Table) {
        let bytes = machine.tables.geometry.entry_bytes() as usize;
        let entries = (0..PAGE_SIZE as usize / bytes).map(|n| machine.tables.entry_in(pfn, n).unwrap_or(0));
        return entries.flat_map(|entry| entry.to_le_bytes().into_iter().take(bytes)).collect();
    }
    if let Some(virt) = machine.page_address(pfn) {
        return machine.kernel_read(virt, PAGE_SIZE as u32);
    }
    let mut bytes = vec![0; PAGE_SIZE as usize];
    machine.read_phys(pfn, 0, &mut bytes);
    bytes
}
