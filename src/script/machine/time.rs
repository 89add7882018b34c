//! Virtual time: letting it pass, waiting for something, reading the clock.
//!
//! Kernel: `kernel/time`.

use crate::script::answer::{ScriptResult, misuse};
use crate::script::bench::Bench;
use rhai::FnPtr;
use rhai::plugin::*;

/// Nanoseconds of a tick of the scheduler, at 250 ticks a second.
const JIFFY: u64 = 4_000_000;
/// Ticks that `run_until` waits for at most.
const PATIENCE: u32 = 1_000_000;

/// Virtual time: letting it pass, waiting for something, reading the clock.
#[export_module]
pub mod functions {
    /// Lets virtual time pass, in milliseconds; background threads work meanwhile.
    ///
    /// ```vmlab
    /// > tick(10)
    /// > now()
    /// 10.0
    /// ```
    ///
    /// Command: `tick 100`
    #[rhai_fn(return_raw)]
    pub fn tick(ctx: NativeCallContext, ms: i64) -> ScriptResult<()> {
        super::pass(&Bench::of(&ctx), ms)
    }

    /// Lets one tick of the scheduler pass: 4 ms. On a machine stopped at memblock, does the boot's next step.
    ///
    /// ```vmlab
    /// > step()
    /// > now()
    /// 4.0
    /// > boot(#{ machine: "tiny", stop: "memblock" });
    /// > step()
    /// > log
    /// [    0.000000] NODE_DATA(0) allocated [mem 0xfd5000-0xffffff]
    /// ```
    ///
    /// Command: `step`
    #[rhai_fn(return_raw)]
    pub fn step(ctx: NativeCallContext) -> ScriptResult<()> {
        let bench = Bench::of(&ctx);
        let machine = &mut bench.borrow_mut().machine;
        if machine.is_early() {
            return machine.early_step().map(|_| ()).or_else(|why| misuse(why.to_string()));
        }
        machine.charge(JIFFY);
        Ok(())
    }

    /// Lets time pass until a condition holds, and answers the milliseconds it took.
    ///
    /// ```vmlab
    /// > run_until(|| now() >= 20.0)
    /// 20.0
    /// > run_until(|| false)
    /// error: the condition did not come true: waited 1000000 ticks, 4000 s; the clock stands at 4000 s
    ///   help: time alone changes little: kernel threads work only when there is something to do; see events()
    /// ```
    #[rhai_fn(return_raw)]
    pub fn run_until(ctx: NativeCallContext, condition: FnPtr) -> ScriptResult<f64> {
        let bench = Bench::of(&ctx);
        let start = bench.borrow().machine.clock;
        for _ in 0..PATIENCE {
            if condition.call_within_context::<bool>(&ctx, ())? {
                return Ok((bench.borrow().machine.clock - start) as f64 / 1e6);
            }
            bench.borrow_mut().machine.charge(JIFFY);
        }
        let now = bench.borrow().machine.clock;
        misuse(format!(
            "the condition did not come true: waited {PATIENCE} ticks, {:.0} s; the clock stands at {:.0} s\n  \
             help: time alone changes little: kernel threads work only when there is something to do; see events()",
            (now - start) as f64 / 1e9,
            now as f64 / 1e9
        ))
    }

    /// The virtual time since boot, in milliseconds.
    ///
    /// ```vmlab
    /// > now()
    /// 0.0
    /// ```
    ///
    /// Command: `now`
    pub fn now(ctx: NativeCallContext) -> f64 {
        Bench::of(&ctx).borrow().machine.clock as f64 / 1e6
    }

    /// Lets virtual time pass, in seconds: nobody waits for it.
    ///
    /// ```vmlab
    /// > sleep(2)
    /// > now()
    /// 2000.0
    /// ```
    #[rhai_fn(return_raw)]
    pub fn sleep(ctx: NativeCallContext, seconds: i64) -> ScriptResult<()> {
        super::pass(&Bench::of(&ctx), seconds.saturating_mul(1000))
    }

    #[rhai_fn(name = "sleep", return_raw)]
    pub fn sleep_fraction(ctx: NativeCallContext, seconds: f64) -> ScriptResult<()> {
        super::pass(&Bench::of(&ctx), (seconds * 1000.0) as i64)
    }
}

/// Lets milliseconds pass.
fn pass(bench: &Bench, ms: i64) -> ScriptResult<()> {
    /// The clock counts nanoseconds in 64 bits; half of that is 292 years.
    const END: u64 = u64::MAX / 2;
    let Ok(wanted) = u64::try_from(ms) else { return misuse(format!("time does not go back: {ms} ms")) };
    let mut desk = bench.borrow_mut();
    match wanted.checked_mul(1_000_000).filter(|ns| *ns < END - desk.machine.clock.min(END)) {
        Some(ns) => {
            desk.machine.pass(ns);
            Ok(())
        }
        None => misuse(format!("{ms} ms is too long: the machine's clock ends after 292 years")),
    }
}
