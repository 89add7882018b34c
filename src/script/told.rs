//! What `explain()` is about: the last call that had something to decide, or was refused.
//!
//! The kernel answers a refusal with a number and no reason. Here the numbers that it compared are kept.

use crate::mm::Machine;
use crate::mm::addr::{PAGE_SIZE, VirtAddr};
use crate::mm::errno::Errno;
use crate::mm::refused::Refused;
use crate::mm::slab_common::KMALLOC_MAX_SIZE;
use crate::mm::task::Pid;
use crate::mm::trace::Path;
use crate::script::table::Table;
use std::fmt::Write;

/// What the last call came to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Told {
    /// Pages were asked for, by whatever way.
    #[default]
    Pages,
    /// An object of a slab cache was given out.
    Object,
    /// `kmalloc` of so many bytes was refused.
    NoObject(u64),
    /// `vmalloc` of so many bytes was refused.
    NoArea(u64),
    /// `kvmalloc` of so many bytes was served by vmalloc.
    Fallback(u64, VirtAddr),
    /// A task reached for memory, and got what it wanted.
    Access,
    /// An access ended in a signal.
    Fault,
    /// A system call of a task was refused.
    Call(String, Pid, Errno, Option<Refused>),
}

/// The account of it.
pub fn explain(machine: &Machine, told: &Told) -> Table {
    match told {
        Told::Pages => super::trace::page_account(machine),
        Told::Access => super::trace::page_account(machine)
            .sentence("This is the page allocation; explain(\"fault\") tells of the fault itself."),
        Told::Object => Table::prose(&super::slab::explain(machine)),
        Told::NoObject(bytes) if *bytes > KMALLOC_MAX_SIZE => Table::prose(&format!(
            "kmalloc of {bytes} bytes was refused: it gives at most KMALLOC_MAX_SIZE, {KMALLOC_MAX_SIZE} bytes, the largest block.\n\
             Next: vmalloc, which needs no block; help kmalloc\n"
        )),
        Told::NoObject(bytes) => with_pages(
            machine,
            &format!("kmalloc of {bytes} bytes was refused: it needed pages for a new slab."),
        ),
        Told::NoArea(bytes) => no_area(machine, *bytes),
        Told::Fallback(bytes, addr) => Table::prose(&fallback(*bytes, *addr)),
        Told::Fault => super::fault_path::explain(machine),
        Told::Call(name, pid, errno, why) => Table::prose(&refused(machine, name, *pid, *errno, *why)),
    }
}

/// A sentence, and what the page allocator decided below.
fn with_pages(machine: &Machine, sentence: &str) -> Table {
    match machine.last_alloc().path {
        Path::Failed | Path::Injected => {
            Table::prose(&format!("{sentence}\n{}", machine.last_alloc().explain()))
        }
        _ => Table::prose(sentence),
    }
}

/// What made kvmalloc take the second way.
fn fallback(bytes: u64, addr: VirtAddr) -> String {
    let pages = bytes.div_ceil(PAGE_SIZE);
    let why = if bytes > KMALLOC_MAX_SIZE {
        format!("it gives at most KMALLOC_MAX_SIZE, {KMALLOC_MAX_SIZE} bytes")
    } else {
        "no block was free, and no hard attempt was made to free one".to_string()
    };
    format!(
        "kvmalloc of {bytes} bytes got {addr} from vmalloc: {pages} pages that lie anywhere.\n  \
         kmalloc was tried first, with __GFP_NORETRY and __GFP_NOWARN: {why}.\n\
         Kernel: kvmalloc_node. Next: kmem -v\n"
    )
}

fn no_area(machine: &Machine, bytes: u64) -> Table {
    let (pages, all) = (bytes >> 12, machine.totalram_pages());
    if pages > all {
        return Table::prose(&format!(
            "vmalloc of {bytes} bytes was refused at once: {pages} pages are more than the machine has, {all}.\nKernel: __vmalloc_node_range.\n"
        ));
    }
    if machine.last_alloc().path == Path::Failed {
        return with_pages(
            machine,
            &format!("vmalloc of {bytes} bytes was refused: one of its pages could not be had."),
        );
    }
    let range = &machine.layout.vmalloc;
    Table::prose(&format!(
        "vmalloc of {bytes} bytes was refused: between VMALLOC_START {:x} and VMALLOC_END {:x} no gap is that long.\n\
         Kernel: alloc_vmap_area. Next: kmem -v\n",
        range.start, range.end
    ))
}

