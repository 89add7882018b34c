//! Caches of the kernel's own objects: what a task, an address space, a file name is made of.
//!
//! ```text
//!   fork:  task_struct + stack   cred_jar   files_cache   fs_cache   sighand_cache   signal_cache   mm_struct   pid
//!          and for each area     vm_area_struct   anon_vma   anon_vma_chain
//! ```
//!
//! A machine that was captured brings these caches along, with the objects they had; one that was not gets them with
//! the sizes that a kernel of its architecture has.
//!
//! Gorman 4.3, 8. Kernel: `kernel/fork.c` (`fork_init`, `proc_caches_init`), `mm/rmap.c`, `kernel/cred.c`,
//! `kernel/pid.c`, `fs/dcache.c`, `mm/shmem.c`, `fs/ext4/super.c`.
//! Fidelity: imported — sizes of 6.1's objects, by architecture. Inferred — ext4's on 32 bits, from its fields.

use crate::mm::addr::VirtAddr;
use crate::mm::config::Arch;
use crate::mm::errno::Errno;
use crate::mm::fork::clone_flags;
use crate::mm::gfp::Gfp;
use crate::mm::machine::Machine;
use crate::mm::slab_common::{CacheArgs, CacheId, SlabFlags};
use crate::mm::task::{MmId, Pid};
use std::collections::BTreeMap;

macro_rules! kernel_caches {
    ($($name:ident $text:literal, $sizes:expr, $flags:expr, $ctor:literal, $doc:literal;)*) => {
        /// A kind of object that the kernel makes for itself.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum KernelCache {
            $(#[doc = $doc] $name,)*
        }

        impl KernelCache {
            /// Every kind, in the order in which the kernel makes their caches.
            pub const ALL: &[KernelCache] = &[$(KernelCache::$name,)*];
            /// How many there are.
            pub const COUNT: usize = KernelCache::ALL.len();

            /// The cache's name in /proc/slabinfo.
            pub fn name(self) -> &'static str {
                match self { $(KernelCache::$name => $text,)* }
            }

            /// Bytes on x86_64, arm64, i386, i386 with PAE, UML.
            fn sizes(self) -> [u64; 5] {
                match self { $(KernelCache::$name => $sizes,)* }
            }

            fn flags(self) -> SlabFlags {
                match self { $(KernelCache::$name => $flags,)* }
            }

            fn ctor(self) -> bool {
                match self { $(KernelCache::$name => $ctor,)* }
            }
        }
    };
}

const ACCOUNT: SlabFlags = SlabFlags(SlabFlags::ACCOUNT.0 | SlabFlags::PANIC.0);
const ALIGNED: SlabFlags = SlabFlags(ACCOUNT.0 | SlabFlags::HWCACHE_ALIGN.0);
const BY_RCU: SlabFlags = SlabFlags(ACCOUNT.0 | SlabFlags::TYPESAFE_BY_RCU.0);
const RECLAIMABLE: SlabFlags = SlabFlags(ACCOUNT.0 | SlabFlags::RECLAIM_ACCOUNT.0);

kernel_caches! {
    Pid "pid", [128, 128, 64, 64, 128], ALIGNED, false, "A task's number.";
    AnonVma "anon_vma", [96, 96, 52, 52, 88], BY_RCU, true, "What ties anonymous pages to areas.";
    AnonVmaChain "anon_vma_chain", [64, 64, 32, 32, 64], ACCOUNT, false, "What ties an area to an `anon_vma`.";
    Cred "cred_jar", [192, 192, 128, 128, 192], ALIGNED, false, "Whose a task is.";
    TaskStruct "task_struct", [6208, 4160, 2944, 3008, 5120], ALIGNED, false, "A task.";
    Sighand "sighand_cache", [2080, 2080, 1300, 1300, 2072], SlabFlags(BY_RCU.0 | SlabFlags::HWCACHE_ALIGN.0), true, "What a thread group does with signals.";
    Signal "signal_cache", [1152, 1152, 768, 768, 1088], ALIGNED, false, "What a thread group shares: limits, times, signals.";
    Files "files_cache", [704, 704, 256, 256, 640], ALIGNED, false, "A table of open files.";
    Fs "fs_cache", [56, 56, 40, 40, 56], ALIGNED, false, "Root and working directory.";
    MmStruct "mm_struct", [1096, 952, 564, 564, 1000], ALIGNED, false, "An address space.";
    VmArea "vm_area_struct", [152, 152, 72, 80, 144], ACCOUNT, false, "An area.";
    Dentry "dentry", [192, 192, 128, 128, 192], RECLAIMABLE, false, "A name that was looked up.";
    ShmemInode "shmem_inode_cache", [776, 776, 480, 480, 712], ACCOUNT, true, "A file of a tmpfs.";
    Ext4Inode "ext4_inode_cache", [1184, 1184, 784, 784, 1080], RECLAIMABLE, true, "A file on the disk.";
}

