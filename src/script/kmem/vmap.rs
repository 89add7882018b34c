//! `kmem -v`: areas of vmalloc, and the layer of `kmem ADDRESS` that tells the area.

use crate::mm::Machine;
use crate::mm::vmalloc::VmStruct;
use crate::script::table::{Cell, Record, Table};

/// Bytes of `struct vmap_area` and `struct vm_struct` in their slabs.
const SIZES: (u64, u64) = (64, 64);

/// Every area, lowest address first.
pub fn areas(machine: &Machine) -> Table {
    let records = machine.vmalloc.areas().enumerate().map(|(n, area)| record(machine, n, area)).collect();
    let lines = machine.vmalloc.areas().enumerate().map(|(n, area)| line(machine, n, area));
    lines.fold(Table::new().head(head(machine)), Table::line).with_records(records)
}

/// The area that holds an address, as `kmem ADDRESS` shows it.
pub fn area_of(machine: &Machine, addr: u64) -> Option<Table> {
    let (n, area) = machine.vmalloc.areas().enumerate().find(|(_, a)| a.start <= addr && addr < a.end())?;
    Some(
        Table::new()
            .head(head(machine))
            .line(line(machine, n, area))
            .with_records(vec![record(machine, n, area)]),
    )
}

/// The descriptors lie in no slab here: their addresses only tell them apart.
fn descriptors(machine: &Machine, n: usize) -> (u64, u64) {
    let base = machine.layout.direct.start + machine.kernel_table_frame().phys().0;
    (base + 0xc_0000 + n as u64 * SIZES.0, base + 0xc_8000 + n as u64 * SIZES.1)
}

fn centred(text: &str, width: usize) -> String {
    let left = width.saturating_sub(text.len()) / 2;
    format!("{}{text}{}", " ".repeat(left), " ".repeat(width.saturating_sub(text.len() + left)))
}

fn head(machine: &Machine) -> String {
    let digits = machine.config.arch.address_digits();
    let range = centred("ADDRESS RANGE", digits * 2 + 3);
    let columns = [centred("VMAP_AREA", digits), centred("VM_STRUCT", digits), range];
    format!("{}     SIZE", columns.join("  ")).trim_end().to_string()
}

fn line(machine: &Machine, n: usize, area: &VmStruct) -> String {
    let digits = machine.config.arch.address_digits();
    let (vmap_area, vm_struct) = descriptors(machine, n);
    let (start, end, size) = (area.start, area.end(), area.size);
    format!("{vmap_area:0digits$x}  {vm_struct:0digits$x}  {start:0digits$x} - {end:0digits$x}  {size:>7}")
}

fn record(machine: &Machine, n: usize, area: &VmStruct) -> Record {
    let (vmap_area, vm_struct) = descriptors(machine, n);
    vec![
        ("vmap_area".into(), Cell::Addr(vmap_area)),
        ("vm_struct".into(), Cell::Addr(vm_struct)),
        ("start".into(), Cell::Addr(area.start)),
        ("end".into(), Cell::Addr(area.end())),
        ("size".into(), area.size.into()),
        ("pages".into(), area.pages.len().into()),
    ]
}
