//! Addresses of kernel objects: tasks, address spaces, areas.
//!
//! Tasks, address spaces and areas that were made since the boot are objects of their caches. The others the simulator keeps
//! beside the machine, not in its slabs, so their addresses are made up: the same
//! number always has the same address, and [`find`] goes back from the address to the object. They lie in the direct
//! map of the largest range of frames that the kernel kept at boot, laid out as slabs of the real sizes would be:
//!
//! ```text
//!   sixteenths of the range   0        8   9          13     15
//!                             task     mm  vma        anon   swap
//!
//!   task_struct      6208 bytes, 5 in 32 KiB: idle tasks by CPU, then the others by pid
//!   mm_struct        1152 bytes, 14 in 16 KiB
//!   vm_area_struct    152 bytes, 26 in 4 KiB
//!   anon_vma          104 bytes, 39 in 4 KiB
//!   swap_info_struct  512 bytes
//! ```
//!
//! What does not fit there lies above the end of memory, so that no two objects ever share a place.
//!
//! Kernel: `kernel/fork.c` (`task_struct_cachep`, `mm_cachep`, `vm_area_cachep`).
//! Fidelity: made up — addresses of what was there at boot; such an address means the object and nothing else.

use crate::mm::Machine;
use crate::mm::addr::{Cpu, PAGE_SHIFT, Pfn, PhysAddr, VirtAddr};
use crate::mm::config::{Arch, ZoneType};
use crate::mm::rmap::AnonVmaId;
use crate::mm::slots::{Id, Slots};
use crate::mm::task::{MmId, Pid};
use crate::mm::vma::VmaId;

/// Where the kernel's own top page table stands, as in a kernel without KASLR.
pub const SWAPPER_PG_DIR: u64 = 0xffff_ffff_82a1_0000;
/// The idle task of the first CPU, part of the kernel's image.
const INIT_TASK: u64 = 0xffff_ffff_82a1_aa40;

/// A kind of object: its size, how many stand in a slab of so many bytes, its sixteenths of the range, and where it
/// goes on above the end of memory.
struct Kind {
    size: u64,
    per_slab: u64,
    slab: u64,
    share: (u64, u64),
    beyond: u64,
}

impl Kind {
    const fn new(size: u64, per_slab: u64, slab: u64, share: (u64, u64), beyond: u64) -> Kind {
        Kind { size, per_slab, slab, share, beyond }
    }

    /// How far from the start of a region the object with this index lies.
    fn place(&self, index: u64) -> u64 {
        index / self.per_slab * self.slab + index % self.per_slab * self.size
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
    Kind::new(6208, 5, 0x8000, (0, 8), 0),
    Kind::new(1152, 14, 0x4000, (8, 9), 0x1000_0000),
    Kind::new(152, 26, 0x1000, (9, 13), 0x2000_0000),
    Kind::new(104, 39, 0x1000, (13, 15), 0x3000_0000),
    Kind::new(512, 8, 0x1000, (15, 16), 0x3f00_0000),
];
const NARROW: Kinds = [
    Kind::new(1024, 4, 0x1000, (0, 8), 0),
    Kind::new(512, 8, 0x1000, (8, 9), 0x280_0000),
    Kind::new(88, 46, 0x1000, (9, 13), 0x3c0_0000),
    Kind::new(56, 73, 0x1000, (13, 15), 0x600_0000),
    Kind::new(256, 16, 0x1000, (15, 16), 0x6f0_0000),
];

/// Where the objects of a machine lie.
struct Layout {
    kinds: &'static Kinds,
    /// The range in memory: its address, and the size of a sixteenth.
    inside: (u64, u64),
    /// The region above the end of memory.
    beyond: u64,
}

impl Layout {
    fn of(machine: &Machine) -> Layout {
        let inside = range(machine);
        if !machine.config.arch.is_64bit() {
            // A 32-bit kernel has no room above its memory: this is where vmalloc would be.
            return Layout { kinds: &NARROW, inside, beyond: 0xf800_0000 };
        }
        let bytes = u64::from(machine.mem_map.end_pfn()) << PAGE_SHIFT;
        let beyond = machine.phys_to_virt(PhysAddr(bytes.next_multiple_of(1 << 30))).0;
        Layout { kinds: &WIDE, inside, beyond }
    }

