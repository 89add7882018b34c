//! Where memory lies in virtual addresses: the kernel's areas, and the limits of user space.
//!
//! ```text
//!   x86_64   0xffff888000000000  direct map of all memory      0xffffea0000000000  mem_map
//!            0xffffc90000000000  vmalloc, 32 TiB               0xffffffffc0000000  modules
//!   arm64    0xffff000000000000  direct map, from the first byte of memory
//!   i386     0xc0000000          lowmem: up to 896 MiB; HighMem has no address of its own
//!            lowmem + 8 MiB      vmalloc, at least 120 MiB     0xfec00000, 0xff000000 with PAE  pkmap
//! ```
//!
//! Gorman 4.1, 2.5. Kernel: `Documentation/x86/x86_64/mm.rst`, `arch/*/include/asm/{page,pgtable}*.h`,
//! `arch/x86/mm/mmap.c`.
//! Fidelity: faithful — bases without KASLR, by profile. Simplified — the first address of the fixed mappings; node
//! structures stand at a fixed distance below the end of their node.

mod report;

pub use report::Room;

use crate::mm::addr::{PAGE_SHIFT, PAGE_SIZE, Pfn, PhysAddr, VirtAddr};
use crate::mm::config::{Arch, Config, ZoneType};
use crate::mm::machine::Machine;
use std::ops::Range;

/// Bytes of the kernel's `struct zone`.
pub const SIZEOF_ZONE: u64 = 0x600;
/// Offset of `free_area` in `struct zone`.
pub const ZONE_FREE_AREA: u64 = 0x100;
/// Pages between a node's structure and the end of its memory.
const PGDAT_BELOW_END: u64 = 637;
/// A hole between lowmem and vmalloc, so that a run past the end is caught (`VMALLOC_OFFSET`).
const VMALLOC_OFFSET: u64 = 8 << 20;
/// The least room between the top of the stack and that of mmap: the stack may grow to its limit (`SIZE_128M`).
const MMAP_GAP: u64 = 128 << 20;

/// Where a machine's memory lies in virtual addresses.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Layout {
    /// The direct map: all memory, or lowmem.
    pub direct: Range<u64>,
    /// The frame at which the direct map begins: where memory begins on ARM, else 0.
    pub first_pfn: u64,
    /// The array of page structures.
    pub vmemmap: u64,
    /// The room for vmalloc; its end may lie a byte below a page's (`VMALLOC_END`).
    pub vmalloc: Range<u64>,
    /// Mappings of kmap; empty without HighMem.
    pub pkmap: Range<u64>,
    /// Fixed mappings.
    pub fixmap: Range<u64>,
    /// Modules; within vmalloc on i386 and UML.
    pub modules: Range<u64>,
    /// The kernel's image where it has a mapping of its own; else empty.
    pub image: Range<u64>,
    /// One past the last user address.
    pub task_size: u64,
    /// One past the highest address of a stack.
    pub stack_top: u64,
    /// Where mmap begins to search downwards.
    pub mmap_base: u64,
    /// Where it begins to search upwards (`TASK_UNMAPPED_BASE`).
    pub legacy_base: u64,
    /// Where the heap of a program without randomisation begins.
    pub program_brk: u64,
}

impl Layout {
    /// The layout of a machine that is to boot.
    pub fn new(config: &Config) -> Layout {
        let zones = || config.nodes.iter().flat_map(|n| &n.zones).filter(|z| z.present > 0);
        let first = zones().map(|z| z.start_pfn).min().unwrap_or(0);
        let low = zones().filter(|z| z.kind != ZoneType::HighMem).map(|z| z.start_pfn + z.spanned).max();
        let first_pfn = match config.arch {
            // The base is rounded down to 1 GiB (ARM64_MEMSTART_ALIGN).
            Arch::Arm64 => first & !((1 << (30 - PAGE_SHIFT)) - 1),
            Arch::Arm => first,
            _ => 0,
        };
        let bytes = low.unwrap_or(0).saturating_sub(first_pfn) << PAGE_SHIFT;
        let base = config.arch.page_offset(config.la57);
        let mut layout = Layout { first_pfn, direct: base..base + bytes, ..Layout::default() };
        match config.arch {
            Arch::X86_64 => layout.x86_64(config.la57),
            Arch::Arm64 => layout.arm64(),
            Arch::I386 | Arch::I386Pae => layout.i386(config.arch),
            Arch::Arm => layout.arm(),
            Arch::Uml => layout.uml(),
        }
        layout
    }

