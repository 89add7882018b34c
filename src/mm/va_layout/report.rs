//! The rooms of the kernel's addresses, and the lines in which kernels told them when they booted.
//!
//! ```text
//!   virtual kernel memory layout:
//!       fixmap  : 0xffdb7000 - 0xfffff000   (2336 kB)
//!       vmalloc : 0xf73fe000 - 0xfebfe000   ( 120 MB)
//!       lowmem  : 0xc0000000 - 0xf6bfe000   ( 875 MB)
//! ```
//!
//! Gorman 4.1. Kernel: `mem_init` in `arch/x86/mm/init_32.c`, `arch/arm/mm/init.c` (up to 5.6), `arch/arm64/mm/init.c`
//! (up to 4.15).
//! Fidelity: faithful — names, order, units, and which kernels printed the lines: 6.1 prints none, a machine with
//! `kernel: "5.6"` does. The addresses are those of 6.1. Ours — the parts of the image stand one behind the other.

use crate::mm::addr::PAGE_SHIFT;
use crate::mm::config::{Arch, KernelImage, VmAreaConfig};
use crate::mm::machine::Machine;
use crate::mm::vmalloc::AreaFlags;
use std::ops::Range;

/// What a room is measured in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Unit {
    Kb,
    Mb,
    Gb,
}

/// A range of kernel addresses with a purpose.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Room {
    /// Its name in the lines.
    pub name: &'static str,
    /// Its addresses.
    pub range: Range<u64>,
    unit: Unit,
    /// What stands behind the unit.
    more: &'static str,
}

fn room(name: &'static str, range: &Range<u64>, unit: Unit) -> Room {
    Room { name, range: range.clone(), unit, more: "" }
}

impl Room {
    /// Its line, as kernels of the architecture wrote it.
    pub fn line(&self, arch: Arch) -> String {
        let Range { start, end } = self.range;
        let (digits, width) = if arch.is_64bit() { (16, 6) } else { (8, 4) };
        let (shift, unit) = match self.unit {
            Unit::Kb if arch.is_64bit() => (10, "KB"),
            Unit::Kb => (10, "kB"),
            Unit::Mb => (20, "MB"),
            Unit::Gb => (30, "GB"),
        };
        let size = (end - start) >> shift;
        // The second line of a room has no name; parts of the image end where the names of rooms do.
        let (name, colon) = if self.name.is_empty() { ("", ' ') } else { (self.name, ':') };
        let name = if name.starts_with('.') { format!("{name:>7}") } else { format!("{name:<7}") };
        format!(
            "    {name} {colon} 0x{start:0digits$x} - 0x{end:0digits$x}   ({size:>width$} {unit}{})",
            self.more
        )
    }
}

impl Machine {
    /// The rooms of the kernel's addresses, in the order in which its architecture told them.
    pub fn kernel_rooms(&self) -> Vec<Room> {
        let mut rooms = match self.config.arch {
            Arch::I386 | Arch::I386Pae => self.rooms_of_i386(),
            Arch::Arm64 => self.rooms_of_arm64(),
            Arch::Arm => self.rooms_of_arm(),
            Arch::X86_64 | Arch::Uml => self.rooms_of_others(),
        };
        rooms.retain(|room| !room.range.is_empty());
        rooms
    }

    /// The lines, from the heading on; none for architectures whose kernels never told.
    pub fn virtual_memory_layout(&self) -> Vec<String> {
        let head = match self.config.arch {
            Arch::I386 | Arch::I386Pae => "virtual kernel memory layout:",
            Arch::Arm64 | Arch::Arm => "Virtual kernel memory layout:",
            Arch::X86_64 | Arch::Uml => return Vec::new(),
        };
        let lines = self.kernel_rooms().into_iter().map(|room| room.line(self.config.arch));
        std::iter::once(head.to_string()).chain(lines).collect()
    }

    /// The last kernel that printed them: `5.6`.
    pub fn last_to_print_layout(&self) -> Option<(u32, u32)> {
        match self.config.arch {
            Arch::I386 | Arch::I386Pae | Arch::Arm => Some((5, 6)),
            Arch::Arm64 => Some((4, 15)),
            Arch::X86_64 | Arch::Uml => None,
        }
    }

    /// Prints the lines where the kernel of the spec did (`mem_init`).
    pub(crate) fn print_virtual_memory_layout(&mut self) {
        let prints = self.last_to_print_layout().is_some_and(|(x, y)| !self.config.kernel_since(x, y + 1));
        if prints {
            self.virtual_memory_layout().into_iter().for_each(|line| self.printk(line));
        }
    }

    fn rooms_of_i386(&self) -> Vec<Room> {
        let layout = &self.layout;
        let mut rooms = vec![
            room("fixmap", &layout.fixmap, Unit::Kb),
            room("pkmap", &layout.pkmap, Unit::Kb),
            room("vmalloc", &layout.vmalloc, Unit::Mb),
            room("lowmem", &layout.direct, Unit::Mb),
        ];
        if let Some([text, rodata, data, init, _]) = self.image_parts() {
            // What is not written counted as data.
            rooms.push(room(".init", &init, Unit::Kb));
            rooms.push(room(".data", &(rodata.start..data.end), Unit::Kb));
            rooms.push(room(".text", &text, Unit::Kb));
        }
        rooms
    }

