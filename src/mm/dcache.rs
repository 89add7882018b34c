//! The dentry cache: names that were looked up, kept for the next time.
//!
//! ```text
//!   lookup("/usr/bin/cc")      "/" ◄── "usr" ◄── "bin" ◄── "cc"       each holds its parent
//!                               │        │         │         └─► inode
//!   nobody uses it any more:    └────────┴─────────┴───────────── the last one is on the LRU list
//! ```
//!
//! A dentry without users and children waits on the LRU list of its node. A shrinker takes it from there: one that
//! was used again since gets a second chance. With the dentry its inode loses its user, and waits on a list of its own.
//! Names on a tmpfs have nothing below them: their dentries stay until they are unlinked.
//!
//! Gorman chapter 10.5. Kernel: `fs/dcache.c` (`d_alloc`, `dput`, `d_delete`, `prune_dcache_sb`).
//! Fidelity: faithful — references, the LRU list and its second chance, names longer than the inline ones, negative
//! dentries. Simplified — every name exists that is looked up; descriptors and areas use the dentry of their file
//! without a `struct file` between; dentries of the boot are objects without a name, which nobody can reclaim.
//! Absent — the hash table's chains, RCU walks.

use crate::mm::addr::VirtAddr;
use crate::mm::errno::Errno;
use crate::mm::fs::{FileId, FsType};
use crate::mm::gfp::Gfp;
use crate::mm::inode::{InodeId, Inodes};
use crate::mm::kernel_caches::KernelCache;
use crate::mm::list_lru::{ListLru, Place};
use crate::mm::machine::Machine;
use crate::mm::slots::{Id, Slots};
use std::collections::BTreeMap;

/// The number of a dentry.
pub type DentryId = Id<Dentry>;

/// A name in a directory (`struct dentry`).
#[derive(Clone, Debug)]
pub struct Dentry {
    /// The root of a mount has the path it hangs at.
    name: String,
    parent: Option<DentryId>,
    inode: Option<InodeId>,
    /// The file system it lies on, by its place in `Fs::mounts`.
    mount: usize,
    /// The file system that hangs here (`DCACHE_MOUNTED`).
    covered_by: Option<usize>,
    /// Users and children; descriptors and areas of its file are not counted here.
    count: u32,
    /// A walk can find it.
    hashed: bool,
    /// It was used since it came to the list (`DCACHE_REFERENCED`).
    referenced: bool,
    /// Where it stands on the list of its node (`DCACHE_LRU_LIST`).
    lru: Option<Place>,
    node: usize,
    /// Its object.
    addr: VirtAddr,
    /// A name too long to stand inside.
    external_name: Option<VirtAddr>,
}

/// Every dentry.
#[derive(Clone, Debug, Default)]
pub struct Dcache {
    dentries: Slots<Dentry>,
    children: BTreeMap<(Option<DentryId>, String), DentryId>,
    lru: ListLru<Dentry>,
    /// Dentries of the captured machine; which paths they are of is not known.
    pub booted: u64,
    /// Lookups of a component that found it here, and that did not.
    pub hits: u64,
    /// See [`Dcache::hits`].
    pub misses: u64,
    pub(crate) inodes: Inodes,
}

impl Dcache {
    /// Nothing yet, with a list for each node.
    pub fn new(nodes: usize) -> Dcache {
        Dcache { lru: ListLru::new(nodes), inodes: Inodes::new(nodes), ..Dcache::default() }
    }

    /// `nr_dentry`, `nr_unused` and `nr_negative` of /proc/sys/fs/dentry-state: negative ones count when they are unused.
    pub fn state(&self) -> [u64; 3] {
        let negative = |(_, dentry): &(DentryId, &Dentry)| dentry.inode.is_none() && dentry.lru.is_some();
        let negative = self.dentries.iter().filter(negative).count() as u64;
        [self.booted + self.dentries.len() as u64, self.lru.total(), negative]
    }

    /// Inodes, and those without users (/proc/sys/fs/inode-state).
    pub fn inode_state(&self) -> [u64; 2] {
        self.inodes.state()
    }

    /// Dentries on a node's list.
    pub(crate) fn unused(&self, node: usize) -> u64 {
        self.lru.count(node)
    }

