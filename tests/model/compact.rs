//! Steal, fragment, compact: what tasks wrote survives, no page is lost, and blocks come back.

use crate::machines::{boot, pc};
use std::collections::{BTreeMap, BTreeSet};
use vmlab::mm::Machine;
use vmlab::mm::addr::{Order, Pfn, VirtAddr};
use vmlab::mm::config::SwapConfig;
use vmlab::mm::gfp::Gfp;
use vmlab::mm::machine::Dice;
use vmlab::mm::memory::Access;
use vmlab::mm::mmap::{map, prot};
use vmlab::mm::trace::{CompactionEvent, Event};

/// What is switched on beside the defaults, by seed: every combination comes up.
fn machine(seed: u64) -> Machine {
    let mut config = pc(1024, 5000 + seed % 500, 1 + (seed % 2) as u16, 1);
    config.swap.push(SwapConfig { name: "/dev/vda".into(), pages: 2000, priority: None });
    config.cmdline = format!("page_owner={} page_poison={}", seed / 2 % 2, seed / 4 % 2);
    let mut machine = boot(config);
    machine.set_sysctl("vmlab.lumpy_reclaim", if seed / 8 % 4 == 3 { "1" } else { "0" }).unwrap();
    machine.set_sysctl("vm.compaction_proactiveness", if seed & 8 == 0 { "100" } else { "20" }).unwrap();
    machine
}

/// Pages of the kernel: nobody else may have them.
#[derive(Default)]
struct Taken {
    blocks: Vec<(Pfn, Order)>,
    frames: BTreeSet<u32>,
}

impl Taken {
    fn add(&mut self, pfn: Pfn, order: Order) -> Result<(), String> {
        for frame in pfn.0..pfn.0 + order.pages() {
            if !self.frames.insert(frame) {
                return Err(format!("frame {frame:#x} was given twice"));
            }
        }
        self.blocks.push((pfn, order));
        Ok(())
    }

    fn remove(&mut self, dice: &mut Dice) -> (Pfn, Order) {
        let at = dice.below(self.blocks.len() as u64) as usize;
        let (pfn, order) = self.blocks.swap_remove(at);
        self.frames.retain(|frame| !(pfn.0..pfn.0 + order.pages()).contains(frame));
        (pfn, order)
    }
}

/// What happened in the runs: a model that meets none of it proves nothing.
#[derive(Default, Debug)]
struct Met {
    ranges: u64,
    busy: u64,
    lumps: u64,
    kcompactd: u64,
    in_the_middle: u64,
}

impl Met {
    fn count(&mut self, machine: &Machine) {
        for stamped in machine.trace.events() {
            match &stamped.event {
                Event::AllocContigRange { result: Ok(()), .. } => self.ranges += 1,
                Event::AllocContigRange { .. } => self.busy += 1,
                Event::LruIsolate { contig_taken, .. } => self.lumps += contig_taken,
                Event::Compaction(CompactionEvent::KcompactdSleep { moved, .. }) => self.kcompactd += moved,
                _ => {}
            }
        }
    }
}

