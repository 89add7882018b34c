//! Tasks: they begin, copy themselves, and end.
//!
//! Gorman chapter 4. Kernel: `kernel/fork.c`, `kernel/exit.c`.

mod properties;
mod vma;

use crate::mm::addr::VirtAddr;
use crate::mm::errno::Signal;
use crate::mm::exec::program::Program;
use crate::mm::fork::clone_flags;
use crate::mm::task::{Exit, Rss, Task};
use crate::script::answer::{OrErrno, ScriptResult, answer, misuse};
use crate::script::args::{self, Who};
use crate::script::bench::{Bench, Desk};
use crate::script::handles::{TaskRef, VmaRef};
use crate::script::mmap::traced_call;
use crate::script::strace;
use crate::script::takes::TaskPid;
use rhai::plugin::*;
use rhai::{Array, FnPtr, Map};

/// All of the chapter.
pub fn module() -> Module {
    let mut module = exported_module!(functions);
    combine_with_exported_module!(&mut module, "properties", properties::functions);
    combine_with_exported_module!(&mut module, "vma", vma::functions);
    module
}

/// Tasks: they begin, copy themselves, and end.
#[export_module]
pub mod functions {
    /// Starts a task with a fresh address space, as execve leaves it.
    ///
    /// Returns its handle, `EAGAIN` when there are too many tasks, or `ENOMEM`.
    ///
    /// ```vmlab
    /// > let p = spawn("hog")
    /// task 3 hog rss=1 total_vm=39 swap=0
    /// > p.alive
    /// true
    /// > p.rss
    /// 1
    /// ```
    ///
    /// Kernel: `kernel_clone`, `begin_new_exec`. Gorman: 4.3.
    #[rhai_fn(return_raw)]
    pub fn spawn(ctx: NativeCallContext, comm: &str) -> ScriptResult<OrErrno<TaskRef>> {
        let bench = Bench::of(&ctx);
        let mut desk = bench.borrow_mut();
        crate::script::memblock::late(&desk)?;
        if comm.is_empty() || comm.chars().any(char::is_control) {
            return misuse(format!(
                "{comm:?} is no name for a task: one character at least, and none that breaks a line"
            ));
        }
        let pid = desk.machine.spawn(comm);
        super::alive(&desk)?;
        Ok(answer(pid.map(|pid| TaskRef::new(&desk, pid))))
    }

    /// Copies a task: pages are shared until one side writes.
    ///
    /// Returns the child's handle, `ESRCH`, `EAGAIN` when there are too many tasks, or `ENOMEM`.
    ///
    /// ```vmlab
    /// > let p = spawn("shell");
    /// > let child = fork(p);
    /// > child.ppid == p.pid
    /// true
    /// > exit(p);
    /// > fork(p)
    /// ESRCH (No such process)
    /// ```
    ///
    /// Kernel: `kernel_clone`, `dup_mm`. Gorman: 4.3.
    #[rhai_fn(return_raw)]
    pub fn fork(ctx: NativeCallContext, p: Who) -> ScriptResult<OrErrno<TaskRef>> {
        super::clone_task(&ctx, &p, "fork()", 0)
    }

    /// Starts a task that shares what the flags say: `CLONE_VM` the address space.
    ///
    /// With `CLONE_VM|CLONE_SIGHAND|CLONE_THREAD` it is one more thread of the group. Returns the handle, `EINVAL` for
    /// flags that do not go together, or what `fork` refuses.
    ///
    /// ```vmlab
    /// > let p = spawn("server");
    /// > let t = clone(p, CLONE_VM|CLONE_SIGHAND|CLONE_THREAD);
    /// > t.tgid == p.pid
    /// true
    /// > p.threads.len
    /// 2
    /// > exit(p); t.alive
    /// false
    /// > clone(spawn("a"), CLONE_THREAD)
    /// EINVAL (Invalid argument)
    /// ```
    ///
    /// Kernel: `kernel_clone`, `copy_process`. Gorman: 4.3.
    #[rhai_fn(return_raw)]
    pub fn clone(ctx: NativeCallContext, p: Who, flags: i64) -> ScriptResult<OrErrno<TaskRef>> {
        let unknown = flags as u64 & !clone_flags::KNOWN;
        if unknown != 0 {
            return misuse(format!(
                "clone: the bits {unknown:#x} are not simulated; known are CLONE_VM, CLONE_FS, CLONE_FILES, \
                 CLONE_SIGHAND, CLONE_THREAD, CLONE_VFORK, CLONE_PARENT and what a C library adds"
            ));
        }
        let shown = format!("clone(child_stack=NULL, flags={})", strace::clone_names(flags as u64));
        super::clone_task(&ctx, &p, &shown, flags as u64)
    }

