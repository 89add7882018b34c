//! `page-types`: how many pages have which flags, from what /proc/kpageflags says of each frame.
//!
//! The numbers of the bits are those that the kernel shows to programs, not those inside `struct page`.
//!
//! Kernel: `fs/proc/page.c` (`stable_page_flags`), `include/uapi/linux/kernel-page-flags.h`, `tools/vm/page-types.c`.

use crate::mm::Machine;
use crate::mm::addr::{PAGE_SHIFT, PAGE_SIZE, Pfn};
use crate::mm::page::{Page, PageFlags, PageType, SECTION_PAGES};
use crate::mm::pgtable::Pte;
use crate::mm::rmap::MAPPING_ANON;
use crate::mm::task::MmId;
use crate::script::answer::{ScriptResult, misuse};
use crate::script::kmem::{identify::free_block, owner};
use crate::script::ps::list::Listed;
use crate::script::table::{Cell, Table};
use crate::script::vm::{areas::mm_of, entries};
use std::collections::BTreeMap;

/// Every flag: bit, letter, name. Those from 32 on are for kernel developers, those from 47 on made by the tool.
const FLAGS: &[(u32, char, &str)] = &[
    (0, 'L', "locked"),
    (1, 'E', "error"),
    (2, 'R', "referenced"),
    (3, 'U', "uptodate"),
    (4, 'D', "dirty"),
    (5, 'l', "lru"),
    (6, 'A', "active"),
    (7, 'S', "slab"),
    (8, 'W', "writeback"),
    (9, 'I', "reclaim"),
    (10, 'B', "buddy"),
    (11, 'M', "mmap"),
    (12, 'a', "anonymous"),
    (13, 's', "swapcache"),
    (14, 'b', "swapbacked"),
    (15, 'H', "compound_head"),
    (16, 'T', "compound_tail"),
    (17, 'G', "huge"),
    (18, 'u', "unevictable"),
    (19, 'X', "hwpoison"),
    (20, 'n', "nopage"),
    (21, 'x', "ksm"),
    (22, 't', "thp"),
    (23, 'o', "offline"),
    (24, 'z', "zero_page"),
    (25, 'i', "idle_page"),
    (26, 'g', "pgtable"),
    (32, 'r', "reserved"),
    (33, 'm', "mlocked"),
    (34, 'd', "mappedtodisk"),
    (35, 'P', "private"),
    (36, 'p', "private_2"),
    (37, 'O', "owner_private"),
    (38, 'h', "arch"),
    (39, 'c', "uncached"),
    (40, 'f', "softdirty"),
    (41, 'H', "arch_2"),
    (47, 'd', "anon_exclusive"),
    (48, 'I', "readahead"),
    (49, 'P', "slob_free"),
    (50, 'A', "slub_frozen"),
    (51, 'E', "slub_debug"),
    (61, 'F', "file"),
    (62, 'w', "swap"),
    (63, '1', "mmap_exclusive"),
];

/// Our flags and the bits under which the kernel shows them.
const SHOWN: &[(PageFlags, u32)] = &[
    (PageFlags::LOCKED, 0),
    (PageFlags::ERROR, 1),
    (PageFlags::REFERENCED, 2),
    (PageFlags::UPTODATE, 3),
    (PageFlags::DIRTY, 4),
    (PageFlags::LRU, 5),
    (PageFlags::ACTIVE, 6),
    (PageFlags::SLAB, 7),
    (PageFlags::WRITEBACK, 8),
    (PageFlags::RECLAIM, 9),
    (PageFlags::SWAPBACKED, 14),
    (PageFlags::HEAD, 15),
    (PageFlags::TAIL, 16),
    (PageFlags::UNEVICTABLE, 18),
    (PageFlags::RESERVED, 32),
    (PageFlags::MLOCKED, 33),
    // One bit of `struct page` has both meanings.
    (PageFlags::EXCLUSIVE, 34),
    (PageFlags::PRIVATE, 35),
    (PageFlags::PRIVATE_2, 36),
    (PageFlags::SWAPCACHE, 37),
];

