//! Where kernel memory lies in virtual addresses: the direct map and the array of page structures.
//!
//! ```text
//!   x86_64   0xffff888000000000  direct map of all memory      0xffffea0000000000  mem_map
//!   arm64    0xffff000000000000  direct map, from the first byte of memory
//!   i386     0xc0000000          the first 896 MiB; HighMem has no address of its own
//! ```
//!
//! Gorman 4.1, 2.5. Kernel: `Documentation/x86/x86_64/mm.rst`, `arch/*/include/asm/page.h`.
//! Fidelity: faithful — bases without KASLR, four levels. Simplified — node structures stand at a fixed distance
//! below the end of their node.

use crate::mm::addr::{PAGE_SHIFT, Pfn, PhysAddr, VirtAddr};
use crate::mm::config::{Arch, ZoneType};
use crate::mm::machine::Machine;

/// Bytes of the kernel's `struct page`; ours has half of it.
pub const SIZEOF_PAGE: u64 = 64;
/// Bytes of the kernel's `struct zone`.
pub const SIZEOF_ZONE: u64 = 0x600;
/// Offset of `free_area` in `struct zone`.
pub const ZONE_FREE_AREA: u64 = 0x100;
/// Pages between a node's structure and the end of its memory.
const PGDAT_BELOW_END: u64 = 637;

impl Arch {
    /// The first address of the direct map (`PAGE_OFFSET`).
    pub fn page_offset(self) -> u64 {
        match self {
            Arch::X86_64 => 0xffff_8880_0000_0000,
            Arch::Arm64 => 0xffff_0000_0000_0000,
            Arch::I386 | Arch::I386Pae | Arch::Arm => 0xc000_0000,
            Arch::Uml => 0x6000_0000,
        }
    }

    /// The address of the page structure of frame 0 (`vmemmap`).
    pub fn vmemmap(self) -> u64 {
        match self {
            Arch::X86_64 => 0xffff_ea00_0000_0000,
            Arch::Arm64 => 0xffff_fc00_0000_0000,
            Arch::I386 | Arch::I386Pae | Arch::Arm => 0xc400_0000,
            Arch::Uml => 0x7000_0000,
        }
    }

    /// Hexadecimal digits of an address.
    pub fn address_digits(self) -> usize {
        if self.is_64bit() { 16 } else { 8 }
    }
}

impl Machine {
    /// The frame at which the direct map begins: where memory begins on arm64, else 0.
    fn first_mapped_pfn(&self) -> u64 {
        if self.config.arch != Arch::Arm64 {
            return 0;
        }
        // The base is rounded down to 1 GiB (ARM64_MEMSTART_ALIGN).
        let first = self.zones.iter().filter(|z| z.is_populated()).map(|z| u64::from(z.zone_start_pfn)).min();
        first.unwrap_or(0) & !((1 << (30 - PAGE_SHIFT)) - 1)
    }

    /// The kernel's address of a frame (`page_address`); `None` for HighMem, which has none of its own.
    pub fn page_address(&self, pfn: Pfn) -> Option<VirtAddr> {
        let zone = self.mem_map.zone_of(pfn)?;
        if self.zones[zone.index()].kind == ZoneType::HighMem {
            return None;
        }
        Some(self.phys_to_virt(pfn.phys()))
    }

    /// The kernel's address of a physical one (`__va`): arithmetic only, as in the kernel.
    pub fn phys_to_virt(&self, phys: PhysAddr) -> VirtAddr {
        let base = self.first_mapped_pfn() << PAGE_SHIFT;
        VirtAddr(self.config.arch.page_offset().wrapping_add(phys.0.wrapping_sub(base)))
    }

    /// The physical address of one of the direct map (`__pa`): arithmetic only, as in the kernel.
    pub fn virt_to_phys(&self, virt: VirtAddr) -> PhysAddr {
        let base = self.first_mapped_pfn() << PAGE_SHIFT;
        PhysAddr(virt.0.wrapping_sub(self.config.arch.page_offset()).wrapping_add(base))
    }

    /// The frame behind an address of the direct map (`virt_to_page`); `None` for any other address.
    pub fn virt_to_pfn(&self, virt: VirtAddr) -> Option<Pfn> {
        let pfn = self.virt_to_phys(virt).pfn().filter(|&pfn| self.mem_map.contains(pfn))?;
        (self.page_address(pfn) == Some(virt.page())).then_some(pfn)
    }

    /// The address of a frame's page structure (`pfn_to_page`).
    pub fn page_struct(&self, pfn: Pfn) -> VirtAddr {
        VirtAddr(self.config.arch.vmemmap() + u64::from(pfn.0) * SIZEOF_PAGE)
    }

    /// The frame whose page structure holds this address.
    pub fn pfn_of_struct(&self, virt: VirtAddr) -> Option<Pfn> {
        let index = virt.0.checked_sub(self.config.arch.vmemmap())? / SIZEOF_PAGE;
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
