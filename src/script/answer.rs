//! What a call gives back: a value, a refusal as a value, or the end of the script.
//!
//! | kind | Rust | in a script |
//! |---|---|---|
//! | the kernel refuses | `Result<T, Errno>` | a value: `is_err(p)`, `p == ENOMEM` |
//! | the process is told | `Result<T, Signal>` | a value; the simulated task is dead |
//! | a kernel rule is broken | `Result<T, Oops>` | ends the script with the kernel's `BUG:` line |
//! | the script is wrong | [`misuse`] | ends the script, with position and help; `try` can catch it |

use crate::mm::errno::{Errno, Oops, Signal};
use rhai::{Dynamic, EvalAltResult, Position};

/// What a script function returns.
pub type ScriptResult<T> = Result<T, Box<EvalAltResult>>;

/// To Rust a `Dynamic`; to the reader of a signature, `T` or a refusal.
pub type OrErrno<T> = <T as Answer>::OrErrno;
/// To Rust a `Dynamic`; to the reader of a signature, `T` or a signal.
pub type OrSignal<T> = <T as Answer>::OrSignal;
/// To Rust a `Dynamic`; to the reader of a signature, `T` or nothing.
pub type OrNothing<T> = <T as Answer>::OrNothing;

/// Lets [`OrErrno`] name only types that exist.
pub trait Answer {
    /// This type, or a refusal.
    type OrErrno;
    /// This type, or a signal.
    type OrSignal;
    /// This type, or `()`.
    type OrNothing;
}

impl<T> Answer for T {
    type OrErrno = Dynamic;
    type OrSignal = Dynamic;
    type OrNothing = Dynamic;
}

/// A refusal becomes a value.
pub fn answer<T: Clone + 'static>(result: Result<T, Errno>) -> OrErrno<T> {
    match result {
        Ok(value) => Dynamic::from(value),
        Err(errno) => Dynamic::from(errno),
    }
}

/// A signal becomes a value: the simulated task is dead, the script goes on.
pub fn survive<T: Clone + 'static>(result: Result<T, Signal>) -> OrSignal<T> {
    match result {
        Ok(value) => Dynamic::from(value),
        Err(signal) => Dynamic::from(signal),
    }
}

/// The value, or `()` when there is none.
pub fn maybe<T: Clone + 'static>(value: Option<T>) -> OrNothing<T> {
    value.map_or(Dynamic::UNIT, Dynamic::from)
}

/// The script is wrong: it ends here unless `try` catches it.
pub fn misuse<T>(what: impl Into<String>) -> ScriptResult<T> {
    Err(Box::new(EvalAltResult::ErrorRuntime(what.into().into(), Position::NONE)))
}

/// A kernel rule is broken: the script ends with the kernel's line, and nothing can catch it.
pub fn oops<T>(result: Result<T, Oops>) -> ScriptResult<T> {
    result.map_err(|oops| Box::new(EvalAltResult::ErrorTerminated(Dynamic::from(oops), Position::NONE)))
}

/// Is this value a refusal or a signal?
pub fn is_err(value: &Dynamic) -> bool {
    value.is::<Errno>() || value.is::<Signal>()
}

/// Why a script was ended from outside; the payload of `ErrorTerminated`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ended {
    /// Ctrl-C.
    Interrupted,
    /// The reader of the results went away.
    Closed,
    /// More output than the limit.
    TooMuchOutput(usize),
    /// More operations than the limit, calls of the kernel among them.
    TooManyOperations(u64),
    /// `exit(n)`.
    Exit(u8),
    /// No process is left to kill: the kernel's panic line.
    Panic(String),
}

/// The script ends with a status.
pub fn exit<T>(status: u8) -> ScriptResult<T> {
    // Not `EvalAltResult::Exit`: that is an ordinary value to whoever evaluates.
    Err(Box::new(EvalAltResult::ErrorTerminated(Dynamic::from(Ended::Exit(status)), Position::NONE)))
}

/// The simulated kernel panics: the run ends.
pub fn kernel_panic<T>(line: impl Into<String>) -> ScriptResult<T> {
    Err(Box::new(EvalAltResult::ErrorTerminated(Dynamic::from(Ended::Panic(line.into())), Position::NONE)))
}
