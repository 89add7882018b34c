//! System V shared memory: segments with a number, each a file of the kernel's own tmpfs.
//!
//! ```text
//!   shmget(key) ──► segment ──► file ◄── areas that shmat made; their number is nattch
//!   IPC_RMID     ──► marked: it goes with the last area
//! ```
//!
//! Gorman 12.6. Kernel: `ipc/shm.c`.
//! Fidelity: faithful — keys, limits, addresses and flags of shmat, which areas shmdt takes, when a segment ends.
//! Simplified — numbers only grow. Absent — owners and permissions, name spaces, huge pages, locking.

use crate::mm::addr::{PAGE_SHIFT, PAGE_SIZE, VirtAddr};
use crate::mm::errno::Errno;
use crate::mm::fs::{Backing, FileId, FileMode, MapFile};
use crate::mm::machine::Machine;
use crate::mm::mmap::{map, prot};
use crate::mm::refused::Refused;
use crate::mm::task::{MmId, Pid};
use crate::mm::vma::{VmaId, page_align};
use std::collections::BTreeMap;

/// `shmget`: a new segment whatever the key of others.
pub const IPC_PRIVATE: i32 = 0;
/// `shmget`: make it if there is none.
pub const IPC_CREAT: u64 = 0o1000;
/// `shmget`: refuse if there is one.
pub const IPC_EXCL: u64 = 0o2000;
/// `shmctl`: the segment goes with its last area.
pub const IPC_RMID: i64 = 0;
/// `shmctl`: what the kernel knows of it.
pub const IPC_STAT: i64 = 2;
/// `shmget`: nothing counts as committed before it is used.
pub const SHM_NORESERVE: u64 = 0o10000;
/// `shmat`: no writing.
pub const SHM_RDONLY: u64 = 0o10000;
/// `shmat`: the address is rounded down to a page.
pub const SHM_RND: u64 = 0o20000;
/// `shmat`: what is there goes.
pub const SHM_REMAP: u64 = 0o40000;
/// `shmat`: executing is allowed.
pub const SHM_EXEC: u64 = 0o100000;
/// In the mode of a segment: it goes with its last area.
pub const SHM_DEST: u32 = 0o1000;

/// The largest segment (`shmmax`), in bytes.
const SHMMAX: u64 = u64::MAX - (1 << 24);
/// Segments there may be (`shmmni`).
const SHMMNI: usize = 4096;

/// A segment (`struct shmid_kernel`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment {
    /// What tasks name it by; 0 once it is marked to go.
    pub key: i32,
    /// Its file.
    pub file: FileId,
    /// Bytes, as asked for.
    pub size: u64,
    /// Permissions, and whether it goes with its last area.
    pub mode: u32,
}

/// All segments.
#[derive(Clone, Debug, Default)]
pub struct Shm {
    /// Segments by number.
    pub segments: BTreeMap<i32, Segment>,
    next: i32,
}

/// What `shmctl(IPC_STAT)` answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ShmStat {
    /// Areas that map it.
    pub nattch: u64,
    /// Bytes.
    pub size: u64,
    /// Permissions, and whether it goes with its last area.
    pub mode: u32,
    /// Its key.
    pub key: i32,
}

impl Machine {
    /// The number of a segment, which is made if the flags say so (`shmget`).
    ///
    /// # Errors
    /// `EINVAL` for a size of 0, or one larger than the segment there is; `ENOENT` without `IPC_CREAT`; `EEXIST` with
    /// `IPC_EXCL`; `ENOSPC` when there are too many; `ENOMEM` when that much may not be committed, or is more than a file
    /// of the simulator can have.
    pub fn shmget(&mut self, key: i32, size: u64, flags: u64) -> Result<i32, Errno> {
        let there = self.shm.segments.iter().find(|(_, s)| key != IPC_PRIVATE && s.key == key);
        if let Some((id, segment)) = there {
            let both = IPC_CREAT | IPC_EXCL;
            return match segment {
                _ if flags & both == both => Err(Errno::EEXIST),
                segment if segment.size < size => Err(Errno::EINVAL),
                _ => Ok(*id),
            };
        }
        if key != IPC_PRIVATE && flags & IPC_CREAT == 0 {
            return Err(Errno::ENOENT);
        }
        if size == 0 || size > SHMMAX {
            return Err(Errno::EINVAL);
        }
        let bytes = page_align(size).filter(|bytes| *bytes <= i64::MAX as u64).ok_or(Errno::EINVAL)?;
        if self.shm.segments.len() >= SHMMNI {
            return Err(Errno::ENOSPC);
        }
        if bytes > crate::mm::fs::MAX_BYTES {
            let most = crate::mm::fs::MAX_BYTES >> PAGE_SHIFT;
            return Err(self.refuse(Refused::File { asked: bytes >> PAGE_SHIFT, most }));
        }
        let reserve = flags & SHM_NORESERVE == 0;
        let file = self.shmem_file_setup(&format!("/SYSV{key:08x}"), bytes, reserve)?;
        let id = self.shm.next;
        self.shm.next += 1;
        if let Backing::Shmem(shmem) = &mut self.files[file].backing {
            shmem.segment = Some(id);
        }
        // /proc/PID/maps shows a segment's number where a file's inode number stands.
        self.files[file].ino = id as u64;
        self.get_file(file);
        self.shm.segments.insert(id, Segment { key, file, size, mode: (flags & 0o777) as u32 });
        Ok(id)
    }

