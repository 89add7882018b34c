//! Every task there is to list: those of the machine, and the kernel threads that it keeps no task for.
//!
//! ```text
//!   pid 0      swapper/N   one a CPU, runs when nothing else does
//!   pid 1, 3…  the machine's tasks, dead ones too; they pass over the numbers below
//!   pid 2      kthreadd    whose children all other kernel threads are
//!   pid 24     script      in whose name the script calls the kernel
//!   pid 43…    kswapdN     one a node
//! ```

use crate::mm::Machine;
use crate::mm::addr::PAGE_SHIFT;
use crate::mm::machine::SCRIPT_PID;
use crate::mm::mmzone::Node;
use crate::mm::pid::KTHREADD_PID;
use crate::mm::task::{Pid, State, Task};
use crate::script::answer::{ScriptResult, misuse};
use crate::script::args;
use crate::script::bench::Desk;
use crate::script::handles::{TaskRef, listed};
use crate::script::objects::{self, Object};
use rhai::{Dynamic, ImmutableString};

/// A task as the views show it.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Its number; 0 for every swapper.
    pub pid: Pid,
    /// Who started it.
    pub ppid: Pid,
    /// The CPU it runs on, or ran on last.
    pub cpu: u16,
    /// The address of its `task_struct`.
    pub task: u64,
    /// `RU`, `IN`, `DE`.
    pub st: &'static str,
    /// Its name.
    pub comm: String,
    /// It has no address space by nature.
    pub kernel: bool,
    /// It is what its CPU runs now.
    pub active: bool,
    /// kB of its address space.
    pub vsz: u64,
    /// kB of it that are in memory.
    pub rss: u64,
}

impl Listed {
    /// The name, in brackets for kernel threads.
    pub fn shown(&self) -> String {
        if self.kernel { format!("[{}]", self.comm) } else { self.comm.clone() }
    }

    /// The line that begins what crash says about a task.
    pub fn header(&self) -> String {
        format!(
            "PID: {:<7}  TASK: {:x}  CPU: {:<3}  COMMAND: \"{}\"",
            self.pid, self.task, self.cpu, self.comm
        )
    }
}

/// All of them: swappers, then by pid.
pub fn all(machine: &Machine) -> Vec<Listed> {
    let mut cpus: Vec<u16> = machine.nodes.iter().flat_map(|n| n.cpus.iter().copied()).collect();
    cpus.sort_unstable();
    let mut list: Vec<Listed> = cpus.into_iter().map(|cpu| swapper(machine, cpu)).collect();
    let mut rest: Vec<Listed> = machine.tasks.values().map(|t| task(machine, t)).collect();
    rest.push(kthreadd(machine));
    rest.push(script(machine));
    rest.extend((0..machine.nodes.len()).filter_map(|node| kswapd(machine, node)));
    rest.extend((0..machine.nodes.len()).filter_map(|node| kcompactd(machine, node)));
    rest.sort_by_key(|t| t.pid);
    list.extend(rest);
    list
}

/// The task with a pid; for 0 the swapper of the first CPU.
pub fn one(machine: &Machine, pid: Pid) -> Option<Listed> {
    match machine.tasks.get(&pid) {
        Some(found) => Some(task(machine, found)),
        None => all(machine).into_iter().find(|t| t.pid == pid),
    }
}

fn task(machine: &Machine, task: &Task) -> Listed {
    let active = machine.current.pid == task.pid || machine.running_on(task.cpu) == Some(task.pid);
    let st = match task.state {
        State::Dead(_) => "DE",
        State::Zombie(_) => "ZO",
        State::Running if active => "RU",
        State::Running if task.vfork_child.is_some() || machine.highmem.is_waiting(task.pid) => "UN",
        State::Running => "IN",
    };
    let mm = task.mm.and_then(|mm| machine.mms.get(mm));
    let kb = |pages: u64| pages << (PAGE_SHIFT - 10);
    Listed {
        pid: task.pid,
        ppid: task.parent,
        cpu: if machine.current.pid == task.pid { machine.cpu.0 } else { task.cpu },
        task: objects::task(machine, task.pid),
        st,
        comm: task.comm.to_string(),
        kernel: task.parent == KTHREADD_PID,
        active,
        vsz: mm.map_or(0, |mm| kb(mm.total_vm)),
        rss: mm.map_or(0, |mm| kb(mm.resident())),
    }
}

