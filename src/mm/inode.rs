//! The inode cache: files that are known, with their users and without.
//!
//! ```text
//!   dentry ──► inode ──► file: size, pages, areas
//!                │
//!                └─ no dentry: it stays while it has pages, then waits on the LRU list of its node
//! ```
//!
//! An inode is an object of its file system's cache. A file on a disk outlives its inode, which comes back with the next
//! walk; a file of a tmpfs has its inode until it ends.
//!
//! Gorman chapter 10.5. Kernel: `fs/inode.c` (`iget_locked`, `iput`, `evict`, `prune_icache_sb`).
//! Fidelity: faithful — an inode without users stays until a shrinker takes it, and has a second chance; one with pages
//! is no shrinker's, but where memory is high loses its pages to it. Simplified — no inode is dirty but by its pages,
//! none has buffers. Imported — inodes of the boot, as numbers.

use crate::mm::addr::VirtAddr;
use crate::mm::dcache::DentryId;
use crate::mm::errno::Errno;
use crate::mm::fs::{FileId, FsType};
use crate::mm::kernel_caches::KernelCache;
use crate::mm::list_lru::{ListLru, Place};
use crate::mm::machine::Machine;
use crate::mm::slots::{Id, Slots};
use crate::mm::vmstat::VmEvent;
use std::collections::BTreeMap;

/// The number of an inode's place.
pub type InodeId = Id<Inode>;

/// Caches whose objects begin with a `struct inode`, of any file system that a captured machine has.
const INODE_CACHES: &[&str] = &[
    "inode_cache",
    "shmem_inode_cache",
    "proc_inode_cache",
    "sock_inode_cache",
    "hugetlbfs_inode_cache",
    "mqueue_inode_cache",
    "ext4_inode_cache",
    "bdev_cache",
    "dax_cache",
];

/// A file in memory (`struct inode`).
#[derive(Clone, Debug)]
pub struct Inode {
    ino: u64,
    /// Its file system, by its place in `Fs::mounts`.
    mount: usize,
    /// The dentry that uses it (`i_dentry`).
    alias: Option<DentryId>,
    /// What `create` made; nothing for a directory, and for a name that was only looked up.
    file: Option<FileId>,
    /// It was used since it came to the list (`I_REFERENCED`).
    referenced: bool,
    lru: Option<Place>,
    node: usize,
    addr: VirtAddr,
}

/// Every inode.
#[derive(Clone, Debug, Default)]
pub struct Inodes {
    inodes: Slots<Inode>,
    by_number: BTreeMap<(usize, u64), InodeId>,
    lru: ListLru<Inode>,
    /// Inodes of the captured machine.
    booted: u64,
}

impl Inodes {
    pub(crate) fn new(nodes: usize) -> Inodes {
        Inodes { lru: ListLru::new(nodes), ..Inodes::default() }
    }

    /// Inodes, and those without users.
    pub fn state(&self) -> [u64; 2] {
        [self.booted + self.inodes.len() as u64, self.lru.total()]
    }

    /// Inodes on a node's list.
    pub(crate) fn unused(&self, node: usize) -> u64 {
        self.lru.count(node)
    }

    /// The dentry that uses an inode.
    pub(crate) fn alias(&self, id: InodeId) -> Option<DentryId> {
        self.inodes[id].alias
    }

    pub(crate) fn set_alias(&mut self, id: InodeId, alias: Option<DentryId>) {
        self.inodes[id].alias = alias;
    }

    /// The file of an inode.
    pub(crate) fn file(&self, id: InodeId) -> Option<FileId> {
        self.inodes[id].file
    }
}

/// The number of an inode that no file has: the same path always has the same one (FNV-1a).
fn ino_of(path: &str) -> u64 {
    let hash = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    path.bytes().fold(0xcbf2_9ce4_8422_2325, hash)
}

impl Machine {
    /// The number of the inode whose object begins at an address.
    pub(crate) fn inode_at(&self, addr: VirtAddr) -> Option<u64> {
        self.dcache.inodes.inodes.iter().find(|(_, inode)| inode.addr == addr).map(|(_, inode)| inode.ino)
    }

