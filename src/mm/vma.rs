//! Areas of an address space: find, insert, merge, split.
//!
//! Gorman chapter 4. Kernel: `mm/mmap.c`, `include/linux/mm.h`.
//! Fidelity: faithful — flags, merge rules with anon_vma, split, accounting. Absent — userfaultfd contexts.

pub mod names;

use crate::mm::addr::{PAGE_SHIFT, PAGE_SIZE, VirtAddr};
use crate::mm::augmented::{Area, Interval};
use crate::mm::errno::Errno;
use crate::mm::fs::FileId;
use crate::mm::kernel_caches::KernelCache;
use crate::mm::machine::Machine;
use crate::mm::pgtable::Pte;
use crate::mm::rmap::AnonVmaId;
use crate::mm::slots::Id;
use crate::mm::task::MmId;
use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

/// Number of an area.
pub type VmaId = Id<Vma>;

/// Flags of an area (`VM_*`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct VmFlags(pub u64);

#[allow(missing_docs)]
impl VmFlags {
    pub const READ: VmFlags = VmFlags(0x1);
    pub const WRITE: VmFlags = VmFlags(0x2);
    pub const EXEC: VmFlags = VmFlags(0x4);
    pub const SHARED: VmFlags = VmFlags(0x8);
    pub const MAYREAD: VmFlags = VmFlags(0x10);
    pub const MAYWRITE: VmFlags = VmFlags(0x20);
    pub const MAYEXEC: VmFlags = VmFlags(0x40);
    pub const MAYSHARE: VmFlags = VmFlags(0x80);
    pub const GROWSDOWN: VmFlags = VmFlags(0x100);
    pub const PFNMAP: VmFlags = VmFlags(0x400);
    pub const LOCKED: VmFlags = VmFlags(0x2000);
    pub const IO: VmFlags = VmFlags(0x4000);
    pub const SEQ_READ: VmFlags = VmFlags(0x8000);
    pub const RAND_READ: VmFlags = VmFlags(0x1_0000);
    pub const DONTCOPY: VmFlags = VmFlags(0x2_0000);
    pub const DONTEXPAND: VmFlags = VmFlags(0x4_0000);
    pub const LOCKONFAULT: VmFlags = VmFlags(0x8_0000);
    pub const ACCOUNT: VmFlags = VmFlags(0x10_0000);
    pub const NORESERVE: VmFlags = VmFlags(0x20_0000);
    pub const HUGETLB: VmFlags = VmFlags(0x40_0000);
    pub const WIPEONFORK: VmFlags = VmFlags(0x200_0000);
    pub const DONTDUMP: VmFlags = VmFlags(0x400_0000);
    pub const SOFTDIRTY: VmFlags = VmFlags(0x800_0000);
    pub const MIXEDMAP: VmFlags = VmFlags(0x1000_0000);
    pub const HUGEPAGE: VmFlags = VmFlags(0x2000_0000);
    pub const NOHUGEPAGE: VmFlags = VmFlags(0x4000_0000);
    pub const MERGEABLE: VmFlags = VmFlags(0x8000_0000);
    /// Never merged, never locked (`VM_SPECIAL`).
    pub const SPECIAL: VmFlags = VmFlags(0x4_4400);
    /// What an area of a new process gets: `VM_MAYREAD | VM_MAYWRITE | VM_MAYEXEC`.
    pub const MAY_ALL: VmFlags = VmFlags(0x70);
    /// The three access bits.
    pub const ACCESS: VmFlags = VmFlags(0x7);

    /// True when every flag of `other` is set.
    #[inline]
    pub const fn has(self, other: VmFlags) -> bool {
        self.0 & other.0 == other.0
    }

    /// True when one flag of `other` is set.
    #[inline]
    pub const fn any(self, other: VmFlags) -> bool {
        self.0 & other.0 != 0
    }

    /// These and those.
    #[inline]
    pub const fn with(self, other: VmFlags) -> VmFlags {
        VmFlags(self.0 | other.0)
    }

    /// These without those.
    #[inline]
    pub const fn without(self, other: VmFlags) -> VmFlags {
        VmFlags(self.0 & !other.0)
    }

