//! The page cache: pages of files in memory, found by file and index.
//!
//! ```text
//!   file ── pages[index] ──► page ── mapping, index ──► file, place      one reference is the cache's
//!                             │
//!                             ├─ bytes somebody wrote: the machine's contents
//!                             └─ none: zeros on tmpfs, the file's pattern on a disk
//! ```
//!
//! Gorman 10.2. Kernel: `mm/filemap.c`.
//! Fidelity: faithful — references, counters, lists, a page is locked while it is read. Absent — readahead, shadows of
//! evicted pages, direct IO.

use crate::mm::addr::{PAGE_SIZE, Pfn};
use crate::mm::errno::Errno;
use crate::mm::fs::{Backing, Bytes, FileId};
use crate::mm::machine::Machine;
use crate::mm::page::{Page, PageFlags};
use crate::mm::shmem::Sgp;
use crate::mm::vmstat::NodeStat;
use crate::mm::xarray::{Entry, Mark};
use std::rc::Rc;

/// In `Page::mapping`: the rest is the number of a file.
pub const MAPPING_FILE: u32 = 1 << 29;

/// What a write puts into a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Payload<'a> {
    /// These bytes.
    Bytes(&'a [u8]),
    /// One byte, so many times.
    Fill {
        /// The byte.
        byte: u8,
        /// How many.
        len: u64,
    },
    /// So many bytes that say what the file says already: everything happens but a change of contents.
    Same {
        /// How many.
        len: u64,
    },
}

impl Payload<'_> {
    /// How many bytes.
    pub fn len(&self) -> u64 {
        match self {
            Payload::Bytes(bytes) => bytes.len() as u64,
            Payload::Fill { len, .. } | Payload::Same { len } => *len,
        }
    }

    /// True without bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A piece of a file that lies in one page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Piece {
    /// The page's index.
    pub index: u32,
    /// Where in the page it begins.
    pub from: usize,
    /// Bytes.
    pub len: usize,
}

/// The pieces of a range of a file, one for each page.
pub(crate) fn pieces(off: u64, len: u64) -> impl Iterator<Item = Piece> {
    let mut at = off;
    let end = off.saturating_add(len);
    std::iter::from_fn(move || {
        let left = end.checked_sub(at).filter(|left| *left > 0)?;
        let from = at % PAGE_SIZE;
        let len = left.min(PAGE_SIZE - from);
        let piece = Piece { index: (at / PAGE_SIZE) as u32, from: from as usize, len: len as usize };
        at += len;
        Some(piece)
    })
}

impl Page {
    /// The place in the table of files of the one whose page this is.
    #[inline]
    pub(crate) fn file_index(&self) -> Option<u32> {
        (self.mapping & MAPPING_FILE != 0 && !self.is(PageFlags::SLAB))
            .then_some(self.mapping & !MAPPING_FILE)
    }
}

impl Machine {
    /// The file whose cache a page is in (`page_mapping`).
    #[inline]
    pub fn file_of(&self, pfn: Pfn) -> Option<FileId> {
        self.files.at(self.mem_map.page(pfn).file_index()?)
    }

    /// A page of a file, if it is in memory (`filemap_get_folio`).
    #[inline]
    pub fn find_page(&self, file: FileId, index: u32) -> Option<Pfn> {
        self.files[file].pages.load(index).as_page()
    }

    /// A new page joins a file's cache, which takes a reference (`filemap_add_folio`); what stood there before.
    pub(crate) fn add_to_page_cache(&mut self, pfn: Pfn, file: FileId, index: u32) -> Entry {
        let inode = &mut self.files[file];
        let old = inode.pages.store(index, Entry::page(pfn));
        inode.nrpages += 1;
        let shmem = inode.shmem().is_some();
        let page = self.mem_map.page_mut(pfn);
        (page.mapping, page.index) = (MAPPING_FILE | file.index(), index);
        page.refcount += 1;
        page.assign(PageFlags::SWAPBACKED, shmem);
        self.count_cached(pfn, shmem, 1);
        old
    }

