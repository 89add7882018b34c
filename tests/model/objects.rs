//! What tasks are made of, counted in their caches: at every step as many objects as the kernel's rules say.
//!
//! The numbers are reasoned from `copy_process`, `dup_mmap`, `__split_vma`, `copy_vma`, `anon_vma_fork` and
//! `anon_vma_clone` of 6.1:
//! an area that is forked is tied to every anon_vma its parent's is tied to, and to a new one of its own, unless one of
//! those has no area left that puts pages there and at most one child: that one is used again.

use crate::machines::{boot, pc};
use vmlab::mm::Machine;
use vmlab::mm::addr::{PAGE_SIZE, VirtAddr};
use vmlab::mm::config::Config;
use vmlab::mm::fork::clone_flags;
use vmlab::mm::kernel_caches::KernelCache;
use vmlab::mm::mmap::{map, prot};
use vmlab::mm::mremap::remap;
use vmlab::mm::slab_common::Allocator;
use vmlab::mm::task::Pid;
use vmlab::mm::vmstat::NodeStat;

const RW: u64 = prot::READ | prot::WRITE;
const ANON: u64 = map::PRIVATE | map::ANONYMOUS;
const PAGE: u64 = PAGE_SIZE;

/// Objects in use, as differences to what there was.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Count {
    /// `task_struct`, `pid`, `signal_cache`, `sighand_cache`, `cred_jar`, `files_cache`, `fs_cache`.
    task: [i64; 7],
    mm: i64,
    vma: i64,
    anon_vma: i64,
    chain: i64,
    tables: i64,
}

/// A machine, and what it had in use at first.
struct Book {
    machine: Machine,
    start: Count,
}

impl Book {
    fn open(mut config: Config) -> Book {
        // fs_cache and anon_vma_chain would be one cache otherwise: their objects have the same size.
        config.cmdline = "slab_nomerge".into();
        let machine = boot(config);
        let start = in_use(&machine);
        Book { machine, start }
    }

    /// What came since the beginning.
    fn came(&self) -> Count {
        difference(in_use(&self.machine), self.start)
    }

    /// Does something, and answers what came and went by it.
    fn step<T>(&mut self, what: impl FnOnce(&mut Machine) -> T) -> (T, Count) {
        let before = in_use(&self.machine);
        let answer = what(&mut self.machine);
        (answer, difference(in_use(&self.machine), before))
    }
}

fn in_use(machine: &Machine) -> Count {
    machine.check().unwrap_or_else(|e| panic!("{e}"));
    let of = |kind: KernelCache| {
        let cache = machine.kernel_cache(kind).expect("every cache of tasks is made at boot");
        machine.cache_census(cache).allocated as i64
    };
    use KernelCache::*;
    Count {
        task: [TaskStruct, Pid, Signal, Sighand, Cred, Files, Fs].map(of),
        mm: of(MmStruct),
        vma: of(VmArea),
        anon_vma: of(AnonVma),
        chain: of(AnonVmaChain),
        tables: machine.node_stat(NodeStat::PageTablePages) as i64,
    }
}

fn difference(a: Count, b: Count) -> Count {
    Count {
        task: std::array::from_fn(|n| a.task[n] - b.task[n]),
        mm: a.mm - b.mm,
        vma: a.vma - b.vma,
        anon_vma: a.anon_vma - b.anon_vma,
        chain: a.chain - b.chain,
        tables: a.tables - b.tables,
    }
}

/// Areas, anon_vmas, chains and tables alone.
fn space(vma: i64, anon_vma: i64, chain: i64, tables: i64) -> Count {
    Count { vma, anon_vma, chain, tables, ..Count::default() }
}

/// A task of its own, with that in its address space.
fn task(space: Count) -> Count {
    Count { task: [1; 7], mm: 1, ..space }
}

/// The task ends and is waited for.
fn bury(machine: &mut Machine, parent: Pid, child: Pid) {
    machine.exit_task(child, 0).unwrap();
    assert_eq!(machine.wait(parent, Some(child)), Ok(Some(child)));
}

