//! What a script reads from the handle of a task, and the little it may write.
//!
//! Gorman 4.3. Kernel: `struct task_struct`, `struct mm_struct`.

use crate::mm::addr::PAGE_SHIFT;
use crate::mm::errno::Errno;
use crate::mm::task::{Exit, Mm, Rss};
use crate::script::answer::{ScriptResult, misuse};
use crate::script::bench::Bench;
use crate::script::handles::{TaskRef, VmaRef};
use rhai::Array;
use rhai::plugin::*;

/// What a script reads from the handle of a task.
#[export_module]
pub mod functions {
    /// The task's number.
    #[rhai_fn(get = "pid", pure)]
    pub fn pid(task: &mut TaskRef) -> i64 {
        task.pid.into()
    }

    /// The number of the task's thread group.
    #[rhai_fn(get = "tgid", pure, return_raw)]
    pub fn tgid(ctx: NativeCallContext, task: &mut TaskRef) -> ScriptResult<i64> {
        Ok(task.of(&Bench::of(&ctx).borrow())?.tgid.into())
    }

    /// The threads of the task's group that have not ended, by pid.
    #[rhai_fn(get = "threads", pure, return_raw)]
    pub fn threads(ctx: NativeCallContext, task: &mut TaskRef) -> ScriptResult<Array> {
        let bench = Bench::of(&ctx);
        let desk = bench.borrow();
        let pid = task.of(&desk)?.pid;
        let group = desk.machine.thread_group(pid);
        Ok(group.into_iter().map(|pid| Dynamic::from(TaskRef::new(&desk, pid))).collect())
    }

    /// The task's children that nobody has reaped.
    #[rhai_fn(get = "children", pure, return_raw)]
    pub fn children(ctx: NativeCallContext, task: &mut TaskRef) -> ScriptResult<Array> {
        let bench = Bench::of(&ctx);
        let desk = bench.borrow();
        let children = task.of(&desk)?.children.iter();
        Ok(children.map(|pid| Dynamic::from(TaskRef::new(&desk, *pid))).collect())
    }

    /// The user the task belongs to; only root may have more tasks than `RLIMIT_NPROC` says.
    #[rhai_fn(get = "uid", pure, return_raw)]
    pub fn uid(ctx: NativeCallContext, task: &mut TaskRef) -> ScriptResult<i64> {
        Ok(task.of(&Bench::of(&ctx).borrow())?.uid.into())
    }

    #[rhai_fn(set = "uid", return_raw)]
    pub fn write_uid(ctx: NativeCallContext, task: &mut TaskRef, uid: i64) -> ScriptResult<()> {
        let bench = Bench::of(&ctx);
        let pid = task.of(&bench.borrow())?.pid;
        let Ok(uid) = u32::try_from(uid) else { return misuse(format!("{uid} is no number of a user")) };
        if let Some(task) = bench.borrow_mut().machine.tasks.get_mut(&pid) {
            task.uid = uid;
        }
        Ok(())
    }

    /// The pid of the task whose child it is.
    #[rhai_fn(get = "ppid", pure, return_raw)]
    pub fn ppid(ctx: NativeCallContext, task: &mut TaskRef) -> ScriptResult<i64> {
        Ok(task.of(&Bench::of(&ctx).borrow())?.parent.into())
    }

    /// The task's name.
    #[rhai_fn(get = "comm", pure, return_raw)]
    pub fn comm(ctx: NativeCallContext, task: &mut TaskRef) -> ScriptResult<String> {
        Ok(task.of(&Bench::of(&ctx).borrow())?.comm.to_string())
    }

    /// True until the task ends.
    #[rhai_fn(get = "alive", pure, return_raw)]
    pub fn alive(ctx: NativeCallContext, task: &mut TaskRef) -> ScriptResult<bool> {
        Ok(task.of(&Bench::of(&ctx).borrow())?.is_alive())
    }

    /// How the task ended: its status, the signal, or `()` while it lives.
    #[rhai_fn(get = "exit", pure, return_raw)]
    pub fn how(ctx: NativeCallContext, task: &mut TaskRef) -> ScriptResult<Dynamic> {
        Ok(match task.of(&Bench::of(&ctx).borrow())?.state.exit() {
            None => Dynamic::UNIT,
            Some(Exit::Status(status)) => i64::from(status).into(),
            Some(Exit::Signal(signal)) => Dynamic::from(signal),
        })
    }

