//! Rows 8, 9, 10 and 21: what a script pays for a call of the kernel, beside a call of nothing.
//!
//! A scripted access is nearly all interpreter: the rows say how little the machine adds, and what bulk verbs save.

use crate::clock::{Race, timed};
use crate::spec;
use crate::table::{Goal, Row};
use rhai::{AST, Dynamic, Engine, EvalAltResult, NativeCallContext, Scope};
use vmlab::script::bench::Bench;
use vmlab::script::limits::Limits;
use vmlab::script::out::Out;

/// Calls of one run.
const CALLS: usize = 1 << 17;
/// Pages of the area that is touched in bulk: 1 GiB.
const PAGES: usize = 1 << 18;

const START: &str = "const P = spawn(\"app\"); const A = mmap(P, 0, \"1G\", PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS); \
                     touch(P, A, \"1G\"); const C = kmem_cache_create(\"bench\", 64, 0, 0);";

/// An engine on a machine of its own, with the variables that the loops use.
struct Desk {
    engine: Engine,
    scope: Scope<'static>,
}

impl Desk {
    fn new(limits: Limits) -> Desk {
        let bench = Bench::new(spec::boot(4, 1), limits, Out::nowhere());
        let mut engine = vmlab::script::engine(&bench);
        engine.register_fn("nothing", nothing);
        engine.register_fn("nothing", nothing_of_cache);
        let mut scope = Scope::new();
        engine.run_with_scope(&mut scope, START).unwrap_or_else(|why| panic!("{why}"));
        Desk { engine, scope }
    }

    fn compile(&self, text: &str) -> AST {
        self.engine.compile_with_scope(&self.scope, text).unwrap_or_else(|why| panic!("{why}"))
    }

    /// Runs a loop of so many calls; nanoseconds a call.
    fn time(&self, ast: &AST, calls: usize) -> f64 {
        let mut scope = self.scope.clone();
        timed(calls, || self.engine.run_ast_with_scope(&mut scope, ast).unwrap_or_else(|why| panic!("{why}")))
    }
}

/// Takes what `write` takes and answers what it answers.
fn nothing(
    _: NativeCallContext,
    _task: Dynamic,
    _addr: Dynamic,
    _value: i64,
) -> Result<Dynamic, Box<EvalAltResult>> {
    Ok(Dynamic::UNIT)
}

/// Takes what `kmem_cache_alloc` and `kmem_cache_free` take, and answers what the first of them answers: a value.
fn nothing_of_cache(
    _: NativeCallContext,
    _cache: Dynamic,
    _what: Dynamic,
) -> Result<Dynamic, Box<EvalAltResult>> {
    Ok(Dynamic::from_int(0))
}

fn looped(call: &str) -> String {
    format!("let i = 0; while i < {CALLS} {{ {call}(P, A, i); i += 1; }}")
}

fn row(
    number: &'static str,
    measure: &str,
    anchor: &'static str,
    race: Race,
    reps: usize,
    goal: Goal,
) -> Vec<Row> {
    let mut race = race;
    let mut samples = race.run(reps).into_iter();
    let (theirs, ours) = (samples.next().unwrap_or_default(), samples.next().unwrap_or_default());
    vec![Row { number, measure: measure.into(), ours, anchor, theirs, unit: "ns", goal, judged: true }]
}

/// Row 8.
pub fn calls(reps: usize) -> Vec<Row> {
    let desk = Desk::new(Limits::PERSON);
    let (theirs, ours) = (desk.compile(&looped("nothing")), desk.compile(&looped("write")));
    let mut race = Race::default();
    race.add(|| desk.time(&theirs, CALLS));
    race.add(|| desk.time(&ours, CALLS));
    let goal = Goal::Within { floor: 1.4, ambitious: 1.15 };
    row("8", "scripted write(p, a, v)", "a native that does nothing", race, reps, goal)
}

/// Row 9.
pub fn bulk(reps: usize) -> Vec<Row> {
    let desk = Desk::new(Limits::PERSON);
    let (theirs, ours) = (desk.compile(&looped("write")), desk.compile("touch(P, A, \"1G\");"));
    let mut race = Race::default();
    race.add(|| desk.time(&theirs, CALLS));
    race.add(|| desk.time(&ours, PAGES));
    let goal = Goal::Faster { floor: 10.0, ambitious: 30.0 };
    row("9", "touch(p, a, len), a page", "scripted write", race, reps, goal)
}

/// Row 10.
pub fn limits(reps: usize) -> Vec<Row> {
    let (limited, mut free) = (Desk::new(Limits::PERSON), Desk::new(Limits::PERSON));
    free.engine.set_max_operations(0).on_progress(|_| None);
    let (theirs, ours) = (free.compile(&looped("write")), limited.compile(&looped("write")));
    let mut race = Race::default();
    race.add(|| free.time(&theirs, CALLS));
    race.add(|| limited.time(&ours, CALLS));
    let goal = Goal::Within { floor: 1.10, ambitious: 1.05 };
    row("10", "the same with limits and a way to stop it", "without", race, reps, goal)
}

/// Row 21.
pub fn objects(reps: usize) -> Vec<Row> {
    let pairs = |take: &str, give: &str| {
        format!("let i = 0; while i < {CALLS} {{ let o = {take}(C, GFP_KERNEL); {give}(C, o); i += 1; }}")
    };
    let desk = Desk::new(Limits::PERSON);
    let theirs = desk.compile(&pairs("nothing", "nothing"));
    let ours = desk.compile(&pairs("kmem_cache_alloc", "kmem_cache_free"));
    let mut race = Race::default();
    race.add(|| desk.time(&theirs, CALLS));
    race.add(|| desk.time(&ours, CALLS));
    let goal = Goal::Within { floor: 1.4, ambitious: 1.15 };
    let measure = "scripted kmem_cache_alloc and kmem_cache_free";
    row("21", measure, "two natives that do nothing", race, reps, goal)
}
