//! Mapping what an ELF file describes: segments, zeros behind them, what becomes read-only.
//!
//! Kernel: `fs/binfmt_elf.c` (`load_elf_binary`, `elf_map`, `set_brk`, `padzero`); glibc's `elf/dl-load.c` for what
//! ld.so does afterwards.
//! Fidelity: faithful — where segments, zeros and relro lie, what is charged. Simplified — no file is read.

use super::pages_of;
use super::program::{LD_SO, LD_SO_CACHE, Program};
use crate::mm::addr::{PAGE_SHIFT, PAGE_SIZE, VirtAddr};
use crate::mm::errno::Errno;
use crate::mm::machine::Machine;
use crate::mm::mmap::{map, prot};
use crate::mm::task::{MmId, Pid};
use crate::mm::vma::{VmFlags, VmaName, page_align};

/// The device that programs lie on: the first virtio disk.
pub const ROOT_DEVICE: (u32, u32) = (0xfe, 0);

/// Where a position-independent program lies without randomisation (`ELF_ET_DYN_BASE`).
fn et_dyn_base(task_size: u64) -> u64 {
    (task_size / 3 * 2) & !(PAGE_SIZE - 1)
}

impl Machine {
    /// Maps a program and its linker, and says where the heap begins (`load_elf_binary`).
    pub(super) fn load_elf_binary(&mut self, pid: Pid, mm: MmId, program: &Program) -> Result<(), Errno> {
        let random = |m: &mut Machine, bits: u32| {
            let on = m.randomize_va_space > 0;
            if on { m.dice.below(1 << bits) << PAGE_SHIFT } else { 0 }
        };
        let bias = if program.fixed { 0 } else { et_dyn_base(self.layout.task_size) + random(self, 28) };
        let end = self.map_image(mm, program, bias)?;
        let gap = if self.randomize_va_space > 1 { random(self, 13) } else { 0 };
        let text = program.segments.iter().filter(|s| s.prot & prot::EXEC != 0);
        let (first, last) = text.fold((u64::MAX, 0), |(a, b), s| (a.min(s.vaddr), b.max(s.vaddr + s.filesz)));
        let space = &mut self.mms[mm];
        space.code = bias + first..bias + last;
        space.data = program.segments.last().map_or(0..0, |s| bias + s.vaddr..bias + s.vaddr + s.filesz);
        (space.start_brk, space.brk) = (end + gap, end + gap);
        if program.needed.is_some() {
            let linker = Program::library(LD_SO).ok_or(Errno::ENOENT)?;
            let at = self.room_for(pid, mm, linker)?;
            self.map_image(mm, linker, at)?;
            self.protect_relro(pid, linker, at)?;
        } else {
            self.protect_relro(pid, program, bias)?;
        }
        Ok(())
    }

    /// What ld.so does before it starts the program: maps the libraries and protects what it relocated.
    pub(super) fn load_libraries(&mut self, pid: Pid, mm: MmId, program: &Program) -> Result<(), Errno> {
        let Some(needed) = program.needed else { return Ok(()) };
        let bias = self.mms[mm].code.start
            - program.segments.iter().find(|s| s.prot & prot::EXEC != 0).map_or(0, |s| s.vaddr);
        let anonymous = |m: &mut Machine, len| {
            m.mmap(pid, VirtAddr(0), len, prot::READ | prot::WRITE, map::PRIVATE | map::ANONYMOUS)
        };
        anonymous(self, 2 * PAGE_SIZE)?;
        let (path, len, inode) = LD_SO_CACHE;
        let cache = self.get_unmapped_area(pid, mm, 0, len, 0)?;
        let name = self.file_name(path, ROOT_DEVICE, inode);
        self.add_area(mm, cache..cache + len, self.file_flags(prot::READ), name, Some(0))?;
        for library in needed.iter().filter_map(|path| Program::library(path)) {
            let at = self.room_for(pid, mm, library)?;
            self.map_image(mm, library, at)?;
            self.protect_relro(pid, library, at)?;
        }
        // Thread-local storage of the first thread.
        anonymous(self, 3 * PAGE_SIZE)?;
        self.protect_relro(pid, program, bias)?;
        self.do_munmap(mm, cache, len)
    }

    fn room_for(&self, pid: Pid, mm: MmId, image: &Program) -> Result<u64, Errno> {
        self.get_unmapped_area(pid, mm, 0, page_align(image.span()).ok_or(Errno::ENOMEM)?, 0)
    }

    /// Maps a file's segments from `bias` on; one past their last page.
    fn map_image(&mut self, mm: MmId, image: &Program, bias: u64) -> Result<u64, Errno> {
        let name = self.file_name(image.path, ROOT_DEVICE, image.inode);
        let mut end = bias;
        for segment in image.segments {
            let start = bias + segment.vaddr;
            let range = pages_of(start, segment.filesz);
            let flags = self.file_flags(segment.prot);
            self.charge_area(flags, range.end - range.start)?;
            self.add_area(mm, range.clone(), flags, name, Some(segment.offset >> PAGE_SHIFT))?;
            end = range.end;
            if segment.memsz > segment.filesz {
                end = self.map_bss(mm, start + segment.filesz, start + segment.memsz)?;
            }
        }
        Ok(end)
    }

    /// Zeros behind a segment: the rest of its last page, then pages of their own (`set_brk`, `padzero`).
    fn map_bss(&mut self, mm: MmId, start: u64, end: u64) -> Result<u64, Errno> {
        let range = page_align(start).ok_or(Errno::ENOMEM)?..page_align(end).ok_or(Errno::ENOMEM)?;
        if range.start < range.end {
            let flags = VmFlags(prot::READ | prot::WRITE).with(VmFlags::MAY_ALL).with(VmFlags::ACCOUNT);
            let flags = self.soft_dirty(flags);
            self.charge_area(flags, range.end - range.start)?;
            self.add_area(mm, range.clone(), flags, VmaName::None, None)?;
        }
        if start & (PAGE_SIZE - 1) != 0 {
            self.faultin_page(mm, VirtAddr(start), true)?;
        }
        Ok(range.end)
    }

    /// What was relocated is written no more; the part of a page at its end stays writable.
    fn protect_relro(&mut self, pid: Pid, image: &Program, bias: u64) -> Result<(), Errno> {
        let (start, len) = image.relro;
        let from = (bias + start) & !(PAGE_SIZE - 1);
        let to = (bias + start + len) & !(PAGE_SIZE - 1);
        if to > from { self.mprotect(pid, VirtAddr(from), to - from, prot::READ) } else { Ok(()) }
    }

    /// Flags of a private mapping of a file.
    fn file_flags(&self, prot: u64) -> VmFlags {
        let flags = VmFlags(prot).with(VmFlags::MAY_ALL);
        let flags = if prot & prot::WRITE != 0 { flags.with(VmFlags::ACCOUNT) } else { flags };
        self.soft_dirty(flags)
    }

    fn soft_dirty(&self, flags: VmFlags) -> VmFlags {
        if self.config.arch.has_soft_dirty() { flags.with(VmFlags::SOFTDIRTY) } else { flags }
    }

    fn charge_area(&mut self, flags: VmFlags, bytes: u64) -> Result<(), Errno> {
        if flags.has(VmFlags::ACCOUNT) {
            let pages = bytes >> PAGE_SHIFT;
            self.vm_enough_memory(pages)?;
            self.committed_as += pages;
        }
        Ok(())
    }
}