    /// The inode of a path, from its disk if it is not in memory (`iget_locked`).
    pub(crate) fn iget(&mut self, path: &str, mount: usize) -> Result<InodeId, Errno> {
        let file = self.fs.names.get(path).copied();
        let ino = file.map_or_else(|| ino_of(path), |file| self.files[file].ino);
        if let Some(&id) = self.dcache.inodes.by_number.get(&(mount, ino)) {
            return Ok(id);
        }
        let id = self.new_inode(mount)?;
        self.number_inode(id, ino, file);
        Ok(id)
    }

    /// An inode that belongs to nothing yet (`new_inode`).
    pub(crate) fn new_inode(&mut self, mount: usize) -> Result<InodeId, Errno> {
        let kind = self.fs.mounts[mount].kind;
        if kind == FsType::Ext4 && self.kernel_cache(KernelCache::Ext4Inode).is_none() {
            self.kernel_cache_create(KernelCache::Ext4Inode)?;
        }
        let addr = self.kernel_object(kind.inode_cache())?;
        let node = self.node_of_object(addr);
        let (ino, alias, file, lru) = (0, None, None, None);
        Ok(self.dcache.inodes.inodes.insert(Inode {
            ino,
            mount,
            alias,
            file,
            referenced: false,
            lru,
            node,
            addr,
        }))
    }

    /// A file has its inode from now on, the one of this dentry.
    pub(crate) fn tie_file(&mut self, file: FileId, dentry: DentryId) {
        if let Some(inode) = self.inode_of(dentry) {
            self.number_inode(inode, self.files[file].ino, Some(file));
        }
    }

    fn number_inode(&mut self, id: InodeId, ino: u64, file: Option<FileId>) {
        let inodes = &mut self.dcache.inodes;
        let inode = &mut inodes.inodes[id];
        inodes.by_number.remove(&(inode.mount, inode.ino));
        (inode.ino, inode.file) = (ino, file);
        inodes.by_number.insert((inode.mount, ino), id);
        if let Some(file) = file {
            self.files[file].inode = Some(id);
        }
    }

    /// The dentry of a file, if it is in memory.
    pub(crate) fn alias_of(&self, file: FileId) -> Option<DentryId> {
        self.dcache.inodes.alias(self.files[file].inode?)
    }

    /// An inode loses its dentry: it ends with its last name, or waits for the next walk (`iput_final`).
    pub(crate) fn put_inode(&mut self, id: InodeId) {
        self.dcache.inodes.set_alias(id, None);
        match self.dcache.inodes.file(id) {
            Some(file) if self.files[file].nlink == 0 => self.evict(id),
            _ => self.inode_add_lru(id),
        }
    }

    /// An inode that nobody uses goes to the list, unless it has pages (`__inode_add_lru`).
    fn inode_add_lru(&mut self, id: InodeId) {
        if !self.mapping_shrinkable(id) {
            return;
        }
        let inodes = &mut self.dcache.inodes;
        let inode = &mut inodes.inodes[id];
        if inode.lru.is_some() {
            inode.referenced = true;
        } else {
            inode.lru = Some(inodes.lru.add(inode.node, id));
        }
    }

    /// A file has no pages left in memory: its inode goes to the list if nobody uses it (`inode_add_lru`).
    pub(crate) fn inode_emptied(&mut self, file: FileId) {
        if let Some(id) = self.files[file].inode
            && self.dcache.inodes.alias(id).is_none()
        {
            self.inode_add_lru(id);
        }
    }

    /// May a shrinker have the inode? Where the page cache may fill HighMem, a few pages must not hold one in low memory
    /// (`mapping_shrinkable`).
    fn mapping_shrinkable(&self, id: InodeId) -> bool {
        let file = self.dcache.inodes.file(id).map(|file| &self.files[file]);
        file.is_none_or(|file| {
            file.nrpages == 0 || (self.config.arch.has_highmem() && file.dirty_pages() == 0)
        })
    }

    /// An inode leaves memory; with its last name its file ends (`evict`).
    fn evict(&mut self, id: InodeId) {
        let inodes = &mut self.dcache.inodes;
        let Some(inode) = inodes.inodes.remove(id) else { return };
        inodes.by_number.remove(&(inode.mount, inode.ino));
        if let Some(place) = inode.lru {
            inodes.lru.remove(place);
        }
        if let Some(file) = inode.file {
            self.files[file].inode = None;
            if self.files[file].nlink == 0 {
                self.end_file(file);
            }
        }
        self.free_kernel_object(self.fs.mounts[inode.mount].kind.inode_cache(), inode.addr);
    }

