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
        assert_eq!(unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) }, 1 << 20, "no room for a file");
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
