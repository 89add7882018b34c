//! The C library's heap over brk and mmap: where `malloc` gets memory, and when `free` gives it back.
//!
//! ```text
//!   brk ──►  ┌─ size|flags ─┬ memory ─────────┬─ size|flags ─┬ memory ──┬─ top ────────────┐ ◄── brk(0)
//!            └── 8 bytes ───┴─────────────────┴──────────────┴──────────┴──────────────────┘
//!   from M_MMAP_THRESHOLD on each chunk is a mapping of its own, and free unmaps it
//! ```
//!
//! Kernel: none; what the GNU C library asks of the kernel. Gorman: none.
//! Fidelity: faithful — chunk sizes and headers in the task's memory, top pad, thresholds that grow, trim.
//! Simplified — one list of free chunks, the best fit of the lowest address first; no caches for each thread, one arena.

use crate::mm::addr::{PAGE_SIZE, VirtAddr};
use crate::mm::errno::Errno;
use crate::mm::machine::Machine;
use crate::mm::memory::Stop;
use crate::mm::mmap::{map, prot};
use crate::mm::task::{MmId, Pid};
use std::collections::BTreeMap;

/// Bytes of a chunk's header.
const SIZE_SZ: u64 = 8;
/// The smallest chunk.
const MINSIZE: u64 = 32;
/// Bytes that are asked of brk beyond what is needed (`M_TOP_PAD`).
const TOP_PAD: u64 = 128 << 10;
/// Where mappings begin until a larger one was freed (`DEFAULT_MMAP_THRESHOLD`).
const MMAP_THRESHOLD: u64 = 128 << 10;
/// The threshold does not grow beyond it (`DEFAULT_MMAP_THRESHOLD_MAX`).
const MMAP_THRESHOLD_MAX: u64 = 32 << 20;
/// In a header: the chunk before is in use.
const PREV_INUSE: u64 = 1;
/// In a header: the chunk is a mapping of its own.
const IS_MMAPPED: u64 = 2;

/// What the C library of a process keeps about its heap (`struct malloc_state`, `mp_`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Heap {
    /// Free chunks: address and size.
    free: BTreeMap<u64, u64>,
    /// Chunks in use.
    used: BTreeMap<u64, u64>,
    /// The last chunk, which borders on the end of the heap.
    top: u64,
    /// Where the heap ends for the library.
    end: u64,
    /// Requests from here on get a mapping of their own.
    pub mmap_threshold: u64,
    /// With so much at the top, the heap shrinks.
    pub trim_threshold: u64,
}

impl Default for Heap {
    fn default() -> Heap {
        let (free, used) = (BTreeMap::new(), BTreeMap::new());
        let (mmap_threshold, trim_threshold) = (MMAP_THRESHOLD, TOP_PAD);
        Heap { free, used, top: 0, end: 0, mmap_threshold, trim_threshold }
    }
}

impl Machine {
    /// Allocates memory as the C library does (`malloc`); its address.
    ///
    /// # Errors
    /// `ENOMEM`; the signal the task got when its headers could not be written; `ESRCH`.
    pub fn malloc(&mut self, pid: Pid, size: u64) -> Result<VirtAddr, Stop> {
        let mm = self.mm_of(pid)?;
        let padded = size.checked_add(SIZE_SZ + 15).filter(|n| *n <= i64::MAX as u64).ok_or(Errno::ENOMEM)?;
        let chunk_size = (padded & !15).max(MINSIZE);
        if chunk_size >= self.mms[mm].heap.mmap_threshold {
            return self.malloc_mapping(pid, mm, chunk_size);
        }
        let fits = self.mms[mm].heap.free.iter().filter(|(_, size)| **size >= chunk_size);
        let best = fits.min_by_key(|(_, size)| **size).map(|(at, size)| (*at, *size));
        let chunk = match best {
            Some((at, size)) => {
                self.mms[mm].heap.free.remove(&at);
                if size - chunk_size >= MINSIZE {
                    self.mms[mm].heap.free.insert(at + chunk_size, size - chunk_size);
                    self.write_header(pid, at + chunk_size, (size - chunk_size) | PREV_INUSE)?;
                    (at, chunk_size)
                } else {
                    (at, size)
                }
            }
            None => (self.take_from_top(pid, mm, chunk_size)?, chunk_size),
        };
        self.write_header(pid, chunk.0, chunk.1 | PREV_INUSE)?;
        self.mms[mm].heap.used.insert(chunk.0, chunk.1);
        Ok(VirtAddr(chunk.0 + 2 * SIZE_SZ))
    }