    fn x86_64(&mut self, la57: bool) {
        const TIB: u64 = 1 << 40;
        let (vmalloc, size, vmemmap) = if la57 {
            (0xffa0_0000_0000_0000, 12_800 * TIB, 0xffd4_0000_0000_0000)
        } else {
            (0xffff_c900_0000_0000, 32 * TIB, 0xffff_ea00_0000_0000)
        };
        self.vmemmap = vmemmap;
        self.vmalloc = vmalloc..vmalloc + size - 1;
        self.image = 0xffff_ffff_8000_0000..0xffff_ffff_c000_0000;
        self.modules = self.image.end..0xffff_ffff_ff00_0000;
        self.fixmap = 0xffff_ffff_ff57_8000..0xffff_ffff_ff7f_f000;
        // With five levels, too, a program that does not ask for more stays below 47 bits.
        self.user((1 << 47) - PAGE_SIZE, 0x5555_5555_9000);
        if la57 {
            self.task_size = (1 << 56) - PAGE_SIZE;
        }
    }

    fn arm64(&mut self) {
        self.vmemmap = 0xffff_fc00_0000_0000;
        self.modules = 0xffff_8000_0000_0000..0xffff_8000_0800_0000;
        self.vmalloc = self.modules.end..self.vmemmap - (256 << 20);
        let top = self.vmemmap - (32 << 20);
        self.fixmap = top - (4116 << 10)..top;
        self.user(1 << 48, 0xaaaa_aaaa_c000);
        self.legacy_base = 1 << 46;
    }

    fn i386(&mut self, arch: Arch) {
        let (pkmap, entries) = if arch == Arch::I386Pae { (0xff00_0000, 512) } else { (0xfec0_0000, 1024) };
        self.vmemmap = 0xc400_0000;
        self.pkmap = pkmap..pkmap + entries * PAGE_SIZE;
        self.vmalloc = self.direct.end + VMALLOC_OFFSET..pkmap - 2 * PAGE_SIZE;
        self.modules = self.vmalloc.clone();
        self.fixmap = 0xffdb_7000..0xffff_f000;
        self.user(self.direct.start, 0x5655_9000);
    }

    fn arm(&mut self) {
        self.vmemmap = 0xc400_0000;
        self.pkmap = 0xbfe0_0000..0xc000_0000;
        self.modules = 0xbf00_0000..self.pkmap.start;
        self.vmalloc = (self.direct.end + VMALLOC_OFFSET) & !(VMALLOC_OFFSET - 1)..0xff80_0000;
        self.fixmap = 0xffc8_0000..0xfff0_0000;
        self.user(self.modules.start, 0x0001_9000);
        self.legacy_base = (self.task_size / 3).next_multiple_of(16 << 20);
    }

    fn uml(&mut self) {
        self.vmemmap = 0x7000_0000;
        self.user(0x7f_c000_0000, 0x5555_9000);
        self.stack_top -= 2 * PAGE_SIZE;
        self.fixmap = self.stack_top..self.task_size;
        self.vmalloc =
            (self.direct.end + VMALLOC_OFFSET) & !(VMALLOC_OFFSET - 1)..self.fixmap.start - 2 * PAGE_SIZE;
        self.modules = self.vmalloc.clone();
        // It has no layout from the top down: both searches begin at the bottom.
        self.legacy_base = 0x4000_0000;
    }

    fn user(&mut self, task_size: u64, program_brk: u64) {
        self.task_size = task_size;
        self.stack_top = task_size;
        self.mmap_base = task_size - MMAP_GAP;
        self.legacy_base = (task_size / 3).next_multiple_of(PAGE_SIZE);
        self.program_brk = program_brk;
    }
}

impl Arch {
    /// The first address of the direct map (`PAGE_OFFSET`).
    pub fn page_offset(self, la57: bool) -> u64 {
        match self {
            Arch::X86_64 if la57 => 0xff11_0000_0000_0000,
            Arch::X86_64 => 0xffff_8880_0000_0000,
            Arch::Arm64 => 0xffff_0000_0000_0000,
            Arch::I386 | Arch::I386Pae | Arch::Arm => 0xc000_0000,
            Arch::Uml => 0x6000_0000,
        }
    }

