//! Names: walking a path, making a file under one, taking it away.
//!
//! ```text
//!   /dev/shm/ring     "/" ── "dev" ── "shm"        on the disk
//!                                       ╎ a tmpfs hangs here
//!                                      "/" ── "ring" ──► inode ──► file
//! ```
//!
//! Gorman 10.5. Kernel: `fs/namei.c` (`path_lookupat`, `lookup_open`, `vfs_unlink`), `fs/namespace.c`.
//! Fidelity: faithful — a walk makes the dentries and inodes it lacks, crosses mounts, and holds where it stands.
//! Simplified — directories come into being with the first name below them. Absent — permissions, links, renaming.

use crate::mm::addr::PAGE_SIZE;
use crate::mm::dcache::DentryId;
use crate::mm::errno::Errno;
use crate::mm::fs::{Backing, Disk, FileId, FsType, MAX_BYTES, Mount, ROOT_MNT, absolute};
use crate::mm::machine::Machine;
use crate::mm::shmem::Shmem;
use std::rc::Rc;

/// The longest component of a path (`NAME_MAX`).
const NAME_MAX: usize = 255;
/// The longest path (`PATH_MAX`).
const PATH_MAX: usize = 4096;

impl Machine {
    /// Walks a path, making the dentries and inodes it has not got; its last dentry is unused afterwards (`path_lookupat`).
    ///
    /// With `exists` false the last name is one that is not there: a negative dentry remembers that.
    ///
    /// # Errors
    /// `EINVAL` for a path that does not begin with `/`; `ENAMETOOLONG` for a name or a path that is too long;
    /// `ENOTDIR` for a name below a file; `ENOMEM`: the part of the path before stays.
    pub fn lookup(&mut self, path: &str, exists: bool) -> Result<(), Errno> {
        if !path.starts_with('/') {
            return Err(Errno::EINVAL);
        }
        let dentry = self.path_walk(path, exists)?;
        self.dput(dentry);
        Ok(())
    }

    /// The dentry of a path, with one user more: the caller's.
    fn path_walk(&mut self, path: &str, exists: bool) -> Result<DentryId, Errno> {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        if path.len() >= PATH_MAX || parts.iter().any(|part| part.len() > NAME_MAX) {
            return Err(Errno::ENAMETOOLONG);
        }
        // The walk holds where it stands: reclaim may run while memory for the next one is found.
        let mut at = self.root_of(ROOT_MNT)?;
        for (n, part) in parts.iter().enumerate() {
            let directory = n + 1 < parts.len();
            let next = self.walk_component(at, part, exists, directory);
            self.dput(at);
            at = next?;
        }
        Ok(at)
    }

    /// One step of a walk (`walk_component`, `step_into`); what hangs at the name is entered.
    fn walk_component(
        &mut self,
        parent: DentryId,
        name: &str,
        exists: bool,
        directory: bool,
    ) -> Result<DentryId, Errno> {
        if self.file_of_dentry(parent).is_some() {
            return Err(Errno::ENOTDIR);
        }
        let dentry = match self.d_lookup(parent, name) {
            Some(found) => found,
            None => self.d_alloc_below(parent, name, exists || directory)?,
        };
        let made = if directory { self.d_make_positive(dentry) } else { Ok(()) };
        let entered = made.and_then(|()| match self.mounted_at(dentry) {
            Some(mount) => self.root_of(mount).map(Some),
            None => Ok(None),
        });
        match entered {
            Ok(None) => Ok(dentry),
            Ok(Some(root)) => {
                self.dput(dentry);
                Ok(root)
            }
            Err(errno) => {
                self.dput(dentry);
                Err(errno)
            }
        }
    }

