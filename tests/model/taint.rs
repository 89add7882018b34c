//! Reports taint the kernel: each adds its bit when it is over, and the next one shows it.

use crate::machines::{boot, pc};
use vmlab::mm::Machine;
use vmlab::mm::addr::{Order, VirtAddr};
use vmlab::mm::gfp::Gfp;
use vmlab::mm::panic::Taint;
use vmlab::mm::slab_common::Allocator;

fn machine() -> Machine {
    boot(pc(1024, 4096, 1, 1))
}

/// Lines of the log that name the taint.
fn named(machine: &Machine) -> Vec<&str> {
    let lines = machine.log().map(|line| &*line.text);
    lines.filter(|line| line.contains("ainted")).collect()
}

#[test]
fn the_second_report_shows_what_the_first_found() {
    let mut machine = machine();
    let object = machine.kmalloc(100, Gfp::KERNEL).unwrap();
    machine.kfree(object).unwrap();
    assert_eq!((machine.tainted, machine.print_tainted().as_str()), (0, "Not tainted"));
    for _ in 0..2 {
        machine.kfree(object).unwrap_err();
    }
    assert_eq!(machine.tainted, 1 << Taint::BadPage as u32);
    let [head, cpu, second, again] = named(&machine)[..] else { panic!("{:?}", named(&machine)) };
    assert_eq!(head, "BUG kmalloc-128 (Not tainted): Object already free");
    assert!(cpu.ends_with(" Not tainted 6.1.0-vmlab #1"), "{cpu}");
    // 19 columns, as many as 6.1 has bits.
    assert_eq!(second, "BUG kmalloc-128 (Tainted: G    B             ): Object already free");
    assert!(again.ends_with(" Tainted: G    B              6.1.0-vmlab #1"), "{again}");
    machine.check().unwrap();
}

#[test]
fn every_kind_of_report_adds_its_letter() {
    type Crime = fn(&mut Machine);
    let crimes: [(Taint, Crime); 8] = [
        (Taint::BadPage, |m| {
            let pfn = m.alloc_pages(Gfp::KERNEL, Order::ZERO).unwrap();
            m.free_pages(pfn, Order::ZERO).unwrap();
            m.free_pages(pfn, Order::ZERO).unwrap_err();
        }),
        (Taint::BadPage, |m| {
            let object = m.kmalloc(64, Gfp::KERNEL).unwrap();
            m.kfree(VirtAddr(object.0 + 4)).unwrap_err();
        }),
        (Taint::Warn, |m| {
            let pfn = m.alloc_pages(Gfp::KERNEL, Order::ZERO).unwrap();
            let addr = m.phys_to_virt(pfn.phys());
            m.kfree(addr).unwrap_err();
        }),
        (Taint::Warn, |m| drop(m.vfree(VirtAddr(0xffff_c900_0000_0000)).unwrap_err())),
        (Taint::Warn, |m| {
            let interrupted = m.irq_enter();
            m.might_alloc(Gfp::KERNEL).unwrap_err();
            m.irq_exit(interrupted);
        }),
        (Taint::Die, |m| drop(m.kfree(VirtAddr(0x1234_5678)).unwrap_err())),
        (Taint::Die, |m| drop(m.free_percpu(0x1234).unwrap_err())),
        (Taint::Die, |m| {
            let pid = m.spawn("deep").unwrap();
            m.kstack_push(pid, 1 << 20).unwrap_err();
        }),
    ];
    for (n, (taint, crime)) in crimes.iter().enumerate() {
        let mut machine = machine();
        crime(&mut machine);
        assert_eq!(machine.tainted, 1 << *taint as u32, "crime {n}: {}", machine.print_tainted());
        assert!(
            !named(&machine).iter().any(|line| line.contains("Tainted")),
            "crime {n}: {:?}",
            named(&machine)
        );
        machine.check().unwrap_or_else(|e| panic!("crime {n}: {e}"));
    }
}

#[test]
fn slab_taints_as_slub_does() {
    let mut config = pc(1024, 4096, 1, 1);
    config.slab = Allocator::Slab;
    let mut machine = boot(config);
    let object = machine.kmalloc(100, Gfp::KERNEL).unwrap();
    machine.kfree(object).unwrap();
    machine.kfree(object).unwrap_err();
    assert_eq!(machine.print_tainted(), "Tainted: G    B             ");
}

#[test]
fn letters_add_up_and_root_may_add_some() {
    let mut machine = machine();
    machine.kfree(VirtAddr(0x1234_5678)).unwrap_err();
    machine.set_sysctl("kernel.tainted", "4097").unwrap();
    assert_eq!(machine.sysctl("kernel.tainted").unwrap(), (1 + 4096 + 128).to_string());
    assert_eq!(machine.print_tainted(), "Tainted: P      D    O      ");
    // None is taken away, and what is no bit is none.
    machine.set_sysctl("kernel.tainted", "0").unwrap();
    machine.set_sysctl("kernel.tainted", &u64::MAX.to_string()).unwrap();
    assert_eq!(machine.print_tainted(), "Tainted: PFSRMBUDAWCIOELKXTN");
    machine.set_sysctl("kernel.tainted", "-1").unwrap_err();
}