    /// Starts a child that borrows the address space; the parent sleeps until it calls exec or exit.
    ///
    /// ```vmlab
    /// > let p = spawn("shell");
    /// > let child = vfork(p);
    /// > touch(p, p.vmas[0].start, 1)
    /// EBUSY (Device or resource busy)
    /// > execve(child, "cat"); child.comm
    /// cat
    /// > fork(p).ppid == p.pid
    /// true
    /// ```
    ///
    /// Kernel: `kernel_clone` with `CLONE_VFORK`, `complete_vfork_done`. Gorman: 4.3.
    #[rhai_fn(return_raw)]
    pub fn vfork(ctx: NativeCallContext, p: Who) -> ScriptResult<OrErrno<TaskRef>> {
        super::clone_task(&ctx, &p, "vfork()", clone_flags::VM | clone_flags::VFORK)
    }

    /// Replaces a task's program: a new address space with the program's text, data, heap, libraries and stack.
    ///
    /// Programs are `bash`, `cat`, `sleep`, which ld.so links to libc, and `busybox`, which is static. Returns `ENOENT` for
    /// any other; `ENOMEM` before the old program is gone; later a task without memory is killed.
    ///
    /// ```vmlab
    /// > let p = spawn("shell");
    /// > execve(p, "/bin/cat");
    /// > cat /proc/3/maps | head -5
    /// 555555554000-555555556000 r--p 00000000 fe:00 2093                       /usr/bin/cat
    /// 555555556000-55555555b000 r-xp 00002000 fe:00 2093                       /usr/bin/cat
    /// 55555555b000-55555555e000 r--p 00007000 fe:00 2093                       /usr/bin/cat
    /// 55555555e000-55555555f000 r--p 00009000 fe:00 2093                       /usr/bin/cat
    /// 55555555f000-555555560000 rw-p 0000a000 fe:00 2093                       /usr/bin/cat
    /// > execve(p, "emacs")
    /// ENOENT (No such file or directory)
    /// ```
    ///
    /// Kernel: `begin_new_exec`, `load_elf_binary`. Gorman: 4.3.
    #[rhai_fn(return_raw)]
    pub fn execve(ctx: NativeCallContext, p: Who, file: &str) -> ScriptResult<OrErrno<()>> {
        let path = Program::find(file).map_or(file, |program| program.path);
        let shown = || format!("execve({path:?}, [{path:?}], 0x7ffffffffe58 /* 0 vars */)");
        traced_call(&ctx, &p, shown, |desk, pid| answer(desk.machine.execve(pid, file)))
    }

    /// Ends every thread of a task's group, whichever it is.
    ///
    /// ```vmlab
    /// > let p = spawn("server");
    /// > let t = clone(p, CLONE_VM|CLONE_SIGHAND|CLONE_THREAD);
    /// > exit_group(t, 3); p.exit
    /// 3
    /// ```
    ///
    /// Kernel: `do_group_exit`, `kernel/exit.c`.
    #[rhai_fn(return_raw)]
    pub fn exit_group(ctx: NativeCallContext, p: Who, status: i64) -> ScriptResult<OrErrno<()>> {
        let bench = Bench::of(&ctx);
        let mut desk = bench.borrow_mut();
        let pid = args::who(&desk, &p)?;
        let leader = desk.machine.live_task(pid).map(|t| t.tgid);
        let result = answer(leader.and_then(|leader| desk.machine.exit_group(leader, status as i32)));
        strace::exited(&bench, &desk, pid, "exit_group", status, &result);
        Ok(result)
    }

    /// Reaps a child of a task that has ended, and answers its pid; 0 when all children still run.
    ///
    /// Until then the child is a zombie: its memory is gone, its pid is not. Returns `ECHILD` without children.
    ///
    /// ```vmlab
    /// > let p = spawn("shell");
    /// > let child = fork(p);
    /// > wait(p)
    /// 0
    /// > exit(child);
    /// > ps(child).rows[0].st
    /// ZO
    /// > wait(p) == child.pid
    /// true
    /// > wait(p)
    /// ECHILD (No child processes)
    /// ```
    ///
    /// Kernel: `do_wait` with `WNOHANG`, `release_task`. Gorman: 4.3.
    #[rhai_fn(return_raw)]
    pub fn wait(ctx: NativeCallContext, p: Who) -> ScriptResult<OrErrno<i64>> {
        super::wait_for(&ctx, &p, None)
    }

    #[rhai_fn(name = "wait", return_raw)]
    pub fn wait_child(ctx: NativeCallContext, p: Who, child: Who) -> ScriptResult<OrErrno<i64>> {
        super::wait_for(&ctx, &p, Some(&child))
    }