impl KernelCache {
    /// The structure that its objects are: `sighand_struct`.
    fn struct_name(self) -> &'static str {
        match self {
            KernelCache::Cred => "cred",
            KernelCache::Sighand => "sighand_struct",
            KernelCache::Signal => "signal_struct",
            KernelCache::Files => "files_struct",
            KernelCache::Fs => "fs_struct",
            other => other.name(),
        }
    }

    /// Bytes of an object on an architecture.
    pub fn size(self, arch: Arch) -> u64 {
        self.sizes()[match arch {
            Arch::X86_64 => 0,
            Arch::Arm64 => 1,
            Arch::I386 | Arch::Arm => 2,
            Arch::I386Pae => 3,
            Arch::Uml => 4,
        }]
    }
}

impl Arch {
    /// Bytes of a name that stand inside its dentry (`DNAME_INLINE_LEN`).
    pub fn dname_inline_len(self) -> usize {
        if self.is_64bit() { 32 } else { 36 }
    }
}

impl Machine {
    /// Finds the caches of the kernel's own objects, or makes them (`fork_init`, `proc_caches_init`, …).
    pub(crate) fn proc_caches_init(&mut self) {
        for &kind in KernelCache::ALL {
            self.kernel_caches[kind as usize] = self.caches.find(kind.name());
            if self.kernel_cache(kind).is_none() && kind != KernelCache::Ext4Inode {
                // What asks for an object of a cache that could not be made gets ENOMEM.
                let _ = self.kernel_cache_create(kind);
            }
        }
    }

    /// Makes the cache of a kind of object; that of a file system comes when it is first mounted (`init_inodecache`).
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(crate) fn kernel_cache_create(&mut self, kind: KernelCache) -> Result<(), Errno> {
        let args = CacheArgs {
            name: kind.name(),
            size: kind.size(self.config.arch),
            flags: kind.flags(),
            ctor: kind.ctor(),
            // Part of it is copied to or from user space, so it is not merged.
            usersize: matches!(
                kind,
                KernelCache::MmStruct | KernelCache::TaskStruct | KernelCache::Ext4Inode
            ),
            ..CacheArgs::default()
        };
        let id = self.kmem_cache_create(&args).map_err(|_| Errno::ENOMEM)?;
        self.kernel_caches[kind as usize] = Some(id);
        Ok(())
    }

    /// The cache of a kind of object.
    pub fn kernel_cache(&self, kind: KernelCache) -> Option<CacheId> {
        self.kernel_caches[kind as usize]
    }

    /// An object of the kernel's own.
    #[inline]
    pub(crate) fn kernel_object(&mut self, kind: KernelCache) -> Result<VirtAddr, Errno> {
        let id = self.kernel_caches[kind as usize].ok_or(Errno::ENOMEM)?;
        let addr = self.kmem_cache_alloc(id, Gfp::KERNEL)?;
        // No constructor of a script runs for the kernel's own objects.
        self.caches.constructed.clear();
        Ok(addr)
    }

    /// The node whose lists an object belongs to.
    pub(crate) fn node_of_object(&self, addr: VirtAddr) -> usize {
        self.virt_to_pfn(addr).map_or(0, |pfn| self.zones[self.mem_map.page(pfn).zone().index()].pgdat)
    }

    /// Is this the start of an object of a kind that is in use?
    pub(crate) fn is_kernel_object(&self, kind: KernelCache, addr: VirtAddr) -> bool {
        self.find_object(addr).is_some_and(|object| {
            object.allocated && object.start == addr && Some(object.cache) == self.kernel_cache(kind)
        })
    }

    /// Gives back what [`Machine::kernel_object`] gave.
    ///
    /// One that somebody wrote around is not taken back by a cache that checks: the log says so, and it is lost.
    #[inline]
    pub(crate) fn free_kernel_object(&mut self, kind: KernelCache, addr: VirtAddr) {
        if let Some(id) = self.kernel_caches[kind as usize] {
            let _ = self.kmem_cache_free(id, addr);
        }
    }
}

/// What a task is made of, in the order in which `copy_process` makes it.
const OF_A_TASK: [KernelCache; 7] = [
    KernelCache::TaskStruct,
    KernelCache::Cred,
    KernelCache::Files,
    KernelCache::Fs,
    KernelCache::Sighand,
    KernelCache::Signal,
    KernelCache::Pid,
];

/// Objects of tasks and address spaces; those of the boot have none of their own here.
#[derive(Clone, Debug, Default)]
pub struct KernelObjects {
    /// By task, in the order of [`OF_A_TASK`]; `None` for what it shares or has given back.
    tasks: BTreeMap<Pid, [Option<VirtAddr>; OF_A_TASK.len()]>,
    mms: BTreeMap<MmId, VirtAddr>,
    /// Where the `task_struct` of a task that is dead lay.
    gone: BTreeMap<Pid, VirtAddr>,
}

