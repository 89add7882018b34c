//! Tasks as the crash utility shows them: who there is, who is meant, and a command for each.

mod context;
mod foreach;
pub mod limits;
pub mod list;
mod show;

use crate::script::answer::ScriptResult;
use crate::script::args::Who;
use crate::script::bench::Bench;
use crate::script::table::Table;
use crate::script::takes::CpuNumber;
use rhai::plugin::*;

/// Tasks as the crash utility shows them.
#[export_module]
pub mod functions {
    /// Lists the tasks: kernel threads in brackets, `>` before those that run on a CPU now, `DE` for the dead.
    ///
    /// Words choose among them as those of the command do: pids, names, `-k` kernel threads, `-u` user tasks, `-G` thread
    /// group leaders, `-A` the running ones, `-S` numbers only, `-r` limits, `-a` arguments, `-t` times, `-s` kernel stacks,
    /// `-m` who ran last.
    ///
    /// ```vmlab
    /// > let p = spawn("hog");
    /// > ps()
    ///       PID    PPID  CPU       TASK        ST  %MEM      VSZ      RSS  COMM
    ///         0       0   0  ffffffff82a1aa40  RU   0.0        0        0  [swapper/0]
    ///         1       0   0  ffff888000109840  IN   0.0        0        0  init
    ///         2       0   0  ffff88800010b080  IN   0.0        0        0  [kthreadd]
    ///         3       1   0  ffff888000400000  IN   0.0      156        4  hog
    /// >      24       2   0  ffff88800012e100  RU   0.0        0        0  [script]
    ///        33       2   0  ffff88800013c8c0  IN   0.0        0        0  [kcompactd0]
    ///        43       2   0  ffff88800014c8c0  IN   0.0        0        0  [kswapd0]
    /// > ps("-u").rows.map(|t| t.comm)
    /// "init"
    /// "hog"
    /// > ps("-S")
    ///   RU: 2
    ///   IN: 5
    /// > ps("nobody")
    /// error: ps: invalid task or pid value: nobody
    /// ```
    ///
    /// Kernel: `struct task_struct`, `include/linux/sched.h`. Gorman: 4.
    #[rhai_fn(return_raw)]
    pub fn ps(ctx: NativeCallContext) -> ScriptResult<Table> {
        super::show::ps(&Bench::of(&ctx).borrow(), "")
    }

    #[rhai_fn(name = "ps", return_raw)]
    pub fn ps_of(ctx: NativeCallContext, which: Who) -> ScriptResult<Table> {
        let bench = Bench::of(&ctx);
        let desk = bench.borrow();
        match which.read_lock::<ImmutableString>() {
            Some(words) => super::show::ps(&desk, &words),
            None => super::show::ps(&desk, &super::list::who(&desk, "ps", &which)?.pid.to_string()),
        }
    }

    /// Chooses the task that `vm`, `vtop` and the others are about when no task is named: `set` at the prompt.
    ///
    /// ```vmlab
    /// > let p = spawn("hog");
    /// > set_context(p)
    ///     PID: 3
    /// COMMAND: "hog"
    ///    TASK: ffff888000400000  [THREAD_INFO: ffff888000400000]
    ///     CPU: 0
    ///   STATE: TASK_INTERRUPTIBLE
    /// > vm().rows.len
    /// 3
    /// ```
    ///
    /// Kernel: `struct task_struct`, `include/linux/sched.h`.
    #[rhai_fn(return_raw)]
    pub fn set_context(ctx: NativeCallContext, p: Who) -> ScriptResult<Table> {
        let bench = Bench::of(&ctx);
        let task = super::list::who(&bench.borrow(), "set", &p)?;
        bench.borrow_to_look().context = task.pid;
        Ok(super::context::context(&task))
    }

    #[rhai_fn(name = "set_context", return_raw)]
    pub fn context_now(ctx: NativeCallContext) -> ScriptResult<Table> {
        let bench = Bench::of(&ctx);
        let desk = bench.borrow();
        Ok(super::context::context(&super::list::who(&desk, "set", &Dynamic::UNIT)?))
    }

    /// Chooses the task that a CPU runs, its idle task when it has nothing to do: `set -c` at the prompt.
    ///
    /// ```vmlab
    /// > set -c 0 | grep COMMAND
    /// COMMAND: "script"
    /// > set -c 9
    /// set: invalid cpu number: 9: this machine has CPU 0
    /// ```
    ///
    /// Kernel: `idle_task`, `kernel/sched/core.c`.
    #[rhai_fn(return_raw)]
    pub fn set_context_to_cpu(ctx: NativeCallContext, cpu: CpuNumber) -> ScriptResult<Table> {
        let bench = Bench::of(&ctx);
        let task = super::list::on_cpu(&bench.borrow().machine, cpu)?;
        bench.borrow_mut().context = task.pid;
        Ok(super::context::context(&task))
    }

    /// What stands in a task's structure: `task` at the prompt.
    ///
    /// ```vmlab
    /// > let p = spawn("hog");
    /// > task_struct(p).rows[0].comm
    /// hog
    /// > task 3 | head -4
    /// PID: 3        TASK: ffff888000400000  CPU: 0    COMMAND: "hog"
    /// struct task_struct {
    ///   __state = 1,
    ///   on_cpu = 0,
    /// ```
    ///
    /// Kernel: `struct task_struct`, `include/linux/sched.h`. Gorman: 4.3.
    #[rhai_fn(return_raw)]
    pub fn task_struct(ctx: NativeCallContext, p: Who) -> ScriptResult<Table> {
        let bench = Bench::of(&ctx);
        let desk = bench.borrow();
        let task = super::list::who(&desk, "task", &p)?;
        Ok(super::context::structure(&desk.machine, &task))
    }

    /// Does a command for each task: `vm`, `vtop ADDR`, `set`, `task`, `ps`.
    ///
    /// Words before the command choose tasks: pids, names, `user`, `kernel`.
    ///
    /// ```vmlab
    /// > spawn("a"); spawn("b");
    /// > foreach("a b set")
    ///     PID: 3
    /// COMMAND: "a"
    ///    TASK: ffff888000400000  [THREAD_INFO: ffff888000400000]
    ///     CPU: 0
    ///   STATE: TASK_INTERRUPTIBLE
    ///
    ///     PID: 4
    /// COMMAND: "b"
    ///    TASK: ffff888000401840  [THREAD_INFO: ffff888000401840]
    ///     CPU: 0
    ///   STATE: TASK_INTERRUPTIBLE
    ///
    /// > foreach("vm").rows.len
    /// 6
    /// > foreach("dance")
    /// error: foreach: which command? one of vm, vtop, set, task, ps
    /// ```
    ///
    /// Kernel: `for_each_process`, `include/linux/sched/signal.h`.
    #[rhai_fn(return_raw)]
    pub fn foreach(ctx: NativeCallContext, words: &str) -> ScriptResult<Table> {
        super::foreach::foreach(&Bench::of(&ctx).borrow(), words)
    }

    #[rhai_fn(name = "foreach", return_raw)]
    pub fn foreach_with(ctx: NativeCallContext, command: &str, words: &str) -> ScriptResult<Table> {
        super::foreach::foreach(&Bench::of(&ctx).borrow(), &format!("{command} {words}"))
    }
}