const BUDDY: u64 = 1 << 10;
const MMAP: u64 = 1 << 11;
const ANON: u64 = 1 << 12;
const SWAPCACHE: u64 = 1 << 13;
const NOPAGE: u64 = 1 << 20;
const THP: u64 = 1 << 22;
const ZERO_PAGE: u64 = 1 << 24;
const PGTABLE: u64 = 1 << 26;

/// The flags of a frame's page as /proc/kpageflags shows them (`stable_page_flags`); `free` is told by the walk.
fn stable_page_flags(machine: &Machine, pfn: Pfn, page: &Page, free: bool) -> u64 {
    let mut bits = 0;
    for (flag, bit) in SHOWN {
        bits |= u64::from(page.is(*flag)) << bit;
    }
    let mut also = |yes: bool, bit: u64| bits |= if yes { bit } else { 0 };
    also(free, BUDDY);
    also(page.mapcount() > 0, MMAP);
    also(page.mapping & MAPPING_ANON != 0, ANON);
    also(page.is(PageFlags::SWAPCACHE | PageFlags::SWAPBACKED), SWAPCACHE);
    also(page.is_thp(), THP);
    also(pfn == machine.zero_pfn, ZERO_PAGE);
    also(page.page_type() == Some(PageType::Table) && !is_upper_table(machine, pfn), PGTABLE);
    bits
}

/// Tables above the PMD have no constructor that would mark their pages.
fn is_upper_table(machine: &Machine, pfn: Pfn) -> bool {
    machine.mms.iter().any(|(_, mm)| {
        let level = owner::level_of(machine, mm.pgd, pfn);
        level.is_some_and(|level| level > 1 || level == machine.tables.geometry.top())
    })
}

/// What a page's entry adds, for those who look at a task (`/proc/PID/pagemap`).
struct Entry {
    soft_dirty: bool,
    swap: bool,
    exclusive: bool,
}

/// Flags that share a bit are told apart (`expand_overloaded_flags`).
fn expand_overloaded(mut bits: u64, entry: Option<&Entry>) -> u64 {
    const RECLAIM: u64 = 1 << 9;
    const WRITEBACK: u64 = 1 << 8;
    const READAHEAD: u64 = 1 << 48;
    const MAPPEDTODISK: u64 = 1 << 34;
    const EXCLUSIVE: u64 = 1 << 47;
    if bits & (RECLAIM | WRITEBACK) == RECLAIM {
        bits ^= RECLAIM | READAHEAD;
    }
    if bits & ANON != 0 && bits & MAPPEDTODISK != 0 {
        bits ^= MAPPEDTODISK | EXCLUSIVE;
    }
    if let Some(entry) = entry {
        bits |= u64::from(entry.soft_dirty) << 40;
        bits |= u64::from(entry.swap) << 62;
        bits |= u64::from(entry.exclusive) << 63;
    }
    bits
}

/// What everybody may see: no flags for kernel developers, no compound pages but huge ones (`well_known_flags`).
fn well_known(bits: u64) -> u64 {
    const HACKERS: u64 = 0xffff << 32;
    const COMPOUND: u64 = 3 << 15;
    bits & !HACKERS & !COMPOUND
}

/// Letters of the flags that are set, `_` for the others.
fn letters(bits: u64) -> String {
    FLAGS.iter().map(|(bit, letter, _)| if bits >> bit & 1 == 1 { *letter } else { '_' }).collect()
}

fn names(bits: u64) -> String {
    let set = FLAGS.iter().filter(|(bit, ..)| bits >> bit & 1 == 1);
    set.map(|(.., name)| *name).collect::<Vec<_>>().join(",")
}

/// Counts by flags, in the order of the tool's table: by the flags' low bits, later comers behind.
#[derive(Default)]
struct Counts {
    slots: BTreeMap<u64, u64>,
    counted: BTreeMap<u64, u64>,
}

/// Places of the tool's table; the first is kept for pages without flags.
const SLOTS: u64 = 1 << 13;

