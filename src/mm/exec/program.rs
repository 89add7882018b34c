//! Programs and libraries as execve and ld.so see them: the loadable segments of their files.
//!
//! Kernel: `include/uapi/linux/elf.h`.
//! Fidelity: faithful — segments, relro and sizes are those of Debian 12's files, and of a static busybox.

/// A part of a file that is mapped (`PT_LOAD`).
#[derive(Debug)]
pub struct Segment {
    /// Where it lies in the file.
    pub offset: u64,
    /// Where it wants to lie, from the load address on.
    pub vaddr: u64,
    /// Bytes in the file.
    pub filesz: u64,
    /// Bytes in memory; what is more than in the file is zero.
    pub memsz: u64,
    /// `PROT_READ` 1, `PROT_WRITE` 2, `PROT_EXEC` 4.
    pub prot: u64,
}

/// A program or a library.
#[derive(Debug)]
pub struct Program {
    /// Its file.
    pub path: &'static str,
    /// Other names it is found by.
    pub aliases: &'static [&'static str],
    /// Bytes of the file.
    pub size: u64,
    /// The file's inode number.
    pub inode: u64,
    /// What is mapped, by ascending address.
    pub segments: &'static [Segment],
    /// What becomes read-only once it is relocated: address and bytes.
    pub relro: (u64, u64),
    /// It says itself where it lies (`ET_EXEC`).
    pub fixed: bool,
    /// It needs ld.so, which maps these libraries for it, in this order.
    pub needed: Option<&'static [&'static str]>,
}

const fn load(offset: u64, vaddr: u64, filesz: u64, memsz: u64, prot: u64) -> Segment {
    Segment { offset, vaddr, filesz, memsz, prot }
}

const R: u64 = 1;
const RW: u64 = 3;
const RX: u64 = 5;

/// The dynamic linker.
pub const LD_SO: &str = "/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2";
const LIBC: &str = "/usr/lib/x86_64-linux-gnu/libc.so.6";
const LIBTINFO: &str = "/usr/lib/x86_64-linux-gnu/libtinfo.so.6.4";
/// What ld.so maps while it looks for libraries.
pub const LD_SO_CACHE: (&str, u64, u64) = ("/etc/ld.so.cache", 0x5000, 1201);

