//! Addresses of kernel objects that have no memory of their own here: tasks, address spaces, areas.
//!
//! The simulator keeps these objects beside the machine, not in its slabs, so their addresses are made up: the same
//! number always has the same address, and [`find`] goes back from the address to the object. They lie where no
//! memory is, one region above the end of the direct map's memory, laid out as slabs of the real sizes would be:
//!
//! ```text
//!   end of memory, rounded up to 1 GiB
//!   + 0x0000_0000  task_struct      6208 bytes, 5 in 32 KiB, by pid
//!   + 0x1000_0000  mm_struct        1152 bytes, 14 in 16 KiB
//!   + 0x2000_0000  vm_area_struct    152 bytes, 26 in 4 KiB
//!   + 0x3000_0000  anon_vma          104 bytes, 39 in 4 KiB
//!   + 0x3f00_0000  swap_info_struct  512 bytes
//! ```
//!
//! A 32-bit kernel has no room above its memory: there the region begins at 0xf8000000 and is packed closer.
//!
//! Kernel: `kernel/fork.c` (`task_struct_cachep`, `mm_cachep`, `vm_area_cachep`).
//! Fidelity: made up — until the objects live in slabs, an address means the object and nothing else.

use crate::mm::Machine;
use crate::mm::addr::{Nid, PAGE_SHIFT, PhysAddr};
use crate::mm::config::Arch;
use crate::mm::machine::SCRIPT_PID;
use crate::mm::rmap::AnonVmaId;
use crate::mm::slots::{Id, Slots};
use crate::mm::task::{MmId, PID_MAX, Pid};
use crate::mm::vma::VmaId;

/// Where the kernel's own top page table stands, as in a kernel without KASLR.
pub const SWAPPER_PG_DIR: u64 = 0xffff_ffff_82a1_0000;
/// The idle task of the first CPU, part of the kernel's image.
const INIT_TASK: u64 = 0xffff_ffff_82a1_aa40;

/// A kind of object: where its region begins, its size, how many stand in a slab of so many bytes.
struct Kind {
    region: u64,
    size: u64,
    per_slab: u64,
    slab: u64,
}

impl Kind {
    const fn new(region: u64, size: u64, per_slab: u64, slab: u64) -> Kind {
        Kind { region, size, per_slab, slab }
    }

    fn address(&self, index: u64) -> u64 {
        self.region + index / self.per_slab * self.slab + index % self.per_slab * self.size
    }

    /// The index of the object that holds a place of the region.
    fn index(&self, place: u64) -> Option<u64> {
        let (slab, inside) = (place / self.slab, place % self.slab / self.size);
        (inside < self.per_slab).then_some(slab * self.per_slab + inside)
    }
}

/// Tasks, address spaces, areas, anon_vmas, swap areas: by ascending region.
type Kinds = [Kind; 5];

const WIDE: Kinds = [
    Kind::new(0, 6208, 5, 0x8000),
    Kind::new(0x1000_0000, 1152, 14, 0x4000),
    Kind::new(0x2000_0000, 152, 26, 0x1000),
    Kind::new(0x3000_0000, 104, 39, 0x1000),
    Kind::new(0x3f00_0000, 512, 8, 0x1000),
];
const NARROW: Kinds = [
    Kind::new(0, 1024, 4, 0x1000),
    Kind::new(0x280_0000, 512, 8, 0x1000),
    Kind::new(0x3c0_0000, 88, 46, 0x1000),
    Kind::new(0x600_0000, 56, 73, 0x1000),
    Kind::new(0x6f0_0000, 256, 16, 0x1000),
];

/// An object behind a made-up address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Object {
    /// A task, by pid; kernel threads too.
    Task(Pid),
    /// An address space.
    Mm(MmId),
    /// An area.
    Vma(VmaId),
    /// What ties anonymous pages to areas.
    AnonVma(AnonVmaId),
    /// A swap area, by its place.
    Swap(usize),
}

