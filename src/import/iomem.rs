//! /proc/iomem: where memory is, and where the kernel lies in it.
//!
//! Gorman chapter 5. Kernel: `kernel/resource.c`.
//! Fidelity: faithful — the lines as captured; ranges of `System RAM` and of the kernel's image.

use crate::import::text::{hex_range, lines};
use crate::mm::addr::PAGE_SIZE;

/// What /proc/iomem shows.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct IoMem {
    /// `System RAM`, as frames: first, and the one after the last.
    pub ram: Vec<(u64, u64)>,
    /// The frame at which the kernel's image begins.
    pub kernel: Option<u64>,
    /// The frame after the last one of the image.
    pub kernel_end: Option<u64>,
    /// Every line, to be shown as it was captured.
    pub lines: Vec<String>,
}

/// Reads /proc/iomem; without root all its addresses are zero, and it says nothing.
pub fn parse(text: &str) -> IoMem {
    let mut iomem = IoMem::default();
    let mut told = false;
    for line in lines("iomem", text) {
        let Some((range, name)) = line.text.split_once(" : ") else { continue };
        let Some((first, last)) = hex_range(range) else { continue };
        iomem.lines.push(line.text.to_string());
        told |= last > 0;
        match name.trim() {
            "System RAM" => {
                let (first, end) = (first.div_ceil(PAGE_SIZE), last.saturating_add(1) / PAGE_SIZE);
                if first < end {
                    iomem.ram.push((first, end));
                }
            }
            // The first of code, rodata, data, bss: the freed gaps lie between them.
            "Kernel code" if last > 0 => iomem.kernel = Some(first / PAGE_SIZE),
            _ => {}
        }
        if name.trim().starts_with("Kernel ") && last > 0 {
            iomem.kernel_end = iomem.kernel_end.max(Some(last.saturating_add(1).div_ceil(PAGE_SIZE)));
        }
    }
    if told { iomem } else { IoMem::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_pages_are_not_memory() {
        let iomem = parse(
            "00001000-0009fbff : System RAM\n00100000-0ffdcfff : System RAM\n  01000000-01e01d31 : Kernel code\n",
        );
        assert_eq!(iomem.ram, [(1, 0x9f), (0x100, 0xffdd)]);
        assert_eq!(iomem.kernel, Some(0x1000));
        assert_eq!(iomem.lines[2], "  01000000-01e01d31 : Kernel code");
    }

    #[test]
    fn without_root_it_says_nothing() {
        assert_eq!(
            parse("00000000-00000000 : System RAM\n  00000000-00000000 : Kernel code\n"),
            IoMem::default()
        );
    }
}
