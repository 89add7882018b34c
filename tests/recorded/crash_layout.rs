//! Layouts of crash and /proc, column for column, against lines that real machines printed.
//!
//! The captured lines are crash 8.0.6 on Linux 6.1.176, and /proc of the same kernel. Headings must be equal; of the
//! lines below them, words of text must begin where the captured ones begin, and numbers end where they end.

use vmlab::script::bench::Bench;
use vmlab::shell::session::Session;

/// What a session answers to the last of these lines.
fn answer(machine: &str, lines: &[&str]) -> Vec<String> {
    let mut session = Session::quiet(Bench::sandbox(machine, Some(1)).unwrap());
    let mut last = String::new();
    for line in lines {
        last = session.reply(line);
    }
    last.lines().map(String::from).collect()
}

/// Begin and end of each word.
fn words(line: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut start = None;
    for (at, c) in line.char_indices().chain([(line.len(), ' ')]) {
        match (start, c == ' ') {
            (None, false) => start = Some(at),
            (Some(from), true) => {
                found.push((from, at));
                start = None;
            }
            _ => {}
        }
    }
    found
}

/// Columns of a line: `r` ends where the captured one ends, `l` begins there, `.` may stand anywhere.
fn same_columns(ours: &str, captured: &str, columns: &str) {
    let (a, b) = (words(ours), words(captured));
    let complaint = format!("\nours:     {ours}\ncaptured: {captured}");
    assert!(a.len() >= columns.len() && b.len() >= columns.len(), "too few words{complaint}");
    for (n, side) in columns.chars().enumerate() {
        match side {
            'r' => assert_eq!(a[n].1, b[n].1, "word {n} ends elsewhere{complaint}"),
            'l' => assert_eq!(a[n].0, b[n].0, "word {n} begins elsewhere{complaint}"),
            _ => {}
        }
    }
}

const HOG: &[&str] = &[
    r#"swapon("/dev/vdb", "64M");"#,
    r#"let p = spawn("hog");"#,
    r#"let a = mmap(p, addr(0x1000000000), "12M", PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED);"#,
    r#"touch(p, a, "12M");"#,
];

