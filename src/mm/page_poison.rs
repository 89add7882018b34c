//! Poison: freed pages are filled with a pattern, and what does not hold it any more was written after it was freed.
//!
//! ```text
//!   free     every byte ← 0xaa
//!   alloc    a byte is not 0xaa?  "pagealloc: memory corruption", the bytes, the page; the page is given out all the same
//! ```
//!
//! Switched on at boot by `page_poison=1`. Kernel: `mm/page_poison.c`.
//! Fidelity: faithful — the pattern, when it is written and checked, the report and its rate limit. Simplified — a free
//! page without bytes *is* poison: no byte is stored for it. Absent — `init_on_alloc`, `init_on_free`, unmapping.

use crate::mm::addr::{Order, PAGE_SIZE, Pfn};
use crate::mm::machine::Machine;
use crate::mm::trace::Event;
use std::rc::Rc;

/// The byte that fills a freed page (`PAGE_POISON`).
pub const PAGE_POISON: u8 = 0xaa;
/// Reports within [`INTERVAL`] nanoseconds, further ones are not written.
const BURST: u32 = 10;
const INTERVAL: u64 = 5_000_000_000;

/// Bytes of a page.
type Bytes = [u8; PAGE_SIZE as usize];

/// What a machine with poison keeps.
#[derive(Clone, Debug)]
pub struct PagePoison {
    /// Pages are poisoned.
    pub enabled: bool,
    /// One page of the pattern, shared by all that hold it.
    pattern: Rc<Bytes>,
    /// When the present interval of reports began, and how many it has.
    reports: (u64, u32),
}

impl Default for PagePoison {
    fn default() -> PagePoison {
        PagePoison { enabled: false, pattern: Rc::new([PAGE_POISON; PAGE_SIZE as usize]), reports: (0, 0) }
    }
}

impl PagePoison {
    /// May another report be written? (`__ratelimit`)
    fn may_report(&mut self, now: u64) -> bool {
        let (began, count) = &mut self.reports;
        if *count == 0 || now - *began >= INTERVAL {
            (*began, *count) = (now, 0);
        }
        *count += 1;
        *count <= BURST
    }
}

impl Machine {
    /// Switches poison on or off; what is free now counts as poisoned.
    pub fn set_page_poison(&mut self, enabled: bool) {
        self.page_poison.enabled = enabled;
        self.watch_pages();
    }

    /// Checks the pattern of pages that are given out (`kernel_unpoison_pages`).
    ///
    /// They go on holding it, until their owner writes them.
    pub(crate) fn kernel_unpoison_pages(&mut self, pfn: Pfn, order: Order) {
        for pfn in (0..order.pages()).map(|n| pfn.up(n)) {
            match self.contents.share(pfn) {
                Some(bytes) => self.check_poison_mem(pfn, &bytes),
                None => self.contents.put(pfn, Some(Rc::clone(&self.page_poison.pattern))),
            }
        }
    }

    /// Reports bytes that no longer hold the pattern (`check_poison_mem`).
    fn check_poison_mem(&mut self, pfn: Pfn, bytes: &Bytes) {
        let wrong = |byte: &u8| *byte != PAGE_POISON;
        let (Some(start), Some(end)) = (bytes.iter().position(wrong), bytes.iter().rposition(wrong)) else {
            return;
        };
        let len = (end - start + 1) as u32;
        self.emit(Event::PoisonOverwritten { pfn, offset: start as u32, len });
        if !self.page_poison.may_report(self.clock) {
            return;
        }
        let single_bit = start == end && (bytes[start] ^ PAGE_POISON).count_ones() == 1;
        let what = if single_bit { "single bit error" } else { "memory corruption" };
        self.printk(format!("pagealloc: {what}"));
        let at = self.phys_to_virt(pfn.phys()).0 + start as u64;
        for line in hex_dump(at, &bytes[start..=end]) {
            self.printk(line);
        }
        self.dump_page(pfn, "pagealloc: corrupted page details");
    }

    /// The byte that a frame without stored bytes reads as: the pattern for a free one on a machine with poison.
    fn ground_byte(&self, pfn: Pfn) -> u8 {
        if self.page_poison.enabled && self.is_free_frame(pfn) { PAGE_POISON } else { 0 }
    }

    /// Is the frame free, on whatever list?
    pub fn is_free_frame(&self, pfn: Pfn) -> bool {
        let Some(zone) = self.mem_map.zone_of(pfn) else { return false };
        let listed = |order: Order| {
            let head = Pfn(pfn.0 & !(order.pages() - 1));
            let free = |page: crate::mm::page::Page| page.is_buddy() || page.is_pcp();
            self.mem_map.contains(head)
                && free(self.mem_map.page(head))
                && self.mem_map.page(head).order() >= order
        };
        self.zones[zone.index()].virgin_block(pfn).is_some() || Order::all().any(listed)
    }

    /// Reads bytes of a frame as the kernel does through its own mapping of memory; they lie in one page.
    pub fn read_phys(&self, pfn: Pfn, offset: usize, bytes: &mut [u8]) {
        match self.contents.get(pfn) {
            Some(page) => bytes.copy_from_slice(&page[offset..offset + bytes.len()]),
            None => bytes.fill(self.ground_byte(pfn)),
        }
    }

    /// Writes bytes of a frame as the kernel does through its own mapping of memory, whoever has the frame.
    pub fn write_phys(&mut self, pfn: Pfn, offset: usize, bytes: &[u8]) {
        let free = self.is_free_frame(pfn);
        if free && self.page_poison.enabled && self.contents.get(pfn).is_none() {
            self.contents.put(pfn, Some(Rc::clone(&self.page_poison.pattern)));
        }
        self.contents.get_mut(pfn)[offset..offset + bytes.len()].copy_from_slice(bytes);
        if free {
            // Whoever gets the page next must not find these bytes in a page of zeros.
            self.stray_writes = true;
            self.watch_pages();
        }
    }
}

/// Bytes as `print_hex_dump` shows them: sixteen a line, with their characters.
pub(crate) fn hex_dump(at: u64, bytes: &[u8]) -> Vec<String> {
    let line = |(n, row): (usize, &[u8])| {
        let hex: Vec<String> = row.iter().map(|byte| format!("{byte:02x}")).collect();
        let shown = |byte: &u8| if byte.is_ascii_graphic() || *byte == b' ' { *byte as char } else { '.' };
        let text: String = row.iter().map(shown).collect();
        format!("{:016x}: {:<47}  {text}", at + 16 * n as u64, hex.join(" "))
    };
    bytes.chunks(16).enumerate().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_dumped_as_the_kernel_dumps_them() {
        let bytes: Vec<u8> = (0x3c..0x50).collect();
        assert_eq!(
            hex_dump(0xffff_8880_0040_0010, &bytes),
            [
                "ffff888000400010: 3c 3d 3e 3f 40 41 42 43 44 45 46 47 48 49 4a 4b  <=>?@ABCDEFGHIJK",
                "ffff888000400020: 4c 4d 4e 4f                                      LMNO",
            ]
        );
    }

    #[test]
    fn reports_are_limited_in_rate() {
        let mut poison = PagePoison::default();
        let written = (0..20).filter(|_| poison.may_report(7)).count();
        assert_eq!(written, BURST as usize);
        assert!(poison.may_report(7 + INTERVAL));
    }
}
