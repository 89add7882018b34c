//! An address space as somebody recorded it: areas that were not made by calls here.
//!
//! Fidelity: faithful — /proc/PID/maps of it reads as the recording. Simplified — a file none of whose pages was in
//! memory is a name without contents.

mod resident;

pub use resident::Resident;

use crate::mm::addr::{PAGE_SHIFT, PAGE_SIZE, VirtAddr};
use crate::mm::errno::Errno;
use crate::mm::fs::{FileId, MAX_BYTES};
use crate::mm::machine::Machine;
use crate::mm::task::{MmId, Pid};
use crate::mm::vma::{VmFlags, Vma, VmaName};

/// An area of a recorded address space.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecordedArea {
    /// First address.
    pub start: u64,
    /// One past the last address.
    pub end: u64,
    /// What it allows, and what else is known of it.
    pub flags: VmFlags,
    /// Offset into the file, in bytes.
    pub offset: u64,
    /// Major and minor number of the file's device.
    pub device: (u32, u32),
    /// The file's inode number.
    pub inode: u64,
    /// The path, or the words in brackets; empty for none.
    pub name: String,
    /// Pages of it that had been written: its own, in memory or in swap; of a shared area pages of the file.
    pub written: u64,
    /// Pages of its file that were in memory, as they are on the disk.
    pub read: u64,
}

impl Machine {
    /// Starts a task with a recorded address space.
    ///
    /// # Errors
    /// `EAGAIN` when there are too many tasks; `EINVAL` for areas that overlap; `ENOMEM`. Nothing stays behind then.
    pub fn spawn_recorded(&mut self, comm: &str, areas: &[RecordedArea]) -> Result<Pid, Errno> {
        let (mut end, whole) =
            (0, |a: &RecordedArea| (a.start | a.end).is_multiple_of(PAGE_SIZE) && a.start < a.end);
        for area in areas {
            if area.start < end || !whole(area) {
                return Err(Errno::EINVAL);
            }
            end = area.end;
        }
        let pid = self.spawn_empty(comm)?;
        let mm = self.mm_of(pid)?;
        if let Err(e) = areas.iter().try_for_each(|area| self.add_recorded(mm, area)) {
            self.exit_task(pid, 1)?;
            return Err(e);
        }
        self.find_layout(mm, areas);
        Ok(pid)
    }

    /// Replaces a task's program by one that was recorded: its areas, or a bare stack when nobody wrote them down.
    ///
    /// # Errors
    /// `ESRCH`, `ENOMEM`.
    pub fn exec_recorded(&mut self, pid: Pid, comm: &str, areas: &[RecordedArea]) -> Result<(), Errno> {
        self.mm_of(pid)?;
        let mm = self.as_task(pid, |m| m.mm_alloc())?;
        let filled = if areas.is_empty() {
            self.load_program(pid, mm, "")
        } else {
            areas.iter().try_for_each(|area| self.add_recorded(mm, area))
        };
        if let Err(e) = filled {
            self.mmput(mm);
            return Err(e);
        }
        if !areas.is_empty() {
            self.find_layout(mm, areas);
        }
        self.replace_mm(pid, mm, comm);
        Ok(())
    }

    /// The areas of an address space, as a recording would have them.
    pub fn recorded(&self, mm: MmId) -> Vec<RecordedArea> {
        let areas = self.areas(mm).map(|(_, vma)| {
            let shown = self.shown_file(vma);
            RecordedArea {
                start: vma.start,
                end: vma.end,
                flags: vma.flags,
                offset: shown.offset,
                device: shown.device,
                inode: shown.inode,
                name: self.vma_name(vma).into(),
                written: 0,
                read: 0,
            }
        });
        areas.collect()
    }

