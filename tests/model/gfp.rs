//! What a mask does to a request when memory is short: who goes how deep, who gives up when, who kills, who wakes whom.

use crate::machines::{boot, pc};
use vmlab::mm::Machine;
use vmlab::mm::addr::{Nid, Order, Pfn, VirtAddr};
use vmlab::mm::config::SwapConfig;
use vmlab::mm::errno::Errno;
use vmlab::mm::gfp::Gfp;
use vmlab::mm::memory::Access;
use vmlab::mm::mmap::{map, prot};
use vmlab::mm::trace::{Event, SlowStep};

const ORDER_4: u8 = 4;

fn order(n: u8) -> Order {
    Order::new(n).unwrap()
}

/// One zone worth speaking of, with round watermarks.
fn machine() -> Machine {
    let mut machine = boot(pc(0, 8192, 1, 1));
    machine.set_sysctl("vm.min_free_kbytes", "1600").unwrap();
    machine.set_sysctl("vm.watermark_boost_factor", "0").unwrap();
    machine
}

/// Kernel pages are taken until so many are free in the zone, whatever the watermarks say.
fn drain_to(machine: &mut Machine, free: u64) {
    // Neither the reserves nor kswapd's ears matter to it.
    let deep = Gfp::DIRECT_RECLAIM | Gfp::MEMALLOC;
    while machine.nr_free_and_pcp_pages() > free {
        machine.alloc_pages(deep, Order::ZERO).unwrap();
    }
    // What waits on the per-CPU list would be taken without a look at the watermark.
    machine.drain_all_pages(None);
    assert_eq!(machine.nr_free_pages(), free);
}

/// How many pages a mask gets before it is refused.
fn least_free(gfp: Gfp) -> u64 {
    let mut machine = machine();
    drain_to(&mut machine, 1000);
    while machine.alloc_pages(gfp | Gfp::NOWARN, Order::ZERO).is_ok() {
        machine.drain_all_pages(None);
    }
    machine.check().unwrap();
    machine.nr_free_pages()
}

fn rounds(machine: &Machine) -> usize {
    machine.last_alloc().slow.iter().filter(|step| matches!(step, SlowStep::Reclaimed { .. })).count()
}

