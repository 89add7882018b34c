//! Areas of an address space: find, insert, merge, split.
//!
//! Gorman chapter 4. Kernel: `mm/mmap.c`, `include/linux/mm.h`.
//! Fidelity: faithful — flags, merge rules with anon_vma, split, accounting. Absent — userfaultfd contexts.

mod find;
mod flags;
mod merge;
pub mod names;
mod split;

pub use flags::VmFlags;
pub(crate) use merge::NewArea;

use crate::mm::addr::{PAGE_SHIFT, PAGE_SIZE, VirtAddr};
use crate::mm::augmented::{Area, Interval};
use crate::mm::errno::Errno;
use crate::mm::fs::FileId;
use crate::mm::kernel_caches::KernelCache;
use crate::mm::machine::Machine;
use crate::mm::rmap::AnonVmaId;
use crate::mm::slots::Id;
use crate::mm::task::MmId;
use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

/// Number of an area.
pub type VmaId = Id<Vma>;

/// What an area without a file is called in /proc/PID/maps.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum VmaName {
    /// Nothing, or what the address says: `[heap]`, `[stack]`.
    #[default]
    None,
    /// `[vdso]`.
    Vdso,
    /// `[vvar]`.
    Vvar,
    /// A file known by its name alone: the place in [`Machine::mapped_files`].
    File(u32),
}

/// A file that is mapped, as /proc/PID/maps names it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MappedFile {
    /// Its path, or the words in brackets that stand for one.
    pub path: String,
    /// Major and minor number of its device.
    pub device: (u32, u32),
    /// Its inode number.
    pub inode: u64,
}

/// Where an area lies in its file, as /proc/PID/maps shows it; all 0 without one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ShownFile {
    /// Offset into the file, in bytes.
    pub offset: u64,
    /// Major and minor number of the file's device.
    pub device: (u32, u32),
    /// The file's inode number.
    pub inode: u64,
}

/// An area of virtual addresses (`struct vm_area_struct`).
#[derive(Clone, Debug)]
pub struct Vma {
    /// The address space.
    pub mm: MmId,
    /// First address.
    pub start: u64,
    /// One past the last address.
    pub end: u64,
    /// Flags.
    pub flags: VmFlags,
    /// Offset into the file in pages; for anonymous areas the first address in pages, as it was at first.
    pub pgoff: u64,
    /// Where its anonymous pages are found from; `None` before the first.
    pub anon_vma: Option<AnonVmaId>,
    /// Every anon_vma whose pages may be mapped here: its own and its ancestors'.
    pub chain: Vec<AnonVmaId>,
    /// The file behind it (`vm_file`).
    pub file: Option<FileId>,
    /// The first write to a page must be seen, so that entries start without the right to write (`vma_wants_writenotify`).
    pub writenotify: bool,
    /// A special area's name.
    pub name: VmaName,
    /// Swap readahead: last address, window and hits.
    pub swap_ra: SwapRa,
    /// Its `vm_area_struct`; those of the boot have none of their own.
    pub object: Option<VirtAddr>,
}

/// What swap readahead remembers of an area (`swap_readahead_info`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SwapRa {
    /// Address of the last fault, in pages.
    pub addr: u64,
    /// The last window.
    pub win: u32,
    /// Pages read ahead that were used since.
    pub hits: u32,
}

impl Default for SwapRa {
    fn default() -> SwapRa {
        // SWAP_RA_VAL starts at 4 hits, so that the first fault reads ahead.
        SwapRa { addr: 0, win: 0, hits: 4 }
    }
}

impl Vma {
    /// An area that maps nothing yet, of no file.
    pub fn new(mm: MmId, range: Range<u64>, flags: VmFlags, pgoff: u64) -> Vma {
        Vma {
            mm,
            start: range.start,
            end: range.end,
            flags,
            pgoff,
            anon_vma: None,
            chain: Vec::new(),
            file: None,
            writenotify: false,
            name: VmaName::None,
            swap_ra: SwapRa::default(),
            object: None,
        }
    }

