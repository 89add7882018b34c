//! The names a script may write for numbers, masks and refusals; each from the table that defines it.
//!
//! Rhai loses doc comments on constants, so their words come from the same tables as their values.

use crate::mm::addr::PAGE_SIZE;
use crate::mm::errno::Errno;
use crate::mm::gfp::{Gfp, OLD_NAMES};
use rhai::Dynamic;

/// A name, its value, and what it means.
pub struct Constant {
    /// As a script writes it.
    pub name: &'static str,
    /// What it stands for.
    pub value: Dynamic,
    /// The value as documentation shows it.
    pub shown: String,
    /// One sentence.
    pub doc: &'static str,
}

impl Constant {
    /// A number.
    pub fn int(name: &'static str, value: i64, doc: &'static str) -> Constant {
        Constant { name, value: value.into(), shown: value.to_string(), doc }
    }

    /// A set of bits.
    pub fn bits(name: &'static str, value: i64, doc: &'static str) -> Constant {
        Constant { name, value: value.into(), shown: format!("{value:#x}"), doc }
    }
}

/// `KiB`, `PAGE_SIZE` and the like.
pub fn sizes() -> Vec<Constant> {
    vec![
        Constant::int("KiB", 1 << 10, "1024 bytes."),
        Constant::int("MiB", 1 << 20, "1024 KiB."),
        Constant::int("GiB", 1 << 30, "1024 MiB."),
        Constant::int("TiB", 1 << 40, "1024 GiB."),
        Constant::int("PAGE_SIZE", PAGE_SIZE as i64, "Bytes of a page."),
        Constant::int("PAGE_SHIFT", 12, "Bits of an address inside a page."),
        Constant::int("MAX_ORDER", 11, "Orders of the buddy allocator: 0 to 10."),
    ]
}

/// Every refusal: `ENOMEM`.
pub fn errnos() -> Vec<Constant> {
    let constant = |&errno: &Errno| Constant {
        name: errno.name(),
        value: Dynamic::from(errno),
        shown: format!("errno {}", errno.number()),
        doc: errno.message(),
    };
    Errno::ALL.iter().map(constant).collect()
}

/// Every flag and mask of the page allocator, with the names of 2.4: `GFP_KERNEL`, `__GFP_WAIT`.
pub fn gfp_flags() -> Vec<Constant> {
    let constant = |&(name, gfp, doc): &(&'static str, Gfp, &'static str)| Constant {
        name,
        value: Dynamic::from(gfp),
        shown: format!("{:#x}", gfp.0),
        doc,
    };
    Gfp::FLAGS.iter().chain(OLD_NAMES).map(constant).collect()
}