fn gave_up(machine: &Machine) -> &'static str {
    match machine.last_alloc().slow.last() {
        Some(SlowStep::GaveUp(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn privileges_reach_below_min_as_far_as_the_kernel_lets_them() {
    let min = machine().zones[1].watermark.min;
    assert_eq!(min, 400);
    // One page beyond the line is still given: the line must be exceeded before it.
    assert_eq!(least_free(Gfp::NOWAIT), min);
    assert_eq!(least_free(Gfp::NOWAIT | Gfp::HIGH), min / 2);
    assert_eq!(least_free(Gfp::ATOMIC), min / 2 - min / 8);
    assert_eq!(least_free(Gfp::ATOMIC | Gfp::NOMEMALLOC), min / 2);
    assert_eq!(least_free(Gfp::NOWAIT | Gfp::MEMALLOC), 0);
    assert_eq!(least_free(Gfp::NOWAIT | Gfp::MEMALLOC | Gfp::NOMEMALLOC), min);
}

#[test]
fn who_may_not_sleep_is_told_so() {
    let mut machine = machine();
    drain_to(&mut machine, 300);
    assert_eq!(machine.alloc_pages(Gfp::NOWAIT, Order::ZERO), Err(Errno::ENOMEM));
    assert_eq!((rounds(&machine), gave_up(&machine)), (0, "the caller may not sleep, so it cannot reclaim"));
    let told = machine.last_alloc().explain();
    assert!(told.contains("(no __GFP_DIRECT_RECLAIM)"), "{told}");
    assert!(told.contains("It would have succeeded with 101 more free pages in DMA32"), "{told}");
    assert!(told.contains("GFP_ATOMIC would still get a page in DMA32: it is held to 150 there"), "{told}");
}

#[test]
fn noretry_costs_one_round_and_retry_mayfail_costs_many_but_nobody_dies() {
    let mut machine = machine();
    let pid = machine.spawn("bystander").unwrap();
    drain_to(&mut machine, 300);
    assert!(machine.alloc_pages(Gfp::KERNEL | Gfp::NORETRY, Order::ZERO).is_err());
    assert_eq!((rounds(&machine), gave_up(&machine)), (1, "__GFP_NORETRY: one round is all it may cost"));
    assert!(machine.alloc_pages(Gfp::KERNEL | Gfp::RETRY_MAYFAIL, Order::ZERO).is_err());
    assert!(gave_up(&machine).contains("would rather fail than kill"), "{}", gave_up(&machine));
    assert!(machine.tasks[&pid].is_alive());
    // Without either flag the kernel kills for a small request.
    let _ = machine.alloc_pages(Gfp::KERNEL, Order::ZERO);
    assert!(!machine.tasks[&pid].is_alive());
    machine.check().unwrap();
}

#[test]
fn without_fs_nobody_is_killed() {
    let mut machine = machine();
    let pid = machine.spawn("bystander").unwrap();
    drain_to(&mut machine, 300);
    assert!(machine.alloc_pages(Gfp::NOFS, Order::ZERO).is_err());
    assert!(gave_up(&machine).contains("without __GFP_FS"), "{}", gave_up(&machine));
    assert!(machine.tasks[&pid].is_alive());
}

#[test]
fn nofail_opens_part_of_the_reserve_and_ends_after_a_hundred_rounds() {
    let mut machine = machine();
    // Above 3/4 of min: a quarter less is enough. A costly order kills nobody.
    drain_to(&mut machine, 330);
    let costly = Gfp::KERNEL | Gfp::NOFAIL;
    let pfn = machine.alloc_pages(Gfp::NOFS | Gfp::NOFAIL | Gfp::NORETRY, Order::ZERO).unwrap();
    assert!(machine.last_alloc().slow.contains(&SlowStep::NoFail(1)));
    machine.free_pages(pfn, Order::ZERO).unwrap();
    drain_to(&mut machine, 100);
    assert!(machine.alloc_pages(costly, order(ORDER_4)).is_err());
    assert!(gave_up(&machine).contains("the kernel would try for ever"), "{}", gave_up(&machine));
    machine.check().unwrap();
}

#[test]
fn thisnode_stays_on_its_node() {
    let mut machine = boot(pc(0, 8192, 1, 2));
    let on = |machine: &Machine, pfn: Pfn| machine.zones[machine.mem_map.page(pfn).zone().index()].node;
    let gfp = Gfp::KERNEL | Gfp::THISNODE | Gfp::NOWARN;
    let mut given = 0;
    while let Ok(pfn) = machine.alloc_pages_node(Nid(1), gfp, Order::ZERO) {
        assert_eq!(on(&machine, pfn), Nid(1));
        given += 1;
    }
    assert!(given > 7000, "{given}");
    let record = machine.last_alloc();
    let tries = record.tries();
    assert!(!tries.is_empty() && tries.iter().all(|tried| tried.nid == Nid(1)));
    let pfn = machine.alloc_pages_node(Nid(1), Gfp::KERNEL, Order::ZERO).unwrap();
    assert_eq!(on(&machine, pfn), Nid(0), "without the flag the other node helps out");
}

/// Every second page of a task's memory is given back: nothing lies together.
fn scatter(machine: &mut Machine, left: u64) -> (u32, u64) {
    let pid = machine.spawn("holes").unwrap();
    let pages = machine.nr_free_and_pcp_pages() - left;
    let flags = map::PRIVATE | map::ANONYMOUS;
    let base = machine.mmap(pid, VirtAddr(0), pages << 12, prot::READ | prot::WRITE, flags).unwrap();
    machine.touch(pid, base, pages << 12, Access::Write).unwrap();
    for page in (0..pages).step_by(2) {
        machine.munmap(pid, VirtAddr(base.0 + (page << 12)), 4096).unwrap();
    }
    machine.drain_all_pages(None);
    (pid, pages)
}

#[test]
fn a_costly_order_is_compacted_for_but_not_killed_for() {
    let mut machine = machine();
    let (pid, _) = scatter(&mut machine, 500);
    assert!(machine.zones[1].nr_free(Order::ZERO) > 3000);
    // Who may not sleep cannot compact.
    assert!(machine.alloc_pages(Gfp::NOWAIT | Gfp::NOWARN, order(9)).is_err());
    let told = machine.last_alloc().explain();
    assert!(told.contains("refused: pages enough, but no free block is large enough"), "{told}");
    machine.alloc_pages(Gfp::KERNEL, order(9)).unwrap();
    assert!(machine.vm_event("compact_success").unwrap() > 0);
    assert!(machine.tasks[&pid].is_alive());
    machine.check().unwrap();
}

#[test]
fn without_io_nothing_is_compacted() {
    let mut machine = machine();
    scatter(&mut machine, 500);
    assert!(machine.alloc_pages(Gfp::NOIO | Gfp::NOWARN, order(9)).is_err());
    assert_eq!(machine.vm_event("pgmigrate_success").unwrap(), 0);
    let told = machine.last_alloc().explain();
    assert!(told.contains("The caller may not start IO (no __GFP_IO)"), "{told}");
}

fn woken(machine: &Machine, name: &str) -> usize {
    machine.trace.events().filter(|e| e.event.name() == name).count()
}

#[test]
fn kswapd_is_woken_below_low_and_only_by_who_may() {
    let mut quiet = machine();
    let low = quiet.zones[1].watermark.low;
    drain_to(&mut quiet, low + 2);
    quiet.trace.clear();
    quiet.alloc_pages(Gfp::NOWAIT, Order::ZERO).unwrap();
    quiet.drain_all_pages(None);
    assert_eq!(woken(&quiet, "mm_vmscan_wakeup_kswapd"), 0, "above low");
    // No flag at all: below low it is served down to min, and nobody hears of it.
    quiet.drain_all_pages(None);
    drain_to(&mut quiet, low - 10);
    quiet.trace.clear();
    quiet.alloc_pages(Gfp::NONE, Order::ZERO).unwrap();
    assert_eq!(woken(&quiet, "mm_vmscan_wakeup_kswapd"), 0, "no __GFP_KSWAPD_RECLAIM");
    quiet.drain_all_pages(None);
    quiet.alloc_pages(Gfp::NOWAIT, Order::ZERO).unwrap();
    assert_eq!(woken(&quiet, "mm_vmscan_wakeup_kswapd"), 1);
    assert!(quiet.last_alloc().explain().contains("kswapd0 was woken"));
}

#[test]
fn kcompactd_is_woken_where_memory_is_enough_but_scattered() {
    let mut machine = machine();
    machine.set_sysctl("vm.compaction_proactiveness", "0").unwrap();
    scatter(&mut machine, 500);
    machine.trace.clear();
    // GFP_NOWAIT cannot compact itself, and kswapd has nothing to do for order 0 pages.
    assert!(machine.alloc_pages(Gfp::NOWAIT | Gfp::NOWARN, order(9)).is_err());
    machine.sleep_for(2_000_000_000);
    assert!(machine.vm_event("compact_daemon_wake").unwrap() > 0);
    assert!(machine.vm_event("compact_daemon_migrate_scanned").unwrap() > 0);
    assert!(woken(&machine, "mm_compaction_kcompactd_sleep") > 0);
    machine.check().unwrap();
    machine.alloc_pages(Gfp::NOWAIT, order(9)).unwrap();
}

#[test]
fn kcompactd_begins_by_itself_when_the_score_is_high() {
    let mut machine = machine();
    scatter(&mut machine, 500);
    let before = machine.fragmentation_score_node(0);
    assert!(before > machine.fragmentation_score_wmark(false), "{before}");
    machine.pass(400_000_000);
    assert_eq!(machine.fragmentation_score_node(0), before, "it looks every 500 ms");
    machine.pass(2_000_000_000);
    let after = machine.fragmentation_score_node(0);
    assert!(after <= machine.fragmentation_score_wmark(true), "{before} -> {after}");
    assert_eq!(machine.vm_event("compact_daemon_wake").unwrap(), 0, "nobody asked for it");
    machine.check().unwrap();
}

#[test]
fn kcompactd_waits_long_when_it_achieves_nothing() {
    let mut machine = machine();
    // Kernel pages cannot move: scattered for good.
    let taken: Vec<Pfn> = std::iter::from_fn(|| {
        (machine.nr_free_and_pcp_pages() > 600)
            .then(|| machine.alloc_pages(Gfp::KERNEL, Order::ZERO).unwrap())
    })
    .collect();
    let mut pfns = taken.clone();
    pfns.sort_unstable();
    for pfn in pfns.into_iter().step_by(2) {
        machine.free_pages(pfn, Order::ZERO).unwrap();
    }
    machine.drain_all_pages(None);
    machine.set_sysctl("vm.compaction_proactiveness", "100").unwrap();
    machine.pass(600_000_000);
    let sleeps: Vec<u64> = machine
        .trace
        .events()
        .filter_map(|e| match &e.event {
            Event::Compaction(vmlab::mm::trace::CompactionEvent::KcompactdSleep { next_look, .. }) => {
                Some(next_look - e.at)
            }
            _ => None,
        })
        .collect();
    assert_eq!(sleeps, [500_000_000 << 6], "32 seconds instead of half of one");
}

#[test]
fn lumpy_reclaim_swaps_out_where_compaction_moves() {
    let run = |lumpy: bool| {
        let mut config = pc(0, 8192, 1, 1);
        config.swap.push(SwapConfig { name: "/dev/vda".into(), pages: 8192, priority: None });
        let mut machine = boot(config);
        machine.set_sysctl("vm.watermark_boost_factor", "0").unwrap();
        machine.set_sysctl("vmlab.lumpy_reclaim", if lumpy { "1" } else { "0" }).unwrap();
        let (pid, pages) = scatter(&mut machine, 300);
        let base = machine.tasks[&pid].mm.unwrap();
        // The first lumps hold pages that stay: who tries again meets others.
        let got = (0..30).find_map(|_| machine.alloc_pages(Gfp::KERNEL | Gfp::NOWARN, order(9)).ok());
        machine.check().unwrap();
        assert!(machine.mms[base].total_vm > pages / 2);
        let count = |name: &str| machine.vm_event(name).unwrap();
        (got.is_some(), count("pswpout"), count("pgmigrate_success"))
    };
    let (moved, lumped) = (run(false), run(true));
    assert!(moved.0 && moved.2 > 0, "{moved:?}");
    assert!(lumped.0 && lumped.1 > moved.1 && lumped.2 == 0, "{moved:?} {lumped:?}");
}
