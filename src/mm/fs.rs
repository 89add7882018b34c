//! Files: their names, the file systems they lie on, and when they end.
//!
//! ```text
//!   "/data" ──► file (inode): size, links ── pages ──► its page cache, by index          filemap.rs
//!                     │                    ── i_mmap ─► areas that map it                 rmap.rs
//!                     └── backing: a disk that keeps what was written, or nothing but memory and swap   shmem.rs
//! ```
//!
//! Gorman 10, 12. Kernel: `include/linux/fs.h`, `fs/file_table.c`, `fs/super.c`.
//! Fidelity: simplified — a file lives while it has a name, an area or a descriptor; the disk is mounted by the first
//! walk, which makes the cache of its inodes. Absent — permissions, times, directories' own pages, journals.

use crate::mm::addr::{PAGE_SHIFT, PAGE_SIZE};
use crate::mm::augmented::IntervalTree;
use crate::mm::dcache::DentryId;
use crate::mm::errno::Errno;
use crate::mm::inode::InodeId;
use crate::mm::kernel_caches::KernelCache;
use crate::mm::machine::Machine;
use crate::mm::shmem::Shmem;
use crate::mm::slots::Id;
use crate::mm::xarray::{Mark, XArray};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::rc::Rc;

/// Number of a file.
pub type FileId = Id<File>;

/// The largest file: page indices have 32 bits, as on ext4 with blocks of 4 KiB.
pub const MAX_BYTES: u64 = (u32::MAX as u64) << PAGE_SHIFT;

/// The bytes of a page.
pub type Bytes = Rc<[u8; PAGE_SIZE as usize]>;

/// A kind of file system.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FsType {
    /// On a disk; as ext4 behaves towards memory.
    Ext4,
    /// In memory and swap.
    Tmpfs,
}

impl FsType {
    /// The name: `ext4`.
    pub fn name(self) -> &'static str {
        match self {
            FsType::Ext4 => "ext4",
            FsType::Tmpfs => "tmpfs",
        }
    }

    /// The cache of its inodes.
    pub fn inode_cache(self) -> KernelCache {
        match self {
            FsType::Ext4 => KernelCache::Ext4Inode,
            FsType::Tmpfs => KernelCache::ShmemInode,
        }
    }
}

/// A mounted file system (`struct super_block`).
#[derive(Clone, Debug)]
pub struct Mount {
    /// Where it hangs; nothing for the kernel's own.
    pub path: Rc<str>,
    /// Its kind.
    pub kind: FsType,
    /// Pages it may hold; 0 is no limit.
    pub max_blocks: u64,
    /// Pages its files have, in memory or in swap; only tmpfs counts.
    pub used_blocks: u64,
    /// The dentry of its root, once somebody has been there (`s_root`).
    pub root: Option<DentryId>,
}

/// The kernel's own tmpfs: shared anonymous memory, SysV segments, memfds.
pub const SHM_MNT: usize = 0;
/// The file system of the disk, where every walk begins.
pub(crate) const ROOT_MNT: usize = 1;

/// What is mounted, and which names files have.
#[derive(Clone, Debug)]
pub struct Fs {
    /// File systems; the first is the kernel's own.
    pub mounts: Vec<Mount>,
    /// Files by path.
    pub names: BTreeMap<Rc<str>, FileId>,
    next_ino: u64,
}

impl Default for Fs {
    fn default() -> Fs {
        let mount =
            |path: &str, kind| Mount { path: path.into(), kind, max_blocks: 0, used_blocks: 0, root: None };
        let mounts =
            vec![mount("", FsType::Tmpfs), mount("/", FsType::Ext4), mount("/dev/shm", FsType::Tmpfs)];
        Fs { mounts, names: BTreeMap::new(), next_ino: 1024 }
    }
}

impl Fs {
    /// The device of a mount, major and minor, as /proc/PID/maps shows it.
    pub fn device(&self, mount: usize) -> (u32, u32) {
        // Disks have numbers of their own; file systems without one take those of major 0 in turn.
        match self.mounts[mount].kind {
            FsType::Ext4 => (0xfe, 1),
            FsType::Tmpfs => (0, 1 + mount as u32),
        }
    }

    /// The mount that a path lies on: the one that hangs deepest above it.
    pub fn mount_of(&self, path: &str) -> usize {
        let above = |m: &Mount| {
            let below = path.strip_prefix(&*m.path);
            !m.path.is_empty() && below.is_some_and(|rest| m.path.ends_with('/') || rest.starts_with('/'))
        };
        (1..self.mounts.len())
            .filter(|m| above(&self.mounts[*m]))
            .max_by_key(|m| self.mounts[*m].path.len())
            .unwrap_or(ROOT_MNT)
    }

    /// True when files have names below this one.
    pub(crate) fn has_names_below(&self, path: &str) -> bool {
        let below = format!("{path}/");
        let mut names = self.names.range::<str, _>((Bound::Included(below.as_str()), Bound::Unbounded));
        names.next().is_some_and(|(name, _)| name.starts_with(&below))
    }
}

/// What a descriptor may be used for (`FMODE_READ`, `FMODE_WRITE`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FileMode {
    /// It was opened for reading.
    pub read: bool,
    /// It was opened for writing.
    pub write: bool,
}

impl FileMode {
    /// `O_RDWR`.
    pub const READ_WRITE: FileMode = FileMode { read: true, write: true };
    /// `O_RDONLY`.
    pub const READ: FileMode = FileMode { read: true, write: false };
}

/// What mmap is given of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MapFile {
    /// The file.
    pub id: FileId,
    /// The first page of it.
    pub pgoff: u64,
    /// How it was opened.
    pub mode: FileMode,
}

