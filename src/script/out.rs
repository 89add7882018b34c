//! Where text goes: results and complaints, to streams or into a capture.
//!
//! ```text
//!   print(x) ─┐                 ┌─ capture on top?  its string
//!   a value   ├─► Out ─ line ───┤
//!   a table  ─┘                 └─ otherwise        the stream (closed pipe: quiet end)
//! ```

use std::cell::RefCell;
use std::io::{self, Write};
use std::rc::Rc;

/// The two streams of a session. Clones share them.
#[derive(Clone)]
pub struct Out(Rc<RefCell<Streams>>);

struct Streams {
    results: Box<dyn Write>,
    complaints: Box<dyn Write>,
    /// Texts being collected instead of written; the innermost is last.
    captures: Vec<String>,
    /// The streams are those of the process: a program that is started may write to them itself.
    inherited: bool,
    /// The reader went away: nothing more is written.
    closed: bool,
    /// It could not be written, for another reason.
    failed: bool,
    written: usize,
    limit: usize,
}

impl Out {
    /// Results to one stream, complaints to another.
    pub fn new(results: Box<dyn Write>, complaints: Box<dyn Write>) -> Out {
        Out(Rc::new(RefCell::new(Streams {
            results,
            complaints,
            captures: Vec::new(),
            inherited: false,
            closed: false,
            failed: false,
            written: 0,
            limit: 0,
        })))
    }

    /// The streams of the process.
    pub fn of_process() -> Out {
        let out = Out::new(Box::new(io::stdout()), Box::new(io::stderr()));
        out.0.borrow_mut().inherited = true;
        out
    }

    /// May a program that is started write to our streams itself? Not while something is captured.
    pub fn is_inherited(&self) -> bool {
        let streams = self.0.borrow();
        streams.inherited && streams.captures.is_empty()
    }

    /// Throws everything away that no capture collects.
    pub fn nowhere() -> Out {
        Out::new(Box::new(io::sink()), Box::new(io::sink()))
    }

    /// Ends a script that writes more than `bytes` of results; 0 is no limit.
    pub fn set_limit(&self, bytes: usize) {
        self.0.borrow_mut().limit = bytes;
    }

    /// Writes a result and ends the line.
    pub fn line(&self, text: &str) {
        self.write(text, true);
    }

    /// Writes a complaint and ends the line; while something is captured, complaints are part of it.
    pub fn complaint(&self, text: &str) {
        let mut streams = self.0.borrow_mut();
        if let Some(capture) = streams.captures.last_mut() {
            capture.push_str(text);
            capture.push('\n');
            return;
        }
        // Nobody can be told that standard error is gone.
        let _ = writeln!(streams.complaints, "{text}").and_then(|()| streams.complaints.flush());
    }

    fn write(&self, text: &str, newline: bool) {
        let mut streams = self.0.borrow_mut();
        streams.written += text.len() + usize::from(newline);
        if let Some(capture) = streams.captures.last_mut() {
            capture.push_str(text);
            if newline {
                capture.push('\n');
            }
            return;
        }
        if streams.closed {
            return;
        }
        let end = if newline { "\n" } else { "" };
        let written = write!(streams.results, "{text}{end}").and_then(|()| streams.results.flush());
        let Err(why) = written else { return };
        streams.closed = true;
        // A reader who has seen enough is no failure; a disk that is full is one.
        if why.kind() != io::ErrorKind::BrokenPipe {
            streams.failed = true;
            let _ = writeln!(streams.complaints, "error: results could not be written: {why}");
        }
    }

    /// Writes a result as it stands, without ending the line.
    pub fn text(&self, text: &str) {
        self.write(text, false);
    }

    /// Collects everything written while `work` runs.
    pub fn capture<T>(&self, work: impl FnOnce() -> T) -> (T, String) {
        self.0.borrow_mut().captures.push(String::new());
        let value = work();
        let text = self.0.borrow_mut().captures.pop().unwrap_or_default();
        (value, text)
    }

    /// The reader of the results went away (`| head`).
    pub fn closed(&self) -> bool {
        self.0.borrow().closed
    }

    /// Results were lost: they could not be written, though somebody wanted them.
    pub fn failed(&self) -> bool {
        self.0.borrow().failed
    }

    /// More was written than the limit allows.
    pub fn overflowed(&self) -> bool {
        let streams = self.0.borrow();
        streams.limit > 0 && streams.written > streams.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Gone;
    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn captures_nest_and_hold_complaints() {
        let out = Out::nowhere();
        let (inner, outer) = out.capture(|| {
            out.line("a");
            let (_, inner) = out.capture(|| out.complaint("b"));
            out.line("c");
            inner
        });
        assert_eq!((inner.as_str(), outer.as_str()), ("b\n", "a\nc\n"));
    }

    #[test]
    fn a_closed_pipe_is_noticed_and_quiet() {
        let out = Out::new(Box::new(Gone), Box::new(Gone));
        out.line("into the void");
        out.complaint("and this");
        assert!(out.closed());
        assert!(!out.failed());
    }

    #[test]
    fn a_full_disk_is_a_failure() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let out = Out::new(Box::new(Full), Box::new(io::sink()));
        out.line("onto the disk");
        assert!(out.closed() && out.failed());
    }
}