    /// A dentry's path; nothing for the root.
    fn path(&self, id: DentryId) -> String {
        let mut parts = Vec::new();
        let mut at = Some(id);
        while let Some(dentry) = at.map(|id| &self.dentries[id]) {
            parts.push(dentry.name.as_str());
            at = dentry.parent;
        }
        parts.reverse();
        parts.join("/")
    }
}

impl Machine {
    /// The path of the dentry whose object begins at an address.
    pub(crate) fn dentry_at(&self, addr: VirtAddr) -> Option<String> {
        let (id, _) = self.dcache.dentries.iter().find(|(_, dentry)| dentry.addr == addr)?;
        Some(self.dcache.path(id)).map(|path| if path.is_empty() { "/".into() } else { path })
    }

    /// Whose name lies at an address, outside of its dentry.
    pub(crate) fn external_name_at(&self, addr: VirtAddr) -> Option<String> {
        let (id, _) = self.dcache.dentries.iter().find(|(_, dentry)| dentry.external_name == Some(addr))?;
        Some(format!("the name of {}", self.dcache.path(id)))
    }

    /// The dentry of a name that is in the cache, with one user more (`d_lookup`).
    pub(crate) fn d_lookup(&mut self, parent: DentryId, name: &str) -> Option<DentryId> {
        let Some(&found) = self.dcache.children.get(&(Some(parent), name.to_string())) else {
            self.dcache.misses += 1;
            return None;
        };
        self.dcache.hits += 1;
        self.dcache.dentries[found].count += 1;
        Some(found)
    }

    /// The root of a file system, with one user more; its first use makes it (`d_make_root`).
    pub(crate) fn root_of(&mut self, mount: usize) -> Result<DentryId, Errno> {
        if let Some(root) = self.fs.mounts[mount].root {
            self.dcache.hits += 1;
            self.dcache.dentries[root].count += 1;
            return Ok(root);
        }
        self.dcache.misses += 1;
        let path = self.fs.mounts[mount].path.trim_end_matches('/').to_string();
        let root = self.d_alloc(None, &path, mount)?;
        self.d_add(root, true)?;
        // The mount's own.
        self.dcache.dentries[root].count += 1;
        self.fs.mounts[mount].root = Some(root);
        Ok(root)
    }

    /// A new dentry below another, with its inode if there is such a name (`d_alloc`, `d_add`).
    pub(crate) fn d_alloc_below(
        &mut self,
        parent: DentryId,
        name: &str,
        exists: bool,
    ) -> Result<DentryId, Errno> {
        let id = self.d_alloc(Some(parent), name, self.dcache.dentries[parent].mount)?;
        let path = self.dcache.path(id);
        // A file is there, whatever the caller believes.
        self.d_add(id, exists || self.fs.names.contains_key(path.as_str()))?;
        if let Some(mount) = self.fs.mounts.iter().position(|mount| *mount.path == path) {
            self.cover(id, mount);
            self.dcache.dentries[id].count += 1;
        }
        Ok(id)
    }

    /// The dentry and the inode of a file without a name; who opens it holds them (`d_alloc_pseudo`).
    pub(crate) fn d_alloc_pseudo(&mut self, name: &str, mount: usize) -> Result<DentryId, Errno> {
        let id = self.d_alloc(None, name, mount)?;
        match self.new_inode(mount) {
            Ok(inode) => self.d_instantiate(id, inode),
            Err(errno) => {
                self.dput(id);
                return Err(errno);
            }
        }
        self.dcache.dentries[id].count = 0;
        Ok(id)
    }

    /// A dentry that no walk finds yet (`__d_alloc`).
    fn d_alloc(&mut self, parent: Option<DentryId>, name: &str, mount: usize) -> Result<DentryId, Errno> {
        let addr = self.kernel_object(KernelCache::Dentry)?;
        let external_name = if name.len() >= self.config.arch.dname_inline_len() {
            match self.kmalloc(name.len() as u64 + 17, Gfp::KERNEL_ACCOUNT | Gfp::RECLAIMABLE) {
                Ok(addr) => Some(addr),
                Err(errno) => {
                    self.free_kernel_object(KernelCache::Dentry, addr);
                    return Err(errno);
                }
            }
        } else {
            None
        };
        if let Some(parent) = parent {
            self.dcache.dentries[parent].count += 1;
        }
        let dentry = Dentry {
            name: name.to_string(),
            parent,
            inode: None,
            mount,
            covered_by: None,
            count: 1,
            hashed: false,
            referenced: false,
            lru: None,
            node: self.node_of_object(addr),
            addr,
            external_name,
        };
        Ok(self.dcache.dentries.insert(dentry))
    }