/// Every program and library that is shipped.
pub const ALL: &[Program] = &[
    Program {
        path: "/bin/busybox",
        aliases: &["busybox", "sh", "/bin/sh"],
        size: 1_980_416,
        inode: 9815,
        segments: &[
            load(0x0, 0x40_0000, 0x9b8, 0x9b8, R),
            load(0x1000, 0x40_1000, 0x18_3a41, 0x18_3a41, RX),
            load(0x18_5000, 0x58_5000, 0x5_5cf4, 0x5_5cf4, R),
            load(0x1d_a6b0, 0x5d_b6b0, 0x9058, 0x1_0560, RW),
        ],
        relro: (0x5d_b6b0, 0x6950),
        fixed: true,
        needed: None,
    },
    Program {
        path: "/usr/bin/bash",
        aliases: &["bash", "/bin/bash"],
        size: 1_265_648,
        inode: 2071,
        segments: &[
            load(0x0, 0x0, 0x2_ed48, 0x2_ed48, R),
            load(0x2_f000, 0x2_f000, 0xc_0b9d, 0xc_0b9d, RX),
            load(0xf_0000, 0xf_0000, 0x3_7f44, 0x3_7f44, R),
            load(0x12_8af0, 0x12_8af0, 0xbc74, 0x1_6cf0, RW),
        ],
        relro: (0x12_8af0, 0x3510),
        fixed: false,
        needed: Some(&[LIBTINFO, LIBC]),
    },
    Program {
        path: "/usr/bin/cat",
        aliases: &["cat", "/bin/cat"],
        size: 44_016,
        inode: 2093,
        segments: &[
            load(0x0, 0x0, 0x1720, 0x1720, R),
            load(0x2000, 0x2000, 0x4da9, 0x4da9, RX),
            load(0x7000, 0x7000, 0x20e8, 0x20e8, R),
            load(0x9c30, 0xac30, 0x650, 0x7e8, RW),
        ],
        relro: (0xac30, 0x3d0),
        fixed: false,
        needed: Some(&[LIBC]),
    },
    Program {
        path: "/usr/bin/sleep",
        aliases: &["sleep", "/bin/sleep"],
        size: 43_888,
        inode: 2147,
        segments: &[
            load(0x0, 0x0, 0x14a0, 0x14a0, R),
            load(0x2000, 0x2000, 0x4609, 0x4609, RX),
            load(0x7000, 0x7000, 0x1e30, 0x1e30, R),
            load(0x9d10, 0x9d10, 0x4f0, 0x6b0, RW),
        ],
        relro: (0x9d10, 0x2f0),
        fixed: false,
        needed: Some(&[LIBC]),
    },
    Program {
        path: LD_SO,
        aliases: &[],
        size: 215_000,
        inode: 3320,
        segments: &[
            load(0x0, 0x0, 0xd58, 0xd58, R),
            load(0x1000, 0x1000, 0x2_5111, 0x2_5111, RX),
            load(0x2_7000, 0x2_7000, 0x9c7c, 0x9c7c, R),
            load(0x3_1900, 0x3_1900, 0x2810, 0x29d8, RW),
        ],
        relro: (0x3_1900, 0x1700),
        fixed: false,
        needed: None,
    },
    Program {
        path: LIBC,
        aliases: &[],
        size: 1_926_232,
        inode: 3352,
        segments: &[
            load(0x0, 0x0, 0x2_5388, 0x2_5388, R),
            load(0x2_6000, 0x2_6000, 0x15_50fc, 0x15_50fc, RX),
            load(0x17_c000, 0x17_c000, 0x5_2c31, 0x5_2c31, R),
            load(0x1c_f8d0, 0x1c_f8d0, 0x4f98, 0x1_2680, RW),
        ],
        relro: (0x1c_f8d0, 0x3730),
        fixed: false,
        needed: None,
    },
    Program {
        path: LIBTINFO,
        aliases: &[],
        size: 204_088,
        inode: 3566,
        segments: &[
            load(0x0, 0x0, 0xe0a0, 0xe0a0, R),
            load(0xf000, 0xf000, 0x1_03e1, 0x1_03e1, RX),
            load(0x2_0000, 0x2_0000, 0xd7e8, 0xd7e8, R),
            load(0x2_d850, 0x2_e850, 0x3c5c, 0x40f0, RW),
        ],
        relro: (0x2_e850, 0x37b0),
        fixed: false,
        needed: None,
    },
];

impl Program {
    /// The program with this path or name; libraries are none.
    pub fn find(name: &str) -> Option<&'static Program> {
        let runs = |p: &&Program| p.fixed || p.needed.is_some();
        ALL.iter().filter(runs).find(|p| p.path == name || p.aliases.contains(&name))
    }

    /// The library, or the linker, of this path.
    pub(crate) fn library(path: &str) -> Option<&'static Program> {
        ALL.iter().find(|p| p.path == path)
    }

    /// Names of the programs that can be run.
    pub fn names() -> impl Iterator<Item = &'static str> {
        ALL.iter().filter(|p| p.fixed || p.needed.is_some()).map(|p| p.path)
    }

    /// What the kernel calls a task that runs it: the last part of the path.
    pub fn comm(&self) -> &'static str {
        self.path.rsplit('/').next().unwrap_or(self.path)
    }

    /// Bytes from the first page to the end of the last segment (`total_mapping_size`).
    pub(crate) fn span(&self) -> u64 {
        self.segments.last().map_or(0, |last| last.vaddr + last.memsz)
    }
}