/// A refused system call: what it is refused for, with the numbers of the task and of the machine.
fn refused(machine: &Machine, name: &str, pid: Pid, errno: Errno, why: Option<Refused>) -> String {
    let comm = machine.tasks.get(&pid).map(|task| task.comm.to_string()).unwrap_or_default();
    let mut text = format!("{name} of task {pid} ({comm}) was refused: {errno}.\n");
    match why {
        Some(why) if errno == Errno::ENOMEM => {
            let _ = writeln!(text, "  {why}");
            if !matches!(why, Refused::Hole { .. } | Refused::NotHere { .. }) {
                text.push_str("Where it stands now:\n");
                limits(machine, pid, &mut text);
            }
        }
        None if errno == Errno::ENOMEM => {
            text.push_str("  Memory for the kernel's own structures or a page of the range could not be had: log may tell more.\n");
            limits(machine, pid, &mut text);
        }
        _ => {
            let _ = writeln!(text, "  {}", meaning(errno));
        }
    }
    match name {
        "mmap" => text.push_str("What MAP_FIXED took away is gone; else nothing was changed.\n"),
        "munmap" | "mprotect" | "mremap" | "madvise" | "process_madvise" | "mlock" | "mlock2"
        | "mlockall" => {
            text.push_str("It goes area by area: what it did before it was refused stays.\n");
        }
        _ => text.push_str("Nothing was changed.\n"),
    }
    let _ = writeln!(text, "Next: vm {pid}, cat /proc/{pid}/limits, help {name}");
    text
}

/// The lines at which a task is refused memory, and how near to them it is.
fn limits(machine: &Machine, pid: Pid, text: &mut String) {
    let Some((task, mm)) = machine.tasks.get(&pid).and_then(|t| Some((t, &machine.mms[t.mm?]))) else {
        return;
    };
    let bytes =
        |limit: u64| if limit == u64::MAX { "no limit".to_string() } else { format!("{} kB", limit >> 10) };
    let kb = |pages: u64| format!("{} kB", pages << 2);
    let memory = machine.totalram_pages() + machine.swap_pages().0;
    let promise = match machine.sysctl.overcommit_memory {
        0 => format!("overcommit_memory 0: no single area above all memory and swap, {}", kb(memory)),
        1 => "overcommit_memory 1: everything is promised".to_string(),
        _ => format!("overcommit_memory 2: at most {}", kb(machine.vm_commit_limit(machine.swap_pages().0))),
    };
    let rows = [
        ("areas", mm.vmas.len().to_string(), format!("vm.max_map_count {}", machine.sysctl.max_map_count)),
        ("address space", kb(mm.total_vm), format!("RLIMIT_AS, {}", bytes(task.rlimits.address_space))),
        ("private and writable", kb(mm.data_vm), format!("RLIMIT_DATA, {}", bytes(task.rlimits.data))),
        ("locked", kb(mm.locked_vm), format!("RLIMIT_MEMLOCK, {}", bytes(task.rlimits.memlock))),
        ("promised to all tasks", kb(machine.committed_as), promise),
    ];
    for (what, has, line) in rows {
        let _ = writeln!(text, "  {what:<22} {has:>14}   {line}");
    }
}

/// What an errno says of a call about memory.
fn meaning(errno: Errno) -> &'static str {
    match errno {
        Errno::EINVAL => {
            "An argument cannot be: an address or length that is not of whole pages, a length of 0, flags that contradict each other."
        }
        Errno::EACCES => "The file or the area does not allow that access.",
        Errno::EEXIST => "Something is mapped there, and MAP_FIXED_NOREPLACE takes nothing away.",
        Errno::EPERM => {
            "The task is not privileged: below vm.mmap_min_addr, locked memory above its limit, or another user's task."
        }
        Errno::EFAULT => "An address is in no area of the task.",
        Errno::ESRCH => "There is no such task, or it has ended.",
        Errno::EAGAIN => "Locked memory above RLIMIT_MEMLOCK, or too many tasks: the log may say more.",
        Errno::EBUSY => "It is in use: an area that was asked for by name, or pages that somebody holds.",
        _ => "help tells when the call answers it.",
    }
}