    /// Hexadecimal digits of an address.
    pub fn address_digits(self) -> usize {
        if self.is_64bit() { 16 } else { 8 }
    }
}

impl Machine {
    /// What kind of address it is, for those that mean no frame by themselves.
    pub fn address_kind(&self, addr: VirtAddr) -> Option<&'static str> {
        let layout = &self.layout;
        let kinds = [
            (&layout.vmalloc, "in the vmalloc room, where no area is"),
            (&layout.pkmap, "an entry of the PKMap pool; pkmap() shows them"),
            (&layout.fixmap, "a fixed mapping"),
            (&layout.modules, "in the room for modules"),
            (&layout.image, "in the mapping of the kernel's image"),
        ];
        kinds.into_iter().find(|(room, _)| room.contains(&addr.0)).map(|(_, kind)| kind)
    }

    /// The kernel's address of a frame (`page_address`); `None` for HighMem that nobody has mapped: it has none of its own.
    pub fn page_address(&self, pfn: Pfn) -> Option<VirtAddr> {
        let zone = self.mem_map.zone_of(pfn)?;
        if self.zones[zone.index()].kind == ZoneType::HighMem {
            return self.highmem.entry_of(pfn).map(|entry| self.pkmap_addr(entry));
        }
        Some(self.phys_to_virt(pfn.phys()))
    }

    /// The kernel's address of a physical one (`__va`): arithmetic only, as in the kernel.
    pub fn phys_to_virt(&self, phys: PhysAddr) -> VirtAddr {
        let base = self.layout.first_pfn << PAGE_SHIFT;
        VirtAddr(self.layout.direct.start.wrapping_add(phys.0.wrapping_sub(base)))
    }

    /// The physical address of one of the direct map (`__pa`): arithmetic only, as in the kernel.
    pub fn virt_to_phys(&self, virt: VirtAddr) -> PhysAddr {
        let base = self.layout.first_pfn << PAGE_SHIFT;
        PhysAddr(virt.0.wrapping_sub(self.layout.direct.start).wrapping_add(base))
    }

    /// The frame behind an address of the direct map (`virt_to_page`); `None` for any other address.
    pub fn virt_to_pfn(&self, virt: VirtAddr) -> Option<Pfn> {
        let pfn = self.virt_to_phys(virt).pfn().filter(|&pfn| self.mem_map.contains(pfn))?;
        (self.page_address(pfn) == Some(virt.page())).then_some(pfn)
    }

    /// The address of a frame's page structure (`pfn_to_page`).
    pub fn page_struct(&self, pfn: Pfn) -> VirtAddr {
        let index = u64::from(pfn.0).wrapping_sub(self.layout.first_pfn);
        VirtAddr(self.layout.vmemmap.wrapping_add(index.wrapping_mul(self.config.arch.page_struct_bytes())))
    }

    /// The frame whose page structure holds this address.
    pub fn pfn_of_struct(&self, virt: VirtAddr) -> Option<Pfn> {
        let offset = virt.0.checked_sub(self.layout.vmemmap)?;
        let index = offset / self.config.arch.page_struct_bytes() + self.layout.first_pfn;
        u32::try_from(index).ok().map(Pfn).filter(|&pfn| self.mem_map.contains(pfn))
    }

    /// The address of a node's structure (`NODE_DATA`), by the node's index.
    pub fn pgdat_address(&self, node: usize) -> VirtAddr {
        let zones = self.nodes[node].zones.iter().map(|z| &self.zones[z.index()]);
        let end =
            zones.filter(|z| z.is_populated() && z.kind != ZoneType::HighMem).map(|z| z.end_pfn()).max();
        let at = u64::from(end.unwrap_or(0)).saturating_sub(PGDAT_BELOW_END + node as u64);
        self.phys_to_virt(PhysAddr(at << PAGE_SHIFT))
    }

    /// The address of a zone's structure, by the zone's index.
    pub fn zone_address(&self, zone: usize) -> VirtAddr {
        let node = self.zones[zone].pgdat;
        let place = self.nodes[node].zones.iter().position(|z| z.index() == zone).unwrap_or(0);
        VirtAddr(self.pgdat_address(node).0 + place as u64 * SIZEOF_ZONE)
    }
}
