//! A new program: execve, and what an address space looks like after it.
//!
//! ```text
//!   0x400000        static program: text, data, bss, and the heap behind it
//!   0x555555554000  position-independent program, and the heap behind it
//!        ⋮          free
//!   0x7ffff7…       libc.so.6, its data, ld.so, [vvar], [vdso]      mmap goes on below them, downwards
//!   0x7ffffffde000  [stack], 132 KiB, grows downwards
//! ```
//!
//! Gorman 4.1, 4.3. Kernel: `fs/exec.c`, `fs/binfmt_elf.c`, `arch/x86/mm/mmap.c`, `arch/x86/entry/vdso/vma.c`.
//! Fidelity: faithful — segments, bss, relro, `mmap_base` of the stack's limit, where the heap begins, the areas that
//! ld.so makes; addresses without randomisation unless `kernel.randomize_va_space` is on. Simplified — programs are
//! descriptions, nothing of them is executed: ld.so's own page faults do not happen.

pub mod elf;
pub mod program;
pub mod recorded;

use crate::mm::addr::{PAGE_SHIFT, PAGE_SIZE, VirtAddr};
use crate::mm::errno::{Errno, Signal};
use crate::mm::machine::{Comm, Machine};
use crate::mm::task::{Exit, MmId, Pid, Rlimits};
use crate::mm::vma::{VmFlags, Vma, VmaName, page_align};
use program::Program;

/// Pages of a fresh stack: 132 KiB.
const STACK_PAGES: u64 = 33;
/// Room that is always left for the stack above the area of mmap.
const MIN_GAP: u64 = 128 << 20;

impl Machine {
    /// Replaces a task's program (`execve`): other threads of its group end, the address space is new.
    ///
    /// # Errors
    /// `ESRCH`; `ENOENT` without such a program; `ENOMEM` while the old program can still go on. Later, the kernel
    /// has no way back, and a task without memory for its new program is killed.
    pub fn execve(&mut self, pid: Pid, file: &str) -> Result<(), Errno> {
        self.mm_of(pid)?;
        let program = Program::find(file).ok_or(Errno::ENOENT)?;
        let mm = self.as_task(pid, |m| m.mm_alloc())?;
        if let Err(e) = self.as_task(pid, |m| m.setup_stack(pid, mm)) {
            self.mmput(mm);
            return Err(e);
        }
        // The point of no return.
        self.replace_mm(pid, mm, program.comm());
        let loaded = self.as_task(pid, |m| m.setup_program(pid, mm, Some(program)));
        let dying = self.tasks.get(&pid).is_some_and(|t| t.oom_victim);
        if loaded.is_err() || dying {
            self.do_group_exit(pid, Exit::Signal(Signal::Kill));
            return loaded.and(Err(Errno::ENOMEM));
        }
        Ok(())
    }

    /// The old program is gone: its threads, its memory, its name (`begin_new_exec`).
    pub(crate) fn replace_mm(&mut self, pid: Pid, mm: MmId, comm: &str) {
        self.de_thread(pid);
        self.exec_mmap(pid, mm);
        if let Some(task) = self.tasks.get_mut(&pid) {
            task.comm = Comm::new(comm);
            // Handlers went with the old program.
            task.catches_faults = false;
        }
    }

    /// The other threads of the group end; who called becomes the leader and takes its pid (`de_thread`).
    fn de_thread(&mut self, pid: Pid) {
        for thread in self.thread_group(pid).into_iter().filter(|thread| *thread != pid) {
            self.do_exit(thread, Exit::Signal(Signal::Kill));
        }
    }

    /// The new address space takes the place of the old one (`exec_mmap`).
    fn exec_mmap(&mut self, pid: Pid, mm: MmId) {
        self.complete_vfork(pid);
        let Some(task) = self.tasks.get_mut(&pid) else { return };
        let Some(old) = task.mm.replace(mm) else { return };
        task.usage.maxrss = task.usage.maxrss.max(self.mms[old].hiwater_rss);
        for tlb in self.tlbs.iter_mut().filter(|tlb| tlb.ready == pid) {
            tlb.ready = 0;
        }
        self.mmput(old);
    }

    /// Fills the address space of a task that begins.
    pub(crate) fn load_program(&mut self, pid: Pid, mm: MmId, comm: &str) -> Result<(), Errno> {
        self.as_task(pid, |m| {
            m.setup_stack(pid, mm)?;
            m.setup_program(pid, mm, Program::find(comm))
        })
    }