fn thread(pid: Pid, ppid: Pid, cpu: u16, task: u64, comm: String) -> Listed {
    Listed { pid, ppid, cpu, task, st: "IN", comm, kernel: true, active: false, vsz: 0, rss: 0 }
}

fn swapper(machine: &Machine, cpu: u16) -> Listed {
    let idle = thread(0, 0, cpu, objects::idle(machine, cpu), format!("swapper/{cpu}"));
    Listed { st: "RU", active: cpu != machine.cpu.0 && machine.running_on(cpu).is_none(), ..idle }
}

fn kthreadd(machine: &Machine) -> Listed {
    let cpu = machine.nodes.iter().flat_map(|n| n.cpus.iter().copied()).min().unwrap_or(0);
    thread(KTHREADD_PID, 0, cpu, objects::task(machine, KTHREADD_PID), "kthreadd".to_string())
}

fn script(machine: &Machine) -> Listed {
    let task = objects::task(machine, SCRIPT_PID);
    let script = thread(SCRIPT_PID, KTHREADD_PID, machine.cpu.0, task, "script".to_string());
    if machine.current.pid == SCRIPT_PID { Listed { st: "RU", active: true, ..script } } else { script }
}

/// A node without memory has no kswapd.
fn kswapd(machine: &Machine, node: usize) -> Option<Listed> {
    let of = machine.nodes.get(node)?;
    of_node(machine, of, machine.kswapd_pid(node)?, "kswapd", of.kswapd.awake)
}

/// Nor has it a kcompactd.
fn kcompactd(machine: &Machine, node: usize) -> Option<Listed> {
    let of = machine.nodes.get(node)?;
    of_node(machine, of, machine.kcompactd_pid(node)?, "kcompactd", of.kcompactd.is_awake())
}

fn of_node(machine: &Machine, of: &Node, pid: Pid, name: &str, awake: bool) -> Option<Listed> {
    let cpu = of.cpus.first().copied().unwrap_or(0);
    let thread = thread(pid, KTHREADD_PID, cpu, objects::task(machine, pid), format!("{name}{}", of.nid));
    Some(if awake { Listed { st: "RU", ..thread } } else { thread })
}

/// The task that a CPU runs; its swapper, when it has nothing to do.
pub fn on_cpu(machine: &Machine, cpu: i64) -> ScriptResult<Listed> {
    let mut cpus: Vec<u16> = machine.nodes.iter().flat_map(|n| n.cpus.iter().copied()).collect();
    cpus.sort_unstable();
    let here = |t: &&Listed| i64::from(t.cpu) == cpu;
    let tasks = all(machine);
    let swapper = || tasks.iter().filter(|t| t.pid == 0).find(here);
    match tasks.iter().filter(|t| t.active).find(here).or_else(swapper) {
        Some(task) => Ok(task.clone()),
        None => misuse(format!("set: invalid cpu number: {cpu}: this machine has {}", listed("CPU", &cpus))),
    }
}

/// The task that a word or a value means: a handle, a pid, the address of a `task_struct`, or `()` for the chosen one.
pub fn who(desk: &Desk, tool: &str, value: &Dynamic) -> ScriptResult<Listed> {
    let machine = &desk.machine;
    if value.is_unit() {
        return who(desk, tool, &i64::from(desk.context).into());
    }
    if let Some(task) = value.read_lock::<TaskRef>() {
        let pid = task.of(desk)?.pid;
        return one(machine, pid).map_or_else(|| misuse(format!("there is no task {pid}")), Ok);
    }
    let wrong = || misuse(format!("{tool}: invalid task or pid value: {value}"));
    if let Some(word) = value.read_lock::<ImmutableString>() {
        let hex = word.trim_start_matches("0x");
        let by_pid = word.parse::<Pid>().ok().and_then(|pid| one(machine, pid));
        let by_address = || by_address(machine, u64::from_str_radix(hex, 16).ok()?);
        return by_pid.or_else(by_address).map_or_else(wrong, Ok);
    }
    let Ok(bits) = args::addr("the task", value) else { return wrong() };
    let by_pid = Pid::try_from(bits).ok().and_then(|pid| one(machine, pid));
    by_pid.or_else(|| by_address(machine, bits)).map_or_else(wrong, Ok)
}

fn by_address(machine: &Machine, addr: u64) -> Option<Listed> {
    match objects::find(machine, addr) {
        Some(Object::Task(pid)) => one(machine, pid),
        _ => all(machine).into_iter().find(|t| t.task == addr),
    }
}
