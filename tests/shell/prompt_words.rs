//! Words at the prompt: variables in a command mean their values, a function that is typed like a command says how it
//! is called, and `explain` is about the last call.

use vmlab::script::bench::Bench;
use vmlab::shell::session::Session;

fn session() -> Session {
    Session::quiet(Bench::sandbox("tiny", None).expect("tiny is shipped"))
}

#[test]
fn a_variable_in_a_command_means_its_value() {
    let mut session = session();
    session.reply("let a = kmalloc(64, GFP_KERNEL)");
    session.reply("let page = alloc_page(GFP_KERNEL)");
    session.reply("let task = spawn(\"app\")");
    assert!(session.reply("kmem a").contains("kmalloc-64"), "{}", session.reply("kmem a"));
    assert!(session.reply("kmem page").contains("page pfn=0x401, zone DMA of node 0: allocated"));
    assert!(session.reply("vm task").contains("COMMAND: \"app\""));
    // What is no variable stays a word: here, an address in hexadecimal.
    let said = session.reply("kmem b");
    assert!(said.contains("cannot determine page for b"), "{said}");
}

#[test]
fn a_function_typed_like_a_command_says_how_it_is_called() {
    let mut session = session();
    for line in ["alloc_pages GFP_KERNEL 2", "spawn x", "fail_nth 3"] {
        let said = session.reply(line);
        assert!(said.contains("is a function; call it: "), "{line}: {said}");
    }
}

#[test]
fn explain_is_about_the_last_call() {
    let mut session = session();
    for (line, told) in [
        ("alloc_pages(GFP_KERNEL, 2)", "alloc_pages(GFP_KERNEL, 2) wanted 4 pages"),
        ("kmalloc(100, GFP_KERNEL)", "kmalloc(100, GFP_KERNEL) got"),
        ("kmalloc(\"8M\", GFP_KERNEL)", "KMALLOC_MAX_SIZE, 4194304 bytes"),
        ("vmalloc(\"9T\")", "are more than the machine has"),
        (
            "let p = spawn(\"app\"); mmap(p, 0, \"300T\", PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS)",
            "vm.max_map_count 65530",
        ),
        ("mprotect(p, 1, 4096, PROT_READ)", "mprotect of task 3 (app) was refused: EINVAL"),
        ("write(p, p.vmas[2].start, 1)", "explain(\"fault\") tells of the fault itself"),
        ("touch(p, p.vmas[2].start, 1)", "explain(\"fault\") tells of the fault itself"),
        ("write(p, 0, 1)", "SIGSEGV"),
    ] {
        session.reply(line);
        let said = session.reply("explain()");
        assert!(said.contains(told), "{line}: {said}");
    }
}

#[test]
fn a_panic_is_heard_by_whoever_works_on() {
    let mut session = session();
    let said = session.reply("loop { if is_err(kmalloc(64, GFP_KERNEL)) { break; } }");
    assert!(said.contains("Kernel panic - not syncing"), "{said}");
    assert!(session.reply("spawn(\"a\")").contains("Kernel panic"));
    assert!(session.reply("mempool_create(1, 100)").contains("Kernel panic"));
    // To look is no work.
    assert!(session.reply("kmem -f | tail -1").contains("(verified)"));
    assert_eq!(session.reply("log | grep \"Kernel panic\"").lines().count(), 1);
}
