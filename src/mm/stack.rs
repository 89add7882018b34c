//! Kernel stacks: each task has a small one for its time in the kernel, and it cannot grow.
//!
//! ```text
//!        vmapped (x86_64, arm64)                      from the direct map (i386)
//!   top ┌─────────────────────┐                      ┌─────────────────────┐
//!       │ frames of functions │  16 KiB,             │ frames of functions │  8 KiB, one block of order 1
//!       │         ▼           │  4 single pages      │         ▼           │
//!  base │ STACK_END_MAGIC     │                      │ STACK_END_MAGIC     │
//!       ├─────────────────────┤                      ├─────────────────────┤
//!       │ guard page: no PTE  │  a fault, at once    │ somebody's page     │  overwritten, noticed later or never
//!       └─────────────────────┘                      └─────────────────────┘
//! ```
//!
//! Two stacks of tasks that ended wait on each CPU for the next fork.
//!
//! Kernel: `kernel/fork.c` (`alloc_thread_stack_node`, `account_kernel_stack`), `arch/x86/kernel/traps.c`
//! (`handle_stack_overflow`), `arch/arm64/kernel/traps.c`, `include/linux/sched/task_stack.h`.
//! Fidelity: faithful — sizes, who maps them, the cache, accounting, the reports. Simplified — what a stack holds is a
//! depth, which a script moves.

use crate::mm::addr::{Order, PAGE_SIZE, Pfn, VirtAddr};
use crate::mm::config::Arch;
use crate::mm::errno::{Errno, Oops};
use crate::mm::gfp::Gfp;
use crate::mm::machine::Machine;
use crate::mm::page::PageType;
use crate::mm::panic::Taint;
use crate::mm::task::Pid;
use crate::mm::vmstat::NodeStat;
use std::collections::BTreeMap;

/// Stacks that wait on each CPU (`NR_CACHED_STACKS`).
pub const NR_CACHED_STACKS: usize = 2;
/// The mask of a stack's pages (`THREADINFO_GFP`).
pub const THREADINFO_GFP: Gfp = Gfp(Gfp::KERNEL_ACCOUNT.0 | Gfp::ZERO.0);
/// What stands at the end of every stack (`STACK_END_MAGIC`).
pub const STACK_END_MAGIC: u32 = 0x57ac_6e9d;
/// Pages of the largest stack.
const MOST_PAGES: usize = 4;

impl Arch {
    /// The order of a kernel stack (`THREAD_SIZE_ORDER`).
    pub fn thread_size_order(self) -> Order {
        match self {
            Arch::X86_64 | Arch::Arm64 | Arch::Uml => Order::new(2).unwrap_or(Order::ZERO),
            Arch::I386 | Arch::I386Pae | Arch::Arm => Order::new(1).unwrap_or(Order::ZERO),
        }
    }

    /// Bytes of a kernel stack (`THREAD_SIZE`).
    pub fn thread_size(self) -> u64 {
        u64::from(self.thread_size_order().pages()) * PAGE_SIZE
    }

    /// Are kernel stacks mapped page by page, with a guard page below (`CONFIG_VMAP_STACK`)?
    pub fn has_vmap_stack(self) -> bool {
        matches!(self, Arch::X86_64 | Arch::Arm64)
    }
}

/// A kernel stack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ThreadStack {
    /// Its lowest address (`task->stack`).
    pub base: VirtAddr,
    /// Its pages; of a stack of the direct map the first one stands for all.
    pages: [Pfn; MOST_PAGES],
    /// It has a guard page.
    pub vmapped: bool,
    /// Bytes in use now.
    pub depth: u64,
    /// The most that was in use.
    pub deepest: u64,
}

/// The stacks of all tasks, and those that wait.
#[derive(Clone, Debug, Default)]
pub struct Stacks {
    of: BTreeMap<Pid, ThreadStack>,
    /// By CPU.
    cached: Vec<[Option<ThreadStack>; NR_CACHED_STACKS]>,
}

impl Stacks {
    /// Empty places for each CPU.
    pub fn new(cpus: usize) -> Stacks {
        Stacks { of: BTreeMap::new(), cached: vec![[None; NR_CACHED_STACKS]; cpus] }
    }

    /// The stack of a task; those of the boot have none of their own here.
    pub fn get(&self, pid: Pid) -> Option<&ThreadStack> {
        self.of.get(&pid)
    }

    /// Every task's stack.
    pub fn iter(&self) -> impl Iterator<Item = (Pid, &ThreadStack)> {
        self.of.iter().map(|(pid, stack)| (*pid, stack))
    }

    /// Stacks that wait on a CPU.
    pub fn cached(&self, cpu: usize) -> usize {
        self.cached.get(cpu).map_or(0, |places| places.iter().flatten().count())
    }

    /// Every stack that is there.
    fn all(&self) -> impl Iterator<Item = &ThreadStack> {
        self.of.values().chain(self.cached.iter().flatten().flatten())
    }
}

