//! Which kernel's rules apply.
//!
//! Kernel: `include/linux/version.h`, `UTS_RELEASE`.
//! Fidelity: imported — the name as the machine gives it; its two first numbers choose between rules that changed.

use std::fmt;
use std::ops::Deref;

/// A kernel's release: `6.1`, `6.1.0-18-amd64`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Release {
    name: Box<str>,
    /// Read once, for it is asked several times in a call.
    number: (u32, u32),
}

impl Release {
    /// Is it this one or a newer one?
    #[inline]
    pub fn since(&self, major: u32, minor: u32) -> bool {
        self.number >= (major, minor)
    }
}

impl From<&str> for Release {
    fn from(name: &str) -> Release {
        let mut numbers = name.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse().unwrap_or(0));
        let number = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        Release { name: name.into(), number }
    }
}

impl From<String> for Release {
    fn from(name: String) -> Release {
        name.as_str().into()
    }
}

impl Deref for Release {
    type Target = str;

    fn deref(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::Release;

    #[test]
    fn two_numbers_decide() {
        let debian = Release::from("6.1.0-18-amd64");
        assert!(debian.since(6, 1) && debian.since(5, 19) && !debian.since(6, 2) && !debian.since(7, 0));
        assert!(Release::from("6.12").since(6, 7) && !Release::from("6").since(6, 1));
        assert!(!Release::from("").since(0, 1));
    }
}
