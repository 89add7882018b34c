//! High memory: frames that the kernel has no address for, mapped for as long as somebody looks.
//!
//! ```text
//!   lowmem 0xc0000000 ─────────────┐            PKMap: 1,024 entries, 512 with PAE
//!                                  │     count 0  free
//!   HighMem frame 0x3a9f1 ── kmap ─┼──►  count 1  mapped, nobody uses it: the TLB may still know it
//!                                  │     count n  n - 1 users
//!              kmap_local ─────────┴──►  fixmap: 16 slots a CPU, given back in the reverse order
//! ```
//!
//! An entry that is given back is not cleared: the same page may be wanted again. Only when the search has gone once
//! round are all of count 1 cleared, with one flush of the TLBs.
//!
//! Gorman chapter 9. Kernel: `mm/highmem.c`, `include/linux/highmem-internal.h`.
//! Fidelity: faithful — counters, the search, flushes, who sleeps and who is woken, slots of kmap_local, complaints.
//! Simplified — slots belong to a CPU, not to the task on it. Absent — cache colours of other architectures.

mod local;

use crate::mm::addr::{PAGE_SIZE, Pfn, VirtAddr};
use crate::mm::config::ZoneType;
use crate::mm::errno::Oops;
use crate::mm::machine::Machine;
use crate::mm::pgtable::Pte;
use crate::mm::task::Pid;
use std::collections::{BTreeMap, VecDeque};

pub use local::{KM_MAX_IDX, LocalMap};

/// The permanent mappings, and the short ones of each CPU.
#[derive(Clone, Debug, Default)]
pub struct Highmem {
    /// Users of each entry, and one (`pkmap_count`).
    count: Vec<u32>,
    /// What each entry of count 1 or more maps.
    frames: Vec<Pfn>,
    /// The entry in which a frame is mapped (`page_address_htable`).
    entry_of: BTreeMap<Pfn, usize>,
    /// Where the search went last (`last_pkmap_nr`).
    last: usize,
    /// Tasks that sleep until an entry is free, and what they want to map (`pkmap_map_wait`).
    waiting: VecDeque<(Pid, Pfn)>,
    /// How often all entries of count 1 were cleared.
    flushes: u64,
    /// Short mappings of each CPU, oldest first.
    local: Vec<Vec<LocalMap>>,
}

impl Highmem {
    /// A pool of so many entries.
    pub(crate) fn new(entries: usize, cpus: usize) -> Highmem {
        Highmem {
            count: vec![0; entries],
            frames: vec![Pfn::NIL; entries],
            local: vec![Vec::new(); cpus],
            ..Highmem::default()
        }
    }

    /// The counter of each entry: 0 is free, 1 is mapped without a user.
    pub fn counts(&self) -> &[u32] {
        &self.count
    }

    /// The entries that map a frame now, lowest first: entry, frame, counter.
    pub fn mapped(&self) -> impl Iterator<Item = (usize, Pfn, u32)> + '_ {
        let entries = self.count.iter().zip(&self.frames).enumerate();
        entries.filter(|(_, (count, _))| **count > 0).map(|(n, (count, pfn))| (n, *pfn, *count))
    }

    /// The entry that maps a frame.
    pub fn entry_of(&self, pfn: Pfn) -> Option<usize> {
        self.entry_of.get(&pfn).copied()
    }

    /// Where the search went last.
    pub fn last(&self) -> usize {
        self.last
    }

    /// How often all entries without a user were cleared.
    pub fn flushes(&self) -> u64 {
        self.flushes
    }

    /// Does the task sleep until an entry is free?
    pub fn is_waiting(&self, pid: Pid) -> bool {
        self.waiting.iter().any(|(waiter, _)| *waiter == pid)
    }

    /// Who sleeps until an entry is free, the longest first.
    pub fn waiting(&self) -> impl Iterator<Item = (Pid, Pfn)> + '_ {
        self.waiting.iter().copied()
    }

    /// Short mappings of a CPU, oldest first.
    pub fn local(&self, cpu: usize) -> &[LocalMap] {
        self.local.get(cpu).map_or(&[], Vec::as_slice)
    }

    /// Does the running CPU hold a short mapping that forbids sleeping?
    pub(crate) fn is_atomic(&self, cpu: usize) -> bool {
        self.local(cpu).iter().any(|map| map.atomic)
    }
}

impl Machine {
    /// True for a frame that the direct map does not reach (`PageHighMem`).
    pub fn is_highmem_page(&self, pfn: Pfn) -> bool {
        let zone = self.mem_map.zone_of(pfn);
        zone.is_some_and(|zone| self.zones[zone.index()].kind == ZoneType::HighMem)
    }

    /// The address of an entry of the pool (`PKMAP_ADDR`).
    pub fn pkmap_addr(&self, entry: usize) -> VirtAddr {
        VirtAddr(self.layout.pkmap.start + entry as u64 * PAGE_SIZE)
    }

