//! Labs keep their bargain: the starter fails, the solution passes everywhere, wrong answers get their sentence,
//! and nothing but understanding earns points.

use std::path::Path;
use vmlab::lab::author;
use vmlab::lab::grade::{self, Eyes, Grade, Submission};
use vmlab::lab::library::{self, Lab, Library};

/// Scripts recurse deep in the interpreter; test threads are small.
fn deep(work: impl FnOnce() + Send + 'static) {
    let worker = std::thread::Builder::new().stack_size(256 << 20).spawn(work).unwrap();
    if let Err(panic) = worker.join() {
        std::panic::resume_unwind(panic);
    }
}

fn labs() -> Vec<Lab> {
    Library::folder(Path::new("labs")).unwrap()
}

fn lab(number: &str) -> Lab {
    labs().into_iter().find(|lab| lab.number() == number).unwrap()
}

fn check(lab: &Lab, script: &str) -> Grade {
    let submission = Submission { file: "my.rhai", script };
    grade::check(lab, submission, lab.exercise.seeds.student, Eyes::Grader).unwrap()
}

/// Each lab in a thread of its own: they are many, and each runs its scripts under many seeds.
#[test]
fn every_lab_is_proved() {
    let prove = |lab: Lab| {
        let worker = std::thread::Builder::new().stack_size(256 << 20);
        worker.spawn(move || {
            let told = |problem| format!("{}: {problem}", lab.name);
            author::problems(&lab).into_iter().map(told).collect::<Vec<String>>()
        })
    };
    let workers: Vec<_> = labs().into_iter().map(|lab| prove(lab).unwrap()).collect();
    let problems: Vec<String> = workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect();
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

#[test]
fn numbers_are_unique() {
    let labs = labs();
    let mut numbers: Vec<&str> = labs.iter().map(Lab::number).collect();
    numbers.dedup();
    assert_eq!(numbers.len(), labs.len());
    assert!(!labs.is_empty());
}

/// The table in `src/lab/shipped.rs` names every lab and every wrong answer.
#[test]
fn every_lab_is_in_the_binary() {
    const FILE: &str = "src/lab/shipped.rs";
    let mut table = String::from("labs! {\n");
    for lab in labs() {
        let wrong: Vec<String> = lab.wrong.iter().map(|(name, _)| format!("{name:?}")).collect();
        table.push_str(&format!("    {:?}:\n        {};\n", lab.name, wrong.join(" ")));
    }
    table.push_str("}\n");
    let text = std::fs::read_to_string(FILE).unwrap();
    let start = text.find("labs! {\n").unwrap();
    let end = start + text[start..].find("\n}\n").unwrap() + 3;
    if text[start..end] != table && std::env::var_os("UPDATE").is_some() {
        std::fs::write(FILE, format!("{}{table}{}", &text[..start], &text[end..])).unwrap();
    }
    assert_eq!(&text[start..end], table, "UPDATE=1 cargo test --test labs writes it anew");
    // What was embedded is what lies there: the binary was built from it.
    let shipped = Library::at(Path::new("nowhere")).unwrap().labs;
    for (here, there) in labs().iter().zip(&shipped) {
        assert_eq!((&here.name, &here.start, &here.wrong), (&there.name, &there.start, &there.wrong));
    }
}

/// The right answers, and then something that must cost them.
fn spoiled(lab: &Lab, spoiler: &str) -> Grade {
    check(lab, &format!("{}\n{spoiler}\n", lab.solution))
}

#[test]
fn a_script_that_does_not_end_by_itself_earns_nothing() {
    deep(|| {
        for lab in labs() {
            for spoiler in [
                "exit(0);",
                "exit(1);",
                "throw \"enough\";",
                "nonsense(1);",
                "loop {}",
                "fn f(n) { f(n + 1) } f(0);",
                "__free_pages(alloc_page(GFP_KERNEL), 3);",
            ] {
                let grade = spoiled(&lab, spoiler);
                assert_eq!(grade.score(), 0, "{}: {spoiler}", lab.name);
                assert!(grade.foul.is_some_and(|foul| !foul.text.is_empty()), "{}: {spoiler}", lab.name);
            }
        }
    });
}

#[test]
fn a_machine_that_was_taken_back_proves_nothing() {
    deep(|| {
        for lab in labs() {
            for spoiler in [
                "boot(\"tiny\");",
                "reset();",
                "let s = snapshot(); restore(s);",
                "Fn(\"boot\").call(\"tiny\");",
            ] {
                let grade = spoiled(&lab, spoiler);
                assert_eq!(grade.score(), 0, "{}: {spoiler}", lab.name);
            }
        }
    });
}

#[test]
fn a_prediction_changes_nothing() {
    deep(|| {
        let lab = lab("10");
        for spoiler in [
            "alloc_page(GFP_KERNEL);",
            "tick(1);",
            "random(2);",
            "seed(3);",
            "sysctl(\"vm.swappiness\", 10);",
            "echo(\"10\", \"/proc/sys/vm/swappiness\");",
            "spawn(\"hog\");",
        ] {
            let grade = spoiled(&lab, spoiler);
            let why = grade.foul.clone().map(|foul| foul.text).unwrap_or_default();
            assert!(why.starts_with("A prediction is made before"), "{spoiler}: {why}");
            assert_eq!(grade.score(), 0, "{spoiler}");
        }
    });
}

#[test]
fn forgeries_earn_nothing() {
    deep(|| {
        for lab in labs() {
            for forgery in [
                "",
                "print(\"== 10 watermark-arithmetic ==\\n  a: OK (0.0s)\\nScore: 10/10\");",
                "fn nr_free_pages() { 0 } fn zone(name) { #{ free: 0, min: 0 } } fn vmstat(name) { 0 } fn is_err(x) { true }",
                "fn off(a, b) { 0 } fn refused(mask) { #{ all: 0, dma32: 0, dma: 0 } } fn out_of_memory() { #{ comm: \"\", score: 0 } }",
                "let kernel = || 1; let atomic = Fn(\"off\"); let child = #{}; let parent = []; let victim = |x| true; let spared = ();",
                "let k = #{ all: 0 }; let killed = #{ comm: \"x\" }; let victim = killed; const used = 0;",
                "import \"labs/10-watermark-arithmetic/solution\" as s;",
                "cat(\"/etc/passwd\");",
                "let given = #{ pages: 0, written: 0, min_free_kbytes: 0, asks: \"\" };",
            ] {
                let grade = check(&lab, forgery);
                assert_eq!(grade.score(), 0, "{}: {forgery}", lab.name);
            }
        }
    });
}

#[test]
fn hostile_scripts_are_contained() {
    deep(|| {
        for lab in labs() {
            for hostile in [
                "let s = \"x\"; loop { s += s; }",
                "let a = []; loop { a.push(a); }",
                "let a = []; a.pad(1000000000, 0);",
                "let m = #{}; let i = 0; loop { m[`k${i}`] = i; i += 1; }",
                "loop { print(\"spam\"); }",
                "let text = \"\"; text.pad(60000, 'x'); loop { print(text); }",
                "let f = |f| f.call(f); f.call(f);",
                "((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((",
                "eval(\"1\");",
                "let x = ;",
                "\u{0}\u{1b}[2J",
                "let a = 0; for i in 0..9223372036854775807 { a += i; }",
                "let s = spawn(\"a\"); loop { fork(s); }",
                "let s = spawn(\"a\"); loop { touch(s, mmap(s, 0, \"64M\", 3, 0x22), \"64M\"); }",
                "loop { if is_err(alloc_pages(GFP_ATOMIC, 0)) { break; } }",
                "tick(9223372036854775807);",
                "sysctl(\"vm.min_free_kbytes\", 9223372036854775807);",
                "throw #{ score: 10 };",
            ] {
                let grade = check(&lab, hostile);
                assert_eq!(grade.score(), 0, "{}: {hostile}", lab.name);
            }
        }
    });
}

#[test]
fn the_numbers_of_one_machine_are_not_an_understanding() {
    deep(|| {
        let lab = lab("32");
        // Right under the student's seed, whatever that gives.
        let own = lab.exercise.seeds.student;
        let stage = vmlab::lab::trial::Stage::set(&lab, own).unwrap();
        let (pages, written) = (stage.given["pages"].clone(), stage.given["written"].clone());
        let script = format!(
            "let child = {written}; let parent = {pages}; let copies = {pages}; let again = {pages}; let last = 0;"
        );
        let submission = Submission { file: "my.rhai", script: &script };
        assert!(grade::check(&lab, submission, own, Eyes::Student).unwrap().is_full());
        let seeds = lab.exercise.seeds.others(own);
        let others = grade::check_all_seeds(&lab, submission, seeds, Eyes::Student).unwrap();
        assert_eq!(others.score(), 2, "only the last number is the same everywhere");
    });
}

#[test]
fn a_mistake_is_named_with_its_line() {
    deep(|| {
        let lab = lab("10");
        let script = &lab.wrong.iter().find(|(name, _)| name == "no-lowmem-reserve").unwrap().1;
        let grade = check(&lab, script);
        assert_eq!(grade.score(), 6);
        let report = vmlab::lab::report::goals(&lab, &grade, vmlab::shell::theme::Theme::PLAIN);
        for part in [
            "== 10 watermark-arithmetic ==\n",
            "  GFP_KERNEL has to reclaim: FAIL (0.0s, 2 of 4 points)\n",
            "    DMA keeps more than its min from those who could be served higher up.\n",
            "    my.rhai:9: kernel += min;\n",
            "  __GFP_MEMALLOC is refused: OK (0.0s)\n",
        ] {
            assert!(report.contains(part), "{part:?} is not in\n{report}");
        }
    });
}

#[test]
fn a_skeleton_is_a_lab() {
    deep(|| {
        let root = std::env::temp_dir().join(format!("vmlab-skeleton-{}", std::process::id()));
        let out = vmlab::script::out::Out::nowhere();
        let room = vmlab::lab::command::Room {
            width: None,
            json: false,
            library: Library::at(&root).unwrap(),
            out,
            theme: vmlab::shell::theme::Theme::PLAIN,
            call: "lab",
        };
        assert_eq!(author::new(&room, "60-my-lab"), Ok(0));
        assert!(author::new(&room, "60-my-lab").is_err() && author::new(&room, "../x").is_err());
        let lab = library::read_lab("60-my-lab", &root.join("60-my-lab")).unwrap();
        let problems = author::problems(&lab);
        std::fs::remove_dir_all(&root).unwrap();
        assert!(problems.is_empty(), "{problems:?}");
    });
}

/// A lab of a test's own: what the shipped ones do not use is held here.
fn own(yaml: &str) -> Lab {
    let rest = "chapter: 3\nminutes: 5\nstory: s\nmachine: tiny\nhints: [h]\nlesson: l\n";
    Lab::new("labs/90-own".into(), "90-own", &format!("title: t\n{rest}{yaml}"), "", "", Vec::new()).unwrap()
}

#[test]
fn a_lab_of_causes_reveals_what_it_wants_to() {
    deep(|| {
        let lab = own("kind: cause\npoints: 8\ngoals:\n\
            - { name: full, that: used.pages == 4, points: 2, else: 'took ${used.pages}', reveal: full }\n\
            - { name: actual, that: used.pages == 4, points: 2, partial: used.pages - 1, else: 'took `${used.pages}`' }\n\
            - { name: name, that: used.pages == 4, points: 2, else: secret, reveal: name }\n\
            - { name: hidden, that: used.ms < 5, points: 2, else: slow, hidden: true }\n");
        let run =
            |script: &str, eyes| grade::check(&lab, Submission { file: "my.rhai", script }, 1, eyes).unwrap();
        let grade = run("alloc_pages(GFP_KERNEL, 1);", Eyes::Student);
        let why: Vec<Vec<String>> = grade.goals.iter().map(|goal| goal.why.clone()).collect();
        assert_eq!(why, [vec!["took 2", "wanted: used.pages == 4"], vec!["took `2`"], vec![]]);
        assert_eq!((grade.score(), grade.points(), grade.unseen), (1, 6, 1));
        let grade = run("alloc_pages(GFP_KERNEL, 2);", Eyes::Grader);
        assert_eq!((grade.score(), grade.points(), grade.is_full()), (8, 8, true));
        assert_eq!(run("alloc_pages(GFP_KERNEL, 2); tick(9);", Eyes::Grader).score(), 6);
        // Part of the points is never all of them.
        assert_eq!(run("alloc_pages(GFP_KERNEL, 5);", Eyes::Student).goals[1].earned, 1);
    });
}

#[test]
fn what_is_over_budget_earns_nothing() {
    deep(|| {
        let lab = own("kind: cause\npoints: 1\ngoals: [{ that: 'true', points: 1, else: e }]\n\
            budget: { operations: 5000, pages: 8, faults: 2, ms: 10 }\n");
        for (script, part) in [
            ("alloc_pages(GFP_KERNEL, 3);", ""),
            ("alloc_pages(GFP_KERNEL, 4);", "used 16 page frames; this lab allows 8"),
            ("tick(11);", "used 11 ms of virtual time; this lab allows 10"),
            ("let n = 0; while n < 5000 { n += 1; }", "more than 5000 steps"),
        ] {
            let grade = check(&lab, script);
            let why = grade.foul.clone().map(|foul| foul.text).unwrap_or_default();
            assert!(why.contains(part) && grade.is_full() == part.is_empty(), "{script}: {why}");
        }
        let faults = own(
            "kind: cause\npoints: 1\ngoals: [{ that: 'true', points: 1, else: e }]\nbudget: { faults: 2 }\n",
        );
        let three = "let p = spawn(\"a\"); touch(p, mmap(p, 0, \"12k\", PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS), \"12k\");";
        assert!(
            check(&faults, three)
                .foul
                .is_some_and(|foul| foul.text.contains("page faults; this lab allows 2"))
        );
    });
}

/// A lab that is wrong says so, and is nobody's zero.
#[test]
fn a_broken_lab_is_told_from_a_wrong_answer() {
    deep(|| {
        for (yaml, part) in [
            (
                "kind: cause\npoints: 1\nsetup: nonsense()\ngoals: [{ that: 'true', points: 1, else: e }]\n",
                "nonsense",
            ),
            ("kind: cause\npoints: 1\ngiven: '1'\ngoals: [{ that: 'true', points: 1, else: e }]\n", "no map"),
        ] {
            let lab = own(yaml);
            let broken = grade::check(&lab, Submission { file: "my.rhai", script: "" }, 1, Eyes::Grader);
            assert!(broken.is_err_and(|why| why.to_string().contains(part)), "{yaml}");
        }
        // A goal may fail over what the student answered: not met, no bug, and `dev check` tells the author.
        for (goal, part) in [
            ("{ that: '1', points: 1, else: e }", "true or false"),
            ("{ that: 'false', points: 1, else: '${nope}' }", "nope"),
            ("{ that: 'false', points: 1, partial: '\"x\"', else: e }", "an int"),
            ("{ that: n - 1 > 0, points: 1, else: e }", "overflow"),
        ] {
            let answers = "answers: [{ name: n, is: int, what: a number }]";
            let lab = own(&format!("kind: cause\npoints: 1\n{answers}\ngoals: [{goal}]\n"));
            let grade = check(&lab, "let n = -9223372036854775807 - 1;");
            assert!(
                !grade.is_full() && grade.goals[0].why[0].contains(part),
                "{goal}: {:?}",
                grade.goals[0].why
            );
            assert_eq!(grade.unclear().len(), 1);
        }
    });
}

/// A lab may boot a machine of a size that depends on the seed; its student may not.
#[test]
fn the_author_boots_and_the_student_does_not() {
    deep(|| {
        let lab = own(
            "kind: cause\npoints: 1\nsetup: 'boot(#{ mem: `${32 + random(32)}M` }); let s = snapshot(); restore(s);'\n\
            goals: [{ that: 'used.pages == 1', points: 1, else: e }]\n",
        );
        assert!(check(&lab, "alloc_page(GFP_KERNEL);").is_full());
        for back in ["boot(\"tiny\");", "restore(1);", "reset();"] {
            let grade = check(&lab, &format!("alloc_page(GFP_KERNEL); {back}"));
            assert!(grade.foul.is_some() && grade.score() == 0, "{back}");
        }
    });
}

/// What the author's scripts leave behind hides no answer, and a parameter that would is reported.
#[test]
fn an_answer_is_what_the_student_said() {
    deep(|| {
        let rest = "answers: [{ name: n, is: int, what: a number }]\n\
            goals: [{ that: n == 7, points: 1, else: 'you said ${twice(n)}' }]\n";
        let lab = own(&format!(
            "kind: cause\npoints: 1\nsetup: let n = 3;\nexperiment: 'fn twice(said) {{ 2 * said }}'\n{rest}"
        ));
        assert!(check(&lab, "let n = 7;").is_full());
        assert_eq!(check(&lab, "let n = 4;").goals[0].why[0], "you said 8");
        let lab = own(&format!("kind: cause\npoints: 1\nexperiment: 'fn twice(n) {{ 2 * n }}'\n{rest}"));
        let problems = author::problems(&lab).join("\n");
        assert!(problems.contains("`twice` has a parameter n, which is an answer's name"), "{problems}");
    });
}