    /// Where mmap begins to search, downwards: below the room that the stack may want (`arch_pick_mmap_layout`).
    pub(crate) fn arch_pick_mmap_layout(&mut self, mm: MmId, limits: &Rlimits) {
        const STACK_GUARD_GAP: u64 = 256 << PAGE_SHIFT;
        let gap = limits.stack.saturating_add(STACK_GUARD_GAP).clamp(MIN_GAP, self.layout.task_size / 6 * 5);
        let wide = self.config.arch.is_64bit();
        let random = if self.randomize_va_space > 0 {
            self.dice.below(if wide { 1 << 28 } else { 1 << 8 }) << PAGE_SHIFT
        } else {
            0
        };
        self.mms[mm].mmap_base = (self.layout.stack_top - gap - random).next_multiple_of(PAGE_SIZE);
    }

    /// The stack, and its first page with arguments and environment (`setup_arg_pages`).
    fn setup_stack(&mut self, pid: Pid, mm: MmId) -> Result<(), Errno> {
        let limits = self.tasks[&pid].rlimits;
        self.arch_pick_mmap_layout(mm, &limits);
        let flags = VmFlags(3).with(VmFlags::MAY_ALL).with(VmFlags::GROWSDOWN).with(VmFlags::ACCOUNT);
        let wide = self.config.arch.is_64bit();
        let random = if self.randomize_va_space > 0 {
            self.dice.below(if wide { 1 << 22 } else { 1 << 11 }) << PAGE_SHIFT
        } else {
            0
        };
        let end = self.layout.stack_top - random;
        self.vm_enough_memory(STACK_PAGES)?;
        self.committed_as += STACK_PAGES;
        self.add_area(mm, end - STACK_PAGES * PAGE_SIZE..end, flags, VmaName::None, None)?;
        self.mms[mm].start_stack = end - PAGE_SIZE;
        // Arguments and environment are copied by execve itself.
        self.faultin_page(mm, VirtAddr(end - PAGE_SIZE), true)
    }

    /// Everything above the stack's first page: the program's segments, its libraries, the kernel's two areas.
    fn setup_program(&mut self, pid: Pid, mm: MmId, program: Option<&'static Program>) -> Result<(), Errno> {
        if let Some(program) = program {
            self.load_elf_binary(pid, mm, program)?;
        }
        self.map_vdso(pid, mm)?;
        if let Some(program) = program {
            self.load_libraries(pid, mm, program)?;
        }
        Ok(())
    }

    /// The kernel's data page and code that every program sees (`map_vdso`).
    fn map_vdso(&mut self, pid: Pid, mm: MmId) -> Result<(), Errno> {
        let fixed = VmFlags::READ.with(VmFlags::MAYREAD).with(VmFlags::DONTEXPAND).with(VmFlags::DONTDUMP);
        let fixed = if self.config.arch.has_soft_dirty() { fixed.with(VmFlags::SOFTDIRTY) } else { fixed };
        let base = self.get_unmapped_area(pid, mm, 0, 0x6000, 0)?;
        let data = fixed.with(VmFlags::IO).with(VmFlags::PFNMAP);
        self.add_area(mm, base..base + 0x4000, data, VmaName::Vvar, None)?;
        let code = fixed
            .with(VmFlags::EXEC)
            .with(VmFlags::MAYWRITE)
            .with(VmFlags::MAYEXEC)
            .without(VmFlags::DONTDUMP);
        self.add_area(mm, base + 0x4000..base + 0x6000, code, VmaName::Vdso, None)
    }

    /// Puts an area into an address space that is being made; `file` is its first page in its file.
    pub(crate) fn add_area(
        &mut self,
        mm: MmId,
        range: std::ops::Range<u64>,
        flags: VmFlags,
        name: VmaName,
        file: Option<u64>,
    ) -> Result<(), Errno> {
        let pgoff = file.unwrap_or(range.start >> PAGE_SHIFT);
        self.add_vma(Vma { name, ..Vma::new(mm, range, flags, pgoff) })
    }

    /// The same, of an area as it shall be.
    pub(crate) fn add_vma(&mut self, vma: Vma) -> Result<(), Errno> {
        let (mm, flags, pages) = (vma.mm, vma.flags, vma.pages());
        let made = self.vm_area_alloc(vma);
        // It was charged before.
        made.inspect_err(|_| self.committed_as -= if flags.has(VmFlags::ACCOUNT) { pages } else { 0 })?;
        self.vm_stat_account(mm, flags, pages as i64);
        Ok(())
    }
}

/// The page that holds an address, and the first page behind it.
pub(crate) fn pages_of(start: u64, len: u64) -> std::ops::Range<u64> {
    start & !(PAGE_SIZE - 1)..page_align(start + len).unwrap_or(u64::MAX)
}
