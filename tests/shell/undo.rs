//! `undo` takes back the last line that changed the machine, and no line that only looked.

use vmlab::script::bench::Bench;
use vmlab::shell::session::Session;

fn session() -> Session {
    let mut session = Session::quiet(Bench::sandbox("tiny", None).expect("tiny is shipped"));
    session.keep_undo();
    session
}

/// What is there before; a line that changes something no counter shows; what must read as before when it is undone.
const CHANGES: &[(&str, &str, &str)] = &[
    ("let p = spawn(\"a\")", "set_oom_score_adj(p, 500)", "p.oom_score_adj"),
    ("let p = spawn(\"a\")", "p.uid = 7", "p.uid"),
    ("let b = kmalloc(64, GFP_KERNEL)", "kwrite(b, 7)", "kread(b)"),
    ("let b = kmalloc(64, GFP_KERNEL)", "kfree(b)", "kmem -s kmalloc-64 | tail -1"),
    ("let q = alloc_page(GFP_KERNEL)", "get_page(q)", "q.refcount"),
    ("1", "sysctl vm.swappiness=10", "sysctl vm.swappiness"),
    ("let f = create(\"/data\", 4096)", "unlink(\"/data\")", "ls"),
    ("let c = kmem_cache_create(\"ticket\", 100, 0, 0)", "kmem_cache_destroy(c)", "kmem -s ticket"),
    ("let p = spawn(\"a\")", "mmap(p, 0, 4096, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS)", "vm 3 | tail -1"),
    ("1", "on_cpu(0); swapon(\"/dev/vdb\", \"8M\")", "swap"),
    ("1", "page_owner(\"on\")", "page_owner()"),
];

#[test]
fn every_change_can_be_undone() {
    for (before, change, view) in CHANGES {
        let mut session = session();
        session.reply(before);
        let was = session.reply(view);
        let kept = session.bench.borrow().snapshots.undoable();
        let said = session.reply(change);
        assert!(!said.starts_with("error"), "{change}: {said}");
        assert!(session.bench.borrow().snapshots.undoable() > kept, "{change} is not kept");
        let undone = session.reply("undo");
        assert_eq!(undone.trim_end(), format!("undone: {change}"));
        assert_eq!(session.reply(view), was, "{change}, then undo, then {view}");
    }
}

#[test]
fn lines_that_look_are_not_kept() {
    let mut session = session();
    session.reply("let p = spawn(\"a\")");
    let kept = session.bench.borrow().snapshots.undoable();
    for look in [
        "kmem -z",
        "vm 3",
        "cat /proc/zoneinfo",
        "sysctl vm.swappiness",
        "zones()[0].free",
        "p.rss",
        "explain()",
        "1 + 1",
        "log",
        "kread(0xffff888000010000)",
        "help undo",
        "snapshot()",
        "set 3",
        "trace kmem:*",
        "diff 1",
    ] {
        let said = session.reply(look);
        assert_eq!(session.bench.borrow().snapshots.undoable(), kept, "{look}: {said}");
    }
    assert_eq!(session.reply("undo").trim_end(), "undone: let p = spawn(\"a\")");
    assert!(session.reply("p.rss").contains("undo and restore went back before it"));
}