    /// Gives a page an address for as long as it is needed (`kmap`); `None` when the caller would sleep now.
    ///
    /// # Errors
    /// The kernel's BUG in an interrupt.
    pub fn kmap(&mut self, pfn: Pfn) -> Result<Option<VirtAddr>, Oops> {
        self.might_sleep(
            "mm/highmem.c",
            "kmap waits when all entries are in use: take kmap_local_page here",
        )?;
        if !self.is_highmem_page(pfn) {
            return Ok(self.page_address(pfn));
        }
        Ok(self.kmap_high(pfn))
    }

    /// The same on behalf of a task; it sleeps when no entry is free, and is woken by a `kunmap`.
    ///
    /// # Errors
    /// As [`Machine::kmap`].
    pub fn kmap_as(&mut self, pid: Pid, pfn: Pfn) -> Result<Option<VirtAddr>, Oops> {
        let mapped = self.as_task(pid, |m| m.kmap(pfn))?;
        if mapped.is_none() {
            self.highmem.waiting.push_back((pid, pfn));
        }
        Ok(mapped)
    }

    fn kmap_high(&mut self, pfn: Pfn) -> Option<VirtAddr> {
        let entry = match self.highmem.entry_of(pfn) {
            Some(entry) => entry,
            None => self.map_new_virtual(pfn)?,
        };
        self.highmem.count[entry] += 1;
        Some(self.pkmap_addr(entry))
    }

    /// Finds a free entry, going round from the last one; past the end, unused ones are cleared (`map_new_virtual`).
    fn map_new_virtual(&mut self, pfn: Pfn) -> Option<usize> {
        let entries = self.highmem.count.len();
        let mut left = entries;
        loop {
            self.highmem.last = (self.highmem.last + 1) % entries;
            if self.highmem.last == 0 {
                self.flush_all_zero_pkmaps();
                left = entries;
            }
            if self.highmem.count[self.highmem.last] == 0 {
                break;
            }
            left -= 1;
            if left == 0 {
                return None;
            }
        }
        let entry = self.highmem.last;
        let pte = Pte::new(pfn, self.kernel_prot());
        self.set_fixed_mapping(self.pkmap_addr(entry), pte);
        self.highmem.count[entry] = 1;
        self.highmem.frames[entry] = pfn;
        self.highmem.entry_of.insert(pfn, entry);
        Some(entry)
    }

    /// Clears every entry that nobody uses and flushes the TLBs once (`flush_all_zero_pkmaps`).
    pub fn flush_all_zero_pkmaps(&mut self) {
        let unused: Vec<usize> =
            (0..self.highmem.count.len()).filter(|n| self.highmem.count[*n] == 1).collect();
        for &entry in &unused {
            self.unmap_kernel_page(self.pkmap_addr(entry));
            self.highmem.count[entry] = 0;
            let pfn = std::mem::replace(&mut self.highmem.frames[entry], Pfn::NIL);
            self.highmem.entry_of.remove(&pfn);
        }
        if !unused.is_empty() {
            self.highmem.flushes += 1;
        }
    }

    /// One user less; who waits for an entry is woken when that was the last (`kunmap`).
    ///
    /// # Errors
    /// The kernel's BUG for a page that is not mapped, and in an interrupt.
    pub fn kunmap(&mut self, pfn: Pfn) -> Result<(), Oops> {
        if self.current.in_interrupt {
            return Err(
                self.highmem_bug("in_interrupt()", "kunmap may not be called by an interrupt handler")
            );
        }
        if !self.is_highmem_page(pfn) {
            return Ok(());
        }
        let Some(entry) = self.highmem.entry_of(pfn) else {
            return Err(self.highmem_bug("!vaddr", &format!("page pfn={pfn} is not mapped: kmap it first")));
        };
        if self.highmem.count[entry] < 2 {
            let advice = format!("page pfn={pfn} has no user left: it was kunmapped more often than kmapped");
            return Err(self.highmem_bug("pkmap_count[nr] < 2", &advice));
        }
        self.highmem.count[entry] -= 1;
        if self.highmem.count[entry] == 1 {
            self.wake_kmap_waiters();
        }
        Ok(())
    }

    /// All who wait try again, the longest waiting first; who finds nothing sleeps on.
    fn wake_kmap_waiters(&mut self) {
        for (pid, pfn) in std::mem::take(&mut self.highmem.waiting) {
            let alive = self.tasks.get(&pid).is_some_and(|task| task.is_alive());
            if alive && self.kmap_high(pfn).is_none() {
                self.highmem.waiting.push_back((pid, pfn));
            }
        }
    }

    /// Sets an entry of the kernel's fixed tables, whose frames the kernel has had since its boot.
    pub(super) fn set_fixed_mapping(&mut self, addr: VirtAddr, pte: Pte) {
        let frame = self.kernel_table_frame();
        let set = self.map_kernel_page_with(addr, pte, |_| Ok(frame));
        debug_assert!(set.is_ok(), "the frame is there");
    }

    pub(super) fn highmem_bug(&mut self, condition: &str, advice: &str) -> Oops {
        let line = "kernel BUG at mm/highmem.c!";
        self.kernel_bug(line);
        Oops::new(line, format!("BUG_ON({condition}): {advice}"))
    }
}
