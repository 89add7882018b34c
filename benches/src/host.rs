//! What this machine's own kernel takes for the same operations, measured in the same run.
//!
//! The figures hold on this machine only: under nested virtualisation a fault is slow. They make ratios comparable
//! from day to day, and say nothing about Linux elsewhere.

use crate::clock::timed;
use std::ptr;

const PAGE: usize = 4096;
/// Pages of 1 GiB.
pub const PAGES: usize = 1 << 18;
const LEN: usize = PAGES * PAGE;
const RW: i32 = libc::PROT_READ | libc::PROT_WRITE;

/// A private anonymous mapping of small pages.
struct Mapping {
    base: *mut u8,
    len: usize,
}

impl Mapping {
    fn new(len: usize) -> Mapping {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a fresh private mapping at a place of the kernel's choice touches nothing that exists.
        let base = unsafe { libc::mmap(ptr::null_mut(), len, RW, flags, -1, 0) };
        assert_ne!(base, libc::MAP_FAILED, "the host has no room for the comparison");
        // SAFETY: the range was just mapped. An old kernel may refuse: then pages are small anyway.
        unsafe { libc::madvise(base, len, libc::MADV_NOHUGEPAGE) };
        Mapping { base: base.cast(), len }
    }

    fn resident() -> Mapping {
        let mapping = Mapping::new(LEN);
        mapping.write();
        mapping
    }

    /// Writes one byte of every page.
    fn write(&self) {
        for page in 0..self.len / PAGE {
            // SAFETY: the page lies in the mapping, which is writable and ours alone.
            unsafe { self.base.add(page * PAGE).write_volatile(1) };
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `new`, and nobody uses it any more.
        unsafe { libc::munmap(self.base.cast(), self.len) };
    }
}

/// The first write of every page of 1 GiB; ns a fault.
pub fn anon_fault() -> f64 {
    let mapping = Mapping::new(LEN);
    timed(PAGES, || mapping.write())
}

/// munmap of 1 GiB resident; ns a page.
pub fn munmap() -> f64 {
    let mapping = Mapping::resident();
    timed(PAGES, || drop(mapping))
}

/// fork with 1 GiB resident; ns a page.
pub fn fork() -> f64 {
    let _mapping = Mapping::resident();
    let mut child = 0;
    // SAFETY: the process has one thread; the child does nothing but end.
    let ns = timed(PAGES, || child = unsafe { libc::fork() });
    end_child(child, -1);
    ns
}

/// Writes to 1 GiB that a child shares; ns a copy.
pub fn cow() -> f64 {
    let mapping = Mapping::resident();
    let mut pipe = [0; 2];
    // SAFETY: `pipe` has room for two descriptors.
    assert_eq!(unsafe { libc::pipe(pipe.as_mut_ptr()) }, 0);
    // SAFETY: the process has one thread; the child only waits and ends.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let mut byte = 0u8;
        // SAFETY: the child waits until the pipe closes; nothing of it is used afterwards.
        unsafe {
            libc::close(pipe[1]);
            libc::read(pipe[0], ptr::from_mut(&mut byte).cast(), 1);
            libc::_exit(0)
        }
    }
    let ns = timed(PAGES, || mapping.write());
    // SAFETY: the descriptors are ours.
    unsafe { libc::close(pipe[0]) };
    end_child(child, pipe[1]);
    ns
}

/// Pages of the file of [`mapped_read`].
pub const FILE_PAGES: usize = 1 << 16;

/// A read of every page of a mapped file of 256 MiB that is in memory; ns a page.
pub fn mapped_read() -> f64 {
    let len = FILE_PAGES * PAGE;
    // SAFETY: the name ends with a zero byte.
    let fd = unsafe { libc::memfd_create(c"bench".as_ptr(), 0) };
    let bytes = vec![1u8; 1 << 20];
    for _ in 0..len >> 20 {
        // SAFETY: `bytes` has as many as are written.
        assert_eq!(
            unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) },
            1 << 20,
            "no room for a file"
        );
    }
    // SAFETY: a fresh mapping at a place of the kernel's choice touches nothing that exists.
    let base = unsafe { libc::mmap(ptr::null_mut(), len, libc::PROT_READ, libc::MAP_SHARED, fd, 0) };
    assert_ne!(base, libc::MAP_FAILED, "the host has no room for the comparison");
    let mapping = Mapping { base: base.cast(), len };
    let ns = timed(FILE_PAGES, || {
        for page in 0..FILE_PAGES {
            // SAFETY: the page lies in the mapping, which can be read.
            std::hint::black_box(unsafe { mapping.base.add(page * PAGE).read_volatile() });
        }
    });
    // SAFETY: the descriptor is ours.
    unsafe { libc::close(fd) };
    ns
}