    /// From now on walks find a dentry: with the inode of its path, or as a name that is not there (`d_add`).
    ///
    /// Without memory for the inode the dentry goes.
    fn d_add(&mut self, id: DentryId, exists: bool) -> Result<(), Errno> {
        if exists && let Err(errno) = self.d_make_positive(id) {
            self.dput(id);
            return Err(errno);
        }
        let dentry = &mut self.dcache.dentries[id];
        dentry.hashed = true;
        self.dcache.children.insert((dentry.parent, dentry.name.clone()), id);
        Ok(())
    }

    /// There is such a name: its dentry has an inode from now on (`d_instantiate`).
    pub(crate) fn d_make_positive(&mut self, id: DentryId) -> Result<(), Errno> {
        let dentry = &self.dcache.dentries[id];
        if dentry.inode.is_none() {
            let (path, mount) = (self.dcache.path(id), dentry.mount);
            let inode = self.iget(&path, mount)?;
            self.d_instantiate(id, inode);
        }
        Ok(())
    }

    fn d_instantiate(&mut self, id: DentryId, inode: InodeId) {
        self.dcache.inodes.set_alias(inode, Some(id));
        // Nothing below a tmpfs could bring the name back (shmem_mknod).
        let pinned = self.is_pinned(id);
        let dentry = &mut self.dcache.dentries[id];
        dentry.inode = Some(inode);
        dentry.count += u32::from(pinned);
    }

    /// Does its file system keep a dentry in memory as long as the name is there?
    fn is_pinned(&self, id: DentryId) -> bool {
        let dentry = &self.dcache.dentries[id];
        dentry.parent.is_some() && self.fs.mounts[dentry.mount].kind == FsType::Tmpfs
    }

    /// A file system hangs at a name, whose dentry it holds.
    pub(crate) fn cover(&mut self, id: DentryId, mount: usize) {
        self.dcache.dentries[id].covered_by = Some(mount);
    }

    /// The file system that hangs at a name.
    pub(crate) fn mounted_at(&self, id: DentryId) -> Option<usize> {
        self.dcache.dentries[id].covered_by
    }

    /// True with names below it that are in the cache.
    pub(crate) fn has_children(&self, id: DentryId) -> bool {
        let mut below = self.dcache.children.range((Some(id), String::new())..);
        below.next().is_some_and(|((parent, _), _)| *parent == Some(id))
    }

    /// The inode of a dentry.
    pub(crate) fn inode_of(&self, id: DentryId) -> Option<InodeId> {
        self.dcache.dentries[id].inode
    }

    /// The file that a dentry names.
    pub(crate) fn file_of_dentry(&self, id: DentryId) -> Option<FileId> {
        self.dcache.inodes.file(self.dcache.dentries[id].inode?)
    }

    /// Does anybody but the cache need it: a walk, a child, a descriptor, an area?
    fn is_used(&self, id: DentryId) -> bool {
        self.dcache.dentries[id].count > 0
            || self.file_of_dentry(id).is_some_and(|file| self.files[file].is_used())
    }

    /// A user lets go of a dentry (`dput`).
    pub(crate) fn dput(&mut self, id: DentryId) {
        self.dcache.dentries[id].count -= 1;
        self.dput_last(id);
    }

    /// The last user puts a dentry on the list, or marks it as used again; one that no walk can find, and one that says
    /// what a tmpfs does not have, goes (`retain_dentry`).
    pub(crate) fn dput_last(&mut self, id: DentryId) {
        if self.is_used(id) {
            return;
        }
        let pinned = self.is_pinned(id);
        let dentry = &mut self.dcache.dentries[id];
        if !dentry.hashed || (pinned && dentry.inode.is_none()) {
            self.dentry_kill(id);
        } else if dentry.lru.is_some() {
            dentry.referenced = true;
        } else {
            dentry.lru = Some(self.dcache.lru.add(dentry.node, id));
        }
    }

