//! The limits a script runs under: generous for a person's own work, tight for a stranger's.

/// Operations that a call of the kernel counts as: it takes as long as so many steps of the interpreter.
pub const CALL: u64 = 20;

/// What a script may use up; 0 means no limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Steps of the interpreter for one script or one typed line; a call of the kernel counts as [`CALL`].
    pub operations: u64,
    /// Calls inside calls.
    pub call_levels: usize,
    /// Bytes of the longest string.
    pub string: usize,
    /// Elements of the longest array or map.
    pub array: usize,
    /// Bytes of results.
    pub output: usize,
    /// May it read and write the host's files, import modules and start programs?
    pub host: bool,
}

impl Limits {
    /// A person's own work.
    pub const PERSON: Limits = Limits {
        operations: 100_000_000,
        call_levels: 64,
        string: 64 << 20,
        array: 4 << 20,
        output: 0,
        host: true,
    };

    /// A submission that is graded, a transcript that is replayed: nothing of the host is touched.
    pub const SANDBOX: Limits =
        Limits { output: 8 << 20, string: 16 << 20, array: 1 << 20, host: false, ..Limits::PERSON };
}

impl Default for Limits {
    fn default() -> Limits {
        Limits::PERSON
    }
}
