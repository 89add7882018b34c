//! A machine stopped at memblock: every view and every call has an answer, and after the hand-over it is a machine.

use vmlab::import::shipped;
use vmlab::script::bench::Bench;
use vmlab::script::catalogue::{Kind, everything};
use vmlab::shell::session::Session;

fn session() -> Session {
    Session::quiet(Bench::sandbox("tiny", None).expect("tiny is shipped"))
}

/// Lines that look, and lines that would take pages.
const LINES: &[&str] = &[
    "machine()",
    "memblock",
    "bootmem",
    "zones()",
    "nodes()",
    "kmem -z",
    "kmem -f",
    "kmem -F",
    "kmem -i",
    "kmem -n",
    "kmem -o",
    "kmem -V",
    "kmem -p | head -3",
    "kmem ffff888000100000",
    "free -m",
    "ps",
    "vm",
    "swap",
    "tasks()",
    "page(1)",
    "check()",
    "explain()",
    "gfp GFP_KERNEL",
    "tick 100",
    "sysctl vm.min_free_kbytes=1024",
    "sysctl vm.watermark_scale_factor=100",
    "drain_pages()",
    "compact()",
    "reclaim(0, 10)",
    "alloc_page(GFP_KERNEL)",
    "alloc_pages(GFP_ATOMIC, 3)",
    "__get_free_pages(GFP_DMA, 0)",
    "alloc_pages_exact(5000, GFP_KERNEL)",
    "spawn(\"a\")",
    "kthread(\"k\")",
    "swapon(\"/dev/vdb\", \"64M\")",
    "vmstat()",
    "log",
    "snapshot()",
];

#[test]
fn every_view_of_a_stopped_machine_has_an_answer() {
    for name in shipped::names() {
        let mut session = session();
        let booted = session.reply(&format!("boot(#{{ machine: {name:?}, stop: \"memblock\" }})"));
        assert!(booted.contains("stopped at memblock: next is initmem_init"), "{name}: {booted}");
        for step in 0..4 {
            for line in LINES {
                let answer = session.reply(line);
                assert!(!answer.contains("bug in vmlab"), "{name} step {step}> {line}\n{answer}");
            }
            for path in ["zoneinfo", "buddyinfo", "pagetypeinfo", "meminfo", "vmstat", "iomem", "swaps"] {
                let answer = session.reply(&format!("cat /proc/{path}"));
                assert!(!answer.contains("error"), "{name} step {step}> {path}\n{answer}");
            }
            session.reply("step(); step(); step();");
        }
        assert_eq!(
            session.reply("alloc_page(GFP_KERNEL).order").trim(),
            "0",
            "{name}: nine steps and the hand-over"
        );
        let after =
            session.reply("let p = spawn(\"a\"); let a = sbrk(p, 65536); touch(p, a, 65536).minor; check()");
        assert!(after.contains("(verified)"), "{name}: {after}");
        assert!(session.reply("memblock_alloc(64, 64)").contains("has handed its memory over"), "{name}");
        let again = session.reply("reset()");
        assert!(again.contains("stopped at memblock"), "{name}: {again}");
    }
}

#[test]
fn what_takes_pages_says_that_there_are_none_yet() {
    let mut session = session();
    session.reply("boot(#{ machine: \"tiny\", stop: \"memblock\" })");
    for line in [
        "alloc_page(GFP_KERNEL)",
        "get_zeroed_page(GFP_KERNEL)",
        "spawn(\"a\")",
        "kthread(\"a\")",
        "swapon(\"/dev/vdb\", \"1M\")",
    ] {
        let answer = session.reply(line);
        assert!(answer.starts_with("error: the buddy allocator has no memory yet"), "> {line}\n{answer}");
    }
    let why = session.reply("explain()");
    let why = why.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(why.contains("no memory before memblock_free_all()"), "{why}");
}

/// What is reserved before the hand-over never becomes free; what was added does.
#[test]
fn the_hand_over_keeps_what_was_reserved() {
    let mut session = session();
    session.reply("boot(#{ machine: \"tiny\", stop: \"memblock\" })");
    session.reply("memblock_reserve(\"8M\", \"2M\"); memblock_add(\"32M\", \"8M\");");
    // 512 pages less, 2048 more; those need 2048 descriptors of 64 bytes, and the hash tables double: 4 pages and 2.
    let pages = 3072 - 512 + 2048 - 2048 * 64 / 4096 - 6;
    assert_eq!(session.reply("memblock_free_all()").trim(), pages.to_string());
    assert_eq!(session.reply("page(0x800).flags").trim(), "reserved");
    assert_eq!(session.reply("zone(\"DMA32\").present_pages").trim(), "2048");
    assert_eq!(session.reply("page(0x2000).zone.name").trim(), "DMA32");
    let taken = "let n = 0; let inside = 0; loop { let p = alloc_page(GFP_NOWAIT); if is_err(p) { break } n += 1; if p.pfn >= 0x800 && p.pfn < 0xa00 { inside += 1 } } [n > 3000, inside]";
    assert_eq!(session.reply(taken).trim(), "[true, 0]");
    assert!(session.reply("check()").contains("(verified)"));
}

/// Every call on a stopped machine ends, whatever it is given.
#[test]
fn calls_without_sense_are_refused() {
    let mut session = session();
    session.reply("boot(#{ machine: \"tiny\", stop: \"memblock\" })");
    let calls: Vec<String> = everything()
        .into_iter()
        .filter(|e| e.kind == Kind::Function && e.name.starts_with("memblock"))
        .flat_map(|e| e.signatures)
        .collect();
    assert!(calls.len() > 20, "{calls:?}");
    for signature in calls {
        let name = &signature[..signature.find('(').unwrap()];
        let count = signature.matches(':').count();
        for value in ["-1", "0", "1", "9223372036854775807", "\"17T\"", "\"x\"", "()", "true"] {
            let line = format!("{name}({})", vec![value; count].join(", "));
            let answer = session.reply(&line);
            assert!(!answer.contains("bug in vmlab"), "> {line}\n{answer}");
            if name == "memblock_free_all" {
                session.reply("boot(#{ machine: \"tiny\", stop: \"memblock\" })");
            }
        }
        assert!(session.reply("check()").contains("(verified)"), "after {name}");
        session.reply("reset()");
    }
    assert!(
        session.reply("memblock_add(\"17T\", 4096)").contains("16 TiB")
            || session.reply("memblock_add(\"17T\", 4096)").contains("x86_64 reaches")
    );
    assert!(session.reply("memblock_alloc(64, 48)").contains("power of two"));
}
