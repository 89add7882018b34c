//! Segments: what an x86 does with an address before it looks at a page table.
//!
//! ```text
//!   logical  selector : offset          linear            physical
//!            0x73     : 0x08048000  ──► base + offset ──► page tables
//!              │ index 14, user's GDT entry, ring 3
//!              └► GDT ─► base 0, limit 4 GiB: Linux makes the step do nothing
//! ```
//!
//! Gorman 3 (it is why the book can speak of linear addresses alone). Kernel: `arch/x86/include/asm/segment.h`,
//! `arch/x86/kernel/cpu/common.c` (`gdt_page`).
//! Fidelity: faithful — the entries every Linux task uses, checks of privilege and limit. Simplified — the base of
//! `__KERNEL_PERCPU` is where the CPU's unit begins; the kernel's is less by `__per_cpu_start`, an address in its image
//! that no capture has. Absent — TLS, LDT, TSS and the entries for BIOS calls.

use crate::mm::config::Arch;
use crate::mm::machine::Machine;

/// The selector of `__KERNEL_PERCPU`.
pub const KERNEL_PERCPU: u16 = 0xd8;

/// An entry of the GDT (`struct desc_struct`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Descriptor {
    /// Its name in the kernel: `__USER_CS`.
    pub name: &'static str,
    /// What a segment register holds to choose it: index, table, and the ring that asks.
    pub selector: u16,
    /// Where it begins.
    pub base: u64,
    /// Its last unit: 20 bits, of bytes or of pages.
    pub limit: u32,
    /// Type, ring, present, and in the upper byte granularity and width.
    pub flags: u16,
}

impl Descriptor {
    /// Its place in the table.
    pub fn index(&self) -> u16 {
        self.selector >> 3
    }

    /// The ring that may use it (descriptor privilege level).
    pub fn dpl(&self) -> u16 {
        self.flags >> 5 & 3
    }

    /// Instructions may be fetched from it.
    pub fn is_code(&self) -> bool {
        self.flags & 0x8 != 0
    }

    /// Code of 64 bits (`L`).
    pub fn is_long(&self) -> bool {
        self.flags & 0x2000 != 0
    }

    /// The last offset within it.
    pub fn last(&self) -> u64 {
        match self.flags & 0x8000 {
            0 => u64::from(self.limit),
            _ => u64::from(self.limit) << 12 | 0xfff,
        }
    }
}

/// Why an access through a segment did not become a linear address: a general protection fault.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Protection {
    /// Index 0 stands for no segment.
    Null,
    /// The table has no such entry here: the selector's index.
    Absent(u16),
    /// The ring that asks, and the one the segment is for.
    Ring(u16, u16),
    /// The last offset of the segment.
    Limit(u64),
}

const fn entry(name: &'static str, selector: u16, flags: u16) -> Descriptor {
    Descriptor { name, selector, base: 0, limit: 0xf_ffff, flags }
}

const NARROW: [Descriptor; 6] = [
    entry("__KERNEL_CS", 0x60, 0xc09a),
    entry("__KERNEL_DS", 0x68, 0xc092),
    entry("__USER_CS", 0x73, 0xc0fa),
    entry("__USER_DS", 0x7b, 0xc0f2),
    entry("__ESPFIX_SS", 0xd0, 0xc092),
    entry("__KERNEL_PERCPU", KERNEL_PERCPU, 0xc092),
];

const WIDE: [Descriptor; 6] = [
    entry("__KERNEL32_CS", 0x08, 0xc09b),
    entry("__KERNEL_CS", 0x10, 0xa09b),
    entry("__KERNEL_DS", 0x18, 0xc093),
    entry("__USER32_CS", 0x23, 0xc0fb),
    entry("__USER_DS", 0x2b, 0xc0f3),
    entry("__USER_CS", 0x33, 0xa0fb),
];

impl Machine {
    /// The GDT of the CPU that runs, as far as it is the same for all tasks; empty where there are no segments.
    pub fn gdt(&self) -> Vec<Descriptor> {
        match self.config.arch {
            Arch::X86_64 => WIDE.to_vec(),
            Arch::I386 | Arch::I386Pae => {
                // The one segment that is not flat: %fs finds this CPU's data, here as if __per_cpu_start were 0.
                let percpu = self.percpu.offset(self.cpu.0).unwrap_or(0) & 0xffff_ffff;
                let based = |d: &Descriptor| {
                    if d.selector == KERNEL_PERCPU { Descriptor { base: percpu, ..*d } } else { *d }
                };
                NARROW.iter().map(based).collect()
            }
            Arch::Arm64 | Arch::Arm | Arch::Uml => Vec::new(),
        }
    }

    /// From a logical address to a linear one, asked by code of a ring.
    ///
    /// # Errors
    /// The rule that the access breaks.
    pub fn linear_address(
        &self,
        selector: u16,
        offset: u64,
        cpl: u16,
    ) -> Result<(Descriptor, u64), Protection> {
        if selector & !3 == 0 {
            return Err(Protection::Null);
        }
        // Bit 2 asks for the LDT, which nobody has.
        let found = self.gdt().into_iter().find(|d| d.selector & !7 == selector & !3);
        let descriptor = found.ok_or(Protection::Absent(selector >> 3))?;
        let ring = cpl.max(selector & 3);
        if ring > descriptor.dpl() {
            return Err(Protection::Ring(ring, descriptor.dpl()));
        }
        if self.config.arch == Arch::X86_64 {
            // In long mode, base and limit of these are not looked at.
            return Ok((descriptor, offset));
        }
        if offset > descriptor.last() {
            return Err(Protection::Limit(descriptor.last()));
        }
        Ok((descriptor, descriptor.base.wrapping_add(offset) & 0xffff_ffff))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_of_linux_are_flat() {
        for d in NARROW.iter().chain(&WIDE) {
            assert_eq!((d.base, d.last()), (0, 0xffff_ffff), "{}", d.name);
            // The ring in the selector is the segment's own.
            assert_eq!(if d.dpl() == 3 { 3 } else { 0 }, d.selector & 3, "{}", d.name);
        }
        assert!(WIDE[5].is_long() && WIDE[5].is_code() && !WIDE[4].is_code());
        assert_eq!((NARROW[2].index(), NARROW[0].index()), (14, 12));
    }
}