    /// The objects of a kind that fit into the range.
    fn fitting(&self, kind: &Kind) -> u64 {
        (kind.share.1 - kind.share.0) * self.inside.1 / kind.slab * kind.per_slab
    }

    fn address(&self, kind: usize, index: u64) -> u64 {
        let kind = &self.kinds[kind];
        match index.checked_sub(self.fitting(kind)) {
            None => self.inside.0 + kind.share.0 * self.inside.1 + kind.place(index),
            Some(left) => self.beyond + kind.beyond + kind.place(left),
        }
    }

    /// The kind and the index of the object that would hold an address.
    fn find(&self, addr: u64) -> Option<(usize, u64)> {
        let (start, sixteenth) = self.inside;
        if let Some(place) = addr.checked_sub(start).filter(|place| *place < 16 * sixteenth) {
            let kind = self.kinds.iter().rposition(|kind| kind.share.0 * sixteenth <= place)?;
            let found = &self.kinds[kind];
            let index = found.index(place - found.share.0 * sixteenth)?;
            return (index < self.fitting(found)).then_some((kind, index));
        }
        let place = addr.checked_sub(self.beyond)?;
        let kind = self.kinds.iter().rposition(|kind| kind.beyond <= place)?;
        let found = &self.kinds[kind];
        Some((kind, found.index(place - found.beyond)? + self.fitting(found)))
    }
}

/// The largest range of frames in the direct map that the buddy allocator never got: its address, and the size of a
/// sixteenth of it. Its first frames are left to the page of zeros.
fn range(machine: &Machine) -> (u64, u64) {
    const SLAB: u64 = 0x8000;
    let mapped = |pfn: u32| {
        let zone = machine.mem_map.zone_of(Pfn(pfn)).map(|id| machine.zones[id.index()].kind);
        zone.is_some_and(|kind| kind != ZoneType::HighMem)
    };
    // Holes are reserved as well; what lies there has no zone.
    let ranges = machine.mem_map.reserved().iter().filter(|(start, end)| mapped(*start) && mapped(end - 1));
    let Some((start, end)) = ranges.max_by_key(|(start, end)| end - start) else { return (0, 0) };
    let first = ((u64::from(*start) << PAGE_SHIFT) + 1).next_multiple_of(SLAB);
    let bytes = (u64::from(*end) << PAGE_SHIFT).saturating_sub(first);
    (machine.phys_to_virt(PhysAddr(first)).0, bytes / 16 / SLAB * SLAB)
}

/// An object behind a made-up address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Object {
    /// The idle task of a CPU.
    Idle(u16),
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

fn address(machine: &Machine, kind: usize, index: u64) -> u64 {
    Layout::of(machine).address(kind, index)
}

/// Idle tasks stand before all others; pid 0 is theirs.
fn last_cpu(machine: &Machine) -> u64 {
    machine.nodes.iter().flat_map(|n| &n.cpus).copied().max().unwrap_or(0).into()
}

/// The address of a task's `task_struct`.
pub fn task(machine: &Machine, pid: Pid) -> u64 {
    let objects = &machine.objects;
    let own = objects.task_struct(pid).or_else(|| objects.task_struct_gone(pid)).map(|object| object.0);
    own.unwrap_or_else(|| address(machine, 0, last_cpu(machine) + u64::from(pid)))
}

/// The address of the idle task of a CPU: they all have pid 0.
pub fn idle(machine: &Machine, cpu: u16) -> u64 {
    // The others share the place of pid 0 and of the numbers above every thread.
    match (cpu, machine.config.arch) {
        (0, Arch::X86_64) => INIT_TASK,
        (0, Arch::I386 | Arch::I386Pae) => INIT_TASK & 0xffff_ffff | 0xc000_0000,
        (cpu, _) => address(machine, 0, cpu.into()),
    }
}

/// The stack pointer of a task in the kernel: a sleeper has used a few hundred bytes below the top.
pub fn kernel_stack(machine: &Machine, pid: Pid, cpu: u16) -> u64 {
    let size = machine.config.arch.thread_size();
    // Those of the boot are made up: far behind the others, the idle tasks first.
    let place = if pid == 0 { u64::from(cpu) } else { 64 + u64::from(pid) };
    let room = &machine.layout.vmalloc;
    let made_up = room.start + ((1 << 30) + place * 2 * size) % (room.end - room.start).max(1);
    machine.stacks.get(pid).map_or(made_up, |stack| stack.base.0) + size - 0x3c0
}

/// The address of an `mm_struct`.
pub fn mm(machine: &Machine, id: MmId) -> u64 {
    let own = machine.objects.mm_struct(id).map(|object| object.0);
    own.unwrap_or_else(|| address(machine, 1, id.index().into()))
}

/// The address of a `vm_area_struct`.
pub fn vma(machine: &Machine, id: VmaId) -> u64 {
    let own = machine.vmas.get(id).and_then(|vma| vma.object).map(|object| object.0);
    own.unwrap_or_else(|| address(machine, 2, id.index().into()))
}

/// The address of an `anon_vma`.
pub fn anon_vma(machine: &Machine, id: AnonVmaId) -> u64 {
    address(machine, 3, id.index().into())
}

/// The address of a `swap_info_struct`, by the area's place.
pub fn swap(machine: &Machine, place: usize) -> u64 {
    address(machine, 4, place as u64)
}

/// The object that an address lies in, if it is alive.
pub fn find(machine: &Machine, addr: u64) -> Option<Object> {
    if let Some(object) = machine.find_object(VirtAddr(addr)).filter(|object| object.allocated) {
        let task = machine.objects.task_at(object.start).map(Object::Task);
        let vma = || machine.vmas.iter().find(|(_, vma)| vma.object == Some(object.start)).map(|(id, _)| id);
        return task
            .or_else(|| machine.objects.mm_at(object.start).map(Object::Mm))
            .or_else(|| vma().map(Object::Vma));
    }
    let (kind, index) = Layout::of(machine).find(addr)?;
    fn live<T>(slots: &Slots<T>, index: u32) -> Option<Id<T>> {
        slots.at(index)
    }
    let index = u32::try_from(index).ok()?;
    match kind {
        0 => match u64::from(index).checked_sub(last_cpu(machine)) {
            None | Some(0) => {
                // That of the first CPU lies in the kernel's image.
                let cpu = index as u16;
                let here = machine.node_of(Cpu(cpu)).is_some()
                    && idle(machine, cpu) == address(machine, 0, cpu.into());
                here.then_some(Object::Idle(cpu))
            }
            Some(pid) => {
                let pid = pid as Pid;
                let known = machine.tasks.contains_key(&pid) || machine.is_kthread_pid(pid);
                // One that was made since the boot has, or had, a place of its own.
                let own = machine.objects.task_struct(pid).or_else(|| machine.objects.task_struct_gone(pid));
                let made_up = own.is_none();
                (known && made_up).then_some(Object::Task(pid))
            }
        },
        1 => live(&machine.mms, index).filter(|id| machine.objects.mm_struct(*id).is_none()).map(Object::Mm),
        2 => live(&machine.vmas, index).filter(|id| machine.vmas[*id].object.is_none()).map(Object::Vma),
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
            // No range, one that holds little, one that holds much.
            for sixteenth in [0, 0x8000, 0x10_0000] {
                let layout = Layout { kinds, inside: (0x10_0000, sixteenth), beyond: 0x8000_0000 };
                for (n, kind) in kinds.iter().enumerate() {
                    for index in [0, 1, 5, 38, 39, 700, 32_767] {
                        let at = layout.address(n, index);
                        assert_eq!(layout.find(at), Some((n, index)), "kind {n} of {sixteenth:#x}");
                        assert_eq!(layout.find(at + kind.size - 1), Some((n, index)), "kind {n}");
                    }
                    let last = kind.beyond + kind.place(40_000);
                    assert!(kinds.get(n + 1).is_none_or(|next| last < next.beyond), "kind {n} runs over");
                }
            }
        }
    }

    #[test]
    fn tasks_lie_in_memory() {
        for name in crate::import::shipped::names() {
            let machine = Machine::boot(crate::import::shipped::get(name).unwrap()).unwrap();
            for pid in [1, 2, 3, 24, 43, 60] {
                let at = crate::mm::addr::VirtAddr(task(&machine, pid));
                assert!(machine.virt_to_pfn(at).is_some(), "{name}: task {pid} at {at}");
            }
        }
    }
}