impl Machine {
    /// Gives a new task its stack: one that waits on this CPU, or new pages (`alloc_thread_stack_node`).
    ///
    /// # Errors
    /// `ENOMEM`; nothing is held then.
    pub(crate) fn alloc_thread_stack(&mut self, pid: Pid) -> Result<(), Errno> {
        let waiting = self.stacks.cached.get_mut(self.cpu.index());
        let cached = waiting.and_then(|places| places.iter_mut().find_map(Option::take));
        let stack = match cached {
            Some(stack) => ThreadStack { depth: 0, deepest: 0, ..stack },
            None if self.config.arch.has_vmap_stack() => self.map_thread_stack()?,
            None => {
                let order = self.config.arch.thread_size_order();
                let pfn = self.alloc_pages(THREADINFO_GFP, order)?;
                let base = self.phys_to_virt(pfn.phys());
                let pages = [pfn, Pfn::NIL, Pfn::NIL, Pfn::NIL];
                ThreadStack { base, pages, vmapped: false, depth: 0, deepest: 0 }
            }
        };
        self.account_kernel_stack(&stack, 1);
        self.stacks.of.insert(pid, stack);
        Ok(())
    }

    /// Single pages behind addresses of vmalloc's room, and a guard page (`__vmalloc_node_range`).
    fn map_thread_stack(&mut self) -> Result<ThreadStack, Errno> {
        let size = self.config.arch.thread_size();
        let gfp = THREADINFO_GFP.without(Gfp::ACCOUNT);
        let base = self.vmalloc_node_range(size, gfp, size, "dup_task_struct")?;
        let mut pages = [Pfn::NIL; MOST_PAGES];
        let area = self.vmalloc.area(base.0).map_or(&[][..], |area| &area.pages);
        pages.iter_mut().zip(area).for_each(|(page, pfn)| *page = *pfn);
        Ok(ThreadStack { base, pages, vmapped: true, depth: 0, deepest: 0 })
    }

    /// The tables of the first stacks are there from boot on: those of the kernel's own threads need them.
    pub(crate) fn make_stack_tables(&mut self) {
        if !self.config.arch.has_vmap_stack() {
            return;
        }
        let mut frames = self.unowned_frames(self.tables.geometry.levels().into()).into_iter();
        let start = VirtAddr(self.layout.vmalloc.start);
        // Without a frame for a table it is made when the first task needs it.
        let _ = self.make_kernel_tables(start, |m| {
            let pfn = frames.next().ok_or(Errno::ENOMEM)?;
            m.mem_map.page_mut(pfn).set_page_type(Some(PageType::Table));
            Ok(pfn)
        });
    }

    /// Counts a stack, or no longer (`account_kernel_stack`): page by page, for its pages may be on several nodes.
    fn account_kernel_stack(&mut self, stack: &ThreadStack, sign: i64) {
        let kb = if stack.vmapped { PAGE_SIZE } else { self.config.arch.thread_size() } / 1024;
        for pfn in stack.pages.into_iter().filter(|pfn| *pfn != Pfn::NIL) {
            let node = self.zones[self.mem_map.page(pfn).zone().index()].pgdat;
            self.nodes[node].mod_stat(NodeStat::KernelStackKb, sign * kb as i64);
        }
    }

    /// A task that ended has no stack any more: it waits for the next task, or goes (`free_thread_stack`).
    pub(crate) fn free_thread_stack(&mut self, pid: Pid) {
        let Some(stack) = self.stacks.of.remove(&pid) else { return };
        self.account_kernel_stack(&stack, -1);
        // Only mapped stacks are worth keeping: the mapping is what is slow.
        let places = self.stacks.cached.get_mut(self.cpu.index()).filter(|_| stack.vmapped);
        if let Some(place) = places.and_then(|places| places.iter_mut().find(|place| place.is_none())) {
            *place = Some(stack);
            return;
        }
        if stack.vmapped {
            self.unmap_thread_stack(&stack);
        } else {
            // Nobody else holds it, so nothing speaks against it.
            let _ = self.free_pages(stack.pages[0], self.config.arch.thread_size_order());
        }
    }

    fn unmap_thread_stack(&mut self, stack: &ThreadStack) {
        self.give_up_area(stack.base.0);
    }

    /// No stack waits any more (`free_vm_stack_cache`).
    pub(crate) fn free_vm_stack_cache(&mut self) {
        let waiting: Vec<ThreadStack> =
            self.stacks.cached.iter_mut().flatten().filter_map(Option::take).collect();
        waiting.iter().for_each(|stack| self.unmap_thread_stack(stack));
    }