#[test]
fn a_family_takes_what_the_rules_say_and_gives_it_back() {
    for allocator in [Allocator::Slub, Allocator::Slab, Allocator::Slob] {
        let mut config = pc(1024, 8192, 1, 1);
        config.slab = allocator;
        let mut book = Book::open(config);

        // A stack with one page that was written, and two areas of the kernel; a PMD and a PTE table lead to the stack's page (the kernel counts no others).
        let (a, came) = book.step(|m| m.spawn("a").unwrap());
        assert_eq!(came, task(space(3, 1, 1, 2)), "spawn, {allocator:?}");

        // An area takes an object; what its pages are tied to comes with the first of them.
        let (at, came) = book.step(|m| m.mmap(a, VirtAddr(0), 4 * PAGE, RW, ANON).unwrap());
        assert_eq!(came, space(1, 0, 0, 0), "mmap");
        let page = |n: u64| VirtAddr(at.0 + n * PAGE);
        let (_, came) = book.step(|m| m.write_user(a, at, 1).unwrap());
        assert_eq!(came, space(0, 1, 1, 1), "the first page");
        let (_, came) = book.step(|m| m.write_user(a, page(3), 1).unwrap());
        assert_eq!(came, Count::default(), "another page");

        // Two areas have pages: each of the child's is tied to its parent's anon_vma and to one of its own.
        let (b, came) = book.step(|m| m.fork(a).unwrap());
        assert_eq!(came, task(space(4, 2, 4, 3)), "fork");
        // One generation more is one tie more for each.
        let (c, came) = book.step(|m| m.fork(b).unwrap());
        assert_eq!(came, task(space(4, 2, 6, 3)), "fork of a fork");
        // Copying a page takes a page: everything it is tied to is there.
        let (_, came) = book.step(|m| [a, b, c].map(|pid| m.write_user(pid, at, 2).unwrap()));
        assert_eq!(came, Count::default(), "copy on write");

        // Open files and directories go at once, the rest with the wait; the anon_vmas stay: C's areas are tied to them.
        let (_, came) = book.step(|m| m.exit_task(b, 0).unwrap());
        let of_zombie = Count { task: [0, 0, 0, 0, 0, -1, -1], mm: -1, ..space(-4, 0, -4, -3) };
        assert_eq!(came, of_zombie, "exit");
        let (_, came) = book.step(|m| m.wait(a, Some(b)).unwrap());
        assert_eq!(came, Count { task: [-1, -1, -1, -1, -1, 0, 0], ..Count::default() }, "wait");

        // B's anon_vma has no area that puts pages there, and one child, C's: D's areas use it again. They are tied to
        // A's, B's and C's.
        let (d, came) = book.step(|m| m.fork(c).unwrap());
        assert_eq!(came, task(space(4, 0, 6, 3)), "fork with an anon_vma to use again");
        // It is in use now: the next child gets one of its own, and a fourth tie.
        let (e, came) = book.step(|m| m.fork(c).unwrap());
        assert_eq!(came, task(space(4, 2, 8, 3)), "fork without");

        // A hole makes two areas of one: the new one has the ties of the old.
        let (_, came) = book.step(|m| m.munmap(d, page(1), PAGE).unwrap());
        assert_eq!(came, space(1, 0, 3, 0), "munmap in the middle");
        let (_, came) = book.step(|m| m.mprotect(d, page(3), PAGE, prot::READ).unwrap());
        assert_eq!(came, space(1, 0, 3, 0), "mprotect of a part");
        let (_, came) = book.step(|m| m.mprotect(d, page(3), PAGE, RW).unwrap());
        assert_eq!(came, space(-1, 0, -3, 0), "mprotect back");
        // A part that moves takes the ties along; what it leaves keeps its own.
        let far = VirtAddr(at.0 - (1 << 21));
        let flags = remap::MAYMOVE | remap::FIXED;
        let (_, came) = book.step(|m| m.mremap(d, page(3), PAGE, PAGE, flags, far).unwrap());
        assert_eq!(came, space(1, 0, 3, 1), "mremap of a part");
        let (_, came) = book.step(|m| m.munmap(d, far, PAGE).unwrap());
        assert_eq!(came, space(-1, 0, -3, -1), "munmap of all there is below a table");

        // The father of all goes first: what he made stays for the others.
        let (_, came) = book.step(|m| m.exit_task(a, 0).unwrap());
        assert_eq!(came.anon_vma, 0, "exit of the first");
        for pid in [e, d] {
            book.step(|m| bury(m, c, pid));
        }
        let (_, came) = book.step(|m| m.exit_task(c, 0).unwrap());
        assert_eq!(came.anon_vma, -6, "A's, B's and C's, of two areas each, go with the last area");
        assert_eq!(book.came(), Count::default(), "{allocator:?}");
    }
}