impl Counts {
    fn add(&mut self, bits: u64, pages: u64) {
        if let Some(count) = self.counted.get_mut(&bits) {
            *count += pages;
            return;
        }
        let mut slot = bits % SLOTS;
        if bits != 0 {
            slot = slot.max(1);
            while self.slots.contains_key(&slot) {
                slot = if slot + 1 == SLOTS { 1 } else { slot + 1 };
            }
        }
        self.slots.insert(slot, bits);
        self.counted.insert(bits, pages);
    }

    fn rows(&self) -> Vec<(u64, u64)> {
        self.slots.values().map(|bits| (*bits, self.counted[bits])).collect()
    }
}

/// A run of frames with the same flags; in a task, of addresses as well.
struct Range {
    virt: u64,
    first: u64,
    pages: u64,
    bits: u64,
}

/// What is counted, and listed.
struct Tally {
    raw: bool,
    counts: Counts,
    ranges: Option<Vec<Range>>,
}

impl Tally {
    fn add(&mut self, virt: u64, first: u64, pages: u64, bits: u64, entry: Option<&Entry>) {
        let bits = if self.raw { expand_overloaded(bits, entry) } else { well_known(bits) };
        self.counts.add(bits, pages);
        let Some(ranges) = &mut self.ranges else { return };
        match ranges.last_mut() {
            Some(last)
                if last.bits == bits
                    && last.first + last.pages == first
                    && last.virt + last.pages == virt =>
            {
                last.pages += pages
            }
            _ => ranges.push(Range { virt, first, pages, bits }),
        }
    }
}

/// `page-types [-r] [-l]` of the whole machine, or of a task.
pub fn page_types(machine: &Machine, task: Option<&Listed>, options: &str) -> ScriptResult<Table> {
    let mut tally = Tally { raw: false, counts: Counts::default(), ranges: None };
    for word in options.split_whitespace() {
        match word {
            "-r" | "--raw" => tally.raw = true,
            "-l" | "--list" => tally.ranges = Some(Vec::new()),
            other => return misuse(format!("page_types: {other:?} is none of -r, -l")),
        }
    }
    match task {
        None => walk_frames(machine, &mut tally),
        Some(task) => match mm_of(machine, task) {
            Some(mm) => walk_task(machine, mm, &mut tally),
            None => return misuse(format!("page_types: task {} has no address space", task.pid)),
        },
    }
    Ok(drawn(&tally, task.is_some()))
}

/// Frames of a hole that are looked at together: no section is smaller.
const HOLE: u32 = 1 << 14;

/// Every frame; what lies in one free block, or was never written, is looked at once.
fn walk_frames(machine: &Machine, tally: &mut Tally) {
    let map = &machine.mem_map;
    let mut end = map.end_pfn();
    if let Some(pages) = machine.config.arch.section_pages() {
        end = end.next_multiple_of(pages as u32);
    }
    let mut at = 0;
    while at < end {
        let pfn = Pfn(at);
        let rest = (at / SECTION_PAGES as u32 + 1) * SECTION_PAGES as u32;
        let (pages, bits) = if !map.contains(pfn) {
            // A hole beside memory has descriptors: reserved ones.
            let next = map.next_span(pfn).unwrap_or(end).min(at.saturating_add(1).next_multiple_of(HOLE));
            (next - at, if machine.pfn_online(pfn) { 1 << 32 } else { NOPAGE })
        } else if let Some((head, order, _)) = free_block(machine, pfn) {
            let page = map.page(head);
            (head.up(order.pages()).0 - at, stable_page_flags(machine, pfn, &page, true))
        } else {
            let page = map.page(pfn);
            let bits = stable_page_flags(machine, pfn, &page, false);
            (if map.touched_page(pfn).is_some() { 1 } else { same(machine, pfn, rest.min(end), &page) }, bits)
        };
        let pages = pages.min(end - at);
        tally.add(u64::from(at), u64::from(at), u64::from(pages), bits, None);
        at += pages;
    }
}