    /// Makes a file of a size (`creat`, and `ftruncate` or an earlier life that wrote it).
    ///
    /// On a disk the file has been there before: nothing of it is in memory, and page i is filled with byte i + 1. On
    /// tmpfs it is one hole: zeros that take no memory.
    ///
    /// # Errors
    /// `ENOENT` for an empty path, `ENAMETOOLONG`, `EEXIST` (a directory counts), `ENOTDIR` below a file,
    /// `EFBIG`; `ENOMEM`: there is no file then.
    pub fn create_file(&mut self, path: &str, size: u64) -> Result<FileId, Errno> {
        let name = absolute(path)?;
        if self.fs.names.contains_key(&name) || self.fs.has_names_below(&name) {
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
        let dentry = self.path_walk(&name, false)?;
        let made = if self.has_children(dentry) { Err(Errno::EEXIST) } else { self.d_make_positive(dentry) };
        let created = made.map(|()| {
            let id = self.insert_file(Rc::clone(&name), mount, size, backing);
            self.files[id].nlink = 1;
            self.tie_file(id, dentry);
            self.fs.names.insert(name, id);
            id
        });
        self.dput(dentry);
        created
    }

    /// The file of a name, as far as its file system knows: no dentry is looked at.
    ///
    /// # Errors
    /// `ENOENT`.
    pub fn lookup_file(&self, path: &str) -> Result<FileId, Errno> {
        self.fs.names.get(&absolute(path)?).copied().ok_or(Errno::ENOENT)
    }

    /// Walks to the file of a name (`do_sys_openat2`); that there is none is remembered by a negative dentry.
    ///
    /// # Errors
    /// `ENOENT`; as [`Machine::lookup`].
    pub fn open_file(&mut self, path: &str) -> Result<FileId, Errno> {
        let name = absolute(path)?;
        let file = self.fs.names.get(&name).copied();
        self.lookup(&name, file.is_some())?;
        file.ok_or(Errno::ENOENT)
    }

    /// Takes a file's name away; it ends when nobody maps it either (`vfs_unlink`, `d_delete`).
    ///
    /// # Errors
    /// `ENOENT`; `ENOMEM`: the name has to be found first, and stays.
    pub fn unlink(&mut self, path: &str) -> Result<(), Errno> {
        let name = absolute(path)?;
        let id = *self.fs.names.get(&name).ok_or(Errno::ENOENT)?;
        let dentry = self.path_walk(&name, true)?;
        self.fs.names.remove(&name);
        self.files[id].nlink -= 1;
        self.d_delete(dentry);
        self.dput(dentry);
        Ok(())
    }

    /// Mounts a tmpfs that may hold so many bytes; 0 is no limit (`mount -t tmpfs -o size=`).
    ///
    /// # Errors
    /// `ENOENT` for an empty path; `EBUSY` when something is mounted there or files lie below it; `ENOTDIR` for a file.
    pub fn mount_tmpfs(&mut self, path: &str, size: u64) -> Result<usize, Errno> {
        let path = absolute(path)?;
        if self.fs.mounts.iter().any(|m| m.path == path) || self.fs.has_names_below(&path) {
            return Err(Errno::EBUSY);
        }
        if self.fs.names.contains_key(&path) {
            return Err(Errno::ENOTDIR);
        }
        let dentry = self.path_walk(&path, true)?;
        let made = if self.has_children(dentry) { Err(Errno::EBUSY) } else { self.d_make_positive(dentry) };
        if let Err(errno) = made {
            self.dput(dentry);
            return Err(errno);
        }
        let max_blocks = size.div_ceil(PAGE_SIZE);
        self.fs.mounts.push(Mount { path, kind: FsType::Tmpfs, max_blocks, used_blocks: 0, root: None });
        // The mount keeps its user.
        self.cover(dentry, self.fs.mounts.len() - 1);
        Ok(self.fs.mounts.len() - 1)
    }

    /// Sees to it that a file's inode and dentry are in memory: whoever has a handle opens it by its name
    /// (`path_openat`).
    fn open_by_handle(&mut self, id: FileId) -> Result<(), Errno> {
        if self.alias_of(id).is_some() {
            return Ok(());
        }
        let name = Rc::clone(&self.files[id].name);
        self.lookup(&name, true)
    }

    /// Keeps a file open for the length of `f`, whatever else lets go of it meanwhile.
    ///
    /// # Errors
    /// `ENOMEM` when it cannot be opened; as `f`.
    pub(crate) fn with_file<R>(
        &mut self,
        file: FileId,
        f: impl FnOnce(&mut Machine) -> Result<R, Errno>,
    ) -> Result<R, Errno> {
        self.open_by_handle(file)?;
        self.get_file(file);
        let result = f(self);
        self.put_file(file);
        result
    }
}
