//! What is measured: the time this thread ran, and the memory this process holds.
//!
//! Wall time moves with the neighbours of a shared machine; thread CPU time moves less. Both contestants of a row
//! are run in turn in one process, so what is left hits both.

use std::fmt;

/// Nanoseconds this thread has run.
pub fn thread_cpu() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a valid timespec, and the clock exists on every Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Runs something and answers nanoseconds for each of its `n` operations.
pub fn timed<T>(n: usize, run: impl FnOnce() -> T) -> f64 {
    let start = thread_cpu();
    std::hint::black_box(run());
    (thread_cpu() - start) as f64 / n as f64
}

/// Bytes of this process that are resident.
pub fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4096
}

/// The results of several runs.
#[derive(Clone, Default)]
pub struct Sample(Vec<f64>);

impl Sample {
    /// A value known from elsewhere.
    pub fn constant(value: f64) -> Sample {
        Sample(vec![value])
    }

    /// One more run.
    pub fn push(&mut self, value: f64) {
        self.0.push(value);
        self.0.sort_by(f64::total_cmp);
    }

    /// The middle one.
    pub fn median(&self) -> f64 {
        self.0.get(self.0.len() / 2).copied().unwrap_or(f64::NAN)
    }
}

/// `39.2 (38.1-41.0)`
impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = if self.median().abs() < 10.0 { 2 } else { 1 };
        write!(f, "{:.digits$}", self.median())?;
        match &self.0[..] {
            [low, .., high] => write!(f, " ({low:.digits$}-{high:.digits$})"),
            _ => Ok(()),
        }
    }
}

/// Contestants of one row: each call is one run, and answers nanoseconds for each operation.
#[derive(Default)]
pub struct Race<'a> {
    runners: Vec<Box<dyn FnMut() -> f64 + 'a>>,
}

impl<'a> Race<'a> {
    /// Adds a contestant.
    pub fn add(&mut self, run: impl FnMut() -> f64 + 'a) -> &mut Race<'a> {
        self.runners.push(Box::new(run));
        self
    }

    /// Runs all of them in turn: once to warm up, then `reps` times.
    pub fn run(&mut self, reps: usize) -> Vec<Sample> {
        let mut samples = vec![Sample::default(); self.runners.len()];
        for rep in 0..=reps {
            for (runner, sample) in self.runners.iter_mut().zip(&mut samples) {
                let ns = runner();
                if rep > 0 {
                    sample.push(ns);
                }
            }
        }
        samples
    }
}