impl KernelObjects {
    /// Where a task's `task_struct` lies.
    pub fn task_struct(&self, pid: Pid) -> Option<VirtAddr> {
        self.tasks.get(&pid)?[0]
    }

    /// Where the `task_struct` of a dead task lay: it is free, and somebody else's by now perhaps.
    pub fn task_struct_gone(&self, pid: Pid) -> Option<VirtAddr> {
        self.gone.get(&pid).copied()
    }

    /// Where an address space's `mm_struct` lies.
    pub fn mm_struct(&self, mm: MmId) -> Option<VirtAddr> {
        self.mms.get(&mm).copied()
    }

    /// The task whose `task_struct` holds an address.
    pub fn task_at(&self, start: VirtAddr) -> Option<Pid> {
        self.tasks.iter().find(|(_, objects)| objects[0] == Some(start)).map(|(pid, _)| *pid)
    }

    /// The address space whose `mm_struct` holds an address.
    pub fn mm_at(&self, start: VirtAddr) -> Option<MmId> {
        self.mms.iter().find(|(_, object)| **object == start).map(|(mm, _)| *mm)
    }

    /// The task that holds an object, and as what.
    fn owner_at(&self, start: VirtAddr) -> Option<(KernelCache, Pid)> {
        self.tasks.iter().find_map(|(pid, objects)| {
            let place = objects.iter().position(|object| *object == Some(start))?;
            Some((OF_A_TASK[place], *pid))
        })
    }

    /// Every object of a kind that tasks and address spaces hold.
    fn of_kind(&self, kind: KernelCache) -> Vec<VirtAddr> {
        if kind == KernelCache::MmStruct {
            return self.mms.values().copied().collect();
        }
        let place = OF_A_TASK.iter().position(|of| *of == kind);
        place.map_or(Vec::new(), |place| self.tasks.values().filter_map(|objects| objects[place]).collect())
    }
}

impl Machine {
    /// Makes what a new task is made of, its stack included; `flags` of `clone` say what it shares (`copy_process`).
    ///
    /// # Errors
    /// `ENOMEM`: nothing is held then.
    pub(crate) fn alloc_task_objects(&mut self, pid: Pid, flags: u64) -> Result<(), Errno> {
        let mut objects = [None; OF_A_TASK.len()];
        for (place, kind) in OF_A_TASK.into_iter().enumerate() {
            let shared = match kind {
                KernelCache::Files => flags & clone_flags::FILES,
                KernelCache::Fs => flags & clone_flags::FS,
                KernelCache::Sighand => flags & clone_flags::SIGHAND,
                KernelCache::Signal | KernelCache::Cred => flags & clone_flags::THREAD,
                _ => 0,
            };
            if shared != 0 {
                continue;
            }
            let made = self.kernel_object(kind).and_then(|object| {
                objects[place] = Some(object);
                // The stack comes right after the task_struct (dup_task_struct).
                if kind == KernelCache::TaskStruct { self.alloc_thread_stack(pid) } else { Ok(()) }
            });
            if let Err(errno) = made {
                self.objects.tasks.insert(pid, objects);
                self.free_task_objects(pid);
                return Err(errno);
            }
        }
        self.objects.tasks.insert(pid, objects);
        self.objects.gone.remove(&pid);
        Ok(())
    }

    /// A task that has ended gives back what it needs no more: open files, directories, its stack (`do_exit`).
    pub(crate) fn exit_task_objects(&mut self, pid: Pid) {
        for kind in [KernelCache::Files, KernelCache::Fs] {
            let place = OF_A_TASK.iter().position(|of| *of == kind);
            let object =
                self.objects.tasks.get_mut(&pid).zip(place).and_then(|(objects, n)| objects[n].take());
            if let Some(object) = object {
                self.free_kernel_object(kind, object);
            }
        }
        self.free_thread_stack(pid);
    }

    /// The rest of a task goes (`release_task`, `free_task`).
    pub(crate) fn free_task_objects(&mut self, pid: Pid) {
        self.free_thread_stack(pid);
        let Some(objects) = self.objects.tasks.remove(&pid) else { return };
        self.objects.gone.extend(objects[0].map(|object| (pid, object)));
        for (kind, object) in OF_A_TASK.into_iter().zip(objects).rev() {
            if let Some(object) = object {
                self.free_kernel_object(kind, object);
            }
        }
    }

