//! The inode cache: files that are known, with their users and without.
//!
//! Gorman chapter 10.5. Kernel: `fs/inode.c` (`iget_locked`, `iput`, `prune_icache_sb`).
//! Fidelity: faithful — an inode without users stays until a shrinker takes it, and has a second chance. Simplified —
//! no inode is dirty, none has buffers. Absent — the inodes of the boot, and of
//! files that `create` makes: those of `lookup` are here.

use crate::mm::addr::VirtAddr;
use crate::mm::errno::Errno;
use crate::mm::kernel_caches::KernelCache;
use crate::mm::machine::Machine;
use crate::mm::slots::{Id, Slots};
use std::collections::{BTreeMap, VecDeque};

/// The number of an inode's place.
pub type InodeId = Id<Inode>;

/// A file (`struct inode`).
#[derive(Clone, Debug)]
pub struct Inode {
    ino: u64,
    /// Dentries that use it.
    count: u32,
    /// It was used since it came to the list (`I_REFERENCED`).
    referenced: bool,
    on_lru: bool,
    node: usize,
    addr: VirtAddr,
}

/// Every inode.
#[derive(Clone, Debug, Default)]
pub struct Inodes {
    inodes: Slots<Inode>,
    by_number: BTreeMap<u64, InodeId>,
    /// By node, oldest first.
    lru: Vec<VecDeque<InodeId>>,
}

impl Inodes {
    pub(crate) fn new(nodes: usize) -> Inodes {
        Inodes { lru: vec![VecDeque::new(); nodes], ..Inodes::default() }
    }

    /// Inodes, and those without users.
    pub fn state(&self) -> [u64; 2] {
        [self.inodes.len() as u64, self.lru.iter().map(|list| list.len() as u64).sum()]
    }

    /// Inodes on a node's list.
    pub(crate) fn unused(&self, node: usize) -> u64 {
        self.lru[node].len() as u64
    }
}

impl Machine {
    /// The inode with this number, with one user more (`iget_locked`).
    pub(crate) fn iget(&mut self, ino: u64) -> Result<InodeId, Errno> {
        if let Some(&id) = self.dcache.inodes.by_number.get(&ino) {
            self.dcache.inodes.inodes[id].count += 1;
            return Ok(id);
        }
        let addr = self.kernel_object(KernelCache::Inode)?;
        let node =
            self.virt_to_pfn(addr).map_or(0, |pfn| self.zones[self.mem_map.page(pfn).zone().index()].pgdat);
        let inode = Inode { ino, count: 1, referenced: false, on_lru: false, node, addr };
        let inodes = &mut self.dcache.inodes;
        let id = inodes.inodes.insert(inode);
        inodes.by_number.insert(ino, id);
        Ok(id)
    }

    /// A user lets go of an inode; the last one puts it on the list (`iput`, `inode_add_lru`).
    pub(crate) fn put_inode(&mut self, id: InodeId) {
        let inodes = &mut self.dcache.inodes;
        let inode = &mut inodes.inodes[id];
        inode.count -= 1;
        if inode.count > 0 {
            return;
        }
        if inode.on_lru {
            inode.referenced = true;
        } else {
            inode.on_lru = true;
            inodes.lru[inode.node].push_back(id);
        }
    }

    /// Looks at the oldest unused inodes of a node, and frees those that were not used since (`prune_icache_sb`).
    pub(crate) fn prune_icache(&mut self, node: usize, nr_to_scan: u64) -> u64 {
        let mut freed = 0;
        for _ in 0..nr_to_scan {
            let inodes = &mut self.dcache.inodes;
            let Some(id) = inodes.lru[node].pop_front() else { break };
            let inode = &mut inodes.inodes[id];
            if inode.count > 0 {
                inode.on_lru = false;
            } else if std::mem::take(&mut inode.referenced) {
                inodes.lru[node].push_back(id);
            } else if let Some(gone) = inodes.inodes.remove(id) {
                inodes.by_number.remove(&gone.ino);
                self.free_kernel_object(KernelCache::Inode, gone.addr);
                freed += 1;
            }
        }
        freed
    }
}