    fn rooms_of_arm64(&self) -> Vec<Room> {
        let layout = &self.layout;
        // Half of 48 bits of addresses can be memory.
        let most = (1u64 << (47 - PAGE_SHIFT)) * self.config.arch.page_struct_bytes();
        let frames = (layout.direct.end - layout.direct.start) >> PAGE_SHIFT;
        let mut rooms =
            vec![room("modules", &layout.modules, Unit::Mb), room("vmalloc", &layout.vmalloc, Unit::Gb)];
        if let Some(parts) = self.image_parts() {
            let [text, rodata, data, init, bss] = parts;
            let told =
                [(".text", text), (".rodata", rodata), (".init", init), (".data", data), (".bss", bss)];
            rooms.extend(told.map(|(name, part)| room(name, &part, Unit::Kb)));
        }
        let io_end = layout.vmemmap - (8 << 20);
        rooms.push(room("fixed", &layout.fixmap, Unit::Kb));
        rooms.push(room("PCI I/O", &(io_end - (16 << 20)..io_end), Unit::Mb));
        let vmemmap = room("vmemmap", &(layout.vmemmap..layout.vmemmap + most), Unit::Gb);
        rooms.push(Room { more: " maximum", ..vmemmap });
        let actual = room(
            "",
            &(layout.vmemmap..layout.vmemmap + frames * self.config.arch.page_struct_bytes()),
            Unit::Mb,
        );
        rooms.push(Room { more: " actual", ..actual });
        rooms.push(room("memory", &layout.direct, Unit::Mb));
        rooms
    }

    fn rooms_of_arm(&self) -> Vec<Room> {
        let layout = &self.layout;
        vec![
            room("vector", &(0xffff_0000..0xffff_1000), Unit::Kb),
            room("fixmap", &layout.fixmap, Unit::Kb),
            room("vmalloc", &layout.vmalloc, Unit::Mb),
            room("lowmem", &layout.direct, Unit::Mb),
            room("pkmap", &layout.pkmap, Unit::Mb),
            room("modules", &layout.modules, Unit::Mb),
        ]
    }

    fn rooms_of_others(&self) -> Vec<Room> {
        let layout = &self.layout;
        let mem_map = layout.vmemmap..layout.vmemmap + self.mem_map_bytes();
        let mut rooms = vec![
            room("direct", &layout.direct, Unit::Mb),
            room("vmalloc", &layout.vmalloc, Unit::Gb),
            room("vmemmap", &mem_map, Unit::Mb),
            room("image", &layout.image, Unit::Mb),
            room("modules", &layout.modules, Unit::Mb),
            room("fixmap", &layout.fixmap, Unit::Kb),
        ];
        rooms.sort_by_key(|room| room.range.start);
        rooms
    }

    /// Bytes from the first page structure to the last.
    fn mem_map_bytes(&self) -> u64 {
        let last =
            self.zones.iter().filter(|zone| zone.is_populated()).map(|zone| u64::from(zone.end_pfn())).max();
        last.unwrap_or(0).saturating_sub(self.layout.first_pfn) * self.config.arch.page_struct_bytes()
    }

    /// Where the parts of the kernel's image stand: text, rodata, data, init, bss; the spec tells their sizes.
    fn image_parts(&self) -> Option<[Range<u64>; 5]> {
        let image = self.config.early.image?;
        let KernelImage { start_pfn, end_pfn, code, rwdata, rodata, init, bss } = image;
        if start_pfn >= end_pfn {
            return None;
        }
        let base = crate::mm::addr::PhysAddr(start_pfn << PAGE_SHIFT);
        let mut at = match self.config.arch {
            Arch::Arm64 => self.layout.vmalloc.start + (base.0 & 0x1f_ffff),
            _ => self.phys_to_virt(base).0,
        };
        let mut parts = [code, rodata, rwdata, init, bss].map(|kb| {
            let start = at;
            at = at.saturating_add(kb << 10);
            start..at
        });
        if self.config.arch == Arch::Arm64 {
            self.place_by_areas(&mut parts);
        }
        Some(parts)
    }

    /// arm64 maps text, constants, startup code, startup data and data as areas of their own: they tell where each begins.
    fn place_by_areas(&self, parts: &mut [Range<u64>; 5]) {
        let image = |area: &&VmAreaConfig| area.flags.has(AreaFlags::MAP) && area.phys.is_some();
        let starts: Vec<u64> =
            self.config.vmalloc.iter().filter(image).filter_map(|area| area.phys).collect();
        let [text, rodata, init, _, data] = starts[..] else { return };
        let base = parts[0].start;
        for (part, phys) in [(1, rodata), (2, data), (3, init)] {
            let start = base + phys.saturating_sub(text);
            parts[part] = start..start + (parts[part].end - parts[part].start);
        }
        let bss = parts[4].end - parts[4].start;
        parts[4] = parts[2].end..parts[2].end + bss;
    }
}