fn layout(machine: &Machine) -> (u64, &'static Kinds) {
    if !machine.config.arch.is_64bit() {
        return (0xf800_0000, &NARROW);
    }
    let bytes = u64::from(machine.mem_map.end_pfn()) << PAGE_SHIFT;
    (machine.phys_to_virt(PhysAddr(bytes.next_multiple_of(1 << 30))).0, &WIDE)
}

fn address(machine: &Machine, kind: usize, index: u64) -> u64 {
    let (base, kinds) = layout(machine);
    base + kinds[kind].address(index)
}

/// The address of a task's `task_struct`.
pub fn task(machine: &Machine, pid: Pid) -> u64 {
    address(machine, 0, pid.into())
}

/// The address of the idle task of a CPU: they all have pid 0.
pub fn idle(machine: &Machine, cpu: u16) -> u64 {
    // The others share the place of pid 0 and of the numbers above every thread.
    match (cpu, machine.config.arch) {
        (0, Arch::X86_64) => INIT_TASK,
        (0, Arch::I386 | Arch::I386Pae) => INIT_TASK & 0xffff_ffff | 0xc000_0000,
        (cpu, _) => address(machine, 0, u64::from(PID_MAX) + 256 + u64::from(cpu)),
    }
}

/// The address of an `mm_struct`.
pub fn mm(machine: &Machine, id: MmId) -> u64 {
    address(machine, 1, id.index().into())
}

/// The address of a `vm_area_struct`.
pub fn vma(machine: &Machine, id: VmaId) -> u64 {
    address(machine, 2, id.index().into())
}

/// The address of an `anon_vma`.
pub fn anon_vma(machine: &Machine, id: AnonVmaId) -> u64 {
    address(machine, 3, id.index().into())
}

/// The address of a `swap_info_struct`, by the area's place.
pub fn swap(machine: &Machine, place: usize) -> u64 {
    address(machine, 4, place as u64)
}

/// The pid under which a node's kswapd is listed: above every pid that a task can have.
pub fn kswapd_pid(nid: Nid) -> Pid {
    PID_MAX + Pid::from(nid.0)
}

/// The object that an address lies in, if it is alive.
pub fn find(machine: &Machine, addr: u64) -> Option<Object> {
    let (base, kinds) = layout(machine);
    let place = addr.checked_sub(base)?;
    let kind = kinds.iter().rposition(|kind| kind.region <= place)?;
    let index = u32::try_from(kinds[kind].index(place - kinds[kind].region)?).ok()?;
    fn live<T>(slots: &Slots<T>, index: u32) -> Option<Id<T>> {
        slots.at(index)
    }
    match kind {
        0 => {
            let kswapd = machine.nodes.iter().any(|n| kswapd_pid(n.nid) == index);
            let known = machine.tasks.contains_key(&index) || index == SCRIPT_PID || kswapd;
            known.then_some(Object::Task(index))
        }
        1 => live(&machine.mms, index).map(Object::Mm),
        2 => live(&machine.vmas, index).map(Object::Vma),
        3 => live(&machine.anon_vmas, index).map(Object::AnonVma),
        _ => {
            let place = index as usize;
            machine.swap.get(place).filter(|area| area.active).map(|_| Object::Swap(place))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_leads_back_to_its_object() {
        for kinds in [&WIDE, &NARROW] {
            for (n, kind) in kinds.iter().enumerate() {
                for index in [0, 1, 5, 38, 39, 32_767] {
                    let at = kind.address(index);
                    assert_eq!(kind.index(at - kind.region), Some(index), "kind {n}");
                    assert_eq!(kind.index(at - kind.region + kind.size - 1), Some(index), "kind {n}");
                }
                let last = kind.address(40_000);
                assert!(kinds.get(n + 1).is_none_or(|next| last < next.region), "kind {n} runs over");
            }
        }
    }
}