    /// A page leaves its file's cache, `entry` stands for it from then on; the cache's reference is the caller's
    /// (`__filemap_remove_folio`).
    pub(crate) fn delete_from_page_cache(&mut self, pfn: Pfn, entry: Entry) {
        let Some(file) = self.file_of(pfn) else { return };
        let index = self.mem_map.page(pfn).index;
        let inode = &mut self.files[file];
        inode.pages.mark(index, Mark::Dirty, false);
        inode.pages.store(index, entry);
        inode.nrpages -= 1;
        let empty = inode.nrpages == 0;
        let shmem = inode.shmem().is_some();
        if self.mem_map.page(pfn).is(PageFlags::DIRTY) && !shmem {
            // A dirty page that goes was never written: it is not dirty any more.
            self.account_cleaned(pfn);
        }
        self.count_cached(pfn, shmem, -1);
        self.mem_map.page_mut(pfn).mapping = 0;
        if empty {
            self.inode_emptied(file);
        }
    }

    fn count_cached(&mut self, pfn: Pfn, shmem: bool, n: i64) {
        let node = &mut self.nodes[self.zones[self.mem_map.page(pfn).zone().index()].pgdat];
        node.mod_stat(NodeStat::FilePages, n);
        if shmem {
            node.mod_stat(NodeStat::Shmem, n);
        }
    }

    /// A page of a file for a fault or a read, with a reference for the caller; true when it had to be read
    /// (`filemap_fault`, `shmem_fault`).
    ///
    /// # Errors
    /// `ENOMEM`; `ENOSPC` on a full tmpfs.
    pub(crate) fn get_file_page(&mut self, file: FileId, index: u32) -> Result<(Pfn, bool), Errno> {
        if self.files[file].shmem().is_some() {
            return self.shmem_get_page(file, index, Sgp::Cache);
        }
        if let Some(pfn) = self.find_page(file, index) {
            self.mem_map.page_mut(pfn).refcount += 1;
            self.wait_on_page(pfn);
            return Ok((pfn, false));
        }
        let pfn = self.filemap_create(file, index)?;
        if self.is_on_disk(file, index) {
            self.submit_device_read(pfn);
            self.wait_on_page(pfn);
        }
        Ok((pfn, true))
    }

    /// A page of a file on a disk gets a frame and the bytes that lie there; the caller has a reference.
    fn filemap_create(&mut self, file: FileId, index: u32) -> Result<Pfn, Errno> {
        let pfn = self.alloc_file_page(false)?;
        self.add_to_page_cache(pfn, file, index);
        if let Backing::Disk(disk) = &self.files[file].backing
            && let Some(bytes) = disk.written.get(&index).cloned()
        {
            self.contents.put(pfn, bytes);
        }
        self.mem_map.page_mut(pfn).set(PageFlags::UPTODATE);
        self.lru_add(pfn);
        Ok(pfn)
    }

    /// A frame for the page cache (`filemap_alloc_folio`).
    pub(crate) fn alloc_file_page(&mut self, zeroed: bool) -> Result<Pfn, Errno> {
        self.alloc_user_page(zeroed).map_err(|_| Errno::ENOMEM)
    }

    /// Must the disk be asked for a page, or is it a hole?
    fn is_on_disk(&self, file: FileId, index: u32) -> bool {
        match &self.files[file].backing {
            Backing::Disk(disk) => {
                u64::from(index) * PAGE_SIZE < disk.pattern || disk.written.contains_key(&index)
            }
            Backing::Shmem(_) => false,
        }
    }

