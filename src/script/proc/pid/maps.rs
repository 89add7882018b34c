//! /proc/PID/maps: one line for each area.
//!
//! ```text
//!   7ffffffde000-7ffffffff000 rw-p 00000000 00:00 0                          [stack]
//! ```
//!
//! Kernel: `fs/proc/task_mmu.c`, `show_map_vma`.

use crate::mm::Machine;
use crate::mm::task::Pid;
use crate::mm::vma::{ShownFile, Vma};
use crate::script::table::{Cell, Table};

/// The whole file.
pub fn maps(machine: &Machine, pid: Pid) -> Table {
    let mut table = Table::new();
    let mut records = Vec::new();
    let Some(mm) = machine.tasks.get(&pid).and_then(|t| t.mm) else { return table };
    for (_, vma) in machine.areas(mm) {
        let name = machine.vma_name(vma);
        table = table.line(line(machine, vma, &name));
        records.push(vec![
            ("start".into(), Cell::Addr(vma.start)),
            ("end".into(), Cell::Addr(vma.end)),
            ("perms".into(), vma.flags.perms().into()),
            ("name".into(), name.as_ref().into()),
        ]);
    }
    table.with_records(records)
}

/// The line of an area; its end stays blank when the area has no name.
pub fn line(machine: &Machine, vma: &Vma, name: &str) -> String {
    let (start, end, perms) = (vma.start, vma.end, vma.flags.perms());
    let ShownFile { offset, device, inode } = machine.shown_file(vma);
    let (major, minor) = device;
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
