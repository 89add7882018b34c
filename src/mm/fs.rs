//! Files: their names, the file systems they lie on, and when they end.
//!
//! ```text
//!   "/data" ──► file (inode): size, links ── pages ──► its page cache, by index          filemap.rs
//!                     │                    ── i_mmap ─► areas that map it                 rmap.rs
//!                     └── backing: a disk that keeps what was written, or nothing but memory and swap   shmem.rs
//! ```
//!
//! Gorman 10, 12. Kernel: `fs/inode.c`, `fs/namei.c`, `include/linux/fs.h`.
//! Fidelity: simplified — one name space of paths without directories; a file lives while it has a name, an area or a
//! descriptor. Absent — permissions, times, directories, journals.

use crate::mm::addr::{PAGE_SHIFT, PAGE_SIZE};
use crate::mm::augmented::IntervalTree;
use crate::mm::errno::Errno;
use crate::mm::machine::Machine;
use crate::mm::shmem::Shmem;
use crate::mm::slots::Id;
use crate::mm::xarray::{Mark, XArray};
use std::collections::BTreeMap;
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
}

/// The kernel's own tmpfs: shared anonymous memory, SysV segments, memfds.
pub const SHM_MNT: usize = 0;

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
        let mount = |path: &str, kind| Mount { path: path.into(), kind, max_blocks: 0, used_blocks: 0 };
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
            .unwrap_or(1)
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
}

impl File {
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

/// A path from the root; scripts may leave the first stroke out.
fn absolute(path: &str) -> Result<Rc<str>, Errno> {
    match path.trim_end_matches('/') {
        "" => Err(Errno::ENOENT),
        rooted if rooted.starts_with('/') => Ok(rooted.into()),
        relative => Ok(format!("/{relative}").into()),
    }
}

impl Machine {
    /// Makes a file of a size (`creat`, and `ftruncate` or an earlier life that wrote it).
    ///
    /// On a disk the file has been there before: nothing of it is in memory, and page i is filled with byte i + 1. On
    /// tmpfs it is one hole: zeros that take no memory.
    ///
    /// # Errors
    /// `ENOENT` for an empty path, `EEXIST`, `EFBIG`.
    pub fn create_file(&mut self, path: &str, size: u64) -> Result<FileId, Errno> {
        let name = absolute(path)?;
        if self.fs.names.contains_key(&name) {
            return Err(Errno::EEXIST);
        }
        if size > MAX_BYTES {
            return Err(Errno::EFBIG);
        }
        let mount = self.fs.mount_of(&name);
        let backing = match self.fs.mounts[mount].kind {
            FsType::Ext4 => Backing::Disk(Disk { pattern: size, ..Disk::default() }),
            FsType::Tmpfs => Backing::Shmem(Shmem::default()),
        };
        let id = self.new_inode(Rc::clone(&name), mount, size, backing);
        self.files[id].nlink = 1;
        self.fs.names.insert(name, id);
        Ok(id)
    }

    /// A file without a name; whoever makes it keeps it by an area or a descriptor.
    pub(crate) fn new_inode(&mut self, name: Rc<str>, mount: usize, size: u64, backing: Backing) -> FileId {
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
        })
    }

    /// The file of a name.
    ///
    /// # Errors
    /// `ENOENT`.
    pub fn lookup_file(&self, path: &str) -> Result<FileId, Errno> {
        self.fs.names.get(&absolute(path)?).copied().ok_or(Errno::ENOENT)
    }

    /// Takes a file's name away; it ends when nobody maps it either (`unlink`).
    ///
    /// # Errors
    /// `ENOENT`.
    pub fn unlink(&mut self, path: &str) -> Result<(), Errno> {
        let id = self.fs.names.remove(&absolute(path)?).ok_or(Errno::ENOENT)?;
        self.files[id].nlink -= 1;
        self.iput(id);
        Ok(())
    }

    /// One more descriptor keeps the file (`get_file`).
    pub fn get_file(&mut self, id: FileId) {
        self.files[id].opens += 1;
    }

    /// A descriptor is closed (`fput`).
    pub fn put_file(&mut self, id: FileId) {
        let file = &mut self.files[id];
        file.opens = file.opens.saturating_sub(1);
        self.iput(id);
    }

    /// Keeps a file for the length of `f`, whatever else lets go of it meanwhile.
    pub(crate) fn with_file<R>(&mut self, file: Option<MapFile>, f: impl FnOnce(&mut Machine) -> R) -> R {
        let Some(file) = file else { return f(self) };
        self.get_file(file.id);
        let result = f(self);
        self.put_file(file.id);
        result
    }

    /// The file ends unless something still needs it (`iput`, `evict`).
    pub(crate) fn iput(&mut self, id: FileId) {
        let Some(file) = self.files.get(id) else { return };
        if file.nlink == 0 && file.opens == 0 && file.i_mmap.is_empty() {
            self.truncate_inode_pages(id, 0);
            self.shmem_evict_inode(id);
            if let Some(segment) = self.files[id].shmem().and_then(|shmem| shmem.segment) {
                self.shm.segments.remove(&segment);
            }
            self.files.remove(id);
        }
    }

    /// Mounts a tmpfs that may hold so many bytes; 0 is no limit (`mount -t tmpfs -o size=`).
    ///
    /// # Errors
    /// `ENOENT` for an empty path; `EBUSY` when something is mounted there or files lie below it.
    pub fn mount_tmpfs(&mut self, path: &str, size: u64) -> Result<usize, Errno> {
        let path = absolute(path)?;
        let below = format!("{path}/");
        if self.fs.mounts.iter().any(|m| m.path == path)
            || self.fs.names.keys().any(|name| name.starts_with(&below))
        {
            return Err(Errno::EBUSY);
        }
        let max_blocks = size.div_ceil(PAGE_SIZE);
        self.fs.mounts.push(Mount { path, kind: FsType::Tmpfs, max_blocks, used_blocks: 0 });
        Ok(self.fs.mounts.len() - 1)
    }
}