    /// The `mm_struct` of a new address space.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(crate) fn alloc_mm_object(&mut self) -> Result<VirtAddr, Errno> {
        self.kernel_object(KernelCache::MmStruct)
    }

    /// The address space has its `mm_struct` from now on.
    pub(crate) fn set_mm_object(&mut self, mm: MmId, object: VirtAddr) {
        self.objects.mms.insert(mm, object);
    }

    /// An address space gives its `mm_struct` back.
    pub(crate) fn free_mm_object(&mut self, mm: MmId) {
        if let Some(object) = self.objects.mms.remove(&mm) {
            self.free_kernel_object(KernelCache::MmStruct, object);
        }
    }

    /// Who inside the kernel holds the object that begins at an address, if anybody does: `the task_struct of task 25`.
    ///
    /// A kernel would let anyone free it, and die of it later; here [`Machine::kfree`] on a script's behalf is refused.
    pub fn holder_of_object(&self, addr: VirtAddr) -> Option<String> {
        let object = self.find_object(addr).filter(|object| object.allocated && object.start == addr);
        let id = object.map(|object| object.cache);
        let own = id.is_some_and(|id| self.kernel_caches.contains(&Some(id)));
        let from_kmalloc = || {
            self.mempool_holding(addr).or_else(|| self.external_name_at(addr)).or_else(|| {
                let slab = self.caches.slab.freelist_at(addr)?;
                Some(format!("the freelist of a slab of {}", self.caches.all[slab.cache].name()))
            })
        };
        let of_a_cache = || {
            let (_, cache) = self.caches.all.iter().find(|(_, cache)| cache.addr == addr)?;
            Some(format!("the descriptor of the cache {}", cache.name()))
        };
        (if own { self.holder_of_own(addr) } else { None })
            .or_else(|| id.and_then(|_| of_a_cache()))
            .or_else(from_kmalloc)
    }

    /// Who holds an object of the caches that are made here.
    fn holder_of_own(&self, addr: VirtAddr) -> Option<String> {
        if let Some((kind, pid)) = self.objects.owner_at(addr) {
            return Some(format!("the {} of task {pid}", kind.struct_name()));
        }
        let tasks_of = |mm: MmId| {
            let of: Vec<String> = self
                .tasks
                .values()
                .filter(|task| task.mm == Some(mm))
                .map(|task| task.pid.to_string())
                .collect();
            if of.len() == 1 { format!("task {}", of[0]) } else { format!("tasks {}", of.join(", ")) }
        };
        if let Some(mm) = self.objects.mm_at(addr) {
            return Some(format!("the mm_struct of {}", tasks_of(mm)));
        }
        if let Some((_, vma)) = self.vmas.iter().find(|(_, vma)| vma.object == Some(addr)) {
            return Some(format!(
                "the vm_area_struct of {:x}-{:x} of {}",
                vma.start,
                vma.end,
                tasks_of(vma.mm)
            ));
        }
        for kind in [KernelCache::AnonVma, KernelCache::AnonVmaChain] {
            if self.anon_vmas.iter().any(|(_, anon)| anon.objects(kind).any(|object| object == addr)) {
                return Some(format!("the {} of an area", kind.struct_name()));
            }
        }
        self.dentry_at(addr)
            .map(|path| format!("the dentry of {path}"))
            .or_else(|| self.inode_at(addr).map(|number| format!("inode {number}")))
    }

    /// Gives back what caches keep for later: queues, empty slabs, stacks of tasks that ended; `check()` then counts
    /// what is in use.
    pub fn shrink_all_caches(&mut self) {
        self.free_vm_stack_cache();
        for id in self.caches.order.clone() {
            self.kmem_cache_shrink(id);
        }
        self.drain_all_pages(None);
    }

    /// Tasks and address spaces that are there have objects that are in use, and no others have.
    pub(crate) fn first_wrong_kernel_object(&self) -> Option<String> {
        let gone = |pid: &&Pid| !self.tasks.contains_key(pid);
        if let Some(pid) = self.objects.tasks.keys().find(gone) {
            return Some(format!("task {pid} is gone, its objects are not"));
        }
        if let Some(mm) = self.objects.mms.keys().find(|mm| self.mms.get(**mm).is_none()) {
            return Some(format!("address space {mm:?} is gone, its mm_struct is not"));
        }
        KernelCache::ALL.iter().find_map(|kind| {
            self.kernel_cache(*kind)?;
            let areas =
                self.vmas.iter().filter(|_| *kind == KernelCache::VmArea).filter_map(|(_, vma)| vma.object);
            let anon = self.anon_vmas.iter().flat_map(|(_, anon)| anon.objects(*kind));
            let stray = self
                .objects
                .of_kind(*kind)
                .into_iter()
                .chain(areas)
                .chain(anon)
                .find(|addr| !self.is_kernel_object(*kind, *addr))?;
            Some(format!("{stray} is no object of {} in use", kind.name()))
        })
    }
}