fn run(seed: u64, steps: u32, met: &mut Met) {
    let mut machine = machine(seed);
    let before = machine.check().unwrap_or_else(|e| panic!("seed {seed} boot: {e}"));
    let mut dice = Dice::new(seed);
    let pid = machine.spawn("model").unwrap();
    let flags = map::PRIVATE | map::ANONYMOUS;
    let base = machine.mmap(pid, VirtAddr(0), 3000 << 12, prot::READ | prot::WRITE, flags).unwrap();
    let mut memory: BTreeMap<u64, u64> = BTreeMap::new();
    let mut taken = Taken::default();
    for step in 0..steps {
        let fail = |what: String| -> ! { panic!("seed {seed} step {step}: {what}") };
        match dice.below(16) {
            0..=1 => {
                // Most of memory in use, every other page of it: blocks must be made.
                let start = dice.below(2000);
                let addr = |page: u64| VirtAddr(base.0 + (page << 12));
                machine
                    .touch(pid, addr(start), 1000 << 12, Access::Write)
                    .unwrap_or_else(|e| fail(format!("{e:?}")));
                for page in (start..start + 1000).step_by(2).filter(|page| !memory.contains_key(page)) {
                    machine.munmap(pid, addr(page), 4096).unwrap();
                    let fixed = flags | map::FIXED;
                    machine.mmap(pid, addr(page), 4096, prot::READ | prot::WRITE, fixed).unwrap();
                }
            }
            2..=3 | 14 => {
                let page = dice.below(3000);
                let value = dice.next_u64();
                machine
                    .write_user(pid, VirtAddr(base.0 + (page << 12)), value)
                    .unwrap_or_else(|e| fail(format!("{e:?}")));
                memory.insert(page, value);
            }
            4..=6 => {
                let order = Order::new(dice.below(5) as u8).unwrap();
                let gfp =
                    if dice.below(2) == 0 { Gfp::KERNEL } else { Gfp(Gfp::KERNEL.0 | Gfp::RECLAIMABLE.0) };
                if let Ok(pfn) = machine.alloc_pages(gfp, order) {
                    taken.add(pfn, order).unwrap_or_else(|e| fail(e));
                }
            }
            7..=8 if !taken.blocks.is_empty() => {
                let (pfn, order) = taken.remove(&mut dice);
                machine.free_pages(pfn, order).unwrap_or_else(|e| fail(e.to_string()));
            }
            9..=10 => {
                let start = dice.below(6200) as u32;
                let range = start..start + 1 + dice.below(1200) as u32;
                if machine.alloc_contig_range(range.clone(), Gfp::KERNEL).is_ok() {
                    for pfn in range.map(Pfn) {
                        taken.add(pfn, Order::ZERO).unwrap_or_else(|e| fail(e));
                        // Most of a range is given back at once: the next one shall find room.
                        if dice.below(8) > 0 {
                            let (pfn, order) = taken.blocks.pop().unwrap();
                            taken.frames.remove(&pfn.0);
                            machine.free_pages(pfn, order).unwrap_or_else(|e| fail(e.to_string()));
                        }
                    }
                }
            }
            // Kernel threads have their time: kcompactd works in slices, and is met in the middle of its work.
            11 => machine.pass(dice.below(700_000_000)),
            12 => machine.charge(dice.below(300_000)),
            _ if dice.below(8) == 0 => {
                machine.compact_memory();
            }
            _ => {
                let order = Order::new(9 + dice.below(2) as u8).unwrap();
                let gfp = if dice.below(3) == 0 { Gfp::NOWAIT } else { Gfp::KERNEL };
                if let Ok(pfn) = machine.alloc_pages(gfp | Gfp::NOWARN, order) {
                    machine.free_pages(pfn, order).unwrap_or_else(|e| fail(e.to_string()));
                }
            }
        }
        let census = machine.check().unwrap_or_else(|e| fail(e.to_string()));
        met.in_the_middle += u64::from(census.isolated > 0);
    }
    met.count(&machine);
    machine.compact_memory();
    machine.check().unwrap_or_else(|e| panic!("seed {seed} end: {e}"));
    for (page, want) in memory {
        assert_eq!(
            machine.read_user(pid, VirtAddr(base.0 + (page << 12))),
            Ok(want),
            "seed {seed} page {page}"
        );
    }
    assert_eq!(machine.trace.events().filter(|e| e.event.group() == "page_poison").count(), 0, "seed {seed}");
    for (pfn, order) in taken.blocks {
        machine.free_pages(pfn, order).unwrap_or_else(|e| panic!("seed {seed} end: {e}"));
    }
    machine.exit_task(pid, 0).unwrap();
    machine.set_sysctl("vm.compaction_proactiveness", "0").unwrap();
    machine.sleep_for(5_000_000_000);
    // Pages that were being written when their task ended are left in the swap cache.
    while machine.reclaim_node(0, 10_000) > 0 {}
    machine.shrink_all_caches();
    let after = machine.check().unwrap_or_else(|e| panic!("seed {seed} end: {e}"));
    assert_eq!((after.used, after.isolated), (before.used, 0), "seed {seed}: a page was lost");
}

#[test]
fn nothing_is_lost_while_memory_is_fragmented_and_compacted() {
    let seeds = std::env::var("SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(100);
    let mut met = Met::default();
    for seed in 0..seeds {
        run(seed, 60, &mut met);
    }
    let Met { ranges, busy, lumps, kcompactd, in_the_middle } = met;
    assert!([ranges, busy, lumps, kcompactd, in_the_middle].iter().all(|n| *n > 0), "{met:?}");
}

/// Every second page of a task is given back: half of memory is free, and no two free pages are together.
fn fragment(machine: &mut Machine) {
    let pid = machine.spawn("holes").unwrap();
    let flags = map::PRIVATE | map::ANONYMOUS;
    let pages = machine.nr_free_pages() - 600;
    let base = machine.mmap(pid, VirtAddr(0), pages << 12, prot::READ | prot::WRITE, flags).unwrap();
    machine.touch(pid, base, pages << 12, vmlab::mm::memory::Access::Write).unwrap();
    for page in (0..pages).step_by(2) {
        machine.munmap(pid, VirtAddr(base.0 + (page << 12)), 4096).unwrap();
    }
    machine.drain_all_pages(None);
}

#[test]
fn compaction_makes_the_block_that_fragmentation_hid() {
    let mut machine = boot(pc(1024, 20_000, 1, 1));
    machine.sysctl.min_free_kbytes = 256;
    machine.setup_per_zone_wmarks();
    fragment(&mut machine);
    let order = Order::new(4).unwrap();
    // GFP_NOWAIT may not compact, so it shows what is there.
    machine.alloc_pages(Gfp::NOWAIT, Order::new(9).unwrap()).unwrap_err();
    machine.check().unwrap();
    machine.alloc_pages(Gfp::KERNEL, order).unwrap();
    assert!(
        machine.vm_event("compact_success").unwrap() > 0
            || machine.vm_event("pgmigrate_success").unwrap() == 0
    );
    machine.compact_memory();
    machine.check().unwrap();
    assert!(machine.zones.iter().any(|z| z.nr_free(Order::new(9).unwrap()) + z.nr_free(Order::MAX) > 0));
    machine.alloc_pages(Gfp::NOWAIT, Order::new(9).unwrap()).unwrap();
}
