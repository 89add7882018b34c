//! The edge of the process: exit statuses, streams, pipes. Everything else is tested in-process.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

fn vmlab() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vmlab"));
    command.env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE").env("HOME", "/nonexistent");
    command.env_remove("XDG_STATE_HOME").env_remove("XDG_CONFIG_HOME");
    command.stdin(Stdio::null());
    command
}

/// With the machine `tiny`, unless another is named.
fn run(args: &[&str]) -> Output {
    let machine: &[&str] = if args.contains(&"--machine") { &[] } else { &["--machine", "tiny"] };
    vmlab().args(machine).args(args).output().expect("the binary runs")
}

fn status(output: &Output) -> i32 {
    output.status.code().expect("no signal ended it")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

/// A file of this test's own.
fn file(name: &str, contents: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("vmlab-cli-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, contents).unwrap();
    path
}

fn fed(args: &[&str], input: &str) -> Output {
    let mut child = vmlab()
        .args(["--machine", "tiny"])
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn exit_statuses() {
    let broken = file("broken.rhai", "let x = 1;\nnope(x);\n");
    let broken = broken.to_str().unwrap();
    for (args, want) in [
        (vec!["-e", "print(2+2)"], 0),
        (vec!["-e", "nope()"], 1),
        (vec![broken], 1),
        (vec!["-e", "exit(3)"], 3),
        (vec!["-e", "exit(0); nope()"], 0),
        (vec!["-e", "quit"], 0),
        (vec!["-e", "exit(300)"], 1),
        (vec!["-e", "__free_pages(alloc_page(GFP_KERNEL), 1)"], 1),
        (vec!["--no-such-flag"], 2),
        (vec!["/no/such/file.rhai"], 2),
        (vec!["/"], 2),
        (vec!["--set", "vm.nonsense=1", "-e", "1"], 2),
        (vec!["--set", "vm.swappiness=999", "-e", "1"], 2),
        (vec!["--help"], 0),
        (vec!["--version"], 0),
        (vec!["--list-machines"], 0),
        (vec!["--help-topic", "kmem"], 0),
        (vec!["--help-topic", "no_such_page"], 1),
        (vec!["reference"], 0),
        (vec!["import"], 2),
        (vec!["import", "--help"], 0),
        (vec!["import", "/no/such/file"], 2),
        (vec!["import", "Cargo.toml"], 2),
        (vec!["bench", "faster"], 2),
    ] {
        let output = run(&args);
        assert_eq!(status(&output), want, "{args:?}\n{}{}", text(&output.stdout), text(&output.stderr));
    }
    let output =
        Command::new(env!("CARGO_BIN_EXE_vmlab")).args(["--machine", "no-such", "-e", "1"]).output().unwrap();
    assert_eq!(status(&output), 2);
    assert!(text(&output.stderr).contains("no such machine"), "{}", text(&output.stderr));
}

#[test]
fn a_pipe_that_fails_fails_the_run() {
    for (line, want) in [
        ("kmem -z | false", 1),
        ("kmem -z | no-such-command-here", 1),
        ("kmem -z | grep no-such-zone", 1),
        ("kmem -z | grep DMA", 0),
        ("kmem -z | false | cat", 0),
        ("kmem -z | head -1", 0),
        ("!false", 1),
        ("!true", 0),
    ] {
        assert_eq!(status(&run(&["-e", line])), want, "{line}");
    }
    let output = fed(&[], "kmem -z | false\n1 + 1\n");
    assert_eq!((text(&output.stdout).as_str(), status(&output)), ("2\n", 1), "the other lines are obeyed");
}

#[test]
fn a_folder_that_is_no_machine_is_named() {
    let broken = file("folder/zoneinfo.txt", "hello\n");
    let folder = broken.parent().unwrap().to_str().unwrap();
    for machine in [folder, "/no/such/folder", &format!("{folder}/empty")] {
        std::fs::create_dir_all(format!("{folder}/empty")).unwrap();
        let output = run(&["--machine", machine, "-e", "1"]);
        let complaint = text(&output.stderr);
        assert_eq!(status(&output), 2, "{complaint}");
        assert!(complaint.contains(machine) && complaint.contains("help:"), "{complaint}");
    }
}

#[test]
fn evidence_becomes_a_machine_and_a_report() {
    let folder = "tests/truth/boot/x86_64-256M";
    let zoneinfo = std::fs::read_to_string(format!("{folder}/zoneinfo.txt")).unwrap();
    // Alone on standard input, it is the state it shows.
    let output = fed(&["import", "-"], &zoneinfo);
    let report = text(&output.stdout);
    assert_eq!(status(&output), 0, "{}", text(&output.stderr));
    assert!(report.starts_with("read: zoneinfo\n") && report.contains("are those that it shows"), "{report}");
    assert!(report.contains("DMA32") && !report.contains("vmlab>"), "{report}");
    // With others, what is computed is compared; -e asks the machine.
    let files =
        ["zoneinfo", "pagetypeinfo", "dmesg", "iomem", "sysctl-vm"].map(|f| format!("{folder}/{f}.txt"));
    let mut args = vec!["-e", "kmem -f | tail -1", "import"];
    args.extend(files.iter().map(String::as_str));
    let output = run(&args);
    let report = text(&output.stdout);
    assert!(
        report.contains("as computed, are those captured") && report.ends_with("(verified)\n"),
        "{report}"
    );
    let output = run(&["--json", "import", folder]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&report["schema"], &report["rows"][0]["zone"]), (&1.into(), &"DMA".into()));
    for (input, what) in
        [("", "the text is empty"), ("Dear Sir", "looks like none"), ("MemTotal: 1 kB\n", "meminfo alone")]
    {
        let output = fed(&["import", "-"], input);
        assert_eq!(status(&output), 2, "{input:?}");
        assert!(text(&output.stderr).contains(what), "{input:?}: {}", text(&output.stderr));
    }
}

#[test]
fn the_simulator_says_what_it_costs() {
    let output = run(&["--json", "bench"]);
    let table: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let rows = table["rows"].as_array().expect("rows");
    assert_eq!((&table["machine"], rows.len()), (&"tiny".into(), 9));
    for row in rows {
        let [least, ns, most] = ["ns_least", "ns", "ns_most"].map(|key| row[key].as_f64().expect("a number"));
        assert!(0.0 < least && least <= ns && ns <= most, "{row}");
    }
    let output = run(&["bench"]);
    assert!(text(&output.stdout).contains("--manifest-path benches/Cargo.toml"), "{}", text(&output.stdout));
    assert_eq!(text(&output.stdout).contains("debug build"), cfg!(debug_assertions));
}

#[test]
fn what_is_simulated_has_pages() {
    for words in ["help --model", "help --model compaction"] {
        let output = run(&["-e", words]);
        assert!(text(&output.stdout).to_lowercase().contains("faithful"), "{}", text(&output.stdout));
    }
    assert_eq!(status(&run(&["-e", "help --model no-such-room"])), 1);
}

#[test]
fn results_and_complaints_take_different_streams() {
    let output = run(&["-e", "print(1)", "-e", "alloc_pages(GFP_KERNL, 0)"]);
    assert_eq!(text(&output.stdout), "1\n");
    let complaint = text(&output.stderr);
    assert!(complaint.contains("error: no such name: GFP_KERNL"), "{complaint}");
    assert!(complaint.contains("            ^^^^^^^^^\n"), "{complaint}");
    assert!(complaint.contains("help: did you mean GFP_KERNEL?"), "{complaint}");
    assert!(!complaint.contains('\u{1b}'), "no colour without a terminal");
}

#[test]
fn a_script_has_arguments_a_shebang_and_places() {
    let script = file(
        "args.rhai",
        "#!/usr/bin/env vmlab\nfn first() { ARGS[0] }\nprint(first());\nprint(ARGS.len);\nnope();\n",
    );
    let script = script.to_str().unwrap();
    let output = run(&[script, "a", "--b"]);
    assert_eq!(text(&output.stdout), "a\n2\n");
    assert!(text(&output.stderr).contains(&format!("--> {script}:5:1")), "{}", text(&output.stderr));
    assert_eq!(status(&output), 1);
}

#[test]
fn standard_input_is_a_script_or_lines() {
    let output = fed(&["-"], "print(1 + 1);\nfor i in 0..2 {\n  print(i);\n}\n");
    assert_eq!((text(&output.stdout), status(&output)), ("2\n0\n1\n".into(), 0));

    let output = fed(&[], "kmem -i | head -1\nlet x = 20;\nfn f(a) {\n  a + 1\n}\nf(x)\nnope()\nx\n");
    assert_eq!(text(&output.stdout), "                 PAGES        TOTAL      PERCENTAGE\n21\n20\n");
    assert_eq!(status(&output), 1, "a line failed");
    assert!(!text(&output.stdout).contains("vmlab>"), "no prompt");

    // A command line is no Rhai: a script does not know it.
    assert_eq!(status(&fed(&["-"], "kmem -i\n")), 1);
}

#[test]
fn a_closed_pipe_is_a_quiet_end() {
    let mut child = vmlab()
        .args(["--machine", "tiny"])
        .args(["-e", "for i in 0..1000000 { print(i); }"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0; 2];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(&first, b"0\n");
    assert_eq!((status(&output), text(&output.stderr).as_str()), (0, ""));
}

/// Only Linux has a disk that is always full.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_fails_the_run() {
    for args in [["-e", "kmem -z"], ["-e", "loop { print(1); }"]] {
        let full = std::fs::File::create("/dev/full").unwrap();
        let output = vmlab().args(["--machine", "tiny"]).args(args).stdout(full).output().unwrap();
        assert_eq!(status(&output), 1, "{args:?}");
        let said = text(&output.stderr);
        assert!(said.contains("results could not be written: No space left on device"), "{args:?}: {said}");
    }
}

#[test]
fn an_empty_file_is_no_evidence() {
    let empty = file("empty.txt", "\n");
    let output = run(&["import", empty.to_str().unwrap()]);
    assert_eq!(status(&output), 2);
    assert!(text(&output.stderr).contains("the file is empty"), "{}", text(&output.stderr));
}

#[test]
fn sentences_are_lines_in_json() {
    let output = run(&["--json", "-e", "alloc_page(GFP_KERNEL); explain()"]);
    let json: serde_json::Value = serde_json::from_str(text(&output.stdout).trim()).unwrap();
    assert_eq!(json["rows"], serde_json::json!([]));
    assert!(json["lines"][0].as_str().unwrap().starts_with("alloc_pages(GFP_KERNEL, 0) wanted 1 page"));
}

#[test]
fn runaway_scripts_are_stopped() {
    for (script, what) in [
        ("loop {}", "too many operations (limit 200000)"),
        ("let p = spawn(\"a\"); loop { fork(p); }", "too many operations (limit 200000)"),
        ("fn f(x) { 1 + f(x + 1) } f(0)", "calls go deeper than 64"),
        ("let s = \"x\"; loop { s += s; }", "too large: length of string"),
        ("let a = [1]; loop { a += a; }", "too large: size of array"),
        ("let m = #{}; for i in 0..100000000 { m[`k${i}`] = i; }", "too many operations"),
        ("let f = |x| x; loop { f = |x| f.call(x); }", "too many operations"),
    ] {
        let output = run(&["--max-ops", "200000", "-e", script]);
        assert!(text(&output.stderr).contains(what), "{script}: {}", text(&output.stderr));
        assert_eq!(status(&output), 1, "{script}");
    }
}

#[test]
fn nothing_typed_becomes_a_panic() {
    for line in [
        "(((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((1",
        "alloc_pages(GFP_KERNEL, -1)",
        "alloc_pages(GFP_KERNEL, 9223372036854775807)",
        "page(-1)",
        "page(4294967296)",
        "addr(1) >> 64",
        "addr(1) % 0",
        "random(-1)",
        "tick(9223372036854775807); tick(9223372036854775807)",
        "sleep(1e300)",
        "kmem -f zzzz",
        "kmem -g zzzz",
        "mem_map(4294967295, 10)",
        "free_areas(addr(-1))",
        "cat(\"/sys/devices/system/node/node999/meminfo\")",
        "echo(\"99999999999999999999\", \"/proc/sys/vm/min_free_kbytes\")",
        "boot(#{})",
        "boot(#{ arch: \"x86_64\", mem: \"1\" })",
        "table([1, 2])",
        "zones().map(|z| z.nope)",
        "throw #{ a: 1 }",
        "1/0",
        "zone(\"DMA\").free_area[99]",
        "diff(-1)",
        "run_until(|| 5)",
        "kmem 'unclosed",
        "! ",
        "%",
        "help help help",
        "apropos",
    ] {
        let output = run(&["-e", line]);
        let complaint = text(&output.stderr);
        assert!(
            !complaint.contains("bug in vmlab") && matches!(status(&output), 0 | 1),
            "{line}: {complaint}"
        );
    }
}

#[test]
fn json_is_one_document_a_line() {
    let output = run(&["--json", "-e", "print(\"aside\"); kmem(\"-z\")", "-e", "1 + 1", "-e", "addr(-1)"]);
    let lines: Vec<serde_json::Value> =
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[0]["schema"], 1);
    assert_eq!(lines[0]["rows"][0]["name"], "DMA");
    assert_eq!(lines[1]["value"], 2);
    assert_eq!(lines[2]["value"], "0xffffffffffffffff");
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let lines = "seed(7); for i in 0..200 { alloc_pages(GFP_KERNEL, random(4)); }";
    let once = || run(&["--seed", "7", "-e", lines, "-e", "kmem -F", "-e", "kmem -V", "-e", "log"]).stdout;
    assert_eq!(once(), once());
}

#[test]
fn a_sandboxed_session_touches_nothing_of_the_host() {
    let target = std::env::temp_dir().join(format!("vmlab-escape-{}", std::process::id()));
    let target = target.to_str().unwrap();
    for line in [
        format!("kmem -i > {target}"),
        format!("save {target}"),
        format!("!touch {target}"),
        format!("kmem -i | tee {target}"),
        "source /etc/passwd".into(),
        "boot(\"/etc/passwd\")".into(),
        "import \"x\" as x;".into(),
    ] {
        let output = run(&["--sandbox", "-e", &line]);
        assert_eq!(status(&output), 1, "{line}: {}", text(&output.stdout));
        assert!(!std::path::Path::new(target).exists(), "{line}");
    }
}

#[test]
fn ctrl_c_ends_a_script_with_130() {
    let mut child = vmlab()
        .args(["--machine", "tiny"])
        .args(["--max-ops", "0", "-e", "print(1); loop {}"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It runs once it has printed.
    let mut first = [0; 2];
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut first).unwrap();
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(status(&output), 130, "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("interrupted"));
}

#[test]
fn a_saved_session_does_the_same_again() {
    let saved = file("saved.rhai", "");
    let saved = saved.to_str().unwrap();
    let typed = format!(
        "let p = alloc_pages(GFP_KERNEL, 2);\nkmem -f | tail -1\nsysctl vm.swappiness=10\nkmem -V | wc -l\nsave {saved}\n"
    );
    assert_eq!(status(&fed(&[], &typed)), 0);
    let output = run(&[saved]);
    assert_eq!(status(&output), 0, "{}", text(&output.stderr));
    assert!(
        text(&output.stdout).contains("(verified)") && text(&output.stdout).contains("vm.swappiness = 10")
    );
}

#[test]
fn import_shows_its_own_help_and_takes_options_behind_the_files() {
    for args in [&["import", "--help"][..], &["import", "-h"], &["--seed", "3", "import", "-h"]] {
        let help = text(&run(args).stdout);
        assert!(
            help.starts_with("Evidence from a real machine") && help.contains("/proc/PID/maps"),
            "{args:?}: {help}"
        );
    }
    let spec = file("behind.yaml", "mem: 64M\n");
    let output = run(&["import", spec.to_str().unwrap(), "-e", "print(6 * 7)", "--seed", "9"]);
    assert_eq!(status(&output), 0, "{}", text(&output.stderr));
    assert!(text(&output.stdout).ends_with("42\n") && text(&output.stdout).contains("SEED: 9"));
}

#[test]
fn a_process_is_imported_too() {
    const MAPS: &str = "\
55f85685f000-55f85688e000 r--p 00000000 fe:00 247003                     /usr/bin/bash
7f5aa715d000-7f5aa7160000 rw-p 00000000 00:00 0 
7ffd5f6f5000-7ffd5f716000 rw-p 00000000 00:00 0                          [stack]
";
    let maps = file("process.maps", MAPS);
    let machine = ["--machine", "x86_64-256M", "import"];
    let output = run(&[&machine[..], &[maps.to_str().unwrap(), "-e", "cat /proc/3/maps"]].concat());
    let said = text(&output.stdout);
    assert_eq!(status(&output), 0, "{}", text(&output.stderr));
    assert!(
        said.contains("3 areas, 332 KiB") && said.contains("It is task 3 (bash) on x86_64-256M"),
        "{said}"
    );
    assert!(said.ends_with(MAPS), "{said}");
    let calls = "mmap(NULL, 8192, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7f0000000000\n";
    let log = file("process.strace", calls);
    let output = run(&[&machine[..], &[log.to_str().unwrap()]].concat());
    assert!(text(&output.stdout).contains("1 calls of 1 tasks were done again"), "{}", text(&output.stdout));
    const PMAP: &str = "\
7:   /bin/bash -i
Address           Kbytes     RSS   Dirty Mode  Mapping
000055f85685f000     188     120       0 r---- bash
00007f5aa715d000      12       8       8 rw---   [ anon ]
---------------- ------- ------- -------
total kB             200     128       8
";
    let pmap = file("process.pmap", PMAP);
    let output = run(&[&machine[..], &[pmap.to_str().unwrap(), "-e", "pmap -x 3"]].concat());
    let said = text(&output.stdout);
    assert!(said.contains("a pmap of a process: 2 areas, 200 KiB"), "{said}");
    assert!(
        said.contains("8 KiB that had been written") && said.contains("here are 8 and 120 KiB"),
        "{said}"
    );
    let rows: Vec<&str> = PMAP.lines().skip(1).map(str::trim_end).collect();
    let printed: Vec<&str> = said.lines().map(str::trim_end).collect();
    assert!(printed.ends_with(&rows), "{said}");
    let pmap = file("cut.pmap", "12:   bash\n000055f85685f000    187K r---- bash\n");
    let output = run(&["import", pmap.to_str().unwrap()]);
    assert_eq!(status(&output), 2);
    assert!(
        text(&output.stderr).contains("cut.pmap:2: 187K from 0x55f85685f000"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn a_list_of_machines_begins_each_line_with_the_name() {
    let (full, names) =
        (text(&run(&["--list-machines"]).stdout), text(&run(&["-q", "--list-machines"]).stdout));
    let first: Vec<&str> = full.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(first, names.lines().collect::<Vec<_>>());
    assert!(full.lines().any(|line| line.starts_with("x86_64-1T-numa8") && line.contains(" 64 ")), "{full}");
}