    /// Looks at the oldest unused inodes of a node, and frees those that were not used since (`prune_icache_sb`).
    pub(crate) fn prune_icache(&mut self, node: usize, nr_to_scan: u64) -> u64 {
        let mut freed = 0;
        for _ in 0..nr_to_scan {
            let Some(id) = self.dcache.inodes.lru.pop(node) else { break };
            let shrinkable = self.mapping_shrinkable(id);
            let inode = &mut self.dcache.inodes.inodes[id];
            // One that is used, or got pages, comes back when that is over.
            inode.lru = None;
            if inode.alias.is_some() || !shrinkable {
                continue;
            }
            let file = inode.file;
            if !std::mem::take(&mut inode.referenced) {
                match file.filter(|file| self.files[*file].nrpages > 0) {
                    None => {
                        self.evict(id);
                        freed += 1;
                        continue;
                    }
                    Some(file) => self.steal_pages_of_inode(file),
                }
            }
            let inodes = &mut self.dcache.inodes;
            let inode = &mut inodes.inodes[id];
            inode.lru = inode.lru.or_else(|| Some(inodes.lru.add(node, id)));
        }
        freed
    }

    /// Pages go so that their inode can (`inode_lru_isolate`).
    fn steal_pages_of_inode(&mut self, file: FileId) {
        let event = if self.in_background { VmEvent::KswapdInodesteal } else { VmEvent::Pginodesteal };
        let gone = self.invalidate_mapping_pages(file, 0, u32::MAX);
        self.vmstat.count(event, gone);
    }

    /// Counts what the caches of the captured machine had in use.
    pub(crate) fn count_booted_names(&mut self) {
        let in_use = |machine: &Machine, name: &str| {
            machine.caches.find(name).map_or(0, |id| machine.cache_census(id).allocated)
        };
        self.dcache.booted = in_use(self, "dentry");
        self.dcache.inodes.booted = INODE_CACHES.iter().map(|name| in_use(self, name)).sum();
    }

    /// Every inode has its object, its dentry or a reason to stay, and its file; every file in use has its inode.
    pub(crate) fn first_wrong_inode(&self) -> Option<String> {
        let inodes = &self.dcache.inodes;
        let listed = inodes.inodes.iter().filter(|(_, inode)| inode.lru.is_some()).count() as u64;
        if listed != inodes.lru.total() {
            return Some(format!("{listed} inodes say they are on a list, {} are", inodes.lru.total()));
        }
        let wrong = inodes.inodes.iter().find(|(id, inode)| {
            let dentry = inode.alias.map(|alias| self.inode_of(alias));
            let kept = inode.alias.is_some() || inode.lru.is_some() || !self.mapping_shrinkable(*id);
            let kind = self.fs.mounts[inode.mount].kind.inode_cache();
            !self.is_kernel_object(kind, inode.addr)
                || !kept
                || dentry.is_some_and(|inode| inode != Some(*id))
                || inode.lru.is_some_and(|place| inodes.lru.at(place) != Some(*id))
                || inode.file.is_some_and(|file| self.files.get(file).is_none_or(|f| f.inode != Some(*id)))
        });
        if let Some((id, inode)) = wrong {
            return Some(format!("inode {id:?}, number {:#x}, at {}", inode.ino, inode.addr));
        }
        let objects = self.files.iter().filter(|(_, file)| file.inode.is_some()).count();
        let of_files = inodes.inodes.iter().filter(|(_, inode)| inode.file.is_some()).count();
        if objects != of_files {
            return Some(format!("{objects} files have an inode, {of_files} inodes have a file"));
        }
        let (_, file) = self.files.iter().find(|(id, file)| {
            let must = file.is_used() || file.nrpages > 0 || file.shmem().is_some();
            (must && file.inode.is_none()) || (file.is_used() && self.alias_of(*id).is_none())
        })?;
        Some(format!("{} is in use without inode or dentry", file.name))
    }
}
