//! The bench a script works at: the one machine, what was kept of it, and where text goes.
//!
//! Clones share one bench. Take `borrow_mut()`, finish, release: a closure of the script is called with nothing
//! borrowed.

use crate::mm::Machine;
use crate::mm::config::Config;
use crate::mm::machine::SCRIPT_PID;
use crate::mm::slab_common::CacheId;
use crate::mm::task::Pid;
use crate::script::limits::Limits;
use crate::script::out::Out;
use crate::script::snapshots::Snapshots;
use crate::script::table::Table;
use crate::script::told::Told;
use rhai::{FnPtr, NativeCallContext};
use std::cell::{Cell, Ref, RefCell, RefMut};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The handle that scripts hold. Clones share the bench.
#[derive(Clone)]
pub struct Bench {
    desk: Rc<RefCell<Desk>>,
    /// Where results and complaints go.
    pub out: Out,
    stop: Arc<AtomicBool>,
    calls: Rc<Cell<u64>>,
}

/// What lies on the bench.
pub struct Desk {
    /// The machine.
    pub machine: Machine,
    /// What was kept of it.
    pub snapshots: Snapshots,
    /// Draws a table; the shell puts its renderer here.
    pub draw: fn(&Table) -> String,
    /// The same with ASCII alone.
    pub draw_ascii: fn(&Table) -> String,
    /// Draws a table as SVG.
    pub draw_svg: fn(&Table) -> String,
    /// What a script may use up.
    pub limits: Limits,
    /// How many machines stood here: a handle of an earlier one is stale.
    pub boots: u32,
    /// How often somebody worked with what lies here: a line that does may have changed the machine.
    pub changes: u64,
    /// What `events()` shows: patterns such as `kmem:*`.
    pub traced: Vec<String>,
    /// System calls are printed as strace prints them.
    pub strace: bool,
    /// The task that `vm` and `vtop` are about when none is named: what `set` chose.
    pub context: Pid,
    /// What the last call came to: `explain()` is about it.
    pub told: Told,
    /// Constructors of slab caches.
    pub ctors: BTreeMap<CacheId, FnPtr>,
}

impl Desk {
    /// Puts another machine on the bench; what was kept of the old one goes with it.
    pub fn put(&mut self, machine: Machine) {
        self.machine = machine;
        self.machine.trace.dropped = 0;
        self.snapshots = Snapshots::default();
        self.boots += 1;
        self.context = SCRIPT_PID;
        self.told = Told::default();
        self.ctors.clear();
    }
}

impl Bench {
    /// A bench with this machine on it.
    pub fn new(mut machine: Machine, limits: Limits, out: Out) -> Bench {
        // What happened during the boot is not missing from the events of a session.
        machine.trace.dropped = 0;
        out.set_limit(limits.output);
        let desk = Desk {
            machine,
            snapshots: Snapshots::default(),
            draw: |_| String::new(),
            draw_ascii: |_| String::new(),
            draw_svg: |_| String::new(),
            limits,
            boots: 0,
            changes: 0,
            traced: vec!["*".into()],
            strace: false,
            context: SCRIPT_PID,
            told: Told::default(),
            ctors: BTreeMap::new(),
        };
        Bench { desk: Rc::new(RefCell::new(desk)), out, stop: Arc::default(), calls: Rc::default() }
    }

    /// A bench for transcripts: a shipped machine, nothing of the host, text only in replies.
    ///
    /// # Errors
    /// When there is no such machine.
    pub fn sandbox(machine: &str, seed: Option<u64>) -> Result<Bench, String> {
        Bench::sandbox_of(crate::import::shipped::get(machine).map_err(|why| why.to_string())?, seed)
    }

    /// A bench without files and programs of the host, on a machine from anywhere.
    ///
    /// # Errors
    /// When the machine cannot be booted.
    pub fn sandbox_of(mut config: Config, seed: Option<u64>) -> Result<Bench, String> {
        config.seed = seed.unwrap_or(config.seed);
        let machine = Machine::boot(config).map_err(|why| why.to_string())?;
        Ok(Bench::new(machine, Limits::SANDBOX, Out::nowhere()))
    }

    /// The bench behind the call of a script function.
    ///
    /// # Panics
    ///
    /// When the engine was not made by [`engine`](crate::script::engine): a bug in vmlab.
    pub fn of(ctx: &NativeCallContext) -> Bench {
        let tag = ctx.tag().and_then(|tag| tag.read_lock::<Bench>().map(|bench| bench.clone()));
        let bench: Bench = tag.expect("the engine carries its bench");
        bench.calls.set(bench.calls.get() + 1);
        bench
    }

    /// What lies on the bench, to look at.
    pub fn borrow(&self) -> Ref<'_, Desk> {
        self.desk.borrow()
    }

    /// What lies on the bench, to work with.
    pub fn borrow_mut(&self) -> RefMut<'_, Desk> {
        let mut desk = self.desk.borrow_mut();
        desk.changes += 1;
        desk
    }

    /// The same for who only looks, or changes nothing but the session: nothing of it wants to be undone.
    pub fn borrow_to_look(&self) -> RefMut<'_, Desk> {
        self.desk.borrow_mut()
    }

    /// The text of a table, as the shell draws it.
    pub fn draw(&self, table: &Table) -> String {
        let draw = self.borrow().draw;
        draw(table)
    }

    /// The text of a table, in ASCII.
    pub fn ascii(&self, table: &Table) -> String {
        let draw = self.borrow().draw_ascii;
        draw(table)
    }

    /// A table as SVG.
    pub fn svg(&self, table: &Table) -> String {
        let draw = self.borrow().draw_svg;
        draw(table)
    }

    /// The switch that stops a running script; a signal handler may hold it.
    pub fn stop_switch(&self) -> Arc<AtomicBool> {
        self.stop.clone()
    }

    /// Was the switch thrown?
    pub fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Calls of script functions since the line or the script began.
    pub fn calls(&self) -> u64 {
        self.calls.get()
    }

    /// Makes ready for the next line.
    pub fn rearm(&self) {
        self.stop.store(false, Ordering::Relaxed);
        self.calls.set(0);
    }
}