    /// Private, writable, and no stack (`is_data_mapping`).
    #[inline]
    pub const fn is_data(self) -> bool {
        self.has(VmFlags::WRITE) && !self.any(VmFlags(VmFlags::SHARED.0 | VmFlags::GROWSDOWN.0))
    }

    /// It grows down (`is_stack_mapping`).
    #[inline]
    pub const fn is_stack(self) -> bool {
        self.has(VmFlags::GROWSDOWN)
    }

    /// Executable, not writable, and no stack (`is_exec_mapping`).
    #[inline]
    pub const fn is_exec(self) -> bool {
        self.has(VmFlags::EXEC) && !self.any(VmFlags(VmFlags::WRITE.0 | VmFlags::GROWSDOWN.0))
    }

    /// A private mapping that may become writable (`is_cow_mapping`).
    #[inline]
    pub const fn is_cow(self) -> bool {
        self.0 & (VmFlags::SHARED.0 | VmFlags::MAYWRITE.0) == VmFlags::MAYWRITE.0
    }

    /// Bits of a present entry in such an area (`vm_get_page_prot`); private areas never start writable.
    #[inline]
    pub fn page_prot(self) -> u64 {
        if !self.any(VmFlags::ACCESS) {
            return Pte::PROTNONE | Pte::ACCESSED | Pte::NX;
        }
        let mut bits = Pte::PRESENT | Pte::USER | Pte::ACCESSED;
        if self.has(VmFlags::WRITE.with(VmFlags::SHARED)) {
            bits |= Pte::RW;
        }
        if !self.has(VmFlags::EXEC) {
            bits |= Pte::NX;
        }
        bits
    }

    /// `rw-p`, as /proc/PID/maps prints.
    pub fn perms(self) -> String {
        let bit = |flag: VmFlags, on, off| if self.has(flag) { on } else { off };
        [
            bit(VmFlags::READ, 'r', '-'),
            bit(VmFlags::WRITE, 'w', '-'),
            bit(VmFlags::EXEC, 'x', '-'),
            bit(VmFlags::MAYSHARE, 's', 'p'),
        ]
        .iter()
        .collect()
    }
}

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