    /// Puts one recorded area into an address space.
    pub(crate) fn add_recorded(&mut self, mm: MmId, area: &RecordedArea) -> Result<(), Errno> {
        let mut flags = area.flags;
        let private =
            flags.has(VmFlags::WRITE) && !flags.any(VmFlags(VmFlags::SHARED.0 | VmFlags::NORESERVE.0));
        if private && !area.name.starts_with("[v") {
            flags = flags.with(VmFlags::ACCOUNT);
        }
        let plain = area.inode == 0 && area.device == (0, 0) && area.offset == 0;
        let name = match area.name.as_str() {
            "" if plain => VmaName::None,
            "[heap]" | "[stack]" if plain => VmaName::None,
            "[vdso]" => VmaName::Vdso,
            "[vvar]" => VmaName::Vvar,
            name => self.file_name(name, area.device, area.inode),
        };
        if area.name == "[stack]" {
            flags = flags.with(VmFlags::GROWSDOWN);
        }
        let pgoff = if matches!(name, VmaName::File(_)) { area.offset } else { area.start } >> PAGE_SHIFT;
        let vma = Vma { name, ..Vma::new(mm, area.start..area.end, flags, pgoff) };
        match self.file_of_recorded(area) {
            None => self.add_charged(vma),
            Some(file) => self.with_file(file, |m| {
                let writenotify = m.files[file].can_writeback();
                m.add_charged(Vma { file: Some(file), writenotify, ..vma })
            }),
        }
    }

    /// Adds an area after what it may need has been promised.
    fn add_charged(&mut self, vma: Vma) -> Result<(), Errno> {
        if vma.flags.has(VmFlags::ACCOUNT) {
            self.vm_enough_memory(vma.pages())?;
            self.committed_as += vma.pages();
        }
        self.add_vma(vma)
    }

    /// The file behind an area of which pages of a file were in memory; it is made if nobody made it yet.
    fn file_of_recorded(&mut self, area: &RecordedArea) -> Option<FileId> {
        let wanted = area.read > 0 || (area.written > 0 && area.flags.has(VmFlags::SHARED));
        let end = area.offset.checked_add(area.end - area.start).filter(|end| *end <= MAX_BYTES)?;
        if !wanted || !area.name.starts_with('/') || area.name.ends_with(" (deleted)") {
            return None;
        }
        let file = self.lookup_file(&area.name).or_else(|_| self.create_file(&area.name, end)).ok()?;
        // Nobody says how long it is: as long as what is mapped of it.
        self.files[file].size = self.files[file].size.max(end);
        Some(file)
    }

    /// Where the heap, the stack and the area of mmap lie, as the names of areas tell.
    fn find_layout(&mut self, mm: MmId, areas: &[RecordedArea]) {
        let is_heap = |a: &&RecordedArea| a.name == "[heap]";
        let space = &mut self.mms[mm];
        if let (Some(first), Some(last)) = (areas.iter().find(is_heap), areas.iter().rfind(is_heap)) {
            (space.start_brk, space.brk) = (first.start, last.end);
        } else {
            // Above everything, also above a stack at the very end: no area is taken for a heap.
            let above = self.layout.task_size + PAGE_SIZE;
            (space.start_brk, space.brk) = (above, above);
        }
        let stack = areas.iter().rfind(|a| a.name == "[stack]");
        space.start_stack = stack.map_or(0, |s| s.end - 8);
        let below = |a: &&RecordedArea| stack.is_some_and(|s| a.end <= s.start && s.start - a.end < 1 << 40);
        if let Some(top) = areas.iter().rfind(below) {
            space.mmap_base = top.end;
        }
        // Areas that the rules of names would call otherwise keep the name that was recorded.
        for area in areas.iter().filter(|a| matches!(a.name.as_str(), "" | "[heap]" | "[stack]")) {
            let Some(id) = self.mms[mm].vmas.get(area.start) else { continue };
            if self.vmas[id].name == VmaName::None && self.vma_name(&self.vmas[id]) != area.name {
                self.vmas[id].name = self.file_name(&area.name, area.device, area.inode);
            }
        }
    }

    /// Maps memory as a log says: a file is known by its path and the first page of it.
    ///
    /// # Errors
    /// As [`Machine::mmap`].
    pub fn mmap_by_name(
        &mut self,
        pid: Pid,
        addr: VirtAddr,
        len: u64,
        prot: u64,
        flags: u64,
        file: Option<(&str, u64)>,
    ) -> Result<VirtAddr, Errno> {
        let Some((path, pgoff)) = file else { return self.mmap(pid, addr, len, prot, flags) };
        let id = match self.lookup_file(path) {
            Ok(id) => id,
            Err(_) => self.create_file(path, 0)?,
        };
        // The log does not say how long a file is: as long as what is mapped of it.
        let end = (pgoff << PAGE_SHIFT).saturating_add(len);
        self.files[id].size = self.files[id].size.max(end);
        self.mmap_file(pid, addr, len, prot, flags, (id, pgoff))
    }
}