fn after(setup: &[&'static str], line: &'static str) -> Vec<String> {
    answer("tiny", &[setup, &[line]].concat())
}

#[test]
fn ps_has_crashs_columns() {
    let lines = after(HOG, "ps");
    assert_eq!(lines[0], "      PID    PPID  CPU       TASK        ST  %MEM      VSZ      RSS  COMM");
    let init = "        1       0   0  ffff888004a16100  IN   0.3     2260     1800  init";
    let swapper = ">       0       0   1  ffff888004a5b080  RU   0.0        0        0  [swapper/1]";
    let row = |comm: &str| lines.iter().find(|line| line.ends_with(comm)).unwrap();
    same_columns(row("hog"), init, "rrrllrrrl");
    same_columns(row("[script]"), swapper, "lrrrllrrrl");
}

#[test]
fn vm_has_crashs_columns() {
    let lines = after(HOG, "vm 3");
    let header = r#"PID: 115      TASK: ffff8880064f1840  CPU: 0    COMMAND: "exe""#;
    same_columns(&lines[0], header, "llllllll");
    assert_eq!(lines[1], "       MM               PGD          RSS    TOTAL_VM");
    // The size has one digit more here: crash centres it.
    same_columns(&lines[2], "ffff888004862d00  ffff888006772000  1588k    2396k", "llll");
    assert_eq!(lines[3], "      VMA           START       END     FLAGS FILE");
    same_columns(&lines[4], "ffff888005e51098 1000000000 1000010000 8100073", "lrrr");
    let vvar = lines.iter().find(|line| line.contains("c044411")).expect("the captured flags of [vvar]");
    same_columns(vvar, "ffff888005e51720 7ffff7ff9000 7ffff7ffd000 c044411", "lrrr");
    let stack = lines.last().unwrap();
    same_columns(stack, "ffff888005e51558 7ffffffde000 7ffffffff000 100173", "lrrr");
    assert!(stack.ends_with(" 7ffffffff000 100173"), "{stack}");
}

#[test]
fn pages_and_translations_have_crashs_columns() {
    let lines = after(HOG, "vm -p 3");
    assert_eq!(lines[5], "VIRTUAL     PHYSICAL");
    let page = |text: &str| lines[6..].iter().find(|line| line.contains(text)).unwrap();
    same_columns(page("  SWAP: "), "4ad000      FILE: /bin/vma  OFFSET: ad000", "llll");
    let present = lines[6..].iter().find(|line| line.starts_with("1000") && words(line).len() == 2).unwrap();
    same_columns(present, "1000000000   9e82000", "lr");

    let swapped = after(HOG, "vtop -c 3 1000000000");
    let captured = "VIRTUAL     PHYSICAL
1000020000  (not mapped)

   PGD: 6772000 => 6a5c067
   PUD: 6a5c200 => 67a9067
   PMD: 67a9000 => 67a8067
   PTE: 67a8100 => 7fffffffffffc02

      PTE          SWAP    OFFSET
7fffffffffffc02  /dev/vdb     1

      VMA           START       END     FLAGS FILE
ffff888005e51a18 1000018000 1000040000 8100073

SWAP: /dev/vdb  OFFSET: 1";
    for (ours, real) in swapped.iter().zip(captured.lines()) {
        let heading = real.chars().all(|c| c.is_uppercase() || c == ' ');
        if heading || real.contains("PHYSICAL") {
            assert_eq!(ours, real);
        } else if !real.is_empty() {
            // A table's address may have a digit less.
            same_columns(
                ours,
                real,
                &"l".repeat(words(real).len().min(if real.contains("=>") { 2 } else { 3 })),
            );
        }
    }
    assert_eq!(swapped.len(), captured.lines().count());

    let kernel = answer("x86_64-1G", &["vtop ffff888009e82000"]);
    let captured = "VIRTUAL           PHYSICAL
ffff888009e82000  9e82000

PGD DIRECTORY: ffffffff82a10000
PAGE DIRECTORY: 4401067
   PUD: 4401000 => 4402067
   PMD: 4402278 => 8000000009e001e3
  PAGE: 9e00000  (2MB)

      PTE         PHYSICAL  FLAGS
8000000009e001e3   9e00000  (PRESENT|RW|ACCESSED|DIRTY|PSE|GLOBAL|NX)
";
    for (n, (ours, real)) in kernel.iter().zip(captured.lines()).enumerate() {
        // Where the kernel's tables stand is made up; everything else is as captured.
        if matches!(n, 4..=6) {
            same_columns(ours, real, "ll");
            assert_eq!(ours.len(), real.len());
            assert!(n != 6 || ours.ends_with("278 => 8000000009e001e3"), "{ours}");
        } else {
            assert_eq!(ours, real);
        }
    }
    assert_eq!(kernel[12], "      PAGE       PHYSICAL      MAPPING       INDEX CNT FLAGS");
}

#[test]
fn swap_and_set_have_crashs_columns() {
    let lines = after(HOG, "swap");
    assert_eq!(lines[0], "SWAP_INFO_STRUCT    TYPE       SIZE       USED     PCT  PRI  FILENAME");
    let real = "ffff88800675ee00  PARTITION   262140k     268k      0%   -2  /dev/vdb";
    same_columns(&lines[1], real, "llrrrrl");
    let lines = after(HOG, "set 3");
    let real = [
        "    PID: 115",
        r#"COMMAND: "exe""#,
        "   TASK: ffff8880064f1840  [THREAD_INFO: ffff8880064f1840]",
        "    CPU: 0",
        "  STATE: TASK_INTERRUPTIBLE",
    ];
    for (ours, real) in lines.iter().zip(real) {
        same_columns(ours, real, &"l".repeat(words(real).len()));
    }
}

#[test]
fn what_needs_no_machine_is_equal() {
    let captured: [(&str, &[&str]); 9] = [
        ("vm -f 2071", &["2071: (READ|MAYREAD|MAYWRITE|MAYEXEC|LOCKED)"]),
        ("vm -f 8100073", &["8100073: (READ|WRITE|MAYREAD|MAYWRITE|MAYEXEC|ACCOUNT|CAN_NONLINEAR)"]),
        ("vm 99999", &["vm: invalid task or pid value: 99999"]),
        ("vtop zz", &[r#"vtop: invalid input: "zz""#]),
        ("vtop 1000000000000", &["vtop: ambiguous address: 1000000000000  (requires -u or -k)"]),
        ("ptov zz", &[r#"ptov: invalid input: "zz""#]),
        ("ptob 10000", &["2710: 2710000"]),
        ("btop 512a000", &["512a000: 512a"]),
        (
            "pte 8000000001234867",
            &[
                "      PTE         PHYSICAL  FLAGS",
                "8000000001234867   1234000  (PRESENT|RW|USER|ACCESSED|DIRTY|NX)",
            ],
        ),
    ];
    for (line, real) in captured {
        assert_eq!(answer("tiny", &[line]), real, "{line}");
    }
    let ptov = answer("tiny", &["ptov 9e82000"]);
    assert_eq!(ptov, ["VIRTUAL           PHYSICAL", "ffff888009e82000  9e82000"]);
}

#[test]
fn files_of_a_task_have_the_kernels_lines() {
    let maps = after(HOG, "cat /proc/3/maps");
    let real = "7ffeadbff000-7ffeadc20000 rw-p 00000000 00:00 0                          [stack]";
    same_columns(maps.last().unwrap(), real, "llllll");
    assert!(maps[0].ends_with(" 00:00 0 "), "{:?}: the space after the inode stays", maps[0]);

    // Labels of the captured files, in order.
    let labels = |file: &str| -> Vec<String> {
        let lines = after(HOG, if file == "smaps" { "cat /proc/3/smaps" } else { "cat /proc/3/status" });
        lines.iter().filter_map(|line| line.split_once(':')).map(|(label, _)| label.to_string()).collect()
    };
    let captured =
        |name: &str| std::fs::read_to_string(format!("tests/truth/self/x86_64-256M/{name}")).unwrap();
    let of = |text: &str| -> Vec<String> {
        text.lines().filter_map(|line| line.split_once(':')).map(|(label, _)| label.to_string()).collect()
    };
    assert_eq!(labels("status"), of(&captured("status.txt")));
    let smaps = captured("smaps.txt");
    let (ours, real) = (labels("smaps"), of(&smaps));
    let block =
        |all: &[String]| all.iter().skip_while(|l| *l != "Size").take(23).cloned().collect::<Vec<_>>();
    assert_eq!(block(&ours), block(&real));
    let rollup = after(HOG, "cat /proc/3/smaps_rollup");
    let real = captured("smaps_rollup.txt");
    for (ours, real) in rollup.iter().zip(real.lines()).skip(1) {
        assert_eq!(ours.split(':').next(), real.split(':').next());
        assert_eq!(ours.len(), real.len(), "{ours:?} {real:?}");
    }
    // Lines without numbers of a task are equal.
    let status = after(HOG, "cat /proc/3/status");
    for (ours, real) in status.iter().zip(captured("status.txt").lines()) {
        let constant =
            ["Umask", "Uid", "Gid", "FDSize", "Groups", "VmPin", "HugetlbPages", "CapEff", "Mems_allowed"];
        if constant.iter().any(|label| real.starts_with(&format!("{label}:"))) {
            assert_eq!(ours, real);
        }
    }
}

#[test]
fn sums_agree() {
    let mut session = Session::quiet(Bench::sandbox("tiny", Some(1)).unwrap());
    for line in HOG {
        session.reply(line);
    }
    session.reply("let c = fork(p);");
    session.reply(r#"touch(c, a, "1M");"#);
    let number = |session: &mut Session, code: &str| {
        session.reply(code).trim().parse::<i64>().unwrap_or_else(|_| panic!("{code}"))
    };
    for pid in [3, 4] {
        let sum = |key: &str| {
            format!(r#"{{ let s = 0; for v in cat("/proc/{pid}/smaps").rows {{ s += v.{key}; }} s }}"#)
        };
        let rss = number(&mut session, &format!("task({pid}).rss * 4"));
        assert!(rss > 0);
        assert_eq!(number(&mut session, &sum("rss")), rss);
        assert_eq!(number(&mut session, &format!(r#"cat("/proc/{pid}/smaps_rollup").rows[0].rss"#)), rss);
        assert_eq!(number(&mut session, &format!(r#"ps("{pid}").rows[0].rss"#)), rss);
        let pages = format!(r#"vm({pid}, "-p").rows.filter(|r| r.pfn != () && r.pfn != 1).len"#);
        assert_eq!(number(&mut session, &pages) * 4, rss);
        let swap = number(&mut session, &format!("task({pid}).swap * 4"));
        assert_eq!(number(&mut session, &sum("swap")), swap);
    }
    // Every page is counted once by the Pss of those who share it.
    let pss = |pid: i64| format!(r#"cat("/proc/{pid}/smaps_rollup").rows[0].pss"#);
    let (parent, child) = (number(&mut session, &pss(3)), number(&mut session, &pss(4)));
    let init = number(&mut session, "task(1).rss * 4");
    let anon = number(&mut session, r#"cat("/proc/meminfo").rows.filter(|r| r.name == "AnonPages")[0].kb"#);
    assert!((parent + child + init - anon).abs() <= 2, "{parent} + {child} + {init} is not {anon}");
}

/// Slab caches: `kmem -s`, `kmem -S`, and the object behind an address.
#[test]
fn slab_caches_stand_as_in_crash() {
    let read = |name: &str| -> Vec<String> {
        let text = std::fs::read_to_string(format!("tests/truth/crash/{name}.txt")).unwrap();
        text.lines().skip(1).map(String::from).collect()
    };
    let captured = read("kmem_-s_vm_area_struct");
    let ours = answer("x86_64-512M", &["kmem -s vm_area_struct"]);
    assert_eq!(ours[0], captured[0]);
    same_columns(&ours[1], &captured[1], "rrrrrrl");

    let captured = read("kmem_-S_mm_struct");
    let ours = answer("x86_64-512M", &["kmem -S mm_struct"]);
    // CPU 0: the descriptor, the slab, its objects; then its partial list and the node.
    assert_eq!(ours[..1], captured[..1]);
    for n in [2, 4, 5, 7] {
        assert_eq!(ours[n], captured[n], "line {n}");
    }
    same_columns(&ours[1], &captured[1], "rrrrrrl");
    same_columns(&ours[3], &captured[3], "r");
    same_columns(&ours[6], &captured[6], "rrrrrr");
    let is_free = |line: &&String| line.ends_with("(cpu 0 cache)");
    let (free, theirs) = (ours.iter().find(is_free).unwrap(), captured.iter().find(is_free).unwrap());
    same_columns(free, theirs, "rrrr");
    let taken = |lines: &[String]| lines.iter().find(|line| line.starts_with("  [")).unwrap().clone();
    same_columns(&taken(&ours), &taken(&captured), "r");
    let node = |lines: &[String]| lines.iter().position(|line| line.starts_with("KMEM_CACHE_NODE")).unwrap();
    let (a, b) = (node(&ours), node(&captured));
    assert_eq!((&ours[a], &ours[a + 2], &ours[a + 4]), (&captured[b], &captured[b + 2], &captured[b + 4]));
    same_columns(&ours[a + 1], &captured[b + 1], "rrrrr");

    let captured = read("kmem_ffff888004862d00");
    let ours = answer(
        "x86_64-512M",
        &["let a = kmem_cache_alloc(kmem_cache(\"mm_struct\"), GFP_KERNEL);", "whatis(a)"],
    );
    for n in [0, 2, 4, 6, 7] {
        assert_eq!(ours[n].trim_end(), captured[n].trim_end(), "line {n}");
    }
    same_columns(&ours[1], &captured[1], "rrrrrrl");
    same_columns(&ours[3], &captured[3], "rrrrrr");
    same_columns(&ours[5], &captured[5], "r");
}
