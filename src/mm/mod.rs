//! The simulator: Linux 6.1's memory manager on a simulated machine.
//!
//! | module | kernel file | Gorman |
//! |---|---|---|
//! | [`addr`] | `include/linux/mm_types.h` | 2 |
//! | [`errno`] | `include/uapi/asm-generic/errno-base.h` | |
//! | [`gfp`] | `include/linux/gfp_types.h` | 6.4 |
//! | [`config`] | what a boot loader and the firmware hand over | 2 |
//! | [`page`] | `include/linux/mm_types.h`, `page-flags.h` | 2 |
//! | [`mmzone`] | `include/linux/mmzone.h` | 2 |
//! | [`memblock`] | `mm/memblock.c` | 5 |
//! | [`mm_init`] | `mm/mm_init.c` | 2, 5 |
//! | [`boot`] | `init/main.c`, `mm/page_alloc.c` | 5 |
//! | [`page_alloc`] | `mm/page_alloc.c` | 6 |
//! | [`percpu`] | `mm/percpu.c`, `mm/percpu-vm.c` | |
//! | [`panic`] | `kernel/panic.c`, `lib/dump_stack.c` | |
//! | [`printk`] | `lib/ratelimit.c`, `lib/dump_stack.c` | |
//! | [`page_isolation`] | `mm/page_isolation.c` | |
//! | [`page_owner`] | `mm/page_owner.c` | |
//! | [`page_poison`] | `mm/page_poison.c` | |
//! | [`slab_common`] | `mm/slab_common.c`, `mm/slab.h` | 8 |
//! | [`slub`] | `mm/slub.c` | 8 |
//! | [`slab`] | `mm/slab.c` | 8 |
//! | [`slob`] | `mm/slob.c` | |
//! | [`debug`] | `mm/debug.c` | |
//! | [`show_mem`] | `lib/show_mem.c` | |
//! | [`dcache`] | `fs/dcache.c` | 10.5 |
//! | [`namei`] | `fs/namei.c`, `fs/namespace.c` | 10.5 |
//! | [`list_lru`] | `mm/list_lru.c` | 10.5 |
//! | [`inode`] | `fs/inode.c` | 10.5 |
//! | [`kernel_caches`] | `kernel/fork.c` | 4.3, 8 |
//! | [`mempool`] | `mm/mempool.c` | |
//! | [`stack`] | `kernel/fork.c` | 4.2 |
//! | [`task`] | `include/linux/sched.h` | 4 |
//! | [`pid`] | `kernel/pid.c` | 4 |
//! | [`fork`] | `kernel/fork.c` | 4 |
//! | [`exec`] | `fs/exec.c`, `fs/binfmt_elf.c` | 4 |
//! | [`exit`] | `kernel/exit.c` | 4 |
//! | [`sched`] | `kernel/sched/core.c` | 4.2 |
//! | [`fs`] | `include/linux/fs.h`, `fs/file_table.c` | 10, 12 |
//! | [`xarray`] | `lib/xarray.c` | 10.2 |
//! | [`huge_memory`] | `mm/huge_memory.c` | |
//! | [`khugepaged`] | `mm/khugepaged.c` | |
//! | [`filemap`] | `mm/filemap.c` | 10.2 |
//! | [`truncate`] | `mm/truncate.c` | 10.3 |
//! | [`shmem`] | `mm/shmem.c` | 12 |
//! | [`shm`] | `ipc/shm.c` | 12.6 |
//! | [`msync`] | `mm/msync.c` | 4.4 |
//! | [`malloc`] | the C library's | |
//! | [`mincore`] | `mm/mincore.c` | 4.4 |
//! | [`fadvise`] | `mm/fadvise.c` | 10 |
//! | [`augmented`] | `lib/maple_tree.c`, `mm/interval_tree.c` | 4.4.2 |
//! | [`vma`] | `mm/mmap.c` | 4 |
//! | [`mmap`] | `mm/mmap.c` | 4 |
//! | [`mprotect`] | `mm/mprotect.c` | 4 |
//! | [`mremap`] | `mm/mremap.c` | 4 |
//! | [`mlock`] | `mm/mlock.c` | 4 |
//! | [`madvise`] | `mm/madvise.c` | |
//! | [`sys`] | `kernel/sys.c` | |
//! | [`pgtable`] | `arch/x86/include/asm/pgtable.h` | 3 |
//! | [`tlb`] | `arch/x86/mm/tlb.c` | 3.8 |
//! | [`memory`] | `mm/memory.c` | 4.6 |
//! | [`clear_refs`] | `fs/proc/task_mmu.c` | |
//! | [`rmap`] | `mm/rmap.c` | 10 |
//! | [`lru`] | `mm/swap.c` | 10 |
//! | [`swapfile`] | `mm/swapfile.c`, `mm/swap_state.c` | 11 |
//! | [`vmalloc`] | `mm/vmalloc.c` | 7 |
//! | [`bounce`] | `block/bounce.c` | 9.4 |
//! | [`highmem`] | `mm/highmem.c` | 9 |
//! | [`segment`] | `arch/x86/include/asm/segment.h` | 3 |
//! | [`va_layout`] | `arch/*/include/asm/page.h` | 2.5 |
//! | [`compaction`] | `mm/compaction.c` | |
//! | [`migrate`] | `mm/migrate.c` | |
//! | [`vmscan`] | `mm/vmscan.c` | 10 |
//! | [`oom_kill`] | `mm/oom_kill.c` | 13 |
//! | [`page_writeback`] | `mm/page-writeback.c` | 10.2 |
//! | [`util`] | `mm/util.c` | 13.1 |
//! | [`sysctl`] | `kernel/sysctl.c` | |
//! | [`vmstat`] | `mm/vmstat.c` | |
//! | [`trace`] | `include/trace/events/*.h` | |
//! | [`clock`] | | |
//! | [`kthread`] | `kernel/kthread.c` | |
//! | [`slots`] | | |
//! | [`machine`] | owns everything | |
//! | [`check`] | proves the invariants | |