    /// Cuts a chunk off the top; the heap grows if it must (`sysmalloc`).
    fn take_from_top(&mut self, pid: Pid, mm: MmId, size: u64) -> Result<u64, Stop> {
        let heap = &self.mms[mm].heap;
        let room = heap.end - heap.top;
        if room < size + MINSIZE {
            let now = self.brk(pid, VirtAddr(0))?.0;
            // Somebody else may have moved the break: then the library begins anew behind it.
            let (top, room) = if heap_is_at(&self.mms[mm].heap, now) { (now - room, room) } else { (now, 0) };
            let more = (size + TOP_PAD + MINSIZE - room).next_multiple_of(PAGE_SIZE);
            let wanted = (now + more).next_multiple_of(PAGE_SIZE);
            if self.brk(pid, VirtAddr(wanted))?.0 != wanted {
                return Err(Errno::ENOMEM.into());
            }
            let heap = &mut self.mms[mm].heap;
            (heap.top, heap.end) = (top.next_multiple_of(16), wanted);
        }
        let heap = &mut self.mms[mm].heap;
        let chunk = heap.top;
        heap.top += size;
        let (top, left) = (heap.top, heap.end - heap.top);
        self.write_header(pid, top, left | PREV_INUSE)?;
        Ok(chunk)
    }

    /// A chunk so large that it is a mapping of its own (`sysmalloc_mmap`).
    fn malloc_mapping(&mut self, pid: Pid, mm: MmId, size: u64) -> Result<VirtAddr, Stop> {
        let len = (size + SIZE_SZ).next_multiple_of(PAGE_SIZE);
        let access = prot::READ | prot::WRITE;
        let at = self.mmap(pid, VirtAddr(0), len, access, map::PRIVATE | map::ANONYMOUS)?;
        self.write_header(pid, at.0, len | IS_MMAPPED)?;
        self.mms[mm].heap.used.insert(at.0, len);
        Ok(VirtAddr(at.0 + 2 * SIZE_SZ))
    }

    /// Gives memory back that malloc gave (`free`); nothing happens for 0.
    ///
    /// # Errors
    /// `EINVAL` for an address that malloc did not give or that was freed already: the library would abort.
    pub fn free_memory(&mut self, pid: Pid, addr: VirtAddr) -> Result<(), Stop> {
        let mm = self.mm_of(pid)?;
        if addr.0 == 0 {
            return Ok(());
        }
        let chunk = addr.0.checked_sub(2 * SIZE_SZ).ok_or(Errno::EINVAL)?;
        let size = *self.mms[mm].heap.used.get(&chunk).ok_or(Errno::EINVAL)?;
        let header = self.read_user(pid, VirtAddr(chunk + SIZE_SZ))?;
        self.mms[mm].heap.used.remove(&chunk);
        if header & IS_MMAPPED != 0 {
            let heap = &mut self.mms[mm].heap;
            if size > heap.mmap_threshold && size <= MMAP_THRESHOLD_MAX {
                // Who frees a large chunk will want one again: the next comes from the heap.
                (heap.mmap_threshold, heap.trim_threshold) = (size, 2 * size);
            }
            return Ok(self.munmap(pid, VirtAddr(chunk), size)?);
        }
        let (start, end) = self.mms[mm].heap.coalesce(chunk, size);
        let heap = &mut self.mms[mm].heap;
        if end == heap.top {
            heap.top = start;
            let left = heap.end - start;
            self.write_header(pid, start, left | PREV_INUSE)?;
            return self.trim_heap(pid, mm);
        }
        self.mms[mm].heap.free.insert(start, end - start);
        self.write_header(pid, start, (end - start) | PREV_INUSE)
    }

    /// Gives the end of the heap back when much of it is free (`systrim`).
    fn trim_heap(&mut self, pid: Pid, mm: MmId) -> Result<(), Stop> {
        let heap = &self.mms[mm].heap;
        let (top, end) = (heap.top, heap.end);
        if end - top < heap.trim_threshold {
            return Ok(());
        }
        let extra = (end - top).saturating_sub(MINSIZE + 1 + TOP_PAD) & !(PAGE_SIZE - 1);
        if extra == 0 || self.brk(pid, VirtAddr(0))?.0 != end {
            return Ok(());
        }
        let now = self.brk(pid, VirtAddr(end - extra))?.0;
        self.mms[mm].heap.end = now;
        self.write_header(pid, top, (now - top) | PREV_INUSE)
    }

    /// Writes a chunk's size and flags where the library keeps them: that may be the page's first touch.
    fn write_header(&mut self, pid: Pid, chunk: u64, header: u64) -> Result<(), Stop> {
        self.write_user(pid, VirtAddr(chunk + SIZE_SZ), header)
    }
}

/// Does the library's heap end where the process's does?
fn heap_is_at(heap: &Heap, brk: u64) -> bool {
    heap.end != 0 && heap.end == brk
}

impl Heap {
    /// Joins a chunk with free neighbours; where the free range begins and ends.
    fn coalesce(&mut self, chunk: u64, size: u64) -> (u64, u64) {
        let (mut start, mut end) = (chunk, chunk + size);
        if let Some((&at, &len)) = self.free.range(..chunk).next_back()
            && at + len == chunk
        {
            self.free.remove(&at);
            start = at;
        }
        if let Some(len) = self.free.remove(&end) {
            end += len;
        }
        (start, end)
    }
}