fn end_child(child: i32, pipe: i32) {
    assert!(child >= 0, "the host cannot fork");
    // SAFETY: the child of `fork` ends here; the parent closes its pipe and waits for that child alone.
    unsafe {
        if child == 0 {
            libc::_exit(0);
        }
        if pipe >= 0 {
            libc::close(pipe);
        }
        libc::waitpid(child, ptr::null_mut(), 0);
    }
}

const PAIRS: usize = 20_000;

/// mmap and munmap of one page; ns a pair.
pub fn mmap_pair() -> f64 {
    timed(PAIRS, || {
        for _ in 0..PAIRS {
            drop(std::hint::black_box(Mapping2::new()));
        }
    })
}

/// One page, without advice: the pair is two system calls.
struct Mapping2(*mut libc::c_void);

impl Mapping2 {
    fn new() -> Mapping2 {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a fresh private mapping touches nothing that exists.
        Mapping2(unsafe { libc::mmap(ptr::null_mut(), PAGE, RW, flags, -1, 0) })
    }
}

impl Drop for Mapping2 {
    fn drop(&mut self) {
        // SAFETY: the page was mapped by `new`.
        unsafe { libc::munmap(self.0, PAGE) };
    }
}

/// mprotect that splits an untouched area in three, and the one that joins it again; ns a pair.
pub fn mprotect_pair() -> f64 {
    let mapping = Mapping::new(64 * PAGE);
    // SAFETY: the middle page lies in the mapping.
    let middle = unsafe { mapping.base.add(32 * PAGE) }.cast();
    timed(PAIRS, || {
        for _ in 0..PAIRS {
            // SAFETY: the range is ours, and nobody touches it.
            unsafe {
                libc::mprotect(middle, PAGE, libc::PROT_READ);
                libc::mprotect(middle, PAGE, RW);
            }
        }
    })
}

/// A mapping of many areas: every second page may only be read.
pub struct Areas {
    mapping: Mapping,
    count: usize,
}

impl Areas {
    /// A mapping of so many areas.
    pub fn new(count: usize) -> Areas {
        let areas = Areas { mapping: Mapping::new(count * PAGE), count };
        for page in (0..count).step_by(2) {
            areas.protect(page, libc::PROT_READ);
        }
        areas
    }

    fn protect(&self, page: usize, prot: i32) {
        // SAFETY: the page lies in the mapping, which nobody reads or writes.
        let done = unsafe { libc::mprotect(self.mapping.base.add(page * PAGE).cast(), PAGE, prot) };
        assert_eq!(done, 0, "the host allows fewer areas");
    }

    /// mmap and munmap of one page beside them; ns a pair.
    pub fn map(&self) -> f64 {
        mmap_pair()
    }

    /// A page becomes like its neighbours, and other again; ns a pair.
    pub fn merge(&self) -> f64 {
        timed(PAIRS, || {
            for n in 0..PAIRS {
                let page = ((n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) % self.count as u64) as usize;
                let even = page.is_multiple_of(2);
                for writable in [even, !even] {
                    self.protect(page, if writable { RW } else { libc::PROT_READ });
                }
            }
        })
    }
}

/// mremap of 1 GiB resident to a place `shift` bytes above a multiple of 2 MiB, and back; ns for one way.
fn mremap(shift: usize) -> f64 {
    const HUGE: usize = 2 << 20;
    let room = Mapping::new(2 * LEN + 3 * HUGE);
    // Two places of which one begins at a multiple of 2 MiB, the other `shift` above one.
    let first = room.base.align_offset(HUGE);
    let (from, to) = (first, first + LEN + HUGE + shift);
    for page in 0..PAGES {
        // SAFETY: the page lies in the mapping, which is writable and ours alone.
        unsafe { room.base.add(from + page * PAGE).write_volatile(1) };
    }
    let ns = timed(2, || {
        for (old, new) in [(from, to), (to, from)] {
            let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
            // SAFETY: both ranges lie in the mapping and do not overlap; nobody uses them meanwhile.
            unsafe {
                let new = room.base.add(new).cast::<libc::c_void>();
                let moved = libc::mremap(room.base.add(old).cast(), LEN, LEN, flags, new);
                assert_eq!(moved, new);
            }
        }
    });
    ns
}

/// mremap of 1 GiB, entry by entry; ns a page.
pub fn mremap_unaligned() -> f64 {
    mremap(PAGE) / PAGES as f64
}

/// mremap of 1 GiB, table by table; us for all of it.
pub fn mremap_aligned() -> f64 {
    mremap(0) / 1000.0
}
