//! What comes back when a call does not succeed.
//!
//! Kernel: `include/uapi/asm-generic/errno-base.h`, `include/uapi/asm-generic/siginfo.h`.
//! Fidelity: faithful — numbers, names, messages of the C library; texts of the kernel's `BUG:` lines.

use crate::mm::addr::VirtAddr;
use std::fmt;

macro_rules! errnos {
    ($($name:ident = $value:literal, $message:literal;)*) => {
        /// A refusal of the kernel. It is a result of the experiment, so it is a value.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum Errno {
            $(#[doc = $message] $name = $value,)*
        }

        impl Errno {
            /// Every refusal, in the order of its number.
            pub const ALL: &[Errno] = &[$(Errno::$name,)*];

            /// The name: `ENOMEM`.
            pub fn name(self) -> &'static str {
                match self { $(Errno::$name => stringify!($name),)* }
            }

            /// What `strerror` says: `Cannot allocate memory`.
            pub fn message(self) -> &'static str {
                match self { $(Errno::$name => $message,)* }
            }
        }
    };
}

errnos! {
    EPERM = 1, "Operation not permitted";
    ENOENT = 2, "No such file or directory";
    ESRCH = 3, "No such process";
    EINTR = 4, "Interrupted system call";
    EIO = 5, "Input/output error";
    E2BIG = 7, "Argument list too long";
    ENOEXEC = 8, "Exec format error";
    EBADF = 9, "Bad file descriptor";
    ECHILD = 10, "No child processes";
    EAGAIN = 11, "Resource temporarily unavailable";
    ENOMEM = 12, "Cannot allocate memory";
    EACCES = 13, "Permission denied";
    EFAULT = 14, "Bad address";
    EBUSY = 16, "Device or resource busy";
    EEXIST = 17, "File exists";
    ENODEV = 19, "No such device";
    ENOTDIR = 20, "Not a directory";
    EINVAL = 22, "Invalid argument";
    ENFILE = 23, "Too many open files in system";
    ETXTBSY = 26, "Text file busy";
    EFBIG = 27, "File too large";
    ENOSPC = 28, "No space left on device";
    EROFS = 30, "Read-only file system";
    EDOM = 33, "Numerical argument out of domain";
    ERANGE = 34, "Numerical result out of range";
    ENAMETOOLONG = 36, "File name too long";
    EIDRM = 43, "Identifier removed";
    EOVERFLOW = 75, "Value too large for defined data type";
    EOPNOTSUPP = 95, "Operation not supported";
}

impl Errno {
    /// The number a system call returns, negated.
    pub fn number(self) -> i32 {
        self as i32
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name(), self.message())
    }
}

/// A signal that the kernel sends to a simulated task.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signal {
    /// No area, or not that access: `SEGV_MAPERR` and `SEGV_ACCERR`.
    Segv {
        /// The address touched.
        addr: VirtAddr,
        /// An area is there but forbids the access.
        accerr: bool,
    },
    /// An address that no table can hold: `SIGSEGV` with `SI_KERNEL`, and no address.
    GeneralProtection,
    /// Beyond the end of the file behind the mapping, or no memory for a page of a file.
    Bus {
        /// The address touched.
        addr: VirtAddr,
    },
    /// Killed: by the OOM killer, or by `kill`.
    Kill,
}

impl Signal {
    /// The name: `SIGSEGV`.
    pub fn name(self) -> &'static str {
        match self {
            Signal::Segv { .. } | Signal::GeneralProtection => "SIGSEGV",
            Signal::Bus { .. } => "SIGBUS",
            Signal::Kill => "SIGKILL",
        }
    }

    /// The number: 11.
    pub fn number(self) -> i32 {
        match self {
            Signal::Segv { .. } | Signal::GeneralProtection => 11,
            Signal::Bus { .. } => 7,
            Signal::Kill => 9,
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Signal::Segv { addr, accerr: false } => write!(f, "SIGSEGV (SEGV_MAPERR) at {addr}"),
            Signal::Segv { addr, accerr: true } => write!(f, "SIGSEGV (SEGV_ACCERR) at {addr}"),
            Signal::GeneralProtection => write!(f, "SIGSEGV (SI_KERNEL): not a canonical address"),
            Signal::Bus { addr } => write!(f, "SIGBUS (BUS_ADRERR) at {addr}"),
            Signal::Kill => write!(f, "SIGKILL"),
        }
    }
}

/// A broken rule of the kernel: its text *is* its content, and starts with the kernel's own line.
///
/// It is one pointer wide, so that calls which could report one stay cheap.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Oops(Box<OopsText>);

/// What an [`Oops`] says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OopsText {
    /// The kernel's line: `BUG: Bad page state in process script  pfn:1f3c4`.
    pub line: String,
    /// What was asked, the number that decided, what to try.
    pub advice: String,
}

impl Oops {
    /// A broken rule: the kernel's line, and the sentence that explains it.
    pub fn new(line: impl Into<String>, advice: impl Into<String>) -> Oops {
        Oops(Box::new(OopsText { line: line.into(), advice: advice.into() }))
    }
}

impl std::ops::Deref for Oops {
    type Target = OopsText;
    fn deref(&self) -> &OopsText {
        &self.0
    }
}

impl fmt::Display for Oops {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.line)?;
        if self.advice.is_empty() { Ok(()) } else { write!(f, "\n  {}", self.advice) }
    }
}
