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
//!
//! Gorman chapter 10.5. Kernel: `fs/dcache.c` (`d_alloc`, `dput`, `prune_dcache_sb`).
//! Fidelity: faithful — references, the LRU list and its second chance, names longer than the inline ones, negative
//! dentries. Simplified — one file system, in which every name exists that is looked up; dentries of the boot are
//! objects without a name, which nobody can reclaim. Absent — the hash table's chains, RCU walks.

use crate::mm::addr::VirtAddr;
use crate::mm::errno::Errno;
use crate::mm::gfp::Gfp;
use crate::mm::inode::{InodeId, Inodes};
use crate::mm::kernel_caches::KernelCache;
use crate::mm::machine::Machine;
use crate::mm::slots::{Id, Slots};
use std::collections::{BTreeMap, VecDeque};

/// The number of a dentry.
pub type DentryId = Id<Dentry>;

/// The longest component of a path (`NAME_MAX`).
const NAME_MAX: usize = 255;
/// The longest path (`PATH_MAX`).
const PATH_MAX: usize = 4096;

/// A name in a directory (`struct dentry`).
#[derive(Clone, Debug)]
pub struct Dentry {
    name: String,
    parent: Option<DentryId>,
    inode: Option<InodeId>,
    /// Users and children.
    count: u32,
    /// It was used since it came to the list (`DCACHE_REFERENCED`).
    referenced: bool,
    /// It is on the list of its node (`DCACHE_LRU_LIST`).
    on_lru: bool,
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
    /// By node, oldest first.
    lru: Vec<VecDeque<DentryId>>,
    /// Names that are known not to exist.
    negative: u64,
    /// Lookups of a component that found it here, and that did not.
    pub hits: u64,
    /// See [`Dcache::hits`].
    pub misses: u64,
    pub(crate) inodes: Inodes,
}

impl Dcache {
    /// Nothing yet, with a list for each node.
    pub fn new(nodes: usize) -> Dcache {
        Dcache { lru: vec![VecDeque::new(); nodes], inodes: Inodes::new(nodes), ..Dcache::default() }
    }

    /// `nr_dentry`, `nr_unused` and `nr_negative` of /proc/sys/fs/dentry-state.
    pub fn state(&self) -> [u64; 3] {
        [self.dentries.len() as u64, self.lru.iter().map(|list| list.len() as u64).sum(), self.negative]
    }

    /// Inodes, and those without users (/proc/sys/fs/inode-state).
    pub fn inode_state(&self) -> [u64; 2] {
        self.inodes.state()
    }

    /// Dentries on a node's list.
    pub(crate) fn unused(&self, node: usize) -> u64 {
        self.lru[node].len() as u64
    }

    /// The components of a dentry's path.
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
    /// Walks a path, making the dentries and inodes it has not got; its last dentry is unused afterwards (`path_lookup`).
    ///
    /// With `exists` false the last name is one that is not there: a negative dentry remembers that.
    ///
    /// # Errors
    /// `EINVAL` for a path that does not begin with `/`; `ENOENT` for a name or a path that is too long (the kernel
    /// says `ENAMETOOLONG`); `ENOMEM`: the part of the path before stays.
    pub fn lookup(&mut self, path: &str, exists: bool) -> Result<DentryId, Errno> {
        if !path.starts_with('/') {
            return Err(Errno::EINVAL);
        }
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        if path.len() >= PATH_MAX || parts.iter().any(|part| part.len() > NAME_MAX) {
            return Err(Errno::ENOENT);
        }
        // The walk holds where it stands: reclaim may run while memory for the next one is found.
        let mut at = self.d_lookup_or_alloc(None, "", true)?;
        for (n, part) in parts.iter().enumerate() {
            let last = n + 1 == parts.len();
            let next = self.d_lookup_or_alloc(Some(at), part, exists || !last);
            self.dput(at);
            at = next?;
        }
        self.dput(at);
        Ok(at)
    }

