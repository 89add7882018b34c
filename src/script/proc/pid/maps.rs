//! /proc/PID/maps: one line for each area.
//!
//! ```text
//!   7ffffffde000-7ffffffff000 rw-p 00000000 00:00 0                          [stack]
//! ```
//!
//! Kernel: `fs/proc/task_mmu.c`, `show_map_vma`.

use crate::mm::Machine;
use crate::mm::addr::PAGE_SHIFT;
use crate::mm::task::Pid;
use crate::mm::vma::{VmFlags, Vma, VmaName};
use crate::script::table::{Cell, Table};

/// The whole file.
pub fn maps(machine: &Machine, pid: Pid) -> Table {
    let mut table = Table::new();
    let mut records = Vec::new();
    let Some(mm) = machine.tasks.get(&pid).and_then(|t| t.mm) else { return table };
    for (_, vma) in machine.areas(mm) {
        let name = machine.vma_name(vma);
        table = table.line(line(machine, vma, name));
        records.push(vec![
            ("start".into(), Cell::Addr(vma.start)),
            ("end".into(), Cell::Addr(vma.end)),
            ("perms".into(), vma.flags.perms().into()),
            ("name".into(), name.into()),
        ]);
    }
    table.with_records(records)
}

/// The line of an area; its end stays blank when the area has no name.
pub fn line(machine: &Machine, vma: &Vma, name: &str) -> String {
    // Shared anonymous memory lies in a file of the kernel's own file system, device 0:1.
    let (major, minor, inode) = match machine.named_file(vma) {
        Some(file) => (file.device.0, file.device.1, file.inode),
        None if vma.name == VmaName::None && vma.flags.has(VmFlags::SHARED) => {
            (0, 1, vma.start >> 12 & 0xffff)
        }
        None => (0, 0, 0),
    };
    let offset = if machine.named_file(vma).is_some() { vma.pgoff << PAGE_SHIFT } else { 0 };
    let (start, end, perms) = (vma.start, vma.end, vma.flags.perms());
    padded(
        machine,
        &format!("{start:08x}-{end:08x} {perms} {offset:08x} {major:02x}:{minor:02x} {inode} "),
        name,
    )
}

/// A name stands in column 73, or 49 on a 32-bit kernel; one space at least before it.
pub fn padded(machine: &Machine, start: &str, name: &str) -> String {
    let column = if machine.config.arch.is_64bit() { 73 } else { 49 };
    if name.is_empty() { start.into() } else { format!("{start:<column$}{name}") }
}