    /// The name of a dentry is taken away: it says so from now on, or nobody finds it any more while somebody still uses
    /// its file (`d_delete`). The caller is a user.
    pub(crate) fn d_delete(&mut self, id: DentryId) {
        let pinned = self.is_pinned(id);
        let others = self.file_of_dentry(id).is_some_and(|file| self.files[file].is_used());
        let dentry = &mut self.dcache.dentries[id];
        dentry.count -= u32::from(pinned);
        if others || dentry.count > 1 {
            dentry.hashed = false;
            self.dcache.children.remove(&(dentry.parent, dentry.name.clone()));
        } else if let Some(inode) = dentry.inode.take() {
            self.put_inode(inode);
        }
    }

    fn d_free(&mut self, addr: VirtAddr, external_name: Option<VirtAddr>) {
        if let Some(name) = external_name {
            // The dentry alone knew it.
            let _ = self.kfree(name);
        }
        self.free_kernel_object(KernelCache::Dentry, addr);
    }

    /// Looks at the oldest unused dentries of a node, and frees those that were not used since (`prune_dcache_sb`).
    pub(crate) fn prune_dcache(&mut self, node: usize, nr_to_scan: u64) -> u64 {
        let mut freed = 0;
        for _ in 0..nr_to_scan {
            let Some(id) = self.dcache.lru.pop(node) else { break };
            let used = self.is_used(id);
            let dentry = &mut self.dcache.dentries[id];
            // One in use after all comes back with its last user.
            dentry.lru = None;
            if used {
                continue;
            }
            if std::mem::take(&mut dentry.referenced) {
                dentry.lru = Some(self.dcache.lru.add(node, id));
            } else {
                self.dentry_kill(id);
                freed += 1;
            }
        }
        freed
    }

    /// A dentry goes: its inode loses a user, its parent a child (`__dentry_kill`).
    fn dentry_kill(&mut self, id: DentryId) {
        let Some(dentry) = self.dcache.dentries.remove(id) else { return };
        if dentry.hashed {
            self.dcache.children.remove(&(dentry.parent, dentry.name));
        }
        if let Some(place) = dentry.lru {
            self.dcache.lru.remove(place);
        }
        if let Some(inode) = dentry.inode {
            self.put_inode(inode);
        }
        self.d_free(dentry.addr, dentry.external_name);
        if let Some(parent) = dentry.parent {
            self.dput(parent);
        }
    }

    /// Every dentry has its object and its inode, every child holds its parent, every unused one is on a list.
    pub(crate) fn first_wrong_dentry(&self) -> Option<String> {
        let mut held: BTreeMap<DentryId, u32> = BTreeMap::new();
        for (_, dentry) in self.dcache.dentries.iter() {
            if let Some(parent) = dentry.parent {
                *held.entry(parent).or_default() += 1;
            }
        }
        let listed = self.dcache.dentries.iter().filter(|(_, dentry)| dentry.lru.is_some()).count() as u64;
        if listed != self.dcache.lru.total() {
            return Some(format!(
                "{listed} dentries say they are on a list, {} are",
                self.dcache.lru.total()
            ));
        }
        let hashed = self.dcache.dentries.iter().filter(|(_, dentry)| dentry.hashed).count();
        if hashed != self.dcache.children.len() {
            return Some(format!("{hashed} dentries can be found, {} names", self.dcache.children.len()));
        }
        self.dcache.dentries.iter().find_map(|(id, dentry)| {
            let children = held.get(&id).copied().unwrap_or(0);
            let wrong = dentry.count < children
                || !self.is_kernel_object(KernelCache::Dentry, dentry.addr)
                || (!self.is_used(id) && dentry.lru.is_none())
                || dentry.lru.is_some_and(|place| self.dcache.lru.at(place) != Some(id))
                || dentry.inode.is_some_and(|inode| self.dcache.inodes.alias(inode) != Some(id));
            wrong.then(|| format!("{}: {} users, {children} children", self.dcache.path(id), dentry.count))
        })
    }
}