    /// Resident pages; those it had when it ended, for a dead task 0.
    #[rhai_fn(get = "rss", pure, return_raw)]
    pub fn rss(ctx: NativeCallContext, task: &mut TaskRef) -> ScriptResult<i64> {
        super::of_mm(&ctx, *task, Mm::resident)
    }

    /// Mapped pages.
    #[rhai_fn(get = "total_vm", pure, return_raw)]
    pub fn total_vm(ctx: NativeCallContext, task: &mut TaskRef) -> ScriptResult<i64> {
        super::of_mm(&ctx, *task, |mm| mm.total_vm)
    }

    /// Pages that lie in swap.
    #[rhai_fn(get = "swap", pure, return_raw)]
    pub fn swap(ctx: NativeCallContext, task: &mut TaskRef) -> ScriptResult<i64> {
        super::of_mm(&ctx, *task, |mm| mm.rss(Rss::Swap))
    }

    /// Pages of page tables.
    #[rhai_fn(get = "pgtables", pure, return_raw)]
    pub fn pgtables(ctx: NativeCallContext, task: &mut TaskRef) -> ScriptResult<i64> {
        super::of_mm(&ctx, *task, |mm| mm.pgtables_bytes >> PAGE_SHIFT)
    }

    /// Minor faults so far.
    #[rhai_fn(get = "minflt", pure, return_raw)]
    pub fn minflt(ctx: NativeCallContext, task: &mut TaskRef) -> ScriptResult<i64> {
        Ok(task.of(&Bench::of(&ctx).borrow())?.min_flt as i64)
    }

    /// Major faults so far.
    #[rhai_fn(get = "majflt", pure, return_raw)]
    pub fn majflt(ctx: NativeCallContext, task: &mut TaskRef) -> ScriptResult<i64> {
        Ok(task.of(&Bench::of(&ctx).borrow())?.maj_flt as i64)
    }

    /// What the user told the OOM killer.
    #[rhai_fn(get = "oom_score_adj", pure, return_raw)]
    pub fn oom_score_adj(ctx: NativeCallContext, task: &mut TaskRef) -> ScriptResult<i64> {
        Ok(task.of(&Bench::of(&ctx).borrow())?.oom_score_adj)
    }

    #[rhai_fn(set = "oom_score_adj", return_raw)]
    pub fn write_oom_score_adj(ctx: NativeCallContext, task: &mut TaskRef, n: i64) -> ScriptResult<()> {
        let bench = Bench::of(&ctx);
        let pid = task.of(&bench.borrow())?.pid;
        match bench.borrow_mut().machine.set_oom_score_adj(pid, n) {
            Ok(()) => Ok(()),
            Err(Errno::EINVAL) => misuse(format!("oom_score_adj is {n}, but must be from -1000 to 1000")),
            Err(errno) => misuse(format!("task {pid}: {errno}")),
        }
    }

    /// The task's areas, lowest first.
    #[rhai_fn(get = "vmas", pure, return_raw)]
    pub fn vmas(ctx: NativeCallContext, task: &mut TaskRef) -> ScriptResult<Array> {
        let bench = Bench::of(&ctx);
        let desk = bench.borrow();
        let Some(mm) = task.of(&desk)?.mm else { return Ok(Array::new()) };
        Ok(desk.machine.areas(mm).map(|(id, _)| Dynamic::from(VmaRef::new(&desk, id))).collect())
    }

    #[rhai_fn(global, name = "to_string", name = "to_debug", pure)]
    pub fn task_string(ctx: NativeCallContext, task: &mut TaskRef) -> String {
        task.text(&Bench::of(&ctx).borrow())
    }

    #[rhai_fn(name = "==")]
    pub fn task_equals(a: TaskRef, b: TaskRef) -> bool {
        a == b
    }

    #[rhai_fn(name = "!=")]
    pub fn task_differs(a: TaskRef, b: TaskRef) -> bool {
        a != b
    }
}

/// A number of the task's address space; 0 for a task without one.
fn of_mm(ctx: &NativeCallContext, task: TaskRef, number: impl Fn(&Mm) -> u64) -> ScriptResult<i64> {
    let bench = Bench::of(ctx);
    let desk = bench.borrow();
    let mm = task.of(&desk)?.mm;
    Ok(mm.and_then(|mm| desk.machine.mms.get(mm)).map_or(0, number) as i64)
}
