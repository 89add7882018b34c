//! Rows 11, 12 and 13: what a large machine costs to boot and to hold.

use crate::clock::{Race, Sample, resident, timed};
use crate::spec;
use crate::table::{Goal, Row};
use std::hint::black_box;
use vmlab::mm::Machine;

/// Row 11, its engine part: from a spec to a machine, with all memory in one node and in eight.
pub fn time(reps: usize) -> Vec<Row> {
    let mut race = Race::default();
    race.add(|| timed(1, || black_box(Machine::boot(spec::pc(1024, 64)))) / 1e6);
    race.add(|| timed(1, || black_box(Machine::boot(spec::numa(8, 128)))) / 1e6);
    let row = |(measure, ours): (&str, Sample)| Row {
        number: "11",
        measure: measure.into(),
        ours,
        anchor: "UML to init (recorded)",
        theirs: Sample::constant(1240.0),
        unit: "ms",
        goal: Goal::Faster { floor: 50.0, ambitious: 200.0 },
        judged: true,
    };
    ["boot 1 TiB, engine part", "the same in 8 nodes"].into_iter().zip(race.run(reps)).map(row).collect()
}

/// Rows 12 and 13, each in a process of its own: an allocator that has freed before hides what is added.
pub fn space(reps: usize) -> Vec<Row> {
    const MIB: f64 = (1 << 20) as f64;
    let of = |what: &str, scale: f64| {
        let mut sample = Sample::default();
        (0..reps.min(3)).for_each(|_| sample.push(in_a_child(what) / scale));
        sample
    };
    vec![
        Row {
            number: "12",
            measure: "memory added by booting 1 TiB".into(),
            ours: of("boot-1T", MIB),
            anchor: "eager mem_map of 32 B (computed)",
            theirs: Sample::constant(8192.0),
            unit: "MiB",
            goal: Goal::AtMost { floor: 32.0, ambitious: 4.0 },
            judged: true,
        },
        Row {
            number: "13",
            measure: "memory for each resident page".into(),
            ours: of("page", spec::GIB as f64),
            anchor: "struct page 64 + PTE 8 (known)",
            theirs: Sample::constant(72.0),
            unit: "B",
            goal: Goal::AtMost { floor: 72.0, ambitious: 48.0 },
            judged: true,
        },
    ]
}

/// Bytes that something adds to this process: run in a child.
pub fn added_by(what: &str) -> u64 {
    if what == "boot-1T" {
        let config = spec::pc(1024, 64);
        let before = resident();
        let machine = black_box(Machine::boot(config));
        let added = resident() - before;
        assert!(machine.is_ok());
        return added;
    }
    let mut machine = spec::boot(8, 1);
    let before = resident();
    black_box(crate::vm::Process::resident(&mut machine).pid);
    resident() - before
}

fn in_a_child(what: &str) -> f64 {
    let answer = std::env::current_exe()
        .and_then(|exe| std::process::Command::new(exe).args(["--added-by", what]).output());
    let text = answer.map(|out| String::from_utf8_lossy(&out.stdout).into_owned()).unwrap_or_default();
    text.trim().parse().unwrap_or(f64::NAN)
}
