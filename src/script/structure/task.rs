//! `struct task_struct` and `struct mm_struct`.
//!
//! Kernel: `include/linux/sched.h`, `include/linux/mm_types.h`.

use super::member::{Member, Value, anonymous, member, somewhere};
use crate::mm::Machine;
use crate::mm::task::{MmId, Task};
use crate::script::objects;
use crate::script::ps::list::Listed;

/// The members of a task that mean something here; the kernel's structure has 602 lines of them.
pub fn task_struct(machine: &Machine, t: &Listed) -> Vec<Member> {
    let task = machine.tasks.get(&t.pid);
    let mm = task.and_then(|task| task.mm).map_or(0, |id| objects::mm(machine, id));
    let number = |f: fn(&Task) -> u64| Value::Number(task.map_or(0, f));
    let tgid = task.map_or(t.pid, |task| task.tgid);
    // TASK_DEAD is 0x80, TASK_INTERRUPTIBLE 1, TASK_UNINTERRUPTIBLE 2, TASK_RUNNING 0.
    let state = match t.st {
        "DE" | "ZO" => 0x80,
        "IN" => 1,
        "UN" => 2,
        _ => 0,
    };
    // Who has no address space borrows what its CPU has loaded.
    let borrowed =
        machine.tlbs.get(usize::from(t.cpu)).filter(|_| t.active && mm == 0).and_then(|tlb| tlb.loaded);
    let active = borrowed.map_or(mm, |id| objects::mm(machine, id));
    vec![
        somewhere("unsigned int", "__state", Value::Number(state)),
        somewhere("int", "on_cpu", Value::Number(t.active.into())),
        somewhere("unsigned int", "cpu", Value::Number(t.cpu.into())),
        somewhere("struct mm_struct *", "mm", Value::Pointer(mm)),
        somewhere("struct mm_struct *", "active_mm", Value::Pointer(active)),
        somewhere("pid_t", "pid", Value::Number(t.pid.into())),
        somewhere("pid_t", "tgid", Value::Number(tgid.into())),
        somewhere("u64", "start_time", number(|t| t.start_time)),
        somewhere("unsigned long", "min_flt", number(|t| t.min_flt)),
        somewhere("unsigned long", "maj_flt", number(|t| t.maj_flt)),
        somewhere("char[16]", "comm", Value::Text(t.comm.clone())),
    ]
}

/// An address space; the kernel keeps its members in an anonymous structure.
pub fn mm_struct(machine: &Machine, id: MmId) -> Vec<Member> {
    let mm = &machine.mms[id];
    let pgd = machine.phys_to_virt(machine.tables.upper(mm.pgd).pfn.phys()).0;
    let owner = machine.tasks.values().find(|t| t.mm == Some(id) && t.is_leader());
    let owner = owner.map_or(0, |t| objects::task(machine, t.pid));
    let count = Value::Array(mm.rss.iter().map(|n| Value::Counter(*n as i64)).collect());
    let rss = Value::Group(vec![somewhere("atomic_long_t[4]", "count", count)]);
    let word = |name, offset, n: u64| member("unsigned long", name, offset, Value::Number(n));
    vec![anonymous(
        "struct",
        vec![
            word("mmap_base", 32, mm.mmap_base),
            word("task_size", 64, machine.layout.task_size),
            member("pgd_t *", "pgd", 72, Value::Pointer(pgd)),
            member("atomic_t", "mm_users", 84, Value::Counter(mm.users.into())),
            member("atomic_long_t", "pgtables_bytes", 96, Value::Counter(mm.pgtables_bytes as i64)),
            member("int", "map_count", 104, Value::Number(mm.vmas.len() as u64)),
            word("hiwater_rss", 168, mm.hiwater_rss),
            word("hiwater_vm", 176, mm.hiwater_vm),
            word("total_vm", 184, mm.total_vm),
            word("locked_vm", 192, mm.locked_vm),
            word("data_vm", 208, mm.data_vm),
            word("exec_vm", 216, mm.exec_vm),
            word("stack_vm", 224, mm.stack_vm),
            word("def_flags", 232, mm.def_flags.0),
            word("start_code", 248, mm.code.start),
            word("end_code", 256, mm.code.end),
            word("start_data", 264, mm.data.start),
            word("end_data", 272, mm.data.end),
            word("start_brk", 280, mm.start_brk),
            word("brk", 288, mm.brk),
            word("start_stack", 296, mm.start_stack),
            member("struct mm_rss_stat", "rss_stat", 720, rss),
            member("struct task_struct *", "owner", 920, Value::Pointer(owner)),
        ],
    )]
}
