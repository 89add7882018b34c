//! Words of scenarios: numbers, addresses, protections, flags; and addresses as answers show them.

use super::{BASE, Player, WINDOW};
use vmlab::mm::addr::PAGE_SIZE;

/// `12`, `0x7ff`, `3:100`: pages, and bytes. It wraps as the recorder's C does.
pub fn number(word: &str) -> u64 {
    let (pages, bytes) = word.split_once(':').unwrap_or((word, "0"));
    integer(pages).wrapping_mul(PAGE_SIZE).wrapping_add(integer(bytes))
}

/// A number as C reads it.
pub fn integer(word: &str) -> u64 {
    let word = word.trim_start_matches('+');
    match word.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).unwrap_or(0),
        None => word.parse().unwrap_or(0),
    }
}

/// `rwx` in any mixture; anything else allows nothing.
pub fn protection(word: &str) -> u64 {
    use vmlab::mm::mmap::prot;
    let bit = |letter: char| match letter {
        'r' => prot::READ,
        'w' => prot::WRITE,
        'x' => prot::EXEC,
        _ => 0,
    };
    word.chars().map(bit).fold(0, |sum, bit| sum | bit)
}

/// The sum of comma-separated flags by their names in a table.
pub fn flags(table: &[(&str, u64)], word: &str) -> u64 {
    let bit = |name: &str| {
        let found = table.iter().find(|(known, _)| *known == name);
        found.unwrap_or_else(|| panic!("unknown word {name}")).1
    };
    word.split(',').map(bit).fold(0, |sum, bit| sum | bit)
}

impl Player {
    /// `-`, `B+4`, `a-2:100`, or a plain number.
    pub fn address(&self, word: &str) -> u64 {
        if word == "-" {
            return 0;
        }
        if word.starts_with(|c: char| c.is_ascii_digit()) {
            return number(word);
        }
        let end = word.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(word.len());
        // A name that no step set comes from a step that failed: the difference is there already.
        let base = self.me.names.get(&word[..end]).copied().unwrap_or(0);
        match word[end..].split_at_checked(1) {
            Some(("+", offset)) => base.wrapping_add(number(offset)),
            Some(("-", offset)) => base.wrapping_sub(number(offset)),
            _ => base,
        }
    }

    /// `B+4`, `T-12`, `brk+8:100`, `K-33`, else hexadecimal.
    pub fn relative(&self, addr: u64) -> String {
        let (name, sign, distance) = if (BASE..=BASE + WINDOW).contains(&addr) {
            ("B", '+', addr - BASE)
        } else if (self.top - WINDOW..=self.top).contains(&addr) {
            ("T", '-', self.top - addr)
        } else if (self.brk - 64 * PAGE_SIZE..=self.brk + WINDOW).contains(&addr) {
            let sign = if addr >= self.brk { '+' } else { '-' };
            ("brk", sign, addr.abs_diff(self.brk))
        } else if (self.stack - WINDOW..=self.stack).contains(&addr) {
            ("K", '-', self.stack - addr)
        } else {
            return format!("{addr:#x}");
        };
        let (pages, bytes) = (distance / PAGE_SIZE, distance % PAGE_SIZE);
        if bytes > 0 { format!("{name}{sign}{pages}:{bytes}") } else { format!("{name}{sign}{pages}") }
    }

    /// Does an area that begins here belong to what a scenario shows?
    pub fn is_shown(&self, start: u64) -> bool {
        (BASE..BASE + WINDOW).contains(&start)
            || (self.top - WINDOW..self.top).contains(&start)
            || (self.brk..self.brk + WINDOW).contains(&start)
    }
}