    /// Anonymous memory of its own: no file behind it, and not shared.
    pub fn is_private_anonymous(&self) -> bool {
        self.is_anonymous() && !self.flags.has(VmFlags::SHARED)
    }

    /// Pages of the area.
    #[inline]
    pub fn pages(&self) -> u64 {
        (self.end - self.start) >> PAGE_SHIFT
    }

    /// True when the address lies in it.
    #[inline]
    pub fn contains(&self, addr: VirtAddr) -> bool {
        self.start <= addr.0 && addr.0 < self.end
    }

    /// The page index of an address (`linear_page_index`).
    #[inline]
    pub fn index_of(&self, addr: VirtAddr) -> u32 {
        (self.pgoff + ((addr.0 - self.start) >> PAGE_SHIFT)) as u32
    }

    /// The address of a page index, if it lies here (`vma_address`).
    #[inline]
    pub fn address_of(&self, index: u32) -> Option<VirtAddr> {
        let offset = u64::from(index.wrapping_sub(self.pgoff as u32));
        (offset < self.pages()).then(|| VirtAddr(self.start + (offset << PAGE_SHIFT)))
    }

    /// The pages of its file that it shows, for the file's tree.
    pub fn interval(&self, id: VmaId) -> Interval {
        Interval { first: self.pgoff, last: self.pgoff + self.pages() - 1, id }
    }

    /// The pages that it may map, for the trees of its chain: by page index, which has 32 bits.
    pub fn anon_interval(&self, id: VmaId) -> Interval {
        let first = u64::from(self.pgoff as u32);
        Interval { first, last: first + self.pages() - 1, id }
    }

    /// No file behind it (`vma_is_anonymous`).
    #[inline]
    pub fn is_anonymous(&self) -> bool {
        self.file.is_none() && self.name == VmaName::None
    }

    /// Bits of a present entry of this area (`vm_page_prot`).
    #[inline]
    pub fn page_prot(&self) -> u64 {
        if self.writenotify {
            self.flags.without(VmFlags::SHARED).page_prot()
        } else {
            self.flags.page_prot()
        }
    }
}

impl fmt::Display for Vma {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}-{:#x} {}", self.start, self.end, self.flags.perms())
    }
}

impl Machine {
    /// A name for areas of a file, the same one for the same file.
    pub fn file_name(&mut self, path: &str, device: (u32, u32), inode: u64) -> VmaName {
        let same = |f: &MappedFile| f.path == path && f.device == device && f.inode == inode;
        let found = self.mapped_files.iter().position(same).unwrap_or_else(|| {
            self.mapped_files.push(MappedFile { path: path.into(), device, inode });
            self.mapped_files.len() - 1
        });
        VmaName::File(found as u32)
    }