    /// What a task's whole group used: faults of all its threads, and the most memory it had.
    ///
    /// ```vmlab
    /// > let p = spawn("app");
    /// > let a = mmap(p, 0, 8192, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS);
    /// > touch(p, a, 8192);
    /// > getrusage(p).minflt
    /// 2
    /// ```
    ///
    /// Kernel: `getrusage`, `kernel/sys.c`.
    #[rhai_fn(return_raw)]
    pub fn getrusage(ctx: NativeCallContext, p: Who) -> ScriptResult<Map> {
        let bench = Bench::of(&ctx);
        let desk = bench.borrow();
        let pid = args::who(&desk, &p)?;
        let own = desk.machine.group_usage(pid);
        let tgid = desk.machine.tasks.get(&pid).map_or(pid, |t| t.tgid);
        let children = desk.machine.tasks.get(&tgid).map(|t| t.child_usage).unwrap_or_default();
        let number = |n: u64| Dynamic::from(n as i64);
        Ok([
            ("minflt", number(own.minflt)),
            ("majflt", number(own.majflt)),
            ("maxrss_kb", number(own.maxrss * 4)),
            ("children_minflt", number(children.minflt)),
            ("children_majflt", number(children.majflt)),
            ("children_maxrss_kb", number(children.maxrss * 4)),
        ]
        .map(|(name, value)| (name.into(), value))
        .into_iter()
        .collect())
    }

    /// Runs a closure while a task is the current one.
    ///
    /// What the closure allocates carries the task's name, and the OOM killer may choose it.
    ///
    /// ```vmlab
    /// > let p = spawn("hog");
    /// > run(p, || cat("/proc/self/comm"))
    /// hog
    /// > cat /proc/self/comm
    /// script
    /// ```
    ///
    /// Kernel: `current`, `context_switch`.
    #[rhai_fn(return_raw)]
    pub fn run(ctx: NativeCallContext, p: Who, body: FnPtr) -> ScriptResult<Dynamic> {
        let bench = Bench::of(&ctx);
        let (outer, boots) = {
            let mut desk = bench.borrow_mut();
            let pid = args::who(&desk, &p)?;
            if let Err(errno) = desk.machine.live_task(pid) {
                return Ok(Dynamic::from(errno));
            }
            (desk.machine.step_into(pid), desk.boots)
        };
        let answer = body.call_within_context(&ctx, ());
        let mut desk = bench.borrow_mut();
        if desk.boots == boots {
            desk.machine.return_to(outer);
        }
        answer
    }

    /// Sends a signal to a task; only `SIGKILL` is simulated.
    ///
    /// ```vmlab
    /// > let p = spawn("sleeper");
    /// > kill(p, SIGKILL);
    /// > p.alive
    /// false
    /// > kill(p, SIGKILL)
    /// ESRCH (No such process)
    /// ```
    ///
    /// Kernel: `do_send_sig_info`, `do_exit`.
    #[rhai_fn(return_raw)]
    pub fn kill(ctx: NativeCallContext, p: Who, signal: i64) -> ScriptResult<OrErrno<()>> {
        if signal != i64::from(Signal::Kill.number()) {
            return misuse(format!(
                "signal {signal} is not simulated: SIGKILL, {}, is",
                Signal::Kill.number()
            ));
        }
        let bench = Bench::of(&ctx);
        let mut desk = bench.borrow_mut();
        let pid = args::who(&desk, &p)?;
        let result = desk.machine.kill_task(pid);
        if result.is_ok() {
            strace::ended(&bench, &desk, pid, "+++ killed by SIGKILL +++");
        }
        Ok(answer(result))
    }

    /// Starts a kernel thread: a task without an address space.
    ///
    /// ```vmlab
    /// > kthread("kworker/0:1").total_vm
    /// 0
    /// ```
    ///
    /// Kernel: `kthread_create`.
    #[rhai_fn(return_raw)]
    pub fn kthread(ctx: NativeCallContext, comm: &str) -> ScriptResult<OrErrno<TaskRef>> {
        let bench = Bench::of(&ctx);
        let mut desk = bench.borrow_mut();
        crate::script::memblock::late(&desk)?;
        let pid = desk.machine.kthread(comm);
        Ok(answer(pid.map(|pid| TaskRef::new(&desk, pid))))
    }

    /// Lists the tasks, dead ones too.
    ///
    /// ```vmlab
    /// > spawn("a"); spawn("b");
    /// > tasks().map(|t| t.comm)
    /// "init"
    /// "a"
    /// "b"
    /// ```
    ///
    /// Kernel: `for_each_process`, `include/linux/sched/signal.h`.
    /// Command: `tasks`
    pub fn tasks(ctx: NativeCallContext) -> Array {
        let bench = Bench::of(&ctx);
        let desk = bench.borrow();
        desk.machine.tasks.keys().map(|pid| Dynamic::from(TaskRef::new(&desk, pid))).collect()
    }