/// How many pages of a section that nobody wrote are as the first one is.
fn same(machine: &Machine, pfn: Pfn, end: u32, page: &Page) -> u32 {
    let like = |at: &u32| {
        let other = Pfn(*at);
        pfn != machine.zero_pfn
            && other != machine.zero_pfn
            && machine.mem_map.contains(other)
            && machine.mem_map.page(other).flags() == page.flags()
            && free_block(machine, other).is_none()
    };
    (pfn.0 + 1..end).take_while(like).count() as u32 + 1
}

/// The pages of a task, where they are in memory or in swap.
fn walk_task(machine: &Machine, mm: MmId, tally: &mut Tally) {
    for (_, vma) in machine.areas(mm) {
        for (addr, pte) in entries::entries(machine, mm, vma.start, vma.end) {
            let (virt, soft_dirty) = (addr.0 >> PAGE_SHIFT, pte.has(Pte::SOFT_DIRTY));
            if pte.is_swap() {
                let entry = Entry { soft_dirty, swap: true, exclusive: false };
                tally.add(virt, pte.swap_entry().offset.into(), 1, 0, Some(&entry));
            } else if !pte.is_none() {
                let (pfn, page) = (pte.pfn(), machine.mem_map.page(pte.pfn()));
                let entry = Entry { soft_dirty, swap: false, exclusive: page.mapcount() == 1 };
                let bits = stable_page_flags(machine, pfn, &page, false);
                tally.add(virt, pfn.0.into(), 1, bits, Some(&entry));
            }
        }
    }
}

fn drawn(tally: &Tally, task: bool) -> Table {
    let mut table = Table::new();
    if let Some(ranges) = &tally.ranges {
        table = table.head(if task { "voffset\toffset\tlen\tflags" } else { "offset\tlen\tflags" });
        for range in ranges {
            let virt = if task { format!("{:x}\t", range.virt) } else { String::new() };
            table =
                table.line(format!("{virt}{:x}\t{:x}\t{}", range.first, range.pages, letters(range.bits)));
        }
        table = table.line("").line("");
    }
    table = table.head("             flags\tpage-count       MB  symbolic-flags\t\t\tlong-symbolic-flags");
    let mut records = Vec::new();
    let mut total = 0;
    for (bits, pages) in tally.counts.rows() {
        table = table.line(format!(
            "0x{bits:016x}\t{pages:>10} {:>8}  {}\t{}",
            megabytes(pages),
            letters(bits),
            names(bits)
        ));
        total += pages;
        records.push(vec![
            ("flags".into(), Cell::Addr(bits)),
            ("pages".into(), pages.into()),
            ("mb".into(), megabytes(pages).into()),
            ("symbolic".into(), letters(bits).into()),
            ("names".into(), names(bits).into()),
        ]);
    }
    table.line(format!("             total\t{total:>10} {:>8}", megabytes(total))).with_records(records)
}

fn megabytes(pages: u64) -> u64 {
    (pages * PAGE_SIZE) >> 20
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stand_in_the_order_of_the_tools_table() {
        let mut counts = Counts::default();
        for (bits, pages) in [(1 << 20, 5), (0, 1), (1 << 26, 2), (0x28, 3), (1 << 20, 5)] {
            counts.add(bits, pages);
        }
        // The low bits of the first and the third are 0: they stand behind the place of pages without flags.
        assert_eq!(counts.rows(), [(0, 1), (1 << 20, 10), (1 << 26, 2), (0x28, 3)]);
    }

    #[test]
    fn shared_bits_are_told_apart() {
        assert_eq!(names(expand_overloaded(1 << 9, None)), "readahead");
        assert_eq!(names(expand_overloaded(3 << 8, None)), "writeback,reclaim");
        assert_eq!(names(expand_overloaded(1 << 34 | ANON, None)), "anonymous,anon_exclusive");
        assert_eq!(names(well_known(1 << 34 | 1 << 15 | ANON)), "anonymous");
        assert_eq!(letters(BUDDY).len(), FLAGS.len());
    }
}