    /// The dentry of a name, with one user more.
    fn d_lookup_or_alloc(
        &mut self,
        parent: Option<DentryId>,
        name: &str,
        exists: bool,
    ) -> Result<DentryId, Errno> {
        if let Some(&found) = self.dcache.children.get(&(parent, name.to_string())) {
            self.dcache.hits += 1;
            self.dcache.dentries[found].count += 1;
            return Ok(found);
        }
        self.dcache.misses += 1;
        self.d_alloc(parent, name, exists)
    }

    /// A new dentry with its inode (`d_alloc`, `d_add`).
    fn d_alloc(&mut self, parent: Option<DentryId>, name: &str, exists: bool) -> Result<DentryId, Errno> {
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
        let ino = self.ino_of(parent, name);
        let inode = match exists.then(|| self.iget(ino)).transpose() {
            Ok(inode) => inode,
            Err(errno) => {
                self.d_free(addr, external_name);
                return Err(errno);
            }
        };
        if let Some(parent) = parent {
            self.dcache.dentries[parent].count += 1;
        }
        let node =
            self.virt_to_pfn(addr).map_or(0, |pfn| self.zones[self.mem_map.page(pfn).zone().index()].pgdat);
        let name = name.to_string();
        let dentry = Dentry {
            name: name.clone(),
            parent,
            inode,
            // The root is the file system's, too.
            count: if parent.is_none() { 2 } else { 1 },
            referenced: false,
            on_lru: false,
            node,
            addr,
            external_name,
        };
        self.dcache.negative += u64::from(!exists);
        let id = self.dcache.dentries.insert(dentry);
        self.dcache.children.insert((parent, name), id);
        Ok(id)
    }

    /// The number of an inode: the same path always has the same one (FNV-1a).
    fn ino_of(&self, parent: Option<DentryId>, name: &str) -> u64 {
        let path = parent.map(|id| self.dcache.path(id)).unwrap_or_default();
        let hash = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        path.bytes().chain([b'/']).chain(name.bytes()).fold(0xcbf2_9ce4_8422_2325, hash)
    }

    /// A user lets go of a dentry: the last one puts it on the list, or marks it as used again (`dput`, `retain_dentry`).
    fn dput(&mut self, id: DentryId) {
        let dentry = &mut self.dcache.dentries[id];
        dentry.count -= 1;
        if dentry.count > 0 {
            return;
        }
        if dentry.on_lru {
            dentry.referenced = true;
        } else {
            dentry.on_lru = true;
            let node = dentry.node;
            self.dcache.lru[node].push_back(id);
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
            let Some(id) = self.dcache.lru[node].pop_front() else { break };
            let dentry = &mut self.dcache.dentries[id];
            if dentry.count > 0 {
                // In use after all: it comes back with its last user.
                dentry.on_lru = false;
            } else if std::mem::take(&mut dentry.referenced) {
                self.dcache.lru[node].push_back(id);
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
        self.dcache.children.remove(&(dentry.parent, dentry.name));
        self.dcache.negative -= u64::from(dentry.inode.is_none());
        if let Some(inode) = dentry.inode {
            self.put_inode(inode);
        }
        self.d_free(dentry.addr, dentry.external_name);
        if let Some(parent) = dentry.parent {
            self.dput(parent);
        }
    }

    /// Every dentry has its object, every child holds its parent, every unused one is on a list.
    pub(crate) fn first_wrong_dentry(&self) -> Option<String> {
        let mut held: BTreeMap<DentryId, u32> = BTreeMap::new();
        for (_, dentry) in self.dcache.dentries.iter() {
            if let Some(parent) = dentry.parent {
                *held.entry(parent).or_default() += 1;
            }
        }
        let listed: u64 = self.dcache.dentries.iter().filter(|(_, dentry)| dentry.on_lru).count() as u64;
        if listed != self.dcache.state()[1] {
            return Some(format!("{listed} dentries say they are on a list, {} are", self.dcache.state()[1]));
        }
        self.dcache.dentries.iter().find_map(|(id, dentry)| {
            let children = held.get(&id).copied().unwrap_or(0);
            let object = self.find_object(dentry.addr).is_some_and(|object| object.allocated);
            let wrong = dentry.count < children || (dentry.count == 0 && !dentry.on_lru) || !object;
            wrong.then(|| format!("{}: {} users, {children} children", self.dcache.path(id), dentry.count))
        })
    }
}