pub mod addr;
pub mod augmented;
pub mod boot;
pub mod bounce;
pub mod check;
pub mod clear_refs;
pub mod clock;
pub mod compaction;
pub mod config;
pub mod dcache;
pub mod debug;
pub mod errno;
pub mod exec;
pub mod exit;
pub mod fadvise;
pub mod filemap;
pub mod fork;
pub mod fs;
pub mod gfp;
pub mod highmem;
pub mod huge_memory;
pub mod inode;
pub mod kernel_caches;
pub mod khugepaged;
pub mod kthread;
pub mod list_lru;
pub mod lru;
pub mod machine;
pub mod madvise;
pub mod malloc;
pub mod memblock;
pub mod memory;
pub mod mempool;
pub mod migrate;
pub mod mincore;
pub mod mlock;
pub mod mm_init;
pub mod mmap;
pub mod mmzone;
pub mod mprotect;
pub mod mremap;
pub mod msync;
pub mod namei;
pub mod oom_kill;
pub mod page;
pub mod page_alloc;
pub mod page_isolation;
pub mod page_owner;
pub mod page_poison;
pub mod page_writeback;
pub mod panic;
pub mod percpu;
pub mod pgtable;
pub mod pid;
pub mod printk;
pub mod refused;
pub mod rmap;
pub mod sched;
pub mod segment;
pub mod shm;
pub mod shmem;
pub mod show_mem;
pub mod slab;
pub mod slab_common;
pub mod slob;
pub mod slots;
pub mod slub;
pub mod stack;
pub mod swapfile;
pub mod sys;
pub mod sysctl;
pub mod task;
pub mod tlb;
pub mod trace;
pub mod truncate;
pub mod util;
pub mod va_layout;
pub mod vma;
pub mod vmalloc;
pub mod vmscan;
pub mod vmstat;
pub mod xarray;

pub use machine::Machine;