/// A mapping that is about to be made, for neighbours to say whether it could be theirs.
pub(crate) struct NewArea {
    /// Where it will be; nothing is there.
    pub range: Range<u64>,
    /// Its flags.
    pub flags: VmFlags,
    /// The file behind it.
    pub file: Option<FileId>,
    /// Its first page in the file; for anonymous memory the first address in pages.
    pub pgoff: u64,
    /// The area it continues, or is a copy of: anonymous pages will be found from there.
    pub like: Option<VmaId>,
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
        if let Some(file) = vma.file {
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

    /// The file that an area has by name.
    pub fn named_file(&self, vma: &Vma) -> Option<&MappedFile> {
        match vma.name {
            VmaName::File(place) => self.mapped_files.get(place as usize),
            _ => None,
        }
    }

    /// The first area that ends above an address (`find_vma`).
    #[inline]
    pub fn find_vma(&self, mm: MmId, addr: VirtAddr) -> Option<VmaId> {
        let mm = &self.mms[mm];
        if let Some(id) = mm.vma_cache
            && self.vmas.get(id).is_some_and(|v| v.contains(addr))
        {
            return Some(id);
        }
        mm.vmas.find(addr.0).map(|area| area.id)
    }

    /// The first area that touches `start..end` (`find_vma_intersection`).
    pub fn find_vma_intersection(&self, mm: MmId, start: u64, end: u64) -> Option<VmaId> {
        self.find_vma(mm, VirtAddr(start)).filter(|id| self.vmas[*id].start < end)
    }

    /// The area below an address that does not contain it.
    pub fn find_vma_prev(&self, mm: MmId, addr: u64) -> Option<VmaId> {
        self.mms[mm].vmas.below(addr).filter(|area| area.end <= addr).map(|area| area.id)
    }

    /// Areas of an address space, lowest first.
    pub fn areas(&self, mm: MmId) -> impl DoubleEndedIterator<Item = (VmaId, &Vma)> {
        self.mms[mm].vmas.iter().map(|area| (area.id, &self.vmas[area.id]))
    }

    /// Areas that touch `start..end`, lowest first.
    pub(crate) fn areas_in(&self, mm: MmId, start: u64, end: u64) -> Vec<VmaId> {
        let mut found = Vec::new();
        let mut next = self.mms[mm].vmas.find(start);
        while let Some(area) = next.filter(|area| area.start < end) {
            found.push(area.id);
            next = self.mms[mm].vmas.from(area.end);
        }
        found
    }

    /// The area that an address lies in (`vma_lookup`).
    pub fn vma_lookup(&self, mm: MmId, addr: u64) -> Option<VmaId> {
        self.find_vma(mm, VirtAddr(addr)).filter(|id| self.vmas[*id].start <= addr)
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
        let (mm, start, end, file) = (vma.mm, vma.start, vma.end, vma.file);
        let id = self.vmas.insert(vma);
        self.mms[mm].vmas.insert(Area { start, end, id });
        if let Some(file) = file {
            self.files[file].i_mmap.insert(self.vmas[id].interval(id));
        }
        id
    }

    /// Takes an area away; its pages are gone already.
    pub(crate) fn remove_vma(&mut self, id: VmaId) {
        self.unlink_anon_vmas(id);
        if let Some(vma) = self.vmas.remove(id) {
            let mm = &mut self.mms[vma.mm];
            mm.vmas.remove(vma.start);
            if mm.vma_cache == Some(id) {
                mm.vma_cache = None;
            }
            if let Some(object) = vma.object {
                self.free_kernel_object(KernelCache::VmArea, object);
            }
            if let Some(file) = vma.file {
                self.files[file].i_mmap.remove(vma.interval(id));
                self.iput(file);
            }
        }
    }

    /// Changes an area's borders (`__vma_adjust`).
    pub(crate) fn adjust_vma(&mut self, id: VmaId, start: u64, end: u64, pgoff: u64) {
        let vma = &mut self.vmas[id];
        let (old_start, shown, mapped) = (vma.start, vma.interval(id), vma.anon_interval(id));
        (vma.start, vma.end, vma.pgoff) = (start, end, pgoff);
        self.mms[vma.mm].vmas.resize(old_start, start..end);
        if let Some(file) = vma.file {
            self.files[file].i_mmap.replace(shown, vma.interval(id));
        }
        for anon in &vma.chain {
            self.anon_vmas[*anon].vmas.replace(mapped, vma.anon_interval(id));
        }
    }

    /// Cuts an area in two at `at`, if the process may have one more (`split_vma`).
    ///
    /// # Errors
    /// `ENOMEM` when the process has too many areas.
    pub(crate) fn split_vma(&mut self, id: VmaId, at: u64) -> Result<VmaId, Errno> {
        if self.mms[self.vmas[id].mm].vmas.len() as u64 >= self.sysctl.max_map_count {
            return Err(Errno::ENOMEM);
        }
        self.cut_vma(id, at)
    }

    /// Cuts an area in two; the lower part keeps the number, the upper one is returned (`__split_vma`).
    ///
    /// The limit is not asked: munmap may exceed it for a moment, because one of the parts goes away again.
    ///
    /// # Errors
    /// `ENOMEM` without memory for the structure.
    pub(crate) fn cut_vma(&mut self, id: VmaId, at: u64) -> Result<VmaId, Errno> {
        let vma = &self.vmas[id];
        debug_assert!(vma.start < at && at < vma.end);
        let mut upper = vma.clone();
        upper.start = at;
        upper.pgoff += (at - vma.start) >> PAGE_SHIFT;
        upper.chain = Vec::new();
        upper.anon_vma = None;
        let (start, end, pgoff) = (vma.start, vma.end, vma.pgoff);
        self.adjust_vma(id, start, at, pgoff);
        let new = match self.vm_area_alloc(upper) {
            Ok(new) => new,
            Err(errno) => {
                self.adjust_vma(id, start, end, pgoff);
                return Err(errno);
            }
        };
        self.anon_vma_inherit(new, id);
        Ok(new)
    }

    /// May pages of the two anon_vmas live in one area? (`is_mergeable_anon_vma`)
    fn mergeable_anon(&self, a: Option<AnonVmaId>, b: Option<AnonVmaId>, vma: Option<VmaId>) -> bool {
        // An area inherited by fork has a longer chain: merging it would tie the child to the parent for good.
        // Up to 6.14 one that has no pages at all (an empty chain) did not take in one that has, either.
        let newest = self.config.kernel_since(6, 15);
        let alone = |v: VmaId| self.vmas[v].chain.len() == 1 || (newest && self.vmas[v].chain.is_empty());
        if (a.is_none() || b.is_none()) && vma.is_none_or(alone) {
            return true;
        }
        a == b
    }

    /// Would an area with these flags and this file be one with it? (`is_mergeable_vma`)
    fn mergeable(&self, id: VmaId, flags: VmFlags, file: Option<FileId>) -> bool {
        let vma = &self.vmas[id];
        vma.flags.without(VmFlags::SOFTDIRTY) == flags.without(VmFlags::SOFTDIRTY)
            && vma.name == VmaName::None
            && vma.file == file
            && !file.is_some_and(|file| self.closes_with_area(file))
    }

    /// Could a mapping that begins with page `pgoff` be the area's continuation? (`can_vma_merge_after`)
    pub(crate) fn can_merge_after(
        &self,
        id: VmaId,
        flags: VmFlags,
        anon: Option<AnonVmaId>,
        file: Option<FileId>,
        pgoff: u64,
    ) -> bool {
        let vma = &self.vmas[id];
        self.mergeable(id, flags, file)
            && self.mergeable_anon(anon, vma.anon_vma, Some(id))
            && vma.pgoff + vma.pages() == pgoff
    }

    /// Could a mapping that ends before page `pgoff` be the area's beginning? (`can_vma_merge_before`)
    pub(crate) fn can_merge_before(
        &self,
        id: VmaId,
        flags: VmFlags,
        anon: Option<AnonVmaId>,
        file: Option<FileId>,
        pgoff: u64,
    ) -> bool {
        let vma = &self.vmas[id];
        self.mergeable(id, flags, file)
            && self.mergeable_anon(anon, vma.anon_vma, Some(id))
            && vma.pgoff == pgoff
    }

    /// Joins `start..end`, an existing area's part about to get `flags`, with its neighbours (`vma_merge`).
    ///
    /// ```text
    ///   prev ▒▒▒▒ next        1: all three become one      2: prev grows      3: next grows downwards
    /// ```
    pub(crate) fn vma_merge(&mut self, mid: VmaId, start: u64, end: u64, flags: VmFlags) -> Option<VmaId> {
        if flags.any(VmFlags::SPECIAL) {
            return None;
        }
        let (mm, anon, file) = (self.vmas[mid].mm, self.vmas[mid].anon_vma, self.vmas[mid].file);
        let pgoff = self.vmas[mid].pgoff + ((start - self.vmas[mid].start) >> PAGE_SHIFT);
        let pages = (end - start) >> PAGE_SHIFT;
        let prev = if self.vmas[mid].start < start { Some(mid) } else { self.find_vma_prev(mm, start) };
        let prev = prev.filter(|p| {
            *p != mid && self.vmas[*p].end == start && self.can_merge_after(*p, flags, anon, file, pgoff)
        });
        let next = self.mms[mm].vmas.get(end);
        let next = next.filter(|n| self.can_merge_before(*n, flags, anon, file, pgoff + pages));
        let whole = self.vmas[mid].start == start && self.vmas[mid].end == end;
        match (prev, next) {
            (Some(prev), Some(next))
                if whole && self.mergeable_anon(self.vmas[prev].anon_vma, self.vmas[next].anon_vma, None) =>
            {
                let (p_start, p_off, n_end) =
                    (self.vmas[prev].start, self.vmas[prev].pgoff, self.vmas[next].end);
                self.inherit_anon(prev, &[mid, next]);
                self.remove_vma(mid);
                self.remove_vma(next);
                self.adjust_vma(prev, p_start, n_end, p_off);
                Some(prev)
            }
            (Some(prev), _) => {
                let (p_start, p_off) = (self.vmas[prev].start, self.vmas[prev].pgoff);
                self.inherit_anon(prev, &[mid]);
                self.shrink_or_remove(mid, start, end);
                self.adjust_vma(prev, p_start, end, p_off);
                Some(prev)
            }
            (None, Some(next)) => {
                let n_end = self.vmas[next].end;
                self.inherit_anon(next, &[mid]);
                self.shrink_or_remove(mid, start, end);
                self.adjust_vma(next, start, n_end, pgoff);
                Some(next)
            }
            (None, None) => None,
        }
    }

    /// Gives `start..end` of an area other flags: it joins a neighbour, or is cut out (`vma_modify_flags`).
    ///
    /// # Errors
    /// `ENOMEM` when the process has too many areas; a cut that was made stays.
    pub(crate) fn vma_modify_flags(
        &mut self,
        id: VmaId,
        start: u64,
        end: u64,
        flags: VmFlags,
    ) -> Result<VmaId, Errno> {
        if let Some(merged) = self.vma_merge(id, start, end, flags) {
            return Ok(merged);
        }
        let id = if start > self.vmas[id].start { self.split_vma(id, start)? } else { id };
        if end < self.vmas[id].end {
            self.split_vma(id, end)?;
        }
        self.vmas[id].flags = flags;
        Ok(id)
    }

    /// Joins a new mapping, where nothing is, with its neighbours (`vma_merge`, cases 1 to 3).
    pub(crate) fn vma_merge_new(&mut self, mm: MmId, new: NewArea) -> Option<VmaId> {
        let NewArea { range: Range { start, end }, flags, file, pgoff, like } = new;
        if flags.any(VmFlags::SPECIAL) {
            return None;
        }
        let anon = like.and_then(|like| self.vmas[like].anon_vma);
        let pages = (end - start) >> PAGE_SHIFT;
        let prev = self.find_vma_prev(mm, start).filter(|p| self.vmas[*p].end == start);
        let prev = prev.filter(|p| self.can_merge_after(*p, flags, anon, file, pgoff));
        let next = self.mms[mm].vmas.get(end);
        let next = next.filter(|n| self.can_merge_before(*n, flags, anon, file, pgoff + pages));
        match (prev, next) {
            (Some(prev), next) => {
                let both = next
                    .filter(|n| self.mergeable_anon(self.vmas[prev].anon_vma, self.vmas[*n].anon_vma, None));
                let (p_start, p_off) = (self.vmas[prev].start, self.vmas[prev].pgoff);
                let p_end = both.map_or(end, |n| self.vmas[n].end);
                if let Some(next) = both {
                    self.inherit_anon(prev, &[next]);
                    self.remove_vma(next);
                }
                self.adjust_vma(prev, p_start, p_end, p_off);
                self.inherit_from(prev, like);
                Some(prev)
            }
            (None, Some(next)) => {
                let n_end = self.vmas[next].end;
                self.adjust_vma(next, start, n_end, pgoff);
                self.inherit_from(next, like);
                Some(next)
            }
            (None, None) => None,
        }
    }

    /// An area without anonymous pages that takes a copy in is tied to the original's.
    fn inherit_from(&mut self, id: VmaId, like: Option<VmaId>) {
        if let Some(like) = like.filter(|l| *l != id && self.vmas.get(*l).is_some()) {
            self.inherit_anon(id, &[like]);
        }
    }

    /// The part `start..end` of an area now belongs to a neighbour.
    fn shrink_or_remove(&mut self, id: VmaId, start: u64, end: u64) {
        let vma = &self.vmas[id];
        let (v_start, v_end, pgoff) = (vma.start, vma.end, vma.pgoff);
        if v_start == start && v_end == end {
            self.remove_vma(id);
        } else if v_start == start {
            self.adjust_vma(id, end, v_end, pgoff + ((end - start) >> PAGE_SHIFT));
        } else {
            self.adjust_vma(id, v_start, start, pgoff);
        }
    }

    /// An area that swallows others takes over the chain of the first that has anonymous pages.
    pub(crate) fn inherit_anon(&mut self, id: VmaId, others: &[VmaId]) {
        if self.vmas[id].anon_vma.is_some() {
            return;
        }
        if let Some(&from) = others.iter().find(|o| self.vmas[**o].anon_vma.is_some()) {
            self.anon_vma_inherit(id, from);
        }
    }
}

/// Rounds a length up to pages; `None` when it wraps.
pub fn page_align(len: u64) -> Option<u64> {
    len.checked_add(PAGE_SIZE - 1).map(|l| l & !(PAGE_SIZE - 1))
}