#[test]
fn what_a_thread_shares_is_not_made_again() {
    use clone_flags::{FILES, FS, SIGHAND, THREAD, VM};
    let mut book = Book::open(pc(1024, 4096, 1, 1));
    let a = book.machine.spawn("a").unwrap();
    let (thread, came) = book.step(|m| m.clone_task(a, VM | FS | FILES | SIGHAND | THREAD).unwrap());
    assert_eq!(came, Count { task: [1, 1, 0, 0, 0, 0, 0], ..Count::default() }, "a thread");
    let (borrower, came) = book.step(|m| m.clone_task(a, VM | FILES).unwrap());
    assert_eq!(
        came,
        Count { task: [1, 1, 1, 1, 1, 0, 1], ..Count::default() },
        "a task with its parent's memory"
    );
    let (_, came) = book.step(|m| m.exit_task(thread, 0).unwrap());
    assert_eq!(
        came,
        Count { task: [-1, -1, 0, 0, 0, 0, 0], ..Count::default() },
        "nobody waits for a thread"
    );
    book.step(|m| bury(m, a, borrower));
    book.machine.exit_task(a, 0).unwrap();
    assert_eq!(book.came(), Count::default());
}

#[test]
fn neighbours_share_an_anon_vma() {
    let mut book = Book::open(pc(1024, 4096, 1, 1));
    let a = book.machine.spawn("a").unwrap();
    // Three areas that would be one but for their rights.
    let at = book.machine.mmap(a, VirtAddr(0), 3 * PAGE, RW, ANON).unwrap();
    let page = |n: u64| VirtAddr(at.0 + n * PAGE);
    let (_, came) = book.step(|m| m.mprotect(a, page(1), PAGE, prot::READ).unwrap());
    assert_eq!(came, space(2, 0, 0, 0), "nothing is tied yet");
    let (_, came) = book.step(|m| m.write_user(a, page(0), 1).unwrap());
    assert_eq!((came.anon_vma, came.chain), (1, 1), "the first");
    let (_, came) = book.step(|m| m.mprotect(a, page(1), PAGE, RW).unwrap());
    // It joins the first, which has an anon_vma, and the third, which has none: all three are one.
    assert_eq!(came, space(-2, 0, 0, 0), "one area");
    // A neighbour that would fit, were its rights the same, takes the anon_vma that is there (find_mergeable_anon_vma).
    let below = VirtAddr(at.0 - PAGE);
    let read = map::FIXED | ANON;
    let (_, came) = book.step(|m| m.mmap(a, below, PAGE, RW | prot::EXEC, read).unwrap());
    assert_eq!(came, space(1, 0, 0, 0), "a neighbour");
    let (_, came) = book.step(|m| m.write_user(a, below, 1).unwrap());
    assert_eq!(came, space(0, 0, 1, 0), "its first page");
    // Both ties are the child's, too, each area with an anon_vma of its own, and so is the stack.
    let (b, came) = book.step(|m| m.fork(a).unwrap());
    assert_eq!((came.vma, came.anon_vma, came.chain), (5, 3, 6), "fork");
    book.step(|m| bury(m, a, b));
    book.machine.exit_task(a, 0).unwrap();
    assert_eq!(book.came(), Count::default());
}

#[test]
fn a_long_line_of_forks_does_not_grow_without_end() {
    let mut book = Book::open(pc(1024, 8192, 1, 1));
    let mut pid = book.machine.spawn("a").unwrap();
    let at = book.machine.mmap(pid, VirtAddr(0), PAGE, RW, ANON).unwrap();
    book.machine.write_user(pid, at, 1).unwrap();
    // Each forks and ends: without the rule of use again an area would be tied to all its forefathers.
    for generation in 0..40 {
        let child = book.machine.fork(pid).unwrap();
        book.machine.write_user(child, at, generation).unwrap();
        book.machine.exit_task(pid, 0).unwrap();
        pid = child;
        let came = book.came();
        assert!(came.anon_vma <= 2 * 3 && came.chain <= 2 * 3, "generation {generation}: {came:?}");
    }
    book.machine.exit_task(pid, 0).unwrap();
    assert_eq!(book.came(), Count::default());
}