    /// The bytes of a page that nobody wrote, if they are no zeros: its file's pattern.
    fn pattern_of(&self, pfn: Pfn) -> Option<Bytes> {
        let file = &self.files[self.file_of(pfn)?];
        let Backing::Disk(disk) = &file.backing else { return None };
        let index = self.mem_map.page(pfn).index;
        let filled = disk.pattern.saturating_sub(u64::from(index) * PAGE_SIZE).min(PAGE_SIZE) as usize;
        (filled > 0).then(|| {
            let mut bytes = [0; PAGE_SIZE as usize];
            bytes[..filled].fill(index.wrapping_add(1) as u8);
            Rc::new(bytes)
        })
    }

    /// What a page says; `None` is zeros.
    pub fn page_bytes(&self, pfn: Pfn) -> Option<Bytes> {
        self.contents.share(pfn).or_else(|| self.pattern_of(pfn))
    }

    /// What a page says, to be changed.
    pub(crate) fn page_bytes_mut(&mut self, pfn: Pfn) -> &mut [u8; PAGE_SIZE as usize] {
        if self.contents.get(pfn).is_none()
            && let Some(bytes) = self.pattern_of(pfn)
        {
            self.contents.put(pfn, Some(bytes));
        }
        self.contents.get_mut(pfn)
    }

    /// Reads a range of a file, up to its end, and hands over the pages with the piece of each; `take` answers how many
    /// bytes it took. `None` in place of a page is a hole (`filemap_read`).
    ///
    /// # Errors
    /// `ENOMEM`, when nothing was read; what `take` answers, when it took nothing.
    pub(crate) fn read_file_with(
        &mut self,
        file: FileId,
        off: u64,
        len: u64,
        take: impl FnMut(&mut Machine, Option<Pfn>, Piece) -> Result<usize, Errno>,
    ) -> Result<u64, Errno> {
        self.with_file(file, |machine| machine.filemap_read(file, off, len, take))
    }

    fn filemap_read(
        &mut self,
        file: FileId,
        off: u64,
        len: u64,
        mut take: impl FnMut(&mut Machine, Option<Pfn>, Piece) -> Result<usize, Errno>,
    ) -> Result<u64, Errno> {
        self.charge(self.config.costs.trap);
        let len = len.min(self.files[file].size.saturating_sub(off));
        let mut done = 0;
        for piece in pieces(off, len) {
            let page = match self.files[file].shmem() {
                Some(_) => self.shmem_read_page(file, piece.index),
                None => self.get_file_page(file, piece.index).map(|(pfn, _)| Some(pfn)),
            };
            let taken = page.and_then(|page| {
                if let Some(pfn) = page {
                    self.mark_page_accessed(pfn);
                }
                self.charge(self.config.costs.copy_page);
                let taken = take(self, page, piece);
                if let Some(pfn) = page {
                    self.put_lru_page(pfn);
                }
                taken
            });
            match taken {
                Ok(taken) => done += taken as u64,
                Err(e) if done == 0 => return Err(e),
                Err(_) => break,
            }
            if taken != Ok(piece.len) {
                break;
            }
        }
        Ok(done)
    }