    /// Maps a segment into a task's address space; the first address (`do_shmat`).
    ///
    /// # Errors
    /// `EINVAL` for a number that is none, an address that is no page's without `SHM_RND`, or a place that is taken
    /// without `SHM_REMAP`; as [`Machine::mmap_file`].
    pub fn shmat(&mut self, pid: Pid, id: i32, addr: VirtAddr, flags: u64) -> Result<VirtAddr, Errno> {
        let mm = self.mm_of(pid)?;
        let rounded = addr.page();
        if (rounded != addr && flags & SHM_RND == 0) || (rounded.0 == 0 && flags & SHM_REMAP != 0) {
            return Err(Errno::EINVAL);
        }
        let segment = *self.shm.segments.get(&id).ok_or(Errno::EINVAL)?;
        let (read_only, len) = (flags & SHM_RDONLY != 0, self.files[segment.file].size);
        if rounded.0 != 0 && flags & SHM_REMAP == 0 {
            let end = rounded.0.checked_add(len).ok_or(Errno::EINVAL)?;
            if self.find_vma_intersection(mm, rounded.0, end).is_some() {
                return Err(Errno::EINVAL);
            }
        }
        let fixed = if rounded.0 != 0 { map::FIXED } else { 0 };
        let access = prot::READ
            | if read_only { 0 } else { prot::WRITE }
            | if flags & SHM_EXEC != 0 { prot::EXEC } else { 0 };
        let mode = if read_only { FileMode::READ } else { FileMode::READ_WRITE };
        let file = MapFile { id: segment.file, pgoff: 0, mode };
        self.mmap_file(pid, rounded, len, access, map::SHARED | fixed, file)
    }

    /// Unmaps what an earlier `shmat` mapped at this address, all that is left of it (`ksys_shmdt`).
    ///
    /// # Errors
    /// `EINVAL` when no segment was mapped there; `ESRCH`.
    pub fn shmdt(&mut self, pid: Pid, addr: VirtAddr) -> Result<(), Errno> {
        let mm = self.mm_of(pid)?;
        if !addr.is_aligned() {
            return Err(Errno::EINVAL);
        }
        let Some((first, file)) = self.attached_from(mm, addr.0) else { return Err(Errno::EINVAL) };
        let end = addr.0.saturating_add(self.files[file].size);
        let mut next = Some(first);
        while let Some(id) = next {
            let vma = &self.vmas[id];
            let (start, vma_end) = (vma.start, vma.end);
            if vma_end > end {
                break;
            }
            let mine = vma.file == Some(file) && is_part(start, vma.pgoff, addr.0);
            if mine {
                self.as_task(pid, |m| m.do_munmap(mm, start, vma_end - start))?;
            }
            next = self.mms[mm].vmas.from(vma_end).map(|area| area.id);
            if self.files.get(file).is_none() {
                break;
            }
        }
        Ok(())
    }

    /// The first area at an address or above it that shows a segment as if it had been mapped at the address.
    fn attached_from(&self, mm: MmId, addr: u64) -> Option<(VmaId, FileId)> {
        let mut next = self.mms[mm].vmas.from(addr);
        while let Some(area) = next {
            let vma = &self.vmas[area.id];
            if let Some(file) = vma.file.filter(|file| self.closes_with_area(*file))
                && is_part(area.start, vma.pgoff, addr)
            {
                return Some((area.id, file));
            }
            next = self.mms[mm].vmas.from(area.end);
        }
        None
    }

    /// Marks a segment to go with its last area (`shmctl(IPC_RMID)`).
    ///
    /// # Errors
    /// `EINVAL` for a number that is none.
    pub fn shm_rmid(&mut self, id: i32) -> Result<(), Errno> {
        let segment = self.shm.segments.get_mut(&id).ok_or(Errno::EINVAL)?;
        if segment.mode & SHM_DEST == 0 {
            segment.mode |= SHM_DEST;
            segment.key = IPC_PRIVATE;
            let file = segment.file;
            self.put_file(file);
        }
        Ok(())
    }

    /// What the kernel knows of a segment (`shmctl(IPC_STAT)`).
    ///
    /// # Errors
    /// `EINVAL` for a number that is none.
    pub fn shm_stat(&self, id: i32) -> Result<ShmStat, Errno> {
        let segment = self.shm.segments.get(&id).ok_or(Errno::EINVAL)?;
        let nattch = self.files[segment.file].i_mmap.len() as u64;
        Ok(ShmStat { nattch, size: segment.size, mode: segment.mode, key: segment.key })
    }
}

/// Does an area that begins at `start` with this page show what an attachment at `addr` shows there?
fn is_part(start: u64, pgoff: u64, addr: u64) -> bool {
    start - addr == pgoff * PAGE_SIZE
}