    /// What /proc/PID/maps calls an area: a path, words in brackets, or nothing (`show_map_vma`).
    pub fn vma_name(&self, vma: &Vma) -> Cow<'_, str> {
        let mm = &self.mms[vma.mm];
        if let (Some(file), None) = (vma.file, self.named_file(vma)) {
            return self.files[file].shown_name().into();
        }
        let name = match vma.name {
            VmaName::File(_) => self.named_file(vma).map_or("", |file| &file.path),
            VmaName::Vdso => "[vdso]",
            VmaName::Vvar => "[vvar]",
            VmaName::None if vma.start <= mm.brk && mm.start_brk <= vma.end => "[heap]",
            VmaName::None if vma.start <= mm.start_stack && mm.start_stack <= vma.end => "[stack]",
            VmaName::None => "",
        };
        name.into()
    }

    /// Where /proc/PID/maps says that an area lies: a recording's word goes before the file that stands for it here.
    pub fn shown_file(&self, vma: &Vma) -> ShownFile {
        let of_file = |file: FileId| (self.fs.device(self.files[file].mount), self.files[file].ino);
        let named = self.named_file(vma).map(|named| (named.device, named.inode));
        match named.or(vma.file.map(of_file)) {
            Some((device, inode)) => ShownFile { offset: vma.pgoff << PAGE_SHIFT, device, inode },
            None => ShownFile::default(),
        }
    }

    /// The file that an area has by name.
    pub fn named_file(&self, vma: &Vma) -> Option<&MappedFile> {
        match vma.name {
            VmaName::File(place) => self.mapped_files.get(place as usize),
            _ => None,
        }
    }

    /// Allocates an area's structure and adds the area; nothing may be there (`vm_area_alloc`, `vma_link`).
    ///
    /// # Errors
    /// `ENOMEM` without memory for the structure.
    pub(crate) fn vm_area_alloc(&mut self, vma: Vma) -> Result<VmaId, Errno> {
        let object = Some(self.kernel_object(KernelCache::VmArea)?);
        Ok(self.insert_vma(Vma { object, ..vma }))
    }

    /// Adds an area; nothing may be there.
    pub(crate) fn insert_vma(&mut self, vma: Vma) -> VmaId {
        let (mm, start, end) = (vma.mm, vma.start, vma.end);
        let id = self.vmas.insert(vma);
        self.mms[mm].vmas.insert(Area { start, end, id });
        self.link_file(id);
        id
    }

    /// The file that an area shows knows it (`__vma_link_file`).
    #[inline(always)]
    fn link_file(&mut self, id: VmaId) {
        let vma = &self.vmas[id];
        if let Some(file) = vma.file {
            self.files[file].i_mmap.insert(vma.interval(id));
        }
    }

    /// Takes an area away; its pages are gone already.
    pub(crate) fn remove_vma(&mut self, id: VmaId) {
        let (mm, start) = (self.vmas[id].mm, self.vmas[id].start);
        self.mms[mm].vmas.remove(start);
        self.free_vma(id);
    }

    /// Forgets an area that its address space has, or is about to have, no more (`vm_area_free`).
    pub(crate) fn free_vma(&mut self, id: VmaId) {
        self.unlink_anon_vmas(id);
        let Some(vma) = self.vmas.get(id) else { return };
        let object = vma.object;
        let shown = vma.file.map(|file| (file, vma.interval(id)));
        let mm = &mut self.mms[vma.mm];
        if mm.vma_cache == Some(id) {
            mm.vma_cache = None;
        }
        self.vmas.forget(id);
        if let Some(object) = object {
            self.free_kernel_object(KernelCache::VmArea, object);
        }
        if let Some((file, shown)) = shown {
            self.files[file].i_mmap.remove(shown);
            self.fput(file);
        }
    }

    /// Changes an area's borders (`__vma_adjust`).
    pub(crate) fn adjust_vma(&mut self, id: VmaId, start: u64, end: u64, pgoff: u64) {
        let (mm, old_start) = (self.vmas[id].mm, self.vmas[id].start);
        self.mms[mm].vmas.resize(old_start, start..end);
        self.set_borders(id, start, end, pgoff);
    }

    /// The part of [`Machine::adjust_vma`] that is left when the address space knows the new borders.
    #[inline(always)]
    fn set_borders(&mut self, id: VmaId, start: u64, end: u64, pgoff: u64) {
        let vma = &mut self.vmas[id];
        if vma.file.is_none() && vma.chain.is_empty() {
            // Nobody looks for it by the pages it shows.
            (vma.start, vma.end, vma.pgoff) = (start, end, pgoff);
        } else {
            self.show_other_pages(id, start, end, pgoff);
        }
    }

    /// New borders of an area that is found by the pages it shows: of its file, or of its chain.
    fn show_other_pages(&mut self, id: VmaId, start: u64, end: u64, pgoff: u64) {
        let vma = &mut self.vmas[id];
        let (shown, mapped) = (vma.interval(id), vma.anon_interval(id));
        (vma.start, vma.end, vma.pgoff) = (start, end, pgoff);
        if let Some(file) = vma.file {
            self.files[file].i_mmap.replace(shown, vma.interval(id));
        }
        for anon in &vma.chain {
            self.anon_vmas[*anon].vmas.replace(mapped, vma.anon_interval(id));
        }
    }
}

/// Rounds a length up to pages; `None` when it wraps.
pub fn page_align(len: u64) -> Option<u64> {
    len.checked_add(PAGE_SIZE - 1).map(|l| l & !(PAGE_SIZE - 1))
}