    /// Reads a range of a file and drops the bytes (`pread`); how many there were.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn pread(&mut self, file: FileId, off: u64, len: u64) -> Result<u64, Errno> {
        self.read_file_with(file, off, len, |_, _, piece| Ok(piece.len))
    }

    /// Reads bytes of a file (`pread`); how many there were.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn read_file(&mut self, file: FileId, off: u64, bytes: &mut [u8]) -> Result<u64, Errno> {
        let mut done = 0;
        self.read_file_with(file, off, bytes.len() as u64, |m, page, piece| {
            let to = &mut bytes[done..done + piece.len];
            match page.and_then(|pfn| m.page_bytes(pfn)) {
                Some(from) => to.copy_from_slice(&from[piece.from..piece.from + piece.len]),
                None => to.fill(0),
            }
            done += piece.len;
            Ok(piece.len)
        })
    }

    /// Writes to a file, which grows if need be (`pwrite`, `generic_perform_write`); how many bytes.
    ///
    /// # Errors
    /// `EFBIG` beyond the largest file; `ENOSPC`, `ENOMEM` when nothing was written.
    pub fn pwrite(&mut self, file: FileId, off: u64, payload: Payload) -> Result<u64, Errno> {
        self.with_file(file, |machine| machine.generic_perform_write(file, off, payload))
    }

    fn generic_perform_write(&mut self, file: FileId, off: u64, payload: Payload) -> Result<u64, Errno> {
        self.charge(self.config.costs.trap);
        if off.checked_add(payload.len()).is_none_or(|end| end > crate::mm::fs::MAX_BYTES) {
            return Err(Errno::EFBIG);
        }
        let mut done = 0;
        for piece in pieces(off, payload.len()) {
            let pfn = match self.write_begin(file, piece) {
                Ok(pfn) => pfn,
                Err(e) if done == 0 => return Err(e),
                Err(_) => break,
            };
            self.fill_piece(pfn, piece, payload, done as usize);
            self.charge(self.config.costs.copy_page);
            done += piece.len as u64;
            let inode = &mut self.files[file];
            inode.size = inode.size.max(off + done);
            self.set_page_dirty(pfn);
            self.put_lru_page(pfn);
        }
        Ok(done)
    }

    /// The page that a piece is written into, with a reference (`ext4_write_begin`, `shmem_write_begin`).
    fn write_begin(&mut self, file: FileId, piece: Piece) -> Result<Pfn, Errno> {
        if self.files[file].shmem().is_some() {
            return self.shmem_get_page(file, piece.index, Sgp::Write).map(|(pfn, _)| pfn);
        }
        let whole = piece.len == PAGE_SIZE as usize;
        match self.find_page(file, piece.index) {
            // What is overwritten as a whole need not be read.
            None if whole => self.filemap_create(file, piece.index),
            _ => self.get_file_page(file, piece.index).map(|(pfn, _)| pfn),
        }
    }

    fn fill_piece(&mut self, pfn: Pfn, piece: Piece, payload: Payload, done: usize) {
        let range = piece.from..piece.from + piece.len;
        match payload {
            Payload::Bytes(bytes) => {
                self.page_bytes_mut(pfn)[range].copy_from_slice(&bytes[done..done + piece.len]);
            }
            Payload::Fill { byte, .. } => self.page_bytes_mut(pfn)[range].fill(byte),
            Payload::Same { .. } => {}
        }
    }

    /// Reads a range of a file into a task's memory (`read`); stops where the memory refuses.
    ///
    /// # Errors
    /// `EFAULT` when the first byte is refused already, `ESRCH`, `ENOMEM`.
    pub fn read_into(
        &mut self,
        pid: crate::mm::task::Pid,
        file: FileId,
        off: u64,
        addr: crate::mm::addr::VirtAddr,
        len: u64,
    ) -> Result<u64, Errno> {
        let mm = self.mm_of(pid)?;
        let mut done = 0;
        self.as_task(pid, |m| {
            m.read_file_with(file, off, len, |m, page, piece| {
                let bytes = page.and_then(|pfn| m.page_bytes(pfn));
                let zeros = [0; PAGE_SIZE as usize];
                let from = &bytes.as_deref().unwrap_or(&zeros)[piece.from..piece.from + piece.len];
                let copied = m.copy_to_user(mm, addr.0.wrapping_add(done), from);
                done += copied as u64;
                if copied == 0 { Err(Errno::EFAULT) } else { Ok(copied) }
            })
        })
    }

    /// The page must be written some day (`folio_mark_dirty`).
    #[inline]
    pub(crate) fn set_page_dirty(&mut self, pfn: Pfn) {
        let page = self.mem_map.page_mut(pfn);
        page.clear(PageFlags::RECLAIM);
        if page.is(PageFlags::DIRTY) {
            return;
        }
        page.set(PageFlags::DIRTY);
        if let Some(file) = self.file_of(pfn)
            && self.files[file].can_writeback()
        {
            self.account_dirtied(file, pfn);
        }
    }
}