impl From<(FileId, u64)> for MapFile {
    fn from((id, pgoff): (FileId, u64)) -> MapFile {
        MapFile { id, pgoff, mode: FileMode::READ_WRITE }
    }
}

/// What keeps a file's pages when they are not in memory.
#[derive(Clone, Debug)]
pub enum Backing {
    /// A disk.
    Disk(Disk),
    /// Swap.
    Shmem(Shmem),
}

/// What lies on the disk of a file.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    /// Pages that were written back, with the bytes somebody had put in.
    pub written: BTreeMap<u32, Option<Bytes>>,
    /// Bytes up to here that nobody wrote have the file's pattern: page i is filled with byte i + 1.
    pub pattern: u64,
}

/// A file: what the kernel has an inode with its address space for.
#[derive(Clone, Debug)]
pub struct File {
    /// The path it was made under, or what /proc/PID/maps calls it.
    pub name: Rc<str>,
    /// Its inode number.
    pub ino: u64,
    /// The file system, by its place in [`Fs::mounts`].
    pub mount: usize,
    /// Bytes (`i_size`).
    pub size: u64,
    /// Names (`i_nlink`).
    pub nlink: u32,
    /// Descriptors that keep it without a name.
    pub opens: u32,
    /// Its pages (`i_pages`).
    pub pages: XArray,
    /// How many of them are in memory (`nrpages`).
    pub nrpages: u64,
    /// Areas that map it, by the pages they show (`i_mmap`).
    pub i_mmap: IntervalTree,
    /// Where pages go.
    pub backing: Backing,
    /// Its inode, while that is in memory.
    pub(crate) inode: Option<InodeId>,
}

impl File {
    /// Does a descriptor or an area keep it?
    #[inline]
    pub(crate) fn is_used(&self) -> bool {
        self.opens > 0 || !self.i_mmap.is_empty()
    }

    /// Its tmpfs part, if it has no disk.
    #[inline]
    pub fn shmem(&self) -> Option<&Shmem> {
        match &self.backing {
            Backing::Shmem(shmem) => Some(shmem),
            Backing::Disk(_) => None,
        }
    }

    /// Pages that its size needs.
    #[inline]
    pub fn size_pages(&self) -> u64 {
        self.size.div_ceil(PAGE_SIZE)
    }

    /// Pages that have to be written to its disk.
    pub fn dirty_pages(&self) -> u64 {
        let mut dirty = self.pages.find(0, Some(Mark::Dirty));
        let mut count = 0;
        while let Some((index, _)) = dirty {
            count += 1;
            dirty = index.checked_add(1).and_then(|next| self.pages.find(next, Some(Mark::Dirty)));
        }
        count
    }

    /// True when the first write to a shared page must be seen: it has to reach a disk (`mapping_can_writeback`).
    #[inline]
    pub fn can_writeback(&self) -> bool {
        matches!(self.backing, Backing::Disk(_))
    }

    /// What /proc/PID/maps shows.
    pub fn shown_name(&self) -> String {
        if self.nlink == 0 { format!("{} (deleted)", self.name) } else { self.name.to_string() }
    }
}

/// A path from the root without needless strokes; scripts may leave the first one out.
pub(crate) fn absolute(path: &str) -> Result<Rc<str>, Errno> {
    let mut rooted = String::new();
    for part in path.split('/').filter(|part| !part.is_empty()) {
        rooted.push('/');
        rooted.push_str(part);
    }
    if rooted.is_empty() { Err(Errno::ENOENT) } else { Ok(rooted.into()) }
}

impl Machine {
    /// A file without a name; whoever makes it keeps it by an area or a descriptor (`alloc_file_pseudo`).
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(crate) fn new_pseudo_file(
        &mut self,
        name: Rc<str>,
        mount: usize,
        size: u64,
        backing: Backing,
    ) -> Result<FileId, Errno> {
        let dentry = self.d_alloc_pseudo(&name, mount)?;
        let id = self.insert_file(name, mount, size, backing);
        self.tie_file(id, dentry);
        Ok(id)
    }

    pub(crate) fn insert_file(&mut self, name: Rc<str>, mount: usize, size: u64, backing: Backing) -> FileId {
        let ino = self.fs.next_ino;
        self.fs.next_ino += 1;
        self.files.insert(File {
            name,
            ino,
            mount,
            size,
            nlink: 0,
            opens: 0,
            pages: XArray::default(),
            nrpages: 0,
            i_mmap: IntervalTree::default(),
            backing,
            inode: None,
        })
    }

    /// One more descriptor keeps the file (`get_file`).
    pub fn get_file(&mut self, id: FileId) {
        self.files[id].opens += 1;
    }

    /// A descriptor is closed (`filp_close`).
    pub fn put_file(&mut self, id: FileId) {
        let file = &mut self.files[id];
        file.opens = file.opens.saturating_sub(1);
        self.fput(id);
    }

    /// A descriptor or an area lets go of a file; the last one lets go of its dentry (`__fput`).
    pub(crate) fn fput(&mut self, id: FileId) {
        if self.files.get(id).is_some_and(|file| !file.is_used())
            && let Some(dentry) = self.alias_of(id)
        {
            self.dput_last(dentry);
        }
    }

    /// A file ends: what it has in memory and in swap goes (`ext4_evict_inode`, `shmem_evict_inode`).
    pub(crate) fn end_file(&mut self, id: FileId) {
        self.truncate_inode_pages(id, 0);
        self.shmem_evict_inode(id);
        if let Some(segment) = self.files[id].shmem().and_then(|shmem| shmem.segment) {
            self.shm.segments.remove(&segment);
        }
        self.files.remove(id);
    }
}