    /// A function of the kernel is called that needs so many bytes of the task's stack; the stack pointer then.
    ///
    /// # Errors
    /// `ESRCH` for a task without a stack; the kernel's report when the stack is too small: nothing has changed.
    pub fn kstack_push(&mut self, pid: Pid, bytes: u64) -> Result<Result<VirtAddr, Errno>, Oops> {
        let size = self.config.arch.thread_size();
        let Some(&stack) = self.stacks.of.get(&pid) else { return Ok(Err(Errno::ESRCH)) };
        let depth = stack.depth.saturating_add(bytes);
        if depth > size {
            return Err(self.handle_stack_overflow(pid, &stack, depth - size));
        }
        if let Some(stack) = self.stacks.of.get_mut(&pid) {
            (stack.depth, stack.deepest) = (depth, stack.deepest.max(depth));
        }
        Ok(Ok(VirtAddr(stack.base.0 + size - depth)))
    }

    /// The function returns; the stack pointer then. More than is there is all of it.
    ///
    /// # Errors
    /// `ESRCH` for a task without a stack.
    pub fn kstack_pop(&mut self, pid: Pid, bytes: u64) -> Result<VirtAddr, Errno> {
        let size = self.config.arch.thread_size();
        let stack = self.stacks.of.get_mut(&pid).ok_or(Errno::ESRCH)?;
        stack.depth = stack.depth.saturating_sub(bytes);
        Ok(VirtAddr(stack.base.0 + size - stack.depth))
    }

    /// The stack was too small: a guard page stops it, or the end marker is found overwritten.
    fn handle_stack_overflow(&mut self, pid: Pid, stack: &ThreadStack, missing: u64) -> Oops {
        let arch = self.config.arch;
        let (begin, end) = (stack.base.0, stack.base.0 + arch.thread_size());
        let word = u64::from(arch.pointer_bytes());
        let comm = self.tasks.get(&pid).map(|task| task.comm).unwrap_or_default();
        let who = self.dump_stack_print_info(pid, comm);
        let size = arch.thread_size();
        let (lines, line, advice) = match arch {
            Arch::X86_64 => {
                let line = format!(
                    "BUG: TASK stack guard page was hit at {:016x} (stack is {begin:016x}..{end:016x})",
                    begin - word
                );
                let advice = format!(
                    "the stack of task {pid} holds {size} bytes, {missing} too few; the page below is not mapped, so the first \
                     word that did not fit is a fault"
                );
                (
                    vec![line.clone(), "stack guard page: 0000 [#1] PREEMPT SMP NOPTI".into(), who],
                    line,
                    advice,
                )
            }
            Arch::Arm64 => {
                let line = "Kernel panic - not syncing: kernel stack overflow".to_string();
                let lines = vec![
                    "Insufficient stack space to handle exception!".into(),
                    format!("FAR: 0x{:016x}", begin - word),
                    format!("Task stack:     [0x{begin:016x}..0x{end:016x}]"),
                    who,
                    line.clone(),
                ];
                let advice = format!(
                    "the stack of task {pid} holds {size} bytes, {missing} too few; the exception found no room to be \
                     handled on the same stack"
                );
                (lines, line, advice)
            }
            _ => {
                let line =
                    "Kernel panic - not syncing: corrupted stack end detected inside scheduler".to_string();
                let below =
                    stack.pages[0].0.checked_sub(1).map(Pfn).filter(|pfn| self.mem_map.contains(*pfn));
                let whose = match below.map(|pfn| self.mem_map.page(pfn)) {
                    Some(page) if page.refcount > 0 => "is in use: somebody's data is gone",
                    Some(_) => "happens to be free",
                    None => "is no memory",
                };
                let advice = format!(
                    "the stack of task {pid} holds {size} bytes, {missing} too few; no guard page is below it, so the end marker \
                     {STACK_END_MAGIC:#x} was overwritten, and the frame below, which {whose}; only the next schedule() noticed"
                );
                (vec![line.clone(), who], line, advice)
            }
        };
        lines.into_iter().for_each(|line| self.printk(line));
        if arch == Arch::X86_64 {
            // The others do not come back from it.
            self.add_taint(Taint::Die);
        }
        Oops::new(line, advice)
    }

    /// Every stack has its pages, and no two are at one address.
    pub(crate) fn first_wrong_stack(&self) -> Option<String> {
        let mut bases = std::collections::BTreeSet::new();
        for stack in self.stacks.all() {
            let free =
                stack.pages.iter().any(|pfn| *pfn != Pfn::NIL && self.mem_map.page(*pfn).refcount == 0);
            if free || !bases.insert(stack.base) {
                return Some(format!("the stack at {}: a page is free, or it is there twice", stack.base));
            }
        }
        let living = |pid: &Pid| self.tasks.contains_key(pid);
        self.stacks
            .of
            .keys()
            .find(|pid| !living(pid))
            .map(|pid| format!("task {pid} is gone, its stack is not"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stack_has_two_pages_or_four() {
        let sizes = [Arch::X86_64, Arch::Arm64, Arch::I386, Arch::I386Pae, Arch::Uml].map(Arch::thread_size);
        assert_eq!(sizes, [16384, 16384, 8192, 8192, 16384]);
    }
}
