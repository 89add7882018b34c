//! Kernel stacks.
//!
//! Kernel: `kernel/fork.c`, `include/linux/sched/task_stack.h`.

use crate::mm::Machine;
use crate::mm::errno::Errno;
use crate::script::answer::{OrErrno, ScriptResult, answer, misuse, oops};
use crate::script::args::{self, Address, Size, Who};
use crate::script::bench::Bench;
use crate::script::table::{Cell, Column, Table};
use rhai::plugin::*;

/// Kernel stacks.
#[export_module]
pub mod functions {
    /// The lowest address of a task's kernel stack.
    ///
    /// ```vmlab
    /// > let p = spawn("cc");
    /// > task_stack_page(p)
    /// 0xffffc90000000000
    /// > let q = fork(p);
    /// > task_stack_page(q) - task_stack_page(p)
    /// 32768
    /// ```
    ///
    /// Kernel: `task_stack_page`, `include/linux/sched/task_stack.h`. Gorman: 4.2.
    #[rhai_fn(return_raw)]
    pub fn task_stack_page(ctx: NativeCallContext, task: Who) -> ScriptResult<OrErrno<Address>> {
        let bench = Bench::of(&ctx);
        let desk = bench.borrow();
        let pid = args::who(&desk, &task)?;
        Ok(answer(desk.machine.stacks.get(pid).map(|stack| Address(stack.base.0)).ok_or(Errno::ESRCH)))
    }

    /// Calls a function of the kernel that needs so many bytes of a task's stack; answers the stack pointer.
    ///
    /// A stack cannot grow. Where it has a guard page, the first byte too many is a fault; where it has none, the end
    /// marker and somebody's page below are overwritten.
    ///
    /// ```vmlab
    /// > let p = spawn("deep");
    /// > kstack_push(p, 6000) - task_stack_page(p)
    /// 10384
    /// > kstacks()
    /// PID  STACK             END               USED  DEEPEST  MAPPED   COMM
    ///   3  ffffc90000000000  ffffc90000004000  6000     6000  vmapped  deep
    /// 16 KiB each; 0 wait for the next fork; nr_kernel_stack 16 kB
    /// > for n in 0..3 { kstack_push(p, 4000); }
    /// BUG: TASK stack guard page was hit at ffffc8fffffffff8 (stack is ffffc90000000000..ffffc90000004000)
    ///  --> 1:17
    ///   |
    /// 1 | for n in 0..3 { kstack_push(p, 4000); }
    ///   |                 ^^^^^^^^^^^
    ///   the stack of task 3 holds 16384 bytes, 1616 too few;
    ///     the page below is not mapped, so the first word that did not fit is a fault
    /// ```
    ///
    /// Kernel: `handle_stack_overflow`, `arch/x86/kernel/traps.c`. Gorman: 4.2.
    #[rhai_fn(return_raw)]
    pub fn kstack_push(ctx: NativeCallContext, task: Who, bytes: Size) -> ScriptResult<OrErrno<Address>> {
        let bytes = args::size("the frame", &bytes)?;
        let bench = Bench::of(&ctx);
        let mut desk = bench.borrow_mut();
        let pid = args::who(&desk, &task)?;
        Ok(answer(oops(desk.machine.kstack_push(pid, bytes))?.map(|addr| Address(addr.0))))
    }

    /// Returns from functions of the kernel that had so many bytes of the task's stack; answers the stack pointer.
    ///
    /// ```vmlab
    /// > let p = spawn("cc");
    /// > kstack_push(p, 1000);
    /// > kstack_pop(p, 1000) - task_stack_page(p)
    /// 16384
    /// ```
    ///
    /// Kernel: `current_stack_pointer`, `arch/x86/include/asm/asm.h`.
    #[rhai_fn(return_raw)]
    pub fn kstack_pop(ctx: NativeCallContext, task: Who, bytes: Size) -> ScriptResult<OrErrno<Address>> {
        let bytes = args::size("the frame", &bytes)?;
        let bench = Bench::of(&ctx);
        let mut desk = bench.borrow_mut();
        let pid = args::who(&desk, &task)?;
        Ok(answer(desk.machine.kstack_pop(pid, bytes).map(|addr| Address(addr.0))))
    }

    /// Every task's kernel stack: where it is, how it is mapped, how deep it is; and how many wait for the next fork.
    ///
    /// ```vmlab
    /// > let p = spawn("cc"); let q = spawn("ld");
    /// > exit(p);
    /// > kstacks()
    /// PID  STACK             END               USED  DEEPEST  MAPPED   COMM
    ///   4  ffffc90000008000  ffffc9000000c000     0        0  vmapped  ld
    /// 16 KiB each; 1 wait for the next fork; nr_kernel_stack 16 kB
    /// > boot("classic"); let p = spawn("cc"); kstacks()
    /// PID  STACK     END       USED  DEEPEST  MAPPED      COMM
    ///   3  c2c38000  c2c3a000     0        0  direct map  cc
    /// 8 KiB each; 0 wait for the next fork; nr_kernel_stack 8 kB
    /// ```
    ///
    /// Kernel: `alloc_thread_stack_node`, `kernel/fork.c`.
    /// Command: `kstacks`
    pub fn kstacks(ctx: NativeCallContext) -> Table {
        super::stacks(&Bench::of(&ctx).borrow().machine)
    }

    /// Bytes of a task's kernel stack that were never used.
    ///
    /// ```vmlab
    /// > let p = spawn("cc");
    /// > kstack_push(p, 5000); kstack_pop(p, 5000);
    /// > stack_not_used(p)
    /// 11384
    /// ```
    ///
    /// Kernel: `stack_not_used`, `include/linux/sched/task_stack.h`.
    #[rhai_fn(return_raw)]
    pub fn stack_not_used(ctx: NativeCallContext, task: Who) -> ScriptResult<i64> {
        let bench = Bench::of(&ctx);
        let desk = bench.borrow();
        let pid = args::who(&desk, &task)?;
        match desk.machine.stacks.get(pid) {
            Some(stack) => Ok((desk.machine.config.arch.thread_size() - stack.deepest) as i64),
            None => misuse(format!("task {pid} has no kernel stack: it has ended, or it was there at boot")),
        }
    }
}

fn stacks(machine: &Machine) -> Table {
    let size = machine.config.arch.thread_size();
    let rows = machine.stacks.iter().map(|(pid, stack)| {
        let comm = machine.tasks.get(&pid).map_or(String::new(), |task| task.comm.to_string());
        vec![
            pid.into(),
            Cell::Addr(stack.base.0),
            Cell::Addr(stack.base.0 + size),
            stack.depth.into(),
            stack.deepest.into(),
            if stack.vmapped { "vmapped" } else { "direct map" }.into(),
            comm.as_str().into(),
        ]
    });
    let columns = vec![
        Column::right("PID", 0),
        Column::left("STACK", 0),
        Column::left("END", 0),
        Column::right("USED", 0),
        Column::right("DEEPEST", 0),
        Column::left("MAPPED", 0),
        Column::left("COMM", 0),
    ];
    let table = Table::grid(columns, rows.collect());
    let records = table.records().to_vec();
    let waiting: usize = (0..machine.tlbs.len()).map(|cpu| machine.stacks.cached(cpu)).sum();
    let kb = machine.node_stat(crate::mm::vmstat::NodeStat::KernelStackKb);
    table
        .line(format!("{} KiB each; {waiting} wait for the next fork; nr_kernel_stack {kb} kB", size / 1024))
        .with_records(records)
}
