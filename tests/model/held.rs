//! A script frees what others hold: the kernel complains, nothing panics, every counter stays right.

use crate::machines::{boot, pc};
use vmlab::mm::Machine;
use vmlab::mm::addr::Order;
use vmlab::mm::gfp::Gfp;
use vmlab::mm::panic::Taint;
use vmlab::mm::task::Pid;
use vmlab::script::bench::Bench;
use vmlab::shell::session::Session;

/// A session on a shipped machine, after some lines; and what it works on.
fn after(lines: &[&str]) -> (Session, Bench) {
    let bench = Bench::sandbox("tiny", None).expect("shipped");
    let mut session = Session::quiet(bench.clone());
    for line in lines {
        let reply = session.reply(line);
        assert!(!reply.contains("error"), "{line}: {reply}");
    }
    (session, bench)
}

/// The pid of the task that came last.
fn last_task(machine: &Machine) -> Pid {
    machine.tasks.keys().next_back().expect("a task")
}

fn consistent(session: &mut Session) {
    let found = session.reply("check()");
    assert!(found.trim_end().ends_with("(verified)"), "{found}");
}

#[test]
fn a_page_of_an_area_that_was_freed_is_a_bad_page_for_vfree() {
    let mut machine = boot(pc(1024, 4096, 1, 1));
    let used = machine.check().unwrap().used;
    let area = machine.vmalloc(3 << 12, Gfp::KERNEL).unwrap().unwrap();
    let second = machine.vmalloc_to_page(vmlab::mm::addr::VirtAddr(area.0 + 4096)).unwrap();
    machine.free_pages(second, Order::ZERO).unwrap();
    let oops = machine.vfree(area).unwrap_err();
    assert!(oops.line.starts_with("BUG: Bad page state"), "{oops}");
    machine.purge_vmap_area_lazy();
    assert_eq!(machine.mem_map.page(second).refcount, 0);
    // The tables of the kernel stay.
    assert!(machine.check().unwrap().used <= used + 3);
    // Somebody else's reference keeps a page.
    let area = machine.vmalloc(4096, Gfp::KERNEL).unwrap().unwrap();
    let page = machine.vmalloc_to_page(area).unwrap();
    machine.mem_map.page_mut(page).refcount += 1;
    machine.vfree(area).unwrap();
    assert_eq!(machine.mem_map.page(page).refcount, 1);
    machine.put_page(page).unwrap();
    machine.check().unwrap();
}

#[test]
fn an_area_of_no_bytes_warns_once() {
    let mut machine = boot(pc(1024, 4096, 1, 1));
    for _ in 0..2 {
        assert!(machine.vmalloc(0, Gfp::KERNEL).unwrap().is_err());
    }
    let log: Vec<String> = machine.log().map(|line| line.text.to_string()).collect();
    assert_eq!(log.iter().filter(|line| line.contains("WARNING:")).count(), 1);
    assert!(!log.iter().any(|line| line.contains("vmalloc error")));
    assert!(machine.tainted & 1 << Taint::Warn as u32 != 0);
}

#[test]
fn what_the_kernel_holds_is_not_freed_by_a_script() {
    for slab in ["slub", "slab", "slob"] {
        let boot = format!("boot(#{{ mem: \"64M\", slab: {slab:?} }})");
        let (mut session, bench) =
            after(&[&boot, "let p = spawn(\"x\");", "let a = malloc(p, 8192);", "write(p, a, 1);"]);
        let of = |what: &str| {
            let machine = &bench.borrow().machine;
            let pid = last_task(machine);
            let mm = machine.tasks[&pid].mm.unwrap();
            match what {
                "task_struct" => machine.objects.task_struct(pid),
                "mm_struct" => machine.objects.mm_struct(mm),
                _ => machine.vmas.iter().find_map(|(_, vma)| vma.object.filter(|_| vma.mm == mm)),
            }
        };
        for what in ["task_struct", "mm_struct", "vm_area_struct"] {
            let addr = of(what).unwrap_or_else(|| panic!("{slab} {what}"));
            for call in [
                format!("kmem_cache_free(kmem_cache({what:?}), {addr})"),
                format!("kfree({addr})"),
                format!("kvfree({addr})"),
                format!("krealloc({addr}, 100000, GFP_KERNEL)"),
            ] {
                let reply = session.reply(&call);
                assert!(reply.contains(&format!("the {what} of ")), "{slab} {call}: {reply}");
                consistent(&mut session);
            }
        }
        session.reply("exit(p)");
        consistent(&mut session);
    }
}

#[test]
fn a_task_struct_that_was_written_around_is_lost_not_a_panic() {
    let boot = "boot(#{ mem: \"64M\", cmdline: \"slub_debug=FZ\" })";
    let (mut session, bench) = after(&[boot, "let p = spawn(\"x\");"]);
    let addr = {
        let machine = &bench.borrow().machine;
        machine.objects.task_struct(last_task(machine)).unwrap()
    };
    session.reply(&format!("kwrite({addr} - 8, 1)"));
    session.reply("exit(p)");
    assert!(session.reply("log | grep overwritten").contains("BUG task_struct"));
    consistent(&mut session);
}

#[test]
fn ksize_asks_the_slab_not_the_object() {
    let mut machine = boot(pc(1024, 4096, 1, 1));
    let kept = machine.kmalloc(128, Gfp::KERNEL).unwrap();
    let freed = machine.kmalloc(128, Gfp::KERNEL).unwrap();
    machine.kfree(freed).unwrap();
    assert_eq!((machine.ksize(freed).unwrap(), machine.ksize(kept).unwrap()), (128, 128));
}

#[test]
fn slabs_of_slab_are_counted_and_a_note_is_told_once() {
    let boot = |slab: &str| format!("boot(#{{ mem: \"64M\", slab: {slab:?} }})");
    let cache = "let c = kmem_cache_create(\"foo\", 100, 0, 0);";
    let (mut session, _) = after(&[&boot("slab"), cache, "kmem_cache_alloc(c, GFP_KERNEL)"]);
    let told = session.reply("slabinfo foo");
    assert!(told.contains("Total  :       1"), "{told}");
    assert!(session.reply("slabinfo").contains("\nfoo "));
    let (mut session, _) = after(&[&boot("slob"), cache]);
    let told = session.reply("kmem -S foo");
    assert_eq!(told.matches("note:").count(), 1, "{told}");
}