    /// The task with this pid.
    ///
    /// ```vmlab
    /// > task(1)
    /// task 1 init (kernel thread)
    /// > task(99)
    /// error: there is no task 99; ps() lists them
    /// ```
    ///
    /// Kernel: `find_task_by_vpid`.
    #[rhai_fn(return_raw)]
    pub fn task(ctx: NativeCallContext, pid: TaskPid) -> ScriptResult<TaskRef> {
        let bench = Bench::of(&ctx);
        let desk = bench.borrow();
        let pid = args::who(&desk, &pid.into())?;
        Ok(TaskRef::new(&desk, pid))
    }

    /// Tells the OOM killer what the user thinks of a task: -1000 is never, 1000 is first.
    ///
    /// ```vmlab
    /// > let p = spawn("sshd");
    /// > set_oom_score_adj(p, -1000);
    /// > p.oom_score_adj
    /// -1000
    /// > set_oom_score_adj(p, 2000)
    /// EINVAL (Invalid argument)
    /// ```
    ///
    /// Kernel: `__set_oom_adj`, `fs/proc/base.c`. Gorman: 13.
    #[rhai_fn(return_raw)]
    pub fn set_oom_score_adj(ctx: NativeCallContext, p: Who, n: i64) -> ScriptResult<OrErrno<()>> {
        let bench = Bench::of(&ctx);
        let mut desk = bench.borrow_mut();
        let pid = args::who(&desk, &p)?;
        Ok(answer(desk.machine.set_oom_score_adj(pid, n)))
    }

    /// The area of a task that an address lies in, or the next one above it.
    ///
    /// ```vmlab
    /// > let p = spawn("app");
    /// > let a = mmap(p, 0, 8192, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS);
    /// > find_vma(p, a).perms
    /// r--p
    /// ```
    ///
    /// Kernel: `find_vma`, `mm/mmap.c`. Gorman: 4.4.
    #[rhai_fn(return_raw)]
    pub fn find_vma(ctx: NativeCallContext, p: Who, addr: args::Addr) -> ScriptResult<Dynamic> {
        let bench = Bench::of(&ctx);
        let desk = bench.borrow();
        let pid = args::who(&desk, &p)?;
        let addr = VirtAddr(args::addr("addr", &addr)?);
        Ok(match desk.machine.mm_of(pid) {
            Ok(mm) => match desk.machine.find_vma(mm, addr) {
                Some(id) => Dynamic::from(VmaRef::new(&desk, id)),
                None => Dynamic::UNIT,
            },
            Err(errno) => Dynamic::from(errno),
        })
    }
}

fn clone_task(
    ctx: &NativeCallContext,
    p: &Dynamic,
    shown: &str,
    flags: u64,
) -> ScriptResult<OrErrno<TaskRef>> {
    traced_call(
        ctx,
        p,
        || shown.into(),
        |desk, pid| {
            let child = desk.machine.clone_task(pid, flags);
            answer(child.map(|pid| TaskRef::new(desk, pid)))
        },
    )
}

fn wait_for(ctx: &NativeCallContext, p: &Dynamic, child: Option<&Dynamic>) -> ScriptResult<OrErrno<i64>> {
    let bench = Bench::of(ctx);
    let mut desk = bench.borrow_mut();
    let pid = args::who(&desk, p)?;
    let child = child.map(|child| args::who(&desk, child)).transpose()?;
    let reaped = desk.machine.wait(pid, child);
    let result = answer(reaped.map(|child| child.map_or(0, i64::from)));
    let shown = || {
        let which = child.map_or("-1".to_string(), |child| child.to_string());
        format!("wait4({which}, NULL, WNOHANG, NULL)")
    };
    strace::called(&bench, &desk, pid, shown, &result);
    Ok(result)
}

/// The run ends with the kernel's last words, if it panicked.
pub fn alive(desk: &Desk) -> ScriptResult<()> {
    match &desk.machine.panicked {
        Some(line) => crate::script::answer::kernel_panic(line.clone()),
        None => Ok(()),
    }
}

/// `task 3 hog` with what matters about it.
pub fn task_text(desk: &Desk, task: &Task) -> String {
    let start = format!("task {} {}", task.pid, task.comm);
    match task.state.exit() {
        Some(Exit::Status(status)) => format!("{start} (exited, status {status})"),
        Some(Exit::Signal(signal)) => format!("{start} (killed: {signal})"),
        None => match task.mm.and_then(|mm| desk.machine.mms.get(mm)) {
            Some(mm) => {
                format!("{start} rss={} total_vm={} swap={}", mm.resident(), mm.total_vm, mm.rss(Rss::Swap))
            }
            None => format!("{start} (kernel thread)"),
        },
    }
}
